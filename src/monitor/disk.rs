//! Room on the disk: what is there, what a night will need, and how long it lasts.
//!
//! What a night adds is not known before it; certain is the copy for analysts, which is made whole beside the old one. Too
//! little room for that is refused before the first request; less than a month at the average growth so far is a warning.

use std::path::Path;

use crate::config::Settings;
use crate::failure::{Class, Failure};
use crate::store::Store;

/// Room for what is no part of the database (reports, the log): 1 MiB.
const BESIDE: u64 = 1 << 20;
/// Nights that must be left before a warning.
const NIGHTS_AHEAD: u64 = 30;
/// Before that many nights the first reading, of everything there is, would pass for a night's growth.
const NIGHTS_TO_KNOW: u64 = 7;

/// Bytes, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub database_bytes: u64,
    /// Write-ahead log.
    pub log_bytes: u64,
    /// For this user, on the file system of the database; None where it cannot be asked.
    pub free_bytes: Option<u64>,
    /// What the database grew by per night, on average; 0 before a week of nights.
    pub growth_bytes: u64,
    /// What the next night needs at least.
    pub needed_bytes: u64,
}

impl Disk {
    /// Nights until it is full, at the average growth so far.
    pub fn nights_left(&self) -> Option<u64> {
        let room = self.free_bytes?.saturating_sub(self.needed_bytes);
        room.checked_div(self.growth_bytes)
    }

    /// Whether the next night has room.
    pub fn suffices(&self) -> bool {
        self.free_bytes.is_none_or(|free| free >= self.needed_bytes)
    }
}

/// Bytes that this user may still write on the file system that holds `path`, or its nearest folder that exists.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let there = absolute.ancestors().find(|place| place.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Looks at the database and its disk.
///
/// # Errors
/// LOCAL-IO for the database.
pub fn look(store: Option<&Store>, settings: &Settings) -> Result<Disk, Failure> {
    let free_bytes = free_bytes(&settings.database);
    let Some(store) = store else {
        return Ok(Disk {
            free_bytes,
            needed_bytes: BESIDE,
            ..Disk::default()
        });
    };
    let database_bytes = std::fs::metadata(store.path()).map_or(0, |meta| meta.len());
    let nights: i64 = store.read(|books| {
        Ok(books
            .prepare_cached("SELECT count(*) FROM (SELECT DISTINCT business_day FROM runs)")?
            .query_row([], |row| row.get(0))?)
    })?;
    let nights = nights.unsigned_abs();
    let growth_bytes = if nights < NIGHTS_TO_KNOW {
        0
    } else {
        database_bytes / nights
    };
    let copy = if settings.published.is_some() {
        database_bytes
    } else {
        0
    };
    Ok(Disk {
        database_bytes,
        log_bytes: store.wal_bytes(),
        free_bytes,
        growth_bytes,
        needed_bytes: BESIDE + copy,
    })
}

/// Refuses a night that has no room, before anything is asked; warns (Some) when less than a month is left.
///
/// # Errors
/// LOCAL-IO with the free and the needed bytes.
pub fn foresee(store: &Store, settings: &Settings) -> Result<Option<String>, Failure> {
    let disk = look(Some(store), settings)?;
    let Some(free) = disk.free_bytes else {
        return Ok(None);
    };
    if !disk.suffices() {
        return Err(Failure::new(
            Class::LocalIo,
            format!(
                "the disk of {} has {} free and the night needs at least {}; nothing was asked: free space, or lower [retention] \
                 and run `reconciled prune`, the next run goes on",
                settings.database.display(),
                bytes(free),
                bytes(disk.needed_bytes)
            ),
        ));
    }
    Ok(disk.nights_left().filter(|nights| *nights < NIGHTS_AHEAD).map(|nights| {
        format!(
            "the disk of {} has {} free, which lasts for about {nights} nights at the average growth so far of {} a night; make room",
            settings.database.display(),
            bytes(free),
            bytes(disk.growth_bytes)
        )
    }))
}

/// `4096 bytes`, `12.3 MB`: for people.
pub fn bytes(number: u64) -> String {
    let (unit, name) = match number {
        0..1_000_000 => return format!("{number} bytes"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", number / unit, number % unit / (unit / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_for_the_night_does_not_suffice_and_the_nights_left_are_counted_from_what_remains() {
        let disk = Disk {
            database_bytes: 100,
            log_bytes: 0,
            free_bytes: Some(1_000),
            growth_bytes: 10,
            needed_bytes: 600,
        };
        assert!(disk.suffices());
        assert_eq!(disk.nights_left(), Some(40));
        let full = Disk {
            free_bytes: Some(599),
            ..disk
        };
        assert!(!full.suffices());
        assert_eq!(full.nights_left(), Some(0));
        assert_eq!(
            Disk {
                growth_bytes: 0,
                ..disk
            }
            .nights_left(),
            None
        );
    }

    #[test]
    fn bytes_are_said_in_the_unit_a_person_would_use() {
        let said: Vec<String> = [999_999, 12_345_678, 7_000_000_000].map(bytes).into();
        assert_eq!(said, ["999999 bytes", "12.3 MB", "7.0 GB"]);
    }
}
