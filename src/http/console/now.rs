//! How things stand: the page, and its parts as [`super::stream`] tells them.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, response::Response, routing::get};
use jiff::{Timestamp, tz::TimeZone};
use minijinja::{Value, context, value::Serde};
use serde::{Deserialize, Serialize};

use super::{
    Part,
    chart::{Chart, Series},
    live::{DAY_BIN, Picture, day_begins, minutes_ago},
    stream::{Listener, Seen},
    template, texts,
    trouble::{Asks, Trouble},
    visitor::Visitor,
};
use crate::{db::tallies::Bin, http::Desk};

pub(super) const PART: Part = Part {
    name: "now",
    templates: &[
        template!("now.html"),
        template!("now_figures.html"),
        template!("now_charts.html"),
        template!("now_senders.html"),
        template!("now_work.html"),
        template!("now_table.html"),
    ],
    texts: texts!("now"),
};

/// The parts that are told anew, and their templates.
const LIVE: [(&str, &str); 4] = [
    ("figures", "now_figures.html"),
    ("charts", "now_charts.html"),
    ("senders", "now_senders.html"),
    ("work", "now_work.html"),
];

/// What is shown of a time, with its colour.
const LINES: [&str; 3] = ["accepted", "delivered", "read"];
const BARS: [&str; 2] = ["failed", "suppressed"];

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/console/now", get(show))
        .route("/console/now/live", get(listen))
        .route("/console/now/table", get(table))
}

async fn show(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    let picture = desk.console.live.picture(&desk).await?;
    let values = values(&desk, visitor.language, &picture);
    Ok(visitor.page(&desk, "now", "now.html", values))
}

fn values(desk: &Desk, language: &str, picture: &Picture) -> Value {
    let zone = &desk.console.rules.zone;
    let chart = |id: &str, bins: &[Bin], begin: Timestamp, minutes: i32| {
        let texts = Words { desk, language };
        Value::from_safe_string(draw(&texts, id, &Times { begin, minutes, zone }, bins))
    };
    context! {
        now => picture.at.to_string(),
        picture => Serde(picture),
        hour => chart("hour", &picture.hour, minutes_ago(picture.at, 59), 1),
        day => chart("day", &picture.day, day_begins(picture.at), DAY_BIN),
        kinds => LINES.into_iter().chain(BARS).collect::<Vec<_>>(),
    }
}

struct Words<'a> {
    desk: &'a Desk,
    language: &'a str,
}

impl Words<'_> {
    fn say(&self, key: &str) -> String {
        let text = self.desk.console.shell.text(self.language, "now", key);
        text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

struct Times<'a> {
    begin: Timestamp,
    minutes: i32,
    zone: &'a TimeZone,
}

impl Times<'_> {
    fn count(&self) -> usize {
        if self.minutes == 1 { 60 } else { 96 }
    }

    fn at(&self, bin: usize) -> Timestamp {
        let seconds = i64::try_from(bin).unwrap_or(0) * i64::from(self.minutes) * 60;
        Timestamp::from_second(self.begin.as_second() + seconds).unwrap_or(self.begin)
    }

    fn clock(&self, bin: usize) -> String {
        self.at(bin).to_zoned(self.zone.clone()).strftime("%H:%M").to_string()
    }

    /// What stands under a bin: every quarter of an hour, or every four hours.
    fn tick(&self, bin: usize) -> Option<String> {
        let at = self.at(bin).to_zoned(self.zone.clone());
        let (minute, hour) = (at.minute(), at.hour());
        let stands = if self.minutes == 1 { minute % 15 == 0 } else { minute == 0 && hour % 4 == 0 };
        stands.then(|| self.clock(bin))
    }

    /// One number for each bin.
    fn numbers(&self, bins: &[Bin], kind: &str) -> Vec<i64> {
        let mut numbers = vec![0; self.count()];
        for bin in bins.iter().filter(|bin| bin.kind == kind) {
            let place = (bin.at.as_second() - self.begin.as_second()) / (i64::from(self.minutes) * 60);
            if let Some(number) = usize::try_from(place).ok().and_then(|place| numbers.get_mut(place)) {
                *number += bin.n;
            }
        }
        numbers
    }
}

fn draw(texts: &Words<'_>, id: &str, times: &Times<'_>, bins: &[Bin]) -> String {
    let title = texts.say(&format!("{id}_title"));
    let names: Vec<(&str, String, Vec<i64>)> = LINES
        .into_iter()
        .chain(BARS)
        .map(|kind| (kind, texts.say(&format!("kind_{kind}")), times.numbers(bins, kind)))
        .collect();
    let sums: Vec<String> =
        names.iter().map(|(_, name, numbers)| format!("{name} {}", numbers.iter().sum::<i64>())).collect();
    let series = |kinds: &[&str]| {
        let of = names.iter().filter(|(kind, ..)| kinds.contains(kind));
        of.map(|(kind, name, numbers)| Series { class: kind, name, numbers: numbers.clone() }).collect()
    };
    let count = times.count();
    Chart {
        id,
        title: &title,
        description: &sums.join(", "),
        ticks: (0..count).map(|bin| times.tick(bin)).collect(),
        bins: (0..count).map(|bin| times.clock(bin)).collect(),
        lines: series(&LINES),
        bars: series(&BARS),
    }
    .svg()
}

/// How often it is looked at; [`super::live`] looks once for everybody.
const EVERY: Duration = Duration::from_secs(1);

/// Tells each part of the page whenever it has changed.
async fn listen(State(desk): State<Arc<Desk>>, listener: Listener) -> Response {
    listener.tell(desk, EVERY, |desk, visitor| async move {
        let picture = desk.console.live.picture(&desk).await?;
        let values = values(&desk, visitor.language, &picture);
        let parts = LIVE.map(|(name, template)| (name, visitor.part(&desk, template, values.clone())));
        Ok(Seen { parts: parts.into(), over: false })
    })
}

#[derive(Deserialize)]
struct Span {
    #[serde(default)]
    span: String,
}

#[derive(Serialize)]
struct Row {
    at: String,
    numbers: Vec<i64>,
}

/// A chart's numbers, for who does not see it or wants them exactly.
async fn table(State(desk): State<Arc<Desk>>, visitor: Visitor, Asks(asked): Asks<Span>) -> Result<Response, Trouble> {
    let picture = desk.console.live.picture(&desk).await?;
    let zone = &desk.console.rules.zone;
    let (span, bins, times) = if asked.span == "day" {
        ("day", &picture.day, Times { begin: day_begins(picture.at), minutes: DAY_BIN, zone })
    } else {
        ("hour", &picture.hour, Times { begin: minutes_ago(picture.at, 59), minutes: 1, zone })
    };
    let kinds: Vec<&str> = LINES.into_iter().chain(BARS).collect();
    let columns: Vec<Vec<i64>> = kinds.iter().map(|kind| times.numbers(bins, kind)).collect();
    let rows: Vec<Row> = (0..times.count())
        .rev()
        .map(|bin| Row {
            at: times.clock(bin),
            numbers: columns.iter().map(|column| column.get(bin).copied().unwrap_or(0)).collect(),
        })
        .collect();
    Ok(visitor.page(&desk, "now", "now_table.html", context! { span, kinds, rows => Serde(&rows) }))
}
