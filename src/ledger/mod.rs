//! The merchant's ledger: CSV files or one SQLite query -> [`LedgerEntry`] rows; exports of providers and banks
//! (`kind = "file"`) -> records, through the same mapping.
//!
//! ```text
//! source (which files, are they whole) -> text (bytes -> UTF-8) -> quotes (strict RFC 4180, lines) -> csv --+
//!                                                                 sqlite (read-only, one SELECT) -----------+
//!                                                                         map (cells -> entry) <------------+
//!                                         import (spool, guards, merge into ledger_entries) | feed <--------+
//! ```
//!
//! Three outcomes, never a fourth: a row becomes an entry; a row that cannot be read exactly is put aside with its place
//! and the reason; a file that cannot be trusted as a whole is refused and the last import stays. Cells are taken as they
//! are: nothing is trimmed, rounded, repaired or guessed.
//!
//! Does not know: providers, pairs, reports. Start at [`import`], or at [`read`] for the rows alone.

use std::fmt;
use std::path::Path;

use std::sync::Arc;

use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;

use crate::config::Ledger;
use crate::erase::mask::Subjects;
use crate::failure::{Class, Failure};
use crate::record::{About, LedgerEntry, Unreadable};

mod cell;
mod csv;
mod feed;
mod import;
mod map;
mod quotes;
mod source;
mod spool;
mod sqlite;
mod text;

pub use feed::import_feed;
pub use import::import;
pub(crate) use text::decoded;

/// Why a ledger was not taken. Whatever was imported before stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The leg is missing: no file, no row, older than the last one, another account. Verdict `not_reconciled`, exit 65.
    NotReconciled(String),
    /// It cannot be read as a whole: DATA for its form, CONFIG for the settings, PARTIAL while it is being written,
    /// LOCAL-IO for disk and permissions.
    Refused(Failure),
}

impl Refusal {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self::Refused(Failure::new(class, message))
    }

    /// The form of the file is wrong.
    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self::new(Class::Data, message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReconciled(message) => f.write_str(message),
            Self::Refused(failure) => f.write_str(&failure.message),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Rows stored, excluded ones among them (an export's excluded rows are only counted).
    pub entries: u64,
    /// Rows whose status is mapped to `excluded`: no part of the money flow.
    pub excluded: u64,
    /// Rows put aside.
    pub unreadable: u64,
    /// The digest equals the last import's: nothing was rewritten.
    pub unchanged: bool,
}

/// A row that was put aside, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutAside {
    /// File or query, as in [`LedgerEntry::source`].
    pub source: String,
    /// Line of the file (the row's first one) or row of the query, from 1.
    pub line: u64,
    /// `line 12, column amount` and the reason, without the value.
    pub what: Unreadable,
    /// What the row says all the same.
    pub about: Box<About>,
}

/// What a reading gives: an entry, or a row that was put aside.
pub type Row = Result<LedgerEntry, PutAside>;

/// Takes the rows of a reading one by one. An error stops the reading.
pub type Sink<'s> = &'s mut dyn FnMut(Row) -> Result<(), Refusal>;

/// Reads a whole ledger row by row, in the order of the files' names and of their lines. Memory does not depend on its
/// size. `folder` is the settings file's folder: sources are named relative to it.
///
/// Returns the SHA-256 (hex) over settings, names and contents: equal digests mean equal rows.
///
/// # Errors
/// A refusal concerns the whole ledger; rows already given to `sink` must then be dropped.
pub fn read(ledger: &Ledger, folder: &Path, sink: Sink<'_>) -> Result<String, Refusal> {
    let reader = Reader::open(ledger, folder, ledger.timezone)?;
    reader.rows(sink)
}

/// An opened ledger: settings that fit together, and sources that exist and are of the right kind.
pub(crate) struct Reader<'l> {
    mapping: map::Mapping<'l>,
    leg: Leg,
    /// Masked in every row.
    erased: Option<Arc<Subjects>>,
    /// Looked at while rows are read.
    stop: CancellationToken,
}

enum Leg {
    Files(Vec<source::File>),
    Query(sqlite::Query),
}

impl<'l> Reader<'l> {
    /// `zone`: of times without an offset, when the ledger's settings name none.
    pub(crate) fn open(ledger: &'l Ledger, folder: &Path, zone: Option<Tz>) -> Result<Self, Refusal> {
        use crate::config::LedgerKind;
        let mapping = map::Mapping::new(ledger, zone)?;
        let leg = match &ledger.kind {
            LedgerKind::Csv { pattern } => Leg::Files(source::find(pattern, folder)?),
            LedgerKind::Sqlite { path, query } => Leg::Query(sqlite::Query::open(path, folder, query)?),
            LedgerKind::Server { kind } => {
                return Err(Refusal::new(
                    Class::Config,
                    format!("a ledger of kind {kind:?} is not read by this version; use \"csv\" or \"sqlite\""),
                ));
            }
        };
        Ok(Self {
            mapping,
            leg,
            erased: None,
            stop: CancellationToken::new(),
        })
    }

    /// The digest alone, cheaper than the rows where that is possible.
    pub(crate) fn digest(&self) -> Result<String, Refusal> {
        match &self.leg {
            Leg::Files(files) => {
                let mut digest = self.mapping.digest();
                for file in files {
                    digest.file(&file.name, file.sha256()?);
                }
                Ok(digest.finish())
            }
            Leg::Query(query) => query.digest(&self.mapping),
        }
    }

    /// Masks what was erased from the books in every row that is read.
    pub(crate) fn masking(mut self, erased: Option<Arc<Subjects>>) -> Self {
        self.erased = erased;
        self
    }

    /// Ends the reading with PARTIAL when somebody asks for it.
    pub(crate) fn until(mut self, stop: &CancellationToken) -> Result<Self, Refusal> {
        self.stop = stop.clone();
        if let Leg::Query(query) = &mut self.leg {
            query.until(stop)?;
        }
        Ok(self)
    }

    /// PARTIAL when somebody asked to stop.
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        if self.stop.is_cancelled() {
            return Err(stopped(&self.sources().join(", ")));
        }
        Ok(())
    }

    /// Every row, and the digest of exactly what was read.
    pub(crate) fn rows(&self, sink: Sink<'_>) -> Result<String, Refusal> {
        /// Rows between two looks at the stop.
        const LOOK: u32 = 1024;
        let mut rows = 0_u32;
        self.rows_as_they_are(&mut |mut row| {
            rows = rows.wrapping_add(1);
            if rows.is_multiple_of(LOOK) {
                self.go_on()?;
            }
            if let Some(erased) = &self.erased {
                mask(erased, &mut row);
            }
            sink(row)
        })
    }

    fn rows_as_they_are(&self, sink: Sink<'_>) -> Result<String, Refusal> {
        match &self.leg {
            Leg::Files(files) => {
                let mut digest = self.mapping.digest();
                for file in files {
                    digest.file(&file.name, csv::read(file, &self.mapping, sink)?);
                }
                Ok(digest.finish())
            }
            Leg::Query(query) => query.rows(&self.mapping, sink),
        }
    }

    /// Waits until the files have been left alone for a moment; a ledger that is being written is refused with PARTIAL.
    pub(crate) fn wait_until_quiet(&self) -> Result<(), Refusal> {
        match &self.leg {
            Leg::Files(files) => source::wait_until_quiet(files),
            // A query reads one snapshot.
            Leg::Query(_) => Ok(()),
        }
    }

    /// Names of the files or of the database, in order.
    pub(crate) fn sources(&self) -> Vec<String> {
        match &self.leg {
            Leg::Files(files) => files.iter().map(|file| file.name.clone()).collect(),
            Leg::Query(query) => vec![query.name.clone()],
        }
    }
}

fn stopped(what: &str) -> Failure {
    let message = format!("stopped while {what} was read; the last import stays, the next run reads it again");
    Failure::new(Class::Partial, message)
}

fn mask(erased: &Subjects, row: &mut Row) {
    let texts = match row {
        Ok(entry) => {
            erased.mask(&mut entry.reference);
            vec![
                &mut entry.ledger_id,
                &mut entry.provider_id,
                &mut entry.account,
                &mut entry.ledger_status,
                &mut entry.x_external_id,
                &mut entry.reference_no,
            ]
        }
        Err(PutAside { about, .. }) => vec![
            &mut about.reference,
            &mut about.provider_id,
            &mut about.x_external_id,
            &mut about.reference_no,
        ],
    };
    texts.into_iter().flatten().for_each(|text| erased.mask(text));
}
