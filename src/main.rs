//! The `recado` program. Everything lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    recado::cli::main()
}
