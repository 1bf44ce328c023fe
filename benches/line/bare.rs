//! What one would write by hand: the loops of `PERFORMANCE.md` without versions, windows, drift, rules or a life of anything.

use std::path::Path;

use futures_util::StreamExt;
use rusqlite::{Connection, params};
use serde::Deserialize;

use crate::pages::PAGE;
use crate::{Stopwatch, Took};

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: List<'a>,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    data: Vec<Row<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    id: &'a str,
    reference_id: &'a str,
    amount: &'a str,
    currency: &'a str,
    status: &'a str,
    created_at: &'a str,
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; PRAGMA temp_store = FILE;",
    )
    .unwrap();
    conn
}

/// Archive each page durably, then all rows in one transaction: primary key and two indexes, STRICT.
pub fn ingest(dir: &Path, url: &str, rows: u64, in_flight: usize) -> Took {
    let mut conn = open(&dir.join("bare.db"));
    conn.execute_batch(
        "CREATE TABLE pages (number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
         CREATE TABLE payments (id TEXT PRIMARY KEY, reference TEXT, amount INTEGER, currency TEXT, status TEXT, created_at TEXT) STRICT;
         CREATE INDEX by_reference ON payments (reference);
         CREATE INDEX by_time ON payments (created_at);",
    )
    .unwrap();
    let watch = Stopwatch::start();
    reconciled::fetch::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut answers = futures_util::stream::iter(1..=rows.div_ceil(PAGE))
            .map(|number| {
                let request = client.get(format!("{url}/api/v1/payments?page={number}&limit={PAGE}"));
                async move {
                    let body = request.send().await.unwrap().bytes().await.unwrap();
                    (number, zstd::encode_all(&body[..], 1).unwrap())
                }
            })
            .buffer_unordered(in_flight);
        while let Some((number, body)) = answers.next().await {
            conn.execute("INSERT INTO pages VALUES (?1, ?2)", params![number as i64, body])
                .unwrap();
        }
    });
    let transaction = conn.transaction().unwrap();
    {
        let mut read = transaction.prepare("SELECT body FROM pages ORDER BY number").unwrap();
        let mut insert = transaction
            .prepare("INSERT OR REPLACE INTO payments VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .unwrap();
        let mut pages = read.query([]).unwrap();
        while let Some(page) = pages.next().unwrap() {
            let body = zstd::decode_all(page.get_ref(0).unwrap().as_blob().unwrap()).unwrap();
            let envelope: Envelope<'_> = serde_json::from_slice(&body).unwrap();
            for row in envelope.data.data {
                let minor: i64 = row.amount.split('.').next().unwrap().parse().unwrap();
                insert
                    .execute(params![
                        row.id,
                        row.reference_id,
                        minor,
                        row.currency,
                        row.status,
                        row.created_at
                    ])
                    .unwrap();
            }
        }
    }
    transaction.commit().unwrap();
    watch.stop()
}

/// Two ordered cursors on covering indexes, each row classified: equal, another amount, another status, missing on either
/// side, a key that stands twice on its side.
pub fn merge(dir: &Path) -> Took {
    let conn = open(&dir.join("reconciled.db"));
    let watch = Stopwatch::start();
    let mut left = conn
        .prepare("SELECT reference, amount_minor, status FROM transactions WHERE job = 'bench' AND direction = 'in' ORDER BY reference")
        .unwrap();
    let mut right = conn
        .prepare("SELECT reference, amount_minor, status FROM ledger_entries WHERE job = 'bench' AND direction = 'in' ORDER BY reference")
        .unwrap();
    let (mut records, mut entries) = (left.query([]).unwrap(), right.query([]).unwrap());
    let (mut record, mut entry) = (records.next().unwrap(), entries.next().unwrap());
    let (mut equal, mut amount, mut status, mut only, mut twice) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let (mut last_record, mut last_entry) = (Vec::new(), Vec::new());
    loop {
        let order = match (record, entry) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(r), Some(e)) => key(r).cmp(key(e)),
        };
        if let (std::cmp::Ordering::Equal, Some(r), Some(e)) = (order, record, entry) {
            match (
                r.get_ref(1).unwrap() == e.get_ref(1).unwrap(),
                r.get_ref(2).unwrap() == e.get_ref(2).unwrap(),
            ) {
                (true, true) => equal += 1,
                (false, _) => amount += 1,
                (true, false) => status += 1,
            }
        } else {
            only += 1;
        }
        if order.is_le() {
            twice += u64::from(again(&mut last_record, record));
            record = records.next().unwrap();
        }
        if order.is_ge() {
            twice += u64::from(again(&mut last_entry, entry));
            entry = entries.next().unwrap();
        }
    }
    let took = watch.stop();
    assert!(equal > amount + status + only + twice);
    took
}

fn key<'r>(row: &'r rusqlite::Row<'_>) -> &'r [u8] {
    row.get_ref(0).unwrap().as_bytes().unwrap()
}

/// Whether the row has the key of the one before it on its side.
fn again(last: &mut Vec<u8>, row: Option<&rusqlite::Row<'_>>) -> bool {
    let key = row.map(key).unwrap_or_default();
    let again = last == key;
    last.clear();
    last.extend_from_slice(key);
    again
}

/// The fields of the discrepancies report, worked out and in order beforehand, through the csv crate.
pub fn csv(dir: &Path) -> Took {
    let conn = open(&dir.join("fields.db"));
    let watch = Stopwatch::start();
    let mut select = conn.prepare("SELECT * FROM fields").unwrap();
    let columns = select.column_count();
    let mut out = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    out.write_record(select.column_names()).unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            match row.get_ref(column).unwrap() {
                rusqlite::types::ValueRef::Null => out.write_field("").unwrap(),
                rusqlite::types::ValueRef::Integer(number) => out.write_field(number.to_string()).unwrap(),
                other => out.write_field(other.as_bytes().unwrap()).unwrap(),
            }
        }
        out.write_record(None::<&[u8]>).unwrap();
    }
    drop(rows);
    std::fs::write(dir.join("bare.csv"), out.into_inner().unwrap()).unwrap();
    watch.stop()
}
