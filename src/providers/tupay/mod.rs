//! TuPay (Peru): deposits and cashouts by creation date, a daily balance report, the balance now.
//! Facts and doubts: `providers/tupay.md`. The conversation is here, its JSON in [`wire`], its arithmetic in [`relations`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;

use super::setup::{self, Defaults};
use super::{
    Ask, BadPage, Books, Built, Doubt, Entry, Feed, Judgement, Keys, Method, PageHead, Parsed, Provider, Relation,
    Reply, Request, Session, Shape, StatementLine, Step, encode, judge_common,
};
use crate::config::Section;
use crate::day::{Instant, day_of, next_day};
use crate::failure::Class;
use crate::record::Direction;

mod figures;
mod relations;
mod session;
mod walk;
mod wire;

/// Registry line.
pub const ENTRY: Entry = Entry { name: "tupay", build };

const DEPOSITS: &str = "deposits";
const CASHOUTS: &str = "cashouts";
const BALANCE_REPORT: &str = "balance_report";
const BALANCE: &str = "balance";

/// The provider refuses spans over 60 days (document, section 3); two seconds of overlap must still fit in.
const MAX_SPAN_DAYS: u64 = 59;
/// The report is asked for by whole days in two zones, which may add two days to the span.
const MAX_REPORT_DAYS: u64 = 57;

/// How the token is sent (section 2: the sources differ).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuthForm {
    Cookie,
    Bearer,
    Raw,
}

/// Settings of `providers/tupay.md`, section 13.
#[derive(Clone, Debug)]
struct Tupay {
    /// `expected_merchant_id`: the session's merchant, and that of every row.
    merchant: Option<String>,
    auth_form: AuthForm,
    cashout_path: String,
    /// Units of `from` and `to` in one second: 1, or 1000 with `timestamp_unit = "ms"`.
    ticks: i64,
    /// `window`, in days.
    days: u64,
    /// Sent as `country`; empty for none.
    country: String,
    /// `business_time_zone`: the day of a report row whose `date` is no midnight label in UTC.
    zone: Tz,
    /// `balance_signs`, when the settings say.
    signs: Option<relations::Signs>,
}

fn build(section: &mut Section<'_>) -> Option<Built> {
    let base_url = section.base_url_or("base_url", "https://merchants-api.tupayonline.com");
    let access_key = section.required_secret("access_key");
    let secret_key = section.required_secret("secret_key");
    let days = window_days(section);
    let settle = section.duration("settle_lag").unwrap_or(Duration::from_secs(600));
    let defaults = Defaults {
        max_rps: 2,
        lookback_days: 60,
        settle: TimeDelta::from_std(settle).unwrap_or(TimeDelta::minutes(10)),
    };
    let limits = setup::limits(section, &defaults);
    let provider = Tupay {
        merchant: section.id("expected_merchant_id"),
        auth_form: section.choice_or(
            "auth_form",
            AuthForm::Cookie,
            &[
                ("cookie", AuthForm::Cookie),
                ("bearer", AuthForm::Bearer),
                ("raw", AuthForm::Raw),
            ],
        ),
        cashout_path: setup::path(section, "cashout_path", "/v1/cashout"),
        ticks: section.choice_or("timestamp_unit", 1, &[("s", 1), ("ms", 1000)]),
        days,
        country: country(section),
        zone: section.zone("business_time_zone").unwrap_or(chrono_tz::America::Lima),
        signs: relations::Signs::setting(section),
    };
    let strict_balance = section.boolean_or("strict_balance", false);
    let (access_key, secret_key) = (access_key?, secret_key?);
    Some(Built {
        provider: Arc::new(provider),
        base_url: base_url?,
        account_key: access_key.to_string(),
        secrets: BTreeMap::from([("access_key".into(), access_key), ("secret_key".into(), secret_key)]),
        strict_balance,
        limits,
    })
}

fn window_days(section: &mut Section<'_>) -> u64 {
    let line = section.line_of("window");
    let Some(window) = section.duration("window") else {
        return 1;
    };
    let days = window.as_secs() / 86_400;
    if window.as_secs() % 86_400 != 0 || !(1..=MAX_SPAN_DAYS).contains(&days) {
        section.problem_at(
            line,
            format!("`provider.window` must be whole days from \"1d\" to \"{MAX_SPAN_DAYS}d\": the provider refuses spans over 60 days"),
        );
        return 1;
    }
    days
}

fn country(section: &mut Section<'_>) -> String {
    let Some((text, line)) = section.text_line("country") else {
        return "PE".to_owned();
    };
    if !text.is_empty() && (text.len() != 2 || !text.bytes().all(|b| b.is_ascii_uppercase())) {
        section.problem_at(
            line,
            "`provider.country` must be two capital letters like \"PE\", or empty to send none".into(),
        );
    }
    text
}

impl Tupay {
    /// `from` and `to` of the lists: a second more on each side, because nobody says whether the bounds belong to the span.
    fn list_span(&self, ask: &Ask) -> (i64, i64) {
        let (from, to) = (ask.window.from.timestamp() - 1, ask.window.until.timestamp() + 1);
        (from * self.ticks, to * self.ticks)
    }

    /// `from` and `to` of the report: rows are labelled with midnight UTC, their day may be cut in Lima. The span covers the
    /// window's days in both readings; rows of other days are passed over when the page is read.
    fn report_span(&self, ask: &Ask) -> (i64, i64) {
        let (first, last) = days_of(ask);
        let label = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let from = ask.window.from.min(label(first)).timestamp() - 1;
        let to = ask.window.until.max(label(next_day(last))).timestamp() + 1;
        (from * self.ticks, to * self.ticks)
    }

    /// The day a report row is about.
    fn report_day(&self, date: Instant) -> NaiveDate {
        if date.time() == NaiveTime::MIN {
            date.date_naive()
        } else {
            day_of(date, self.zone)
        }
    }
}

/// First and last business day of a window.
fn days_of(ask: &Ask) -> (NaiveDate, NaiveDate) {
    let last = ask.window.until - TimeDelta::milliseconds(1);
    (day_of(ask.window.from, ask.zone), day_of(last, ask.zone))
}

impl Provider for Tupay {
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
            feed(DEPOSITS, Shape::Days(self.days), &[Direction::In]),
            feed(CASHOUTS, Shape::Days(self.days), &[Direction::Out]),
            feed(BALANCE_REPORT, Shape::Days(self.days.min(MAX_REPORT_DAYS)), &[]),
            feed(BALANCE, Shape::Snapshot, &[]),
        ]
    }

    fn login(&self, keys: &Keys, _now: Instant) -> Option<Request> {
        Some(session::login(keys))
    }

    fn session(&self, reply: &Reply) -> Result<Session, Judgement> {
        session::open(self.merchant.as_deref(), reply)
    }

    fn sign(&self, request: &mut Request, session: Option<&Session>, _keys: &Keys, _now: Instant) {
        if let Some(session) = session {
            session::sign(self.auth_form, request, session);
        }
    }

    fn logout(&self) -> Option<Request> {
        Some(Request {
            method: Method::Delete,
            ..get("/v1/auth/session/destroy", String::new())
        })
    }

    fn next(&self, ask: &Ask, heads: &[PageHead]) -> Step {
        walk::next(ask, heads)
    }

    fn proves(&self) -> bool {
        true
    }

    fn prove(&self, ask: &Ask, heads: &[PageHead], doubt: Doubt) -> Step {
        walk::prove(ask, heads, doubt)
    }

    fn request(&self, ask: &Ask, number: u32, _heads: &[PageHead]) -> Request {
        let list = |(from, to): (i64, i64)| format!("from={from}&to={to}&page={number}");
        let with_country = |query: String| match self.country.as_str() {
            "" => query,
            country => format!("{query}&country={}", encode(country)),
        };
        match ask.feed {
            CASHOUTS => get(&self.cashout_path, with_country(list(self.list_span(ask)))),
            BALANCE_REPORT => get("/v1/balance/report", list(self.report_span(ask))),
            BALANCE => get("/v1/balance", String::new()),
            _ => get("/v1/deposits", with_country(list(self.list_span(ask)))),
        }
    }

    fn judge(&self, ask: &Ask, reply: &Reply) -> Judgement {
        match session::refusal(reply) {
            Some(judgement) => judgement,
            None if reply.status == 404 && ask.feed == CASHOUTS => Judgement::Fail {
                class: Class::Config,
                why: format!(
                    "nothing answers at {} (404); the sister platforms use /v1/cashouts: set `cashout_path`",
                    self.cashout_path
                ),
            },
            None => judge_common(reply),
        }
    }

    fn head(&self, ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
        wire::head(ask, number, body)
    }

    fn parse(&self, ask: &Ask, _number: u32, body: &[u8]) -> Parsed {
        wire::parse(self, ask, body)
    }

    fn private_fields(&self) -> &'static [&'static str] {
        &["clientDocument", "clienteDocument", "accessKey", "secretKey"]
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &[
            "idDeposit",
            "idCashout",
            "externalId",
            "idUser",
            "idMerchant",
            "accountNumber",
        ]
    }

    fn calibrate(&self, books: &Books) -> BTreeMap<String, String> {
        relations::calibrate(self, books)
    }

    fn asks_for_newest_figures(&self, feed: &str) -> bool {
        feed == BALANCE
    }

    fn relations(&self, books: &Books) -> Vec<Relation> {
        relations::all(self, books)
    }

    fn statement(&self, books: &Books) -> Vec<StatementLine> {
        relations::statement(self, books)
    }
}

fn get(path: &str, query: String) -> Request {
    let mut request = Request::get(path, query);
    request.headers.push(("Accept", "application/json".into()));
    request
}

#[cfg(test)]
mod tests;
