//! Timestamps, tokens that end, bindings, walks that are killed.

use std::time::Instant;

use super::*;
use crate::house::NEXT_NIGHT;

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_the_timestamp_is_signed_as_it_is_sent() {
    for (style, length) in [
        ("seconds_offset", 25),
        ("millis_utc", 24),
        ("seconds_compact_offset", 24),
        ("millis_short_offset", 26),
    ] {
        let room = Room::new(Api::V2, &format!("timestamp_style = \"{style}\"")).await;
        room.ledger(&["a paid".into()]);
        room.knows("a", vec![room.paid("a")]);
        assert_eq!(room.house.night(NIGHT).code, 0, "{style}");
        let seen = room.server.seen();
        assert!(
            seen.iter()
                .all(|seen| seen.header("x-timestamp").unwrap().len() == length),
            "{style}"
        );
        assert_eq!(room.house.matched(), ["a"], "{style}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_the_middle_is_renewed_once_for_all_in_both_generations() {
    for api in BOTH {
        let room = Room::new(api, agreed(api)).await;
        let names: Vec<String> = (0..12).map(|i| format!("n{i:02}")).collect();
        let lines: Vec<String> = names.iter().map(|name| format!("{name} paid")).collect();
        room.ledger(&lines);
        for name in &names {
            room.knows(name, vec![room.paid(name)]);
        }
        room.house.night(NIGHT);
        assert_eq!((room.logins(), room.asked().len()), (1, 12));
        *room.session.lock().unwrap() = 3;
        let night = room.house.night(NEXT_NIGHT);
        assert_eq!((night.code, room.logins()), (0, 3), "{}", night.stderr);
        assert_eq!(room.house.found(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_that_hold_no_more_are_listed_with_the_way_to_a_new_link() {
    let room = Room::new(Api::Bindings, "not_found_codes = [\"4043601\"]").await;
    let mut lines = Vec::new();
    for (name, word) in [
        ("active", "ACTIVE"),
        ("disabled", "DISABLED"),
        ("blocked", "BLOCKED"),
        ("not", "NOT FOUND"),
        ("odd", "WEIRD"),
    ] {
        let body = json!({
            "responseCode": "2003100", "partnerReferenceNo": id(name, "reference"), "tokenStatus": word,
            "accountToken": "CANARYaccounttoken00000000000000", "authCode": id(name, "payment"),
            "userInfo": {"publicUserId": "TSTMER-CANARY"}, "additionalInfo": {"maskedCard": "************CANARYcard"},
        });
        room.knows(name, vec![http::json(body.to_string())]);
        lines.push(format!("{name} paid payment 0"));
    }
    lines.push("expired paid payment 0".into());
    lines.push("ended failed payment 0".into());
    lines.push("badkey paid payment 0".into());
    room.knows(
        "ended",
        vec![http::json(
            json!({
                "responseCode": "2003100", "partnerReferenceNo": id("ended", "reference"), "tokenStatus": "DISABLED",
            })
            .to_string(),
        )],
    );
    room.ledger(&lines);
    let night = room.house.night(NIGHT);
    assert_eq!(night.code, 0, "{}", night.stderr);
    let wanted = [
        "badkey not_checkable",
        "blocked status_mismatch",
        "disabled status_mismatch",
        "expired missing_in_provider",
        "not status_mismatch",
        "odd unclassified",
    ];
    assert_eq!(room.house.found(), wanted);
    let differs = room
        .house
        .texts("SELECT what_differs FROM discrepancies WHERE what_differs LIKE 'binding: %' ORDER BY 1");
    assert_eq!(
        differs,
        [
            "binding: paid -> DISABLED",
            "binding: paid -> NOT FOUND",
            "binding: paid -> absent"
        ]
    );
    let mail = room.house.mail();
    assert_eq!(mail.matches("reconciled ayoconnect bind-link job").count(), 3, "{mail}");
    // Nothing but reading.
    let paths: std::collections::BTreeSet<String> = room.server.seen().iter().map(|s| s.path().to_owned()).collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), [V2_TOKEN, V2_BINDING]);
    assert_eq!(room.house.places_of(&PRIVATE), Vec::<String>::new());
    // The code of a binding's session: in the merchant's own ledger, and nowhere else.
    let codes = [id("active", "payment"), id("disabled", "payment")];
    let places = room
        .house
        .places_of(&codes.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(places.iter().all(|place| place.contains(".db")), "{places:?}");
    for table in ["windows", "transactions", "discrepancies"] {
        let text = format!("SELECT * FROM {table}");
        assert_eq!(room.house.dump(&text).matches(&codes[1]).count(), 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_killed_anywhere_asks_about_no_settled_key_twice_in_the_same_night() {
    for (api, kill_after) in [(Api::V2, 0), (Api::V2, 7), (Api::V3, 3), (Api::V3, 12)] {
        let room = Room::new(api, agreed(api)).await;
        let names: Vec<String> = (0..12).map(|i| format!("n{i:02}")).collect();
        let lines: Vec<String> = names.iter().map(|name| format!("{name} paid")).collect();
        room.ledger(&lines);
        for name in &names {
            let slow = Answer::After(Duration::from_millis(20), Box::new(room.paid(name)));
            room.knows(name, vec![slow]);
        }
        let mut run = room.house.start(&["run", "--as-of", NIGHT]);
        let begun = Instant::now();
        while room.asked().len() < kill_after && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        let settled = if room.house.folder.path().join("reconciled.db").exists() {
            room.house
                .texts("SELECT subject FROM windows WHERE subject <> '' AND state = 'sealed'")
        } else {
            Vec::new()
        };
        let before = room.asked().len();
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, 0, "{api:?} {kill_after}: {}", night.stderr);
        let after = room.asked().split_off(before);
        assert!(after.iter().all(|key| !settled.contains(key)), "{api:?} {kill_after}");
        assert!(
            before + after.len() <= 12 + 2,
            "{api:?} {kill_after}: {before} + {}",
            after.len()
        );
        assert_eq!((room.house.matched().len(), room.house.found().len()), (12, 0));
    }
}
