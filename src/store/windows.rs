//! Windows and their readings.
use std::collections::BTreeMap;

use super::{Store, StoredPage};
use crate::failure::Failure;
use crate::providers::Ask;
use crate::record::words;
use crate::window::Covered;

words! {
    /// `windows.state`.
    WindowState { Open = "open", Sealed = "sealed", Unstable = "unstable" }
}

/// Where a conversation stands: the job, its provider's name, the digest of the settings that shape requests, what is asked.
pub struct Place<'a> {
    pub job: &'a str,
    pub provider: &'a str,
    pub shape: &'a str,
    pub ask: &'a Ask,
}

/// A window being read.
#[derive(Debug)]
pub struct OpenReading {
    pub window_id: i64,
    pub reading: u32,
    pub pass: u32,
    /// Pages of the current pass already archived, in order of arrival.
    pub resumed: Vec<StoredPage>,
}

/// Time spans of a feed that stand in the database.
pub fn covered(store: &Store, job: &str, feed: &str) -> Result<Vec<Covered>, Failure> {
    let _ = (store, job, feed);
    Err(super::not_built())
}

/// Subjects of a feed that stand in the database.
pub fn covered_subjects(store: &Store, job: &str, feed: &str) -> Result<BTreeMap<String, Covered>, Failure> {
    let _ = (store, job, feed);
    Err(super::not_built())
}

/// Creates the window or opens it again for a new reading; goes on with a reading that was cut.
pub fn open_window(store: &Store, place: &Place<'_>) -> Result<OpenReading, Failure> {
    let _ = (store, place);
    Err(super::not_built())
}

/// Begins the next pass of the same reading: it moved, or its position is no longer valid.
pub fn next_pass(store: &Store, place: &Place<'_>, reading: &mut OpenReading) -> Result<(), Failure> {
    let _ = (store, place, reading);
    Err(super::not_built())
}

/// Says why a window was not read to its end.
pub fn leave_open(store: &Store, place: &Place<'_>, reading: &OpenReading, reason: &str) -> Result<(), Failure> {
    let _ = (store, place, reading, reason);
    Err(super::not_built())
}
