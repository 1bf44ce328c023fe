//! `schema.sql` as analysts meet it: explained to the last column, exact decimal texts, old enough syntax.

use std::collections::BTreeSet;

use reconciled::money::{Currency, format_minor};
use rusqlite::Connection;

const SCHEMA: &str = include_str!("../schema.sql");

fn fresh() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection
}

fn names(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn every_table_view_and_column_is_explained() {
    let connection = fresh();
    let lines: Vec<&str> = SCHEMA.lines().collect();
    for name in names(
        &connection,
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'",
    ) {
        let at = lines
            .iter()
            .position(|line| {
                line.starts_with(&format!("CREATE TABLE {name} ")) || line.starts_with(&format!("CREATE VIEW {name} "))
            })
            .unwrap_or_else(|| panic!("{name} begins a line"));
        assert!(lines[at - 1].starts_with("-- "), "{name} has no comment above it");
    }
    for table in names(
        &connection,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    ) {
        let text = names(
            &connection,
            &format!("SELECT sql FROM sqlite_schema WHERE name = '{table}'"),
        )
        .remove(0);
        for column in names(&connection, &format!("SELECT name FROM pragma_table_xinfo('{table}')")) {
            let definition = text
                .lines()
                .skip_while(|line| line.split_whitespace().next() != Some(column.as_str()))
                .take_while(|line| line.split_whitespace().next() == Some(column.as_str()) || line.starts_with("     "))
                .any(|line| line.contains("-- "));
            let above = text.contains(&format!("-- {column}: "));
            assert!(definition || above, "{table}.{column} is not explained");
        }
    }
}

#[test]
fn every_table_is_strict_and_every_money_column_has_its_currency_and_its_text() {
    let connection = fresh();
    for table in names(
        &connection,
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND strict = 0",
    ) {
        assert!(table.starts_with("sqlite_"), "{table} is not STRICT");
    }
    // Counts and sums of these tables are shown by reports, not by columns.
    let without_text = [
        "run_counts.difference_minor",
        "chosen_pairs.difference_minor",
        "pending_items.amount_minor",
        "unreadable_rows.amount_minor",
    ];
    for table in names(&connection, "SELECT name FROM sqlite_schema WHERE type = 'table'") {
        let columns: BTreeSet<String> = names(&connection, &format!("SELECT name FROM pragma_table_xinfo('{table}')"))
            .into_iter()
            .collect();
        for column in &columns {
            let Some(text) = column.strip_suffix("_minor") else {
                continue;
            };
            let name = format!("{table}.{column}");
            assert!(
                columns.contains("currency") || table == "chosen_pairs",
                "{name} has no currency"
            );
            assert!(
                columns.contains(text) || without_text.contains(&name.as_str()),
                "{name} has no decimal text"
            );
        }
    }
}

#[test]
fn decimal_texts_are_exact_in_every_currency() {
    let connection = fresh();
    let insert = "INSERT INTO ledger_entries (job, reference, direction, currency, amount_minor, fee_minor, status, source, source_line)
                  VALUES ('j', 'r', 'in', ?1, ?2, NULL, 'settled', 's', 1) RETURNING amount, fee";
    let mut seen = 0;
    for currency in all_currencies() {
        for minor in [0, 5, -5, 100, -12_345, i64::from(i32::MIN), i64::MAX] {
            let (amount, fee): (String, Option<String>) = connection
                .query_row(insert, (currency.code(), minor), |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            assert_eq!(amount, format_minor(minor, currency), "{currency} {minor}");
            assert_eq!(fee, None, "no fee, no text");
            seen += 1;
        }
    }
    assert!(seen > 1000, "all of ISO 4217 was tried");
}

fn all_currencies() -> Vec<Currency> {
    let letters = || b'A'..=b'Z';
    let mut known = Vec::new();
    for a in letters() {
        for b in letters() {
            for c in letters() {
                let code = String::from_utf8(vec![a, b, c]).unwrap();
                known.extend(code.parse::<Currency>());
            }
        }
    }
    known
}

#[test]
fn every_decimal_column_and_view_names_the_same_currencies_by_exponent() {
    for exponent in [0, 3, 4] {
        let codes: Vec<String> = all_currencies()
            .iter()
            .filter(|currency| currency.exponent() == exponent)
            .map(|currency| currency.code().to_owned())
            .collect();
        let list = match codes.as_slice() {
            [one, other] => format!("IN ('{one}','{other}') THEN"),
            many => format!("instr('{}', ", many.join(" ")),
        };
        assert_eq!(
            SCHEMA.matches(&list).count(),
            SCHEMA.matches("_minor IS NULL THEN NULL").count(),
            "exponent {exponent}: {list}"
        );
    }
}

#[test]
fn a_few_cents_below_zero_keep_their_sign() {
    let connection = fresh();
    connection
        .execute_batch(
            "INSERT INTO balances (job, account, feed, as_of, currency, item, amount_minor, seen_at)
             VALUES ('j', '', 'f', 't', 'PEN', 'closing', -5, 't'), ('j', '', 'f', 't', 'JPY', 'closing', -5, 't'),
                    ('j', '', 'f', 't', 'KWD', 'closing', -5, 't'), ('j', '', 'f', 't', 'PEN', 'deposit_count', 7, 't');",
        )
        .unwrap();
    assert_eq!(
        names(&connection, "SELECT amount FROM balances ORDER BY balance_id"),
        ["-0.05", "-5", "-0.005", "7"]
    );
}

#[test]
fn no_text_of_the_schema_needs_a_newer_sqlite_than_3_40() {
    // Functions and syntax that came after 3.40 (SQLite's release notes); 3.38 and older are fine.
    for newer in [
        "jsonb",
        "unhex",
        "subsec",
        "octet_length",
        "concat(",
        "concat_ws",
        "string_agg",
        "timediff",
        "median(",
        "if(",
    ] {
        let found = SCHEMA.to_lowercase().match_indices(newer).any(|(at, _)| {
            let before = SCHEMA[..at].chars().next_back().unwrap_or(' ');
            !before.is_alphanumeric() && before != '_'
        });
        assert!(!found, "{newer} is too new for analysts");
    }
    let connection = fresh();
    for view in names(&connection, "SELECT name FROM sqlite_schema WHERE type = 'view'") {
        connection
            .prepare(&format!("SELECT * FROM {view}"))
            .unwrap()
            .exists([])
            .unwrap();
    }
}

#[test]
fn an_older_sqlite_on_this_machine_reads_the_schema() {
    // Python carries the distribution's SQLite. Where there is no Python this says nothing.
    let script = "import sqlite3,sys
c = sqlite3.connect(':memory:'); c.executescript(sys.stdin.read())
for (v,) in c.execute(\"SELECT name FROM sqlite_schema WHERE type = 'view'\").fetchall(): c.execute('SELECT * FROM ' + v).fetchall()
c.execute(\"INSERT INTO transactions (job, provider, account, feed, provider_id, direction, kind, currency, amount_minor, status, provider_status, business_day, first_seen_at, seen_at) VALUES ('j','p','','f','1','in','payment','PEN',-5,'open','x','d','t','t')\")
assert c.execute('SELECT amount FROM v_daily_totals').fetchall() == [('-0.05',)]";
    let Ok(mut python) = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .spawn()
    else {
        return;
    };
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), SCHEMA.as_bytes()).unwrap();
    assert!(python.wait().unwrap().success());
}

#[test]
fn the_documented_questions_are_answered_by_an_index() {
    let connection = fresh();
    for (question, index) in [
        (
            "SELECT * FROM transactions WHERE job = 'j' AND direction = 'in' AND reference = 'r'",
            "transactions_by_reference",
        ),
        (
            "SELECT * FROM transactions WHERE job = 'j' AND feed = 'f' AND account = 'a' AND provider_id = 'p'",
            "transactions_by_id",
        ),
        (
            "SELECT * FROM transactions WHERE job = 'j' AND feed = 'f' AND occurred_at >= 'a' AND occurred_at < 'b'",
            "transactions_by_time",
        ),
        (
            "SELECT * FROM ledger_entries WHERE job = 'j' AND direction = 'in' AND reference = 'r'",
            "ledger_by_reference",
        ),
        (
            "SELECT * FROM ledger_entries WHERE job = 'j' AND provider_id = 'p'",
            "ledger_by_provider_id",
        ),
        (
            "SELECT * FROM windows WHERE job = 'j' AND feed = 'f' AND subject = ''",
            "windows_by_span",
        ),
        (
            "SELECT * FROM discrepancies WHERE job = 'j' AND state = 'open'",
            "discrepancies_by_job",
        ),
        ("SELECT * FROM pages WHERE window = 1 AND number = 1", "pages_by_window"),
    ] {
        let plan: String = connection
            .query_row(&format!("EXPLAIN QUERY PLAN {question}"), [], |row| row.get(3))
            .unwrap();
        assert!(plan.contains(index), "{question}: {plan}");
    }
}
