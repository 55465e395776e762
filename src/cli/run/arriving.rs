//! How events arrive, by these settings: at the broker, and at the doors.

use std::sync::Arc;

use secrecy::SecretString;

use crate::{
    clock::Clock,
    config::{self, Settings},
    db::Pools,
    http::Events,
    inbox::{Inbox, reading::Reader},
    telemetry::traces::Tracer,
    worker::{
        Nudge,
        broker::{Address, Topology},
        intake,
    },
};

/// What we declare at the broker.
#[must_use]
pub fn topology(settings: &Settings, reader: &Reader) -> Topology {
    let of = &settings.broker;
    Topology {
        exchange: of.exchange.clone(),
        queue: of.queue.clone(),
        dead_exchange: of.dead_exchange.clone(),
        status_exchange: of.status_exchange.clone(),
        inbound_exchange: of.inbound_exchange.clone(),
        delivery_limit: of.delivery_limit,
        routing_keys: reader.event_types(),
        sources: reader.sources.bindings().map(|(exchange, key)| (exchange.to_owned(), key.to_owned())).collect(),
    }
}

/// How the queue is consumed, by these settings.
#[must_use]
pub fn intake_rules(settings: &Settings, address: Address, topology: Topology) -> intake::Rules {
    intake::Rules {
        address,
        topology,
        prefetch: settings.broker.prefetch,
        batch: settings.intake.batch,
        linger: settings.intake.linger,
        reconnect_after: settings.broker.reconnect_after,
        reconnect_cap: settings.broker.reconnect_cap,
    }
}

/// What takes events in, whoever brings them.
#[must_use]
pub fn inbox(settings: &Settings, pools: &Pools, clock: &Clock, reader: &Arc<Reader>, tracer: &Tracer) -> Inbox {
    let (pool, reader, tracer) = (pools.intake.clone(), Arc::clone(reader), tracer.clone());
    Inbox { reader, pool, clock: clock.clone(), max_event_bytes: settings.intake.max_event_bytes, tracer }
}

/// Where events go that are brought to the doors; `nudge` wakes whoever sends, if that is in this process.
pub(super) fn events(settings: &Settings, inbox: Inbox, nudge: Nudge) -> anyhow::Result<Events> {
    let given = settings.sources.secrets.iter().filter(|(_, secret)| secret.is_given());
    let secret = |(name, secret): (&String, &config::Secret)| Ok((name.clone(), SecretString::from(secret.reveal()?)));
    let secrets = given.map(secret).collect::<anyhow::Result<_>>()?;
    Ok(Events { inbox, secrets, recorded: Arc::new(move || nudge.wake()) })
}
