//! The forms in which a sheet comes back: locales, separators, line ends, encodings, workbooks, and files that are none.

use std::io::{Cursor, Write};

use super::shop::{Shop, cells, fill, written};

const APPLIED: &str = "2 applied, 0 unchanged, 0 refused";

fn fills() -> [super::shop::Fill<'static>; 2] {
    [
        fill("A-1", "accept", "gepr\u{fc}ft"),
        fill("A-2", "write_off", "zu klein"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_german_sheet_comes_back_with_its_semicolons_and_decimal_commas() {
    let shop = Shop::after_a_night("de").await;
    assert!(String::from_utf8_lossy(&shop.sheet(5)).contains(";1200,00;1234,50;34,50;"));
    assert_eq!(shop.take("a.csv", &shop.filled(5, b';', &fills())).counts(), APPLIED);
    assert_eq!(shop.standing("A-1"), "acknowledged|accept||gepr\u{fc}ft");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_matter_how_a_spreadsheet_saved_it() {
    for locale in ["en", "de"] {
        let separator = if locale == "de" { b';' } else { b',' };
        let shop = Shop::after_a_night(locale).await;
        let sheet = shop.filled(5, separator, &fills());
        let (header, rows) = cells(&sheet, separator);
        let text = String::from_utf8(sheet[3..].to_vec()).unwrap();
        let utf16: Vec<u8> = std::iter::once(0xFEFF)
            .chain(text.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let quoted: String = std::iter::once(&header)
            .chain(&rows)
            .map(|row| {
                row.iter()
                    .map(|c| format!("\"{}\"", c.replace('"', "\"\"")))
                    .collect::<Vec<_>>()
                    .join("\t")
                    + "\n"
            })
            .collect();
        // Other columns between ours, ours in another order, zeros at the end dropped, upper case, blanks.
        let order: Vec<usize> = (0..header.len()).rev().collect();
        let mixed = |row: &[String], head: bool| -> Vec<String> {
            let mut cells = vec![if head { "my column" } else { "mine" }.to_owned()];
            cells.extend(order.iter().map(|at| {
                let cell = &row[*at];
                let amount = !head && header[*at].ends_with("amount");
                let bare = if amount {
                    cell.trim_end_matches('0').trim_end_matches(['.', ','])
                } else {
                    cell
                };
                if header[*at] == "decision" && !head {
                    format!(" {} ", bare.to_uppercase())
                } else {
                    bare.to_owned()
                }
            }));
            cells
        };
        let reordered = written(
            &mixed(&header, true),
            &rows.iter().map(|row| mixed(row, false)).collect::<Vec<_>>(),
            separator,
        );
        let forms: Vec<(&str, Vec<u8>)> = vec![
            ("without a mark", sheet[3..].to_vec()),
            ("line feeds", text.replace("\r\n", "\n").into_bytes()),
            ("carriage returns", text.replace("\r\n", "\r").into_bytes()),
            ("no end of the last line", text.trim_end().as_bytes().to_vec()),
            ("tabs and quotes", quoted.into_bytes()),
            ("UTF-16", utf16),
            ("Windows-1252", latin),
            ("reordered", reordered),
            (
                "sep= line",
                [b"sep=", &[separator][..], b"\r\n", text.as_bytes()].concat(),
            ),
        ];
        let undo = [fill("A-1", "reopen", ""), fill("A-2", "reopen", "")];
        for (number, (name, bytes)) in forms.into_iter().enumerate() {
            // A note of its own, or it would be the same content twice.
            let note = format!("zu klein {number}");
            let bytes = match name {
                "UTF-16" => bytes,
                _ => {
                    let at = bytes.windows(8).position(|eight| eight == b"zu klein").unwrap();
                    [&bytes[..at], note.as_bytes(), &bytes[at + 8..]].concat()
                }
            };
            let receipt = shop.take(name, &bytes);
            assert_eq!(receipt.counts(), APPLIED, "{locale} {name}: {}", receipt.text());
            assert_eq!(shop.standing("A-1"), "acknowledged|accept||gepr\u{fc}ft", "{name}");
            assert_eq!(receipt.remarks.len(), usize::from(name == "Windows-1252"), "{name}");
            let undone = shop.filled(5, separator, &undo.map(|f| super::shop::Fill { note: name, ..f }));
            assert_eq!(shop.take("undo.csv", &undone).counts(), APPLIED, "{name}");
        }
        shop.assert_whole();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_digits_that_lost_its_zeros_is_given_them_back() {
    let shop = Shop::after_a_night("en").await;
    let sheet = shop.filled(5, b',', &[fill("A-1", "accept", "")]);
    let text = String::from_utf8(sheet).unwrap();
    // An id that happens to look like a number.
    let id = shop.id("A-1");
    shop.tamper(&format!(
        "PRAGMA foreign_keys = OFF;
         UPDATE discrepancies SET discrepancy_id = '0012345678901234' WHERE discrepancy_id = '{id}'"
    ));
    let receipt = shop.take("zeros.csv", text.replace(&id, "12345678901234").as_bytes());
    assert_eq!(
        receipt.counts(),
        "1 applied, 0 unchanged, 0 refused",
        "{}",
        receipt.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_was_neutralised_is_read_back() {
    let shop = Shop::after_a_night("en").await;
    shop.tamper("UPDATE discrepancies SET provider_status = '=DONE' WHERE reference = 'A-1'");
    let (header, mut rows) = cells(&shop.filled(5, b',', &[fill("A-1", "accept", "'=SUM(A1)")]), b',');
    let at = header.iter().position(|name| name == "provider_status").unwrap();
    for row in &mut rows {
        if row.contains(&"A-1".to_owned()) {
            row[at] = "'=DONE".to_owned();
        }
    }
    assert_eq!(
        shop.take("n.csv", &written(&header, &rows, b',')).counts(),
        "1 applied, 0 unchanged, 0 refused"
    );
    assert_eq!(shop.standing("A-1"), "acknowledged|accept||=SUM(A1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_sheet_is_refused_as_a_whole_and_says_why() {
    let shop = Shop::after_a_night("en").await;
    let (header, rows) = cells(&shop.filled(5, b',', &[fill("A-1", "accept", "x")]), b',');
    let without: Vec<String> = header.iter().map(|n| n.replace("difference", "diff")).collect();
    let twice: Vec<String> = header.iter().map(|n| n.replace("evidence", "decision")).collect();
    let mut two_signs = rows.clone();
    two_signs
        .iter_mut()
        .for_each(|row| row[10] = row[10].replace("1200.00", "1200,00"));
    two_signs.iter_mut().for_each(|row| {
        let last = row.len() - 2;
        row[last] = "accept".to_owned();
    });
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "the file is empty"),
        (b"hello\r\n".to_vec(), "no header with the column `discrepancy_id`"),
        (
            b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(),
            "an old Excel workbook (.xls) or one with a password",
        ),
        (b"PK\x03\x04rubbish".to_vec(), "no Excel workbook that can be read"),
        (b"%PDF-1.7\n".to_vec(), "a PDF document"),
        (written(&without, &rows, b','), "lacks difference"),
        (written(&twice, &rows, b','), "names decision twice"),
        (
            written(&header, &two_signs, b','),
            "which is the decimal sign cannot be told",
        ),
        (
            [written(&header, &rows, b','), b"a,\"b\r\n".to_vec()].concat(),
            "a quote is opened and never closed",
        ),
    ];
    for (bytes, why) in cases {
        let receipt = shop.take("x", &bytes);
        let said = receipt.unreadable.clone().unwrap_or_default();
        assert!(said.contains(why), "{why}: {}", receipt.text());
        assert!(receipt.text().contains("refused as a whole"), "{}", receipt.text());
    }
    assert_eq!(shop.standing("A-1"), "open|||");
    assert_eq!(shop.sql("SELECT count(*) FROM returned_files"), ["0"]);
}

/// A workbook as a spreadsheet program writes it: numbers as numbers, texts inside the sheet.
fn workbook(sheets: &[(&str, &[Vec<String>])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut part = |name: &str, text: String| {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    };
    let list = |each: &dyn Fn(usize, &str) -> String| -> String {
        sheets
            .iter()
            .enumerate()
            .map(|(at, (name, _))| each(at + 1, name))
            .collect()
    };
    part(
        "[Content_Types].xml",
        format!(
            "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Override PartName=\"/xl/workbook.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml\"/>{}</Types>",
            list(&|n, _| format!(
                "<Override PartName=\"/xl/worksheets/sheet{n}.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml\"/>"
            ))
        ),
    );
    part(
        "_rels/.rels",
        "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>".to_owned(),
    );
    part(
        "xl/workbook.xml",
        format!(
            "<workbook xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets>{}</sheets></workbook>",
            list(&|n, name| format!("<sheet name=\"{name}\" sheetId=\"{n}\" r:id=\"rId{n}\"/>"))
        ),
    );
    part(
        "xl/_rels/workbook.xml.rels",
        format!(
            "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">{}</Relationships>",
            list(&|n, _| format!(
                "<Relationship Id=\"rId{n}\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet{n}.xml\"/>"
            ))
        ),
    );
    for (at, (_, rows)) in sheets.iter().enumerate() {
        let body: String = rows
            .iter()
            .enumerate()
            .map(|(at, row)| sheet_row(at + 1, row))
            .collect();
        part(
            &format!("xl/worksheets/sheet{}.xml", at + 1),
            format!(
                "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>{body}</sheetData></worksheet>"
            ),
        );
    }
    zip.finish().unwrap().into_inner()
}

fn sheet_row(number: usize, cells: &[String]) -> String {
    let column = |at: usize| match at {
        0..26 => char::from(b'A' + at as u8).to_string(),
        _ => format!("A{}", char::from(b'A' + (at - 26) as u8)),
    };
    let cell = |(at, text): (usize, &String)| {
        let place = format!("{}{number}", column(at));
        let bare = text.strip_prefix('-').unwrap_or(text);
        let is_number = bare.contains('.') && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if text.is_empty() {
            String::new()
        } else if is_number {
            format!(
                "<c r=\"{place}\"><v>{}</v></c>",
                text.trim_end_matches('0').trim_end_matches('.')
            )
        } else {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            format!("<c r=\"{place}\" t=\"inlineStr\"><is><t xml:space=\"preserve\">{text}</t></is></c>")
        }
    };
    let body: String = cells.iter().enumerate().map(cell).collect();
    format!("<row r=\"{number}\">{body}</row>")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_with_one_sheet_per_kind_comes_back() {
    let shop = Shop::after_a_night("en").await;
    let (header, rows) = cells(&shop.filled(5, b',', &fills()), b',');
    let all: Vec<Vec<String>> = std::iter::once(header.clone()).chain(rows.clone()).collect();
    let of_kind = |kind: &str| -> Vec<Vec<String>> {
        let mut title = vec![vec!["Night of 2026-03-05".to_owned()], Vec::new(), header.clone()];
        title.extend(rows.iter().filter(|row| row[2] == kind).cloned());
        title
    };
    let (mismatch, missing) = (of_kind("amount_mismatch"), of_kind("missing_in_ledger"));
    let summary = vec![
        vec!["kind".to_owned(), "count".to_owned()],
        vec!["amount_mismatch".to_owned(), "2.0".to_owned()],
    ];
    let book = workbook(&[
        ("summary", &summary),
        ("amount_mismatch", &mismatch),
        ("missing_in_ledger", &missing),
    ]);
    let receipt = shop.take("book.xlsx", &book);
    assert_eq!(receipt.counts(), APPLIED, "{}", receipt.text());
    assert_eq!(
        (receipt.applied[0].sheet.as_str(), receipt.applied[0].row),
        ("amount_mismatch", 4)
    );
    assert_eq!(shop.standing("A-2"), "acknowledged|write_off||zu klein");
    // The same decisions on one sheet, and as CSV.
    assert_eq!(
        shop.take("all.xlsx", &workbook(&[("all", &all)])).counts(),
        "0 applied, 2 unchanged, 0 refused"
    );
    let csv = shop.filled(5, b',', &fills());
    assert_eq!(shop.take("all.csv", &csv).counts(), "0 applied, 2 unchanged, 0 refused");
    assert_eq!(shop.sql("SELECT count(*) FROM decisions"), ["2"]);
    let only = workbook(&[("summary", &summary)]);
    assert!(
        shop.take("s.xlsx", &only)
            .unreadable
            .unwrap()
            .contains("no sheet has a header")
    );
}
