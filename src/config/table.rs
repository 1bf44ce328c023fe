//! The mapping of a table that others wrote: `[ledger]`, and `[provider]` of kind `file`. Their columns and words on
//! the right side, ours on the left. Looks at the text of the settings only, never at the table itself.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use chrono::{NaiveDate, NaiveDateTime};
use chrono_tz::Tz;

use super::section::nearest;
use super::settings::table;
use super::{Encoding, Ledger, LedgerColumn, LedgerKind, Section};
use crate::money::{Currency, Unit};
use crate::record::{Direction, LedgerStatus};

/// Kinds that `INTERFACE.md` names and this version does not read.
const LATER: [&str; 2] = ["postgres", "mysql"];

/// Reads `[ledger]`. `zone` is the job's: times without an offset are in it unless `timezone` says otherwise.
pub fn ledger(section: &mut Section<'_>, folder: &Path, zone: Option<Tz>) -> Option<Ledger> {
    let line = section.line_of("kind");
    let Some(kind) = section.required("kind") else {
        section.set_aside();
        return None;
    };
    match kind.as_str() {
        "csv" => csv(section, folder, zone),
        "sqlite" => sqlite(section, folder, zone),
        later if LATER.contains(&later) => {
            section.problem_at(
                line,
                format!("this version does not read {later} ledgers yet; export the ledger to csv or sqlite"),
            );
            section.set_aside();
            None
        }
        other => {
            let near = nearest(other, ["csv", "sqlite", "postgres", "mysql"]);
            let full = section.full("kind");
            section.problem_at(line, format!("`{full}` is {other:?}; it must be csv or sqlite{near}"));
            section.set_aside();
            None
        }
    }
}

/// A table in CSV files, with its place in `path`.
pub fn csv(section: &mut Section<'_>, folder: &Path, zone: Option<Tz>) -> Option<Ledger> {
    foreign(section, &["query", "url"], "csv");
    let pattern = pattern(section, folder);
    let mapping = mapping(section, zone);
    let delimiter = delimiter(section);
    let encoding = encoding(section);
    Some(Ledger {
        kind: LedgerKind::Csv { pattern: pattern? },
        delimiter,
        encoding,
        ..mapping?
    })
}

fn sqlite(section: &mut Section<'_>, folder: &Path, zone: Option<Tz>) -> Option<Ledger> {
    foreign(section, &["delimiter", "encoding", "url"], "sqlite");
    let line = section.line_of("path");
    let path = section.required("path");
    if path.as_deref().is_some_and(|text| text.trim().is_empty()) {
        let full = section.full("path");
        section.problem_at(line, format!("`{full}` is empty"));
    }
    let query_line = section.line_of("query");
    let query = section.required("query");
    let begins = |text: &str| {
        let word: String = text
            .trim_start()
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        ["select", "with", "values"].contains(&word.to_ascii_lowercase().as_str())
    };
    if query.as_deref().is_some_and(|text| !begins(text)) {
        let full = section.full("query");
        section.problem_at(query_line, format!("`{full}` must be one SELECT that only reads"));
    }
    let mapping = mapping(section, zone);
    Some(Ledger {
        kind: LedgerKind::Sqlite {
            path: folder.join(path?),
            query: query?,
        },
        ..mapping?
    })
}

/// Settings of another kind of table: named as such instead of as unknown.
fn foreign(section: &mut Section<'_>, keys: &[&str], kind: &str) {
    for key in keys {
        if section.has(key) {
            let (line, full) = (section.line_of(key), section.full(key));
            section.problem_at(
                line,
                format!("`{full}` has no meaning for a table of kind {kind}; remove it"),
            );
            section.drop_key(key);
        }
    }
}

/// The absolute glob of the files. The settings' own folder is taken literally even if its name has `*` or `[` in it.
fn pattern(section: &mut Section<'_>, folder: &Path) -> Option<String> {
    let line = section.line_of("path");
    let text = section.required("path")?;
    let full = section.full("path");
    if text.trim().is_empty() {
        section.problem_at(line, format!("`{full}` is empty"));
        return None;
    }
    if let Err(error) = glob::Pattern::new(&text) {
        section.problem_at(
            line,
            format!(
                "`{full}` is no valid pattern at character {}: {}",
                error.pos + 1,
                error.msg
            ),
        );
        return None;
    }
    if Path::new(&text).is_absolute() {
        return Some(text);
    }
    Some(format!(
        "{}/{text}",
        glob::Pattern::escape(&folder.display().to_string())
    ))
}

/// Everything but where the rows are.
fn mapping(section: &mut Section<'_>, zone: Option<Tz>) -> Option<Ledger> {
    let Columns {
        columns,
        currency_default: beside,
        expected_account: expected_beside,
    } = columns(section);
    let has = |column| columns.contains_key(&column);
    let currency_default = currency_default(section).or(beside);
    if !columns.is_empty() && !has(LedgerColumn::Currency) && currency_default.is_none() {
        let (columns, default) = (section.full("columns.currency"), section.full("currency_default"));
        section.problem(format!("the currency is unknown: name `{columns}` or `{default}`"));
    }
    let map_lines = (section.line_of("direction"), section.line_of("status"));
    let direction_words = words(section, "direction", Direction::ALL, Direction::as_str);
    let status_words = words(
        section,
        "status",
        &[
            LedgerStatus::Settled,
            LedgerStatus::Open,
            LedgerStatus::Failed,
            LedgerStatus::Excluded,
        ],
        LedgerStatus::as_str,
    );
    let directions = with_column(
        section,
        ("direction", map_lines.0),
        has(LedgerColumn::Direction),
        direction_words,
        || Direction::ALL.iter().map(|d| (d.as_str().to_owned(), *d)).collect(),
    );
    let statuses = with_column(
        section,
        ("status", map_lines.1),
        has(LedgerColumn::Status),
        status_words,
        || {
            let named = LedgerStatus::ALL.iter().filter(|s| **s != LedgerStatus::Unknown);
            named.map(|s| (s.as_str().to_owned(), *s)).collect()
        },
    );
    let expected_account = section.id("expected_account").or(expected_beside);
    if expected_account.is_some() && !columns.is_empty() && !has(LedgerColumn::Account) {
        let (expected, column) = (section.full("expected_account"), section.full("columns.account"));
        section.problem(format!("`{expected}` needs `{column}`, the column to compare it with"));
    }
    let date_format = date_format(section);
    let own_zone = section.zone("timezone");
    Some(Ledger {
        // The caller knows; this is overwritten.
        kind: LedgerKind::Csv { pattern: String::new() },
        columns,
        currency_default,
        delimiter: None,
        encoding: Encoding::Utf8,
        decimal: section.choice_or("decimal", b'.', &[(".", b'.'), (",", b',')]),
        timezone: own_zone.or(zone.filter(|_| date_format.is_some())),
        date_format,
        amount_unit: section.choice_or(
            "amount_unit",
            Unit::Major,
            &[("major", Unit::Major), ("minor", Unit::Minor)],
        ),
        directions,
        statuses,
        expected_account,
    })
}

/// The mapping, with what may stand in place of a column, in its table as well as beside it.
#[derive(Default)]
struct Columns {
    columns: BTreeMap<LedgerColumn, String>,
    currency_default: Option<Currency>,
    expected_account: Option<String>,
}

fn columns(section: &mut Section<'_>) -> Columns {
    let mut all = Columns::default();
    if !section.has("columns") {
        let full = section.full("columns");
        section.problem(format!(
            "`[{full}]` is missing; it says which column is the reference and which the amount"
        ));
        return all;
    }
    table(section, "columns", |inner| {
        all.currency_default = currency_default(inner);
        all.expected_account = inner.id("expected_account");
        for column in LedgerColumn::ALL {
            let key = column.as_str();
            let required = matches!(column, LedgerColumn::Reference | LedgerColumn::Amount);
            let line = inner.line_of(key);
            let theirs = if required { inner.required(key) } else { inner.text(key) };
            match theirs {
                Some(name) if name.trim().is_empty() => {
                    let full = inner.full(key);
                    inner.problem_at(line, format!("`{full}` is empty; write the column's name"));
                }
                Some(name) => {
                    if let Some(other) = taken(&all.columns, *column, &name) {
                        let (one, other) = (inner.full(key), inner.full(other.as_str()));
                        inner.problem_at(
                            line,
                            format!("`{one}` names the column {name:?} of `{other}`; an amount, a fee and a time have a column of their own"),
                        );
                    }
                    all.columns.insert(*column, name);
                }
                None => {}
            }
        }
        Some(())
    });
    all
}

/// Which of our columns is this one of theirs already, where it cannot be both: two keys or words may stand in one column, money
/// and times need one of their own.
fn taken(columns: &BTreeMap<LedgerColumn, String>, ours: LedgerColumn, theirs: &str) -> Option<LedgerColumn> {
    use LedgerColumn as C;
    let alone = |column: C| matches!(column, C::Amount | C::Fee | C::BookedAt);
    let mut same = columns
        .iter()
        .filter(|(_, name)| *name == theirs)
        .map(|(other, _)| *other);
    same.find(|other| alone(ours) || alone(*other))
}

/// A table of lists, ours = theirs, turned round: their word -> ours. A word in two lists has no meaning.
fn words<T: Copy + PartialEq>(
    section: &mut Section<'_>,
    key: &str,
    ours: &[T],
    name: fn(T) -> &'static str,
) -> Option<BTreeMap<String, T>> {
    let table_name = section.full(key);
    table(section, key, |inner| {
        let mut map: BTreeMap<String, T> = BTreeMap::new();
        for word in ours {
            let key = name(*word);
            let full = inner.full(key);
            for (theirs, line) in inner.list_lines(key).unwrap_or_default() {
                if let Some(before) = map.insert(theirs.clone(), *word) {
                    let before = name(before);
                    inner.problem_at(
                        line,
                        format!("`{full}` names {theirs:?}, which `{before}` names already"),
                    );
                }
            }
        }
        if map.is_empty() && inner.problem_count() == 0 {
            inner.problem(format!(
                "`[{table_name}]` names no word; list the words of the table's own column"
            ));
        }
        Some(map)
    })
}

/// Words belong to a column: a map without its column is a mistake, a column without a map speaks our words.
fn with_column<T>(
    section: &mut Section<'_>,
    (key, line): (&str, usize),
    has_column: bool,
    words: Option<BTreeMap<String, T>>,
    ours: impl FnOnce() -> BTreeMap<String, T>,
) -> BTreeMap<String, T> {
    match (words, has_column) {
        (Some(words), true) => words,
        (None, true) => ours(),
        (Some(_), false) => {
            let (map, column) = (section.full(key), section.full(&format!("columns.{key}")));
            section.problem_at(
                line,
                format!("`[{map}]` needs `{column}`, the column that holds these words"),
            );
            BTreeMap::new()
        }
        (None, false) => BTreeMap::new(),
    }
}

fn currency_default(section: &mut Section<'_>) -> Option<Currency> {
    let (text, line) = section.text_line("currency_default")?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let full = section.full("currency_default");
        section.problem_at(
            line,
            format!("`{full}` is {text:?}, no ISO 4217 currency in upper case like \"PEN\""),
        );
    }
    parsed
}

fn delimiter(section: &mut Section<'_>) -> Option<u8> {
    let (text, line) = section.text_line("delimiter")?;
    match text.as_bytes() {
        [byte @ (b',' | b';' | b'\t' | b'|' | b':' | b' ' | b'^' | b'~')] => Some(*byte),
        _ => {
            let full = section.full("delimiter");
            section.problem_at(
                line,
                format!("`{full}` is {text:?}; it must be one character like \",\", \";\", \"|\" or \"\\t\""),
            );
            None
        }
    }
}

fn encoding(section: &mut Section<'_>) -> Encoding {
    section.choice_or(
        "encoding",
        Encoding::Utf8,
        &[
            ("utf-8", Encoding::Utf8),
            ("windows-1252", Encoding::Windows1252),
            ("latin-1", Encoding::Latin1),
            ("iso-8859-1", Encoding::Latin1),
        ],
    )
}

/// strftime letters that name a whole day: a moment is written with them and must be read back as the same day.
fn date_format(section: &mut Section<'_>) -> Option<String> {
    let (text, line) = section.text_line("date_format")?;
    if names_a_day(&text) {
        return Some(text);
    }
    let full = section.full("date_format");
    section.problem_at(
        line,
        format!("`{full}` is {text:?}; write strftime letters that name a whole day, like \"%d/%m/%Y %H:%M:%S\""),
    );
    None
}

fn names_a_day(format: &str) -> bool {
    // A day whose month, day, hour, minute and second differ, so that a mixed-up format cannot read it back.
    let Some(at) = NaiveDate::from_ymd_opt(2031, 4, 25).and_then(|day| day.and_hms_opt(13, 47, 58)) else {
        return false;
    };
    let mut written = String::new();
    if write!(written, "{}", at.and_utc().format(format)).is_err() {
        return false;
    }
    let day = NaiveDateTime::parse_from_str(&written, format)
        .map(|read| read.date())
        .or_else(|_| NaiveDate::parse_from_str(&written, format))
        .or_else(|_| chrono::DateTime::parse_from_str(&written, format).map(|read| read.date_naive()));
    day.is_ok_and(|day| day == at.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_format_must_name_a_whole_day() {
        for good in [
            "%d/%m/%Y",
            "%Y-%m-%d %H:%M:%S",
            "%d.%m.%y %H:%M",
            "%Y-%m-%dT%H:%M:%S%z",
            "%s",
            "%m/%d/%Y %I:%M %p",
        ] {
            assert!(names_a_day(good), "{good}");
        }
        for bad in ["", "dd/mm/yyyy", "%d/%m", "%H:%M", "%Q", "%Y-%m"] {
            assert!(!names_a_day(bad), "{bad}");
        }
    }
}
