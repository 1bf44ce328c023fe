//! Which files a ledger is made of, and whether they hold still: looked at before they are opened, while they are read,
//! and afterwards. A pipe is never opened, a file that changes under the reader is never believed.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Refusal;
use crate::failure::Class;

/// A file that was written less than this ago is looked at again before it is believed: a writer that flushes at least
/// this often is caught in the act. Longer pauses are caught by the missing line end or the digest of the next night.
const QUIET: Duration = Duration::from_millis(500);

/// One file of a ledger, as it was when it was found.
#[derive(Clone, Debug)]
pub(super) struct File {
    path: PathBuf,
    /// Relative to the settings file's folder where it lies below it; for messages and `source`.
    pub(super) name: String,
    seen: Seen,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Seen {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The name people see: relative to the settings' folder.
pub(super) fn name_of(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// Every file of the pattern, in the order of their names. A pattern that is itself the name of a file means that file.
///
/// # Errors
/// Nothing there: [`Refusal::NotReconciled`]. Anything there that is no ordinary file: DATA.
pub(super) fn find(pattern: &str, folder: &Path) -> Result<Vec<File>, Refusal> {
    let whole = folder.join(pattern);
    let paths = if fs::symlink_metadata(&whole).is_ok() {
        vec![whole]
    } else {
        matches(pattern, folder)?
    };
    let missing = || {
        let wanted = name_of(&folder.join(pattern), folder);
        Refusal::NotReconciled(format!(
            "the ledger {wanted} is missing: no such file; put it there or correct the path, the next run takes it"
        ))
    };
    if paths.is_empty() {
        return Err(missing());
    }
    paths.into_iter().map(|path| ordinary(path, folder)).collect()
}

fn matches(pattern: &str, folder: &Path) -> Result<Vec<PathBuf>, Refusal> {
    // The folder's own name is no pattern, whatever characters it holds.
    let inside = Path::new(pattern).strip_prefix(folder).unwrap_or(Path::new(pattern));
    let pattern = if inside.is_absolute() {
        inside.display().to_string()
    } else {
        let folder = glob::Pattern::escape(&folder.display().to_string());
        if folder.is_empty() {
            inside.display().to_string()
        } else {
            format!("{folder}/{}", inside.display())
        }
    };
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // Editors and synchronisers leave hidden files beside the real ones.
        require_literal_leading_dot: true,
    };
    let found = glob::glob_with(&pattern, options).map_err(|_| {
        Refusal::new(
            Class::Config,
            "the ledger's path is not a valid pattern; check its brackets and stars",
        )
    })?;
    let mut paths = found.collect::<Result<Vec<_>, _>>().map_err(|error| {
        let folder = name_of(error.path(), folder);
        Refusal::new(
            Class::LocalIo,
            format!("the folder {folder} of the ledger cannot be listed; check its permissions"),
        )
    })?;
    paths.sort();
    Ok(paths)
}

/// Looks at a path without opening it: a pipe would block, a device would never end.
pub(super) fn ordinary(path: PathBuf, folder: &Path) -> Result<File, Refusal> {
    let name = name_of(&path, folder);
    if name.chars().any(char::is_control) {
        return Err(Refusal::data(
            "a file of the ledger has control characters in its name; rename it",
        ));
    }
    let metadata = fs::metadata(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => Refusal::NotReconciled(format!(
            "the ledger {name} is missing: it is a link that leads nowhere; correct the link, the next run takes it"
        )),
        io::ErrorKind::NotFound => Refusal::NotReconciled(format!(
            "the ledger {name} is missing: no such file; put it there or correct the path, the next run takes it"
        )),
        _ => trouble(&name, &error),
    })?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = match () {
            () if kind.is_dir() => "a folder",
            () if kind.is_fifo() => "a pipe",
            () if kind.is_socket() => "a socket",
            () => "a device",
        };
        return Err(Refusal::data(format!(
            "{name} is {what}, not a file; let the ledger's path name files only"
        )));
    }
    Ok(File {
        path,
        name,
        seen: Seen::of(&metadata),
    })
}

/// An input error as a refusal; the system's words may carry a path and stay out.
pub(super) fn trouble(name: &str, error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Refusal::new(
            Class::LocalIo,
            format!("{name} cannot be read: permission denied; let the user of this service read it"),
        ),
        kind => Refusal::new(
            Class::LocalIo,
            format!("{name} cannot be read ({kind}); check the disk and the path"),
        ),
    }
}

impl File {
    /// Opens the file that was found, and no other one that took its place.
    pub(super) fn open(&self) -> Result<Hashed, Refusal> {
        let file = fs::File::open(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.moved(),
            _ => trouble(&self.name, &error),
        })?;
        let metadata = file.metadata().map_err(|error| trouble(&self.name, &error))?;
        if !metadata.is_file() || Seen::of(&metadata) != self.seen {
            return Err(self.moved());
        }
        Ok(Hashed {
            file,
            sha: Sha256::new(),
        })
    }

    /// The same file with the same size and time as when it was found?
    pub(super) fn unmoved(&self) -> Result<(), Refusal> {
        match fs::metadata(&self.path) {
            Ok(metadata) if Seen::of(&metadata) == self.seen => Ok(()),
            _ => Err(self.moved()),
        }
    }

    pub(super) fn moved(&self) -> Refusal {
        Refusal::new(
            Class::Partial,
            format!(
                "{} changed while it was read, so nothing of it was taken; write it under another name and rename it, the next run takes it",
                self.name
            ),
        )
    }

    /// SHA-256 of the whole file.
    pub(super) fn sha256(&self) -> Result<[u8; 32], Refusal> {
        let mut hashed = self.open()?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match hashed.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(trouble(&self.name, &error)),
            }
        }
        self.unmoved()?;
        Ok(hashed.sha.finalize().into())
    }
}

/// Refuses a ledger that is being written: every file must have been left alone for [`QUIET`].
pub(super) fn wait_until_quiet(files: &[File]) -> Result<(), Refusal> {
    let mut wait = Duration::ZERO;
    for file in files {
        let modified = fs::metadata(&file.path)
            .and_then(|m| m.modified())
            .map_err(|_| file.moved())?;
        // A time in the future is a clock that was set back; the file may still be young.
        let age = modified.elapsed().unwrap_or_default();
        wait = wait.max(QUIET.saturating_sub(age));
    }
    if !wait.is_zero() {
        std::thread::sleep(wait.min(QUIET));
    }
    files.iter().try_for_each(File::unmoved)
}

/// A file that is hashed as it is read.
pub(super) struct Hashed {
    file: fs::File,
    sha: Sha256,
}

impl Hashed {
    pub(super) fn sha256(self) -> [u8; 32] {
        self.sha.finalize().into()
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.sha.update(&buffer[..n]);
        Ok(n)
    }
}

/// The digest of a whole ledger: settings, then names and contents. Every part is preceded by its length, so that no two
/// ledgers share one by moving a byte from a name to a content.
pub(super) struct Digested(Sha256);

impl Digested {
    pub(super) fn new(settings: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.part(settings.as_bytes());
        digest
    }

    pub(super) fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn file(&mut self, name: &str, sha256: [u8; 32]) {
        self.part(name.as_bytes());
        self.part(&sha256);
    }

    /// 64 hex digits.
    pub(super) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}
