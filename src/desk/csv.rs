//! A returned CSV, whatever program saved it: any separator, any line ends, quoted or not, UTF-8 with or without its mark,
//! UTF-16, and what an older Excel writes (Windows-1252). Refuses what could be read in two ways.

use ::csv::{ReaderBuilder, StringRecord};

use super::lines::ID;
use super::sheet::{MOST_ROWS, Table};
use crate::ledger::decoded;

/// What may separate the cells.
const SEPARATORS: [u8; 4] = [b';', b',', b'\t', b'|'];
/// The header stands in one of the first rows.
pub const HEADER_WITHIN: usize = 20;

/// Reads the table.
///
/// # Errors
/// One sentence: what is wrong with the file, where, what to do.
pub fn table(bytes: &[u8]) -> Result<Table, String> {
    let (text, remark) = decoded(bytes)?;
    if text.bytes().filter(|b| *b == b'"').count() % 2 == 1 {
        return Err(
            "a quote is opened and never closed, so the rows cannot be told apart; save the sheet as CSV UTF-8 again"
                .to_owned(),
        );
    }
    let fits = |separator: &&u8| {
        let head = rows(&text, **separator, HEADER_WITHIN);
        head.is_ok_and(|rows| {
            rows.iter()
                .any(|(_, cells)| cells.len() > 1 && cells.iter().any(|c| is_id(c)))
        })
    };
    let Some(separator) = SEPARATORS.iter().find(fits) else {
        return Err(format!(
            "no header with the column `{ID}` in the first {HEADER_WITHIN} rows; return the discrepancies CSV as it was mailed, \
             with its header, and save it as CSV UTF-8"
        ));
    };
    Ok(Table {
        sheet: String::new(),
        rows: rows(&text, *separator, MOST_ROWS)?,
        remark,
    })
}

fn is_id(cell: &str) -> bool {
    cell.trim().eq_ignore_ascii_case(ID)
}

/// The first rows with their numbers; rows without any cell are counted and left out.
fn rows(text: &str, separator: u8, most: usize) -> Result<Vec<(i64, Vec<String>)>, String> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let (mut rows, mut number, mut end) = (Vec::new(), 0, 0);
    while rows.len() < most {
        let more = reader
            .read_record(&mut record)
            .map_err(|_| "it is no CSV that can be read; save the sheet as CSV UTF-8 again".to_owned())?;
        if !more {
            return Ok(rows);
        }
        number += 1 + blank_rows(text, end);
        end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        rows.push((number, record.iter().map(str::to_owned).collect()));
    }
    if most == MOST_ROWS {
        return Err(format!(
            "the sheet has more than {MOST_ROWS} rows; return only the rows that carry a decision"
        ));
    }
    Ok(rows)
}

/// Rows without any cell from `end` on: the reader passes over them, a spreadsheet counts them.
fn blank_rows(text: &str, end: usize) -> i64 {
    let rest = text.as_bytes().get(end..).unwrap_or_default();
    // The reader stops behind CR; the LF after it ends the same row.
    let continued = end > 0 && text.as_bytes().get(end - 1) == Some(&b'\r') && rest.first() == Some(&b'\n');
    let mut rest = &rest[usize::from(continued)..];
    let mut blank = 0;
    loop {
        rest = match rest {
            [b'\r', b'\n', after @ ..] | [b'\n' | b'\r', after @ ..] => after,
            _ => return blank,
        };
        blank += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(i64, Vec<String>)> {
        table(text.as_bytes()).unwrap().rows
    }

    #[test]
    fn separators_line_ends_and_quotes_do_not_matter() {
        let wanted = [
            (1, vec!["discrepancy_id", "note"]),
            (2, vec!["a", "x"]),
            (3, vec!["b", "y"]),
        ]
        .map(|(n, cells)| (n, cells.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        for text in [
            "discrepancy_id,note\r\na,x\r\nb,y\r\n",
            "\u{feff}discrepancy_id;note\na;x\nb;y",
            "discrepancy_id\tnote\ra\tx\rb\ty",
            "\"discrepancy_id\"|\"note\"\n\"a\"|\"x\"\n\"b\"|\"y\"\n",
        ] {
            assert_eq!(read(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn rows_are_counted_as_a_spreadsheet_counts_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["note,discrepancy_id", "", "\"two", "lines\",a", "", "", "x,b"].join(end);
            let numbers: Vec<i64> = read(&text).iter().map(|row| row.0).collect();
            assert_eq!(numbers, [1, 3, 6], "{end:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_in_one_way_is_refused() {
        for (text, why) in [
            ("discrepancy_id,note\na,\"x\n", "never closed"),
            ("id,note\na,x\n", "no header with the column `discrepancy_id`"),
        ] {
            let said = table(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
