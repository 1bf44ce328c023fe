//! Get OAuth Code (section 4): opens a session in which a customer binds a card. Every parameter is checked.

use std::collections::BTreeMap;

use super::{Answer, Call, Object, Refusal, Told, World, alphanumeric, malformed, missing, own_merchant, parameter};

pub(super) fn get(world: &mut World, call: &Call) -> Told {
    let given = super::parameters(
        call,
        &[
            "redirectUrl",
            "failureRedirectUrl",
            "scopes",
            "state",
            "merchantId",
            "lang",
            "seamlessData",
            "additionalInfo",
        ],
    )?;
    let value = |name: &str| given.get(name);
    for name in ["redirectUrl", "failureRedirectUrl"] {
        if value(name).is_some_and(|text| url::Url::parse(text).map_or(true, |url| !url.has_host())) {
            return Err(malformed(name));
        }
    }
    parameter(value("scopes"), "scopes", |text| text == "CARD_REGISTRATION")?;
    let state = parameter(value("state"), "state", alphanumeric(32))?;
    let merchant = parameter(value("merchantId"), "merchantId", alphanumeric(6))?;
    parameter(value("lang"), "lang", |text| matches!(text, "ID" | "EN"))?;
    own_merchant(world, &merchant)?;
    seamless(value("seamlessData").ok_or_else(|| missing("seamlessData"))?)?;
    if let Some(text) = value("additionalInfo") {
        additional(text)?;
    }

    let flow = call.header("x-external-id").unwrap_or_default().to_owned();
    let taken = world.ayoconnect.payments.iter().any(|p| p.external_id == flow)
        || world.ayoconnect.bindings.iter().any(|b| b.external_id == flow);
    let door = &mut world.doors.ayoconnect;
    if taken || door.sessions.iter().any(|(known, _)| *known == flow) {
        return Err(Refusal(409, 0, "Conflict: X-EXTERNAL-ID was used before".into()));
    }
    if !door.states.insert(state.clone()) {
        return Err(Refusal(409, 0, "Conflict: state was used before".into()));
    }
    door.issued += 1;
    let code = super::super::token_text("ayoconnect code", door.issued);
    door.sessions.push((flow, code.clone()));
    let body = Object::new()
        .text("responseCode", "2003000")
        .text("responseMessage", "success")
        .text("authCode", &code)
        .text("state", &state);
    Ok(Answer::json(200, body.done()))
}

/// A compact JSON object of texts with names of the list, none twice.
fn texts(json: &str, name: &str, allowed: &[&str]) -> Result<BTreeMap<String, String>, Refusal> {
    let texts: BTreeMap<String, String> = serde_json::from_str(json).map_err(|_| malformed(name))?;
    let compact = super::signature::minified(json.as_bytes()) == json.as_bytes();
    let once = texts
        .keys()
        .all(|key| json.matches(&format!("\"{key}\":")).count() == 1);
    if compact && once && texts.keys().all(|key| allowed.contains(&key.as_str())) {
        return Ok(texts);
    }
    Err(malformed(name))
}

fn seamless(json: &str) -> Result<(), Refusal> {
    let given = texts(json, "seamlessData", &["mobileNumber", "userId", "bankCode"])?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    for (name, value) in &given {
        let fits = match name.as_str() {
            "mobileNumber" => (9..=13).contains(&value.len()) && digits(value),
            "bankCode" => value.len() == 3 && digits(value),
            _ => {
                (1..=20).contains(&value.len())
                    && value
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-'))
            }
        };
        if !fits {
            return Err(malformed(&format!("seamlessData.{name}")));
        }
    }
    if given.contains_key("mobileNumber") || given.contains_key("userId") {
        return Ok(());
    }
    Err(missing("seamlessData.mobileNumber"))
}

fn additional(json: &str) -> Result<(), Refusal> {
    let given = texts(
        json,
        "additionalInfo",
        &["additionalInfo1", "additionalInfo2", "additionalInfo3"],
    )?;
    let fits = |text: &String| {
        (1..=100).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b" @._+*!~-".contains(&b))
    };
    match given.values().all(fits) {
        true => Ok(()),
        false => Err(malformed("additionalInfo")),
    }
}
