//! Several refunds of one payment: which entries are parts of what went back, and which are booked a second time. Pure.
//!
//! Refunds of different amounts are parts, on either side, as long as they do not come to more than the payment. Two of one
//! amount are one booked twice: nothing tells them apart but their numbers, and those a double booking has, too. Where the provider
//! states what went back, the sum of the parts is held against it.

use std::collections::{HashMap, HashSet};

use super::rows::{Entry, Record};
use crate::money::Currency;
use crate::record::{Direction, LedgerStatus, Status, TransactionKind};

/// What was paid under a reference and currency, for the references under which several entries of money out stand.
pub type Paid = HashMap<(String, Currency), i128>;

/// The references that [`Paid`] must know of for these rows.
pub fn references(records: &[Record], entries: &[Entry]) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    if records.iter().any(is_other_money) {
        return Vec::new();
    }
    for entry in entries.iter().filter(|e| may_be_one(e)) {
        *counts.entry(&entry.reference).or_default() += 1;
    }
    let several = counts.into_iter().filter(|(_, count)| *count > 1);
    several.map(|(reference, _)| reference.to_owned()).collect()
}

fn may_be_one(entry: &Entry) -> bool {
    entry.direction == Direction::Out && entry.status == LedgerStatus::Settled && !entry.reference.is_empty()
}

/// A payout, or money in: what stands beside it is no refund.
fn is_other_money(record: &Record) -> bool {
    record.direction == Direction::In || !matches!(record.kind, TransactionKind::Refund | TransactionKind::Fee)
}

/// Whether a group is about refunds, and of how much.
pub struct Refunds<'a> {
    paid: &'a Paid,
    /// Nothing but refunds stands on the provider's side, if anything.
    only: bool,
    /// Some do.
    any: bool,
    /// The payments that the provider's refunds name.
    payments: HashMap<Currency, i128>,
}

impl<'a> Refunds<'a> {
    pub fn of(records: &[Record], paid: &'a Paid) -> Self {
        let mut payments: HashMap<Currency, i128> = HashMap::new();
        let refunds = records.iter().filter(|r| r.kind == TransactionKind::Refund);
        for (currency, payment) in refunds.clone().filter_map(|r| Some((r.currency, r.payment?))) {
            let slot = payments.entry(currency).or_default();
            *slot = (*slot).max(i128::from(payment).abs());
        }
        Self {
            paid,
            only: !records.iter().any(is_other_money),
            any: refunds.count() > 0,
            payments,
        }
    }

    /// Whether an entry gives back money: the provider shows refunds there, or something was paid under its reference.
    pub fn is_one(&self, entry: &Entry) -> bool {
        may_be_one(entry) && self.only && (self.any || self.payment(entry).is_some())
    }

    /// How much was paid, where anybody says so.
    pub fn payment(&self, entry: &Entry) -> Option<i128> {
        let stated = self.payments.get(&entry.currency);
        // Only few references are asked for.
        let under_reference = || self.paid.get(&(entry.reference.clone(), entry.currency));
        match self.paid.is_empty() {
            true => stated.copied(),
            false => stated.or_else(under_reference).copied(),
        }
    }
}

/// The refunds of one payment that are booked so far.
#[derive(Default)]
pub struct Booked {
    amounts: HashSet<(Currency, i64)>,
    sums: HashMap<Currency, i128>,
}

impl Booked {
    pub fn add(&mut self, entry: &Entry) {
        self.amounts.insert((entry.currency, entry.amount));
        *self.sums.entry(entry.currency).or_default() += i128::from(entry.amount).abs();
    }

    /// Whether one more of them would be one too many.
    pub fn is_twin(&self, entry: &Entry, payment: Option<i128>) -> bool {
        let sum = self.sums.get(&entry.currency).copied().unwrap_or_default() + i128::from(entry.amount).abs();
        self.amounts.contains(&(entry.currency, entry.amount)) || payment.is_some_and(|payment| sum > payment)
    }
}

/// What refunds under one key come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sum {
    /// Nothing that a sum could say.
    Nothing,
    /// The parts among the entries agree with the refund; provider − ledger.
    Agrees { entries: Vec<usize>, difference: i64 },
    /// They come to something else.
    Differs { entries: Vec<usize>, difference: i64 },
}

/// Holds one refund of the provider against the entries that were booked about its payment, in order of time.
pub fn sum<'e>(record: &Record, booked: &[(usize, &'e Entry)], tolerance: i64) -> Sum {
    let all: Vec<(usize, &'e Entry)> = booked
        .iter()
        .copied()
        .filter(|(_, e)| may_be_one(e) && e.currency == record.currency)
        .collect();
    let mut seen = HashSet::new();
    let parts: Vec<(usize, &'e Entry)> = all.iter().copied().filter(|(_, e)| seen.insert(e.amount)).collect();
    let positions = |of: &[(usize, &Entry)]| of.iter().map(|(position, _)| *position).collect();
    let rows = |of: &[(usize, &'e Entry)]| of.iter().map(|(_, entry)| *entry).collect::<Vec<&'e Entry>>();
    if let Some(payment) = record.part_of() {
        return part(payment, &parts);
    }
    for some in [&all, &parts] {
        if let Some(difference) = agree(&[record], &rows(some), tolerance) {
            return Sum::Agrees {
                entries: positions(some),
                difference,
            };
        }
    }
    let several = parts.len() > 1 && record.status == Status::Settled;
    match difference(&[record], &rows(&parts)).filter(|_| several) {
        Some(difference) => Sum::Differs {
            entries: positions(&parts),
            difference,
        },
        None => Sum::Nothing,
    }
}

/// How much of a payment went back only the ledger says, but never all of it.
fn part(payment: i64, parts: &[(usize, &Entry)]) -> Sum {
    let (mut entries, mut sum) = (Vec::new(), 0);
    for (position, entry) in parts {
        let with = sum + i128::from(entry.amount).abs();
        if with < i128::from(payment).abs() {
            sum = with;
            entries.push(*position);
        }
    }
    match entries.is_empty() {
        true => Sum::Nothing,
        false => Sum::Agrees { entries, difference: 0 },
    }
}

/// Provider − ledger where settled refunds and the entries about them are equal in sum, or within tolerance; also in their
/// fees, where both sides state all of them.
pub fn agree(records: &[&Record], entries: &[&Entry], tolerance: i64) -> Option<i64> {
    let first = records.first()?;
    let refund =
        |r: &&Record| r.kind == TransactionKind::Refund && r.status == Status::Settled && r.currency == first.currency;
    let booked = |e: &&Entry| may_be_one(e) && e.currency == first.currency;
    if !records.iter().all(refund) || !entries.iter().all(booked) {
        return None;
    }
    let fees = |fees: Vec<Option<i64>>| {
        let all: Option<Vec<i64>> = fees.into_iter().collect();
        all.map(|fees| fees.into_iter().map(i128::from).sum::<i128>())
    };
    let theirs = fees(records.iter().map(|r| r.fee).collect());
    let ours = fees(entries.iter().map(|e| e.fee).collect());
    if theirs.zip(ours).is_some_and(|(theirs, ours)| theirs != ours) {
        return None;
    }
    difference(records, entries).filter(|d| d.saturating_abs() <= tolerance)
}

fn difference(records: &[&Record], entries: &[&Entry]) -> Option<i64> {
    let theirs: i128 = records.iter().map(|r| i128::from(r.amount)).sum();
    let ours: i128 = entries.iter().map(|e| i128::from(e.amount)).sum();
    i64::try_from(theirs - ours).ok()
}
