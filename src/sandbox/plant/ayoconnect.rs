//! What is planted at Ayoconnect, in both generations, and in the merchant's books about it.

use super::super::ledger::LookupKeys;
use super::super::world::ayoconnect::{Binding, Generation, Payment, PaymentState};
use super::*;

const CARDS: &str = "ayoconnect-cards";

/// The flow that gets no usable answer all night: a gateway's page, as the document expects.
pub(super) fn fault(world_key: &str) -> Fault {
    Fault {
        provider: Some(Service::Ayoconnect),
        query: Some(format!("XExternalId={world_key}")),
        count: Some(0),
        status: Some(504),
        html: true,
        ..Fault::default()
    }
}

/// X-EXTERNAL-ID of that flow.
pub(super) const UNANSWERED: &str = "demoflowwithoutananswer000000504";

fn ends(at: Instant, amount: i64, word: &'static str) -> Life<PaymentState> {
    Life::new(at, PaymentState::new("INITIATED", amount)).then(at + minutes(3), PaymentState::new(word, amount))
}

impl Gardener<'_> {
    pub(super) fn ayoconnect(&mut self) {
        for generation in [Generation::V2, Generation::V3] {
            self.unknown_flow(generation);
            self.differing_payments(generation);
            self.without_key(generation);
        }
        self.odd_flows();
        self.refunds();
        self.cards();
    }

    fn debit(&mut self, generation: Generation, life: Life<PaymentState>) -> &mut Payment {
        self.world.ayoconnect.payment(&mut self.random, generation, life)
    }

    fn unknown_flow(&mut self, generation: Generation) {
        let at = self.at(When::Day(3));
        let booking = self.debit(generation, ends(at, 17_350_000, "SUCCESS")).booking();
        self.world.ayoconnect.payments.pop();
        let reference = booking.reference.clone();
        self.book([booking]);
        let what = "booked, but Ayoconnect answers that it does not know it";
        self.plant(generation.job(), Kind::MissingInProvider, &reference, (0, None), what);
    }

    fn differing_payments(&mut self, generation: Generation) {
        let job = generation.job();
        let at = self.at(When::Day(2));
        let booking = self.debit(generation, ends(at, 25_000_000, "SUCCESS")).booking();
        let (corrected, reference) = (self.before(3), booking.reference.clone());
        let dear = booking.with(None, |e| e.amount = 25_050_000);
        self.book([dear.with(Some(corrected), |e| e.amount = 25_000_000)]);
        let what = "booked five hundred rupiah too high, corrected later";
        self.plant(job, Kind::AmountMismatch, &reference, (0, Some(3)), what);

        let at = self.at(When::Night(1));
        let booking = self.debit(generation, ends(at, 9_900_000, "FAILED")).booking();
        let reference = booking.reference.clone();
        self.book([booking.with(None, |e| e.state = "paid")]);
        let what = "three wrong one-time passwords, booked as paid";
        self.plant(job, Kind::StatusMismatch, &reference, (1, None), what);
    }

    /// The call died before its answer: the ledger lacks what Ayoconnect wants to be asked by, until support tells it.
    fn without_key(&mut self, generation: Generation) {
        let at = self.at(When::Day(4));
        let booking = self.debit(generation, ends(at, 5_000_000, "SUCCESS")).booking();
        let booking = booking.with(None, |e| e.state = "paid");
        let (told, reference) = (self.before(2), booking.reference.clone());
        let keys = match generation {
            Generation::V2 => LookupKeys {
                x_external_id: None,
                ..booking.keys.clone()
            },
            Generation::V3 => LookupKeys {
                reference_no: None,
                ..booking.keys.clone()
            },
        };
        let mut bare = Booking {
            keys,
            ..booking.clone()
        };
        bare.absences.push(Absence {
            from: told,
            until: None,
        });
        let mut whole = booking;
        whole.absences.push(Absence {
            from: Instant::MIN_UTC,
            until: Some(told),
        });
        self.book([bare, whole]);
        let what = "the ledger lacks the key that is asked by, until support tells it";
        self.plant(generation.job(), Kind::NotCheckable, &reference, (0, Some(2)), what);
    }

    /// Generation 2 only.
    fn odd_flows(&mut self) {
        let job = Generation::V2.job();
        let at = self.at(When::Day(1));
        let life = Life::new(at, PaymentState::new("TIMEOUT", 3_300_000));
        let booking = self.debit(Generation::V2, life).booking();
        let reference = booking.reference.clone();
        self.book([booking]);
        let what = "the bank timed out and never said more: open, not failed";
        self.plant(job, Kind::StalePending, &reference, (1, None), what);

        let at = self.at(When::Day(2));
        let decided = self.before(4);
        let life = Life::new(at, PaymentState::new("UNDER_REVIEW", 8_100_000))
            .then(decided, PaymentState::new("SUCCESS", 8_100_000));
        let booking = self.debit(Generation::V2, life).booking();
        let reference = booking.reference.clone();
        self.book([booking.with(None, |e| e.state = "paid")]);
        let what = "a result the document does not name, decided later";
        self.plant(job, Kind::Unclassified, &reference, (0, Some(4)), what);

        let at = self.at(When::Night(UNANSWERED_NIGHT));
        let payment = self.debit(Generation::V2, ends(at, 6_000_000, "SUCCESS"));
        UNANSWERED.clone_into(&mut payment.external_id);
        let booking = payment.booking();
        let reference = booking.reference.clone();
        self.book([booking]);
        let (from, until) = (UNANSWERED_NIGHT, Some(UNANSWERED_NIGHT + 1));
        let what = "the gateway answers 504 about one payment all night";
        self.plant(job, Kind::LookupFailed, &reference, (from, until), what);
    }

    /// Generation 3 tells of refunds, of a part without its amount.
    fn refunds(&mut self) {
        let job = Generation::V3.job();
        let refunded = |at, when, amount, settlement| {
            ends(at, amount, "SUCCESS").then(
                when,
                PaymentState {
                    settlement,
                    ..PaymentState::new("SUCCESS", amount)
                },
            )
        };
        let at = self.at(When::Day(3));
        let (when, booked) = (self.before(1), self.before(4));
        let payment = self.debit(Generation::V3, refunded(at, when, 14_500_000, "REFUNDED"));
        let (booking, refund) = (payment.booking(), payment.refund_booking(booked, 14_500_000));
        let reference = booking.reference.clone();
        self.book([booking, refund]);
        let what = "a payment given back in full, the refund booked only later";
        self.plant(job, Kind::MissingInLedger, &reference, REFUND_NIGHTS, what);

        let at = self.at(When::Day(2));
        let when = self.before(2);
        let payment = self.debit(Generation::V3, refunded(at, when, 22_000_000, "PARTIALLY REFUNDED"));
        let booking = payment.booking();
        let reference = booking.reference.clone();
        self.book([booking]);
        let what = "a payment given back in part; how much is not stated";
        self.plant(job, Kind::Unclassified, &reference, (2, None), what);

        let at = self.at(When::Day(4));
        let (when, followed) = (self.before(2), self.before(4));
        let life = ends(at, 7_000_000, "SUCCESS").then(when, PaymentState::new("FAILED", 7_000_000));
        let mut booking = self.debit(Generation::V3, life).booking();
        booking.life.0.pop();
        let reference = booking.reference.clone();
        self.book([booking.with(Some(followed), |e| e.state = "failed")]);
        let what = "a paid debit that Ayoconnect takes back; the ledger follows two nights later";
        self.plant(job, Kind::ReversedAfterBooking, &reference, (2, Some(4)), what);
    }

    fn cards(&mut self) {
        let at = self.at(When::Day(2));
        let life = Life::new(at, "ACTIVE").then(at + minutes(30), "DISABLED");
        let booking = self.card(life).booking();
        let reference = booking.reference.clone();
        self.book([booking.with(None, |e| e.state = "active")]);
        let what = "a card unbound by its owner, still active in the books: it needs a new link";
        self.plant(CARDS, Kind::StatusMismatch, &reference, (0, None), what);

        let at = self.at(When::Day(1));
        let (lapsed, followed) = (self.before(1), self.before(3));
        let life = Life::new(at, "ACTIVE").then(lapsed, "DISABLED");
        let mut booking = self.card(life).booking();
        booking.life.0.pop();
        let reference = booking.reference.clone();
        self.book([booking.with(Some(followed), |e| e.state = "unbound")]);
        let what = "a card unbound later; the books follow two nights after";
        self.plant(CARDS, Kind::ReversedAfterBooking, &reference, (1, Some(3)), what);
    }

    fn card(&mut self, life: Life<&'static str>) -> &mut Binding {
        self.world.ayoconnect.binding(&mut self.random, life)
    }
}

/// A refund carries no time: the ledger's grace begins with the night that first sees it, and ends before the next one.
const REFUND_NIGHTS: (usize, Option<usize>) = (2, Some(4));
