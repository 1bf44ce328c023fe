//! One decision about one discrepancy: whether it may be taken, and what it changes. Returned sheets and the commands `ack`
//! and `reopen` write through here and nowhere else.

use rusqlite::{Connection, OptionalExtension, params};

use super::standing::{Standing, state_after};
use crate::compare::life::{Event, State};
use crate::config::section::nearest;
use crate::day::{BusinessDay, Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::record::words;
use crate::store::Store;
use crate::store::audit::{self, Act, Head, Sealed, Seals};

words! {
    /// `decisions.decision`: what a person may write into the column of that name.
    Decision {
        /// The difference is right as it is.
        Accept = "accept",
        /// There is a reason, and the note names it.
        Explain = "explain",
        /// It will not be pursued.
        WriteOff = "write_off",
        /// Somebody looks after it; it stays open.
        Assign = "assign",
        /// The decision is taken back.
        Reopen = "reopen",
    }
}

impl Decision {
    /// Reads what a person wrote: case, blanks and hyphens do not matter.
    ///
    /// # Errors
    /// One sentence with the words there are.
    pub fn read(text: &str) -> Result<Self, String> {
        let word = text.trim().to_lowercase().replace([' ', '-'], "_");
        word.parse().map_err(|()| {
            let near = nearest(&word, Self::ALL.iter().map(|d| d.as_str()));
            format!("there is no decision {text:?}{near}; it is one of accept, explain, write_off, assign, reopen")
        })
    }

    fn event(self) -> Event {
        match self {
            Self::Accept | Self::Explain | Self::WriteOff => Event::Acknowledged,
            Self::Assign => Event::Assigned,
            // Taking a word back is no change of the numbers: `reopened` is for what was resolved.
            Self::Reopen => Event::Noted,
        }
    }
}

/// What a person wants, and where they said so.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub decision: Decision,
    pub owner: Option<&'a str>,
    pub note: Option<&'a str>,
    pub actor: &'a str,
    /// Wall clock.
    pub at: Instant,
    pub business_day: BusinessDay,
    /// Name of the returned file, or `command`.
    pub source: &'a str,
    /// Row of the sheet and `return_id` of the file; None for a command.
    pub place: Option<(i64, i64)>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Applied,
    /// It stood so already.
    Unchanged,
}

/// A discrepancy as it stands now, as far as decisions and their guards look at it.
#[derive(Clone, Debug)]
pub struct Present {
    pub id: String,
    pub job: String,
    pub state: State,
    pub kind: String,
    pub currency: Option<String>,
    /// Minor units: provider, ledger, difference.
    pub provider_amount: Option<i64>,
    pub ledger_amount: Option<i64>,
    pub difference: Option<i64>,
    pub provider_status: Option<String>,
    pub ledger_status: Option<String>,
    pub what_differs: String,
    pub resolved_day: Option<String>,
    pub standing: Standing,
}

/// Reads it. None: the id is unknown.
pub fn present(conn: &Connection, id: &str) -> Result<Option<Present>, Failure> {
    let found = conn
        .prepare_cached(
            "SELECT discrepancy_id, job, state, kind, currency, provider_amount_minor, ledger_amount_minor, difference_minor,
                    provider_status, ledger_status, what_differs, resolved_day, owner, decision, note
               FROM discrepancies WHERE discrepancy_id = ?1",
        )?
        .query_row([id], |row| {
            let word: Option<String> = row.get(13)?;
            Ok(Present {
                id: row.get(0)?,
                job: row.get(1)?,
                state: row.get::<_, String>(2)?.parse().unwrap_or(State::Open),
                kind: row.get(3)?,
                currency: row.get(4)?,
                provider_amount: row.get(5)?,
                ledger_amount: row.get(6)?,
                difference: row.get(7)?,
                provider_status: row.get(8)?,
                ledger_status: row.get(9)?,
                what_differs: row.get(10)?,
                resolved_day: row.get(11)?,
                standing: Standing {
                    owner: row.get(12)?,
                    decision: word.and_then(|word| word.parse().ok()),
                    note: row.get(14)?,
                },
            })
        })
        .optional()?;
    Ok(found)
}

/// Why a decision cannot be taken, whatever stands in the books; None: it can.
pub fn lacks(decision: Decision, owner: Option<&str>, note: Option<&str>) -> Option<&'static str> {
    match decision {
        Decision::Explain if note.is_none() => {
            Some("`explain` needs a note: write the explanation into the column `note`")
        }
        Decision::WriteOff if note.is_none() => {
            Some("`write_off` needs a note: who reads it later must know why it was given up")
        }
        Decision::Assign if owner.is_none() => Some("`assign` needs a name in the column `owner`"),
        _ => None,
    }
}

/// Takes a decision: state, owner, decision and note, the event, the version in `decisions`, and its seals. The inner error
/// is the reason for a refusal, one sentence.
pub fn apply(
    tx: &Connection,
    present: &Present,
    wish: &Wish<'_>,
    seals: &mut Seals,
) -> Result<Result<Effect, String>, Failure> {
    if let Some(lacking) = lacks(wish.decision, wish.owner, wish.note) {
        return Ok(Err(lacking.to_owned()));
    }
    if present.state == State::Resolved {
        let since = present.resolved_day.as_deref().unwrap_or("an earlier night");
        return Ok(Err(format!(
            "it is resolved since {since}: its cause is gone, there is nothing to decide"
        )));
    }
    let after = present.standing.after(wish.decision, wish.owner, wish.note);
    let state = state_after(wish.decision.event()).unwrap_or(present.state);
    if after == present.standing && state == present.state {
        return Ok(Ok(Effect::Unchanged));
    }
    tx.prepare_cached(
        "UPDATE discrepancies SET state = ?2, owner = ?3, decision = ?4, note = ?5 WHERE discrepancy_id = ?1",
    )?
    .execute(params![
        present.id,
        state.as_str(),
        after.owner,
        after.decision.map(Decision::as_str),
        after.note
    ])?;
    let event_id = tx
        .prepare_cached(
            "INSERT INTO discrepancy_events (discrepancy_id, at, business_day, event, actor, note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert(params![
            present.id,
            format_instant(wish.at),
            wish.business_day.to_string(),
            wish.decision.event().as_str(),
            wish.actor,
            wish.note
        ])?;
    let decision_id = remember(tx, present, wish, event_id)?;
    seals.row(tx, Sealed::Event, &event_id.to_string())?;
    seals.row(tx, Sealed::Decision, &decision_id.to_string())?;
    Ok(Ok(Effect::Applied))
}

fn remember(tx: &Connection, present: &Present, wish: &Wish<'_>, event_id: i64) -> Result<i64, Failure> {
    let (row, file) = wish.place.unzip();
    let id = tx
        .prepare_cached(
            "INSERT INTO decisions (discrepancy_id, version, decision, owner, note, actor, at, business_day, source, source_row,
                                    return_id, event_id, kind, currency, difference_minor, what_differs)
             VALUES (?1, (SELECT count(*) + 1 FROM decisions WHERE discrepancy_id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
                     ?11, ?12, ?13, ?14, ?15)",
        )?
        .insert(params![
            present.id,
            wish.decision.as_str(),
            wish.owner,
            wish.note,
            wish.actor,
            format_instant(wish.at),
            wish.business_day.to_string(),
            wish.source,
            row,
            file,
            event_id,
            present.kind,
            present.currency,
            present.difference,
            present.what_differs
        ])?;
    Ok(id)
}

/// One decision from the command line. Gives what became of it and the head of the audit trail.
///
/// # Errors
/// USAGE for an id that is unknown or resolved, or a decision that lacks its note or owner.
pub fn decide_one(store: &Store, id: &str, wish: &Wish<'_>) -> Result<(Effect, Head), Failure> {
    let refused = |why: String| Failure::new(Class::Usage, format!("the discrepancy {id:?}: {why}"));
    store.write(|tx| {
        let Some(present) = present(tx, id)? else {
            return Err(refused(
                "it does not exist; `reconciled discrepancies list` shows the open ones".to_owned(),
            ));
        };
        let mut seals = Seals::default();
        let effect = apply(tx, &present, wish, &mut seals)?.map_err(refused)?;
        let entry = audit::Entry {
            at: wish.at,
            actor: wish.actor,
            act: Act::Decided,
            job: &present.job,
            subject: &present.id,
        };
        Ok((effect, audit::append(tx, &entry, &seals)?))
    })
}
