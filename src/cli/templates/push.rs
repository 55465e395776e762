//! Brings what the files say to the providers: new templates are made, those that differ are edited, after somebody said yes.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::Value;
use sqlx::PgPool;

use super::{
    Which, accounts, catalogue, chosen, complain, database,
    diff::{against, shown},
    only, say, settings,
    sync::hint,
};
use crate::{
    cli::{hold::somebody, run::sender_ids},
    clock::Clock,
    config::{Needs, Place},
    db::{
        approvals::{self, Push},
        templates::{self, Key, News},
    },
    domain::{
        fact::Approval,
        template::{Catalogue, Difference, Edits, Heading, Manner, Step, There, step},
    },
    provider::templates::{Listed, Written},
    worker::{
        templates::{Account, Error, Wanted, wanted},
        versions::Versions,
    },
};

/// One template at one sender, and what is to be done about it.
struct Task<'a> {
    account: &'a Account,
    wanted: &'a Wanted,
    there: Option<Listed>,
    differences: Vec<Difference>,
    step: Step,
}

/// 0 if everything is, or is on its way to being, as the files say; 1 if something could not be pushed, or nobody said yes.
pub(super) async fn push(place: &Place, which: &Which, yes: bool, dry_run: bool) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { templates: true, senders: true, ..Needs::DATABASE })?;
    only(&settings, which.sender.as_deref())?;
    let catalogue = catalogue(&settings)?.catalogue;
    let pools = database(&settings).await?;
    let versions = Versions::of(&pools.ops, &catalogue).await?;
    let wanted = chosen(&wanted(&catalogue, &versions), which.name.as_deref(), which.language.as_deref())?;
    let accounts = accounts(&settings, &sender_ids(&settings, &pools).await?, which.sender.as_deref())?;
    let mut tasks = Vec::new();
    for account in &accounts {
        tasks.extend(planned(&pools.ops, account, &wanted).await?);
    }
    let colours = std::io::stdout().is_terminal();
    tasks.iter().flat_map(|task| told(task, colours)).for_each(|line| say(&line));
    let impossible = tasks.iter().filter(|task| matches!(task.step, Step::Impossible(_))).count();
    let doable: Vec<&Task<'_>> =
        tasks.iter().filter(|task| matches!(task.step, Step::Create | Step::Edit { .. })).collect();
    let done = if impossible == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if doable.is_empty() {
        complain(if impossible == 0 {
            "Everything is there as the files say."
        } else {
            "Nothing of this can be done now."
        });
        return Ok(done);
    }
    if dry_run {
        complain(&format!("{} would be pushed; nothing was changed.", doable.len()));
        return Ok(done);
    }
    if !yes && !confirmed(doable.len())? {
        complain("Nothing was changed.");
        return Ok(ExitCode::FAILURE);
    }
    let mut failed = 0;
    for task in &doable {
        match carry_out(&pools.ops, task, &catalogue).await {
            Ok(line) => say(&line),
            Err(error) => {
                failed += 1;
                complain(&format!("{}: {error:#}", name(task.wanted)));
            }
        }
    }
    Ok(if failed == 0 { done } else { ExitCode::FAILURE })
}

async fn planned<'a>(pool: &PgPool, account: &'a Account, wanted: &'a [Wanted]) -> anyhow::Result<Vec<Task<'a>>> {
    let mine: Vec<&Wanted> = wanted.iter().filter(|one| one.sender == account.name).collect();
    if mine.is_empty() {
        return Ok(Vec::new());
    }
    let listed = account.desk.list().await.map_err(Error::from).map_err(hint);
    let listed = listed.with_context(|| format!("sender {}", account.name))?;
    let mut tasks = Vec::new();
    for one in mine {
        let desk = &account.desk;
        let there = desk.find(one, &listed).cloned();
        let edits = approvals::edits(pool, key(account, one)).await?;
        let known = there.as_ref().map(|there| There {
            status: there.status,
            category: there.category.as_deref(),
            definition: there.definition.as_ref(),
        });
        let (ours, unsayable) = match desk.spoken(one) {
            Ok(ours) => (ours, None),
            Err(why) => (one.definition.clone(), Some(Step::Impossible(why.to_string()))),
        };
        let step = unsayable.unwrap_or_else(|| {
            step(desk.manner(), (&ours, one.category), known, &Edits { at: edits }, Clock::system().now())
        });
        let step = match (step, &one.definition.header) {
            (Step::Create | Step::Edit { .. }, Some(Heading::Media(kind))) if kind != "location" => {
                Step::Impossible(by_hand(desk.manner(), kind, &one.template))
            }
            (step, _) => step,
        };
        let differences = there.as_ref().map(|there| against(desk, one, there)).unwrap_or_default();
        tasks.push(Task { account, wanted: one, there, differences, step });
    }
    Ok(tasks)
}

/// Why a template with media in its header is not pushed, and what to do.
fn by_hand(manner: Manner, kind: &str, template: &str) -> String {
    let why = format!("its header is of the kind {kind}");
    match manner {
        Manner::Edits => format!(
            "{why}, for which Meta wants an uploaded example, and recado uploads nothing: make or change {template} in WhatsApp Manager as the \
             file says, then run recado templates sync"
        ),
        Manner::Anew => format!(
            "{why}, and recado makes contents of text only: make one in Twilio's console as the file says, submit it to WhatsApp under the name \
             {template}, then run recado templates sync"
        ),
    }
}

fn key<'a>(account: &Account, one: &'a Wanted) -> Key<'a> {
    Key { sender: account.sender, template: &one.template, language: &one.language }
}

fn name(one: &Wanted) -> String {
    format!("{} in {} at {}", one.template, one.language, one.sender)
}

fn told(task: &Task<'_>, colours: bool) -> Vec<String> {
    let name = name(task.wanted);
    let differences = || task.differences.iter().flat_map(|one| shown(one, colours));
    match &task.step {
        Step::Nothing => vec![format!("{name}: nothing to do")],
        Step::Create => {
            let text = task.wanted.definition.to_string();
            let lines = text.lines().map(|line| format!("    + {line}"));
            [format!("{name}: create, as {}", task.wanted.category)].into_iter().chain(lines).collect()
        }
        Step::Edit { .. } => {
            let wait = if task.there.as_ref().is_some_and(|there| there.status == Approval::Approved) {
                "; its messages wait until it is approved again"
            } else {
                ""
            };
            [format!("{name}: edit{wait}")].into_iter().chain(differences()).collect()
        }
        Step::Impossible(why) => {
            [format!("{name}: cannot be pushed: {why}")].into_iter().chain(differences()).collect()
        }
    }
}

/// Asks whoever sits at the terminal.
fn confirmed(tasks: usize) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("this would change {tasks} template(s) at the provider, and nobody can be asked here; say --yes");
    }
    let mut out = std::io::stderr();
    write!(out, "Push {tasks} template(s)? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

async fn carry_out(pool: &PgPool, task: &Task<'_>, catalogue: &Catalogue) -> anyhow::Result<String> {
    let one = task.wanted;
    let template: Value = catalogue
        .template(&one.template)
        .and_then(|template| catalogue.meta_template(template, &one.language))
        .context("its example cannot be filled")?;
    let desk = &task.account.desk;
    let (act, written) = match (&task.step, &task.there) {
        (Step::Edit { category }, Some(there)) => ("edit", desk.edit(&there.id, &template, *category).await),
        (_, there) => ("create", desk.create(one, &template, there.as_ref()).await),
    };
    note(pool, task, act, &written?)
        .await
        .context("the provider did it, but it could not be noted here; run recado templates sync")
}

/// Notes what came back, the category included: if it is another, the template is held.
async fn note(pool: &PgPool, task: &Task<'_>, act: &str, written: &Written) -> anyhow::Result<String> {
    let (one, key) = (task.wanted, key(task.account, task.wanted));
    let status = written.status.unwrap_or(Approval::Pending);
    let category = written.category.as_deref();
    let by = somebody();
    let news = News { status, category, quality: None, reason: None, at: None, lasts: None, by: &by };
    templates::set(pool, key, &news).await?;
    let held = match category {
        Some(category) => templates::set_category(pool, key, category, Some(one.category)).await?,
        None => false,
    };
    let there = task.there.as_ref();
    let push = Push {
        act,
        version: one.version.context("its version is not known")?,
        stood: there.map(|there| there.status.as_str()),
        by: &by,
        provider_id: written.id.as_deref().or(there.map(|there| there.id.as_str())),
        status: status.as_str(),
        category,
    };
    approvals::pushed(pool, key, &push).await?;
    if let (Manner::Anew, Some(id)) = (task.account.desk.manner(), &written.id) {
        templates::set_content(pool, key, id, &by).await?;
    }
    let did = if act == "edit" { "edited" } else { "created" };
    let mut line = format!("{}: {did}, {status}", name(one));
    if let Some(category) = category {
        line += &format!(", {category}");
    }
    if held {
        line += "; the provider counts it as marketing, so it is held until you release it, or say so in its file";
    }
    Ok(line)
}
