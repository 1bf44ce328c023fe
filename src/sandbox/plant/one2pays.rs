//! What is planted at One2Pays and in its ledger.

use super::*;

const JOB: &str = "one2pays-th";

/// A payment settled eight minutes after it was made.
pub(super) fn settled(at: Instant, amount: i64) -> Life<OrderState> {
    ends(at, amount, "succeeded")
}

fn ends(at: Instant, amount: i64, word: &'static str) -> Life<OrderState> {
    let open = Life::new(
        at,
        OrderState {
            status: "processing",
            amount,
        },
    );
    open.then(at + minutes(8), OrderState { status: word, amount })
}

impl Gardener<'_> {
    pub(super) fn one2pays(&mut self) {
        self.missing_orders();
        self.differing_orders();
        self.late_orders();
    }

    /// A payment; gives what the merchant would book.
    fn order(&mut self, reference: &str, life: Life<OrderState>) -> Booking {
        self.world
            .one2pays
            .payment(&mut self.random, reference, life)
            .booking("in", false)
    }

    fn missing_orders(&mut self) {
        let at = self.at(When::Night(1));
        let life = ends(at, 318_000, "paid");
        let booking = self
            .world
            .one2pays
            .withdraw(&mut self.random, "wd-unbooked", life)
            .booking("out", false);
        let booked = self.before(3);
        self.book([booking.late(booked)]);
        let what = "a paid withdraw, booked two nights later";
        self.plant(JOB, Kind::MissingInLedger, "wd-unbooked", (1, Some(3)), what);

        let at = self.at(When::Day(3));
        let booking = self.order("TH-listed-late", settled(at, 66_100));
        let until = Some(self.before(2));
        if let Some(order) = self.world.one2pays.payments.last_mut() {
            order.absences.push(Absence {
                from: Instant::MIN_UTC,
                until,
            });
        }
        self.book([booking]);
        let what = "booked, but listed by the provider only days later";
        self.plant(JOB, Kind::MissingInProvider, "TH-listed-late", (0, Some(2)), what);
    }

    fn differing_orders(&mut self) {
        let at = self.at(When::Day(2));
        let booking = self.order("TH-not-paid", ends(at, 91_500, "expired"));
        self.book([booking.with(None, |e| e.state = "settled")]);
        let what = "expired at the provider, settled in the ledger";
        self.plant(JOB, Kind::StatusMismatch, "TH-not-paid", (0, None), what);

        let at = self.at(When::Day(4));
        let booking = self.order("TH-one-baht", settled(at, 45_000));
        self.book([booking.with(None, |e| e.amount += 100)]);
        self.plant(
            JOB,
            Kind::AmountMismatch,
            "TH-one-baht",
            (0, None),
            "booked one baht too high",
        );

        let at = self.at(When::Day(1));
        let booking = self.order("TH-new-word", ends(at, 73_300, "partially_refunded"));
        self.book([booking.with(None, |e| e.state = "settled")]);
        let what = "a status the document does not name";
        self.plant(JOB, Kind::Unclassified, "TH-new-word", (0, None), what);
    }

    fn late_orders(&mut self) {
        let at = self.at(When::Day(3));
        let restated = self.before(3);
        let life = settled(at, 50_000).then(
            restated,
            OrderState {
                status: "succeeded",
                amount: 49_000,
            },
        );
        let booking = self.order("TH-restated", life);
        self.book([booking]);
        let what = "the amount of a settled payment is restated; the ledger follows at once";
        self.plant(JOB, Kind::ChangedAfterFinal, "TH-restated", (3, None), what);

        let at = self.at(When::Day(2));
        let booking = self.order("TH-hide-and-seek", settled(at, 12_700));
        self.book([booking]);
        let (from, until) = (self.before(2), Some(self.before(4)));
        if let Some(order) = self.world.one2pays.payments.last_mut() {
            order.absences.push(Absence { from, until });
        }
        let what = "a settled payment missing from the list for two nights";
        self.plant(JOB, Kind::Vanished, "TH-hide-and-seek", (2, Some(4)), what);
    }
}
