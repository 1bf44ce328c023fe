//! A provider with its own arithmetic: residuals, feeds, accounts, records without a reference.

use std::sync::Arc;

use chrono::TimeDelta;
use reconciled::config::{Section, Source};
use reconciled::day::{Instant, format_instant};
use reconciled::providers::{
    Ask, BadPage, Books, Feed, Judgement, Keys, PageHead, Parsed, Provider, Relation, Reply, Request, Session, Shape,
    StatementItem, StatementLine, Step,
};
use reconciled::record::{Direction, Verdict};

use super::world::{Ent, JOB, Rec, World, at, night, provider_source};

/// Lists deposits by day, children of sweeps, and states one figure that its rows must give.
struct Toy;

impl Provider for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }
    fn feeds(&self) -> Vec<Feed> {
        vec![
            Feed {
                name: "deposits",
                shape: Shape::Days(1),
                directions: &[Direction::In],
            },
            Feed {
                name: "sweeps",
                shape: Shape::Days(1),
                directions: &[],
            },
            Feed {
                name: "payouts",
                shape: Shape::Children { of: "sweeps" },
                directions: &[Direction::Out],
            },
            Feed {
                name: "balance",
                shape: Shape::Snapshot,
                directions: &[],
            },
        ]
    }
    fn sign(&self, _: &mut Request, _: Option<&Session>, _: &Keys, _: Instant) {}
    fn next(&self, _: &Ask, _: &[PageHead]) -> Step {
        Step::Done
    }
    fn request(&self, _: &Ask, _: u32, _: &[PageHead]) -> Request {
        Request::get("/", "")
    }
    fn judge(&self, _: &Ask, _: &Reply) -> Judgement {
        Judgement::Page
    }
    fn head(&self, _: &Ask, _: u32, _: &[u8]) -> Result<PageHead, BadPage> {
        Ok(PageHead::default())
    }
    fn parse(&self, _: &Ask, _: u32, _: &[u8]) -> Parsed {
        Parsed::default()
    }
    fn identity_fields(&self) -> &'static [&'static str] {
        &[]
    }
    fn relations(&self, books: &Books) -> Vec<Relation> {
        let rows: i64 = books
            .totals
            .iter()
            .filter(|t| t.feed == "deposits")
            .map(|t| t.amount_minor)
            .sum();
        let stated = books.balances.iter().find(|b| b.item == "deposit_total");
        let of = |name, advisory, computed_minor| {
            stated.filter(|_| books.gaps.is_empty()).map(|stated| Relation {
                name,
                settlement: false,
                advisory,
                account: stated.account.clone(),
                subject: String::new(),
                reference: None,
                currency: stated.currency,
                stated_minor: stated.amount_minor,
                computed_minor,
                at: stated.as_of,
                business_day: books.business_day,
                sense: Some(reconciled::providers::Sense::Signed),
                detail: "deposit_total against the rows".into(),
            })
        };
        [of("R1", false, rows), of("R2", true, 0)]
            .into_iter()
            .flatten()
            .collect()
    }
    fn statement(&self, books: &Books) -> Vec<StatementLine> {
        let stated = books.balances.iter().map(|b| StatementLine {
            account: b.account.clone(),
            currency: b.currency,
            business_day: books.business_day,
            position: 1,
            line: StatementItem::Closing,
            amount_minor: b.amount_minor,
            source: "balance report".into(),
        });
        stated.collect()
    }
}

pub fn toy_world() -> World {
    let mut world = World::new();
    world.job.source = provider_source(Arc::new(Toy), false);
    for feed in ["sweeps", "balance"] {
        world.sql(&format!(
            "INSERT INTO windows (job, feed, from_at, until_at, state) SELECT job, '{feed}', from_at, until_at, state FROM windows
              WHERE feed = 'deposits'"
        ));
    }
    world.sql(
        "INSERT INTO balances (job, account, feed, as_of, currency, item, amount_minor, seen_at)
         VALUES ('shop', '456', 'balance', '2026-03-19T00:00:00.000Z', 'PEN', 'deposit_total', 15000, 't')",
    );
    world
}

#[test]
fn a_relation_that_does_not_close_is_a_residual_named_by_its_relation_until_it_closes() {
    let mut world = toy_world();
    world.add_record(&Rec::new("p1", "A", 9142));
    world.add_entry(&Ent::new("l1", "A", 9142));
    world.night().expect("a night");
    assert_eq!(world.states(), ["balance_residual open"]);
    assert_eq!(
        world.text("SELECT detail || ' ' || difference FROM discrepancies"),
        "toy R1: deposit_total against the rows 58.58"
    );
    let lines = world.texts("SELECT line || ' ' || amount FROM v_statement ORDER BY position");
    assert_eq!(
        lines,
        ["closing 150.00", "advisory toy R2 150.00"],
        "advisory relations stand in the statement only"
    );
    // A reading with a gap looks at nothing and so closes nothing.
    world.sql("UPDATE windows SET state = 'open' WHERE feed = 'deposits'");
    world.reading_complete = false;
    world.night().expect("a night");
    assert_eq!(
        world.text("SELECT state FROM discrepancies WHERE kind = 'balance_residual'"),
        "open"
    );
    world.sql("UPDATE windows SET state = 'sealed'");
    world.reading_complete = true;
    world.add_record(&Rec::new("p2", "B", 5858));
    world.add_entry(&Ent::new("l2", "B", 5858));
    world.night().expect("a night");
    assert_eq!(
        world.text("SELECT state FROM discrepancies WHERE kind = 'balance_residual'"),
        "resolved"
    );
    // Strict: the advisory one counts, too.
    world.job.source = provider_source(Arc::new(Toy), true);
    world.night().expect("a night");
    assert_eq!(
        world.text("SELECT detail FROM discrepancies WHERE state = 'open'"),
        "toy R2: deposit_total against the rows"
    );
}

#[test]
fn a_record_that_does_not_close_in_itself_is_a_residual() {
    let mut world = toy_world();
    world.add_record(&Rec::new("p1", "A", 15000));
    world.add_entry(&Ent::new("l1", "A", 15000));
    world.sql(
        r#"UPDATE transactions SET residuals =
             '[{"relation":"R8","stated_minor":15000,"computed_minor":14000,"detail":"amount against requestedAmount"}]'"#,
    );
    world.night().expect("a night");
    let row = world.text("SELECT kind || ' ' || provider_id || ' ' || difference || ' ' || detail FROM discrepancies");
    assert_eq!(row, "balance_residual p1 10.00 toy R8: amount against requestedAmount");
}

#[test]
fn an_entry_is_missing_only_where_the_feeds_of_its_direction_prove_it() {
    let mut world = toy_world();
    world.sql("DELETE FROM balances");
    world.add_entry(&Ent::new("in", "A", 100));
    world.add_entry(&Ent::new("out", "B", -100));
    // A sweep of the day was listed, its payouts never read.
    world.sql(
        "INSERT INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at)
         VALUES ('shop', '456', 'sweeps', 's1', '2026-03-10T22:00:00.000Z', 'PEN', 'opening_balance', 0, 't')",
    );
    world.night_at(night(0)).expect("a night");
    assert_eq!(world.states(), ["incomplete_window open", "missing_in_provider open"]);
    assert_eq!(
        world.text("SELECT ledger_id FROM discrepancies WHERE kind = 'missing_in_provider'"),
        "in"
    );
    let detail = world.text("SELECT detail FROM discrepancies WHERE kind = 'incomplete_window'");
    assert!(detail.starts_with("payouts of s1 was not read to its end"), "{detail}");
    // Deposits of the day before the booking were cut: nothing is proved any more, nothing is closed.
    let booked = at("2026-03-10T08:00:00Z");
    let from = world.text("SELECT from_at FROM windows WHERE feed = 'deposits'");
    world.sql(&format!(
        "DELETE FROM windows WHERE feed = 'deposits';
         INSERT INTO windows (job, feed, from_at, until_at, state) VALUES
           ('{JOB}', 'deposits', '{from}', '{0}', 'sealed'), ('{JOB}', 'deposits', '{0}', '{1}', 'open'),
           ('{JOB}', 'deposits', '{1}', '2026-03-20T05:00:00.000Z', 'sealed')",
        format_instant(booked - TimeDelta::hours(20)),
        format_instant(booked - TimeDelta::hours(19)),
    ));
    world.add_entry(&Ent::new("in2", "C", 300));
    world.night_at(night(0)).expect("a night");
    assert_eq!(
        world.texts("SELECT ledger_id FROM discrepancies WHERE kind = 'missing_in_provider' AND state = 'open'"),
        ["in"]
    );
    // The sweep is read: the payout is missing, too.
    world.sql(
        "INSERT INTO windows (job, feed, subject, from_at, until_at, state)
         VALUES ('shop', 'payouts', 's1', '2026-03-10T05:00:00.000Z', '2026-03-11T05:00:00.000Z', 'sealed')",
    );
    world.night_at(night(0)).expect("a night");
    let missing = world
        .texts("SELECT ledger_id FROM discrepancies WHERE kind = 'missing_in_provider' AND state = 'open' ORDER BY 1");
    assert_eq!(missing, ["in", "out"]);
}

#[test]
fn a_stretch_that_was_never_asked_for_is_an_incomplete_window() {
    let mut world = toy_world();
    world.sql("DELETE FROM balances; DELETE FROM windows WHERE feed = 'deposits'");
    world.window(at("2026-01-01T05:00:00Z"), at("2026-03-18T05:00:00Z"), "sealed");
    let outcome = world.night().expect("a night");
    assert_eq!(outcome.verdict, Verdict::Incomplete);
    let detail = world.text("SELECT detail FROM discrepancies");
    assert!(
        detail.contains("deposits 2026-03-18") && detail.contains("never asked for"),
        "{detail}"
    );
}

#[test]
fn accounts_of_one_job_are_kept_apart_where_the_ledger_names_them() {
    let record = |id: &str, account: &str| Rec {
        account: account.into(),
        ..Rec::new(id, "A", 100)
    };
    let entry = |account: &str| Ent {
        account: Some(account.into()),
        ..Ent::new("l1", "A", 100)
    };
    let mut world = World::with(
        &[
            record("p1", "GBP3"),
            Rec {
                account: "EUR1".into(),
                ..Rec::new("p2", "B", 5)
            },
        ],
        &[entry("EUR1")],
    );
    world.job.matching.suggest_days = 0;
    world.add_entry(&Ent {
        account: Some("EUR1".into()),
        ..Ent::new("l2", "B", 5)
    });
    world.night().expect("a night");
    assert_eq!(world.states(), ["missing_in_ledger open", "missing_in_provider open"]);
    assert_eq!(world.number("SELECT count(*) FROM matches"), 1);
    // A name that is none of the provider's says nothing about its accounts.
    let mut other = World::with(
        &[
            record("p1", "GBP3"),
            Rec {
                account: "EUR1".into(),
                ..Rec::new("p2", "B", 5)
            },
        ],
        &[entry("the shop")],
    );
    assert_eq!(other.night().expect("a night").matched, 1);
    assert_eq!(other.number("SELECT count(*) FROM matches"), 1);
}

#[test]
fn nothing_is_missing_on_either_side_while_a_record_was_not_asked_what_it_is_called() {
    let source = Source {
        file: "jobs/shop.toml",
        text: "base_url = \"https://api.example.com\"\napi_key = \"env:A\"\nsecret_key = \"env:S\"\n",
    };
    let mut section = Section::parse(&source);
    let built = (reconciled::providers::one2pays::ENTRY.build)(&mut section).expect("settings");
    let mut world = World::new();
    world.job.source = provider_source(built.provider, false);
    for feed in ["payments", "withdraws", "balance"] {
        world.sql(&format!(
            "INSERT INTO windows (job, feed, from_at, until_at, state) SELECT job, '{feed}', from_at, until_at, state FROM windows
              WHERE feed = 'deposits'"
        ));
    }
    let unnamed = |id: &str, amount| Rec {
        reference: None,
        account: String::new(),
        feed: "payments".into(),
        ..Rec::new(id, "", amount)
    };
    world.add_record(&unnamed("p1", 9142));
    world.add_record(&unnamed("p2", 777));
    world.add_entry(&Ent::new("l1", "A", 9142));
    world.sql(
        "INSERT INTO windows (job, feed, subject, from_at, until_at, state)
         SELECT job, 'payment_details', id, from_at, until_at, 'open' FROM windows, (SELECT 'p1' AS id UNION SELECT 'p2')
          WHERE feed = 'payments'",
    );
    world.job.matching.suggest_days = 0;
    let night = world.night().expect("a night");
    assert_eq!(world.states(), ["incomplete_window open"]);
    assert_eq!((night.pending, night.matched), (3, 0));
    let detail = world.text("SELECT detail FROM discrepancies");
    assert!(
        detail.ends_with("2 records of payments without a reference were not asked about yet"),
        "{detail}"
    );
    world.sql("UPDATE windows SET state = 'sealed' WHERE feed = 'payment_details'");
    world.sql("UPDATE transactions SET reference = 'A' WHERE provider_id = 'p1'");
    let night = world.night().expect("the next night");
    let open = world.texts("SELECT kind || ' ' || provider_id FROM discrepancies WHERE state = 'open'");
    assert_eq!((open, night.matched), (vec!["missing_in_ledger p2".to_owned()], 1));
}
