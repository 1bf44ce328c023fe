use super::*;

/// Sweep, its time; opening, closing, reserved, transferred; value and count of each kind of the summary.
type Stated = (&'static str, &'static str, [i64; 4], [(i64, i64); 7]);

struct World {
    sweeps: Vec<Stated>,
    /// Sweep, kind, count, sum of effects.
    members: Vec<(&'static str, TransactionKind, i64, i64)>,
    calibration: BTreeMap<String, String>,
}

const SUMMARY_OF_THE_DOCUMENT: [(i64, i64); 7] = [
    (125_000, 3),
    (5000, 1),
    (7500, 1),
    (625, 3),
    (20_000, 1),
    (2000, 1),
    (2000, 1),
];

/// The document's sweep, which closes in every way.
fn world() -> World {
    use TransactionKind::*;
    World {
        sweeps: vec![(
            "s1",
            "2025-03-04T23:59:12Z",
            [10_000, 10_000, 10_000, 131_875],
            SUMMARY_OF_THE_DOCUMENT,
        )],
        members: vec![
            ("s1", Payment, 3, 125_000),
            ("s1", Refund, 1, -5000),
            ("s1", Payout, 1, -7500),
            ("s1", Fee, 3, -625),
            ("s1", TopUp, 1, 20_000),
            ("s1", MiscPayment, 1, 2000),
            ("s1", MiscReturn, 1, -2000),
        ],
        calibration: BTreeMap::new(),
    }
}

impl World {
    fn books(&self) -> Books {
        let mut balances = Vec::new();
        for (sweep, at, ends, summary) in &self.sweeps {
            let mut figure = |item: String, amount_minor| {
                balances.push(Balance {
                    account: "GBP3".into(),
                    feed: SWEEPS,
                    subject: (*sweep).into(),
                    as_of: parse_instant(at).unwrap(),
                    currency: "GBP".parse().unwrap(),
                    item,
                    amount_minor,
                });
            };
            for (item, amount) in [
                "opening_balance",
                "closing_balance",
                "reserved_balance",
                "transferred_amount",
            ]
            .iter()
            .zip(ends)
            {
                figure((*item).into(), *amount);
            }
            for ((_, item, ..), (value, count)) in wire::SUMMARY.iter().zip(summary) {
                figure((*item).into(), *value);
                figure(format!("{item}_count"), *count);
            }
        }
        let total = |(sweep, kind, count, amount_minor): &(&str, TransactionKind, i64, i64)| Total {
            account: String::new(),
            feed: SWEEP_TRANSACTIONS.into(),
            subject: (*sweep).into(),
            kind: *kind,
            status: Status::Settled,
            currency: "GBP".parse().unwrap(),
            changed_day: None,
            count: *count,
            amount_minor: *amount_minor,
            fee_minor: 0,
        };
        Books {
            zone: LONDON,
            as_of: day("2025-03-06").until,
            business_day: "2025-03-06".parse().unwrap(),
            balances,
            totals: self.members.iter().map(total).collect(),
            related: Vec::new(),
            repeated_ids: Vec::new(),
            calibration: self.calibration.clone(),
            sealed_subjects: self.sweeps.iter().map(|(sweep, ..)| (*sweep).to_owned()).collect(),
            gaps: Vec::new(),
        }
    }
}

fn broken(settings: &str, books: &Books) -> Vec<(String, String, i64)> {
    provider(settings)
        .relations(books)
        .into_iter()
        .filter(|r| r.stated_minor != r.computed_minor)
        .map(|r| {
            assert!(r.detail.starts_with(&format!("payvyne {}: ", r.name)), "{}", r.detail);
            assert_eq!(r.settlement, matches!(r.name, "R3" | "R4"));
            (r.name.to_owned(), r.subject, r.stated_minor - r.computed_minor)
        })
        .collect()
}

fn found(name: &str, subject: &str, residual: i64) -> (String, String, i64) {
    (name.to_owned(), subject.to_owned(), residual)
}

#[test]
fn the_documents_sweep_closes_in_every_relation() {
    let relations = provider("").relations(&world().books());
    assert!(
        relations.iter().all(|r| r.stated_minor == r.computed_minor),
        "{relations:#?}"
    );
    for name in ["R1", "R2", "R3", "R4", "R6"] {
        assert!(relations.iter().any(|r| r.name == name), "{name}");
    }
    assert!(provider("").calibrate(&world().books()).is_empty());
}

#[test]
fn a_payment_missing_from_the_list_is_named_and_a_wrong_figure_is_found() {
    let mut lost = world();
    lost.members[0] = ("s1", TransactionKind::Payment, 2, 125_000 - 5862);
    assert_eq!(
        broken("", &lost.books()),
        [found("R3", "s1/payments", 5862), found("R4", "s1", 5862)]
    );
    let detail = provider("")
        .relations(&lost.books())
        .into_iter()
        .find(|r| r.subject == "s1/payments")
        .unwrap()
        .detail;
    assert!(
        detail.ends_with("1 payment of 58.62 GBP missing from the list"),
        "{detail}"
    );
    let mut stated = world();
    stated.sweeps[0].3[1].0 += 100;
    assert_eq!(
        broken("", &stated.books()),
        [found("R1", "s1", 100), found("R3", "s1/refunds", 100)]
    );
    let mut transferred = world();
    transferred.sweeps[0].2[2] -= 1000;
    assert_eq!(broken("", &transferred.books()), [found("R2", "s1", -1000)]);
    let mut counted = world();
    counted.sweeps[0].3[3].1 = 4;
    assert_eq!(broken("", &counted.books()), [found("R3", "s1/fees", 1)]);
}

#[test]
fn a_sweep_whose_transactions_were_not_read_to_their_end_is_not_held_against_them() {
    let mut lost = world();
    lost.members.clear();
    let books = Books {
        sealed_subjects: Default::default(),
        ..lost.books()
    };
    assert_eq!(broken("", &books), []);
    assert_eq!(
        broken("", &lost.books())
            .iter()
            .filter(|(name, ..)| name == "R4")
            .count(),
        1
    );
}

#[test]
fn a_transfer_that_is_listed_is_no_member_but_must_be_the_amount_that_left() {
    let mut listed = world();
    listed.members.push(("s1", TransactionKind::Transfer, 1, -131_875));
    assert_eq!(broken("", &listed.books()), []);
    listed.members.pop();
    listed.members.push(("s1", TransactionKind::Transfer, 1, -131_800));
    assert_eq!(broken("", &listed.books()), [found("R3", "s1/transfer", 75)]);
}

/// Several windows list a sweep without a time, and all of them may end on the same day.
#[test]
fn sweeps_without_a_time_follow_each_other_by_the_days_of_their_transactions() {
    let payment = |amount| {
        let mut summary = [(0, 0); 7];
        summary[0] = (amount, 1);
        summary
    };
    let end = "2025-03-04T23:59:59.999Z";
    let timeless = World {
        sweeps: vec![
            ("z", end, [100, 150, 1000, 0], payment(50)),
            ("a", end, [150, 170, 1000, 0], payment(20)),
        ],
        members: vec![
            ("z", TransactionKind::Payment, 1, 50),
            ("a", TransactionKind::Payment, 1, 20),
        ],
        calibration: BTreeMap::new(),
    };
    let mut books = timeless.books();
    // Two of one day: nobody knows which came first.
    assert_eq!(broken("", &books), []);
    books.totals[0].changed_day = "2025-03-03".parse().ok();
    books.totals[1].changed_day = "2025-03-04".parse().ok();
    assert_eq!(broken("", &books), []);
    let days: Vec<_> = provider("")
        .statement(&books)
        .into_iter()
        .map(|line| line.business_day.to_string())
        .collect();
    assert_eq!(
        (days.first().map(String::as_str), days.last().map(String::as_str)),
        (Some("2025-03-03"), Some("2025-03-04"))
    );
    books.totals.reverse();
    books.totals[0].changed_day = "2025-03-02".parse().ok();
    assert_eq!(broken("", &books), [found("R5", "z", -70)]);
}

#[test]
fn the_chain_of_sweeps_names_the_lost_one_and_is_silent_across_a_gap() {
    let mut chain = world();
    let nothing = [(0, 0); 7];
    chain
        .sweeps
        .push(("s2", "2025-03-06T23:59:00Z", [4138, 4138, 4138, 0], nothing));
    assert_eq!(broken("", &chain.books()), [found("R5", "s2", -5862)]);
    let detail = provider("")
        .relations(&chain.books())
        .into_iter()
        .find(|r| r.name == "R5")
        .unwrap()
        .detail;
    assert!(
        detail.ends_with(
            "likely a sweep missing from the list between 2025-03-04 and 2025-03-06, which changed GBP3 by -58.62 GBP"
        ),
        "{detail}"
    );
    let books = Books {
        gaps: vec![(SWEEPS.to_owned(), day("2025-03-05"))],
        ..chain.books()
    };
    assert_eq!(broken("", &books), []);
    let books = Books {
        gaps: vec![(SWEEPS.to_owned(), day("2025-03-07"))],
        ..chain.books()
    };
    assert_eq!(broken("", &books).len(), 1, "a gap elsewhere excuses nothing");
}

#[test]
fn the_sign_of_fees_is_learned_when_only_the_other_one_closes() {
    // Printed negative: read as a debit of a negative fee, so as credits.
    let mut signed = world();
    signed.members[3] = ("s1", TransactionKind::Fee, 3, 625);
    let learned = provider("").calibrate(&signed.books());
    assert_eq!(learned, BTreeMap::from([(FEE_SIGN.to_owned(), "signed".to_owned())]));
    assert!(
        provider("fee_sign = \"positive_is_debit\"")
            .calibrate(&signed.books())
            .is_empty(),
        "the settings have the last word"
    );
    // Read again under the learned sign everything closes, and the note stays.
    let again = World {
        calibration: learned.clone(),
        ..world()
    };
    assert_eq!(provider("").calibrate(&again.books()), learned);
    assert_eq!(broken("", &again.books()), []);
    // Neither sign closes: nothing is learned, the residual stands.
    let mut neither = world();
    neither.members[3] = ("s1", TransactionKind::Fee, 3, -600);
    assert!(provider("").calibrate(&neither.books()).is_empty());
    assert_eq!(broken("", &neither.books()).len(), 2);
}

#[test]
fn a_transaction_in_two_sweeps_and_a_refund_above_its_payment_are_found() {
    let mut two = world();
    two.sweeps
        .push(("s0", "2025-03-05T23:59:12Z", [10_000, 10_000, 10_000, 0], [(0, 0); 7]));
    let payment = |refunded: i64| Related {
        account: "GBP3".into(),
        related_id: "p1".into(),
        reference: Some("ORD-1".into()),
        kind: TransactionKind::Refund,
        currency: "GBP".parse().unwrap(),
        amount_minor: -refunded,
        related_amount_minor: 5000,
        related_currency: "GBP".parse().unwrap(),
        at: None,
    };
    let books = |refunded: i64| Books {
        repeated_ids: vec![("t1".into(), vec!["s0".into(), "s1".into()])],
        related: vec![payment(refunded)],
        ..two.books()
    };
    assert_eq!(
        broken("", &books(5000)),
        [found("R6", "s0", 1)],
        "the later sweep has it twice"
    );
    assert_eq!(broken("", &books(5001)), [found("R6", "s0", 1), found("R7", "p1", 1)]);
}

#[test]
fn kinds_that_nobody_named_are_compared_with_the_transactions_that_nobody_named() {
    let with = |kinds: &[(&str, i64, i64)], listed: (i64, i64)| {
        let mut world = world();
        let (count, amount) = listed;
        if count > 0 {
            world.members.push(("s1", TransactionKind::Unknown, count, amount));
        }
        let mut books = world.books();
        for (kind, value, count) in kinds {
            for (item, amount_minor) in [
                (format!("summary_{kind}"), *value),
                (format!("summary_{kind}_count"), *count),
            ] {
                let like = books.balances[0].clone();
                books.balances.push(Balance {
                    item,
                    amount_minor,
                    ..like
                });
            }
        }
        let broken = broken("", &books);
        broken.into_iter().filter(|(name, ..)| name == "R3").collect::<Vec<_>>()
    };
    assert_eq!(with(&[("holds", 0, 0)], (0, 0)), []);
    assert_eq!(with(&[("holds", 300, 1)], (1, -300)), []);
    assert_eq!(with(&[("holds", 300, 1)], (1, -200)), [found("R3", "s1/holds", 100)]);
    assert_eq!(
        with(&[("holds", 300, 2)], (1, 300)),
        [found("R3", "s1/holds", 1)],
        "counts"
    );
    let two = [("holds", 300, 1), ("releases", 200, 1)];
    assert_eq!(with(&two, (2, -100)), []);
    assert_eq!(with(&two, (1, -300)), [found("R3", "s1/other kinds", 1)]);
}

#[test]
fn a_kind_that_nobody_named_counts_with_the_sign_that_closes_the_sweep() {
    let mut books = world().books();
    let mut extra = books.balances[0].clone();
    extra.item = "summary_charge_backs".into();
    extra.amount_minor = 300;
    books.balances.push(extra);
    assert_eq!(
        broken("", &books),
        [found("R3", "s1/charge_backs", 300)],
        "a sweep that closes without it leaves it out, and says that its transactions are not listed"
    );
    for (closing, residual) in [(10_300, 0), (9700, 0), (9800, -200)] {
        books
            .balances
            .iter_mut()
            .filter(|b| b.item == "closing_balance")
            .for_each(|b| b.amount_minor = closing);
        books
            .balances
            .iter_mut()
            .filter(|b| b.item == "reserved_balance")
            .for_each(|b| b.amount_minor = closing);
        let r1: Vec<i64> = broken("", &books)
            .into_iter()
            .filter(|(name, ..)| name == "R1")
            .map(|(.., residual)| residual)
            .collect();
        assert_eq!(r1, if residual == 0 { vec![] } else { vec![residual] }, "{closing}");
    }
}

#[test]
fn two_currencies_in_one_sweep_are_a_finding_and_are_never_summed() {
    let mut books = world().books();
    books.balances[1].currency = "EUR".parse().unwrap();
    assert_eq!(broken("", &books), [found("R6", "s1", 1)]);
    assert!(provider("").statement(&books).is_empty());
}

#[test]
fn a_row_of_another_currency_in_a_sweep_is_named_and_is_in_no_sum() {
    let eur = |books: &mut Books, at: usize| books.totals[at].currency = "EUR".parse().unwrap();
    // As if the provider had added the figures of both: every sum across the currencies would close.
    let mut one = world();
    one.members[0] = ("s1", TransactionKind::Payment, 2, 100_000);
    one.members.push(("s1", TransactionKind::Payment, 1, 25_000));
    let mut books = one.books();
    eur(&mut books, 7);
    assert_eq!(broken("", &books), [found("R6", "s1", 1)], "one row for one cause");
    let relations = provider("").relations(&books);
    let r6 = relations.iter().find(|r| r.name == "R6").unwrap();
    assert!(
        r6.detail.contains("beside GBP it lists 1 payment of 250.00 EUR"),
        "{}",
        r6.detail
    );
    assert!(!r6.settlement && r6.sense.is_none());
    let made: Vec<&str> = relations
        .iter()
        .filter(|r| r.name == "R3")
        .map(|r| r.subject.as_str())
        .collect();
    assert!(
        !made.contains(&"s1/payments") && made.contains(&"s1/refunds"),
        "{made:?}"
    );
    assert!(!relations.iter().any(|r| r.name == "R4"));
    let lines = provider("").statement(&books);
    let amount = |item: StatementItem| lines.iter().find(|l| l.line == item).map(|l| l.amount_minor);
    assert_eq!(amount(StatementItem::Explained("payment".into())), Some(100_000));
    assert_eq!(
        amount(StatementItem::Residual),
        Some(25_000),
        "what is in EUR is not explained in GBP"
    );

    // A whole kind in another currency; a difference in the other kinds is still found.
    let mut books = world().books();
    eur(&mut books, 0);
    books.totals[1].amount_minor = -4000;
    assert_eq!(
        broken("", &books),
        [found("R6", "s1", 1), found("R3", "s1/refunds", 1000)]
    );
    // Every row.
    let mut books = world().books();
    (0..7).for_each(|at| eur(&mut books, at));
    assert_eq!(broken("", &books), [found("R6", "s1", 1)]);
    // Fees in another currency teach nothing about their sign.
    let mut books = world().books();
    books.totals[3].amount_minor = 625;
    eur(&mut books, 3);
    assert!(provider("").calibrate(&books).is_empty());
}

#[test]
fn monthly_billing_advises_when_a_sweep_has_fees() {
    let relations = provider("billing_mode = \"monthly\"").relations(&world().books());
    let billing = relations.iter().find(|r| r.name == "billing").unwrap();
    assert!(billing.advisory && billing.stated_minor == 625 && billing.computed_minor == 0);
    assert!(
        !provider("")
            .relations(&world().books())
            .iter()
            .any(|r| r.name == "billing")
    );
}

#[test]
fn the_statement_explains_a_day_from_its_first_sweep_to_its_last() {
    let mut world = world();
    world
        .sweeps
        .push(("s2", "2025-03-04T23:59:50Z", [10_000, 11_000, 20_000, 0], {
            let mut summary = [(0, 0); 7];
            summary[0] = (1000, 1);
            summary
        }));
    let lines = provider("").statement(&world.books());
    let shown: Vec<(StatementItem, i64)> = lines.iter().map(|l| (l.line.clone(), l.amount_minor)).collect();
    let explained = |kind: &str| StatementItem::Explained(kind.into());
    assert_eq!(
        shown,
        [
            (StatementItem::Opening, 10_000),
            (explained("payment"), 126_000),
            (explained("refund"), -5000),
            (explained("payout"), -7500),
            (explained("fee"), -625),
            (explained("top_up"), 20_000),
            (explained("misc_payment"), 2000),
            (explained("misc_return"), -2000),
            (explained("transfer"), -131_875),
            (StatementItem::Closing, 11_000),
            (StatementItem::Residual, 0),
        ]
    );
    assert_eq!(lines[0].source, "sweeps s1, s2");
}
