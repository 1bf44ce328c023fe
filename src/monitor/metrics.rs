//! The picture for Prometheus: a file for the textfile collector of the node exporter, in the text exposition format.
//!
//! Names follow the Prometheus conventions: base units, `_total` for what only grows, one family per fact. The file holds
//! figures and job names only, and is readable by everybody: the exporter runs as a user of its own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::TimeDelta;

use super::{JobState, LastRun, Picture};
use crate::config::{Job, Settings};
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::record::{Verdict, words};
use crate::store::Store;

words! {
    /// `# TYPE`.
    Type { Counter = "counter", Gauge = "gauge" }
}

/// Name and help of a family, and its value for one thing.
type Figure<T, V> = (&'static str, &'static str, fn(&T) -> V);

/// Looks at the books and writes the file named by `[metrics] textfile`, whole or not at all; without the setting nothing.
///
/// # Errors
/// LOCAL-IO for the database or the file.
pub fn write(settings: &Settings, jobs: &[Job], now: Instant) -> Result<(), Failure> {
    let Some(path) = &settings.upkeep.textfile else {
        return Ok(());
    };
    let store = match settings.database.exists() {
        true => Some(Store::open_read_only(&settings.database)?),
        false => None,
    };
    let picture = super::look(store.as_ref(), settings, jobs, now)?;
    put(path, render(&picture).as_bytes()).map_err(|error| {
        Failure::new(
            Class::LocalIo,
            format!(
                "the metrics file {} cannot be written ({}); the run itself is not touched by this",
                path.display(),
                error.kind()
            ),
        )
    })
}

/// A temporary file beside it that the collector does not read, then a rename.
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".reconciled-")
        .suffix(".part")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|refused| refused.error)
}

/// The exposition format, families in a fixed order.
pub fn render(picture: &Picture) -> String {
    let mut text = Text(String::new());
    text.one(
        "build_info",
        Type::Gauge,
        "Version of the program.",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    runs(&mut text, &picture.jobs);
    last_runs(&mut text, &picture.jobs);
    books(&mut text, &picture.jobs);
    house(&mut text, picture);
    text.0
}

fn runs(text: &mut Text, jobs: &[JobState]) {
    text.family("runs_total", Type::Counter, "Runs that ended, by verdict.");
    for job in jobs {
        for (verdict, runs) in &job.runs {
            text.sample("runs_total", &[("job", &job.job), ("verdict", verdict)], runs);
        }
    }
    let totals: [Figure<JobState, u64>; 3] = [
        ("requests_total", "HTTP requests of all runs.", |job| job.requests),
        ("pages_total", "Pages read by all runs.", |job| job.pages),
        ("rows_total", "Rows read by all runs.", |job| job.rows),
    ];
    for (name, help, value) in totals {
        text.family(name, Type::Counter, help);
        for job in jobs {
            text.sample(name, &[("job", &job.job)], value(job));
        }
    }
}

fn last_runs(text: &mut Text, jobs: &[JobState]) {
    let lasts = || {
        jobs.iter()
            .filter_map(|job| Some((job.job.as_str(), job.last.as_ref()?)))
    };
    text.family("last_run_verdict", Type::Gauge, "1 for the verdict of the last run.");
    for (job, last) in lasts() {
        for verdict in Verdict::ALL {
            let is = u64::from(last.verdict == verdict.as_str());
            text.sample("last_run_verdict", &[("job", job), ("verdict", verdict.as_str())], is);
        }
    }
    let figures: [Figure<LastRun, String>; 7] = [
        ("last_run_exit_code", "Exit code of the last run (sysexits).", |last| {
            last.exit_code.to_string()
        }),
        ("last_run_timestamp_seconds", "When the last run ended.", |last| {
            seconds_of(last.finished_at)
        }),
        ("last_run_duration_seconds", "How long the last run took.", |last| {
            decimal((last.finished_at - last.started_at).max(TimeDelta::zero()))
        }),
        ("last_run_requests", "HTTP requests of the last run.", |last| {
            last.requests.to_string()
        }),
        ("last_run_rows", "Rows read by the last run.", |last| {
            last.rows.to_string()
        }),
        (
            "last_run_unreadable_rows",
            "Rows put aside after the last run.",
            |last| last.unreadable.to_string(),
        ),
        (
            "last_run_pending",
            "Timing differences inside their grace after the last run.",
            |last| last.pending.to_string(),
        ),
    ];
    for (name, help, value) in figures {
        text.family(name, Type::Gauge, help);
        for (job, last) in lasts() {
            text.sample(name, &[("job", job)], value(last));
        }
    }
}

fn books(text: &mut Text, jobs: &[JobState]) {
    text.family(
        "open_discrepancies",
        Type::Gauge,
        "Open discrepancies by kind; acknowledged ones apart.",
    );
    for job in jobs {
        for ((kind, state), number) in &job.open {
            text.sample(
                "open_discrepancies",
                &[("job", &job.job), ("kind", kind), ("state", state)],
                number,
            );
        }
    }
    let figures: [Figure<JobState, Option<String>>; 5] = [
        (
            "last_complete_business_day_timestamp_seconds",
            "End of the last business day that was read, compared and reported whole.",
            |job| job.complete_until.map(seconds_of),
        ),
        ("unsealed_windows", "Windows that were not read to their end.", |job| {
            Some(job.unsealed.to_string())
        }),
        (
            "oldest_unsealed_window_timestamp_seconds",
            "Begin of the oldest window that was not read to its end; absent when all are.",
            |job| job.oldest_unsealed.map(seconds_of),
        ),
        (
            "next_run_timestamp_seconds",
            "When the schedule next names a run.",
            |job| job.next_run_at.map(seconds_of),
        ),
        (
            "late",
            "1 when a night is not finished [alerts] late_after after it was due.",
            |job| Some(u8::from(job.late.is_some()).to_string()),
        ),
    ];
    for (name, help, value) in figures {
        text.family(name, Type::Gauge, help);
        for job in jobs {
            if let Some(value) = value(job) {
                text.sample(name, &[("job", &job.job)], value);
            }
        }
    }
}

fn house(text: &mut Text, picture: &Picture) {
    let (outbox, disk) = (&picture.outbox, &picture.disk);
    text.family(
        "outbox_mails",
        Type::Gauge,
        "Mails that wait to be sent, and mails given up.",
    );
    text.sample("outbox_mails", &[("state", "pending")], outbox.pending);
    text.sample("outbox_mails", &[("state", "failed")], outbox.failed);
    if let Some(oldest) = outbox.oldest_pending {
        let help = "When the oldest mail that waits was queued.";
        text.one(
            "outbox_oldest_pending_timestamp_seconds",
            Type::Gauge,
            help,
            &[],
            seconds_of(oldest),
        );
    }
    text.one(
        "database_bytes",
        Type::Gauge,
        "Size of the database file.",
        &[],
        disk.database_bytes,
    );
    text.one(
        "database_log_bytes",
        Type::Gauge,
        "Size of its write-ahead log.",
        &[],
        disk.log_bytes,
    );
    let help = "What the database grew by per night, on average.";
    text.one("database_growth_bytes", Type::Gauge, help, &[], disk.growth_bytes);
    if let Some(free) = disk.free_bytes {
        text.one(
            "disk_free_bytes",
            Type::Gauge,
            "Free for this user where the database lies.",
            &[],
            free,
        );
    }
    text.one(
        "disk_needed_bytes",
        Type::Gauge,
        "What the next night needs at least.",
        &[],
        disk.needed_bytes,
    );
}

fn seconds_of(at: Instant) -> String {
    decimal(at - Instant::UNIX_EPOCH)
}

/// Seconds with milliseconds, without floating point; never negative here.
fn decimal(span: TimeDelta) -> String {
    let millis = span.num_milliseconds();
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// The file under way.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: Type, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP reconciled_{name} {help}\n# TYPE reconciled_{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "reconciled_{name}");
        for (at, (label, value)) in labels.iter().enumerate() {
            let sign = if at == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{sign}{label}=\"{value}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn one(&mut self, name: &str, kind: Type, help: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, labels, value);
    }
}
