//! Rows again from pages: rebuilt in a temporary database by the very code that wrote them, then compared, or put in place.
//!
//! Rows of `kind = "file"` jobs have no pages: they are left out, and counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, Transaction, params};
use tempfile::NamedTempFile;

use super::derive::{Derivation, derive, shape_of};
use super::{Store, WindowState, count, damaged, open, runs, schema, stored_instant};
use crate::config::{Job, JobSource};
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::providers::{Ask, Provider};
use crate::window::Window;

/// What a person needs to see of a database that differs everywhere.
const DIFFERENCES: usize = 1000;
/// Tables whose rows follow from pages.
const DERIVED: [&str; 4] = ["transactions", "superseded_versions", "balances", "unreadable_rows"];

/// The comparison's queries: columns `row`, `what`; ?1 is the job, `books` the stored side, `main` the rebuilt one.
const COMPARISONS: [(&str, &str); 4] = [
    ("transactions", include_str!("replay_transactions.sql")),
    ("superseded_versions", include_str!("replay_versions.sql")),
    ("balances", include_str!("replay_balances.sql")),
    ("unreadable_rows", include_str!("replay_unreadable.sql")),
];

/// A stored row that is not what the pages say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub job: String,
    pub table: &'static str,
    /// Feed and the provider's id, or what else names the row.
    pub row: String,
    /// Which columns differ, or on which side the row is missing.
    pub what: String,
}

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Complete readings walked again.
    pub readings: u64,
    /// Rows in their pages.
    pub rows: u64,
    /// Stored rows of files: they have no pages and are left out.
    pub left_out: u64,
    /// At most a thousand; empty = the stored rows are what the pages say.
    pub differences: Vec<Difference>,
}

/// Rebuilds a job's rows from its archived pages and compares them with what is stored. Changes nothing.
pub fn replay(store: &Store, job: &Job) -> Result<Replayed, Failure> {
    let JobSource::Provider(setup) = &job.source else {
        return Ok(Replayed {
            left_out: left_out(store, &job.name)?,
            ..Replayed::default()
        });
    };
    let calibration = super::calibration(store, &job.name)?;
    let rebuilt = rebuild(store, job, setup.provider.as_ref(), calibration)?;
    let mut differences = Vec::new();
    for (table, sql) in COMPARISONS {
        let mut statement = rebuilt.connection.prepare(sql)?;
        let mut rows = statement.query([&job.name])?;
        while let Some(row) = rows.next()?
            && differences.len() < DIFFERENCES
        {
            differences.push(Difference {
                job: job.name.clone(),
                table,
                row: row.get(0)?,
                what: row.get(1)?,
            });
        }
    }
    Ok(Replayed {
        readings: rebuilt.readings,
        rows: rebuilt.rows,
        left_out: left_out(store, &job.name)?,
        differences,
    })
}

/// Makes the stored rows what the pages say under the present calibration, in one transaction. Ids of rows stay; a record
/// that reads otherwise now gets no new version, for the provider changed nothing.
pub fn rederive(store: &Store, job: &Job, provider: &dyn Provider) -> Result<(), Failure> {
    let calibration = super::calibration(store, &job.name)?;
    put_in_place(store, job, rebuild(store, job, provider, calibration)?, |_| Ok(()))
}

/// Keeps what was learned about a job's account and derives every row anew under it, in one transaction: rows and
/// calibration never disagree. False: it was known, nothing is written. Questions that are not in `learned` keep their
/// answers.
pub fn learn(
    store: &Store,
    job: &Job,
    provider: &dyn Provider,
    learned: &BTreeMap<String, String>,
    learned_at: Instant,
) -> Result<bool, Failure> {
    let mut calibration = super::calibration(store, &job.name)?;
    if learned.iter().all(|(name, value)| calibration.get(name) == Some(value)) {
        return Ok(false);
    }
    calibration.extend(learned.clone());
    let rebuilt = rebuild(store, job, provider, calibration)?;
    put_in_place(store, job, rebuilt, |tx| {
        runs::put_calibration(tx, &job.name, learned, learned_at)
    })?;
    Ok(true)
}

fn put_in_place(
    store: &Store,
    job: &Job,
    rebuilt: Rebuilt,
    also: impl FnOnce(&Transaction<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Rebuilt { connection, file, .. } = rebuilt;
    connection.execute_batch("DETACH books")?;
    connection.close().map_err(|(_, error)| Failure::from(error))?;
    store.with_writer(|store, writer| {
        writer.execute("ATTACH ?1 AS rebuilt", [utf8(file.path())?])?;
        let applied = store.begin(writer).and_then(|tx| {
            for statement in APPLY {
                tx.execute(statement, [&job.name])?;
            }
            also(&tx)?;
            store.commit(tx)
        });
        writer.execute_batch("DETACH rebuilt")?;
        applied
    })
}

/// Puts the rebuilt rows in the place of the stored ones, step by step; rows that are equal stay untouched.
const APPLY: [&str; 9] = [
    "DELETE FROM superseded_versions
      WHERE transaction_id IN (SELECT transaction_id FROM main.transactions WHERE job = ?1 AND page_id IS NOT NULL)",
    "DELETE FROM main.transactions AS t WHERE t.job = ?1 AND t.page_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM rebuilt.transactions AS r WHERE r.job = t.job AND r.feed = t.feed AND r.account = t.account
           AND r.provider_id = t.provider_id AND r.subject = t.subject)",
    "UPDATE main.transactions AS t
        SET (provider, reference, related_id, direction, kind, currency, amount_minor, fee_minor, fee_currency, fee_from_rows, reference_from_detail,
             status, is_final, provider_status, occurred_at, changed_at, business_day, residuals, version, first_seen_at,
             seen_at, vanished_at, page_id, page_row)
          = (r.provider, r.reference, r.related_id, r.direction, r.kind, r.currency, r.amount_minor, r.fee_minor,
             r.fee_currency, r.fee_from_rows, r.reference_from_detail, r.status, r.is_final, r.provider_status, r.occurred_at, r.changed_at,
             r.business_day, r.residuals, r.version, r.first_seen_at, r.seen_at, r.vanished_at, r.page_id, r.page_row)
       FROM rebuilt.transactions AS r
      WHERE t.job = ?1 AND t.page_id IS NOT NULL AND r.job = t.job AND r.feed = t.feed AND r.account = t.account
        AND r.provider_id = t.provider_id AND r.subject = t.subject
        AND (t.provider, t.reference, t.related_id, t.direction, t.kind, t.currency, t.amount_minor, t.fee_minor,
             t.fee_currency, t.fee_from_rows, t.reference_from_detail, t.status, t.is_final, t.provider_status, t.occurred_at, t.changed_at,
             t.business_day, t.residuals, t.version, t.first_seen_at, t.seen_at, t.vanished_at, t.page_id, t.page_row)
         IS NOT
            (r.provider, r.reference, r.related_id, r.direction, r.kind, r.currency, r.amount_minor, r.fee_minor,
             r.fee_currency, r.fee_from_rows, r.reference_from_detail, r.status, r.is_final, r.provider_status, r.occurred_at, r.changed_at,
             r.business_day, r.residuals, r.version, r.first_seen_at, r.seen_at, r.vanished_at, r.page_id, r.page_row)",
    "INSERT INTO main.transactions (job, provider, account, feed, subject, provider_id, reference, related_id, direction, kind,
            currency, amount_minor, fee_minor, fee_currency, fee_from_rows, reference_from_detail, status, is_final, provider_status, occurred_at,
            changed_at, business_day, residuals, version, first_seen_at, seen_at, vanished_at, page_id, page_row)
     SELECT job, provider, account, feed, subject, provider_id, reference, related_id, direction, kind,
            currency, amount_minor, fee_minor, fee_currency, fee_from_rows, reference_from_detail, status, is_final, provider_status, occurred_at,
            changed_at, business_day, residuals, version, first_seen_at, seen_at, vanished_at, page_id, page_row
       FROM rebuilt.transactions WHERE job = ?1 ORDER BY transaction_id
         ON CONFLICT (job, feed, account, provider_id, subject) DO NOTHING",
    "INSERT INTO main.superseded_versions (transaction_id, version, reference, related_id, direction, kind, currency,
            amount_minor, fee_minor, fee_currency, status, is_final, provider_status, occurred_at, changed_at, residuals,
            seen_at, page_id, page_row)
     SELECT t.transaction_id, v.version, v.reference, v.related_id, v.direction, v.kind, v.currency,
            v.amount_minor, v.fee_minor, v.fee_currency, v.status, v.is_final, v.provider_status, v.occurred_at, v.changed_at,
            v.residuals, v.seen_at, v.page_id, v.page_row
       FROM rebuilt.superseded_versions AS v
       JOIN rebuilt.transactions AS r USING (transaction_id)
       JOIN main.transactions AS t ON t.job = r.job AND t.feed = r.feed AND t.account = r.account
        AND t.provider_id = r.provider_id AND t.subject = r.subject
      WHERE r.job = ?1",
    "DELETE FROM main.balances WHERE job = ?1",
    "INSERT INTO main.balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at, superseded_at,
            page_id, page_row)
     SELECT job, account, feed, subject, as_of, currency, item, amount_minor, seen_at, superseded_at, page_id, page_row
       FROM rebuilt.balances WHERE job = ?1 ORDER BY balance_id",
    "DELETE FROM main.unreadable_rows WHERE job = ?1 AND page_id IS NOT NULL",
    "INSERT INTO main.unreadable_rows (job, feed, page_id, source, place, reason, seen_at, gone_at)
     SELECT job, feed, page_id, source, place, reason, seen_at, gone_at
       FROM rebuilt.unreadable_rows WHERE job = ?1 ORDER BY unreadable_id",
];

/// The temporary database: closed and removed when dropped.
struct Rebuilt {
    connection: Connection,
    file: NamedTempFile,
    readings: u64,
    rows: u64,
}

/// One row of `seals`, with the window it belongs to.
struct Seal {
    seal_id: i64,
    window_id: i64,
    feed: String,
    subject: String,
    account: String,
    window: Window,
    reading: u32,
    pass: u32,
    state: WindowState,
    as_of: crate::day::Instant,
}

fn rebuild(
    store: &Store,
    job: &Job,
    provider: &dyn Provider,
    calibration: BTreeMap<String, String>,
) -> Result<Rebuilt, Failure> {
    let file = temporary(store.path())?;
    let connection = empty(file.path(), store.path())?;
    let seals = store.read(|books| seals(books, &job.name))?;
    let calibration = Arc::new(calibration);
    let mut archive = store.reader()?;
    let mut rows = 0;
    connection.execute_batch("BEGIN")?;
    for seal in &seals {
        let feeds = provider.feeds();
        let Some(feed) = feeds.iter().find(|feed| feed.name == seal.feed) else {
            return Err(Failure::new(
                Class::Config,
                format!(
                    "{}: pages of feed {} are archived, but provider {} has no such feed; was the job's provider changed?",
                    job.name,
                    seal.feed,
                    provider.name()
                ),
            ));
        };
        let ask = Ask {
            feed: feed.name,
            window: seal.window,
            subject: Some(seal.subject.clone()).filter(|subject| !subject.is_empty()),
            beside: Vec::new(),
            account: seal.account.clone(),
            as_of: seal.as_of,
            zone: job.timezone,
            calibration: calibration.clone(),
        };
        let derivation = Derivation {
            job: &job.name,
            provider_name: provider.name(),
            ask: &ask,
            shape: shape_of(provider, feed.name)?,
            window_id: seal.window_id,
            reading: seal.reading,
            pass: seal.pass,
            state: seal.state,
            before: seal.seal_id,
        };
        rows += derive(&connection, &mut archive, provider, &derivation)?.rows;
    }
    connection.execute_batch("COMMIT")?;
    Ok(Rebuilt {
        connection,
        file,
        readings: seals.len() as u64,
        rows,
    })
}

/// A file beside the database (the same disk, with room for it); elsewhere when that folder may not be written.
fn temporary(database: &Path) -> Result<NamedTempFile, Failure> {
    const PREFIX: &str = ".reconciled-replay-";
    open::temporary_beside(database, PREFIX)
        .or_else(|_| open::temporary_beside(&std::env::temp_dir().join("replay"), PREFIX))
        .map_err(|failure| failure.at(database.display()))
}

/// A database with the tables of rows alone, in which everything else is read from `books`, the stored side.
fn empty(file: &Path, database: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    // It is thrown away: nothing needs to be durable, and its references lead into the other file.
    connection.execute_batch(
        "PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;
         PRAGMA temp_store = FILE; PRAGMA foreign_keys = OFF;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    let fresh = schema::in_memory()?;
    for table in DERIVED {
        let mut statement = fresh.prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND type IN ('table', 'index') AND sql IS NOT NULL",
        )?;
        for sql in statement.query_map([table], |row| row.get::<_, String>(0))? {
            connection.execute_batch(&sql?)?;
        }
    }
    connection.execute("ATTACH ?1 AS books", [read_only_uri(database)?])?;
    Ok(connection)
}

/// `file:` form of a path, for opening it read-only.
fn read_only_uri(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| open::unreachable(path, &error))?;
    let mut uri = String::from("file:");
    for part in utf8(&absolute)?.split('/').skip(1) {
        uri.push('/');
        uri.push_str(&crate::providers::encode(part));
    }
    uri.push_str("?mode=ro");
    Ok(uri)
}

fn utf8(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::new(
            Class::Config,
            format!(
                "{}: the database's path must be UTF-8 text for a replay",
                path.display()
            ),
        )
    })
}

fn seals(books: &Connection, job: &str) -> Result<Vec<Seal>, Failure> {
    let mut statement = books.prepare(
        "SELECT s.seal_id, s.window_id, w.feed, w.subject, s.from_at, s.until_at, s.reading, s.pass, s.state, s.as_of,
                w.account
           FROM seals AS s JOIN windows AS w USING (window_id) WHERE w.job = ?1 ORDER BY s.seal_id",
    )?;
    let mut rows = statement.query([job])?;
    let mut seals = Vec::new();
    while let Some(row) = rows.next()? {
        let instant = |at: usize| stored_instant(&row.get::<_, String>(at)?);
        seals.push(Seal {
            seal_id: row.get(0)?,
            window_id: row.get(1)?,
            feed: row.get(2)?,
            subject: row.get(3)?,
            window: Window {
                from: instant(4)?,
                until: instant(5)?,
            },
            reading: row.get(6)?,
            pass: row.get(7)?,
            state: row.get::<_, String>(8)?.parse().map_err(|()| damaged("a state"))?,
            as_of: instant(9)?,
            account: row.get(10)?,
        });
    }
    Ok(seals)
}

fn left_out(store: &Store, job: &str) -> Result<u64, Failure> {
    store.read(|books| {
        let rows: i64 = books.query_row(
            "SELECT count(*) FROM transactions WHERE job = ?1 AND page_id IS NULL",
            params![job],
            |row| row.get(0),
        )?;
        Ok(count(rows))
    })
}

/// Jobs whose pages are archived, in order.
pub(super) fn archived_jobs(store: &Store) -> Result<BTreeMap<String, u64>, Failure> {
    store.read(|books| {
        let mut statement = books.prepare("SELECT job, count(*) FROM pages GROUP BY job")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, count(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}
