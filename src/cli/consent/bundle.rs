//! Everything about one person's consents, as one would hand it to them or to an authority: JSON, or a page to print.

use minijinja::{Environment, context};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::hex;
use crate::{
    db::{anchors, consents, evidence},
    domain::{
        expression::value_of,
        ledger::{self, Entry},
        phone::Phone,
    },
};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/pages/evidence.html"));

/// The whole bundle. None if nobody with this number is known.
///
/// # Errors
/// If the database cannot be asked.
pub async fn bundle(pool: &PgPool, phone: &Phone, now: jiff::Timestamp) -> anyhow::Result<Option<Value>> {
    let Some(told) = consents::of(pool, phone).await? else { return Ok(None) };
    let Some(evidence) = evidence::of(pool, told.contact).await? else { return Ok(None) };
    let merged = consents::merged(pool, told.contact).await?;
    let last = anchors::all(pool).await?.pop();
    Ok(Some(json!({
        "made_at": now,
        "person": evidence.names,
        "contact": told.contact,
        "consents": ledger::to_json(&told.standings),
        "entries": entries(&told.chain),
        "chain": chain(&told.chain, json!({
            "how": "Each entry's hash covers the hash before it, contact, number, time, act, purpose and commitment; the commitment is a \
                    hash over salt and evidence (canonical JSON). See docs/consent.md.",
            "last_anchor": last.map(|anchor| json!({"at": anchor.at, "anchor": hex(&anchor.anchor)})),
        })),
        // Contacts that proved to be the same person; entries of the kind `merged` name them.
        "merged": merged.iter().map(|(contact, entries_of_it)| json!({
            "contact": contact, "entries": entries(entries_of_it), "chain": chain(entries_of_it, json!({})),
        })).collect::<Vec<_>>(),
        "notifications": evidence.sent,
        "messages_from_the_person": evidence.written,
        "texts_to_the_person": evidence.told,
    })))
}

/// Whether a chain holds, and where not; with what else there is to say of it.
fn chain(entries: &[Entry], mut more: Value) -> Value {
    let broken = ledger::verify(entries).err().map(|broken| broken.to_string());
    if let Some(object) = more.as_object_mut() {
        object.insert("holds".to_owned(), broken.is_none().into());
        object.insert("broken".to_owned(), broken.into());
    }
    more
}

fn entries(chain: &[Entry]) -> Vec<Value> {
    let entry = |entry: &Entry| {
        json!({
            "number": entry.number, "at": entry.at, "act": entry.act, "purpose": entry.purpose,
            "evidence": entry.evidence.as_ref().map(|(evidence, _)| evidence),
            "salt": entry.evidence.as_ref().map(|(_, salt)| hex(salt)),
            "commitment": hex(&entry.commitment), "previous": hex(&entry.previous), "hash": hex(&entry.hash),
        })
    };
    chain.iter().map(entry).collect()
}

/// The bundle as a page to print.
///
/// # Errors
/// If the page cannot be made.
pub fn page(bundle: &Value) -> anyhow::Result<String> {
    let mut templates = Environment::new();
    templates.add_filter("pretty", |value: minijinja::Value| serde_json::to_string_pretty(&value).unwrap_or_default());
    templates.add_filter("moment", |at: minijinja::Value| moment(at.as_str().unwrap_or_default()));
    templates.add_template("evidence.html", PAGE)?;
    let mut parts = vec![value_of(bundle)];
    parts.extend(bundle.get("merged").and_then(Value::as_array).into_iter().flatten().map(value_of));
    Ok(templates.get_template("evidence.html")?.render(context! { b => value_of(bundle), parts })?)
}

/// A moment as people read it, to the second; the entry's own JSON has all of it.
fn moment(at: &str) -> String {
    match at.parse::<jiff::Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_text_on_the_page() {
        let page = page(&json!({
            "made_at": "2026-11-22T20:00:00Z", "person": {"phone": "+34600111222"}, "consents": {}, "entries": [
                {"number": 1, "at": "x", "act": "asked", "purpose": "orders", "evidence": {"said": "<script>x</script>"}, "hash": "00"},
            ], "chain": {"holds": true}, "notifications": [], "messages_from_the_person": [], "texts_to_the_person": [],
        }))
        .unwrap();
        assert!(
            page.contains("+34600111222") && page.contains("&lt;script&gt;") && !page.contains("<script>"),
            "{page}"
        );
    }
}
