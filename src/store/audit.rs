//! The audit trail: every act that changed what people rely on, chained, with a seal for each row it wrote.
//!
//! Writers call [`append`] inside their own transaction with the rows they wrote; [`verify`] walks the chain and works out
//! every seal again. What is sealed, and what the chain cannot show, stands above `audit_trail` in `schema.sql`.
//!
//! [`super::sealed`] says which columns a seal holds. Does not know what the rows mean: who may decide what, and which state
//! follows, is the desk's business.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::sealed::{self, content, selects};
pub use super::sealed::{Content, Sealed, digest};
use super::verify::Finding;
use crate::day::{Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::record::words;

words! {
    /// `audit_trail.act`.
    Act {
        Compared = "compared", LedgerRead = "ledger_read", Decided = "decided", Closed = "closed",
        /// The files of a night were frozen.
        Reported = "reported",
        /// A mail was queued, left, was given up, or waits again.
        Mailed = "mailed",
        /// A run came to its end.
        Ended = "ended",
        /// Rows were removed or masked on purpose (`prune`, `erase`).
        Resealed = "resealed",
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

/// The seals of one act.
#[derive(Debug, Default, PartialEq, Eq)]
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

/// Writes down what a run did to rows, sealed as they stand now.
///
/// # Errors
/// What SQLite refuses. Call it inside the transaction that wrote the rows.
pub fn note(
    tx: &Connection,
    at: Instant,
    act: Act,
    (job, subject): (&str, &str),
    written: &[(Sealed, String)],
) -> Result<(), Failure> {
    let mut seals = Seals::default();
    for (what, key) in written {
        seals.row(tx, *what, key)?;
    }
    let entry = Entry {
        at,
        actor: "run",
        act,
        job,
        subject,
    };
    append(tx, &entry, &seals).map(drop)
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
        findings.extend(differences(conn, &known, what)?.into_iter().map(|(key, seen)| Finding {
            check: "audit",
            place: sealed::place(what, &key),
            what: told(what, seen).to_owned(),
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

fn told(what: Sealed, seen: Seen) -> &'static str {
    match (what, seen) {
        (Sealed::Ledger | Sealed::Export, _) => {
            "they are not the ones that were read from its files: a row was changed, added or removed; the next reading of \
             changed files writes them anew, or restore a backup"
        }
        (_, Seen::Changed) => "it was changed by somebody after it was written; restore a backup",
        (_, Seen::Gone) => "it was removed by somebody; restore a backup",
        (_, Seen::Foreign) => "no act of this program wrote it; somebody put it there: restore a backup",
    }
}
