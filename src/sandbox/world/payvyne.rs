//! What happened at PayVyne: movements on settlement accounts, and the sweep that closes each account's day.
//!
//! Net settlement: every payment has its FEE row, in the same sweep. Each account is swept at 23:59 London time, down to its
//! reserve. A sweep's figures are folded from its movements, so R1 to R6 hold unless something was planted.

use std::collections::BTreeMap;

use chrono::{NaiveTime, TimeDelta};

use super::{Absence, Life, Setup, listed, moment};
use crate::day::{BusinessDay, Instant, local_instant};
use crate::sandbox::ledger::{Booking, Entry, LookupKeys};
use crate::sandbox::random::Random;

pub const ZONE: chrono_tz::Tz = chrono_tz::Europe::London;

/// A settlement account; each has one currency.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub identifier: &'static str,
    pub currency: &'static str,
    /// What the sweep leaves in the account.
    pub reserve: i64,
    /// Payments on an ordinary day.
    payments: i64,
}

const ACCOUNTS: [Account; 2] = [
    Account {
        identifier: "GBP3",
        currency: "GBP",
        reserve: 10_000,
        payments: 26,
    },
    Account {
        identifier: "EUR1",
        currency: "EUR",
        reserve: 25_000,
        payments: 7,
    },
];

/// The kinds of movements, in the order of a sweep's summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Payment,
    Refund,
    Payout,
    Fee,
    TopUp,
    MiscPayment,
    MiscReturn,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Payment,
        Self::Refund,
        Self::Payout,
        Self::Fee,
        Self::TopUp,
        Self::MiscPayment,
        Self::MiscReturn,
    ];

    /// `type` of a transaction. The literals of the two miscellaneous kinds are not documented.
    pub fn literal(self) -> &'static str {
        match self {
            Self::Payment => "PAYMENT",
            Self::Refund => "REFUND",
            Self::Payout => "PAYOUT",
            Self::Fee => "FEE",
            Self::TopUp => "TOP-UP",
            Self::MiscPayment => "MISCELLANEOUS_PAYMENT",
            Self::MiscReturn => "MISCELLANEOUS_RETURN",
        }
    }

    /// Key in a sweep's `summary`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Payment => "payments",
            Self::Refund => "refunds",
            Self::Payout => "payouts",
            Self::Fee => "fees",
            Self::TopUp => "topUps",
            Self::MiscPayment => "miscellaneousPayments",
            Self::MiscReturn => "miscellaneousReturns",
        }
    }

    fn credit(self) -> bool {
        matches!(self, Self::Payment | Self::TopUp | Self::MiscPayment)
    }
}

#[derive(Clone, Debug)]
pub struct Movement {
    pub id: String,
    /// Index in [`Payvyne::accounts`].
    pub account: usize,
    pub kind: Kind,
    pub customer_reference: String,
    pub merchant_reference: String,
    pub related: Option<String>,
    pub description: String,
    pub created: Instant,
    pub updated: Instant,
    /// Positive magnitude.
    pub amount: i64,
    pub absences: Vec<Absence>,
}

impl Movement {
    /// `value` as printed: debits negative, but for FEE, which prints positive.
    pub fn printed(&self) -> i64 {
        if self.kind.credit() || self.kind == Kind::Fee {
            self.amount
        } else {
            -self.amount
        }
    }

    /// What it does to the account.
    pub fn effect(&self) -> i64 {
        if self.kind.credit() { self.amount } else { -self.amount }
    }

    /// What the merchant books: everything but fees. `fee`: what its FEE row charges.
    pub fn booking(&self, account: &Account, fee: Option<i64>, with_provider_id: bool) -> Option<Booking> {
        let kind = match self.kind {
            Kind::Payment => "sale",
            Kind::Refund => "refund",
            Kind::Payout => "payout",
            Kind::TopUp => "topup",
            Kind::MiscPayment => "misc-in",
            Kind::MiscReturn => "misc-out",
            Kind::Fee => return None,
        };
        let entry = Entry {
            kind,
            currency: account.currency,
            amount: self.amount,
            fee,
            state: "done",
        };
        Some(Booking {
            job: "payvyne-uk",
            ledger_id: format!("V-{}", &self.id[..10]),
            reference: self.merchant_reference.clone(),
            provider_id: with_provider_id.then(|| self.id.clone()),
            booked_at: self.created + TimeDelta::seconds(30),
            life: Life::new(self.created + TimeDelta::seconds(30), entry),
            absences: Vec::new(),
            keys: LookupKeys::default(),
        })
    }
}

/// One executed sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub id: String,
    pub account: usize,
    pub created_at: Instant,
    pub day: BusinessDay,
    pub opening: i64,
    pub closing: i64,
    pub reserved: i64,
    pub transferred: i64,
    /// Positive magnitude and count per kind.
    pub summary: BTreeMap<Kind, (i64, i64)>,
    /// Indexes of its movements in [`Payvyne::movements`].
    pub members: Vec<usize>,
    pub absences: Vec<Absence>,
}

#[derive(Clone, Debug)]
pub struct Payvyne {
    pub accounts: Vec<Account>,
    pub movements: Vec<Movement>,
    /// By time and id, once closed.
    pub sweeps: Vec<Sweep>,
    /// Money that stands in an account at the opening of a day's sweep without a movement.
    pub jumps: Vec<(usize, BusinessDay, i64)>,
    seed: u64,
}

impl Payvyne {
    pub fn generate(setup: &Setup, bookings: &mut Vec<Booking>) -> Self {
        let mut payvyne = Self {
            accounts: ACCOUNTS.to_vec(),
            movements: Vec::new(),
            sweeps: Vec::new(),
            jumps: Vec::new(),
            seed: setup.seed,
        };
        let random = &mut Random::part(setup.seed, "payvyne");
        for day in setup.calendar() {
            for account in 0..payvyne.accounts.len() {
                for _ in 0..setup.count(random, payvyne.accounts[account].payments) {
                    let amount = random.between(500, 42_000);
                    let at = moment(random, day, ZONE);
                    let reference = format!("ORD-{}", random.hex16());
                    let booked = payvyne.payment(random, account, at, &reference, amount);
                    bookings.push(booked);
                }
                payvyne.natural_debits(random, account, day, bookings);
            }
        }
        payvyne
    }

    /// Refunds of earlier payments, payouts, top-ups and a returned direct transfer.
    fn natural_debits(&mut self, random: &mut Random, account: usize, day: BusinessDay, bookings: &mut Vec<Booking>) {
        let mut wanted = vec![(Kind::Refund, 3_000), (Kind::Refund, 1_500), (Kind::Payout, 7_500)];
        if random.chance(40) {
            wanted.push((Kind::TopUp, 20_000));
        }
        if random.chance(20) {
            wanted.extend([(Kind::MiscPayment, 2_000), (Kind::MiscReturn, 2_000)]);
        }
        for (kind, most) in wanted {
            let at = moment(random, day, ZONE);
            // A refund names a payment of at least its amount that was not refunded yet.
            let related = match kind {
                Kind::Refund => match self.refundable(account, at, most) {
                    Some(id) => Some(id),
                    None => continue,
                },
                _ => None,
            };
            let amount = random.between(most / 2, most);
            let reference = format!("{}-{}", kind.key(), random.hex16());
            let index = self.add(random, account, kind, at, &reference, amount, related);
            let with_id = random.chance(60);
            let account = self.accounts[account];
            bookings.extend(self.movements[index].booking(&account, None, with_id));
        }
    }

    fn refundable(&self, account: usize, before: Instant, amount: i64) -> Option<String> {
        let refunded = |id: &str| {
            self.movements
                .iter()
                .any(|m| m.related.as_deref() == Some(id) && m.kind == Kind::Refund)
        };
        self.movements
            .iter()
            .rev()
            .filter(|m| m.account == account && m.kind == Kind::Payment && m.created < before && m.amount >= amount)
            .find(|m| !refunded(&m.id))
            .map(|m| m.id.clone())
    }

    /// Adds a payment with its fee; gives what the merchant books.
    pub fn payment(
        &mut self,
        random: &mut Random,
        account: usize,
        at: Instant,
        reference: &str,
        amount: i64,
    ) -> Booking {
        let index = self.add(random, account, Kind::Payment, at, reference, amount, None);
        let fee = amount / 200 + 5;
        let id = self.movements[index].id.clone();
        let updated = self.movements[index].updated;
        self.add(random, account, Kind::Fee, updated, reference, fee, Some(id));
        let with_id = random.chance(60);
        let account = self.accounts[account];
        match self.movements[index].booking(&account, Some(fee), with_id) {
            Some(booking) => booking,
            None => unreachable!("a payment is booked"),
        }
    }

    /// Adds a movement; gives its index.
    #[allow(clippy::too_many_arguments)]
    pub fn add(
        &mut self,
        random: &mut Random,
        account: usize,
        kind: Kind,
        at: Instant,
        reference: &str,
        amount: i64,
        related: Option<String>,
    ) -> usize {
        self.movements.push(Movement {
            id: random.hex16(),
            account,
            kind,
            customer_reference: format!("CUST-{}", random.between(10_000, 99_999)),
            merchant_reference: reference.to_owned(),
            related,
            description: match kind {
                Kind::Fee => "Fee for web payment".into(),
                Kind::Refund => "Refund for web payment".into(),
                _ => "Web payment".into(),
            },
            created: at,
            updated: at + TimeDelta::seconds(random.between(1, 40)),
            amount,
            absences: Vec::new(),
        });
        self.movements.len() - 1
    }

    /// When an account is swept on a day.
    pub fn sweep_time(day: BusinessDay) -> Instant {
        let local = day.and_time(NaiveTime::from_hms_milli_opt(23, 59, 12, 482).unwrap_or_default());
        local_instant(local, ZONE).unwrap_or_else(|| local.and_utc())
    }

    /// Folds the movements into sweeps, one per account and day.
    pub fn close(&mut self, setup: &Setup) {
        self.movements
            .sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let random = &mut Random::part(self.seed, "sweeps");
        self.sweeps.clear();
        for account in 0..self.accounts.len() {
            let (mut balance, mut since) = (self.accounts[account].reserve, Instant::MIN_UTC);
            for day in setup.calendar() {
                let at = Self::sweep_time(day);
                let sweep = self.fold(random.hex16(), account, day, balance, (since, at));
                (balance, since) = (sweep.closing, at);
                self.sweeps.push(sweep);
            }
        }
        self.sweeps
            .sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    }

    fn fold(&self, id: String, account: usize, day: BusinessDay, before: i64, span: (Instant, Instant)) -> Sweep {
        let jump = |j: &&(usize, BusinessDay, i64)| j.0 == account && j.1 == day;
        let opening = before + self.jumps.iter().filter(jump).map(|j| j.2).sum::<i64>();
        let member = |m: &Movement| m.account == account && span.0 < m.created && m.created <= span.1;
        let members: Vec<usize> = (0..self.movements.len())
            .filter(|i| member(&self.movements[*i]))
            .collect();
        let mut summary: BTreeMap<Kind, (i64, i64)> = Kind::ALL.into_iter().map(|k| (k, (0, 0))).collect();
        let mut pre = opening;
        for movement in members.iter().map(|i| &self.movements[*i]) {
            let (value, count) = summary.entry(movement.kind).or_default();
            *value += movement.amount;
            *count += 1;
            pre += movement.effect();
        }
        let reserved = self.accounts[account].reserve;
        let transferred = (pre - reserved).max(0);
        Sweep {
            id,
            account,
            created_at: span.1,
            day,
            opening,
            closing: pre - transferred,
            reserved,
            transferred,
            summary,
            members,
            absences: Vec::new(),
        }
    }

    /// The sweeps executed and listed at `now`.
    pub fn listed_sweeps(&self, now: Instant) -> impl Iterator<Item = &Sweep> {
        self.sweeps
            .iter()
            .filter(move |s| s.created_at <= now && listed(&s.absences, now))
    }

    /// The sweep of an account on a day.
    pub fn sweep_of(&self, account: usize, day: BusinessDay) -> Option<&Sweep> {
        self.sweeps.iter().find(|s| s.account == account && s.day == day)
    }
}
