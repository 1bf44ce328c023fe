//! The checks as SQL that an analyst can paste into `sqlite3`. Pure.

use super::items::lag;
use crate::config::{Job, JobSource};
use crate::day::{BusinessDay, Instant, format_instant, next_day, start_of_day};
use crate::money::parse_minor;

/// Name, what it answers, the query.
pub const CHECKS: &[(&str, &str, &str)] = &[
    (
        "ledger",
        "records and entries of one reference that differ or are missing on one side",
        include_str!("ledger.sql"),
    ),
    (
        "duplicates",
        "references that stand twice on one side",
        include_str!("duplicates.sql"),
    ),
    (
        "matches",
        "pairs found equal or within tolerance",
        include_str!("matches.sql"),
    ),
    (
        "changed",
        "records changed after a final version",
        include_str!("changed.sql"),
    ),
    (
        "vanished",
        "records listed once and not any more",
        include_str!("vanished.sql"),
    ),
    (
        "residuals",
        "records that do not close in themselves",
        include_str!("residuals.sql"),
    ),
    ("unreadable", "rows put aside", include_str!("unreadable.sql")),
    (
        "incomplete",
        "windows not read to their end",
        include_str!("incomplete.sql"),
    ),
    (
        "unanswered",
        "keys of the ledger asked about without a usable answer",
        include_str!("unanswered.sql"),
    ),
    (
        "across",
        "references settled at two providers",
        include_str!("across.sql"),
    ),
    (
        "bank",
        "transfers that a bank statement must show",
        include_str!("bank.sql"),
    ),
    (
        "counts",
        "open discrepancies and what a day did to them",
        include_str!("counts.sql"),
    ),
];

/// A check with the parameters of a job's night filled in; None for a name that is no check.
pub fn sql(check: &str, job: &Job, as_of: Instant, business_day: BusinessDay) -> Option<String> {
    let (_, _, query) = CHECKS.iter().find(|(name, _, _)| *name == check)?;
    let mut text = (*query).to_owned();
    // Longer names first: `:job` is the beginning of `:jobs`.
    let mut parameters = parameters(job, as_of, business_day);
    parameters.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, value) in parameters {
        text = fill(&text, name, &value);
    }
    // Ended, so that it runs when it is pasted, and the next one after it.
    text.truncate(text.trim_end().len());
    text.push_str(";\n");
    Some(text)
}

fn parameters(job: &Job, as_of: Instant, day: BusinessDay) -> Vec<(&'static str, String)> {
    let across: &[String] = match &job.source {
        JobSource::Across(jobs) => jobs,
        _ => &[],
    };
    let currency = job.ledger.as_ref().and_then(|l| l.currency_default);
    let tolerance =
        currency.and_then(|c| parse_minor(&job.matching.amount_tolerance, c, crate::money::Unit::Major).ok());
    vec![
        (":jobs", quote(&serde_json::Value::from(across).to_string())),
        (":job", quote(&job.name)),
        (":as_of", quote(&format_instant(as_of))),
        (":day", quote(&day.to_string())),
        (
            ":start",
            quote(&format_instant(start_of_day(job.fetch.start, job.timezone))),
        ),
        (
            ":until",
            quote(&format_instant(start_of_day(next_day(day), job.timezone))),
        ),
        (":grace_ledger_s", job.matching.grace_ledger.num_seconds().to_string()),
        (
            ":grace_provider_s",
            job.matching.grace_provider.num_seconds().to_string(),
        ),
        (
            ":grace_missing_s",
            job.matching.grace_provider.max(lag(job)).num_seconds().to_string(),
        ),
        (
            ":stale_s",
            job.matching.stale_pending_days.saturating_mul(86_400).to_string(),
        ),
        (":ledger", i64::from(job.ledger.is_some()).to_string()),
        (":tolerance_minor", tolerance.unwrap_or_default().to_string()),
    ]
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Replaces a parameter outside of comment lines.
fn fill(query: &str, name: &str, value: &str) -> String {
    let mut out = String::with_capacity(query.len());
    for line in query.lines() {
        if line.trim_start().starts_with("--") {
            out.push_str(line);
        } else {
            out.push_str(&replace_word(line, name, value));
        }
        out.push('\n');
    }
    out
}

fn replace_word(line: &str, name: &str, value: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(name) {
        let (before, found) = rest.split_at(at);
        let after = &found[name.len()..];
        let whole = !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(before);
        out.push_str(if whole { value } else { name });
        rest = after;
    }
    out.push_str(rest);
    out
}
