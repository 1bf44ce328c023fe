//! Files for people, written so that nobody ever sees half of one: a temporary file in the same folder, synced, renamed, the
//! folder synced. Every folder below the root is opened by its name inside the folder above and never through a link, so
//! that neither a name nor a planted link leads elsewhere.
//!
//! Does not know what the files hold.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Class, Failure};

/// Files: owner writes, group reads.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
/// Folders: the same.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);

/// Writes `bytes` to `root/folders…/name` and returns that path. The root may be a link (it is the operator's); nothing
/// below it may. What stood there is replaced as a whole.
///
/// # Errors
/// INTERNAL for a name outside `[A-Za-z0-9._-]`, LOCAL-IO for links and for whatever the disk refuses.
pub fn put(root: &Path, folders: &[&str], name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let mut path = root.to_owned();
    for part in folders.iter().chain([&name]) {
        if !is_component(part) {
            return Err(Failure::new(
                Class::Internal,
                "a file name would leave the closed alphabet [A-Za-z0-9._-]; nothing was written",
            ));
        }
        path.push(part);
    }
    let place = |at: &Path, errno: Errno| {
        let what = match errno {
            Errno::LOOP | Errno::MLINK => "is a symbolic link, which is never followed here; remove it".to_owned(),
            Errno::NOTDIR => "is no folder (or a symbolic link, which is never followed here); remove it".to_owned(),
            errno => format!("cannot be written: {}", std::io::Error::from(errno).kind()),
        };
        Failure::new(Class::LocalIo, format!("{} {what}", at.display()))
    };
    let mut folder = open_root(root)?;
    let mut at = root.to_owned();
    for part in folders {
        at.push(part);
        folder = open_folder(&folder, part).map_err(|errno| place(&at, errno))?;
    }
    replace(&folder, name, bytes).map_err(|errno| place(&path, errno))?;
    Ok(path)
}

/// One path component of the closed alphabet; no dot in front, so neither `..` nor hidden files.
fn is_component(part: &str) -> bool {
    (1..=200).contains(&part.len())
        && !part.starts_with('.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn open_root(root: &Path) -> Result<OwnedFd, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |kind: std::io::ErrorKind| {
        Failure::new(
            Class::LocalIo,
            format!("the folder {} cannot be opened: {kind}", root.display()),
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE.bits())
        .create(root)
        .map_err(|error| failed(error.kind()))?;
    rustix::fs::open(
        root,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| failed(std::io::Error::from(errno).kind()))
}

/// Opens a folder inside another, made if it is not there.
fn open_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(parent, name, FOLDER_MODE) {
        Ok(()) => rustix::fs::fsync(parent)?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Temporary file, sync, rename, sync of the folder. The temporary name is always the same, so that what a kill left behind
/// is replaced by the next run.
fn replace(folder: &OwnedFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::EXIST),
        },
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let temporary = format!(".{name}.part");
    match rustix::fs::unlinkat(folder, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let written = write_whole(folder, &temporary, bytes)
        .and_then(|()| rustix::fs::renameat(folder, &temporary, folder, name))
        .and_then(|()| rustix::fs::fsync(folder));
    if written.is_err() {
        // Nothing half-made stays behind; the first error is the one to tell.
        let _ = rustix::fs::unlinkat(folder, &temporary, AtFlags::empty());
    }
    written
}

fn write_whole(folder: &OwnedFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, FILE_MODE)?;
    // Whatever the umask took away: the group is meant to read.
    rustix::fs::fchmod(&file, FILE_MODE)?;
    let mut file = std::fs::File::from(file);
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    file.write_all(bytes).map_err(io)?;
    file.sync_all().map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        for bad in [
            "..",
            ".",
            "",
            "a/b",
            "a\0b",
            "../x",
            ".hidden",
            "naïve",
            "a b",
            &"x".repeat(201),
        ] {
            for (folders, name) in [(vec![bad], "file"), (vec![], bad), (vec!["good", bad], "file")] {
                let failure = put(root.path(), &folders, name, b"x").unwrap_err();
                assert_eq!(failure.class, Class::Internal, "{bad:?}");
            }
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
