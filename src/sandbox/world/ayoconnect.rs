//! What happened at Ayoconnect: payments of both generations of the product, and the cards bound for them. Amounts in sen.
//!
//! The merchant starts every flow and books what it started: its ledger and the provider change at the same instant.

use chrono::TimeDelta;

use super::{Absence, Life, Setup, listed, minutes, moment};
use crate::day::{BusinessDay, Instant};
use crate::sandbox::ledger::{Booking, Entry, LookupKeys};
use crate::sandbox::random::Random;

pub const ZONE: chrono_tz::Tz = chrono_tz::Asia::Jakarta;

/// The two API generations; nothing of one is known to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    V2,
    V3,
}

impl Generation {
    /// The demo's job of this generation.
    pub fn job(self) -> &'static str {
        match self {
            Self::V2 => "ayoconnect-id",
            Self::V3 => "ayoconnect-v3",
        }
    }
}

/// One direct debit.
#[derive(Clone, Debug)]
pub struct Payment {
    pub generation: Generation,
    /// `X-EXTERNAL-ID` of its flow: 32 letters and digits.
    pub external_id: String,
    /// Ayoconnect's id.
    pub reference_no: String,
    /// The merchant's id, 32 digits.
    pub partner_reference: String,
    pub created: Instant,
    pub life: Life<PaymentState>,
    /// Times in which the provider does not know it.
    pub absences: Vec<Absence>,
    /// The amount is written without decimals, as a public sample does.
    pub short: bool,
}

#[derive(Clone, Debug)]
pub struct PaymentState {
    /// In the words of generation 2.
    pub status: &'static str,
    pub amount: i64,
    /// Of generation 3, after a success.
    pub settlement: &'static str,
}

impl PaymentState {
    pub fn new(status: &'static str, amount: i64) -> Self {
        Self {
            status,
            amount,
            settlement: "SETTLED",
        }
    }
}

impl Payment {
    /// Whether the provider knows it at `now`.
    pub fn is_known(&self, now: Instant) -> bool {
        self.created <= now && listed(&self.absences, now)
    }

    /// What the merchant books about it, with both keys.
    pub fn booking(&self) -> Booking {
        let entries = self.life.0.iter().map(|(at, s)| {
            let state = match s.status {
                "SUCCESS" => "paid",
                "FAILED" => "failed",
                _ => "open",
            };
            (*at, entry("payment", s.amount, state))
        });
        Booking {
            job: self.generation.job(),
            ledger_id: format!("AY-{}", &self.external_id[..12]),
            reference: self.partner_reference.clone(),
            provider_id: None,
            booked_at: self.created,
            life: Life(entries.collect()),
            absences: Vec::new(),
            keys: LookupKeys {
                x_external_id: Some(self.external_id.clone()),
                reference_no: Some(self.reference_no.clone()),
            },
        }
    }

    /// The merchant's entry about a refund of this payment.
    pub fn refund_booking(&self, at: Instant, amount: i64) -> Booking {
        Booking {
            ledger_id: format!("AYR-{}", &self.external_id[..12]),
            booked_at: at,
            life: Life::new(at, entry("refund", amount, "paid")),
            ..self.booking()
        }
    }
}

fn entry(kind: &'static str, amount: i64, state: &'static str) -> Entry {
    Entry {
        kind,
        currency: "IDR",
        amount,
        fee: None,
        state,
    }
}

/// A card bound by a customer (generation 2).
#[derive(Clone, Debug)]
pub struct Binding {
    pub external_id: String,
    pub partner_reference: String,
    pub auth_code: String,
    pub created: Instant,
    /// `tokenStatus`: ACTIVE, DISABLED or BLOCKED.
    pub life: Life<&'static str>,
    pub bank: &'static str,
}

impl Binding {
    /// What the merchant's list of bindings says.
    pub fn booking(&self) -> Booking {
        let state = |word: &str| if word == "ACTIVE" { "active" } else { "unbound" };
        let entries = self
            .life
            .0
            .iter()
            .map(|(at, word)| (*at, entry("binding", 0, state(word))));
        Booking {
            job: "ayoconnect-cards",
            ledger_id: format!("CARD-{}", &self.external_id[..12]),
            reference: self.partner_reference.clone(),
            provider_id: None,
            booked_at: self.created,
            life: Life(entries.collect()),
            absences: Vec::new(),
            keys: LookupKeys {
                x_external_id: Some(self.external_id.clone()),
                reference_no: Some(self.auth_code.clone()),
            },
        }
    }
}

#[derive(Clone, Debug)]
pub struct Ayoconnect {
    pub payments: Vec<Payment>,
    pub bindings: Vec<Binding>,
}

impl Ayoconnect {
    pub fn generate(setup: &Setup, bookings: &mut Vec<Booking>) -> Self {
        let mut ayoconnect = Self {
            payments: Vec::new(),
            bindings: Vec::new(),
        };
        let random = &mut Random::part(setup.seed, "ayoconnect");
        for day in setup.calendar() {
            for generation in [Generation::V2, Generation::V3] {
                for _ in 0..setup.count(random, 7) {
                    bookings.push(ayoconnect.natural_payment(random, day, generation).booking());
                }
            }
            let created = moment(random, day, ZONE);
            let life = Life::new(created, "ACTIVE");
            bookings.push(ayoconnect.binding(random, life).booking());
        }
        ayoconnect
    }

    fn natural_payment(&mut self, random: &mut Random, day: BusinessDay, generation: Generation) -> &Payment {
        let created = moment(random, day, ZONE);
        let amount = random.between(10_000, 2_500_000) * 100; // cents are always 00 in practice
        let state = |status| PaymentState::new(status, amount);
        let open = Life::new(created, state("INITIATED"));
        let soon = created + TimeDelta::seconds(random.between(4, 600));
        let life = match (generation, random.between(0, 99)) {
            (_, 0..=7) => open.then(soon, state("FAILED")),
            (_, 8..=15) => open
                .then(soon, state("PENDING_USER_VERIFICATION"))
                .then(soon + minutes(4), state("SUCCESS")),
            // Danamon asks on a page of its own.
            (Generation::V2, 16..=19) => open
                .then(soon, state("PENDING_USER_VERIFICATION WITH URL"))
                .then(soon + minutes(6), state("SUCCESS")),
            // The bank timed out and paid all the same, a day later: open until then, never failed.
            (Generation::V2, 20..=23) => open
                .then(soon, state("TIMEOUT"))
                .then(soon + minutes(1_500), state("SUCCESS")),
            _ => open
                .then(soon, state("PROCESSING"))
                .then(soon + minutes(1), state("SUCCESS")),
        };
        self.payment(random, generation, life)
    }

    /// Adds a payment whose first state is its creation.
    pub fn payment(&mut self, random: &mut Random, generation: Generation, life: Life<PaymentState>) -> &mut Payment {
        let created = life.0[0].0;
        self.payments.push(Payment {
            generation,
            external_id: hex32(random),
            reference_no: hex32(random),
            partner_reference: format!("{}{:024}", created.format("%Y%m%d"), random.between(0, 999_999_999_999)),
            created,
            life,
            absences: Vec::new(),
            short: random.chance(20),
        });
        let last = self.payments.len() - 1;
        &mut self.payments[last]
    }

    /// Adds a binding whose first state is its creation.
    pub fn binding(&mut self, random: &mut Random, life: Life<&'static str>) -> &mut Binding {
        let created = life.0[0].0;
        self.bindings.push(Binding {
            external_id: hex32(random),
            partner_reference: format!("{}{:024}", created.format("%Y%m%d"), random.between(0, 999_999_999_999)),
            auth_code: hex32(random),
            created,
            life,
            bank: BANKS[(random.next() % 4) as usize],
        });
        let last = self.bindings.len() - 1;
        &mut self.bindings[last]
    }
}

/// Codes of banks whose cards can be bound.
const BANKS: [&str; 4] = ["002", "008", "009", "011"];

/// 32 letters and digits.
fn hex32(random: &mut Random) -> String {
    format!("{}{}", random.hex16(), random.hex16())
}
