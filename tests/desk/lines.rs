//! Decisions that come back: what takes effect, what is refused and why, what happens in the nights after.

use super::shop::{Fill, Shop, cells, exists, fill, refill, says, written};

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_goes_out_comes_back_and_the_next_night_shows_what_was_decided() {
    let shop = Shop::after_a_night("en").await;
    let rows = shop.rows(5, b',');
    assert_eq!(
        rows.values().map(|row| row["kind"].as_str()).collect::<Vec<_>>(),
        [
            "missing_in_provider",
            "amount_mismatch",
            "amount_mismatch",
            "missing_in_ledger"
        ]
    );
    assert!(
        rows.values()
            .all(|row| row["owner"].is_empty() && row["decision"].is_empty() && row["note"].is_empty())
    );
    let sheet = shop.filled(
        5,
        b',',
        &[
            fill("A-1", "accept", ""),
            fill("A-2", "Explain", "a fee of the bank\nsee mail"),
            Fill {
                owner: "Ben",
                ..fill("A-3", "assign", "")
            },
        ],
    );
    let receipt = shop.take("back.csv", &sheet);
    assert_eq!(receipt.counts(), "3 applied, 0 unchanged, 0 refused");
    assert_eq!((receipt.without, receipt.undecided.len()), (1, 0));
    shop.assert_whole();

    let outcome = shop.night(6).await;
    // Accepted and explained ones stay counted; an owner changes nothing about it.
    assert_eq!((outcome.open, outcome.new), (4, 0));
    let rows = shop.rows(6, b',');
    let shown = |reference: &str| {
        let row = &rows[reference];
        [&row["status"], &row["owner"], &row["decision"], &row["note"]].map(String::as_str)
    };
    assert_eq!(shown("A-1"), ["acknowledged", "", "accept", ""]);
    assert_eq!(
        shown("A-2"),
        ["acknowledged", "", "explain", "a fee of the bank\nsee mail"]
    );
    assert_eq!(shown("A-3"), ["persisting", "Ben", "assign", ""]);
    assert_eq!(shown("'-A5"), ["persisting", "", "", ""]);
    assert_eq!(
        shop.sql(
            "SELECT version, decision, owner, actor, source, source_row, difference FROM decisions ORDER BY source_row"
        ),
        [
            "1|explain||Ana|back.csv|2|34.50",
            "1|accept||Ana|back.csv|3|-10.00",
            "1|assign|Ben|Ana|back.csv|4|7.00"
        ]
    );
    shop.assert_whole();

    // The sheet of that night carries what stands. Returned as it is, it changes nothing.
    let receipt = shop.take("next.csv", &shop.sheet(6));
    assert_eq!(receipt.counts(), "0 applied, 3 unchanged, 0 refused");
    assert_eq!(shop.sql("SELECT count(*) FROM decisions, returned_files"), ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_versioned_taken_back_and_handed_on() {
    let shop = Shop::after_a_night("en").await;
    let decide = |name: &str, fill: Fill<'_>| shop.take(name, &shop.filled(5, b',', &[fill])).counts();
    let applied = "1 applied, 0 unchanged, 0 refused";
    assert_eq!(decide("1.csv", fill("A-1", "accept", "first")), applied);
    assert_eq!(decide("2.csv", fill("A-1", "write-off", "second")), applied);
    let assign = Fill {
        owner: "Ben",
        ..fill("A-1", "assign", "")
    };
    assert_eq!(decide("3.csv", assign), applied);
    assert_eq!(shop.standing("A-1"), "acknowledged|write_off|Ben|second");
    assert_eq!(decide("4.csv", fill("A-1", "reopen", "")), applied);
    assert_eq!(shop.standing("A-1"), "open||Ben|");
    assert_eq!(
        shop.sql("SELECT version, decision, holds FROM v_decisions ORDER BY version"),
        [
            "1|accept|replaced",
            "2|write_off|replaced",
            "3|assign|replaced",
            "4|reopen|yes"
        ]
    );
    // What was sent before and taken back stays taken back: the same file has no effect twice, in whatever form.
    assert_eq!(
        decide("1.csv", fill("A-1", "accept", "first")),
        "0 applied, 1 unchanged, 0 refused"
    );
    let (header, mut rows) = cells(&shop.filled(5, b',', &[fill("A-1", "accept", "first")]), b',');
    rows.reverse();
    let receipt = shop.take("other-form.csv", &written(&header, &rows, b';'));
    assert_eq!(receipt.counts(), "0 applied, 1 unchanged, 0 refused");
    assert!(receipt.before.is_some());
    assert_eq!(shop.standing("A-1"), "open||Ben|");
    // A new word is a new decision.
    assert_eq!(decide("5.csv", fill("A-1", "accept", "after all")), applied);
    shop.assert_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_that_cannot_be_used_is_refused_with_its_reason_and_the_others_take_effect() {
    let shop = Shop::after_a_night("en").await;
    let sheet = shop.filled(5, b',', &[fill("A-1", "accept", "good")]);
    let (header, rows) = cells(&sheet, b',');
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let good = rows.iter().find(|row| row[at("reference")] == "A-1").unwrap().clone();
    let other = rows.iter().find(|row| row[at("reference")] == "A-2").unwrap().clone();
    let with = |from: &Vec<String>, changes: &[(&str, &str)]| {
        let mut row = from.clone();
        for (column, text) in changes {
            row[at(column)] = (*text).to_owned();
        }
        row
    };
    let cases: Vec<(Vec<String>, &str)> = vec![
        (good.clone(), ""),
        (
            with(&good, &[("note", "other words")]),
            "row 2 decides otherwise about the same discrepancy",
        ),
        (with(&other, &[("decision", "explain")]), "`explain` needs a note"),
        (with(&other, &[("decision", "write_off")]), "`write_off` needs a note"),
        (
            with(&other, &[("decision", "assign")]),
            "`assign` needs a name in the column `owner`",
        ),
        (
            with(&other, &[("decision", "acept"), ("note", "x")]),
            "there is no decision \"acept\"; did you mean",
        ),
        (
            with(
                &other,
                &[("decision", "accept"), ("discrepancy_id", "0123456789abcdef")],
            ),
            "no discrepancy bears this id",
        ),
        (
            with(&other, &[("decision", "accept"), ("discrepancy_id", "1.23457E+15")]),
            "a spreadsheet took the id for a number",
        ),
        (
            with(&other, &[("decision", "accept"), ("discrepancy_id", "")]),
            "the column discrepancy_id is empty",
        ),
        (
            with(&other, &[("decision", "accept"), ("discrepancy_id", "ORD-7")]),
            "this is no id",
        ),
        (
            with(&other, &[("decision", "accept"), ("provider_amount", "1234.51")]),
            "it changed since the sheet was made: provider_amount was 1234.51 and is 1234.50",
        ),
        (
            with(&other, &[("decision", "accept"), ("difference", "")]),
            "it changed since the sheet was made: difference was nothing and is 34.50",
        ),
        (
            with(&other, &[("decision", "accept"), ("kind", "fee_mismatch")]),
            "kind was fee_mismatch and is amount_mismatch",
        ),
        (
            with(&other, &[("decision", "accept"), ("provider_status", "DONE")]),
            "provider_status was DONE",
        ),
        (
            with(&other, &[("decision", "accept"), ("ledger_amount", "1 200.00")]),
            "ledger_amount \"1 200.00\"",
        ),
    ];
    let rows: Vec<Vec<String>> = cases.iter().map(|case| case.0.clone()).collect();
    let receipt = shop.take("mixed.csv", &written(&header, &rows, b','));
    assert_eq!(receipt.applied.len(), 1);
    assert_eq!(receipt.refused.len(), cases.len() - 1);
    // Only the first row about an id is looked at: each reason is tried on a sheet of its own.
    for (number, (row, why)) in cases.iter().enumerate().skip(2) {
        let receipt = shop.take("one.csv", &written(&header, std::slice::from_ref(row), b','));
        assert_eq!(receipt.refused.len(), 1, "{number}");
        let told = &receipt.refused[0];
        assert!(
            told.why.contains(why) && told.row == 2,
            "{number}: {} / {why}",
            told.why
        );
        assert!(receipt.text().contains("row 2: "), "{}", receipt.text());
    }
    assert!(
        receipt.refused[0].why.contains(cases[1].1),
        "{}",
        receipt.refused[0].why
    );
    // Nothing a person wrote is lost.
    let kept = shop.sql("SELECT source_row, note FROM refused_decisions WHERE return_id = 1 AND position = 1");
    assert_eq!(kept, ["3|other words"]);
    assert_eq!(shop.standing("A-2"), "open|||");
    shop.assert_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_expires_when_the_values_change_and_the_old_sheet_is_stale_then() {
    let shop = Shop::after_a_night("en").await;
    let old = shop.filled(
        5,
        b',',
        &[fill("A-1", "accept", "known"), fill("A-2", "accept", "known")],
    );
    assert_eq!(shop.take("old.csv", &old).counts(), "2 applied, 0 unchanged, 0 refused");
    shop.books(&[
        ("A-1", "95.00", 1),
        ("A-2", "1200.00", 1),
        ("A-4", "10.00", 1),
        ("-A5", "5.00", 1),
    ]);
    shop.night(6).await;
    assert_eq!(shop.standing("A-1"), "open|||");
    assert_eq!(shop.standing("A-2"), "acknowledged|accept||known");
    assert_eq!(
        shop.sql(
            "SELECT event, actor, e.note FROM discrepancy_events AS e JOIN discrepancies USING (discrepancy_id)
              WHERE reference = 'A-1' ORDER BY event_id"
        ),
        [
            "opened|run|",
            "acknowledged|Ana|known",
            "changed|run|",
            "decision_expired|run|`accept` no longer holds: it was about amount_mismatch (amount: 100.00 -> 90.00), now it is \
             amount_mismatch (amount: 95.00 -> 90.00)",
        ]
    );
    assert_eq!(
        shop.sql("SELECT holds FROM v_decisions ORDER BY decision_id"),
        ["yes", "expired"]
    );
    let receipt = shop.take("old-again.csv", &refill(&old, b',', &[fill("A-1", "accept", "still")]));
    assert!(
        receipt.refused[0].why.contains("ledger_amount was 100.00 and is 95.00"),
        "{receipt:?}"
    );
    // The same words on the newest sheet are a new decision.
    let new = shop.filled(6, b',', &[fill("A-1", "accept", "known")]);
    assert_eq!(shop.take("new.csv", &new).counts(), "1 applied, 1 unchanged, 0 refused");
    // What is gone cannot be decided about any more.
    shop.books(&[
        ("A-1", "90.00", 1),
        ("A-2", "1200.00", 1),
        ("A-4", "10.00", 1),
        ("-A5", "5.00", 1),
    ]);
    shop.night(7).await;
    let receipt = shop.take("late.csv", &refill(&new, b',', &[fill("A-1", "explain", "too late")]));
    assert!(
        receipt.refused[0].why.contains("it is resolved since 2026-03-07"),
        "{receipt:?}"
    );
    shop.assert_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_night_again_after_an_expiry_changes_nothing() {
    let shop = Shop::after_a_night("en").await;
    shop.take("old.csv", &shop.filled(5, b',', &[fill("A-1", "accept", "known")]));
    shop.books(&[
        ("A-1", "95.00", 1),
        ("A-2", "1200.00", 1),
        ("A-4", "10.00", 1),
        ("-A5", "5.00", 1),
    ]);
    shop.night(6).await;
    let acts = "SELECT * FROM discrepancy_events, audit_trail WHERE act <> 'ended'";
    let (sheet, events) = (shop.sheet(6), shop.sql(acts));
    shop.night(6).await;
    assert_eq!(shop.sheet(6), sheet);
    assert_eq!(shop.sql(acts), events);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_or_a_note_alone_decides_nothing_and_is_told() {
    let shop = Shop::after_a_night("en").await;
    let receipt = shop.take("note.csv", &shop.filled(5, b',', &[fill("A-1", "", "please look")]));
    assert_eq!(receipt.counts(), "0 applied, 0 unchanged, 0 refused");
    assert!(
        receipt.text().contains("Owner or note without a decision"),
        "{}",
        receipt.text()
    );
    assert_eq!(shop.standing("A-1"), "open|||");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_ack_and_reopen_write_the_same_history() {
    let shop = Shop::after_a_night("en").await;
    let id = shop.id("A-1");
    let done = shop.program(&["discrepancies", "ack", &id, "--note", "known", "--by", "Ana"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(shop.standing("A-1"), "acknowledged|accept||known");
    let done = shop.program(&["discrepancies", "reopen", &id, "--by", "Ben"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(shop.standing("A-1"), "open|||");
    assert_eq!(
        shop.sql("SELECT version, decision, actor, source FROM decisions ORDER BY version"),
        ["1|accept|Ana|command", "2|reopen|Ben|command"]
    );
    shop.assert_whole();
    for (args, code, why) in [
        (
            vec!["discrepancies", "ack", &id, "--note", " "],
            64,
            "an acknowledgement needs a note",
        ),
        (
            vec!["discrepancies", "ack", "0123456789abcdef", "--note", "x"],
            64,
            "it does not exist",
        ),
    ] {
        let refused = shop.program(&args);
        assert!(
            refused.status.code() == Some(code) && says(&refused, why),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_it_did_and_ends_with_65_when_something_was_refused() {
    let shop = Shop::after_a_night("en").await;
    shop.write(
        "back.csv",
        shop.filled(5, b',', &[fill("A-1", "accept", ""), fill("A-2", "explain", "")]),
    );
    let done = shop.program(&["decide", "back.csv", "--by", "Ana"]);
    assert_eq!(done.status.code(), Some(65), "{done:?}");
    assert!(
        says(&done, "1 applied, 0 unchanged, 1 refused") && says(&done, "1 decision was refused"),
        "{done:?}"
    );
    for (args, why) in [
        (vec!["decide", "back.csv"], "who decided?"),
        (
            vec!["decide", "nowhere.csv", "--by", "Ana"],
            "nowhere.csv cannot be read",
        ),
        (vec!["decide", "back.csv", "--by", " "], "--by must name a person"),
    ] {
        let refused = shop.program(&args);
        assert!(refused.status.code() == Some(64) && says(&refused, why), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drop_folder_is_emptied_into_taken_and_refused_with_a_receipt_beside_each_file() {
    let shop = Shop::after_a_night("en").await;
    shop.write("returned/good.csv", shop.filled(5, b',', &[fill("A-1", "accept", "")]));
    shop.write(
        "returned/mixed.csv",
        shop.filled(5, b',', &[fill("A-2", "accept", ""), fill("A-3", "explain", "")]),
    );
    shop.write("returned/holiday.jpg", b"\xFF\xD8\xFF\xE0\x00\x10JFIF");
    shop.write("returned/~$good.xlsx", "lock");
    shop.write("returned/half.csv.part", "x");
    let done = shop.program(&["decide"]);
    assert_eq!(done.status.code(), Some(65), "{done:?}");
    for (name, there) in [
        ("taken/good.csv", true),
        ("taken/good.csv.receipt.txt", true),
        ("refused/mixed.csv", true),
        ("refused/mixed.csv.receipt.txt", true),
        ("refused/holiday.jpg", true),
        ("refused/holiday.jpg.receipt.txt", true),
        ("good.csv", false),
        ("~$good.xlsx", true),
        ("half.csv.part", true),
    ] {
        assert_eq!(exists(&shop.path("returned").join(name)), there, "{name}");
    }
    let receipt = std::fs::read_to_string(shop.path("returned/refused/mixed.csv.receipt.txt")).unwrap();
    assert!(
        receipt.contains("`explain` needs a note") && receipt.contains("returned by  inbox"),
        "{receipt}"
    );
    assert_eq!(shop.standing("A-2"), "acknowledged|accept||");
    // The same name again keeps the earlier file.
    shop.write("returned/good.csv", shop.filled(5, b',', &[fill("A-1", "accept", "")]));
    assert_eq!(shop.program(&["decide"]).status.code(), Some(0));
    assert!(exists(&shop.path("returned/taken/good-2.csv")));
    assert!(says(&shop.program(&["decide"]), "nothing to take in"));
    shop.assert_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_takes_the_drop_folder_in_before_it_compares() {
    let shop = Shop::after_a_night("en").await;
    let path = shop.path("returned/back.csv");
    shop.write("returned/back.csv", shop.filled(5, b',', &[fill("A-1", "accept", "")]));
    // A file that was changed this moment may still be being copied.
    shop.night(6).await;
    assert!(exists(&path));
    let earlier = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(earlier)
        .unwrap();
    shop.night(7).await;
    assert!(!exists(&path) && exists(&shop.path("returned/taken/back.csv")));
    assert_eq!(shop.rows(7, b',')["A-1"]["decision"], "accept");
    assert_eq!(
        shop.sql("SELECT actor, at FROM decisions"),
        ["inbox|2026-03-08T08:00:00.000Z"]
    );
}
