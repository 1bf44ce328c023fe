//! The nights of the demo: a world of two weeks in which differences of every kind were put in on purpose, each with the
//! night that must find it and the night that must find it gone.
//!
//! Everything planted happens at noon UTC of a day that a night covers: on that day in all zones, after the night
//! before, and longer ago than the demo's grace of twelve hours when its own night comes. So one night answers for it,
//! whether its kind waits for a grace or not.

use chrono::{Days, NaiveDate, TimeDelta};

use super::fault::Fault;
use super::ledger::{Booking, Entry, LookupKeys};
use super::random::Random;
use super::world::one2pays::OrderState;
use super::world::payvyne::Kind as Moved;
use super::world::tupay::{CashoutState, DepositState, Slip};
use super::world::{Absence, Life, Planted, Setup, World, minutes};
use super::{Service, ledger};
use crate::day::{BusinessDay, Instant};
use crate::record::Kind;

mod ayoconnect;
mod one2pays;
mod payvyne;
mod tupay;
mod twopay;

/// Nights of the demo.
pub const NIGHTS: usize = 5;
/// The jobs' `[fetch] start`, and the first day of the world.
pub const FIRST_DAY: BusinessDay = match NaiveDate::from_ymd_opt(2026, 2, 24) {
    Some(day) => day,
    None => panic!("a day of the calendar"),
};
/// Between the first day and the last day the first night covers.
const DAYS_BEFORE: u64 = 5;

/// As-of instant of a night: 09:30 UTC, when the day before is over in Lima, Bogotá, London, Bangkok and Jakarta.
pub fn as_of(night: usize) -> Instant {
    noon(covered(night)) + TimeDelta::minutes(21 * 60 + 30)
}

/// The last business day a night covers, the same in all zones.
pub fn covered(night: usize) -> BusinessDay {
    day(DAYS_BEFORE + night as u64)
}

/// The world of the demo, with everything planted.
pub fn demo_world(seed: u64) -> World {
    let setup = Setup {
        seed,
        first_day: FIRST_DAY,
        days: DAYS_BEFORE + NIGHTS as u64 + 2,
        volume: 100,
    };
    let mut world = World::open(setup);
    let mut gardener = Gardener {
        random: Random::part(seed, "plants"),
        count: 0,
        world: &mut world,
    };
    gardener.tupay();
    gardener.one2pays();
    gardener.across();
    gardener.payvyne();
    gardener.twopay();
    gardener.ayoconnect();
    world.close();
    payvyne::about_sweeps(&mut world);
    world
}

/// The night on which two providers say nothing about one key each.
const UNANSWERED_NIGHT: usize = 3;

/// What the servers do wrong in a night: one day's cashouts cannot be read and two keys get no usable answer, whatever is
/// tried.
pub fn faults(night: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    if night == UNANSWERED_NIGHT {
        faults.extend([twopay::fault(), ayoconnect::fault(ayoconnect::UNANSWERED)]);
    }
    if night == tupay::BROKEN_NIGHT {
        faults.push(broken_day(night));
    }
    faults
}

fn broken_day(night: usize) -> Fault {
    Fault {
        provider: Some(Service::Tupay),
        path: Some("/v1/cashout".into()),
        covers: Some(crate::day::format_instant(noon(covered(night)) + TimeDelta::hours(5))),
        count: Some(0),
        status: Some(500),
        ..Fault::default()
    }
}

/// Noon UTC of a day.
fn noon(day: BusinessDay) -> Instant {
    day.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::hours(12)
}

/// The n-th day of the world.
fn day(n: u64) -> BusinessDay {
    FIRST_DAY.checked_add_days(Days::new(n)).unwrap_or(FIRST_DAY)
}

/// When something happens.
#[derive(Clone, Copy)]
enum When {
    /// On the n-th day of the world, all of which the first night finds.
    Day(u64),
    /// On the day a night covers: that night finds it first.
    Night(usize),
}

impl When {
    fn night(self) -> usize {
        match self {
            Self::Day(_) => 0,
            Self::Night(night) => night,
        }
    }
}

/// Puts differences into an open world.
struct Gardener<'w> {
    world: &'w mut World,
    random: Random,
    count: i64,
}

impl Gardener<'_> {
    /// A little after noon, later for each thing planted.
    fn at(&mut self, when: When) -> Instant {
        self.count += 1;
        let day = match when {
            When::Day(n) => day(n),
            When::Night(night) => covered(night),
        };
        noon(day) + minutes(self.count)
    }

    /// When a change happens that a night sees first.
    fn before(&mut self, night: usize) -> Instant {
        self.at(When::Night(night))
    }

    fn plant(&mut self, job: &'static str, kind: Kind, hint: &str, span: (usize, Option<usize>), what: &'static str) {
        let hints = if hint.is_empty() {
            Vec::new()
        } else {
            vec![hint.to_owned()]
        };
        let (opens_on_night, resolves_on_night) = span;
        self.world.planted.push(Planted {
            job,
            kind,
            hints,
            opens_on_night,
            resolves_on_night,
            what,
        });
    }

    fn book(&mut self, booking: impl IntoIterator<Item = Booking>) {
        self.world.bookings.extend(booking);
    }

    /// The same reference paid at TuPay and at One2Pays, and booked at both.
    fn across(&mut self) {
        for (when, reference) in [(When::Day(3), "ORD-SHARED-0417"), (When::Night(2), "ORD-SHARED-0588")] {
            let at = self.at(when);
            let life = tupay::paid(at, 25_300);
            let deposit = self.world.tupay.deposit(&mut self.random, reference, "PEN", life);
            let booking = deposit.booking(false);
            self.book(booking);
            let life = one2pays::settled(at + minutes(20), 254_100);
            let order = self.world.one2pays.payment(&mut self.random, reference, life);
            let booking = order.booking("in", true);
            self.book([booking]);
            let what = "one order paid at two providers";
            self.plant(
                "across",
                Kind::CrossProviderDuplicate,
                reference,
                (when.night(), None),
                what,
            );
        }
    }
}

/// An entry that no provider knows.
fn orphan(job: &'static str, id: &str, reference: &str, at: Instant, entry: Entry) -> Booking {
    Booking {
        job,
        ledger_id: id.to_owned(),
        reference: reference.to_owned(),
        provider_id: None,
        booked_at: at,
        life: Life::new(at, entry),
        absences: Vec::new(),
        keys: LookupKeys::default(),
    }
}

/// Every job of the demo that has a ledger.
pub const LEDGERS: [&str; 7] = [
    "ayoconnect-cards",
    "ayoconnect-id",
    "ayoconnect-v3",
    "one2pays-th",
    "payvyne-uk",
    "tupay-pe",
    "twopay-co",
];

/// The export of a job's ledger on a night.
pub fn export(world: &World, job: &str, night: usize) -> String {
    ledger::export(world, job, as_of(night))
}
