use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn no_words(_: &str) -> Option<&'static str> {
    None
}

fn story(state: State) -> Story {
    Story {
        id: Uuid::from_u128(7),
        state,
        created_at: at(1),
        accepted_at: None,
        ended_at: None,
        phone: Some(Phone::parse("+34600111222").unwrap()),
        sender: "main".to_owned(),
        route: None,
        template: "order_confirmed".to_owned(),
        language: "es_MX".to_owned(),
        version: None,
        purpose: "orders".to_owned(),
        urgent: false,
        expires_at: at(3_600),
        doubt: "resend_once".to_owned(),
        resends: 0,
        duplicate: false,
        event: None,
        superseded_by: None,
        consent: None,
        consent_now: ConsentNow::default(),
        template_status: None,
        attempts: Vec::new(),
        notes: Vec::new(),
        holds: Vec::new(),
        past_holds: Vec::new(),
        behind: None,
        has_text: false,
        kept: true,
        in_window: false,
        fallback_of: None,
        fallback: None,
    }
}

fn pending(waiting_on: Option<Wait>) -> Story {
    story(State::Pending { due_at: at(60), waiting_on })
}

fn attempt(number: i16, claimed: i64) -> Attempt {
    Attempt {
        id: format!("7.{number}"),
        number,
        claimed_at: at(claimed),
        resend: number > 1,
        consent_entry: 2,
        as_text: false,
        outcome: Some("unclear".to_owned()),
        ended_at: Some(at(claimed + 10)),
        reason: Some("no_answer".to_owned()),
        code: None,
        detail: None,
        message_id: None,
        cost: None,
        receipts: Vec::new(),
    }
}

#[test]
fn a_story_is_told_in_the_order_of_time() {
    let mut told = story(State::Accepted { message_id: "wamid.9".to_owned(), receipt: Some(Best::Delivered) });
    told.consent = Some(ConsentEntry { number: 2, at: Some(at(-90)), act: Some("granted".to_owned()) });
    told.attempts = vec![attempt(2, 700), attempt(1, 5)];
    told.attempts[0].receipts.push(Receipt {
        kind: "delivered".to_owned(),
        at: at(712),
        received_at: at(713),
        code: None,
        reason: None,
        detail: None,
    });
    told.notes.push(Note {
        at: at(650),
        what: "resend_ordered".to_owned(),
        detail: None,
        by: Some("ana".to_owned()),
        reason: None,
    });
    let lines: Vec<String> = told.tell(&no_words).into_iter().map(|line| line.what).collect();
    assert_eq!(lines[0], "Consent entry 2: granted, for orders.");
    assert!(lines[1].starts_with("Planned: order_confirmed in es_MX"), "{}", lines[1]);
    assert_eq!(lines[2], "Attempt 1: claimed, allowed by consent entry 2.");
    assert_eq!(lines[3], "Attempt 1: outcome unknown, no_answer.");
    assert_eq!(lines[4], "To be sent once more by order, marked as a resend: the person may get it twice (by ana).");
    assert_eq!(
        lines[5],
        "Attempt 2: claimed, allowed by consent entry 2. It is a resend: the person may get it twice."
    );
    assert_eq!(lines.last().unwrap(), "Attempt 2: reported as delivered.");
}

#[test]
fn an_end_names_its_reason_its_meaning_and_what_overtook_it() {
    let mut told = story(State::Suppressed { reason: "superseded".to_owned() });
    told.ended_at = Some(at(9));
    told.superseded_by = Some("shop evt-8".to_owned());
    let explain = |name: &str| (name == "superseded").then_some("A later stage is already true.");
    let lines = told.tell(&explain);
    assert_eq!(
        lines.last().unwrap().what,
        "Ended as suppressed: superseded. A later stage is already true. It was overtaken by the event shop evt-8."
    );
}

#[test]
fn what_happens_next_names_what_it_waits_for_and_until_when() {
    let now = at(30);
    let until = at(60).to_string();
    let next = |wait| pending(Some(wait)).next(now);
    for wait in [Wait::Lane, Wait::Subject, Wait::Template, Wait::Consent, Wait::Quiet, Wait::DayLimit] {
        assert!(next(wait).contains(&until), "{wait:?}: {}", next(wait));
    }
    let told: std::collections::HashSet<String> =
        [Wait::Lane, Wait::Subject, Wait::Template, Wait::Consent, Wait::Quiet, Wait::DayLimit].map(next).into();
    assert_eq!(told.len(), 6);
    assert!(next(Wait::Consent).contains("no_consent"));
    let mut asked = pending(Some(Wait::Consent));
    asked.consent_now.state = Some("pending".to_owned());
    assert!(asked.next(now).contains("not_confirmed"));
    assert!(pending(None).next(now).contains("tried again"));
    assert!(pending(None).next(at(61)).contains("is due since"));
    assert!(pending(None).next(at(3_600)).contains("expired"));
}

#[test]
fn a_hold_comes_before_every_other_reason_to_wait() {
    let mut held = pending(Some(Wait::Template));
    held.holds.push(Hold {
        id: 12,
        on: "The sender main".to_owned(),
        scope: "sender".to_owned(),
        sender: Some("main".to_owned()),
        template: None,
        language: None,
        reason: "token_invalid".to_owned(),
        detail: None,
        placed_at: at(0),
        placed_by: "recado".to_owned(),
        until: None,
        ended_at: None,
        ended_by: None,
        ended_because: None,
    });
    let next = held.next(at(30));
    assert!(next.contains("The sender main is held, until somebody releases it: token_invalid"), "{next}");
    assert!(next.contains("recado release 12"), "{next}");
}

#[test]
fn what_is_in_doubt_says_whether_it_will_be_sent_again() {
    let mut doubt = story(State::InDoubt { since: at(20) });
    assert!(doubt.next(at(30)).contains("sent once more, marked as a resend"));
    doubt.resends = 1;
    assert!(doubt.next(at(30)).contains("not sent again by itself"));
    doubt.resends = 0;
    doubt.doubt = "never".to_owned();
    assert!(doubt.next(at(30)).contains("not sent again by itself"));
}

#[test]
fn a_story_for_those_who_may_not_see_people_has_none_of_the_providers_words() {
    let mut told = story(State::Failed { reason: "undeliverable".to_owned() });
    let mut tried = attempt(1, 5);
    tried.detail = Some("no such user 34600111222".to_owned());
    tried.receipts.push(Receipt {
        kind: "failed".to_owned(),
        at: at(9),
        received_at: at(9),
        code: Some(131_026),
        reason: Some("undeliverable".to_owned()),
        detail: Some("34600111222".to_owned()),
    });
    told.attempts.push(tried);
    // A message's id, too: decoded, this one begins with the number.
    let id = "wamid.HBgLMzQ2MDAxMTEyMjIVAgARGBIzODg4N0RBOUFDRDEyRjI4MDAwMDAxAA==";
    (told.attempts[0].outcome, told.attempts[0].message_id) = (Some("accepted".to_owned()), Some(id.to_owned()));
    let mut sms = story(State::Accepted { message_id: "SM1".to_owned(), receipt: None });
    sms.fallback = Some(Box::new(story(State::Accepted { message_id: id.to_owned(), receipt: None })));
    told.fallback = Some(Box::new(sms));
    told.notes.push(Note {
        at: at(3),
        what: "cancelled".to_owned(),
        detail: None,
        by: Some("ana".to_owned()),
        reason: Some("+34600111222 called us".to_owned()),
    });
    let whole = format!("{:?}", told.tell(&no_words));
    assert!(whole.contains("Cancelled (by ana: +34600111222 called us)."));
    assert!(whole.contains("34600111222") && whole.contains("wamid.HB"));
    let told = told.without_persons();
    let shown = format!("{:?} {}", told.tell(&no_words), serde_json::to_string(&told).unwrap());
    assert!(!shown.contains("600111222") && !shown.contains("wamid.HB"), "{shown}");
    assert!(shown.contains("131026") && shown.contains("SM1") && shown.contains("Cancelled (by ana)."));
}

#[test]
fn what_is_reported_in_whole_seconds_comes_after_what_it_reports_on() {
    let mut told = story(State::Accepted { message_id: "wamid.9".to_owned(), receipt: Some(Best::Read) });
    let mut tried = attempt(1, 5);
    tried.claimed_at = at(5) + jiff::SignedDuration::from_millis(600);
    tried.ended_at = Some(at(5) + jiff::SignedDuration::from_millis(700));
    tried.outcome = Some("accepted".to_owned());
    let report = |kind: &str, second| Receipt {
        kind: kind.to_owned(),
        at: at(second),
        received_at: at(second),
        code: None,
        reason: None,
        detail: None,
    };
    // The provider's clock is behind, too.
    tried.receipts = vec![report("delivered", 5), report("read", 5), report("sent", 4)];
    told.attempts.push(tried);
    let lines = told.tell(&no_words);
    let order: Vec<&str> = lines[1..].iter().map(|line| line.what.as_str()).collect();
    assert_eq!(order[0], "Attempt 1: claimed, allowed by consent entry 2.");
    assert!(order[1].starts_with("Attempt 1: accepted"), "{order:?}");
    assert_eq!(order[2..], ["sent", "delivered", "read"].map(|kind| format!("Attempt 1: reported as {kind}.")));
    assert!(lines.is_sorted_by_key(|line| line.at));
}

#[test]
fn a_report_that_came_while_the_answer_was_still_awaited_stands_before_it() {
    let mut told = story(State::Accepted { message_id: "wamid.9".to_owned(), receipt: Some(Best::Sent) });
    let mut tried = attempt(1, 5);
    tried.receipts.push(Receipt {
        kind: "sent".to_owned(),
        at: at(7),
        received_at: at(7),
        code: None,
        reason: None,
        detail: None,
    });
    told.attempts.push(tried);
    let lines: Vec<String> = told.tell(&no_words).into_iter().map(|line| line.what).collect();
    assert_eq!(lines[2], "Attempt 1: reported as sent.");
    assert!(lines[3].starts_with("Attempt 1: outcome unknown"), "{lines:?}");
}

#[test]
fn a_hold_stands_at_its_time() {
    let mut held = pending(Some(Wait::Template));
    held.notes.push(Note {
        at: at(9),
        what: "waits".to_owned(),
        detail: Some("template".to_owned()),
        by: None,
        reason: None,
    });
    held.holds.push(Hold {
        id: 12,
        on: "The sender main".to_owned(),
        scope: "sender".to_owned(),
        sender: Some("main".to_owned()),
        template: None,
        language: None,
        reason: "operator".to_owned(),
        detail: Some("moving".to_owned()),
        placed_at: at(5),
        placed_by: "ana".to_owned(),
        until: None,
        ended_at: None,
        ended_by: None,
        ended_because: None,
    });
    let lines: Vec<String> = held.tell(&no_words).into_iter().map(|line| line.what).collect();
    assert_eq!(lines[1], "Hold 12 in force, until released: The sender main is held by ana: operator (moving).");
    assert_eq!(lines[2], "Put to wait for its template.");

    let hold = held.holds.remove(0);
    let because = Some("moved".to_owned());
    held.past_holds.push(Hold {
        ended_at: Some(at(20)),
        ended_by: Some("user ana".to_owned()),
        ended_because: because,
        ..hold
    });
    let lines: Vec<String> = held.tell(&no_words).into_iter().map(|line| line.what).collect();
    assert_eq!(lines[1], "Hold 12: The sender main was held by ana: operator (moving).");
    assert_eq!(lines[3], "Hold 12: released by user ana (moved).");
    assert!(!held.next(at(30)).contains("held"));
}

#[test]
fn an_sms_that_followed_is_told_with_its_message() {
    let mut sms = story(State::Accepted { message_id: "SM1".to_owned(), receipt: None });
    sms.fallback_of = Some(Uuid::from_u128(7));
    sms.id = Uuid::from_u128(8);
    sms.attempts = vec![Attempt { as_text: true, ..attempt(1, 20) }];
    let mut told = story(State::Failed { reason: "undeliverable".to_owned() });
    told.attempts = vec![attempt(1, 5)];
    told.fallback = Some(Box::new(sms));
    let lines: Vec<String> = told.tell(&no_words).into_iter().map(|line| line.what).collect();
    assert!(
        lines.contains(&"SMS: Attempt 1: claimed, as a free text, allowed by consent entry 2.".to_owned()),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("SMS: Follows: order_confirmed")), "{lines:#?}");
    let next = told.next(at(90));
    assert!(
        next.starts_with(&format!("An SMS followed, {}: accepted. The provider has it", Uuid::from_u128(8))),
        "{next}"
    );
}

#[test]
fn what_waits_for_its_template_says_whether_a_message_of_the_person_helps() {
    let mut told = pending(Some(Wait::Template));
    assert!(!told.next(at(1)).contains("free text"));
    told.has_text = true;
    assert!(told.next(at(1)).contains("If the person writes before that, it goes as a free text"));
    told.in_window = true;
    assert!(!told.next(at(1)).contains("free text"), "something else stands in its way");
}
