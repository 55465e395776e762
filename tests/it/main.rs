//! The one test binary: behaviour of the whole house, in the product's words.

// Test code for the lints, too: here an unwrap is an assertion.
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod why;
