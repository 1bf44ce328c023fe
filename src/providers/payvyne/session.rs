//! PayVyne's session: client credentials in a form, a bearer token for an hour (section 2).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::super::read::{Anything, error_body};
use super::super::setup::{header_safe, key, set_header};
use super::PayVyne;
use crate::failure::Class;
use crate::providers::{Judgement, Keys, Method, Reply, Request, Session, encode, judge_common};

/// Seconds a token lives when the answer does not say.
const LIFETIME: u64 = 3599;
/// Seconds kept for the way.
const MARGIN: u64 = 60;

pub(super) fn login(payvyne: &PayVyne, keys: &Keys) -> Request {
    let client_id = payvyne.client_id.as_deref().unwrap_or_else(|| key(keys, "client_id"));
    let body = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        encode(client_id),
        encode(key(keys, "client_secret"))
    );
    let mut request = Request::get(payvyne.token_path.clone(), "");
    request.method = Method::Post;
    set_header(&mut request, "Content-Type", "application/x-www-form-urlencoded".into());
    set_header(&mut request, "Accept", "application/json".into());
    request.body = body.into_bytes();
    request
}

pub(super) fn sign(request: &mut Request, session: &Session) {
    let bearer = format!("Bearer {}", session.token.expose_secret());
    set_header(request, "Authorization", bearer);
}

#[derive(serde::Deserialize)]
struct Token {
    access_token: Option<String>,
    scope: Option<String>,
    merchant: Option<String>,
    expires_in: Option<u64>,
}

pub(super) fn open(payvyne: &PayVyne, reply: &Reply) -> Result<Session, Judgement> {
    match reply.status {
        400 | 401 => return Err(fail(Class::Auth, &refused(reply))),
        404 => {
            return Err(fail(
                Class::Config,
                "nothing answers at `token_path` (404): check it and `base_url`",
            ));
        }
        _ => {}
    }
    match judge_common(reply) {
        Judgement::Page => {}
        other => return Err(other),
    }
    if serde_json::from_slice::<Anything>(&reply.body).is_err() {
        return Err(Judgement::Retry {
            after: None,
            why: "the answer to the token call is cut off".into(),
        });
    }
    let unusable = || {
        fail(
            Class::Protocol,
            "the token call was answered without a usable `access_token`",
        )
    };
    let token: Token = error_body(&reply.body).ok_or_else(unusable)?;
    let access_token = token
        .access_token
        .filter(|token| header_safe(token))
        .ok_or_else(unusable)?;
    let mut warnings = Vec::new();
    if token
        .scope
        .as_deref()
        .is_none_or(|scope| !scope.contains("reconciliation"))
    {
        warnings.push("the token's scope is not `reconciliation`: probably a key pair of another kind".to_owned());
    }
    match (&payvyne.merchant, &token.merchant) {
        (Some(expected), Some(merchant)) if expected != merchant => {
            return Err(fail(
                Class::Config,
                "the token belongs to another merchant than `expected_merchant`; nothing was read: check the key pair and the setting",
            ));
        }
        (Some(_), None) => {
            warnings.push("the token names no merchant: `expected_merchant` could not be checked".to_owned())
        }
        _ => {}
    }
    let seconds = token.expires_in.unwrap_or(LIFETIME);
    Ok(Session {
        token: SecretString::from(access_token),
        // A token that lives hardly longer than the margin is used for half its life.
        lifetime: Some(Duration::from_secs(seconds.saturating_sub(MARGIN).max(seconds / 2))),
        idle: None,
        warnings,
    })
}

/// RFC 6749 error codes are said; anything else an answer may hold is not.
fn refused(reply: &Reply) -> String {
    #[derive(serde::Deserialize)]
    struct OAuthError {
        error: Option<String>,
    }
    const KNOWN: [&str; 6] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ];
    let error = error_body::<OAuthError>(&reply.body).and_then(|body| body.error);
    let known = KNOWN.iter().find(|known| error.as_deref() == Some(**known));
    let said = known.map(|word| format!(", {word}")).unwrap_or_default();
    format!(
        "the key pair was refused ({}{said}): check client_id and client_secret",
        reply.status
    )
}

fn fail(class: Class, why: &str) -> Judgement {
    Judgement::Fail {
        class,
        why: why.to_owned(),
    }
}
