//! Versions of records, figures and fees.

use super::*;

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
