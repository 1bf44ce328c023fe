//! PayVyne's proof per account, currency and day, from what the sweeps of the day state.

use std::collections::BTreeMap;

use super::super::arithmetic::{Proof, sum};
use super::relations::{Sweep, sweeps};
use crate::day::day_of;
use crate::money::Currency;
use crate::providers::{Books, StatementLine};

/// From the opening of the day's first sweep to the closing of its last; what a sweep between them did not pass on stands
/// in the residual, and so does what it lists in another currency. Sweeps whose own figures are of several currencies prove
/// nothing.
pub(super) fn lines(books: &Books) -> Vec<StatementLine> {
    let sweeps = sweeps(books);
    let mut days: BTreeMap<(&str, Currency, chrono::NaiveDate), Vec<&Sweep<'_>>> = BTreeMap::new();
    for sweep in sweeps.iter().filter(|sweep| sweep.currencies.len() == 1) {
        let day = day_of(sweep.as_of, books.zone);
        days.entry((sweep.account, sweep.currency, day))
            .or_default()
            .push(sweep);
    }
    days.into_iter()
        .filter_map(|((account, currency, business_day), sweeps)| {
            let (first, last) = (sweeps.first()?, sweeps.last()?);
            let proof = Proof {
                account,
                currency,
                business_day,
                opening: first.get("opening_balance"),
                explained: explained(&sweeps),
                closing: last.get("closing_balance"),
                source: source(&sweeps),
            };
            Some(proof.lines())
        })
        .flatten()
        .collect()
}

/// Effects by kind over the day's sweeps, and what was transferred away.
fn explained(sweeps: &[&Sweep<'_>]) -> Vec<(String, i64, String)> {
    let mut kinds: Vec<(String, i64)> = Vec::new();
    for (kind, amount) in sweeps.iter().flat_map(|sweep| sweep.proved_effects()) {
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, total)) => *total = total.saturating_add(amount),
            None => kinds.push((kind, amount)),
        }
    }
    let transferred = sum(sweeps.iter().map(|sweep| sweep.get("transferred_amount")));
    kinds.push(("transfer".to_owned(), transferred.saturating_neg()));
    kinds
        .into_iter()
        .map(|(kind, amount)| (kind, amount, source(sweeps)))
        .collect()
}

fn source(sweeps: &[&Sweep<'_>]) -> String {
    let ids: Vec<&str> = sweeps.iter().map(|sweep| sweep.id).collect();
    match ids.as_slice() {
        [only] => format!("sweep {only}"),
        several => format!("sweeps {}", several.join(", ")),
    }
}
