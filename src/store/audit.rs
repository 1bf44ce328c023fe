//! The audit trail: every act that changed what people rely on, chained, with a seal for each row it wrote.
//!
//! Writers call [`append`] inside their own transaction with the rows they wrote; [`verify`] walks the chain and works out
//! every seal again. What is sealed, and what the chain cannot show, stands above `audit_trail` in `schema.sql`.
//!
//! Does not know what the rows mean: who may decide what, and which state follows, is the desk's business.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::verify::Finding;
use crate::day::{Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::record::words;

words! {
    /// `audit_trail.act`.
    Act {
        Compared = "compared", LedgerRead = "ledger_read", Decided = "decided", Closed = "closed",
        /// Rows were removed or masked on purpose (`prune`, `erase`).
        Resealed = "resealed",
    }
}

words! {
    /// What a seal is about.
    Sealed {
        Discrepancy = "discrepancy", Event = "event", Decision = "decision", Returned = "returned", Close = "close",
        /// A frozen file of a closed day; key `job/day/name`.
        File = "file",
        /// The statement of a closed day without what was added late; key `job/day`.
        Statement = "statement",
        /// All entries of a job's ledger; key is the job.
        Ledger = "ledger",
    }
}

/// One act, as it is written down.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// As-of instant of the run; for a person's act the wall clock.
    pub at: Instant,
    /// `run`, or who.
    pub actor: &'a str,
    pub act: Act,
    /// Empty when it is about several.
    pub job: &'a str,
    /// Business day, discrepancy, name of the file, or reason.
    pub subject: &'a str,
}

/// The end of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Entries so far.
    pub entries: i64,
    /// Chain value of the last one; empty before the first.
    pub chain: String,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.entries, self.chain)
    }
}

/// A digest over typed values: no two rows of values give the same bytes.
pub struct Content(Sha256);

impl Content {
    /// Over nothing yet.
    #[allow(clippy::new_without_default)] // There is no meaningful default digest.
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds one text; None is NULL.
    pub fn text(&mut self, value: Option<&str>) {
        match value {
            None => self.0.update([0]),
            Some(text) => {
                let mut head = [1; 9];
                head[1..].copy_from_slice(&(text.len() as u64).to_be_bytes());
                self.0.update(head);
                self.0.update(text);
            }
        }
    }

    /// Adds one whole number; None is NULL.
    pub fn whole(&mut self, value: Option<i64>) {
        match value {
            None => self.0.update([0]),
            Some(number) => {
                let mut bytes = [2; 9];
                bytes[1..].copy_from_slice(&number.to_be_bytes());
                self.0.update(bytes);
            }
        }
    }

    fn row(&mut self, row: &Row<'_>, from: usize, width: usize) -> Result<(), Failure> {
        for column in from..width {
            match row.get_ref(column)? {
                ValueRef::Null => self.text(None),
                ValueRef::Integer(number) => self.whole(Some(number)),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    self.text(Some(&String::from_utf8_lossy(bytes)));
                }
                // No sealed column is one; whoever put it there changed the row.
                ValueRef::Real(_) => self.text(Some("floating point")),
            }
        }
        Ok(())
    }

    /// The first half of the SHA-256, as 32 hex digits.
    pub fn finish(self) -> String {
        hex::encode(&self.0.finalize()[..16])
    }
}

/// The seals of one act.
#[derive(Default)]
pub struct Seals {
    lines: String,
}

impl Seals {
    /// Whether there is nothing to seal.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Seals a row as it stands now; a row that is not there is sealed as removed.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn row(&mut self, conn: &Connection, what: Sealed, key: &str) -> Result<(), Failure> {
        match content(conn, what, key)? {
            Some(digest) => self.line(what, key, &digest),
            None => self.removed(what, key),
        }
        Ok(())
    }

    /// Seals content that the writer digested itself.
    pub fn line(&mut self, what: Sealed, key: &str, digest: &str) {
        self.lines.extend([what.as_str(), " ", key, " ", digest, "\n"]);
    }

    /// The row is gone, on purpose.
    pub fn removed(&mut self, what: Sealed, key: &str) {
        self.line(what, key, "-");
    }
}

/// Columns of `ledger_entries` in the order in which the import digests them, and the order of its rows.
macro_rules! ledger {
    () => {
        "SELECT direction, reference, amount_minor, currency, status, provider_id, ledger_id, account, fee_minor,
                ledger_status, booked_at, x_external_id, reference_no, source, source_line
           FROM ledger_entries WHERE job = ?1
          ORDER BY direction, reference, amount_minor, currency, status, provider_id, entry_id"
    };
}

macro_rules! discrepancy {
    ($rest:literal) => {
        concat!(
            "SELECT discrepancy_id, job, identity, kind, provider, account, direction, reference, provider_id, ledger_id,
                    currency, provider_amount_minor, ledger_amount_minor, difference_minor, provider_status, ledger_status,
                    occurred_at, booked_at, business_day, first_seen_day, what_differs, detail, evidence, suggested_match,
                    closed_day
               FROM discrepancies ",
            $rest
        )
    };
}
macro_rules! event {
    ($rest:literal) => {
        concat!(
            "SELECT event_id, discrepancy_id, at, business_day, event, actor, note, from_kind, to_kind
               FROM discrepancy_events ",
            $rest
        )
    };
}
macro_rules! decision {
    ($rest:literal) => {
        concat!(
            "SELECT decision_id, discrepancy_id, version, decision, owner, note, actor, at, business_day, source, source_row,
                    return_id, event_id, kind, currency, difference_minor, what_differs
               FROM decisions ",
            $rest
        )
    };
}
macro_rules! returned {
    ($rest:literal) => {
        concat!(
            "SELECT return_id, name, sha256, content_sha256, actor, at, applied, unchanged, refused FROM returned_files ",
            $rest
        )
    };
}
macro_rules! close {
    ($rest:literal) => {
        concat!(
            "SELECT close_id, job, from_day, through_day, actor, at, as_of, note, carried, acknowledged FROM period_closes ",
            $rest
        )
    };
}

/// The SELECT of one row by its key, and that of all rows; the key is the first column. None for what is no single row.
fn selects(what: Sealed) -> Option<(&'static str, &'static str)> {
    Some(match what {
        Sealed::Discrepancy => (discrepancy!("WHERE discrepancy_id = ?1"), discrepancy!("")),
        Sealed::Event => (event!("WHERE event_id = CAST(?1 AS INTEGER)"), event!("")),
        Sealed::Decision => (decision!("WHERE decision_id = CAST(?1 AS INTEGER)"), decision!("")),
        Sealed::Returned => (returned!("WHERE return_id = CAST(?1 AS INTEGER)"), returned!("")),
        Sealed::Close => (close!("WHERE close_id = CAST(?1 AS INTEGER)"), close!("")),
        Sealed::File | Sealed::Statement | Sealed::Ledger => return None,
    })
}

/// What stands in the books under a key now; None: nothing.
fn content(conn: &Connection, what: Sealed, key: &str) -> Result<Option<String>, Failure> {
    match what {
        Sealed::Ledger => rows(conn, ledger!(), &[key]),
        Sealed::Statement => {
            let (job, day) = key.rsplit_once('/').unwrap_or((key, ""));
            let sql = "SELECT account, currency, position, line, amount_minor, source FROM statement_lines
                        WHERE job = ?1 AND business_day = ?2 AND line NOT LIKE 'late change %'
                        ORDER BY account, currency, position";
            rows(conn, sql, &[job, day])
        }
        Sealed::File => {
            let mut parts = key.splitn(3, '/');
            let part = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
            let sql = "SELECT as_of, sha256 FROM files WHERE job = ?1 AND business_day = ?2 AND name = ?3";
            rows(conn, sql, &part)
        }
        single => match selects(single) {
            Some((one, _)) => rows(conn, one, &[key]),
            None => Ok(None),
        },
    }
}

/// What a seal of the row would say now; None: it is not there.
///
/// # Errors
/// What SQLite refuses.
pub fn digest(conn: &Connection, what: Sealed, key: &str) -> Result<Option<String>, Failure> {
    content(conn, what, key)
}

/// The digest over all rows of a SELECT; None when there is none.
fn rows(conn: &Connection, sql: &str, keys: &[&str]) -> Result<Option<String>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let width = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(keys))?;
    let (mut digest, mut any) = (Content::new(), false);
    while let Some(row) = rows.next()? {
        digest.row(row, 0, width)?;
        any = true;
    }
    Ok(any.then(|| digest.finish()))
}

/// Writes an act down behind the last one; gives the new head. Without seals nothing is written.
///
/// # Errors
/// What SQLite refuses. Call it inside the transaction that wrote the rows.
pub fn append(tx: &Connection, entry: &Entry<'_>, seals: &Seals) -> Result<Head, Failure> {
    let before = head(tx)?;
    if seals.is_empty() {
        return Ok(before);
    }
    let at = format_instant(entry.at);
    let number = before.entries + 1;
    let link = Link {
        number,
        at: &at,
        actor: entry.actor,
        act: entry.act.as_str(),
        job: entry.job,
        subject: entry.subject,
        sealed: &seals.lines,
    };
    let chain = link.chain(&before.chain);
    tx.prepare_cached(
        "INSERT INTO audit_trail (entry_id, at, actor, act, job, subject, sealed, chain) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        number,
        at,
        entry.actor,
        link.act,
        entry.job,
        entry.subject,
        seals.lines,
        chain
    ])?;
    Ok(Head { entries: number, chain })
}

/// The end of the chain.
///
/// # Errors
/// What SQLite refuses.
pub fn head(conn: &Connection) -> Result<Head, Failure> {
    let last = conn
        .prepare_cached("SELECT entry_id, chain FROM audit_trail ORDER BY entry_id DESC LIMIT 1")?
        .query_row([], |row| {
            Ok(Head {
                entries: row.get(0)?,
                chain: row.get(1)?,
            })
        })
        .optional()?;
    Ok(last.unwrap_or_default())
}

struct Link<'a> {
    number: i64,
    at: &'a str,
    actor: &'a str,
    act: &'a str,
    job: &'a str,
    subject: &'a str,
    sealed: &'a str,
}

impl Link<'_> {
    fn chain(&self, before: &str) -> String {
        let mut digest = Sha256::new();
        let number = self.number.to_string();
        for field in [
            before,
            &number,
            self.at,
            self.actor,
            self.act,
            self.job,
            self.subject,
            self.sealed,
        ] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        hex::encode(digest.finalize())
    }
}

/// Last seal of every row, by kind and key.
type Known = BTreeMap<(Sealed, String), String>;

/// Walks the chain and compares every sealed row with its last seal.
///
/// # Errors
/// What SQLite refuses.
pub fn verify(conn: &Connection) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    let known = walk(conn, &mut findings)?;
    for &what in Sealed::ALL {
        findings.extend(differences(conn, &known, what)?.into_iter().map(|(key, seen)| {
            let (place, what) = told(what, &key, seen);
            Finding {
                check: "audit",
                place,
                what,
            }
        }));
    }
    Ok(findings)
}

/// The chain value `wanted` (or `number:value`, as heads are printed) stands in the trail.
///
/// # Errors
/// What SQLite refuses.
pub fn holds(conn: &Connection, wanted: &str) -> Result<bool, Failure> {
    let (number, chain) = match wanted.split_once(':') {
        Some((number, chain)) => (number.parse::<i64>().ok(), chain),
        None => (None, wanted),
    };
    let sql = "SELECT 1 FROM audit_trail WHERE chain = ?1 AND (?2 IS NULL OR entry_id = ?2)";
    Ok(conn.prepare(sql)?.exists(params![chain, number])?)
}

/// Whether a text has the form of a head: `NUMBER:HEX`, or the digits alone.
pub fn is_head(text: &str) -> bool {
    let (number, chain) = text.split_once(':').unwrap_or(("0", text));
    number.parse::<u32>().is_ok() && !chain.is_empty() && chain.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Removes or masks rows on purpose, as one act with its reason: what `change` leaves is sealed anew. What somebody edited
/// before is not covered up by it: the trail must hold first.
///
/// # Errors
/// LOCAL-IO when the trail does not hold; what `change` says.
pub fn amend<T>(
    tx: &Connection,
    actor: &str,
    at: Instant,
    reason: &str,
    change: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    if let Some(first) = verify(tx)?.first() {
        return Err(Failure::new(
            Class::LocalIo,
            format!(
                "the audit trail does not hold ({}: {}); nothing was changed: run `reconciled verify`, and restore a backup",
                first.place, first.what
            ),
        ));
    }
    let changed = change()?;
    reseal(tx, actor, at, reason)?;
    Ok(changed)
}

/// Seals every row anew that is not what its last seal says.
fn reseal(tx: &Connection, actor: &str, at: Instant, reason: &str) -> Result<(), Failure> {
    let known = walk(tx, &mut Vec::new())?;
    let mut seals = Seals::default();
    for &what in Sealed::ALL {
        for (key, _) in differences(tx, &known, what)? {
            seals.row(tx, what, &key)?;
        }
    }
    let entry = Entry {
        at,
        actor,
        act: Act::Resealed,
        job: "",
        subject: reason,
    };
    append(tx, &entry, &seals)?;
    Ok(())
}

/// The chain itself: every entry follows from the one before.
fn walk(conn: &Connection, findings: &mut Vec<Finding>) -> Result<Known, Failure> {
    let mut statement = conn
        .prepare("SELECT entry_id, at, actor, act, job, subject, sealed, chain FROM audit_trail ORDER BY entry_id")?;
    let mut rows = statement.query([])?;
    let (mut known, mut before, mut number) = (Known::new(), String::new(), 0);
    while let Some(row) = rows.next()? {
        let text = |at: usize| row.get_ref(at).map(|value| value.as_str().unwrap_or_default());
        let link = Link {
            number: row.get(0)?,
            at: text(1)?,
            actor: text(2)?,
            act: text(3)?,
            job: text(4)?,
            subject: text(5)?,
            sealed: text(6)?,
        };
        number += 1;
        let broken = if link.number != number {
            Some("an entry before it was removed or put in")
        } else if link.chain(&before) != text(7)? {
            Some("it was changed, or an entry before it was changed or removed")
        } else {
            None
        };
        if let Some(what) = broken {
            findings.push(Finding {
                check: "audit",
                place: format!("audit_trail entry {} ({} {})", link.number, link.act, link.subject),
                what: format!("{what}; restore a backup"),
            });
            // From here on as it stands: one finding per break.
            number = link.number;
        }
        for line in link.sealed.lines() {
            let Some(((what, key), digest)) = line
                .rsplit_once(' ')
                .and_then(|(head, digest)| Some((head.split_once(' ')?, digest)))
            else {
                continue;
            };
            if let Ok(what) = what.parse() {
                known.insert((what, key.to_owned()), digest.to_owned());
            }
        }
        before = text(7)?.to_owned();
    }
    Ok(known)
}

/// How a row differs from its last seal.
#[derive(Clone, Copy)]
enum Seen {
    Changed,
    Gone,
    /// It was never sealed.
    Foreign,
}

fn differences(conn: &Connection, known: &Known, what: Sealed) -> Result<Vec<(String, Seen)>, Failure> {
    let sealed: BTreeMap<&str, &str> = known
        .iter()
        .filter(|((kind, _), digest)| *kind == what && *digest != "-")
        .map(|((_, key), digest)| (key.as_str(), digest.as_str()))
        .collect();
    let mut found = Vec::new();
    let Some((_, all)) = selects(what) else {
        for (key, digest) in sealed {
            match content(conn, what, key)? {
                Some(now) if now == digest => {}
                Some(_) => found.push((key.to_owned(), Seen::Changed)),
                None => found.push((key.to_owned(), Seen::Gone)),
            }
        }
        return Ok(found);
    };
    let mut statement = conn.prepare(all)?;
    let width = statement.column_count();
    let mut rows = statement.query([])?;
    let mut there = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let key = match row.get_ref(0)? {
            ValueRef::Integer(number) => number.to_string(),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        let mut digest = Content::new();
        digest.row(row, 0, width)?;
        match sealed.get(key.as_str()) {
            Some(seal) if *seal == digest.finish() => {}
            Some(_) => found.push((key.clone(), Seen::Changed)),
            None => found.push((key.clone(), Seen::Foreign)),
        }
        there.insert(key);
    }
    let gone = sealed.keys().filter(|key| !there.contains(**key));
    found.extend(gone.map(|key| ((*key).to_owned(), Seen::Gone)));
    Ok(found)
}

/// Place and sentence of a difference.
fn told(what: Sealed, key: &str, seen: Seen) -> (String, String) {
    let place = match what {
        Sealed::Discrepancy => format!("discrepancies {key}"),
        Sealed::Event => format!("discrepancy_events {key}"),
        Sealed::Decision => format!("decisions {key}"),
        Sealed::Returned => format!("returned_files {key}"),
        Sealed::Close => format!("period_closes {key}"),
        Sealed::File => format!("files {key}"),
        Sealed::Statement => format!("statement_lines {key}"),
        Sealed::Ledger => format!("ledger_entries of {key}"),
    };
    let what = match (what, seen) {
        (Sealed::Ledger, _) => {
            "they are not the ones that were read from the ledger: a row was changed, added or removed; the next reading of a \
             changed ledger writes them anew, or restore a backup"
        }
        (_, Seen::Changed) => "it was changed by somebody after it was written; restore a backup",
        (_, Seen::Gone) => "it was removed by somebody; restore a backup",
        (_, Seen::Foreign) => "no act of this program wrote it; somebody put it there: restore a backup",
    };
    (place, what.to_owned())
}
