//! CSV files through the `csv` crate, behind the strict look of `quotes`: header by name, no ragged rows, and at the end
//! the proof that every record that went in came out.

use std::cell::RefCell;
use std::io::{self, Chain, Cursor, Read};
use std::rc::Rc;

use csv::StringRecord;

use super::map::{COLUMNS, Mapping};
use super::quotes::{BadForm, MAX_RECORD, Seen, Strict};
use super::source::{File, Hashed, trouble};
use super::text::Decoded;
use super::{Refusal, Sink};
use crate::failure::Class;

/// What may separate columns when the settings do not say.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

type Text = Decoded<Hashed>;
type Records = csv::Reader<Strict<Chain<Cursor<Vec<u8>>, Text>>>;

/// Reads one file to its end; returns its SHA-256.
pub(super) fn read(file: &File, mapping: &Mapping<'_>, sink: Sink<'_>) -> Result<[u8; 32], Refusal> {
    let mut text = Decoded::new(file.open()?, mapping.encoding());
    let head = head(&mut text).map_err(|error| bad_text(file, &text, &error))?;
    let delimiter = mapping
        .ledger
        .delimiter
        .unwrap_or_else(|| detect(first_line(&head), mapping));
    let (strict, seen) = Strict::new(Cursor::new(head).chain(text), delimiter);
    let mut open = Open {
        file,
        mapping,
        delimiter,
        seen,
        records: csv::ReaderBuilder::new()
            .has_headers(false)
            // Rows of another length are refused here, with the right line.
            .flexible(true)
            .delimiter(delimiter)
            .buffer_capacity(64 * 1024)
            .from_reader(strict),
    };
    open.all(sink)?;
    file.unmoved()?;
    let (_, text) = open.records.into_inner().inner.into_inner();
    Ok(text.inner.sha256())
}

struct Open<'o> {
    file: &'o File,
    mapping: &'o Mapping<'o>,
    delimiter: u8,
    seen: Rc<RefCell<Seen>>,
    records: Records,
}

impl Open<'_> {
    fn all(&mut self, sink: Sink<'_>) -> Result<(), Refusal> {
        let name = &self.file.name;
        let mut record = StringRecord::new();
        let Some(line) = self.next(&mut record)? else {
            return Err(Refusal::NotReconciled(format!(
                "the ledger file {name} is empty: not even a header line; nothing was taken, export it again"
            )));
        };
        let width = record.len();
        let at = self.header(&record, line)?;
        while let Some(line) = self.next(&mut record)? {
            if record.len() != width {
                return Err(Refusal::data(format!(
                    "{name}:{line}: {} cells in this row, {width} in the header: a delimiter is missing or too many; nothing was taken, export it again",
                    record.len()
                )));
            }
            let mut cells = [None; COLUMNS];
            for (cell, at) in cells.iter_mut().zip(at) {
                *cell = at.and_then(|at| record.get(at));
            }
            self.mapping.row(&cells, name, line, "line", sink)?;
        }
        Ok(())
    }

    /// The next record and the line it begins in.
    fn next(&mut self, record: &mut StringRecord) -> Result<Option<u64>, Refusal> {
        let name = &self.file.name;
        let more = match self.records.read_record(record) {
            Ok(more) => more,
            Err(error) => return Err(self.refusal(&error)),
        };
        // As many records must come out as went in: the proof against anything the crate reads otherwise than we do.
        match (more, self.seen.borrow_mut().lines.pop_front()) {
            (true, Some(line)) => Ok(Some(line)),
            (false, None) => Ok(None),
            _ => Err(Refusal::new(
                Class::Internal,
                format!("{name}: records were lost while reading; nothing was taken"),
            )),
        }
    }

    fn refusal(&self, error: &csv::Error) -> Refusal {
        let name = &self.file.name;
        if let Some(bad) = self.seen.borrow().bad {
            let class = if matches!(bad, BadForm::Unfinished { .. }) {
                Class::Partial
            } else {
                Class::Data
            };
            return Refusal::new(class, bad.sentence(name));
        }
        let (_, text) = self.records.get_ref().inner.get_ref();
        match error.kind() {
            csv::ErrorKind::Io(error) => bad_text(self.file, text, error),
            _ => Refusal::data(format!("{name} is not CSV that can be read; export it again")),
        }
    }

    /// Places of our columns. What is wrong with a header is told all at once.
    fn header(&self, record: &StringRecord, line: u64) -> Result<[Option<usize>; COLUMNS], Refusal> {
        let names: Vec<&str> = record.iter().collect();
        self.mapping.columns(&names).map_err(|wrong| {
            let hint = self.header_hint(&names);
            Refusal::data(format!("{}:{line}: the header has {wrong}; {hint}", self.file.name))
        })
    }

    fn header_hint(&self, names: &[&str]) -> String {
        let text = names.join(&char::from(self.delimiter).to_string());
        let others = || DELIMITERS.into_iter().filter(|d| *d != self.delimiter);
        let fits = others().find(|d| names_fit(&text, *d, self.mapping));
        let alone = || others().find(|d| names.len() == 1 && text.bytes().any(|b| b == *d));
        if let Some(delimiter) = fits.or_else(alone) {
            return format!("the delimiter looks like {}: set delimiter to it", quoted(delimiter));
        }
        "correct the export, or the mapping under columns".to_owned()
    }
}

/// Text up to the end of the first line at least, and what came along with it.
fn head(text: &mut Text) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while head.len() < MAX_RECORD as usize && !head.contains(&b'\n') {
        match text.read(&mut chunk)? {
            0 => break,
            n => head.extend_from_slice(&chunk[..n]),
        }
    }
    Ok(head)
}

fn first_line(head: &[u8]) -> &str {
    let start = head
        .iter()
        .position(|b| !matches!(b, b'\r' | b'\n'))
        .unwrap_or(head.len());
    let line = head[start..]
        .split(|b| matches!(b, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    std::str::from_utf8(line).unwrap_or_default()
}

/// The delimiter under which the header holds every column of the mapping; else the most frequent one, for the message.
fn detect(line: &str, mapping: &Mapping<'_>) -> u8 {
    if let Some(found) = DELIMITERS.iter().find(|d| names_fit(line, **d, mapping)) {
        return *found;
    }
    let count = |delimiter: u8| line.bytes().filter(|b| *b == delimiter).count();
    // Of equals `max_by_key` takes the last; the comma stands first and shall win.
    DELIMITERS.into_iter().rev().max_by_key(|d| count(*d)).unwrap_or(b',')
}

fn names_fit(line: &str, delimiter: u8, mapping: &Mapping<'_>) -> bool {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .from_reader(line.as_bytes());
    let mut record = StringRecord::new();
    let read = reader.read_record(&mut record).unwrap_or(false);
    read && mapping.columns(&record.iter().collect::<Vec<_>>()).is_ok()
}

fn quoted(delimiter: u8) -> &'static str {
    match delimiter {
        b';' => "';'",
        b'\t' => "a tab",
        b'|' => "'|'",
        _ => "','",
    }
}

fn bad_text(file: &File, text: &Text, error: &io::Error) -> Refusal {
    match &text.bad {
        Some(bad) => Refusal::data(bad.sentence(&file.name)),
        None => trouble(&file.name, error),
    }
}
