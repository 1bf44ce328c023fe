//! Runs, the wishes of providers to be left alone, and what was learned about accounts.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, Transaction, params};

use super::audit::{self, Act, Sealed};
use super::{Store, number, stored_instant};
use crate::day::{BusinessDay, Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::record::Verdict;

/// What is known of a run when it begins.
#[derive(Clone, Debug)]
pub struct RunStart<'a> {
    pub job: &'a str,
    pub as_of: Instant,
    /// The last day that was over.
    pub business_day: BusinessDay,
    /// Wall clock.
    pub started_at: Instant,
}

/// What a run came to; the counts as in `schema.sql`.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// Wall clock; None: compared, but its reports and mails are not frozen yet.
    pub finished_at: Option<Instant>,
    pub verdict: Verdict,
    pub exit_code: u8,
    /// Somebody asked it to stop before its end.
    pub stopped: bool,
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

/// Writes the run's row, and ends the rows that a kill left without an end: verdict failed, exit code 75, at the moment
/// this run started. Gives the `run_id`.
pub fn begin_run(store: &Store, start: &RunStart<'_>) -> Result<i64, Failure> {
    let started_at = format_instant(start.started_at);
    store.write(|tx| {
        let mut cut = tx.prepare_cached(
            "UPDATE runs SET finished_at = ?2, verdict = 'failed', exit_code = 75,
                    message = 'the run was cut off before its end; the next run went on from where it stopped'
              WHERE job = ?1 AND finished_at IS NULL RETURNING run_id",
        )?;
        let cut = cut.query_map(params![start.job, started_at], |row| row.get(0))?;
        for run_id in cut.collect::<Result<Vec<i64>, _>>()? {
            seal(tx, run_id)?;
        }
        tx.execute(
            "INSERT INTO runs (job, as_of, business_day, started_at) VALUES (?1, ?2, ?3, ?4)",
            params![
                start.job,
                format_instant(start.as_of),
                start.business_day.to_string(),
                started_at
            ],
        )?;
        Ok(tx.last_insert_rowid())
    })
}

/// Completes the run's row.
pub fn finish_run(store: &Store, run_id: i64, end: &RunEnd) -> Result<(), Failure> {
    store.write(|tx| {
        let written = tx.execute(
            "UPDATE runs SET finished_at = ?2, verdict = ?3, exit_code = ?4, message = ?5, requests = ?6, pages = ?7, rows = ?8,
                    unreadable = ?9, matched = ?10, pending = ?11, excluded = ?12, opened = ?13, reopened = ?14,
                    resolved = ?15, open = ?16, compared = max(compared, ?17), stopped = ?18
              WHERE run_id = ?1",
            params![
                run_id,
                end.finished_at.map(format_instant),
                end.verdict.as_str(),
                end.exit_code,
                end.message,
                number(end.requests),
                number(end.pages),
                number(end.rows),
                number(end.unreadable),
                number(end.matched),
                number(end.pending),
                number(end.excluded),
                number(end.opened),
                number(end.reopened),
                number(end.resolved),
                number(end.open),
                end.finished_at.is_none(),
                end.stopped
            ],
        )?;
        match (written, end.finished_at) {
            (1, Some(_)) => seal(tx, run_id),
            (1, None) => Ok(()),
            _ => Err(Failure::new(Class::Internal, format!("run {run_id} was never begun"))),
        }
    })
}

/// Writes what happened after the reports (mail, published copy) into the row of a run that came to its end.
pub fn correct_end(store: &Store, run_id: i64, exit_code: u8, message: Option<&str>) -> Result<(), Failure> {
    store.write(|tx| {
        let written = tx.execute(
            "UPDATE runs SET exit_code = ?2, message = ?3
              WHERE run_id = ?1 AND finished_at IS NOT NULL AND (exit_code <> ?2 OR message IS NOT ?3)",
            params![run_id, exit_code, message],
        )?;
        if written == 0 { Ok(()) } else { seal(tx, run_id) }
    })
}

/// Writes the end of a run into the audit trail.
fn seal(tx: &Transaction<'_>, run_id: i64) -> Result<(), Failure> {
    let (job, as_of, day): (String, String, String) = tx
        .prepare_cached("SELECT job, as_of, business_day FROM runs WHERE run_id = ?1")?
        .query_row([run_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let written = [(Sealed::Run, run_id.to_string())];
    audit::note(tx, stored_instant(&as_of)?, Act::Ended, (&job, &day), &written)
}

/// `as_of`, or the earliest as-of of this job's runs for the same business day since its last run that read everything
/// (exit codes 0 and 65): what a cut or failed run already read counts as read.
pub fn fresh_since(store: &Store, job: &str, as_of: Instant, business_day: BusinessDay) -> Result<Instant, Failure> {
    // From the last run backwards (NOT INDEXED): the one sought is mostly among the first looked at.
    let earliest: Option<String> = store.read(|connection| {
        Ok(connection.query_row(
            "SELECT min(as_of) FROM runs
              WHERE job = ?1 AND business_day = ?2
                AND run_id > coalesce((SELECT run_id FROM runs NOT INDEXED WHERE job = ?1 AND exit_code IN (0, 65)
                                         ORDER BY run_id DESC LIMIT 1), 0)",
            params![job, business_day.to_string()],
            |row| row.get(0),
        )?)
    })?;
    match earliest {
        Some(text) => Ok(stored_instant(&text)?.min(as_of)),
        None => Ok(as_of),
    }
}

/// Whether a run of this job for this very as-of instant read everything: what it was refused a person has acknowledged.
pub fn ended_well(store: &Store, job: &str, as_of: Instant) -> Result<bool, Failure> {
    store.read(|connection| {
        Ok(connection
            .prepare_cached(
                "SELECT 1 FROM runs WHERE job = ?1 AND as_of = ?2 AND exit_code IN (0, 65) AND verdict <> 'incomplete'
                    AND finished_at IS NOT NULL AND run_id = (SELECT run_id FROM runs NOT INDEXED WHERE job = ?1 AND finished_at IS NOT NULL
                                   ORDER BY run_id DESC LIMIT 1)",
            )?
            .exists([job, &format_instant(as_of)])?)
    })
}

/// The as-of of a job's last run when it was compared, and was killed or failed before its reports were written.
pub fn untold_night(store: &Store, job: &str) -> Result<Option<Instant>, Failure> {
    let found: Option<String> = store.read(|connection| {
        Ok(connection
            .query_row(
                "SELECT as_of FROM runs
                  WHERE run_id = (SELECT run_id FROM runs NOT INDEXED WHERE job = ?1 ORDER BY run_id DESC LIMIT 1)
                    AND compared AND (finished_at IS NULL OR verdict = 'failed')",
                [job],
                |row| row.get(0),
            )
            .optional()?)
    })?;
    found.as_deref().map(stored_instant).transpose()
}

/// The last night of a job.
#[derive(Clone, Copy, Debug)]
pub struct LastNight {
    pub verdict: Verdict,
    pub business_day: BusinessDay,
    /// Everything wanted was read: by the verdict, or because only the ledger was refused, which is not asked for here.
    pub read: bool,
}

/// How the last night of a job ended that stands no later than `as_of`; None: it never ran.
pub fn last_night(store: &Store, job: &str, as_of: Instant) -> Result<Option<LastNight>, Failure> {
    let found: Option<(String, String, bool)> = store.read(|connection| {
        Ok(connection
            .query_row(
                "SELECT verdict, business_day,
                        verdict = 'not_reconciled' AND exit_code = 65 AND requests > 0
                          AND NOT EXISTS (SELECT 1 FROM windows WHERE windows.job = runs.job AND windows.state <> 'sealed')
                   FROM runs NOT INDEXED
                  WHERE job = ?1 AND as_of <= ?2 AND verdict IS NOT NULL ORDER BY run_id DESC LIMIT 1",
                [job, &format_instant(as_of)],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?)
    })?;
    let Some((verdict, day, only_the_ledger)) = found else {
        return Ok(None);
    };
    let damaged = || Failure::new(Class::LocalIo, format!("a run of {job} holds what no run wrote"));
    let verdict: Verdict = verdict.parse().map_err(|_| damaged())?;
    let whole = !matches!(verdict, Verdict::Incomplete | Verdict::NotReconciled | Verdict::Failed);
    Ok(Some(LastNight {
        verdict,
        business_day: day.parse().map_err(|_| damaged())?,
        read: whole || only_the_ledger,
    }))
}

/// A provider's wish to be left alone: not before when, and why. It may lie in the past.
pub fn pause(store: &Store, lane: &str) -> Result<Option<(Instant, String)>, Failure> {
    let found: Option<(String, String)> = store.read(|connection| {
        Ok(connection
            .query_row("SELECT not_before, why FROM pauses WHERE lane = ?1", [lane], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?)
    })?;
    found
        .map(|(not_before, why)| Ok((stored_instant(&not_before)?, why)))
        .transpose()
}

/// Remembers such a wish over restarts; the last one said counts.
pub fn set_pause(store: &Store, lane: &str, not_before: Instant, why: &str) -> Result<(), Failure> {
    store.write(|tx| {
        tx.execute(
            "INSERT INTO pauses (lane, not_before, why) VALUES (?1, ?2, ?3)
             ON CONFLICT (lane) DO UPDATE SET not_before = excluded.not_before, why = excluded.why",
            params![lane, format_instant(not_before), why],
        )?;
        Ok(())
    })
}

/// What was learned about a job's account, by question.
pub fn calibration(store: &Store, job: &str) -> Result<BTreeMap<String, String>, Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached("SELECT name, value FROM calibrations WHERE job = ?1")?;
        let rows = statement.query_map([job], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// What was learned as of `since` to `as_of`.
pub fn learned_between(
    store: &Store,
    job: &str,
    since: Instant,
    as_of: Instant,
) -> Result<BTreeMap<String, String>, Failure> {
    store.read(|connection| {
        let mut statement = connection
            .prepare_cached("SELECT name, value FROM calibrations WHERE job = ?1 AND learned_at BETWEEN ?2 AND ?3")?;
        let span = [job, &format_instant(since), &format_instant(as_of)];
        let rows = statement.query_map(span, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// Keeps what a person should know of a night for the run that tells of it, be it a later one.
pub fn keep_warnings(store: &Store, job: &str, as_of: Instant, warnings: &BTreeSet<String>) -> Result<(), Failure> {
    store.write(|tx| put_warnings(tx, job, as_of, warnings))
}

pub(super) fn put_warnings(
    tx: &Transaction<'_>,
    job: &str,
    as_of: Instant,
    warnings: &BTreeSet<String>,
) -> Result<(), Failure> {
    for warning in warnings {
        tx.prepare_cached("INSERT OR IGNORE INTO warnings (job, as_of, warning) VALUES (?1, ?2, ?3)")?
            .execute([job, &format_instant(as_of), warning])?;
    }
    Ok(())
}

/// What was warned of as of `since` to `as_of`.
pub fn warnings_between(store: &Store, job: &str, since: Instant, as_of: Instant) -> Result<BTreeSet<String>, Failure> {
    store.read(|connection| {
        let mut statement = connection
            .prepare_cached("SELECT DISTINCT warning FROM warnings WHERE job = ?1 AND as_of BETWEEN ?2 AND ?3")?;
        let span = [job, &format_instant(since), &format_instant(as_of)];
        let rows = statement.query_map(span, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// Writes down what was learned. Rows must be derived anew in the same transaction: see [`super::learn`].
pub(super) fn put_calibration(
    tx: &Transaction<'_>,
    job: &str,
    learned: &BTreeMap<String, String>,
    learned_at: Instant,
) -> Result<(), Failure> {
    for (name, value) in learned {
        tx.execute(
            "INSERT INTO calibrations (job, name, value, learned_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (job, name) DO UPDATE SET value = excluded.value, learned_at = excluded.learned_at
              WHERE value <> excluded.value",
            params![job, name, value, format_instant(learned_at)],
        )?;
    }
    Ok(())
}
