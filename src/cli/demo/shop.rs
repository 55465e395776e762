//! The demonstration's shop: invented people, orders, and events that go through the real RabbitMQ.

use jiff::Timestamp;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, PublisherConfirm, Queue,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::json;

use crate::{
    domain::template::Catalogue,
    worker::broker::{self, Address, Topology},
};

/// The header that names the run, so that its rejected events can be told from others.
pub const RUN: &str = "recado-demo";

/// Somebody who buys.
#[derive(Debug, Clone)]
pub struct Person {
    pub name: &'static str,
    pub phone: String,
    pub locale: &'static str,
    pub consents: bool,
}

/// An order of somebody.
#[derive(Debug, Clone)]
pub struct Order {
    pub number: String,
    pub person: Person,
}

/// Something to publish, and how it has to end: `delivered`, `failed`, `rejected`, or the reason why nothing is sent.
#[derive(Debug, Clone)]
pub struct Wish {
    pub label: &'static str,
    pub id: String,
    pub who: String,
    pub what: String,
    pub kind: String,
    pub body: Vec<u8>,
    pub ends: &'static str,
    /// The same event once more: it must not count.
    pub again: bool,
}

impl Wish {
    /// An event of this type of `source` about `order`, made from the example of the template that it is for.
    pub fn of_type(
        source: &str,
        catalogue: &Catalogue,
        label: &'static str,
        order: &Order,
        kind: &str,
        at: Timestamp,
        ends: &'static str,
    ) -> Wish {
        let example = catalogue.templates().iter().find(|template| template.event_type() == kind);
        let mut data = example.map_or_else(|| json!({}), |template| template.example().clone());
        let person = &order.person;
        if kind == "shipment.arriving" {
            data["minutes"] = json!(5);
        }
        data["customer"] = json!({"phone": person.phone, "name": person.name, "locale": person.locale});
        data["order"]["number"] = json!(order.number);
        if data.get("shipment").is_some() {
            data["shipment"]["id"] = json!(format!("S-{}", order.number));
        }
        let id = format!("{}:{kind}", order.number);
        let event = json!({
            "specversion": "1.0", "id": id, "source": source, "type": kind, "time": at,
            "subject": format!("order:{}", order.number), "datacontenttype": "application/json", "data": data,
        });
        Wish {
            label,
            id,
            who: person.name.to_owned(),
            what: order.number.clone(),
            kind: kind.to_owned(),
            body: event.to_string().into_bytes(),
            ends,
            again: false,
        }
    }

    /// The same once more, byte for byte.
    pub fn again(&self) -> Wish {
        Wish { again: true, ..self.clone() }
    }

    /// Something that is no event.
    pub fn poison(shop: &Shop) -> Wish {
        Wish {
            label: "bytes that are no event",
            id: format!("{}-poison", shop.mark),
            who: "?".to_owned(),
            what: "not JSON".to_owned(),
            kind: "order.confirmed".to_owned(),
            body: format!("{{\"specversion\": \"1.0\", \"id\": \"{}\", oops", shop.mark).into_bytes(),
            ends: "rejected",
            again: false,
        }
    }
}

/// A publisher with confirms.
pub struct Shop {
    connection: Connection,
    channel: Channel,
    exchange: String,
    mark: String,
    people: Vec<Person>,
}

impl Shop {
    /// Opens a connection of its own. `mark` tells this run's orders and people from those of others.
    pub async fn open(address: &Address, topology: &Topology, mark: String) -> anyhow::Result<Shop> {
        let connection = broker::connect(address, "demo shop").await?;
        let channel = connection.create_channel().await?;
        // There before the first event is, also if nobody consumes yet.
        broker::declare(&channel, topology).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let people = people(&mark);
        Ok(Shop { connection, channel, exchange: topology.exchange.clone(), mark, people })
    }

    pub fn source(&self) -> String {
        format!("/demo/{}", self.mark)
    }

    pub fn mark(&self) -> &str {
        &self.mark
    }

    pub fn people(&self) -> &[Person] {
        &self.people
    }

    pub fn person(&self, name: &str) -> &Person {
        self.people.iter().find(|person| person.name == name).unwrap_or(&self.people[0])
    }

    pub fn number(&self, n: usize) -> String {
        format!("{}-{n:02}", self.mark.to_uppercase())
    }

    /// The `n`-th order, of one person after the other.
    pub fn order(&self, n: usize) -> Order {
        Order { number: self.number(n), person: self.people[n % self.people.len()].clone() }
    }

    /// Publishes and waits until the broker has it.
    pub async fn publish(&self, wish: &Wish) -> anyhow::Result<()> {
        confirmed(self.put(wish).await?).await
    }

    /// Publishes all of them, and only then waits; gives how many of them the broker has, in their order, before the first that it
    /// has not.
    pub async fn publish_all(&self, wishes: &[Wish]) -> usize {
        let mut under_way = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let Ok(put) = self.put(wish).await else { break };
            under_way.push(put);
        }
        let mut taken = 0;
        for put in under_way {
            if confirmed(put).await.is_err() {
                break;
            }
            taken += 1;
        }
        taken
    }

    /// How many events wait in the queue, in nobody's hand.
    pub async fn depth(&self, queue: &str) -> anyhow::Result<u32> {
        Ok(self.look(queue).await?.message_count())
    }

    /// Whether somebody takes events off the queue.
    pub async fn is_consumed(&self, queue: &str) -> anyhow::Result<bool> {
        Ok(self.look(queue).await?.consumer_count() > 0)
    }

    async fn look(&self, queue: &str) -> anyhow::Result<Queue> {
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        Ok(self.channel.queue_declare(queue.into(), look, FieldTable::default()).await?)
    }

    async fn put(&self, wish: &Wish) -> anyhow::Result<PublisherConfirm> {
        let mut headers = FieldTable::default();
        headers.insert(RUN.into(), AMQPValue::LongString(self.mark.as_str().into()));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into())
            .with_headers(headers);
        // What no queue takes comes back instead of being thrown away.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (self.exchange.as_str().into(), wish.kind.as_str().into());
        Ok(self.channel.basic_publish(exchange, key, options, &wish.body, properties).await?)
    }

    pub async fn close(self) {
        let _ = self.connection.close(200, "bye".into()).await;
    }
}

async fn confirmed(put: PublisherConfirm) -> anyhow::Result<()> {
    anyhow::ensure!(matches!(put.await?, Confirmation::Ack(None)), "the broker refused an event");
    Ok(())
}

/// A number that tells this run's people from those of others.
fn run_of(mark: &str) -> u32 {
    u32::from_str_radix(mark, 16).unwrap_or(0) % 1_000_000
}

/// Whose phone the page shows. Nobody has asked them yet.
pub fn phone_owner(mark: &str) -> Person {
    Person { name: "Clara", phone: format!("+34690{:06}", run_of(mark)), locale: "es", consents: false }
}

/// Enough people that thousands of orders are not one person's.
pub fn crowd(mark: &str, size: usize) -> Vec<Person> {
    const NAMES: [(&str, &str); 6] =
        [("Leo", "es"), ("Nora", "es"), ("Max", "en"), ("Ivy", "en"), ("Davi", "pt_BR"), ("Lara", "pt_BR")];
    let first = run_of(mark) as usize * 7 % 9_000_000;
    let person = |n: usize, (name, locale): (&'static str, &'static str)| Person {
        name,
        phone: format!("+3467{:07}", first + n),
        locale,
        consents: true,
    };
    NAMES.iter().copied().cycle().take(size).enumerate().map(|(n, named)| person(n, named)).collect()
}

fn people(mark: &str) -> Vec<Person> {
    let run = run_of(mark);
    let person = |name, locale, consents, prefix: &str, digit: usize| Person {
        name,
        phone: format!("{prefix}{run:06}{digit}"),
        locale,
        consents,
    };
    vec![
        person("Ana", "es", true, "+34600", 10),
        person("Emma", "en", true, "+34610", 11),
        person("João", "pt_BR", true, "+34620", 12),
        person("Marta", "es", false, "+34630", 13),
        person("Raúl", "es", true, "+34640", 14),
        person("Lucía", "es", true, "+34650", 15),
        person("Iker", "es", true, "+34660", 16),
    ]
    .into_iter()
    .map(|person| Person { phone: person.phone[..12].to_owned(), ..person })
    .collect()
}
