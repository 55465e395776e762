//! Twilio's SMS, by the Messages API: for opt-ins and the answers to them. One number that sends, the meaning of what Twilio answers,
//! and what it posts to us.
//!
//! Pure. WhatsApp through Twilio is not here.

mod codes;
mod decode;
mod encode;
mod facts;
mod signature;

pub use decode::decode;
pub use encode::{BadSender, Sms, Twilio};
pub use facts::{answered_itself, facts};
pub use signature::verify;
