//! Everything behind the page: the shop, the simulated world, the worker as a process, and what can be done to them. What became of it is
//! put up on the [`Board`]; what is asked for comes from [`super::page`].

mod breaking;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::Url;
use tokio::sync::RwLock;

use super::{
    House,
    audit::Audit,
    board::{Board, Breaks, Item, Life, Owner, Rush, Score, Tale, Worker as WorkerShown, Written},
    cable::Cable,
    phone::Screen,
    shop::{self, Order, Person, Shop, Wish},
    story::{Terminal, is_over},
    worker::Worker,
};
use crate::{
    clock::Clock,
    db::{progress, story},
    domain::{form::Form, phone::Phone},
    lifecycle::Lifecycle,
    worker::broker::{Address, Topology},
};

/// So many are published before it is looked whether the broker has them.
const CHUNK: usize = 250;
/// Many orders are of so many people.
const CROWD: usize = 1_000;
/// So many events are followed step by step, the latest.
const FOLLOWED: usize = 60;

pub use breaking::{REPORTS, Thing, USUAL};

/// Why something cannot be done; the page has a sentence for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The worker's doors are closed.
    NoDoor,
    /// RabbitMQ did not confirm.
    NoBroker,
    /// The simulator or Postgres would not.
    Impossible,
}

/// Whom an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    Own,
    Others,
}

pub struct Stage {
    pub house: House,
    pub worker: Worker,
    pub board: Board,
    pub form: Option<Form>,
    pub owner: Person,
    cable: Option<Cable>,
    broker: (Address, Topology),
    client: reqwest::Client,
    shop: RwLock<Shop>,
    audit: tokio::sync::Mutex<Audit>,
    /// How many of the crowd have agreed.
    crowd: tokio::sync::Mutex<usize>,
    books: Mutex<Books>,
    screen: Mutex<Screen>,
    clock: Clock,
}

/// What was ordered so far.
#[derive(Default)]
struct Books {
    orders: usize,
    tales: BTreeMap<usize, Followed>,
    told: usize,
    rushes: Vec<Rushing>,
    /// What the next steps are about: the phone's owner's order, and somebody else's.
    own: Option<Order>,
    other: Option<Order>,
    breaks: Breaks,
    /// Reports are late, so that a doubt lasts long enough to be seen.
    late: bool,
    console: Option<String>,
    login: String,
}

struct Followed {
    tale: Tale,
    id: String,
    over: bool,
    /// Looked at once more a little later: costs and notes come after the state.
    again: Option<Instant>,
}

struct Rushing {
    source: String,
    shown: Rush,
}

impl Stage {
    pub async fn new(
        house: House,
        worker: Worker,
        cable: Option<Cable>,
        broker: (Address, Topology),
        shop: Shop,
        form: Option<Form>,
    ) -> anyhow::Result<Stage> {
        let clock = Clock::system();
        let owner = shop::phone_owner(shop.mark());
        let began = clock.now().saturating_sub(Duration::from_secs(60)).unwrap_or(clock.now());
        let audit = Audit::new(house.pools.ops.clone(), began, &shop, &house.settings.broker.queue);
        house.sim.world().change_person(&owner.phone, |ways| owner.name.clone_into(&mut ways.name));
        let books =
            Books { breaks: Breaks { can_cut: cable.is_some(), going: true, ..Breaks::default() }, ..Books::default() };
        Ok(Stage {
            screen: Mutex::new(Screen::of(&owner.phone)),
            worker,
            board: Board::new(),
            form,
            owner,
            cable,
            broker,
            client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?,
            audit: tokio::sync::Mutex::new(audit),
            shop: RwLock::new(shop),
            crowd: tokio::sync::Mutex::new(0),
            books: Mutex::new(books),
            house,
            clock,
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the page who may look after it in the console.
    pub fn lend(&self, login: String) {
        self.books().login = login;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn going(&self) -> bool {
        self.books().breaks.going
    }

    /// An event of this type: about the order that the person has, or about a new one.
    pub async fn order(&self, kind: &str, whose: Whose, language: Option<&'static str>) -> Result<(), Wrong> {
        let order = {
            let shop = self.shop.read().await;
            let mut books = self.books();
            let fresh = matches!(kind, "order.confirmed" | "order.payment_failed" | "shipment.arriving");
            let known = if whose == Whose::Own { books.own.clone() } else { books.other.clone() };
            let order = match known.filter(|_| !fresh) {
                Some(order) => order,
                None => {
                    books.orders += 1;
                    let order = shop.order(books.orders);
                    if whose == Whose::Own { Order { person: self.owner.clone(), ..order } } else { order }
                }
            };
            let order = match language {
                Some(locale) => Order { person: Person { locale, ..order.person }, ..order },
                None => order,
            };
            // Food and a payment are not followed by the steps of a parcel.
            if whose == Whose::Own && (kind == "order.confirmed" || !fresh) {
                books.own = Some(order.clone());
            } else if !fresh || kind == "order.confirmed" {
                books.other = Some(order.clone());
            }
            order
        };
        self.step(kind, &order, whose == Whose::Own).await
    }

    /// Publishes one event about an order, and follows it.
    pub async fn step(&self, kind: &str, order: &Order, own: bool) -> Result<(), Wrong> {
        let source = self.shop.read().await.source();
        let wish = Wish::of_type(&source, &self.house.catalogue, "", order, kind, self.now(), "");
        self.publish(&wish).await?;
        self.audit.lock().await.confirm(&source, [wish.id.as_str()]);
        let at = self.now().as_millisecond();
        let mut books = self.books();
        let known = books.tales.values_mut().find(|followed| followed.id == wish.id);
        let tale = if let Some(known) = known {
            known.tale.again = Some(at);
            known.tale.clone()
        } else {
            books.told += 1;
            let tale = Tale {
                no: books.told,
                order: order.number.clone(),
                kind: kind.to_owned(),
                who: order.person.name.to_owned(),
                own,
                published: at,
                again: None,
                works: true,
                step: None,
                story: None,
            };
            let no = tale.no;
            books.tales.insert(no, Followed { tale: tale.clone(), id: wish.id.clone(), over: false, again: None });
            if books.tales.len() > FOLLOWED {
                // The phone's owner watches their own.
                let others = books.tales.iter().find(|(_, followed)| !followed.tale.own).map(|(no, _)| *no);
                let oldest = others.or_else(|| books.tales.keys().next().copied());
                oldest.and_then(|no| books.tales.remove(&no));
            }
            tale
        };
        drop(books);
        self.board.put(Item::Tale(Box::new(tale)));
        Ok(())
    }

    /// Publishes; over a new connection if the old one is gone.
    async fn publish(&self, wish: &Wish) -> Result<(), Wrong> {
        if self.shop.read().await.publish(wish).await.is_ok() {
            return Ok(());
        }
        self.reopen().await?;
        self.shop.read().await.publish(wish).await.map_err(|_| Wrong::NoBroker)
    }

    async fn reopen(&self) -> Result<(), Wrong> {
        let mut shop = self.shop.write().await;
        let mark = shop.mark().to_owned();
        *shop = Shop::open(&self.broker.0, &self.broker.1, mark).await.map_err(|_| Wrong::NoBroker)?;
        Ok(())
    }

    /// So many orders at once, of many people. Gives way at once; the board shows how far it is.
    pub async fn rush(self: &Arc<Self>, orders: usize) {
        let shop = self.shop.read().await;
        let mut books = self.books();
        let no = books.rushes.len();
        let source = format!("{}/rush-{no}", shop.source());
        let shown = Rush {
            no,
            at: self.now().as_millisecond(),
            orders: orders as u64,
            published: 0,
            accepted: 0,
            delivered: 0,
            in_doubt: 0,
            ended_otherwise: 0,
            took: None,
        };
        self.board.put(Item::Rush(shown.clone()));
        books.rushes.push(Rushing { source: source.clone(), shown });
        drop(books);
        let people = shop::crowd(shop.mark(), orders.min(CROWD));
        let number = |n: usize| format!("{}-R{no}-{n:04}", shop.mark().to_uppercase());
        let numbers: Vec<String> = (1..=orders).map(number).collect();
        drop(shop);
        let stage = Arc::clone(self);
        tokio::spawn(async move { stage.run_rush(no, &source, people, numbers).await });
    }

    async fn run_rush(&self, no: usize, source: &str, people: Vec<Person>, numbers: Vec<String>) {
        if self.gather_crowd(&people).await.is_err() {
            return;
        }
        for (n, chunk) in numbers.chunks(CHUNK).enumerate() {
            let orders = chunk.iter().enumerate().filter_map(|(i, number)| {
                let person = people.get((n * CHUNK + i) % people.len().max(1))?.clone();
                Some(Order { number: number.clone(), person })
            });
            let make = |order: Order| {
                Wish::of_type(source, &self.house.catalogue, "", &order, "order.confirmed", self.now(), "")
            };
            let wishes: Vec<Wish> = orders.map(make).collect();
            let mut left = wishes.as_slice();
            while !left.is_empty() {
                let taken = self.shop.read().await.publish_all(left).await;
                let (done, rest) = left.split_at(taken.min(left.len()));
                self.audit.lock().await.confirm(source, done.iter().map(|wish| wish.id.as_str()));
                if let Some(rushing) = self.books().rushes.get_mut(no) {
                    rushing.shown.published += taken as u64;
                }
                left = rest;
                if !left.is_empty() && self.reopen().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// These people have agreed, as people do long before a day of many orders.
    async fn gather_crowd(&self, people: &[Person]) -> anyhow::Result<()> {
        let mut agreed = self.crowd.lock().await;
        for chunk in people.get(*agreed..).unwrap_or_default().chunks(200) {
            self.house.consent_all(chunk).await?;
            *agreed += chunk.len();
        }
        Ok(())
    }

    /// The phone's owner taps: the shop's form asks, and the message that it prepares is sent. By SMS, the form alone does it.
    pub async fn opt_in(&self, sms: bool, language: &str) -> Result<(), Wrong> {
        let form = self.form.as_ref().ok_or(Wrong::Impossible)?;
        let way = if sms { "sms" } else { "whatsapp" };
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("phone", self.owner.phone.as_str()), ("lang", language), ("way", way)])
            .extend_pairs(form.purposes.iter().map(|purpose| ("purpose", purpose)))
            .finish();
        let mut request = self
            .client
            .post(format!("http://{}/opt-in/{}", self.worker.address, form.name))
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(origin) = form.origins.first() {
            request = request.header("origin", origin);
        }
        let answer = request.body(body).send().await.map_err(|_| Wrong::NoDoor)?;
        let text = answer.text().await.map_err(|_| Wrong::NoDoor)?;
        if sms {
            return Ok(());
        }
        let told: serde_json::Value = serde_json::from_str(&text).map_err(|_| Wrong::NoDoor)?;
        let link = told.get("whatsapp_url").and_then(|url| Url::parse(url.as_str()?).ok()).ok_or(Wrong::NoDoor)?;
        let (_, words) = link.query_pairs().find(|(name, _)| name == "text").ok_or(Wrong::NoDoor)?;
        self.say(&words, false)
    }

    /// The phone's owner writes.
    pub fn say(&self, text: &str, sms: bool) -> Result<(), Wrong> {
        let to = if sms { super::SMS_NUMBER } else { super::NUMBER_ID };
        self.house.sim.world().write_to(to, &self.owner.phone, text).map(drop).map_err(|_| Wrong::Impossible)
    }

    /// The phone's owner presses a button.
    pub fn press(&self, message: &str, payload: &str) -> Result<(), Wrong> {
        let pressed = self.house.sim.world().press(&self.owner.phone, message, Some(payload));
        pressed.map(drop).map_err(|_| Wrong::Impossible)
    }

    /// A shop in which people order by themselves, so many a second, as long as nobody says otherwise.
    pub async fn trade(&self, rate: f64, life: &Lifecycle) {
        const STEPS: [(&str, u64); 4] = [
            ("order.confirmed", 0),
            ("shipment.dispatched", 6),
            ("shipment.out_for_delivery", 12),
            ("shipment.delivered", 18),
        ];
        let pause = Duration::from_secs_f64(1.0 / rate.clamp(0.01, 1_000.0));
        let mut next = Instant::now();
        let mut journeys: Vec<(Instant, &str, Order)> = Vec::new();
        while !life.soft().is_cancelled() {
            if next <= Instant::now() && rate > 0.0 {
                next = Instant::now() + pause;
                if self.going() {
                    let order = self.next_order().await;
                    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
                    // Who looks at the page has enough to look at.
                    let steps = if self.board.viewers() > 0 { 1 } else { STEPS.len() };
                    let steps = STEPS.into_iter().take(steps);
                    journeys.extend(steps.map(|(kind, seconds)| (at(seconds), kind, order.clone())));
                }
            }
            let (due, later) = journeys.into_iter().partition(|(at, _, _)| *at <= Instant::now());
            journeys = later;
            for (_, kind, order) in due {
                // A broker that is away for a while is no reason to close.
                let _ = self.step(kind, &order, false).await;
            }
            life.rest(Duration::from_millis(50)).await;
        }
    }

    async fn next_order(&self) -> Order {
        let number = {
            let mut books = self.books();
            books.orders += 1;
            books.orders
        };
        self.shop.read().await.order(number)
    }

    /// Follows everything until the end, and tells it on the board and on the terminal.
    pub async fn watch(&self, life: &Lifecycle) {
        let mut terminal = Terminal::new();
        while !life.soft().is_cancelled() {
            let works = self.show_worker().await;
            if self.board.viewers() > 0 && terminal.first_viewer() {
                self.set(Thing::Going, false);
            }
            self.screen.lock().unwrap_or_else(PoisonError::into_inner).look(self.house.sim.world(), &self.board);
            // Postgres may be away for a moment; what is true is there when it is back.
            if let Ok(news) = self.follow(works).await {
                terminal.tell(&news, self.board.viewers() > 0);
            }
            if let Ok(score) = self.measure(works).await {
                terminal.score(&score, self.board.viewers() > 0);
            }
            let _ = self.show_owner().await;
            let _ = self.show_breaks().await;
            life.rest(Duration::from_millis(150)).await;
        }
    }

    async fn show_worker(&self) -> bool {
        let condition = self.worker.condition().await;
        if condition.life == Life::Up && self.books().console.is_none() {
            let url = format!("http://{}/console", self.worker.address);
            let answer = self.client.get(&url).send().await;
            // Looked for once: the program does not change.
            let there = answer.is_ok_and(|answer| answer.status() != http::StatusCode::NOT_FOUND);
            self.books().console = Some(if there { url } else { String::new() });
        }
        let console = self.books().console.clone().filter(|url| !url.is_empty());
        let (life, pid, kills) = (condition.life, condition.pid, condition.kills);
        let login = self.books().login.clone();
        self.board.put(Item::Worker(WorkerShown { state: life, pid, kills, console, login }));
        life == Life::Up
    }

    async fn show_owner(&self) -> anyhow::Result<()> {
        let (pool, number) = (&self.house.pools.ops, Phone::parse(&self.owner.phone)?);
        let consents = progress::consents(pool, &number).await?;
        for (no, letter) in progress::letters(pool, &number).await?.into_iter().enumerate() {
            self.board.put(Item::Letter(Written { no, who: self.owner.name, letter }));
        }
        let order = self.books().own.as_ref().map(|order| order.number.clone());
        let (name, phone) = (self.owner.name.to_owned(), self.owner.phone.clone());
        self.board.put(Item::Owner(Owner { name, phone, consents, order }));
        Ok(())
    }

    /// Gathers the stories of what has changed. Gives the tales that did.
    async fn follow(&self, works: bool) -> anyhow::Result<Vec<Tale>> {
        let source = self.shop.read().await.source();
        let open: Vec<String> =
            self.books().tales.values().filter(|followed| !followed.over).map(|followed| followed.id.clone()).collect();
        let steps = progress::of(&self.house.pools.ops, &source, &open).await?;
        let mut changed = Vec::new();
        {
            let mut books = self.books();
            for followed in books.tales.values_mut().filter(|followed| !followed.over) {
                let step = steps.iter().find(|step| step.event_id == followed.id).cloned();
                followed.tale.works = works || step.is_some();
                let (moved, again) =
                    (step != followed.tale.step, followed.again.is_some_and(|at| at <= Instant::now()));
                if moved || again {
                    followed.again = moved.then(|| Instant::now() + Duration::from_millis(700));
                    followed.tale.step = step;
                    changed.push(followed.tale.no);
                }
                followed.over = followed.again.is_none()
                    && followed
                        .tale
                        .step
                        .as_ref()
                        .is_some_and(|step| is_over(step) && step.receipt.as_deref() != Some("delivered"));
                self.board.put(Item::Tale(Box::new(followed.tale.clone())));
            }
        }
        let mut news = Vec::new();
        for no in changed {
            let notification =
                self.books().tales.get(&no).and_then(|followed| followed.tale.step.as_ref()?.notification);
            let story = match notification {
                Some(id) => story::of(&self.house.pools.ops, id).await?.map(Arc::new),
                None => None,
            };
            if let Some(followed) = self.books().tales.get_mut(&no) {
                followed.tale.story = story;
                self.board.put(Item::Tale(Box::new(followed.tale.clone())));
                news.push(followed.tale.clone());
            }
        }
        Ok(news)
    }

    /// Measures what it comes to.
    pub async fn measure(&self, works: bool) -> anyhow::Result<Score> {
        let works = works && !self.cable.as_ref().is_some_and(Cable::is_cut);
        let shop = self.shop.read().await;
        let (score, tallies) = self.audit.lock().await.look(&shop, self.house.sim.world(), works).await?;
        drop(shop);
        let now = self.now().as_millisecond();
        for rushing in &mut self.books().rushes {
            let Some(tally) = tallies.iter().find(|tally| tally.source == rushing.source) else { continue };
            let count = |n: i64| u64::try_from(n).unwrap_or_default();
            let shown = &mut rushing.shown;
            shown.accepted = count(tally.accepted);
            shown.delivered = count(tally.delivered);
            shown.in_doubt = count(tally.in_doubt);
            shown.ended_otherwise = count(tally.failed + tally.suppressed);
            if shown.took.is_none() && shown.delivered + shown.ended_otherwise == shown.orders {
                shown.took = Some(now - shown.at);
            }
            self.board.put(Item::Rush(shown.clone()));
        }
        self.board.put(Item::Score(score));
        Ok(score)
    }
}
