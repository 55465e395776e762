//! Confirming by SMS: a link whose button confirms, a code to type, and everything that can go wrong with them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use recado::{
    clock::Clock,
    sim::{Fault, Script},
    worker::{Progress, rate::SenderRate},
};
use reqwest::StatusCode;

use super::street::{self, Street};
use crate::house::ANA;

#[tokio::test]
async fn the_links_button_confirms_and_a_scanners_look_does_not() {
    let street = Street::open().await;
    let order = street.house.order(ANA).await;
    let (wait, page) = street.ask(ANA, "sms").await;
    assert!(page.text.contains("name=\"code\""), "{}", page.text);
    street.deliver().await;
    let (link, _) = street.sms_to(ANA);
    for _ in 0..3 {
        let looked = street.get(&link).await;
        assert_eq!(looked.status, StatusCode::OK);
        assert!(looked.text.contains("Sí, confirmo") && looked.text.contains("No he sido yo"), "{}", looked.text);
    }
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"), "looking changes nothing");
    assert!(street.house.claim().await.go.is_empty());

    let done = street.post(&link, &[], &[]).await;
    assert_eq!(done.status, StatusCode::OK);
    assert!(done.text.contains("¡Listo!"), "{}", done.text);
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    assert_eq!(street.state(&wait).await, "confirmed");
    assert_eq!(street.house.claim_one().await.attempt.notification, order);
}

#[tokio::test]
async fn a_link_is_used_once_also_by_two_tabs_at_once() {
    let street = Street::open().await;
    street.ask(ANA, "sms").await;
    street.deliver().await;
    let (link, _) = street.sms_to(ANA);
    let (one, other) = tokio::join!(street.post(&link, &[], &[]), street.post(&link, &[], &[]));
    assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK), "both tabs say that it is done");
    let confirmed = "select count(*) from consent_entries where act = 'confirmed' and purpose = 'orders'";
    assert_eq!(street.house.count(confirmed).await, 1);
    street.house.advance(60);
    street.writes(ANA, "BAJA").await;
    let again = street.post(&link, &[], &[]).await;
    assert_eq!(again.status, StatusCode::OK);
    assert!(again.text.contains("solo vale una vez") && !again.text.contains("Te avisaremos"), "{}", again.text);
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"), "a used link undoes no no");
}

#[tokio::test]
async fn a_link_is_too_old_after_two_days() {
    let street = Street::open().await;
    street.ask(ANA, "sms").await;
    street.deliver().await;
    let (link, _) = street.sms_to(ANA);
    street.house.advance(48 * 3_600 + 1);
    for answer in [street.get(&link).await, street.post(&link, &[], &[]).await] {
        assert_eq!(answer.status, StatusCode::GONE);
        assert!(answer.text.contains("Pedir otro") || answer.text.contains("Pedir otra"), "{}", answer.text);
    }
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"));
}

#[tokio::test]
async fn the_code_confirms_and_five_wrong_ones_end_it_but_not_the_link() {
    let street = Street::open().await;
    let (wait, _) = street.ask(ANA, "sms").await;
    street.deliver().await;
    let (link, code) = street.sms_to(ANA);
    let wrong = if code == "111111" { "222222" } else { "111111" };
    for _ in 0..5 {
        assert_eq!(street.post(&wait, &[("code", wrong)], &[]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let right = street.post(&wait, &[("code", &code)], &[]).await;
    assert_eq!(right.status, StatusCode::UNPROCESSABLE_ENTITY, "too late: five tries were used");
    assert!(right.text.contains("ya no vale"), "{}", right.text);
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"));
    street.post(&link, &[], &[]).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn the_code_is_good_for_ten_minutes_and_as_people_type_it() {
    let street = Street::open().await;
    let (wait, _) = street.ask(ANA, "sms").await;
    street.deliver().await;
    let (_, code) = street.sms_to(ANA);
    street.house.advance(599);
    let spaced = format!(" {} {}", &code[..3], &code[3..]);
    let typed = street.post(&wait, &[("code", &spaced)], &[]).await;
    assert_eq!(typed.status, StatusCode::OK, "{}", typed.text);
    assert!(
        typed.text.contains("¡Listo!") && typed.text.contains("preferences"),
        "the phone is theirs: {}",
        typed.text
    );
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    let (wait, _) = street.ask("+34600111333", "sms").await;
    street.deliver().await;
    let (_, code) = street.sms_to("+34600111333");
    street.house.advance(601);
    assert_eq!(street.post(&wait, &[("code", &code)], &[]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn who_asks_twice_at_once_gets_one_sms_and_its_code_is_good_on_either_page() {
    let street = Street::open().await;
    let (first, _) = street.ask(ANA, "sms").await;
    let (second, _) = street.ask(ANA, "sms").await;
    street.deliver().await;
    assert_eq!(street.sim.world().texts_to(ANA).len(), 1);
    let (_, code) = street.sms_to(ANA);
    let wrong = if code == "111111" { "222222" } else { "111111" };
    let tried = street.post(&second, &[("code", wrong)], &[]).await;
    assert!(tried.text.contains("Te quedan intentos: 4"), "{}", tried.text);
    let typed = street.post(&second, &[("code", &code)], &[]).await;
    assert_eq!(typed.status, StatusCode::OK, "{}", typed.text);
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    assert_eq!(street.state(&second).await, "confirmed");
    assert_eq!(street.post(&first, &[("code", &code)], &[]).await.status, StatusCode::OK, "and on the first as well");
    let guessed = "select count(*) from opt_ins where tries > 0";
    assert_eq!(street.house.count(guessed).await, 1, "who guesses on a page of their own uses up nobody else's tries");
    let other = street.ask("+34600111333", "sms").await.0;
    assert_eq!(street.post(&other, &[("code", &code)], &[]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn this_was_not_me_ends_it() {
    let street = Street::open().await;
    let (wait, _) = street.ask(ANA, "sms").await;
    street.deliver().await;
    let (link, code) = street.sms_to(ANA);
    let refused = street.post(&format!("{link}/no"), &[], &[]).await;
    assert!(refused.text.contains("No te escribiremos"), "{}", refused.text);
    assert_eq!(street.state(&wait).await, "refused");
    street.post(&wait, &[("code", &code)], &[]).await;
    street.post(&link, &[], &[]).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
}

#[tokio::test]
async fn this_was_not_me_leaves_an_earlier_yes_as_it_is() {
    let street = Street::open().await;
    street.house.agreed().await;
    street.ask(ANA, "sms").await;
    street.deliver().await;
    let (link, _) = street.sms_to(ANA);
    street.post(&format!("{link}/no"), &[], &[]).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
    assert_eq!(street.house.consent(ANA, "shipping").await.as_deref(), Some("revoked"));
}

#[tokio::test]
async fn one_number_gets_one_sms_a_minute_and_three_a_day() {
    let street = Street::open().await;
    for _ in 0..2 {
        street.ask(ANA, "sms").await;
        street.deliver().await;
    }
    assert_eq!(street.sim.world().texts_to(ANA).len(), 1, "the second ask came at once");
    for _ in 0..3 {
        street.house.advance(61);
        street.ask(ANA, "sms").await;
        street.deliver().await;
    }
    assert_eq!(street.sim.world().texts_to(ANA).len(), 3);
    let (link, _) = street.sms_to(ANA);
    street.post(&link, &[], &[]).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}

#[tokio::test]
async fn a_lost_answer_is_not_sent_again_and_the_report_settles_it() {
    let street = Street::open().await;
    street.ask(ANA, "sms").await;
    let garbled = Fault::Status { status: 500, code: Some(20500), process: true, retry_after: None };
    street.sim.world().fault(Script::next(1, garbled)).unwrap();
    let mut replies = street.replies();
    replies.step().await.unwrap();
    replies.step().await.unwrap();
    assert_eq!(street.sim.world().texts_to(ANA).len(), 1);
    let state = async || street.house.rows("select state, receipt from replies").await;
    assert_eq!(sqlx::Row::get::<String, _>(&state().await[0], 0), "in_doubt");
    street.report().await;
    let row = state().await;
    assert_eq!(sqlx::Row::get::<String, _>(&row[0], 0), "accepted");
    assert_eq!(sqlx::Row::get::<String, _>(&row[0], 1), "delivered");
    assert_eq!(street.house.count("select count(*) from stray_receipts").await, 0);
    let (link, _) = street.sms_to(ANA);
    assert_eq!(street.post(&link, &[], &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn when_the_days_sms_are_used_up_the_sender_is_held_and_goes_on_later() {
    let street = Street::open_with(recado::config::Forms { texts_per_day: 2, ..street::limits() }).await;
    for phone in ["+34600111222", "+34600111333", "+34600111444"] {
        street.ask(phone, "sms").await;
        street.deliver().await;
    }
    assert_eq!(street.sim.world().texts().len(), 2);
    let held =
        "select count(*) from holds where reason = 'texts_per_day' and released_at is null and sender is not null";
    assert_eq!(street.house.count(held).await, 1);
    let (wait, _) = street.ask("+34600111555", "whatsapp").await;
    assert_eq!(street.state(&wait).await, "pending", "the page says nothing of it");
    street.house.advance(24 * 3_600 + 1);
    street.ask("+34600111666", "sms").await;
    street.deliver().await;
    assert_eq!(street.sim.world().texts_to("+34600111666").len(), 1, "the next day");
    assert!(street.sim.world().texts_to("+34600111444").is_empty(), "what came too late is not sent any more");
}

#[tokio::test]
async fn texts_go_at_the_rate_of_their_sender_and_no_faster() {
    let street = Street::open().await;
    for phone in ["+34600111222", "+34600111333", "+34600111444"] {
        street.ask(phone, "sms").await;
    }
    let mut replies = street.replies();
    replies.clock = Clock::system();
    replies.lines.iter_mut().for_each(|line| line.rate = 4);
    let began = Instant::now();
    while street.sim.world().texts().len() < 3 {
        replies.step().await.unwrap();
        tokio::task::yield_now().await;
    }
    // The third one goes two quarters of a second after the first.
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_leaves_room_to_the_notifications_of_its_number() {
    let street = Street::open().await;
    street.writes(ANA, "ayuda").await;
    let rate = Arc::new(SenderRate::new(2, 0.0));
    let mut replies = street.replies();
    replies.lines[0].shared = Some(Arc::clone(&rate));
    let began = Instant::now();
    assert_eq!(rate.let_out(2).await, 2, "two notifications, all that may go in a second");
    assert_eq!(replies.step().await.unwrap(), Progress::Made);
    assert_eq!(street.heard(ANA).len(), 1);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_forged_post_is_refused() {
    let street = Street::open().await;
    let fields = [("MessageSid", "SM1"), ("SmsStatus", "received"), ("From", ANA), ("Body", "BAJA")];
    for signature in ["", "AAAA", "RSOYDt4T1cUTdK1PDd93/VVr8B8="] {
        let answer = street.post("/webhooks/sms", &fields, &[("x-twilio-signature", signature)]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(street.house.count("select count(*) from webhooks").await, 0);
}

#[tokio::test]
async fn baja_by_sms_ends_everything_and_is_answered_once() {
    let street = Street::open().await;
    street.house.agreed().await;
    street.texts(ANA, "Baja.").await;
    street.deliver().await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    let answers = street.sim.world().texts_to(ANA);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].text.contains("no recibirás más mensajes"), "{}", answers[0].text);
}

#[tokio::test]
async fn twilios_own_stop_is_heeded_and_left_to_twilio_to_answer() {
    let street = Street::open().await;
    street.house.agreed().await;
    street.texts(ANA, "STOP").await;
    street.deliver().await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
    assert!(street.sim.world().texts_to(ANA).is_empty());
}

#[tokio::test]
async fn who_stopped_at_the_carrier_is_taken_at_their_word() {
    let street = Street::open().await;
    street.house.agreed().await;
    let stopped = Fault::Error { code: 21610, retry_after: None };
    street.sim.world().fault(Script::next(1, stopped).to(ANA)).unwrap();
    street.ask(ANA, "sms").await;
    street.deliver().await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("revoked"));
}

#[tokio::test]
async fn the_word_by_sms_asks_and_the_link_confirms() {
    let street = Street::open().await;
    street.texts(ANA, "alta").await;
    street.deliver().await;
    let asked = street.sim.world().texts_to(ANA).pop().unwrap().text.clone();
    let link = asked.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned();
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("pending"));
    street.post(&link, &[], &[]).await;
    assert_eq!(street.house.consent(ANA, "orders").await.as_deref(), Some("granted"));
}
