//! Settings that several providers share, and small pieces of requests.

use std::time::Duration;

use chrono::TimeDelta;
use secrecy::ExposeSecret;

use super::{Keys, Limits, Request};
use crate::config::Section;

/// Longest pause a 429 may ask for where the provider's settings do not say: fifteen minutes.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(900);

/// What a provider's document gives as defaults for its limits.
pub struct Defaults {
    pub max_rps: i64,
    pub lookback_days: i64,
    /// Nothing younger than this is asked for.
    pub settle: TimeDelta,
}

/// Reads `max_rps`, `lookback_days` and `request_timeout`.
pub fn limits(section: &mut Section<'_>, defaults: &Defaults) -> Limits {
    let per_second = section.integer_or("max_rps", defaults.max_rps, 1..=1000);
    Limits {
        requests_per_minute: u32::try_from(per_second * 60).unwrap_or(60),
        max_in_flight: 1,
        request_timeout: Some(section.duration("request_timeout").unwrap_or(Duration::from_secs(30))),
        lookback: TimeDelta::days(section.integer_or("lookback_days", defaults.lookback_days, 0..=3650)),
        settle: defaults.settle,
        max_retry_wait: MAX_RETRY_WAIT,
    }
}

/// A path below the base URL: `/` and plain segments, no trailing slash unless written so.
pub fn path(section: &mut Section<'_>, key: &str, default: &str) -> String {
    let Some((path, line)) = section.text_line(key) else {
        return default.to_owned();
    };
    let plain = path.starts_with('/')
        && path.split('/').skip(1).all(|part| {
            part != ".." && part != "." && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
        });
    if !plain {
        section.problem_at(
            line,
            format!("`provider.{key}` must be a plain path like {default:?}; anything else could change the request"),
        );
    }
    path
}

/// Sets a header, in place of one of the same name: a request is signed anew before each attempt.
pub fn set_header(request: &mut Request, name: &'static str, value: String) {
    request.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    request.headers.push((name, value));
}

/// A key by its name; empty when the edges did not read it, which the provider then refuses.
pub fn key<'k>(keys: &'k Keys, name: &str) -> &'k str {
    keys.get(name).map_or("", |secret| secret.expose_secret())
}

/// Whether a token can stand in a header without becoming anything else.
pub fn header_safe(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && !b";,\"\\".contains(&b))
}

/// `1 day` / `3 days`, for messages.
pub fn counted(number: i64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}
