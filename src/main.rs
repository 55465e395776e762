//! The `recado` program. Everything lives in the library.

fn main() {}
