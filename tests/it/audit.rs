//! The oracle: what the simulator accepted, what the broker confirmed and what the database says must agree.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use recado::domain::notification::AttemptId;
use uuid::Uuid;

use super::harness::{Fleet, Line};

/// What an audit counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub events: usize,
    pub notifications: usize,
    /// Messages in the simulator's ledger.
    pub sent: usize,
    pub accepted: usize,
    pub in_doubt: usize,
    /// Attempts that are marked as a resend.
    pub resent: usize,
    /// Notifications of which the simulator accepted more than one message.
    pub twice: usize,
    /// SMS that followed a message and were accepted; messages that went in free words.
    pub sms: usize,
    pub in_words: usize,
}

struct Notification {
    event: (String, String),
    state: String,
    reason: Option<String>,
    resends: i16,
    duplicate: bool,
    message_id: Option<String>,
    phone: String,
    fallback_of: Option<Uuid>,
}

/// Holds the three against each other at rest, and says every breach at once.
pub async fn audit(fleet: &Fleet) -> Audit {
    let mut breaches = Vec::new();
    let ledger = fleet.ledger();
    let notifications = notifications(fleet).await;
    let attempts = attempts(fleet).await;
    let mut audit = Audit { notifications: notifications.len(), sent: ledger.len(), ..Audit::default() };

    nothing_is_lost(fleet, &notifications, &mut audit, &mut breaches).await;

    // Nothing reaches the provider without an attempt that was committed before, and none of them twice.
    let mut sent: BTreeMap<Uuid, Vec<&Line>> = BTreeMap::new();
    let mut tags = BTreeSet::new();
    for line in &ledger {
        let Ok(attempt) = line.tag.parse::<AttemptId>() else {
            breaches.push(format!("a message with the tag {:?} was sent", line.tag));
            continue;
        };
        if !tags.insert(attempt) {
            breaches.push(format!("attempt {attempt} is twice in the ledger"));
        }
        match attempts.get(&attempt) {
            None => breaches.push(format!("attempt {attempt} was sent and is not recorded")),
            Some((_, claimed_us)) if *claimed_us > line.received_us => {
                breaches.push(format!("attempt {attempt} was sent before it was claimed"));
            }
            Some(_) => {}
        }
        sent.entry(attempt.notification).or_default().push(line);
    }

    for (id, of) in &notifications {
        let lines = sent.remove(id).unwrap_or_default();
        let resends = attempts.iter().filter(|(attempt, (resend, _))| attempt.notification == *id && *resend).count();
        audit.resent += resends;
        if let Some(origin) = of.fallback_of {
            let delivers = |line: &&Line| !line.fails && line.tag.starts_with(&origin.to_string());
            if ledger.iter().any(|line| delivers(&line)) && !lines.is_empty() {
                breaches.push(format!("{id} was sent by SMS although WhatsApp delivers {origin}"));
            }
            audit.sms += usize::from(of.state == "accepted");
        }
        if lines.len() > 1 + resends {
            breaches.push(format!("{id} was sent {} times with {resends} resends", lines.len()));
        }
        if lines.len() > 1 {
            audit.twice += 1;
            if of.resends == 0 && !of.duplicate {
                breaches.push(format!("{id} was sent twice and does not say so"));
            }
        }
        if lines.iter().any(|line| line.to != of.phone) {
            breaches.push(format!("{id} went to somebody else"));
        }
        match of.state.as_str() {
            "accepted" => {
                audit.accepted += 1;
                if !lines.iter().any(|line| Some(&line.wamid) == of.message_id.as_ref()) {
                    breaches.push(format!("{id} is accepted by a message that the provider does not have"));
                }
            }
            "in_doubt" => audit.in_doubt += 1,
            "failed" if of.reason.as_deref() == Some("unknown") => {}
            "failed" | "suppressed" if lines.iter().any(|line| !line.fails) => {
                breaches.push(format!("{id} is {} ({:?}) and was sent", of.state, of.reason));
            }
            "failed" | "suppressed" => {}
            state => breaches.push(format!("{id} is still {state}")),
        }
    }
    for id in sent.keys() {
        breaches.push(format!("{id} was sent and does not exist"));
    }
    at_rest(fleet, &mut breaches).await;
    let in_words = "select count(*) from attempts a join notifications n on n.id = a.notification_id where a.as_text and n.fallback_of is null";
    audit.in_words = usize::try_from(fleet.count(in_words).await).expect("a number");
    assert!(breaches.is_empty(), "{} breaches, {audit:?}:\n{}", breaches.len(), breaches.join("\n"));
    audit
}

/// Every event that the broker confirmed is known, with exactly the notifications that it means.
async fn nothing_is_lost(
    fleet: &Fleet,
    notifications: &HashMap<Uuid, Notification>,
    audit: &mut Audit,
    breaches: &mut Vec<String>,
) {
    let inbox: Vec<(String, String, Vec<Uuid>)> =
        sqlx::query_as("select source, id, notifications from inbox").fetch_all(&fleet.pool).await.expect("the inbox");
    let inbox: HashMap<(String, String), Vec<Uuid>> =
        inbox.into_iter().map(|(source, id, means)| ((source, id), means)).collect();
    let rejected: Vec<Vec<u8>> = sqlx::query_scalar("select body_hash from rejected_events")
        .fetch_all(&fleet.pool)
        .await
        .expect("the rejected events");
    audit.events = inbox.len();
    for one in &fleet.published {
        match inbox.get(&(one.source.clone(), one.id.clone())) {
            None if rejected.iter().any(|hash| hash == one.body_hash.as_slice()) => {}
            None => breaches.push(format!("the event {} is lost", one.id)),
            Some(means) => {
                // An SMS that follows is the event's as well.
                let follows = |id: &&Uuid| notifications.get(*id).is_some_and(|n| n.fallback_of.is_some());
                let count = means.iter().filter(|id| !follows(id)).count();
                if count != one.means {
                    breaches.push(format!("the event {} means {count} notifications, not {}", one.id, one.means));
                }
                for id in means.iter().filter(|id| !notifications.contains_key(*id)) {
                    breaches.push(format!("the notification {id} of the event {} is lost", one.id));
                }
            }
        }
    }
    for (id, of) in notifications {
        if !inbox.get(&of.event).is_some_and(|means| means.contains(id)) {
            breaches.push(format!("the notification {id} belongs to no event"));
        }
    }
}

/// Nothing is left under way.
async fn at_rest(fleet: &Fleet, breaches: &mut Vec<String>) {
    let questions = [
        ("a lane is taken by nobody", "select count(*) from lanes where in_flight is not null"),
        (
            "a lane waits for nobody",
            "select count(*) from lanes l where (l.waiting or l.blocked) and not exists
               (select from notifications n where n.contact_id = l.contact_id and n.sender = l.sender and n.state = 'pending')",
        ),
        (
            "an ended attempt has no outcome",
            "select count(*) from attempts a join notifications n on n.id = a.notification_id
               where a.outcome is null and n.state in ('accepted', 'failed')",
        ),
        (
            "a connection is idle in a transaction",
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'
               and state_change < now() - interval '2 s'",
        ),
        (
            "a message is followed by two SMS",
            "select count(*) - count(distinct fallback_of) from notifications where fallback_of is not null",
        ),
        (
            "free words went in place of a template that does not allow them",
            "select count(*) from attempts a join notifications n on n.id = a.notification_id
               where a.as_text and n.fallback_of is null and n.template <> 'parcel_left'",
        ),
        (
            "a person was written to without consent",
            "select count(*) from attempts a join notifications n on n.id = a.notification_id
               join contacts c on c.id = n.contact_id where not c.consents ? n.purpose",
        ),
    ];
    for (what, sql) in questions {
        let n = fleet.count(sql).await;
        if n > 0 {
            breaches.push(format!("{what} ({n})"));
        }
    }
    for queue in [&fleet.topology.queue, &fleet.topology.dead_exchange] {
        let n = fleet.depth(queue).await;
        if n > 0 {
            breaches.push(format!("{n} messages are left in {queue}"));
        }
    }
}

type NotificationRow = (Uuid, String, String, String, Option<String>, i16, bool, Option<String>, String, Option<Uuid>);

async fn notifications(fleet: &Fleet) -> HashMap<Uuid, Notification> {
    let rows: Vec<NotificationRow> = sqlx::query_as(
        "select n.id, n.event_source, n.event_id, n.state::text, n.reason, n.resends, n.duplicate, n.message_id, c.phone, n.fallback_of
         from notifications n join contacts c on c.id = n.contact_id",
    )
    .fetch_all(&fleet.pool)
    .await
    .expect("the notifications");
    rows.into_iter()
        .map(|(id, source, event, state, reason, resends, duplicate, message_id, phone, fallback_of)| {
            let event = (source, event);
            (id, Notification { event, state, reason, resends, duplicate, message_id, phone, fallback_of })
        })
        .collect()
}

/// Whether each is a resend, and when it was claimed, in Unix microseconds.
async fn attempts(fleet: &Fleet) -> BTreeMap<AttemptId, (bool, i64)> {
    let rows: Vec<(Uuid, i16, bool, i64)> = sqlx::query_as(
        "select notification_id, number, resend, (extract(epoch from claimed_at) * 1000000)::int8 from attempts",
    )
    .fetch_all(&fleet.pool)
    .await
    .expect("the attempts");
    rows.into_iter()
        .map(|(notification, number, resend, at)| (AttemptId { notification, number }, (resend, at)))
        .collect()
}

/// The most of these moments (in microseconds) in any second.
pub fn busiest_second(mut times: Vec<i64>) -> usize {
    times.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while times[first] <= at - 1_000_000 {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// Messages that came to a person before the pace allowed them, give or take `slack` for the way.
pub fn above_pace(ledger: &[Line], interval: Duration, burst: u32, slack: Duration) -> Vec<String> {
    let us = |duration: Duration| i64::try_from(duration.as_micros()).expect("a short time");
    let mut paid_until: HashMap<&str, i64> = HashMap::new();
    let mut lines: Vec<&Line> = ledger.iter().collect();
    lines.sort_by_key(|line| line.received_us);
    let mut breaches = Vec::new();
    for line in lines {
        let until = paid_until.entry(&line.to).or_insert(line.received_us);
        let early = *until - us(interval) * i64::from(burst - 1) - line.received_us;
        if early > us(slack) {
            breaches.push(format!("{} came {early} µs too early", line.tag));
        }
        *until = (*until).max(line.received_us) + us(interval);
    }
    breaches
}
