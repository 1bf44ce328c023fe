//! The bytes of a returned file -> its tables, each a list of rows of texts. Says which kind of file it is; the grammar of
//! each kind lies in `csv.rs` and `xlsx.rs`. Does not know what the columns mean.

use super::{csv, xlsx};

/// Rows that a sheet may have: far above any list of discrepancies a person can work off.
pub const MOST_ROWS: usize = 500_000;
/// Columns that are looked at; a sheet of ours has 31.
pub const MOST_COLUMNS: usize = 200;
/// Bytes of a returned file.
pub const MOST_BYTES: u64 = 64 << 20;

/// One sheet: a CSV file, or one of a workbook.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Name of the sheet; empty for CSV.
    pub sheet: String,
    /// Row number as a spreadsheet counts (from 1), and its cells.
    pub rows: Vec<(i64, Vec<String>)>,
    /// What a person should know about how it was read.
    pub remark: Option<&'static str>,
}

/// Reads every table of a file.
///
/// # Errors
/// One sentence: what the file is, what to do.
pub fn tables(bytes: &[u8]) -> Result<Vec<Table>, String> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!(
            "the file is larger than {} MB; return only the rows that carry a decision",
            MOST_BYTES >> 20
        ));
    }
    match bytes {
        [] => Err("the file is empty; save it again and return it once more".to_owned()),
        [b'P', b'K', 3, 4, ..] => xlsx::tables(bytes),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => Err(
            "it is an old Excel workbook (.xls) or one with a password; save it as .xlsx without a password, or as CSV UTF-8"
                .to_owned(),
        ),
        _ => csv::table(bytes).map(|table| vec![table]),
    }
}
