//! Keys that were asked about without a usable answer: one finding per key, until there is an answer. Nothing follows from it
//! about the payment; a night with such keys was not read to its end, until a person has acknowledged them.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, named_params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::facts::provider_name;
use super::keys::Keys;
use super::life::State;
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
        let mut one =
            Discrepancy::new(Kind::LookupFailed, of_key(feed, &subject)).with_entry(&entry, case.job.timezone);
        one.provider = provider_name(case);
        one.what_differs = "answer: expected -> none that can be used".to_owned();
        one.detail = format!("{feed} was asked about this key and gave no usable answer: {reason}");
        one.evidence = format!("{feed}, ledger {} line {}", entry.source, entry.source_line);
        found.push(one);
    }
    Ok(found)
}

fn of_key(feed: &str, subject: &str) -> String {
    format!("lookup|{feed}|{subject}")
}

/// Keys of one feed that were asked about tonight without a usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    pub feed: &'static str,
    pub keys: u64,
    /// All that were asked about tonight.
    pub asked: u64,
}

/// Feed by feed, when there are any; `conn` holds tonight's findings. What a person has acknowledged is no gap any more: one
/// key that is refused for ever would be an alarm every night.
pub fn tonight(conn: &Connection, case: &Case<'_>) -> Result<Vec<Unanswered>, Failure> {
    let since = format_instant(case.asked_since);
    let mut asked = conn.prepare(
        "SELECT subject, state <> 'sealed' AND reason IS NOT NULL FROM windows
          WHERE job = ?1 AND feed = ?2 AND subject <> '' AND (begun_at >= ?3 OR state = 'sealed' AND sealed_at >= ?3)",
    )?;
    let mut state = conn.prepare("SELECT state FROM discrepancies WHERE discrepancy_id = ?1")?;
    let mut found = Vec::new();
    for feed in Keys::of(case.job).feeds() {
        let mut one = Unanswered {
            feed: feed.name,
            keys: 0,
            asked: 0,
        };
        let mut rows = asked.query((&case.job.name, feed.name, &since))?;
        while let Some(row) = rows.next()? {
            one.asked += 1;
            if !row.get::<_, bool>(1)? {
                continue;
            }
            let identity = of_key(feed.name, row.get_ref(0)?.as_str().unwrap_or_default());
            let id = super::discrepancy_id(&case.job.name, &identity);
            let state: Option<String> = state.query_row([id], |row| row.get(0)).optional()?;
            one.keys += u64::from(state.as_deref() == Some(State::Open.as_str()));
        }
        if one.keys > 0 {
            found.push(one);
        }
    }
    Ok(found)
}
