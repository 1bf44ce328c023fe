//! Records against entries and against the provider's own figures; the life of a discrepancy.
//!
//! ```text
//! look: both indexes merged -> what is left -> rich rules -> items ; facts ; proofs        (reads only)
//! record: items and facts told in full -> discrepancies, events and their seals, pending items, pairs, counts (one transaction)
//! ```
//!
//! Start at [`compare`]. [`merge`] and [`walk`] pass over the mass of equal pairs, [`group`] holds the rules for the rest, [`pair`] and
//! [`alone`] judge, [`grace`] and [`scope`] say whether it is time, [`life`] what follows from one night to the next. Where there is
//! much to do a second thread takes part: in [`merge`], [`solve`], [`telling`] and [`sealing`]; nothing found depends on that.
//! One SELECT per check lies beside these files; [`sql`] prints them with their parameters filled in.

use std::collections::HashSet;

use rusqlite::Connection;

use crate::config::{Job, JobSource};
use crate::day::{BusinessDay, Instant};
use crate::failure::Failure;
use crate::providers::Books;
use crate::record::Verdict;
use crate::store::Store;

mod across;
mod alone;
mod aside;
mod bank;
mod books;
mod counts;
mod discrepancy;
mod facts;
mod gone;
mod grace;
mod group;
mod identity;
mod index_row;
mod items;
mod keys;
mod late;
pub mod life;
mod loss;
mod merge;
mod pair;
mod passed;
mod places;
mod proofs;
mod refunds;
mod rows;
mod scope;
mod sealing;
mod solve;
mod sql;
mod statement;
mod suggest;
mod telling;
mod unanswered;
mod units;
mod walk;
mod write;

pub use books::books;
pub use sql::{CHECKS, sql};
pub use unanswered::Unanswered;

/// What stands on the ledger's side tonight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerLeg {
    Present,
    /// The job has no `[ledger]`: only the provider's own proofs are checked.
    Absent,
    /// Missing, empty, older or foreign, and why: nothing about the ledger is opened or resolved.
    Refused(String),
}

/// One night of one job.
pub struct Night<'a> {
    pub store: &'a Store,
    pub job: &'a Job,
    pub run_id: i64,
    pub as_of: Instant,
    /// The last day that is over.
    pub business_day: BusinessDay,
    pub ledger: LedgerLeg,
    /// Every window wanted was read to its end; keys that were asked about are counted here, by their findings.
    pub reading_complete: bool,
    /// What was asked by key as of this instant or later was asked tonight.
    pub asked_since: Instant,
}

/// The same without the store: what the comparison needs to know.
#[derive(Clone)]
pub struct Case<'a> {
    pub job: &'a Job,
    pub run_id: i64,
    pub as_of: Instant,
    pub business_day: BusinessDay,
    pub ledger: LedgerLeg,
    pub reading_complete: bool,
    pub asked_since: Instant,
}

/// What a night came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Pairs equal or within tolerance.
    pub matched: u64,
    /// Timing differences inside their grace.
    pub pending: u64,
    /// Entries and records that are no part of the money flow.
    pub excluded: u64,
    pub new: u64,
    pub persisting: u64,
    pub resolved: u64,
    pub reopened: u64,
    /// Acknowledged ones included.
    pub open: u64,
    pub unclassified: u64,
    /// Feeds with keys that tonight's questions brought no usable answer about.
    pub unanswered: Vec<Unanswered>,
    pub verdict: Verdict,
}

/// Everything that was found, before anything is written.
pub struct Findings {
    /// None: the sides were not compared (a refused ledger, an `[across]` job).
    items: Option<items::Found>,
    facts: Vec<discrepancy::Discrepancy>,
    /// Relations that an incomplete reading could look at.
    looked_at: HashSet<u64>,
    /// What could not be decided tonight, whatever it was before.
    unseen: HashSet<u64>,
    /// Transfers on their way to the bank: pending, without a row on either side.
    waiting: Vec<items::Pending>,
    /// Transfers of days that the bank's statement does not hold.
    outside: merge::Sums,
    statement: Option<Vec<proofs::Line>>,
}

impl Findings {
    /// Both looks as one.
    fn with(mut self, mut items: Option<items::Found>) -> Self {
        if let Some(found) = &mut items {
            found.pending.append(&mut self.waiting);
            for (currency, (count, sum)) in std::mem::take(&mut self.outside) {
                let slot = found.excluded.entry(currency).or_default();
                slot.0 += count;
                slot.1 += sum;
            }
        }
        Self { items, ..self }
    }
}

/// Compares a job's night and stores what it found, in one transaction.
///
/// Fails with `CONFIG` when every pair is off by a factor of 100 (nothing is written), with `INTERNAL` when a row is not in
/// exactly one place or the books of open discrepancies do not close.
pub fn compare(night: &Night<'_>) -> Result<Outcome, Failure> {
    compare_over(night, None)
}

/// The same, over the sums of [`books`] where the caller has them as they stand: they cost a look at every figure and row.
///
/// # Errors
/// As [`compare`].
pub fn compare_over(night: &Night<'_>, books: Option<&Books>) -> Result<Outcome, Failure> {
    let case = Case {
        job: night.job,
        run_id: night.run_id,
        as_of: night.as_of,
        business_day: night.business_day,
        ledger: night.ledger.clone(),
        reading_complete: night.reading_complete,
        asked_since: night.asked_since,
    };
    // Each connection sees one state of the books from its first look on, and thousands of look-ups take one read lock.
    let open = || {
        let reader = night.store.reader()?;
        reader.execute_batch("BEGIN")?;
        Ok(reader)
    };
    let findings = look_wide(&open, &case, books)?;
    night.store.write(|tx| record_wide(tx, Some(&open), &case, findings))
}

/// Finds everything through one connection; writes nothing.
pub fn look(conn: &Connection, case: &Case<'_>) -> Result<Findings, Failure> {
    let items = items(conn, None, case)?;
    let facts = facts(conn, case, None)?;
    Ok(facts.with(items))
}

/// The same with the sides and the facts looked at side by side, on connections of their own. They are closed before anything
/// is written: a reader held open would keep the write-ahead log from shrinking.
fn look_wide(open: &merge::Open<'_>, case: &Case<'_>, books: Option<&Books>) -> Result<Findings, Failure> {
    std::thread::scope(|scope| {
        let facts = scope.spawn(|| facts(&open()?, case, books));
        let items = open().and_then(|conn| items(&conn, Some(open), case));
        let facts = facts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A wrong unit is named before anything it may have caused.
        let items = items?;
        Ok(facts?.with(items))
    })
}

/// Records against entries; None where the sides are not compared.
fn items(conn: &Connection, open: Option<&merge::Open<'_>>, case: &Case<'_>) -> Result<Option<items::Found>, Failure> {
    match (&case.job.source, &case.ledger) {
        (JobSource::Across(_), _) | (_, LedgerLeg::Refused(_)) => Ok(None),
        (_, leg) => items::find(conn, open, case, *leg == LedgerLeg::Present).map(Some),
    }
}

/// Everything but records against entries.
fn facts(conn: &Connection, case: &Case<'_>, books: Option<&Books>) -> Result<Findings, Failure> {
    let mut findings = Findings {
        items: None,
        facts: Vec::new(),
        looked_at: HashSet::new(),
        unseen: HashSet::new(),
        waiting: Vec::new(),
        outside: merge::Sums::new(),
        statement: None,
    };
    if let JobSource::Across(jobs) = &case.job.source {
        findings.facts = across::find(conn, case, jobs)?;
        return Ok(findings);
    }
    findings.facts = facts::find(conn, case)?;
    match &case.job.source {
        JobSource::Provider(setup) => {
            let proofs = proofs::find(conn, case, setup, books)?;
            findings.facts.extend(proofs.found);
            findings.looked_at = proofs.looked_at;
            findings.statement = Some(proofs.statement);
        }
        JobSource::File(file) if file.bank => {
            let bank = bank::find(conn, case, file)?;
            findings.facts.extend(bank.found);
            findings.unseen = bank.unseen;
            findings.waiting = bank.waiting;
            findings.outside = bank.outside;
        }
        JobSource::File(_) | JobSource::Across(_) => {}
    }
    Ok(findings)
}

/// Stores what was found; `conn` is inside a transaction of its own.
pub fn record(conn: &Connection, case: &Case<'_>, findings: Findings) -> Result<Outcome, Failure> {
    record_wide(conn, None, case, findings)
}

/// The same with the findings written out on a connection of its own.
fn record_wide(
    conn: &Connection,
    open: Option<&merge::Open<'_>>,
    case: &Case<'_>,
    mut findings: Findings,
) -> Result<Outcome, Failure> {
    write::all(conn, open, case, &mut findings)?;
    counts::write(conn, case, &findings)
}

/// The id of a discrepancy: 16 hex digits of SHA-256 over job and identity.
pub fn discrepancy_id(job: &str, identity: &str) -> String {
    identity::hex(identity::number(job, identity))
}
