//! What stands in the rows that were put aside. A row that could not be read exactly may still name its payment: its side knows
//! that one, so what the other side says about it is not missing there.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::Connection;
use serde_json::value::RawValue;

use super::rows::{Entry, Record};
use crate::failure::Failure;
use crate::providers::LookupKey;
use crate::record::Direction;
use crate::store::pages::decompress;

/// Every row that is still unreadable.
#[derive(Clone, Debug, Default)]
pub struct Aside {
    /// The texts and numbers of the rows of pages.
    texts: HashSet<String>,
    exports: Lines,
    ledger: Lines,
}

impl Aside {
    pub fn read(conn: &Connection, job: &str) -> Result<Self, Failure> {
        let mut aside = Self {
            texts: texts(conn, job)?,
            ..Self::default()
        };
        let mut rows = conn.prepare(
            "SELECT feed, reference, provider_id, direction, x_external_id, reference_no FROM unreadable_rows
              WHERE job = ?1 AND gone_at IS NULL AND page_id IS NULL",
        )?;
        let mut rows = rows.query([job])?;
        while let Some(row) = rows.next()? {
            let (reference, provider_id) = (row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?);
            let direction = row.get_ref(3)?.as_str().ok().and_then(|word| word.parse().ok());
            let is_ledger = row.get_ref(0)?.as_str() == Ok("");
            let lines = if is_ledger {
                &mut aside.ledger
            } else {
                &mut aside.exports
            };
            // An export without ids of its own has the reference for one. An entry that carries an id goes by that alone.
            let id = provider_id.or_else(|| reference.clone().filter(|_| !is_ledger));
            lines
                .references
                .extend(reference.filter(|_| !is_ledger || id.is_none()).map(|r| (r, direction)));
            lines.ids.extend(id);
            for (column, key) in [(4, LookupKey::XExternalId), (5, LookupKey::ReferenceNo)] {
                let value = row.get::<_, Option<String>>(column)?;
                lines.keys.extend(value.map(|value| ((key, value), direction)));
            }
        }
        Ok(aside)
    }

    /// Whether the provider's side names the payment of this entry, by the key that matching goes by.
    pub fn names_entry(&self, entry: &Entry) -> bool {
        match &entry.provider_id {
            Some(id) => self.texts.contains(id) || self.exports.ids.contains(id),
            None => self.texts.contains(&entry.reference) || self.exports.refer_to(&entry.reference, entry.direction),
        }
    }

    /// Whether the ledger names this record. `key`: what was asked about to find it.
    pub fn names_record(&self, record: &Record, key: Option<LookupKey>) -> bool {
        let by_reference = |reference: &String| self.ledger.refer_to(reference, record.direction);
        self.ledger.ids.contains(&record.provider_id)
            || record.reference.as_ref().is_some_and(by_reference)
            || key.is_some_and(|key| self.ledger.asks_about(key, &record.subject, record.direction))
    }
}

/// What lines of files are about, as far as they say it.
#[derive(Clone, Debug, Default)]
struct Lines {
    ids: HashSet<String>,
    /// Without a direction where that could not be read: then it may be either.
    references: HashSet<(String, Option<Direction>)>,
    /// Likewise what the provider is asked about.
    keys: HashSet<((LookupKey, String), Option<Direction>)>,
}

impl Lines {
    fn refer_to(&self, reference: &str, direction: Direction) -> bool {
        let mut either = [Some(direction), None].into_iter();
        !self.references.is_empty() && either.any(|d| self.references.contains(&(reference.to_owned(), d)))
    }

    fn asks_about(&self, key: LookupKey, subject: &str, direction: Direction) -> bool {
        let mut either = [Some(direction), None].into_iter();
        !self.keys.is_empty() && either.any(|d| self.keys.contains(&((key, subject.to_owned()), d)))
    }
}

/// The texts and numbers of every row of a page that is still unreadable.
fn texts(conn: &Connection, job: &str) -> Result<HashSet<String>, Failure> {
    let mut rows = conn.prepare(
        "SELECT page_id, place FROM unreadable_rows WHERE job = ?1 AND gone_at IS NULL AND page_id IS NOT NULL",
    )?;
    let mut pages: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut rows = rows.query([job])?;
    while let Some(row) = rows.next()? {
        pages.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let mut body = conn.prepare("SELECT body FROM pages WHERE page_id = ?1")?;
    let mut named = HashSet::new();
    for (page, places) in pages {
        let body = body.query_row([page], |row| {
            Ok(decompress(row.get_ref(0)?.as_blob().unwrap_or_default()))
        })?;
        let body = String::from_utf8_lossy(&body?).into_owned();
        let body = body.trim_start_matches('\u{feff}');
        let mut lists = HashMap::new();
        for place in &places {
            let row = element(body, place, &mut lists).unwrap_or(body);
            named.extend(values(row));
        }
    }
    Ok(named)
}

/// The row of `data[17].amount` in its page; the lists that were taken apart are kept.
fn element<'b, 'p>(body: &'b str, place: &'p str, lists: &mut HashMap<&'p str, Vec<&'b RawValue>>) -> Option<&'b str> {
    let (path, rest) = place.split_once('[')?;
    let index: usize = rest.split_once(']')?.0.parse().ok()?;
    if !lists.contains_key(path) {
        let mut at: &RawValue = serde_json::from_str(body).ok()?;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            at = serde_json::from_str::<HashMap<String, &RawValue>>(at.get())
                .ok()?
                .remove(name)?;
        }
        lists.insert(path, serde_json::from_str(at.get()).ok()?);
    }
    lists.get(path)?.get(index).map(|row| row.get())
}

/// Every string and number of a JSON text that is no name of a field, wherever it stands.
fn values(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(from) = rest.find(|c: char| c == '"' || c.is_ascii_digit()) {
        rest = &rest[from..];
        if rest.starts_with('"') {
            let until = closing(rest);
            let (string, behind) = rest.split_at(until);
            let is_name = behind.trim_start().starts_with(':');
            found.extend(serde_json::from_str(string).ok().filter(|_: &String| !is_name));
            rest = behind;
        } else {
            let until = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            found.push(rest[..until].to_owned());
            rest = &rest[until..];
        }
    }
    found
}

/// Where the string that opens `text` ends.
fn closing(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_place_and_gives_its_values_without_the_names() {
        let body =
            r#"{"data":{"data":[{"id":1,"ref":"A"},{"id":9007199254740993,"ref":"B\"ü","x":{"y":[-2.5,"\u0043"]}}]}}"#;
        let row = element(body, "data.data[1].amount", &mut HashMap::new()).unwrap();
        assert_eq!(values(row), ["9007199254740993", "B\"ü", "2", "5", "C"]);
        assert_eq!(element(body, "data.data[2].amount", &mut HashMap::new()), None);
        assert_eq!(element(body, "data", &mut HashMap::new()), None);
        assert_eq!(element("not JSON [1]", "data[0]", &mut HashMap::new()), None);
    }

    #[test]
    fn damaged_text_ends_the_search_and_nothing_else() {
        assert_eq!(values(r#"{"a":"\ud800","b":"C","d":"cut"#), ["C"]);
        assert_eq!(values("\"\\"), Vec::<String>::new());
    }
}
