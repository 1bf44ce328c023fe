//! PayVyne: sweeps of settlement accounts by day, and the transactions of each sweep.
//! Facts and doubts: `providers/payvyne.md`. The conversation is here, its JSON in [`wire`], login in [`session`], its
//! arithmetic in [`relations`] and [`statement`].

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Days, NaiveDate, TimeDelta};
use chrono_tz::Tz;

use super::setup::{self, Defaults};
use super::{
    Ask, BadPage, Books, Built, Entry, Feed, Judgement, Keys, PageHead, Parsed, Provider, Relation, Reply, Request,
    Session, Shape, StatementLine, Step, encode, judge_common,
};
use crate::config::{SecretOrPlain, SecretRef, Section};
use crate::day::{Instant, day_of};
use crate::failure::Class;
use crate::record::Direction;

mod relations;
mod session;
mod statement;
mod walk;
mod wire;

/// Registry line.
pub const ENTRY: Entry = Entry { name: "payvyne", build };

const SWEEPS: &str = "sweeps";
const SWEEP_TRANSACTIONS: &str = "sweep_transactions";
/// Name of the setting, and of what is learned when the settings are silent.
const FEE_SIGN: &str = "fee_sign";

/// Whose sweeps: one merchant's, or all of a platform's (section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Merchant,
    Partner,
}

/// What the sign of a FEE row means (section 5: the sources disagree).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FeeSign {
    /// `2.50` is a debit of 2.50; `-2.50` is a fee given back.
    PositiveIsDebit,
    /// The value is the effect, as for every other type.
    Signed,
}

impl FeeSign {
    const ALL: [(&'static str, Self); 2] = [("positive_is_debit", Self::PositiveIsDebit), ("signed", Self::Signed)];

    fn word(self) -> &'static str {
        match self {
            Self::PositiveIsDebit => "positive_is_debit",
            Self::Signed => "signed",
        }
    }

    /// Effect on the balance of a FEE row's value, and back: the rule is its own inverse.
    fn effect(self, value: i64) -> i64 {
        match self {
            Self::PositiveIsDebit => value.saturating_neg(),
            Self::Signed => value,
        }
    }
}

/// Settings of `providers/payvyne.md`, section 13.
#[derive(Clone, Debug)]
struct PayVyne {
    form: Form,
    recon_prefix: String,
    token_path: String,
    /// None: among the secrets.
    client_id: Option<String>,
    /// `expected_merchant`: the token's merchant, and that of the rows that name one.
    merchant: Option<String>,
    /// `settlement_accounts`; empty = all.
    accounts: Vec<String>,
    /// `billing_mode = "monthly"`: fees are collected elsewhere, none may stand in a sweep.
    monthly_billing: bool,
    page_size: i64,
    /// `sweep_time_zone`: the zone of the bare dates in a filter.
    zone: Tz,
    /// `max_sweep_lag_days`.
    lag: TimeDelta,
    /// `fee_sign`, when the settings say; else learned, else [`FeeSign::PositiveIsDebit`].
    fee_sign: Option<FeeSign>,
}

fn build(section: &mut Section<'_>) -> Option<Built> {
    let base_url = section.base_url_or("base_url", "https://app.payvyne.com");
    let client_id = section.required("client_id").map(|text| match SecretRef::parse(&text) {
        Some(reference) => SecretOrPlain::Secret(reference),
        None => SecretOrPlain::Plain(text),
    });
    let client_secret = section.required_secret("client_secret");
    let defaults = Defaults {
        max_rps: 5,
        lookback_days: 7,
        settle: TimeDelta::minutes(10),
    };
    let limits = setup::limits(section, &defaults);
    let fee_sign = section.has(FEE_SIGN);
    let provider = PayVyne {
        form: section.choice_or(
            "form",
            Form::Merchant,
            &[("merchant", Form::Merchant), ("partner", Form::Partner)],
        ),
        recon_prefix: setup::path(section, "recon_prefix", "/api/reconciliation/v1"),
        token_path: setup::path(section, "token_path", "/api/oauth/token"),
        client_id: match &client_id {
            Some(SecretOrPlain::Plain(text)) => Some(text.clone()),
            _ => None,
        },
        merchant: section.id("expected_merchant"),
        accounts: accounts(section),
        monthly_billing: section.choice_or(
            "billing_mode",
            false,
            &[("net_settlement", false), ("net", false), ("monthly", true)],
        ),
        page_size: section.integer_or("page_size", 50, 1..=1000),
        zone: section.zone("sweep_time_zone").unwrap_or(chrono_tz::Europe::London),
        lag: TimeDelta::days(section.integer_or("max_sweep_lag_days", 3, 0..=365)),
        fee_sign: fee_sign.then(|| section.choice_or(FEE_SIGN, FeeSign::PositiveIsDebit, &FeeSign::ALL)),
    };
    let strict_balance = section.boolean_or("strict_balance", false);
    let (client_id, client_secret) = (client_id?, client_secret?);
    let mut secrets = BTreeMap::from([("client_secret".to_owned(), client_secret)]);
    let account_key = match client_id {
        SecretOrPlain::Plain(text) => text,
        SecretOrPlain::Secret(reference) => {
            let shown = reference.to_string();
            secrets.insert("client_id".into(), reference);
            shown
        }
    };
    Some(Built {
        provider: Arc::new(provider),
        base_url: base_url?,
        secrets,
        account_key,
        strict_balance,
        limits,
    })
}

/// Identifiers go into a filter expression, so only plain ones are taken.
fn accounts(section: &mut Section<'_>) -> Vec<String> {
    let line = section.line_of("settlement_accounts");
    let accounts = section.list("settlement_accounts").unwrap_or_default();
    let plain = |text: &String| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if !accounts.iter().all(plain) {
        section.problem_at(
            line,
            "`provider.settlement_accounts` must list plain identifiers like \"GBP3\" (letters, digits, - and _)"
                .into(),
        );
    }
    accounts
}

impl PayVyne {
    /// The sign in force: the settings', else the learned one, else the document's default.
    fn fee_sign(&self, calibration: &BTreeMap<String, String>) -> FeeSign {
        let learned = || {
            let word = calibration.get(FEE_SIGN)?;
            FeeSign::ALL
                .iter()
                .find(|(name, _)| name == word)
                .map(|(_, sign)| *sign)
        };
        self.fee_sign.or_else(learned).unwrap_or(FeeSign::PositiveIsDebit)
    }

    fn sweeps_path(&self) -> String {
        let form = match self.form {
            Form::Merchant => "merchant",
            Form::Partner => "partner",
        };
        format!("{}/{form}/sweeps", self.recon_prefix)
    }

    /// The filter of section 6, from a day before the window to two days after its last: whether a bare date includes its
    /// day, and in which zone, is not documented. Rows of other windows are passed over when the page is read.
    fn filter(&self, ask: &Ask) -> String {
        let first = day_of(ask.window.from, self.zone);
        let last = day_of(ask.window.until - TimeDelta::milliseconds(1), self.zone);
        let before = first.pred_opt().unwrap_or(first);
        let after: NaiveDate = last.checked_add_days(Days::new(2)).unwrap_or(last);
        let span = format!("(createdAt >= '{before}' AND createdAt <= '{after}')");
        match self.accounts.as_slice() {
            [only] => format!("{span} AND settlementAccountIdentifier = '{only}'"),
            // OR is not documented: several accounts are told apart in the answer.
            _ => span,
        }
    }
}

impl Provider for PayVyne {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn feeds(&self) -> Vec<Feed> {
        const BOTH: &[Direction] = &[Direction::In, Direction::Out];
        let feed = |name, shape| Feed {
            name,
            shape,
            // A sweep lists no records itself, but nothing can be called missing while a sweep may be unknown.
            directions: BOTH,
        };
        vec![
            feed(SWEEPS, Shape::Days(1)),
            feed(SWEEP_TRANSACTIONS, Shape::Children { of: SWEEPS }),
        ]
    }

    fn lag(&self) -> TimeDelta {
        self.lag
    }

    fn login(&self, keys: &Keys, _now: Instant) -> Option<Request> {
        Some(session::login(self, keys))
    }

    fn session(&self, reply: &Reply) -> Result<Session, Judgement> {
        session::open(self, reply)
    }

    fn sign(&self, request: &mut Request, session: Option<&Session>, _keys: &Keys, _now: Instant) {
        if let Some(session) = session {
            session::sign(request, session);
        }
    }

    fn next(&self, _ask: &Ask, heads: &[PageHead]) -> Step {
        walk::next(heads)
    }

    fn request(&self, ask: &Ask, _number: u32, heads: &[PageHead]) -> Request {
        let mut query = format!("size={}", self.page_size);
        let path = match &ask.subject {
            Some(sweep) => format!("{}/{}/transactions", self.sweeps_path(), encode(sweep)),
            None => {
                query.push_str(&format!("&query={}", encode(&self.filter(ask))));
                self.sweeps_path()
            }
        };
        if let Some(cursor) = heads.last().and_then(|head| head.next.as_deref()) {
            query.push_str(&format!("&cursor={}", encode(cursor)));
        }
        let mut request = Request::get(path, query);
        setup::set_header(&mut request, "Accept", "application/json".into());
        request
    }

    fn judge(&self, ask: &Ask, reply: &Reply) -> Judgement {
        let fail = |class, why: &str| Judgement::Fail {
            class,
            why: why.to_owned(),
        };
        match (reply.status, &ask.subject) {
            (403, _) => fail(
                Class::Auth,
                "refused (403): the key pair is of another kind than `reconciliation`, or lacks the scope",
            ),
            (404, Some(_)) => Judgement::Absent {
                why: "the provider does not know this sweep (404)".into(),
            },
            (404, None) => fail(
                Class::Config,
                "nothing answers at the sweeps' path (404): set `recon_prefix` to \"/api/v1/reconciliation\", the other documented form",
            ),
            (400 | 410 | 422, _) => Judgement::Restart {
                why: format!(
                    "the request was refused ({}): the cursor is no longer valid, or the filter is not understood",
                    reply.status
                ),
            },
            _ => judge_common(reply),
        }
    }

    fn head(&self, _ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
        wire::head(number, body)
    }

    fn parse(&self, ask: &Ask, _number: u32, body: &[u8]) -> Parsed {
        wire::parse(self, ask, body)
    }

    fn private_fields(&self) -> &'static [&'static str] {
        &["access_token", "client_secret"]
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &[
            "id",
            "transactionId",
            "merchantReference",
            "customerReference",
            "identifier",
            "nextPage",
        ]
    }

    fn calibrate(&self, books: &Books) -> BTreeMap<String, String> {
        relations::calibrate(self, books)
    }

    fn relations(&self, books: &Books) -> Vec<Relation> {
        relations::all(self, books)
    }

    fn statement(&self, books: &Books) -> Vec<StatementLine> {
        statement::lines(books)
    }
}

#[cfg(test)]
mod tests;
