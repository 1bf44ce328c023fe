//! What the books are made of: a provider's transaction, a stated balance, a ledger entry, a row that could not be read.
//!
//! Plain values, no behaviour beyond their names. The words are those of the database (`schema.sql`) and of `FIELD.md`.

use crate::day::Instant;
use crate::money::Currency;

/// Declares a closed set of words with one text form, used alike in Rust, SQL, settings, logs and mail.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// Every word of the set, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it stands in the database and in files.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Which way money moves, seen from the merchant.
    Direction { In = "in", Out = "out" }
}

words! {
    /// What a provider's or the ledger's own status means for money.
    Status {
        /// Not decided yet.
        Open = "open",
        /// The money moved.
        Settled = "settled",
        /// The money did not move, or came back.
        Failed = "failed",
        /// A word the settings do not name; never guessed.
        Unknown = "unknown",
    }
}

words! {
    /// `transactions.kind`.
    TransactionKind {
        Payment = "payment", Payout = "payout", Refund = "refund", Fee = "fee", TopUp = "top_up",
        MiscPayment = "misc_payment", MiscReturn = "misc_return", Transfer = "transfer",
        Deposit = "deposit", Cashout = "cashout", Withdraw = "withdraw",
        /// A customer's mandate, no money: its status is compared, its amount is 0.
        Binding = "binding",
        /// A type the provider's document does not name; becomes `unclassified`.
        Unknown = "unknown",
    }
}

/// One record as a provider serves it, read exactly. The job and the provider's name are added when it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The provider's account, wallet or merchant inside the job (`GBP3`, `456`); empty where there is only one.
    pub account: String,
    /// The feed it was read from (`INTERFACE.md` section 8).
    pub feed: &'static str,
    /// What the record was listed under, when a feed hangs on a subject: the sweep's id. Empty otherwise.
    pub subject: String,
    /// The provider's own id, exact text of the raw token.
    pub provider_id: String,
    /// The merchant's reference.
    pub reference: Option<String>,
    /// Provider id of the record this one belongs to (refund -> payment, fee -> payment).
    pub related_id: Option<String>,
    pub direction: Direction,
    pub kind: TransactionKind,
    pub currency: Currency,
    /// Signed from the merchant's side: in +, out -. A reversed fee has the sign of its effect.
    pub amount_minor: i64,
    /// Positive = cost. None where the provider does not state a fee.
    pub fee_minor: Option<i64>,
    pub fee_currency: Option<Currency>,
    pub status: Status,
    /// Whether the provider's document calls this status final: a later change is then a finding.
    pub is_final: bool,
    /// The provider's word, verbatim.
    pub provider_status: String,
    pub occurred_at: Option<Instant>,
    pub changed_at: Option<Instant>,
    /// The record's own arithmetic that does not close (`tupay R8`).
    pub residuals: Vec<RowResidual>,
}

/// A relation inside one record that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowResidual {
    /// Number of the relation in the provider's document, without the provider's name: `R8`.
    pub relation: String,
    /// Minor units of the record's currency.
    pub stated_minor: i64,
    pub computed_minor: i64,
    /// `amount` against `requestedAmount`, in words.
    pub detail: String,
}

/// One figure a provider stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub account: String,
    pub feed: &'static str,
    /// What the figure is about, when it is not simply the account now: the sweep's id, the report's day. Empty otherwise.
    pub subject: String,
    /// The instant or the day's label the provider gives; for a figure without a time of its own, when it was fetched, or,
    /// when it is about a subject, the last millisecond of the first window that listed it.
    pub as_of: Instant,
    pub currency: Currency,
    /// The provider's field name in snake_case.
    pub item: String,
    /// Minor units, or the plain count for items that end in `_count`.
    pub amount_minor: i64,
}

/// A row that could not be read exactly: kept, counted, reported, never guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where: JSON path (`data[17].amount`) or line and column of a file.
    pub place: String,
    /// Why, without the value.
    pub reason: String,
}

/// What can still be read of a file's row that was put aside: which payment it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub reference: Option<String>,
    pub provider_id: Option<String>,
    pub direction: Option<Direction>,
    pub x_external_id: Option<String>,
    pub reference_no: Option<String>,
    pub status: Option<LedgerStatus>,
    pub currency: Option<Currency>,
    /// Signed from the merchant's side.
    pub amount_minor: Option<i64>,
    pub booked_at: Option<Instant>,
}

/// One entry of the merchant's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The merchant's id of the entry, shown to people.
    pub ledger_id: Option<String>,
    pub reference: String,
    pub provider_id: Option<String>,
    pub account: Option<String>,
    pub direction: Direction,
    pub currency: Currency,
    /// Signed from the merchant's side.
    pub amount_minor: i64,
    pub fee_minor: Option<i64>,
    pub status: LedgerStatus,
    /// The ledger's own word.
    pub ledger_status: Option<String>,
    pub booked_at: Option<Instant>,
    /// Further keys that by-id providers ask for.
    pub x_external_id: Option<String>,
    pub reference_no: Option<String>,
    /// File (relative to the settings file) or query the entry came from.
    pub source: String,
    /// Line of the file or row of the query, from 1; a header line counts.
    pub source_line: u64,
}

words! {
    /// What the ledger's word means; `excluded` entries are no part of the money flow and are only counted.
    LedgerStatus { Settled = "settled", Open = "open", Failed = "failed", Excluded = "excluded", Unknown = "unknown" }
}

words! {
    /// Kinds of discrepancies, in the order of their priority in lists.
    Kind {
        MissingInLedger = "missing_in_ledger",
        MissingInProvider = "missing_in_provider",
        AmountMismatch = "amount_mismatch",
        CurrencyMismatch = "currency_mismatch",
        DirectionMismatch = "direction_mismatch",
        FeeMismatch = "fee_mismatch",
        StatusMismatch = "status_mismatch",
        ReversedAfterBooking = "reversed_after_booking",
        ChangedAfterFinal = "changed_after_final",
        Vanished = "vanished",
        DuplicateInProvider = "duplicate_in_provider",
        DuplicateInLedger = "duplicate_in_ledger",
        CrossProviderDuplicate = "cross_provider_duplicate",
        Ambiguous = "ambiguous",
        Suggested = "suggested",
        StalePending = "stale_pending",
        BalanceResidual = "balance_residual",
        SettlementMismatch = "settlement_mismatch",
        MissingInBank = "missing_in_bank",
        Unclassified = "unclassified",
        Unreadable = "unreadable",
        IncompleteWindow = "incomplete_window",
        /// Asked about by key, and no usable answer: nothing is known, nothing is missing.
        LookupFailed = "lookup_failed",
        /// The ledger lacks the key that the provider is asked by.
        NotCheckable = "not_checkable",
    }
}

impl Kind {
    /// Worth a look, but no difference between the two sides.
    pub fn is_warning(self) -> bool {
        matches!(self, Self::Unclassified | Self::LookupFailed | Self::NotCheckable)
    }
}

words! {
    /// The verdict of a job's day, best first.
    Verdict {
        Reconciled = "reconciled",
        ReconciledWithPending = "reconciled_with_pending",
        ReconciledWithWarnings = "reconciled_with_warnings",
        Discrepancies = "discrepancies",
        Incomplete = "incomplete",
        NotReconciled = "not_reconciled",
        Failed = "failed",
    }
}
