//! Copies of the database: a backup while running, and the published file for analysts.
//!
//! Both are made beside their place and moved in when they are whole and on disk.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use tempfile::NamedTempFile;

use super::{Store, open, schema};
use crate::failure::{Class, Failure};

/// A consistent copy while running: the state after the last commit. An older copy of that name is replaced; any other
/// existing file, and the database itself, are refused (`USAGE`).
pub fn backup(store: &Store, file: &Path) -> Result<(), Failure> {
    refuse_foreign_target(store, file, Class::Usage)?;
    copy(&store.reader()?, file)
}

/// The read-only copy for analysts: compact, one self-contained file (journal mode delete, so that nothing beside it is
/// needed), replaced at once.
pub fn publish(store: &Store, path: &Path) -> Result<(), Failure> {
    // Named by the settings, which may be right: something else came there.
    refuse_foreign_target(store, path, Class::LocalIo)?;
    let temporary = temporary_beside(path)?;
    let reader = store.reader()?;
    let Some(name) = temporary.path().to_str() else {
        return Err(Failure::new(
            Class::Config,
            format!("{}: the path of the published copy must be UTF-8 text", path.display()),
        ));
    };
    reader.execute("VACUUM INTO ?1", [name])?;
    move_in(temporary, path)
}

/// Copies a database page by page inside one read transaction.
pub(super) fn copy(from: &Connection, path: &Path) -> Result<(), Failure> {
    let temporary = temporary_beside(path)?;
    let mut to = Connection::open(temporary.path())?;
    let step = Backup::new(from, &mut to)?.step(-1)?;
    if step != StepResult::Done {
        return Err(Failure::new(
            Class::Partial,
            "the database was locked by another writer during the copy; try again",
        ));
    }
    to.close().map_err(|(_, error)| Failure::from(error))?;
    move_in(temporary, path)
}

fn temporary_beside(path: &Path) -> Result<NamedTempFile, Failure> {
    open::temporary_beside(path, ".reconciled-copy-")
}

fn move_in(temporary: NamedTempFile, path: &Path) -> Result<(), Failure> {
    open::publish_file(temporary.path())?;
    temporary
        .persist(path)
        .map_err(|refused| open::unreachable(path, &refused.error))?;
    open::sync_folder(path)
}

fn refuse_foreign_target(store: &Store, target: &Path, class: Class) -> Result<(), Failure> {
    let Ok(there) = std::fs::metadata(target) else {
        return Ok(());
    };
    let refuse = |why: &str| Err(Failure::new(class, format!("{}: {why}", target.display())));
    let own = std::fs::metadata(store.path()).map_err(|error| open::unreachable(store.path(), &error))?;
    if (there.dev(), there.ino()) == (own.dev(), own.ino()) {
        return refuse("this is the database itself; name another file");
    }
    let mut header = [0_u8; 72];
    let ours = there.is_file()
        && File::open(target).is_ok_and(|file| file.read_exact_at(&mut header, 0).is_ok())
        && header.starts_with(b"SQLite format 3\0")
        && header[68..72] == schema::APPLICATION_ID.to_be_bytes();
    if ours {
        Ok(())
    } else {
        refuse("there is something else under this name and it was left alone; move it away or name another file")
    }
}
