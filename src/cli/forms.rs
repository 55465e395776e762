//! The forms by which people are asked: read from their folder, and put together with the senders that they need.

use std::{collections::HashMap, net::SocketAddr};

use super::files;
use crate::{
    config::{Sender, Settings},
    domain::form::{Form, Forms, Way},
    http::optin::{Lines, Public},
};

/// The forms, checked.
///
/// # Errors
/// With every problem, a line each: file, line, key, what is wrong and the cure.
pub fn load(settings: &Settings) -> anyhow::Result<Forms> {
    let files = settings.forms.dir.as_deref().map_or_else(|| Ok(Vec::new()), |dir| files(dir, "toml"))?;
    Forms::load(&files, &settings.words.stops()).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{} problem(s) in the forms:\n{}", lines.len(), lines.join("\n"))
    })
}

/// The sender of WhatsApp messages that a form's people write to.
fn whatsapp<'a>(settings: &'a Settings, form: &Form) -> Option<&'a Sender> {
    settings.sender(form.sender.as_deref()).filter(|sender| sender.sends_templates())
}

/// The sender of a form's SMS: the one that it names, or the only one.
fn sms<'a>(settings: &'a Settings, form: &Form) -> Option<&'a Sender> {
    let mut senders = settings.senders.values().filter(|sender| !sender.sends_templates());
    match &form.sms_sender {
        Some(name) => senders.find(|sender| sender.name == *name),
        None => senders.next().filter(|_| senders.next().is_none()),
    }
}

/// What forms cannot do for want of a setting, a line each.
#[must_use]
pub fn notes(settings: &Settings, forms: &Forms) -> Vec<String> {
    let mut notes = Vec::new();
    for form in forms.iter() {
        let name = &form.name;
        for language in form.languages().filter(|_| settings.tell_where) {
            if form.wording(language).is_some_and(|of| of.says.r#where.is_empty() || of.says.nowhere.is_empty()) {
                notes.push(format!(
                    "form {name}: who asks in {language} where their order is hears nothing; write languages.{language}.says.where and .nowhere"
                ));
            }
        }
        for way in &form.ways {
            match way {
                Way::Whatsapp => match whatsapp(settings, form) {
                    Some(sender) if sender.number.is_some() => {}
                    Some(sender) => notes.push(format!(
                        "form {name}: not by WhatsApp, since senders.{}.number is not set: the number as people see it",
                        sender.name
                    )),
                    None => notes.push(format!("form {name}: not by WhatsApp; there is no such sender")),
                },
                Way::Sms if sms(settings, form).is_some() => {}
                Way::Sms => notes.push(format!(
                    "form {name}: not by SMS; there is no sender of the kind twilio_sms, or several and the form names none (sms_sender)"
                )),
            }
        }
    }
    if forms.iter().next().is_some() && settings.http.public_url.is_none() {
        notes.push("forms: http.public_url is not set, so the links that people get lead to http.listen".to_owned());
    }
    notes
}

/// How the world reaches us.
#[must_use]
pub fn base_url(settings: &Settings) -> String {
    let here = |listen: SocketAddr| format!("http://{listen}");
    settings.http.public_url.clone().unwrap_or_else(|| here(settings.http.listen))
}

/// What the public doors need.
#[must_use]
pub fn public(settings: &Settings, ids: &HashMap<String, i16>, forms: Forms) -> Public {
    let lines = |form: &Form| Lines {
        whatsapp: whatsapp(settings, form).and_then(|sender| sender.number.clone()),
        sms: sms(settings, form).and_then(|sender| ids.get(&sender.name).copied()),
    };
    Public {
        base_url: base_url(settings),
        lines: forms.iter().map(|form| (form.name.clone(), lines(form))).collect(),
        forms,
        limits: settings.forms.clone(),
        trusted_proxies: settings.http.trusted_proxies.clone(),
    }
}
