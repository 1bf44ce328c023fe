//! A reading on its way to the database: a private temporary file between the files and the books.
//!
//! Rows are collected here first, so that the books are locked only for the writing, every guard is asked before anything
//! is touched, and the rows can be put in the order of the books' own index: writing in that order is twice as fast.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::import::whole;
use super::{Import, PutAside, Reader, Refusal};
use crate::day::{Instant, format_instant};
use crate::failure::Failure;
use crate::record::{Direction, LedgerStatus};
use crate::store::audit::Content;

/// Columns of an entry: first the ones of the index by which the comparison reads them, then the rest. Literals, so that
/// statements are put together by the compiler and never from data.
macro_rules! columns {
    () => {
        "direction, reference, amount_minor, currency, status, provider_id, ledger_id, account, fee_minor, ledger_status, \
         booked_at, x_external_id, reference_no, source, source_line"
    };
}

/// The order of the books: that of their index; equal rows follow in the order of the files.
macro_rules! order {
    () => {
        "direction, reference, amount_minor, currency, status, provider_id"
    };
}
pub(super) use {columns, order};

/// A private temporary database: SQLite's file without a name, which spills to disk and is gone when it is closed.
pub(super) fn temporary(tables: &str) -> Result<Connection, Failure> {
    let connection = Connection::open("")?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE")?;
    connection.execute_batch(tables)?;
    connection.execute_batch("BEGIN")?;
    Ok(connection)
}

/// The newest booking of a reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    as_of: Instant,
    past: Option<Instant>,
    any: Option<Instant>,
}

impl Newest {
    pub(super) fn new(as_of: Instant) -> Self {
        Self {
            as_of,
            past: None,
            any: None,
        }
    }

    pub(super) fn meet(&mut self, at: Option<Instant>) {
        self.any = self.any.max(at);
        self.past = self.past.max(at.filter(|at| *at <= self.as_of));
    }

    /// What this reading has.
    pub(super) fn has(self) -> Option<String> {
        self.any.map(format_instant)
    }

    /// What the next reading must have too. A booking of the future may be a slip of the pen: once it is corrected, the
    /// ledger must not count as older for ever.
    pub(super) fn binds(self) -> Option<String> {
        self.past.or(self.any).map(format_instant)
    }
}

/// Everything that was read, and what is known about it as a whole.
pub(super) struct Spool {
    connection: Connection,
    pub(super) import: Import,
    pub(super) newest: Newest,
    /// The first row put aside.
    pub(super) first: Option<PutAside>,
    pub(super) digest: String,
}

impl Spool {
    /// Reads everything, in a second thread.
    pub(super) fn fill(reader: &mut Reader<'_>, as_of: Instant) -> Result<Self, Refusal> {
        let connection = temporary(
            "CREATE TABLE entries (direction TEXT, reference TEXT, amount_minor INTEGER, currency TEXT, status TEXT,
               provider_id TEXT, ledger_id TEXT, account TEXT, fee_minor INTEGER, ledger_status TEXT, booked_at TEXT,
               x_external_id TEXT, reference_no TEXT, source TEXT, source_line INTEGER) STRICT;
             CREATE TABLE aside (source TEXT, place TEXT, reason TEXT, reference TEXT, provider_id TEXT, direction TEXT,
               x_external_id TEXT, reference_no TEXT, status TEXT, currency TEXT, amount_minor INTEGER, booked_at TEXT) STRICT;",
        )?;
        let mut spool = Self {
            connection,
            import: Import::default(),
            newest: Newest::new(as_of),
            first: None,
            digest: String::new(),
        };
        let (_, digest) = super::import::piped(reader, |rows| Ok(spool.take(rows)?))?;
        spool.digest = digest;
        Ok(spool)
    }

    fn take(&mut self, rows: &mut dyn Iterator<Item = super::Row>) -> Result<(), Failure> {
        let mut insert = self.connection.prepare(concat!(
            "INSERT INTO entries (",
            columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
        ))?;
        let mut aside = self.connection.prepare(
            "INSERT INTO aside (source, place, reason, reference, provider_id, direction, x_external_id, reference_no, status,
               currency, amount_minor, booked_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?;
        for row in rows {
            match row {
                Ok(entry) => {
                    self.import.entries += 1;
                    self.import.excluded += u64::from(entry.status == LedgerStatus::Excluded);
                    self.newest.meet(entry.booked_at);
                    insert.execute(params![
                        entry.direction.as_str(),
                        entry.reference,
                        entry.amount_minor,
                        entry.currency.code(),
                        entry.status.as_str(),
                        entry.provider_id,
                        entry.ledger_id,
                        entry.account,
                        entry.fee_minor,
                        entry.ledger_status,
                        entry.booked_at.map(format_instant),
                        entry.x_external_id,
                        entry.reference_no,
                        entry.source,
                        whole(entry.source_line),
                    ])?;
                }
                Err(row) => {
                    self.import.unreadable += 1;
                    aside.execute(params![
                        row.source,
                        row.what.place,
                        row.what.reason,
                        row.about.reference,
                        row.about.provider_id,
                        row.about.direction.map(Direction::as_str),
                        row.about.x_external_id,
                        row.about.reference_no,
                        row.about.status.map(LedgerStatus::as_str),
                        row.about.currency.map(|currency| currency.code().to_owned()),
                        row.about.amount_minor,
                        row.about.booked_at.map(format_instant),
                    ])?;
                    self.first.get_or_insert(row);
                }
            }
        }
        Ok(())
    }

    /// The same ledger id twice in one reading: which one is meant, nobody can tell.
    pub(super) fn guard_ids(&self) -> Result<(), Refusal> {
        let sql = "SELECT min(rowid), max(rowid) FROM entries WHERE ledger_id IS NOT NULL
                   GROUP BY ledger_id HAVING count(*) > 1 ORDER BY 1 LIMIT 1";
        let twice: Option<(i64, i64)> = self
            .connection
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(Failure::from)?;
        let Some((first, other)) = twice else {
            return Ok(());
        };
        let place = |rowid: i64| {
            let sql = "SELECT source || ':' || source_line FROM entries WHERE rowid = ?1";
            self.connection
                .query_row(sql, [rowid], |row| row.get::<_, String>(0))
                .map_err(Failure::from)
        };
        Err(Refusal::data(format!(
            "{} and {} carry the same ledger_id; an id names one entry, so nothing was taken; correct the export, or map ledger_id to a column that is unique",
            place(first)?,
            place(other)?
        )))
    }

    /// Hands every entry on, in the order of the books.
    pub(super) fn sorted(&self, each: &mut dyn FnMut(Entry) -> Result<(), Failure>) -> Result<(), Failure> {
        // By rowid last: that is the order of files and lines.
        let sql = concat!("SELECT ", columns!(), " FROM entries ORDER BY ", order!(), ", rowid");
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(Entry::read(row, 0)?)?;
        }
        Ok(())
    }

    /// Source, place and reason of every row put aside, and what it is about, in the order of the columns of `aside`. In
    /// their order.
    pub(super) fn aside(
        &self,
        each: &mut dyn FnMut([rusqlite::types::Value; 12]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut statement = self.connection.prepare("SELECT * FROM aside ORDER BY rowid")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut values = [const { rusqlite::types::Value::Null }; 12];
            for (at, value) in values.iter_mut().enumerate() {
                *value = row.get(at)?;
            }
            each(values)?;
        }
        Ok(())
    }
}

/// An entry as its row holds it, new or old.
#[derive(PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Key,
    rest: Rest,
}

/// What the comparison's index holds of an entry; ordered as SQLite orders it (bytes, NULL first).
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    direction: String,
    reference: String,
    amount_minor: i64,
    currency: String,
    status: String,
    provider_id: Option<String>,
}

#[derive(PartialEq, Eq)]
struct Rest {
    ledger_id: Option<String>,
    account: Option<String>,
    fee_minor: Option<i64>,
    ledger_status: Option<String>,
    booked_at: Option<String>,
    x_external_id: Option<String>,
    reference_no: Option<String>,
    source: String,
    source_line: i64,
}

impl Entry {
    /// From a row of `columns!` behind `skip` others.
    pub(super) fn read(row: &rusqlite::Row<'_>, skip: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            key: Key {
                direction: row.get(skip)?,
                reference: row.get(skip + 1)?,
                amount_minor: row.get(skip + 2)?,
                currency: row.get(skip + 3)?,
                status: row.get(skip + 4)?,
                provider_id: row.get(skip + 5)?,
            },
            rest: Rest {
                ledger_id: row.get(skip + 6)?,
                account: row.get(skip + 7)?,
                fee_minor: row.get(skip + 8)?,
                ledger_status: row.get(skip + 9)?,
                booked_at: row.get(skip + 10)?,
                x_external_id: row.get(skip + 11)?,
                reference_no: row.get(skip + 12)?,
                source: row.get(skip + 13)?,
                source_line: row.get(skip + 14)?,
            },
        })
    }

    /// Adds it to the digest by which the audit trail seals a ledger: `columns!` in their order.
    pub(super) fn digest(&self, content: &mut Content) {
        let (key, rest) = (&self.key, &self.rest);
        content.text(Some(&key.direction));
        content.text(Some(&key.reference));
        content.whole(Some(key.amount_minor));
        content.text(Some(&key.currency));
        content.text(Some(&key.status));
        content.text(key.provider_id.as_deref());
        content.text(rest.ledger_id.as_deref());
        content.text(rest.account.as_deref());
        content.whole(rest.fee_minor);
        for text in [
            &rest.ledger_status,
            &rest.booked_at,
            &rest.x_external_id,
            &rest.reference_no,
        ] {
            content.text(text.as_deref());
        }
        content.text(Some(&rest.source));
        content.whole(Some(rest.source_line));
    }

    /// Binds `columns!` to ?1 to ?15 and `last` to ?16, and runs the statement.
    pub(super) fn write(&self, statement: &mut CachedStatement<'_>, last: &dyn rusqlite::ToSql) -> Result<(), Failure> {
        let (key, rest) = (&self.key, &self.rest);
        statement.execute(params![
            key.direction,
            key.reference,
            key.amount_minor,
            key.currency,
            key.status,
            key.provider_id,
            rest.ledger_id,
            rest.account,
            rest.fee_minor,
            rest.ledger_status,
            rest.booked_at,
            rest.x_external_id,
            rest.reference_no,
            rest.source,
            rest.source_line,
            last
        ])?;
        Ok(())
    }

    /// Binds what stands behind the key to ?1 to ?9 and `last` to ?10, and runs the statement.
    pub(super) fn write_rest(&self, statement: &mut CachedStatement<'_>, last: i64) -> Result<(), Failure> {
        let rest = &self.rest;
        statement.execute(params![
            rest.ledger_id,
            rest.account,
            rest.fee_minor,
            rest.ledger_status,
            rest.booked_at,
            rest.x_external_id,
            rest.reference_no,
            rest.source,
            rest.source_line,
            last
        ])?;
        Ok(())
    }
}
