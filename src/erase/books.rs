//! The database's part, in one transaction: rows, pages with their tombstones, frozen files, mails in the outbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::bytes::{Pairs, json_form};
use super::mask::{Remembered, Subjects, token};
use crate::compare::discrepancy_id;
use crate::config::{Job, JobSource};
use crate::day::{Instant, format_instant, parse_instant};
use crate::failure::{Class, Failure};
use crate::providers::{Ask, Parsed};
use crate::store::pages::{compress, decompress, sha256};
use crate::window::Window;

/// Columns that hold words, digests and times of ours, never a person's data. Everything else that is text is looked into, so
/// that a new column is looked into unless somebody says here that it need not be.
const OURS: &[&str] = &[
    "job",
    "feed",
    "kind",
    "becomes_kind",
    "from_kind",
    "to_kind",
    "state",
    "status",
    "verdict",
    "currency",
    "fee_currency",
    "direction",
    "line",
    "item",
    "event",
    "shape",
    "lane",
    "digest",
    "chain",
    "message_id",
    "body_sha256",
    "request_sha256",
    "sha256",
    "discrepancy_id",
    "request",
    "as_of",
    "at",
    "business_day",
    "provider",
    "name",
    "recipient",
    "from_at",
    "until_at",
    "sealed_at",
    "begun_at",
    "started_at",
    "finished_at",
    "fetched_at",
    "occurred_at",
    "changed_at",
    "booked_at",
    "seen_at",
    "first_seen_at",
    "vanished_at",
    "superseded_at",
    "gone_at",
    "learned_at",
    "queued_at",
    "not_before",
    "sent_at",
    "newest_booked_at",
    "erased_at",
    "becomes_day",
    "first_seen_day",
    "last_seen_day",
    "resolved_day",
    "done_at",
];

/// What was found, by table; and what files on disk must have replaced.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Table -> rows changed.
    pub tables: BTreeMap<String, u64>,
    /// Jobs some of whose pages were masked.
    pub jobs: BTreeSet<String>,
    pub pairs: Pairs,
}

/// What is masked, and by what.
pub struct Work<'w> {
    pub subject: &'w str,
    pub remembered: &'w Remembered,
    pub subjects: &'w Subjects,
    pub jobs: &'w [Job],
    pub now: Instant,
}

/// Masks everything in the database.
///
/// # Errors
/// USAGE where the text is part of what the books are made of (a status, an amount, a date): nothing may change then.
pub fn mask(tx: &Transaction<'_>, work: &Work<'_>) -> Result<Found, Failure> {
    let token = token(&work.remembered.digest);
    let mut found = Found {
        pairs: Pairs::of(work.subject, &token),
        ..Found::default()
    };
    tx.execute(
        "INSERT INTO erased_subjects (digest, fingerprint, bytes, erased_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![
            work.remembered.digest,
            work.remembered.fingerprint,
            i64::try_from(work.remembered.bytes).unwrap_or(i64::MAX),
            format_instant(work.now)
        ],
    )?;
    tx.pragma_update(None, "defer_foreign_keys", true)?;
    // Pages first: they are read as they were asked for, under the windows' own subjects.
    pages(tx, work, &token, &mut found)?;
    rows(tx, work.subject, &token, &mut found)?;
    discrepancies(tx, &mut found)?;
    files(tx, &mut found)?;
    mails(tx, &mut found)?;
    statistics(tx)?;
    Ok(found)
}

fn note(found: &mut Found, table: &str, rows: usize) {
    if rows > 0 {
        *found.tables.entry(table.to_owned()).or_default() += rows as u64;
    }
}

/// Makes one statement per table that masks every text column of it that is not ours (?1: their names as JSON). SQLite puts
/// the names in quotes; they come from this program's own schema, never from data.
const STATEMENTS: &str = "
  SELECT t.name, printf('UPDATE \"%w\" SET %s WHERE %s', t.name,
           group_concat(printf('\"%w\" = replace(replace(\"%w\", ?1, ?3), ?2, ?3)', c.name, c.name), ', '),
           group_concat(printf('instr(\"%w\", ?1) OR instr(\"%w\", ?2)', c.name, c.name), ' OR '))
    FROM sqlite_schema AS t JOIN pragma_table_xinfo(t.name) AS c
   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND c.type = 'TEXT' AND c.hidden = 0
     AND c.name NOT IN (SELECT value FROM json_each(?1))
   GROUP BY t.name ORDER BY t.name";

/// Every text column of every table that is not ours.
fn rows(tx: &Connection, subject: &str, token: &str, found: &mut Found) -> Result<(), Failure> {
    // Some columns hold JSON.
    let json = json_form(subject);
    let mut statement = tx.prepare(STATEMENTS)?;
    let ours = serde_json::json!(OURS).to_string();
    let statements = statement.query_map([ours], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for made in statements {
        let (table, sql) = made?;
        let changed = tx
            .execute(&sql, params![subject, json, token])
            .map_err(|error| refuse(error, &table))?;
        note(found, &table, changed);
    }
    Ok(())
}

/// A rule of the schema stands against it: a word of ours, or a key that would no longer be one.
fn refuse(error: rusqlite::Error, table: &str) -> Failure {
    if error.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) {
        return error.into();
    }
    Failure::new(
        Class::Usage,
        format!(
            "the text is also part of words or keys that the table {table} is made of; nothing was erased: name a longer text"
        ),
    )
}

/// Everything that names a discrepancy by its id.
const FOLLOWS: [&str; 3] = [
    "UPDATE discrepancy_events SET discrepancy_id = ?2 WHERE discrepancy_id = ?1",
    "UPDATE decisions SET discrepancy_id = ?2 WHERE discrepancy_id = ?1",
    "UPDATE refused_decisions SET discrepancy_id = ?2 WHERE discrepancy_id = ?1",
];

/// The id of a discrepancy follows from its identity: where that was masked, the id follows, in its events, in what people
/// decided about it, and in files.
fn discrepancies(tx: &Connection, found: &mut Found) -> Result<(), Failure> {
    let mut statement =
        tx.prepare("SELECT discrepancy_id, job, identity FROM discrepancies WHERE instr(identity, 'erased-') > 0")?;
    let all: Vec<(String, String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (id, job, identity) in all {
        let own = discrepancy_id(&job, &identity);
        if own != id {
            tx.execute(
                "UPDATE discrepancies SET discrepancy_id = ?2 WHERE discrepancy_id = ?1",
                [&id, &own],
            )
            .map_err(|error| refuse(error, "discrepancies"))?;
            for follow in FOLLOWS {
                tx.execute(follow, [&id, &own])?;
            }
            found.pairs.and(&id, &own);
        }
    }
    Ok(())
}

struct Page {
    page_id: i64,
    job: String,
    feed: String,
    number: u32,
    request: String,
    body_sha256: String,
    frame: Vec<u8>,
}

fn pages(tx: &Connection, work: &Work<'_>, token: &str, found: &mut Found) -> Result<(), Failure> {
    let mut after = 0;
    while let Some(page) = next_page(tx, after)? {
        after = page.page_id;
        let body = decompress(&page.frame).map_err(|failure| failure.at(format!("page {}", page.page_id)))?;
        let masked = work.subjects.mask_json(&body).into_owned();
        let request = Pairs::of(work.subject, token)
            .apply(page.request.as_bytes())
            .into_owned();
        if masked == body && request == page.request.as_bytes() {
            continue;
        }
        check_figures(tx, work, &page, &body, &masked)?;
        tx.execute(
            "INSERT INTO tombstones (page_id, body_sha256, request_sha256, erased_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (page_id) DO UPDATE SET erased_at = excluded.erased_at",
            params![
                page.page_id,
                page.body_sha256,
                sha256(page.request.as_bytes()),
                format_instant(work.now)
            ],
        )?;
        tx.execute(
            "UPDATE pages SET body = ?2, body_sha256 = ?3, request = ?4 WHERE page_id = ?1",
            params![
                page.page_id,
                compress(&masked)?,
                sha256(&masked),
                String::from_utf8_lossy(&request)
            ],
        )?;
        note(found, "pages", 1);
        found.jobs.insert(page.job);
    }
    Ok(())
}

fn next_page(tx: &Connection, after: i64) -> Result<Option<Page>, Failure> {
    let mut statement = tx.prepare_cached(
        "SELECT page_id, job, feed, number, request, body_sha256, body FROM pages
          WHERE page_id > ?1 ORDER BY page_id LIMIT 1",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Page {
            page_id: row.get(0)?,
            job: row.get(1)?,
            feed: row.get(2)?,
            number: row.get(3)?,
            request: row.get(4)?,
            body_sha256: row.get(5)?,
            frame: row.get(6)?,
        })
    };
    Ok(statement.query_row([after], read).optional()?)
}

/// Sums and counts stay: whatever decides about money must read the same from the masked page.
fn check_figures(tx: &Connection, work: &Work<'_>, page: &Page, body: &[u8], masked: &[u8]) -> Result<(), Failure> {
    let Some(job) = work.jobs.iter().find(|job| job.name == page.job) else {
        return Ok(());
    };
    let JobSource::Provider(setup) = &job.source else {
        return Ok(());
    };
    let Some(feed) = setup.provider.feeds().into_iter().find(|feed| feed.name == page.feed) else {
        return Ok(());
    };
    let (from, until, subject, account, as_of): (String, String, String, String, String) = tx
        .prepare_cached(
            "SELECT w.from_at, w.until_at, w.subject, w.account, p.as_of FROM pages AS p JOIN windows AS w ON w.window_id = p.window
              WHERE p.page_id = ?1",
        )?
        .query_row([page.page_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?;
    let instant = |text: &str| parse_instant(text).unwrap_or_default();
    let mut statement = tx.prepare_cached("SELECT name, value FROM calibrations WHERE job = ?1")?;
    let calibration: BTreeMap<String, String> = statement
        .query_map([&job.name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let ask = Ask {
        feed: feed.name,
        window: Window {
            from: instant(&from),
            until: instant(&until),
        },
        beside: Vec::new(),
        subject: Some(subject).filter(|subject| !subject.is_empty()),
        account,
        as_of: instant(&as_of),
        zone: job.timezone,
        calibration: Arc::new(calibration),
    };
    let mut masked_ask = ask.clone();
    masked_ask
        .subject
        .iter_mut()
        .for_each(|subject| work.subjects.mask(subject));
    work.subjects.mask(&mut masked_ask.account);
    let read = |ask: &Ask, body: &[u8]| figures(&setup.provider.parse(ask, page.number, body));
    if read(&ask, body) == read(&masked_ask, masked) {
        return Ok(());
    }
    Err(Failure::new(
        Class::Usage,
        format!(
            "the text is also part of amounts, dates or states on page {} ({} {}), which must stay; nothing was erased: name a \
             longer text",
            page.page_id, page.job, page.feed
        ),
    ))
}

/// Everything of a page that decides about money.
fn figures(parsed: &Parsed) -> Vec<String> {
    let rows = parsed.transactions.iter().map(|(row, t)| {
        format!(
            "{row} {} {} {} {} {:?} {:?} {} {} {:?} {:?}",
            t.direction,
            t.kind,
            t.currency,
            t.amount_minor,
            t.fee_minor,
            t.fee_currency,
            t.status,
            t.is_final,
            t.occurred_at,
            t.changed_at
        )
    });
    let balances = parsed
        .balances
        .iter()
        .map(|(row, b)| format!("{row} {} {} {}", b.item, b.currency, b.amount_minor));
    rows.chain(balances)
        .chain([format!("{} unreadable", parsed.unreadable.len())])
        .collect()
}

fn files(tx: &Connection, found: &mut Found) -> Result<(), Failure> {
    let mut statement = tx.prepare("SELECT rowid FROM files ORDER BY rowid")?;
    let ids: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in ids {
        let frame: Vec<u8> = tx.query_row("SELECT bytes FROM files WHERE rowid = ?1", [id], |row| row.get(0))?;
        let bytes = decompress(&frame)?;
        if let Some(masked) = found.pairs.apply_to_file(&bytes)? {
            let sql = "UPDATE files SET bytes = ?2, sha256 = ?3 WHERE rowid = ?1";
            tx.execute(sql, params![id, compress(&masked)?, sha256(&masked)])?;
            note(found, "files", 1);
        }
    }
    Ok(())
}

fn mails(tx: &Connection, found: &mut Found) -> Result<(), Failure> {
    let mut statement = tx.prepare("SELECT mail_id FROM mails WHERE length(message) > 0 ORDER BY mail_id")?;
    let ids: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in ids {
        let frame: Vec<u8> = tx.query_row("SELECT message FROM mails WHERE mail_id = ?1", [id], |row| row.get(0))?;
        if let Some(masked) = found.pairs.apply_to_mail(&decompress(&frame)?)? {
            let sql = "UPDATE mails SET message = ?2, sha256 = ?3 WHERE mail_id = ?1";
            tx.execute(sql, params![id, compress(&masked)?, sha256(&masked)])?;
            note(found, "mails", 1);
        }
    }
    Ok(())
}

/// The planner's samples hold values of indexed columns; they are collected anew when the worker rests.
fn statistics(tx: &Connection) -> Result<(), Failure> {
    for (table, sql) in [
        ("sqlite_stat4", "DELETE FROM sqlite_stat4"),
        ("sqlite_stat1", "DELETE FROM sqlite_stat1"),
    ] {
        let there = tx
            .prepare("SELECT 1 FROM sqlite_schema WHERE name = ?1")?
            .exists([table])?;
        if there {
            tx.execute(sql, [])?;
        }
    }
    Ok(())
}
