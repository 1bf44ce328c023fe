//! A day as it was known on a night: frozen bytes where there are any, what versions and events say otherwise.

use super::shop::{Shop, cells, fill, says};

/// Two nights; between them the provider restated was accepted.
async fn two_nights() -> Shop {
    let shop = Shop::after_a_night("en").await;
    shop.take("a.csv", &shop.filled(5, b',', &[fill("A-1", "accept", "known")]));
    shop.provider(&[
        ("A-1", "80.00", 1),
        ("A-2", "1234.50", 1),
        ("A-3", "7.00", 1),
        ("A-4", "9.00", 1),
    ]);
    shop.night(6).await;
    shop
}

fn made(shop: &Shop, day: &str, night: &str, report: &str) -> Vec<u8> {
    std::fs::read(shop.path(&format!("out/{day}/shop/as-known-on-{night}/{day}_shop_{report}.csv"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_is_shown_with_the_bytes_that_were_frozen_then() {
    let shop = two_nights().await;
    let done = shop.program(&["report", "shop", "--as-known-on", "2026-03-05"]);
    assert!(
        done.status.code() == Some(0) && says(&done, "the bytes frozen on the night of 2026-03-05"),
        "{done:?}"
    );
    assert_eq!(made(&shop, "2026-03-05", "2026-03-05", "discrepancies"), shop.sheet(5));
    // A day without a night of its own is known as the night before knew it.
    let done = shop.program(&["report", "shop", "--as-known-on", "2026-03-31"]);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(made(&shop, "2026-03-06", "2026-03-06", "discrepancies"), shop.sheet(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_night_names_the_decision_that_holds_and_the_one_that_expired() {
    let shop = Shop::after_a_night("en").await;
    shop.take("a.csv", &shop.filled(5, b',', &[fill("A-1", "accept", "known")]));
    shop.night(5).await;
    let page = |day: &str| std::fs::read_to_string(shop.path(&format!("out/{day}/index.html"))).unwrap();
    let expired = "The decision about it expired: the values changed since";
    assert!(page("2026-03-05").contains("Decided: accept; note: known"));
    assert!(!page("2026-03-05").contains(expired));
    shop.provider(&[
        ("A-1", "80.00", 1),
        ("A-2", "1234.50", 1),
        ("A-3", "7.00", 1),
        ("A-4", "9.00", 1),
    ]);
    shop.night(6).await;
    assert!(page("2026-03-06").contains(expired), "{}", page("2026-03-06"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_shown_as_each_night_knew_it() {
    let shop = two_nights().await;
    let ask = |on: &str| {
        let done = shop.program(&["report", "shop", "--as-known-on", on, "--day", "2026-03-01"]);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let amounts = |report: &str, column: &str| -> Vec<String> {
            let (header, rows) = cells(&made(&shop, "2026-03-01", on, report), b',');
            let at = |name: &str| header.iter().position(|h| h == name).unwrap();
            let mut all: Vec<String> = rows
                .iter()
                .map(|r| format!("{} {}", r[at("reference")], r[at(column)]))
                .collect();
            all.sort();
            all
        };
        (
            amounts("discrepancies", "provider_amount"),
            amounts("transactions", "amount"),
        )
    };
    assert_eq!(
        ask("2026-03-05"),
        (
            ["'-A5 ", "A-1 90.00", "A-2 1234.50", "A-3 7.00"]
                .map(str::to_owned)
                .to_vec(),
            ["A-1 90.00", "A-2 1234.50", "A-3 7.00", "A-4 10.00"]
                .map(str::to_owned)
                .to_vec()
        )
    );
    assert_eq!(
        ask("2026-03-06"),
        (
            [
                "'-A5 ",
                "A-1 80.00",
                "A-1 80.00",
                "A-2 1234.50",
                "A-3 7.00",
                "A-4 9.00",
                "A-4 9.00"
            ]
            .map(str::to_owned)
            .to_vec(),
            ["A-1 80.00", "A-2 1234.50", "A-3 7.00", "A-4 9.00"]
                .map(str::to_owned)
                .to_vec()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_file_was_frozen_the_events_tell_and_what_was_not_kept_is_left_out() {
    let shop = two_nights().await;
    shop.tamper("DELETE FROM files");
    let done = shop.program(&["report", "shop", "--as-known-on", "2026-03-05", "--day", "2026-03-01"]);
    assert!(
        says(&done, "kind and state are those of then by their events"),
        "{done:?}"
    );
    let (header, rows) = cells(
        &made(&shop, "2026-03-01", "2026-03-05", "discrepancies_from_events"),
        b',',
    );
    let at = |name: &str| header.iter().position(|h| h == name).unwrap();
    let mut told: Vec<String> = rows
        .iter()
        .map(|r| {
            format!(
                "{} {} {} {}",
                r[at("reference")],
                r[at("state")],
                r[at("kind")],
                r[at("provider_amount")]
            )
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "'-A5 open missing_in_provider ",
            "A-1 open amount_mismatch ",
            "A-2 open amount_mismatch 1234.50",
            "A-3 open missing_in_ledger 7.00",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_know_is_refused() {
    let shop = two_nights().await;
    for (args, why) in [
        (vec!["--as-known-on", "2026-03-01"], "nothing was known on 2026-03-01"),
        (
            vec!["--as-known-on", "2026-03-05", "--day", "2026-03-06"],
            "nothing was known about 2026-03-06",
        ),
    ] {
        let mut all = vec!["report", "shop"];
        all.extend(args);
        let refused = shop.program(&all);
        assert!(refused.status.code() == Some(64) && says(&refused, why), "{refused:?}");
    }
}
