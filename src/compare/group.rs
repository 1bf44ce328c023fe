//! The rich rules: all records and entries of one reference in one direction, and who belongs to whom. Pure.
//!
//! A record that was found by asking about an entry's key belongs to that entry, unless the entry names another id. Entries that
//! carry a provider_id were promised to that record and never fall back to the reference. Then equal rows cancel, then equal
//! amounts, then one against one; what amounts cannot decide is ambiguous. Failed rows are no money: they take part only when
//! nothing alive is left on their side. Every row ends in exactly one [`Piece`].

use std::collections::{BTreeMap, HashMap};

use super::alone::{self, Twins};
use super::pair::{self, Judged, Tolerance};
use super::refunds::{self, Booked, Paid, Refunds, Sum};
use super::rows::{Entry, Record};
use super::scope::Scope;
use crate::compare::grace::Timing;
use crate::day::BusinessDay;
use crate::money::Currency;
use crate::record::{Kind, LedgerStatus, Status, TransactionKind};

/// What the rules count with.
pub struct Rules<'a> {
    pub timing: Timing,
    pub tolerance: Tolerance,
    pub scope: Scope,
    pub business_day: BusinessDay,
    /// False: the job has no ledger; only what records alone can show is looked at.
    pub ledger: bool,
    /// The accounts that both sides speak of, when there are several.
    pub accounts: &'a std::collections::BTreeSet<String>,
}

/// Where rows of a group ended. Numbers are positions in the group's records and entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Matched {
        record: usize,
        entry: usize,
        difference: i64,
    },
    /// Refunds of one payment that agree in their sum: one on a side, all of the other.
    InSum {
        records: Vec<usize>,
        entries: Vec<usize>,
        difference: i64,
    },
    Pending {
        record: Option<usize>,
        entry: Option<usize>,
        becomes: Kind,
        day: BusinessDay,
        unproved: bool,
    },
    /// No part of the money flow, or outside the span of the books.
    NoMoney {
        record: Option<usize>,
        entry: Option<usize>,
    },
    /// A settled record of a job without a ledger.
    Uncompared { record: usize },
    Differs {
        kind: Kind,
        records: Vec<usize>,
        entries: Vec<usize>,
        difference: Option<i64>,
    },
}

/// Sorts a group into pieces. Pairs come first, then rows that stand alone, both in order of time.
pub fn solve(records: &[Record], entries: &[Entry], paid: &Paid, rules: &Rules<'_>) -> Vec<Piece> {
    let refunds = Refunds::of(records, paid);
    let mut table = Table::new(records, entries, &refunds, rules);
    table.by_subject();
    table.by_id();
    for part in table.parts() {
        table.by_amount(part);
    }
    table.fees();
    table.singles();
    table.pieces
}

/// Rows still on the table, and what has been decided.
struct Table<'a> {
    records: &'a [Record],
    entries: &'a [Entry],
    refunds: &'a Refunds<'a>,
    rules: &'a Rules<'a>,
    /// Positions in order of time, so that "first" means the same every night.
    record_order: Vec<usize>,
    entry_order: Vec<usize>,
    record_free: Vec<bool>,
    entry_free: Vec<bool>,
    /// Entries that named a record of the group by its id, in the same direction, and came too late.
    surplus: Vec<bool>,
    pieces: Vec<Piece>,
}

/// Free rows that may meet each other.
struct Part {
    records: Vec<usize>,
    entries: Vec<usize>,
}

impl<'a> Table<'a> {
    fn new(records: &'a [Record], entries: &'a [Entry], refunds: &'a Refunds<'a>, rules: &'a Rules<'a>) -> Self {
        let mut record_order: Vec<usize> = (0..records.len()).collect();
        record_order.sort_by_key(|&i| (records[i].born(), &records[i].provider_id, records[i].id));
        let mut entry_order: Vec<usize> = (0..entries.len()).collect();
        entry_order.sort_by_key(|&i| (entries[i].booked_at, &entries[i].source, entries[i].source_line));
        Self {
            records,
            entries,
            refunds,
            rules,
            record_order,
            entry_order,
            record_free: vec![true; records.len()],
            entry_free: vec![true; entries.len()],
            surplus: vec![false; entries.len()],
            pieces: Vec::new(),
        }
    }

    /// Takes a pair from the table.
    fn pair(&mut self, record: usize, entry: usize) {
        self.record_free[record] = false;
        self.entry_free[entry] = false;
        let (r, e) = (&self.records[record], &self.entries[entry]);
        let judged = if r.kind == TransactionKind::Fee && r.currency == e.currency && r.amount == e.amount {
            Judged::Matched { difference: 0 }
        } else {
            pair::judge(r, e, &self.rules.timing, &self.rules.tolerance)
        };
        self.pieces.push(match judged {
            Judged::Matched { difference } => Piece::Matched {
                record,
                entry,
                difference,
            },
            Judged::Pending { becomes, day } => Piece::Pending {
                record: Some(record),
                entry: Some(entry),
                becomes,
                day,
                unproved: false,
            },
            Judged::Differs { kind, difference } => Piece::Differs {
                kind,
                records: vec![record],
                entries: vec![entry],
                difference,
            },
        });
    }

    /// Records that were found by asking about an entry's key.
    fn by_subject(&mut self) {
        let keys = self.rules.scope.keys();
        if keys.feeds().is_empty() {
            return;
        }
        for first in self.entry_order.clone() {
            if !self.entry_free[first] || self.surplus[first] {
                continue;
            }
            let mine = |r: usize| keys.belong(&self.records[r], &self.entries[first]);
            let found: Vec<usize> = self.record_order.iter().copied().filter(|&r| mine(r)).collect();
            let Some(&one) = found.first() else { continue };
            let records = found.into_iter().filter(|&r| self.record_free[r]).collect();
            let shares = |e: usize| self.entry_free[e] && keys.belong(&self.records[one], &self.entries[e]);
            let entries: Vec<usize> = self.entry_order.iter().copied().filter(|&e| shares(e)).collect();
            let claimants = entries.clone();
            let mut part = Part { records, entries };
            self.equal(&mut part, true);
            self.equal(&mut part, false);
            self.same_amount(&mut part, |_| true, |_| true);
            self.parts_of_refund(&mut part);
            for (record, entry) in part.records.into_iter().zip(part.entries) {
                self.pair(record, entry);
            }
            let (mut left, placed): (Vec<_>, Vec<_>) = claimants.into_iter().partition(|&e| self.entry_free[e]);
            let mut booked = Booked::default();
            let entries = self.entries;
            placed.into_iter().for_each(|e| booked.add(&entries[e]));
            // One more part of a refund is for the provider to show; anything else came too late.
            left.retain(|&e| {
                let entry = &entries[e];
                let is_part = self.refunds.is_one(entry) && !booked.is_twin(entry, self.refunds.payment(entry));
                if is_part {
                    booked.add(entry);
                }
                !is_part
            });
            left.into_iter().for_each(|e| self.surplus[e] = true);
        }
    }

    /// Holds the one refund of a payment against the entries about it, where the ledger books it in parts.
    fn parts_of_refund(&mut self, part: &mut Part) {
        let &[record] = &part.records[..] else { return };
        if self.records[record].kind != TransactionKind::Refund || part.entries.len() < 2 {
            return;
        }
        let booked: Vec<(usize, &Entry)> = part.entries.iter().map(|&e| (e, &self.entries[e])).collect();
        let tolerance = self.rules.tolerance.minor(self.records[record].currency);
        let piece = match refunds::sum(&self.records[record], &booked, tolerance) {
            Sum::Nothing => return,
            Sum::Agrees { entries, difference } => Piece::InSum {
                records: vec![record],
                entries,
                difference,
            },
            Sum::Differs { entries, difference } => Piece::Differs {
                kind: Kind::AmountMismatch,
                records: vec![record],
                entries,
                difference: Some(difference),
            },
        };
        self.settle(part, piece);
    }

    /// Takes the rows of a piece from the table, and from their part.
    fn settle(&mut self, part: &mut Part, piece: Piece) {
        if let Piece::InSum { records, entries, .. } | Piece::Differs { records, entries, .. } = &piece {
            records.iter().for_each(|&r| self.record_free[r] = false);
            entries.iter().for_each(|&e| self.entry_free[e] = false);
        }
        self.pieces.push(piece);
        part.records.retain(|&r| self.record_free[r]);
        part.entries.retain(|&e| self.entry_free[e]);
    }

    /// Entries that name a record of the group by its id.
    fn by_id(&mut self) {
        let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for &i in &self.entry_order {
            if let Some(id) = self.entries[i].provider_id.as_ref().filter(|_| self.entry_free[i]) {
                named.entry(id).or_default().push(i);
            }
        }
        if named.is_empty() {
            return;
        }
        let mut bearers: HashMap<&str, Vec<usize>> = HashMap::new();
        for &i in &self.record_order {
            bearers.entry(&self.records[i].provider_id).or_default().push(i);
        }
        for (id, claimants) in named {
            let Some(bearers) = bearers.get(id) else { continue };
            // The same direction has the older right; the other one is a direction_mismatch.
            for crossing in [false, true] {
                let fits = |e: usize, r: usize| (self.entries[e].direction != self.records[r].direction) == crossing;
                let records: Vec<usize> = bearers.iter().copied().filter(|&r| self.record_free[r]).collect();
                let entries: Vec<usize> = claimants
                    .iter()
                    .copied()
                    .filter(|&e| self.entry_free[e] && bearers.iter().any(|&r| fits(e, r)))
                    .collect();
                let mut part = Part { records, entries };
                self.equal(&mut part, true);
                self.equal(&mut part, false);
                self.same_amount(&mut part, |_| true, |_| true);
                for (record, entry) in part.records.into_iter().zip(part.entries) {
                    self.pair(record, entry);
                }
            }
            for &entry in &claimants {
                let same_way = bearers
                    .iter()
                    .any(|&r| self.records[r].direction == self.entries[entry].direction);
                self.surplus[entry] = self.entry_free[entry] && same_way;
            }
        }
    }

    /// Free rows that the reference may bring together; accounts are kept apart where every entry names one of them.
    fn parts(&self) -> Vec<Part> {
        let records: Vec<usize> = self
            .record_order
            .iter()
            .copied()
            .filter(|&r| self.record_free[r] && self.records[r].kind != TransactionKind::Fee)
            .collect();
        let entries: Vec<usize> = self
            .entry_order
            .iter()
            .copied()
            .filter(|&e| self.entry_free[e] && self.entries[e].provider_id.is_none())
            .collect();
        let named = |e: &usize| {
            self.entries[*e]
                .account
                .as_ref()
                .filter(|a| self.rules.accounts.contains(*a))
        };
        if self.rules.accounts.is_empty() || !entries.iter().all(|e| named(e).is_some()) {
            return vec![Part { records, entries }];
        }
        let mut parts: BTreeMap<&str, Part> = BTreeMap::new();
        let empty = || Part {
            records: Vec::new(),
            entries: Vec::new(),
        };
        for r in records {
            parts
                .entry(&self.records[r].account)
                .or_insert_with(empty)
                .records
                .push(r);
        }
        for e in entries {
            let account = named(&e).map_or("", String::as_str);
            parts.entry(account).or_insert_with(empty).entries.push(e);
        }
        parts.into_values().collect()
    }

    /// The tiers, best first.
    fn by_amount(&mut self, mut part: Part) {
        self.equal(&mut part, true);
        self.equal(&mut part, false);
        let (records, entries) = (self.records, self.entries);
        let record_lives = |r: usize| records[r].status != Status::Failed;
        let entry_lives = |e: usize| entries[e].status != LedgerStatus::Failed;
        self.same_amount(&mut part, record_lives, entry_lives);
        self.within_tolerance(&mut part);
        let (live_records, dead_records): (Vec<_>, Vec<_>) = part.records.iter().partition(|&&r| record_lives(r));
        let (live_entries, dead_entries): (Vec<_>, Vec<_>) = part.entries.iter().partition(|&&e| entry_lives(e));
        match (live_records.len(), live_entries.len()) {
            (0, 0) => {
                // Failed attempts of different amounts; more than one on a side are no money and no question.
                if let ([record], [entry]) = (&part.records[..], &part.entries[..]) {
                    self.pair(*record, *entry);
                }
            }
            (0, _) => {
                // Booked, and the provider shows nothing but failed attempts.
                let mut rest = Part {
                    records: dead_records,
                    entries: live_entries,
                };
                self.same_amount(&mut rest, |_| true, |_| true);
                self.one_against_one(rest);
            }
            (_, 0) => {
                let mut rest = Part {
                    records: live_records,
                    entries: dead_entries,
                };
                self.same_amount(&mut rest, |_| true, |_| true);
                self.one_against_one(rest);
            }
            _ => self.one_against_one(Part {
                records: live_records,
                entries: live_entries,
            }),
        }
    }

    /// Equal in currency, amount and status; in the first round in the fee, too.
    fn equal(&mut self, part: &mut Part, with_fee: bool) {
        type Key = (Currency, i64, &'static str, Option<i64>);
        let fee = |fee: Option<i64>| if with_fee { fee } else { None };
        let entry_key = |e: &Entry| -> Key { (e.currency, e.amount, e.status.as_str(), fee(e.fee)) };
        let record_key = |r: &Record| -> Key { (r.currency, r.amount, r.status.as_str(), fee(r.fee)) };
        self.cancel(part, |_| true, |_| true, record_key, entry_key);
    }

    /// Equal in currency and amount, whatever the status, among the rows that `alive` admits.
    fn same_amount(&mut self, part: &mut Part, records: impl Fn(usize) -> bool, entries: impl Fn(usize) -> bool) {
        self.cancel(
            part,
            records,
            entries,
            |r| (r.currency, r.amount),
            |e| (e.currency, e.amount),
        );
    }

    /// Pairs rows with the same key, first with first, and removes them from the part.
    fn cancel<K: std::hash::Hash + Eq>(
        &mut self,
        part: &mut Part,
        admits_record: impl Fn(usize) -> bool,
        admits_entry: impl Fn(usize) -> bool,
        record_key: impl Fn(&Record) -> K,
        entry_key: impl Fn(&Entry) -> K,
    ) {
        let mut waiting: HashMap<K, std::collections::VecDeque<usize>> = HashMap::new();
        for &r in part.records.iter().filter(|&&r| admits_record(r)) {
            waiting.entry(record_key(&self.records[r])).or_default().push_back(r);
        }
        for &e in part.entries.iter().filter(|&&e| admits_entry(e)) {
            if let Some(r) = waiting
                .get_mut(&entry_key(&self.entries[e]))
                .and_then(|queue| queue.pop_front())
            {
                self.pair(r, e);
            }
        }
        part.records.retain(|&r| self.record_free[r]);
        part.entries.retain(|&e| self.entry_free[e]);
    }

    /// Pairs of the living where each is the only one within tolerance of the other.
    fn within_tolerance(&mut self, part: &mut Part) {
        let near = |table: &Self, part: &Part| -> Vec<(usize, usize)> {
            let mut sorted: Vec<(Currency, i64, usize)> = part
                .entries
                .iter()
                .filter(|&&e| table.entries[e].status != LedgerStatus::Failed)
                .map(|&e| (table.entries[e].currency, table.entries[e].amount, e))
                .collect();
            sorted.sort_unstable();
            let mut edges = Vec::new();
            for &r in part
                .records
                .iter()
                .filter(|&&r| table.records[r].status != Status::Failed)
            {
                let record = &table.records[r];
                let tolerance = table.rules.tolerance.minor(record.currency);
                let (low, high) = (
                    record.amount.saturating_sub(tolerance),
                    record.amount.saturating_add(tolerance),
                );
                let from = sorted.partition_point(|&(c, a, _)| (c, a) < (record.currency, low));
                // Two are enough to know that it is not the only one.
                edges.extend(
                    sorted[from..]
                        .iter()
                        .take_while(|&&(c, a, _)| c == record.currency && a <= high)
                        .take(2)
                        .map(|s| (r, s.2)),
                );
            }
            edges
        };
        let edges = near(self, part);
        let mut by_record: HashMap<usize, usize> = HashMap::new();
        let mut by_entry: HashMap<usize, usize> = HashMap::new();
        for &(r, e) in &edges {
            *by_record.entry(r).or_default() += 1;
            *by_entry.entry(e).or_default() += 1;
        }
        for (r, e) in edges {
            if by_record[&r] == 1 && by_entry[&e] == 1 {
                self.pair(r, e);
            }
        }
        part.records.retain(|&r| self.record_free[r]);
        part.entries.retain(|&e| self.entry_free[e]);
    }

    /// One left on each side belong together; more cannot be told apart by their amounts.
    fn one_against_one(&mut self, mut part: Part) {
        let piece = match (&part.records[..], &part.entries[..]) {
            ([], _) | (_, []) => return,
            ([record], [entry]) => return self.pair(*record, *entry),
            (records, entries) => match self.sum_of_refunds(&part) {
                Some(difference) => Piece::InSum {
                    records: records.to_vec(),
                    entries: entries.to_vec(),
                    difference,
                },
                None => Piece::Differs {
                    kind: Kind::Ambiguous,
                    records: records.to_vec(),
                    entries: entries.to_vec(),
                    difference: self.total(&part),
                },
            },
        };
        self.settle(&mut part, piece);
    }

    /// Provider − ledger where one refund is booked in parts, or several as one, and the sums agree.
    fn sum_of_refunds(&self, part: &Part) -> Option<i64> {
        let records: Vec<&Record> = part.records.iter().map(|&r| &self.records[r]).collect();
        let entries: Vec<&Entry> = part.entries.iter().map(|&e| &self.entries[e]).collect();
        let tolerance = self.rules.tolerance.minor(records.first()?.currency);
        let one = records.len() == 1 || entries.len() == 1;
        one.then(|| refunds::agree(&records, &entries, tolerance)).flatten()
    }

    /// Provider − ledger over several rows; None where they are of several currencies.
    fn total(&self, part: &Part) -> Option<i64> {
        let records = part
            .records
            .iter()
            .map(|&r| (self.records[r].currency, i128::from(self.records[r].amount)));
        let entries = part
            .entries
            .iter()
            .map(|&e| (self.entries[e].currency, -i128::from(self.entries[e].amount)));
        let all: Vec<_> = records.chain(entries).collect();
        let one = all.windows(2).all(|w| w[0].0 == w[1].0);
        one.then(|| all.iter().map(|a| a.1).sum::<i128>())
            .and_then(|sum| i64::try_from(sum).ok())
    }

    /// A fee record needs no entry, but an entry that books exactly it has found its record.
    fn fees(&mut self) {
        let free = |table: &Self, r: &usize| table.record_free[*r] && table.records[*r].kind == TransactionKind::Fee;
        let records: Vec<usize> = self.record_order.iter().copied().filter(|r| free(self, r)).collect();
        if records.is_empty() {
            return;
        }
        let entries = self
            .entry_order
            .iter()
            .copied()
            .filter(|&e| {
                self.entry_free[e]
                    && self.entries[e].provider_id.is_none()
                    && self.entries[e].status == LedgerStatus::Settled
            })
            .collect();
        self.same_amount(&mut Part { records, entries }, |_| true, |_| true);
    }

    /// Rows that found nobody.
    fn singles(&mut self) {
        let taken = (0..self.records.len())
            .filter(|&r| !self.record_free[r])
            .map(|r| &self.records[r]);
        let mut twins = Twins::of_records(taken, self.refunds, self.rules);
        for &r in &self.record_order {
            let record = &self.records[r];
            if self.record_free[r] && record.kind != TransactionKind::Fee {
                self.pieces
                    .push(alone::record(r, record, twins.has_record(record), self.rules));
                twins.add_record(record);
            }
        }
        self.record_free.fill(false);
        let taken = (0..self.entries.len())
            .filter(|&e| !self.entry_free[e])
            .map(|e| &self.entries[e]);
        let mut twins = Twins::of_entries(taken, self.refunds, self.rules);
        for &e in &self.entry_order {
            let entry = &self.entries[e];
            if self.entry_free[e] {
                // An id that the provider does not know is missing there, whatever stands beside it.
                let lost = entry.provider_id.is_some() && !self.surplus[e];
                let twin = !lost && (self.surplus[e] || twins.has_entry(entry));
                self.pieces.push(alone::entry(e, entry, twin, self.rules));
                twins.add_entry(entry, twin);
            }
        }
        self.entry_free.fill(false);
    }
}
