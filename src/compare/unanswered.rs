//! Keys that were asked about without a usable answer: one finding per key, until there is an answer. Nothing follows from it
//! about the payment.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, named_params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::facts::provider_name;
use super::keys::Keys;
use super::rows::Rows;
use crate::day::{format_instant, next_day, start_of_day};
use crate::failure::Failure;
use crate::record::Kind;

/// All of them that the ledger still holds.
pub fn find(conn: &Connection, case: &Case<'_>) -> Result<Vec<Discrepancy>, Failure> {
    let keys = Keys::of(case.job);
    if keys.feeds().is_empty() {
        return Ok(Vec::new());
    }
    let mut unanswered: BTreeMap<String, HashMap<String, String>> = BTreeMap::new();
    let until = format_instant(start_of_day(next_day(case.business_day), case.job.timezone));
    let mut statement = conn.prepare(include_str!("unanswered.sql"))?;
    let mut rows = statement.query(named_params! {":job": case.job.name, ":until": until})?;
    while let Some(row) = rows.next()? {
        unanswered
            .entry(row.get(0)?)
            .or_default()
            .insert(row.get(1)?, row.get(2)?);
    }
    let mut found = Vec::new();
    for feed in keys.feeds() {
        if let Some(reasons) = unanswered.get(feed.name) {
            found.extend(of_feed(conn, case, &keys, feed.name, reasons)?);
        }
    }
    Ok(found)
}

fn of_feed(
    conn: &Connection,
    case: &Case<'_>,
    keys: &Keys,
    feed: &str,
    reasons: &HashMap<String, String>,
) -> Result<Vec<Discrepancy>, Failure> {
    let Some(subject) = keys.sql(feed) else {
        return Ok(Vec::new());
    };
    // The first entry of each key stands for it.
    let mut statement = conn.prepare(&format!(
        "SELECT min(entry_id), {subject} AS subject FROM ledger_entries
          WHERE job = ?1 AND status <> 'excluded' GROUP BY subject HAVING subject IS NOT NULL ORDER BY subject"
    ))?;
    let mut rows = statement.query([&case.job.name])?;
    let mut entries = Rows::new(conn)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let subject: String = row.get(1)?;
        let Some(reason) = reasons.get(&subject) else { continue };
        let entry = entries.entry(row.get(0)?)?;
        let identity = format!("lookup|{feed}|{subject}");
        let mut one = Discrepancy::new(Kind::LookupFailed, identity).with_entry(&entry, case.job.timezone);
        one.provider = provider_name(case);
        one.what_differs = "answer: expected -> none that can be used".to_owned();
        one.detail = format!("{feed} was asked about this key and gave no usable answer: {reason}");
        one.evidence = format!("{feed}, ledger {} line {}", entry.source, entry.source_line);
        found.push(one);
    }
    Ok(found)
}
