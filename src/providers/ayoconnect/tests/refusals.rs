use super::*;

fn judge(settings: &str, status: u16, body: &str) -> Judgement {
    let subject = if settings.contains("v3") { PAYMENT } else { FLOW };
    provider(settings).judge(&ask(PAYMENTS, subject), &reply(status, body))
}

#[test]
fn only_the_not_found_code_makes_a_payment_missing() {
    assert!(matches!(judge(V3, 404, &code("4045501")), Judgement::Absent { .. }));
    assert!(matches!(judge(V3, 200, &code("4045501")), Judgement::Absent { .. }));
    assert!(
        matches!(judge(V2, 404, &code("4045501")), Judgement::Refused { .. }),
        "not of this generation"
    );
    assert!(matches!(
        judge(V2, 404, &code("4043601")),
        Judgement::Refused {
            class: Class::Protocol,
            ..
        }
    ));
    let agreed = format!("{V2}\nnot_found_codes = [\"4043601\"]");
    assert!(matches!(
        judge(&agreed, 404, &code("4043601")),
        Judgement::Absent { .. }
    ));
    assert!(matches!(
        judge(V3, 404, "<html>"),
        Judgement::Refused {
            class: Class::Config,
            ..
        }
    ));
    assert!(matches!(
        judge(V3, 404, ""),
        Judgement::Refused {
            class: Class::Config,
            ..
        }
    ));
    assert!(
        matches!(judge(V3, 500, &code("4045501")), Judgement::Retry { .. }),
        "the gateway failed"
    );
    let parsed = provider(V3).parse(&ask(PAYMENTS, PAYMENT), 0, code("4045501").as_bytes());
    assert_eq!(parsed, Parsed::default(), "its proof lists nothing");
}

#[test]
fn no_http_error_ever_says_anything_about_a_payment() {
    for status in [500, 502, 503, 504, 408, 425, 429] {
        for body in [
            "",
            "<html>bad gateway</html>",
            r#"{"responseCode":"2005500","latestTransactionStatus":"06"}"#,
        ] {
            assert!(
                matches!(judge(V3, status, body), Judgement::Retry { .. }),
                "{status} {body}"
            );
        }
    }
    for body in ["", "<html>", "nonsense"] {
        assert!(matches!(judge(V3, 200, body), Judgement::Retry { .. }), "{body}");
    }
    assert!(
        matches!(judge(V2, 200, &code("5000000")), Judgement::Retry { .. }),
        "trouble inside a success"
    );
    assert!(matches!(
        judge(V2, 307, ""),
        Judgement::Fail {
            class: Class::Protocol,
            ..
        }
    ));
}

#[test]
fn the_other_refusals_mean_what_the_table_says() {
    for (status, body, class) in [
        (400, code("4005500"), Class::Protocol),
        (400, code("4005501"), Class::Protocol),
        (400, code("4005502"), Class::Protocol),
        (200, code("4005502"), Class::Protocol),
        (403, code("4033305"), Class::Protocol),
        (403, code("4033307"), Class::Protocol),
        (403, code("4033318"), Class::Protocol),
        (403, code("4033320"), Class::Config),
        (403, String::new(), Class::Protocol),
        (202, code("2025500"), Class::Partial),
        (200, code("2025500"), Class::Partial),
        (200, "{}".to_owned(), Class::Protocol),
        (200, code("200"), Class::Protocol),
        (418, String::new(), Class::Protocol),
        (200, code("1005500"), Class::Protocol),
    ] {
        let judged = judge(V3, status, &body);
        assert!(
            matches!(&judged, Judgement::Refused { class: c, .. } if *c == class),
            "{status} {body}: {judged:?}"
        );
    }
    for (status, body) in [
        (401, code("4015500")),
        (401, code("4015501")),
        (401, String::new()),
        (200, code("4013600")),
    ] {
        assert!(
            matches!(judge(V3, status, &body), Judgement::Renew { .. }),
            "{status} {body}"
        );
    }
    for body in [code("4095500"), String::new()] {
        let judged = judge(V3, 409, &body);
        assert!(
            matches!(judged, Judgement::Retry { after: Some(after), .. } if after.as_secs() == 7),
            "{judged:?}"
        );
    }
    assert!(
        matches!(judge(V3, 429, &code("4295500")), Judgement::Retry { after: Some(after), .. } if after.as_secs() == 7)
    );
    assert!(matches!(judge(V3, 200, &code("4295500")), Judgement::Retry { .. }));
}

#[test]
fn an_answer_about_another_payment_is_no_answer() {
    let body = |id: &str| {
        format!(r#"{{"responseCode":"2005500","originalReferenceNo":"{id}","latestTransactionStatus":"00"}}"#)
    };
    assert_eq!(judge(V3, 200, &body(PAYMENT)), Judgement::Page);
    assert!(matches!(
        judge(V3, 200, &body(FLOW)),
        Judgement::Refused {
            class: Class::Protocol,
            ..
        }
    ));
    let parsed = provider(V3).parse(&ask(PAYMENTS, PAYMENT), 0, body(FLOW).as_bytes());
    assert_eq!((parsed.transactions.len(), parsed.unreadable.len()), (0, 1));
}

#[test]
fn an_answer_that_bears_another_reference_than_the_ledger_is_no_answer() {
    let v2 = |reference: &str| {
        format!(r#"{{"responseCode":"2003600","referenceNo":"{PAYMENT}","partnerReferenceNo":{reference}}}"#)
    };
    let v3 = |reference: &str| {
        format!(
            r#"{{"responseCode":"2005500","originalReferenceNo":"{PAYMENT}","originalPartnerReferenceNo":{reference},"latestTransactionStatus":"00"}}"#
        )
    };
    let asked = |settings: &str, key: &str, body: String| {
        provider(settings).judge(&ask(PAYMENTS, &format!("{key}|{PARTNER}|{FLOW}")), &reply(200, &body))
    };
    for said in [format!("\"{PARTNER}\""), "null".to_owned(), "\"\"".to_owned()] {
        assert_eq!(asked(V2, FLOW, v2(&said)), Judgement::Page, "{said}");
        assert_eq!(asked(V3, PAYMENT, v3(&said)), Judgement::Page, "{said}");
    }
    for judged in [
        asked(V2, FLOW, v2("\"another\"")),
        asked(V3, PAYMENT, v3("\"another\"")),
    ] {
        assert!(
            matches!(&judged, Judgement::Refused { class: Class::Config, why } if why.contains("partnerReferenceNo")),
            "{judged:?}"
        );
    }
}

#[test]
fn a_success_without_a_record_of_the_generation_is_not_asked_for_again() {
    let v2 = format!(r#"{{"responseCode":"2003600","referenceNo":"{PAYMENT}"}}"#);
    let v3 = r#"{"responseCode":"2005500","latestTransactionStatus":"00"}"#;
    for (settings, body) in [(V2, v3), (V3, &v2), (V2, r#"{"responseCode":"2003600"}"#)] {
        assert!(
            matches!(
                judge(settings, 200, body),
                Judgement::Refused {
                    class: Class::Config,
                    ..
                }
            ),
            "{body}"
        );
    }
    // What cannot be read may be whole the next time.
    assert!(matches!(
        judge(V2, 200, r#"{"responseCode":"2003600","ref"#),
        Judgement::Retry { .. }
    ));
}

#[test]
fn any_success_code_will_do_but_the_record_must_be_of_the_configured_generation() {
    let v2 =
        format!(r#"{{"responseCode":"2003330","referenceNo":"{PAYMENT}","amount":{{"value":"1","currency":"IDR"}}}}"#);
    let v3 =
        format!(r#"{{"responseCode":"2000000","originalReferenceNo":"{PAYMENT}","latestTransactionStatus":"00"}}"#);
    let head = |settings: &str, body: &str| {
        provider(settings)
            .head(&ask(PAYMENTS, PAYMENT), 0, body.as_bytes())
            .is_ok()
    };
    assert_eq!((head(V2, &v2), head(V2, &v3)), (true, false));
    assert_eq!((head(V3, &v3), head(V3, &v2)), (true, false));
}
