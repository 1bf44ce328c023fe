//! Fees that a provider states as records of their own, summed into the payments they name.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::failure::Failure;
use crate::record::{Transaction, TransactionKind};

/// Payments whose fee records may have changed: feed, account, the payment's provider id.
#[derive(Default)]
pub(super) struct Touched {
    payments: BTreeSet<(String, String, String)>,
    /// Whether this job has fee records at all: where it has none, new payments need no look.
    fees_exist: bool,
}

impl Touched {
    pub(super) fn new(connection: &Connection, job: &str) -> Result<Self, Failure> {
        let fees_exist = connection
            .prepare_cached(
                "SELECT 1 FROM transactions INDEXED BY transactions_fees WHERE job = ?1 AND kind = 'fee' LIMIT 1",
            )?
            .exists([job])?;
        Ok(Touched {
            payments: BTreeSet::new(),
            fees_exist,
        })
    }

    /// A record that is new, changed, gone or back; `before` is the payment that its former version named.
    pub(super) fn record(&mut self, feed: &str, record: &Transaction, before: Option<&str>) {
        if record.kind == TransactionKind::Fee {
            self.fees_exist = true;
            self.fee(feed, &record.account, record.related_id.as_deref());
            self.fee(feed, &record.account, before);
        } else if self.fees_exist {
            self.fee(feed, &record.account, Some(&record.provider_id));
            // It may have been a fee record before.
            self.fee(feed, &record.account, before);
        }
    }

    /// A payment that a fee record names or named.
    pub(super) fn fee(&mut self, feed: &str, account: &str, payment: Option<&str>) {
        if let Some(payment) = payment {
            self.payments
                .insert((feed.to_owned(), account.to_owned(), payment.to_owned()));
        }
    }

    /// Writes the sums. A fee that the provider states with the payment itself is never touched.
    pub(super) fn settle(self, connection: &Connection, job: &str) -> Result<(), Failure> {
        let mut update = connection.prepare_cached(
            "UPDATE transactions SET fee_minor = ?5, fee_currency = ?6, fee_from_rows = ?5 IS NOT NULL
              WHERE job = ?1 AND feed = ?2 AND account = ?3 AND provider_id = ?4 AND kind <> 'fee'
                AND (fee_from_rows OR fee_minor IS NULL)
                AND (fee_minor IS NOT ?5 OR fee_currency IS NOT ?6)",
        )?;
        for (feed, account, payment) in &self.payments {
            let (fee_minor, currency) = sum(connection, job, feed, account, payment)?.unzip();
            update.execute(params![job, feed, account, payment, fee_minor, currency])?;
        }
        Ok(())
    }
}

/// Cost in minor units, with its currency. None without fee records, and where they cannot be one sum: several currencies,
/// or more than 64 bits.
fn sum(
    connection: &Connection,
    job: &str,
    feed: &str,
    account: &str,
    payment: &str,
) -> Result<Option<(i64, String)>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT amount_minor, currency FROM transactions
          WHERE job = ?1 AND feed = ?2 AND account = ?3 AND related_id = ?4 AND kind = 'fee'
            AND vanished_at IS NULL AND status <> 'failed'",
    )?;
    let mut rows = statement.query(params![job, feed, account, payment])?;
    let mut total: Option<(i64, String)> = None;
    while let Some(row) = rows.next()? {
        let (amount, currency): (i64, String) = (row.get(0)?, row.get(1)?);
        let (before, of) = total.take().unwrap_or_else(|| (0, currency.clone()));
        match before.checked_sub(amount) {
            Some(after) if of == currency => total = Some((after, currency)),
            _ => return Ok(None),
        }
    }
    Ok(total)
}
