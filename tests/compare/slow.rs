//! The comparison a second time, slow and obvious: every row against every other, written from `INTERFACE.md` sections 5 and 8.
//! It shares no code with the program.

use chrono::TimeDelta;
use reconciled::day::{Instant, day_of, start_of_day};

use super::world::{Ent, Rec, Seen, ZONE, as_of, day};

/// What a night must come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub open: Vec<Seen>,
    pub matched: u64,
    pub pending: u64,
    pub excluded: u64,
}

/// A stretch that was not read to its end.
pub type Unread = Option<(Instant, Instant)>;

pub struct Slow<'a> {
    records: &'a [Rec],
    entries: &'a [Ent],
    tolerance: i64,
    suggest_days: i64,
    unread: Unread,
    record_done: Vec<bool>,
    entry_done: Vec<bool>,
    /// Settled rows that count as the first of their identity.
    record_first: Vec<bool>,
    entry_first: Vec<bool>,
    /// Of them, those that are not booked a second time.
    entry_counts: Vec<bool>,
    surplus: Vec<bool>,
    truth: Truth,
    /// Missing or about to be: record or entry, and whether its grace is over.
    lonely_records: Vec<(usize, bool)>,
    lonely_entries: Vec<(usize, bool)>,
}

fn hours(n: i64) -> TimeDelta {
    TimeDelta::hours(n)
}

pub fn truth(records: &[Rec], entries: &[Ent], tolerance: i64, suggest_days: i64, unread: Unread) -> Truth {
    let mut records = records.to_vec();
    records.sort_by_key(|r| (r.at(), r.id.clone()));
    let mut entries = entries.to_vec();
    entries.sort_by_key(|e| (e.at(), e.line));
    let mut slow = Slow {
        records: &records,
        entries: &entries,
        tolerance,
        suggest_days,
        unread,
        record_done: records.iter().map(|r| r.vanished).collect(),
        entry_done: vec![false; entries.len()],
        record_first: vec![false; records.len()],
        entry_first: vec![false; entries.len()],
        entry_counts: vec![false; entries.len()],
        surplus: vec![false; entries.len()],
        truth: Truth::default(),
        lonely_records: Vec::new(),
        lonely_entries: Vec::new(),
    };
    slow.changed();
    slow.excluded();
    slow.by_id();
    slow.by_reference();
    slow.fees();
    slow.alone();
    slow.vanished();
    slow.suggested();
    slow.truth.open.sort();
    slow.truth
}

impl Slow<'_> {
    fn say(&mut self, kind: &str, r: Option<usize>, e: Option<usize>, difference: Option<i64>) {
        let provider_id = r
            .map(|r| self.records[r].id.clone())
            .or_else(|| e.and_then(|e| self.entries[e].provider_id.clone()));
        let ledger_id = e.map(|e| self.entries[e].id.clone());
        self.truth.open.push(Seen {
            kind: kind.into(),
            provider_id,
            ledger_id,
            difference,
        });
    }

    /// Each with the entry that lost it: the one that names it, else one of its amount, else the only one.
    fn vanished(&mut self) {
        let gone: Vec<usize> = (0..self.records.len()).filter(|&r| self.records[r].vanished).collect();
        let mut with: Vec<Option<usize>> = vec![None; gone.len()];
        for round in 0..3 {
            for g in 0..gone.len() {
                let rivals = (0..gone.len()).filter(|&o| {
                    let (one, other) = (&self.records[gone[g]], &self.records[gone[o]]);
                    with[o].is_none() && one.direction == other.direction && one.reference == other.reference
                });
                let alone = rivals.count() == 1;
                let record = &self.records[gone[g]];
                let free = |e: &usize| !with.contains(&Some(*e));
                let lonely = || self.lonely_entries.iter().map(|l| l.0).filter(free);
                let by_reference = |e: &usize| {
                    let entry = &self.entries[*e];
                    entry.provider_id.is_none()
                        && entry.direction == record.direction
                        && Some(&entry.reference) == record.reference.as_ref()
                };
                let found = match round {
                    _ if with[g].is_some() => continue,
                    0 => lonely()
                        .filter(|&e| self.entries[e].provider_id.as_ref() == Some(&record.id))
                        .min_by_key(|&e| {
                            let entry = &self.entries[e];
                            (entry.direction != record.direction, entry.amount != record.amount, e)
                        }),
                    1 => lonely().filter(by_reference).find(|&e| {
                        self.same_amount(gone[g], e) && (record.kind != "fee" || self.entries[e].status == "settled")
                    }),
                    _ => {
                        let all: Vec<usize> = lonely().filter(by_reference).collect();
                        (alone && all.len() == 1 && record.kind != "fee").then(|| all[0])
                    }
                };
                with[g] = found;
            }
        }
        for (r, e) in gone.into_iter().zip(with) {
            let record = &self.records[r];
            let difference = match e.map(|e| &self.entries[e]) {
                None => Some(record.amount),
                Some(entry) => (entry.currency == record.currency).then_some(record.amount - entry.amount),
            };
            if let Some(at) = self.lonely_entries.iter().position(|l| Some(l.0) == e) {
                let (_, over) = self.lonely_entries.remove(at);
                self.truth.pending -= u64::from(!over);
            }
            self.say("vanished", Some(r), e, difference);
        }
    }

    /// Settled for good once, failed now, and the ledger does not know it.
    fn changed(&mut self) {
        for r in 0..self.records.len() {
            let record = &self.records[r];
            let booked = self.entries.iter().any(|e| {
                let by_reference = e.direction == record.direction && Some(&e.reference) == record.reference.as_ref();
                e.status != "excluded" && (by_reference || e.provider_id.as_ref() == Some(&record.id))
            });
            if record.was_settled && !booked {
                self.say("changed_after_final", Some(r), None, Some(0));
            }
        }
    }

    fn excluded(&mut self) {
        for e in 0..self.entries.len() {
            if self.entries[e].status == "excluded" {
                self.entry_done[e] = true;
                self.truth.excluded += 1;
            }
        }
    }

    fn equal(&self, r: usize, e: usize) -> bool {
        let (r, e) = (&self.records[r], &self.entries[e]);
        r.currency == e.currency && r.amount == e.amount && r.status == e.status
    }

    fn same_amount(&self, r: usize, e: usize) -> bool {
        let (r, e) = (&self.records[r], &self.entries[e]);
        r.currency == e.currency && r.amount == e.amount
    }

    fn by_id(&mut self) {
        for r in 0..self.records.len() {
            if self.record_done[r] {
                continue;
            }
            let named: Vec<usize> = (0..self.entries.len())
                .filter(|&e| !self.entry_done[e] && self.entries[e].provider_id.as_ref() == Some(&self.records[r].id))
                .collect();
            let record = &self.records[r];
            let best = named.iter().copied().min_by_key(|&e| {
                let entry = &self.entries[e];
                (
                    entry.direction != record.direction,
                    !(self.equal(r, e) && entry.fee == record.fee),
                    !self.equal(r, e),
                    !self.same_amount(r, e),
                    e,
                )
            });
            if let Some(e) = best {
                self.pair(r, e);
            }
            for &e in &named {
                self.surplus[e] = !self.entry_done[e] && self.entries[e].direction == self.records[r].direction;
            }
        }
    }

    fn meet(&self, r: usize, e: usize) -> bool {
        let (record, entry) = (&self.records[r], &self.entries[e]);
        !self.record_done[r]
            && !self.entry_done[e]
            && entry.provider_id.is_none()
            && record.direction == entry.direction
            && record.reference.as_ref() == Some(&entry.reference)
    }

    /// Pairs whatever fits, entry by entry, first record first.
    fn pair_all(&mut self, fits: impl Fn(&Self, usize, usize) -> bool) {
        for e in 0..self.entries.len() {
            for r in 0..self.records.len() {
                if self.meet(r, e) && self.records[r].kind != "fee" && fits(self, r, e) {
                    self.pair(r, e);
                }
            }
        }
    }

    fn by_reference(&mut self) {
        self.pair_all(|s, r, e| s.equal(r, e) && s.records[r].fee == s.entries[e].fee);
        self.pair_all(|s, r, e| s.equal(r, e));
        let alive = |s: &Self, r: usize, e: usize| s.records[r].status != "failed" && s.entries[e].status != "failed";
        self.pair_all(|s, r, e| alive(s, r, e) && s.same_amount(r, e));
        self.near();
        let mut keys: Vec<(&'static str, String)> = self
            .entries
            .iter()
            .map(|e| (e.direction, e.reference.clone()))
            .collect();
        keys.sort();
        keys.dedup();
        for (direction, reference) in keys {
            self.leftovers(direction, &reference);
        }
    }

    /// The only one within tolerance, seen from both sides.
    fn near(&mut self) {
        let candidates = |s: &Self, r: usize, e: usize| {
            let (record, entry) = (&s.records[r], &s.entries[e]);
            s.meet(r, e)
                && record.kind != "fee"
                && record.status != "failed"
                && entry.status != "failed"
                && record.currency == entry.currency
                && (record.amount - entry.amount).abs() <= s.tolerance
        };
        let mut pairs = Vec::new();
        for r in 0..self.records.len() {
            let mine: Vec<usize> = (0..self.entries.len()).filter(|&e| candidates(self, r, e)).collect();
            if let [e] = mine[..]
                && (0..self.records.len()).filter(|&o| candidates(self, o, e)).count() == 1
            {
                pairs.push((r, e));
            }
        }
        for (r, e) in pairs {
            self.pair(r, e);
        }
    }

    fn leftovers(&mut self, direction: &str, reference: &str) {
        let records: Vec<usize> = (0..self.records.len())
            .filter(|&r| {
                let record = &self.records[r];
                !self.record_done[r]
                    && record.kind != "fee"
                    && record.direction == direction
                    && record.reference.as_deref() == Some(reference)
            })
            .collect();
        let entries: Vec<usize> = (0..self.entries.len())
            .filter(|&e| {
                let entry = &self.entries[e];
                !self.entry_done[e]
                    && entry.provider_id.is_none()
                    && entry.direction == direction
                    && entry.reference == reference
            })
            .collect();
        let live = |s: &Self, of: &[usize], records: bool| -> Vec<usize> {
            let status = |i: usize| {
                if records {
                    s.records[i].status
                } else {
                    s.entries[i].status
                }
            };
            of.iter().copied().filter(|&i| status(i) != "failed").collect()
        };
        let (mut live_r, mut live_e) = (live(self, &records, true), live(self, &entries, false));
        if live_r.is_empty() && live_e.is_empty() {
            // Failed attempts of different amounts.
            if let ([r], [e]) = (&records[..], &entries[..]) {
                self.pair(*r, *e);
            }
            return;
        }
        // Where only one side has something alive, it may meet what failed on the other.
        if live_r.is_empty() {
            live_r = records;
        } else if live_e.is_empty() {
            live_e = entries;
        }
        for &e in &live_e {
            for &r in &live_r {
                if self.meet(r, e) && self.same_amount(r, e) {
                    self.pair(r, e);
                }
            }
        }
        live_r.retain(|&r| !self.record_done[r]);
        live_e.retain(|&e| !self.entry_done[e]);
        match (&live_r[..], &live_e[..]) {
            ([], _) | (_, []) => {}
            ([r], [e]) => self.pair(*r, *e),
            (rs, es) if self.agree_in_sum(rs, es) => {
                self.truth.matched += rs.len().max(es.len()) as u64;
                for &r in rs {
                    self.record_done[r] = true;
                    self.record_first[r] = true;
                }
                for &e in es {
                    self.entry_done[e] = true;
                    self.entry_first[e] = true;
                    self.entry_counts[e] = true;
                }
            }
            (rs, es) => {
                let (r, e) = (rs[0], es[0]);
                let mut currencies: Vec<&str> = rs.iter().map(|&r| self.records[r].currency).collect();
                currencies.extend(es.iter().map(|&e| self.entries[e].currency));
                currencies.sort_unstable();
                currencies.dedup();
                let sum: i64 = rs.iter().map(|&r| self.records[r].amount).sum::<i64>()
                    - es.iter().map(|&e| self.entries[e].amount).sum::<i64>();
                rs.iter().for_each(|&r| self.record_done[r] = true);
                es.iter().for_each(|&e| self.entry_done[e] = true);
                self.say("ambiguous", Some(r), Some(e), (currencies.len() == 1).then_some(sum));
            }
        }
    }

    /// One refund that is booked in parts, or parts that are booked as one.
    fn agree_in_sum(&self, rs: &[usize], es: &[usize]) -> bool {
        let currency = self.records[rs[0]].currency;
        let refunds = rs.iter().all(|&r| {
            let record = &self.records[r];
            record.kind == "refund" && record.status == "settled" && record.currency == currency
        });
        let booked = es.iter().all(|&e| {
            let entry = &self.entries[e];
            entry.direction == "out" && entry.status == "settled" && entry.currency == currency
        });
        let theirs: i64 = rs.iter().map(|&r| self.records[r].amount).sum();
        let ours: i64 = es.iter().map(|&e| self.entries[e].amount).sum();
        let their_fees: Vec<i64> = rs.iter().filter_map(|&r| self.records[r].fee).collect();
        let our_fees: Vec<i64> = es.iter().filter_map(|&e| self.entries[e].fee).collect();
        let all_stated = their_fees.len() == rs.len() && our_fees.len() == es.len();
        let fees_agree = !all_stated || their_fees.iter().sum::<i64>() == our_fees.iter().sum::<i64>();
        let one_side = rs.len() == 1 || es.len() == 1;
        one_side && refunds && booked && fees_agree && (theirs - ours).abs() <= self.tolerance
    }

    fn pair(&mut self, r: usize, e: usize) {
        self.record_done[r] = true;
        self.entry_done[e] = true;
        let (record, entry) = (&self.records[r], &self.entries[e]);
        self.record_first[r] = record.status == "settled" && record.kind != "fee";
        self.entry_first[e] = entry.status == "settled";
        self.entry_counts[e] = self.entry_first[e];
        let difference = record.amount - entry.amount;
        let age = |since: Instant, grace: TimeDelta| as_of() - since >= grace;
        let stale = age(record.at(), TimeDelta::days(14));
        // Where the provider dates nothing, the booking does.
        let dated = if record.dated {
            record.at()
        } else {
            entry.at().unwrap_or(record.at())
        };
        if record.kind == "fee" && record.currency == entry.currency && difference == 0 {
            self.truth.matched += 1;
            return;
        }
        if record.currency != entry.currency {
            return self.say("currency_mismatch", Some(r), Some(e), None);
        }
        if record.direction != entry.direction {
            return self.say("direction_mismatch", Some(r), Some(e), Some(difference));
        }
        if record.status == "unknown" || record.kind == "unknown" || entry.status == "unknown" {
            return self.say("unclassified", Some(r), Some(e), Some(difference));
        }
        let mut waits = false;
        let status = match (record.status, entry.status) {
            ("settled", "settled") | ("failed", "failed") => None,
            ("settled", "failed") => Some("status_mismatch"),
            ("failed", "settled") if record.was_settled => Some("reversed_after_booking"),
            ("failed", "settled") => Some("status_mismatch"),
            ("settled", "open") => late(age(record.at(), hours(24)), "status_mismatch", &mut waits),
            ("open", "settled") => late(
                age(entry.at().unwrap_or(record.at()), hours(72)),
                "status_mismatch",
                &mut waits,
            ),
            ("open", _) => late(age(dated, TimeDelta::days(14)), "stale_pending", &mut waits),
            ("failed", "open") => late(stale, "status_mismatch", &mut waits),
            other => panic!("no rule for {other:?}"),
        };
        if let Some(kind) = status {
            return self.say(kind, Some(r), Some(e), Some(difference));
        }
        if difference.abs() > self.tolerance {
            return self.say("amount_mismatch", Some(r), Some(e), Some(difference));
        }
        if waits {
            self.truth.pending += 1;
            return;
        }
        if let (Some(theirs), Some(ours)) = (record.fee, entry.fee)
            && record.status == "settled"
            && record.kind != "fee"
            && theirs != ours
        {
            return self.say("fee_mismatch", Some(r), Some(e), Some(theirs - ours));
        }
        self.truth.matched += 1;
    }

    fn fees(&mut self) {
        for e in 0..self.entries.len() {
            for r in 0..self.records.len() {
                if self.records[r].kind == "fee"
                    && self.entries[e].status == "settled"
                    && self.meet(r, e)
                    && self.same_amount(r, e)
                {
                    self.pair(r, e);
                }
            }
        }
    }

    fn inside(&self, moment: Instant) -> (bool, bool) {
        let start = start_of_day(day("2026-01-01"), ZONE);
        let end = start_of_day(day("2026-03-20"), ZONE);
        (moment < start, moment >= end)
    }

    fn alone(&mut self) {
        for r in 0..self.records.len() {
            let record = &self.records[r];
            if self.record_done[r] || record.kind == "fee" {
                continue;
            }
            let (before, after) = self.inside(record.at());
            let age = as_of() - record.at();
            if record.status == "unknown" || record.kind == "unknown" {
                self.say("unclassified", Some(r), None, Some(record.amount));
            } else if record.status == "failed" || before {
                self.truth.excluded += 1;
            } else if record.status == "open" {
                if age >= TimeDelta::days(14) {
                    self.say("stale_pending", Some(r), None, Some(record.amount));
                } else {
                    self.truth.pending += 1;
                }
            } else if self.record_twin(r) {
                self.say("duplicate_in_provider", Some(r), None, Some(record.amount));
            } else if age < hours(24) || after {
                self.truth.pending += 1;
                self.lonely_records.push((r, false));
            } else {
                self.lonely_records.push((r, true));
            }
            self.record_first[r] = record.status == "settled";
        }
        for e in 0..self.entries.len() {
            let entry = &self.entries[e];
            if self.entry_done[e] {
                continue;
            }
            let lost = entry.provider_id.is_some() && !self.surplus[e];
            let twin = !lost && entry.status == "settled" && (self.surplus[e] || self.entry_twin(e));
            let (before, after) = entry.at().map_or((false, false), |at| self.inside(at));
            let patience = if entry.status == "open" {
                TimeDelta::days(14)
            } else {
                hours(72)
            };
            let young = !twin && entry.at().is_some_and(|at| as_of() - at < patience);
            if entry.status == "unknown" {
                self.say("unclassified", None, Some(e), Some(-entry.amount));
            } else if entry.status == "failed" || before {
                self.truth.excluded += 1;
            } else if young || after || !self.proved(entry) {
                self.truth.pending += 1;
                if !twin {
                    self.lonely_entries.push((e, false));
                }
            } else if twin {
                self.say("duplicate_in_ledger", None, Some(e), Some(-entry.amount));
            } else {
                self.lonely_entries.push((e, true));
            }
            self.entry_first[e] = entry.status == "settled";
            self.entry_counts[e] = entry.status == "settled" && !twin;
        }
    }

    fn record_twin(&self, r: usize) -> bool {
        let record = &self.records[r];
        // Without a reference there is no identity that could stand twice.
        record.reference.is_some()
            && (0..self.records.len()).any(|o| {
                let other = &self.records[o];
                let equal =
                    other.amount == record.amount && other.currency == record.currency && other.kind == record.kind;
                o != r
                    && self.record_first[o]
                    && other.direction == record.direction
                    && other.reference == record.reference
                    && other.account == record.account
                    && (record.kind != "refund" || equal)
            })
    }

    fn entry_twin(&self, e: usize) -> bool {
        let entry = &self.entries[e];
        let beside = |o: usize| {
            let other = &self.entries[o];
            o != e
                && self.entry_first[o]
                && other.direction == entry.direction
                && other.reference == entry.reference
                && self.same_group(o, e)
        };
        if !self.is_refund(e) {
            return (0..self.entries.len()).any(beside);
        }
        // Of several refunds only an equal one is one too many, or what goes beyond the payment.
        let booked: Vec<&Ent> = (0..self.entries.len())
            .filter(|&o| beside(o) && self.entry_counts[o] && self.entries[o].currency == entry.currency)
            .map(|o| &self.entries[o])
            .collect();
        let sum: i64 = booked.iter().map(|o| o.amount.abs()).sum();
        let beyond = self.paid(e).is_some_and(|paid| sum + entry.amount.abs() > paid);
        booked.iter().any(|o| o.amount == entry.amount) || (!booked.is_empty() && beyond)
    }

    /// Nothing but refunds stands under the reference, and some do, or something was paid there.
    fn is_refund(&self, e: usize) -> bool {
        let entry = &self.entries[e];
        let mut kinds = self.records.iter().filter(|r| {
            !r.vanished && r.direction == entry.direction && r.reference.as_ref() == Some(&entry.reference)
        });
        let any = kinds.clone().any(|r| r.kind == "refund");
        entry.direction == "out"
            && kinds.all(|r| r.kind == "refund" || r.kind == "fee")
            && (any || self.paid(e).is_some())
    }

    /// What came in under the reference of an entry.
    fn paid(&self, e: usize) -> Option<i64> {
        let entry = &self.entries[e];
        let theirs: Vec<i64> = self
            .records
            .iter()
            .filter(|r| !r.vanished && r.direction == "in" && r.status == "settled" && r.kind != "fee")
            .filter(|r| r.reference.as_ref() == Some(&entry.reference) && r.currency == entry.currency)
            .map(|r| r.amount)
            .collect();
        let ours: Vec<i64> = self
            .entries
            .iter()
            .filter(|o| o.direction == "in" && o.status == "settled")
            .filter(|o| o.reference == entry.reference && o.currency == entry.currency)
            .map(|o| o.amount)
            .collect();
        let known = if theirs.is_empty() { ours } else { theirs };
        (!known.is_empty()).then(|| known.iter().sum())
    }

    /// An entry that found its record elsewhere by id stands there, not under its own reference.
    fn same_group(&self, other: usize, entry: usize) -> bool {
        let (other, entry) = (&self.entries[other], &self.entries[entry]);
        let record = other
            .provider_id
            .as_ref()
            .and_then(|id| self.records.iter().find(|r| !r.vanished && r.id == *id));
        record.is_none_or(|r| r.reference.as_ref() == Some(&entry.reference) && r.direction == entry.direction)
    }

    fn proved(&self, entry: &Ent) -> bool {
        match (self.unread, entry.at()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((from, until)), Some(at)) => at < from || at >= until,
        }
    }

    fn suggested(&mut self) {
        let days = self.suggest_days;
        let near = |s: &Self, r: usize, e: usize| {
            let (record, entry) = (&s.records[r], &s.entries[e]);
            entry.provider_id.is_none()
                && entry.at().is_some_and(|at| {
                    let apart = (day_of(at, ZONE) - day_of(record.at(), ZONE)).num_days().abs();
                    days > 0
                        && apart <= days
                        && record.direction == entry.direction
                        && record.currency == entry.currency
                        && record.amount == entry.amount
                })
        };
        let mut found: Vec<(usize, usize)> = Vec::new();
        for &(r, over_r) in &self.lonely_records {
            for &(e, over_e) in &self.lonely_entries {
                let rivals = self.lonely_entries.iter().filter(|o| near(self, r, o.0)).count()
                    + self.lonely_records.iter().filter(|o| near(self, o.0, e)).count();
                if over_r && over_e && near(self, r, e) && rivals == 2 {
                    found.push((r, e));
                }
            }
        }
        for &(r, e) in &found {
            self.say("suggested", Some(r), Some(e), Some(0));
        }
        let (records, entries) = (self.lonely_records.clone(), self.lonely_entries.clone());
        for (r, over) in records {
            if over && !found.iter().any(|f| f.0 == r) {
                self.say("missing_in_ledger", Some(r), None, Some(self.records[r].amount));
            }
        }
        for (e, over) in entries {
            if over && !found.iter().any(|f| f.1 == e) {
                self.say("missing_in_provider", None, Some(e), Some(-self.entries[e].amount));
            }
        }
    }
}

/// A status that only counts when its grace is over.
fn late(over: bool, kind: &'static str, waits: &mut bool) -> Option<&'static str> {
    *waits = !over;
    over.then_some(kind)
}
