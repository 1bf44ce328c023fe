use std::sync::Arc;

use secrecy::ExposeSecret;

use super::*;
use crate::config::Source;
use crate::day::{parse_instant, start_of_day};
use crate::providers::{StatementItem, Total};
use crate::record::{Balance, Status, TransactionKind};
use crate::window::Window;

mod arithmetic;

const LIMA: Tz = chrono_tz::America::Lima;

fn built(more: &str) -> (Option<Built>, Vec<String>) {
    let text = format!("access_key = \"env:A\"\nsecret_key = \"env:S\"\n{more}");
    let source = Source {
        file: "tupay.toml",
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

fn ask(feed: &'static str) -> Ask {
    let day: NaiveDate = "2025-03-04".parse().unwrap();
    let until = start_of_day(next_day(day), LIMA);
    Ask {
        feed,
        window: Window {
            from: start_of_day(day, LIMA),
            until,
        },
        subject: None,
        beside: Vec::new(),
        account: String::new(),
        as_of: until,
        zone: LIMA,
        calibration: Arc::new(BTreeMap::new()),
    }
}

fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    Reply {
        status,
        headers: headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        body: body.as_bytes().to_vec(),
        received_at: parse_instant("2025-03-05T06:00:00Z").unwrap(),
    }
}

// -- settings -----------------------------------------------------------------------------------------------------------

#[test]
fn the_documents_defaults_hold_when_the_settings_are_silent() {
    let (built, problems) = built("");
    assert_eq!(problems, Vec::<String>::new());
    let built = built.unwrap();
    assert_eq!(built.base_url.as_str(), "https://merchants-api.tupayonline.com/");
    assert_eq!(built.account_key, "env:A");
    assert_eq!(built.limits.requests_per_minute, 120);
    assert_eq!(built.limits.max_in_flight, 1);
    assert_eq!(built.limits.lookback, TimeDelta::days(60));
    assert_eq!(built.limits.settle, TimeDelta::minutes(10));
    assert_eq!(built.limits.request_timeout, Some(Duration::from_secs(30)));
    assert!(!built.strict_balance);
    let shapes: Vec<Shape> = built.provider.feeds().iter().map(|feed| feed.shape).collect();
    assert_eq!(
        shapes,
        [Shape::Days(1), Shape::Days(1), Shape::Days(1), Shape::Snapshot]
    );
}

#[test]
fn wrong_settings_are_all_named() {
    let (_, problems) = built(
        "window = \"60d\"\nauth_form = \"basic\"\ncashout_path = \"/v1/../x?y\"\ncountry = \"Peru\"\nbalance_signs = \"+\"\nbusiness_time_zone = \"Lima\"\nmax_rps = 0",
    );
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn every_setting_reaches_the_requests() {
    let tupay = provider("cashout_path = \"/v1/cashouts\"\ntimestamp_unit = \"ms\"\ncountry = \"\"\nwindow = \"59d\"");
    let request = tupay.request(&ask(CASHOUTS), 3, &[]);
    assert_eq!(request.path, "/v1/cashouts");
    assert_eq!(request.query, "from=1741064399000&to=1741150801000&page=3");
    let shapes: Vec<Shape> = tupay.feeds().iter().map(|feed| feed.shape).collect();
    assert_eq!(
        shapes[2],
        Shape::Days(57),
        "two zones of a report's days stay within 60 days"
    );
}

#[test]
fn a_day_is_asked_for_with_a_second_more_on_each_side_and_the_report_by_its_labels() {
    let tupay = provider("");
    // Lima's 4 March is 05:00Z to 05:00Z.
    let request = tupay.request(&ask(DEPOSITS), 0, &[]);
    assert_eq!(request.query, "from=1741064399&to=1741150801&page=0&country=PE");
    // The label is midnight UTC, five hours earlier; the day's end is whichever reading ends later.
    let request = tupay.request(&ask(BALANCE_REPORT), 0, &[]);
    assert_eq!(
        (request.path.as_str(), request.query.as_str()),
        ("/v1/balance/report", "from=1741046399&to=1741150801&page=0")
    );
    assert_eq!(tupay.request(&ask(BALANCE), 0, &[]).query, "");
}

// -- session ------------------------------------------------------------------------------------------------------------

#[test]
fn the_token_is_read_from_the_cookie_by_hand() {
    let tupay = provider("expected_merchant_id = 456");
    let body = r#"{"idUser":123,"username":"x","idMerchant":456}"#;
    for (cookies, expected) in [
        (vec!["BEARER_TOKEN=abc"], "abc"),
        (vec!["BEARER_TOKEN=abc=; Path=/; HttpOnly"], "abc="),
        (vec!["lang=es", "BEARER_TOKEN=\"q.u\"; Secure"], "q.u"),
        (
            vec!["BEARER_TOKEN=old; Max-Age=0; Path=/", "BEARER_TOKEN=new; Path=/"],
            "new",
        ),
        (
            vec!["BEARER_TOKEN=old; max-age = -1", "BEARER_TOKEN=new; Max-Age=900"],
            "new",
        ),
        (
            vec![
                "BEARER_TOKEN=old; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                "BEARER_TOKEN=new; Expires=Thu, 05 Mar 2026 06:00:00 GMT",
            ],
            "new",
        ),
        (vec!["BEARER_TOKEN=a", "BEARER_TOKEN=b; Expires=soon; Max-Age=x"], "b"),
        (
            vec![
                "BEARER_TOKEN=new",
                "BEARER_TOKEN=old; Path=/v1; Expires=Thu, 01-Jan-1970 00:00:00 GMT",
            ],
            "new",
        ),
        (
            vec!["BEARER_TOKEN=new; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=9"],
            "new",
        ),
    ] {
        let headers: Vec<(&str, &str)> = cookies.into_iter().map(|c| ("set-cookie", c)).collect();
        let session = tupay.session(&reply(200, &headers, body)).unwrap();
        assert_eq!(session.token.expose_secret(), expected);
        assert_eq!((session.lifetime, session.idle), (None, Some(Duration::from_secs(840))));
    }
    for cookies in [
        vec![],
        vec![("set-cookie", "OTHER=1")],
        vec![("set-cookie", "BEARER_TOKEN=; Path=/")],
        vec![("set-cookie", "BEARER_TOKEN=a b")],
        vec![("set-cookie", "BEARER_TOKEN=gone; Max-Age=0")],
    ] {
        let refused = tupay.session(&reply(200, &cookies, body)).unwrap_err();
        assert!(
            matches!(refused, Judgement::Fail { class: Class::Auth, .. }),
            "{refused:?}"
        );
    }
}

#[test]
fn a_login_of_another_merchant_stops_the_job() {
    let tupay = provider("expected_merchant_id = 456");
    let cookie = [("set-cookie", "BEARER_TOKEN=abc")];
    for (body, fine) in [
        (r#"{"idMerchant":456}"#, true),
        (r#"{"idMerchant":"456"}"#, true),
        (r#"{"idMerchant":457}"#, false),
    ] {
        assert_eq!(tupay.session(&reply(200, &cookie, body)).is_ok(), fine, "{body}");
    }
    assert_eq!(tupay.session(&reply(200, &cookie, "{}")).unwrap().warnings.len(), 1);
}

#[test]
fn the_token_is_sent_in_the_configured_form_and_only_once() {
    for (form, name, value) in [
        ("cookie", "Cookie", "BEARER_TOKEN=t"),
        ("bearer", "Authorization", "Bearer t"),
        ("raw", "Authorization", "BEARER_TOKEN=t"),
    ] {
        let tupay = provider(&format!("auth_form = \"{form}\""));
        let session = Session {
            token: "t".into(),
            lifetime: None,
            idle: None,
            warnings: Vec::new(),
        };
        let mut request = tupay.request(&ask(DEPOSITS), 0, &[]);
        tupay.sign(&mut request, Some(&session), &Keys::new(), ask(DEPOSITS).as_of);
        tupay.sign(&mut request, Some(&session), &Keys::new(), ask(DEPOSITS).as_of);
        let sent: Vec<&str> = request
            .headers
            .iter()
            .filter(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
            .collect();
        assert_eq!(sent, [value]);
    }
}

#[test]
fn the_login_carries_its_keys_in_a_json_body_whatever_they_hold() {
    let keys = Keys::from([
        ("access_key".into(), "a\"b@x".into()),
        ("secret_key".into(), "ñ\\".into()),
    ]);
    let request = provider("").login(&keys, ask(DEPOSITS).as_of).unwrap();
    assert_eq!(
        (request.method, request.path.as_str()),
        (Method::Post, "/v1/auth/login")
    );
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, serde_json::json!({ "accessKey": "a\"b@x", "secretKey": "ñ\\" }));
}

// -- refusals -----------------------------------------------------------------------------------------------------------

#[test]
fn refusals_mean_what_the_documents_table_says() {
    let tupay = provider("");
    let auth = |status, body| {
        matches!(
            tupay.judge(&ask(DEPOSITS), &reply(status, &[], body)),
            Judgement::Fail { class: Class::Auth, .. }
        )
    };
    for (status, body) in [
        (412, r#"{"code":11,"description":"x"}"#),
        (412, r#"{"code":"11","message":"x"}"#),
        (403, r#"{"code":83}"#),
        (403, "<html>"),
        (412, ""),
        (412, r#"{"code":26}"#),
        (500, r#"{"code":96}"#),
        (200, r#"{"code":11,"description":"x"}"#),
    ] {
        assert!(auth(status, body), "{status} {body}");
    }
    let class = |status, body| match tupay.judge(&ask(CASHOUTS), &reply(status, &[], body)) {
        Judgement::Fail { class, .. } | Judgement::Refused { class, .. } => Some(class),
        _ => None,
    };
    assert_eq!(class(412, r#"{"code":17}"#), Some(Class::Protocol));
    assert_eq!(class(412, r#"{"code":19}"#), Some(Class::Config));
    assert_eq!(class(400, ""), Some(Class::Protocol));
    assert_eq!(class(405, ""), Some(Class::Protocol));
    assert_eq!(class(301, ""), Some(Class::Protocol));
    assert_eq!(class(404, ""), Some(Class::Config));
    assert_eq!(class(200, r#"{"code":555,"description":"x"}"#), Some(Class::Protocol));
    assert!(matches!(
        tupay.judge(&ask(DEPOSITS), &reply(401, &[], "{}")),
        Judgement::Renew { .. }
    ));
    for status in [429, 500, 502, 503, 504] {
        assert!(
            matches!(
                tupay.judge(&ask(DEPOSITS), &reply(status, &[], "")),
                Judgement::Retry { .. }
            ),
            "{status}"
        );
    }
    let page = r#"{"rows":0,"data":[]}"#;
    assert_eq!(tupay.judge(&ask(DEPOSITS), &reply(200, &[], page)), Judgement::Page);
}

#[test]
fn a_login_that_is_refused_is_never_tried_again() {
    for (status, body) in [(401, ""), (412, r#"{"code":11}"#), (403, r#"{"code":83}"#)] {
        let refused = provider("").session(&reply(status, &[], body)).unwrap_err();
        assert!(
            matches!(refused, Judgement::Fail { class: Class::Auth, .. }),
            "{status} {refused:?}"
        );
    }
    assert!(matches!(
        provider("").session(&reply(503, &[], "")),
        Err(Judgement::Retry { .. })
    ));
}

// -- the walk -----------------------------------------------------------------------------------------------------------

fn page(number: u32, ids: &[u64], full: usize) -> PageHead {
    PageHead {
        number,
        rows: ids.len() as u32,
        ids: ids.to_vec().into(),
        next: (ids.len() >= full).then(|| "50".to_owned()),
        ..PageHead::default()
    }
}

fn proof(ids: &[u64]) -> PageHead {
    PageHead {
        confirms: true,
        ..page(0, ids, 2)
    }
}

fn next(heads: &[PageHead]) -> Step {
    provider("").next(&ask(DEPOSITS), heads)
}

#[test]
fn pages_are_read_until_one_is_short_and_the_first_is_proved() {
    let get = |number, confirms| Step::Get { number, confirms };
    assert_eq!(next(&[]), get(0, false));
    assert_eq!(next(&[page(0, &[1, 2], 2)]), get(1, false));
    assert_eq!(next(&[page(0, &[1], 2)]), Step::Done, "one short page needs no proof");
    assert_eq!(next(&[page(0, &[], 2)]), Step::Done);
    let walked = [page(0, &[1, 2], 2), page(1, &[3, 4], 2), page(2, &[], 2)];
    assert_eq!(
        next(&walked[..2]),
        get(2, false),
        "an exact multiple needs one more page"
    );
    assert_eq!(next(&walked), get(0, true));
    let with = |ids: &[u64]| next(&[&walked[..], &[proof(ids)]].concat());
    assert_eq!(with(&[2, 1]), Step::Done);
    assert!(matches!(with(&[1, 9]), Step::Again { .. }));
}

#[test]
fn a_list_of_several_pages_is_read_twice_when_it_is_doubted() {
    let get = |number| Step::Get { number, confirms: true };
    let prove = |heads: &[PageHead], doubt| provider("").prove(&ask(DEPOSITS), heads, doubt);
    let again = |number, ids: &[u64]| PageHead {
        confirms: true,
        ..page(number, ids, 2)
    };
    let single = [page(0, &[1], 2)];
    assert_eq!(prove(&single, Doubt::NeverRead), Step::Done, "one answer is one moment");
    assert_eq!(prove(&single, Doubt::Lost), get(0));
    let mut heads = vec![
        page(0, &[1, 2], 2),
        page(1, &[3, 4], 2),
        page(2, &[5], 2),
        again(0, &[2, 1]),
    ];
    assert_eq!(next(&heads), Step::Done);
    assert_eq!(prove(&heads, Doubt::NeverRead), get(1));
    heads.push(again(1, &[3, 4]));
    assert_eq!(prove(&heads, Doubt::Lost), get(2));
    heads.push(again(2, &[5]));
    assert_eq!(
        prove(&heads, Doubt::NeverRead),
        get(3),
        "nothing stands behind a short page"
    );
    heads.push(again(3, &[6]));
    assert!(matches!(prove(&heads, Doubt::NeverRead), Step::Again { .. }));
    heads[6] = again(3, &[]);
    assert_eq!((next(&heads), prove(&heads, Doubt::Lost)), (Step::Done, Step::Done));
    heads[4] = again(1, &[4, 5]);
    assert!(matches!(prove(&heads, Doubt::NeverRead), Step::Again { .. }));
}

#[test]
fn a_page_size_other_than_the_documented_one_is_not_trusted() {
    let head = |number: u32, stated: u32, rows: std::ops::Range<u32>| {
        let data: Vec<String> = rows.map(|id| format!("{{\"idDeposit\":{id}}}")).collect();
        let body = format!(
            r#"{{"rows":{},"maxRows":{stated},"data":[{}]}}"#,
            data.len(),
            data.join(",")
        );
        provider("").head(&ask(DEPOSITS), number, body.as_bytes()).unwrap()
    };
    let get = |number| Step::Get {
        number,
        confirms: false,
    };
    assert_eq!(
        next(&[head(0, 50, 0..49)]),
        Step::Done,
        "documented: shorter than 50 ends the list"
    );
    assert_eq!(next(&[head(0, 1000, 0..50)]), get(1), "1000 stated, 50 served");
    assert_eq!(next(&[head(0, 20, 0..7)]), get(1), "only an empty page ends it");
    let again = |heads: &[PageHead]| matches!(next(heads), Step::Again { .. });
    let (first, second, end) = (head(0, 1000, 0..50), head(1, 1000, 50..64), head(2, 1000, 0..0));
    assert_eq!(
        next(&[first.clone(), second, end.clone()]),
        Step::Get {
            number: 0,
            confirms: true
        }
    );
    assert!(
        again(&[first.clone(), head(1, 1000, 0..0)]),
        "page 1 may begin after 1000"
    );
    assert!(again(&[
        head(0, 50, 0..50),
        head(1, 20, 50..70),
        head(2, 20, 70..80),
        head(3, 20, 0..0)
    ]));
    assert!(again(&[first, head(1, 50, 50..64)]), "another size than page 0");
    assert!(again(&[
        head(0, 60, 0..60),
        head(1, 60, 60..90),
        head(2, 60, 120..150),
        head(3, 60, 0..0)
    ]));
    assert!(
        again(&[head(0, 60, 0..20), head(1, 60, 60..90), end]),
        "a longer page behind a shorter one"
    );
}

#[test]
fn a_record_on_two_pages_means_reading_again() {
    let moved = [page(0, &[1, 2], 2), page(1, &[2], 2)];
    assert!(matches!(next(&moved), Step::Again { .. }));
}

#[test]
fn an_ignored_page_number_is_broken_and_a_single_repeat_is_drift() {
    let same = |number| page(number, &[1, 2], 2);
    assert!(matches!(next(&[same(0), same(1)]), Step::Get { number: 2, .. }));
    assert!(matches!(next(&[same(0), same(1), same(2)]), Step::Broken { .. }));
    assert!(matches!(
        next(&[same(0), same(1), page(2, &[3], 2)]),
        Step::Again { .. }
    ));
}

#[test]
fn heads_refuse_what_would_mislead_the_walk() {
    let tupay = provider("");
    for (body, fine) in [
        (r#"{"page":1,"rows":1,"maxRows":50,"data":[{"idDeposit":1}]}"#, true),
        (r#"{"rows":1,"data":[{"idDeposit":1}]}"#, true),
        (r#"{"page":0,"rows":1,"data":[{"idDeposit":1}]}"#, false),
        (r#"{"page":1,"rows":2,"maxRows":50,"data":[{"idDeposit":1}]}"#, false),
        (r#"{"page":1,"rows":0,"maxRows":0,"data":[]}"#, false),
        (r#"{"page":1,"rows":0,"maxRows":50,"data":null}"#, false),
        (r#"{"page":1,"rows":0,"maxRows":50,"data":{}}"#, false),
        (r#"{"code":1,"description":"x"}"#, false),
        (r#"{"page":1,"rows":0,"maxRows":50,"data":[]}"#, true),
        (r#"{"rows":0,"data":[]}"#, true),
        (r#"{"code":200,"message":"x","data":[]}"#, false),
        (r#"{"code":200,"message":"x","rows":0,"data":[]}"#, false),
        (r#"{"page":1,"maxRows":50,"data":[]}"#, true),
        (r#"{"page":1,"data":[]}"#, false),
        (r#"{"data":[]}"#, false),
        ("[]", false),
    ] {
        assert_eq!(tupay.head(&ask(DEPOSITS), 1, body.as_bytes()).is_ok(), fine, "{body}");
    }
    let fifty: Vec<String> = (0..50).map(|n| format!("{{\"idDeposit\":{n}}}")).collect();
    let body = format!("{{\"data\":[{}]}}", fifty.join(","));
    assert!(
        tupay.head(&ask(DEPOSITS), 0, body.as_bytes()).unwrap().next.is_some(),
        "fifty is full when nobody says"
    );
}

fn full_page(number: u32, id: impl Fn(u32) -> String) -> PageHead {
    let rows: Vec<String> = (0..50).map(|n| format!("{{{}}}", id(n))).collect();
    let body = format!(r#"{{"maxRows":50,"data":[{}]}}"#, rows.join(","));
    provider("").head(&ask(DEPOSITS), number, body.as_bytes()).unwrap()
}

#[test]
fn rows_without_a_readable_id_at_the_same_place_of_two_pages_are_not_one_record() {
    let odd = |page: u32| {
        move |n: u32| {
            if n == 3 {
                String::new()
            } else {
                format!("\"idDeposit\":{page}{n:02}")
            }
        }
    };
    let mut last = full_page(2, |n| format!("\"idDeposit\":3{n:02}"));
    last.next = None;
    let proof = PageHead {
        confirms: true,
        ..full_page(0, odd(1))
    };
    assert_eq!(
        next(&[full_page(0, odd(1)), full_page(1, odd(2)), last, proof]),
        Step::Done
    );
}

#[test]
fn an_ignored_page_number_is_seen_where_no_row_has_a_readable_id() {
    let odd = |what: u32| move |n: u32| format!("\"id\":{what}{n:02}");
    let pages: Vec<PageHead> = (0..3).map(|number| full_page(number, odd(7))).collect();
    assert!(matches!(next(&pages), Step::Broken { .. }));
    let others: Vec<PageHead> = (0..3).map(|number| full_page(number, odd(number + 1))).collect();
    assert!(matches!(next(&others), Step::Get { number: 3, .. }));
}

// -- rows ---------------------------------------------------------------------------------------------------------------

#[test]
fn rows_of_another_merchant_are_foreign() {
    let row = |merchant: &str| {
        format!(
            r#"{{"idDeposit":{merchant},"creationDate":"2025-03-04T15:00:00Z","amount":1,"currency":"PEN","status":"PENDING","idMerchant":{merchant}}}"#
        )
    };
    let page = |merchants: &[&str]| {
        let rows: Vec<String> = merchants.iter().map(|m| row(m)).collect();
        format!("{{\"data\":[{}]}}", rows.join(","))
    };
    let foreign = |settings: &str, merchants: &[&str]| {
        provider(settings)
            .parse(&ask(DEPOSITS), 0, page(merchants).as_bytes())
            .foreign
            .is_some()
    };
    assert!(!foreign("expected_merchant_id = 456", &["456", "456"]));
    assert!(foreign("expected_merchant_id = 456", &["456", "457"]));
    assert!(foreign("", &["456", "457"]), "one page, two merchants");
    assert!(!foreign("", &["457"]));
}

#[test]
fn report_rows_of_days_outside_the_window_wait_for_their_own() {
    let row = |date: &str| {
        format!(
            r#"{{"idMerchant":456,"date":"{date}","currency":"PEN","depositTotal":1,"depositFeeTotal":0,"cashoutTotal":0,"noteTotal":0,"settlementTotal":0,"cancelledSettlementTotal":0,"netAmount":1,"totalBalance":1}}"#
        )
    };
    let dates = [
        "2025-03-03T00:00:00Z",
        "2025-03-04T00:00:00Z",
        "2025-03-05T00:00:00Z",
        "2025-03-04T05:00:00Z",
    ];
    let rows: Vec<String> = dates.iter().map(|d| row(d)).collect();
    let body = format!("{{\"rows\":4,\"data\":[{}]}}", rows.join(","));
    let parsed = provider("").parse(&ask(BALANCE_REPORT), 0, body.as_bytes());
    let read: std::collections::BTreeSet<u32> = parsed.balances.iter().map(|(row, _)| *row).collect();
    assert_eq!(read, [1, 3].into(), "the label's day, or Lima's day of another time");
    assert!(parsed.unreadable.is_empty());
}

#[test]
fn a_second_balance_of_one_type_and_currency_is_unreadable() {
    let body = r#"{"balances":[{"currency":"PEN","type":"PRIMARY","data":{"totalBalance":1}},{"currency":"PEN","type":"PRIMARY","data":{"totalBalance":2}}]}"#;
    let parsed = provider("").parse(&ask(BALANCE), 0, body.as_bytes());
    assert_eq!((parsed.balances.len(), parsed.unreadable.len()), (1, 1));
}
