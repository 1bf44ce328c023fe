//! Somebody edits the database: `verify` says which row, for every table that people rely on.

use reconciled::store::audit;

use super::shop::{Shop, fill, says};

async fn decided() -> Shop {
    let shop = Shop::after_a_night("en").await;
    shop.take(
        "a.csv",
        &shop.filled(
            5,
            b',',
            &[fill("A-1", "accept", "known"), fill("A-2", "explain", "fee")],
        ),
    );
    shop.night(6).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_to_what_was_found_decided_or_booked_is_noticed_and_named() {
    let cases = [
        ("UPDATE discrepancies SET provider_amount_minor = 1 WHERE reference = 'A-3'", "discrepancies"),
        ("UPDATE discrepancies SET what_differs = 'nothing' WHERE reference = 'A-3'", "discrepancies"),
        ("UPDATE discrepancies SET reference = 'X' WHERE reference = 'A-3'", "discrepancies"),
        ("UPDATE discrepancies SET first_seen_day = '2026-03-06', age_days = 0 WHERE reference = 'A-3'", "discrepancies"),
        ("UPDATE discrepancies SET age_days = 0 WHERE reference = 'A-3'", "age_days is not what"),
        ("UPDATE discrepancies SET state = 'acknowledged' WHERE reference = 'A-3'", "state is not what"),
        ("UPDATE discrepancies SET note = 'other' WHERE reference = 'A-1'", "note is not what"),
        ("UPDATE discrepancies SET decision = 'write_off' WHERE reference = 'A-1'", "decision is not what"),
        ("UPDATE discrepancies SET owner = 'Ben' WHERE reference = 'A-1'", "owner is not what"),
        ("DELETE FROM discrepancies WHERE reference = 'A-3'", "it was removed by somebody"),
        (
            "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, business_day, first_seen_day, last_seen_day,
               age_days, what_differs, detail) VALUES ('0123456789abcdef', 'shop', 'x', 'vanished', 'open', '2026-03-05',
               '2026-03-05', '2026-03-05', 0, '', '')",
            "no act of this program wrote it",
        ),
        ("UPDATE discrepancy_events SET actor = 'Ben' WHERE actor = 'Ana'", "discrepancy_events"),
        ("DELETE FROM discrepancy_events WHERE event_id = 1", "discrepancy_events 1"),
        ("UPDATE decisions SET actor = 'Ben' WHERE decision_id = 1", "decisions 1"),
        ("UPDATE decisions SET note = 'better' WHERE decision_id = 2", "decisions 2"),
        ("DELETE FROM decisions WHERE decision_id = 2", "decisions 2"),
        ("UPDATE returned_files SET actor = 'Ben'", "returned_files 1"),
        ("UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE reference = 'A-4'", "ledger_entries of shop"),
        ("DELETE FROM ledger_entries WHERE reference = 'A-4'", "ledger_entries of shop"),
        ("UPDATE transactions SET amount_minor = amount_minor + 1 WHERE reference = 'A-4'", "windows of shop/payments"),
        ("DELETE FROM transactions WHERE reference = 'A-4'", "windows of shop/payments"),
        ("UPDATE windows SET until_at = '2026-04-01T00:00:00.000Z'", "windows of shop/payments"),
        ("UPDATE ledger_imports SET newest_booked_at = '2020-01-01T00:00:00.000Z' WHERE import_id = 1", "ledger_imports 1"),
        ("DELETE FROM ledger_imports WHERE import_id = 1", "ledger_imports 1"),
        ("DELETE FROM files WHERE name LIKE '%_summary.csv'", "files shop/"),
        ("UPDATE files SET as_of = '2020-01-01T00:00:00.000Z' WHERE name LIKE '%_summary.csv'", "files shop/"),
        ("UPDATE runs SET verdict = 'reconciled' WHERE run_id = 1", "run_counts of run 1"),
        ("UPDATE runs SET open = 0 WHERE run_id = 1", "run_counts of run 1"),
        ("UPDATE run_counts SET difference_minor = 0 WHERE run_id = 1", "run_counts of run 1"),
        ("DELETE FROM runs WHERE run_id = 1", "run_counts of run 1"),
        ("UPDATE audit_trail SET actor = 'Ben' WHERE entry_id = 2", "audit_trail entry 2"),
        ("UPDATE audit_trail SET sealed = '' WHERE entry_id = 2", "audit_trail entry 2"),
        ("DELETE FROM audit_trail WHERE entry_id = 2", "audit_trail entry 3"),
    ];
    let shop = decided().await;
    shop.assert_whole();
    let whole = std::fs::read(shop.path("reconciled.db")).unwrap();
    for (sql, named) in cases {
        shop.tamper(&format!("PRAGMA foreign_keys = OFF; {sql}"));
        let found = shop.verify();
        let audit: Vec<String> = found
            .iter()
            .filter(|finding| finding.check == "audit")
            .map(|finding| format!("{}: {}", finding.place, finding.what))
            .collect();
        assert!(audit.iter().any(|line| line.contains(named)), "{sql}: {found:?}");
        // Back to the whole file for the next one.
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(shop.path(&format!("reconciled.db{end}")));
        }
        std::fs::write(shop.path("reconciled.db"), &whole).unwrap();
    }
    shop.assert_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_file_or_mail_with_other_bytes_is_noticed_and_named() {
    for (sql, named) in [
        (
            "UPDATE files SET bytes = (SELECT bytes FROM files WHERE name LIKE '%coverage%') WHERE name LIKE '%summary%'",
            "files shop/2026-03-05/2026-03-05_shop_summary.csv",
        ),
        (
            "INSERT INTO mails (message_id, job, business_day, recipient, state, queued_at, sha256, message)
             VALUES ('<1@example.com>', 'shop', '2026-03-05', 'ana@example.com', 'sent', 't', 'x', x'00')",
            "mails 1",
        ),
    ] {
        let shop = decided().await;
        shop.assert_whole();
        shop.tamper(sql);
        let found = shop.verify();
        let frozen: Vec<&str> = found
            .iter()
            .filter(|finding| finding.check == "frozen")
            .map(|finding| finding.place.as_str())
            .collect();
        assert!(frozen.contains(&named), "{sql}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_bytes_were_pruned_is_no_finding_while_one_that_waits_without_bytes_is() {
    let shop = decided().await;
    let mail = |id: u32, state: &str| {
        shop.tamper(&format!(
            "INSERT INTO mails (message_id, job, business_day, recipient, state, queued_at, sha256, message)
             VALUES ('<{id}@example.com>', 'shop', '2026-03-05', 'ana@example.com', '{state}', 't', 'x', x'')"
        ));
    };
    mail(1, "sent");
    shop.assert_whole();
    mail(2, "pending");
    assert!(shop.verify().iter().any(|finding| finding.check == "frozen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_that_was_cut_or_built_anew_lacks_the_head_that_was_printed() {
    let shop = decided().await;
    let head = shop
        .sql("SELECT entry_id || ':' || chain FROM audit_trail ORDER BY entry_id DESC LIMIT 1")
        .remove(0);
    let verify = |head: &str| shop.program(&["verify", "--head", head]);
    let good = verify(&head);
    assert!(
        good.status.code() == Some(0) && says(&good, &format!("head {head}")),
        "{good:?}"
    );
    let bad = verify("3:0123");
    assert!(
        bad.status.code() == Some(74) && says(&bad, "does not stand in it any more"),
        "{bad:?}"
    );
    let none = verify("yesterday");
    assert!(
        none.status.code() == Some(64) && says(&none, "is no head of an audit trail"),
        "{none:?}"
    );
    // The newest decision is cut off together with its traces: the chain alone cannot show it, the printed head does.
    shop.tamper("DELETE FROM audit_trail WHERE entry_id = (SELECT max(entry_id) FROM audit_trail)");
    let cut = verify(&head);
    assert!(
        cut.status.code() == Some(74) && says(&cut, "does not stand in it any more"),
        "{cut:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_removed_on_purpose_are_resealed_with_the_reason_and_the_books_prove_themselves_again() {
    let shop = decided().await;
    let store = shop.store();
    let mask = |sql: &'static str| {
        let at = super::shop::night_after(7);
        store.write(|tx| audit::amend(tx, "operator", at, "erase of a subject", || Ok(tx.execute_batch(sql)?)))
    };
    mask(
        "DELETE FROM discrepancy_events WHERE discrepancy_id IN (SELECT discrepancy_id FROM discrepancies WHERE reference = 'A-3');
         DELETE FROM discrepancies WHERE reference = 'A-3';
         UPDATE ledger_entries SET reference = '█' WHERE reference = 'A-4'",
    )
    .unwrap();
    drop(store);
    shop.assert_whole();
    assert_eq!(
        shop.sql("SELECT actor, act, subject FROM audit_trail ORDER BY entry_id DESC LIMIT 1"),
        ["operator|resealed|erase of a subject"]
    );
    // What somebody edited before is not sealed along with it.
    shop.tamper("UPDATE ledger_entries SET reference = 'A-9' WHERE reference = 'A-2'");
    let store = shop.store();
    let refused = store
        .write(|tx| audit::amend(tx, "operator", super::shop::night_after(7), "again", || Ok(())))
        .unwrap_err();
    assert!(refused.message.contains("the audit trail does not hold"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_night_adds_its_files_and_its_end_and_the_same_one_again_its_end_alone() {
    let shop = decided().await;
    let acts = || shop.sql("SELECT act FROM audit_trail ORDER BY entry_id");
    let before = acts().len();
    shop.night(7).await;
    shop.night(7).await;
    assert_eq!(acts()[before..], ["reported", "ended", "ended"]);
    shop.assert_whole();
}
