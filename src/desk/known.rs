//! A business day as it was known on a night: what stood in the files that were frozen then, and what the versions and
//! events in the database say was known by then.
//!
//! What it promises is said with every answer ([`AsKnown::says`]): frozen bytes where there are any, else what can be
//! worked out again, and nothing made up for values that were not kept.

use ::csv::{ByteRecord, ReaderBuilder, Terminator, WriterBuilder};
use rusqlite::OptionalExtension;

use crate::config::Job;
use crate::day::BusinessDay;
use crate::failure::{Class, Failure};
use crate::report::{self, Produced, definition};
use crate::store::Store;

const MARK: &[u8] = b"\xEF\xBB\xBF";

/// The answer.
#[derive(Clone, Debug)]
pub struct AsKnown {
    pub day: BusinessDay,
    /// The last reported night up to the day asked for.
    pub night: BusinessDay,
    pub files: Vec<Produced>,
    /// What each file is and what it promises, one sentence each.
    pub says: Vec<String>,
}

/// The last night that knew.
struct Night {
    day: BusinessDay,
    run_id: i64,
    as_of: String,
}

/// A job's day as it was known after the last night up to `on`. Without `day`: that night itself, with all its reports.
///
/// # Errors
/// USAGE when the job had no night by then, or the day lies after it; LOCAL-IO when the database cannot be read.
pub fn as_known(store: &Store, job: &Job, day: Option<BusinessDay>, on: BusinessDay) -> Result<AsKnown, Failure> {
    let night = last_night(store, &job.name, on)?;
    let wanted = day.unwrap_or(night.day);
    if wanted > night.day {
        return Err(Failure::new(
            Class::Usage,
            format!(
                "{}: on {on} the last known night was {}, so nothing was known about {wanted}; name a later --as-known-on",
                job.name, night.day
            ),
        ));
    }
    let mut answer = AsKnown {
        day: wanted,
        night: night.day,
        files: Vec::new(),
        says: Vec::new(),
    };
    let frozen = report::again(store, &job.name, night.day)?;
    for file in &frozen {
        let name = file.name.replacen(&night.day.to_string(), &wanted.to_string(), 1);
        if day.is_none() {
            answer
                .says
                .push(format!("{name}: the bytes frozen on the night of {}", night.day));
            answer.files.push(file.clone());
        } else if let Some(bytes) = only_day(&file.bytes, wanted)?
            && !is(&file.name, "summary")
        {
            // The summary is about a night, not about the days of its rows.
            answer.says.push(format!(
                "{name}: the rows about {wanted} of the file frozen on the night of {}",
                night.day
            ));
            answer.files.push(Produced { name, bytes });
        }
    }
    let has_discrepancies = frozen.iter().any(|file| is(&file.name, "discrepancies"));
    if !has_discrepancies {
        answer.says.push(format!(
            "discrepancies_from_events: no file was frozen on the night of {}; kind and state are those of then by their events, \
             amounts stand only where nothing changed since",
            night.day
        ));
        let sql = include_str!("known_discrepancies.sql");
        answer
            .files
            .push(made(store, job, "discrepancies_from_events", sql, wanted, &night)?);
    }
    answer.says.push(format!(
        "transactions: every record about {wanted} in the version that was known at {}, from the stored versions",
        night.as_of
    ));
    let sql = include_str!("known_transactions.sql");
    answer
        .files
        .push(made(store, job, "transactions", sql, wanted, &night)?);
    Ok(answer)
}

/// Whether a file is this report, in whatever locale: `…_summary.csv`, `…_summary.de.csv`.
fn is(name: &str, report: &str) -> bool {
    let stem = name.strip_suffix(".csv").unwrap_or_default();
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _locale)| stem);
    stem.strip_suffix(report).is_some_and(|stem| stem.ends_with('_'))
}

fn last_night(store: &Store, job: &str, on: BusinessDay) -> Result<Night, Failure> {
    let sql = "SELECT business_day, run_id, as_of FROM runs
                WHERE job = ?1 AND business_day <= ?2 AND finished_at IS NOT NULL AND verdict <> 'failed'
                ORDER BY business_day DESC, run_id DESC LIMIT 1";
    let found: Option<(String, i64, String)> = store.read(|conn| {
        Ok(conn
            .query_row(sql, [job, &on.to_string()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?)
    })?;
    let none = || {
        Failure::new(
            Class::Usage,
            format!("{job}: nothing was known on {on}; its first night came later"),
        )
    };
    let (day, run_id, as_of) = found.ok_or_else(none)?;
    Ok(Night {
        day: day.parse().map_err(|_| none())?,
        run_id,
        as_of,
    })
}

fn made(
    store: &Store,
    job: &Job,
    report: &str,
    sql: &str,
    day: BusinessDay,
    night: &Night,
) -> Result<Produced, Failure> {
    let text = day.to_string();
    let parameters = definition::Parameters {
        job: &job.name,
        business_day: &text,
        as_of: &night.as_of,
        run_id: night.run_id,
    };
    let bytes = store.read(|conn| definition::render(conn, report, sql, parameters, job.locale))?;
    Ok(Produced {
        name: format!("{day}_{}_{report}.csv", job.name),
        bytes,
    })
}

/// The rows of a frozen CSV that are about one day; None for a file whose rows are about no day.
fn only_day(bytes: &[u8], day: BusinessDay) -> Result<Option<Vec<u8>>, Failure> {
    let text = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let damaged = || Failure::new(Class::LocalIo, "a frozen file is no CSV; run `reconciled verify`");
    let head = text.split(|b| *b == b'\r').next().unwrap_or_default();
    let separator = head.iter().copied().find(|b| matches!(b, b',' | b';')).unwrap_or(b',');
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .delimiter(separator)
        .from_reader(text);
    let mut writer = WriterBuilder::new()
        .delimiter(separator)
        .terminator(Terminator::CRLF)
        .from_writer(MARK.to_vec());
    let mut record = ByteRecord::new();
    let (mut column, wanted) = (None, day.to_string());
    while reader.read_byte_record(&mut record).map_err(|_| damaged())? {
        let keep = match column {
            None => {
                column = record.iter().position(|name| name == b"business_day");
                true
            }
            Some(at) => record.get(at) == Some(wanted.as_bytes()),
        };
        if column.is_none() {
            return Ok(None);
        }
        if keep {
            writer.write_byte_record(&record).map_err(|_| damaged())?;
        }
    }
    writer.into_inner().map(Some).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_known_by_its_name_in_every_locale() {
        for name in ["2026-03-02_shop_summary.csv", "2026-03-02_shop_summary.de.csv"] {
            assert!(is(name, "summary") && !is(name, "discrepancies"), "{name}");
        }
        assert!(!is("2026-03-02_shop.xlsx", "summary") && !is("2026-03-02_my_summary_statement.csv", "summary"));
    }

    #[test]
    fn the_rows_of_a_day_keep_their_bytes() {
        let day = "2026-03-04".parse().unwrap();
        let file =
            b"\xEF\xBB\xBFa;business_day;note\r\n1;2026-03-04;\"x;\"\"y\"\"\"\r\n2;2026-03-05;z\r\n3;2026-03-04;\r\n";
        let kept = only_day(file, day).unwrap().unwrap();
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "\u{feff}a;business_day;note\r\n1;2026-03-04;\"x;\"\"y\"\"\"\r\n3;2026-03-04;\r\n"
        );
        assert_eq!(only_day(b"\xEF\xBB\xBFa,b\r\n1,2\r\n", day).unwrap(), None);
    }
}
