//! Runs, pauses and calibrations.
use std::collections::BTreeMap;

use super::Store;
use crate::day::{BusinessDay, Instant};
use crate::failure::Failure;
use crate::record::Verdict;

/// What is known of a run when it begins.
pub struct RunStart<'a> {
    pub job: &'a str,
    pub as_of: Instant,
    pub business_day: BusinessDay,
    /// Wall clock.
    pub started_at: Instant,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// Wall clock.
    pub finished_at: Instant,
    pub verdict: Verdict,
    pub exit_code: u8,
    pub message: Option<String>,
    pub requests: u64,
    pub pages: u64,
    pub rows: u64,
    pub unreadable: u64,
    pub matched: u64,
    pub pending: u64,
    pub excluded: u64,
    pub opened: u64,
    pub reopened: u64,
    pub resolved: u64,
    pub open: u64,
}

/// Writes the run's row and closes rows of this job that a kill left without an end (verdict failed, exit code 75).
pub fn begin_run(store: &Store, start: &RunStart<'_>) -> Result<i64, Failure> {
    let _ = (store, start);
    Err(super::not_built())
}

/// Completes the run's row.
pub fn finish_run(store: &Store, run_id: i64, end: &RunEnd) -> Result<(), Failure> {
    let _ = (store, run_id, end);
    Err(super::not_built())
}

/// `as_of`, or the earliest as-of of this job's runs for the same business day since its last run with exit code 0: what a
/// cut run already read counts as read.
pub fn fresh_since(store: &Store, job: &str, as_of: Instant, business_day: BusinessDay) -> Result<Instant, Failure> {
    let _ = (store, job, as_of, business_day);
    Err(super::not_built())
}

/// A provider's wish to be left alone: not before when, and why.
pub fn pause(store: &Store, lane: &str) -> Result<Option<(Instant, String)>, Failure> {
    let _ = (store, lane);
    Err(super::not_built())
}

/// Remembers such a wish over restarts.
pub fn set_pause(store: &Store, lane: &str, not_before: Instant, why: &str) -> Result<(), Failure> {
    let _ = (store, lane, not_before, why);
    Err(super::not_built())
}

/// What was learned about a job's account.
pub fn calibration(store: &Store, job: &str) -> Result<BTreeMap<String, String>, Failure> {
    let _ = (store, job);
    Err(super::not_built())
}

/// Keeps what was learned; true when it is news. Names that are not in `learned` stay as they are.
pub fn set_calibration(
    store: &Store,
    job: &str,
    learned: &BTreeMap<String, String>,
    learned_at: Instant,
) -> Result<bool, Failure> {
    let _ = (store, job, learned, learned_at);
    Err(super::not_built())
}
