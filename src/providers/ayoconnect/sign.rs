//! Ayoconnect's signatures (section 2): RSA over client id and time for the token, HMAC-SHA512 over method, path, token, body
//! hash and time for everything else; and the lengths of the headers (section 3), held before anything is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::FixedOffset;
use hmac::{Hmac, KeyInit, Mac};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256, Sha512};

use super::settings::{Encoding, Generation, Settings, TimestampStyle};
use crate::day::Instant;
use crate::providers::setup::{key, set_header};
use crate::providers::{Keys, Method, Request, Session};

/// Jakarta, all year.
const OFFSET_SECONDS: i32 = 7 * 3600;

/// X-TIMESTAMP in the configured form; each has 24 to 27 characters.
pub(super) fn timestamp(style: TimestampStyle, now: Instant) -> String {
    let here = match FixedOffset::east_opt(OFFSET_SECONDS) {
        Some(offset) => now.with_timezone(&offset),
        None => now.fixed_offset(),
    };
    match style {
        TimestampStyle::SecondsOffset => here.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        TimestampStyle::MillisUtc => now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        TimestampStyle::SecondsCompactOffset => here.format("%Y-%m-%dT%H:%M:%S%z").to_string(),
        TimestampStyle::MillisShortOffset => here.format("%Y-%m-%dT%H:%M:%S%.3f+07").to_string(),
    }
}

/// X-EXTERNAL-ID, `state`, codes and references: exactly 32 letters and digits.
pub(super) fn is_external_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn encoded(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => BASE64.encode(bytes),
    }
}

// -- the token's signature ----------------------------------------------------------------------------------------------

/// A key from PEM, PKCS#8 or PKCS#1; a line end may stand as `\n` in an environment variable.
fn rsa_key(pem: &str) -> Result<RsaKeyPair, &'static str> {
    let pem = if pem.contains("\\n") {
        pem.replace("\\n", "\n")
    } else {
        pem.to_owned()
    };
    let refused = "must be an RSA key of 2048 to 4096 bits";
    if let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()) {
        return RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| refused);
    }
    if let Ok(der) = PrivatePkcs1KeyDer::from_pem_slice(pem.as_bytes()) {
        return RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| refused);
    }
    Err("is no private key in PEM form (`-----BEGIN PRIVATE KEY-----`, not encrypted)")
}

/// RSASSA-PKCS1-v1_5 over `client_id|timestamp`; None where the key cannot sign.
pub(super) fn asymmetric(pem: &str, client_id: &str, timestamp: &str, encoding: Encoding) -> Option<String> {
    let key = rsa_key(pem).ok()?;
    let mut signature = vec![0; key.public().modulus_len()];
    let message = format!("{client_id}|{timestamp}");
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut signature,
    )
    .ok()?;
    Some(encoded(encoding, &signature))
}

// -- the signature of everything else -----------------------------------------------------------------------------------

/// What is signed: the document's line, with the minified body's hash.
pub(super) struct Signed<'s> {
    pub method: Method,
    pub path: &'s str,
    pub token: &'s str,
    pub body: &'s [u8],
    pub timestamp: &'s str,
}

pub(super) fn symmetric(secret: &str, signed: &Signed<'_>, encoding: Encoding) -> String {
    let method = match signed.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    };
    let body = body_hash(signed.body);
    let line = format!("{method}:{}:{}:{body}:{}", signed.path, signed.token, signed.timestamp);
    // HMAC takes keys of any length; the type cannot say so.
    let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(line.as_bytes());
    encoded(encoding, &mac.finalize().into_bytes())
}

/// SHA-256 of the minified body in lower-case hex.
fn body_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(minify(body)))
}

/// Drops insignificant blanks; order of keys and contents of texts stay.
fn minify(body: &[u8]) -> Vec<u8> {
    let (mut in_text, mut escaped) = (false, false);
    body.iter()
        .copied()
        .filter(|byte| {
            if in_text {
                in_text = escaped || *byte != b'"';
                escaped = !escaped && *byte == b'\\';
                return true;
            }
            in_text = *byte == b'"';
            !byte.is_ascii_whitespace()
        })
        .collect()
}

/// Every header of a business call (section 3), right before an attempt.
pub(super) fn sign(settings: &Settings, request: &mut Request, session: Option<&Session>, keys: &Keys, now: Instant) {
    let timestamp = timestamp(settings.timestamp, now);
    let token = session.map_or("", |session| session.token.expose_secret());
    let path = signed_path(settings, request);
    let signed = Signed {
        method: request.method,
        path: &path,
        token,
        body: &request.body,
        timestamp: &timestamp,
    };
    let signature = symmetric(key(keys, "client_secret"), &signed, settings.encoding);
    if !request.body.is_empty() {
        set_header(request, "Content-Type", "application/json".into());
    }
    // An id named in the request is the flow's own and stays; else every attempt gets a new one.
    if !request.headers.iter().any(|(name, _)| *name == "X-EXTERNAL-ID") {
        let fresh = fresh_id(request, now);
        set_header(request, "X-EXTERNAL-ID", fresh);
    }
    set_header(request, "Authorization", format!("Bearer {token}"));
    set_header(request, "X-TIMESTAMP", timestamp);
    set_header(request, "X-SIGNATURE", signature);
    set_header(request, "X-PARTNER-ID", settings.merchant_id.clone());
    set_header(request, "CHANNEL-ID", settings.channel_id.clone());
    // Not among the headers of generation 3.
    if settings.generation == Generation::V2 {
        set_header(request, "X-CLIENT-KEY", settings.client_id.value(keys).to_owned());
    }
}

/// 32 letters and digits that no other request and no other instant gives.
fn fresh_id(request: &Request, now: Instant) -> String {
    let mut hash = Sha256::new();
    for part in [request.path.as_bytes(), request.query.as_bytes(), &request.body] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.update(now.timestamp_micros().to_be_bytes());
    hex::encode(&hash.finalize()[..16])
}

fn signed_path(settings: &Settings, request: &Request) -> String {
    let path = match settings.signing.get(&request.path) {
        Some(path) => path.clone(),
        None => format!("{}{}", settings.base_path, request.path),
    };
    if settings.sign_query && !request.query.is_empty() {
        format!("{path}?{}", request.query)
    } else {
        path
    }
}

/// What needs the keys themselves: their lengths and forms, at start.
pub(super) fn check_keys(settings: &Settings, keys: &Keys) -> Result<(), String> {
    let client_id = settings.client_id.value(keys);
    if client_id.len() != 32 || !client_id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("`client_id` must be exactly 32 characters without blanks (X-CLIENT-KEY)".into());
    }
    if key(keys, "client_secret").is_empty() {
        return Err("`client_secret` is empty".into());
    }
    rsa_key(key(keys, "private_key"))
        .map(|_| ())
        .map_err(|why| format!("`private_key` {why}"))
}
