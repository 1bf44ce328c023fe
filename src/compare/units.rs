//! The guard against a wrong amount unit: all pairs off by exactly ×100 or ÷100. Pure.

use super::rows::{Entry, Record};
use crate::failure::{Class, Failure};

/// One pair may be a slip of a decimal point; it proves nothing.
const ENOUGH: u64 = 2;

/// Pairs seen so far.
pub struct Units {
    pairs: u64,
    hundredfold: u64,
    hundredth: u64,
}

impl Units {
    /// `equal`: pairs passed over as equal whose amount is not zero.
    pub fn new(equal: u64) -> Self {
        Self {
            pairs: equal,
            hundredfold: 0,
            hundredth: 0,
        }
    }

    /// Takes note of a pair. Zero is zero in every unit, and another currency is another fault.
    pub fn pair(&mut self, record: &Record, entry: &Entry) {
        if record.currency != entry.currency || (record.amount == 0 && entry.amount == 0) {
            return;
        }
        let hundredfold = |small: i64, large: i64| small.checked_mul(100) == Some(large);
        self.pairs += 1;
        self.hundredfold += u64::from(hundredfold(entry.amount, record.amount));
        self.hundredth += u64::from(hundredfold(record.amount, entry.amount));
    }

    /// A factor of 100 in every pair is a setting, not a thousand mismatches.
    pub fn check(&self, job: &str) -> Result<(), Failure> {
        let (factor, side) = match self.pairs {
            pairs if pairs < ENOUGH => return Ok(()),
            pairs if pairs == self.hundredfold => ("100 times", "larger"),
            pairs if pairs == self.hundredth => ("100 times", "smaller"),
            _ => return Ok(()),
        };
        Err(Failure::new(
            Class::Config,
            format!(
                "{job}: unit misconfigured: in all {} pairs the provider's amount is exactly {factor} {side} than the \
                 ledger's; check amount_unit of [provider] and [ledger]; nothing was written",
                self.pairs
            ),
        ))
    }
}
