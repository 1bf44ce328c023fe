//! Books -> bytes for people: the CSVs of a night, the page of a business day, and the facts that mail and page tell.
//!
//! Reports are SELECTs ([`definition`]); rendering is pure ([`csv`], [`index`]); files are put in place whole
//! ([`files`]). There is no wall clock in any of them: the same books give the same bytes. What was produced is frozen
//! in the table `files` (by [`crate::mail::queue`], with the mails, in one transaction) and can be had again from there.

use std::path::{Path, PathBuf};

use crate::config::Job;
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

pub use definition::problems;
pub use facts::{Facts, Night};
pub use index::write_index;
pub use nights::write_nights;

/// One file for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// `<business day>_<job>_<report>.csv`
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Makes the CSVs of a job's night from one snapshot of the books. Run it right after the comparison.
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
    let conn = store.reader()?;
    // One snapshot for all of them: the files agree with each other.
    let snapshot = conn.unchecked_transaction()?;
    let (day, as_of) = (business_day.to_string(), format_instant(as_of));
    let parameters = definition::Parameters {
        job: &job.name,
        business_day: &day,
        as_of: &as_of,
        run_id,
    };
    let mut produced = Vec::new();
    for report in &job.report.reports {
        let sql = definition::load(report, reports_dir)?;
        let bytes = definition::render(&snapshot, report, &sql, parameters, job.locale)?;
        produced.push(Produced {
            name: format!("{day}_{}_{report}.csv", job.name),
            bytes,
        });
    }
    Ok(produced)
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

/// The CSVs of a past day as they were produced then: frozen bytes. Empty when that day was never reported.
///
/// # Errors
/// LOCAL-IO when the database cannot be read.
pub fn again(store: &Store, job: &str, business_day: BusinessDay) -> Result<Vec<Produced>, Failure> {
    let frozen = crate::store::files::get_files(store, job, business_day)?;
    Ok(frozen
        .into_iter()
        .filter(|(name, _)| name.ends_with(".csv"))
        .map(|(name, bytes)| Produced { name, bytes })
        .collect())
}
