//! The catalogue that comes with the program: in its repository under `templates/`, and within the program itself.

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        vec![$((
            concat!($folder, "/", $name).to_owned(),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $name)).to_owned(),
        )),*]
    };
}

/// Paths and texts of the shipped templates.
#[must_use]
pub fn shipped_messages() -> Vec<(String, String)> {
    files!(
        "templates/messages": "arriving_now.toml", "delivered.toml", "delivery_failed.toml", "order_cancelled.toml", "order_confirmed.toml", "out_for_delivery.toml", "payment_failed.toml", "ready_for_pickup.toml", "refund_issued.toml", "shipment_delayed.toml", "shipment_dispatched.toml"
    )
}

/// Paths and texts of the shipped event types.
#[must_use]
pub fn shipped_events() -> Vec<(String, String)> {
    files!(
        "templates/events": "order.cancelled.json", "order.confirmed.json", "order.payment_failed.json", "order.refunded.json", "shipment.arriving.json", "shipment.delayed.json", "shipment.delivered.json", "shipment.delivery_failed.json", "shipment.dispatched.json", "shipment.out_for_delivery.json", "shipment.ready_for_pickup.json"
    )
}
