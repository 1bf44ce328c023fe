//! Seals of what a night writes. Digesting a row takes a fifth of the time that writing it takes: where there are many, a second
//! thread digests while the next ones are written.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::discrepancy::Discrepancy;
use super::life::Event;
use crate::day::{BusinessDay, format_instant};
use crate::record::Kind;
use crate::store::audit::{Content, Sealed, Seals};

/// Rows handed over at once.
const BATCH: usize = 256;
/// Batches that may wait; a row is about a kilobyte.
const WAITING: usize = 4;

/// What every seal of the night says.
#[derive(Clone, Debug)]
pub struct Words {
    pub job: String,
    /// As-of instant as it stands in the database.
    pub at: String,
    /// Business day as it stands in the database.
    pub today: String,
}

/// A row to be sealed, as it was written.
pub enum Line {
    Opened(Box<Opened>),
    Logged(Logged),
    /// Digested already, from the books; None: the row is gone.
    Digested(Sealed, String, Option<String>),
}

/// A discrepancy that this night put in.
pub struct Opened {
    /// Its id.
    pub hex: String,
    pub found: Discrepancy,
    pub closed_day: Option<BusinessDay>,
}

/// An event that this night put in.
pub struct Logged {
    pub event_id: i64,
    pub hex: String,
    pub event: Event,
    pub from: Option<Kind>,
    pub to: Option<Kind>,
    pub note: Option<String>,
}

impl Opened {
    /// The seal: the columns in the order in which the trail reads them.
    pub fn digest(&self, words: &Words) -> String {
        let found = &self.found;
        let [occurred_at, booked_at] = [found.occurred_at, found.booked_at].map(|at| at.map(format_instant));
        let [business_day, closed_day] = [found.business_day, self.closed_day].map(|day| day.map(|d| d.to_string()));
        let mut digest = Content::new();
        for text in [
            Some(self.hex.as_str()),
            Some(&words.job),
            Some(&found.identity),
            Some(found.kind.as_str()),
            found.provider.as_deref(),
            found.account.as_deref(),
            found.direction.map(|d| d.as_str()),
            found.reference.as_deref(),
            found.provider_id.as_deref(),
            found.ledger_id.as_deref(),
            found.currency.as_ref().map(|c| c.code()),
        ] {
            digest.text(text);
        }
        for whole in [found.provider_amount, found.ledger_amount, found.difference] {
            digest.whole(whole);
        }
        for text in [
            found.provider_status.as_deref(),
            found.ledger_status.as_deref(),
            occurred_at.as_deref(),
            booked_at.as_deref(),
            business_day.as_deref().or(Some(&words.today)),
            Some(&words.today),
            Some(&found.what_differs),
            Some(&found.detail),
            Some(&found.evidence),
            found.suggested_match.as_deref(),
            closed_day.as_deref(),
        ] {
            digest.text(text);
        }
        digest.finish()
    }
}

impl Logged {
    /// The seal: the columns in the order in which the trail reads them.
    pub fn digest(&self, words: &Words) -> String {
        let mut digest = Content::new();
        digest.whole(Some(self.event_id));
        for text in [
            Some(self.hex.as_str()),
            Some(&words.at),
            Some(&words.today),
            Some(self.event.as_str()),
            Some("run"),
            self.note.as_deref(),
            self.from.map(Kind::as_str),
            self.to.map(Kind::as_str),
        ] {
            digest.text(text);
        }
        digest.finish()
    }
}

/// Takes rows in the order in which they were written, and gives their seals in that order.
pub struct Sealing {
    words: Words,
    lines: Vec<Line>,
    behind: Option<Behind>,
}

/// The thread that digests.
struct Behind {
    give: SyncSender<Vec<Line>>,
    sealed: JoinHandle<Seals>,
}

impl Sealing {
    pub fn new(words: Words) -> Self {
        Self {
            words,
            lines: Vec::new(),
            behind: None,
        }
    }

    pub fn words(&self) -> &Words {
        &self.words
    }

    pub fn line(&mut self, line: Line) {
        self.lines.push(line);
        if self.lines.len() < BATCH {
            return;
        }
        let batch = std::mem::replace(&mut self.lines, Vec::with_capacity(BATCH));
        let behind = self.behind.get_or_insert_with(|| Behind::begin(self.words.clone()));
        // Nobody listens any more: it panicked, which `finish` passes on.
        let _ = behind.give.send(batch);
    }

    /// All seals.
    pub fn finish(self) -> Seals {
        let mut seals = Seals::default();
        match self.behind {
            None => seal(&mut seals, self.lines, &self.words),
            Some(Behind { give, sealed }) => {
                let _ = give.send(self.lines);
                drop(give);
                seals = sealed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        }
        seals
    }
}

impl Behind {
    fn begin(words: Words) -> Self {
        let (give, given) = sync_channel::<Vec<Line>>(WAITING);
        let sealed = std::thread::spawn(move || {
            let mut seals = Seals::default();
            given.iter().for_each(|batch| seal(&mut seals, batch, &words));
            seals
        });
        Self { give, sealed }
    }
}

fn seal(seals: &mut Seals, lines: Vec<Line>, words: &Words) {
    for line in lines {
        match line {
            Line::Opened(row) => seals.line(Sealed::Discrepancy, &row.hex, &row.digest(words)),
            Line::Logged(row) => seals.line(Sealed::Event, &row.event_id.to_string(), &row.digest(words)),
            Line::Digested(what, key, Some(digest)) => seals.line(what, &key, &digest),
            Line::Digested(what, key, None) => seals.removed(what, &key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_stand_in_the_order_of_the_rows_however_many_there_are() {
        let words = Words {
            job: "j".to_owned(),
            at: "2026-03-04T03:00:00.000Z".to_owned(),
            today: "2026-03-03".to_owned(),
        };
        let logged = |n: usize| Logged {
            event_id: n as i64,
            hex: format!("{n:016x}"),
            event: Event::Opened,
            from: None,
            to: Some(Kind::MissingInLedger),
            note: None,
        };
        for rows in [0, 1, BATCH - 1, BATCH, BATCH + 1, BATCH * (WAITING + 3)] {
            let (mut sealing, mut wanted) = (Sealing::new(words.clone()), Seals::default());
            for n in 0..rows {
                wanted.line(Sealed::Event, &n.to_string(), &logged(n).digest(&words));
                sealing.line(Line::Logged(logged(n)));
            }
            assert_eq!(sealing.finish(), wanted, "{rows} rows");
        }
    }
}
