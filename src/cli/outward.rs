//! Callbacks and relays, put together from the settings.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    clock::Clock,
    config::{Secret, Settings},
    db::{Pools, callbacks},
    domain::callback::Key,
    lifecycle::Lifecycle,
    worker::{
        Nudge,
        broker::{Address, Topology},
        callbacks::{Callback, Rules, Target},
        chance,
        outbox::{self, keeper::Keeper},
        relay::Relay,
        wire::{Reach, Wire},
    },
};

/// A connection takes no longer, or the address is of no use.
const CONNECT: Duration = Duration::from_secs(5);

/// Starts what tells others over HTTP, if anybody is to be told. Each callback has its place in the log before anything is put there.
///
/// # Errors
/// If a setting cannot be used or the database cannot be asked.
pub async fn start(
    settings: &Settings,
    pools: &Pools,
    clock: &Clock,
    life: &Lifecycle,
    worker: Uuid,
) -> anyhow::Result<()> {
    let (pool, wire) = (&pools.ops, Arc::new(wire(settings)?));
    let kept = Nudge::default();
    for callback in settings.callbacks.values() {
        callbacks::open(pool, &callback.name).await?;
    }
    for target in targets(settings)? {
        let (rules, kept) = (rules(settings, settings.outward.give_up_after), kept.clone());
        let (pool, clock, wire) = (pool.clone(), clock.clone(), Arc::clone(&wire));
        let callback = Callback { worker, pool, clock, rules, target, kept, wire, chance };
        life.role("callback", callback.run(life.clone()));
    }
    if !settings.callbacks.is_empty() {
        if settings.broker.url.is_given() {
            callbacks::open(pool, callbacks::BROKER).await?;
        } else {
            tracing::warn!("broker.none: broker.url is not set, so events are told to callbacks only");
            callbacks::close(pool, callbacks::BROKER).await?;
        }
        let of = &settings.outbox;
        let (batch, poll, lease) = (i64::try_from(of.batch)?, of.poll, of.lease);
        let keeper = Keeper { worker, pool: pool.clone(), batch, poll, lease, kept };
        life.role("keeper", keeper.run(life.clone()));
    }
    for sender in settings.senders.values() {
        let Some(relay) = &sender.relay else { continue };
        let keys = keys(&[&relay.secret, &relay.previous_secret])?;
        let target = Target { name: sender.name.clone(), url: relay.url.parse()?, keys, events: Vec::new() };
        let rules = rules(settings, settings.outward.relay_give_up_after);
        let (pool, clock, wire) = (pool.clone(), clock.clone(), Arc::clone(&wire));
        life.role("relay", Relay { worker, pool, clock, rules, target, wire, chance }.run(life.clone()));
    }
    Ok(())
}

/// How the broker is told.
pub(super) fn publisher(settings: &Settings, address: Address, topology: Topology) -> outbox::Rules {
    outbox::Rules {
        address,
        topology,
        batch: i64::try_from(settings.outbox.batch).unwrap_or(1_000),
        poll: settings.outbox.poll,
        lease: settings.outbox.lease,
        reconnect_after: settings.broker.reconnect_after,
        reconnect_cap: settings.broker.reconnect_cap,
        kept: !settings.callbacks.is_empty(),
    }
}

/// Where the callbacks lead.
///
/// # Errors
/// If a secret is not given.
pub fn targets(settings: &Settings) -> anyhow::Result<Vec<Target>> {
    let target = |callback: &crate::config::Callback| {
        // The present one must be there.
        callback.secret.reveal()?;
        let keys = keys(&[&callback.secret, &callback.previous_secret])?;
        let (name, events) = (callback.name.clone(), callback.events.clone());
        Ok(Target { name, url: callback.url.parse()?, keys, events })
    };
    settings.callbacks.values().map(target).collect()
}

/// By which requests to others go out.
///
/// # Errors
/// If this system's certificates cannot be used.
pub fn wire(settings: &Settings) -> anyhow::Result<Wire> {
    let of = &settings.outward;
    Ok(Wire::within(reach(settings), of.timeout, CONNECT.min(of.timeout), of.at_once)?)
}

fn keys(secrets: &[&Secret]) -> anyhow::Result<Vec<Key>> {
    let given = secrets.iter().filter_map(|secret| secret.reveal().ok());
    given.map(|text| Key::parse(text).map_err(anyhow::Error::from)).collect()
}

fn reach(settings: &Settings) -> Reach {
    if settings.outward.private_addresses { Reach::Anywhere } else { Reach::Public }
}

fn rules(settings: &Settings, give_up_after: Duration) -> Rules {
    let of = &settings.outward;
    Rules {
        at_once: of.at_once,
        timeout: of.timeout,
        poll: of.poll,
        retry_base: of.retry_base,
        retry_cap: of.retry_cap,
        give_up_after,
    }
}
