//! The commands: each reads its arguments, builds what it needs and runs it. Knows everybody, once.

pub mod sim;
