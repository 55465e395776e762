//! What a business may do to its templates, and what Meta makes of it: new ones, edits and their limits, deletion, the review that
//! comes after (for Twilio's content too), another category, quality.
//!
//! What a template's components promise is `templates`'.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::management::Ask;
use super::refusal::Refusal;
use super::templates::{Approval, Template};
use super::twilio::Stage;
use super::webhooks::{Update, put};
use super::world::World;

const HOUR_MS: i64 = 3_600_000;
/// An approved template may be edited so often.
const EDITS_A_DAY: usize = 1;
const EDITS_A_MONTH: usize = 10;
/// The name of a deleted template is locked so long.
const LOCKED_MS: i64 = 30 * 24 * HOUR_MS;
/// Templates of an account that is verified.
const TEMPLATES_MAX: usize = 6_000;

/// How Meta reviews, and what it remembers of templates that are gone.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// What is new or edited is approved after so long; by hand, if none.
    after_ms: Option<u64>,
    /// What utility templates are made into when they are created.
    counts_as: Option<String>,
    /// The names of deleted templates and until when they are locked, Unix ms.
    locked: BTreeMap<String, i64>,
    /// When the earliest review is over, Unix ms.
    due: Option<i64>,
}

impl World {
    /// From now on what is new or edited is approved after so long; by hand (`set_template_status`), if none.
    pub fn review_after(&self, ms: Option<u64>) {
        self.state().desk.after_ms = ms;
    }

    /// From now on new utility templates are counted as this category; as asked for, if none.
    pub fn count_new_templates_as(&self, category: Option<&str>) {
        self.state().desk.counts_as = category.map(str::to_owned);
    }

    /// Moves a template to another category, and sends the news. False if there is no such template.
    pub fn recategorise(&self, name: &str, language: &str, category: &str) -> bool {
        let Some((id, previous)) = self.with_template(name, language, |template| {
            (template.id, std::mem::replace(&mut template.category, category.to_owned()))
        }) else {
            return false;
        };
        let mut value = about(id, name, language);
        put(&mut value, "previous_category", previous.into());
        put(&mut value, "new_category", category.into());
        self.news("template_category_update", value);
        true
    }

    /// Sets a template's quality, and sends the news. False if there is no such template.
    pub fn set_template_quality(&self, name: &str, language: &str, score: &str) -> bool {
        let Some((id, previous)) = self.with_template(name, language, |template| {
            (template.id, std::mem::replace(&mut template.quality, score.to_owned()))
        }) else {
            return false;
        };
        let mut value = about(id, name, language);
        put(&mut value, "previous_quality_score", previous.into());
        put(&mut value, "new_quality_score", score.into());
        self.news("message_template_quality_update", value);
        true
    }

    /// Approves what was reviewed long enough.
    pub(super) fn end_reviews(&self) {
        let now = self.now_ms();
        let mut state = self.state();
        if state.desk.due.is_none_or(|due| due > now) {
            return;
        }
        let mut next = None;
        for template in state.templates.values_mut().flat_map(BTreeMap::values_mut) {
            match template.reviewed_at {
                Some(at) if at <= now => {
                    template.reviewed_at = None;
                    template.status = Approval::Approved;
                }
                Some(at) => next = Some(next.map_or(at, |next: i64| next.min(at))),
                None => {}
            }
        }
        for review in state.exchange.reviews() {
            match review.ends {
                Some(at) if at <= now => review.set(Stage::Approved),
                Some(at) => next = Some(next.map_or(at, |next: i64| next.min(at))),
                None => {}
            }
        }
        state.desk.due = next;
    }

    fn with_template<T>(&self, name: &str, language: &str, change: impl FnOnce(&mut Template) -> T) -> Option<T> {
        self.state().templates.get_mut(name).and_then(|languages| languages.get_mut(language)).map(change)
    }

    /// When the review ends of what is submitted now, if it ends by itself.
    pub(super) fn review_ends(&self) -> Option<i64> {
        let now = self.now_ms();
        let mut state = self.state();
        let at = now + i64::try_from(state.desk.after_ms?).unwrap_or(i64::MAX / 2);
        state.desk.due = Some(state.desk.due.map_or(at, |due| due.min(at)));
        Some(at)
    }

    /// Begins the review of a template: the news of its end is on its way.
    fn review(&self, name: &str, language: &str) {
        let Some(at) = self.review_ends() else { return };
        let after = u64::try_from(at - self.now_ms()).unwrap_or(0);
        let mut state = self.state();
        let Some(template) = state.templates.get_mut(name).and_then(|languages| languages.get_mut(language)) else {
            return;
        };
        template.reviewed_at = Some(at);
        let mut value = about(template.id, name, language);
        put(&mut value, "event", "APPROVED".into());
        put(&mut value, "reason", "NONE".into());
        put(&mut value, "message_template_category", template.category.clone().into());
        drop(state);
        let field = "message_template_status_update".to_owned();
        self.outbox.schedule(vec![(after, Update::Field { field, value, at: Some(at / 1_000) })]);
    }
}

fn about(id: u64, name: &str, language: &str) -> Value {
    json!({"message_template_id": id, "message_template_name": name, "message_template_language": language})
}

/// `POST /{waba}/message_templates`.
pub(super) fn create(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let mut json = body(ask)?;
    let named = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, language, mut category) = (named("name"), named("language"), named("category").to_ascii_uppercase());
    {
        let state = world.state();
        if state.templates.get(&name).is_some_and(|languages| languages.contains_key(&language)) {
            return Err(Refusal::new(100, "There is already a template of this name and language").subcode(2_388_024));
        }
        if state.desk.locked.get(&name).is_some_and(|until| *until > world.now_ms()) {
            return Err(Refusal::new(100, "A template of this name was deleted; the name is locked for 30 days")
                .subcode(2_388_023));
        }
        if state.templates.values().map(BTreeMap::len).sum::<usize>() >= TEMPLATES_MAX {
            return Err(Refusal::new(100, "The account has as many templates as it may").subcode(2_388_019));
        }
        if let (Some(other), "UTILITY") = (&state.desk.counts_as, category.as_str()) {
            category.clone_from(other);
        }
    }
    put(&mut json, "status", json!(Approval::Pending));
    put(&mut json, "category", category.as_str().into());
    let id = world.add_template(&json).map_err(|why| Refusal::new(100, why))?;
    world.review(&name, &language);
    Ok(json!({"id": id.to_string(), "status": "PENDING", "category": category}))
}

/// `POST /{template}` and `POST /{template}/unpause`.
pub(super) fn change(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let found = world
        .state()
        .templates
        .values()
        .flat_map(BTreeMap::values)
        .find(|template| template.id.to_string() == ask.node)
        .map(|template| (template.name.clone(), template.language.clone()));
    let (name, language) = found.ok_or_else(|| super::accept::unknown_object(ask.node))?;
    if ask.edge == "unpause" {
        let paused = world.with_template(&name, &language, |template| template.status == Approval::Paused);
        if paused != Some(true) {
            return Err(Refusal::new(100, "The template is not paused"));
        }
        world.set_template_status(&name, &language, Approval::Approved);
        return Ok(json!({"success": true}));
    }
    let json = body(ask)?;
    let now = world.now_ms();
    let edited = world.with_template(&name, &language, |template| edit(template, &json, now));
    let id = edited.ok_or_else(|| super::accept::unknown_object(ask.node))??;
    world.news("message_template_components_update", about(id, &name, &language));
    world.review(&name, &language);
    Ok(json!({"success": true}))
}

fn edit(template: &mut Template, json: &Value, now: i64) -> Result<u64, Refusal> {
    let refused = |why: &str| Err(Refusal::new(100, why).subcode(2_388_040));
    let approved = template.status == Approval::Approved;
    if !matches!(template.status, Approval::Approved | Approval::Rejected | Approval::Paused) {
        return refused("Only approved, rejected and paused templates can be edited");
    }
    let category = json.get("category").and_then(Value::as_str).map(str::to_ascii_uppercase);
    if approved && category.as_ref().is_some_and(|category| *category != template.category) {
        return refused("The category of an approved template cannot be changed");
    }
    let lately = |hours: i64| template.edits.iter().filter(|at| **at > now - hours * HOUR_MS).count();
    if approved && (lately(24) >= EDITS_A_DAY || lately(30 * 24) >= EDITS_A_MONTH) {
        return refused("An approved template can be edited once in 24 hours and ten times in 30 days");
    }
    let components = json.get("components").cloned().unwrap_or_else(|| template.components.clone());
    let mut whole = template.show(None);
    put(&mut whole, "components", components);
    put(&mut whole, "status", json!(Approval::Pending));
    if let Some(category) = category {
        put(&mut whole, "category", category.into());
    }
    let mut read = Template::read(&whole, template.id).map_err(|why| Refusal::new(100, why))?;
    read.quality.clone_from(&template.quality);
    read.edits.clone_from(&template.edits);
    if approved {
        read.edits.push(now);
    }
    *template = read;
    Ok(template.id)
}

/// `DELETE /{waba}/message_templates`: by name in all languages, or by name and id.
pub(super) fn delete(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let name = ask.param("name").ok_or_else(|| Refusal::new(100, "name is missing"))?;
    let unknown = || Refusal::new(100, "There is no template of this name");
    let only = ask.param("hsm_id");
    let now = world.now_ms();
    let mut state = world.state();
    let languages = state.templates.get_mut(&name).ok_or_else(unknown)?;
    let before = languages.len();
    languages.retain(|_, template| only.as_ref().is_some_and(|id| template.id.to_string() != *id));
    if languages.len() == before {
        return Err(unknown());
    }
    if languages.is_empty() {
        state.templates.remove(&name);
        state.desk.locked.insert(name, now + LOCKED_MS);
    }
    Ok(json!({"success": true}))
}

fn body(ask: &Ask<'_>) -> Result<Value, Refusal> {
    debug_assert!(*ask.method == Method::POST);
    serde_json::from_slice(ask.body).map_err(|_| Refusal::new(100, "The body is not valid JSON"))
}
