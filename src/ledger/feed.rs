//! Exports of providers, settlements and banks (jobs of kind `file`) -> records, through the mapping of a ledger.
//!
//! An export is read as one full listing: it is looked at once for its span and its guards, then its rows are stored
//! under the same rules as those of archived pages, with one sealed window over that span.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};
use tokio_util::sync::CancellationToken;

use super::import::{Last, Taken, guard_not_empty, piped, same_digest};
use super::spool::{Newest, temporary};
use super::{Import, PutAside, Reader, Refusal, Row};
use crate::config::{FileFeed, Job};
use crate::day::{Instant, day_of, format_instant, last_day_over, next_day, start_of_day};
use crate::failure::{Class, Failure};
use crate::record::{self, Direction, LedgerEntry, LedgerStatus, Status, TransactionKind};
use crate::store::{FilePlace, FileRow, Store, apply_file_rows, audit};
use crate::window::Window;

/// Reads the export of a job of kind `file` into `transactions`. The same guards hold as for a ledger: missing, empty,
/// older than the last one, of another account. An unchanged export is not read again.
///
/// `provider_id` is the mapped column, else the reference; a reference that occurs again gets `#2`, `#3` … in the order of
/// the lines. Excluded rows are counted and not stored.
///
/// # Errors
/// Whatever the refusal, the records of the last import stay as they are.
pub fn import_feed(
    store: &Store,
    job: &Job,
    feed: &FileFeed,
    folder: &Path,
    as_of: Instant,
    stop: &CancellationToken,
) -> Result<Import, Refusal> {
    take(store, job, feed, folder, as_of, stop).map_err(named_as_export)
}

fn take(
    store: &Store,
    job: &Job,
    feed: &FileFeed,
    folder: &Path,
    as_of: Instant,
    stop: &CancellationToken,
) -> Result<Import, Refusal> {
    let reader = Reader::open(&feed.table, folder, Some(job.timezone))?;
    let mut reader = reader.masking(store.erased()?).until(stop)?;
    let last = store.read(|connection| Last::find(connection, &job.name, &feed.feed))?;
    if let Some(last) = &last
        && reader.digest()? == last.digest
        && !store.read(|connection| spoke_of_later(connection, job, feed, as_of))?
    {
        return Ok(last.import);
    }
    reader.wait_until_quiet()?;
    let sources = reader.sources();
    let look = Look::at(&mut reader, as_of)?;
    let what = format!("the export {}", sources.join(", "));
    guard_not_empty(&look.import, look.first.as_ref(), &what)?;
    Last::guard(last.as_ref(), look.booked, &what)?;
    let place = FilePlace {
        job: &job.name,
        provider: &feed.provider,
        feed: &feed.feed,
        as_of,
        window: look.span(job, as_of),
        zone: job.timezone,
    };
    in_transaction(store, |tx| {
        let mut ids = Ids::new()?;
        let (_, digest) = piped(&mut reader, |rows| {
            let rows = rows.filter_map(|row| file_row(row, &mut ids).transpose());
            Ok(apply_file_rows(tx, &place, rows)?)
        })?;
        same_digest(Some(&look.digest), &digest)?;
        let taken = Taken {
            job: &job.name,
            feed: &feed.feed,
            as_of,
            digest: &digest,
            import: look.import,
            newest_booked_at: look.booked.binds(),
            sources: &sources,
        };
        let mut seals = audit::Seals::default();
        seals.row(tx, audit::Sealed::Export, &format!("{}/{}", job.name, feed.feed))?;
        Last::remember(tx, &taken, seals)?;
        Ok(look.import)
    })
}

/// Whether the last import held rows from after its own night, as an export does that is read for nights long gone. The days
/// since then are proved by the same export, once they are over.
fn spoke_of_later(connection: &Connection, job: &Job, feed: &FileFeed, as_of: Instant) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM ledger_imports AS i
                 JOIN transactions AS t ON t.job = i.job AND t.feed = i.feed AND t.occurred_at > i.as_of
                WHERE i.import_id = (SELECT max(l.import_id) FROM ledger_imports AS l WHERE l.job = ?1 AND l.feed = ?2)
                  AND i.as_of < ?3)";
    Ok(
        connection.query_row(sql, params![job.name, feed.feed, format_instant(as_of)], |row| {
            row.get(0)
        })?,
    )
}

/// The reader calls every table a ledger.
fn named_as_export(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::NotReconciled(why) => Refusal::NotReconciled(why.replacen("the ledger ", "the export ", 1)),
        other => other,
    }
}

/// Like [`Store::write`] for work that may refuse: a refusal rolls back too.
fn in_transaction<T>(store: &Store, work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
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

/// What the first look at an export says.
struct Look {
    import: Import,
    oldest: Option<Instant>,
    newest: Option<Instant>,
    booked: Newest,
    first: Option<PutAside>,
    digest: String,
}

impl Look {
    fn at(reader: &mut Reader<'_>, as_of: Instant) -> Result<Self, Refusal> {
        let mut look = Self {
            import: Import::default(),
            oldest: None,
            newest: None,
            booked: Newest::new(as_of),
            first: None,
            digest: String::new(),
        };
        look.digest = reader.rows(&mut |row| {
            look.count(row);
            Ok(())
        })?;
        Ok(look)
    }

    fn count(&mut self, row: Row) {
        match row {
            Ok(entry) => {
                self.import.entries += 1;
                self.import.excluded += u64::from(entry.status == LedgerStatus::Excluded);
                self.newest = self.newest.max(entry.booked_at);
                self.booked.meet(entry.booked_at);
                self.oldest = match (self.oldest, entry.booked_at) {
                    (Some(oldest), Some(at)) => Some(oldest.min(at)),
                    (oldest, at) => oldest.or(at),
                };
            }
            Err(row) => {
                self.import.unreadable += 1;
                self.first.get_or_insert(row);
            }
        }
    }

    /// The whole business days that the export speaks about, as far as they are over; without times in it, everything
    /// the job wants. Never empty.
    fn span(&self, job: &Job, as_of: Instant) -> Window {
        let zone = job.timezone;
        let over = last_day_over(as_of, job.fetch.settle, zone);
        let (first, last) = match (self.oldest, self.newest) {
            (Some(oldest), Some(newest)) => (day_of(oldest, zone), day_of(newest, zone).min(over)),
            _ => (job.fetch.start, over),
        };
        Window {
            from: start_of_day(first, zone),
            until: start_of_day(next_day(last.max(first)), zone),
        }
    }
}

/// A row as the store takes it; None for one that is no part of the money flow.
fn file_row(row: Row, ids: &mut Ids) -> Result<Option<FileRow>, Failure> {
    match row {
        Err(PutAside {
            source,
            line,
            what,
            about,
        }) => Ok(Some(FileRow {
            source,
            line,
            row: Err((what, *about)),
        })),
        Ok(entry) if entry.status == LedgerStatus::Excluded => Ok(None),
        Ok(entry) => {
            let provider_id = ids.of(&entry)?;
            let (source, line) = (entry.source.clone(), entry.source_line);
            Ok(Some(FileRow {
                source,
                line,
                row: Ok(transaction(entry, provider_id)),
            }))
        }
    }
}

fn transaction(entry: LedgerEntry, provider_id: String) -> record::Transaction {
    let status = match entry.status {
        LedgerStatus::Settled => Status::Settled,
        LedgerStatus::Open => Status::Open,
        LedgerStatus::Failed => Status::Failed,
        LedgerStatus::Excluded | LedgerStatus::Unknown => Status::Unknown,
    };
    record::Transaction {
        account: entry.account.unwrap_or_default(),
        // The place names the feed.
        feed: "",
        subject: String::new(),
        provider_id,
        reference: Some(entry.reference),
        related_id: None,
        direction: entry.direction,
        kind: match entry.direction {
            Direction::In => TransactionKind::Deposit,
            Direction::Out => TransactionKind::Withdraw,
        },
        currency: entry.currency,
        amount_minor: entry.amount_minor,
        fee_minor: entry.fee_minor,
        fee_currency: entry.fee_minor.map(|_| entry.currency),
        status,
        // Whoever mapped a word to settled or failed called it decided; a later change is then worth a look.
        is_final: matches!(status, Status::Settled | Status::Failed),
        provider_status: entry.ledger_status.unwrap_or_else(|| status.as_str().to_owned()),
        occurred_at: entry.booked_at,
        changed_at: None,
        residuals: Vec::new(),
    }
}

/// The ids of one reading, in a private temporary database: memory does not grow with the export.
struct Ids(Connection);

impl Ids {
    fn new() -> Result<Self, Failure> {
        Ok(Self(temporary(
            "CREATE TABLE ids (account TEXT, id TEXT, line INTEGER, PRIMARY KEY (account, id)) STRICT, WITHOUT ROWID;
             CREATE TABLE refs (account TEXT, ref TEXT, times INTEGER, PRIMARY KEY (account, ref)) STRICT, WITHOUT ROWID;",
        )?))
    }

    /// The id of a row: the provider's own one, which must be unique, or the reference, numbered where it repeats.
    fn of(&mut self, entry: &LedgerEntry) -> Result<String, Failure> {
        let account = entry.account.as_deref().unwrap_or_default();
        if let Some(id) = &entry.provider_id {
            return match self.take(account, id, entry.source_line)? {
                None => Ok(id.clone()),
                Some(line) => Err(Failure::new(
                    Class::Data,
                    format!(
                        "{}:{} carries the provider_id that line {line} already has; an id names one record, so nothing was taken; correct the export, or map provider_id to a column that is unique",
                        entry.source, entry.source_line
                    ),
                )),
            };
        }
        let sql = "INSERT INTO refs (account, ref, times) VALUES (?1, ?2, 1)
                   ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times";
        let times: u64 = self
            .0
            .prepare_cached(sql)?
            .query_row([account, entry.reference.as_str()], |row| row.get::<_, i64>(0))?
            .unsigned_abs();
        for number in times.. {
            let id = match number {
                1 => entry.reference.clone(),
                _ => format!("{}#{number}", entry.reference),
            };
            // Taken by a row with an id of its own: the next number.
            if self.take(account, &id, entry.source_line)?.is_none() {
                return Ok(id);
            }
        }
        Err(Failure::new(Class::Internal, "numbers for repeated references ran out"))
    }

    /// Takes an id; the line that has it when it is taken already.
    fn take(&mut self, account: &str, id: &str, line: u64) -> Result<Option<i64>, Failure> {
        let sql = "INSERT INTO ids (account, id, line) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let line = super::import::whole(line);
        if self.0.prepare_cached(sql)?.execute(params![account, id, line])? == 1 {
            return Ok(None);
        }
        let sql = "SELECT line FROM ids WHERE account = ?1 AND id = ?2";
        Ok(Some(
            self.0.prepare_cached(sql)?.query_row([account, id], |row| row.get(0))?,
        ))
    }
}
