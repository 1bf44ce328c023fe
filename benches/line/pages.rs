//! A One2Pays listing of any length over loopback, as fast as it can be written.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;

/// Rows on a page, the provider's maximum.
pub const PAGE: u64 = 100;

/// Running for as long as it lives.
pub struct Server {
    pub url: String,
    arrivals: Arc<Mutex<Vec<Instant>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// When each request for a page of payments arrived.
    pub fn arrivals(&self) -> Vec<Instant> {
        self.arrivals.lock().unwrap().clone()
    }
}

struct Shelf {
    /// Every page, written before anybody asks.
    pages: Vec<Vec<u8>>,
    delay: Duration,
    arrivals: Arc<Mutex<Vec<Instant>>>,
}

/// Serves `rows` payments, each answer after `delay`.
pub fn serve(rows: u64, delay: Duration) -> Server {
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let pages = (1..=rows.div_ceil(PAGE).max(1))
        .map(|number| page(number, rows))
        .collect();
    let shelf = Arc::new(Shelf {
        pages,
        delay,
        arrivals: arrivals.clone(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (ready, address) = std::sync::mpsc::channel::<SocketAddr>();
    runtime.spawn(async move {
        let app = Router::new()
            .route("/api/v1/payments", get(payments))
            .route("/api/v1/withdraws", get(|| async { json(empty()) }))
            .route("/api/v1/balance", get(|| async { json(balance()) }))
            .with_state(shelf);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready.send(listener.local_addr().unwrap()).unwrap();
        axum::serve(listener, app).await.unwrap();
    });
    Server {
        url: format!("http://{}", address.recv().unwrap()),
        arrivals,
        _runtime: runtime,
    }
}

fn json(body: Vec<u8>) -> ([(&'static str, &'static str); 1], Vec<u8>) {
    ([("content-type", "application/json")], body)
}

async fn payments(
    State(shelf): State<Arc<Shelf>>,
    RawQuery(query): RawQuery,
) -> ([(&'static str, &'static str); 1], Vec<u8>) {
    shelf.arrivals.lock().unwrap().push(Instant::now());
    if !shelf.delay.is_zero() {
        tokio::time::sleep(shelf.delay).await;
    }
    let query = query.unwrap_or_default();
    let number = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("page=")?.parse::<usize>().ok())
        .unwrap_or(1);
    json(shelf.pages.get(number.saturating_sub(1)).cloned().unwrap_or_else(empty))
}

fn empty() -> Vec<u8> {
    br#"{"success":true,"data":{"data":[],"total":0,"page":1,"limit":100,"totalPages":0}}"#.to_vec()
}

fn balance() -> Vec<u8> {
    br#"{"success":true,"data":{"walletBalance":12500.5,"settlementBalance":3200,"currency":"THB","status":"active"}}"#
        .to_vec()
}

/// Splitmix64: the same rows every time.
pub fn random(seed: u64) -> u64 {
    let mut z = seed
        .wrapping_add(0x9e37_79b9_7f4a_7c15)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^= z >> 27;
    z = z.wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A key like a UUID, random as such keys are.
pub fn key(row: u64) -> String {
    let (a, b) = (random(row), random(row ^ 0xffff_0000));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a & 0xffff,
        b & 0xfff,
        (b >> 12) & 0xfff,
        b >> 16 & 0xffff_ffff_ffff
    )
}

fn page(number: u64, rows: u64) -> Vec<u8> {
    use std::fmt::Write;
    let first = (number - 1) * PAGE;
    let mut text = String::with_capacity(60_000);
    text.push_str(r#"{"success":true,"data":{"data":["#);
    for row in first..(first + PAGE).min(rows) {
        if row > first {
            text.push(',');
        }
        let _ = write!(
            text,
            concat!(
                r#"{{"id":"{}","referenceId":"order-{}","amount":"{}.00","currency":"THB","status":"succeeded","paymentMethod":"promptpay","#,
                r#""description":"Payment for order number {} with a text as long as such texts are, and some more words so that a page "#,
                r#"is as heavy as it is in life","metadata":{{"order_id":"{}","channel":"web","campaign":"winter-2026","terminal":"front-7"}},"#,
                r#""clientSecret":null,"nextAction":null,"createdAt":"2026-01-14T{:02}:{:02}:22.418Z","expiresAt":"2026-01-15T18:03:22.418Z"}}"#
            ),
            key(row),
            row,
            10_000 + random(row) % 900_000,
            row,
            row,
            row / 3600 % 24,
            row / 60 % 60
        );
    }
    let total_pages = rows.div_ceil(PAGE);
    let _ = write!(
        text,
        r#"],"total":{rows},"page":{number},"limit":100,"totalPages":{total_pages}}}}}"#
    );
    text.into_bytes()
}

/// The most arrivals in any span of that length.
pub fn busiest(arrivals: &[Instant], span: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, at) in arrivals.iter().enumerate() {
        while at.duration_since(arrivals[first]) >= span {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}
