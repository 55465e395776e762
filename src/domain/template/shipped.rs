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
    files!("templates/messages": "order_confirmed.toml")
}

/// Paths and texts of the shipped event types.
#[must_use]
pub fn shipped_events() -> Vec<(String, String)> {
    files!("templates/events": "order.confirmed.json")
}
