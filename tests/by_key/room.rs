//! A job with its settings, ledger, database and server; whole nights on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use reconciled::config::{
    self, Alerts, Encoding, Fetch, Http, Job, JobSource, Ledger, LedgerColumn, LedgerKind, ProviderSetup, Settings,
};
use reconciled::day::{Instant, parse_instant};
use reconciled::fetch::{Quiet, plan};
use reconciled::ledger;
use reconciled::money::Unit;
use reconciled::record::LedgerStatus;
use reconciled::run::{JobOutcome, Options, run_jobs};
use reconciled::store::{Store, replay};
use tokio_util::sync::CancellationToken;

use crate::http::{Server, json, status};
use crate::keyed::{DOWN, Keyed, REFUSED};

pub const HEAD: &str = "id,reference,x,amount,state,booked_at\n";

/// 1 to 3 March are over.
pub const NIGHT: &str = "2026-03-04T03:00:00Z";
pub const NEXT_NIGHT: &str = "2026-03-05T03:00:00Z";
pub const THIRD_NIGHT: &str = "2026-03-06T03:00:00Z";

pub fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

pub fn paid(reference: &str, amount: i64) -> String {
    body(reference, amount, "settled")
}

pub fn unpaid(reference: &str, amount: i64) -> String {
    body(reference, amount, "failed")
}

pub fn open(reference: &str, amount: i64) -> String {
    body(reference, amount, "open")
}

fn body(reference: &str, amount: i64, status: &str) -> String {
    format!(r#"{{"id":"@","reference":"{reference}","amount":{amount},"status":"{status}","name":"Ana Gomez"}}"#)
}

type Known = Arc<Mutex<BTreeMap<String, String>>>;
/// Cancelled after so many requests.
type Cut = Arc<Mutex<Option<(usize, CancellationToken)>>>;

pub struct Room {
    pub folder: tempfile::TempDir,
    pub job: Job,
    settings: Settings,
    server: Server,
    known: Known,
    cut: Cut,
}

impl Room {
    pub async fn new(keyed: Keyed) -> Self {
        let (known, cut) = (Known::default(), Cut::default());
        let (answers, scissors) = (Arc::clone(&known), Arc::clone(&cut));
        let server = Server::start(move |seen| {
            if let Some((left, stop)) = scissors.lock().unwrap().as_mut() {
                if *left == 0 {
                    stop.cancel();
                }
                *left = left.saturating_sub(1);
            }
            let key = seen.path().trim_start_matches('/').to_owned();
            match answers.lock().unwrap().get(&key).map(String::as_str) {
                None => status(404, r#"{"message":"unknown"}"#),
                Some(REFUSED) => status(409, r#"{"message":"no"}"#),
                Some(DOWN) => status(500, ""),
                Some(body) => json(body.replace('@', &format!("id-{key}"))),
            }
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let job = job(keyed, &server);
        let settings = settings(folder.path());
        Self {
            folder,
            job,
            settings,
            server,
            known,
            cut,
        }
    }

    /// From now on the provider answers so.
    pub fn knows(&self, known: &[(&str, String)]) {
        let mut all = self.known.lock().unwrap();
        all.extend(known.iter().map(|(key, body)| ((*key).to_owned(), body.clone())));
    }

    pub fn forgets(&self, key: &str) {
        self.known.lock().unwrap().remove(key);
    }

    pub fn ledger(&self, lines: &str) {
        let path = self.folder.path().join("ledger.csv");
        std::fs::write(&path, format!("{HEAD}{lines}")).unwrap();
        // One that was written just now is waited for.
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    }

    pub fn no_ledger(&self) {
        std::fs::remove_file(self.folder.path().join("ledger.csv")).unwrap();
    }

    pub async fn night(&self, as_of: &str) -> JobOutcome {
        self.night_until(as_of, CancellationToken::new()).await
    }

    /// Stopped while the request after so many is answered.
    pub async fn night_cut_after(&self, as_of: &str, requests: usize) -> JobOutcome {
        let stop = CancellationToken::new();
        *self.cut.lock().unwrap() = Some((requests, stop.clone()));
        let night = self.night_until(as_of, stop).await;
        *self.cut.lock().unwrap() = None;
        night
    }

    async fn night_until(&self, as_of: &str, stop: CancellationToken) -> JobOutcome {
        let options = Options {
            as_of: Some(at(as_of)),
            mail: false,
            stop,
        };
        let jobs = [self.job.clone()];
        run_jobs(&self.settings, &jobs, &options, &Quiet)
            .await
            .unwrap()
            .remove(0)
    }

    /// Keys in the order in which they were asked about.
    pub fn asked(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for seen in self.server.seen() {
            keys.push(seen.path().trim_start_matches('/').to_owned());
        }
        keys
    }

    fn store(&self) -> Store {
        Store::open(&self.settings.database).unwrap()
    }

    pub fn sql(&self, sql: &str) {
        self.store().write(|tx| Ok(tx.execute_batch(sql)?)).unwrap();
    }

    pub fn texts(&self, sql: &str) -> Vec<String> {
        self.store()
            .read(|conn| {
                let mut statement = conn.prepare(sql)?;
                let rows = statement.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .unwrap()
    }

    /// `kind reference` of what is open.
    pub fn open(&self) -> Vec<String> {
        self.texts("SELECT kind || ' ' || reference FROM discrepancies WHERE state <> 'resolved' ORDER BY 1")
    }

    pub fn import(&self, as_of: &str) {
        let ledger = self.job.ledger.as_ref().unwrap();
        assert!(
            ledger::import(
                &self.store(),
                &self.job,
                ledger,
                &self.settings.folder,
                at(as_of),
                &Default::default()
            )
            .is_ok()
        );
    }

    pub fn planned(&self, as_of: &str) -> u64 {
        let JobSource::Provider(setup) = &self.job.source else {
            panic!("no provider")
        };
        let planned = plan(Some(&self.store()), &self.job, setup, at(as_of), at(as_of)).unwrap();
        planned.iter().map(|p| p.requests_at_least).sum()
    }

    pub fn replayed_equal(&self) -> bool {
        let replayed = replay(&self.store(), &self.job).unwrap();
        replayed.readings > 0 && replayed.differences.is_empty()
    }

    /// Every archived body.
    pub fn archived(&self) -> String {
        let bodies: Vec<Vec<u8>> = self
            .store()
            .read(|conn| {
                let mut statement = conn.prepare("SELECT body FROM pages")?;
                let rows = statement.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .unwrap();
        let text = bodies
            .iter()
            .map(|b| zstd::decode_all(&b[..]).unwrap())
            .map(|b| String::from_utf8(b).unwrap());
        text.collect()
    }
}

fn settings(folder: &std::path::Path) -> Settings {
    Settings {
        file: folder.join("reconciled.toml"),
        folder: folder.to_owned(),
        database: folder.join("books.db"),
        jobs: folder.join("jobs"),
        reports: None,
        out: folder.join("out"),
        published: None,
        mail: None,
        http: Http {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            retry_budget: Duration::from_millis(300),
            ..Http::default()
        },
        alerts: Alerts::default(),
        upkeep: reconciled::config::Upkeep::default(),
        desk: reconciled::config::Desk::default(),
    }
}

fn job(keyed: Keyed, server: &Server) -> Job {
    Job {
        name: "keyed-job".into(),
        file: "jobs/keyed-job.toml".into(),
        schedule: "0 30 2 * * *".into(),
        timezone: chrono_tz::UTC,
        recipients: Vec::new(),
        recipient_locales: Default::default(),
        locale: config::Locale::default(),
        source: JobSource::Provider(ProviderSetup {
            provider: Arc::new(keyed),
            base_url: server.url(),
            secrets: BTreeMap::new(),
            lane: "lane".into(),
            strict_balance: false,
        }),
        fetch: Fetch {
            start: "2026-03-01".parse().unwrap(),
            lookback: TimeDelta::days(60),
            settle: TimeDelta::minutes(10),
            requests_per_minute: 60_000,
            max_in_flight: 1,
            request_timeout: Duration::from_secs(5),
            max_retry_wait: Duration::from_secs(60),
        },
        ledger: Some(table()),
        matching: config::Match {
            amount_tolerance: "0.00".into(),
            grace_ledger: TimeDelta::zero(),
            grace_provider: TimeDelta::zero(),
            stale_pending_days: 14,
            suggest_days: 0,
        },
        report: config::Report {
            reports: vec!["discrepancies".into(), "coverage".into()],
            flood_limit: 200,
            reject_threshold: 0,
        },
        shape: "shape".into(),
    }
}

fn table() -> Ledger {
    let columns = [
        (LedgerColumn::LedgerId, "id"),
        (LedgerColumn::Reference, "reference"),
        (LedgerColumn::XExternalId, "x"),
        (LedgerColumn::Amount, "amount"),
        (LedgerColumn::Status, "state"),
        (LedgerColumn::BookedAt, "booked_at"),
    ];
    Ledger {
        kind: LedgerKind::Csv {
            pattern: "ledger.csv".into(),
        },
        columns: columns
            .into_iter()
            .map(|(ours, theirs)| (ours, theirs.to_owned()))
            .collect(),
        currency_default: Some("COP".parse().unwrap()),
        delimiter: None,
        encoding: Encoding::Utf8,
        decimal: b'.',
        date_format: None,
        timezone: None,
        amount_unit: Unit::Major,
        directions: BTreeMap::new(),
        statuses: BTreeMap::from([
            ("paid".to_owned(), LedgerStatus::Settled),
            ("open".to_owned(), LedgerStatus::Open),
            ("failed".to_owned(), LedgerStatus::Failed),
        ]),
        expected_account: None,
    }
}
