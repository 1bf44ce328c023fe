//! What arises or changes about a day that is closed: it belongs to the open period on whose day it became known, and both
//! days are named. A closed day itself is never rewritten.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::proofs::Line;
use crate::day::BusinessDay;
use crate::failure::Failure;
use crate::money::{Currency, format_minor};

/// Statement lines of late changes stand below the day's own and below the advisory ones.
const LATE_POSITION: i64 = 1_000_000;

/// Where the books have a discrepancy.
#[derive(Clone, Debug)]
pub struct Known {
    /// `discrepancies.business_day`
    pub day: BusinessDay,
    /// `discrepancies.closed_day`
    pub closed_day: Option<BusinessDay>,
}

/// What follows for tonight's row.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// The closed day it is about, when it became known after that day was closed.
    pub closed_day: Option<BusinessDay>,
    /// Note of the event `late_change`; None: nothing happened to a closed day tonight.
    pub told: Option<String>,
}

impl Late {
    /// Puts a finding on the day on which it stands in the books, and says in its detail when that is not the day it is
    /// about. `moves`: it arose or its values changed tonight.
    pub fn place(
        found: &mut Discrepancy,
        known: Option<&Known>,
        moves: bool,
        closed: Option<BusinessDay>,
        today: BusinessDay,
    ) -> Self {
        let before = known.and_then(|k| k.closed_day);
        let about = found.business_day.or(before).or(known.map(|k| k.day)).unwrap_or(today);
        let stands = known.map_or(about, |k| k.day);
        let is_closed = |day: BusinessDay| closed.is_some_and(|closed| day <= closed);
        if moves && is_closed(stands) {
            found.business_day = Some(today);
            mark(found, about, today);
            let through = closed.map(|day| format!(" (closed through {day})")).unwrap_or_default();
            return Self {
                closed_day: Some(about),
                told: Some(format!(
                    "about {about}{through}, became known on {today}: {}",
                    found.what_differs
                )),
            };
        }
        if let Some(known) = known
            && (before.is_some() || is_closed(known.day))
        {
            // It stays on the day on which it became known.
            found.business_day = Some(known.day);
            if before.is_some() {
                mark(found, about, known.day);
                return Self {
                    closed_day: Some(about),
                    told: None,
                };
            }
        }
        Self::default()
    }
}

fn mark(found: &mut Discrepancy, about: BusinessDay, known_on: BusinessDay) {
    found.detail = format!(
        "{}; about {about}, which was closed when this became known on {known_on}",
        found.detail
    );
}

/// Writes tonight's statement. Lines of closed days stay as they are; where the provider now gives another figure for one,
/// the difference is a dated line of the open day on which it became known.
pub fn statement(
    conn: &Connection,
    case: &Case<'_>,
    lines: &[Line],
    closed: Option<BusinessDay>,
) -> Result<(), Failure> {
    let open_from = closed.map(|day| day.to_string()).unwrap_or_default();
    conn.execute(
        "DELETE FROM statement_lines WHERE job = ?1 AND business_day > ?2 AND line NOT LIKE 'late change %'",
        [&case.job.name, &open_from],
    )?;
    let mut insert = conn.prepare(
        "INSERT INTO statement_lines (job, account, currency, business_day, position, line, amount_minor, source, explanation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut closed_lines: BTreeMap<Place<'_>, i64> = BTreeMap::new();
    for Line {
        line,
        text,
        explanation,
        ..
    } in lines
    {
        if closed.is_some_and(|closed| line.business_day <= closed) {
            let sum = closed_lines
                .entry((&line.account, line.business_day, text, line.currency.code()))
                .or_default();
            *sum = sum.saturating_add(line.amount_minor);
            continue;
        }
        insert.execute((
            &case.job.name,
            &line.account,
            line.currency.code(),
            line.business_day.to_string(),
            line.position,
            text,
            line.amount_minor,
            &line.source,
            explanation,
        ))?;
    }
    for (place, now) in closed_lines {
        late_line(conn, case, place, now)?;
    }
    Ok(())
}

/// Account, closed day, line and currency.
type Place<'a> = (&'a str, BusinessDay, &'a str, &'a str);

/// A line of a closed day that says something else than when the day was closed, late lines included.
fn late_line(conn: &Connection, case: &Case<'_>, place: Place<'_>, now: i64) -> Result<(), Failure> {
    let (account, day, text, currency) = place;
    let name = format!("late change {day} {text}");
    let known: Option<i64> = conn
        .prepare_cached(
            "SELECT sum(amount_minor) FROM statement_lines
              WHERE job = ?1 AND account = ?2 AND currency = ?3
                AND (business_day = ?4 AND line = ?5 OR business_day > ?4 AND line = ?6)",
        )?
        .query_row(
            params![case.job.name, account, currency, day.to_string(), text, name],
            |row| row.get(0),
        )?;
    let known = known.unwrap_or_default();
    let Some(change) = now.checked_sub(known).filter(|change| *change != 0) else {
        return Ok(());
    };
    let today = case.business_day;
    let money = |minor: i64| match currency.parse::<Currency>() {
        Ok(currency) => format_minor(minor, currency),
        Err(_) => minor.to_string(),
    };
    let source = format!(
        "{text} of {day}, a closed day: {} as the books had it, {} as the provider says since {today}",
        money(known),
        money(now)
    );
    conn.prepare_cached(
        "INSERT INTO statement_lines (job, account, currency, business_day, position, line, amount_minor, source)
         VALUES (?1, ?2, ?3, ?4,
                 (SELECT coalesce(max(position) + 1, ?5) FROM statement_lines
                   WHERE job = ?1 AND account = ?2 AND currency = ?3 AND business_day = ?4 AND line LIKE 'late change %'),
                 ?6, ?7, ?8)",
    )?
    .execute(params![
        case.job.name,
        account,
        currency,
        today.to_string(),
        LATE_POSITION,
        name,
        change,
        source
    ])?;
    Ok(())
}
