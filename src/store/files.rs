//! Frozen report files.
use rusqlite::Transaction;

use super::Store;
use crate::day::{BusinessDay, Instant};
use crate::failure::Failure;

/// Freezes a produced file; made again for the same day it replaces the former bytes.
pub fn put_file(
    tx: &Transaction<'_>,
    job: &str,
    day: BusinessDay,
    as_of: Instant,
    name: &str,
    bytes: &[u8],
) -> Result<(), Failure> {
    let _ = (tx, job, day, as_of, name, bytes);
    Err(super::not_built())
}

/// The frozen files of a job's day, by name.
pub fn get_files(store: &Store, job: &str, day: BusinessDay) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let _ = (store, job, day);
    Err(super::not_built())
}
