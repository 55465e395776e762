//! How far a known set of events has come: for those who watch them from outside.

use serde_json::json;
use sqlx::PgPool;

use super::Error;

/// An event and, if it led to one, a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub event_id: String,
    pub ignored: Option<String>,
    pub conflicts: i64,
    pub template: Option<String>,
    pub state: Option<String>,
    pub reason: Option<String>,
    pub waiting_on: Option<String>,
    pub receipt: Option<String>,
    pub attempts: i16,
    pub resends: i16,
}

/// What became of these events of `source`, so far as they were received.
///
/// # Errors
/// If the database cannot be asked.
pub async fn of(pool: &PgPool, source: &str, ids: &[String]) -> Result<Vec<Step>, Error> {
    Ok(sqlx::query_as!(
        Step,
        r#"
        select i.id as event_id, i.ignored, n.template as "template?", n.state::text, n.reason, n.waiting_on::text, n.receipt::text,
          coalesce(n.attempt, 0::int2) as "attempts!", coalesce(n.resends, 0::int2) as "resends!",
          (select count(*) from inbox_conflicts c where c.source = i.source and c.id = i.id) as "conflicts!"
        from inbox i left join notifications n on n.id = any (i.notifications)
        where i.source = $1 and i.id = any ($2)
        order by i.received_at, i.id, n.id
        "#,
        source,
        ids
    )
    .fetch_all(pool)
    .await?)
}

/// How many deliveries with this header were kept as rejected.
///
/// # Errors
/// If the database cannot be asked.
pub async fn rejected_with(pool: &PgPool, header: &str, value: &str) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"select coalesce(sum(copies), 0) as "n!" from rejected_events where headers @> $1"#,
        json!({ header: value })
    )
    .fetch_one(pool)
    .await?)
}
