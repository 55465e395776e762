//! The steps of a sender at Twilio. Its Senders API, which tells how the number itself stands, is not asked.

use bytes::Bytes;
use http::{Request, Uri};
use secrecy::SecretString;

use super::{Steps, Visit, see};
use crate::{
    cli::doctor::{Findings, ask, refusal},
    config::{Sender, Settings, Twilio},
    domain::notification::Failure,
    provider::twilio::{
        Inquiry,
        inquiry::{self, Account},
    },
    worker::wire::Wire,
};

/// More pages than any account has.
const PAGES_MAX: usize = 500;

/// What asks Twilio, if the settings are complete.
fn inquiry_of(of: &Twilio) -> Option<Inquiry> {
    let (user, password) = of.user();
    let password = password.reveal().ok().map(SecretString::from)?;
    Inquiry::new(&of.base_url, &of.content_base_url, &of.account_sid, (user, &password))
}

/// Whether Twilio takes the account's credentials, and can reach us.
pub(in crate::cli::doctor) async fn check_account(
    found: &mut Findings,
    wire: &Wire,
    settings: &Settings,
    sender: &Sender,
    of: &Twilio,
) {
    let what = format!("sender {}", sender.name);
    if settings.http.public_url.is_none() {
        let cure = "set it to how the world reaches http.listen";
        found.wrong(&what, "http.public_url is not set, so Twilio can report nothing", cure);
    }
    let Some(inquiry) = inquiry_of(of) else { return };
    match account(wire, &inquiry).await {
        Ok(_) => found.ok(what, "Twilio takes its credentials"),
        Err(failure) => found.wrong(what, refusal("Twilio", &failure), cure(sender, of, &failure)),
    }
}

async fn account(wire: &Wire, inquiry: &Inquiry) -> Result<Account, Failure> {
    ask(wire, inquiry.account()).await.and_then(|answer| inquiry::account(&answer))
}

fn cure(sender: &Sender, of: &Twilio, failure: &Failure) -> String {
    let key = format!("senders.{}", sender.name);
    let who = if of.api_key.is_some() { "api_key_sid and api_key_secret" } else { "account_sid and auth_token" };
    match failure.code {
        Some(_) => format!("are {key}.{who} right?"),
        None => format!("is {key}.base_url right ({}), and does this machine reach it?", of.base_url),
    }
}

impl Visit<'_> {
    pub(super) async fn twilio(&self, steps: &mut Steps<'_>, of: &Twilio) {
        let Some(inquiry) = inquiry_of(of) else {
            let cure = format!("give senders.{}.auth_token, or an API key", self.sender.name);
            steps.wrong("settings", see::TWILIO, "its credentials are missing", cure);
            return;
        };
        self.account_at_twilio(steps, of, &inquiry).await;
        self.door(steps).await;
        if self.sender.sends_templates() {
            self.contents(steps, &inquiry).await;
            self.house(steps).await;
        }
    }

    async fn account_at_twilio(&self, steps: &mut Steps<'_>, of: &Twilio, inquiry: &Inquiry) {
        const WHAT: &str = "account";
        match account(self.wire, inquiry).await {
            Err(failure) => {
                steps.wrong(WHAT, see::TWILIO, refusal("Twilio", &failure), cure(self.sender, of, &failure));
            }
            Ok(Account { status: Some(status), .. }) if status != "active" => {
                let cure = "Twilio's console says why, and support what to do";
                steps.wrong(WHAT, see::TWILIO, format!("the account is {status}"), cure);
            }
            Ok(Account { kind: Some(kind), .. }) if kind == "Trial" => {
                let cure = "upgrade it in Twilio's console";
                steps.warn(WHAT, see::TWILIO, "it is a trial, which writes to verified numbers only", cure);
            }
            Ok(_) => steps.ok(WHAT, see::TWILIO, "it is active and takes its credentials"),
        }
    }

    /// Whether our own doors are where Twilio is told to report to.
    async fn door(&self, steps: &mut Steps<'_>) {
        const WHAT: &str = "webhook";
        let Some(base) = self.settings.http.public_url.as_deref() else {
            let cure = "set http.public_url to the https:// address under which the world reaches http.listen";
            steps.wrong(WHAT, see::TWILIO, "there is no public address, so Twilio can report nothing", cure);
            return;
        };
        let mut question = Request::new(Bytes::new());
        *question.uri_mut() = format!("{base}/healthz").parse().unwrap_or_else(|_| Uri::default());
        let cure = "is recado run running, and does the proxy in front of it lead there? (Asked from this machine.)";
        match self.ask(question).await {
            Ok(answer) if answer.status().is_success() => {
                let address = format!("{base}/webhooks/{}", self.sender.name);
                steps.ok(
                    WHAT,
                    see::TWILIO,
                    format!("our doors answer there; what people write has to come to {address}"),
                );
            }
            Ok(answer) => {
                let said = format!("{base} is not ours (HTTP {})", answer.status().as_u16());
                steps.wrong(WHAT, see::TWILIO, said, "http.public_url must lead to recado's http.listen");
            }
            Err(failure) => {
                let said = format!("nobody answers at {base} ({})", failure.reason.as_str());
                steps.wrong(WHAT, see::TWILIO, said, cure);
            }
        }
    }

    async fn contents(&self, steps: &mut Steps<'_>, inquiry: &Inquiry) {
        const WHAT: &str = "template";
        let (mut approved, mut after) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let page = self.ask(inquiry.contents(after.as_deref())).await.and_then(|answer| inquiry::approved(&answer));
            match page {
                Err(failure) => {
                    let cure = "Twilio's console shows the contents under Messaging > Content Template Builder";
                    return steps.warn(WHAT, see::TEMPLATE, refusal("Twilio", &failure), cure);
                }
                Ok(page) => {
                    approved.extend(page.contents);
                    after = page.next;
                }
            }
            if after.is_none() {
                break;
            }
        }
        self.compare(steps, &approved);
    }
}
