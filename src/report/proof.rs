//! The statement of each account's last day as a picture that keeps its figures: opening, what explains the change, closing,
//! residual, each with the piece of a waterfall it stands for. Pure but for its SELECT.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::words;
use crate::config::Locale;
use crate::failure::Failure;
use crate::money::Currency;

/// Accounts on one page.
const MOST_STATEMENTS: usize = 60;
/// Days in the strip of residuals.
const STRIP_DAYS: i64 = 35;
/// Width of the picture in its own units.
const WIDTH: i128 = 1000;

/// One account, one currency, its last stated day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statement {
    pub account: String,
    pub currency: String,
    pub business_day: String,
    pub lines: Vec<Line>,
    pub closes: bool,
    /// Whether its last day has a residual at all; without one only [`Self::notes`] speak.
    pub proved: bool,
    /// What the provider's figures show beside the proof, in words.
    pub notes: Vec<String>,
    /// Its last days, oldest first, and whether each closes.
    pub days: Vec<(String, bool)>,
    pub days_open: usize,
}

/// One line of a statement. `from` and `width` are its bar, in thousandths of the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    pub label: String,
    pub amount: String,
    pub source: String,
    /// `level` (opening, closing), `up`, `down`, `residual`.
    pub shape: &'static str,
    pub from: i64,
    pub width: i64,
}

/// A row of `statement_lines`.
struct Row {
    day: String,
    position: i64,
    line: String,
    minor: i64,
    source: String,
}

/// Statements of a job up to a day, one per account and currency, and how many more there are.
pub fn statements(conn: &Connection, job: &str, day: &str, locale: Locale) -> Result<(Vec<Statement>, usize), Failure> {
    let mut select = conn.prepare(
        "SELECT account, currency, business_day, position, line, amount_minor, source FROM statement_lines
          WHERE job = ?1 AND business_day <= ?2 AND business_day > date(?2, ?3)
          ORDER BY account, currency, business_day, position",
    )?;
    let mut rows = select.query(params![job, day, format!("-{STRIP_DAYS} days")])?;
    let (mut all, mut more) = (Vec::new(), 0);
    let mut key = (String::new(), String::new());
    let mut lines: Vec<Row> = Vec::new();
    let mut close = |key: &(String, String), lines: &mut Vec<Row>| {
        let lines = std::mem::take(lines);
        if all.len() < MOST_STATEMENTS {
            all.extend(statement(&key.0, &key.1, lines, locale));
        } else {
            more += 1;
        }
    };
    while let Some(row) = rows.next()? {
        let this = (row.get(0)?, row.get(1)?);
        if this != key && !lines.is_empty() {
            close(&key, &mut lines);
        }
        key = this;
        lines.push(Row {
            day: row.get(2)?,
            position: row.get(3)?,
            line: row.get(4)?,
            minor: row.get(5)?,
            source: row.get(6)?,
        });
    }
    if !lines.is_empty() {
        close(&key, &mut lines);
    }
    Ok((all, more))
}

/// First position of the lines that stand beside the proof.
const ADVISORY: i64 = 900;

fn statement(account: &str, currency: &str, rows: Vec<Row>, locale: Locale) -> Option<Statement> {
    let days: Vec<(String, bool)> = rows
        .iter()
        .filter(|row| row.line == "residual")
        .map(|row| (row.day.clone(), row.minor == 0))
        .collect();
    let last = rows.last()?.day.clone();
    let (lines, beside): (Vec<Row>, Vec<Row>) = rows
        .into_iter()
        .filter(|row| row.day == last)
        .partition(|row| row.position < ADVISORY);
    Some(Statement {
        account: words::shown(account),
        currency: words::shown(currency),
        business_day: last,
        proved: lines.iter().any(|row| row.line == "residual"),
        closes: lines.iter().any(|row| row.line == "residual" && row.minor == 0),
        lines: waterfall(&lines, currency, locale),
        notes: beside
            .iter()
            .map(|row| words::sentence(&words::told(&row.source)))
            .collect(),
        days_open: days.iter().filter(|(_, closes)| !closes).count(),
        days,
    })
}

/// Where each line begins and ends: the level before it and the level after it.
fn waterfall(rows: &[Row], currency: &str, locale: Locale) -> Vec<Line> {
    let mut level: i128 = 0;
    let spans: Vec<(i128, i128)> = rows
        .iter()
        .map(|row| {
            let minor = i128::from(row.minor);
            match row.line.as_str() {
                "opening" | "closing" => {
                    let before = std::mem::replace(&mut level, minor);
                    // The residual is drawn between what the lines gave and what was stated.
                    match row.line.as_str() {
                        "opening" => (minor, minor),
                        _ => (before, minor),
                    }
                }
                "residual" => (level - minor, level),
                _ => {
                    let before = level;
                    level += minor;
                    (before, level)
                }
            }
        })
        .collect();
    let ends = || spans.iter().flat_map(|(a, b)| [*a, *b]);
    let (low, high) = (ends().min().unwrap_or(0), ends().max().unwrap_or(0));
    let at = |value: i128| -> i64 {
        let place = (value - low) * WIDTH / (high - low).max(1);
        i64::try_from(place).unwrap_or(0)
    };
    let known = currency.parse::<Currency>().is_ok();
    rows.iter()
        .zip(&spans)
        .map(|(row, (before, after))| {
            let shape = match row.line.as_str() {
                "opening" | "closing" => "level",
                "residual" => "residual",
                _ if row.minor < 0 => "down",
                _ => "up",
            };
            let (from, to) = match shape {
                "level" => (at(*after), at(*after)),
                _ => (at((*before).min(*after)), at((*before).max(*after))),
            };
            Line {
                label: label(&row.line),
                amount: match known {
                    true => words::money(row.minor, currency, locale),
                    false => row.minor.to_string(),
                },
                source: words::shown(&row.source),
                shape,
                from,
                width: to - from,
            }
        })
        .collect()
}

fn label(line: &str) -> String {
    match line {
        "residual" => "not explained".to_owned(),
        other => words::shown(other).replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str, minor: i64) -> Row {
        Row {
            day: "2026-03-04".to_owned(),
            position: 0,
            line: line.to_owned(),
            minor,
            source: String::new(),
        }
    }

    #[test]
    fn the_pieces_of_the_waterfall_begin_where_the_last_one_ended() {
        let rows = [
            row("opening", 1000),
            row("deposit", 500),
            row("fee", -100),
            row("closing", 1300),
            row("residual", -100),
        ];
        let lines = waterfall(&rows, "PEN", Locale::default());
        let bars: Vec<(&str, &str, i64, i64)> = lines
            .iter()
            .map(|l| (l.label.as_str(), l.shape, l.from, l.width))
            .collect();
        assert_eq!(
            bars,
            [
                ("opening", "level", 0, 0),
                ("deposit", "up", 0, 1000),
                ("fee", "down", 800, 200),
                ("closing", "level", 600, 0),
                ("not explained", "residual", 600, 200),
            ]
        );
        assert_eq!(lines[2].amount, "-1.00");
    }

    #[test]
    fn a_day_without_movement_and_the_ends_of_the_number_line_draw_nothing_odd() {
        for rows in [
            vec![row("opening", 0), row("closing", 0), row("residual", 0)],
            vec![
                row("opening", i64::MIN),
                row("deposit", i64::MAX),
                row("closing", i64::MAX),
            ],
        ] {
            for line in waterfall(&rows, "PEN", Locale::default()) {
                assert!(
                    (0..=1000).contains(&line.from) && (0..=1000).contains(&(line.from + line.width)),
                    "{line:?}"
                );
            }
        }
    }
}
