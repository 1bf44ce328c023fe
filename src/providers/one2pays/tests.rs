use std::sync::Arc;

use super::*;
use crate::config::Source;
use crate::day::parse_instant;
use crate::failure::Class;
use crate::providers::{StatementItem, Total};
use crate::record::{Balance, TransactionKind};
use crate::window::Window;

fn built(more: &str) -> (Option<Built>, Vec<String>) {
    let text = format!("base_url = \"https://api.example.com\"\napi_key = \"env:A\"\nsecret_key = \"env:S\"\n{more}");
    let source = Source {
        file: "one2pays.toml",
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

fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

fn ask(feed: &'static str) -> Ask {
    Ask {
        feed,
        window: Window {
            from: at("2026-01-09T17:00:00Z"),
            until: at("2026-01-15T17:00:00Z"),
        },
        subject: None,
        beside: Vec::new(),
        account: String::new(),
        as_of: at("2026-01-15T19:00:00Z"),
        zone: chrono_tz::Asia::Bangkok,
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
        received_at: at("2026-01-15T19:00:00Z"),
    }
}

// -- settings -----------------------------------------------------------------------------------------------------------

#[test]
fn the_documents_defaults_hold_when_the_settings_are_silent() {
    let limits = |more: &str| built(more).0.unwrap().limits;
    assert_eq!(limits("").requests_per_minute, 800);
    assert_eq!(limits("environment = \"sandbox\"").requests_per_minute, 80);
    assert_eq!(limits("requests_per_minute = 70").requests_per_minute, 70);
    assert_eq!(limits("").max_retry_wait, Duration::from_secs(120));
    assert_eq!(limits("").lookback, TimeDelta::days(7));
    assert_eq!(provider("").max_passes(), 3);
    assert_eq!(provider("").request(&ask(PAYMENTS), 2, &[]).query, "page=2&limit=100");
}

#[test]
fn extra_parameters_are_sent_encoded_and_cannot_touch_the_paging() {
    let with = provider("extra_query = { \"sort\" = \"a&b=c\" }");
    assert_eq!(
        with.request(&ask(WITHDRAWS), 1, &[]).query,
        "page=1&limit=100&sort=a%26b%3Dc"
    );
    assert_eq!(with.request(&ask(BALANCE), 1, &[]).query, "");
    assert_eq!(built("extra_query = { page = 2 }").1.len(), 1);
    assert_eq!(built("status_overrides = { x = \"perhaps\" }").1.len(), 1);
    assert_eq!(built("page_limit = 101\namount_unit = \"euro\"").1.len(), 2);
}

#[test]
fn the_base_url_has_no_default() {
    let source = Source {
        file: "one2pays.toml",
        text: "api_key = \"env:A\"\nsecret_key = \"env:S\"",
    };
    let mut section = Section::parse(&source);
    assert!(build(&mut section).is_none());
    assert_eq!(section.finish().len(), 1);
}

// -- refusals -----------------------------------------------------------------------------------------------------------

fn error(code: &str, metadata: &str) -> String {
    format!(r#"{{"success":false,"error":{{"code":"{code}","message":"m","metadata":{metadata}}}}}"#)
}

#[test]
fn the_wait_after_a_429_is_the_first_of_header_seconds_instant_and_a_minute() {
    let wait = |headers: &[(&str, &str)], metadata: &str| match provider("").judge(
        &ask(PAYMENTS),
        &reply(429, headers, &error("RATE_LIMIT_EXCEEDED", metadata)),
    ) {
        Judgement::Retry { after, .. } => after.map(|after| after.as_secs()),
        other => panic!("{other:?}"),
    };
    let both = r#"{"limit":1000,"remaining":0,"retryAfter":7,"resetAt":"2026-01-15T19:00:30Z"}"#;
    assert_eq!(wait(&[("retry-after", "9")], both), Some(9));
    assert_eq!(wait(&[], both), Some(7));
    assert_eq!(wait(&[], r#"{"retryAfter":"7"}"#), Some(7));
    assert_eq!(wait(&[], r#"{"retryAfter":6.5}"#), Some(7), "never too early");
    assert_eq!(wait(&[], r#"{"resetAt":"2026-01-15T19:00:30.000Z"}"#), Some(30));
    assert_eq!(wait(&[], r#"{"resetAt":"2026-01-15T18:00:00Z"}"#), Some(0));
    assert_eq!(wait(&[], r#"{"retryAfter":-1,"resetAt":"soon"}"#), Some(60));
    assert_eq!(wait(&[], "null"), Some(60));
    let plain = provider("").judge(&ask(PAYMENTS), &reply(429, &[], "slow down"));
    assert!(matches!(plain, Judgement::Retry { after: Some(wait), .. } if wait.as_secs() == 60));
}

#[test]
fn refusals_mean_what_the_documents_table_says() {
    let judge = |status, body: &str| provider("").judge(&ask(PAYMENTS), &reply(status, &[], body));
    for (status, code) in [
        (401, "INVALID_CREDENTIALS"),
        (401, "AUTHENTICATION_ERROR"),
        (200, "AUTHENTICATION_ERROR"),
    ] {
        assert!(
            matches!(judge(status, &error(code, "null")), Judgement::Renew { .. }),
            "{code}"
        );
    }
    assert!(matches!(judge(401, ""), Judgement::Renew { .. }));
    let class = |status, body: &str| match judge(status, body) {
        Judgement::Fail { class, .. } | Judgement::Refused { class, .. } => Some(class),
        _ => None,
    };
    assert_eq!(class(403, &error("FORBIDDEN", "null")), Some(Class::Auth));
    assert_eq!(class(400, &error("VALIDATION_ERROR", "{}")), Some(Class::Protocol));
    assert_eq!(class(404, &error("RESOURCE_NOT_FOUND", "{}")), Some(Class::Config));
    assert_eq!(class(200, &error("SOMETHING_ELSE", "{}")), Some(Class::Protocol));
    assert_eq!(class(200, r#"{"success":false}"#), Some(Class::Protocol));
    assert_eq!(class(307, ""), Some(Class::Protocol));
    assert!(matches!(
        judge(200, &error("RATE_LIMIT_EXCEEDED", "{}")),
        Judgement::Retry { .. }
    ));
    assert!(matches!(judge(503, &error("INTERNAL", "{}")), Judgement::Retry { .. }));
    assert_eq!(judge(200, r#"{"success":true,"data":{}}"#), Judgement::Page);
}

// -- the walk -----------------------------------------------------------------------------------------------------------

fn page(number: u32, ids: &[u64], total: u64, total_pages: u32) -> PageHead {
    PageHead {
        number,
        rows: ids.len() as u32,
        ids: ids.to_vec().into(),
        total: Some(total),
        total_pages: Some(total_pages),
        ..PageHead::default()
    }
}

fn next(heads: &[PageHead]) -> Step {
    provider("").next(&ask(PAYMENTS), heads)
}

#[test]
fn the_first_page_tells_how_many_there_are_and_the_others_are_read_side_by_side() {
    assert_eq!(
        next(&[]),
        Step::Get {
            number: 1,
            confirms: false
        }
    );
    assert_eq!(next(&[page(1, &[1, 2], 5, 3)]), Step::GetAll { numbers: 2..=3 });
    assert_eq!(
        next(&[page(1, &[1, 2], 5, 3), page(3, &[5], 5, 3)]),
        Step::GetAll { numbers: 2..=2 },
        "a cut walk"
    );
    assert_eq!(
        next(&[page(1, &[1, 2], 5, 3), page(3, &[5], 5, 3), page(2, &[3, 4], 5, 3)]),
        Step::Done
    );
    assert_eq!(next(&[page(1, &[], 0, 0)]), Step::Done);
    assert_eq!(next(&[page(1, &[1], 1, 1)]), Step::Done);
}

#[test]
fn what_moved_is_read_again() {
    for (story, heads) in [
        (
            "inserted: the total grew",
            vec![page(1, &[1, 2], 4, 2), page(2, &[2, 3], 5, 3)],
        ),
        (
            "removed and inserted: a row slipped through",
            vec![page(1, &[1, 2], 4, 2), page(2, &[2, 3], 4, 2)],
        ),
        (
            "an empty page in the middle",
            vec![page(1, &[1, 2], 5, 3), page(2, &[], 5, 3), page(3, &[5], 5, 3)],
        ),
        ("empty, but a total", vec![page(1, &[], 3, 0)]),
        ("rows beyond the total", vec![page(1, &[1, 2], 1, 1)]),
    ] {
        assert!(
            matches!(next(&heads), Step::Again { .. }),
            "{story}: {:?}",
            next(&heads)
        );
    }
}

#[test]
fn an_ignored_page_number_is_broken() {
    let heads = [page(1, &[1, 2], 4, 2), page(2, &[1, 2], 4, 2)];
    assert!(matches!(next(&heads), Step::Broken { .. }));
    assert!(matches!(
        next(&[page(1, &[1], 9_999_999, u32::MAX)]),
        Step::Broken { .. }
    ));
}

#[test]
fn without_a_number_of_pages_the_walk_ends_at_an_empty_one() {
    let unknown = |number, ids: &[u64]| PageHead {
        total: None,
        total_pages: None,
        ..page(number, ids, 0, 0)
    };
    assert_eq!(
        next(&[unknown(1, &[1])]),
        Step::Get {
            number: 2,
            confirms: false
        }
    );
    let mut heads = vec![unknown(1, &[1]), unknown(2, &[])];
    for number in 1..=2 {
        let confirms = true;
        assert_eq!(
            next(&heads),
            Step::Get { number, confirms },
            "no total to count by: read twice"
        );
        let page = heads[number as usize - 1].clone();
        heads.push(PageHead { confirms, ..page });
    }
    assert_eq!(next(&heads), Step::Done);
    heads[2].ids = vec![7].into();
    assert!(matches!(next(&heads), Step::Again { .. }));
    assert!(matches!(
        next(&[unknown(1, &[1, 2]), unknown(2, &[2]), unknown(3, &[])]),
        Step::Again { .. }
    ));
}

#[test]
fn rows_without_a_readable_id_are_counted_and_repeat_nothing() {
    let page = |number: u32, rows: &str| {
        let counter = if rows.is_empty() {
            format!(r#","page":{number}"#)
        } else {
            String::new()
        };
        let body = format!(r#"{{"success":true,"data":{{"data":[{rows}],"limit":2{counter}}}}}"#);
        provider("").head(&ask(PAYMENTS), number, body.as_bytes()).unwrap()
    };
    let odd = |amount: u32| format!(r#"{{"id":null,"amount":"{amount}"}}"#);
    let again = |number, rows: &str| PageHead {
        confirms: true,
        ..page(number, rows)
    };
    let heads = [page(1, &odd(1)), page(2, &odd(2)), page(3, "")];
    let proof = [again(1, &odd(1)), again(2, &odd(2)), again(3, "")];
    assert_eq!(next(&[heads, proof].concat()), Step::Done);
    assert!(matches!(
        next(&[page(1, &odd(1)), page(2, &odd(1))]),
        Step::Broken { .. }
    ));
}

fn list(number: u32, total_pages: u32, rows: &[(u32, &str)]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(id, day)| {
            format!(r#"{{"id":"{id}","amount":"1","status":"succeeded","createdAt":"2026-01-{day}T00:00:00Z"}}"#)
        })
        .collect();
    format!(
        r#"{{"success":true,"data":{{"data":[{}],"total":9,"page":{number},"limit":2,"totalPages":{total_pages}}}}}"#,
        rows.join(",")
    )
}

#[test]
fn a_newest_first_list_is_left_early_only_when_its_pages_prove_the_order() {
    let sorted = provider("assume_sort = \"created_desc\"\nlate_change_days = 2");
    // The window begins on 9 January, 17:00Z; two days before it is old enough.
    let head = |number, rows: &[(u32, &str)]| {
        sorted
            .head(&ask(PAYMENTS), number, list(number, 4, rows).as_bytes())
            .unwrap()
    };
    let first = head(1, &[(9, "15"), (8, "14")]);
    let old = head(2, &[(7, "10"), (6, "02")]);
    let step = |heads: &[PageHead]| sorted.next(&ask(PAYMENTS), heads);
    assert_eq!(
        step(std::slice::from_ref(&first)),
        Step::Get {
            number: 2,
            confirms: false
        }
    );
    assert_eq!(step(&[first.clone(), old.clone()]), Step::Done);
    let unsorted = head(2, &[(7, "02"), (6, "10")]);
    assert_eq!(step(&[first.clone(), unsorted]), Step::GetAll { numbers: 3..=4 });
    let crossing = head(1, &[(9, "15"), (8, "05")]);
    assert!(matches!(
        step(&[crossing, head(2, &[(7, "10"), (6, "02")])]),
        Step::GetAll { .. } | Step::Done
    ));
    assert!(matches!(
        provider("").next(&ask(PAYMENTS), &[first]),
        Step::Get { .. } | Step::GetAll { .. }
    ));
    let parsed = sorted.parse(&ask(PAYMENTS), 2, list(2, 4, &[(7, "10"), (6, "02")]).as_bytes());
    assert_eq!(
        parsed.transactions.len(),
        1,
        "what is too old is passed over wherever the page ends"
    );
}

#[test]
fn pages_that_follow_each_other_out_of_order_do_not_end_the_walk_early() {
    let sorted = provider("assume_sort = \"created_desc\"\nlate_change_days = 2");
    let head = |number, rows: &[(u32, &str)]| {
        sorted
            .head(&ask(PAYMENTS), number, list(number, 4, rows).as_bytes())
            .unwrap()
    };
    let heads = [head(1, &[(9, "12"), (8, "11")]), head(2, &[(7, "15"), (6, "02")])];
    assert_eq!(sorted.next(&ask(PAYMENTS), &heads), Step::GetAll { numbers: 3..=4 });
}

#[test]
fn heads_refuse_what_would_mislead_the_walk() {
    for (body, fine) in [
        (
            r#"{"success":true,"data":{"data":[],"total":0,"page":1,"limit":50,"totalPages":0}}"#,
            true,
        ),
        (r#"{"success":true,"data":{"data":[],"page":1}}"#, true),
        (r#"{"success":true,"data":{"data":[]}}"#, false),
        (r#"{"success":false,"data":{"data":[],"total":0,"page":1}}"#, false),
        (r#"{"data":{"data":[],"total":0,"page":1}}"#, false),
        (r#"{"success":true,"data":{"data":[],"total":"many","page":1}}"#, false),
        (r#"{"success":true,"data":{"data":[],"total":0,"page":2}}"#, false),
        (r#"{"success":true,"data":{"data":null}}"#, false),
        (r#"{"success":true,"data":[]}"#, false),
        (r#"{"success":true}"#, false),
    ] {
        assert_eq!(
            provider("").head(&ask(PAYMENTS), 1, body.as_bytes()).is_ok(),
            fine,
            "{body}"
        );
    }
}

// -- rows ---------------------------------------------------------------------------------------------------------------

#[test]
fn amounts_are_read_in_the_configured_unit() {
    let body = |amount: &str| {
        format!(r#"{{"success":true,"data":{{"data":[{{"id":"1","amount":"{amount}","status":"paid"}}]}}}}"#)
    };
    let read = |settings: &str, amount: &str| {
        let parsed = provider(settings).parse(&ask(WITHDRAWS), 1, body(amount).as_bytes());
        (
            parsed.transactions.first().map(|(_, t)| t.amount_minor),
            parsed.misconfigured.is_some(),
        )
    };
    for (amount, satang, baht) in [("1000.00", 1000, 100_000), ("100", 100, 10_000)] {
        assert_eq!(read("", amount), (Some(-satang), false));
        assert_eq!(read("amount_unit = \"baht\"", amount), (Some(-baht), false));
    }
    assert_eq!(
        read("", "1000.50"),
        (None, true),
        "a fraction of a satang proves the setting wrong"
    );
    assert_eq!(read("amount_unit = \"baht\"", "1000.50"), (Some(-100_050), false));
    let balance = r#"{"success":true,"data":{"walletBalance":12500.5,"settlementBalance":3200,"currency":"THB"}}"#;
    assert!(
        provider("balance_unit = \"satang\"")
            .parse(&ask(BALANCE), 1, balance.as_bytes())
            .misconfigured
            .is_some()
    );
}

#[test]
fn overrides_come_before_the_documents_own_statuses() {
    let body = r#"{"success":true,"data":{"data":[{"id":"1","amount":"1","status":"expired"}]}}"#;
    let status = |settings: &str| {
        let parsed = provider(settings).parse(&ask(PAYMENTS), 1, body.as_bytes());
        (parsed.transactions[0].1.status, parsed.transactions[0].1.is_final)
    };
    assert_eq!(status(""), (Status::Failed, true));
    assert_eq!(
        status("status_overrides = { expired = \"open\" }"),
        (Status::Open, false)
    );
    assert_eq!(
        status("status_overrides = { expired = \"moved\" }"),
        (Status::Settled, true)
    );
}

// -- arithmetic ---------------------------------------------------------------------------------------------------------

fn books() -> Books {
    let figure = |as_of: &str, item: &str, amount_minor| Balance {
        account: String::new(),
        feed: BALANCE,
        subject: String::new(),
        as_of: at(as_of),
        currency: "THB".parse().unwrap(),
        item: item.into(),
        amount_minor,
    };
    let total = |feed: &str, kind, day: &str, status, amount_minor| Total {
        account: String::new(),
        feed: feed.into(),
        subject: String::new(),
        kind,
        status,
        currency: "THB".parse().unwrap(),
        changed_day: Some(day.parse().unwrap()),
        count: 1,
        amount_minor,
        fee_minor: 0,
    };
    Books {
        zone: chrono_tz::Asia::Bangkok,
        as_of: at("2026-01-15T19:00:00Z"),
        business_day: "2026-01-15".parse().unwrap(),
        balances: vec![
            figure("2026-01-14T19:00:00Z", "settlement_balance", 1000),
            figure("2026-01-14T19:00:00Z", "wallet_balance", 10_000),
            figure("2026-01-15T19:00:00Z", "settlement_balance", 1500),
            figure("2026-01-15T19:00:00Z", "wallet_balance", 10_100),
        ],
        totals: vec![
            total(PAYMENTS, TransactionKind::Payment, "2026-01-15", Status::Settled, 900),
            total(PAYMENTS, TransactionKind::Payment, "2026-01-15", Status::Failed, 77),
            total(PAYMENTS, TransactionKind::Payment, "2026-01-14", Status::Settled, 55),
            total(
                WITHDRAWS,
                TransactionKind::Withdraw,
                "2026-01-15",
                Status::Settled,
                -250,
            ),
        ],
        related: Vec::new(),
        repeated_ids: Vec::new(),
        calibration: BTreeMap::new(),
        sealed_subjects: Default::default(),
        gaps: Vec::new(),
    }
}

#[test]
fn the_wallets_change_is_held_against_what_moved_that_day_as_advice() {
    let relations = provider("").relations(&books());
    assert_eq!(relations.len(), 1);
    assert!(relations[0].advisory && relations[0].detail.starts_with("one2pays balance: "));
    assert_eq!((relations[0].stated_minor, relations[0].computed_minor), (600, 650));
    assert!(
        relations[0].detail.contains("0.50 THB too little"),
        "{}",
        relations[0].detail
    );
    let lines: Vec<(StatementItem, i64)> = provider("")
        .statement(&books())
        .into_iter()
        .map(|line| (line.line, line.amount_minor))
        .collect();
    assert_eq!(
        lines,
        [
            (StatementItem::Opening, 11_000),
            (StatementItem::Explained("payment".into()), 900),
            (StatementItem::Explained("withdraw".into()), -250),
            (StatementItem::Closing, 11_600),
            (StatementItem::Residual, -50),
        ]
    );
}

#[test]
fn nothing_is_said_about_a_wallet_while_a_list_was_not_read_to_its_end() {
    for feed in [PAYMENTS, WITHDRAWS] {
        let books = Books {
            gaps: vec![(feed.to_owned(), ask(PAYMENTS).window)],
            ..books()
        };
        assert!(provider("").relations(&books).is_empty() && provider("").statement(&books).is_empty());
    }
}

// -- records asked about alone ------------------------------------------------------------------------------------------

#[test]
fn a_record_listed_without_a_reference_is_asked_about_alone_unless_the_settings_forbid_it() {
    let rows = r#"{"id":"a/b","amount":"1","status":"succeeded"},{"id":"c","referenceId":"R","amount":"1","status":"succeeded"}"#;
    let body = format!(r#"{{"success":true,"data":{{"data":[{rows}],"total":2}}}}"#);
    let subjects = |more: &str| provider(more).parse(&ask(PAYMENTS), 1, body.as_bytes()).subjects;
    let named = subjects("");
    assert_eq!(named.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["a/b"]);
    assert_eq!(subjects("max_reference_lookups = 0"), []);
    let alone = |feed| Ask {
        subject: Some("a/b".into()),
        ..ask(feed)
    };
    let path = |feed| provider("").request(&alone(feed), 1, &[]).path;
    assert_eq!(path(PAYMENT_DETAILS), "/api/v1/payments/a%2Fb");
    assert_eq!(path(WITHDRAW_DETAILS), "/api/v1/withdraws/a%2Fb");
    let absent = reply(404, &[], &error("RESOURCE_NOT_FOUND", "{}"));
    assert!(matches!(
        provider("").judge(&alone(PAYMENT_DETAILS), &absent),
        Judgement::Absent { .. }
    ));
    let elsewhere = reply(404, &[], "not found");
    assert!(matches!(
        provider("").judge(&alone(PAYMENT_DETAILS), &elsewhere),
        Judgement::Refused { .. }
    ));
    assert!(matches!(
        provider("").judge(&ask(PAYMENTS), &absent),
        Judgement::Fail { .. }
    ));
}

#[test]
fn an_answer_about_one_record_says_its_reference_and_nothing_else() {
    let alone = Ask {
        subject: Some("p1".into()),
        ..ask(PAYMENT_DETAILS)
    };
    let parse = |row: &str| provider("").parse(&alone, 1, format!(r#"{{"success":true,"data":{row}}}"#).as_bytes());
    let said = parse(r#"{"id":"p1","referenceId":"order-1","amount":"999.00","status":"failed"}"#);
    assert_eq!(said.references, [("p1".to_owned(), Some("order-1".to_owned()))]);
    assert_eq!((said.transactions.len(), said.unreadable.len()), (0, 0));
    assert_eq!(
        parse(r#"{"id":"p1","referenceId":null}"#).references,
        [("p1".to_owned(), None)]
    );
    for wrong in [
        r#"{"id":"p2","referenceId":"x"}"#,
        r#"{"id":"p1","referenceId":{}}"#,
        r#"{"referenceId":"x"}"#,
    ] {
        let parsed = parse(wrong);
        assert_eq!((parsed.references.len(), parsed.unreadable.len()), (0, 1), "{wrong}");
        let answer = reply(200, &[], &format!(r#"{{"success":true,"data":{wrong}}}"#));
        let judged = provider("").judge(&alone, &answer);
        assert!(matches!(judged, Judgement::Refused { .. }), "{wrong}: {judged:?}");
    }
    let head = |body: &str| provider("").head(&alone, 1, body.as_bytes()).is_ok();
    assert!(head(r#"{"success":true,"data":{"id":"p1"}}"#));
    assert!(!head(r#"{"success":false,"data":{"id":"p1"}}"#) && !head(r#"{"success":true}"#) && !head("[]"));
}
