//! What a seal of the audit trail is about, and which columns of which rows it holds.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::record::words;

words! {
    /// What a seal is about.
    Sealed {
        Discrepancy = "discrepancy", Event = "event", Decision = "decision", Returned = "returned", Close = "close",
        /// A frozen file; key `job/day/name`.
        File = "file",
        /// The statement of a closed day without what was added late; key `job/day`.
        Statement = "statement",
        /// All entries of a job's ledger; key is the job.
        Ledger = "ledger",
        /// All records of an export and the span that it proves; key `job/feed`.
        Export = "export",
        /// That a ledger or an export was read.
        Import = "import",
        /// A run that came to its end, with its counts.
        Run = "run",
        /// A mail: to whom, which bytes, and what became of it.
        Mail = "mail",
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

    pub(super) fn row(&mut self, row: &Row<'_>, from: usize, width: usize) -> Result<(), Failure> {
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
        let mut text = [0; 32];
        // Half a digest fills it exactly; `hex::encode` would go letter by letter, for every row of a night.
        let _ = hex::encode_to_slice(&self.0.finalize()[..16], &mut text);
        String::from_utf8_lossy(&text).into_owned()
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

/// The SELECT of one row by its key, and that of all rows; the key is the first column. None for what is no single row, and for
/// tables some of whose rows were written before they were sealed.
pub(super) fn selects(what: Sealed) -> Option<(&'static str, &'static str)> {
    Some(match what {
        Sealed::Discrepancy => (discrepancy!("WHERE discrepancy_id = ?1"), discrepancy!("")),
        Sealed::Event => (event!("WHERE event_id = CAST(?1 AS INTEGER)"), event!("")),
        Sealed::Decision => (decision!("WHERE decision_id = CAST(?1 AS INTEGER)"), decision!("")),
        Sealed::Returned => (returned!("WHERE return_id = CAST(?1 AS INTEGER)"), returned!("")),
        Sealed::Close => (close!("WHERE close_id = CAST(?1 AS INTEGER)"), close!("")),
        _ => return None,
    })
}

/// What stands in the books under a key now; None: nothing.
pub(super) fn content(conn: &Connection, what: Sealed, key: &str) -> Result<Option<String>, Failure> {
    match what {
        Sealed::Ledger => rows(conn, &[ledger!()], &[key]),
        Sealed::Export => {
            let (job, feed) = key.rsplit_once('/').unwrap_or((key, ""));
            let records = "SELECT account, subject, provider_id, reference, related_id, direction, kind, currency, amount_minor,
                                  fee_minor, fee_currency, status, is_final, provider_status, occurred_at, changed_at,
                                  business_day, version, first_seen_at, seen_at, vanished_at, page_row, source
                             FROM transactions WHERE job = ?1 AND feed = ?2 AND page_id IS NULL ORDER BY transaction_id";
            let spans = "SELECT from_at, until_at, state, sealed_at, reading, begun_at, rows FROM windows
                          WHERE job = ?1 AND feed = ?2 ORDER BY window_id";
            rows(conn, &[records, spans], &[job, feed])
        }
        Sealed::Import => {
            let sql = "SELECT job, feed, as_of, digest, entries, excluded, unreadable, newest_booked_at, sources
                         FROM ledger_imports WHERE import_id = CAST(?1 AS INTEGER)";
            rows(conn, &[sql], &[key])
        }
        Sealed::Run => {
            let run = "SELECT job, as_of, business_day, started_at, finished_at, verdict, exit_code, message, requests, pages,
                              rows, unreadable, matched, pending, excluded, opened, reopened, resolved, open,
                              compared, stopped
                         FROM runs WHERE run_id = CAST(?1 AS INTEGER)";
            let counts = "SELECT currency, kind, count, difference_minor, previous_open, new, reopened, resolved
                            FROM run_counts WHERE run_id = CAST(?1 AS INTEGER) ORDER BY currency, kind";
            rows(conn, &[run, counts], &[key])
        }
        Sealed::Mail => {
            let sql = "SELECT message_id, job, business_day, recipient, state, queued_at, sent_at, sha256
                         FROM mails WHERE mail_id = CAST(?1 AS INTEGER)";
            rows(conn, &[sql], &[key])
        }
        Sealed::Statement => {
            let (job, day) = key.rsplit_once('/').unwrap_or((key, ""));
            let sql = "SELECT account, currency, position, line, amount_minor, source FROM statement_lines
                        WHERE job = ?1 AND business_day = ?2 AND line NOT LIKE 'late change %'
                        ORDER BY account, currency, position";
            rows(conn, &[sql], &[job, day])
        }
        Sealed::File => {
            let mut parts = key.splitn(3, '/');
            let part = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
            let sql = "SELECT as_of, sha256 FROM files WHERE job = ?1 AND business_day = ?2 AND name = ?3";
            rows(conn, &[sql], &part)
        }
        single => match selects(single) {
            Some((one, _)) => rows(conn, &[one], &[key]),
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

/// The digest over all rows of the SELECTs; None when there is none.
fn rows(conn: &Connection, all: &[&str], keys: &[&str]) -> Result<Option<String>, Failure> {
    let (mut digest, mut any) = (Content::new(), false);
    for sql in all {
        let mut statement = conn.prepare_cached(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(keys))?;
        while let Some(row) = rows.next()? {
            digest.row(row, 0, width)?;
            any = true;
        }
    }
    Ok(any.then(|| digest.finish()))
}

/// A sealed row as a finding names it.
pub(super) fn place(what: Sealed, key: &str) -> String {
    let table = match what {
        Sealed::Discrepancy => "discrepancies",
        Sealed::Event => "discrepancy_events",
        Sealed::Decision => "decisions",
        Sealed::Returned => "returned_files",
        Sealed::Close => "period_closes",
        Sealed::File => "files",
        Sealed::Statement => "statement_lines",
        Sealed::Ledger => "ledger_entries of",
        Sealed::Export => "transactions and windows of",
        Sealed::Import => "ledger_imports",
        Sealed::Run => "runs and run_counts of run",
        Sealed::Mail => "mails",
    };
    format!("{table} {key}")
}
