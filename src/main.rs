//! `reconciled`, the program: arguments, log, signals, exit code. What it does stands in the library.

mod cli;

use std::process::ExitCode;

/// musl's own is several times slower (`Cargo.toml` says why).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reconciled::journal::install_panic_hook();
    ExitCode::from(reconciled::journal::guarded(cli::main))
}
