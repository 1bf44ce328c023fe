//! TuPay's session: JSON login, a cookie read by hand, and what its refusals mean.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::super::read::{Anything, Raw, error_body, identity_text};
use super::super::setup::{header_safe, key, set_header};
use super::{AuthForm, get};
use crate::day::Instant;
use crate::failure::Class;
use crate::providers::{Judgement, Keys, Method, Reply, Request, Session, judge_common};

/// The session dies 15 minutes after its last request (document, section 2); a minute is kept for the way.
const IDLE: Duration = Duration::from_secs(14 * 60);

pub(super) fn login(keys: &Keys) -> Request {
    let body = serde_json::json!({ "accessKey": key(keys, "access_key"), "secretKey": key(keys, "secret_key") });
    let mut request = get("/v1/auth/login", String::new());
    request.method = Method::Post;
    request.headers.push(("Content-Type", "application/json".into()));
    request.body = body.to_string().into_bytes();
    request
}

pub(super) fn sign(form: AuthForm, request: &mut Request, session: &Session) {
    let token = session.token.expose_secret();
    match form {
        AuthForm::Cookie => set_header(request, "Cookie", format!("BEARER_TOKEN={token}")),
        AuthForm::Bearer => set_header(request, "Authorization", format!("Bearer {token}")),
        AuthForm::Raw => set_header(request, "Authorization", format!("BEARER_TOKEN={token}")),
    }
}

/// Reads the answer to the login: the token from its header, the merchant from its body.
pub(super) fn open(expected: Option<&str>, reply: &Reply) -> Result<Session, Judgement> {
    if let Some(refused) = refusal(reply) {
        return Err(match refused {
            // A second login with the same keys would only count towards a lock-out.
            Judgement::Renew { why } => fail(Class::Auth, &why),
            other => other,
        });
    }
    match judge_common(reply) {
        Judgement::Page => {}
        Judgement::Renew { .. } => {
            return Err(fail(
                Class::Auth,
                "the login was refused (401): check access_key and secret_key",
            ));
        }
        other => return Err(other),
    }
    let token = token(reply).ok_or_else(|| {
        fail(
            Class::Auth,
            "the login was accepted but set no usable BEARER_TOKEN cookie; ask the provider",
        )
    })?;
    let mut warnings = Vec::new();
    if let Some(expected) = expected {
        match merchant_of(&reply.body) {
            Some(merchant) if merchant == expected => {}
            Some(_) => {
                return Err(fail(
                    Class::Config,
                    "the login belongs to another merchant than `expected_merchant_id`; nothing was read: check the keys and the setting",
                ));
            }
            None => {
                warnings.push("the login names no merchant: `expected_merchant_id` is only checked on the rows".into())
            }
        }
    }
    Ok(Session {
        token: SecretString::from(token),
        lifetime: None,
        idle: Some(IDLE),
        warnings,
    })
}

/// The token of the last cookie that still holds: one that is being replaced comes first, already expired (RFC 6265).
fn token(reply: &Reply) -> Option<String> {
    let date = reply.header("date").find_map(cookie_date).unwrap_or(reply.received_at);
    let holding = reply.header("set-cookie").filter(|cookie| !is_expired(cookie, date));
    holding.filter_map(bearer_token).last()
}

/// RFC 6265, 5.2 and 5.3: `Max-Age` counts before `Expires`, of several the last one; what cannot be read does not count.
fn is_expired(cookie: &str, now: Instant) -> bool {
    let (mut max_age, mut expires) = (None, None);
    for attribute in cookie.split(';').skip(1) {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => {
                let digits = value.strip_prefix('-').unwrap_or(value);
                let reads = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                let nothing = value.starts_with('-') || digits.bytes().all(|b| b == b'0');
                max_age = reads.then_some(nothing).or(max_age);
            }
            "expires" => expires = cookie_date(value).or(expires),
            _ => {}
        }
    }
    max_age.unwrap_or_else(|| expires.is_some_and(|at| at <= now))
}

/// The dates of HTTP, and the hyphens that cookies put into them (`Thu, 01-Jan-1970 00:00:00 GMT`).
fn cookie_date(text: &str) -> Option<Instant> {
    let read = |text: &str| httpdate::parse_http_date(text).ok();
    read(text).or_else(|| read(&text.replace('-', " "))).map(Instant::from)
}

/// `BEARER_TOKEN=<token>[; attributes]`: between the first `=` and the next `;`, without quotes.
fn bearer_token(cookie: &str) -> Option<String> {
    let (name, rest) = cookie.split_once('=')?;
    let token = rest.split(';').next()?.trim();
    let token = token
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(token);
    (name.trim() == "BEARER_TOKEN" && header_safe(token)).then(|| token.to_owned())
}

fn merchant_of(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Login<'a> {
        #[serde(borrow, rename = "idMerchant")]
        merchant: Option<Raw<'a>>,
    }
    let login: Login<'_> = error_body(body)?;
    identity_text(login.merchant).map(|text| text.into_owned())
}

/// What the provider's own codes say (section 10). None: only the status speaks, and [`judge_common`] knows it.
pub(super) fn refusal(reply: &Reply) -> Option<Judgement> {
    let code = error_code(reply);
    match (reply.status, code) {
        (200..=299, None) => None,
        (401, _) => Some(Judgement::Renew {
            why: "the session was refused (401): expired, or wrong credentials".into(),
        }),
        (_, Some(11)) => Some(fail(
            Class::Auth,
            "wrong credentials, or the user is locked or inactive (code 11); not tried again, it would lock out",
        )),
        (_, Some(26)) => Some(fail(
            Class::Auth,
            "the API user lacks the capability for this report, or is an administrator (code 26)",
        )),
        (_, Some(83)) => Some(fail(
            Class::Auth,
            "the caller's IP address is not on the provider's allow-list (code 83); it is not the password",
        )),
        (_, Some(96)) => Some(fail(
            Class::Auth,
            "this type of user is not enabled for the API (code 96); ask the provider to switch it",
        )),
        (_, Some(17)) => Some(fail(
            Class::Protocol,
            "the provider says `from` is not before `to` (code 17)",
        )),
        (_, Some(19)) => Some(fail(
            Class::Config,
            "the provider does not know the country (code 19); check `country`",
        )),
        (412, _) => Some(fail(
            Class::Auth,
            "refused (412): wrong credentials, an inactive or unconfigured account, or bad parameters; not tried again",
        )),
        (400, _) => Some(fail(Class::Protocol, "the provider calls the request malformed (400)")),
        (200..=299, Some(code)) => Some(Judgement::Refused {
            class: Class::Protocol,
            why: format!("an error (code {code}) in an answer of status {}", reply.status),
        }),
        _ => None,
    }
}

/// The code of an error body; None for pages.
fn error_code(reply: &Reply) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Error<'a> {
        #[serde(borrow)]
        code: Option<Raw<'a>>,
        data: Option<Anything>,
        balances: Option<Anything>,
    }
    let error: Error<'_> = error_body(&reply.body)?;
    if error.data.is_some() || error.balances.is_some() {
        return None;
    }
    identity_text(error.code)?.parse().ok()
}

fn fail(class: Class, why: &str) -> Judgement {
    Judgement::Fail {
        class,
        why: why.to_owned(),
    }
}
