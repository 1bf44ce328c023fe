//! A first large load: the indexes over all rows of `transactions` are built once at its end instead of row by row.
//!
//! All in the transaction of the load: whoever reads meanwhile sees the state before it, indexes and all, and a kill leaves
//! that state. Sorting a million keys once takes a third of the time of a million insertions in random order.
//!
//! That goes for the unique index too: the rows of a first load are nearly always different records, so they are stored
//! without a look and its building is the proof. Where two are the same record after all, the load is taken back and done
//! again the careful way.

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};

use super::derive::Derivation;
use super::rows::Expect;
use crate::failure::Failure;

/// Below this many pages an index is faster kept up than built anew.
const PAGES: i64 = 200;
/// Stored rows per new page, above which building anew would mostly sort what is sorted already.
const STORED_PER_PAGE: i64 = 25;
/// Cache while indexes are built, negative KiB: the sort takes as much again on each of its two threads, and all must fit
/// the memory goal of a load.
const SORT_CACHE: i64 = -16 * 1024;

/// Fills `transactions` for the first reading of a window; `fill` may be called twice.
pub(super) fn load<T>(
    tx: &Connection,
    d: &Derivation<'_>,
    mut fill: impl FnMut(Expect) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if !worthwhile(tx, d)? {
        return fill(Expect::Mostly);
    }
    if steps_back(tx)? {
        tx.execute_batch("SAVEPOINT bulk_load")?;
        let put_off = PutOff::indexes(tx, true)?;
        let filled = fill(Expect::Only)?;
        if put_off.build(tx)? {
            tx.execute_batch("RELEASE bulk_load")?;
            return Ok(filled);
        }
        drop(filled);
        tx.execute_batch("ROLLBACK TO bulk_load; RELEASE bulk_load")?;
    }
    let put_off = PutOff::indexes(tx, false)?;
    let filled = fill(Expect::Mostly)?;
    put_off.build(tx)?;
    Ok(filled)
}

/// The statements that make the indexes again.
#[must_use]
struct PutOff {
    statements: Vec<String>,
}

impl PutOff {
    /// Drops the indexes over all rows. Those over few rows cost little while rows are stored, and building one reads the
    /// whole table.
    fn indexes(tx: &Connection, unique_too: bool) -> Result<PutOff, Failure> {
        let mut list = tx.prepare(
            "SELECT name, sql FROM sqlite_schema
              WHERE type = 'index' AND tbl_name = 'transactions' AND sql IS NOT NULL
                AND name IN (SELECT name FROM pragma_index_list('transactions') WHERE NOT partial AND \"unique\" <= ?1)
              ORDER BY rowid",
        )?;
        let indexes: Vec<(String, String)> = list
            .query_map([unique_too], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        drop(list);
        let mut statements = Vec::new();
        for (name, sql) in indexes {
            // The name comes from our own schema, which was compared at the start; no other index can be there.
            tx.execute_batch(&format!("DROP INDEX {name}"))?;
            statements.push(sql);
        }
        Ok(PutOff { statements })
    }

    /// Builds them, sorting on a second thread; false where a unique one cannot be built.
    fn build(self, tx: &Connection) -> Result<bool, Failure> {
        let cache: i64 = tx.query_row("PRAGMA cache_size", [], |row| row.get(0))?;
        tx.pragma_update(None, "cache_size", SORT_CACHE)?;
        let threads = tx.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 1)?;
        let built = self.statements.iter().try_for_each(|sql| tx.execute_batch(sql));
        tx.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, threads)?;
        tx.pragma_update(None, "cache_size", cache)?;
        match built {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }
}

/// A database without a journal (the one a replay makes) cannot take back a part of a transaction.
fn steps_back(tx: &Connection) -> Result<bool, Failure> {
    let journal: String = tx.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    Ok(!journal.eq_ignore_ascii_case("off"))
}

fn worthwhile(tx: &Connection, d: &Derivation<'_>) -> Result<bool, Failure> {
    let pages: i64 = tx
        .prepare_cached("SELECT count(*) FROM readings WHERE window_id = ?1 AND reading = ?2 AND pass = ?3")?
        .query_row((d.window_id, d.reading, d.pass), |row| row.get(0))?;
    if pages < PAGES {
        return Ok(false);
    }
    // Row ids are given in order and hardly ever taken back: the newest stands for the count.
    let newest: Option<i64> = tx
        .prepare_cached("SELECT max(transaction_id) FROM transactions")?
        .query_row([], |row| row.get(0))?;
    Ok(newest.unwrap_or_default() <= pages * STORED_PER_PAGE)
}
