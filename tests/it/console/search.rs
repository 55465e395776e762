//! Searches: every combination finds what a plain look through everything finds, and no page is left out.

use jiff::SignedDuration;
use recado::{
    clock::Clock,
    db::{
        listing::{self, Filter},
        tallies,
    },
    domain::{notification::Wait, phone::Phone},
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::many::{FEW, fill};
use crate::doors::hall::Hall;

/// All pages of what is wanted, after one another.
async fn found(hall: &Hall, filter: &Filter) -> Vec<Uuid> {
    let mut all = Vec::new();
    let mut filter = filter.clone();
    loop {
        let page = listing::page(&hall.pools.ops, &filter, 70).await.unwrap();
        assert!(page.items.len() <= 70);
        all.extend(page.items.iter().map(|item| item.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return all,
        }
    }
}

async fn looked_through(hall: &Hall, wanted: &str) -> Vec<Uuid> {
    let text = format!(
        "select id from (select n.*, s.name from notifications n join senders s on s.id = n.sender) n where {wanted} order by id desc"
    );
    sqlx::query_scalar(AssertSqlSafe(text)).fetch_all(&hall.pools.ops).await.unwrap()
}

#[tokio::test]
async fn every_combination_finds_what_there_is() {
    let hall = Hall::open().await;
    fill(&hall.pools.ops, FEW).await;
    let text = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    let at = |days: i64| Clock::system().now() - SignedDuration::from_hours(24 * days);
    let (since, until) = (at(20), at(10));
    let cases = [
        (none(), "true"),
        (Filter { state: Some("accepted"), ..none() }, "state = 'accepted'"),
        (Filter { state: Some("pending"), ..none() }, "state = 'pending'"),
        (Filter { state: Some("in_doubt"), ..none() }, "state = 'in_doubt'"),
        (Filter { state: Some("failed"), ..none() }, "state = 'failed'"),
        (
            Filter { state: Some("suppressed"), template: text("delivered"), ..none() },
            "state = 'suppressed' and template = 'delivered'",
        ),
        (Filter { reason: text("expired"), ..none() }, "reason = 'expired'"),
        (Filter { reason: text("expired"), state: Some("failed"), ..none() }, "false"),
        (Filter { reason: text("expired"), state: Some("pending"), ..none() }, "false"),
        (Filter { waiting_on: Some(Wait::Consent), ..none() }, "waiting_on = 'consent'"),
        (Filter { waiting_on: Some(Wait::Consent), state: Some("failed"), ..none() }, "false"),
        (Filter { receipt: Some("none"), ..none() }, "state = 'accepted' and receipt is null"),
        (Filter { receipt: Some("read"), state: Some("accepted"), ..none() }, "receipt = 'read'"),
        (
            Filter { receipt: Some("sent"), sender: text("second"), template: text("delivered"), ..none() },
            "receipt = 'sent' and name = 'second' and template = 'delivered'",
        ),
        (Filter { receipt: Some("none"), state: Some("pending"), ..none() }, "false"),
        (Filter { receipt: Some("none"), reason: text("expired"), ..none() }, "false"),
        (
            Filter { receipt: Some("delivered"), phone: Phone::parse("+34600000051").ok(), ..none() },
            "contact_id = 51 and receipt = 'delivered'",
        ),
        (Filter { sender: text("second"), ..none() }, "name = 'second'"),
        (Filter { sender: text("nobody"), ..none() }, "false"),
        (
            Filter { sender: text("second"), template: text("arriving_now"), ..none() },
            "name = 'second' and template = 'arriving_now'",
        ),
        (
            Filter { template: text("order_confirmed"), since: Some(since), until: Some(until), ..none() },
            "template = 'order_confirmed' and id >= uuid_v7_floor($since) and id < uuid_v7_floor($until)",
        ),
        (
            Filter { since: Some(since), until: Some(until), ..none() },
            "id >= uuid_v7_floor($since) and id < uuid_v7_floor($until)",
        ),
        (Filter { order: text("order:7"), ..none() }, "subject = 'order:7'"),
        (
            Filter { order: text("order:7"), state: Some("accepted"), ..none() },
            "subject = 'order:7' and state = 'accepted'",
        ),
        (Filter { order: text("evt-33"), ..none() }, "event_id = 'evt-33'"),
        (Filter { phone: Phone::parse("+34600000051").ok(), ..none() }, "contact_id = 51"),
        (
            Filter { phone: Phone::parse("+34600000051").ok(), order: text("order:83"), ..none() },
            "contact_id = 51 and subject = 'order:83'",
        ),
    ];
    for (filter, wanted) in cases {
        let wanted = wanted.replace("$since", &format!("'{since}'")).replace("$until", &format!("'{until}'"));
        let there = looked_through(&hall, &wanted).await;
        assert_eq!(there.is_empty(), wanted == "false", "nothing is compared with: {wanted}");
        assert_eq!(found(&hall, &filter).await, there, "{wanted}");
    }
}

#[tokio::test]
async fn reasons_are_counted_within_a_time() {
    let hall = Hall::open().await;
    fill(&hall.pools.ops, FEW).await;
    let ago = |hours: i64| Clock::system().now() - SignedDuration::from_hours(hours);
    let counted = async |since, until| {
        let mut of = tallies::by_reason(&hall.pools.ops, since, until, None).await.unwrap();
        of.sort_by(|a, b| (&a.state, &a.reason).cmp(&(&b.state, &b.reason)));
        of.into_iter().map(|of| (of.state, of.reason, of.n)).collect::<Vec<_>>()
    };
    let looked = async |wanted: &str| {
        let text = format!(
            "select state::text, reason, count(*) from notifications where reason is not null and {wanted} group by 1, 2 order by 1, 2"
        );
        let mut of: Vec<(String, String, i64)> =
            sqlx::query_as(AssertSqlSafe(text)).fetch_all(&hall.pools.ops).await.unwrap();
        of.sort();
        of
    };
    let all = counted(ago(24 * 40), None).await;
    assert!(all.len() > 10, "{all:?}");
    assert_eq!(all, looked("true").await);
    let second = tallies::by_reason(&hall.pools.ops, ago(24 * 40), None, Some("second")).await.unwrap();
    let of_second = looked("sender = (select id from senders where name = 'second')").await;
    assert_eq!(second.iter().map(|of| of.n).sum::<i64>(), of_second.iter().map(|(.., n)| n).sum::<i64>());
    let before = all.iter().map(|(.., n)| n).sum::<i64>();
    assert_eq!(tallies::tidy(&hall.pools.ops, ago(24 * 60)).await.unwrap(), 0, "they are made of hours already");
    // Weeks later all is known by the hour, and nothing is lost.
    hall.sql("update tallies set minute = minute - interval '35 days'").await;
    assert!(tallies::tidy(&hall.pools.ops, ago(24 * 90)).await.unwrap() > 0);
    let after = counted(ago(24 * 80), None).await;
    assert_eq!(after.iter().map(|(.., n)| n).sum::<i64>(), before);
    assert!(tallies::tidy(&hall.pools.ops, ago(24 * 40)).await.unwrap() > 0, "what is too old is forgotten");
}
