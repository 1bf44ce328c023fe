//! The ledger room from outside: every file that FAILURES.md L40–L51 names, and what comes of it.
//!
//! `tests/cases/ledger/<case>.csv` is what a merchant exported, `<case>.expected` lies beside it: entries, rows put aside
//! and refusals, word by word. `ACCEPT=1 cargo test --test ledger` writes the expectations anew; read that diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use reconciled::config::{Encoding, Ledger, LedgerColumn, LedgerKind};
use reconciled::day::format_instant;
use reconciled::ledger::{self, PutAside, Refusal};
use reconciled::money::{Unit, format_minor};
use reconciled::record::{Direction, LedgerEntry, LedgerStatus};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/ledger")
}

/// A ledger with the usual columns; cases change what they are about.
fn ledger(pattern: &str) -> Ledger {
    use LedgerColumn as C;
    let columns = [
        (C::Reference, "order_id"),
        (C::Amount, "amount"),
        (C::Currency, "currency"),
    ];
    Ledger {
        kind: LedgerKind::Csv {
            pattern: pattern.to_owned(),
        },
        columns: columns.map(|(ours, theirs)| (ours, theirs.to_owned())).into(),
        currency_default: None,
        delimiter: None,
        encoding: Encoding::Utf8,
        decimal: b'.',
        date_format: None,
        timezone: None,
        amount_unit: Unit::Major,
        directions: BTreeMap::new(),
        statuses: BTreeMap::new(),
        expected_account: None,
    }
}

fn map(ledger: &mut Ledger, columns: &[(LedgerColumn, &str)]) {
    ledger
        .columns
        .extend(columns.iter().map(|(ours, theirs)| (*ours, (*theirs).to_owned())));
}

/// The settings of a case, where they are not the usual ones.
fn settings(case: &str) -> Ledger {
    use LedgerColumn as C;
    let mut set = ledger(&format!("{case}.csv"));
    match case {
        "windows1252" => set.encoding = Encoding::Windows1252,
        "latin1" => set.encoding = Encoding::Latin1,
        "semicolon_where_comma_is_set" => set.delimiter = Some(b','),
        "amounts_with_comma" => set.decimal = b',',
        "minor_units" => set.amount_unit = Unit::Minor,
        "times" => map(&mut set, &[(C::BookedAt, "booked_at")]),
        "local_times" => {
            map(&mut set, &[(C::BookedAt, "booked_at")]);
            set.date_format = Some("%d/%m/%Y %H:%M:%S".to_owned());
            set.timezone = Some(chrono_tz::Europe::London);
        }
        "local_days" => {
            map(&mut set, &[(C::BookedAt, "booked_at")]);
            set.date_format = Some("%Y-%m-%d".to_owned());
            // Here that day begins at one in the morning.
            set.timezone = Some(chrono_tz::Asia::Beirut);
        }
        "times_with_offset" => {
            map(&mut set, &[(C::BookedAt, "booked_at")]);
            set.date_format = Some("%Y-%m-%d %H:%M:%S %z".to_owned());
        }
        "of_another_account" | "account_missing_in_a_row" => {
            map(&mut set, &[(C::Account, "merchant")]);
            set.expected_account = Some("lima-1".to_owned());
        }
        "sign_is_direction" => {
            set.columns.remove(&C::Currency);
            set.currency_default = Some("PEN".parse().unwrap());
        }
        "mapping" => {
            map(
                &mut set,
                &[
                    (C::LedgerId, "id"),
                    (C::ProviderId, "psp_id"),
                    (C::Direction, "kind"),
                    (C::Status, "state"),
                    (C::Fee, "fee"),
                    (C::Account, "merchant"),
                    (C::BookedAt, "booked_at"),
                    (C::XExternalId, "x"),
                    (C::ReferenceNo, "rn"),
                ],
            );
            let direction = [
                ("deposit", Direction::In),
                ("payout", Direction::Out),
                ("refund", Direction::Out),
            ];
            set.directions = direction.map(|(word, direction)| (word.to_owned(), direction)).into();
            let status = [
                ("paid", LedgerStatus::Settled),
                ("booked later", LedgerStatus::Open),
                ("refused", LedgerStatus::Failed),
                ("test", LedgerStatus::Excluded),
            ];
            set.statuses = status.map(|(word, status)| (word.to_owned(), status)).into();
        }
        _ => {}
    }
    set
}

/// Everything a reading gives, in order, and how it ended.
fn read(ledger: &Ledger, folder: &Path) -> (Vec<Result<LedgerEntry, PutAside>>, Result<String, Refusal>) {
    let mut rows = Vec::new();
    let end = ledger::read(ledger, folder, &mut |row| {
        rows.push(row);
        Ok(())
    });
    (rows, end)
}

fn entry_line(entry: &LedgerEntry) -> String {
    let mut line = format!(
        "{}:{} {:?} {} {} {} {}",
        entry.source,
        entry.source_line,
        entry.reference,
        entry.direction,
        format_minor(entry.amount_minor, entry.currency),
        entry.currency,
        entry.status
    );
    for (name, value) in [
        ("id", entry.ledger_id.clone()),
        ("provider_id", entry.provider_id.clone()),
        ("account", entry.account.clone()),
        ("fee", entry.fee_minor.map(|fee| format_minor(fee, entry.currency))),
        ("word", entry.ledger_status.clone()),
        ("booked_at", entry.booked_at.map(format_instant)),
        ("x_external_id", entry.x_external_id.clone()),
        ("reference_no", entry.reference_no.clone()),
    ] {
        if let Some(value) = value {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    line
}

fn refusal_line(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotReconciled(message) => format!("not reconciled: {message}"),
        Refusal::Refused(failure) => format!("refused {}: {}", failure.class.name(), failure.message),
    }
}

fn told(ledger: &Ledger, folder: &Path) -> String {
    let (rows, end) = read(ledger, folder);
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| match row {
            Ok(entry) => entry_line(entry),
            Err(aside) => format!(
                "{}: put aside: {}: it {}",
                aside.source, aside.what.place, aside.what.reason
            ),
        })
        .collect();
    lines.push(end.map_or_else(|refusal| refusal_line(&refusal), |_| "read to its end".to_owned()));
    lines.push(String::new());
    lines.join("\n")
}

#[test]
fn every_file_a_merchant_may_send_gives_exactly_what_lies_beside_it() {
    let mut names: Vec<String> = fs::read_dir(cases())
        .unwrap()
        .filter_map(|file| {
            file.unwrap()
                .file_name()
                .to_str()?
                .strip_suffix(".csv")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() > 60, "the cases are gone");
    let mut wrong = Vec::new();
    for name in names {
        let got = told(&settings(&name), &cases());
        let file = cases().join(format!("{name}.expected"));
        if std::env::var_os("ACCEPT").is_some() {
            fs::write(&file, &got).unwrap();
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("{name}\n--- wanted\n{wanted}--- got\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a refusal says, or a panic.
fn refused(ledger: &Ledger, folder: &Path) -> String {
    let (_, end) = read(ledger, folder);
    refusal_line(&end.expect_err("this was to be refused"))
}

const HEADER: &str = "order_id,amount,currency\n";

#[test]
fn what_is_no_ordinary_file_is_refused_without_being_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder.csv")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(at("pipe.csv"))
        .status()
        .unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.csv")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("device.csv")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("broken.csv")).unwrap();
    fs::write(at("real"), format!("{HEADER}A1,12.50,PEN\n")).unwrap();
    std::os::unix::fs::symlink(at("real"), at("link.csv")).unwrap();

    let no_file = "not a file; let the ledger's path name files only";
    for (name, wanted) in [
        ("folder.csv", format!("refused DATA: folder.csv is a folder, {no_file}")),
        ("pipe.csv", format!("refused DATA: pipe.csv is a pipe, {no_file}")),
        ("socket.csv", format!("refused DATA: socket.csv is a socket, {no_file}")),
        ("device.csv", format!("refused DATA: device.csv is a device, {no_file}")),
        (
            "broken.csv",
            "not reconciled: the ledger broken.csv is missing: it is a link that leads nowhere; correct the link, the next run takes it".to_owned(),
        ),
        (
            "none.csv",
            "not reconciled: the ledger none.csv is missing: no such file; put it there or correct the path, the next run takes it".to_owned(),
        ),
        (
            "none/*.csv",
            "not reconciled: the ledger none/*.csv is missing: no such file; put it there or correct the path, the next run takes it".to_owned(),
        ),
        ("a[.csv", "refused CONFIG: the ledger's path is not a valid pattern; check its brackets and stars".to_owned()),
    ] {
        assert_eq!(refused(&ledger(name), folder.path()), wanted);
    }
    // The same looks come before a database is opened.
    let mut query = ledger("");
    query.kind = LedgerKind::Sqlite {
        path: at("pipe.csv"),
        query: "SELECT 1".to_owned(),
    };
    assert_eq!(
        refused(&query, folder.path()),
        format!("refused DATA: pipe.csv is a pipe, {no_file}")
    );
    // A link to a file is that file.
    assert_eq!(
        told(&ledger("link.csv"), folder.path()),
        "link.csv:2 \"A1\" in 12.50 PEN settled\nread to its end\n"
    );
}

#[test]
fn all_files_of_a_pattern_are_one_ledger_in_the_order_of_their_names() {
    let outer = tempfile::tempdir().unwrap();
    // A folder whose name looks like a pattern.
    let folder = outer.path().join("books [2026]*");
    fs::create_dir_all(folder.join("in/old")).unwrap();
    for (name, reference) in [
        ("in/b.csv", "B"),
        ("in/a.csv", "A"),
        ("in/10.csv", "T"),
        ("in/.c.csv", "hidden"),
        ("in/old/d.csv", "deeper"),
        ("in/e.csv~", "backup"),
    ] {
        fs::write(folder.join(name), format!("{HEADER}{reference},1.00,PEN\n")).unwrap();
    }
    let wanted = "in/10.csv:2 \"T\" in 1.00 PEN settled\nin/a.csv:2 \"A\" in 1.00 PEN settled\nin/b.csv:2 \"B\" in 1.00 PEN settled\nread to its end\n";
    assert_eq!(told(&ledger("in/*.csv"), &folder), wanted);
    // The settings join their folder before; the result is the same.
    let joined = folder.join("in/*.csv").display().to_string();
    assert_eq!(told(&ledger(&joined), &folder), wanted);
    // A file that is named like a pattern is meant itself.
    fs::write(folder.join("in/[x].csv"), format!("{HEADER}X,1.00,PEN\n")).unwrap();
    assert_eq!(
        told(&ledger("in/[x].csv"), &folder),
        "in/[x].csv:2 \"X\" in 1.00 PEN settled\nread to its end\n"
    );
    // One bad file refuses all of them.
    fs::write(folder.join("in/a.csv"), format!("{HEADER}A,1.00\n")).unwrap();
    assert_eq!(
        refused(&ledger("in/*.csv"), &folder),
        "refused DATA: in/a.csv:2: 2 cells in this row, 3 in the header: a delimiter is missing or too many; nothing was taken, export it again"
    );
    fs::write(folder.join("in/a.csv"), "").unwrap();
    assert_eq!(
        refused(&ledger("in/*.csv"), &folder),
        "not reconciled: the ledger file in/a.csv is empty: not even a header line; nothing was taken, export it again"
    );
}

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

#[test]
fn a_file_that_changes_while_it_is_read_is_not_believed() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let text = format!("{HEADER}A1,12.50,PEN\nA2,13.50,PEN\n");
    let wanted = "refused PARTIAL: x.csv changed while it was read, so nothing of it was taken; write it under another name and rename it, the next run takes it";
    let grow = || {
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"A3,14.50,PEN\n")
            .unwrap()
    };
    let replace = || {
        fs::write(folder.path().join("new"), &text).unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
    };
    let delete = || fs::remove_file(&path).unwrap();
    for (what, change) in [
        ("grown", &grow as &dyn Fn()),
        ("replaced", &replace),
        ("deleted", &delete),
    ] {
        fs::write(&path, &text).unwrap();
        let mut once = Some(change);
        let end = ledger::read(&ledger("x.csv"), folder.path(), &mut |_| {
            if let Some(change) = once.take() {
                change();
            }
            Ok(())
        });
        assert_eq!(refusal_line(&end.expect_err(what)), wanted, "{what}");
    }
}

#[test]
fn equal_digests_mean_equal_settings_names_and_contents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let digest = |ledger: &Ledger| read(ledger, folder.path()).1.unwrap();
    fs::write(&path, format!("{HEADER}A1,12.50,PEN\n")).unwrap();
    let first = digest(&ledger("*.csv"));
    assert_eq!(first.len(), 64);
    assert_eq!(digest(&ledger("*.csv")), first);
    let mut other = ledger("*.csv");
    other.amount_unit = Unit::Minor;
    other.columns.insert(LedgerColumn::Amount, "amount".to_owned());
    fs::write(&path, format!("{HEADER}A1,1250,PEN\n")).unwrap();
    let plain = digest(&ledger("*.csv"));
    assert_ne!(plain, first, "another content");
    assert_ne!(digest(&other), plain, "another mapping");
    fs::rename(&path, folder.path().join("y.csv")).unwrap();
    assert_ne!(digest(&ledger("*.csv")), plain, "another name");
}

/// Resident memory of this process in kB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_file() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let mut file = std::io::BufWriter::new(fs::File::create(folder.path().join("big.csv")).unwrap());
    file.write_all(b"order_id,amount,currency,text\n").unwrap();
    let text = "x".repeat(100);
    let rows = 300_000_u64;
    for number in 0..rows {
        writeln!(file, "R{number:010},{}.25,PEN,\"{text}\"", number % 1000).unwrap();
    }
    drop(file);
    assert!(fs::metadata(folder.path().join("big.csv")).unwrap().len() > 35_000_000);
    let (mut seen, mut peak) = (0, 0);
    let before = resident();
    ledger::read(&ledger("big.csv"), folder.path(), &mut |row| {
        assert!(row.is_ok());
        seen += 1;
        if seen % 10_000 == 0 {
            peak = peak.max(resident());
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, rows);
    // The other tests of this file run beside this one; they are small.
    assert!(
        peak.saturating_sub(before) < 16_000,
        "grew by {} kB",
        peak.saturating_sub(before)
    );
}

// -- SQLite ----------------------------------------------------------------------------------------------------------

/// A ledger database with one table, and the settings to read it.
fn database(folder: &Path, sql: &str, query: &str) -> Ledger {
    let path = folder.join("books.db");
    let _ = fs::remove_file(&path);
    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let mut set = ledger("");
    set.kind = LedgerKind::Sqlite {
        path,
        query: query.to_owned(),
    };
    set
}

#[test]
fn a_query_gives_entries_from_texts_and_whole_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let set = database(
        folder.path(),
        "CREATE TABLE b (n INTEGER PRIMARY KEY, ref, amount, currency);
         INSERT INTO b (ref, amount, currency) VALUES
           ('A1', '0012.30', 'PEN'), ('A2', -7, 'PEN'), (9007199254740993, '9007199254740993.01', 'PEN'),
           ('A4', '1,5', 'PEN'), (NULL, '1.00', 'PEN'), ('A6', X'3132', 'PEN'), (CAST(X'41FF' AS TEXT), '1.00', 'PEN'),
           ('A' || char(0) || '8', '1.00', 'PEN'), ('A9', NULL, 'PEN');",
        "SELECT currency, amount, ref AS order_id, 3.5 AS not_mapped FROM b ORDER BY n;",
    );
    assert_eq!(
        told(&set, folder.path()),
        "books.db:1 \"A1\" in 12.30 PEN settled\n\
         books.db:2 \"A2\" out -7.00 PEN settled\n\
         books.db:3 \"9007199254740993\" in 9007199254740993.01 PEN settled\n\
         books.db: put aside: row 4, column amount: it holds a thousands separator, or a decimal sign other than the configured '.' (it looks like \"9,9\")\n\
         books.db: put aside: row 5, column order_id: it is empty\n\
         books.db: put aside: row 6, column amount: it holds binary data instead of text\n\
         books.db: put aside: row 7, column order_id: it is text that is not UTF-8\n\
         books.db: put aside: row 8, column order_id: it holds a NUL character\n\
         books.db: put aside: row 9, column amount: it is empty\n\
         read to its end\n"
    );
}

#[test]
fn a_query_may_do_nothing_but_read_and_a_database_may_be_anything() {
    let folder = tempfile::tempdir().unwrap();
    let table = "CREATE TABLE b (order_id TEXT, amount, currency TEXT);
                 INSERT INTO b VALUES ('A1', '12.50', 'PEN');
                 CREATE VIEW v AS SELECT * FROM b;";
    let only = "refused CONFIG: the query on books.db must be one SELECT and nothing else; it was not run";
    for query in [
        "DELETE FROM b",
        "SELECT * FROM b; DELETE FROM b",
        "SELECT * FROM b; SELECT * FROM b",
        "PRAGMA table_info(b)",
        "ATTACH ':memory:' AS x",
        "EXPLAIN SELECT * FROM b",
        "BEGIN",
        "INSERT INTO b VALUES ('A2', '1', 'PEN') RETURNING *",
        "",
    ] {
        assert_eq!(
            refused(&database(folder.path(), table, query), folder.path()),
            only,
            "{query}"
        );
    }
    for (sql, query, wanted) in [
        (
            table,
            "SELECT load_extension('x') AS order_id, amount, currency FROM b",
            "refused CONFIG: the query on books.db cannot be run: not authorized to use function: load_extension; correct query",
        ),
        (
            table,
            "SELECT nothing FROM b",
            "refused CONFIG: the query on books.db cannot be run: no such column: nothing; correct query",
        ),
        (
            table,
            "SELECT order_id, amount AS betrag, currency FROM b",
            "refused DATA: books.db: the query's result has no column \"amount\" for `amount`; seen: \"order_id\", \"betrag\", \"currency\"; name its columns with AS, or correct the mapping under columns",
        ),
        (
            "CREATE TABLE b (order_id TEXT, amount NUMERIC, currency TEXT); INSERT INTO b VALUES ('A1', '0012.30', 'PEN');",
            "SELECT * FROM b",
            "refused DATA: books.db: row 1 of the query, column amount: a floating-point number (REAL), which holds neither money nor ids exactly; store it as decimal TEXT",
        ),
        (
            "CREATE TABLE b (order_id INTEGER, amount TEXT, currency TEXT); INSERT INTO b VALUES ('12345678901234567890', '1.00', 'PEN');",
            "SELECT * FROM b",
            "refused DATA: books.db: row 1 of the query, column order_id: a floating-point number (REAL), which holds neither money nor ids exactly; store it as TEXT",
        ),
        (
            "CREATE TABLE b (order_id TEXT, amount TEXT, currency TEXT); INSERT INTO b VALUES (hex(zeroblob(600000)), '1.00', 'PEN');",
            "SELECT * FROM b",
            "refused DATA: the ledger books.db holds a value longer than a megabyte; leave that column out of the query",
        ),
    ] {
        assert_eq!(refused(&database(folder.path(), sql, query), folder.path()), wanted);
    }
    // Views are for reading.
    let set = database(
        folder.path(),
        table,
        "WITH w AS (SELECT * FROM v) SELECT upper(order_id) AS order_id, amount, currency FROM w",
    );
    assert_eq!(
        told(&set, folder.path()),
        "books.db:1 \"A1\" in 12.50 PEN settled\nread to its end\n"
    );
    // Whatever was tried, the merchant's rows are as they were.
    let rows: i64 = rusqlite::Connection::open(folder.path().join("books.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM b", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);

    let damaged = "refused DATA: the ledger books.db is no SQLite database, or a damaged one; check the file";
    fs::write(folder.path().join("books.db"), "order_id,amount,currency\n".repeat(200)).unwrap();
    assert_eq!(refused(&set, folder.path()), damaged);
    fs::remove_file(folder.path().join("books.db")).unwrap();
    assert_eq!(
        refused(&set, folder.path()),
        "not reconciled: the ledger books.db is missing: no such file; put it there or correct the path, the next run takes it"
    );
    assert!(!folder.path().join("books.db").exists(), "reading must not create it");
}

#[test]
fn settings_under_which_no_row_could_be_read_are_refused_at_once() {
    use LedgerColumn as C;
    let change = |change: &dyn Fn(&mut Ledger)| {
        let mut set = ledger("bom.csv");
        change(&mut set);
        refused(&set, &cases())
    };
    let got = [
        change(&|set| drop(set.columns.remove(&C::Reference))),
        change(&|set| drop(set.columns.remove(&C::Currency))),
        change(&|set| set.expected_account = Some("x".to_owned())),
        change(&|set| set.directions = [("x".to_owned(), Direction::In)].into()),
        change(&|set| set.statuses = [("x".to_owned(), LedgerStatus::Open)].into()),
        change(&|set| set.decimal = b';'),
        change(&|set| set.date_format = Some("%Q".to_owned())),
        change(&|set| set.kind = LedgerKind::Server { kind: "postgres" }),
    ];
    assert_eq!(
        got,
        [
            "refused CONFIG: the column mapping names no column for `reference`; add it under columns",
            "refused CONFIG: no currency: map a column to `currency` or set currency_default",
            "refused CONFIG: expected_account is set, but no column is mapped to `account`",
            "refused CONFIG: words for directions are set, but no column is mapped to `direction`",
            "refused CONFIG: words for statuses are set, but no column is mapped to `status`",
            "refused CONFIG: decimal must be \".\" or \",\"",
            "refused CONFIG: date_format \"%Q\" is not valid strftime; write for instance \"%d/%m/%Y %H:%M:%S\"",
            "refused CONFIG: a ledger of kind \"postgres\" is not read by this version; use \"csv\" or \"sqlite\"",
        ]
    );
}
