//! Opening the file: what it is, whether it is ours, how connections are set up, and the lock of the instance.
//!
//! A file is looked at byte by byte before SQLite may touch it, so that what is refused stays as it was. A new database is
//! made beside its place and moved in when it is whole: a kill never leaves half a database under its name.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, MAIN_DB, OpenFlags};
use tempfile::NamedTempFile;

use super::{schema, upgrade};
use crate::failure::{Class, Failure};

/// Files of the database: owner writes, group reads (analysts).
pub(super) const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;
/// Fewer, fuller pages: 0.8 x the time of the default 4 kB when a million rows are stored.
const PAGE_BYTES: u32 = 16 * 1024;
/// 64 MB, in the negative KiB that `PRAGMA cache_size` wants; 1.8 x faster than the default while rows are stored in bulk.
const WRITER_CACHE: i64 = -64 * 1024;
const READER_CACHE: i64 = -8 * 1024;
/// Pages of the write-ahead log before a commit moves them into the database: 64 MB, large for bulk loads.
const AUTOCHECKPOINT: i64 = 4096;
/// What stays of the log after a checkpoint, bytes.
const LOG_LIMIT: i64 = 64 * 1024 * 1024;
/// 3.7.0 to 3.51.2 can corrupt a database when a log is reset (SQLite's own notes on 3.51.3).
const OLDEST_SAFE_SQLITE: i32 = 3_051_003;

/// How long to wait for another writer: each attempt waits `timeout`.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub timeout: Duration,
    pub attempts: u32,
}

impl Default for Patience {
    /// Ten minutes in all.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            attempts: 60,
        }
    }
}

/// The right to run on a database, kept by the kernel on `<database>.lock`: it dies with the process, and never lies on the
/// database itself, where closing any descriptor would drop SQLite's own locks.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // Closing would do, were it not for a child that is just being started: until it becomes another program it holds
        // the same open file, and with it the lock.
        let _ = self.file.unlock();
    }
}

impl InstanceLock {
    /// Takes the lock, or says at once (`PARTIAL`) that another instance runs.
    pub fn take(database: &Path) -> Result<InstanceLock, Failure> {
        make_folders(database)?;
        let path = beside(database, ".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(|error| unreachable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {
                tighten(&path);
                Ok(InstanceLock { file })
            }
            Err(fs::TryLockError::WouldBlock) => Err(Failure::new(
                Class::Partial,
                format!(
                    "another instance runs on {}; nothing was asked, let it finish",
                    database.display()
                ),
            )),
            Err(fs::TryLockError::Error(error)) => Err(unreachable(&path, &error)),
        }
    }
}

/// The database's path with something put after its name: `-wal`, `.lock`.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The one writing connection: created, upgraded, checked.
pub(super) fn writer(path: &Path, patience: Patience) -> Result<(Connection, Arc<File>), Failure> {
    if rusqlite::version_number() < OLDEST_SAFE_SQLITE {
        return Err(Failure::new(
            Class::Internal,
            format!(
                "SQLite {} can corrupt its log; 3.51.3 or later is needed",
                rusqlite::version()
            ),
        ));
    }
    if fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        create(path)?;
    }
    let descriptor = descriptor(path)?;
    look_at(path, &descriptor, true)?;
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up_writer(&connection, patience)?;
    settle_suspicion(path, &connection)?;
    upgrade::to_newest(path, &connection)?;
    schema::check(&connection)?;
    for suffix in ["", "-wal", "-shm"] {
        tighten(&beside(path, suffix));
    }
    Ok((connection, descriptor))
}

/// A read-only connection to a database that was already looked at.
pub(super) fn reader(path: &Path, patience: Patience) -> Result<Connection, Failure> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    harden(&connection, patience)?;
    connection.pragma_update(None, "cache_size", READER_CACHE)?;
    Ok(connection)
}

/// A read-only connection to a file nobody looked at yet.
pub(super) fn checked_reader(path: &Path, patience: Patience) -> Result<(Connection, Arc<File>), Failure> {
    let descriptor = descriptor(path)?;
    look_at(path, &descriptor, false)?;
    let connection = reader(path, patience)?;
    schema::refuse_other_versions(&connection)?;
    schema::check(&connection)?;
    Ok((connection, descriptor))
}

fn set_up_writer(connection: &Connection, patience: Patience) -> Result<(), Failure> {
    harden(connection, patience)?;
    keep_a_log(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    connection.pragma_update(None, "secure_delete", "FAST")?;
    // Statements are prepared once: otherwise SQLite plans each of them anew for every value that is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", AUTOCHECKPOINT, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))?;
    // The log and its index stay after a clean close: readers without write permission could not open the file otherwise.
    let mut persist = 1;
    connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut persist))?;
    Ok(())
}

/// Sets the journal mode. A disk that fails meanwhile leaves the old one without an error.
fn keep_a_log(connection: &Connection) -> Result<(), Failure> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Failure::new(
            Class::LocalIo,
            format!(
                "this place does not allow a write-ahead log (journal mode {mode}); put the database on a local disk"
            ),
        ));
    }
    Ok(())
}

/// What every connection gets: nothing in the file is believed more than needed.
fn harden(connection: &Connection, patience: Patience) -> Result<(), Failure> {
    connection.busy_timeout(patience.timeout)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Makes a whole database beside its place and moves it in.
fn create(path: &Path) -> Result<(), Failure> {
    make_folders(path)?;
    for suffix in ["-wal", "-journal"] {
        let rest = beside(path, suffix);
        if fs::metadata(&rest).is_ok_and(|meta| meta.len() > 0) {
            return Err(Failure::new(
                Class::LocalIo,
                format!(
                    "{} is there but its database is not: restore the database, or move that file away to begin a new one",
                    rest.display()
                ),
            ));
        }
    }
    let file = temporary_beside(path, ".reconciled-new-")?;
    let connection = Connection::open(file.path())?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    keep_a_log(&connection)?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT;", schema::SCHEMA))?;
    connection.close().map_err(|(_, error)| Failure::from(error))?;
    for suffix in ["-wal", "-shm", "-journal"] {
        // SQLite does not say when it could not remove them.
        match fs::remove_file(beside(file.path(), suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unreachable(file.path(), &error)),
            _ => {}
        }
    }
    // Nor does it when a disk that failed made it take the change to the log back: such a file would be refused for ever.
    look_at(file.path(), file.as_file(), true).map_err(|_| {
        Failure::new(
            Class::LocalIo,
            format!(
                "the disk failed while {} was made; nothing of it was kept, check the disk and run again",
                path.display()
            ),
        )
    })?;
    publish_file(file.path())?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_folder(path),
        // Another process was faster; its database is as good.
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(refused) => Err(unreachable(path, &refused.error)),
    }
}

/// A temporary database beside `path`, locked while it is being made. What a kill left behind of others is removed first:
/// nobody holds their lock any more.
pub(super) fn temporary_beside(path: &Path, prefix: &str) -> Result<NamedTempFile, Failure> {
    /// Another process may take a fresh file for an abandoned one before it is locked, as often as it begins one itself.
    const ATTEMPTS: u32 = 10;
    let folder = folder_of(path);
    let failed = |error: std::io::Error| unreachable(&folder, &error);
    remove_abandoned(&folder, prefix).map_err(failed)?;
    for _ in 0..ATTEMPTS {
        let file = tempfile::Builder::new()
            .prefix(prefix)
            .tempfile_in(&folder)
            .map_err(failed)?;
        file.as_file().lock().map_err(failed)?;
        if file.as_file().metadata().map_err(failed)?.nlink() > 0 {
            return Ok(file);
        }
    }
    Err(Failure::new(
        Class::Partial,
        format!("others remove temporary files in {}; run again", folder.display()),
    ))
}

/// Removes temporary databases nobody is making any more, with SQLite's files beside them.
fn remove_abandoned(folder: &Path, prefix: &str) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(prefix) {
            continue;
        }
        // The random part of the name has no dash.
        let own = name[prefix.len()..].split('-').next().unwrap_or_default();
        let maker = File::open(folder.join(format!("{prefix}{own}")));
        let abandoned = match &maker {
            Ok(file) => file.try_lock().is_ok(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if abandoned {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Gives a finished file its mode and makes its bytes durable.
pub(super) fn publish_file(path: &Path) -> Result<(), Failure> {
    fs::set_permissions(path, Permissions::from_mode(FILE_MODE))
        .and_then(|()| File::open(path)?.sync_all())
        .map_err(|error| unreachable(path, &error))
}

/// Makes a name in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Failure> {
    let folder = folder_of(path);
    File::open(&folder)
        .and_then(|file| file.sync_all())
        .map_err(|error| unreachable(&folder, &error))
}

pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn make_folders(path: &Path) -> Result<(), Failure> {
    let folder = folder_of(path);
    let missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .map(Path::to_owned)
        .collect();
    for folder in missing.iter().rev() {
        match fs::DirBuilder::new().mode(FOLDER_MODE).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(unreachable(folder, &error)),
            // The mode is said again: the process's umask may have taken the analysts' group away.
            _ => fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
                .map_err(|error| unreachable(folder, &error))?,
        }
    }
    Ok(())
}

/// Takes rights away that nobody but the owner and the group's readers should have; a file of another owner stays as it is.
fn tighten(path: &Path) {
    if let Ok(meta) = fs::metadata(path)
        && meta.mode() & 0o777 & !FILE_MODE != 0
    {
        let _ = fs::set_permissions(path, Permissions::from_mode(meta.mode() & FILE_MODE));
    }
}

/// Device and inode of a file -> its descriptor.
type Descriptors = HashMap<(u64, u64), Weak<File>>;

/// A descriptor to look at a file with, shared by every [`super::Store`] on it and closed after the last of them: POSIX drops all
/// locks of a process on a file, SQLite's too, when any descriptor of it is closed.
fn descriptor(path: &Path) -> Result<Arc<File>, Failure> {
    static OPEN: LazyLock<Mutex<Descriptors>> = LazyLock::new(Mutex::default);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let meta = fs::metadata(path).map_err(|error| unreachable(path, &error))?;
    let key = (meta.dev(), meta.ino());
    if let Some(file) = open.get(&key).and_then(Weak::upgrade) {
        return Ok(file);
    }
    let file = Arc::new(File::open(path).map_err(|error| unreachable(path, &error))?);
    open.retain(|_, file| file.strong_count() > 0);
    open.insert(key, Arc::downgrade(&file));
    Ok(file)
}

/// Looks at the first bytes of an existing file without SQLite, which might mend or lock it.
fn look_at(path: &Path, file: &File, for_writing: bool) -> Result<(), Failure> {
    let bytes = file.metadata().map_err(|error| unreachable(path, &error))?.len();
    let mut header = [0_u8; 100];
    let refuse = |what: &str| {
        Err(Failure::new(
            Class::LocalIo,
            format!("{what}; it was left untouched: move it away, restore a backup, or name another database"),
        ))
    };
    if bytes == 0 {
        return refuse("the file is empty (0 bytes), which no database of this program ever is");
    }
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return refuse("the file is too short for a database");
        }
        Err(error) => return Err(unreachable(path, &error)),
        Ok(()) if !header.starts_with(b"SQLite format 3\0") => return refuse("the file is not a SQLite database"),
        Ok(()) => {}
    }
    let field = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if field(68) != schema::APPLICATION_ID {
        return refuse("the database belongs to another program (its application_id is not ours)");
    }
    schema::refuse_newer(i64::from(field(60)))?;
    let page_bytes = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65_536,
        size => size,
    };
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len());
    if log == 0 && bytes < u64::from(field(28)) * page_bytes {
        return refuse("the database is cut off: it is shorter than its header says");
    }
    if for_writing && (header[18], header[19]) != (2, 2) {
        return Err(Failure::new(
            Class::Config,
            format!(
                "the journal mode of the database was changed (it is not wal); repair: sqlite3 {} 'PRAGMA journal_mode=wal'",
                path.display()
            ),
        ));
    }
    Ok(())
}

/// Leaves a sign that a commit failed at the disk, so that the next start looks at the whole file first.
pub(super) fn mark_suspect(path: &Path) {
    // Best effort: the disk that should take it has just failed.
    let _ = File::create(beside(path, ".suspect"));
}

fn settle_suspicion(path: &Path, connection: &Connection) -> Result<(), Failure> {
    let sign = beside(path, ".suspect");
    if !sign.exists() {
        return Ok(());
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Failure::new(
            Class::LocalIo,
            "a write failed at the disk before and the database is damaged now; restore a backup and run again",
        ));
    }
    fs::remove_file(&sign).map_err(|error| unreachable(&sign, &error))
}

/// A file or folder that cannot be used, without the library's words.
pub(super) fn unreachable(path: &Path, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::NotFound => "does not exist",
        ErrorKind::PermissionDenied => "may not be used (permission denied)",
        ErrorKind::ReadOnlyFilesystem => "lies on a read-only file system",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "cannot be written: the disk is full",
        ErrorKind::IsADirectory => "is a folder",
        ErrorKind::NotADirectory => "lies below something that is no folder",
        _ => "cannot be used (input/output error)",
    };
    Failure::new(
        Class::LocalIo,
        format!("{} {why}; check path, owner and disk", path.display()),
    )
}
