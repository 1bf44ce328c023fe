use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use secrecy::{ExposeSecret, SecretString};

use super::settings::Encoding;
use super::sign::asymmetric;
use super::*;
use crate::config::Source;
use crate::day::parse_instant;
use crate::failure::Class;
use crate::record::Status;
use crate::window::Window;

mod links;
mod refusals;
mod signatures;

const FLOW: &str = "e1d2c3b4a5968778695a4b3c2d1e0f10";
const PAYMENT: &str = "4f8b1c7d9e2a40563b6d8f0a1c3e5b79";
const PARTNER: &str = "20260115000000000000000000000042";
const CODE: &str = "9a7c5e3d1b8f46208e4c6a2d0f1b3957";
const CLIENT: &str = "0123456789abcdef0123456789abcdef";
const TOKEN: &str = "3d1f6b0a8c2e4975b1d0e6f7a9c84b25";
const SECRET: &str = "0b7d3f5a9c1e4826bd60f7a2c8e9d134";
const V3: &str = "api_generation = \"v3\"\npaths = { token = \"/dd/api/v3.0/access-token/b2b\" }";
const V2: &str = "api_generation = \"v2\"";

fn built(more: &str) -> (Option<Built>, Vec<String>) {
    let text = format!(
        "base_url = \"https://api.example.com\"\nclient_id = \"{CLIENT}\"\nclient_secret = \"env:S\"\n\
         private_key = \"env:K\"\nmerchant_id = \"TSTMER\"\n{more}"
    );
    let source = Source {
        file: "ayoconnect.toml",
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

fn other(more: &str) -> Arc<dyn Provider> {
    provider(more)
}

fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

fn now() -> Instant {
    at("2026-01-14T19:30:00Z")
}

/// `key|further|further`.
fn ask(feed: &'static str, key: &str) -> Ask {
    let mut parts = key.split('|').map(str::to_owned);
    let subject = parts.next();
    Ask {
        feed,
        window: Window {
            from: at("2026-01-14T17:00:00Z"),
            until: at("2026-01-15T17:00:00Z"),
        },
        subject,
        beside: parts.collect(),
        account: String::new(),
        as_of: at("2026-01-15T19:00:00Z"),
        zone: chrono_tz::Asia::Jakarta,
        calibration: Arc::default(),
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status,
        headers: vec![("retry-after".into(), "7".into())],
        body: body.as_bytes().to_vec(),
        received_at: at("2026-01-15T19:00:00Z"),
    }
}

/// A key made at run time by an independent implementation; none stands in the repository.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl");
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap()
});

fn keys() -> Keys {
    Keys::from([
        ("client_secret".into(), SECRET.into()),
        ("private_key".into(), KEY.as_str().into()),
    ])
}

fn session() -> Session {
    Session {
        token: SecretString::from(TOKEN),
        lifetime: None,
        idle: None,
        warnings: Vec::new(),
    }
}

fn code(code: &str) -> String {
    format!(r#"{{"responseCode":"{code}","responseMessage":"m"}}"#)
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    let mut found = request
        .headers
        .iter()
        .filter(|(n, _)| *n == name)
        .map(|(_, v)| v.as_str());
    let value = found.next();
    assert_eq!(found.next(), None, "{name} once");
    value
}

fn signed(settings: &str, ask: &Ask) -> Request {
    let provider = provider(settings);
    let mut request = provider.request(ask, 0, &[]);
    provider.sign(&mut request, Some(&session()), &keys(), now());
    request
}

// -- settings -----------------------------------------------------------------------------------------------------------

#[test]
fn the_defaults_are_the_documents_and_the_generation_has_none() {
    let (made, problems) = built(V2);
    assert_eq!(problems, Vec::<String>::new());
    let made = made.unwrap();
    assert_eq!(made.limits.requests_per_minute, 120);
    assert_eq!(
        (made.limits.max_in_flight, made.limits.lookback),
        (2, chrono::TimeDelta::days(30))
    );
    assert_eq!(made.provider.lookup_key(PAYMENTS), LookupKey::XExternalId);
    assert_eq!(provider(V3).lookup_key(PAYMENTS), LookupKey::ReferenceNo);
    assert_eq!(built("").1, ["`api_generation` is missing"]);
    assert!(built("api_generation = \"v3\"").1[0].contains("paths.token"));
}

#[test]
fn keys_of_the_wrong_form_are_refused_before_anything_is_sent_and_never_repeated() {
    let provider = provider(V2);
    assert_eq!(provider.check_keys(&keys()), Ok(()));
    for (name, value) in [
        ("client_secret", ""),
        ("private_key", "CANARY"),
        (
            "private_key",
            "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----",
        ),
    ] {
        let mut keys = keys();
        keys.insert(name.into(), value.into());
        let why = provider.check_keys(&keys).unwrap_err();
        assert!(why.contains(name) && !why.contains("CANARY"), "{why}");
    }
    let source = format!(
        "base_url = \"https://api.example.com\"\nclient_id = \"short\"\nclient_secret = \"env:S\"\nprivate_key = \"env:K\"\nmerchant_id = \"TSTMER\"\n{V2}"
    );
    let source = Source {
        file: "ayoconnect.toml",
        text: &source,
    };
    let short = build(&mut Section::parse(&source)).unwrap().provider;
    assert!(short.check_keys(&keys()).unwrap_err().contains("32 characters"));
}

fn problem(settings: &str, ask: &Ask) -> Option<String> {
    provider(settings).lookup_problem(ask.feed, ask.subject.as_deref().unwrap(), &ask.beside)
}

#[test]
fn keys_of_the_wrong_length_are_not_asked_about() {
    let bindings = format!("{V2}\nrecords = \"bindings\"");
    for (settings, feed, subject, fine) in [
        (V2, PAYMENTS, FLOW.to_owned(), true),
        (V2, PAYMENTS, FLOW[1..].to_owned(), false),
        (V2, PAYMENTS, FLOW.replace('e', "-"), false),
        (V3, PAYMENTS, PAYMENT.to_owned(), true),
        (V3, PAYMENTS, "|".to_owned(), false),
        (V3, PAYMENTS, "a b|".to_owned(), false),
        (&bindings, BINDINGS, format!("{FLOW}|{PARTNER}|{CODE}"), true),
        (&bindings, BINDINGS, format!("{FLOW}|{PARTNER}|"), false),
        (&bindings, BINDINGS, FLOW.to_owned(), false),
    ] {
        assert_eq!(problem(settings, &ask(feed, &subject)).is_none(), fine, "{subject}");
    }
}

// -- the session --------------------------------------------------------------------------------------------------------

#[test]
fn the_login_is_signed_with_the_private_key_and_names_the_merchant() {
    let login = provider(V2).login(&keys(), now()).unwrap();
    assert_eq!(login.path, "/api/v1.0/access-token/b2b");
    assert_eq!(
        String::from_utf8(login.body.clone()).unwrap(),
        r#"{"grantType":"client_credentials","additionalInfo":{"merchantId":"TSTMER"}}"#
    );
    assert_eq!(header(&login, "X-CLIENT-KEY"), Some(CLIENT));
    let at = header(&login, "X-TIMESTAMP").unwrap();
    assert_eq!(
        header(&login, "X-SIGNATURE").unwrap(),
        asymmetric(&KEY, CLIENT, at, Encoding::Hex).unwrap()
    );
}

#[test]
fn a_token_is_taken_with_its_life_as_number_or_text() {
    let open = |code: &str, expires: &str| {
        let body = format!(r#"{{"responseCode":"{code}","tokenType":"BearerToken","accessToken":"{TOKEN}"{expires}}}"#);
        let session = provider(V2).session(&reply(200, &body)).unwrap();
        assert_eq!(session.token.expose_secret(), TOKEN);
        session.lifetime.unwrap().as_secs()
    };
    assert_eq!(open("2001000", ",\"expiresIn\":3599"), 3539);
    assert_eq!(open("2007300", ",\"expiresIn\":\"3600\""), 3540);
    assert_eq!(open("2000000", ""), 3540);
    assert_eq!(open("2000000", ",\"expiresIn\":60"), 30);
}

#[test]
fn a_refused_login_may_be_the_clock_and_trouble_is_tried_again() {
    let open = |status, body: &str| provider(V2).session(&reply(status, body)).unwrap_err();
    for (status, body) in [
        (401, ""),
        (401, r#"{"responseCode":"4011000"}"#),
        (200, r#"{"responseCode":"4017300"}"#),
    ] {
        assert!(matches!(open(status, body), Judgement::Renew { .. }), "{status} {body}");
    }
    for (status, body) in [
        (502, "<html>"),
        (504, ""),
        (500, r#"{"responseCode":"4011000"}"#),
        (429, ""),
        (200, "<html>"),
        (200, r#"{"responseCode":"5001000"}"#),
        (200, r#"{"responseCode":"2001000","accessToken":"aaaa"#),
        (200, r#"{"responseCo"#),
    ] {
        assert!(matches!(open(status, body), Judgement::Retry { .. }), "{status} {body}");
    }
    for (status, body) in [(400, r#"{"responseCode":"4001000"}"#), (403, ""), (404, "")] {
        assert!(
            matches!(open(status, body), Judgement::Fail { class: Class::Auth, .. }),
            "{status} {body}"
        );
    }
    // A redirect, and whole answers that say nothing about the credentials.
    for (status, body) in [
        (302, ""),
        (200, "{}"),
        (200, r#"{"responseCode":"2001000"}"#),
        (200, r#"{"responseCode":"2001000","accessToken":"a b"}"#),
    ] {
        let protocol = Class::Protocol;
        assert!(
            matches!(open(status, body), Judgement::Fail { class, .. } if class == protocol),
            "{status} {body}"
        );
    }
}

// -- rows ---------------------------------------------------------------------------------------------------------------

fn read(settings: &str, word: &str, more: &str) -> Parsed {
    let (subject, body) = if settings.contains("v3") {
        let body = format!(
            r#"{{"responseCode":"2005500","originalReferenceNo":"{PAYMENT}","originalPartnerReferenceNo":"{PARTNER}","latestTransactionStatus":"{word}","transAmount":{{"value":"150000.00","currency":"IDR"}}{more}}}"#
        );
        (PAYMENT, body)
    } else {
        let body = format!(
            r#"{{"responseCode":"2003600","referenceNo":"{PAYMENT}","partnerReferenceNo":"{PARTNER}","amount":{{"value":"150000.00","currency":"IDR"}},"additionalInfo":{{"paymentResult":"{word}"{more}}}}}"#
        );
        (FLOW, body)
    };
    provider(settings).parse(&ask(PAYMENTS, subject), 0, body.as_bytes())
}

#[test]
fn statuses_of_both_generations_mean_what_the_table_says() {
    let status = |settings: &str, word: &str| read(settings, word, "").transactions[0].1.status;
    for (word, expected) in [
        ("SUCCESS", Status::Settled),
        ("success", Status::Settled),
        ("FAILED", Status::Failed),
        ("INITIATED", Status::Open),
        ("PROCESSING", Status::Open),
        ("PENDING_USER_VERIFICATION", Status::Open),
        ("PENDING_USER_VERIFICATION WITH URL", Status::Open),
        ("PENDING_USER_VERIFICATION_WITH_URL", Status::Open),
        ("TIMEOUT", Status::Open),
        ("00", Status::Unknown),
        ("CANCELLED", Status::Unknown),
        ("", Status::Unknown),
    ] {
        assert_eq!(status(V2, word), expected, "{word}");
    }
    for (word, expected) in [
        ("00", Status::Settled),
        ("01", Status::Open),
        ("02", Status::Open),
        ("03", Status::Open),
        ("06", Status::Failed),
        ("04", Status::Unknown),
        ("05", Status::Unknown),
        ("07", Status::Unknown),
        ("SUCCESS", Status::Unknown),
    ] {
        assert_eq!(status(V3, word), expected, "{word}");
    }
    let overridden = format!("{V3}\nstatus_overrides = {{ \"05\" = \"not_moved\" }}");
    assert_eq!(status(&overridden, "05"), Status::Failed);
}

#[test]
fn a_whole_refund_is_a_record_of_its_own_and_a_part_is_one_without_an_amount() {
    let rows = |state: &str| {
        let parsed = read(
            V3,
            "00",
            &format!(r#","additionalInfo":{{"settlementStatus":"{state}"}}"#),
        );
        let rows: Vec<_> = parsed
            .transactions
            .iter()
            .map(|(_, t)| (t.direction, t.amount_minor, t.status, t.provider_status.clone()))
            .collect();
        (rows, parsed.warnings.len())
    };
    let payment = |word: &str| (Direction::In, 15_000_000, Status::Settled, word.to_owned());
    assert_eq!(rows("SETTLED"), (vec![payment("00")], 0));
    assert_eq!(
        rows("REFUNDED"),
        (
            vec![
                payment("00, REFUNDED"),
                (Direction::Out, -15_000_000, Status::Settled, "REFUNDED".into())
            ],
            0
        )
    );
    for written in ["PARTIALLY REFUNDED", "PARTIALLY_REFUNDED"] {
        assert_eq!(
            rows(written),
            (
                vec![
                    payment("00, PARTIALLY REFUNDED"),
                    (Direction::Out, 0, Status::Unknown, "PARTIALLY REFUNDED".into())
                ],
                1
            )
        );
    }
    // Nobody says what became of the money.
    let held = (Direction::In, 15_000_000, Status::Unknown, "00, ON HOLD".to_owned());
    assert_eq!(rows("ON HOLD"), (vec![held], 1));
    let elsewhere = format!("{V3}\nsettlement_pointer = \"/settlement\"");
    assert_eq!(
        read(&elsewhere, "00", r#","settlement":"REFUNDED""#).transactions.len(),
        2
    );
}

#[test]
fn the_settings_name_a_settlement_status_and_before_a_success_it_says_nothing() {
    let statuses = |overrides: &str, word: &str| {
        let settings = format!("{V3}\nstatus_overrides = {{ {overrides} }}");
        let parsed = read(&settings, word, r#","additionalInfo":{"settlementStatus":"ON HOLD"}"#);
        let rows = parsed.transactions.iter();
        let rows: Vec<_> = rows.map(|(_, t)| (t.status, t.provider_status.clone())).collect();
        (rows, parsed.warnings.len())
    };
    let row = |status, word: &str| (status, word.to_owned());
    let moved = statuses("\"ON HOLD\" = \"moved\"", "00");
    assert_eq!(moved, (vec![row(Status::Settled, "00")], 0));
    let open = statuses("\"ON HOLD\" = \"open\"", "00");
    assert_eq!(open, (vec![row(Status::Open, "00, ON HOLD")], 0));
    let back = statuses("\"ON HOLD\" = \"not_moved\"", "00");
    let wanted = vec![row(Status::Settled, "00, ON HOLD"), row(Status::Settled, "REFUNDED")];
    assert_eq!(back, (wanted, 0));
    for (word, status) in [("01", Status::Open), ("06", Status::Failed)] {
        assert_eq!(statuses("", word), (vec![row(status, word)], 0));
    }
}

#[test]
fn amounts_are_text_without_separators_in_the_currency_they_bear() {
    let amount = |value: &str, currency: &str| {
        let body = format!(
            r#"{{"responseCode":"2003600","referenceNo":"{PAYMENT}","amount":{{"value":{value},"currency":"{currency}"}}}}"#
        );
        let parsed = provider(V2).parse(&ask(PAYMENTS, FLOW), 0, body.as_bytes());
        let amount = parsed.transactions.first().map(|(_, t)| (t.amount_minor, t.currency));
        amount.map(|(amount, read)| {
            assert_eq!(read.code(), currency);
            amount
        })
    };
    assert_eq!(amount("\"1000000\"", "IDR"), Some(100_000_000));
    assert_eq!(amount("\"10000.00\"", "IDR"), Some(1_000_000));
    assert_eq!(amount("\"1\"", "USD"), Some(100));
    for (value, currency) in [
        ("\"150.000\"", "IDR"),
        ("\"1,5\"", "IDR"),
        ("150000", "IDR"),
        ("\"-1\"", "IDR"),
        ("\"1.00\"", "JPY"),
        ("\"1\"", "rupiah"),
    ] {
        assert_eq!(amount(value, currency), None, "{value} {currency}");
    }
}

#[test]
fn a_provider_without_figures_has_no_relations() {
    let books = Books {
        zone: chrono_tz::Asia::Jakarta,
        as_of: now(),
        business_day: "2026-01-14".parse().unwrap(),
        balances: Vec::new(),
        totals: Vec::new(),
        related: Vec::new(),
        repeated_ids: Vec::new(),
        calibration: BTreeMap::new(),
        sealed_subjects: Default::default(),
        gaps: Vec::new(),
    };
    assert!(provider(V2).relations(&books).is_empty() && provider(V2).statement(&books).is_empty());
}
