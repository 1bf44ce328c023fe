//! Reading one TOML file so that every problem is named at once, with file and line and the nearest valid name.
//!
//! A [`Section`] hands out its keys one by one; what nobody asked for is an unknown key. Values that look like secrets are
//! never repeated in a problem's text.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::secret::SecretRef;

/// One thing wrong with the settings, a job or a report definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    /// From 1; 0 when the whole file is meant.
    pub line: usize,
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

/// A parsed file, owner of the text its sections point into.
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    fn line_of(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset.min(self.text.len())]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
    }
}

/// One table of a file. Keys are taken; the rest are problems when it is finished.
pub struct Section<'a> {
    source: &'a Source<'a>,
    /// Dotted name for messages: `provider.columns`; empty for the file itself.
    name: String,
    line: usize,
    left: BTreeMap<String, (usize, DeValue<'a>)>,
    asked: Vec<String>,
    problems: Vec<Problem>,
}

impl<'a> Section<'a> {
    /// Parses a whole file. Syntax errors are problems too; what could be parsed is still looked at.
    pub fn parse(source: &'a Source<'a>) -> Self {
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
        let shift = source.text.len() - text.len();
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut section = Self::from_table(source, String::new(), 1, table.into_inner(), shift);
        for error in errors {
            let line = source.line_of(error.span().map_or(0, |s| s.start) + shift);
            section.problem_at(line, format!("is not valid TOML here: {}", error.message()));
        }
        section
    }

    fn from_table(source: &'a Source<'a>, name: String, line: usize, table: DeTable<'a>, shift: usize) -> Self {
        let mut left = BTreeMap::new();
        for (key, value) in table {
            let line = source.line_of(key.span().start + shift);
            left.insert(key.into_inner().into_owned(), (line, value.into_inner()));
        }
        Self {
            source,
            name,
            line,
            left,
            asked: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Name of the file, for messages.
    pub fn file(&self) -> &str {
        self.source.file
    }

    /// A problem with the section as a whole.
    pub fn problem(&mut self, message: impl Into<String>) {
        self.problem_at(self.line, message.into());
    }

    /// A problem with one line.
    pub fn problem_at(&mut self, line: usize, message: String) {
        let file = self.source.file.to_owned();
        self.problems.push(Problem { file, line, message });
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    /// Line of a key that is still there, else the section's own line.
    pub fn line_of(&self, key: &str) -> usize {
        self.left.get(key).map_or(self.line, |(line, _)| *line)
    }

    pub fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    fn take(&mut self, key: &str) -> Option<(usize, DeValue<'a>)> {
        self.asked.push(key.to_owned());
        self.left.remove(key)
    }

    fn wrong(&mut self, line: usize, key: &str, wanted: &str, seen: &DeValue<'_>) {
        let full = self.full(key);
        self.problem_at(
            line,
            format!("`{full}` must be {wanted}, not a value of type {}", seen.type_str()),
        );
    }

    /// Text with its line.
    pub fn text_line(&mut self, key: &str) -> Option<(String, usize)> {
        match self.take(key)? {
            (line, DeValue::String(text)) => Some((text.into_owned(), line)),
            (line, other) => {
                self.wrong(line, key, "text in quotes", &other);
                None
            }
        }
    }

    pub fn text(&mut self, key: &str) -> Option<String> {
        self.text_line(key).map(|(text, _)| text)
    }

    pub fn text_or(&mut self, key: &str, default: &str) -> String {
        self.text(key).unwrap_or_else(|| default.to_owned())
    }

    /// Text or a whole number, as its digits: ids that some people quote and some do not.
    pub fn id(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            (_, DeValue::String(text)) => Some(text.into_owned()),
            (_, DeValue::Integer(number)) if number.radix() == 10 => Some(number.as_str().to_owned()),
            (line, other) => {
                self.wrong(line, key, "text or a whole number", &other);
                None
            }
        }
    }

    /// A key that must be there. Its absence is a problem and yields None.
    pub fn required(&mut self, key: &str) -> Option<String> {
        let missing = !self.has(key);
        let value = self.text(key);
        if missing {
            let full = self.full(key);
            self.problem(format!("`{full}` is missing"));
        }
        value
    }

    /// A whole number inside `range`.
    pub fn integer_or(&mut self, key: &str, default: i64, range: std::ops::RangeInclusive<i64>) -> i64 {
        self.integer(key, range).unwrap_or(default)
    }

    pub fn integer(&mut self, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let (line, value) = self.take(key)?;
        let full = self.full(key);
        let DeValue::Integer(number) = &value else {
            self.wrong(line, key, "a whole number", &value);
            return None;
        };
        match i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|n| range.contains(n))
        {
            Some(number) => Some(number),
            None => {
                self.problem_at(
                    line,
                    format!("`{full}` must be from {} to {}", range.start(), range.end()),
                );
                None
            }
        }
    }

    pub fn boolean_or(&mut self, key: &str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some((_, DeValue::Boolean(value))) => value,
            Some((line, other)) => {
                self.wrong(line, key, "true or false", &other);
                default
            }
        }
    }

    /// One of several words.
    pub fn choice_or<T: Copy>(&mut self, key: &str, default: T, words: &[(&str, T)]) -> T {
        let Some((text, line)) = self.text_line(key) else {
            return default;
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let full = self.full(key);
                self.problem_at(
                    line,
                    format!("`{full}` is {text:?}; it must be one of {}", names.join(", ")),
                );
                default
            }
        }
    }

    /// `"30s"`, `"10m"`, `"24h"`, `"1d"`; a bare number is refused, its unit would be a guess.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let (text, line) = self.text_line(key)?;
        let parsed = text
            .strip_suffix(['s', 'm', 'h', 'd'])
            .and_then(|number| number.parse::<u64>().ok())
            .and_then(|number| {
                let unit = match text.as_bytes().last() {
                    Some(b's') => 1,
                    Some(b'm') => 60,
                    Some(b'h') => 3600,
                    _ => 86_400,
                };
                number.checked_mul(unit)
            });
        if parsed.is_none() {
            let full = self.full(key);
            self.problem_at(
                line,
                format!("`{full}` is {text:?}; write a duration like \"30s\", \"10m\", \"24h\" or \"1d\""),
            );
        }
        parsed.map(Duration::from_secs)
    }

    /// An IANA time zone.
    pub fn zone(&mut self, key: &str) -> Option<Tz> {
        let (text, line) = self.text_line(key)?;
        match text.parse::<Tz>() {
            Ok(zone) => Some(zone),
            Err(_) => {
                let near = nearest(&text, chrono_tz::TZ_VARIANTS.iter().map(|z| z.name()));
                let full = self.full(key);
                self.problem_at(line, format!("`{full}` is {text:?}, no IANA time zone{near}"));
                None
            }
        }
    }

    /// A TOML date without quotes.
    pub fn date(&mut self, key: &str) -> Option<chrono::NaiveDate> {
        let (line, value) = self.take(key)?;
        let text = match &value {
            DeValue::Datetime(at) => at.to_string(),
            DeValue::String(text) => text.to_string(),
            other => {
                self.wrong(line, key, "a date like 2026-01-31", other);
                return None;
            }
        };
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let full = self.full(key);
            self.problem_at(line, format!("`{full}` must be a date like 2026-01-31"));
        }
        parsed
    }

    /// A list of texts.
    pub fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let (line, value) = self.take(key)?;
        let DeValue::Array(items) = value else {
            self.wrong(line, key, "a list of texts", &value);
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match Spanned::into_inner(item) {
                DeValue::String(text) => texts.push(text.into_owned()),
                DeValue::Integer(number) => texts.push(number.as_str().to_owned()),
                other => self.wrong(line, key, "a list of texts", &other),
            }
        }
        Some(texts)
    }

    /// A secret by reference. A value that is no reference is a problem, and is not repeated.
    pub fn secret(&mut self, key: &str) -> Option<SecretRef> {
        let (text, line) = self.text_line(key)?;
        let parsed = SecretRef::parse(&text);
        if parsed.is_none() {
            let full = self.full(key);
            self.problem_at(
                line,
                format!("`{full}` must name where the secret is: \"env:NAME\", \"file:PATH\" or \"credential:NAME\""),
            );
        }
        parsed
    }

    pub fn required_secret(&mut self, key: &str) -> Option<SecretRef> {
        if !self.has(key) {
            let full = self.full(key);
            self.asked.push(key.to_owned());
            self.problem(format!("`{full}` is missing"));
            return None;
        }
        self.secret(key)
    }

    /// A base URL: `https`, or `http` to a loopback address; no user, query or fragment. Without a trailing slash.
    pub fn base_url(&mut self, key: &str) -> Option<url::Url> {
        let line = self.line_of(key);
        let text = self.required(key)?;
        match check_base_url(&text) {
            Ok(url) => Some(url),
            Err(why) => {
                let full = self.full(key);
                self.problem_at(line, format!("`{full}` {why}"));
                None
            }
        }
    }

    /// Like [`Section::base_url`] with a value for when the key is absent.
    pub fn base_url_or(&mut self, key: &str, default: &str) -> Option<url::Url> {
        if self.has(key) {
            self.base_url(key)
        } else {
            self.asked.push(key.to_owned());
            check_base_url(default).ok()
        }
    }

    /// A table inside this one. Give it back with [`Section::close`].
    pub fn section(&mut self, key: &str) -> Option<Section<'a>> {
        match self.take(key)? {
            (line, DeValue::Table(table)) => {
                let name = self.full(key);
                Some(Self::from_table(self.source, name, line, table, 0))
            }
            (line, other) => {
                self.wrong(line, key, "a table", &other);
                None
            }
        }
    }

    /// Takes over the problems of an inner section, unknown keys included.
    pub fn close(&mut self, inner: Section<'a>) {
        self.problems.extend(inner.finish());
    }

    /// Every key that is left, as text: for tables whose keys are the user's own.
    pub fn texts(&mut self) -> BTreeMap<String, String> {
        let keys: Vec<String> = self.left.keys().cloned().collect();
        keys.into_iter()
            .filter_map(|key| self.id(&key).map(|text| (key, text)))
            .collect()
    }

    /// Every key that is left, as a list of texts.
    pub fn lists(&mut self) -> BTreeMap<String, Vec<String>> {
        let keys: Vec<String> = self.left.keys().cloned().collect();
        keys.into_iter()
            .filter_map(|key| self.list(&key).map(|texts| (key, texts)))
            .collect()
    }

    /// The problems of this section; keys nobody asked for are among them.
    pub fn finish(mut self) -> Vec<Problem> {
        let unknown: Vec<(String, usize)> = self.left.iter().map(|(k, (line, _))| (k.clone(), *line)).collect();
        for (key, line) in unknown {
            let near = nearest(&key, self.asked.iter().map(String::as_str));
            let full = self.full(&key);
            self.problem_at(line, format!("`{full}` is not a setting{near}"));
        }
        self.problems.sort();
        self.problems
    }
}

/// `; did you mean `x`?` for the closest of the valid names, or nothing when none is close.
pub fn nearest<'n>(seen: &str, valid: impl IntoIterator<Item = &'n str>) -> String {
    valid
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&seen.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// Whether a URL may be called at all, and in its one form.
pub fn check_base_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must not carry a user, a query or a fragment".to_owned());
    }
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("names no host".to_owned()),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err("must be https (http is for loopback addresses only)".to_owned()),
        other => Err(format!("has the scheme {other:?}; it must be https")),
    }
}
