//! The provider at its worst: what each kind of answer, and of silence, does to a message, and to the others.

use recado::{
    provider::Dialect,
    sim::{Fault, Garbage, Script},
};

use super::{
    audit::audit,
    figures::figures,
    harness::{Fleet, PATIENCE, Plan, event, free_port, order, phone, until},
};
use serde_json::json;

/// A fault that leaves a doubt: its name, what it is, whether the message was processed, and what we say of it.
fn doubtful(dialect: Dialect) -> Vec<(&'static str, Fault, bool, &'static str)> {
    let garbage = |body| Fault::Garbage { body, process: true };
    let status = |status, process, code| Fault::Status { status, code, process, retry_after: None };
    let (passing, unknown) = match dialect {
        Dialect::Meta => (131_000, 1),
        Dialect::Twilio => (20_500, 20_503),
    };
    vec![
        ("late", Fault::Stall { ms: 1_400, process: true }, true, "answer_timed_out"),
        ("never", Fault::Stall { ms: 1_400, process: false }, false, "answer_timed_out"),
        ("cut-before", Fault::CutBefore { reset: false }, false, "connection_cut"),
        ("reset-before", Fault::CutBefore { reset: true }, false, "connection_cut"),
        ("cut-after", Fault::CutAfter { reset: false }, true, "connection_cut"),
        ("reset-after", Fault::CutAfter { reset: true }, true, "connection_cut"),
        ("gateway", status(502, true, None), true, "answer_unreadable"),
        ("gateway-timeout", status(504, false, None), false, "answer_unreadable"),
        ("its-trouble", status(500, false, Some(passing)), false, "provider_error"),
        ("its-trouble-after", status(500, true, Some(unknown)), true, "provider_error"),
        ("html", garbage(Garbage::Html), true, "answer_unreadable"),
        ("empty", garbage(Garbage::Empty), true, "answer_unreadable"),
        ("truncated", garbage(Garbage::Truncated), true, "answer_unreadable"),
        ("no-id", garbage(Garbage::MissingId), true, "no_message_id"),
        ("two-ids", garbage(Garbage::DuplicateKeys), true, "answer_unreadable"),
        ("huge", Fault::Huge { bytes: 3_000_000 }, true, "answer_unreadable"),
        ("drip", Fault::Drip { ms: 120 }, true, "answer_timed_out"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_proves_nothing_leaves_a_doubt_which_only_evidence_settles() {
    Fleet::run(
        "doubt",
        |plan| plan.set("retry.sender_pause_cap", "150ms"),
        async |fleet| {
            let world = std::sync::Arc::clone(fleet.sim.world());
            world.set_webhooks(|rules| rules.on = false);
            let no = fleet.start().await;
            let cases = doubtful(Dialect::Meta);
            let mut orders = Vec::new();
            for (n, (name, fault, ..)) in cases.iter().enumerate() {
                world.fault(Script::next(1, fault.clone()).to(&phone(n))).expect("a script");
                orders.push(order(name, n));
            }
            fleet.publish(&orders).await;
            for (name, _, _, said) in &cases {
                let standing = fleet.reaches(name, "in_doubt").await;
                assert_eq!(standing.said.as_deref(), Some(*said), "{name}");
                assert_eq!((standing.attempt, standing.outcome.as_deref()), (1, Some("unclear")), "{name}");
            }
            let processed = cases.iter().filter(|case| case.2).count();
            until("what was late is processed", PATIENCE, async || fleet.ledger().len() == processed).await;

            // The webhooks come back: what they speak of is settled; of the rest nothing is known yet.
            world.set_webhooks(|rules| rules.on = true);
            for (name, _, processed, _) in &cases {
                if *processed {
                    let standing = fleet.reaches(name, "accepted").await;
                    assert_eq!((standing.attempt, standing.resends), (1, 0), "{name}");
                }
            }

            // Later messages are heard of and these are not: now, if not before, the silence means something.
            fleet.publish(&(30..34).map(|n| order(&format!("later-{n}"), n)).collect::<Vec<_>>()).await;
            for (name, _, processed, _) in &cases {
                if !*processed {
                    let standing = fleet.becomes(name, "resent", |s| s.state == "accepted").await;
                    assert_eq!((standing.attempt, standing.resends), (2, 1), "{name}");
                }
            }
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            let audit = audit(fleet).await;
            assert_eq!((audit.twice, audit.resent), (0, cases.len() - processed), "{audit:?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_twilio_took_stands_in_its_list_also_if_it_never_reports() {
    Fleet::run(
        "doubt_twilio",
        |plan: &mut Plan| {
            plan.at(Dialect::Twilio);
            plan.set("retry.sender_pause_cap", "150ms");
        },
        async |fleet| {
            let world = std::sync::Arc::clone(fleet.sim.world());
            world.set_webhooks(|rules| rules.on = false);
            let no = fleet.start().await;
            let cases = doubtful(Dialect::Twilio);
            let mut orders = Vec::new();
            for (n, (name, fault, ..)) in cases.iter().enumerate() {
                world.fault(Script::next(1, fault.clone()).to(&phone(n))).expect("a script");
                orders.push(order(name, n));
            }
            fleet.publish(&orders).await;
            for (name, _, processed, said) in &cases {
                let state = if *processed { "accepted" } else { "in_doubt" };
                let standing = fleet.reaches(name, state).await;
                assert_eq!(
                    (standing.attempt, standing.resends, standing.said.as_deref()),
                    (1, 0, Some(*said)),
                    "{name}"
                );
            }
            assert_eq!(fleet.count("select count(*) from webhooks").await, 0, "nobody has reported anything");

            world.set_webhooks(|rules| rules.on = true);
            fleet.publish(&(30..34).map(|n| order(&format!("later-{n}"), n)).collect::<Vec<_>>()).await;
            for (name, ..) in cases.iter().filter(|case| !case.2) {
                let standing = fleet.reaches(name, "accepted").await;
                assert_eq!((standing.attempt, standing.resends), (2, 1), "{name}");
            }
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            let processed = cases.iter().filter(|case| case.2).count();
            let audit = audit(fleet).await;
            assert_eq!((audit.twice, audit.resent), (0, cases.len() - processed), "{audit:?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_in_trouble_leaves_few_doubts_and_everything_goes_once_it_answers() {
    Fleet::run(
        "trouble",
        |plan| plan.set("dispatch.max_in_flight", "16"),
        async |fleet| {
            let world = std::sync::Arc::clone(fleet.sim.world());
            let trouble = Fault::Status { status: 500, code: Some(131_000), process: false, retry_after: None };
            world.fault(Script::next(100_000, trouble)).expect("a script");
            let no = fleet.start().await;
            fleet.publish(&(0..400).map(|n| order(&format!("o{n}"), n % 50)).collect::<Vec<_>>()).await;
            until("it is tried again and again", PATIENCE, async || {
                fleet.count("select count(*) from attempts where outcome = 'unclear'").await >= 25
            })
            .await;
            assert!(fleet.log(no).contains("sender.in_trouble"));
            let doubts = fleet.count("select count(*) from notifications where state = 'in_doubt'").await;
            assert!(doubts <= 30, "{doubts} in doubt");
            world.clear_faults();
            fleet.settle().await;
            assert!(fleet.log(no).contains("sender.answered"));
            fleet.stop(no).await;
            let audit = audit(fleet).await;
            assert_eq!((audit.twice, audit.accepted), (0, audit.notifications), "{audit:?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_heeded_as_its_code_says() {
    Fleet::run(
        "refused",
        |_| {},
        async |fleet| {
            let world = std::sync::Arc::clone(fleet.sim.world());
            let no = fleet.start().await;
            let error = |code| Fault::Error { code, retry_after: None };
            let once = |n: usize, fault| world.fault(Script::next(1, fault).to(&phone(n))).expect("a script");

            // For good.
            once(0, error(131_021));
            fleet.publish(&[order("never", 0)]).await;
            let standing = fleet.reaches("never", "failed").await;
            assert_eq!((standing.attempt, standing.reason.as_deref()), (1, Some("recipient_is_sender")));

            // By something in front of the provider that gives no code.
            once(1, Fault::Status { status: 400, code: None, process: false, retry_after: None });
            fleet.publish(&[order("no-code", 1)]).await;
            let standing = fleet.reaches("no-code", "failed").await;
            assert_eq!(standing.reason.as_deref(), Some("request_refused"));

            // A person who is written to too fast: the person waits, others do not.
            once(2, error(131_056));
            fleet.publish(&[order("too-fast", 2), order("too-fast-too", 2)]).await;
            let standing = fleet.becomes("too-fast", "refused", |s| s.outcome.as_deref() == Some("busy")).await;
            assert_eq!((standing.code, standing.tries), (Some(131_056), 0), "it costs no try");
            fleet.publish(&[order("somebody-else", 3)]).await;
            fleet.reaches("somebody-else", "accepted").await;
            let standing = fleet.reaches("too-fast", "accepted").await;
            assert_eq!((standing.attempt, standing.tries), (2, 0));
            fleet.reaches("too-fast-too", "accepted").await;
            assert_eq!(fleet.find("too-fast-too").await.map(|s| s.attempt), Some(1), "it had to wait behind");

            // The whole number is too fast: nobody is to blame.
            for (n, fault) in [
                (4, error(130_429)),
                (5, Fault::Status { status: 429, code: None, process: false, retry_after: Some("1".to_owned()) }),
            ] {
                once(n, fault);
                let id = format!("throttled-{n}");
                fleet.publish(&[order(&id, n)]).await;
                let standing = fleet.reaches(&id, "accepted").await;
                assert_eq!((standing.attempt, standing.tries), (2, 0), "{id}");
            }
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            assert_eq!(audit(fleet).await.twice, 0);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_nothing_is_sent_nothing_is_lost_and_no_try_is_burnt() {
    without_a_connection(Dialect::Meta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_to_twilio_nothing_is_sent_nothing_is_lost_and_no_try_is_burnt() {
    without_a_connection(Dialect::Twilio).await;
}

async fn without_a_connection(dialect: Dialect) {
    Fleet::run(
        "down",
        |plan: &mut Plan| plan.at(dialect),
        async |fleet| {
            let no = fleet.start().await;
            fleet.sim.set_open(false);
            fleet.publish(&(0..5).map(|n| order(&format!("down-{n}"), n)).collect::<Vec<_>>()).await;
            for n in 0..5 {
                let refused = |s: &super::harness::Standing| s.outcome.as_deref() == Some("not_sent") && s.attempt >= 2;
                let standing = fleet.becomes(&format!("down-{n}"), "not sent, twice", refused).await;
                assert_eq!(standing.tries, 0);
            }
            fleet.sim.set_open(true);
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            let audit = audit(fleet).await;
            assert_eq!((audit.accepted, audit.sent, audit.resent), (5, 5, 0), "{audit:?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_holds_the_number_until_somebody_releases_it() {
    a_token_that_expires(Dialect::Meta, 190).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_twilio_refuses_holds_the_number_until_somebody_releases_it() {
    a_token_that_expires(Dialect::Twilio, 20_003).await;
}

async fn a_token_that_expires(dialect: Dialect, code: u32) {
    let plan = |plan: &mut Plan| {
        plan.at(dialect);
        plan.set("dispatch.max_in_flight", "4");
    };
    Fleet::run("token", plan, async |fleet| {
        let world = std::sync::Arc::clone(fleet.sim.world());
        let number = recado::sim::Sender::default().phone_number_id;
        let trouble = |code: Option<u32>| {
            world.change_sender(&number, |sender| sender.trouble = code);
            world.change_account(|account| account.numbers.iter_mut().for_each(|number| number.trouble = code));
        };
        let no = fleet.start().await;
        fleet.publish(&[order("before", 0)]).await;
        fleet.reaches("before", "accepted").await;
        trouble(Some(code));
        fleet.publish(&(1..30).map(|n| order(&format!("held-{n}"), n)).collect::<Vec<_>>()).await;
        let held =
            "select count(*) from holds where scope = 'sender' and reason = 'token_invalid' and released_at is null";
        until("the number is held", PATIENCE, async || fleet.count(held).await == 1).await;
        until("nothing is on the wire", PATIENCE, async || {
            fleet.count("select count(*) from notifications where state = 'sending'").await == 0
        })
        .await;
        let refused = world.counters().refused.get(&code).copied().unwrap_or_default();
        assert!(refused <= 12, "it went on asking: {refused} refusals");
        assert_eq!(fleet.count("select count(*) from notifications where state = 'pending'").await, 29);
        assert_eq!(fleet.count("select count(*) from notifications where tries > 0").await, 0);

        trouble(None);
        let released = fleet.command(&["release", "sender", "main", "--because", "a test"]).await;
        assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
        fleet.quiet(PATIENCE, true).await;
        fleet.stop(no).await;
        let audit = audit(fleet).await;
        assert_eq!((audit.accepted, audit.sent), (30, 30));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_called_too_fast_in_a_webhook_slows_down_and_recovers() {
    let port = free_port();
    let plan = |plan: &mut Plan| {
        plan.set("http.metrics_listen", &format!("127.0.0.1:{port}"));
        plan.set("dispatch.headroom", "0");
        // Half of the rate for a while, then a tenth more each.
        plan.set("retry.sender_recovery_step", "2s");
        plan.set("retry.sender_pause_cap", "1s");
    };
    Fleet::run("slower", plan, async |fleet| {
        let number = recado::sim::Sender::default().phone_number_id;
        let no = fleet.start().await;
        figures(port, &["recado_sender_rate_per_second{sender=\"main\"} 1000"]).await;
        assert!(fleet.sim.world().trouble(&number, 130_429));
        figures(port, &["recado_sender_rate_per_second{sender=\"main\"} 500"]).await;
        fleet.publish(&[order("slower", 0)]).await;
        fleet.reaches("slower", "accepted").await;
        assert_eq!(fleet.count("select count(*) from holds").await, 0, "it is no hold");
        fleet.stop(no).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_was_changed_at_the_provider_is_held_and_its_messages_wait() {
    Fleet::run(
        "drifted",
        |_| {},
        async |fleet| {
            let world = std::sync::Arc::clone(fleet.sim.world());
            let no = fleet.start().await;
            let ours = super::harness::templates_at_meta(&super::harness::catalogue());
            let ours = ours.into_iter().find(|template| template["name"] == "order_confirmed").expect("a template");
            let mut changed = ours.clone();
            changed["parameter_format"] = json!("POSITIONAL");
            changed["components"] = json!([{"type": "BODY", "text": "Hola {{1}}, gracias.", "example": {"body_text": [["Ana"]]}}]);
            world.add_template(&changed).expect("a template");
            fleet.publish(&[order("drifted", 0)]).await;
            let held = "select count(*) from holds where scope = 'template' and reason = 'template_drifted' and released_at is null";
            until("the template is held", PATIENCE, async || fleet.count(held).await == 1).await;
            fleet.publish(&[order("later", 1)]).await;
            for id in ["drifted", "later"] {
                let standing = fleet.becomes(id, "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
                assert_eq!((standing.state.as_str(), standing.tries), ("pending", 0), "{id}");
            }
            world.add_template(&ours).expect("a template");
            let released = fleet.command(&["release", "template", "order_confirmed", "--language", "es", "--because", "a test"]).await;
            assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            assert_eq!(audit(fleet).await.sent, 2);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_redirects_is_not_followed_and_holds_the_number() {
    Fleet::run(
        "redirect",
        |_| {},
        async |fleet| {
            let elsewhere = recado::sim::Sim::start(recado::sim::Options::default()).await.expect("another address");
            let world = std::sync::Arc::clone(fleet.sim.world());
            let location = format!("{}/v25.0/200000000000002/messages", elsewhere.url());
            world.fault(Script::next(1, Fault::Redirect { location })).expect("a script");
            let no = fleet.start().await;
            fleet.publish(&[order("redirected", 0)]).await;
            let held =
                "select count(*) from holds where scope = 'sender' and reason = 'redirected' and released_at is null";
            until("the number is held", PATIENCE, async || fleet.count(held).await == 1).await;
            let standing = fleet.reaches("redirected", "pending").await;
            assert_eq!((standing.outcome.as_deref(), standing.tries), (Some("busy"), 0));
            assert!(elsewhere.world().counters().refused.is_empty(), "nobody asked there");
            let released = fleet.command(&["release", "sender", "main", "--because", "a test"]).await;
            assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
            fleet.reaches("redirected", "accepted").await;
            fleet.stop(no).await;
            assert_eq!(audit(fleet).await.sent, 1);
            elsewhere.shutdown().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_template_waits_while_the_others_go() {
    Fleet::run(
        "paused",
        |_| {},
        async |fleet| {
            let world = std::sync::Arc::clone(fleet.sim.world());
            let no = fleet.start().await;
            world.fault(Script::next(1, Fault::Error { code: 132_015, retry_after: None })).expect("a script");
            fleet.publish(&[order("first", 0)]).await;
            let held = "select count(*) from holds where scope = 'template' and reason = 'template_paused'
                      and until > now() + interval '2 h' and released_at is null";
            until("the template is held for three hours", PATIENCE, async || fleet.count(held).await == 1).await;
            fleet.publish(&(1..20).map(|n| order(&format!("paused-{n}"), n)).collect::<Vec<_>>()).await;
            fleet
                .publish(&[event(
                    "gate.opened",
                    "gate",
                    json!({"customer": {"phone": phone(30)}, "order": {"number": "1"}}),
                )])
                .await;
            fleet.reaches("gate", "accepted").await;
            for id in ["first", "paused-19"] {
                let standing = fleet.becomes(id, "waiting", |s| s.waiting_on.as_deref() == Some("template")).await;
                assert_eq!((standing.state.as_str(), standing.tries), ("pending", 0), "{id}");
            }
            assert_eq!(fleet.ledger().len(), 1);

            let released = fleet
                .command(&["release", "template", "order_confirmed", "--language", "es", "--because", "a test"])
                .await;
            assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
            fleet.quiet(PATIENCE, true).await;
            fleet.stop(no).await;
            let audit = audit(fleet).await;
            assert_eq!((audit.accepted, audit.sent), (21, 21));
        },
    )
    .await;
}
