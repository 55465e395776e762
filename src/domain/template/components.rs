//! A template as Meta's `message_templates` API lists and takes it: for `templates sync` and `push`.

use serde_json::{Map, Value, json};

use super::{Action, Catalogue, Header, Language, Template, fill::shown, judge::example_event};
use crate::domain::{
    event::{Event, Rejection},
    expression::{self, Scope, Zones},
    message::{self, ButtonValue, Filled},
};

impl Catalogue {
    /// The example of `template`, filled in. `None` if it has no such language; a catalogue that was loaded fills its examples.
    #[must_use]
    pub fn fill_example(&self, template: &Template, language: &str) -> Option<Filled> {
        self.fill_event(template, language, &example_event(&template.event_type, &template.example))?.ok()
    }

    /// `template` filled in for an event of its type. `None` if it has no such language.
    ///
    /// # Errors
    /// If the event lacks what the message needs.
    pub fn fill_event(&self, template: &Template, language: &str, event: &Event) -> Option<Result<Filled, Rejection>> {
        let language = template.language(language)?;
        let zones = Zones { person: None, default: self.default_zone.clone() };
        let data = expression::value_of(&event.data);
        let scope = Scope::of_event(expression::attributes(event), data, &language.locale, &zones);
        Some(template.fill(language, &scope))
    }

    /// `{name, language, category, parameter_format, components}` with examples. A media header's example is the link;
    /// Meta wants the handle of an upload in its place.
    #[must_use]
    pub fn meta_template(&self, template: &Template, language: &str) -> Option<Value> {
        let filled = self.fill_example(template, language)?;
        let language = template.language(language)?;
        Some(json!({
            "name": template.name,
            "language": language.code,
            "category": template.category.as_str(),
            "parameter_format": if template.named { "NAMED" } else { "POSITIONAL" },
            "components": components(template, language, &filled),
        }))
    }
}

fn components(template: &Template, language: &Language, filled: &Filled) -> Vec<Value> {
    let mut components = Vec::new();
    components.extend(language.header.as_ref().map(|header| header_component(header, filled)));
    components.push(body_component(template, language, filled));
    components.extend(language.footer.as_ref().map(|footer| json!({ "type": "FOOTER", "text": footer })));
    if !language.buttons.is_empty() {
        let buttons: Vec<Value> =
            (0_u8..).zip(&language.buttons).map(|(i, button)| button_component(i, button, filled)).collect();
        components.push(json!({ "type": "BUTTONS", "buttons": buttons }));
    }
    components
}

fn header_component(header: &Header, filled: &Filled) -> Value {
    let media = |format: &str, link: Option<&str>| json!({ "type": "HEADER", "format": format, "example": { "header_handle": [link] } });
    let link = filled.header.as_ref().and_then(|header| match header {
        message::Header::Image { link } | message::Header::Video { link } | message::Header::Document { link, .. } => {
            Some(link.as_str())
        }
        message::Header::Text(_) | message::Header::Location { .. } => None,
    });
    match header {
        Header::Image { .. } => media("IMAGE", link),
        Header::Video { .. } => media("VIDEO", link),
        Header::Document { .. } => media("DOCUMENT", link),
        Header::Location { .. } => json!({ "type": "HEADER", "format": "LOCATION" }),
        Header::Text { text, .. } => {
            let mut component = json!({ "type": "HEADER", "format": "TEXT", "text": text.source() });
            if let (Some(message::Header::Text(parameter)), Some(members)) = (&filled.header, component.as_object_mut())
            {
                let example = shown(&parameter.value);
                let example = match &parameter.name {
                    Some(name) => json!({ "header_text_named_params": [{ "param_name": name, "example": example }] }),
                    None => json!({ "header_text": [example] }),
                };
                members.insert("example".into(), example);
            }
            component
        }
    }
}

fn body_component(template: &Template, language: &Language, filled: &Filled) -> Value {
    let mut component = Map::new();
    component.insert("type".into(), "BODY".into());
    component.insert("text".into(), language.body.source().into());
    if !filled.body.is_empty() {
        let example = if template.named {
            let named = |p: &message::Parameter| json!({ "param_name": p.name, "example": shown(&p.value) });
            json!({ "body_text_named_params": filled.body.iter().map(named).collect::<Vec<_>>() })
        } else {
            json!({ "body_text": [filled.body.iter().map(|p| shown(&p.value)).collect::<Vec<_>>()] })
        };
        component.insert("example".into(), example);
    }
    Value::Object(component)
}

fn button_component(index: u8, button: &super::Button, filled: &Filled) -> Value {
    let value = filled.buttons.iter().find(|b| b.index == index).map(|b| &b.value);
    let kind = button.action.meta_type();
    match (&button.action, value) {
        (Action::QuickReply { .. }, _) => json!({ "type": kind, "text": button.text }),
        (Action::Phone { number }, _) => json!({ "type": kind, "text": button.text, "phone_number": number }),
        (Action::Url { base, .. }, Some(ButtonValue::UrlSuffix(suffix))) => {
            json!({ "type": kind, "text": button.text, "url": format!("{base}{{{{1}}}}"), "example": [format!("{base}{suffix}")] })
        }
        (Action::Url { base, .. }, _) => json!({ "type": kind, "text": button.text, "url": base }),
        (Action::CopyCode { .. }, Some(ButtonValue::CopyCode(code))) => json!({ "type": kind, "example": code }),
        (Action::CopyCode { .. }, _) => json!({ "type": kind }),
    }
}
