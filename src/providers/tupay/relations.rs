//! TuPay's arithmetic (document, section 9): the daily report against itself, against the rows, and the balance now.
//! R8 and R9 are inside single records ([`super::wire`]); R10, unique ids, is the comparison's business.

use std::collections::BTreeMap;
use std::ops::Bound;

use chrono::NaiveDate;

use super::super::arithmetic::{Figures, Movements, Proof, money, off_by, sum};
use super::{BALANCE, BALANCE_REPORT, CASHOUTS, DEPOSITS, Tupay};
use crate::config::Section;
use crate::day::{Instant, day_of};
use crate::money::Currency;
use crate::providers::{Books, Relation, Sense, StatementLine};

/// Name of the setting, and of what [`calibrate`] learns.
const BALANCE_SIGNS: &str = "balance_signs";

/// Effect on the balance of `cashoutTotal`, `noteTotal` and `settlementTotal` as printed: 1 or -1 each. The document
/// proves none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs([i64; 3]);

/// The document's R1: cashouts and settlements are printed positive and leave, notes are signed.
const DOCUMENTED: Signs = Signs([-1, 1, -1]);

impl Signs {
    /// `balance_signs = "-+-"`: cashouts, notes, settlements. Absent: learned from the rows.
    pub(super) fn setting(section: &mut Section<'_>) -> Option<Self> {
        let (text, line) = section.text_line(BALANCE_SIGNS)?;
        let signs = Self::read(&text);
        if signs.is_none() {
            section.problem_at(
                line,
                "`provider.balance_signs` must be three signs, of cashouts, notes and settlements, like \"-+-\"".into(),
            );
        }
        signs
    }

    /// The sign of each of [`Day::effects`].
    fn columns(self) -> [i64; 6] {
        let Self([cashout, note, settlement]) = self;
        [1, 1, cashout, note, settlement, 1]
    }

    fn read(text: &str) -> Option<Self> {
        let signs: Vec<i64> = text
            .chars()
            .filter_map(|c| match c {
                '+' => Some(1),
                '-' => Some(-1),
                _ => None,
            })
            .collect();
        (text.len() == 3).then_some(())?;
        Some(Self(signs.try_into().ok()?))
    }

    fn text(self) -> String {
        self.0.iter().map(|sign| if *sign < 0 { '-' } else { '+' }).collect()
    }

    /// Every choice: what was learned before, the documented one, then those that depart least from it. Of choices that
    /// fit equally well the first is taken, so a column that is always zero departs from nothing.
    fn all(learned: Option<Self>) -> Vec<Self> {
        let mut others: Vec<Self> = (0..8)
            .map(|bits: u8| Self([0, 1, 2].map(|place: u8| if bits >> place & 1 == 0 { -1 } else { 1 })))
            .collect();
        others.sort_by_key(|signs| signs.0.iter().zip(DOCUMENTED.0).filter(|(a, b)| **a != *b).count());
        learned.into_iter().chain(others).collect()
    }
}

/// One row of the report.
struct Day<'b> {
    account: &'b str,
    currency: Currency,
    day: NaiveDate,
    as_of: Instant,
    figures: Figures<'b>,
}

impl Day<'_> {
    fn get(&self, item: &str) -> i64 {
        self.figures.get(item).copied().unwrap_or(0)
    }

    /// Signed effects by kind, as the statement names them.
    fn effects(&self, signs: Signs) -> [(&'static str, i64); 6] {
        let Signs([cashout, note, settlement]) = signs;
        [
            ("deposit", self.get("deposit_total")),
            ("fee", self.get("deposit_fee_total").saturating_neg()),
            ("cashout", self.get("cashout_total").saturating_mul(cashout)),
            ("note", self.get("note_total").saturating_mul(note)),
            ("settlement", self.get("settlement_total").saturating_mul(settlement)),
            ("cancelled_settlement", self.get("cancelled_settlement_total")),
        ]
    }

    /// R1's right side.
    fn net(&self, signs: Signs) -> i64 {
        sum(self.effects(signs).into_iter().map(|(_, amount)| amount))
    }

    /// `detail` is only asked of a relation that does not close: thousands of days that do need no words.
    fn relation(
        &self,
        name: &'static str,
        stated_minor: i64,
        computed_minor: i64,
        detail: impl FnOnce() -> String,
    ) -> Relation {
        let detail = match stated_minor == computed_minor {
            true => String::new(),
            false => format!("tupay {name}: {}", detail()),
        };
        Relation {
            name,
            settlement: false,
            advisory: false,
            account: self.account.to_owned(),
            subject: String::new(),
            reference: None,
            currency: self.currency,
            stated_minor,
            computed_minor,
            at: self.as_of,
            business_day: self.day,
            sense: Some(Sense::Signed),
            detail,
        }
    }
}

/// Report rows per account and currency, by day.
fn days<'b>(tupay: &Tupay, books: &'b Books) -> Vec<Day<'b>> {
    fn key<'d>(day: &Day<'d>) -> (&'d str, Currency, NaiveDate) {
        (day.account, day.currency, day.day)
    }
    // The books are in this order already: a figure belongs to the row at hand or begins the next one.
    let mut rows: Vec<Day<'_>> = Vec::new();
    let mut at = None;
    for balance in books.balances.iter().filter(|b| b.feed == BALANCE_REPORT) {
        let day = match at {
            Some((as_of, day)) if as_of == balance.as_of => day,
            _ => tupay.report_day(balance.as_of),
        };
        at = Some((balance.as_of, day));
        let this = (balance.account.as_str(), balance.currency, day);
        let row = match rows.last_mut() {
            Some(last) if key(last) == this => last,
            _ => {
                // Two labels of one day, or books in another order: the row may stand anywhere.
                let place = match rows.last() {
                    Some(last) if key(last) > this => rows.binary_search_by(|row| key(row).cmp(&this)),
                    _ => Err(rows.len()),
                };
                let place = place.unwrap_or_else(|place| {
                    let row = Day {
                        account: &balance.account,
                        currency: balance.currency,
                        day,
                        as_of: balance.as_of,
                        figures: Figures::new(),
                    };
                    rows.insert(place, row);
                    place
                });
                &mut rows[place]
            }
        };
        row.figures.insert(&balance.item, balance.amount_minor);
    }
    rows
}

/// The row before, of the same account and currency, unless days between the two were not read to their end.
fn before<'d, 'b>(books: &Books, days: &'d [Day<'b>], index: usize) -> Option<&'d Day<'b>> {
    let this = &days[index];
    let previous = days.get(index.checked_sub(1)?)?;
    let same_books = previous.account == this.account && previous.currency == this.currency;
    (same_books && !has_day_gap(books, BALANCE_REPORT, previous.day, this.day)).then_some(previous)
}

/// Report rows carry a day's label, so gaps are looked at by business day.
fn has_day_gap(books: &Books, feed: &str, first: NaiveDate, last: NaiveDate) -> bool {
    books.gaps.iter().any(|(gap_feed, window)| {
        gap_feed == feed
            && day_of(window.from, books.zone) <= last
            && day_of(window.until - chrono::TimeDelta::milliseconds(1), books.zone) >= first
    })
}

// -- signs --------------------------------------------------------------------------------------------------------------

/// The signs under which most rows close R1; None when not even half of them do under any choice.
fn best_fit(days: &[Day<'_>], learned: Option<Signs>) -> Option<Signs> {
    // Without any sign, so that eight choices look a day's columns up once.
    let columns: Vec<([i64; 6], i64)> = days
        .iter()
        .map(|day| {
            (
                day.effects(Signs([1; 3])).map(|(_, amount)| amount),
                day.get("net_amount"),
            )
        })
        .collect();
    let fits = |signs: Signs| {
        let net = |columns: &[i64; 6]| {
            sum(columns
                .iter()
                .zip(signs.columns())
                .map(|(amount, sign)| amount.saturating_mul(sign)))
        };
        columns
            .iter()
            .filter(|(columns, stated)| net(columns) == *stated)
            .count()
    };
    let mut best = (DOCUMENTED, 0);
    for signs in Signs::all(learned) {
        let count = fits(signs);
        if count > best.1 {
            best = (signs, count);
        }
    }
    (!days.is_empty() && best.1 * 2 >= days.len()).then_some(best.0)
}

fn learned(books: &Books) -> Option<Signs> {
    Signs::read(books.calibration.get(BALANCE_SIGNS)?)
}

/// The signs to use: the settings', else what was learned, else what fits now. None: R1 is not verifiable.
fn signs(tupay: &Tupay, books: &Books, days: &[Day<'_>]) -> Option<Signs> {
    tupay.signs.or_else(|| learned(books)).or_else(|| best_fit(days, None))
}

/// Only a departure from the documented signs is kept, and an earlier departure until the rows speak against it.
pub(super) fn calibrate(tupay: &Tupay, books: &Books) -> BTreeMap<String, String> {
    let learned = learned(books);
    let found = match tupay.signs {
        Some(_) => None,
        None => best_fit(&days(tupay, books), learned).or(learned),
    };
    found
        .filter(|signs| *signs != DOCUMENTED || learned.is_some())
        .map(|signs| (BALANCE_SIGNS.to_owned(), signs.text()))
        .into_iter()
        .collect()
}

// -- relations ----------------------------------------------------------------------------------------------------------

pub(super) fn all(tupay: &Tupay, books: &Books) -> Vec<Relation> {
    let days = days(tupay, books);
    let signs = signs(tupay, books, &days);
    let moved = Movements::of(&books.totals);
    let mut relations = Vec::new();
    for (index, day) in days.iter().enumerate() {
        relations.extend(signs.map(|signs| net_amount(day, signs)));
        relations.extend(before(books, &days, index).map(|previous| chain(day, previous)));
        relations.extend(deposits(books, &moved, day));
        relations.extend(cashouts(books, &moved, day));
    }
    relations.extend(balance_now(books, &moved, &days));
    relations
}

fn net_amount(day: &Day<'_>, signs: Signs) -> Relation {
    let (stated, computed) = (day.get("net_amount"), day.net(signs));
    let detail = || {
        format!(
            "netAmount of {} is {}, the day's own columns give {}",
            day.day,
            money(stated, day.currency),
            money(computed, day.currency)
        )
    };
    day.relation("R1", stated, computed, detail)
}

/// R2. A break names what is probably lost: a day between the rows, or a correction after the day before was written.
fn chain(day: &Day<'_>, previous: &Day<'_>) -> Relation {
    let stated = day.get("total_balance");
    let computed = previous.get("total_balance").saturating_add(day.get("net_amount"));
    let residual = stated.saturating_sub(computed);
    let detail = || {
        let between = (day.day - previous.day).num_days() - 1;
        let likely = match between {
            0 => "likely a late correction of one of the two days, or a movement that no column shows".to_owned(),
            _ => format!(
                "likely {} of the report missing between them, with a net amount of {}",
                super::super::setup::counted(between, "day"),
                money(residual, day.currency)
            ),
        };
        format!(
            "totalBalance of {} is {}; {} of {} and the net amount {} give {}: {}, {likely}",
            day.day,
            money(stated, day.currency),
            money(previous.get("total_balance"), day.currency),
            previous.day,
            money(day.get("net_amount"), day.currency),
            money(computed, day.currency),
            off_by(residual, day.currency)
        )
    };
    day.relation("R2", stated, computed, detail)
}

/// Rows that changed on a day may have been created long before it: any gap up to the day silences the sums.
fn is_read(books: &Books, feed: &str, day: NaiveDate) -> bool {
    !has_day_gap(books, feed, NaiveDate::MIN, day)
}

/// R5, advisory: which day dates a movement is not documented.
fn deposits(books: &Books, moved: &Movements<'_>, day: &Day<'_>) -> Vec<Relation> {
    if !is_read(books, DEPOSITS, day.day) {
        return Vec::new();
    }
    let (amount, fees) = moved.on(DEPOSITS, Some(day.account), day.currency, day.day..=day.day);
    let stated = day.get("deposit_total");
    let residual = stated.saturating_sub(amount);
    let detail = || match residual {
        missing if missing > 0 => format!(
            "deposits of {} are missing from the list of {}: depositTotal is {}, completed deposits sum to {}",
            money(missing, day.currency),
            day.day,
            money(stated, day.currency),
            money(amount, day.currency)
        ),
        _ => format!(
            "the list of {} holds deposits of {} more than depositTotal {}",
            day.day,
            money(residual.saturating_neg(), day.currency),
            money(stated, day.currency)
        ),
    };
    let mut total = day.relation("R5", stated, amount, detail);
    total.advisory = true;
    total.subject = "deposits".into();
    let stated = day.get("deposit_fee_total");
    let detail = || {
        format!(
            "depositFeeTotal of {} is {}, the fees of its completed deposits sum to {}",
            day.day,
            money(stated, day.currency),
            money(fees, day.currency)
        )
    };
    let mut fee = day.relation("R5", stated, fees, detail);
    fee.advisory = true;
    fee.subject = "deposit fees".into();
    fee.sense = Some(Sense::Fees);
    vec![total, fee]
}

/// R6, advisory: whether fees are inside the total is not documented; the reading that closes is taken.
fn cashouts(books: &Books, moved: &Movements<'_>, day: &Day<'_>) -> Option<Relation> {
    if !is_read(books, CASHOUTS, day.day) {
        return None;
    }
    let (amount, fees) = moved.on(CASHOUTS, Some(day.account), day.currency, day.day..=day.day);
    let stated = day.get("cashout_total").saturating_abs();
    let without = amount.saturating_neg();
    let with = without.saturating_add(fees);
    let (computed, reading) = if stated == with && with != without {
        (with, "with fees and taxes")
    } else {
        (without, "without fees")
    };
    let detail = || {
        format!(
            "cashoutTotal of {} is {}, its completed cashouts sum to {} {reading}",
            day.day,
            money(stated, day.currency),
            money(computed, day.currency)
        )
    };
    let mut relation = day.relation("R6", stated, computed, detail);
    relation.advisory = true;
    relation.sense = Some(Sense::Debits);
    Some(relation)
}

/// R3, R4 and R7, on the newest balance of each account and currency.
fn balance_now(books: &Books, moved: &Movements<'_>, days: &[Day<'_>]) -> Vec<Relation> {
    let mut newest: BTreeMap<(&str, Currency), (Instant, Figures<'_>)> = BTreeMap::new();
    for balance in books.balances.iter().filter(|b| b.feed == BALANCE) {
        let entry = newest
            .entry((&balance.account, balance.currency))
            .or_insert_with(|| (balance.as_of, Figures::new()));
        if balance.as_of > entry.0 {
            *entry = (balance.as_of, Figures::new());
        }
        if balance.as_of == entry.0 {
            entry.1.insert(&balance.item, balance.amount_minor);
        }
    }
    let mut relations = Vec::new();
    for ((account, currency), (as_of, figures)) in newest {
        let now = Day {
            account,
            currency,
            day: books.business_day,
            as_of,
            figures,
        };
        relations.extend(parts(&now, "R3", "available_balance", "deposit_settlement_period"));
        relations.extend(parts(&now, "R4", "usable_balance", "rolling_reserve_balance"));
        relations.extend(since_report(books, moved, days, &now));
    }
    relations
}

/// A part of the balance is the whole less what is held.
fn parts(now: &Day<'_>, name: &'static str, part: &str, held: &str) -> Option<Relation> {
    let (stated, held_minor) = (*now.figures.get(part)?, *now.figures.get(held)?);
    let computed = now.get("total_balance").saturating_sub(held_minor);
    let detail = || {
        format!(
            "{part} is {}, total_balance less {held} is {}",
            money(stated, now.currency),
            money(computed, now.currency)
        )
    };
    Some(now.relation(name, stated, computed, detail))
}

/// R7, advisory: the balance now is the last day's plus what moved since, as far as it was read. The report knows merchants
/// and the balance knows account types, so it is looked at only where one report stands for the currency.
fn since_report(books: &Books, moved: &Movements<'_>, days: &[Day<'_>], now: &Day<'_>) -> Option<Relation> {
    let mut reports = days.iter().filter(|day| day.currency == now.currency);
    let last = reports.clone().max_by_key(|day| day.day)?;
    if reports.any(|day| day.account != last.account) || !is_read(books, BALANCE_REPORT, books.business_day) {
        return None;
    }
    let later = (Bound::Excluded(last.day), Bound::Unbounded);
    let (deposits, fees) = moved.on(DEPOSITS, Some(last.account), now.currency, later);
    let (cashouts, _) = moved.on(CASHOUTS, Some(last.account), now.currency, later);
    let computed = sum([last.get("total_balance"), deposits, fees.saturating_neg(), cashouts]);
    let stated = now.get("total_balance");
    let detail = || {
        format!(
            "the balance now is {}, totalBalance of {} and the movements read since give {}",
            money(stated, now.currency),
            last.day,
            money(computed, now.currency)
        )
    };
    let mut relation = now.relation("R7", stated, computed, detail);
    relation.advisory = true;
    Some(relation)
}

// -- statement ----------------------------------------------------------------------------------------------------------

/// One proof per report row. Without a row before it (the first day, a gap) the opening is what the row itself implies.
pub(super) fn statement(tupay: &Tupay, books: &Books) -> Vec<StatementLine> {
    let days = days(tupay, books);
    let signs = signs(tupay, books, &days).unwrap_or(DOCUMENTED);
    let proof = |(index, day): (usize, &Day<'_>)| {
        let closing = day.get("total_balance");
        let (opening, source) = match before(books, &days, index) {
            Some(previous) => (previous.get("total_balance"), "balance report"),
            None => (
                closing.saturating_sub(day.get("net_amount")),
                "balance report, opening from its net amount",
            ),
        };
        let explained = day
            .effects(signs)
            .map(|(kind, amount)| (kind.to_owned(), amount, "balance report".to_owned()));
        Proof {
            account: day.account,
            currency: day.currency,
            business_day: day.day,
            opening,
            explained: explained.into(),
            closing,
            source: source.to_owned(),
        }
        .lines()
    };
    days.iter().enumerate().flat_map(proof).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::record::Balance;

    const COLUMNS: [&str; 7] = [
        "deposit_total",
        "deposit_fee_total",
        "cashout_total",
        "note_total",
        "settlement_total",
        "cancelled_settlement_total",
        "net_amount",
    ];

    /// Figures in the order of the books. Labels are midnight or an hour at which it is still the day before in Lima.
    fn figures() -> impl Strategy<Value = Vec<Balance>> {
        let place = (0..2_usize, 0..2_usize, 0..6_i64, 0..2_i64, 0..COLUMNS.len());
        prop::collection::btree_map(place, -3..4_i64, 0..60).prop_map(|figures| {
            let figure =
                |((account, currency, day, hour, item), amount_minor): ((usize, usize, i64, i64, usize), i64)| {
                    Balance {
                        account: ["1", "10"][account].to_owned(),
                        feed: BALANCE_REPORT,
                        subject: String::new(),
                        as_of: Instant::default() + chrono::TimeDelta::hours(day * 24 + hour * 3),
                        currency: ["PEN", "USD"][currency].parse().unwrap(),
                        item: COLUMNS[item].to_owned(),
                        amount_minor,
                    }
                };
            figures.into_iter().map(figure).collect()
        })
    }

    fn tupay() -> Tupay {
        Tupay {
            merchant: None,
            auth_form: super::super::AuthForm::Cookie,
            cashout_path: String::new(),
            ticks: 1,
            days: 1,
            country: String::new(),
            zone: chrono_tz::America::Lima,
            signs: None,
        }
    }

    fn books(balances: Vec<Balance>) -> Books {
        Books {
            zone: chrono_tz::America::Lima,
            as_of: Instant::default(),
            business_day: NaiveDate::default(),
            balances,
            totals: Vec::new(),
            related: Vec::new(),
            repeated_ids: Vec::new(),
            calibration: BTreeMap::new(),
            sealed_subjects: BTreeSet::new(),
            gaps: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn the_rows_of_the_report_are_its_figures_by_account_currency_and_day(figures in figures()) {
            let tupay = tupay();
            let books = books(figures);
            let mut by_day: BTreeMap<(&str, Currency, NaiveDate), Figures<'_>> = BTreeMap::new();
            for balance in &books.balances {
                let key = (balance.account.as_str(), balance.currency, tupay.report_day(balance.as_of));
                by_day.entry(key).or_default().insert(&balance.item, balance.amount_minor);
            }
            let rows: Vec<_> = days(&tupay, &books)
                .into_iter()
                .map(|row| ((row.account, row.currency, row.day), row.figures))
                .collect();
            prop_assert_eq!(rows, by_day.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn the_signs_that_fit_are_those_under_which_most_rows_close(figures in figures()) {
            let tupay = tupay();
            let books = books(figures);
            let days = days(&tupay, &books);
            let closing = |signs: Signs| days.iter().filter(|day| day.net(signs) == day.get("net_amount")).count();
            let most = Signs::all(None).into_iter().map(closing).max().unwrap_or(0);
            match best_fit(&days, None) {
                Some(signs) => prop_assert_eq!(closing(signs), most),
                None => prop_assert!(days.is_empty() || most * 2 < days.len()),
            }
        }
    }
}
