//! `recado healthcheck`: asks the service of this machine how it is, for a container's health check.

use std::{net::IpAddr, process::ExitCode, time::Duration};

use anyhow::Context;

use super::{complain, say};
use crate::config::{Needs, Place, Settings};

/// Asks the service that listens at http.listen whether it is ready.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask only whether the process lives.
    #[arg(long)]
    alive: bool,
}

/// 0 if yes, 1 if no or nobody answers.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(place, Needs::NOTHING)?;
    let mut address = settings.http.listen;
    if address.ip().is_unspecified() {
        let own = if address.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]) };
        address.set_ip(own);
    }
    let path = if args.alive { "healthz" } else { "readyz" };
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(4))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let answer = client.get(format!("http://{address}/{path}")).send().await;
    let answer = answer.with_context(|| format!("nobody answers at http://{address}/{path} (http.listen)"))?;
    let (fine, body) = (answer.status().is_success(), answer.text().await.unwrap_or_default());
    if fine {
        say(body.trim());
        return Ok(ExitCode::SUCCESS);
    }
    complain(body.trim());
    Ok(ExitCode::FAILURE)
}
