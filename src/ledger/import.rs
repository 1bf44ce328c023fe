//! A ledger -> `ledger_entries`, all of it in one transaction or none of it.
//!
//! A second thread reads and maps while this one writes. Rows are compared with the ones of the last import in their
//! order and written only where they differ: a ledger that grew by a day costs one day's writing.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::{Import, PutAside, Reader, Refusal, Row};
use crate::config::{Job, Ledger};
use crate::day::{Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::record::{LedgerEntry, LedgerStatus};
use crate::store::Store;

/// Rows handed from the reading thread to the writing one at a time, and how many such batches may wait.
const BATCH: usize = 512;
const WAITING: usize = 4;

/// Reads the job's ledger and replaces its entries in one transaction. An unchanged ledger (same settings, names and
/// contents) is not read again.
///
/// # Errors
/// Whatever the refusal, the entries of the last import stay as they are.
pub fn import(store: &Store, job: &Job, ledger: &Ledger, folder: &Path, as_of: Instant) -> Result<Import, Refusal> {
    let mut reader = Reader::open(ledger, folder, Some(job.timezone))?;
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
    in_transaction(store, |tx| {
        let run = Importing {
            tx,
            job: &job.name,
            as_of,
            last: last.as_ref(),
            expected: expected.as_deref(),
        };
        run.all(&mut reader)
    })
}

/// Like [`Store::write`] for work that may refuse: a refusal rolls back too.
pub(super) fn in_transaction<T>(
    store: &Store,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut refusal = None;
    let written = store.write(|tx| {
        work(tx).map_err(|why| {
            let failure = match &why {
                Refusal::Refused(failure) => failure.clone(),
                Refusal::NotReconciled(message) => Failure::new(Class::Data, message.clone()),
            };
            refusal = Some(why);
            failure
        })
    });
    written.map_err(|failure| refusal.unwrap_or(Refusal::Refused(failure)))
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
    pub(super) fn find(connection: &rusqlite::Connection, job: &str, feed: &str) -> Result<Option<Self>, Failure> {
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
    pub(super) fn guard(last: Option<&Self>, newest: Option<&str>, what: &str) -> Result<(), Refusal> {
        match (last.and_then(|last| last.newest_booked_at.as_deref()), newest) {
            (Some(before), Some(now)) if now < before => Err(Refusal::NotReconciled(format!(
                "{what} is older than the last one taken: its newest booked_at is {now}, the last one's was {before}; nothing was taken, put the current file there"
            ))),
            _ => Ok(()),
        }
    }

    /// Remembers a reading that was taken.
    pub(super) fn remember(tx: &Transaction<'_>, taken: &Taken<'_>) -> Result<(), Failure> {
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
        Ok(())
    }
}

/// A reading that was taken.
pub(super) struct Taken<'t> {
    pub(super) job: &'t str,
    pub(super) feed: &'t str,
    pub(super) as_of: Instant,
    pub(super) digest: &'t str,
    pub(super) import: Import,
    pub(super) newest_booked_at: Option<&'t str>,
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

struct Importing<'i> {
    tx: &'i Transaction<'i>,
    job: &'i str,
    as_of: Instant,
    last: Option<&'i Last>,
    expected: Option<&'i str>,
}

impl Importing<'_> {
    fn all(&self, reader: &mut Reader<'_>) -> Result<Import, Refusal> {
        let sources = reader.sources();
        let ((import, newest, first), digest) = piped(reader, |rows| self.write(rows))?;
        let what = format!("the ledger {}", sources.join(", "));
        guard_not_empty(&import, first.as_ref(), &what)?;
        Last::guard(self.last, newest.as_deref(), &what)?;
        same_digest(self.expected, &digest)?;
        self.guard_ids()?;
        Last::remember(
            self.tx,
            &Taken {
                job: self.job,
                feed: "",
                as_of: self.as_of,
                digest: &digest,
                import,
                newest_booked_at: newest.as_deref(),
                sources: &sources,
            },
        )?;
        Ok(import)
    }

    /// Writes every row; returns the counts, the newest booking, and the first row put aside.
    fn write(
        &self,
        rows: &mut dyn Iterator<Item = Row>,
    ) -> Result<(Import, Option<String>, Option<PutAside>), Refusal> {
        let mut import = Import::default();
        let mut newest: Option<Instant> = None;
        let mut first = None;
        let mut entries = Entries::new(self.tx, self.job)?;
        let mut aside = Aside::new(self.tx, self.job, self.as_of)?;
        for row in rows {
            match row {
                Ok(entry) => {
                    import.entries += 1;
                    import.excluded += u64::from(entry.status == LedgerStatus::Excluded);
                    newest = newest.max(entry.booked_at);
                    entries.put(entry)?;
                }
                Err(row) => {
                    import.unreadable += 1;
                    aside.put(&row)?;
                    first.get_or_insert(row);
                }
            }
        }
        entries.end()?;
        Ok((import, newest.map(format_instant), first))
    }

    /// The same ledger id twice in one reading: which one is meant, nobody can tell.
    fn guard_ids(&self) -> Result<(), Refusal> {
        let sql = "SELECT ledger_id FROM ledger_entries WHERE job = ?1 AND ledger_id IS NOT NULL
                   GROUP BY ledger_id HAVING count(*) > 1 LIMIT 1";
        let twice: Option<String> = self
            .tx
            .query_row(sql, [self.job], |row| row.get(0))
            .optional()
            .map_err(Failure::from)?;
        let Some(id) = twice else {
            return Ok(());
        };
        let sql = "SELECT source, source_line FROM ledger_entries WHERE job = ?1 AND ledger_id = ?2
                   ORDER BY entry_id LIMIT 2";
        let places = self
            .tx
            .prepare(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([self.job, &id], |row| {
                        Ok(format!("{}:{}", row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(Failure::from)?;
        Err(Refusal::data(format!(
            "{} carry the same ledger_id; an id names one entry, so nothing was taken; correct the export, or map ledger_id to a column that is unique",
            places.join(" and ")
        )))
    }
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

/// Columns of an entry as they are stored, in the order of the statements below.
const COLUMNS: &str = "ledger_id, reference, provider_id, account, direction, currency, amount_minor, fee_minor, \
                       status, ledger_status, booked_at, x_external_id, reference_no, source, source_line";

/// The entries of the last import in their order, and the new ones put over them.
struct Entries<'t> {
    job: &'t str,
    old: Vec<(i64, Stored)>,
    /// Index into `old` of the one that the next new entry meets.
    at: usize,
    last_id: i64,
    fetch: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    update: CachedStatement<'t>,
    delete: CachedStatement<'t>,
}

/// Entries of the last import fetched at a time.
const FETCH: i64 = 1024;

impl<'t> Entries<'t> {
    fn new(tx: &'t Transaction<'t>, job: &'t str) -> Result<Self, Failure> {
        // Bound names only; the column list is a constant. By rowid: no index gives this order.
        let fetch = format!(
            "SELECT entry_id, {COLUMNS} FROM ledger_entries NOT INDEXED WHERE entry_id > ?1 AND job = ?2
             ORDER BY entry_id LIMIT {FETCH}"
        );
        let insert = format!(
            "INSERT INTO ledger_entries ({COLUMNS}, job)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        );
        let update = format!(
            "UPDATE ledger_entries SET ({COLUMNS}) =
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) WHERE entry_id = ?16"
        );
        Ok(Self {
            job,
            old: Vec::new(),
            at: 0,
            last_id: 0,
            fetch: tx.prepare_cached(&fetch)?,
            insert: tx.prepare_cached(&insert)?,
            update: tx.prepare_cached(&update)?,
            delete: tx.prepare_cached("DELETE FROM ledger_entries NOT INDEXED WHERE entry_id >= ?1 AND job = ?2")?,
        })
    }

    fn put(&mut self, entry: LedgerEntry) -> Result<(), Failure> {
        let new = Stored::of(entry);
        match self.next_old()? {
            Some((_, old)) if *old == new => {}
            Some((id, _)) => {
                let id = *id;
                new.write(&mut self.update, &id)?;
            }
            None => new.write(&mut self.insert, &self.job)?,
        }
        self.at += 1;
        Ok(())
    }

    fn next_old(&mut self) -> Result<Option<&(i64, Stored)>, Failure> {
        if self.at == self.old.len() && self.last_id >= 0 {
            self.at = 0;
            self.old = self
                .fetch
                .query_map(params![self.last_id, self.job], |row| {
                    Ok((row.get(0)?, Stored::read(row)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            // -1: all of them were seen.
            self.last_id = self.old.last().map_or(-1, |(id, _)| *id);
        }
        Ok(self.old.get(self.at))
    }

    /// Deletes what the new ledger no longer has.
    fn end(&mut self) -> Result<(), Failure> {
        if let Some((id, _)) = self.next_old()? {
            let id = *id;
            self.delete.execute(params![id, self.job])?;
        }
        Ok(())
    }
}

/// An entry as its row holds it.
#[derive(PartialEq, Eq)]
struct Stored {
    texts: [Option<String>; 12],
    amount_minor: i64,
    fee_minor: Option<i64>,
    source_line: i64,
}

/// Where each text stands among [`COLUMNS`]; the gaps are the numbers.
const TEXTS: [usize; 12] = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13];
const AMOUNT: usize = 6;
const FEE: usize = 7;
const LINE: usize = 14;

impl Stored {
    fn of(entry: LedgerEntry) -> Self {
        let word = |word: &str| Some(word.to_owned());
        Self {
            texts: [
                entry.ledger_id,
                Some(entry.reference),
                entry.provider_id,
                entry.account,
                word(entry.direction.as_str()),
                word(entry.currency.code()),
                word(entry.status.as_str()),
                entry.ledger_status,
                entry.booked_at.map(format_instant),
                entry.x_external_id,
                entry.reference_no,
                Some(entry.source),
            ],
            amount_minor: entry.amount_minor,
            fee_minor: entry.fee_minor,
            source_line: whole(entry.source_line),
        }
    }

    /// From a row that begins with the id.
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let mut texts: [Option<String>; 12] = Default::default();
        for (text, at) in texts.iter_mut().zip(TEXTS) {
            *text = row.get(at + 1)?;
        }
        Ok(Self {
            texts,
            amount_minor: row.get(AMOUNT + 1)?,
            fee_minor: row.get(FEE + 1)?,
            source_line: row.get(LINE + 1)?,
        })
    }

    /// Binds everything, then `last` behind it.
    fn write(&self, statement: &mut CachedStatement<'_>, last: &dyn rusqlite::ToSql) -> Result<(), Failure> {
        for (text, at) in self.texts.iter().zip(TEXTS) {
            statement.raw_bind_parameter(at + 1, text)?;
        }
        statement.raw_bind_parameter(AMOUNT + 1, self.amount_minor)?;
        statement.raw_bind_parameter(FEE + 1, self.fee_minor)?;
        statement.raw_bind_parameter(LINE + 1, self.source_line)?;
        statement.raw_bind_parameter(LINE + 2, last)?;
        statement.raw_execute()?;
        Ok(())
    }
}

/// Rows put aside: a place that was known keeps the day it was first seen, one that is mended is marked as gone.
struct Aside<'t> {
    job: &'t str,
    as_of: String,
    again: CachedStatement<'t>,
    insert: CachedStatement<'t>,
}

impl<'t> Aside<'t> {
    fn new(tx: &'t Transaction<'t>, job: &'t str, as_of: Instant) -> Result<Self, Failure> {
        let as_of = format_instant(as_of);
        // All are gone until they are met again.
        tx.prepare_cached(
            "UPDATE unreadable_rows SET gone_at = ?2
             WHERE job = ?1 AND feed = '' AND page_id IS NULL AND gone_at IS NULL",
        )?
        .execute(params![job, as_of])?;
        Ok(Self {
            job,
            as_of,
            again: tx.prepare_cached(
                "UPDATE unreadable_rows SET gone_at = NULL, reason = ?4
                 WHERE job = ?1 AND page_id IS NULL AND source = ?2 AND place = ?3 AND feed = ''",
            )?,
            insert: tx.prepare_cached(
                "INSERT INTO unreadable_rows (job, feed, source, place, reason, seen_at) VALUES (?1, '', ?2, ?3, ?4, ?5)",
            )?,
        })
    }

    fn put(&mut self, row: &PutAside) -> Result<(), Failure> {
        let PutAside { source, what, .. } = row;
        if self.again.execute(params![self.job, source, what.place, what.reason])? == 0 {
            self.insert
                .execute(params![self.job, source, what.place, what.reason, self.as_of])?;
        }
        Ok(())
    }
}
