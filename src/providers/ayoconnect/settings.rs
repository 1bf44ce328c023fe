//! Ayoconnect's settings (section 11): which generation, where, as whom, and every form the sources differ on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::Ayoconnect;
use crate::config::Section;
use crate::providers::lookups::{self, Id};
use crate::providers::{Built, Limits, setup};
use crate::record::Status;

/// Requests side by side (section 7).
const MAX_IN_FLIGHT: u32 = 2;

/// The product's generations; their service codes mean different things and are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    V2,
    V3,
}

/// What the ledger of a job lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Records {
    Payments,
    Bindings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExternalId {
    /// The id of the original flow.
    Reuse,
    /// A new one for every attempt.
    Fresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Hex,
    Base64,
}

/// The four forms that fit the 24 to 27 characters the document allows (section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimestampStyle {
    /// `2026-01-15T02:30:00+07:00`, 25.
    SecondsOffset,
    /// `2026-01-14T19:30:00.000Z`, 24.
    MillisUtc,
    /// `2026-01-15T02:30:00+0700`, 24.
    SecondsCompactOffset,
    /// `2026-01-15T02:30:00.000+07`, 26.
    MillisShortOffset,
}

/// Paths below the base URL, and what is signed in place of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    pub token: String,
    pub status: String,
    pub binding: String,
    pub auth_code: String,
}

pub(super) struct Settings {
    pub generation: Generation,
    pub records: Records,
    pub paths: Paths,
    /// Request path -> signed path.
    pub signing: BTreeMap<String, String>,
    /// Path of the base URL, part of every signed path that is not named in `signing`.
    pub base_path: String,
    pub client_id: Id,
    pub merchant_id: String,
    pub channel_id: String,
    pub encoding: Encoding,
    pub sign_query: bool,
    pub timestamp: TimestampStyle,
    pub external_id: ExternalId,
    pub not_found_codes: Vec<String>,
    pub settlement: String,
    pub max_lookups: Option<u64>,
    pub webview_base_url: Option<String>,
    pub overrides: BTreeMap<String, Status>,
}

pub(super) fn build(section: &mut Section<'_>) -> Option<Built> {
    let base_url = section.base_url("base_url");
    let generation = generation(section);
    let client_id = Id::required(section, "client_id");
    let client_secret = section.required_secret("client_secret");
    let private_key = section.required_secret("private_key");
    let merchant_id = merchant_id(section);
    let channel_id = channel_id(section);
    let per_second = section.integer_or("requests_per_second", 2, 1..=1000);
    let recheck = section.integer_or("recheck_final_days", 30, 0..=3650);
    let records = records(section, generation);
    // What follows only needs to be read; without a generation nothing is made of it.
    let known = generation.unwrap_or(Generation::V2);
    let paths = paths(section, known);
    let signing = signing(section, &paths);
    let settings = Settings {
        generation: known,
        records,
        signing,
        paths,
        base_path: base_url
            .as_ref()
            .map(|url| url.path().trim_end_matches('/').to_owned())
            .unwrap_or_default(),
        client_id: client_id.clone().unwrap_or_else(|| Id::Plain(String::new())),
        merchant_id: merchant_id.clone().unwrap_or_default(),
        channel_id,
        encoding: section.choice_or(
            "signature_encoding",
            Encoding::Hex,
            &[("hex", Encoding::Hex), ("base64", Encoding::Base64)],
        ),
        sign_query: section.false_or("sign_query", false, &[("raw", true)]),
        timestamp: section.choice_or(
            "timestamp_style",
            TimestampStyle::SecondsOffset,
            &[
                ("seconds_offset", TimestampStyle::SecondsOffset),
                ("millis_utc", TimestampStyle::MillisUtc),
                ("seconds_compact_offset", TimestampStyle::SecondsCompactOffset),
                ("millis_short_offset", TimestampStyle::MillisShortOffset),
            ],
        ),
        external_id: section.choice_or(
            "status_external_id",
            ExternalId::Reuse,
            &[("reuse", ExternalId::Reuse), ("fresh", ExternalId::Fresh)],
        ),
        not_found_codes: not_found_codes(section, known),
        settlement: lookups::pointer(section, "settlement_pointer", "/additionalInfo/settlementStatus"),
        max_lookups: section.integer("max_lookups", 1..=10_000_000).map(i64::unsigned_abs),
        webview_base_url: webview(section),
        overrides: lookups::overrides(section),
    };
    let strict_balance = section.boolean_or("strict_balance", false);
    let (client_id, client_secret, private_key) = (client_id?, client_secret?, private_key?);
    let mut secrets = BTreeMap::from([
        ("client_secret".to_owned(), client_secret),
        ("private_key".to_owned(), private_key),
    ]);
    secrets.extend(client_id.secret());
    generation?;
    let account_key = format!("{} {}", client_id.account_key(), merchant_id?);
    Some(Built {
        provider: Arc::new(Ayoconnect(settings)),
        base_url: base_url?,
        account_key,
        secrets,
        strict_balance,
        limits: Limits {
            requests_per_minute: u32::try_from(per_second * 60).unwrap_or(120),
            max_in_flight: MAX_IN_FLIGHT,
            request_timeout: None,
            lookback: TimeDelta::days(recheck),
            settle: TimeDelta::minutes(10),
            max_retry_wait: Duration::from_secs(900),
        },
    })
}

fn generation(section: &mut Section<'_>) -> Option<Generation> {
    if !section.has("api_generation") {
        section.required("api_generation");
        return None;
    }
    let words = [("v2", Some(Generation::V2)), ("v3", Some(Generation::V3))];
    section.choice_or("api_generation", None, &words)
}

fn records(section: &mut Section<'_>, generation: Option<Generation>) -> Records {
    let line = section.line_of("records");
    let words = [("payments", Records::Payments), ("bindings", Records::Bindings)];
    let records = section.choice_or("records", Records::Payments, &words);
    if records == Records::Bindings && generation == Some(Generation::V3) {
        section.problem_at(
            line,
            "`provider.records` is \"bindings\": in generation v3 nobody knows how bindings are asked about; only v2 can"
                .into(),
        );
    }
    records
}

fn merchant_id(section: &mut Section<'_>) -> Option<String> {
    let line = section.line_of("merchant_id");
    if !section.has("merchant_id") {
        section.required("merchant_id");
        return None;
    }
    let id = section.id("merchant_id")?;
    if id.len() == 6 && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Some(id);
    }
    section.problem_at(
        line,
        "`provider.merchant_id` must be exactly 6 letters and digits".into(),
    );
    None
}

fn channel_id(section: &mut Section<'_>) -> String {
    let line = section.line_of("channel_id");
    let id = section.id("channel_id").unwrap_or_else(|| "95221".to_owned());
    if id.len() != 5 || !id.bytes().all(|b| b.is_ascii_digit()) {
        section.problem_at(line, "`provider.channel_id` must be exactly 5 digits".into());
    }
    id
}

/// `[provider.paths]`; the defaults are those of the generation. In generation 3 nobody has seen the token's path.
fn paths(section: &mut Section<'_>, generation: Generation) -> Paths {
    let defaults = match generation {
        Generation::V2 => [
            "/api/v1.0/access-token/b2b",
            "/api/v1.0/debit/status",
            "/api/v1.0/registration-account-binding",
            "/api/v1.0/get-auth-code",
        ],
        Generation::V3 => ["", "/dd/api/v3.0/debit/status", "", ""],
    };
    let mut paths = Paths::default();
    let mut inner = section.section("paths");
    let mut read = |key: &str, default: &str| match &mut inner {
        Some(inner) if inner.has(key) => setup::path(inner, key, "/api/v1.0/debit/status"),
        Some(inner) => setup::path(inner, key, default),
        None => default.to_owned(),
    };
    let [token, status, binding, auth_code] = defaults;
    paths.token = read("token", token);
    paths.status = read("status", status);
    if generation == Generation::V2 {
        paths.binding = read("binding", binding);
        paths.auth_code = read("auth_code", auth_code);
    }
    if let Some(inner) = inner {
        section.close(inner);
    }
    if paths.token.is_empty() {
        section.problem(
            "`provider.paths.token` is missing: nobody has published the token's path of generation v3; ask Ayoconnect",
        );
    }
    paths
}

/// `[provider.signing_path]`: what is signed in place of a request's own path.
fn signing(section: &mut Section<'_>, paths: &Paths) -> BTreeMap<String, String> {
    let mut signing = BTreeMap::new();
    let Some(mut inner) = section.section("signing_path") else {
        return signing;
    };
    let named = [
        ("status", &paths.status),
        ("binding", &paths.binding),
        ("auth_code", &paths.auth_code),
    ];
    for (key, path) in named {
        if inner.has(key) {
            signing.insert(path.clone(), setup::path(&mut inner, key, path));
        }
    }
    section.close(inner);
    signing
}

/// In generation 2 nobody published the code; until it is agreed on nothing counts as unknown.
fn not_found_codes(section: &mut Section<'_>, generation: Generation) -> Vec<String> {
    let Some(listed) = section.list_lines("not_found_codes") else {
        return match generation {
            Generation::V2 => Vec::new(),
            Generation::V3 => vec!["4045501".to_owned()],
        };
    };
    for (code, line) in &listed {
        if code.len() != 7 || !code.starts_with("404") || !code.bytes().all(|b| b.is_ascii_digit()) {
            section.problem_at(
                *line,
                "`provider.not_found_codes` must hold codes of 7 digits that begin with 404".into(),
            );
        }
    }
    listed.into_iter().map(|(code, _)| code).collect()
}

/// The code is appended to it as it stands: `https://pay.example/bind/` or `…?authCode=`.
fn webview(section: &mut Section<'_>) -> Option<String> {
    let (text, line) = section.text_line("webview_base_url")?;
    let fine = url::Url::parse(&text).is_ok_and(|url| {
        let here = url.host_str().is_some_and(crate::config::section::is_loopback);
        url.username().is_empty()
            && url.fragment().is_none()
            && (url.scheme() == "https" || (url.scheme() == "http" && here))
    });
    if !fine {
        section.problem_at(
            line,
            "`provider.webview_base_url` must be the https address given at onboarding; the code is appended to it"
                .into(),
        );
    }
    Some(text)
}
