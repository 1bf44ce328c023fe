//! What happened at TuPay: deposits, cashouts, settlements, notes, and the balances that follow from them.
//!
//! The daily report is cut at Lima's midnight. A deposit is credited when it completes, its fee is charged then; a cashout is
//! charged with fee and tax when it completes and given back when the bank returns it; what is restated later is a note.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Timelike};

use super::{Absence, Life, Setup, listed, minutes, moment};
use crate::day::{BusinessDay, Instant, day_of, start_of_day};
use crate::sandbox::ledger::{Booking, Entry, LookupKeys};
use crate::sandbox::random::Random;

/// The zone of the report's days.
pub const ZONE: chrono_tz::Tz = chrono_tz::America::Lima;

/// How long a deposit stays in settlement after it was credited.
const SETTLEMENT_DELAY: TimeDelta = TimeDelta::hours(24);

#[derive(Clone, Debug)]
pub struct Deposit {
    pub id: i64,
    pub external_id: String,
    pub created: Instant,
    pub currency: &'static str,
    /// Code and name of the method used, code and name of the method asked for.
    pub method: [&'static str; 4],
    pub document: String,
    pub user: String,
    pub life: Life<DepositState>,
    pub absences: Vec<Absence>,
}

#[derive(Clone, Debug)]
pub struct DepositState {
    pub status: &'static str,
    pub amount: i64,
    pub requested: i64,
    /// 0 until completed.
    pub fee: i64,
    /// Printed instead of `amount`.
    pub printed: Option<&'static str>,
}

impl DepositState {
    pub fn new(status: &'static str, amount: i64) -> Self {
        Self {
            status,
            amount,
            requested: amount,
            fee: if status == "COMPLETED" { fee_of(amount) } else { 0 },
            printed: None,
        }
    }

    fn credited(&self) -> (i64, i64) {
        match self.status {
            "COMPLETED" => (self.amount, self.fee),
            _ => (0, 0),
        }
    }
}

/// 2.95 % and 0.30, cut to the hundredth.
pub fn fee_of(amount: i64) -> i64 {
    amount * 295 / 10_000 + 30
}

#[derive(Clone, Debug)]
pub struct Cashout {
    pub id: i64,
    pub external_id: String,
    pub created: Instant,
    pub currency: &'static str,
    pub amount: i64,
    pub document: String,
    pub life: Life<CashoutState>,
    pub absences: Vec<Absence>,
}

#[derive(Clone, Debug)]
pub struct CashoutState {
    pub status: &'static str,
    pub fee: i64,
    pub tax: i64,
    pub reason: &'static str,
}

impl CashoutState {
    pub fn new(status: &'static str) -> Self {
        let (fee, tax) = if status == "COMPLETED" { (350, 63) } else { (0, 0) };
        let reason = if status == "REJECTED" { "REJECTED_BY_BANK" } else { "" };
        Self {
            status,
            fee,
            tax,
            reason,
        }
    }
}

/// A column of the daily report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    Deposit,
    DepositFee,
    Cashout,
    Note,
    Settlement,
    CancelledSettlement,
}

impl Column {
    /// 1 where the printed figure adds to the balance, -1 where it takes from it.
    pub fn sign(self) -> i64 {
        match self {
            Self::Deposit | Self::Note | Self::CancelledSettlement => 1,
            Self::DepositFee | Self::Cashout | Self::Settlement => -1,
        }
    }
}

/// Money that moved on the merchant's account, as the report prints it.
#[derive(Clone, Copy, Debug)]
pub struct Movement {
    pub at: Instant,
    pub currency: &'static str,
    pub column: Column,
    pub amount: i64,
}

/// Money that appears in the stated balances from a day on, without a movement: the chain of days breaks there.
#[derive(Clone, Copy, Debug)]
pub struct Slip {
    pub currency: &'static str,
    pub day: BusinessDay,
    pub amount: i64,
    /// From then on the report is right again.
    pub corrected: Option<Instant>,
}

/// One line of the daily report.
#[derive(Clone, Debug)]
pub struct ReportRow {
    pub day: BusinessDay,
    pub currency: &'static str,
    pub columns: BTreeMap<Column, i64>,
    pub net: i64,
    pub total: i64,
}

/// The figures of the current balance.
#[derive(Clone, Debug)]
pub struct Current {
    pub currency: &'static str,
    pub total: i64,
    pub settling: i64,
    pub reserve: i64,
}

#[derive(Clone, Debug)]
pub struct Tupay {
    pub deposits: Vec<Deposit>,
    pub cashouts: Vec<Cashout>,
    /// Settlements and notes.
    pub events: Vec<Movement>,
    pub openings: BTreeMap<&'static str, i64>,
    pub reserve: i64,
    pub slips: Vec<Slip>,
    next_id: i64,
}

const METHODS: [[&str; 4]; 3] = [
    ["YP", "Billetera digital", "XA", "TuPay"],
    ["XAQR", "QR", "XAQR", "QR"],
    ["BC", "Banco", "XA", "TuPay"],
];

impl Tupay {
    pub fn generate(setup: &Setup, bookings: &mut Vec<Booking>) -> Self {
        let mut tupay = Self {
            deposits: Vec::new(),
            cashouts: Vec::new(),
            events: Vec::new(),
            openings: BTreeMap::from([("PEN", 1_036_460), ("USD", 52_000)]),
            reserve: 25_000,
            slips: Vec::new(),
            next_id: 301_990_000,
        };
        let random = &mut Random::part(setup.seed, "tupay");
        for (number, day) in setup.calendar().enumerate() {
            for _ in 0..setup.count(random, 56) {
                tupay.natural_deposit(random, day, bookings);
            }
            for _ in 0..setup.count(random, 12) {
                tupay.natural_cashout(random, day, bookings);
            }
            tupay.natural_events(day, number);
        }
        tupay
    }

    fn natural_deposit(&mut self, random: &mut Random, day: BusinessDay, bookings: &mut Vec<Booking>) {
        let created = moment(random, day, ZONE);
        let currency = if random.chance(10) { "USD" } else { "PEN" };
        let amount = random.between(1_000, 90_000);
        let state = |status| DepositState::new(status, amount);
        let soon = created + TimeDelta::seconds(random.between(45, 2_400));
        let late = created + minutes(random.between(360, 1_800));
        let pending = || Life::new(created, state("PENDING"));
        let life = match random.between(0, 99) {
            0..=2 => Life::new(created, state("DECLINED")),
            3..=5 => pending().then(created + minutes(120), state("CANCELLED")),
            6..=9 => pending().then(created + minutes(1_440), state("EXPIRED")),
            // Not paid in time, then paid after all and approved by hand: a late change.
            10..=12 => pending()
                .then(created + minutes(1_200), state("EXPIRED"))
                .then(created + minutes(random.between(2_880, 4_000)), state("COMPLETED")),
            13..=18 => pending().then(late, state("COMPLETED")),
            _ => pending().then(soon, state("COMPLETED")),
        };
        let reference = format!("ORD-{}-{:06}", day.format("%Y%m"), random.between(0, 999_999) + 1);
        let reference = format!("{reference}-{}", self.next_id % 10_000);
        let known = random.chance(50);
        let booking = self.deposit(random, &reference, currency, life).booking(known);
        bookings.extend(booking);
    }

    /// Adds a deposit whose first state is its creation.
    pub fn deposit(
        &mut self,
        random: &mut Random,
        reference: &str,
        currency: &'static str,
        life: Life<DepositState>,
    ) -> &mut Deposit {
        self.next_id += 7;
        self.deposits.push(Deposit {
            id: self.next_id,
            external_id: reference.to_owned(),
            created: life.0[0].0,
            currency,
            method: *random.pick(&METHODS),
            document: format!("{:08}", random.between(40_000_000, 79_999_999)),
            user: format!("{}", random.between(50_000_000, 59_999_999)),
            life,
            absences: Vec::new(),
        });
        let last = self.deposits.len() - 1;
        &mut self.deposits[last]
    }

    fn natural_cashout(&mut self, random: &mut Random, day: BusinessDay, bookings: &mut Vec<Booking>) {
        let created = moment(random, day, ZONE);
        let amount = random.between(2_000, 60_000);
        let sent = created + minutes(random.between(5, 30));
        let done = sent + minutes(random.between(10, 300));
        let pending = Life::new(created, CashoutState::new("PENDING"));
        let life = match random.between(0, 99) {
            0..=3 => pending.then(sent, CashoutState::new("CANCELLED")),
            4..=9 => pending
                .then(sent, CashoutState::new("DELIVERED"))
                .then(done, CashoutState::new("REJECTED")),
            10..=12 => pending
                .then(sent, CashoutState::new("ON_HOLD"))
                .then(done + minutes(600), CashoutState::new("COMPLETED")),
            _ => pending
                .then(sent, CashoutState::new("DELIVERED"))
                .then(done, CashoutState::new("COMPLETED")),
        };
        let reference = format!("PAYOUT-{}", self.next_id);
        let known = random.chance(50);
        bookings.push(self.cashout(random, &reference, amount, life).booking(known));
    }

    /// Adds a cashout whose first state is its creation.
    pub fn cashout(
        &mut self,
        random: &mut Random,
        reference: &str,
        amount: i64,
        life: Life<CashoutState>,
    ) -> &mut Cashout {
        self.next_id += 7;
        self.cashouts.push(Cashout {
            id: self.next_id,
            external_id: reference.to_owned(),
            created: life.0[0].0,
            currency: "PEN",
            amount,
            document: format!("{:08}", random.between(40_000_000, 79_999_999)),
            life,
            absences: Vec::new(),
        });
        let last = self.cashouts.len() - 1;
        &mut self.cashouts[last]
    }

    /// Settlements every other day, one of them undone, and now and then a note.
    fn natural_events(&mut self, day: BusinessDay, number: usize) {
        let noon = start_of_day(day, ZONE) + TimeDelta::hours(12);
        let mut event = |hours, currency, column, amount| {
            self.events.push(Movement {
                at: noon + TimeDelta::hours(hours),
                currency,
                column,
                amount,
            });
        };
        if number % 2 == 1 {
            event(3, "PEN", Column::Settlement, 500_000);
        }
        if number % 5 == 3 {
            event(4, "PEN", Column::CancelledSettlement, 500_000);
        }
        if number % 3 == 1 {
            event(1, "PEN", Column::Note, -1_250);
        }
        if number % 4 == 2 {
            event(2, "USD", Column::Note, 725);
        }
    }

    pub fn sort(&mut self) {
        self.deposits.sort_by_key(|d| (d.created, d.id));
        self.cashouts.sort_by_key(|c| (c.created, c.id));
    }

    /// Every movement of money up to `now`, from the records' own lives.
    pub fn movements(&self, now: Instant) -> Vec<Movement> {
        let mut all: Vec<Movement> = self.events.iter().copied().filter(|m| m.at <= now).collect();
        for deposit in &self.deposits {
            for (before, at, state) in deposit.life.steps(now) {
                let (had, had_fee) = before.map_or((0, 0), DepositState::credited);
                let (has, has_fee) = state.credited();
                let mut push = |column, amount| {
                    if amount != 0 {
                        all.push(Movement {
                            at,
                            currency: deposit.currency,
                            column,
                            amount,
                        });
                    }
                };
                if had == 0 {
                    push(Column::Deposit, has);
                    push(Column::DepositFee, has_fee);
                } else {
                    push(Column::Note, (has - had) - (has_fee - had_fee));
                }
            }
        }
        for cashout in &self.cashouts {
            for (before, at, state) in cashout.life.steps(now) {
                let charged = |s: &CashoutState| match s.status {
                    "COMPLETED" => cashout.amount + s.fee + s.tax,
                    _ => 0,
                };
                let amount = charged(state) - before.map_or(0, charged);
                if amount != 0 {
                    all.push(Movement {
                        at,
                        currency: cashout.currency,
                        column: Column::Cashout,
                        amount,
                    });
                }
            }
        }
        all
    }

    /// The daily report as it stands at `now`, by day and currency; days without a movement have no line, the running day
    /// has a partial one.
    pub fn report(&self, now: Instant) -> Vec<ReportRow> {
        let mut days: BTreeMap<(BusinessDay, &'static str), BTreeMap<Column, i64>> = BTreeMap::new();
        for m in self.movements(now) {
            let columns = days.entry((day_of(m.at, ZONE), m.currency)).or_default();
            *columns.entry(m.column).or_default() += m.amount;
        }
        let mut totals = self.openings.clone();
        let row = |((day, currency), columns): ((BusinessDay, &'static str), BTreeMap<Column, i64>)| {
            let net: i64 = columns.iter().map(|(c, amount)| c.sign() * amount).sum();
            let total = totals.entry(currency).or_default();
            *total += net;
            let total = *total + self.slipped(currency, day, now);
            ReportRow {
                day,
                currency,
                columns,
                net,
                total,
            }
        };
        days.into_iter().map(row).collect()
    }

    fn slipped(&self, currency: &str, day: BusinessDay, now: Instant) -> i64 {
        self.slips
            .iter()
            .filter(|s| s.currency == currency && s.day <= day && s.corrected.is_none_or(|at| now < at))
            .map(|s| s.amount)
            .sum()
    }

    /// The balance of the moment, per currency.
    pub fn current(&self, now: Instant) -> Vec<Current> {
        let movements = self.movements(now);
        let sum = |currency: &str, wanted: &dyn Fn(&Movement) -> bool| -> i64 {
            let mine = movements.iter().filter(|m| m.currency == currency && wanted(m));
            mine.map(|m| m.column.sign() * m.amount).sum()
        };
        self.openings
            .iter()
            .map(|(currency, opening)| Current {
                currency,
                total: opening + sum(currency, &|_| true) + self.slipped(currency, day_of(now, ZONE), now),
                settling: sum(currency, &|m| {
                    matches!(m.column, Column::Deposit | Column::DepositFee) && m.at > now - SETTLEMENT_DELAY
                }),
                reserve: if *currency == "PEN" { self.reserve } else { 0 },
            })
            .collect()
    }
}

impl Deposit {
    /// Whether it is in the list at `now`.
    pub fn is_listed(&self, now: Instant) -> bool {
        self.created <= now && listed(&self.absences, now)
    }

    /// What the merchant books about it, a minute or two behind; nothing about a deposit that was declined at once.
    pub fn booking(&self, with_provider_id: bool) -> Option<Booking> {
        if self.life.0[0].1.status == "DECLINED" {
            return None;
        }
        let mut before = "";
        let entries = self.life.0.iter().map(|(at, s)| {
            let state = match s.status {
                "COMPLETED" => "paid",
                "PENDING" => "pending",
                _ => "failed",
            };
            // Approved by hand after it had expired: the merchant waits on the line. A failed entry knows no grace.
            let behind = if before == "failed" {
                0
            } else {
                90 - i64::from(at.second() % 30)
            };
            before = state;
            let entry = Entry {
                kind: "deposit",
                currency: self.currency,
                amount: s.amount,
                fee: (state == "paid").then_some(s.fee),
                state,
            };
            (*at + TimeDelta::seconds(behind), entry)
        });
        Some(Booking {
            job: "tupay-pe",
            ledger_id: format!("D{}", self.id),
            reference: self.external_id.clone(),
            provider_id: with_provider_id.then(|| self.id.to_string()),
            booked_at: self.created + TimeDelta::seconds(60),
            life: Life(entries.collect()),
            absences: Vec::new(),
            keys: LookupKeys::default(),
        })
    }
}

impl Cashout {
    /// Whether it is in the list at `now`.
    pub fn is_listed(&self, now: Instant) -> bool {
        self.created <= now && listed(&self.absences, now)
    }

    /// What the merchant books about it, two minutes behind.
    pub fn booking(&self, with_provider_id: bool) -> Booking {
        let entries = self.life.0.iter().map(|(at, s)| {
            let state = match s.status {
                "COMPLETED" => "paid",
                "PENDING" | "DELIVERED" | "ON_HOLD" => "pending",
                _ => "failed",
            };
            let entry = Entry {
                kind: "payout",
                currency: self.currency,
                amount: self.amount,
                fee: None,
                state,
            };
            (*at + minutes(2), entry)
        });
        Booking {
            job: "tupay-pe",
            ledger_id: format!("C{}", self.id),
            reference: self.external_id.clone(),
            provider_id: with_provider_id.then(|| self.id.to_string()),
            booked_at: self.created + TimeDelta::seconds(60),
            life: Life(entries.collect()),
            absences: Vec::new(),
            keys: LookupKeys::default(),
        }
    }
}
