//! The state of the house at a moment: what `status`, Prometheus and the alerts tell. Read from the books, computed once,
//! shown in several forms.
//!
//! Start at [`look`]. Does not know: how it is shown, who is told.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use rusqlite::{Connection, OptionalExtension};

use crate::config::{Job, Settings};
use crate::day::{BusinessDay, Instant, next_day, parse_instant, start_of_day};
use crate::failure::Failure;
use crate::schedule::{self, Due};
use crate::store::Store;

pub mod disk;
pub mod metrics;

pub use disk::Disk;

/// A night that ended early (75) is tried again, but not at once…
const TRY_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(15);
/// …and not for ever: then the nights after it go on, and read what it left.
const TRIES: i64 = 8;

/// Everything there is to tell.
#[derive(Clone, Debug)]
pub struct Picture {
    /// One per job, in their order.
    pub jobs: Vec<JobState>,
    pub outbox: Outbox,
    pub disk: Disk,
}

/// One job.
#[derive(Clone, Debug)]
pub struct JobState {
    pub job: String,
    /// Runs that ended, by verdict.
    pub runs: BTreeMap<String, u64>,
    /// Over all runs.
    pub requests: u64,
    pub pages: u64,
    pub rows: u64,
    pub last: Option<LastRun>,
    /// Open and acknowledged ones, by kind and state.
    pub open: BTreeMap<(String, String), u64>,
    /// The newest business day of a run that ended with exit code 0.
    pub last_complete_day: Option<BusinessDay>,
    /// The first instant after that day, in the job's zone.
    pub complete_until: Option<Instant>,
    /// Windows that are not sealed, and where the oldest of them begins.
    pub unsealed: u64,
    pub oldest_unsealed: Option<Instant>,
    pub next_run_at: Option<Instant>,
    /// The oldest night that is not finished so long after its slot.
    pub late: Option<Due>,
}

/// The last run that ended.
#[derive(Clone, Debug)]
pub struct LastRun {
    pub verdict: String,
    pub exit_code: u8,
    pub started_at: Instant,
    pub finished_at: Instant,
    pub requests: u64,
    pub rows: u64,
    pub unreadable: u64,
    pub pending: u64,
}

/// The outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    pub pending: u64,
    pub failed: u64,
    pub oldest_pending: Option<Instant>,
}

/// Looks at the books; without a database only what follows from the settings is known.
///
/// # Errors
/// LOCAL-IO for the database.
pub fn look(store: Option<&Store>, settings: &Settings, jobs: &[Job], now: Instant) -> Result<Picture, Failure> {
    let mut states = Vec::new();
    for job in jobs {
        states.push(match store {
            Some(store) => store.read(|books| job_state(books, settings, job, now))?,
            None => unknown(settings, job, None, now),
        });
    }
    let outbox = match store {
        Some(store) => store.read(outbox)?,
        None => Outbox::default(),
    };
    Ok(Picture {
        jobs: states,
        outbox,
        disk: disk::look(store, settings)?,
    })
}

/// What the settings alone say of a job.
fn unknown(settings: &Settings, job: &Job, done: Option<Instant>, now: Instant) -> JobState {
    JobState {
        job: job.name.clone(),
        runs: BTreeMap::new(),
        requests: 0,
        pages: 0,
        rows: 0,
        last: None,
        open: BTreeMap::new(),
        last_complete_day: None,
        complete_until: None,
        unsealed: 0,
        oldest_unsealed: None,
        next_run_at: schedule::next_slot(job, now),
        late: schedule::late(job, done, now, settings.alerts.late_after),
    }
}

fn job_state(books: &Connection, settings: &Settings, job: &Job, now: Instant) -> Result<JobState, Failure> {
    let name = job.name.as_str();
    let mut state = unknown(settings, job, done_of(books, name)?, now);
    let mut statement = books.prepare_cached(
        "SELECT verdict, count(*), sum(requests), sum(pages), sum(rows) FROM runs
          WHERE job = ?1 AND finished_at IS NOT NULL AND verdict IS NOT NULL GROUP BY verdict",
    )?;
    let mut rows = statement.query([name])?;
    while let Some(row) = rows.next()? {
        state.runs.insert(row.get(0)?, count(row.get(1)?));
        state.requests += count(row.get(2)?);
        state.pages += count(row.get(3)?);
        state.rows += count(row.get(4)?);
    }
    state.last = last_run(books, name)?;
    let mut statement = books.prepare_cached(
        "SELECT kind, state, count(*) FROM discrepancies
          WHERE job = ?1 AND state IN ('open', 'acknowledged') GROUP BY kind, state",
    )?;
    let mut rows = statement.query([name])?;
    while let Some(row) = rows.next()? {
        state.open.insert((row.get(0)?, row.get(1)?), count(row.get(2)?));
    }
    let day: Option<String> = books
        .prepare_cached(
            "SELECT max(business_day) FROM runs WHERE job = ?1 AND exit_code = 0 AND finished_at IS NOT NULL",
        )?
        .query_row([name], |row| row.get(0))?;
    state.last_complete_day = day.and_then(|day| day.parse().ok());
    state.complete_until = state
        .last_complete_day
        .map(|day| start_of_day(next_day(day), job.timezone));
    let (unsealed, oldest): (i64, Option<String>) = books
        .prepare_cached("SELECT count(*), min(from_at) FROM windows WHERE job = ?1 AND state <> 'sealed'")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    state.unsealed = count(unsealed);
    state.oldest_unsealed = oldest.as_deref().and_then(parse_instant);
    Ok(state)
}

fn last_run(books: &Connection, job: &str) -> Result<Option<LastRun>, Failure> {
    let mut statement = books.prepare_cached(
        "SELECT verdict, exit_code, started_at, finished_at, requests, rows, unreadable, pending FROM runs
          WHERE job = ?1 AND finished_at IS NOT NULL ORDER BY run_id DESC LIMIT 1",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        let instant =
            |at: usize| Ok::<_, rusqlite::Error>(parse_instant(&row.get::<_, String>(at)?).unwrap_or_default());
        Ok(LastRun {
            verdict: row.get::<_, Option<String>>(0)?.unwrap_or_else(|| "failed".to_owned()),
            exit_code: row.get::<_, Option<u8>>(1)?.unwrap_or_default(),
            started_at: instant(2)?,
            finished_at: instant(3)?,
            requests: count(row.get(4)?),
            rows: count(row.get(5)?),
            unreadable: count(row.get(6)?),
            pending: count(row.get(7)?),
        })
    };
    Ok(statement.query_row([job], read).optional()?)
}

fn outbox(books: &Connection) -> Result<Outbox, Failure> {
    let (pending, failed, oldest): (i64, i64, Option<String>) = books
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'failed'),
                    min(queued_at) FILTER (WHERE state = 'pending') FROM mails",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Outbox {
        pending: count(pending),
        failed: count(failed),
        oldest_pending: oldest.as_deref().and_then(parse_instant),
    })
}

/// The as-of instant of each job's last night that is done: it ended, and not early (75) before it was compared. A night
/// that was killed has no end; one that ended early counts as done after some tries.
///
/// # Errors
/// LOCAL-IO for the database.
pub fn done(store: &Store, jobs: &[Job]) -> Result<BTreeMap<String, Option<Instant>>, Failure> {
    store.read(|books| {
        let each = jobs
            .iter()
            .map(|job| Ok((job.name.clone(), done_of(books, &job.name)?)));
        each.collect()
    })
}

fn done_of(books: &Connection, job: &str) -> Result<Option<Instant>, Failure> {
    let at: Option<String> = books
        .prepare_cached(
            "SELECT max(as_of) FROM runs
              WHERE job = ?1 AND finished_at IS NOT NULL
                AND (exit_code <> 75 OR verdict NOT IN ('failed', 'incomplete')
                     OR as_of IN (SELECT as_of FROM runs WHERE job = ?1 AND exit_code = 75 AND NOT stopped
                                   GROUP BY as_of HAVING count(*) >= ?2))",
        )?
        .query_row((job, TRIES), |row| row.get(0))?;
    Ok(at.as_deref().and_then(parse_instant))
}

/// Jobs whose last night ended early (75) a short while ago: they rest before they are tried again.
///
/// # Errors
/// LOCAL-IO for the database.
pub fn resting(store: &Store, now: Instant) -> Result<Vec<String>, Failure> {
    let at = crate::day::format_instant;
    store.read(|books| {
        // A run that a kill left without an end is ended by the next one, at whose start: it does not rest. Neither does one
        // that somebody asked to stop: a restart goes on with it.
        let mut statement = books.prepare_cached(
            "SELECT job FROM runs AS r
              WHERE run_id = (SELECT max(run_id) FROM runs WHERE job = r.job) AND exit_code = 75 AND NOT stopped
                AND verdict IN ('failed', 'incomplete') AND finished_at BETWEEN ?1 AND ?2",
        )?;
        let jobs = statement.query_map([at(now - TRY_AGAIN_AFTER), at(now)], |row| row.get(0))?;
        Ok(jobs.collect::<Result<_, _>>()?)
    })
}

fn count(value: i64) -> u64 {
    value.unsigned_abs()
}
