//! A ledger -> `ledger_entries`, all of it in one transaction or none of it.
//!
//! Everything is read into a spool first and every guard is asked there. Then old and new entries are walked side by side
//! in the order of the books' index, and only what differs is written: a ledger that grew by a day costs a day's writing.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};
use tokio_util::sync::CancellationToken;

use super::spool::{Entry, Newest, Spool, columns, order};
use super::{Import, PutAside, Reader, Refusal, Row};
use crate::config::{Job, Ledger};
use crate::day::{Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::store::{Store, audit};

/// Rows handed from the reading thread to the writing one at a time, and how many such batches may wait.
const BATCH: usize = 512;
const WAITING: usize = 4;

/// Reads the job's ledger and replaces its entries in one transaction. An unchanged ledger (same settings, names and
/// contents) is not read again.
///
/// # Errors
/// Whatever the refusal, the entries of the last import stay as they are.
pub fn import(
    store: &Store,
    job: &Job,
    ledger: &Ledger,
    folder: &Path,
    as_of: Instant,
    stop: &CancellationToken,
) -> Result<Import, Refusal> {
    let reader = Reader::open(ledger, folder, Some(job.timezone))?;
    let mut reader = reader.masking(store.erased()?).until(stop)?;
    let last = store.read(|connection| Last::find(connection, &job.name, ""))?;
    // Cheaper than reading everything, and when a night is run again all there is to do.
    let expected = match &last {
        Some(last) => Some(reader.digest()?).filter(|digest| *digest != last.digest),
        None => None,
    };
    if let (Some(last), None) = (&last, &expected) {
        return Ok(last.import);
    }
    reader.wait_until_quiet()?;
    let spool = Spool::fill(&mut reader, as_of)?;
    same_digest(expected.as_deref(), &spool.digest)?;
    let sources = reader.sources();
    let what = format!("the ledger {}", sources.join(", "));
    guard_not_empty(&spool.import, spool.first.as_ref(), &what)?;
    Last::guard(last.as_ref(), spool.newest, &what)?;
    spool.guard_ids()?;
    // Old entries are read beside the transaction that changes them.
    let old = store.lend()?;
    store.write(|tx| {
        let content = merge(tx, &old, &job.name, &spool, &|| reader.go_on())?;
        put_aside(tx, &job.name, as_of, &spool)?;
        let taken = Taken {
            job: &job.name,
            feed: "",
            as_of,
            digest: &spool.digest,
            import: spool.import,
            newest_booked_at: spool.newest.binds(),
            sources: &sources,
        };
        let mut seals = audit::Seals::default();
        seals.line(audit::Sealed::Ledger, &job.name, &content);
        Last::remember(tx, &taken, seals)
    })?;
    Ok(spool.import)
}

/// Runs the reading in a thread of its own and gives its rows out in order; ends with the reading's own result.
pub(super) fn piped<T>(
    reader: &mut Reader<'_>,
    consume: impl FnOnce(&mut dyn Iterator<Item = Row>) -> Result<T, Refusal>,
) -> Result<(T, String), Refusal> {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<Row>>(WAITING);
        let reading = scope.spawn(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let digest = reader.rows(&mut |row| {
                batch.push(row);
                if batch.len() < BATCH {
                    return Ok(());
                }
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                // Nobody listens any more: the writing side has failed and tells why.
                sender
                    .send(full)
                    .map_err(|_| Refusal::new(Class::Internal, "the import was given up"))
            })?;
            let _ = sender.send(batch);
            Ok::<String, Refusal>(digest)
        });
        let consumed = consume(&mut receiver.into_iter().flatten());
        let digest = reading.join().unwrap_or_else(|_| {
            Err(Refusal::new(
                Class::Internal,
                "reading the ledger panicked; nothing was taken",
            ))
        });
        match (consumed, digest) {
            (Ok(value), Ok(digest)) => Ok((value, digest)),
            // A refused file looks to the writing side like a short one: the reading's reason is the true one, unless
            // it only stopped because the writing had failed.
            (Err(why), Err(Refusal::Refused(other))) if other.class == Class::Internal => Err(why),
            (_, Err(why)) | (Err(why), _) => Err(why),
        }
    })
}

/// What is remembered of the last import.
pub(super) struct Last {
    pub(super) digest: String,
    /// As stored: sorts as time.
    newest_booked_at: Option<String>,
    /// What importing the same again would do: nothing, with these counts.
    pub(super) import: Import,
}

impl Last {
    /// `feed`: empty for the ledger, the feed's name for exports.
    pub(super) fn find(connection: &Connection, job: &str, feed: &str) -> Result<Option<Self>, Failure> {
        let sql = "SELECT digest, newest_booked_at, entries, excluded, unreadable FROM ledger_imports
                   WHERE job = ?1 AND feed = ?2 ORDER BY import_id DESC LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| {
            let count = |at| {
                row.get::<_, i64>(at)
                    .map(|number| u64::try_from(number).unwrap_or_default())
            };
            let import = Import {
                entries: count(2)?,
                excluded: count(3)?,
                unreadable: count(4)?,
                unchanged: true,
            };
            Ok(Self {
                digest: row.get(0)?,
                newest_booked_at: row.get(1)?,
                import,
            })
        };
        Ok(connection
            .prepare_cached(sql)?
            .query_row([job, feed], read)
            .optional()?)
    }

    /// Refuses a reading whose newest booking lies before the last one's: yesterday's file.
    pub(super) fn guard(last: Option<&Self>, newest: Newest, what: &str) -> Result<(), Refusal> {
        match (last.and_then(|last| last.newest_booked_at.as_deref()), newest.has()) {
            (Some(before), Some(now)) if now.as_str() < before => Err(Refusal::NotReconciled(format!(
                "{what} is older than the last one taken: its newest booked_at is {now}, the last one's was {before}; nothing was taken, put the current file there"
            ))),
            _ => Ok(()),
        }
    }

    /// Remembers a reading that was taken, and writes it into the audit trail with the seals of what was read.
    pub(super) fn remember(tx: &Transaction<'_>, taken: &Taken<'_>, mut seals: audit::Seals) -> Result<(), Failure> {
        let sources = serde_json::to_string(taken.sources)
            .map_err(|_| Failure::new(Class::Internal, "names of the ledger's files cannot be written as JSON"))?;
        let sql = "INSERT INTO ledger_imports
                   (job, feed, as_of, digest, entries, excluded, unreadable, newest_booked_at, sources)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        tx.prepare_cached(sql)?.execute(params![
            taken.job,
            taken.feed,
            format_instant(taken.as_of),
            taken.digest,
            whole(taken.import.entries),
            whole(taken.import.excluded),
            whole(taken.import.unreadable),
            taken.newest_booked_at,
            sources
        ])?;
        seals.row(tx, audit::Sealed::Import, &tx.last_insert_rowid().to_string())?;
        let entry = audit::Entry {
            at: taken.as_of,
            actor: "run",
            act: audit::Act::LedgerRead,
            job: taken.job,
            subject: &taken.sources.join(", "),
        };
        audit::append(tx, &entry, &seals).map(drop)
    }
}

/// A reading that was taken.
pub(super) struct Taken<'t> {
    pub(super) job: &'t str,
    pub(super) feed: &'t str,
    pub(super) as_of: Instant,
    pub(super) digest: &'t str,
    pub(super) import: Import,
    pub(super) newest_booked_at: Option<String>,
    pub(super) sources: &'t [String],
}

/// The digest must be that of the look before; else the ledger changed in between.
pub(super) fn same_digest(expected: Option<&str>, read: &str) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != read => Err(Refusal::new(
            Class::Partial,
            "the ledger changed while it was read, so nothing of it was taken; the next run takes it",
        )),
        _ => Ok(()),
    }
}

/// Counts for the database, which has signed integers.
pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// No rows at all, or none that could be read: an empty leg, and no reason to call everything missing.
pub(super) fn guard_not_empty(import: &Import, first: Option<&PutAside>, what: &str) -> Result<(), Refusal> {
    if import.entries > 0 {
        return Ok(());
    }
    Err(Refusal::NotReconciled(match first {
        None => format!("{what} is empty: it holds no row; nothing was taken, export it again"),
        Some(row) => format!(
            "{what}: none of its {} rows could be read; the first is {}, {}, which {}; nothing was taken",
            import.unreadable, row.source, row.what.place, row.what.reason
        ),
    }))
}

/// Walks old and new entries side by side in the same order. Entries with equal keys keep their row. Gives the digest over
/// all entries as they stand afterwards.
///
/// # Errors
/// What `go_on` says, which is asked now and then; what SQLite refuses.
fn merge(
    tx: &Transaction<'_>,
    old: &Connection,
    job: &str,
    spool: &Spool,
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut content = audit::Content::new();
    let mut insert = tx.prepare_cached(concat!(
        "INSERT INTO ledger_entries (",
        columns!(),
        ", job) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    ))?;
    // No column of an index: such an update is cheap.
    let mut update = tx.prepare_cached(
        "UPDATE ledger_entries SET ledger_id = ?1, account = ?2, fee_minor = ?3, ledger_status = ?4, booked_at = ?5,
                x_external_id = ?6, reference_no = ?7, source = ?8, source_line = ?9 WHERE entry_id = ?10",
    )?;
    let mut delete = tx.prepare_cached("DELETE FROM ledger_entries WHERE entry_id = ?1")?;
    let mut select = old.prepare(concat!(
        "SELECT entry_id, ",
        columns!(),
        " FROM ledger_entries WHERE job = ?1 ORDER BY ",
        order!(),
        ", entry_id"
    ))?;
    let mut rows = select.query_map([job], |row| Ok((row.get::<_, i64>(0)?, Entry::read(row, 1)?)))?;
    let mut next = rows.next().transpose()?;
    spool.sorted(&mut |new| {
        go_on()?;
        new.digest(&mut content);
        while let Some((id, _)) = next.take_if(|(_, old)| old.key < new.key) {
            delete.execute([id])?;
            next = rows.next().transpose()?;
        }
        let Some((id, old)) = next.take_if(|(_, old)| old.key == new.key) else {
            return new.write(&mut insert, &job);
        };
        if old != new {
            new.write_rest(&mut update, id)?;
        }
        next = rows.next().transpose()?;
        Ok(())
    })?;
    while let Some((id, _)) = next {
        delete.execute([id])?;
        next = rows.next().transpose()?;
    }
    Ok(content.finish())
}

/// Rows put aside: a place that was known keeps the day it was first seen, one that is mended is marked as gone.
fn put_aside(tx: &Transaction<'_>, job: &str, as_of: Instant, spool: &Spool) -> Result<(), Failure> {
    let as_of = format_instant(as_of);
    // All are gone until they are met again.
    tx.prepare_cached(
        "UPDATE unreadable_rows SET gone_at = ?2 WHERE job = ?1 AND feed = '' AND page_id IS NULL AND gone_at IS NULL",
    )?
    .execute(params![job, as_of])?;
    let mut again = tx.prepare_cached(
        "UPDATE unreadable_rows SET gone_at = NULL, reason = ?4, reference = ?5, provider_id = ?6, direction = ?7,
           x_external_id = ?8, reference_no = ?9, status = ?10, currency = ?11, amount_minor = ?12, booked_at = ?13
         WHERE job = ?1 AND page_id IS NULL AND source = ?2 AND place = ?3 AND feed = ''",
    )?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO unreadable_rows (job, feed, source, place, reason, reference, provider_id, direction, x_external_id,
           reference_no, status, currency, amount_minor, booked_at, seen_at)
         VALUES (?1, '', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    spool.aside(&mut |values| {
        let job = Value::from(job.to_owned());
        let row = || std::iter::once(&job).chain(&values);
        if again.execute(params_from_iter(row()))? == 0 {
            let as_of = Value::from(as_of.clone());
            insert.execute(params_from_iter(row().chain([&as_of])))?;
        }
        Ok(())
    })
}
