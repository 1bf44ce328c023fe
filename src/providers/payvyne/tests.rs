use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::config::Source;
use crate::day::{next_day, parse_instant, start_of_day};
use crate::providers::{Method, Related, StatementItem, Total};
use crate::record::{Balance, Status, TransactionKind};
use crate::window::Window;

mod arithmetic;

const LONDON: Tz = chrono_tz::Europe::London;

fn built(more: &str) -> (Option<Built>, Vec<String>) {
    let text = format!("client_secret = \"env:S\"\n{more}");
    let source = Source {
        file: "payvyne.toml",
        text: &text,
    };
    let mut section = Section::parse(&source);
    let built = build(&mut section);
    (built, section.finish().into_iter().map(|p| p.message).collect())
}

fn provider(more: &str) -> Arc<dyn Provider> {
    let (built, problems) = built(&format!("client_id = \"key-1\"\n{more}"));
    assert_eq!(problems, Vec::<String>::new());
    built.unwrap().provider
}

fn day(text: &str) -> Window {
    let day: NaiveDate = text.parse().unwrap();
    Window {
        from: start_of_day(day, LONDON),
        until: start_of_day(next_day(day), LONDON),
    }
}

fn ask(subject: Option<&str>) -> Ask {
    Ask {
        feed: if subject.is_some() { SWEEP_TRANSACTIONS } else { SWEEPS },
        window: day("2025-03-04"),
        subject: subject.map(str::to_owned),
        beside: Vec::new(),
        account: String::new(),
        as_of: day("2025-03-04").until,
        zone: LONDON,
        calibration: Arc::new(BTreeMap::new()),
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
        received_at: day("2025-03-04").until,
    }
}

// -- settings and requests ----------------------------------------------------------------------------------------------

#[test]
fn the_documents_defaults_hold_when_the_settings_are_silent() {
    let (built, problems) = built("client_id = \"key-1\"");
    assert_eq!(problems, Vec::<String>::new());
    let built = built.unwrap();
    assert_eq!(built.base_url.as_str(), "https://app.payvyne.com/");
    assert_eq!((built.limits.requests_per_minute, built.limits.max_in_flight), (300, 1));
    assert_eq!(built.limits.lookback, TimeDelta::days(7));
    assert_eq!(built.limits.request_timeout, Some(Duration::from_secs(30)));
    assert_eq!(built.account_key, "key-1");
    assert_eq!(built.secrets.keys().collect::<Vec<_>>(), ["client_secret"]);
    assert_eq!(built.provider.lag(), TimeDelta::days(3));
}

#[test]
fn a_client_id_may_be_plain_or_a_reference() {
    let built = built("client_id = \"credential:vyne-id\"").0.unwrap();
    assert_eq!(built.account_key, "credential:vyne-id");
    assert_eq!(built.secrets.keys().collect::<Vec<_>>(), ["client_id", "client_secret"]);
    let keys = Keys::from([
        ("client_id".into(), "a&b".into()),
        ("client_secret".into(), "c=d +".into()),
    ]);
    let login = built.provider.login(&keys, ask(None).as_of).unwrap();
    assert_eq!((login.method, login.path.as_str()), (Method::Post, "/api/oauth/token"));
    assert_eq!(
        String::from_utf8(login.body).unwrap(),
        "grant_type=client_credentials&client_id=a%26b&client_secret=c%3Dd%20%2B"
    );
}

#[test]
fn wrong_settings_are_all_named() {
    let (_, problems) = built(
        "settlement_accounts = [\"GBP3' OR '1\"]\nfee_sign = \"plus\"\nrecon_prefix = \"api\"\nbilling_mode = \"weekly\"\nform = \"both\"\nsweep_time_zone = \"London\"\npage_size = 0",
    );
    assert_eq!(problems.len(), 8, "the missing client_id among them: {problems:#?}");
}

#[test]
fn the_filter_is_written_as_the_document_does_and_encoded_whole() {
    let request = provider("").request(&ask(None), 0, &[]);
    assert_eq!(request.path, "/api/reconciliation/v1/merchant/sweeps");
    assert_eq!(
        request.query,
        "size=50&query=%28createdAt%20%3E%3D%20%272025-03-03%27%20AND%20createdAt%20%3C%3D%20%272025-03-06%27%29"
    );
    let one = provider("settlement_accounts = [\"GBP3\"]").request(&ask(None), 0, &[]);
    assert!(
        one.query
            .ends_with("%20AND%20settlementAccountIdentifier%20%3D%20%27GBP3%27"),
        "{}",
        one.query
    );
    let two = provider("settlement_accounts = [\"GBP3\", \"EUR1\"]").request(&ask(None), 0, &[]);
    assert_eq!(two.query, request.query, "OR is not documented");
}

#[test]
fn the_partner_form_and_the_other_prefix_change_the_paths() {
    let partner = provider("form = \"partner\"\nrecon_prefix = \"/api/v1/reconciliation\"\npage_size = 7");
    let request = partner.request(&ask(Some("a/b c")), 0, &[]);
    assert_eq!(
        request.path,
        "/api/v1/reconciliation/partner/sweeps/a%2Fb%20c/transactions"
    );
    assert_eq!(request.query, "size=7", "transactions know no filter");
}

#[test]
fn a_cursor_is_sent_back_encoded_beside_the_same_filter() {
    let head = PageHead {
        next: Some("eyJ0+/==".into()),
        rows: 1,
        ids: vec![1].into(),
        ..PageHead::default()
    };
    let request = provider("").request(&ask(None), 1, std::slice::from_ref(&head));
    assert!(request.query.starts_with("size=50&query=") && request.query.ends_with("&cursor=eyJ0%2B%2F%3D%3D"));
}

// -- session and refusals -----------------------------------------------------------------------------------------------

#[test]
fn a_token_lives_a_minute_shorter_than_it_says() {
    let open = |body: &str| provider("expected_merchant = \"7c1e09ab44d2f310\"").session(&reply(200, body));
    let session = open(
        r#"{"access_token":"e.y.J","scope":"reconciliation","merchant":"7c1e09ab44d2f310","expires_in":3599,"iat":1}"#,
    )
    .unwrap();
    assert_eq!(session.token.expose_secret(), "e.y.J");
    assert_eq!(
        (session.lifetime, session.idle),
        (Some(Duration::from_secs(3539)), None)
    );
    assert!(session.warnings.is_empty());
    let odd = open(r#"{"access_token":"t","scope":"reporting","expires_in":10}"#).unwrap();
    assert_eq!(odd.lifetime, Some(Duration::from_secs(5)));
    assert_eq!(
        odd.warnings.len(),
        2,
        "the scope, and a merchant that could not be checked"
    );
    assert!(matches!(
        open(r#"{"access_token":"t","scope":"reconciliation","merchant":"other"}"#),
        Err(Judgement::Fail {
            class: Class::Config,
            ..
        })
    ));
    for body in ["{}", r#"{"access_token":""}"#, r#"{"access_token":"a\r\nb"}"#] {
        assert!(
            matches!(
                open(body),
                Err(Judgement::Fail {
                    class: Class::Protocol,
                    ..
                })
            ),
            "{body}"
        );
    }
}

#[test]
fn a_refused_key_pair_stops_without_a_second_try_and_says_only_known_words() {
    let refused = provider("").session(&reply(
        400,
        r#"{"error":"invalid_client","error_description":"secret is hunter2"}"#,
    ));
    let Err(Judgement::Fail {
        class: Class::Auth,
        why,
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert!(why.contains("invalid_client") && !why.contains("hunter2"));
    let odd = provider("").session(&reply(401, r#"{"error":"hunter2"}"#));
    assert!(matches!(odd, Err(Judgement::Fail { class: Class::Auth, why }) if !why.contains("hunter2")));
    assert!(matches!(
        provider("").session(&reply(503, "")),
        Err(Judgement::Retry { .. })
    ));
    let cut = provider("").session(&reply(200, r#"{"access_token":"t","sco"#));
    assert!(matches!(cut, Err(Judgement::Retry { .. })), "{cut:?}");
    let none = provider("").session(&reply(200, r#"{"scope":"reconciliation"}"#));
    assert!(
        matches!(
            none,
            Err(Judgement::Fail {
                class: Class::Protocol,
                ..
            })
        ),
        "{none:?}"
    );
    assert!(matches!(
        provider("").session(&reply(404, "")),
        Err(Judgement::Fail {
            class: Class::Config,
            ..
        })
    ));
}

#[test]
fn refusals_mean_what_the_documents_table_says() {
    let judge = |subject, status| provider("").judge(&ask(subject), &reply(status, "{}"));
    assert_eq!(judge(None, 200), Judgement::Page);
    assert!(matches!(judge(Some("x"), 404), Judgement::Absent { .. }));
    assert!(matches!(
        judge(None, 404),
        Judgement::Fail {
            class: Class::Config,
            ..
        }
    ));
    assert!(matches!(judge(None, 403), Judgement::Fail { class: Class::Auth, .. }));
    assert!(matches!(judge(None, 401), Judgement::Renew { .. }));
    for status in [400, 410, 422] {
        assert!(matches!(judge(None, status), Judgement::Restart { .. }), "{status}");
    }
    for status in [429, 500, 503, 520] {
        assert!(matches!(judge(None, status), Judgement::Retry { .. }), "{status}");
    }
    assert!(matches!(
        judge(None, 302),
        Judgement::Fail {
            class: Class::Protocol,
            ..
        }
    ));
}

// -- the walk -----------------------------------------------------------------------------------------------------------

fn page(number: u32, ids: &[u64], next: Option<&str>) -> PageHead {
    PageHead {
        number,
        rows: ids.len() as u32,
        ids: ids.to_vec().into(),
        next: next.map(str::to_owned),
        ..PageHead::default()
    }
}

#[test]
fn a_list_ends_where_no_cursor_is_given_and_nowhere_else() {
    let next = |heads: &[PageHead]| provider("").next(&ask(None), heads);
    let get = |number| Step::Get {
        number,
        confirms: false,
    };
    assert_eq!(next(&[]), get(0));
    assert_eq!(next(&[page(0, &[1], Some("a"))]), get(1), "a short page is not the end");
    assert_eq!(next(&[page(0, &[1], Some("a")), page(1, &[], None)]), Step::Done);
    let broken = |heads: &[PageHead]| matches!(next(heads), Step::Broken { .. });
    assert!(broken(&[page(0, &[], Some("a"))]), "empty, and yet more");
    assert!(
        broken(&[page(0, &[1], Some("a")), page(1, &[2], Some("a"))]),
        "the same cursor again"
    );
    assert!(
        broken(&[
            page(0, &[1], Some("a")),
            page(1, &[2], Some("b")),
            page(2, &[3], Some("a"))
        ]),
        "a cycle"
    );
    assert!(
        broken(&[
            page(0, &[1], Some("a")),
            page(1, &[2], Some("b")),
            page(2, &[1], Some("c"))
        ]),
        "the same page again"
    );
}

#[test]
fn a_head_knows_every_way_to_say_that_there_is_no_next_page() {
    let head = |rest: &str| provider("").head(&ask(None), 0, format!("{{\"elements\":[]{rest}}}").as_bytes());
    for rest in ["", ",\"nextPage\":null", ",\"nextPage\":\"\",\"size\":0"] {
        assert_eq!(head(rest).unwrap().next, None, "{rest}");
    }
    assert_eq!(head(",\"nextPage\":\"x\"").unwrap().next.as_deref(), Some("x"));
    for rest in [",\"nextPage\":17", ",\"size\":3", ",\"nextPage\":false"] {
        assert!(head(rest).is_err(), "{rest}");
    }
}

// -- rows ---------------------------------------------------------------------------------------------------------------

fn sweep_row(id: &str, created: &str, account: &str, more: &str) -> String {
    let money = r#"{"amount":1,"currency":"GBP"}"#;
    format!(
        r#"{{"id":"{id}",{created}"settlementAccount":{{"identifier":"{account}"}},"openingBalance":{money},"closingBalance":{money},"reservedBalance":{money},"transferredAmount":{money},"summary":{{}}{more}}}"#
    )
}

fn parse(settings: &str, rows: &[String]) -> Parsed {
    provider(settings).parse(
        &ask(None),
        0,
        format!("{{\"elements\":[{}]}}", rows.join(",")).as_bytes(),
    )
}

#[test]
fn sweeps_of_other_windows_and_accounts_are_passed_over() {
    let at = |time: &str| format!("\"createdAt\":\"{time}\",");
    let rows = [
        sweep_row("before", &at("2025-03-03T23:59:59.999Z"), "GBP3", ""),
        sweep_row("first", &at("2025-03-04T00:00:00Z"), "GBP3", ""),
        sweep_row("after", &at("2025-03-05T00:00:00Z"), "GBP3", ""),
        sweep_row("other", &at("2025-03-04T01:00:00Z"), "EUR1", ""),
        sweep_row("timeless", "", "GBP3", ""),
    ];
    let subjects =
        |settings: &str| -> Vec<String> { parse(settings, &rows).subjects.into_iter().map(|s| s.id).collect() };
    assert_eq!(subjects(""), ["first", "other", "timeless"]);
    assert_eq!(subjects("settlement_accounts = [\"GBP3\"]"), ["first", "timeless"]);
    let parsed = parse("", &rows);
    let timeless = parsed.balances.iter().find(|(row, _)| *row == 4).unwrap();
    assert_eq!(timeless.1.as_of, parse_instant("2025-03-04T23:59:59.999Z").unwrap());
}

#[test]
fn a_sweep_with_an_unreadable_figure_is_put_aside_but_its_transactions_are_asked_for() {
    let row = sweep_row("x", "", "GBP3", "").replacen("\"amount\":1", "\"amount\":1.234", 1);
    let parsed = parse("", &[row]);
    assert_eq!((parsed.balances.len(), parsed.subjects.len()), (0, 1));
    assert_eq!(parsed.unreadable[0].place, "elements[0].openingBalance.amount");
}

#[test]
fn a_sweep_is_named_whatever_else_of_it_cannot_be_read() {
    let at = |time: &str| format!("\"createdAt\":\"{time}\",");
    let row = sweep_row("x", &at("2025-03-04T01:00:00Z"), "GBP3", "");
    let twice = row.replacen("\"summary\":{}", "\"summary\":{},\"odd\":1,\"odd\":2", 1);
    for (damaged, account) in [
        (row.replacen("\"GBP3\"", "null", 1), ""),
        (row.replacen("{\"identifier\":\"GBP3\"}", "7", 1), ""),
        (row.replacen("2025-03-04T", "2025-3-4 ", 1), "GBP3"),
        (twice, ""),
    ] {
        let parsed = parse("", std::slice::from_ref(&damaged));
        let named: Vec<(&str, &str)> = parsed.subjects.iter().map(|s| (&*s.id, &*s.account)).collect();
        assert_eq!(named, [("x", account)], "{damaged}");
        assert_eq!(
            (parsed.unreadable.len(), parsed.nameless, parsed.balances.len()),
            (1, 0, 0)
        );
        let only = parse("settlement_accounts = [\"GBP3\"]", &[damaged]);
        assert_eq!(only.subjects[0].account, "GBP3");
    }
}

#[test]
fn a_sweep_without_a_readable_id_is_counted_in_its_own_window_only() {
    let at = |time: &str| format!("\"createdAt\":\"{time}\",");
    let nameless = |time: &str| sweep_row("x", &at(time), "GBP3", "").replacen("\"x\"", "[]", 1);
    let twice = |time: &str| sweep_row("x", &at(time), "GBP3", "").replacen("\"id\":\"x\"", "\"id\":1,\"id\":2", 1);
    for row in [
        nameless("2025-03-04T01:00:00Z"),
        twice("2025-03-04T01:00:00Z"),
        "7".into(),
    ] {
        let parsed = parse("", &[row]);
        assert_eq!(
            (parsed.subjects.len(), parsed.nameless, parsed.unreadable.len()),
            (0, 1, 1)
        );
    }
    let parsed = parse("", &[nameless("2025-03-05T01:00:00Z")]);
    assert_eq!((parsed.nameless, parsed.unreadable.len()), (0, 0));
}

#[test]
fn the_transactions_of_a_sweep_are_on_the_account_that_the_sweep_was_listed_with() {
    let sweep = &parse("", &[sweep_row("x", "", "GBP3", "")]).subjects[0];
    let ask = Ask {
        beside: Vec::new(),
        account: sweep.account.clone(),
        ..ask(Some(&sweep.id))
    };
    let body = br#"{"elements":[{"transactionId":"p","type":"PAYMENT","value":{"amount":1,"currency":"GBP"}}]}"#;
    let parsed = provider("").parse(&ask, 0, body);
    assert_eq!(parsed.transactions[0].1.account, "GBP3");
}

#[test]
fn a_partners_accounts_carry_their_merchant_and_a_merchants_sweep_of_another_is_foreign() {
    let rows = [sweep_row("x", "", "GBP3", r#","merchant":{"id":"m1"}"#)];
    let partner = parse("form = \"partner\"\nexpected_merchant = \"platform\"", &rows);
    assert_eq!(partner.subjects[0].account, "m1/GBP3");
    assert_eq!(
        (partner.balances[0].1.account.as_str(), partner.foreign),
        ("m1/GBP3", None)
    );
    let merchant = parse("expected_merchant = \"m2\"", &rows);
    assert!(merchant.foreign.is_some());
    assert_eq!(parse("expected_merchant = \"m1\"", &rows).foreign, None);
}

#[test]
fn fees_are_debits_unless_the_settings_or_else_the_sweeps_say_otherwise() {
    let body = br#"{"elements":[{"transactionId":"f","type":"FEE","value":{"amount":2.50,"currency":"GBP"}}]}"#;
    let amount = |settings: &str, learned: Option<&str>| {
        let calibration = learned
            .map(|word| (FEE_SIGN.to_owned(), word.to_owned()))
            .into_iter()
            .collect();
        let ask = Ask {
            calibration: Arc::new(calibration),
            ..ask(Some("s"))
        };
        provider(settings).parse(&ask, 0, body).transactions[0].1.amount_minor
    };
    assert_eq!(amount("", None), -250);
    assert_eq!(amount("", Some("signed")), 250);
    assert_eq!(amount("", Some("nonsense")), -250);
    assert_eq!(amount("fee_sign = \"positive_is_debit\"", Some("signed")), -250);
    assert_eq!(amount("fee_sign = \"signed\"", None), 250);
}
