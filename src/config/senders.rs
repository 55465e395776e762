//! The senders: business numbers and what is needed to write from them, kind by kind.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    ApiKey, Budget, Daily, Meta, Needs, Outward, Provider, Secret, Sender, Twilio, outward,
    reader::{Reader, Scheme, SecretFrom},
    sections::is_printable,
};
use crate::domain::{money::Money, phone::Phone};

/// All senders, by name.
pub(super) fn senders(r: &mut Reader, needs: Needs, outward: &Outward) -> BTreeMap<String, Sender> {
    // Read even if no sender takes them from here, so that they are checked and shown.
    let shared = meta_shared(r);
    let mut senders = BTreeMap::new();
    let mut numbers: BTreeMap<String, String> = BTreeMap::new();
    for name in r.names("senders") {
        let at = format!("senders.{name}");
        if !is_sender_name(&name) {
            r.accuse(&at, "a sender's name has 1 to 40 letters a to z, digits and single _, and begins with a letter");
        }
        let sender = sender(r, &name, &shared, (needs, outward));
        if let Provider::Meta(meta) = &sender.provider
            && !meta.phone_number_id.is_empty()
            && let Some(other) = numbers.insert(meta.phone_number_id.clone(), name.clone())
        {
            r.blame(&format!("{at}.phone_number_id"), &format!("is the number of senders.{other} already"));
        }
        senders.insert(name, sender);
    }
    join_accounts(&mut senders);
    if senders.is_empty() && needs.senders {
        r.miss("senders", "there is none; describe one in a section [senders.main] with its phone_number_id");
    }
    senders
}

/// Numbers of one account belong to one business, and so share its day, also if nobody says so: under the first one's name.
fn join_accounts(senders: &mut BTreeMap<String, Sender>) {
    let mut accounts: BTreeMap<String, String> = BTreeMap::new();
    for sender in senders.values_mut() {
        let account = sender.meta().and_then(|meta| meta.waba_id.clone());
        let Some((daily, account)) = sender.daily.as_mut().zip(account) else { continue };
        let portfolio = accounts.entry(account).or_insert_with(|| daily.portfolio.clone());
        if daily.portfolio == sender.name {
            daily.portfolio.clone_from(portfolio);
        }
    }
}

struct MetaShared {
    base_url: String,
    version: String,
    rate_per_second: u32,
}

fn meta_shared(r: &mut Reader) -> MetaShared {
    MetaShared {
        base_url: meta_base_url(r, "meta.base_url"),
        version: meta_version(r, "meta.version"),
        rate_per_second: r.integer("meta.rate_per_second", RATES),
    }
}

const RATES: RangeInclusive<i64> = 1..=1_000_000;

fn meta_base_url(r: &mut Reader, key: &str) -> String {
    const SCHEME: Scheme =
        Scheme { schemes: &["https", "http"], plain_only_here: true, like: "https://graph.facebook.com" };
    r.url(key, &SCHEME)
}

fn meta_version(r: &mut Reader, key: &str) -> String {
    r.text_of(key, "must be a version of Meta's Graph API, like \"v25.0\"", |text| {
        let digits = |part: &str| !part.is_empty() && part.len() <= 3 && part.chars().all(|c| c.is_ascii_digit());
        text.strip_prefix('v').and_then(|rest| rest.split_once('.')).is_some_and(|(a, b)| digits(a) && digits(b))
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Meta,
    Twilio,
    TwilioSms,
}

fn sender(r: &mut Reader, name: &str, shared: &MetaShared, (needs, outward): (Needs, &Outward)) -> Sender {
    let key = |last: &str| format!("senders.{name}.{last}");
    let kinds = [("meta", Kind::Meta), ("twilio", Kind::Twilio), ("twilio_sms", Kind::TwilioSms)];
    let kind = if r.has(&key("kind")) {
        r.choice(&key("kind"), &kinds)
    } else {
        r.miss(
            &key("kind"),
            "is missing; write kind = \"meta\", \"twilio\" for WhatsApp through Twilio, or \"twilio_sms\" for SMS",
        );
        None
    };
    let number = r.has(&key("number")).then(|| number(r, &key("number"))).flatten();
    let rate = |r: &mut Reader, usual: u32| {
        if r.has(&key("rate_per_second")) { r.integer(&key("rate_per_second"), RATES) } else { usual }
    };
    let relay = outward::relay(r, name, outward);
    match kind.unwrap_or(Kind::Meta) {
        Kind::Meta => {
            let rate_per_second = rate(r, shared.rate_per_second);
            let provider = Provider::Meta(meta(r, name, shared, needs));
            let (daily, budget) = (daily(r, name), budget(r, name));
            Sender { name: name.to_owned(), number, rate_per_second, daily, budget, relay, provider }
        }
        Kind::Twilio => {
            let rate_per_second = rate(r, 80);
            let provider = Provider::Twilio(twilio(r, name, number.as_ref(), needs));
            let (daily, budget) = (daily(r, name), budget(r, name));
            Sender { name: name.to_owned(), number, rate_per_second, daily, budget, relay, provider }
        }
        Kind::TwilioSms => {
            // What Twilio lets out of an ordinary number.
            let rate_per_second = rate(r, 1);
            let provider = Provider::TwilioSms(twilio(r, name, number.as_ref(), needs));
            // Each is paid, and no provider's limit protects from very many: there always is a limit of our own.
            let limit =
                if r.has(&key("daily_limit")) { r.integer(&key("daily_limit"), 1..=100_000_000) } else { SMS_A_DAY };
            let daily = Some(Daily { portfolio: name.to_owned(), limit: Some(limit), share: 1.0 });
            let budget = budget(r, name);
            Sender { name: name.to_owned(), number, rate_per_second, daily, budget, relay, provider }
        }
    }
}

/// People who get an SMS of a template in 24 hours, if nobody says how many.
const SMS_A_DAY: u32 = 500;

fn number(r: &mut Reader, key: &str) -> Option<Phone> {
    let text = r.text(key);
    match Phone::parse(&text) {
        Ok(phone) => Some(phone),
        Err(why) => {
            if !text.is_empty() {
                r.accuse(key, &why.to_string());
            }
            None
        }
    }
}

fn secret(r: &mut Reader, name: &str, last: &str, needed: bool) -> Secret {
    let from = SecretFrom { needed, conventional: None, like: "", in_file: |_| false, check: is_printable };
    r.secret(&format!("senders.{name}.{last}"), &from)
}

fn meta(r: &mut Reader, name: &str, shared: &MetaShared, needs: Needs) -> Meta {
    const ID: &str = "must be the digits that Meta shows, in quotes, like \"106540352242922\"";
    let key = |last: &str| format!("senders.{name}.{last}");
    let phone_number_id = if r.has(&key("phone_number_id")) {
        r.text_of(&key("phone_number_id"), ID, is_meta_id)
    } else {
        r.miss(&key("phone_number_id"), "is missing; Meta shows it beside the number in WhatsApp Manager");
        String::new()
    };
    Meta {
        phone_number_id,
        waba_id: r.has(&key("waba_id")).then(|| r.text_of(&key("waba_id"), ID, is_meta_id)),
        base_url: if r.has(&key("base_url")) { meta_base_url(r, &key("base_url")) } else { shared.base_url.clone() },
        version: if r.has(&key("version")) { meta_version(r, &key("version")) } else { shared.version.clone() },
        token: secret(r, name, "token", needs.senders),
        app_secret: secret(r, name, "app_secret", needs.senders),
        previous_app_secret: secret(r, name, "previous_app_secret", false),
        verify_token: secret(r, name, "verify_token", needs.senders),
    }
}

fn twilio(r: &mut Reader, name: &str, number: Option<&Phone>, needs: Needs) -> Twilio {
    let key = |last: &str| format!("senders.{name}.{last}");
    let account_sid = sid(r, &key("account_sid"), "AC");
    if account_sid.is_none() {
        r.miss(&key("account_sid"), "is missing; Twilio's console shows it");
    }
    let service_sid = sid(r, &key("messaging_service_sid"), "MG");
    if number.is_none() && service_sid.is_none() {
        r.miss(&key("number"), "is missing; name the number that messages come from, or messaging_service_sid");
    }
    let api_key_sid = sid(r, &key("api_key_sid"), "SK");
    let api_key_secret = secret(r, name, "api_key_secret", needs.senders && api_key_sid.is_some());
    if api_key_sid.is_none() && api_key_secret.is_given() {
        r.miss(&key("api_key_sid"), "is missing; the secret of an API key means nothing without its SK…");
    }
    Twilio {
        account_sid: account_sid.unwrap_or_default(),
        service_sid,
        base_url: twilio_url(r, &key("base_url"), "https://api.twilio.com"),
        content_base_url: twilio_url(r, &key("content_base_url"), "https://content.twilio.com"),
        auth_token: secret(r, name, "auth_token", needs.senders),
        api_key: api_key_sid.map(|sid| ApiKey { sid, secret: api_key_secret }),
    }
}

/// One of Twilio's ids, if it is given.
fn sid(r: &mut Reader, key: &str, begin: &'static str) -> Option<String> {
    let what = format!("must be {begin} and 32 hexadecimal digits, as Twilio's console shows it");
    let is_sid =
        |text: &str| text.len() == 34 && text.starts_with(begin) && text.chars().skip(2).all(|c| c.is_ascii_hexdigit());
    r.has(key).then(|| r.text_of(key, &what, is_sid))
}

fn twilio_url(r: &mut Reader, key: &str, usual: &'static str) -> String {
    let scheme = Scheme { schemes: &["https", "http"], plain_only_here: true, like: usual };
    if r.has(key) { r.url(key, &scheme) } else { usual.to_owned() }
}

fn daily(r: &mut Reader, name: &str) -> Option<Daily> {
    let key = |last: &str| format!("senders.{name}.{last}");
    let limit = r.has(&key("daily_limit")).then(|| r.integer(&key("daily_limit"), 1..=100_000_000));
    let portfolio = r.has(&key("portfolio")).then(|| r.text(&key("portfolio")));
    let share = r.has(&key("daily_share")).then(|| r.share(&key("daily_share"), 0.01..=1.0));
    Some(Daily { portfolio: portfolio.unwrap_or_else(|| name.to_owned()), limit, share: share.unwrap_or(0.95) })
}

fn budget(r: &mut Reader, name: &str) -> Budget {
    let key = |last: &str| format!("senders.{name}.{last}");
    let mut money = |last: &str| {
        if !r.has(&key(last)) {
            return None;
        }
        let text = r.text(&key(last));
        match text.parse::<Money>() {
            Ok(money) if money.micros > 0 => Some(money),
            Ok(_) => {
                r.blame(&key(last), "must be more than nothing; to stop a sender use recado hold");
                None
            }
            Err(why) => {
                if !text.is_empty() {
                    r.blame(&key(last), &why.to_string());
                }
                None
            }
        }
    };
    let budget = Budget { daily: money("budget_daily"), monthly: money("budget_monthly") };
    if let (Some(daily), Some(monthly)) = (budget.daily, budget.monthly) {
        if daily.currency != monthly.currency {
            let what = format!("must be in {}, as {} is", daily.currency, key("budget_daily"));
            r.blame(&key("budget_monthly"), &what);
        } else if daily.micros > monthly.micros {
            r.blame(&key("budget_daily"), &format!("must not be more than {}", key("budget_monthly")));
        }
    }
    budget
}

fn is_sender_name(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.contains("__")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_meta_id(text: &str) -> bool {
    (5..=25).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}
