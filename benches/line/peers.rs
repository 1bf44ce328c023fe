//! What users would install instead. A peer that is not there is said to be absent; nothing is installed by a benchmark.

use std::path::Path;
use std::process::Command;

use crate::goals::ROUNDS;
use crate::{Measured, Scores, median, say};

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

/// What peers are asked to count, in this order; the last is not in the digested files.
const KINDS: [&str; 7] = [
    "amount_mismatch",
    "status_mismatch",
    "missing_in_ledger",
    "missing_in_provider",
    "duplicate_in_provider",
    "duplicate_in_ledger",
    "currency_mismatch",
];

/// The comparison from CSV by each peer that is there, twice: from files that somebody has digested already (reference,
/// minor units, status), and from whole exports with everything that the kinds need, to one file of discrepancies.
pub fn compare(dir: &Path, own: Measured, scores: &mut Scores) {
    let conn = rusqlite::Connection::open(dir.join("reconciled.db")).unwrap();
    export(dir, &conn);
    let found = KINDS.map(|kind| {
        // Two rows missing from each other that may belong together are one finding here; peers miss both.
        let sql = "SELECT count(*) FROM discrepancies WHERE kind = ?1 OR (kind = 'suggested' AND ?1 LIKE 'missing%')";
        conn.query_row(sql, [kind], |row| row.get::<_, i64>(0)).unwrap() as u64
    });
    for (name, digested, whole, goal) in [
        (
            "pandas",
            include_str!("peers/pandas.py"),
            include_str!("peers/pandas_whole.py"),
            9.0,
        ),
        (
            "Polars",
            include_str!("peers/polars.py"),
            include_str!("peers/polars_whole.py"),
            2.0,
        ),
        (
            "DuckDB",
            include_str!("peers/duckdb.py"),
            include_str!("peers/duckdb_whole.py"),
            2.0,
        ),
    ] {
        let counted = format!("{whole}\nfound = [kinds.get(kind, 0) for kind in {KINDS:?}]\n");
        for (what, program, expected) in [
            ("digested CSV", digested, &found[..6]),
            ("whole exports", &counted, &found[..]),
        ] {
            let name = format!("{name}, {what}");
            // One that is absent or wrong is told of once.
            let rounds = (0..ROUNDS).map_while(|_| run("P3", &name, program, dir, &[], expected));
            let rounds: Vec<Measured> = rounds.collect();
            if !rounds.is_empty() {
                let measured = median(rounds);
                let ratio = say("P3", &name, measured, Some(("reconciled", own)));
                scores.at_least("P3", &format!("{name} / reconciled"), ratio.wall, goal);
            }
        }
    }
}

/// Both sides as CSV, for the peers. Statuses are of one vocabulary already: translating words is nobody's contest.
fn export(dir: &Path, conn: &rusqlite::Connection) {
    let whole = |id: &str, at: &str| {
        format!(
            "{id}, reference, direction, currency, printf('%d.%02d', amount_minor / 100, amount_minor % 100) AS amount, status, {at}"
        )
    };
    let digested = || "reference, amount_minor AS amount, status".to_owned();
    for (file, table, columns) in [
        ("provider.csv", "transactions", digested()),
        ("ledger-side.csv", "ledger_entries", digested()),
        (
            "provider-export.csv",
            "transactions",
            whole("provider_id", "occurred_at"),
        ),
        (
            "ledger-export.csv",
            "ledger_entries",
            whole("source_line AS line", "booked_at"),
        ),
    ] {
        let mut out = csv::Writer::from_path(dir.join(file)).unwrap();
        let mut select = conn.prepare(&format!("SELECT {columns} FROM {table}")).unwrap();
        let names: Vec<String> = select.column_names().map(str::to_owned).collect();
        out.write_record(&names).unwrap();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..names.len() {
                match row.get_ref(column).unwrap() {
                    rusqlite::types::ValueRef::Integer(number) => out.write_field(number.to_string()).unwrap(),
                    text => out.write_field(text.as_bytes().unwrap()).unwrap(),
                }
            }
            out.write_record(None::<&[u8]>).unwrap();
        }
        out.flush().unwrap();
    }
}
