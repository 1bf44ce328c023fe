//! What arises or changes about a day that is closed: it belongs to the open period on whose day it became known, and both
//! days are named. A closed day itself is never rewritten.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::proofs::Line;
use super::rows::{damaged, day};
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

/// Writes tonight's statement: only the lines that are not in the books to the letter already, so that a night writes what
/// became new and not its whole history. Lines of closed days stay as they are; where the provider now gives another figure
/// for one, the difference is a dated line of the open day on which it became known.
pub fn statement(
    conn: &Connection,
    case: &Case<'_>,
    lines: &[Line],
    closed: Option<BusinessDay>,
) -> Result<(), Failure> {
    let (late, mut open): (Vec<&Line>, Vec<&Line>) = lines
        .iter()
        .partition(|line| closed.is_some_and(|closed| line.line.business_day <= closed));
    open.sort_by(|a, b| key(a).cmp(&key(b)));
    let (stale, missing) = differences(conn, &case.job.name, &open, closed)?;
    write(conn, &case.job.name, &stale, &missing)?;
    let mut closed_lines: BTreeMap<Place<'_>, i64> = BTreeMap::new();
    for Line { line, text, .. } in late {
        let sum = closed_lines
            .entry((&line.account, line.business_day, text, line.currency.code()))
            .or_default();
        *sum = sum.saturating_add(line.amount_minor);
    }
    for (place, now) in closed_lines {
        late_line(conn, case, place, now)?;
    }
    Ok(())
}

/// Where a line stands: account, currency, day and position, in the order of the table.
type Key<'a> = (&'a str, &'a str, BusinessDay, i64);

fn key(line: &Line) -> Key<'_> {
    let own = &line.line;
    (
        &own.account,
        own.currency.code(),
        own.business_day,
        i64::from(own.position),
    )
}

/// Stored lines that tonight does not have like that, by account, currency, day and position.
type Stale = Vec<(String, String, String, i64)>;

/// Walks stored and new lines side by side: what must go, and what must be written.
fn differences<'l>(
    conn: &Connection,
    job: &str,
    lines: &[&'l Line],
    closed: Option<BusinessDay>,
) -> Result<(Stale, Vec<&'l Line>), Failure> {
    let open_from = closed.map(|day| day.to_string()).unwrap_or_default();
    let mut stored = conn.prepare_cached(
        "SELECT account, currency, business_day, position, line, amount_minor, source, explanation FROM statement_lines
          WHERE job = ?1 AND business_day > ?2 AND line NOT LIKE 'late change %'
          ORDER BY account, currency, business_day, position",
    )?;
    let mut rows = stored.query([job, &open_from])?;
    let (mut stale, mut missing) = (Stale::new(), Vec::new());
    let mut new = lines.iter().copied().peekable();
    while let Some(row) = rows.next()? {
        let text = |column| row.get_ref(column)?.as_str().map_err(|_| damaged("statement_lines"));
        let about = day(row, 2, "statement_lines.business_day")?;
        let here = (text(0)?, text(1)?, about, row.get(3)?);
        while let Some(line) = new.next_if(|line| key(line) < here) {
            missing.push(line);
        }
        let same = new.peek().filter(|line| key(line) == here).is_some_and(|line| {
            text(4).is_ok_and(|text| text == line.text)
                && row.get(5).is_ok_and(|minor: i64| minor == line.line.amount_minor)
                && text(6).is_ok_and(|text| text == line.line.source)
                && text(7).is_ok_and(|text| text == line.explanation)
        });
        if same {
            new.next();
        } else {
            stale.push((here.0.to_owned(), here.1.to_owned(), about.to_string(), here.3));
        }
    }
    missing.extend(new);
    Ok((stale, missing))
}

fn write(conn: &Connection, job: &str, stale: &Stale, missing: &[&Line]) -> Result<(), Failure> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM statement_lines
          WHERE job = ?1 AND account = ?2 AND currency = ?3 AND business_day = ?4 AND position = ?5",
    )?;
    for (account, currency, day, position) in stale {
        delete.execute((job, account, currency, day, position))?;
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO statement_lines (job, account, currency, business_day, position, line, amount_minor, source, explanation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for line in missing {
        let own = &line.line;
        insert.execute((
            job,
            &own.account,
            own.currency.code(),
            own.business_day.to_string(),
            own.position,
            &line.text,
            own.amount_minor,
            &own.source,
            &line.explanation,
        ))?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::providers::Sense;
    use crate::providers::{StatementItem, StatementLine};

    /// At most one line a place, as the provider's room gives them.
    fn lines() -> impl Strategy<Value = Vec<Line>> {
        let place = (0..2_usize, 0..2_usize, 0..5_u64, 0..3_u32);
        prop::collection::btree_map(place, (0..2_i64, 0..2_usize), 0..25).prop_map(|lines| {
            let line =
                |((account, currency, day, position), (amount_minor, why)): ((usize, usize, _, _), (_, usize))| Line {
                    text: ["opening", "late fee"][why].to_owned(),
                    sense: Sense::Signed,
                    explanation: ["", "the closing before"][why].to_owned(),
                    line: StatementLine {
                        account: ["1", "10"][account].to_owned(),
                        currency: ["USD", "PEN"][currency].parse().unwrap(),
                        business_day: BusinessDay::default() + chrono::Days::new(day),
                        position,
                        line: StatementItem::Opening,
                        amount_minor,
                        source: "balance report".to_owned(),
                    },
                };
            lines.into_iter().map(line).collect()
        })
    }

    fn books() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../schema.sql")).unwrap();
        // Neither another job's line nor that of a late change is touched.
        for (job, line) in [("other", "opening"), ("j", "late change 1970-01-02 opening")] {
            let sql = "INSERT INTO statement_lines VALUES (?1, '1', 'PEN', '1970-01-03', 1000000, ?2, 5, '', '')";
            conn.execute(sql, [job, line]).unwrap();
        }
        conn
    }

    fn stored(conn: &Connection) -> Vec<String> {
        let sql = "SELECT concat_ws('|', job, account, currency, business_day, position, line, amount_minor, source, explanation)
                     FROM statement_lines ORDER BY 1";
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// The whole statement, written anew.
    fn write_whole(conn: &Connection, lines: &[Line], closed: Option<BusinessDay>) {
        let open_from = closed.map(|day| day.to_string()).unwrap_or_default();
        let sql = "DELETE FROM statement_lines WHERE job = 'j' AND business_day > ?1 AND line NOT LIKE 'late change %'";
        conn.execute(sql, [open_from]).unwrap();
        write(conn, "j", &Stale::new(), &open(lines, closed)).unwrap();
    }

    fn open(lines: &[Line], closed: Option<BusinessDay>) -> Vec<&Line> {
        let mut open: Vec<&Line> = lines
            .iter()
            .filter(|line| closed.is_none_or(|closed| line.line.business_day > closed))
            .collect();
        open.sort_by(|a, b| key(a).cmp(&key(b)));
        open
    }

    proptest! {
        #[test]
        fn a_statement_of_which_only_the_differences_are_written_is_the_one_written_whole(
            before in lines(), after in lines(), closed in prop::option::of(0..4_u64),
        ) {
            let closed = closed.map(|day| BusinessDay::default() + chrono::Days::new(day));
            let (quick, whole) = (books(), books());
            for conn in [&quick, &whole] {
                write_whole(conn, &before, None);
            }
            let lines = open(&after, closed);
            let (stale, missing) = differences(&quick, "j", &lines, closed).unwrap();
            write(&quick, "j", &stale, &missing).unwrap();
            write_whole(&whole, &after, closed);
            prop_assert_eq!(stored(&quick), stored(&whole));
            let (stale, missing) = differences(&quick, "j", &lines, closed).unwrap();
            prop_assert!(stale.is_empty() && missing.is_empty(), "the same again writes nothing");
        }
    }

    #[test]
    fn a_late_change_of_the_oldest_line_rewrites_that_line_alone() {
        let line = |day: u64, amount_minor| Line {
            text: "opening".to_owned(),
            sense: Sense::Signed,
            explanation: String::new(),
            line: StatementLine {
                account: "1".to_owned(),
                currency: "PEN".parse().unwrap(),
                business_day: BusinessDay::default() + chrono::Days::new(day),
                position: 0,
                line: StatementItem::Opening,
                amount_minor,
                source: String::new(),
            },
        };
        let conn = books();
        let before: Vec<Line> = (0..1000).map(|day| line(day, 7)).collect();
        write_whole(&conn, &before, None);
        let after: Vec<Line> = (0..1000).map(|day| line(day, if day == 0 { 8 } else { 7 })).collect();
        let lines = open(&after, None);
        let (stale, missing) = differences(&conn, "j", &lines, None).unwrap();
        assert_eq!((stale.len(), missing.len()), (1, 1));
        assert_eq!(missing[0].line.amount_minor, 8);
        write(&conn, "j", &stale, &missing).unwrap();
        assert!(stored(&conn).contains(&"j|1|PEN|1970-01-01|0|opening|8||".to_owned()));
    }
}
