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
mod faults;
mod ledgers;
mod money;
mod one2pays;
mod payvyne;
mod tupay;
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
