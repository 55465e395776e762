//! Recado delivers a shop's order and shipping notifications on WhatsApp: only to people who confirmed that they want
//! them, once, in time, at the pace that the provider allows, and with proof.
//!
//! # The way of one event
//!
//! 1. [`worker::intake`] takes it from RabbitMQ ([`worker::broker`]) in a batch, or a producer without one brings it to [`http`]; the
//!    [`inbox`] has it read ([`inbox::reading`]): bytes become a [`domain::event`], by [`domain::source`] if a shop has a shape of its own.
//! 2. [`domain::plan`] says what it leads to: messages of the catalogue ([`domain::template`]) with every value filled in, each
//!    from the sender that [`domain::route`] chooses, or why none.
//! 3. [`db::inbox`] records it (T1); then it is acknowledged, or answered. What cannot be used is kept with its bytes and the reason
//!    ([`db::rejected`]).
//! 4. [`worker::dispatch`] has a slot and a token of [`worker::rate`] in hand and claims (T2, [`db::dispatch`]): one statement decides
//!    what goes, waits or ends, from consent, pace and order as they stand on rows that it locked.
//! 5. The sender's [`provider::Provider`] makes the request, and the answer an outcome; [`domain::notification::after`] says what follows it.
//! 6. [`worker::settling`] writes that (T3, [`db::settle`]), and frees the slot only then.
//! 7. The provider reports to a door of [`http`], which verifies and stores ([`db::webhooks`]).
//!    [`worker::receipts`] applies it (T4, [`db::receipts`]): what became of messages, what people wrote ([`domain::consent`],
//!    [`domain::ledger`]), what has to stop ([`db::holds`]).
//! 8. [`worker::outbox`] tells the shop. [`worker::upkeep`] ends what nobody else ends, and judges doubts ([`domain::doubt`]), for
//!    which [`worker::doubt`] looks at providers that can be asked; [`worker::fleet`] divides the rate among the processes;
//!    [`worker::health`] asks how the senders stand ([`domain::health`]).
//!
//! While traces are on, each step tells [`worker::traces`] its span, and [`worker::exporter`] sends them.
//!
//! Whoever wants to know asks [`cli::why`] or [`http::notifications`]; both tell a [`domain::story`].
//!
//! # Who may know whom
//!
//! ```text
//!             domain      ← knows nobody
//!            ↗   ↑   ↖
//!    provider    db    config  lifecycle  ← knows nobody; known to worker, http and cli, and to db for its crash::point
//!        ↑    ↗  ↑
//!        |   inbox |           ← known to both below
//!        |   ↗   ↖ |
//!      worker   http          sim  ← knows none of ours
//!           ↖   ↑   ↗
//!              cli            ← knows everybody, once
//! ```
//!
//! - [`domain`] and [`provider`] are pure: no `async`, no socket, no clock, no randomness. Time and chance are arguments.
//! - Only [`db`] contains SQL. One verb is one statement or one transaction.
//! - Only [`worker::dispatch`], for notifications, and [`worker::replies`], for free texts, speak to a provider's send endpoint. One attempt is
//!   at most one request.
//! - Only [`worker::intake`], [`worker::outbox`] and the commands speak to RabbitMQ, through [`worker::broker`].
//! - [`worker`] and [`http`] do not know each other: they meet in Postgres. A loop may be woken; it is never told anything.
//! - Only [`clock`] asks for the wall's time. SQL asks `recado_now()`, which a test can set.
//! - [`sim`] is another reading of the provider's documents and imports nothing of the product, so that two readings must agree.
//! - No setting is read but in [`config`], no metric is named but in [`telemetry`], and the process ends as
//!   [`lifecycle`] says. A point at which a test kills the process ([`lifecycle::crash`]) stands in [`db`] if it is inside a transaction.
//! - A [`domain::phone::Phone`] prints masked. No phone, name, text, token or body is in a log, a metric or a panic.

pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod http;
pub mod inbox;
pub mod lifecycle;
pub mod provider;
pub mod sim;
pub mod telemetry;
pub mod worker;
