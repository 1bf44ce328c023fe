//! A bench with a database, and whole nights on it.

use reconciled::day::{Instant, parse_instant};
use reconciled::fetch::{Client, Night, Quiet, Reading, read};
use reconciled::store::Store;
use tokio_util::sync::CancellationToken;

use crate::http::Server;
use crate::plain::{Bench, Plain};

/// Three business days are over: 1 to 3 March.
pub const NIGHT: &str = "2026-03-04T03:00:00Z";
pub const NEXT_NIGHT: &str = "2026-03-05T03:00:00Z";

pub fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

/// A bench with its database.
pub struct Room {
    pub bench: Bench,
    pub store: Store,
}

impl Room {
    pub fn new(plain: Plain, server: &Server) -> Self {
        let bench = Bench::new(plain, server.url());
        let store = Store::open(&bench.folder.path().join("books.db")).unwrap();
        Self { bench, store }
    }

    pub async fn night(&self, as_of: &str) -> Reading {
        self.night_until(as_of, &CancellationToken::new()).await
    }

    /// A night with a client of its own, as a new process has it.
    pub async fn night_until(&self, as_of: &str, stop: &CancellationToken) -> Reading {
        let client = self.bench.client().unwrap();
        self.night_with(&client, as_of, stop).await
    }

    pub async fn night_with(&self, client: &Client, as_of: &str, stop: &CancellationToken) -> Reading {
        let job = self.bench.job();
        let as_of = at(as_of);
        let (store, setup) = (&self.store, &self.bench.setup);
        read(&Night {
            store,
            job: &job,
            setup,
            client,
            as_of,
            fresh_since: as_of,
            stop,
            progress: &Quiet,
        })
        .await
    }

    pub fn column(&self, sql: &str) -> Vec<String> {
        self.store
            .read(|conn| {
                let mut statement = conn.prepare(sql)?;
                let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
                Ok(rows.collect::<Result<Vec<_>, _>>()?)
            })
            .unwrap()
    }

    pub fn ids(&self) -> Vec<String> {
        self.column("SELECT provider_id FROM transactions WHERE vanished_at IS NULL ORDER BY provider_id")
    }

    pub fn states(&self) -> Vec<String> {
        self.column("SELECT substr(from_at, 6, 5) || ' ' || subject || ' ' || state FROM windows ORDER BY feed, from_at, subject")
    }
}

/// `rows` of a page.
pub fn rows(ids: &[String]) -> String {
    let rows: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"id":"{id}","amount":100}}"#))
        .collect();
    rows.join(",")
}
