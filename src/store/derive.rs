//! Rows from pages.
use std::collections::BTreeSet;

use chrono_tz::Tz;
use rusqlite::Transaction;

use super::{OpenReading, Place, Store, WindowState};
use crate::day::Instant;
use crate::failure::Failure;
use crate::providers::{Provider, Subject};
use crate::record::{self, Unreadable};
use crate::window::Window;

/// What sealing a window came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Rows in the pages: records, figures and unreadable rows; proof pages not counted again.
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub unreadable: u64,
    pub vanished: u64,
    /// In order of appearance, each once.
    pub subjects: Vec<Subject>,
    /// Field names the provider's document does not know.
    pub unknown_fields: BTreeSet<String>,
}

/// Turns the pages of the current pass into rows and seals the window, in one transaction.
pub fn seal(
    store: &Store,
    place: &Place<'_>,
    reading: &OpenReading,
    provider: &dyn Provider,
    state: WindowState,
) -> Result<Sealed, Failure> {
    let _ = (store, place, reading, provider, state);
    Err(super::not_built())
}

/// Where rows of an export belong (`kind = "file"`).
pub struct FilePlace<'a> {
    pub job: &'a str,
    /// Stands in `transactions.provider`.
    pub provider: &'a str,
    pub feed: &'a str,
    pub as_of: Instant,
    /// The span the files speak about; rows inside it that are no longer in the files are vanished.
    pub window: Window,
    pub zone: Tz,
}

/// One row of an export, read or not. `feed` of the transaction is not looked at: the place's feed counts.
pub struct FileRow {
    /// File, relative to the settings.
    pub source: String,
    /// From 1, header included.
    pub line: u64,
    pub row: Result<record::Transaction, Unreadable>,
}

/// Stores the rows of exports under the same rules as those of pages, with one sealed window over their span.
pub fn apply_file_rows(
    tx: &Transaction<'_>,
    place: &FilePlace<'_>,
    rows: impl Iterator<Item = Result<FileRow, Failure>>,
) -> Result<Sealed, Failure> {
    let _ = (tx, place, rows);
    Err(super::not_built())
}
