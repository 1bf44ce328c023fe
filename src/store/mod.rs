//! The one SQLite file: pages and positions, records, windows, runs, calibrations, outbox and frozen files.
//!
//! Start at [`pages::archive_page`] (a page and its position, one durable transaction) and [`derive::seal`] (rows follow from
//! pages, one transaction per window). Everything else is bookkeeping around these two. The rows are a function of the
//! archived pages and of the order in `seals`; [`replay`] walks the same function again and compares.
//!
//! Does not know: HTTP, settings files, clocks. `now` and `as_of` come in as arguments.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, Transaction};

use crate::failure::{Class, Failure};

pub mod backup;
pub mod derive;
pub mod files;
pub mod open;
pub mod outbox;
pub mod pages;
pub mod replay;
pub mod runs;
pub mod upgrade;
pub mod verify;
pub mod windows;

pub use backup::{backup, publish};
pub use derive::{FilePlace, FileRow, Sealed, apply_file_rows, seal};
pub use open::InstanceLock;
pub use pages::{NewPage, StoredPage, archive_page};
pub use replay::{Difference, Replayed, rederive, replay};
pub use runs::{RunEnd, RunStart, begin_run, calibration, finish_run, fresh_since, pause, set_calibration, set_pause};
pub use verify::{Finding, verify};
pub use windows::{OpenReading, Place, WindowState, covered, covered_subjects, leave_open, next_pass, open_window};

/// The database, open: one writer behind a mutex, read-only connections beside it.
pub struct Store {
    path: PathBuf,
    writer: Option<Mutex<Connection>>,
}

fn not_built() -> Failure {
    Failure::new(Class::Internal, "this part of the store is not built yet")
}

impl Store {
    /// Opens or creates the database: upgrades it, checks itself (`LOCAL-IO` damaged or foreign, `CONFIG` newer or altered).
    pub fn open(path: &Path) -> Result<Store, Failure> {
        let _ = path;
        Err(not_built())
    }

    /// Opens an existing database for reading only; writing through it is an `INTERNAL` failure.
    pub fn open_read_only(path: &Path) -> Result<Store, Failure> {
        let _ = path;
        Err(not_built())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads on a read-only connection; sees everything committed before.
    pub fn read<T>(&self, f: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        f(&self.reader()?)
    }

    /// Writes in one `BEGIN IMMEDIATE` transaction, durable when this returns `Ok`; rolled back on `Err`.
    pub fn write<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let _ = (f, &self.writer);
        Err(not_built())
    }

    /// A read-only connection of its own, for cursors that live long.
    pub fn reader(&self) -> Result<Connection, Failure> {
        Err(not_built())
    }
}
