//! A period is closed: what stands in the way is named, and from then on its days are never rewritten.

use super::shop::{Shop, fill, says};

fn close(shop: &Shop, through: &str, more: &[&str]) -> std::process::Output {
    let mut args = vec!["close", "shop", "--through", through, "--by", "Berta"];
    args.extend(more);
    shop.program(&args)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_accountant_would_not_sign_is_not_closed_and_the_reason_is_said() {
    let shop = Shop::new();
    shop.provider(&[("A-1", "90.00", 1)]);
    shop.books(&[("A-1", "100.00", 1)]);
    let cases = [(close(&shop, "2026-03-05", &[]), 74, "there is no database")];
    shop.night(5).await;
    shop.night(7).await;
    let more = [
        (
            close(&shop, "2026-03-08", &[]),
            64,
            "the last reconciled day is 2026-03-07",
        ),
        (close(&shop, "2999-01-01", &[]), 64, "that day is not over"),
        (
            close(&shop, "2026-03-07", &["--with-open"]),
            65,
            "1 of its days was never reported, the first is 2026-03-06",
        ),
        (
            close(&shop, "2026-03-05", &[]),
            65,
            "1 discrepancy of these days is open",
        ),
        (
            close(&shop, "2026-03-05", &["--with-open"]),
            0,
            "closed from 2026-03-01 through 2026-03-05; 1 open",
        ),
        (
            close(&shop, "2026-03-05", &["--with-open"]),
            64,
            "closed through 2026-03-05 already (by Berta",
        ),
        (
            close(&shop, "2026-03-02", &["--with-open"]),
            64,
            "closed through 2026-03-05 already (by Berta",
        ),
        (
            shop.program(&["close", "nobody", "--through", "2026-03-05", "--by", "B"]),
            64,
            "there is no job \"nobody\"",
        ),
    ];
    for (output, code, why) in cases.into_iter().chain(more) {
        assert!(
            output.status.code() == Some(code) && says(&output, why),
            "{why}: {output:?}"
        );
    }
    shop.tamper(
        "INSERT INTO windows (job, feed, from_at, until_at, state) VALUES
           ('shop', 'payments', '2026-03-06T00:00:00.000Z', '2026-03-07T00:00:00.000Z', 'open')",
    );
    shop.night(6).await;
    shop.night(7).await;
    let gap = close(&shop, "2026-03-07", &["--with-open"]);
    assert!(
        gap.status.code() == Some(65) && says(&gap, "were not read to their end"),
        "{gap:?}"
    );
    shop.tamper("UPDATE windows SET state = 'sealed'");
    shop.night(7).await;
    std::fs::remove_file(shop.path("books.csv")).unwrap();
    shop.night(8).await;
    let failed = close(&shop, "2026-03-07", &["--with-open"]);
    assert!(
        failed.status.code() == Some(65) && says(&failed, "not_reconciled"),
        "{failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_day_is_never_run_again_and_status_says_through_when() {
    let shop = Shop::after_a_night("en").await;
    shop.take(
        "a.csv",
        &shop.filled(5, b',', &["A-1", "A-2", "A-3", "'-A5"].map(|r| fill(r, "accept", ""))),
    );
    let sheet = shop.sheet(5);
    let done = close(&shop, "2026-03-05", &["--note", "first days"]);
    assert!(
        done.status.code() == Some(0) && says(&done, "no open discrepancies, 4 acknowledged"),
        "{done:?}"
    );
    let status = shop.program(&["status", "--json"]);
    assert!(says(&status, "\"closed_through\":\"2026-03-05\""), "{status:?}");
    // Even after everything changed at both sides.
    shop.provider(&[("A-1", "1.00", 1)]);
    shop.books(&[("A-1", "2.00", 1)]);
    let outcome = shop.night(5).await;
    assert!(
        outcome
            .message
            .as_deref()
            .unwrap_or_default()
            .contains("is closed (through 2026-03-05) and is never rewritten"),
        "{outcome:?}"
    );
    assert_eq!(outcome.exit_code(), 64);
    assert_eq!(shop.sheet(5), sheet);
    let again = shop.program(&["report", "shop", "--day", "2026-03-05"]);
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(shop.sheet(5), sheet);
    assert_eq!(shop.sql("SELECT count(*) FROM runs"), ["1"]);
    shop.assert_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_change_is_a_dated_event_of_the_open_period_that_names_both_days() {
    let shop = Shop::after_a_night("en").await;
    assert_eq!(close(&shop, "2026-03-05", &["--with-open"]).status.code(), Some(0));
    let frozen = shop.sql("SELECT name, sha256 FROM files ORDER BY name");
    // A-4 agreed when the day was closed; A-1 differed by another amount; A-3 is booked now; A-6 is new to the provider.
    shop.provider(&[
        ("A-1", "80.00", 1),
        ("A-2", "1234.50", 1),
        ("A-3", "7.00", 1),
        ("A-4", "9.00", 1),
        ("A-6", "3.00", 1),
    ]);
    shop.books(&[
        ("A-1", "100.00", 1),
        ("A-2", "1200.00", 1),
        ("A-3", "7.00", 1),
        ("A-4", "10.00", 1),
        ("-A5", "5.00", 1),
    ]);
    let outcome = shop.night(6).await;
    // Two of the new ones are the provider's own changes to records it had called final.
    assert_eq!((outcome.new, outcome.resolved, outcome.open), (4, 1, 7));
    assert_eq!(
        shop.sql(
            "SELECT reference, business_day, closed_day, state FROM discrepancies WHERE kind <> 'changed_after_final'
              ORDER BY reference"
        ),
        [
            "-A5|2026-03-01||open",
            "A-1|2026-03-06|2026-03-01|open",
            "A-2|2026-03-01||open",
            "A-3|2026-03-01||resolved",
            "A-4|2026-03-06|2026-03-01|open",
            "A-6|2026-03-06|2026-03-01|open",
        ]
    );
    assert_eq!(
        shop.sql(
            "SELECT reference, business_day, closed_day FROM discrepancies WHERE kind = 'changed_after_final' ORDER BY reference"
        ),
        ["A-1|2026-03-06|2026-03-01", "A-4|2026-03-06|2026-03-01"]
    );
    let detail = &shop.sql("SELECT detail FROM discrepancies WHERE reference = 'A-4' ORDER BY kind")[0];
    assert!(
        detail.ends_with("; about 2026-03-01, which was closed when this became known on 2026-03-06"),
        "{detail}"
    );
    assert_eq!(
        shop.sql(
            "SELECT reference, e.business_day, event, e.note FROM discrepancy_events AS e JOIN discrepancies USING (discrepancy_id)
              WHERE e.note IS NOT NULL AND kind <> 'changed_after_final' ORDER BY reference, event_id"
        ),
        [
            "A-1|2026-03-06|late_change|about 2026-03-01 (closed through 2026-03-05), became known on 2026-03-06: amount: 100.00 \
             -> 80.00",
            "A-3|2026-03-06|resolved|of 2026-03-01, closed through 2026-03-05; cleared on 2026-03-06",
            "A-4|2026-03-06|late_change|about 2026-03-01 (closed through 2026-03-05), became known on 2026-03-06: amount: 10.00 \
             -> 9.00",
            "A-6|2026-03-06|late_change|about 2026-03-01 (closed through 2026-03-05), became known on 2026-03-06: amount: absent \
             -> 3.00",
        ]
    );
    assert_eq!(
        shop.sql("SELECT reference, business_day, amount_before, amount FROM v_late_changes ORDER BY reference"),
        [
            "A-1|2026-03-01|90.00|80.00",
            "A-4|2026-03-01|10.00|9.00",
            "A-6|2026-03-01||3.00"
        ]
    );
    let row = &shop.rows(6, b',')["A-6"];
    assert_eq!(
        (row["business_day"].as_str(), row["status"].as_str()),
        ("2026-03-06", "new")
    );
    // The nights after tell the same, and the closed day's files are those of then.
    let before = shop.sql("SELECT discrepancy_id, business_day, closed_day, detail FROM discrepancies ORDER BY 1");
    shop.night(7).await;
    shop.night(7).await;
    assert_eq!(
        shop.sql("SELECT discrepancy_id, business_day, closed_day, detail FROM discrepancies ORDER BY 1"),
        before
    );
    assert_eq!(
        shop.sql("SELECT count(*) FROM discrepancy_events WHERE event = 'late_change'"),
        ["5"]
    );
    let files = shop.sql("SELECT name, sha256 FROM files WHERE business_day = '2026-03-05' ORDER BY name");
    assert_eq!(files, frozen);
    shop.assert_whole();

    // The next period is closed in its turn, and what is late once more moves on.
    assert_eq!(close(&shop, "2026-03-07", &["--with-open"]).status.code(), Some(0));
    assert_eq!(
        shop.sql("SELECT from_day, through_day, carried FROM period_closes ORDER BY close_id"),
        ["2026-03-01|2026-03-05|4", "2026-03-06|2026-03-07|7"]
    );
    shop.provider(&[
        ("A-1", "70.00", 1),
        ("A-2", "1234.50", 1),
        ("A-3", "7.00", 1),
        ("A-4", "9.00", 1),
        ("A-6", "3.00", 1),
    ]);
    shop.night(8).await;
    assert_eq!(
        shop.sql("SELECT business_day, closed_day, what_differs FROM discrepancies WHERE reference = 'A-1' ORDER BY kind LIMIT 1"),
        ["2026-03-08|2026-03-01|amount: 100.00 -> 70.00"]
    );
    shop.assert_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_to_a_closed_day_is_noticed() {
    for (sql, named) in [
        (
            "UPDATE files SET sha256 = 'x' WHERE name LIKE '%summary%'",
            "files shop/2026-03-05/2026-03-05_shop_summary.csv",
        ),
        (
            "DELETE FROM files WHERE name LIKE '%summary%'",
            "files shop/2026-03-05/2026-03-05_shop_summary.csv",
        ),
        ("UPDATE period_closes SET actor = 'nobody'", "period_closes 1"),
        ("DELETE FROM period_closes", "period_closes 1"),
        (
            "UPDATE statement_lines SET amount_minor = 1 WHERE line = 'opening'",
            "statement_lines shop/2026-03-05",
        ),
    ] {
        let shop = Shop::after_a_night("en").await;
        shop.tamper(
            "INSERT INTO statement_lines (job, account, currency, business_day, position, line, amount_minor, source)
             VALUES ('shop', '', 'PEN', '2026-03-05', 0, 'opening', 100, 'rows')",
        );
        assert_eq!(close(&shop, "2026-03-05", &["--with-open"]).status.code(), Some(0));
        shop.assert_whole();
        shop.tamper(sql);
        let found = shop.verify();
        assert!(
            found.iter().any(|f| f.check == "audit" && f.place == named),
            "{sql}: {found:?}"
        );
    }
}
