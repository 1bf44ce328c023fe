//! Logging in, once for all; being refused; a wrong clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reconciled::failure::Class;

use crate::http::{Seen, Server, json, status, with};
use crate::plain::{Bench, CANARY_KEY, Plain};

const PAGE: &str = r#"{"page":1,"rows":[{"id":"a","amount":100}]}"#;

fn with_login() -> Plain {
    Plain {
        login: true,
        ..Plain::default()
    }
}

/// A server whose sessions have numbers: `refuse` says which one is refused for which request.
async fn server(refuse: impl Fn(&Seen, usize) -> bool + Send + Sync + 'static) -> Server {
    let logins = AtomicUsize::new(0);
    Server::start(move |seen| match (seen.method.as_str(), seen.path()) {
        ("POST", "/login") => {
            assert!(seen.body.windows(CANARY_KEY.len()).any(|w| w == CANARY_KEY.as_bytes()));
            json(format!(
                r#"{{"token":"token-{}"}}"#,
                logins.fetch_add(1, Ordering::SeqCst) + 1
            ))
        }
        ("DELETE", "/session") => json("{}"),
        _ => {
            let session = seen
                .header("authorization")
                .and_then(|v| v.strip_prefix("Bearer token-")?.parse().ok());
            if refuse(seen, session.unwrap_or(0)) {
                status(401, "{}")
            } else {
                json(PAGE)
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_session_is_opened_used_and_closed() {
    let server = server(|_, session| session != 1).await;
    let said = Bench::new(with_login(), server.url()).check().await.unwrap();
    assert!(said[0].contains("logged in"), "{said:?}");
    let targets: Vec<_> = server.seen().iter().map(|s| s.method.clone()).collect();
    assert_eq!(targets, ["POST", "GET", "DELETE"]);
}

#[tokio::test]
async fn a_provider_that_wants_to_be_left_alone_gets_no_goodbye() {
    let server = Server::start(|seen| match (seen.method.as_str(), seen.path()) {
        ("POST", "/login") => json(r#"{"token":"token-1"}"#),
        _ => with(status(429, "{}"), "retry-after", "86400"),
    })
    .await;
    let failure = Bench::new(with_login(), server.url()).check().await.unwrap_err();
    assert!(failure.message.contains("left alone until"), "{failure}");
    let methods: Vec<_> = server.seen().iter().map(|s| s.method.clone()).collect();
    assert_eq!(methods, ["POST", "GET"]);
}

#[tokio::test]
async fn a_refused_session_is_renewed_once_and_the_request_repeated() {
    let server = server(|_, session| session < 2).await;
    assert!(Bench::new(with_login(), server.url()).check().await.is_ok());
    assert_eq!(server.count_of("/login"), 2);
    assert_eq!(server.count_of("/items"), 2);
}

#[tokio::test]
async fn refused_for_good_ends_after_two_logins() {
    let server = server(|_, _| true).await;
    let failure = Bench::new(with_login(), server.url()).check().await.unwrap_err();
    assert_eq!(failure.class, Class::Auth, "{failure}");
    assert_eq!((server.count_of("/login"), server.count_of("/items")), (2, 2));
}

#[tokio::test]
async fn a_refused_login_is_not_repeated() {
    for code in [401, 403] {
        let server = Server::start(move |_| status(code, "{}")).await;
        let failure = Bench::new(with_login(), server.url()).check().await.unwrap_err();
        assert_eq!((failure.class, server.count()), (Class::Auth, 1), "{failure}");
        assert!(failure.message.contains("login"), "{failure}");
    }
}

#[tokio::test]
async fn a_login_survives_a_short_outage() {
    let server = Server::start(|seen| match (seen.nth, seen.path()) {
        (0, _) => status(503, "down"),
        (1, _) => json("<html>"),
        (_, "/login") => json(r#"{"token":"t"}"#),
        _ => json(PAGE),
    })
    .await;
    let mut bench = Bench::new(with_login(), server.url());
    bench.http.retry_budget = Duration::from_secs(30);
    assert!(bench.check().await.is_ok());
}

#[tokio::test]
async fn a_wrong_clock_is_named_and_corrected_once_for_signing() {
    for off in [-86_400_i64, -3_600, -30, 30, 3_600, 86_400] {
        let first = Mutex::new(None::<String>);
        let server = Server::start(move |seen| {
            let stamp = seen
                .header("x-timestamp")
                .unwrap()
                .parse::<chrono::DateTime<chrono::Utc>>()
                .unwrap();
            let there = chrono::Utc::now() + chrono::TimeDelta::seconds(off);
            first.lock().unwrap().get_or_insert_with(|| stamp.to_rfc3339());
            let answer = if (there - stamp).num_seconds().abs() <= 5 {
                json(PAGE)
            } else {
                status(401, "{}")
            };
            with(answer, "date", &httpdate::fmt_http_date(there.into()))
        })
        .await;
        let said = Bench::new(Plain::default(), server.url()).check().await.unwrap();
        assert_eq!(server.count(), 2, "{off}");
        let named = said
            .iter()
            .find(|s| s.contains("local clock is"))
            .unwrap_or_else(|| panic!("{off}: {said:?}"));
        let seconds: i64 = named.split_whitespace().find_map(|w| w.parse().ok()).unwrap();
        assert!((seconds - off.abs()).abs() <= 2, "{off}: {named}");
        assert!(
            named.contains(if off > 0 { "behind" } else { "ahead of" }),
            "{off}: {named}"
        );
    }
}

#[tokio::test]
async fn wrong_keys_on_a_wrong_clock_name_both_and_stop() {
    let there = || httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(600));
    let server = Server::start(move |_| with(status(401, "{}"), "date", &there())).await;
    let failure = Bench::new(Plain::default(), server.url()).check().await.unwrap_err();
    assert_eq!((failure.class, server.count()), (Class::Auth, 2), "{failure}");
    assert!(
        failure.message.contains("local clock is") && failure.message.contains("credentials"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_right_clock_is_not_touched() {
    let server = Server::start(|seen| {
        let answer = if seen.nth == 0 { status(401, "{}") } else { json(PAGE) };
        with(answer, "date", &httpdate::fmt_http_date(std::time::SystemTime::now()))
    })
    .await;
    let said = Bench::new(Plain::default(), server.url()).check().await.unwrap();
    assert!(!said.iter().any(|s| s.contains("clock")), "{said:?}");
}
