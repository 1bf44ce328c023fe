//! What is planted at TuPay and in its ledger.

use super::*;

const JOB: &str = "tupay-pe";
/// The night on which one day of cashouts cannot be read.
pub(super) const BROKEN_NIGHT: usize = 3;

/// A deposit paid five minutes after it was made.
pub(super) fn paid(at: Instant, amount: i64) -> Life<DepositState> {
    Life::new(at, DepositState::new("PENDING", amount)).then(at + minutes(5), DepositState::new("COMPLETED", amount))
}

impl Gardener<'_> {
    pub(super) fn tupay(&mut self) {
        self.missing_deposits();
        self.differing_deposits();
        self.late_truth();
        self.doubled_deposits();
        self.odd_deposits();
        self.tupay_balance();
    }

    /// A paid deposit; gives what the merchant would book.
    fn deposit(&mut self, reference: &str, at: Instant, amount: i64, known: bool) -> Booking {
        let life = paid(at, amount);
        self.deposit_with(reference, life, known)
    }

    fn deposit_with(&mut self, reference: &str, life: Life<DepositState>, known: bool) -> Booking {
        let at = life.0[0].0;
        let deposit = self.world.tupay.deposit(&mut self.random, reference, "PEN", life);
        let entry = Entry {
            kind: "deposit",
            currency: "PEN",
            amount: 0,
            fee: None,
            state: "paid",
        };
        deposit
            .booking(known)
            .unwrap_or_else(|| orphan(JOB, "D0", reference, at, entry))
    }

    fn missing_deposits(&mut self) {
        let at = self.at(When::Day(2));
        let booking = self.deposit("ORD-202602-LATE1", at, 31_250, false);
        let booked = self.before(2);
        self.book([booking.late(booked)]);
        let what = "a paid deposit, booked only days later";
        self.plant(JOB, Kind::MissingInLedger, "ORD-202602-LATE1", (0, Some(2)), what);

        let at = self.at(When::Night(2));
        self.deposit("ORD-202603-LOST1", at, 18_640, false);
        self.plant(
            JOB,
            Kind::MissingInLedger,
            "ORD-202603-LOST1",
            (2, None),
            "a paid deposit, never booked",
        );

        let at = self.at(When::Day(3));
        let entry = Entry {
            kind: "deposit",
            currency: "PEN",
            amount: 61_337,
            fee: None,
            state: "paid",
        };
        self.book([orphan(JOB, "D900001", "ORD-202602-GHOST", at, entry)]);
        self.plant(
            JOB,
            Kind::MissingInProvider,
            "ORD-202602-GHOST",
            (0, None),
            "booked, but TuPay knows nothing of it",
        );
    }

    /// The same identity with another value in the ledger.
    fn differing_deposits(&mut self) {
        let mut plant = |day, kind, reference: &'static str, known, what, change: fn(&mut Entry)| {
            let at = self.at(When::Day(day));
            let amount = self.random.between(10_000, 40_000);
            let booking = self.deposit(reference, at, amount, known);
            // A refund booked under a deposit's id still carries the deposit's reference.
            self.book([booking.with(None, change)]);
            self.plant(JOB, kind, reference, (0, None), what);
        };
        plant(
            2,
            Kind::CurrencyMismatch,
            "ORD-202602-DOLLR",
            false,
            "booked in dollars, paid in soles",
            |e| e.currency = "USD",
        );
        plant(
            3,
            Kind::DirectionMismatch,
            "ORD-202602-WRONG",
            true,
            "a deposit booked as a payout",
            |e| e.kind = "payout",
        );
        plant(
            1,
            Kind::FeeMismatch,
            "ORD-202602-FEE01",
            false,
            "the booked fee is half a sol too high",
            |e| {
                e.fee = e.fee.map(|fee| fee + 50);
            },
        );
        plant(
            2,
            Kind::StatusMismatch,
            "ORD-202602-FAILD",
            false,
            "paid at TuPay, failed in the ledger",
            |e| {
                (e.state, e.fee) = ("failed", None);
            },
        );

        let at = self.at(When::Day(1));
        let booking = self.deposit("ORD-202602-SHORT", at, 27_500, true);
        let corrected = self.before(2);
        let short = booking
            .with(None, |e| e.amount = 26_500)
            .with(Some(corrected), |e| e.amount = 27_500);
        self.book([short]);
        let what = "booked ten soles short, corrected later";
        self.plant(JOB, Kind::AmountMismatch, "ORD-202602-SHORT", (0, Some(2)), what);
    }

    /// What TuPay changes after everybody had agreed.
    fn late_truth(&mut self) {
        let at = self.at(When::Day(4));
        let (returned, followed) = (self.before(2), self.before(4));
        let life = Life::new(at, CashoutState::new("PENDING"))
            .then(at + minutes(10), CashoutState::new("DELIVERED"))
            .then(at + minutes(90), CashoutState::new("COMPLETED"))
            .then(returned, CashoutState::new("REJECTED"));
        let cashout = self
            .world
            .tupay
            .cashout(&mut self.random, "PAYOUT-BOUNCED", 44_000, life);
        let mut booking = cashout.booking(true);
        booking.life.0.pop();
        self.book([booking.with(Some(followed), |e| e.state = "failed")]);
        let what = "a paid cashout that the bank sent back; the ledger follows two nights later";
        self.plant(JOB, Kind::ReversedAfterBooking, "PAYOUT-BOUNCED", (2, Some(4)), what);

        let at = self.at(When::Day(3));
        let restated = self.before(2);
        let mut dearer = DepositState::new("COMPLETED", 52_000);
        dearer.fee += 70;
        let booking = self.deposit_with("ORD-202602-RESTA", paid(at, 52_000).then(restated, dearer), false);
        self.book([booking]);
        let what = "the fee of a completed deposit is restated; the ledger follows at once";
        self.plant(JOB, Kind::ChangedAfterFinal, "ORD-202602-RESTA", (2, None), what);

        let at = self.at(When::Day(2));
        let booking = self.deposit("ORD-202602-GONE1", at, 15_900, false);
        self.book([booking]);
        let from = self.before(2);
        if let Some(deposit) = self.world.tupay.deposits.last_mut() {
            deposit.absences.push(Absence { from, until: None });
        }
        let what = "a completed deposit that is no longer listed";
        self.plant(JOB, Kind::Vanished, "ORD-202602-GONE1", (2, None), what);
    }

    fn doubled_deposits(&mut self) {
        let at = self.at(When::Day(4));
        let booking = self.deposit("ORD-202602-TWICE", at, 20_500, false);
        self.deposit("ORD-202602-TWICE", at + minutes(2), 20_500, false);
        self.book([booking]);
        let what = "the payer was charged twice for one order";
        self.plant(JOB, Kind::DuplicateInProvider, "ORD-202602-TWICE", (0, None), what);

        let at = self.at(When::Day(1));
        let booking = self.deposit("ORD-202602-BOOK2", at, 33_300, false);
        let mut second = booking.clone();
        second.ledger_id = format!("{}-B", second.ledger_id);
        second.absences.push(Absence {
            from: self.before(2),
            until: None,
        });
        self.book([booking, second]);
        let what = "one deposit booked twice, one entry removed later";
        self.plant(JOB, Kind::DuplicateInLedger, "ORD-202602-BOOK2", (0, Some(2)), what);

        let at = self.at(When::Day(3));
        let booking = self.deposit("ORD-202602-WHICH", at, 8_000, false);
        self.deposit("ORD-202602-WHICH", at + minutes(3), 12_000, false);
        self.book([booking.with(None, |e| (e.amount, e.fee) = (10_000, None))]);
        let what = "two deposits of one reference, an entry whose amount fits neither";
        self.plant(JOB, Kind::Ambiguous, "ORD-202602-WHICH", (0, None), what);

        let at = self.at(When::Day(2));
        let mut booking = self.deposit("ORD-202602-TYPED", at, 77_777, false);
        booking.reference = "ORD-202602-TPYED".into();
        self.book([booking]);
        let what = "the reference was mistyped in the ledger; the amount is unique";
        self.plant(JOB, Kind::Suggested, "ORD-202602-TYPED", (0, None), what);
    }

    fn odd_deposits(&mut self) {
        // Five days old, the demo's limit, half a day before the second night.
        let at = self.at(When::Day(1));
        let life = Life::new(at, DepositState::new("PENDING", 14_200));
        let booking = self.deposit_with("ORD-202602-STUCK", life, false);
        self.book([booking]);
        self.plant(
            JOB,
            Kind::StalePending,
            "ORD-202602-STUCK",
            (1, None),
            "pending for more than five days",
        );

        let at = self.at(When::Day(2));
        let settled = self.before(4);
        let life = Life::new(at, DepositState::new("IN_DISPUTE", 36_600))
            .then(settled, DepositState::new("COMPLETED", 36_600));
        let booking = self.deposit_with("ORD-202602-DISPU", life, false);
        let fee = super::super::world::tupay::fee_of(36_600);
        let booking = booking
            .with(None, |e| (e.state, e.fee) = ("paid", None))
            .with(Some(settled), |e| e.fee = Some(fee));
        self.book([booking]);
        let what = "a status the document does not name, settled later";
        self.plant(JOB, Kind::Unclassified, "ORD-202602-DISPU", (0, Some(4)), what);

        let at = self.at(When::Day(1));
        let repaired = self.before(2);
        let expired = DepositState::new("EXPIRED", 4_567);
        let torn = DepositState {
            printed: Some("45.678"),
            ..expired.clone()
        };
        self.deposit_with("ORD-202602-TORN1", Life::new(at, torn).then(repaired, expired), false);
        let what = "an amount with a third decimal, repaired later";
        self.plant(JOB, Kind::Unreadable, "", (0, Some(2)), what);

        let at = self.at(When::Day(4));
        let underpaid = |status| DepositState {
            requested: 10_000,
            ..DepositState::new(status, 9_000)
        };
        let life = Life::new(at, underpaid("PENDING")).then(at + minutes(5), underpaid("COMPLETED"));
        let booking = self.deposit_with("ORD-202602-UNDER", life, false);
        self.book([booking]);
        let what = "the payer paid ten soles less than asked; booked as paid";
        self.plant(JOB, Kind::BalanceResidual, "tupay R8", (0, None), what);
    }

    fn tupay_balance(&mut self) {
        let slip = Slip {
            currency: "PEN",
            day: covered(1),
            amount: 5_000,
            corrected: Some(self.before(2)),
        };
        self.world.tupay.slips.push(slip);
        let what = "fifty soles in the daily balance without a movement, corrected the day after";
        self.plant(JOB, Kind::BalanceResidual, "tupay R2", (1, Some(2)), what);

        let what = "one day of cashouts answers 500 all night";
        self.plant(
            JOB,
            Kind::IncompleteWindow,
            "",
            (BROKEN_NIGHT, Some(BROKEN_NIGHT + 1)),
            what,
        );
    }
}
