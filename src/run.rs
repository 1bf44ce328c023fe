//! The line, for one night: job -> plan -> fetch -> archive -> compare -> report -> mail.
//!
//! A run takes no hints: it looks at the database and does what the state needs. Whatever stops it, the next one goes on.
//! One job's failure never stops another. Jobs that share an account share a lane and run one after another; lanes run
//! side by side; jobs that look across others run last.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::compare::{self, LedgerLeg};
use crate::config::{Job, JobSource, ProviderSetup, Settings};
use crate::day::{BusinessDay, Instant, last_day_over};
use crate::desk;
use crate::failure::{Class, Failure};
use crate::fetch::{self, Progress};
use crate::ledger;
use crate::monitor;
use crate::providers::Shape;
use crate::record::Verdict;
use crate::store::periods::closed_through;
use crate::store::runs::{RunEnd, RunStart, begin_run, finish_run, fresh_since, warnings_between};
use crate::store::{InstanceLock, Store};

mod end;
mod legs;
mod reading;
mod untold;

use reading::Reading;

/// How far the wall clock may lie behind the last run before it is taken for broken.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::days(2);

/// What the caller decides about a night.
#[derive(Clone, Debug)]
pub struct Options {
    /// Plan, compare and report as if the night were then; None: now.
    pub as_of: Option<Instant>,
    /// False: queue and send no mail.
    pub mail: bool,
    /// Ends the night at the next page.
    pub stop: CancellationToken,
}

/// What became of one job's night.
#[derive(Clone, Debug)]
pub struct JobOutcome {
    pub job: String,
    pub as_of: Instant,
    pub business_day: BusinessDay,
    pub verdict: Verdict,
    /// None: all is well, exit code 0.
    pub class: Option<Class>,
    pub message: Option<String>,
    pub requests: u64,
    pub pages: u64,
    pub rows: u64,
    pub unreadable: u64,
    pub matched: u64,
    pub pending: u64,
    pub excluded: u64,
    pub new: u64,
    pub persisting: u64,
    pub resolved: u64,
    pub reopened: u64,
    pub open: u64,
    pub windows: Windows,
    pub files: Vec<PathBuf>,
    /// Message-IDs of this night's mails.
    pub mails: Vec<String>,
    /// Things worth a look that are no failure.
    pub warnings: Vec<String>,
    /// Its row in `runs`; None: it never began.
    run_id: Option<i64>,
    /// Somebody asked it to stop before its end.
    stopped: bool,
}

/// How the windows of the night ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    pub sealed: u64,
    pub open: u64,
    pub unstable: u64,
}

impl JobOutcome {
    fn begun(job: &Job, as_of: Instant, business_day: BusinessDay) -> Self {
        Self {
            job: job.name.clone(),
            as_of,
            business_day,
            verdict: Verdict::Failed,
            class: None,
            message: None,
            requests: 0,
            pages: 0,
            rows: 0,
            unreadable: 0,
            matched: 0,
            pending: 0,
            excluded: 0,
            new: 0,
            persisting: 0,
            resolved: 0,
            reopened: 0,
            open: 0,
            windows: Windows::default(),
            files: Vec::new(),
            mails: Vec::new(),
            warnings: Vec::new(),
            run_id: None,
            stopped: false,
        }
    }

    /// The exit code of this job alone.
    pub fn exit_code(&self) -> u8 {
        self.class.map_or(0, Class::code)
    }

    /// Keeps the failure that comes first in the order of exit codes.
    fn fail(&mut self, failure: &Failure) {
        let worse = self
            .class
            .is_none_or(|class| class != failure.class && Class::worst([class, failure.class]) == Some(failure.class));
        if worse {
            self.class = Some(failure.class);
            let named = failure.message.starts_with(&format!("{}: ", self.job));
            self.message = Some(if named {
                failure.message.clone()
            } else {
                format!("{}: {}", self.job, failure.message)
            });
        }
    }
}

/// One job with the night it stands for.
#[derive(Clone)]
pub struct Due<'a> {
    pub job: &'a Job,
    pub as_of: Instant,
}

/// Runs jobs for one night.
///
/// # Errors
/// Only what stops every job: another instance runs, the database cannot be used, the clock is absurd.
pub async fn run_jobs(
    settings: &Settings,
    jobs: &[Job],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<JobOutcome>, Failure> {
    let now = now();
    let due: Vec<Due<'_>> = jobs
        .iter()
        .map(|job| Due {
            job,
            as_of: options.as_of.unwrap_or(now),
        })
        .collect();
    run_due(settings, &due, options, progress).await
}

/// Runs each job for its own night. A night before it that was compared and could not be reported comes first; its outcome is
/// one more of that job.
///
/// # Errors
/// As [`run_jobs`].
pub async fn run_due(
    settings: &Settings,
    due: &[Due<'_>],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<JobOutcome>, Failure> {
    let _lock = InstanceLock::take(&settings.database)?;
    let store = Store::open(&settings.database)?;
    check_clock(&store, now())?;
    check_writable(&settings.out)?;
    let room = monitor::disk::foresee(&store, settings)?;
    // Nothing may come in while those who were erased cannot be recognised.
    store.erased()?;

    take_returned(settings, &store, due, options);
    let house = House {
        settings,
        store: &store,
        options,
        progress,
    };
    let mut outcomes = Vec::new();
    let due = &untold::with_untold(&store, due)?;
    for stage in stages(due) {
        let lanes = stage.into_values().map(|lane| house.run_lane(lane));
        outcomes.extend(join_all(lanes).await.into_iter().flatten());
    }
    for outcome in &mut outcomes {
        outcome.warnings.extend(room.clone());
    }
    house.finish(&mut outcomes).await;
    let order: BTreeMap<&str, usize> = due.iter().enumerate().map(|(i, d)| (d.job.name.as_str(), i)).collect();
    outcomes.sort_by_key(|outcome| order.get(outcome.job.as_str()).copied());
    Ok(outcomes)
}

/// How long a file must have been left alone before a run takes it for whole.
const QUIET_FOR: std::time::Duration = std::time::Duration::from_secs(5);

/// What people returned since the last run stands in tonight's reports. A sheet that cannot be used stops no night: its
/// receipt says why.
fn take_returned(settings: &Settings, store: &Store, due: &[Due<'_>], options: &Options) {
    let Some(inbox) = &settings.desk.inbox else { return };
    let jobs: Vec<Job> = due.iter().map(|due| due.job.clone()).collect();
    let by = settings.desk.by.as_deref().unwrap_or("inbox");
    let at = options.as_of.unwrap_or_else(now);
    let wall = std::time::SystemTime::now();
    let taken = tokio::task::block_in_place(|| desk::inbox::take_in_all(store, &jobs, inbox, by, at, wall, QUIET_FOR));
    match taken {
        Ok(receipts) => {
            for (receipt, place) in receipts {
                let (place, counts) = (place.display().to_string(), receipt.counts());
                if receipt.is_clean() {
                    tracing::info!(file = place, counts, "a returned sheet was taken in");
                } else {
                    tracing::warn!(
                        file = place,
                        counts,
                        "a returned sheet was refused in part; its receipt says why"
                    );
                }
            }
        }
        Err(failure) => tracing::error!("the drop folder was left alone: {failure}"),
    }
}

/// Lanes by stage: first the jobs that read something, then those that look at what the others stored.
fn stages<'a>(due: &[Due<'a>]) -> [BTreeMap<String, Vec<Due<'a>>>; 2] {
    let mut stages = [BTreeMap::new(), BTreeMap::new()];
    for item in due {
        let (stage, lane) = match &item.job.source {
            JobSource::Provider(setup) => (0, setup.lane.clone()),
            JobSource::File(feed) if !feed.bank => (0, format!("file {}", item.job.name)),
            JobSource::File(_) | JobSource::Across(_) => (1, format!("after {}", item.job.name)),
        };
        stages[stage].entry(lane).or_insert_with(Vec::new).push(item.clone());
    }
    stages
}

/// What every job of a night needs.
struct House<'a> {
    settings: &'a Settings,
    store: &'a Store,
    options: &'a Options,
    progress: &'a dyn Progress,
}

impl House<'_> {
    async fn run_lane(&self, lane: Vec<Due<'_>>) -> Vec<JobOutcome> {
        let mut outcomes = Vec::new();
        for due in lane {
            let business_day = last_day_over(due.as_of, due.job.fetch.settle, due.job.timezone);
            let mut outcome = JobOutcome::begun(due.job, due.as_of, business_day);
            if let Some(failure) = self.closed(due.job, business_day) {
                outcome.fail(&failure);
            } else if self.options.stop.is_cancelled() {
                let failure = Failure::new(Class::Partial, "stopped before it began; the next run goes on");
                outcome.verdict = Verdict::Incomplete;
                outcome.fail(&failure);
            } else {
                self.run_job(due.job, &mut outcome).await;
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Why a night cannot be run: its day is closed, and closed days are never rewritten.
    fn closed(&self, job: &Job, day: BusinessDay) -> Option<Failure> {
        match self.store.read(|conn| closed_through(conn, &job.name)) {
            Ok(Some(closed)) if day <= closed => Some(Failure::new(
                Class::Usage,
                format!(
                    "the business day {day} is closed (through {closed}) and is never rewritten; run a later night, or see it \
                     again with `reconciled report {} --day {day}`",
                    job.name
                ),
            )),
            Ok(_) => None,
            Err(failure) => Some(failure),
        }
    }

    /// One job's night. A panic in it is a failed run of this job and nothing else.
    async fn run_job(&self, job: &Job, outcome: &mut JobOutcome) {
        let started_at = now();
        let start = RunStart {
            job: &job.name,
            as_of: outcome.as_of,
            business_day: outcome.business_day,
            started_at,
        };
        let run_id = match begin_run(self.store, &start) {
            Ok(run_id) => run_id,
            Err(failure) => return outcome.fail(&failure),
        };
        outcome.run_id = Some(run_id);
        tracing::info!(job = job.name, run = run_id, business_day = %outcome.business_day, "the night begins");
        let walked = AssertUnwindSafe(self.walk(job, run_id, outcome)).catch_unwind().await;
        let mut told = true;
        match walked {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                // A night that was stopped goes on with the next run: it has not failed.
                let stopped = failure.class == Class::Partial && self.options.stop.is_cancelled();
                // After a broken invariant no mail goes out: nobody knows what it would say.
                told = stopped || failure.class == Class::Internal;
                outcome.stopped = stopped;
                outcome.verdict = if stopped { Verdict::Incomplete } else { Verdict::Failed };
                outcome.fail(&failure);
            }
            Err(_) => {
                outcome.verdict = Verdict::Failed;
                outcome.fail(&Failure::new(
                    Class::Internal,
                    "a panic ended this run; what was stored is whole, the next run goes on; please report it",
                ));
            }
        }
        if let Err(failure) = finish_run(self.store, run_id, &run_end(outcome, Some(now()))) {
            outcome.fail(&failure);
        }
        if !told && self.options.mail {
            self.tell_of_failure(job, run_id, outcome);
        }
        tracing::info!(job = job.name, run = run_id, verdict = %outcome.verdict, exit_code = outcome.exit_code(), "the night ends");
    }

    /// Fetch, archive, compare, report, queue the mail.
    async fn walk(&self, job: &Job, run_id: i64, outcome: &mut JobOutcome) -> Result<(), Failure> {
        // A provider without lists is asked about what the ledger holds tonight; else the ledger is read last, and is younger.
        let (reading, ledger) = if asks_by_key(job) {
            let ledger = self.read_ledger(job, outcome)?;
            let taken = ledger == LedgerLeg::Present;
            (self.read_source(job, taken, outcome).await?, ledger)
        } else {
            let reading = self.read_source(job, true, outcome).await?;
            let ledger = match &job.source {
                // Without its own side there is nothing to compare a ledger with.
                JobSource::File(_) if !reading.complete => {
                    LedgerLeg::Refused(outcome.message.clone().unwrap_or_default())
                }
                JobSource::Across(_) if outcome.class == Some(Class::Data) => {
                    LedgerLeg::Refused(outcome.message.clone().unwrap_or_default())
                }
                _ => self.read_ledger(job, outcome)?,
            };
            (reading, ledger)
        };
        outcome.unreadable = unreadable_rows(self.store, &job.name)?;

        let night = compare::Night {
            store: self.store,
            job,
            run_id,
            as_of: outcome.as_of,
            business_day: outcome.business_day,
            ledger,
            reading_complete: reading.complete,
            asked_since: reading.since.unwrap_or(outcome.as_of),
        };
        let books = reading.books.as_ref();
        let compared = tokio::task::block_in_place(|| compare::compare_over(&night, books))?;
        outcome.verdict = compared.verdict;
        outcome.matched = compared.matched;
        outcome.pending = compared.pending;
        outcome.excluded = compared.excluded;
        outcome.new = compared.new;
        outcome.persisting = compared.persisting;
        outcome.resolved = compared.resolved;
        outcome.reopened = compared.reopened;
        outcome.open = compared.open;
        if let Some(failure) = unanswered(&compared.unanswered) {
            outcome.fail(&failure);
        }
        if outcome.unreadable > job.report.reject_threshold {
            let rows = if outcome.unreadable == 1 { "row" } else { "rows" };
            outcome.fail(&Failure::new(
                Class::Data,
                format!(
                    "{} {rows} could not be read exactly (threshold {}); they are kept and listed as `unreadable`: see the \
                     report, mend the source or raise [report] reject_threshold",
                    outcome.unreadable, job.report.reject_threshold
                ),
            ));
        }
        finish_run(self.store, run_id, &run_end(outcome, None))?;
        self.report(job, run_id, outcome)
    }

    /// Reads the provider or the export.
    async fn read_source(&self, job: &Job, ledger_taken: bool, outcome: &mut JobOutcome) -> Result<Reading, Failure> {
        match &job.source {
            JobSource::Across(jobs) => self.look_at_members(jobs, outcome),
            JobSource::File(feed) => {
                let imported = tokio::task::block_in_place(|| {
                    let (folder, stop) = (&self.settings.folder, &self.options.stop);
                    ledger::import_feed(self.store, job, feed, folder, outcome.as_of, stop)
                });
                match imported {
                    Ok(import) => {
                        outcome.rows = import.entries;
                        outcome.windows.sealed = 1;
                        Ok(Reading::of(true))
                    }
                    Err(refusal) => {
                        outcome.windows.open = 1;
                        outcome.fail(&self.unless_stopped(refusal_failure(refusal))?);
                        Ok(Reading::of(false))
                    }
                }
            }
            JobSource::Provider(setup) => self.read_provider(job, setup, ledger_taken, outcome).await,
        }
    }

    async fn read_provider(
        &self,
        job: &Job,
        setup: &ProviderSetup,
        ledger_taken: bool,
        outcome: &mut JobOutcome,
    ) -> Result<Reading, Failure> {
        let since = fresh_since(self.store, &job.name, outcome.as_of, outcome.business_day)?;
        let client = fetch::Client::new(setup, &self.settings.http, &job.fetch, &self.settings.folder)?;
        let night = fetch::Night {
            store: self.store,
            job,
            setup,
            client: &client,
            as_of: outcome.as_of,
            fresh_since: since,
            ledger_taken,
            stop: &self.options.stop,
            progress: self.progress,
        };
        let reading = fetch::read(&night).await;
        outcome.requests = client.requests();
        outcome.pages = reading.pages;
        outcome.rows = reading.rows;
        outcome.windows = Windows {
            sealed: reading.sealed,
            open: reading.open,
            unstable: reading.unstable,
        };
        // From the books too: a run that goes on after a kill says the same.
        let mut warnings = reading.warnings;
        warnings.extend(warnings_between(self.store, &job.name, since, outcome.as_of)?);
        outcome.warnings.extend(warnings);
        for failure in &reading.failures {
            outcome.fail(failure);
        }
        let mut books = None;
        if !self.options.stop.is_cancelled() {
            books = self.calibrate(job, setup, since, outcome)?;
        }
        // A wrong setting or another merchant's data must not become books.
        if let Some(stopping) = reading
            .failures
            .iter()
            .find(|f| matches!(f.class, Class::Config | Class::Internal | Class::LocalIo))
        {
            return Err(stopping.clone());
        }
        // A key without a usable answer is a finding of its own; the comparison counts those that make the night incomplete.
        let complete = reading.failures.is_empty() && reading.open <= reading.refused && reading.unstable == 0;
        if !complete && self.options.stop.is_cancelled() {
            return Err(Failure::new(
                Class::Partial,
                "stopped before everything was read; nothing was compared, reported or mailed, the next run goes on",
            ));
        }
        Ok(Reading {
            complete,
            books,
            since: Some(since),
        })
    }

    fn read_ledger(&self, job: &Job, outcome: &mut JobOutcome) -> Result<LedgerLeg, Failure> {
        let Some(ledger) = &job.ledger else {
            return Ok(LedgerLeg::Absent);
        };
        let imported = tokio::task::block_in_place(|| {
            let (folder, stop) = (&self.settings.folder, &self.options.stop);
            ledger::import(self.store, job, ledger, folder, outcome.as_of, stop)
        });
        Ok(match imported {
            Ok(_) => LedgerLeg::Present,
            Err(refusal) => {
                let failure = self.unless_stopped(refusal_failure(refusal))?;
                outcome.fail(&failure);
                LedgerLeg::Refused(failure.message)
            }
        })
    }

    /// A reading that was broken off because somebody asked to stop is the end of the night, not a ledger that is refused.
    fn unless_stopped(&self, failure: Failure) -> Result<Failure, Failure> {
        match failure.class == Class::Partial && self.options.stop.is_cancelled() {
            true => Err(failure),
            false => Ok(failure),
        }
    }
}

fn asks_by_key(job: &Job) -> bool {
    match &job.source {
        JobSource::Provider(setup) => setup.provider.feeds().iter().any(|feed| feed.shape == Shape::Lookups),
        JobSource::File(_) | JobSource::Across(_) => false,
    }
}

fn refusal_failure(refusal: ledger::Refusal) -> Failure {
    match refusal {
        ledger::Refusal::NotReconciled(why) => Failure::new(Class::Data, format!("not reconciled: {why}")),
        ledger::Refusal::Refused(failure) => failure,
    }
}

/// Keys that were asked about in vain: the night was not read to its end.
fn unanswered(feeds: &[compare::Unanswered]) -> Option<Failure> {
    if feeds.is_empty() {
        return None;
    }
    let feed = |one: &compare::Unanswered| {
        let keys = if one.asked == 1 { "key" } else { "keys" };
        format!("{} of {} {keys} of {}", one.keys, one.asked, one.feed)
    };
    let all: Vec<String> = feeds.iter().map(feed).collect();
    Some(Failure::new(
        Class::Partial,
        format!(
            "{} had no usable answer when asked about; each is listed as `lookup_failed` with its reason and nothing is called \
             missing. The next run asks them again; one that will never be answered stops no night once it is acknowledged",
            all.join(" and ")
        ),
    ))
}

fn run_end(outcome: &JobOutcome, finished_at: Option<Instant>) -> RunEnd {
    RunEnd {
        finished_at,
        verdict: outcome.verdict,
        exit_code: outcome.exit_code(),
        stopped: outcome.stopped,
        message: outcome.message.clone(),
        requests: outcome.requests,
        pages: outcome.pages,
        rows: outcome.rows,
        unreadable: outcome.unreadable,
        matched: outcome.matched,
        pending: outcome.pending,
        excluded: outcome.excluded,
        opened: outcome.new + outcome.reopened,
        reopened: outcome.reopened,
        resolved: outcome.resolved,
        open: outcome.open,
    }
}

fn unreadable_rows(store: &Store, job: &str) -> Result<u64, Failure> {
    store.read(|conn| {
        let count: i64 = conn.query_row(
            "SELECT count(*) FROM unreadable_rows WHERE job = ?1 AND gone_at IS NULL",
            [job],
            |row| row.get(0),
        )?;
        Ok(count.unsigned_abs())
    })
}

/// The wall clock, to the millisecond. The only place of the line that reads it.
fn now() -> Instant {
    let now = Utc::now();
    chrono::DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}

/// A machine that lost its clock must not date books: nothing runs two days before the last run.
fn check_clock(store: &Store, now: Instant) -> Result<(), Failure> {
    let last: Option<String> =
        store.read(|conn| Ok(conn.query_row("SELECT max(started_at) FROM runs", [], |row| row.get(0))?))?;
    match last.as_deref().and_then(crate::day::parse_instant) {
        Some(last) if now + CLOCK_TOLERANCE < last => Err(Failure::new(
            Class::Partial,
            format!(
                "the clock says {} but the last run began at {}: set the clock, then run again",
                crate::day::format_instant(now),
                crate::day::format_instant(last)
            ),
        )),
        _ => Ok(()),
    }
}

/// Finds out before the first request whether reports can be written at all.
fn check_writable(out: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let why = |error: std::io::Error| {
        Failure::new(
            Class::LocalIo,
            format!(
                "the folder for reports {} cannot be written ({}); nothing was asked",
                out.display(),
                error.kind()
            ),
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(out)
        .map_err(why)?;
    // A file without a name: a kill leaves nothing behind.
    tempfile::tempfile_in(out).map_err(why)?;
    Ok(())
}
