//! Pieces that the providers' arithmetic shares: figures by day or sweep, gaps, amounts in words.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use chrono::NaiveDate;

use super::{Books, StatementItem, StatementLine, Total};
use crate::day::Instant;
use crate::money::{Currency, fitted, format_minor};
use crate::record::Status;

/// Figures by item.
pub type Figures<'b> = BTreeMap<&'b str, i64>;

/// `12.34 PEN`.
pub fn money(minor: i64, currency: Currency) -> String {
    format!("{} {currency}", format_minor(minor, currency))
}

/// `58.62 PEN too much` / `58.62 PEN too little`, for stated - computed.
pub fn off_by(residual: i64, currency: Currency) -> String {
    let amount = money(residual.checked_abs().unwrap_or(i64::MAX), currency);
    if residual < 0 {
        format!("{amount} too little")
    } else {
        format!("{amount} too much")
    }
}

/// An exact sum; one that does not fit stops at the end of the range, which no account reaches.
pub fn sum(amounts: impl IntoIterator<Item = i64>) -> i64 {
    fitted(amounts.into_iter().map(i128::from).sum())
}

/// Settled movements by day, looked through once: every day of the books asks for its own, and going over all totals for
/// each of them would cost the square of the history.
pub struct Movements<'b> {
    /// Few: one per feed, account and currency.
    groups: Vec<Group<'b>>,
}

struct Group<'b> {
    feed: &'b str,
    account: &'b str,
    currency: Currency,
    /// Signed amounts and fees.
    days: BTreeMap<NaiveDate, (i128, i128)>,
}

impl<'b> Group<'b> {
    fn empty(total: &'b Total) -> Self {
        Self {
            feed: &total.feed,
            account: &total.account,
            currency: total.currency,
            days: BTreeMap::new(),
        }
    }
}

impl<'b> Movements<'b> {
    /// Sorts the settled totals that have a day.
    pub fn of(totals: &'b [Total]) -> Self {
        let mut groups: Vec<Group<'b>> = Vec::new();
        for total in totals.iter().filter(|t| t.status == Status::Settled) {
            let Some(day) = total.changed_day else { continue };
            let own =
                |g: &Group<'_>| g.feed == total.feed && g.account == total.account && g.currency == total.currency;
            let at = groups.iter().position(own).unwrap_or_else(|| {
                groups.push(Group::empty(total));
                groups.len() - 1
            });
            let group = &mut groups[at];
            let slot = group.days.entry(day).or_default();
            slot.0 += i128::from(total.amount_minor);
            slot.1 += i128::from(total.fee_minor);
        }
        Self { groups }
    }

    /// Signed sum and fees of a feed's movements in a currency on these days; of one account, or of all.
    pub fn on(
        &self,
        feed: &str,
        account: Option<&str>,
        currency: Currency,
        days: impl RangeBounds<NaiveDate> + Clone,
    ) -> (i64, i64) {
        let of_feed = self
            .groups
            .iter()
            .filter(|g| g.feed == feed && g.currency == currency && account.is_none_or(|a| a == g.account));
        let (mut amount, mut fee) = (0_i128, 0_i128);
        for (_, day) in of_feed.flat_map(|group| group.days.range(days.clone())) {
            amount += day.0;
            fee += day.1;
        }
        (fitted(amount), fitted(fee))
    }
}

/// Whether a window of the feed that touches `[from, until]` was not read to its end: then nothing is said across it.
pub fn has_gap(books: &Books, feed: &str, from: Instant, until: Instant) -> bool {
    books
        .gaps
        .iter()
        .any(|(gap_feed, window)| gap_feed == feed && window.from <= until && window.until > from)
}

/// The lines of one proof: opening, what explains it, closing, and what is left. Lines of zero are left out, except the
/// ends and the residual.
pub struct Proof<'p> {
    pub account: &'p str,
    pub currency: Currency,
    pub business_day: chrono::NaiveDate,
    pub opening: i64,
    /// Kind, signed effect on the balance, source.
    pub explained: Vec<(String, i64, String)>,
    pub closing: i64,
    /// Where opening and closing are from.
    pub source: String,
}

impl Proof<'_> {
    pub fn lines(self) -> Vec<StatementLine> {
        let explained = sum(self.explained.iter().map(|(_, amount, _)| *amount));
        let residual = self.closing.saturating_sub(self.opening).saturating_sub(explained);
        let mut lines = vec![(StatementItem::Opening, self.opening, self.source.clone())];
        let moved = self.explained.into_iter().filter(|(_, amount, _)| *amount != 0);
        lines.extend(moved.map(|(kind, amount, source)| (StatementItem::Explained(kind), amount, source)));
        lines.push((StatementItem::Closing, self.closing, self.source.clone()));
        lines.push((StatementItem::Residual, residual, self.source));
        lines
            .into_iter()
            .zip(0_u32..)
            .map(|((line, amount_minor, source), position)| StatementLine {
                account: self.account.to_owned(),
                currency: self.currency,
                business_day: self.business_day,
                position,
                line,
                amount_minor,
                source,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;
    use crate::record::TransactionKind;

    fn totals() -> impl Strategy<Value = Vec<Total>> {
        let one = (
            0..2_usize,
            0..2_usize,
            0..2_usize,
            0..2_usize,
            0..6_u64,
            -50..50_i64,
            0..9_i64,
        );
        let total = one.prop_map(
            |(feed, account, currency, status, day, amount_minor, fee_minor)| Total {
                account: ["1", "2"][account].to_owned(),
                feed: ["deposits", "cashouts"][feed].to_owned(),
                subject: String::new(),
                kind: TransactionKind::Payment,
                status: [Status::Settled, Status::Open][status],
                currency: ["PEN", "USD"][currency].parse().unwrap(),
                changed_day: (day > 0).then(|| NaiveDate::default() + chrono::Days::new(day)),
                count: 1,
                amount_minor,
                fee_minor,
            },
        );
        prop::collection::vec(total, 0..60)
    }

    proptest! {
        #[test]
        fn movements_of_a_span_are_the_sum_over_all_totals(totals in totals(), first in 0..6_u64, length in 0..6_u64, one in any::<bool>()) {
            let day = |n| NaiveDate::default() + chrono::Days::new(n);
            let (after, until) = (day(first), day(first + length));
            let account = one.then_some("1");
            let currency: Currency = "PEN".parse().unwrap();
            let whole = |of: fn(&Total) -> i64| {
                let fits = |t: &&Total| {
                    t.feed == "deposits" && t.status == Status::Settled && t.currency == currency
                        && account.is_none_or(|a| a == t.account)
                        && t.changed_day.is_some_and(|d| after <= d && d <= until)
                };
                sum(totals.iter().filter(fits).map(of))
            };
            let movements = Movements::of(&totals);
            let span = (Bound::Included(after), Bound::Included(until));
            prop_assert_eq!(
                movements.on("deposits", account, currency, span),
                (whole(|t| t.amount_minor), whole(|t| t.fee_minor))
            );
        }
    }
}
