use super::*;
use crate::providers::binding::BindingWish;

fn wish() -> BindingWish {
    BindingWish {
        mobile: Some("6281234567890".into()),
        bank_code: Some("002".into()),
        redirect_url: Some("https://shop.example/bind/ok".into()),
        failure_redirect_url: Some("https://shop.example/bind/fail".into()),
        lang: Some("EN".into()),
        state: FLOW.into(),
        external_id: PAYMENT.into(),
        ..BindingWish::default()
    }
}

#[test]
fn the_documents_request_for_a_link_is_made() {
    let asked = provider(V2).binding_request(&wish()).unwrap();
    assert_eq!(asked.request.path, "/api/v1.0/get-auth-code");
    assert_eq!(
        asked.request.query,
        "redirectUrl=https%3A%2F%2Fshop.example%2Fbind%2Fok&failureRedirectUrl=https%3A%2F%2Fshop.example%2Fbind%2Ffail&scopes=CARD_REGISTRATION&state=e1d2c3b4a5968778695a4b3c2d1e0f10&merchantId=TSTMER&lang=EN&seamlessData=%7B%22mobileNumber%22%3A%226281234567890%22%2C%22bankCode%22%3A%22002%22%7D"
    );
    let more = BindingWish {
        info: vec!["order 7".into(), "b@c".into()],
        lang: None,
        ..wish()
    };
    let query = provider(V2).binding_request(&more).unwrap().request.query;
    assert!(query.contains("&lang=ID&"), "always sent");
    assert!(query.ends_with(
        "&additionalInfo=%7B%22additionalInfo1%22%3A%22order%207%22%2C%22additionalInfo2%22%3A%22b%40c%22%7D"
    ));
    let mut signed = asked.request;
    provider(V2).sign(&mut signed, Some(&session()), &keys(), now());
    assert_eq!(
        header(&signed, "X-EXTERNAL-ID"),
        Some(PAYMENT),
        "the flow begins with it"
    );
    assert!(
        header(&signed, "X-SIGNATURE").unwrap().starts_with("7d600b21"),
        "vector 1"
    );
}

#[test]
fn every_broken_rule_is_named_and_no_value_is_repeated() {
    let some = |text: &str| Some(text.to_owned());
    let long = "a".repeat(101);
    for (name, broken) in [
        ("seamlessData", BindingWish { mobile: None, ..wish() }),
        (
            "--mobile",
            BindingWish {
                mobile: some("+62812345678"),
                ..wish()
            },
        ),
        (
            "--mobile",
            BindingWish {
                mobile: some("12345678"),
                ..wish()
            },
        ),
        (
            "--mobile",
            BindingWish {
                mobile: some("12345678901234"),
                ..wish()
            },
        ),
        (
            "--user-id",
            BindingWish {
                user_id: some("a b"),
                ..wish()
            },
        ),
        (
            "--user-id",
            BindingWish {
                user_id: some("123456789012345678901"),
                ..wish()
            },
        ),
        (
            "--bank-code",
            BindingWish {
                bank_code: some("02"),
                ..wish()
            },
        ),
        (
            "--lang",
            BindingWish {
                lang: some("en"),
                ..wish()
            },
        ),
        (
            "--redirect-url",
            BindingWish {
                redirect_url: some("/bind/ok"),
                ..wish()
            },
        ),
        (
            "--redirect-url",
            BindingWish {
                redirect_url: some("javascript:alert(1)"),
                ..wish()
            },
        ),
        (
            "--failure-redirect-url",
            BindingWish {
                failure_redirect_url: some("shop.example"),
                ..wish()
            },
        ),
        (
            "--info",
            BindingWish {
                info: vec![String::new()],
                ..wish()
            },
        ),
        (
            "--info",
            BindingWish {
                info: vec![long],
                ..wish()
            },
        ),
        (
            "--info",
            BindingWish {
                info: vec!["a\"b".into()],
                ..wish()
            },
        ),
        (
            "--info",
            BindingWish {
                info: vec!["a".into(); 4],
                ..wish()
            },
        ),
        (
            "state",
            BindingWish {
                state: FLOW[1..].into(),
                ..wish()
            },
        ),
    ] {
        let why = provider(V2).binding_request(&broken).unwrap_err();
        assert!(why.contains(name), "{name}: {why}");
        assert!(
            !why.contains("812345678") && !why.contains("a b") && !why.contains("shop"),
            "{why}"
        );
    }
    let alone = BindingWish {
        mobile: None,
        user_id: some("user/1_-"),
        ..wish()
    };
    assert!(provider(V2).binding_request(&alone).is_ok());
    assert!(provider(V3).binding_request(&wish()).unwrap_err().contains("v3"));
}

#[test]
fn a_link_is_given_only_when_the_state_came_back() {
    let provider = provider(&format!(
        "{V2}\nwebview_base_url = \"https://pay.example/bind?authCode=\""
    ));
    let asked = provider.binding_request(&wish()).unwrap();
    let answer = |state: &str, code: &str| {
        let body = format!(
            r#"{{"responseCode":"2003000","responseMessage":"success","authCode":"{code}","state":"{state}"}}"#
        );
        provider.binding_link(&asked, &reply(200, &body))
    };
    let link = answer(FLOW, CODE).unwrap();
    assert_eq!(
        link.url.unwrap().expose_secret(),
        format!("https://pay.example/bind?authCode={CODE}")
    );
    assert_eq!(link.code.expose_secret(), CODE);
    for (state, code) in [(PAYMENT, CODE), ("", CODE), (FLOW, "short"), (FLOW, "")] {
        let refused = answer(state, code).unwrap_err();
        assert!(
            matches!(
                refused,
                Judgement::Refused {
                    class: Class::Protocol,
                    ..
                }
            ),
            "{refused:?}"
        );
        assert!(!format!("{refused:?}").contains(CODE));
    }
    let judged = |status, body: &str| provider.binding_link(&asked, &reply(status, body)).unwrap_err();
    assert!(matches!(judged(401, ""), Judgement::Renew { .. }));
    assert!(matches!(judged(200, &code("4013001")), Judgement::Renew { .. }));
    assert!(matches!(judged(400, &code("4003001")), Judgement::Refused { .. }));
    assert!(matches!(judged(200, &code("4003001")), Judgement::Refused { .. }));
    assert!(matches!(judged(200, &code("5003000")), Judgement::Refused { .. }));
    assert!(matches!(judged(503, ""), Judgement::Retry { .. }));
    let plain = other(V2);
    let asked = plain.binding_request(&wish()).unwrap();
    let body = format!(r#"{{"responseCode":"2003000","authCode":"{CODE}","state":"{FLOW}"}}"#);
    assert!(plain.binding_link(&asked, &reply(200, &body)).unwrap().url.is_none());
}
