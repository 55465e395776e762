//! `recado doctor`: what is wrong, in the order in which to put it right. Looks and changes nothing.
//!
//! The way of one sender from nothing to its first message, step by step, is [`access`].

mod access;

mod costs;
mod outward;

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{ago, catalogue, check, hold, open, run, say};
use crate::{
    config::{self, Needs, Place, Settings},
    db::{
        Pools,
        checkup::{self, Checkup, SenderStanding},
        holds,
        pools::{self, Schema},
    },
    domain::{health::Standing, notification::Failure, template::Catalogue},
    http::notifications::explain,
    provider::{
        meta::{self, Inquiry, inquiry},
        unasked,
    },
    worker::{broker, wire::Wire},
};

const EXAMPLE: &str = "Examples:
  recado doctor && recado run
  recado doctor --sender main               # each step to this sender's first message, see docs/access.md";

/// Says what is wrong with configuration, connections, senders and templates, in the order in which to put it right.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
    /// Only this sender: each step from nothing to its first message, asked of its provider.
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It works, or somebody wanted it so; worth a look.
    Warning,
    Wrong,
    /// Could not be looked at before something else is right.
    Open,
}

#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    what: String,
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
    /// Where the documentation says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    see: Option<&'static str>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: impl Into<String>, said: impl Into<String>) {
        self.add(Verdict::Ok, what, said, None);
    }

    fn warn(&mut self, what: impl Into<String>, said: impl Into<String>, cure: impl Into<String>) {
        self.add(Verdict::Warning, what, said, Some(cure.into()));
    }

    fn wrong(&mut self, what: impl Into<String>, said: impl Into<String>, cure: impl Into<String>) {
        self.add(Verdict::Wrong, what, said, Some(cure.into()));
    }

    fn add(&mut self, verdict: Verdict, what: impl Into<String>, said: impl Into<String>, cure: Option<String>) {
        self.0.push(Finding { verdict, what: what.into(), said: said.into(), cure, see: None });
    }
}

/// A provider that has not answered by then does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is due for longer than this is late.
const LATE: SignedDuration = SignedDuration::from_mins(5);
const SHOWN_MAX: usize = 5;

/// 0 if nothing is wrong, be there warnings; 1 if something is.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let mut found = Findings::default();
    if let Some(name) = &args.sender {
        access::check(&mut found, place, name).await;
    } else if let Some(settings) = check_settings(&mut found, place) {
        let pools = check_database(&mut found, &settings).await;
        let templates = check_templates(&mut found, &settings);
        costs::check_rates(&mut found, &settings);
        check_broker(&mut found, &settings).await;
        check_providers(&mut found, &settings).await;
        if let Some(pools) = pools {
            check_house(&mut found, &settings, &pools, templates.as_ref()).await;
            costs::check_budgets(&mut found, &settings, &pools).await;
            outward::check(&mut found, &settings, &pools).await;
        }
    }
    let wrong = found.0.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    if args.json {
        say(&serde_json::to_string_pretty(&found.0)?);
    } else {
        for Finding { verdict, what, said, cure, see } in &found.0 {
            let verdict = match verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Wrong => "WRONG  ",
                Verdict::Open => "open   ",
            };
            say(&format!("{verdict}  {what}: {said}"));
            if let Some(cure) = cure {
                say(&format!("         → {cure}"));
                if let Some(see) = see {
                    say(&format!("           see {see}"));
                }
            }
        }
        match wrong {
            0 => say("\nNothing is wrong."),
            1 => say("\nOne thing is wrong."),
            n => say(&format!("\n{n} things are wrong; begin with the first.")),
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The settings as far as they can be used: something may be missing, but what is there is right.
fn check_settings(found: &mut Findings, place: &Place) -> Option<Settings> {
    match Settings::load(place, Needs::ALL) {
        Ok(settings) => {
            let names: Vec<&str> = settings.senders.keys().map(String::as_str).collect();
            found.ok("configuration", format!("complete, with {}", counted(&names, "sender")));
            Some(settings)
        }
        Err(config::Problems(problems)) => {
            for problem in problems {
                found.wrong(
                    "configuration",
                    problem.to_string(),
                    "recado check --settings shows every setting and where it comes from",
                );
            }
            Settings::load(place, Needs::NOTHING).ok()
        }
    }
}

async fn check_database(found: &mut Findings, settings: &Settings) -> Option<Pools> {
    const WHAT: &str = "database";
    if !settings.database.url.is_given() {
        return None; // told already
    }
    let pools = match open(settings) {
        Ok(pools) => pools,
        Err(error) => {
            found.wrong(WHAT, error.to_string(), "database.url is postgres://user:password@host:5432/name");
            return None;
        }
    };
    match pools::schema(&pools.ops).await {
        Ok(Schema::Fits) => {
            found.ok(WHAT, "reachable, and its schema is this program's");
            return Some(pools);
        }
        Ok(Schema::Empty) => found.wrong(WHAT, "it is empty", "recado migrate"),
        Ok(Schema::Older(missing)) => {
            found.wrong(WHAT, format!("its schema is {missing} migration(s) behind"), "recado migrate");
        }
        Ok(Schema::Newer) => {
            found.wrong(WHAT, "its schema is newer than this program", "install the program that migrated it");
        }
        Ok(Schema::Altered(version)) => found.wrong(
            WHAT,
            format!("its migration {version} is another than this program's"),
            "install the program that migrated it",
        ),
        Err(error) => {
            let cure = error.cure();
            found.wrong(WHAT, error.to_string(), cure);
        }
    }
    None
}

fn check_templates(found: &mut Findings, settings: &Settings) -> Option<Catalogue> {
    match catalogue(settings) {
        Ok(check::Checked { catalogue, .. }) => {
            let languages: usize = catalogue.templates().iter().map(|template| template.languages().count()).sum();
            let templates = catalogue.templates().len();
            found.ok("templates", format!("{templates} of them, {languages} with their languages, can be used"));
            Some(catalogue)
        }
        Err(error) => {
            found.wrong("templates", error.to_string(), "recado check names each mistake with its file and line");
            None
        }
    }
}

async fn check_broker(found: &mut Findings, settings: &Settings) {
    const WHAT: &str = "broker";
    let Ok(address) = run::address(settings) else {
        if !settings.callbacks.is_empty() {
            found.ok(WHAT, "none is set; what becomes of notifications is told to callbacks only");
        }
        return;
    };
    let connection = match broker::connect(&address, "doctor").await {
        Ok(connection) => connection,
        Err(error) => {
            found.wrong(
                WHAT,
                error.to_string(),
                format!("broker.url (AMQP_URL): {}", error.cure().unwrap_or("look at the address")),
            );
            return;
        }
    };
    let queue = &settings.broker.queue;
    let limit = settings.broker.delivery_limit;
    match broker::inspect(&connection, queue, &settings.broker.dead_exchange, limit).await {
        Ok(None) => found.warn(
            WHAT,
            format!("reachable; the queue {queue} is not there yet, so what shops publish is lost"),
            "recado run makes it, and so does recado topology",
        ),
        Ok(Some(waiting)) => found
            .ok(WHAT, format!("reachable; {queue} has our settings (delivery limit {limit}), {waiting} wait in it")),
        Err(error @ broker::Error::OtherQueue { .. }) => {
            found.wrong(WHAT, error.to_string(), "recado topology, when the old queue is gone");
        }
        Err(error) => found.wrong(WHAT, error.to_string(), "what the broker says is in its log, too"),
    }
    let _ = connection.close(200, "bye".into()).await;
}

async fn check_providers(found: &mut Findings, settings: &Settings) {
    let Some(wire) = wire(found) else { return };
    for sender in settings.senders.values() {
        if let Some(of) = sender.twilio() {
            access::check_account(found, &wire, settings, sender, of).await;
        }
        let Some(of) = sender.meta() else { continue };
        let Some(inquiry) = access::inquiry(of) else { continue };
        check_number(found, &wire, sender, of, &inquiry).await;
        check_subscription(found, &wire, sender, &inquiry).await;
    }
}

/// What asks the providers.
fn wire(found: &mut Findings) -> Option<Wire> {
    let wire = Wire::new(PATIENCE, PATIENCE / 2, 1);
    if wire.is_err() {
        let cure = "are there root certificates on this machine?";
        found.wrong("senders", "the connections to providers could not be made", cure);
    }
    wire.ok()
}

async fn check_number(
    found: &mut Findings,
    wire: &Wire,
    sender: &config::Sender,
    of: &config::Meta,
    inquiry: &Inquiry,
) {
    let (what, key) = (format!("sender {}", sender.name), format!("senders.{}", sender.name));
    let health = match ask(wire, inquiry.number()).await.and_then(|answer| meta::number(&answer)) {
        Ok(number) => number.health(),
        Err(failure) => {
            let cure = match failure.reason.as_str() {
                "token_invalid" | "permission_missing" => {
                    format!(
                        "give {key}.token a token of a system user that may send; recado doctor --sender {} goes step by step",
                        sender.name
                    )
                }
                _ if failure.code.is_some() => format!("are {key}.phone_number_id and version right?"),
                _ => format!("is {key}.base_url right ({}), and does this machine reach it?", of.base_url),
            };
            found.wrong(what, refusal("Meta", &failure), cure);
            return;
        }
    };
    if let Standing::Unable { reason, detail } = health.standing() {
        let cure = format!(
            "see the number in Meta's WhatsApp Manager; recado doctor --sender {} goes step by step",
            sender.name
        );
        found.wrong(what, format!("it cannot send ({reason}): {detail}"), cure);
        return;
    }
    let quality = health.quality.as_deref().unwrap_or("unknown");
    let said = format!("its token is valid and its number connected, quality {quality}");
    let worries: Vec<String> = health.worries().iter().map(ToString::to_string).collect();
    if !worries.is_empty() {
        found.warn(
            what,
            format!("{said}; {}", worries.join("; ")),
            "send less, or only what people expect; Meta's WhatsApp Manager says more",
        );
    } else if let Some(most) = health.per_second().filter(|most| *most < sender.rate_per_second) {
        let cure = format!("set {key}.rate_per_second to {most}, or let Meta raise the number's throughput");
        found.warn(
            what,
            format!("{said}; it is set to {} a second, Meta takes {most} and no more are sent", sender.rate_per_second),
            cure,
        );
    } else {
        found.ok(what, said);
    }
}

async fn check_subscription(found: &mut Findings, wire: &Wire, sender: &config::Sender, inquiry: &Inquiry) {
    let what = format!("webhooks of {}", sender.name);
    let Some(question) = inquiry.subscribers() else {
        found.warn(
            what,
            "whether Meta sends any cannot be asked",
            format!("set senders.{}.waba_id, the id of the WhatsApp Business Account", sender.name),
        );
        return;
    };
    let cure = format!("subscribe yours: POST {}", question.uri());
    match ask(wire, question).await.and_then(|answer| inquiry::subscribers(&answer)) {
        Ok(apps) if apps.is_empty() => {
            found.wrong(what, "no app is subscribed to the account, so Meta reports nothing", cure);
        }
        Ok(apps) => found.ok(what, format!("{} app(s) subscribed to the account", apps.len())),
        // Told of the number already.
        Err(Failure { code: None, .. }) => {}
        Err(failure) => {
            found.warn(what, refusal("Meta", &failure), "the token needs whatsapp_business_management to look this up");
        }
    }
}

async fn check_house(found: &mut Findings, settings: &Settings, pools: &Pools, templates: Option<&Catalogue>) {
    let (checked, held) = match tokio::try_join!(checkup::checkup(&pools.ops), holds::in_force(&pools.ops)) {
        Ok(both) => both,
        Err(error) => {
            found.wrong("database", error.to_string(), "its log says more");
            return;
        }
    };
    for sender in settings.senders.values() {
        let known = checked.senders.iter().find(|standing| standing.name == sender.name);
        if sender.sends_templates() {
            check_approvals(found, sender, known, templates);
        }
        check_reports(found, settings, sender, known, checked.now);
    }
    match held.as_slice() {
        [] => found.ok("holds", "nothing is held"),
        held => {
            for one in held {
                let cure = format!("recado release {} --because TEXT, when its cause is gone", one.id);
                found.warn("hold", hold::describe(one), cure);
            }
        }
    }
    check_backlog(found, &checked);
}

fn check_approvals(
    found: &mut Findings,
    sender: &config::Sender,
    known: Option<&SenderStanding>,
    templates: Option<&Catalogue>,
) {
    let Some(catalogue) = templates else { return };
    let (by_content, sender) = (sender.twilio().is_some(), sender.name.as_str());
    let what = format!("approvals of {sender}");
    let (mut approved, mut missing) = (0, Vec::new());
    for template in catalogue.templates().iter().filter(|template| template.senders().contains(&sender)) {
        for language in template.languages() {
            let standing = known.into_iter().flat_map(|known| &known.templates);
            let status = standing.clone().find(|t| t.template == template.name() && t.language == language);
            let has_content = status.is_some_and(|status| status.content_sid.is_some());
            match status.map(|status| status.status.as_str()) {
                Some("approved") if by_content && !has_content => {
                    missing.push(format!("{} {language} (approved, its content's id unknown)", template.name()));
                }
                Some("approved") => approved += 1,
                status => missing.push(format!("{} {language} ({})", template.name(), status.unwrap_or("unknown"))),
            }
        }
    }
    let cure = format!(
        "recado templates sync reads them from the provider; recado templates approve sets one by hand for {sender}"
    );
    if approved == 0 && !missing.is_empty() {
        found.wrong(what, "no template is approved, so nothing can go out", cure);
    } else if missing.is_empty() {
        found.ok(what, format!("all {approved} are approved"));
    } else {
        let more = missing.len().saturating_sub(SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        missing.truncate(SHOWN_MAX);
        found.warn(what, format!("{approved} approved, not yet: {}{more}", missing.join(", ")), cure);
    }
}

/// Whether what was sent is reported on: the surest sign that the webhook is set up.
fn check_reports(
    found: &mut Findings,
    settings: &Settings,
    sender: &config::Sender,
    known: Option<&SenderStanding>,
    now: Timestamp,
) {
    let (at_twilio, sender) = (sender.twilio().is_some(), sender.name.as_str());
    let what = format!("reports on {sender}");
    let address = settings.http.public_url.as_deref().unwrap_or("{http.public_url}");
    let cure = if at_twilio {
        format!(
            "Twilio reports to {address}/webhooks/{sender}: can the world reach http.public_url, and is it that very address?"
        )
    } else {
        format!(
            "the callback URL in Meta's app is {address}/webhooks/{sender}, its token senders.{sender}.verify_token, its field messages"
        )
    };
    match known {
        Some(SenderStanding { last_webhook: Some(at), accepted, reported, .. }) => {
            let said = format!("the last webhook came {} ago", ago(*at, now));
            if *accepted >= 10 && *reported == 0 {
                found.wrong(what, format!("{said}, but none of the day's {accepted} messages was reported on"), cure);
            } else {
                found.ok(what, said);
            }
        }
        Some(SenderStanding { last_webhook: None, accepted, .. }) if *accepted > 0 => {
            found.wrong(what, format!("{accepted} messages were taken and no webhook ever came"), cure);
        }
        Some(_) | None => found.warn(what, "no webhook has come yet", cure),
    }
}

fn check_backlog(found: &mut Findings, checked: &Checkup) {
    let now = checked.now;
    for sender in &checked.senders {
        let what = format!("backlog of {}", sender.name);
        match sender.due_since {
            Some(since) if now.duration_since(since) > LATE => {
                let cure = match (checked.dispatching, sender.throttled_until) {
                    (0, _) => "no process is sending: recado run",
                    (_, Some(until)) if until > now => "the provider asked for less; it recovers by itself",
                    (_, _) => "is it held (above), or is its rate too low for what comes in?",
                };
                found.warn(what, format!("the oldest message is due for {}", ago(since, now)), cure);
            }
            Some(_) | None => found.ok(what, "nothing is late"),
        }
        if sender.in_doubt > 0 {
            found.warn(
                format!("doubts of {}", sender.name),
                format!("{} messages may or may not have been received", sender.in_doubt),
                "evidence or time settles them; recado why tells of each, recado retry --resend or recado cancel decides earlier",
            );
        }
    }
    if checked.dispatching == 0 {
        found.warn("processes", "none is sending just now", "recado run");
    } else {
        found.ok("processes", format!("{} are sending", checked.dispatching));
    }
    match checked.unapplied_since {
        Some(since) if now.duration_since(since) > LATE => found.wrong(
            "webhooks",
            format!("{} are stored and not applied, the oldest for {}", checked.unapplied, ago(since, now)),
            "is a process with the role receipts running? Its log says why not",
        ),
        Some(_) | None => found.ok("webhooks", "what came in is applied"),
    }
    if checked.unusable_webhooks > 0 {
        let said = format!("{} of the last day had updates that could not be used", checked.unusable_webhooks);
        found.warn("webhooks", said, "the column webhooks.problems says which; the rest of each was applied");
    }
    if let Some(since) = checked.unpublished_since.filter(|since| now.duration_since(*since) > LATE) {
        let said = format!("the oldest status event is unpublished for {}", ago(since, now));
        found.warn("status events", said, "is a process with the role outbox running, and is the broker there?");
    }
    if checked.rejected > 0 {
        found.warn(
            "rejected events",
            format!("{} could not be used", checked.rejected),
            "recado rejected shows them; when the cause is gone: recado replay-rejected --all --because TEXT",
        );
    }
}

async fn ask(wire: &Wire, question: http::Request<Bytes>) -> Result<http::Response<Bytes>, Failure> {
    wire.ask(question).await.map_err(unasked)
}

fn refusal(who: &str, failure: &Failure) -> String {
    let reason = failure.reason.as_str();
    let code = failure.code.map(|code| format!(" (code {code})")).unwrap_or_default();
    let why = explain(reason).map(|why| format!(": {}", why.trim_end_matches('.'))).unwrap_or_default();
    match failure.code {
        Some(_) => format!("{who} refuses, {reason}{code}{why}"),
        None => format!("no answer, {reason}{why}"),
    }
}

fn counted(names: &[&str], what: &str) -> String {
    match names {
        [one] => format!("the {what} {one}"),
        several => format!("the {what}s {}", several.join(", ")),
    }
}
