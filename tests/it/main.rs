//! The one test binary: behaviour of the whole house, in the product's words.

mod audit;
mod broker;
mod consents;
mod crash;
mod decisions;
mod doors;
mod faults;
mod fleet;
mod harness;
mod house;
mod keys;
mod proxy;
mod receipts;
mod shutdown;
mod simulation;
mod why;
