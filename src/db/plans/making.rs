//! How a plan is made: what is wanted is written down, with all that it can mean if that is named. What it finds and would come to is
//! reckoned afterwards.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, PIECE, alone, is_of_notifications, note};
use crate::{
    db::{senders, story},
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

/// A person's or an order's notifications are looked for among so many of their latest events.
const EVENTS_MAX: i64 = 10_000;

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
    let ids = match &wish {
        Wish::Found(action, search) if is_of_notifications(*action) => match among(pool, search).await? {
            Some(ids) if ids.is_empty() && search.order.as_deref().is_some_and(could_be_dialled) => {
                return Ok(Made::IsAPhone);
            }
            ids => ids,
        },
        Wish::Found(_, search) => named_ones(search),
        Wish::Hold(_) | Wish::Release(_) => None,
    };
    let by = by.to_owned();
    alone(pool, move |tx| Box::pin(async move { Ok(Made::Plan(write(tx, &wish, &by, ids.as_deref()).await?)) })).await
}

/// The only ones that can be meant, if ids, an order or a person are named.
async fn among(pool: &PgPool, search: &Search) -> Result<Option<Vec<Uuid>>, Error> {
    let related = match (&search.order, &search.phone) {
        (None, None) => return Ok(named_ones(search)),
        (order, phone) => story::notifications_of(pool, order.as_deref(), phone.as_ref(), EVENTS_MAX).await?,
    };
    Ok(Some(match named_ones(search) {
        Some(ids) => related.into_iter().filter(|one| ids.contains(one)).collect(),
        None => related,
    }))
}

fn named_ones(search: &Search) -> Option<Vec<Uuid>> {
    (!search.ids.is_empty()).then(|| search.ids.clone())
}

/// Providers write numbers without their plus, people with anything between the digits and often without their country. Nothing is lost
/// if it was an order after all: there is none.
fn could_be_dialled(order: &str) -> bool {
    let digits = order.chars().filter(|c| c.is_numeric()).count();
    (7..=15).contains(&digits) && !order.chars().any(char::is_alphabetic)
}

async fn write(tx: &mut PgConnection, wish: &Wish, by: &str, ids: Option<&[Uuid]>) -> Result<i64, Error> {
    let (action, mut spelled) = (wish.action(), wish.spelled());
    let id = sqlx::query_scalar!(
        "insert into plans (action, search, made_by, narrowed) values ($1, $2, $3, $4) returning id",
        action.as_str(),
        json!(spelled),
        by,
        ids.is_some()
    )
    .fetch_one(&mut *tx)
    .await?;
    if let Some(ids) = ids.filter(|ids| !ids.is_empty()) {
        sqlx::query!(
            r#"
            -- plans: narrow
            insert into plan_chunks (plan, number, ids)
            select $1, number, array_agg(id)
            from (select id, (n - 1) / $2::int8 as number from unnest($3::uuid[]) with ordinality as named(id, n)) f group by number
            "#,
            id,
            PIECE,
            ids
        )
        .execute(&mut *tx)
        .await?;
    }
    // Nothing about persons stands in the trail.
    spelled.remove("phone");
    note(tx, id, by, "plan.made", None, json!({"action": action, "search": spelled})).await?;
    Ok(id)
}
