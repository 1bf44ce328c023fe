//! The long-running worker: a bell every minute, and what is due computed from the database.
//!
//! The cron library only rings (its own idea of zones and missed runs is not used: a missed or doubled bell must not
//! matter). What is due is [`schedule::due`] over the runs table; the night itself is [`run::run_due`], under the same
//! instance lock as `reconciled run`, so a double start is harmless.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job as Bell, JobScheduler};
use tokio_util::sync::CancellationToken;

use crate::alert;
use crate::config::{Job, Problem, Settings};
use crate::day::{Instant, parse_instant};
use crate::failure::{Class, Failure};
use crate::fetch::Quiet;
use crate::mail;
use crate::run::{Due, Options, run_due};
use crate::schedule;
use crate::store::Store;

/// A night that ended early (75) is tried again, but not every minute.
const TRY_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(15);

/// Runs until `stop` is cancelled. `reload` reads the settings again on SIGHUP: all or nothing.
///
/// # Errors
/// What makes serving pointless: the database cannot be used, the bell cannot be hung.
pub async fn serve(
    mut settings: Settings,
    mut jobs: Vec<Job>,
    reload: impl Fn() -> Result<(Settings, Vec<Job>), Vec<Problem>>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    drop(Store::open(&settings.database)?);
    let (bell, mut scheduler) = hang_bell().await?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::from)?;
    let mut watchdog = tokio::time::interval(watchdog_period());
    let mut bell = bell;
    notify(&[
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&outlook(&jobs, now())),
    ]);
    tracing::info!(jobs = jobs.len(), "serving");
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = watchdog.tick() => notify(&[sd_notify::NotifyState::Watchdog]),
            _ = hangup.recv() => match reload() {
                Ok((new_settings, new_jobs)) => {
                    (settings, jobs) = (new_settings, new_jobs);
                    tracing::info!(jobs = jobs.len(), "settings reloaded");
                }
                Err(problems) => {
                    for problem in &problems {
                        tracing::error!("{problem}");
                    }
                    tracing::error!("the settings have {} problems; the old ones stay in force", problems.len());
                }
            },
            Some(()) = bell.recv() => {
                let night = night(&settings, &jobs, &stop);
                tokio::pin!(night);
                loop {
                    tokio::select! {
                        () = &mut night => break,
                        _ = watchdog.tick() => notify(&[sd_notify::NotifyState::Watchdog]),
                    }
                }
                while bell.try_recv().is_ok() {}
                notify(&[sd_notify::NotifyState::Status(&outlook(&jobs, now()))]);
            }
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    if scheduler.shutdown().await.is_err() {
        tracing::warn!("the bell did not stop ringing in order");
    }
    Ok(())
}

/// One bell: everything due is run, then mails whose patience is over are sent.
async fn night(settings: &Settings, jobs: &[Job], stop: &CancellationToken) {
    if let Err(failure) = run_what_is_due(settings, jobs, stop).await {
        match failure.class {
            Class::Partial => tracing::warn!("{failure}; the next bell tries again"),
            _ => tracing::error!("{failure}"),
        }
    }
    if let (Some(mail), false) = (&settings.mail, stop.is_cancelled()) {
        deliver_waiting(settings, mail, stop).await;
    }
}

async fn run_what_is_due(settings: &Settings, jobs: &[Job], stop: &CancellationToken) -> Result<(), Failure> {
    let last = {
        let store = Store::open_read_only(&settings.database)?;
        done(&store, jobs, now())?
    };
    let due = schedule::due(jobs, &last, now());
    // Oldest business day first; jobs of the same day go together.
    let mut by_day: BTreeMap<_, Vec<Due<'_>>> = BTreeMap::new();
    for item in &due {
        if let Some(job) = jobs.iter().find(|job| job.name == item.job) {
            by_day
                .entry(item.business_day)
                .or_default()
                .push(Due { job, as_of: item.as_of });
        }
    }
    for (day, items) in by_day {
        if stop.is_cancelled() {
            return Ok(());
        }
        notify(&[sd_notify::NotifyState::Status(&format!(
            "running {} jobs for {day}",
            items.len()
        ))]);
        let options = Options {
            as_of: None,
            mail: true,
            stop: stop.clone(),
        };
        let outcomes = run_due(settings, &items, &options, &Quiet).await;
        let ok = outcomes
            .as_ref()
            .is_ok_and(|outcomes| outcomes.iter().all(|o| o.class.is_none()));
        if let Err(why) = alert::heartbeat(&settings.alerts, &settings.folder, ok).await {
            tracing::warn!("{why}");
        }
        for outcome in outcomes? {
            match &outcome.message {
                Some(message) => tracing::error!(exit_code = outcome.exit_code(), "{message}"),
                None => tracing::info!(job = outcome.job, business_day = %outcome.business_day, "{}", outcome.verdict),
            }
        }
    }
    Ok(())
}

/// The as-of instant of each job's last night that need not be run again. A night cut short (75) counts as done for a
/// while only; one that was killed has no end and does not count.
fn done(store: &Store, jobs: &[Job], now: Instant) -> Result<BTreeMap<String, Option<Instant>>, Failure> {
    store.read(|conn| {
        let mut found = conn.prepare(
            "SELECT max(as_of) FROM runs
              WHERE job = ?1 AND finished_at IS NOT NULL AND (exit_code <> 75 OR finished_at > ?2)",
        )?;
        let since = crate::day::format_instant(now - TRY_AGAIN_AFTER);
        let mut last = BTreeMap::new();
        for job in jobs {
            let at: Option<String> = found.query_row((&job.name, &since), |row| row.get(0))?;
            last.insert(job.name.clone(), at.as_deref().and_then(parse_instant));
        }
        Ok(last)
    })
}

async fn deliver_waiting(settings: &Settings, mail: &crate::config::Mail, stop: &CancellationToken) {
    let Ok(_lock) = crate::store::InstanceLock::take(&settings.database) else {
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

/// Half of what systemd allows; a quiet hour where no watchdog is asked for.
fn watchdog_period() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |limit| limit / 2)
}

fn outlook(jobs: &[Job], now: Instant) -> String {
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
