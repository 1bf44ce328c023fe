//! What Ayoconnect's refusals mean (section 7). Only an explicit failed status and the not-found code say anything about a
//! payment; every HTTP error, time-out and unreadable body leaves it as it was.

use super::{Ayoconnect, BINDINGS, Generation, LookupKey, wire};
use crate::failure::Class;
use crate::providers::read::{Raw, error_body, identity_text, unquoted};
use crate::providers::{Ask, Judgement, Reply, judge_common, retry_after};

/// `responseCode`, taken apart: `2005500` is status 200, service 55, case 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub http: u16,
    pub service: u16,
    pub case: u16,
}

impl Code {
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 7 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part = |from: usize, until: usize| text.get(from..until)?.parse().ok();
        Some(Self {
            http: part(0, 3)?,
            service: part(3, 5)?,
            case: part(5, 7)?,
        })
    }

    /// The code of an answer; None where there is none that can be read.
    pub fn of(reply: &Reply) -> Option<Self> {
        Self::parse(&text(reply)?)
    }
}

fn text(reply: &Reply) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Answer<'a> {
        #[serde(borrow, rename = "responseCode")]
        code: Option<Raw<'a>>,
    }
    let answer: Answer<'_> = error_body(&reply.body)?;
    unquoted(answer.code?.get()).map(|code| code.into_owned())
}

pub(super) fn judge(ayoconnect: &Ayoconnect, ask: &Ask, reply: &Reply) -> Judgement {
    let code = Code::of(reply);
    match (reply.status, code) {
        // Whatever the body says: the gateway failed, not the payment.
        (300..=399 | 408 | 425 | 500.., _) => judge_common(reply),
        (200 | 201 | 203, Some(code)) => match code.http {
            200..=299 => success(ayoconnect, ask, reply, code),
            other => refusal(ayoconnect, ask, reply, other, Some(code)),
        },
        // HTML, empty and cut bodies are tried again; JSON without a code is no answer to a lookup.
        (200 | 201 | 203, None) => match judge_common(reply) {
            Judgement::Page if error_body::<serde::de::IgnoredAny>(&reply.body).is_none() => Judgement::Retry {
                after: None,
                why: "a body that is not whole JSON".into(),
            },
            Judgement::Page => {
                refused("lookup failed: the answer has no `responseCode`; nothing follows about the record")
            }
            other => other,
        },
        (202, _) => in_progress(),
        (status, code) => refusal(ayoconnect, ask, reply, status, code),
    }
}

fn success(ayoconnect: &Ayoconnect, ask: &Ask, reply: &Reply, code: Code) -> Judgement {
    match other_record(ayoconnect, ask, reply) {
        Some(judgement) => judgement,
        None if !wire::is_without_record(ayoconnect, ask, &reply.body) => judge_common(reply),
        // In progress, and so far without the record.
        None if code.http == 202 => in_progress(),
        // Asked again it would be the same.
        None => Judgement::Refused {
            class: Class::Config,
            why: "lookup failed: the answer is a success without a record of the configured `api_generation`; nothing \
                  follows about the payment"
                .into(),
        },
    }
}

/// An answer about another record than the one asked for: under another key, or of another entry of the merchant's.
/// Generation 2 repeats no key, so the merchant's reference is all there is to tell by.
fn other_record(ayoconnect: &Ayoconnect, ask: &Ask, reply: &Reply) -> Option<Judgement> {
    #[derive(serde::Deserialize)]
    struct Echo<'a> {
        #[serde(borrow, rename = "originalReferenceNo")]
        payment: Option<Raw<'a>>,
        #[serde(borrow, rename = "partnerReferenceNo")]
        partner: Option<Raw<'a>>,
        #[serde(borrow, rename = "originalPartnerReferenceNo")]
        original_partner: Option<Raw<'a>>,
    }
    let echo: Echo<'_> = error_body(&reply.body)?;
    let v3 = ask.feed != BINDINGS && ayoconnect.0.generation == Generation::V3;
    let differs = |echoed: Option<Raw<'_>>, asked: &str| {
        identity_text(echoed).is_some_and(|echoed| !echoed.is_empty() && !asked.is_empty() && echoed != asked)
    };
    if v3 && differs(echo.payment, ayoconnect.key(ask)) {
        return Some(refused(
            "lookup failed: the answer is about another record than the one asked for; tell the provider",
        ));
    }
    let reference = if v3 { echo.original_partner } else { echo.partner };
    differs(reference, ayoconnect.extra(ask, LookupKey::Reference)).then(|| Judgement::Refused {
        class: Class::Config,
        why:
            "lookup failed: what stands under this key bears another partnerReferenceNo than the ledger's `reference`; \
              look for the right key in the ledger, or for its column in [ledger.columns]"
                .into(),
    })
}

/// `status`: the HTTP status, or the one the code names inside a success.
fn refusal(ayoconnect: &Ayoconnect, ask: &Ask, reply: &Reply, status: u16, code: Option<Code>) -> Judgement {
    let case = code.map(|code| code.case);
    match status {
        400 => refused(match case {
            Some(1) => "lookup failed: a field has the wrong format (400, case 01); it is our request, not the record",
            Some(2) => "lookup failed: a field is missing (400, case 02); it is our request, not the record",
            _ => "lookup failed: the request was refused as malformed (400); it is our request, not the record",
        }),
        401 => Judgement::Renew {
            why: match case {
                Some(1) => "the token was refused (401, case 01)".into(),
                _ => "the signature or the client was refused (401): client_secret, `signing_path`, `timestamp_style`"
                    .into(),
            },
        },
        403 if text(reply).as_deref() == Some("4033320") => Judgement::Refused {
            class: Class::Config,
            why: "lookup failed: the merchant's configuration at the provider does not allow it (4033320)".into(),
        },
        403 => refused("lookup failed: not allowed for this record (403); it says nothing about its status"),
        404 => not_found(ayoconnect, ask, reply),
        409 => Judgement::Retry {
            after: retry_after(reply),
            why: "the external id is in use (409)".into(),
        },
        429 => Judgement::Retry {
            after: retry_after(reply),
            why: "too many requests (429)".into(),
        },
        500.. => Judgement::Retry {
            after: retry_after(reply),
            why: "the provider's own trouble (response code 5xx)".into(),
        },
        // Below HTTP's own numbers, or one the document does not name.
        _ => refused("lookup failed: an answer the document does not name; nothing follows about the record"),
    }
}

fn not_found(ayoconnect: &Ayoconnect, ask: &Ask, reply: &Reply) -> Judgement {
    let code = text(reply);
    if code
        .as_ref()
        .is_some_and(|code| ayoconnect.0.not_found_codes.contains(code))
    {
        return Judgement::Absent {
            why: "the provider does not know the key (`not_found_codes`)".into(),
        };
    }
    let setting = if ask.feed == BINDINGS {
        "paths.binding"
    } else {
        "paths.status"
    };
    match code {
        Some(_) => {
            refused("lookup failed (404 with a code that is not among `not_found_codes`): not taken for missing")
        }
        None => Judgement::Refused {
            class: Class::Config,
            why: format!("lookup failed: nothing answers under `{setting}` (404 without a response code)"),
        },
    }
}

fn in_progress() -> Judgement {
    Judgement::Refused {
        class: Class::Partial,
        why: "lookup not finished: the provider is still working on it (202); the record stays as it was".into(),
    }
}

fn refused(why: &str) -> Judgement {
    Judgement::Refused {
        class: Class::Protocol,
        why: why.to_owned(),
    }
}
