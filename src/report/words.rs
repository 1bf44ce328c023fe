//! Words a person reads in mails, on the page and in subjects, apart from the templates' own sentences and the causes and
//! actions per kind (those stand in `reports/discrepancies.sql`, where a settings folder can replace them).
//!
//! Pure text.

use crate::config::Locale;
use crate::day::Instant;
use crate::money::Currency;
use crate::record::{Kind, Verdict};

/// A verdict in plain words; capitals where somebody must act before the numbers can be trusted.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reconciled => "reconciled",
        Verdict::ReconciledWithPending => "reconciled with pending items",
        Verdict::ReconciledWithWarnings => "reconciled with warnings",
        Verdict::Discrepancies => "discrepancies",
        Verdict::Incomplete => "INCOMPLETE",
        Verdict::NotReconciled => "NOT RECONCILED",
        Verdict::Failed => "FAILED",
    }
}

/// One sentence under the verdict. `unanswered`: the provider is asked by key, and not every key got an answer.
pub fn verdict_means(verdict: Verdict, unanswered: bool) -> &'static str {
    match verdict {
        Verdict::ReconciledWithWarnings if unanswered => {
            "Both sides agree wherever there was an answer; not every key of the ledger got one."
        }
        Verdict::Discrepancies if unanswered => {
            "Not every key of the ledger got an answer; of those that did, the differences are real."
        }
        Verdict::Reconciled => "Everything wanted was read to its end, and both sides agree.",
        Verdict::ReconciledWithPending => {
            "Everything wanted was read to its end, and both sides agree but for timing differences inside their grace."
        }
        Verdict::ReconciledWithWarnings => {
            "Everything wanted was read to its end and both sides agree; some rows need a look."
        }
        Verdict::Discrepancies => "Everything wanted was read to its end; the differences are real.",
        Verdict::Incomplete => {
            "Not everything wanted was read to its end. Nothing is called missing at the provider where the reading has a gap."
        }
        Verdict::NotReconciled => "One side is missing, so the two were not compared.",
        Verdict::Failed => {
            "The run failed before its reports were made. The figures below are those of the last comparison."
        }
    }
}

/// A kind as a heading.
pub fn kind(kind: &str) -> &str {
    match kind.parse::<Kind>() {
        Ok(Kind::MissingInLedger) => "missing in the books",
        Ok(Kind::MissingInProvider) => "missing at the provider",
        Ok(Kind::AmountMismatch) => "amount differs",
        Ok(Kind::CurrencyMismatch) => "currency differs",
        Ok(Kind::DirectionMismatch) => "direction differs",
        Ok(Kind::FeeMismatch) => "fee differs",
        Ok(Kind::StatusMismatch) => "status differs",
        Ok(Kind::ReversedAfterBooking) => "taken back after booking",
        Ok(Kind::ChangedAfterFinal) => "changed after it was final",
        Ok(Kind::Vanished) => "not listed any more",
        Ok(Kind::DuplicateInProvider) => "twice at the provider",
        Ok(Kind::DuplicateInLedger) => "twice in the books",
        Ok(Kind::CrossProviderDuplicate) => "settled at two providers",
        Ok(Kind::Ambiguous) => "several candidates",
        Ok(Kind::Suggested) => "probably belong together",
        Ok(Kind::StalePending) => "open for too long",
        Ok(Kind::BalanceResidual) => "balance does not close",
        Ok(Kind::SettlementMismatch) => "settlement differs from its members",
        Ok(Kind::MissingInBank) => "missing at the bank",
        Ok(Kind::Unclassified) => "word not named in the settings",
        Ok(Kind::Unreadable) => "row not readable",
        Ok(Kind::IncompleteWindow) => "gap in the reading",
        Ok(Kind::LookupFailed) => "asked about without an answer",
        Ok(Kind::NotCheckable) => "the books lack the provider's key",
        Err(()) => match kind {
            "matched" => "matched",
            "pending" => "pending inside their grace",
            "excluded" => "excluded",
            other => other,
        },
    }
}

/// Foreign text as it may stand in a mail or on a page: control characters and those that turn the direction of
/// writing become `�`, long texts are cut. Markup is the templates' business.
pub fn shown(text: &str) -> String {
    /// Characters of one value in a body; the CSV has it whole.
    const LONGEST: usize = 200;
    shown_up_to(text, LONGEST)
}

/// Our own sentence with foreign parts in it: as [`shown`], but long enough for what it says at its end: what to do.
pub fn told(text: &str) -> String {
    const LONGEST: usize = 1500;
    shown_up_to(text, LONGEST)
}

/// The text with a full stop at its end, if it has no mark of its own.
pub fn sentence(text: &str) -> String {
    match text.chars().last() {
        Some('.' | '!' | '?' | '…') | None => text.to_owned(),
        Some(_) => format!("{text}."),
    }
}

/// A number of bytes for people: `417 bytes`, `21 KB`, `3.4 MB`.
pub fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} KB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

/// The first letter large, as at the beginning of a line.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(chars).collect()
}

/// An instant in a zone, to the minute: `2026-03-05 02:30 America/Lima`.
pub fn local(at: Instant, zone: chrono_tz::Tz) -> String {
    format!("{} {}", at.with_timezone(&zone).format("%Y-%m-%d %H:%M"), zone.name())
}

fn shown_up_to(text: &str, longest: usize) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    let mut out: String = text
        .chars()
        .take(longest)
        .map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(longest).is_some() {
        out.push('…');
    }
    out
}

/// Minor units with the locale's decimal sign, as in the CSVs. An unknown code is shown in minor units, and says so.
pub fn money(minor: i64, currency: &str, locale: Locale) -> String {
    match currency.parse::<Currency>() {
        Ok(currency) => decimal(&crate::money::format_minor(minor, currency), locale),
        Err(_) => format!("{minor} (minor units)"),
    }
}

/// A plain decimal text with the locale's decimal sign.
pub fn decimal(text: &str, locale: Locale) -> String {
    text.replace('.', locale.decimal.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_every_verdict_has_words() {
        for each in Kind::ALL {
            assert_ne!(kind(each.as_str()), each.as_str());
        }
        for each in Verdict::ALL {
            assert!(!verdict(*each).is_empty() && verdict_means(*each, true).ends_with('.'));
        }
    }

    #[test]
    fn nothing_that_moves_the_cursor_is_shown() {
        assert_eq!(shown("a\r\nBcc: x\u{202e}\0\u{1b}[31m"), "a��Bcc: x���[31m");
        assert_eq!(shown(&"x".repeat(300)).chars().count(), 201);
    }

    #[test]
    fn sums_carry_the_locales_decimal_sign() {
        let german = Locale {
            name: "de",
            decimal: ',',
            separator: ';',
        };
        assert_eq!(money(-5, "PEN", german), "-0,05");
        assert_eq!(money(1234, "JPY", german), "1234");
        assert_eq!(money(7, "??", german), "7 (minor units)");
    }
}
