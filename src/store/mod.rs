//! The one SQLite file: pages and positions, records, windows, runs, calibrations, outbox and frozen files.
//!
//! Start at [`archive_pages`] (pages and their positions, one durable transaction) and [`seal`] (rows follow from pages, one
//! transaction per window). Everything else is bookkeeping around these two. The rows are a function of the archived pages
//! and of the order in `seals`; [`replay()`] walks the same function again and compares.
//!
//! Does not know: HTTP, settings files, clocks. `now` and `as_of` come in as arguments.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::day::Instant;
use crate::erase::mask::Subjects;
use crate::failure::{Class, Failure};

pub mod audit;
pub mod backup;
mod bulk;
pub mod derive;
mod fees;
mod file_rows;
pub mod files;
pub mod open;
pub mod outbox;
pub mod pages;
pub mod per_row;
pub mod periods;
pub mod replay;
mod rows;
pub mod runs;
mod schema;
mod sealed;
pub mod upgrade;
mod vanish;
pub mod verify;
pub mod windows;

pub use backup::{backup, publish};
pub use derive::{Sealed, seal};
pub use file_rows::{FilePlace, FileRow, apply_file_rows};
pub use open::{InstanceLock, Patience};
pub use pages::{NewPage, PackedPage, StoredPage, archive_pages, resumed};
pub use replay::{Difference, Replayed, learn, rederive, replay};
pub use runs::{RunEnd, RunStart, begin_run, calibration, finish_run, fresh_since, keep_warnings, pause, set_pause};
pub use vanish::doubt;
pub use verify::{Finding, verify};
pub use windows::{
    OpenReading, Place, WindowState, asked_since, covered, covered_subjects, leave_open, nameless, next_pass,
    note_keys, open_subjects, open_window, read_anew, without_reference,
};

/// The database, open: one writer behind a mutex, read-only connections beside it.
pub struct Store {
    path: PathBuf,
    // Declared before the writer and so closed before it: the last one to close is able to checkpoint.
    readers: Mutex<Vec<Connection>>,
    writer: Option<Mutex<Connection>>,
    patience: Patience,
    /// What was erased and must not come back, read once.
    erased: OnceLock<Option<Arc<Subjects>>>,
    /// Set when a commit failed at the disk: what the kernel kept is then unknown, and nothing more is acknowledged.
    broken: AtomicBool,
    // Declared last: closing it while a connection is open would drop that connection's locks.
    _descriptor: Arc<File>,
}

impl Store {
    /// Opens or creates the database (file 0640, missing folders 0750), upgrades it and checks it.
    ///
    /// Fails with `LOCAL-IO` where the file is damaged, foreign or out of reach, with `CONFIG` where a newer program wrote it
    /// or somebody altered its tables or journal mode. A refused file is left as it was.
    pub fn open(path: &Path) -> Result<Store, Failure> {
        Self::open_with(path, Patience::default())
    }

    /// As [`Store::open`], waiting for other writers as `patience` says.
    pub fn open_with(path: &Path, patience: Patience) -> Result<Store, Failure> {
        let (writer, descriptor) = open::writer(path, patience).map_err(|failure| failure.at(path.display()))?;
        Ok(Self::with(path, Some(writer), descriptor, patience))
    }

    /// Opens an existing database for reading only; creates and changes nothing. Writing through it is an `INTERNAL` failure.
    pub fn open_read_only(path: &Path) -> Result<Store, Failure> {
        let patience = Patience::default();
        let (reader, descriptor) =
            open::checked_reader(path, patience).map_err(|failure| failure.at(path.display()))?;
        let store = Self::with(path, None, descriptor, patience);
        store.give_back(reader);
        Ok(store)
    }

    fn with(path: &Path, writer: Option<Connection>, descriptor: Arc<File>, patience: Patience) -> Store {
        Store {
            path: path.to_owned(),
            readers: Mutex::new(Vec::new()),
            writer: writer.map(Mutex::new),
            patience,
            erased: OnceLock::new(),
            broken: AtomicBool::new(false),
            _descriptor: descriptor,
        }
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads on a read-only connection, in one snapshot per statement; sees everything committed before.
    pub fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let reader = self.borrow_reader()?;
        let result = f(&reader);
        self.give_back(reader);
        result.map_err(|failure| self.named(failure))
    }

    /// Writes in one `BEGIN IMMEDIATE` transaction: durable when this returns `Ok`, rolled back on `Err` and on a panic.
    ///
    /// Another writer is waited for as [`Patience`] says, then it is `PARTIAL`. Must not be called inside itself.
    pub fn write<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let writer = self.writer()?;
        let result = self
            .begin(&writer)
            .and_then(|tx| f(&tx).and_then(|value| self.commit(tx).map(|()| value)));
        result.map_err(|failure| self.named(failure))
    }

    /// A read-only connection for a while: one that was used before where there is one, which spares reading the schema anew.
    pub fn lend(&self) -> Result<Lent<'_>, Failure> {
        let connection = Some(self.borrow_reader()?);
        Ok(Lent {
            store: self,
            connection,
        })
    }

    /// A read-only connection of the caller's own, for cursors that live long.
    pub fn reader(&self) -> Result<Connection, Failure> {
        open::reader(&self.path, self.patience).map_err(|failure| failure.at(self.path.display()))
    }

    /// Bytes waiting in the write-ahead log: grows while somebody reads for long.
    pub fn wal_bytes(&self) -> u64 {
        std::fs::metadata(open::beside(&self.path, "-wal")).map_or(0, |meta| meta.len())
    }

    /// Between runs: refreshes the planner's figures and empties the write-ahead log as far as readers allow.
    pub fn rest(&self) -> Result<(), Failure> {
        let writer = self.writer()?;
        writer.execute_batch("PRAGMA optimize")?;
        // Returns a row that says how far it came; a reader in the way is no failure.
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Writes the whole file anew, so that nothing of what was deleted is left in it or in its log. False: a reader keeps the log.
    pub fn write_anew(&self) -> Result<bool, Failure> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let writer = self.writer()?;
        let rewritten = writer
            .execute_batch("VACUUM")
            .and_then(|()| writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)));
        match rewritten {
            Ok(kept) => Ok(kept == 0 && self.wal_bytes() == 0),
            Err(error) => Err(self.named(error.into())),
        }
    }

    /// What was erased from these books and is masked in everything that comes; None: nothing.
    ///
    /// # Errors
    /// CONFIG when the key is gone by which it is recognised.
    pub fn erased(&self) -> Result<Option<Arc<Subjects>>, Failure> {
        if let Some(known) = self.erased.get() {
            return Ok(known.clone());
        }
        let known = crate::erase::subjects(self)?.map(Arc::new);
        Ok(self.erased.get_or_init(|| known).clone())
    }

    fn writer(&self) -> Result<MutexGuard<'_, Connection>, Failure> {
        let Some(writer) = &self.writer else {
            return Err(Failure::new(
                Class::Internal,
                "the database was opened for reading only",
            ));
        };
        if self.broken.load(Ordering::Acquire) {
            return Err(self.named(Failure::new(
                Class::LocalIo,
                "a write failed at the disk before, so nothing more is written; check the disk and start again",
            )));
        }
        // A panic inside a transaction rolled it back; the connection is as good as before.
        Ok(writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin<'c>(&self, connection: &'c Connection) -> Result<Transaction<'c>, Failure> {
        let mut attempt = 1;
        loop {
            match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
                Err(error) if is_busy(&error) && attempt < self.patience.attempts => attempt += 1,
                other => return Ok(other?),
            }
        }
    }

    fn commit(&self, tx: Transaction<'_>) -> Result<(), Failure> {
        tx.commit().map_err(|error| {
            if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
                self.broken.store(true, Ordering::Release);
                open::mark_suspect(&self.path);
            }
            Failure::from(error)
        })
    }

    /// Runs `f` on the writer outside a transaction (ATTACH is refused inside one).
    fn with_writer<T>(&self, f: impl FnOnce(&Self, &Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let writer = self.writer()?;
        f(self, &writer).map_err(|failure| self.named(failure))
    }

    fn borrow_reader(&self) -> Result<Connection, Failure> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(|| self.reader(), Ok)
    }

    fn give_back(&self, reader: Connection) {
        /// Connections kept for the next reading; more are closed.
        const KEPT: usize = 4;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < KEPT && reader.is_autocommit() {
            readers.push(reader);
        }
    }

    /// Puts the file's name before what went wrong with it.
    fn named(&self, mut failure: Failure) -> Failure {
        if failure.is_full_disk() {
            let free = crate::monitor::disk::free_bytes(&self.path)
                .map_or("an unknown number of bytes".to_owned(), |free| {
                    crate::monitor::disk::bytes(free)
                });
            failure.message.push_str(&format!(
                "; {free} are free there, the database has {}",
                crate::monitor::disk::bytes(std::fs::metadata(&self.path).map_or(0, |meta| meta.len()))
            ));
        }
        match failure.class {
            Class::LocalIo if !failure.message.contains(&*self.path.to_string_lossy()) => {
                failure.at(self.path.display())
            }
            _ => failure,
        }
    }
}

/// A read-only connection that goes back to its store. One that still reads then is closed instead.
pub struct Lent<'s> {
    store: &'s Store,
    /// None: given back.
    connection: Option<Connection>,
}

impl Deref for Lent<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .unwrap_or_else(|| unreachable!("given back only when dropped"))
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .unwrap_or_else(|| unreachable!("given back only when dropped"))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.store.give_back(connection);
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Reads an instant this program wrote; anything else is a damaged row.
fn stored_instant(text: &str) -> Result<Instant, Failure> {
    crate::day::parse_instant(text).ok_or_else(|| damaged("an instant"))
}

/// A value that this program never wrote: somebody edited the database.
fn damaged(what: &str) -> Failure {
    Failure::new(
        Class::LocalIo,
        format!("the database holds {what} that this program did not write; run `reconciled verify`"),
    )
}

/// Counts come out of SQLite as i64 and are never negative.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Counts go into SQLite as i64; none comes near its end.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
