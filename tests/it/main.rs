//! The one test binary: behaviour of the whole house, in the product's words.

mod audit;
mod crash;
mod harness;
