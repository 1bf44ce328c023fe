//! Ayoconnect from outside: signatures made here, from the document, with ring.

use super::*;
use reconciled::sandbox::api::ayoconnect::{Encoding, PRIVATE_KEY_PEM, V3_TOKEN_PATH, is_timestamp};
use reconciled::sandbox::world::ayoconnect::Generation;
use ring::{digest, hmac as mac, rand::SystemRandom, signature};

mod links;

const CLIENT: &str = "5d0c1b7ae84f4f2c9a3e6d8170b2c4f9";
const SECRET: &str = "0b7d3f5a9c1e4826bd60f7a2c8e9d134";
const AT: &str = "2026-03-20T16:30:00+07:00";
const GRANT: &str = r#"{"grantType":"client_credentials","additionalInfo":{"merchantId":"TSTMER"}}"#;
const V2_TOKEN: &str = "/api/v1.0/access-token/b2b";
const STATUS_V2: &str = "/api/v1.0/debit/status";
const STATUS_V3: &str = "/dd/api/v3.0/debit/status";
const BINDING: &str = "/api/v1.0/registration-account-binding";
const CODE: &str = "/api/v1.0/get-auth-code";

fn rsa(message: &str) -> Vec<u8> {
    use base64::Engine;
    let (_, rest) = PRIVATE_KEY_PEM.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
    let inner: String = rest.split_once("-----END").unwrap().0.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(inner).unwrap();
    let pair = signature::RsaKeyPair::from_pkcs8(&der).unwrap();
    let mut out = vec![0; pair.public().modulus_len()];
    pair.sign(
        &signature::RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut out,
    )
    .unwrap();
    out
}

fn hmac512(line: &str) -> Vec<u8> {
    let key = mac::Key::new(mac::HMAC_SHA512, SECRET.as_bytes());
    mac::sign(&key, line.as_bytes()).as_ref().to_vec()
}

/// One business call, signed right; a test spoils what it wants.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    path: &'static str,
    query: String,
    body: String,
    headers: BTreeMap<&'static str, String>,
}

impl Ask {
    fn new(method: &'static str, path: &'static str, token: &str, flow: &str) -> Self {
        let headers = BTreeMap::from([
            ("accept", "application/json".to_owned()),
            ("authorization", format!("Bearer {token}")),
            ("x-timestamp", AT.to_owned()),
            ("x-client-key", CLIENT.to_owned()),
            ("x-partner-id", "TSTMER".to_owned()),
            ("x-external-id", flow.to_owned()),
            ("channel-id", "95221".to_owned()),
        ]);
        let (query, body) = (String::new(), String::new());
        let ask = Self {
            method,
            path,
            query,
            body,
            headers,
        };
        ask.signed()
    }

    fn v2(token: &str, flow: &str) -> Self {
        let mut ask = Self::new("GET", STATUS_V2, token, flow);
        ask.query = format!("merchantId=TSTMER&XExternalId={flow}");
        ask
    }

    fn v3(token: &str, flow: &str, reference_no: &str) -> Self {
        let body = format!(r#"{{"merchantId":"TSTMER","serviceCode":"54","originalReferenceNo":"{reference_no}"}}"#);
        let mut ask = Self::new("POST", STATUS_V3, token, flow).with_body(&body);
        ask.headers.remove("x-client-key");
        ask
    }

    fn with_body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self.headers.insert("content-type", "application/json".to_owned());
        self.signed()
    }

    fn with_query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Sets a header (None: leaves it out) and signs what is then signed.
    fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.headers.insert(name, value.to_owned()),
            None => self.headers.remove(name),
        };
        if name == "x-signature" { self } else { self.signed() }
    }

    fn line(&self, path: &str) -> String {
        let bearer = self.headers.get("authorization").map_or("", String::as_str);
        let token = bearer.trim_start_matches("Bearer ");
        let hash = hex::encode(digest::digest(&digest::SHA256, self.body.as_bytes()));
        let at = self.headers.get("x-timestamp").map_or("", String::as_str);
        format!("{}:{path}:{token}:{hash}:{at}", self.method)
    }

    fn signed(mut self) -> Self {
        let line = self.line(self.path);
        self.headers.insert("x-signature", hex::encode(hmac512(&line)));
        self
    }
}

impl Outside {
    async fn ask(&self, ask: &Ask) -> Got {
        let mut url = self.url(Service::Ayoconnect, ask.path);
        if !ask.query.is_empty() {
            url = format!("{url}?{}", ask.query);
        }
        let mut request = self.http.request(ask.method.parse().unwrap(), url);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        Got::of(request.body(ask.body.clone())).await
    }

    async fn grant(&self, path: &str, at: &str, signature: &str, body: &str) -> Got {
        let request = self.http.post(self.url(Service::Ayoconnect, path));
        let request = request
            .header("content-type", "application/json")
            .header("x-timestamp", at)
            .header("x-client-key", CLIENT)
            .header("x-signature", signature);
        Got::of(request.body(body.to_owned())).await
    }

    async fn b2b(&self, path: &str) -> Row {
        let got = self
            .grant(path, AT, &hex::encode(rsa(&format!("{CLIENT}|{AT}"))), GRANT)
            .await;
        assert_eq!(got.status, 200, "{}", got.body);
        got.row()
    }

    async fn v2_token(&self) -> String {
        self.b2b(V2_TOKEN).await.text("accessToken")
    }
}

/// HTTP status and responseCode.
fn code(got: &Got) -> (u16, String) {
    (got.status, got.row().text("responseCode"))
}

fn is(status: u16, response: &str) -> (u16, String) {
    (status, response.to_owned())
}

#[tokio::test]
async fn ayoconnect_gives_a_token_for_a_signature_of_the_merchants_key_in_both_generations() {
    let out = ordinary("").await;
    let v2 = out.b2b(V2_TOKEN).await;
    assert_eq!(
        (v2.text("responseCode").as_str(), v2.raw("expiresIn")),
        ("2001000", "3599")
    );
    assert_eq!(v2.text("tokenType"), "BearerToken");
    assert_eq!(v2.text("responseTime"), "20260320163000");
    assert_eq!(v2.text("accessToken").len(), 32);
    let v3 = out.b2b(V3_TOKEN_PATH).await;
    assert_eq!(
        (v3.text("responseCode").as_str(), v3.raw("expiresIn")),
        ("2007300", "\"3600\"")
    );

    let right = hex::encode(rsa(&format!("{CLIENT}|{AT}")));
    let other = hex::encode(rsa(&format!("{CLIENT}|2026-03-20T16:30:01+07:00")));
    let foreign = GRANT.replace("TSTMER", "OTHERS");
    let unknown = GRANT.replace("{\"grantType", "{\"more\":1,\"grantType");
    for (at, signature, body, status, response) in [
        (AT, other.as_str(), GRANT, 401, "4011000"),
        (AT, &right.to_ascii_uppercase(), GRANT, 401, "4011000"),
        (AT, "zz", GRANT, 401, "4011000"),
        (AT, &right, foreign.as_str(), 401, "4011000"),
        (AT, &right, unknown.as_str(), 400, "4001001"),
        (AT, &right, "{}", 400, "4001001"),
        ("2026-03-20T16:30:00.000+07:00", &right, GRANT, 400, "4001001"),
    ] {
        let got = out.grant(V2_TOKEN, at, signature, body).await;
        assert_eq!(code(&got), is(status, response), "{at} {body} {}", got.body);
    }
    out.running.world().lock().unwrap().doors.ayoconnect.encoding = Encoding::Base64;
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD.encode(rsa(&format!("{CLIENT}|{AT}")));
    assert_eq!(out.grant(V2_TOKEN, AT, &base64, GRANT).await.status, 200);
    assert_eq!(out.grant(V2_TOKEN, AT, &right, GRANT).await.status, 401);
}

#[test]
fn the_four_timestamp_forms_that_fit_the_length_are_taken_and_nothing_else() {
    for form in [
        "2026-01-15T02:30:00+07:00",
        "2026-01-14T19:30:00.000Z",
        "2026-01-15T02:30:00+0700",
        "2026-01-15T02:30:00.000+07",
    ] {
        assert!((24..=27).contains(&form.len()) && is_timestamp(form), "{form}");
    }
    for form in [
        "2026-01-15T02:30:00.000+07:00",
        "2026-01-14T19:30:00Z",
        "2026-01-15 02:30:00+07:00",
        "2026-02-30T02:30:00+07:00",
        "2026-01-15T25:30:00+07:00",
        "1768419000000000000000000",
        "",
    ] {
        assert!(!is_timestamp(form), "{form}");
    }
}

#[tokio::test]
async fn every_header_of_a_business_call_is_looked_at() {
    let out = ordinary("").await;
    let token = out.v2_token().await;
    let flow = {
        let world = out.running.world();
        let world = world.lock().unwrap();
        let mut payments = world.ayoconnect.payments.iter();
        payments
            .find(|p| p.generation == Generation::V2)
            .unwrap()
            .external_id
            .clone()
    };
    let good = Ask::v2(&token, &flow);
    assert_eq!(code(&out.ask(&good).await), is(200, "2003600"));
    assert_eq!(
        out.ask(&good.clone().with("x-client-key", None)).await.status,
        200,
        "optional"
    );
    for name in [
        "authorization",
        "x-timestamp",
        "x-signature",
        "x-partner-id",
        "x-external-id",
        "channel-id",
    ] {
        let got = out.ask(&good.clone().with(name, None)).await;
        assert_eq!(code(&got), is(400, "4003602"), "{name}");
        assert!(got.row().text("responseMessage").to_ascii_lowercase().contains(name));
    }
    let long = format!("{flow}0");
    let short = hex::encode(&hmac512("x")[..60]);
    let wrong = hex::encode(hmac512("x"));
    for (name, value, status, response) in [
        ("accept", "*/*", 400, "4003601"),
        ("x-timestamp", "2026-03-20T16:30:00.000+07:00", 400, "4003601"),
        ("x-client-key", "short", 400, "4003601"),
        ("x-client-key", "00000000000000000000000000000000", 401, "4013600"),
        ("x-partner-id", "TSTMERX", 400, "4003601"),
        ("x-partner-id", "OTHERS", 401, "4013600"),
        ("x-external-id", long.as_str(), 400, "4003601"),
        ("x-external-id", "5d0c1b7a-84f4f2c9a3e6d8170b2c4f9", 400, "4003601"),
        ("channel-id", "9522", 400, "4003601"),
        ("channel-id", "95222", 401, "4013600"),
        (
            "authorization",
            "Bearer 00000000000000000000000000000000",
            401,
            "4013601",
        ),
        ("authorization", "Basic x", 400, "4003601"),
        ("x-signature", short.as_str(), 400, "4003601"),
        ("x-signature", wrong.as_str(), 401, "4013600"),
    ] {
        let got = out.ask(&good.clone().with(name, Some(value))).await;
        assert_eq!(code(&got), is(status, response), "{name}: {value}: {}", got.body);
    }
    // The query is not signed, until a deployment says so.
    let mut with_query = good.clone();
    let line = good.line(&format!("{STATUS_V2}?{}", good.query));
    with_query.headers.insert("x-signature", hex::encode(hmac512(&line)));
    assert_eq!(code(&out.ask(&with_query).await), is(401, "4013600"));
    out.running.world().lock().unwrap().doors.ayoconnect.sign_query = true;
    assert_eq!(out.ask(&with_query).await.status, 200);
    assert_eq!(code(&out.ask(&good).await), is(401, "4013600"));
    out.running.world().lock().unwrap().doors.ayoconnect.sign_query = false;
    out.set_now(at("2026-03-20T10:30:01Z"));
    assert_eq!(code(&out.ask(&good).await), is(401, "4013601"), "an hour later");
}

#[tokio::test]
async fn every_payment_is_found_by_the_key_of_its_generation_and_not_by_the_others() {
    let out = ordinary("").await;
    let (v2, v3) = (out.v2_token().await, out.b2b(V3_TOKEN_PATH).await.text("accessToken"));
    let world = out.running.world().lock().unwrap().clone();
    let (mut words, mut short) = (BTreeSet::new(), 0);
    for payment in &world.ayoconnect.payments {
        let (_, state) = payment.life.at(world.now()).unwrap();
        let (by_flow, by_number) = (
            out.ask(&Ask::v2(&v2, &payment.external_id)).await,
            out.ask(&Ask::v3(&v3, &payment.external_id, &payment.reference_no))
                .await,
        );
        let (money, word) = match payment.generation {
            Generation::V2 => {
                assert_eq!(code(&by_number), is(404, "4045501"));
                assert_eq!(code(&by_flow), is(200, "2003600"));
                let row = by_flow.row();
                assert_eq!(row.text("referenceNo"), payment.reference_no);
                assert_eq!(row.text("partnerReferenceNo"), payment.partner_reference);
                let word = row.row("additionalInfo").text("paymentResult");
                (row.row("amount"), word)
            }
            Generation::V3 => {
                assert_eq!(code(&by_flow), is(404, "4043601"));
                assert_eq!(code(&by_number), is(200, "2005500"));
                let row = by_number.row();
                assert_eq!(row.text("originalReferenceNo"), payment.reference_no);
                assert_eq!(row.text("originalPartnerReferenceNo"), payment.partner_reference);
                let digits = row.text("latestTransactionStatus");
                assert_eq!(
                    row.0.contains_key("additionalInfo"),
                    digits == "00",
                    "settlement follows a success"
                );
                (row.row("transAmount"), digits)
            }
        };
        assert_eq!(
            (cents(&money.text("value")), money.text("currency").as_str()),
            (state.amount, "IDR")
        );
        short += usize::from(!money.text("value").contains('.'));
        words.insert(word.clone());
        assert_eq!(matches!(word.as_str(), "SUCCESS" | "00"), state.status == "SUCCESS");
        assert_eq!(matches!(word.as_str(), "FAILED" | "06"), state.status == "FAILED");
    }
    assert!(
        words.is_superset(&["00", "06", "FAILED", "SUCCESS"].map(str::to_owned).into()),
        "{words:?}"
    );
    assert!(short > 0, "some amounts come without decimals");

    // A token of one generation opens nothing of the other.
    let payment = &world.ayoconnect.payments[0];
    assert_eq!(
        code(&out.ask(&Ask::v2(&v3, &payment.external_id)).await),
        is(401, "4013601")
    );
    let crossed = Ask::v3(&v2, &payment.external_id, &payment.reference_no);
    assert_eq!(code(&out.ask(&crossed).await), is(401, "4015501"));
}

#[tokio::test]
async fn a_status_call_names_its_own_flow_and_its_parameters_exactly() {
    let out = ordinary("").await;
    let (v2, v3) = (out.v2_token().await, out.b2b(V3_TOKEN_PATH).await.text("accessToken"));
    let world = out.running.world().lock().unwrap().clone();
    let mine = |generation| {
        let mut payments = world.ayoconnect.payments.iter();
        payments.find(|p| p.generation == generation).unwrap().clone()
    };
    let (two, three) = (mine(Generation::V2), mine(Generation::V3));
    let fresh = "f".repeat(32);
    let own = Ask::v2(&v2, &two.external_id);
    for (query, status, response) in [
        ("merchantId=TSTMER".to_owned(), 400, "4003602"),
        (format!("XExternalId={}", two.external_id), 400, "4003602"),
        (format!("{}&page=1", own.query), 400, "4003600"),
        (own.query.replace("TSTMER", "OTHERS"), 401, "4013600"),
        (own.query.replace("TSTMER", "TST"), 400, "4003601"),
        (format!("merchantId=TSTMER&XExternalId={fresh}"), 409, "4093600"),
    ] {
        let got = out.ask(&own.clone().with_query(&query)).await;
        assert_eq!(code(&got), is(status, response), "{query}");
    }
    for (body, status, response) in [
        (r#"{"merchantId":"TSTMER","originalReferenceNo":"x"}"#, 400, "4005502"),
        (
            r#"{"merchantId":"TSTMER","serviceCode":"33","originalReferenceNo":"x"}"#,
            400,
            "4005501",
        ),
        (
            r#"{"merchantId":"TSTMER","serviceCode":"54","originalReferenceNo":""}"#,
            400,
            "4005501",
        ),
        (
            r#"{"merchantId":"TSTMER","serviceCode":"54","originalReferenceNo":"x"}"#,
            404,
            "4045501",
        ),
        (
            r#"{"merchantId":"OTHERS","serviceCode":"54","originalReferenceNo":"x"}"#,
            401,
            "4015500",
        ),
        (
            r#"{"merchantId":"TSTMER","serviceCode":"54","referenceNo":"x"}"#,
            400,
            "4005501",
        ),
        ("[", 400, "4005501"),
    ] {
        let got = out.ask(&Ask::v3(&v3, &three.external_id, "x").with_body(body)).await;
        assert_eq!(code(&got), is(status, response), "{body}");
    }
    let borrowed = Ask::v3(&v3, &two.external_id, &three.reference_no);
    assert_eq!(code(&out.ask(&borrowed).await), is(409, "4095500"));
    out.running.world().lock().unwrap().doors.ayoconnect.fresh_external_ids = true;
    assert_eq!(
        code(&out.ask(&borrowed).await),
        is(409, "4095500"),
        "another flow's id stays a conflict"
    );
    let fresh = Ask::v3(&v3, &fresh, &three.reference_no);
    assert_eq!(out.ask(&fresh).await.status, 200);
    let post = Ask {
        method: "POST",
        ..own.clone()
    };
    assert_eq!(out.ask(&post).await.status, 405);
}

#[tokio::test]
async fn generation_3_tells_when_it_was_paid_and_what_was_refunded() {
    let mut world = plant::demo_world(3);
    world.set_now(plant::as_of(4));
    let out = outside(world, "").await;
    let token = {
        let at = "2026-03-06T16:30:00+07:00";
        let got = out
            .grant(V3_TOKEN_PATH, at, &hex::encode(rsa(&format!("{CLIENT}|{at}"))), GRANT)
            .await;
        got.row().text("accessToken")
    };
    let world = out.running.world().lock().unwrap().clone();
    let mut words = BTreeMap::new();
    for payment in world
        .ayoconnect
        .payments
        .iter()
        .filter(|p| p.generation == Generation::V3)
    {
        let got = out
            .ask(&Ask::v3(&token, &payment.external_id, &payment.reference_no))
            .await;
        if got.status != 200 || got.row().text("latestTransactionStatus") != "00" {
            continue;
        }
        let row = got.row();
        if row.0.contains_key("paidTime") {
            let paid = DateTime::parse_from_rfc3339(&row.text("paidTime")).unwrap();
            let first = payment.life.0.iter().find(|(_, s)| s.status == "SUCCESS").unwrap().0;
            assert_eq!(
                (paid.timestamp(), paid.offset().local_minus_utc()),
                (first.timestamp(), 7 * 3600)
            );
        }
        *words
            .entry(row.row("additionalInfo").text("settlementStatus"))
            .or_insert(0) += 1;
    }
    let counts: Vec<i32> = ["REFUNDED", "PARTIALLY REFUNDED"].map(|w| words[w]).into();
    assert_eq!(counts, [1, 1]);
    assert!(words["SETTLED"] > 10);
}

#[tokio::test]
async fn ayoconnect_fails_as_the_script_says_about_one_key_only() {
    let out = ordinary("").await;
    let (v2, v3) = (out.v2_token().await, out.b2b(V3_TOKEN_PATH).await.text("accessToken"));
    let world = out.running.world().lock().unwrap().clone();
    let of = |generation| {
        let mut payments = world
            .ayoconnect
            .payments
            .iter()
            .filter(move |p| p.generation == generation);
        [payments.next().unwrap().clone(), payments.next().unwrap().clone()]
    };
    let ([a, b], [c, d]) = (of(Generation::V2), of(Generation::V3));
    let script = format!(
        "[[fault]]\nprovider = 'ayoconnect'\nquery = 'XExternalId={}'\ncount = 0\nstatus = 504\nhtml = true\n\
         [[fault]]\nprovider = 'ayoconnect'\nsent = '{}'\ncount = 0\nunauthorized = true\n",
        a.external_id, c.reference_no
    );
    out.running.set_faults(parse_script(&script).unwrap());
    for _ in 0..2 {
        let struck = out.ask(&Ask::v2(&v2, &a.external_id)).await;
        assert_eq!((struck.status, struck.body.contains("<html>")), (504, true));
        let struck = out.ask(&Ask::v3(&v3, &c.external_id, &c.reference_no)).await;
        assert_eq!(code(&struck), is(401, "4010000"));
    }
    assert_eq!(out.ask(&Ask::v2(&v2, &b.external_id)).await.status, 200);
    assert_eq!(
        out.ask(&Ask::v3(&v3, &d.external_id, &d.reference_no)).await.status,
        200
    );
}
