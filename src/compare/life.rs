//! The life of a discrepancy: what was known, what was found tonight, what follows. Pure.

use crate::record::{Kind, words};

words! {
    /// `discrepancies.state`.
    State { Open = "open", Acknowledged = "acknowledged", Resolved = "resolved" }
}

words! {
    /// `discrepancy_events.event`.
    Event {
        Opened = "opened", Changed = "changed", Resolved = "resolved", Reopened = "reopened",
        Acknowledged = "acknowledged", Noted = "noted", Assigned = "assigned",
        /// The values changed, so the decision about the old ones holds no longer.
        DecisionExpired = "decision_expired",
        /// It arose or changed after the day it is about was closed; the note names both days.
        LateChange = "late_change",
    }
}

/// What the books say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    pub kind: Kind,
    pub state: State,
}

/// What tonight says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tonight {
    /// Found; whether kind and values are those of the books.
    Found { same: bool },
    /// Looked for and not found: the cause is gone.
    Gone,
    /// Could not be looked for: a leg is missing, or the place was not read.
    Unseen,
}

/// The state it has from now on, and what is written into its history. None: nothing is written at all.
pub fn next(past: Option<Past>, tonight: Tonight) -> Option<(State, Option<Event>)> {
    use Tonight::{Found, Gone, Unseen};
    let Some(Past { kind, state }) = past else {
        return matches!(tonight, Found { .. }).then_some((State::Open, Some(Event::Opened)));
    };
    // What happened to a final record stays true; a person's word ends it.
    let ends_by_word = kind == Kind::ChangedAfterFinal;
    match (state, tonight) {
        (_, Unseen) | (State::Resolved, Gone) => None,
        (State::Resolved, Found { same: true }) if ends_by_word => None,
        (State::Resolved, Found { .. }) => Some((State::Open, Some(Event::Reopened))),
        (State::Acknowledged, Found { same: true } | Gone) if ends_by_word => {
            Some((State::Resolved, Some(Event::Resolved)))
        }
        (State::Open, Gone) if ends_by_word => None,
        (State::Open | State::Acknowledged, Gone) => Some((State::Resolved, Some(Event::Resolved))),
        (state, Found { same: true }) => Some((state, None)),
        // Another value is another question: what a person said about the old one no longer holds.
        (State::Open | State::Acknowledged, Found { same: false }) => Some((State::Open, Some(Event::Changed))),
    }
}

/// Whether it counts as open.
pub fn is_open(state: State) -> bool {
    state != State::Resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(state: State) -> Option<Past> {
        Some(Past {
            kind: Kind::AmountMismatch,
            state,
        })
    }

    #[test]
    fn a_discrepancy_is_opened_persists_is_resolved_and_reopened() {
        assert_eq!(
            next(None, Tonight::Found { same: false }),
            Some((State::Open, Some(Event::Opened)))
        );
        assert_eq!(
            next(past(State::Open), Tonight::Found { same: true }),
            Some((State::Open, None))
        );
        assert_eq!(
            next(past(State::Open), Tonight::Gone),
            Some((State::Resolved, Some(Event::Resolved)))
        );
        assert_eq!(
            next(past(State::Resolved), Tonight::Found { same: true }),
            Some((State::Open, Some(Event::Reopened)))
        );
        assert_eq!(next(past(State::Resolved), Tonight::Gone), None);
        assert_eq!(next(None, Tonight::Gone), None);
    }

    #[test]
    fn an_acknowledged_one_stays_so_only_while_its_values_do() {
        assert_eq!(
            next(past(State::Acknowledged), Tonight::Found { same: true }),
            Some((State::Acknowledged, None))
        );
        assert_eq!(
            next(past(State::Acknowledged), Tonight::Found { same: false }),
            Some((State::Open, Some(Event::Changed)))
        );
    }

    #[test]
    fn what_could_not_be_looked_for_keeps_its_state() {
        for state in State::ALL {
            assert_eq!(next(past(*state), Tonight::Unseen), None);
        }
    }

    #[test]
    fn a_change_after_final_ends_by_a_persons_word_and_not_before() {
        let past = |state| {
            Some(Past {
                kind: Kind::ChangedAfterFinal,
                state,
            })
        };
        assert_eq!(
            next(past(State::Open), Tonight::Found { same: true }),
            Some((State::Open, None))
        );
        assert_eq!(next(past(State::Open), Tonight::Gone), None);
        let ended = Some((State::Resolved, Some(Event::Resolved)));
        assert_eq!(next(past(State::Acknowledged), Tonight::Found { same: true }), ended);
        assert_eq!(next(past(State::Resolved), Tonight::Found { same: true }), None);
        assert_eq!(
            next(past(State::Resolved), Tonight::Found { same: false }),
            Some((State::Open, Some(Event::Reopened)))
        );
    }
}
