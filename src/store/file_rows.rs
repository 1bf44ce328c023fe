//! Rows of exports (`kind = "file"`): the same rules as for pages, with a file and a line in place of a page.

use chrono_tz::Tz;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::derive::Sealed;
use super::fees::Touched;
use super::rows::{Became, Expect, Origin, Records, Row};
use super::{number, vanish};
use crate::day::{Days, Instant, format_instant};
use crate::failure::Failure;
use crate::record::{self, About, Direction, LedgerStatus, Unreadable};
use crate::window::Window;

/// Where rows of an export belong.
#[derive(Clone, Copy, Debug)]
pub struct FilePlace<'a> {
    pub job: &'a str,
    /// Stands in `transactions.provider`.
    pub provider: &'a str,
    pub feed: &'a str,
    pub as_of: Instant,
    /// The span the files speak about; stored records inside it that are no longer in the files are vanished.
    pub window: Window,
    pub zone: Tz,
}

/// One row of an export, read or not. The transaction's own `feed` is not looked at: the place's counts.
#[derive(Clone, Debug)]
pub struct FileRow {
    /// File, relative to the settings.
    pub source: String,
    /// From 1, header included.
    pub line: u64,
    pub row: Result<record::Transaction, (Unreadable, About)>,
}

/// Stores the rows of exports, with one sealed window over their span. To be called inside [`super::Store::write`]; the first
/// failure of `rows` is passed on, and the caller's transaction with it rolled back.
///
/// All files together are one full reading: unreadable rows of an earlier import that are not met again are gone.
pub fn apply_file_rows(
    tx: &Transaction<'_>,
    place: &FilePlace<'_>,
    rows: impl Iterator<Item = Result<FileRow, Failure>>,
) -> Result<Sealed, Failure> {
    let as_of = format_instant(place.as_of);
    let first = !tx
        .prepare_cached("SELECT 1 FROM windows WHERE job = ?1 AND feed = ?2 LIMIT 1")?
        .exists([place.job, place.feed])?;
    let expect = if first { Expect::Mostly } else { Expect::Few };
    let mut days = Days::new(place.zone);
    let mut records = Records::new(tx, place.job, place.provider, place.as_of, true, expect)?;
    let mut touched = Touched::new(tx, place.job)?;
    let mut sealed = Sealed::default();
    // What is met again is called back below.
    tx.execute(
        "UPDATE unreadable_rows SET gone_at = ?3 WHERE job = ?1 AND feed = ?2 AND page_id IS NULL AND gone_at IS NULL",
        params![place.job, place.feed, as_of],
    )?;
    for row in rows {
        let FileRow { source, line, row } = row?;
        sealed.rows += 1;
        match row {
            Err((unreadable, about)) => {
                sealed.unreadable += 1;
                put_aside(tx, place, &source, &unreadable, &about, &as_of)?;
            }
            Ok(transaction) => {
                let row = Row::new(transaction, number(line), place.window, &mut days);
                let origin = Origin {
                    page_id: None,
                    source: Some(&source),
                };
                let (became, before) = records.store(place.feed, &row, origin)?;
                if became != Became::Unchanged {
                    touched.record(place.feed, &row.transaction, before.as_deref());
                }
                match became {
                    Became::New => sealed.new += 1,
                    Became::Changed => sealed.changed += 1,
                    Became::Unchanged | Became::Back => sealed.unchanged += 1,
                }
            }
        }
    }
    // An unreadable line may be any of the missing records: then nothing is called vanished.
    if sealed.unreadable == 0 && !first {
        sealed.vanished = mark_vanished(tx, place, &records, &as_of)?;
    }
    touched.settle(tx, place.job)?;
    seal_span(tx, place, sealed.rows, &as_of)?;
    Ok(sealed)
}

fn mark_vanished(tx: &Connection, place: &FilePlace<'_>, records: &Records<'_>, as_of: &str) -> Result<u64, Failure> {
    let ids = vanish::unseen(
        tx,
        "SELECT transaction_id FROM transactions INDEXED BY transactions_by_time
          WHERE job = ?1 AND feed = ?2 AND occurred_at >= ?3 AND occurred_at < ?4",
        params![
            place.job,
            place.feed,
            format_instant(place.window.from),
            format_instant(place.window.until)
        ],
        &records.seen,
    )?;
    let mut update = tx.prepare_cached(
        "UPDATE transactions SET vanished_at = ?2 WHERE transaction_id = ?1 AND vanished_at IS NULL AND page_id IS NULL",
    )?;
    let mut vanished = 0;
    for id in ids {
        vanished += update.execute(params![id, as_of])? as u64;
    }
    Ok(vanished)
}

fn put_aside(
    tx: &Connection,
    place: &FilePlace<'_>,
    source: &str,
    unreadable: &Unreadable,
    about: &About,
    as_of: &str,
) -> Result<(), Failure> {
    let known: Option<i64> = tx
        .prepare_cached(
            "SELECT unreadable_id FROM unreadable_rows
              WHERE job = ?1 AND page_id IS NULL AND source = ?2 AND place = ?3 AND feed = ?4",
        )?
        .query_row(params![place.job, source, unreadable.place, place.feed], |row| {
            row.get(0)
        })
        .optional()?;
    let direction = about.direction.map(Direction::as_str);
    let status = about.status.map(LedgerStatus::as_str);
    let currency = about.currency.map(|currency| currency.code().to_owned());
    let booked_at = about.booked_at.map(format_instant);
    match known {
        Some(unreadable_id) => tx
            .prepare_cached(
                "UPDATE unreadable_rows SET gone_at = NULL, reason = ?2, reference = ?3, provider_id = ?4, direction = ?5,
                   x_external_id = ?6, reference_no = ?7, status = ?8, currency = ?9, amount_minor = ?10, booked_at = ?11
                  WHERE unreadable_id = ?1",
            )?
            .execute(params![
                unreadable_id,
                unreadable.reason,
                about.reference,
                about.provider_id,
                direction,
                about.x_external_id,
                about.reference_no,
                status,
                currency,
                about.amount_minor,
                booked_at
            ])?,
        None => tx
            .prepare_cached(
                "INSERT INTO unreadable_rows (job, feed, source, place, reason, reference, provider_id, direction, seen_at,
                   x_external_id, reference_no, status, currency, amount_minor, booked_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                place.job,
                place.feed,
                source,
                unreadable.place,
                unreadable.reason,
                about.reference,
                about.provider_id,
                direction,
                as_of,
                about.x_external_id,
                about.reference_no,
                status,
                currency,
                about.amount_minor,
                booked_at
            ])?,
    };
    Ok(())
}

fn seal_span(tx: &Connection, place: &FilePlace<'_>, rows: u64, as_of: &str) -> Result<(), Failure> {
    tx.execute(
        "INSERT INTO windows (job, feed, from_at, until_at, state, sealed_at, begun_at, rows)
         VALUES (?1, ?2, ?3, ?4, 'sealed', ?5, ?5, ?6)
         ON CONFLICT (job, feed, subject, from_at) DO UPDATE
            SET until_at = excluded.until_at, state = 'sealed', sealed_at = excluded.sealed_at, reason = NULL,
                begun_at = excluded.begun_at, reading = reading + 1, rows = excluded.rows",
        params![
            place.job,
            place.feed,
            format_instant(place.window.from),
            format_instant(place.window.until),
            as_of,
            number(rows)
        ],
    )?;
    Ok(())
}
