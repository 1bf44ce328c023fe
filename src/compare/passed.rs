//! Whether the rows of one reference may be passed over by their index rows alone.

use super::index_row::{FAILED, IndexRow, RowKind, SETTLED};
use super::merge::{Merged, Setup, Sums};
use crate::failure::Failure;

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

/// A row stands before the one before it.
pub struct OutOfOrder;

impl From<OutOfOrder> for Failure {
    fn from(out: OutOfOrder) -> Self {
        rusqlite::Error::from(out).into()
    }
}

impl From<OutOfOrder> for rusqlite::Error {
    fn from(_: OutOfOrder) -> Self {
        Self::UserFunctionError(
            "the rows of an index are not in its order; check the database with `PRAGMA integrity_check`".into(),
        )
    }
}

/// The rows of the present reference, as far as they are known.
#[derive(Default)]
pub struct Group {
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
    ///
    /// # Errors
    /// They stand before what was taken already.
    pub fn take(
        &mut self,
        record: Option<IndexRow<'_>>,
        entry: Option<IndexRow<'_>>,
        setup: &Setup,
        merged: &mut Merged,
    ) -> Result<(), OutOfOrder> {
        let key = record.or(entry).map_or(&[][..], |row| row.reference);
        if key < self.key.as_slice() {
            return Err(OutOfOrder);
        }
        if key.is_empty() {
            // An empty reference identifies nothing: such rows never meet, not even each other.
            let alone = [(record, None), (None, entry)];
            for (record, entry) in alone.into_iter().filter(|(r, e)| r.is_some() || e.is_some()) {
                self.close(merged);
                self.begin(key, record, entry, setup);
            }
        } else if key == self.key {
            self.class = Class::Rich;
            self.note(record, entry, setup);
        } else {
            self.close(merged);
            self.begin(key, record, entry, setup);
        }
        Ok(())
    }

    fn begin(&mut self, key: &[u8], record: Option<IndexRow<'_>>, entry: Option<IndexRow<'_>>, setup: &Setup) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.class = match record {
            None => Class::Rich,
            Some(record) => {
                (self.amount, self.currency) = (record.amount, record.currency);
                classify(record, entry, setup)
            }
        };
        self.note(record, entry, setup);
    }

    fn note(&mut self, record: Option<IndexRow<'_>>, entry: Option<IndexRow<'_>>, setup: &Setup) {
        if let Some(record) = record {
            self.records.push(record.id);
            self.wanting += u64::from(record.kind != RowKind::Fee);
            if setup.ids {
                self.bearers.push(record.more.provider_id.unwrap_or_default().to_vec());
            }
        }
        if let Some(entry) = entry {
            self.entries.push(entry.id);
            if let Some(id) = entry.more.provider_id.filter(|_| self.class != Class::Matched) {
                self.named.push((entry.id, id.to_vec()));
            }
        }
    }

    /// Counts what the group is, or keeps it for the rich rules.
    pub fn close(&mut self, merged: &mut Merged) {
        merged.records += self.wanting;
        merged.entries += self.entries.len() as u64;
        match self.class {
            Class::Rich if self.is_nothing() => {}
            Class::Rich => {
                self.keep(merged);
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

    /// Takes a whole group back out of what was passed over, if it was, and keeps it for the rich rules.
    pub fn reclaim(self, merged: &mut Merged) {
        if self.class != Class::Rich || self.is_nothing() {
            tally(merged, self.class, self.currency, self.amount, -1);
            self.keep(merged);
        }
    }

    fn is_nothing(&self) -> bool {
        self.wanting == 0 && self.entries.is_empty()
    }

    fn keep(&self, merged: &mut Merged) {
        merged.push_rich(self.records.iter().copied(), self.entries.iter().copied());
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

/// One more (`sign` 1) or one less (-1) of that amount.
pub fn add(sums: &mut Sums, currency: [u8; 3], amount: i64, sign: i64) {
    let slot = sums.entry(currency).or_default();
    slot.0 = slot.0.wrapping_add_signed(sign);
    slot.1 += i128::from(amount) * i128::from(sign);
}

/// Decides by the index rows that began a reference whether it may be passed over, as long as no further row has it.
fn classify(record: IndexRow<'_>, entry: Option<IndexRow<'_>>, setup: &Setup) -> Class {
    match (entry, record.status) {
        (None, _) if record.kind == RowKind::Fee => Class::Empty,
        _ if record.kind != RowKind::Other => Class::Rich,
        (Some(entry), _) if is_equal(record, entry, setup) => Class::Matched,
        (None, FAILED) => Class::NoMoney,
        (None, SETTLED) if !setup.ledger => Class::Uncompared,
        _ => Class::Rich,
    }
}

fn is_equal(record: IndexRow<'_>, entry: IndexRow<'_>, setup: &Setup) -> bool {
    let (theirs, ours) = (record.more, entry.more);
    record.amount == entry.amount
        && record.status == entry.status
        && matches!(record.status, SETTLED | FAILED)
        && record.currency == entry.currency
        && (!setup.fees || record.status == FAILED || fees_agree(record, entry))
        && (!setup.ids || same_or_null(theirs.provider_id, ours.provider_id))
        && (setup.accounts.is_empty()
            || same_or_null(theirs.account, ours.account)
            || !names_account(ours.account, setup))
}

fn fees_agree(record: IndexRow<'_>, entry: IndexRow<'_>) -> bool {
    match (record.more.fee, entry.more.fee) {
        (Some(theirs), Some(ours)) => {
            theirs == ours || record.more.fee_currency.is_some_and(|of_fee| of_fee != record.currency)
        }
        _ => true,
    }
}

fn same_or_null(record: Option<&[u8]>, entry: Option<&[u8]>) -> bool {
    entry.is_none() || record == entry
}

fn names_account(entry: Option<&[u8]>, setup: &Setup) -> bool {
    std::str::from_utf8(entry.unwrap_or_default()).is_ok_and(|name| setup.accounts.contains(name))
}
