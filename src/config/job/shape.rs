//! Digests: which requests a job makes, and which conversation it shares.

use chrono::NaiveDate;
use sha2::{Digest, Sha256};

use crate::config::{FileFeed, LedgerKind};
use crate::day::start_of_day;
use crate::providers::{Ask, Built, Shape, Step};
use crate::window::Window;

/// SHA-256 of length-prefixed parts, in hex: no two lists of parts run together.
fn digest<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// Jobs with equal values talk to the same account.
pub fn lane(kind: &str, base_url: &str, account_key: &str) -> String {
    digest([kind, base_url, account_key])
}

/// What shapes a provider's requests: its kind, place and account, how its feeds are cut, and the very request each
/// feed would begin with for one sample day. Settings that only shape what is made of the answers, and the pace, are
/// not in it.
pub fn of_provider(kind: &str, built: &Built) -> String {
    let mut parts: Vec<String> = vec![kind.to_owned(), built.base_url.to_string(), built.account_key.clone()];
    for feed in built.provider.feeds() {
        parts.push(format!("{} {:?}", feed.name, feed.shape));
        let ask = sample(feed.name, feed.shape);
        let number = match built.provider.next(&ask, &[]) {
            Step::Get { number, .. } => number,
            Step::GetAll { numbers } => *numbers.start(),
            Step::Done | Step::Again { .. } | Step::Broken { .. } => continue,
        };
        let request = built.provider.request(&ask, number, &[]);
        parts.push(format!("{:?} {}?{}", request.method, request.path, request.query));
        parts.push(hex::encode(&request.body));
    }
    digest(parts)
}

/// 32 letters and digits: a form that every provider takes as a key.
const SAMPLE_KEY: &str = "00000000000000000000000000000000";

/// A conversation that every provider can begin, always the same one.
fn sample(feed: &'static str, shape: Shape) -> Ask {
    let zone = chrono_tz::UTC;
    let day = NaiveDate::default();
    let window = Window {
        from: start_of_day(day, zone),
        until: start_of_day(crate::day::next_day(day), zone),
    };
    Ask {
        feed,
        window,
        subject: matches!(shape, Shape::Children { .. } | Shape::Details { .. } | Shape::Lookups)
            .then(|| SAMPLE_KEY.to_owned()),
        beside: Vec::new(),
        account: String::new(),
        as_of: window.until,
        zone,
        calibration: std::sync::Arc::default(),
    }
}

/// What decides which rows a file feed holds.
pub fn of_file(feed: &FileFeed) -> String {
    let place = match &feed.table.kind {
        LedgerKind::Csv { pattern } => pattern.clone(),
        LedgerKind::Sqlite { path, query } => format!("{}\n{query}", path.display()),
        LedgerKind::Server { kind } => (*kind).to_owned(),
    };
    let columns = feed
        .table
        .columns
        .iter()
        .map(|(ours, theirs)| format!("{ours}={theirs}"));
    digest(
        ["file".to_owned(), feed.provider.clone(), feed.feed.clone(), place]
            .into_iter()
            .chain(columns),
    )
}

pub fn of_across(jobs: &[String]) -> String {
    digest(["across"].into_iter().chain(jobs.iter().map(String::as_str)))
}
