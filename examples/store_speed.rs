//! How fast the store archives pages and turns them into rows, beside a bare loop that does the same with one prepared
//! statement: `cargo run --release --example store_speed [records] [folder]`.
//!
//! Both write the same pages (zstd, durable one by one) and the same rows under the same indexes (the bare one through the
//! same schema) in one transaction. Prints seconds, rows per second and the ratio; then a night that finds nothing new.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant as Clock;

use reconciled::day::{Instant, parse_instant};
use reconciled::providers::{
    Ask, BadPage, Books, Feed, Judgement, Keys, PageHead, Parsed, Provider, Relation, Reply, Request, Session, Shape,
    Step,
};
use reconciled::record::{Direction, Status, Transaction, TransactionKind};
use reconciled::store::{self, NewPage, Place, Store, WindowState};
use reconciled::window::Window;
use serde::Deserialize;

const PER_PAGE: u32 = 100;

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    data: Vec<WireRow<'a>>,
}

#[derive(Deserialize)]
struct WireRow<'a> {
    id: &'a str,
    reference: &'a str,
    amount: i64,
    created: &'a str,
}

struct Bulk;

impl Provider for Bulk {
    fn name(&self) -> &'static str {
        "bulk"
    }
    fn feeds(&self) -> Vec<Feed> {
        vec![Feed {
            name: "payments",
            shape: Shape::Listing,
            directions: &[Direction::In],
        }]
    }
    fn sign(&self, _: &mut Request, _: Option<&Session>, _: &Keys, _: Instant) {}
    fn next(&self, _: &Ask, _: &[PageHead]) -> Step {
        Step::Done
    }
    fn request(&self, _: &Ask, _: u32, _: &[PageHead]) -> Request {
        Request::get("/", "")
    }
    fn judge(&self, _: &Ask, _: &Reply) -> Judgement {
        Judgement::Page
    }
    fn head(&self, _: &Ask, _: u32, _: &[u8]) -> Result<PageHead, BadPage> {
        Ok(PageHead::default())
    }
    fn parse(&self, ask: &Ask, _: u32, body: &[u8]) -> Parsed {
        let wire: Wire<'_> = serde_json::from_slice(body).expect("our own page");
        let transactions = (0..)
            .zip(wire.data)
            .map(|(at, row)| (at, transaction(ask, &row)))
            .collect();
        Parsed {
            transactions,
            ..Parsed::default()
        }
    }
    fn identity_fields(&self) -> &'static [&'static str] {
        &["id"]
    }
    fn relations(&self, _: &Books) -> Vec<Relation> {
        Vec::new()
    }
}

fn transaction(ask: &Ask, row: &WireRow<'_>) -> Transaction {
    Transaction {
        account: "456".into(),
        feed: ask.feed,
        subject: String::new(),
        provider_id: row.id.into(),
        reference: Some(row.reference.into()),
        related_id: None,
        direction: Direction::In,
        kind: TransactionKind::Payment,
        currency: "THB".parse().expect("a currency"),
        amount_minor: row.amount,
        fee_minor: None,
        fee_currency: None,
        status: Status::Settled,
        is_final: true,
        provider_status: "SUCCESS".into(),
        occurred_at: parse_instant(row.created),
        changed_at: parse_instant(row.created),
        residuals: Vec::new(),
    }
}

/// A page of about 57 kB, as the goals assume; ids and references in random order. The list begins `shift` records later.
fn body(page: u32, shift: u64) -> Vec<u8> {
    let mut text = String::from("{\"data\":[");
    for row in 0..PER_PAGE {
        let n = u64::from(page) * u64::from(PER_PAGE) + u64::from(row) + shift;
        let (high, low) = (mix(n), mix(!n));
        if row > 0 {
            text.push(',');
        }
        let (hour, minute) = (n / 60 % 24, n % 60);
        let day = 1 + n / 1440 % 28;
        let filler = format!("{:016x}", mix(low)).repeat(20);
        text.push_str(&format!(
            "{{\"id\":\"{high:016x}{low:016x}\",\"reference\":\"order-{:012}\",\"amount\":{},\"created\":\"2026-03-{day:02}T{hour:02}:{minute:02}:00Z\",\"note\":\"{filler}\"}}",
            mix(high) % 1_000_000_000_000,
            low % 1_000_000
        ));
    }
    text.push_str("]}");
    text.into_bytes()
}

/// SplitMix64.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn ask(day: u32) -> Ask {
    let at = |text: &str| parse_instant(text).expect("an instant");
    Ask {
        feed: "payments",
        window: Window {
            from: at("2026-03-01T00:00:00Z"),
            until: at("2026-04-01T00:00:00Z"),
        },
        subject: None,
        account: String::new(),
        as_of: at(&format!("2026-04-{day:02}T02:30:00Z")),
        zone: chrono_tz::Asia::Bangkok,
        calibration: Arc::new(BTreeMap::new()),
    }
}

fn night(store: &Store, pages: u32, day: u32, shift: u64) -> (f64, f64) {
    let ask = ask(day);
    let place = Place {
        job: "bulk-th",
        provider: "bulk",
        shape: "shape",
        ask: &ask,
    };
    let started = Clock::now();
    let reading = store::open_window(store, &place).expect("a window");
    for number in 0..pages {
        let page = NewPage {
            number,
            confirms: false,
            fetched_at: ask.as_of,
            request: format!("GET /payments?page={number}"),
            http_status: 200,
            body: body(number, shift),
        };
        store::archive_page(store, &place, &reading, number, page).expect("a page");
    }
    let archived = started.elapsed().as_secs_f64();
    let sealed = store::seal(store, &place, &reading, &Bulk, WindowState::Sealed).expect("a sealed window");
    let all = started.elapsed().as_secs_f64();
    println!("  {sealed:?}");
    (archived, all - archived)
}

/// The bare loop: pages committed one by one, then all rows in one transaction, on one thread.
fn bare(path: &Path, pages: u32) -> (f64, f64) {
    let db = rusqlite::Connection::open(path).expect("a file");
    db.execute_batch(
        "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
         PRAGMA temp_store = FILE; PRAGMA wal_autocheckpoint = 4096;
         CREATE TABLE pages (page_id INTEGER PRIMARY KEY, number INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
         CREATE TABLE rows (id TEXT NOT NULL, account TEXT NOT NULL, reference TEXT, amount INTEGER NOT NULL, currency TEXT NOT NULL,
            status TEXT NOT NULL, created TEXT, page_id INTEGER NOT NULL, page_row INTEGER NOT NULL) STRICT;
         CREATE UNIQUE INDEX rows_by_id ON rows (account, id);
         CREATE INDEX rows_by_reference ON rows (account, reference, amount, status);
         CREATE INDEX rows_by_time ON rows (created);",
    )
    .expect("tables");
    let started = Clock::now();
    for number in 0..pages {
        let frame = zstd::bulk::compress(&body(number, 0), 1).expect("a frame");
        let mut insert = db
            .prepare_cached("INSERT INTO pages (number, body) VALUES (?1, ?2)")
            .expect("SQL");
        insert.execute((number, frame)).expect("a page");
    }
    let archived = started.elapsed().as_secs_f64();
    db.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
    {
        let mut read = db
            .prepare("SELECT page_id, body FROM pages ORDER BY page_id")
            .expect("SQL");
        let mut insert = db
            .prepare("INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
            .expect("SQL");
        let mut found = read.query([]).expect("pages");
        while let Some(row) = found.next().expect("a page") {
            let page_id: i64 = row.get(0).expect("an id");
            let frame = row.get_ref(1).expect("a body").as_blob().expect("a frame");
            let body = zstd::bulk::decompress(frame, 1 << 20).expect("a body");
            let wire: Wire<'_> = serde_json::from_slice(&body).expect("our own page");
            for (at, row) in (0..).zip(&wire.data) {
                let at: i64 = at;
                insert
                    .execute((
                        row.id,
                        "456",
                        row.reference,
                        row.amount,
                        "THB",
                        "settled",
                        row.created,
                        page_id,
                        at,
                    ))
                    .expect("a row");
            }
        }
    }
    db.execute_batch("COMMIT").expect("a commit");
    (archived, started.elapsed().as_secs_f64() - archived)
}

/// Highest resident memory so far, MB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kilobytes.unwrap_or_default() / 1024
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let records: u32 = arguments
        .next()
        .map_or(200_000, |text| text.parse().expect("a number of records"));
    let folder = arguments
        .next()
        .map_or_else(tempfile::tempdir, tempfile::tempdir_in)
        .expect("a folder");
    let pages = records.div_ceil(PER_PAGE);
    let say = |what: &str, (archive, rows): (f64, f64)| {
        let all = archive + rows;
        println!(
            "{what}: {all:.2} s (archive {archive:.2}, rows {rows:.2}), {:.0} rows/s, peak {} MB",
            f64::from(records) / all,
            peak()
        );
        all
    };
    let store = Store::open(&folder.path().join("books.db")).expect("a database");
    let ours = say("store, first night", night(&store, pages, 1, 0));
    say("store, the same pages again", night(&store, pages, 2, 0));
    say("store, the same rows on other pages", night(&store, pages, 3, 1));
    let bare = say("bare loop", bare(&folder.path().join("bare.db"), pages));
    println!("ratio to the bare loop: {:.2}", ours / bare);
    println!(
        "database: {} MB",
        std::fs::metadata(store.path()).map_or(0, |meta| meta.len()) / 1_000_000
    );
}
