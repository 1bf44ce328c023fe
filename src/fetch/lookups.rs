//! Which ledger items are asked about tonight, where a provider answers only by key. Asks nobody.
//!
//! Wanted are keys never answered, those whose record is open or unknown, those that turned final in the ledger since they were
//! asked about, and a tail of young finals: young by the booking, or by the night in which the record changed to what it says
//! now. What waits longest comes first, then the oldest booking, then the largest amount, as far as the night's budget reaches;
//! the rest is counted and said.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use rusqlite::{Row, params};

use super::plan::{Horizon, Wanted};
use crate::config::Job;
use crate::day::{Instant, day_of, format_instant, last_day_over, next_day, parse_instant, start_of_day};
use crate::failure::{Class, Failure};
use crate::providers::{Feed, Provider, Shape, lookups};
use crate::store::{self, Store};
use crate::window::Window;

/// What a night asks by key.
#[derive(Default)]
pub(super) struct Selection {
    wanted: BTreeMap<&'static str, Vec<Wanted>>,
    /// By feed: keys of this night that the budget does not reach.
    pub left: BTreeMap<&'static str, u64>,
    /// Keys that this night, before a cut, has had an answer about.
    pub answered: u64,
}

impl Selection {
    /// Without a ledger there is nothing to ask.
    pub(super) fn make(store: Option<&Store>, night: &Horizon<'_>, provider: &dyn Provider) -> Result<Self, Failure> {
        let mut selection = Self::default();
        let feeds: Vec<Feed> = provider
            .feeds()
            .into_iter()
            .filter(|f| f.shape == Shape::Lookups)
            .collect();
        let (Some(store), false) = (store, feeds.is_empty()) else {
            return Ok(selection);
        };
        let ended_well = store::runs::ended_well(store, &night.job.name, night.as_of)?;
        let mut candidates = Vec::new();
        let mut spent = 0;
        for (order, feed) in feeds.iter().enumerate() {
            let (asked, answered) = store::asked_since(store, &night.job.name, feed.name, night.fresh_since)?;
            spent += asked;
            selection.answered += answered;
            let asked_about = items(store, night, provider, feed)?.into_iter();
            candidates.extend(asked_about.filter_map(|item| item.candidate(night, order, ended_well)));
        }
        candidates.sort();
        let mut budget = provider
            .max_lookups()
            .map_or(u64::MAX, |most| most.saturating_sub(spent));
        for candidate in candidates {
            let Some(feed) = feeds.get(candidate.feed) else {
                continue;
            };
            // What this night has begun already is paid for.
            if !candidate.begun_tonight && budget == 0 {
                *selection.left.entry(feed.name).or_default() += 1;
                continue;
            }
            budget -= u64::from(!candidate.begun_tonight);
            selection.wanted.entry(feed.name).or_default().push(Wanted {
                window: candidate.window,
                shape: Some(format!("{} {}", night.job.shape, candidate.said)),
                subject: Some(candidate.subject),
                beside: candidate.beside,
                account: String::new(),
            });
        }
        Ok(selection)
    }

    /// The conversations of one feed, in the order in which they are held.
    pub(super) fn of(&self, feed: &str) -> &[Wanted] {
        self.wanted.get(feed).map_or(&[], Vec::as_slice)
    }
}

/// Everything the ledger says about one key, and what is known of it.
struct Item {
    subject: String,
    beside: Vec<String>,
    /// The oldest booking; None: one of its entries has no date.
    booked_at: Option<Instant>,
    /// Largest of its entries, minor units without sign.
    amount: u64,
    /// Words of status in the ledger.
    statuses: BTreeSet<String>,
    known: Option<Known>,
    record: Record,
    /// When the record became what it is: of the first answer what the provider says itself (None: nobody knows, and the
    /// booking counts), of a later one the night that saw it.
    record_since: Option<Instant>,
}

/// The key's row in `windows`.
struct Known {
    sealed: bool,
    sealed_as_of: Option<Instant>,
    begun_as_of: Option<Instant>,
    refused: bool,
    /// What the ledger said when it was asked about.
    said: String,
}

/// What the provider said of it last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Record {
    None,
    /// Settled or failed.
    Decided,
    /// Open, or a word nobody declared.
    Undecided,
}

/// Fields in the order in which candidates are asked about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// What is decided is only looked at again when nothing else waits.
    tail: bool,
    /// As-of instant of the night that asked about it last.
    asked: Option<Instant>,
    booked_at: Option<Instant>,
    amount: Reverse<u64>,
    feed: usize,
    subject: String,
    beside: Vec<String>,
    window: Window,
    said: String,
    begun_tonight: bool,
}

impl Item {
    /// None: nothing to ask tonight.
    fn candidate(self, night: &Horizon<'_>, feed: usize, ended_well: bool) -> Option<Candidate> {
        let said = self.said();
        let span = books(night.job, night.as_of);
        let window = match self.booked_at {
            Some(at) => day_window(night.job, at),
            None => span,
        };
        let lookback = night.job.fetch.lookback;
        let is_young = |until: Instant| until > span.until - lookback;
        let became = self.record_since.filter(|_| lookback > TimeDelta::zero());
        let young = self.booked_at.is_some() && is_young(window.until)
            || became.is_some_and(|at| is_young(day_window(night.job, at).until));
        let begun_tonight = self
            .known
            .as_ref()
            .and_then(|known| known.begun_as_of)
            .is_some_and(|begun| begun >= night.fresh_since);
        let tail = match &self.known {
            Some(known) if known.sealed => {
                if known.sealed_as_of.is_some_and(|sealed| sealed >= night.fresh_since) {
                    return None;
                }
                let waits = match self.record {
                    Record::Undecided => true,
                    // A failed attempt that never reached the provider.
                    Record::None => said != "failed",
                    Record::Decided => false,
                };
                let newly_final = known.said != said && self.is_final();
                if !waits && !newly_final && !young {
                    return None;
                }
                !waits && !newly_final
            }
            // Refused by a run of this very night that went through: that was tonight's answer.
            Some(known) if known.refused && begun_tonight && ended_well => return None,
            Some(_) | None => false,
        };
        let cut = begun_tonight && self.known.as_ref().is_some_and(|known| !known.refused);
        let asked = self.known.as_ref().and_then(|known| known.begun_as_of).filter(|_| !cut);
        Some(Candidate {
            tail,
            asked,
            booked_at: self.booked_at,
            amount: Reverse(self.amount),
            feed,
            subject: self.subject,
            beside: self.beside,
            window,
            said,
            begun_tonight,
        })
    }

    fn said(&self) -> String {
        let words: Vec<&str> = self.statuses.iter().map(String::as_str).collect();
        words.join("+")
    }

    fn is_final(&self) -> bool {
        self.statuses
            .iter()
            .all(|word| matches!(word.as_str(), "settled" | "failed"))
    }

    /// A further entry of the same key.
    fn add(&mut self, other: Item) {
        self.booked_at = self.booked_at.zip(other.booked_at).map(|(one, two)| one.min(two));
        self.amount = self.amount.max(other.amount);
        self.statuses.extend(other.statuses);
    }
}

/// From the first business day ever wanted to the end of the last one that is over.
pub(super) fn books(job: &Job, as_of: Instant) -> Window {
    let last = last_day_over(as_of, job.fetch.settle, job.timezone);
    let from = start_of_day(job.fetch.start, job.timezone);
    Window {
        from,
        until: start_of_day(next_day(last), job.timezone).max(from),
    }
}

fn day_window(job: &Job, at: Instant) -> Window {
    let day = day_of(at, job.timezone);
    Window {
        from: start_of_day(day, job.timezone),
        until: start_of_day(next_day(day), job.timezone),
    }
}

/// Keys of the ledger inside the span of the books, with what is known of each; those that cannot be asked about are left out.
fn items(store: &Store, night: &Horizon<'_>, provider: &dyn Provider, feed: &Feed) -> Result<Vec<Item>, Failure> {
    let subject = lookups::subject_sql(provider.lookup_key(feed.name));
    let extras = provider.lookup_extras(feed.name);
    let of_extras = |sql: &dyn Fn(usize, &str) -> String| -> String {
        (0..)
            .zip(extras)
            .map(|(place, extra)| sql(place, extra.column()))
            .collect()
    };
    let beside = of_extras(&|place, column| format!(", coalesce({column}, '') AS beside_{place}"));
    let read = of_extras(&|place, _| format!(", asked.beside_{place}"));
    // Of several entries with one key a payment comes before its refund, then the one that says more.
    let order = of_extras(&|place, _| format!(", asked.beside_{place} DESC"));
    let sql = format!(
        "WITH asked AS (
           SELECT {subject} AS subject, status, amount_minor, booked_at, direction{beside} FROM ledger_entries
            WHERE job = ?1 AND status <> 'excluded' AND instr(?3, ' ' || direction || ' ')
              AND (booked_at IS NULL OR booked_at >= ?4 AND booked_at < ?5)
         )
         SELECT asked.subject, asked.status, asked.amount_minor, asked.booked_at, w.window_id IS NOT NULL,
                w.state = 'sealed', w.sealed_at, w.begun_at, w.reason IS NOT NULL, w.shape,
                (SELECT max(iif(t.status = 'open' OR t.status = 'unknown', 2, 1)) || ' ' ||
                        coalesce(max(iif(t.version = 1, t.changed_at, t.seen_at)), '') FROM transactions AS t
                  WHERE t.job = ?1 AND t.feed = ?2 AND t.subject = asked.subject AND t.subject <> ''
                    AND t.vanished_at IS NULL){read}
           FROM asked LEFT JOIN windows AS w
             ON w.job = ?1 AND w.feed = ?2 AND w.subject = asked.subject
          WHERE asked.subject IS NOT NULL
          ORDER BY asked.subject, asked.direction{order}"
    );
    let directions: Vec<&str> = feed.directions.iter().map(|direction| direction.as_str()).collect();
    let directions = format!(" {} ", directions.join(" "));
    let span = books(night.job, night.as_of);
    store.read(|conn| {
        let mut statement = conn.prepare(&sql)?;
        let (from, until) = (format_instant(span.from), format_instant(span.until));
        let mut rows = statement.query(params![night.job.name, feed.name, directions, from, until])?;
        let mut items: Vec<Item> = Vec::new();
        while let Some(row) = rows.next()? {
            let item = read_item(row, extras.len())?;
            match items.last_mut() {
                Some(last) if last.subject == item.subject => last.add(item),
                _ if provider
                    .lookup_problem(feed.name, &item.subject, &item.beside)
                    .is_some() => {}
                _ => items.push(item),
            }
        }
        Ok(items)
    })
}

fn read_item(row: &Row<'_>, extras: usize) -> Result<Item, Failure> {
    let instant = |column: usize| -> Result<Option<Instant>, Failure> {
        let text: Option<String> = row.get(column)?;
        // An empty text is the begin of a window that an older version wrote.
        text.filter(|text| !text.is_empty())
            .map(|text| parse_instant(&text).ok_or_else(damaged))
            .transpose()
    };
    let known = match row.get::<_, bool>(4)? {
        true => Some(Known {
            sealed: row.get(5)?,
            sealed_as_of: instant(6)?,
            begun_as_of: instant(7)?,
            refused: row.get(8)?,
            said: row
                .get::<_, String>(9)?
                .rsplit_once(' ')
                .map(|(_, said)| said.to_owned())
                .unwrap_or_default(),
        }),
        false => None,
    };
    let (record, record_since) = match row.get_ref(10)?.as_str_or_null().map_err(|_| damaged())? {
        None => (Record::None, None),
        Some(text) => {
            let (which, since) = text.split_once(' ').ok_or_else(damaged)?;
            let record = if which == "1" {
                Record::Decided
            } else {
                Record::Undecided
            };
            let since = Some(since).filter(|since| !since.is_empty());
            let since = since
                .map(|since| parse_instant(since).ok_or_else(damaged))
                .transpose()?;
            (record, since)
        }
    };
    Ok(Item {
        subject: row.get(0)?,
        beside: (11..11 + extras)
            .map(|column| row.get(column))
            .collect::<Result<_, _>>()?,
        statuses: BTreeSet::from([row.get(1)?]),
        amount: row.get::<_, i64>(2)?.unsigned_abs(),
        booked_at: instant(3)?,
        known,
        record,
        record_since,
    })
}

fn damaged() -> Failure {
    Failure::new(
        Class::LocalIo,
        "the database holds an instant that cannot be read; run `reconciled verify`",
    )
}
