//! One2Pays' only arithmetic (section 8.4): what the wallet gained between two nights against what moved. Advisory: fees
//! are visible nowhere, so something may always be left.

use std::collections::BTreeMap;
use std::ops::Bound;

use chrono::NaiveDate;

use super::super::arithmetic::{Movements, Proof, has_gap, money, off_by, sum};
use super::{BALANCE, PAYMENTS, WITHDRAWS};
use crate::day::{Instant, day_of};
use crate::money::Currency;
use crate::providers::{Books, Relation, Sense, StatementLine};

/// Wallet and settlement balance as they were sampled for a business day.
struct Sample<'b> {
    account: &'b str,
    currency: Currency,
    as_of: Instant,
    /// The last day that was over.
    day: NaiveDate,
    total: i64,
}

/// Two samples and what was read to have moved between them.
struct Step<'s, 'b> {
    before: &'s Sample<'b>,
    after: &'s Sample<'b>,
    payments: i64,
    withdraws: i64,
}

/// The last sample of each day; of several runs for one day the latest holds.
fn samples(books: &Books) -> Vec<Sample<'_>> {
    let mut sums: BTreeMap<(&str, Currency, Instant), i64> = BTreeMap::new();
    for balance in books.balances.iter().filter(|b| b.feed == BALANCE) {
        let total = sums
            .entry((&balance.account, balance.currency, balance.as_of))
            .or_default();
        *total = total.saturating_add(balance.amount_minor);
    }
    let mut days: BTreeMap<(&str, Currency, NaiveDate), Sample<'_>> = BTreeMap::new();
    for ((account, currency, as_of), total) in sums {
        let today = day_of(as_of, books.zone);
        let day = today.pred_opt().unwrap_or(today);
        let sample = Sample {
            account,
            currency,
            as_of,
            day,
            total,
        };
        days.insert((account, currency, day), sample);
    }
    days.into_values().collect()
}

fn steps<'s, 'b>(books: &Books, samples: &'s [Sample<'b>]) -> Vec<Step<'s, 'b>> {
    let movements = Movements::of(&books.totals);
    samples
        .iter()
        .zip(samples.iter().skip(1))
        .filter(|(before, after)| before.account == after.account && before.currency == after.currency)
        .filter(|(before, after)| {
            ![PAYMENTS, WITHDRAWS, BALANCE]
                .iter()
                .any(|feed| has_gap(books, feed, before.as_of, after.as_of))
        })
        .map(|(before, after)| Step {
            before,
            after,
            payments: moved(&movements, PAYMENTS, before, after),
            withdraws: moved(&movements, WITHDRAWS, before, after),
        })
        .collect()
}

/// Signed sum of what settled on the days after one sample's and up to the other's.
fn moved(movements: &Movements<'_>, feed: &str, before: &Sample<'_>, after: &Sample<'_>) -> i64 {
    // Samples come in the order of their days.
    let days = (Bound::Excluded(before.day), Bound::Included(after.day));
    movements.on(feed, None, after.currency, days).0
}

pub(super) fn all(books: &Books) -> Vec<Relation> {
    let samples = samples(books);
    steps(books, &samples).iter().map(delta).collect()
}

fn delta(step: &Step<'_, '_>) -> Relation {
    let Step { before, after, .. } = step;
    let stated = after.total.saturating_sub(before.total);
    let computed = sum([step.payments, step.withdraws]);
    let mut detail = format!(
        "one2pays balance: wallet and settlement balance changed by {} from {} to {}, payments less withdraws give {}",
        money(stated, after.currency),
        before.day,
        after.day,
        money(computed, after.currency)
    );
    let residual = stated.saturating_sub(computed);
    if residual != 0 {
        detail.push_str(&format!(
            ": {}, unexplained (fees are visible nowhere)",
            off_by(residual, after.currency)
        ));
    }
    Relation {
        name: "balance",
        settlement: false,
        advisory: true,
        account: after.account.to_owned(),
        subject: String::new(),
        reference: None,
        currency: after.currency,
        stated_minor: stated,
        computed_minor: computed,
        at: after.as_of,
        business_day: after.day,
        sense: Some(Sense::Signed),
        detail,
    }
}

pub(super) fn statement(books: &Books) -> Vec<StatementLine> {
    let samples = samples(books);
    let proof = |step: &Step<'_, '_>| {
        Proof {
            account: step.after.account,
            currency: step.after.currency,
            business_day: step.after.day,
            opening: step.before.total,
            explained: vec![
                ("payment".into(), step.payments, "rows".into()),
                ("withdraw".into(), step.withdraws, "rows".into()),
            ],
            closing: step.after.total,
            source: "balance snapshots".into(),
        }
        .lines()
    };
    steps(books, &samples).iter().flat_map(proof).collect()
}
