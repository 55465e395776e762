//! Two contacts that proved to be one person: one goes on, with everything that is unfinished, and the other's number leads to it.
//!
//! Proof is what the provider says, an answer to a message that was sent to the other, or the code of an ask about the same line in another
//! spelling; never a likeness of numbers alone. A no of either counts for both. Both chains stay; the one that goes on says what it took over.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::{Error, consents, time};
use crate::domain::ledger::{Act, Draft, EVERYTHING, Standing, Standings, State, append, stand, to_json};

/// Makes one of these contacts, the earliest that has a number, and gives it. Fewer than two are left as they are.
///
/// # Errors
/// If the database does not take it; nothing is changed then.
pub async fn merge(pool: &PgPool, contacts: &[i64], proof: &'static str, at: Timestamp) -> Result<Option<i64>, Error> {
    // Messages go to numbers, so whoever has one stays.
    let ids = sqlx::query_scalar!(
        "select id from contacts where id = any ($1) and merged_into is null order by phone is null, id",
        contacts
    )
    .fetch_all(pool)
    .await?;
    let Some((first, others)) = ids.split_first() else { return Ok(None) };
    let (first, others) = (*first, others.to_vec());
    for other in others {
        super::alone(pool, move |tx| Box::pin(async move { merge_two(tx, first, other, proof, at).await })).await?;
    }
    Ok(Some(first))
}

async fn merge_two(
    tx: &mut PgConnection,
    stays: i64,
    goes: i64,
    proof: &'static str,
    at: Timestamp,
) -> Result<(), Error> {
    let rows = sqlx::query!(
        r#"
        -- merge: lock
        select id, consents, entries, merged_into, wa_id, user_id, locale from contacts
        where id in ($1, $2) and erased_at is null order by id for update
        "#,
        stays,
        goes
    )
    .fetch_all(&mut *tx)
    .await?;
    let find = |id| rows.iter().find(|row| row.id == id && row.merged_into.is_none());
    let (Some(one), Some(other)) = (find(stays), find(goes)) else { return Ok(()) };
    let mut standings = consents::standings(&one.consents, stays)?;
    let others = consents::standings(&other.consents, goes)?;
    let mut head = consents::head(tx, stays).await?;
    let (mut entries, mut fresh) = (one.entries, Vec::new());
    let about = json!({"by": "merge", "proof": proof, "contact": goes});
    let changes = changes(&standings, &others);
    for (purpose, state, entry) in changes {
        let salt = consents::salt()?;
        let mut evidence = about.clone();
        if let Some(object) = evidence.as_object_mut() {
            object.insert("entry".to_owned(), entry.into());
            object.insert("state".to_owned(), state.as_str().into());
        }
        let draft = Draft { act: Act::Merged, purpose: &purpose, at, evidence: &evidence, salt: &salt };
        let new = append(stays, entries + 1, head, &draft);
        (entries, head) = (new.number, new.hash);
        fresh.push(new);
        stand(&mut standings, &purpose, state, entries, at);
    }
    if !fresh.is_empty() {
        consents::append(tx, &fresh).await?;
    }
    sqlx::query!(
        r#"
        -- merge: contacts
        with gone as (
          update contacts set merged_into = $1, wa_id = null, user_id = null, consents = '{}' where id = $2 or merged_into = $2
        )
        update contacts set consents = $3, entries = $4, wa_id = coalesce(wa_id, $5), user_id = coalesce(user_id, $6),
          locale = coalesce(locale, $7)
        where id = $1
        "#,
        stays,
        goes,
        to_json(&standings),
        entries,
        other.wa_id,
        other.user_id,
        other.locale,
    )
    .execute(&mut *tx)
    .await?;
    hand_over(tx, stays, goes, at).await
}

/// What becomes of our standings: a no of either wins, then a yes, then a question. A no to everything is one to each purpose.
fn changes(ours: &Standings, theirs: &Standings) -> Vec<(String, State, i32)> {
    let weight = |standing: Option<&Standing>| match standing.map(|standing| standing.state) {
        Some(State::Revoked) => 3,
        Some(State::Granted) => 2,
        Some(State::Pending { .. }) => 1,
        None => 0,
    };
    let of = |all: &Standings, purpose: &str| all.get(purpose).or(all.get(EVERYTHING)).copied();
    let purposes: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let change = |purpose: &String| {
        let (own, other) = (of(ours, purpose), of(theirs, purpose));
        let wins = if weight(other.as_ref()) > weight(own.as_ref()) { other } else { own }?;
        let changed = ours.get(purpose).is_none_or(|now| now.state != wins.state);
        changed.then(|| (purpose.clone(), wins.state, wins.entry))
    };
    purposes.into_iter().filter_map(change).collect()
}

/// What is unfinished goes on with the contact that stays; what is done stays where its consents are named.
async fn hand_over(tx: &mut PgConnection, stays: i64, goes: i64, at: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        r#"
        -- merge: lanes
        with gone as (
          delete from lanes where contact_id = $2 returning *
        )
        insert into lanes (contact_id, sender, pace_tat, in_flight, waiting, blocked, backoff_until, backoffs, sent_at, window_until)
        select $1, sender, pace_tat, in_flight, waiting, blocked, backoff_until, backoffs, sent_at, window_until from gone
        on conflict (contact_id, sender) do update set pace_tat = greatest(lanes.pace_tat, excluded.pace_tat),
          in_flight = coalesce(lanes.in_flight, excluded.in_flight), waiting = lanes.waiting or excluded.waiting,
          blocked = lanes.blocked or excluded.blocked, backoff_until = greatest(lanes.backoff_until, excluded.backoff_until),
          sent_at = greatest(lanes.sent_at, excluded.sent_at), window_until = greatest(lanes.window_until, excluded.window_until)
        "#,
        stays,
        goes
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        r#"
        -- merge: notifications
        with moved as (
          update notifications set contact_id = $1,
            -- What waited for an answer is looked at again.
            waiting_on = case when waiting_on = 'consent' then null else waiting_on end,
            due_at = case when waiting_on = 'consent' then least(expires_at, recado_now()) else due_at end
          where contact_id = $2 and state in ('pending', 'sending', 'in_doubt')
            -- Events keep the contact that they came for: also one who had gone into this one before, and is the other's by now.
            and id in (
              select unnest(i.notifications) from contacts c join inbox i on i.contact_id = c.id where c.merged_into = $1
            )
          returning id
        )
        insert into timeline (notification_id, at, what, detail) select id, $3, 'merged', $2::text from moved
        "#,
        stays,
        goes,
        time(at) as _
    )
    .execute(&mut *tx)
    .await?;
    // A yes of the other, or a no, is an answer to what waits here too.
    sqlx::query!(
        r#"
        -- merge: wake
        update notifications set waiting_on = null, due_at = least(expires_at, recado_now()) where contact_id = $1 and waiting_on = 'consent'
        "#,
        stays
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("update inbound set contact_id = $1 where contact_id = $2", stays, goes).execute(&mut *tx).await?;
    sqlx::query!("update opt_ins set contact_id = $1 where contact_id = $2", stays, goes).execute(&mut *tx).await?;
    sqlx::query!("update opt_ins set confirmed_by = $1 where confirmed_by = $2", stays, goes).execute(&mut *tx).await?;
    sqlx::query!("update tokens set contact_id = $1 where contact_id = $2", stays, goes).execute(&mut *tx).await?;
    sqlx::query!("update replies set contact_id = $1 where contact_id = $2", stays, goes).execute(tx).await?;
    Ok(())
}

/// Contacts that the provider knows as one account, a group each.
///
/// # Errors
/// If the database cannot be asked.
pub async fn alike(pool: &PgPool, limit: i64) -> Result<Vec<Vec<i64>>, Error> {
    let rows = sqlx::query_scalar!(
        r#"
        -- merge: alike
        select array[a.id, b.id] as "ids!" from contacts a join contacts b on b.phone = '+' || a.wa_id
        where a.wa_id is not null and a.id <> b.id and a.merged_into is null and b.merged_into is null
          and a.erased_at is null and b.erased_at is null
        union all
        select array_agg(id order by id) from contacts where wa_id is not null and merged_into is null
        group by wa_id having count(*) > 1
        limit $1
        "#,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings(of: &[(&str, State)]) -> Standings {
        let mut all = Standings::new();
        for (purpose, state) in of {
            stand(&mut all, purpose, *state, 1, Timestamp::UNIX_EPOCH);
        }
        all
    }

    fn changed(ours: &[(&str, State)], theirs: &[(&str, State)]) -> Vec<(String, State)> {
        let changes = changes(&standings(ours), &standings(theirs));
        changes.into_iter().map(|(purpose, state, _)| (purpose, state)).collect()
    }

    #[test]
    fn a_no_of_either_wins_and_then_a_yes() {
        let (yes, no) = (State::Granted, State::Revoked);
        let asked = State::Pending { until: Timestamp::MAX };
        assert_eq!(changed(&[("orders", yes)], &[("orders", no)]), [("orders".to_owned(), no)]);
        assert_eq!(changed(&[("orders", no)], &[("orders", yes)]), []);
        assert_eq!(changed(&[("orders", asked)], &[("orders", yes)]), [("orders".to_owned(), yes)]);
        assert_eq!(changed(&[("*", no)], &[("orders", yes)]), [("orders".to_owned(), no)]);
        assert_eq!(changed(&[("orders", yes)], &[("*", no)]), [("*".to_owned(), no), ("orders".to_owned(), no)]);
        assert_eq!(changed(&[], &[("orders", yes)]), [("orders".to_owned(), yes)]);
    }
}
