//! A seeded world with known truth: what the providers did, day by day, and what the merchant booked.
//!
//! Everything is decided when the world is made; the virtual `now` only decides what exists already and in which state. The
//! servers in `api/` show that truth in each provider's words, [`super::ledger`] in the merchant's, and
//! [`super::plant`] puts differences between the two. Money moves consistently: what the providers state as balances is
//! folded from the same movements that they list.
//!
//! Start at [`World::new`]. Knows nothing of HTTP.

use chrono::{Days, TimeDelta};

use crate::day::{BusinessDay, Instant};
use crate::record::Kind;

use super::api::Doors;
use super::ledger::Booking;
use super::random::Random;

pub mod ayoconnect;
pub mod one2pays;
pub mod payvyne;
pub mod tupay;
pub mod twopay;

/// How a world is made: equal setups give equal worlds.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub seed: u64,
    /// First day on which anything happens, in each provider's own zone.
    pub first_day: BusinessDay,
    pub days: u64,
    /// Records a day, in percent of an ordinary day (about 170 over all providers).
    pub volume: i64,
}

impl Setup {
    /// The days of the world in order.
    pub fn calendar(&self) -> impl Iterator<Item = BusinessDay> + use<> {
        let first = self.first_day;
        (0..self.days).filter_map(move |n| first.checked_add_days(Days::new(n)))
    }

    /// An ordinary day's count of something at this volume, a little up or down; never 0.
    pub fn count(&self, random: &mut Random, ordinary: i64) -> i64 {
        let wanted = ordinary * self.volume.max(1) / 100;
        random.between(wanted * 9 / 10, wanted * 11 / 10).max(1)
    }
}

/// What drives `now`.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Stands still until it is set.
    Virtual(Instant),
    /// The wall clock: for trying settings by hand.
    Wall,
}

/// The whole truth.
#[derive(Clone, Debug)]
pub struct World {
    pub setup: Setup,
    clock: Clock,
    pub payvyne: payvyne::Payvyne,
    pub tupay: tupay::Tupay,
    pub one2pays: one2pays::One2pays,
    pub twopay: twopay::Twopay,
    pub ayoconnect: ayoconnect::Ayoconnect,
    /// The merchant's books over all jobs.
    pub bookings: Vec<Booking>,
    /// Sweeps (account and day) whose credit the bank's statement leaves out for a time.
    pub uncredited: Vec<(usize, BusinessDay, Absence)>,
    /// Differences put in on purpose.
    pub planted: Vec<Planted>,
    /// Residues of wallets put in on purpose; they stand in the statement only.
    pub residues: Vec<Residue>,
    /// Credentials, sessions, limits.
    pub doors: Doors,
}

impl World {
    /// A world without differences: every job over it is reconciled, but for timing.
    pub fn new(setup: Setup) -> Self {
        let mut world = Self::open(setup);
        world.close();
        world
    }

    /// A world in which only TuPay lives longer than a day: for benchmarks over many years.
    pub fn of_tupay(setup: Setup) -> Self {
        let mut world = Self::new(Setup { days: 1, ..setup });
        world.bookings.clear();
        world.tupay = tupay::Tupay::generate(&setup, &mut world.bookings);
        world.tupay.sort();
        world.setup = setup;
        world
            .bookings
            .sort_by(|a, b| (a.booked_at, &a.ledger_id).cmp(&(b.booked_at, &b.ledger_id)));
        world
    }

    /// Natural activity, before the sweeps are folded: the moment to plant.
    pub(super) fn open(setup: Setup) -> Self {
        let mut bookings = Vec::new();
        Self {
            payvyne: payvyne::Payvyne::generate(&setup, &mut bookings),
            tupay: tupay::Tupay::generate(&setup, &mut bookings),
            one2pays: one2pays::One2pays::generate(&setup, &mut bookings),
            twopay: twopay::Twopay::generate(&setup, &mut bookings),
            ayoconnect: ayoconnect::Ayoconnect::generate(&setup, &mut bookings),
            clock: Clock::Virtual(crate::day::start_of_day(setup.first_day, chrono_tz::UTC)),
            setup,
            bookings,
            uncredited: Vec::new(),
            planted: Vec::new(),
            residues: Vec::new(),
            doors: Doors::default(),
        }
    }

    /// Folds movements into sweeps and puts the lists in order.
    pub(super) fn close(&mut self) {
        self.payvyne.close(&self.setup);
        self.tupay.sort();
        self.one2pays.sort();
        self.bookings
            .sort_by(|a, b| (a.booked_at, &a.ledger_id).cmp(&(b.booked_at, &b.ledger_id)));
    }

    /// The world's present.
    pub fn now(&self) -> Instant {
        match self.clock {
            Clock::Virtual(now) => now,
            Clock::Wall => super::wire::wall_clock(),
        }
    }

    /// Moves the world to an instant, where it stands still.
    pub fn set_now(&mut self, now: Instant) {
        self.clock = Clock::Virtual(now);
    }

    /// Lets the world follow the wall clock.
    pub fn follow_wall_clock(&mut self) {
        self.clock = Clock::Wall;
    }
}

/// One difference put in on purpose.
#[derive(Clone, Debug)]
pub struct Planted {
    pub job: &'static str,
    pub kind: Kind,
    /// What tells its discrepancy apart inside job and kind: a reference, a provider's id, a sweep, a relation. All of them must
    /// occur in it; none: any discrepancy of that kind.
    pub hints: Vec<String>,
    /// Index of the night that finds it first.
    pub opens_on_night: usize,
    /// Index of the night that finds it gone.
    pub resolves_on_night: Option<usize>,
    /// What was done, for people.
    pub what: &'static str,
}

/// Money in a wallet that the records do not explain: to be stated on its day, and no discrepancy.
#[derive(Clone, Debug)]
pub struct Residue {
    pub job: &'static str,
    pub account: &'static str,
    /// Index of the night whose statement shows it.
    pub night: usize,
    /// Stated less computed, minor units.
    pub amount: i64,
    /// What was done, for people.
    pub what: &'static str,
}

/// The states of one thing over time, in order.
#[derive(Clone, Debug)]
pub struct Life<T>(pub Vec<(Instant, T)>);

impl<T> Life<T> {
    pub fn new(at: Instant, first: T) -> Self {
        Self(vec![(at, first)])
    }

    /// Adds a later state.
    pub fn then(mut self, at: Instant, state: T) -> Self {
        debug_assert!(self.0.last().is_none_or(|(last, _)| *last <= at), "a life goes forward");
        self.0.push((at, state));
        self
    }

    /// The state at an instant, and since when; None before the first.
    pub fn at(&self, now: Instant) -> Option<&(Instant, T)> {
        self.0.iter().rev().find(|(at, _)| *at <= now)
    }

    /// Each state before `now` together with the one before it.
    pub fn steps(&self, now: Instant) -> impl Iterator<Item = (Option<&T>, Instant, &T)> {
        self.0
            .iter()
            .enumerate()
            .take_while(move |(_, (at, _))| *at <= now)
            .map(|(i, (at, state))| (i.checked_sub(1).map(|p| &self.0[p].1), *at, state))
    }
}

/// A time in which something exists but is not listed.
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    pub from: Instant,
    pub until: Option<Instant>,
}

/// Whether something with these absences is listed at an instant.
pub fn listed(absences: &[Absence], now: Instant) -> bool {
    !absences
        .iter()
        .any(|a| a.from <= now && a.until.is_none_or(|until| now < until))
}

/// A random second of a day, between six in the morning and ten minutes to midnight of that zone.
pub(super) fn moment(random: &mut Random, day: BusinessDay, zone: chrono_tz::Tz) -> Instant {
    crate::day::start_of_day(day, zone) + TimeDelta::seconds(random.between(6 * 3600, 23 * 3600 + 50 * 60))
}

pub(super) fn minutes(n: i64) -> TimeDelta {
    TimeDelta::minutes(n)
}
