//! Windows and their readings: what is covered, what is being read, and how a cut reading goes on.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::pages;
use super::{Store, damaged, stored_instant};
use crate::day::{Instant, format_instant};
use crate::failure::Failure;
use crate::providers::{Ask, Subject};
use crate::record::words;
use crate::window::{Covered, Window};

/// A cut reading is continued up to this age, counted between the two as-of instants: by the next night's run, also where a
/// clock change made the night longer. Older pages say too little about tonight.
const CONTINUED_WITHIN: TimeDelta = TimeDelta::hours(26);

words! {
    /// `windows.state`.
    WindowState {
        /// Not read to its end, or being read again.
        Open = "open",
        /// Read to its end, and its rows are stored.
        Sealed = "sealed",
        /// Read to its end, but it moved while being read, every time.
        Unstable = "unstable",
    }
}

/// Where a conversation stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub job: &'a str,
    /// Stands in `transactions.provider`.
    pub provider: &'a str,
    /// Digest of the settings that shape requests: a position read under others is not continued.
    pub shape: &'a str,
    pub ask: &'a Ask,
}

/// A window being read.
#[derive(Debug)]
pub struct OpenReading {
    pub window_id: i64,
    /// How often the window was begun, from 1.
    pub reading: u32,
    /// How often this reading began anew, from 1.
    pub pass: u32,
}

/// The time spans of a feed that stand in the database, oldest first.
pub fn covered(store: &Store, job: &str, feed: &str) -> Result<Vec<Covered>, Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT from_at, until_at, state, sealed_at FROM windows
              WHERE job = ?1 AND feed = ?2 AND subject = '' ORDER BY from_at",
        )?;
        let mut rows = statement.query([job, feed])?;
        let mut windows = Vec::new();
        while let Some(row) = rows.next()? {
            windows.push(covered_row(row)?);
        }
        Ok(windows)
    })
}

/// The subjects of a feed that stand in the database, each with the account it was listed with.
pub fn covered_subjects(store: &Store, job: &str, feed: &str) -> Result<BTreeMap<String, (Covered, String)>, Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT from_at, until_at, state, sealed_at, subject, account FROM windows
              WHERE job = ?1 AND feed = ?2 AND subject <> '' ORDER BY subject",
        )?;
        let mut rows = statement.query([job, feed])?;
        let mut subjects = BTreeMap::new();
        while let Some(row) = rows.next()? {
            subjects.insert(row.get(4)?, (covered_row(row)?, row.get(5)?));
        }
        Ok(subjects)
    })
}

/// How many subjects of a feed were begun as of `since` or later, and how many of these were answered.
pub fn asked_since(store: &Store, job: &str, feed: &str, since: Instant) -> Result<(u64, u64), Failure> {
    store.read(|connection| {
        let (asked, answered): (i64, i64) = connection
            .prepare_cached(
                "SELECT count(*), coalesce(sum(state = 'sealed' AND sealed_at >= ?3), 0) FROM windows
                  WHERE job = ?1 AND feed = ?2 AND subject <> ''
                    AND (begun_at >= ?3 OR state = 'sealed' AND sealed_at >= ?3)",
            )?
            .query_row([job, feed, &format_instant(since)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok((asked.unsigned_abs(), answered.unsigned_abs()))
    })
}

/// Writes down for a feed asked by key whether every key wanted was asked about: one row over the span of the books, open
/// with the reason while some were not.
pub fn note_keys(
    store: &Store,
    job: &str,
    feed: &str,
    books: Window,
    as_of: Instant,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let state = if reason.is_some() {
        WindowState::Open
    } else {
        WindowState::Sealed
    };
    let sealed_at = reason.is_none().then(|| format_instant(as_of));
    store.write(|tx| {
        tx.execute(
            "INSERT INTO windows (job, feed, from_at, until_at, state, sealed_at, begun_at, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (job, feed, subject, from_at) DO UPDATE SET until_at = excluded.until_at, state = excluded.state,
               sealed_at = coalesce(excluded.sealed_at, sealed_at), begun_at = excluded.begun_at, reason = excluded.reason",
            params![
                job,
                feed,
                format_instant(books.from),
                format_instant(books.until),
                state.as_str(),
                sealed_at,
                format_instant(as_of),
                reason
            ],
        )?;
        Ok(())
    })
}

/// Makes every subject that a parent window named a window of its own feed, open until it is read to its end: a run that is
/// cut before it asks leaves them to the next one. A subject whose own time lies in another window is left to that one.
pub(super) fn want_subjects(
    tx: &Connection,
    parent: &Place<'_>,
    feed: &str,
    subjects: &[Subject],
) -> Result<(), Failure> {
    let window = parent.ask.window;
    let mut want = tx.prepare_cached(
        "INSERT INTO windows (job, feed, subject, account, from_at, until_at, state, begun_at, shape, reason)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, 'open', ?7, ?8, 'it was never asked for'
          WHERE NOT EXISTS (SELECT 1 FROM windows WHERE job = ?1 AND feed = ?2 AND subject = ?3)",
    )?;
    for subject in subjects.iter().filter(|s| s.at.is_none_or(|at| window.contains(at))) {
        want.execute(params![
            parent.job,
            feed,
            subject.id,
            subject.account,
            format_instant(window.from),
            format_instant(window.until),
            format_instant(parent.ask.as_of),
            parent.shape
        ])?;
    }
    Ok(())
}

/// Leaves a hole in a feed of subjects while rows of the parent window name no readable one; closes it once they all do.
pub(super) fn note_nameless(tx: &Connection, parent: &Place<'_>, feed: &str, nameless: u64) -> Result<(), Failure> {
    let window = parent.ask.window;
    let (from, until) = (format_instant(window.from), format_instant(window.until));
    tx.prepare_cached("DELETE FROM windows WHERE job = ?1 AND feed = ?2 AND subject = '' AND from_at = ?3")?
        .execute([parent.job, feed, &from])?;
    if nameless == 0 {
        return Ok(());
    }
    let (rows, their) = if nameless == 1 {
        ("row", "its")
    } else {
        ("rows", "their")
    };
    let reason = format!(
        "{nameless} {rows} of {} without a readable id: {their} records cannot be asked for, and nothing is reported missing \
         around them; ask the provider, a later reading mends it",
        parent.ask.feed
    );
    tx.execute(
        "INSERT INTO windows (job, feed, from_at, until_at, state, begun_at, shape, reason)
         VALUES (?1, ?2, ?3, ?4, 'open', ?5, ?6, ?7)",
        params![
            parent.job,
            feed,
            from,
            until,
            format_instant(parent.ask.as_of),
            parent.shape,
            reason
        ],
    )?;
    Ok(())
}

/// The subjects of a feed that are wanted and were not read to their end, in the order in which they were named.
pub fn open_subjects(store: &Store, job: &str, feed: &str) -> Result<Vec<(String, Window, String)>, Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT from_at, until_at, state, sealed_at, subject, account FROM windows
              WHERE job = ?1 AND feed = ?2 AND subject <> '' AND state <> 'sealed' ORDER BY window_id",
        )?;
        let mut rows = statement.query([job, feed])?;
        let mut open = Vec::new();
        while let Some(row) = rows.next()? {
            open.push((row.get(4)?, covered_row(row)?.window, row.get(5)?));
        }
        Ok(open)
    })
}

/// How many records of a feed have no reference although they were asked about alone.
pub fn without_reference(store: &Store, job: &str, feed: &str, details: &str) -> Result<u64, Failure> {
    store.read(|connection| {
        let count: i64 = connection
            .prepare_cached(
                // From the records that were asked about: all that are stored would take longer every night.
                "SELECT count(*) FROM windows AS w
                   CROSS JOIN transactions AS t ON t.job = ?1 AND t.feed = ?2 AND t.account = w.account AND t.provider_id = w.subject
                  WHERE w.job = ?1 AND w.feed = ?3 AND w.state = 'sealed'
                    AND t.subject = '' AND t.reference IS NULL AND t.vanished_at IS NULL",
            )?
            .query_row([job, feed, details], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    })
}

/// The holes that [`note_nameless`] left in a feed of subjects, oldest first, with their reason.
pub fn nameless(store: &Store, job: &str, feed: &str) -> Result<Vec<(Window, String)>, Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT from_at, until_at, state, sealed_at, coalesce(reason, '') FROM windows
              WHERE job = ?1 AND feed = ?2 AND subject = '' ORDER BY from_at",
        )?;
        let mut rows = statement.query([job, feed])?;
        let mut holes = Vec::new();
        while let Some(row) = rows.next()? {
            holes.push((covered_row(row)?.window, row.get(4)?));
        }
        Ok(holes)
    })
}

fn covered_row(row: &Row<'_>) -> Result<Covered, Failure> {
    let text = |at: usize| -> Result<Instant, Failure> { stored_instant(&row.get::<_, String>(at)?) };
    let sealed = row.get::<_, String>(2)? == WindowState::Sealed.as_str();
    Ok(Covered {
        window: Window {
            from: text(0)?,
            until: text(1)?,
        },
        sealed_as_of: if sealed { Some(text(3)?) } else { None },
    })
}

/// Creates the window, or opens it again for a new reading, or goes on with a reading that was cut.
///
/// A cut reading goes on where it stopped when the settings (`shape`) and the span are the same and it was begun within
/// 26 hours; otherwise it begins anew. A subject's window is known by its subject alone, wherever its parent lies now.
pub fn open_window(store: &Store, place: &Place<'_>) -> Result<OpenReading, Failure> {
    store.write(|tx| {
        let Some(known) = find(tx, place)? else {
            return create(tx, place);
        };
        learn_account(tx, place, &known)?;
        if known.state == WindowState::Open.as_str() {
            let reading = OpenReading {
                window_id: known.window_id,
                reading: known.reading,
                pass: last_pass(tx, &known)?,
            };
            if goes_on(&known, place)? {
                if reading.pass == 1 && !pages::is_begun(tx, &reading)? {
                    // Nothing of it stands yet: it begins now.
                    tx.prepare_cached("UPDATE windows SET begun_at = ?2, reason = NULL WHERE window_id = ?1")?
                        .execute(params![known.window_id, format_instant(place.ask.as_of)])?;
                }
                return Ok(reading);
            }
        }
        begin_anew(tx, place, &known)
    })
}

/// Begins a new reading of a window that stands open, without the pages of the cut one.
pub fn read_anew(store: &Store, place: &Place<'_>) -> Result<OpenReading, Failure> {
    store.write(|tx| match find(tx, place)? {
        Some(known) => begin_anew(tx, place, &known),
        None => create(tx, place),
    })
}

/// Begins the next pass of the same reading, without pages: the window moved, or its position is no longer valid.
pub fn next_pass(store: &Store, reading: &mut OpenReading) -> Result<(), Failure> {
    // Nothing to write: the pass is in every position of it. A kill before its first page ends the former pass again.
    store.read(|connection| pages::expect_open(connection, reading))?;
    reading.pass += 1;
    Ok(())
}

/// Says why a window was not read to its end; what was archived stays and is continued by the next run.
pub fn leave_open(store: &Store, reading: &OpenReading, reason: &str) -> Result<(), Failure> {
    store.write(|tx| {
        pages::expect_open(tx, reading)?;
        tx.execute(
            "UPDATE windows SET reason = ?2 WHERE window_id = ?1",
            params![reading.window_id, reason],
        )?;
        Ok(())
    })
}

/// A subject that was listed without a readable account gets the one it is listed with now, and so do its records.
fn learn_account(tx: &Connection, place: &Place<'_>, known: &Known) -> Result<(), Failure> {
    let account = &place.ask.account;
    let Some(subject) = place
        .ask
        .subject
        .as_deref()
        .filter(|_| known.account.is_empty() && !account.is_empty())
    else {
        return Ok(());
    };
    tx.prepare_cached("UPDATE windows SET account = ?2 WHERE window_id = ?1")?
        .execute(params![known.window_id, account])?;
    tx.prepare_cached(
        "UPDATE transactions SET account = ?4 WHERE job = ?1 AND feed = ?2 AND subject = ?3 AND account = ''",
    )?
    .execute(params![place.job, place.ask.feed, subject, account])?;
    Ok(())
}

struct Known {
    window_id: i64,
    state: String,
    reading: u32,
    begun_at: String,
    from_at: String,
    until_at: String,
    shape: String,
    account: String,
}

fn find(tx: &Connection, place: &Place<'_>) -> Result<Option<Known>, Failure> {
    let subject = place.ask.subject.as_deref().unwrap_or_default();
    // A subject has one window wherever it begins; of a feed's own windows it is the one that begins there.
    let from = format_instant(place.ask.window.from);
    let (least, most) = if subject.is_empty() {
        (from.as_str(), from.as_str())
    } else {
        ("", "~")
    };
    let known = tx
        .prepare_cached(
            // `+`: sought by the index of spans; in the order of its number SQLite would look at every night to find one.
            "SELECT window_id, state, reading, begun_at, from_at, until_at, shape, account FROM windows
              WHERE job = ?1 AND feed = ?2 AND subject = ?3 AND from_at BETWEEN ?4 AND ?5
              ORDER BY +window_id LIMIT 1",
        )?
        .query_row(params![place.job, place.ask.feed, subject, least, most], |row| {
            Ok(Known {
                window_id: row.get(0)?,
                state: row.get(1)?,
                reading: row.get(2)?,
                begun_at: row.get(3)?,
                from_at: row.get(4)?,
                until_at: row.get(5)?,
                shape: row.get(6)?,
                account: row.get(7)?,
            })
        })
        .optional()?;
    Ok(known)
}

fn create(tx: &Transaction<'_>, place: &Place<'_>) -> Result<OpenReading, Failure> {
    tx.execute(
        "INSERT INTO windows (job, feed, subject, account, from_at, until_at, state, begun_at, shape)
         VALUES (?1, ?2, ?3, ?8, ?4, ?5, 'open', ?6, ?7)",
        params![
            place.job,
            place.ask.feed,
            place.ask.subject.as_deref().unwrap_or_default(),
            format_instant(place.ask.window.from),
            format_instant(place.ask.window.until),
            format_instant(place.ask.as_of),
            place.shape,
            place.ask.account
        ],
    )?;
    Ok(OpenReading {
        window_id: tx.last_insert_rowid(),
        reading: 1,
        pass: 1,
    })
}

fn goes_on(known: &Known, place: &Place<'_>) -> Result<bool, Failure> {
    let begun_at = stored_instant(&known.begun_at)?;
    Ok(known.shape == place.shape
        && known.from_at == format_instant(place.ask.window.from)
        && known.until_at == format_instant(place.ask.window.until)
        && place.ask.as_of - begun_at <= CONTINUED_WITHIN)
}

fn last_pass(tx: &Connection, known: &Known) -> Result<u32, Failure> {
    let pass: Option<u32> = tx
        .prepare_cached("SELECT max(pass) FROM readings WHERE window_id = ?1 AND reading = ?2")?
        .query_row(params![known.window_id, known.reading], |row| row.get(0))?;
    Ok(pass.unwrap_or(1))
}

fn begin_anew(tx: &Transaction<'_>, place: &Place<'_>, known: &Known) -> Result<OpenReading, Failure> {
    let reading = known
        .reading
        .checked_add(1)
        .ok_or_else(|| damaged("a count of readings"))?;
    tx.execute(
        "UPDATE windows SET state = 'open', reason = NULL, reading = ?2, begun_at = ?3, from_at = ?4, until_at = ?5, shape = ?6
          WHERE window_id = ?1",
        params![
            known.window_id,
            reading,
            format_instant(place.ask.as_of),
            format_instant(place.ask.window.from),
            format_instant(place.ask.window.until),
            place.shape
        ],
    )?;
    Ok(OpenReading {
        window_id: known.window_id,
        reading,
        pass: 1,
    })
}
