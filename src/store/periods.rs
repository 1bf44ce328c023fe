//! Through which day a job is closed.

use rusqlite::Connection;

use crate::day::BusinessDay;
use crate::failure::Failure;

/// The last closed day of a job; None: it was never closed.
///
/// # Errors
/// What SQLite refuses; a stored day that is none.
pub fn closed_through(conn: &Connection, job: &str) -> Result<Option<BusinessDay>, Failure> {
    let day: Option<String> = conn
        .prepare_cached("SELECT max(through_day) FROM period_closes WHERE job = ?1")?
        .query_row([job], |row| row.get(0))?;
    day.map(|day| day.parse().map_err(|_| super::damaged("a closed day")))
        .transpose()
}
