//! Rows put aside, and what they still say.

use super::world::{Ent, Rec, World, day, night};

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
