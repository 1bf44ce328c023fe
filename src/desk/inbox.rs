//! The drop folder: files that people put there are taken in, then moved to `taken` or, when anything in them was refused,
//! to `refused`, each with its receipt beside it.
//!
//! A kill between taking in and moving is harmless: the next look finds the same decisions and moves the file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::receipt::Receipt;
use super::sheet::MOST_BYTES;
use super::take_in;
use crate::config::Job;
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::store::Store;

/// Where files go that were taken in whole.
const TAKEN: &str = "taken";
/// Where files go of which something was refused.
const REFUSED: &str = "refused";
/// Names of half-copied files and of the locks office programs leave beside an open one.
const UNFINISHED: [&str; 5] = [".tmp", ".part", ".partial", ".crdownload", ".filepart"];

/// Takes in every file of the folder, in the order of their names; gives each receipt with the place of its file now. A
/// folder that is not there yet is empty.
///
/// `quiet_for`: a file changed less than this long before `wall` may still be being copied and stays for the next look.
///
/// # Errors
/// LOCAL-IO for a folder that cannot be read or written, or a database that cannot be written.
pub fn take_in_all(
    store: &Store,
    jobs: &[Job],
    folder: &Path,
    by: &str,
    at: Instant,
    wall: SystemTime,
    quiet_for: Duration,
) -> Result<Vec<(Receipt, PathBuf)>, Failure> {
    let mut all = Vec::new();
    for name in waiting(folder, wall, quiet_for)? {
        let path = folder.join(&name);
        let bytes = std::fs::read(&path).map_err(|error| trouble(&path, &error))?;
        let receipt = take_in(store, jobs, &name, &bytes, by, at)?;
        let place = put_away(folder, &name, &receipt)?;
        all.push((receipt, place));
    }
    Ok(all)
}

/// Names of the files that are there in full.
fn waiting(folder: &Path, wall: SystemTime, quiet_for: Duration) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(trouble(folder, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| trouble(folder, &error))?;
        let Ok(name) = entry.file_name().into_string() else {
            tracing::warn!("a file in the drop folder has a name that is no UTF-8 and was left there; rename it");
            continue;
        };
        let lower = name.to_lowercase();
        let unfinished =
            name.starts_with('.') || name.starts_with("~$") || UNFINISHED.iter().any(|end| lower.ends_with(end));
        // Not through links: what a link names is not in this folder.
        let meta = entry
            .path()
            .symlink_metadata()
            .map_err(|error| trouble(&entry.path(), &error))?;
        if unfinished || !meta.is_file() {
            continue;
        }
        let fresh = meta
            .modified()
            .ok()
            .and_then(|changed| wall.duration_since(changed).ok())
            .is_none_or(|age| age < quiet_for);
        if (fresh && !quiet_for.is_zero()) || meta.len() > MOST_BYTES {
            tracing::warn!(
                file = name,
                "left in the drop folder: it may still be being copied, or it is too large to be a sheet with decisions"
            );
            continue;
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// Moves the file and lays its receipt beside it; gives its new place.
fn put_away(folder: &Path, name: &str, receipt: &Receipt) -> Result<PathBuf, Failure> {
    let target = folder.join(if receipt.is_clean() { TAKEN } else { REFUSED });
    std::fs::create_dir_all(&target).map_err(|error| trouble(&target, &error))?;
    let to = free_name(&target, name);
    std::fs::rename(folder.join(name), &to).map_err(|error| trouble(&to, &error))?;
    write_receipt(&to, receipt)?;
    Ok(to)
}

/// `sheet.csv`, else `sheet-2.csv`, …: an earlier file of the same name stays.
fn free_name(folder: &Path, name: &str) -> PathBuf {
    let (stem, end) = name.rsplit_once('.').map_or((name, ""), |(stem, end)| (stem, end));
    let dot = if end.is_empty() { "" } else { "." };
    let mut number = 1_u32;
    loop {
        let to = match number {
            1 => folder.join(name),
            n => folder.join(format!("{stem}-{n}{dot}{end}")),
        };
        if to.symlink_metadata().is_err() {
            return to;
        }
        number += 1;
    }
}

/// Writes `<file>.receipt.txt` whole or not at all; gives its place.
fn write_receipt(file: &Path, receipt: &Receipt) -> Result<PathBuf, Failure> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".receipt.txt");
    let to = file.with_file_name(name);
    let folder = file.parent().unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut temporary| {
        temporary.write_all(receipt.text().as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&to).map_err(|error| error.error)?;
        Ok(())
    });
    written.map_err(|error| trouble(&to, &error))?;
    Ok(to)
}

fn trouble(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Class::LocalIo,
        format!(
            "{}: {}; decisions that were taken in stay in the books, mend the folder and run again",
            path.display(),
            error.kind()
        ),
    )
}
