//! Forgetting somebody: everything that tells who they were goes, everywhere. What stays is the chain of their ledger without its
//! evidence, with an entry that says so, and a keyed hash of the number, so that an old yes from a file does not bring them back.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::{Error, audit, consents, contacts, time};
use crate::domain::{ledger::Act, phone::Phone};

/// What was removed, in rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// Contacts that were this person, the one that went on first.
    pub contacts: Vec<i64>,
    /// Entries of the ledger whose evidence was removed.
    pub evidence: u64,
    pub events: u64,
    pub rejected_events: u64,
    pub notifications: u64,
    pub messages: u64,
    pub untold: u64,
    pub strays: u64,
    pub opt_ins: u64,
}

/// Forgets the person with this number, with all that they are known by. `key` makes the hashes by which their numbers stay recognisable;
/// `evidence` says who wanted it and why, and tells nothing about the person. None if nobody has this number.
///
/// # Errors
/// If the database does not take it; nothing is removed then.
pub async fn erase(
    pool: &PgPool,
    phone: Phone,
    key: &[u8],
    evidence: Value,
    by: &str,
    at: Timestamp,
) -> Result<Option<Erased>, Error> {
    // The numbering plans of the world are read once in a process: not while rows are locked.
    let _ = phone.national();
    let (by, key) = (by.to_owned(), key.to_vec());
    super::alone(pool, move |tx| {
        Box::pin(async move {
            let erased = erase_in(tx, &phone, &key, &evidence, at).await?;
            if let Some(contact) = erased.as_ref().and_then(|erased| erased.contacts.first()) {
                let on = format!("contact {contact}");
                let reason = evidence.get("reason").and_then(Value::as_str);
                let act = audit::Act { by: &by, what: "consent.erased", on: Some(&on), reason, detail: json!({}) };
                audit::note(&mut *tx, &act).await?;
            }
            Ok(erased)
        })
    })
    .await
}

async fn erase_in(
    tx: &mut PgConnection,
    phone: &Phone,
    key: &[u8],
    evidence: &Value,
    at: Timestamp,
) -> Result<Option<Erased>, Error> {
    let ids = lock(tx, phone).await?;
    let Some(stays) = ids.first() else { return Ok(None) };
    let mut erased = Erased { contacts: ids.clone(), ..Erased::default() };
    let Named { names, phones } = named(tx, &ids).await?;
    let written: Vec<String> = names.iter().cloned().chain(national(&names, &phones)).collect();
    erase_events(tx, &ids, &written, &mut erased).await?;
    erase_messages(tx, &ids, &names, &mut erased).await?;
    let deed = consents::Deed {
        who: consents::Who::Contact(*stays),
        act: Act::Erased,
        purposes: vec![crate::domain::ledger::EVERYTHING.to_owned()],
        evidence: evidence.clone(),
        at,
        locale: None,
    };
    consents::record_in(tx, &[deed]).await?;
    erased.evidence = sqlx::query!(
        "update consent_entries set payload = null, salt = null where contact_id = any ($1) and act <> 'erased' and payload is not null",
        &ids
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    sqlx::query!(
        r#"
        -- erasure: contacts
        update contacts set phone = 'erased:' || id, wa_id = null, user_id = null, locale = null, erased_at = $2,
          consents = jsonb_strip_nulls(jsonb_build_object('*', consents -> '*'))
        where id = any ($1)
        "#,
        &ids,
        time(at) as _
    )
    .execute(&mut *tx)
    .await?;
    let hashes: Vec<Vec<u8>> = phones.iter().map(|phone| phone.keyed_hash(key).to_vec()).collect();
    sqlx::query!(
        r#"
        -- erasure: suppressions
        insert into suppressions (hash, at) select hash, $2 from unnest($1::bytea[]) as n(hash)
        on conflict (hash) do update set at = excluded.at
        "#,
        &hashes,
        time(at) as _
    )
    .execute(tx)
    .await?;
    Ok(Some(erased))
}

/// All contacts of this person, locked; none if nobody has this number.
async fn lock(tx: &mut PgConnection, phone: &Phone) -> Result<Vec<i64>, Error> {
    let mut ids = contacts::of_person(&mut *tx, phone).await?;
    loop {
        sqlx::query!("select id from contacts where id = any ($1) order by id for update", &ids)
            .fetch_all(&mut *tx)
            .await?;
        // Who proved meanwhile to be one of them held a row that was waited for here.
        let now = contacts::of_person(&mut *tx, phone).await?;
        if now == ids {
            return Ok(ids);
        }
        ids = now;
    }
}

/// What a person is known by.
struct Named {
    /// The digits of their numbers, and the provider's ids.
    names: Vec<String>,
    phones: BTreeSet<Phone>,
}

async fn named(tx: &mut PgConnection, ids: &[i64]) -> Result<Named, Error> {
    let rows = sqlx::query!(
        r#"
        -- erasure: names
        select phone, wa_id, user_id from contacts where id = any ($1)
        "#,
        ids
    )
    .fetch_all(tx)
    .await?;
    let (mut names, mut phones) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        let digits = row.phone.map(|phone| phone.trim_start_matches('+').to_owned());
        for number in digits.into_iter().chain(row.wa_id) {
            // The provider's spelling of a number may be one that no shop would write, and is looked for all the same.
            if let Ok(phone) = Phone::parse(&format!("+{number}")) {
                names.insert(phone.reveal().trim_start_matches('+').to_owned());
                phones.insert(phone);
            }
            names.insert(number);
        }
        names.extend(row.user_id);
    }
    Ok(Named { names: names.into_iter().collect(), phones })
}

/// These numbers as they are dialled within their countries; also those of which nobody but the provider would say that they are any.
fn national(names: &[String], phones: &BTreeSet<Phone>) -> BTreeSet<String> {
    let code = |phone: &Phone| {
        phone.reveal().trim_start_matches('+').strip_suffix(phone.national()?.as_str()).map(str::to_owned)
    };
    let codes: BTreeSet<String> = phones.iter().filter_map(code).filter(|code| !code.is_empty()).collect();
    let dialled = |name: &String| codes.iter().find_map(|code| name.strip_prefix(code.as_str())).map(str::to_owned);
    names.iter().filter_map(dialled).collect()
}

async fn erase_events(tx: &mut PgConnection, ids: &[i64], names: &[String], erased: &mut Erased) -> Result<(), Error> {
    erased.events = sqlx::query!("update inbox set body = null where contact_id = any ($1) and body is not null", ids)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    sqlx::query!(
        "delete from inbox_conflicts c using inbox i where i.contact_id = any ($1) and c.source = i.source and c.id = i.id",
        ids
    )
    .execute(&mut *tx)
    .await?;
    // What could not be used is often just what has the number in a way of its own.
    erased.rejected_events = sqlx::query!(
        r#"
        -- erasure: rejected events
        delete from rejected_events where encode(body, 'escape') ~ any ($1::text[])
        "#,
        &names.iter().map(|name| as_written(name)).collect::<Vec<_>>() as _
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    // Message ids contain the number; what is still on its way ends.
    erased.notifications = sqlx::query!(
        r#"
        -- erasure: notifications
        with ended as (
          update notifications set filled = null, free_text = null, sms = null, message_id = case when message_id is not null then 'erased' end,
            state = case when state = 'pending' then 'suppressed' else state end,
            reason = case when state = 'pending' then 'erased' else reason end,
            due_at = case when state = 'pending' then null else due_at end,
            waiting_on = null,
            ended_at = case when state = 'pending' then recado_now() else ended_at end
          -- By their events, which outlive them: of a person there is no index in all that was ever sent.
          where contact_id = any ($1) and id in (select unnest(i.notifications) from inbox i where i.contact_id = any ($1))
          returning id
        ), tried as (
          update attempts a set message_id = case when a.message_id is not null then 'erased' end, detail = null
          from ended e where a.notification_id = e.id
        ), reported as (
          update receipts r set detail = null from ended e where r.notification_id = e.id
        ), noted as (
          update timeline t set detail = null, reason = null from ended e where t.notification_id = e.id
        )
        select count(*) as "n!" from ended
        "#,
        ids
    )
    .fetch_one(&mut *tx)
    .await?
    .n
    .unsigned_abs();
    Ok(())
}

/// A regular expression for an id or a number as people write it: with a blank, a dot or so between its digits.
fn as_written(name: &str) -> String {
    if !name.bytes().all(|byte| byte.is_ascii_digit()) {
        // A user id: a country, a dot, letters and digits.
        return name.replace('.', "\\.");
    }
    let digits: Vec<String> = name.chars().map(String::from).collect();
    format!("(^|[^0-9]){}($|[^0-9])", digits.join("[^0-9a-zA-Z]{0,2}"))
}

async fn erase_messages(
    tx: &mut PgConnection,
    ids: &[i64],
    names: &[String],
    erased: &mut Erased,
) -> Result<(), Error> {
    erased.untold = sqlx::query!(
        r#"
        -- erasure: untold
        delete from outbox o using unnest($1::text[]) as n(name)
        where o.kind = 'inbound' and (o.payload #>> '{from,wa_id}' = n.name or o.payload #>> '{from,user_id}' = n.name)
        "#,
        names
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    erased.untold += sqlx::query!(
        r#"
        -- erasure: callback events
        delete from callback_events e using unnest($1::text[]) as n(name)
        where e.type = 'message.received'
          and (e.body::json #>> '{data,from,wa_id}' = n.name or e.body::json #>> '{data,from,user_id}' = n.name)
        "#,
        names
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    // Message ids contain the number.
    sqlx::query!(
        r#"
        -- erasure: message ids in callback events
        update callback_events e set body = jsonb_set(e.body::jsonb, '{data,message_id}', 'null')::text
        from inbox i cross join unnest(i.notifications) as n(id) where i.contact_id = any ($1) and e.key = n.id::text
        "#,
        ids
    )
    .execute(&mut *tx)
    .await?;
    erased.messages =
        sqlx::query!("delete from inbound where contact_id = any ($1)", ids).execute(&mut *tx).await?.rows_affected();
    erased.strays = sqlx::query!(
        "delete from stray_receipts s using unnest($1::text[]) as n(name) where s.fact ->> 'wa_id' = n.name or s.fact ->> 'user_id' = n.name",
        names
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    sqlx::query!("delete from tokens where contact_id = any ($1)", ids).execute(&mut *tx).await?;
    sqlx::query!(
        r#"
        -- erasure: replies
        update replies set message_id = null, because = 'erased ' || id, due_at = null,
          state = case when state = 'pending' then 'suppressed' else state end,
          reason = case when state = 'pending' then 'erased' else reason end
        where contact_id = any ($1)
        "#,
        ids
    )
    .execute(&mut *tx)
    .await?;
    erased.opt_ins = sqlx::query!("delete from opt_ins where contact_id = any ($1) or confirmed_by = any ($1)", ids)
        .execute(tx)
        .await?
        .rows_affected();
    Ok(())
}

/// When the person with one of these keyed hashes was erased, for each that was.
///
/// # Errors
/// If the database cannot be asked.
pub async fn suppressed(pool: &PgPool, hashes: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, Timestamp)>, Error> {
    let rows = sqlx::query!(r#"select hash, at as "at: super::Time" from suppressions where hash = any ($1)"#, hashes)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|row| (row.hash, row.at.to_jiff())).collect())
}

/// Whether anybody was ever erased.
///
/// # Errors
/// If the database cannot be asked.
pub async fn any(pool: &PgPool) -> Result<bool, Error> {
    Ok(sqlx::query_scalar!(r#"select exists (select from suppressions) as "yes!""#).fetch_one(pool).await?)
}

/// Deletes opt-ins that nobody confirmed within their week, with the evidence of having been asked; and tokens whose time is over.
/// Whoever is known by nothing else is forgotten. Says how many opt-ins went.
///
/// # Errors
/// If the database does not take it.
pub async fn tidy_opt_ins(pool: &PgPool, before: Timestamp) -> Result<u64, Error> {
    super::alone(pool, move |tx| Box::pin(async move { tidy_in(tx, before).await })).await
}

async fn tidy_in(tx: &mut PgConnection, before: Timestamp) -> Result<u64, Error> {
    const AT_ONCE: i64 = 1_000;
    sqlx::query!("delete from tokens where until < $1", time(before) as _).execute(&mut *tx).await?;
    let gone = sqlx::query!(
        r#"
        -- opt-ins: tidy
        with old as (
          select id from opt_ins where state <> 'confirmed' and asked_at < $1 order by asked_at limit $2 for update skip locked
        )
        delete from opt_ins o using old where o.id = old.id returning o.id, o.contact_id
        "#,
        time(before) as _,
        AT_ONCE
    )
    .fetch_all(&mut *tx)
    .await?;
    let (ids, mut contacts): (Vec<String>, Vec<i64>) =
        gone.iter().map(|row| (row.id.to_string(), row.contact_id)).unzip();
    contacts.sort_unstable();
    contacts.dedup();
    lock_contacts(tx, &contacts).await?;
    sqlx::query!(
        r#"
        -- opt-ins: forget evidence
        update consent_entries e set payload = null, salt = null
        where e.contact_id = any ($1) and e.act = 'asked' and e.payload ->> 'opt_in' = any ($2)
        "#,
        &contacts,
        &ids
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        r#"
        -- opt-ins: forget what waited
        update contacts c set consents = coalesce((
            -- An ask that nobody answered takes no earlier no away.
            select jsonb_object_agg(s.key, case when s.over then (s.value - 'until') || jsonb_build_object('state', 'revoked', 'at', s.value -> 'no')
              else s.value end)
            from (select key, value, value ->> 'state' = 'pending' and (value ->> 'until')::timestamptz < recado_now() as over
                  from jsonb_each(c.consents)) s
            where not s.over or s.value ? 'no'), '{}')
        where c.id = any ($1)
        "#,
        &contacts
    )
    .execute(&mut *tx)
    .await?;
    forget_strangers(tx, &contacts).await?;
    Ok(gone.len() as u64)
}

/// In the order in which everybody locks them.
async fn lock_contacts(tx: &mut PgConnection, contacts: &[i64]) -> Result<(), Error> {
    sqlx::query!("select id from contacts where id = any ($1) order by id for no key update", contacts)
        .fetch_all(tx)
        .await?;
    Ok(())
}

/// Forgets those of these people of whom nothing is known but their number. Notifications do not have to be looked at: an event
/// that led to one is known for longer.
pub(super) async fn forget_strangers(tx: &mut PgConnection, contacts: &[i64]) -> Result<(), Error> {
    if contacts.is_empty() {
        return Ok(());
    }
    lock_contacts(tx, contacts).await?;
    sqlx::query!(
        r#"
        -- erasure: strangers
        update contacts c set phone = 'erased:' || c.id, wa_id = null, user_id = null, locale = null, erased_at = recado_now()
        where c.id = any ($1) and c.erased_at is null and c.merged_into is null and c.consents = '{}'
          and not exists (select from contacts m where m.merged_into = c.id)
          and not exists (select from consent_entries e where e.contact_id = c.id and e.payload is not null)
          and not exists (select from inbox i where i.contact_id = c.id)
          and not exists (select from inbound i where i.contact_id = c.id)
          and not exists (select from opt_ins o where o.contact_id = c.id)
        "#,
        contacts
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_looked_for_as_people_write_it() {
        assert_eq!(as_written("34"), "(^|[^0-9])3[^0-9a-zA-Z]{0,2}4($|[^0-9])");
        assert_eq!(as_written("ES.7001"), "ES\\.7001");
    }

    #[test]
    fn a_number_is_known_as_it_is_dialled_also_in_a_spelling_that_nobody_gives_out() {
        let phones = BTreeSet::from([Phone::parse("+5541999999999").unwrap()]);
        let names = ["5541999999999", "554199999999", "BR.7001"].map(str::to_owned);
        let dialled = national(&names, &phones);
        assert_eq!(dialled.iter().map(String::as_str).collect::<Vec<_>>(), ["4199999999", "41999999999"]);
    }
}
