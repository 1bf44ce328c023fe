//! `reconciled`, the program: arguments, log, signals, exit code. What it does stands in the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
