//! A first large load: the secondary indexes of `transactions` are built once at its end instead of row by row.
//!
//! All in the transaction of the load: whoever reads meanwhile sees the state before it, indexes and all, and a kill leaves
//! that state. Sorting a million keys once takes half the time of a million insertions in random order.

use rusqlite::Connection;

use super::derive::Derivation;
use crate::failure::Failure;

/// Below this many pages an index is faster kept up than built anew.
const PAGES: i64 = 200;
/// Stored rows per new page, above which building anew would mostly sort what is sorted already.
const STORED_PER_PAGE: i64 = 25;
/// Cache while indexes are built, negative KiB: the sort takes as much again, and both must fit the memory goal of a load.
const SORT_CACHE: i64 = -24 * 1024;

/// The statements that make the indexes again; empty when they were left in place.
#[must_use]
pub(super) struct PutOff {
    statements: Vec<String>,
}

impl PutOff {
    /// Drops the secondary indexes when this is a first large load into a small table.
    pub(super) fn indexes(tx: &Connection, d: &Derivation<'_>) -> Result<PutOff, Failure> {
        if !worthwhile(tx, d)? {
            return Ok(PutOff { statements: Vec::new() });
        }
        let mut list = tx.prepare(
            "SELECT name, sql FROM sqlite_schema
              WHERE type = 'index' AND tbl_name = 'transactions' AND name <> 'transactions_by_id' AND sql IS NOT NULL
              ORDER BY rowid",
        )?;
        let indexes: Vec<(String, String)> = list
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
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

    /// Builds them.
    pub(super) fn build(self, tx: &Connection) -> Result<(), Failure> {
        if self.statements.is_empty() {
            return Ok(());
        }
        let cache: i64 = tx.query_row("PRAGMA cache_size", [], |row| row.get(0))?;
        tx.pragma_update(None, "cache_size", SORT_CACHE)?;
        let built = self.statements.iter().try_for_each(|sql| tx.execute_batch(sql));
        tx.pragma_update(None, "cache_size", cache)?;
        Ok(built?)
    }
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
