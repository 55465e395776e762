//! The demonstration's shop: invented people, orders, and events that go through the real RabbitMQ.

use jiff::Timestamp;
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::json;

use crate::{
    domain::template::Catalogue,
    worker::broker::{self, Address},
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
    /// An event of this type about `order`, made from the example of the template that it is for.
    pub fn of_type(
        shop: &Shop,
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
        data["customer"] = json!({"phone": person.phone, "name": person.name, "locale": person.locale});
        data["order"]["number"] = json!(order.number);
        if data.get("shipment").is_some() {
            data["shipment"]["id"] = json!(format!("S-{}", order.number));
        }
        let id = format!("{}:{kind}", order.number);
        let event = json!({
            "specversion": "1.0", "id": id, "source": shop.source(), "type": kind, "time": at,
            "datacontenttype": "application/json", "data": data,
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
    pub async fn open(address: &Address, exchange: &str, mark: String) -> anyhow::Result<Shop> {
        let connection = broker::connect(address, "demo shop").await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let people = people(&mark);
        Ok(Shop { connection, channel, exchange: exchange.to_owned(), mark, people })
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
        let mut headers = FieldTable::default();
        headers.insert(RUN.into(), AMQPValue::LongString(self.mark.as_str().into()));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into())
            .with_headers(headers);
        let confirmation = self
            .channel
            .basic_publish(
                self.exchange.as_str().into(),
                wish.kind.as_str().into(),
                BasicPublishOptions::default(),
                &wish.body,
                properties,
            )
            .await?
            .await?;
        anyhow::ensure!(!confirmation.is_nack(), "the broker refused an event");
        Ok(())
    }

    pub async fn close(self) {
        let _ = self.connection.close(200, "bye".into()).await;
    }
}

fn people(mark: &str) -> Vec<Person> {
    let run = u32::from_str_radix(mark, 16).unwrap_or(0) % 1_000_000;
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
