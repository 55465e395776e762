//! What Prometheus is told by a whole process, whatever its roles.

use reqwest::StatusCode;

use super::harness::{Fleet, PATIENCE, Plan, free_port, order, until};

/// What stands at this address, if somebody answers.
pub async fn page(address: &str) -> Option<(StatusCode, String)> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(format!("http://{address}")).send().await.ok()?;
    Some((answer.status(), answer.text().await.ok()?))
}

/// Waits until the figures have all of these.
pub async fn figures(port: u16, wanted: &[&str]) {
    let address = format!("127.0.0.1:{port}/metrics");
    let mut last = String::new();
    let shows = async || {
        let Some((_, told)) = page(&address).await else { return false };
        last = told;
        wanted.iter().all(|line| last.contains(line))
    };
    until(&format!("the figures have {wanted:?}"), PATIENCE, shows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_and_what_became_of_it_is_counted() {
    let port = free_port();
    let plan = |plan: &mut Plan| {
        plan.set("http.metrics_listen", &format!("127.0.0.1:{port}"));
        plan.set("consent.grace", "1h");
        plan.people = 5;
    };
    Fleet::run("figures", plan, async |fleet| {
        let first = fleet.start().await;
        fleet.publish(&[order("known", 0), order("unknown", 9)]).await;
        fleet.reaches("known", "accepted").await;
        fleet.becomes("unknown", "waiting for consent", |s| s.waiting_on.as_deref() == Some("consent")).await;
        figures(
            port,
            &[
                "recado_notifications_ended_total{state=\"accepted\",reason=\"\"} 1",
                "recado_event_to_send_seconds_count{sender=\"main\"} 1",
                "recado_in_flight{sender=\"main\"} 0",
            ],
        )
        .await;
        drop(fleet.put("order.confirmed", b"no event", lapin::BasicProperties::default()).await.await);
        let rejected = "select count(*) from rejected_events";
        until("it is rejected", PATIENCE, async || fleet.count(rejected).await == 1).await;
        let held = fleet.command(&["hold", "template", "gate_opened", "--reason", "a typo"]).await;
        assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
        fleet.stop(first).await;

        // A process counts at its beginning, then now and then.
        let second = fleet.start().await;
        figures(
            port,
            &[
                "recado_notifications{state=\"consent\"} 1",
                "recado_notifications{state=\"due\"} 0",
                "recado_holds{on=\"template\"} 1",
                "recado_holds{on=\"everything\"} 0",
                "recado_rejected_events 1",
            ],
        )
        .await;
        fleet.stop(second).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_opens_no_door_to_the_world_says_how_it_is_all_the_same() {
    let (inside, outside) = (free_port(), free_port());
    let plan = |plan: &mut Plan| {
        plan.set("http.metrics_listen", &format!("127.0.0.1:{inside}"));
        plan.set("http.listen", &format!("127.0.0.1:{outside}"));
    };
    Fleet::run("inside", plan, async |fleet| {
        let no = fleet.spawn_as(&["--roles", "outbox"], &[]);
        until("it is ready", PATIENCE, async || {
            page(&format!("127.0.0.1:{inside}/readyz")).await.is_some_and(|(status, _)| status == StatusCode::OK)
        })
        .await;
        assert_eq!(page(&format!("127.0.0.1:{inside}/healthz")).await.expect("an answer").0, StatusCode::OK);
        assert_eq!(page(&format!("127.0.0.1:{inside}/metrics")).await.expect("an answer").0, StatusCode::OK);
        assert_eq!(page(&format!("127.0.0.1:{outside}/healthz")).await, None, "nobody takes requests of the world");
        until("it says that its broker is there", PATIENCE, async || {
            page(&format!("127.0.0.1:{inside}/readyz"))
                .await
                .is_some_and(|(_, told)| told.contains("\"broker\":\"ok\""))
        })
        .await;
        let healthy = fleet.command(&["healthcheck"]).await;
        assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stderr));
        fleet.stop(no).await;
    })
    .await;
}
