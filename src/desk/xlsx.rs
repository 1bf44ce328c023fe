//! A returned workbook: every sheet's cells as texts. Numbers come as the shortest decimal that gives the same number, which
//! is what was typed, up to the 15 digits a spreadsheet keeps.
//!
//! Cells are read one by one: a cell in the last corner of a sheet must not fill the memory.

use std::io::Cursor;

use calamine::{DataRef, Reader, Xlsx, open_workbook_from_rs};
use zip::ZipArchive;

use super::sheet::{MOST_COLUMNS, MOST_ROWS, Table};

/// Bytes of a workbook when unpacked, as it declares them.
const MOST_UNPACKED: u64 = 512 << 20;

/// Reads every sheet.
///
/// # Errors
/// One sentence: what is wrong with the workbook, what to do.
pub fn tables(bytes: &[u8]) -> Result<Vec<Table>, String> {
    guard_size(bytes)?;
    let mut book: Xlsx<_> = open_workbook_from_rs(Cursor::new(bytes)).map_err(|_| unreadable())?;
    let names = book.sheet_names();
    names.into_iter().map(|name| sheet(&mut book, name)).collect()
}

fn unreadable() -> String {
    "it is no Excel workbook that can be read (OpenDocument or a damaged file?); save it as .xlsx or as CSV UTF-8"
        .to_owned()
}

/// A small file may unpack to more than the memory holds.
fn guard_size(bytes: &[u8]) -> Result<(), String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| unreadable())?;
    let mut sum = 0_u64;
    for index in 0..archive.len() {
        let part = archive.by_index_raw(index).map_err(|_| unreadable())?;
        sum = sum.saturating_add(part.size());
    }
    if sum > MOST_UNPACKED {
        return Err(format!(
            "the workbook unpacks to more than {} MB; return only the rows that carry a decision",
            MOST_UNPACKED >> 20
        ));
    }
    Ok(())
}

fn sheet(book: &mut Xlsx<Cursor<&[u8]>>, name: String) -> Result<Table, String> {
    let mut rows: Vec<(i64, Vec<String>)> = Vec::new();
    // A sheet without cells (a chart) has nothing to decide about.
    if let Ok(mut cells) = book.worksheet_cells_reader(&name) {
        while let Some(cell) = cells.next_cell().map_err(|_| unreadable())? {
            let (row, column) = cell.get_position();
            let (number, column) = (i64::from(row) + 1, column as usize);
            let text = text(cell.get_value());
            if text.is_empty() || column >= MOST_COLUMNS {
                continue;
            }
            if rows.last().is_none_or(|(last, _)| *last != number) {
                if rows.len() == MOST_ROWS {
                    return Err(format!(
                        "the sheet {name:?} has more than {MOST_ROWS} rows; return only the rows that carry a decision"
                    ));
                }
                rows.push((number, Vec::new()));
            }
            let Some((_, cells)) = rows.last_mut() else { continue };
            if cells.len() <= column {
                cells.resize(column + 1, String::new());
            }
            cells[column] = text;
        }
    }
    Ok(Table {
        sheet: name,
        rows,
        remark: None,
    })
}

fn text(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(yes) => if *yes { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::DateTime(at) => {
            let (year, month, day, hour, minute, second, _) = at.to_ymd_hms_milli();
            match (hour, minute, second) {
                (0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
                _ => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
            }
        }
        DataRef::Error(error) => error.to_string(),
        DataRef::Empty => String::new(),
    }
}
