//! Whatever happens to quotes, delimiters and line ends, no row is lost in silence.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use reconciled::config::{Encoding, LedgerColumn};
use reconciled::day::format_instant;
use reconciled::money::format_minor;

use crate::{HEADER, ledger, map, read};

/// RFC 4180 as plainly as it can be written, for comparison only: None where the text is not strictly that.
fn plain_csv(text: &str) -> Option<Vec<Vec<String>>> {
    let chars: Vec<char> = text.chars().collect();
    let (mut rows, mut row, mut i) = (Vec::new(), Vec::new(), 0);
    while i < chars.len() {
        let mut cell = String::new();
        if chars[i] == '"' {
            i += 1;
            loop {
                match (chars.get(i)?, chars.get(i + 1)) {
                    ('"', Some('"')) => {
                        cell.push('"');
                        i += 2;
                    }
                    ('"', _) => break,
                    (c, _) => {
                        cell.push(*c);
                        i += 1;
                    }
                }
            }
            i += 1;
        } else {
            while !matches!(chars.get(i)?, ',' | '\n' | '"' | '\r') {
                cell.push(chars[i]);
                i += 1;
            }
        }
        row.push(cell);
        match chars.get(i)? {
            ',' => {
                i += 1;
                if matches!(chars.get(i)?, '\n') {
                    row.push(String::new());
                    i += 1;
                    rows.push(std::mem::take(&mut row));
                }
            }
            '\n' => {
                i += 1;
                rows.push(std::mem::take(&mut row));
            }
            _ => return None,
        }
    }
    row.is_empty().then_some(rows)
}

const SMALL: &str = "order_id,amount,currency,text\nA1,12.50,PEN,plain\nA2,13.50,PEN,\"quoted, with \"\"quotes\"\"\"\nA3,14.50,PEN,\n\"A4\",15.50,PEN,\"two\nlines\"\nA5,16.50,PEN,\"\"\n";

/// Reads a text and compares with the plain parser: whatever is accepted is exactly what the text says.
/// Returns whether it was accepted.
fn agrees_with_the_plain_parser(text: &str, folder: &Path) -> bool {
    fs::write(folder.join("small.csv"), text).unwrap();
    let (rows, end) = read(&ledger("small.csv"), folder);
    if end.is_err() {
        return false;
    }
    let plain = plain_csv(text).unwrap_or_else(|| panic!("accepted what is no CSV: {text:?}"));
    let references: Vec<Option<&str>> = rows
        .iter()
        .map(|row| row.as_ref().ok().map(|entry| entry.reference.as_str()))
        .collect();
    let wanted: Vec<&str> = plain
        .iter()
        .filter(|row| **row != [""])
        .skip(1)
        .map(|row| row[0].as_str())
        .collect();
    assert_eq!(references.len(), wanted.len(), "rows were lost or invented: {text:?}");
    for (got, wanted) in references.iter().zip(wanted) {
        assert!(
            got.is_none_or(|got| got == wanted),
            "{got:?} is not {wanted:?} in {text:?}"
        );
    }
    true
}

#[test]
fn a_quote_too_many_or_too_few_anywhere_never_loses_a_row() {
    let folder = tempfile::tempdir().unwrap();
    assert!(agrees_with_the_plain_parser(SMALL, folder.path()));
    for at in 0..=SMALL.len() {
        let mut more = SMALL.to_owned();
        more.insert(at, '"');
        assert!(
            !agrees_with_the_plain_parser(&more, folder.path()),
            "a quote at byte {at} went unnoticed"
        );
        if SMALL.as_bytes().get(at) == Some(&b'"') {
            let mut fewer = SMALL.to_owned();
            fewer.remove(at);
            assert!(
                !agrees_with_the_plain_parser(&fewer, folder.path()),
                "a missing quote at byte {at} went unnoticed"
            );
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_unless_it_ends_with_a_line() {
    let folder = tempfile::tempdir().unwrap();
    for end in 1..SMALL.len() {
        let text = &SMALL[..end];
        let whole = plain_csv(text).is_some();
        assert_eq!(
            agrees_with_the_plain_parser(text, folder.path()),
            whole,
            "cut after byte {end}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn two_wrong_bytes_anywhere_are_refused_or_read_as_what_they_say(
        first in 0..SMALL.len(), second in 0..SMALL.len(), bytes in "[\",\n ]{2}",
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut text = SMALL.to_owned();
        for (at, byte) in [first, second].into_iter().zip(bytes.chars()) {
            text.insert(at, byte);
        }
        agrees_with_the_plain_parser(&text, folder.path());
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>, encoding in 0..3_u8) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HEADER.as_bytes().to_vec();
        file.extend(bytes);
        fs::write(folder.path().join("x.csv"), file).unwrap();
        let mut set = ledger("x.csv");
        set.encoding = [Encoding::Utf8, Encoding::Windows1252, Encoding::Latin1][usize::from(encoding)];
        let _ = read(&set, folder.path());
    }

    #[test]
    fn what_was_written_is_read_back_exactly(
        rows in prop::collection::vec(
            ("[A-Za-z0-9\"#;|ñ€][A-Za-z0-9 \",;|'ñ€-]{0,20}[A-Za-z0-9\"ñ]", any::<i64>(), 0..3_usize, any::<Option<u32>>()),
            1..40,
        ),
        delimiter in prop::sample::select(vec![b',', b';', b'\t', b'|']),
        crlf: bool, quote_all: bool, mark: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let currencies = ["PEN", "JPY", "KWD"];
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
            .quote_style(if quote_all { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary })
            .from_writer(if mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() });
        writer.write_record(["currency", "booked_at", "order_id", "amount"]).unwrap();
        let mut wanted = Vec::new();
        for (number, (reference, minor, currency, at)) in rows.iter().enumerate() {
            let currency: reconciled::money::Currency = currencies[*currency].parse().unwrap();
            let at = at.map(|at| chrono::DateTime::from_timestamp_millis(i64::from(at) * 1001).unwrap());
            let booked_at = at.map(format_instant).unwrap_or_default();
            writer.write_record([currency.code(), &booked_at, reference, &format_minor(*minor, currency)]).unwrap();
            wanted.push((reference.clone(), *minor, currency, at, number as u64 + 2));
        }
        fs::write(folder.path().join("x.csv"), writer.into_inner().unwrap()).unwrap();
        let mut set = ledger("*.csv");
        map(&mut set, &[(LedgerColumn::BookedAt, "booked_at")]);
        let (got, end) = read(&set, folder.path());
        prop_assert!(end.is_ok(), "{:?}", end);
        let got: Vec<_> = got
            .into_iter()
            .map(|row| row.map(|e| (e.reference, e.amount_minor, e.currency, e.booked_at, e.source_line)))
            .collect::<Result<_, _>>()
            .unwrap();
        prop_assert_eq!(got, wanted);
    }
}
