//! The store from outside: what it keeps over kills, what it makes of served rows, and what it refuses.

#[path = "store/provider.rs"]
mod provider;

use proptest::prelude::*;
use provider::*;
use reconciled::failure::Class;
use reconciled::providers::Ask;
use reconciled::store::{self, InstanceLock, Store, WindowState};
use serde_json::{Value, json};

const CURRENT: &str =
    "SELECT provider_id, amount, version, first_seen_at, seen_at, vanished_at FROM transactions ORDER BY provider_id";
const FIRST: &str = "2026-03-05T07:30:00.000Z";
const SECOND: &str = "2026-03-06T07:30:00.000Z";
const THIRD: &str = "2026-03-07T07:30:00.000Z";

// -- pages and positions -----------------------------------------------------------------------------------------------

#[test]
fn a_killed_reading_goes_on_at_its_next_page_and_ends_like_an_undisturbed_one() {
    let pages = [rows(&[row("a", 100)]), rows(&[row("b", 200)]), rows(&[row("c", 300)])];
    let ask = ask("days", 4, night(5));
    let undisturbed = World::new();
    undisturbed.read(&ask, &pages);

    let mut world = World::new();
    for (position, body) in (0..).zip(&pages) {
        let reading = world.open(&ask);
        let bodies: Vec<Vec<u8>> = world.resumed(&reading).into_iter().map(|page| page.body).collect();
        let expected: Vec<Vec<u8>> = pages[..position as usize]
            .iter()
            .map(|p| p.to_string().into())
            .collect();
        assert_eq!(bodies, expected);
        world.archive(&ask, &reading, position, body).unwrap();
        world = world.killed();
    }
    let reading = world.open(&ask);
    world.seal(&ask, &reading, WindowState::Sealed).unwrap();
    world = world.killed();
    assert_eq!(world.everything(), undisturbed.everything());
    assert_eq!(
        store::covered(&world.store, JOB, "days").unwrap()[0].sealed_as_of,
        Some(night(5))
    );
}

#[test]
fn a_reading_under_other_settings_or_too_old_is_begun_anew() {
    let ask_now = ask("days", 4, night(5));
    let world = World::new();
    let reading = world.open(&ask_now);
    world.archive(&ask_now, &reading, 0, &rows(&[row("a", 1)])).unwrap();

    let next_night = ask("days", 4, night(6));
    assert_eq!(
        world.resumed(&world.open(&next_night)).len(),
        1,
        "the next night goes on"
    );
    let other = store::Place {
        shape: "other settings",
        ..place(&next_night)
    };
    let anew = store::open_window(&world.store, &other).unwrap();
    assert_eq!((anew.reading, world.resumed(&anew).len()), (2, 0));

    let reading = world.open(&next_night);
    world.archive(&next_night, &reading, 0, &rows(&[row("a", 1)])).unwrap();
    let late = world.open(&ask("days", 4, night(8)));
    assert_eq!((late.reading, world.resumed(&late).len()), (4, 0));
    assert!(
        world.archive(&next_night, &reading, 1, &rows(&[])).is_err(),
        "the former reading is over"
    );
}

#[test]
fn the_same_bytes_at_the_same_place_are_stored_once_and_change_no_row() {
    let world = World::new();
    let pages = [rows(&[row("a", 100)]), rows(&[row("b", 200)])];
    let first = world.read(&ask("days", 4, night(5)), &pages);
    assert_eq!((first.new, first.changed, first.unchanged), (2, 0, 0));
    let before = world.select("SELECT * FROM transactions");
    let second = world.read(&ask("days", 4, night(6)), &pages);
    assert_eq!(
        (second.rows, second.new, second.changed, second.unchanged),
        (2, 0, 0, 2)
    );
    assert_eq!(world.select("SELECT * FROM transactions"), before);
    assert_eq!(world.select("SELECT count(*) FROM pages"), ["2"]);
    assert_eq!(world.select("SELECT count(*), max(reading) FROM readings"), ["4 2"]);
    assert_eq!(
        world.select("SELECT state, sealed_at, pages, rows FROM windows"),
        [format!("sealed {SECOND} 2 2")]
    );
}

#[test]
fn a_position_is_taken_once() {
    let world = World::new();
    let ask = ask("days", 4, night(5));
    let reading = world.open(&ask);
    let first = world.archive(&ask, &reading, 0, &rows(&[row("a", 1)])).unwrap();
    assert_eq!(world.archive(&ask, &reading, 0, &rows(&[row("a", 1)])).unwrap(), first);
    let refused = world.archive(&ask, &reading, 0, &rows(&[row("a", 2)])).unwrap_err();
    assert_eq!(refused.class, Class::Internal);
    assert_eq!(world.select("SELECT count(*) FROM pages"), ["1"]);
}

// -- versions ----------------------------------------------------------------------------------------------------------

#[test]
fn a_record_that_changes_and_changes_back_keeps_every_version_in_order() {
    let world = World::new();
    for (day, amount) in [(5, 100), (6, 90), (7, 100)] {
        let sealed = world.read(&ask("days", 4, night(day)), &[rows(&[row("a", amount), row("b", 7)])]);
        assert_eq!(sealed.changed, u64::from(day > 5));
    }
    assert_eq!(
        world.select("SELECT provider_id, version, amount, seen_at FROM transaction_versions ORDER BY 1, 2"),
        [
            format!("a 1 1.00 {FIRST}"),
            format!("a 2 0.90 {SECOND}"),
            format!("a 3 1.00 {THIRD}"),
            format!("b 1 0.07 {FIRST}"),
        ]
    );
    // The bytes of the first night stand in the archive already; the record points at them again.
    assert_eq!(world.select("SELECT page_id FROM transactions"), ["1", "1"]);
}

#[test]
fn of_two_versions_in_one_reading_the_one_changed_last_is_current_whatever_page_it_is_on() {
    let version = |amount, changed: &str| {
        let mut row = row("a", amount);
        row["changed"] = json!(changed);
        rows(&[row])
    };
    let world = World::new();
    let pages = [
        version(90, "2026-03-04T20:00:00Z"),
        version(100, "2026-03-04T18:00:00Z"),
    ];
    world.read(&ask("days", 4, night(5)), &pages);
    let versions = "SELECT version, amount FROM transaction_versions ORDER BY 1";
    assert_eq!(world.select(versions), ["1 1.00", "2 0.90"]);
    assert_eq!(world.select("SELECT amount FROM transactions"), ["0.90"]);
    // Served so every night, mixed with news: no further versions.
    let news = [pages[0].clone(), pages[1].clone(), rows(&[row("b", 1)])];
    world.read(&ask("days", 4, night(6)), &news);
    assert_eq!(
        world.select("SELECT version, amount FROM transactions ORDER BY provider_id"),
        ["2 0.90", "1 0.01"]
    );
    // Another night, the later reading counts: the provider says so now.
    world.read(&ask("days", 4, night(7)), &[version(100, "2026-03-04T18:00:00Z")]);
    assert_eq!(
        world.select("SELECT version, amount FROM transactions WHERE provider_id = 'a'"),
        ["3 1.00"]
    );
}

#[test]
fn a_restated_figure_supersedes_the_former_one() {
    let world = World::new();
    let figure = |amount| json!({"balances": [{"item": "closing", "as_of": "2026-03-04T05:00:00Z", "amount": amount}]});
    for (day, amount) in [(5, 100), (6, 90), (7, 90)] {
        world.read(
            &ask("days", 4, night(day)),
            &[figure(amount), rows(&[row(&day.to_string(), 1)])],
        );
    }
    assert_eq!(
        world.select("SELECT amount, seen_at, superseded_at FROM balances ORDER BY balance_id"),
        [format!("1.00 {FIRST} {SECOND}"), format!("0.90 {SECOND} -")]
    );
}

#[test]
fn fees_stated_as_records_are_summed_into_their_payment_and_are_no_version_of_it() {
    let world = World::new();
    let fee = |id: &str, amount: i64| json!({"id": id, "amount": amount, "kind": "fee", "related": "p", "at": "2026-03-04T17:00:00Z"});
    let fees = "SELECT fee, fee_currency, fee_from_rows, version FROM transactions WHERE provider_id = 'p'";
    world.read(&ask("days", 4, night(5)), &[rows(&[row("p", 1000), fee("f1", -30)])]);
    assert_eq!(world.select(fees), ["0.30 PEN 1 1"]);
    world.read(
        &ask("days", 4, night(6)),
        &[rows(&[row("p", 1000), fee("f1", -30), fee("f2", -5)])],
    );
    assert_eq!(world.select(fees), ["0.35 PEN 1 1"]);
    world.read(&ask("days", 4, night(7)), &[rows(&[row("p", 1000), fee("f2", -5)])]);
    assert_eq!(world.select(fees), ["0.05 PEN 1 1"], "a vanished fee no longer counts");
    world.read(&ask("days", 4, night(8)), &[rows(&[row("p", 1000)])]);
    assert_eq!(world.select(fees), ["- - 0 1"]);
    let mut stated = row("p", 1000);
    stated["fee"] = json!(12);
    world.read(&ask("days", 4, night(9)), &[rows(&[stated, fee("f2", -5)])]);
    assert_eq!(
        world.select(fees),
        ["0.12 PEN 0 2"],
        "what the provider states itself counts"
    );
    assert_eq!(replay_of(&world), Vec::<String>::new());
}

// -- vanished, unreadable, moved ---------------------------------------------------------------------------------------

#[test]
fn a_record_that_a_complete_reading_no_longer_lists_is_vanished_until_it_comes_back() {
    let world = World::new();
    let both = [rows(&[row("a", 1), row("b", 2)])];
    world.read(&ask("days", 4, night(5)), &both);
    assert_eq!(
        world.read(&ask("days", 4, night(6)), &[rows(&[row("a", 1)])]).vanished,
        1
    );
    assert_eq!(
        world.select(CURRENT),
        [
            format!("a 0.01 1 {FIRST} {FIRST} -"),
            format!("b 0.02 1 {FIRST} {FIRST} {SECOND}")
        ]
    );
    world.read(&ask("days", 4, night(7)), &both);
    assert_eq!(
        world.select("SELECT count(*) FROM transactions WHERE vanished_at IS NULL"),
        ["2"]
    );
    assert_eq!(replay_of(&world), Vec::<String>::new());
}

#[test]
fn only_records_inside_the_window_can_vanish_from_it() {
    let world = World::new();
    let mut margin = row("m", 3);
    margin["at"] = json!("2026-03-05T05:00:01Z");
    world.read(&ask("days", 4, night(6)), &[rows(&[row("a", 1), margin.clone()])]);
    world.read(&ask("days", 5, night(6)), &[rows(&[margin])]);
    assert_eq!(
        world.read(&ask("days", 4, night(7)), &[rows(&[row("a", 1)])]).vanished,
        0
    );
    assert_eq!(world.read(&ask("days", 5, night(7)), &[rows(&[])]).vanished, 1);
    // A listing has no time filter: every record of the feed must be in it.
    world.read(&ask("listing", 4, night(6)), &[rows(&[row("x", 1), row("y", 1)])]);
    assert_eq!(
        world
            .read(&ask("listing", 4, night(7)), &[rows(&[row("y", 1)])])
            .vanished,
        1
    );
    // A subject's records are those under the subject.
    let under = |subject: &str, day| Ask {
        subject: Some(subject.into()),
        ..ask("children", 4, night(day))
    };
    world.read(&under("s1", 6), &[rows(&[row("x", 1), row("y", 1)])]);
    world.read(&under("s2", 6), &[rows(&[row("x", 1)])]);
    assert_eq!(world.read(&under("s1", 7), &[rows(&[row("y", 1)])]).vanished, 1);
    assert_eq!(
        world.select("SELECT subject, provider_id FROM transactions WHERE vanished_at IS NOT NULL ORDER BY 1, 2"),
        [" m", " x", "s1 x"]
    );
    assert_eq!(store::covered_subjects(&world.store, JOB, "children").unwrap().len(), 2);
    assert_eq!(replay_of(&world), Vec::<String>::new());
}

#[test]
fn a_figure_about_a_subject_is_known_by_it_and_keeps_the_time_of_the_first_window_that_listed_it() {
    let world = World::new();
    let last = |day: u32| format!("2026-03-{:02}T04:59:59.999Z", day + 1);
    let figure =
        |at: &str, amount| json!({"balances": [{"item": "closing", "subject": "s", "as_of": at, "amount": amount}]});
    let current = || world.select("SELECT as_of, amount FROM balances WHERE superseded_at IS NULL");
    for day in [5, 4, 6] {
        world.read(&ask("days", day, night(7)), &[figure(&last(day), 500)]);
        assert_eq!(
            current(),
            [format!("{} 5.00", last(day.min(if day == 5 { 5 } else { 4 })))],
            "{day}"
        );
    }
    assert_eq!(world.select("SELECT count(*) FROM balances"), ["2"]);
    world.read(&ask("days", 6, night(8)), &[figure(&last(6), 600)]);
    assert_eq!(current(), [format!("{} 6.00", last(4))]);
    // A time of its own counts as soon as there is one.
    world.read(&ask("days", 5, night(8)), &[figure("2026-03-05T20:00:00.000Z", 600)]);
    assert_eq!(current(), ["2026-03-05T20:00:00.000Z 6.00"]);
    assert_eq!(replay_of(&world), Vec::<String>::new());
}

#[test]
fn a_window_that_moved_is_read_again_and_an_unstable_one_proves_nothing() {
    let world = World::new();
    world.read(&ask("days", 4, night(5)), &[rows(&[row("a", 1), row("b", 2)])]);
    let ask = ask("days", 4, night(6));
    let mut reading = world.open(&ask);
    world.archive(&ask, &reading, 0, &rows(&[row("never", 9)])).unwrap();
    store::next_pass(&world.store, &mut reading).unwrap();
    world.archive(&ask, &reading, 0, &rows(&[row("a", 1)])).unwrap();
    let proof = page(0, true, &rows(&[row("a", 5)]));
    store::archive_page(&world.store, &place(&ask), &reading, 1, proof).unwrap();
    let world = world.killed();
    let resumed = world.open(&ask);
    let confirms: Vec<bool> = world.resumed(&resumed).iter().map(|page| page.confirms).collect();
    assert_eq!((resumed.pass, confirms), (2, vec![false, true]));
    let sealed = world.seal(&ask, &resumed, WindowState::Unstable).unwrap();
    assert_eq!((sealed.rows, sealed.changed, sealed.vanished), (1, 1, 0));
    assert_eq!(
        world.select("SELECT provider_id, amount FROM transactions ORDER BY 1"),
        ["a 0.05", "b 0.02"]
    );
    assert_eq!(store::covered(&world.store, JOB, "days").unwrap()[0].sealed_as_of, None);
    assert_eq!(world.select("SELECT state, pages FROM windows"), ["unstable 1"]);
    assert_eq!(replay_of(&world), Vec::<String>::new());
}

#[test]
fn an_unreadable_row_is_kept_until_a_reading_no_longer_shows_it_and_hides_no_vanishing() {
    let world = World::new();
    let bad = json!({"id": "b", "amount": "12,50"});
    world.read(
        &ask("days", 4, night(5)),
        &[rows(&[row("a", 1), row("b", 2), row("c", 3)])],
    );
    let sealed = world.read(&ask("days", 4, night(6)), &[rows(&[row("a", 1), bad.clone()])]);
    // b stands on the page, though unreadable; c does not.
    assert_eq!((sealed.rows, sealed.unreadable, sealed.vanished), (2, 1, 1));
    assert_eq!(
        world.select("SELECT provider_id FROM transactions WHERE vanished_at IS NOT NULL"),
        ["c"]
    );
    let aside = "SELECT place, seen_at, gone_at FROM unreadable_rows";
    assert_eq!(world.select(aside), [format!("rows.b.amount {SECOND} -")]);
    world.read(&ask("days", 4, night(7)), &[rows(&[row("a", 1), row("b", 2)])]);
    assert_eq!(world.select(aside), [format!("rows.b.amount {SECOND} {THIRD}")]);
    world.read(&ask("days", 4, night(8)), &[rows(&[row("a", 1), bad])]);
    assert_eq!(world.select(aside), [format!("rows.b.amount {SECOND} -")]);
    assert_eq!(replay_of(&world), Vec::<String>::new());
}

#[test]
fn foreign_rows_and_wrong_settings_store_nothing_and_leave_the_window_open() {
    for (body, class) in [
        (
            json!({"rows": [row("a", 1)], "foreign": "a row names another merchant"}),
            Class::Protocol,
        ),
        (
            json!({"rows": [row("a", 1)], "misconfigured": "amounts have fractions"}),
            Class::Config,
        ),
    ] {
        let world = World::new();
        let ask = ask("days", 4, night(5));
        let reading = world.open(&ask);
        world.archive(&ask, &reading, 0, &rows(&[row("z", 1)])).unwrap();
        world.archive(&ask, &reading, 1, &body).unwrap();
        let failure = world.seal(&ask, &reading, WindowState::Sealed).unwrap_err();
        assert_eq!(failure.class, class);
        assert!(failure.message.starts_with("page 1: "), "{}", failure.message);
        store::leave_open(&world.store, &reading, &failure.message).unwrap();
        assert_eq!(world.select("SELECT count(*) FROM transactions"), ["0"]);
        assert_eq!(world.select("SELECT state, sealed_at FROM windows"), ["open -"]);
    }
}

#[test]
fn a_first_large_load_ends_with_every_index_and_the_same_rows_as_small_ones() {
    let world = World::new();
    let fee = |n: i64| json!({"id": format!("f{n}"), "amount": -1, "kind": "fee", "related": format!("p{n}"), "at": "2026-03-04T17:00:00Z"});
    // Page after page repeats the last row of the one before: the list moved while it was read.
    let pages: Vec<Value> = (0..210)
        .map(|n| rows(&[row(&format!("p{n}"), n), row(&format!("p{}", n + 1), n + 1), fee(n)]))
        .collect();
    let sealed = world.read(&ask("listing", 4, night(5)), &pages);
    assert_eq!((sealed.rows, sealed.new, sealed.unchanged), (630, 421, 209));
    assert_eq!(
        world.select("SELECT count(*), sum(fee_minor) FROM transactions WHERE kind = 'payment'"),
        ["211 210"]
    );
    assert_eq!(replay_of(&world), Vec::<String>::new());
    // Opening looks at the schema: every index is there again.
    let world = world.killed();
    assert_eq!(world.read(&ask("listing", 4, night(6)), &pages[1..]).vanished, 2);
}

#[test]
fn a_first_large_load_of_different_records_ends_with_every_index_and_knows_those_that_were_there() {
    let world = World::new();
    world.read(&ask("days", 3, night(5)), &[rows(&[row("p7", 1)])]);
    let pages: Vec<Value> = (0..210).map(|n| rows(&[row(&format!("p{n}"), n)])).collect();
    let sealed = world.read(&ask("listing", 4, night(5)), &pages);
    assert_eq!(
        (sealed.rows, sealed.new, sealed.unchanged),
        (210, 210, 0),
        "another feed's record is another one"
    );
    // The same feed, another window: 210 other records and one that stands already.
    let more: Vec<Value> = (1000..1210).map(|n| rows(&[row(&format!("p{n}"), n)])).collect();
    let sealed = world.read(&ask("days", 4, night(5)), &more);
    assert_eq!((sealed.new, sealed.changed, sealed.unchanged), (210, 0, 0));
    let again = [more.as_slice(), &[rows(&[row("p7", 2)])]].concat();
    let sealed = world.read(&ask("days", 5, night(5)), &again);
    assert_eq!((sealed.new, sealed.changed, sealed.unchanged), (0, 1, 210));
    assert_eq!(
        world.select("SELECT feed, count(*), max(version) FROM transactions GROUP BY feed ORDER BY feed"),
        ["days 211 2", "listing 210 1"]
    );
    assert_eq!(replay_of(&world), Vec::<String>::new());
    let world = world.killed();
    assert_eq!(world.read(&ask("listing", 4, night(6)), &pages[2..]).vanished, 2);
}

#[test]
fn an_empty_reading_cannot_be_sealed() {
    let world = World::new();
    let ask = ask("days", 4, night(5));
    let reading = world.open(&ask);
    assert_eq!(
        world.seal(&ask, &reading, WindowState::Sealed).unwrap_err().class,
        Class::Internal
    );
}

// -- replay and verify -------------------------------------------------------------------------------------------------

/// What a replay finds, as `table row: what`.
fn replay_of(world: &World) -> Vec<String> {
    let replayed = store::replay(&world.store, &job()).unwrap();
    replayed
        .differences
        .iter()
        .map(|d| format!("{} {}: {}", d.table, d.row, d.what))
        .collect()
}

fn three_nights() -> World {
    let world = World::new();
    world.read(
        &ask("days", 4, night(5)),
        &[rows(&[row("a", 100), row("b", 7)]), rows(&[row("c", 1)])],
    );
    world.read(
        &ask("days", 4, night(6)),
        &[rows(&[row("a", 90), row("b", 7)]), rows(&[row("d", 1)])],
    );
    let figures = json!({"rows": [row("a", 90)], "balances": [{"item": "closing", "amount": 5}]});
    world.read(&ask("days", 4, night(7)), &[figures, rows(&[row("c", 1)])]);
    world
}

#[test]
fn stored_rows_are_what_the_pages_say_and_an_edited_one_is_named() {
    let world = three_nights();
    assert_eq!(replay_of(&world), Vec::<String>::new());
    assert_eq!(store::verify(&world.store, &[job()]).unwrap(), []);
    for (edit, expected) in [
        (
            "UPDATE transactions SET amount_minor = 9999 WHERE provider_id = 'a'",
            "transactions days a: differs in amount_minor",
        ),
        (
            "DELETE FROM transactions WHERE provider_id = 'b'",
            "transactions days b: stands on a page but is not stored",
        ),
        (
            "UPDATE superseded_versions SET status = 'failed' WHERE version = 1",
            "superseded_versions days a version 1: differs in status",
        ),
        (
            "UPDATE balances SET amount_minor = 6",
            "balances days closing PEN as of 2026-03-07T07:30:00.000Z: is stored but stands so on no page",
        ),
        (
            "UPDATE transactions SET vanished_at = NULL",
            "transactions days b: differs in vanished_at",
        ),
    ] {
        let world = three_nights();
        world.tamper(edit);
        let found = replay_of(&world);
        assert!(found.iter().any(|line| line == expected), "{edit}: {found:?}");
        // Deriving again mends it, and the ids of rows stay.
        let ids = world.select("SELECT transaction_id, provider_id FROM transactions ORDER BY 2");
        store::rederive(&world.store, &job(), &Tiny).unwrap();
        assert_eq!(replay_of(&world), Vec::<String>::new(), "{edit}");
        let after = world.select("SELECT transaction_id, provider_id FROM transactions ORDER BY 2");
        assert!(ids.iter().all(|id| after.contains(id)), "{edit}");
    }
}

#[test]
fn a_new_calibration_derives_every_row_anew_without_new_versions() {
    let world = three_nights();
    let before = world.select("SELECT transaction_id, provider_id, version, page_id, seen_at FROM transactions");
    let learned = [("sign".to_owned(), "turned".to_owned())].into();
    assert!(store::learn(&world.store, &job(), &Tiny, &learned, night(7)).unwrap());
    assert!(!store::learn(&world.store, &job(), &Tiny, &learned, night(8)).unwrap());
    assert_eq!(
        world.select("SELECT amount FROM transaction_versions WHERE provider_id = 'a' ORDER BY version"),
        ["-1.00", "-0.90"]
    );
    assert_eq!(
        world.select("SELECT transaction_id, provider_id, version, page_id, seen_at FROM transactions"),
        before
    );
    assert_eq!(replay_of(&world), Vec::<String>::new());
}

#[test]
fn verify_names_the_window_that_does_not_stand_as_its_last_complete_reading_left_it() {
    for (edit, state) in [
        ("state = 'open'", "open"),
        ("state = 'unstable'", "unstable"),
        ("sealed_at = '2026-01-01T00:00:00.000Z'", "sealed"),
        ("until_at = '2027-01-01T00:00:00.000Z'", "sealed"),
        ("pages = pages + 1", "sealed"),
        ("reading = reading + 1", "sealed"),
    ] {
        let world = three_nights();
        let count = world
            .select("SELECT count(*) FROM windows WHERE state = 'sealed'")
            .remove(0);
        assert_ne!(count, "0");
        world
            .store
            .write(|tx| Ok(tx.execute(&format!("UPDATE windows SET {edit}"), [])?))
            .unwrap();
        let findings = store::verify(&world.store, &[job()]).unwrap();
        assert_eq!(findings.len().to_string(), count, "{edit}: {findings:?}");
        let named = format!("it stands as {state} and its last complete reading says otherwise");
        assert!(
            findings
                .iter()
                .all(|f| f.check == "window" && f.what.starts_with(&named)),
            "{edit}: {findings:?}"
        );
    }
    // A cut reading that is called complete.
    let world = three_nights();
    world
        .store
        .write(|tx| Ok(tx.execute("DELETE FROM seals WHERE seal_id = (SELECT max(seal_id) FROM seals)", [])?))
        .unwrap();
    let findings = store::verify(&world.store, &[]).unwrap();
    assert!(findings.iter().any(|f| f.check == "window"), "{findings:?}");
}

#[test]
fn verify_names_the_page_whose_bytes_or_place_in_the_chain_were_changed() {
    let checks = |world: &World| -> Vec<String> {
        let findings = store::verify(&world.store, &[job()]).unwrap();
        findings.iter().map(|f| format!("{} {}", f.check, f.place)).collect()
    };
    let world = three_nights();
    let body: Vec<u8> = world
        .store
        .read(|c| Ok(c.query_row("SELECT body FROM pages WHERE page_id = 2", [], |r| r.get(0))?))
        .unwrap();
    let mut flipped = body.clone();
    flipped[body.len() / 2] ^= 1;
    world
        .store
        .write(|tx| Ok(tx.execute("UPDATE pages SET body = ?1 WHERE page_id = 2", [flipped])?))
        .unwrap();
    assert!(
        checks(&world).contains(&"page page 2 (tiny-pe days page 1)".to_owned()),
        "{:?}",
        checks(&world)
    );

    let world = three_nights();
    world.tamper("UPDATE pages SET request = 'GET /other' WHERE page_id = 3");
    assert_eq!(checks(&world), ["chain page 3 (tiny-pe days page 0)"]);

    let world = three_nights();
    world.tamper("PRAGMA foreign_keys = OFF; DELETE FROM pages WHERE page_id = 2;");
    let found = checks(&world);
    assert!(
        found.contains(&"chain page 3 (tiny-pe days page 0)".to_owned()),
        "{found:?}"
    );
    assert!(found.iter().any(|f| f.starts_with("references ")), "{found:?}");
    assert!(
        store::verify(&three_nights().store, &[])
            .unwrap()
            .iter()
            .any(|f| f.what.contains("no such job file"))
    );
}

// -- the file ----------------------------------------------------------------------------------------------------------

#[test]
fn a_second_process_is_told_that_another_instance_runs() {
    let world = World::new();
    if let Ok(database) = std::env::var("STORE_TEST_DATABASE") {
        let refused = InstanceLock::take(database.as_ref()).unwrap_err();
        assert_eq!(refused.class, Class::Partial);
        return;
    }
    let lock = InstanceLock::take(&world.path()).unwrap();
    let second = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_second_process_is_told_that_another_instance_runs"])
        .env("STORE_TEST_DATABASE", world.path())
        .status()
        .unwrap();
    assert!(second.success());
    drop(lock);
    InstanceLock::take(&world.path()).unwrap();
}

#[test]
fn after_a_clean_stop_the_file_still_opens_read_only_and_all_modes_are_narrow() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("var/lib/books.db");
    let store = Store::open(&path).unwrap();
    store::set_pause(&store, "lane", night(5), "patience").unwrap();
    drop(store);
    for name in ["books.db", "books.db-wal", "books.db-shm"] {
        let mode = std::fs::metadata(path.with_file_name(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    let mode = std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    let analyst = rusqlite::Connection::open_with_flags(
        format!("file:{}?mode=ro", path.display()),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI,
    )
    .unwrap();
    assert_eq!(dump(&analyst, "SELECT why FROM pauses"), ["patience"]);
    let reader = Store::open_read_only(&path).unwrap();
    assert_eq!(store::pause(&reader, "lane").unwrap().unwrap().0, night(5));
    assert_eq!(
        store::set_pause(&reader, "lane", night(6), "no").unwrap_err().class,
        Class::Internal
    );
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("books.db");
    drop(Store::open(&path).unwrap());
    let ours = bytes(&path);
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = ours.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    for (name, content, class, expected) in [
        ("empty", Vec::new(), Class::LocalIo, "is empty"),
        ("short", b"SQLite format 3\0".to_vec(), Class::LocalIo, "too short"),
        ("text", vec![b'x'; 4096], Class::LocalIo, "not a SQLite database"),
        ("foreign", patched(68, &[0; 4]), Class::LocalIo, "another program"),
        (
            "cut off",
            ours[..ours.len() - 20_000].to_vec(),
            Class::LocalIo,
            "cut off",
        ),
        ("newer", patched(60, &[0, 0, 0, 99]), Class::Config, "version 99"),
        (
            "not wal",
            patched(18, &[1, 1]),
            Class::Config,
            "PRAGMA journal_mode=wal",
        ),
        ("zeroed", patched(100, &[0; 4000]), Class::LocalIo, "damaged"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, &content).unwrap();
        let failure = Store::open(&path).err().unwrap();
        assert_eq!(failure.class, class, "{name}: {}", failure.message);
        assert!(failure.message.contains(expected), "{name}: {}", failure.message);
        assert_eq!(bytes(&path), content, "{name} was touched");
    }
    assert_eq!(Store::open(folder.path()).err().unwrap().class, Class::LocalIo);
    assert_eq!(
        Store::open_read_only(&folder.path().join("none")).err().unwrap().class,
        Class::LocalIo
    );
    let lonely = folder.path().join("lonely.db");
    std::fs::write(folder.path().join("lonely.db-wal"), b"commits of another life").unwrap();
    assert!(
        Store::open(&lonely)
            .err()
            .unwrap()
            .message
            .contains("its database is not")
    );
}

#[test]
fn an_altered_schema_is_refused_with_its_repair() {
    let world = World::new();
    world.tamper("DROP INDEX transactions_by_reference");
    let failure = Store::open(&world.path()).err().unwrap();
    assert_eq!(failure.class, Class::Config);
    assert!(
        failure.message.contains("CREATE INDEX transactions_by_reference"),
        "{}",
        failure.message
    );
}

#[test]
fn a_full_disk_stores_nothing_half_and_the_next_run_goes_on() {
    let world = World::new();
    let ask = ask("days", 4, night(5));
    let reading = world.open(&ask);
    let many: Vec<Value> = (0..2000).map(|n| row(&format!("id-{n}"), n)).collect();
    world.archive(&ask, &reading, 0, &rows(&many)).unwrap();
    let before = world.everything();
    let limit = |pages: u32| {
        world
            .store
            .write(|tx| Ok(tx.pragma_update(None, "max_page_count", pages)?))
            .unwrap();
    };
    limit(1);
    let failure = world.seal(&ask, &reading, WindowState::Sealed).unwrap_err();
    assert_eq!(failure.class, Class::LocalIo);
    assert!(failure.message.contains("books.db"), "{}", failure.message);
    assert_eq!(world.everything(), before);
    limit(1 << 30);
    assert_eq!(world.seal(&ask, &reading, WindowState::Sealed).unwrap().new, 2000);
}

#[test]
fn another_writer_is_waited_for_and_then_named() {
    let world = World::new();
    let patience = store::Patience {
        timeout: std::time::Duration::from_millis(20),
        attempts: 2,
    };
    let store = Store::open_with(&world.path(), patience).unwrap();
    let analyst = rusqlite::Connection::open(world.path()).unwrap();
    analyst.execute_batch("BEGIN IMMEDIATE").unwrap();
    let failure = store::set_pause(&store, "lane", night(5), "why").unwrap_err();
    assert_eq!(failure.class, Class::Partial);
    assert!(failure.message.contains("locked by another writer"));
    analyst.execute_batch("ROLLBACK").unwrap();
    store::set_pause(&store, "lane", night(5), "why").unwrap();
}

#[test]
fn a_backup_and_a_published_copy_are_whole_and_replace_only_their_like() {
    let world = three_nights();
    let folder = tempfile::tempdir().unwrap();
    let (copy, published) = (folder.path().join("copy.db"), folder.path().join("latest.db"));
    for _ in 0..2 {
        store::backup(&world.store, &copy).unwrap();
        store::publish(&world.store, &published).unwrap();
    }
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing beside them: {names:?}");
    assert_eq!(bytes(&published)[18..20], [1, 1], "a published copy needs no log");
    let restored = Store::open(&copy).unwrap();
    assert_eq!(store::verify(&restored, &[job()]).unwrap(), []);
    let analyst = Store::open_read_only(&published).unwrap();
    assert_eq!(analyst.read(|c| Ok(dump(c, CURRENT))).unwrap(), world.select(CURRENT));
    let ledger = folder.path().join("ledger.csv");
    std::fs::write(&ledger, "reference,amount\n").unwrap();
    assert_eq!(store::backup(&world.store, &ledger).unwrap_err().class, Class::Usage);
    assert_eq!(
        store::backup(&world.store, &world.path()).unwrap_err().class,
        Class::Usage
    );
    assert_eq!(bytes(&ledger), b"reference,amount\n");
}

// -- any order of things ------------------------------------------------------------------------------------------------

/// A reading of one business day: what stands on its pages.
type Reading = (u32, Vec<Vec<(u8, i64)>>);

fn readings() -> impl Strategy<Value = Vec<Reading>> {
    let page = prop::collection::vec((0_u8..6, 1_i64..4), 0..4);
    prop::collection::vec((3_u32..5, prop::collection::vec(page, 1..4)), 1..6)
}

/// Reads everything, killed before each step where `kills` says so.
fn run(readings: &[Reading], kills: &[bool]) -> World {
    let mut world = World::new();
    let mut kills = kills.iter().copied();
    let mut perhaps = |world: World| {
        if kills.next().unwrap_or(false) {
            world.killed()
        } else {
            world
        }
    };
    for (night_of, (day, pages)) in (5..).zip(readings) {
        let ask = ask("days", *day, night(night_of));
        let bodies: Vec<Value> = pages
            .iter()
            .map(|page| {
                rows(
                    &page
                        .iter()
                        .map(|(id, amount)| row(&id.to_string(), *amount))
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        loop {
            world = perhaps(world);
            let reading = world.open(&ask);
            world = perhaps(world);
            let position = world.resumed(&reading).len();
            match bodies.get(position) {
                Some(body) => {
                    world
                        .archive(&ask, &reading, u32::try_from(position).unwrap(), body)
                        .unwrap();
                }
                None => {
                    world.seal(&ask, &reading, WindowState::Sealed).unwrap();
                    break;
                }
            }
        }
    }
    perhaps(world)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn killed_anywhere_any_readings_end_as_undisturbed_and_as_their_pages_say(
        readings in readings(), kills in prop::collection::vec(prop::bool::weighted(0.3), 0..60),
    ) {
        let disturbed = run(&readings, &kills);
        let undisturbed = run(&readings, &[]);
        prop_assert_eq!(disturbed.everything(), undisturbed.everything());
        prop_assert_eq!(replay_of(&disturbed), Vec::<String>::new());
    }
}
