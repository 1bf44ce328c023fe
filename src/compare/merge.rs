//! Both sides of a job merged by reference over their covering indexes: equal singletons are counted and passed by without
//! touching a row; the ids of everything else are kept for the rich rules.
//!
//! Knows nothing of grace, windows or kinds. Start with [`by_reference`]; [`super::walk`] is the merge of one range, [`super::passed`]
//! says what may be passed by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::{Connection, Row};

use super::index_row::{IndexRow, entry_columns, record_columns};
use super::passed::Group;
use super::walk::{Side, Walker};
use crate::failure::Failure;
use crate::record::Direction;

/// What the merge needs to know beforehand.
pub struct Setup {
    pub job: String,
    /// Without a ledger every record stands alone.
    pub ledger: bool,
    /// Some entry carries a provider_id.
    pub ids: bool,
    /// Some entry states a fee.
    pub fees: bool,
    /// Some record is not listed any more.
    pub vanished: bool,
    /// The accounts that both sides speak of; empty when there is only one, which then needs no looking at.
    pub accounts: BTreeSet<String>,
}

impl Setup {
    /// Something beside reference, amount, currency, status and kind decides what is equal.
    pub fn asks_more(&self) -> bool {
        self.ids || self.fees || !self.accounts.is_empty()
    }
}

/// Some entry names a record by its id.
pub const IDS: &str = "SELECT EXISTS (SELECT 1 FROM ledger_entries INDEXED BY ledger_by_provider_id
                                          WHERE job = ?1 AND provider_id IS NOT NULL)";
/// Some entry states a fee.
pub const FEES: &str = "SELECT EXISTS (SELECT 1 FROM ledger_entries INDEXED BY ledger_with_fee
                                           WHERE job = ?1 AND fee_minor IS NOT NULL)";

/// Some record is not listed any more.
pub const VANISHED: &str = "SELECT EXISTS (SELECT 1 FROM transactions INDEXED BY transactions_vanished
                                            WHERE job = ?1 AND vanished_at IS NOT NULL)";

/// Answers one of the three for [`Setup`]; each has an index of the rows that do, which the planner leaves aside where it reads
/// every row instead.
pub fn carries(conn: &Connection, job: &str, sql: &str) -> Result<bool, Failure> {
    Ok(conn.query_row(sql, [job], |row| row.get(0))?)
}

/// Count and sum per currency.
pub type Sums = BTreeMap<[u8; 3], (u64, i128)>;

/// What the merge found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Pairs equal in everything, with the sum of provider amounts.
    pub matched: Sums,
    /// Of these, pairs whose amount is not zero (for the unit guard).
    pub equal_not_zero: u64,
    /// Records that moved no money and have no entry.
    pub no_money: Sums,
    /// Entries that are no part of the money flow.
    pub excluded: Sums,
    /// Settled records passed over because there is no ledger.
    pub uncompared: u64,
    /// Records (fee rows apart) and entries that the merge gave, for the books to close.
    pub records: u64,
    pub entries: u64,
    /// Groups for the rich rules: number of records, number of entries, their ids.
    pub rich: Vec<i64>,
    /// Entries whose provider_id is not under their own reference.
    pub strays: Vec<i64>,
}

impl Merged {
    /// What several ranges gave, in their order.
    fn joined(ranges: impl IntoIterator<Item = Merged>) -> Merged {
        let mut joined = Merged::default();
        ranges.into_iter().for_each(|range| joined.append(range));
        joined
    }

    /// Takes over what another range gave.
    fn append(&mut self, other: Merged) {
        let sums = [
            (&mut self.matched, other.matched),
            (&mut self.no_money, other.no_money),
            (&mut self.excluded, other.excluded),
        ];
        for (mine, theirs) in sums {
            for (currency, (count, sum)) in theirs {
                let slot = mine.entry(currency).or_default();
                slot.0 += count;
                slot.1 += sum;
            }
        }
        self.equal_not_zero += other.equal_not_zero;
        self.uncompared += other.uncompared;
        self.records += other.records;
        self.entries += other.entries;
        self.rich.extend(other.rich);
        self.strays.extend(other.strays);
    }

    /// Keeps a group for the rich rules.
    pub fn push_rich(
        &mut self,
        records: impl ExactSizeIterator<Item = i64>,
        entries: impl ExactSizeIterator<Item = i64>,
    ) {
        self.rich.push(records.len() as i64);
        self.rich.push(entries.len() as i64);
        self.rich.extend(records);
        self.rich.extend(entries);
    }
}

/// A further read-only connection to the same database.
pub type Open<'a> = dyn Fn() -> Result<Connection, Failure> + Sync + 'a;

/// References that one walk goes over.
#[derive(Clone, Copy, Default)]
struct Range<'a> {
    /// The first of them; None: the walk begins with what has no reference.
    from: Option<&'a str>,
    /// The first of the next walk; None: to the end.
    below: Option<&'a str>,
}

impl<'a> Range<'a> {
    /// The ranges between these references, which rise.
    fn between(cuts: &'a [String]) -> Vec<Self> {
        let ends = || cuts.iter().map(|cut| Some(cut.as_str()));
        let (starts, ends) = (std::iter::once(None).chain(ends()), ends().chain([None]));
        starts.zip(ends).map(|(from, below)| Self { from, below }).collect()
    }

    /// What its rows are selected by, in the order in which they are walked: those without a reference first, which no entry
    /// meets.
    fn spans(&self) -> &'static [Span] {
        const NULL: Span = Span("AND reference IS NULL", false);
        match (self.from, self.below) {
            (None, None) => &[NULL, Span("AND reference >= ''", true)],
            (None, Some(_)) => &[NULL, Span("AND reference < ?4", true)],
            (Some(_), None) => &[Span("AND reference >= ?3", true)],
            (Some(_), Some(_)) => &[Span("AND reference >= ?3 AND reference < ?4", true)],
        }
    }
}

/// A filter, and whether its rows have references.
struct Span(&'static str, bool);

/// Merges both sides of a job, direction by direction; where more connections may be opened and it pays, several ranges of the
/// references on two threads. What comes out does not depend on that.
pub fn by_reference(conn: &Connection, open: Option<&Open<'_>>, setup: &Arc<Setup>) -> Result<Merged, Failure> {
    match open {
        Some(open) => merge_between(conn, open, &cuts(conn, &setup.job)?, setup),
        None => merge_range(&mut Walker::new(conn, setup)?, Range::default()).map(Merged::joined),
    }
}

/// Each thread takes the next range when it is done with one: they end together, however unequal the ranges are.
fn merge_between(conn: &Connection, open: &Open<'_>, cuts: &[String], setup: &Arc<Setup>) -> Result<Merged, Failure> {
    let ranges = Range::between(cuts);
    let next = AtomicUsize::new(0);
    let walk = |conn: &Connection| -> Result<Vec<(usize, Vec<Merged>)>, Failure> {
        let mut walker = Walker::new(conn, setup)?;
        let mut walked = Vec::new();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some(range) = ranges.get(nth) else {
                return Ok(walked);
            };
            walked.push((nth, merge_range(&mut walker, *range)?));
        }
    };
    let mut walked = std::thread::scope(|scope| {
        let second = (ranges.len() > 1).then(|| scope.spawn(|| walk(&open()?)));
        let mut walked = walk(conn)?;
        if let Some(second) = second {
            walked.extend(second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, Failure>(walked)
    })?;
    walked.sort_unstable_by_key(|(nth, _)| *nth);
    // In the order of one walk: a direction's ranges, then the next direction's.
    let mut ranges: Vec<_> = walked
        .into_iter()
        .map(|(_, by_direction)| by_direction.into_iter())
        .collect();
    let mut joined = Merged::default();
    for _ in Direction::ALL {
        ranges
            .iter_mut()
            .filter_map(Iterator::next)
            .for_each(|range| joined.append(range));
    }
    Ok(joined)
}

/// References that cut those of a job into ranges of about one size, from a few rows spread over the table; none where a second
/// thread would not pay.
fn cuts(conn: &Connection, job: &str) -> Result<Vec<String>, Failure> {
    /// Rows of a range: its records are kept in memory, about 80 bytes each, and should stay near the processor.
    const RANGE: i64 = 30_000;
    const SAMPLES_PER_RANGE: i64 = 8;
    /// Fewer rows are merged before a second thread has begun.
    const WORTH_TWO: i64 = 50_000;
    // One look each: both in one SELECT would read the whole table.
    let sql = "SELECT coalesce((SELECT min(transaction_id) FROM transactions), 0),
                      coalesce((SELECT max(transaction_id) FROM transactions), 0)";
    let (first, last): (i64, i64) = conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows = last.saturating_sub(first);
    if rows < WORTH_TWO {
        return Ok(Vec::new());
    }
    let mut near = conn.prepare(
        "SELECT job, reference FROM transactions WHERE transaction_id >= ?1 ORDER BY transaction_id LIMIT 1",
    )?;
    let mut found = Vec::new();
    let ranges = (rows / RANGE).clamp(8, 1_000);
    let samples = ranges * SAMPLES_PER_RANGE;
    for n in 0..samples {
        let mut row = near.query([first + n * (rows / samples)])?;
        if let Some(row) = row.next()?
            && row.get_ref(0)?.as_str() == Ok(job)
            && let Some(reference) = row.get::<_, Option<String>>(1)?.filter(|r| !r.is_empty())
        {
            found.push(reference);
        }
    }
    found.sort_unstable();
    let ranges = ranges as usize;
    let mut cuts: Vec<String> = (1..ranges)
        .filter_map(|n| found.get(n * found.len() / ranges).cloned())
        .collect();
    cuts.dedup();
    Ok(cuts)
}

/// What one range of references holds, direction by direction.
fn merge_range(walker: &mut Walker<'_>, range: Range<'_>) -> Result<Vec<Merged>, Failure> {
    let setup = Arc::clone(walker.setup());
    let job = setup.job.as_str();
    let listed = if setup.vanished { "AND vanished_at IS NULL" } else { "" };
    let (of_records, of_entries) = (record_columns(&setup), entry_columns(&setup));
    let mut all = Vec::new();
    for direction in Direction::ALL {
        let mut merged = Merged::default();
        let values = [Some(job), Some(direction.as_str()), range.from, range.below];
        for Span(filter, referenced) in range.spans() {
            let records = Side {
                columns: &of_records,
                from: &records(&format!("{filter} {listed}")),
                values,
            };
            let entries = Side {
                columns: &of_entries,
                from: &entries(filter),
                values,
            };
            let entries = (setup.ledger && *referenced).then_some(entries);
            merged = walker.merge(&records, entries.as_ref(), merged)?;
        }
        all.push(merged);
    }
    Ok(all)
}

fn records(filter: &str) -> String {
    format!("transactions INDEXED BY transactions_by_reference WHERE job = ?1 AND direction = ?2 {filter}")
}

fn entries(filter: &str) -> String {
    format!("ledger_entries INDEXED BY ledger_by_reference WHERE job = ?1 AND direction = ?2 {filter}")
}

fn read<'r>(row: &'r Row<'_>) -> rusqlite::Result<IndexRow<'r>> {
    IndexRow::read(row.as_ref().column_count(), |column| row.get_ref(column))
}

/// Takes the group of a record, which an entry elsewhere lays claim to, out of what was passed over, if it was, and keeps it
/// for the rich rules. A record without a reference is a group of its own.
pub fn reclaim(
    conn: &Connection,
    setup: &Setup,
    merged: &mut Merged,
    record: i64,
    direction: Direction,
    reference: Option<&str>,
) -> Result<(), Failure> {
    let filter = if reference.is_some() {
        "AND reference = ?3"
    } else {
        "AND coalesce(reference, '') = coalesce(?3, '') AND transaction_id = ?4"
    };
    let select = |columns: String, from: String| {
        let sql = format!(
            "SELECT {columns}
               FROM {from}"
        );
        conn.prepare_cached(&sql)
    };
    let of_records = records(&format!("AND vanished_at IS NULL {filter}"));
    let mut left = select(record_columns(setup), of_records)?;
    let mut records = match reference {
        Some(_) => left.query((&setup.job, direction.as_str(), reference))?,
        None => left.query((&setup.job, direction.as_str(), reference, record))?,
    };
    let mut right = select(
        entry_columns(setup),
        entries("AND reference = ?3 AND status <> 'excluded'"),
    )?;
    let mut entries = right.query((&setup.job, direction.as_str(), reference))?;
    let mut alone = Merged::default();
    let mut group = Group::default();
    loop {
        let (record, entry) = (records.next()?, entries.next()?);
        if record.is_none() && entry.is_none() {
            break;
        }
        let (record, entry) = (record.map(read).transpose()?, entry.map(read).transpose()?);
        group.take(record, entry, setup, &mut alone)?;
    }
    group.reclaim(merged);
    Ok(())
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
