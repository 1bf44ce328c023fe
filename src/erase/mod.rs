//! A person's data leaves the house: raw pages, rows, frozen files and mails, the files on disk, the copy for analysts, and the
//! bytes that deleted things leave behind in the database's own file and log. Counts and sums stay.
//!
//! Order: the database in one transaction, then the files, then the copy, then the file is written anew. Cut off anywhere, the
//! same command goes on. The text itself is kept nowhere: see [`mask`].
//!
//! Out of reach, and said so: the merchant's ledger, mails that were sent, backups made before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::rand::SecureRandom;

use crate::config::{Job, Settings, Transport};
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::store::{self, InstanceLock, Store};

mod books;
mod bytes;
pub mod mask;

use bytes::Pairs;
use mask::{Remembered, Subjects};

/// Shorter texts are part of everything.
const SHORTEST: usize = 4;
/// Bytes of the key.
const KEY_BYTES: usize = 32;

/// What an erasure did, or would do.
#[derive(Clone, Debug, Default)]
pub struct Erased {
    /// Table -> rows in which the text stood.
    pub tables: BTreeMap<String, u64>,
    /// Files on disk that were written anew.
    pub files: Vec<PathBuf>,
    /// Copies of the database beside it that still hold the text and are for a person to remove.
    pub copies: Vec<PathBuf>,
}

/// Removes every text that holds `subject`, case kept, and remembers it under a key, so that the next answer is masked again.
///
/// # Errors
/// USAGE for a text that is too short or part of what the books are made of (nothing was erased); PARTIAL where another instance
/// runs or a reader keeps the log (run it again); LOCAL-IO.
pub fn erase(settings: &Settings, jobs: &[Job], subject: &str, dry_run: bool, now: Instant) -> Result<Erased, Failure> {
    if subject.trim().len() < SHORTEST || subject.chars().any(char::is_control) {
        return Err(Failure::new(
            Class::Usage,
            format!("the text must have at least {SHORTEST} characters and no control characters; nothing was erased"),
        ));
    }
    let _lock = InstanceLock::take(&settings.database)?;
    let store = Store::open(&settings.database)?;
    let (mut subjects, remembered) = remember(&store, subject, dry_run)?;
    if mask::token(&remembered.digest).contains(subject) {
        let why =
            "the text is part of what stands in the place of erased texts; nothing was erased: name a longer text";
        return Err(Failure::new(Class::Usage, why));
    }
    subjects.add(&remembered);
    let work = books::Work {
        subject,
        remembered: &remembered,
        subjects: &subjects,
        jobs,
        now,
    };
    let mut found = books::Found::default();
    let written = store.write(|tx| {
        found = store::audit::amend(tx, "erase", now, "a person's data was erased", || {
            books::mask(tx, &work)
        })?;
        match dry_run {
            true => Err(Failure::new(Class::Partial, DRY)),
            false => Ok(()),
        }
    });
    match written {
        Err(failure) if dry_run && failure.message.ends_with(DRY) => {}
        other => other?,
    }
    let mut erased = Erased {
        tables: found.tables.clone(),
        ..Erased::default()
    };
    for folder in folders(settings) {
        walk(&folder, &found.pairs, dry_run, &mut erased.files)?;
    }
    erased.copies = copies(&settings.database);
    if dry_run {
        return Ok(erased);
    }
    if let Some(path) = settings.published.as_ref().filter(|path| path.exists()) {
        store::publish(&store, path)?;
    }
    if !store.write_anew()? {
        return Err(Failure::new(
            Class::Partial,
            "the text is erased from the books, but a reader keeps the old log of the database: close it and run the same command again",
        ));
    }
    for job in jobs.iter().filter(|job| found.jobs.contains(&job.name)) {
        if let Some(difference) = store::replay(&store, job)?.differences.first() {
            return Err(Failure::new(
                Class::Internal,
                format!(
                    "after the erasure the rows of {} differ from the masked pages ({} {}); restore a backup and report this",
                    job.name, difference.table, difference.what
                ),
            ));
        }
    }
    Ok(erased)
}

/// How the transaction of a dry run ends.
const DRY: &str = "dry run: nothing was changed";

/// Everything erased so far and what is to be remembered of this one. The key is made with the first.
fn remember(store: &Store, subject: &str, dry_run: bool) -> Result<(Subjects, Remembered), Failure> {
    let path = key_path(store.path());
    let known = remembered(store)?;
    let key = match (read_key(&path)?, known.is_empty()) {
        (Some(key), _) => key,
        (None, false) => return Err(key_is_gone(&path)),
        (None, true) => make_key(&path, dry_run)?,
    };
    let subjects = Subjects::new(&key, &known);
    let remembered = subjects.remember(subject);
    Ok((subjects, remembered))
}

/// What is looked for in everything that is read from now on; None: nobody was erased.
///
/// # Errors
/// CONFIG when the key is gone: what was erased could come back unseen.
pub fn subjects(store: &Store) -> Result<Option<Subjects>, Failure> {
    let known = remembered(store)?;
    if known.is_empty() {
        return Ok(None);
    }
    let path = key_path(store.path());
    let key = read_key(&path)?.ok_or_else(|| key_is_gone(&path))?;
    Ok(Some(Subjects::new(&key, &known)))
}

fn remembered(store: &Store) -> Result<Vec<Remembered>, Failure> {
    store.read(|books| {
        let mut statement =
            books.prepare_cached("SELECT digest, fingerprint, bytes FROM erased_subjects ORDER BY digest")?;
        let rows = statement.query_map([], |row| {
            Ok(Remembered {
                digest: row.get(0)?,
                fingerprint: row.get(1)?,
                bytes: usize::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

fn key_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".erased-key");
    PathBuf::from(name)
}

fn key_is_gone(path: &Path) -> Failure {
    Failure::new(
        Class::Config,
        format!(
            "persons were erased from this database, but the key {} by which they are recognised is not there; nothing was asked: \
             bring the file back from where the database was before",
            path.display()
        ),
    )
}

fn read_key(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let unusable = |why: &str| Failure::new(Class::Config, format!("the key {} {why}", path.display()));
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&format!("cannot be read ({})", error.kind()))),
        Ok(key) if key.len() == KEY_BYTES => Ok(Some(key)),
        Ok(_) => Err(unusable("is damaged: bring the file back from a copy")),
    }
}

fn make_key(path: &Path, dry_run: bool) -> Result<Vec<u8>, Failure> {
    let mut key = vec![0; KEY_BYTES];
    let refused = |why: String| {
        Failure::new(
            Class::LocalIo,
            format!("the key {} cannot be made ({why}); nothing was erased", path.display()),
        )
    };
    ring::rand::SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| refused("no random numbers".to_owned()))?;
    if !dry_run {
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| {
                std::io::Write::write_all(&mut file, &key)?;
                file.sync_all()
            });
        written.map_err(|error| refused(error.kind().to_string()))?;
    }
    Ok(key)
}

/// Folders whose files this program wrote or put away: reports, mails, returned sheets with their receipts.
fn folders(settings: &Settings) -> Vec<PathBuf> {
    let mut folders = vec![settings.out.clone()];
    folders.extend(settings.desk.inbox.clone());
    if let Some(Transport::Folder(folder)) = settings.mail.as_ref().map(|mail| &mail.transport) {
        folders.push(folder.clone());
    }
    folders
}

/// Writes anew every file below a folder that holds the text. Links are not followed.
fn walk(folder: &Path, pairs: &Pairs, dry_run: bool, written: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |path: &Path, error: &std::io::Error| {
        let why = format!(
            "{} cannot be read or written ({}); run the same command again",
            path.display(),
            error.kind()
        );
        Failure::new(Class::LocalIo, why)
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| failed(folder, &error))?,
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|error| failed(folder, &error))?;
    paths.sort();
    for path in paths {
        let meta = fs::symlink_metadata(&path).map_err(|error| failed(&path, &error))?;
        if meta.is_dir() {
            walk(&path, pairs, dry_run, written)?;
        } else if meta.is_file() {
            let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
            let masked = match path.extension().is_some_and(|kind| kind == "eml") {
                true => pairs.apply_to_mail(&bytes)?,
                false => pairs.apply_to_file(&bytes)?,
            };
            if let Some(masked) = masked {
                if !dry_run {
                    put(&path, &masked, meta.permissions().mode()).map_err(|error| failed(&path, &error))?;
                }
                written.push(path);
            }
        }
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".erase-")
        .suffix(".part")
        .tempfile_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode & 0o777))?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|refused| refused.error)
}

/// Copies that upgrades kept beside the database.
fn copies(database: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (database.parent(), database.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let begin = format!("{name}.before-v");
    let mut copies: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&begin))
        .map(|entry| entry.path())
        .collect();
    copies.sort();
    copies
}
