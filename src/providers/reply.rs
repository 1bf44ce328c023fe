//! What answers mean to most providers, and how a request's parts are written.

use std::time::Duration;

use super::{Judgement, Reply};
use crate::day::Instant;
use crate::failure::Class;

/// The reading of an answer that most providers share; a provider looks at its own codes first.
///
/// 2xx that looks like JSON is a page; 3xx is refused (a redirect would carry the credentials elsewhere); 401 renews; 403 is
/// a matter of permission; 408, 425, 429 and 5xx are tried again; other 4xx stop the job.
pub fn judge_common(reply: &Reply) -> Judgement {
    let status = reply.status;
    let first = reply
        .body
        .iter()
        .copied()
        .find(|b| !b.is_ascii_whitespace() && !matches!(b, 0xEF | 0xBB | 0xBF));
    match status {
        200 | 201 | 203 => match first {
            Some(b'{' | b'[') => Judgement::Page,
            Some(b'<') => Judgement::Retry {
                after: None,
                why: "HTML received where JSON was expected".into(),
            },
            None => Judgement::Retry {
                after: None,
                why: "an empty body".into(),
            },
            Some(_) => Judgement::Retry {
                after: None,
                why: "a body that is not JSON".into(),
            },
        },
        202 => Judgement::Retry {
            after: retry_after(reply),
            why: "not ready yet (202)".into(),
        },
        300..=399 => Judgement::Fail {
            class: Class::Protocol,
            why: format!(
                "a redirect ({status}) was refused: it could carry the credentials to another host; check base_url"
            ),
        },
        401 => Judgement::Renew {
            why: "credentials or session refused (401)".into(),
        },
        403 => Judgement::Fail {
            class: Class::Auth,
            why: "permission refused (403): the key's rights or the caller's IP address, not the password".into(),
        },
        429 => Judgement::Retry {
            after: retry_after(reply),
            why: "rate limit (429)".into(),
        },
        408 | 425 | 500..=599 => Judgement::Retry {
            after: retry_after(reply),
            why: format!("the provider answered {status}"),
        },
        _ => Judgement::Fail {
            class: Class::Protocol,
            why: format!("the provider answered {status}"),
        },
    }
}

/// `Retry-After` in seconds or as an HTTP date, the longest of several; nonsense counts as absent.
pub fn retry_after(reply: &Reply) -> Option<Duration> {
    reply
        .header("retry-after")
        .filter_map(|value| {
            let value = value.trim();
            match value.parse::<u64>() {
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => {
                    let at = Instant::from(httpdate::parse_http_date(value).ok()?);
                    Some((at - reply.received_at).to_std().unwrap_or_default())
                }
            }
        })
        .max()
}

/// Percent-encodes one path segment or query value: everything but letters, digits, `-`, `_`, `.` and `~` (RFC 3986).
pub fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
