//! What counts as a card number in a text: digits in groups, the length of a brand, its first digits, its check digit. Pure.
//!
//! About one in ten random numbers passes the check digit alone; brand and length bring that down to one in fifty, and
//! [`super::scrub`] leaves the fields alone that hold ids and references.

/// Digits of the shortest and of the longest card number (ISO/IEC 7812).
pub(super) const MIN_DIGITS: usize = 13;
pub(super) const MAX_DIGITS: usize = 19;

/// Digits that may be kept (PCI DSS 3.4.1).
pub(super) const SHOWN_FIRST: usize = 6;
pub(super) const SHOWN_LAST: usize = 4;

/// No longer group of digits is written when a card number is written in groups.
const MAX_GROUP: usize = 8;

/// First and last six-digit prefix of a brand's range, and its lengths.
const BRANDS: &[(u32, u32, std::ops::RangeInclusive<usize>)] = &[
    (400_000, 499_999, 13..=13), // Visa
    (400_000, 499_999, 16..=16),
    (400_000, 499_999, 19..=19),
    (510_000, 559_999, 16..=16), // Mastercard
    (222_100, 272_099, 16..=16),
    (340_000, 349_999, 15..=15), // American Express
    (370_000, 379_999, 15..=15),
    (601_100, 601_199, 16..=19), // Discover
    (644_000, 659_999, 16..=19),
    (620_000, 629_999, 16..=19), // UnionPay
    (352_800, 358_999, 16..=19), // JCB
    (300_000, 305_999, 14..=19), // Diners Club
    (309_500, 309_599, 14..=19),
    (360_000, 369_999, 14..=19),
    (380_000, 399_999, 14..=19),
    (501_800, 501_899, 13..=19), // Maestro
    (502_000, 502_099, 13..=19),
    (503_800, 503_899, 13..=19),
    (589_300, 589_399, 13..=19),
    (630_400, 630_499, 13..=19),
    (675_900, 675_999, 13..=19),
    (676_100, 676_399, 13..=19),
    (220_000, 220_499, 16..=19), // Mir
    (979_200, 979_299, 16..=16), // Troy
    (506_700, 506_799, 16..=16), // Elo
    (606_282, 606_282, 16..=16), // Hipercard
];

/// Whether these digits (nothing else) are a card number.
pub(super) fn is_card(digits: &[u8]) -> bool {
    let Some(first) = digits.get(..SHOWN_FIRST) else {
        return false;
    };
    let prefix = first.iter().fold(0, |sum, d| sum * 10 + u32::from(d - b'0'));
    BRANDS
        .iter()
        .any(|(from, until, lengths)| (*from..=*until).contains(&prefix) && lengths.contains(&digits.len()))
        && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let d = u32::from(d - b'0');
            match (i % 2, d) {
                (0, _) => d,
                (_, 5..) => 2 * d - 9,
                _ => 2 * d,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether a text cannot hold a card number. Counting is far cheaper than looking closer, and most texts end here.
pub(super) fn has_too_few_digits(text: &[u8]) -> bool {
    // In pieces whose count fits a byte, sixteen and more bytes are counted at once.
    let digits: usize = text
        .chunks(usize::from(u8::MAX))
        .map(|piece| usize::from(piece.iter().map(|b| u8::from(b.is_ascii_digit())).sum::<u8>()))
        .sum();
    digits < MIN_DIGITS
}

/// Positions of the digits to mask: the middle of every card number in the text, written plain or in groups with single
/// spaces or dashes between them.
pub(super) fn digits_to_mask(text: &[u8]) -> Vec<usize> {
    let mut masked = Vec::new();
    if has_too_few_digits(text) {
        return masked;
    }
    let mut at = 0;
    while let Some(from) = next_group(text, at) {
        at = group_end(text, from);
        // A number that begins at this group: the longest one wins.
        let Some(number) = number_from(text, from) else {
            continue;
        };
        let digits = &number.positions[..number.length];
        masked.extend_from_slice(&digits[SHOWN_FIRST..digits.len() - SHOWN_LAST]);
        at = digits.last().map_or(at, |last| last + 1);
    }
    masked
}

/// Where the digits of a number stand.
struct Number {
    positions: [usize; MAX_DIGITS],
    length: usize,
}

/// Where the next group of digits begins that could open a number.
fn next_group(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += text.get(at..)?.iter().position(u8::is_ascii_digit)?;
        if opens(text, at) {
            return Some(at);
        }
        at = group_end(text, at);
    }
}

fn group_end(text: &[u8], from: usize) -> usize {
    text[from..]
        .iter()
        .position(|b| !b.is_ascii_digit())
        .map_or(text.len(), |length| from + length)
}

/// A number is not the tail of a word or of a decimal fraction; on a card's first track `%B` stands before it.
fn opens(text: &[u8], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|i| text[i]);
    match before(1) {
        Some(b'B') => before(2) == Some(b'%'),
        Some(b'.') => !before(2).is_some_and(|b| b.is_ascii_digit()),
        Some(b) => !b.is_ascii_alphanumeric() && b != b'_',
        None => true,
    }
}

/// Nor is it the head of a word or of a decimal number.
fn closes(text: &[u8], end: usize) -> bool {
    match text.get(end) {
        Some(b'.') => !text.get(end + 1).is_some_and(u8::is_ascii_digit),
        Some(b) => !b.is_ascii_alphanumeric() && *b != b'_',
        None => true,
    }
}

/// The longest card number that begins with the group at `from`.
fn number_from(text: &[u8], from: usize) -> Option<Number> {
    let mut positions = [0; MAX_DIGITS];
    let mut digits = [0; MAX_DIGITS];
    let (mut length, mut found, mut longest_group) = (0, 0, 0);
    let mut at = from;
    loop {
        let end = group_end(text, at);
        longest_group = longest_group.max(end - at);
        if length + (end - at) > MAX_DIGITS {
            break;
        }
        for (position, digit) in (at..end).zip(&text[at..end]) {
            positions[length] = position;
            digits[length] = *digit;
            length += 1;
        }
        let in_one_piece = length == end - at;
        let written_so = in_one_piece || longest_group <= MAX_GROUP;
        if length >= MIN_DIGITS && written_so && closes(text, end) && is_card(&digits[..length]) {
            found = length;
        }
        let separated = matches!(text.get(end), Some(b' ' | b'-')) && text.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !separated {
            break;
        }
        at = end + 1;
    }
    (found > 0).then_some(Number {
        positions,
        length: found,
    })
}
