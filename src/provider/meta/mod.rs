//! Meta's WhatsApp Cloud API: one business number that sends, the meaning of what Meta answers, and its webhooks.
//!
//! Pure. Which number sends when, and what an outcome leads to, is decided elsewhere.

mod account;
mod codes;
mod decode;
mod encode;
mod facts;
pub mod inquiry;
mod number;
mod signature;
mod templates;

pub use decode::decode;
pub use encode::{BadSender, Meta};
pub use facts::{UPDATES_MAX, facts, said};
pub use inquiry::Inquiry;
pub use number::{Number, number};
pub use signature::verify;
pub use templates::{Templates, listed, written};
