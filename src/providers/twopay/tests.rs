use secrecy::ExposeSecret;

use super::*;
use crate::config::Source;
use crate::day::parse_instant;
use crate::failure::Class;
use crate::providers::{Method, StatementItem, Total};
use crate::record::{Balance, TransactionKind};
use crate::window::Window;

fn built(more: &str) -> (Option<Built>, Vec<String>) {
    let text = format!(
        "base_url = \"https://api.example.com\"\nclient_id = \"54\"\nclient_secret = \"env:S\"\napi_key = \"env:K\"\n{more}"
    );
    let source = Source {
        file: "twopay.toml",
        text: &text,
    };
    let mut section = Section::parse(&source);
    let built = build(&mut section);
    (built, section.finish().into_iter().map(|p| p.message).collect())
}

fn provider(more: &str) -> Arc<dyn Provider> {
    let (built, problems) = built(more);
    assert_eq!(problems, Vec::<String>::new());
    built.unwrap().provider
}

const BALANCES: &str =
    "payin_balance_path = \"/co/v1/payment/balance\"\npayout_balance_path = \"/co/v1/payout/balance\"";

fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

fn ask(feed: &'static str, subject: Option<&str>) -> Ask {
    Ask {
        feed,
        window: Window {
            from: at("2026-01-15T05:00:00Z"),
            until: at("2026-01-16T05:00:00Z"),
        },
        subject: subject.map(str::to_owned),
        beside: Vec::new(),
        account: String::new(),
        as_of: at("2026-01-16T07:30:00Z"),
        zone: chrono_tz::America::Bogota,
        calibration: Arc::default(),
    }
}

fn payout() -> Ask {
    ask(PAYOUTS, Some("PO-1"))
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status,
        headers: vec![("retry-after".into(), "7".into())],
        body: body.as_bytes().to_vec(),
        received_at: at("2026-01-16T07:30:00Z"),
    }
}

fn keys() -> Keys {
    Keys::from([
        ("client_secret".into(), "s3cr3t-made-up".into()),
        ("api_key".into(), "static-key".into()),
    ])
}

// -- settings -----------------------------------------------------------------------------------------------------------

#[test]
fn the_defaults_are_the_documents() {
    let (built, problems) = built("");
    assert_eq!(problems, Vec::<String>::new());
    let built = built.unwrap();
    assert_eq!(built.limits.requests_per_minute, 300);
    assert_eq!(built.limits.max_in_flight, 4);
    assert_eq!(built.limits.lookback, TimeDelta::days(7));
    assert_eq!(built.account_key, "54");
    let feeds: Vec<&str> = built.provider.feeds().iter().map(|feed| feed.name).collect();
    assert_eq!(feeds, [PAYINS, PAYOUTS], "balances are off until their paths are set");
    let feeds: Vec<&str> = provider(BALANCES).feeds().iter().map(|feed| feed.name).collect();
    assert_eq!(feeds, [PAYINS, PAYOUTS, PAYIN_BALANCE, PAYOUT_BALANCE]);
    assert_eq!(provider("").max_lookups(), None);
    assert_eq!(provider("max_lookups = 3").max_lookups(), Some(3));
    assert_eq!(provider("").lookup_key(PAYINS), LookupKey::Reference);
    assert_eq!(
        provider("lookup_column = \"provider_id\"").lookup_key(PAYINS),
        LookupKey::ProviderId
    );
}

#[test]
fn paths_are_joined_with_one_slash_and_keys_are_encoded() {
    for settings in ["", "path_prefix = \"/co/v1/\""] {
        let provider = provider(settings);
        let path = |feed, key| provider.request(&ask(feed, Some(key)), 0, &[]).path;
        assert_eq!(path(PAYOUTS, "PO-20260115-000042"), "/co/v1/payout/PO-20260115-000042");
        assert_eq!(path(PAYINS, "a/b c?d#ü"), "/co/v1/payment/a%2Fb%20c%3Fd%23%C3%BC");
        assert_eq!(
            provider.login(&keys(), at("2026-01-16T07:30:00Z")).unwrap().path,
            "/co/v1/oauth2/token"
        );
    }
    for bad in ["", ".", "..", "a\nb"] {
        assert!(provider("").lookup_problem(PAYINS, bad, &[]).is_some(), "{bad:?}");
    }
}

// -- the session --------------------------------------------------------------------------------------------------------

#[test]
fn the_login_is_json_with_the_id_as_text_and_every_call_carries_token_and_key() {
    let login = provider("").login(&keys(), at("2026-01-16T07:30:00Z")).unwrap();
    assert_eq!(login.method, Method::Post);
    assert_eq!(
        String::from_utf8(login.body).unwrap(),
        r#"{"client_id":"54","client_secret":"s3cr3t-made-up"}"#
    );
    let session = provider("")
        .session(&reply(
            200,
            r#"{"code":200,"message":"SUCCESS","data":{"access_token":"eyJ.x","expires_in":7200,"token_type":"Bearer"}}"#,
        ))
        .unwrap();
    assert!(session.warnings.is_empty());
    let mut request = provider("").request(&payout(), 0, &[]);
    provider("").sign(&mut request, Some(&session), &keys(), at("2026-01-16T07:30:00Z"));
    let value = |name: &str| {
        request
            .headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(value("Authorization"), Some("Bearer eyJ.x"));
    assert_eq!(value("x-api-key"), Some("static-key"));
}

#[test]
fn a_token_lives_as_long_as_it_says_less_the_slack() {
    let life = |settings: &str, data: &str| {
        let body = format!(r#"{{"code":200,"data":{{"access_token":"t","token_type":"Bearer"{data}}}}}"#);
        let session = provider(settings).session(&reply(200, &body)).unwrap();
        (session.lifetime.map(|life| life.as_secs()), session.warnings.len())
    };
    assert_eq!(life("", ",\"expires_in\":7200"), (Some(7140), 0));
    assert_eq!(life("token_slack_s = 0", ",\"expires_in\":7200"), (Some(7200), 0));
    assert_eq!(
        life("", ",\"expires_in\":\"90\""),
        (Some(45), 0),
        "never renewed before every call"
    );
    assert_eq!(life("", ""), (None, 1));
}

#[test]
fn a_refused_login_is_a_matter_of_credentials_and_trouble_is_tried_again() {
    let open = |status, body: &str| {
        provider("")
            .session(&reply(status, body))
            .map(|s| s.token.expose_secret().to_owned())
    };
    for (status, body) in [
        (200, r#"{"code":401,"message":"bad client","data":null}"#),
        (401, ""),
        (401, r#"{"code":401}"#),
    ] {
        assert!(
            matches!(open(status, body), Err(Judgement::Fail { class: Class::Auth, .. })),
            "{status} {body}"
        );
    }
    // A whole answer that says nothing about the credentials.
    for body in [
        "{}",
        r#"{"code":200,"data":{}}"#,
        r#"{"code":200,"data":{"access_token":"a b"}}"#,
        r#"{"data":{"access_token":"t"}}"#,
    ] {
        let protocol = Class::Protocol;
        assert!(
            matches!(open(200, body), Err(Judgement::Fail { class, .. }) if class == protocol),
            "{body}"
        );
    }
    for (status, body) in [
        (503, r#"{"code":401}"#),
        (429, ""),
        (200, "<html>"),
        (200, ""),
        (
            200,
            r#"{"code":200,"message":"SUCCESS","data":{"access_token":"t","expires_"#,
        ),
    ] {
        assert!(
            matches!(open(status, body), Err(Judgement::Retry { .. })),
            "{status} {body}"
        );
    }
}

// -- refusals -----------------------------------------------------------------------------------------------------------

const PATTERNS: &str = "not_found_patterns = [\"Unknown Key\"]\nauth_patterns = [\"token expired\"]";

/// What a refusal means after the one renewal.
fn then(judgement: Judgement) -> Judgement {
    match judgement {
        Judgement::RenewThen { then, .. } => *then,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_401_is_asked_again_with_a_new_token_and_then_fails_the_lookup_but_never_the_record() {
    for (status, body) in [
        (200, r#"{"code":401,"message":"whatever"}"#),
        (200, r#"{"code":"401","message":null,"data":null}"#),
        (401, r#"{"code":401,"message":"whatever"}"#),
        (401, ""),
        (401, "<html>no</html>"),
        (404, r#"{"message":"nope"}"#),
        (400, r#"{"code":401}"#),
        (422, ""),
    ] {
        let judged = then(provider(PATTERNS).judge(&payout(), &reply(status, body)));
        assert!(
            matches!(
                judged,
                Judgement::Refused {
                    class: Class::Protocol,
                    ..
                }
            ),
            "{status} {body}: {judged:?}"
        );
    }
}

#[test]
fn only_an_agreed_pattern_means_an_unknown_key() {
    let body = r#"{"code":401,"message":"error: unknown KEY given"}"#;
    let judge = |settings: &str, ask: &Ask| then(provider(settings).judge(ask, &reply(200, body)));
    assert!(matches!(judge(PATTERNS, &payout()), Judgement::Absent { .. }));
    assert!(matches!(judge("", &payout()), Judgement::Refused { .. }));
    let balance = ask(PAYIN_BALANCE, None);
    assert!(matches!(
        judge(&format!("{PATTERNS}\n{BALANCES}"), &balance),
        Judgement::Refused { .. }
    ));
}

#[test]
fn the_proof_that_a_key_is_unknown_lists_nothing() {
    let body = br#"{"code":401,"message":"unknown key","data":null}"#;
    assert_eq!(provider(PATTERNS).parse(&payout(), 0, body), Parsed::default());
    let balance = provider(BALANCES).parse(&ask(PAYIN_BALANCE, None), 0, body);
    assert_eq!(balance.unreadable.len(), 1);
}

#[test]
fn an_agreed_pattern_of_credentials_stops_the_job_after_a_new_login() {
    let judged = provider(PATTERNS).judge(&payout(), &reply(200, r#"{"code":401,"message":"Token expired"}"#));
    assert!(matches!(judged, Judgement::Renew { .. }), "{judged:?}");
}

#[test]
fn trouble_is_tried_again_whatever_the_body_says_and_redirects_are_refused() {
    let judge = |status, body: &str| provider(PATTERNS).judge(&payout(), &reply(status, body));
    for (status, body) in [
        (500, r#"{"code":401,"message":"unknown key"}"#),
        (502, "<html>"),
        (504, ""),
        (429, r#"{"code":401}"#),
        (408, ""),
        (200, "<html>"),
        (200, ""),
        (200, "nonsense"),
    ] {
        assert!(
            matches!(judge(status, body), Judgement::Retry { .. }),
            "{status} {body}"
        );
    }
    assert!(matches!(judge(429, ""), Judgement::Retry { after: Some(after), .. } if after.as_secs() == 7));
    assert!(matches!(
        judge(302, ""),
        Judgement::Fail {
            class: Class::Protocol,
            ..
        }
    ));
    assert!(matches!(judge(403, ""), Judgement::Fail { class: Class::Auth, .. }));
    assert!(matches!(
        judge(200, r#"{"code":500}"#),
        Judgement::Refused {
            class: Class::Protocol,
            ..
        }
    ));
}

#[test]
fn an_answer_about_another_key_is_no_answer() {
    let body = |key: &str| format!(r#"{{"code":200,"data":{{"uniqueKey":"{key}","status":"SUCCESS","amount":"1"}}}}"#);
    let judge = |ask: &Ask, key: &str| provider(BALANCES).judge(ask, &reply(200, &body(key)));
    assert_eq!(judge(&payout(), "PO-1"), Judgement::Page);
    assert!(matches!(
        judge(&payout(), "PO-2"),
        Judgement::Refused {
            class: Class::Protocol,
            ..
        }
    ));
    let taken = judge(&ask(PAYIN_BALANCE, None), "balance");
    assert!(matches!(taken, Judgement::Fail { class: Class::Config, ref why } if why.contains("payin_balance_path")));
}

#[test]
fn a_success_that_holds_nothing_is_not_asked_for_again_and_a_cut_one_is() {
    let judge = |body: &str| provider("").judge(&payout(), &reply(200, body));
    for body in [
        r#"{"code":200,"data":null}"#,
        r#"{"code":200,"data":[]}"#,
        r#"{"code":200}"#,
        "{}",
    ] {
        assert!(
            matches!(
                judge(body),
                Judgement::Refused {
                    class: Class::Protocol,
                    ..
                }
            ),
            "{body}"
        );
    }
    // Not whole: the walk reads it and asks again.
    assert_eq!(judge(r#"{"code":200,"data":{"uniq"#), Judgement::Page);
}

#[test]
fn a_cut_or_empty_success_is_no_page() {
    for body in [
        r#"{"code":200,"data":null}"#,
        r#"{"code":200}"#,
        r#"{"code":200,"data":{"uniq"#,
        "{}",
    ] {
        assert!(provider("").head(&payout(), 0, body.as_bytes()).is_err(), "{body}");
    }
}

// -- rows ---------------------------------------------------------------------------------------------------------------

fn read(settings: &str, feed: &'static str, data: &str) -> Parsed {
    let body = format!(r#"{{"code":200,"data":{{"uniqueKey":"PO-1",{data}}}}}"#);
    provider(settings).parse(&ask(feed, Some("PO-1")), 0, body.as_bytes())
}

#[test]
fn statuses_mean_what_the_table_says_and_other_words_are_unknown() {
    let status = |settings: &str, word: &str| {
        let parsed = read(settings, PAYOUTS, &format!(r#""amount":"1","status":"{word}""#));
        let (_, record) = &parsed.transactions[0];
        (record.status, record.is_final, parsed.warnings.len())
    };
    assert_eq!(status("", "SUCCESS"), (Status::Settled, true, 0));
    assert_eq!(status("", "FAILED"), (Status::Failed, true, 0));
    assert_eq!(status("", "IN_PROGRESS"), (Status::Open, false, 0));
    assert_eq!(
        status("", "Success"),
        (Status::Settled, true, 1),
        "another case: taken, with a warning"
    );
    assert_eq!(status("", "EXPIRED"), (Status::Unknown, false, 0));
    assert_eq!(
        status("status_overrides = { EXPIRED = \"not_moved\" }", "EXPIRED"),
        (Status::Failed, true, 0)
    );
}

#[test]
fn a_status_may_stand_elsewhere_and_its_absence_is_never_success() {
    let parsed = read("", PAYINS, r#""amount":"1""#);
    assert_eq!(parsed.transactions[0].1.status, Status::Unknown);
    assert!(parsed.warnings[0].contains("no status"), "{:?}", parsed.warnings);
    let parsed = read(
        "payin_status_pointer = \"/data/payment/state\"",
        PAYINS,
        r#""amount":"1","payment":{"state":"SUCCESS"}"#,
    );
    assert_eq!(parsed.transactions[0].1.status, Status::Settled);
    let parsed = read(
        "payin_status_pointer = \"/data/payment/state\"",
        PAYOUTS,
        r#""amount":"1","status":"FAILED""#,
    );
    assert_eq!(
        parsed.transactions[0].1.status,
        Status::Failed,
        "each direction has its own"
    );
    assert!(read("", PAYINS, r#""amount":"1","status":3"#).transactions.is_empty());
}

#[test]
fn amounts_are_whole_or_decimal_pesos_and_nothing_else() {
    let amount = |settings: &str, amount: &str| {
        let parsed = read(settings, PAYINS, &format!(r#""status":"SUCCESS","amount":{amount}"#));
        (
            parsed.transactions.first().map(|(_, t)| t.amount_minor),
            parsed.misconfigured.is_some(),
        )
    };
    assert_eq!(amount("", "\"150000\""), (Some(15_000_000), false));
    assert_eq!(amount("", "\"150000.5\""), (Some(15_000_050), false));
    assert_eq!(amount("", "\"150000.25\""), (Some(15_000_025), false));
    assert_eq!(
        amount("amount_unit = \"centavo\"", "\"150000\""),
        (Some(150_000), false)
    );
    assert_eq!(amount("amount_unit = \"centavo\"", "\"150000.25\""), (None, true));
    for bad in [
        "\"150.000\"",
        "\"150,000\"",
        "\"1.5e5\"",
        "150000",
        "\"-1\"",
        "\"-0\"",
        "\"\"",
        "null",
        "\" 1\"",
        "\"1.\"",
    ] {
        assert_eq!(amount("", bad), (None, false), "{bad}");
    }
}

#[test]
fn another_country_has_another_currency_and_is_put_aside() {
    for (country, fine) in [
        ("\"CO\"", true),
        ("\"\"", true),
        ("null", true),
        ("\"PE\"", false),
        ("5", false),
    ] {
        let parsed = read(
            "",
            PAYOUTS,
            &format!(r#""amount":"1","status":"SUCCESS","country":{country}"#),
        );
        assert_eq!(!parsed.transactions.is_empty(), fine, "{country}");
    }
}

#[test]
fn a_balance_may_stand_elsewhere_and_be_text_or_number() {
    let figure = |settings: &str, body: &str| {
        let parsed = provider(&format!("{BALANCES}\n{settings}")).parse(&ask(PAYOUT_BALANCE, None), 0, body.as_bytes());
        parsed
            .balances
            .first()
            .map(|(_, b)| (b.item.clone(), b.amount_minor, b.account.clone()))
    };
    let elsewhere = "balance_pointer = \"/data/wallet/availableBalance\"";
    assert_eq!(
        figure(elsewhere, r#"{"code":200,"data":{"wallet":{"availableBalance":12.5}}}"#),
        Some(("available_balance".into(), 1250, "payout".into()))
    );
    assert_eq!(
        figure("", r#"{"code":200,"data":{"balance":"-3"}}"#).map(|f| f.1),
        Some(-300)
    );
    assert_eq!(figure("", r#"{"code":200,"data":{"wallet":1}}"#), None);
    assert_eq!(figure("", r#"{"code":200,"data":{"balance":1e5}}"#), None);
}

// -- arithmetic ---------------------------------------------------------------------------------------------------------

fn books() -> Books {
    let cop: Currency = "COP".parse().unwrap();
    let figure = |feed, as_of: &str, amount_minor| Balance {
        account: "payin".into(),
        feed,
        subject: String::new(),
        as_of: at(as_of),
        currency: cop,
        item: "balance".into(),
        amount_minor,
    };
    let total = |feed: &str, key: &str, day: &str, status, amount_minor| Total {
        account: String::new(),
        feed: feed.into(),
        subject: key.into(),
        kind: TransactionKind::Payment,
        status,
        currency: cop,
        changed_day: Some(day.parse().unwrap()),
        count: 1,
        amount_minor,
        fee_minor: 0,
    };
    Books {
        zone: chrono_tz::America::Bogota,
        as_of: at("2026-01-16T07:30:00Z"),
        business_day: "2026-01-15".parse().unwrap(),
        balances: vec![
            figure(PAYIN_BALANCE, "2026-01-15T07:30:00Z", 1000),
            figure(PAYIN_BALANCE, "2026-01-16T07:30:00Z", 1900),
            figure(PAYOUT_BALANCE, "2026-01-15T07:30:00Z", 5000),
            figure(PAYOUT_BALANCE, "2026-01-16T07:30:00Z", 4500),
        ],
        totals: vec![
            // First seen settled with the first sample: before the span.
            total(PAYINS, "a", "2026-01-15", Status::Settled, 700),
            total(PAYINS, "b", "2026-01-16", Status::Settled, 1000),
            total(PAYINS, "c", "2026-01-16", Status::Open, 50),
            total(PAYOUTS, "d", "2026-01-16", Status::Settled, -500),
        ],
        related: Vec::new(),
        repeated_ids: Vec::new(),
        calibration: BTreeMap::new(),
        sealed_subjects: Default::default(),
        gaps: Vec::new(),
    }
}

#[test]
fn each_wallets_change_is_held_against_what_was_seen_to_settle_as_advice() {
    let relations = provider(BALANCES).relations(&books());
    let told: Vec<_> = relations
        .iter()
        .map(|r| (r.account.as_str(), r.stated_minor, r.computed_minor))
        .collect();
    assert_eq!(told, [("payin", 900, 1000), ("payout", -500, -500)]);
    assert!(
        relations
            .iter()
            .all(|r| r.advisory && !r.settlement && r.detail.starts_with("twopay balance"))
    );
    assert!(
        relations[0].detail.contains("1.00 COP too little"),
        "{}",
        relations[0].detail
    );
    assert_eq!(relations[0].business_day, "2026-01-15".parse().unwrap());
    let residuals: Vec<i64> = provider(BALANCES)
        .statement(&books())
        .into_iter()
        .filter(|line| line.line == StatementItem::Residual)
        .map(|line| line.amount_minor)
        .collect();
    assert_eq!(residuals, [-100, 0]);
}

#[test]
fn nothing_is_said_about_a_wallet_over_a_night_that_was_not_read() {
    let books = Books {
        gaps: vec![(PAYIN_BALANCE.to_owned(), payout().window)],
        ..books()
    };
    let relations = provider(BALANCES).relations(&books);
    assert_eq!(
        relations.iter().map(|r| r.account.as_str()).collect::<Vec<_>>(),
        ["payout"]
    );
}
