//! A run that somebody wants to end, as a terminal or systemd meets it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const JOB: &str = r#"
timezone = "UTC"
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
start = 2026-01-01
"#;

/// Rows without end, none of which is one.
const ENDLESS: &str = r#"
[ledger]
kind = "sqlite"
path = "ledger.db"
query = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT n AS ref, n AS amount FROM n WHERE n < 0"
currency_default = "GBP"
[ledger.columns]
reference = "ref"
amount = "amount"
"#;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

struct House(TempDir);

impl House {
    fn new(job: &str) -> Self {
        let house = Self(TempDir::new().unwrap());
        std::fs::create_dir(house.path().join("jobs")).unwrap();
        house.write("jobs/bank.toml", job);
        house.write("reconciled.toml", "");
        house.write("bank.csv", "ref,amount,at\nA,10.00,2026-01-05T10:00:00Z\n");
        let ledger = rusqlite::Connection::open(house.path().join("ledger.db")).unwrap();
        ledger.execute_batch("CREATE TABLE entries (ref TEXT)").unwrap();
        house
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn run(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconciled"));
        command.arg("--config").arg(self.path().join("reconciled.toml")).args([
            "run",
            "--as-of",
            "2026-01-10T02:00:00Z",
        ]);
        command
    }

    /// A run that has come as far as its ledger, with what it says kept in a file.
    fn reading(&self) -> Child {
        let said = std::fs::File::create(self.path().join("stderr")).unwrap();
        let child = self.run().stdout(Stdio::null()).stderr(said).spawn().unwrap();
        let begun = Instant::now();
        while self.imports() == 0 {
            assert!(begun.elapsed() < PATIENCE, "it never begins: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path().join("stderr")).unwrap_or_default()
    }

    /// Files taken in so far: the export comes before the ledger.
    fn imports(&self) -> i64 {
        let sql = "SELECT count(*) FROM ledger_imports";
        let books = rusqlite::Connection::open_with_flags(
            self.path().join("reconciled.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        );
        books
            .and_then(|books| books.query_row(sql, [], |row| row.get(0)))
            .unwrap_or(0)
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn a_query_that_never_ends_is_left_when_somebody_asks_to_stop() {
    for wanted in [Signal::TERM, Signal::INT, Signal::HUP] {
        let house = House::new(&format!("{JOB}{ENDLESS}"));
        let mut child = house.reading();
        signal(&child, wanted);
        let code = ended(&mut child).code();
        assert_eq!(code, Some(75), "{wanted:?}: {}", house.said());
        let last = house.said().lines().last().unwrap_or_default().to_owned();
        assert!(last.contains("stopped while ledger.db was read"), "{last}");
        // Nothing was compared, so nothing is told; the next run goes on.
        let books = rusqlite::Connection::open(house.path().join("reconciled.db")).unwrap();
        let sql = "SELECT stopped, verdict, (SELECT count(*) FROM files) FROM runs";
        let run: (bool, String, i64) = books
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        assert_eq!(run, (true, "incomplete".to_owned(), 0));
    }
}

#[test]
fn a_run_that_was_told_to_outlive_its_terminal_does() {
    let house = House::new(&format!("{JOB}{ENDLESS}"));
    let said = std::fs::File::create(house.path().join("stderr")).unwrap();
    // What nohup does, which no safe call offers.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let run = house.run();
    shell.arg(run.get_program()).args(run.get_args());
    let mut child = shell.stdout(Stdio::null()).stderr(said).spawn().unwrap();
    let begun = Instant::now();
    while house.imports() == 0 {
        assert!(begun.elapsed() < PATIENCE, "it never begins: {}", house.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "{}", house.said());
    signal(&child, Signal::TERM);
    assert_eq!(ended(&mut child).code(), Some(75));
}

#[test]
fn a_result_that_cannot_be_written_is_no_success_and_a_closed_pipe_is() {
    let house = House::new(JOB);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = house.run().arg("--json").stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(
        said.lines()
            .last()
            .unwrap_or_default()
            .contains("stdout cannot be written"),
        "{said}"
    );
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = house.run().arg("--json").stdout(writer).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn something_else_in_the_place_of_the_published_copy_is_a_local_matter() {
    let house = House::new(JOB);
    std::fs::create_dir(house.path().join("reconciled-latest.db")).unwrap();
    let output = house.run().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("there is something else under this name"), "{said}");
}
