//! Finds what was erased in texts that come later, without holding it.
//!
//! Of an erased text only its length, a fingerprint and an HMAC are kept, all under a key that lies in a file of its own beside
//! the database and is readable by the worker only. A rolling fingerprint is compared at every place of a text; where it fits,
//! the HMAC decides. So a copy of the database without the key says nothing about who was erased; whoever has both can try
//! guesses. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ring::hmac;

/// 2^61 - 1, a prime: fingerprints are polynomials over it.
const PRIME: u64 = (1 << 61) - 1;

/// What is remembered of one erased text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remembered {
    /// Hexadecimal digits of the HMAC-SHA256.
    pub digest: String,
    pub fingerprint: i64,
    /// Length of the text.
    pub bytes: usize,
}

/// Everything that was erased, ready to be looked for.
pub struct Subjects {
    key: hmac::Key,
    base: u64,
    /// Length -> fingerprint and digest.
    by_length: BTreeMap<usize, Vec<(u64, String)>>,
}

impl Subjects {
    /// `key`: 32 bytes that nobody else has.
    pub fn new(key: &[u8], remembered: &[Remembered]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let drawn = hmac::sign(&key, b"fingerprint base");
        let base = drawn
            .as_ref()
            .iter()
            .take(8)
            .fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let mut subjects = Self {
            key,
            base: base % (PRIME - 512) + 257,
            by_length: BTreeMap::new(),
        };
        for one in remembered {
            subjects.add(one);
        }
        subjects
    }

    /// Looks for this one too.
    pub fn add(&mut self, one: &Remembered) {
        let entry = (one.fingerprint.unsigned_abs(), one.digest.clone());
        let list = self.by_length.entry(one.bytes.max(1)).or_default();
        if !list.contains(&entry) {
            list.push(entry);
        }
    }

    /// What to remember of a text.
    pub fn remember(&self, subject: &str) -> Remembered {
        Remembered {
            digest: self.digest(subject.as_bytes()),
            fingerprint: self.fingerprint(subject.as_bytes()).cast_signed(),
            bytes: subject.len(),
        }
    }

    fn digest(&self, text: &[u8]) -> String {
        hex::encode(hmac::sign(&self.key, text).as_ref())
    }

    fn fingerprint(&self, text: &[u8]) -> u64 {
        text.iter().fold(0, |sum, byte| step(sum, self.base, *byte))
    }

    /// The text with every erased part replaced by its token; None: it holds none.
    pub fn mask_text(&self, text: &str) -> Option<String> {
        let found = self.find(text.as_bytes());
        if found.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut kept = 0;
        for (at, length, token) in found {
            out.push_str(text.get(kept..at).unwrap_or_default());
            out.push_str(&token);
            kept = at + length;
        }
        out.push_str(text.get(kept..).unwrap_or_default());
        Some(out)
    }

    /// Masks a text in place.
    pub fn mask(&self, text: &mut String) {
        if let Some(masked) = self.mask_text(text) {
            *text = masked;
        }
    }

    /// A JSON body: parts of strings are replaced inside them; a whole number that holds one becomes a string. Bytes that are
    /// no JSON are taken as one text.
    pub fn mask_json<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        let mut out = Vec::new();
        let mut kept = 0;
        let mut at = 0;
        while let Some(byte) = body.get(at) {
            let end = match byte {
                b'"' => string_end(body, at),
                b'0'..=b'9' => at + body[at..].iter().take_while(|b| b.is_ascii_digit()).count(),
                _ => {
                    at += 1;
                    continue;
                }
            };
            let token = &body[at..end];
            let whole = *byte == b'"' || is_whole(body, at, end);
            if let Some(masked) = self.mask_token(token).filter(|_| whole) {
                out.extend_from_slice(&body[kept..at]);
                out.extend_from_slice(&masked);
                kept = end;
            }
            at = end;
        }
        if kept > 0 {
            out.extend_from_slice(&body[kept..]);
            return Cow::Owned(out);
        }
        Cow::Borrowed(body)
    }

    fn mask_token(&self, token: &[u8]) -> Option<Vec<u8>> {
        let text = match token.first() {
            Some(b'"') => serde_json::from_slice::<String>(token).ok()?,
            _ => String::from_utf8(token.to_vec()).ok()?,
        };
        serde_json::to_vec(&self.mask_text(&text)?).ok()
    }

    /// Start, length and token of each part, from left to right, the longest first where several begin; none overlap.
    fn find(&self, text: &[u8]) -> Vec<(usize, usize, String)> {
        let mut all: Vec<(usize, usize, String)> = Vec::new();
        for (length, list) in &self.by_length {
            self.find_of_length(text, *length, list, &mut all);
        }
        all.sort_by_key(|(at, length, _)| (*at, std::cmp::Reverse(*length)));
        let mut end = 0;
        all.retain(|(at, length, _)| {
            let free = *at >= end;
            if free {
                end = at + length;
            }
            free
        });
        all
    }

    fn find_of_length(
        &self,
        text: &[u8],
        length: usize,
        list: &[(u64, String)],
        all: &mut Vec<(usize, usize, String)>,
    ) {
        if text.len() < length {
            return;
        }
        let highest = (1..length).fold(1, |power, _| times(power, self.base));
        let mut sum = self.fingerprint(&text[..length]);
        for at in 0..=text.len() - length {
            if at > 0 {
                let gone = times(u64::from(text[at - 1]) + 1, highest);
                sum = step((sum + PRIME - gone) % PRIME, self.base, text[at + length - 1]);
            }
            if list.iter().any(|(fingerprint, _)| *fingerprint == sum) {
                let digest = self.digest(&text[at..at + length]);
                if list.iter().any(|(_, known)| *known == digest) {
                    all.push((at, length, token(&digest)));
                }
            }
        }
    }
}

/// What stands in the place of an erased text: the same for the same text, so that both sides still match.
pub fn token(digest: &str) -> String {
    format!("erased-{}", digest.get(..12).unwrap_or(digest))
}

fn times(a: u64, b: u64) -> u64 {
    // Both are below 2^61: the product fits, and so does the rest.
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

fn step(sum: u64, base: u64, byte: u8) -> u64 {
    (times(sum, base) + u64::from(byte) + 1) % PRIME
}

/// Index behind the closing quote of the string that begins at `from`.
fn string_end(body: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(byte) = body.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    body.len()
}

/// Whether digits are a whole number: no sign, point or exponent beside them.
fn is_whole(body: &[u8], from: usize, until: usize) -> bool {
    let beside = |byte: Option<&u8>| byte.is_none_or(|b| !matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    beside(from.checked_sub(1).and_then(|at| body.get(at))) && beside(body.get(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(texts: &[&str]) -> Subjects {
        let mut subjects = Subjects::new(&[7; 32], &[]);
        for text in texts {
            let one = subjects.remember(text);
            subjects.add(&one);
        }
        subjects
    }

    #[test]
    fn every_part_is_found_wherever_it_stands_and_case_is_kept() {
        let subjects = subjects(&["Maria Quispe", "maría@example.pe", "4711"]);
        let token = |text: &str| token(&subjects.remember(text).digest);
        let masked = subjects
            .mask_text("Maria QuispeMaria Quispe, maria quispe; maría@example.pe!")
            .unwrap();
        let (name, mail) = (token("Maria Quispe"), token("maría@example.pe"));
        assert_eq!(masked, format!("{name}{name}, maria quispe; {mail}!"));
        assert_eq!(subjects.mask_text("nobody here, 471 1"), None);
        assert_eq!(subjects.mask_text(""), None);
    }

    #[test]
    fn json_stays_json_and_everything_else_stays_as_it_came() {
        let subjects = subjects(&["María \"M\"", "301990417"]);
        let body =
            r#"{"a": "x Mar\u00eda \"M\" y", "id": 301990417, "amount": 301990417.00, "n": -301990417, "b":[1,"2"]}"#;
        let masked = subjects.mask_json(body.as_bytes());
        let value: serde_json::Value = serde_json::from_slice(&masked).unwrap();
        let name = token(&subjects.remember("María \"M\"").digest);
        let id = token(&subjects.remember("301990417").digest);
        assert_eq!(value["a"], format!("x {name} y"));
        assert_eq!(value["id"], id);
        let text = String::from_utf8(masked.into_owned()).unwrap();
        assert!(
            text.ends_with(r#", "amount": 301990417.00, "n": -301990417, "b":[1,"2"]}"#),
            "{text}"
        );
        assert!(matches!(subjects.mask_json(b"{\"a\": \"b\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn another_key_finds_nothing_and_gives_other_tokens() {
        let mine = subjects(&["Maria Quispe"]);
        let remembered = mine.remember("Maria Quispe");
        let other = Subjects::new(&[8; 32], std::slice::from_ref(&remembered));
        assert_eq!(other.mask_text("Maria Quispe"), None);
        assert_ne!(other.remember("Maria Quispe").digest, remembered.digest);
    }

    proptest::proptest! {
        #[test]
        fn masking_is_replacing(text in "[ab ñ]{0,40}", subject in "[abñ]{1,4}") {
            let subjects = subjects(&[&subject]);
            let token = token(&subjects.remember(&subject).digest);
            let masked = subjects.mask_text(&text).unwrap_or_else(|| text.clone());
            proptest::prop_assert_eq!(masked, text.replace(&subject, &token));
        }
    }
}
