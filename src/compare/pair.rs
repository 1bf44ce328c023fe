//! One record against one entry: equal, not yet decided, or different, and in what. Pure.

use chrono::TimeDelta;

use super::grace::{self, Timing};
use super::rows::{Entry, Record};
use crate::day::BusinessDay;
use crate::money::{Currency, Unit, format_minor, parse_minor};
use crate::record::{Kind, LedgerStatus, Status, TransactionKind};

/// What a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Equal, or within tolerance; provider − ledger in minor units.
    Matched { difference: i64 },
    /// Nothing wrong yet: will be this kind on that day if nothing happens.
    Pending { becomes: Kind, day: BusinessDay },
    /// Different. None for currencies, where a difference means nothing.
    Differs { kind: Kind, difference: Option<i64> },
}

/// `[match] amount_tolerance`, per currency.
#[derive(Clone, Debug)]
pub struct Tolerance {
    major: String,
}

impl Tolerance {
    /// `major`: major units as written in the job file.
    pub fn new(major: &str) -> Self {
        Self {
            major: major.to_owned(),
        }
    }

    /// Minor units. A tolerance finer than the currency's minor unit tolerates nothing there.
    pub fn minor(&self, currency: Currency) -> i64 {
        parse_minor(&self.major, currency, Unit::Major).map_or(0, |minor| minor.max(0))
    }
}

/// Judges a pair. The order of the tests is the order of kinds for one identity: currency, direction, status, amount, fee.
pub fn judge(record: &Record, entry: &Entry, timing: &Timing, tolerance: &Tolerance) -> Judged {
    if record.currency != entry.currency {
        return Judged::Differs {
            kind: Kind::CurrencyMismatch,
            difference: None,
        };
    }
    let difference = record.amount.saturating_sub(entry.amount);
    let differs = |kind| Judged::Differs {
        kind,
        difference: Some(difference),
    };
    if record.direction != entry.direction {
        return differs(Kind::DirectionMismatch);
    }
    // How much of a payment went back only the ledger says: its entry is taken for the part, unless it is no part at all.
    if let Some(payment) = record.part_of()
        && entry.status == LedgerStatus::Settled
        && (1..payment.unsigned_abs()).contains(&entry.amount.unsigned_abs())
    {
        return Judged::Matched { difference: 0 };
    }
    if record.is_unclassified() || entry.status == LedgerStatus::Unknown {
        return differs(Kind::Unclassified);
    }
    let pending = match statuses(record, entry, timing) {
        Statuses::Agree => None,
        Statuses::Differ(kind) => return differs(kind),
        Statuses::NotYet { becomes, day } => Some(Judged::Pending { becomes, day }),
    };
    if difference.saturating_abs() > tolerance.minor(record.currency) {
        return differs(Kind::AmountMismatch);
    }
    match (pending, fee_difference(record, entry)) {
        (Some(pending), _) => pending,
        (None, Some(fee)) => Judged::Differs {
            kind: Kind::FeeMismatch,
            difference: Some(fee),
        },
        (None, None) => Judged::Matched { difference },
    }
}

enum Statuses {
    Agree,
    Differ(Kind),
    NotYet { becomes: Kind, day: BusinessDay },
}

fn statuses(record: &Record, entry: &Entry, timing: &Timing) -> Statuses {
    use LedgerStatus as L;
    use Status as P;
    let after = |since, grace: TimeDelta, becomes| match grace::until(since, grace, timing) {
        Some(day) => Statuses::NotYet { becomes, day },
        None => Statuses::Differ(becomes),
    };
    match (record.status, entry.status) {
        (P::Settled, L::Settled) | (P::Failed, L::Failed) => Statuses::Agree,
        // The ledger will follow within its grace.
        (P::Settled, L::Open) => after(record.changed(), timing.grace_ledger, Kind::StatusMismatch),
        (P::Settled, L::Failed) => Statuses::Differ(Kind::StatusMismatch),
        // Booked, and the provider not final yet.
        (P::Open, L::Settled) => {
            let since = entry.booked_at.unwrap_or_else(|| record.born());
            after(since, timing.grace_provider, Kind::StatusMismatch)
        }
        (P::Failed, L::Settled) if record.was_settled => Statuses::Differ(Kind::ReversedAfterBooking),
        (P::Failed, L::Settled) => Statuses::Differ(Kind::StatusMismatch),
        (P::Open, L::Open | L::Failed) => after(record.born_beside(entry), timing.stale, Kind::StalePending),
        // No money on either side, but the ledger still waits for some.
        (P::Failed, L::Open) => after(record.changed(), timing.stale, Kind::StatusMismatch),
        (P::Unknown, _) | (_, L::Unknown | L::Excluded) => Statuses::Differ(Kind::Unclassified),
    }
}

/// Provider − ledger where both state a fee in the currency of the payment and it was taken; None when they agree or cannot
/// be compared.
pub fn fee_difference(record: &Record, entry: &Entry) -> Option<i64> {
    let comparable = record.fee_currency.is_none_or(|c| c == record.currency)
        && record.status == Status::Settled
        && entry.status == LedgerStatus::Settled
        && record.kind != TransactionKind::Fee;
    let (theirs, ours) = (record.fee?, entry.fee?);
    (comparable && theirs != ours).then(|| theirs.saturating_sub(ours))
}

/// Everything in which a pair differs, as a person reads it: `amount: 100.00 -> 90.00` (ledger -> provider).
pub fn what_differs(record: &Record, entry: &Entry) -> String {
    let mut parts = Vec::new();
    if record.currency != entry.currency {
        parts.push(format!("currency: {} -> {}", entry.currency, record.currency));
    }
    if record.direction != entry.direction {
        parts.push(format!("direction: {} -> {}", entry.direction, record.direction));
    }
    if record.status.as_str() != entry.status.as_str() {
        parts.push(format!("status: {} -> {}", entry.status, record.status));
    }
    if record.amount != entry.amount || record.currency != entry.currency {
        let ours = format_minor(entry.amount, entry.currency);
        parts.push(format!(
            "amount: {ours} -> {}",
            format_minor(record.amount, record.currency)
        ));
    }
    if let (Some(theirs), Some(ours)) = (record.fee, entry.fee)
        && fee_difference(record, entry).is_some()
    {
        let (ours, theirs) = (
            format_minor(ours, entry.currency),
            format_minor(theirs, record.currency),
        );
        parts.push(format!("fee: {ours} -> {theirs}"));
    }
    parts.join("; ")
}
