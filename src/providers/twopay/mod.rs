//! TwoPay (Colombia): payins and payouts, each asked about by the merchant's own `uniqueKey`; two wallets' balances where
//! their paths are known. Facts and doubts: `providers/twopay.md`. The conversation is here, its session in [`session`], what
//! its refusals mean in [`errors`], its JSON in [`wire`], its arithmetic in [`relations`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::lookups::{self, Id};
use super::{
    Ask, BadPage, Books, Built, Entry, Feed, Judgement, Keys, Limits, LookupKey, PageHead, Parsed, Provider, Relation,
    Reply, Request, Session, Shape, StatementLine, Step, encode, setup,
};
use crate::config::Section;
use crate::day::Instant;
use crate::money::{Currency, Unit};
use crate::record::{Direction, Status};

mod errors;
mod relations;
mod session;
mod wire;

/// Registry line.
pub const ENTRY: Entry = Entry { name: "twopay", build };

const PAYINS: &str = "payins";
const PAYOUTS: &str = "payouts";
const PAYIN_BALANCE: &str = "payin_balance";
const PAYOUT_BALANCE: &str = "payout_balance";

/// Requests side by side (section 7).
const MAX_IN_FLIGHT: u32 = 4;

/// Longest key the provider is asked about; it becomes part of the path.
const MAX_KEY: usize = 256;

/// Settings of `providers/twopay.md`, section 11.
#[derive(Clone, Debug)]
struct Twopay {
    /// `/co/v1`, without a slash at its end.
    prefix: String,
    client_id: Id,
    /// `peso` reads amounts as major units, `centavo` as minor units.
    amount_unit: Unit,
    /// A token is used this much shorter than `expires_in` says.
    token_slack: Duration,
    max_lookups: Option<u64>,
    /// Ledger column that holds the `uniqueKey`.
    key: LookupKey,
    payin_status: String,
    payout_status: String,
    payin_balance_path: Option<String>,
    payout_balance_path: Option<String>,
    balance_pointer: String,
    balance_currency: Option<Currency>,
    /// In lower case: found in `message`, they mean an unknown key, or refused credentials.
    not_found: Vec<String>,
    auth: Vec<String>,
    /// Status word -> what it means, before the document's own table.
    overrides: BTreeMap<String, Status>,
}

fn build(section: &mut Section<'_>) -> Option<Built> {
    let base_url = section.base_url("base_url");
    let client_id = Id::required(section, "client_id");
    let client_secret = section.required_secret("client_secret");
    let api_key = section.required_secret("api_key");
    let per_second = section.integer_or("requests_per_second", 5, 1..=1000);
    let recheck = section.integer_or("recheck_final_days", 7, 0..=3650);
    let slack = section.integer_or("token_slack_s", 60, 0..=3600);
    let provider = Twopay {
        prefix: setup::path(section, "path_prefix", "/co/v1")
            .trim_end_matches('/')
            .to_owned(),
        client_id: client_id.clone().unwrap_or_else(|| Id::Plain(String::new())),
        amount_unit: section.choice_or(
            "amount_unit",
            Unit::Major,
            &[("peso", Unit::Major), ("centavo", Unit::Minor)],
        ),
        token_slack: Duration::from_secs(slack.unsigned_abs()),
        max_lookups: section.integer("max_lookups", 1..=10_000_000).map(i64::unsigned_abs),
        key: section.choice_or(
            "lookup_column",
            LookupKey::Reference,
            &[
                ("reference", LookupKey::Reference),
                ("provider_id", LookupKey::ProviderId),
            ],
        ),
        payin_status: lookups::pointer(section, "payin_status_pointer", "/data/status"),
        payout_status: lookups::pointer(section, "payout_status_pointer", "/data/status"),
        payin_balance_path: balance_path(section, "payin_balance_path", "/co/v1/payment/balance"),
        payout_balance_path: balance_path(section, "payout_balance_path", "/co/v1/payout/balance"),
        balance_pointer: lookups::pointer(section, "balance_pointer", "/data/balance"),
        balance_currency: balance_currency(section),
        not_found: patterns(section, "not_found_patterns"),
        auth: patterns(section, "auth_patterns"),
        overrides: lookups::overrides(section),
    };
    let strict_balance = section.boolean_or("strict_balance", false);
    let (client_id, client_secret, api_key) = (client_id?, client_secret?, api_key?);
    let mut secrets = BTreeMap::from([
        ("client_secret".to_owned(), client_secret),
        ("api_key".to_owned(), api_key),
    ]);
    secrets.extend(client_id.secret());
    Some(Built {
        provider: Arc::new(provider),
        base_url: base_url?,
        account_key: client_id.account_key(),
        secrets,
        strict_balance,
        limits: Limits {
            requests_per_minute: u32::try_from(per_second * 60).unwrap_or(300),
            max_in_flight: MAX_IN_FLIGHT,
            request_timeout: None,
            lookback: TimeDelta::days(recheck),
            settle: TimeDelta::minutes(10),
            max_retry_wait: Duration::from_secs(900),
        },
    })
}

/// Off until it is set: the document knows no path.
fn balance_path(section: &mut Section<'_>, key: &str, like: &str) -> Option<String> {
    section.has(key).then(|| setup::path(section, key, like))
}

fn balance_currency(section: &mut Section<'_>) -> Option<Currency> {
    let Some((text, line)) = section.text_line("balance_currency") else {
        return pesos();
    };
    let currency = text.parse().ok();
    if currency.is_none() {
        section.problem_at(
            line,
            "`provider.balance_currency` must be an ISO 4217 code like \"COP\"".into(),
        );
    }
    currency
}

/// The provider never names a currency; it is the country's.
fn pesos() -> Option<Currency> {
    "COP".parse().ok()
}

/// Parts of messages; an empty one would fit every message.
fn patterns(section: &mut Section<'_>, key: &str) -> Vec<String> {
    let listed = section.list_lines(key).unwrap_or_default();
    let mut patterns = Vec::new();
    for (text, line) in listed {
        if text.trim().len() < 3 {
            section.problem_at(
                line,
                format!("`provider.{key}` holds a text shorter than three characters, which fits too many messages"),
            );
        }
        patterns.push(text.trim().to_lowercase());
    }
    patterns
}

impl Twopay {
    fn is_balance(feed: &str) -> bool {
        matches!(feed, PAYIN_BALANCE | PAYOUT_BALANCE)
    }

    fn status_pointer(&self, feed: &str) -> &str {
        if feed == PAYOUTS {
            &self.payout_status
        } else {
            &self.payin_status
        }
    }

    fn path(&self, ask: &Ask) -> String {
        let key = encode(ask.subject.as_deref().unwrap_or_default());
        match ask.feed {
            PAYIN_BALANCE => self.payin_balance_path.clone().unwrap_or_default(),
            PAYOUT_BALANCE => self.payout_balance_path.clone().unwrap_or_default(),
            PAYOUTS => format!("{}/payout/{key}", self.prefix),
            _ => format!("{}/payment/{key}", self.prefix),
        }
    }
}

impl Provider for Twopay {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    /// Balances last: what was asked before them had turned final before them.
    fn feeds(&self) -> Vec<Feed> {
        let feed = |name, shape, directions| Feed {
            name,
            shape,
            directions,
        };
        let mut feeds = vec![
            feed(PAYINS, Shape::Lookups, &[Direction::In]),
            feed(PAYOUTS, Shape::Lookups, &[Direction::Out]),
        ];
        if self.payin_balance_path.is_some() {
            feeds.push(feed(PAYIN_BALANCE, Shape::Snapshot, &[]));
        }
        if self.payout_balance_path.is_some() {
            feeds.push(feed(PAYOUT_BALANCE, Shape::Snapshot, &[]));
        }
        feeds
    }

    fn login(&self, keys: &Keys, _now: Instant) -> Option<Request> {
        Some(session::login(self, keys))
    }

    fn session(&self, reply: &Reply) -> Result<Session, Judgement> {
        session::open(self.token_slack, reply)
    }

    fn sign(&self, request: &mut Request, session: Option<&Session>, keys: &Keys, _now: Instant) {
        session::sign(request, session, keys);
    }

    fn check_keys(&self, keys: &Keys) -> Result<(), String> {
        session::check_keys(self, keys)
    }

    fn lookup_key(&self, _feed: &str) -> LookupKey {
        self.key
    }

    fn lookup_problem(&self, _feed: &str, subject: &str, _beside: &[String]) -> Option<String> {
        let problem = match subject {
            "" => "is empty",
            "." | ".." => "would change the path of the request",
            long if long.len() > MAX_KEY => "is longer than 256 bytes",
            odd if odd.chars().any(char::is_control) => "holds a control character",
            _ => return None,
        };
        Some(format!("the ledger's `{}` {problem}", self.key.column()))
    }

    fn max_lookups(&self) -> Option<u64> {
        self.max_lookups
    }

    fn next(&self, ask: &Ask, heads: &[PageHead]) -> Step {
        let problem = match (&ask.subject, Self::is_balance(ask.feed)) {
            (_, true) => None,
            (None, false) => Some("no key was given".to_owned()),
            (Some(subject), false) => self.lookup_problem(ask.feed, subject, &ask.beside),
        };
        lookups::next(problem, heads)
    }

    fn request(&self, ask: &Ask, _number: u32, _heads: &[PageHead]) -> Request {
        let mut request = Request::get(self.path(ask), "");
        setup::set_header(&mut request, "Accept", "application/json".into());
        request
    }

    fn judge(&self, ask: &Ask, reply: &Reply) -> Judgement {
        errors::judge(self, ask, reply)
    }

    fn head(&self, ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
        wire::head(ask, number, body)
    }

    fn parse(&self, ask: &Ask, _number: u32, body: &[u8]) -> Parsed {
        wire::parse(self, ask, body)
    }

    /// People, their documents and accounts; free text, which may name them; and what opens sessions.
    fn private_fields(&self) -> &'static [&'static str] {
        &[
            "name",
            "phone",
            "email",
            "address",
            "document",
            "documentType",
            "bankAccount",
            "remarks",
            "pseUrl",
            "encryptStr",
            "access_token",
            "client_secret",
        ]
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &["uniqueKey", "referenceNumber", "numeroConvenio"]
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
