//! Jobs across providers, and transfers against the bank's statement.

use reconciled::compare::LedgerLeg;
use reconciled::config::{FileFeed, JobSource};
use reconciled::record::Verdict;

use super::world::{Rec, World, at, day, night, table};

/// A transfer that PayVyne says it made, in minor units.
fn due(sweep: &str, day: &str, amount: i64) -> String {
    format!(
        "INSERT INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at)
         VALUES ('vyne', 'GBP3', 'sweeps', '{sweep}', '{day}T22:59:00.000Z', 'PEN', 'transferred_amount', {amount}, 't');"
    )
}

/// The world's job reads a bank's statement and has no ledger.
fn reads_a_bank_statement(world: &mut World) {
    world.ledger = LedgerLeg::Absent;
    world.job.source = JobSource::File(FileFeed {
        feed: "deposits".into(),
        provider: "bank".into(),
        table: table(),
        bank: true,
    });
}

#[test]
fn a_reference_settled_at_two_providers_is_found_by_a_job_across() {
    let mut world = World::new();
    world.add_record_to(
        "a",
        "tupay",
        &Rec {
            hours_ago: 50,
            ..Rec::new("p1", "A", 9000)
        },
    );
    world.add_record_to(
        "b",
        "payvyne",
        &Rec {
            hours_ago: 40,
            ..Rec::new("x1", "A", 9000)
        },
    );
    world.add_record_to(
        "b",
        "payvyne",
        &Rec {
            status: "failed",
            ..Rec::new("x2", "B", 100)
        },
    );
    world.add_record_to("a", "tupay", &Rec::new("p2", "B", 100));
    world.add_record_to("c", "one2pays", &Rec::new("y1", "A", 9000));
    world.job.name = "both".into();
    world.job.source = JobSource::Across(vec!["a".into(), "b".into()]);
    let outcome = world.night().expect("a night");
    assert_eq!((outcome.open, outcome.verdict), (1, Verdict::Discrepancies));
    let row =
        world.text("SELECT kind || ' ' || provider || ' ' || provider_id || ' ' || difference FROM discrepancies");
    assert_eq!(row, "cross_provider_duplicate payvyne x1 90.00");
    // Two accounts at one provider are told apart by their jobs.
    world.sql("UPDATE transactions SET provider = 'tupay', provider_id = 'p1' WHERE provider_id = 'x1'");
    world.night().expect("a night");
    let row = world.text("SELECT detail || ' | ' || evidence FROM discrepancies WHERE state = 'open'");
    assert_eq!(
        row,
        "one reference was settled 2 times: 90.00 PEN at tupay (`p1` of a), 90.00 PEN at tupay (`p1` of b) | \
         a: deposits 2026-03-18; b: deposits 2026-03-18"
    );
    world.sql("UPDATE transactions SET status = 'failed' WHERE job = 'b'");
    assert_eq!(world.night_at(night(1)).expect("a night").resolved, 1);
}

#[test]
fn a_payout_that_no_credit_answers_within_its_lag_is_missing_in_the_bank() {
    let mut world = World::new();
    world.sql(
        &[
            due("s1", "2026-03-10", 78_080),
            due("s2", "2026-03-10", 78_080),
            due("s3", "2026-03-18", 500),
        ]
        .concat(),
    );
    // One credit for two equal transfers, nothing yet for one that may still come.
    world.add_record(&Rec {
        hours_ago: 200,
        ..Rec::new("b1", "TRF", 78_080)
    });
    reads_a_bank_statement(&mut world);
    let first = world.night_at(night(0)).expect("a night");
    assert_eq!(
        world.texts("SELECT kind || ' ' || reference || ' ' || difference FROM discrepancies"),
        ["missing_in_bank s2 780.80"]
    );
    // What may still come is pending, with the day on which it is missing.
    assert_eq!(first.pending, 1);
    assert_eq!(
        world.texts("SELECT becomes_kind || ' ' || becomes_day || ' ' || amount_minor FROM pending_items"),
        ["missing_in_bank 2026-03-21 500"]
    );
    world.read_until(day("2026-03-21"));
    assert_eq!(world.night_at(night(2)).expect("a night").new, 1);
    // A statement that cannot be seen tonight proves nothing either way.
    world.sql("UPDATE windows SET state = 'open'");
    let blind = world.night_at(night(3)).expect("a night");
    assert_eq!((blind.resolved, blind.pending), (0, 0));
}

#[test]
fn a_transfer_that_a_line_put_aside_may_be_is_not_missing_in_the_bank() {
    let mut world = World::new();
    world.sql(
        &[
            due("s1", "2026-03-05", 500),
            due("s2", "2026-03-08", 600),
            due("s3", "2026-03-11", 700),
            due("s4", "2026-03-14", 800),
            due("s5", "2026-02-10", 900),
        ]
        .concat(),
    );
    reads_a_bank_statement(&mut world);
    let line = |n: i64, says: [&str; 5]| {
        let [status, direction, currency, amount, booked_at] = says;
        format!(
            "INSERT INTO unreadable_rows (job, feed, source, place, reason, seen_at, status, direction, currency, amount_minor,
               booked_at)
             VALUES ('shop', 'deposits', 'bank.csv', 'line {n}', 'why', 't', {status}, {direction}, {currency}, {amount}, {booked_at});"
        )
    };
    let on = |day: &str| format!("'{day}T12:00:00.000Z'");
    world.sql(
        &[
            // An amount that cannot be read, two days after the transfer of the 5th.
            line(2, ["'settled'", "'in'", "'PEN'", "NULL", &on("2026-03-07")]),
            // A day that cannot be read, the amount of the 8th; and of the 11th in another currency or direction, or as no money.
            line(3, ["NULL", "NULL", "NULL", "600", "NULL"]),
            line(4, ["'settled'", "'in'", "'USD'", "700", "NULL"]),
            line(5, ["'settled'", "'out'", "'PEN'", "NULL", &on("2026-03-12")]),
            line(6, ["'excluded'", "NULL", "NULL", "NULL", &on("2026-03-12")]),
            // Too late for the 14th.
            line(7, ["'settled'", "'in'", "'PEN'", "NULL", &on("2026-03-18")]),
        ]
        .concat(),
    );
    let first = world.night().expect("a night");
    let missing = |world: &World| {
        world.texts("SELECT reference FROM discrepancies WHERE kind = 'missing_in_bank' AND state = 'open' ORDER BY 1")
    };
    assert_eq!(missing(&world), ["s3", "s4", "s5"]);
    assert_eq!(first.pending, 2);
    assert_eq!(
        world.texts("SELECT becomes_day || ' ' || amount_minor FROM pending_items ORDER BY 1"),
        ["2026-03-20 500", "2026-03-20 600"]
    );
    // A line of which nothing can be read may be any of them: nothing is closed, nothing is opened.
    world.sql(&line(8, ["NULL"; 5]));
    world.sql("UPDATE unreadable_rows SET gone_at = 't' WHERE place <> 'line 8'");
    world.sql(&due("s6", "2026-03-02", 1_000));
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!(
        (missing(&world), second.pending),
        (vec!["s3".into(), "s4".into(), "s5".into()], 3)
    );
    world.sql("UPDATE unreadable_rows SET gone_at = 't'");
    world.night_at(night(2)).expect("a night");
    assert_eq!(missing(&world), ["s1", "s2", "s3", "s4", "s5", "s6"]);
}

#[test]
fn a_statement_that_has_not_come_to_a_transfer_leaves_it_pending() {
    let mut world = World::new();
    world.sql(
        "INSERT INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at)
         VALUES ('vyne', 'GBP3', 'sweeps', 's1', '2026-03-10T22:59:00.000Z', 'PEN', 'transferred_amount', 500, 't')",
    );
    reads_a_bank_statement(&mut world);
    world.read_until(day("2026-03-12"));
    let stale = world.night_at(night(0)).expect("a night");
    assert_eq!((stale.new, stale.pending), (0, 1));
    assert_eq!(stale.verdict, Verdict::ReconciledWithPending);
}

#[test]
fn a_transfer_from_before_the_statement_is_counted_as_excluded_and_raises_no_alarm() {
    let mut world = World::new();
    // The last one is from before the first day ever wanted.
    let dues = [
        ("s1", "2026-03-01", 500),
        ("s2", "2026-03-02", 700),
        ("s3", "2025-12-20", 900),
    ];
    world.sql(&dues.map(|(sweep, day, amount)| due(sweep, day, amount)).concat());
    // The credit of the second one is the statement's first row.
    world.add_record(&Rec {
        hours_ago: 370,
        ..Rec::new("b1", "TRF", 700)
    });
    reads_a_bank_statement(&mut world);
    world.sql("DELETE FROM windows");
    world.window(at("2026-03-04T05:00:00Z"), at("2026-03-20T05:00:00Z"), "sealed");
    let outcome = world.night().expect("a night");
    assert_eq!((outcome.new, outcome.pending, outcome.excluded), (0, 0, 1));
    assert_eq!(outcome.verdict, Verdict::Reconciled);
    assert_eq!(
        world.texts("SELECT kind || ' ' || currency || ' ' || count || ' ' || difference_minor FROM run_counts"),
        ["excluded PEN 1 500"]
    );
    // An older export is added: now the statement speaks of that day.
    world.window(at("2026-02-20T05:00:00Z"), at("2026-03-20T05:00:00Z"), "sealed");
    let later = world.night_at(night(1)).expect("a night");
    assert_eq!((later.new, later.excluded), (1, 0));
}

#[test]
fn a_days_settlement_is_due_from_the_day_on_its_label() {
    let mut world = World::new();
    world.sql(
        "INSERT INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at) VALUES
         ('pe', '456', 'balance_report', '', '2026-03-09T00:00:00.000Z', 'PEN', 'settlement_total', 500, 't'),
         ('pe', '456', 'balance_report', '', '2026-03-10T00:00:00.000Z', 'PEN', 'settlement_total', 700, 't');",
    );
    // 12 March, 21:00 in Lima: the third day after the label.
    world.add_record(&Rec {
        hours_ago: 174,
        ..Rec::new("b1", "TRF", 500)
    });
    reads_a_bank_statement(&mut world);
    world.night_at(night(0)).expect("a night");
    assert_eq!(
        world.texts("SELECT kind || ' ' || difference || ' ' || business_day FROM discrepancies"),
        ["missing_in_bank 7.00 2026-03-10"]
    );
}
