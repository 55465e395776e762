//! `recado doctor --sender NAME`: the steps from nothing to a sender's first message, each asked of whoever knows, in the order in
//! which they are taken. `docs/access.md` tells them; each step that is missing names its section there.

mod twilio;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use secrecy::SecretString;

use super::{Findings, Verdict, ask, refusal};
use crate::{
    cli::{ago, database},
    config::{Meta, Place, Provider, Sender, Settings},
    db::checkup::{self, Started},
    domain::{
        health::{self, Health, Standing},
        notification::Failure,
        template::Catalogue,
    },
    provider::meta::{self, Inquiry, Number, inquiry},
    worker::wire::Wire,
};

pub(super) use twilio::check_account;

/// The sections of the guide.
mod see {
    pub(super) const SETTINGS: &str = "docs/access.md#5-settings";
    pub(super) const BUSINESS: &str = "docs/access.md#1-a-business-that-meta-knows";
    pub(super) const NUMBER: &str = "docs/access.md#2-an-app-an-account-a-number";
    pub(super) const NAME: &str = "docs/access.md#3-the-name-that-people-see";
    pub(super) const TOKEN: &str = "docs/access.md#4-a-token-that-does-not-end";
    pub(super) const WEBHOOK: &str = "docs/access.md#6-the-webhook";
    pub(super) const PAYMENT: &str = "docs/access.md#7-a-way-to-pay";
    pub(super) const TEMPLATE: &str = "docs/access.md#8-the-first-template";
    pub(super) const CONSENT: &str = "docs/access.md#9-people-who-agreed";
    pub(super) const MESSAGE: &str = "docs/access.md#10-the-first-message";
    pub(super) const LIMITS: &str = "docs/access.md#limits-and-tiers";
    pub(super) const TWILIO: &str = "docs/access.md#through-twilio";
}

/// What a token needs.
const SCOPES: [&str; 2] = ["whatsapp_business_management", "whatsapp_business_messaging"];
/// A token that ends within this time will be missed.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// Without this field nothing is known of messages …
const MESSAGES: &str = "messages";
/// … and without these not of what stops them.
const NEWS: [&str; 9] = [
    "message_template_status_update",
    "template_category_update",
    "message_template_quality_update",
    "message_template_components_update",
    "phone_number_quality_update",
    "business_capability_update",
    "account_update",
    "account_alerts",
    "user_preferences",
];
/// What the webhook's own check sends and expects back.
const CHALLENGE: &str = "1158201444";
/// So many names are told.
const SHOWN: usize = 5;

/// The steps so far.
struct Steps<'a> {
    found: &'a mut Findings,
}

impl Steps<'_> {
    fn add(&mut self, verdict: Verdict, what: &str, see: &'static str, said: impl Into<String>, cure: Option<String>) {
        self.found.add(verdict, what, said, cure);
        if let Some(finding) = self.found.0.last_mut() {
            finding.see = Some(see);
        }
    }

    fn ok(&mut self, what: &str, see: &'static str, said: impl Into<String>) {
        self.add(Verdict::Ok, what, see, said, None);
    }

    fn warn(&mut self, what: &str, see: &'static str, said: impl Into<String>, cure: impl Into<String>) {
        self.add(Verdict::Warning, what, see, said, Some(cure.into()));
    }

    fn wrong(&mut self, what: &str, see: &'static str, said: impl Into<String>, cure: impl Into<String>) {
        self.add(Verdict::Wrong, what, see, said, Some(cure.into()));
    }

    fn open(&mut self, what: &str, see: &'static str, before: &str) {
        self.add(Verdict::Open, what, see, format!("cannot be looked at before {before}"), None);
    }
}

/// All steps of one sender.
pub(super) async fn check(found: &mut Findings, place: &Place, name: &str) {
    let Some(settings) = super::check_settings(found, place) else { return };
    let Some(sender) = settings.senders.get(name) else {
        let known: Vec<&str> = settings.senders.keys().map(String::as_str).collect();
        let said = format!("there is no sender {name}; there are {}", known.join(", "));
        Steps { found }.wrong(
            "settings",
            see::SETTINGS,
            said,
            format!("write a section [senders.{name}], or another name"),
        );
        return;
    };
    let Some(wire) = super::wire(found) else { return };
    let catalogue = super::check_templates(found, &settings);
    let mut steps = Steps { found };
    let visit = Visit { settings: &settings, sender, wire: &wire, catalogue: catalogue.as_ref() };
    match &sender.provider {
        Provider::Meta(of) => visit.meta(&mut steps, of).await,
        Provider::Twilio(of) | Provider::TwilioSms(of) => visit.twilio(&mut steps, of).await,
    }
}

/// What asks Meta about a sender, if its settings are complete.
pub(super) fn inquiry(of: &Meta) -> Option<Inquiry> {
    let token = of.token.reveal().ok().map(SecretString::from)?;
    Inquiry::new(&of.base_url, &of.version, &of.phone_number_id, of.waba_id.as_deref(), &token).ok()
}

struct Visit<'a> {
    settings: &'a Settings,
    sender: &'a Sender,
    wire: &'a Wire,
    catalogue: Option<&'a Catalogue>,
}

impl Visit<'_> {
    async fn meta(&self, steps: &mut Steps<'_>, of: &Meta) {
        let (key, inquiry) = (format!("senders.{}", self.sender.name), inquiry(of));
        let Some(inquiry) = inquiry else {
            steps.wrong(
                "settings",
                see::SETTINGS,
                "its token is missing",
                format!("give {key}.token the system user's token"),
            );
            return;
        };
        if of.waba_id.is_none() {
            let cure = format!("set {key}.waba_id, the id of the WhatsApp Business Account");
            steps.wrong("settings", see::SETTINGS, "its account is not named, so most of this cannot be asked", cure);
        }
        let app = self.token(steps, &inquiry).await;
        self.account(steps, &inquiry).await;
        let number = self.number(steps, of, &inquiry).await;
        match &number {
            Some(number) => self.health(steps, number),
            None => steps.open("sending", see::PAYMENT, "the number can be asked"),
        }
        self.webhook(steps).await;
        self.callback(steps, of, &inquiry, app.as_deref()).await;
        self.subscription(steps, &inquiry, app.as_deref()).await;
        self.templates(steps, &inquiry).await;
        self.house(steps).await;
    }

    /// Gives the id of the app that the token belongs to.
    async fn token(&self, steps: &mut Steps<'_>, inquiry: &Inquiry) -> Option<String> {
        const WHAT: &str = "token";
        let key = format!("senders.{}.token", self.sender.name);
        let token = match self.ask(inquiry.token()).await.and_then(|answer| inquiry::token(&answer)) {
            Ok(token) => token,
            Err(failure) => {
                let cure = match failure.code {
                    Some(_) => format!("make a system user's token for the app and put it into {key}"),
                    None => format!("is senders.{}.base_url right, and does this machine reach it?", self.sender.name),
                };
                steps.wrong(WHAT, see::TOKEN, refusal("Meta", &failure), cure);
                return None;
            }
        };
        let missing: Vec<&str> =
            SCOPES.into_iter().filter(|scope| !token.scopes.iter().any(|it| it == scope)).collect();
        let ends = token.expires_at();
        if !token.is_valid {
            steps.wrong(
                WHAT,
                see::TOKEN,
                "Meta says that it is not valid any more",
                format!("make a new one and put it into {key}"),
            );
        } else if !missing.is_empty() {
            let cure = format!("make a new one with {} for the app, and put it into {key}", missing.join(" and "));
            steps.wrong(WHAT, see::TOKEN, format!("it lacks the permission {}", missing.join(" and ")), cure);
        } else if let Some(ends) = ends {
            let left = ends.duration_since(crate::clock::Clock::system().now());
            let cure = "make one for a system user that does not end";
            if Duration::try_from(left).is_ok_and(|left| left > SOON) {
                steps.warn(WHAT, see::TOKEN, format!("it may send, until {ends}"), cure);
            } else {
                steps.wrong(WHAT, see::TOKEN, format!("it ends at {ends}, and then nothing goes out"), cure);
            }
        } else {
            steps.ok(WHAT, see::TOKEN, "it is valid without an end and may send and manage");
        }
        token.app_id
    }

    async fn account(&self, steps: &mut Steps<'_>, inquiry: &Inquiry) {
        const WHAT: &str = "business";
        let Some(question) = inquiry.account() else { return };
        let account = match self.ask(question).await.and_then(|answer| inquiry::account(&answer)) {
            Ok(account) => account,
            Err(failure) => {
                let cure = format!(
                    "is senders.{}.waba_id right, and is the account shared with the token's system user?",
                    self.sender.name
                );
                steps.wrong(WHAT, see::NUMBER, refusal("Meta", &failure), cure);
                return;
            }
        };
        let review = account.account_review_status.as_deref().unwrap_or("APPROVED");
        let verified = account.business_verification_status.as_deref().map(str::to_lowercase);
        if review != "APPROVED" {
            let cure = "see the account in Meta's WhatsApp Manager";
            steps.wrong(WHAT, see::BUSINESS, format!("Meta's review of the account is {review}"), cure);
        } else if verified.as_deref().is_none_or(|verified| verified == "verified") {
            steps.ok(WHAT, see::BUSINESS, "the account is approved and its business verified");
        } else {
            let said = format!("the business is not verified ({})", verified.unwrap_or_default());
            let cure = "verify it in Meta's Security Centre: without that it may write to 250 people a day";
            steps.warn(WHAT, see::BUSINESS, said, cure);
        }
    }

    async fn number(&self, steps: &mut Steps<'_>, of: &Meta, inquiry: &Inquiry) -> Option<Number> {
        const WHAT: &str = "number";
        let key = format!("senders.{}", self.sender.name);
        let number = match self.ask(inquiry.number()).await.and_then(|answer| meta::number(&answer)) {
            Ok(number) => number,
            Err(failure) => {
                let cure = format!(
                    "is {key}.phone_number_id right, and does the token's system user have the number's account?"
                );
                steps.wrong(WHAT, see::NUMBER, refusal("Meta", &failure), cure);
                return None;
            }
        };
        if let Some(question) = inquiry.numbers()
            && let Ok(numbers) = self.ask(question).await.and_then(|answer| inquiry::numbers(&answer))
            && !numbers.contains(&of.phone_number_id)
        {
            let cure = format!("{key}.waba_id must be the account that {key}.phone_number_id belongs to");
            steps.wrong(WHAT, see::NUMBER, "it is none of the account's numbers", cure);
            return Some(number);
        }
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let shown = number.display_phone_number.as_deref().map(digits);
        if let (Some(ours), Some(theirs)) = (&self.sender.number, shown)
            && digits(ours.reveal()) != theirs
        {
            let cure = format!("{key}.number must be the number that people see, or their confirmations go elsewhere");
            steps.wrong(WHAT, see::SETTINGS, "Meta has it under another telephone number", cure);
            return Some(number);
        }
        let health = number.health();
        match (number.code_verification_status.as_deref(), health.status.as_deref()) {
            (Some(code @ ("NOT_VERIFIED" | "UNVERIFIED" | "EXPIRED")), status) if status != Some("CONNECTED") => {
                let cure = "request a code by SMS or call in WhatsApp Manager and enter it";
                steps.wrong(WHAT, see::NUMBER, format!("nobody has proved that it is yours ({code})"), cure);
            }
            (_, Some("PENDING" | "DISCONNECTED")) => {
                let status = health.status.as_deref().unwrap_or_default();
                let cure = format!(
                    "register it with a PIN: POST {}/{}/{}/register",
                    of.base_url, of.version, of.phone_number_id
                );
                steps.wrong(WHAT, see::NUMBER, format!("it is not registered with the Cloud API ({status})"), cure);
            }
            (_, Some("CONNECTED" | "FLAGGED") | None) => steps.ok(WHAT, see::NUMBER, "it is yours and connected"),
            (_, Some(status)) => {
                let cure = "see the number in Meta's WhatsApp Manager";
                steps.wrong(WHAT, see::NUMBER, format!("Meta has it as {status}"), cure);
            }
        }
        match health.name_status.as_deref() {
            Some(status) if !health::is_name_good(status) => {
                let cure =
                    "choose a name that Meta takes, in WhatsApp Manager: it must be that of the business or brand";
                let said = format!("the display name is {status}");
                if matches!(status, "DECLINED" | "EXPIRED") {
                    steps.wrong("name", see::NAME, said, cure);
                } else {
                    steps.warn("name", see::NAME, said, "Meta looks at it; until then people may see the number only");
                }
            }
            Some(status) => steps.ok("name", see::NAME, format!("people see it under its name ({status})")),
            None => {}
        }
        Some(number)
    }

    /// Whether all that sending needs lets it, and its limits.
    fn health(&self, steps: &mut Steps<'_>, number: &Number) {
        let health: Health = number.health();
        let limits = {
            let people = match (health.people_a_day(), health.tier.as_deref()) {
                (Some(people), _) => format!("{people} people a day"),
                (None, Some("TIER_UNLIMITED")) => "any number of people a day".to_owned(),
                (None, _) => "an unknown number of people a day".to_owned(),
            };
            let rate = health.per_second().map(|rate| format!(", {rate} messages a second")).unwrap_or_default();
            format!("{people}{rate}")
        };
        let is_connected = matches!(health.status.as_deref(), None | Some("CONNECTED" | "FLAGGED"));
        match (health.standing(), health.can_send.as_deref()) {
            // Told of the number already.
            _ if !is_connected => steps.open("sending", see::PAYMENT, "the number is connected"),
            (Standing::Unable { detail, .. }, _) => {
                let cure = "do what Meta says there; the number is asked again and released by itself";
                steps.wrong("sending", see::PAYMENT, format!("Meta blocks it: {detail}"), cure);
            }
            (_, Some("LIMITED")) => {
                let why = health.obstacles.unwrap_or_else(|| "Meta does not say why".to_owned());
                let said = format!("within limits ({limits}): {why}");
                steps.warn("sending", see::LIMITS, said, "do what Meta says there");
            }
            (_, _) => steps.ok("sending", see::LIMITS, format!("nothing stands in the way; {limits}")),
        }
    }

    /// Whether the webhook's address answers as Meta wants it: it is asked as Meta asks.
    async fn webhook(&self, steps: &mut Steps<'_>) {
        const WHAT: &str = "webhook";
        let name = &self.sender.name;
        let Some(address) = self.address() else {
            let cure = "set http.public_url to the https:// address under which the world reaches http.listen";
            steps.wrong(WHAT, see::WEBHOOK, "it has no public address", cure);
            return;
        };
        let verify = self.sender.meta().and_then(|of| of.verify_token.reveal().ok()).unwrap_or_default();
        let query: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("hub.mode", "subscribe"), ("hub.challenge", CHALLENGE), ("hub.verify_token", verify)])
            .finish();
        let mut question = Request::new(Bytes::new());
        *question.uri_mut() = format!("{address}?{query}").parse().unwrap_or_else(|_| Uri::default());
        match self.ask(question).await {
            Err(failure) => {
                let cure =
                    "is recado run running, and does the proxy in front of it lead there? (Asked from this machine.)";
                steps.wrong(
                    WHAT,
                    see::WEBHOOK,
                    format!("nobody answers at {address} ({})", failure.reason.as_str()),
                    cure,
                );
            }
            Ok(answer) if answer.status().is_success() && answer.body().as_ref() == CHALLENGE.as_bytes() => {
                if address.starts_with("https://") {
                    steps.ok(WHAT, see::WEBHOOK, format!("{address} answers as Meta wants it"));
                } else {
                    let said = format!("{address} answers, but Meta posts to https:// only");
                    steps.warn(
                        WHAT,
                        see::WEBHOOK,
                        said,
                        "all right with the simulator; else set http.public_url to an https:// address",
                    );
                }
            }
            Ok(answer) => {
                let status = answer.status().as_u16();
                let cure = match status {
                    403 => format!("restart the service: it has another senders.{name}.verify_token than this command"),
                    404 => format!(
                        "restart the service: it does not know the sender {name}; or http.public_url leads elsewhere"
                    ),
                    _ => "http.public_url must lead to recado's http.listen".to_owned(),
                };
                steps.wrong(WHAT, see::WEBHOOK, format!("{address} does not answer as it must (HTTP {status})"), cure);
            }
        }
    }

    fn address(&self) -> Option<String> {
        Some(format!("{}/webhooks/{}", self.settings.http.public_url.as_deref()?, self.sender.name))
    }

    /// Whether the app's webhooks lead here, and whether the app secret is the app's: only who has it is told.
    async fn callback(&self, steps: &mut Steps<'_>, of: &Meta, inquiry: &Inquiry, app: Option<&str>) {
        const WHAT: &str = "callback";
        let (name, key) = (&self.sender.name, format!("senders.{}", self.sender.name));
        let Ok(secret) = of.app_secret.reveal() else { return };
        let Some(app) = app else {
            steps.open(WHAT, see::WEBHOOK, "the token says which app it belongs to");
            return;
        };
        let answer = self.ask(inquiry.callback(app, &SecretString::from(secret))).await;
        let callback = match answer.and_then(|answer| inquiry::callback(&answer)) {
            Ok(callback) => callback,
            Err(failure) if failure.reason.as_str() == "token_invalid" => {
                let cure = format!(
                    "{key}.app_secret is under App settings > Basic; with a wrong one every webhook is refused"
                );
                steps.wrong(WHAT, see::WEBHOOK, format!("the app secret is not that of the token's app {app}"), cure);
                return;
            }
            Err(failure) => {
                steps.warn(
                    WHAT,
                    see::WEBHOOK,
                    refusal("Meta", &failure),
                    "Meta's app shows its webhook under WhatsApp > Configuration",
                );
                return;
            }
        };
        let address = self.address().unwrap_or_else(|| format!("{{http.public_url}}/webhooks/{name}"));
        let Some(callback) = callback.filter(|callback| callback.active) else {
            let cure = format!(
                "in the app, WhatsApp > Configuration: callback URL {address}, the verify token, the field {MESSAGES}"
            );
            steps.wrong(WHAT, see::WEBHOOK, format!("the app {app} has no webhook for WhatsApp"), cure);
            return;
        };
        // An app has one address; it may be that of another sender here, since each update names its number.
        let of_ours = |sender: &String| {
            callback.url == address.replace(&format!("/webhooks/{name}"), &format!("/webhooks/{sender}"))
        };
        let lacks = |field: &&str| !callback.fields.iter().any(|it| it == field);
        let missing: Vec<&str> = NEWS.into_iter().filter(lacks).collect();
        if !self.settings.senders.keys().any(of_ours) {
            let cure = format!("in the app, WhatsApp > Configuration: callback URL {address}");
            steps.wrong(WHAT, see::WEBHOOK, format!("the app's webhooks go to {}", callback.url), cure);
        } else if lacks(&MESSAGES) {
            let cure = format!("in the app, WhatsApp > Configuration > Webhook fields: subscribe to {MESSAGES}");
            steps.wrong(WHAT, see::WEBHOOK, "the app is not subscribed to messages, so nothing is known of them", cure);
        } else if missing.is_empty() {
            steps.ok(WHAT, see::WEBHOOK, "the app's webhooks come here, and its secret is right");
        } else {
            let cure = "subscribe to them in the app, WhatsApp > Configuration > Webhook fields";
            steps.warn(WHAT, see::WEBHOOK, format!("the app is not subscribed to {}", missing.join(", ")), cure);
        }
    }

    async fn subscription(&self, steps: &mut Steps<'_>, inquiry: &Inquiry, app: Option<&str>) {
        const WHAT: &str = "subscription";
        let Some(question) = inquiry.subscribers() else { return };
        let cure = format!("subscribe it with the same token: POST {}", question.uri());
        match self.ask(question).await.and_then(|answer| inquiry::subscribers(&answer)) {
            Ok(apps) if apps.is_empty() => {
                steps.wrong(WHAT, see::WEBHOOK, "no app is subscribed to the account, so Meta reports nothing", cure);
            }
            Ok(apps) if app.is_some_and(|app| !apps.iter().any(|it| it == app)) => {
                steps.wrong(WHAT, see::WEBHOOK, "other apps are subscribed to the account, the token's is not", cure);
            }
            Ok(_) => steps.ok(WHAT, see::WEBHOOK, "the app is subscribed to the account"),
            Err(failure) => self.unasked(steps, WHAT, see::WEBHOOK, &failure),
        }
    }

    async fn templates(&self, steps: &mut Steps<'_>, inquiry: &Inquiry) {
        const WHAT: &str = "template";
        let Some(question) = inquiry.approved() else { return };
        let approved = match self.ask(question).await.and_then(|answer| inquiry::approved(&answer)) {
            Ok(approved) => approved,
            Err(failure) => return self.unasked(steps, WHAT, see::TEMPLATE, &failure),
        };
        self.compare(steps, &approved);
    }

    /// The catalogue against what the provider has approved: names and languages.
    fn compare(&self, steps: &mut Steps<'_>, approved: &[(String, String)]) {
        const WHAT: &str = "template";
        let Some(catalogue) = self.catalogue else { return };
        let name = self.sender.name.as_str();
        let ours = catalogue.templates().iter().filter(|template| template.senders().contains(&name));
        let wanted: Vec<(&str, &str)> =
            ours.flat_map(|template| template.languages().map(|language| (template.name(), language))).collect();
        let is_approved =
            |(template, language): &(&str, &str)| approved.iter().any(|(t, l)| t == template && l == language);
        let mut missing: Vec<String> = wanted
            .iter()
            .filter(|one| !is_approved(one))
            .map(|(template, language)| format!("{template} {language}"))
            .collect();
        let good = wanted.len() - missing.len();
        let more = missing.len().saturating_sub(SHOWN);
        missing.truncate(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if wanted.is_empty() {
            let cure = "name it in a template's sender or [[route]], or in [[routing]]";
            steps.warn(WHAT, see::TEMPLATE, "no template of the catalogue goes from this sender", cure);
        } else if good == 0 {
            let said =
                format!("none of the catalogue's {} is approved there: {}{more}", wanted.len(), missing.join(", "));
            steps.wrong(
                WHAT,
                see::TEMPLATE,
                said,
                "recado templates push brings them there, and the provider looks at them",
            );
        } else if missing.is_empty() {
            steps.ok(WHAT, see::TEMPLATE, format!("all {good} are approved"));
        } else {
            let said = format!("{good} approved, not yet: {}{more}", missing.join(", "));
            steps.warn(WHAT, see::TEMPLATE, said, "what is not approved does not go out; recado templates list");
        }
    }

    /// What only our own database knows.
    async fn house(&self, steps: &mut Steps<'_>) {
        let Ok(pools) = database(self.settings).await else {
            steps.open("consent", see::CONSENT, "the database can be asked: recado doctor");
            return;
        };
        let name = self.sender.name.as_str();
        let ours = self.catalogue.into_iter().flat_map(Catalogue::templates);
        let purposes: Vec<String> = ours
            .filter(|template| template.senders().contains(&name))
            .map(|template| template.purpose().to_owned())
            .collect();
        let Ok(started) = checkup::started(&pools.ops, name, &purposes).await else { return };
        let Started { agreed, approved, accepted, last_webhook, now } = started;
        if agreed {
            steps.ok("consent", see::CONSENT, "somebody has agreed to be written to");
        } else {
            let cure = "let people in by a form, or recado consent import; nobody is written to without it";
            steps.wrong("consent", see::CONSENT, "nobody has agreed to any purpose of its templates", cure);
        }
        if !approved {
            let cure = "recado templates sync asks the provider now";
            steps.wrong("approval", see::TEMPLATE, "Recado does not know of any approved template", cure);
        }
        match (accepted, last_webhook) {
            (false, _) => steps.warn(
                "message",
                see::MESSAGE,
                "none was taken yet within the last day",
                "recado publish an event for yourself, then recado why",
            ),
            (true, None) => {
                let cure = "see what is said of the webhook above: nothing is known of a message without it";
                steps.wrong("message", see::MESSAGE, "one was taken, and no webhook ever came", cure);
            }
            (true, Some(at)) => {
                steps.ok(
                    "message",
                    see::MESSAGE,
                    format!("one was taken, and the last webhook came {} ago", ago(at, now)),
                );
            }
        }
    }

    fn unasked(&self, steps: &mut Steps<'_>, what: &str, see: &'static str, failure: &Failure) {
        steps.warn(what, see, refusal("Meta", failure), "the token needs whatsapp_business_management to look this up");
    }

    async fn ask(&self, question: Request<Bytes>) -> Result<http::Response<Bytes>, Failure> {
        ask(self.wire, question).await
    }
}
