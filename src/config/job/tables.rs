//! `[fetch]`, `[ledger]`, `[match]` and `[report]` of a job, with their defaults.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::source::{Origin, Said};
use super::{BUILT_IN_REPORTS, House};
use crate::config::section::nearest;
use crate::config::settings::table;
use crate::config::{Fetch, JobSource, Ledger, Match, Report, Section};
use crate::day::BusinessDay;
use crate::providers::Built;

/// Late changes are looked for this far back in files and across jobs.
const LOOKBACK_WITHOUT_API: TimeDelta = TimeDelta::days(60);
const SETTLE_WITHOUT_API: TimeDelta = TimeDelta::minutes(10);

/// What `[fetch]` says, each with its line where it may have no meaning.
#[derive(Default)]
struct Wanted {
    start: Option<BusinessDay>,
    lookback: Option<TimeDelta>,
    settle: Option<TimeDelta>,
    pace: Option<u32>,
    in_flight: Option<u32>,
}

pub(super) fn fetch(root: &mut Section<'_>, house: &House<'_>, origin: Option<&Origin>) -> Option<Fetch> {
    let whole_answer = house.settings.http.request_timeout;
    let api = match origin {
        Some(Origin::Api { built, said, .. }) => Some((built, *said)),
        _ => None,
    };
    let asks_api = matches!(origin, Some(Origin::Api { .. } | Origin::BrokenApi));
    if !root.has("fetch") && asks_api {
        root.problem("`[fetch]` is missing; it must name `start`, the first business day ever wanted");
        return None;
    }
    let wanted = table(root, "fetch", |section| {
        // Without a source nothing is known about what has a meaning; that problem has been named.
        let asks_nobody = origin.is_some() && !asks_api;
        Some(wanted(section, asks_api, asks_nobody))
    });
    match api {
        Some((built, said)) => with_api(built, said, wanted?, whole_answer),
        None => Some(without_api(&wanted.unwrap_or_default(), whole_answer)),
    }
}

fn wanted(section: &mut Section<'_>, start_required: bool, asks_nobody: bool) -> Wanted {
    if asks_nobody {
        for key in ["requests_per_minute", "max_in_flight"] {
            if section.has(key) {
                let line = section.line_of(key);
                section.problem_at(
                    line,
                    format!("`fetch.{key}` has no meaning for a job that asks no API; remove it"),
                );
                section.drop_key(key);
            }
        }
    }
    let count = |section: &mut Section<'_>, key: &str, most: i64| {
        section.integer(key, 1..=most).and_then(|n| u32::try_from(n).ok())
    };
    Wanted {
        start: start(section, start_required),
        lookback: section.integer("lookback_days", 0..=400).map(TimeDelta::days),
        settle: section.integer("settle_minutes", 0..=1440).map(TimeDelta::minutes),
        pace: count(section, "requests_per_minute", 60_000),
        in_flight: count(section, "max_in_flight", 64),
    }
}

fn start(section: &mut Section<'_>, required: bool) -> Option<BusinessDay> {
    if required && !section.has("start") {
        section.problem("`fetch.start` is missing; name the first business day ever wanted, like 2026-01-31");
    }
    let line = section.line_of("start");
    let day = section.date("start")?;
    if !(2000..2200).contains(&chrono::Datelike::year(&day)) {
        section.problem_at(
            line,
            format!("`fetch.start` is {day}; it must lie between 2000-01-01 and 2199-12-31"),
        );
        return None;
    }
    Some(day)
}

/// Where both the job and the provider's table speak, the stricter one holds; where one speaks, it does; else the
/// default of the provider's document. `whole_answer` is `[http] request_timeout_s`.
fn with_api(built: &Built, said: Said, wanted: Wanted, whole_answer: Duration) -> Option<Fetch> {
    let limits = &built.limits;
    // Stricter about late changes is: further back; about settling: longer.
    let longer = |job: Option<TimeDelta>, provider: TimeDelta, said: bool| match job {
        Some(job) if said => job.max(provider),
        Some(job) => job,
        None => provider,
    };
    Some(Fetch {
        start: wanted.start?,
        lookback: longer(wanted.lookback, limits.lookback, said.lookback),
        settle: longer(wanted.settle, limits.settle, said.settle),
        requests_per_minute: match wanted.pace {
            Some(job) if said.pace => job.min(limits.requests_per_minute),
            Some(job) => job,
            None => limits.requests_per_minute,
        },
        max_in_flight: wanted.in_flight.unwrap_or(limits.max_in_flight),
        request_timeout: limits
            .request_timeout
            .filter(|_| said.timeout)
            .map_or(whole_answer, |own| own.min(whole_answer)),
        max_retry_wait: limits.max_retry_wait,
    })
}

fn without_api(wanted: &Wanted, whole_answer: Duration) -> Fetch {
    Fetch {
        // Every row of a file is wanted unless said otherwise.
        start: wanted.start.unwrap_or_default(),
        lookback: wanted.lookback.unwrap_or(LOOKBACK_WITHOUT_API),
        settle: wanted.settle.unwrap_or(SETTLE_WITHOUT_API),
        requests_per_minute: 1,
        max_in_flight: 1,
        request_timeout: whole_answer,
        max_retry_wait: whole_answer,
    }
}

pub(super) fn ledger(
    root: &mut Section<'_>,
    origin: Option<&Origin>,
    folder: &Path,
    zone: Option<Tz>,
) -> Option<Ledger> {
    let line = root.line_of("ledger");
    let present = root.has("ledger");
    let ledger = table(root, "ledger", |section| {
        crate::config::table::ledger(section, folder, zone)
    });
    let across = matches!(
        origin,
        Some(Origin::Source {
            source: JobSource::Across(_),
            ..
        })
    );
    if present && across {
        root.problem_at(
            line,
            "`[ledger]` has no meaning beside [across]; put it into the jobs that are compared".to_owned(),
        );
    }
    ledger
}

pub(super) fn usual_matching() -> Match {
    Match {
        amount_tolerance: "0.00".to_owned(),
        grace_ledger: TimeDelta::hours(24),
        grace_provider: TimeDelta::hours(72),
        stale_pending_days: 14,
        suggest_days: 2,
    }
}

pub(super) fn matching(section: &mut Section<'_>) -> Match {
    let usual = usual_matching();
    let amount_tolerance = tolerance(section).unwrap_or(usual.amount_tolerance);
    let hours = |section: &mut Section<'_>, key: &str, default: TimeDelta| {
        // A year: beyond it nothing would ever be found missing.
        section.integer(key, 0..=8784).map_or(default, TimeDelta::hours)
    };
    Match {
        amount_tolerance,
        grace_ledger: hours(section, "grace_ledger_hours", usual.grace_ledger),
        grace_provider: hours(section, "grace_provider_hours", usual.grace_provider),
        stale_pending_days: section.integer_or("stale_pending_days", usual.stale_pending_days, 0..=3650),
        suggest_days: section.integer_or("suggest_days", usual.suggest_days, 0..=60),
    }
}

/// Major units as text: a bare 0.05 would have gone through floating point.
fn tolerance(section: &mut Section<'_>) -> Option<String> {
    let (text, line) = section.text_line("amount_tolerance")?;
    let digits = |part: &str| (1..=12).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    if digits(whole) && digits(fraction) {
        return Some(text);
    }
    section.problem_at(
        line,
        format!("`match.amount_tolerance` is {text:?}; write major units with a point, like \"0.05\""),
    );
    None
}

pub(super) fn usual_report() -> Report {
    Report {
        reports: BUILT_IN_REPORTS.iter().map(|name| (*name).to_owned()).collect(),
        flood_limit: 200,
        reject_threshold: 0,
    }
}

pub(super) fn report(section: &mut Section<'_>, house: &House<'_>) -> Report {
    let usual = usual_report();
    let reports = match section.list_lines("reports") {
        Some(listed) => reports(section, listed, house),
        None => usual.reports,
    };
    let flood_limit = section.integer("flood_limit", 0..=10_000_000);
    let reject_threshold = section.integer("reject_threshold", 0..=1_000_000_000);
    Report {
        reports,
        flood_limit: flood_limit
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usual.flood_limit),
        reject_threshold: reject_threshold
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(usual.reject_threshold),
    }
}

/// Every report must have a definition: built in, or a `.sql` file in the settings' folder of reports.
fn reports(section: &mut Section<'_>, listed: Vec<(String, usize)>, house: &House<'_>) -> Vec<String> {
    let mut own: BTreeSet<String> = BTreeSet::new();
    let entries = house
        .settings
        .reports
        .as_ref()
        .and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        own.extend(name.strip_suffix(".sql").map(str::to_owned));
    }
    let mut reports: Vec<String> = Vec::new();
    for (name, line) in listed {
        let known = BUILT_IN_REPORTS.contains(&name.as_str()) || own.contains(&name);
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if reports.contains(&name) {
            section.problem_at(line, format!("`report.reports` names {name:?} twice"));
        } else if known && plain {
            reports.push(name);
        } else if house.known.settings_hold {
            let near = nearest(
                &name,
                BUILT_IN_REPORTS.into_iter().chain(own.iter().map(String::as_str)),
            );
            section.problem_at(
                line,
                format!(
                    "`report.reports` names {name:?}, which is neither built in nor a .sql file of the settings' \
                     reports folder{near}"
                ),
            );
        }
    }
    reports
}
