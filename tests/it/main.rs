//! The one test binary: behaviour of the whole house, in the product's words.

mod decisions;
mod doors;
mod keys;
mod why;
