//! Alone in its process, because it looks at the memory of the whole of it.

use std::collections::BTreeMap;
use std::fs;

use reconciled::config::{Encoding, Ledger, LedgerColumn, LedgerKind};
use reconciled::ledger;
use reconciled::money::Unit;

fn big() -> Ledger {
    use LedgerColumn as C;
    let columns = [
        (C::Reference, "order_id"),
        (C::Amount, "amount"),
        (C::Currency, "currency"),
    ];
    Ledger {
        kind: LedgerKind::Csv {
            pattern: "big.csv".to_owned(),
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
    ledger::read(&big(), folder.path(), &mut |row| {
        assert!(row.is_ok());
        seen += 1;
        if seen % 10_000 == 0 {
            peak = peak.max(resident());
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, rows);
    assert!(
        peak.saturating_sub(before) < 8_000,
        "grew by {} kB",
        peak.saturating_sub(before)
    );
}
