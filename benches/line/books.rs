//! Books filled straight by SQL, as a night would have left them.

use std::path::Path;

use reconciled::store::Store;
use rusqlite::params;

use crate::pages::{key, random};
use crate::{Stopwatch, Took, subject};

fn store(dir: &Path) -> Store {
    Store::open(&dir.join("reconciled.db")).unwrap()
}

/// `rows` records and `rows` entries of one job, of which two in a hundred differ: one in its amount, one in two hundred is
/// missing on each side; one in ten thousand each differs in its status or currency or stands twice on either side.
pub fn fill(dir: &Path, rows: u64) -> Took {
    let watch = Stopwatch::start();
    subject::job(dir, "http://127.0.0.1:9");
    let store = store(dir);
    store
        .write(|tx| {
            for feed in ["payments", "withdraws"] {
                tx.execute(
                    "INSERT INTO windows (job, feed, from_at, until_at, state, sealed_at, pages, rows)
                     VALUES ('bench', ?1, '2025-12-31T17:00:00.000Z', '2026-01-19T17:00:00.000Z', 'sealed', '2026-01-20T02:00:00.000Z', 1, 1)",
                    [feed],
                )?;
            }
            Ok(())
        })
        .unwrap();
    without_indexes(&store, || add(&store, 0, rows));
    watch.stop()
}

/// Millions of rows in an order that no index has: indexes are made afterwards, by the statements of the schema.
fn without_indexes(store: &Store, work: impl FnOnce()) {
    let made: Vec<(String, String)> = store
        .read(|connection| {
            let mut statement = connection.prepare(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL
                    AND tbl_name IN ('transactions', 'ledger_entries')",
            )?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .unwrap();
    let all = |statements: Vec<String>| {
        store.write(|tx| Ok(tx.execute_batch(&statements.join(";"))?)).unwrap();
    };
    all(made.iter().map(|(name, _)| format!("DROP INDEX {name}")).collect());
    work();
    all(made.into_iter().map(|(_, sql)| sql).collect());
}

fn add(store: &Store, first: u64, rows: u64) {
    store
        .write(|tx| {
            let mut record = tx.prepare(
                "INSERT INTO transactions (job, provider, account, feed, provider_id, reference, direction, kind, currency, amount_minor,
                    status, is_final, provider_status, occurred_at, changed_at, business_day, first_seen_at, seen_at, page_row)
                 VALUES ('bench', 'one2pays', '', 'payments', ?1, ?2, 'in', 'payment', 'THB', ?3, 'settled', 1, 'succeeded',
                    '2026-01-14T10:00:00.000Z', NULL, '2026-01-14', '2026-01-20T02:00:00.000Z', '2026-01-20T02:00:00.000Z', 0)",
            )?;
            let mut entry = tx.prepare(
                "INSERT INTO ledger_entries (job, reference, direction, currency, amount_minor, status, booked_at, source, source_line)
                 VALUES ('bench', ?1, 'in', ?4, ?2, ?5, '2026-01-14T11:00:00.000Z', 'ledger.csv', ?3)",
            )?;
            for row in first..first + rows {
                let amount = (10_000 + random(row) % 900_000) as i64;
                let reference = format!("order-{}", key(row));
                if row % 200 != 1 {
                    record.execute(params![key(row), reference, amount])?;
                }
                if row % 10_000 == 13 {
                    record.execute(params![key(!row), reference, amount])?;
                }
                if row % 200 != 102 {
                    let booked = if row % 100 == 3 { amount + 1 } else { amount };
                    let status = if row % 10_000 == 7 { "failed" } else { "settled" };
                    let currency = if row % 10_000 == 11 { "USD" } else { "THB" };
                    for _ in 0..if row % 10_000 == 17 { 2 } else { 1 } {
                        entry.execute(params![reference, booked, row as i64 + 2, currency, status])?;
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

/// A night's work on top.
pub fn ten_thousand_more(dir: &Path) {
    add(&store(dir), 1_000_000_000, 10_000);
}

/// The ingested rows are all there, exactly.
pub fn expect_rows(dir: &Path, rows: u64) {
    let found: (i64, i64) = store(dir)
        .read(|c| {
            Ok(
                c.query_row("SELECT count(*), sum(amount_minor) FROM transactions", [], |r| {
                    Ok((r.get(0)?, r.get(1)?))
                })?,
            )
        })
        .unwrap();
    let sum: u64 = (0..rows).map(|row| 10_000 + random(row) % 900_000).sum();
    assert_eq!(found, (rows as i64, sum as i64));
}

/// As many discrepancies as rows, for the report.
pub fn every_row_differs(dir: &Path, rows: u64) {
    let store = store(dir);
    store
        .write(|tx| {
            tx.execute("DELETE FROM discrepancy_events", [])?;
            tx.execute("DELETE FROM discrepancies", [])?;
            let mut insert = tx.prepare(
                "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, provider, account, direction, reference,
                    provider_id, currency, provider_amount_minor, ledger_amount_minor, difference_minor, provider_status,
                    ledger_status, occurred_at, booked_at, business_day, first_seen_day, last_seen_day, age_days, what_differs, detail, evidence)
                 VALUES (?1, 'bench', ?2, 'amount_mismatch', 'open', 'one2pays', '', 'in', ?2, ?3, 'THB', ?4, ?5, ?4 - ?5, 'succeeded',
                    'settled', '2026-01-14T10:00:00.000Z', '2026-01-14T11:00:00.000Z', '2026-01-14', '2026-01-19', '2026-01-19', 0,
                    'amount: 100.00 -> 90.00', 'the amounts differ', 'payments 2026-01-14 page 3 row 17; ledger.csv line 12')",
            )?;
            for row in 0..rows {
                let amount = (10_000 + random(row) % 900_000) as i64;
                insert.execute(params![format!("{:016x}", random(row)), format!("order-{row}"), key(row), amount, amount + 100])?;
            }
            Ok(())
        })
        .unwrap();
}

/// The report's fields as a plain table of another file: what is left to do is to read and to write them.
pub fn lay_out_fields(dir: &Path) {
    let conn = rusqlite::Connection::open(dir.join("reconciled.db")).unwrap();
    let definition =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/reports/discrepancies.sql")).unwrap();
    conn.execute("ATTACH ?1 AS other", [dir.join("fields.db").to_string_lossy()])
        .unwrap();
    let mut create = conn
        .prepare(&format!("CREATE TABLE other.fields AS {definition}"))
        .unwrap();
    for (name, value) in [
        (":job", "bench"),
        (":business_day", "2026-01-19"),
        (":as_of", "2026-01-20T02:00:00.000Z"),
        (":run_id", "1"),
    ] {
        if let Some(index) = create.parameter_index(name).unwrap() {
            create.raw_bind_parameter(index, value).unwrap();
        }
    }
    create.raw_execute().unwrap();
}

/// Twenty jobs for `check`.
pub fn twenty_jobs(dir: &Path) {
    subject::job(dir, "http://127.0.0.1:9");
    for number in 1..20 {
        std::fs::copy(
            dir.join("jobs/bench.toml"),
            dir.join(format!("jobs/bench-{number}.toml")),
        )
        .unwrap();
    }
}
