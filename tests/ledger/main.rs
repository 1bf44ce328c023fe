//! The ledger room from outside: every file that FAILURES.md L40–L51 names, and what comes of it.
//!
//! `tests/cases/ledger/<case>.csv` is what a merchant exported, `<case>.expected` lies beside it: entries, rows put aside
//! and refusals, word by word. `ACCEPT=1 cargo test --test ledger` writes the expectations anew; read that diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reconciled::config::{Encoding, Ledger, LedgerColumn, LedgerKind};
use reconciled::day::format_instant;
use reconciled::ledger::{self, PutAside, Refusal};
use reconciled::money::{Unit, format_minor};
use reconciled::record::{Direction, LedgerEntry, LedgerStatus};

mod import;
mod query;
mod quotes;

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
