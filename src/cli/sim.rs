//! `recado sim`: the simulator of WhatsApp alone, as a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::sim::{Options, Pair, Rules, Sender, Sim, TwilioAccount, TwilioNumber, TwilioService};

const EXAMPLE: &str = "Examples:
  recado sim --listen 127.0.0.1:8090 --webhook-url http://127.0.0.1:8080/webhooks/main \\
    --latency-ms 200 --ledger accepted.jsonl
  curl -X POST http://127.0.0.1:8090/_sim/people/+34600111222/reply -d '{\"text\":\"BAJA\"}'
  curl -X POST http://127.0.0.1:8090/_sim/faults -d '{\"fault\":{\"kind\":\"cut_after\"},\"next\":3}'
  curl -X POST http://127.0.0.1:8090/_sim/people/+34600111222/reply -d '{\"text\":\"STOP\",\"sender\":\"+34600000001\"}'";

/// Simulates Meta's WhatsApp Cloud API and Twilio's Messages and Content APIs, for development and tests.
///
/// Both are at one address: Meta's under /v25.0, Twilio's under /2010-04-01 and /v1. Status callbacks of Twilio's go to the
/// StatusCallback that a message was sent with.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Where to listen. The control addresses under /_sim ask for no key: keep it local.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The bearer token that may send.
    #[arg(long, env = "RECADO_SIM_TOKEN", default_value = "sim-token", hide_env_values = true)]
    token: String,
    /// A business number's id; may be given several times.
    #[arg(long = "phone-number-id", value_name = "ID", default_value = "200000000000002")]
    phone_number_ids: Vec<String>,
    /// The number that belongs to the first id, as shown; the next ids count on from it.
    #[arg(long, default_value = "+34600000000")]
    phone_number: String,
    /// The country code that a recipient without + gets.
    #[arg(long, default_value = "1")]
    country_code: String,
    /// The WhatsApp Business Account's id.
    #[arg(long, default_value = "100000000000001")]
    waba_id: String,
    /// The app secret, which signs webhooks.
    #[arg(long, env = "RECADO_SIM_APP_SECRET", default_value = "sim-app-secret", hide_env_values = true)]
    app_secret: String,
    /// What the verification call presents.
    #[arg(long, env = "RECADO_SIM_VERIFY_TOKEN", default_value = "sim-verify-token", hide_env_values = true)]
    verify_token: String,
    /// Where webhooks go; without it none are sent.
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// A file for one JSON line a message accepted, synced before the answer.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Messages a second that each number may send.
    #[arg(long, default_value_t = 80)]
    mps: usize,
    /// Messages to one person at once, before the pair limit of one in six seconds.
    #[arg(long, default_value_t = 45)]
    pair_burst: i64,
    /// How long an answer takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Up to so much is added to it.
    #[arg(long, default_value_t = 0)]
    jitter_ms: u64,
    /// Milliseconds from the acceptance to sent, delivered and read.
    #[arg(long, num_args = 3, value_names = ["SENT", "DELIVERED", "READ"], default_values_t = [50, 200, 500])]
    status_ms: Vec<u64>,
    /// A JSON file with one template in the form of Meta's API, a list, or a page of its listing; may be given several times.
    #[arg(long, value_name = "FILE")]
    templates: Vec<PathBuf>,
    /// The account at Twilio.
    #[arg(long, value_name = "SID", default_value = "AC0123456789abcdef0123456789abcdef")]
    twilio_account_sid: String,
    /// Its auth token, which signs what Twilio posts.
    #[arg(long, env = "RECADO_SIM_TWILIO_AUTH_TOKEN", default_value = "sim-auth-token", hide_env_values = true)]
    twilio_auth_token: String,
    /// The secret of its API key SK0123456789abcdef0123456789abcdef.
    #[arg(long, env = "RECADO_SIM_TWILIO_KEY_SECRET", default_value = "sim-key-secret", hide_env_values = true)]
    twilio_key_secret: String,
    /// Its number, for SMS and for WhatsApp, in the messaging service MG0123456789abcdef0123456789abcdef.
    #[arg(long, value_name = "NUMBER", default_value = "+34600000001")]
    twilio_number: String,
    /// Where what people write there on WhatsApp is posted to.
    #[arg(long, value_name = "URL")]
    twilio_inbound_url: Option<String>,
    /// The same for SMS.
    #[arg(long, value_name = "URL")]
    twilio_sms_inbound_url: Option<String>,
    /// Twilio heeds STOP, BAJA and the like on WhatsApp too, and says so.
    #[arg(long)]
    twilio_advanced_opt_out: bool,
    /// A JSON file with content as the Content API takes it, with `sid` and `approval` if it has them, or a list; may be given
    /// several times.
    #[arg(long, value_name = "FILE")]
    contents: Vec<PathBuf>,
    /// A file that gets the address (host:port) as soon as it listens; with port 0, this is how to learn it.
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
    /// The seed of all chance, to repeat a run.
    #[arg(long)]
    seed: Option<u64>,
    /// How many happenings /_sim/events remembers.
    #[arg(long, default_value_t = 10_000)]
    feed: usize,
}

/// Runs until SIGINT or SIGTERM.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut templates = Vec::new();
    for path in &args.templates {
        templates.extend(read_list(path)?);
    }
    let mut contents = Vec::new();
    for path in &args.contents {
        contents.extend(read_list(path)?);
    }
    let twilio = twilio(&args);
    let mut rules =
        Rules { url: args.webhook_url, secret: args.app_secret, verify_token: args.verify_token, ..Rules::default() };
    if let [sent, delivered, read] = args.status_ms.as_slice() {
        (rules.sent_ms, rules.delivered_ms, rules.read_ms) = (*sent, *delivered, *read);
    }
    let first: u64 =
        args.phone_number.trim_start_matches('+').parse().context("--phone-number must be + and digits")?;
    let senders = args.phone_number_ids.iter().zip(first..).map(|(id, number)| Sender {
        phone_number_id: id.clone(),
        display_phone_number: format!("+{number}"),
        country_code: args.country_code.clone(),
        token: args.token.clone(),
        mps: args.mps,
        ..Sender::default()
    });
    let options = Options {
        address: args.listen,
        waba_id: args.waba_id,
        senders: senders.collect(),
        templates,
        webhooks: rules,
        ledger: args.ledger,
        seed: args.seed,
        latency_ms: args.latency_ms,
        jitter_ms: args.jitter_ms,
        pair: Pair { burst: args.pair_burst, ..Pair::default() },
        feed: args.feed,
        twilio,
        contents,
        ..Options::default()
    };
    let sim = Sim::start(options).await?;
    if let Some(path) = &args.address_file {
        std::fs::write(path, sim.addr().to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    tracing::info!(address = %sim.addr(), "sim.listening");
    stopped().await?;
    sim.shutdown().await;
    Ok(())
}

fn twilio(args: &Args) -> TwilioAccount {
    let service = TwilioService { advanced_opt_out: args.twilio_advanced_opt_out, ..TwilioService::default() };
    let number = |channel: &str, inbound_url: &Option<String>| TwilioNumber {
        address: format!("{channel}{}", args.twilio_number),
        service: Some(service.sid.clone()),
        inbound_url: inbound_url.clone(),
        mps: args.mps,
        ..TwilioNumber::default()
    };
    let numbers = vec![number("", &args.twilio_sms_inbound_url), number("whatsapp:", &args.twilio_inbound_url)];
    let key = "SK0123456789abcdef0123456789abcdef".to_owned();
    TwilioAccount {
        sid: args.twilio_account_sid.clone(),
        token: args.twilio_auth_token.clone(),
        keys: BTreeMap::from([(key, args.twilio_key_secret.clone())]),
        numbers,
        services: vec![service],
        ..TwilioAccount::default()
    }
}

fn read_list(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let json: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let list = json.get("data").unwrap_or(&json);
    Ok(list.as_array().cloned().unwrap_or_else(|| vec![json.clone()]))
}

async fn stopped() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_arguments_fit_together_and_the_example_in_the_help_works() {
        Probe::command().debug_assert();
        let help = Probe::command().render_help().to_string();
        let example = help.split("recado sim").nth(1).expect("an example").split("curl").next().unwrap_or_default();
        let words = example.split_whitespace().filter(|word| *word != "\\");
        let args = Probe::try_parse_from(std::iter::once("sim").chain(words)).expect("the example parses").args;
        assert_eq!((args.latency_ms, args.templates.len(), args.ledger.is_some()), (200, 0, true));
        assert_eq!(args.status_ms, [50, 200, 500]);
    }
}
