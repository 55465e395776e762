//! What is true: the words of the product and the rules that hold whatever the world does.
//!
//! Pure: no `async`, no clock, no socket, no randomness. Time and chance are arguments. Knows nobody.

pub mod action;
pub mod backlog;
pub mod callback;
pub mod consent;
pub mod cost;
pub mod doubt;
pub mod estimate;
pub mod event;
pub mod expression;
pub mod fact;
pub mod form;
pub mod health;
pub mod ledger;
pub mod locale;
pub mod message;
pub mod money;
pub mod notification;
pub mod opt_in;
pub mod person;
pub mod phone;
pub mod plan;
pub mod problem;
pub mod quiet;
pub mod rates;
pub mod remark;
pub mod role;
pub mod route;
pub mod search;
pub mod sms;
pub mod source;
pub mod story;
pub mod template;
pub mod trace;
pub mod whereabouts;
