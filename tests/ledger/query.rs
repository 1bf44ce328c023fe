//! Ledgers that are a SQLite query.

use std::fs;
use std::path::Path;

use reconciled::config::{Ledger, LedgerKind};

use crate::{ledger, refused, told};

/// A ledger database with one table, and the settings to read it.
fn database(folder: &Path, sql: &str, query: &str) -> Ledger {
    let path = folder.join("books.db");
    let _ = fs::remove_file(&path);
    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let mut set = ledger("");
    set.kind = LedgerKind::Sqlite {
        path,
        query: query.to_owned(),
    };
    set
}

#[test]
fn a_query_gives_entries_from_texts_and_whole_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let set = database(
        folder.path(),
        "CREATE TABLE b (n INTEGER PRIMARY KEY, ref, amount, currency);
         INSERT INTO b (ref, amount, currency) VALUES
           ('A1', '0012.30', 'PEN'), ('A2', -7, 'PEN'), (9007199254740993, '9007199254740993.01', 'PEN'),
           ('A4', '1,5', 'PEN'), (NULL, '1.00', 'PEN'), ('A6', X'3132', 'PEN'), (CAST(X'41FF' AS TEXT), '1.00', 'PEN'),
           ('A' || char(0) || '8', '1.00', 'PEN'), ('A9', NULL, 'PEN');",
        "SELECT currency, amount, ref AS order_id, 3.5 AS not_mapped FROM b ORDER BY n;",
    );
    assert_eq!(
        told(&set, folder.path()),
        "books.db:1 \"A1\" in 12.30 PEN settled\n\
         books.db:2 \"A2\" out -7.00 PEN settled\n\
         books.db:3 \"9007199254740993\" in 9007199254740993.01 PEN settled\n\
         books.db: put aside: row 4, column amount: it holds a thousands separator, or a decimal sign other than the configured '.' (it looks like \"9,9\")\n\
         books.db: put aside: row 5, column order_id: it is empty\n\
         books.db: put aside: row 6, column amount: it holds binary data instead of text\n\
         books.db: put aside: row 7, column order_id: it is text that is not UTF-8\n\
         books.db: put aside: row 8, column order_id: it holds a NUL character\n\
         books.db: put aside: row 9, column amount: it is empty\n\
         read to its end\n"
    );
}

#[test]
fn a_query_may_do_nothing_but_read_and_a_database_may_be_anything() {
    let folder = tempfile::tempdir().unwrap();
    let table = "CREATE TABLE b (order_id TEXT, amount, currency TEXT);
                 INSERT INTO b VALUES ('A1', '12.50', 'PEN');
                 CREATE VIEW v AS SELECT * FROM b;";
    let only = "refused CONFIG: the query on books.db must be one SELECT and nothing else; it was not run";
    for query in [
        "DELETE FROM b",
        "SELECT * FROM b; DELETE FROM b",
        "SELECT * FROM b; SELECT * FROM b",
        "PRAGMA table_info(b)",
        "ATTACH ':memory:' AS x",
        "EXPLAIN SELECT * FROM b",
        "BEGIN",
        "INSERT INTO b VALUES ('A2', '1', 'PEN') RETURNING *",
        "",
    ] {
        assert_eq!(
            refused(&database(folder.path(), table, query), folder.path()),
            only,
            "{query}"
        );
    }
    for (sql, query, wanted) in [
        (
            table,
            "SELECT load_extension('x') AS order_id, amount, currency FROM b",
            "refused CONFIG: the query on books.db cannot be run: not authorized to use function: load_extension; correct query",
        ),
        (
            table,
            "SELECT ref FROM gone",
            "refused DATA: the query on books.db cannot be run: no such table: gone; correct query, or the database",
        ),
        (
            table,
            "SELECT no_such FROM b",
            "refused CONFIG: the query on books.db cannot be run: no such column: no_such; correct query",
        ),
        (
            table,
            "SELECT order_id, amount AS betrag, currency FROM b",
            "refused DATA: books.db: the query's result has no column \"amount\" for `amount`; seen: \"order_id\", \"betrag\", \"currency\"; name its columns with AS, or correct the mapping under columns",
        ),
        (
            "CREATE TABLE b (order_id TEXT, amount NUMERIC, currency TEXT); INSERT INTO b VALUES ('A1', '0012.30', 'PEN');",
            "SELECT * FROM b",
            "refused DATA: books.db: row 1 of the query, column amount: a floating-point number (REAL), which holds neither money nor ids exactly; store it as decimal TEXT",
        ),
        (
            "CREATE TABLE b (order_id INTEGER, amount TEXT, currency TEXT); INSERT INTO b VALUES ('12345678901234567890', '1.00', 'PEN');",
            "SELECT * FROM b",
            "refused DATA: books.db: row 1 of the query, column order_id: a floating-point number (REAL), which holds neither money nor ids exactly; store it as TEXT",
        ),
        (
            "CREATE TABLE b (order_id TEXT, amount TEXT, currency TEXT); INSERT INTO b VALUES (hex(zeroblob(600000)), '1.00', 'PEN');",
            "SELECT * FROM b",
            "refused DATA: the ledger books.db holds a value longer than a megabyte; leave that column out of the query",
        ),
    ] {
        assert_eq!(refused(&database(folder.path(), sql, query), folder.path()), wanted);
    }
    // Views are for reading.
    let set = database(
        folder.path(),
        table,
        "WITH w AS (SELECT * FROM v) SELECT upper(order_id) AS order_id, amount, currency FROM w",
    );
    assert_eq!(
        told(&set, folder.path()),
        "books.db:1 \"A1\" in 12.50 PEN settled\nread to its end\n"
    );
    // Whatever was tried, the merchant's rows are as they were.
    let rows: i64 = rusqlite::Connection::open(folder.path().join("books.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM b", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);

    let damaged = "refused DATA: the ledger books.db is no SQLite database, or a damaged one; check the file";
    fs::write(folder.path().join("books.db"), "order_id,amount,currency\n".repeat(200)).unwrap();
    assert_eq!(refused(&set, folder.path()), damaged);
    fs::remove_file(folder.path().join("books.db")).unwrap();
    assert_eq!(
        refused(&set, folder.path()),
        "not reconciled: the ledger books.db is missing: no such file; put it there or correct the path, the next run takes it"
    );
    assert!(!folder.path().join("books.db").exists(), "reading must not create it");
}
