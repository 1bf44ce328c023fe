//! Stories over several nights: the life of a discrepancy, and what a refused ledger or an incomplete reading leaves alone.

use reconciled::compare::LedgerLeg;
use reconciled::day::format_instant;
use reconciled::record::Verdict;

use super::world::{Ent, Rec, World, counts, day, night};

fn life(world: &World) -> Vec<String> {
    world.texts("SELECT business_day || ' ' || event FROM discrepancy_events ORDER BY event_id")
}

#[test]
fn a_discrepancy_is_new_persists_is_resolved_and_comes_back_under_the_same_id() {
    let mut world = World::with(&[Rec::new("p1", "A", 9000)], &[Ent::new("l1", "A", 10000)]);
    let first = world.night_at(night(0)).expect("a night");
    assert_eq!(
        (first.new, first.persisting, first.open, first.verdict),
        (1, 0, 1, Verdict::Discrepancies)
    );
    let id = world.text("SELECT discrepancy_id FROM discrepancies");
    assert_eq!(
        counts(&world, "amount_mismatch"),
        "1 open, 0 before, 1 new, 0 reopened, 0 resolved"
    );

    world.read_until(day("2026-03-20"));
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!((second.new, second.persisting, second.open), (0, 1, 1));
    assert_eq!(world.number("SELECT age_days FROM discrepancies"), 1);

    world.read_until(day("2026-03-21"));
    world.sql("UPDATE ledger_entries SET amount_minor = 9000");
    let third = world.night_at(night(2)).expect("a night");
    assert_eq!(
        (third.resolved, third.open, third.matched, third.verdict),
        (1, 0, 1, Verdict::Reconciled)
    );
    assert_eq!(
        counts(&world, "amount_mismatch"),
        "0 open, 1 before, 0 new, 0 reopened, 1 resolved"
    );
    assert_eq!(world.text("SELECT resolved_day FROM discrepancies"), "2026-03-21");

    world.read_until(day("2026-03-22"));
    world.sql("UPDATE ledger_entries SET amount_minor = 9500");
    let fourth = world.night_at(night(3)).expect("a night");
    assert_eq!((fourth.reopened, fourth.new, fourth.open), (1, 0, 1));
    assert_eq!(world.text("SELECT discrepancy_id FROM discrepancies"), id);
    assert_eq!(world.text("SELECT resolved_day FROM discrepancies"), "");
    assert_eq!(
        life(&world),
        ["2026-03-19 opened", "2026-03-21 resolved", "2026-03-22 reopened"]
    );

    let before = world.dump();
    world.night_at(night(3)).expect("the same night again");
    assert_eq!(world.dump(), before, "`reopened` stays reopened on the same night");
}

#[test]
fn a_change_of_kind_keeps_id_and_age() {
    let mut world = World::with(&[Rec::new("p1", "A", 9000)], &[]);
    world.night_at(night(0)).expect("a night");
    let id = world.text("SELECT discrepancy_id FROM discrepancies WHERE kind = 'missing_in_ledger'");
    world.read_until(day("2026-03-20"));
    world.add_entry(&Ent::new("l1", "A", 10000));
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!((second.new, second.persisting, second.open), (0, 1, 1));
    assert_eq!(
        world.text("SELECT discrepancy_id || kind FROM discrepancies"),
        format!("{id}amount_mismatch")
    );
    assert_eq!(world.number("SELECT age_days FROM discrepancies"), 1);
    let change = "SELECT from_kind || ' -> ' || to_kind FROM discrepancy_events WHERE event = 'changed'";
    assert_eq!(world.text(change), "missing_in_ledger -> amount_mismatch");
    // One row under its present kind: the books of both kinds close.
    assert_eq!(
        counts(&world, "amount_mismatch"),
        "1 open, 1 before, 0 new, 0 reopened, 0 resolved"
    );
}

#[test]
fn a_pending_item_becomes_a_discrepancy_on_the_day_it_said() {
    let mut world = World::with(
        &[Rec {
            hours_ago: 10,
            ..Rec::new("p1", "A", 9000)
        }],
        &[],
    );
    let first = world.night_at(night(0)).expect("a night");
    assert_eq!(
        (first.pending, first.open, first.verdict),
        (1, 0, Verdict::ReconciledWithPending)
    );
    assert_eq!(
        world.text("SELECT becomes_kind || ' ' || becomes_day FROM pending_items"),
        "missing_in_ledger 2026-03-20"
    );
    let counted =
        world.text("SELECT currency || ' ' || count || ' ' || difference_minor FROM run_counts WHERE kind = 'pending'");
    assert_eq!(counted, "PEN 1 9000");
    world.read_until(day("2026-03-20"));
    assert_eq!(world.night_at(night(1)).expect("a night").new, 1);
    assert_eq!(world.number("SELECT count(*) FROM pending_items"), 0);
}

#[test]
fn sums_beyond_64_bits_end_no_night_and_stand_as_nothing() {
    let huge = i64::MAX - 7;
    let rec = |id: &str, amount| Rec::new(id, id, amount);
    let young = |id: &str| Rec {
        hours_ago: 2,
        ..rec(id, huge)
    };
    let mut world = World::with(
        &[
            rec("m1", huge),
            rec("m2", huge),
            rec("n1", -huge),
            rec("n2", -huge),
            rec("n3", -1),
            young("p1"),
            young("p2"),
        ],
        &[Ent::new("m1", "m1", huge), Ent::new("m2", "m2", huge)],
    );
    let outcome = world.night().expect("a night");
    assert_eq!((outcome.matched, outcome.pending, outcome.open), (2, 2, 3));
    assert_eq!(
        world.texts(
            "SELECT kind || ' ' || count || ' ' || coalesce(difference_minor, 'NULL') FROM run_counts ORDER BY 1"
        ),
        ["matched 2 NULL", "missing_in_ledger 3 NULL", "pending 2 NULL"]
    );
    // Whatever fits is exact to the last unit.
    world.add_record(&rec("n4", huge));
    world.night_at(night(1)).expect("a night");
    let sum = "SELECT difference_minor FROM run_counts WHERE kind = 'missing_in_ledger' ORDER BY run_id DESC LIMIT 1";
    assert_eq!(world.number(sum), huge - 1);
}

#[test]
fn the_views_have_no_sum_where_64_bits_do_not_hold_it_and_every_other_one_exactly() {
    let huge = i64::MAX - 7;
    let rec = |id: &str, amount, fee| Rec {
        fee: Some(fee),
        ..Rec::new(id, id, amount)
    };
    let mut world = World::with(
        &[
            rec("m1", huge, huge),
            rec("m2", huge, huge),
            rec("n1", -huge, -1),
            rec("n2", -7, -huge),
        ],
        &[],
    );
    world.night().expect("a night");
    let sums = |world: &World, what: &str| {
        world.texts(&format!(
            "SELECT coalesce(amount_minor, '-') || ' ' || coalesce(amount, '-') || {what} ORDER BY direction"
        ))
    };
    let fees = |view: &str| format!("' ' || coalesce(fee_minor, '-') FROM {view}");
    let low = [
        "- - -",
        "-9223372036854775807 -92233720368547758.07 -9223372036854775801",
    ];
    assert_eq!(sums(&world, &fees("v_daily_totals")), low);
    assert_eq!(sums(&world, &fees("v_fees_by_day")), low);
    assert_eq!(
        sums(&world, "'' FROM v_volume_by_status"),
        ["- -", "-9223372036854775807 -92233720368547758.07"]
    );
    // On the way to a sum that fits more than 64 bits may be needed.
    let ageing = "SELECT difference_minor FROM v_ageing WHERE kind = 'missing_in_ledger'";
    assert_eq!(world.number(ageing), huge - 7);
    world.sql("UPDATE discrepancies SET difference_minor = 5 WHERE provider_id LIKE 'n%'");
    assert_eq!(world.texts(ageing), [""]);
}

#[test]
fn two_missing_rows_that_turn_out_to_be_one_keep_the_records_id_and_resolve_the_other() {
    let late = Ent {
        hours_ago: Some(60),
        ..Ent::new("l1", "TYPO", 777)
    };
    let mut world = World::with(
        &[Rec {
            hours_ago: 70,
            ..Rec::new("p1", "A", 777)
        }],
        &[late],
    );
    world.night_at(night(0)).expect("a night");
    let id = world.text("SELECT discrepancy_id FROM discrepancies WHERE kind = 'missing_in_ledger'");
    world.read_until(day("2026-03-20"));
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!(second.open, 1);
    assert_eq!(
        world.text("SELECT discrepancy_id FROM discrepancies WHERE kind = 'suggested'"),
        id
    );
    assert_eq!(
        world.text("SELECT suggested_match FROM discrepancies WHERE kind = 'suggested'"),
        "TYPO (ledger id l1): the same 7.77 PEN (in), booked on the same day; neither side has another one that fits"
    );
}

#[test]
fn acknowledged_stays_so_while_the_values_are_the_same_and_is_counted() {
    let mut world = World::with(&[Rec::new("p1", "A", 9000)], &[Ent::new("l1", "A", 10000)]);
    world.night_at(night(0)).expect("a night");
    acknowledge(&world, 0);
    world.read_until(day("2026-03-20"));
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!((second.open, second.verdict), (1, Verdict::ReconciledWithWarnings));
    assert_eq!(world.states(), ["amount_mismatch acknowledged"]);
    world.read_until(day("2026-03-21"));
    world.sql("UPDATE ledger_entries SET amount_minor = 9500");
    world.night_at(night(2)).expect("a night");
    assert_eq!(world.states(), ["amount_mismatch open"]);
}

/// What `acknowledge` writes; the store's own function is tried where the store is.
fn acknowledge(world: &World, n: i64) {
    let moment = format_instant(night(n));
    world.sql(&format!(
        "UPDATE discrepancies SET state = 'acknowledged', note = 'known' WHERE state = 'open';
         INSERT INTO discrepancy_events (discrepancy_id, at, business_day, event, actor, note)
         SELECT discrepancy_id, '{moment}', '2026-03-20', 'acknowledged', 'ana', 'known' FROM discrepancies;"
    ));
}

#[test]
fn a_refund_that_names_its_payment_says_how_much_may_be_given_back() {
    let records = [
        Rec::new("pay", "BASKET-1", 9000),
        Rec {
            kind: "refund",
            ..Rec::new("r1", "RETURN-1", -3000)
        },
    ];
    let entries = [
        Ent::new("l0", "BASKET-1", 9000),
        Ent::new("l1", "RETURN-1", -3000),
        Ent::new("l2", "RETURN-1", -4000),
        Ent::new("l3", "RETURN-1", -2500),
    ];
    let mut world = World::with(&records, &entries);
    // In another sweep than the refund.
    world.sql("UPDATE transactions SET subject = 'sweep-1' WHERE provider_id = 'pay'");
    world.sql("UPDATE transactions SET subject = 'sweep-2', related_id = 'pay' WHERE provider_id = 'r1'");
    world.night().expect("a night");
    let kinds = world.texts("SELECT kind || ' ' || ledger_id FROM discrepancies ORDER BY 1");
    assert_eq!(kinds, ["duplicate_in_ledger l3", "missing_in_provider l2"]);
}

#[test]
fn a_change_after_final_shows_both_versions_and_stays_until_acknowledged() {
    let mut world = World::with(&[Rec::new("p1", "A", 9000)], &[Ent::new("l1", "A", 9000)]);
    world.add_version("p1", 1, "settled", 10000, None, true);
    world.sql("UPDATE transactions SET version = 2");
    world.night_at(night(0)).expect("a night");
    assert_eq!(world.states(), ["changed_after_final open"]);
    assert_eq!(
        world.text("SELECT what_differs FROM discrepancies"),
        "amount: 100.00 -> 90.00"
    );
    let detail = world.text("SELECT detail FROM discrepancies");
    assert!(
        detail.contains("version 1 was final with 100.00 PEN") && detail.contains("version 2 says 90.00 PEN"),
        "{detail}"
    );
    acknowledge(&world, 0);
    world.read_until(day("2026-03-20"));
    assert_eq!(world.night_at(night(1)).expect("a night").resolved, 1);
    world.read_until(day("2026-03-21"));
    let third = world.night_at(night(2)).expect("a night");
    assert_eq!((third.open, third.reopened), (0, 0));
    // Another change is another question.
    world.add_version("p1", 2, "settled", 9000, None, true);
    world
        .sql("UPDATE transactions SET version = 3, amount_minor = 8000; UPDATE ledger_entries SET amount_minor = 8000");
    world.read_until(day("2026-03-22"));
    assert_eq!(world.night_at(night(3)).expect("a night").reopened, 1);
}

#[test]
fn what_was_settled_booked_and_taken_back_is_a_reversal_until_the_ledger_follows_and_no_second_row() {
    let taken_back = Rec {
        status: "failed",
        was_settled: true,
        ..Rec::new("p1", "A", 9000)
    };
    let mut world = World::with(&[taken_back], &[Ent::new("l1", "A", 9000)]);
    world.night_at(night(0)).expect("a night");
    assert_eq!(world.states(), ["reversed_after_booking open"]);
    world.sql("UPDATE ledger_entries SET status = 'failed'");
    world.read_until(day("2026-03-20"));
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!((second.resolved, second.open, second.matched), (1, 0, 1));
}

#[test]
fn an_incomplete_reading_opens_no_missing_row_and_closes_none_it_cannot_see() {
    let mut world = World::with(&[], &[Ent::new("l1", "A", 9000)]);
    world.night_at(night(0)).expect("a night");
    assert_eq!(world.states(), ["missing_in_provider open"]);
    // The next night reads the same stretch again and is cut.
    world.sql("UPDATE windows SET state = 'open'");
    world.add_entry(&Ent::new("l2", "B", 500));
    world.reading_complete = false;
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!(second.verdict, Verdict::Incomplete);
    assert_eq!(world.states(), ["incomplete_window open", "missing_in_provider open"]);
    assert_eq!(world.number("SELECT count(*) FROM pending_items"), 1);
    // Read to its end, with the record: resolved.
    world.reading_complete = true;
    world.read_until(day("2026-03-21"));
    world.add_record(&Rec::new("p1", "A", 9000));
    world.night_at(night(2)).expect("a night");
    assert_eq!(
        world.states(),
        [
            "incomplete_window resolved",
            "missing_in_provider open",
            "missing_in_provider resolved"
        ]
    );
}

#[test]
fn a_gap_that_the_same_night_reads_after_all_leaves_no_trace() {
    let mut world = World::with(&[Rec::new("p1", "A", 9000)], &[]);
    world.sql("UPDATE windows SET state = 'open'");
    world.reading_complete = false;
    world.night_at(night(0)).expect("a night");
    assert!(world.states().contains(&"incomplete_window open".to_owned()));
    world.reading_complete = true;
    world.sql("UPDATE windows SET state = 'sealed'");
    let whole = world.night_at(night(0)).expect("the same night");
    assert_eq!((whole.new, whole.resolved, whole.open), (1, 0, 1));
    assert_eq!(world.states(), ["missing_in_ledger open"]);
    assert_eq!(world.number("SELECT count(*) FROM discrepancy_events"), 1);
}

#[test]
fn a_refused_ledger_opens_and_resolves_nothing_about_the_ledger() {
    let mut world = World::with(&[Rec::new("p1", "A", 9000)], &[]);
    world.night_at(night(0)).expect("a night");
    world.ledger = LedgerLeg::Refused("the ledger is missing".into());
    world.add_record(&Rec::new("p2", "B", 500));
    world.sql("UPDATE transactions SET vanished_at = seen_at WHERE provider_id = 'p1'");
    world.read_until(day("2026-03-20"));
    let second = world.night_at(night(1)).expect("a night");
    assert_eq!((second.verdict, second.matched), (Verdict::NotReconciled, 0));
    assert_eq!(world.states(), ["missing_in_ledger open"]);
    assert_eq!(world.text("SELECT last_seen_day FROM discrepancies"), "2026-03-19");
    // Whose entry lost its record can be said only beside a ledger.
    world.ledger = LedgerLeg::Present;
    world.read_until(day("2026-03-21"));
    world.night_at(night(2)).expect("a night");
    assert_eq!(world.states(), ["missing_in_ledger open", "vanished open"]);
    assert_eq!(
        world.text("SELECT first_seen_day FROM discrepancies WHERE kind = 'vanished'"),
        "2026-03-19"
    );
}

#[test]
fn without_a_ledger_only_what_records_alone_can_show_is_checked() {
    let stale = Rec {
        status: "open",
        hours_ago: 400,
        ..Rec::new("p1", "A", 100)
    };
    let odd = Rec {
        status: "unknown",
        ..Rec::new("p2", "B", 100)
    };
    let mut world = World::with(
        &[
            stale,
            odd,
            Rec::new("p3", "C", 100),
            Rec::new("p4", "D", 7),
            Rec::new("p5", "D", 7),
        ],
        &[],
    );
    world.ledger = LedgerLeg::Absent;
    let outcome = world.night().expect("a night");
    assert_eq!(
        world.states(),
        ["duplicate_in_provider open", "stale_pending open", "unclassified open"]
    );
    assert_eq!((outcome.matched, outcome.unclassified), (0, 1));
}

#[test]
fn evidence_names_feed_day_page_and_row_and_file_and_line() {
    let mut world = World::with(
        &[Rec::new("p1", "A", 9000)],
        &[Ent {
            line: 12,
            ..Ent::new("l1", "A", 10000)
        }],
    );
    world.sql(
        "INSERT INTO pages (page_id, job, feed, window, number, fetched_at, as_of, request, http_status, body_sha256, body, chain)
         SELECT 99, job, feed, window_id, 3, 't', 't', 'GET /v1/deposits', 200, '', x'', '' FROM windows;
         UPDATE transactions SET page_id = 99, page_row = 17;",
    );
    world.night().expect("a night");
    let row = world.text("SELECT evidence || ' | ' || what_differs FROM discrepancies");
    assert_eq!(
        row,
        "deposits 2026-01-01, page 3, row 17; ledger ledger.csv line 12 | amount: 100.00 -> 90.00"
    );
}
