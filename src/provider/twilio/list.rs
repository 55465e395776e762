//! Twilio's list of messages: evidence when the answer to a send was lost. Twilio keeps no id of ours with a message, so one is recognised
//! by whom it went to, when it was made and what it says; where more than one could be meant, nothing is.

use bytes::Bytes;
use http::{Method, Request, Response, Uri, header::AUTHORIZATION};
use jiff::{Timestamp, fmt::rfc2822};
use serde::Deserialize;

use super::Twilio;
use crate::{
    domain::notification::{Failure, Outcome},
    provider::{
        Sight, Sought, bare, reason,
        verdict::{DETAIL_MAX, shortened, whole_id},
    },
};

/// As many as Twilio gives in one answer.
const MOST: usize = 1_000;

#[derive(Deserialize)]
struct List {
    messages: Vec<Listed>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    messaging_service_sid: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    date_created: Option<String>,
    #[serde(default)]
    direction: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    error_message: Option<String>,
}

impl Listed {
    fn created_at(&self) -> Option<Timestamp> {
        Some(rfc2822::parse(self.date_created.as_deref()?).ok()?.timestamp())
    }
}

impl Twilio {
    /// Asks for so many of the latest messages to a person, at most [`MOST`]. The list can be narrowed by the day of sending as well, but then it leaves out what
    /// waits at Twilio and has not been sent, which is just what must not be sent again.
    pub(super) fn ask_for_list(&self, to: &str, latest: usize) -> Option<Request<Bytes>> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("To", &self.channel.address(to));
        if let ("From", from) = (self.from.0, &self.from.1) {
            query.append_pair("From", from);
        }
        query.append_pair("PageSize", &latest.clamp(1, MOST).to_string());
        self.get(&query.finish())
    }

    fn get(&self, query: &str) -> Option<Request<Bytes>> {
        let address = format!("{}?{query}", self.address).parse::<Uri>().ok()?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = address;
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        Some(request)
    }

    /// Finds one message in the list.
    pub(super) fn find_in_list(&self, sought: &Sought<'_>, answer: &Response<Bytes>) -> Sight {
        if !answer.status().is_success() {
            return Sight::Unreadable;
        }
        let Ok(list) = serde_json::from_slice::<List>(answer.body()) else { return Sight::Unreadable };
        // What lies on further pages is older than the oldest here.
        let oldest = list.messages.iter().filter_map(Listed::created_at).min();
        if list.next_page_uri.is_some() && oldest.is_none_or(|oldest| oldest >= sought.from) {
            return Sight::Unsure;
        }
        let text = one_line(sought.text);
        let (alike, others): (Vec<_>, Vec<_>) = list
            .messages
            .into_iter()
            .filter(|listed| self.can_be(listed, sought))
            // A content's header and footer may stand around its body.
            .partition(|listed| {
                !text.is_empty() && one_line(listed.body.as_deref().unwrap_or_default()).contains(&text)
            });
        let mut alike = alike.into_iter();
        let found = match (alike.next(), alike.next()) {
            (None, _) if others.is_empty() => return Sight::Nothing,
            // Twilio's text of the content may differ from the file's.
            (None, _) | (Some(_), Some(_)) => return Sight::Unsure,
            (Some(found), None) => found,
        };
        let Some(message_id) = whole_id(found.sid) else { return Sight::Unreadable };
        // The resource's own code changes and is not to be built upon, so Twilio says; the report had the one that counts.
        let failed = matches!(found.status.as_str(), "failed" | "undelivered" | "canceled").then(|| {
            let detail = found.error_message.and_then(|text| shortened(&text, DETAIL_MAX));
            Outcome::Rejected { failure: Failure { detail, ..bare(reason::FAILED_WITHOUT_REASON) }, again: None }
        });
        Sight::Found { message_id, failed }
    }

    /// Whether it went to that person at that time, and is none that is known.
    fn can_be(&self, listed: &Listed, sought: &Sought<'_>) -> bool {
        let ours = match self.from.0 {
            "From" => listed.from.as_ref() == Some(&self.from.1),
            _ => listed.messaging_service_sid.as_ref() == Some(&self.from.1),
        };
        let known = listed.sid.as_ref().is_some_and(|sid| sought.others.contains(sid));
        ours && !known
            && listed.direction.starts_with("outbound")
            && listed.to.as_deref() == Some(&self.channel.address(sought.to))
            && listed.created_at().is_none_or(|at| sought.from <= at && at <= sought.until)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use secrecy::SecretString;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        domain::phone::Phone,
        provider::{
            Provider,
            twilio::{Account, Channel},
        },
    };

    fn shop(service_sid: Option<&str>) -> Twilio {
        let account = Account {
            base_url: "https://api.twilio.com",
            account_sid: "AC0",
            service_sid,
            number: Some(&Phone::parse("+34600000001").unwrap()),
            user: "AC0",
            password: &SecretString::from("secret"),
            callback: "https://r.example/webhooks/shop",
        };
        Twilio::new(Channel::Whatsapp, account).unwrap()
    }

    fn at(second: &str) -> Timestamp {
        format!("2026-11-22T20:00:{second}Z").parse().unwrap()
    }

    fn sought(others: &[String]) -> Sought<'_> {
        Sought {
            to: "+34600111222",
            from: at("10"),
            until: at("50"),
            text: "Hola Ana, tu pedido 1234.",
            others,
            latest: 50,
        }
    }

    fn listed(sid: &str, second: &str, body: &str) -> Value {
        json!({
            "sid": sid, "to": "whatsapp:+34600111222", "from": "whatsapp:+34600000001", "body": body,
            "date_created": format!("Sun, 22 Nov 2026 20:00:{second} +0000"), "date_sent": null,
            "direction": "outbound-api", "status": "queued", "error_code": null, "error_message": null,
            "messaging_service_sid": null,
        })
    }

    fn seen(shop: &Twilio, sought: &Sought<'_>, messages: &[Value], next: Option<&str>) -> Sight {
        let list = json!({"messages": messages, "next_page_uri": next});
        shop.seen(sought, &Response::new(Bytes::from(list.to_string())))
    }

    #[test]
    fn the_list_is_asked_for_by_person_and_number_and_holds_what_is_not_sent_yet() {
        let request = shop(None).look(&sought(&[])).unwrap();
        assert_eq!(request.method(), Method::GET);
        assert_eq!(
            request.uri(),
            "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json?To=whatsapp%3A%2B34600111222&From=whatsapp%3A%2B34600000001&PageSize=50"
        );
        assert!(request.headers().contains_key(AUTHORIZATION));
        let by_service = shop(Some("MG0")).look(&sought(&[])).unwrap();
        assert!(!by_service.uri().to_string().contains("From="));
        let far = shop(None).look(&Sought { latest: 25_600, ..sought(&[]) }).unwrap();
        assert!(far.uri().to_string().ends_with("&PageSize=1000"));
    }

    #[test]
    fn the_one_message_that_was_made_then_and_says_so_is_found() {
        let found = |message_id: &str| Sight::Found { message_id: message_id.to_owned(), failed: None };
        let body = "Pedido\n\nHola Ana,  tu pedido 1234.\n\nTu tienda";
        let messages =
            [listed("SM1", "12", "Hola Ana, tu pedido 99."), listed("SM2", "12", body), listed("SM3", "09", body)];
        assert_eq!(seen(&shop(None), &sought(&[]), &messages, None), found("SM2"));
        let mut by_service = listed("SM4", "12", body);
        by_service["messaging_service_sid"] = json!("MG0");
        by_service["from"] = json!("whatsapp:+34600000009");
        assert_eq!(seen(&shop(Some("MG0")), &sought(&[]), &[by_service], None), found("SM4"));
        let known = ["SM1".to_owned(), "SM2".to_owned()];
        assert_eq!(
            seen(&shop(None), &sought(&known[1..]), &messages, None),
            Sight::Unsure,
            "what SM1 is, nobody knows"
        );
        assert_eq!(seen(&shop(None), &sought(&known), &messages, None), Sight::Nothing);
        let mut failed = listed("SM2", "12", body);
        failed["status"] = json!("undelivered");
        assert!(matches!(seen(&shop(None), &sought(&[]), &[failed], None), Sight::Found { failed: Some(_), .. }));
    }

    #[test]
    fn what_could_be_another_settles_nothing() {
        let body = "Hola Ana, tu pedido 1234.";
        let two = [listed("SM1", "12", body), listed("SM2", "40", body)];
        assert_eq!(seen(&shop(None), &sought(&[]), &two, None), Sight::Unsure);
        let one = [listed("SM1", "12", body)];
        assert_eq!(
            seen(&shop(None), &sought(&[]), &one, Some("/next")),
            Sight::Unsure,
            "the next page may have another"
        );
        let older = [listed("SM1", "12", body), listed("SM0", "01", "x")];
        assert!(matches!(seen(&shop(None), &sought(&[]), &older, Some("/next")), Sight::Found { .. }));
        for (key, value) in [
            ("to", "whatsapp:+34600111333"),
            ("from", "+34600000001"),
            ("direction", "inbound"),
            ("date_created", "Sun, 22 Nov 2026 20:00:51 +0000"),
        ] {
            let mut other = listed("SM1", "12", body);
            other[key] = json!(value);
            assert_eq!(seen(&shop(None), &sought(&[]), &[other], None), Sight::Nothing, "{key} {value}");
        }
        let mut other = listed("SM1", "12", "Hola Ana: tu pedido 1234.");
        assert_eq!(seen(&shop(None), &sought(&[]), &[other.clone()], None), Sight::Unsure, "the text was edited there");
        other["date_created"] = json!("yesterday");
        assert_eq!(seen(&shop(None), &sought(&[]), &[other], None), Sight::Unsure);
    }

    #[test]
    fn an_answer_that_is_no_list_says_nothing() {
        let mut refused = Response::new(Bytes::from_static(b"{\"messages\": []}"));
        *refused.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(shop(None).seen(&sought(&[]), &refused), Sight::Unreadable);
        assert_eq!(shop(None).seen(&sought(&[]), &Response::new(Bytes::from_static(b"<html>"))), Sight::Unreadable);
    }
}
