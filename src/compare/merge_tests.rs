//! Ranges walked side by side give what one walk gives, wherever they are cut.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::*;

/// One of `of`, chosen by a number that looks random and is the same every time.
fn pick<T: ?Sized>(row: u64, salt: u64, of: &[&'static T]) -> &'static T {
    let mut z = (row * 64 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    of[((z ^ (z >> 32)) % of.len() as u64) as usize]
}

const REFERENCES: [&str; 12] = ["", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];

/// A file with rows of few references and amounts, so that every kind of group comes up.
fn books(path: &std::path::Path, rows: u64) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(include_str!("../../schema.sql")).unwrap();
    conn.execute_batch("BEGIN").unwrap();
    for row in 0..rows {
        let reference = pick(row, 1, &REFERENCES);
        let reference = (row % 9 != 4).then_some(reference);
        let direction = pick(row, 2, &["in", "out"]);
        let amount = pick(row, 3, &["0", "5", "7"]).parse::<i64>().unwrap();
        let currency = pick(row, 4, &["THB", "THB", "PEN"]);
        let fee = pick(row, 5, &[&None, &None, &Some(1_i64), &Some(2)]);
        let status = pick(row, 9, &["settled", "settled", "failed", "open"]);
        let account = pick(row, 6, &["one", "two"]);
        conn.execute(
            "INSERT INTO transactions (job, provider, account, feed, provider_id, reference, direction, kind, currency,
                amount_minor, fee_minor, fee_currency, status, provider_status, business_day, first_seen_at, seen_at, vanished_at)
             VALUES ('j', 'p', ?1, 'f', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'w', '2026-03-04', 'a', 'a', ?11)",
            params![
                account,
                format!("id-{row}"),
                reference,
                direction,
                pick(row, 7, &["payment", "payment", "payment", "fee", "unknown"]),
                currency,
                amount,
                fee,
                fee.map(|_| pick(row, 8, &["THB", "PEN"])),
                status,
                pick(row, 10, &[&None, &None, &None, &None, &Some("a")]),
            ],
        )
        .unwrap();
        // Every other entry says what the record says, so that some pairs are plain.
        let same = row % 2 == 0;
        let or = |own: &'static str, other| if same { own } else { other };
        conn.execute(
            "INSERT INTO ledger_entries (job, reference, provider_id, account, direction, currency, amount_minor, fee_minor,
                status, source, source_line) VALUES ('j', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'l', ?9)",
            params![
                or(reference.unwrap_or_default(), pick(row, 11, &REFERENCES)),
                (row % 7 == 3).then(|| format!("id-{}", row * 5 % rows)),
                pick(row, 12, &[&None, &None, &Some("one"), &Some("three")]),
                or(direction, pick(row, 13, &["in", "out"])),
                or(currency, pick(row, 14, &["THB", "THB", "PEN"])),
                if same { amount } else { 7 },
                if same { &None } else { pick(row, 16, &[&None, &Some(1_i64)]) },
                or(status, pick(row, 17, &["settled", "failed", "excluded", "open"])),
                row as i64,
            ],
        )
        .unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
    conn
}

#[test]
fn ranges_give_what_one_walk_gives_wherever_they_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let two_accounts: BTreeSet<String> = ["one".into(), "two".into()].into();
    let (mut plain, mut rich) = (0, 0);
    // Few rows leave singletons under a reference, many leave crowds.
    for rows in [6, 14, 40] {
        for (nth, (ledger, ids, accounts)) in [
            (true, true, &two_accounts),
            (true, false, &BTreeSet::new()),
            (false, false, &BTreeSet::new()),
        ]
        .into_iter()
        .enumerate()
        {
            let path = folder.path().join(format!("{rows}-{nth}.db"));
            let conn = books(&path, rows);
            let open = || Ok(Connection::open(&path)?);
            let setup = Arc::new(Setup {
                job: "j".to_owned(),
                ledger,
                ids,
                fees: ledger,
                vanished: true,
                accounts: accounts.clone(),
            });
            let one = by_reference(&conn, None, &setup).unwrap();
            let places: Vec<&str> = ["0"].iter().chain(&REFERENCES[1..]).chain(&["zz"]).copied().collect();
            let apart = |n: usize| places.iter().step_by(n).map(|cut| (*cut).to_owned()).collect();
            let once = places.iter().map(|cut| vec![(*cut).to_owned()]);
            for cuts in once.chain([apart(1), apart(2), apart(5), vec!["cc".to_owned(), "cd".to_owned()]]) {
                let cut = merge_between(&conn, &open, &cuts, &setup).unwrap();
                assert_eq!(cut, one, "{rows} rows cut at {cuts:?}");
            }
            plain += one.matched.values().map(|sum| sum.0).sum::<u64>();
            rich += one.rich.len();
        }
    }
    assert!(plain > 3 && rich > 100, "{plain} plain pairs, {rich} ids for the rules");
}
