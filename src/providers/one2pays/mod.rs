//! One2Pays (Thailand): all payments and all withdraws by pages, and the balance of the moment.
//! Facts and doubts: `providers/one2pays.md`. The conversation is here, its JSON in [`wire`], its signature in [`sign`],
//! its arithmetic in [`relations`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::lookups;
use super::setup;
use super::{
    Ask, BadPage, Books, Built, Entry, Feed, Judgement, Keys, Limits, PageHead, Parsed, Provider, Relation, Reply,
    Request, Session, Shape, StatementLine, Step, encode,
};
use crate::config::Section;
use crate::day::Instant;
use crate::money::Unit;
use crate::record::{Direction, Status};

mod errors;
mod relations;
mod sign;
mod walk;
mod wire;

/// Registry line.
pub const ENTRY: Entry = Entry {
    name: "one2pays",
    build,
};

const PAYMENTS: &str = "payments";
const WITHDRAWS: &str = "withdraws";
const BALANCE: &str = "balance";
/// Single records that their list shows without `referenceId` (section 5.1).
const PAYMENT_DETAILS: &str = "payment_details";
const WITHDRAW_DETAILS: &str = "withdraw_details";

/// Requests side by side: 1000 a minute at 200 ms each need four; twice that bears slower answers.
const MAX_IN_FLIGHT: u32 = 8;

/// Which keys a job is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Environment {
    Live,
    Test,
}

/// Settings of `providers/one2pays.md`, section 11.
#[derive(Clone, Debug)]
struct One2Pays {
    environment: Option<Environment>,
    /// `satang` reads amounts as minor units, `baht` as major units.
    amount_unit: Unit,
    balance_unit: Unit,
    page_limit: i64,
    max_list_passes: u32,
    /// `assume_sort = "created_desc"`: the operator says that lists begin with the newest.
    newest_first: bool,
    /// Percent-encoded and with a leading `&`, or empty.
    extra_query: String,
    late_change: TimeDelta,
    /// `max_reference_lookups`: records asked about one by one in a night and feed, for lack of a reference; 0: none.
    max_details: u64,
    /// Status word -> what it means, before the document's own table.
    overrides: BTreeMap<String, Status>,
}

fn build(section: &mut Section<'_>) -> Option<Built> {
    let base_url = section.base_url("base_url");
    let api_key = section.required_secret("api_key");
    let secret_key = section.required_secret("secret_key");
    let environment = section.choice_or(
        "environment",
        None,
        &[
            ("live", Some(Environment::Live)),
            ("production", Some(Environment::Live)),
            ("test", Some(Environment::Test)),
            ("sandbox", Some(Environment::Test)),
        ],
    );
    // 80 % of the quota: live traffic shares it (section 7).
    let per_minute = if environment == Some(Environment::Test) {
        80
    } else {
        800
    };
    let per_minute = section.integer_or("requests_per_minute", per_minute, 1..=1000);
    let late_change = TimeDelta::days(section.integer_or("late_change_days", 7, 0..=3650));
    let max_wait = section.integer_or("max_retry_wait_s", 120, 0..=86_400);
    let units = [("satang", Unit::Minor), ("baht", Unit::Major)];
    let provider = One2Pays {
        environment,
        amount_unit: section.choice_or("amount_unit", Unit::Minor, &units),
        balance_unit: section.choice_or("balance_unit", Unit::Major, &units),
        page_limit: section.integer_or("page_limit", 100, 1..=100),
        max_list_passes: u32::try_from(section.integer_or("max_list_passes", 3, 1..=100)).unwrap_or(3),
        newest_first: section.choice_or("assume_sort", false, &[("none", false), ("created_desc", true)]),
        extra_query: extra_query(section),
        late_change,
        max_details: section
            .integer_or("max_reference_lookups", 5000, 0..=1_000_000)
            .unsigned_abs(),
        overrides: lookups::overrides(section),
    };
    let strict_balance = section.boolean_or("strict_balance", false);
    let (api_key, secret_key) = (api_key?, secret_key?);
    Some(Built {
        provider: Arc::new(provider),
        base_url: base_url?,
        account_key: api_key.to_string(),
        secrets: BTreeMap::from([("api_key".into(), api_key), ("secret_key".into(), secret_key)]),
        strict_balance,
        limits: Limits {
            requests_per_minute: u32::try_from(per_minute).unwrap_or(80),
            max_in_flight: MAX_IN_FLIGHT,
            request_timeout: None,
            lookback: late_change,
            settle: TimeDelta::minutes(10),
            max_retry_wait: Duration::from_secs(max_wait.unsigned_abs()),
        },
    })
}

/// `extra_query = { status = "paid" }`, sent with every list request.
fn extra_query(section: &mut Section<'_>) -> String {
    let Some(mut inner) = section.section("extra_query") else {
        return String::new();
    };
    let line = inner.line_of("");
    let mut query = String::new();
    for (name, value) in inner.texts() {
        if name == "page" || name == "limit" {
            inner.problem_at(
                line,
                format!("`provider.extra_query.{name}` belongs to the paging and cannot be set"),
            );
        }
        query.push_str(&format!("&{}={}", encode(&name), encode(&value)));
    }
    section.close(inner);
    query
}

impl One2Pays {
    /// With `assume_sort`, rows created before this are not read, and passed over where they stand on the last page.
    fn cutoff(&self, ask: &Ask) -> Option<Instant> {
        self.newest_first.then(|| ask.window.from - self.late_change)
    }
}

impl Provider for One2Pays {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn feeds(&self) -> Vec<Feed> {
        let feed = |name, shape, directions| Feed {
            name,
            shape,
            directions,
        };
        vec![
            feed(PAYMENTS, Shape::Listing, &[Direction::In]),
            feed(WITHDRAWS, Shape::Listing, &[Direction::Out]),
            feed(BALANCE, Shape::Snapshot, &[]),
            feed(PAYMENT_DETAILS, Shape::Details { of: PAYMENTS }, &[Direction::In]),
            feed(WITHDRAW_DETAILS, Shape::Details { of: WITHDRAWS }, &[Direction::Out]),
        ]
    }

    fn max_details(&self) -> u64 {
        self.max_details
    }

    fn max_passes(&self) -> u32 {
        self.max_list_passes
    }

    fn sign(&self, request: &mut Request, _session: Option<&Session>, keys: &Keys, now: Instant) {
        sign::sign(request, keys, now);
    }

    fn check_keys(&self, keys: &Keys) -> Result<(), String> {
        sign::check_keys(self.environment, keys)
    }

    fn next(&self, ask: &Ask, heads: &[PageHead]) -> Step {
        walk::next(ask, heads)
    }

    fn request(&self, ask: &Ask, number: u32, _heads: &[PageHead]) -> Request {
        let list = |path| {
            Request::get(
                path,
                format!("page={number}&limit={}{}", self.page_limit, self.extra_query),
            )
        };
        let one = |path: &str| {
            let id = ask.subject.as_deref().unwrap_or_default();
            Request::get(format!("{path}/{}", encode(id)), "")
        };
        let mut request = match ask.feed {
            BALANCE => Request::get("/api/v1/balance", ""),
            PAYMENT_DETAILS => one("/api/v1/payments"),
            WITHDRAW_DETAILS => one("/api/v1/withdraws"),
            WITHDRAWS => list("/api/v1/withdraws"),
            _ => list("/api/v1/payments"),
        };
        setup::set_header(&mut request, "Accept", "application/json".into());
        request
    }

    fn judge(&self, ask: &Ask, reply: &Reply) -> Judgement {
        match errors::judge(ask.subject.is_some(), reply) {
            Judgement::Page => match &ask.subject {
                Some(id) => wire::judge_alone(id, &reply.body),
                None => Judgement::Page,
            },
            other => other,
        }
    }

    fn head(&self, ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
        wire::head(self, ask, number, body)
    }

    fn parse(&self, ask: &Ask, _number: u32, body: &[u8]) -> Parsed {
        wire::parse(self, ask, body)
    }

    /// `clientSecret` is a secret; the rest are names a withdraw's bank fields may have (nobody published them).
    fn private_fields(&self) -> &'static [&'static str] {
        &[
            "clientSecret",
            "accountNumber",
            "accountName",
            "bankAccountNumber",
            "bankAccountName",
            "accountHolderName",
        ]
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &["id", "referenceId", "order_id", "orderId"]
    }

    fn relations(&self, books: &Books) -> Vec<Relation> {
        relations::all(books)
    }

    fn statement(&self, books: &Books) -> Vec<StatementLine> {
        relations::statement(books)
    }
}

#[cfg(test)]
mod tests;
