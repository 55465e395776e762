//! The one test binary: behaviour of the whole house, in the product's words.

// Test code for the lints, helpers included: here an unwrap is an assertion.
#[cfg(test)]
mod ailing;
#[cfg(test)]
mod asyncapi;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod check;
#[cfg(test)]
mod claim;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod consents;
#[cfg(test)]
mod console;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod cures;
#[cfg(test)]
mod daily;
#[cfg(test)]
mod database;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod doubt;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod health;
#[cfg(test)]
mod help;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod house;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod merged;
#[cfg(test)]
mod optin;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod privacy;
#[cfg(test)]
mod producers;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod rejected;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod restored;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod settling;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod specs;
#[cfg(test)]
mod target;
#[cfg(test)]
mod templates;
#[cfg(test)]
mod terms;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod told;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod twilio;
#[cfg(test)]
mod why;
