//! The `recado` program. Everything lives in the library.

use std::process::ExitCode;

/// Many small things live shortly, on several threads: this allocator takes half the time of the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    recado::cli::main()
}
