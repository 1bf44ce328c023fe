//! TwoPay's only arithmetic (section 8.4): what each wallet gained between two nights against the records that were first
//! seen settled between them. Advisory: fees, top-ups and the moment of a debit are visible nowhere.

use std::collections::BTreeMap;
use std::ops::Bound;

use chrono::NaiveDate;

use super::super::arithmetic::{Movements, Proof, has_gap, money, off_by};
use super::wire::wallet;
use super::{PAYIN_BALANCE, PAYINS, PAYOUT_BALANCE, PAYOUTS};
use crate::day::{Instant, day_of};
use crate::money::Currency;
use crate::providers::{Books, Relation, Sense, StatementLine};

/// A wallet's figure as it was sampled.
#[derive(Clone, Copy)]
struct Sample {
    as_of: Instant,
    /// Day of the sample itself in the job's zone: records carry the day on which they were first seen as they are.
    seen: NaiveDate,
    amount: i64,
}

/// Two samples of a wallet and what was seen to have moved between them.
struct Step {
    balance: &'static str,
    currency: Currency,
    before: Sample,
    after: Sample,
    moved: i64,
}

impl Step {
    /// The last business day that was over at a sample.
    fn day(sample: Sample) -> NaiveDate {
        sample.seen.pred_opt().unwrap_or(sample.seen)
    }
}

fn steps(books: &Books) -> Vec<Step> {
    let movements = Movements::of(&books.totals);
    [(PAYIN_BALANCE, PAYINS), (PAYOUT_BALANCE, PAYOUTS)]
        .into_iter()
        .flat_map(|(balance, feed)| wallet_steps(books, &movements, balance, feed))
        .collect()
}

fn wallet_steps(books: &Books, movements: &Movements<'_>, balance: &'static str, feed: &str) -> Vec<Step> {
    // The last sample of each day; of several runs for one day the latest holds.
    let mut samples: BTreeMap<(Currency, NaiveDate), Sample> = BTreeMap::new();
    for figure in books.balances.iter().filter(|figure| figure.feed == balance) {
        let seen = day_of(figure.as_of, books.zone);
        let sample = Sample {
            as_of: figure.as_of,
            seen,
            amount: figure.amount_minor,
        };
        let slot = samples.entry((figure.currency, seen)).or_insert(sample);
        if slot.as_of <= sample.as_of {
            *slot = sample;
        }
    }
    let samples: Vec<(Currency, Sample)> = samples.into_iter().map(|((currency, _), s)| (currency, s)).collect();
    samples
        .iter()
        .zip(samples.iter().skip(1))
        .filter(|((earlier, _), (later, _))| earlier == later)
        .map(|((currency, before), (_, after))| (*currency, *before, *after))
        .filter(|(_, before, after)| {
            ![balance, feed]
                .iter()
                .any(|feed| has_gap(books, feed, before.as_of, after.as_of))
        })
        .map(|(currency, before, after)| Step {
            balance,
            currency,
            before,
            after,
            moved: moved(movements, feed, currency, before.seen, after.seen),
        })
        .collect()
}

/// Signed sum of what was first seen settled after one sample and up to the other.
fn moved(movements: &Movements<'_>, feed: &str, currency: Currency, after: NaiveDate, until: NaiveDate) -> i64 {
    // Samples come in the order of their days, one a day.
    let days = (Bound::Excluded(after), Bound::Included(until));
    movements.on(feed, None, currency, days).0
}

pub(super) fn all(books: &Books) -> Vec<Relation> {
    steps(books).iter().map(delta).collect()
}

fn delta(step: &Step) -> Relation {
    let (before, after) = (Step::day(step.before), Step::day(step.after));
    let stated = step.after.amount.saturating_sub(step.before.amount);
    let mut detail = format!(
        "twopay balance: the {} wallet changed by {} from {before} to {after}, records seen to settle give {}",
        wallet(step.balance),
        money(stated, step.currency),
        money(step.moved, step.currency)
    );
    let residual = stated.saturating_sub(step.moved);
    if residual != 0 {
        detail.push_str(&format!(
            ": {}, unexplained (fees, top-ups, settlements, or a transaction of that amount which the ledger lacks)",
            off_by(residual, step.currency)
        ));
    }
    Relation {
        name: "balance",
        settlement: false,
        advisory: true,
        account: wallet(step.balance).to_owned(),
        subject: String::new(),
        reference: None,
        currency: step.currency,
        stated_minor: stated,
        computed_minor: step.moved,
        at: step.after.as_of,
        business_day: after,
        sense: Some(Sense::Signed),
        detail,
    }
}

pub(super) fn statement(books: &Books) -> Vec<StatementLine> {
    let proof = |step: &Step| {
        let kind = if step.balance == PAYIN_BALANCE {
            "payment"
        } else {
            "payout"
        };
        Proof {
            account: wallet(step.balance),
            currency: step.currency,
            business_day: Step::day(step.after),
            opening: step.before.amount,
            explained: vec![(kind.into(), step.moved, "rows".into())],
            closing: step.after.amount,
            source: "balance snapshots".into(),
        }
        .lines()
    };
    steps(books).iter().flat_map(proof).collect()
}
