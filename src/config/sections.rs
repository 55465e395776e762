//! For each key what it may be, and what must hold between keys.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    Broker, Consent, Database, Dispatch, Doubt, Drain, Forms, Http, Intake, Log, LogFormat, Needs, Network, Outbox,
    Outward, Pace, Problems, Rates, Retry, Sender, Settings, Shutdown, Sources, Templates, Traces, Upkeep, console,
    outward,
    problem::did_you_mean,
    reader::{Reader, Scheme, SecretFrom, Span, check_url},
    routing, senders,
};
use crate::domain::{
    consent::{Vocabulary, Words},
    phone::Phone,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads every section and checks them against each other.
pub(super) fn read(mut r: Reader, needs: Needs) -> Result<Settings, Problems> {
    let r_ = &mut r;
    let database = database(r_, needs);
    // Who calls others over HTTP can do without.
    let needs = Needs { broker: needs.broker && r_.names("callbacks").is_empty(), ..needs };
    let broker = broker(r_, needs);
    let intake = intake(r_, &broker);
    let dispatch = dispatch(r_);
    let retry = retry(r_);
    let doubt = doubt(r_, &dispatch);
    let pace = pace(r_);
    let consent = consent(r_);
    let outward = outward::outward(r_);
    let senders = senders::senders(r_, needs, &outward);
    let health_every = health_every(r_);
    let http = http(r_);
    let templates = templates(r_, needs, &senders);
    let routing = routing::rules(r_, needs, &senders);
    let words = words(r_);
    let tell_where =
        r_.choice("answers.where_is_my_order", &[("silence", false), ("last_stage", true)]).unwrap_or(false);
    let forms = forms(r_);
    let console = console::console(r_);
    let sources = sources(r_);
    let rates = Rates { dir: r_.folder("rates.dir", &["/usr/share/recado/rates"]) };
    let drain = drain(r_);
    let outbox = outbox(r_);
    let callbacks = outward::callbacks(r_, &outward, needs);
    let upkeep = upkeep(r_, &intake, &outward);
    let traces = traces(r_);
    let log = log(r_);
    let shutdown = Shutdown { grace: r_.duration("shutdown.grace", SECOND..=HOUR) };
    let shown = r.finish()?;
    Ok(Settings {
        database,
        broker,
        intake,
        dispatch,
        retry,
        doubt,
        pace,
        consent,
        health_every,
        senders,
        http,
        templates,
        routing,
        words,
        tell_where,
        forms,
        console,
        sources,
        rates,
        drain,
        outbox,
        outward,
        callbacks,
        upkeep,
        traces,
        log,
        shutdown,
        shown,
    })
}

fn sources(r: &mut Reader) -> Sources {
    let dir = r.folder("sources.dir", &["/usr/share/recado/sources"]);
    let secret = |r: &mut Reader, name: String| {
        let check = |text: &str| match text.trim() {
            "" => Err("is empty; it is what the source shows where its webhooks are set up".to_owned()),
            _ => Ok(()),
        };
        let from = SecretFrom { needed: false, conventional: None, like: "", in_file: |_| false, check };
        let secret = r.secret(&format!("sources.http.{name}.secret"), &from);
        (name, secret)
    };
    let names = r.names("sources.http");
    Sources { dir, secrets: names.into_iter().map(|name| secret(r, name)).collect() }
}

fn database(r: &mut Reader, needs: Needs) -> Database {
    const FROM: SecretFrom = SecretFrom {
        needed: false,
        conventional: Some("DATABASE_URL"),
        like: " to something like postgres://recado:password@localhost:5432/recado",
        in_file: is_without_password,
        check: is_database,
    };
    Database {
        url: r.secret("database.url", &SecretFrom { needed: needs.database, ..FROM }),
        hot_connections: r.integer("database.hot_connections", 1..=500),
        webhook_connections: r.integer("database.webhook_connections", 1..=500),
        public_connections: r.integer("database.public_connections", 1..=500),
        admin_connections: r.integer("database.admin_connections", 1..=500),
        acquire_timeout: r.duration("database.acquire_timeout", 100 * MS..=MINUTE),
        statement_timeout: r.duration("database.statement_timeout", 100 * MS..=10 * MINUTE),
        admin_statement_timeout: r.duration("database.admin_statement_timeout", SECOND..=DAY),
    }
}

/// Whether `text` names a Postgres database.
fn is_database(text: &str) -> Result<(), String> {
    const SCHEME: Scheme = Scheme {
        schemes: &["postgres", "postgresql"],
        plain_only_here: false,
        like: "postgres://recado:password@localhost:5432/recado",
    };
    let url = check_url(text, &SCHEME)?;
    match url.path().trim_matches('/') {
        "" => Err(format!("names no database; write it like {}", SCHEME.like)),
        _ => Ok(()),
    }
}

fn drain(r: &mut Reader) -> Drain {
    const FROM: SecretFrom = SecretFrom {
        needed: false,
        conventional: None,
        like: " to something like postgres://recado_drain:password@shop-db:5432/shop",
        in_file: is_without_password,
        check: is_database,
    };
    Drain {
        url: r.secret("drain.url", &FROM),
        batch: r.integer("drain.batch", 1..=2_000),
        poll: r.duration("drain.poll", 10 * MS..=MINUTE),
    }
}

fn broker(r: &mut Reader, needs: Needs) -> Broker {
    const FROM: SecretFrom = SecretFrom {
        needed: false,
        conventional: Some("AMQP_URL"),
        like: " to something like amqp://recado:password@localhost:5672/shop",
        in_file: is_without_password,
        check: |text| {
            const SCHEME: Scheme = Scheme {
                schemes: &["amqp", "amqps"],
                plain_only_here: false,
                like: "amqp://recado:password@localhost:5672/shop",
            };
            check_url(text, &SCHEME).map(|_| ())
        },
    };
    let broker = Broker {
        url: r.secret("broker.url", &SecretFrom { needed: needs.broker, ..FROM }),
        exchange: amqp_name(r, "broker.exchange"),
        queue: amqp_name(r, "broker.queue"),
        dead_exchange: amqp_name(r, "broker.dead_exchange"),
        status_exchange: amqp_name(r, "broker.status_exchange"),
        inbound_exchange: amqp_name(r, "broker.inbound_exchange"),
        prefetch: r.integer("broker.prefetch", 1..=2_000),
        delivery_limit: r.integer("broker.delivery_limit", 1..=1_000_000),
        heartbeat: r.duration("broker.heartbeat", 5 * SECOND..=5 * MINUTE),
        connect_timeout: r.duration("broker.connect_timeout", 100 * MS..=MINUTE),
        reconnect_after: r.duration("broker.reconnect_after", 10 * MS..=MINUTE),
        reconnect_cap: r.duration("broker.reconnect_cap", 10 * MS..=10 * MINUTE),
    };
    if !broker.heartbeat.is_zero() && broker.heartbeat.subsec_nanos() > 0 {
        r.blame("broker.heartbeat", "must be whole seconds");
    }
    in_order(r, ("broker.reconnect_after", broker.reconnect_after), ("broker.reconnect_cap", broker.reconnect_cap));
    let exchanges = [
        ("broker.dead_exchange", &broker.dead_exchange),
        ("broker.status_exchange", &broker.status_exchange),
        ("broker.inbound_exchange", &broker.inbound_exchange),
    ];
    for (key, name) in exchanges {
        if *name == broker.exchange && !name.is_empty() {
            r.blame(
                key,
                "must not be the exchange of the events (broker.exchange), or Recado would read what it writes",
            );
        }
    }
    broker
}

fn intake(r: &mut Reader, broker: &Broker) -> Intake {
    let intake = Intake {
        batch: r.integer("intake.batch", 1..=2_000),
        linger: r.duration("intake.linger", Duration::ZERO..=SECOND),
        max_event_bytes: r.integer("intake.max_event_bytes", 1_024..=16_777_216),
        longest_replay: r.duration("intake.longest_replay", HOUR..=3_650 * DAY),
    };
    if broker.prefetch > 0 && intake.batch > usize::from(broker.prefetch) {
        let what =
            format!("must not be more than broker.prefetch ({}), or no batch would ever be full", broker.prefetch);
        r.blame("intake.batch", &what);
    }
    intake
}

fn dispatch(r: &mut Reader) -> Dispatch {
    let dispatch = Dispatch {
        max_in_flight: r.integer("dispatch.max_in_flight", 1..=10_000),
        claim_batch: r.integer("dispatch.claim_batch", 1..=2_000),
        settle_batch: r.integer("dispatch.settle_batch", 1..=2_000),
        settle_linger: r.duration("dispatch.settle_linger", Duration::ZERO..=SECOND),
        lease: r.duration("dispatch.lease", SECOND..=HOUR),
        send_timeout: r.duration("dispatch.send_timeout", 100 * MS..=10 * MINUTE),
        connect_timeout: r.duration("dispatch.connect_timeout", 50 * MS..=MINUTE),
        poll: r.duration("dispatch.poll", 10 * MS..=MINUTE),
        headroom: r.share("dispatch.headroom", 0.0..=0.9),
        quiet_hours: r.choice("dispatch.quiet_hours", &[("observe", true), ("ignore", false)]).unwrap_or(true),
        heartbeat: r.duration("dispatch.heartbeat", 100 * MS..=MINUTE),
        gone_after: r.duration("dispatch.gone_after", 500 * MS..=10 * MINUTE),
        only_to: only_to(r),
    };
    in_order(
        r,
        ("dispatch.connect_timeout", dispatch.connect_timeout),
        ("dispatch.send_timeout", dispatch.send_timeout),
    );
    lease_has_room(r, dispatch.lease, dispatch.send_timeout);
    in_order(r, ("dispatch.heartbeat", dispatch.heartbeat), ("dispatch.gone_after", dispatch.gone_after));
    dispatch
}

/// A request starts only while twice its time is left of the lease, and claiming takes a moment too: a shorter lease would claim
/// and never send. Silent if one of the two was wrong already.
fn lease_has_room(r: &mut Reader, lease: Duration, send_timeout: Duration) {
    const LEASE: &str = "dispatch.lease";
    const SEND_TIMEOUT: &str = "dispatch.send_timeout";
    const WHY: &str =
        "and half a second: a request starts only while twice its time is left of the lease, so none ever would";
    if lease.is_zero() || send_timeout.is_zero() || lease >= send_timeout * 2 + 500 * MS {
        return;
    }
    // Blame the one that the user wrote.
    if r.is_set(LEASE) || !r.is_set(SEND_TIMEOUT) {
        let cure = Span((send_timeout * 3).max(send_timeout * 2 + SECOND));
        let short = Span(send_timeout);
        r.blame(
            LEASE,
            &format!(
                "must be at least twice {SEND_TIMEOUT} ({short}) {WHY}; write \"{cure}\", or lower {SEND_TIMEOUT}"
            ),
        );
    } else {
        let most = (lease / 3).min((lease - 500 * MS) / 2);
        let cure = Span(Duration::from_millis(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)));
        let long = Span(lease);
        r.blame(
            SEND_TIMEOUT,
            &format!("{LEASE} ({long}) must be at least twice that {WHY}; write \"{cure}\", or raise {LEASE}"),
        );
    }
}

fn only_to(r: &mut Reader) -> Option<Vec<Phone>> {
    const KEY: &str = "dispatch.only_to";
    if !r.has(KEY) {
        return None;
    }
    let mut phones = Vec::new();
    for (at, text) in r.list(KEY).iter().enumerate() {
        match Phone::parse(text) {
            Ok(phone) => phones.push(phone),
            // The number itself is left out: it is somebody's.
            Err(why) => r.accuse(KEY, &format!("number {} {why}", at + 1)),
        }
    }
    r.note(KEY, format!("({} numbers)", phones.len()));
    Some(phones)
}

fn retry(r: &mut Reader) -> Retry {
    let retry = Retry {
        max_attempts: r.integer("retry.max_attempts", 1..=100),
        base: r.duration("retry.base", 10 * MS..=HOUR),
        cap: r.duration("retry.cap", 10 * MS..=DAY),
        sender_pause: r.duration("retry.sender_pause", 10 * MS..=HOUR),
        sender_pause_cap: r.duration("retry.sender_pause_cap", 10 * MS..=DAY),
        sender_recovery_step: r.duration("retry.sender_recovery_step", 10 * MS..=HOUR),
    };
    in_order(r, ("retry.base", retry.base), ("retry.cap", retry.cap));
    in_order(r, ("retry.sender_pause", retry.sender_pause), ("retry.sender_pause_cap", retry.sender_pause_cap));
    retry
}

fn doubt(r: &mut Reader, dispatch: &Dispatch) -> Doubt {
    let doubt = Doubt {
        window: r.duration("doubt.window", SECOND..=DAY),
        later_attempts: r.integer("doubt.later_attempts", 1..=1_000),
        max: r.duration("doubt.max", SECOND..=30 * DAY),
    };
    in_order(r, ("dispatch.send_timeout", dispatch.send_timeout), ("doubt.max", doubt.max));
    in_order(r, ("doubt.window", doubt.window), ("doubt.max", doubt.max));
    doubt
}

fn pace(r: &mut Reader) -> Pace {
    Pace {
        recipient_interval: r.duration("pace.recipient_interval", 10 * MS..=DAY),
        recipient_burst: r.integer("pace.recipient_burst", 1..=45),
    }
}

fn consent(r: &mut Reader) -> Consent {
    Consent {
        grace: r.duration("consent.grace", Duration::ZERO..=DAY),
        pending_limit: r.duration("consent.pending_limit", Duration::ZERO..=30 * DAY),
    }
}

fn health_every(r: &mut Reader) -> Option<Duration> {
    const KEY: &str = "meta.health_every";
    let every = r.duration(KEY, Duration::ZERO..=DAY);
    if !every.is_zero() && every < MINUTE {
        r.blame(KEY, "must be at least a minute, since Meta counts the questions; or \"0s\" to ask never");
    }
    (!every.is_zero()).then_some(every)
}

fn http(r: &mut Reader) -> Http {
    const PUBLIC: Scheme =
        Scheme { schemes: &["https", "http"], plain_only_here: true, like: "https://recado.example.com" };
    const KEY: SecretFrom = SecretFrom {
        needed: false,
        conventional: None,
        like: "",
        in_file: |_| false,
        check: |text| match text.len() {
            0..32 => Err("must have at least 32 characters; make one with `openssl rand -hex 32`".to_owned()),
            _ => is_printable(text),
        },
    };
    let http = Http {
        listen: r.address("http.listen"),
        metrics_listen: r.address("http.metrics_listen"),
        public_url: r.has("http.public_url").then(|| r.url("http.public_url", &PUBLIC)),
        webhook_body_limit: r.integer("http.webhook_body_limit", 65_536..=67_108_864),
        api_body_limit: r.integer("http.api_body_limit", 1_024..=67_108_864),
        request_timeout: r.duration("http.request_timeout", 100 * MS..=10 * MINUTE),
        server_key: r.secret("http.server_key", &KEY),
        trusted_proxies: trusted_proxies(r),
    };
    if http.listen == http.metrics_listen && http.listen.port() != 0 {
        r.blame("http.metrics_listen", "is the address of http.listen; the figures have a listener of their own");
    }
    http
}

fn trusted_proxies(r: &mut Reader) -> Vec<Network> {
    const KEY: &str = "http.trusted_proxies";
    let mut networks = Vec::new();
    for text in r.list(KEY) {
        match Network::parse(&text) {
            Some(network) => networks.push(network),
            None => r.blame(KEY, "must be addresses or networks, like [\"127.0.0.1\", \"10.0.0.0/8\"]"),
        }
    }
    r.note(KEY, format!("({} networks)", networks.len()));
    networks
}

fn words(r: &mut Reader) -> Words {
    let mut languages = BTreeMap::new();
    for language in r.names("words") {
        let mut list = |last: &str| {
            let key = format!("words.{language}.{last}");
            let words = if r.has(&key) { r.list(&key) } else { Vec::new() };
            if words.iter().any(|word| !word.chars().any(char::is_alphanumeric)) {
                r.blame(&key, "must be words or short sentences with letters in them");
            }
            r.note(&key, format!("({} words)", words.len()));
            words
        };
        let vocabulary = Vocabulary {
            stop: list("stop"),
            start: list("start"),
            help: list("help"),
            yes: list("yes"),
            r#where: list("where"),
        };
        languages.insert(language, vocabulary);
    }
    let words = Words::new(languages);
    if words.stops().is_empty() {
        r.miss("words", "no language has a word that means stop; people must be able to say no");
    }
    words
}

fn forms(r: &mut Reader) -> Forms {
    Forms {
        dir: r.folder("forms.dir", &["/usr/share/recado/forms"]),
        asks_per_address: r.integer("forms.asks_per_address", 1..=1_000_000),
        asks_per_phone: r.integer("forms.asks_per_phone", 1..=1_000),
        asks_per_form: r.integer("forms.asks_per_form", 1..=100_000_000),
        texts_per_phone: r.integer("forms.texts_per_phone", 0..=100),
        texts_per_day: r.integer("forms.texts_per_day", 0..=10_000_000),
    }
}

fn templates(r: &mut Reader, needs: Needs, senders: &BTreeMap<String, Sender>) -> Templates {
    const DEFAULT: &str = "templates.default_sender";
    let dir = r.folder("templates.dir", &["/usr/share/recado/templates"]);
    if dir.is_none() && needs.templates && !r.is_set("templates.dir") {
        r.miss(
            "templates.dir",
            "there is no folder `templates` here and no /usr/share/recado/templates; name the folder of your templates",
        );
    }
    let mut default_sender = r.has(DEFAULT).then(|| r.text(DEFAULT));
    let names: Vec<&str> =
        senders.iter().filter(|(_, sender)| sender.sends_templates()).map(|(name, _)| name.as_str()).collect();
    match (&default_sender, names.as_slice()) {
        (Some(named), known) => {
            if !known.contains(&named.as_str()) && !named.is_empty() && needs.senders {
                r.blame(
                    DEFAULT,
                    &format!("there is no sender of this name{}", did_you_mean(named, known.iter().copied())),
                );
            }
        }
        (None, [only]) => default_sender = Some((*only).to_owned()),
        (None, []) => {}
        (None, _) if r.sections("routing") > 0 => {}
        (None, several) => {
            r.miss(DEFAULT, &format!("is missing; there are several senders, name one of {}, or say by [[routing]] when which of them is meant", several.join(", ")));
        }
    }
    Templates {
        dir: dir.unwrap_or_else(|| PathBuf::from("templates")),
        default_sender,
        default_language: r.text("templates.default_language"),
        default_zone: r.text("templates.default_zone"),
        sync_every: r.duration("templates.sync_every", SECOND..=DAY),
    }
}

fn outbox(r: &mut Reader) -> Outbox {
    Outbox {
        batch: r.integer("outbox.batch", 1..=2_000),
        poll: r.duration("outbox.poll", 10 * MS..=MINUTE),
        lease: r.duration("outbox.lease", SECOND..=HOUR),
    }
}

fn upkeep(r: &mut Reader, intake: &Intake, outward: &Outward) -> Upkeep {
    let upkeep = Upkeep {
        every: r.duration("upkeep.every", 10 * MS..=MINUTE),
        batch: r.integer("upkeep.batch", 1..=10_000),
        tidy_every: r.duration("upkeep.tidy_every", SECOND..=DAY),
        keep_notifications: r.duration("upkeep.keep_notifications", DAY..=3_650 * DAY),
        keep_identities: r.duration("upkeep.keep_identities", DAY..=3_650 * DAY),
        keep_rejected: r.duration("upkeep.keep_rejected", DAY..=3_650 * DAY),
        keep_webhooks: r.duration("upkeep.keep_webhooks", DAY..=3_650 * DAY),
        keep_inbound: r.duration("upkeep.keep_inbound", DAY..=3_650 * DAY),
        keep_callbacks: r.duration("upkeep.keep_callbacks", DAY..=3_650 * DAY),
        keep_payloads: r.duration("upkeep.keep_payloads", DAY..=3_650 * DAY),
        keep_parameters: r.duration("upkeep.keep_parameters", DAY..=3_650 * DAY),
        keep_audit: r.duration("upkeep.keep_audit", 30 * DAY..=3_650 * DAY),
    };
    identities_outlive(r, &upkeep, intake);
    let (short, long) = (outward.give_up_after, upkeep.keep_callbacks);
    if short > long && !long.is_zero() {
        r.blame(
            "upkeep.keep_callbacks",
            "must not be less than outward.give_up_after, or events would go before they are given up",
        );
    }
    let (short, long) = (outward.relay_give_up_after, upkeep.keep_webhooks);
    if short > long && !long.is_zero() {
        r.blame(
            "upkeep.keep_webhooks",
            "must not be less than outward.relay_give_up_after, or webhooks would go before they are given up",
        );
    }
    let (short, long) = (upkeep.keep_webhooks, upkeep.keep_inbound);
    if short > long && !long.is_zero() {
        r.blame(
            "upkeep.keep_inbound",
            "must not be less than upkeep.keep_webhooks, or a message that the provider repeats would be heard twice",
        );
    }
    upkeep
}

/// An event counts once as long as its identity is known: whatever could bring it once more has to come before that. Silent if one of
/// them was wrong already.
fn identities_outlive(r: &mut Reader, upkeep: &Upkeep, intake: &Intake) {
    const KEY: &str = "upkeep.keep_identities";
    let long = upkeep.keep_identities;
    let others = [
        (upkeep.keep_notifications, "upkeep.keep_notifications", "or a repeated event would be sent again"),
        (
            intake.longest_replay,
            "intake.longest_replay",
            "since a producer, a queue or a backup may repeat an event so late, and it would be sent again",
        ),
        (
            upkeep.keep_rejected,
            "upkeep.keep_rejected",
            "since a rejected event can be replayed so long, and what came again meanwhile would be sent twice",
        ),
    ];
    let worst = others.into_iter().filter(|(short, ..)| *short > long).max_by_key(|(short, ..)| *short);
    if let Some((short, key, why)) = worst.filter(|_| !long.is_zero()) {
        r.blame(KEY, &format!("must not be less than {key} ({}), {why}", Span(short)));
    }
}

fn traces(r: &mut Reader) -> Traces {
    const ENDPOINT: &str = "traces.endpoint";
    const LIKE: Scheme = Scheme { schemes: &["http", "https"], plain_only_here: false, like: "http://localhost:4318" };
    const AUTHORIZATION: SecretFrom = SecretFrom {
        needed: false,
        conventional: None,
        like: "",
        in_file: |_| false,
        check: |text| match http::HeaderValue::from_str(text) {
            Ok(_) => Ok(()),
            Err(_) => Err("has a character that no header can have".to_owned()),
        },
    };
    Traces {
        endpoint: r.has(ENDPOINT).then(|| r.url(ENDPOINT, &LIKE)),
        share: r.share("traces.share", 0.0..=1.0),
        authorization: r.secret("traces.authorization", &AUTHORIZATION),
    }
}

fn log(r: &mut Reader) -> Log {
    let format = r.choice("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let what = "must be a level like \"info\", or levels by module like \"info,recado::worker=debug\"";
    let level = r.text_of("log.level", what, |text| text.split(',').all(is_log_directive));
    Log { format: format.unwrap_or(LogFormat::Text), level }
}

fn amqp_name(r: &mut Reader, key: &str) -> String {
    let what = "must have at most 200 letters, digits, or one of . _ : - and must not begin with amq.";
    r.text_of(key, what, |text| {
        text.len() <= 200
            && !text.starts_with("amq.")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-'))
    })
}

/// The second must be longer than the first. Silent if one of them was wrong already.
fn in_order(r: &mut Reader, (short, shorter): (&str, Duration), (long, longer): (&str, Duration)) {
    if shorter.is_zero() || longer.is_zero() || shorter < longer {
        return;
    }
    // Blame the one that the user wrote.
    if r.is_set(long) || !r.is_set(short) {
        r.blame(long, &format!("must be longer than {short}"));
    } else {
        r.blame(short, &format!("must be shorter than {long}"));
    }
}

/// `info`, or `recado::worker=info`.
fn is_log_directive(text: &str) -> bool {
    let (module, level) = text.trim().split_once('=').map_or(("recado", text.trim()), |(m, l)| (m.trim(), l.trim()));
    let is_module = !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
    is_module && matches!(level, "off" | "error" | "warn" | "info" | "debug" | "trace")
}

pub(super) fn is_printable(text: &str) -> Result<(), String> {
    if text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("has a space, a line break or another character that no such secret has".to_owned())
    }
}

fn is_without_password(url: &str) -> bool {
    reqwest::Url::parse(url)
        .is_ok_and(|url| url.password().is_none() && !url.query().unwrap_or("").contains("password"))
}
