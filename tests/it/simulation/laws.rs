//! The laws. Each is looked at after every operation, from the rows and from what the world accepted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use recado::{domain::notification::AttemptId, provider::Dialect, sim::Accepted};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::stage::{PACE, Stage};

/// The rows as they stand after an operation.
#[derive(Default, Deserialize)]
pub struct Seen {
    #[serde(deserialize_with = "by_id")]
    notifications: BTreeMap<Uuid, Notification>,
    #[serde(deserialize_with = "by_attempt_id")]
    attempts: BTreeMap<AttemptId, Attempt>,
    contacts: Vec<Contact>,
    lanes: Vec<Lane>,
    stages: Vec<Stood>,
    holds: Vec<Held>,
    /// Templates of WhatsApp's sender that are approved.
    approved: BTreeSet<String>,
    inbox: usize,
}

#[derive(Deserialize)]
struct Notification {
    id: Uuid,
    event_id: String,
    contact_id: i64,
    subject: Option<String>,
    journey_key: Option<String>,
    stage: Option<i16>,
    event_time: Timestamp,
    expires_at: Timestamp,
    template: String,
    state: String,
    reason: Option<String>,
    attempt: i16,
    resends: i16,
    message_id: Option<String>,
    receipt: Option<String>,
    duplicate: bool,
    sender: i16,
    purpose: String,
    fallback_of: Option<Uuid>,
}

#[derive(Deserialize)]
struct Attempt {
    notification_id: Uuid,
    number: i16,
    claimed_at: Timestamp,
    resend: bool,
    consent_entry: i32,
    as_text: bool,
    outcome: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Contact {
    id: i64,
    phone: String,
    consents: HashMap<String, Consent>,
}

/// How a consent stands, and by which entry.
#[derive(Debug, Deserialize)]
struct Consent {
    state: String,
    entry: i32,
}

#[derive(Deserialize)]
struct Lane {
    contact_id: i64,
    sender: i16,
    in_flight: Option<Uuid>,
    waiting: bool,
    blocked: bool,
}

/// A stage that a journey has reached.
#[derive(Deserialize)]
struct Stood {
    journey_key: String,
    stage: i16,
    time: Timestamp,
}

#[derive(Deserialize)]
struct Held {
    scope: String,
    sender: Option<i16>,
    template: Option<String>,
    placed_by: String,
    reason: String,
}

fn by_id<'de, D: Deserializer<'de>>(rows: D) -> Result<BTreeMap<Uuid, Notification>, D::Error> {
    Ok(Vec::<Notification>::deserialize(rows)?.into_iter().map(|row| (row.id, row)).collect())
}

fn by_attempt_id<'de, D: Deserializer<'de>>(rows: D) -> Result<BTreeMap<AttemptId, Attempt>, D::Error> {
    let id = |row: &Attempt| AttemptId { notification: row.notification_id, number: row.number };
    Ok(Vec::<Attempt>::deserialize(rows)?.into_iter().map(|row| (id(&row), row)).collect())
}

/// Everything at one moment, in one answer.
const LOOK: &str = "
    select json_build_object(
      'notifications', (select coalesce(json_agg(n), '[]') from (
        select id, event_id, contact_id, subject, journey_key, stage, event_time, expires_at, template, state, reason, attempt, resends,
          message_id, receipt, duplicate, sender, purpose, fallback_of from notifications) n),
      'attempts', (select coalesce(json_agg(a), '[]') from (
        select notification_id, number, claimed_at, resend, consent_entry, as_text, outcome from attempts) a),
      'contacts', (select coalesce(json_agg(c), '[]') from (
        select id, phone, consents from contacts) c),
      'lanes', (select coalesce(json_agg(l), '[]') from (select contact_id, sender, in_flight, waiting, blocked from lanes) l),
      'stages', (select coalesce(json_agg(i), '[]') from (
        select journey_key, stage, time from inbox where journey_key is not null) i),
      'holds', (select coalesce(json_agg(h), '[]') from (
        select scope, sender, template, placed_by, reason from holds where released_at is null and (until is null or until > recado_now())) h),
      'approved', (select coalesce(json_agg(template), '[]') from template_states where status = 'approved'),
      'inbox', (select count(*) from inbox))::text";

impl Seen {
    pub async fn look(stage: &Stage) -> Seen {
        let rows: String = sqlx::query_scalar(LOOK).fetch_one(&stage.pools.ops).await.expect("the rows");
        serde_json::from_str(&rows).expect("the rows as they are described")
    }
}

/// What was seen before, so that changes can be judged.
#[derive(Default)]
pub struct Laws {
    pub seen: Seen,
}

impl Laws {
    /// Judges what the last operation did.
    pub fn judge(&mut self, stage: &Stage, now: Seen) -> Result<(), String> {
        let accepted = by_attempt(stage)?;
        each_event_counts_once(stage.published(), &now)?;
        what_was_sent_was_claimed(&accepted, &now)?;
        nothing_is_sent_twice_silently(&accepted, &now)?;
        nothing_is_sent_twice(&accepted, &now, |sender| {
            stage.dialect == Dialect::Twilio || sender == stage.sms_sender()
        })?;
        an_sms_follows_once(&now)?;
        for (id, attempt) in &now.attempts {
            if !self.seen.attempts.contains_key(id) {
                claims_were_allowed(attempt, &self.seen, &now, stage.clock.now())?;
                words_were_allowed(attempt, &self.seen, &now, stage)?;
                an_sms_follows_proof(attempt, &now, &accepted)?;
            }
        }
        nobody_is_above_their_pace(&now)?;
        lanes_know_who_is_in_them(&now)?;
        for (id, after) in &now.notifications {
            if let Some(before) = self.seen.notifications.get(id) {
                nothing_goes_back(before, after)?;
            }
        }
        if !stage.sim.world().counters().refused.is_empty() {
            return Err(format!("the provider itself refused: {:?}", stage.sim.world().counters().refused));
        }
        self.seen = now;
        Ok(())
    }

    pub fn attempts(&self) -> usize {
        self.seen.attempts.len()
    }

    pub fn is_at_rest(&self) -> bool {
        self.seen.notifications.values().all(|n| !matches!(n.state.as_str(), "pending" | "sending" | "in_doubt"))
    }

    /// Judges the end of a life.
    pub fn judge_rest(&self, stage: &Stage) -> Result<(), String> {
        for n in self.seen.notifications.values() {
            if matches!(n.state.as_str(), "pending" | "sending" | "in_doubt") {
                return Err(format!("{} ({}) never ends: it is {}", n.id, n.event_id, n.state));
            }
        }
        for lane in &self.seen.lanes {
            if lane.in_flight.is_some() || lane.waiting || lane.blocked {
                return Err(format!("the lane of {} is taken by nobody or waits for nobody", lane.contact_id));
            }
        }
        if let Some((attempt, _)) = self.seen.attempts.iter().find(|(_, attempt)| attempt.outcome.is_none()) {
            return Err(format!("attempt {attempt} came to nothing"));
        }
        for (attempt, messages) in by_attempt(stage)? {
            let n = &self.seen.notifications[&attempt.notification];
            for message in messages {
                if message.fails.is_none()
                    && stage.has_heard_of(&message.wamid)
                    && n.state != "accepted"
                    && !(n.state == "failed" && n.reason.as_deref() == Some("unknown"))
                {
                    return Err(format!("{attempt} was accepted and {} is {} {:?}", n.event_id, n.state, n.reason));
                }
            }
        }
        for n in self.seen.notifications.values().filter(|n| n.state == "accepted") {
            if n.message_id.as_deref().and_then(|id| stage.sim.world().message(id)).is_none() {
                return Err(format!("{} is accepted by a message that the provider does not have", n.event_id));
            }
        }
        Ok(())
    }
}

fn by_attempt(stage: &Stage) -> Result<BTreeMap<AttemptId, Vec<std::sync::Arc<Accepted>>>, String> {
    let mut messages: BTreeMap<AttemptId, Vec<_>> = BTreeMap::new();
    for message in stage.sim.world().accepted() {
        let tag = message.tag.as_deref().unwrap_or_default();
        // Twilio gives the address back that it was to report to.
        let attempt = tag.rsplit("attempt=").next().unwrap_or_default();
        let attempt = attempt.parse().map_err(|_| format!("a message with the tag {tag:?} was sent"))?;
        messages.entry(attempt).or_default().push(message);
    }
    Ok(messages)
}

type Messages = BTreeMap<AttemptId, Vec<std::sync::Arc<Accepted>>>;

/// Each event here means one notification.
fn each_event_counts_once(published: usize, now: &Seen) -> Result<(), String> {
    let notifications = now.notifications.values().filter(|n| n.fallback_of.is_none()).count();
    if now.inbox != published || notifications != published {
        let inbox = now.inbox;
        return Err(format!("{published} events, {inbox} in the inbox, {notifications} notifications"));
    }
    Ok(())
}

fn what_was_sent_was_claimed(accepted: &Messages, now: &Seen) -> Result<(), String> {
    for (attempt, messages) in accepted {
        if messages.len() > 1 {
            return Err(format!("attempt {attempt} was sent {} times", messages.len()));
        }
        if !now.attempts.contains_key(attempt) {
            return Err(format!("attempt {attempt} was sent and is not recorded"));
        }
    }
    Ok(())
}

/// More than one message for a notification only after a doubt, marked as a resend; or after one that is known to have failed.
fn nothing_is_sent_twice_silently(accepted: &Messages, now: &Seen) -> Result<(), String> {
    for n in now.notifications.values() {
        let of = accepted.iter().filter(|(attempt, _)| attempt.notification == n.id);
        let good = of.flat_map(|(_, messages)| messages).filter(|message| message.fails.is_none()).count();
        let attempts = || now.attempts.values().filter(|a| a.notification_id == n.id);
        let resends = attempts().filter(|a| a.resend).count();
        if good > 1 && resends == 0 {
            return Err(format!("{} was sent {good} times and none of them is marked", n.event_id));
        }
        if good > 1 + usize::from(n.resends.unsigned_abs()) {
            return Err(format!("{} was sent {good} times after {} resends", n.event_id, n.resends));
        }
        if n.resends > 1 {
            return Err(format!("{} was resent {} times", n.event_id, n.resends));
        }
        if n.template == "gate_opened" && n.resends > 0 {
            return Err(format!("{} was resent against its template", n.event_id));
        }
        if n.duplicate && n.resends == 0 {
            return Err(format!("{} says that it is a duplicate and was never resent", n.event_id));
        }
        if usize::try_from(n.attempt).ok() != Some(attempts().count()) {
            return Err(format!("{} counts {} attempts and has {}", n.event_id, n.attempt, attempts().count()));
        }
    }
    Ok(())
}

/// Where a list tells what was sent, nothing that was is sent again.
fn nothing_is_sent_twice(accepted: &Messages, now: &Seen, listed: impl Fn(i16) -> bool) -> Result<(), String> {
    for n in now.notifications.values().filter(|n| listed(n.sender)) {
        let good = good_messages(accepted, n.id);
        if good > 1 {
            return Err(format!("{} was sent {good} times although the provider's list had it", n.event_id));
        }
    }
    Ok(())
}

/// How many messages of this notification the provider took and did not fail.
fn good_messages(accepted: &Messages, id: Uuid) -> usize {
    let of = accepted.iter().filter(|(attempt, _)| attempt.notification == id);
    of.flat_map(|(_, messages)| messages).filter(|message| message.fails.is_none()).count()
}

/// At most one SMS follows a message, and only one whose template has one.
fn an_sms_follows_once(now: &Seen) -> Result<(), String> {
    let mut origins = BTreeSet::new();
    for n in now.notifications.values() {
        let Some(origin) = n.fallback_of else { continue };
        if !origins.insert(origin) {
            return Err(format!("two SMS follow {}", n.event_id));
        }
        if n.template != "order_confirmed" || n.purpose != "orders_sms" {
            return Err(format!("an SMS follows {} for {}, of {}", n.event_id, n.purpose, n.template));
        }
    }
    Ok(())
}

/// No SMS goes unless the message before it is known to have failed: none of its messages can reach the person.
fn an_sms_follows_proof(attempt: &Attempt, now: &Seen, accepted: &Messages) -> Result<(), String> {
    let n = &now.notifications[&attempt.notification_id];
    let Some(origin) = n.fallback_of.map(|origin| &now.notifications[&origin]) else { return Ok(()) };
    if origin.state != "failed" {
        return Err(format!("an SMS goes after {}, which is {}", origin.event_id, origin.state));
    }
    if good_messages(accepted, origin.id) > 0 {
        return Err(format!("an SMS goes after {}, which the provider has and delivers", origin.event_id));
    }
    Ok(())
}

/// Free words go only while the person's 24 hours are open, in place of a template that is stopped and whose file allows it.
fn words_were_allowed(attempt: &Attempt, before: &Seen, now: &Seen, stage: &Stage) -> Result<(), String> {
    let n = &now.notifications[&attempt.notification_id];
    if n.fallback_of.is_some() {
        return Ok(());
    }
    let name = format!("attempt {} of {}", attempt.number, n.event_id);
    let stopped = !before.approved.contains(&n.template) || before.holds.iter().any(|held| held.stops_template(n));
    if attempt.as_text != stopped {
        let how =
            if stopped { "as a template that is stopped" } else { "in free words although its template is approved" };
        return Err(format!("{name} went {how}"));
    }
    if attempt.as_text && n.template != "parcel_left" {
        return Err(format!("{name} went in free words against its file"));
    }
    let contact = before.contacts.iter().find(|contact| contact.id == n.contact_id);
    if attempt.as_text && !contact.is_some_and(|contact| stage.window_is_open(&contact.phone)) {
        return Err(format!("{name} went in free words to somebody who did not write"));
    }
    Ok(())
}

impl Held {
    fn stops_template(&self, n: &Notification) -> bool {
        self.scope == "template" && self.sender == Some(n.sender) && self.template.as_ref() == Some(&n.template)
    }

    /// Whether nothing may go, not even in free words.
    fn stops_all(&self, n: &Notification) -> bool {
        match self.scope.as_str() {
            "template" => {
                let of_itself = self.placed_by == "provider" && self.reason != "template_against_policy";
                self.stops_template(n) && !of_itself && self.reason != "template_drifted"
            }
            "sender" => self.sender == Some(n.sender),
            _ => true,
        }
    }
}

/// A claim of the last operation, held against how things stood.
fn claims_were_allowed(attempt: &Attempt, before: &Seen, now: &Seen, at: Timestamp) -> Result<(), String> {
    let n = &now.notifications[&attempt.notification_id];
    let name = format!("attempt {} of {}", attempt.number, n.event_id);
    if attempt.claimed_at != at {
        return Err(format!("{name} was claimed at another time"));
    }
    if at >= n.expires_at {
        return Err(format!("{name} went after it had expired"));
    }
    // No operation both changes a consent and claims.
    match before.contacts.iter().find(|contact| contact.id == n.contact_id) {
        Some(contact)
            if contact
                .consents
                .get(&n.purpose)
                .is_some_and(|consent| consent.state == "granted" && consent.entry == attempt.consent_entry) => {}
        other => return Err(format!("{name} went with the consent {other:?}, naming {}", attempt.consent_entry)),
    }
    let later = |stood: &Stood| {
        Some(&stood.journey_key) == n.journey_key.as_ref() && Some(stood.stage) > n.stage && stood.time >= n.event_time
    };
    if before.stages.iter().any(later) {
        return Err(format!("{name} went although a later stage was true"));
    }
    for e in before.notifications.values() {
        let same = e.contact_id == n.contact_id && e.subject.is_some() && e.subject == n.subject;
        if same && e.id < n.id && e.state == "pending" {
            return Err(format!("{name} overtook {} of its subject", e.event_id));
        }
    }
    if let Some(held) = before.holds.iter().find(|held| held.stops_all(n)) {
        return Err(format!("{name} went while {} {:?} was held", held.scope, held.template));
    }
    let same = |(_, a): &(&AttemptId, &Attempt)| {
        !before.attempts.contains_key(&AttemptId { notification: a.notification_id, number: a.number })
            && now.notifications[&a.notification_id].contact_id == n.contact_id
            && now.notifications[&a.notification_id].sender == n.sender
    };
    if now.attempts.iter().filter(same).count() > 1 {
        return Err(format!("{name} went together with another to the same person"));
    }
    Ok(())
}

fn nobody_is_above_their_pace(now: &Seen) -> Result<(), String> {
    let mut attempts: Vec<&Attempt> = now.attempts.values().collect();
    attempts.sort_by_key(|attempt| attempt.claimed_at);
    let mut paid_until: HashMap<(i64, i16), Timestamp> = HashMap::new();
    for attempt in attempts {
        let at = attempt.claimed_at;
        let n = &now.notifications[&attempt.notification_id];
        let until = paid_until.entry((n.contact_id, n.sender)).or_insert(at);
        if *until - PACE.interval * (PACE.burst - 1) > at {
            return Err(format!("a person got a message {} too early", until.duration_since(at)));
        }
        *until = (*until).max(at) + PACE.interval;
    }
    Ok(())
}

fn lanes_know_who_is_in_them(now: &Seen) -> Result<(), String> {
    for Lane { contact_id: contact, sender, in_flight, .. } in &now.lanes {
        let sending: Vec<Uuid> = now
            .notifications
            .values()
            .filter(|n| n.contact_id == *contact && n.sender == *sender && n.state == "sending")
            .map(|n| n.id)
            .collect();
        if sending != in_flight.iter().copied().collect::<Vec<_>>() {
            return Err(format!("the lane of {contact} has {in_flight:?} in flight, on the wire are {sending:?}"));
        }
    }
    Ok(())
}

fn nothing_goes_back(before: &Notification, after: &Notification) -> Result<(), String> {
    let name = &after.event_id;
    let rank = |receipt: &Option<String>| match receipt.as_deref() {
        Some("sent") => 1,
        Some("delivered") => 2,
        Some("read") => 3,
        _ => 0,
    };
    if rank(&after.receipt) < rank(&before.receipt) && rank(&before.receipt) > 1 {
        return Err(format!("{name} was {:?} and is {:?}", before.receipt, after.receipt));
    }
    if after.attempt < before.attempt || after.resends < before.resends || before.duplicate && !after.duplicate {
        return Err(format!("{name} forgot what had been tried"));
    }
    let ended = matches!(before.state.as_str(), "failed" | "suppressed");
    if ended && after.state != before.state && after.state != "accepted" {
        return Err(format!("{name} had ended as {} and is {} again", before.state, after.state));
    }
    if before.state == "accepted" && rank(&before.receipt) > 1 && after.state != "accepted" {
        return Err(format!("{name} was delivered and is {} now", after.state));
    }
    Ok(())
}
