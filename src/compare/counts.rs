//! The summary of a run, per currency and kind, counted from the books after it and closed against the night before.

use rusqlite::{Connection, named_params};

use super::keys::Keys;
use super::merge::Sums;
use super::rows::word;
use super::{Case, Findings, LedgerLeg, Outcome, unanswered};
use crate::failure::{Class, Failure};
use crate::money::joined_halves;
use crate::record::{Kind, Verdict};

/// One row of `counts.sql`.
struct Count {
    currency: String,
    kind: Kind,
    open: i64,
    /// None: more than the column holds.
    difference: Option<i64>,
    previous: i64,
    new: i64,
    reopened: i64,
    resolved: i64,
    unacknowledged: i64,
}

/// Counts, asserts that the books close, writes `run_counts`, and says what the night was.
pub fn write(conn: &Connection, case: &Case<'_>, findings: &Findings) -> Result<Outcome, Failure> {
    let counts = read(conn, case)?;
    for count in &counts {
        if count.open != count.previous + count.new + count.reopened - count.resolved {
            return Err(Failure::new(
                Class::Internal,
                format!(
                    "{}: compare: open {} of {} differ from previous + new + reopened - resolved; nothing was written or \
                     mailed, please report this",
                    case.job.name, count.kind, count.currency
                ),
            ));
        }
    }
    conn.execute("DELETE FROM run_counts WHERE run_id = ?1", [case.run_id])?;
    let mut insert = conn.prepare(
        "INSERT INTO run_counts (run_id, currency, kind, count, difference_minor, previous_open, new, reopened, resolved)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for c in &counts {
        let life = (c.previous, c.new, c.reopened, c.resolved);
        insert.execute((
            case.run_id,
            &c.currency,
            c.kind.as_str(),
            c.open,
            c.difference,
            life.0,
            life.1,
            life.2,
            life.3,
        ))?;
    }
    let mut outcome = outcome(case, &counts);
    if let Some(found) = &findings.items {
        let mut pending = Sums::new();
        for item in &found.pending {
            let mut code = [0; 3];
            code.copy_from_slice(item.currency.code().as_bytes());
            let slot = pending.entry(code).or_default();
            slot.0 += 1;
            slot.1 += i128::from(item.amount);
        }
        for (name, sums) in [
            ("matched", &found.matched),
            ("pending", &pending),
            ("excluded", &found.excluded),
        ] {
            for (currency, (count, sum)) in sums.iter().filter(|(_, sum)| sum.0 > 0) {
                let currency = std::str::from_utf8(currency).unwrap_or_default();
                let sum = i64::try_from(*sum).ok();
                insert.execute((case.run_id, currency, name, *count as i64, sum, 0, 0, 0, 0))?;
            }
        }
        let total = |sums: &Sums| sums.values().map(|s| s.0).sum();
        (outcome.matched, outcome.pending, outcome.excluded) =
            (total(&found.matched), total(&pending), total(&found.excluded));
    }
    outcome.unanswered = unanswered::tonight(conn, case)?;
    outcome.verdict = verdict(case, &counts, &outcome);
    if outcome.verdict < Verdict::ReconciledWithWarnings && keys_left(conn, case)? {
        outcome.verdict = Verdict::ReconciledWithWarnings;
    }
    Ok(outcome)
}

/// Whether the night's budget left keys of the ledger unasked.
fn keys_left(conn: &Connection, case: &Case<'_>) -> Result<bool, Failure> {
    let mut open =
        conn.prepare("SELECT 1 FROM windows WHERE job = ?1 AND feed = ?2 AND subject = '' AND state = 'open'")?;
    for feed in Keys::of(case.job).feeds() {
        if open.exists((&case.job.name, feed.name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(conn: &Connection, case: &Case<'_>) -> Result<Vec<Count>, Failure> {
    let mut statement = conn.prepare(include_str!("counts.sql"))?;
    let day = case.business_day.to_string();
    let mut rows = statement.query(named_params! {":job": case.job.name, ":day": day})?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(Count {
            currency: row.get(0)?,
            kind: word(row, 1, "discrepancies.kind")?,
            open: row.get(2)?,
            difference: i64::try_from(joined_halves(row.get(3)?, row.get(4)?)).ok(),
            previous: row.get(5)?,
            new: row.get(6)?,
            reopened: row.get(7)?,
            resolved: row.get(8)?,
            unacknowledged: row.get(9)?,
        });
    }
    Ok(all)
}

fn outcome(case: &Case<'_>, counts: &[Count]) -> Outcome {
    let sum = |of: fn(&Count) -> i64| counts.iter().map(of).sum::<i64>().unsigned_abs();
    let (open, new, reopened, resolved) = (
        sum(|c| c.open),
        sum(|c| c.new),
        sum(|c| c.reopened),
        sum(|c| c.resolved),
    );
    let unclassified = counts
        .iter()
        .filter(|c| c.kind == Kind::Unclassified)
        .map(|c| c.open)
        .sum::<i64>()
        .unsigned_abs();
    let previous = sum(|c| c.previous);
    Outcome {
        matched: 0,
        pending: 0,
        excluded: 0,
        new,
        // Those that were open before and are open still.
        persisting: previous.min(open.saturating_sub(new).saturating_sub(reopened)),
        resolved,
        reopened,
        open,
        unclassified,
        unanswered: Vec::new(),
        verdict: if matches!(case.ledger, LedgerLeg::Refused(_)) {
            Verdict::NotReconciled
        } else {
            Verdict::Reconciled
        },
    }
}

/// The best verdict that the night deserves.
fn verdict(case: &Case<'_>, counts: &[Count], outcome: &Outcome) -> Verdict {
    let open = |kind: Kind| counts.iter().any(|c| c.kind == kind && c.open > 0);
    if matches!(case.ledger, LedgerLeg::Refused(_)) {
        Verdict::NotReconciled
    } else if !case.reading_complete || open(Kind::IncompleteWindow) || !outcome.unanswered.is_empty() {
        Verdict::Incomplete
    } else if counts.iter().any(|c| !c.kind.is_warning() && c.unacknowledged > 0) {
        Verdict::Discrepancies
    } else if outcome.open > 0 {
        // Words nobody declared, and what a person has already looked at.
        Verdict::ReconciledWithWarnings
    } else if outcome.pending > 0 {
        Verdict::ReconciledWithPending
    } else {
        Verdict::Reconciled
    }
}
