//! A run that somebody wants to end, as a terminal or systemd meets it.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::{House, Running, bank, ended, signal};

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

fn furnished(ledger: &str) -> House {
    let house = House::new("", &(bank("", "2026-01-01") + ledger));
    house.write("bank.csv", "ref,amount,at\nA,10.00,2026-01-05T10:00:00Z\n");
    let ledger = rusqlite::Connection::open(house.path().join("ledger.db")).unwrap();
    ledger.execute_batch("CREATE TABLE entries (ref TEXT)").unwrap();
    house
}

fn run(house: &House) -> Command {
    house.command(&["run", "--as-of", "2026-01-10T02:00:00Z"])
}

/// A run that has come as far as its ledger: the export is taken in before.
fn reading(house: &House, mut run: Command) -> Running {
    let child = Running::start(run.stdout(Stdio::null()).stderr(house.stderr()));
    house.until(|house| house.count("SELECT count(*) FROM ledger_imports") > 0);
    child
}

/// Whether a child of this process begins with a signal ignored, proc(5).
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    mask & 1 << (signal.as_raw() - 1) != 0
}

#[test]
fn a_query_that_never_ends_is_left_when_somebody_asks_to_stop() {
    let mut signals = vec![Signal::TERM, Signal::INT];
    // Under `nohup` the tests and all that they start ignore it.
    if !is_ignored(Signal::HUP) {
        signals.push(Signal::HUP);
    }
    for wanted in signals {
        let house = furnished(ENDLESS);
        let mut child = reading(&house, run(&house));
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
    let house = furnished(ENDLESS);
    // What nohup does, which no safe call offers.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let run = run(&house);
    shell.arg(run.get_program()).args(run.get_args());
    let mut child = reading(&house, shell);
    signal(&child, Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.0.try_wait().unwrap().is_none(), "{}", house.said());
    signal(&child, Signal::TERM);
    assert_eq!(ended(&mut child).code(), Some(75));
}

#[test]
fn a_result_that_cannot_be_written_is_no_success_and_a_closed_pipe_is() {
    let house = furnished("");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = run(&house).arg("--json").stdout(full).output().unwrap();
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
    let output = run(&house).arg("--json").stdout(writer).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn something_else_in_the_place_of_the_published_copy_is_a_local_matter() {
    let house = furnished("");
    std::fs::create_dir(house.path().join("reconciled-latest.db")).unwrap();
    let output = run(&house).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("there is something else under this name"), "{said}");
}
