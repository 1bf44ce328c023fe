//! Reading answers exactly: every key of a row is taken as its raw token and turned into a value by one rule here.
//!
//! A page is read at one go into borrowed rows; when that fails it is read row by row, so that one bad row costs one row.
//! Nothing is rounded, defaulted or guessed, and no message repeats a value: it may be a card number.
//! Knows nothing of any provider; start at [`Field`].

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{BadPage, PageHead, Parsed, digest, identity};
use crate::day::{Instant, parse_instant};
use crate::money::{AmountError, Currency, Unit, parse_minor};
use crate::record::Unreadable;

/// A JSON token as it stood in the page.
pub type Raw<'a> = &'a RawValue;

/// Tolerated before a body (P52).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Longest id, reference or status word, in bytes; documents name 255 at most.
const MAX_WORD: usize = 512;
/// Unknown keys remembered per object.
const MAX_UNKNOWN: usize = 32;

/// Declares the keys an object may have. Every known key is a field, used or not: a key that stands twice is refused
/// (P53), a key that is not in the list is remembered by name.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident<$a:lifetime $(, $t:ident)?> { $($field:ident: $ty:ty = $key:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$meta])*
        #[allow(dead_code)] // known keys that nobody uses still count as known, and still must not stand twice
        pub(super) struct $name<$a $(, $t)?> {
            $(pub(super) $field: Option<$ty>,)+
            pub(super) unknown: Vec<String>,
            pub(super) lifetime: std::marker::PhantomData<&$a ()>,
        }

        impl<'de: $a, $a $(, $t: serde::Deserialize<'de>)?> serde::Deserialize<'de> for $name<$a $(, $t)?> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Keys<$a $(, $t)?>(std::marker::PhantomData<(&$a (), $($t,)?)>);
                impl<'de: $a, $a $(, $t: serde::Deserialize<'de>)?> serde::de::Visitor<'de> for Keys<$a $(, $t)?> {
                    type Value = $name<$a $(, $t)?>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                        let mut out = $name { $($field: None,)+ unknown: Vec::new(), lifetime: std::marker::PhantomData };
                        while let Some(key) = map.next_key::<$crate::providers::read::Key<'de>>()? {
                            match key.as_str() {
                                $($key $(| $alias)* => {
                                    if out.$field.is_some() {
                                        return Err(serde::de::Error::duplicate_field($key));
                                    }
                                    out.$field = Some(map.next_value()?);
                                })+
                                other => {
                                    $crate::providers::read::remember_unknown(&mut out.unknown, other)?;
                                    map.next_value::<serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(out)
                    }
                }
                deserializer.deserialize_map(Keys(std::marker::PhantomData))
            }
        }
    };
}
pub(crate) use object;

/// A key, borrowed where it has no escapes.
pub struct Key<'de>(Cow<'de, str>);

impl Key<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Keeps the name of a key the document does not know.
///
/// # Errors
/// When the same unknown key stands twice.
pub fn remember_unknown<E: serde::de::Error>(unknown: &mut Vec<String>, key: &str) -> Result<(), E> {
    if unknown.iter().any(|known| known == key) {
        return Err(E::custom("a key stands twice"));
    }
    if unknown.len() < MAX_UNKNOWN {
        unknown.push(key.to_owned());
    }
    Ok(())
}

/// The members of an object whose keys are data (`summary`), in their order; a key that stands twice is refused.
pub struct Members<'a>(pub Vec<(String, Raw<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vec<(String, Raw<'de>)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries: Self::Value = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    if entries.iter().any(|(known, _)| known == key.as_str()) {
                        return Err(serde::de::Error::custom("a key stands twice"));
                    }
                    if entries.len() == MAX_UNKNOWN {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    entries.push((key.as_str().to_owned(), map.next_value()?));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries).map(Members)
    }
}

/// Why a row could not be read, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Below the row: `.amount`, `.value.amount`; empty for the row itself.
    pub path: String,
    /// Without the value.
    pub why: Cow<'static, str>,
    /// The amount has a fraction of a minor unit: the configured unit is wrong.
    pub sub_minor: bool,
}

impl Fault {
    pub fn new(path: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            path: path.into(),
            why: why.into(),
            sub_minor: false,
        }
    }

    /// The same fault inside an object of the row.
    #[must_use]
    pub fn under(mut self, key: &str) -> Self {
        self.path = format!(".{key}{}", self.path);
        self
    }

    /// Puts the row aside: `data[17].amount`.
    pub fn put_aside(self, parsed: &mut Parsed, list: &str, row: u32) {
        parsed.unreadable.push(Unreadable {
            place: format!("{list}[{row}]{}", self.path),
            reason: self.why.into_owned(),
        });
    }
}

/// Which JSON forms an amount may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    TextOrNumber,
    /// A number is a fault of the provider's schema.
    Text,
}

/// One key of an object with what stood there.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    key: &'static str,
    raw: Option<Raw<'a>>,
}

/// A key and its token; `null` counts as absent.
pub fn field<'a>(key: &'static str, raw: Option<Raw<'a>>) -> Field<'a> {
    let raw = raw.filter(|raw| raw.get() != "null");
    Field { key, raw }
}

impl<'a> Field<'a> {
    fn fault(&self, why: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(format!(".{}", self.key), why)
    }

    pub fn is_there(&self) -> bool {
        self.raw.is_some()
    }

    fn token(&self) -> Result<&'a str, Fault> {
        self.raw.map(|raw| raw.get()).ok_or_else(|| self.fault("is missing"))
    }

    /// A string, unescaped.
    pub fn text(&self) -> Result<Cow<'a, str>, Fault> {
        let token = self.token()?;
        match unquoted(token) {
            Some(text) => Ok(text),
            None if token.starts_with('"') => Err(self.fault("is not decodable text")),
            None => Err(self.fault("is not text")),
        }
    }

    /// A string of a length a word can have, not empty.
    pub fn word(&self) -> Result<String, Fault> {
        let text = self.text()?;
        self.checked(&text)
    }

    fn checked(&self, text: &str) -> Result<String, Fault> {
        match text {
            "" => Err(self.fault("is empty")),
            long if long.len() > MAX_WORD => Err(self.fault("is longer than 512 bytes")),
            nul if nul.contains('\0') => Err(self.fault("holds a NUL character")),
            fine => Ok(fine.to_owned()),
        }
    }

    /// An id: text, or a whole number as its exact digits.
    pub fn id(&self) -> Result<String, Fault> {
        let token = self.token()?;
        let digits = token.strip_prefix('-').unwrap_or(token);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return self.checked(token);
        }
        match unquoted(token) {
            Some(text) => self.checked(&text),
            None => Err(self.fault("is neither text nor a whole number")),
        }
    }

    /// An id that may be absent, null or empty.
    pub fn optional_id(&self) -> Result<Option<String>, Fault> {
        match self.raw.map(|raw| raw.get()) {
            None | Some("\"\"") => Ok(None),
            Some(_) => self.id().map(Some),
        }
    }

    /// An ISO 4217 code in upper case.
    pub fn currency(&self) -> Result<Currency, Fault> {
        self.text()?.parse().map_err(|e: AmountError| self.fault(e.to_string()))
    }

    /// A currency that may be absent.
    pub fn currency_or(&self, default: Currency) -> Result<Currency, Fault> {
        if self.is_there() { self.currency() } else { Ok(default) }
    }

    /// An exact amount in minor units of `currency`.
    pub fn amount(&self, currency: Currency, unit: Unit, form: Form) -> Result<i64, Fault> {
        let token = self.token()?;
        let text = match unquoted(token) {
            Some(text) => text,
            None if form == Form::Text && token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                return Err(self.fault("is a number where the document says text"));
            }
            None if form == Form::Text => return Err(self.fault("is not text")),
            None => Cow::Borrowed(token),
        };
        parse_minor(&text, currency, unit).map_err(|e| Fault {
            sub_minor: e == AmountError::SubMinor,
            ..self.fault(e.to_string())
        })
    }

    /// An amount that the document knows as unsigned.
    pub fn unsigned_amount(&self, currency: Currency, unit: Unit, form: Form) -> Result<i64, Fault> {
        match self.amount(currency, unit, form)? {
            negative if negative < 0 => Err(self.fault("is negative where the document knows positive amounts only")),
            amount => Ok(amount),
        }
    }

    /// An unsigned amount with no more decimals than the currency has, zeros included, and no sign: `150.000` may be meant as
    /// a hundred and fifty thousand.
    pub fn plain_amount(&self, currency: Currency, unit: Unit, form: Form) -> Result<i64, Fault> {
        let amount = self.unsigned_amount(currency, unit, form)?;
        let token = self.token()?.trim_matches('"');
        let decimals = token.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        if decimals > currency.exponent() as usize || token.starts_with('-') {
            return Err(self.fault("is not written as the document says (a thousands separator, a sign?)"));
        }
        Ok(amount)
    }

    /// An amount that may be absent.
    pub fn optional_amount(&self, currency: Currency, unit: Unit, form: Form) -> Result<Option<i64>, Fault> {
        self.is_there().then(|| self.amount(currency, unit, form)).transpose()
    }

    /// A whole number that is not negative.
    pub fn count(&self) -> Result<i64, Fault> {
        let token = self.token()?;
        token
            .parse::<i64>()
            .ok()
            .filter(|n| *n >= 0)
            .ok_or_else(|| self.fault("is not a whole number"))
    }

    /// An instant with an offset, in this century.
    pub fn instant(&self) -> Result<Instant, Fault> {
        let at = parse_instant(&self.text()?).ok_or_else(|| self.fault("is not an RFC 3339 instant"))?;
        if (2000..2100).contains(&chrono::Datelike::year(&at)) {
            Ok(at)
        } else {
            Err(self.fault("is an absurd time"))
        }
    }

    pub fn optional_instant(&self) -> Result<Option<Instant>, Fault> {
        self.is_there().then(|| self.instant()).transpose()
    }

    /// A fault inside the object that stands here.
    pub fn within(&self, fault: Fault) -> Fault {
        fault.under(self.key)
    }

    /// An object inside the row.
    pub fn object<T: Deserialize<'a>>(&self) -> Result<T, Fault> {
        row(self.token()?).map_err(|fault| fault.under(self.key))
    }
}

/// The text of a string token; None for other tokens and for escapes that decode to nothing (a lone surrogate).
pub fn unquoted(token: &str) -> Option<Cow<'_, str>> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(token).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Text of a string token, digits of a number token: what identifies a row inside one walk.
pub fn identity_text(raw: Option<Raw<'_>>) -> Option<Cow<'_, str>> {
    let token = raw?.get();
    unquoted(token).or(match token.as_bytes().first() {
        Some(b'0'..=b'9' | b'-') => Some(Cow::Borrowed(token)),
        _ => None,
    })
}

/// Gives a page's head the identities of its rows: what `text` says of each, else page and place.
pub fn identify<R>(head: &mut PageHead, body: &[u8], rows: &Rows<R>, text: impl Fn(&R) -> Option<String>) {
    head.rows = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let mut unreadable = false;
    let mut ids = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        let known = row.as_ref().ok().and_then(&text);
        unreadable |= known.is_none();
        let text = known.unwrap_or_else(|| format!("unreadable row {place} of page {}", head.number));
        ids.push(identity(&text));
    }
    head.ids = ids.into();
    head.body = unreadable.then(|| digest(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)));
}

/// A body as text. A byte-order mark is tolerated; bytes that are no UTF-8 make every row that holds one unreadable.
pub struct Body<'a> {
    text: Cow<'a, str>,
    damaged: bool,
}

impl<'a> Body<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        match std::str::from_utf8(body) {
            Ok(text) => Self {
                text: Cow::Borrowed(text),
                damaged: false,
            },
            Err(_) => Self {
                text: String::from_utf8_lossy(body),
                damaged: true,
            },
        }
    }

    /// The whole body as one object.
    ///
    /// # Errors
    /// Truncated, no JSON, another shape; without any value.
    pub fn object<'s, T: Deserialize<'s>>(&'s self) -> Result<T, BadPage> {
        serde_json::from_str(&self.text).map_err(|e| bad_page(&e, self.text.len()))
    }

    /// The envelope and its rows: at one go, or row by row when a row is bad. `Fast` and `Slow` are the same envelope
    /// around a list of rows and a list of raw tokens; the splits take the list out of it.
    ///
    /// # Errors
    /// As [`Body::object`].
    pub fn page<'s, Fast, Slow, Meta, R>(
        &'s self,
        split_fast: impl FnOnce(Fast) -> (Meta, Option<Vec<R>>),
        split_slow: impl FnOnce(Slow) -> (Meta, Option<Vec<Raw<'s>>>),
    ) -> Result<(Meta, Option<Rows<R>>), BadPage>
    where
        Fast: Deserialize<'s>,
        Slow: Deserialize<'s>,
        R: Deserialize<'s>,
    {
        if !self.damaged
            && let Ok(envelope) = serde_json::from_str::<Fast>(&self.text)
        {
            let (meta, rows) = split_fast(envelope);
            return Ok((meta, rows.map(|rows| rows.into_iter().map(Ok).collect())));
        }
        let (meta, rows) = split_slow(self.object()?);
        let rows = rows.map(|rows| rows.into_iter().map(|raw| self.row(raw)).collect());
        Ok((meta, rows))
    }

    fn row<'s, R: Deserialize<'s>>(&self, raw: Raw<'s>) -> Result<R, Fault> {
        if self.damaged && raw.get().contains(char::REPLACEMENT_CHARACTER) {
            return Err(Fault::new("", "holds bytes that are not UTF-8"));
        }
        row(raw.get())
    }
}

/// The rows of a page, each read or faulty.
pub type Rows<R> = Vec<Result<R, Fault>>;

/// One object from its own text.
fn row<'a, R: Deserialize<'a>>(text: &'a str) -> Result<R, Fault> {
    serde_json::from_str(text).map_err(|_| {
        if text.starts_with('{') {
            Fault::new("", "holds a key twice, or nests another shape than the document's")
        } else {
            Fault::new("", "is not an object")
        }
    })
}

/// Where and how a body is not the page it should be; the library's own words may hold values and are left out.
fn bad_page(error: &serde_json::Error, length: usize) -> BadPage {
    use serde_json::error::Category;
    let why = match error.classify() {
        Category::Eof => format!("the JSON ends early, after {length} bytes"),
        Category::Syntax | Category::Io => {
            format!("not valid JSON at line {}, column {}", error.line(), error.column())
        }
        Category::Data => format!(
            "an envelope of another shape than the document's (line {}, column {})",
            error.line(),
            error.column()
        ),
    };
    BadPage { why }
}

/// A page that cannot be read at all, as one unreadable row.
pub fn whole_page(bad: BadPage) -> Parsed {
    Parsed {
        unreadable: vec![Unreadable {
            place: "$".to_owned(),
            reason: bad.why,
        }],
        ..Parsed::default()
    }
}

/// Names of unknown keys as paths (`data[].bonus`), each once, in order.
#[derive(Default)]
pub struct Unknown(std::collections::BTreeSet<String>);

impl Unknown {
    /// Takes the unknown keys of one object at `place`. Names that are no plain names are counted under one word.
    pub fn add(&mut self, place: &str, keys: &[String]) {
        for key in keys {
            let plain = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.$@".contains(&b));
            self.0
                .insert(format!("{place}{}", if plain { key } else { "(an odd name)" }));
        }
    }

    pub fn into_names(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

/// An error answer, read leniently and only when it is small enough to be one.
pub fn error_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    /// Error bodies are short; a page of rows is not searched for one.
    const MAX_ERROR_BODY: usize = 16 * 1024;
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    (body.len() <= MAX_ERROR_BODY)
        .then(|| serde_json::from_slice(body).ok())
        .flatten()
}

/// Any value, skipped.
pub type Anything = IgnoredAny;

#[cfg(test)]
mod tests {
    use super::*;

    object! {
        /// A row for these tests.
        Row<'a> { id: Raw<'a> = "id", amount: Raw<'a> = "amount", at: Raw<'a> = "at" }
    }

    fn read(text: &str) -> Result<Row<'_>, Fault> {
        row(text)
    }

    #[test]
    fn a_key_that_stands_twice_makes_the_row_unreadable_whether_it_is_known_or_not() {
        assert!(read(r#"{"id":1,"amount":2,"x":3}"#).is_ok());
        assert!(read(r#"{"id":1,"id":1}"#).is_err());
        assert!(read(r#"{"x":1,"x":1}"#).is_err());
        assert!(read(r#"{"id":null,"id":1}"#).is_err());
        assert_eq!(read("[]").err().map(|f| f.why), Some("is not an object".into()));
    }

    #[test]
    fn ids_are_the_exact_text_of_their_token() {
        for (token, expected) in [
            (r#""0012""#, Some("0012")),
            ("9007199254740993", Some("9007199254740993")),
            (r#""a\u0041""#, Some("aA")),
            ("1.0", None),
            ("1e3", None),
            ("true", None),
            (r#""""#, None),
            (r#""\ud800""#, None),
        ] {
            let text = format!("{{\"id\":{token}}}");
            let row = read(&text).unwrap();
            assert_eq!(field("id", row.id).id().ok().as_deref(), expected, "{token}");
        }
    }

    #[test]
    fn amounts_come_from_the_token_and_the_reason_never_repeats_it() {
        let pen: Currency = "PEN".parse().unwrap();
        for (token, form, expected) in [
            ("19.99", Form::TextOrNumber, Ok(1999)),
            ("\"19.99\"", Form::Text, Ok(1999)),
            ("19.99", Form::Text, Err("is a number where the document says text")),
            ("1e2", Form::TextOrNumber, Err("is not a plain decimal number")),
            ("null", Form::TextOrNumber, Err("is missing")),
            ("{}", Form::TextOrNumber, Err("is not a plain decimal number")),
        ] {
            let text = format!("{{\"amount\":{token}}}");
            let row = read(&text).unwrap();
            let amount = field("amount", row.amount).amount(pen, Unit::Major, form);
            assert_eq!(amount.map_err(|f| f.why), expected.map_err(Cow::from), "{token}");
        }
    }

    #[test]
    fn zero_and_absurd_times_are_refused() {
        for (text, fine) in [
            ("2026-01-14T17:03:22.418Z", true),
            ("2024-01-01T12:30:45Z", true),
            ("1970-01-01T00:00:00Z", false),
            ("0001-01-01T00:00:00Z", false),
            ("2150-01-01T00:00:00Z", false),
            ("2026-01-14T17:03:22", false),
            ("", false),
        ] {
            let json = format!("{{\"at\":\"{text}\"}}");
            let row = read(&json).unwrap();
            assert_eq!(field("at", row.at).instant().is_ok(), fine, "{text}");
        }
    }
}
