//! Two ordered cursors over covering indexes, merged by reference: equal singletons are counted and passed by without
//! touching a row; the ids of everything else are kept for the rich rules.
//!
//! Knows nothing of grace, windows or kinds. Start with [`merge`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering as AtomicOrdering};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows};

use crate::failure::Failure;
use crate::record::Direction;

/// What the merge needs to know beforehand.
pub struct Setup<'a> {
    pub job: &'a str,
    /// Without a ledger every record stands alone.
    pub ledger: bool,
    /// Some entry carries a provider_id.
    pub ids: bool,
    /// Some entry states a fee.
    pub fees: bool,
    /// The accounts that both sides speak of; empty when there is only one, which then needs no looking at.
    pub accounts: &'a std::collections::BTreeSet<String>,
}

impl Setup<'_> {
    /// Something beside reference, amount, currency, status and kind decides what is equal.
    fn asks_more(&self) -> bool {
        self.ids || self.fees || !self.accounts.is_empty()
    }

    /// The columns for that. Every column of every row costs: what tonight's ledger cannot ask for is not read.
    fn more(&self, of_fee: &str) -> String {
        if !self.asks_more() {
            return String::new();
        }
        let asked = |wanted: bool, column| if wanted { column } else { "NULL" };
        format!(
            ", {}, {}, {}, {}",
            asked(self.fees, "fee_minor"),
            asked(self.ids, "provider_id"),
            asked(!self.accounts.is_empty(), "account"),
            asked(self.fees, of_fee)
        )
    }
}

/// Some entry names a record by its id.
pub const IDS: &str = "SELECT EXISTS (SELECT 1 FROM ledger_entries INDEXED BY ledger_by_provider_id
                                          WHERE job = ?1 AND provider_id IS NOT NULL)";
/// Some entry states a fee.
pub const FEES: &str = "SELECT EXISTS (SELECT 1 FROM ledger_entries INDEXED BY ledger_with_fee
                                           WHERE job = ?1 AND fee_minor IS NOT NULL)";

/// Answers one of the two for [`Setup`]; each has an index of the entries that do, which the planner leaves aside where it
/// reads every entry instead.
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
    /// Records (fee rows apart) and entries that the cursors gave, for the books to close.
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

/// What a group is, by its index rows alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// Fee records only: they want no entry.
    #[default]
    Empty,
    /// One record, one entry, equal.
    Matched,
    /// One failed record, no entry.
    NoMoney,
    /// One record, and no ledger to compare with.
    Uncompared,
    Rich,
}

/// Columns of both selects, in one order, so that one reader serves both.
const ID: usize = 0;
const REFERENCE: usize = 1;
const AMOUNT: usize = 2;
const CURRENCY: usize = 3;
const STATUS: usize = 4;
/// Of records only.
const KIND: usize = 5;
/// Only where [`Setup::asks_more`].
const FEE: usize = 6;
const PROVIDER_ID: usize = 7;
const ACCOUNT: usize = 8;
const FEE_CURRENCY: usize = 9;

/// First letter of `excluded`; status words differ in it.
const EXCLUDED: u8 = b'e';

fn select_records(setup: &Setup<'_>, filter: &str) -> String {
    let more = setup.more("fee_currency");
    format!(
        "SELECT transaction_id, reference, amount_minor, currency, status, kind{more}
           FROM transactions INDEXED BY transactions_by_reference WHERE job = ?1 AND direction = ?2 {filter}"
    )
}

fn select_entries(setup: &Setup<'_>, filter: &str) -> String {
    let more = match setup.more("NULL") {
        more if more.is_empty() => more,
        more => format!(", NULL{more}"),
    };
    format!(
        "SELECT entry_id, reference, amount_minor, currency, status{more}
           FROM ledger_entries INDEXED BY ledger_by_reference WHERE job = ?1 AND direction = ?2 {filter}"
    )
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

    /// What its rows are selected by, in the order in which they are walked.
    fn filters(&self) -> &'static [&'static str] {
        match (self.from, self.below) {
            (None, None) => &["AND reference IS NULL", "AND reference >= ''"],
            (None, Some(_)) => &["AND reference IS NULL", "AND reference < ?4"],
            (Some(_), None) => &["AND reference >= ?3"],
            (Some(_), Some(_)) => &["AND reference >= ?3 AND reference < ?4"],
        }
    }
}

/// Merges both sides of a job, direction by direction; where more connections may be opened and it pays, several ranges of the
/// references on two threads. What comes out does not depend on that.
pub fn merge(conn: &Connection, open: Option<&Open<'_>>, setup: &Setup<'_>) -> Result<Merged, Failure> {
    match open {
        Some(open) => merge_between(conn, open, &cuts(conn, setup.job)?, setup),
        None => merge_range(conn, setup, Range::default()).map(Merged::joined),
    }
}

/// Each thread takes the next range when it is done with one: they end together, however unequal the ranges are.
fn merge_between(conn: &Connection, open: &Open<'_>, cuts: &[String], setup: &Setup<'_>) -> Result<Merged, Failure> {
    let ranges = Range::between(cuts);
    let next = AtomicUsize::new(0);
    let walk = |conn: &Connection| -> Result<Vec<(usize, Vec<Merged>)>, Failure> {
        let mut walked = Vec::new();
        loop {
            let nth = next.fetch_add(1, AtomicOrdering::Relaxed);
            let Some(range) = ranges.get(nth) else {
                return Ok(walked);
            };
            walked.push((nth, merge_range(conn, setup, *range)?));
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
    const RANGES: usize = 8;
    const SAMPLES: i64 = 127;
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
    for n in 0..SAMPLES {
        let mut row = near.query([first + n * (rows / SAMPLES)])?;
        if let Some(row) = row.next()?
            && row.get_ref(0)?.as_str() == Ok(job)
            && let Some(reference) = row.get::<_, Option<String>>(1)?.filter(|r| !r.is_empty())
        {
            found.push(reference);
        }
    }
    found.sort_unstable();
    let mut cuts: Vec<String> = (1..RANGES)
        .filter_map(|n| found.get(n * found.len() / RANGES).cloned())
        .collect();
    cuts.dedup();
    Ok(cuts)
}

/// What one range of references holds, direction by direction.
fn merge_range(conn: &Connection, setup: &Setup<'_>, range: Range<'_>) -> Result<Vec<Merged>, Failure> {
    let vanished = "SELECT EXISTS (SELECT 1 FROM transactions INDEXED BY transactions_vanished
                                   WHERE job = ?1 AND vanished_at IS NOT NULL)";
    let vanished: bool = conn.query_row(vanished, [setup.job], |row| row.get(0))?;
    let listed = if vanished { "AND vanished_at IS NULL" } else { "" };
    let mut all = Vec::new();
    for direction in Direction::ALL {
        let mut merged = Merged::default();
        for filter in range.filters() {
            let mut left =
                conn.prepare_cached(&select_records(setup, &format!("{filter} {listed} ORDER BY reference")))?;
            let mut right = conn.prepare_cached(&select_entries(setup, &format!("{filter} ORDER BY reference")))?;
            // Without a ledger its side is empty from the start: no job has an empty name.
            let ledger = if setup.ledger { setup.job } else { "" };
            for (side, job) in [(&mut left, setup.job), (&mut right, ledger)] {
                let values = [Some(job), Some(direction.as_str()), range.from, range.below];
                for (at, value) in (1..=side.parameter_count()).zip(values) {
                    side.raw_bind_parameter(at, value)?;
                }
            }
            walk(left.raw_query(), right.raw_query(), setup, &mut merged)?;
        }
        all.push(merged);
    }
    Ok(all)
}

/// Walks two cursors in the order of their references.
fn walk(mut records: Rows<'_>, mut entries: Rows<'_>, setup: &Setup<'_>, merged: &mut Merged) -> Result<(), Failure> {
    let (mut record, mut entry) = (records.next()?, entries.next()?);
    let mut group = Group::default();
    loop {
        let (key, order) = match (record, entry) {
            (None, None) => break,
            (Some(r), None) => (bytes(r, REFERENCE)?, Ordering::Less),
            (None, Some(e)) => (bytes(e, REFERENCE)?, Ordering::Greater),
            (Some(r), Some(e)) => {
                let (theirs, ours) = (bytes(r, REFERENCE)?, bytes(e, REFERENCE)?);
                let order = theirs.cmp(ours);
                (if order.is_le() { theirs } else { ours }, order)
            }
        };
        let r = record.filter(|_| order.is_le()).map(Side::read).transpose()?;
        let e = entry.filter(|_| order.is_ge()).map(Side::read).transpose()?;
        match e {
            Some(e) if e.status == EXCLUDED => {
                add(&mut merged.excluded, e.currency, e.amount, 1);
                entry = entries.next()?;
                continue;
            }
            _ => group.take(key, r, e, setup, merged)?,
        }
        if order.is_le() {
            record = records.next()?;
        }
        if order.is_ge() {
            entry = entries.next()?;
        }
    }
    group.close(merged);
    Ok(())
}

/// What every index row is asked for, each column once: asking costs more than walking.
#[derive(Clone, Copy)]
struct Side<'r> {
    id: i64,
    amount: i64,
    currency: [u8; 3],
    /// First letter of the word.
    status: u8,
    /// For what few rows are asked for.
    row: &'r Row<'r>,
}

impl<'r> Side<'r> {
    fn read(row: &'r Row<'r>) -> Result<Self, Failure> {
        Ok(Self {
            id: row.get(ID)?,
            amount: row.get(AMOUNT)?,
            currency: bytes(row, CURRENCY)?.try_into().unwrap_or_default(),
            status: bytes(row, STATUS)?.first().copied().unwrap_or_default(),
            row,
        })
    }
}

/// The rows of the present reference, as far as they are known.
#[derive(Default)]
struct Group {
    key: Vec<u8>,
    class: Class,
    records: Vec<i64>,
    entries: Vec<i64>,
    /// Records that are no fees.
    wanting: u64,
    /// Of the first record.
    amount: i64,
    currency: [u8; 3],
    /// Provider ids of the records, and those that entries name, with the entry; only where a ledger names any.
    bearers: Vec<Vec<u8>>,
    named: Vec<(i64, Vec<u8>)>,
}

impl Group {
    /// Takes a row of one side, or one of each, that stand next; closes the group before when they begin another.
    fn take(
        &mut self,
        key: &[u8],
        record: Option<Side<'_>>,
        entry: Option<Side<'_>>,
        setup: &Setup<'_>,
        merged: &mut Merged,
    ) -> Result<(), Failure> {
        if key.is_empty() {
            // An empty reference identifies nothing: such rows never meet, not even each other.
            let alone = [(record, None), (None, entry)];
            for (record, entry) in alone.into_iter().filter(|(r, e)| r.is_some() || e.is_some()) {
                self.close(merged);
                self.begin(key, record, entry, setup)?;
            }
        } else if key == self.key {
            self.class = Class::Rich;
            let is_fee = record.map(|r| kind_of(r).map(|kind| kind == FEE_KIND)).transpose()?;
            self.note(record, is_fee.unwrap_or_default(), entry, setup)?;
        } else {
            self.close(merged);
            self.begin(key, record, entry, setup)?;
        }
        Ok(())
    }

    fn begin(
        &mut self,
        key: &[u8],
        record: Option<Side<'_>>,
        entry: Option<Side<'_>>,
        setup: &Setup<'_>,
    ) -> Result<(), Failure> {
        self.key.clear();
        self.key.extend_from_slice(key);
        let mut is_fee = false;
        self.class = match record {
            None => Class::Rich,
            Some(record) => {
                (self.amount, self.currency) = (record.amount, record.currency);
                let kind = kind_of(record)?;
                is_fee = kind == FEE_KIND;
                classify(record, kind, entry, setup)?
            }
        };
        self.note(record, is_fee, entry, setup)
    }

    fn note(
        &mut self,
        record: Option<Side<'_>>,
        is_fee: bool,
        entry: Option<Side<'_>>,
        setup: &Setup<'_>,
    ) -> Result<(), Failure> {
        if let Some(record) = record {
            self.records.push(record.id);
            self.wanting += u64::from(!is_fee);
            if setup.ids {
                self.bearers.push(bytes(record.row, PROVIDER_ID)?.to_vec());
            }
        }
        if let Some(entry) = entry {
            self.entries.push(entry.id);
            if setup.ids && self.class != Class::Matched && !matches!(entry.row.get_ref(PROVIDER_ID)?, ValueRef::Null) {
                self.named.push((entry.id, bytes(entry.row, PROVIDER_ID)?.to_vec()));
            }
        }
        Ok(())
    }

    /// Counts what the group is, or keeps it for the rich rules.
    fn close(&mut self, merged: &mut Merged) {
        merged.records += self.wanting;
        merged.entries += self.entries.len() as u64;
        match self.class {
            Class::Rich if self.wanting == 0 && self.entries.is_empty() => {}
            Class::Rich => {
                merged.push_rich(self.records.iter().copied(), self.entries.iter().copied());
                let strays = self.named.iter().filter(|(_, id)| !self.bearers.contains(id));
                merged.strays.extend(strays.map(|(entry, _)| *entry));
            }
            Class::Empty => {}
            class => tally(merged, class, self.currency, self.amount, 1),
        }
        self.key.clear();
        self.records.clear();
        self.entries.clear();
        self.bearers.clear();
        self.named.clear();
        self.wanting = 0;
        self.class = Class::Empty;
    }
}

fn tally(merged: &mut Merged, class: Class, currency: [u8; 3], amount: i64, sign: i64) {
    match class {
        Class::Matched => {
            add(&mut merged.matched, currency, amount, sign);
            merged.equal_not_zero = merged
                .equal_not_zero
                .wrapping_add_signed(if amount == 0 { 0 } else { sign });
        }
        Class::NoMoney => add(&mut merged.no_money, currency, amount, sign),
        Class::Uncompared => merged.uncompared = merged.uncompared.wrapping_add_signed(sign),
        Class::Empty | Class::Rich => {}
    }
}

fn add(sums: &mut Sums, currency: [u8; 3], amount: i64, sign: i64) {
    let slot = sums.entry(currency).or_default();
    slot.0 = slot.0.wrapping_add_signed(sign);
    slot.1 += i128::from(amount) * i128::from(sign);
}

const FEE_KIND: &[u8] = b"fee";

fn kind_of(record: Side<'_>) -> Result<&[u8], Failure> {
    bytes(record.row, KIND)
}

/// Decides by the index rows that began a reference whether it may be passed over, as long as no further row has it.
fn classify(record: Side<'_>, kind: &[u8], entry: Option<Side<'_>>, setup: &Setup<'_>) -> Result<Class, Failure> {
    Ok(match (entry, record.status) {
        (None, _) if kind == FEE_KIND => Class::Empty,
        _ if kind == FEE_KIND || kind == b"unknown" => Class::Rich,
        (Some(entry), _) if is_equal(record, entry, setup)? => Class::Matched,
        (None, b'f') => Class::NoMoney,
        (None, b's') if !setup.ledger => Class::Uncompared,
        _ => Class::Rich,
    })
}

fn is_equal(record: Side<'_>, entry: Side<'_>, setup: &Setup<'_>) -> Result<bool, Failure> {
    let (ours, theirs) = (entry.row, record.row);
    Ok(record.amount == entry.amount
        && record.status == entry.status
        && matches!(record.status, b's' | b'f')
        && record.currency == entry.currency
        && (!setup.fees || record.status == b'f' || fees_agree(theirs, ours, record.currency)?)
        && (!setup.ids || same_or_null(theirs, ours, PROVIDER_ID)?)
        && (setup.accounts.is_empty() || same_or_null(theirs, ours, ACCOUNT)? || !names_account(ours, setup)?))
}

fn fees_agree(record: &Row<'_>, entry: &Row<'_>, currency: [u8; 3]) -> Result<bool, Failure> {
    let Some(ours) = entry.get::<_, Option<i64>>(FEE)? else {
        return Ok(true);
    };
    let Some(theirs) = record.get::<_, Option<i64>>(FEE)? else {
        return Ok(true);
    };
    let of_fee = bytes(record, FEE_CURRENCY)?;
    Ok(theirs == ours || !(of_fee.is_empty() || of_fee == currency))
}

fn same_or_null(record: &Row<'_>, entry: &Row<'_>, column: usize) -> Result<bool, Failure> {
    Ok(matches!(entry.get_ref(column)?, ValueRef::Null) || bytes(record, column)? == bytes(entry, column)?)
}

fn names_account(entry: &Row<'_>, setup: &Setup<'_>) -> Result<bool, Failure> {
    Ok(std::str::from_utf8(bytes(entry, ACCOUNT)?).is_ok_and(|name| setup.accounts.contains(name)))
}

/// Text of a column; nothing for NULL.
fn bytes<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Failure> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) => text,
        _ => &[],
    })
}

/// Takes the group of a record, which an entry elsewhere lays claim to, out of what was passed over, if it was, and keeps it
/// for the rich rules. A record without a reference is a group of its own.
pub fn reclaim(
    conn: &Connection,
    setup: &Setup<'_>,
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
    let mut alone = Merged::default();
    let mut group = Group::default();
    {
        let mut left = conn.prepare_cached(&select_records(setup, &format!("AND vanished_at IS NULL {filter}")))?;
        let mut records = match reference {
            Some(_) => left.query((setup.job, direction.as_str(), reference))?,
            None => left.query((setup.job, direction.as_str(), reference, record))?,
        };
        let mut right = conn.prepare_cached(&select_entries(setup, "AND reference = ?3 AND status <> 'excluded'"))?;
        let mut entries = right.query((setup.job, direction.as_str(), reference))?;
        loop {
            let (record, entry) = (records.next()?, entries.next()?);
            if record.is_none() && entry.is_none() {
                break;
            }
            let any = record.or(entry).map_or(Ok(&[][..]), |row| bytes(row, REFERENCE))?;
            let (record, entry) = (record.map(Side::read).transpose()?, entry.map(Side::read).transpose()?);
            group.take(any, record, entry, setup, &mut alone)?;
        }
    }
    if group.class != Class::Rich || (group.wanting == 0 && group.entries.is_empty()) {
        tally(merged, group.class, group.currency, group.amount, -1);
        merged.push_rich(group.records.iter().copied(), group.entries.iter().copied());
    }
    Ok(())
}

#[cfg(test)]
#[path = "cursors_tests.rs"]
mod tests;
