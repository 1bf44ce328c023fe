//! Stories over several nights: the life of a discrepancy, and what only facts, figures and other jobs can show.

use std::sync::Arc;

use chrono::TimeDelta;
use reconciled::compare::LedgerLeg;
use reconciled::config::{FileFeed, JobSource, Section, Source};
use reconciled::day::{Instant, format_instant};
use reconciled::providers::{
    Ask, BadPage, Books, Feed, Judgement, Keys, PageHead, Parsed, Provider, Relation, Reply, Request, Session, Shape,
    StatementItem, StatementLine, Step,
};
use reconciled::record::{Direction, Verdict};

use super::world::{Ent, JOB, Rec, World, as_of, at, day, provider_source, table};

/// The n-th night after the first.
fn night(n: i64) -> Instant {
    as_of() + TimeDelta::days(n)
}

fn life(world: &World) -> Vec<String> {
    world.texts("SELECT business_day || ' ' || event FROM discrepancy_events ORDER BY event_id")
}

fn counts(world: &World, kind: &str) -> String {
    world.text(&format!(
        "SELECT count || ' open, ' || previous_open || ' before, ' || new || ' new, ' || reopened || ' reopened, ' ||
                resolved || ' resolved' FROM run_counts WHERE kind = '{kind}' ORDER BY run_id DESC LIMIT 1"
    ))
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
fn unreadable_rows_are_named_with_place_and_reason_until_they_are_gone() {
    let mut world = World::new();
    world.sql(
        "INSERT INTO pages (page_id, job, feed, window, number, fetched_at, as_of, request, http_status, body_sha256, body, chain)
         SELECT 7, job, feed, window_id, 3, 't', 't', 'GET /v1/deposits', 200, '', x'', '' FROM windows;
         INSERT INTO unreadable_rows (job, feed, page_id, place, reason, seen_at)
         VALUES ('shop', 'deposits', 7, 'data[17].amount', 'has more decimals than the currency', 't'),
                ('shop', '', NULL, 'line 12, column amount', 'is not a plain decimal number', 't');
         UPDATE unreadable_rows SET source = 'ledger.csv' WHERE page_id IS NULL;",
    );
    world.night_at(night(0)).expect("a night");
    let seen = world.texts("SELECT evidence || ': ' || detail FROM discrepancies ORDER BY 1");
    assert_eq!(seen.len(), 2);
    assert!(
        seen[0].starts_with("deposits 2026-01-01, page 3, data[17].amount: "),
        "{seen:?}"
    );
    assert!(
        seen[1].contains("line 12, column amount is not a plain decimal number"),
        "{seen:?}"
    );
    world.sql("UPDATE unreadable_rows SET gone_at = 't'");
    world.read_until(day("2026-03-20"));
    assert_eq!(world.night_at(night(1)).expect("a night").resolved, 2);
}

#[test]
fn an_entry_that_a_row_put_aside_names_is_not_missing_at_the_provider() {
    let of = |id, provider_id: Option<&str>| Ent {
        provider_id: provider_id.map(Into::into),
        ..Ent::new(id, id, 100)
    };
    let mut world = World::with(
        &[],
        &[of("A", None), of("B", None), of("C", Some("17")), of("D", Some("18"))],
    );
    let body = r#"{"data":[{"id":1,"ref":"A"},{"id":17,"ref":"B","amount":null}]}"#;
    let frame: String = zstd::bulk::compress(body.as_bytes(), 3)
        .expect("a frame")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    world.sql(&format!(
        "INSERT INTO pages (page_id, job, feed, window, number, fetched_at, as_of, request, http_status, body_sha256, body, chain)
         SELECT 7, job, feed, window_id, 3, 't', 't', 'GET /v1/deposits', 200, '', x'{frame}', '' FROM windows;
         INSERT INTO unreadable_rows (job, feed, page_id, place, reason, seen_at)
         VALUES ('shop', 'deposits', 7, 'data[1].amount', 'is missing', 't');"
    ));
    let outcome = world.night().expect("a night");
    let missing = |world: &World| {
        world.texts(
            "SELECT reference FROM discrepancies WHERE kind = 'missing_in_provider' AND state = 'open' ORDER BY 1",
        )
    };
    // B by its reference, C by its provider_id; what other rows of the page say hides nobody.
    assert_eq!(
        (missing(&world), outcome.pending),
        (vec!["A".to_owned(), "D".to_owned()], 2)
    );

    world.sql("UPDATE unreadable_rows SET gone_at = 't'");
    world.night_at(night(1)).expect("a night");
    assert_eq!(missing(&world), ["A", "B", "C", "D"]);
}

#[test]
fn a_record_that_a_line_put_aside_names_is_not_missing_in_the_ledger() {
    let of = |id: &str, reference: &str, amount| Rec::new(id, reference, amount);
    let mut world = World::with(
        &[
            of("1", "A", 100),
            of("2", "A", -100),
            of("3", "B", 100),
            of("4", "C", 100),
            of("5", "D", -100),
            of("6", "E", 100),
        ],
        &[],
    );
    let outcome = world.night().expect("a night");
    assert_eq!((outcome.open, outcome.pending), (6, 0));
    // Reference, provider_id and direction, as far as the line says them: an id alone counts where there is one.
    world.sql(
        "INSERT INTO unreadable_rows (job, source, place, reason, seen_at, reference, provider_id, direction) VALUES
         ('shop', 'ledger.csv', 'line 2, column amount', 'is empty', 't', 'A', NULL, 'in'),
         ('shop', 'ledger.csv', 'line 3, column amount', 'is empty', 't', 'C', '3', 'in'),
         ('shop', 'ledger.csv', 'line 4, column kind', 'is no word', 't', 'D', NULL, NULL),
         ('shop', 'ledger.csv', 'line 5, column reference', 'is empty', 't', NULL, NULL, 'in')",
    );
    let missing = |world: &World| {
        world.texts(
            "SELECT provider_id FROM discrepancies WHERE kind = 'missing_in_ledger' AND state = 'open' ORDER BY 1",
        )
    };
    let outcome = world.night_at(night(1)).expect("a night");
    assert_eq!(missing(&world), ["2", "4", "6"]);
    assert_eq!((outcome.pending, outcome.resolved), (3, 3));

    world.sql("UPDATE unreadable_rows SET gone_at = 't'");
    world.night_at(night(2)).expect("a night");
    assert_eq!(missing(&world), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn an_entry_that_a_line_of_an_export_put_aside_names_is_not_missing_at_the_provider() {
    let entry = |id: &str, provider_id: Option<&str>, amount| Ent {
        provider_id: provider_id.map(Into::into),
        ..Ent::new(id, id, amount)
    };
    let mut world = World::with(
        &[],
        &[
            entry("A", None, 100),
            entry("B", None, -100),
            entry("C", Some("17"), 100),
            entry("D", Some("D"), 100),
            entry("E", None, 100),
        ],
    );
    world.sql(
        "INSERT INTO unreadable_rows (job, feed, source, place, reason, seen_at, reference, provider_id, direction) VALUES
         ('shop', 'deposits', 'export.csv', 'line 2, column amount', 'is empty', 't', 'A', NULL, 'in'),
         ('shop', 'deposits', 'export.csv', 'line 3, column amount', 'is empty', 't', 'B', NULL, 'in'),
         ('shop', 'deposits', 'export.csv', 'line 4, column amount', 'is empty', 't', 'X', '17', 'in'),
         ('shop', 'deposits', 'export.csv', 'line 5, column amount', 'is empty', 't', 'D', NULL, 'in')",
    );
    let outcome = world.night().expect("a night");
    let missing = world
        .texts("SELECT reference FROM discrepancies WHERE kind = 'missing_in_provider' AND state = 'open' ORDER BY 1");
    assert_eq!((missing, outcome.pending), (vec!["B".to_owned(), "E".to_owned()], 3));
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
    let due = |sweep: &str, day: &str, amount: i64| {
        format!(
            "INSERT INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at)
             VALUES ('vyne', 'GBP3', 'sweeps', '{sweep}', '{day}T22:59:00.000Z', 'PEN', 'transferred_amount', {amount}, 't');"
        )
    };
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
    world.ledger = LedgerLeg::Absent;
    world.job.source = JobSource::File(FileFeed {
        feed: "deposits".into(),
        provider: "bank".into(),
        table: table(),
        bank: true,
    });
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
    let due = |sweep: &str, day: &str, amount: i64| {
        format!(
            "INSERT INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at)
             VALUES ('vyne', 'GBP3', 'sweeps', '{sweep}', '{day}T22:59:00.000Z', 'PEN', 'transferred_amount', {amount}, 't');"
        )
    };
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
    world.ledger = LedgerLeg::Absent;
    world.job.source = JobSource::File(FileFeed {
        feed: "deposits".into(),
        provider: "bank".into(),
        table: table(),
        bank: true,
    });
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
    world.ledger = LedgerLeg::Absent;
    world.job.source = JobSource::File(FileFeed {
        feed: "deposits".into(),
        provider: "bank".into(),
        table: table(),
        bank: true,
    });
    world.read_until(day("2026-03-12"));
    let stale = world.night_at(night(0)).expect("a night");
    assert_eq!((stale.new, stale.pending), (0, 1));
    assert_eq!(stale.verdict, Verdict::ReconciledWithPending);
}

#[test]
fn a_transfer_from_before_the_statement_is_counted_as_excluded_and_raises_no_alarm() {
    let mut world = World::new();
    let due = |sweep: &str, day: &str, amount: i64| {
        format!(
            "INSERT INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at)
             VALUES ('vyne', 'GBP3', 'sweeps', '{sweep}', '{day}T22:59:00.000Z', 'PEN', 'transferred_amount', {amount}, 't');"
        )
    };
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
    world.ledger = LedgerLeg::Absent;
    world.job.source = JobSource::File(FileFeed {
        feed: "deposits".into(),
        provider: "bank".into(),
        table: table(),
        bank: true,
    });
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
    world.ledger = LedgerLeg::Absent;
    world.job.source = JobSource::File(FileFeed {
        feed: "deposits".into(),
        provider: "bank".into(),
        table: table(),
        bank: true,
    });
    world.night_at(night(0)).expect("a night");
    assert_eq!(
        world.texts("SELECT kind || ' ' || difference || ' ' || business_day FROM discrepancies"),
        ["missing_in_bank 7.00 2026-03-10"]
    );
}

// ---------------------------------------------------------------------------------------------------------------------
// A provider with its own arithmetic

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

// ---------------------------------------------------------------------------------------------------------------------
// Records that their list shows without a reference

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
