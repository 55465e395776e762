//! Twilio, by its Messages API: templates and free texts on WhatsApp, and SMS. One number that sends, the meaning of what Twilio
//! answers, and what it posts to us.
//!
//! Pure.

mod codes;
pub mod content;
mod decode;
mod encode;
mod facts;
mod list;
mod signature;

pub use decode::decode;
pub use encode::{Account, BadSender, Channel, Twilio};
pub(super) use facts::is_json;
pub use facts::{answered_itself, facts, said};
pub use signature::verify;
