//! The rules by which a message's sender is chosen. Whether they work for the events that come is found out with the templates.

use std::{collections::BTreeMap, sync::Arc};

use super::{Needs, Sender, problem::did_you_mean, reader::Reader};
use crate::domain::route::{Parts, Rule, Rules, Written};

/// All rules, in their order; none if nobody wrote any.
pub(super) fn rules(r: &mut Reader, needs: Needs, senders: &BTreeMap<String, Sender>) -> Option<Arc<Rules>> {
    const LAST_RESORT: &str = "templates.default_sender";
    let sections = r.sections("routing");
    if sections == 0 {
        return None;
    }
    let mut rules: Vec<Rule> = Vec::new();
    for number in 1..=sections {
        let at = format!("routing.{number}");
        if rules.last().is_some_and(Rule::fits_always) {
            r.accuse(&at, "is never reached: the rule above asks for nothing and fits always");
        }
        rules.extend(rule(r, &at, needs, senders));
    }
    let last_resort = r.is_set(LAST_RESORT).then(|| r.text(LAST_RESORT));
    if last_resort.is_some() && rules.last().is_some_and(Rule::fits_always) {
        r.blame(
            LAST_RESORT,
            "is never used: the last rule of [[routing]] asks for nothing and fits always; remove one of them",
        );
    }
    Some(Arc::new(Rules { rules, last_resort, written: Written::InSettings }))
}

fn rule(r: &mut Reader, at: &str, needs: Needs, senders: &BTreeMap<String, Sender>) -> Option<Rule> {
    let key = |last: &str| format!("{at}.{last}");
    let texts = |r: &mut Reader, last: &str| if r.has(&key(last)) { r.texts(&key(last)) } else { Vec::new() };
    let parts = Parts {
        countries: texts(r, "country"),
        brands: texts(r, "brand"),
        when: r.has(&key("when")).then(|| r.text(&key("when"))),
        sender: sender(r, &key("sender"), needs, senders),
        place: r.place(&key("sender")),
    };
    Rule::new(parts).inspect_err(|wrong| wrong.iter().for_each(|(last, what)| r.blame(&key(last), what))).ok()
}

fn sender(r: &mut Reader, key: &str, needs: Needs, senders: &BTreeMap<String, Sender>) -> String {
    if !r.has(key) {
        r.miss(key, "is missing; name the sender whose messages these are");
        return String::new();
    }
    let name = r.text(key);
    match senders.get(&name) {
        Some(sender) if sender.sends_templates() => {}
        Some(_) => r.blame(key, "this sender sends SMS and no templates; name one at WhatsApp"),
        // Templates are checked without senders, too.
        None if name.is_empty() || senders.is_empty() && !needs.senders => {}
        None => {
            let meant = did_you_mean(&name, senders.keys().map(String::as_str));
            r.blame(key, &format!("there is no sender of this name{meant}"));
        }
    }
    name
}

#[cfg(test)]
mod tests;
