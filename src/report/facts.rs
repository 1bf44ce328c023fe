//! What a person must know about one night, read from the books once and said three times: in the mail's text, in its
//! HTML and on the page. The rows come from the same SELECT as the discrepancies CSV.
//!
//! Everything here is a function of the database and the [`Night`]; there is no wall clock and nothing that counts
//! requests, so that the same night told again reads the same.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::definition::{self, Parameters};
use super::reading::{self, Unread};
use super::tally::Tally;
use crate::day::{BusinessDay, Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::money::joined_halves;
use crate::record::Verdict;

/// Rows of one group that are held for a body; the CSV has all of them.
const HELD: usize = 500;
/// Nights in the page's picture of open items; the mail shows the last ones.
const TREND_NIGHTS: usize = 60;

/// What the line knows about a run that has just compared (or failed to).
#[derive(Clone, Debug)]
pub struct Night {
    pub run_id: i64,
    pub job: String,
    pub as_of: Instant,
    pub business_day: BusinessDay,
    pub verdict: Verdict,
    /// What failed, where, what to do; None when all is well.
    pub message: Option<String>,
    /// What a person should know although nothing failed.
    pub warnings: Vec<String>,
    /// Feeds that are asked by the keys of the ledger because the provider has no list.
    pub by_key: Vec<&'static str>,
    /// The job's zone: days and hours are told in it.
    pub zone: chrono_tz::Tz,
    /// What kind of failure the run's exit code names; None when nothing failed.
    pub class: Option<Class>,
}

/// Counts of discrepancies: `open = previous_open + new + reopened - resolved`; acknowledged ones are among the open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub previous_open: i64,
    pub new: i64,
    pub reopened: i64,
    pub resolved: i64,
    pub open: i64,
    pub acknowledged: i64,
    pub matched: i64,
    pub pending: i64,
    pub excluded: i64,
}

/// One line of the summary: a currency and a kind, or `matched`, `pending`, `excluded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryLine {
    /// Empty where the kind has none.
    pub currency: String,
    pub kind: String,
    pub count: i64,
    /// Sum of differences; for matched and pending the sum of the provider's amounts. Minor units.
    pub sum_minor: Option<i64>,
    pub new: i64,
    pub reopened: i64,
    pub resolved: i64,
}

/// One row of the discrepancies report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub discrepancy_id: String,
    pub status: String,
    pub kind: String,
    pub priority: i64,
    pub account: Option<String>,
    pub direction: Option<String>,
    pub currency: Option<String>,
    /// Decimal texts.
    pub ledger_amount: Option<String>,
    pub provider_amount: Option<String>,
    pub difference: Option<String>,
    pub reference: Option<String>,
    pub provider_id: Option<String>,
    pub ledger_id: Option<String>,
    pub first_seen: String,
    pub age_days: i64,
    pub what_differs: String,
    pub likely_cause: String,
    pub suggested_action: String,
    /// Where it was seen: all that a gap or an unreadable row has.
    pub evidence: Option<String>,
    /// What a person decided and what holds, who looks after it, and why.
    pub decision: Option<String>,
    pub owner: Option<String>,
    pub note: Option<String>,
    /// A decision stopped holding on this business day: the values changed.
    pub expired: bool,
}

/// The rows of one status: the first [`HELD`] of them, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub count: i64,
    /// How many of them are 0-1, 2-7, 8-30 and over 30 days old.
    pub ages: [i64; 4],
    /// How many there are of each kind.
    pub kinds: BTreeMap<String, i64>,
    pub items: Vec<Item>,
}

/// Pending items that become the same discrepancy on the same day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub becomes_kind: String,
    pub becomes_day: String,
    pub currency: String,
    pub count: i64,
    pub sum_minor: Option<i64>,
}

/// How far one feed was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedCoverage {
    pub feed: String,
    pub windows: i64,
    pub sealed: i64,
    pub open: i64,
    pub unstable: i64,
    pub rows: i64,
    /// Beginning of the oldest window that is not sealed, and why it is not.
    pub oldest_unsealed: Option<String>,
    pub reason: Option<String>,
}

/// One night of the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrendNight {
    pub business_day: String,
    pub open: i64,
    pub new: i64,
}

/// The last stated proof of one account and currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub account: String,
    pub currency: String,
    pub business_day: String,
    pub opening: Option<String>,
    pub closing: Option<String>,
    pub residual: Option<String>,
}

/// One night, told.
#[derive(Clone, Debug)]
pub struct Facts {
    pub night: Night,
    pub counts: Counts,
    pub lines: Vec<SummaryLine>,
    /// By status: `new`, `reopened`, `persisting`, `resolved`, `acknowledged`.
    pub groups: BTreeMap<String, Group>,
    pub pending: Vec<Pending>,
    pub coverage: Vec<FeedCoverage>,
    /// Oldest first, this night last.
    pub trend: Vec<TrendNight>,
    /// Last business day that was read to its end and compared; this one included.
    pub last_good: Option<String>,
    pub proofs: Vec<Proof>,
    /// Sums per currency, and what the new rows have in common.
    pub tally: Tally,
    /// The oldest windows that are not read to their end, and how many there are.
    pub unread: Vec<Unread>,
    pub unread_count: i64,
    /// Rows of the last two ledger readings, the newer first.
    pub ledger_rows: Vec<i64>,
}

impl Facts {
    /// Rows of a status that are held, and their full count.
    pub fn group(&self, status: &str) -> (&[Item], i64) {
        self.groups
            .get(status)
            .map_or((&[], 0), |group| (&group.items, group.count))
    }

    /// Sum of windows that are not read to their end.
    pub fn windows_not_sealed(&self) -> i64 {
        self.coverage.iter().map(|feed| feed.open + feed.unstable).sum()
    }
}

/// Reads the night's facts.
///
/// # Errors
/// What SQLite refuses.
pub fn read(conn: &Connection, night: &Night) -> Result<Facts, Failure> {
    let mut tally = Tally::default();
    let groups = groups(conn, night, &mut tally)?;
    let (unread, unread_count) = reading::unread(conn, &night.job)?;
    let lines = summary(conn, night.run_id)?;
    let counts = count(&lines, &groups);
    let day = night.business_day.to_string();
    Ok(Facts {
        night: night.clone(),
        counts,
        lines,
        groups,
        // Where nothing was compared, nothing is pending: what stands in the books is of an earlier night.
        pending: match counts.pending {
            0 => Vec::new(),
            _ => pending(conn, &night.job)?,
        },
        coverage: coverage(conn, &night.job)?,
        trend: trend(conn, &night.job, &day, counts)?,
        last_good: last_good(conn, night, &day)?,
        proofs: proofs(conn, &night.job, &day)?,
        tally,
        unread,
        unread_count,
        ledger_rows: reading::ledger_rows(conn, &night.job, night.as_of)?,
    })
}

/// Every row of the discrepancies report, counted by status, the first of each kept.
fn groups(conn: &Connection, night: &Night, tally: &mut Tally) -> Result<BTreeMap<String, Group>, Failure> {
    let (name, sql) = definition::BUILT_IN[0];
    let (day, as_of) = (night.business_day.to_string(), format_instant(night.as_of));
    let parameters = Parameters {
        job: &night.job,
        business_day: &day,
        as_of: &as_of,
        run_id: night.run_id,
    };
    let mut statement = definition::bound(conn, name, sql, parameters)?;
    let expired = expired(conn, &day)?;
    let mut rows = statement.raw_query();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let status: String = row.get("status")?;
        tally.add(row, &status)?;
        let group = groups.entry(status).or_default();
        group.count += 1;
        group.ages[age_bucket(row.get("age_days")?)] += 1;
        let kind = row.get_ref("kind")?.as_str().unwrap_or_default();
        match group.kinds.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(group.kinds.insert(kind.to_owned(), 1)),
        }
        if group.items.len() < HELD {
            let mut item = item(row)?;
            item.expired = expired.contains(&item.discrepancy_id);
            group.items.push(item);
        }
    }
    Ok(groups)
}

/// Discrepancies of all jobs about which a decision stopped holding on a day.
fn expired(conn: &Connection, day: &str) -> Result<BTreeSet<String>, Failure> {
    let sql = "SELECT discrepancy_id FROM discrepancy_events WHERE business_day = ?1 AND event = 'decision_expired'";
    let mut statement = conn.prepare_cached(sql)?;
    let ids = statement.query_map([day], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Which of the four ages of [`Group::ages`] a number of days is.
pub fn age_bucket(days: i64) -> usize {
    match days {
        ..=1 => 0,
        2..=7 => 1,
        8..=30 => 2,
        _ => 3,
    }
}

fn item(row: &Row<'_>) -> Result<Item, rusqlite::Error> {
    Ok(Item {
        discrepancy_id: row.get("discrepancy_id")?,
        status: row.get("status")?,
        kind: row.get("kind")?,
        priority: row.get("priority")?,
        account: row.get("account")?,
        direction: row.get("direction")?,
        currency: row.get("currency")?,
        ledger_amount: row.get("ledger_amount")?,
        provider_amount: row.get("provider_amount")?,
        difference: row.get("difference")?,
        reference: row.get("reference")?,
        provider_id: row.get("provider_id")?,
        ledger_id: row.get("ledger_id")?,
        first_seen: row.get("first_seen")?,
        age_days: row.get("age_days")?,
        what_differs: row.get("what_differs")?,
        likely_cause: row.get("likely_cause")?,
        suggested_action: row.get("suggested_action")?,
        evidence: row.get("evidence")?,
        decision: row.get("decision")?,
        owner: row.get("owner")?,
        note: row.get("note")?,
        expired: false,
    })
}

fn summary(conn: &Connection, run_id: i64) -> Result<Vec<SummaryLine>, Failure> {
    let mut statement = conn.prepare(
        "SELECT currency, kind, count, difference_minor, new, reopened, resolved, previous_open FROM run_counts
          WHERE run_id = ?1
          ORDER BY CASE kind WHEN 'matched' THEN 0 WHEN 'pending' THEN 1 WHEN 'excluded' THEN 2 ELSE 3 END, kind, currency",
    )?;
    let lines = statement.query_map([run_id], |row| {
        Ok(SummaryLine {
            currency: row.get(0)?,
            kind: row.get(1)?,
            count: row.get(2)?,
            sum_minor: row.get(3)?,
            new: row.get(4)?,
            reopened: row.get(5)?,
            resolved: row.get(6)?,
        })
    })?;
    Ok(lines.collect::<Result<_, _>>()?)
}

/// From the run's own counts where it came so far as to compare, else from what stands in the books.
fn count(lines: &[SummaryLine], groups: &BTreeMap<String, Group>) -> Counts {
    let of = |status: &str| groups.get(status).map_or(0, |group| group.count);
    let mut counts = Counts {
        acknowledged: of("acknowledged"),
        ..Counts::default()
    };
    if lines.is_empty() {
        counts.new = of("new");
        counts.reopened = of("reopened");
        counts.resolved = of("resolved");
        counts.open = counts.new + counts.reopened + of("persisting") + counts.acknowledged;
    }
    for line in lines {
        match line.kind.as_str() {
            "matched" => counts.matched += line.count,
            "pending" => counts.pending += line.count,
            "excluded" => counts.excluded += line.count,
            _ => {
                counts.open += line.count;
                counts.new += line.new;
                counts.reopened += line.reopened;
                counts.resolved += line.resolved;
            }
        }
    }
    counts.previous_open = counts.open - counts.new - counts.reopened + counts.resolved;
    counts
}

fn pending(conn: &Connection, job: &str) -> Result<Vec<Pending>, Failure> {
    let mut statement = conn.prepare(
        "SELECT becomes_kind, becomes_day, currency, count(*), sum(amount_minor >> 32), sum(amount_minor & 4294967295)
           FROM pending_items
          WHERE job = ?1 GROUP BY becomes_day, becomes_kind, currency ORDER BY becomes_day, becomes_kind, currency LIMIT 100",
    )?;
    let rows = statement.query_map([job], |row| {
        Ok(Pending {
            becomes_kind: row.get(0)?,
            becomes_day: row.get(1)?,
            currency: row.get(2)?,
            count: row.get(3)?,
            sum_minor: i64::try_from(joined_halves(row.get(4)?, row.get(5)?)).ok(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn coverage(conn: &Connection, job: &str) -> Result<Vec<FeedCoverage>, Failure> {
    // A bare column beside min() comes from the row of the minimum: the reason of the oldest unsealed window.
    let mut statement = conn.prepare(
        "SELECT feed, count(*), sum(state = 'sealed'), sum(state = 'open'), sum(state = 'unstable'), sum(rows),
                min(iif(state <> 'sealed', from_at, NULL)),
                iif(state <> 'sealed', reason, NULL)
           FROM windows WHERE job = ?1 GROUP BY feed ORDER BY feed",
    )?;
    let rows = statement.query_map([job], |row| {
        Ok(FeedCoverage {
            feed: row.get(0)?,
            windows: row.get(1)?,
            sealed: row.get(2)?,
            open: row.get(3)?,
            unstable: row.get(4)?,
            rows: row.get(5)?,
            oldest_unsealed: row.get(6)?,
            reason: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Open items of the last nights, each told by its last run, this one by the counts at hand.
fn trend(conn: &Connection, job: &str, day: &str, counts: Counts) -> Result<Vec<TrendNight>, Failure> {
    let mut statement = conn.prepare(
        "SELECT business_day, open, opened, max(run_id) FROM runs
          WHERE job = ?1 AND business_day < ?2 AND verdict IS NOT NULL AND verdict <> 'failed'
          GROUP BY business_day ORDER BY business_day DESC LIMIT ?3",
    )?;
    let rows = statement.query_map(params![job, day, TREND_NIGHTS as i64 - 1], |row| {
        Ok(TrendNight {
            business_day: row.get(0)?,
            open: row.get(1)?,
            new: row.get(2)?,
        })
    })?;
    let mut nights: Vec<TrendNight> = rows.collect::<Result<_, _>>()?;
    nights.reverse();
    nights.push(TrendNight {
        business_day: day.to_owned(),
        open: counts.open,
        new: counts.new + counts.reopened,
    });
    Ok(nights)
}

/// Whether a verdict stands for a night that was read to its end and compared.
fn is_good(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::Incomplete | Verdict::NotReconciled | Verdict::Failed)
}

fn last_good(conn: &Connection, night: &Night, day: &str) -> Result<Option<String>, Failure> {
    if is_good(night.verdict) {
        return Ok(Some(day.to_owned()));
    }
    let before: Option<String> = conn
        .query_row(
            "SELECT business_day FROM runs
              WHERE job = ?1 AND business_day < ?2
                AND verdict IN ('reconciled', 'reconciled_with_pending', 'reconciled_with_warnings', 'discrepancies')
              ORDER BY business_day DESC LIMIT 1",
            [night.job.as_str(), day],
            |row| row.get(0),
        )
        .optional()?;
    Ok(before)
}

/// The last day up to this one for which each account has a proof.
fn proofs(conn: &Connection, job: &str, day: &str) -> Result<Vec<Proof>, Failure> {
    let mut statement = conn.prepare(
        // From account to account through the key, and of each its last day: not every line of every day.
        "WITH RECURSIVE accounts(account) AS (
           SELECT min(account) FROM statement_lines WHERE job = ?1
           UNION ALL
           SELECT (SELECT min(s.account) FROM statement_lines AS s WHERE s.job = ?1 AND s.account > a.account)
             FROM accounts AS a WHERE a.account IS NOT NULL),
         pairs(account, currency) AS (
           SELECT account, (SELECT min(s.currency) FROM statement_lines AS s WHERE s.job = ?1 AND s.account = a.account)
             FROM accounts AS a WHERE a.account IS NOT NULL
           UNION ALL
           SELECT p.account, (SELECT min(s.currency) FROM statement_lines AS s
                               WHERE s.job = ?1 AND s.account = p.account AND s.currency > p.currency)
             FROM pairs AS p WHERE p.currency IS NOT NULL),
         last AS MATERIALIZED (
           SELECT account, currency,
                  (SELECT max(s.business_day) FROM statement_lines AS s WHERE s.job = ?1 AND s.account = p.account
                      AND s.currency = p.currency AND s.business_day <= ?2) AS business_day
             FROM pairs AS p WHERE currency IS NOT NULL)
         SELECT account, currency, business_day,
                max(iif(line = 'opening', amount, NULL)), max(iif(line = 'closing', amount, NULL)),
                max(iif(line = 'residual', amount, NULL))
           FROM last CROSS JOIN statement_lines USING (account, currency, business_day)
          WHERE job = ?1
          GROUP BY account, currency, business_day ORDER BY account, currency LIMIT 100",
    )?;
    let rows = statement.query_map([job, day], |row| {
        Ok(Proof {
            account: row.get(0)?,
            currency: row.get(1)?,
            business_day: row.get(2)?,
            opening: row.get(3)?,
            closing: row.get(4)?,
            residual: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
