//! Who waits in a lane, and whose turn it is.
//!
//! A lane with somebody waiting is woken by what frees it. The lanes are locked before anybody is looked for, since only
//! the holder of a lane's lock may add to those who wait there.

use sqlx::{PgConnection, PgPool};

use super::{Error, alone, dispatch::Pace};

/// Gives the next in line its turn, at the time that the pace allows, and frees what waited for an earlier message of its
/// subject. Lanes that are not free are left as they are. Says how many notifications were woken.
///
/// # Errors
/// If the database cannot be asked; nothing is changed then.
pub async fn wake(pool: &PgPool, lanes: &[(i64, i16)], pace: Pace) -> Result<u64, Error> {
    if lanes.is_empty() {
        return Ok(0);
    }
    let (contacts, senders): (Vec<i64>, Vec<i16>) = lanes.iter().copied().unzip();
    alone(pool, move |tx| Box::pin(async move { wake_locked(tx, &contacts, &senders, pace).await })).await
}

async fn wake_locked(tx: &mut PgConnection, contacts: &[i64], senders: &[i16], pace: Pace) -> Result<u64, Error> {
    sqlx::query!(
        r#"
        -- lanes: lock
        select l.contact_id from lanes l
        join (select distinct * from unnest($1::int8[], $2::int2[]) as w(contact_id, sender)) w
          on w.contact_id = l.contact_id and w.sender = l.sender
        where l.waiting or l.blocked
        order by l.contact_id, l.sender for no key update of l
        "#,
        contacts,
        senders
    )
    .fetch_all(&mut *tx)
    .await?;
    let woken = sqlx::query_scalar!(
        r#"
        -- lanes: wake
        with lane as materialized (
          select l.*, recado_now() as now from lanes l
          join (select distinct * from unnest($1::int8[], $2::int2[]) as w(contact_id, sender)) w
            on w.contact_id = l.contact_id and w.sender = l.sender
          where l.waiting or l.blocked
        ), freed as (
          update notifications n set waiting_on = null, due_at = least(n.expires_at, l.now)
          from lane l
          where l.blocked and n.contact_id = l.contact_id and n.sender = l.sender
            and n.state = 'pending' and n.subject is not null and n.waiting_on = 'subject'
            and not exists (select from notifications e where e.contact_id = n.contact_id and e.subject = n.subject and e.id < n.id
              and e.state = 'pending')
          returning n.id, n.contact_id, n.sender
        ), next as materialized (
          select l.contact_id, l.sender, l.now, greatest(l.pace_tat - $3 * interval '1 ms', l.backoff_until) as free_at,
            (select n.id from notifications n where n.contact_id = l.contact_id and n.sender = l.sender and n.waiting_on = 'lane'
             order by n.class, n.id limit 1) as id
          from lane l
          where l.waiting and l.in_flight is null
            and not exists (select from notifications h where h.id = l.head and h.state = 'pending' and h.waiting_on is null)
        ), turned as (
          update notifications n set waiting_on = null, due_at = least(n.expires_at, greatest(x.now, x.free_at))
          from next x where n.id = x.id
          returning n.id
        ), lanes_done as (
          update lanes l set head = x.id, waiting = x.id is not null
          from next x where l.contact_id = x.contact_id and l.sender = x.sender
        )
        select (select count(*) from freed) + (select count(*) from turned) as "n!"
        "#,
        contacts,
        senders,
        pace.tolerance_ms() as _,
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query!(
        r#"
        -- lanes: unblock
        update lanes l set blocked = false
        from (select distinct * from unnest($1::int8[], $2::int2[]) as w(contact_id, sender)) w
        where w.contact_id = l.contact_id and w.sender = l.sender and l.blocked
          and not exists (select from notifications n where n.contact_id = l.contact_id and n.sender = l.sender
            and n.state = 'pending' and n.subject is not null and n.waiting_on = 'subject')
        "#,
        contacts,
        senders
    )
    .execute(&mut *tx)
    .await?;
    Ok(u64::try_from(woken).unwrap_or(0))
}

/// Frees lanes whose message is not under way any more though they say so: what a merge leaves behind while an answer comes. At most
/// `limit`; says how many.
///
/// # Errors
/// If the database cannot be asked.
pub async fn free(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let stuck = sqlx::query!(
        r#"
        -- upkeep: lanes that wait for nobody
        select l.contact_id, l.sender, l.in_flight as "in_flight!" from lanes l
        where (l.waiting or l.blocked) and l.in_flight is not null
          and not exists (select from notifications n where n.id = l.in_flight and n.state = 'sending')
        order by l.contact_id, l.sender limit $1
        "#,
        limit
    )
    .fetch_all(pool)
    .await?;
    let mut freed = 0;
    for lane in stuck {
        // While the lane says so nothing of it can go, this message neither: what was seen still holds if it still says so.
        let done = sqlx::query!(
            "update lanes set in_flight = null where contact_id = $1 and sender = $2 and in_flight = $3",
            lane.contact_id,
            lane.sender,
            lane.in_flight
        );
        freed += done.execute(pool).await?.rows_affected();
    }
    Ok(freed)
}

/// Gives a lane to what is due and has none, which no claim can see: of people who proved to be somebody else while it was recorded, or
/// before it became due again. It goes on with the contact that stayed. Looks at the first `limit` that are due of each sender; says
/// how many there were.
///
/// # Errors
/// If the database does not take it.
pub async fn adopt(pool: &PgPool, limit: i64) -> Result<i64, Error> {
    Ok(sqlx::query_scalar!(
        r#"
        -- upkeep: due without a lane
        with first as materialized (
          select d.* from senders s cross join (values (0::int2), (1::int2)) as k(class) cross join lateral (
            select n.id, n.contact_id, n.sender from notifications n
            where n.sender = s.id and n.class = k.class and n.state = 'pending' and n.waiting_on is null
              and n.due_at <= recado_now() - interval '5 s'
            order by n.due_at, n.id limit $1
          ) d
        ), stray as materialized (
          select f.id, f.sender, coalesce(c.merged_into, c.id) as contact_id from first f join contacts c on c.id = f.contact_id
          where not exists (select from lanes l where l.contact_id = f.contact_id and l.sender = f.sender)
        ), lane as (
          insert into lanes (contact_id, sender) select distinct contact_id, sender from stray order by 1, 2 on conflict do nothing
        ), moved as (
          update notifications n set contact_id = s.contact_id from stray s where n.id = s.id and n.state = 'pending' returning n.id
        )
        select count(*) as "n!" from moved
        "#,
        limit
    )
    .fetch_one(pool)
    .await?)
}

/// Lanes in which somebody waits though nothing is under way: what a crash between two statements leaves behind.
///
/// # Errors
/// If the database cannot be asked.
pub async fn forgotten(pool: &PgPool, limit: i64) -> Result<Vec<(i64, i16)>, Error> {
    let rows = sqlx::query!(
        r#"
        -- upkeep: forgotten lanes
        select l.contact_id, l.sender from lanes l
        where (l.waiting and l.in_flight is null
            and not exists (select from notifications h where h.id = l.head and h.state = 'pending' and h.waiting_on is null)
          or l.blocked and exists (select from notifications n where n.contact_id = l.contact_id and n.sender = l.sender
            and n.state = 'pending' and n.subject is not null and n.waiting_on = 'subject'
            and not exists (select from notifications e where e.contact_id = n.contact_id and e.subject = n.subject and e.id < n.id
              and e.state = 'pending')))
          and (l.waiting or l.blocked)
        order by l.contact_id limit $1
        "#,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.contact_id, row.sender)).collect())
}

/// Brings back some of what waits for a sender's budget, the earliest due first. Says how many; if it is `limit`, there may be more.
///
/// # Errors
/// If the database cannot be asked.
pub async fn wake_budget(pool: &PgPool, sender: i16, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- fleet: wake what waits for a budget
        update notifications n set waiting_on = null, due_at = least(n.expires_at, recado_now())
        from (select id from notifications where waiting_on is not null and waiting_on = 'budget' and sender = $1
              order by due_at limit $2 for no key update skip locked) w
        where n.id = w.id
        "#,
        sender,
        limit
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Brings back what has waited until its time (a grace, quiet hours, an expiry), at most `limit`: the claim decides
/// what becomes of it. Says how many.
///
/// # Errors
/// If the database cannot be asked.
pub async fn wake_overdue(pool: &PgPool, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        r#"
        -- upkeep: overdue waits
        update notifications n set waiting_on = null
        from (select id from notifications where waiting_on is not null and due_at <= recado_now()
              order by due_at limit $1 for no key update skip locked) w
        where n.id = w.id
        "#,
        limit
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
