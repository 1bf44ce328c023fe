//! Bindings, and codes for new ones.

use super::*;

#[tokio::test]
async fn bindings_are_read_by_their_flow_and_say_whether_they_hold() {
    let mut world = plant::demo_world(3);
    world.set_now(at("2026-03-20T09:30:00Z"));
    let out = outside(world, "").await;
    let token = out.v2_token().await;
    let body = |reference: &str, code: &str| {
        format!(r#"{{"partnerReferenceNo":"{reference}","authCode":"{code}","merchantId":"TSTMER"}}"#)
    };
    let bindings = out.running.world().lock().unwrap().ayoconnect.bindings.clone();
    let mut disabled = 0;
    for binding in &bindings {
        let ask = Ask::new("POST", BINDING, &token, &binding.external_id);
        let got = out
            .ask(&ask.with_body(&body(&binding.partner_reference, &binding.auth_code)))
            .await;
        assert_eq!(code(&got), is(200, "2003100"));
        let row = got.row();
        let expected = binding.life.0.last().unwrap().1;
        assert_eq!(row.text("tokenStatus"), expected);
        assert_eq!(row.text("accountToken").len(), 32);
        assert!(row.row("additionalInfo").text("maskedCard").starts_with("************"));
        disabled += usize::from(expected == "DISABLED");
    }
    assert_eq!(disabled, 2);
    let (reference, auth_code) = ("1".repeat(32), "a".repeat(32));
    let ask = |flow: &str, body: &str| Ask::new("POST", BINDING, &token, flow).with_body(body);
    let unknown = out.ask(&ask(&"e".repeat(32), &body(&reference, &auth_code))).await;
    assert_eq!(
        (unknown.status, unknown.row().text("tokenStatus").as_str()),
        (200, "NOT FOUND")
    );
    let crossed = out
        .ask(&ask(&bindings[0].external_id, &body(&reference, &auth_code)))
        .await;
    assert_eq!(code(&crossed), is(409, "4093100"));
    let short = out.ask(&ask(&bindings[0].external_id, &body("1", &auth_code))).await;
    assert_eq!(code(&short), is(400, "4003101"));
}

const SEAMLESS: &str = r#"{"mobileNumber":"6281234567890","bankCode":"002"}"#;

fn code_query(changes: &[(&str, Option<&str>)]) -> String {
    let mut query = BTreeMap::from([
        ("redirectUrl", "https://shop.example/bind/ok".to_owned()),
        ("failureRedirectUrl", "https://shop.example/bind/fail".to_owned()),
        ("scopes", "CARD_REGISTRATION".to_owned()),
        ("state", "e1d2c3b4a5968778695a4b3c2d1e0f10".to_owned()),
        ("merchantId", "TSTMER".to_owned()),
        ("lang", "EN".to_owned()),
        ("seamlessData", SEAMLESS.to_owned()),
    ]);
    for (name, value) in changes {
        match value {
            Some(value) => query.insert(name, (*value).to_owned()),
            None => query.remove(name),
        };
    }
    let pairs: Vec<String> = query.iter().map(|(n, v)| format!("{n}={}", encoded(v))).collect();
    pairs.join("&")
}

#[tokio::test]
async fn a_code_for_a_new_binding_is_given_once_per_state_and_flow_and_only_for_good_parameters() {
    let out = ordinary("").await;
    let token = out.v2_token().await;
    let ask = async |flow: &str, changes: &[(&str, Option<&str>)]| {
        out.ask(&Ask::new("GET", CODE, &token, flow).with_query(&code_query(changes)))
            .await
    };
    let flow = "0123456789abcdefghijklmnopqrstuv";
    let big = "9".repeat(14);
    for (changes, response) in [
        (vec![("scopes", None)], "4003002"),
        (vec![("scopes", Some("ALL"))], "4003001"),
        (vec![("state", Some("e1d2"))], "4003001"),
        (vec![("state", Some("e1d2c3b4-5968778695a4b3c2d1e0f10"))], "4003001"),
        (vec![("merchantId", Some("TST"))], "4003001"),
        (vec![("lang", None)], "4003002"),
        (vec![("lang", Some("FR"))], "4003001"),
        (vec![("redirectUrl", Some("/bind/ok"))], "4003001"),
        (vec![("seamlessData", None)], "4003002"),
        (vec![("seamlessData", Some(r#"{"bankCode":"002"}"#))], "4003002"),
        (
            vec![("seamlessData", Some(r#"{"mobileNumber":"12345678"}"#))],
            "4003001",
        ),
        (
            vec![("seamlessData", Some(&format!(r#"{{"mobileNumber":"{big}"}}"#)))],
            "4003001",
        ),
        (
            vec![("seamlessData", Some(r#"{"mobileNumber": "6281234567890"}"#))],
            "4003001",
        ),
        (vec![("seamlessData", Some(r#"{"userId":"who are you"}"#))], "4003001"),
        (
            vec![("seamlessData", Some(r#"{"userId":"u1","bankCode":"2"}"#))],
            "4003001",
        ),
        (vec![("seamlessData", Some(r#"{"userId":"u1","name":"x"}"#))], "4003001"),
        (vec![("additionalInfo", Some(r#"{"additionalInfo4":"x"}"#))], "4003001"),
        (
            vec![("additionalInfo", Some(r#"{"additionalInfo1":"<b>"}"#))],
            "4003001",
        ),
        (vec![("more", Some("1"))], "4003000"),
    ] {
        let got = ask(flow, &changes).await;
        assert_eq!(code(&got), is(400, response), "{changes:?}: {}", got.body);
    }
    let opened = || out.running.world().lock().unwrap().doors.ayoconnect.sessions.len();
    assert_eq!(opened(), 0, "a refused call opens nothing");
    let got = ask(flow, &[("additionalInfo", Some(r#"{"additionalInfo1":"re-bind 42"}"#))]).await;
    assert_eq!(code(&got), is(200, "2003000"));
    assert_eq!(got.row().text("state"), "e1d2c3b4a5968778695a4b3c2d1e0f10");
    assert!(got.row().text("authCode").len() == 32 && opened() == 1);
    assert_eq!(
        code(&ask(flow, &[("state", Some(&"s".repeat(32)))]).await),
        is(409, "4093000")
    );
    assert_eq!(
        code(&ask(&"g".repeat(32), &[]).await),
        is(409, "4093000"),
        "a state twice"
    );
}
