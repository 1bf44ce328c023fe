//! What stands about a discrepancy after people and runs have spoken: the one rule by which owner, decision, note and state
//! follow from decisions and events. Pure, but for [`verify`], which applies it to the books and compares.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::decide::Decision;
use crate::compare::life::{Event, State};
use crate::failure::Failure;
use crate::store::{Finding, Store};

/// Owner, decision and note as a discrepancy shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub owner: Option<String>,
    /// Never `reopen`.
    pub decision: Option<Decision>,
    pub note: Option<String>,
}

impl Standing {
    /// What stands after one more decision.
    pub fn after(&self, decision: Decision, owner: Option<&str>, note: Option<&str>) -> Self {
        let note = note.map(str::to_owned);
        let owner = owner.map(str::to_owned).or_else(|| self.owner.clone());
        match decision {
            Decision::Accept | Decision::Explain | Decision::WriteOff => Self {
                owner,
                decision: Some(decision),
                note,
            },
            // A new owner takes over what was decided before.
            Decision::Assign => Self {
                owner,
                decision: self.decision.or(Some(Decision::Assign)),
                note: note.or_else(|| self.note.clone()),
            },
            Decision::Reopen => Self {
                owner,
                decision: None,
                note,
            },
        }
    }

    /// What stands after the values changed: the owner stays, the word about the old values does not.
    pub fn expired(&self) -> Self {
        Self {
            owner: self.owner.clone(),
            decision: None,
            note: None,
        }
    }
}

/// The state that follows from an event; None: it stays.
pub fn state_after(event: Event) -> Option<State> {
    match event {
        Event::Opened | Event::Changed | Event::Reopened | Event::Noted => Some(State::Open),
        Event::Resolved => Some(State::Resolved),
        Event::Acknowledged => Some(State::Acknowledged),
        Event::Assigned | Event::DecisionExpired | Event::LateChange => None,
    }
}

/// What history says about one discrepancy.
#[derive(Default)]
struct History {
    state: Option<State>,
    resolved_day: Option<String>,
    standing: Standing,
}

/// Whether state, owner, decision, note and days of every discrepancy are those that its events and decisions give: the
/// columns that the audit trail does not seal because people and nights change them.
///
/// # Errors
/// LOCAL-IO when the database cannot be read.
pub fn verify(store: &Store) -> Result<Vec<Finding>, Failure> {
    store.read(|conn| {
        let histories = histories(conn)?;
        let mut statement = conn.prepare(
            "SELECT discrepancy_id, state, resolved_day, owner, decision, note,
                    age_days = CAST(julianday(last_seen_day) - julianday(first_seen_day) AS INTEGER)
               FROM discrepancies ORDER BY discrepancy_id",
        )?;
        let mut rows = statement.query([])?;
        let (mut findings, none) = (Vec::new(), History::default());
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let history = histories.get(&id).unwrap_or(&none);
            let text = |column: usize| row.get::<_, Option<String>>(column);
            let wanted = &history.standing;
            let pairs = [
                ("state", text(1)?, history.state.map(|s| s.as_str().to_owned())),
                ("resolved_day", text(2)?, history.resolved_day.clone()),
                ("owner", text(3)?, wanted.owner.clone()),
                ("decision", text(4)?, wanted.decision.map(|d| d.as_str().to_owned())),
                ("note", text(5)?, wanted.note.clone()),
            ];
            let mut wrong: Vec<&str> = pairs.iter().filter(|(_, is, was)| is != was).map(|p| p.0).collect();
            if !row.get::<_, bool>(6)? {
                wrong.push("age_days");
            }
            if !wrong.is_empty() {
                findings.push(Finding {
                    check: "audit",
                    place: format!("discrepancies {id}"),
                    what: format!(
                        "{} is not what its events and decisions say; somebody edited it: restore a backup",
                        wrong.join(", ")
                    ),
                });
            }
        }
        Ok(findings)
    })
}

fn histories(conn: &Connection) -> Result<BTreeMap<String, History>, Failure> {
    let mut statement = conn.prepare(
        "SELECT e.discrepancy_id, e.event, e.business_day, d.decision, d.owner, d.note
           FROM discrepancy_events AS e LEFT JOIN decisions AS d ON d.event_id = e.event_id
                                                                 AND d.discrepancy_id = e.discrepancy_id
          ORDER BY e.event_id, d.decision_id",
    )?;
    let mut rows = statement.query([])?;
    let mut all: BTreeMap<String, History> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let history = all.entry(row.get(0)?).or_default();
        let text = |column: usize| row.get::<_, Option<String>>(column);
        // A word outside the set is refused by the table itself.
        let Ok(event) = text(1)?.unwrap_or_default().parse::<Event>() else {
            continue;
        };
        if let Some(state) = state_after(event) {
            history.state = Some(state);
            history.resolved_day = if state == State::Resolved { text(2)? } else { None };
        }
        if event == Event::DecisionExpired {
            history.standing = history.standing.expired();
        }
        if let Some(decision) = text(3)?.and_then(|word| word.parse().ok()) {
            history.standing = history
                .standing
                .after(decision, text(4)?.as_deref(), text(5)?.as_deref());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(owner: Option<&str>, decision: Option<Decision>, note: Option<&str>) -> Standing {
        Standing {
            owner: owner.map(str::to_owned),
            decision,
            note: note.map(str::to_owned),
        }
    }

    #[test]
    fn an_owner_stays_until_another_one_is_named() {
        let first = Standing::default().after(Decision::Assign, Some("ana"), None);
        assert_eq!(first, standing(Some("ana"), Some(Decision::Assign), None));
        let accepted = first.after(Decision::Accept, None, Some("known"));
        assert_eq!(accepted, standing(Some("ana"), Some(Decision::Accept), Some("known")));
        let handed = accepted.after(Decision::Assign, Some("ben"), None);
        assert_eq!(handed, standing(Some("ben"), Some(Decision::Accept), Some("known")));
        assert_eq!(handed.expired(), standing(Some("ben"), None, None));
        assert_eq!(
            handed.after(Decision::Reopen, None, None),
            standing(Some("ben"), None, None)
        );
    }
}
