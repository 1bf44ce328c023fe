//! What a discrepancy is about, as text that stays the same while its kind changes, and the number made of it. Pure.

use sha2::{Digest, Sha256};

use super::rows::{Entry, Record, damaged};
use crate::failure::Failure;

/// What tells one finding under a reference from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suffix {
    which: Which,
    /// Number among findings whose text would be the same.
    pub ordinal: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Which {
    #[default]
    Plain,
    Record,
    Entry,
}

impl Suffix {
    pub fn record() -> Self {
        Self {
            which: Which::Record,
            ordinal: 0,
        }
    }

    pub fn entry() -> Self {
        Self {
            which: Which::Entry,
            ordinal: 0,
        }
    }

    pub fn is_plain(self) -> bool {
        self.which == Which::Plain
    }
}

/// `in|ORD-1`, `in|id:pay_7` where the provider has no reference, `in|ORD-1#pay_7` for one of several.
pub fn text(record: Option<&Record>, entry: Option<&Entry>, suffix: Suffix) -> String {
    let mut text = match (record, entry) {
        (Some(r), _) => match &r.reference {
            Some(reference) => format!("{}|{reference}", r.direction),
            None => format!("{}|id:{}", r.direction, r.provider_id),
        },
        (None, Some(e)) if e.reference.is_empty() => format!("{}|line:{}:{}", e.direction, e.source, e.source_line),
        (None, Some(e)) => format!("{}|{}", e.direction, e.reference),
        (None, None) => String::new(),
    };
    match (suffix.which, record, entry) {
        (Which::Record, Some(r), _) => text.push_str(&format!("#{}", r.provider_id)),
        // Without an id of the ledger's own only its number among its like is stable: lines move when files grow.
        (Which::Entry, _, Some(e)) => {
            let key = e.ledger_id.as_deref().or(e.provider_id.as_deref()).unwrap_or("entry");
            text.push_str(&format!("#{key}"));
        }
        _ => {}
    }
    if suffix.ordinal > 0 {
        text.push_str(&format!("~{}", suffix.ordinal));
    }
    text
}

/// First eight bytes of SHA-256 over job and identity.
pub fn number(job: &str, identity: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(job)
        .chain_update([0])
        .chain_update(identity)
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The number as it stands in the database: 16 hex digits.
pub fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// Back from the database.
pub fn from_hex(text: &str) -> Result<u64, Failure> {
    u64::from_str_radix(text, 16).map_err(|_| damaged("discrepancies.discrepancy_id"))
}
