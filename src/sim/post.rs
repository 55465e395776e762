//! Webhooks, the sending half: one loop that takes what is due and POSTs it, tries again what was not taken as the provider
//! does, and makes the verification call. What is written in them is `webhooks`' and `twilio`'s affair.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::feed::What;
use super::outbox::Next;
use super::twilio::{Call, Tries};
use super::webhooks::{Update, fitting, render, sign};
use super::world::World;

/// The one client of the simulator: no redirects, no retries of its own, always a timeout.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    // Somebody else may have chosen a provider for the process already; then that one stays.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(3))
        .timeout(Duration::from_secs(30))
        .no_proxy()
        .build()
}

/// Sends what is due until it is stopped.
pub(super) async fn pump(world: Arc<World>, client: reqwest::Client, stop: CancellationToken) {
    loop {
        let wake = world.outbox.wake.notified();
        match world.outbox.next() {
            Next::Post(mut updates) => {
                let rest = updates.split_off(fitting(&updates));
                if !rest.is_empty() {
                    world.outbox.put_back(rest);
                }
                world.tell_statuses(&updates);
                let (house, client, stop) = (Arc::clone(&world), client.clone(), stop.clone());
                world.tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = deliver(&house, &client, updates) => {}
                    }
                });
            }
            Next::Call(call) => {
                world.tell_call(&call);
                let (house, client, stop) = (Arc::clone(&world), client.clone(), stop.clone());
                world.tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = ring(&house, &client, call) => {}
                    }
                });
            }
            Next::Wait(until) => tokio::select! {
                () = stop.cancelled() => return,
                () = wake => {}
                () = sleep_until(until) => {}
            },
            Next::Idle => tokio::select! {
                () = stop.cancelled() => return,
                () = wake => {}
            },
        }
    }
}

async fn deliver(world: &World, client: &reqwest::Client, updates: Vec<Update>) {
    let mut attempt = 0_u32;
    loop {
        attempt += 1;
        let rules = world.outbox.rules();
        let (true, Some(url)) = (rules.on, &rules.url) else {
            world.outbox.put_back(updates);
            world.outbox.finished(|_| {});
            return;
        };
        let body = render(&world.waba_id, &updates);
        let answer = client
            .post(url)
            .header("content-type", "application/json")
            .header("user-agent", "facebookexternalua")
            .header("x-hub-signature-256", sign(&rules.secret, &body))
            .timeout(Duration::from_millis(rules.timeout_ms))
            .body(body)
            .send()
            .await;
        let status = answer.ok().map(|answer| answer.status().as_u16());
        world.feed.tell(world.now_ms(), || What::Posted { updates: updates.len(), status, attempt });
        if status == Some(200) {
            world.outbox.finished(|tally| tally.delivered += updates.len() as u64);
            return;
        }
        let pause = usize::try_from(attempt).ok().and_then(|no| rules.retry_ms.get(no - 1)).copied();
        let Some(pause) = pause else {
            world.outbox.finished(|tally| {
                tally.failed_posts += 1;
                tally.given_up += updates.len() as u64;
            });
            return;
        };
        world.outbox.step_aside();
        sleep(Duration::from_millis(pause)).await;
        world.outbox.step_back();
    }
}

/// Makes one of Twilio's calls, as often as its address asks for.
async fn ring(world: &World, client: &reqwest::Client, call: Arc<Call>) {
    let tries = Tries::of(&call.url);
    let mut attempt = 0_u32;
    loop {
        attempt += 1;
        let rules = world.outbox.rules();
        if !rules.on {
            world.outbox.put_back_call(call);
            world.outbox.finished(|_| {});
            return;
        }
        let post = world.written(&call);
        let answer = client
            .post(&post.url)
            .header("content-type", "application/x-www-form-urlencoded; charset=UTF-8")
            .header("user-agent", "TwilioProxy/1.1")
            .header("x-twilio-signature", post.signature)
            .header("i-twilio-idempotency-token", call.token())
            .timeout(Duration::from_millis(rules.timeout_ms.min(15_000)))
            .body(post.form)
            .send()
            .await;
        let again = tries.again(attempt, &answer);
        let status = answer.ok().map(|answer| answer.status().as_u16());
        world.feed.tell(world.now_ms(), || What::Posted { updates: 1, status, attempt });
        if status.is_some_and(|status| (200..300).contains(&status)) {
            world.outbox.finished(|tally| tally.delivered += 1);
            return;
        }
        if !again {
            world.outbox.finished(|tally| {
                tally.failed_posts += 1;
                tally.given_up += 1;
            });
            return;
        }
        let pause = usize::try_from(attempt).ok().and_then(|no| rules.retry_ms.get(no - 1)).copied();
        world.outbox.step_aside();
        sleep(Duration::from_millis(pause.unwrap_or(0))).await;
        world.outbox.step_back();
    }
}

/// Makes the verification call (`hub.mode=subscribe`). `Ok(true)` if the receiver answered 200 with the challenge.
pub(super) async fn verify(world: &World, client: &reqwest::Client) -> Result<bool, String> {
    let rules = world.outbox.rules();
    let url = rules.url.ok_or("there is no webhook url")?;
    let challenge = world.draw().to_string();
    let joint = if url.contains('?') { '&' } else { '?' };
    let token: String = rules.verify_token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let call = format!("{url}{joint}hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={token}");
    let answer = client.get(call).send().await.map_err(|error| error.to_string())?;
    let good = answer.status().as_u16() == 200;
    let body = answer.text().await.map_err(|error| error.to_string())?;
    Ok(good && body == challenge)
}
