//! One contract over the whole registry. Knows no provider by name: settings and pages come from each one's `fixtures/`.
//!
//! `settings.toml` there is the provider's table, its first lines say the zone and the business day of the window.
//! `<feed>[.<case>].json` is a page, `….expected` what it reads as (`ACCEPT=1 cargo test --test providers` writes it);
//! A feed that is asked by key names its key there, too: `# subject.<feed> = …`. A folder inside `fixtures/` with a
//! `settings.toml` of its own is the same provider set up otherwise. `<feed>.walk-<number>.json` are the pages of one walk that ends well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reconciled::config::{Section, Source};
use reconciled::day::{format_instant, next_day, parse_instant, start_of_day};
use reconciled::providers::{
    Ask, Built, Entry, Keys, Method, PageHead, Parsed, Provider, REGISTRY, Reply, Request, Session, Shape, Step,
};
use reconciled::window::Window;
use serde_json::Value;

/// No honest walk over the fixtures and no dishonest one needs more requests.
const MOST_REQUESTS: usize = 40;
/// Stand in for every secret; they may be in headers and login bodies only.
const CANARY: &str = "CANARY-s3cret";

#[path = "providers/damage.rs"]
mod damage;

struct Case {
    file: PathBuf,
    feed: String,
    body: Vec<u8>,
}

struct Subject {
    built: Built,
    ask: Ask,
    /// Key by feed, for feeds that are asked by key.
    keys: BTreeMap<String, String>,
    cases: Vec<Case>,
}

fn folder(entry: &Entry) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/providers")
        .join(entry.name)
        .join("fixtures")
}

fn build(text: &str, entry: &Entry) -> (Option<Built>, Vec<String>) {
    let source = Source {
        file: "settings.toml",
        text,
    };
    let mut section = Section::parse(&source);
    let built = (entry.build)(&mut section);
    (built, section.finish().into_iter().map(|p| p.to_string()).collect())
}

/// The fixtures of a provider, one folder per way it can be set up.
fn folders(entry: &Entry) -> Vec<PathBuf> {
    let top = folder(entry);
    let inner = std::fs::read_dir(&top)
        .expect("fixtures")
        .map(|file| file.expect("a file").path());
    let mut folders: Vec<PathBuf> = inner.filter(|path| path.join("settings.toml").is_file()).collect();
    folders.push(top);
    folders.sort();
    folders
}

fn subject(entry: &Entry, folder: &Path) -> Subject {
    let text = std::fs::read_to_string(folder.join("settings.toml")).expect("fixtures/settings.toml");
    let noted = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {name} = ")));
        line.expect("zone and day in settings.toml").to_owned()
    };
    let zone: chrono_tz::Tz = noted("zone").parse().expect("zone");
    let day = noted("day").parse().expect("day");
    let (built, problems) = build(&text, entry);
    assert_eq!(problems, Vec::<String>::new(), "{}", entry.name);
    let until = start_of_day(next_day(day), zone);
    let keys = text
        .lines()
        .filter_map(|line| line.strip_prefix("# subject.")?.split_once(" = "));
    let keys = keys.map(|(feed, key)| (feed.to_owned(), key.to_owned())).collect();
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .expect("fixtures")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|file| {
            let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
            Case {
                feed: name.split('.').next().expect("a feed").to_owned(),
                body: std::fs::read(&file).expect("a page"),
                file,
            }
        })
        .collect();
    cases.sort_by(|a, b| a.file.cmp(&b.file));
    Subject {
        built: built.expect("the fixture's settings are fine"),
        ask: Ask {
            feed: "",
            window: Window {
                from: start_of_day(day, zone),
                until,
            },
            subject: None,
            beside: Vec::new(),
            account: String::new(),
            as_of: until + chrono::TimeDelta::hours(2),
            zone,
            calibration: Arc::new(BTreeMap::new()),
        },
        keys,
        cases,
    }
}

fn subjects() -> impl Iterator<Item = &'static Subject> {
    static ALL: std::sync::LazyLock<Vec<Subject>> = std::sync::LazyLock::new(|| {
        REGISTRY
            .iter()
            .flat_map(|entry| folders(entry).into_iter().map(move |folder| subject(entry, &folder)))
            .collect()
    });
    ALL.iter()
}

impl Subject {
    fn provider(&self) -> &dyn Provider {
        self.built.provider.as_ref()
    }

    fn ask(&self, feed: &str) -> Ask {
        let feed = self
            .provider()
            .feeds()
            .into_iter()
            .find(|f| f.name == feed)
            .expect("a fixture of a known feed");
        let by_subject = matches!(feed.shape, Shape::Children { .. } | Shape::Lookups);
        // In a fixture's settings: the key, then what the request needs beside it.
        let noted = self.keys.get(feed.name).map_or("5d02c8f1a97b3e64/ü", String::as_str);
        let mut parts = noted.split('|').map(str::to_owned);
        let subject = parts.next().filter(|_| by_subject);
        Ask {
            feed: feed.name,
            subject,
            beside: parts.collect(),
            ..self.ask.clone()
        }
    }

    fn number(&self, case: &Case) -> u32 {
        let stated = |value: &Value| value.get("page").and_then(Value::as_u64);
        let body: Value = serde_json::from_slice(&case.body).unwrap_or_default();
        let number = stated(&body).or_else(|| stated(body.get("data")?)).unwrap_or(0);
        u32::try_from(number).expect("a page number")
    }
}

// -- what a page reads as -----------------------------------------------------------------------------------------------

fn shown(parsed: &Parsed) -> String {
    let mut out = String::new();
    for (row, t) in &parsed.transactions {
        writeln!(
            out,
            "{row}: {} {} {} account={:?} subject={:?} id={:?} reference={:?} related={:?} {} {} minor, fee {:?} {:?}, {} {} final={} at {} changed {}",
            t.feed, t.direction, t.kind, t.account, t.subject, t.provider_id, t.reference, t.related_id, t.currency,
            t.amount_minor, t.fee_minor, t.fee_currency, t.status, t.provider_status, t.is_final,
            t.occurred_at.map(format_instant).unwrap_or_default(), t.changed_at.map(format_instant).unwrap_or_default(),
        )
        .expect("a line");
        for r in &t.residuals {
            writeln!(
                out,
                "   {} stated {} computed {}: {}",
                r.relation, r.stated_minor, r.computed_minor, r.detail
            )
            .expect("a line");
        }
    }
    for (row, b) in &parsed.balances {
        writeln!(
            out,
            "{row}: {} account={:?} subject={:?} {} {} = {} at {}",
            b.feed,
            b.account,
            b.subject,
            b.currency,
            b.item,
            b.amount_minor,
            format_instant(b.as_of)
        )
        .expect("a line");
    }
    for u in &parsed.unreadable {
        writeln!(out, "unreadable {}: {}", u.place, u.reason).expect("a line");
    }
    for s in &parsed.subjects {
        writeln!(
            out,
            "subject {} at {}",
            s.id,
            s.at.map(format_instant).unwrap_or_default()
        )
        .expect("a line");
    }
    for (name, lines) in [("unknown field", &parsed.unknown_fields), ("warning", &parsed.warnings)] {
        for line in lines {
            writeln!(out, "{name}: {line}").expect("a line");
        }
    }
    for (name, line) in [("foreign", &parsed.foreign), ("misconfigured", &parsed.misconfigured)] {
        if let Some(line) = line {
            writeln!(out, "{name}: {line}").expect("a line");
        }
    }
    out
}

#[test]
fn every_fixture_reads_as_its_expected_file_says() {
    for subject in subjects() {
        for case in &subject.cases {
            let parsed = subject
                .provider()
                .parse(&subject.ask(&case.feed), subject.number(case), &case.body);
            let expected = case.file.with_extension("expected");
            if std::env::var_os("ACCEPT").is_some() {
                std::fs::write(&expected, shown(&parsed)).expect("writing the expected file");
            }
            let wanted = std::fs::read_to_string(&expected).expect("an expected file; ACCEPT=1 writes it");
            assert_eq!(shown(&parsed), wanted, "{}", case.file.display());
        }
    }
}

#[test]
fn every_feed_has_a_fixture_and_carries_its_own_name() {
    for subject in subjects() {
        for feed in subject.provider().feeds() {
            let cases: Vec<&Case> = subject.cases.iter().filter(|case| case.feed == feed.name).collect();
            assert!(!cases.is_empty(), "{} {}", subject.provider().name(), feed.name);
            for case in cases {
                let parsed = subject
                    .provider()
                    .parse(&subject.ask(feed.name), subject.number(case), &case.body);
                assert!(parsed.transactions.iter().all(|(_, t)| t.feed == feed.name));
                assert!(parsed.balances.iter().all(|(_, b)| b.feed == feed.name));
            }
        }
    }
}

/// Rows that became something, by index.
fn rows_read(parsed: &Parsed) -> BTreeSet<u32> {
    let index = |place: &str| place.split_once('[')?.1.split_once(']')?.0.parse::<u32>().ok();
    let unreadable = parsed.unreadable.iter().map(|u| index(&u.place).unwrap_or(0));
    let transactions = parsed.transactions.iter().map(|(row, _)| *row);
    transactions
        .chain(parsed.balances.iter().map(|(row, _)| *row))
        .chain(unreadable)
        .collect()
}

#[test]
fn every_row_of_a_page_becomes_a_record_a_balance_or_an_unreadable() {
    for subject in subjects() {
        for case in &subject.cases {
            let ask = subject.ask(&case.feed);
            let head = subject
                .provider()
                .head(&ask, subject.number(case), &case.body)
                .expect("a head");
            let parsed = subject.provider().parse(&ask, subject.number(case), &case.body);
            assert_eq!(rows_read(&parsed), (0..head.rows).collect(), "{}", case.file.display());
            assert!(head.ids.is_empty() || head.ids.len() == head.rows as usize);
        }
    }
}

#[test]
fn masking_personal_data_changes_no_row_and_leaves_none_of_it() {
    for subject in subjects() {
        let (private, identity) = (
            subject.provider().private_fields(),
            subject.provider().identity_fields(),
        );
        for case in &subject.cases {
            let masked = reconciled::fetch::scrub(&case.body, private, identity);
            let (ask, number) = (subject.ask(&case.feed), subject.number(case));
            let read = |body: &[u8]| subject.provider().parse(&ask, number, body);
            assert_eq!(read(&masked), read(&case.body), "{}", case.file.display());
            let Ok(value) = serde_json::from_slice::<Value>(&masked) else {
                continue;
            };
            let mut paths = Vec::new();
            damage::members(&value, &mut Vec::new(), &mut paths);
            let mut value = value;
            for path in paths
                .iter()
                .filter(|path| private.iter().any(|key| path.last().is_some_and(|p| p == key)))
            {
                let left = damage::at(&mut value, path)
                    .and_then(|v| v.as_str().map(str::to_owned))
                    .unwrap_or_default();
                assert!(left.is_empty() || left == "***", "{} {path:?}", case.file.display());
            }
        }
    }
}

#[test]
fn feeds_asked_by_key_take_the_key_of_their_fixtures_and_refuse_to_ask_about_none() {
    for subject in subjects() {
        let provider = subject.provider();
        for feed in provider.feeds().into_iter().filter(|feed| feed.shape == Shape::Lookups) {
            let ask = subject.ask(feed.name);
            let key = ask.subject.clone().expect("a key");
            assert_eq!(
                provider.lookup_problem(feed.name, &key, &ask.beside),
                None,
                "{} {}",
                provider.name(),
                feed.name
            );
            assert!(!feed.directions.is_empty() && !provider.lookup_key(feed.name).column().is_empty());
            for bad in ["", "\n"] {
                let why = provider.lookup_problem(feed.name, bad, &ask.beside).expect("a problem");
                let nobody = Ask {
                    subject: Some(bad.into()),
                    ..ask.clone()
                };
                assert_eq!(provider.next(&nobody, &[]), Step::Broken { why });
            }
            assert!(matches!(
                provider.next(&Ask { subject: None, ..ask }, &[]),
                Step::Broken { .. }
            ));
        }
    }
}

#[test]
fn a_byte_order_mark_changes_nothing() {
    for subject in subjects() {
        for case in &subject.cases {
            let ask = subject.ask(&case.feed);
            let marked = [b"\xEF\xBB\xBF", case.body.as_slice()].concat();
            let number = subject.number(case);
            assert_eq!(
                subject.provider().parse(&ask, number, &marked),
                subject.provider().parse(&ask, number, &case.body)
            );
            assert_eq!(
                subject.provider().head(&ask, number, &marked),
                subject.provider().head(&ask, number, &case.body)
            );
        }
    }
}

// -- the conversation ---------------------------------------------------------------------------------------------------

#[derive(Debug, PartialEq)]
enum End {
    Done,
    Again,
    Broken,
    BadPage,
}

/// Holds the conversation with a source of pages; panics when it is longer than it may be.
fn walk(subject: &Subject, ask: &Ask, mut source: impl FnMut(u32) -> Vec<u8>) -> (End, Vec<PageHead>, Vec<Request>) {
    let provider = subject.provider();
    let (mut heads, mut requests): (Vec<PageHead>, Vec<Request>) = (Vec::new(), Vec::new());
    loop {
        assert!(
            requests.len() <= MOST_REQUESTS,
            "{} {}: no end",
            provider.name(),
            ask.feed
        );
        let (numbers, confirms) = match provider.next(ask, &heads) {
            Step::Done => return (End::Done, heads, requests),
            Step::Again { .. } => return (End::Again, heads, requests),
            Step::Broken { .. } => return (End::Broken, heads, requests),
            Step::Get { number, confirms } => (number..=number, confirms),
            Step::GetAll { numbers } => (*numbers.start()..=(*numbers.end()).min(numbers.start() + 50), false),
        };
        let before = heads.clone();
        for number in numbers {
            requests.push(provider.request(ask, number, &before));
            match provider.head(ask, number, &source(number)) {
                Ok(head) => heads.push(PageHead { confirms, ..head }),
                Err(_) => return (End::BadPage, heads, requests),
            }
        }
    }
}

fn walk_pages(subject: &Subject, feed: &str) -> BTreeMap<u32, Vec<u8>> {
    let number = |case: &Case| {
        let name = case.file.file_name()?.to_str()?;
        name.strip_prefix(&format!("{feed}.walk-"))?
            .strip_suffix(".json")?
            .parse()
            .ok()
    };
    subject
        .cases
        .iter()
        .filter_map(|case| Some((number(case)?, case.body.clone())))
        .collect()
}

#[test]
fn a_walk_over_honest_pages_reads_each_of_them_and_ends() {
    let mut walks = 0;
    for subject in subjects() {
        for feed in subject.provider().feeds() {
            let pages = walk_pages(subject, feed.name);
            if pages.is_empty() {
                continue;
            }
            walks += 1;
            let (end, heads, _) = walk(subject, &subject.ask(feed.name), |number| pages[&number].clone());
            assert_eq!(end, End::Done, "{} {}", subject.provider().name(), feed.name);
            let read: BTreeSet<u32> = heads.iter().map(|head| head.number).collect();
            assert_eq!(read, pages.keys().copied().collect(), "{}", feed.name);
        }
    }
    assert!(walks >= REGISTRY.len(), "every provider has a walk among its fixtures");
}

#[test]
fn a_walk_that_was_cut_goes_on_to_the_same_end_from_any_of_its_pages() {
    for subject in subjects() {
        for feed in subject.provider().feeds() {
            let pages = walk_pages(subject, feed.name);
            let ask = subject.ask(feed.name);
            if pages.is_empty() {
                continue;
            }
            let (_, heads, _) = walk(subject, &ask, |number| pages[&number].clone());
            for kept in 0..heads.len() {
                let mut so_far = heads[..kept].to_vec();
                let mut asked = 0;
                loop {
                    asked += 1;
                    assert!(asked < MOST_REQUESTS);
                    let (numbers, confirms) = match subject.provider().next(&ask, &so_far) {
                        Step::Done => break,
                        Step::Get { number, confirms } => (number..=number, confirms),
                        Step::GetAll { numbers } => (numbers, false),
                        other => panic!("{} {}: {other:?}", subject.provider().name(), feed.name),
                    };
                    for number in numbers {
                        let head = subject.provider().head(&ask, number, &pages[&number]).expect("a head");
                        so_far.push(PageHead { confirms, ..head });
                    }
                }
                assert_eq!(so_far.len(), heads.len(), "cut after {kept}");
            }
        }
    }
}

#[test]
fn a_source_that_repeats_one_page_for_ever_is_left_within_the_bound() {
    for subject in subjects() {
        for case in &subject.cases {
            let (end, _, _) = walk(subject, &subject.ask(&case.feed), |_| case.body.clone());
            let of = subject
                .provider()
                .feeds()
                .into_iter()
                .find(|feed| feed.name == case.feed);
            // A key has one answer, there is nothing to repeat.
            let one_page = of.is_some_and(|feed| feed.shape == Shape::Lookups);
            let may_end = one_page || !case.file.to_str().expect("a name").contains("walk-0");
            assert!(may_end || end != End::Done, "{}: {end:?}", case.file.display());
        }
    }
}

#[test]
fn requests_are_percent_encoded_and_hold_no_secret() {
    let token = secrecy::SecretString::from(CANARY);
    let session = Session {
        token,
        lifetime: None,
        idle: None,
        warnings: Vec::new(),
    };
    for subject in subjects() {
        let keys: Keys = subject
            .built
            .secrets
            .keys()
            .map(|name| (name.clone(), CANARY.into()))
            .collect();
        let now = parse_instant("2026-01-15T00:00:00Z").expect("an instant");
        for feed in subject.provider().feeds() {
            let case = subject
                .cases
                .iter()
                .find(|case| case.feed == feed.name)
                .expect("a fixture");
            let pages = walk_pages(subject, feed.name);
            let page = |number: u32| pages.get(&number).unwrap_or(&case.body).clone();
            let (_, _, requests) = walk(subject, &subject.ask(feed.name), page);
            for request in requests {
                let mut signed = request.clone();
                subject.provider().sign(&mut signed, Some(&session), &keys, now);
                assert_eq!((&signed.path, &signed.query), (&request.path, &request.query));
                assert!(!format!("{request:?}").contains(CANARY));
                assert_ne!(signed.headers, request.headers, "signed");
                assert_wire_safe(&signed);
            }
        }
        for request in subject
            .provider()
            .login(&keys, now)
            .into_iter()
            .chain(subject.provider().logout())
        {
            assert!(!request.path.contains(CANARY) && !request.query.contains(CANARY));
            assert_wire_safe(&request);
        }
    }
}

fn assert_wire_safe(request: &Request) {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b);
    assert!(
        request.path.starts_with('/') && request.path.bytes().all(|b| unreserved(b) || b == b'/'),
        "{}",
        request.path
    );
    assert!(
        request.query.bytes().all(|b| unreserved(b) || b == b'&' || b == b'='),
        "{}",
        request.query
    );
    for part in request.path.split('/').chain(request.query.split(['&', '='])) {
        let mut rest = part;
        while let Some((_, code)) = rest.split_once('%') {
            assert!(
                code.len() >= 2 && code.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit),
                "{part}"
            );
            rest = &code[2..];
        }
    }
    for (name, value) in &request.headers {
        assert!(value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{name}");
    }
    assert!(request.method == Method::Post || request.body.is_empty());
}

#[test]
fn no_status_but_a_success_is_ever_a_page_and_no_refusal_repeats_the_body() {
    for subject in subjects() {
        let ask = subject.ask(subject.provider().feeds()[0].name);
        for status in 100..=599_u16 {
            for body in [
                "",
                "{}",
                "[]",
                "<html>CANARY</html>",
                r#"{"code":11,"description":"CANARY"}"#,
                "null",
                "\"CANARY\"",
            ] {
                let reply = Reply {
                    status,
                    headers: vec![("location".into(), "https://elsewhere.example/".into())],
                    body: body.as_bytes().to_vec(),
                    received_at: subject.ask.as_of,
                };
                let judgement = subject.provider().judge(&ask, &reply);
                let page = judgement == reconciled::providers::Judgement::Page;
                assert!(!page || matches!(status, 200 | 201 | 203), "{status}");
                assert!(!page || body.starts_with(['{', '[']), "{body}");
                assert!(!format!("{judgement:?}").contains("CANARY"));
            }
        }
    }
}

#[test]
fn an_unknown_setting_and_a_missing_secret_are_problems_by_name() {
    for entry in REGISTRY {
        let text = std::fs::read_to_string(folder(entry).join("settings.toml")).expect("settings");
        let (_, problems) = build(&format!("request_timeot = \"30s\"\n{text}"), entry);
        assert!(
            problems.iter().any(|p| p.contains("`request_timeot` is not a setting")),
            "{problems:?}"
        );
        let without: String = text
            .lines()
            .filter(|l| !l.starts_with("client_secret") && !l.starts_with("secret_key"))
            .map(|l| format!("{l}\n"))
            .collect();
        let (built, problems) = build(&without, entry);
        assert!(
            built.is_none() && problems.iter().any(|p| p.contains("is missing")),
            "{problems:?}"
        );
        let plain = text.replace("env:", "");
        let (_, problems) = build(&plain, entry);
        assert!(
            problems.iter().any(|p| p.contains("must name where the secret is")),
            "{problems:?}"
        );
    }
}
