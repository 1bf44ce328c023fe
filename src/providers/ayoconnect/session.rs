//! Ayoconnect's session: the B2B token, asked for with the RSA signature (section 2.1).

use std::time::Duration;

use secrecy::SecretString;

use super::errors::Code;
use super::settings::Settings;
use super::sign::{asymmetric, timestamp};
use crate::day::Instant;
use crate::failure::Class;
use crate::providers::read::{Anything, Raw, error_body, identity_text, unquoted};
use crate::providers::setup::{header_safe, key};
use crate::providers::{Judgement, Keys, Method, Reply, Request, Session, judge_common};

/// A token is renewed so much before its end (section 8).
const SLACK: Duration = Duration::from_secs(60);
/// Where the answer does not say (section 2.1).
const USUAL_LIFE: u64 = 3600;

pub(super) fn login(settings: &Settings, keys: &Keys, now: Instant) -> Request {
    let client_id = settings.client_id.value(keys);
    let timestamp = timestamp(settings.timestamp, now);
    let signature = asymmetric(key(keys, "private_key"), client_id, &timestamp, settings.encoding);
    let merchant = serde_json::Value::from(settings.merchant_id.as_str());
    let mut request = Request::get(settings.paths.token.clone(), "");
    request.method = Method::Post;
    request.headers = vec![
        ("Accept", "application/json".into()),
        ("Content-Type", "application/json".into()),
        ("X-TIMESTAMP", timestamp),
        ("X-CLIENT-KEY", client_id.to_owned()),
        // The key was looked at when it was read; a signature that cannot be made is refused by the provider.
        ("X-SIGNATURE", signature.unwrap_or_default()),
    ];
    request.body =
        format!(r#"{{"grantType":"client_credentials","additionalInfo":{{"merchantId":{merchant}}}}}"#).into_bytes();
    request
}

#[derive(serde::Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "accessToken")]
    token: Option<Raw<'a>>,
    #[serde(borrow, rename = "expiresIn")]
    expires_in: Option<Raw<'a>>,
}

pub(super) fn open(reply: &Reply) -> Result<Session, Judgement> {
    let code = Code::of(reply);
    match (reply.status, code.map_or(0, |code| code.http)) {
        (500.., _) | (408 | 425 | 429, _) => return Err(judge_common(reply)),
        (300..=399, _) => return Err(judge_common(reply)),
        // Signed with the time: a wrong clock is refused like a wrong key.
        (401, _) | (_, 401) => {
            return Err(Judgement::Renew {
                why: "the token was refused (401): check client_id, private_key and the clock".into(),
            });
        }
        (_, 500..) => {
            return Err(Judgement::Retry {
                after: None,
                why: "the provider's own trouble (response code 5xx)".into(),
            });
        }
        (200, 200..=299) => {}
        (200, 0) => match judge_common(reply) {
            Judgement::Page if error_body::<Anything>(&reply.body).is_none() => {
                return Err(Judgement::Retry {
                    after: None,
                    why: "the answer to the login is cut off".into(),
                });
            }
            Judgement::Page => {
                return Err(unusable(
                    "the answer to the login has no response code; check `paths.token`",
                ));
            }
            other => return Err(other),
        },
        (403, _) => {
            return Err(fail(
                "the token was refused (403): the account's rights or the caller's IP address",
            ));
        }
        (404, _) => {
            return Err(fail(
                "nothing answers under `paths.token` (404), or the client is unknown",
            ));
        }
        _ => {
            return Err(fail(
                "the token was refused; check client_id, merchant_id and `api_generation`",
            ));
        }
    }
    let answer: Option<Answer<'_>> = error_body(&reply.body);
    let token = answer
        .as_ref()
        .and_then(|answer| unquoted(answer.token?.get()))
        .map(|token| token.into_owned())
        .filter(|token| header_safe(token))
        .ok_or_else(|| unusable("the login was accepted but carries no usable `accessToken`; ask the provider"))?;
    let stated = answer.and_then(|answer| identity_text(answer.expires_in)?.parse::<u64>().ok());
    let life = Duration::from_secs(stated.unwrap_or(USUAL_LIFE));
    let mut warnings = Vec::new();
    if token.len() != 32 {
        warnings.push("the token is not 32 characters long as the document says".into());
    }
    Ok(Session {
        token: SecretString::from(token),
        lifetime: Some(life.saturating_sub(SLACK).max(life / 2).max(Duration::from_secs(1))),
        idle: None,
        warnings,
    })
}

/// A whole answer that says nothing about the credentials.
fn unusable(why: &str) -> Judgement {
    Judgement::Fail {
        class: Class::Protocol,
        why: why.to_owned(),
    }
}

fn fail(why: &str) -> Judgement {
    Judgement::Fail {
        class: Class::Auth,
        why: why.to_owned(),
    }
}
