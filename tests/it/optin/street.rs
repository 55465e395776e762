//! A street for opt-ins: a house with its doors open, a simulated provider that plays people's phones, and the words in which
//! these tests speak. The clock stands still until a test moves it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use recado::{
    config::{self, Network},
    db::{senders, webhooks},
    domain::{consent::Words, cost::Prices, form::Forms, phone::Phone},
    http::{self, Doors, Limits, Secrets, Standing, optin},
    lifecycle::Lifecycle,
    provider::{
        Dialect, Provider,
        meta::Meta,
        twilio::{self, Twilio},
    },
    sim::{self, Sim},
    worker::{
        Nudge, Progress,
        receipts::{Known, Receipts, Rules},
        replies::{self, Line, Replies},
    },
};
use reqwest::{Client, StatusCode, header::HeaderMap, redirect};
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::{
    house::{ACCOUNT, House, NUMBER_ID, PACE, RETRY},
    specs::shipped,
};

/// The shop's WhatsApp number.
pub const SHOP_NUMBER: &str = "+34600000000";

pub struct Street {
    pub house: House,
    pub sim: Sim,
    pub forms: Forms,
    pub address: String,
    /// The sender of SMS.
    pub sms: i16,
    texts_per_day: u32,
    /// Whether people who ask where their order is are told.
    pub tells_where: bool,
    client: Client,
    life: Lifecycle,
}

/// What a browser got.
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The value of the first attribute of this name, unescaped.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let (_, rest) = self.text.split_once(&format!(" {name}=\""))?;
        Some(unescape(rest.split_once('"')?.0))
    }

    /// The hidden secret of the form.
    pub fn csrf(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").expect("a form with its secret");
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// The message that WhatsApp's link prepares.
    pub fn prepared(&self) -> String {
        let (_, rest) = self.text.split_once("https:&#x2f;&#x2f;wa.me&#x2f;").expect("a link to WhatsApp");
        let link = unescape(rest.split_once('"').unwrap().0);
        let (number, text) = link.split_once("?text=").unwrap();
        assert_eq!(format!("+{number}"), SHOP_NUMBER);
        form_urlencoded::parse(format!("t={text}").as_bytes()).next().unwrap().1.into_owned()
    }
}

fn unescape(text: &str) -> String {
    text.replace("&#x2f;", "/")
        .replace("&amp;", "&")
        .replace("&#x3d;", "=")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
}

pub fn limits() -> config::Forms {
    config::Forms {
        dir: None,
        asks_per_address: 1_000,
        asks_per_phone: 5,
        asks_per_form: 1_000,
        texts_per_phone: 3,
        texts_per_day: 100,
    }
}

impl Street {
    pub async fn open() -> Street {
        Street::open_with(limits()).await
    }

    pub async fn open_with(limits: config::Forms) -> Street {
        let house = House::start().await;
        let texts_per_day = limits.texts_per_day;
        let shipped = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/forms/pedidos.toml"));
        let small = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/forms/uno.toml"));
        let files = [("pedidos.toml", shipped), ("uno.toml", small), ("zzz-closed.toml", small)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let forms = Forms::load(&files, &Words::shipped().stops()).unwrap();
        let clock = house.clock.clone();
        let options = sim::Options {
            clock: Some(Arc::new(move || clock.now().as_millisecond())),
            manual_webhooks: true,
            ..sim::Options::default()
        };
        let sim = Sim::start(options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let sms = senders::register(&house.pools.ops, "sms").await.unwrap();
        sim.world().set_inbound_url(sim.world().account().sms(), &format!("{address}/webhooks/sms"));
        let lines = optin::Lines { whatsapp: Some(Phone::parse(SHOP_NUMBER).unwrap()), sms: Some(sms) };
        let doors = Doors {
            pools: house.pools.clone(),
            clock: house.clock.clone(),
            senders: BTreeMap::from([
                ("main".to_owned(), Secrets { app: vec![SecretString::from("app-secret")], ..Secrets::default() }),
                (
                    "sms".to_owned(),
                    Secrets {
                        dialect: Dialect::Twilio,
                        app: vec![SecretString::from(sim.world().account().token)],
                        ..Secrets::default()
                    },
                ),
            ]),
            limits: Limits { webhook_body: 1 << 20, api_body: 1 << 16, request_timeout: Duration::from_secs(20) },
            public: optin::Public {
                base_url: address.clone(),
                forms: forms.clone(),
                // Of the last one nothing is set up by which people could confirm.
                lines: BTreeMap::from([("pedidos".to_owned(), lines.clone()), ("uno".to_owned(), lines)]),
                limits,
                trusted_proxies: vec![Network::parse("127.0.0.0/8").unwrap()],
            },
            console: config::Console::default(),
            prices: Default::default(),
            bounds: recado::http::console::Bounds::default(),
            events: crate::doors::hall::events(&house.pools, &house.clock),
            stored: Arc::new(|| {}),
            turned_away: Arc::new(|| {}),
            standing: Arc::new(|| Standing { broker_connected: None, results_taken: true, stopping: false }),
        };
        let (life, _) = Lifecycle::begin(Duration::from_secs(1));
        life.role("http", http::serve(listener, http::router(doors), life.clone()));
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Street { house, sim, forms, address, sms, texts_per_day, tells_where: false, client, life }
    }

    pub async fn get(&self, path: &str) -> Page {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Page {
        let mut request = self.client.get(self.at(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        page(request).await
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let mut request = self
            .client
            .post(self.at(path))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.finish());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        page(request).await
    }

    pub async fn post_json(&self, path: &str, body: &serde_json::Value, headers: &[(&str, &str)]) -> Page {
        let request = self.client.post(self.at(path)).header("content-type", "application/json").body(body.to_string());
        page(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// What a browser asks before a script of another page may post.
    pub async fn options(&self, path: &str, headers: &[(&str, &str)]) -> Page {
        let request = self.client.request(reqwest::Method::OPTIONS, self.at(path));
        page(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    fn at(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.address) }
    }

    /// A person fills in the hosted form, by default for both purposes. Gives the answer to that.
    pub async fn fill_in(&self, phone: &str, way: &str) -> Page {
        let form = self.get("/opt-in/pedidos").await;
        assert_eq!(form.status, StatusCode::OK, "{}", form.text);
        let cookie = form.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let csrf = form.csrf();
        let fields = [
            ("csrf", csrf.as_str()),
            ("lang", "es"),
            ("phone", phone),
            ("purpose", "orders"),
            ("purpose", "shipping"),
            ("way", way),
        ];
        // A page that gives no referrer says that its origin is null.
        self.post("/opt-in/pedidos", &fields, &[("cookie", &cookie), ("origin", "null")]).await
    }

    /// The same, and the waiting page that follows, with its address.
    pub async fn ask(&self, phone: &str, way: &str) -> (String, Page) {
        let answer = self.fill_in(phone, way).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let place = answer.header("location").unwrap().to_owned();
        let page = self.get(&place).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        (place, page)
    }

    /// Somebody sends this to the shop's number.
    pub async fn writes(&self, phone: &str, text: &str) {
        self.sim.world().write_to(NUMBER_ID, phone, text).unwrap();
        self.report().await;
    }

    /// Somebody sends an SMS to the shop's number.
    pub async fn texts(&self, phone: &str, text: &str) {
        let world = self.sim.world();
        world.write_to(world.account().sms(), phone, text).unwrap();
        self.report().await;
    }

    /// What is to be answered goes out, and what providers report of it comes back.
    pub async fn deliver(&self) {
        let mut replies = self.replies();
        while replies.step().await.unwrap() == Progress::Made {}
        self.report().await;
    }

    pub fn replies(&self) -> Replies {
        let account = self.sim.world().account();
        let token = SecretString::from("sim-token");
        let meta = Meta::new(&self.sim.url(), "v25.0", NUMBER_ID, &token).unwrap();
        let number = Phone::parse(account.sms()).unwrap();
        let token = SecretString::from(account.token);
        let of = twilio::Account {
            base_url: &self.sim.url(),
            account_sid: &account.sid,
            service_sid: None,
            number: Some(&number),
            user: &account.sid,
            password: &token,
            callback: &format!("{}/webhooks/sms", self.address),
        };
        let twilio = Twilio::new(twilio::Channel::Sms, of).unwrap();
        let line = |id, name: &str, provider: Arc<dyn Provider>, daily| Line {
            id,
            name: name.to_owned(),
            provider,
            rate: 10,
            shared: None,
            daily,
        };
        let lines = vec![
            line(self.house.sender, "main", Arc::new(meta), None),
            line(self.sms, "sms", Arc::new(twilio), Some(self.texts_per_day)),
        ];
        let rules = replies::Rules {
            poll: Duration::from_millis(10),
            lease: Duration::from_secs(30),
            send_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            tries: 3,
            only_to: None,
            base_url: self.address.clone(),
            words: Words::shipped(),
            whereabouts: shipped().whereabouts(),
        };
        let (worker, pool, clock) = (uuid::Uuid::nil(), self.house.pools.ops.clone(), self.house.clock.clone());
        Replies::new(worker, pool, clock, rules, self.forms.clone(), lines).unwrap()
    }

    /// What this person's WhatsApp shows of us besides templates, latest last.
    pub fn heard(&self, phone: &str) -> Vec<String> {
        let wa_id = phone.trim_start_matches('+');
        let accepted = self.sim.world().accepted();
        let texts = accepted.iter().filter(|message| {
            message.phone_number_id == NUMBER_ID && message.wa_id == wa_id && message.template.is_none()
        });
        texts.map(|message| message.text.clone()).collect()
    }

    /// The link and the code of the latest SMS to this person.
    pub fn sms_to(&self, phone: &str) -> (String, String) {
        let text = self.sim.world().texts_to(phone).pop().expect("an SMS").text.clone();
        let link = text.split_whitespace().find(|word| word.starts_with("http")).expect("a link").to_owned();
        let code = text.split("Clave: ").nth(1).expect("a code")[..6].to_owned();
        (link, code)
    }

    /// What the provider has to report is delivered and applied.
    pub async fn report(&self) {
        for webhook in self.sim.world().take_webhooks() {
            webhooks::store(&self.house.pools.receipts, "main", &webhook.body).await.unwrap();
        }
        for post in self.sim.world().take_posts() {
            let request = self
                .client
                .post(&post.url)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("x-twilio-signature", &post.signature)
                .body(post.form);
            assert_eq!(page(request).await.status, StatusCode::OK, "a genuine post is taken");
        }
        self.receipts().step().await.unwrap();
    }

    pub fn receipts(&self) -> Receipts {
        let known = Known {
            id: self.house.sender,
            name: "main".to_owned(),
            phone_number_id: NUMBER_ID.to_owned(),
            waba_id: Some(ACCOUNT.to_owned()),
            dialect: Dialect::Meta,
            sms: false,
            prices: Prices::none("main"),
        };
        let sms = Known {
            id: self.sms,
            name: "sms".to_owned(),
            phone_number_id: String::new(),
            waba_id: None,
            dialect: Dialect::Twilio,
            sms: true,
            prices: Prices::none("sms"),
        };
        let rules = Rules { forms: self.forms.clone(), tell_where: self.tells_where, ..Rules::new(RETRY, PACE) };
        let house = &self.house;
        let (nudge, dispatch) = (Nudge::default(), Nudge::default());
        Receipts::new(house.pools.receipts.clone(), rules, vec![known, sms], house.clock.clone(), nudge, dispatch)
    }

    /// What the waiting page hears when it asks.
    pub async fn state(&self, wait: &str) -> String {
        let told = self.get(&format!("{wait}/state")).await;
        let told: serde_json::Value = serde_json::from_str(&told.text).unwrap();
        told["state"].as_str().unwrap().to_owned()
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        self.life.stop();
    }
}

async fn page(request: reqwest::RequestBuilder) -> Page {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Page { status, headers, text: response.text().await.unwrap() }
}
