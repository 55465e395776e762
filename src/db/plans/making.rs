//! How a plan is made: what is found is written down, and what it would come to is counted, in one transaction.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, PIECE, Plan, alone, is_of_notifications, note, reading, signed};
use crate::{
    db::{senders, story, time},
    domain::{
        action::{Action, Agreed, Estimate, FOUND_MAX, Group, Skip, Standing, StateName},
        cost::Prices,
        money::Money,
        rates::Category,
        search::{On, Search, Target},
    },
};

/// What somebody wants done.
#[derive(Debug, Clone)]
pub enum Wish {
    /// To notifications or to rejected events, as the action is.
    Found(Action, Search),
    Hold(Target),
    Release(Target),
}

impl Wish {
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Wish::Found(action, _) => *action,
            Wish::Hold(_) => Action::Hold,
            Wish::Release(_) => Action::Release,
        }
    }

    fn spelled(&self) -> BTreeMap<&'static str, String> {
        match self {
            Wish::Found(_, search) => search.spelled(),
            Wish::Hold(target) | Wish::Release(target) => target.spelled(),
        }
    }
}

/// A wish, with whose it is and by which prices it is reckoned.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub wish: Wish,
    pub by: String,
    /// By sender.
    pub prices: Arc<HashMap<i16, Prices>>,
    /// The time whose prices those are.
    pub now: Timestamp,
}

/// What became of a wish.
#[derive(Debug)]
pub enum Made {
    Plan(Box<Plan>),
    NoSuchSender,
    /// More than [`FOUND_MAX`].
    TooMany,
    /// What was given as an order is none, and reads like somebody's number: it is not written down.
    IsAPhone,
}

/// A person's or an order's notifications are looked for among so many of their latest events.
const EVENTS_MAX: i64 = 10_000;

/// Finds, writes down and counts. Nothing is done yet.
///
/// # Errors
/// If the database does not take it; there is no plan then.
pub async fn make(pool: &PgPool, wanted: Wanted) -> Result<Made, Error> {
    let named = match &wanted.wish {
        Wish::Found(_, search) => search.sender.as_deref(),
        Wish::Hold(target) | Wish::Release(target) => match &target.on {
            On::Everything => None,
            On::Sender(sender) | On::Template { sender, .. } => Some(sender.as_str()),
        },
    };
    let sender = match named {
        Some(name) => match senders::find(pool, name).await? {
            Some(sender) => Some(sender),
            None => return Ok(Made::NoSuchSender),
        },
        None => None,
    };
    let ids = match &wanted.wish {
        Wish::Found(action, search) if is_of_notifications(*action) => match among(pool, search).await? {
            Some(ids) if ids.is_empty() && search.order.as_deref().is_some_and(could_be_dialled) => {
                return Ok(Made::IsAPhone);
            }
            ids => ids,
        },
        Wish::Found(_, search) => named_ones(search),
        Wish::Hold(_) | Wish::Release(_) => None,
    };
    let made = alone(pool, move |tx| Box::pin(async move { write(tx, wanted, sender, ids).await })).await?;
    Ok(made.map_or(Made::TooMany, |plan| Made::Plan(Box::new(plan))))
}

/// The only ones that can be meant, if ids, an order or a person are named.
async fn among(pool: &PgPool, search: &Search) -> Result<Option<Vec<Uuid>>, Error> {
    let related = match (&search.order, &search.phone) {
        (None, None) => return Ok(named_ones(search)),
        (order, phone) => story::notifications_of(pool, order.as_deref(), phone.as_ref(), EVENTS_MAX).await?,
    };
    Ok(Some(match named_ones(search) {
        Some(ids) => related.into_iter().filter(|one| ids.contains(one)).collect(),
        None => related,
    }))
}

fn named_ones(search: &Search) -> Option<Vec<Uuid>> {
    (!search.ids.is_empty()).then(|| search.ids.clone())
}

/// Providers write numbers without their plus, people with anything between the digits and often without their country. Nothing is lost
/// if it was an order after all: there is none.
fn could_be_dialled(order: &str) -> bool {
    let digits = order.chars().filter(|c| c.is_numeric()).count();
    (7..=15).contains(&digits) && !order.chars().any(char::is_alphabetic)
}

async fn write(
    tx: &mut PgConnection,
    wanted: Wanted,
    sender: Option<i16>,
    ids: Option<Vec<Uuid>>,
) -> Result<Option<Plan>, Error> {
    let (action, spelled) = (wanted.wish.action(), wanted.wish.spelled());
    let id = sqlx::query_scalar!(
        "insert into plans (action, search, made_by) values ($1, $2, $3) returning id",
        action.as_str(),
        json!(spelled),
        wanted.by
    )
    .fetch_one(&mut *tx)
    .await?;
    let estimate = match &wanted.wish {
        Wish::Found(Action::Replay, search) => {
            find_rejected(tx, id, search, ids.as_deref()).await?;
            count_rejected(tx, id).await?
        }
        Wish::Found(action, search) => {
            find(tx, id, search, sender, ids.as_deref()).await?;
            Estimate::of(*action, &groups(tx, id, *action, Some(&wanted)).await?)
        }
        Wish::Hold(target) | Wish::Release(target) => count_held(tx, &target.on, sender).await?,
    };
    if estimate.found > FOUND_MAX {
        sqlx::query!("delete from plans where id = $1", id).execute(&mut *tx).await?;
        return Ok(None);
    }
    sqlx::query!(
        "update plans set found = $2, estimate = $3 where id = $1",
        id,
        signed(estimate.found),
        json!(estimate)
    )
    .execute(&mut *tx)
    .await?;
    let mut detail = json!({"action": action, "search": spelled, "found": estimate.found, "acts": estimate.acts});
    if let Some(search) = detail.get_mut("search").and_then(serde_json::Value::as_object_mut) {
        // Nothing about persons stands in the trail.
        search.remove("phone");
    }
    note(tx, id, &wanted.by, "plan.made", None, detail).await?;
    reading::lock(tx, id).await
}

async fn find(
    tx: &mut PgConnection,
    plan: i64,
    search: &Search,
    sender: Option<i16>,
    ids: Option<&[Uuid]>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- plans: find
        with found as materialized (
          select n.id from notifications n
          where ($3::text::notification_state is null or n.state = $3::text::notification_state)
            and ($4::text is null or n.reason = $4)
            and ($5::text is null or n.waiting_on = $5::text::wait)
            and ($6::text is null or n.template = $6)
            and ($7::int2 is null or n.sender = $7)
            and ($8::timestamptz is null or n.id >= uuid_v7_floor($8))
            and ($9::timestamptz is null or n.id < uuid_v7_floor($9))
            and ($10::uuid[] is null or n.id = any ($10))
            and ($11::text is null or n.state = 'accepted' and coalesce(n.receipt::text, 'none') = $11)
          limit $12
        )
        insert into plan_chunks (plan, number, ids)
        select $1, number, array_agg(id order by id)
        from (select id, (row_number() over (order by id) - 1) / $2::int8 as number from found) f group by number
        "#,
        plan,
        PIECE,
        search.state,
        search.reason,
        search.waiting_on.map(crate::domain::notification::Wait::as_str),
        search.template,
        sender,
        search.since.map(time) as _,
        search.until.map(time) as _,
        ids as _,
        search.receipt,
        signed(FOUND_MAX + 1)
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn find_rejected(tx: &mut PgConnection, plan: i64, search: &Search, ids: Option<&[Uuid]>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- plans: find rejected
        with found as materialized (
          select id from rejected_events
          where replayed_at is null and ($3::text is null or reason = $3)
            and ($4::timestamptz is null or received_at >= $4) and ($5::timestamptz is null or received_at < $5)
            and ($6::uuid[] is null or id = any ($6))
          limit $7
        )
        insert into plan_chunks (plan, number, ids)
        select $1, number, array_agg(id order by id)
        from (select id, (row_number() over (order by id) - 1) / $2::int8 as number from found) f group by number
        "#,
        plan,
        PIECE,
        search.reason,
        search.since.map(time) as _,
        search.until.map(time) as _,
        ids as _,
        signed(FOUND_MAX + 1)
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What was found, those together that stand alike. What the claim would say of consent and of later stages is asked as it does.
async fn groups(
    tx: &mut PgConnection,
    plan: i64,
    action: Action,
    wanted: Option<&Wanted>,
) -> Result<Vec<Group>, Error> {
    let rows = sqlx::query!(
        r#"
        -- plans: estimate
        select n.state::text as "state!", n.reason, n.expires_at <= k.now as "expired!",
          n.filled is not null or n.free_text is not null as "kept!", n.fallback is not null as "followed!",
          coalesce($2 and n.journey_key is not null and n.state in ('failed', 'suppressed', 'in_doubt') and exists (
            select from inbox i where i.journey_key = n.journey_key and i.journey = n.journey and i.stage > n.stage
              and i.time >= n.event_time), false) as "stale!",
          case x.consent
            when 'granted' then 'yes'
            when 'pending' then
              case when least(n.consent_until, (c.consents -> n.purpose ->> 'until')::timestamptz) > k.now then 'not_yet' else 'no' end
            when 'revoked' then 'no'
            else case when n.grace_until > k.now then 'not_yet' else 'no' end
          end as "agreed!",
          n.sender, n.template, t.category as "category?", case when $2 then left(c.phone, 8) end as head, count(*) as "n!"
        from plan_chunks p
        cross join (select recado_now() as now) k
        cross join lateral unnest(p.ids) as of_plan(id)
        join notifications n on n.id = of_plan.id
        join contacts c on c.id = n.contact_id
        cross join lateral (select coalesce(c.consents -> n.purpose, c.consents -> '*') ->> 'state' as consent) x
        left join template_states t on t.sender = n.sender and t.template = n.template and t.language = n.language
        where p.plan = $1
        group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
        "#,
        plan,
        action.sends()
    )
    .fetch_all(tx)
    .await?;
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows {
        let wrong = |column| Error::Inconsistent { table: "notifications", column, row: format!("of plan {plan}") };
        let state = StateName::named(&row.state).ok_or_else(|| wrong("state"))?;
        groups.push(Group {
            standing: Standing {
                state,
                reason: row.reason,
                expired: row.expired,
                kept: row.kept,
                followed: row.followed,
            },
            stale: row.stale,
            agreed: match row.agreed.as_str() {
                "yes" => Agreed::Yes,
                "not_yet" => Agreed::NotYet,
                _ => Agreed::No,
            },
            price: wanted
                .and_then(|of| price(of, row.sender, &row.template, row.category.as_deref(), row.head.as_deref())),
            count: row.n.unsigned_abs(),
        });
    }
    Ok(groups)
}

/// Of what a plan has not come to yet: people who may get a message twice, as it stands now.
///
/// # Errors
/// If the database cannot be asked, or a row makes no sense.
pub(super) async fn duplicates(tx: &mut PgConnection, plan: i64, action: Action) -> Result<u64, Error> {
    if action != Action::Resend {
        return Ok(0);
    }
    Ok(Estimate::of(action, &groups(tx, plan, action, None).await?).duplicates)
}

/// What one message costs to a number that begins so.
fn price(wanted: &Wanted, sender: i16, template: &str, category: Option<&str>, head: Option<&str>) -> Option<Money> {
    let category = category.and_then(Category::named).unwrap_or(Category::Utility);
    wanted.prices.get(&sender)?.expect(template, head?, category, wanted.now).price
}

async fn count_rejected(tx: &mut PgConnection, plan: i64) -> Result<Estimate, Error> {
    let row = sqlx::query!(
        r#"
        -- plans: estimate rejected
        select count(*) as "found!", count(*) filter (where e.whole) as "whole!"
        from plan_chunks p cross join lateral unnest(p.ids) as of_plan(id) join rejected_events e on e.id = of_plan.id
        where p.plan = $1
        "#,
        plan
    )
    .fetch_one(tx)
    .await?;
    let (found, acts) = (row.found.unsigned_abs(), row.whole.unsigned_abs());
    let partial = found - acts;
    let skipped = (partial > 0).then_some((Skip::BeginningOnly, partial)).into_iter().collect();
    Ok(Estimate { found, acts, skipped, ..Estimate::default() })
}

/// The holds there are on it, and how many messages wait or would.
async fn count_held(tx: &mut PgConnection, on: &On, sender: Option<i16>) -> Result<Estimate, Error> {
    let (scope, template, language) = match on {
        On::Everything => ("everything", None, None),
        On::Sender(_) => ("sender", None, None),
        On::Template { template, language, .. } => ("template", Some(template.as_str()), language.as_deref()),
    };
    let row = sqlx::query!(
        r#"
        -- plans: estimate of a hold
        select (select count(*) from holds h where h.released_at is null and (h.until is null or h.until > recado_now())
            and h.scope = $1::text::hold_scope and h.sender is not distinct from $2 and h.template is not distinct from $3
            and ($4::text is null or h.language is not distinct from $4)) as "holds!",
          (select count(*) from (
            select from notifications n where n.state = 'pending' and ($2::int2 is null or n.sender = $2)
              and ($3::text is null or n.template = $3) and ($4::text is null or n.language = $4) limit $5) w) as "waiting!"
        "#,
        scope,
        sender,
        template,
        language,
        signed(FOUND_MAX)
    )
    .fetch_one(tx)
    .await?;
    let (holds, waiting) = (row.holds.unsigned_abs(), row.waiting.unsigned_abs());
    Ok(Estimate { found: 1, acts: 1, holds, waiting, ..Estimate::default() })
}
