//! What providers without lists share: which ledger column is asked about, the walk of one key, values behind a JSON
//! pointer, statuses and ids from settings. Pure; start at [`LookupKey`].

use std::collections::BTreeMap;

use super::read::{Body, Fault, Members, Raw, unquoted};
use super::{BadPage, Keys, PageHead, Step, setup};
use crate::config::{SecretRef, Section};
use crate::record::Status;

/// The ledger column a by-id provider is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookupKey {
    Reference,
    ProviderId,
    XExternalId,
    ReferenceNo,
}

impl LookupKey {
    /// The column's name, as in `[ledger.columns]`.
    pub fn column(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::ProviderId => "provider_id",
            Self::XExternalId => "x_external_id",
            Self::ReferenceNo => "reference_no",
        }
    }
}

/// The key of a row of `ledger_entries` as SQL: the subject of its conversation; NULL without a key.
pub fn subject_sql(key: LookupKey) -> String {
    format!("nullif({}, '')", key.column())
}

/// One page, then done. `problem`: why the key cannot be asked about; then nobody is asked.
pub fn next(problem: Option<String>, heads: &[PageHead]) -> Step {
    match (heads, problem) {
        ([], Some(why)) => Step::Broken { why },
        ([], None) => Step::Get {
            number: 0,
            confirms: false,
        },
        _ => Step::Done,
    }
}

/// A body that must be text: a key with a replaced character would be another key.
///
/// # Errors
/// Bytes that are not UTF-8.
pub fn body(bytes: &[u8]) -> Result<Body<'_>, BadPage> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(Body::new(bytes)),
        Err(_) => Err(BadPage {
            why: "the answer holds bytes that are not UTF-8".into(),
        }),
    }
}

/// The value a JSON pointer (RFC 6901, objects only) leads to; `null` and absence are None.
///
/// # Errors
/// A key that stands twice on the way.
pub fn value_at<'a>(root: Raw<'a>, pointer: &str) -> Result<Option<Raw<'a>>, Fault> {
    let mut value = root;
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if !value.get().starts_with('{') {
            return Ok(None);
        }
        let name = part.replace("~1", "/").replace("~0", "~");
        let Members(members) = serde_json::from_str(value.get())
            .map_err(|_| Fault::new(path.clone(), "holds a key twice, or too many keys"))?;
        let Some((_, inner)) = members.into_iter().find(|(key, _)| *key == name) else {
            return Ok(None);
        };
        path = format!("{path}.{part}");
        value = inner;
    }
    Ok((value.get() != "null").then_some(value))
}

/// A status word: text that is there and not empty. Numbers and objects are a fault of the schema.
///
/// # Errors
/// Anything but text.
pub fn word_at(root: Raw<'_>, pointer: &str) -> Result<Option<String>, Fault> {
    let Some(raw) = value_at(root, pointer)? else {
        return Ok(None);
    };
    let place = || pointer.replace('/', ".");
    let text = unquoted(raw.get()).ok_or_else(|| Fault::new(place(), "is not text"))?;
    if text.len() > 512 || text.contains('\0') {
        return Err(Fault::new(place(), "is no status word"));
    }
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

// -- settings -----------------------------------------------------------------------------------------------------------

/// A JSON pointer like `/data/status`.
pub fn pointer(section: &mut Section<'_>, key: &str, default: &str) -> String {
    let Some((text, line)) = section.text_line(key) else {
        return default.to_owned();
    };
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.~$@".contains(&b))
    };
    if !text.starts_with('/') || !text.split('/').skip(1).all(plain) {
        section.problem_at(
            line,
            format!("`provider.{key}` must be a JSON pointer like {default:?}: a slash before each name"),
        );
    }
    text
}

/// `status_overrides = { WORD = "moved" }`: open, moved or not_moved. Providers with lists have the same setting.
pub fn overrides(section: &mut Section<'_>) -> BTreeMap<String, Status> {
    let Some(mut inner) = section.section("status_overrides") else {
        return BTreeMap::new();
    };
    let line = inner.line_of("");
    let mut overrides = BTreeMap::new();
    for (word, meaning) in inner.texts() {
        let status = match meaning.as_str() {
            "open" => Status::Open,
            "moved" => Status::Settled,
            "not_moved" => Status::Failed,
            _ => {
                inner.problem_at(
                    line,
                    format!("`provider.status_overrides.{word}` must be open, moved or not_moved"),
                );
                continue;
            }
        };
        overrides.insert(word, status);
    }
    section.close(inner);
    overrides
}

/// An id that may stand in the settings or where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    Plain(String),
    /// Found among the keys under this name.
    Kept(&'static str, SecretRef),
}

impl Id {
    /// Reads a required id: `client_id = "54"`, `client_id = 54` or `client_id = "credential:…"`.
    pub fn required(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        if !section.has(key) {
            section.required(key);
            return None;
        }
        let text = section.id(key)?;
        Some(match SecretRef::parse(&text) {
            Some(reference) => Self::Kept(key, reference),
            None => Self::Plain(text),
        })
    }

    pub fn value<'k>(&'k self, keys: &'k Keys) -> &'k str {
        match self {
            Self::Plain(text) => text,
            Self::Kept(name, _) => setup::key(keys, name),
        }
    }

    /// What tells accounts apart: the id, or the reference to it.
    pub fn account_key(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Kept(_, reference) => reference.to_string(),
        }
    }

    /// The reference to be read by the edges.
    pub fn secret(&self) -> Option<(String, SecretRef)> {
        match self {
            Self::Plain(_) => None,
            Self::Kept(name, reference) => Some(((*name).to_owned(), reference.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_to_a_value_or_to_nothing_and_a_key_that_stands_twice_is_refused() {
        let json = r#"{"data":{"status":"A","inner":{"x/y":1},"none":null},"list":[{"status":"B"}]}"#;
        let root: Raw<'_> = serde_json::from_str(json).unwrap();
        let found = |pointer| value_at(root, pointer).unwrap().map(|raw| raw.get().to_owned());
        assert_eq!(found("/data/status").as_deref(), Some("\"A\""));
        assert_eq!(found("/data/inner/x~1y").as_deref(), Some("1"));
        for nothing in ["/data/none", "/data/other", "/data/status/deeper", "/list/0/status"] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
        assert!(word_at(root, "/data/inner").is_err());
        let twice: Raw<'_> = serde_json::from_str(r#"{"data":{"status":"A","status":"B"}}"#).unwrap();
        assert!(value_at(twice, "/data/status").is_err());
    }

    #[test]
    fn bytes_that_are_not_text_are_no_page() {
        assert!(body(b"{\"a\":\"\xFF\"}").is_err());
        assert!(body(b"{\"a\":\"\xC3\xBC\"}").is_ok());
    }
}
