//! What One2Pays' refusals mean (section 7): the status and `success` both count, the code decides.

use std::time::Duration;

use super::super::read::error_body;
use crate::day::parse_instant;
use crate::failure::Class;
use crate::providers::{Judgement, Reply, judge_common, retry_after};

/// Waited after a 429 that says nothing (section 7).
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

#[derive(serde::Deserialize)]
struct Envelope {
    success: Option<bool>,
    error: Option<Error>,
}

#[derive(serde::Deserialize)]
struct Error {
    code: Option<String>,
    metadata: Option<serde_json::Value>,
}

/// `one`: a single record was asked for.
pub(super) fn judge(one: bool, reply: &Reply) -> Judgement {
    let body: Option<Envelope> = error_body(&reply.body);
    let error = body.as_ref().and_then(|body| body.error.as_ref());
    let code = error.and_then(|error| error.code.as_deref());
    let refused = match reply.status {
        200..=299 => body.as_ref().is_some_and(|body| body.success == Some(false)),
        _ => true,
    };
    if !refused {
        return judge_common(reply);
    }
    if reply.status == 429 || code == Some("RATE_LIMIT_EXCEEDED") {
        let metadata = error.and_then(|error| error.metadata.as_ref());
        return Judgement::Retry {
            after: Some(wait(reply, metadata)),
            why: "rate limit (RATE_LIMIT_EXCEEDED)".into(),
        };
    }
    by_code(one, reply.status, code).unwrap_or_else(|| by_status(one, reply))
}

fn by_code(one: bool, status: u16, code: Option<&str>) -> Option<Judgement> {
    Some(match code? {
        "INVALID_CREDENTIALS" | "AUTHENTICATION_ERROR" => Judgement::Renew {
            why: "the key, the signature or its timestamp was refused (401)".into(),
        },
        "FORBIDDEN" => fail(
            Class::Auth,
            "the integration is not active or lacks this right (FORBIDDEN)",
        ),
        "VALIDATION_ERROR" => fail(
            Class::Protocol,
            "a parameter was refused (VALIDATION_ERROR): check `extra_query` and `page_limit`",
        ),
        "RESOURCE_NOT_FOUND" if status == 404 && one => Judgement::Absent {
            why: "listed, but unknown when asked about alone (404)".into(),
        },
        "RESOURCE_NOT_FOUND" if status == 404 => not_found(),
        _ => return None,
    })
}

fn by_status(one: bool, reply: &Reply) -> Judgement {
    match reply.status {
        // Without the provider's own word it may be any server that says so.
        404 if one => Judgement::Refused {
            class: Class::Protocol,
            why: "asked about alone it gets a 404 that is not the provider's own".into(),
        },
        404 => not_found(),
        // An error inside a success is an error; nobody says whether it passes.
        200..=299 => Judgement::Refused {
            class: Class::Protocol,
            why: format!("`success` is false in an answer of status {}", reply.status),
        },
        _ => judge_common(reply),
    }
}

/// The lists and the balance always exist; a 404 is about the address.
fn not_found() -> Judgement {
    fail(
        Class::Config,
        "nothing answers under this path (404): check `base_url`, it must end before /api/v1",
    )
}

fn fail(class: Class, why: &str) -> Judgement {
    Judgement::Fail {
        class,
        why: why.to_owned(),
    }
}

/// First of: the standard header, `retryAfter`, `resetAt`, one minute.
fn wait(reply: &Reply, metadata: Option<&serde_json::Value>) -> Duration {
    let seconds = || {
        let value = metadata?.get("retryAfter")?;
        let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
        // Part of a second is waited as a whole one.
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let more = u64::from(fraction.bytes().any(|b| b != b'0'));
        whole
            .parse::<u64>()
            .ok()
            .map(|whole| Duration::from_secs(whole.saturating_add(more)))
    };
    let until = || {
        let reset_at = parse_instant(metadata?.get("resetAt")?.as_str()?)?;
        Some((reset_at - reply.received_at).to_std().unwrap_or_default())
    };
    retry_after(reply)
        .or_else(seconds)
        .or_else(until)
        .unwrap_or(DEFAULT_WAIT)
}
