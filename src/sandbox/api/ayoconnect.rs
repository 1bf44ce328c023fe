//! Ayoconnect's direct debit, from `providers/ayoconnect.md`, in both generations: token by RSA signature, every call signed
//! by HMAC, one payment by its X-EXTERNAL-ID (generation 2) or `referenceNo` (generation 3), bindings, and the code for a new
//! binding. What belongs to one generation is unknown to the other, tokens included.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};

use super::{Answer, Call, Object};
use crate::day::Instant;
use crate::sandbox::json::two_decimals;
use crate::sandbox::world::World;
use crate::sandbox::world::ayoconnect::{Binding, Generation, Payment};

mod code;
pub mod signature;

/// The sandbox's own key pair, known to everyone: for the client.
pub const PRIVATE_KEY_PEM: &str = include_str!("../keys/ayoconnect-sandbox-only-private.pem");
const PUBLIC_KEY_PEM: &str = include_str!("../keys/ayoconnect-sandbox-only-public.pem");

/// Gen 3's token path is not published (section 1); this one is made up by analogy.
pub const V3_TOKEN_PATH: &str = "/dd/api/v3.0/access-token/b2b";

/// How signatures are written; the product's own form is hex (section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

/// Credentials, tokens, and every form the sources differ on.
#[derive(Clone, Debug)]
pub struct Door {
    /// 32 characters.
    pub client_id: String,
    pub client_secret: String,
    /// PKCS#1 DER of the merchant's public key.
    pub public_key: Vec<u8>,
    /// 6 characters.
    pub merchant: String,
    /// 5 digits.
    pub channel: String,
    pub encoding: Encoding,
    /// Whether the query belongs to the signed path.
    pub sign_query: bool,
    /// Whether a status call may carry an X-EXTERNAL-ID of its own in place of its flow's (section 3).
    pub fresh_external_ids: bool,
    /// `responseCode` of an unknown payment in generation 2: not published (section 7).
    pub v2_not_found: &'static str,
    pub tokens: Vec<Token>,
    pub requests_per_minute: Option<u32>,
    /// Binding sessions that Get OAuth Code opened: flow and code.
    pub sessions: Vec<(String, String)>,
    states: BTreeSet<String>,
    issued: u64,
}

/// A token of one generation.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: String,
    pub until: Instant,
    pub generation: Generation,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            client_id: "5d0c1b7ae84f4f2c9a3e6d8170b2c4f9".into(),
            client_secret: "0b7d3f5a9c1e4826bd60f7a2c8e9d134".into(),
            public_key: signature::public_key(PUBLIC_KEY_PEM).unwrap_or_default(),
            merchant: "TSTMER".into(),
            channel: "95221".into(),
            encoding: Encoding::Hex,
            sign_query: false,
            fresh_external_ids: false,
            v2_not_found: "4043601",
            tokens: Vec::new(),
            requests_per_minute: None,
            sessions: Vec::new(),
            states: BTreeSet::new(),
            issued: 0,
        }
    }
}

/// Why a call is refused: HTTP status, case and message. The service digits are those of the endpoint.
#[derive(Debug)]
struct Refusal(u16, u8, String);

type Told = Result<Answer, Refusal>;

fn missing(field: &str) -> Refusal {
    Refusal(400, 2, format!("Missing Mandatory Field {field}"))
}

fn malformed(field: &str) -> Refusal {
    Refusal(400, 1, format!("Invalid Field Format {field}"))
}

fn unauthorized(reason: &str) -> Refusal {
    Refusal(401, 0, format!("Unauthorized. {reason}"))
}

fn coded(status: u16, code: &str, message: &str) -> Answer {
    let body = Object::new()
        .text("responseCode", code)
        .text("responseMessage", message);
    Answer::json(status, body.done())
}

/// An error outside any service.
pub fn error(status: u16, message: &str) -> Answer {
    coded(status, &format!("{status:03}0000"), message)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Token,
    AuthCode,
    Binding,
    Status,
}

/// What a path and method name: service, its code, generation.
fn endpoint(call: &Call) -> Option<(Service, u8, Generation, &'static str)> {
    use Generation::{V2, V3};
    Some(match call.path.as_str() {
        "/api/v1.0/access-token/b2b" => (Service::Token, 10, V2, "POST"),
        "/api/v1.0/get-auth-code" => (Service::AuthCode, 30, V2, "GET"),
        "/api/v1.0/registration-account-binding" => (Service::Binding, 31, V2, "POST"),
        "/api/v1.0/debit/status" => (Service::Status, 36, V2, "GET"),
        V3_TOKEN_PATH => (Service::Token, 73, V3, "POST"),
        "/dd/api/v3.0/debit/status" => (Service::Status, 55, V3, "POST"),
        _ => return None,
    })
}

pub fn answer(world: &mut World, call: &Call) -> Answer {
    let Some((service, number, generation, method)) = endpoint(call) else {
        return error(404, "Resource Not Found");
    };
    if call.method != method {
        return error(405, "Method Not Allowed").with("allow", method);
    }
    let told = match service {
        Service::Token => token(world, call, generation, number),
        _ => headers(world, call, generation).and_then(|()| match (service, generation) {
            (Service::AuthCode, _) => code::get(world, call),
            (Service::Binding, _) => binding(world, call),
            (_, Generation::V2) => status_v2(world, call),
            (_, Generation::V3) => status_v3(world, call),
        }),
    };
    told.unwrap_or_else(|Refusal(status, case, message)| {
        coded(status, &format!("{status:03}{number:02}{case:02}"), &message)
    })
}

/// A header that must be there and fit.
fn header<'c>(call: &'c Call, name: &str, fits: impl Fn(&str) -> bool) -> Result<&'c str, Refusal> {
    let value = call.header(&name.to_ascii_lowercase()).ok_or_else(|| missing(name))?;
    if fits(value) { Ok(value) } else { Err(malformed(name)) }
}

fn alphanumeric(length: usize) -> impl Fn(&str) -> bool {
    move |text| text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Section 2.4: 24 to 27 characters, one of the four forms that fit, and a moment that exists.
pub fn is_timestamp(text: &str) -> bool {
    let forms = [
        "%Y-%m-%dT%H:%M:%S%:z",
        "%Y-%m-%dT%H:%M:%S%z",
        "%Y-%m-%dT%H:%M:%S%.3f%#z",
    ];
    let zulu = text.strip_suffix('Z').map(|rest| format!("{rest}+00"));
    let read = |form| DateTime::parse_from_str(zulu.as_deref().unwrap_or(text), form).is_ok();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let shapes = [
        ("9999-99-99T99:99:99+99:99", forms[0]),
        ("9999-99-99T99:99:99+9999", forms[1]),
        ("9999-99-99T99:99:99.999Z", forms[2]),
        ("9999-99-99T99:99:99.999+99", forms[2]),
    ];
    shapes.iter().any(|(wanted, form)| shape == *wanted && read(form))
}

/// Section 2.1: client id and timestamp under the merchant's private key.
fn token(world: &mut World, call: &Call, generation: Generation, number: u8) -> Told {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Grant {
        #[serde(rename = "grantType")]
        kind: String,
        #[serde(rename = "additionalInfo")]
        info: Info,
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Info {
        #[serde(rename = "merchantId")]
        merchant: String,
    }
    let now = world.now();
    let door = &mut world.doors.ayoconnect;
    if call.content_type() != "application/json" {
        return Err(malformed("Content-Type"));
    }
    let timestamp = header(call, "X-TIMESTAMP", is_timestamp)?;
    let client = header(call, "X-CLIENT-KEY", |key| key.len() == 32)?;
    let given = header(call, "X-SIGNATURE", |text| !text.is_empty())?;
    let grant: Grant = serde_json::from_slice(&call.body).map_err(|_| malformed("body"))?;
    if grant.kind != "client_credentials" {
        return Err(malformed("grantType"));
    }
    if client != door.client_id || grant.info.merchant != door.merchant {
        return Err(unauthorized("Unknown client"));
    }
    let message = format!("{client}|{timestamp}");
    if !signature::asymmetric_fits(&door.public_key, message.as_bytes(), given, door.encoding) {
        return Err(unauthorized("Invalid signature"));
    }
    door.issued += 1;
    let text = super::token_text("ayoconnect", door.issued);
    door.tokens.push(Token {
        text: text.clone(),
        until: now + TimeDelta::seconds(3_600),
        generation,
    });
    let jakarta = now.with_timezone(&chrono_tz::Asia::Jakarta);
    let body = Object::new()
        .text("responseCode", &format!("200{number:02}00"))
        .text("responseMessage", "success")
        .text("tokenType", "BearerToken")
        .text("responseTime", &jakarta.format("%Y%m%d%H%M%S").to_string())
        .text("accessToken", &text);
    // Both forms are documented.
    let body = match generation {
        Generation::V2 => body.raw("expiresIn", 3_599),
        Generation::V3 => body.text("expiresIn", "3600"),
    };
    Ok(Answer::json(200, body.done()))
}

/// Section 3: every header of a business call, then the token, then the signature.
fn headers(world: &World, call: &Call, generation: Generation) -> Result<(), Refusal> {
    let door = &world.doors.ayoconnect;
    header(call, "Accept", |text| text == "application/json")?;
    if !call.body.is_empty() {
        header(call, "Content-Type", |text| text == "application/json")?;
    }
    let bearer = header(call, "Authorization", |text| text.starts_with("Bearer "))?;
    let timestamp = header(call, "X-TIMESTAMP", is_timestamp)?;
    let signed = header(call, "X-SIGNATURE", |text| match door.encoding {
        Encoding::Hex => text.len() == 128 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        Encoding::Base64 => text.len() == 88,
    })?;
    let partner = header(call, "X-PARTNER-ID", alphanumeric(6))?;
    header(call, "X-EXTERNAL-ID", alphanumeric(32))?;
    let channel = header(call, "CHANNEL-ID", |text| {
        text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())
    })?;
    let client = call.header("x-client-key").unwrap_or(&door.client_id);
    if client.len() != 32 {
        return Err(malformed("X-CLIENT-KEY"));
    }
    if (client, partner, channel) != (&door.client_id, &door.merchant, &door.channel) {
        return Err(unauthorized("Unknown client"));
    }
    let token = &bearer["Bearer ".len()..];
    let now = world.now();
    let alive = |t: &Token| t.text == token && t.generation == generation && now < t.until;
    if !door.tokens.iter().any(alive) {
        return Err(Refusal(401, 1, "Invalid Token (B2B)".into()));
    }
    let path = match (door.sign_query, call.query.is_empty()) {
        (true, false) => format!("{}?{}", call.path, call.query),
        _ => call.path.clone(),
    };
    let line = signature::line(&call.method, &path, token, &call.body, timestamp);
    if signature::symmetric(&door.client_secret, &line, door.encoding) != signed {
        return Err(unauthorized("Invalid signature"));
    }
    Ok(())
}

fn parameter(value: Option<&String>, name: &str, fits: impl Fn(&str) -> bool) -> Result<String, Refusal> {
    let value = value.ok_or_else(|| missing(name))?;
    if fits(value) {
        Ok(value.clone())
    } else {
        Err(malformed(name))
    }
}

fn parameters(call: &Call, allowed: &[&str]) -> Result<std::collections::BTreeMap<String, String>, Refusal> {
    if call.method == "GET" && !call.body.is_empty() {
        return Err(malformed("body"));
    }
    call.parameters(allowed)
        .map_err(|why| Refusal(400, 0, format!("Bad Request: {why}")))
}

fn own_merchant(world: &World, merchant: &str) -> Result<(), Refusal> {
    if merchant == world.doors.ayoconnect.merchant {
        return Ok(());
    }
    Err(unauthorized("merchantId is not yours"))
}

/// The header names the flow that is asked about; another flow's id is a conflict (section 3).
fn flow(world: &World, call: &Call, own: &str) -> Result<(), Refusal> {
    let given = call.header("x-external-id").unwrap_or_default();
    let anothers = world.ayoconnect.payments.iter().any(|p| p.external_id == given)
        || world.ayoconnect.bindings.iter().any(|b| b.external_id == given);
    match given == own {
        true => Ok(()),
        false if world.doors.ayoconnect.fresh_external_ids && !anothers => Ok(()),
        false => Err(Refusal(
            409,
            0,
            "Conflict: X-EXTERNAL-ID is not that of the flow".into(),
        )),
    }
}

/// Section 5.1.
fn status_v2(world: &World, call: &Call) -> Told {
    let given = parameters(call, &["merchantId", "XExternalId"])?;
    let merchant = parameter(given.get("merchantId"), "merchantId", alphanumeric(6))?;
    let key = parameter(given.get("XExternalId"), "XExternalId", alphanumeric(32))?;
    own_merchant(world, &merchant)?;
    flow(world, call, &key)?;
    let now = world.now();
    let found = world
        .ayoconnect
        .payments
        .iter()
        .find(|p| p.generation == Generation::V2 && p.external_id == key && p.is_known(now));
    let Some((payment, (_, state))) = found.and_then(|p| Some((p, p.life.at(now)?))) else {
        return Ok(coded(404, world.doors.ayoconnect.v2_not_found, "Transaction Not Found"));
    };
    let info = Object::new()
        .text(
            "publicUserId",
            &format!("{merchant}-{}", &payment.reference_no[..6].to_ascii_uppercase()),
        )
        .text("remarks", &format!("invoice {}", &payment.partner_reference[24..]))
        .text("paymentResult", state.status);
    let body = Object::new()
        .text("responseCode", "2003600")
        .text("responseMessage", "success")
        .text("partnerReferenceNo", &payment.partner_reference)
        .text("referenceNo", &payment.reference_no)
        .raw("amount", money(payment, state.amount))
        .raw("additionalInfo", info.done());
    Ok(Answer::json(200, body.done()))
}

/// Section 5.2.
fn status_v3(world: &World, call: &Call) -> Told {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Asked {
        merchant_id: Option<String>,
        service_code: Option<String>,
        original_reference_no: Option<String>,
    }
    parameters(call, &[])?;
    let asked: Asked = serde_json::from_slice(&call.body).map_err(|_| malformed("body"))?;
    let merchant = parameter(asked.merchant_id.as_ref(), "merchantId", alphanumeric(6))?;
    parameter(asked.service_code.as_ref(), "serviceCode", |code| code == "54")?;
    let key = parameter(asked.original_reference_no.as_ref(), "originalReferenceNo", |key| {
        !key.is_empty()
    })?;
    own_merchant(world, &merchant)?;
    let now = world.now();
    let found = world
        .ayoconnect
        .payments
        .iter()
        .find(|p| p.generation == Generation::V3 && p.reference_no == key && p.is_known(now));
    let Some((payment, (since, state))) = found.and_then(|p| Some((p, p.life.at(now)?))) else {
        return Err(Refusal(404, 1, "Transaction Not Found".into()));
    };
    flow(world, call, &payment.external_id)?;
    let code = match state.status {
        "SUCCESS" => "00",
        "INITIATED" => "01",
        "PROCESSING" => "02",
        "PENDING_USER_VERIFICATION" => "03",
        "FAILED" => "06",
        other => other,
    };
    let body = Object::new()
        .text("responseCode", "2005500")
        .text("responseMessage", "Successful")
        .text("originalReferenceNo", &payment.reference_no)
        .text("originalPartnerReferenceNo", &payment.partner_reference)
        .text("serviceCode", "54")
        .text("latestTransactionStatus", code)
        .text("transactionStatusDesc", state.status)
        .raw("transAmount", money(payment, state.amount));
    if code != "00" {
        return Ok(Answer::json(200, body.done()));
    }
    // An optional field of the standard.
    let body = match payment.short {
        true => body,
        false => body.text("paidTime", &seconds(paid_at(payment).unwrap_or(*since))),
    };
    let info = Object::new().text("settlementStatus", state.settlement).done();
    Ok(Answer::json(200, body.raw("additionalInfo", info).done()))
}

/// When it first succeeded: a refund later does not change that.
fn paid_at(payment: &Payment) -> Option<Instant> {
    payment
        .life
        .0
        .iter()
        .find(|(_, s)| s.status == "SUCCESS")
        .map(|(at, _)| *at)
}

/// `{"value":"150000.00","currency":"IDR"}`; some without the decimals.
fn money(payment: &Payment, minor: i64) -> String {
    let text = two_decimals(minor);
    let text = if payment.short {
        text.trim_end_matches(".00")
    } else {
        &text
    };
    Object::new().text("value", text).text("currency", "IDR").done()
}

/// Section 5.3: the result of a binding, read again by the flow's id.
fn binding(world: &World, call: &Call) -> Told {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Asked {
        partner_reference_no: Option<String>,
        auth_code: Option<String>,
        merchant_id: Option<String>,
    }
    parameters(call, &[])?;
    let asked: Asked = serde_json::from_slice(&call.body).map_err(|_| malformed("body"))?;
    let reference = parameter(
        asked.partner_reference_no.as_ref(),
        "partnerReferenceNo",
        alphanumeric(32),
    )?;
    let code = parameter(asked.auth_code.as_ref(), "authCode", alphanumeric(32))?;
    let merchant = parameter(asked.merchant_id.as_ref(), "merchantId", alphanumeric(6))?;
    own_merchant(world, &merchant)?;
    let now = world.now();
    let flow = call.header("x-external-id").unwrap_or_default();
    let mut bindings = world.ayoconnect.bindings.iter();
    let found = bindings.find(|b| b.external_id == flow && b.created <= now);
    let body = Object::new()
        .text("responseCode", "2003100")
        .text("responseMessage", "success")
        .text("partnerReferenceNo", &reference);
    let Some((binding, (_, status))) = found.and_then(|b| Some((b, b.life.at(now)?))) else {
        return Ok(Answer::json(200, body.text("tokenStatus", "NOT FOUND").done()));
    };
    if binding.partner_reference != reference || binding.auth_code != code {
        return Err(Refusal(
            409,
            0,
            "Conflict: X-EXTERNAL-ID belongs to another binding".into(),
        ));
    }
    Ok(Answer::json(200, bound(body, binding, &merchant, status)))
}

fn bound(body: Object, binding: &Binding, merchant: &str, status: &str) -> String {
    let user = format!("{merchant}-{}", &binding.external_id[..6].to_ascii_uppercase());
    let info = Object::new()
        .text(
            "maskedCard",
            &format!("************{}", &binding.partner_reference[28..]),
        )
        .text("bankCode", binding.bank);
    body.text("accountToken", &binding.external_id.chars().rev().collect::<String>())
        .text("tokenStatus", status)
        .text("authCode", &binding.auth_code)
        .raw("userInfo", Object::new().text("publicUserId", &user).done())
        .raw("additionalInfo", info.done())
        .done()
}

/// Jakarta's time to the second.
fn seconds(at: Instant) -> String {
    at.with_timezone(&chrono_tz::Asia::Jakarta)
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}
