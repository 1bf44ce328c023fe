//! The same rows as the CSVs as one workbook (XLSX) for people: text ids, real dates and numbers, a frozen and filtered
//! header, one sheet per kind of discrepancy.
//!
//! Rows come in one by one and leave for temporary files, so that a flood does not fill the memory. There is no clock: the
//! creation time is the night's as-of instant, and the same rows give the same bytes. A cell of text never runs, so nothing
//! is guarded with an apostrophe here; apart from that guard a cell is what the CSV says.
//!
//! Numbers: the format stores binary floating point with 15 sure digits. An amount of up to 15 digits becomes a number,
//! which reads back digit for digit; a longer one stays text. Nothing is computed here.

use std::collections::BTreeMap;

use rust_xlsxwriter::{
    Color, DataValidation, DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, IgnoreError,
    ProtectionOptions, Workbook, Worksheet, XlsxError,
};

use super::csv::{Cell, is_decimal, would_run};
use super::definition::{Sink, is_amount_column};
use crate::day::Instant;
use crate::failure::{Class, Failure};

/// Rows of one report that a workbook holds at most; the CSV has all of them, and a sheet of its own says so.
pub const MOST_ROWS: u32 = 20_000;
/// Digits that a spreadsheet keeps.
const SURE_DIGITS: usize = 15;
/// Characters that fit a cell of a spreadsheet.
const LONGEST: usize = 32_767;
/// What a person may decide; the column `decision` offers these.
pub const DECISIONS: [&str; 5] = ["accept", "explain", "write_off", "assign", "reopen"];
/// Columns that the reader fills in.
const TO_FILL_IN: [&str; 3] = ["owner", "decision", "note"];
/// Columns of sentences: wide, and broken into lines.
const SENTENCES: [&str; 8] = [
    "what_differs",
    "likely_cause",
    "suggested_action",
    "suggested_match",
    "evidence",
    "explanation",
    "reason",
    "source",
];
/// Columns of plain numbers that are no amounts; their names stand at the right, over them.
const COUNTS: [&str; 12] = [
    "priority",
    "age_days",
    "count",
    "previous_open",
    "new",
    "reopened",
    "resolved",
    "open",
    "position",
    "windows",
    "pages",
    "rows",
];
/// Height of one line, in points.
const LINE_HEIGHT: u32 = 15;
/// Lines that a row is opened for; more can be read by clicking the cell.
const MOST_LINES: usize = 12;
/// Columns that still fit one page side by side.
const FIT_ONE_PAGE: usize = 16;
/// Width of a column of sentences, and bounds of the others, in characters.
const SENTENCE_WIDTH: usize = 48;
const NARROWEST: usize = 8;
const WIDEST: usize = 34;

/// A workbook under way.
pub struct Book {
    /// Owner of the looks that the sheets share.
    workbook: Workbook,
    made_at: Instant,
    title: String,
    formats: Formats,
    sheets: Vec<Sheet>,
    /// Reports that had more rows than fit: name, rows.
    cut: Vec<(String, u32)>,
}

impl Book {
    /// An empty workbook: `title` for its properties, `as_of` as its time of creation.
    pub fn new(title: String, as_of: Instant) -> Self {
        Self {
            workbook: Workbook::new(),
            made_at: as_of,
            title,
            formats: Formats::default(),
            sheets: Vec::new(),
            cut: Vec::new(),
        }
    }

    /// Takes the rows of a report of this name.
    pub fn report<'b>(&'b mut self, name: &str) -> Part<'b> {
        Part {
            book: self,
            name: name.to_owned(),
            header: Vec::new(),
            kind: None,
            by_kind: BTreeMap::new(),
            whole: None,
            rows: 0,
        }
    }

    /// The bytes: `summary` first, the others in the order of the reports.
    ///
    /// # Errors
    /// LOCAL-IO when the temporary files cannot be written, INTERNAL when the format refuses something.
    pub fn finish(mut self) -> Result<Vec<u8>, Failure> {
        self.sheets.sort_by_key(|sheet| sheet.name != "summary");
        let properties = DocProperties::new()
            .set_title(&self.title)
            .set_author("reconciled")
            .set_creation_datetime(&ExcelDateTime::from_timestamp(self.made_at.timestamp()).map_err(refused)?);
        self.workbook.set_properties(&properties);
        if !self.cut.is_empty() {
            let said = self.said_what_was_cut()?;
            self.workbook.push_worksheet(said);
        }
        for sheet in self.sheets {
            self.workbook.push_worksheet(sheet.finish(&self.formats)?);
        }
        self.workbook.save_to_buffer().map_err(refused)
    }

    fn said_what_was_cut(&self) -> Result<Worksheet, Failure> {
        let mut sheet = Worksheet::new();
        sheet.set_name("not all rows").map_err(refused)?;
        sheet.set_column_width(0, 100).map_err(refused)?;
        for ((name, rows), line) in self.cut.iter().zip(0_u32..) {
            let text =
                format!("{name}: the first {MOST_ROWS} of {rows} rows stand in this workbook; the CSV has all of them");
            sheet.write_string(line, 0, text).map_err(refused)?;
        }
        Ok(sheet)
    }

    fn open(&mut self, name: &str, header: &[String]) -> Result<usize, Failure> {
        let sheet = self.workbook.new_worksheet_with_constant_memory().map_err(refused)?;
        let mut sheet = Sheet::new(sheet, name, header)?;
        sheet.header(&self.formats)?;
        self.sheets.push(sheet);
        Ok(self.sheets.len() - 1)
    }
}

/// One report on its way into the workbook. A report with the columns `discrepancy_id` and `kind` gets one sheet per kind,
/// in the order in which the kinds appear; any other one gets one sheet under its own name.
pub struct Part<'b> {
    book: &'b mut Book,
    name: String,
    header: Vec<String>,
    /// Column of the kind, where the report is split by it.
    kind: Option<usize>,
    by_kind: BTreeMap<String, usize>,
    whole: Option<usize>,
    rows: u32,
}

impl Part<'_> {
    fn sheet(&mut self, cells: &[Cell<'_>]) -> Result<usize, Failure> {
        if let Some(column) = self.kind
            && let Some(Cell::Text(kind)) = cells.get(column)
        {
            if let Some(index) = self.by_kind.get(*kind) {
                return Ok(*index);
            }
            let index = self.book.open(kind, &self.header)?;
            self.by_kind.insert((*kind).to_owned(), index);
            return Ok(index);
        }
        match self.whole {
            Some(index) => Ok(index),
            None => {
                let index = self.book.open(&self.name, &self.header)?;
                Ok(*self.whole.insert(index))
            }
        }
    }
}

impl Sink for Part<'_> {
    fn header(&mut self, names: &[String]) -> Result<(), Failure> {
        names.clone_into(&mut self.header);
        let column = |name: &str| names.iter().position(|n| n == name);
        self.kind = column("discrepancy_id").and(column("kind"));
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Failure> {
        self.rows = self.rows.saturating_add(1);
        if self.rows > MOST_ROWS {
            return Ok(());
        }
        let index = self.sheet(cells)?;
        let Book { sheets, formats, .. } = &mut *self.book;
        sheets[index].row(cells, formats)
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.rows == 0 {
            // A report without rows is still a report.
            self.book.open(&self.name, &self.header)?;
        }
        if self.rows > MOST_ROWS {
            self.book.cut.push((self.name.clone(), self.rows));
        }
        Ok(())
    }
}

/// What a column holds, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Plain,
    Sentence,
    /// Days and instants.
    Time,
    Amount,
    FillIn,
}

fn column(name: &str) -> Column {
    let is_time = matches!(name, "first_seen" | "last_seen" | "oldest_unsealed")
        || name.ends_with("_at")
        || name.ends_with("_day");
    match name {
        _ if TO_FILL_IN.contains(&name) => Column::FillIn,
        _ if SENTENCES.contains(&name) => Column::Sentence,
        _ if is_time => Column::Time,
        _ if is_amount_column(name) => Column::Amount,
        _ => Column::Plain,
    }
}

struct Sheet {
    name: String,
    sheet: Worksheet,
    header: Vec<String>,
    columns: Vec<Column>,
    /// Longest text seen, in characters.
    widths: Vec<usize>,
    /// Rows written, the header included.
    rows: u32,
}

impl Sheet {
    fn new(mut sheet: Worksheet, name: &str, header: &[String]) -> Result<Self, Failure> {
        // 31 characters at most; names are kinds and names of reports, a closed alphabet.
        let short: String = name.chars().take(31).collect();
        sheet.set_name(short).map_err(refused)?;
        Ok(Self {
            name: name.to_owned(),
            sheet,
            columns: header.iter().map(|name| column(name)).collect(),
            widths: header.iter().map(|name| name.chars().count() + 3).collect(),
            header: header.to_vec(),
            rows: 0,
        })
    }

    fn header(&mut self, formats: &Formats) -> Result<(), Failure> {
        for (name, at) in self.header.iter().zip(0_u16..) {
            let right = is_amount_column(name) || COUNTS.contains(&name.as_str());
            let format = if right { &formats.right_header } else { &formats.header };
            self.sheet
                .write_string_with_format(0, at, name, format)
                .map_err(refused)?;
        }
        self.rows = 1;
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>], formats: &Formats) -> Result<(), Failure> {
        let lines = cells
            .iter()
            .zip(&self.columns)
            .map(|(cell, column)| match (cell, column) {
                (Cell::Text(text), Column::Sentence) => lines_of(text),
                _ => 1,
            });
        // No spreadsheet opens rows for what they hold in every case.
        if let Some(lines @ 2..) = lines.max().and_then(|lines| u32::try_from(lines).ok()) {
            self.sheet
                .set_row_height(self.rows, lines * LINE_HEIGHT)
                .map_err(refused)?;
        }
        for ((cell, at), column) in cells.iter().zip(0_u16..).zip(&self.columns) {
            let written = match (cell, column) {
                (Cell::Empty, _) => 0,
                (Cell::Whole(number), _) => whole(&mut self.sheet, self.rows, at, *number, formats)?,
                (Cell::Amount(text), _) if is_decimal(text) => amount(&mut self.sheet, self.rows, at, text, formats)?,
                (Cell::Text(text), Column::Time) if let Some(time) = Time::read(text) => {
                    time.write(&mut self.sheet, self.rows, at, formats)?
                }
                (Cell::Amount(text) | Cell::Text(text), column) => {
                    words(&mut self.sheet, self.rows, at, text, *column, formats)?
                }
            };
            if let Some(width) = self.widths.get_mut(usize::from(at)) {
                *width = written.max(*width);
            }
        }
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    fn finish(mut self, formats: &Formats) -> Result<Worksheet, Failure> {
        let last_row = self.rows.saturating_sub(1);
        let last_column = u16::try_from(self.header.len().saturating_sub(1)).unwrap_or(u16::MAX);
        for (((width, column), name), at) in self.widths.iter().zip(&self.columns).zip(&self.header).zip(0_u16..) {
            let width = match column {
                Column::Sentence => SENTENCE_WIDTH,
                Column::FillIn if name == "note" => SENTENCE_WIDTH,
                Column::FillIn => 14,
                _ => (*width).clamp(NARROWEST, WIDEST),
            };
            self.sheet
                .set_column_width(at, u8::try_from(width).unwrap_or(u8::MAX))
                .map_err(refused)?;
            if *column == Column::FillIn {
                self.sheet.set_column_format(at, &formats.fill_in).map_err(refused)?;
                if name == "decision" {
                    self.sheet
                        .add_data_validation(1, at, last_row.max(1), at, &decisions()?)
                        .map_err(refused)?;
                }
            }
        }
        self.sheet
            .autofilter(0, 0, last_row, last_column)
            .and_then(|sheet| sheet.set_freeze_panes(1, 0))
            .and_then(|sheet| sheet.set_repeat_rows(0, 0))
            .and_then(|sheet| sheet.ignore_error_range(0, 0, last_row, last_column, IgnoreError::NumberStoredAsText))
            .map_err(refused)?;
        self.sheet.set_landscape().set_paper_size(9);
        if self.header.len() <= FIT_ONE_PAGE {
            self.sheet.set_print_fit_to_pages(1, 0);
        } else {
            // Three pages side by side, the id on each of them.
            self.sheet.set_print_fit_to_pages(3, 0);
            self.sheet.set_repeat_columns(0, 0).map_err(refused)?;
        }
        if self.columns.contains(&Column::FillIn) {
            // Without a password: it keeps a slip of the hand from changing what was found, and whoever must, can lift it.
            self.sheet.protect_with_options(&ProtectionOptions {
                use_autofilter: true,
                sort: true,
                format_cells: true,
                format_columns: true,
                format_rows: true,
                ..ProtectionOptions::new()
            });
        }
        Ok(self.sheet)
    }
}

/// Lines that a sentence takes in its column, counted generously.
fn lines_of(text: &str) -> usize {
    let broken = text
        .split('\n')
        .map(|line| line.chars().count().div_ceil(SENTENCE_WIDTH - 4).max(1));
    broken.sum::<usize>().min(MOST_LINES)
}

fn decisions() -> Result<DataValidation, Failure> {
    DataValidation::new()
        .allow_list_strings(&DECISIONS)
        .and_then(|rule| rule.set_input_title("Decision"))
        .and_then(|rule| rule.set_input_message("accept, explain, write_off, assign or reopen; say why under note"))
        .and_then(|rule| rule.set_error_title("Not a decision"))
        .and_then(|rule| rule.set_error_message("Choose accept, explain, write_off, assign or reopen."))
        .map_err(refused)
}

/// A number as plain digits; one that a spreadsheet would round stays text. Returns its width.
fn whole(sheet: &mut Worksheet, row: u32, at: u16, number: i64, formats: &Formats) -> Result<usize, Failure> {
    let text = number.to_string();
    decimal(sheet, row, at, &text, 0, formats)
}

fn amount(sheet: &mut Worksheet, row: u32, at: u16, text: &str, formats: &Formats) -> Result<usize, Failure> {
    let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    decimal(sheet, row, at, text, decimals, formats)
}

fn decimal(
    sheet: &mut Worksheet,
    row: u32,
    at: u16,
    text: &str,
    decimals: usize,
    formats: &Formats,
) -> Result<usize, Failure> {
    let digits = text
        .bytes()
        .filter(u8::is_ascii_digit)
        .skip_while(|b| *b == b'0')
        .count();
    // Every decimal of up to 15 digits survives the way into a double and back.
    match (
        digits <= SURE_DIGITS,
        text.parse::<f64>(),
        formats.numbers.get(decimals),
    ) {
        (true, Ok(number), Some(format)) => sheet.write_number_with_format(row, at, number, format),
        _ => sheet.write_string_with_format(row, at, text, &formats.digits),
    }
    .map_err(refused)?;
    Ok(text.len() + 1)
}

fn words(
    sheet: &mut Worksheet,
    row: u32,
    at: u16,
    text: &str,
    column: Column,
    formats: &Formats,
) -> Result<usize, Failure> {
    let format = match (column, would_run(text)) {
        (Column::FillIn, _) => &formats.fill_in,
        (Column::Sentence, false) => &formats.sentence,
        (Column::Sentence, true) => &formats.guarded_sentence,
        (_, false) => &formats.text,
        (_, true) => &formats.guarded_text,
    };
    let length = text.chars().count();
    let cut: String;
    let shown = if length > LONGEST {
        cut = text.chars().take(LONGEST - 1).chain(['…']).collect();
        &cut
    } else {
        text
    };
    sheet
        .write_string_with_format(row, at, shown, format)
        .map_err(refused)?;
    Ok(length)
}

/// A day, or an instant with milliseconds.
struct Time {
    value: ExcelDateTime,
    has_clock: bool,
}

impl Time {
    /// `2026-03-04` or `2026-03-04T15:22:09.000Z`; anything else, and what a spreadsheet cannot date, is text.
    fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = |pattern: &[u8]| {
            bytes.len() == pattern.len()
                && pattern
                    .iter()
                    .zip(bytes)
                    .all(|(p, b)| if *p == b'0' { b.is_ascii_digit() } else { p == b })
        };
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
        let day = || {
            ExcelDateTime::from_ymd(
                number(0, 4)?,
                u8::try_from(number(5, 7)?).ok()?,
                u8::try_from(number(8, 10)?).ok()?,
            )
            .ok()
        };
        if shape(b"0000-00-00") {
            return Some(Self {
                value: day()?,
                has_clock: false,
            });
        }
        if !shape(b"0000-00-00T00:00:00.000Z") {
            return None;
        }
        let clock = |from: usize| u8::try_from(number(from, from + 2)?).ok();
        let value = day()?
            .and_hms_milli(u16::from(clock(11)?), clock(14)?, clock(17)?, number(20, 23)?)
            .ok()?;
        Some(Self { value, has_clock: true })
    }

    fn write(&self, sheet: &mut Worksheet, row: u32, at: u16, formats: &Formats) -> Result<usize, Failure> {
        let (format, width) = if self.has_clock {
            (&formats.instant, 22)
        } else {
            (&formats.day, 11)
        };
        sheet
            .write_datetime_with_format(row, at, &self.value, format)
            .map_err(refused)?;
        Ok(width)
    }
}

/// The few looks of cells. Text cells say so to the spreadsheet, so that an id typed over stays an id.
struct Formats {
    header: Format,
    right_header: Format,
    text: Format,
    guarded_text: Format,
    sentence: Format,
    guarded_sentence: Format,
    fill_in: Format,
    day: Format,
    instant: Format,
    /// Digits that are text.
    digits: Format,
    /// By number of decimals.
    numbers: [Format; 5],
}

impl Default for Formats {
    fn default() -> Self {
        let top = || Format::new().set_align(FormatAlign::Top);
        let text = || top().set_num_format("@").set_align(FormatAlign::Left).set_indent(1);
        let header = || {
            Format::new()
                .set_bold()
                .set_background_color(Color::RGB(0x00E7_ECF2))
                .set_border_bottom(FormatBorder::Thin)
        };
        let time = |format: &str| top().set_num_format(format).set_align(FormatAlign::Left).set_indent(1);
        let sentence = || text().set_text_wrap();
        Self {
            header: header().set_align(FormatAlign::Left).set_indent(1),
            right_header: header().set_align(FormatAlign::Right),
            text: text(),
            guarded_text: text().set_quote_prefix(),
            sentence: sentence(),
            guarded_sentence: sentence().set_quote_prefix(),
            fill_in: sentence().set_unlocked().set_background_color(Color::RGB(0x00FF_F9E5)),
            day: time("yyyy-mm-dd"),
            instant: time("yyyy-mm-dd hh:mm:ss\"Z\""),
            digits: top().set_num_format("@").set_align(FormatAlign::Right),
            numbers: ["0", "0.0", "0.00", "0.000", "0.0000"].map(|format| top().set_num_format(format)),
        }
    }
}

/// The library's errors may name a sheet, never a value; only their nature is told.
fn refused(error: XlsxError) -> Failure {
    match error {
        XlsxError::IoError(error) => Failure::new(
            Class::LocalIo,
            format!("a workbook could not be written: {}", error.kind()),
        ),
        _ => Failure::new(
            Class::Internal,
            "a workbook could not be written: the format refused a cell or a name",
        ),
    }
}
