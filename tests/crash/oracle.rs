//! What two histories of the same night must have in common (FAILURES.md 3.2): every table but for what the clock and the
//! counting of rows put there, and every file byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// Table -> its rows as text, sorted.
pub type Books = BTreeMap<String, Vec<String>>;
/// Path below the folder -> bytes; None: only its presence is compared.
pub type Files = BTreeMap<String, Option<Vec<u8>>>;

/// Columns that may differ, and why. Everything else is compared: a new column is compared by itself.
const LEFT_OUT: &[(&str, &[&str], &str)] = &[
    (
        "runs",
        &["run_id", "started_at", "finished_at", "requests", "pages", "rows"],
        "number, clock, work of this very run",
    ),
    ("windows", &["window_id"], "number"),
    (
        "pages",
        &["page_id", "fetched_at", "body", "chain"],
        "number, clock, by its sha256, order of arrival",
    ),
    ("readings", &["position"], "order of arrival"),
    ("seals", &["seal_id"], "order of arrival"),
    ("transactions", &["transaction_id"], "number"),
    ("balances", &["balance_id"], "number"),
    ("ledger_entries", &["entry_id"], "number"),
    ("ledger_imports", &["import_id"], "number"),
    ("unreadable_rows", &["unreadable_id"], "number"),
    ("discrepancy_events", &["event_id"], "number"),
    ("files", &["bytes"], "by its sha256"),
    (
        "mails",
        &["mail_id", "attempts", "queued_at", "not_before", "sent_at", "message"],
        "number, count of attempts, clock, by its sha256",
    ),
];

/// Columns that hold a number of another row: what that row is, instead.
const INSTEAD: &[(&str, &str)] = &[
    (
        "window_id",
        "(SELECT w.job || '/' || w.feed || '/' || w.subject || '/' || w.from_at FROM windows AS w WHERE w.window_id = t.window_id)",
    ),
    (
        "window",
        "(SELECT w.job || '/' || w.feed || '/' || w.subject || '/' || w.from_at FROM windows AS w WHERE w.window_id = t.window)",
    ),
    (
        "page_id",
        "(SELECT p.feed || '/' || p.number || '/' || p.body_sha256 FROM pages AS p WHERE p.page_id = t.page_id)",
    ),
    (
        "transaction_id",
        "(SELECT x.job || '/' || x.feed || '/' || x.account || '/' || x.provider_id || '/' || x.subject FROM transactions AS x WHERE x.transaction_id = t.transaction_id)",
    ),
    (
        "entry_id",
        "(SELECT e.job || '/' || e.source || '/' || e.source_line FROM ledger_entries AS e WHERE e.entry_id = t.entry_id)",
    ),
    ("run_id", "(SELECT r.job FROM runs AS r WHERE r.run_id = t.run_id)"),
];

/// Rows that count: attempts and readings nothing was derived from do not.
const ONLY: &[(&str, &str)] = &[
    (
        "runs",
        "run_id IN (SELECT max(r.run_id) FROM runs AS r GROUP BY r.job, r.as_of)",
    ),
    (
        "run_counts",
        "run_id IN (SELECT max(r.run_id) FROM runs AS r GROUP BY r.job, r.as_of)",
    ),
    (
        "pages",
        "page_id IN (SELECT r.page_id FROM readings AS r JOIN seals AS s USING (window_id, reading, pass))",
    ),
    // The trail tells what happened, attempts included; `verify` judges it.
    ("audit_trail", "0"),
    (
        "readings",
        "(window_id, reading, pass) IN (SELECT s.window_id, s.reading, s.pass FROM seals AS s)",
    ),
];

/// Reads the whole projection.
pub fn books(database: &Path) -> Books {
    let conn = open(database);
    let tables = texts(
        &conn,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' OR name = 'matches'",
    );
    assert!(tables.len() > 20, "the projection covers the schema: {tables:?}");
    tables
        .into_iter()
        .map(|table| (table.clone(), rows(&conn, &table)))
        .collect()
}

fn rows(conn: &Connection, table: &str) -> Vec<String> {
    let left_out = LEFT_OUT
        .iter()
        .find(|(name, ..)| *name == table)
        .map_or(&[][..], |(_, columns, _)| *columns);
    let columns = texts(conn, &format!("SELECT name FROM pragma_table_xinfo('{table}')"));
    let gone: Vec<&&str> = left_out
        .iter()
        .filter(|name| !columns.iter().any(|column| column == *name))
        .collect();
    assert!(
        gone.is_empty(),
        "{table} has no column {gone:?} any more; mend the oracle"
    );
    let columns: Vec<String> = columns
        .into_iter()
        .filter(|name| !left_out.contains(&name.as_str()))
        .collect();
    let expressions: Vec<String> = columns
        .iter()
        .map(|name| match INSTEAD.iter().find(|(column, _)| column == name) {
            Some((_, instead)) => (*instead).to_owned(),
            None => format!("t.\"{name}\""),
        })
        .collect();
    let only = ONLY
        .iter()
        .find(|(name, _)| *name == table)
        .map_or("1", |(_, only)| *only);
    let sql = format!("SELECT {} FROM \"{table}\" AS t WHERE {only}", expressions.join(", "));
    let mut statement = conn.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut found = statement.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let cells = columns
            .iter()
            .enumerate()
            .map(|(at, name)| format!("{name}={}", cell(row.get_ref(at).unwrap())));
        rows.push(cells.collect::<Vec<_>>().join(" "));
    }
    rows.sort();
    rows
}

/// Type and value, so that 1, '1' and NULL differ.
fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("real {number}"),
        ValueRef::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

fn texts(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn open(database: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(database, flags).unwrap_or_else(|error| panic!("{}: {error}", database.display()))
}

/// What is wrong with a database in itself.
pub fn unhealthy(database: &Path) -> Vec<String> {
    let conn = open(database);
    let mut wrong = texts(&conn, "PRAGMA integrity_check");
    wrong.retain(|line| line != "ok");
    wrong.extend(texts(
        &conn,
        "SELECT 'points nowhere: ' || \"table\" FROM pragma_foreign_key_check",
    ));
    wrong.extend(texts(
        &conn,
        "SELECT 'still running: ' || job FROM runs WHERE finished_at IS NULL",
    ));
    wrong
}

/// Every file below a folder. Of databases and their logs only the names are kept.
pub fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    collect(folder, folder, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
            continue;
        }
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let bytes = if name.contains(".db") {
            None
        } else {
            Some(std::fs::read(&path).unwrap())
        };
        found.insert(name, bytes);
    }
}

/// Where two projections differ; empty: nowhere.
pub fn differences(wanted: &Books, found: &Books, without: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let tables: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    for table in tables.into_iter().filter(|table| !without.contains(&table.as_str())) {
        if wanted.get(table) == found.get(table) {
            continue;
        }
        let empty = Vec::new();
        let (mut missing, mut extra) = (Vec::new(), found.get(table).unwrap_or(&empty).clone());
        for row in wanted.get(table).unwrap_or(&empty) {
            match extra.iter().position(|other| other == row) {
                Some(at) => drop(extra.swap_remove(at)),
                None => missing.push(row),
            }
        }
        let (n, m) = (missing.len(), extra.len());
        wrong.extend(
            missing
                .iter()
                .take(2)
                .map(|row| format!("{table}: missing ({n}): {row}")),
        );
        wrong.extend(
            extra
                .iter()
                .take(2)
                .map(|row| format!("{table}: too much ({m}): {row}")),
        );
    }
    wrong
}

/// Where two sets of files differ.
pub fn other_files(wanted: &Files, found: &Files) -> Vec<String> {
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let wrong = names
        .into_iter()
        .filter_map(|name| match (wanted.get(name), found.get(name)) {
            (Some(_), None) => Some(format!("the file {name} is missing")),
            (None, Some(_)) => Some(format!("the file {name} is left over")),
            (Some(a), Some(b)) if a != b => Some(format!("the file {name} has other bytes")),
            _ => None,
        });
    wrong.collect()
}

/// Files that stand half under their final name: a beginning of what they shall be. A report of fewer rows, as a run that
/// failed may write it, ends with a line.
pub fn half_files(wanted: &Files, found: &Files) -> Vec<String> {
    let half = found.iter().filter(|(name, bytes)| {
        let (Some(bytes), Some(Some(whole))) = (bytes, wanted.get(*name)) else {
            return false;
        };
        bytes.len() < whole.len() && whole.starts_with(bytes) && !bytes.ends_with(b"\r\n")
    });
    half.map(|(name, _)| format!("the file {name} stands half under its final name"))
        .collect()
}

/// The books without their mails and the files without theirs: a night that failed is told, and what is told afterwards
/// says that it replaces that.
pub fn without_mails(books: &Books, files: &Files) -> (Books, Files) {
    let (mut books, mut files) = (books.clone(), files.clone());
    books.remove("mails");
    files.retain(|name, _| !name.starts_with("mail/"));
    (books, files)
}

/// Jobs whose mails did not all leave.
pub fn unsent(wanted: &Books, found: &Books) -> Vec<String> {
    let sent = |row: &&String| row.contains("state=\"sent\"");
    let mut wrong: Vec<String> = found["mails"].iter().filter(|row| !sent(row)).cloned().collect();
    let job = |row: &String| row.split(' ').find(|cell| cell.starts_with("job=")).map(str::to_owned);
    let told: BTreeSet<Option<String>> = found["mails"].iter().map(job).collect();
    wrong.extend(wanted["mails"].iter().filter(|row| !told.contains(&job(row))).cloned());
    wrong
        .into_iter()
        .map(|row| format!("this mail did not leave: {row}"))
        .collect()
}
