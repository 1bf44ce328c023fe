//! Residuals that name the one row they lost, and those that name none; where figures were stated.

use super::relations::toy_world;
use super::world::{Ent, Rec, World};

/// A figure of 150.00, and 91.38 of it listed and booked: 58.62 are left on 19 March.
fn short_by_5862() -> World {
    let world = toy_world();
    world.add_record(&Rec {
        hours_ago: 20,
        ..Rec::new("p1", "A", 9138)
    });
    world.add_entry(&Ent {
        hours_ago: Some(20),
        ..Ent::new("l1", "A", 9138)
    });
    world
}

fn booked(id: &str, reference: &str, amount: i64, hours_ago: i64) -> Ent {
    Ent {
        hours_ago: Some(hours_ago),
        line: 7,
        ..Ent::new(id, reference, amount)
    }
}

fn suggested(world: &mut World) -> String {
    world.night().expect("a night");
    world.text("SELECT coalesce(suggested_match, 'none') FROM discrepancies WHERE kind = 'balance_residual' AND state = 'open'")
}

#[test]
fn the_one_entry_of_the_day_that_is_booked_and_not_listed_is_named() {
    let mut world = short_by_5862();
    world.add_entry(&booked("l2", "B", 5862, 20));
    assert_eq!(
        suggested(&mut world),
        "one row of 58.62 is missing from the list of 2026-03-19: B is booked (ledger.csv line 7) and not listed"
    );
    // A second one that would fit: nobody can say which, so none is named.
    world.add_entry(&booked("l3", "C", 5862, 19));
    assert_eq!(suggested(&mut world), "none");
}

#[test]
fn a_record_that_was_listed_and_is_gone_is_named() {
    let mut world = short_by_5862();
    world.add_record(&Rec {
        hours_ago: 20,
        vanished: true,
        ..Rec::new("p2", "B", 5862)
    });
    let told = suggested(&mut world);
    assert!(
        told.starts_with(
            "one row of 58.62 is missing from the list of 2026-03-19: B (p2) was listed there and was found gone on"
        ),
        "{told}"
    );
}

#[test]
fn a_row_that_is_still_open_there_is_named_with_its_word() {
    let mut world = short_by_5862();
    world.add_record(&Rec {
        hours_ago: 20,
        status: "open",
        ..Rec::new("p2", "B", 5862)
    });
    // The toy sums every row, open ones too: the figure is 58.62 more by that.
    world.sql("UPDATE balances SET amount_minor = amount_minor + 5862");
    let told = suggested(&mut world);
    assert!(
        told.starts_with("one row of 58.62 is not settled in the list of 2026-03-19: B (p2) is `"),
        "{told}"
    );
}

#[test]
fn another_day_direction_or_amount_is_not_named() {
    for (amount, hours_ago) in [(5862, 50), (-5862, 20), (5861, 20)] {
        let mut world = short_by_5862();
        world.add_entry(&booked("l2", "B", amount, hours_ago));
        assert_eq!(suggested(&mut world), "none", "{amount} {hours_ago}");
    }
}

#[test]
fn a_residual_says_where_its_figure_was_stated_and_the_statement_says_what_is_not_known() {
    let mut world = short_by_5862();
    suggested(&mut world);
    assert_eq!(
        world.text("SELECT evidence FROM discrepancies WHERE kind = 'balance_residual'"),
        "balance 2026-03-19"
    );
    assert_eq!(
        world.text("SELECT explanation FROM v_statement WHERE line = 'advisory toy R2'"),
        "no known row of 2026-03-19 accounts for 150.00: none that went, moved or is still open there, and none that is only booked"
    );
}
