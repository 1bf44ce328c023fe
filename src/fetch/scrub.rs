//! Masks what must never be stored, before a body is archived: card numbers, security codes, personal fields. Pure.
//!
//! A byte scanner over JSON that knows strings, keys and nesting, nothing about providers. The masked body is still JSON and
//! every other byte stays as it came; a body without anything to mask is passed through untouched. Total: on bytes that are
//! no JSON it masks what it recognises and passes on the rest.
//!
//! Start at [`scrub`]; what counts as a card number is in [`super::card`].

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::card;

/// Stands for a masked text; a masked number becomes `0`.
const MASK: &str = "\"***\"";

/// JSON kept as text inside JSON is looked into that deep.
const MAX_NESTED_TEXT: u32 = 3;

/// Keys of sensitive authentication data, in lower case without `_` and `-`. Never kept, not even in part.
const CODES: &[&str] = &[
    "cvv",
    "cvc",
    "cvn",
    "csc",
    "cvv2",
    "cvc2",
    "cardcvv",
    "cardcvc",
    "cvvcode",
    "cvccode",
    "securitycode",
    "cardsecuritycode",
    "cardverificationvalue",
    "cardverificationcode",
    "pin",
    "pinblock",
    "pincode",
    "track",
    "track1",
    "track2",
    "track3",
    "trackdata",
    "track1data",
    "track2data",
    "track2equivalentdata",
    "magstripe",
    "magneticstripe",
    "magneticstripedata",
];

/// Keys of card numbers, likewise; first six and last four digits are kept.
const CARDS: &[&str] = &[
    "cardnumber",
    "cardno",
    "cardnum",
    "pan",
    "fpan",
    "dpan",
    "ccnumber",
    "creditcardnumber",
    "debitcardnumber",
    "primaryaccountnumber",
];

/// How a value is treated, by the key it stands under. Containers pass on what is stricter than [`Rule::Look`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Masked where it looks like a card number.
    Look,
    /// Ids and references: left alone.
    Identity,
    /// A card number, whatever it looks like.
    Card,
    /// Masked wholly.
    Hide,
}

impl Rule {
    /// What holds for a value under a key of this rule, inside a container that hands down another.
    fn below(self, handed: Option<&Rule>) -> Rule {
        match (handed, self) {
            (Some(Rule::Hide), _) | (_, Rule::Hide) => Rule::Hide,
            (Some(Rule::Card), _) => Rule::Card,
            (_, own) => own,
        }
    }
}

/// The body as it may be stored. `private` are keys whose values are masked, `identity` keys whose long numbers are no card
/// numbers ([`crate::providers::Provider::private_fields`], [`crate::providers::Provider::identity_fields`]).
pub fn scrub<'b>(body: &'b [u8], private: &[&str], identity: &[&str]) -> Cow<'b, [u8]> {
    scrub_at(body, &Names { private, identity }, 0)
}

struct Names<'n> {
    private: &'n [&'n str],
    identity: &'n [&'n str],
}

impl Names<'_> {
    /// What holds for values under a key, as it stands between its quotes.
    fn rule(&self, raw: &[u8]) -> Rule {
        let decoded;
        let key: &[u8] = if raw.contains(&b'\\') {
            decoded = decode(raw).0;
            &decoded
        } else {
            raw
        };
        if self.private.iter().any(|k| k.as_bytes() == key) {
            return Rule::Hide;
        }
        let plain: Vec<u8> = key
            .iter()
            .filter(|b| !matches!(b, b'_' | b'-'))
            .map(u8::to_ascii_lowercase)
            .collect();
        if CODES.iter().any(|k| k.as_bytes() == plain) {
            return Rule::Hide;
        }
        if CARDS.iter().any(|k| k.as_bytes() == plain) {
            return Rule::Card;
        }
        if self.identity.iter().any(|k| k.as_bytes() == key) {
            Rule::Identity
        } else {
            Rule::Look
        }
    }
}

/// Rules of the keys met so far, in the order they were met: the rows of a page have the same keys in the same order, so the
/// next one is nearly always the one that followed last time.
struct Met<'b> {
    rules: Vec<(&'b [u8], Rule)>,
    expected: usize,
}

/// Keys remembered; pages with more different ones are only slower.
const MAX_MET: usize = 64;

impl<'b> Met<'b> {
    /// The key that followed last time, if it and its colon stand at the beginning of `rest`: its length and rule.
    fn again(&mut self, rest: &[u8]) -> Option<(usize, Rule)> {
        let (key, rule) = self.rules.get(self.expected)?;
        rest.strip_prefix(*key)?.starts_with(b"\":").then(|| {
            self.expected += 1;
            (key.len(), *rule)
        })
    }

    fn rule(&mut self, names: &Names<'_>, raw: &'b [u8]) -> Rule {
        let found = match self.rules.get(self.expected) {
            Some((key, _)) if *key == raw => Some(self.expected),
            _ => self.rules.iter().position(|(key, _)| *key == raw),
        };
        if let Some(index) = found {
            self.expected = index + 1;
            return self.rules[index].1;
        }
        let rule = names.rule(raw);
        if self.rules.len() < MAX_MET {
            self.rules.push((raw, rule));
            self.expected = self.rules.len();
        }
        rule
    }
}

/// The copy under way: bytes up to `kept` of the source are in `out`. Nothing is copied before the first change.
struct Copy<'b> {
    body: &'b [u8],
    out: Vec<u8>,
    kept: usize,
}

impl<'b> Copy<'b> {
    fn replace(&mut self, from: usize, until: usize, with: &[u8]) {
        if self.body[from..until] == *with {
            return;
        }
        if self.out.is_empty() {
            self.out.reserve(self.body.len() + with.len());
        }
        self.out.extend_from_slice(&self.body[self.kept..from]);
        self.out.extend_from_slice(with);
        self.kept = until;
    }

    fn finish(mut self) -> Cow<'b, [u8]> {
        if self.kept == 0 {
            return Cow::Borrowed(self.body);
        }
        self.out.extend_from_slice(&self.body[self.kept..]);
        Cow::Owned(self.out)
    }
}

fn scrub_at<'b>(body: &'b [u8], names: &Names<'_>, depth: u32) -> Cow<'b, [u8]> {
    let mut copy = Copy {
        body,
        out: Vec::new(),
        kept: 0,
    };
    // The rule that each open container hands down, innermost last.
    let mut open: Vec<Rule> = Vec::new();
    // The rule for the next value; set by a key, back to the container's own after a comma.
    let mut rule = Rule::Look;
    let mut met = Met {
        rules: Vec::new(),
        expected: 0,
    };
    let mut at = 0;
    while at < body.len() {
        match body[at] {
            b'"' => {
                if let Some((length, own)) = met.again(&body[at + 1..]) {
                    rule = own.below(open.last());
                    at += length + 3;
                    continue;
                }
                let end = string_end(body, at + 1);
                if is_key(body, end + 1) {
                    rule = met.rule(names, &body[at + 1..end.min(body.len())]).below(open.last());
                } else if end < body.len() {
                    string(&mut copy, at, end, rule, names, depth);
                } else {
                    // No closing quote: not JSON. Card numbers in what is left are masked all the same.
                    loose(&mut copy, at + 1, body.len());
                }
                at = end + 1;
            }
            b'{' | b'[' => {
                open.push(rule);
                at += 1;
            }
            b'}' | b']' => {
                open.pop();
                rule = open.last().copied().unwrap_or(Rule::Look);
                at += 1;
            }
            b',' => {
                rule = open.last().copied().unwrap_or(Rule::Look);
                at += 1;
            }
            b'0'..=b'9' | b'-' => {
                let end = number_end(body, at);
                number(&mut copy, at, end, rule);
                at = end;
            }
            _ => at += 1,
        }
    }
    copy.finish()
}

/// Index of the closing quote of a string whose text begins at `from`; the body's length where none comes.
fn string_end(body: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = memchr2(b'"', b'\\', body.get(at..).unwrap_or_default()) {
        if body[at + found] == b'"' {
            return at + found;
        }
        at += found + 2;
    }
    body.len()
}

/// Whether a string that ends before `after` is a key: a colon follows.
fn is_key(body: &[u8], after: usize) -> bool {
    body.get(after..)
        .is_some_and(|rest| rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':'))
}

/// End of a token that begins with a digit or a minus sign.
fn number_end(body: &[u8], from: usize) -> usize {
    let rest = &body[from + 1..];
    from + 1
        + rest
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
            .unwrap_or(rest.len())
}

/// Masks the string between the quotes at `open` and `close`.
fn string(copy: &mut Copy<'_>, open: usize, close: usize, rule: Rule, names: &Names<'_>, depth: u32) {
    let body = copy.body;
    let raw = &body[open + 1..close];
    match rule {
        Rule::Identity => {}
        Rule::Hide if raw.is_empty() => {}
        Rule::Hide => copy.replace(open, close + 1, MASK.as_bytes()),
        Rule::Card => card_field(copy, open, close),
        Rule::Look if raw.len() < card::MIN_DIGITS => {}
        // Without an escape there is no quote in it and so no key; what is left could only be a number.
        Rule::Look if card::has_too_few_digits(raw) && memchr(b'\\', raw).is_none() => {}
        Rule::Look if raw.contains(&b'\\') || !raw.is_ascii() => {
            let (text, spans) = decode(raw);
            if depth < MAX_NESTED_TEXT && nested(copy, open, close, &text, names, depth) {
                return;
            }
            for digit in card::digits_to_mask(&text) {
                let (from, until) = spans[digit];
                copy.replace(open + 1 + from, open + 1 + until, b"*");
            }
        }
        Rule::Look => {
            for digit in card::digits_to_mask(raw) {
                copy.replace(open + 1 + digit, open + 2 + digit, b"*");
            }
        }
    }
}

/// Masks JSON kept as text in a string; false where the text is no JSON or holds nothing to mask.
fn nested(copy: &mut Copy<'_>, open: usize, close: usize, text: &[u8], names: &Names<'_>, depth: u32) -> bool {
    if !matches!(text.iter().find(|b| !b.is_ascii_whitespace()), Some(b'{' | b'[')) {
        return false;
    }
    let Cow::Owned(masked) = scrub_at(text, names, depth + 1) else {
        return false;
    };
    let Ok(masked) = String::from_utf8(masked) else {
        return false;
    };
    let Ok(quoted) = serde_json::to_string(&masked) else {
        return false;
    };
    copy.replace(open, close + 1, quoted.as_bytes());
    true
}

/// A field that is named as a card number: first six and last four digits stay; a short number was cut by the provider.
fn card_field(copy: &mut Copy<'_>, open: usize, close: usize) {
    let body = copy.body;
    let (text, spans) = decode(&body[open + 1..close]);
    let digits: Vec<usize> = (0..text.len()).filter(|i| text[*i].is_ascii_digit()).collect();
    match digits.len() {
        card::MIN_DIGITS..=card::MAX_DIGITS => {
            for digit in &digits[card::SHOWN_FIRST..digits.len() - card::SHOWN_LAST] {
                let (from, until) = spans[*digit];
                copy.replace(open + 1 + from, open + 1 + until, b"*");
            }
        }
        0..=4 if !text.iter().any(u8::is_ascii_alphabetic) => {}
        0..=10 if text.iter().any(|b| matches!(b, b'*' | b'x' | b'X' | b'.')) => {}
        _ => copy.replace(open, close + 1, MASK.as_bytes()),
    }
}

/// Masks a bare number. It stays a number: hidden ones become `0`, the middle of a card number becomes zeros.
fn number(copy: &mut Copy<'_>, from: usize, until: usize, rule: Rule) {
    let body = copy.body;
    let text = &body[from..until];
    let plain = text.iter().all(u8::is_ascii_digit);
    let long = plain && (card::MIN_DIGITS..=card::MAX_DIGITS).contains(&text.len());
    match rule {
        Rule::Hide => copy.replace(from, until, b"0"),
        Rule::Card if long => middle_to_zero(copy, from, until),
        Rule::Card if plain && text.len() > 4 => copy.replace(from, until, b"0"),
        // A shorter bare number is too often an amount or a time; card brands with 13 or 14 digits come as text.
        Rule::Look if long && text.len() >= 15 && card::is_card(text) => middle_to_zero(copy, from, until),
        Rule::Look | Rule::Identity | Rule::Card => {}
    }
}

fn middle_to_zero(copy: &mut Copy<'_>, from: usize, until: usize) {
    for at in from + card::SHOWN_FIRST..until - card::SHOWN_LAST {
        copy.replace(at, at + 1, b"0");
    }
}

fn loose(copy: &mut Copy<'_>, from: usize, until: usize) {
    for digit in card::digits_to_mask(&copy.body[from..until]) {
        copy.replace(from + digit, from + digit + 1, b"*");
    }
}

/// The text of a JSON string and, for each of its bytes, the span it has in `raw`. Characters that people write between
/// digit groups (no-break space, dashes) become a plain space or `-`, with the span of the whole character.
fn decode(raw: &[u8]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut text = Vec::with_capacity(raw.len());
    let mut spans = Vec::with_capacity(raw.len());
    let mut put = |c: char, from: usize, until: usize| {
        let mut buffer = [0; 4];
        for byte in group_sign(c).encode_utf8(&mut buffer).bytes() {
            text.push(byte);
            spans.push((from, until));
        }
    };
    let mut at = 0;
    while at < raw.len() {
        let (c, length) = if raw[at] == b'\\' {
            escape(&raw[at..])
        } else {
            utf8(&raw[at..])
        };
        put(c, at, at + length);
        at += length;
    }
    (text, spans)
}

fn group_sign(c: char) -> char {
    match c {
        '\u{a0}' | '\u{2000}'..='\u{200b}' | '\u{202f}' | '\u{3000}' | '\t' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        other => other,
    }
}

/// The character of an escape and the length of its source; what is no escape stands for itself.
fn escape(raw: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        (raw.get(at) == Some(&b'\\') && raw.get(at + 1) == Some(&b'u'))
            .then(|| raw.get(at + 2..at + 6))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
    };
    match raw.get(1) {
        Some(b'u') => match (unit(0), unit(6)) {
            (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
                let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
            }
            (Some(code), _) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
            (None, _) => ('\\', 1),
        },
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'"') => ('"', 2),
        Some(b'/') => ('/', 2),
        Some(b'\\') => ('\\', 2),
        _ => ('\\', 1),
    }
}

/// The character at the beginning and its length; a byte that is no UTF-8 counts as one replacement character.
fn utf8(raw: &[u8]) -> (char, usize) {
    let head = &raw[..raw.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid
        .chars()
        .next()
        .map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
