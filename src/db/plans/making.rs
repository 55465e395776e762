//! How a plan is made: what is wanted is written down. What it finds and would come to is reckoned afterwards.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::{Error, alone, note};
use crate::{
    db::{contacts, senders, story},
    domain::{
        action::Action,
        search::{On, Search, Target},
    },
};

/// What somebody wants done.
#[derive(Debug, Clone)]
pub enum Wish {
    /// To notifications or to rejected events, as the action is.
    Found(Action, Search),
    Hold(Target),
    Release(Target),
}

impl Wish {
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Wish::Found(action, _) => *action,
            Wish::Hold(_) => Action::Hold,
            Wish::Release(_) => Action::Release,
        }
    }

    /// The name of the sender whom it is about, if it is about one.
    #[must_use]
    pub(super) fn sender(&self) -> Option<&str> {
        match self {
            Wish::Found(_, search) => search.sender.as_deref(),
            Wish::Hold(target) | Wish::Release(target) => match &target.on {
                On::Everything => None,
                On::Sender(sender) | On::Template { sender, .. } => Some(sender.as_str()),
            },
        }
    }

    fn spelled(&self) -> BTreeMap<&'static str, String> {
        match self {
            Wish::Found(_, search) => search.spelled(),
            Wish::Hold(target) | Wish::Release(target) => target.spelled(),
        }
    }
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The plan of this number, which is to be reckoned.
    Plan(i64),
    NoSuchSender,
    /// What was given as an order is none, and reads like somebody's number: it is not written down.
    IsAPhone,
}

/// Writes down what `by` wants. Nothing is done yet.
///
/// # Errors
/// If the database does not take it; there is no plan then.
pub async fn make(pool: &PgPool, wish: Wish, by: &str) -> Result<Made, Error> {
    if let Some(name) = wish.sender()
        && senders::find(pool, name).await?.is_none()
    {
        return Ok(Made::NoSuchSender);
    }
    let mut people = None;
    if let Wish::Found(_, Search { order, phone, .. }) = &wish {
        if let Some(phone) = phone {
            people = Some(contacts::of_person(pool, phone).await?);
        }
        if let Some(order) = order.as_deref().filter(|order| could_be_dialled(order))
            && story::notifications_of(pool, Some(order), None, 1).await?.is_empty()
        {
            return Ok(Made::IsAPhone);
        }
    }
    let by = by.to_owned();
    alone(pool, move |tx| Box::pin(async move { Ok(Made::Plan(write(tx, &wish, &by, people.as_deref()).await?)) }))
        .await
}

/// Providers write numbers without their plus, people with anything between the digits and often without their country. Nothing is lost
/// if it was an order after all: there is none.
fn could_be_dialled(order: &str) -> bool {
    let digits = order.chars().filter(|c| c.is_numeric()).count();
    (7..=15).contains(&digits) && !order.chars().any(char::is_alphabetic)
}

async fn write(tx: &mut PgConnection, wish: &Wish, by: &str, people: Option<&[i64]>) -> Result<i64, Error> {
    let (action, mut spelled) = (wish.action(), wish.spelled());
    let id = sqlx::query_scalar!(
        "insert into plans (action, search, made_by, people) values ($1, $2, $3, $4) returning id",
        action.as_str(),
        json!(spelled),
        by,
        people
    )
    .fetch_one(&mut *tx)
    .await?;
    // Nothing about persons stands in the trail.
    spelled.remove("phone");
    note(tx, id, by, "plan.made", None, json!({"action": action, "search": spelled})).await?;
    Ok(id)
}
