//! What the provider allows: pauses it asks for, requests a minute, requests at a time.

use std::time::{Duration, Instant, SystemTime};

use reconciled::failure::Class;

use crate::http::{Answer, Seen, Server, json, status, with};
use crate::plain::{Bench, Plain};

const PAGE: &str = r#"{"page":1,"rows":[{"id":"a","amount":100}]}"#;

fn limited(headers: &[(&str, String)]) -> Answer {
    headers
        .iter()
        .fold(status(429, "{}"), |answer, (name, value)| with(answer, name, value))
}

/// Answers 429 once, then pages; returns how the check went and the time between the two requests.
async fn after_limit(
    headers: Vec<(&'static str, String)>,
) -> (Result<Vec<String>, reconciled::failure::Failure>, Vec<Seen>) {
    let server = Server::start(move |seen| if seen.nth == 0 { limited(&headers) } else { json(PAGE) }).await;
    let bench = Bench::new(Plain::default(), server.url());
    (bench.check().await, server.seen())
}

fn http_date(ahead: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::now() + ahead)
}

#[tokio::test]
async fn retry_after_in_every_form_keeps_everybody_out_for_as_long() {
    let seconds = |s: &str| vec![("retry-after", s.to_owned())];
    let cases = [
        (seconds("1"), 1_000),
        (seconds(" 2 "), 2_000),
        // A date has whole seconds: three ahead is at least two.
        (vec![("retry-after", http_date(Duration::from_secs(3)))], 1_900),
        (vec![("retry-after", "1".into()), ("retry-after", "2".into())], 2_000),
        (vec![("retry-after", "2".into()), ("retry-after", "x".into())], 2_000),
        (seconds("0"), 0),
        (seconds("-5"), 0),
        (seconds("soon"), 0),
        (seconds("99999999999999999999999999"), 0),
        (seconds("Thu, 01 Jan 1970 00:00:00 GMT"), 0),
        (Vec::new(), 0),
    ];
    let checks = cases
        .into_iter()
        .map(|(headers, least)| async move { (headers.clone(), least, after_limit(headers).await) });
    for (headers, least, (result, seen)) in futures_util::future::join_all(checks).await {
        assert!(result.is_ok(), "{headers:?}: {result:?}");
        assert_eq!(seen.len(), 2, "{headers:?}");
        let between = seen[1].at - seen[0].at;
        assert!(between >= Duration::from_millis(least), "{headers:?}: {between:?}");
        assert!(
            between <= Duration::from_millis(least + 2_500),
            "{headers:?}: {between:?}"
        );
    }
}

#[tokio::test]
async fn a_date_is_read_by_the_clock_that_wrote_it() {
    // The provider's clock is ten minutes behind ours: its "in two seconds" lies in our past.
    let behind =
        |ahead: u64| httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(600) + Duration::from_secs(ahead));
    let (result, seen) = after_limit(vec![("date", behind(0)), ("retry-after", behind(3))]).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(1_900));
}

#[tokio::test]
async fn a_pause_longer_than_a_run_may_wait_ends_it_at_once() {
    for value in [
        "61",
        "86400",
        "18446744073709551615",
        &http_date(Duration::from_secs(3_600)),
    ] {
        let (result, seen) = after_limit(vec![("retry-after", value.to_owned())]).await;
        let failure = result.unwrap_err();
        assert_eq!((failure.class, seen.len()), (Class::Partial, 1), "{value}: {failure}");
        assert!(failure.message.contains("left alone until"), "{failure}");
    }
}

#[tokio::test]
async fn limits_without_end_end_with_the_budget() {
    for headers in [Vec::new(), vec![("retry-after", "0".to_owned())]] {
        let server = Server::start(move |_| limited(&headers)).await;
        let mut bench = Bench::new(Plain::default(), server.url());
        bench.http.retry_budget = Duration::from_millis(600);
        let begun = Instant::now();
        let failure = bench.check().await.unwrap_err();
        assert_eq!(failure.class, Class::Partial, "{failure}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert!((2..30).contains(&server.count()), "{}", server.count());
    }
}

/// No `count` + 1 requests of the log lie closer together than the rate allows, but for what a delay may be caught up with
/// (300 ms) and a little for the test machine.
pub fn assert_rate(seen: &[Seen], per_minute: u32) {
    let mut times: Vec<Instant> = seen.iter().map(|s| s.at).collect();
    times.sort_unstable();
    let interval = Duration::from_secs(60) / per_minute;
    for count in [20_usize, 30, 40, 80, 160] {
        for pair in times.windows(count + 1) {
            let span = pair[count] - pair[0];
            let least = interval * count as u32;
            assert!(
                span + Duration::from_millis(325) >= least,
                "{} requests in {span:?}, allowed in {least:?}",
                count + 1
            );
        }
    }
}

#[tokio::test]
async fn restarts_grant_no_request_more_than_the_rate() {
    let server = Server::start(|_| json(PAGE)).await;
    let mut bench = Bench::new(Plain::default(), server.url());
    bench.fetch.requests_per_minute = 1_200;
    for _ in 0..40 {
        bench.check().await.unwrap();
    }
    assert_eq!(server.count(), 40);
    assert_rate(&server.seen(), 1_200);
    let seen = server.seen();
    // A new process waits one interval first, so here not even catching up happens.
    assert!(seen[39].at - seen[0].at >= Duration::from_millis(39 * 50));
}
