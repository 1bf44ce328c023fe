//! One record or figure into its table: found, compared, kept with its former version, or left alone.
//!
//! Unchanged rows are not written. A record that differs from what is stored becomes its next version; where both were
//! served by the same reading the one that the provider changed last is the current one.

use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params};

use super::per_row::PerRow;
use crate::day::{Days, Instant, format_instant};
use crate::failure::Failure;
use crate::record::{Balance, Transaction};
use crate::window::Window;

/// A record with its texts already made: the parsing thread does this, the writing thread has enough to do.
pub(super) struct Row {
    pub transaction: Transaction,
    /// Row in its page from 0, or line of its file.
    pub at: i64,
    occurred_at: Option<String>,
    changed_at: Option<String>,
    business_day: String,
    residuals: Option<String>,
}

impl Row {
    /// The business day is that of `occurred_at`, else that on which the window begins.
    pub(super) fn new(transaction: Transaction, at: i64, window: Window, days: &mut Days) -> Row {
        let residuals = match transaction.residuals.as_slice() {
            [] => None,
            // A list of plain structs always has a JSON text.
            residuals => serde_json::to_string(residuals).ok(),
        };
        Row {
            at,
            occurred_at: transaction.occurred_at.map(format_instant),
            changed_at: transaction.changed_at.map(format_instant),
            business_day: days.of(transaction.occurred_at.unwrap_or(window.from)).to_owned(),
            residuals,
            transaction,
        }
    }
}

/// Where a row was read.
#[derive(Clone, Copy, Default)]
pub(super) struct Origin<'a> {
    pub page_id: Option<i64>,
    /// File, for file jobs.
    pub source: Option<&'a str>,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    New,
    Changed,
    Unchanged,
    /// Unchanged, and no longer vanished.
    Back,
}

/// Ids of rows, one bit each: a few megabytes stand for tens of millions.
#[derive(Default)]
pub(super) struct Seen {
    bits: Vec<u64>,
}

impl Seen {
    /// Adds an id; true when it was there before.
    fn add(&mut self, id: i64) -> bool {
        let (word, bit) = Self::place(id);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let there = self.bits[word] & bit != 0;
        self.bits[word] |= bit;
        there
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        let (word, bit) = Self::place(id);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn place(id: i64) -> (usize, u64) {
        // SQLite counts row ids from 1.
        let id = usize::try_from(id).unwrap_or_default();
        (id / 64, 1 << (id % 64))
    }
}

/// How many rows of a reading are expected to be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Found first, stored where they are missing.
    Few,
    /// Stored first, found where they are there already.
    Mostly,
    /// All of them: nothing is looked for, the unique index is not there and proves it afterwards.
    Only,
}

/// Ends the insertion where the unique index stands.
const UNLESS_KNOWN: &str = " ON CONFLICT (job, feed, account, provider_id, subject) DO NOTHING";

/// Values of a row that statements take, see [`content`].
const VALUES: usize = 25;

/// Rows that one statement stores in a first load, so that they share what a statement costs by itself.
const TOGETHER: usize = 20;

/// Inserts so many rows, each with its own [`content`], one after the other.
fn insertion(rows: usize, ending: &str) -> String {
    let row = |before: usize| {
        // ?22 is both the first and the last time this version was seen.
        let values: Vec<String> = (1..=22)
            .chain(22..=VALUES)
            .map(|value| format!("?{}", before * VALUES + value))
            .collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO transactions (job, account, feed, subject, provider_id,
                reference, related_id, direction, kind, currency, amount_minor, fee_minor, fee_currency, status, is_final,
                provider_status, occurred_at, changed_at, residuals,
                provider, business_day, first_seen_at, seen_at, page_id, page_row, source)
         VALUES {}{ending}",
        rows.join(", ")
    )
}

/// A fee that is the sum of fee records is no part of what the provider said about this record, and neither is a reference
/// that was learned by asking about it alone.
const FIND: &str = "
    SELECT transaction_id, vanished_at IS NOT NULL, seen_at = ?22, changed_at,
           (reference IS ?6 OR reference_from_detail AND ?6 IS NULL) AND related_id IS ?7 AND direction = ?8 AND kind = ?9 AND currency = ?10 AND amount_minor = ?11
           AND iif(fee_from_rows, NULL, fee_minor) IS ?12 AND iif(fee_from_rows, NULL, fee_currency) IS ?13
           AND status = ?14 AND is_final = ?15 AND provider_status = ?16 AND occurred_at IS ?17 AND changed_at IS ?18
           AND residuals IS ?19,
           related_id
      FROM transactions
     WHERE job = ?1 AND account = ?2 AND feed = ?3 AND subject = ?4 AND provider_id = ?5";

/// The current row becomes a version of the past.
const SUPERSEDE: &str = "
    INSERT INTO superseded_versions (transaction_id, version, reference, related_id, direction, kind, currency, amount_minor,
           fee_minor, fee_currency, status, is_final, provider_status, occurred_at, changed_at, residuals, seen_at, page_id,
           page_row, source)
    SELECT transaction_id, version, reference, related_id, direction, kind, currency, amount_minor,
           fee_minor, fee_currency, status, is_final, provider_status, occurred_at, changed_at, residuals, seen_at, page_id,
           page_row, source
      FROM transactions WHERE transaction_id = ?1";

const UPDATE: &str = "
    UPDATE transactions
       SET reference = iif(reference_from_detail AND ?6 IS NULL, reference, ?6),
           reference_from_detail = reference_from_detail AND ?6 IS NULL, related_id = ?7, direction = ?8, kind = ?9, currency = ?10, amount_minor = ?11,
           fee_minor = iif(fee_from_rows AND ?12 IS NULL, fee_minor, ?12),
           fee_currency = iif(fee_from_rows AND ?12 IS NULL, fee_currency, ?13),
           fee_from_rows = fee_from_rows AND ?12 IS NULL,
           status = ?14, is_final = ?15, provider_status = ?16, occurred_at = ?17, changed_at = ?18, residuals = ?19,
           business_day = ?21, seen_at = ?22, page_id = ?23, page_row = ?24, source = ?25, version = version + 1
     WHERE transaction_id = ?1";

/// Whether the past already holds exactly this version.
const PAST: &str = "
    SELECT 1 FROM superseded_versions
     WHERE transaction_id = ?1 AND (reference IS ?6 OR ?6 IS NULL AND (SELECT t.reference_from_detail FROM transactions AS t
             WHERE t.transaction_id = ?1)) AND related_id IS ?7 AND direction = ?8 AND kind = ?9 AND currency = ?10
       AND amount_minor = ?11 AND fee_minor IS ?12 AND fee_currency IS ?13 AND status = ?14 AND is_final = ?15
       AND provider_status = ?16 AND occurred_at IS ?17 AND changed_at IS ?18 AND residuals IS ?19 LIMIT 1";

/// A version that was already old when it was served: it goes into the past, the current one stays the last.
const INSERT_PAST: &str = "
    INSERT INTO superseded_versions (transaction_id, version, reference, related_id, direction, kind, currency, amount_minor,
           fee_minor, fee_currency, status, is_final, provider_status, occurred_at, changed_at, residuals, seen_at, page_id,
           page_row, source)
    SELECT transaction_id, version, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?22, ?23, ?24, ?25
      FROM transactions WHERE transaction_id = ?1";

const COUNT_UP: &str = "UPDATE transactions SET version = version + 1 WHERE transaction_id = ?1";
const COME_BACK: &str = "UPDATE transactions SET vanished_at = NULL WHERE transaction_id = ?1";

/// The `transactions` of one derivation.
pub(super) struct Records<'c> {
    job: &'c str,
    provider: &'c str,
    as_of: String,
    /// Whether a reappearing record may be called back: only where the reading proves what is listed.
    proves: bool,
    expect: Expect,
    pub seen: Seen,
    insert: PerRow<'c>,
    /// As `insert`, for [`TOGETHER`] rows; only where nothing is looked for.
    together: Option<PerRow<'c>>,
    find: PerRow<'c>,
    rare: &'c Connection,
}

/// What [`FIND`] says about the stored row.
struct Stored {
    id: i64,
    vanished: bool,
    this_run: bool,
    changed_at: Option<String>,
    same: bool,
    related_id: Option<String>,
}

impl<'c> Records<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        job: &'c str,
        provider: &'c str,
        as_of: Instant,
        proves: bool,
        expect: Expect,
    ) -> Result<Self, Failure> {
        Ok(Records {
            job,
            provider,
            as_of: format_instant(as_of),
            proves,
            expect,
            seen: Seen::default(),
            insert: match expect {
                Expect::Only => PerRow::prepare(connection, &insertion(1, ""))?,
                Expect::Few | Expect::Mostly => PerRow::prepare(connection, &insertion(1, UNLESS_KNOWN))?,
            },
            together: match expect {
                Expect::Only => Some(PerRow::prepare(connection, &insertion(TOGETHER, ""))?),
                Expect::Few | Expect::Mostly => None,
            },
            find: PerRow::prepare(connection, FIND)?,
            rare: connection,
        })
    }

    /// Stores one row; also gives the `related_id` that a changed row had before.
    pub(super) fn store(
        &mut self,
        feed: &str,
        row: &Row,
        origin: Origin<'_>,
    ) -> Result<(Became, Option<String>), Failure> {
        if self.expect != Expect::Few && self.insert(feed, row, origin)? {
            return Ok((Became::New, None));
        }
        let Some(stored) = self.find(feed, row)? else {
            // Only a row that was not tried above can be missing here.
            self.insert(feed, row, origin)?;
            return Ok((Became::New, None));
        };
        let again = self.seen.add(stored.id);
        let mut became = Became::Unchanged;
        if stored.vanished && self.proves {
            self.rare.prepare_cached(COME_BACK)?.execute([stored.id])?;
            became = Became::Back;
        }
        if stored.same {
            return Ok((became, None));
        }
        let older = (again || stored.this_run)
            && matches!((&row.changed_at, &stored.changed_at), (Some(served), Some(kept)) if served < kept);
        if older && !self.keep_as_past(feed, &stored, row, origin)? {
            return Ok((became, None));
        }
        if !older {
            self.rare.prepare_cached(SUPERSEDE)?.execute([stored.id])?;
            self.with_content(UPDATE, Some(stored.id), feed, row, origin, |s, p| s.execute(p))?;
        }
        Ok((Became::Changed, stored.related_id))
    }

    /// Stores the rows of a page where all of them are expected to be new; false, and nothing done, where they are not. They are not
    /// remembered as seen: before a first reading nothing was there that could have gone.
    pub(super) fn store_together(&mut self, rows: &[Row], origin: Origin<'_>) -> Result<bool, Failure> {
        let Some(together) = &mut self.together else {
            return Ok(false);
        };
        let groups = rows.chunks_exact(TOGETHER);
        let rest = groups.remainder();
        for group in groups {
            let words: Vec<Words<'_>> = group.iter().map(Words::of).collect();
            let mut contents: Vec<&dyn ToSql> = Vec::with_capacity(TOGETHER * VALUES);
            for (row, words) in group.iter().zip(&words) {
                let feed = &row.transaction.feed;
                contents.extend(content(
                    &self.job,
                    feed,
                    row,
                    words,
                    &origin,
                    (&self.provider, &self.as_of),
                ));
            }
            together.bound(&contents)?.raw_execute()?;
        }
        for row in rest {
            self.insert(row.transaction.feed, row, origin)?;
        }
        Ok(true)
    }

    fn insert(&mut self, feed: &str, row: &Row, origin: Origin<'_>) -> Result<bool, Failure> {
        let words = Words::of(row);
        let content = content(&self.job, &feed, row, &words, &origin, (&self.provider, &self.as_of));
        let inserted = self.insert.bound(&content)?.raw_execute()? == 1;
        if inserted {
            self.seen.add(self.rare.last_insert_rowid());
        }
        Ok(inserted)
    }

    fn find(&mut self, feed: &str, row: &Row) -> Result<Option<Stored>, Failure> {
        let (words, nowhere) = (Words::of(row), Origin::default());
        let content = content(&self.job, &feed, row, &words, &nowhere, (&self.provider, &self.as_of));
        let mut rows = self.find.bound(&content)?.raw_query();
        let Some(r) = rows.next()? else { return Ok(None) };
        Ok(Some(Stored {
            id: r.get(0)?,
            vanished: r.get(1)?,
            this_run: r.get(2)?,
            changed_at: r.get(3)?,
            same: r.get(4)?,
            related_id: r.get(5)?,
        }))
    }

    /// False when the past holds this version already: served night after night it counts once.
    fn keep_as_past(&self, feed: &str, stored: &Stored, row: &Row, origin: Origin<'_>) -> Result<bool, Failure> {
        if self.with_content(PAST, Some(stored.id), feed, row, origin, |s, p| s.exists(p))? {
            return Ok(false);
        }
        self.with_content(INSERT_PAST, Some(stored.id), feed, row, origin, |s, p| s.execute(p))?;
        self.rare.prepare_cached(COUNT_UP)?.execute([stored.id])?;
        Ok(true)
    }

    /// Runs one of the rarer statements; their ?1 is the row's id.
    fn with_content<T>(
        &self,
        sql: &str,
        id: Option<i64>,
        feed: &str,
        row: &Row,
        origin: Origin<'_>,
        run: impl FnOnce(&mut Statement<'_>, &[&dyn ToSql]) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let words = Words::of(row);
        let content = content(&id, &feed, row, &words, &origin, (&self.provider, &self.as_of));
        let mut statement = self.rare.prepare_cached(sql)?;
        let wanted = statement.parameter_count();
        Ok(run(&mut statement, &content[..wanted])?)
    }
}

/// The words of a record as they stand in the database.
struct Words<'r> {
    direction: &'static str,
    kind: &'static str,
    status: &'static str,
    currency: &'r str,
    fee_currency: Option<&'r str>,
}

impl<'r> Words<'r> {
    fn of(row: &'r Row) -> Self {
        let t = &row.transaction;
        Self {
            direction: t.direction.as_str(),
            kind: t.kind.as_str(),
            status: t.status.as_str(),
            currency: t.currency.code(),
            fee_currency: t.fee_currency.as_ref().map(|c| c.code()),
        }
    }
}

/// The parameters ?1 to ?25 of every statement about a record, in one order; ?1 is what finds it: the job or the row's id.
fn content<'a>(
    first: &'a dyn ToSql,
    feed: &'a &str,
    row: &'a Row,
    words: &'a Words<'_>,
    origin: &'a Origin<'_>,
    (provider, as_of): (&'a &str, &'a String),
) -> [&'a dyn ToSql; VALUES] {
    let t = &row.transaction;
    [
        first,
        &t.account,
        feed,
        &t.subject,
        &t.provider_id,
        &t.reference,
        &t.related_id,
        &words.direction,
        &words.kind,
        &words.currency,
        &t.amount_minor,
        &t.fee_minor,
        &words.fee_currency,
        &words.status,
        &t.is_final,
        &t.provider_status,
        &row.occurred_at,
        &row.changed_at,
        &row.residuals,
        provider,
        &row.business_day,
        as_of,
        &origin.page_id,
        &row.at,
        &origin.source,
    ]
}

/// Stores one figure. Another figure in the place of a stored one supersedes it.
///
/// A figure about a subject (a sweep) is known by its subject: several windows may list it, and where it has no time of its
/// own it keeps that of the first of them, whichever is read first.
pub(super) fn store_balance(
    connection: &Connection,
    job: &str,
    window: Window,
    balance: &Balance,
    as_of: &str,
    page_id: i64,
    page_row: u32,
) -> Result<Became, Failure> {
    let currency = balance.currency.code();
    let mut at = format_instant(balance.as_of);
    let known: Option<(i64, i64, String)> = connection
        .prepare_cached(if balance.subject.is_empty() {
            "SELECT balance_id, amount_minor, as_of FROM balances
              WHERE job = ?1 AND feed = ?2 AND account = ?3 AND subject = ?4 AND as_of = ?5 AND currency = ?6 AND item = ?7
                AND superseded_at IS NULL"
        } else {
            "SELECT balance_id, amount_minor, as_of FROM balances
              WHERE job = ?1 AND feed = ?2 AND account = ?3 AND subject = ?4 AND ?5 IS NOT NULL AND currency = ?6
                AND item = ?7 AND superseded_at IS NULL"
        })?
        .query_row(
            params![
                job,
                balance.feed,
                balance.account,
                balance.subject,
                at,
                currency,
                balance.item
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    if let Some((balance_id, amount_minor, known_at)) = &known {
        if balance.as_of == window.last_instant() && *known_at < at {
            at.clone_from(known_at);
        }
        if *amount_minor == balance.amount_minor && *known_at == at {
            return Ok(Became::Unchanged);
        }
        connection
            .prepare_cached("UPDATE balances SET superseded_at = ?2 WHERE balance_id = ?1")?
            .execute(params![balance_id, as_of])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO balances (job, feed, account, subject, as_of, currency, item, amount_minor, seen_at, page_id, page_row)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            job,
            balance.feed,
            balance.account,
            balance.subject,
            at,
            currency,
            balance.item,
            balance.amount_minor,
            as_of,
            page_id,
            page_row
        ])?;
    Ok(if known.is_some() { Became::Changed } else { Became::New })
}
