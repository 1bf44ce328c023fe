//! The archive.
use super::{OpenReading, Place, Store};
use crate::day::Instant;
use crate::failure::Failure;

/// An archived page of the pass being continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPage {
    pub page_id: i64,
    pub number: u32,
    pub confirms: bool,
    /// Decompressed.
    pub body: Vec<u8>,
}

/// An answer to be archived.
pub struct NewPage {
    pub number: u32,
    pub confirms: bool,
    pub fetched_at: Instant,
    /// Method, path and query; never a credential.
    pub request: String,
    pub http_status: u16,
    /// Scrubbed, uncompressed.
    pub body: Vec<u8>,
}

/// Archives a page with the position it stands for, in one durable transaction. `position` counts from 0 in the pass.
pub fn archive_page(
    store: &Store,
    place: &Place<'_>,
    reading: &OpenReading,
    position: u32,
    page: NewPage,
) -> Result<i64, Failure> {
    let _ = (store, place, reading, position, page);
    Err(super::not_built())
}
