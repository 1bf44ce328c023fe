//! Rows -> the bytes of a CSV for people: UTF-8 with a byte-order mark, CRLF, RFC 4180, a header always.
//!
//! Pure: cells come in, bytes go out; no clock, no file. Knows the locale's decimal sign and separator, and which texts a
//! spreadsheet would run. Does not know what the columns mean: an amount is a cell that the caller calls so *and* that
//! looks like `-?[0-9]+(\.[0-9]+)?`; everything else is text.

use std::io::Write;

use crate::config::Locale;
use crate::failure::{Class, Failure};

/// Without it a spreadsheet takes the file for the local code page.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Characters that make a spreadsheet run a cell (OWASP, CWE-1236), with their full-width forms.
const RUN: [char; 12] = ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠'];

/// One typed cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing known: an empty cell.
    Empty,
    /// A count, an id of ours, minor units: plain digits.
    Whole(i64),
    /// A decimal text from a typed amount; its decimal sign follows the locale.
    Amount(&'a str),
    /// Anything else, neutralised where a spreadsheet would run it.
    Text(&'a str),
}

/// Whether a text is a plain decimal and nothing else.
pub fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    plain(whole) && plain(fraction)
}

/// Whether a spreadsheet would run this text.
pub fn would_run(text: &str) -> bool {
    text.starts_with(RUN)
}

/// Writes one CSV cell by cell.
pub struct Sheet<W: Write> {
    csv: csv::Writer<W>,
    decimal: char,
    /// Holds a cell that had to be changed; reused.
    changed: String,
}

impl<W: Write> Sheet<W> {
    /// Begins a file: byte-order mark and header.
    ///
    /// # Errors
    /// LOCAL-IO when `out` cannot be written.
    pub fn begin<'h>(mut out: W, locale: Locale, header: impl IntoIterator<Item = &'h str>) -> Result<Self, Failure> {
        out.write_all(BYTE_ORDER_MARK)?;
        let csv = csv::WriterBuilder::new()
            .delimiter(u8::try_from(locale.separator).unwrap_or(b','))
            .terminator(csv::Terminator::CRLF)
            .from_writer(out);
        let mut sheet = Self {
            csv,
            decimal: locale.decimal,
            changed: String::new(),
        };
        for name in header {
            sheet.cell(Cell::Text(name))?;
        }
        sheet.end_row()?;
        Ok(sheet)
    }

    /// Writes the next cell of the row.
    ///
    /// # Errors
    /// LOCAL-IO when the sink cannot be written.
    pub fn cell(&mut self, cell: Cell<'_>) -> Result<(), Failure> {
        let written = match cell {
            Cell::Empty => self.csv.write_field(b""),
            Cell::Whole(number) => {
                use std::fmt::Write as _;
                self.changed.clear();
                // Writing to a String cannot fail.
                let _ = write!(self.changed, "{number}");
                self.csv.write_field(&self.changed)
            }
            Cell::Amount(text) if is_decimal(text) => match text.split_once('.') {
                Some((whole, fraction)) if self.decimal != '.' => {
                    self.changed.clear();
                    self.changed
                        .extend([whole, self.decimal.encode_utf8(&mut [0; 4]), fraction]);
                    self.csv.write_field(&self.changed)
                }
                _ => self.csv.write_field(text),
            },
            Cell::Amount(text) | Cell::Text(text) if would_run(text) => {
                self.changed.clear();
                self.changed.extend(["'", text]);
                self.csv.write_field(&self.changed)
            }
            Cell::Amount(text) | Cell::Text(text) => self.csv.write_field(text),
        };
        written.map_err(refused)
    }

    /// Ends the row.
    ///
    /// # Errors
    /// LOCAL-IO when the sink cannot be written; INTERNAL when the row has another number of cells than the header.
    pub fn end_row(&mut self) -> Result<(), Failure> {
        self.csv.write_record(None::<&[u8]>).map_err(refused)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// LOCAL-IO when the last bytes cannot be written.
    pub fn finish(self) -> Result<W, Failure> {
        self.csv.into_inner().map_err(|error| {
            Failure::new(
                Class::LocalIo,
                format!("a CSV could not be written: {}", error.error().kind()),
            )
        })
    }
}

/// The csv crate's errors carry counts and kinds, no values.
fn refused(error: csv::Error) -> Failure {
    let class = if error.is_io_error() {
        Class::LocalIo
    } else {
        Class::Internal
    };
    Failure::new(class, format!("a CSV could not be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GERMAN: Locale = Locale {
        name: "de",
        decimal: ',',
        separator: ';',
    };

    fn sheet(locale: Locale, rows: &[&[Cell<'_>]]) -> Vec<u8> {
        let names = ["a", "b", "c"];
        let width = rows.first().map_or(3, |row| row.len());
        let mut sheet = Sheet::begin(Vec::new(), locale, names.into_iter().take(width)).unwrap();
        for row in rows {
            for cell in *row {
                sheet.cell(*cell).unwrap();
            }
            sheet.end_row().unwrap();
        }
        sheet.finish().unwrap()
    }

    #[test]
    fn a_sheet_without_rows_is_its_header() {
        assert_eq!(sheet(Locale::default(), &[]), b"\xEF\xBB\xBFa,b,c\r\n");
    }

    #[test]
    fn amounts_follow_the_locale_and_stay_numbers_and_texts_do_not_run() {
        let row = [Cell::Amount("-1234.50"), Cell::Text("-1234.50"), Cell::Whole(-3)];
        assert_eq!(
            sheet(Locale::default(), &[&row]),
            b"\xEF\xBB\xBFa,b,c\r\n-1234.50,'-1234.50,-3\r\n"
        );
        assert_eq!(
            sheet(GERMAN, &[&row]),
            b"\xEF\xBB\xBFa;b;c\r\n-1234,50;'-1234.50;-3\r\n"
        );
    }

    #[test]
    fn what_is_called_an_amount_but_is_none_is_guarded_like_text() {
        for bad in ["=1+1", "+5", "-", "-1.2.3", "1e5", "-1,5", ".5", "5.", "", "--1", "−5"] {
            assert!(!is_decimal(bad), "{bad}");
        }
        let bytes = sheet(GERMAN, &[&[Cell::Amount("=1.5"), Cell::Amount("+5"), Cell::Empty]]);
        assert_eq!(bytes, b"\xEF\xBB\xBFa;b;c\r\n'=1.5;'+5;\r\n");
    }

    #[test]
    fn long_digit_strings_are_written_as_they_stand() {
        let bytes = sheet(
            Locale::default(),
            &[&[Cell::Text("00012345678901234567890"), Cell::Empty, Cell::Empty]],
        );
        assert!(bytes.ends_with(b"\r\n00012345678901234567890,,\r\n"));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_a_strict_reader_and_none_of_it_runs(
            cells in prop::collection::vec("(?s)[=+\\-@\t\r\n\0＝＋－＠'\",; a-zñ0-9.]{0,6}|(?s).{0,8}", 3..=3),
            german: bool,
        ) {
            let locale = if german { GERMAN } else { Locale::default() };
            let row: Vec<Cell<'_>> = cells.iter().map(|text| Cell::Text(text)).collect();
            let bytes = sheet(locale, &[&row]);
            let rows = strict(&bytes, locale.separator);
            prop_assert_eq!(rows.len(), 2);
            for (read, text) in rows[1].iter().zip(&cells) {
                prop_assert!(!read.starts_with(RUN), "{read:?} runs");
                let guarded = if would_run(text) { format!("'{text}") } else { text.clone() };
                prop_assert_eq!(read, &guarded);
            }
            prop_assert_eq!(rows[1].len(), 3);
        }
    }

    /// RFC 4180 to the letter, written for this test alone: panics where the text leaves the grammar.
    fn strict(bytes: &[u8], separator: char) -> Vec<Vec<String>> {
        let text = std::str::from_utf8(bytes).unwrap().strip_prefix('\u{feff}').unwrap();
        let mut rows = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let mut row = Vec::new();
            loop {
                let cell;
                if let Some(inside) = rest.strip_prefix('"') {
                    let mut end = 0;
                    loop {
                        end += inside[end..].find('"').expect("a quote is closed");
                        if inside[end + 1..].starts_with('"') {
                            end += 2
                        } else {
                            break;
                        }
                    }
                    cell = inside[..end].replace("\"\"", "\"");
                    rest = &inside[end + 1..];
                } else {
                    let end = rest.find([separator, '\r', '\n']).expect("a row is ended");
                    assert!(!rest[..end].contains('"'), "a bare quote");
                    cell = rest[..end].to_owned();
                    rest = &rest[end..];
                }
                row.push(cell);
                if let Some(after) = rest.strip_prefix(separator) {
                    rest = after;
                } else {
                    rest = rest.strip_prefix("\r\n").expect("CRLF after a row");
                    break;
                }
            }
            rows.push(row);
        }
        rows
    }
}
