//! Exact amounts. Text is read digit by digit into integer minor units; there is no floating point in this house.
//!
//! Knows: ISO 4217 currencies and their exponents (digits after the decimal sign: PEN 2, JPY 0, KWD 3).
//! Does not know: who sent the text, nor which side of the books it stands on.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An ISO 4217 alphabetic code with its exponent. Only real currencies exist as a value of this type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

impl Currency {
    /// The three upper-case letters.
    pub fn code(&self) -> &str {
        // The constructor only takes ASCII letters.
        std::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// Digits after the decimal sign of one major unit (ISO 4217 "minor unit").
    pub fn exponent(&self) -> u32 {
        u32::from(self.exponent)
    }

    /// Minor units in one major unit: 100 for PEN, 1 for JPY, 1000 for KWD.
    pub fn scale(&self) -> i64 {
        10_i64.pow(self.exponent())
    }
}

impl FromStr for Currency {
    type Err = AmountError;

    /// Takes exactly the upper-case code. Lower case, unknown codes and codes without minor units are refused:
    /// a currency that is nearly right is a wrong book.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| AmountError::UnknownCurrency)?;
        if !bytes.iter().all(u8::is_ascii_uppercase) {
            return Err(AmountError::UnknownCurrency);
        }
        // The providers' own currencies, spared the table search: this runs for every row.
        let exponent = match &bytes {
            b"PEN" | b"USD" | b"GBP" | b"EUR" | b"THB" | b"COP" | b"IDR" => 2,
            _ => {
                let known = iso_currency::Currency::from_code(text).ok_or(AmountError::UnknownCurrency)?;
                u8::try_from(known.exponent().ok_or(AmountError::UnknownCurrency)?)
                    .map_err(|_| AmountError::UnknownCurrency)?
            }
        };
        Ok(Self { code: bytes, exponent })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What a written amount counts: whole currency units with decimals, or minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `12.34` is twelve pounds and thirty-four pence.
    Major,
    /// `1234` is the same; decimals may only be zeros.
    Minor,
}

/// Why a text is not an exact amount. The text itself is left out: it may be anything, a card number included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    #[error("is not a plain decimal number")]
    NotADecimal,
    #[error("has more decimals than the currency")]
    TooPrecise,
    #[error("has a fraction of a minor unit; the amount unit is probably wrong")]
    SubMinor,
    #[error("does not fit 64-bit minor units")]
    TooLarge,
    #[error("is not a known ISO 4217 currency in upper case")]
    UnknownCurrency,
}

/// Reads `-?[0-9]+(\.[0-9]+)?` exactly into minor units. No sign `+`, no exponent, no separators, no blanks, no rounding.
/// Decimals beyond the currency's exponent are accepted only when they are zeros.
pub fn parse_minor(text: &str, currency: Currency, unit: Unit) -> Result<i64, AmountError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(AmountError::NotADecimal),
        None => (digits, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(AmountError::NotADecimal);
    }
    let (exponent, too_fine) = match unit {
        Unit::Major => (currency.exponent() as usize, AmountError::TooPrecise),
        Unit::Minor => (0, AmountError::SubMinor),
    };
    let (kept, cut) = fraction.split_at(fraction.len().min(exponent));
    if cut.bytes().any(|b| b != b'0') {
        return Err(too_fine);
    }
    let padding = exponent - kept.len();
    let mut minor: i64 = 0;
    // Counted downwards below zero, so that i64::MIN needs no special case.
    for digit in whole
        .bytes()
        .chain(kept.bytes())
        .chain(std::iter::repeat_n(b'0', padding))
    {
        minor = minor
            .checked_mul(10)
            .and_then(|m| m.checked_sub(i64::from(digit - b'0')))
            .ok_or(AmountError::TooLarge)?;
    }
    if text.starts_with('-') {
        Ok(minor)
    } else {
        minor.checked_neg().ok_or(AmountError::TooLarge)
    }
}

/// Writes minor units as a plain decimal in major units, `.` as decimal sign: `-5` PEN becomes `-0.05`.
pub fn format_minor(minor: i64, currency: Currency) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let magnitude = minor.unsigned_abs();
    let scale = currency.scale().unsigned_abs();
    match currency.exponent() as usize {
        0 => format!("{sign}{magnitude}"),
        width => format!("{sign}{}.{:0width$}", magnitude / scale, magnitude % scale),
    }
}

/// What two sums of a query make together: of `amount >> 32` and of `amount & 4294967295`. SQLite's own sum of the amounts fails
/// beyond 64 bits.
#[must_use]
pub fn joined_halves(high: i64, low: i64) -> i128 {
    (i128::from(high) << 32) + i128::from(low)
}

/// An exact sum as 64 bits hold it; one that does not fit stops at the end of the range. No stated figure lies there, so it
/// agrees with none.
#[must_use]
pub fn fitted(exact: i128) -> i64 {
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cur(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let pen = cur("PEN");
        for (text, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("89.9", Ok(8990)),
            ("-12.34", Ok(-1234)),
            ("19.99", Ok(1999)),
            ("1.2300", Ok(123)),
            ("92233720368547758.07", Ok(i64::MAX)),
            ("-92233720368547758.08", Ok(i64::MIN)),
            ("92233720368547758.08", Err(AmountError::TooLarge)),
            ("1.235", Err(AmountError::TooPrecise)),
            ("1e3", Err(AmountError::NotADecimal)),
            ("1,234.00", Err(AmountError::NotADecimal)),
            ("+5", Err(AmountError::NotADecimal)),
            (".5", Err(AmountError::NotADecimal)),
            ("5.", Err(AmountError::NotADecimal)),
            ("", Err(AmountError::NotADecimal)),
            ("-", Err(AmountError::NotADecimal)),
            ("NaN", Err(AmountError::NotADecimal)),
            ("١", Err(AmountError::NotADecimal)),
        ] {
            assert_eq!(parse_minor(text, pen, Unit::Major), expected, "{text}");
        }
        assert_eq!(parse_minor("1000.00", cur("THB"), Unit::Minor), Ok(1000));
        assert_eq!(
            parse_minor("1000.50", cur("THB"), Unit::Minor),
            Err(AmountError::SubMinor)
        );
        assert_eq!(parse_minor("12", cur("JPY"), Unit::Major), Ok(12));
        assert_eq!(parse_minor("1.234", cur("KWD"), Unit::Major), Ok(1234));
    }

    #[test]
    fn only_real_upper_case_currencies_exist() {
        for bad in ["pen", "PE", "PENN", "ZZZ", "", "XXX"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
        assert_eq!(
            (cur("CLP").exponent(), cur("KWD").exponent(), cur("COP").exponent()),
            (0, 3, 2)
        );
    }

    proptest! {
        #[test]
        fn writing_and_reading_again_changes_nothing(minor: i64, code in prop::sample::select(vec!["PEN", "JPY", "KWD", "CLP", "USD"])) {
            let currency = cur(code);
            prop_assert_eq!(parse_minor(&format_minor(minor, currency), currency, Unit::Major), Ok(minor));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".{0,40}") {
            let _ = parse_minor(&text, cur("PEN"), Unit::Major);
        }
    }
}
