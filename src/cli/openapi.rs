//! `recado openapi`: the HTTP side's description.

use std::process::ExitCode;

use super::say;
use crate::http::openapi;

const EXAMPLE: &str = "Examples:
  recado openapi > openapi.json";

/// Prints the OpenAPI document of the HTTP side, which a running service has at /v1/openapi.json.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {}

/// 0.
#[must_use]
pub fn run(_: &Args) -> ExitCode {
    say(&openapi::text());
    ExitCode::SUCCESS
}
