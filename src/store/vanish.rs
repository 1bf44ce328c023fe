//! What a complete reading no longer lists.

use memchr::memmem;
use rusqlite::{Connection, params};

use std::collections::HashSet;

use super::derive::{Derivation, shape_of};
use super::fees::Touched;
use super::pages::decompress;
use super::rows::Seen;
use super::{OpenReading, Place, Store, damaged};
use crate::day::format_instant;
use crate::failure::Failure;
use crate::providers::{Doubt, Provider, Shape, identity};

/// Searches of missing ids in pages with unreadable rows per window; beyond it nothing is called vanished this time.
const SEARCHES: usize = 100_000;

/// Marks records of the window that the reading did not list; gives how many are newly vanished.
///
/// A subject's records are those under the subject; a listing's are the whole feed's; those of a span are the records that
/// occurred in it. A record whose id stands in a page with unreadable rows is probably one of them and is left alone.
pub(super) fn mark(
    tx: &Connection,
    d: &Derivation<'_>,
    seen: &Seen,
    unreadable_pages: &[i64],
    touched: &mut Touched,
) -> Result<u64, Failure> {
    let mut missing = missing(tx, d, seen)?;
    if !unreadable_pages.is_empty() && !missing.is_empty() {
        if missing.len().saturating_mul(unreadable_pages.len()) > SEARCHES {
            return Ok(0);
        }
        for page_id in unreadable_pages {
            let frame: Vec<u8> = tx
                .prepare_cached("SELECT body FROM pages WHERE page_id = ?1")?
                .query_row([page_id], |row| row.get(0))?;
            let body = decompress(&frame)?;
            missing.retain(|record| memmem::find(&body, record.provider_id.as_bytes()).is_none());
        }
    }
    let as_of = format_instant(d.ask.as_of);
    let mut update = tx.prepare_cached("UPDATE transactions SET vanished_at = ?2 WHERE transaction_id = ?1")?;
    for record in &missing {
        update.execute(params![record.id, as_of])?;
        if record.is_fee {
            touched.fee(d.ask.feed, &record.account, record.related_id.as_deref());
        }
    }
    Ok(missing.len() as u64)
}

struct Missing {
    id: i64,
    account: String,
    provider_id: String,
    is_fee: bool,
    related_id: Option<String>,
}

/// Records of the window, not vanished yet, whose ids were not seen.
fn missing(tx: &Connection, d: &Derivation<'_>, seen: &Seen) -> Result<Vec<Missing>, Failure> {
    // Only ids are read from the index; the few rows that were not seen are looked at afterwards.
    let subject = d.ask.subject.as_deref().unwrap_or_default();
    let (from, until) = (format_instant(d.ask.window.from), format_instant(d.ask.window.until));
    let ids = match (d.shape, subject) {
        (Shape::Listing, "") => unseen(
            tx,
            "SELECT transaction_id FROM transactions INDEXED BY transactions_by_time WHERE job = ?1 AND feed = ?2",
            params![d.job, d.ask.feed],
            seen,
        )?,
        (Shape::Days(_), "") => unseen(
            tx,
            "SELECT transaction_id FROM transactions INDEXED BY transactions_by_time
              WHERE job = ?1 AND feed = ?2 AND occurred_at >= ?3 AND occurred_at < ?4",
            params![d.job, d.ask.feed, from, until],
            seen,
        )?,
        (_, "") => Vec::new(),
        (_, subject) => unseen(
            tx,
            "SELECT transaction_id FROM transactions INDEXED BY transactions_by_subject
              WHERE job = ?1 AND feed = ?2 AND subject = ?3 AND subject <> ''",
            params![d.job, d.ask.feed, subject],
            seen,
        )?,
    };
    let mut look = tx.prepare_cached(
        "SELECT account, provider_id, kind = 'fee', related_id FROM transactions
          WHERE transaction_id = ?1 AND vanished_at IS NULL AND subject = ?2",
    )?;
    let mut missing = Vec::new();
    for id in ids {
        let mut rows = look.query(params![id, subject])?;
        if let Some(row) = rows.next()? {
            missing.push(Missing {
                id,
                account: row.get(0)?,
                provider_id: row.get(1)?,
                is_fee: row.get(2)?,
                related_id: row.get(3)?,
            });
        }
    }
    Ok(missing)
}

/// What speaks against a reading that ended, before its rows are derived: the window was never sealed this far, or a record
/// of it is not among those listed now ([`identity`]).
pub fn doubt(
    store: &Store,
    place: &Place<'_>,
    reading: &OpenReading,
    provider: &dyn Provider,
    listed: &HashSet<u64>,
) -> Result<Option<Doubt>, Failure> {
    let (job, feed, window) = (place.job, place.ask.feed, place.ask.window);
    let (from, until) = (format_instant(window.from), format_instant(window.until));
    let shape = shape_of(provider, feed)?;
    store.read(|connection| {
        let sealed = connection
            .prepare_cached("SELECT 1 FROM seals WHERE window_id = ?1 AND state = 'sealed' AND until_at >= ?2 LIMIT 1")?
            .exists(params![reading.window_id, until])?;
        if !sealed {
            return Ok(Some(Doubt::NeverRead));
        }
        let (least, most) = match shape {
            Shape::Days(_) => (from.as_str(), until.as_str()),
            Shape::Listing => ("", "~"),
            _ => return Ok(None),
        };
        let mut statement = connection.prepare_cached(
            "SELECT provider_id FROM transactions INDEXED BY transactions_by_time
              WHERE job = ?1 AND feed = ?2 AND occurred_at >= ?3 AND occurred_at < ?4
                AND vanished_at IS NULL AND subject = ''",
        )?;
        let mut rows = statement.query([job, feed, least, most])?;
        while let Some(row) = rows.next()? {
            if !listed.contains(&identity(
                row.get_ref(0)?
                    .as_str()
                    .map_err(|_| damaged("transactions.provider_id"))?,
            )) {
                return Ok(Some(Doubt::Lost));
            }
        }
        Ok(None)
    })
}

pub(super) fn unseen(
    tx: &Connection,
    sql: &str,
    params: &[&dyn rusqlite::ToSql],
    seen: &Seen,
) -> Result<Vec<i64>, Failure> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if !seen.contains(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Unreadable rows on pages of this window that are not part of the reading any more are gone.
pub(super) fn mark_unreadable(tx: &Connection, d: &Derivation<'_>, as_of: &str) -> Result<(), Failure> {
    tx.prepare_cached(
        "UPDATE unreadable_rows SET gone_at = ?5
          WHERE job = ?1 AND feed = ?6 AND page_id IS NOT NULL AND gone_at IS NULL
            AND (SELECT window FROM pages AS p WHERE p.page_id = unreadable_rows.page_id) = ?2
            AND page_id NOT IN (SELECT page_id FROM readings WHERE window_id = ?2 AND reading = ?3 AND pass = ?4)",
    )?
    .execute(params![d.job, d.window_id, d.reading, d.pass, as_of, d.ask.feed])?;
    Ok(())
}
