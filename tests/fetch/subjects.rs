//! Feeds that hang on subjects, and figures of the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reconciled::failure::Class;
use tokio_util::sync::CancellationToken;

use crate::http::{Answer, Seen, Server, json, status};
use crate::plain::{DETAILS, LISTING, MEMBERS, PARENTS, Plain, SNAPSHOT, Style};
use crate::room::{NEXT_NIGHT, NIGHT, Room, rows};

fn parents() -> Plain {
    Plain {
        feeds: vec![PARENTS, MEMBERS],
        ..Plain::default()
    }
}

/// One parent a day, named `s01`…; listed also on the day before, as an overlap does. `s02` is unknown when asked for.
fn family(seen: &Seen) -> Answer {
    let path = seen.path().to_owned();
    if let Some(day) = path.strip_prefix("/parents/2026-03-") {
        let day: u32 = day.parse().unwrap();
        let row = |d: u32| format!(r#"{{"id":"s{d:02}","amount":5,"subject":true,"at":"2026-03-{d:02}T12:00:00Z"}}"#);
        return json(match seen.query("page") {
            Some("0") => format!(r#"{{"rows":[{},{}]}}"#, row(day), row(day + 1)),
            _ => r#"{"rows":[]}"#.to_owned(),
        });
    }
    match path.strip_prefix("/members/") {
        Some("s02") => status(404, r#"{"rows":[]}"#),
        Some(subject) => json(format!(r#"{{"rows":[{}]}}"#, rows(&[format!("{subject}-m")]))),
        None => status(400, "{}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_are_read_once_each_under_their_own_day_and_an_unknown_one_is_a_warning() {
    let server = Server::start(family).await;
    let room = Room::new(parents(), &server);
    let reading = room.night(NIGHT).await;
    assert!(reading.failures.is_empty(), "{reading:?}");
    assert_eq!(room.ids(), ["s01-m", "s03-m"]);
    assert_eq!(
        room.states(),
        [
            "03-01 s01 sealed",
            "03-02 s02 sealed",
            "03-03 s03 sealed",
            "03-01  sealed",
            "03-02  sealed",
            "03-03  sealed"
        ]
    );
    assert!(
        reading.warnings.iter().any(|w| w.contains("s02") && w.contains("404")),
        "{:?}",
        reading.warnings
    );
    assert_eq!(server.count_of("/members"), 3);
    room.night(NIGHT).await;
    assert_eq!(server.count_of("/members"), 3);
    // The next night the fourth day is over, and all are inside the look-back.
    let reading = room.night(NEXT_NIGHT).await;
    assert!(reading.failures.is_empty(), "{reading:?}");
    assert_eq!(server.count_of("/members"), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_of_parents_sealed_before_a_cut_are_found_again() {
    let stop = CancellationToken::new();
    let pull = stop.clone();
    let server = Server::start(move |seen| {
        // The last answer of the parents; their children are asked by the next run only.
        if seen.target == "/parents/2026-03-03?page=1" {
            pull.cancel();
        }
        family(seen)
    })
    .await;
    let room = Room::new(parents(), &server);
    let reading = room.night_until(NIGHT, &stop).await;
    assert_eq!(
        reading.failures.first().map(|f| f.class),
        Some(Class::Partial),
        "{reading:?}"
    );
    assert_eq!((reading.sealed, server.count_of("/members")), (3, 0), "{reading:?}");
    let reading = room.night(NIGHT).await;
    assert!(reading.failures.is_empty(), "{reading:?}");
    assert_eq!((server.count_of("/parents"), server.count_of("/members")), (6, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_of_the_moment_is_asked_once_for_each_business_day() {
    let server = Server::start(|_| json(r#"{"rows":[{"id":"f","amount":7,"subject":true}]}"#)).await;
    let room = Room::new(
        Plain {
            feeds: vec![SNAPSHOT],
            ..Plain::default()
        },
        &server,
    );
    for (night, requests) in [(NIGHT, 1), ("2026-03-04T05:00:00Z", 1), (NEXT_NIGHT, 2)] {
        let reading = room.night(night).await;
        assert!(reading.failures.is_empty(), "{reading:?}");
        assert_eq!(server.count(), requests, "{night}");
    }
    assert_eq!(room.column("SELECT as_of FROM balances ORDER BY as_of").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_without_a_time_of_their_own_belong_to_the_day_that_named_them_also_after_a_cut() {
    for cut in [false, true] {
        let stop = CancellationToken::new();
        let pull = stop.clone();
        let server = Server::start(move |seen| match seen.path().strip_prefix("/parents/2026-03-") {
            Some(day) => {
                if cut && day == "03" {
                    pull.cancel();
                }
                json(format!(r#"{{"rows":[{{"id":"s{day}","amount":5,"subject":true}}]}}"#))
            }
            None => family(seen),
        })
        .await;
        let room = Room::new(parents(), &server);
        room.night_until(NIGHT, &stop).await;
        let reading = room.night(NIGHT).await;
        assert!(reading.failures.is_empty(), "{reading:?}");
        assert_eq!(
            room.states()[..3],
            ["03-01 s01 sealed", "03-02 s02 sealed", "03-03 s03 sealed"]
        );
        assert_eq!((server.count_of("/parents"), server.count_of("/members")), (3, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_would_change_the_path_is_never_asked_for() {
    for id in ["..", ".", "../../login", "a/../../b"] {
        let server = Server::start(move |seen| match seen.path().strip_prefix("/parents/") {
            Some(_) => json(format!(r#"{{"rows":[{{"id":"{id}","amount":5,"subject":true}}]}}"#)),
            None => json(r#"{"rows":[]}"#),
        })
        .await;
        let mut room = Room::new(parents(), &server);
        room.bench.fetch.start = "2026-03-03".parse().unwrap();
        let reading = room.night(NIGHT).await;
        assert_eq!(
            reading.failures.first().map(|f| f.class),
            Some(Class::Protocol),
            "{id}: {reading:?}"
        );
        assert_eq!(
            server.count(),
            server.count_of("/parents/"),
            "{id}: {:?}",
            server.seen()
        );
    }
}

/// `s01` has a figure, the figures of `s02` and `s03` cannot be read.
fn accounts(seen: &Seen) -> Answer {
    let Some(day) = seen.path().strip_prefix("/parents/2026-03-") else {
        let subject = seen.path().rsplit('/').next().unwrap_or_default().to_owned();
        return json(format!(r#"{{"rows":[{}]}}"#, rows(&[format!("{subject}-m")])));
    };
    let amount = i32::from(day == "01");
    json(format!(
        r#"{{"rows":[{{"id":"s{day}","amount":{amount},"subject":true,"account":"GBP{day}","at":"2026-03-{day}T12:00:00Z"}}]}}"#
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_under_a_subject_have_the_account_it_was_listed_with_also_after_a_cut_and_when_read_again() {
    for cut in ["", "/members/s03", "/parents/2026-03-03"] {
        let stop = CancellationToken::new();
        let pull = stop.clone();
        let server = Server::start(move |seen| {
            if !cut.is_empty() && seen.path() == cut {
                pull.cancel();
            }
            accounts(seen)
        })
        .await;
        let room = Room::new(parents(), &server);
        room.night_until(NIGHT, &stop).await;
        for night in [NIGHT, NEXT_NIGHT] {
            let reading = room.night(night).await;
            assert!(reading.failures.is_empty(), "{cut}: {reading:?}");
            let owners = room.column("SELECT provider_id || ' ' || account FROM transactions ORDER BY provider_id");
            let wanted = ["s01-m GBP01", "s02-m GBP02", "s03-m GBP03", "s04-m GBP04"];
            let days = if night == NIGHT { 3 } else { 4 };
            assert_eq!(owners, wanted[..days], "{cut} {night}");
        }
        let replayed = reconciled::store::replay(&room.store, &room.bench.job()).unwrap();
        assert_eq!(replayed.differences.len(), 0, "{cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_without_a_readable_figure_are_asked_about_by_the_run_after_a_cut() {
    let stop = CancellationToken::new();
    let pull = stop.clone();
    let server = Server::start(move |seen| {
        if seen.path() == "/parents/2026-03-03" {
            pull.cancel();
        }
        accounts(seen)
    })
    .await;
    let room = Room::new(parents(), &server);
    room.night_until(NIGHT, &stop).await;
    assert_eq!((server.count_of("/parents"), server.count_of("/members")), (3, 0));
    let said =
        room.column("SELECT subject || ' ' || state || ' ' || reason FROM windows WHERE feed = 'members' ORDER BY 1");
    let never = |s: &str| format!("{s} open it was never asked for");
    assert_eq!(said, [never("s01"), never("s02"), never("s03")]);
    let reading = room.night(NIGHT).await;
    assert!(reading.failures.is_empty(), "{reading:?}");
    assert_eq!((server.count_of("/parents"), server.count_of("/members")), (3, 3));
    assert_eq!(room.ids(), ["s01-m", "s02-m", "s03-m"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_whose_account_becomes_readable_later_takes_its_records_along() {
    let mended = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&mended);
    let server = Server::start(move |seen| {
        let known = known.load(Ordering::SeqCst);
        match seen.path().strip_prefix("/parents/2026-03-") {
            Some(day) => {
                let account = if known { "GBP3" } else { "" };
                json(format!(
                    r#"{{"rows":[{{"id":"s{day}","amount":0,"subject":true,"account":"{account}"}}]}}"#
                ))
            }
            None => json(format!(
                r#"{{"rows":[{}]}}"#,
                rows(&[seen.path().replace("/members/", "m-")])
            )),
        }
    })
    .await;
    let mut room = Room::new(parents(), &server);
    room.bench.fetch.start = "2026-03-03".parse().unwrap();
    room.night(NIGHT).await;
    let owners = || room.column("SELECT provider_id || ' ' || account || ' ' || version FROM transactions ORDER BY 1");
    assert_eq!(owners(), ["m-s03  1"]);
    mended.store(true, Ordering::SeqCst);
    let reading = room.night(NEXT_NIGHT).await;
    assert!(reading.failures.is_empty(), "{reading:?}");
    assert_eq!(
        (owners(), reading.vanished),
        (vec!["m-s03 GBP3 1".into(), "m-s04 GBP3 1".into()], 0)
    );
    let replayed = reconciled::store::replay(&room.store, &room.bench.job()).unwrap();
    assert_eq!(replayed.differences, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_without_a_readable_id_leaves_a_hole_that_is_said_every_night_until_it_is_mended() {
    let mended = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&mended);
    let server = Server::start(move |seen| {
        let id = if known.load(Ordering::SeqCst) { "s03" } else { "" };
        match seen.path().strip_prefix("/parents/") {
            Some("2026-03-03") => json(format!(r#"{{"rows":[{{"id":"{id}","amount":5,"subject":true}}]}}"#)),
            Some(_) => json(r#"{"rows":[]}"#),
            None => json(format!(r#"{{"rows":[{}]}}"#, rows(&["m".into()]))),
        }
    })
    .await;
    let mut room = Room::new(parents(), &server);
    room.bench.fetch.start = "2026-03-03".parse().unwrap();
    for _ in 0..2 {
        // The second of these nights asks nobody, and says it still.
        let reading = room.night(NIGHT).await;
        let failure = reading.failures.first().expect("a failure");
        assert_eq!((failure.class, server.count()), (Class::Data, 1), "{reading:?}");
        assert!(
            failure
                .message
                .starts_with("plain-job: members 2026-03-03: 1 row of parents without a readable id")
        );
        assert_eq!(room.states(), ["03-03  open", "03-03  sealed"]);
    }
    mended.store(true, Ordering::SeqCst);
    let reading = room.night(NEXT_NIGHT).await;
    assert!(reading.failures.is_empty(), "{reading:?}");
    assert_eq!(room.states(), ["03-03 s03 sealed", "03-03  sealed", "03-04  sealed"]);
}

/// Five records without a reference, of which `r1` has none at all and `r5` is older than the books; `r2` changes.
fn unreferenced(seen: &Seen, changed: bool) -> Answer {
    let Some(id) = seen.path().strip_prefix("/details/") else {
        let row = |n: i64, amount: i64| {
            let day = if n == 5 { "2026-02-01" } else { "2026-03-02" };
            format!(r#"{{"id":"r{n}","amount":{amount},"ask":true,"at":"{day}T12:00:00Z"}}"#)
        };
        let amount = if changed { 7 } else { 2 };
        let rows: Vec<String> = (0..6).map(|n| row(n, if n == 2 { amount } else { 100 + n })).collect();
        return json(format!(r#"{{"page":1,"pages":1,"rows":[{}]}}"#, rows.join(",")));
    };
    match id {
        "r0" => status(404, r#"{"rows":[]}"#),
        "r1" => json(r#"{"rows":[{"id":"r1","amount":1}]}"#),
        other => json(format!(
            r#"{{"rows":[{{"id":"{other}","amount":1,"reference":"R-{other}"}}]}}"#
        )),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_a_reference_are_asked_about_alone_once_and_within_the_budget_of_a_night() {
    for cut in ["", "/details/r1"] {
        let stop = CancellationToken::new();
        let pull = stop.clone();
        let changed = Arc::new(AtomicBool::new(false));
        let change = Arc::clone(&changed);
        let server = Server::start(move |seen| {
            if seen.path() == cut {
                pull.cancel();
            }
            unreferenced(seen, change.load(Ordering::SeqCst))
        })
        .await;
        let plain = Plain {
            style: Style::Cursor,
            feeds: vec![LISTING, DETAILS],
            ..Plain::default()
        };
        let room = Room::new(plain, &server);
        let known = || {
            room.column(
                "SELECT provider_id || ' ' || coalesce(reference, '-') || ' ' || version FROM transactions ORDER BY 1",
            )
        };
        if !cut.is_empty() {
            room.night_until(NIGHT, &stop).await;
        }
        let reading = room.night(NIGHT).await;
        let failure = reading.failures.first().expect("the budget of three is spent");
        assert_eq!(
            (failure.class, server.count_of("/details/")),
            (Class::Partial, 3),
            "{cut}: {reading:?}"
        );
        assert!(
            failure
                .message
                .starts_with("plain-job: 2 records of items without a reference"),
            "{failure}"
        );
        let after = ["r0 - 1", "r1 - 1", "r2 R-r2 1", "r3 - 1", "r4 - 1", "r5 - 1"];
        assert_eq!(known(), after, "{cut}");
        changed.store(true, Ordering::SeqCst);
        let reading = room.night(NEXT_NIGHT).await;
        assert!(reading.failures.is_empty(), "{cut}: {reading:?}");
        let after = ["r0 - 1", "r1 - 1", "r2 R-r2 2", "r3 R-r3 1", "r4 R-r4 1", "r5 - 1"];
        assert_eq!(
            (known(), server.count_of("/details/")),
            (after.map(String::from).to_vec(), 5),
            "{cut}"
        );
        let said: Vec<&String> = reading.warnings.iter().collect();
        assert!(
            said.len() == 1 && said[0].starts_with("items: 2 records have no reference"),
            "{said:?}"
        );
        let replayed = reconciled::store::replay(&room.store, &room.bench.job()).unwrap();
        assert_eq!(replayed.differences, [], "{cut}");
        reconciled::store::rederive(&room.store, &room.bench.job(), &*room.bench.setup.provider).unwrap();
        assert_eq!(known(), after, "{cut}: derived anew");
    }
}
