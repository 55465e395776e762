//! Reads from the providers how the templates stand, now.

use std::process::ExitCode;

use anyhow::Context;

use super::{accounts, complain, database, only, say, settings};
use crate::{
    cli::catalogue,
    config::{Needs, Place},
    domain::{fact::Approval, template::places},
    worker::{
        templates::{Error, Found, sync as read, wanted},
        versions::Versions,
    },
};

/// 0 if every provider answered, whatever it said.
pub(super) async fn sync(place: &Place, sender: Option<&str>) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { templates: true, senders: true, ..Needs::DATABASE })?;
    only(&settings, sender)?;
    let catalogue = catalogue(&settings)?.catalogue;
    let pools = database(&settings).await?;
    let versions = Versions::of(&pools.ops, &catalogue).await?;
    let wanted = wanted(&catalogue, &versions);
    let ids = crate::cli::run::sender_ids(&settings, &pools).await?;
    let mut missing = 0;
    for account in accounts(&settings, &ids, sender)? {
        let found = read(&pools.ops, &account, &wanted).await;
        let found = found.map_err(hint).with_context(|| format!("sender {}", account.name))?;
        for one in &found {
            say(&line(one));
            for reason in &one.held {
                complain(&held(one, reason));
            }
            missing += usize::from(!one.status.is_some_and(Approval::is_approved));
        }
    }
    if missing > 0 {
        complain(&format!("{missing} of the catalogue's templates may not go out yet."));
    }
    Ok(ExitCode::SUCCESS)
}

/// What to look at if a provider does not answer.
pub(super) fn hint(error: Error) -> anyhow::Error {
    match error {
        Error::Provider(trouble) => anyhow::anyhow!(
            "{trouble}; check the sender's base_url, its token with the permission whatsapp_business_management, and waba_id"
        ),
        Error::Database(error) => error.into(),
    }
}

fn line(one: &Found<'_>) -> String {
    let of = one.wanted;
    let told = one.status.map_or("not at the provider", |status| status.as_str());
    let mut line = format!("{:<12} {:<32} {:<7} {told}", of.sender, of.template, of.language);
    if !one.differences.is_empty() {
        line += &format!(", differs from the file in {}", places(&one.differences));
    }
    line
}

fn held(one: &Found<'_>, reason: &str) -> String {
    let of = one.wanted;
    if reason == crate::db::templates::RECATEGORISED {
        return format!(
            "{} {}: the provider counts it as marketing; it is held until you release it, or say so in its file",
            of.template, of.language
        );
    }
    format!(
        "{} {}: it is held, since the provider has something else than the file: recado templates diff {}",
        of.template, of.language, of.template
    )
}
