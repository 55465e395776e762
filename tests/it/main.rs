//! The one test binary: behaviour of the whole house, in the product's words.

mod consents;
mod decisions;
mod doors;
mod house;
mod keys;
mod receipts;
mod why;
