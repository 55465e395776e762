//! The one test binary: behaviour of the whole house, in the product's words.

mod consents;
mod decisions;
mod doors;
mod house;
mod keys;
mod receipts;
mod why;
mod audit;
mod broker;
mod crash;
mod faults;
mod fleet;
mod harness;
mod proxy;
mod shutdown;
mod simulation;
