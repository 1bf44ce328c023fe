//! One2Pays, from `providers/one2pays.md`: every call signed, two offset lists, by-id lookup, one balance.

use chrono::{SecondsFormat, TimeDelta};
use hmac::{Hmac, KeyInit, Mac};

use super::{Answer, Call, Object, Twist, slice, whole_number};
use crate::day::Instant;
use crate::sandbox::json::{array, short_decimals};
use crate::sandbox::random::Random;
use crate::sandbox::world::one2pays::{Order, OrderState};
use crate::sandbox::world::{Absence, Life, World};

/// Largest page (section 3).
const MAX_LIMIT: i64 = 100;
const DEFAULT_LIMIT: i64 = 10;

/// Which clock judges the age of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureClock {
    /// The wall clock: what real clients sign with.
    Wall,
    /// The world's `now`: for published test vectors.
    World,
}

/// Keys and limits.
#[derive(Clone, Debug)]
pub struct Door {
    pub api_key: String,
    pub secret_key: String,
    pub clock: SignatureClock,
    /// Oldest and youngest accepted timestamp around the clock; the document assumes five minutes.
    pub tolerance: TimeDelta,
    /// 1000 in production (section 0).
    pub requests_per_minute: Option<u32>,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            api_key: "pk_test_EXAMPLE".into(),
            secret_key: "sk_test_EXAMPLE".into(),
            clock: SignatureClock::Wall,
            tolerance: TimeDelta::minutes(5),
            requests_per_minute: Some(1000),
        }
    }
}

/// `sha256=` and the lower-case hex HMAC of `timestamp.body` (section 2).
pub fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new(); // HMAC takes keys of any length
    };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// `{ "success": false, "error": { "code", "message" } }` (section 7).
pub fn error(status: u16, code: &str, message: &str) -> Answer {
    let inner = Object::new().text("code", code).text("message", message).done();
    Answer::json(status, Object::new().raw("success", false).raw("error", inner).done())
}

/// The documented code of a status.
pub fn code_of(status: u16) -> &'static str {
    match status {
        400 => "VALIDATION_ERROR",
        401 => "INVALID_CREDENTIALS",
        403 => "FORBIDDEN",
        404 => "RESOURCE_NOT_FOUND",
        405 => "METHOD_NOT_ALLOWED",
        409 => "DUPLICATE_REFERENCE_ID",
        429 => "RATE_LIMIT_EXCEEDED",
        _ => "INTERNAL_ERROR",
    }
}

/// A 429 with its details in the body (section 7).
pub fn rate_limited(limit: u32, now: Instant, retry_after_s: i64) -> Answer {
    let reset = now + TimeDelta::seconds(retry_after_s);
    let metadata = Object::new()
        .raw("limit", limit)
        .raw("remaining", 0)
        .text("resetAt", &millis(reset))
        .raw("retryAfter", retry_after_s);
    let inner = Object::new()
        .text("code", "RATE_LIMIT_EXCEEDED")
        .text("message", "Too many requests")
        .raw("metadata", metadata.done());
    Answer::json(
        429,
        Object::new().raw("success", false).raw("error", inner.done()).done(),
    )
}

pub fn answer(world: &mut World, call: &Call, twist: &Twist) -> Answer {
    let refuse = |status: u16, message: &str| error(status, code_of(status), message);
    let Some(rest) = call.path.strip_prefix("/api/v1/") else {
        return refuse(404, "Route not found");
    };
    if let Err(message) = signed(world, call) {
        return refuse(401, message);
    }
    let (resource, id) = rest.split_once('/').map_or((rest, None), |(r, id)| (r, Some(id)));
    let known = matches!((resource, id), ("payments" | "withdraws", _) | ("balance", None));
    if !known || id.is_some_and(|id| id.is_empty() || id.contains('/')) {
        return refuse(404, "Route not found");
    }
    match (call.method.as_str(), resource, id) {
        ("GET", _, _) => {}
        ("POST", "payments" | "withdraws", None) => return refuse(403, "Integration may not write"),
        _ => return refuse(405, "Method not allowed").with("allow", "GET"),
    }
    let now = world.now();
    let orders = if resource == "payments" {
        &world.one2pays.payments
    } else {
        &world.one2pays.withdraws
    };
    match (resource, id) {
        ("balance", _) => balance(world, call),
        (_, None) => list(orders, call, now, resource == "payments", twist),
        (_, Some(id)) => match (call.parameters(&[]), super::percent_decoded(id)) {
            (Err(why), _) => refuse(400, &why),
            (Ok(_), id) => match orders.iter().find(|o| Some(&o.id) == id.as_ref() && o.is_listed(now)) {
                Some(order) => success(&row(order, now, resource == "payments")),
                None => refuse(404, "No such resource"),
            },
        },
    }
}

/// Key, timestamp and signature of a call.
fn signed(world: &World, call: &Call) -> Result<(), &'static str> {
    let door = &world.doors.one2pays;
    let key = call.header("x-api-key").ok_or("X-API-Key is missing")?;
    let timestamp = call.header("x-timestamp").ok_or("X-Timestamp is missing")?;
    let given = call.header("x-signature").ok_or("X-Signature is missing")?;
    let sent_ms = whole_number(timestamp).ok_or("Invalid signature or expired timestamp")?;
    let now = match door.clock {
        SignatureClock::Wall => crate::sandbox::wire::wall_clock(),
        SignatureClock::World => world.now(),
    };
    let skew = (now.timestamp_millis() - sent_ms).abs();
    if skew > door.tolerance.num_milliseconds() || given != signature(&door.secret_key, timestamp, &call.body) {
        return Err("Invalid signature or expired timestamp");
    }
    if key != door.api_key {
        return Err("Invalid API key");
    }
    if !call.body.is_empty() && call.content_type() != "application/json" {
        return Err("Content type not supported");
    }
    Ok(())
}

fn success(data: &str) -> Answer {
    Answer::json(200, Object::new().raw("success", true).raw("data", data).done())
}

fn list(orders: &[Order], call: &Call, now: Instant, payments: bool, twist: &Twist) -> Answer {
    let given = match call.parameters(&["page", "limit"]) {
        Ok(given) => given,
        Err(why) => return error(400, "VALIDATION_ERROR", &why),
    };
    let number = |name: &str, default: i64, most: i64| match given.get(name) {
        None => Some(default),
        Some(text) => whole_number(text).filter(|n| (1..=most).contains(n)),
    };
    let (Some(page), Some(limit)) = (number("page", 1, i64::MAX), number("limit", DEFAULT_LIMIT, MAX_LIMIT)) else {
        return error(
            400,
            "VALIDATION_ERROR",
            "page must be at least 1 and limit between 1 and 100",
        );
    };
    let asked = if twist.ignore_page { 1 } else { page };
    let listed: Vec<&Order> = orders.iter().filter(|o| o.is_listed(now)).collect();
    let from = usize::try_from((asked - 1).saturating_mul(limit)).unwrap_or(usize::MAX / 2);
    let rows = slice(&listed, from, limit.unsigned_abs() as usize);
    let rows: Vec<String> = rows.iter().map(|order| row(order, now, payments)).collect();
    let data = Object::new()
        .raw("data", array(&rows))
        .raw("total", listed.len())
        .raw("page", asked)
        .raw("limit", limit)
        .raw("totalPages", listed.len().div_ceil(limit.unsigned_abs() as usize));
    success(&data.done())
}

fn row(order: &Order, now: Instant, payment: bool) -> String {
    let Some((_, state)) = order.life.at(now) else {
        return Object::new().text("id", &order.id).done();
    };
    let base = Object::new()
        .text("id", &order.id)
        .text("referenceId", &order.reference)
        .text("amount", &format!("{}.00", state.amount))
        .text("currency", "THB")
        .text("status", state.status);
    if !payment {
        return base.text("createdAt", &millis(order.created)).done();
    }
    base.text("paymentMethod", order.method)
        .text("description", &format!("Payment for order {}", order.reference))
        .raw("metadata", Object::new().text("order_id", &order.reference).done())
        .raw("nextAction", "null")
        .raw("clientSecret", "null")
        .text("createdAt", &millis(order.created))
        .text("expiresAt", &millis(order.created + TimeDelta::hours(1)))
        .done()
}

fn balance(world: &World, call: &Call) -> Answer {
    if let Err(why) = call.parameters(&[]) {
        return error(400, "VALIDATION_ERROR", &why);
    }
    let (wallet, settling) = world.one2pays.balance(world.now());
    let data = Object::new()
        .raw("walletBalance", short_decimals(wallet))
        .raw("settlementBalance", short_decimals(settling))
        .text("currency", "THB")
        .text("status", "active");
    success(&data.done())
}

/// New rows at the front (the newest), and the newest ones taken away.
pub fn drift(world: &mut World, call: &Call, insert: u32, delete: u32) {
    let now = world.now();
    let mut random = Random::part(world.one2pays.payments.len() as u64, "one2pays drift");
    let one2pays = &mut world.one2pays;
    let payments = call.path.ends_with("/payments");
    let orders = if payments {
        &mut one2pays.payments
    } else {
        &mut one2pays.withdraws
    };
    let listed = orders.iter_mut().filter(|o| o.is_listed(now)).take(delete as usize);
    listed.for_each(|o| o.absences.push(Absence { from: now, until: None }));
    for _ in 0..insert {
        let life = Life::new(
            now,
            OrderState {
                status: "processing",
                amount: 12_300,
            },
        );
        let reference = format!("DRIFT-{}", random.hex16());
        if payments {
            one2pays.payment(&mut random, &reference, life);
        } else {
            one2pays.withdraw(&mut random, &reference, life);
        }
    }
    one2pays.sort();
}

fn millis(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
