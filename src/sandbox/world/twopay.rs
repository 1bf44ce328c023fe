//! What happened at TwoPay: payins, payouts, and the two wallets that follow from them. Amounts in centavos.
//!
//! The merchant makes every key and so books first: its ledger and the provider change at the same instant.

use chrono::TimeDelta;

use super::{Absence, Life, Setup, listed, minutes, moment};
use crate::day::{BusinessDay, Instant};
use crate::sandbox::ledger::{Booking, Entry, LookupKeys};
use crate::sandbox::random::Random;

pub const ZONE: chrono_tz::Tz = chrono_tz::America::Bogota;

/// The two wallets, which never mix (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wallet {
    Payin,
    Payout,
}

/// How a payin is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Pse,
    /// At one of the collecting chains, with a voucher.
    Cash(&'static str),
}

/// A payin or a payout.
#[derive(Clone, Debug)]
pub struct Order {
    /// `uniqueKey`, made by the merchant.
    pub key: String,
    pub wallet: Wallet,
    pub method: Method,
    pub created: Instant,
    pub life: Life<OrderState>,
    /// Times in which the provider does not know the key.
    pub absences: Vec<Absence>,
    /// Tells people apart.
    pub person: u64,
}

#[derive(Clone, Debug)]
pub struct OrderState {
    pub status: &'static str,
    pub amount: i64,
}

impl OrderState {
    pub fn new(status: &'static str, amount: i64) -> Self {
        Self { status, amount }
    }

    fn moved(&self) -> i64 {
        if self.status == "SUCCESS" { self.amount } else { 0 }
    }
}

impl Order {
    /// Whether the provider knows the key at `now`.
    pub fn is_known(&self, now: Instant) -> bool {
        self.created <= now && listed(&self.absences, now)
    }

    /// What the merchant books about it.
    pub fn booking(&self) -> Booking {
        let kind = match self.wallet {
            Wallet::Payin => "payin",
            Wallet::Payout => "payout",
        };
        let entries = self.life.0.iter().map(|(at, s)| {
            let state = match s.status {
                "SUCCESS" => "paid",
                "FAILED" => "failed",
                _ => "open",
            };
            let entry = Entry {
                kind,
                currency: "COP",
                amount: s.amount,
                fee: None,
                state,
            };
            (*at, entry)
        });
        Booking {
            job: "twopay-co",
            ledger_id: format!("CO-{}", self.key.to_ascii_lowercase()),
            reference: self.key.clone(),
            provider_id: None,
            booked_at: self.created,
            life: Life(entries.collect()),
            absences: Vec::new(),
            keys: LookupKeys::default(),
        }
    }
}

/// Money that moved in a wallet without a payin or payout: a top-up, a settlement.
#[derive(Clone, Copy, Debug)]
pub struct Movement {
    pub at: Instant,
    pub wallet: Wallet,
    pub amount: i64,
}

#[derive(Clone, Debug)]
pub struct Twopay {
    pub orders: Vec<Order>,
    pub events: Vec<Movement>,
    /// Wallets before the first day: payins, payouts.
    pub openings: [i64; 2],
}

impl Twopay {
    pub fn generate(setup: &Setup, bookings: &mut Vec<Booking>) -> Self {
        let mut twopay = Self {
            orders: Vec::new(),
            events: Vec::new(),
            openings: [480_000_000, 2_150_000_050],
        };
        let random = &mut Random::part(setup.seed, "twopay");
        for day in setup.calendar() {
            for _ in 0..setup.count(random, 10) {
                bookings.push(twopay.natural_payin(random, day).booking());
            }
            for _ in 0..setup.count(random, 5) {
                bookings.push(twopay.natural_payout(random, day).booking());
            }
        }
        twopay
    }

    fn natural_payin(&mut self, random: &mut Random, day: BusinessDay) -> &Order {
        let created = moment(random, day, ZONE);
        let amount = pesos(random, 5_000, 900_000);
        let cash = random
            .chance(30)
            .then(|| *random.pick(&["Bancolombia", "EFECTY", "SURED"]));
        let open = Life::new(created, OrderState::new("IN_PROGRESS", amount));
        let after = match cash {
            // A voucher is paid whenever the payer walks by.
            Some(_) => minutes(random.between(20, 2_900)),
            None => minutes(random.between(1, 25)),
        };
        let word = if random.chance(12) { "FAILED" } else { "SUCCESS" };
        let life = open.then(created + after, OrderState::new(word, amount));
        let key = format!("PI-{}-{:06}", day.format("%Y%m%d"), self.orders.len());
        self.order(
            random,
            &key,
            Wallet::Payin,
            cash.map_or(Method::Pse, Method::Cash),
            life,
        )
    }

    fn natural_payout(&mut self, random: &mut Random, day: BusinessDay) -> &Order {
        let created = moment(random, day, ZONE);
        let amount = pesos(random, 20_000, 1_500_000);
        let word = if random.chance(10) { "FAILED" } else { "SUCCESS" };
        let life = Life::new(created, OrderState::new("IN_PROGRESS", amount))
            .then(created + minutes(random.between(2, 600)), OrderState::new(word, amount));
        let key = format!("PO-{}-{:06}", day.format("%Y%m%d"), self.orders.len());
        self.order(random, &key, Wallet::Payout, Method::Pse, life)
    }

    /// Adds an order whose first state is its creation.
    pub fn order(
        &mut self,
        random: &mut Random,
        key: &str,
        wallet: Wallet,
        method: Method,
        life: Life<OrderState>,
    ) -> &mut Order {
        self.orders.push(Order {
            key: key.to_owned(),
            wallet,
            method,
            created: life.0[0].0,
            life,
            absences: Vec::new(),
            person: random.next(),
        });
        let last = self.orders.len() - 1;
        &mut self.orders[last]
    }

    /// What a wallet holds at `now`: payins add when they succeed, payouts take away; what bounces comes back.
    pub fn balance(&self, wallet: Wallet, now: Instant) -> i64 {
        let (opening, sign) = match wallet {
            Wallet::Payin => (self.openings[0], 1),
            Wallet::Payout => (self.openings[1], -1),
        };
        let mine = self.orders.iter().filter(|order| order.wallet == wallet);
        let moved: i64 = mine
            .filter_map(|order| order.life.at(now))
            .map(|(_, state)| sign * state.moved())
            .sum();
        let events = self.events.iter().filter(|e| e.wallet == wallet && e.at <= now);
        opening + moved + events.map(|e| e.amount).sum::<i64>()
    }
}

/// Whole pesos, now and then with centavos.
fn pesos(random: &mut Random, low: i64, high: i64) -> i64 {
    let centavos = if random.chance(10) { random.between(1, 99) } else { 0 };
    random.between(low, high) * 100 + centavos
}

/// A payin or payout that ends after a while.
pub fn ends(at: Instant, amount: i64, word: &'static str) -> Life<OrderState> {
    Life::new(at, OrderState::new("IN_PROGRESS", amount))
        .then(at + TimeDelta::minutes(7), OrderState::new(word, amount))
}
