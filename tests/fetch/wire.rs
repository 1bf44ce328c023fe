//! One request on the wire: what comes back broken, too large, too late, redirected or with any status.

use std::time::{Duration, Instant};

use reconciled::failure::{Class, Failure};

use crate::http::{Answer, Server, bytes, json, status, with};
use crate::plain::{Bench, CANARY_KEY, CANARY_TOKEN, Plain};

const PAGE: &str = r#"{"page":1,"rows":[{"id":"a","amount":100}]}"#;

/// A bench with this patience at a server that answers so.
fn bench(server: &Server, budget: Duration) -> Bench {
    let mut bench = Bench::new(Plain::default(), server.url());
    bench.http.retry_budget = budget;
    bench
}

async fn check_once(answer: Answer) -> (Result<Vec<String>, Failure>, usize) {
    let server = Server::start(move |_| answer.clone()).await;
    let result = bench(&server, Duration::ZERO).check().await;
    (result, server.count())
}

#[tokio::test]
async fn no_redirect_is_followed_not_even_by_a_login() {
    for code in [300, 301, 302, 303, 304, 305, 307, 308] {
        let other = Server::start(|_| json(PAGE)).await;
        let target = format!("{}stolen", other.url());
        let answer = with(status(code, ""), "location", &target);
        let server = Server::start(move |_| answer.clone()).await;
        for login in [false, true] {
            let bench = Bench::new(
                Plain {
                    login,
                    ..Plain::default()
                },
                server.url(),
            );
            let failure = bench.check().await.unwrap_err();
            assert_eq!(failure.class, Class::Protocol, "{code} {failure}");
            assert!(failure.message.contains("redirect"), "{failure}");
            assert!(!failure.message.contains("stolen"), "{failure}");
        }
        assert_eq!(other.connections(), 0, "{code} was followed");
        assert_eq!(server.count(), 2, "{code} was asked for again");
    }
}

#[tokio::test]
async fn every_status_has_its_meaning_and_none_but_whole_answers_is_success() {
    let server = Server::start(|seen| {
        let code: u16 = seen.path()[2..5].parse().unwrap();
        match code {
            100..=199 => Answer::Raw(format!("HTTP/1.1 {code} X\r\n\r\n").into_bytes()),
            204 => Answer::Raw(b"HTTP/1.1 204 X\r\n\r\n".to_vec()),
            _ => status(code, PAGE),
        }
    })
    .await;
    let checks = (100..600).map(|code: u16| {
        let mut bench = bench(&server, Duration::ZERO);
        bench.setup.base_url = server.url().join(&format!("s{code}")).unwrap();
        async move { (code, bench.check().await) }
    });
    for (code, result) in futures_util::future::join_all(checks).await {
        let expected = match code {
            // 404 means "unknown subject" to this provider, 410 "begin again": both are answers.
            200 | 201 | 203 | 404 | 410 => None,
            202 | 429 => Some(Class::Partial),
            401 | 403 => Some(Class::Auth),
            100 | 102..=199 | 408 | 425 | 500..=599 => Some(Class::ProviderDown),
            _ => Some(Class::Protocol),
        };
        assert_eq!(result.as_ref().err().map(|f| f.class), expected, "{code}: {result:?}");
    }
}

#[tokio::test]
async fn a_refused_permission_is_asked_for_once() {
    let (result, requests) = check_once(status(403, PAGE)).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.class, requests), (Class::Auth, 1));
    assert!(
        failure.message.contains("permission") && failure.message.contains("127.0.0.1"),
        "{failure}"
    );
}

#[tokio::test]
async fn an_answer_above_the_cap_ends_in_a_named_limit() {
    let bomb = vec![b' '; 64 << 20];
    let zstd = zstd::bulk::compress(&bomb, 1).unwrap();
    assert!(zstd.len() < 100_000);
    for answer in [
        json(vec![b' '; (1 << 20) + 1]),
        with(json(zstd), "content-encoding", "zstd"),
        with(json(gzip(&bomb)), "content-encoding", "gzip"),
        Answer::Endless,
    ] {
        let (result, requests) = check_once(answer).await;
        let failure = result.unwrap_err();
        assert_eq!((failure.class, requests), (Class::Protocol, 1), "{failure}");
        assert!(failure.message.contains("max_body_bytes = 1048576"), "{failure}");
    }
    let (result, _) = check_once(with(json(gzip(PAGE.as_bytes())), "content-encoding", "gzip")).await;
    assert!(result.is_ok(), "{result:?}");
}

/// Deflated by the zip writer that the mails use, in gzip's frame.
fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::{Cursor, Read, Write};
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("x", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(body).unwrap();
    let mut zip = zip::ZipArchive::new(zip.finish().unwrap()).unwrap();
    let mut file = zip.by_index_raw(0).unwrap();
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let crc = file.crc32();
    file.read_to_end(&mut out).unwrap();
    out.extend(crc.to_le_bytes());
    out.extend((body.len() as u32).to_le_bytes());
    out
}

#[tokio::test]
async fn headers_without_bound_are_a_broken_contract() {
    let many = (0..1_000).fold(json(PAGE), |answer, i| with(answer, &format!("x-{i}"), "y"));
    let large = with(json(PAGE), "x-large", &"y".repeat(100_000));
    let huge = with(json(PAGE), "x-huge", &"y".repeat(1_000_000));
    for answer in [many, large, huge] {
        let (result, requests) = check_once(answer).await;
        let failure = result.unwrap_err();
        assert_eq!((failure.class, requests), (Class::Protocol, 1), "{failure}");
        assert!(failure.message.contains("headers"), "{failure}");
    }
}

#[tokio::test]
async fn an_unknown_or_nested_encoding_is_no_page() {
    for encoding in ["gzip, gzip", "compress", "x-unknown"] {
        let (result, _) = check_once(with(json(PAGE), "content-encoding", encoding)).await;
        let failure = result.unwrap_err();
        assert!(
            failure.message.contains("encoding") || failure.message.contains("damaged"),
            "{encoding}: {failure}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_no_pages_are_tried_again_and_named() {
    let cases = [
        ("<html><body>Welcome to the hotel</body></html>", "HTML received"),
        ("", "empty body"),
        ("hello", "not JSON"),
        (r#"{"page":1,"rows":[{"id":"a","amo"#, "cut off"),
        (r#"{"page":1}"#, "cut off"),
    ];
    let checks = cases.map(|(body, named)| async move {
        let server = Server::start(move |_| json(body)).await;
        let failure = bench(&server, Duration::from_millis(300)).check().await.unwrap_err();
        assert_eq!(failure.class, Class::Partial, "{body}: {failure}");
        assert!(failure.message.contains(named), "{body}: {failure}");
        assert!(server.count() > 1, "{body} was not asked for again");

        let server = Server::start(move |seen| if seen.nth < 2 { json(body) } else { json(PAGE) }).await;
        assert!(bench(&server, Duration::from_secs(20)).check().await.is_ok(), "{body}");
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn an_answer_cut_anywhere_is_asked_for_again() {
    let chunked = format!(
        "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        20,
        &PAGE[..20],
        PAGE.len() - 20,
        &PAGE[20..]
    );
    // Without a length only the JSON itself tells that something is missing.
    let until_close = format!("HTTP/1.1 200 X\r\n\r\n{PAGE}");
    let packed = bytes(&with(json(gzip(PAGE.as_bytes())), "content-encoding", "gzip"));
    let wholes = [
        bytes(&json(PAGE)),
        chunked.into_bytes(),
        until_close.into_bytes(),
        packed,
    ];
    let cuts = wholes
        .iter()
        .flat_map(|whole| (0..whole.len()).map(move |cut| whole[..cut].to_vec()));
    let checks = cuts.map(|part| async move {
        let cut = part.len();
        let server = Server::start(move |seen| match seen.nth {
            0 => Answer::Raw(part.clone()),
            _ => json(PAGE),
        })
        .await;
        (
            cut,
            bench(&server, Duration::from_secs(60)).check().await,
            server.count(),
        )
    });
    let mut again = 0;
    for (cut, result, requests) in futures_util::future::join_all(checks).await {
        assert!(result.is_ok(), "cut at {cut}: {result:?}");
        assert!((1..=2).contains(&requests), "cut at {cut}: {requests} requests");
        again += usize::from(requests == 2);
    }
    // All but those where the last bytes carry nothing: the end mark of the chunks.
    assert!(again >= wholes.iter().map(Vec::len).sum::<usize>() - 10, "{again}");
}

#[tokio::test]
async fn a_length_that_lies_yields_no_page() {
    for length in [PAGE.len() + 10, PAGE.len() - 10] {
        let raw = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n{PAGE}").into_bytes();
        let (result, _) = check_once(Answer::Raw(raw)).await;
        assert!(result.is_err(), "{length}");
    }
}

#[tokio::test]
async fn a_slow_answer_ends_with_its_deadline() {
    let whole = bytes(&json(PAGE));
    let every = Duration::from_millis(50);
    let in_head = Answer::Drip(whole.clone(), every);
    let in_body = Answer::Drip([&whole[..whole.len() - PAGE.len()], PAGE.as_bytes()].concat(), every);
    let silent = Answer::After(Duration::from_secs(30), Box::new(json(PAGE)));
    for answer in [in_head, in_body, silent] {
        let server = Server::start(move |_| answer.clone()).await;
        let mut bench = bench(&server, Duration::ZERO);
        bench.fetch.request_timeout = Duration::from_secs(1);
        let begun = Instant::now();
        let failure = bench.check().await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(failure.class, Class::ProviderDown, "{failure}");
        assert!(failure.message.contains("time"), "{failure}");
    }
}

#[tokio::test]
async fn bursts_of_server_errors_and_dropped_connections_pass() {
    let broken = [500, 502, 503, 504, 520].map(|code| status(code, "down"));
    let checks = broken
        .into_iter()
        .chain([Answer::Raw(Vec::new())])
        .map(|answer| async move {
            let server = Server::start(move |seen| if seen.nth < 3 { answer.clone() } else { json(PAGE) }).await;
            (bench(&server, Duration::from_secs(60)).check().await, server.count())
        });
    for (result, requests) in futures_util::future::join_all(checks).await {
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(requests, 4);
    }
}

#[tokio::test]
async fn a_provider_that_stays_down_is_named_after_the_budget() {
    let begun = Instant::now();
    let (result, _) = (
        bench(&Server::start(|_| status(503, "down")).await, Duration::from_secs(1))
            .check()
            .await,
        0,
    );
    let failure = result.unwrap_err();
    assert_eq!(failure.class, Class::ProviderDown);
    assert!(
        failure.message.contains("503") && failure.message.contains("next run"),
        "{failure}"
    );
    assert!((1..4).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());

    // Nobody listens at all.
    let gone = Server::start(|_| json(PAGE)).await;
    let bench = bench(&gone, Duration::from_millis(100));
    drop(gone);
    let failure = bench.check().await.unwrap_err();
    assert_eq!(failure.class, Class::ProviderDown);
    assert!(failure.message.contains("refused"), "{failure}");
}

#[tokio::test]
async fn what_an_answer_says_beside_its_rows_is_passed_on() {
    let odd = with(
        Answer::Whole {
            status: 200,
            headers: Vec::new(),
            body: PAGE.into(),
        },
        "content-type",
        "text/plain",
    );
    let odd = with(
        with(odd, "sunset", "Sat, 31 Oct 2026 23:59:59 GMT"),
        "deprecation",
        "hunter2",
    );
    let server = Server::start(move |_| odd.clone()).await;
    let said = bench(&server, Duration::ZERO).check().await.unwrap().join("\n");
    assert!(
        said.contains("content-type") && said.contains("sunset (Sat, 31 Oct 2026 23:59:59 GMT)"),
        "{said}"
    );
    assert!(said.contains("deprecation") && !said.contains("hunter2"), "{said}");

    let plain = Server::start(|_| json(PAGE)).await;
    assert_eq!(
        bench(&plain, Duration::ZERO).check().await.unwrap(),
        ["plain: items answered"]
    );
}

#[tokio::test]
async fn requests_stay_below_the_base_url() {
    let server = Server::start(|_| json(PAGE)).await;
    let mut bench = bench(&server, Duration::ZERO);
    bench.setup.base_url = server.url().join("api/v1/").unwrap();
    assert!(bench.check().await.is_ok());
    assert!(
        server.seen()[0].target.starts_with("/api/v1/items/"),
        "{:?}",
        server.seen()
    );
}

#[tokio::test]
async fn plain_http_beyond_this_machine_and_unusable_settings_are_refused_before_anything_is_sent() {
    let server = Server::start(|_| json(PAGE)).await;
    let mut plain_http = bench(&server, Duration::ZERO);
    plain_http.setup.base_url = "http://api.example.com".parse().unwrap();
    let mut no_ca = bench(&server, Duration::ZERO);
    no_ca.http.ca_file = Some("/nonexistent/ca.pem".into());
    let no_secret = bench(&server, Duration::ZERO);
    std::fs::remove_file(no_secret.folder.path().join("key")).unwrap();
    for bench in [plain_http, no_ca, no_secret] {
        let failure = bench.client().err().unwrap();
        assert_eq!(failure.class, Class::Config, "{failure}");
    }
    assert_eq!(server.connections(), 0);
}

/// The variables are read when the process starts, so the test runs itself once more with them set.
#[test]
fn proxy_variables_of_the_environment_are_ignored() {
    const MARK: &str = "RECONCILED_TEST_PROXY";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if std::env::var_os(MARK).is_some() {
        runtime.block_on(async {
            let server = Server::start(|_| json(PAGE)).await;
            bench(&server, Duration::ZERO).check().await.unwrap();
            assert_eq!(server.count(), 1);
        });
        return;
    }
    runtime.block_on(async {
        let proxy = Server::start(|_| json(PAGE)).await;
        let url = proxy.url().to_string();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "wire::proxy_variables_of_the_environment_are_ignored"])
            .env(MARK, "1");
        for name in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            child.env(name, &url);
        }
        let output = tokio::task::spawn_blocking(move || child.output().unwrap())
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        assert_eq!(proxy.connections(), 0, "the proxy saw something");
    });
}

#[tokio::test]
async fn a_configured_proxy_is_used() {
    let proxy = Server::start(|_| json(PAGE)).await;
    let server = Server::start(|_| json(PAGE)).await;
    let mut bench = bench(&server, Duration::ZERO);
    bench.http.proxy = Some(proxy.url());
    bench.check().await.unwrap();
    assert_eq!((proxy.count(), server.count()), (1, 0));
    assert!(
        proxy.seen()[0].target.starts_with("http://127.0.0.1"),
        "{:?}",
        proxy.seen()
    );
}

/// Everything the program says, at the loudest level, in a process of its own.
#[test]
fn no_secret_is_ever_said() {
    const MARK: &str = "RECONCILED_TEST_CANARY";
    if std::env::var_os(MARK).is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "wire::no_secret_is_ever_said", "--nocapture"])
            .env(MARK, "1");
        let output = child.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            output.status.success() && said.contains("TRACE") && said.contains("FAILED AS EXPECTED"),
            "{said}"
        );
        for canary in ["CANARY", "4111111111111111", "hunter2"] {
            assert!(!said.contains(canary), "{canary} was said:\n{said}");
        }
        return;
    }
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(say_everything());
}

async fn say_everything() {
    let body = format!(r#"{{"rows":[{{"id":"4111111111111111","note":"hunter2 {CANARY_TOKEN}","amount":1.5}}]}}"#);
    let answers = [
        status(401, body.clone()),
        status(403, body.clone()),
        status(418, body.clone()),
        status(429, body.clone()),
        status(500, body.clone()),
        with(
            status(307, body.clone()),
            "location",
            &format!("http://127.0.0.1:1/{CANARY_TOKEN}?hunter2"),
        ),
        json(body.clone()),
        json("<html>hunter2 CANARY"),
        with(json(body.clone()), "x-session", CANARY_TOKEN),
        with(json(body.clone()), "content-encoding", "gzip"),
        Answer::Raw(bytes(&json(body.clone()))[..60].to_vec()),
        Answer::Raw(Vec::new()),
        json(vec![b'C'; 2 << 20]),
        Answer::After(Duration::from_secs(9), Box::new(json(body))),
    ];
    for answer in answers {
        for login in [false, true] {
            let answer = answer.clone();
            let server = Server::start(move |seen| match seen.path() {
                "/login" => json(format!(r#"{{"token":"{CANARY_TOKEN}"}}"#)),
                _ => answer.clone(),
            })
            .await;
            let mut bench = bench(&server, Duration::from_millis(50));
            bench.setup.provider = std::sync::Arc::new(Plain {
                login,
                ..Plain::default()
            });
            bench.fetch.request_timeout = Duration::from_millis(500);
            let failure = bench.check().await.unwrap_err();
            eprintln!("FAILED AS EXPECTED: {failure} {failure:?}");
        }
    }
    // The secret itself is no header: the message names the place, not the value.
    let server = Server::start(|_| json(PAGE)).await;
    let bench = bench(&server, Duration::ZERO);
    crate::plain::secret(bench.folder.path(), "key", &format!("{CANARY_KEY}\u{1}"));
    eprintln!("FAILED AS EXPECTED: {}", bench.check().await.unwrap_err());
}
