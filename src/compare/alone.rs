//! A record without an entry, an entry without a record: missing, surplus, not yet due, or no money at all. Pure.

use std::collections::{HashMap, HashSet};

use super::grace;
use super::group::{Piece, Rules};
use super::refunds::{Booked, Refunds};
use super::rows::{Entry, Record};
use super::scope::Place;
use crate::day::{BusinessDay, next_day};
use crate::money::Currency;
use crate::record::{Direction, Kind, LedgerStatus, Status, TransactionKind};

/// Settled rows already placed, to tell whether one more is the second of its identity.
pub struct Twins<'a> {
    refunds: &'a Refunds<'a>,
    rules: &'a Rules<'a>,
    accounts: HashSet<&'a str>,
    equal: HashSet<(&'a str, Currency, i64, TransactionKind)>,
    entries: HashSet<Identity<'a>>,
    /// Of the entries, those that are refunds.
    refunded: HashMap<Identity<'a>, Booked>,
}

type Identity<'a> = (Direction, &'a str, Option<&'a str>);

impl<'a> Twins<'a> {
    pub fn of_records(
        placed: impl Iterator<Item = &'a Record>,
        refunds: &'a Refunds<'a>,
        rules: &'a Rules<'a>,
    ) -> Self {
        let mut twins = Self::empty(refunds, rules);
        placed.for_each(|record| twins.add_record(record));
        twins
    }

    pub fn of_entries(placed: impl Iterator<Item = &'a Entry>, refunds: &'a Refunds<'a>, rules: &'a Rules<'a>) -> Self {
        let mut twins = Self::empty(refunds, rules);
        placed.for_each(|entry| twins.add_entry(entry, false));
        twins
    }

    fn empty(refunds: &'a Refunds<'a>, rules: &'a Rules<'a>) -> Self {
        Self {
            refunds,
            rules,
            accounts: HashSet::new(),
            equal: HashSet::new(),
            entries: HashSet::new(),
            refunded: HashMap::new(),
        }
    }

    pub fn add_record(&mut self, record: &'a Record) {
        if record.status == Status::Settled && record.kind != TransactionKind::Fee {
            self.accounts.insert(&record.account);
            self.equal
                .insert((&record.account, record.currency, record.amount, record.kind));
        }
    }

    /// `twin`: it is one itself.
    pub fn add_entry(&mut self, entry: &'a Entry, twin: bool) {
        if entry.status == LedgerStatus::Settled {
            self.entries.insert(self.identity(entry));
            // One booked twice is not given back twice.
            if self.refunds.is_one(entry) && !twin {
                self.refunded.entry(self.identity(entry)).or_default().add(entry);
            }
        }
    }

    /// Refunds of different amounts are partial refunds, not twins; without a ledger that could say otherwise only equal
    /// records count.
    pub fn has_record(&self, record: &Record) -> bool {
        let equal = || {
            self.equal
                .contains(&(record.account.as_str(), record.currency, record.amount, record.kind))
        };
        match (self.rules.ledger, record.kind == TransactionKind::Refund) {
            (true, false) => self.accounts.contains(record.account.as_str()),
            (true, true) | (false, false) => equal(),
            (false, true) => false,
        }
    }

    pub fn has_entry(&self, entry: &'a Entry) -> bool {
        let identity = self.identity(entry);
        if self.refunds.is_one(entry) {
            let booked = self.refunded.get(&identity);
            return booked.is_some_and(|booked| booked.is_twin(entry, self.refunds.payment(entry)));
        }
        !entry.reference.is_empty() && self.entries.contains(&identity)
    }

    fn identity(&self, entry: &'a Entry) -> Identity<'a> {
        (entry.direction, &entry.reference, self.account(entry))
    }

    fn account(&self, entry: &'a Entry) -> Option<&'a str> {
        entry.account.as_deref().filter(|a| self.rules.accounts.contains(*a))
    }
}

/// A record that found no entry. `twin`: its identity stands at the provider already.
pub fn record(position: usize, record: &Record, twin: bool, rules: &Rules<'_>) -> Piece {
    let differs = |kind| Piece::Differs {
        kind,
        records: vec![position],
        entries: Vec::new(),
        difference: Some(record.amount),
    };
    let pending = |becomes, day| Piece::Pending {
        record: Some(position),
        entry: None,
        becomes,
        day,
        unproved: false,
    };
    if record.is_unclassified() {
        return differs(Kind::Unclassified);
    }
    let place = rules.scope.place(record.born());
    match record.status {
        Status::Failed => Piece::NoMoney {
            record: Some(position),
            entry: None,
        },
        _ if place == Place::Before => Piece::NoMoney {
            record: Some(position),
            entry: None,
        },
        Status::Open | Status::Unknown => match grace::until(record.born(), rules.timing.stale, &rules.timing) {
            Some(day) => pending(Kind::StalePending, day),
            None => differs(Kind::StalePending),
        },
        Status::Settled if twin => differs(Kind::DuplicateInProvider),
        Status::Settled if !rules.ledger => Piece::Uncompared { record: position },
        Status::Settled => match grace::until(record.changed(), rules.timing.grace_ledger, &rules.timing) {
            Some(day) => pending(Kind::MissingInLedger, day),
            None if place == Place::After || rules.scope.may_be_booked(record) => {
                pending(Kind::MissingInLedger, next_day(rules.business_day))
            }
            None => differs(Kind::MissingInLedger),
        },
    }
}

/// An entry that found no record. `twin`: its identity is booked already.
pub fn entry(position: usize, entry: &Entry, twin: bool, rules: &Rules<'_>) -> Piece {
    let differs = |kind| Piece::Differs {
        kind,
        records: Vec::new(),
        entries: vec![position],
        difference: entry.amount.checked_neg(),
    };
    let pending = |becomes, day: BusinessDay, unproved| Piece::Pending {
        record: None,
        entry: Some(position),
        becomes,
        day,
        unproved,
    };
    let (kind, patience) = match entry.status {
        LedgerStatus::Unknown => return differs(Kind::Unclassified),
        LedgerStatus::Failed | LedgerStatus::Excluded => {
            return Piece::NoMoney {
                record: None,
                entry: Some(position),
            };
        }
        LedgerStatus::Open => (Kind::MissingInProvider, Some(rules.timing.stale)),
        LedgerStatus::Settled if twin => (Kind::DuplicateInLedger, None),
        LedgerStatus::Settled => (Kind::MissingInProvider, Some(rules.timing.grace_missing)),
    };
    let place = entry.booked_at.map_or(Place::Inside, |at| rules.scope.place(at));
    let tomorrow = next_day(rules.business_day);
    if place == Place::Before {
        return Piece::NoMoney {
            record: None,
            entry: Some(position),
        };
    }
    if place == Place::Inside && kind == Kind::MissingInProvider && rules.scope.keys().problem(entry).is_some() {
        return Piece::Differs {
            kind: Kind::NotCheckable,
            records: Vec::new(),
            entries: vec![position],
            difference: None,
        };
    }
    // An entry without a date has waited as long as anybody could wait.
    if let (Some(at), Some(patience)) = (entry.booked_at, patience)
        && let Some(day) = grace::until(at, patience, &rules.timing)
    {
        return pending(kind, day.max(tomorrow), false);
    }
    if place == Place::After || !rules.scope.proves(entry) {
        return pending(kind, tomorrow, true);
    }
    differs(kind)
}
