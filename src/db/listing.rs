//! Lists of notifications, the latest first, a page at a time, and fast among millions.
//!
//! First their ids are found, by whatever index leads to them, then the rows are read. What has ended is found group by group: each
//! way to look for it is a choice of groups, and of each group the latest are the next in its index. Where no index leads, a page goes back
//! a certain way and says how far.

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Error, Time, contacts, senders, story,
    story::{Row, state},
};
use crate::domain::{
    notification::{State, Wait},
    phone::Phone,
    search::Search,
};

/// Which notifications are wanted. What is none does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A state's name.
    pub state: Option<&'static str>,
    pub reason: Option<String>,
    /// What a pending one waits for.
    pub waiting_on: Option<Wait>,
    /// The best receipt of an accepted one, `none` if there is none.
    pub receipt: Option<&'static str>,
    /// An event's id or subject, or the key of its journey.
    pub order: Option<String>,
    pub phone: Option<Phone>,
    pub template: Option<String>,
    /// A sender's name.
    pub sender: Option<String>,
    /// Planned at that time or later.
    pub since: Option<Timestamp>,
    /// Planned before that time.
    pub until: Option<Timestamp>,
    /// Older than this one: the last of the page before.
    pub before: Option<Uuid>,
}

impl Filter {
    /// What is looked for, from where a page ended.
    #[must_use]
    pub fn of(search: Search, before: Option<Uuid>) -> Filter {
        Filter {
            state: search.state,
            reason: search.reason,
            order: search.order,
            phone: search.phone,
            since: search.since,
            until: search.until,
            waiting_on: search.waiting_on,
            receipt: search.receipt,
            template: search.template,
            sender: search.sender,
            before,
        }
    }
}

/// Some of what is wanted.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub items: Vec<Item>,
    /// The next page is before this one; none if there is nothing more.
    pub next: Option<Uuid>,
    /// It was only looked so far back, and there may be more: of what is pending, and of what is reported, nobody keeps a list by age.
    pub looked_back_to: Option<Timestamp>,
}

/// A notification in a list.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
#[schema(as = NotificationItem)]
pub struct Item {
    pub id: Uuid,
    #[serde(flatten)]
    pub state: State,
    pub created_at: Timestamp,
    #[serde(skip)]
    pub phone: Option<Phone>,
    /// What it says is kept still.
    #[serde(skip)]
    pub kept: bool,
    pub sender: String,
    pub template: String,
    pub language: String,
    pub purpose: String,
    pub event_source: String,
    pub event_id: String,
    pub subject: Option<String>,
    pub expires_at: Timestamp,
    pub attempts: i16,
    pub duplicate: bool,
}

/// A person's or an order's notifications are looked for among so many of their latest events.
const EVENTS_MAX: i64 = 1_000;
/// So many pending ones are put in order; if there are more, the latest of all notifications are gone through.
const SORTED_MAX: i64 = 20_000;
/// So many of all notifications are gone through for one page.
const SCANNED_MAX: i64 = 50_000;
/// The same for what is reported: that is looked for among few, too.
const REPORTED_MAX: i64 = 30_000;

/// At most `limit` notifications, the latest first.
///
/// # Errors
/// If the database cannot be asked, or a row makes no sense.
pub async fn page(pool: &PgPool, filter: &Filter, limit: i64) -> Result<Page, Error> {
    let Some(wanted) = Wanted::of(pool, filter, limit + 1).await? else {
        return Ok(Page::default());
    };
    let mut found = wanted.find(pool).await?;
    if let Some(cut) = found.cut {
        found.ids.retain(|id| *id >= cut);
    }
    found.ids.sort_unstable_by(|a, b| b.cmp(a));
    found.ids.dedup();
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = found.ids.len() > limit;
    found.ids.truncate(limit);
    let cut = found.cut.filter(|_| !more);
    let next = if more { found.ids.last().copied() } else { cut };
    Ok(Page { items: items(pool, &found.ids).await?, next, looked_back_to: cut.and_then(planned_at) })
}

/// When a notification was planned: its id tells.
fn planned_at(id: Uuid) -> Option<Timestamp> {
    crate::domain::notification::AttemptId { notification: id, number: 0 }.planned_at()
}

/// A filter with its bounds, as the queries take it.
struct Wanted<'a> {
    filter: &'a Filter,
    sender: Option<i16>,
    /// Smaller than this one, and not smaller than that.
    below: Uuid,
    from: Uuid,
    limit: i64,
}

/// Ids, in any order; and down to which one was looked, if not everywhere.
#[derive(Debug, Default)]
struct Found {
    ids: Vec<Uuid>,
    cut: Option<Uuid>,
}

impl<'a> Wanted<'a> {
    /// None if nothing can be found.
    async fn of(pool: &PgPool, filter: &'a Filter, limit: i64) -> Result<Option<Wanted<'a>>, Error> {
        let sender = match &filter.sender {
            None => None,
            Some(name) => match senders::find(pool, name).await? {
                None => return Ok(None),
                some => some,
            },
        };
        let floor = |at: Timestamp| {
            let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
            Uuid::from_u128(u128::from(millis) << 80 | 0x7000_8000_0000_0000_0000)
        };
        let until = filter.until.map_or(Uuid::max(), floor);
        Ok(Some(Wanted {
            filter,
            sender,
            below: filter.before.map_or(until, |before| before.min(until)),
            from: filter.since.map_or(Uuid::nil(), floor),
            limit,
        }))
    }

    async fn find(&self, pool: &PgPool) -> Result<Found, Error> {
        let of = self.filter;
        if of.order.is_some() || of.phone.is_some() {
            let person = match &of.phone {
                Some(phone) => Some(contacts::of_person(pool, phone).await?),
                None => None,
            };
            let ids = story::notifications_of(pool, of.order.as_deref(), person.as_deref(), EVENTS_MAX).await?;
            return Ok(Found { ids: self.among(pool, &ids).await?, cut: None });
        }
        // A receipt says that it was accepted, a reason that it ended, and a wait that it has not.
        match (of.receipt, of.state, &of.reason, of.waiting_on) {
            (None, ..) => {}
            (Some(receipt), None | Some("accepted"), None, None) => return self.reported(pool, receipt).await,
            (Some(_), ..) => return Ok(Found::default()),
        }
        let state = match (of.state, &of.reason, of.waiting_on) {
            (None, None, Some(_)) => Some("pending"),
            (None | Some("failed" | "suppressed"), Some(_), None)
            | (Some("pending"), None, Some(_))
            | (_, None, None) => of.state,
            (_, Some(_), _) | (Some(_), None, Some(_)) => return Ok(Found::default()),
        };
        match state {
            None if of.reason.is_some() => self.ended(pool).await,
            None if of.template.is_none() && self.sender.is_none() => self.latest(pool).await,
            None => {
                let mut found = self.pending(pool).await?;
                found.ids.extend(self.on_its_way(pool).await?.ids);
                found.ids.extend(self.accepted(pool).await?.ids);
                found.ids.extend(self.ended(pool).await?.ids);
                Ok(found)
            }
            Some("pending") => self.pending(pool).await,
            Some("accepted") => self.accepted(pool).await,
            Some("failed" | "suppressed") => self.ended(pool).await,
            Some(_) => self.on_its_way(pool).await,
        }
    }

    /// Those of `ids` that are wanted.
    async fn among(&self, pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        Ok(sqlx::query_scalar!(
            r#"
            -- listing: among
            select n.id from notifications n
            where n.id = any ($1) and n.id < $2 and n.id >= $3
              and ($4::text is null or n.state = $4::text::notification_state)
              and ($5::text is null or n.reason = $5)
              and ($6::text is null or n.waiting_on = $6::text::wait)
              and ($7::text is null or n.template = $7)
              and ($8::int2 is null or n.sender = $8)
              and ($9::text is null or n.state = 'accepted' and coalesce(n.receipt::text, 'none') = $9)
            order by n.id desc limit $10
            "#,
            ids,
            self.below,
            self.from,
            self.filter.state,
            self.filter.reason,
            self.filter.waiting_on.map(Wait::as_str),
            self.filter.template,
            self.sender,
            self.filter.receipt,
            self.limit
        )
        .fetch_all(pool)
        .await?)
    }

    /// The latest of all.
    async fn latest(&self, pool: &PgPool) -> Result<Found, Error> {
        let ids = sqlx::query_scalar!(
            r#"
            -- listing: latest
            select id from notifications where id < $1 and id >= $2 order by id desc limit $3
            "#,
            self.below,
            self.from,
            self.limit
        )
        .fetch_all(pool)
        .await?;
        Ok(Found { ids, cut: None })
    }

    /// Failed or suppressed: the latest of each group of one state, reason, template and sender.
    async fn ended(&self, pool: &PgPool) -> Result<Found, Error> {
        let ids = sqlx::query_scalar!(
            r#"
            -- listing: ended
            select id as "id!" from latest_ended($1, $2, $3, $4::text::notification_state, $5, $6, $7) e(id)
            "#,
            self.below,
            self.from,
            self.limit,
            self.filter.state,
            self.filter.reason,
            self.filter.template,
            self.sender
        )
        .fetch_all(pool)
        .await?;
        Ok(Found { ids, cut: None })
    }

    /// Accepted: the latest of each group of one template and sender.
    async fn accepted(&self, pool: &PgPool) -> Result<Found, Error> {
        let ids = sqlx::query_scalar!(
            r#"
            -- listing: accepted
            select id as "id!" from latest_accepted($1, $2, $3, $4, $5) a(id)
            "#,
            self.below,
            self.from,
            self.limit,
            self.filter.template,
            self.sender
        )
        .fetch_all(pool)
        .await?;
        Ok(Found { ids, cut: None })
    }

    /// Sending or in doubt: there are never many.
    async fn on_its_way(&self, pool: &PgPool) -> Result<Found, Error> {
        let ids = sqlx::query_scalar!(
            r#"
            -- listing: on its way
            with open as materialized (
              select id, state, template, sender from notifications where state = 'sending'
              union all
              select id, state, template, sender from notifications where state = 'in_doubt'
            )
            select id as "id!" from open
            where id < $1 and id >= $2 and ($4::text is null or state = $4::text::notification_state)
              and ($5::text is null or template = $5) and ($6::int2 is null or sender = $6)
            order by id desc limit $3
            "#,
            self.below,
            self.from,
            self.limit,
            self.filter.state,
            self.filter.template,
            self.sender
        )
        .fetch_all(pool)
        .await?;
        Ok(Found { ids, cut: None })
    }

    async fn pending(&self, pool: &PgPool) -> Result<Found, Error> {
        let many = sqlx::query_scalar!(
            r#"
            -- listing: pending at all
            select (select count(*) from (select from notifications where state = 'pending' and waiting_on is null limit $1) d)
              + (select count(*) from (select from notifications where waiting_on is not null limit $1) w) as "n!"
            "#,
            SORTED_MAX
        )
        .fetch_one(pool)
        .await?;
        if many >= SORTED_MAX {
            return self.pending_of_many(pool).await;
        }
        let ids = sqlx::query_scalar!(
            r#"
            -- listing: pending
            with open as materialized (
              select id, waiting_on, template, sender from notifications where state = 'pending' and waiting_on is null
              union all
              select id, waiting_on, template, sender from notifications where waiting_on is not null
            )
            select id as "id!" from open
            where id < $1 and id >= $2 and ($4::text is null or waiting_on = $4::text::wait)
              and ($5::text is null or template = $5) and ($6::int2 is null or sender = $6)
            order by id desc limit $3
            "#,
            self.below,
            self.from,
            self.limit,
            self.filter.waiting_on.map(Wait::as_str),
            self.filter.template,
            self.sender
        )
        .fetch_all(pool)
        .await?;
        Ok(Found { ids, cut: None })
    }

    /// Goes through the latest of all notifications, and says how far.
    async fn pending_of_many(&self, pool: &PgPool) -> Result<Found, Error> {
        let ids = sqlx::query_scalar!(
            r#"
            -- listing: pending of many
            select id as "id!" from (
              select id, state, waiting_on, template, sender from notifications where id < $1 and id >= $2 order by id desc limit $7
            ) n
            where state = 'pending' and ($4::text is null or waiting_on = $4::text::wait)
              and ($5::text is null or template = $5) and ($6::int2 is null or sender = $6)
            limit $3
            "#,
            self.below,
            self.from,
            self.limit,
            self.filter.waiting_on.map(Wait::as_str),
            self.filter.template,
            self.sender,
            SCANNED_MAX
        )
        .fetch_all(pool)
        .await?;
        self.cut(pool, ids, SCANNED_MAX).await
    }

    /// Accepted, and so far reported on: goes through the latest of all as well. An index by receipt would make every receipt dearer.
    async fn reported(&self, pool: &PgPool, receipt: &str) -> Result<Found, Error> {
        let ids = sqlx::query_scalar!(
            r#"
            -- listing: reported
            select id as "id!" from (
              select id, state, receipt, template, sender from notifications where id < $1 and id >= $2 order by id desc limit $7
            ) n
            where state = 'accepted' and coalesce(receipt::text, 'none') = $4
              and ($5::text is null or template = $5) and ($6::int2 is null or sender = $6)
            limit $3
            "#,
            self.below,
            self.from,
            self.limit,
            receipt,
            self.filter.template,
            self.sender,
            REPORTED_MAX
        )
        .fetch_all(pool)
        .await?;
        self.cut(pool, ids, REPORTED_MAX).await
    }

    /// What was found among the latest of all, and how far that was looked.
    async fn cut(&self, pool: &PgPool, ids: Vec<Uuid>, scanned: i64) -> Result<Found, Error> {
        if i64::try_from(ids.len()).is_ok_and(|n| n >= self.limit) {
            return Ok(Found { ids, cut: None });
        }
        let cut = sqlx::query_scalar!(
            r#"
            -- listing: how far
            select id from notifications where id < $1 and id >= $2 order by id desc offset $3 limit 1
            "#,
            self.below,
            self.from,
            scanned - 1
        )
        .fetch_optional(pool)
        .await?;
        Ok(Found { ids, cut })
    }
}

/// These notifications, the latest first.
///
/// # Errors
/// If the database cannot be asked, or a row makes no sense.
pub async fn items(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Item>, Error> {
    let rows = sqlx::query!(
        r#"
        -- listing: page
        select n.id, n.state::text as "state!", n.due_at as "due_at: Time", n.waiting_on::text, n.attempt,
          n.lease_until as "lease_until: Time", n.doubt_since as "doubt_since: Time", n.reason, n.message_id, n.receipt::text,
          n.created_at as "created_at: Time", c.phone as "phone?", s.name as sender, n.template, n.language, n.purpose, n.event_source, n.event_id,
          n.subject, n.expires_at as "expires_at: Time", n.duplicate, n.filled is not null or n.free_text is not null as "kept!"
        from notifications n
        join contacts c on c.id = n.contact_id
        join senders s on s.id = n.sender
        where n.id = any ($1)
        order by n.id desc
        "#,
        ids
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let columns = Row {
                state: &row.state,
                due_at: row.due_at.map(Time::to_jiff),
                waiting_on: row.waiting_on.as_deref(),
                attempt: row.attempt,
                lease_until: row.lease_until.map(Time::to_jiff),
                doubt_since: row.doubt_since.map(Time::to_jiff),
                reason: row.reason,
                message_id: row.message_id,
                receipt: row.receipt.as_deref(),
            };
            Ok(Item {
                id: row.id,
                state: state(row.id, columns)?,
                created_at: row.created_at.to_jiff(),
                phone: row.phone.as_deref().and_then(|phone| Phone::parse(phone).ok()),
                kept: row.kept,
                sender: row.sender,
                template: row.template,
                language: row.language,
                purpose: row.purpose,
                event_source: row.event_source,
                event_id: row.event_id,
                subject: row.subject,
                expires_at: row.expires_at.to_jiff(),
                attempts: row.attempt,
                duplicate: row.duplicate,
            })
        })
        .collect()
}
