//! Reads from Meta how a sender's templates stand.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use serde::Deserialize;
use sqlx::PgPool;

use super::Wanted;
use crate::{
    cli::{complain, say},
    config::{Meta, Sender},
    db::{
        senders,
        templates::{self, Key, News},
    },
    domain::fact::Approval,
};

/// More pages than any account has.
const PAGES_MAX: usize = 500;
const PAGE_MAX: usize = 16 * 1_024 * 1_024;

#[derive(Deserialize)]
struct Page {
    data: Vec<Listed>,
    #[serde(default)]
    paging: Option<Paging>,
}

#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    cursors: Option<Cursors>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Cursors {
    #[serde(default)]
    after: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    language: String,
    status: String,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    quality_score: Option<Quality>,
    #[serde(default)]
    rejected_reason: Option<String>,
}

#[derive(Deserialize)]
struct Quality {
    #[serde(default)]
    score: Option<String>,
}

/// Notes how the templates of this sender's account stand. Gives how many of those that it is to send may not go out.
///
/// # Errors
/// If the provider cannot be asked, or the database does not take it.
pub(super) async fn sync(pool: &PgPool, sender: &Sender, wanted: &[Wanted]) -> anyhow::Result<usize> {
    let Some(meta) = sender.meta() else { return Ok(0) };
    let Some(account) = &meta.waba_id else {
        complain(&format!(
            "{}: senders.{}.waba_id is not set, so the provider cannot be asked",
            sender.name, sender.name
        ));
        return Ok(0);
    };
    let listed = all(meta, account).await.with_context(|| format!("sender {}", sender.name))?;
    let id = senders::register(pool, &sender.name).await?;
    let wanted: Vec<&Wanted> = wanted.iter().filter(|one| one.sender == sender.name).collect();
    let known: BTreeMap<(String, String), Option<String>> = templates::list(pool)
        .await?
        .into_iter()
        .filter(|standing| standing.sender_id == id)
        .map(|standing| ((standing.template, standing.language), standing.category))
        .collect();
    let mut standing = BTreeMap::new();
    for one in &listed {
        let key = Key { sender: id, template: &one.name, language: &one.language };
        let status = approval(&one.status);
        let news = News {
            status,
            category: one.category.as_deref(),
            quality: one.quality_score.as_ref().and_then(|quality| quality.score.as_deref()),
            reason: one.rejected_reason.as_deref().filter(|reason| *reason != "NONE"),
            at: None,
            lasts: None,
            by: "sync",
        };
        if let Some(category) = &one.category {
            // What was known counts; of a template seen for the first time, what its file says.
            let first = !known.contains_key(&(one.name.clone(), one.language.clone()));
            let file = wanted.iter().find(|w| w.template == one.name && w.language == one.language).map(|w| w.category);
            if templates::set_category(pool, key, category, file.filter(|_| first)).await? {
                complain(&format!(
                    "{} {}: the provider counts it as marketing; it is held until you release it",
                    one.name, one.language
                ));
            }
        }
        templates::set(pool, key, &news).await?;
        standing.insert((one.name.as_str(), one.language.as_str()), status);
    }
    let listed: Vec<_> = listed.iter().map(|one| (one.name.clone(), one.language.clone())).collect();
    templates::forget_others(pool, id, &listed).await?;
    let mut missing = 0;
    for one in wanted {
        let status = standing.get(&(one.template.as_str(), one.language.as_str()));
        missing += usize::from(status != Some(&Approval::Approved));
        let told = status.map_or("not at the provider", |status| status.as_str());
        say(&format!("{:<12} {:<32} {:<7} {told}", one.sender, one.template, one.language));
    }
    Ok(missing)
}

async fn all(meta: &Meta, account: &str) -> anyhow::Result<Vec<Listed>> {
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("recado/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let token = meta.token.reveal()?;
    let mut listed = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut url = reqwest::Url::parse(&format!("{}/{}/{account}/message_templates", meta.base_url, meta.version))?;
        url.query_pairs_mut()
            .append_pair("fields", "name,language,status,category,quality_score,rejected_reason")
            .append_pair("limit", "100");
        if let Some(after) = &after {
            url.query_pairs_mut().append_pair("after", after);
        }
        let answer = http.get(url).bearer_auth(token).send().await.map_err(reqwest::Error::without_url)?;
        let page = read(answer).await?;
        listed.extend(page.data);
        // The address of the next page is Meta's; we make our own, so that the token goes nowhere else.
        let next = page.paging.filter(|paging| paging.next.is_some()).and_then(|paging| paging.cursors?.after);
        match next {
            Some(next) if Some(&next) != after.as_ref() => after = Some(next),
            _ => return Ok(listed),
        }
    }
    bail!("the provider's list of templates does not end")
}

async fn read(mut answer: reqwest::Response) -> anyhow::Result<Page> {
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > PAGE_MAX {
            bail!("the provider's answer is too long");
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = told.pointer("/error/code").and_then(serde_json::Value::as_i64);
        let code = code.map_or(String::new(), |code| format!(", code {code}"));
        bail!(
            "the provider refused to list the templates (HTTP {}{code}); check the token, its permission whatsapp_business_management and waba_id",
            status.as_u16()
        );
    }
    serde_json::from_slice(&body).context("the provider's list of templates cannot be read")
}

/// What the listing's word means. What is not known does not go out.
fn approval(status: &str) -> Approval {
    match status {
        "PENDING_DELETION" => Approval::Deleted,
        other => other.to_lowercase().parse().unwrap_or(Approval::Pending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_approved_means_approved() {
        assert_eq!(approval("APPROVED"), Approval::Approved);
        assert_eq!(approval("IN_APPEAL"), Approval::InAppeal);
        assert_eq!(approval("PENDING_DELETION"), Approval::Deleted);
        assert_eq!(approval("SOMETHING_NEW"), Approval::Pending);
    }
}
