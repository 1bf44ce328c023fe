//! How far the night's reading came: the windows that are not whole, each feed's days as a calendar, and how many rows the
//! ledger brought.

use std::collections::BTreeMap;

use chrono::Days;
use chrono_tz::Tz;
use rusqlite::{Connection, params};
use serde::Serialize;

use super::words;
use crate::day::{BusinessDay, Instant, day_of, format_instant, parse_instant, start_of_day};
use crate::failure::Failure;

/// Windows that are named one by one.
const MOST_NAMED: i64 = 12;
/// Weeks of the calendar.
const WEEKS: u64 = 5;

/// A window that was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub feed: String,
    /// Sweep or key; empty for a span of time.
    pub subject: String,
    pub from_at: String,
    pub until_at: String,
    /// `open` or `unstable`.
    pub state: String,
    pub reason: Option<String>,
}

/// The oldest of them, and how many there are in all.
pub fn unread(conn: &Connection, job: &str) -> Result<(Vec<Unread>, i64), Failure> {
    let count = conn.query_row(
        "SELECT count(*) FROM windows WHERE job = ?1 AND state <> 'sealed'",
        [job],
        |row| row.get(0),
    )?;
    let mut statement = conn.prepare(
        "SELECT feed, subject, from_at, until_at, state, reason FROM windows
          WHERE job = ?1 AND state <> 'sealed' ORDER BY from_at, feed, subject LIMIT ?2",
    )?;
    let rows = statement.query_map(params![job, MOST_NAMED], |row| {
        Ok(Unread {
            feed: row.get(0)?,
            subject: row.get(1)?,
            from_at: row.get(2)?,
            until_at: row.get(3)?,
            state: row.get(4)?,
            reason: row.get(5)?,
        })
    })?;
    Ok((rows.collect::<Result<_, _>>()?, count))
}

/// A span of instants as the days it covers in a zone: `2026-03-04`, `2026-03-02 to 2026-03-04`.
pub fn days(from_at: &str, until_at: &str, zone: Tz) -> String {
    let (Some(from), Some(until)) = (parse_instant(from_at), parse_instant(until_at)) else {
        return words::shown(from_at);
    };
    let (first, last) = (
        day_of(from, zone),
        day_of(until - chrono::TimeDelta::milliseconds(1), zone),
    );
    if first < last {
        format!("{first} to {last}")
    } else {
        first.to_string()
    }
}

/// Rows that the last two ledger readings brought, the newer first. Empty for a job without a ledger.
pub fn ledger_rows(conn: &Connection, job: &str, as_of: Instant) -> Result<Vec<i64>, Failure> {
    let mut statement = conn.prepare(
        "SELECT entries FROM ledger_imports WHERE job = ?1 AND feed = '' AND as_of <= ?2
          ORDER BY as_of DESC, import_id DESC LIMIT 2",
    )?;
    let rows = statement.query_map([job, &format_instant(as_of)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One feed's days, oldest first; every feed of a job has the same days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedDays {
    pub feed: String,
    pub days: Vec<DayRead>,
    /// Days that are not whole, in words; empty when all are.
    pub gaps: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayRead {
    pub day: String,
    /// Day of the month.
    pub number: u32,
    /// Whether a month begins here.
    pub month: bool,
    /// `read`, `part`, `gap` or `none` (no window reaches that day).
    pub state: &'static str,
}

/// What is known about one day of one feed.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Milliseconds of the day that sealed spans cover.
    covered: i64,
    /// A sealed window of a subject touches the day.
    subject: bool,
    gap: bool,
}

/// The last weeks of every feed, from a Monday to the business day.
pub fn calendar(conn: &Connection, job: &str, last: BusinessDay, zone: Tz) -> Result<Vec<FeedDays>, Failure> {
    let monday = u64::from(chrono::Datelike::weekday(&last).num_days_from_monday());
    let first = last
        .checked_sub_days(Days::new(monday + 7 * (WEEKS - 1)))
        .unwrap_or(last);
    let days: Vec<BusinessDay> = first.iter_days().take_while(|day| *day <= last).collect();
    // Bounds of each day, and the first instant after the last one.
    let mut bounds: Vec<Instant> = days.iter().map(|day| start_of_day(*day, zone)).collect();
    bounds.push(start_of_day(crate::day::next_day(last), zone));
    let (begin, end) = (bounds[0], bounds[days.len()]);
    let mut statement = conn.prepare(
        "SELECT feed, subject, max(from_at, ?2), min(until_at, ?3), state FROM windows
          WHERE job = ?1 AND (from_at < ?3 AND until_at > ?2) ORDER BY feed, from_at, subject",
    )?;
    let mut rows = statement.query(params![job, format_instant(begin), format_instant(end)])?;
    let mut feeds: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (from, until): (String, String) = (row.get(2)?, row.get(3)?);
        let (Some(from), Some(until)) = (parse_instant(&from), parse_instant(&until)) else {
            continue;
        };
        let seen = feeds
            .entry(row.get(0)?)
            .or_insert_with(|| vec![Seen::default(); days.len()]);
        let subject = !row.get_ref(1)?.as_str().unwrap_or_default().is_empty();
        let sealed = row.get_ref(4)?.as_str().unwrap_or_default() == "sealed";
        for (day, seen) in seen.iter_mut().enumerate() {
            let overlap = (until.min(bounds[day + 1]) - from.max(bounds[day])).num_milliseconds();
            if overlap <= 0 {
                continue;
            }
            seen.gap |= !sealed;
            seen.subject |= sealed && subject;
            if sealed && !subject {
                seen.covered += overlap;
            }
        }
    }
    let feed_days = feeds
        .into_iter()
        .map(|(feed, seen)| feed_days(&feed, &days, &bounds, &seen));
    Ok(feed_days.collect())
}

fn feed_days(feed: &str, days: &[BusinessDay], bounds: &[Instant], seen: &[Seen]) -> FeedDays {
    let state = |at: usize| {
        let whole = (bounds[at + 1] - bounds[at]).num_milliseconds();
        match seen[at] {
            Seen { gap: true, .. } => "gap",
            Seen { covered, .. } if covered >= whole => "read",
            Seen {
                covered: 0, subject, ..
            } => ["none", "read"][usize::from(subject)],
            _ => "part",
        }
    };
    let days: Vec<DayRead> = days
        .iter()
        .enumerate()
        .map(|(at, day)| DayRead {
            day: day.to_string(),
            number: chrono::Datelike::day(day),
            month: at == 0 || chrono::Datelike::day(day) == 1,
            state: state(at),
        })
        .collect();
    let gaps: Vec<&str> = days
        .iter()
        .filter(|d| d.state == "gap")
        .map(|d| d.day.as_str())
        .collect();
    FeedDays {
        feed: words::shown(feed),
        gaps: gaps.join(", "),
        days,
    }
}
