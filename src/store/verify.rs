//! Every proof the database offers: SQLite's own checks, the schema, every page against its hash, the chain of pages, every
//! window against its last complete reading, the audit trail, the frozen files and mails against theirs, and the rows against the pages.

use rusqlite::Connection;

use super::pages::{Link, decompress, sha256};
use super::replay::archived_jobs;
use super::{Store, replay, schema};
use crate::config::Job;
use crate::failure::Failure;

/// Something wrong with the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `integrity`, `references`, `schema`, `page`, `chain`, `window`, `audit`, `frozen`, `replay`.
    pub check: &'static str,
    /// Page, table or row.
    pub place: String,
    /// What was seen and what to do.
    pub what: String,
}

impl Finding {
    fn new(check: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Finding {
            check,
            place: place.into(),
            what: what.into(),
        }
    }
}

/// Every proof, over the whole database; rows are replayed for `jobs`. Empty = all hold. A file so damaged that it cannot be
/// read at all is the failure `LOCAL-IO`.
pub fn verify(store: &Store, jobs: &[Job]) -> Result<Vec<Finding>, Failure> {
    let mut findings = store.read(|books| {
        let mut findings = integrity(books)?;
        findings.extend(references(books)?);
        if let Err(failure) = schema::check(books) {
            findings.push(Finding::new("schema", "sqlite_schema", failure.message));
        }
        findings.extend(pages(books)?);
        findings.extend(windows(books)?);
        findings.extend(super::audit::verify(books)?);
        findings.extend(frozen(books)?);
        Ok(findings)
    })?;
    for job in jobs {
        match replay(store, job) {
            Ok(replayed) => findings.extend(replayed.differences.into_iter().map(|difference| {
                Finding::new(
                    "replay",
                    format!("{}: {} {}", difference.job, difference.table, difference.row),
                    difference.what,
                )
            })),
            // Nothing can be proved without room, and nothing is damaged.
            Err(failure) if failure.is_full_disk() => return Err(failure),
            Err(failure) => findings.push(Finding::new("replay", job.name.as_str(), failure.message)),
        }
    }
    for (job, pages) in archived_jobs(store)? {
        if !jobs.iter().any(|known| known.name == job) {
            findings.push(Finding::new(
                "replay",
                job,
                format!("{pages} pages are archived, but there is no such job file: its rows were not replayed"),
            ));
        }
    }
    Ok(findings)
}

fn integrity(books: &Connection) -> Result<Vec<Finding>, Failure> {
    let mut statement = books.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut findings = Vec::new();
    for line in lines {
        let line = line?;
        if line != "ok" {
            findings.push(Finding::new(
                "integrity",
                "database",
                format!("{line}; restore a backup"),
            ));
        }
    }
    Ok(findings)
}

fn references(books: &Connection) -> Result<Vec<Finding>, Failure> {
    let mut statement = books.prepare("PRAGMA foreign_key_check")?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, Option<i64>>(1)?,
            row.get::<_, String>(2)?,
        ))
    })?;
    let mut findings = Vec::new();
    for row in rows {
        let (table, row, parent) = row?;
        let row = row.map_or_else(|| "a row".to_owned(), |row| format!("row {row}"));
        findings.push(Finding::new(
            "references",
            format!("{table} {row}"),
            format!("names a row of {parent} that is not there; somebody deleted it: restore a backup"),
        ));
    }
    Ok(findings)
}

/// Every page against its hash, and the chain over all of them.
fn pages(books: &Connection) -> Result<Vec<Finding>, Failure> {
    let mut statement = books.prepare(
        "SELECT page_id, job, feed, window, number, fetched_at, as_of, request, http_status, p.body_sha256, chain, body,
                t.body_sha256, t.request_sha256
           FROM pages AS p LEFT JOIN tombstones AS t USING (page_id) ORDER BY page_id",
    )?;
    let mut rows = statement.query([])?;
    let mut findings = Vec::new();
    let mut before = String::new();
    while let Some(row) = rows.next()? {
        let text = |at: usize| row.get::<_, String>(at);
        let page_id: i64 = row.get(0)?;
        let (job, feed, fetched_at, as_of, request) = (text(1)?, text(2)?, text(5)?, text(6)?, text(7)?);
        let (body_sha256, chain) = (text(9)?, text(10)?);
        // A tombstone keeps the digests of what was first stored: with those the chain was made.
        let first_body: Option<String> = row.get(12)?;
        let first_request: Option<String> = row.get(13)?;
        let request_sha256 = first_request.unwrap_or_else(|| sha256(request.as_bytes()));
        let link = Link {
            job: &job,
            feed: &feed,
            window: row.get(3)?,
            number: row.get(4)?,
            fetched_at: &fetched_at,
            as_of: &as_of,
            request_sha256: &request_sha256,
            http_status: row.get(8)?,
            body_sha256: first_body.as_deref().unwrap_or(&body_sha256),
        };
        let place = || format!("page {page_id} ({job} {feed} page {})", link.number);
        let whole =
            decompress(row.get_ref(11)?.as_blob().unwrap_or_default()).is_ok_and(|body| sha256(&body) == body_sha256);
        if !whole {
            findings.push(Finding::new(
                "page",
                place(),
                "its body is not the one that was received; restore a backup",
            ));
        }
        if link.chain(&before) != chain {
            findings.push(Finding::new(
                "chain",
                place(),
                "it was changed, or a page before it was changed or removed; restore a backup",
            ));
        }
        // From here on the chain as it stands: one finding per break, not one for every page after it.
        before = chain;
    }
    Ok(findings)
}

/// Every window against its last complete reading: it counts as read, or not, as that reading left it. One without a page of its
/// own (the span of an export, which the audit trail seals, or of a ledger whose keys were all asked about) has none.
fn windows(books: &Connection) -> Result<Vec<Finding>, Failure> {
    let mut statement = books.prepare(
        "SELECT w.window_id, w.job, w.feed, w.subject, w.from_at, w.state
           FROM windows AS w
           LEFT JOIN seals AS s ON s.seal_id = (SELECT max(x.seal_id) FROM seals AS x WHERE x.window_id = w.window_id)
          WHERE CASE w.state
                WHEN 'open' THEN s.reading >= w.reading
                ELSE (w.shape <> '' OR EXISTS (SELECT 1 FROM readings AS r WHERE r.window_id = w.window_id))
                     AND NOT (s.reading IS w.reading AND s.state IS w.state AND s.as_of IS w.sealed_at
                              AND s.from_at IS w.from_at AND s.until_at IS w.until_at
                              AND w.pages = (SELECT count(*) FROM readings AS r
                                              WHERE r.window_id = s.window_id AND r.reading = s.reading AND r.pass = s.pass
                                                AND r.confirms = 0))
                END
          ORDER BY w.window_id",
    )?;
    let mut rows = statement.query([])?;
    let mut findings = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |at: usize| row.get::<_, String>(at);
        let (id, subject): (i64, String) = (row.get(0)?, text(3)?);
        let place = format!(
            "windows {id} ({} {} {})",
            text(1)?,
            text(2)?,
            [subject, text(4)?].join(" ").trim()
        );
        let what = format!(
            "it stands as {} and its last complete reading says otherwise; somebody changed it: restore a backup",
            text(5)?
        );
        findings.push(Finding::new("window", place, what));
    }
    Ok(findings)
}

/// What `report` would write and the outbox would send, against the digests they were frozen with. A mail that left keeps its
/// row when `[retention]` lets its bytes go; one that waits must have them.
fn frozen(books: &Connection) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for sql in [
        "SELECT 'files ' || job || '/' || business_day || '/' || name, sha256, bytes FROM files ORDER BY job, business_day, name",
        "SELECT 'mails ' || mail_id, sha256, message FROM mails
          WHERE state = 'pending' OR length(message) > 0 ORDER BY mail_id",
    ] {
        let mut statement = books.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let digest: String = row.get(1)?;
            let bytes = decompress(row.get_ref(2)?.as_blob().unwrap_or_default());
            if !bytes.is_ok_and(|bytes| sha256(&bytes) == digest) {
                findings.push(Finding::new(
                    "frozen",
                    row.get::<_, String>(0)?,
                    "its bytes are not the ones that were made; restore a backup",
                ));
            }
        }
    }
    Ok(findings)
}
