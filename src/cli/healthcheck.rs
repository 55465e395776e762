//! `recado healthcheck`: asks the service of this machine how it is, for a container's health check.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;

use super::{complain, say};
use crate::config::{Needs, Place, Settings};

/// Asks the service that listens at http.listen whether it is ready; at http.metrics_listen, if it has no role http.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  recado healthcheck\n  recado healthcheck --alive    # also while it is not ready")]
pub struct Args {
    /// Ask only whether the process lives.
    #[arg(long)]
    alive: bool,
}

/// 0 if yes, 1 if no or nobody answers.
pub async fn run(place: &Place, args: Args) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(place, Needs::NOTHING)?;
    let path = if args.alive { "healthz" } else { "readyz" };
    let outside = format!("http://{}/{path}", reachable(settings.http.listen));
    let inside = format!("http://{}/{path}", reachable(settings.http.metrics_listen));
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let answer = match client.get(&outside).send().await {
        Ok(answer) => Ok(answer),
        Err(error) if error.is_connect() => client.get(&inside).send().await,
        Err(error) => Err(error),
    };
    let Ok(answer) = answer else {
        bail!(
            "nobody answers at {outside} (http.listen), nor at {inside} (http.metrics_listen). Is recado run there, with these settings?"
        )
    };
    let (fine, body) = (answer.status().is_success(), answer.text().await.unwrap_or_default());
    if fine {
        say(body.trim());
        return Ok(ExitCode::SUCCESS);
    }
    complain(body.trim());
    Ok(ExitCode::FAILURE)
}

/// Where to knock for what listens everywhere.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let own = if address.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]) };
        address.set_ip(own);
    }
    address
}
