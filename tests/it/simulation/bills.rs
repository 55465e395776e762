//! What messages cost by the provider's own word, from the request to the sums.

use recado::{
    db::costs::{self, By},
    domain::cost::day,
    provider::Dialect,
};

use super::{OFF_WHATSAPP, Op, Stage, Way, What, stage::NUMBER};

const RATES: &str = "valid_from,market,calling_codes,currency,category,fee,sender
2026-10-01,Spain,34,USD,utility,0.02,
2026-10-01,Spain,,USD,service,0.02,
2026-10-01,Spain,,USD,sms,0.08,
2026-10-01,All,*,USD,every_message,0.004,twilio
";

/// A sum of these days: sender, category, messages, predicted, known, actual.
type Line = (String, String, i64, i64, i64, i64);

async fn costs(stage: &Stage) -> Vec<Line> {
    let today = day(stage.clock.now());
    let by = By { sender: true, category: true, ..By::default() };
    let sums = costs::sums(&stage.pools.ops, today.yesterday().unwrap(), today, by).await.unwrap();
    let line = |sum: costs::Sum| {
        (sum.sender.unwrap(), sum.category.unwrap(), sum.messages, sum.predicted, sum.known, sum.actual)
    };
    sums.into_iter().map(line).collect()
}

fn line(sender: &str, category: &str, [messages, predicted, known, actual]: [i64; 4]) -> Line {
    (sender.to_owned(), category.to_owned(), messages, predicted, known, actual)
}

async fn perform(stage: &mut Stage, ops: &[Op]) {
    for op in ops {
        stage.perform(op).await.unwrap();
    }
}

const HEAR: Op = Op::Hear { percent: 100, twice: false, mixed: false };
const WHATSAPP: Op = Op::Dispatch { permits: 5, way: Way::Whatsapp };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twilio_says_what_it_took_some_time_after_and_until_then_the_prediction_counts() {
    let mut stage = Stage::build(Dialect::Twilio).await;
    stage.empty().await;
    let bills = stage.price_by(RATES);
    let order = |person| Op::Publish { what: What::Order, person };
    // The second one is not on WhatsApp, and gets an SMS.
    let ops = [order(0), order(OFF_WHATSAPP), WHATSAPP, Op::Advance { ms: 900 }, HEAR, Op::Upkeep];
    perform(&mut stage, &ops).await;
    perform(&mut stage, &[Op::Dispatch { permits: 5, way: Way::Sms }, Op::Advance { ms: 900 }, HEAR]).await;
    let predicted = [line("main", "utility", [2, 48_000, 1, 0]), line("sms", "sms", [1, 80_000, 0, 0])];
    assert_eq!(costs(&stage).await, predicted, "what did not arrive costs nothing");
    bills.step().await.unwrap();
    assert_eq!(costs(&stage).await, predicted, "the messages stand in the list, and their prices are null");

    stage.perform(&Op::Advance { ms: 30 * 60_000 }).await.unwrap();
    bills.step().await.unwrap();
    // Twilio's fee in the place of what it was expected to add; of an SMS it is all.
    let billed = [line("main", "utility", [2, 48_000, 2, 25_000]), line("sms", "sms", [1, 80_000, 1, 75_000])];
    assert_eq!(costs(&stage).await, billed);
    bills.step().await.unwrap();
    assert_eq!(costs(&stage).await, billed, "what is known is not asked for, nor counted, again");
    stage.clear_away().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_twilio_sent_after_midnight_is_found_on_its_day() {
    let mut stage = Stage::build(Dialect::Twilio).await;
    stage.empty().await;
    let bills = stage.price_by(RATES);
    let begins = stage.clock.now();
    let midnight = day(begins).tomorrow().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let until = u64::try_from(midnight.duration_since(begins).as_millis()).unwrap();
    stage.sim.world().set_webhooks(|rules| rules.sent_ms = 500);
    let ops = [Op::Advance { ms: until - 100 }, Op::Publish { what: What::Order, person: 0 }, WHATSAPP];
    perform(&mut stage, &ops).await;
    perform(&mut stage, &[Op::Advance { ms: 60_000 }, HEAR]).await;
    bills.step().await.unwrap();
    assert_eq!(costs(&stage).await, [line("main", "utility", [1, 24_000, 1, 25_000])]);
    stage.clear_away().await;
}

/// The words that go to the person who wrote, in the place of a template that is paused; and a template to the same one.
async fn inside_the_window(stage: &mut Stage) {
    let ops = [
        Op::Review { template: "parcel_left", paused: true },
        Op::Publish { what: What::Left(0), person: 0 },
        WHATSAPP,
        Op::Advance { ms: 7_000 },
        Op::Publish { what: What::Order, person: 0 },
        WHATSAPP,
        Op::Advance { ms: 7_000 },
        HEAR,
    ];
    perform(stage, &ops).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_in_an_open_window_are_predicted_by_the_list_and_known_to_be_free() {
    let mut stage = Stage::build(Dialect::Meta).await;
    stage.empty().await;
    let _ = stage.price_by(RATES);
    inside_the_window(&mut stage).await;
    let known = [line("main", "service", [1, 20_000, 1, 0]), line("main", "utility", [1, 20_000, 1, 20_000])];
    assert_eq!(costs(&stage).await, known, "a template costs the same inside the window");

    // The free ones of the month are used up.
    stage.sim.world().change_sender(NUMBER, |number| number.free_texts = 0);
    inside_the_window(&mut stage).await;
    let known = [line("main", "service", [2, 40_000, 2, 20_000]), line("main", "utility", [2, 40_000, 2, 40_000])];
    assert_eq!(costs(&stage).await, known);
    stage.clear_away().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_in_an_open_window_cost_twilios_part_in_any_case() {
    let mut stage = Stage::build(Dialect::Twilio).await;
    stage.empty().await;
    let bills = stage.price_by(RATES);
    inside_the_window(&mut stage).await;
    bills.step().await.unwrap();
    let known = [line("main", "service", [1, 24_000, 1, 25_000]), line("main", "utility", [1, 24_000, 1, 25_000])];
    assert_eq!(costs(&stage).await, known);
    stage.clear_away().await;
}
