//! `replay` and `verify` against the archive.

use super::*;

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
