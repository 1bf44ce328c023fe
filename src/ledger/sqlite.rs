//! A ledger that is a SQLite database: one SELECT over a read-only connection that can do nothing else.
//!
//! The file may be damaged or made by somebody with bad intentions; the query comes from the settings, but is still held
//! to reading. All rows are one snapshot.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::ffi::ErrorCode;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Statement};
use tokio_util::sync::CancellationToken;

use super::map::{COLUMNS, Cells, Mapping, RowFault};
use super::source::{Digested, ordinary};
use super::{Refusal, Sink, stopped};
use crate::config::LedgerColumn;
use crate::failure::Class;

/// Bytes of one value; a ledger has no longer ones.
const MAX_VALUE: i32 = 1024 * 1024;
/// How long a writer of that database may hold it.
const BUSY: Duration = Duration::from_secs(5);
/// How long a query may work on one row: an endless one must not keep the night waiting for ever.
const SILENCE: Duration = Duration::from_secs(600);
/// Steps of SQLite between two looks at the clock: some microseconds.
const STEPS: i32 = 10_000;

/// The database, open, and the query.
pub(super) struct Query {
    /// The database's name relative to the settings' folder: `source` of its entries.
    pub(super) name: String,
    connection: Connection,
    sql: String,
    stop: CancellationToken,
    heard: Heard,
}

/// When the query gave its last row, in seconds since it was opened.
#[derive(Clone)]
struct Heard {
    opened: Instant,
    last: Arc<AtomicU64>,
}

impl Heard {
    fn now(&self) {
        self.last.store(self.opened.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn is_long_ago(&self) -> bool {
        self.opened.elapsed().as_secs() > self.last.load(Ordering::Relaxed) + SILENCE.as_secs()
    }
}

impl Query {
    /// Opens the database and proves the query: one statement, and one that reads.
    pub(super) fn open(path: &Path, folder: &Path, sql: &str) -> Result<Self, Refusal> {
        let path = folder.join(path);
        // Looked at first: SQLite would wait for the other end of a pipe.
        let name = ordinary(path.clone(), folder)?.name;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(|error| trouble(&name, &error))?;
        harden(&mut connection).map_err(|error| trouble(&name, &error))?;
        let query = Self {
            name,
            connection,
            sql: sql.to_owned(),
            stop: CancellationToken::new(),
            heard: Heard {
                opened: Instant::now(),
                last: Arc::default(),
            },
        };
        query.prove()?;
        Ok(query)
    }

    /// Interrupts the query when somebody asks to stop, or when it gives no row for too long.
    pub(super) fn until(&mut self, stop: &CancellationToken) -> Result<(), Refusal> {
        self.stop = stop.clone();
        let (stop, heard) = (stop.clone(), self.heard.clone());
        let interrupt = move || stop.is_cancelled() || heard.is_long_ago();
        self.connection
            .progress_handler(STEPS, Some(interrupt))
            .map_err(|error| self.trouble(&error))
    }

    fn trouble(&self, error: &rusqlite::Error) -> Refusal {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) if self.stop.is_cancelled() => stopped(&self.name).into(),
            Some(ErrorCode::OperationInterrupted) => Refusal::data(format!(
                "the query on {} gave no row for {} minutes and was ended; run it by hand, and give it an index or correct it",
                self.name,
                SILENCE.as_secs() / 60
            )),
            _ => trouble(&self.name, error),
        }
    }

    fn prove(&self) -> Result<(), Refusal> {
        let statement = self.statement()?;
        if statement.readonly() && statement.column_count() > 0 && statement.is_explain() == 0 {
            return Ok(());
        }
        Err(self.only_select())
    }

    fn only_select(&self) -> Refusal {
        let message = format!(
            "the query on {} must be one SELECT and nothing else; it was not run",
            self.name
        );
        Refusal::new(Class::Config, message)
    }

    fn statement(&self) -> Result<Statement<'_>, Refusal> {
        self.connection.prepare(&self.sql).map_err(|error| match &error {
            rusqlite::Error::MultipleStatement => self.only_select(),
            // SQLite's words about a query hold names and words of the query itself, which stands in the settings.
            // The database may be another one than yesterday: emptied, or being built.
            rusqlite::Error::SqliteFailure(_, Some(msg)) if msg.starts_with("no such table") => Refusal::data(format!(
                "the query on {} cannot be run: {msg}; correct query, or the database",
                self.name
            )),
            rusqlite::Error::SqlInputError { msg, .. } => Refusal::new(
                Class::Config,
                format!("the query on {} cannot be run: {msg}; correct query", self.name),
            ),
            other => match other.sqlite_error_code() {
                Some(ErrorCode::AuthorizationForStatementDenied) => self.only_select(),
                Some(ErrorCode::Unknown) | None => Refusal::new(
                    Class::Config,
                    format!("the query on {} cannot be run; correct query", self.name),
                ),
                _ => trouble(&self.name, other),
            },
        })
    }

    /// The digest of every row's mapped values.
    pub(super) fn digest(&self, mapping: &Mapping<'_>) -> Result<String, Refusal> {
        self.walk(mapping, &mut |_, _| Ok(()))
    }

    /// Every row, and the digest.
    pub(super) fn rows(&self, mapping: &Mapping<'_>, sink: Sink<'_>) -> Result<String, Refusal> {
        let mut digits: [String; COLUMNS] = Default::default();
        self.walk(mapping, &mut |number, values| match cells(values, &mut digits) {
            (cells, None) => mapping.row(&cells, &self.name, number, "row", sink),
            (cells, Some(fault)) => mapping.refuse(fault, &cells, &self.name, number, "row", sink),
        })
    }

    fn walk(&self, mapping: &Mapping<'_>, each: Each<'_>) -> Result<String, Refusal> {
        let mut statement = self.statement()?;
        let at = {
            let names: Vec<&str> = statement.column_names().collect();
            mapping.columns(&names).map_err(|wrong| {
                let name = &self.name;
                Refusal::data(format!("{name}: the query's result has {wrong}; name its columns with AS, or correct the mapping under columns"))
            })?
        };
        let mut digest = mapping.digest();
        digest.part(self.name.as_bytes());
        let mut rows = statement.query([]).map_err(|error| self.trouble(&error))?;
        let mut number = 0_u64;
        self.heard.now();
        while let Some(row) = rows.next().map_err(|error| self.trouble(&error))? {
            number += 1;
            if number.is_multiple_of(256) {
                self.heard.now();
            }
            let mut values: Values<'_> = [None; COLUMNS];
            for (column, at) in LedgerColumn::ALL.iter().zip(at) {
                let Some(at) = at else { continue };
                let value = row.get_ref(at).map_err(|error| self.trouble(&error))?;
                if let ValueRef::Real(_) = value {
                    return Err(self.real(number, *column, mapping));
                }
                add(&mut digest, value);
                values[*column as usize] = Some(value);
            }
            each(number, &values)?;
        }
        Ok(digest.finish())
    }

    /// A floating-point number has already lost what it was (FAILURES F8): 0012.30 is 12.3, long ids end in zeros.
    fn real(&self, number: u64, column: LedgerColumn, mapping: &Mapping<'_>) -> Refusal {
        let store = match column {
            LedgerColumn::Amount | LedgerColumn::Fee => mapping.unit_word(),
            _ => "TEXT",
        };
        Refusal::data(format!(
            "{}: row {number} of the query, column {}: a floating-point number (REAL), which holds neither money nor ids exactly; store it as {store}",
            self.name,
            mapping.theirs(column)
        ))
    }
}

/// Values of one row by our column.
type Values<'r> = [Option<ValueRef<'r>>; COLUMNS];
type Each<'e> = &'e mut dyn FnMut(u64, &Values<'_>) -> Result<(), Refusal>;

/// Values as the text that the mapping reads, and the first that is none; whole numbers are written into `digits`.
fn cells<'r>(values: &Values<'r>, digits: &'r mut [String; COLUMNS]) -> (Cells<'r>, Option<RowFault>) {
    let mut cells: Cells<'r> = [None; COLUMNS];
    let mut fault = None;
    for (digits, (value, column)) in digits.iter_mut().zip(values.iter().zip(LedgerColumn::ALL)) {
        match value.map_or(Ok(None), |value| cell(value, digits)) {
            Ok(text) => cells[*column as usize] = text,
            Err(reason) => {
                fault.get_or_insert(RowFault::Aside {
                    column: *column,
                    reason: reason.to_owned(),
                });
            }
        }
    }
    (cells, fault)
}

fn cell<'r>(value: ValueRef<'r>, digits: &'r mut String) -> Result<Option<&'r str>, &'static str> {
    use std::fmt::Write;
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => {
            digits.clear();
            let _ = write!(digits, "{number}");
            Ok(Some(digits))
        }
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| "is text that is not UTF-8")?;
            if text.contains('\0') {
                return Err("holds a NUL character");
            }
            Ok(Some(text))
        }
        ValueRef::Real(_) | ValueRef::Blob(_) => Err("holds binary data instead of text"),
    }
}

/// Type and content, so that `1` and `'1'` differ and no two rows run together.
fn add(digest: &mut Digested, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => digest.part(b"n"),
        ValueRef::Integer(number) => {
            digest.part(b"i");
            digest.part(&number.to_le_bytes());
        }
        ValueRef::Text(bytes) => {
            digest.part(b"t");
            digest.part(bytes);
        }
        ValueRef::Blob(bytes) => {
            digest.part(b"b");
            digest.part(bytes);
        }
        ValueRef::Real(_) => {}
    }
}

/// Takes from the connection everything that a hostile file or query could use, and begins the snapshot.
fn harden(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = FILE; BEGIN",
    )?;
    // The first read: says at once whether this is a database at all.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    connection.authorizer(Some(only_reading))
}

fn only_reading(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } if !FORBIDDEN.contains(&function_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

/// Functions with an effect outside the query.
const FORBIDDEN: [&str; 2] = ["load_extension", "fts3_tokenizer"];

/// SQLite's error as a refusal, without SQLite's words: they may quote values.
fn trouble(name: &str, error: &rusqlite::Error) -> Refusal {
    use ErrorCode as Code;
    let (class, what) = match error.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            (Class::Partial, "is locked by its writer; the next run tries again")
        }
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => {
            (Class::Data, "is no SQLite database, or a damaged one; check the file")
        }
        Some(Code::CannotOpen | Code::PermissionDenied | Code::ReadOnly) => (
            Class::LocalIo,
            "cannot be opened for reading; give this user read access to the file, its folder and the -wal and -shm files beside it",
        ),
        Some(Code::SystemIoFailure | Code::OutOfMemory | Code::DiskFull) => {
            (Class::LocalIo, "cannot be read; check the disk")
        }
        Some(Code::TooBig) => (
            Class::Data,
            "holds a value longer than a megabyte; leave that column out of the query",
        ),
        _ => (
            Class::Data,
            "stopped answering the query with an error; run the query by hand and correct it",
        ),
    };
    Refusal::new(class, format!("the ledger {name} {what}"))
}
