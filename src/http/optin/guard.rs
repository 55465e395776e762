//! What stands before the public doors: who a client is, how often it may come, whether a form was posted from where it may be, and
//! the headers that keep a page to itself.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use subtle::ConstantTimeEq;

use super::Public;
use crate::{
    config::Network,
    domain::form::Form,
    http::{Desk, brake::Brake},
};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Peer(pub IpAddr);

/// What counts as one client: an address, of IPv6 the whole network that a household has.
pub(in crate::http) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Who may come in, how often.
pub(in crate::http) struct Gate {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    /// Looking at every address takes a while: whoever has very many is not to make us do it with each.
    tidying: Brake,
    pub(super) days: Days,
    trusted: Vec<Network>,
    /// How browsers name us.
    origin: String,
    secure: bool,
}

/// Above so many addresses the old ones are forgotten.
const ADDRESSES_MAX: usize = 50_000;

impl Gate {
    pub(super) fn new(public: &Public) -> Gate {
        let hourly = NonZeroU32::new(public.limits.asks_per_address).unwrap_or(NonZeroU32::MIN);
        let origin = reqwest::Url::parse(&public.base_url).map(|url| url.origin().ascii_serialization());
        Gate {
            addresses: RateLimiter::keyed(Quota::per_hour(hourly)),
            tidying: Brake::default(),
            days: Days::default(),
            trusted: public.trusted_proxies.clone(),
            origin: origin.unwrap_or_default(),
            secure: public.base_url.starts_with("https://"),
        }
    }

    /// The client's address, see [`behind`].
    pub(super) fn address(&self, headers: &HeaderMap, peer: Option<Peer>) -> Option<IpAddr> {
        behind(&self.trusted, headers, peer)
    }

    /// Whether this client may ask once more. The households of one IPv6 network count together.
    pub(super) fn admits(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let Some(address) = address else { return true };
        if self.addresses.len() > ADDRESSES_MAX && self.tidying.lets(now) {
            self.addresses.retain_recent();
        }
        self.addresses.check_key(&household(address)).is_ok()
    }

    /// From where a form was posted.
    pub(super) fn origin(&self, form: &Form, headers: &HeaderMap) -> Origin {
        match headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or("?")) {
            // A page that gives no referrer has the origin `null`.
            None | Some("null") => Origin::Unsaid,
            Some(origin) if origin == self.origin => Origin::Ours,
            Some(origin) if form.origins.iter().any(|known| known == origin) => Origin::Shop(origin.to_owned()),
            Some(_) => Origin::Stranger,
        }
    }

    /// The name of the cookie that a form's secret must agree with.
    pub(super) fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-recado" } else { "recado" }
    }

    pub(super) fn cookie(&self, secret: &str) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        // Lax: whoever comes by a link from the shop a second time keeps the secret of the first tab, whose form stays good.
        format!("{}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age=7200{secure}", self.cookie_name())
    }

    /// The secret that the client's cookie holds.
    pub(super) fn held(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, secret) = pairs.find(|(name, _)| *name == self.cookie_name())?;
        (secret.len() == 43).then(|| secret.to_owned())
    }

    /// Whether the form was made by us for this very browser: it holds the form's secret as a cookie, or keeps no cookies and says itself
    /// that the form was a page of ours. No page can make a browser say that.
    pub(super) fn is_own_form(&self, headers: &HeaderMap, given: &str) -> bool {
        let says = || headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
        self.held(headers).is_some_and(|held| held.as_bytes().ct_eq(given.as_bytes()).into()) || says()
    }
}

/// The client's address: the last one that a proxy of ours names and that is no proxy of ours.
pub(in crate::http) fn behind(trusted: &[Network], headers: &HeaderMap, peer: Option<Peer>) -> Option<IpAddr> {
    let mut address = peer?.0.to_canonical();
    let named = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let list: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    for next in list.iter().rev() {
        if !trusted.iter().any(|network| network.has(address)) {
            break;
        }
        let Ok(named) = next.parse::<IpAddr>() else { break };
        address = named.to_canonical();
    }
    Some(address)
}

/// How many asked by each form in the last 24 hours: as counted last, and those who came to this process since.
#[derive(Default)]
pub(super) struct Days(Mutex<HashMap<String, Day>>);

struct Day {
    counted: Instant,
    asks: i64,
    /// Operators were told that it is full.
    told: bool,
}

/// After this long it is counted anew: other processes take in people too.
const COUNTED_FOR: Duration = Duration::from_secs(10);

impl Days {
    /// Whether it is this request's turn to count; nobody else's then.
    pub(super) fn is_due(&self, form: &str, now: Instant) -> bool {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match days.get_mut(form) {
            Some(day) if now.duration_since(day.counted) < COUNTED_FOR => false,
            Some(day) => {
                day.counted = now;
                true
            }
            None => {
                days.insert(form.to_owned(), Day { counted: now, asks: 0, told: false });
                true
            }
        }
    }

    pub(super) fn counted(&self, form: &str, asks: i64) {
        if let Some(day) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(form) {
            day.asks = asks;
        }
    }

    /// Whether operators are to hear that it is full; once, until it has room again.
    pub(super) fn is_news(&self, form: &str, most: i64) -> bool {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(day) = days.get_mut(form) else { return false };
        day.asks >= most && !std::mem::replace(&mut day.told, true)
    }

    /// Whether one more may ask, who counts then.
    pub(super) fn admits(&self, form: &str, most: i64) -> bool {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(day) = days.get_mut(form) else { return true };
        day.asks += 1;
        let admitted = day.asks <= most;
        day.told &= !admitted;
        admitted
    }
}

/// From where a form was posted, as the browser says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Ours,
    /// One of the form's list.
    Shop(String),
    Unsaid,
    Stranger,
}

/// Nothing of a page comes from elsewhere, nothing of it runs inline, nobody frames it, keeps it or hears where it was.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
    ("cross-origin-opener-policy", "same-origin"),
];

pub(in crate::http) async fn harden(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        // HSTS over plain HTTP means nothing, and would mislead whoever tries things out.
        if *name != "strict-transport-security" || desk.reception.gate.secure {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn gate(trusted: &[&str]) -> Gate {
        let limits = config::Forms {
            dir: None,
            asks_per_address: 2,
            asks_per_phone: 1,
            asks_per_form: 1,
            texts_per_phone: 1,
            texts_per_day: 1,
        };
        let trusted_proxies = trusted.iter().map(|network| Network::parse(network).unwrap()).collect();
        Gate::new(&Public { trusted_proxies, ..Public::closed(limits) })
    }

    fn address(gate: &Gate, peer: &str, named: &[&'static str]) -> String {
        let headers: HeaderMap = named
            .iter()
            .map(|value| (HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(value)))
            .collect();
        gate.address(&headers, Some(Peer(peer.parse().unwrap()))).unwrap().to_string()
    }

    #[test]
    fn an_address_is_believed_from_our_proxies_only() {
        let gate = gate(&["10.0.0.0/8", "fd00::/8"]);
        for (peer, named, is) in [
            ("203.0.113.7", &["198.51.100.1"][..], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["10.9.9.9, 10.0.0.2"], "10.9.9.9"),
            ("10.0.0.1", &["not an address"], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("fd00::1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ] {
            assert_eq!(address(&gate, peer, named), is, "{peer} says {named:?}");
        }
    }

    #[test]
    fn one_network_has_no_more_turns_than_one_address() {
        let (gate, now) = (gate(&[]), Instant::now());
        let admits = |text: &str| gate.admits(Some(text.parse().unwrap()), now);
        assert!(admits("198.51.100.1") && admits("198.51.100.1") && !admits("198.51.100.1"));
        assert!(admits("198.51.100.2"), "another address");
        assert!(
            admits("2001:db8::1") && admits("2001:db8::2") && !admits("2001:db8::3"),
            "another house in the network"
        );
        assert!(admits("2001:db8:0:1::1"));
    }
}
