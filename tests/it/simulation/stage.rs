//! The house on a stage: everything that runs in a process, called step by step, on one database and one world.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use recado::{
    clock::Clock,
    db::{
        self, Pools,
        consents::{self, Who},
        costs,
        dispatch::{Claim, Pace, Terms, claim},
        holds::{self, Scope},
        pools::Sizes,
        settle::{Settlement, adopt_late, settle},
        webhooks,
    },
    domain::{
        cost::day,
        doubt::Patience,
        ledger::Act,
        notification::{self, Acceptance, Behind, Outcome, Policy},
        phone::Phone,
        source::Sources,
    },
    provider::{
        Dialect, Provider,
        meta::Meta,
        twilio::{Account, Channel, Twilio},
    },
    sim::{self, Fault, Garbage, Post, Script, Sim, Webhook},
    worker::{
        Flag, Nudge,
        broker::{Address, Topology},
        dispatch::{Cursor, Dispatcher, Rules, outgoing},
        doubt::{self, Lookout},
        intake::{self, Arrived, Intake, Origin, Queue},
        rate::{Backing, SenderRate},
        reading::Reader,
        receipts::{self, Known, Receipts},
        settling,
        upkeep::{self, Upkeep},
        versions::Versions,
        wire::Wire,
    },
};
use serde_json::{Value, json};

use super::{
    Op, PEOPLE, Trouble, What,
    laws::{Laws, Seen},
};
use crate::{
    harness::{
        Chance, SOURCE, catalogue, content_sid, contents_at_twilio, drop_database, make_database, phone,
        templates_at_meta, unique,
    },
    house::prices,
};

pub const PACE: Pace = Pace { interval: Duration::from_secs(6), burst: 3 };
const LEASE: Duration = Duration::from_secs(30);
const RETRY: Policy = Policy { max_tries: 4, base: Duration::from_secs(2), cap: Duration::from_secs(60) };
const WINDOW: Duration = Duration::from_secs(600);
const NUMBER: &str = "200000000000002";

pub struct Stage {
    pub pools: Pools,
    pub clock: Clock,
    pub sim: Sim,
    pub dialect: Dialect,
    name: String,
    sender: i16,
    provider: Arc<dyn Provider>,
    http: reqwest::Client,
    intake: Intake,
    dispatcher: Dispatcher,
    cursor: Cursor,
    receipts: Receipts,
    upkeep: Upkeep,
    /// Who looks for lost messages, if the provider has a list.
    lookout: Option<Lookout>,
    chance: Chance,
    /// Events as they were published.
    events: Vec<Value>,
    /// Webhooks that have not come in yet.
    mail: Vec<Mail>,
    /// Messages of which a webhook has come in.
    heard: HashSet<String>,
    /// What dead processes had in hand; with the provider's word, if they had it.
    dead: Vec<(Claim, Option<String>)>,
    laws: Laws,
}

/// A webhook as it is stored, and the messages that it is about.
#[derive(Clone)]
struct Mail {
    body: Vec<u8>,
    ids: Vec<String>,
}

impl Mail {
    fn of_meta(webhook: &Webhook) -> Mail {
        let body: Value = serde_json::from_slice(&webhook.body).expect("JSON");
        let statuses = body["entry"][0]["changes"][0]["value"]["statuses"].as_array().into_iter().flatten();
        let ids = statuses.filter_map(|status| status["id"].as_str().map(str::to_owned)).collect();
        Mail { body: webhook.body.to_vec(), ids }
    }

    /// With the query of its address before the form, as the door stores it.
    fn of_twilio(post: &Post) -> Mail {
        let (_, query) = post.url.split_once('?').expect("an address that names the attempt");
        let sids = form_urlencoded::parse(post.form.as_bytes()).filter(|(name, _)| name == "MessageSid");
        let ids = sids.map(|(_, sid)| sid.into_owned()).collect();
        Mail { body: format!("{query}&{}", post.form).into_bytes(), ids }
    }
}

fn beginning() -> Timestamp {
    "2026-11-20T08:00:00Z".parse().expect("a time")
}

impl Stage {
    pub async fn build(dialect: Dialect) -> Stage {
        let clock = Clock::standing(beginning());
        let hand = clock.clone();
        let catalogue = catalogue();
        let mut options = sim::Options {
            clock: Some(Arc::new(move || hand.now().as_millisecond())),
            seed: Some(7),
            manual_webhooks: true,
            templates: templates_at_meta(&catalogue),
            contents: contents_at_twilio(&catalogue),
            // The same pace as ours: a person is never too much for the provider.
            pair: sim::Pair { period_ms: 6_000, burst: 3 },
            feed: 0,
            ..sim::Options::default()
        };
        options.senders[0].mps = 1_000_000;
        options.twilio.numbers.iter_mut().for_each(|number| number.mps = 1_000_000);
        let sim = Sim::start(options).await.expect("the simulator starts");
        let name = unique("stage");
        let (pool, url) = make_database(&name).await;
        // No process dies here in earnest, so nothing need be on disk.
        let hurry = sqlx::AssertSqlSafe(format!("alter database {name} set synchronous_commit = off"));
        sqlx::query(hurry).execute(&pool).await.expect("a hurry");
        pool.close().await;
        let sizes = Sizes { intake: 1, dispatch: 2, receipts: 1, ops: 2, ..Sizes::default() };
        let pools = db::connect(&url, sizes, &clock).expect("pools");
        db::upkeep::make_partitions(&pools.ops).await.expect("partitions");
        let sender = db::senders::register(&pools.ops, "main").await.expect("a sender");
        let provider = provider(dialect, &sim.url());
        let nudge = Nudge::default();
        let reader = Arc::new(Reader {
            catalogue,
            sources: Sources::default(),
            senders: [("main".to_owned(), sender)].into(),
            versions: Versions::default(),
            quiet_hours: true,
        });
        let lookout = Lookout::new(
            uuid::Uuid::nil(),
            pools.ops.clone(),
            doubt::Rules { every: Duration::from_secs(1), lease: LEASE, window: WINDOW, retry: RETRY },
            Arc::clone(&reader),
            (clock.clone(), nudge.clone()),
            Wire::new(Duration::from_secs(10), Duration::from_secs(3), 1).expect("a wire"),
            [(sender, Arc::clone(&provider))],
        );
        let listed = lookout.as_ref().map(Lookout::listed).unwrap_or_default();
        let intake = Intake {
            queue: Queue::Events,
            rules: intake_rules(),
            reader,
            pool: pools.intake.clone(),
            clock: clock.clone(),
            nudge: nudge.clone(),
            connected: Flag::default(),
            tracer: recado::telemetry::traces::Tracer::default(),
        };
        let known = Known {
            id: sender,
            name: "main".to_owned(),
            phone_number_id: NUMBER.to_owned(),
            waba_id: Some("100000000000001".to_owned()),
            dialect,
            sms: false,
            prices: prices(),
        };
        let dispatcher = Dispatcher::new(
            sender,
            "main".to_owned(),
            provider.clone(),
            dispatch_rules(),
            SenderRate::new(1_000, 0.0),
            pools.dispatch.clone(),
            clock.clone(),
            nudge.clone(),
            Flag::default(),
        );
        let mut dispatcher = dispatcher.expect("a dispatcher");
        dispatcher.prices = prices();
        let receipt_rules = receipts::Rules::new(RETRY, PACE);
        Stage {
            cursor: Cursor::new(&clock),
            dispatcher,
            receipts: Receipts::new(
                pools.receipts.clone(),
                receipt_rules,
                vec![known],
                clock.clone(),
                nudge.clone(),
                nudge.clone(),
            ),
            upkeep: Upkeep::new(pools.ops.clone(), upkeep_rules(listed), clock.clone(), nudge),
            lookout,
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            chance: Chance::new(1),
            laws: Laws::default(),
            events: Vec::new(),
            mail: Vec::new(),
            heard: HashSet::new(),
            dead: Vec::new(),
            pools,
            clock,
            sim,
            dialect,
            name,
            sender,
            provider,
            intake,
        }
    }

    /// Empties the house for another life: templates are approved, half of the people have agreed.
    pub async fn empty(&mut self) {
        let empty = "truncate inbox, inbox_conflicts, rejected_events, notifications, attempts, receipts, timeline, lanes, contacts,
             consent_entries, holds, webhooks, stray_receipts, inbound, outbox, template_states, cost_changes, daily_costs restart identity cascade";
        sqlx::raw_sql(empty).execute(&self.pools.ops).await.expect("an empty house");
        sqlx::raw_sql("update senders set heard = '{}', throttled_until = null")
            .execute(&self.pools.ops)
            .await
            .expect("news");
        let approved = "insert into template_states (sender, template, language, status, changed_by, content_sid)
             select $1, t, 'es', 'approved', 'test', c from unnest($2::text[], $3::text[]) as n(t, c)";
        let names: Vec<String> =
            self.intake.reader.catalogue.templates().iter().map(|template| template.name().to_owned()).collect();
        let contents: Vec<String> = names.iter().map(|name| content_sid(name)).collect();
        let approved = sqlx::query(approved).bind(self.sender).bind(names).bind(contents);
        approved.execute(&self.pools.ops).await.expect("approvals");
        self.sim.world().reset();
        drop((self.sim.world().take_webhooks(), self.sim.world().take_posts()));
        self.sim.set_open(true);
        self.chance = Chance::new(1);
        (self.laws, self.events, self.mail, self.heard, self.dead) = Default::default();
        for person in 0..PEOPLE / 2 {
            self.tell(person, Act::Imported).await;
        }
        self.laws.seen = Seen::look(self).await;
    }

    pub async fn clear_away(self) {
        let Stage { pools, sim, name, .. } = self;
        for pool in [pools.intake, pools.dispatch, pools.receipts, pools.public, pools.ops] {
            pool.close().await;
        }
        sim.shutdown().await;
        drop_database(&name).await;
    }

    /// Does one thing, then looks whether every law holds.
    pub async fn perform(&mut self, op: &Op) -> Result<(), String> {
        let world = Arc::clone(self.sim.world());
        match op {
            Op::Publish { what, person } => self.publish(*what, *person).await?,
            Op::Again(n) => {
                if let Some(event) = self.known(*n) {
                    self.bring(&event).await?;
                }
            }
            Op::Altered(n) => {
                if let Some(mut event) = self.known(*n) {
                    event["data"]["another"] = json!(true);
                    self.bring(&event).await?;
                }
            }
            Op::Advance { ms } => self.clock.advance(Duration::from_millis(*ms)),
            Op::Dispatch { permits } => {
                self.dispatcher.round(&mut self.cursor, *permits).await.map_err(|error| error.to_string())?;
            }
            Op::Next(trouble) => world.fault(Script::next(1, fault(*trouble, self.dialect)))?,
            Op::Door { open } => self.sim.set_open(*open),
            Op::CrashBefore => self.dead_claims(false).await?,
            Op::CrashAfter => self.dead_claims(true).await?,
            Op::LateAnswer => self.late_answer().await?,
            Op::Hear { percent, twice, mixed } => self.hear(*percent, *twice, *mixed).await?,
            Op::Ask { person } => {
                let until = self.clock.now() + jiff::SignedDuration::from_mins(10);
                self.tell(*person, Act::Asked { until }).await;
            }
            Op::Grant { person } => self.tell(*person, Act::Imported).await,
            Op::Revoke { person } => self.tell(*person, Act::Revoked).await,
            Op::Upkeep => {
                if let Some(lookout) = &mut self.lookout {
                    lookout.step().await.map_err(|error| error.to_string())?;
                }
                self.upkeep.step().await.map_err(|error| error.to_string())?;
            }
            Op::Release => self.release().await?,
        }
        self.judge().await
    }

    /// Everything that stands in the way is removed; then all must come to an end by itself.
    pub async fn come_to_rest(&mut self) -> Result<(), String> {
        let world = Arc::clone(self.sim.world());
        world.clear_faults();
        self.sim.set_open(true);
        for pause in [1, 1, 7, 31, 31, 7, 7, 7, 61, 61, 601, 601, 7, 7, 7, 7_201, 601, 61, 43_201, 86_401, 61] {
            self.perform(&Op::Release).await?;
            self.perform(&Op::Advance { ms: pause * 1_000 }).await?;
            self.perform(&Op::Upkeep).await?;
            for _ in 0..6 {
                let attempts = self.laws.attempts();
                self.perform(&Op::Dispatch { permits: 50 }).await?;
                if self.laws.attempts() == attempts {
                    break;
                }
            }
            self.perform(&Op::Hear { percent: 100, twice: false, mixed: false }).await?;
            if self.laws.is_at_rest() {
                break;
            }
        }
        self.laws.judge_rest(self)?;
        self.costs_add_up().await.map_err(|error| error.to_string())?
    }

    async fn judge(&mut self) -> Result<(), String> {
        let now = Seen::look(self).await;
        let mut laws = std::mem::take(&mut self.laws);
        let judged = laws.judge(self, now);
        self.laws = laws;
        judged
    }

    async fn publish(&mut self, what: What, person: usize) -> Result<(), String> {
        let (n, customer) = (self.events.len(), json!({"phone": phone(person), "name": "Ana"}));
        let order = json!({"customer": customer, "order": {"number": format!("A-{n}")}});
        let parcel = |parcel: u64| json!({"customer": customer, "parcel": {"number": format!("P-{person}-{parcel}")}});
        let (r#type, subject, data) = match what {
            What::Order => ("order.confirmed", None, order),
            What::Subject(subject) => ("order.confirmed", Some(format!("s-{person}-{subject}")), order),
            What::Gate => ("gate.opened", None, order),
            What::Left(n) => ("parcel.left", None, parcel(n)),
            What::Arrived(n) => ("parcel.arrived", None, parcel(n)),
        };
        let mut event = json!({
            "specversion": "1.0", "id": format!("e{n}"), "source": SOURCE, "type": r#type,
            "time": self.clock.now().to_string(), "datacontenttype": "application/json", "data": data,
        });
        if let Some(subject) = subject {
            event["subject"] = json!(subject);
        }
        self.bring(&event).await?;
        self.events.push(event);
        Ok(())
    }

    /// What the changes have come to is what the attempts say.
    async fn costs_add_up(&self) -> Result<Result<(), String>, db::Error> {
        let last = day(self.clock.now());
        let first = last.checked_sub(jiff::Span::new().days(30)).expect("a day");
        let by = costs::By { day: true, template: true, country: true, sender: true, category: true };
        let sums = async || costs::sums(&self.pools.ops, first, last, by).await;
        let written = sums().await?;
        costs::fold(&self.pools.ops).await?;
        let folded = sums().await?;
        let mut on = first;
        while on <= last {
            costs::recompute(&self.pools.ops, on).await?;
            on = on.tomorrow().expect("a day");
        }
        let counted = sums().await?;
        let differs = written != folded || folded != counted;
        Ok(if differs { Err(format!("costs: {written:?}, folded {folded:?}, counted {counted:?}")) } else { Ok(()) })
    }

    fn known(&self, n: usize) -> Option<Value> {
        self.events.get(n % self.events.len().max(1)).cloned()
    }

    async fn bring(&self, event: &Value) -> Result<(), String> {
        let arrived = Arrived { origin: Origin::default(), body: event.to_string().into_bytes(), dead: None };
        let tally = self.intake.handle(vec![arrived]).await.map_err(|error| error.to_string())?;
        if tally.rejected + tally.ignored > 0 { Err(format!("it was not taken: {tally:?}")) } else { Ok(()) }
    }

    /// A process claims one, perhaps sends it, and is gone.
    async fn dead_claims(&mut self, send: bool) -> Result<(), String> {
        let terms = Terms {
            sender: self.sender,
            permits: 1,
            scan: 5,
            due_from: [Timestamp::UNIX_EPOCH; 2],
            lease: LEASE,
            pace: PACE,
            only_to: None,
            day_full: false,
            budget_spent: None,
            content_ids: self.dialect == Dialect::Twilio,
        };
        let claimed = claim(&self.pools.dispatch, &terms).await.map_err(|error| error.to_string())?;
        for claim in claimed.go {
            let mut word = None;
            if send {
                let outgoing = outgoing(&claim, self.clock.now()).map_err(|reason| reason.as_str().to_owned())?;
                let request = self.provider.encode(&outgoing).expect("a request");
                let request = reqwest::Request::try_from(request).expect("a request");
                if let Ok(answer) = self.http.execute(request).await
                    && let Ok(body) = answer.text().await
                    && let Ok(answer) = serde_json::from_str::<Value>(&body)
                {
                    word = [&answer["messages"][0]["id"], &answer["sid"]]
                        .into_iter()
                        .find_map(|id| id.as_str())
                        .map(str::to_owned);
                }
            }
            self.dead.push((claim, word));
        }
        Ok(())
    }

    async fn late_answer(&mut self) -> Result<(), String> {
        let Some(at) = self.dead.iter().position(|(_, word)| word.is_some()) else { return Ok(()) };
        let (claim, word) = self.dead.remove(at);
        let outcome = Outcome::Accepted(Acceptance { message_id: word.unwrap_or_default(), ..Acceptance::default() });
        let next = notification::after(outcome, Behind::default(), &RETRY, 0.5);
        let charge = prices().expect(&claim.template, &claim.phone, claim.category, self.clock.now());
        let settlements = [Settlement { attempt: claim.attempt, outcome: "accepted", next, charge }];
        let settled = settle(&self.pools.dispatch, &settlements).await.map_err(|error| error.to_string())?;
        let adopted = adopt_late(&self.pools.dispatch, &settlements, &settled.overtaken).await;
        adopted.map_err(|error| error.to_string())?;
        // Whoever waits in the lane is found by upkeep, as after a crash.
        Ok(())
    }

    async fn hear(&mut self, percent: u64, twice: bool, mixed: bool) -> Result<(), String> {
        self.mail.extend(self.sim.world().take_webhooks().iter().map(Mail::of_meta));
        self.mail.extend(self.sim.world().take_posts().iter().map(Mail::of_twilio));
        let mut later = Vec::new();
        let mut now = Vec::new();
        for webhook in std::mem::take(&mut self.mail) {
            if self.chance.below(100) >= percent {
                later.push(webhook);
                continue;
            }
            if twice {
                now.push(webhook.clone());
            }
            now.push(webhook);
        }
        self.mail = later;
        if mixed {
            for at in (1..now.len()).rev() {
                now.swap(at, self.chance.below(at as u64 + 1) as usize);
            }
        }
        for webhook in &now {
            self.heard.extend(webhook.ids.iter().cloned());
            webhooks::store(&self.pools.receipts, "main", &webhook.body).await.map_err(|error| error.to_string())?;
        }
        loop {
            if self.receipts.step().await.map_err(|error| error.to_string())? == recado::worker::Progress::Idle {
                return Ok(());
            }
        }
    }

    async fn tell(&mut self, person: usize, act: Act) {
        let who = Who::Phone(Phone::parse(&phone(person)).expect("a phone"));
        let evidence = json!({"source": "test"});
        consents::record(&self.pools.ops, who, act, &["orders"], evidence, self.clock.now()).await.expect("an entry");
    }

    async fn release(&self) -> Result<(), String> {
        for hold in holds::in_force(&self.pools.ops).await.map_err(|error| error.to_string())? {
            holds::release_one(&self.pools.ops, hold.id, "test").await.map_err(|error| error.to_string())?;
        }
        holds::release(&self.pools.ops, &Scope::Everything, None, "test").await.map_err(|error| error.to_string())?;
        Ok(())
    }

    pub fn has_heard_of(&self, wamid: &str) -> bool {
        self.heard.contains(wamid)
    }

    pub fn published(&self) -> usize {
        self.events.len()
    }
}

fn provider(dialect: Dialect, url: &str) -> Arc<dyn Provider> {
    match dialect {
        Dialect::Meta => Arc::new(Meta::new(url, "v25.0", NUMBER, &"sim-token".to_owned().into()).expect("a provider")),
        Dialect::Twilio => {
            let account = Account {
                base_url: url,
                account_sid: "AC0123456789abcdef0123456789abcdef",
                service_sid: None,
                number: Some(&Phone::parse("+34600000001").expect("a phone")),
                user: "AC0123456789abcdef0123456789abcdef",
                password: &"sim-auth-token".to_owned().into(),
                callback: "https://recado.example/webhooks/main",
            };
            Arc::new(Twilio::new(Channel::Whatsapp, account).expect("a provider"))
        }
    }
}

/// What Twilio says in place of Meta's code.
fn at_twilio(code: u32) -> u32 {
    match code {
        130_429 => 20_429,
        131_056 => 21_611,
        131_021 => 21_211,
        131_000 => 30_410,
        132_015 => 21_655,
        190 => 20_003,
        131_049 => 14_107,
        131_026 => 63_024,
        131_053 => 63_019,
        other => panic!("Twilio has no word for {other}"),
    }
}

fn fault(trouble: Trouble, dialect: Dialect) -> Fault {
    let trouble = match (trouble, dialect) {
        (Trouble::Code(code), Dialect::Twilio) => Trouble::Code(at_twilio(code)),
        // What is ambiguous in an answer is not in a report, but for this one, which a report leaves open too.
        (Trouble::FailLater(131_000), Dialect::Twilio) => Trouble::FailLater(63_012),
        (Trouble::FailLater(code), Dialect::Twilio) => Trouble::FailLater(at_twilio(code)),
        (trouble, _) => trouble,
    };
    match trouble {
        Trouble::LoseRequest => Fault::CutBefore { reset: false },
        Trouble::LoseAnswer => Fault::CutAfter { reset: false },
        Trouble::Gateway => Fault::Status { status: 502, code: None, process: true, retry_after: None },
        Trouble::Gibberish => Fault::Garbage { body: Garbage::Html, process: true },
        Trouble::Silent => Fault::Silent,
        Trouble::Code(code) => Fault::Error { code, retry_after: None },
        Trouble::FailLater(code) => Fault::FailLater { code },
    }
}

fn dispatch_rules() -> Rules {
    Rules {
        slots: 50,
        batch: 50,
        lease: LEASE,
        send_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(3),
        poll: Duration::from_secs(1),
        pace: PACE,
        retry: RETRY,
        backing: Backing {
            pause: Duration::from_secs(2),
            pause_cap: Duration::from_secs(120),
            step: Duration::from_secs(5),
        },
        only_to: None,
        settling: settling_rules(),
    }
}

fn settling_rules() -> settling::Rules {
    settling::Rules { batch: 100, linger: Duration::ZERO, pace: PACE }
}

fn upkeep_rules(listed: Vec<i16>) -> upkeep::Rules {
    upkeep::Rules {
        every: Duration::from_secs(1),
        tidy_every: Duration::from_secs(600),
        batch: 500,
        patience: Patience { window: WINDOW, later_attempts: 3, max: Duration::from_secs(24 * 3_600) },
        listed,
        gone_after: Duration::from_secs(20),
        retry: RETRY,
        settling: settling_rules(),
        keep: crate::house::KEEP,
        prices: HashMap::new(),
    }
}

fn intake_rules() -> intake::Rules {
    let none = String::new;
    intake::Rules {
        address: Address { url: none().into(), heartbeat: Duration::ZERO, connect_timeout: Duration::ZERO },
        topology: Topology {
            exchange: none(),
            queue: none(),
            dead_exchange: none(),
            status_exchange: none(),
            inbound_exchange: none(),
            delivery_limit: 1,
            routing_keys: Vec::new(),
            sources: Vec::new(),
        },
        prefetch: 1,
        batch: 1,
        linger: Duration::ZERO,
        max_event_bytes: 262_144,
        reconnect_after: Duration::ZERO,
        reconnect_cap: Duration::ZERO,
    }
}
