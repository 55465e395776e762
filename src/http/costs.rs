//! What messages cost, as the API and `recado costs` show it. Names nobody, so every key may see it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Desk, Problem, auth::Caller};
use crate::{
    db::costs::{self, By, Sum},
    domain::{
        cost::day,
        money::{Currency, decimal},
    },
};

/// The most days that are asked for at once.
const DAYS_MAX: i32 = 400;

/// What sums can be told apart by.
pub const GROUPS: [&str; 5] = ["day", "sender", "template", "country", "category"];

/// Sums of some days, as they are shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Costs {
    pub from: Date,
    /// The last day that is counted.
    pub to: Date,
    pub costs: Vec<Line>,
    /// One for each currency.
    pub total: Vec<Line>,
}

/// One sum. Amounts are decimal numbers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CostLine)]
pub struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Empty if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// None for what no price list knows.
    pub currency: Option<String>,
    pub messages: i64,
    /// Messages for which no price list had a price when they went.
    pub unpriced: i64,
    pub predicted: String,
    /// Messages of which it is known what they cost, and their share of all.
    pub known: i64,
    pub known_share: f64,
    /// What those were predicted to cost, to compare with what they did.
    pub predicted_of_known: String,
    pub actual: String,
}

impl Line {
    fn of(sum: Sum) -> Line {
        Line {
            day: sum.day,
            sender: sum.sender,
            template: sum.template,
            country: sum.country,
            category: sum.category,
            currency: sum.currency.map(|currency| currency.as_str().to_owned()),
            messages: sum.messages,
            unpriced: sum.unpriced,
            predicted: decimal(sum.predicted),
            known: sum.known,
            known_share: if sum.messages > 0 { sum.known as f64 / sum.messages as f64 } else { 0.0 },
            predicted_of_known: decimal(sum.known_predicted),
            actual: decimal(sum.actual),
        }
    }
}

impl Costs {
    #[must_use]
    pub fn of(from: Date, to: Date, sums: Vec<Sum>) -> Costs {
        let mut totals: BTreeMap<Option<Currency>, Sum> = BTreeMap::new();
        for sum in &sums {
            let nothing = Sum { currency: sum.currency, ..Sum::default() };
            let total = totals.entry(sum.currency).or_insert(nothing);
            total.messages += sum.messages;
            total.unpriced += sum.unpriced;
            total.predicted += sum.predicted;
            total.known += sum.known;
            total.known_predicted += sum.known_predicted;
            total.actual += sum.actual;
        }
        let lines = |sums: Vec<Sum>| sums.into_iter().map(Line::of).collect();
        Costs { from, to, costs: lines(sums), total: lines(totals.into_values().collect()) }
    }
}

/// Reads what sums are to be told apart by: names with commas between them.
///
/// # Errors
/// With a sentence that says which there are.
pub fn by(text: &str) -> Result<By, String> {
    let mut by = By::default();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "day" => by.day = true,
            "sender" => by.sender = true,
            "template" => by.template = true,
            "country" => by.country = true,
            "category" => by.category = true,
            _ => return Err(format!("by has one or more of {}, with commas between them.", GROUPS.join(", "))),
        }
    }
    Ok(by)
}

/// The days that are meant: this month until `today`, if nothing is said.
///
/// # Errors
/// With a sentence that says what is wrong.
pub fn range(from: Option<&str>, to: Option<&str>, today: Date) -> Result<(Date, Date), String> {
    let read = |name: &str, text: Option<&str>| match text {
        Some(text) => text.parse::<Date>().map(Some).map_err(|_| format!("{name} is a day like 2026-11-22.")),
        None => Ok(None),
    };
    let to = read("to", to)?.unwrap_or(today);
    let from = read("from", from)?.unwrap_or_else(|| to.first_of_month());
    if from > to {
        return Err("from is a day before to, or the same.".to_owned());
    }
    if (to - from).get_days() >= DAYS_MAX {
        return Err(format!("from and to are less than {DAYS_MAX} days apart."));
    }
    Ok((from, to))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The first day (of UTC); the first of the month if nothing is said.
    #[param(format = Date, example = "2026-11-01")]
    from: Option<String>,
    /// The last day; today if nothing is said.
    #[param(format = Date, example = "2026-11-30")]
    to: Option<String>,
    /// What sums are told apart by: one or more of day, sender, template, country and category, with commas between them; `day` if nothing is said, one sum if it is empty.
    #[param(
        pattern = "^ *(day|sender|template|country|category)?( *, *(day|sender|template|country|category)?)* *$",
        example = "day,template"
    )]
    by: Option<String>,
}

#[utoipa::path(get, path = "/v1/costs", tag = "Costs", operation_id = "listCosts", summary = "What messages cost", params(Asked),
    responses((status = 200, description = "Sums of these days.", body = Costs)))]
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    _: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Costs>, Problem> {
    let Ok(Query(asked)) = asked else {
        return Err(Problem::bad("There are: from and to (days), and by, each once."));
    };
    let today = day(desk.doors.clock.now());
    let (from, to) = range(asked.from.as_deref(), asked.to.as_deref(), today).map_err(Problem::unfit)?;
    let by = by(asked.by.as_deref().unwrap_or("day")).map_err(Problem::unfit)?;
    Ok(Json(Costs::of(from, to, costs::sums(&desk.doors.pools.ops, from, to, by).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_are_this_month_if_nobody_says_otherwise() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let today = day("2026-11-22");
        assert_eq!(range(None, None, today), Ok((day("2026-11-01"), today)));
        assert_eq!(range(Some("2026-10-05"), None, today), Ok((day("2026-10-05"), today)));
        assert_eq!(range(None, Some("2026-09-10"), today), Ok((day("2026-09-01"), day("2026-09-10"))));
        for (from, to) in [(Some("yesterday"), None), (Some("2026-11-23"), None), (Some("2020-01-01"), None)] {
            assert!(range(from, to, today).is_err(), "{from:?}");
        }
    }

    #[test]
    fn sums_are_told_apart_by_what_is_named() {
        assert_eq!(by("day, template").unwrap(), By { day: true, template: true, ..By::default() });
        assert_eq!(by("").unwrap(), By::default());
        assert_eq!(
            by("person").unwrap_err(),
            "by has one or more of day, sender, template, country, category, with commas between them."
        );
    }
}
