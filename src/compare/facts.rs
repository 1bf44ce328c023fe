//! Discrepancies that stand in the stored facts alone: changed after final, unreadable, not read to the end.
//!
//! Each is one SELECT beside this file; here its rows become discrepancies.

use std::str::FromStr;

use chrono_tz::Tz;
use rusqlite::{Connection, Row, named_params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::places::Places;
use super::rows::{Record, Rows, damaged, optional_instant};
use super::scope;
use crate::config::JobSource;
use crate::day::{BusinessDay, Instant, day_of, format_instant, next_day, start_of_day};
use crate::failure::Failure;
use crate::money::{Currency, format_minor};
use crate::providers::Shape;
use crate::record::{Kind, Status};
use crate::window::Window;

/// All of them, in the order of the checks.
pub fn find(conn: &Connection, case: &Case<'_>) -> Result<Vec<Discrepancy>, Failure> {
    let mut found = changed(conn, case)?;
    found.extend(unreadable(conn, case)?);
    found.extend(incomplete(conn, case)?);
    found.extend(super::unanswered::find(conn, case)?);
    Ok(found)
}

fn key(record: &Record) -> String {
    format!(
        "{}|{}|{}|{}",
        record.feed, record.account, record.subject, record.provider_id
    )
}

/// One version of a record, as far as it may not change.
struct Version {
    currency: Currency,
    amount: i64,
    fee: Option<i64>,
    status: Status,
    word: String,
}

fn version(row: &Row<'_>, at: usize) -> Result<Version, Failure> {
    let word = |column: usize| row.get_ref(column).map(|v| v.as_str().unwrap_or_default().to_owned());
    Ok(Version {
        currency: Currency::from_str(&word(at)?).map_err(|_| damaged("superseded_versions.currency"))?,
        amount: row.get(at + 1)?,
        fee: row.get(at + 2)?,
        status: word(at + 3)?
            .parse()
            .map_err(|()| damaged("superseded_versions.status"))?,
        word: word(at + 4)?,
    })
}

fn changed(conn: &Connection, case: &Case<'_>) -> Result<Vec<Discrepancy>, Failure> {
    let mut records = Rows::new(conn)?;
    let mut places = Places::new(conn, case.job.timezone)?;
    let mut statement = conn.prepare(include_str!("changed.sql"))?;
    let mut rows = statement.query(named_params! {":job": case.job.name})?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let record = records.record(row.get(0)?)?;
        let (old, new) = (version(row, 2)?, version(row, 7)?);
        let mut found =
            Discrepancy::new(Kind::ChangedAfterFinal, format!("changed|{}", key(&record))).with_record(&record);
        found.currency = Some(new.currency);
        found.provider_amount = Some(new.amount);
        found.difference = if old.currency == new.currency {
            new.amount.checked_sub(old.amount)
        } else {
            None
        };
        found.what_differs = versions_differ(&old, &new);
        let number: i64 = row.get(1)?;
        found.detail = format!(
            "version {number} was final with {} as `{}`, version {} says {} as `{}`",
            text(&old),
            old.word,
            number.saturating_add(1),
            text(&new),
            new.word
        );
        found.evidence = places.of(&record)?;
        all.push(found);
    }
    Ok(all)
}

fn text(version: &Version) -> String {
    let money = |minor: i64| format_minor(minor, version.currency);
    let fee = version
        .fee
        .map_or_else(String::new, |fee| format!(", fee {}", money(fee)));
    format!("{} {}{fee}", money(version.amount), version.currency)
}

/// `amount: 100.00 -> 90.00`, the final version first.
fn versions_differ(old: &Version, new: &Version) -> String {
    let mut parts = Vec::new();
    if old.currency != new.currency {
        parts.push(format!("currency: {} -> {}", old.currency, new.currency));
    }
    if old.status != new.status {
        parts.push(format!("status: {} -> {}", old.status, new.status));
    }
    if old.amount != new.amount || old.currency != new.currency {
        let (old, new) = (
            format_minor(old.amount, old.currency),
            format_minor(new.amount, new.currency),
        );
        parts.push(format!("amount: {old} -> {new}"));
    }
    if old.fee.is_some() && old.fee != new.fee {
        let fee = |v: &Version| v.fee.map_or("absent".to_owned(), |fee| format_minor(fee, v.currency));
        parts.push(format!("fee: {} -> {}", fee(old), fee(new)));
    }
    parts.join("; ")
}

fn unreadable(conn: &Connection, case: &Case<'_>) -> Result<Vec<Discrepancy>, Failure> {
    let mut statement = conn.prepare(include_str!("unreadable.sql"))?;
    let mut rows = statement.query(named_params! {":job": case.job.name})?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (feed, subject): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let from = optional_instant(row, 2, "windows.from_at")?;
        let (page, source): (Option<i64>, Option<String>) = (row.get(3)?, row.get(4)?);
        let (place, reason): (String, String) = (row.get(5)?, row.get(6)?);
        let subject = subject.unwrap_or_default();
        let (identity, evidence) = match source {
            Some(source) => (format!("unreadable|{source}|{place}"), format!("{source}, {place}")),
            None => {
                let page = page.unwrap_or_default();
                let begins = from.map(format_instant).unwrap_or_default();
                let what = place_name(&feed, &subject, from, case.job.timezone);
                (
                    format!("unreadable|{feed}|{begins}|{subject}|{page}|{place}"),
                    format!("{what}, page {page}, {place}"),
                )
            }
        };
        let mut found = Discrepancy::new(Kind::Unreadable, identity);
        found.provider = provider_name(case);
        found.business_day = from.map(|at| day_of(at, case.job.timezone));
        found.what_differs = format!("row: readable -> {place} {reason}");
        found.detail = format!("a row could not be read exactly and was put aside: {place} {reason}");
        found.evidence = evidence;
        all.push(found);
    }
    Ok(all)
}

/// `deposits 2026-03-04`, `sweep_transactions of 5d02`.
fn place_name(feed: &str, subject: &str, from: Option<Instant>, zone: Tz) -> String {
    match from {
        _ if !subject.is_empty() => format!("{feed} of {subject}"),
        Some(at) => format!("{feed} {}", day_of(at, zone)),
        None => feed.to_owned(),
    }
}

/// The provider's name as the records bear it.
pub fn provider_name(case: &Case<'_>) -> Option<String> {
    match &case.job.source {
        JobSource::Provider(setup) => Some(setup.provider.name().to_owned()),
        JobSource::File(file) => Some(file.provider.clone()),
        JobSource::Across(_) => None,
    }
}

/// A stretch that was wanted and not read to its end.
struct Hole {
    feed: String,
    subject: String,
    span: Window,
    why: String,
}

fn incomplete(conn: &Connection, case: &Case<'_>) -> Result<Vec<Discrepancy>, Failure> {
    let zone = case.job.timezone;
    let all = holes(conn, case)?.into_iter().map(|hole| {
        let begins = format_instant(hole.span.from);
        let identity = format!("incomplete|{}|{}|{begins}", hole.feed, hole.subject);
        let mut found = Discrepancy::new(Kind::IncompleteWindow, identity);
        found.provider = provider_name(case);
        found.business_day = Some(day_of(hole.span.from, zone));
        let what = place_name(&hole.feed, &hole.subject, Some(hole.span.from), zone);
        let until = format_instant(hole.span.until);
        found.what_differs = "reading: to its end -> stopped before".to_owned();
        found.detail = format!("{what} was not read to its end ({begins} to {until}): {}", hole.why);
        found.evidence = what;
        found
    });
    Ok(all.collect())
}

fn holes(conn: &Connection, case: &Case<'_>) -> Result<Vec<Hole>, Failure> {
    let zone = case.job.timezone;
    let until = start_of_day(next_day(case.business_day), zone);
    let feeds = match &case.job.source {
        JobSource::Provider(setup) => setup.provider.feeds(),
        _ => Vec::new(),
    };
    let of = |shape: Shape| feeds.iter().filter(move |f| f.shape == shape).map(|f| f.name);
    let snapshots: Vec<&str> = of(Shape::Snapshot).collect();
    let details = |f: &&crate::providers::Feed| matches!(f.shape, Shape::Details { .. });
    let details = feeds.iter().filter(details).map(|f| f.name);
    // These are said together, not one by one.
    let together: Vec<&str> = of(Shape::Lookups).chain(details).collect();
    let mut statement = conn.prepare(include_str!("incomplete.sql"))?;
    let mut rows = statement.query(named_params! {":job": case.job.name, ":until": format_instant(until)})?;
    let mut holes = Vec::new();
    while let Some(row) = rows.next()? {
        let (feed, subject): (String, String) = (row.get(0)?, row.get(1)?);
        let from = optional_instant(row, 2, "windows.from_at")?.ok_or_else(|| damaged("windows.from_at"))?;
        let until = optional_instant(row, 3, "windows.until_at")?.ok_or_else(|| damaged("windows.until_at"))?;
        // Keys are a finding each, or said by a warning.
        if together.contains(&feed.as_str()) {
            continue;
        }
        // A figure of the moment cannot be asked for later: only last night's still counts.
        if snapshots.contains(&feed.as_str()) && day_of(from, zone) < case.business_day {
            continue;
        }
        let state: String = row.get(4)?;
        let why = row
            .get::<_, Option<String>>(5)?
            .unwrap_or_else(|| match state.as_str() {
                "unstable" => "it moved while it was read, every time".to_owned(),
                _ => "the reading was cut".to_owned(),
            });
        holes.push(Hole {
            feed,
            subject,
            span: Window { from, until },
            why,
        });
    }
    if let JobSource::Provider(setup) = &case.job.source {
        for feed in setup.provider.feeds() {
            holes.extend(never_begun(conn, case, feed.name, feed.shape, until)?);
        }
    }
    Ok(holes)
}

fn never_begun(
    conn: &Connection,
    case: &Case<'_>,
    feed: &str,
    shape: Shape,
    until: Instant,
) -> Result<Vec<Hole>, Failure> {
    let job = &case.job.name;
    let hole = |subject: String, span| Hole {
        feed: feed.to_owned(),
        subject,
        span,
        why: "it was never asked for".to_owned(),
    };
    let first = match shape {
        Shape::Days(_) | Shape::Listing => case.job.fetch.start,
        Shape::Snapshot => case.business_day,
        Shape::Details { of } => {
            let unasked = scope::unasked_details(conn, job, feed)?;
            let why = |count| format!("{count} records of {of} without a reference were not asked about yet");
            let said = unasked.map(|(count, span)| Hole {
                why: why(count),
                ..hole(String::new(), span)
            });
            return Ok(said.into_iter().collect());
        }
        Shape::Lookups => return Ok(Vec::new()),
        Shape::Children { of } => {
            // Those that were begun stand in the windows already.
            let unread = scope::unread_subjects(conn, job, feed, of)?;
            let mut begun =
                conn.prepare("SELECT EXISTS (SELECT 1 FROM windows WHERE job = ?1 AND feed = ?2 AND subject = ?3)")?;
            let mut holes = Vec::new();
            for (subject, span) in unread {
                let known: bool = begun.query_row((job, feed, &subject), |row| row.get(0))?;
                if !known && span.from < until {
                    holes.push(hole(subject, span));
                }
            }
            return Ok(holes);
        }
    };
    let wanted = Window {
        from: start_of_day(first_wanted(first, case.business_day), case.job.timezone),
        until,
    };
    let gaps = scope::never_begun(conn, job, feed, wanted)?;
    Ok(gaps.into_iter().map(|span| hole(String::new(), span)).collect())
}

/// A job that starts after the last day over wants nothing yet.
fn first_wanted(first: BusinessDay, last: BusinessDay) -> BusinessDay {
    first.min(next_day(last))
}
