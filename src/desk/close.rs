//! The closing of a period: from then on its days are never rewritten. Refuses what an accountant would not sign: days that
//! are not over, were not reported, or were not read to their end. Open discrepancies are carried forward only when asked.

use rusqlite::{Connection, OptionalExtension, params};

use crate::config::Job;
use crate::day::{BusinessDay, Instant, format_instant, last_day_over, next_day, start_of_day};
use crate::failure::{Class, Failure};
use crate::store::Store;
use crate::store::audit::{self, Act, Head, Sealed, Seals};
use crate::store::periods::closed_through;

/// What is to be closed, by whom.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    pub job: &'a Job,
    /// The last day to close; every day before it is closed with it.
    pub through: BusinessDay,
    pub by: &'a str,
    /// Wall clock.
    pub at: Instant,
    pub note: Option<&'a str>,
    /// Open discrepancies of these days are carried forward instead of standing in the way.
    pub with_open: bool,
}

/// What was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub from: BusinessDay,
    /// Open discrepancies of closed days, carried forward.
    pub carried: i64,
    pub acknowledged: i64,
    pub head: Head,
}

/// The last run before the closing: what is known when it is closed.
struct LastRun {
    run_id: i64,
    as_of: String,
    business_day: BusinessDay,
    verdict: String,
}

/// Closes a period.
///
/// # Errors
/// USAGE for days that are closed already or not over; DATA, with what stands in the way, for days that were not reported, not
/// read to their end, or hold open discrepancies.
pub fn close(store: &Store, closing: &Closing<'_>) -> Result<Closed, Failure> {
    let job = &closing.job.name;
    let refused = |failure: Failure| failure.at(format!("{job} cannot be closed through {}", closing.through));
    store.write(|tx| {
        let closed = closed_through(tx, job)?;
        if let Some(closed) = closed.filter(|closed| closing.through <= *closed) {
            return Err(already(tx, job, closed)?);
        }
        let last = last_run(tx, closing).map_err(refused)?;
        let first = first_day(tx, job)?;
        reported(tx, closing, closed.map_or(first, next_day).max(first)).map_err(refused)?;
        read_to_the_end(tx, closing).map_err(refused)?;
        let (carried, acknowledged) = open_items(tx, closing).map_err(refused)?;
        let from = closed.map_or(closing.job.fetch.start.min(first), next_day);
        let close_id = tx
            .prepare_cached(
                "INSERT INTO period_closes (job, from_day, through_day, actor, at, as_of, note, carried, acknowledged)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .insert(params![
                job,
                from.to_string(),
                closing.through.to_string(),
                closing.by,
                format_instant(closing.at),
                last.as_of,
                closing.note,
                carried,
                acknowledged
            ])?;
        let head = seal(tx, closing, from, close_id)?;
        Ok(Closed {
            from,
            carried,
            acknowledged,
            head,
        })
    })
}

fn data(message: String) -> Failure {
    Failure::new(Class::Data, message)
}

fn usage(message: String) -> Failure {
    Failure::new(Class::Usage, message)
}

fn already(conn: &Connection, job: &str, closed: BusinessDay) -> Result<Failure, Failure> {
    let (by, at): (String, String) = conn.query_row(
        "SELECT actor, at FROM period_closes WHERE job = ?1 AND through_day = ?2",
        [job, &closed.to_string()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(usage(format!(
        "{job} is closed through {closed} already (by {by} at {at}); closed days stay closed, name a later day"
    )))
}

/// The newest finished run, if it knows the days that are to be closed.
fn last_run(conn: &Connection, closing: &Closing<'_>) -> Result<LastRun, Failure> {
    let sql = "SELECT run_id, as_of, business_day, verdict FROM runs
                WHERE job = ?1 AND finished_at IS NOT NULL ORDER BY run_id DESC LIMIT 1";
    let found: Option<(i64, String, String, Option<String>)> = conn
        .query_row(sql, [&closing.job.name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((run_id, as_of, day, verdict)) = found else {
        return Err(usage(
            "it was never run; `reconciled run` reconciles it first".to_owned(),
        ));
    };
    let last = LastRun {
        run_id,
        as_of,
        business_day: day.parse().map_err(|_| data("its last run has no day".to_owned()))?,
        verdict: verdict.unwrap_or_default(),
    };
    let over = last_day_over(closing.at, closing.job.fetch.settle, closing.job.timezone);
    if closing.through > over {
        return Err(usage(format!(
            "that day is not over; the last day that is over is {over}"
        )));
    }
    if closing.through > last.business_day {
        return Err(usage(format!(
            "the last reconciled day is {}; `reconciled run {}` reconciles the next ones first",
            last.business_day, closing.job.name
        )));
    }
    if matches!(last.verdict.as_str(), "failed" | "not_reconciled") {
        return Err(data(format!(
            "its last run (number {}, for {}) ended as {}; mend the cause and run it again first",
            last.run_id, last.business_day, last.verdict
        )));
    }
    Ok(last)
}

/// The business day of the job's first finished run.
fn first_day(conn: &Connection, job: &str) -> Result<BusinessDay, Failure> {
    let day: String = conn.query_row(
        "SELECT min(business_day) FROM runs WHERE job = ?1 AND finished_at IS NOT NULL",
        [job],
        |row| row.get(0),
    )?;
    day.parse().map_err(|_| data("its first run has no day".to_owned()))
}

/// Every day from the first one on was reported: its files are frozen.
fn reported(conn: &Connection, closing: &Closing<'_>, from: BusinessDay) -> Result<(), Failure> {
    let mut there = conn.prepare("SELECT 1 FROM files WHERE job = ?1 AND business_day = ?2 LIMIT 1")?;
    let (mut missing, mut day) = (Vec::new(), from);
    while day <= closing.through {
        if !there.exists([&closing.job.name, &day.to_string()])? {
            missing.push(day.to_string());
        }
        day = next_day(day);
    }
    match missing.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(data(format!(
            "{} of its days {} never reported, the first is {first}; `reconciled run --as-of` with that night makes up for it",
            missing.len(),
            if missing.len() == 1 { "was" } else { "were" }
        ))),
    }
}

/// Nothing of these days is unread: no open window, no gap in the books.
fn read_to_the_end(conn: &Connection, closing: &Closing<'_>) -> Result<(), Failure> {
    let end = format_instant(start_of_day(next_day(closing.through), closing.job.timezone));
    let windows: (i64, Option<String>) = conn.query_row(
        "SELECT count(*), min(feed || ' from ' || from_at) FROM windows
          WHERE job = ?1 AND subject = '' AND state <> 'sealed' AND from_at < ?2",
        [&closing.job.name, &end],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let gaps: i64 = conn.query_row(
        "SELECT count(*) FROM discrepancies
          WHERE job = ?1 AND kind = 'incomplete_window' AND state <> 'resolved' AND business_day <= ?2",
        [&closing.job.name, &closing.through.to_string()],
        |row| row.get(0),
    )?;
    if windows.0 + gaps == 0 {
        return Ok(());
    }
    let place = windows.1.map(|place| format!(" ({place})")).unwrap_or_default();
    Err(data(format!(
        "these days were not read to their end: {} open windows{place}, {gaps} gaps in the list of discrepancies; run it again \
         until the provider was read, what was not read cannot be signed",
        windows.0
    )))
}

/// Open and acknowledged discrepancies of these days.
fn open_items(conn: &Connection, closing: &Closing<'_>) -> Result<(i64, i64), Failure> {
    let (open, acknowledged): (i64, i64) = conn.query_row(
        "SELECT coalesce(sum(state = 'open'), 0), coalesce(sum(state = 'acknowledged'), 0) FROM discrepancies
          WHERE job = ?1 AND state <> 'resolved' AND business_day <= ?2",
        [&closing.job.name, &closing.through.to_string()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if open > 0 && !closing.with_open {
        return Err(data(format!(
            "{open} {} open; decide about them (`reconciled decide`), or carry them forward with --with-open",
            if open == 1 {
                "discrepancy of these days is"
            } else {
                "discrepancies of these days are"
            }
        )));
    }
    Ok((open, acknowledged))
}

/// The closing itself, the frozen files and the statement of every day that it closes.
fn seal(conn: &Connection, closing: &Closing<'_>, from: BusinessDay, close_id: i64) -> Result<Head, Failure> {
    let job = &closing.job.name;
    let mut seals = Seals::default();
    seals.row(conn, Sealed::Close, &close_id.to_string())?;
    for (what, sql) in [
        (
            Sealed::File,
            "SELECT job || '/' || business_day || '/' || name FROM files
              WHERE job = ?1 AND business_day BETWEEN ?2 AND ?3 ORDER BY business_day, name",
        ),
        (
            Sealed::Statement,
            "SELECT DISTINCT job || '/' || business_day FROM statement_lines
              WHERE job = ?1 AND business_day BETWEEN ?2 AND ?3 AND line NOT LIKE 'late change %' ORDER BY business_day",
        ),
    ] {
        let mut keys = conn.prepare(sql)?;
        let mut keys = keys.query([job, &from.to_string(), &closing.through.to_string()])?;
        while let Some(row) = keys.next()? {
            seals.row(conn, what, &row.get::<_, String>(0)?)?;
        }
    }
    let through = closing.through.to_string();
    let entry = audit::Entry {
        at: closing.at,
        actor: closing.by,
        act: Act::Closed,
        job,
        subject: &through,
    };
    audit::append(conn, &entry, &seals)
}
