//! A provider with a tiny JSON of its own, and a small world around one database file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;
use reconciled::config::{Fetch, Job, JobSource, Locale, Match, ProviderSetup, Report};
use reconciled::day::{Instant, parse_instant, start_of_day};
use reconciled::failure::Failure;
use reconciled::providers::{
    Ask, BadPage, Books, Feed, Judgement, Keys, PageHead, Parsed, Provider, Relation, Reply, Request, Session, Shape,
    Step, Subject,
};
use reconciled::record::{Balance, Direction, Status, Transaction, TransactionKind, Unreadable};
use reconciled::store::{self, NewPage, OpenReading, Place, Sealed, Store, WindowState};
use reconciled::window::Window;
use serde_json::{Value, json};

pub const JOB: &str = "tiny-pe";
pub const ZONE: chrono_tz::Tz = chrono_tz::America::Lima;

/// Reads `{"rows": [...], "balances": [...], "subjects": [...], "foreign": "…"}`.
pub struct Tiny;

fn text(row: &Value, key: &str) -> Option<String> {
    row[key].as_str().map(str::to_owned)
}

fn transaction(ask: &Ask, row: &Value) -> Result<Transaction, Unreadable> {
    let amount_minor = row["amount"].as_i64().ok_or_else(|| Unreadable {
        place: format!("rows.{}.amount", row["id"].as_str().unwrap_or_default()),
        reason: "is not a plain decimal number".into(),
    })?;
    let sign = match ask.calibration.get("sign").map(String::as_str) {
        Some("turned") => -1,
        _ => 1,
    };
    Ok(Transaction {
        account: text(row, "account").unwrap_or_default(),
        feed: ask.feed,
        subject: ask.subject.clone().unwrap_or_default(),
        provider_id: text(row, "id").unwrap_or_default(),
        reference: text(row, "ref"),
        related_id: text(row, "related"),
        direction: Direction::In,
        kind: row["kind"]
            .as_str()
            .map_or(TransactionKind::Payment, |k| k.parse().unwrap()),
        currency: "PEN".parse().unwrap(),
        amount_minor: sign * amount_minor,
        fee_minor: row["fee"].as_i64(),
        fee_currency: row["fee"].as_i64().map(|_| "PEN".parse().unwrap()),
        status: Status::Settled,
        is_final: true,
        provider_status: "DONE".into(),
        occurred_at: text(row, "at").map(|at| instant(&at)),
        changed_at: text(row, "changed").map(|at| instant(&at)),
        residuals: Vec::new(),
    })
}

impl Provider for Tiny {
    fn name(&self) -> &'static str {
        "tiny"
    }
    fn feeds(&self) -> Vec<Feed> {
        let feed = |name, shape| Feed {
            name,
            shape,
            directions: &[Direction::In],
        };
        vec![
            feed("days", Shape::Days(1)),
            feed("listing", Shape::Listing),
            feed("children", Shape::Children { of: "days" }),
        ]
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
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut parsed = Parsed {
            foreign: text(&body, "foreign"),
            misconfigured: text(&body, "misconfigured"),
            ..Parsed::default()
        };
        let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
        for (at, row) in (0..).zip(list("rows")) {
            match transaction(ask, &row) {
                Ok(transaction) => parsed.transactions.push((at, transaction)),
                Err(unreadable) => parsed.unreadable.push(unreadable),
            }
        }
        for (at, balance) in (0..).zip(list("balances")) {
            let figure = Balance {
                account: String::new(),
                feed: ask.feed,
                subject: text(&balance, "subject").or(ask.subject.clone()).unwrap_or_default(),
                as_of: text(&balance, "as_of").map_or(ask.as_of, |at| instant(&at)),
                currency: "PEN".parse().unwrap(),
                item: text(&balance, "item").unwrap_or_default(),
                amount_minor: balance["amount"].as_i64().unwrap_or_default(),
            };
            parsed.balances.push((at, figure));
        }
        for subject in list("subjects") {
            parsed.subjects.push(Subject {
                id: subject.as_str().unwrap_or_default().into(),
                at: None,
                account: String::new(),
            });
        }
        parsed
    }
    fn identity_fields(&self) -> &'static [&'static str] {
        &["id"]
    }
    fn relations(&self, _: &Books) -> Vec<Relation> {
        Vec::new()
    }
}

pub fn instant(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

/// 02:30 in Lima on that day of March 2026.
pub fn night(day: u32) -> Instant {
    instant(&format!("2026-03-{day:02}T07:30:00Z"))
}

/// What a run on `as_of` asks for business day `day` of March 2026.
pub fn ask(feed: &'static str, day: u32, as_of: Instant) -> Ask {
    let date = |day| chrono::NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
    Ask {
        feed,
        window: Window {
            from: start_of_day(date(day), ZONE),
            until: start_of_day(date(day + 1), ZONE),
        },
        subject: None,
        beside: Vec::new(),
        account: String::new(),
        as_of,
        zone: ZONE,
        calibration: Arc::default(),
    }
}

/// A record that occurred on 4 March at noon.
pub fn row(id: &str, amount: i64) -> Value {
    json!({"id": id, "amount": amount, "ref": format!("order-{id}"), "at": "2026-03-04T17:00:00Z"})
}

pub fn rows(rows: &[Value]) -> Value {
    json!({ "rows": rows })
}

/// The job, for replays.
pub fn job() -> Job {
    Job {
        name: JOB.into(),
        file: PathBuf::from("jobs/tiny-pe.toml"),
        schedule: "0 30 2 * * *".into(),
        timezone: ZONE,
        recipients: Vec::new(),
        recipient_locales: Default::default(),
        locale: Locale::default(),
        source: JobSource::Provider(ProviderSetup {
            provider: Arc::new(Tiny),
            base_url: "https://tiny.example".parse().unwrap(),
            secrets: BTreeMap::new(),
            lane: "lane".into(),
            strict_balance: false,
        }),
        fetch: Fetch {
            start: chrono::NaiveDate::from_ymd_opt(2026, 3, 1).unwrap(),
            lookback: TimeDelta::days(60),
            settle: TimeDelta::minutes(10),
            requests_per_minute: 60,
            max_in_flight: 1,
            request_timeout: std::time::Duration::from_secs(30),
            max_retry_wait: std::time::Duration::from_secs(900),
        },
        ledger: None,
        matching: Match {
            amount_tolerance: "0.00".into(),
            grace_ledger: TimeDelta::hours(24),
            grace_provider: TimeDelta::hours(72),
            stale_pending_days: 14,
            suggest_days: 2,
        },
        report: Report {
            reports: Vec::new(),
            flood_limit: 200,
            reject_threshold: 0,
        },
        shape: "shape".into(),
    }
}

/// One database file and the hands of a run.
pub struct World {
    folder: tempfile::TempDir,
    pub store: Store,
}

impl World {
    pub fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("books.db")).unwrap();
        World { folder, store }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("books.db")
    }

    /// kill -9: what is on disk at this instant, log and all, opened by the next process.
    pub fn killed(self) -> World {
        let folder = tempfile::tempdir().unwrap();
        for name in ["books.db", "books.db-wal"] {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let store = Store::open(&folder.path().join("books.db")).unwrap();
        World { folder, store }
    }

    pub fn open(&self, ask: &Ask) -> OpenReading {
        store::open_window(&self.store, &place(ask)).unwrap()
    }

    /// The pages that a reading goes on after.
    pub fn resumed(&self, reading: &OpenReading) -> Vec<store::StoredPage> {
        let mut pages = Vec::new();
        let each = |page| {
            pages.push(page);
            true
        };
        store::resumed(&self.store, reading, each).unwrap();
        pages
    }

    pub fn archive(&self, ask: &Ask, reading: &OpenReading, position: u32, body: &Value) -> Result<(), Failure> {
        self.archive_together(ask, reading, position, &[page(position, false, body)])
    }

    /// Pages that arrived at the same moment.
    pub fn archive_together(
        &self,
        ask: &Ask,
        reading: &OpenReading,
        first: u32,
        pages: &[NewPage],
    ) -> Result<(), Failure> {
        let packed: Vec<_> = pages.iter().map(|page| page.clone().pack().unwrap()).collect();
        store::archive_pages(&self.store, &place(ask), reading, first, &packed)
    }

    pub fn seal(&self, ask: &Ask, reading: &OpenReading, state: WindowState) -> Result<Sealed, Failure> {
        store::seal(&self.store, &place(ask), reading, &Tiny, state)
    }

    /// A whole reading: every page once, then sealed.
    pub fn read(&self, ask: &Ask, pages: &[Value]) -> Sealed {
        let reading = self.open(ask);
        for (position, body) in (0..).zip(pages).skip(self.resumed(&reading).len()) {
            self.archive(ask, &reading, position, body).unwrap();
        }
        self.seal(ask, &reading, WindowState::Sealed).unwrap()
    }

    /// One text per row.
    pub fn select(&self, sql: &str) -> Vec<String> {
        self.store.read(|c| Ok(dump(c, sql))).unwrap()
    }

    /// A look from outside, with a connection that may change anything.
    pub fn tamper(&self, sql: &str) {
        let outsider = rusqlite::Connection::open(self.path()).unwrap();
        outsider.execute_batch(sql).unwrap();
    }

    /// Everything the database holds.
    pub fn everything(&self) -> String {
        let tables = self
            .select("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name");
        let mut all = String::new();
        for table in tables {
            let lines = self.select(&format!("SELECT * FROM {table}"));
            all.push_str(&format!("{table}\n{}\n", lines.join("\n")));
        }
        all
    }
}

pub fn page(number: u32, confirms: bool, body: &Value) -> NewPage {
    NewPage {
        number,
        confirms,
        fetched_at: night(5),
        request: format!("GET /rows?page={number}"),
        http_status: 200,
        body: body.to_string().into_bytes(),
    }
}

pub fn place(ask: &Ask) -> Place<'_> {
    Place {
        job: JOB,
        provider: "tiny",
        shape: "shape",
        ask,
    }
}

/// Every value of every row as text, in the order of the statement.
pub fn dump(connection: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..columns)
            .map(|at| match row.get::<_, rusqlite::types::Value>(at).unwrap() {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Null => "-".into(),
                other => format!("{other:?}"),
            })
            .collect();
        lines.push(values.join(" "));
    }
    lines
}

pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
