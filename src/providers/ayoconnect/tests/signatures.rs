use super::super::settings::{Encoding, TimestampStyle};
use super::super::sign::{Signed, asymmetric, symmetric, timestamp};
use super::*;

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
    let v3 = signed(V3, &ask(PAYMENTS, &format!("{PAYMENT}|{PARTNER}|{FLOW}")));
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
fn the_rsa_signature_is_always_the_same_for_every_form_of_the_key() {
    let at = timestamp(TimestampStyle::SecondsOffset, now());
    let signature = asymmetric(&KEY, CLIENT, &at, Encoding::Hex).unwrap();
    assert_eq!(asymmetric(&KEY, CLIENT, &at, Encoding::Hex).unwrap(), signature);
    assert!(signature.len() == 512 && signature == signature.to_lowercase());
    let in_one_line = KEY.replace('\n', "\\n");
    assert_eq!(asymmetric(&in_one_line, CLIENT, &at, Encoding::Hex).unwrap(), signature);
    assert_ne!(asymmetric(&KEY, CLIENT, "later", Encoding::Hex).unwrap(), signature);
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
    assert_eq!(id(V3, &format!("{PAYMENT}|{PARTNER}|{FLOW}")), FLOW);
    for (settings, subject) in [
        (format!("{V2}\nstatus_external_id = \"fresh\""), FLOW.to_owned()),
        (format!("{V3}\nstatus_external_id = \"fresh\""), PAYMENT.to_owned()),
        (V3.to_owned(), format!("{PAYMENT}|{PARTNER}|")),
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
    assert_eq!(
        provider(V3).lookup_extras(PAYMENTS),
        [LookupKey::Reference, LookupKey::XExternalId]
    );
    assert_eq!(
        provider(&format!("{V3}\nstatus_external_id = \"fresh\"")).lookup_extras(PAYMENTS),
        [LookupKey::Reference]
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
