//! Who takes webhooks in, and since when: silence of the provider means something only if it could have been heard.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, dispatch::millis};

/// Says that this process takes webhooks in. It counts as open from now if it was silent for `gone_after`, or if it `turned_away`
/// a genuine webhook since it last said so. Those that were gone when this one opened are forgotten, since it stands in for
/// them; so are those that nobody has stood in for within an hour, from when on this one counts as open.
///
/// # Errors
/// If the database does not take it.
pub async fn beat(pool: &PgPool, worker: Uuid, gone_after: Duration, turned_away: bool) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- doors: beat
        with clock as materialized (
          select recado_now() as now, recado_now() - $2 * interval '1 ms' as gone, recado_now() - interval '1 h' as long_gone
        ), me as (
          insert into doors as d (worker, opened_at, seen_at) select $1, now, now from clock
          on conflict (worker) do update set seen_at = excluded.seen_at, closed_at = null,
            opened_at = case
              when $3 or d.closed_at is not null or d.seen_at < (select gone from clock)
                or exists (select from doors o where o.worker <> $1 and o.closed_at is null and o.seen_at < (select long_gone from clock))
              then excluded.opened_at else d.opened_at end
          returning opened_at
        )
        delete from doors d using me, clock k
        where d.worker <> $1
          and (d.closed_at <= me.opened_at or d.seen_at < least(me.opened_at, k.gone) or d.seen_at < k.long_gone)
        "#,
        worker,
        millis(gone_after) as _,
        turned_away,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Says that this process takes no webhooks any more.
///
/// # Errors
/// If the database does not take it; the process counts as vanished then.
pub async fn close(pool: &PgPool, worker: Uuid) -> Result<(), Error> {
    sqlx::query!("update doors set closed_at = recado_now(), seen_at = recado_now() where worker = $1", worker)
        .execute(pool)
        .await?;
    Ok(())
}
