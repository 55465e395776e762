//! The one test binary: behaviour of the whole house, in the product's words.

mod consents;
mod house;
mod receipts;
