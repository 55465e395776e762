//! Who is told over HTTP: callbacks, relays of the providers' webhooks, and how both go out.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    Needs, Secret,
    reader::{Reader, Scheme, SecretFrom, check_url},
};
use crate::domain::callback::Key;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// How requests to others go out.
#[derive(Debug, Clone)]
pub struct Outward {
    /// Requests to one callback at once.
    pub at_once: usize,
    /// For a whole request.
    pub timeout: Duration,
    pub poll: Duration,
    pub retry_base: Duration,
    pub retry_cap: Duration,
    /// When an event that a callback does not take is given up.
    pub give_up_after: Duration,
    /// When a webhook that a relay's target does not take is given up.
    pub relay_give_up_after: Duration,
    /// Whether addresses that are not public may be asked.
    pub private_addresses: bool,
}

/// Somebody who is told of events.
#[derive(Debug, Clone)]
pub struct Callback {
    pub name: String,
    pub url: String,
    pub secret: Secret,
    /// Signs as well, while the secret is being changed.
    pub previous_secret: Secret,
    /// Types, or beginnings of types with a `*`.
    pub events: Vec<String>,
}

/// Somebody to whom a provider's webhooks are handed on.
#[derive(Debug, Clone)]
pub struct Relay {
    pub url: String,
    /// Signs what is handed on, beside the provider's own signature.
    pub secret: Secret,
    pub previous_secret: Secret,
}

/// Whether the world can be at this address: it is not of a private network, of this machine or of no use as a target.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => {
            let [a, b, .., g, h] = v6.segments();
            let inner = |high: u16, low: u16| {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                is_public_v4(Ipv4Addr::new(a, b, c, d))
            };
            match (a, b) {
                // Translated (NAT64) and tunnelled (6to4): what counts is the address inside.
                (0x64, 0xff9b) => inner(g, h),
                (0x2002, _) => {
                    let [_, high, low, ..] = v6.segments();
                    inner(high, low)
                }
                // Documentation, and what else begins like Teredo.
                (0x2001, 0xdb8 | ..=0x1ff) => false,
                // Only this part of all addresses is given out to the world.
                (0x2000..=0x3fff, _) => true,
                _ => false,
            }
        }
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = match (a, b, c) {
        // Shared (carrier-grade NAT), protocol assignments, benchmarks.
        (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) | (192, 88, 99) => true,
        (0 | 240..=255, _, _) => true,
        _ => false,
    };
    !(special
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || v4.is_broadcast())
}

pub(super) fn outward(r: &mut Reader) -> Outward {
    let private = r.choice("outward.private_addresses", &[("refuse", false), ("allow", true)]);
    Outward {
        at_once: r.integer("outward.at_once", 1..=200),
        timeout: r.duration("outward.timeout", 100 * MS..=MINUTE),
        poll: r.duration("outward.poll", 10 * MS..=MINUTE),
        retry_base: r.duration("outward.retry_base", 10 * MS..=HOUR),
        retry_cap: r.duration("outward.retry_cap", 10 * MS..=DAY),
        give_up_after: r.duration("outward.give_up_after", SECOND..=90 * DAY),
        relay_give_up_after: r.duration("outward.relay_give_up_after", SECOND..=90 * DAY),
        private_addresses: private.unwrap_or_default(),
    }
}

pub(super) fn callbacks(r: &mut Reader, outward: &Outward, needs: Needs) -> BTreeMap<String, Callback> {
    let mut callbacks = BTreeMap::new();
    for name in r.names("callbacks") {
        let key = |last: &str| format!("callbacks.{name}.{last}");
        if !is_name(&name) {
            let what = "a callback's name has 1 to 40 letters a to z, digits and single _, and begins with a letter";
            r.accuse(&format!("callbacks.{name}"), what);
        }
        let url = url(r, &key("url"), "https://shop.example/recado", outward);
        let events = if r.has(&key("events")) { r.texts(&key("events")) } else { vec!["*".to_owned()] };
        if let Some(wrong) = events.iter().find(|event| !is_type(event)) {
            let what =
                format!("{wrong:?} is no type of an event; write \"notification.*\", \"message.received\" or \"*\"");
            r.blame(&key("events"), &what);
        }
        let secret = secret(r, &key("secret"), needs.senders);
        let previous_secret = self::secret(r, &key("previous_secret"), false);
        callbacks.insert(name.clone(), Callback { name, url, secret, previous_secret, events });
    }
    callbacks
}

/// The relay of a sender, if it has one.
pub(super) fn relay(r: &mut Reader, sender: &str, outward: &Outward) -> Option<Relay> {
    let key = |last: &str| format!("senders.{sender}.relay.{last}");
    let any = ["url", "secret", "secret_env", "secret_file"].into_iter().any(|last| r.has(&key(last)));
    if !any {
        return None;
    }
    Some(Relay {
        url: url(r, &key("url"), "https://inbox.example/webhooks/whatsapp/+34600000000", outward),
        secret: secret(r, &key("secret"), false),
        previous_secret: secret(r, &key("previous_secret"), false),
    })
}

fn url(r: &mut Reader, key: &str, like: &'static str, outward: &Outward) -> String {
    if !r.has(key) {
        r.miss(key, &format!("is missing; write it like {like}"));
        return String::new();
    }
    let text = r.text(key);
    if text.is_empty() {
        return text;
    }
    let scheme = Scheme { schemes: &["https", "http"], plain_only_here: false, like };
    let wrong = match check_url(&text, &scheme) {
        Ok(url) => unfit(&url, outward.private_addresses),
        Err(why) => Some(why),
    };
    match wrong {
        // Who is let in by the address would be told with it.
        Some(why) if text.contains('@') => r.accuse(key, &why),
        Some(why) => r.blame(key, &why),
        None => {}
    }
    text
}

/// Why nothing is to be sent there, if so.
fn unfit(url: &reqwest::Url, private_allowed: bool) -> Option<String> {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    // A name without a dot is one of this machine or of this network.
    let private = address.map_or(!host.trim_end_matches('.').contains('.'), |address| !is_public(address));
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not hold a user or a password; what is sent is signed".to_owned());
    }
    if private && !private_allowed {
        return Some("is not a public address; if that is meant, set outward.private_addresses = \"allow\"".to_owned());
    }
    (url.scheme() == "http" && !private)
        .then(|| "must begin with https:// (http:// only for this machine and its own network)".to_owned())
}

fn secret(r: &mut Reader, key: &str, needed: bool) -> Secret {
    let from = SecretFrom {
        needed,
        conventional: None,
        like: " to whsec_ and 32 random bytes in base64 (echo \"whsec_$(openssl rand -base64 32)\")",
        in_file: |_| false,
        check: |text| Key::parse(text).map(|_| ()).map_err(|why| why.to_string()),
    };
    r.secret(key, &from)
}

fn is_type(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    (!name.is_empty() || text == "*") && name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'))
}

fn is_name(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.contains("__")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_world_can_reach_is_public() {
        for address in ["8.8.8.8", "203.1.1.1", "2606:4700::1", "64:ff9b::808:808", "::ffff:8.8.8.8"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn plain_http_and_private_addresses_are_for_those_who_allow_them() {
        let unfit = |url: &str, allowed| super::unfit(&reqwest::Url::parse(url).unwrap(), allowed).unwrap_or_default();
        assert_eq!(unfit("https://shop.example/recado?a=1", false), "");
        assert!(unfit("http://shop.example/", true).contains("https://"));
        for private in ["http://localhost:3000/", "http://chatwoot:3000/", "https://10.0.0.7/", "http://[::1]/"] {
            assert!(unfit(private, false).contains("private_addresses"), "{private}");
            assert_eq!(unfit(private, true), "", "{private}");
        }
        assert!(unfit("https://user:pass@shop.example/", false).contains("password"));
    }
}
