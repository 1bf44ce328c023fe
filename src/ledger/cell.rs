//! One cell -> one value, exactly, or the reason why not. Pure.
//!
//! Reasons never repeat a cell: it may hold anything. For amounts and times they show its *shape* (every digit a 9, every
//! letter an a), which is what a person needs to mend the settings.

use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::day::{Instant, local_instant, parse_instant, start_of_day};
use crate::money::{AmountError, Currency, Unit, parse_minor};

/// Bytes of a reference, an id or a word; more is no key but a mistaken column.
const MAX_KEY: usize = 512;
/// Characters of a shape shown.
const MAX_SHAPE: usize = 32;

/// A key (reference, id, account) or word, as it stands in the cell. Never trimmed: two keys that differ by a blank are
/// two keys, so a blank at an end is put aside instead of guessed away.
pub(super) fn key(text: &str) -> Result<&str, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > MAX_KEY {
        return Err(format!("is longer than {MAX_KEY} bytes; is it the right column?"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a line end, a tab or another control character".to_owned());
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err("has a blank before or behind it".to_owned());
    }
    if text.starts_with("=\"") {
        return Err("is a spreadsheet formula (=\"…\") instead of text; export the column as plain text".to_owned());
    }
    if is_scientific(text) {
        return Err(
            "is in scientific notation: a spreadsheet has destroyed the id; export the column as plain text".to_owned(),
        );
    }
    Ok(text)
}

/// `1.23E+15`, as spreadsheets write long numbers. Ids like `12E5` without the sign stay ids.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['E', 'e']) else {
        return false;
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    exponent.strip_prefix(['+', '-']).is_some_and(digits) && digits(whole.trim_start_matches('-')) && digits(fraction)
}

/// An amount in minor units. `decimal` is `.` or `,`; nothing else is a decimal sign, and no sign separates thousands.
pub(super) fn amount(text: &str, currency: Currency, unit: Unit, decimal: u8) -> Result<i64, String> {
    let other = if decimal == b',' { '.' } else { ',' };
    let plain = if decimal == b'.' || !text.contains(',') {
        None
    } else {
        Some(text.replacen(',', ".", 1))
    };
    if text.contains(other) {
        return Err(not_a_decimal(text, decimal));
    }
    let plain = plain.as_deref().unwrap_or(text);
    if looks_like_thousands(plain, currency, unit) {
        return Err(format!(
            "could be read with or without a thousands separator{}; write it without one, with {} decimals",
            shape(text),
            if unit == Unit::Minor { 0 } else { currency.exponent() }
        ));
    }
    parse_minor(plain, currency, unit).map_err(|error| match error {
        AmountError::NotADecimal => not_a_decimal(text, decimal),
        other => format!("{other}{}", shape(text)),
    })
}

/// `1.230` in soles: 1.23, or one thousand two hundred and thirty? Both readings are possible, so it is neither.
fn looks_like_thousands(text: &str, currency: Currency, unit: Unit) -> bool {
    let Some((whole, fraction)) = text.trim_start_matches('-').split_once('.') else {
        return false;
    };
    fraction.len() == 3
        && (1..=3).contains(&whole.len())
        && !whole.starts_with('0')
        && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        && (unit == Unit::Minor || currency.exponent() != 3)
}

/// The reason in the words of whoever exported the file.
fn not_a_decimal(text: &str, decimal: u8) -> String {
    let decimal = char::from(decimal);
    let why = if text.is_empty() {
        "is empty"
    } else if text.starts_with('=') {
        "is a spreadsheet formula instead of a number"
    } else if text.trim() != text {
        "has a blank before or behind it"
    } else if text.starts_with('(') || text.ends_with(')') {
        "is in parentheses; write negative amounts with a minus in front"
    } else if text.len() > 1 && text.ends_with(['-', '\u{2212}']) {
        "has its minus behind it; write negative amounts with a minus in front"
    } else if text.contains(['e', 'E']) && text.bytes().all(|b| b.is_ascii_digit() || b"eE+-.,".contains(&b)) {
        "is in scientific notation"
    } else if text.starts_with('+') {
        "has a plus sign"
    } else if text
        .chars()
        .any(|c| !c.is_ascii_digit() && !"-.,'\u{2019} \u{a0}\u{202f}".contains(c))
    {
        "holds a currency sign or other text"
    } else if text.starts_with(decimal) || text.starts_with(&format!("-{decimal}")) || text.ends_with(decimal) {
        "lacks digits before or behind its decimal sign"
    } else if text.chars().any(|c| !c.is_ascii_digit() && c != '-') {
        return format!(
            "holds a thousands separator, or a decimal sign other than the configured {decimal:?}{}",
            shape(text)
        );
    } else {
        "is not a plain decimal number"
    };
    format!("{why}{}", shape(text))
}

/// ` (it looks like "9,999.99")`: digits and letters masked, the rest kept; nothing for an empty cell.
fn shape(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut masked: String = text
        .chars()
        .take(MAX_SHAPE)
        .map(|c| match c {
            c if c.is_ascii_digit() => '9',
            c if c.is_alphabetic() => 'a',
            c if c.is_control() || c.is_numeric() => '?',
            c => c,
        })
        .collect();
    if text.chars().count() > MAX_SHAPE {
        masked.push('…');
    }
    format!(" (it looks like \"{masked}\")")
}

/// How times are written in this ledger.
pub(super) enum Times {
    Rfc3339,
    Format {
        format: String,
        items: Vec<Item<'static>>,
        zone: Option<Tz>,
    },
}

impl Times {
    /// `zone` is for formats without an offset.
    ///
    /// # Errors
    /// A format with letters that do not exist.
    pub(super) fn new(format: Option<&str>, zone: Option<Tz>) -> Result<Self, String> {
        let Some(format) = format else {
            return Ok(Self::Rfc3339);
        };
        let items = StrftimeItems::new(format).parse_to_owned().map_err(|_| {
            format!("date_format {format:?} is not valid strftime; write for instance \"%d/%m/%Y %H:%M:%S\"")
        })?;
        Ok(Self::Format {
            format: format.to_owned(),
            items,
            zone,
        })
    }

    /// The instant a cell names. A day without a time is its first instant; a time that the clock change repeats is the
    /// earlier one; a time that it skips does not exist.
    pub(super) fn read(&self, text: &str) -> Result<Instant, String> {
        match self {
            Self::Rfc3339 => parse_instant(text).ok_or_else(|| {
                format!(
                    "is not a time like 2026-03-04T15:22:09Z{}; set date_format and timezone if it is written otherwise",
                    shape(text)
                )
            }),
            Self::Format { format, items, zone } => {
                let wrong = || format!("is not a time of the form {format:?}{}", shape(text));
                let mut parsed = Parsed::new();
                chrono::format::parse(&mut parsed, text, items.iter()).map_err(|_| wrong())?;
                let at = Self::instant(&parsed, *zone, &wrong)?;
                plausible(at).ok_or_else(wrong)
            }
        }
    }

    fn instant(parsed: &Parsed, zone: Option<Tz>, wrong: &dyn Fn() -> String) -> Result<DateTime<Utc>, String> {
        if parsed.offset().is_some() {
            return parsed
                .to_datetime()
                .map(|at| at.with_timezone(&Utc))
                .map_err(|_| wrong());
        }
        if parsed.timestamp().is_some() {
            return parsed
                .to_naive_datetime_with_offset(0)
                .map(|at| at.and_utc())
                .map_err(|_| wrong());
        }
        let zone = zone.ok_or("has no offset, and the settings name no timezone for it; set timezone")?;
        match parsed.to_naive_datetime_with_offset(0) {
            Ok(local) => local_instant(local, zone)
                .ok_or_else(|| format!("names a time that the clock change in {zone} skipped; it does not exist")),
            Err(_) if parsed.hour_mod_12().is_none() => parsed
                .to_naive_date()
                .map(|day| start_of_day(day, zone))
                .map_err(|_| wrong()),
            Err(_) => Err(wrong()),
        }
    }
}

/// Whole milliseconds, no leap second, a year that a book can hold: two-digit years read as four land in antiquity.
fn plausible(at: DateTime<Utc>) -> Option<Instant> {
    let year = chrono::Datelike::year(&at);
    ((1970..=9998).contains(&year) && at.timestamp_subsec_millis() < 1000)
        .then(|| DateTime::from_timestamp_millis(at.timestamp_millis()))
        .flatten()
}
