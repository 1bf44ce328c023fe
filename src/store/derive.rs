//! Rows from pages: the same function for a window that was read to its end and for a replay years later.
//!
//! Pages are read, decompressed and parsed by a second thread while rows are inserted. Order: pages by their number (proof
//! pages last), rows in the order of their page; arrival plays no part, so the same pages always give the same rows.

use std::collections::{BTreeSet, HashSet};
use std::sync::mpsc::{SyncSender, sync_channel};

use rusqlite::{Connection, OptionalExtension, params};

use super::bulk;
use super::fees::Touched;
use super::pages::{Unpacker, expect_open};
use super::rows::{Became, Expect, Origin, Records, Row, store_balance};
use super::runs::put_warnings;
use super::{OpenReading, Place, Store, WindowState, count, number, vanish, windows};
use crate::day::{Days, format_instant};
use crate::failure::{Class, Failure};
use crate::providers::{Ask, Parsed, Provider, Shape, Subject};
use crate::record::{Balance, Unreadable};
use crate::window::Window;

/// Parsed pages that wait for the writing thread: enough to keep both busy, few enough to stay small.
const PAGES_AHEAD: usize = 4;
/// Unknown field names kept per window; a provider that sends random names must not fill the memory.
const FIELD_NAMES: usize = 100;
/// Different warnings kept per window.
const WARNINGS: usize = 100;

/// What sealing a window came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Rows in the pages: records, figures and unreadable rows; proof pages are not counted again.
    pub rows: u64,
    /// Records and figures stored for the first time.
    pub new: u64,
    /// Records and figures that differ from what was stored.
    pub changed: u64,
    pub unchanged: u64,
    /// Rows put aside in these pages.
    pub unreadable: u64,
    /// Records of this window that are no longer listed, found now.
    pub vanished: u64,
    /// In order of appearance, each once.
    pub subjects: Vec<Subject>,
    /// Field names the provider's document does not know; at most a hundred.
    pub unknown_fields: BTreeSet<String>,
    /// Rows that name no readable subject ([`Parsed::nameless`]); proof pages are not counted again.
    pub nameless: u64,
    /// Things a person should know that stop nothing ([`Parsed::warnings`]); at most a hundred.
    pub warnings: BTreeSet<String>,
}

impl Sealed {
    /// What a person should know of it, each with its place.
    pub fn sentences(&self, provider: &dyn Provider, ask: &Ask) -> BTreeSet<String> {
        // Said of each of a thousand keys it would be a thousand sentences about the provider.
        let place = match shape_of(provider, ask.feed) {
            Ok(Shape::Lookups) => ask.feed.to_owned(),
            _ => ask.place(),
        };
        let fields = self.unknown_fields.iter().map(|field| {
            let (feed, name) = (ask.feed, provider.name());
            format!("{feed}: the field {field:?} is not in the document of {name}")
        });
        let warnings = self.warnings.iter().map(|warning| format!("{place}: {warning}"));
        fields.chain(warnings).collect()
    }
}

/// Turns the pages of the current pass into rows and seals the window, in one transaction.
///
/// `state` says whether the reading proved itself (`Sealed`) or moved every time (`Unstable`: rows are stored, nothing counts
/// as vanished). Rows of a foreign account are `PROTOCOL`, a setting that the data prove wrong is `CONFIG`: the window then
/// stays open and nothing is stored.
pub fn seal(
    store: &Store,
    place: &Place<'_>,
    reading: &OpenReading,
    provider: &dyn Provider,
    state: WindowState,
) -> Result<Sealed, Failure> {
    let mut archive = store.lend()?;
    let shape = shape_of(provider, place.ask.feed)?;
    store.write(|tx| {
        expect_open(tx, reading)?;
        let pages = pages_of(tx, reading)?;
        if state == WindowState::Open || pages == 0 {
            return Err(Failure::new(
                Class::Internal,
                "a window is sealed only after it was read to its end, with at least one page",
            ));
        }
        let derivation = Derivation {
            job: place.job,
            provider_name: place.provider,
            ask: place.ask,
            shape,
            window_id: reading.window_id,
            reading: reading.reading,
            pass: reading.pass,
            state,
            before: i64::MAX,
        };
        let sealed = derive(tx, &mut archive, provider, &derivation)?;
        close(tx, &derivation, pages, sealed.rows)?;
        put_warnings(tx, place.job, place.ask.as_of, &sealed.sentences(provider, place.ask))?;
        for feed in provider.feeds() {
            let of = place.ask.feed;
            if feed.shape == (Shape::Details { of }) {
                windows::want_subjects(tx, place, feed.name, &sealed.subjects)?;
            }
            if feed.shape == (Shape::Children { of }) {
                windows::want_subjects(tx, place, feed.name, &sealed.subjects)?;
                windows::note_nameless(tx, place, feed.name, sealed.nameless)?;
            }
        }
        Ok(sealed)
    })
}

/// How a feed of this provider is walked.
pub(super) fn shape_of(provider: &dyn Provider, feed: &str) -> Result<Shape, Failure> {
    let known = provider.feeds().into_iter().find(|known| known.name == feed);
    known
        .map(|feed| feed.shape)
        .ok_or_else(|| Failure::new(Class::Internal, format!("{} has no feed named {feed}", provider.name())))
}

/// Pages of the pass, proof pages not counted.
fn pages_of(tx: &Connection, reading: &OpenReading) -> Result<u64, Failure> {
    let pages: i64 = tx
        .prepare_cached(
            "SELECT count(*) FROM readings WHERE window_id = ?1 AND reading = ?2 AND pass = ?3 AND confirms = 0",
        )?
        .query_row(params![reading.window_id, reading.reading, reading.pass], |row| {
            row.get(0)
        })?;
    Ok(count(pages))
}

fn close(tx: &Connection, d: &Derivation<'_>, pages: u64, rows: u64) -> Result<(), Failure> {
    let as_of = format_instant(d.ask.as_of);
    let reason = (d.state == WindowState::Unstable).then_some("it moved while it was read, every time");
    tx.prepare_cached(
        "UPDATE windows SET state = ?2, sealed_at = ?3, pages = ?4, rows = ?5, reason = ?6 WHERE window_id = ?1",
    )?
    .execute(params![
        d.window_id,
        d.state.as_str(),
        as_of,
        number(pages),
        number(rows),
        reason
    ])?;
    tx.prepare_cached(
        "INSERT INTO seals (window_id, reading, pass, from_at, until_at, state, as_of) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        d.window_id,
        d.reading,
        d.pass,
        format_instant(d.ask.window.from),
        format_instant(d.ask.window.until),
        d.state.as_str(),
        as_of
    ])?;
    Ok(())
}

/// Which pages become rows, and as what.
pub(super) struct Derivation<'a> {
    pub job: &'a str,
    /// Stands in `transactions.provider`.
    pub provider_name: &'a str,
    pub ask: &'a Ask,
    pub shape: Shape,
    pub window_id: i64,
    pub reading: u32,
    pub pass: u32,
    pub state: WindowState,
    /// Only seals before this one are known: all of them tonight, those of its past in a replay.
    pub before: i64,
}

/// Writes the rows of one pass. `tx` holds the tables of rows and can see the archive's; `archive` reads bodies.
pub(super) fn derive(
    tx: &Connection,
    archive: &mut Connection,
    provider: &dyn Provider,
    d: &Derivation<'_>,
) -> Result<Sealed, Failure> {
    let former = former_seal(tx, d)?;
    // The same answers as at the last complete reading: the rows stand already.
    let known = match &former {
        Some(former) => former.proves && d.state == WindowState::Sealed && same_pages(tx, d, former)?,
        None => false,
    };
    let mut tables = match former {
        None => bulk::load(tx, d, |expect| fill(tx, archive, provider, d, expect, known))?,
        Some(_) => fill(tx, archive, provider, d, Expect::Few, known)?,
    };
    let proves = d.state == WindowState::Sealed;
    if proves && !known && former.is_some() {
        tables.sealed.vanished = vanish::mark(
            tx,
            d,
            &tables.records.seen,
            &tables.unreadable_pages,
            &mut tables.touched,
        )?;
    }
    if proves {
        let as_of = &tables.as_of;
        vanish::mark_unreadable(tx, d, as_of)?;
    }
    tables.touched.settle(tx, d.job)?;
    Ok(tables.sealed)
}

/// Every page of the pass, parsed by a second thread, into the tables.
fn fill<'c>(
    tx: &'c Connection,
    archive: &mut Connection,
    provider: &dyn Provider,
    d: &Derivation<'c>,
    expect: Expect,
    known: bool,
) -> Result<Tables<'c>, Failure> {
    let touched = Touched::new(tx, d.job)?;
    let mut tables = Tables::new(tx, d, touched, expect, known)?;
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(PAGES_AHEAD);
        scope.spawn(move || {
            if let Err(failure) = read_pages(archive, provider, d, known, &sender) {
                // Nobody listens any more when the writing side failed first.
                let _ = sender.send(Err(failure));
            }
        });
        for page in receiver {
            tables.take(page?)?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(tables)
}

/// An earlier complete reading of the same window.
struct Former {
    reading: u32,
    pass: u32,
    until_at: String,
    proves: bool,
}

fn former_seal(tx: &Connection, d: &Derivation<'_>) -> Result<Option<Former>, Failure> {
    Ok(tx
        .prepare_cached(
            "SELECT reading, pass, until_at, state = 'sealed' FROM seals WHERE window_id = ?1 AND seal_id < ?2
              ORDER BY seal_id DESC LIMIT 1",
        )?
        .query_row(params![d.window_id, d.before], |row| {
            Ok(Former {
                reading: row.get(0)?,
                pass: row.get(1)?,
                until_at: row.get(2)?,
                proves: row.get(3)?,
            })
        })
        .optional()?)
}

/// Whether this pass consists of the very pages of an earlier one.
fn same_pages(tx: &Connection, d: &Derivation<'_>, former: &Former) -> Result<bool, Failure> {
    if former.until_at != format_instant(d.ask.window.until) {
        return Ok(false);
    }
    let differs = tx
        .prepare_cached(
            "WITH now AS (SELECT number, confirms, page_id FROM readings WHERE window_id = ?1 AND reading = ?2 AND pass = ?3),
                  before AS (SELECT number, confirms, page_id FROM readings WHERE window_id = ?1 AND reading = ?4 AND pass = ?5)
             SELECT 1 FROM (SELECT * FROM now EXCEPT SELECT * FROM before)
             UNION ALL
             SELECT 1 FROM (SELECT * FROM before EXCEPT SELECT * FROM now) LIMIT 1",
        )?
        .exists(params![d.window_id, d.reading, d.pass, former.reading, former.pass])?;
    Ok(!differs)
}

/// A page on its way from the parsing to the writing thread.
struct Page {
    page_id: i64,
    confirms: bool,
    /// Records, figures and references in it.
    listed: usize,
    /// Empty where the rows stand already.
    rows: Vec<Row>,
    balances: Vec<(u32, Balance)>,
    unreadable: Vec<Unreadable>,
    subjects: Vec<Subject>,
    nameless: u32,
    references: Vec<(String, Option<String>)>,
    unknown_fields: Vec<String>,
    warnings: Vec<String>,
}

/// The parsing thread: every page of the pass once, in the order of derivation.
fn read_pages(
    archive: &mut Connection,
    provider: &dyn Provider,
    d: &Derivation<'_>,
    known: bool,
    sender: &SyncSender<Result<Page, Failure>>,
) -> Result<(), Failure> {
    let mut list = archive.prepare_cached(
        "SELECT number, confirms, page_id FROM readings WHERE window_id = ?1 AND reading = ?2 AND pass = ?3
          ORDER BY confirms, number, position",
    )?;
    let pages: Vec<(u32, bool, i64)> = list
        .query_map(params![d.window_id, d.reading, d.pass], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut body_of = archive.prepare_cached("SELECT body, http_status FROM pages WHERE page_id = ?1")?;
    let mut done = HashSet::with_capacity(pages.len());
    let mut unpacker = Unpacker::new()?;
    let mut days = (!known).then(|| Days::new(d.ask.zone));
    for (number, confirms, page_id) in pages {
        if !done.insert(page_id) {
            continue;
        }
        let place = |failure: Failure| failure.at(format!("page {number}"));
        let parsed = body_of.query_row([page_id], |row| {
            Ok(match row.get::<_, u16>(1)? {
                200..300 => unpacker
                    .unpack(row.get_ref(0)?.as_blob().unwrap_or_default())
                    .map(|body| provider.parse(d.ask, number, body)),
                // An answer that says "no such subject" is archived as the proof of it; it holds no rows.
                _ => Ok(Parsed::default()),
            })
        })?;
        let page = parsed
            .and_then(|parsed| checked(parsed, page_id, confirms, d, days.as_mut()))
            .map_err(place)?;
        if sender.send(Ok(page)).is_err() {
            break;
        }
    }
    Ok(())
}

/// `days` is missing where the rows stand already: then they are only counted.
fn checked(
    parsed: Parsed,
    page_id: i64,
    confirms: bool,
    d: &Derivation<'_>,
    days: Option<&mut Days>,
) -> Result<Page, Failure> {
    if let Some(why) = parsed.foreign {
        return Err(Failure::new(Class::Protocol, why));
    }
    if let Some(why) = parsed.misconfigured {
        return Err(Failure::new(Class::Config, why));
    }
    let listed = parsed.transactions.len() + parsed.balances.len() + parsed.references.len();
    let rows = match days {
        Some(days) => parsed
            .transactions
            .into_iter()
            .map(|(at, transaction)| Row::new(transaction, i64::from(at), d.ask.window, days))
            .collect(),
        None => Vec::new(),
    };
    Ok(Page {
        page_id,
        confirms,
        listed,
        rows,
        balances: parsed.balances,
        unreadable: parsed.unreadable,
        subjects: parsed.subjects,
        nameless: parsed.nameless,
        references: parsed.references,
        unknown_fields: parsed.unknown_fields,
        warnings: parsed.warnings,
    })
}

/// The writing side of one derivation.
struct Tables<'c> {
    tx: &'c Connection,
    job: &'c str,
    feed: &'static str,
    /// The feed whose records this one completes.
    completes: Option<&'static str>,
    window: Window,
    as_of: String,
    /// The rows stand already; only what is not stored (subjects, counts) is taken from the pages.
    known: bool,
    records: Records<'c>,
    touched: Touched,
    unreadable_pages: Vec<i64>,
    subjects: HashSet<String>,
    sealed: Sealed,
}

impl<'c> Tables<'c> {
    fn new(
        tx: &'c Connection,
        d: &Derivation<'c>,
        touched: Touched,
        expect: Expect,
        known: bool,
    ) -> Result<Self, Failure> {
        let proves = d.state == WindowState::Sealed;
        Ok(Tables {
            tx,
            job: d.job,
            feed: d.ask.feed,
            completes: match d.shape {
                Shape::Details { of } => Some(of),
                _ => None,
            },
            window: d.ask.window,
            as_of: format_instant(d.ask.as_of),
            known,
            records: Records::new(tx, d.job, d.provider_name, d.ask.as_of, proves, expect)?,
            touched,
            unreadable_pages: Vec::new(),
            subjects: HashSet::new(),
            sealed: Sealed::default(),
        })
    }

    fn take(&mut self, page: Page) -> Result<(), Failure> {
        if !page.confirms {
            self.sealed.rows += (page.listed + page.unreadable.len()) as u64;
        }
        self.sealed.unreadable += page.unreadable.len() as u64;
        if self.known {
            self.sealed.unchanged += page.listed as u64;
        } else {
            self.write(&page)?;
        }
        if !page.confirms {
            self.sealed.nameless += u64::from(page.nameless);
        }
        for subject in page.subjects {
            if self.subjects.insert(subject.id.clone()) {
                self.sealed.subjects.push(subject);
            }
        }
        let room = FIELD_NAMES.saturating_sub(self.sealed.unknown_fields.len());
        self.sealed
            .unknown_fields
            .extend(page.unknown_fields.into_iter().take(room));
        let room = WARNINGS.saturating_sub(self.sealed.warnings.len());
        self.sealed.warnings.extend(page.warnings.into_iter().take(room));
        Ok(())
    }

    fn write(&mut self, page: &Page) -> Result<(), Failure> {
        let origin = Origin {
            page_id: Some(page.page_id),
            source: None,
        };
        let new = self.records.store_together(&page.rows, origin)?;
        for row in &page.rows {
            let feed = row.transaction.feed;
            let (became, before) = match new {
                true => (Became::New, None),
                false => self.records.store(feed, row, origin)?,
            };
            if became != Became::Unchanged {
                self.touched.record(feed, &row.transaction, before.as_deref());
            }
            self.count(became);
        }
        for (at, balance) in &page.balances {
            let became = store_balance(self.tx, self.job, self.window, balance, &self.as_of, page.page_id, *at)?;
            self.count(became);
        }
        if let Some(of) = self.completes {
            for (provider_id, reference) in &page.references {
                complete(self.tx, self.job, of, provider_id, reference.as_deref())?;
            }
        }
        for unreadable in &page.unreadable {
            put_aside(self.tx, self.job, self.feed, page.page_id, unreadable, &self.as_of)?;
        }
        if !page.unreadable.is_empty() {
            self.unreadable_pages.push(page.page_id);
        }
        Ok(())
    }

    fn count(&mut self, became: Became) {
        match became {
            Became::New => self.sealed.new += 1,
            Became::Changed => self.sealed.changed += 1,
            Became::Unchanged | Became::Back => self.sealed.unchanged += 1,
        }
    }
}

/// Fills in what the list of a record did not say; it is no version of the record.
fn complete(tx: &Connection, job: &str, feed: &str, provider_id: &str, reference: Option<&str>) -> Result<(), Failure> {
    if let Some(reference) = reference {
        tx.prepare_cached(
            "UPDATE transactions INDEXED BY transactions_by_id SET reference = ?5, reference_from_detail = 1
              WHERE job = ?1 AND feed = ?2 AND account = ?3 AND provider_id = ?4 AND subject = '' AND reference IS NULL",
        )?
        .execute(params![job, feed, "", provider_id, reference])?;
    }
    Ok(())
}

/// Keeps an unreadable row, once per page and place; one that had gone with its page is back.
fn put_aside(
    tx: &Connection,
    job: &str,
    feed: &str,
    page_id: i64,
    unreadable: &Unreadable,
    as_of: &str,
) -> Result<(), Failure> {
    let known: Option<(i64, bool)> = tx
        .prepare_cached(
            "SELECT unreadable_id, gone_at IS NOT NULL FROM unreadable_rows
              WHERE job = ?1 AND page_id = ?2 AND source IS NULL AND place = ?3",
        )?
        .query_row(params![job, page_id, unreadable.place], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match known {
        Some((_, false)) => {}
        Some((unreadable_id, true)) => {
            tx.prepare_cached("UPDATE unreadable_rows SET gone_at = NULL WHERE unreadable_id = ?1")?
                .execute([unreadable_id])?;
        }
        None => {
            tx.prepare_cached(
                "INSERT INTO unreadable_rows (job, feed, page_id, place, reason, seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![job, feed, page_id, unreadable.place, unreadable.reason, as_of])?;
        }
    }
    Ok(())
}
