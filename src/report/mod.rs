//! Books -> bytes for people: the CSVs of a night, the page of a business day, and the facts that mail and page tell.
//!
//! Reports are SELECTs ([`definition`]); rendering is pure ([`csv`], [`workbook`], [`index`]); files are put in place whole
//! ([`files`]). There is no wall clock in any of them: the same books give the same bytes. What was produced is frozen
//! in the table `files` (by [`crate::mail::queue`], with the mails, in one transaction) and can be had again from there.

use std::path::{Path, PathBuf};

use crate::config::{Job, Locale};
use crate::day::{BusinessDay, Instant, format_instant};
use crate::failure::Failure;
use crate::store::Store;

pub mod calendar;
pub mod chart;
pub mod csv;
pub mod definition;
pub mod facts;
pub mod files;
pub mod flood;
pub mod index;
pub mod mend;
pub mod nights;
pub mod proof;
pub mod reading;
pub mod tally;
pub mod view;
pub mod words;
pub mod workbook;

pub use definition::problems;
pub use facts::{Facts, Night};
pub use index::write_index;
pub use nights::write_nights;

/// One file for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// `<business day>_<job>_<report>.csv`, `<business day>_<job>.xlsx`; a CSV in another locale than the job's has the
    /// locale's name before its ending: `…_<report>.de.csv`.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Makes the CSVs of a job's night and the workbook that holds the same rows, from one snapshot of the books. Run it right
/// after the comparison. The CSVs in the job's own locale come first, then the workbook, then those in the other locales
/// of its recipients.
///
/// # Errors
/// CONFIG when a report definition is missing or wrong; LOCAL-IO when the database cannot be read.
pub fn produce(
    store: &Store,
    job: &Job,
    reports_dir: Option<&Path>,
    run_id: i64,
    as_of: Instant,
    business_day: BusinessDay,
) -> Result<Vec<Produced>, Failure> {
    let conn = store.lend()?;
    // One snapshot for all of them: the files agree with each other.
    let snapshot = conn.unchecked_transaction()?;
    let made_at = as_of;
    let (day, as_of) = (business_day.to_string(), format_instant(as_of));
    let parameters = definition::Parameters {
        job: &job.name,
        business_day: &day,
        as_of: &as_of,
        run_id,
    };
    let mut book = workbook::Book::new(format!("{} {day}", job.name), made_at);
    let others = other_locales(job);
    let (mut produced, mut translated) = (Vec::new(), Vec::new());
    for report in &job.report.reports {
        let sql = definition::load(report, reports_dir)?;
        let mut own = definition::File::new(job.locale);
        let mut others: Vec<(Locale, definition::File)> = others
            .iter()
            .map(|other| (*other, definition::File::new(*other)))
            .collect();
        let mut part = book.report(report);
        let mut sinks: Vec<&mut dyn definition::Sink> = vec![&mut own, &mut part];
        sinks.extend(others.iter_mut().map(|(_, file)| file as &mut dyn definition::Sink));
        definition::each(&snapshot, report, &sql, parameters, &mut sinks)?;
        let name = format!("{day}_{}_{report}", job.name);
        produced.push(Produced {
            name: format!("{name}.csv"),
            bytes: own.bytes()?,
        });
        for (locale, file) in others {
            translated.push(Produced {
                name: format!("{name}.{}.csv", locale.name),
                bytes: file.bytes()?,
            });
        }
    }
    produced.push(Produced {
        name: format!("{day}_{}.xlsx", job.name),
        bytes: book.finish()?,
    });
    produced.append(&mut translated);
    Ok(produced)
}

/// The locales of recipients under which a file has other bytes than under the job's own.
fn other_locales(job: &Job) -> Vec<Locale> {
    let mut others: Vec<Locale> = job.recipient_locales.values().copied().collect();
    others.retain(|other| !writes_alike(*other, job.locale));
    others.sort_by_key(|locale| locale.name);
    others.dedup_by_key(|locale| locale.name);
    others
}

fn writes_alike(a: Locale, b: Locale) -> bool {
    (a.decimal, a.separator) == (b.decimal, b.separator)
}

/// The locale in which a recipient reads this job's files.
pub fn locale_of(job: &Job, recipient: &str) -> Locale {
    job.recipient_locales.get(recipient).copied().unwrap_or(job.locale)
}

/// Of a night's files those for one recipient: the CSVs in this locale, the workbook, and whatever has no locale.
pub fn in_locale(files: &[Produced], job: &Job, locale: Locale) -> Vec<Produced> {
    let others = other_locales(job);
    let translated = |file: &&Produced| {
        let stem = file.name.strip_suffix(".csv")?;
        others
            .iter()
            .find(|other| stem.ends_with(&format!(".{}", other.name)))
            .map(|other| other.name)
    };
    let wanted = others
        .iter()
        .find(|other| other.name == locale.name)
        .map(|other| other.name);
    files
        .iter()
        .filter(|file| match translated(file) {
            Some(name) => Some(name) == wanted,
            None => wanted.is_none() || !file.name.ends_with(".csv"),
        })
        .cloned()
        .collect()
}

/// Puts the files of a job's day in place: `out/<business day>/<job>/<name>`, 0640 in folders of 0750.
///
/// # Errors
/// LOCAL-IO: a symbolic link below `out`, or whatever the disk refuses.
pub fn write_files(
    out: &Path,
    business_day: BusinessDay,
    job: &str,
    produced: &[Produced],
) -> Result<Vec<PathBuf>, Failure> {
    let day = business_day.to_string();
    produced
        .iter()
        .map(|file| files::put(out, &[&day, job], &file.name, &file.bytes))
        .collect()
}

/// The CSVs and the workbook of a past day as they were produced then: frozen bytes. Empty when that day was never reported.
///
/// # Errors
/// LOCAL-IO when the database cannot be read.
pub fn again(store: &Store, job: &str, business_day: BusinessDay) -> Result<Vec<Produced>, Failure> {
    let frozen = crate::store::files::get_files(store, job, business_day)?;
    Ok(frozen
        .into_iter()
        .filter(|(name, _)| name.ends_with(".csv") || name.ends_with(".xlsx"))
        .map(|(name, bytes)| Produced { name, bytes })
        .collect())
}
