//! The house on a stage: everything that runs in a process, called step by step, on one database and one world. Longer than other files,
//! since each part that a process has gets its step here.

use std::{
    collections::{BTreeMap, HashSet},
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
        templates::{self, Key, News},
        versions::Versions,
        webhooks,
    },
    domain::{
        cost::{Prices, day},
        fact::Approval,
        ledger::Act,
        notification::{self, Acceptance, Behind, Outcome, Policy},
        phone::Phone,
        rates::Book,
        source::Sources,
    },
    inbox::{Arrived, Became, Inbox, Origin, Taken, reading::Reader},
    provider::{Dialect, Provider, twilio::Channel},
    sim::{self, Post, Script, Sim, Webhook},
    worker::{
        Flag, Nudge,
        bills::{Account, Bills},
        dispatch::{Cursor, Dispatcher, outgoing},
        doubt::{self, Lookout},
        rate::SenderRate,
        receipts::{self, Known, Receipts},
        upkeep::Upkeep,
        wire::Wire,
    },
};
use serde_json::{Value, json};

use super::{
    AGREED, OFF_WHATSAPP, Op, Way, What,
    laws::{Laws, Seen},
    rules::{dispatch_rules, fault, provider, sms, twilio, upkeep_rules},
};
use crate::{
    database,
    harness::{
        Chance, SOURCE, catalogue_with_fallbacks, content_sid, contents_at_twilio, make_database, phone,
        templates_at_meta, unique,
    },
    house::prices,
};

pub const PACE: Pace = Pace { interval: Duration::from_secs(6), burst: 3 };
pub const LEASE: Duration = Duration::from_secs(30);
pub const RETRY: Policy = Policy { max_tries: 4, base: Duration::from_secs(2), cap: Duration::from_secs(60) };
pub const WINDOW: Duration = Duration::from_secs(600);
pub const NUMBER: &str = "200000000000002";

pub struct Stage {
    pub pools: Pools,
    pub clock: Clock,
    pub sim: Sim,
    pub dialect: Dialect,
    name: String,
    /// Who sends on WhatsApp, and who by SMS.
    main: Branch,
    sms: Branch,
    http: reqwest::Client,
    inbox: Inbox,
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
    /// When people wrote last, by their phones.
    wrote: BTreeMap<String, Timestamp>,
    laws: Laws,
}

/// One sender.
struct Branch {
    id: i16,
    content_ids: bool,
    provider: Arc<dyn Provider>,
    dispatcher: Dispatcher,
    cursor: Cursor,
}

impl Branch {
    fn new(name: &str, id: i16, provider: Arc<dyn Provider>, pools: &Pools, clock: &Clock, nudge: &Nudge) -> Branch {
        let mut dispatcher = Dispatcher::new(
            id,
            name.to_owned(),
            Arc::clone(&provider),
            dispatch_rules(),
            SenderRate::new(1_000, 0.0),
            pools.dispatch.clone(),
            clock.clone(),
            nudge.clone(),
            Flag::default(),
        )
        .expect("a dispatcher");
        dispatcher.prices = prices();
        Branch { id, content_ids: provider.wants_content_id(), provider, dispatcher, cursor: Cursor::new(clock) }
    }
}

/// A webhook as it is stored, and the messages that it is about.
#[derive(Clone)]
struct Mail {
    sender: &'static str,
    body: Vec<u8>,
    ids: Vec<String>,
    /// The provider does not try later.
    until: Option<Timestamp>,
}

/// How long Twilio tries to hand over what a person wrote: a request of 15 s, and one more if it cannot connect.
const TWILIO_TRIES: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

impl Mail {
    fn of_meta(webhook: &Webhook) -> Mail {
        let body: Value = serde_json::from_slice(&webhook.body).expect("JSON");
        let statuses = body["entry"][0]["changes"][0]["value"]["statuses"].as_array().into_iter().flatten();
        let ids = statuses.filter_map(|status| status["id"].as_str().map(str::to_owned)).collect();
        Mail { sender: "main", body: webhook.body.to_vec(), ids, until: None }
    }

    /// With the query of its address, if there is one, before the form, as the door stores it.
    fn of_twilio(post: &Post) -> Mail {
        let sids = form_urlencoded::parse(post.form.as_bytes()).filter(|(name, _)| name == "MessageSid");
        let ids = sids.map(|(_, sid)| sid.into_owned()).collect();
        let sender = if post.url.contains("/webhooks/sms") { "sms" } else { "main" };
        let query = post.url.split_once('?').map(|(_, query)| format!("{query}&")).unwrap_or_default();
        Mail { sender, body: format!("{query}{}", post.form).into_bytes(), ids, until: None }
    }
}

fn beginning() -> Timestamp {
    "2026-11-20T08:00:00Z".parse().expect("a time")
}

impl Stage {
    pub async fn build(dialect: Dialect) -> Stage {
        let clock = Clock::standing(beginning());
        let hand = clock.clone();
        let catalogue = catalogue_with_fallbacks();
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
        for number in &mut options.twilio.numbers {
            number.mps = 1_000_000;
            number.inbound_url =
                number.address.starts_with("whatsapp:").then(|| "https://recado.example/webhooks/main".to_owned());
        }
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
        let [sender, sms_sender] = [
            db::senders::register(&pools.ops, "main").await.expect("a sender"),
            db::senders::register(&pools.ops, "sms").await.expect("a sender"),
        ];
        let nudge = Nudge::default();
        let branch = |name, id, provider| Branch::new(name, id, provider, &pools, &clock, &nudge);
        let main = branch("main", sender, provider(dialect, &sim.url()));
        let sms = branch("sms", sms_sender, sms(&sim.url()));
        let reader = Arc::new(Reader {
            catalogue,
            sources: Sources::default(),
            senders: [("main".to_owned(), sender), ("sms".to_owned(), sms_sender)].into(),
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
            [(sender, Arc::clone(&main.provider)), (sms_sender, Arc::clone(&sms.provider))],
        );
        let listed = lookout.as_ref().map(Lookout::listed).unwrap_or_default();
        let inbox = Inbox {
            reader,
            pool: pools.intake.clone(),
            clock: clock.clone(),
            max_event_bytes: 262_144,
            tracer: recado::telemetry::traces::Tracer::default(),
        };
        let known = |id, name: &str, dialect| Known {
            id,
            name: name.to_owned(),
            phone_number_id: if dialect == Dialect::Meta { NUMBER.to_owned() } else { String::new() },
            waba_id: (dialect == Dialect::Meta).then(|| "100000000000001".to_owned()),
            dialect,
            sms: name == "sms",
            prices: prices(),
        };
        let known = vec![known(sender, "main", dialect), known(sms_sender, "sms", Dialect::Twilio)];
        let receipt_rules = receipts::Rules::new(RETRY, PACE);
        Stage {
            receipts: Receipts::new(
                pools.receipts.clone(),
                receipt_rules,
                known,
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
            wrote: BTreeMap::new(),
            pools,
            clock,
            sim,
            dialect,
            name,
            main,
            sms,
            inbox,
        }
    }

    /// Empties the house for another life: templates are approved, most people have agreed, one of them is not on WhatsApp.
    pub async fn empty(&mut self) {
        // These are a few rows; truncating so many tables takes longer than a life.
        let tables = "receipts attempts timeline outbox notifications inbox inbox_conflicts rejected_events lanes consent_entries contacts holds
             webhooks stray_receipts inbound template_states cost_changes daily_costs";
        let empty: String = tables.split_whitespace().map(|table| format!("delete from {table};")).collect();
        sqlx::raw_sql(sqlx::AssertSqlSafe(empty)).execute(&self.pools.ops).await.expect("an empty house");
        sqlx::raw_sql("update senders set heard = '{}', throttled_until = null")
            .execute(&self.pools.ops)
            .await
            .expect("news");
        let approved = "insert into template_states (sender, template, language, status, changed_by, content_sid)
             select $1, t, 'es', 'approved', 'test', c from unnest($2::text[], $3::text[]) as n(t, c)";
        let names: Vec<String> =
            self.inbox.reader.catalogue.templates().iter().map(|template| template.name().to_owned()).collect();
        let contents: Vec<String> = names.iter().map(|name| content_sid(name)).collect();
        let approved = sqlx::query(approved).bind(self.main.id).bind(names).bind(contents);
        approved.execute(&self.pools.ops).await.expect("approvals");
        self.sim.world().reset();
        drop((self.sim.world().take_webhooks(), self.sim.world().take_posts()));
        self.sim.set_open(true);
        self.chance = Chance::new(1);
        (self.laws, self.events, self.mail, self.heard, self.dead, self.wrote) = Default::default();
        for person in 0..AGREED {
            self.tell(person, Act::Imported, Way::Whatsapp).await;
        }
        self.tell(OFF_WHATSAPP, Act::Imported, Way::Sms).await;
        self.sim.world().change_person(&phone(OFF_WHATSAPP), |ways| ways.on_whatsapp = false);
        self.write(0).expect("somebody who wrote before all began");
        self.hear(100, false, false).await.expect("what they wrote is heard");
        self.laws.seen = Seen::look(self).await;
    }

    pub async fn clear_away(self) {
        let Stage { pools, sim, name, .. } = self;
        for pool in [pools.intake, pools.dispatch, pools.receipts, pools.public, pools.ops] {
            pool.close().await;
        }
        sim.shutdown().await;
        database::end(&name).await;
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
            Op::Dispatch { permits, way } => {
                let branch = self.branch(*way);
                branch.dispatcher.round(&mut branch.cursor, *permits).await.map_err(|error| error.to_string())?;
            }
            Op::Next(trouble) => world.fault(Script::next(1, fault(*trouble, self.dialect)))?,
            Op::Door { open } => self.sim.set_open(*open),
            Op::CrashBefore(way) => self.dead_claims(*way, false).await?,
            Op::CrashAfter(way) => self.dead_claims(*way, true).await?,
            Op::LateAnswer => self.late_answer().await?,
            Op::Hear { percent, twice, mixed } => self.hear(*percent, *twice, *mixed).await?,
            Op::Ask { person, way } => {
                let until = self.clock.now() + jiff::SignedDuration::from_mins(10);
                self.tell(*person, Act::Asked { until }, *way).await;
            }
            Op::Grant { person, way } => self.tell(*person, Act::Imported, *way).await,
            Op::Revoke { person, way } => self.tell(*person, Act::Revoked, *way).await,
            Op::Write { person } => self.write(*person)?,
            Op::Review { template, paused } => self.review(template, *paused).await,
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
            self.release().await?;
            if pause > 60 {
                for template in ["parcel_left", "order_confirmed"] {
                    self.review(template, false).await;
                }
            }
            self.perform(&Op::Advance { ms: pause * 1_000 }).await?;
            self.perform(&Op::Upkeep).await?;
            for _ in 0..6 {
                let attempts = self.laws.attempts();
                for way in [Way::Whatsapp, Way::Sms] {
                    self.perform(&Op::Dispatch { permits: 50, way }).await?;
                }
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
        let taken = self.inbox.take(vec![arrived]).await.map_err(|error| error.to_string())?;
        let unwanted = |one: &Taken| matches!(one.became, Became::Rejected { .. } | Became::Ignored(_));
        if taken.iter().any(unwanted) { Err(format!("it was not taken: {taken:?}")) } else { Ok(()) }
    }

    /// A process claims one, perhaps sends it, and is gone.
    async fn dead_claims(&mut self, way: Way, send: bool) -> Result<(), String> {
        let branch = self.branch(way);
        let (id, provider, content_ids) = (branch.id, Arc::clone(&branch.provider), branch.content_ids);
        let terms = Terms {
            sender: id,
            permits: 1,
            scan: 5,
            due_from: [Timestamp::UNIX_EPOCH; 2],
            lease: LEASE,
            pace: PACE,
            only_to: None,
            day_full: false,
            budget_spent: None,
            content_ids,
        };
        let claimed = claim(&self.pools.dispatch, &terms).await.map_err(|error| error.to_string())?;
        for claim in claimed.go {
            let mut word = None;
            if send {
                let outgoing = outgoing(&claim, self.clock.now()).map_err(|reason| reason.as_str().to_owned())?;
                let request = provider.encode(&outgoing).expect("a request");
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

    /// What the provider has to say since it was asked last; it tries `until` then.
    fn collect(&mut self, until: Option<Timestamp>) {
        let world = self.sim.world();
        let meta = world.take_webhooks().iter().map(Mail::of_meta).collect::<Vec<_>>();
        let twilio = world.take_posts().iter().map(Mail::of_twilio).collect::<Vec<_>>();
        self.mail.extend(meta.into_iter().chain(twilio).map(|mail| Mail { until, ..mail }));
    }

    async fn hear(&mut self, percent: u64, twice: bool, mixed: bool) -> Result<(), String> {
        self.collect(None);
        let moment = self.clock.now();
        self.mail.retain(|mail| mail.until.is_none_or(|until| moment <= until));
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
            webhooks::store(&self.pools.receipts, webhook.sender, &webhook.body)
                .await
                .map_err(|error| error.to_string())?;
        }
        loop {
            if self.receipts.step().await.map_err(|error| error.to_string())? == recado::worker::Progress::Idle {
                return Ok(());
            }
        }
    }

    fn branch(&mut self, way: Way) -> &mut Branch {
        match way {
            Way::Whatsapp => &mut self.main,
            Way::Sms => &mut self.sms,
        }
    }

    fn write(&mut self, person: usize) -> Result<(), String> {
        let address = match self.dialect {
            Dialect::Meta => NUMBER,
            Dialect::Twilio => "whatsapp:+34600000001",
        };
        self.collect(None);
        self.sim.world().write_to(address, &phone(person), "Hola").map_err(|error| error.to_string())?;
        // Meta tries for days, and says when it was written; Twilio says no time and gives up.
        self.collect((self.dialect == Dialect::Twilio).then(|| self.clock.now() + TWILIO_TRIES));
        self.wrote.insert(phone(person), self.clock.now());
        Ok(())
    }

    async fn review(&self, template: &str, paused: bool) {
        let key = Key { sender: self.main.id, template, language: "es" };
        let status = if paused { Approval::Paused } else { Approval::Approved };
        let news = News { status, category: None, quality: None, reason: None, at: None, lasts: None, by: "operator" };
        templates::set(&self.pools.ops, key, &news).await.expect("a template's state");
    }

    async fn tell(&mut self, person: usize, act: Act, way: Way) {
        let who = Who::Phone(Phone::parse(&phone(person)).expect("a phone"));
        let evidence = json!({"source": "test"});
        consents::record(&self.pools.ops, who, act, &[way.purpose()], evidence, self.clock.now())
            .await
            .expect("an entry");
    }

    async fn release(&self) -> Result<(), String> {
        for hold in holds::in_force(&self.pools.ops).await.map_err(|error| error.to_string())? {
            holds::release_one(&self.pools.ops, hold.id, "test", "a test").await.map_err(|error| error.to_string())?;
        }
        holds::release(&self.pools.ops, &Scope::Everything, None, "test").await.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Messages are priced by this list from now on. Gives who asks Twilio for what it took.
    pub fn price_by(&mut self, list: &str) -> Bills {
        let book = Arc::new(Book::load(&[("rates.csv".to_owned(), list.to_owned())]).expect("prices"));
        let read = |name, kind| Prices::new(Arc::clone(&book), name, kind);
        let kind = if self.dialect == Dialect::Meta { "meta" } else { "twilio" };
        self.main.dispatcher.prices = read("main", kind);
        self.sms.dispatcher.prices = read("sms", "twilio_sms");
        let account = |name: &str, branch: &Branch, channel| Account {
            sender: branch.id,
            name: name.to_owned(),
            twilio: twilio(channel, &self.sim.url()),
            prices: branch.dispatcher.prices.clone(),
        };
        let mut accounts = vec![account("sms", &self.sms, Channel::Sms)];
        if self.dialect == Dialect::Twilio {
            accounts.push(account("main", &self.main, Channel::Whatsapp));
        }
        let (pool, clock, wire) = (self.pools.ops.clone(), self.clock.clone(), Bills::wire().expect("a wire"));
        Bills { worker: uuid::Uuid::nil(), pool, clock, accounts, wire }
    }

    /// How many SMS went, and how many messages in free words on WhatsApp.
    pub fn went_otherwise(&self) -> (usize, usize) {
        let accepted = self.sim.world().accepted();
        let texts = accepted.iter().filter(|message| message.template.is_none());
        let (sms, words): (Vec<_>, Vec<_>) = texts.partition(|message| message.phone_number_id.starts_with('+'));
        (sms.len(), words.len())
    }

    pub fn sms_sender(&self) -> i16 {
        self.sms.id
    }

    /// Whether this person wrote in the last 24 hours.
    pub fn window_is_open(&self, phone: &str) -> bool {
        let day = jiff::SignedDuration::from_hours(24);
        self.wrote.get(phone).is_some_and(|at| self.clock.now().duration_since(*at) < day)
    }

    pub fn has_heard_of(&self, wamid: &str) -> bool {
        self.heard.contains(wamid)
    }

    pub fn published(&self) -> usize {
        self.events.len()
    }
}
