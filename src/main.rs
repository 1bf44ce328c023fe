//! `reconciled`, the program: arguments, log, signals, exit code. What it does stands in the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    reconciled::journal::install_panic_hook();
    ExitCode::from(reconciled::journal::guarded(cli::main))
}
