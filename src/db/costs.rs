//! What messages cost, in sums by day: asked for, folded together, and made anew from the attempts.
//!
//! The changes of these sums are written by the statements from which they come, in `settle` and `receipts`.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use sqlx::PgPool;

use super::{Error, Time, alone, time};
use crate::domain::money::{Currency, Money};

/// By what sums are told apart, besides their currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct By {
    pub day: bool,
    pub sender: bool,
    pub template: bool,
    pub country: bool,
    pub category: bool,
}

/// One sum. What it is not told apart by is none. Amounts are in millionths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    pub day: Option<Date>,
    pub sender: Option<String>,
    pub template: Option<String>,
    pub country: Option<String>,
    pub category: Option<String>,
    /// None for what no price list knows.
    pub currency: Option<Currency>,
    pub messages: i64,
    /// Of them, those that no price list knows.
    pub unpriced: i64,
    pub predicted: i64,
    /// Messages of which it is known what they cost.
    pub known: i64,
    /// What those were predicted to cost.
    pub known_predicted: i64,
    pub actual: i64,
}

/// A day's first moment in UTC.
fn midnight(day: Date) -> Time {
    time(day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |day| day.timestamp()))
}

/// The sums of these days, the last one included.
///
/// # Errors
/// If the database cannot be asked.
pub async fn sums(pool: &PgPool, from: Date, to: Date, by: By) -> Result<Vec<Sum>, Error> {
    let rows = sqlx::query!(
        r#"
        -- costs: sums
        select c.day::timestamp at time zone 'UTC' as "day?: Time", s.name as "sender?", c.template, c.country, c.category, c.currency as "currency!",
          c.messages::int8 as "messages!", c.unpriced::int8 as "unpriced!", c.predicted::int8 as "predicted!", c.known::int8 as "known!",
          c.known_predicted::int8 as "known_predicted!", c.actual::int8 as "actual!"
        from (
          select case when $3 then day end as day, case when $4 then sender end as sender, case when $5 then template end as template,
            case when $6 then country end as country, case when $7 then category end as category, currency,
            sum(messages) as messages, sum(unpriced) as unpriced, sum(predicted) as predicted, sum(known) as known,
            sum(known_predicted) as known_predicted, sum(actual) as actual
          from (select * from daily_costs union all select * from cost_changes) written
          where day >= ($1 at time zone 'UTC')::date and day <= ($2 at time zone 'UTC')::date
          group by 1, 2, 3, 4, 5, 6
        ) c
        left join senders s on s.id = c.sender
        order by c.day, s.name, c.template, c.country, c.category, c.currency
        "#,
        midnight(from) as _,
        midnight(to) as _,
        by.day,
        by.sender,
        by.template,
        by.country,
        by.category,
    )
    .fetch_all(pool)
    .await?;
    let sums = rows.into_iter().map(|row| Sum {
        day: row.day.map(|day| crate::domain::cost::day(day.to_jiff())),
        sender: row.sender,
        template: row.template,
        country: row.country,
        category: row.category,
        currency: Currency::named(&row.currency),
        messages: row.messages,
        unpriced: row.unpriced,
        predicted: row.predicted,
        known: row.known,
        known_predicted: row.known_predicted,
        actual: row.actual,
    });
    Ok(sums.collect())
}

/// What one sender has spent in one currency: what messages cost, and what those are expected to of which that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Since midnight, in millionths.
    pub today: i64,
    /// Since the month began.
    pub this_month: i64,
    pub tomorrow: Timestamp,
    pub next_month: Timestamp,
}

/// What a sender has spent today and this month, by the database's clock and UTC's days.
///
/// # Errors
/// If the database cannot be asked.
pub async fn spent(pool: &PgPool, sender: i16, currency: Currency) -> Result<Spent, Error> {
    let row = sqlx::query!(
        r#"
        -- costs: spent
        with clock as materialized (
          select (recado_now() at time zone 'UTC')::date as today, date_trunc('month', recado_now() at time zone 'UTC') as month
        )
        select coalesce(sum(c.spent) filter (where c.day = k.today), 0)::int8 as "today!", coalesce(sum(c.spent), 0)::int8 as "this_month!",
          (k.today + 1)::timestamp at time zone 'UTC' as "tomorrow!: Time",
          (k.month + interval '1 month') at time zone 'UTC' as "next_month!: Time"
        from clock k left join (
          select day, predicted - known_predicted + actual as spent from daily_costs
          where day >= (select month from clock)::date and sender = $1 and currency = $2
          union all
          select day, predicted - known_predicted + actual from cost_changes
          where day >= (select month from clock)::date and sender = $1 and currency = $2
        ) c on true
        group by k.today, k.month
        "#,
        sender,
        currency.as_str()
    )
    .fetch_one(pool)
    .await?;
    Ok(Spent {
        today: row.today,
        this_month: row.this_month,
        tomorrow: row.tomorrow.to_jiff(),
        next_month: row.next_month.to_jiff(),
    })
}

/// What a provider took for a message, told by its list of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priced {
    pub message_id: String,
    pub price: Money,
    /// What of the prediction this price stands for, if it is not all.
    pub instead_of: Option<Money>,
}

/// Notes what a provider took for messages of a sender of which it is not known yet, or is known otherwise. If it `tells_all`, that
/// is what they cost; else it is a part of it, and the rest is as it was predicted. An amount in another currency than the prediction is
/// left; without a prediction only a price that tells all counts.
///
/// # Errors
/// If the database does not take it; nothing is changed then.
pub async fn bill(pool: &PgPool, sender: i16, priced: &[Priced], tells_all: bool) -> Result<u64, Error> {
    let noted = sqlx::query_scalar!(
        r#"
        -- costs: bill
        with told as materialized (
          select * from unnest($2::text[], $3::int8[], $4::text[], $5::int8[]) as t(message_id, amount, currency, instead_of)
        ), held as materialized (
          select a.*, n.template, t.amount, t.currency as told_in, t.instead_of
          from told t
          join notifications n on n.message_id = t.message_id and n.sender = $1
          join attempts a on a.notification_id = n.id and a.message_id = t.message_id
          where a.counted_in is not null
          order by a.notification_id, a.number
          for no key update of a
        ), cost as materialized (
          select h.*, case when $6 then h.amount else h.predicted - coalesce(h.instead_of, 0) + h.amount end as becomes,
            -- Its sums move with it to a currency that was not known before.
            h.currency is null as moves
          from held h
          where h.receipt is distinct from 'failed' and (h.currency = h.told_in or h.currency is null and $6)
        ), noted as (
          update attempts a set actual = c.becomes, currency = c.told_in
          from cost c
          where a.notification_id = c.notification_id and a.number = c.number and c.becomes is distinct from c.actual and c.becomes is not null
          returning a.notification_id, a.number
        ), costs as (
          insert into cost_changes (day, sender, template, country, category, currency, messages, unpriced, predicted, known, known_predicted,
            actual)
          select (c.claimed_at at time zone 'UTC')::date, c.sender, c.template, coalesce(c.country, ''), coalesce(c.category, ''), x.currency,
            sum(x.messages), sum(x.messages), 0, sum(x.known), sum(x.known * coalesce(c.predicted, 0)), sum(x.actual)
          from cost c join noted n on n.notification_id = c.notification_id and n.number = c.number
          cross join lateral (values
            ('', -c.moves::int, case when c.moves then -(c.actual is not null)::int else 0 end, case when c.moves then -coalesce(c.actual, 0) else 0 end),
            (c.told_in, c.moves::int, 1 - (not c.moves and c.actual is not null)::int,
              c.becomes - case when c.moves then 0 else coalesce(c.actual, 0) end)
          ) as x(currency, messages, known, actual)
          where x.currency <> '' or c.moves
          group by 1, 2, 3, 4, 5, 6
        )
        select count(*) as "n!" from noted
        "#,
        sender,
        &priced.iter().map(|p| p.message_id.as_str()).collect::<Vec<_>>() as _,
        &priced.iter().map(|p| p.price.micros).collect::<Vec<_>>() as _,
        &priced.iter().map(|p| p.price.currency.as_str()).collect::<Vec<_>>() as _,
        &priced.iter().map(|p| p.instead_of.map(|money| money.micros)).collect::<Vec<_>>() as _,
        tells_all,
    )
    .fetch_one(pool)
    .await?;
    Ok(noted.unsigned_abs())
}

/// Whoever folds the changes or makes sums anew keeps the others out by this lock.
const LOCK: i64 = 7_262_736_304;

/// Folds the changes into the sums, unless somebody does it just now. Says how many there were.
///
/// # Errors
/// If the database does not take it; nothing is folded then.
pub async fn fold(pool: &PgPool) -> Result<u64, Error> {
    let folded = sqlx::query_scalar!(
        r#"
        -- costs: fold
        with mine as materialized (
          select pg_try_advisory_xact_lock($1) as yes
        ), change as (
          delete from cost_changes where (select yes from mine) returning *
        ), folded as (
          insert into daily_costs as d
          select day, sender, template, country, category, currency, sum(messages), sum(unpriced), sum(predicted), sum(known), sum(known_predicted),
            sum(actual)
          from change group by 1, 2, 3, 4, 5, 6
          on conflict (day, sender, template, country, category, currency) do update set
            messages = d.messages + excluded.messages, unpriced = d.unpriced + excluded.unpriced, predicted = d.predicted + excluded.predicted,
            known = d.known + excluded.known, known_predicted = d.known_predicted + excluded.known_predicted, actual = d.actual + excluded.actual
        )
        select count(*) as "n!" from change
        "#,
        LOCK
    )
    .fetch_one(pool)
    .await?;
    Ok(folded.unsigned_abs())
}

/// Makes one day's sums anew from the attempts that were claimed on it, and says how many messages they count. Of a day whose
/// notifications were removed since, what is left of it.
///
/// # Errors
/// If the database does not take it; the sums are as before then.
pub async fn recompute(pool: &PgPool, day: Date) -> Result<u64, Error> {
    let at = midnight(day);
    let counted = alone(pool, move |tx| {
        Box::pin(async move {
            // A statement of its own: what others have folded until then is seen by the next one.
            sqlx::query!(r#"select pg_advisory_xact_lock($1)::text as "done""#, LOCK).fetch_one(&mut *tx).await?;
            Ok(sqlx::query_scalar!(
                r#"
                -- costs: recompute
                with day as materialized (
                  select ($1 at time zone 'UTC')::date as day, $1::timestamptz as begins, $1::timestamptz + interval '24 h' as ends
                ), gone as (
                  delete from daily_costs where day = (select day from day)
                ), taken as (
                  delete from cost_changes where day = (select day from day)
                ), counted as materialized (
                  select d.day, a.sender, n.template, coalesce(a.country, '') as country, coalesce(a.category, '') as category,
                    coalesce(a.currency, '') as currency, count(*) as messages, count(*) filter (where a.predicted is null) as unpriced,
                    coalesce(sum(a.predicted), 0) as predicted, count(a.actual) as known,
                    coalesce(sum(a.predicted) filter (where a.actual is not null), 0) as known_predicted, coalesce(sum(a.actual), 0) as actual
                  from day d
                  join attempts a on a.claimed_at >= d.begins and a.claimed_at < d.ends and a.counted_in is not null
                  join notifications n on n.id = a.notification_id
                  group by 1, 2, 3, 4, 5, 6
                ), made as (
                  -- A change, since a row of the sums that goes cannot come again in the same statement.
                  insert into cost_changes select * from counted
                )
                select coalesce(sum(messages), 0)::int8 as "n!" from counted
                "#,
                at as _
            )
            .fetch_one(&mut *tx)
            .await?)
        })
    })
    .await?;
    fold(pool).await?;
    Ok(counted.unsigned_abs())
}
