//! Anchors of the ledger: a hash over all entries in their order, day by day. An entry that is removed later shows against it, also
//! if it was somebody's last one.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::{Error, Time};
use crate::domain::ledger::Hash;

/// One anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The last entry that it covers, in the order of all.
    pub upto: i64,
    pub at: Timestamp,
    /// How many entries came since the anchor before.
    pub entries: i64,
    pub anchor: Hash,
}

/// Entries by one question.
const AT_ONCE: i64 = 5_000;

/// The hash over the anchor before and every entry after it, up to `upto`; and how many those are.
async fn compute(pool: &PgPool, before: Option<&Anchor>, upto: i64) -> Result<(Hash, i64), Error> {
    let mut hash = Sha256::new();
    hash.update(b"recado consent anchor 1");
    hash.update(before.map_or([0; 32], |before| before.anchor));
    let (mut after, mut entries) = (before.map_or(0, |before| before.upto), 0);
    loop {
        let rows = sqlx::query!(
            r#"
            -- anchors: entries
            select sequence, contact_id, number, hash from consent_entries where sequence > $1 and sequence <= $2
            order by sequence limit $3
            "#,
            after,
            upto,
            AT_ONCE
        )
        .fetch_all(pool)
        .await?;
        let Some(last) = rows.last() else { break };
        after = last.sequence;
        for row in &rows {
            entries += 1;
            hash.update(row.contact_id.to_be_bytes());
            hash.update(row.number.to_be_bytes());
            hash.update(&row.hash);
        }
    }
    Ok((hash.finalize().into(), entries))
}

/// All anchors, the earliest first.
///
/// # Errors
/// If the database cannot be asked.
pub async fn all(pool: &PgPool) -> Result<Vec<Anchor>, Error> {
    let rows = sqlx::query!(r#"select upto, at as "at: Time", entries, anchor from consent_anchors order by upto"#)
        .fetch_all(pool)
        .await?;
    rows.into_iter()
        .map(|row| {
            let anchor = Hash::try_from(row.anchor).map_err(|_| Error::Inconsistent {
                table: "consent_anchors",
                column: "anchor",
                row: row.upto.to_string(),
            })?;
            Ok(Anchor { upto: row.upto, at: row.at.to_jiff(), entries: row.entries, anchor })
        })
        .collect()
}

/// Sets the next anchor, if a day has passed since the last one and something was added. Entries of the last ten minutes are left for
/// the next: none of our transactions lasts that long, so nothing can appear before them any more.
///
/// # Errors
/// If the database does not take it.
pub async fn drop_next(pool: &PgPool) -> Result<Option<Anchor>, Error> {
    let last = all(pool).await?.pop();
    let due = sqlx::query_scalar!(
        r#"
        -- anchors: due
        select max(e.sequence) as "upto: i64" from consent_entries e
        where e.sequence > $1 and e.recorded_at < recado_now() - interval '10 min'
          and not exists (select from consent_anchors a where a.at > recado_now() - interval '23 h 55 min')
        "#,
        last.as_ref().map_or(0, |last| last.upto)
    )
    .fetch_one(pool)
    .await?;
    let Some(upto) = due else { return Ok(None) };
    let (anchor, entries) = compute(pool, last.as_ref(), upto).await?;
    let row = sqlx::query!(
        r#"
        -- anchors: drop
        insert into consent_anchors (upto, entries, anchor) values ($1, $2, $3) on conflict do nothing returning at as "at: Time"
        "#,
        upto,
        entries,
        anchor.as_slice()
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Anchor { upto, at: row.at.to_jiff(), entries, anchor }))
}

/// The first anchor against which the entries do not hold any more, with how many entries there are where there should be others.
///
/// # Errors
/// If the database cannot be asked.
pub async fn broken(pool: &PgPool) -> Result<Option<(Anchor, i64)>, Error> {
    let mut before = None;
    for anchor in all(pool).await? {
        let (hash, entries) = compute(pool, before.as_ref(), anchor.upto).await?;
        if hash != anchor.anchor {
            return Ok(Some((anchor, entries)));
        }
        before = Some(anchor);
    }
    Ok(None)
}
