//! Names what a residual lost: when exactly one known row of the day has the amount that is left, it is named; when none or
//! several have it, that is said. Nothing is guessed.
//!
//! Known are rows that the lists of a day do not hold although they were heard of: listed once and gone, settled once and
//! dated another day since, listed but not settled, booked only. A residual is *stated − computed*: a credit that is missing
//! from the list leaves its own amount.

use chrono_tz::Tz;
use rusqlite::{Connection, named_params};

use super::items::places;
use super::rows::{damaged, optional_instant, word};
use crate::day::{BusinessDay, day_of};
use crate::failure::Failure;
use crate::money::{Currency, format_minor};
use crate::providers::Sense;

/// A residual in search of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residual<'r> {
    pub account: &'r str,
    pub currency: Currency,
    pub day: BusinessDay,
    /// Stated − computed, minor units.
    pub minor: i64,
    pub sense: Sense,
}

/// Why a row is not where a list should hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Gone,
    Moved,
    Came,
    Open,
    Booked,
}

/// A row that is heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    why: Why,
    /// None: the ledger names none.
    account: Option<String>,
    currency: Currency,
    day: BusinessDay,
    effect: i64,
    fee: Option<i64>,
    /// Reference and id, as a person looks them up.
    name: String,
    /// The provider's word; for booked ones the place in the ledger.
    more: String,
    /// When it went, or the other day it is dated.
    other_day: Option<BusinessDay>,
}

/// What is known about a residual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Exactly one row fits.
    One(String),
    /// None fits, or several do; the sentence says which.
    Unknown(String),
}

impl Loss {
    /// The sentence, whatever it says.
    pub fn text(self) -> String {
        match self {
            Self::One(text) | Self::Unknown(text) => text,
        }
    }
}

/// Looks for the one row. Pure.
pub fn name(residual: &Residual<'_>, known: &[Known]) -> Loss {
    let amount = format_minor(residual.minor.checked_abs().unwrap_or(i64::MAX), residual.currency);
    let fits = |row: &&Known| {
        let here = row.currency == residual.currency && row.day == residual.day;
        let account = row.account.as_deref().is_none_or(|a| a == residual.account);
        let left = match residual.sense {
            Sense::Signed => Some(row.effect),
            Sense::Debits => row.effect.checked_neg(),
            Sense::Fees => row.fee,
        };
        here && account && left == Some(residual.minor)
    };
    let found: Vec<&Known> = known.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Loss::One(told(one, residual, &amount)),
        [] => Loss::Unknown(format!(
            "no known row of {} accounts for {amount}: none that went, moved or is still open there, and none that is only booked",
            residual.day
        )),
        several => Loss::Unknown(format!(
            "{} known rows of {} would account for {amount}, so none is named",
            several.len(),
            residual.day
        )),
    }
}

fn told(row: &Known, residual: &Residual<'_>, amount: &str) -> String {
    let of = if residual.sense == Sense::Fees { "fee" } else { "row" };
    let (day, name, more) = (residual.day, &row.name, &row.more);
    let other = row.other_day.map_or_else(|| "later".to_owned(), |day| day.to_string());
    match row.why {
        Why::Gone => format!(
            "one {of} of {amount} is missing from the list of {day}: {name} was listed there and was found gone on {other}"
        ),
        Why::Moved => format!(
            "one {of} of {amount} is missing from the list of {day}: {name} was settled on that day and is dated {other} since it changed (`{more}`)"
        ),
        Why::Came => format!(
            "one {of} of {amount} stands in the list of {day} that the figure does not hold: {name} was settled on {other} before it changed"
        ),
        Why::Open => format!("one {of} of {amount} is not settled in the list of {day}: {name} is `{more}` there"),
        Why::Booked => {
            format!("one {of} of {amount} is missing from the list of {day}: {name} is booked ({more}) and not listed")
        }
    }
}

/// Rows with one of these amounts. One look at the job's rows; none where nothing is left over.
pub fn read(conn: &Connection, job: &str, zone: Tz, residuals: &[Residual<'_>]) -> Result<Vec<Known>, Failure> {
    if residuals.is_empty() {
        return Ok(Vec::new());
    }
    let mut amounts: Vec<i64> = residuals
        .iter()
        .flat_map(|residual| [Some(residual.minor), residual.minor.checked_neg()])
        .flatten()
        .collect();
    amounts.sort_unstable();
    amounts.dedup();
    let places = places(conn, job)?;
    let mut listed = conn.prepare(
        "SELECT 1 FROM transactions WHERE job = ?1 AND feed = ?2 AND account = ?3 AND provider_id = ?4 LIMIT 1",
    )?;
    let mut statement = conn.prepare(include_str!("loss.sql"))?;
    let amounts = serde_json::Value::from(amounts).to_string();
    let mut rows = statement.query(named_params! {":job": job, ":amounts": amounts})?;
    let mut known = Vec::new();
    while let Some(row) = rows.next()? {
        // What has no time has no day to be missing from.
        let Some(at) = optional_instant(row, 3, "transactions.changed_at")? else {
            continue;
        };
        let why = match row.get_ref(0)?.as_str().unwrap_or_default() {
            "gone" => Why::Gone,
            "moved" => Why::Moved,
            "came" => Why::Came,
            "open" => Why::Open,
            "booked" => Why::Booked,
            _ => return Err(damaged("loss.sql")),
        };
        let (reference, id): (Option<String>, Option<String>) = (row.get(6)?, row.get(7)?);
        if why == Why::Booked
            && let Some(id) = &id
        {
            let mut found = false;
            for (feed, account) in &places {
                found |= listed.exists((job, feed, account, id))?;
            }
            if found {
                continue;
            }
        }
        let name = match (reference, id) {
            (Some(reference), Some(id)) if reference != id => format!("{reference} ({id})"),
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => "a row without a key".to_owned(),
        };
        known.push(Known {
            why,
            account: row.get(1)?,
            currency: word(row, 2, "transactions.currency")?,
            day: day_of(at, zone),
            effect: row.get(4)?,
            fee: row.get(5)?,
            name,
            more: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
            other_day: optional_instant(row, 9, "transactions.vanished_at")?.map(|at| day_of(at, zone)),
        });
    }
    let own: std::collections::BTreeSet<&str> = places.iter().map(|(_, account)| account.as_str()).collect();
    for row in &mut known {
        // A ledger's own names of accounts say nothing about the provider's.
        if row.why == Why::Booked && row.account.as_deref().is_some_and(|account| !own.contains(account)) {
            row.account = None;
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> BusinessDay {
        text.parse().unwrap()
    }

    fn known(why: Why, effect: i64) -> Known {
        Known {
            why,
            account: Some("456".to_owned()),
            currency: "PEN".parse().unwrap(),
            day: day("2026-05-07"),
            effect,
            fee: Some(12),
            name: "ORD-1 (77)".to_owned(),
            more: "ledger.csv line 12".to_owned(),
            other_day: Some(day("2026-05-09")),
        }
    }

    fn residual(minor: i64, sense: Sense) -> Residual<'static> {
        Residual {
            account: "456",
            currency: "PEN".parse().unwrap(),
            day: day("2026-05-07"),
            minor,
            sense,
        }
    }

    #[test]
    fn exactly_one_row_of_the_amount_is_named() {
        let rows = [known(Why::Booked, 5862), known(Why::Gone, 100)];
        assert_eq!(
            name(&residual(5862, Sense::Signed), &rows),
            Loss::One(
                "one row of 58.62 is missing from the list of 2026-05-07: ORD-1 (77) is booked (ledger.csv line 12) and not listed"
                    .to_owned()
            )
        );
        assert_eq!(
            name(&residual(12, Sense::Fees), &rows[..1]).text(),
            "one fee of 0.12 is missing from the list of 2026-05-07: ORD-1 (77) is booked (ledger.csv line 12) and not listed"
        );
    }

    #[test]
    fn of_several_rows_none_is_named() {
        let rows = [known(Why::Booked, 5862), known(Why::Gone, 5862)];
        let Loss::Unknown(text) = name(&residual(5862, Sense::Signed), &rows) else {
            panic!("a row was named")
        };
        assert_eq!(
            text,
            "2 known rows of 2026-05-07 would account for 58.62, so none is named"
        );
    }

    #[test]
    fn another_day_account_currency_sign_or_amount_is_no_explanation() {
        let right = known(Why::Booked, 5862);
        let wrong = [
            Known {
                day: day("2026-05-08"),
                ..right.clone()
            },
            Known {
                account: Some("457".to_owned()),
                ..right.clone()
            },
            Known {
                currency: "USD".parse().unwrap(),
                ..right.clone()
            },
            Known {
                effect: -5862,
                ..right.clone()
            },
            Known {
                effect: 5861,
                ..right.clone()
            },
        ];
        for row in &wrong {
            assert!(
                matches!(
                    name(&residual(5862, Sense::Signed), std::slice::from_ref(row)),
                    Loss::Unknown(_)
                ),
                "{row:?}"
            );
        }
        assert!(matches!(
            name(&residual(5862, Sense::Debits), &[known(Why::Gone, -5862)]),
            Loss::One(_)
        ));
        assert!(matches!(
            name(&residual(5862, Sense::Debits), &[right]),
            Loss::Unknown(_)
        ));
    }
}
