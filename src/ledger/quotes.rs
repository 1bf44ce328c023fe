//! Strict RFC 4180 in front of the lenient `csv` crate, which takes an unclosed quote for a very long field and gives no
//! error (measured; FAILURES F7). Every byte that passes is looked at; a file whose quotes do not close exactly is refused.
//!
//! One consequence is worth knowing: an accepted text holds an even number of quotes, so one quote too many or too few,
//! anywhere, is always noticed.
//!
//! It also knows in which line each record begins (the crate is one off after CRLF and blank lines), and counts records:
//! as many must come out of the crate.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;

/// More line ends inside one quoted cell are no address any more, but two quotes that found each other.
pub(super) const MAX_LINES_IN_CELL: u64 = 32;
/// Bytes of one record: bounds memory whatever the file holds.
pub(super) const MAX_RECORD: u64 = 1024 * 1024;

/// What is wrong with the form, with the line from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadForm {
    /// A quote inside a cell that did not begin with one; `formula`: right behind `=`.
    StrayQuote {
        line: u64,
        formula: bool,
    },
    /// Text right behind a closing quote.
    AfterQuote {
        line: u64,
    },
    /// Opened in this line and never closed.
    Unclosed {
        line: u64,
    },
    LongCell {
        line: u64,
    },
    LongRecord {
        line: u64,
    },
    /// A carriage return without a line feed.
    LoneCr {
        line: u64,
    },
    /// The last line has no line end.
    Unfinished {
        line: u64,
    },
}

impl BadForm {
    /// One sentence: where, what, what to do.
    pub(super) fn sentence(self, file: &str) -> String {
        let (line, what) = match self {
            Self::StrayQuote { line, formula: true } => (
                line,
                "a spreadsheet formula (=\"…\") instead of text; export the column as plain text".to_owned(),
            ),
            Self::StrayQuote { line, formula: false } => (
                line,
                "a quote inside a cell that does not begin with one; cells with quotes must be quoted and their quotes doubled".to_owned(),
            ),
            Self::AfterQuote { line } => (
                line,
                "text behind a closing quote; quotes inside a quoted cell must be doubled".to_owned(),
            ),
            Self::Unclosed { line } => (
                line,
                "a quote that is opened here is never closed; the file is damaged or cut off".to_owned(),
            ),
            Self::LongCell { line } => (
                line,
                format!("a quoted cell that begins here runs over more than {MAX_LINES_IN_CELL} lines; a quote is missing or too many"),
            ),
            Self::LongRecord { line } => (line, format!("a row that begins here is longer than {MAX_RECORD} bytes")),
            Self::LoneCr { line } => (
                line,
                "a line that ends in CR alone (an old Macintosh form) or a stray CR; export the file with LF or CRLF".to_owned(),
            ),
            Self::Unfinished { line } => (
                line,
                "the last line has no line end, so the file may be cut off or still being written; write it under another name and rename it, and end its last line".to_owned(),
            ),
        };
        format!("{file}:{line}: {what}")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first byte of a record; blank lines stay here.
    Start,
    /// In an unquoted cell, or right behind a delimiter.
    Plain,
    Quoted,
    /// Behind a quote inside a quoted cell: its end, or the first of a doubled one.
    Quote,
    /// Behind a carriage return outside quotes.
    Cr,
}

/// What the reader in front shares with the one who asks the crate for records.
#[derive(Default)]
pub(super) struct Seen {
    /// Lines in which the records begin that the crate has not given out yet.
    pub(super) lines: VecDeque<u64>,
    pub(super) bad: Option<BadForm>,
}

/// Passes bytes on, unless their form is wrong.
pub(super) struct Strict<R> {
    pub(super) inner: R,
    delimiter: u8,
    at: At,
    /// The byte before the chunk.
    last: u8,
    line: u64,
    /// Line in which the quoted cell began, and its line ends so far.
    opened: u64,
    lines_in_cell: u64,
    record_line: u64,
    /// Bytes of the record in earlier chunks.
    record_bytes: u64,
    seen: Rc<RefCell<Seen>>,
}

impl<R: Read> Strict<R> {
    pub(super) fn new(inner: R, delimiter: u8) -> (Self, Rc<RefCell<Seen>>) {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let strict = Self {
            inner,
            delimiter,
            at: At::Start,
            last: b'\n',
            line: 1,
            opened: 1,
            lines_in_cell: 0,
            record_line: 1,
            record_bytes: 0,
            seen: Rc::clone(&seen),
        };
        (strict, seen)
    }

    fn fail(&self, bad: BadForm) -> io::Error {
        self.seen.borrow_mut().bad = Some(bad);
        io::Error::new(io::ErrorKind::InvalidData, "not strict CSV")
    }

    fn scan(&mut self, chunk: &[u8]) -> Result<(), BadForm> {
        let mut i = 0;
        // Where the running record begins in this chunk; what came before is in `record_bytes`.
        let mut record_from = 0;
        while i < chunk.len() {
            match self.at {
                At::Start => {
                    if self.begin(chunk[i]) {
                        record_from = i;
                    }
                }
                At::Plain => {
                    let Some(found) = memchr::memchr3(b'"', b'\n', b'\r', &chunk[i..]) else {
                        break;
                    };
                    i += found;
                    let before = if i == 0 { self.last } else { chunk[i - 1] };
                    self.plain(chunk[i], before)?;
                }
                At::Quoted => {
                    let Some(found) = memchr::memchr2(b'"', b'\n', &chunk[i..]) else {
                        break;
                    };
                    i += found;
                    self.quoted(chunk[i])?;
                }
                At::Quote => self.behind_quote(chunk[i])?,
                At::Cr if chunk[i] == b'\n' => self.end_record(),
                At::Cr => return Err(BadForm::LoneCr { line: self.line }),
            }
            i += 1;
        }
        self.last = chunk.last().copied().unwrap_or(self.last);
        if self.at == At::Start {
            return Ok(());
        }
        self.record_bytes += (chunk.len() - record_from) as u64;
        if self.record_bytes > MAX_RECORD {
            return Err(BadForm::LongRecord { line: self.record_line });
        }
        Ok(())
    }

    /// Between records; true where one begins.
    fn begin(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => self.line += 1,
            b'\r' => self.at = At::Cr,
            _ => {
                self.record_line = self.line;
                self.record_bytes = 0;
                self.seen.borrow_mut().lines.push_back(self.line);
                self.at = At::Plain;
                if byte == b'"' {
                    self.open();
                }
                return true;
            }
        }
        false
    }

    /// A quote, LF or CR outside quotes, and the byte before it.
    fn plain(&mut self, byte: u8, before: u8) -> Result<(), BadForm> {
        match byte {
            b'\n' => self.end_record(),
            b'\r' => self.at = At::Cr,
            _ if before == self.delimiter => self.open(),
            _ => {
                return Err(BadForm::StrayQuote {
                    line: self.line,
                    formula: before == b'=',
                });
            }
        }
        Ok(())
    }

    /// A quote or LF inside quotes.
    fn quoted(&mut self, byte: u8) -> Result<(), BadForm> {
        if byte == b'"' {
            self.at = At::Quote;
            return Ok(());
        }
        self.line += 1;
        self.lines_in_cell += 1;
        if self.lines_in_cell > MAX_LINES_IN_CELL {
            return Err(BadForm::LongCell { line: self.opened });
        }
        Ok(())
    }

    fn behind_quote(&mut self, byte: u8) -> Result<(), BadForm> {
        match byte {
            b'"' => self.at = At::Quoted,
            b'\n' => self.end_record(),
            b'\r' => self.at = At::Cr,
            _ if byte == self.delimiter => self.at = At::Plain,
            _ => return Err(BadForm::AfterQuote { line: self.line }),
        }
        Ok(())
    }

    fn open(&mut self) {
        self.at = At::Quoted;
        self.opened = self.line;
        self.lines_in_cell = 0;
    }

    fn end_record(&mut self) {
        self.at = At::Start;
        self.line += 1;
    }

    /// The proof at the end of the file.
    fn end(&self) -> Result<(), BadForm> {
        match self.at {
            At::Start => Ok(()),
            At::Quoted => Err(BadForm::Unclosed { line: self.opened }),
            At::Cr => Err(BadForm::LoneCr { line: self.line }),
            At::Plain | At::Quote => Err(BadForm::Unfinished { line: self.record_line }),
        }
    }
}

impl<R: Read> Read for Strict<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let looked_at = if n == 0 && !buffer.is_empty() {
            self.end()
        } else {
            self.scan(&buffer[..n])
        };
        match looked_at {
            Ok(()) => Ok(n),
            Err(bad) => Err(self.fail(bad)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str, chunk: usize) -> (Vec<u64>, Option<BadForm>) {
        let (mut strict, seen) = Strict::new(text.as_bytes(), b',');
        let mut buffer = vec![0; chunk];
        while let Ok(n) = strict.read(&mut buffer) {
            if n == 0 {
                break;
            }
        }
        let seen = seen.borrow();
        (seen.lines.iter().copied().collect(), seen.bad)
    }

    #[test]
    fn every_way_a_quote_can_be_wrong_is_told_with_its_line_however_the_bytes_arrive() {
        for (text, lines, bad) in [
            ("a,b\n1,2\n", vec![1, 2], None),
            ("a,b\r\n\r\n1,2\r\n", vec![1, 3], None),
            ("a,\"b\nc\"\n1,2\n", vec![1, 3], None),
            ("a,\"b\"\"c\"\n", vec![1], None),
            ("\"\"\n", vec![1], None),
            (
                "a,b\n1,x\"y\n",
                vec![1, 2],
                Some(BadForm::StrayQuote {
                    line: 2,
                    formula: false,
                }),
            ),
            (
                "a,b\n1,=\"7\"\n",
                vec![1, 2],
                Some(BadForm::StrayQuote { line: 2, formula: true }),
            ),
            ("a,\"b\"c\n", vec![1], Some(BadForm::AfterQuote { line: 1 })),
            ("a,b\n\"1,2\n3,4\n", vec![1, 2], Some(BadForm::Unclosed { line: 2 })),
            ("a,b\r1,2\r", vec![1], Some(BadForm::LoneCr { line: 1 })),
            ("a,b\n1,2", vec![1, 2], Some(BadForm::Unfinished { line: 2 })),
            ("a,b\n1,\"2\"", vec![1, 2], Some(BadForm::Unfinished { line: 2 })),
            ("a,b\n1,2\r", vec![1, 2], Some(BadForm::LoneCr { line: 2 })),
        ] {
            for chunk in [1, 2, 3, 4096] {
                assert_eq!(look(text, chunk), (lines.clone(), bad), "{text:?} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn a_cell_over_many_lines_and_a_row_without_end_are_stopped() {
        let long = format!("a\n\"{}\"\n", "\n".repeat(40));
        assert_eq!(look(&long, 512).1, Some(BadForm::LongCell { line: 2 }));
        let wide = format!("a\nb\n{}\n", "x".repeat(2 * 1024 * 1024));
        assert_eq!(look(&wide, 8192).1, Some(BadForm::LongRecord { line: 3 }));
    }
}
