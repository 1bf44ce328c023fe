//! The summary of a run, per currency and kind, counted from the books after it and closed against the night before.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, named_params};

use super::keys::Keys;
use super::life::{Event, State, is_open};
use super::merge::Sums;
use super::rows::{optional_word, word};
use super::{Case, Findings, LedgerLeg, Outcome, unanswered};
use crate::failure::{Class, Failure};
use crate::record::{Kind, Verdict};

/// What the night left of one kind in one currency.
#[derive(Default)]
struct Count {
    open: i64,
    difference: i128,
    previous: i64,
    new: i64,
    reopened: i64,
    resolved: i64,
    unacknowledged: i64,
}

/// By currency, '' where there is none.
type Counts = BTreeMap<(String, Kind), Count>;

/// What the business day did to one discrepancy. A run of the same night again finds the same.
#[derive(Default, Debug, PartialEq, Eq)]
struct Doings {
    /// Its events since the last one of another day.
    events: Vec<Event>,
}

impl Doings {
    /// Its next event.
    fn take(&mut self, event: Event, of_the_day: bool) {
        match of_the_day {
            true => self.events.push(event),
            false => self.events.clear(),
        }
    }

    /// Whether it was open when the day began: what the day closed first was, what it opened first was not, and what it left
    /// alone is as it was.
    fn was_open(&self, is_open: bool) -> bool {
        self.events.first().map_or(is_open, |first| *first == Event::Resolved)
    }

    fn how_often(&self, wanted: Event) -> i64 {
        self.events.iter().filter(|event| **event == wanted).count() as i64
    }
}

/// Counts, asserts that the books close, writes `run_counts`, and says what the night was.
pub fn write(conn: &Connection, case: &Case<'_>, findings: &Findings) -> Result<Outcome, Failure> {
    let counts = read(conn, case)?;
    for ((currency, kind), count) in &counts {
        if count.open != count.previous + count.new + count.reopened - count.resolved {
            return Err(Failure::new(
                Class::Internal,
                format!(
                    "{}: compare: open {} of {} differ from previous + new + reopened - resolved; nothing was written or \
                     mailed, please report this",
                    case.job.name, kind, currency
                ),
            ));
        }
    }
    conn.execute("DELETE FROM run_counts WHERE run_id = ?1", [case.run_id])?;
    let mut insert = conn.prepare(
        "INSERT INTO run_counts (run_id, currency, kind, count, difference_minor, previous_open, new, reopened, resolved)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for ((currency, kind), c) in &counts {
        // None: more than the column holds.
        let difference = i64::try_from(c.difference).ok();
        let life = (c.previous, c.new, c.reopened, c.resolved);
        insert.execute((
            case.run_id,
            currency,
            kind.as_str(),
            c.open,
            difference,
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

fn read(conn: &Connection, case: &Case<'_>) -> Result<Counts, Failure> {
    let mut statement = conn.prepare(include_str!("counts.sql"))?;
    let day = case.business_day.to_string();
    let mut rows = statement.query(named_params! {":job": case.job.name, ":day": day})?;
    let mut counts = Counts::new();
    let mut of: Option<Concerned> = None;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if of.as_ref().is_none_or(|of| of.id != id) {
            of.replace(Concerned::read(id, row)?)
                .into_iter()
                .for_each(|before| before.count(&mut counts));
        }
        if let (Some(of), Some(event)) = (&mut of, optional_word(row, 5, "discrepancy_events.event")?) {
            of.happened(row.get(7)?, event, row.get(6)?)?;
        }
    }
    of.into_iter().for_each(|last| last.count(&mut counts));
    Ok(counts)
}

/// A discrepancy that is open or that the day closed.
struct Concerned {
    id: String,
    currency: String,
    kind: Kind,
    state: State,
    difference: Option<i64>,
    doings: Doings,
    /// The last event that was taken.
    newest: i64,
}

impl Concerned {
    fn read(id: &str, row: &Row<'_>) -> Result<Self, Failure> {
        Ok(Self {
            id: id.to_owned(),
            currency: row.get(1)?,
            kind: word(row, 2, "discrepancies.kind")?,
            state: word(row, 3, "discrepancies.state")?,
            difference: row.get(4)?,
            doings: Doings::default(),
            newest: 0,
        })
    }

    /// Its next event. The query does not sort: the index has them in their order, and counting rests on it.
    fn happened(&mut self, event_id: i64, event: Event, of_the_day: bool) -> Result<(), Failure> {
        if event_id <= self.newest {
            let why = format!("the events of the discrepancy {} are not in their order", self.id);
            return Err(Failure::new(Class::Internal, why));
        }
        self.newest = event_id;
        self.doings.take(event, of_the_day);
        Ok(())
    }

    fn count(self, counts: &mut Counts) {
        let is_open = is_open(self.state);
        let slot = counts.entry((self.currency, self.kind)).or_default();
        slot.open += i64::from(is_open);
        if is_open {
            slot.difference += i128::from(self.difference.unwrap_or_default());
        }
        slot.unacknowledged += i64::from(self.state == State::Open);
        slot.previous += i64::from(self.doings.was_open(is_open));
        slot.new += self.doings.how_often(Event::Opened);
        slot.reopened += self.doings.how_often(Event::Reopened);
        slot.resolved += self.doings.how_often(Event::Resolved);
    }
}

fn outcome(case: &Case<'_>, counts: &Counts) -> Outcome {
    let sum = |of: fn(&Count) -> i64| counts.values().map(of).sum::<i64>().unsigned_abs();
    let (open, new, reopened, resolved) = (
        sum(|c| c.open),
        sum(|c| c.new),
        sum(|c| c.reopened),
        sum(|c| c.resolved),
    );
    let unclassified = counts
        .iter()
        .filter(|((_, kind), _)| *kind == Kind::Unclassified)
        .map(|(_, c)| c.open)
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
fn verdict(case: &Case<'_>, counts: &Counts, outcome: &Outcome) -> Verdict {
    let open = |kind: Kind| counts.iter().any(|((_, of), c)| *of == kind && c.open > 0);
    if matches!(case.ledger, LedgerLeg::Refused(_)) {
        Verdict::NotReconciled
    } else if !case.reading_complete || open(Kind::IncompleteWindow) || !outcome.unanswered.is_empty() {
        Verdict::Incomplete
    } else if counts
        .iter()
        .any(|((_, kind), c)| !kind.is_warning() && c.unacknowledged > 0)
    {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_day_did_begins_after_the_last_event_of_another_day() {
        use Event::{Opened, Reopened, Resolved};
        // What happened (on this day or another), whether it is open now -> whether it was open before, what is counted of the day.
        type Case<'a> = (&'a [(Event, bool)], bool, bool, [i64; 3]);
        let cases: [Case<'_>; 8] = [
            (&[(Opened, true)], true, false, [1, 0, 0]),
            (&[(Opened, false)], true, true, [0, 0, 0]),
            (&[(Opened, false), (Resolved, true)], false, true, [0, 0, 1]),
            (
                &[(Opened, false), (Resolved, false), (Reopened, true)],
                true,
                false,
                [0, 1, 0],
            ),
            // A night that was run again: gone in the first run, back in the second, and the other way round.
            (
                &[(Opened, false), (Resolved, true), (Reopened, true)],
                true,
                true,
                [0, 1, 1],
            ),
            (&[(Opened, true), (Resolved, true)], false, false, [1, 0, 1]),
            // A later day has gone on with it.
            (&[(Opened, true), (Resolved, false)], false, false, [0, 0, 0]),
            (
                &[(Opened, true), (Resolved, false), (Reopened, true)],
                true,
                false,
                [0, 1, 0],
            ),
        ];
        for (events, is_open, was_open, counted) in cases {
            let mut doings = Doings::default();
            events.iter().for_each(|(event, today)| doings.take(*event, *today));
            assert_eq!(doings.was_open(is_open), was_open, "{events:?}");
            assert_eq!(
                [Opened, Reopened, Resolved].map(|event| doings.how_often(event)),
                counted,
                "{events:?}"
            );
            // The books close over it.
            assert_eq!(
                i64::from(is_open),
                i64::from(was_open) + counted[0] + counted[1] - counted[2],
                "{events:?}"
            );
        }
    }
}
