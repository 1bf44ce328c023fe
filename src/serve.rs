//! The long-running worker: a bell every minute, and what is due computed from the database.
//!
//! The cron library only rings (its own idea of zones and missed runs is not used: a missed or doubled bell must not
//! matter). What is due is [`schedule::due`] over the runs table; the night itself is [`run::run_due`], under the same
//! instance lock as `reconciled run`, so a double start is harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job as Bell, JobScheduler};
use tokio_util::sync::CancellationToken;

use crate::config::{Job, JobSource, Problem, SecretOrPlain, SecretRef, Settings, Transport};
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::fetch::Progress;
use crate::monitor::{self, metrics};
use crate::run::{Due, Options, run_due};
use crate::store::{InstanceLock, Store};
use crate::{alert, mail, retention, schedule};

/// What the unit's `TimeoutStopSec` is asked to wait, again and again, while a page is being finished.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// How often the state is told while a night runs, where no watchdog asks for it.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Runs until `stop` is cancelled. `reload` reads the settings again on SIGHUP: all or nothing.
///
/// # Errors
/// What makes serving pointless: a credential or the database cannot be used, the bell cannot be hung.
pub async fn serve(
    settings: Settings,
    jobs: Vec<Job>,
    reload: impl Fn() -> Result<(Settings, Vec<Job>), Vec<Problem>>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    ready(&settings, &jobs)?;
    let (mut bell, mut scheduler) = hang_bell().await?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::from)?;
    let mut tick = tokio::time::interval(tick_period());
    let mut house = Arc::new(House {
        settings,
        jobs,
        progress: Told::default(),
    });
    house.write_metrics();
    let waiting = outlook(&house.jobs, now());
    notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(&waiting)]);
    tracing::info!(jobs = house.jobs.len(), "serving");
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => notify(&[sd_notify::NotifyState::Watchdog]),
            _ = hangup.recv() => match reload().map(|(settings, jobs)| (ready(&settings, &jobs), settings, jobs)) {
                Ok((Ok(()), settings, jobs)) => {
                    house = Arc::new(House { settings, jobs, progress: Told::default() });
                    tracing::info!(jobs = house.jobs.len(), "settings reloaded");
                    notify(&[sd_notify::NotifyState::Status(&outlook(&house.jobs, now()))]);
                }
                Ok((Err(failure), ..)) => tracing::error!("{failure}; the old settings stay in force"),
                Err(problems) => {
                    for problem in &problems {
                        tracing::error!("{problem}");
                    }
                    tracing::error!("the settings have {} problems; the old ones stay in force", problems.len());
                }
            },
            Some(()) = bell.recv() => {
                attend(&house, &stop, &mut tick, &mut bell).await;
                notify(&[sd_notify::NotifyState::Status(&outlook(&house.jobs, now()))]);
            }
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    if scheduler.shutdown().await.is_err() {
        tracing::warn!("the bell did not stop ringing in order");
    }
    Ok(())
}

/// Everything that must be good before anybody relies on this: the database opens, every secret can be read.
///
/// # Errors
/// CONFIG or AUTH with each secret that cannot be read; LOCAL-IO and CONFIG for the database.
pub fn ready(settings: &Settings, jobs: &[Job]) -> Result<(), Failure> {
    let mut wrong = BTreeSet::new();
    let mut look = |who: &str, secret: &SecretRef, folder: &Path| {
        if let Err(why) = secret.read(folder) {
            wrong.insert(format!("{who}: {why}"));
        }
    };
    for job in jobs {
        if let JobSource::Provider(setup) = &job.source {
            setup
                .secrets
                .values()
                .for_each(|secret| look(&job.name, secret, &settings.folder));
        }
    }
    if let Some(Transport::Smtp { username, password, .. }) = settings.mail.as_ref().map(|mail| &mail.transport) {
        if let Some(SecretOrPlain::Secret(name)) = username {
            look("[mail] username", name, &settings.folder);
        }
        password
            .iter()
            .for_each(|secret| look("[mail] password", secret, &settings.folder));
    }
    settings
        .alerts
        .heartbeat_url
        .iter()
        .for_each(|url| look("[alerts] heartbeat_url", url, &settings.folder));
    if wrong.is_empty() {
        return Store::open(&settings.database).map(drop);
    }
    let all: Vec<String> = wrong.into_iter().collect();
    Err(Failure::new(
        Class::Auth,
        format!("not every secret can be read, nothing was started: {}", all.join("; ")),
    ))
}

/// What every night needs, shared with the thread that runs it.
struct House {
    settings: Settings,
    jobs: Vec<Job>,
    progress: Told,
}

/// One bell: the night runs in a thread of its own, so that this loop keeps telling systemd that it lives, and where the night
/// stands. A bell that rings meanwhile asks only whether a night is late.
async fn attend(
    house: &Arc<House>,
    stop: &CancellationToken,
    tick: &mut tokio::time::Interval,
    bell: &mut mpsc::Receiver<()>,
) {
    let in_a_thread = |house: &Arc<House>, what: Errand| {
        let (runtime, house, stop) = (tokio::runtime::Handle::current(), Arc::clone(house), stop.clone());
        tokio::task::spawn_blocking(move || match what {
            Errand::Night => runtime.block_on(house.night(&stop)),
            Errand::Late => runtime.block_on(house.look_for_late_nights(&stop, true)),
        })
    };
    let mut night = in_a_thread(house, Errand::Night);
    let mut late: Option<tokio::task::JoinHandle<()>> = None;
    let (mut over, mut stopping) = (false, false);
    loop {
        let asking = late.as_ref().is_some_and(|late| !late.is_finished());
        if over && !asking {
            return;
        }
        tokio::select! {
            ended = &mut night, if !over => {
                over = true;
                if let Err(error) = ended
                    && error.is_panic()
                {
                    // Jobs catch their own; this one lies in the house around them.
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                let status = "stopping: finishing the page at hand";
                notify(&[sd_notify::NotifyState::Stopping, sd_notify::NotifyState::Status(status)]);
            }
            _ = tick.tick() => {
                notify(&[sd_notify::NotifyState::Watchdog]);
                if stopping {
                    let patience = u32::try_from(STOP_PATIENCE.as_micros()).unwrap_or(u32::MAX);
                    notify(&[sd_notify::NotifyState::ExtendTimeoutUsec(patience)]);
                } else {
                    notify(&[sd_notify::NotifyState::Status(&house.progress.sentence())]);
                }
            }
            // Sending may take its time; this loop must not.
            Some(()) = bell.recv(), if !stopping && !over && !asking => late = Some(in_a_thread(house, Errand::Late)),
        }
    }
}

/// What is done beside the loop.
#[derive(Clone, Copy)]
enum Errand {
    Night,
    Late,
}

impl House {
    /// Everything due is run, mails whose patience is over are sent, the upkeep is done.
    async fn night(&self, stop: &CancellationToken) {
        if let Err(failure) = self.catch_up(now, stop).await {
            match failure.class {
                Class::Partial => tracing::warn!("{failure}; the next bell tries again"),
                _ => tracing::error!("{failure}"),
            }
        }
        if stop.is_cancelled() {
            return;
        }
        self.look_for_late_nights(stop, false).await;
        if let Some(mail) = &self.settings.mail {
            deliver_waiting(&self.settings, mail, stop).await;
        }
        match retention::keep_up(&self.settings, now()) {
            Ok(said) => said.iter().for_each(|what| tracing::info!("{what}")),
            Err(failure) if failure.class == Class::Partial => {}
            Err(failure) => tracing::error!("{failure}"),
        }
    }

    /// Runs what is due, oldest business day first, one day after the other: what is due is asked anew after each, for
    /// another instance may have been faster.
    async fn catch_up(&self, clock: impl Fn() -> Instant, stop: &CancellationToken) -> Result<(), Failure> {
        let mut tried = BTreeSet::new();
        loop {
            let due = {
                let store = Store::open_read_only(&self.settings.database)?;
                what_is_due(&store, &self.jobs, clock())?
            };
            let Some(day) = due.iter().map(|due| due.business_day).min() else {
                return Ok(());
            };
            let items: Vec<Due<'_>> = due
                .iter()
                .filter(|due| due.business_day == day)
                .filter_map(|due| {
                    let job = self.jobs.iter().find(|job| job.name == due.job)?;
                    tried
                        .insert((due.job.clone(), due.as_of))
                        .then_some(Due { job, as_of: due.as_of })
                })
                .collect();
            // A night that left no trace of itself (a full disk) is not tried twice on one bell.
            if items.is_empty() || stop.is_cancelled() {
                return Ok(());
            }
            self.progress.begin(&format!("running {} jobs for {day}", items.len()));
            let options = Options {
                as_of: None,
                mail: true,
                stop: stop.clone(),
            };
            let outcomes = run_due(&self.settings, &items, &options, &self.progress).await;
            let ok = outcomes
                .as_ref()
                .is_ok_and(|outcomes| outcomes.iter().all(|o| o.class.is_none()));
            // Another instance at work is no failed night: that one tells how it ended.
            let busy = outcomes.as_ref().is_err_and(|failure| failure.class == Class::Partial);
            if !busy && let Err(why) = alert::heartbeat(&self.settings.alerts, &self.settings.folder, ok).await {
                tracing::warn!("{why}");
            }
            self.write_metrics();
            for outcome in outcomes? {
                for warning in &outcome.warnings {
                    tracing::warn!(job = outcome.job, "{warning}");
                }
                match &outcome.message {
                    Some(message) => tracing::error!(exit_code = outcome.exit_code(), "{message}"),
                    None => {
                        tracing::info!(job = outcome.job, business_day = %outcome.business_day, "{}", outcome.verdict)
                    }
                }
            }
        }
    }

    /// Tells the operators of late nights. `running`: this process holds the instance lock for its night.
    async fn look_for_late_nights(&self, stop: &CancellationToken, running: bool) {
        let queued = Store::open(&self.settings.database)
            .and_then(|store| alert::late(&store, &self.settings, &self.jobs, now()).map(|queued| (store, queued)));
        match (queued, &self.settings.mail) {
            (Err(failure), _) => tracing::error!("late nights could not be told: {failure}"),
            (Ok((store, 1..)), Some(mail)) if running => {
                let (http, folder) = (&self.settings.http, &self.settings.folder);
                if let Err(failure) = mail::deliver_until(stop, &store, mail, http, folder, now()).await {
                    tracing::error!("{failure}");
                }
                self.write_metrics();
            }
            _ => {}
        }
    }

    fn write_metrics(&self) {
        if let Err(failure) = metrics::write(&self.settings, &self.jobs, now()) {
            tracing::warn!("{failure}");
        }
    }
}

/// What is due now, and not resting after a night that ended early.
fn what_is_due(store: &Store, jobs: &[Job], now: Instant) -> Result<Vec<schedule::Due>, Failure> {
    let mut due = schedule::due(jobs, &monitor::done(store, jobs)?, now);
    let resting = monitor::resting(store, now)?;
    due.retain(|due| !resting.contains(&due.job));
    Ok(due)
}

/// Where the night stands, for `STATUS=`.
#[derive(Default)]
struct Told(Mutex<Standing>);

#[derive(Default)]
struct Standing {
    what: String,
    /// Job -> conversations known, read to their end, rows.
    jobs: BTreeMap<String, (u64, u64, u64)>,
}

impl Told {
    fn begin(&self, what: &str) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *standing = Standing {
            what: what.to_owned(),
            jobs: BTreeMap::new(),
        };
        drop(standing);
        notify(&[sd_notify::NotifyState::Status(what)]);
    }

    fn note(&self, job: &str, change: impl FnOnce(&mut (u64, u64, u64))) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(standing.jobs.entry(job.to_owned()).or_default());
    }

    /// `running 2 jobs for 2026-03-04: tupay-pe 3 of 7 windows, 41200 rows`
    fn sentence(&self) -> String {
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs: Vec<String> = standing
            .jobs
            .iter()
            .map(|(job, (windows, sealed, rows))| format!("{job} {sealed} of {windows} windows, {rows} rows"))
            .collect();
        match jobs.is_empty() {
            true => standing.what.clone(),
            false => format!("{}: {}", standing.what, jobs.join("; ")),
        }
    }
}

impl Progress for Told {
    fn windows(&self, job: &str, total: u64) {
        self.note(job, |(windows, _, _)| *windows = total);
    }

    fn sealed(&self, job: &str, _feed: &str) {
        self.note(job, |(_, sealed, _)| *sealed += 1);
    }

    fn page(&self, job: &str, _feed: &str, rows: u64) {
        self.note(job, |(_, _, read)| *read += rows);
    }
}

async fn deliver_waiting(settings: &Settings, mail: &crate::config::Mail, stop: &CancellationToken) {
    let Ok(_lock) = InstanceLock::take(&settings.database) else {
        return;
    };
    let delivered = match Store::open(&settings.database) {
        Ok(store) => mail::deliver_until(stop, &store, mail, &settings.http, &settings.folder, now()).await,
        Err(failure) => Err(failure),
    };
    match delivered {
        Err(failure) => tracing::error!("{failure}"),
        Ok(delivery) => {
            for failed in delivery.failures {
                tracing::warn!(job = failed.job, "{}", failed.failure);
            }
        }
    }
}

/// A UTC bell at every full minute, and one now. The channel holds one ring: more would say nothing new.
async fn hang_bell() -> Result<(mpsc::Receiver<()>, JobScheduler), Failure> {
    let broken = |_| Failure::new(Class::Internal, "the minute bell could not be hung");
    let (ring, bell) = mpsc::channel(1);
    let _ = ring.try_send(());
    let scheduler = JobScheduler::new().await.map_err(broken)?;
    let minute = Bell::new_async("0 * * * * *", move |_, _| {
        let ring = ring.clone();
        Box::pin(async move {
            let _ = ring.try_send(());
        })
    })
    .map_err(broken)?;
    scheduler.add(minute).await.map_err(broken)?;
    scheduler.start().await.map_err(broken)?;
    Ok((bell, scheduler))
}

/// Half of what systemd's watchdog allows, and often enough to show where a night stands.
fn tick_period() -> Duration {
    sd_notify::watchdog_enabled().map_or(TELL_EVERY, |limit| (limit / 2).min(TELL_EVERY))
}

/// What comes next: `next: tupay-pe at 2026-03-05T08:30:00.000Z`.
pub fn outlook(jobs: &[Job], now: Instant) -> String {
    let next = jobs
        .iter()
        .filter_map(|job| Some((schedule::next_slot(job, now)?, &job.name)))
        .min();
    match next {
        Some((at, job)) => format!("next: {job} at {}", crate::day::format_instant(at)),
        None => "no job has a next run".to_owned(),
    }
}

/// Tells systemd; without systemd nobody listens, and that is fine.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

fn now() -> Instant {
    let now = Utc::now();
    DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
