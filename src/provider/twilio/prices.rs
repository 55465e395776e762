//! What Twilio took for messages: it is in no report, only in the list of messages, and there some time after they were sent.

use bytes::Bytes;
use http::{Method, Request, Response, Uri, header::AUTHORIZATION};
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::Value;

use super::{Channel, Twilio};
use crate::{
    domain::{cost::Billed, money::Money},
    provider::billing,
};

/// As many as Twilio gives at once.
const PAGE: &str = "1000";

/// A page of a day's prices, by the messages' ids; what has none yet is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Priced {
    pub messages: Vec<(String, Money)>,
    /// Asks for the next page.
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct List {
    messages: Vec<Value>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

impl Twilio {
    /// Asks for what this sender's messages of a day (of UTC) cost, from the first page on, or the page that the one before names.
    /// None if that is no address of Twilio's list.
    #[must_use]
    pub fn ask_for_prices(&self, day: Date, page: Option<&str>) -> Option<Request<Bytes>> {
        let address = match page {
            None => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                if let ("From", from) = (self.from.0, &self.from.1) {
                    query.append_pair("From", from);
                }
                query.append_pair("DateSent", &day.to_string()).append_pair("PageSize", PAGE);
                format!("{}?{}", self.address, query.finish())
            }
            Some(page) => {
                let (path, _) = page.split_once('?')?;
                if path != self.address.path() {
                    return None;
                }
                format!("{}://{}{page}", self.address.scheme_str()?, self.address.authority()?)
            }
        };
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = address.parse::<Uri>().ok()?;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        Some(request)
    }

    /// What a page says. None if it is none.
    #[must_use]
    pub fn prices(answer: &Response<Bytes>) -> Option<Priced> {
        if !answer.status().is_success() {
            return None;
        }
        let list: List = serde_json::from_slice(answer.body()).ok()?;
        let priced = list.messages.iter().filter_map(|message| match billing::billed(message) {
            Some(Billed::Amount(money)) => Some((message.get("sid")?.as_str()?.to_owned(), money)),
            Some(Billed::Free | Billed::As(_)) | None => None,
        });
        Some(Priced { messages: priced.collect(), next: list.next_page_uri })
    }

    /// Whether its price is all that a message costs: on WhatsApp Meta's fee is on the bill beside it.
    #[must_use]
    pub fn tells_all(&self) -> bool {
        self.channel == Channel::Sms
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{money::Currency, phone::Phone},
        provider::twilio::Account,
    };

    fn shop() -> Twilio {
        let account = Account {
            base_url: "https://api.twilio.com",
            account_sid: "AC0",
            service_sid: None,
            number: Some(&Phone::parse("+34600000001").unwrap()),
            user: "AC0",
            password: &SecretString::from("secret"),
            callback: "https://r.example/webhooks/shop",
        };
        Twilio::new(Channel::Whatsapp, account).unwrap()
    }

    #[test]
    fn a_days_prices_are_asked_for_page_by_page_at_twilio_only() {
        let day = "2026-11-22".parse().unwrap();
        let first = shop().ask_for_prices(day, None).unwrap();
        let list = "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json";
        let from = "From=whatsapp%3A%2B34600000001&DateSent=2026-11-22&PageSize=1000";
        assert_eq!(first.uri().to_string(), format!("{list}?{from}"));
        assert!(first.headers().contains_key(AUTHORIZATION));
        let next = "/2010-04-01/Accounts/AC0/Messages.json?Page=1&PageToken=PASM1";
        let second = shop().ask_for_prices(day, Some(next)).unwrap();
        assert_eq!(second.uri().to_string(), format!("{list}?Page=1&PageToken=PASM1"));
        for elsewhere in
            ["@evil.example/2010-04-01/Accounts/AC0/Messages.json?a", "/other?b", "https://evil.example/?c", ""]
        {
            assert!(shop().ask_for_prices(day, Some(elsewhere)).is_none(), "{elsewhere}");
        }
    }

    #[test]
    fn a_page_tells_the_prices_that_it_has() {
        let page = json!({"next_page_uri": null, "messages": [
            {"sid": "SM1", "price": "-0.00500", "price_unit": "USD"},
            {"sid": "SM2", "price": null, "price_unit": "USD"},
            {"sid": null, "price": "-0.00500", "price_unit": "USD"},
        ]});
        let priced = Twilio::prices(&Response::new(Bytes::from(page.to_string()))).unwrap();
        let money = Money { micros: 5_000, currency: Currency::named("USD").unwrap() };
        assert_eq!(priced, Priced { messages: vec![("SM1".to_owned(), money)], next: None });
        assert_eq!(Twilio::prices(&Response::new(Bytes::from_static(b"<html>"))), None);
    }
}
