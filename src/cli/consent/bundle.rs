//! Everything about one person's consents, as one would hand it to them or to an authority: JSON, or a page to print.

use minijinja::{Environment, context};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::hex;
use crate::{
    db::{
        anchors,
        consents::{self, Told},
        evidence,
    },
    domain::{
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
    let broken = ledger::verify(&told.chain).err().map(|broken| broken.to_string());
    let last = anchors::all(pool).await?.pop();
    Ok(Some(json!({
        "made_at": now,
        "person": evidence.names,
        "contact": told.contact,
        "consents": ledger::to_json(&told.standings),
        "entries": entries(&told),
        "chain": {
            "holds": broken.is_none(),
            "broken": broken,
            "how": "Each entry's hash covers the hash before it, contact, number, time, act, purpose and commitment; the commitment is a \
                    hash over salt and evidence (canonical JSON). See docs/consent.md.",
            "last_anchor": last.map(|anchor| json!({"at": anchor.at, "anchor": hex(&anchor.anchor)})),
        },
        "notifications": evidence.sent,
        "messages_from_the_person": evidence.written,
        "texts_to_the_person": evidence.told,
    })))
}

fn entries(told: &Told) -> Vec<Value> {
    let entry = |entry: &Entry| {
        json!({
            "number": entry.number, "at": entry.at, "act": entry.act, "purpose": entry.purpose,
            "evidence": entry.evidence.as_ref().map(|(evidence, _)| evidence),
            "salt": entry.evidence.as_ref().map(|(_, salt)| hex(salt)),
            "commitment": hex(&entry.commitment), "previous": hex(&entry.previous), "hash": hex(&entry.hash),
        })
    };
    told.chain.iter().map(entry).collect()
}

/// The bundle as a page to print.
///
/// # Errors
/// If the page cannot be made.
pub fn page(bundle: &Value) -> anyhow::Result<String> {
    let mut templates = Environment::new();
    templates.add_filter("pretty", |value: minijinja::Value| serde_json::to_string_pretty(&value).unwrap_or_default());
    templates.add_template("evidence.html", PAGE)?;
    Ok(templates
        .get_template("evidence.html")?
        .render(context! { b => crate::domain::expression::value_of(bundle) })?)
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
