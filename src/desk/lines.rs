//! Tables -> the lines that carry a decision: columns by their names, cells as they were before a CSV neutralised them, the
//! values a person saw when deciding. Pure.

use crate::money::{Currency, Unit, parse_minor};
use crate::report::csv::would_run;

use super::csv::HEADER_WITHIN;
use super::decide::Present;
use super::sheet::Table;

/// The column by which a sheet of ours is known.
pub const ID: &str = "discrepancy_id";
/// Columns without which it cannot be told whether a decision still meets what it was about.
const NEEDED: [&str; 7] = [
    ID,
    "kind",
    "currency",
    "ledger_amount",
    "provider_amount",
    "difference",
    "decision",
];
/// Columns that are looked at where they are there.
const WELCOME: [&str; 4] = ["provider_status", "ledger_status", "owner", "note"];
/// Digits of an id: what a spreadsheet took for a number and stripped of its zeros can be given back.
const ID_DIGITS: usize = 16;

/// One row with something in `decision`, `owner` or `note`, as it stood in the sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Sheet of a workbook; empty for CSV.
    pub sheet: String,
    /// Row as a spreadsheet counts.
    pub row: i64,
    pub id: String,
    pub decision: String,
    pub owner: Option<String>,
    pub note: Option<String>,
    pub shown: Shown,
}

/// The values a person saw, as texts of the sheet; None: the column is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub kind: String,
    pub currency: String,
    pub ledger_amount: String,
    pub provider_amount: String,
    pub difference: String,
    pub provider_status: Option<String>,
    pub ledger_status: Option<String>,
}

/// What a file came to.
#[derive(Debug, Default)]
pub struct Lines {
    pub lines: Vec<Line>,
    /// Rows without any decision.
    pub without: u64,
}

/// Finds the lines of every sheet that is one of ours.
///
/// # Errors
/// One sentence when no sheet is one of ours, a needed column is missing, or amounts use two decimal signs.
pub fn lines(tables: &[Table]) -> Result<Lines, String> {
    let mut all = Lines::default();
    let mut ours = 0;
    for table in tables {
        let Some((at, columns)) = header(table)? else { continue };
        ours += 1;
        let before = all.lines.len();
        for (row, cells) in &table.rows[at + 1..] {
            match line(table, *row, cells, &columns) {
                Some(line) => all.lines.push(line),
                None => all.without += u64::from(cells.iter().any(|cell| !cell.trim().is_empty())),
            }
        }
        one_decimal_sign(&mut all.lines[before..])?;
    }
    if ours == 0 {
        return Err(format!(
            "no sheet has a header with the columns `{ID}` and `decision`; return the discrepancies CSV or workbook as it was mailed"
        ));
    }
    Ok(all)
}

/// Where each column stands.
struct Columns {
    needed: [usize; NEEDED.len()],
    welcome: [Option<usize>; WELCOME.len()],
}

fn header(table: &Table) -> Result<Option<(usize, Columns)>, String> {
    let place = |cells: &[String], name: &str| {
        let mut found = cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| cell.trim().eq_ignore_ascii_case(name))
            .map(|(at, _)| at);
        (found.next(), found.next().is_some())
    };
    let head = table.rows.iter().take(HEADER_WITHIN);
    let Some(at) = head.clone().position(|(_, cells)| place(cells, ID).0.is_some()) else {
        return Ok(None);
    };
    let cells = &table.rows[at].1;
    // The summary and the statement of a workbook name no decision: nothing to read there.
    if place(cells, "decision").0.is_none() && !table.sheet.is_empty() {
        return Ok(None);
    }
    let mut missing = Vec::new();
    let mut twice = Vec::new();
    let mut find = |name: &'static str| {
        let (at, again) = place(cells, name);
        if again {
            twice.push(name);
        }
        at
    };
    let needed = NEEDED.map(|name| find(name).unwrap_or(usize::MAX));
    let welcome = WELCOME.map(&mut find);
    missing.extend(
        NEEDED
            .iter()
            .zip(needed)
            .filter(|(_, at)| *at == usize::MAX)
            .map(|(name, _)| *name),
    );
    let sheet = if table.sheet.is_empty() {
        String::new()
    } else {
        format!(" of sheet {:?}", table.sheet)
    };
    if !missing.is_empty() {
        return Err(format!(
            "the header{sheet} lacks {}; return the sheet with the columns it was mailed with, their order does not matter",
            missing.join(", ")
        ));
    }
    if !twice.is_empty() {
        return Err(format!(
            "the header{sheet} names {} twice; which one is meant?",
            twice.join(", ")
        ));
    }
    Ok(Some((at, Columns { needed, welcome })))
}

fn line(table: &Table, row: i64, cells: &[String], columns: &Columns) -> Option<Line> {
    let cell = |at: usize| bare(cells.get(at).map_or("", |cell| cell.trim()));
    let given = |at: Option<usize>| at.map(cell);
    let [id, kind, currency, ledger_amount, provider_amount, difference, decision] = columns.needed.map(cell);
    let [provider_status, ledger_status, owner, note] = columns.welcome.map(given);
    let written = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (owner, note) = (written(owner), written(note));
    if decision.is_empty() && owner.is_none() && note.is_none() {
        return None;
    }
    Some(Line {
        sheet: table.sheet.clone(),
        row,
        id: whole_id(id),
        decision,
        owner,
        note,
        shown: Shown {
            kind,
            currency,
            ledger_amount,
            provider_amount,
            difference,
            provider_status,
            ledger_status,
        },
    })
}

/// A cell without the apostrophe by which the CSV keeps a spreadsheet from running it.
fn bare(cell: &str) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if would_run(rest) => rest.to_owned(),
        _ => cell.to_owned(),
    }
}

/// An id of digits only is taken for a number by a spreadsheet, which drops the zeros in front; up to 15 digits it keeps the
/// rest exactly.
fn whole_id(id: String) -> String {
    let number = !id.is_empty() && id.len() < ID_DIGITS && id.bytes().all(|b| b.is_ascii_digit());
    if number {
        format!("{id:0>ID_DIGITS$}")
    } else {
        id.to_ascii_lowercase()
    }
}

/// Whether a text has the form of an id.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A sheet has one decimal sign. Where it is the comma, the amounts are written with the point from here on.
fn one_decimal_sign(lines: &mut [Line]) -> Result<(), String> {
    let mut seen: [Option<i64>; 2] = [None, None];
    for line in lines.iter() {
        for amount in line.shown.amounts() {
            for (sign, first) in ['.', ','].into_iter().zip(&mut seen) {
                if amount.contains(sign) {
                    first.get_or_insert(line.row);
                }
            }
        }
    }
    match seen {
        [Some(point), Some(comma)] => Err(format!(
            "row {point} has an amount with a decimal point or thousands separator and row {comma} one with a comma: which is \
             the decimal sign cannot be told; return the sheet with the amounts as they were mailed"
        )),
        [None, Some(_)] => {
            for line in lines {
                line.shown
                    .amounts_mut()
                    .into_iter()
                    .for_each(|amount| *amount = amount.replace(',', "."));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

impl Shown {
    fn amounts(&self) -> [&String; 3] {
        [&self.ledger_amount, &self.provider_amount, &self.difference]
    }

    fn amounts_mut(&mut self) -> [&mut String; 3] {
        [&mut self.ledger_amount, &mut self.provider_amount, &mut self.difference]
    }

    /// What differs between the values seen and those of now, in words; None: nothing.
    ///
    /// # Errors
    /// One sentence for an amount that is none.
    pub fn stale(&self, now: &Present) -> Result<Option<String>, String> {
        let mut changed = Vec::new();
        let mut compare = |name: &str, seen: &str, is: &str| {
            if seen != is {
                changed.push(format!("{name} was {} and is {}", named(seen), named(is)));
            }
        };
        compare("kind", &self.kind, &now.kind);
        let currency = now.currency.as_deref().unwrap_or_default();
        compare("currency", &self.currency, currency);
        for (name, seen, is) in [
            ("ledger_amount", &self.ledger_amount, now.ledger_amount),
            ("provider_amount", &self.provider_amount, now.provider_amount),
            ("difference", &self.difference, now.difference),
        ] {
            let is = match currency.parse::<Currency>() {
                Ok(currency) => {
                    if self.currency == currency.code() && minor(name, seen, currency)? == is {
                        continue;
                    }
                    is.map(|minor| crate::money::format_minor(minor, currency))
                }
                // Nothing of ours has an amount without a currency.
                Err(_) => is.map(|minor| minor.to_string()),
            };
            compare(name, seen, is.as_deref().unwrap_or_default());
        }
        for (name, seen, is) in [
            ("provider_status", &self.provider_status, &now.provider_status),
            ("ledger_status", &self.ledger_status, &now.ledger_status),
        ] {
            if let Some(seen) = seen {
                // What began with an apostrophe by itself lost it when the cell was read.
                let is = bare(is.as_deref().unwrap_or_default().trim());
                compare(name, seen, &is);
            }
        }
        Ok((!changed.is_empty()).then(|| changed.join("; ")))
    }
}

fn named(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

/// An amount of the sheet; None: empty.
fn minor(name: &str, text: &str, currency: Currency) -> Result<Option<i64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_minor(text, currency, Unit::Major)
        .map(Some)
        .map_err(|why| format!("{name} {text:?} {why}; leave the amounts as they were mailed"))
}
