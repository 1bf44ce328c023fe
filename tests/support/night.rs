//! Books of one night, written with plain SQL from `schema.sql`, and a job and settings to report them with.

#![allow(dead_code)] // Each test binary uses its own part of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use reconciled::config::{
    Alerts, Desk as Inbox, Fetch, Http, Job, JobSource, Locale, Mail, Match, Report, Settings, SmtpTls, Transport,
};
use reconciled::day::{BusinessDay, Instant, parse_instant};
use reconciled::report::{self, Produced};
use reconciled::store::Store;

pub const JOB: &str = "tupay-pe";
pub const DAY: &str = "2026-03-04";
pub const RUN: i64 = 7;

pub const GERMAN: Locale = Locale {
    name: "de",
    decimal: ',',
    separator: ';',
};

pub fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

pub fn day() -> BusinessDay {
    DAY.parse().unwrap()
}

pub fn as_of() -> Instant {
    at("2026-03-05T07:30:00Z")
}

/// A folder with a database in it.
pub struct Desk {
    pub dir: tempfile::TempDir,
    pub store: Store,
}

impl Desk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("books.db")).unwrap();
        Self { dir, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn sql(&self, sql: &str) {
        self.store.write(|tx| Ok(tx.execute_batch(sql)?)).unwrap();
    }

    /// One text per row, columns joined by `|`, NULL as empty.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.store
            .read(|conn| {
                let mut statement = conn.prepare(sql)?;
                let width = statement.column_count();
                let mut rows = statement.query([])?;
                let mut texts = Vec::new();
                while let Some(row) = rows.next()? {
                    let cells: Vec<String> = (0..width)
                        .map(|index| match row.get_ref_unwrap(index) {
                            rusqlite::types::ValueRef::Null => String::new(),
                            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                            value => value.as_str().unwrap().to_owned(),
                        })
                        .collect();
                    texts.push(cells.join("|"));
                }
                Ok(texts)
            })
            .unwrap()
    }

    pub fn run(&self, run_id: i64, business_day: &str, verdict: &str, open: i64, new: i64) {
        self.store
            .write(|tx| {
                tx.execute(
                    "INSERT INTO runs (run_id, job, as_of, business_day, started_at, finished_at, verdict, exit_code, opened, open)
                     VALUES (?1, ?2, ?3 || 'T23:30:00.000Z', ?3, ?3, ?3, ?4, 0, ?5, ?6)",
                    (run_id, JOB, business_day, verdict, new, open),
                )?;
                Ok(())
            })
            .unwrap();
    }

    pub fn produce(&self, job: &Job) -> Vec<Produced> {
        report::produce(&self.store, job, None, RUN, as_of(), day()).unwrap()
    }
}

/// A night with something of everything: new, reopened, persisting, resolved and acknowledged items, pending ones, a gap, a
/// proof, and texts that a spreadsheet would run.
pub fn full() -> Desk {
    let desk = Desk::new();
    desk.run(5, "2026-03-02", "discrepancies", 3, 1);
    desk.run(6, "2026-03-03", "incomplete", 4, 1);
    desk.run(RUN, DAY, "discrepancies", 6, 3);
    desk.sql(include_str!("night.sql"));
    desk
}

/// A night on which all is well.
pub fn quiet() -> Desk {
    let desk = Desk::new();
    desk.run(6, "2026-03-03", "reconciled", 0, 0);
    desk.run(RUN, DAY, "reconciled", 0, 0);
    desk.sql(
        "INSERT INTO run_counts (run_id, currency, kind, count, difference_minor) VALUES (7, 'PEN', 'matched', 4213, 99887766);
         INSERT INTO windows (window_id, job, feed, from_at, until_at, state, sealed_at, pages, rows) VALUES
           (1, 'tupay-pe', 'deposits', '2026-03-04T05:00:00.000Z', '2026-03-05T05:00:00.000Z', 'sealed',
            '2026-03-05T07:30:00.000Z', 43, 4213);",
    );
    desk
}

pub fn job() -> Job {
    Job {
        name: JOB.to_owned(),
        file: PathBuf::from("jobs/tupay-pe.toml"),
        schedule: "0 30 2 * * *".to_owned(),
        timezone: chrono_tz::America::Lima,
        recipients: vec!["accounting@example.com".to_owned()],
        recipient_locales: Default::default(),
        locale: Locale::default(),
        source: JobSource::Across(Vec::new()),
        fetch: Fetch {
            start: "2026-01-01".parse().unwrap(),
            lookback: TimeDelta::days(60),
            settle: TimeDelta::minutes(10),
            requests_per_minute: 120,
            max_in_flight: 1,
            request_timeout: Duration::from_secs(30),
            max_retry_wait: Duration::from_secs(600),
        },
        ledger: None,
        matching: Match {
            amount_tolerance: "0.00".to_owned(),
            grace_ledger: TimeDelta::hours(24),
            grace_provider: TimeDelta::hours(72),
            stale_pending_days: 14,
            suggest_days: 2,
        },
        report: Report {
            reports: ["discrepancies", "summary", "statement", "coverage"]
                .map(str::to_owned)
                .to_vec(),
            flood_limit: 200,
            reject_threshold: 0,
        },
        shape: String::new(),
    }
}

pub fn mail(transport: Transport) -> Mail {
    Mail {
        transport,
        from: "Reconciliation <recon@example.com>".to_owned(),
        allowed_domains: vec!["example.com".to_owned()],
        max_mail_bytes: 10 * 1024 * 1024,
        zip_above_bytes: 5 * 1024 * 1024,
        timeout: Duration::from_secs(5),
    }
}

pub fn smtp(port: u16, tls: SmtpTls) -> Transport {
    Transport::Smtp {
        host: "localhost".to_owned(),
        port,
        tls,
        username: None,
        password: None,
    }
}

pub fn settings(dir: &Path, mail: Option<Mail>) -> Settings {
    Settings {
        file: dir.join("reconciled.toml"),
        folder: dir.to_owned(),
        database: dir.join("books.db"),
        jobs: dir.join("jobs"),
        reports: None,
        // A fixed name: it stands in the mail.
        out: PathBuf::from("/srv/reconciled/out"),
        published: None,
        mail,
        http: Http::default(),
        alerts: Alerts::default(),
        upkeep: reconciled::config::Upkeep::default(),
        desk: Inbox::default(),
    }
}

/// RFC 4180 to the letter, for what we wrote ourselves: panics where the text leaves the grammar.
pub fn strict_csv(bytes: &[u8], separator: char) -> Vec<BTreeMap<String, String>> {
    let text = std::str::from_utf8(bytes)
        .unwrap()
        .strip_prefix('\u{feff}')
        .expect("a byte-order mark");
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut row = Vec::new();
        loop {
            let (cell, after) = strict_cell(rest, separator);
            row.push(cell);
            rest = after;
            match rest.strip_prefix(separator) {
                Some(after) => rest = after,
                None => break,
            }
        }
        rest = rest.strip_prefix("\r\n").expect("CRLF after a row");
        rows.push(row);
    }
    let header = rows.remove(0);
    rows.into_iter()
        .map(|row| {
            assert_eq!(row.len(), header.len(), "{row:?}");
            header.iter().cloned().zip(row).collect()
        })
        .collect()
}

fn strict_cell(text: &str, separator: char) -> (String, &str) {
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find([separator, '\r', '\n']).expect("a row is ended");
        assert!(!text[..end].contains('"'), "a bare quote");
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut end = 0;
    loop {
        end += inside[end..].find('"').expect("a quote is closed");
        if !inside[end + 1..].starts_with('"') {
            return (inside[..end].replace("\"\"", "\""), &inside[end + 1..]);
        }
        end += 2;
    }
}
