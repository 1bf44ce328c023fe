//! What TwoPay's refusals mean (section 7). `code` 401 stands for an old token, a wrong key, an unknown `uniqueKey` and any
//! trouble alike: a lookup that failed is never a missing record, unless an agreed pattern says so.

use super::super::read::{Raw, error_body, identity_text, unquoted};
use super::{PAYIN_BALANCE, Twopay};
use crate::failure::Class;
use crate::providers::{Ask, Judgement, Reply, judge_common};

#[derive(serde::Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    code: Option<Raw<'a>>,
    #[serde(borrow)]
    message: Option<Raw<'a>>,
    #[serde(borrow)]
    data: Option<Raw<'a>>,
}

#[derive(serde::Deserialize)]
struct Echo<'a> {
    #[serde(borrow, rename = "uniqueKey")]
    unique_key: Option<Raw<'a>>,
}

pub(super) fn judge(twopay: &Twopay, ask: &Ask, reply: &Reply) -> Judgement {
    match reply.status {
        200 | 201 | 203 => {}
        403 | 408 | 425 | 429 => return judge_common(reply),
        400..=499 => {
            let answer = error_body(&reply.body);
            return failed(twopay, ask, reply.status, answer.as_ref());
        }
        _ => return judge_common(reply),
    }
    let Some(answer) = error_body::<Answer<'_>>(&reply.body) else {
        return judge_common(reply);
    };
    match identity_text(answer.code).as_deref() {
        // Asked again it would be the same.
        Some("200") if !answer.data.is_some_and(|data| data.get().starts_with('{')) => Judgement::Refused {
            class: Class::Protocol,
            why: "lookup failed: a success without a `data` object; nothing follows about the record".into(),
        },
        Some("200") => echoed(ask, &answer).unwrap_or_else(|| judge_common(reply)),
        Some("401") => failed(twopay, ask, reply.status, Some(&answer)),
        Some(_) => Judgement::Refused {
            class: Class::Protocol,
            why: "lookup failed: the body's `code` is neither 200 nor 401; nothing follows about the record".into(),
        },
        None => Judgement::Refused {
            class: Class::Protocol,
            why: "lookup failed: the answer has no `code`; nothing follows about the record".into(),
        },
    }
}

/// An answer about another key than the one asked for; a balance that is a lookup of the key `balance`.
fn echoed(ask: &Ask, answer: &Answer<'_>) -> Option<Judgement> {
    let echo: Option<Echo<'_>> = answer.data.and_then(|data| serde_json::from_str(data.get()).ok());
    let key = echo.and_then(|echo| identity_text(echo.unique_key));
    if Twopay::is_balance(ask.feed) {
        return key.map(|_| Judgement::Fail {
            class: Class::Config,
            why: format!(
                "the answer carries a `uniqueKey`: `{}` is taken for a lookup, not for the balance; ask the provider for the path",
                balance_setting(ask.feed)
            ),
        });
    }
    key.filter(|key| Some(key.as_ref()) != ask.subject.as_deref())
        .map(|_| Judgement::Refused {
            class: Class::Protocol,
            why: "lookup failed: the answer is about another `uniqueKey` than the one asked for; tell the provider"
                .into(),
        })
}

fn balance_setting(feed: &str) -> &'static str {
    if feed == PAYIN_BALANCE {
        "payin_balance_path"
    } else {
        "payout_balance_path"
    }
}

fn failed(twopay: &Twopay, ask: &Ask, status: u16, answer: Option<&Answer<'_>>) -> Judgement {
    let message = answer
        .and_then(|answer| unquoted(answer.message?.get()))
        .unwrap_or_default()
        .to_lowercase();
    let fits = |patterns: &[String]| patterns.iter().any(|pattern| message.contains(pattern));
    if fits(&twopay.auth) {
        return Judgement::Renew {
            why: "the provider says that the credentials are refused (`auth_patterns`)".into(),
        };
    }
    let then = match (Twopay::is_balance(ask.feed), fits(&twopay.not_found)) {
        (true, _) => Judgement::Refused {
            class: Class::Protocol,
            why: format!("the balance was refused; check `{}`", balance_setting(ask.feed)),
        },
        (false, true) => Judgement::Absent {
            why: "the provider does not know the key (`not_found_patterns`)".into(),
        },
        (false, false) => Judgement::Refused {
            class: Class::Protocol,
            why: match status {
                200..=299 => "lookup failed (code 401, also with a new token); it says nothing about the record. If \
                              the message means an unknown key, agree on it and set `not_found_patterns`"
                    .into(),
                _ => format!("lookup failed ({status}, also with a new token); it says nothing about the record"),
            },
        },
    };
    Judgement::RenewThen {
        why: "the provider answered `code` 401, which may be an old token".into(),
        then: Box::new(then),
    }
}
