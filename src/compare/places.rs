//! Where a record was read, in words that stay the same when pages are numbered otherwise.

use chrono_tz::Tz;
use rusqlite::{Connection, Statement};

use super::rows::optional_instant;
use crate::day::day_of;
use crate::failure::Failure;

/// A prepared look at the page a record came from.
pub struct Places<'c> {
    statement: Statement<'c>,
    zone: Tz,
}

impl<'c> Places<'c> {
    pub fn new(conn: &'c Connection, zone: Tz) -> Result<Self, Failure> {
        let statement = conn.prepare(
            "SELECT t.feed, t.subject, t.source, t.page_row, t.business_day, p.number, w.from_at
               FROM transactions AS t
               LEFT JOIN pages AS p ON p.page_id = t.page_id
               LEFT JOIN windows AS w ON w.window_id = p.window
              WHERE t.transaction_id = ?1",
        )?;
        Ok(Self { statement, zone })
    }

    /// `deposits 2026-03-04, page 3, row 17` (rows count from 0), `sweep_transactions of 5d02, page 0, row 2`,
    /// `settlement.csv line 12`.
    pub fn of(&mut self, transaction_id: i64) -> Result<String, Failure> {
        let mut rows = self.statement.query([transaction_id])?;
        let Some(row) = rows.next()? else {
            return Ok(String::new());
        };
        let (feed, subject): (String, String) = (row.get(0)?, row.get(1)?);
        let (source, line): (Option<String>, Option<i64>) = (row.get(2)?, row.get(3)?);
        if let Some(source) = source {
            return Ok(format!("{source} line {}", line.unwrap_or_default()));
        }
        let day = match optional_instant(row, 6, "windows.from_at")? {
            Some(from) => day_of(from, self.zone).to_string(),
            None => row.get(4)?,
        };
        let what = if subject.is_empty() {
            format!("{feed} {day}")
        } else {
            format!("{feed} of {subject}")
        };
        Ok(match row.get::<_, Option<i64>>(5)? {
            Some(page) => format!("{what}, page {page}, row {}", line.unwrap_or_default()),
            None => what,
        })
    }
}
