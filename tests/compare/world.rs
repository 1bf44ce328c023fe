//! A job with its database in memory: rows are put in as SQL, nights are compared as the program does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::TimeDelta;
use reconciled::compare::{self, Case, LedgerLeg, Outcome};
use reconciled::config::{
    Encoding, Fetch, FileFeed, Job, JobSource, Ledger, LedgerKind, Locale, Match, ProviderSetup, Report, Section,
    Source,
};
use reconciled::day::{BusinessDay, Instant, format_instant, last_day_over, next_day, parse_instant, start_of_day};
use reconciled::failure::Failure;
use reconciled::money::Unit;
use rusqlite::Connection;

pub const JOB: &str = "shop";
pub const ACCOUNT: &str = "456";
pub const FEED: &str = "deposits";
pub const ZONE: chrono_tz::Tz = chrono_tz::America::Lima;

/// 03:00 in Lima on 20 March: the last day over is the 19th.
pub fn as_of() -> Instant {
    at("2026-03-20T08:00:00Z")
}

pub fn at(text: &str) -> Instant {
    parse_instant(text).expect("an instant")
}

pub fn day(text: &str) -> BusinessDay {
    text.parse().expect("a day")
}

/// A provider record; times in hours before [`as_of`].
#[derive(Clone, Debug)]
pub struct Rec {
    pub id: String,
    pub reference: Option<String>,
    pub account: String,
    pub feed: String,
    pub direction: &'static str,
    pub kind: &'static str,
    pub currency: &'static str,
    pub amount: i64,
    pub fee: Option<i64>,
    pub fee_currency: Option<&'static str>,
    pub status: &'static str,
    pub was_settled: bool,
    pub hours_ago: i64,
    /// False: the provider states no times, and the moment is that of the run that first read it.
    pub dated: bool,
    pub vanished: bool,
}

impl Rec {
    pub fn new(id: &str, reference: &str, amount: i64) -> Self {
        Self {
            id: id.into(),
            reference: Some(reference.into()),
            account: ACCOUNT.into(),
            feed: FEED.into(),
            direction: if amount < 0 { "out" } else { "in" },
            kind: "deposit",
            currency: "PEN",
            amount,
            fee: None,
            fee_currency: None,
            status: "settled",
            was_settled: false,
            hours_ago: 240,
            dated: true,
            vanished: false,
        }
    }

    pub fn at(&self) -> Instant {
        as_of() - TimeDelta::hours(self.hours_ago)
    }
}

/// A ledger entry; times in hours before [`as_of`].
#[derive(Clone, Debug)]
pub struct Ent {
    pub id: String,
    pub reference: String,
    pub provider_id: Option<String>,
    pub account: Option<String>,
    pub direction: &'static str,
    pub currency: &'static str,
    pub amount: i64,
    pub fee: Option<i64>,
    pub status: &'static str,
    pub hours_ago: Option<i64>,
    pub line: i64,
}

impl Ent {
    pub fn new(id: &str, reference: &str, amount: i64) -> Self {
        Self {
            id: id.into(),
            reference: reference.into(),
            provider_id: None,
            account: None,
            direction: if amount < 0 { "out" } else { "in" },
            currency: "PEN",
            amount,
            fee: None,
            status: "settled",
            hours_ago: Some(240),
            line: 2,
        }
    }

    pub fn at(&self) -> Option<Instant> {
        self.hours_ago.map(|h| as_of() - TimeDelta::hours(h))
    }
}

/// What the database says about one discrepancy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub kind: String,
    pub provider_id: Option<String>,
    pub ledger_id: Option<String>,
    pub difference: Option<i64>,
}

/// A job and its database.
pub struct World {
    pub conn: Connection,
    pub job: Job,
    pub ledger: LedgerLeg,
    pub reading_complete: bool,
    runs: i64,
}

impl World {
    /// An empty one: start on 1 January, graces 24 and 72 hours, stale after 14 days, suggestions within 2 days, every window
    /// read from the start to the last day over.
    pub fn new() -> Self {
        let conn = Connection::open_in_memory().expect("a database in memory");
        conn.execute_batch(include_str!("../../schema.sql"))
            .expect("the schema");
        let mut world = Self {
            conn,
            job: job(JOB),
            ledger: LedgerLeg::Present,
            reading_complete: true,
            runs: 0,
        };
        world.read_until(day("2026-03-19"));
        world
    }

    pub fn with(records: &[Rec], entries: &[Ent]) -> Self {
        let world = Self::new();
        records.iter().for_each(|r| world.add_record(r));
        entries.iter().for_each(|e| world.add_entry(e));
        world
    }

    /// One sealed window from the start to the end of a day.
    pub fn read_until(&mut self, last: BusinessDay) {
        let from = start_of_day(self.job.fetch.start, ZONE);
        let until = start_of_day(next_day(last), ZONE);
        self.sql(&format!(
            "DELETE FROM windows WHERE job = '{JOB}' AND from_at <> '{}'",
            format_instant(from)
        ));
        self.window(from, until, "sealed");
    }

    /// Makes the job one of a provider that may be silent for so many days, read until the last day over.
    pub fn sweeps(&mut self, max_sweep_lag_days: i64) {
        let text =
            format!("client_id = \"key\"\nclient_secret = \"env:SECRET\"\nmax_sweep_lag_days = {max_sweep_lag_days}\n");
        let source = Source {
            file: "jobs/shop.toml",
            text: &text,
        };
        let mut section = Section::parse(&source);
        let built = (reconciled::providers::payvyne::ENTRY.build)(&mut section).expect("settings");
        assert_eq!(section.finish().len(), 0);
        self.job.source = JobSource::Provider(ProviderSetup {
            provider: built.provider,
            base_url: built.base_url,
            secrets: built.secrets,
            lane: "lane".into(),
            strict_balance: false,
        });
        self.read_sweeps_until(day("2026-03-19"));
    }

    pub fn read_sweeps_until(&mut self, last: BusinessDay) {
        self.sql("DELETE FROM windows WHERE feed = 'sweeps'");
        self.read_until(last);
        self.sql("UPDATE windows SET feed = 'sweeps'");
    }

    pub fn window(&self, from: Instant, until: Instant, state: &str) {
        self.conn
            .execute(
                "INSERT INTO windows (job, feed, from_at, until_at, state) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (job, feed, subject, from_at) DO UPDATE SET until_at = excluded.until_at, state = excluded.state",
                (JOB, FEED, format_instant(from), format_instant(until), state),
            )
            .expect("a window");
    }

    pub fn add_record(&self, r: &Rec) {
        self.add_record_to(JOB, "tupay", r);
    }

    pub fn add_record_to(&self, job: &str, provider: &str, r: &Rec) {
        let moment = format_instant(r.at());
        let seen = format_instant(as_of());
        let (stated, first_seen) = if r.dated {
            (Some(&moment), &seen)
        } else {
            (None, &moment)
        };
        let day = reconciled::day::day_of(r.at(), ZONE).to_string();
        self.conn
            .execute(
                "INSERT INTO transactions (job, provider, account, feed, provider_id, reference, direction, kind, currency,
                   amount_minor, fee_minor, fee_currency, status, provider_status, occurred_at, changed_at, business_day,
                   version, first_seen_at, seen_at, vanished_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, upper(?13), ?14, ?14, ?15, ?16, ?17, ?19, ?18)",
                rusqlite::params![
                    job,
                    provider,
                    r.account,
                    r.feed,
                    r.id,
                    r.reference,
                    r.direction,
                    r.kind,
                    r.currency,
                    r.amount,
                    r.fee,
                    r.fee.map(|_| r.fee_currency.unwrap_or(r.currency)),
                    r.status,
                    stated,
                    day,
                    if r.was_settled { 2 } else { 1 },
                    first_seen,
                    r.vanished.then_some(&seen),
                    seen,
                ],
            )
            .expect("a record");
        if r.was_settled {
            self.add_version(&r.id, 1, "settled", r.amount, r.fee, true);
        }
    }

    pub fn add_version(&self, id: &str, version: i64, status: &str, amount: i64, fee: Option<i64>, is_final: bool) {
        self.conn
            .execute(
                "INSERT INTO superseded_versions (transaction_id, version, direction, kind, currency, amount_minor, fee_minor,
                   fee_currency, status, is_final, provider_status, seen_at)
                 SELECT transaction_id, ?2, direction, kind, currency, ?4, ?5, currency, ?3, ?6, upper(?3), first_seen_at
                   FROM transactions WHERE provider_id = ?1",
                (id, version, status, amount, fee, is_final),
            )
            .expect("a version");
    }

    pub fn add_entry(&self, e: &Ent) {
        self.conn
            .execute(
                "INSERT INTO ledger_entries (job, ledger_id, reference, provider_id, account, direction, currency, amount_minor,
                   fee_minor, status, ledger_status, booked_at, source, source_line)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, 'ledger.csv', ?12)",
                rusqlite::params![
                    JOB,
                    e.id,
                    e.reference,
                    e.provider_id,
                    e.account,
                    e.direction,
                    e.currency,
                    e.amount,
                    e.fee,
                    e.status,
                    e.at().map(format_instant),
                    e.line,
                ],
            )
            .expect("an entry");
    }

    pub fn sql(&self, text: &str) {
        self.conn.execute_batch(text).expect("SQL of a test");
    }

    /// Compares the night of [`as_of`].
    pub fn night(&mut self) -> Result<Outcome, Failure> {
        self.night_at(as_of())
    }

    pub fn night_at(&mut self, as_of: Instant) -> Result<Outcome, Failure> {
        self.runs += 1;
        let business_day = last_day_over(as_of, TimeDelta::minutes(10), ZONE);
        self.conn
            .execute(
                "INSERT INTO runs (run_id, job, as_of, business_day, started_at) VALUES (?1, ?2, ?3, ?4, ?3)",
                (
                    self.runs,
                    &self.job.name,
                    format_instant(as_of),
                    business_day.to_string(),
                ),
            )
            .expect("a run");
        let case = Case {
            job: &self.job,
            run_id: self.runs,
            as_of,
            business_day,
            ledger: self.ledger.clone(),
            reading_complete: self.reading_complete,
            asked_since: as_of,
        };
        let findings = compare::look(&self.conn, &case)?;
        let tx = self.conn.unchecked_transaction().expect("a transaction");
        let outcome = compare::record(&tx, &case, findings)?;
        tx.commit().expect("a commit");
        Ok(outcome)
    }

    /// Open discrepancies.
    pub fn open(&self) -> Vec<Seen> {
        self.select("state <> 'resolved'")
    }

    pub fn select(&self, filter: &str) -> Vec<Seen> {
        let sql = format!(
            "SELECT kind, provider_id, ledger_id, difference_minor FROM discrepancies WHERE {filter} ORDER BY 1, 2, 3, 4"
        );
        let mut statement = self.conn.prepare(&sql).expect("a select");
        let rows = statement.query_map([], |row| {
            Ok(Seen {
                kind: row.get(0)?,
                provider_id: row.get(1)?,
                ledger_id: row.get(2)?,
                difference: row.get(3)?,
            })
        });
        rows.expect("rows").map(|r| r.expect("a row")).collect()
    }

    /// `kind state` of everything, in order of kind.
    pub fn states(&self) -> Vec<String> {
        self.texts("SELECT kind || ' ' || state FROM discrepancies ORDER BY 1")
    }

    pub fn texts(&self, sql: &str) -> Vec<String> {
        let mut statement = self.conn.prepare(sql).expect("a select");
        let rows = statement
            .query_map([], |row| row.get::<_, Option<String>>(0))
            .expect("rows");
        rows.map(|r| r.expect("a row").unwrap_or_default()).collect()
    }

    pub fn text(&self, sql: &str) -> String {
        self.conn
            .query_row(sql, [], |row| row.get::<_, Option<String>>(0))
            .expect("one row")
            .unwrap_or_default()
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.conn.query_row(sql, [], |row| row.get(0)).expect("one number")
    }

    /// Everything that a comparison writes, run numbers apart.
    pub fn dump(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in [
            "discrepancies",
            "discrepancy_events",
            "pending_items",
            "chosen_pairs",
            "statement_lines",
        ] {
            all.extend(self.rows(&format!("SELECT * FROM {table} ORDER BY 1, 2")));
        }
        let last = self.runs;
        all.extend(self.rows(&format!(
            "SELECT currency, kind, count, difference_minor, previous_open, new, reopened, resolved FROM run_counts
              WHERE run_id = {last} ORDER BY 1, 2"
        )));
        all
    }

    fn rows(&self, sql: &str) -> Vec<String> {
        let mut statement = self.conn.prepare(sql).expect("a select");
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells: Result<Vec<String>, _> = (0..columns)
                .map(|i| row.get::<_, rusqlite::types::Value>(i).map(|v| format!("{v:?}")))
                .collect();
            Ok(cells?.join("|"))
        });
        rows.expect("rows").map(|r| r.expect("a row")).collect()
    }
}

pub fn table() -> Ledger {
    Ledger {
        kind: LedgerKind::Csv {
            pattern: "ledger/*.csv".into(),
        },
        columns: BTreeMap::new(),
        currency_default: Some("PEN".parse().expect("a currency")),
        delimiter: None,
        encoding: Encoding::Utf8,
        decimal: b'.',
        date_format: None,
        timezone: None,
        amount_unit: Unit::Major,
        directions: BTreeMap::new(),
        statuses: BTreeMap::new(),
        expected_account: None,
    }
}

pub fn job(name: &str) -> Job {
    Job {
        name: name.into(),
        file: PathBuf::from("jobs/shop.toml"),
        schedule: "0 30 2 * * *".into(),
        timezone: ZONE,
        recipients: Vec::new(),
        recipient_locales: Default::default(),
        locale: Locale::default(),
        source: JobSource::File(FileFeed {
            feed: FEED.into(),
            provider: "tupay".into(),
            table: table(),
            bank: false,
        }),
        fetch: Fetch {
            start: day("2026-01-01"),
            lookback: TimeDelta::days(60),
            settle: TimeDelta::minutes(10),
            requests_per_minute: 60,
            max_in_flight: 1,
            request_timeout: std::time::Duration::from_secs(30),
            max_retry_wait: std::time::Duration::from_secs(900),
        },
        ledger: Some(table()),
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
        shape: String::new(),
    }
}

pub fn provider_source(
    provider: std::sync::Arc<dyn reconciled::providers::Provider>,
    strict_balance: bool,
) -> JobSource {
    JobSource::Provider(ProviderSetup {
        provider,
        base_url: url::Url::parse("http://127.0.0.1/").expect("a URL"),
        secrets: BTreeMap::new(),
        lane: "lane".into(),
        strict_balance,
    })
}

/// The n-th night after the first.
pub fn night(n: i64) -> Instant {
    as_of() + TimeDelta::days(n)
}

/// The last night's counts of a kind in words.
pub fn counts(world: &World, kind: &str) -> String {
    world.text(&format!(
        "SELECT count || ' open, ' || previous_open || ' before, ' || new || ' new, ' || reopened || ' reopened, ' ||
                resolved || ' resolved' FROM run_counts WHERE kind = '{kind}' ORDER BY run_id DESC LIMIT 1"
    ))
}
