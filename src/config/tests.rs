//! What the settings say of themselves, and of every mistake. Longer than other files: a case for each kind of mistake.

use std::fs;

use super::*;

/// A folder of its own, removed at the end.
pub(super) struct Desk(PathBuf);

impl Desk {
    pub(super) fn new() -> Desk {
        let folder = std::env::temp_dir().join(format!("recado-config-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir_all(folder.join("templates")).unwrap();
        Desk(folder)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> &Desk {
        fs::write(self.0.join(name), text).unwrap();
        self
    }

    pub(super) fn load(&self, needs: Needs, variables: &[(&str, &str)]) -> Result<Settings, Problems> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(&Place::with(&self.0, variables), needs)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const URLS: [(&str, &str); 2] =
    [("DATABASE_URL", "postgres://recado:hunter2@db:5432/recado"), ("AMQP_URL", "amqp://recado:hunter2@mq:5672/shop")];

const SENDER: &str = r#"
[senders.main]
kind = "meta"
phone_number_id = "106540352242922"
"#;

pub(super) const SECRETS: [(&str, &str); 3] = [
    ("RECADO_SENDERS__MAIN__TOKEN", "EAAG-token"),
    ("RECADO_SENDERS__MAIN__APP_SECRET", "app-secret"),
    ("RECADO_SENDERS__MAIN__VERIFY_TOKEN", "verify-me"),
];

/// What is wrong if this is all that was said, one line a mistake.
pub(super) fn mistakes(file: &str, variables: &[(&str, &str)]) -> String {
    let desk = Desk::new();
    let problems = desk.write("recado.toml", file).load(Needs::NOTHING, variables).unwrap_err();
    problems.0.iter().map(|problem| format!("{problem}\n")).collect::<String>().trim_end().to_owned()
}

#[test]
fn the_defaults_alone_are_right() {
    let settings = Desk::new().load(Needs::NOTHING, &[]).unwrap();
    assert_eq!(settings.dispatch.lease, Duration::from_secs(30));
    assert_eq!(settings.intake.linger, Duration::from_millis(5));
    assert_eq!(settings.upkeep.keep_notifications, Duration::from_secs(400 * 86_400));
    assert_eq!(settings.broker.exchange, "shop.events");
    assert_eq!(settings.broker.prefetch, 1200);
    assert_eq!(settings.dispatch.only_to, None);
    assert!(settings.senders.is_empty());
}

#[test]
fn the_environment_overlays_the_file_and_the_file_the_defaults() {
    let desk = Desk::new();
    desk.write("recado.toml", "[dispatch]\nlease = \"45s\"\nmax_in_flight = 64\n[intake]\nbatch = 50\n");
    let variables = [
        ("RECADO_DISPATCH__LEASE", "1m 30s"),
        ("RECADO_DISPATCH__HEADROOM", "0.2"),
        ("RECADO_DISPATCH__ONLY_TO", "+34600111222, +34 600 111 333"),
        ("RECADO_INTAKE__LINGER", ""),
        ("RECADO_DEMO", "is not a setting: it has no section"),
    ];
    let settings = desk.load(Needs::NOTHING, &variables).unwrap();
    assert_eq!(settings.dispatch.lease, Duration::from_secs(90));
    assert_eq!(settings.dispatch.max_in_flight, 64);
    assert!((settings.dispatch.headroom - 0.2).abs() < f64::EPSILON);
    assert_eq!(settings.intake.batch, 50);
    assert_eq!(settings.intake.linger, Duration::from_millis(5), "an empty variable counts as not set");
    let phones: Vec<String> = settings.dispatch.only_to.unwrap().iter().map(|p| p.reveal().to_owned()).collect();
    assert_eq!(phones, ["+34600111222", "+34600111333"]);
}

#[test]
fn a_whole_service_is_described_by_a_file_and_its_secrets() {
    let desk = Desk::new();
    desk.write("recado.toml", SENDER);
    let mut variables = [&URLS[..], &SECRETS[..]].concat();
    variables.push(("RECADO_SENDERS__MAIN__RATE_PER_SECOND", "250"));
    let settings = desk.load(Needs::ALL, &variables).unwrap();
    let sender = settings.sender(None).unwrap();
    let meta = sender.meta().unwrap();
    assert_eq!((sender.name.as_str(), sender.rate_per_second), ("main", 250));
    assert_eq!(meta.phone_number_id, "106540352242922");
    assert_eq!(meta.base_url, "https://graph.facebook.com");
    assert_eq!(meta.token.reveal(), Ok("EAAG-token"));
    assert_eq!(meta.previous_app_secret.reveal(), Err(NotGiven("senders.main.previous_app_secret".into())));
    assert_eq!(settings.database.url.reveal(), Ok(URLS[0].1));
    assert_eq!(settings.templates.dir, desk.0.join("templates"));
    assert_eq!(settings.sender(Some("nobody")).map(|s| &s.name), None);
}

#[test]
fn a_sender_may_stand_in_the_environment_alone() {
    let mut variables = SECRETS.to_vec();
    variables.push(("RECADO_SENDERS__MAIN__KIND", "meta"));
    variables.push(("RECADO_SENDERS__MAIN__PHONE_NUMBER_ID", "106540352242922"));
    let needs = Needs { senders: true, ..Needs::NOTHING };
    let settings = Desk::new().load(needs, &variables).unwrap();
    assert_eq!(settings.templates.default_sender.as_deref(), Some("main"));
}

#[test]
fn the_built_in_files_example_of_a_sender_is_right() {
    let example: String = DEFAULTS
        .lines()
        .skip_while(|line| *line != "# [senders.main]")
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{}\n", line.trim_start_matches("# ")))
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .collect();
    assert!(example.contains("app_secret_file"), "{example}");
    let desk = Desk::new();
    let example = format!("{}\n[templates]\ndefault_sender = \"main\"\n", example.replace("/run/secrets/", ""));
    desk.write("recado.toml", &example).write("meta_app_secret", "app-secret\n");
    let variables = [
        ("RECADO_META_TOKEN", "EAAG-token"),
        ("RECADO_META_VERIFY_TOKEN", "verify-me"),
        ("RECADO_TWILIO_AUTH_TOKEN", "12345"),
        ("RECADO_TWILIO_API_KEY_SECRET", "key-secret"),
    ];
    let settings = desk.load(Needs { senders: true, ..Needs::NOTHING }, &variables).unwrap();
    let twilio = settings.sender(Some("brand")).unwrap().twilio().unwrap();
    assert_eq!(twilio.user().1.reveal(), Ok("key-secret"));
    assert!(!settings.sender(Some("sms")).unwrap().sends_templates());
    let sender = settings.sender(Some("main")).unwrap();
    let meta = sender.meta().unwrap();
    assert_eq!(meta.token.reveal(), Ok("EAAG-token"));
    assert_eq!(meta.app_secret.reveal(), Ok("app-secret"));
    assert_eq!(sender.daily, Some(Daily { portfolio: "shop".into(), limit: Some(2_000), share: 0.95 }));
}

#[test]
fn every_key_of_the_built_in_file_is_read_and_shown() {
    let settings = Desk::new().load(Needs::NOTHING, &[]).unwrap();
    let mut section = String::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let key = format!("{section}.{key}");
            let folder = key.ends_with(".dir");
            assert!(folder || settings.shown.iter().any(|shown| shown.key == key), "{key}");
        }
    }
}

#[test]
fn a_key_that_is_none_of_ours_is_named_with_the_one_that_was_meant() {
    assert_eq!(
        mistakes("\n[dispach]\nlease = \"30s\"\n\n[dispatch]\nlaese = \"30s\"\ncolour = 3\n", &[]),
        "recado.toml:2: dispach: is no section of ours; did you mean `dispatch`?\n\
         recado.toml:6: dispatch.laese: is no key of ours; did you mean `lease`?\n\
         recado.toml:7: dispatch.colour: is no key of ours"
    );
    assert_eq!(
        mistakes("", &[("RECADO_DISPATCH__LEESE", "30s")]),
        "RECADO_DISPATCH__LEESE: dispatch.leese: is no key of ours; did you mean `lease`?"
    );
    assert_eq!(
        mistakes("[senders.main]\nkind = \"meta\"\nphone_number_id = \"106540352242922\"\ntokn_env = \"EAAG\"\n", &[]),
        "recado.toml:4: senders.main.tokn_env: is no key of ours; did you mean `token_env`?"
    );
}

#[test]
fn a_value_where_a_section_belongs_is_named_once() {
    assert_eq!(
        mistakes("dispatch = 3\n", &[]),
        "recado.toml:1: dispatch: is a section, not a value; write [dispatch] and its keys below"
    );
    assert_eq!(
        mistakes("senders = 3\n", &[]),
        "recado.toml:1: senders: is a section, not a value; write [senders] and its keys below"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_what_it_must_be() {
    let file = "\
[dispatch]
lease = 30
send_timeout = \"soon\"
max_in_flight = \"many\"
headroom = true
only_to = \"+34600111222\"
[broker]
queue = 7
exchange = { name = \"shop\" }
[log]
format = \"jsn\"
level = \"loud\"
[http]
listen = \"localhost\"
";
    assert_eq!(
        mistakes(file, &[]),
        "recado.toml:9: broker.exchange = {…}: must be a text in quotes, and not an empty one\n\
         recado.toml:8: broker.queue = 7: must be a text in quotes, and not an empty one\n\
         recado.toml:4: dispatch.max_in_flight = \"many\": must be a whole number from 1 to 10000\n\
         recado.toml:2: dispatch.lease = 30: has no unit; write \"30s\" if you mean seconds\n\
         recado.toml:3: dispatch.send_timeout = \"soon\": is no duration; write it like \"250ms\", \"30s\", \"10m\", \
         \"24h\" or \"90d\"\n\
         recado.toml:5: dispatch.headroom = true: must be a number from 0 to 0.9\n\
         recado.toml:6: dispatch.only_to: must be a list of texts, like [\"one\", \"two\"]\n\
         recado.toml:14: http.listen = \"localhost\": must be an address and a port, like \"127.0.0.1:8080\" or \"[::]:8080\"\n\
         recado.toml:11: log.format = \"jsn\": must be \"text\" or \"json\"; did you mean `json`?\n\
         recado.toml:12: log.level = \"loud\": must be a level like \"info\", or levels by module like \
         \"info,recado::worker=debug\""
    );
}

#[test]
fn an_absurd_number_is_named_with_its_range() {
    let file = "\
[intake]
batch = 0
max_event_bytes = -1
[dispatch]
lease = \"0s\"
[retry]
max_attempts = 4000
cap = \"-5m\"
[upkeep]
keep_notifications = \"40 years\"
";
    assert_eq!(
        mistakes(file, &[("RECADO_PACE__RECIPIENT_BURST", "46")]),
        "recado.toml:2: intake.batch = 0: must be from 1 to 2000\n\
         recado.toml:3: intake.max_event_bytes = -1: must be from 1024 to 16777216\n\
         recado.toml:5: dispatch.lease = \"0s\": must be from 1s to 1h\n\
         recado.toml:7: retry.max_attempts = 4000: must be from 1 to 100\n\
         recado.toml:8: retry.cap = \"-5m\": is no duration; write it like \"250ms\", \"30s\", \"10m\", \"24h\" or \"90d\"\n\
         RECADO_PACE__RECIPIENT_BURST: pace.recipient_burst = \"46\": must be from 1 to 45\n\
         recado.toml:10: upkeep.keep_notifications = \"40 years\": is no duration; write it like \"250ms\", \"30s\", \
         \"10m\", \"24h\" or \"90d\""
    );
}

#[test]
fn settings_that_contradict_each_other_are_named_where_the_user_wrote() {
    assert_eq!(
        mistakes("[dispatch]\nconnect_timeout = \"10s\"\n", &[]),
        "recado.toml:2: dispatch.connect_timeout = \"10s\": must be shorter than dispatch.send_timeout"
    );
    assert_eq!(
        mistakes("[broker]\nprefetch = 100\n", &[]),
        "intake.batch = 400: must not be more than broker.prefetch (100), or no batch would ever be full"
    );
    assert_eq!(
        mistakes("[broker]\nstatus_exchange = \"shop.events\"\n", &[]),
        "recado.toml:2: broker.status_exchange = \"shop.events\": must not be the exchange of the events \
         (broker.exchange), or Recado would read what it writes"
    );
    assert_eq!(
        mistakes("[upkeep]\nkeep_identities = \"30d\"\n", &[]),
        "recado.toml:2: upkeep.keep_identities = \"30d\": must not be less than upkeep.keep_notifications (400d), or a \
         repeated event would be sent again"
    );
    assert_eq!(
        mistakes("[upkeep]\nkeep_notifications = \"30d\"\nkeep_identities = \"60d\"\n", &[]),
        "recado.toml:3: upkeep.keep_identities = \"60d\": must not be less than intake.longest_replay (90d), since a producer, \
         a queue or a backup may repeat an event so late, and it would be sent again"
    );
    assert_eq!(
        mistakes("[upkeep]\nkeep_rejected = \"600d\"\n", &[]),
        "upkeep.keep_identities = \"500d\": must not be less than upkeep.keep_rejected (600d), since a rejected event can be \
         replayed so long, and what came again meanwhile would be sent twice"
    );
    assert_eq!(
        mistakes("[upkeep]\nkeep_inbound = \"2d\"\n", &[]),
        "recado.toml:2: upkeep.keep_inbound = \"2d\": must not be less than upkeep.keep_webhooks, or a message that the \
         provider repeats would be heard twice"
    );
}

#[test]
fn a_lease_in_which_no_request_could_start_is_refused_with_the_cure() {
    assert_eq!(
        mistakes("[dispatch]\nlease = \"20s\"\n", &[]),
        "recado.toml:2: dispatch.lease = \"20s\": must be at least twice dispatch.send_timeout (10s) and half a second: a request \
         starts only while twice its time is left of the lease, so none ever would; write \"30s\", or lower dispatch.send_timeout"
    );
    assert_eq!(
        mistakes("", &[("RECADO_DISPATCH__SEND_TIMEOUT", "15s")]),
        "RECADO_DISPATCH__SEND_TIMEOUT: dispatch.send_timeout = \"15s\": dispatch.lease (30s) must be at least twice that and half \
         a second: a request starts only while twice its time is left of the lease, so none ever would; write \"10s\", or raise \
         dispatch.lease"
    );
    assert!(mistakes("[dispatch]\nlease = \"20400ms\"\n", &[]).contains("half a second"));
    let desk = Desk::new();
    desk.write("recado.toml", "[dispatch]\nlease = \"20500ms\"\n").load(Needs::NOTHING, &[]).unwrap();
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let desk = Desk::new();
    desk.write("recado.toml", SENDER);
    let problems = desk.load(Needs::ALL, &[("DATABASE_ULR", "postgres://recado:hunter2@db/recado")]).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "the configuration has 5 mistakes:\n  \
         database.url: is missing; set DATABASE_URL (or RECADO_DATABASE__URL) to something like \
         postgres://recado:password@localhost:5432/recado, or name a file that holds it in database.url_file; \
         DATABASE_ULR is set: did you mean that one?\n  \
         broker.url: is missing; set AMQP_URL (or RECADO_BROKER__URL) to something like \
         amqp://recado:password@localhost:5672/shop, or name a file that holds it in broker.url_file\n  \
         senders.main.token: is missing; set RECADO_SENDERS__MAIN__TOKEN, or name a file that holds it in \
         senders.main.token_file\n  \
         senders.main.app_secret: is missing; set RECADO_SENDERS__MAIN__APP_SECRET, or name a file that holds it in \
         senders.main.app_secret_file\n  \
         senders.main.verify_token: is missing; set RECADO_SENDERS__MAIN__VERIFY_TOKEN, or name a file that holds it in \
         senders.main.verify_token_file"
    );
}

#[test]
fn what_a_command_does_not_need_may_be_missing() {
    let desk = Desk::new();
    desk.write("recado.toml", SENDER);
    let settings = desk.load(Needs::DATABASE, &URLS[..1]).unwrap();
    assert!(settings.database.url.is_given() && !settings.broker.url.is_given());
}

#[test]
fn without_a_sender_the_service_cannot_start() {
    let problems = Desk::new().load(Needs { senders: true, ..Needs::NOTHING }, &[]).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "the configuration has a mistake:\n  \
         senders: there is none; describe one in a section [senders.main] with its phone_number_id"
    );
}

#[test]
fn numbers_of_one_account_share_its_day_also_if_nobody_says_so() {
    let of = |name: &str, number: u8, rest: &str| {
        format!("[senders.{name}]\nkind = \"meta\"\nphone_number_id = \"10654035224292{number}\"\n{rest}\n")
    };
    let account = "waba_id = \"102290129340398\"";
    let file = [
        "[templates]\ndefault_sender = \"main\"\n".to_owned(),
        of("luna", 1, account),
        of("main", 2, account),
        of("other", 3, "waba_id = \"102290129340399\"\nportfolio = \"shop\"\ndaily_share = 0.5"),
        of("alone", 4, ""),
        "[senders.texts]\nkind = \"twilio_sms\"\naccount_sid = \"AC0123456789abcdef0123456789abcdef\"\nnumber = \"+34600000001\"\n".to_owned(),
    ];
    let desk = Desk::new();
    let settings = desk.write("recado.toml", &file.concat()).load(Needs::NOTHING, &[]).unwrap();
    let daily = |name: &str| settings.senders[name].daily.clone().unwrap();
    assert_eq!((daily("luna").portfolio, daily("main").portfolio), ("luna".to_owned(), "luna".to_owned()));
    assert_eq!(daily("other"), Daily { portfolio: "shop".into(), limit: None, share: 0.5 });
    assert_eq!(
        daily("texts"),
        Daily { portfolio: "texts".into(), limit: Some(500), share: 1.0 },
        "SMS always have a limit"
    );
    assert_eq!(daily("alone"), Daily { portfolio: "alone".into(), limit: None, share: 0.95 });
}

#[test]
fn meta_is_asked_at_most_once_a_minute_or_never() {
    let desk = Desk::new();
    let every = |text: &str| desk.load(Needs::NOTHING, &[("RECADO_META__HEALTH_EVERY", text)]).map(|s| s.health_every);
    assert_eq!(every("").unwrap(), Some(Duration::from_secs(600)));
    assert_eq!(every("0s").unwrap(), None);
    assert!(every("5s").unwrap_err().to_string().contains("at least a minute"));
}

#[test]
fn senders_are_held_against_each_other() {
    let file = "\
[senders.main]
kind = \"meta\"
phone_number_id = \"106540352242922\"

[senders.second]
kind = \"metta\"
phone_number_id = \"106540352242922\"
base_url = \"http://graph.facebook.com\"
version = \"25\"
daily_share = 0.5

[senders.Third-One]
phone_number_id = 12345678
";
    assert_eq!(
        mistakes(file, &[]),
        "recado.toml:12: senders.Third-One: a sender's name has 1 to 40 letters a to z, digits and single _, and begins \
         with a letter\n\
         recado.toml:12: senders.Third-One.kind: is missing; write kind = \"meta\", \"twilio\" for WhatsApp through Twilio, or \"twilio_sms\" for SMS\n\
         recado.toml:13: senders.Third-One.phone_number_id = 12345678: must be a text in quotes, and not an empty one\n\
         recado.toml:6: senders.second.kind = \"metta\": must be \"meta\" or \"twilio\" or \"twilio_sms\"; did you mean `meta`?\n\
         recado.toml:8: senders.second.base_url = \"http://graph.facebook.com\": must begin with https://, like \
         https://graph.facebook.com (http:// only for this machine)\n\
         recado.toml:9: senders.second.version = \"25\": must be a version of Meta's Graph API, like \"v25.0\"\n\
         recado.toml:7: senders.second.phone_number_id = \"106540352242922\": is the number of senders.main already\n\
         templates.default_sender: is missing; there are several senders, name one of Third-One, main, second, or say by [[routing]] when which of \
         them is meant"
    );
}

#[test]
fn a_sender_at_twilio_sends_with_a_key_and_proves_with_the_token() {
    let file = "\
[senders.shop]
kind = \"twilio\"
account_sid = \"AC0123456789abcdef0123456789abcdef\"
number = \"+34600000001\"
api_key_sid = \"SK0123456789abcdef0123456789abcdef\"
";
    let secrets = [("RECADO_SENDERS__SHOP__AUTH_TOKEN", "token"), ("RECADO_SENDERS__SHOP__API_KEY_SECRET", "secret")];
    let desk = Desk::new();
    desk.write("recado.toml", file);
    let settings = desk.load(Needs { senders: true, ..Needs::NOTHING }, &secrets).unwrap();
    let sender = settings.sender(None).unwrap();
    assert_eq!((sender.rate_per_second, sender.sends_templates()), (80, true));
    let twilio = sender.twilio().unwrap();
    let (user, password) = twilio.user();
    assert_eq!((user, password.reveal().unwrap()), ("SK0123456789abcdef0123456789abcdef", "secret"));
    assert_eq!(
        (twilio.base_url.as_str(), twilio.content_base_url.as_str()),
        ("https://api.twilio.com", "https://content.twilio.com")
    );
    let without = desk.load(Needs { senders: true, ..Needs::NOTHING }, &secrets[..1]).unwrap_err().to_string();
    assert!(
        without.contains("senders.shop.api_key_secret: is missing; set RECADO_SENDERS__SHOP__API_KEY_SECRET"),
        "{without}"
    );
}

#[test]
fn mistakes_in_a_sender_at_twilio_are_named() {
    let file = "\
[senders.shop]
kind = \"twilio\"
account_sid = \"0123456789abcdef0123456789abcdef\"
messaging_service_sid = \"AC0123456789abcdef0123456789abcdef\"
content_base_url = \"http://content.twilio.com\"
token_env = \"TOKEN\"

[senders.other]
kind = \"twilio\"
";
    assert_eq!(
        mistakes(file, &[("RECADO_SENDERS__OTHER__API_KEY_SECRET", "secret")]),
        "recado.toml:8: senders.other.account_sid: is missing; Twilio's console shows it\n\
         recado.toml:8: senders.other.number: is missing; name the number that messages come from, or messaging_service_sid\n\
         recado.toml:8: senders.other.api_key_sid: is missing; the secret of an API key means nothing without its SK…\n\
         recado.toml:3: senders.shop.account_sid = \"0123456789abcdef0123456789abcdef\": must be AC and 32 hexadecimal digits, as \
         Twilio's console shows it\n\
         recado.toml:4: senders.shop.messaging_service_sid = \"AC0123456789abcdef0123456789abcdef\": must be MG and 32 hexadecimal \
         digits, as Twilio's console shows it\n\
         recado.toml:5: senders.shop.content_base_url = \"http://content.twilio.com\": must begin with https://, like \
         https://content.twilio.com (http:// only for this machine)\n\
         templates.default_sender: is missing; there are several senders, name one of other, shop, or say by [[routing]] when which \
         of them is meant\n\
         recado.toml:6: senders.shop.token_env: is no key of ours"
    );
}

#[test]
fn a_sender_that_a_variable_began_is_named_with_the_variable() {
    assert_eq!(
        mistakes("", &[("RECADO_SENDERS__MIAN__TOKEN", "EAAG-token")]),
        "RECADO_SENDERS__MIAN__TOKEN: senders.mian.kind: is missing; write kind = \"meta\", \"twilio\" for WhatsApp through Twilio, or \"twilio_sms\" for SMS\n\
         RECADO_SENDERS__MIAN__TOKEN: senders.mian.phone_number_id: is missing; Meta shows it beside the number in WhatsApp \
         Manager"
    );
}

#[test]
fn the_default_sender_must_be_one_of_the_senders() {
    let desk = Desk::new();
    desk.write("recado.toml", &format!("{SENDER}\n[templates]\ndefault_sender = \"mian\"\n"));
    let problems = desk.load(Needs { senders: true, ..Needs::NOTHING }, &SECRETS).unwrap_err();
    assert_eq!(
        problems.0.first().map(ToString::to_string).as_deref(),
        Some(
            "recado.toml:7: templates.default_sender = \"mian\": there is no sender of this name; did you mean `main`?"
        )
    );
}

#[test]
fn a_bad_url_is_named_without_the_password_that_may_be_in_it() {
    let bad = [
        ("DATABASE_URL", "mysql://recado:hunter2@db/recado"),
        ("AMQP_URL", "localhost:5672"),
        ("RECADO_META__BASE_URL", "graph facebook com"),
    ];
    assert_eq!(
        mistakes("", &bad),
        "DATABASE_URL: database.url: must begin with postgres:// or postgresql://, like \
         postgres://recado:password@localhost:5432/recado\n\
         AMQP_URL: broker.url: must begin with amqp:// or amqps://, like amqp://recado:password@localhost:5672/shop\n\
         RECADO_META__BASE_URL: meta.base_url = \"graph facebook com\": is no URL (relative URL without a base); write it \
         like https://graph.facebook.com"
    );
    assert_eq!(
        mistakes("", &[("DATABASE_URL", "postgres://recado:hunter2@db")]),
        "DATABASE_URL: database.url: names no database; write it like postgres://recado:password@localhost:5432/recado"
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let file = format!(
        "[database]\nurl = \"postgres://recado:hunter2@db/recado\"\n{SENDER}\ntoken = \"EAAG-token\"\n\
         verify_token = [\"verify-me\"]\n"
    );
    assert_eq!(
        mistakes(&file, &[]),
        "recado.toml:2: database.url: a secret does not belong into this file; put it into the variable \
         RECADO_DATABASE__URL or into a file of its own, named by database.url_file\n\
         recado.toml:8: senders.main.token: a secret does not belong into this file; put it into the variable \
         RECADO_SENDERS__MAIN__TOKEN or into a file of its own, named by senders.main.token_file\n\
         recado.toml:9: senders.main.verify_token: a secret does not belong into this file; put it into the variable \
         RECADO_SENDERS__MAIN__VERIFY_TOKEN or into a file of its own, named by senders.main.verify_token_file"
    );
}

#[test]
fn a_url_without_a_password_may_stand_in_the_file() {
    let desk = Desk::new();
    desk.write("recado.toml", "[database]\nurl = \"postgres://recado@db/recado\"\n");
    let settings = desk.load(Needs::DATABASE, &[]).unwrap();
    assert_eq!(settings.database.url.reveal(), Ok("postgres://recado@db/recado"));
}

#[test]
fn a_secret_in_the_place_of_its_name_is_not_told() {
    let file = format!(
        "{SENDER}token_env = \"EAAGm0PX4ZCpsBAKSecretToken\"\napp_secret_file = \"c2VjcmV0IG9mIHRoZSBhcHA/eA==\"\n\
         [callbacks.shop]\nurl = \"https://user:hunter2@shop.example/recado\"\nsecret = \"\"\n"
    );
    let told = mistakes(&file, &[]);
    for (key, cure) in [
        ("senders.main.token_env", "the secret itself goes into the variable RECADO_SENDERS__MAIN__TOKEN"),
        ("senders.main.app_secret_file", "the path of a file, not the secret itself"),
        ("callbacks.shop.url", "must not hold a user or a password"),
    ] {
        assert!(told.contains(key) && told.contains(cure), "{key}: {told}");
    }
    for secret in ["EAAG", "c2VjcmV0", "hunter2"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn a_secrets_variable_or_file_that_is_not_there_is_named() {
    let file = format!("{SENDER}token_env = \"RECADO_META_TOKEN\"\napp_secret_file = \"secrets/app\"\n");
    assert_eq!(
        mistakes(&file, &[("RECADO_META_TOKEM", "EAAG-token")]),
        "recado.toml:5: senders.main.token_env = \"RECADO_META_TOKEN\": there is no such variable; did you mean \
         `RECADO_META_TOKEM`?\n\
         recado.toml:6: senders.main.app_secret_file = \"secrets/app\": this file cannot be read (No such file or directory \
         (os error 2))"
    );
    let server_key = [("RECADO_HTTP__SERVER_KEY", "short")];
    assert_eq!(
        mistakes("", &server_key),
        "RECADO_HTTP__SERVER_KEY: http.server_key: must have at least 32 characters; make one with `openssl rand -hex 32`"
    );
    let broken = [("RECADO_SENDERS__MAIN__TOKEN", "EAAG token")];
    assert_eq!(
        mistakes(SENDER, &broken),
        "RECADO_SENDERS__MAIN__TOKEN: senders.main.token: has a space, a line break or another character that no such \
         secret has"
    );
}

#[test]
fn a_number_in_only_to_that_is_none_is_named_without_it() {
    assert_eq!(
        mistakes("[dispatch]\nonly_to = [\"+34600111222\", \"600111222\"]\n", &[]),
        "recado.toml:2: dispatch.only_to: number 2 is no telephone number with its country code (like +34600111222)"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let desk = Desk::new();
    desk.write("recado.toml", "[templates]\ndir = \"tempaltes\"\n");
    let problems = desk.load(Needs::NOTHING, &[]).unwrap_err();
    let expected = format!(
        "recado.toml:2: templates.dir = \"tempaltes\": there is no folder {}",
        desk.0.join("tempaltes").display()
    );
    assert_eq!(problems.0.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_lines() {
    assert_eq!(
        mistakes("[dispatch]\nlease = 30s\n\n[intake\n", &[]),
        "recado.toml:2: is no TOML: string values must be quoted, expected literal string\n\
         recado.toml:4: is no TOML: unclosed table, expected `]`"
    );
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let desk = Desk::new();
    let place = Place { file: Some("other.toml".into()), ..Place::with(&desk.0, []) };
    assert_eq!(
        Settings::load(&place, Needs::NOTHING).unwrap_err().to_string(),
        "the configuration has a mistake:\n  other.toml: cannot be read (No such file or directory (os error 2)); \
         check the path and its permissions"
    );
}

#[test]
fn settings_show_where_they_came_from_and_no_secret() {
    let desk = Desk::new();
    desk.write("recado.toml", &format!("{SENDER}\n[dispatch]\nlease = \"45s\"\n"));
    let mut variables = [&URLS[..], &SECRETS[..]].concat();
    variables.push(("RECADO_DISPATCH__ONLY_TO", "+34600111222"));
    let settings = desk.load(Needs::ALL, &variables).unwrap();
    let shown = settings.to_string();
    assert!(
        shown.starts_with("[database]\nurl = (secret)  # DATABASE_URL\nhot_connections = 8  # default\n"),
        "{shown}"
    );
    assert!(shown.contains("\n\n[dispatch]\n"), "{shown}");
    assert!(shown.contains("lease = \"45s\"  # recado.toml:7\n"), "{shown}");
    assert!(shown.contains("only_to = (1 numbers)  # RECADO_DISPATCH__ONLY_TO\n"), "{shown}");
    assert!(shown.contains("[senders.main]\nkind = \"meta\"  # recado.toml:3\n"), "{shown}");
    assert!(shown.contains("previous_app_secret = (not set)  # secret\n"), "{shown}");
    for told in [shown, format!("{settings:?}")] {
        for secret in ["hunter2", "EAAG", "app-secret", "verify-me", "600111222"] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
    }
}

#[test]
fn callbacks_and_relays_say_where_they_lead_and_how_they_sign() {
    let desk = Desk::new();
    let callback = "[callbacks.shop]\nurl = \"https://shop.example/recado\"\nevents = [\"notification.*\"]\n";
    let relay = "[senders.main.relay]\nurl = \"http://chatwoot:3000/webhooks\"\n";
    desk.write("recado.toml", &format!("{SENDER}\n{relay}\n{callback}\n[outward]\nprivate_addresses = \"allow\"\n"));
    let secret = ("RECADO_CALLBACKS__SHOP__SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    // Whoever calls others can do without a broker.
    let variables = [&URLS[..1], &SECRETS[..], &[secret]].concat();
    let settings = desk.load(Needs::ALL, &variables).unwrap();
    let shop = &settings.callbacks["shop"];
    assert_eq!(
        (shop.url.as_str(), shop.events.as_slice()),
        ("https://shop.example/recado", &["notification.*".to_owned()][..])
    );
    assert!(shop.secret.is_given() && !shop.previous_secret.is_given());
    assert_eq!(settings.senders["main"].relay.as_ref().unwrap().url, "http://chatwoot:3000/webhooks");
    assert!(!settings.to_string().contains("MfKQ"));
    assert!(
        desk.load(Needs::ALL, &variables[..variables.len() - 1])
            .unwrap_err()
            .to_string()
            .contains("callbacks.shop.secret")
    );
}

#[test]
fn a_callback_that_cannot_be_is_refused_with_its_cure() {
    let said = mistakes(
        "[callbacks.shop]\nurl = \"http://127.0.0.1:3000/\"\nevents = [\"Notification\"]\nevent = 1\n\n[callbacks.Other]\n",
        &[("RECADO_CALLBACKS__SHOP__SECRET", "not-one")],
    );
    for part in [
        "callbacks.shop.url = \"http://127.0.0.1:3000/\": is not a public address; if that is meant, set outward.private_addresses",
        "is no type of an event",
        "callbacks.shop.secret: must be whsec_",
        "callbacks.shop.event: is no key of ours; did you mean `events`?",
        "callbacks.Other: a callback's name has",
        "callbacks.Other.url: is missing",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("not-one"), "{said}");
}
