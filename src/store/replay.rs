//! Rows again from pages.
use super::Store;
use crate::config::Job;
use crate::failure::Failure;
use crate::providers::Provider;

/// A stored row that is not what the pages say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub job: String,
    pub table: &'static str,
    /// Feed and the provider's id, or what else names the row.
    pub row: String,
    /// Which columns differ, or that the row is stored without a page, or missing.
    pub what: String,
}

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub pages: u64,
    /// Records rebuilt.
    pub rows: u64,
    /// Rows of files: they have no pages and are left out.
    pub left_out: u64,
    /// At most a thousand; empty = stored rows are what the pages say.
    pub differences: Vec<Difference>,
}

/// Rebuilds a job's rows from its archived pages in a temporary database and compares. Changes nothing.
pub fn replay(store: &Store, job: &Job) -> Result<Replayed, Failure> {
    let _ = (store, job);
    Err(super::not_built())
}

/// Makes the stored rows what the pages say under the present calibration. Ids of rows stay.
pub fn rederive(store: &Store, job: &Job, provider: &dyn Provider) -> Result<(), Failure> {
    let _ = (store, job, provider);
    Err(super::not_built())
}
