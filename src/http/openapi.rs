//! What the HTTP side is, as an OpenAPI document: made from the handlers and what they answer, served, printed, and compared with the
//! router in the tests.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use utoipa::{
    Modify, OpenApi, ToResponse, ToSchema,
    openapi::{
        Content, HeaderBuilder, HttpMethod, KnownFormat, Object, ObjectBuilder, OneOf, Ref, RefOr, Required,
        ResponseBuilder, Schema, SchemaFormat, Type,
        header::Header,
        path::{Operation, ParameterBuilder, ParameterIn},
        schema::AdditionalProperties,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use uuid::Uuid;

use super::{
    audit, costs, events, health, holds, idempotency, notifications, optin, plans, rejected, senders, webhooks,
};

/// What went wrong with a request (RFC 9457). Never repeats what the request said.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it describes what Problem writes")]
pub(super) struct Described {
    #[schema(example = "urn:recado:problem:bad-request")]
    r#type: String,
    #[schema(example = "Bad Request")]
    title: String,
    #[schema(example = 400)]
    status: u16,
    /// A sentence: what is wrong, and the cure.
    detail: String,
    /// Of an event that was refused: a stable name.
    #[schema(example = "missing_attribute")]
    reason: Option<String>,
    /// Of an event that was refused: where it is kept.
    rejected_event: Option<Uuid>,
}

/// There is nothing of that name.
#[derive(ToResponse)]
#[response(description = "There is nothing of this name.", content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes an answer")]
pub(super) struct NotFound(#[to_schema] Described);

/// What was brought is no event.
#[derive(ToResponse)]
#[response(
    description = "It is no event (and kept among the rejected events), too large to be one, or this Idempotency-Key was used for another request.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "it describes an answer")]
pub(super) struct Unusable(Described);

/// An event: CloudEvents 1.0, in JSON. Other extension attributes are allowed and ignored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what domain::event reads")]
pub(super) struct Event {
    #[schema(pattern = "^1\\.0$")]
    specversion: String,
    /// With `source` its identity: it counts once.
    #[schema(min_length = 1, max_length = 256)]
    id: String,
    #[schema(min_length = 1, max_length = 512)]
    source: String,
    #[schema(min_length = 1, max_length = 256)]
    r#type: String,
    /// Messages of one subject keep their order.
    #[schema(min_length = 1, max_length = 512)]
    subject: Option<String>,
    /// When it happened; when it came, if it does not say.
    #[schema(format = DateTime)]
    time: Option<String>,
    /// Nothing about it goes out after that.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// A telephone number that goes before `data.customer.phone`.
    recipient: Option<String>,
    traceparent: Option<String>,
    datacontenttype: Option<String>,
    /// What it is about, as its type has it: `templates/events/`.
    data: Option<Object>,
}

/// An event that a catalogue with `order.confirmed` takes.
pub(super) fn example() -> Value {
    json!({
        "specversion": "1.0",
        "id": "order-1001-confirmed",
        "source": "/shop",
        "type": "order.confirmed",
        "subject": "order:1001",
        "time": "2026-11-22T20:00:00Z",
        "data": {
            "customer": {"name": "Ana", "phone": "+34600111222", "locale": "es"},
            "order": {"number": "1001", "total": {"amount": "59.90", "currency": "EUR"}},
        },
    })
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Recado",
        description = "Delivers a shop's order and shipping notifications on WhatsApp. The pages for people and the console are not described here.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    servers((url = "/", description = "Where `http.listen` is, or `http.public_url`.")),
    security(("key" = [])),
    paths(
        notifications::list, notifications::one, audit::list, costs::list, rejected::list, senders::list, holds::list, holds::place, holds::release,
        plans::make, plans::list, plans::one, plans::run, plans::stop,
        events::bring, events::bring_own, optin::api::ask, optin::api::one, optin::api::revoke, optin::api::preferences_link,
        webhooks::verify, webhooks::receive, health::alive, health::ready, serve,
    ),
    components(schemas(Described), responses(NotFound, Unusable)),
    modifiers(&Common)
)]
struct Api;

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// The document as text, for people and programs.
#[must_use]
pub fn text() -> String {
    // What it is made of has no keys that are no texts.
    document().to_pretty_json().unwrap_or_default()
}

#[utoipa::path(get, path = "/v1/openapi.json", tag = "This document", operation_id = "describe", summary = "This document",
    security(()), responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text()).into_response()
}

/// What holds for all addresses of a kind is said once.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("rk_…")
            .description(Some("A key that `recado keys create` made. Its role says what it may do: a producer publishes, a viewer looks and sees no numbers, an operator acts."))
            .build();
        let components = api.components.get_or_insert_default();
        components.security_schemes.insert("key".to_owned(), RefOr::T(SecurityScheme::Http(key)));
        if let Some(RefOr::T(Schema::OneOf(kinds))) = components.schemas.get_mut("HoldWanted") {
            refuse_strangers(kinds);
        }
        for (path, item) in &mut api.paths.paths {
            let reads = item.get.as_mut().map(|operation| (HttpMethod::Get, operation));
            let posts = item.post.as_mut().map(|operation| (HttpMethod::Post, operation));
            let deletes = item.delete.as_mut().map(|operation| (HttpMethod::Delete, operation));
            for (method, operation) in reads.into_iter().chain(posts).chain(deletes) {
                describe(path, &method, operation);
            }
        }
    }
}

/// The kinds of a `oneOf` take what they describe and no more; utoipa says that of structs alone.
fn refuse_strangers(kinds: &mut OneOf) {
    for kind in &mut kinds.items {
        if let RefOr::T(Schema::Object(object)) = kind {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

fn describe(path: &str, method: &HttpMethod, operation: &mut Operation) {
    answers(operation, "500", "A mistake of ours. It is in the log.", false);
    if path == "/healthz" || path.ends_with("openapi.json") {
        return;
    }
    answers(operation, "503", "The database does not answer just now, or this took too long; ask again.", true);
    if !path.starts_with("/v1/") {
        answers(operation, "400", "Something about the request cannot be.", false);
        return;
    }
    answers(operation, "400", "Something about the request cannot be; `detail` says what.", false);
    answers(operation, "401", "No API key, or none that is known.", false);
    answers(operation, "403", "This key's role may not do this.", false);
    let unfit = "It is in the form described here and cannot be, like a number that no phone has; `detail` says what.";
    if *method == HttpMethod::Get {
        if operation.parameters.as_ref().is_some_and(|all| {
            all.iter().any(|one| matches!(one, RefOr::T(one) if one.parameter_in == ParameterIn::Query))
        }) {
            answers(operation, "422", unfit, false);
        }
        return;
    }
    let used = format!("{unfit} Or this Idempotency-Key was used for another request.");
    answers(operation, "409", "A request with this Idempotency-Key is being answered; ask again.", true);
    answers(operation, "422", &used, false);
    answers(operation, "413", "It is larger than `http.api_body_limit`, or than its kind may be.", false);
    if operation.request_body.is_some() {
        answers(operation, "415", "The body's content type is none that is taken here.", false);
    }
    let schema =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(idempotency::KEY_MAX));
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Any text of yours, new for each request: the same request with the same key is done once, and its answer given again for 24 hours, with `Idempotency-Replayed: true`."))
        .schema(Some(schema))
        .example(Some(json!("8e03978e-40d5-43e8-bc93-6894a57f9324")))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(key));
}

/// Adds a problem to what an operation answers, unless it says so itself.
fn answers(operation: &mut Operation, status: &str, description: &str, later: bool) {
    if operation.responses.responses.contains_key(status) {
        return;
    }
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    let mut response =
        ResponseBuilder::new().description(description).content("application/problem+json", Content::new(Some(schema)));
    if later {
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .build();
        let header: Header = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds.")).build();
        response = response.header("Retry-After", header);
    }
    operation.responses.responses.insert(status.to_owned(), RefOr::T(response.build()));
}

#[cfg(test)]
mod tests;
