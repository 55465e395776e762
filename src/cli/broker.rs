//! `recado publish`, `replay-rejected` and `topology`: what one does with the broker by hand.

use std::{collections::HashMap, io::Read, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{ArgGroup, builder::PossibleValuesParser};
use lapin::{
    BasicProperties, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions},
};
use uuid::Uuid;

use super::{because, complain, database, hold::somebody, moment::rejected_event, reader, run, say, settings};
use crate::{
    clock::Clock,
    config::{Needs, Place},
    db::{
        rejected::{open, replayed_by},
        versions::Versions,
    },
    domain::event::REASONS,
    telemetry::traces::Tracer,
    worker::broker,
};

/// Publishes events to `broker.exchange`, each by its type, and waits until the broker has them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  recado publish order.json\n  recado publish - < order.json\n  recado publish --exchange shopify --routing-key orders/create order.json"
)]
pub struct PublishArgs {
    /// Files with one CloudEvent in JSON each; - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The routing key, if it is not the event's type.
    #[arg(long, value_name = "KEY")]
    routing_key: Option<String>,
    /// The exchange, if it is not broker.exchange.
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
}

pub async fn publish(place: &Place, args: PublishArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { broker: true, ..Needs::NOTHING })?;
    let connection = broker::connect(&run::address(&settings)?, "publish").await.map_err(|error| refused(&error))?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let exchange = args.exchange.as_deref().unwrap_or(&settings.broker.exchange);
    let mut failed = false;
    for file in &args.files {
        let body = read(file)?;
        let routing_key = match &args.routing_key {
            Some(key) => key.clone(),
            None => event_type(&body).ok_or_else(|| {
                anyhow::anyhow!(
                    "{}: no JSON object with a \"type\"; mend it, or name the routing key: --routing-key",
                    file.display()
                )
            })?,
        };
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/cloudevents+json".into());
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published = async {
            channel
                .basic_publish(exchange.into(), routing_key.as_str().into(), mandatory, &body, properties)
                .await?
                .await
        };
        match published.await.map_err(|error| refused(&error.into()))? {
            Confirmation::Ack(None) => say(&format!("{}: published to {exchange} as {routing_key}", file.display())),
            Confirmation::Ack(Some(_)) => {
                failed = true;
                complain(&format!(
                    "{}: no queue wants {routing_key}. Is it a type of the catalogue (recado check)? If it is new: recado topology",
                    file.display()
                ));
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                failed = true;
                complain(&format!(
                    "{}: the broker refused it: the queue is full, or out of room; its log says more",
                    file.display()
                ));
            }
        }
    }
    connection.close(200, "bye".into()).await?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn refused(error: &broker::Error) -> anyhow::Error {
    let cure = error.cure().map(|cure| format!(". {cure}")).unwrap_or_default();
    anyhow::anyhow!("broker.url (AMQP_URL): {error}{cure}")
}

fn read(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body)?;
        return Ok(body);
    }
    std::fs::read(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

fn event_type(body: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(body).ok()?;
    event.get("type")?.as_str().map(str::to_owned)
}

const REPLAY_EXAMPLE: &str = "Examples:
  recado replay-rejected --all --dry-run
  recado replay-rejected --reason unfillable_template --because \"the template is mended\"
  recado replay-rejected 01a2056c-da85-7012-850d-3d88ae9c4023 --because \"the shop mended its events\"";

/// Runs rejected events through the intake again. What is rejected once more stays.
#[derive(Debug, clap::Args)]
#[command(
    after_help = REPLAY_EXAMPLE,
    group = ArgGroup::new("which").args(["id", "reason", "all", "dry_run"]).required(true).multiple(true)
)]
pub struct ReplayArgs {
    /// Only this one, by its id; recado rejected lists them.
    #[arg(value_parser = rejected_event)]
    id: Option<Uuid>,
    /// Only those that were rejected for this reason; docs/events.md explains each.
    #[arg(long, value_parser = PossibleValuesParser::new(REASONS), hide_possible_values = true)]
    reason: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Only say how many.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit trail; up to 300 characters.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    because: Option<String>,
}

pub async fn replay(place: &Place, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    const BATCH: i64 = 100;
    let why = args.because.as_deref().map(because).transpose()?;
    let settings = settings(place, Needs { broker: false, ..Needs::ALL })?;
    let pools = database(&settings).await?;
    let ids = run::sender_ids(&settings, &pools).await?;
    let mut reader = reader(&settings, ids)?;
    reader.versions = Versions::of(&pools.ops, &reader.catalogue).await?;
    let reader = Arc::new(reader);
    let inbox = run::inbox(&settings, &pools, &Clock::system(), &reader, &Tracer::default());
    let by = somebody();
    let (mut seen, mut recorded, mut again, mut partial) = (0, 0, 0, 0);
    let mut after = Uuid::nil();
    loop {
        let kept = open(&pools.ops, args.id, args.reason.as_deref(), after, BATCH).await?;
        let Some(last) = kept.last() else { break };
        after = last.id;
        for one in kept {
            seen += 1;
            if !one.whole {
                partial += 1;
            } else if !args.dry_run {
                let id = one.id;
                let taken = inbox.take(vec![one.into()]).await?;
                let came_to = taken.first().and_then(|one| one.became.came_to());
                if let Some(came_to) = came_to {
                    recorded += 1;
                    replayed_by(&pools.ops, id, came_to, &by, why).await?;
                } else {
                    again += 1;
                }
            }
        }
        if seen % 1_000 == 0 {
            complain(&format!("{seen} looked at, {recorded} taken, {again} rejected again"));
        }
    }
    if seen == 0 {
        if args.id.is_some() {
            complain("No rejected event of this id waits to be run again; recado rejected shows those that do.");
            return Ok(ExitCode::FAILURE);
        }
        let of = args.reason.map(|reason| format!(" for the reason {reason}")).unwrap_or_default();
        say(&format!("Nothing to do: no event is rejected{of}."));
        return Ok(ExitCode::SUCCESS);
    }
    let partly = match partial {
        0 => String::new(),
        n => format!(" {n} cannot be run: only their beginning was kept."),
    };
    if args.dry_run {
        say(&format!("{} would be run again.{partly}", seen - partial));
    } else {
        let again = if again > 0 { format!(" {again} were rejected again.") } else { String::new() };
        say(&format!("{recorded} taken.{again}{partly}"));
    }
    Ok(if again + partial > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Declares the exchanges and queues with their bindings.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  recado topology\n  recado topology --purge    # and throws away what is in the queues"
)]
pub struct TopologyArgs {
    /// Also remove every message from both queues. What was in them is lost.
    #[arg(long)]
    purge: bool,
}

pub async fn topology(place: &Place, args: TopologyArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(place, Needs { database: false, ..Needs::ALL })?;
    let reader = reader(&settings, HashMap::new())?;
    let topology = run::topology(&settings, &reader);
    let connection = broker::connect(&run::address(&settings)?, "topology").await.map_err(|error| refused(&error))?;
    let channel = connection.create_channel().await?;
    broker::declare(&channel, &topology).await.map_err(|error| refused(&error))?;
    if args.purge {
        for queue in [&topology.queue, &topology.dead_exchange] {
            channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
        }
    }
    say(&format!(
        "{} is bound to {} with {} event types; what the broker gives up on goes to {}.",
        topology.queue,
        topology.exchange,
        topology.routing_keys.len(),
        topology.dead_exchange
    ));
    connection.close(200, "bye".into()).await?;
    Ok(ExitCode::SUCCESS)
}
