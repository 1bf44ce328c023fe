//! Tests of [`super::scrub`].

use proptest::prelude::*;

use super::*;

const PRIVATE: &[&str] = &["clientDocument", "payer"];
const IDENTITY: &[&str] = &["id", "externalId", "referenceId"];

fn scrubbed(body: &str) -> String {
    String::from_utf8(scrub(body.as_bytes(), PRIVATE, IDENTITY).into_owned()).unwrap()
}

#[test]
fn a_body_without_anything_to_mask_is_passed_through_untouched() {
    let body = r#"{"id":"4111111111111111","amount": 150.00 ,"at":"2026-03-04T10:15:02Z","t":1741071600123,"u":"550e8400-e29b-41d4-a716-446655440000"}"#;
    assert!(matches!(scrub(body.as_bytes(), PRIVATE, IDENTITY), Cow::Borrowed(b) if b == body.as_bytes()));
}

#[test]
fn card_numbers_keep_their_first_six_and_last_four_digits() {
    for (text, expected) in [
        ("4111111111111111", "411111******1111"),
        ("4222222222222", "422222***2222"),
        ("5500005555555559", "550000******5559"),
        ("2223003122003222", "222300******3222"),
        ("378282246310005", "378282*****0005"),
        ("6011111111111117", "601111******1117"),
        ("3530111333300000", "353011******0000"),
        ("30569309025904", "305693****5904"),
        ("6200000000000005", "620000******0005"),
        ("4111 1111 1111 1111", "4111 11** **** 1111"),
        ("4111-1111-1111-1111", "4111-11**-****-1111"),
        ("3782 822463 10005", "3782 82**** *0005"),
        (
            "paid with 4111111111111111, thanks",
            "paid with 411111******1111, thanks",
        ),
        (
            "on 2026-03-04 4111111111111111 was used",
            "on 2026-03-04 411111******1111 was used",
        ),
        ("room 12 4111 1111 1111 1111", "room 12 4111 11** **** 1111"),
        ("%B4111111111111111^DOE/JOHN^2512", "%B411111******1111^DOE/JOHN^2512"),
        (";4111111111111111=2512101", ";411111******1111=2512101"),
        ("4111111111111111/5500005555555559", "411111******1111/550000******5559"),
    ] {
        assert_eq!(
            scrubbed(&format!(r#"{{"note":"{text}"}}"#)),
            format!(r#"{{"note":"{expected}"}}"#)
        );
    }
}

#[test]
fn what_only_looks_like_a_card_number_stays() {
    for text in [
        "4111111111111112",        // check digit
        "9111111111111116",        // no brand
        "41111111111111111111111", // too long
        "ORD4111111111111111",     // a word
        "4111111111111111a",
        "1.4111111111111111", // a fraction
        "20260304101502",     // a time
        "+51 987 654 321",
        "a716-446655440000",
    ] {
        let body = format!(r#"{{"note":"{text}"}}"#);
        assert_eq!(scrubbed(&body), body);
    }
}

#[test]
fn ids_and_references_keep_their_long_numbers() {
    let body = r#"{"externalId":"4111111111111111","id":4111111111111111,"referenceId":["5500005555555559"]}"#;
    assert_eq!(scrubbed(body), body);
}

#[test]
fn a_bare_card_number_stays_a_number() {
    assert_eq!(
        scrubbed(r#"{"n":4111111111111111,"m":[378282246310005]}"#),
        r#"{"n":4111110000001111,"m":[378282000000005]}"#
    );
    assert_eq!(scrubbed(r#"{"n":4222222222222}"#), r#"{"n":4222222222222}"#);
    assert_eq!(
        scrubbed(r#"{"cardNumber":4222222222222}"#),
        r#"{"cardNumber":4222220002222}"#
    );
}

#[test]
fn security_codes_and_tracks_are_masked_wholly_wherever_they_stand() {
    for key in [
        "cvv",
        "CVV",
        "cvc",
        "cvv2",
        "security_code",
        "securityCode",
        "pin",
        "track2",
        "track_data",
        "trackData",
    ] {
        for (value, expected) in [
            (r#""737""#, r#""***""#),
            ("737", "0"),
            ("null", "null"),
            (r#""""#, r#""""#),
            (r#"{"v":"737","w":[1,"2"]}"#, r#"{"v":"***","w":[0,"***"]}"#),
        ] {
            let body = format!(r#"{{"a":[{{"{key}" : {value}, "b":"737"}}]}}"#);
            assert_eq!(
                scrubbed(&body),
                format!(r#"{{"a":[{{"{key}" : {expected}, "b":"737"}}]}}"#)
            );
        }
    }
    let other = r#"{"trackingNumber":"737","pinned":"yes","tracks":3}"#;
    assert_eq!(scrubbed(other), other);
}

#[test]
fn a_field_named_as_a_card_number_is_masked_without_proof() {
    for (value, expected) in [
        ("4111111111111112", "411111******1112"),
        ("4111 1111 1111 1112", "4111 11** **** 1112"),
        ("411111******1111", "411111******1111"),
        ("1111", "1111"),
        ("XXXX-1234", "XXXX-1234"),
        ("123456789012", "***"),
        ("ABCDE1234F", "***"),
        ("12345678901234567890123", "***"),
    ] {
        for key in ["pan", "card_number", "cardNumber"] {
            assert_eq!(
                scrubbed(&format!(r#"{{"{key}":"{value}"}}"#)),
                format!(r#"{{"{key}":"{expected}"}}"#)
            );
        }
    }
}

#[test]
fn private_fields_are_masked_and_keep_their_kind() {
    assert_eq!(
        scrubbed(
            r#"{"clientDocument":"70112233","payer":{"name":"María \"M\"","age":31,"ok":true,"none":null},"x":"70112233"}"#
        ),
        r#"{"clientDocument":"***","payer":{"name":"***","age":0,"ok":true,"none":null},"x":"70112233"}"#
    );
}

#[test]
fn escapes_hide_nothing() {
    for (body, expected) in [
        (r#"{"c\u0076v":"737"}"#, r#"{"c\u0076v":"***"}"#),
        (r#"{"n":"\u0034111111111111111"}"#, r#"{"n":"\u003411111******1111"}"#),
        (
            r#"{"n":"4111\u00a01111\u00a01111\u00a01111"}"#,
            r#"{"n":"4111\u00a011**\u00a0****\u00a01111"}"#,
        ),
        (r#"{"n":"a\"4111111111111111\""}"#, r#"{"n":"a\"411111******1111\""}"#),
        (r#"{"n":"\\4111111111111111"}"#, r#"{"n":"\\411111******1111"}"#),
        (
            "{\"n\":\"4111\u{2013}1111\u{2013}1111\u{2013}1111 Perú\"}",
            "{\"n\":\"4111\u{2013}11**\u{2013}****\u{2013}1111 Perú\"}",
        ),
    ] {
        assert_eq!(scrubbed(body), expected, "{body}");
    }
}

#[test]
fn json_kept_as_text_is_looked_into() {
    assert_eq!(
        scrubbed(r#"{"raw":"{\"cvv\":\"737\",\"n\":\"4111111111111111\"}","same":"{\"a\":1}"}"#),
        r#"{"raw":"{\"cvv\":\"***\",\"n\":\"411111******1111\"}","same":"{\"a\":1}"}"#
    );
}

#[test]
fn bytes_that_are_no_json_are_survived_and_masked_where_possible() {
    for (body, expected) in [
        (&b"{\"n\":\"4111111111111111"[..], &b"{\"n\":\"411111******1111"[..]),
        (b"\"", b"\""),
        (b"\"\\", b"\"\\"),
        (b"{\"n\":\"\\u00", b"{\"n\":\"\\u00"),
        (b"]]]]}}}}", b"]]]]}}}}"),
        (b"\xff\xfe{\"cvv\":\"7\"}", b"\xff\xfe{\"cvv\":\"***\"}"),
        (
            b"{\"n\":\"\xff 4111111111111111\"}",
            b"{\"n\":\"\xff 411111******1111\"}",
        ),
    ] {
        assert_eq!(&*scrub(body, PRIVATE, IDENTITY), expected);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        "[0-9 -]{0,24}".prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
        Just("4111 1111 1111 1111".into()),
        Just(4_111_111_111_111_111_u64.into()),
    ];
    let key = prop_oneof![
        Just("cvv".to_owned()),
        Just("pan".to_owned()),
        Just("id".to_owned()),
        Just("payer".to_owned()),
        "[a-z\"\\\\]{1,6}"
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// The slow, obvious reading of what must hold after scrubbing.
fn nothing_left(value: &serde_json::Value, hidden: bool) -> bool {
    match value {
        serde_json::Value::String(text) => !hidden || text.is_empty() || text == "***",
        serde_json::Value::Number(number) => !hidden || number.as_u64() == Some(0),
        serde_json::Value::Array(items) => items.iter().all(|v| nothing_left(v, hidden)),
        serde_json::Value::Object(fields) => fields
            .iter()
            .all(|(k, v)| nothing_left(v, hidden || k == "cvv" || k == "payer")),
        _ => true,
    }
}

proptest! {
    #[test]
    fn json_stays_json_of_the_same_shape_and_scrubbing_twice_changes_nothing(value in json(), pretty in any::<bool>()) {
        let body = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let once = scrub(&body, PRIVATE, IDENTITY).into_owned();
        let read: serde_json::Value = serde_json::from_slice(&once).unwrap();
        prop_assert!(nothing_left(&read, false), "{read}");
        prop_assert_eq!(&*scrub(&once, PRIVATE, IDENTITY), &once[..]);
        let text = String::from_utf8(once).unwrap();
        // Under an id a long number may stay.
        if !text.contains("\"id\"") {
            prop_assert!(!text.contains("4111 1111 1111 1111") && !text.contains("4111111111111111"), "{text}");
        }
    }

    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = scrub(&body, PRIVATE, IDENTITY);
    }
}
