//! What a business has set up at Meta before it can send, and what Meta tells of it: the token's app and permissions, the
//! app's webhook, the account's review, and what stands in a number's way.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::accept::{bearer, invalid_token};
use super::management::Ask;
use super::refusal::Refusal;
use super::world::{Sender, World};

/// The app and the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// The app that every token belongs to.
    pub app_id: String,
    /// What every token may.
    pub scopes: Vec<String>,
    /// Unix seconds; 0 for a token that does not end.
    pub token_expires_at: i64,
    /// What the app's webhook is subscribed to.
    pub webhook_fields: Vec<String>,
    pub account_review_status: String,
    pub business_verification_status: String,
}

impl Default for Access {
    fn default() -> Self {
        let fields = [
            "messages",
            "message_template_status_update",
            "template_category_update",
            "message_template_quality_update",
            "message_template_components_update",
            "phone_number_quality_update",
            "business_capability_update",
            "account_update",
            "account_alerts",
            "user_preferences",
        ];
        Self {
            app_id: "500000000000005".into(),
            scopes: vec!["whatsapp_business_management".into(), "whatsapp_business_messaging".into()],
            token_expires_at: 0,
            webhook_fields: fields.into_iter().map(str::to_owned).collect(),
            account_review_status: "APPROVED".into(),
            business_verification_status: "verified".into(),
        }
    }
}

/// Something that keeps a number from sending.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Obstacle {
    /// `WABA`, `BUSINESS`, `APP` or `PHONE_NUMBER`.
    pub entity: String,
    /// `BLOCKED` or `LIMITED`.
    pub can_send: String,
    pub code: u32,
    pub description: String,
    pub solution: String,
}

impl Default for Obstacle {
    fn default() -> Self {
        Self {
            entity: "WABA".into(),
            can_send: "BLOCKED".into(),
            code: 141_006,
            description: "There is an error with the payment method.".into(),
            solution: "Please add a new payment method to the account.".into(),
        }
    }
}

/// What a token is: `debug_token`. Meta tells it to whoever has a token of the same app.
pub(super) fn token(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let given =
        ask.param("input_token").ok_or_else(|| Refusal::new(100, "(#100) The parameter input_token is required"))?;
    let state = world.state();
    let access = &state.access;
    let known = state.senders.values().any(|line| line.sender.token == given);
    let ended = access.token_expires_at > 0 && access.token_expires_at * 1_000 < world.now_ms();
    if !known {
        return Ok(json!({"data": {"is_valid": false, "scopes": [],
            "error": {"code": 190, "message": "Invalid OAuth access token."}}}));
    }
    Ok(json!({"data": {
        "app_id": access.app_id, "application": "Recado", "type": "SYSTEM_USER", "is_valid": !ended,
        "expires_at": access.token_expires_at, "data_access_expires_at": 0, "issued_at": 1_700_000_000,
        "scopes": access.scopes, "user_id": "122100000000000",
    }}))
}

/// An app's webhooks, for whoever has the app's own token: its id and its secret.
pub(super) fn subscriptions(world: &World, ask: &Ask<'_>) -> Result<Value, Refusal> {
    let rules = world.webhook_rules();
    let access = world.state().access.clone();
    if bearer(ask.token.as_deref())? != format!("{}|{}", access.app_id, rules.secret) {
        return Err(invalid_token());
    }
    if ask.node != access.app_id {
        return Err(super::accept::unknown_object(ask.node));
    }
    let fields: Vec<Value> =
        access.webhook_fields.iter().map(|field| json!({"name": field, "version": ask.version})).collect();
    let ours = rules.url.map(
        |url| json!({"object": "whatsapp_business_account", "callback_url": url, "active": true, "fields": fields}),
    );
    Ok(json!({"data": ours.into_iter().collect::<Vec<_>>()}))
}

/// The account, with the fields that are asked for.
pub(super) fn account(world: &World, fields: Option<&str>) -> Value {
    let access = world.state().access.clone();
    let mut shown = Map::new();
    shown.insert("id".into(), world.waba_id.as_str().into());
    for field in fields.unwrap_or("name,message_template_namespace").split(',').map(str::trim) {
        let value = match field {
            "name" => "Tienda Prueba",
            "message_template_namespace" => "sim",
            "account_review_status" => &access.account_review_status,
            "business_verification_status" => &access.business_verification_status,
            _ => continue,
        };
        shown.insert(field.to_owned(), value.into());
    }
    Value::Object(shown)
}

/// Whether all that a number needs lets it send.
pub(super) fn health(world: &World, sender: &Sender, stopped: bool) -> Value {
    let word = |blocked: bool| if blocked { "BLOCKED" } else { "AVAILABLE" };
    let whose = sender.obstacle.as_ref().map_or("", |obstacle| obstacle.entity.as_str());
    let access = world.state().access.clone();
    let entity = |kind: &str, id: &str, blocked: bool| {
        let mut entity = json!({"entity_type": kind, "id": id, "can_send_message": word(blocked)});
        if let Some(obstacle) = sender.obstacle.as_ref().filter(|_| kind == whose) {
            super::webhooks::put(&mut entity, "can_send_message", obstacle.can_send.as_str().into());
            let error = json!({"error_code": obstacle.code, "error_description": obstacle.description,
                "possible_solution": obstacle.solution});
            super::webhooks::put(&mut entity, "errors", json!([error]));
        }
        entity
    };
    let all = match &sender.obstacle {
        Some(obstacle) if !stopped => obstacle.can_send.as_str(),
        Some(_) | None => word(stopped),
    };
    json!({"can_send_message": all, "entities": [
        entity("PHONE_NUMBER", &sender.phone_number_id, stopped),
        entity("WABA", &world.waba_id, false),
        entity("BUSINESS", "900000000000009", false),
        entity("APP", &access.app_id, false),
    ]})
}
