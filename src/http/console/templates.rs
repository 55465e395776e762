//! What each template says, with its example filled in, and how it stands in each language at each sender.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use super::{Part, template, texts, trouble::Trouble, visitor::Visitor};
use crate::{
    db::{
        holds::{self, InForce},
        templates::{self, Standing},
        versions::{self, Version},
    },
    domain::template::{Catalogue, Definition, Heading, Reading, Template, formatted},
    http::Desk,
};

pub(super) const PART: Part = Part {
    name: "templates",
    templates: &[template!("templates.html"), template!("template.html"), template!("template_kit.html")],
    texts: texts!("templates"),
};

pub(super) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/console/templates", get(list)).route("/console/templates/{name}", get(one))
}

/// A message drawn: texts are HTML.
#[derive(Debug, Serialize)]
struct Bubble {
    header: Option<String>,
    body: String,
    footer: Option<String>,
    buttons: Vec<String>,
}

/// A template in one language.
#[derive(Debug, Default, Serialize)]
struct Language<'a> {
    code: &'a str,
    /// As HTML names it.
    lang: String,
    /// As our file says it, with its example; as the provider has it, if no file does.
    bubble: Option<Bubble>,
    senders: Vec<AtSender<'a>>,
}

/// How it stands at one sender.
#[derive(Debug, Serialize)]
struct AtSender<'a> {
    #[serde(flatten)]
    standing: &'a Standing,
    held: Vec<&'a InForce>,
    version: Option<i32>,
    /// Our file says something else than the provider has.
    drifted: bool,
    /// What the provider has then.
    theirs: Option<Bubble>,
}

async fn list(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Response, Trouble> {
    let values = context! { groups => groups(&desk, None).await? };
    Ok(visitor.page(&desk, "templates", "templates.html", values))
}

async fn one(State(desk): State<Arc<Desk>>, visitor: Visitor, Path(name): Path<String>) -> Result<Response, Trouble> {
    let group = groups(&desk, Some(&name)).await?.pop().ok_or(Trouble::Unknown)?;
    Ok(visitor.page(&desk, "templates", "template.html", context! { group }))
}

/// All templates, or only this one, by name; with what they say only if it is one.
async fn groups(desk: &Desk, only: Option<&str>) -> Result<Vec<Value>, Trouble> {
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let pool = &desk.doors.pools.ops;
    let mut known = templates::list(pool).await?;
    known.retain(|one| desk.doors.senders.contains_key(&one.sender) && wanted(&one.template));
    let versions = versions::at_providers(pool).await?;
    let holds = holds::in_force(pool).await?;
    let catalogue = &desk.doors.events.inbox.reader.catalogue;

    let mut all: BTreeMap<&str, BTreeMap<&str, Language<'_>>> = BTreeMap::new();
    for template in catalogue.templates().iter().filter(|template| wanted(template.name())) {
        let languages = all.entry(template.name()).or_default();
        for code in template.languages() {
            let bubble = only.and_then(|_| example(catalogue, template, code));
            languages.insert(code, Language::of(code, bubble));
        }
    }
    for standing in &known {
        let version = standing.version.and_then(|id| versions.iter().find(|version| version.id == id));
        let languages = all.entry(&standing.template).or_default();
        let language = languages
            .entry(&standing.language)
            .or_insert_with(|| Language::of(&standing.language, version.map(|version| marked(&version.definition))));
        language.senders.push(AtSender::of(standing, version, &holds));
    }
    Ok(all
        .iter()
        .map(|(name, languages)| {
            let ours = catalogue.template(name).map(Template::event_type);
            context! { name => *name, event => ours, languages => Serde(&languages.values().collect::<Vec<_>>()) }
        })
        .collect())
}

impl<'a> Language<'a> {
    fn of(code: &'a str, bubble: Option<Bubble>) -> Language<'a> {
        Language { code, lang: code.replace('_', "-"), bubble, senders: Vec::new() }
    }
}

impl<'a> AtSender<'a> {
    fn of(standing: &'a Standing, version: Option<&Version>, holds: &'a [InForce]) -> AtSender<'a> {
        let concerns = |hold: &&InForce| {
            hold.template.as_ref() == Some(&standing.template)
                && hold.sender.as_ref() == Some(&standing.sender)
                && hold.language.as_ref().is_none_or(|language| *language == standing.language)
        };
        let drifted = standing.drifted_from.is_some();
        AtSender {
            standing,
            held: holds.iter().filter(concerns).collect(),
            version: version.map(|version| version.number),
            drifted,
            theirs: version.filter(|_| drifted).map(|version| marked(&version.definition)),
        }
    }
}

/// What a person would read of the template's own example.
fn example(catalogue: &Catalogue, template: &Template, language: &str) -> Option<Bubble> {
    let reading = template.reading(language, &catalogue.fill_example(template, language)?)?;
    let Reading { header, body, footer, buttons } = reading;
    Some(Bubble {
        header: header.as_deref().map(formatted),
        body: formatted(&body),
        footer,
        buttons: buttons.into_iter().map(|button| button.text).collect(),
    })
}

/// A definition; what a message fills in is marked.
fn marked(of: &Definition) -> Bubble {
    let marked = |text: &str| formatted(text).replace("{{", "<mark>").replace("}}", "</mark>");
    Bubble {
        header: of.header.as_ref().map(|header| match header {
            Heading::Text(text) => marked(text),
            Heading::Media(kind) => format!("[{}]", formatted(kind)),
        }),
        body: marked(&of.body),
        footer: of.footer.clone(),
        buttons: of.buttons.iter().map(|button| button.text.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_fills_in_is_marked_and_nothing_becomes_markup() {
        let of = Definition {
            header: Some(Heading::Media("image".to_owned())),
            body: "*Hi* {{name}}, <b>{{order_number}}</b>".to_owned(),
            ..Definition::default()
        };
        let drawn = marked(&of);
        assert_eq!(drawn.header.as_deref(), Some("[image]"));
        assert_eq!(drawn.body, "<b>Hi</b> <mark>name</mark>, &lt;b&gt;<mark>order_number</mark>&lt;/b&gt;");
    }
}
