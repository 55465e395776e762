//! How a template's places are numbered at Twilio, whose contents know variables by numbers alone: from 1, first the header's, then the
//! body's in the order of the text, then the buttons' in the order of their places. What is made at Twilio and what is sent agree
//! because both go through here.

use serde::ser::{SerializeMap, Serializer};

use crate::{
    domain::{
        message::{ButtonValue, Filled, Header, Parameter, Value},
        notification::Reason,
    },
    provider::reason,
};

/// A place of a template that is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The header's text, or the address of its media.
    Header,
    /// The `n`-th of the body's placeholders, from 0, each counted where it stands first.
    Body(usize),
    /// The suffix, payload or code of the button at this place, counted from 0 over all buttons.
    Button(u8),
}

/// A number, the place that it stands for, and the value there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable<'a> {
    pub number: u16,
    pub place: Place,
    pub value: &'a str,
}

/// The variables of a template with these values, in the order of their numbers.
///
/// # Errors
/// If Twilio has no content with such a place: a location in the header, which has several values.
pub fn variables(filled: &Filled) -> Result<Vec<Variable<'_>>, Reason> {
    let header = match &filled.header {
        None => None,
        Some(Header::Text(parameter)) => Some(shown(parameter)),
        Some(Header::Image { link } | Header::Video { link } | Header::Document { link, .. }) => Some(link.as_str()),
        Some(Header::Location { .. }) => return Err(reason::TEMPLATE_UNAVAILABLE),
    };
    let body = filled.body.iter().enumerate().map(|(n, parameter)| (Place::Body(n), shown(parameter)));
    let mut buttons: Vec<_> = filled.buttons.iter().collect();
    buttons.sort_unstable_by_key(|button| button.index);
    let buttons = buttons.into_iter().map(|button| {
        let (ButtonValue::UrlSuffix(value) | ButtonValue::Payload(value) | ButtonValue::CopyCode(value)) =
            &button.value;
        (Place::Button(button.index), value.as_str())
    });
    let all = header.map(|value| (Place::Header, value)).into_iter().chain(body).chain(buttons);
    Ok((1..).zip(all).map(|(number, (place, value))| Variable { number, place, value }).collect())
}

/// `ContentVariables`: an object from numbers to texts, as a JSON text. `None` if there is nothing to fill in.
///
/// # Errors
/// As [`variables`].
pub fn content_variables(filled: &Filled) -> Result<Option<String>, Reason> {
    let variables = variables(filled)?;
    if variables.is_empty() {
        return Ok(None);
    }
    let mut json = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::new(&mut json);
    let written = serializer.serialize_map(Some(variables.len())).and_then(|mut map| {
        for variable in &variables {
            map.serialize_entry(&variable.number.to_string(), variable.value)?;
        }
        map.end()
    });
    // Strings always make JSON.
    written.ok().and_then(|()| String::from_utf8(json).ok()).map(Some).ok_or(reason::TEMPLATE_UNAVAILABLE)
}

fn shown(parameter: &Parameter) -> &str {
    match &parameter.value {
        Value::Text(text) => text,
        Value::Currency { fallback, .. } | Value::DateTime { fallback } => fallback,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::Button;

    fn text(name: Option<&str>, text: &str) -> Parameter {
        Parameter { name: name.map(str::to_owned), value: Value::Text(text.to_owned()) }
    }

    #[test]
    fn numbers_go_through_header_body_and_buttons() {
        let filled = Filled {
            header: Some(Header::Text(text(Some("number"), "#1234"))),
            body: vec![
                text(Some("first_name"), "Ana \"la\" Ñ"),
                Parameter {
                    name: Some("total".to_owned()),
                    value: Value::Currency { fallback: "12,50 €".into(), code: "EUR".into(), amount_1000: 12_500 },
                },
            ],
            buttons: vec![
                Button { index: 2, value: ButtonValue::Payload("optout:orders".to_owned()) },
                Button { index: 0, value: ButtonValue::UrlSuffix("track%2F1234".to_owned()) },
            ],
        };
        let places: Vec<_> = variables(&filled).unwrap().into_iter().map(|v| (v.number, v.place)).collect();
        let expected = [Place::Header, Place::Body(0), Place::Body(1), Place::Button(0), Place::Button(2)];
        assert_eq!(places, (1..).zip(expected).collect::<Vec<_>>());
        assert_eq!(
            content_variables(&filled).unwrap().as_deref(),
            Some(r##"{"1":"#1234","2":"Ana \"la\" Ñ","3":"12,50 €","4":"track%2F1234","5":"optout:orders"}"##)
        );
    }

    #[test]
    fn a_template_without_values_has_no_variables_and_a_location_cannot_be_said() {
        let none = Filled { header: None, body: Vec::new(), buttons: Vec::new() };
        assert_eq!(content_variables(&none), Ok(None));
        let [latitude, longitude, name, address] = ["40.4", "-3.7", "Tienda", "Calle Mayor 1"].map(str::to_owned);
        let place = Filled { header: Some(Header::Location { latitude, longitude, name, address }), ..none };
        assert_eq!(content_variables(&place), Err(reason::TEMPLATE_UNAVAILABLE));
    }
}
