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

/// Loading the same number of rows.
pub fn ingest(rows: u64) {
    if present("dlt") {
        println!("P1   dlt is installed; its figure for {rows} rows is in PERFORMANCE notes, it is not run here");
    } else {
        println!("P1   dlt: absent");
    }
}

/// The same comparison from CSV by each peer that is there.
pub fn compare(dir: &Path, own: Measured, scores: &mut Scores) {
    export(dir);
    for (name, module, program, goal) in [
        ("pandas", "pandas", include_str!("pandas.py"), 9.0),
        ("Polars", "polars", include_str!("polars.py"), 2.0),
        ("DuckDB", "duckdb", include_str!("duckdb.py"), 2.0),
    ] {
        if !present(module) {
            println!("P3   {name}: absent");
            continue;
        }
        let started = std::time::Instant::now();
        let output = python().args(["-c", program]).current_dir(dir).output().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            let mut numbers = text.split_whitespace().filter_map(|n| n.parse().ok());
            let (peak_mb, cpu) = (numbers.next().unwrap_or(0.0), numbers.next().unwrap_or(0.0));
            let ratio = say(
                "P3",
                &format!("{name} from CSV"),
                Measured { seconds, cpu, peak_mb },
                Some(("reconciled", own)),
            );
            scores.at_least("P3", &format!("{name} from CSV / reconciled"), ratio.wall, goal);
        } else {
            println!(
                "P3   {name}: failed: {}",
                String::from_utf8_lossy(&output.stderr)
                    .lines()
                    .last()
                    .unwrap_or_default()
            );
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
