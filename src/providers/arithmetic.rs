//! Pieces that the providers' arithmetic shares: figures by day or sweep, gaps, amounts in words.

use std::collections::BTreeMap;

use super::{Books, StatementItem, StatementLine};
use crate::day::Instant;
use crate::money::{Currency, format_minor};

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
    let exact: i128 = amounts.into_iter().map(i128::from).sum();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
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
