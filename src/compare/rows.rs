//! Whole rows for the rich rules: read by id, only for what the merge could not pass over.

use std::collections::HashMap;
use std::str::FromStr;

use rusqlite::{Connection, Row, Statement};

use crate::day::{BusinessDay, Instant, parse_instant};
use crate::failure::{Class, Failure};
use crate::money::Currency;
use crate::record::{Direction, LedgerStatus, Status, TransactionKind};

/// A provider record as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: i64,
    pub provider: String,
    pub account: String,
    pub feed: String,
    /// What it was listed under; empty where there is nothing of the kind.
    pub subject: String,
    pub provider_id: String,
    /// None also for an empty text: it cannot identify anything.
    pub reference: Option<String>,
    pub direction: Direction,
    pub kind: TransactionKind,
    pub currency: Currency,
    /// Minor units, signed from the merchant's side.
    pub amount: i64,
    /// Minor units, positive = cost.
    pub fee: Option<i64>,
    pub fee_currency: Option<Currency>,
    pub status: Status,
    pub provider_status: String,
    pub occurred_at: Option<Instant>,
    pub changed_at: Option<Instant>,
    pub first_seen_at: Instant,
    pub business_day: BusinessDay,
    /// An earlier version was settled.
    pub was_settled: bool,
    /// Of a refund: the amount of its payment, where it names one.
    pub payment: Option<i64>,
    /// Where it was read: page and row in it, or file and line.
    pub page_id: Option<i64>,
    pub page_row: Option<i64>,
    pub source: Option<String>,
}

impl Record {
    /// When the provider changed it last: grace runs from here.
    pub fn changed(&self) -> Instant {
        self.changed_at.or(self.occurred_at).unwrap_or(self.first_seen_at)
    }

    /// When it came into being: age runs from here.
    pub fn born(&self) -> Instant {
        self.occurred_at.or(self.changed_at).unwrap_or(self.first_seen_at)
    }

    /// The same beside its entry: where the provider dates nothing, the booking does, not the night we first asked.
    pub fn born_beside(&self, entry: &Entry) -> Instant {
        self.occurred_at
            .or(self.changed_at)
            .or(entry.booked_at)
            .unwrap_or(self.first_seen_at)
    }

    /// Of a refund in part whose amount the provider does not state: the amount of its payment.
    pub fn part_of(&self) -> Option<i64> {
        self.payment
            .filter(|_| self.status == Status::Unknown && self.amount == 0)
    }

    /// A word of status or type that nobody declared.
    pub fn is_unclassified(&self) -> bool {
        self.status == Status::Unknown || self.kind == TransactionKind::Unknown
    }
}

/// A ledger entry as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: i64,
    pub ledger_id: Option<String>,
    pub reference: String,
    pub provider_id: Option<String>,
    pub account: Option<String>,
    pub direction: Direction,
    pub currency: Currency,
    /// Minor units, signed from the merchant's side.
    pub amount: i64,
    pub fee: Option<i64>,
    pub status: LedgerStatus,
    pub ledger_status: Option<String>,
    pub booked_at: Option<Instant>,
    pub x_external_id: Option<String>,
    pub reference_no: Option<String>,
    pub source: String,
    pub source_line: i64,
}

/// Prepared statements for rows by id.
pub struct Rows<'c> {
    record: Statement<'c>,
    entry: Statement<'c>,
    paid: [Statement<'c>; 2],
}

impl<'c> Rows<'c> {
    pub fn new(conn: &'c Connection) -> Result<Self, Failure> {
        let record = conn.prepare(
            "SELECT transaction_id, provider, account, feed, provider_id, reference, direction, kind, currency, amount_minor,
                    fee_minor, fee_currency, status, provider_status, occurred_at, changed_at, first_seen_at, business_day,
                    version > 1 AND status = 'failed' AND EXISTS (SELECT 1 FROM superseded_versions AS s
                      WHERE s.transaction_id = t.transaction_id AND s.status = 'settled'),
                    subject, page_id, page_row, source,
                    CASE WHEN kind = 'refund'
                         THEN (SELECT p.amount_minor FROM transactions AS p
                                WHERE p.job = t.job AND p.feed = t.feed AND p.account = t.account
                                  AND p.provider_id = t.related_id AND p.currency = t.currency
                                ORDER BY p.subject <> t.subject, p.transaction_id LIMIT 1) END
               FROM transactions AS t WHERE transaction_id = ?1",
        )?;
        let entry = conn.prepare(
            "SELECT entry_id, ledger_id, reference, provider_id, account, direction, currency, amount_minor, fee_minor,
                    status, ledger_status, booked_at, x_external_id, reference_no, source, source_line
               FROM ledger_entries WHERE entry_id = ?1",
        )?;
        let paid_there = conn.prepare(
            "SELECT currency, amount_minor FROM transactions
              WHERE job = ?1 AND direction = 'in' AND reference = ?2 AND status = 'settled' AND kind <> 'fee'
                AND vanished_at IS NULL",
        )?;
        let paid_here = conn.prepare(
            "SELECT currency, amount_minor FROM ledger_entries
              WHERE job = ?1 AND direction = 'in' AND reference = ?2 AND status = 'settled'",
        )?;
        Ok(Self {
            record,
            entry,
            paid: [paid_there, paid_here],
        })
    }

    pub fn record(&mut self, id: i64) -> Result<Record, Failure> {
        let mut rows = self.record.query([id])?;
        match rows.next()? {
            Some(row) => read_record(row),
            None => Err(gone("transactions")),
        }
    }

    /// What was paid under a reference, per currency: what the provider says, else what is booked.
    pub fn paid(&mut self, job: &str, reference: &str) -> Result<HashMap<Currency, i128>, Failure> {
        let mut paid: HashMap<Currency, i128> = HashMap::new();
        for statement in &mut self.paid {
            let mut sums: HashMap<Currency, i128> = HashMap::new();
            let mut rows = statement.query((job, reference))?;
            while let Some(row) = rows.next()? {
                let currency = word(row, 0, "transactions.currency")?;
                *sums.entry(currency).or_default() += i128::from(row.get::<_, i64>(1)?);
            }
            for (currency, sum) in sums {
                paid.entry(currency).or_insert(sum);
            }
        }
        Ok(paid)
    }

    pub fn entry(&mut self, id: i64) -> Result<Entry, Failure> {
        let mut rows = self.entry.query([id])?;
        match rows.next()? {
            Some(row) => read_entry(row),
            None => Err(gone("ledger_entries")),
        }
    }
}

fn read_record(row: &Row<'_>) -> Result<Record, Failure> {
    Ok(Record {
        id: row.get(0)?,
        provider: row.get(1)?,
        account: row.get(2)?,
        feed: row.get(3)?,
        provider_id: row.get(4)?,
        reference: row.get::<_, Option<String>>(5)?.filter(|r| !r.is_empty()),
        direction: word(row, 6, "transactions.direction")?,
        kind: word(row, 7, "transactions.kind").unwrap_or(TransactionKind::Unknown),
        currency: word(row, 8, "transactions.currency")?,
        amount: row.get(9)?,
        fee: row.get(10)?,
        fee_currency: optional_word(row, 11, "transactions.fee_currency")?,
        status: word(row, 12, "transactions.status")?,
        provider_status: row.get(13)?,
        occurred_at: optional_instant(row, 14, "transactions.occurred_at")?,
        changed_at: optional_instant(row, 15, "transactions.changed_at")?,
        first_seen_at: optional_instant(row, 16, "transactions.first_seen_at")?
            .ok_or_else(|| damaged("transactions.first_seen_at"))?,
        business_day: day(row, 17, "transactions.business_day")?,
        was_settled: row.get(18)?,
        payment: row.get(23)?,
        subject: row.get(19)?,
        page_id: row.get(20)?,
        page_row: row.get(21)?,
        source: row.get(22)?,
    })
}

fn read_entry(row: &Row<'_>) -> Result<Entry, Failure> {
    Ok(Entry {
        id: row.get(0)?,
        ledger_id: row.get(1)?,
        reference: row.get(2)?,
        provider_id: row.get(3)?,
        account: row.get(4)?,
        direction: word(row, 5, "ledger_entries.direction")?,
        currency: word(row, 6, "ledger_entries.currency")?,
        amount: row.get(7)?,
        fee: row.get(8)?,
        status: word(row, 9, "ledger_entries.status")?,
        ledger_status: row.get(10)?,
        booked_at: optional_instant(row, 11, "ledger_entries.booked_at")?,
        x_external_id: row.get(12)?,
        reference_no: row.get(13)?,
        source: row.get(14)?,
        source_line: row.get(15)?,
    })
}

/// A word of a closed set, or a currency.
pub fn word<T: FromStr>(row: &Row<'_>, column: usize, place: &str) -> Result<T, Failure> {
    let value = row.get_ref(column)?;
    value
        .as_str()
        .ok()
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| damaged(place))
}

/// The same, where there may be none.
pub fn optional_word<T: FromStr>(row: &Row<'_>, column: usize, place: &str) -> Result<Option<T>, Failure> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => word(row, column, place).map(Some),
    }
}

/// An instant in the database's text form.
pub fn optional_instant(row: &Row<'_>, column: usize, place: &str) -> Result<Option<Instant>, Failure> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        value => {
            let at = value.as_str().ok().and_then(parse_instant);
            at.map(Some).ok_or_else(|| damaged(place))
        }
    }
}

/// A business day in the database's text form.
pub fn day(row: &Row<'_>, column: usize, place: &str) -> Result<BusinessDay, Failure> {
    word(row, column, place)
}

/// A stored value that no writer of this program can have written.
pub fn damaged(place: &str) -> Failure {
    Failure::new(
        Class::Internal,
        format!("compare: {place} holds a value outside its form; run `reconciled verify`, nothing was written"),
    )
}

/// A thread ended without its rows; its panic says why.
pub fn lost_thread() -> Failure {
    Failure::new(
        Class::Internal,
        "compare: a thread that read rows ended before its time; nothing was written, please report this",
    )
}

fn gone(table: &str) -> Failure {
    Failure::new(
        Class::Internal,
        format!("compare: a row of {table} disappeared while it was compared; nothing was written, run again"),
    )
}
