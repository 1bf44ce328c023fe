//! Writing JSON with fields in the document's order and amounts as exact text: no number passes through a float.

/// An object under construction.
#[derive(Default)]
pub struct Object(String);

impl Object {
    pub fn new() -> Self {
        Self::default()
    }

    /// A value that is JSON already: a number, an object, `true`, `null`.
    pub fn raw(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        use std::fmt::Write;
        let comma = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{comma}{}:{value}", quote(key));
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        let quoted = quote(value);
        self.raw(key, quoted)
    }

    pub fn done(self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// A JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON array of values that are JSON already.
pub fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

/// Hundredths as a JSON number with two decimals: `1250.00`.
pub fn two_decimals(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}

/// Hundredths as a JSON number without trailing zeros: `10`, `89.9`, `51.45`.
pub fn short_decimals(minor: i64) -> String {
    let text = two_decimals(minor);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Standard base64 with padding (RFC 4648 section 4).
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0_u32, |g, (i, b)| g | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// The bytes of a base64 text; None when it is none.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let letters = text.trim_end_matches('=');
    if text.len() - letters.len() > 2 {
        return None;
    }
    let (mut out, mut group, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for byte in letters.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        group = (group << 6 | u32::from(value)) & 0x00ff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((group >> bits) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_providers_write_them() {
        for (minor, two, short) in [
            (0, "0.00", "0"),
            (-5, "-0.05", "-0.05"),
            (8990, "89.90", "89.9"),
            (100_000, "1000.00", "1000"),
            (5145, "51.45", "51.45"),
        ] {
            assert_eq!(
                (two_decimals(minor).as_str(), short_decimals(minor).as_str()),
                (two, short)
            );
        }
    }

    #[test]
    fn base64_agrees_with_the_rfc_and_reads_itself_back() {
        for (plain, encoded) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
            assert_eq!(from_base64(encoded).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(from_base64("Zg"), None);
        assert_eq!(from_base64("Z-=="), None);
    }
}
