//! Report definitions: one SELECT per CSV, built in or from the settings' `reports` folder, run on a read-only connection.
//!
//! Column names are the header. A column is a money column when its name says so ([`is_amount_column`]); whole numbers
//! are numbers; everything else is text. There is no floating point in a report.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use super::csv::{Cell, Sheet};
use crate::config::{Locale, Problem};
use crate::failure::{Class, Failure};

/// What ships with the program.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("discrepancies", include_str!("../../reports/discrepancies.sql")),
    ("summary", include_str!("../../reports/summary.sql")),
    ("statement", include_str!("../../reports/statement.sql")),
    ("coverage", include_str!("../../reports/coverage.sql")),
];

/// Parameters a definition may use, each with the text it is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    pub job: &'a str,
    pub business_day: &'a str,
    pub as_of: &'a str,
    pub run_id: i64,
}

/// The SELECT of a report: the folder's file where there is one, else the built-in one.
///
/// # Errors
/// CONFIG, with file and reason, when there is neither or the file cannot be read.
pub fn load(name: &str, folder: Option<&Path>) -> Result<String, Failure> {
    if !is_name(name) {
        return Err(config(
            name,
            "its name may only hold a-z, 0-9, _ and -, at most 64 of them",
        ));
    }
    if let Some(folder) = folder {
        let file = folder.join(format!("{name}.sql"));
        match std::fs::read_to_string(&file) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(config(
                    name,
                    &format!("{} cannot be read: {}", file.display(), error.kind()),
                ));
            }
        }
    }
    match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        Some((_, text)) => Ok((*text).to_owned()),
        None => {
            let near = crate::config::section::nearest(name, BUILT_IN.iter().map(|(name, _)| *name));
            Err(config(
                name,
                &format!(
                    "there is neither a built-in report of that name nor {name}.sql in the `reports` folder{near}"
                ),
            ))
        }
    }
}

/// Report names become file names: closed alphabet.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Every problem of a job's reports, found without data: a missing file, a statement that is no SELECT, an unknown column
/// or parameter. For `check`.
pub fn problems(reports: &[String], folder: Option<&Path>) -> Vec<Problem> {
    let empty = Connection::open_in_memory().and_then(|conn| {
        conn.execute_batch(include_str!("../../schema.sql"))?;
        Ok(conn)
    });
    let mut problems = Vec::new();
    for name in reports {
        let loaded = load(name, folder).map_err(|failure| Wrong {
            line: 0,
            what: failure.message,
        });
        let checked = loaded.and_then(|sql| match &empty {
            Ok(conn) => look(conn, &sql).map(drop),
            Err(_) => Err(Wrong::whole("the schema could not be set up in memory to check it")),
        });
        if let Err(wrong) = checked {
            let file = folder.map_or_else(
                || format!("reports/{name}.sql"),
                |f| f.join(format!("{name}.sql")).display().to_string(),
            );
            problems.push(Problem {
                file,
                line: wrong.line,
                message: wrong.what,
            });
        }
    }
    problems
}

/// What is wrong with a definition, and in which line (0: as a whole).
struct Wrong {
    line: usize,
    what: String,
}

impl Wrong {
    fn whole(what: &str) -> Self {
        Self {
            line: 0,
            what: what.to_owned(),
        }
    }
}

/// [`look`] for a run that has the definition's name only.
fn prepare<'c>(conn: &'c Connection, name: &str, sql: &str) -> Result<Statement<'c>, Failure> {
    look(conn, sql).map_err(|wrong| match wrong.line {
        0 => config(name, &wrong.what),
        line => config(name, &format!("line {line}: {}", wrong.what)),
    })
}

/// One statement, a SELECT, with known parameters only.
fn look<'c>(conn: &'c Connection, sql: &str) -> Result<Statement<'c>, Wrong> {
    let statement = conn.prepare(sql).map_err(|error| match error {
        rusqlite::Error::MultipleStatement => Wrong::whole("holds more than one statement; it must be one SELECT"),
        // SQLite names the token or column of the definition; a definition holds no secrets and no personal data.
        rusqlite::Error::SqlInputError { msg, sql, offset, .. } => {
            let before = usize::try_from(offset)
                .ok()
                .and_then(|end| sql.get(..end))
                .unwrap_or("");
            Wrong {
                line: before.matches('\n').count() + 1,
                what: msg,
            }
        }
        error => Wrong::whole(&format!("SQLite refuses it: {error}")),
    })?;
    if !statement.readonly() || statement.column_count() == 0 || !begins_like_a_select(sql) {
        return Err(Wrong::whole("must be one SELECT (WITH … SELECT), which only reads"));
    }
    for index in 1..=statement.parameter_count() {
        let parameter = statement.parameter_name(index).unwrap_or("?");
        if ![":job", ":business_day", ":as_of", ":run_id"].contains(&parameter) {
            return Err(Wrong::whole(&format!(
                "uses the parameter {parameter}; there are :job, :business_day, :as_of and :run_id"
            )));
        }
    }
    Ok(statement)
}

/// The first word after comments. PRAGMA and ATTACH count as reading for SQLite; they are no reports.
fn begins_like_a_select(sql: &str) -> bool {
    let mut rest = sql.trim_start_matches('\u{feff}').trim_start();
    loop {
        let after = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            break;
        };
        rest = after.trim_start();
    }
    let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
    word.eq_ignore_ascii_case("select") || word.eq_ignore_ascii_case("with")
}

/// Prepares a definition and binds whichever parameters it uses.
///
/// # Errors
/// CONFIG when it is no single SELECT with known parameters.
pub(super) fn bound<'c>(
    conn: &'c Connection,
    name: &str,
    sql: &str,
    parameters: Parameters<'_>,
) -> Result<Statement<'c>, Failure> {
    let mut statement = prepare(conn, name, sql)?;
    for (parameter, text) in [
        (":job", parameters.job),
        (":business_day", parameters.business_day),
        (":as_of", parameters.as_of),
    ] {
        if let Some(index) = statement.parameter_index(parameter)? {
            statement.raw_bind_parameter(index, text)?;
        }
    }
    if let Some(index) = statement.parameter_index(":run_id")? {
        statement.raw_bind_parameter(index, parameters.run_id)?;
    }
    Ok(statement)
}

/// Whether the name of a column says that it holds decimal amounts: `amount`, `difference`, `fee`, `sum`, `residual`, or one
/// of these after an underscore (`ledger_amount`).
pub fn is_amount_column(name: &str) -> bool {
    matches!(
        name.rsplit('_').next(),
        Some("amount" | "difference" | "fee" | "sum" | "residual")
    )
}

/// Somebody who takes the rows of a report: a CSV in one locale, the workbook.
pub trait Sink {
    /// Comes first, and once.
    fn header(&mut self, names: &[String]) -> Result<(), Failure>;
    /// One cell per name.
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Failure>;
    /// Comes last, and once.
    fn end(&mut self) -> Result<(), Failure>;
}

/// A CSV in memory.
pub struct File {
    locale: Locale,
    sheet: Option<Sheet<Vec<u8>>>,
}

impl File {
    pub fn new(locale: Locale) -> Self {
        Self { locale, sheet: None }
    }

    /// The bytes; empty when no report was written into it.
    ///
    /// # Errors
    /// LOCAL-IO when the last bytes cannot be written.
    pub fn bytes(self) -> Result<Vec<u8>, Failure> {
        self.sheet.map_or(Ok(Vec::new()), Sheet::finish)
    }
}

impl Sink for File {
    fn header(&mut self, names: &[String]) -> Result<(), Failure> {
        self.sheet = Some(Sheet::begin(Vec::new(), self.locale, names.iter().map(String::as_str))?);
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Failure> {
        if let Some(sheet) = &mut self.sheet {
            for cell in cells {
                sheet.cell(*cell)?;
            }
            sheet.end_row()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Runs a definition and writes its rows as one CSV.
///
/// # Errors
/// As [`each`].
pub fn render(
    conn: &Connection,
    name: &str,
    sql: &str,
    parameters: Parameters<'_>,
    locale: Locale,
) -> Result<Vec<u8>, Failure> {
    let mut file = File::new(locale);
    each(conn, name, sql, parameters, &mut [&mut file])?;
    file.bytes()
}

/// Runs a definition once and hands its rows to every sink.
///
/// # Errors
/// CONFIG when the definition is wrong or yields floating point or blobs; what the sinks and SQLite refuse.
pub fn each(
    conn: &Connection,
    name: &str,
    sql: &str,
    parameters: Parameters<'_>,
    sinks: &mut [&mut dyn Sink],
) -> Result<(), Failure> {
    let mut statement = bound(conn, name, sql, parameters)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let amounts: Vec<bool> = names.iter().map(|name| is_amount_column(name)).collect();
    for sink in sinks.iter_mut() {
        sink.header(&names)?;
    }
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let mut cells = Vec::with_capacity(names.len());
        for (index, amount) in amounts.iter().enumerate() {
            let cell = match row.get_ref(index)? {
                ValueRef::Null => Cell::Empty,
                ValueRef::Integer(number) => Cell::Whole(number),
                ValueRef::Text(bytes) => {
                    let text = std::str::from_utf8(bytes)
                        .map_err(|_| config(name, &format!("column {} holds bytes that are no UTF-8", names[index])))?;
                    if *amount { Cell::Amount(text) } else { Cell::Text(text) }
                }
                ValueRef::Real(_) => {
                    return Err(config(
                        name,
                        &format!(
                            "column {} is floating point; select minor units or decimal text",
                            names[index]
                        ),
                    ));
                }
                ValueRef::Blob(_) => {
                    return Err(config(name, &format!("column {} is a blob; select text", names[index])));
                }
            };
            cells.push(cell);
        }
        for sink in sinks.iter_mut() {
            sink.row(&cells)?;
        }
    }
    sinks.iter_mut().try_for_each(|sink| sink.end())
}

fn config(name: &str, what: &str) -> Failure {
    Failure::new(Class::Config, format!("report {name:?}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_report_is_one_select_over_the_schema() {
        let names: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(problems(&names, None), []);
    }

    #[test]
    fn what_is_no_single_reading_select_is_refused_and_says_why() {
        let conn = Connection::open_in_memory().unwrap();
        for (sql, why) in [
            ("DROP TABLE IF EXISTS x", "must be one SELECT"),
            ("CREATE TABLE x (a)", "must be one SELECT"),
            ("PRAGMA user_version", "must be one SELECT"),
            ("-- SELECT\nATTACH 'x' AS y", "must be one SELECT"),
            ("SELECT 1; SELECT 2", "more than one statement"),
            ("SELECT :jobb", ":jobb"),
            ("SELECT nothing", "nothing"),
            ("", "must be one SELECT"),
        ] {
            let failure = prepare(&conn, "custom", sql).map(drop).unwrap_err();
            assert_eq!(failure.class, Class::Config, "{sql}");
            assert!(failure.message.contains(why), "{sql}: {}", failure.message);
        }
        assert!(prepare(&conn, "custom", "/* a */ -- b\n with x as (select 1) select * from x;").is_ok());
    }

    #[test]
    fn floating_point_never_reaches_a_report() {
        let conn = Connection::open_in_memory().unwrap();
        let parameters = Parameters {
            job: "j",
            business_day: "2026-03-04",
            as_of: "",
            run_id: 1,
        };
        let failure = render(&conn, "custom", "SELECT 0.1 AS amount", parameters, Locale::default()).unwrap_err();
        assert!(failure.message.contains("floating point"), "{}", failure.message);
    }

    #[test]
    fn a_report_nobody_defined_is_named_with_the_nearest_one() {
        let failure = load("sumary", None).unwrap_err();
        assert!(
            failure.message.contains("did you mean `summary`?"),
            "{}",
            failure.message
        );
        assert_eq!(load("../summary", None).unwrap_err().class, Class::Config);
    }
}
