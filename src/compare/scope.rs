//! What was read: spans of sealed windows per direction, and where a job's books begin and end.
//!
//! Only where every feed of a direction was read to its end can anything count as missing at the provider.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use rusqlite::Connection;

use super::aside::Aside;
use super::keys::Keys;
use super::rows::{Entry, Record, damaged};
use crate::config::{Job, JobSource};
use crate::day::{BusinessDay, Instant, next_day, parse_instant, start_of_day};
use crate::failure::Failure;
use crate::providers::{Feed, Shape};
use crate::record::Direction;
use crate::window::Window;

/// A payment just before midnight may be booked just after it, and the other way round.
const EDGE: TimeDelta = TimeDelta::days(1);

/// What one feed has proved.
#[derive(Clone, Debug)]
struct Cover {
    directions: Vec<Direction>,
    /// Read to their end, merged, in order.
    sealed: Vec<Window>,
    /// Subjects of a child feed that were not read to their end.
    holes: Vec<Window>,
    /// How far around a booking the provider's record may lie.
    before: TimeDelta,
    after: TimeDelta,
    /// The feed is asked by key: its name, and the subjects that were answered in full.
    answered: Option<(&'static str, HashSet<String>)>,
}

/// Where the books begin and end, and what was read in between.
#[derive(Clone, Debug)]
pub struct Scope {
    /// First instant of the first business day ever wanted.
    pub start: Instant,
    /// First instant after the last business day of the run.
    pub end: Instant,
    covers: Vec<Cover>,
    keys: Keys,
    /// Feed and id of the records whose reference is still to be asked for.
    unasked: HashMap<&'static str, HashSet<String>>,
    aside: Aside,
}

/// Where an instant lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Before,
    Inside,
    After,
}

impl Scope {
    /// Reads the windows of a job. `grace_provider` is how late a provider that lists by settlement may list a booking.
    pub fn read(conn: &Connection, job: &Job, day: BusinessDay, grace_provider: TimeDelta) -> Result<Self, Failure> {
        let covers = match &job.source {
            JobSource::File(file) => {
                let sealed = sealed(conn, &job.name, &file.feed)?;
                let directions = Direction::ALL.to_vec();
                let none = TimeDelta::zero();
                vec![Cover {
                    directions,
                    sealed,
                    holes: Vec::new(),
                    before: none,
                    after: none,
                    answered: None,
                }]
            }
            JobSource::Provider(setup) => {
                let feeds = setup.provider.feeds();
                let wanted = feeds.iter().filter(|feed| !feed.directions.is_empty());
                wanted
                    .map(|feed| cover(conn, &job.name, feed, grace_provider))
                    .collect::<Result<_, _>>()?
            }
            JobSource::Across(_) => Vec::new(),
        };
        Ok(Self {
            unasked: unasked(conn, job)?,
            aside: Aside::read(conn, &job.name)?,
            start: start_of_day(job.fetch.start, job.timezone),
            end: start_of_day(next_day(day), job.timezone),
            covers,
            keys: Keys::of(job),
        })
    }

    /// The feeds that are asked by key.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where an instant lies against the span that the run is about.
    pub fn place(&self, at: Instant) -> Place {
        if at < self.start {
            Place::Before
        } else if at < self.end {
            Place::Inside
        } else {
            Place::After
        }
    }

    /// Whether the ledger may hold the record's entry all the while: nobody knows yet what the record is called, or a line of
    /// the ledger names it that could not be read.
    pub fn may_be_booked(&self, record: &Record) -> bool {
        let unasked = || {
            self.unasked
                .get(record.feed.as_str())
                .is_some_and(|ids| ids.contains(&record.provider_id))
        };
        record.reference.is_none() && unasked() || self.aside.names_record(record, self.keys.key(&record.feed))
    }

    /// Whether the provider would have shown the record of this entry. An entry without a date needs everything.
    pub fn proves(&self, entry: &Entry) -> bool {
        if self.aside.names_entry(entry) {
            return false;
        }
        let feeds = self.covers.iter().filter(|c| c.directions.contains(&entry.direction));
        feeds.into_iter().all(|cover| match &cover.answered {
            // Its own key was asked about; what was read around it proves nothing.
            Some((feed, answered)) => self
                .keys
                .subject(feed, entry)
                .is_some_and(|subject| answered.contains(subject)),
            None => {
                let span = match entry.booked_at {
                    Some(at) => Window {
                        from: (at - cover.before).max(self.start),
                        // Half open: the booking's own instant is asked for, too.
                        until: (at + cover.after + TimeDelta::milliseconds(1)).min(self.end),
                    },
                    None => Window {
                        from: self.start,
                        until: self.end,
                    },
                };
                covers(&cover.sealed, span) && !cover.holes.iter().any(|hole| overlap(*hole, span))
            }
        })
    }
}

fn unasked(conn: &Connection, job: &Job) -> Result<HashMap<&'static str, HashSet<String>>, Failure> {
    let mut unasked = HashMap::new();
    let JobSource::Provider(setup) = &job.source else {
        return Ok(unasked);
    };
    let mut open = conn
        .prepare("SELECT subject FROM windows WHERE job = ?1 AND feed = ?2 AND subject <> '' AND state <> 'sealed'")?;
    for feed in setup.provider.feeds() {
        if let Shape::Details { of } = feed.shape {
            let ids = open.query_map((&job.name, feed.name), |row| row.get(0))?;
            unasked.insert(of, ids.collect::<Result<_, _>>()?);
        }
    }
    Ok(unasked)
}

fn cover(conn: &Connection, job: &str, feed: &Feed, grace_provider: TimeDelta) -> Result<Cover, Failure> {
    let directions = feed.directions.to_vec();
    let (mut before, mut after, mut holes, mut answered) = (EDGE, EDGE, Vec::new(), None);
    let sealed = match feed.shape {
        Shape::Children { of } => {
            // The record stands under a subject that may close days after the booking.
            (before, after) = (EDGE, grace_provider.max(EDGE));
            holes = unread_subjects(conn, job, feed.name, of)?
                .into_iter()
                .map(|(_, window)| window)
                .collect();
            sealed(conn, job, of)?
        }
        Shape::Details { of } => {
            // Any of them may be the record that an entry looks for.
            holes = unasked_details(conn, job, feed.name)?
                .map(|(_, span)| span)
                .into_iter()
                .collect();
            sealed(conn, job, of)?
        }
        Shape::Lookups => {
            // An answer with a row that could not be read may have been about the record.
            let mut statement = conn.prepare(
                "SELECT subject FROM windows WHERE job = ?1 AND feed = ?2 AND state = 'sealed' AND subject <> ''
                    AND window_id NOT IN (SELECT p.window FROM unreadable_rows AS u JOIN pages AS p USING (page_id)
                                           WHERE u.job = ?1 AND u.gone_at IS NULL)",
            )?;
            let subjects = statement.query_map((job, feed.name), |row| row.get(0))?;
            answered = Some((feed.name, subjects.collect::<Result<_, _>>()?));
            Vec::new()
        }
        Shape::Days(_) | Shape::Listing | Shape::Snapshot => sealed(conn, job, feed.name)?,
    };
    Ok(Cover {
        directions,
        sealed,
        holes,
        before,
        after,
        answered,
    })
}

/// Sealed spans of one feed, touching ones made one.
pub fn sealed(conn: &Connection, job: &str, feed: &str) -> Result<Vec<Window>, Failure> {
    let mut statement = conn.prepare(
        "SELECT from_at, until_at FROM windows WHERE job = ?1 AND feed = ?2 AND subject = '' AND state = 'sealed' ORDER BY from_at",
    )?;
    let mut rows = statement.query((job, feed))?;
    let mut merged: Vec<Window> = Vec::new();
    while let Some(row) = rows.next()? {
        let window = window(row.get_ref(0)?.as_str().ok(), row.get_ref(1)?.as_str().ok())?;
        match merged.last_mut() {
            Some(last) if window.from <= last.until => last.until = last.until.max(window.until),
            _ => merged.push(window),
        }
    }
    Ok(merged)
}

/// Subjects of a child feed that were listed, or begun, and not read to their end; one without a name stands for those whose
/// id could not be read.
pub fn unread_subjects(
    conn: &Connection,
    job: &str,
    feed: &str,
    parent: &str,
) -> Result<Vec<(String, Window)>, Failure> {
    let mut found = Vec::new();
    let mut begun = conn.prepare(
        "SELECT subject, from_at, until_at FROM windows
          WHERE job = ?1 AND feed = ?2 AND state <> 'sealed' ORDER BY subject, from_at",
    )?;
    let mut rows = begun.query((job, feed))?;
    while let Some(row) = rows.next()? {
        found.push((
            row.get(0)?,
            window(row.get_ref(1)?.as_str().ok(), row.get_ref(2)?.as_str().ok())?,
        ));
    }
    let mut listed = conn.prepare(
        "SELECT b.subject, min(b.as_of) FROM balances AS b
          WHERE b.job = ?1 AND b.feed = ?3 AND b.subject <> '' AND b.superseded_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM windows AS w WHERE w.job = b.job AND w.feed = ?2 AND w.subject = b.subject)
          GROUP BY b.subject ORDER BY b.subject",
    )?;
    let mut rows = listed.query((job, feed, parent))?;
    while let Some(row) = rows.next()? {
        let at = row.get_ref(1)?.as_str().ok().and_then(parse_instant);
        let from = at.ok_or_else(|| damaged("balances.as_of"))?;
        found.push((
            row.get(0)?,
            Window {
                from,
                until: from + TimeDelta::milliseconds(1),
            },
        ));
    }
    Ok(found)
}

/// How many records without a reference nobody was asked about, and the span of the lists that showed them.
pub fn unasked_details(conn: &Connection, job: &str, feed: &str) -> Result<Option<(i64, Window)>, Failure> {
    let mut statement = conn.prepare(
        "SELECT count(*), min(from_at), max(until_at) FROM windows
          WHERE job = ?1 AND feed = ?2 AND subject <> '' AND state <> 'sealed' HAVING count(*) > 0",
    )?;
    let mut rows = statement.query((job, feed))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let span = window(row.get_ref(1)?.as_str().ok(), row.get_ref(2)?.as_str().ok())?;
    Ok(Some((row.get(0)?, span)))
}

/// Parts of `wanted` that no window of the feed, sealed or not, has begun.
pub fn never_begun(conn: &Connection, job: &str, feed: &str, wanted: Window) -> Result<Vec<Window>, Failure> {
    let mut statement = conn.prepare(
        "SELECT from_at, until_at FROM windows WHERE job = ?1 AND feed = ?2 AND subject = '' ORDER BY from_at",
    )?;
    let mut rows = statement.query((job, feed))?;
    let mut gaps = Vec::new();
    let mut from = wanted.from;
    while let Some(row) = rows.next()? {
        let window = window(row.get_ref(0)?.as_str().ok(), row.get_ref(1)?.as_str().ok())?;
        if window.from > from && from < wanted.until {
            gaps.push(Window {
                from,
                until: window.from.min(wanted.until),
            });
        }
        from = from.max(window.until);
    }
    if from < wanted.until {
        gaps.push(Window {
            from,
            until: wanted.until,
        });
    }
    Ok(gaps)
}

fn window(from: Option<&str>, until: Option<&str>) -> Result<Window, Failure> {
    let read = |text: Option<&str>| text.and_then(parse_instant).ok_or_else(|| damaged("windows.from_at"));
    Ok(Window {
        from: read(from)?,
        until: read(until)?,
    })
}

/// Whether one merged span holds all of `wanted`; an empty span is always held.
pub fn covers(sealed: &[Window], wanted: Window) -> bool {
    wanted.from >= wanted.until || sealed.iter().any(|w| w.from <= wanted.from && wanted.until <= w.until)
}

fn overlap(one: Window, other: Window) -> bool {
    one.from < other.until && other.from < one.until
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, until: i64) -> Window {
        let at = |day| Instant::default() + TimeDelta::days(day);
        Window {
            from: at(from),
            until: at(until),
        }
    }

    #[test]
    fn a_span_is_covered_only_by_one_unbroken_stretch() {
        let sealed = [span(0, 3), span(4, 9)];
        assert!(covers(&sealed, span(4, 9)));
        assert!(covers(&sealed, span(5, 5)));
        assert!(!covers(&sealed, span(2, 5)));
        assert!(!covers(&sealed, span(9, 10)));
    }
}
