//! Nights that were read and compared, and whose reports were not written (a kill, a full disk, a broken report): they are run
//! again before the next night of the job, so that every business day has its report.

use super::Due;
use crate::day::last_day_over;
use crate::failure::Failure;
use crate::store::Store;
use crate::store::periods::closed_through;
use crate::store::runs::untold_night;

/// The nights wanted, each job's untold one before its first.
pub(super) fn with_untold<'j>(store: &Store, due: &[Due<'j>]) -> Result<Vec<Due<'j>>, Failure> {
    let mut all: Vec<Due<'j>> = Vec::with_capacity(due.len());
    for item in due {
        let (job, zone) = (item.job, item.job.timezone);
        let first = !all.iter().any(|other| other.job.name == job.name);
        let untold = if first { untold_night(store, &job.name)? } else { None };
        if let Some(as_of) = untold.filter(|as_of| *as_of < item.as_of) {
            let day = |as_of| last_day_over(as_of, job.fetch.settle, zone);
            let closed = store.read(|conn| closed_through(conn, &job.name))?;
            if day(as_of) < day(item.as_of) && closed.is_none_or(|closed| closed < day(as_of)) {
                tracing::info!(job = job.name, business_day = %day(as_of), "the reports of this night were not written; it is run again first");
                all.push(Due { job, as_of });
            }
        }
        all.push(item.clone());
    }
    Ok(all)
}
