//! The sandboxes seen from outside: plain HTTP against the documents, and the money counted again by other code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use reconciled::record::Kind;
use reconciled::sandbox::api::one2pays::SignatureClock;
use reconciled::sandbox::fault::parse_script;
use reconciled::sandbox::{Running, Service, Setup, World, ledger, plant, start};
use serde_json::value::RawValue;

mod ayoconnect;
mod twopay;

type At = DateTime<Utc>;

fn at(text: &str) -> At {
    text.parse().unwrap()
}

const FIRST: &str = "2026-02-24";

fn setup(seed: u64) -> Setup {
    Setup {
        seed,
        first_day: FIRST.parse().unwrap(),
        days: 8,
        volume: 100,
    }
}

/// A sandbox and a client that follows nothing.
struct Outside {
    running: Running,
    http: reqwest::Client,
}

async fn outside(world: World, script: &str) -> Outside {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let faults = parse_script(script).unwrap();
    let running = start(Arc::new(Mutex::new(world)), faults, None).await.unwrap();
    Outside { running, http }
}

/// A week of natural activity, seen days after everything has matured.
async fn ordinary(script: &str) -> Outside {
    let mut world = World::new(setup(7));
    world.set_now(at("2026-03-20T09:30:00Z"));
    outside(world, script).await
}

/// One JSON object with its numbers as text.
#[derive(serde::Deserialize)]
struct Row(BTreeMap<String, Box<RawValue>>);

impl Row {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| panic!("not an object: {text}"))
    }

    fn raw(&self, key: &str) -> &str {
        self.0
            .get(key)
            .unwrap_or_else(|| panic!("{key} is missing among {:?}", self.0.keys()))
            .get()
    }

    fn text(&self, key: &str) -> String {
        serde_json::from_str(self.raw(key)).unwrap()
    }

    fn row(&self, key: &str) -> Row {
        Row::read(self.raw(key))
    }

    fn rows(&self, key: &str) -> Vec<Row> {
        serde_json::from_str(self.raw(key)).unwrap()
    }

    fn int(&self, key: &str) -> i64 {
        self.raw(key).parse().unwrap()
    }

    /// A number of at most two decimals as hundredths.
    fn cents(&self, key: &str) -> i64 {
        cents(self.raw(key))
    }

    /// `{amount, currency}`.
    fn money(&self, key: &str) -> i64 {
        self.row(key).cents("amount")
    }

    fn keys(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

fn cents(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |d| (-1, d));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(fraction.len() <= 2, "too many decimals: {text}");
    sign * format!("{whole}{fraction:0<2}").parse::<i64>().unwrap()
}

struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
}

impl Got {
    async fn of(request: reqwest::RequestBuilder) -> Got {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Got {
            status,
            headers,
            body: response.text().await.unwrap(),
        }
    }

    fn row(&self) -> Row {
        Row::read(&self.body)
    }
}

impl Outside {
    fn set_now(&self, now: At) {
        self.running.world().lock().unwrap().set_now(now);
    }

    fn url(&self, service: Service, path: &str) -> String {
        format!("{}{path}", self.running.base_url(service))
    }

    // -- TuPay

    async fn login(&self) -> String {
        let got = Got::of(
            self.http
                .post(self.url(Service::Tupay, "/v1/auth/login"))
                .header("content-type", "application/json")
                .body(r#"{"accessKey":"recon@merchant.example","secretKey":"tupay-sandbox-password"}"#),
        )
        .await;
        assert_eq!(got.status, 200, "{}", got.body);
        assert_eq!(got.row().int("idMerchant"), 456);
        let cookies = got.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap());
        let token = cookies.filter_map(|c| c.strip_prefix("BEARER_TOKEN=")).next().unwrap();
        token.split(';').next().unwrap().to_owned()
    }

    async fn tupay(&self, token: &str, path: &str) -> Got {
        let url = self.url(Service::Tupay, path);
        Got::of(self.http.get(url).header("cookie", format!("BEARER_TOKEN={token}"))).await
    }

    /// Every row of a list over a span.
    async fn tupay_rows(&self, token: &str, path: &str, from: At, to: At) -> Vec<Row> {
        let mut all = Vec::new();
        for page in 0..100 {
            let query = format!("{path}?from={}&to={}&page={page}", from.timestamp(), to.timestamp());
            let got = self.tupay(token, &query).await;
            assert_eq!(got.status, 200, "{}", got.body);
            let envelope = got.row();
            assert_eq!((envelope.int("page"), envelope.int("maxRows")), (page, 50));
            let rows = envelope.rows("data");
            assert_eq!(envelope.int("rows"), rows.len() as i64);
            let last = rows.len() < 50;
            all.extend(rows);
            if last {
                return all;
            }
        }
        panic!("the list has no end");
    }

    // -- PayVyne

    async fn token(&self) -> String {
        let got = Got::of(self.token_request(
            "grant_type=client_credentials&client_id=recon-sandbox&client_secret=payvyne+sandbox+%26+secret",
        ))
        .await;
        assert_eq!(got.status, 200, "{}", got.body);
        let row = got.row();
        assert_eq!(
            (row.text("scope").as_str(), row.int("expires_in")),
            ("reconciliation", 3599)
        );
        row.text("access_token")
    }

    fn token_request(&self, form: &str) -> reqwest::RequestBuilder {
        self.http
            .post(self.url(Service::Payvyne, "/api/oauth/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
    }

    async fn payvyne(&self, token: &str, path: &str) -> Got {
        let url = self.url(Service::Payvyne, &format!("/api/reconciliation/v1{path}"));
        Got::of(self.http.get(url).bearer_auth(token)).await
    }

    /// Every element of a list, by its cursors.
    async fn payvyne_rows(&self, token: &str, path: &str, query: &str) -> Vec<Row> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        for _ in 0..1000 {
            let got = self.payvyne(token, &format!("{path}?{query}{cursor}")).await;
            assert_eq!(got.status, 200, "{}", got.body);
            let page = got.row();
            let elements = page.rows("elements");
            assert_eq!(page.int("size"), elements.len() as i64);
            all.extend(elements);
            if !page.0.contains_key("nextPage") {
                return all;
            }
            cursor = format!("&cursor={}", encoded(&page.text("nextPage")));
        }
        panic!("the cursors have no end");
    }

    // -- One2Pays

    fn signed(&self, method: reqwest::Method, path: &str, body: &'static str) -> reqwest::RequestBuilder {
        let timestamp = Utc::now().timestamp_millis().to_string();
        let signature = sign("sk_test_EXAMPLE", &format!("{timestamp}.{body}"));
        self.with_signature(method, path, body, &timestamp, &signature)
    }

    fn with_signature(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &'static str,
        timestamp: &str,
        signature: &str,
    ) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, self.url(Service::One2pays, path))
            .header("x-api-key", "pk_test_EXAMPLE")
            .header("x-timestamp", timestamp)
            .header("x-signature", format!("sha256={signature}"));
        match body {
            "" => request,
            body => request.header("content-type", "application/json").body(body),
        }
    }

    async fn one2pays(&self, path: &str) -> Got {
        Got::of(self.signed(reqwest::Method::GET, path, "")).await
    }

    async fn one2pays_rows(&self, path: &str, limit: i64) -> Vec<Row> {
        let mut all = Vec::new();
        for page in 1..1000 {
            let got = self.one2pays(&format!("{path}?page={page}&limit={limit}")).await;
            assert_eq!(got.status, 200, "{}", got.body);
            let envelope = got.row();
            assert_eq!(envelope.raw("success"), "true");
            let data = envelope.row("data");
            assert_eq!((data.int("page"), data.int("limit")), (page, limit));
            all.extend(data.rows("data"));
            if page >= data.int("totalPages") {
                assert_eq!(data.int("total"), all.len() as i64);
                return all;
            }
        }
        panic!("the list has no end");
    }
}

fn sign(secret: &str, message: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn start_of_world() -> At {
    at("2026-02-24T00:00:00Z")
}

// -- TuPay: the door -------------------------------------------------------------------------------------------------

#[tokio::test]
async fn tupay_opens_to_the_right_pair_only_and_answers_as_its_error_table_says() {
    let out = ordinary("").await;
    let login = |kind: &str, body: &'static str| {
        let url = out.url(Service::Tupay, "/v1/auth/login");
        Got::of(out.http.post(url).header("content-type", kind).body(body))
    };
    let json = "application/json";
    for (kind, body, status, code) in [
        (
            json,
            r#"{"accessKey":"recon@merchant.example","secretKey":"wrong"}"#,
            412,
            11,
        ),
        (
            json,
            r#"{"accessKey":"x","secretKey":"tupay-sandbox-password"}"#,
            412,
            11,
        ),
        (json, r#"{"accessKey":"#, 500, 500),
        (json, r#"{"access_key":"a","secret_key":"b"}"#, 500, 500),
        ("application/x-www-form-urlencoded", "accessKey=a&secretKey=b", 500, 500),
    ] {
        let got = login(kind, body).await;
        assert_eq!((got.status, got.row().int("code")), (status, code), "{body}");
        assert!(!got.row().text("description").is_empty());
    }
    let get = out.http.get(out.url(Service::Tupay, "/v1/auth/login"));
    assert_eq!(Got::of(get).await.status, 405);
}

#[tokio::test]
async fn tupay_takes_its_token_in_three_forms_and_ends_it_after_fifteen_idle_minutes_a_logout_or_another_login() {
    let out = ordinary("").await;
    let token = out.login().await;
    assert_eq!(token.len(), 33);
    let balance = out.url(Service::Tupay, "/v1/balance");
    for (name, value) in [
        ("cookie", format!("other=1; BEARER_TOKEN={token}")),
        ("authorization", format!("Bearer {token}")),
        ("authorization", format!("BEARER_TOKEN={token}")),
    ] {
        assert_eq!(
            Got::of(out.http.get(&balance).header(name, value)).await.status,
            200,
            "{name}"
        );
    }
    assert_eq!(Got::of(out.http.get(&balance)).await.status, 401);

    let mut now = at("2026-03-20T09:30:00Z");
    for _ in 0..3 {
        now += TimeDelta::minutes(14);
        out.set_now(now);
        assert_eq!(
            out.tupay(&token, "/v1/balance").await.status,
            200,
            "a used session lives on"
        );
    }
    out.set_now(now + TimeDelta::minutes(15));
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 401);

    let (first, second) = (out.login().await, out.login().await);
    assert_eq!(
        out.tupay(&first, "/v1/balance").await.status,
        401,
        "one session at a time"
    );
    assert_eq!(out.tupay(&second, "/v1/balance").await.status, 200);
    let bye = out
        .http
        .delete(out.url(Service::Tupay, "/v1/auth/session/destroy"))
        .bearer_auth(&second);
    assert_eq!(Got::of(bye).await.status, 200);
    assert_eq!(out.tupay(&second, "/v1/balance").await.status, 401);
}

#[tokio::test]
async fn tupay_refuses_ranges_parameters_and_methods_it_does_not_document() {
    let out = ordinary("").await;
    let token = out.login().await;
    let day = 86_400;
    let t = start_of_world().timestamp();
    for (query, status, code) in [
        (format!("from={t}&to={}", t + 60 * day), 200, 0),
        (format!("from={t}&to={}", t + 60 * day + 1), 412, 412),
        (format!("from={t}&to={t}"), 412, 17),
        (format!("from={}&to={t}", t + 1), 412, 17),
        (format!("from={t}"), 412, 412),
        (format!("to={t}"), 412, 412),
        (format!("from=2026-02-24&to={t}"), 412, 412),
        (format!("from={t}&to={}&page=-1", t + day), 412, 412),
        (format!("from={t}&to={}&rows=100", t + day), 412, 412),
        (format!("from={t}&to={}&clientDocument=1", t + day), 412, 412),
        (format!("from={t}&to={}&country=BR", t + day), 412, 19),
        (format!("from={t}&to={}&country=PE&paymentMethod=XAQR", t + day), 200, 0),
        (format!("from={t}&to={}&status=DONE", t + day), 412, 412),
    ] {
        let got = out.tupay(&token, &format!("/v1/deposits?{query}")).await;
        assert_eq!(got.status, status, "{query}: {}", got.body);
        if status != 200 {
            assert_eq!(got.row().int("code"), code, "{query}");
        }
    }
    assert_eq!(out.tupay(&token, "/v1/balance?currency=PEN").await.status, 412);
    assert_eq!(
        out.tupay(&token, "/v1/cashouts").await.status,
        404,
        "the plural is another platform's"
    );
    for path in ["/v1/deposits", "/v1/cashout", "/v1/balance", "/v1/balance/report"] {
        let post = out.http.post(out.url(Service::Tupay, path)).bearer_auth(&token);
        assert_eq!(Got::of(post).await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn tupay_lists_fifty_rows_a_page_with_every_documented_field() {
    let out = ordinary("").await;
    let token = out.login().await;
    let (from, to) = (start_of_world(), at("2026-03-10T00:00:00Z"));
    let deposits = out.tupay_rows(&token, "/v1/deposits", from, to).await;
    assert!(deposits.len() > 300);
    let ids: BTreeSet<i64> = deposits.iter().map(|d| d.int("idDeposit")).collect();
    assert_eq!(ids.len(), deposits.len());
    let fields = "idDeposit externalId creationDate lastChangeDate countryName country paymentMethodName paymentMethodCode \
        requestedPaymentMethod requestedPaymentMethodName clientDocument idUser amount currency requestedAmount \
        requestedCurrency localAmount localCurrency fee feeCurrency status refundAttempted flags idMerchant merchantName";
    assert_eq!(deposits[0].keys(), fields.split_whitespace().collect());
    let cashouts = out.tupay_rows(&token, "/v1/cashout", from, to).await;
    let fields = "idCashout externalId creationDate lastChangeDate country currency amount creditedCurrency creditedAmount \
        merchantCurrency merchantAmount feeCurrency fee tax status reason existVoucher clientDocument flags idMerchant \
        merchantName";
    assert_eq!(cashouts[0].keys(), fields.split_whitespace().collect());

    // The status filter works, and only on what it names.
    let query = format!(
        "/v1/deposits?from={}&to={}&status=DECLINED",
        from.timestamp(),
        to.timestamp()
    );
    let declined = out.tupay(&token, &query).await.row().rows("data");
    assert!(!declined.is_empty() && declined.iter().all(|d| d.text("status") == "DECLINED"));

    // A page behind the end is empty.
    let query = format!("/v1/deposits?from={}&to={}&page=999", from.timestamp(), to.timestamp());
    assert_eq!(out.tupay(&token, &query).await.row().int("rows"), 0);
}

#[tokio::test]
async fn orders_mature_with_the_worlds_clock() {
    let out = ordinary("").await;
    let token = out.login().await;
    let (from, to) = (start_of_world(), at("2026-02-25T05:00:00Z"));
    let all = out.tupay_rows(&token, "/v1/deposits", from, to).await;
    let late = all.iter().find(|d| {
        let life = d.text("lastChangeDate").parse::<At>().unwrap() - d.text("creationDate").parse::<At>().unwrap();
        d.text("status") == "COMPLETED" && life > TimeDelta::hours(5)
    });
    let late = late.expect("some deposit is paid late");
    let (id, created) = (late.int("idDeposit"), late.text("creationDate").parse::<At>().unwrap());
    let find = async |now: At| {
        out.set_now(now);
        let token = out.login().await;
        let rows = out.tupay_rows(&token, "/v1/deposits", from, to).await;
        rows.into_iter()
            .find(|d| d.int("idDeposit") == id)
            .map(|d| (d.text("status"), d.cents("fee")))
    };
    assert_eq!(find(created - TimeDelta::seconds(1)).await, None);
    assert_eq!(find(created).await, Some(("PENDING".into(), 0)));
    let (status, fee) = find(created + TimeDelta::days(5)).await.unwrap();
    assert_eq!(status, "COMPLETED");
    assert!(fee > 0);
}

// -- PayVyne ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn payvyne_gives_tokens_for_form_bodies_with_the_right_pair_and_ends_them_after_an_hour() {
    let out = ordinary("").await;
    let good = "client_id=recon-sandbox&client_secret=payvyne+sandbox+%26+secret";
    for (form, status, word) in [
        (format!("grant_type=client_credentials&{good}X"), 401, "invalid_client"),
        (format!("grant_type=password&{good}"), 400, "unsupported_grant_type"),
        (good.to_owned(), 400, "invalid_request"),
        (
            format!("grant_type=client_credentials&{good}&client_id=again"),
            400,
            "invalid_request",
        ),
    ] {
        let got = Got::of(out.token_request(&form)).await;
        assert_eq!((got.status, got.row().text("error").as_str()), (status, word), "{form}");
    }
    let json = out.http.post(out.url(Service::Payvyne, "/api/oauth/token"));
    let json = json.header("content-type", "application/json").body("{}");
    assert_eq!(Got::of(json).await.status, 400);
    let get = out.http.get(out.url(Service::Payvyne, "/api/oauth/token"));
    assert_eq!(Got::of(get).await.status, 405);

    let token = out.token().await;
    assert_eq!(out.payvyne(&token, "/merchant/sweeps").await.status, 200);
    assert_eq!(out.payvyne("else", "/merchant/sweeps").await.status, 401);
    out.set_now(at("2026-03-20T09:30:00Z") + TimeDelta::seconds(3598));
    assert_eq!(out.payvyne(&token, "/merchant/sweeps").await.status, 200);
    out.set_now(at("2026-03-20T09:30:00Z") + TimeDelta::seconds(3599));
    assert_eq!(out.payvyne(&token, "/merchant/sweeps").await.status, 401);
}

#[tokio::test]
async fn payvyne_filters_by_bare_dates_at_midnight_and_refuses_what_the_grammar_does_not_know() {
    let out = ordinary("").await;
    let token = out.token().await;
    let ask = async |filter: &str| {
        let got = out
            .payvyne(&token, &format!("/merchant/sweeps?size=100&query={}", encoded(filter)))
            .await;
        (got.status == 200).then(|| got.row().rows("elements"))
    };
    let days =
        |rows: Vec<Row>| -> BTreeSet<String> { rows.iter().map(|r| r.text("createdAt")[..10].to_owned()).collect() };
    let two = ask("createdAt >= '2026-02-25' AND createdAt <= '2026-02-27'")
        .await
        .unwrap();
    assert_eq!(
        days(two),
        BTreeSet::from(["2026-02-25".to_owned(), "2026-02-26".to_owned()]),
        "the last day's sweep is at 23:59"
    );
    let one =
        ask("(createdAt >= '2026-02-25' AND createdAt < '2026-02-26') AND settlementAccountIdentifier = 'GBP3'").await;
    assert_eq!(one.unwrap().len(), 1);
    assert_eq!(ask("settlementAccountIdentifier = 'USD9'").await.unwrap().len(), 0);
    for bad in [
        "createdAt >= '2026-02-25T00:00:00Z'",
        "createdAt >= '25.02.2026'",
        "createdAt >= \u{2018}2026-02-25\u{2019}",
        "merchantId = 'x'",
        "createdAt >= '2026-02-25' OR createdAt = '2026-02-26'",
    ] {
        assert!(ask(bad).await.is_none(), "{bad}");
    }
    for (path, status) in [
        ("/merchant/sweeps?query=createdAt+>=+'2026-02-25'", 400),
        ("/merchant/sweeps?page=2", 400),
        ("/merchant/sweeps?size=0", 400),
        ("/merchant/sweeps?cursor=bm9uZQ%3D%3D", 400),
        ("/merchant/sweeps/none/transactions", 404),
        ("/merchant/sweeps/none", 404),
        ("/merchant/transactions", 404),
        ("/partner/sweeps", 200),
    ] {
        assert_eq!(out.payvyne(&token, path).await.status, status, "{path}");
    }
    let b = out
        .http
        .get(out.url(Service::Payvyne, "/api/v1/reconciliation/merchant/sweeps"))
        .bearer_auth(&token);
    assert_eq!(Got::of(b).await.status, 404, "variant B");
    let post = out
        .http
        .post(out.url(Service::Payvyne, "/api/reconciliation/v1/merchant/sweeps"))
        .bearer_auth(&token);
    assert_eq!(Got::of(post).await.status, 405);
}

#[tokio::test]
async fn payvyne_walks_by_opaque_cursors_that_hold_for_their_own_filter_only() {
    let out = ordinary("").await;
    let token = out.token().await;
    let whole = out.payvyne_rows(&token, "/merchant/sweeps", "size=100").await;
    let slowly = out.payvyne_rows(&token, "/merchant/sweeps", "size=3").await;
    let ids = |rows: &[Row]| -> Vec<String> { rows.iter().map(|r| r.text("id")).collect() };
    assert_eq!(ids(&whole), ids(&slowly));
    assert_eq!(whole.len(), 16, "two accounts, eight days");
    let path = format!("/merchant/sweeps/{}/transactions", ids(&whole)[0]);
    let all = out.payvyne_rows(&token, &path, "size=100").await;
    let slowly = out.payvyne_rows(&token, &path, "size=1").await;
    assert!(all.len() > 10);
    let ids: fn(&[Row]) -> Vec<String> = |rows| rows.iter().map(|r| r.text("transactionId")).collect();
    assert_eq!(ids(&all), ids(&slowly));

    let first = out.payvyne(&token, "/merchant/sweeps?size=2").await.row();
    let cursor = encoded(&first.text("nextPage"));
    let other = format!(
        "/merchant/sweeps?size=2&cursor={cursor}&query={}",
        encoded("settlementAccountIdentifier = 'GBP3'")
    );
    assert_eq!(out.payvyne(&token, &other).await.status, 400);
    assert_eq!(
        out.payvyne(&token, &format!("{path}?cursor={cursor}")).await.status,
        400
    );
    let clamped = out.payvyne(&token, &format!("{path}?size=5000")).await.row();
    assert!(clamped.int("size") <= 100);

    let sweep =
        "id createdAt settlementAccount openingBalance closingBalance reservedBalance transferredAmount summary";
    assert_eq!(whole[0].keys(), sweep.split_whitespace().collect());
    let fields = "transactionId type customerReference merchantReference relatedTransaction description createdAt updatedAt value";
    assert_eq!(all[0].keys(), fields.split_whitespace().collect());
    let partner = out
        .payvyne(&token, "/partner/sweeps?size=1")
        .await
        .row()
        .rows("elements");
    assert_eq!(partner[0].row("merchant").text("id"), "7c1e09ab44d2f310");
}

// -- One2Pays --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn one2pays_accepts_the_published_vectors_and_refuses_the_common_mistakes() {
    let mut world = World::new(setup(7));
    world.set_now(at("2026-01-01T00:00:00Z"));
    world.doors.one2pays.clock = SignatureClock::World;
    let out = outside(world, "").await;
    let post2 = r#"{"amount":"1000.00","referenceId":"order-12345","idempotencyKey":"unique-key-123"}"#;
    let post3 = r#"{"amount":"50.00","referenceId":"order-9","description":"ค่าสินค้า"}"#;
    use reqwest::Method as M;
    for (method, path, body, signature, status) in [
        (
            M::GET,
            "/api/v1/payments?page=1&limit=100",
            "",
            "99bcc027e84d085854f921f0d105d4a9e69d0696f4b9497aaed731b4d2ec76b4",
            200,
        ),
        (
            M::POST,
            "/api/v1/payments",
            post2,
            "08b5a1b3756eb88d2d143613c1f73bf3288b28df85b58f9e696a71bf5b56bc8a",
            403,
        ),
        (
            M::POST,
            "/api/v1/payments",
            post3,
            "964439454b672323a9e70b1a781a9529b988f8de8f478eb743f0b5bf4e06a735",
            403,
        ),
        (
            M::GET,
            "/api/v1/payments?page=1&limit=100",
            "",
            "8db559020558408c336b70e83ce13a5f119ce04dd487c73049056a28b2e0eb2a",
            401,
        ),
        (
            M::GET,
            "/api/v1/payments?page=1&limit=100",
            "",
            "26077413f7796f1b3c0649c9a8ca842c39f11870a56201ece98dcab411aee5ec",
            401,
        ),
        (
            M::POST,
            "/api/v1/payments",
            post3,
            "08b5a1b3756eb88d2d143613c1f73bf3288b28df85b58f9e696a71bf5b56bc8a",
            401,
        ),
    ] {
        let got = Got::of(out.with_signature(method, path, body, "1767225600000", signature)).await;
        assert_eq!(got.status, status, "{signature}: {}", got.body);
    }
    // Five minutes around the clock, no more.
    for (shift, status) in [(-300_000, 200), (300_000, 200), (-300_001, 401), (300_001, 401)] {
        let timestamp = (1_767_225_600_000_i64 + shift).to_string();
        let signature = sign("sk_test_EXAMPLE", &format!("{timestamp}."));
        let got = Got::of(out.with_signature(M::GET, "/api/v1/balance", "", &timestamp, &signature)).await;
        assert_eq!(got.status, status, "{shift}");
        assert_eq!(got.headers["date"], "Thu, 01 Jan 2026 00:00:00 GMT");
    }
}

#[tokio::test]
async fn one2pays_refuses_what_it_does_not_document() {
    let out = ordinary("").await;
    for (path, status, code) in [
        ("/api/v1/payments?limit=101", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?limit=0", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?page=0", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?status=succeeded", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?page=1&page=2", 400, "VALIDATION_ERROR"),
        ("/api/v1/balance?x=1", 400, "VALIDATION_ERROR"),
        (
            "/api/v1/payments/550e8400-e29b-41d4-a716-446655440000",
            404,
            "RESOURCE_NOT_FOUND",
        ),
        ("/api/v1/refunds", 404, "RESOURCE_NOT_FOUND"),
        ("/v1/payments", 404, "RESOURCE_NOT_FOUND"),
    ] {
        let got = out.one2pays(path).await;
        let row = got.row();
        assert_eq!((got.status, row.raw("success")), (status, "false"), "{path}");
        assert_eq!(row.row("error").text("code"), code, "{path}");
    }
    for path in ["/api/v1/payments", "/api/v1/withdraws", "/api/v1/balance"] {
        assert_eq!(
            Got::of(out.signed(reqwest::Method::DELETE, path, "")).await.status,
            405,
            "{path}"
        );
    }
    let bare = Got::of(out.http.get(out.url(Service::One2pays, "/api/v1/balance"))).await;
    assert_eq!(
        (bare.status, bare.row().row("error").text("code").as_str()),
        (401, "INVALID_CREDENTIALS")
    );
}

#[tokio::test]
async fn one2pays_lists_by_offset_and_looks_up_by_id() {
    let out = ordinary("").await;
    let by_ten = out.one2pays_rows("/api/v1/payments", 10).await;
    let by_hundred = out.one2pays_rows("/api/v1/payments", 100).await;
    let ids = |rows: &[Row]| -> Vec<String> { rows.iter().map(|r| r.text("id")).collect() };
    assert_eq!(ids(&by_ten), ids(&by_hundred));
    assert!(by_ten.len() > 200);
    assert_eq!(
        out.one2pays("/api/v1/payments").await.row().row("data").int("limit"),
        10
    );
    let fields = "id referenceId amount currency status paymentMethod description metadata nextAction clientSecret createdAt expiresAt";
    assert_eq!(by_ten[0].keys(), fields.split_whitespace().collect());
    let one = out
        .one2pays(&format!("/api/v1/payments/{}", by_ten[3].text("id")))
        .await
        .row()
        .row("data");
    assert_eq!(one.text("referenceId"), by_ten[3].text("referenceId"));
    let withdraws = out.one2pays_rows("/api/v1/withdraws", 100).await;
    assert!(withdraws.iter().all(|w| w.text("amount").ends_with(".00")));
    let behind = out
        .one2pays("/api/v1/payments?page=9999&limit=100")
        .await
        .row()
        .row("data");
    assert!(behind.rows("data").is_empty());
}

#[tokio::test]
async fn one2pays_limits_requests_a_minute_and_says_so_in_the_body() {
    let mut world = World::new(setup(7));
    world.doors.one2pays.requests_per_minute = Some(3);
    let out = outside(world, "").await;
    for _ in 0..3 {
        assert_eq!(out.one2pays("/api/v1/balance").await.status, 200);
    }
    let got = out.one2pays("/api/v1/balance").await;
    assert_eq!(got.status, 429);
    let metadata = got.row().row("error").row("metadata");
    assert_eq!((metadata.int("limit"), metadata.int("remaining")), (3, 0));
    assert!((1..=61).contains(&metadata.int("retryAfter")));
    assert!(metadata.text("resetAt").parse::<At>().unwrap() > Utc::now());
}

// -- the money -------------------------------------------------------------------------------------------------------

/// The balance report closes line by line and day by day, the current balance follows from it, and its totals are those of
/// the records.
async fn tupay_closes(out: &Outside, now: At) {
    let token = out.login().await;
    let (from, to) = (start_of_world(), now);
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    let mut days: BTreeMap<(String, NaiveDate), Row> = BTreeMap::new();
    for row in out.tupay_rows(&token, "/v1/balance/report", from, to).await {
        let c = |key: &str| row.cents(key);
        let net = c("depositTotal") - c("depositFeeTotal") - c("cashoutTotal") + c("noteTotal") - c("settlementTotal")
            + c("cancelledSettlementTotal");
        assert_eq!(c("netAmount"), net, "R1 {}", row.text("date"));
        let currency = row.text("currency");
        if let Some(before) = totals.get(&currency) {
            assert_eq!(c("totalBalance"), before + net, "R2 {} {currency}", row.text("date"));
        }
        totals.insert(currency.clone(), c("totalBalance"));
        let day = row.text("date").parse::<At>().unwrap().date_naive();
        assert!(
            days.insert((currency, day), row).is_none(),
            "one line per day and currency"
        );
    }
    assert_eq!(totals.len(), 2);
    for account in out.tupay(&token, "/v1/balance").await.row().rows("balances") {
        let (currency, data) = (account.text("currency"), account.row("data"));
        let c = |key: &str| data.cents(key);
        assert_eq!(c("totalBalance"), totals[&currency], "R7 {currency}");
        assert_eq!(
            c("availableBalance"),
            c("totalBalance") - c("depositSettlementPeriod"),
            "R3"
        );
        assert_eq!(c("usableBalance"), c("totalBalance") - c("rollingReserveBalance"), "R4");
    }
    let mut sums: BTreeMap<(String, NaiveDate), (i64, i64, i64)> = BTreeMap::new();
    let lima = |text: String| (text.parse::<At>().unwrap() - TimeDelta::hours(5)).date_naive();
    for d in out.tupay_rows(&token, "/v1/deposits", from, to).await {
        assert_eq!(d.cents("amount"), d.cents("requestedAmount"), "R8");
        if d.text("status") == "COMPLETED" {
            let sum = sums
                .entry((d.text("currency"), lima(d.text("lastChangeDate"))))
                .or_default();
            sum.0 += d.cents("amount");
            sum.1 += d.cents("fee");
        }
    }
    for c in out.tupay_rows(&token, "/v1/cashout", from, to).await {
        let done = c.text("status") == "COMPLETED";
        assert_eq!(
            c.cents("creditedAmount"),
            if done { c.cents("amount") } else { 0 },
            "R9"
        );
        if done {
            let sum = sums
                .entry((c.text("currency"), lima(c.text("lastChangeDate"))))
                .or_default();
            sum.2 += c.cents("merchantAmount") + c.cents("fee") + c.cents("tax");
        }
    }
    for (place, (deposits, fees, cashouts)) in sums {
        let row = &days[&place];
        let stated = (
            row.cents("depositTotal"),
            row.cents("depositFeeTotal"),
            row.cents("cashoutTotal"),
        );
        assert_eq!(stated, (deposits, fees, cashouts), "R5, R6 {place:?}");
    }
}

async fn payvyne_closes(out: &Outside) {
    let token = out.token().await;
    let sweeps = out.payvyne_rows(&token, "/merchant/sweeps", "size=50").await;
    let mut closings: BTreeMap<String, i64> = BTreeMap::new();
    let mut payments: BTreeMap<String, i64> = BTreeMap::new();
    let mut refunds: BTreeMap<String, i64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for sweep in &sweeps {
        let account = sweep.row("settlementAccount").text("identifier");
        let (opening, closing) = (sweep.money("openingBalance"), sweep.money("closingBalance"));
        let (reserved, transferred) = (sweep.money("reservedBalance"), sweep.money("transferredAmount"));
        let summary = sweep.row("summary");
        let stated = |key: &str| {
            (
                summary.row(key).row("value").cents("amount"),
                summary.row(key).int("count"),
            )
        };
        let s = |key: &str| stated(key).0;
        let credits = s("payments") + s("topUps") + s("miscellaneousPayments");
        let debits = s("refunds") + s("payouts") + s("fees") + s("miscellaneousReturns");
        assert_eq!(opening + credits - debits - transferred, closing, "R1");
        assert_eq!(transferred, (closing + transferred - reserved).max(0), "R2");
        if let Some(before) = closings.insert(account.clone(), closing) {
            assert_eq!(before, opening, "R5 {account}");
        }
        let path = format!("/merchant/sweeps/{}/transactions", sweep.text("id"));
        let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let mut balance = opening - transferred;
        for tx in out.payvyne_rows(&token, &path, "size=20").await {
            let (kind, value, id) = (tx.text("type"), tx.money("value"), tx.text("transactionId"));
            assert!(seen.insert(id.clone()), "R6: an id twice");
            assert_eq!(tx.row("value").text("currency"), account[..3], "R6: one currency");
            assert!(tx.text("updatedAt") >= tx.text("createdAt"));
            balance += if kind == "FEE" { -value } else { value };
            let sum = sums.entry(kind.clone()).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
            let related = tx.row("relatedTransaction");
            match kind.as_str() {
                "PAYMENT" => drop(payments.insert(id, value)),
                "REFUND" => *refunds.entry(related.text("id")).or_default() -= value,
                "FEE" => assert!(payments.contains_key(&related.text("id"))),
                _ => assert!(related.0.is_empty()),
            }
        }
        assert_eq!(balance, closing, "R4");
        for (kind, key) in [
            ("PAYMENT", "payments"),
            ("REFUND", "refunds"),
            ("PAYOUT", "payouts"),
            ("FEE", "fees"),
            ("TOP-UP", "topUps"),
            ("MISCELLANEOUS_PAYMENT", "miscellaneousPayments"),
            ("MISCELLANEOUS_RETURN", "miscellaneousReturns"),
        ] {
            let (sum, count) = sums.remove(kind).unwrap_or_default();
            assert_eq!((sum.abs(), count), stated(key), "R3 {kind}");
        }
        assert!(sums.is_empty(), "a type without a name");
    }
    assert!(!refunds.is_empty());
    for (payment, refunded) in refunds {
        assert!(refunded <= payments[&payment], "R7");
    }
}

/// The wallet moves by what was paid in less what was paid out.
async fn one2pays_closes(out: &Outside, then: At, now: At) {
    let stand = async |at: At| {
        out.set_now(at);
        let data = out.one2pays("/api/v1/balance").await.row().row("data");
        let sum = async |path: &str, word: &str| -> i64 {
            let rows = out.one2pays_rows(path, 100).await;
            let settled = rows.iter().filter(|r| r.text("status") == word);
            settled
                .map(|r| r.text("amount").strip_suffix(".00").unwrap().parse::<i64>().unwrap())
                .sum()
        };
        let moved = sum("/api/v1/payments", "succeeded").await - sum("/api/v1/withdraws", "paid").await;
        (data.cents("walletBalance") + data.cents("settlementBalance"), moved)
    };
    let ((before, moved_before), (after, moved_after)) = (stand(then).await, stand(now).await);
    assert!(moved_after != moved_before);
    assert_eq!(after - before, moved_after - moved_before);
}

#[tokio::test]
async fn the_money_closes_in_every_unplanted_world() {
    for seed in [0, 1, 2, 42, 20_260_302, u64::MAX] {
        let mut world = World::new(setup(seed));
        let now = at("2026-03-20T09:30:00Z");
        world.set_now(now);
        let out = outside(world, "").await;
        tupay_closes(&out, now).await;
        payvyne_closes(&out).await;
        one2pays_closes(&out, at("2026-02-26T03:00:00Z"), now).await;
    }
}

#[tokio::test]
async fn the_money_also_closes_in_the_middle_of_a_world() {
    let mut world = World::new(setup(3));
    let now = at("2026-02-28T09:30:00Z");
    world.set_now(now);
    let out = outside(world, "").await;
    let token = out.login().await;
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    for row in out
        .tupay_rows(&token, "/v1/balance/report", start_of_world(), now)
        .await
    {
        totals.insert(row.text("currency"), row.cents("totalBalance"));
    }
    for account in out.tupay(&token, "/v1/balance").await.row().rows("balances") {
        let current = account.row("data").cents("totalBalance");
        assert_eq!(
            current,
            totals[&account.text("currency")],
            "the running day is in the report, partially"
        );
    }
    payvyne_closes(&out).await;
}

// -- the ledger ------------------------------------------------------------------------------------------------------

/// reference -> direction, amount, settled
type Side = BTreeMap<String, (&'static str, i64, bool)>;

fn book(job: &str, csv: &str) -> Side {
    let separator = if job == "payvyne-uk" { ';' } else { ',' };
    let mut side = Side::new();
    for line in csv.lines().skip(1) {
        let cell: Vec<&str> = line.split(separator).collect();
        let out = ["payout", "out", "refund", "misc-out"].contains(&cell[2]);
        let (amount, state) = match job {
            "payvyne-uk" => (cell[3].parse().unwrap(), cell[6]),
            "one2pays-th" => (cents(cell[3]), cell[4]),
            _ => (cents(cell[3]), cell[5]),
        };
        let settled = ["done", "settled", "paid"].contains(&state);
        let value = (if out { "out" } else { "in" }, amount, settled);
        assert!(
            side.insert(cell[1].to_owned(), value).is_none(),
            "{} is booked twice",
            cell[1]
        );
    }
    side
}

#[tokio::test]
async fn a_matured_unplanted_world_and_its_ledgers_say_the_same() {
    let now = at("2026-03-20T09:30:00Z");
    let mut world = World::new(setup(11));
    world.set_now(now);
    let csv: BTreeMap<&str, String> = plant::LEDGERS
        .iter()
        .map(|job| (*job, ledger::export(&world, job, now)))
        .collect();
    let out = outside(world, "").await;

    let token = out.login().await;
    let mut tupay = Side::new();
    for d in out.tupay_rows(&token, "/v1/deposits", start_of_world(), now).await {
        let status = d.text("status");
        if status != "DECLINED" {
            tupay.insert(d.text("externalId"), ("in", d.cents("amount"), status == "COMPLETED"));
        }
    }
    for c in out.tupay_rows(&token, "/v1/cashout", start_of_world(), now).await {
        tupay.insert(
            c.text("externalId"),
            ("out", c.cents("amount"), c.text("status") == "COMPLETED"),
        );
    }
    assert_eq!(book("tupay-pe", &csv["tupay-pe"]), tupay);

    let mut one2pays = Side::new();
    for (path, direction) in [("/api/v1/payments", "in"), ("/api/v1/withdraws", "out")] {
        for o in out.one2pays_rows(path, 100).await {
            let amount = o.text("amount").strip_suffix(".00").unwrap().parse().unwrap();
            let settled = ["succeeded", "paid"].contains(&o.text("status").as_str());
            one2pays.insert(o.text("referenceId"), (direction, amount, settled));
        }
    }
    assert_eq!(book("one2pays-th", &csv["one2pays-th"]), one2pays);

    let token = out.token().await;
    let mut payvyne = Side::new();
    for sweep in out.payvyne_rows(&token, "/merchant/sweeps", "size=50").await {
        let path = format!("/merchant/sweeps/{}/transactions", sweep.text("id"));
        for tx in out.payvyne_rows(&token, &path, "size=50").await {
            let value = tx.money("value");
            if tx.text("type") != "FEE" {
                let direction = if value < 0 { "out" } else { "in" };
                payvyne.insert(tx.text("merchantReference"), (direction, value.abs(), true));
            }
        }
    }
    assert_eq!(book("payvyne-uk", &csv["payvyne-uk"]), payvyne);
}

#[test]
fn every_transfer_of_an_unplanted_world_arrives_at_the_bank_the_morning_after() {
    let world = World::new(setup(4));
    let statement = ledger::bank_statement(&world, at("2026-02-28T09:30:00Z"));
    let mut credits: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for line in statement.lines().skip(1) {
        let cell: Vec<&str> = line.split(',').collect();
        if cell[1] == "CR" {
            credits.insert(cell[4].to_owned(), (cents(cell[2]), cell[0].to_owned()));
        }
    }
    for sweep in &world.payvyne.sweeps {
        let morning = sweep.day.succ_opt().unwrap();
        let expected = (morning <= "2026-02-28".parse().unwrap())
            .then(|| (sweep.transferred, morning.format("%d/%m/%Y").to_string()));
        assert_eq!(credits.remove(&format!("VYNE {}", sweep.id)), expected, "{}", sweep.day);
    }
    assert!(!credits.is_empty() && credits.keys().all(|text| text.starts_with("TUPAY ")));
}

#[test]
fn equal_seeds_give_equal_worlds_and_other_seeds_others() {
    let now = at("2026-03-20T09:30:00Z");
    let export = |seed| ledger::export(&World::new(setup(seed)), "tupay-pe", now);
    assert_eq!(export(5), export(5));
    assert_ne!(export(5), export(6));
}

#[test]
fn every_kind_that_these_providers_can_produce_is_planted() {
    let world = plant::demo_world(1);
    let planted: BTreeSet<Kind> = world.planted.iter().map(|p| p.kind).collect();
    for kind in Kind::ALL {
        assert!(planted.contains(kind), "{kind} is not planted");
    }
    for p in &world.planted {
        assert!(p.opens_on_night < plant::NIGHTS, "{}", p.what);
        assert!(
            p.resolves_on_night
                .is_none_or(|n| n > p.opens_on_night && n < plant::NIGHTS),
            "{}",
            p.what
        );
    }
    let opens: BTreeSet<usize> = world.planted.iter().map(|p| p.opens_on_night).collect();
    assert!(opens.len() >= 4 && world.planted.iter().filter(|p| p.resolves_on_night.is_some()).count() >= 8);
}

// -- faults ----------------------------------------------------------------------------------------------------------

async fn balance(out: &Outside) -> Result<Got, reqwest::Error> {
    let response = out.signed(reqwest::Method::GET, "/api/v1/balance", "").send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Got {
        status,
        headers,
        body: response.text().await?,
    })
}

#[tokio::test]
async fn answers_are_replaced_as_the_script_says() {
    for (line, status, part) in [
        ("status = 503", 503, "\"success\":false"),
        ("status = 204", 204, ""),
        ("unauthorized = true", 401, "INVALID_CREDENTIALS"),
        ("rate_limited = 'body'\nretry_after = 7", 429, "\"retryAfter\":7"),
        ("rate_limited = 'bare'", 429, "RATE_LIMIT_EXCEEDED"),
        ("html = true", 200, "<html>"),
        ("body = 'not json'", 200, "not json"),
        ("truncate = 20", 200, "{\"success\":true,\"dat"),
    ] {
        let out = ordinary(&format!("[[fault]]\n{line}\n")).await;
        let got = balance(&out).await.unwrap();
        assert_eq!(got.status, status, "{line}");
        assert!(got.body.contains(part), "{line}: {}", got.body);
        let after = balance(&out).await.unwrap();
        assert_eq!(
            (after.status, after.row().raw("success")),
            (200, "true"),
            "{line}: only once"
        );
        let log = out.running.log();
        assert_eq!(
            log.iter().map(|l| (l.faulty, l.status)).collect::<Vec<_>>(),
            [(true, Some(status)), (false, Some(200))]
        );
        assert!(log[0].at <= log[1].at);
    }
}

#[tokio::test]
async fn headers_redirects_and_content_types_are_sent_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\nstatus = 429\nheaders = [['Retry-After', '3'], ['Retry-After', 'soon']]\n\
         [[fault]]\nnth = 2\nredirect = 'http://127.0.0.1:9/x'\nstatus = 307\n\
         [[fault]]\nnth = 3\ncontent_type = 'text/plain'\n\
         [[fault]]\nnth = 4\nrate_limited = 'header'\nretry_after = 4\n",
    )
    .await;
    let first = balance(&out).await.unwrap();
    let values: Vec<_> = first
        .headers
        .get_all("retry-after")
        .iter()
        .map(|v| v.to_str().unwrap())
        .collect();
    assert_eq!((first.status, values), (429, vec!["3", "soon"]));
    let second = balance(&out).await.unwrap();
    assert_eq!(
        (second.status, second.headers["location"].to_str().unwrap()),
        (307, "http://127.0.0.1:9/x")
    );
    let third = balance(&out).await.unwrap();
    assert_eq!(
        (third.status, third.headers["content-type"].to_str().unwrap()),
        (200, "text/plain")
    );
    assert_eq!(balance(&out).await.unwrap().headers["retry-after"], "4");
}

#[tokio::test]
async fn connections_break_and_bodies_drip_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\ndrop = true\n[[fault]]\nnth = 2\ncut_after = 10\n\
         [[fault]]\nnth = 3\ndelay_ms = 150\n[[fault]]\nnth = 4\ndrip_ms = 2\ndrip_bytes = 5\n",
    )
    .await;
    assert!(balance(&out).await.is_err(), "no answer");
    let response = out
        .signed(reqwest::Method::GET, "/api/v1/balance", "")
        .send()
        .await
        .unwrap();
    assert!(response.content_length().unwrap() > 10);
    assert!(response.bytes().await.is_err(), "the body breaks off");
    let began = Instant::now();
    assert_eq!(balance(&out).await.unwrap().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(150));
    let began = Instant::now();
    assert_eq!(
        balance(&out).await.unwrap().row().raw("success"),
        "true",
        "slow, but whole"
    );
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_gzip_bomb_unpacks_to_what_the_script_says() {
    let out = ordinary("[[fault]]\ngzip_bomb_mib = 3\n").await;
    let mut response = out
        .signed(reqwest::Method::GET, "/api/v1/balance", "")
        .send()
        .await
        .unwrap();
    let mut size = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        assert!(chunk.iter().all(|b| *b == b' '));
        size += chunk.len();
    }
    assert!((3_usize << 20).abs_diff(size) <= 5000, "{size}");
}

#[tokio::test]
async fn paging_goes_wrong_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\nprovider = 'one2pays'\nquery = 'page=2'\nignore_page = true\n\
         [[fault]]\nprovider = 'payvyne'\nquery = 'cursor='\ncursor_loop = true\n",
    )
    .await;
    let page = async |n: u32| out.one2pays(&format!("/api/v1/payments?page={n}&limit=5")).await.body;
    assert_eq!(page(2).await, page(1).await);
    assert_ne!(page(2).await, page(1).await, "only once");
    let token = out.token().await;
    let first = out
        .payvyne(&token, "/merchant/sweeps?size=2")
        .await
        .row()
        .text("nextPage");
    let second = out
        .payvyne(&token, &format!("/merchant/sweeps?size=2&cursor={}", encoded(&first)))
        .await
        .row();
    assert_eq!(second.text("nextPage"), first);
}

#[tokio::test]
async fn rows_come_and_go_between_pages_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\nprovider = 'one2pays'\nquery = 'page=2'\ninsert = 2\n\
         [[fault]]\nprovider = 'one2pays'\nquery = 'page=3'\ndelete = 3\n\
         [[fault]]\nprovider = 'tupay'\nquery = 'page=1'\ninsert = 1\n\
         [[fault]]\nprovider = 'payvyne'\npath = '/api/reconciliation/v1/merchant/sweeps/*'\ndelete = 2\n",
    )
    .await;
    let page = async |n: u32| {
        let data = out
            .one2pays(&format!("/api/v1/payments?page={n}&limit=5"))
            .await
            .row()
            .row("data");
        let ids: Vec<String> = data.rows("data").iter().map(|r| r.text("id")).collect();
        (data.int("total"), ids)
    };
    let (total, first) = page(1).await;
    let (grown, second) = page(2).await;
    assert_eq!(grown, total + 2);
    assert_eq!(second[..2], first[3..], "two rows slipped to the next page");
    assert_eq!(page(3).await.0, total - 1);

    let token = out.login().await;
    let t = start_of_world().timestamp();
    let path = async |n: u32| {
        let got = out
            .tupay(
                &token,
                &format!("/v1/deposits?from={t}&to={}&page={n}", t + 30 * 86_400),
            )
            .await;
        got.row()
            .rows("data")
            .iter()
            .map(|r| r.int("idDeposit"))
            .collect::<Vec<_>>()
    };
    let (first, second) = (path(0).await, path(1).await);
    assert_eq!(second[0], first[49], "one row slipped to the next page");

    let token = out.token().await;
    let sweep = out
        .payvyne(&token, "/merchant/sweeps?size=1")
        .await
        .row()
        .rows("elements")[0]
        .text("id");
    let list = format!("/merchant/sweeps/{sweep}/transactions");
    let stated = out
        .payvyne(&token, "/merchant/sweeps?size=1")
        .await
        .row()
        .rows("elements")[0]
        .row("summary");
    let counted: i64 = stated.0.keys().map(|k| stated.row(k).int("count")).sum();
    assert_eq!(
        out.payvyne_rows(&token, &list, "size=100").await.len() as i64,
        counted - 2
    );
}

#[tokio::test]
async fn sessions_expire_in_the_middle_of_a_walk_as_the_script_says() {
    let out = ordinary("[[fault]]\nprovider = 'tupay'\npath = '/v1/balance'\nnth = 2\nexpire_sessions = true\n").await;
    let token = out.login().await;
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 200);
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 401);
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 401, "until a new login");
    let token = out.login().await;
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 200);
}

#[tokio::test]
async fn the_broken_night_of_the_demo_breaks_one_day_of_cashouts_only() {
    let mut world = plant::demo_world(1);
    world.set_now(plant::as_of(3));
    let out = outside(world, "").await;
    out.running.set_faults(plant::faults(3));
    assert!(
        (0..plant::NIGHTS)
            .filter(|n| *n != 3)
            .all(|n| plant::faults(n).is_empty())
    );
    let token = out.login().await;
    let lima = |day: NaiveDate| (day.and_hms_opt(5, 0, 0).unwrap().and_utc()).timestamp();
    for back in 0..4 {
        let day = plant::covered(3) - chrono::Days::new(back);
        let query = format!("from={}&to={}", lima(day) - 1, lima(day) + 86_401);
        let cashouts = out.tupay(&token, &format!("/v1/cashout?{query}")).await.status;
        let deposits = out.tupay(&token, &format!("/v1/deposits?{query}")).await.status;
        assert_eq!((cashouts, deposits), (if back == 0 { 500 } else { 200 }, 200), "{day}");
    }
}

#[tokio::test]
async fn a_dropped_sandbox_answers_nobody() {
    let out = ordinary("").await;
    let url = out.url(Service::One2pays, "/api/v1/balance");
    assert_eq!(Got::of(out.http.get(&url)).await.status, 401);
    drop(out.running);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(out.http.get(&url).send().await.is_err());
}
