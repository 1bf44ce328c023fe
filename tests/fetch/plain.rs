//! A provider made for these tests, with every shape a conversation can have, and a bench to run it on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use reconciled::config::{self, Fetch, Http, Job, JobSource, ProviderSetup, SecretRef};
use reconciled::day::{Instant, format_instant, parse_instant};
use reconciled::failure::{Class, Failure};
use reconciled::fetch::{Client, check_online};
use reconciled::money::Currency;
use reconciled::providers::twice::read_twice;
use reconciled::providers::{
    Ask, BadPage, Books, Doubt, Feed, Judgement, Keys, Method, PageHead, Parsed, Provider, Relation, Reply, Request,
    Session, Shape, Step, Subject, identity, judge_common,
};
use reconciled::record::{Balance, Direction, Status, Transaction, TransactionKind, Unreadable};
use secrecy::ExposeSecret;
use serde::Deserialize;

/// Must never be seen outside a request.
pub const CANARY_KEY: &str = "CANARY-secret-key-4f1d";
pub const CANARY_TOKEN: &str = "CANARY-session-token-9ac2";

/// How pages are walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Page by page until one is not full (two rows).
    Short,
    /// The same, and read twice when the books doubt it.
    Twice,
    /// By cursor.
    Cursor,
    /// The first page says how many; the others side by side; then the first once more.
    All,
}

pub struct Plain {
    pub style: Style,
    pub feeds: Vec<Feed>,
    /// Opens a session with `POST /login`.
    pub login: bool,
    pub lifetime: Option<Duration>,
}

pub const ITEMS: Feed = Feed {
    name: "items",
    shape: Shape::Days(1),
    directions: &[Direction::In],
};
pub const LISTING: Feed = Feed {
    name: "items",
    shape: Shape::Listing,
    directions: &[Direction::In],
};
pub const SNAPSHOT: Feed = Feed {
    name: "figure",
    shape: Shape::Snapshot,
    directions: &[],
};
pub const PARENTS: Feed = Feed {
    name: "parents",
    shape: Shape::Days(1),
    directions: &[],
};
pub const MEMBERS: Feed = Feed {
    name: "members",
    shape: Shape::Children { of: "parents" },
    directions: &[Direction::In],
};

pub const DETAILS: Feed = Feed {
    name: "details",
    shape: Shape::Details { of: "items" },
    directions: &[Direction::In],
};

impl Default for Plain {
    fn default() -> Self {
        Self {
            style: Style::Short,
            feeds: vec![ITEMS],
            login: false,
            lifetime: None,
        }
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    page: u32,
    rows: Vec<Row>,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    pages: Option<u32>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    amount: i64,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    subject: bool,
    /// Account of a subject.
    #[serde(default)]
    account: String,
    /// A record to be asked about alone.
    #[serde(default)]
    ask: bool,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    warning: Option<String>,
}

impl Plain {
    fn next_all(heads: &[PageHead]) -> Step {
        let walked: Vec<&PageHead> = heads.iter().filter(|h| !h.confirms).collect();
        let Some(first) = walked.iter().find(|h| h.number == 1) else {
            return Step::Get {
                number: 1,
                confirms: false,
            };
        };
        let pages = first.total_pages.unwrap_or(1);
        if walked.len() < pages as usize {
            return Step::GetAll { numbers: 2..=pages };
        }
        match heads.iter().rfind(|h| h.confirms) {
            None => Step::Get {
                number: 1,
                confirms: true,
            },
            Some(proof) if proof.ids == first.ids && proof.total_pages == first.total_pages => Step::Done,
            Some(_) => Step::Again {
                why: "the first page changed".into(),
            },
        }
    }

    fn next_short(heads: &[PageHead]) -> Step {
        match heads.last() {
            None => Step::Get {
                number: 0,
                confirms: false,
            },
            Some(last) if last.rows < 2 => {
                let mut ids: Vec<u64> = heads.iter().flat_map(|h| h.ids.iter().copied()).collect();
                ids.sort_unstable();
                let count = ids.len();
                ids.dedup();
                if ids.len() == count {
                    Step::Done
                } else {
                    Step::Again {
                        why: "an id stands on two pages".into(),
                    }
                }
            }
            Some(_) => Step::Get {
                number: heads.len() as u32,
                confirms: false,
            },
        }
    }

    fn next_cursor(heads: &[PageHead]) -> Step {
        let Some(last) = heads.last() else {
            return Step::Get {
                number: 0,
                confirms: false,
            };
        };
        match &last.next {
            None => Step::Done,
            Some(next) if heads.iter().rev().skip(1).any(|h| h.next.as_ref() == Some(next)) => Step::Broken {
                why: "a cursor came twice".into(),
            },
            Some(_) => Step::Get {
                number: heads.len() as u32,
                confirms: false,
            },
        }
    }
}

impl Provider for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn max_details(&self) -> u64 {
        3
    }

    fn feeds(&self) -> Vec<Feed> {
        self.feeds.clone()
    }

    fn login(&self, keys: &Keys, _now: Instant) -> Option<Request> {
        self.login.then(|| Request {
            method: Method::Post,
            path: "/login".into(),
            query: String::new(),
            headers: vec![("content-type", "application/json".into())],
            body: format!(r#"{{"key":"{}"}}"#, keys["key"].expose_secret()).into_bytes(),
        })
    }

    fn session(&self, reply: &Reply) -> Result<Session, Judgement> {
        match judge_common(reply) {
            Judgement::Page => {}
            Judgement::Renew { why } => {
                return Err(Judgement::Fail {
                    class: Class::Auth,
                    why,
                });
            }
            other => return Err(other),
        }
        let value: serde_json::Value = serde_json::from_slice(&reply.body).map_err(|_| Judgement::Retry {
            after: None,
            why: "a login answer that is no JSON".into(),
        })?;
        Ok(Session {
            token: value["token"].as_str().unwrap_or_default().to_owned().into(),
            lifetime: self.lifetime,
            idle: None,
            warnings: Vec::new(),
        })
    }

    fn sign(&self, request: &mut Request, session: Option<&Session>, keys: &Keys, now: Instant) {
        let credential = session.map_or(&keys["key"], |s| &s.token).expose_secret().to_owned();
        request.headers.push(("authorization", format!("Bearer {credential}")));
        request.headers.push(("x-timestamp", format_instant(now)));
    }

    fn logout(&self) -> Option<Request> {
        self.login.then(|| Request {
            method: Method::Delete,
            ..Request::get("/session", "")
        })
    }

    fn next(&self, _ask: &Ask, heads: &[PageHead]) -> Step {
        match self.style {
            Style::Short => Self::next_short(heads),
            Style::Twice => {
                let walked: Vec<PageHead> = heads.iter().filter(|h| !h.confirms).cloned().collect();
                Self::next_short(&walked)
            }
            Style::Cursor => Self::next_cursor(heads),
            Style::All => Self::next_all(heads),
        }
    }

    fn proves(&self) -> bool {
        self.style == Style::Twice
    }

    fn prove(&self, _ask: &Ask, heads: &[PageHead], _doubt: Doubt) -> Step {
        read_twice(heads).unwrap_or(Step::Done)
    }

    fn request(&self, ask: &Ask, number: u32, heads: &[PageHead]) -> Request {
        let place = ask
            .subject
            .clone()
            .unwrap_or_else(|| ask.window.from.date_naive().to_string());
        let query = match (self.style, heads.last().and_then(|h| h.next.as_ref())) {
            (Style::Cursor, Some(cursor)) => format!("cursor={cursor}"),
            _ => format!("page={number}"),
        };
        Request::get(format!("/{}/{place}", ask.feed), query)
    }

    fn judge(&self, _ask: &Ask, reply: &Reply) -> Judgement {
        match reply.status {
            404 => Judgement::Absent {
                why: "unknown here (404)".into(),
            },
            409 => Judgement::Refused {
                class: Class::Protocol,
                why: "not this window (409)".into(),
            },
            410 => Judgement::Restart {
                why: "the position is gone (410)".into(),
            },
            _ => judge_common(reply),
        }
    }

    fn head(&self, _ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
        let wire: Wire = serde_json::from_slice(body).map_err(|_| BadPage {
            why: "a page that is cut off".into(),
        })?;
        Ok(PageHead {
            number: if self.style == Style::All { wire.page } else { number },
            rows: wire.rows.len() as u32,
            ids: wire.rows.iter().map(|r| identity(&r.id)).collect(),
            next: wire.next,
            total: None,
            total_pages: wire.pages,
            confirms: false,
            body: None,
        })
    }

    fn parse(&self, ask: &Ask, _number: u32, body: &[u8]) -> Parsed {
        let Ok(wire) = serde_json::from_slice::<Wire>(body) else {
            let unreadable = Unreadable {
                place: "$".into(),
                reason: "no page".into(),
            };
            return Parsed {
                unreadable: vec![unreadable],
                ..Parsed::default()
            };
        };
        let mut parsed = Parsed::default();
        for (index, row) in (0_u32..).zip(wire.rows) {
            let at = row.at.as_deref().and_then(parse_instant);
            parsed.warnings.extend(row.warning.clone());
            if row.subject && row.id.is_empty() {
                parsed.nameless += 1;
                parsed.unreadable.push(Unreadable {
                    place: format!("rows[{index}].id"),
                    reason: "is empty".into(),
                });
            } else if row.subject {
                parsed.subjects.push(Subject {
                    id: row.id.clone(),
                    at,
                    account: row.account.clone(),
                });
                // A figure that cannot be read says nothing, also not of whom the subject is.
                if row.amount != 0 {
                    parsed.balances.push((index, balance(ask, &row, at)));
                }
            } else if ask.feed == DETAILS.name {
                parsed.references.push((row.id, row.reference));
            } else {
                if row.ask {
                    parsed.subjects.push(Subject {
                        id: row.id.clone(),
                        at,
                        account: String::new(),
                    });
                }
                parsed.transactions.push((index, transaction(ask, row, at)));
            }
        }
        parsed
    }

    fn private_fields(&self) -> &'static [&'static str] {
        &["document"]
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &["id", "next"]
    }

    fn relations(&self, _books: &Books) -> Vec<Relation> {
        Vec::new()
    }
}

fn balance(ask: &Ask, row: &Row, at: Option<Instant>) -> Balance {
    Balance {
        account: row.account.clone(),
        feed: ask.feed,
        subject: row.id.clone(),
        as_of: at.unwrap_or(ask.as_of),
        currency: "GBP".parse::<Currency>().unwrap(),
        item: "closing_balance".into(),
        amount_minor: row.amount,
    }
}

fn transaction(ask: &Ask, row: Row, at: Option<Instant>) -> Transaction {
    Transaction {
        account: ask.account.clone(),
        feed: ask.feed,
        subject: ask.subject.clone().unwrap_or_default(),
        provider_id: row.id,
        reference: row.reference,
        related_id: None,
        direction: Direction::In,
        kind: TransactionKind::Payment,
        currency: "GBP".parse::<Currency>().unwrap(),
        amount_minor: row.amount,
        fee_minor: None,
        fee_currency: None,
        status: Status::Settled,
        is_final: true,
        provider_status: "paid".into(),
        occurred_at: at.or(Some(ask.window.from)),
        changed_at: None,
        residuals: Vec::new(),
    }
}

/// Settings for a provider at a server, with short patience.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub http: Http,
    pub fetch: Fetch,
    pub setup: ProviderSetup,
}

impl Bench {
    pub fn new(plain: Plain, base_url: url::Url) -> Self {
        let folder = tempfile::tempdir().unwrap();
        secret(folder.path(), "key", CANARY_KEY);
        let http = Http {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            retry_budget: Duration::from_secs(4),
            max_body_bytes: 1 << 20,
            ..Http::default()
        };
        let fetch = Fetch {
            start: "2026-03-01".parse().unwrap(),
            lookback: TimeDelta::days(60),
            settle: TimeDelta::minutes(10),
            requests_per_minute: 60_000,
            max_in_flight: 1,
            request_timeout: http.request_timeout,
            max_retry_wait: Duration::from_secs(60),
        };
        let setup = ProviderSetup {
            provider: Arc::new(plain),
            base_url,
            secrets: BTreeMap::from([("key".into(), SecretRef::File("key".into()))]),
            lane: "lane".into(),
            strict_balance: false,
        };
        Self {
            folder,
            http,
            fetch,
            setup,
        }
    }

    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.setup, &self.http, &self.fetch, self.folder.path())
    }

    /// One login and one page.
    pub async fn check(&self) -> Result<Vec<String>, Failure> {
        check_online(&self.setup, &self.client()?).await
    }

    pub fn job(&self) -> Job {
        Job {
            name: "plain-job".into(),
            file: "jobs/plain-job.toml".into(),
            schedule: "0 30 2 * * *".into(),
            timezone: chrono_tz::UTC,
            recipients: Vec::new(),
            recipient_locales: Default::default(),
            locale: config::Locale::default(),
            source: JobSource::Provider(self.setup.clone()),
            fetch: self.fetch.clone(),
            ledger: None,
            matching: config::Match {
                amount_tolerance: "0.00".into(),
                grace_ledger: TimeDelta::hours(24),
                grace_provider: TimeDelta::hours(72),
                stale_pending_days: 14,
                suggest_days: 2,
            },
            report: config::Report {
                reports: Vec::new(),
                flood_limit: 200,
                reject_threshold: 0,
            },
            shape: "shape".into(),
        }
    }
}

pub fn secret(folder: &Path, name: &str, value: &str) {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join(name);
    std::fs::write(&file, value).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}
