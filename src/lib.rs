//! Recado delivers a shop's order and shipping notifications on WhatsApp: only to people who confirmed that they want
//! them, once, in time, at the pace that the provider allows, and with proof.

pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod http;
pub mod lifecycle;
pub mod provider;
pub mod sim;
pub mod telemetry;
pub mod worker;
