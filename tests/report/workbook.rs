//! The workbook read back with a reader that we did not write, and held against the CSVs cell by cell.

use std::collections::BTreeMap;
use std::io::Cursor;

use calamine::{Data, Reader, Xlsx};
use reconciled::report::Produced;
use reconciled::report::workbook::{DECISIONS, MOST_ROWS};

use super::night::{DAY, Desk, JOB, full, job, quiet, strict_csv};

/// One sheet: name, header, rows of texts as the CSV would write them.
struct SheetRead {
    name: String,
    rows: Vec<BTreeMap<String, String>>,
}

fn find<'f>(produced: &'f [Produced], name: &str) -> &'f [u8] {
    &produced
        .iter()
        .find(|file| file.name == name)
        .unwrap_or_else(|| panic!("{name} was not produced"))
        .bytes
}

fn read(produced: &[Produced]) -> Vec<SheetRead> {
    let bytes = find(produced, &format!("{DAY}_{JOB}.xlsx"));
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes.to_vec())).unwrap();
    book.sheet_names()
        .to_vec()
        .into_iter()
        .map(|name| {
            let range = book.worksheet_range(&name).unwrap();
            let mut rows = range.rows();
            let header: Vec<String> = rows.next().unwrap().iter().map(|cell| cell.to_string()).collect();
            let rows = rows
                .map(|row| header.iter().cloned().zip(row.iter().map(shown)).collect())
                .collect();
            SheetRead { name, rows }
        })
        .collect()
}

/// A cell in the words of the CSV of locale `en`, numbers apart (the CSV says how many decimals they have).
fn shown(cell: &Data) -> String {
    match cell {
        Data::Empty => String::new(),
        Data::String(text) => text.clone(),
        Data::Float(number) => format!("{number}"),
        Data::Int(number) => number.to_string(),
        Data::DateTime(time) => {
            let (year, month, day, hour, minute, second, milli) = time.to_ymd_hms_milli();
            if (hour, minute, second, milli) == (0, 0, 0, 0) && time.as_f64().fract() == 0.0 {
                format!("{year:04}-{month:02}-{day:02}")
            } else {
                format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
            }
        }
        other => panic!("a cell of another type: {other:?}"),
    }
}

/// Whether a cell of the workbook says what the cell of the CSV says: the apostrophe guard is the CSV's own, and trailing
/// zeros are a matter of the number's format.
fn says_the_same(csv: &str, book: &str) -> bool {
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let number = csv.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    // Midnight in UTC is a plain day to the reader.
    let midnight = csv.strip_suffix("T00:00:00.000Z").is_some_and(|day| day == book);
    csv == book || csv.strip_prefix('\'') == Some(book) || (number && trimmed(csv) == trimmed(book)) || midnight
}

fn assert_same(csv: &[BTreeMap<String, String>], book: &[&BTreeMap<String, String>], name: &str) {
    assert_eq!(csv.len(), book.len(), "{name}");
    for (row, read) in csv.iter().zip(book) {
        assert_eq!(row.keys().collect::<Vec<_>>(), read.keys().collect::<Vec<_>>());
        for (column, cell) in row {
            assert!(
                says_the_same(cell, &read[column]),
                "{name}.{column}: {cell:?} and {:?}",
                read[column]
            );
        }
    }
}

#[test]
fn every_cell_of_the_workbook_says_what_the_csv_says() {
    let produced = full().produce(&job());
    let sheets = read(&produced);
    for report in ["summary", "statement", "coverage"] {
        let csv = strict_csv(find(&produced, &format!("{DAY}_{JOB}_{report}.csv")), ',');
        let sheet = sheets.iter().find(|sheet| sheet.name == report).unwrap();
        assert_same(&csv, &sheet.rows.iter().collect::<Vec<_>>(), report);
    }
    let csv = strict_csv(find(&produced, &format!("{DAY}_{JOB}_discrepancies.csv")), ',');
    let mut kinds: Vec<&str> = csv.iter().map(|row| row["kind"].as_str()).collect();
    for kind in kinds.clone() {
        let own: Vec<_> = csv.iter().filter(|row| row["kind"] == kind).cloned().collect();
        let sheet = sheets.iter().find(|sheet| sheet.name == kind).unwrap();
        assert_same(&own, &sheet.rows.iter().collect::<Vec<_>>(), kind);
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(sheets.len(), kinds.len() + 3, "a sheet per kind, and no other");
    assert_eq!(sheets[0].name, "summary");
}

#[test]
fn amounts_and_times_are_numbers_and_ids_are_text() {
    let produced = full().produce(&job());
    let bytes = find(&produced, &format!("{DAY}_{JOB}.xlsx"));
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes.to_vec())).unwrap();
    let range = book.worksheet_range("amount_mismatch").unwrap();
    let column = |name: &str| {
        let header = range.rows().next().unwrap();
        header
            .iter()
            .position(|cell| matches!(cell, Data::String(text) if text == name))
            .unwrap()
    };
    let cell = |name: &str| range.get((1, column(name))).unwrap();
    assert_eq!(cell("difference"), &Data::Float(-10.0));
    assert_eq!(cell("provider_id"), &Data::String("00012345678901234567890".into()));
    assert_eq!(
        cell("reference"),
        &Data::String("=HYPERLINK(\"http://x\",\"y\")".into())
    );
    assert!(matches!(cell("business_day"), Data::DateTime(_)));
    assert!(matches!(cell("occurred_at"), Data::DateTime(_)));
    assert!(book.worksheet_formula("amount_mismatch").unwrap().used_cells().count() == 0);
}

#[test]
fn an_amount_longer_than_a_spreadsheet_can_hold_stays_exact_as_text() {
    let desk = Desk::new();
    for (id, minor) in [
        ("a", 999_999_999_999_999_i64),
        ("b", -999_999_999_999_999),
        ("c", 1_000_000_000_000_001),
        ("d", i64::MIN + 1),
    ] {
        desk.sql(&format!(
            "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, currency, difference_minor, business_day,
               first_seen_day, last_seen_day, age_days, what_differs, detail)
             VALUES ('{id}', '{JOB}', '{id}', 'vanished', 'open', 'PEN', {minor}, '{DAY}', '{DAY}', '{DAY}', 0, '', '')"
        ));
    }
    let produced = desk.produce(&job());
    let sheets = read(&produced);
    let rows = &sheets.iter().find(|sheet| sheet.name == "vanished").unwrap().rows;
    let of = |id: &str| rows.iter().find(|row| row["discrepancy_id"] == id).unwrap()["difference"].clone();
    assert_eq!(of("a"), "9999999999999.99");
    assert_eq!(of("b"), "-9999999999999.99");
    assert_eq!(of("c"), "10000000000000.01");
    assert_eq!(of("d"), "-92233720368547758.07");
}

#[test]
fn the_workbook_is_the_same_bytes_again_and_knows_no_clock() {
    let desk = full();
    let name = format!("{DAY}_{JOB}.xlsx");
    let first = find(&desk.produce(&job()), &name).to_vec();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(find(&desk.produce(&job()), &name), first);
}

#[test]
fn a_quiet_night_has_every_sheet_with_its_header() {
    let sheets = read(&quiet().produce(&job()));
    let names: Vec<&str> = sheets.iter().map(|sheet| sheet.name.as_str()).collect();
    assert_eq!(names, ["summary", "discrepancies", "statement", "coverage"]);
    assert!(sheets[1].rows.is_empty() && sheets[2].rows.is_empty());
}

#[test]
fn hostile_and_foreign_texts_come_back_to_the_letter() {
    let desk = Desk::new();
    let texts = [
        "=1+1",
        "+51 999",
        "-ORD",
        "@SUM(A1)",
        "\ttab",
        "00012345678901234567890",
        "1e5",
        "2-7",
        "ñandú ￥ 数字 😀",
        "<a href=\"x\">&amp;",
        "_x0041_",
        "'quoted",
        " leading and trailing ",
        "a\nb",
        "12345678901234567890",
    ];
    for (number, text) in texts.iter().enumerate() {
        desk.store
            .write(|tx| {
                tx.execute(
                    "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, business_day, first_seen_day,
                       last_seen_day, age_days, what_differs, detail, reference)
                     VALUES (?1, ?2, ?1, 'vanished', 'open', ?3, ?3, ?3, 0, '', '', ?4)",
                    rusqlite::params![format!("{number:016}"), JOB, DAY, text],
                )?;
                Ok(())
            })
            .unwrap();
    }
    let sheets = read(&desk.produce(&job()));
    let rows = &sheets.iter().find(|sheet| sheet.name == "vanished").unwrap().rows;
    for (number, text) in texts.iter().enumerate() {
        let row = rows
            .iter()
            .find(|row| row["discrepancy_id"] == format!("{number:016}"))
            .unwrap();
        assert_eq!(row["reference"], *text);
    }
}

/// The parts of the file itself, for what a reader of cells does not show.
fn part(produced: &[Produced], name: &str) -> String {
    let bytes = find(produced, &format!("{DAY}_{JOB}.xlsx"));
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes.to_vec())).unwrap();
    std::io::read_to_string(zip.by_name(name).unwrap()).unwrap()
}

#[test]
fn the_header_is_frozen_and_filtered_and_only_the_last_columns_can_be_written_to() {
    let produced = full().produce(&job());
    // The second sheet is the first kind.
    let sheet = part(&produced, "xl/worksheets/sheet2.xml");
    for wanted in [
        "state=\"frozen\"",
        "<autoFilter ref=\"A1:AE",
        "<sheetProtection",
        "<dataValidation type=\"list\"",
    ] {
        assert!(sheet.contains(wanted), "{wanted} is missing");
    }
    for decision in DECISIONS {
        assert!(sheet.contains(decision), "{decision} is not offered");
    }
    assert!(part(&produced, "xl/styles.xml").contains("<protection locked=\"0\"/>"));
    assert!(!part(&produced, "xl/worksheets/sheet1.xml").contains("<sheetProtection"));
}

#[test]
fn a_flood_fills_the_csv_and_the_workbook_says_what_it_left_out() {
    let desk = Desk::new();
    desk.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {} + 5)
         INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, business_day, first_seen_day, last_seen_day,
           age_days, what_differs, detail)
         SELECT printf('%016d', i), '{JOB}', i, 'vanished', 'open', '{DAY}', '{DAY}', '{DAY}', 0, '', '' FROM n",
        MOST_ROWS
    ));
    let mut own = job();
    own.report.reports = vec!["discrepancies".to_owned()];
    let produced = desk.produce(&own);
    assert_eq!(strict_csv(&produced[0].bytes, ',').len(), MOST_ROWS as usize + 5);
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(produced[1].bytes.clone())).unwrap();
    assert_eq!(book.sheet_names(), ["not all rows", "vanished"]);
    assert_eq!(
        book.worksheet_range("vanished").unwrap().height(),
        MOST_ROWS as usize + 1
    );
    let said = book
        .worksheet_range("not all rows")
        .unwrap()
        .get((0, 0))
        .unwrap()
        .to_string();
    assert!(
        said.contains(&format!("the first {MOST_ROWS} of {} rows", MOST_ROWS + 5)),
        "{said}"
    );
}
