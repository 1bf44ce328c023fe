//! Get OAuth Code (service code 30, section 4): opens a session in which a customer binds a card anew. Every parameter is
//! held against the document's rule before anything is signed; no message repeats a value.

use secrecy::SecretString;

use super::compact;
use super::errors::Code;
use super::settings::{Generation, Settings};
use super::sign::is_external_id;
use crate::failure::Class;
use crate::providers::binding::{BindingLink, BindingRequest, BindingWish};
use crate::providers::read::{Raw, error_body, unquoted};
use crate::providers::setup::set_header;
use crate::providers::{Judgement, Reply, Request, encode, judge_common};

/// Texts shown in the provider's dashboard: `additionalInfo1` to `additionalInfo3`.
const MOST_INFO: usize = 3;

pub(super) fn request(settings: &Settings, wish: &BindingWish) -> Result<BindingRequest, String> {
    if settings.generation == Generation::V3 {
        return Err("generation v3 has no such call: the answer to a binding call itself carries the link".into());
    }
    check(wish)?;
    let seamless: Vec<(&str, &str)> = [
        ("mobileNumber", &wish.mobile),
        ("userId", &wish.user_id),
        ("bankCode", &wish.bank_code),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value.as_deref()?)))
    .collect();
    let info: Vec<(String, &String)> = (1..)
        .zip(&wish.info)
        .map(|(number, text)| (format!("additionalInfo{number}"), text))
        .collect();
    let seamless = compact(&seamless);
    let info = compact(&info);
    let lang = wish.lang.as_deref().unwrap_or("ID");
    let parameters = [
        ("redirectUrl", wish.redirect_url.as_deref()),
        ("failureRedirectUrl", wish.failure_redirect_url.as_deref()),
        ("scopes", Some("CARD_REGISTRATION")),
        ("state", Some(&wish.state)),
        ("merchantId", Some(&settings.merchant_id)),
        ("lang", Some(lang)),
        ("seamlessData", Some(&seamless)),
        ("additionalInfo", Some(info.as_str()).filter(|_| !wish.info.is_empty())),
    ];
    let query: Vec<String> = parameters
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encode((*value)?))))
        .collect();
    let mut request = Request::get(settings.paths.auth_code.clone(), query.join("&"));
    set_header(&mut request, "Accept", "application/json".into());
    set_header(&mut request, "X-EXTERNAL-ID", wish.external_id.clone());
    Ok(BindingRequest {
        request,
        state: wish.state.clone(),
    })
}

/// The rules of section 4.
fn check(wish: &BindingWish) -> Result<(), String> {
    let digits = |text: &str, from: usize, to: usize| {
        (from..=to).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let of = |text: &str, most: usize, more: &[u8]| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    let holds = |value: &Option<String>, rule: &dyn Fn(&str) -> bool| value.as_deref().is_none_or(rule);
    if wish.mobile.is_none() && wish.user_id.is_none() {
        return Err("seamlessData needs at least one of --mobile and --user-id".into());
    }
    let rules: [(bool, &str); 7] = [
        (
            holds(&wish.mobile, &|text| digits(text, 9, 13)),
            "--mobile (mobileNumber) must be 9 to 13 digits",
        ),
        (
            holds(&wish.user_id, &|text| of(text, 20, b"/_-")),
            "--user-id (userId) must be 1 to 20 letters, digits, `/`, `_` or `-`",
        ),
        (
            holds(&wish.bank_code, &|text| digits(text, 3, 3)),
            "--bank-code (bankCode) must be exactly 3 digits",
        ),
        (
            holds(&wish.lang, &|text| matches!(text, "ID" | "EN")),
            "--lang (lang) must be ID or EN",
        ),
        (
            holds(&wish.redirect_url, &is_absolute),
            "--redirect-url (redirectUrl) must be an absolute http or https URL",
        ),
        (
            holds(&wish.failure_redirect_url, &is_absolute),
            "--failure-redirect-url (failureRedirectUrl) must be an absolute http or https URL",
        ),
        (
            wish.info.iter().all(|text| of(text, 100, b" @._+*!~-")),
            "--info (additionalInfo) must be 1 to 100 letters, digits, blanks or `@._+*!~-`",
        ),
    ];
    if let Some((_, rule)) = rules.iter().find(|(holds, _)| !holds) {
        return Err((*rule).to_owned());
    }
    if wish.info.len() > MOST_INFO {
        return Err("--info (additionalInfo) may be given at most 3 times".into());
    }
    if !is_external_id(&wish.state) || !is_external_id(&wish.external_id) {
        return Err("state and X-EXTERNAL-ID must be exactly 32 letters and digits".into());
    }
    Ok(())
}

fn is_absolute(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    plain && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[derive(serde::Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "authCode")]
    code: Option<Raw<'a>>,
    #[serde(borrow)]
    state: Option<Raw<'a>>,
}

pub(super) fn read(settings: &Settings, asked: &BindingRequest, reply: &Reply) -> Result<BindingLink, Judgement> {
    let code = Code::of(reply);
    match (reply.status, code.map(|code| code.http)) {
        (401, _) | (200, Some(401)) => {
            return Err(Judgement::Renew {
                why: "the token or the signature was refused (401)".into(),
            });
        }
        (200, Some(200..=299)) => {}
        (200, None) => match judge_common(reply) {
            Judgement::Page => return Err(refused("the answer has no `responseCode`")),
            other => return Err(other),
        },
        (400, _) | (200, Some(400)) => return Err(refused("a parameter was refused (400)")),
        (200..=299, _) => return Err(refused("the provider gave no code")),
        _ => return Err(judge_common(reply)),
    }
    let answer: Option<Answer<'_>> = error_body(&reply.body);
    let text = |raw: Option<Raw<'_>>| raw.and_then(|raw| unquoted(raw.get())).map(|text| text.into_owned());
    let (code, state) = answer.map_or((None, None), |answer| (text(answer.code), text(answer.state)));
    if state.as_deref() != Some(&asked.state) {
        return Err(refused(
            "`state` did not come back as it was sent: the code may be somebody else's and was thrown away",
        ));
    }
    let code = code
        .filter(|code| is_external_id(code))
        .ok_or_else(|| refused("`authCode` is not 32 letters and digits"))?;
    let url = settings
        .webview_base_url
        .as_ref()
        .map(|base| SecretString::from(format!("{base}{code}")));
    Ok(BindingLink {
        code: SecretString::from(code),
        url,
    })
}

fn refused(why: &str) -> Judgement {
    Judgement::Refused {
        class: Class::Protocol,
        why: why.to_owned(),
    }
}
