//! TwoPay's session: a token for client id and secret as JSON, and a static key beside it on every call (section 2).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::super::read::{Anything, Raw, error_body, identity_text, unquoted};
use super::super::setup::{header_safe, key, set_header};
use super::Twopay;
use crate::failure::Class;
use crate::providers::{Judgement, Keys, Method, Reply, Request, Session, judge_common};

pub(super) fn login(twopay: &Twopay, keys: &Keys) -> Request {
    let body = serde_json::json!({
        "client_id": twopay.client_id.value(keys),
        "client_secret": key(keys, "client_secret"),
    });
    let mut request = Request::get(format!("{}/oauth2/token", twopay.prefix), "");
    request.method = Method::Post;
    request.headers = vec![
        ("Accept", "application/json".into()),
        ("Content-Type", "application/json".into()),
    ];
    request.body = body.to_string().into_bytes();
    request
}

/// Both headers always: the document's pages differ on which of them is required.
pub(super) fn sign(request: &mut Request, session: Option<&Session>, keys: &Keys) {
    if let Some(session) = session {
        set_header(
            request,
            "Authorization",
            format!("Bearer {}", session.token.expose_secret()),
        );
    }
    set_header(request, "x-api-key", key(keys, "api_key").to_owned());
}

pub(super) fn check_keys(twopay: &Twopay, keys: &Keys) -> Result<(), String> {
    if twopay.client_id.value(keys).is_empty() {
        return Err("`client_id` is empty".into());
    }
    if !header_safe(key(keys, "api_key")) {
        return Err("`api_key` holds characters that cannot stand in a header; copy it again from the e-mail".into());
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    code: Option<Raw<'a>>,
    #[serde(borrow)]
    data: Option<Token<'a>>,
}

#[derive(serde::Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    access_token: Option<Raw<'a>>,
    #[serde(borrow)]
    expires_in: Option<Raw<'a>>,
    #[serde(borrow)]
    token_type: Option<Raw<'a>>,
}

pub(super) fn open(slack: Duration, reply: &Reply) -> Result<Session, Judgement> {
    let answer: Option<Answer<'_>> = error_body(&reply.body);
    let code = answer.as_ref().and_then(|answer| identity_text(answer.code));
    let refused = reply.status == 401 || (reply.status < 500 && code.as_deref() == Some("401"));
    if refused {
        // The same words for everything; another try with the same credentials would only count towards a lock-out.
        return Err(fail(
            "the token was refused (401): check client_id and client_secret, and base_url and path_prefix",
        ));
    }
    match judge_common(reply) {
        Judgement::Page => {}
        other => return Err(other),
    }
    if error_body::<Anything>(&reply.body).is_none() {
        return Err(Judgement::Retry {
            after: None,
            why: "the answer to the login is cut off".into(),
        });
    }
    if code.as_deref() != Some("200") {
        return Err(unusable("the answer to the login has no `code` 200; ask the provider"));
    }
    let data = answer.and_then(|answer| answer.data);
    let text = |raw: Option<Raw<'_>>| raw.and_then(|raw| unquoted(raw.get())).map(|text| text.into_owned());
    let token = data
        .as_ref()
        .and_then(|data| text(data.access_token))
        .filter(|token| header_safe(token));
    let Some(token) = token else {
        return Err(unusable(
            "the login was accepted but carries no usable `data.access_token`; ask the provider",
        ));
    };
    let mut warnings = Vec::new();
    if data.as_ref().and_then(|data| text(data.token_type)).as_deref() != Some("Bearer") {
        warnings
            .push("the login names another `token_type` than Bearer; the token is sent as Bearer all the same".into());
    }
    let expires_in = data
        .as_ref()
        .and_then(|data| identity_text(data.expires_in)?.parse::<u64>().ok());
    if expires_in.is_none() {
        warnings.push("the login says no `expires_in`: the token is renewed when it is refused".into());
    }
    Ok(Session {
        token: SecretString::from(token),
        lifetime: expires_in.map(|seconds| lifetime(Duration::from_secs(seconds), slack)),
        idle: None,
        warnings,
    })
}

/// Less the slack, but never less than half: a token that is renewed before every call would be worse.
fn lifetime(stated: Duration, slack: Duration) -> Duration {
    stated.saturating_sub(slack).max(stated / 2).max(Duration::from_secs(1))
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
