//! Whole nights without a provider: settings, a job of kind `file` with a bank's statement, perhaps a ledger, and the binary.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

mod failed_nights;
mod monitor;
mod run;
mod serve;
mod stop;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ledger of a job, in `books.csv`.
const BOOKS: &str = r#"
[ledger]
kind = "csv"
path = "books.csv"
currency_default = "GBP"
[ledger.columns]
reference = "ref"
amount = "amount"
booked_at = "at"
"#;

/// A job that reads `bank.csv` from a first day on. `top`: settings above the first section.
fn bank(top: &str, start: &str) -> String {
    format!(
        r#"timezone = "UTC"
{top}
[provider]
kind = "file"
provider = "barclays"
feed = "statement"
path = "bank.csv"
currency_default = "GBP"
[provider.columns]
reference = "ref"
amount = "amount"
booked_at = "at"
[fetch]
start = {start}
"#
    )
}

/// A folder with `reconciled.toml` and `jobs/bank.toml`, gone with it.
struct House(TempDir);

impl House {
    fn new(settings: &str, job: &str) -> Self {
        let house = Self(TempDir::new().unwrap());
        house.write("reconciled.toml", settings);
        house.write("jobs/bank.toml", job);
        house
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }

    /// The binary with these settings.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconciled"));
        command.arg("--config").arg(self.path().join("reconciled.toml"));
        command.args(arguments);
        command
    }

    /// What goes to stderr of a child that writes it here.
    fn stderr(&self) -> std::fs::File {
        std::fs::File::create(self.path().join("stderr")).unwrap()
    }

    /// What it said there so far.
    fn said(&self) -> String {
        std::fs::read_to_string(self.path().join("stderr")).unwrap_or_default()
    }

    /// A number of the database; 0 before there is one.
    fn count(&self, sql: &str) -> i64 {
        let path = self.path().join("reconciled.db");
        let books = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        books
            .and_then(|books| books.query_row(sql, [], |row| row.get(0)))
            .unwrap_or(0)
    }

    /// Waits until something holds.
    fn until(&self, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "it never comes to it: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A child that does not outlive its test, whichever way that ends.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what most tests leave.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The end of a child.
fn ended(Running(child): &mut Running) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(Running(child): &Running, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}
