//! What a plan would come to: what it finds is written down piece by piece, and how each would fare now is counted, in one transaction.

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, PIECE, Plan, Wish, acting, alone, inconsistent, reading, signed};
use crate::{
    clock::Clock,
    db::{
        Time,
        dispatch::millis,
        inbox::{Arrival, Born},
        rejected::{self, Kept},
        senders, story, time,
    },
    domain::{
        action::{Action, Course, FOUND_MAX, Failure, Skip, Standing, StateName},
        cost::Prices,
        estimate::{Agreed, Estimate, Foreseen, Group, Message},
        money::Money,
        rates::Category,
        search::{On, Search, Target},
    },
};

/// What plans are reckoned by.
#[derive(Clone)]
pub struct Means {
    /// By sender.
    pub prices: Arc<HashMap<i16, Prices>>,
    /// What a rejected event would be if it came now; or why it would be rejected again.
    pub read: Arc<dyn Fn(Kept) -> Result<Arrival, Skip> + Send + Sync>,
    pub clock: Clock,
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").finish_non_exhaustive()
    }
}

/// Whoever made a plan reckons it. After this long somebody else does.
const MAKERS: Duration = Duration::from_secs(5);

/// The first plan that its maker left unreckoned.
///
/// # Errors
/// If the database cannot be asked.
pub async fn unreckoned(pool: &PgPool) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- plans: unreckoned
        select id from plans where state = 'reckoning' and made_at < recado_now() - $1 * interval '1 ms' order by id limit 1
        "#,
        millis(MAKERS) as _
    )
    .fetch_optional(pool)
    .await?)
}

/// Finds and counts. Says whether it did: not if that was done before, or somebody else is at it. A plan that cannot be reckoned has failed.
///
/// # Errors
/// If the database is out of reach; it is reckoned later then.
pub async fn reckon(pool: &PgPool, id: i64, means: &Means) -> Result<bool, Error> {
    let own = means.clone();
    let reckoned = alone(pool, move |tx| Box::pin(async move { alone_at(tx, id, &own).await })).await;
    let failure = match reckoned {
        Err(error) if error.code().as_deref() == Some(CANCELLED) => Failure::TooSlow,
        Err(error @ (Error::Data { .. } | Error::Inconsistent { .. })) => Failure::Other(error.to_string()),
        other => return other,
    };
    tracing::error!(plan = id, %failure, "plan.failed");
    alone(pool, move |tx| Box::pin(async move { acting::break_off(tx, id, Course::Reckoning, &failure).await })).await
}

/// Postgres's code of a statement that took too long.
const CANCELLED: &str = "57014";

async fn alone_at(tx: &mut PgConnection, id: i64, means: &Means) -> Result<bool, Error> {
    // Not its row: who only looks whether it can be run does not wait.
    let mine = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended('recado plan ' || $1::int8, 0)) as "mine!""#,
        id
    )
    .fetch_one(&mut *tx)
    .await?;
    let Some(plan) = reading::one(&mut *tx, id).await?.filter(|plan| mine && plan.course == Course::Reckoning) else {
        return Ok(false);
    };
    let wish = wish(&plan).ok_or_else(|| inconsistent("search", id))?;
    let sender = match wish.sender() {
        Some(name) => Some(senders::find(&mut *tx, name).await?.ok_or_else(|| inconsistent("search", id))?),
        None => None,
    };
    let estimate = match &wish {
        Wish::Found(action, search) => {
            let ids = named(tx, id, search).await?;
            if *action == Action::Replay {
                find_rejected(tx, id, search, ids.as_deref()).await?;
            } else {
                find(tx, id, search, sender, ids.as_deref()).await?;
            }
            if found(tx, id).await? > FOUND_MAX {
                sqlx::query!("delete from plan_chunks where plan = $1", id).execute(&mut *tx).await?;
                return acting::break_off(tx, id, Course::Reckoning, &Failure::TooMany).await;
            }
            if *action == Action::Replay {
                foresee(tx, id, means).await?
            } else {
                Estimate::of(*action, &groups(tx, id, *action, means).await?)
            }
        }
        Wish::Hold(target) | Wish::Release(target) => count_held(tx, &target.on, sender).await?,
    };
    sqlx::query!(
        "update plans set state = 'planned', found = $2, estimate = $3 where id = $1",
        id,
        signed(estimate.found),
        json!(estimate)
    )
    .execute(&mut *tx)
    .await?;
    Ok(true)
}

/// What is wanted. A number is masked in what is kept: the person's contacts stand for it.
fn wish(plan: &Plan) -> Option<Wish> {
    let pairs = plan.search.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Some(match plan.action {
        Action::Hold => Wish::Hold(Target::read(pairs).ok()?),
        Action::Release => Wish::Release(Target::read(pairs).ok()?),
        action @ (Action::Retry | Action::Resend | Action::Cancel | Action::GiveUp | Action::Replay) => {
            Wish::Found(action, Search::read(pairs.filter(|(key, _)| *key != "phone")).ok()?)
        }
    })
}

/// The only ones that can be meant, if ids, an order or a person are named.
async fn named(tx: &mut PgConnection, plan: i64, search: &Search) -> Result<Option<Vec<Uuid>>, Error> {
    let ids = Some(&search.ids).filter(|ids| !ids.is_empty());
    let people = reading::people(tx, plan).await?;
    if search.order.is_none() && people.is_none() {
        return Ok(ids.cloned());
    }
    let most = signed(FOUND_MAX + 1);
    let mut related = story::notifications_of(tx, search.order.as_deref(), people.as_deref(), most).await?;
    if let Some(ids) = ids {
        related.retain(|one| ids.contains(one));
    }
    Ok(Some(related))
}

async fn found(tx: &mut PgConnection, plan: i64) -> Result<u64, Error> {
    let found = sqlx::query_scalar!(
        r#"select coalesce(sum(cardinality(ids)), 0)::int8 as "found!" from plan_chunks where plan = $1"#,
        plan
    )
    .fetch_one(tx)
    .await?;
    Ok(found.unsigned_abs())
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
async fn groups(tx: &mut PgConnection, plan: i64, action: Action, means: &Means) -> Result<Vec<Group>, Error> {
    let now = means.clock.now();
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
            agreed: agreed(&row.agreed),
            price: row
                .head
                .and_then(|head| price(means, row.sender, &row.template, row.category.as_deref(), &head, now)),
            count: row.n.unsigned_abs(),
        });
    }
    Ok(groups)
}

/// What one message costs to a number that begins so.
fn price(
    means: &Means,
    sender: i16,
    template: &str,
    category: Option<&str>,
    head: &str,
    now: Timestamp,
) -> Option<Money> {
    let category = category.and_then(Category::named).unwrap_or(Category::Utility);
    means.prices.get(&sender)?.expect(template, head, category, now).price
}

/// What running the rejected events again would come to.
async fn foresee(tx: &mut PgConnection, plan: i64, means: &Means) -> Result<Estimate, Error> {
    let mut estimate = Estimate::default();
    let mut met = HashSet::new();
    let mut after = -1;
    while let Some(row) = sqlx::query!(
        "select number, ids from plan_chunks where plan = $1 and number > $2 order by number limit 1",
        plan,
        after
    )
    .fetch_optional(&mut *tx)
    .await?
    {
        after = row.number;
        let kept = rejected::kept(&mut *tx, &row.ids).await?;
        let mut arrivals = Vec::with_capacity(kept.len());
        for (kept, replayed) in kept {
            match if replayed { Err(Skip::Replayed) } else { (means.read)(kept) } {
                Ok(arrival) => arrivals.push(arrival),
                Err(skip) => estimate.event(Err(skip)),
            }
        }
        for foreseen in of_arrivals(tx, &arrivals, &mut met, means).await? {
            estimate.event(Ok(foreseen));
        }
    }
    Ok(estimate)
}

/// What each would come to. `met` are the identities that came before.
async fn of_arrivals(
    tx: &mut PgConnection,
    arrivals: &[Arrival],
    met: &mut HashSet<u64>,
    means: &Means,
) -> Result<Vec<Foreseen>, Error> {
    let known = known(tx, arrivals).await?;
    let mut messages = messages(tx, arrivals, means).await?;
    let mut foreseen = Vec::with_capacity(arrivals.len());
    for (n, arrival) in (0..).zip(arrivals) {
        let mut identity = DefaultHasher::new();
        (&arrival.source, &arrival.id).hash(&mut identity);
        let first = met.insert(identity.finish());
        foreseen.push(if !first || known.contains(&n) {
            Foreseen::Known
        } else {
            messages.remove(&n).map_or(Foreseen::Ignored, Foreseen::Messages)
        });
    }
    Ok(foreseen)
}

/// The places of those that the inbox has.
async fn known(tx: &mut PgConnection, arrivals: &[Arrival]) -> Result<HashSet<i64>, Error> {
    let rows = sqlx::query_scalar!(
        r#"
        -- plans: known events
        select a.n - 1 as "n!" from unnest($1::text[], $2::text[]) with ordinality as a(source, id, n)
        where exists (select from inbox i where i.id = a.id and i.source = a.source)
        "#,
        &arrivals.iter().map(|a| a.source.as_str()).collect::<Vec<_>>() as _,
        &arrivals.iter().map(|a| a.id.as_str()).collect::<Vec<_>>() as _,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().collect())
}

/// The messages that would follow each, by its place. What the claim would say of consent and of later stages is asked as it does.
async fn messages(
    tx: &mut PgConnection,
    arrivals: &[Arrival],
    means: &Means,
) -> Result<HashMap<i64, Vec<Message>>, Error> {
    let born: Vec<(i64, &Arrival, &Born)> = (0..)
        .zip(arrivals)
        .flat_map(|(n, arrival)| arrival.notifications.iter().map(move |born| (n, arrival, born)))
        .collect();
    let rows = sqlx::query!(
        r#"
        -- plans: foresee
        select b.n as "n!", b.expires_at <= k.now as "expired!",
          coalesce(b.journey_key is not null and exists (
            select from inbox i where i.journey_key = b.journey_key and i.journey = b.journey and i.stage > b.stage
              and i.time >= b.time), false) as "stale!",
          case x.consent
            when 'granted' then 'yes'
            when 'pending' then
              case when least(k.now + b.pending_ms * interval '1 ms', (c.consents -> b.purpose ->> 'until')::timestamptz) > k.now
                then 'not_yet' else 'no' end
            when 'revoked' then 'no'
            else case when b.grace_ms > 0 then 'not_yet' else 'no' end
          end as "agreed!",
          t.category as "category?", b.place as "place!"
        from unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int2[], $7::timestamptz[], $8::int8[], $9::int8[],
                    $10::text[], $11::text[], $12::int2[], $13::timestamptz[])
          with ordinality as b(n, phone, purpose, template, language, sender, expires_at, grace_ms, pending_ms,
                               journey, journey_key, stage, time, place)
        cross join (select recado_now() as now) k
        left join contacts found on found.phone = b.phone
        left join contacts c on c.id = coalesce(found.merged_into, found.id)
        cross join lateral (select coalesce(c.consents -> b.purpose, c.consents -> '*') ->> 'state' as consent) x
        left join template_states t on t.sender = b.sender and t.template = b.template and t.language = b.language
        "#,
        &born.iter().map(|(n, ..)| *n).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.phone.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.purpose.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.template.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.language.as_str()).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.sender).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| time(b.expires_at)).collect::<Vec<Time>>() as _,
        &born.iter().map(|(.., b)| b.grace_ms).collect::<Vec<_>>() as _,
        &born.iter().map(|(.., b)| b.pending_ms).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| a.stage.as_ref().map(|s| s.journey.as_str())).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| a.stage.as_ref().map(|s| s.key.as_str())).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| a.stage.as_ref().map(|s| s.number)).collect::<Vec<_>>() as _,
        &born.iter().map(|(_, a, _)| time(a.time)).collect::<Vec<Time>>() as _,
    )
    .fetch_all(tx)
    .await?;
    let now = means.clock.now();
    let mut messages: HashMap<i64, Vec<Message>> = HashMap::new();
    for row in rows {
        let Some((.., born)) = usize::try_from(row.place - 1).ok().and_then(|place| born.get(place)) else { continue };
        let price = price(means, born.sender, &born.template, row.category.as_deref(), &born.phone, now);
        let agreed = agreed(&row.agreed);
        let message = Message { expired: row.expired, stale: row.stale, agreed, price };
        messages.entry(row.n).or_default().push(message);
    }
    Ok(messages)
}

fn agreed(text: &str) -> Agreed {
    match text {
        "yes" => Agreed::Yes,
        "not_yet" => Agreed::NotYet,
        _ => Agreed::No,
    }
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
