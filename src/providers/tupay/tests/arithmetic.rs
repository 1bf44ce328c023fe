use super::*;

/// Columns of one report row: deposits, fees, cashouts, notes, settlements, cancelled, net, total.
type Row = (&'static str, [i64; 8]);

fn books(rows: &[Row]) -> Books {
    let items = [
        "deposit_total",
        "deposit_fee_total",
        "cashout_total",
        "note_total",
        "settlement_total",
        "cancelled_settlement_total",
        "net_amount",
        "total_balance",
    ];
    let figure = |date: &str, item: &str, amount_minor: i64| Balance {
        account: "456".into(),
        feed: BALANCE_REPORT,
        subject: String::new(),
        as_of: parse_instant(&format!("{date}T00:00:00Z")).unwrap(),
        currency: "PEN".parse().unwrap(),
        item: item.into(),
        amount_minor,
    };
    Books {
        zone: LIMA,
        as_of: parse_instant("2025-03-10T06:00:00Z").unwrap(),
        business_day: "2025-03-09".parse().unwrap(),
        balances: rows
            .iter()
            .flat_map(|(date, row)| items.iter().zip(row).map(move |(item, n)| figure(date, item, *n)))
            .collect(),
        totals: Vec::new(),
        related: Vec::new(),
        repeated_ids: Vec::new(),
        calibration: BTreeMap::new(),
        sealed_subjects: Default::default(),
        gaps: Vec::new(),
    }
}

const THIRD: Row = ("2025-03-03", [120_000, 3540, 30_000, 0, 50_000, 0, 36_460, 1_036_460]);
const FOURTH: Row = ("2025-03-04", [80_000, 2360, 15_000, 0, 0, 0, 62_640, 1_099_100]);

fn residuals(settings: &str, books: &Books) -> Vec<(String, i64)> {
    provider(settings)
        .relations(books)
        .into_iter()
        .filter(|r| !r.advisory && r.stated_minor != r.computed_minor)
        .map(|r| {
            assert!(r.detail.starts_with(&format!("tupay {}: ", r.name)), "{}", r.detail);
            (r.name.to_owned(), r.stated_minor - r.computed_minor)
        })
        .collect()
}

#[test]
fn the_documents_report_closes_and_a_changed_figure_does_not() {
    assert_eq!(residuals("", &books(&[THIRD, FOURTH])), []);
    let mut broken = FOURTH;
    broken.1[7] += 5862;
    assert_eq!(residuals("", &books(&[THIRD, broken])), [("R2".to_owned(), 5862)]);
    let mut broken = FOURTH;
    broken.1[6] -= 100;
    broken.1[7] -= 100;
    assert_eq!(
        residuals("", &books(&[THIRD, broken])),
        [("R1".to_owned(), -100)],
        "half of the rows fit the documented signs"
    );
}

#[test]
fn the_signs_are_learned_from_rows_that_only_they_explain_and_the_settings_have_the_last_word() {
    // Cashouts and settlements printed negative.
    let negative = |mut row: Row| {
        row.1[2] = -row.1[2];
        row.1[4] = -row.1[4];
        row
    };
    let negative = books(&[negative(THIRD), negative(FOURTH)]);
    let learned = provider("").calibrate(&negative);
    assert_eq!(
        learned,
        BTreeMap::from([("balance_signs".to_owned(), "+++".to_owned())])
    );
    assert_eq!(residuals("", &negative), []);
    assert_eq!(residuals("balance_signs = \"-+-\"", &negative).len(), 2);
    assert!(provider("balance_signs = \"-+-\"").calibrate(&negative).is_empty());
    assert!(
        provider("").calibrate(&books(&[THIRD, FOURTH])).is_empty(),
        "the documented signs need no note"
    );
    let stored = Books {
        calibration: learned,
        ..books(&[THIRD, FOURTH])
    };
    assert_eq!(
        residuals("", &stored).len(),
        2,
        "what was learned holds until the rows speak against it"
    );
    assert_eq!(provider("").calibrate(&stored)["balance_signs"], "-+-");
}

#[test]
fn signs_that_fit_not_even_half_of_the_rows_make_no_residual() {
    let mut rows = [THIRD, FOURTH];
    rows[0].1[6] += 1;
    rows[1].1[6] += 2;
    let names: Vec<&str> = provider("").relations(&books(&rows)).iter().map(|r| r.name).collect();
    assert!(!names.contains(&"R1") && names.contains(&"R2"), "{names:?}");
}

#[test]
fn a_day_that_is_missing_is_named_and_a_day_that_was_not_read_is_not_judged() {
    let sixth: Row = ("2025-03-06", [0, 0, 0, 0, 0, 0, 0, 1_104_962]);
    let mut books = books(&[THIRD, FOURTH, sixth]);
    let broken: Vec<Relation> = provider("")
        .relations(&books)
        .into_iter()
        .filter(|r| r.stated_minor != r.computed_minor && !r.advisory)
        .collect();
    assert_eq!(broken.len(), 1);
    assert!(
        broken[0].detail.contains("58.62 PEN too much") && broken[0].detail.contains("1 day of the report missing"),
        "{}",
        broken[0].detail
    );
    assert_eq!(
        broken[0].business_day.to_string(),
        "2025-03-06",
        "the label's day, not Lima's day of that instant"
    );
    let fifth: NaiveDate = "2025-03-05".parse().unwrap();
    let window = Window {
        from: start_of_day(fifth, LIMA),
        until: start_of_day(next_day(fifth), LIMA),
    };
    books.gaps = vec![(BALANCE_REPORT.to_owned(), window)];
    assert_eq!(residuals("", &books), []);
}

fn total(feed: &str, kind: TransactionKind, amount_minor: i64, fee_minor: i64) -> Total {
    Total {
        account: "456".into(),
        feed: feed.into(),
        subject: String::new(),
        kind,
        status: Status::Settled,
        currency: "PEN".parse().unwrap(),
        changed_day: Some("2025-03-04".parse().unwrap()),
        count: 1,
        amount_minor,
        fee_minor,
    }
}

#[test]
fn the_reports_totals_are_held_against_the_rows_as_advice() {
    let mut books = books(&[FOURTH]);
    books.totals = vec![
        total(DEPOSITS, TransactionKind::Deposit, 80_000 - 5862, 2360),
        total(CASHOUTS, TransactionKind::Cashout, -14_500, 500),
    ];
    let relations = provider("").relations(&books);
    let of = |name: &str| relations.iter().filter(|r| r.name == name).collect::<Vec<_>>();
    assert!(of("R5").iter().chain(&of("R6")).all(|r| r.advisory));
    assert_eq!(
        of("R5")[0].detail,
        "tupay R5: deposits of 58.62 PEN are missing from the list of 2025-03-04: depositTotal is 800.00 PEN, completed deposits sum to 741.38 PEN"
    );
    assert_eq!(of("R5")[1].stated_minor, of("R5")[1].computed_minor);
    assert_eq!(
        (of("R6")[0].stated_minor, of("R6")[0].computed_minor),
        (15_000, 15_000),
        "with fees it closes"
    );
    books.gaps = vec![(DEPOSITS.to_owned(), ask(DEPOSITS).window)];
    assert!(!provider("").relations(&books).iter().any(|r| r.name == "R5"));
}

#[test]
fn the_balance_now_is_held_against_its_parts_and_only_the_newest_counts() {
    let mut books = books(&[]);
    let figure = |at: &str, item: &str, amount_minor| Balance {
        account: "PRIMARY".into(),
        feed: BALANCE,
        subject: String::new(),
        as_of: parse_instant(at).unwrap(),
        currency: "PEN".parse().unwrap(),
        item: item.into(),
        amount_minor,
    };
    for (at, available) in [("2025-03-08T06:00:00Z", 1), ("2025-03-09T06:00:00Z", -788_796)] {
        books.balances.extend([
            figure(at, "available_balance", available),
            figure(at, "deposit_settlement_period", 9428),
            figure(at, "total_balance", -779_368),
        ]);
    }
    assert_eq!(residuals("", &books), []);
    books.balances.push(figure("2025-03-10T06:00:00Z", "usable_balance", 5));
    books
        .balances
        .push(figure("2025-03-10T06:00:00Z", "rolling_reserve_balance", 1));
    books.balances.push(figure("2025-03-10T06:00:00Z", "total_balance", 5));
    assert_eq!(residuals("", &books), [("R4".to_owned(), 1)]);
}

#[test]
fn the_statement_goes_from_one_days_balance_to_the_next() {
    let lines = provider("").statement(&books(&[THIRD, FOURTH]));
    let fourth: Vec<(StatementItem, i64)> = lines
        .iter()
        .filter(|l| l.business_day.to_string() == "2025-03-04")
        .map(|l| (l.line.clone(), l.amount_minor))
        .collect();
    let explained = |kind: &str| StatementItem::Explained(kind.into());
    assert_eq!(
        fourth,
        [
            (StatementItem::Opening, 1_036_460),
            (explained("deposit"), 80_000),
            (explained("fee"), -2360),
            (explained("cashout"), -15_000),
            (StatementItem::Closing, 1_099_100),
            (StatementItem::Residual, 0),
        ]
    );
    let positions: Vec<u32> = lines
        .iter()
        .filter(|l| l.business_day.to_string() == "2025-03-03")
        .map(|l| l.position)
        .collect();
    assert_eq!(positions, (0..7).collect::<Vec<u32>>());
}
