//! How a plan is run: piece by piece, each with what was counted in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Error, Plan, alone, inconsistent, note, reading, signed};
use crate::{
    db::{
        decisions::{self, Locked, Order},
        holds::{self, Hold, Scope},
        rejected::{self, Kept},
        senders,
    },
    domain::{
        action::{Action, Course, Failure, Skip, judge},
        search::{On, Target},
    },
    lifecycle::crash,
};

/// What one step of a plan came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// So many were done.
    Piece { done: u64 },
    /// Somebody else has it, or all that is left of its piece, in hand.
    Busy,
    /// There was nothing left.
    Over { done: u64 },
    /// It does not run any more.
    NotRunning,
}

/// The plan that runs and began first, with what it does.
///
/// # Errors
/// If the database cannot be asked, or a row makes no sense.
pub async fn next(pool: &PgPool) -> Result<Option<(i64, Action)>, Error> {
    let row = sqlx::query!("select id, action from plans where state = 'running' order by begun_at, id limit 1")
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((row.id, Action::named(&row.action).ok_or_else(|| inconsistent("action", row.id))?)))
}

/// Takes one piece of a plan about notifications, judges each as it stands now and does it.
///
/// # Errors
/// If the database does not take it; the piece is as it was then.
pub async fn act(pool: &PgPool, id: i64) -> Result<Acted, Error> {
    alone(pool, move |tx| Box::pin(async move { piece(tx, id).await })).await
}

async fn piece(tx: &mut PgConnection, id: i64) -> Result<Acted, Error> {
    let Some(plan) = take(tx, id).await? else { return Ok(Acted::NotRunning) };
    let Some((number, ids)) = first_piece(tx, id).await? else {
        end(tx, &plan).await?;
        return Ok(Acted::Over { done: plan.done });
    };
    let locked = decisions::lock(tx, &ids).await?;
    let mut skipped = BTreeMap::new();
    let mut fit = Vec::with_capacity(locked.len());
    let mut seen: HashSet<Uuid> = HashSet::with_capacity(ids.len());
    for one in locked {
        seen.insert(one.id);
        match judge(plan.action, &one.standing) {
            Ok(()) => fit.push(one),
            Err(skip) => *skipped.entry(skip).or_default() += 1,
        }
    }
    let twice = |one: &&Locked| plan.action.sends() && one.standing.may_have_arrived();
    let repeats = fit.iter().filter(twice).count() as u64;
    if plan.repeats_max.is_some_and(|most| plan.repeats + repeats > most) {
        break_off(tx, id, Course::Running, &Failure::TooManyTwice).await?;
        return Ok(Acted::NotRunning);
    }
    let unseen: Vec<Uuid> = ids.iter().copied().filter(|id| !seen.contains(id)).collect();
    let busy = existing(tx, &unseen).await?;
    let gone = unseen.len() - busy.len();
    if gone > 0 {
        skipped.insert(Skip::Gone, gone as u64);
    }
    let (by, of) = (plan.begun_by.clone().unwrap_or_default(), format!("plan {id}"));
    let order = Order { by: &by, plan: Some(&of), reason: plan.reason.as_deref() };
    decisions::act(tx, plan.action, &fit, order).await?;
    keep(tx, id, number, &busy).await?;
    count(tx, &plan, fit.len() as u64, repeats, skipped).await?;
    crash::point("acted");
    Ok(if busy.len() == ids.len() { Acted::Busy } else { Acted::Piece { done: fit.len() as u64 } })
}

/// The plan, locked, if it runs and nobody else has it in hand.
async fn take(tx: &mut PgConnection, id: i64) -> Result<Option<Plan>, Error> {
    let free = sqlx::query_scalar!(
        "select id from plans where id = $1 and state = 'running' for no key update skip locked",
        id
    )
    .fetch_optional(&mut *tx)
    .await?;
    if free.is_none() {
        return Ok(None);
    }
    reading::lock(tx, id).await
}

async fn first_piece(tx: &mut PgConnection, id: i64) -> Result<Option<(i32, Vec<Uuid>)>, Error> {
    let row = sqlx::query!("select number, ids from plan_chunks where plan = $1 order by number limit 1", id)
        .fetch_optional(tx)
        .await?;
    Ok(row.map(|row| (row.number, row.ids)))
}

async fn existing(tx: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_scalar!("select id from notifications where id = any ($1) order by id", ids).fetch_all(tx).await?)
}

/// What is left of a piece; without anything it goes.
async fn keep(tx: &mut PgConnection, id: i64, number: i32, left: &[Uuid]) -> Result<(), Error> {
    if left.is_empty() {
        sqlx::query!("delete from plan_chunks where plan = $1 and number = $2", id, number).execute(tx).await?;
    } else {
        sqlx::query!("update plan_chunks set ids = $3 where plan = $1 and number = $2", id, number, left)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Counts what was done, to how many of whom may get it twice, and what was left as it was.
async fn count(
    tx: &mut PgConnection,
    plan: &Plan,
    done: u64,
    repeats: u64,
    skipped: BTreeMap<Skip, u64>,
) -> Result<(), Error> {
    let mut all = plan.skipped.clone();
    for (skip, n) in skipped {
        *all.entry(skip).or_default() += n;
    }
    sqlx::query!(
        "update plans set done = done + $2, repeats = repeats + $3, skipped = $4 where id = $1",
        plan.id,
        signed(done),
        signed(repeats),
        json!(all)
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn end(tx: &mut PgConnection, plan: &Plan) -> Result<(), Error> {
    sqlx::query!(
        "update plans set state = 'done', ended_at = recado_now(), ended_by = 'recado' where id = $1",
        plan.id
    )
    .execute(&mut *tx)
    .await?;
    note(tx, plan.id, "recado", "plan.ended", None, json!({"done": plan.done, "skipped": plan.skipped})).await
}

/// Ends a plan that cannot go on, and says why.
///
/// # Errors
/// If the database does not take it.
pub async fn fail(pool: &PgPool, id: i64, why: Failure) -> Result<(), Error> {
    alone(pool, move |tx| {
        Box::pin(async move {
            if take(tx, id).await?.is_some() {
                break_off(tx, id, Course::Running, &why).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Ends a plan that is there, and says why. False if it was not.
pub(super) async fn break_off(tx: &mut PgConnection, id: i64, there: Course, why: &Failure) -> Result<bool, Error> {
    let ended = sqlx::query!(
        r#"
        -- plans: break off
        update plans set state = 'failed', why = $3, ended_at = recado_now(), ended_by = 'recado' where id = $1 and state = $2
        "#,
        id,
        there.name(),
        why.as_str()
    )
    .execute(&mut *tx)
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    note(tx, id, "recado", "plan.failed", None, json!({"why": why})).await?;
    Ok(true)
}

/// Holds or releases, which is the whole of such a plan.
///
/// # Errors
/// If the database does not take it; nothing is held or released then.
pub async fn switch(pool: &PgPool, id: i64) -> Result<Acted, Error> {
    let freed = alone(pool, move |tx| {
        Box::pin(async move {
            let Some(plan) = take(tx, id).await? else { return Ok(None) };
            let target = Target::read(plan.search.iter().map(|(key, value)| (key.as_str(), value.as_str())))
                .map_err(|_| inconsistent("search", id))?;
            let scope = scope(tx, &target.on).await?.ok_or_else(|| inconsistent("search", id))?;
            let by = plan.begun_by.clone().unwrap_or_default();
            if plan.action == Action::Hold {
                let (reason, detail) = (holds::BY_HAND.to_owned(), plan.reason.clone());
                let hold = Hold { scope: scope.clone(), reason, detail, lasts: target.lasts, by };
                holds::place(&mut *tx, &hold).await?;
            } else {
                holds::release_held(&mut *tx, &scope, None, &by, plan.reason.as_deref()).await?;
            }
            count(tx, &plan, 1, 0, BTreeMap::new()).await?;
            end(tx, &Plan { done: 1, ..plan.clone() }).await?;
            Ok(Some((plan.action == Action::Release).then_some(scope)))
        })
    })
    .await?;
    match freed {
        None => Ok(Acted::NotRunning),
        Some(released) => {
            if let Some(scope) = released {
                // Upkeep brings back what a crash leaves here.
                holds::wake(pool, &scope).await?;
            }
            Ok(Acted::Over { done: 1 })
        }
    }
}

async fn scope(tx: &mut PgConnection, on: &On) -> Result<Option<Scope>, Error> {
    Ok(match on {
        On::Everything => Some(Scope::Everything),
        On::Sender(name) => senders::find(&mut *tx, name).await?.map(Scope::Sender),
        On::Template { sender, template, language } => senders::find(&mut *tx, sender)
            .await?
            .map(|sender| Scope::Template { sender, template: template.clone(), language: language.clone() }),
    })
}

/// A rejected event that a plan is to run again, or why not.
#[derive(Debug)]
pub struct Awaiting {
    pub id: Uuid,
    pub event: Result<Box<Kept>, Skip>,
}

/// The next of a plan's rejected events, at most `limit`. Without any the plan ends. None if it does not run, or somebody else has it in hand.
///
/// # Errors
/// If the database cannot be asked.
pub async fn awaiting(pool: &PgPool, id: i64, limit: usize) -> Result<Option<Vec<Awaiting>>, Error> {
    let ids = alone(pool, move |tx| {
        Box::pin(async move {
            let Some(plan) = take(tx, id).await? else { return Ok(None) };
            let Some((_, ids)) = first_piece(tx, id).await? else {
                end(tx, &plan).await?;
                return Ok(Some(Vec::new()));
            };
            Ok(Some(ids.into_iter().take(limit).collect::<Vec<Uuid>>()))
        })
    })
    .await?;
    let Some(ids) = ids else { return Ok(None) };
    let mut kept: HashMap<Uuid, (Kept, bool)> =
        rejected::kept(pool, &ids).await?.into_iter().map(|(kept, replayed)| (kept.id, (kept, replayed))).collect();
    let mut event = |id: &Uuid| match kept.remove(id) {
        None => Err(Skip::Gone),
        Some((_, true)) => Err(Skip::Replayed),
        Some((kept, false)) if !kept.whole => Err(Skip::BeginningOnly),
        Some((kept, false)) => Ok(Box::new(kept)),
    };
    Ok(Some(ids.into_iter().map(|id| Awaiting { id, event: event(&id) }).collect()))
}

/// Notes what running a rejected event again came to, once. Says whether the plan still runs.
///
/// # Errors
/// If the database does not take it; the event is run once more then, and known.
pub async fn replayed(
    pool: &PgPool,
    plan: i64,
    event: Uuid,
    came_to: Result<&'static str, Skip>,
) -> Result<bool, Error> {
    alone(pool, move |tx| {
        Box::pin(async move {
            // What was run is written down, also if somebody stopped the plan meanwhile.
            let Some(locked) = reading::lock(tx, plan).await? else { return Ok(false) };
            let Some((number, mut ids)) = first_piece(tx, plan).await? else { return Ok(false) };
            let before = ids.len();
            ids.retain(|id| *id != event);
            if ids.len() == before {
                return Ok(locked.course == Course::Running);
            }
            keep(tx, plan, number, &ids).await?;
            match came_to {
                Ok(came_to) => {
                    rejected::mark_replayed(&mut *tx, event, came_to).await?;
                    count(tx, &locked, 1, 0, BTreeMap::new()).await?;
                }
                Err(skip) => count(tx, &locked, 0, 0, BTreeMap::from([(skip, 1)])).await?,
            }
            crash::point("replayed");
            Ok(locked.course == Course::Running)
        })
    })
    .await
}
