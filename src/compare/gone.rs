//! Records that were listed once and are not listed any more: one item each, together with the entry that lost its record.
//!
//! A vanished record takes no part in matching, so its entry comes out of the rules as missing at the provider, or as about to
//! be. Both say the same thing about one payment; here they become one item, before anything is suggested.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::{Connection, named_params};

use super::identity::{self, Suffix};
use super::items::{Found, Item};
use super::rows::{Entry, Record, Rows};
use crate::failure::Failure;
use crate::money::Currency;
use crate::record::{Direction, Kind, LedgerStatus, TransactionKind};

type Key = (Direction, String);

/// Positions of records and of entries.
type Both = (Vec<usize>, Vec<usize>);

/// Adds the vanished records of a job to what was found. `accounts`: the provider's, when there are several.
pub fn fold(
    conn: &Connection,
    job: &str,
    accounts: &std::collections::BTreeSet<String>,
    found: &mut Found,
) -> Result<(), Failure> {
    let mut rows = Rows::new(conn)?;
    let mut statement = conn.prepare(include_str!("vanished.sql"))?;
    let ids = statement.query_map(named_params! {":job": job}, |row| row.get::<_, i64>(0))?;
    let mut records = ids.map(|id| rows.record(id?)).collect::<Result<Vec<_>, _>>()?;
    if records.is_empty() {
        return Ok(());
    }
    records.sort_by(|a, b| (a.born(), &a.provider_id, a.id).cmp(&(b.born(), &b.provider_id, b.id)));
    let left = Left::read(&mut rows, found)?;
    let partners = partners(&records, &left, accounts);
    let taken: HashSet<i64> = partners.values().map(|&e| left.entries[e].id).collect();
    let mut names = Names::new(conn, job, &left, &taken)?;
    found
        .items
        .retain(|item| item.record.is_some() || item.entry.is_none_or(|e| !taken.contains(&e)));
    found
        .pending
        .retain(|item| item.record.is_some() || item.entry.is_none_or(|e| !taken.contains(&e)));
    // They are not among the records that the merge gave.
    found.records += records.len() as u64;
    for (position, record) in records.iter().enumerate() {
        let entry = partners.get(&position).map(|&e| &left.entries[e]);
        let suffix = names.suffix(record)?;
        found.items.push(Item {
            number: identity::number(job, &identity::text(Some(record), entry, suffix)),
            suffix,
            kind: Kind::Vanished,
            difference: difference(record, entry),
            record: Some(record.id),
            entry: entry.map(|e| e.id),
            several: None,
            spot: None,
            told: None,
        });
    }
    Ok(())
}

/// Provider − ledger; None where the currencies differ.
fn difference(record: &Record, entry: Option<&Entry>) -> Option<i64> {
    match entry {
        None => Some(record.amount),
        Some(entry) if entry.currency == record.currency => record.amount.checked_sub(entry.amount),
        Some(_) => None,
    }
}

/// Entries without a record, in order of time.
struct Left {
    entries: Vec<Entry>,
}

impl Left {
    fn read(rows: &mut Rows<'_>, found: &Found) -> Result<Self, Failure> {
        let missing = found
            .items
            .iter()
            .filter(|i| i.kind == Kind::MissingInProvider && i.several.is_none())
            .filter_map(|i| i.entry);
        let waiting = found
            .pending
            .iter()
            .filter(|p| p.becomes == Kind::MissingInProvider && p.record.is_none())
            .filter_map(|p| p.entry);
        let mut entries = missing
            .chain(waiting)
            .map(|id| rows.entry(id))
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|a, b| (a.booked_at, &a.source, a.source_line).cmp(&(b.booked_at, &b.source, b.source_line)));
        Ok(Self { entries })
    }
}

/// Which entry (by position) each vanished record (by position) had: its provider_id first, then the reference with the exact
/// amount, then one against one.
fn partners(records: &[Record], left: &Left, accounts: &std::collections::BTreeSet<String>) -> HashMap<usize, usize> {
    let mut partners = HashMap::new();
    let mut free = vec![true; left.entries.len()];
    let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut equal: HashMap<(&str, Direction, Currency, i64), VecDeque<usize>> = HashMap::new();
    for (e, entry) in left.entries.iter().enumerate() {
        match &entry.provider_id {
            Some(id) => named.entry(id).or_default().push(e),
            None => {
                let key = (entry.reference.as_str(), entry.direction, entry.currency, entry.amount);
                equal.entry(key).or_default().push_back(e);
            }
        }
    }
    for (r, record) in records.iter().enumerate() {
        let claimants = named.get(record.provider_id.as_str()).map_or(&[][..], Vec::as_slice);
        let best = claimants.iter().copied().filter(|&e| free[e]).min_by_key(|&e| {
            let entry = &left.entries[e];
            (entry.direction != record.direction, entry.amount != record.amount, e)
        });
        if let Some(e) = best {
            free[e] = false;
            partners.insert(r, e);
        }
    }
    let may_meet = |record: &Record, entry: &Entry| {
        let foreign = entry
            .account
            .as_ref()
            .is_some_and(|a| *a != record.account && accounts.contains(a));
        // A fee needs no entry, but one that books it had found it.
        let fee = record.kind == TransactionKind::Fee;
        !foreign
            && (!fee
                || entry.status == LedgerStatus::Settled
                    && (entry.currency, entry.amount) == (record.currency, record.amount))
    };
    for (r, record) in records.iter().enumerate() {
        let Some(reference) = record.reference.as_deref().filter(|_| !partners.contains_key(&r)) else {
            continue;
        };
        let key = (reference, record.direction, record.currency, record.amount);
        if let Some(queue) = equal.get_mut(&key)
            && let Some(at) = queue.iter().position(|&e| may_meet(record, &left.entries[e]))
            && let Some(e) = queue.remove(at)
        {
            free[e] = false;
            partners.insert(r, e);
        }
    }
    let mut rest: HashMap<(&str, Direction), Both> = HashMap::new();
    for (r, record) in records.iter().enumerate().filter(|(r, _)| !partners.contains_key(r)) {
        if let Some(reference) = &record.reference {
            rest.entry((reference, record.direction)).or_default().0.push(r);
        }
    }
    for (e, entry) in left.entries.iter().enumerate() {
        if free[e]
            && entry.provider_id.is_none()
            && let Some(both) = rest.get_mut(&(entry.reference.as_str(), entry.direction))
        {
            both.1.push(e);
        }
    }
    for (rs, es) in rest.into_values() {
        if let ([r], [e]) = (&rs[..], &es[..])
            && may_meet(&records[*r], &left.entries[*e])
        {
            partners.insert(*r, *e);
        }
    }
    partners
}

/// Who bears the name of a reference: a record still listed before one that is gone, one entry or record that is left over
/// before the next.
struct Names<'c> {
    listed: rusqlite::Statement<'c>,
    job: String,
    used: HashSet<Key>,
}

impl<'c> Names<'c> {
    fn new(conn: &'c Connection, job: &str, left: &Left, taken: &HashSet<i64>) -> Result<Self, Failure> {
        let listed = conn.prepare(
            "SELECT EXISTS (SELECT 1 FROM transactions
              WHERE job = ?1 AND direction = ?2 AND reference = ?3 AND vanished_at IS NULL AND kind <> 'fee')",
        )?;
        let alone = left.entries.iter().filter(|e| !taken.contains(&e.id));
        Ok(Self {
            listed,
            job: job.to_owned(),
            used: alone.map(|e| (e.direction, e.reference.clone())).collect(),
        })
    }

    fn suffix(&mut self, record: &Record) -> Result<Suffix, Failure> {
        let Some(reference) = &record.reference else {
            return Ok(Suffix::default());
        };
        let first = self.used.insert((record.direction, reference.clone()));
        let key = (&self.job, record.direction.as_str(), reference);
        let listed: bool = self.listed.query_row(key, |row| row.get(0))?;
        Ok(if first && !listed {
            Suffix::default()
        } else {
            Suffix::record()
        })
    }
}
