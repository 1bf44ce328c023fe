//! Where a record was read, in words that stay the same when pages are numbered otherwise.

use std::collections::HashMap;

use chrono_tz::Tz;
use rusqlite::{Connection, OptionalExtension, Statement};

use super::rows::{Record, damaged};
use crate::day::{BusinessDay, day_of, parse_instant};
use crate::failure::Failure;

/// A prepared look at the pages that records came from.
pub struct Places<'c> {
    statement: Statement<'c>,
    zone: Tz,
    /// Number of a page and day of its window.
    pages: HashMap<i64, (i64, BusinessDay)>,
}

/// Pages remembered; records of one night mostly stand on few.
const REMEMBERED: usize = 10_000;

impl<'c> Places<'c> {
    pub fn new(conn: &'c Connection, zone: Tz) -> Result<Self, Failure> {
        let statement = conn.prepare(
            "SELECT p.number, w.from_at FROM pages AS p JOIN windows AS w ON w.window_id = p.window WHERE p.page_id = ?1",
        )?;
        Ok(Self {
            statement,
            zone,
            pages: HashMap::new(),
        })
    }

    /// `deposits 2026-03-04, page 3, row 17` (rows count from 0), `sweep_transactions of 5d02, page 0, row 2`,
    /// `settlement.csv line 12`.
    pub fn of(&mut self, record: &Record) -> Result<String, Failure> {
        let row = record.page_row.unwrap_or_default();
        if let Some(source) = &record.source {
            return Ok(format!("{source} line {row}"));
        }
        let page = match record.page_id {
            Some(id) => self.page(id)?,
            None => None,
        };
        let what = match page {
            _ if !record.subject.is_empty() => format!("{} of {}", record.feed, record.subject),
            Some((_, day)) => format!("{} {day}", record.feed),
            None => format!("{} {}", record.feed, record.business_day),
        };
        Ok(match page {
            Some((number, _)) => format!("{what}, page {number}, row {row}"),
            None => what,
        })
    }

    fn page(&mut self, id: i64) -> Result<Option<(i64, BusinessDay)>, Failure> {
        if let Some(page) = self.pages.get(&id) {
            return Ok(Some(*page));
        }
        let found = self
            .statement
            .query_row([id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
        let Some((number, from)) = found.optional()? else {
            return Ok(None);
        };
        let from = parse_instant(&from).ok_or_else(|| damaged("windows.from_at"))?;
        if self.pages.len() >= REMEMBERED {
            self.pages.clear();
        }
        let page = (number, day_of(from, self.zone));
        self.pages.insert(id, page);
        Ok(Some(page))
    }
}
