//! What users would install instead. A peer that is not there is said to be absent; nothing is installed by a benchmark.

use std::path::Path;
use std::process::Command;

use crate::{Measured, Scores, say};

/// The interpreter that has the peers.
fn python() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// Whether Python can import it.
fn present(module: &str) -> bool {
    python()
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|o| o.status.success())
}

/// Runs a peer in `dir`, from the start of its interpreter to the end of it: what it took and what it found; None, with a
/// word about it, where it is absent, fails, or finds something else.
fn run(goal: &str, name: &str, program: &str, dir: &Path, arguments: &[&str], expected: &[u64]) -> Option<Measured> {
    let module = name.split(',').next().unwrap_or_default().to_lowercase();
    if !present(&module) {
        println!("{goal:4} {name}: absent");
        return None;
    }
    let program = format!("{program}{}", include_str!("peers/measured.py"));
    let started = std::time::Instant::now();
    let output = python()
        .args(["-c", &program])
        .args(arguments)
        .current_dir(dir)
        // dlt would tell its makers of every run.
        .env("RUNTIME__DLTHUB_TELEMETRY", "false")
        .output()
        .unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let (told, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let last = |text: &str| text.lines().last().unwrap_or_default().to_owned();
    let numbers: Vec<f64> = last(&told).split_whitespace().flat_map(str::parse).collect();
    let [cpu, peak_mb, ref found @ ..] = numbers[..] else {
        println!("{goal:4} {name}: failed: {}", last(&complaint));
        return None;
    };
    if *found != expected.iter().map(|&n| n as f64).collect::<Vec<_>>()[..] {
        println!("{goal:4} {name}: failed: found {found:?} instead of {expected:?}");
        return None;
    }
    Some(Measured { seconds, cpu, peak_mb })
}

/// Loading the same rows from the same server, all of them, into a table with a primary key.
pub fn ingest(url: &str, rows: u64, own: Measured, scores: &mut Scores) {
    let dir = tempfile::tempdir().unwrap();
    let program = include_str!("peers/dlt.py");
    if let Some(measured) = run("P1", "dlt, merge", program, dir.path(), &[url], &[rows, rows]) {
        let ratio = say(
            "P1",
            &format!("dlt, merge, {rows} rows"),
            measured,
            Some(("reconciled", own)),
        );
        scores.at_least(
            "P1",
            &format!("dlt merge of {rows} rows / reconciled"),
            ratio.wall,
            13.0,
        );
    }
}

/// The same comparison from CSV by each peer that is there.
pub fn compare(dir: &Path, own: Measured, scores: &mut Scores) {
    export(dir);
    for (name, program, goal) in [
        ("pandas", include_str!("peers/pandas.py"), 9.0),
        ("Polars", include_str!("peers/polars.py"), 2.0),
        ("DuckDB", include_str!("peers/duckdb.py"), 2.0),
    ] {
        if let Some(measured) = run("P3", name, program, dir, &[], &[]) {
            let ratio = say("P3", &format!("{name} from CSV"), measured, Some(("reconciled", own)));
            scores.at_least("P3", &format!("{name} from CSV / reconciled"), ratio.wall, goal);
        }
    }
}

/// Both sides as CSV, for the peers.
fn export(dir: &Path) {
    let conn = rusqlite::Connection::open(dir.join("reconciled.db")).unwrap();
    for (table, file) in [("transactions", "provider.csv"), ("ledger_entries", "ledger-side.csv")] {
        let mut out = csv::Writer::from_path(dir.join(file)).unwrap();
        out.write_record(["reference", "amount", "status"]).unwrap();
        let sql = format!("SELECT reference, amount_minor, status FROM {table}");
        let mut select = conn.prepare(&sql).unwrap();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let amount: i64 = row.get(1).unwrap();
            let (reference, status): (String, String) = (row.get(0).unwrap(), row.get(2).unwrap());
            out.write_record([reference, amount.to_string(), status]).unwrap();
        }
        out.flush().unwrap();
    }
}
