//! `recado why`: the whole story of a notification, and why it is where it is.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{complain, database, hold::somebody, on_one_line, say, settings};
use crate::{
    clock::Clock,
    config::{Needs, Place},
    db::{
        audit, person,
        story::{self, Found},
    },
    domain::{
        person::Person,
        phone::Phone,
        story::{Event, Rejected, Story},
    },
    http::notifications::{Shown, explain},
    provider::Dialect,
};

const EXAMPLE: &str = "Examples:
  recado why A-1042
  recado why +34600111222
  recado why 01a2056c-da85-7012-850d-3d88ae9c4023 --json";

/// Tells what became of a notification, an event, an order or a person's messages, and what happens next.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// A notification's id, an event's id, an order or shipment, a phone number (+34…), or a provider's message id.
    #[arg(value_name = "ID|ORDER|PHONE")]
    word: String,
    /// The same as JSON, for programs.
    #[arg(long)]
    json: bool,
    /// So many events at most, the latest.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=500))]
    limit: i64,
}

/// Everything that a word means, as `--json` shows it.
#[derive(Serialize)]
struct Answer {
    /// If the word is a person's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<Who>,
    notifications: Vec<Shown>,
    /// Events from which no notification followed.
    ignored: Vec<Event>,
    rejected: Vec<Rejected>,
    more: bool,
}

#[derive(Serialize)]
struct Who {
    phone: String,
    #[serde(flatten)]
    person: Person,
}

/// 0 if something was found, 1 if not.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let pools = database(&settings(place, Needs::DATABASE)?).await?;
    let word = args.word.trim();
    let found = story::find(&pools.ops, word, args.limit).await?;
    let now = Clock::system().now();
    let person = match Phone::parse(word) {
        Ok(phone) => person::of(&pools.ops, &phone, |raw| Dialect::said(raw).map(str::to_owned)).await?,
        Err(_) => None,
    };
    if found.is_empty() && person.is_none() {
        complain(
            "Nothing is known by this name. It can be a notification's id, an event's id, an order or shipment as the event names \
             it, a phone number with its country code, or a provider's message id.",
        );
        return Ok(ExitCode::FAILURE);
    }
    let mut stories = Vec::with_capacity(found.notifications.len());
    // The latest are found first and told last, as one reads a terminal.
    for id in found.notifications.iter().rev() {
        stories.extend(story::of(&pools.ops, *id).await?);
    }
    let numbers: BTreeSet<&str> = stories
        .iter()
        .filter_map(|story| story.phone.as_ref())
        .chain(person.as_ref().map(|person| &person.phone))
        .map(Phone::reveal)
        .collect();
    let on = match stories.as_slice() {
        [only] => Some(only.id.to_string()),
        _ => None,
    };
    let of: Vec<Uuid> = stories.iter().map(|story| story.id).collect();
    audit::shown(&pools.ops, &somebody(), on.as_deref(), (numbers.len(), &of), "recado why").await?;
    let mut out = Vec::new();
    if args.json {
        let Found { mut events, rejected, more, .. } = found;
        events.retain(|event| event.ignored.is_some());
        let notifications = stories.into_iter().map(|story| Shown::of(story, true, now)).collect();
        let person = person.map(|person| Who { phone: person.phone.reveal().to_owned(), person });
        serde_json::to_writer_pretty(&mut out, &Answer { person, notifications, ignored: events, rejected, more })?;
    } else {
        if let Some(person) = &person {
            print_person(&mut out, person)?;
        }
        print(&mut out, &found, &stories, now)?;
    }
    say(String::from_utf8_lossy(&out).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, found: &Found, stories: &[Story], now: Timestamp) -> io::Result<()> {
    if found.more {
        writeln!(out, "There is more than this; --limit shows more of the latest.\n")?;
    }
    for event in found.rejected.iter().rev() {
        print_rejected(out, event)?;
    }
    for event in found.events.iter().rev() {
        if let Some(why) = &event.ignored {
            writeln!(
                out,
                "Event {} of {} ({})",
                on_one_line(&event.id),
                on_one_line(&event.source),
                on_one_line(&event.r#type)
            )?;
            writeln!(out, "  {}  Received; no message follows: {}.", clock(event.received_at), why.replace('_', " "))?;
            print_conflicts(out, event)?;
            writeln!(out)?;
        }
    }
    for story in stories {
        print_story(out, story, now)?;
    }
    Ok(())
}

fn print_person(out: &mut impl Write, person: &Person) -> io::Result<()> {
    writeln!(out, "Person {}\n", person.phone.reveal())?;
    let lines = person.tell();
    if lines.is_empty() {
        writeln!(out, "  Has agreed to nothing, refused nothing and written nothing.")?;
    }
    for line in lines {
        writeln!(out, "  {}  {}", clock(line.at), on_one_line(&line.what))?;
    }
    writeln!(out)
}

fn print_story(out: &mut impl Write, story: &Story, now: Timestamp) -> io::Result<()> {
    let whom = story.phone.as_ref().map_or("a number that cannot be read", |phone| phone.reveal());
    writeln!(out, "Notification {} to {whom}", story.id)?;
    if let Some(event) = &story.event {
        let subject = event.subject.as_deref().map(|subject| format!(", {subject}")).unwrap_or_default();
        writeln!(out, "  {} from {}{}", on_one_line(&event.r#type), on_one_line(&event.source), on_one_line(&subject))?;
    }
    let why = story.state.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    writeln!(out, "  {} in {}: {}{why}", story.template, story.language, story.state.name().replace('_', " "))?;
    writeln!(out)?;
    for line in story.tell(&explain) {
        writeln!(out, "  {}  {}", clock(line.at), on_one_line(&line.what))?;
    }
    writeln!(out, "\n  Next: {}\n", story.next(now))
}

fn print_conflicts(out: &mut impl Write, event: &Event) -> io::Result<()> {
    for at in &event.conflicts {
        writeln!(out, "  {}  The same event came again with another body; the first one counts.", clock(*at))?;
    }
    Ok(())
}

fn print_rejected(out: &mut impl Write, event: &Rejected) -> io::Result<()> {
    writeln!(out, "Rejected event {} ({})", event.id, on_one_line(&event.routing_key))?;
    let copies = if event.copies > 1 { format!(", {} times", event.copies) } else { String::new() };
    writeln!(
        out,
        "  {}  Received{copies}; it could not be used: {}: {}",
        clock(event.received_at),
        event.reason,
        on_one_line(&event.detail)
    )?;
    match (event.replayed_at, &event.replay) {
        (Some(at), Some(what)) => writeln!(out, "  {}  Run again: {what}.", clock(at))?,
        (Some(at), None) => writeln!(out, "  {}  Run again.", clock(at))?,
        (None, _) => writeln!(
            out,
            "\n  Next: nothing, by itself. recado rejected show {0} shows its bytes; when the cause is gone: recado replay-rejected {0} --because TEXT.",
            event.id
        )?,
    }
    writeln!(out)
}

/// To the millisecond, in UTC.
fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}
