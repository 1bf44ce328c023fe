//! Reading one TOML file so that every problem is named at once, with file and line and the nearest valid name.
//!
//! A [`Section`] hands out its keys one by one; what nobody asked for is an unknown key. Values that look like
//! secrets are never repeated in a problem's text.

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
    /// Bytes before the text the parser saw (a byte-order mark): spans count from there.
    shift: usize,
    left: BTreeMap<String, (usize, DeValue<'a>)>,
    asked: Vec<String>,
    problems: Vec<Problem>,
    /// The file broke off: only what the parser said counts, which is what `problems` held at the beginning.
    unreadable: bool,
}

impl<'a> Section<'a> {
    /// Parses a whole file. Syntax errors are problems too; what could be parsed is still looked at.
    pub fn parse(source: &'a Source<'a>) -> Self {
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
        let shift = source.text.len() - text.len();
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut section = Self::from_table(source, String::new(), 1, table.into_inner(), shift);
        let mut lines = std::collections::BTreeMap::new();
        let mut runaway = None;
        for error in errors {
            let span = error.span().unwrap_or_default();
            let line = source.line_of(span.start + shift);
            let message = error.message();
            // An unclosed list swallows what follows; whatever is said about the rest would be noise.
            if runaway.is_none() && (message.contains("array") || message.contains("inline table")) {
                runaway = Some(line);
            }
            let message = syntax(message, text.get(span).unwrap_or_default());
            lines.entry(line).or_insert(message);
        }
        if let Some(line) = runaway {
            lines.retain(|other, _| *other < line);
            let message =
                format!("{BROKEN}: a list breaks off; look for a missing quote, comma or bracket here and above");
            lines.insert(line, message);
        }
        for (line, message) in lines {
            section.problem_at(line, message);
        }
        section.unreadable = runaway.is_some();
        if section.unreadable {
            section.left.clear();
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
            shift,
            left,
            asked: Vec::new(),
            problems: Vec::new(),
            unreadable: false,
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
        if self.unreadable {
            return;
        }
        let file = self.source.file.to_owned();
        self.problems.push(Problem { file, line, message });
    }

    /// How many problems were found so far, inner sections that were closed included.
    pub fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// The name of a key for messages, with the names of the tables around it.
    pub fn full(&self, key: &str) -> String {
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

    /// Text with its line. Control characters other than line ends and tabs are refused: no setting has use for them.
    pub fn text_line(&mut self, key: &str) -> Option<(String, usize)> {
        match self.take(key)? {
            (line, DeValue::String(text)) if has_control(&text) => {
                let full = self.full(key);
                self.problem_at(line, format!("`{full}` contains a control character; remove it"));
                None
            }
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
            (_, DeValue::Integer(number)) if number.radix() == 10 => Some(digits(number.as_str())),
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
                let (seen, first, last) = (number.to_string(), range.start(), range.end());
                self.problem_at(line, format!("`{full}` is {seen}; it must be from {first} to {last}"));
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
                let near = nearest(&text, names.iter().copied());
                // A comma among commas needs quotes to be seen.
                let show = |word: &&str| match word.contains(char::is_alphanumeric) {
                    true => (*word).to_owned(),
                    false => format!("{word:?}"),
                };
                let all = names.iter().map(show).collect::<Vec<_>>().join(", ");
                self.problem_at(line, format!("`{full}` is {text:?}; it must be one of {all}{near}"));
                default
            }
        }
    }

    /// `false`, the default, or one of several words.
    pub fn false_or<T: Copy>(&mut self, key: &str, off: T, words: &[(&str, T)]) -> T {
        match self.left.get(key) {
            Some((_, DeValue::Boolean(false))) => {
                self.take(key);
                off
            }
            Some((line, DeValue::Boolean(true))) => {
                let (line, full) = (*line, self.full(key));
                self.take(key);
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                self.problem_at(
                    line,
                    format!("`{full}` is true; it must be false or one of {}", names.join(", ")),
                );
                off
            }
            _ => self.choice_or(key, off, words),
        }
    }

    /// `"30s"`, `"10m"`, `"24h"`, `"1d"`; a bare number is refused, its unit would be a guess.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let (text, line) = self.text_line(key)?;
        let parsed = text
            .strip_suffix(['s', 'm', 'h', 'd'])
            .filter(|number| number.bytes().all(|b| b.is_ascii_digit()))
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
            // Of a day or time that there is not the parser gives nothing back.
            DeValue::Datetime(at) if at.date.is_none() && at.time.is_none() => self.written(line, key),
            DeValue::Datetime(at) => at.to_string(),
            DeValue::String(text) => text.to_string(),
            other => {
                self.wrong(line, key, "a date like 2026-01-31", other);
                return None;
            }
        };
        // The parser of dates is generous; here only the one written form counts.
        let parsed = text
            .parse::<chrono::NaiveDate>()
            .ok()
            .filter(|day| day.to_string() == text);
        if parsed.is_none() {
            let full = self.full(key);
            self.problem_at(line, format!("`{full}` is {text:?}; it must be a date like 2026-01-31"));
        }
        parsed
    }

    /// A value as it stands in its line.
    fn written(&self, line: usize, key: &str) -> String {
        let text = self.source.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let behind = text.rsplit_once(key).and_then(|(_, rest)| rest.split_once('='));
        let value = behind.map_or(text, |(_, value)| value);
        value
            .split([',', '}', '#'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// A list of texts.
    pub fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let lines = self.list_lines(key)?;
        Some(lines.into_iter().map(|(text, _)| text).collect())
    }

    /// A list of texts, each with its line. Whole numbers count as their digits.
    pub fn list_lines(&mut self, key: &str) -> Option<Vec<(String, usize)>> {
        let (line, value) = self.take(key)?;
        let DeValue::Array(items) = value else {
            self.wrong(line, key, "a list of texts", &value);
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            let line = self.source.line_of(item.span().start + self.shift);
            match Spanned::into_inner(item) {
                DeValue::String(text) if has_control(&text) => {
                    let full = self.full(key);
                    self.problem_at(line, format!("`{full}` contains a control character; remove it"));
                }
                DeValue::String(text) => texts.push((text.into_owned(), line)),
                DeValue::Integer(number) if number.radix() == 10 => texts.push((digits(number.as_str()), line)),
                other => {
                    let (full, seen) = (self.full(key), other.type_str());
                    self.problem_at(
                        line,
                        format!("`{full}` must hold texts only, not a value of type {seen}"),
                    );
                }
            }
        }
        Some(texts)
    }

    /// A list of texts, or of tables that hold such a text under `main` and perhaps another one under `beside`, each with
    /// its line.
    pub fn texts_or_tables(
        &mut self,
        key: &str,
        main: &str,
        beside: &str,
    ) -> Option<Vec<(String, Option<String>, usize)>> {
        let (line, value) = self.take(key)?;
        let DeValue::Array(items) = value else {
            self.wrong(line, key, "a list of texts", &value);
            return None;
        };
        let full = self.full(key);
        let mut found = Vec::new();
        for item in items {
            let line = self.source.line_of(item.span().start + self.shift);
            match Spanned::into_inner(item) {
                DeValue::String(text) if has_control(&text) => {
                    self.problem_at(line, format!("`{full}` contains a control character; remove it"));
                }
                DeValue::String(text) => found.push((text.into_owned(), None, line)),
                DeValue::Table(table) => {
                    let mut entry = Self::from_table(self.source, full.clone(), line, table, self.shift);
                    let text = entry.required(main);
                    let more = entry.text(beside);
                    self.problems.extend(entry.finish());
                    found.extend(text.map(|text| (text, more, line)));
                }
                other => {
                    let seen = other.type_str();
                    self.problem_at(
                        line,
                        format!("`{full}` must hold texts or tables with `{main}` and `{beside}`, not a value of type {seen}"),
                    );
                }
            }
        }
        Some(found)
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
                Some(Self::from_table(self.source, name, line, table, self.shift))
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

    /// Takes a key without reading it: its problem has already been named.
    pub fn drop_key(&mut self, key: &str) {
        self.left.remove(key);
    }

    /// Leaves the rest of this section unread, because a problem was named that makes it meaningless.
    pub fn set_aside(&mut self) {
        self.left.clear();
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

/// A syntax error in one sentence. `seen` is used only where it is a key: a broken value may be a secret.
fn syntax(message: &str, seen: &str) -> String {
    match message.split(", expected").next().unwrap_or_default() {
        "duplicate key" => format!("`{seen}` {TWICE}"),
        "string values must be quoted" => format!("{BROKEN}: text must stand in quotes"),
        "invalid basic string" | "invalid literal string" => format!("{BROKEN}: a quote is missing"),
        _ => format!("{BROKEN}: {message}"),
    }
}

/// How syntax problems begin and end.
const BROKEN: &str = "is not valid TOML here";
const TWICE: &str = "stands here a second time; keep one of the two";

/// Digits of a TOML integer: a sign `+` says nothing.
fn digits(number: &str) -> String {
    number.strip_prefix('+').unwrap_or(number).to_owned()
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
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
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3 && *distance < name.len())
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// Whether a URL may be called at all, and in its one form.
pub fn check_base_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must not carry a user, a query or a fragment".to_owned());
    }
    let Some(host) = url.host_str() else {
        return Err("names no host".to_owned());
    };
    let loopback = is_loopback(host);
    let mut url = url;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err("must be https (http is for loopback addresses only)".to_owned()),
        other => Err(format!("has the scheme {other:?}; it must be https")),
    }
}

/// Whether a host is this machine: `localhost`, 127.0.0.0/8 or ::1 (with or without brackets).
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
