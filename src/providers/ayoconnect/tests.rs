use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use secrecy::{ExposeSecret, SecretString};

use super::settings::{Encoding, TimestampStyle};
use super::sign::{Signed, asymmetric, symmetric, timestamp};
use super::*;
use crate::config::Source;
use crate::day::parse_instant;
use crate::failure::Class;
use crate::providers::binding::BindingWish;
use crate::record::Status;
use crate::window::Window;

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

fn ask(feed: &'static str, subject: &str) -> Ask {
    Ask {
        feed,
        window: Window {
            from: at("2026-01-14T17:00:00Z"),
            until: at("2026-01-15T17:00:00Z"),
        },
        subject: Some(subject.to_owned()),
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

/// A key pair made at run time by an independent implementation; none stands in the repository.
static KEY: LazyLock<(tempfile::TempDir, String)> = LazyLock::new(|| {
    let folder = tempfile::TempDir::new().unwrap();
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            "key.pem",
        ])
        .current_dir(folder.path())
        .output()
        .expect("openssl");
    assert!(made.status.success());
    let pem = std::fs::read_to_string(folder.path().join("key.pem")).unwrap();
    (folder, pem)
});

fn keys() -> Keys {
    Keys::from([
        ("client_secret".into(), SECRET.into()),
        ("private_key".into(), KEY.1.as_str().into()),
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

// -- signatures ---------------------------------------------------------------------------------------------------------

fn hmac(
    secret: &str,
    method: Method,
    path: &str,
    token: &str,
    body: &str,
    timestamp: &str,
    encoding: Encoding,
) -> String {
    let signed = Signed {
        method,
        path,
        token,
        body: body.as_bytes(),
        timestamp,
    };
    symmetric(secret, &signed, encoding)
}

#[test]
fn the_documents_vectors_are_met() {
    let at = "2026-01-15T02:30:00+07:00";
    let binding = format!(r#"{{"partnerReferenceNo":"{PARTNER}","authCode":"{CODE}","merchantId":"TSTMER"}}"#);
    let status = format!(r#"{{"merchantId":"TSTMER","serviceCode":"54","originalReferenceNo":"{PAYMENT}"}}"#);
    for (method, path, body, expected) in [
        (
            Method::Get,
            "/api/v1.0/get-auth-code",
            "",
            "7d600b21314e2bf17b45892b400b5962a1da48cb7e7e8c16630035babc7af711302e165aabd4b00e617dd17adf5c55fe1c2f713e0f6eacb9092d6206a64b6a22",
        ),
        (
            Method::Get,
            "/api/v1.0/debit/status",
            "",
            "ac1158d529cda540bfbd915180fcea0a9c119d4279e75f4563786e035c559992e2cf94419d5a13219c97e72349fbcdf07f37adaf2f111ee9eb8cafd809502e2a",
        ),
        (
            Method::Post,
            "/api/v1.0/registration-account-binding",
            &binding,
            "27fd6b6f7f37012fa50d250f5e64e26140f02c0f1d0fac9034273735bf2e55ea06508d7a1b5b13ed235ee026e4adcd1a5b3cf6b2360d9d0d822b921268e80ddb",
        ),
        (
            Method::Post,
            "/dd/api/v3.0/debit/status",
            &status,
            "01536985ff150e237c4740d0d3fb9fa3ce26bf87e3ee69951decc0346208137ca5d933dfaac1cd8c411e5ee1e906203e7b94bfdae4639dbe4d79cf7ba472ff6e",
        ),
    ] {
        assert_eq!(
            hmac(SECRET, method, path, TOKEN, body, at, Encoding::Hex),
            expected,
            "{path}"
        );
    }
    assert_eq!(
        hmac(
            SECRET,
            Method::Get,
            "/api/v1.0/get-auth-code",
            TOKEN,
            "",
            at,
            Encoding::Base64
        ),
        "fWALITFOK/F7RYkrQAtZYqHaSMt+fowWYwA1urx69xEwLhZaq9SwDmF90XrfXFX+HC9xPg9urLkJLWIGpktqIg=="
    );
}

#[test]
fn the_providers_own_example_is_met_with_its_blanks_minified_away() {
    let body = r#"{"partnerReferenceNo": "qic5taezfgta7yhn74u7cppr47wan027",   "authCode": "8ecx3bnfk9bu2o4y0z8ur8pfhH12eltF",   "merchantId": "AYOPOP"}"#;
    let signature = hmac(
        "fceda4da-ae95-4d14-8cb6-eef392139a2c",
        Method::Post,
        "/api/v2/registration-account-binding",
        "ed8f7f42a6d741fbb891bae654e81678",
        body,
        "2023-03-28T22:13:27+07:00",
        Encoding::Hex,
    );
    assert_eq!(
        signature,
        "2e955289baf7f297dda75b830c00f15b81a71710c2d0a0bbdf5884ae15bf47bb46e627a0b25cff1c1da16c42682ec69945950a1b120b6be490a53b7d613cf7e4"
    );
    let with = |body: &str| hmac(SECRET, Method::Post, "/x", TOKEN, body, "t", Encoding::Hex);
    assert_eq!(with("{\"a\" : \"b \\\" c\"}\n"), with("{\"a\":\"b \\\" c\"}"));
    assert_ne!(
        with("{\"a\":\"b c\"}"),
        with("{\"a\":\"bc\"}"),
        "blanks inside texts stay"
    );
}

#[test]
fn whole_requests_carry_the_documents_signatures() {
    let v2 = signed(V2, &ask(PAYMENTS, FLOW));
    assert_eq!(v2.path, "/api/v1.0/debit/status");
    assert_eq!(v2.query, format!("merchantId=TSTMER&XExternalId={FLOW}"));
    assert!(header(&v2, "X-SIGNATURE").unwrap().starts_with("ac1158d5"), "vector 2");
    let v3 = signed(V3, &ask(PAYMENTS, &format!("{PAYMENT}|{FLOW}")));
    assert!(header(&v3, "X-SIGNATURE").unwrap().starts_with("01536985"), "vector 4");
    let binding = signed(
        &format!("{V2}\nrecords = \"bindings\""),
        &ask(BINDINGS, &format!("{FLOW}|{PARTNER}|{CODE}")),
    );
    assert!(
        header(&binding, "X-SIGNATURE").unwrap().starts_with("27fd6b6f"),
        "vector 3"
    );
}

#[test]
fn the_rsa_signature_is_verified_by_an_independent_implementation_and_is_always_the_same() {
    let (folder, pem) = &*KEY;
    let at = timestamp(TimestampStyle::SecondsOffset, now());
    let signature = asymmetric(pem, CLIENT, &at, Encoding::Hex).unwrap();
    assert_eq!(asymmetric(pem, CLIENT, &at, Encoding::Hex).unwrap(), signature);
    assert_eq!(signature, signature.to_lowercase());
    std::fs::write(folder.path().join("signature"), hex::decode(&signature).unwrap()).unwrap();
    std::fs::write(folder.path().join("message"), format!("{CLIENT}|{at}")).unwrap();
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        done.status.success()
    };
    assert!(openssl(&["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]));
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        "public.pem",
        "-signature",
        "signature",
        "message",
    ];
    assert!(openssl(&verify));
    std::fs::write(folder.path().join("message"), format!("{CLIENT}|{at}x")).unwrap();
    assert!(!openssl(&verify), "so the check above says something");
    assert!(openssl(&["rsa", "-in", "key.pem", "-traditional", "-out", "pkcs1.pem"]));
    let pkcs1 = std::fs::read_to_string(folder.path().join("pkcs1.pem")).unwrap();
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    assert_eq!(asymmetric(&pkcs1, CLIENT, &at, Encoding::Hex).unwrap(), signature);
    let in_one_line = pem.replace('\n', "\\n");
    assert_eq!(asymmetric(&in_one_line, CLIENT, &at, Encoding::Hex).unwrap(), signature);
}

#[test]
fn every_form_of_the_timestamp_has_24_to_27_characters() {
    for (style, expected) in [
        (TimestampStyle::SecondsOffset, "2026-01-15T02:30:00+07:00"),
        (TimestampStyle::MillisUtc, "2026-01-14T19:30:00.000Z"),
        (TimestampStyle::SecondsCompactOffset, "2026-01-15T02:30:00+0700"),
        (TimestampStyle::MillisShortOffset, "2026-01-15T02:30:00.000+07"),
    ] {
        let text = timestamp(style, now());
        assert_eq!(text, expected);
        assert!((24..=27).contains(&text.len()));
    }
}

#[test]
fn headers_have_the_documents_lengths_and_one_value_each_when_signed_again() {
    let provider = provider(V2);
    let mut request = provider.request(&ask(PAYMENTS, FLOW), 0, &[]);
    provider.sign(&mut request, Some(&session()), &keys(), at("2026-01-01T00:00:00Z"));
    provider.sign(&mut request, Some(&session()), &keys(), now());
    for (name, length) in [
        ("Accept", 16),
        ("X-TIMESTAMP", 25),
        ("X-CLIENT-KEY", 32),
        ("X-SIGNATURE", 128),
        ("X-PARTNER-ID", 6),
        ("X-EXTERNAL-ID", 32),
        ("CHANNEL-ID", 5),
    ] {
        assert_eq!(header(&request, name).map(str::len), Some(length), "{name}");
    }
    assert_eq!(
        header(&request, "Authorization"),
        Some(format!("Bearer {TOKEN}").as_str())
    );
    assert_eq!(header(&request, "Content-Type"), None, "no body");
    let v3 = signed(V3, &ask(PAYMENTS, PAYMENT));
    assert_eq!(header(&v3, "X-CLIENT-KEY"), None, "not listed in generation 3");
    assert_eq!(header(&v3, "Content-Type"), Some("application/json"));
}

#[test]
fn the_flows_id_is_used_again_or_a_new_one_for_each_attempt() {
    let id = |settings: &str, subject: &str| {
        let request = signed(settings, &ask(PAYMENTS, subject));
        header(&request, "X-EXTERNAL-ID").unwrap().to_owned()
    };
    assert_eq!(id(V2, FLOW), FLOW);
    assert_eq!(id(V3, &format!("{PAYMENT}|{FLOW}")), FLOW);
    for (settings, subject) in [
        (format!("{V2}\nstatus_external_id = \"fresh\""), FLOW.to_owned()),
        (format!("{V3}\nstatus_external_id = \"fresh\""), PAYMENT.to_owned()),
        (V3.to_owned(), format!("{PAYMENT}|")),
    ] {
        let one = id(&settings, &subject);
        assert!(sign::is_external_id(&one) && one != FLOW, "{one}");
        let provider = provider(&settings);
        let mut later = provider.request(&ask(PAYMENTS, &subject), 0, &[]);
        provider.sign(
            &mut later,
            Some(&session()),
            &keys(),
            now() + chrono::TimeDelta::milliseconds(1),
        );
        assert_ne!(header(&later, "X-EXTERNAL-ID"), Some(one.as_str()));
    }
    assert_eq!(provider(V3).lookup_extras(PAYMENTS), [LookupKey::XExternalId]);
    assert!(
        provider(&format!("{V3}\nstatus_external_id = \"fresh\""))
            .lookup_extras(PAYMENTS)
            .is_empty()
    );
}

#[test]
fn another_path_or_the_query_may_be_signed() {
    let signature = |more: &str| {
        let request = signed(&format!("{V2}\n{more}"), &ask(PAYMENTS, FLOW));
        header(&request, "X-SIGNATURE").unwrap().to_owned()
    };
    let of = |path: &str| {
        hmac(
            SECRET,
            Method::Get,
            path,
            TOKEN,
            "",
            "2026-01-15T02:30:00+07:00",
            Encoding::Hex,
        )
    };
    assert_eq!(signature("signing_path = { status = \"/dd/x\" }"), of("/dd/x"));
    assert_eq!(
        signature("sign_query = \"raw\""),
        of(&format!("/api/v1.0/debit/status?merchantId=TSTMER&XExternalId={FLOW}"))
    );
    assert_eq!(signature("sign_query = false"), of("/api/v1.0/debit/status"));
    assert_eq!(signature("signature_encoding = \"base64\"").len(), 88);
}

#[test]
fn a_base_urls_own_path_is_part_of_what_is_signed() {
    let text = format!(
        "base_url = \"https://api.example.com/dd\"\nclient_id = \"{CLIENT}\"\nclient_secret = \"env:S\"\n\
         private_key = \"env:K\"\nmerchant_id = \"TSTMER\"\n{V2}"
    );
    let source = Source {
        file: "ayoconnect.toml",
        text: &text,
    };
    let provider = build(&mut Section::parse(&source)).unwrap().provider;
    let mut request = provider.request(&ask(PAYMENTS, FLOW), 0, &[]);
    provider.sign(&mut request, Some(&session()), &keys(), now());
    let expected = hmac(
        SECRET,
        Method::Get,
        "/dd/api/v1.0/debit/status",
        TOKEN,
        "",
        "2026-01-15T02:30:00+07:00",
        Encoding::Hex,
    );
    assert_eq!(header(&request, "X-SIGNATURE"), Some(expected.as_str()));
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
        assert_eq!(
            provider(settings).lookup_problem(feed, &subject).is_none(),
            fine,
            "{subject}"
        );
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
        asymmetric(&KEY.1, CLIENT, at, Encoding::Hex).unwrap()
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
    ] {
        assert!(matches!(open(status, body), Judgement::Retry { .. }), "{status} {body}");
    }
    for (status, body) in [
        (400, r#"{"responseCode":"4001000"}"#),
        (403, ""),
        (404, ""),
        (200, "{}"),
        (200, r#"{"responseCode":"2001000"}"#),
        (200, r#"{"responseCode":"2001000","accessToken":"a b"}"#),
    ] {
        assert!(
            matches!(open(status, body), Judgement::Fail { class: Class::Auth, .. }),
            "{status} {body}"
        );
    }
    assert!(matches!(
        open(302, ""),
        Judgement::Fail {
            class: Class::Protocol,
            ..
        }
    ));
}

// -- refusals -----------------------------------------------------------------------------------------------------------

fn judge(settings: &str, status: u16, body: &str) -> Judgement {
    let subject = if settings.contains("v3") { PAYMENT } else { FLOW };
    provider(settings).judge(&ask(PAYMENTS, subject), &reply(status, body))
}

fn code(code: &str) -> String {
    format!(r#"{{"responseCode":"{code}","responseMessage":"m"}}"#)
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
    assert_eq!(rows("ON HOLD"), (vec![payment("00")], 1));
    let elsewhere = format!("{V3}\nsettlement_pointer = \"/settlement\"");
    assert_eq!(
        read(&elsewhere, "00", r#","settlement":"REFUNDED""#).transactions.len(),
        2
    );
}

#[test]
fn amounts_are_rupiah_as_text_without_separators() {
    let amount = |value: &str, currency: &str| {
        let body = format!(
            r#"{{"responseCode":"2003600","referenceNo":"{PAYMENT}","amount":{{"value":{value},"currency":"{currency}"}}}}"#
        );
        let parsed = provider(V2).parse(&ask(PAYMENTS, FLOW), 0, body.as_bytes());
        parsed.transactions.first().map(|(_, t)| t.amount_minor)
    };
    assert_eq!(amount("\"1000000\"", "IDR"), Some(100_000_000));
    assert_eq!(amount("\"10000.00\"", "IDR"), Some(1_000_000));
    for (value, currency) in [
        ("\"150.000\"", "IDR"),
        ("\"1,5\"", "IDR"),
        ("150000", "IDR"),
        ("\"-1\"", "IDR"),
        ("\"1\"", "USD"),
    ] {
        assert_eq!(amount(value, currency), None, "{value} {currency}");
    }
}

// -- links --------------------------------------------------------------------------------------------------------------

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
