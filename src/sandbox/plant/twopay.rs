//! What is planted at TwoPay and in its ledger.

use super::super::world::Residue;
use super::super::world::twopay::{Method, OrderState, Wallet, ends};
use super::*;

const JOB: &str = "twopay-co";
/// The key that gets no usable answer all night.
const UNANSWERED: &str = "PI-DEMO-NO-ANSWER";

/// Says neither that the key is unknown nor that the token is.
pub(super) fn fault() -> Fault {
    Fault {
        provider: Some(Service::Twopay),
        path: Some(format!("/co/v1/payment/{UNANSWERED}")),
        count: Some(0),
        body: Some(r#"{"code":401,"message":"sistema ocupado","data":null}"#.into()),
        ..Fault::default()
    }
}

impl Gardener<'_> {
    pub(super) fn twopay(&mut self) {
        self.unknown_keys();
        self.differing_answers();
        self.late_answers();
        self.odd_answers();
        self.wallets();
    }

    /// A payin or payout; gives what the merchant books.
    fn answer(&mut self, key: &str, wallet: Wallet, life: Life<OrderState>) -> Booking {
        let twopay = &mut self.world.twopay;
        twopay.order(&mut self.random, key, wallet, Method::Pse, life).booking()
    }

    fn unknown_keys(&mut self) {
        let at = self.at(When::Day(3));
        let entry = Entry {
            kind: "payin",
            currency: "COP",
            amount: 7_350_000,
            fee: None,
            state: "paid",
        };
        self.book([orphan(JOB, "CO-ghost", "PI-DEMO-GHOST", at, entry)]);
        let what = "booked under a key that TwoPay does not know";
        self.plant(JOB, Kind::MissingInProvider, "PI-DEMO-GHOST", (0, None), what);

        let at = self.at(When::Day(4));
        let booking = self.answer("PO-DEMO-LATE", Wallet::Payout, ends(at, 41_000_000, "SUCCESS"));
        let until = Some(self.before(2));
        if let Some(order) = self.world.twopay.orders.last_mut() {
            order.absences.push(Absence {
                from: Instant::MIN_UTC,
                until,
            });
        }
        self.book([booking]);
        let what = "a booked payout that TwoPay knows only days later";
        self.plant(JOB, Kind::MissingInProvider, "PO-DEMO-LATE", (0, Some(2)), what);
    }

    fn differing_answers(&mut self) {
        let at = self.at(When::Day(2));
        let booking = self.answer("PI-DEMO-SHORT", Wallet::Payin, ends(at, 12_500_000, "SUCCESS"));
        let corrected = self.before(2);
        let short = booking
            .with(None, |e| e.amount = 12_490_000)
            .with(Some(corrected), |e| e.amount = 12_500_000);
        self.book([short]);
        let what = "booked a hundred pesos short, corrected later";
        self.plant(JOB, Kind::AmountMismatch, "PI-DEMO-SHORT", (0, Some(2)), what);

        let at = self.at(When::Day(1));
        let booking = self.answer("PO-DEMO-FAILED", Wallet::Payout, ends(at, 8_800_000, "FAILED"));
        self.book([booking.with(None, |e| e.state = "paid")]);
        let what = "a failed payout, booked as paid";
        self.plant(JOB, Kind::StatusMismatch, "PO-DEMO-FAILED", (0, None), what);

        // TwoPay dates nothing: the ledger's grace begins with the night that first sees it paid.
        let at = self.at(When::Night(1));
        let booking = self.answer("PI-DEMO-PAID", Wallet::Payin, ends(at, 6_600_000, "SUCCESS"));
        let followed = self.before(4);
        let open = booking.with(None, |e| e.state = "open");
        self.book([open.with(Some(followed), |e| e.state = "paid")]);
        let what = "paid at TwoPay, still open in the ledger for three nights";
        self.plant(JOB, Kind::StatusMismatch, "PI-DEMO-PAID", (2, Some(4)), what);
    }

    fn late_answers(&mut self) {
        let at = self.at(When::Day(4));
        let (bounced, followed) = (self.before(2), self.before(4));
        let life = ends(at, 33_300_000, "SUCCESS").then(bounced, OrderState::new("FAILED", 33_300_000));
        let mut booking = self.answer("PO-DEMO-BOUNCED", Wallet::Payout, life);
        booking.life.0.pop();
        self.book([booking.with(Some(followed), |e| e.state = "failed")]);
        let what = "a paid payout that the bank sent back; the ledger follows two nights later";
        self.plant(JOB, Kind::ReversedAfterBooking, "PO-DEMO-BOUNCED", (2, Some(4)), what);
    }

    fn odd_answers(&mut self) {
        let at = self.at(When::Day(1));
        let life = Life::new(at, OrderState::new("IN_PROGRESS", 5_150_000));
        let booking = self.answer("PI-DEMO-STUCK", Wallet::Payin, life);
        self.book([booking]);
        let what = "a voucher in progress for more than five days";
        self.plant(JOB, Kind::StalePending, "PI-DEMO-STUCK", (1, None), what);

        let at = self.at(When::Day(2));
        let decided = self.before(4);
        let life =
            Life::new(at, OrderState::new("ON_HOLD", 9_990_000)).then(decided, OrderState::new("SUCCESS", 9_990_000));
        let booking = self.answer("PO-DEMO-HELD", Wallet::Payout, life);
        self.book([booking.with(None, |e| e.state = "paid")]);
        let what = "a status the document does not name, decided later";
        self.plant(JOB, Kind::Unclassified, "PO-DEMO-HELD", (0, Some(4)), what);

        let at = self.at(When::Night(UNANSWERED_NIGHT));
        let decided = self.before(UNANSWERED_NIGHT + 1);
        let life = Life::new(at, OrderState::new("IN_PROGRESS", 4_410_000))
            .then(decided, OrderState::new("SUCCESS", 4_410_000));
        let booking = self.answer(UNANSWERED, Wallet::Payin, life);
        self.book([booking]);
        let (from, until) = (UNANSWERED_NIGHT, Some(UNANSWERED_NIGHT + 1));
        let what = "TwoPay refuses to say anything about one key all night";
        self.plant(JOB, Kind::LookupFailed, UNANSWERED, (from, until), what);
    }

    /// Nobody asks about a key the ledger does not hold: only the wallet tells.
    fn wallets(&mut self) {
        let at = self.at(When::Night(2));
        let amount = 7_777_700;
        self.answer("PI-DEMO-UNBOOKED", Wallet::Payin, ends(at, amount, "SUCCESS"));
        self.world.residues.push(Residue {
            job: JOB,
            account: "payin",
            night: 2,
            amount,
            what: "a payin under a key that the ledger lacks",
        });
    }
}
