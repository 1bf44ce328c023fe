//! What the books hold about one job, and what a provider's own arithmetic makes of it: relations and the lines of the
//! statement. Values only; start at [`Books`].

use std::collections::BTreeMap;

use chrono_tz::Tz;

use crate::day::Instant;
use crate::money::Currency;
use crate::record::{Balance, TransactionKind};
use crate::window::Window;

/// What the database holds about one job, for the provider's arithmetic.
#[derive(Clone, Debug)]
pub struct Books {
    pub zone: Tz,
    pub as_of: Instant,
    /// The last business day of the run.
    pub business_day: chrono::NaiveDate,
    /// Current figures, ordered by account, currency, feed, as_of, subject, item.
    pub balances: Vec<Balance>,
    /// Sums of current, not vanished transactions.
    pub totals: Vec<Total>,
    /// Records whose related record is in the books, summed per related record and kind.
    pub related: Vec<Related>,
    /// Provider ids that occur more than once under different subjects of one feed: id, the subjects.
    pub repeated_ids: Vec<(String, Vec<String>)>,
    pub calibration: BTreeMap<String, String>,
    /// Subjects (sweeps) whose transactions were read to their end.
    pub sealed_subjects: std::collections::BTreeSet<String>,
    /// Feeds with a window that is not sealed, and the spans that are missing.
    pub gaps: Vec<(String, Window)>,
}

/// Count and sums over one group of transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    pub account: String,
    pub feed: String,
    /// The sweep, or empty.
    pub subject: String,
    pub kind: TransactionKind,
    pub status: crate::record::Status,
    pub currency: Currency,
    /// Business day of `changed_at` (else `occurred_at`) in the job's zone; for a record under a subject without either, of
    /// the as-of instant of the run that first read it as it is now.
    pub changed_day: Option<chrono::NaiveDate>,
    pub count: i64,
    /// Signed sum.
    pub amount_minor: i64,
    /// Sum of stated fees in the same currency.
    pub fee_minor: i64,
}

/// All records of one kind that name the same related record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    pub account: String,
    pub related_id: String,
    pub reference: Option<String>,
    pub kind: TransactionKind,
    pub currency: Currency,
    /// Signed sum of the naming records.
    pub amount_minor: i64,
    /// Signed amount of the record they name.
    pub related_amount_minor: i64,
    pub related_currency: Currency,
    /// Newest `occurred_at` of the naming records.
    pub at: Option<Instant>,
}

/// What a figure is made of, and so with which sign a missing row shows in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// A balance, or a sum of credits: a missing row leaves its signed amount.
    Signed,
    /// A sum of debits without their sign: a missing row leaves its amount turned.
    Debits,
    /// A sum of fees: a missing row leaves its fee.
    Fees,
}

/// One relation looked at. `stated - computed` is the residual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `R1`; the provider's name is put before it.
    pub name: &'static str,
    /// True for a sum of members (`settlement_mismatch`), false for `balance_residual`.
    pub settlement: bool,
    /// Shown in the statement only, unless `strict_balance`.
    pub advisory: bool,
    pub account: String,
    /// The sweep, the payment, or empty: part of the discrepancy's identity.
    pub subject: String,
    pub reference: Option<String>,
    pub currency: Currency,
    pub stated_minor: i64,
    pub computed_minor: i64,
    pub at: Instant,
    /// Day of the stated figure in the job's zone.
    pub business_day: chrono::NaiveDate,
    /// How a row that is missing shows in the residual; None where the figures are counts, no money.
    pub sense: Option<Sense>,
    /// In words: which figures, what is the likely loss. May be empty where nothing is left over.
    pub detail: String,
}

/// One line of the proof of one account, currency and day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    pub account: String,
    pub currency: Currency,
    pub business_day: chrono::NaiveDate,
    /// Order inside the day.
    pub position: u32,
    pub line: StatementItem,
    /// Signed effect on the balance; for opening, closing and residual the figure itself.
    pub amount_minor: i64,
    /// Where the figure is from: `sweep 5d02…`, `balance report`, `rows`.
    pub source: String,
}

/// What a statement line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementItem {
    Opening,
    /// Explained by this kind: `payment`, `fee`, `deposit`, `note`, `settlement`, …
    Explained(String),
    Closing,
    /// closing - opening - explained; 0 when all is explained.
    Residual,
}
