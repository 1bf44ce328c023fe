//! Two ordered cursors over covering indexes, merged by reference: equal singletons are counted and passed by without
//! touching a row; the ids of everything else are kept for the rich rules.
//!
//! Knows nothing of grace, windows or kinds. Start with [`merge`].

use std::cmp::Ordering;
use std::collections::BTreeMap;

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
    /// The accounts that both sides speak of; empty when there is only one, which then needs no looking at.
    pub accounts: &'a std::collections::BTreeSet<String>,
}

/// Count and sum per currency.
pub type Sums = BTreeMap<[u8; 3], (u64, i128)>;

/// What the merge found.
#[derive(Default)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing in it that wants an entry.
    Empty,
    /// One record, one entry, equal.
    Matched,
    /// One failed record, no entry.
    NoMoney,
    /// One record, and no ledger to compare with.
    Uncompared,
    Rich,
}

/// One index row of either side.
#[derive(Default)]
pub struct Lean {
    pub id: i64,
    reference: Vec<u8>,
    amount: i64,
    currency: [u8; 3],
    /// First letter of the status word; they differ in it.
    status: u8,
    kind: KindClass,
    fee: Option<i64>,
    fee_currency: Option<[u8; 3]>,
    provider_id: Option<Vec<u8>>,
    account: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum KindClass {
    #[default]
    Plain,
    Fee,
    Unknown,
}

const RECORDS: &str = "SELECT transaction_id, reference, amount_minor, currency, status, kind, fee_minor, fee_currency,
       provider_id, account
  FROM transactions INDEXED BY transactions_by_reference
 WHERE job = ?1 AND direction = ?2 AND vanished_at IS NULL
 ORDER BY reference";

const ENTRIES: &str = "SELECT entry_id, reference, amount_minor, currency, status, provider_id, fee_minor, account
  FROM ledger_entries INDEXED BY ledger_by_reference
 WHERE job = ?1 AND direction = ?2
 ORDER BY reference";

/// The same rows for one reference, for a group that must be looked at again.
const RECORDS_OF: &str =
    "SELECT transaction_id, reference, amount_minor, currency, status, kind, fee_minor, fee_currency,
       provider_id, account
  FROM transactions INDEXED BY transactions_by_reference
 WHERE job = ?1 AND direction = ?2 AND vanished_at IS NULL AND reference = ?3";

/// A record without a reference is a group of its own.
const RECORD: &str = "SELECT transaction_id, reference, amount_minor, currency, status, kind, fee_minor, fee_currency,
       provider_id, account
  FROM transactions WHERE transaction_id = ?1";

const ENTRIES_OF: &str = "SELECT entry_id, reference, amount_minor, currency, status, provider_id, fee_minor, account
  FROM ledger_entries INDEXED BY ledger_by_reference
 WHERE job = ?1 AND direction = ?2 AND reference = ?3";

/// Merges both sides of a job, direction by direction.
pub fn merge(conn: &Connection, setup: &Setup<'_>) -> Result<Merged, Failure> {
    let mut merged = Merged::default();
    for direction in Direction::ALL {
        merge_direction(conn, setup, *direction, &mut merged)?;
    }
    Ok(merged)
}

fn merge_direction(
    conn: &Connection,
    setup: &Setup<'_>,
    direction: Direction,
    merged: &mut Merged,
) -> Result<(), Failure> {
    let mut records = conn.prepare(RECORDS)?;
    let mut entries = conn.prepare(ENTRIES)?;
    let key = (setup.job, direction.as_str());
    let mut left = Side::new(records.query(key)?, Source::Records, setup)?;
    // Without a ledger its side is empty from the start: no job has an empty name.
    let ledger_key = (if setup.ledger { setup.job } else { "" }, direction.as_str());
    let mut right = Side::new(entries.query(ledger_key)?, Source::Entries, setup)?;
    let mut group = Group::default();
    while left.open || right.open {
        let order = match (left.open, right.open) {
            (true, true) => left.next.reference.cmp(&right.next.reference),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        group.clear();
        if order != Ordering::Greater {
            left.take_key(&mut group.records)?;
        }
        if order != Ordering::Less {
            // An empty reference identifies nothing: such rows never meet.
            if order == Ordering::Equal && group.records.first().reference.is_empty() {
                account_for(&group, setup, merged);
                group.clear();
            }
            right.take_key(&mut group.entries)?;
        }
        account_for(&group, setup, merged);
    }
    for (currency, (count, sum)) in right.excluded {
        let slot = merged.excluded.entry(currency).or_default();
        slot.0 += count;
        slot.1 += sum;
    }
    Ok(())
}

fn account_for(group: &Group, setup: &Setup<'_>, merged: &mut Merged) {
    let records = group.records.rows();
    let entries = group.entries.rows();
    let wanting = records.iter().filter(|r| r.kind != KindClass::Fee).count();
    merged.records += wanting as u64;
    merged.entries += entries.len() as u64;
    match classify(records, entries, setup) {
        Class::Empty => {}
        Class::Matched => {
            let Some(record) = records.iter().find(|r| r.kind != KindClass::Fee) else {
                return;
            };
            count(&mut merged.matched, record, 1);
            merged.equal_not_zero += u64::from(record.amount != 0);
        }
        Class::NoMoney => records
            .iter()
            .filter(|r| r.kind != KindClass::Fee)
            .for_each(|r| count(&mut merged.no_money, r, 1)),
        Class::Uncompared => merged.uncompared += 1,
        Class::Rich => {
            merged.push_rich(records.iter().map(|r| r.id), entries.iter().map(|e| e.id));
            for entry in entries {
                if let Some(id) = &entry.provider_id
                    && !records.iter().any(|r| r.provider_id.as_ref() == Some(id))
                {
                    merged.strays.push(entry.id);
                }
            }
        }
    }
}

/// Takes back what a group contributed when it was passed over, for one that an entry elsewhere lays claim to.
pub fn take_back(merged: &mut Merged, class: Class, records: &[Lean]) {
    let Some(record) = records.iter().find(|r| r.kind != KindClass::Fee) else {
        return;
    };
    match class {
        Class::Matched => {
            count(&mut merged.matched, record, -1);
            merged.equal_not_zero -= u64::from(record.amount != 0);
        }
        Class::NoMoney => count(&mut merged.no_money, record, -1),
        Class::Empty | Class::Uncompared | Class::Rich => {}
    }
}

fn count(sums: &mut Sums, row: &Lean, sign: i64) {
    let slot = sums.entry(row.currency).or_default();
    slot.0 = slot.0.wrapping_add_signed(sign);
    slot.1 += i128::from(row.amount) * i128::from(sign);
}

/// Decides by the index rows of one reference whether the rich rules are needed.
pub fn classify(records: &[Lean], entries: &[Lean], setup: &Setup<'_>) -> Class {
    let mut wanting = records.iter().filter(|r| r.kind != KindClass::Fee);
    match (wanting.next(), wanting.next(), entries) {
        (None, _, []) => Class::Empty,
        (Some(record), None, [entry]) if is_equal(record, entry, setup) => Class::Matched,
        (Some(record), None, []) if record.kind == KindClass::Plain => match record.status {
            b'f' => Class::NoMoney,
            b's' if !setup.ledger => Class::Uncompared,
            _ => Class::Rich,
        },
        _ => Class::Rich,
    }
}

fn is_equal(record: &Lean, entry: &Lean, setup: &Setup<'_>) -> bool {
    record.amount == entry.amount
        && record.status == entry.status
        && matches!(record.status, b's' | b'f')
        && record.currency == entry.currency
        && record.kind == KindClass::Plain
        && !record.reference.is_empty()
        && (record.status == b'f' || fees_agree(record, entry))
        && (entry.provider_id.is_none() || entry.provider_id == record.provider_id)
        && (setup.accounts.is_empty() || same_account(record, entry, setup))
}

fn fees_agree(record: &Lean, entry: &Lean) -> bool {
    match (record.fee, entry.fee) {
        (Some(theirs), Some(ours)) => theirs == ours || record.fee_currency.is_some_and(|c| c != record.currency),
        _ => true,
    }
}

fn same_account(record: &Lean, entry: &Lean, setup: &Setup<'_>) -> bool {
    let Some(account) = &entry.account else { return true };
    record.account.as_ref() == Some(account)
        || !std::str::from_utf8(account).is_ok_and(|name| setup.accounts.contains(name))
}

/// The index rows of one reference on both sides; a record without a reference stands alone.
pub fn look_again(
    conn: &Connection,
    setup: &Setup<'_>,
    record: i64,
    direction: Direction,
    reference: Option<&str>,
) -> Result<(Vec<Lean>, Vec<Lean>), Failure> {
    let Some(reference) = reference else {
        return Ok((read_all(conn, setup, RECORD, Source::Records, [record])?, Vec::new()));
    };
    let key = (setup.job, direction.as_str(), reference);
    let records = read_all(conn, setup, RECORDS_OF, Source::Records, key)?;
    Ok((records, read_all(conn, setup, ENTRIES_OF, Source::Entries, key)?))
}

fn read_all(
    conn: &Connection,
    setup: &Setup<'_>,
    sql: &str,
    source: Source,
    key: impl rusqlite::Params,
) -> Result<Vec<Lean>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(key)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut lean = Lean::default();
        read_row(row, source, setup, &mut lean)?;
        if lean.status != EXCLUDED {
            found.push(lean);
        }
    }
    Ok(found)
}

/// First letter of `excluded`.
const EXCLUDED: u8 = b'e';

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Records,
    Entries,
}

/// Rows of one key; their buffers are used again and again.
#[derive(Default)]
struct Bucket {
    rows: Vec<Lean>,
    used: usize,
}

impl Bucket {
    fn rows(&self) -> &[Lean] {
        &self.rows[..self.used]
    }

    fn first(&self) -> &Lean {
        &self.rows[0]
    }

    /// A free row to read into.
    fn slot(&mut self) -> &mut Lean {
        if self.used == self.rows.len() {
            self.rows.push(Lean::default());
        }
        self.used += 1;
        &mut self.rows[self.used - 1]
    }
}

#[derive(Default)]
struct Group {
    records: Bucket,
    entries: Bucket,
}

impl Group {
    fn clear(&mut self) {
        self.records.used = 0;
        self.entries.used = 0;
    }
}

/// One cursor with the row it stands on.
struct Side<'s, 'a> {
    rows: Rows<'s>,
    source: Source,
    setup: &'a Setup<'a>,
    next: Lean,
    open: bool,
    excluded: Sums,
}

impl<'s, 'a> Side<'s, 'a> {
    fn new(rows: Rows<'s>, source: Source, setup: &'a Setup<'a>) -> Result<Self, Failure> {
        let mut side = Self {
            rows,
            source,
            setup,
            next: Lean::default(),
            open: true,
            excluded: Sums::new(),
        };
        side.advance()?;
        Ok(side)
    }

    fn advance(&mut self) -> Result<(), Failure> {
        loop {
            let Some(row) = self.rows.next()? else {
                self.open = false;
                return Ok(());
            };
            read_row(row, self.source, self.setup, &mut self.next)?;
            if self.source == Source::Records || self.next.status != EXCLUDED {
                return Ok(());
            }
            let slot = self.excluded.entry(self.next.currency).or_default();
            slot.0 += 1;
            slot.1 += i128::from(self.next.amount);
        }
    }

    /// Moves every row of the present reference into the bucket; a row without one stays alone.
    fn take_key(&mut self, bucket: &mut Bucket) -> Result<(), Failure> {
        loop {
            std::mem::swap(bucket.slot(), &mut self.next);
            self.advance()?;
            let taken = &bucket.rows[bucket.used - 1].reference;
            if !self.open || taken.is_empty() || self.next.reference != *taken {
                return Ok(());
            }
        }
    }
}

fn read_row(row: &Row<'_>, source: Source, setup: &Setup<'_>, into: &mut Lean) -> Result<(), Failure> {
    into.id = row.get(0)?;
    into.reference.clear();
    into.reference.extend_from_slice(bytes(row.get_ref(1)?));
    into.amount = row.get(2)?;
    into.currency = code(row.get_ref(3)?);
    into.status = bytes(row.get_ref(4)?).first().copied().unwrap_or_default();
    let (fee, id, account) = match source {
        Source::Records => {
            into.kind = match bytes(row.get_ref(5)?) {
                b"fee" => KindClass::Fee,
                b"unknown" => KindClass::Unknown,
                _ => KindClass::Plain,
            };
            (6, 8, 9)
        }
        Source::Entries => (6, 5, 7),
    };
    into.fee = row.get(fee)?;
    into.fee_currency = match source {
        Source::Records if into.fee.is_some() => match row.get_ref(7)? {
            ValueRef::Null => None,
            value => Some(code(value)),
        },
        _ => None,
    };
    optional(
        &mut into.provider_id,
        if setup.ids { row.get_ref(id)? } else { ValueRef::Null },
    );
    optional(
        &mut into.account,
        if setup.accounts.is_empty() {
            ValueRef::Null
        } else {
            row.get_ref(account)?
        },
    );
    Ok(())
}

fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(text) => text,
        _ => &[],
    }
}

fn code(value: ValueRef<'_>) -> [u8; 3] {
    bytes(value).try_into().unwrap_or_default()
}

fn optional(slot: &mut Option<Vec<u8>>, value: ValueRef<'_>) {
    match value {
        ValueRef::Text(text) => {
            let buffer = slot.get_or_insert_default();
            buffer.clear();
            buffer.extend_from_slice(text);
        }
        _ => *slot = None,
    }
}
