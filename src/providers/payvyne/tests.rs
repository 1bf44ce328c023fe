use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::config::Source;
use crate::day::{next_day, parse_instant, start_of_day};
use crate::providers::{Method, Related, StatementItem, Total};
use crate::record::{Balance, Status, TransactionKind};
use crate::window::Window;

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
        ids: vec![1],
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
        ids: ids.to_vec(),
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
fn a_partners_accounts_carry_their_merchant_and_a_merchants_sweep_of_another_is_foreign() {
    let rows = [sweep_row("x", "", "GBP3", r#","merchant":{"id":"m1"}"#)];
    let partner = parse("form = \"partner\"\nexpected_merchant = \"platform\"", &rows);
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

// -- arithmetic ---------------------------------------------------------------------------------------------------------

/// Opening, closing, reserved, transferred, then value and count of each kind of the summary.
struct World {
    sweeps: Vec<(&'static str, &'static str, [i64; 4], [(i64, i64); 7])>,
    /// Sweep, kind, count, sum of effects.
    members: Vec<(&'static str, TransactionKind, i64, i64)>,
    calibration: BTreeMap<String, String>,
}

const SUMMARY_OF_THE_DOCUMENT: [(i64, i64); 7] = [
    (125_000, 3),
    (5000, 1),
    (7500, 1),
    (625, 3),
    (20_000, 1),
    (2000, 1),
    (2000, 1),
];

/// The document's sweep, which closes in every way.
fn world() -> World {
    use TransactionKind::*;
    World {
        sweeps: vec![(
            "s1",
            "2025-03-04T23:59:12Z",
            [10_000, 10_000, 10_000, 131_875],
            SUMMARY_OF_THE_DOCUMENT,
        )],
        members: vec![
            ("s1", Payment, 3, 125_000),
            ("s1", Refund, 1, -5000),
            ("s1", Payout, 1, -7500),
            ("s1", Fee, 3, -625),
            ("s1", TopUp, 1, 20_000),
            ("s1", MiscPayment, 1, 2000),
            ("s1", MiscReturn, 1, -2000),
        ],
        calibration: BTreeMap::new(),
    }
}

impl World {
    fn books(&self) -> Books {
        let mut balances = Vec::new();
        for (sweep, at, ends, summary) in &self.sweeps {
            let mut figure = |item: String, amount_minor| {
                balances.push(Balance {
                    account: "GBP3".into(),
                    feed: SWEEPS,
                    subject: (*sweep).into(),
                    as_of: parse_instant(at).unwrap(),
                    currency: "GBP".parse().unwrap(),
                    item,
                    amount_minor,
                });
            };
            for (item, amount) in [
                "opening_balance",
                "closing_balance",
                "reserved_balance",
                "transferred_amount",
            ]
            .iter()
            .zip(ends)
            {
                figure((*item).into(), *amount);
            }
            for ((_, item, ..), (value, count)) in wire::SUMMARY.iter().zip(summary) {
                figure((*item).into(), *value);
                figure(format!("{item}_count"), *count);
            }
        }
        let total = |(sweep, kind, count, amount_minor): &(&str, TransactionKind, i64, i64)| Total {
            account: String::new(),
            feed: SWEEP_TRANSACTIONS.into(),
            subject: (*sweep).into(),
            kind: *kind,
            status: Status::Settled,
            currency: "GBP".parse().unwrap(),
            changed_day: None,
            count: *count,
            amount_minor: *amount_minor,
            fee_minor: 0,
        };
        Books {
            zone: LONDON,
            as_of: day("2025-03-06").until,
            business_day: "2025-03-06".parse().unwrap(),
            balances,
            totals: self.members.iter().map(total).collect(),
            related: Vec::new(),
            repeated_ids: Vec::new(),
            calibration: self.calibration.clone(),
            sealed_subjects: self.sweeps.iter().map(|(sweep, ..)| (*sweep).to_owned()).collect(),
            gaps: Vec::new(),
        }
    }
}

fn broken(settings: &str, books: &Books) -> Vec<(String, String, i64)> {
    provider(settings)
        .relations(books)
        .into_iter()
        .filter(|r| r.stated_minor != r.computed_minor)
        .map(|r| {
            assert!(r.detail.starts_with(&format!("payvyne {}: ", r.name)), "{}", r.detail);
            assert_eq!(r.settlement, matches!(r.name, "R3" | "R4"));
            (r.name.to_owned(), r.subject, r.stated_minor - r.computed_minor)
        })
        .collect()
}

fn found(name: &str, subject: &str, residual: i64) -> (String, String, i64) {
    (name.to_owned(), subject.to_owned(), residual)
}

#[test]
fn the_documents_sweep_closes_in_every_relation() {
    let relations = provider("").relations(&world().books());
    assert!(
        relations.iter().all(|r| r.stated_minor == r.computed_minor),
        "{relations:#?}"
    );
    for name in ["R1", "R2", "R3", "R4", "R6"] {
        assert!(relations.iter().any(|r| r.name == name), "{name}");
    }
    assert!(provider("").calibrate(&world().books()).is_empty());
}

#[test]
fn a_payment_missing_from_the_list_is_named_and_a_wrong_figure_is_found() {
    let mut lost = world();
    lost.members[0] = ("s1", TransactionKind::Payment, 2, 125_000 - 5862);
    assert_eq!(
        broken("", &lost.books()),
        [found("R3", "s1/payments", 5862), found("R4", "s1", 5862)]
    );
    let detail = provider("")
        .relations(&lost.books())
        .into_iter()
        .find(|r| r.subject == "s1/payments")
        .unwrap()
        .detail;
    assert!(
        detail.ends_with("1 payment of 58.62 GBP missing from the list"),
        "{detail}"
    );
    let mut stated = world();
    stated.sweeps[0].3[1].0 += 100;
    assert_eq!(
        broken("", &stated.books()),
        [found("R1", "s1", 100), found("R3", "s1/refunds", 100)]
    );
    let mut transferred = world();
    transferred.sweeps[0].2[2] -= 1000;
    assert_eq!(broken("", &transferred.books()), [found("R2", "s1", -1000)]);
    let mut counted = world();
    counted.sweeps[0].3[3].1 = 4;
    assert_eq!(broken("", &counted.books()), [found("R3", "s1/fees", 1)]);
}

#[test]
fn a_sweep_whose_transactions_were_not_read_to_their_end_is_not_held_against_them() {
    let mut lost = world();
    lost.members.clear();
    let books = Books {
        sealed_subjects: Default::default(),
        ..lost.books()
    };
    assert_eq!(broken("", &books), []);
    assert_eq!(
        broken("", &lost.books())
            .iter()
            .filter(|(name, ..)| name == "R4")
            .count(),
        1
    );
}

#[test]
fn a_transfer_that_is_listed_is_no_member_but_must_be_the_amount_that_left() {
    let mut listed = world();
    listed.members.push(("s1", TransactionKind::Transfer, 1, -131_875));
    assert_eq!(broken("", &listed.books()), []);
    listed.members.pop();
    listed.members.push(("s1", TransactionKind::Transfer, 1, -131_800));
    assert_eq!(broken("", &listed.books()), [found("R3", "s1/transfer", 75)]);
}

#[test]
fn the_chain_of_sweeps_names_the_lost_one_and_is_silent_across_a_gap() {
    let mut chain = world();
    let nothing = [(0, 0); 7];
    chain
        .sweeps
        .push(("s2", "2025-03-06T23:59:00Z", [4138, 4138, 4138, 0], nothing));
    assert_eq!(broken("", &chain.books()), [found("R5", "s2", -5862)]);
    let detail = provider("")
        .relations(&chain.books())
        .into_iter()
        .find(|r| r.name == "R5")
        .unwrap()
        .detail;
    assert!(
        detail.ends_with(
            "likely a sweep missing from the list between 2025-03-04 and 2025-03-06, which changed GBP3 by -58.62 GBP"
        ),
        "{detail}"
    );
    let books = Books {
        gaps: vec![(SWEEPS.to_owned(), day("2025-03-05"))],
        ..chain.books()
    };
    assert_eq!(broken("", &books), []);
    let books = Books {
        gaps: vec![(SWEEPS.to_owned(), day("2025-03-07"))],
        ..chain.books()
    };
    assert_eq!(broken("", &books).len(), 1, "a gap elsewhere excuses nothing");
}

#[test]
fn the_sign_of_fees_is_learned_when_only_the_other_one_closes() {
    // Printed negative: read as a debit of a negative fee, so as credits.
    let mut signed = world();
    signed.members[3] = ("s1", TransactionKind::Fee, 3, 625);
    let learned = provider("").calibrate(&signed.books());
    assert_eq!(learned, BTreeMap::from([(FEE_SIGN.to_owned(), "signed".to_owned())]));
    assert!(
        provider("fee_sign = \"positive_is_debit\"")
            .calibrate(&signed.books())
            .is_empty(),
        "the settings have the last word"
    );
    // Read again under the learned sign everything closes, and the note stays.
    let again = World {
        calibration: learned.clone(),
        ..world()
    };
    assert_eq!(provider("").calibrate(&again.books()), learned);
    assert_eq!(broken("", &again.books()), []);
    // Neither sign closes: nothing is learned, the residual stands.
    let mut neither = world();
    neither.members[3] = ("s1", TransactionKind::Fee, 3, -600);
    assert!(provider("").calibrate(&neither.books()).is_empty());
    assert_eq!(broken("", &neither.books()).len(), 2);
}

#[test]
fn a_transaction_in_two_sweeps_and_a_refund_above_its_payment_are_found() {
    let mut two = world();
    two.sweeps
        .push(("s0", "2025-03-05T23:59:12Z", [10_000, 10_000, 10_000, 0], [(0, 0); 7]));
    let payment = |refunded: i64| Related {
        account: "GBP3".into(),
        related_id: "p1".into(),
        reference: Some("ORD-1".into()),
        kind: TransactionKind::Refund,
        currency: "GBP".parse().unwrap(),
        amount_minor: -refunded,
        related_amount_minor: 5000,
        related_currency: "GBP".parse().unwrap(),
        at: None,
    };
    let books = |refunded: i64| Books {
        repeated_ids: vec![("t1".into(), vec!["s0".into(), "s1".into()])],
        related: vec![payment(refunded)],
        ..two.books()
    };
    assert_eq!(
        broken("", &books(5000)),
        [found("R6", "s0", 1)],
        "the later sweep has it twice"
    );
    assert_eq!(broken("", &books(5001)), [found("R6", "s0", 1), found("R7", "p1", 1)]);
}

#[test]
fn a_kind_that_nobody_named_counts_with_the_sign_that_closes_the_sweep() {
    let mut books = world().books();
    let mut extra = books.balances[0].clone();
    extra.item = "summary_charge_backs".into();
    extra.amount_minor = 300;
    books.balances.push(extra);
    assert_eq!(broken("", &books), [], "a sweep that closes without it leaves it out");
    for (closing, residual) in [(10_300, 0), (9700, 0), (9800, -200)] {
        books
            .balances
            .iter_mut()
            .filter(|b| b.item == "closing_balance")
            .for_each(|b| b.amount_minor = closing);
        books
            .balances
            .iter_mut()
            .filter(|b| b.item == "reserved_balance")
            .for_each(|b| b.amount_minor = closing);
        let r1: Vec<i64> = broken("", &books)
            .into_iter()
            .filter(|(name, ..)| name == "R1")
            .map(|(.., residual)| residual)
            .collect();
        assert_eq!(r1, if residual == 0 { vec![] } else { vec![residual] }, "{closing}");
    }
}

#[test]
fn two_currencies_in_one_sweep_are_a_finding_and_are_never_summed() {
    let mut books = world().books();
    books.balances[1].currency = "EUR".parse().unwrap();
    assert_eq!(broken("", &books), [found("R6", "s1", 1)]);
    assert!(provider("").statement(&books).is_empty());
}

#[test]
fn monthly_billing_advises_when_a_sweep_has_fees() {
    let relations = provider("billing_mode = \"monthly\"").relations(&world().books());
    let billing = relations.iter().find(|r| r.name == "billing").unwrap();
    assert!(billing.advisory && billing.stated_minor == 625 && billing.computed_minor == 0);
    assert!(
        !provider("")
            .relations(&world().books())
            .iter()
            .any(|r| r.name == "billing")
    );
}

#[test]
fn the_statement_explains_a_day_from_its_first_sweep_to_its_last() {
    let mut world = world();
    world
        .sweeps
        .push(("s2", "2025-03-04T23:59:50Z", [10_000, 11_000, 20_000, 0], {
            let mut summary = [(0, 0); 7];
            summary[0] = (1000, 1);
            summary
        }));
    let lines = provider("").statement(&world.books());
    let shown: Vec<(StatementItem, i64)> = lines.iter().map(|l| (l.line.clone(), l.amount_minor)).collect();
    let explained = |kind: &str| StatementItem::Explained(kind.into());
    assert_eq!(
        shown,
        [
            (StatementItem::Opening, 10_000),
            (explained("payment"), 126_000),
            (explained("refund"), -5000),
            (explained("payout"), -7500),
            (explained("fee"), -625),
            (explained("top_up"), 20_000),
            (explained("misc_payment"), 2000),
            (explained("misc_return"), -2000),
            (explained("transfer"), -131_875),
            (StatementItem::Closing, 11_000),
            (StatementItem::Residual, 0),
        ]
    );
    assert_eq!(lines[0].source, "sweeps s1, s2");
}
