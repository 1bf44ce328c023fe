//! What is counted while the rows of the discrepancies report pass by once: sums per currency, and what the new rows have
//! in common. Pure; bounded in memory whatever the number of rows.

use std::collections::BTreeMap;

use rusqlite::Row;

use crate::money::{Currency, Unit, parse_minor};

/// Distinct values that are kept per trait; with more than that there is nothing in common.
const MOST_VALUES: usize = 500;

/// A count of discrepancies and the sum of their differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: i64,
    /// How many of them have a difference in money; a gap, another currency or an unanswered key has none.
    pub valued: i64,
    /// Sum of provider - ledger, minor units.
    pub minor: i128,
}

/// What one currency's discrepancies come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurrencySums {
    /// New and reopened ones.
    pub new: Sum,
    /// All open ones: new, reopened, older and acknowledged.
    pub open: Sum,
    /// Gone since the last night.
    pub resolved: Sum,
}

/// One thing that rows may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trait {
    Kind,
    /// The day they are about.
    Day,
    /// The reading they were found in: feed and first day, or the ledger's file.
    Place,
    /// Provider's amount against the booked one: `times 100`, `a 100th`, `the opposite sign`.
    Factor,
    /// The same difference on every row, in one currency.
    Difference,
    Direction,
    Account,
    Currency,
}

/// The counts of one pass.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By currency; empty text where a row has none.
    pub sums: BTreeMap<String, CurrencySums>,
    /// New and reopened rows.
    pub fresh: i64,
    traits: BTreeMap<Trait, BTreeMap<String, i64>>,
}

impl Tally {
    /// Counts one row of the report.
    ///
    /// # Errors
    /// A column that the report does not have.
    pub fn add(&mut self, row: &Row<'_>, status: &str) -> Result<(), rusqlite::Error> {
        let currency: String = row.get::<_, Option<String>>("currency")?.unwrap_or_default();
        let known = currency.parse::<Currency>().ok();
        let minor = |text: Option<String>| known.and_then(|c| parse_minor(&text?, c, Unit::Major).ok());
        let difference = minor(row.get("difference")?);
        let sums = self.sums.entry(currency.clone()).or_default();
        let mut add = |sum: fn(&mut CurrencySums) -> &mut Sum| {
            let sum = sum(sums);
            sum.count += 1;
            sum.valued += i64::from(difference.is_some());
            sum.minor += i128::from(difference.unwrap_or(0));
        };
        if status == "resolved" {
            add(|sums| &mut sums.resolved);
            return Ok(());
        }
        add(|sums| &mut sums.open);
        if !matches!(status, "new" | "reopened") {
            return Ok(());
        }
        add(|sums| &mut sums.new);
        self.fresh += 1;
        let text = |column: &str| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.unwrap_or_default());
        self.mark(Trait::Kind, text("kind")?);
        self.mark(Trait::Day, text("business_day")?);
        self.mark(Trait::Direction, text("direction")?);
        self.mark(Trait::Account, text("account")?);
        self.mark(Trait::Place, place(&text("evidence")?));
        let (booked, stated) = (minor(row.get("ledger_amount")?), minor(row.get("provider_amount")?));
        self.mark(Trait::Factor, factor(booked, stated).unwrap_or_default());
        let same = difference
            .filter(|d| *d != 0)
            .map(|_| row.get::<_, String>("difference"));
        let same = same.transpose()?.map(|amount| format!("{amount} {currency}"));
        self.mark(Trait::Difference, same.unwrap_or_default());
        self.mark(Trait::Currency, currency);
        Ok(())
    }

    fn mark(&mut self, which: Trait, value: String) {
        let values = self.traits.entry(which).or_default();
        if let Some(count) = values.get_mut(&value) {
            *count += 1;
        } else if values.len() < MOST_VALUES {
            values.insert(value, 1);
        }
    }

    /// The most frequent value of a trait among the new rows, and how many have it; None where it is the absence of one.
    pub fn most(&self, which: Trait) -> Option<(&str, i64)> {
        let values = self.traits.get(&which)?;
        // Of equally frequent ones the first in order: the same rows say the same.
        let (value, count) = values.iter().rev().max_by_key(|(_, count)| **count)?;
        (!value.is_empty()).then_some((value.as_str(), *count))
    }

    /// Every value of a trait with its count, the most frequent first.
    pub fn all(&self, which: Trait) -> Vec<(&str, i64)> {
        let values = self.traits.get(&which).into_iter().flatten();
        let mut values: Vec<(&str, i64)> = values.map(|(value, count)| (value.as_str(), *count)).collect();
        values.sort_by_key(|(_, count)| -count);
        values
    }
}

/// `deposits 2026-03-02, page 3, row 17; …` -> `deposits 2026-03-02`; `ledger books.csv line 40` -> `ledger books.csv`.
fn place(evidence: &str) -> String {
    let first = evidence.split([',', ';']).next().unwrap_or_default().trim();
    let first = first.rsplit_once(" line ").map_or(first, |(file, _)| file);
    // One subject is one payment: nothing that many rows share.
    first.split_once(" of ").map_or(first, |(feed, _)| feed).to_owned()
}

/// What the provider's amount is of the booked one, where it is one of the usual mistakes.
fn factor(booked: Option<i64>, stated: Option<i64>) -> Option<String> {
    let (booked, stated) = (booked.filter(|b| *b != 0)?, stated.filter(|s| *s != 0)?);
    if booked.checked_neg() == Some(stated) {
        return Some("the opposite sign".to_owned());
    }
    [10, 100, 1000].into_iter().find_map(|times: i64| {
        if booked.checked_mul(times) == Some(stated) {
            Some(format!("{times} times"))
        } else if stated.checked_mul(times) == Some(booked) {
            Some(format!("one {times}th"))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{factor, place};

    #[test]
    fn a_factor_is_only_one_of_the_usual_mistakes() {
        let of = |booked, stated| factor(Some(booked), Some(stated));
        assert_eq!(of(1999, 199_900).as_deref(), Some("100 times"));
        assert_eq!(of(199_900, 1999).as_deref(), Some("one 100th"));
        assert_eq!(of(-1999, 1999).as_deref(), Some("the opposite sign"));
        assert_eq!(of(i64::MIN, i64::MIN), None);
        assert_eq!(of(1000, 1010), None);
        assert_eq!(of(0, 0), None);
        assert_eq!(factor(None, Some(1)), None);
    }

    #[test]
    fn a_place_is_the_reading_and_not_the_row() {
        for (evidence, wanted) in [
            ("deposits 2026-03-02, page 3, row 17", "deposits 2026-03-02"),
            (
                "deposits 2026-03-02, page 3, row 18; ledger.csv line 12",
                "deposits 2026-03-02",
            ),
            ("ledger ledger/tupay-pe.csv line 221", "ledger ledger/tupay-pe.csv"),
            ("payins of PI-1, page 0, row 0; ledger x line 4", "payins"),
            ("", ""),
        ] {
            assert_eq!(place(evidence), wanted);
        }
    }
}
