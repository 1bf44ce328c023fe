//! What is planted at PayVyne and in its ledger.

use super::*;

const JOB: &str = "payvyne-uk";
const POUNDS: usize = 0;
const EUROS: usize = 1;
/// Day of the sweep that does not list one of its members.
const SHORT_SWEEP: u64 = 3;

impl Gardener<'_> {
    pub(super) fn payvyne(&mut self) {
        self.missing_sales();
        self.differing_sales();
        self.sweeps();
    }

    fn sale(&mut self, at: Instant, reference: &str, amount: i64) -> Booking {
        self.world
            .payvyne
            .payment(&mut self.random, POUNDS, at, reference, amount)
    }

    /// A movement without a fee; gives what the merchant would book.
    fn moved(&mut self, at: Instant, kind: Moved, reference: &str, amount: i64, of: Option<String>) -> Option<Booking> {
        let payvyne = &mut self.world.payvyne;
        let index = payvyne.add(&mut self.random, POUNDS, kind, at, reference, amount, of);
        payvyne.movements[index].booking(&payvyne.accounts[POUNDS], None, false)
    }

    fn missing_sales(&mut self) {
        let at = self.at(When::Day(2));
        let booking = self.sale(at, "ORD-771204", 12_345);
        let booked = self.before(3);
        self.book([booking.late(booked)]);
        let what = "a payment, booked only days later";
        self.plant(JOB, Kind::MissingInLedger, "ORD-771204", (0, Some(3)), what);

        let at = self.at(When::Night(1));
        self.moved(at, Moved::Payout, "PO-5512", 8_800, None);
        self.plant(
            JOB,
            Kind::MissingInLedger,
            "PO-5512",
            (1, None),
            "a payout nobody booked",
        );

        let at = self.at(When::Day(3));
        let entry = Entry {
            kind: "sale",
            currency: "GBP",
            amount: 9_191,
            fee: None,
            state: "done",
        };
        self.book([orphan(JOB, "V-900001", "ORD-770000", at, entry)]);
        let what = "accepted by the payer's bank, but the funds never came";
        // A sweep may be three days late (max_sweep_lag_days); before that, silence proves nothing.
        self.plant(JOB, Kind::MissingInProvider, "ORD-770000", (1, None), what);
    }

    fn differing_sales(&mut self) {
        let at = self.at(When::Day(4));
        let booking = self.sale(at, "ORD-771300", 30_000);
        self.book([booking.with(None, |e| e.fee = e.fee.map(|fee| fee - 25))]);
        self.plant(
            JOB,
            Kind::FeeMismatch,
            "ORD-771300",
            (0, None),
            "the FEE row charges more than was booked",
        );

        let at = self.at(When::Night(1));
        let booking = self.moved(at, Moved::Refund, "RF-30017", 4_400, None);
        self.book(booking.map(|b| b.with(None, |e| e.amount = 4_000)));
        self.plant(
            JOB,
            Kind::AmountMismatch,
            "RF-30017",
            (1, None),
            "refunded four pounds more than booked",
        );

        let (paid, refunded) = (self.at(When::Day(1)), self.at(When::Day(2)));
        let booking = self.sale(paid, "ORD-771055", 5_000);
        let payment = booking.provider_id.clone().or_else(|| self.id_of("ORD-771055"));
        let refund = self.moved(refunded, Moved::Refund, "RF-30003", 6_000, payment);
        self.book([booking]);
        self.book(refund);
        let what = "refunded more than was paid";
        self.plant(JOB, Kind::BalanceResidual, "payvyne R7", (0, None), what);
    }

    fn id_of(&self, reference: &str) -> Option<String> {
        let mut movements = self.world.payvyne.movements.iter();
        let payment = movements.find(|m| m.merchant_reference == reference && m.kind == Moved::Payment);
        payment.map(|m| m.id.clone())
    }

    fn sweeps(&mut self) {
        let (at, listed) = (self.at(When::Day(SHORT_SWEEP)), self.before(2));
        let booking = self.moved(at, Moved::Payment, "ORD-771190", 3_300, None);
        if let Some(movement) = self.world.payvyne.movements.last_mut() {
            movement.absences.push(Absence {
                from: Instant::MIN_UTC,
                until: Some(listed),
            });
        }
        self.book(booking.map(|b| b.late(listed)));
        let what = "a sweep whose summary counts a payment that its list leaves out";
        self.plant(JOB, Kind::SettlementMismatch, "", (0, Some(2)), what);

        self.world.payvyne.jumps.push((EUROS, covered(2), 2_500));
        let what = "an opening balance that is not the closing balance before it";
        self.plant(JOB, Kind::BalanceResidual, "payvyne R5", (2, None), what);
    }
}

/// Sweeps without a credit at the bank: day of the world, night that finds it, night that finds the corrected statement.
/// A transfer may take three days.
const UNCREDITED: [(u64, usize, Option<usize>); 2] = [(1, 0, Some(3)), (4, 2, None)];

/// What hangs on sweeps, whose ids are known once they are folded.
pub(super) fn about_sweeps(world: &mut World) {
    let id = |world: &World, n| world.payvyne.sweep_of(POUNDS, day(n)).map(|s| s.id.clone());
    let short = id(world, SHORT_SWEEP);
    for planted in world.planted.iter_mut().filter(|p| p.kind == Kind::SettlementMismatch) {
        planted.hints.extend(short.clone());
    }
    for (n, opens_on_night, resolves_on_night) in UNCREDITED {
        let until = resolves_on_night.map(|night| noon(covered(night)));
        world.uncredited.push((
            POUNDS,
            day(n),
            Absence {
                from: Instant::MIN_UTC,
                until,
            },
        ));
        let what = match resolves_on_night {
            Some(_) => "a sweep without its credit at the bank, until the statement is corrected",
            None => "a sweep that never reached the bank",
        };
        let hints = id(world, n).into_iter().collect();
        let kind = Kind::MissingInBank;
        world.planted.push(Planted {
            job: "bank",
            kind,
            hints,
            opens_on_night,
            resolves_on_night,
            what,
        });
    }
}
