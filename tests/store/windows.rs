//! Vanished and unreadable rows, windows that moved, first large loads.

use super::*;

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
    world.archive_together(&ask, &reading, 1, &[proof]).unwrap();
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
fn many_rows_of_a_page_stored_together_are_the_rows_of_the_archive() {
    let world = World::new();
    // Nothing is the same in two rows that follow each other, what may be missing included.
    let one = |page: i64, n: i64| {
        let mut row = row(&format!("p{page}-{n}"), page * 100 + n - 2000);
        if n % 3 == 0 {
            row["ref"] = json!(null);
        }
        if n % 4 == 1 {
            (row["kind"], row["related"]) = (json!("fee"), json!(format!("p{page}-{}", n - 1)));
        }
        row["at"] = json!(format!("2026-03-04T17:{:02}:{n:02}Z", page % 60));
        row
    };
    let pages: Vec<Value> = (0..210)
        .map(|page| rows(&(0..43).map(|n| one(page, n)).collect::<Vec<_>>()))
        .collect();
    let sealed = world.read(&ask("days", 4, night(5)), &pages);
    assert_eq!((sealed.rows, sealed.new, sealed.unchanged), (9030, 9030, 0));
    assert_eq!(
        world.select(
            "SELECT reference, related_id, kind, amount_minor, page_row FROM transactions
              WHERE provider_id IN ('p0-0', 'p0-19', 'p0-20', 'p0-41', 'p209-42') ORDER BY transaction_id"
        ),
        [
            "- - payment -2000 0",
            "order-p0-19 - payment -1981 19",
            "order-p0-20 - payment -1980 20",
            "order-p0-41 p0-40 fee -1959 41",
            "- - payment 18942 42"
        ]
    );
    // A replay stores row by row.
    assert_eq!(replay_of(&world), Vec::<String>::new());
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
