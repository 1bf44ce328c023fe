//! Payouts that are due against the credits of a bank statement (`kind = "file"` with `bank = true`).
//!
//! The rule: a transfer that a provider stated (a PayVyne sweep's `transferred_amount`, a TuPay day's `settlement_total`) has
//! arrived when the statement holds a settled credit of exactly that amount and currency, booked from one day before to
//! [`LAG_DAYS`] days after the day of the transfer. Each credit serves one transfer, the older transfer first. Before the lag is
//! over, and until the statement reaches its end, a transfer is pending; so is one that a line of the statement which could not be
//! read may be. One of a day that the statement does not hold, though it has come further, is counted as excluded: nobody can look
//! for it there, and an alarm every night would help nobody.

use std::collections::HashSet;

use rusqlite::{Connection, named_params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::identity;
use super::items::{self, Pending};
use super::merge::Sums;
use super::rows::{damaged, day, optional_instant, optional_word, word};
use super::scope;
use crate::config::FileFeed;
use crate::day::{BusinessDay, Instant, day_of, format_instant, next_day, start_of_day};
use crate::failure::Failure;
use crate::money::{Currency, format_minor};
use crate::record::{Direction, Kind};
use crate::window::Window;

/// Bank days a transfer may take, weekends not counted apart.
const LAG_DAYS: i64 = 3;

/// What a provider settled on one day.
const DAY_TOTAL: &str = "settlement_total";

/// A transfer that must arrive.
struct Due {
    job: String,
    provider: Option<String>,
    account: String,
    feed: String,
    subject: String,
    at: Instant,
    on: BusinessDay,
    currency: Currency,
    item: String,
    amount: i64,
}

/// What the bank leg showed.
#[derive(Default)]
pub struct Bank {
    pub found: Vec<Discrepancy>,
    /// Transfers that the statement cannot prove either way yet: open ones stay as they are.
    pub unseen: HashSet<u64>,
    /// Those of them whose credit may still come, or stand where the statement has not come to.
    pub waiting: Vec<Pending>,
    /// Those whose days are outside the statement.
    pub outside: Sums,
}

/// Looks every transfer up in the statement.
pub fn find(conn: &Connection, case: &Case<'_>, file: &FileFeed) -> Result<Bank, Failure> {
    let dues = dues(conn, case)?;
    let credits = credits(conn, case)?;
    let lines = lines(conn, case, file)?;
    let read = scope::sealed(conn, &case.job.name, &file.feed)?;
    let mut used = vec![false; credits.len()];
    let mut bank = Bank::default();
    let mut is_open = conn.prepare("SELECT 1 FROM discrepancies WHERE discrepancy_id = ?1 AND state <> 'resolved'")?;
    for due in &dues {
        let from = credits.partition_point(|c| (c.0, c.1, c.2) < (due.currency, due.amount, shift(due.on, -1)));
        let arrived = (from..credits.len())
            .take_while(|&i| {
                (credits[i].0, credits[i].1) == (due.currency, due.amount) && credits[i].2 <= shift(due.on, LAG_DAYS)
            })
            .find(|&i| !used[i]);
        if let Some(i) = arrived {
            used[i] = true;
            continue;
        }
        let last = shift(due.on, LAG_DAYS);
        let zone = case.job.timezone;
        let span = Window {
            from: start_of_day(due.on, zone),
            until: start_of_day(next_day(last), zone),
        };
        let discrepancy = missing(due);
        let may_stand_there = lines.iter().any(|line| line.may_be(due));
        if last <= case.business_day && scope::covers(&read, span) && !may_stand_there {
            bank.found.push(discrepancy);
        } else {
            let id = identity::number(&case.job.name, &discrepancy.identity);
            bank.unseen.insert(id);
            let may_still_come = read.last().is_none_or(|reached| reached.until < span.until);
            if is_open.exists([identity::hex(id)])? {
                continue;
            }
            if may_still_come || may_stand_there {
                bank.waiting.push(Pending {
                    identity: discrepancy.identity.into(),
                    record: None,
                    entry: None,
                    becomes: Kind::MissingInBank,
                    day: last.max(next_day(case.business_day)),
                    currency: due.currency,
                    amount: due.amount,
                    spot: None,
                });
            } else {
                items::add(&mut bank.outside, due.currency, due.amount);
            }
        }
    }
    Ok(bank)
}

fn dues(conn: &Connection, case: &Case<'_>) -> Result<Vec<Due>, Failure> {
    let mut statement = conn.prepare(include_str!("bank.sql"))?;
    let mut rows = statement.query(named_params! {":job": case.job.name})?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let at = optional_instant(row, 4, "balances.as_of")?.ok_or_else(|| damaged("balances.as_of"))?;
        let item: String = row.get(6)?;
        // A day's total bears the day's label, midnight in UTC; a single transfer bears its own instant.
        let zone = if item == DAY_TOTAL {
            chrono_tz::UTC
        } else {
            case.job.timezone
        };
        all.push(Due {
            job: row.get(0)?,
            account: row.get(1)?,
            feed: row.get(2)?,
            subject: row.get(3)?,
            at,
            on: day_of(at, zone),
            currency: word(row, 5, "balances.currency")?,
            item,
            amount: row.get(7)?,
            provider: row.get(8)?,
        });
    }
    // Nobody asked for a statement of days before the job's first one.
    all.retain(|due| due.on >= case.job.fetch.start);
    Ok(all)
}

/// Currency, amount, day of every credit, in that order.
fn credits(conn: &Connection, case: &Case<'_>) -> Result<Vec<(Currency, i64, BusinessDay)>, Failure> {
    let mut statement = conn.prepare(
        "SELECT currency, amount_minor, business_day FROM transactions
          WHERE job = ?1 AND direction = ?2 AND status = 'settled' AND vanished_at IS NULL",
    )?;
    let mut rows = statement.query((&case.job.name, Direction::In.as_str()))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push((
            word(row, 0, "transactions.currency")?,
            row.get(1)?,
            day(row, 2, "transactions.business_day")?,
        ));
    }
    all.sort_unstable();
    Ok(all)
}

/// A line of the statement that could not be read, as far as it says what it is.
struct Line {
    currency: Option<Currency>,
    amount: Option<i64>,
    on: Option<BusinessDay>,
}

impl Line {
    /// Whether it may be the credit of a transfer: nothing that it says speaks against it.
    fn may_be(&self, due: &Due) -> bool {
        let near = |on: BusinessDay| shift(due.on, -1) <= on && on <= shift(due.on, LAG_DAYS);
        self.currency.is_none_or(|currency| currency == due.currency)
            && self.amount.is_none_or(|amount| amount == due.amount)
            && self.on.is_none_or(near)
    }
}

/// The unreadable lines that may be settled credits.
fn lines(conn: &Connection, case: &Case<'_>, file: &FileFeed) -> Result<Vec<Line>, Failure> {
    let mut statement = conn.prepare(
        "SELECT currency, amount_minor, booked_at FROM unreadable_rows
          WHERE job = ?1 AND feed = ?2 AND page_id IS NULL AND gone_at IS NULL
            AND coalesce(direction, 'in') = 'in' AND coalesce(status, 'settled') = 'settled'",
    )?;
    let mut rows = statement.query((&case.job.name, &file.feed))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let at = optional_instant(row, 2, "unreadable_rows.booked_at")?;
        all.push(Line {
            currency: optional_word(row, 0, "unreadable_rows.currency")?,
            amount: row.get(1)?,
            on: at.map(|at| day_of(at, case.job.timezone)),
        });
    }
    Ok(all)
}

fn missing(due: &Due) -> Discrepancy {
    let at = format_instant(due.at);
    let identity = format!(
        "bank|{}|{}|{}|{}|{at}|{}|{}",
        due.job, due.account, due.feed, due.subject, due.currency, due.item
    );
    let amount = format_minor(due.amount, due.currency);
    let mut found = Discrepancy::new(Kind::MissingInBank, identity);
    found.provider.clone_from(&due.provider);
    found.account = Some(due.account.clone());
    found.direction = Some(Direction::In);
    found.reference = Some(due.subject.clone()).filter(|s| !s.is_empty());
    found.currency = Some(due.currency);
    found.provider_amount = Some(due.amount);
    found.difference = Some(due.amount);
    found.occurred_at = Some(due.at);
    found.business_day = Some(due.on);
    found.what_differs = format!("amount: absent -> {amount}");
    found.detail = format!(
        "{} of {} stated a transfer of {amount} {} on {}; no credit of that amount within {LAG_DAYS} days is on the statement",
        due.item, due.job, due.currency, due.on
    );
    found.evidence = if due.subject.is_empty() {
        format!("{} {}", due.feed, due.on)
    } else {
        format!("{} {}", due.feed, due.subject)
    };
    found
}

fn shift(day: BusinessDay, days: i64) -> BusinessDay {
    day.checked_add_signed(chrono::TimeDelta::days(days)).unwrap_or(day)
}
