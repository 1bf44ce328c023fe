//! What `reconciled check` says about settings and jobs that hold: one block per job, the same text for the same
//! moment.

use std::fmt::Write;
use std::path::Path;

use super::{FileFeed, Job, JobSource, Ledger, LedgerKind, Settings, Transport};
use crate::day::{Instant, day_of};
use crate::providers::Shape;
use crate::schedule::next_slot;

/// Text for people: the settings, then every job. Shows where secrets are, never what they are.
pub fn describe(settings: &Settings, jobs: &[Job], now: Instant) -> String {
    let mut text = String::new();
    let shown = |path: &Path| settings.shown(path).display().to_string();
    line(&mut text, "settings", settings.file.display());
    line(&mut text, "database", shown(&settings.database));
    let published = settings.published.as_deref().map_or("none".to_owned(), shown);
    line(&mut text, "published", published);
    line(&mut text, "out", shown(&settings.out));
    let reports = settings.reports.as_deref().map_or("built in".to_owned(), shown);
    line(&mut text, "reports", reports);
    line(&mut text, "mail", mail(settings));
    for job in jobs {
        let _ = writeln!(text, "\n{}", job.name);
        one(&mut text, settings, job, now);
    }
    text
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "  {name:<11}{value}");
}

fn mail(settings: &Settings) -> String {
    let Some(mail) = &settings.mail else {
        return "none".to_owned();
    };
    let domains = mail.allowed_domains.join(", ");
    match &mail.transport {
        Transport::Folder(folder) => format!("into {}, to {domains}", settings.shown(folder).display()),
        Transport::Smtp { host, port, tls, .. } => format!("by {host}:{port} ({}), to {domains}", tls.word()),
    }
}

fn one(text: &mut String, settings: &Settings, job: &Job, now: Instant) {
    line(text, "file", job.file.display());
    line(text, "source", source(settings, job));
    line(text, "zone", job.timezone);
    let next = next_slot(job, now).map_or("never".to_owned(), |slot| {
        slot.with_timezone(&job.timezone)
            .format("%Y-%m-%d %H:%M:%S %Z")
            .to_string()
    });
    line(text, "next run", format!("{next}  ({})", job.schedule));
    let fetch = &job.fetch;
    if let JobSource::Provider(setup) = &job.source {
        let later = if fetch.start > day_of(now, job.timezone) {
            " (in the future: nothing is read before)"
        } else {
            ""
        };
        line(text, "from", format!("{}{later}", fetch.start));
        line(text, "feeds", feeds(setup));
        let (days, settle) = (fetch.lookback.num_days(), fetch.settle.num_minutes());
        line(
            text,
            "look-back",
            format!("{days} days; nothing younger than {settle} minutes"),
        );
        let (pace, in_flight) = (fetch.requests_per_minute, fetch.max_in_flight);
        let timeout = fetch.request_timeout.as_secs();
        line(
            text,
            "limits",
            format!("{pace} requests per minute, {in_flight} at a time, {timeout} s each"),
        );
        for (name, secret) in &setup.secrets {
            line(text, "secret", format!("{name} from {secret}"));
        }
    }
    let no_ledger = "none: only the provider's own proofs are checked".to_owned();
    let described = job.ledger.as_ref().map_or(no_ledger, |ledger| table(settings, ledger));
    if !matches!(job.source, JobSource::Across(_)) {
        line(text, "ledger", described);
    }
    line(text, "reports", job.report.reports.join(", "));
    let recipients = if job.recipients.is_empty() {
        "nobody: no mail tells of this job".to_owned()
    } else {
        job.recipients.join(", ")
    };
    line(text, "recipients", format!("{recipients}  ({})", job.locale.name));
}

fn source(settings: &Settings, job: &Job) -> String {
    match &job.source {
        JobSource::Provider(setup) => {
            // The account itself may be a key: a piece of the lane's digest tells accounts apart as well.
            let account = setup.lane.get(..8).unwrap_or_default();
            format!("{} at {}, account {account}", setup.provider.name(), setup.base_url)
        }
        JobSource::File(FileFeed {
            feed,
            provider,
            table: rows,
            ..
        }) => format!("{provider} {feed} from {}", table(settings, rows)),
        JobSource::Across(jobs) => format!("across {}", jobs.join(", ")),
    }
}

fn feeds(setup: &super::ProviderSetup) -> String {
    let each: Vec<String> = setup
        .provider
        .feeds()
        .iter()
        .map(|feed| match feed.shape {
            Shape::Days(days) => format!("{} ({days} d windows)", feed.name),
            Shape::Listing => format!("{} (whole list)", feed.name),
            Shape::Snapshot => format!("{} (now)", feed.name),
            Shape::Children { of } => format!("{} (per row of {of})", feed.name),
            Shape::Details { of } => format!("{} (per record of {of} without a reference)", feed.name),
            Shape::Lookups => format!("{} (per key)", feed.name),
        })
        .collect();
    each.join(", ")
}

fn table(settings: &Settings, ledger: &Ledger) -> String {
    match &ledger.kind {
        LedgerKind::Csv { pattern } => {
            let escaped = glob::Pattern::escape(&settings.folder.display().to_string());
            let below = pattern.strip_prefix(&escaped).map(|rest| rest.trim_start_matches('/'));
            format!("csv {}", below.unwrap_or(pattern))
        }
        LedgerKind::Sqlite { path, .. } => format!("sqlite {}", settings.shown(path).display()),
        LedgerKind::Server { kind } => (*kind).to_owned(),
    }
}
