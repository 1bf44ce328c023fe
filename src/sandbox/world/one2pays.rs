//! What happened at One2Pays: payments, withdraws, and the wallet that follows from them. Amounts in satang.

use chrono::TimeDelta;

use super::{Absence, Life, Setup, listed, minutes, moment};
use crate::day::{BusinessDay, Instant};
use crate::sandbox::ledger::{Booking, Entry, LookupKeys};
use crate::sandbox::random::Random;

pub const ZONE: chrono_tz::Tz = chrono_tz::Asia::Bangkok;

/// A payment waits this long before it moves from the settlement balance to the wallet.
const SETTLEMENT_DELAY: TimeDelta = TimeDelta::hours(24);

/// A payment or a withdraw.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: String,
    pub reference: String,
    pub created: Instant,
    pub method: &'static str,
    pub life: Life<OrderState>,
    pub absences: Vec<Absence>,
}

#[derive(Clone, Debug)]
pub struct OrderState {
    pub status: &'static str,
    pub amount: i64,
}

impl Order {
    /// Whether it is in the list at `now`.
    pub fn is_listed(&self, now: Instant) -> bool {
        self.created <= now && listed(&self.absences, now)
    }

    /// What the merchant books about it, a minute behind.
    pub fn booking(&self, kind: &'static str, with_provider_id: bool) -> Booking {
        let entries = self.life.0.iter().map(|(at, s)| {
            let state = match s.status {
                "succeeded" | "paid" => "settled",
                "processing" | "created" => "waiting",
                _ => "failed",
            };
            (
                *at + minutes(1),
                Entry {
                    kind,
                    currency: "THB",
                    amount: s.amount,
                    fee: None,
                    state,
                },
            )
        });
        Booking {
            job: "one2pays-th",
            ledger_id: format!("T-{}", &self.id[..13]),
            reference: self.reference.clone(),
            provider_id: with_provider_id.then(|| self.id.clone()),
            booked_at: self.created + minutes(1),
            life: Life(entries.collect()),
            absences: Vec::new(),
            keys: LookupKeys::default(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct One2pays {
    /// Newest first, once sorted.
    pub payments: Vec<Order>,
    pub withdraws: Vec<Order>,
    /// Wallet before the first day.
    pub opening: i64,
}

impl One2pays {
    pub fn generate(setup: &Setup, bookings: &mut Vec<Booking>) -> Self {
        let mut one2pays = Self {
            payments: Vec::new(),
            withdraws: Vec::new(),
            opening: 125_000_050,
        };
        let random = &mut Random::part(setup.seed, "one2pays");
        for day in setup.calendar() {
            for _ in 0..setup.count(random, 34) {
                let with_id = random.chance(40);
                bookings.push(one2pays.natural_payment(random, day).booking("in", with_id));
            }
            for _ in 0..setup.count(random, 6) {
                let with_id = random.chance(40);
                bookings.push(one2pays.natural_withdraw(random, day).booking("out", with_id));
            }
        }
        one2pays
    }

    fn natural_payment(&mut self, random: &mut Random, day: BusinessDay) -> &Order {
        let created = moment(random, day, ZONE) + TimeDelta::milliseconds(random.between(0, 999));
        let amount = random.between(2_000, 900_000);
        let state = |status| OrderState { status, amount };
        let open = Life::new(created, state("processing"));
        let life = match random.between(0, 99) {
            0..=3 => open.then(created + minutes(random.between(1, 9)), state("failed")),
            4..=6 => open.then(created + minutes(random.between(1, 9)), state("canceled")),
            7..=9 => open.then(created + minutes(60), state("expired")),
            10..=14 => open.then(created + minutes(random.between(300, 1_500)), state("succeeded")),
            _ => open.then(created + minutes(random.between(1, 29)), state("succeeded")),
        };
        let reference = format!("TH-{}-{:04}", day.format("%m%d"), self.payments.len());
        self.payment(random, &reference, life)
    }

    fn natural_withdraw(&mut self, random: &mut Random, day: BusinessDay) -> &Order {
        let created = moment(random, day, ZONE) + TimeDelta::milliseconds(random.between(0, 999));
        let amount = random.between(10_000, 400_000);
        let state = |status| OrderState { status, amount };
        let end = created + minutes(random.between(5, 200));
        let word = if random.chance(10) { "failed" } else { "paid" };
        let life = Life::new(created, state("processing")).then(end, state(word));
        let reference = format!("wd-{}-{:03}", day.format("%Y%m%d"), self.withdraws.len());
        self.withdraw(random, &reference, life)
    }

    /// Adds a payment whose first state is its creation.
    pub fn payment(&mut self, random: &mut Random, reference: &str, life: Life<OrderState>) -> &mut Order {
        add(&mut self.payments, random, reference, life)
    }

    /// Adds a withdraw whose first state is its creation.
    pub fn withdraw(&mut self, random: &mut Random, reference: &str, life: Life<OrderState>) -> &mut Order {
        add(&mut self.withdraws, random, reference, life)
    }

    /// Newest first: an offset list into which new rows push from the front.
    pub fn sort(&mut self) {
        for orders in [&mut self.payments, &mut self.withdraws] {
            orders.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        }
    }

    /// Wallet and settlement balance at `now`: every credit waits a day, every debit is immediate.
    pub fn balance(&self, now: Instant) -> (i64, i64) {
        let (mut wallet, mut settling) = (self.opening, 0);
        for (at, amount) in self.payments.iter().flat_map(|p| effects(p, "succeeded", now)) {
            if at > now - SETTLEMENT_DELAY {
                settling += amount
            } else {
                wallet += amount
            }
        }
        for (_, amount) in self.withdraws.iter().flat_map(|w| effects(w, "paid", now)) {
            wallet -= amount;
        }
        (wallet, settling)
    }
}

/// When and by how much an order's settled amount changed.
fn effects<'a>(order: &'a Order, word: &'static str, now: Instant) -> impl Iterator<Item = (Instant, i64)> + 'a {
    let settled = move |s: &OrderState| if s.status == word { s.amount } else { 0 };
    order
        .life
        .steps(now)
        .map(move |(before, at, state)| (at, settled(state) - before.map_or(0, settled)))
}

fn add<'a>(orders: &'a mut Vec<Order>, random: &mut Random, reference: &str, life: Life<OrderState>) -> &'a mut Order {
    orders.push(Order {
        id: random.uuid(),
        reference: reference.to_owned(),
        created: life.0[0].0,
        method: if random.chance(70) {
            "promptpay"
        } else {
            "bank_transfer"
        },
        life,
        absences: Vec::new(),
    });
    let last = orders.len() - 1;
    &mut orders[last]
}
