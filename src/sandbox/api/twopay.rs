//! TwoPay, from `providers/twopay.md`: a token and a static key on every call, status of one payin or payout by its
//! `uniqueKey`, two balances. Success and failure are told by `code` in the body, 200 or 401 and nothing else.

use chrono::TimeDelta;

use super::{Answer, Call, Object, percent_decoded};
use crate::day::Instant;
use crate::sandbox::json::short_decimals;
use crate::sandbox::world::World;
use crate::sandbox::world::twopay::{Method, Order, Wallet};

/// Credentials, tokens and what the document leaves open.
#[derive(Clone, Debug)]
pub struct Door {
    pub client_id: String,
    pub client_secret: String,
    /// `x-api-key`, e-mailed at onboarding.
    pub api_key: String,
    /// In front of every path; `co` is the country (section 1).
    pub prefix: String,
    /// Seconds a token lives; not published.
    pub token_seconds: i64,
    /// Which HTTP status accompanies `code` 401 is not documented; 200 is the one response listed (section 7).
    pub failure_status: u16,
    /// Paths of the two balances; None: there is none, and the path is a lookup of a key like any other.
    pub payin_balance: Option<String>,
    pub payout_balance: Option<String>,
    /// Token and end of its life.
    pub tokens: Vec<(String, Instant)>,
    pub requests_per_minute: Option<u32>,
    issued: u64,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            client_id: "54".into(),
            client_secret: "twopay-sandbox-secret".into(),
            api_key: "twopay-sandbox-x-api-key".into(),
            prefix: "/co/v1".into(),
            token_seconds: 7_200,
            failure_status: 200,
            payin_balance: Some("/co/v1/payment/balance".into()),
            payout_balance: Some("/co/v1/payout/balance".into()),
            tokens: Vec::new(),
            requests_per_minute: None,
            issued: 0,
        }
    }
}

/// The message of a key nobody knows: what the merchant agrees on with TwoPay for `not_found_patterns`.
pub const UNKNOWN_KEY: &str = "uniqueKey does not exist";

/// `{"code":401,"message":…,"data":null}`: the one failure there is.
pub fn error(status: u16, message: &str) -> Answer {
    let body = Object::new()
        .raw("code", 401)
        .text("message", message)
        .raw("data", "null");
    Answer::json(status, body.done())
}

fn success(data: &str) -> Answer {
    let body = Object::new()
        .raw("code", 200)
        .text("message", "SUCCESS")
        .raw("data", data);
    Answer::json(200, body.done())
}

pub fn answer(world: &mut World, call: &Call) -> Answer {
    let status = world.doors.twopay.failure_status;
    let told = match call.path.strip_prefix(world.doors.twopay.prefix.as_str()) {
        Some("/oauth2/token") => token(world, call),
        Some(rest) => business(world, call, rest),
        None => Err("path is not known"),
    };
    told.unwrap_or_else(|message| error(status, message))
}

/// Section 2: a JSON body of two texts, no `grant_type`.
fn token(world: &mut World, call: &Call) -> Result<Answer, &'static str> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        client_id: String,
        client_secret: String,
    }
    if call.method != "POST" {
        return Err("request method is not supported");
    }
    if call.content_type() != "application/json" || !call.query.is_empty() {
        return Err("content type is not supported");
    }
    let pair: Pair = serde_json::from_slice(&call.body).map_err(|_| "client_id and client_secret must be texts")?;
    let now = world.now();
    let door = &mut world.doors.twopay;
    if (&pair.client_id, &pair.client_secret) != (&door.client_id, &door.client_secret) {
        return Err("client authentication failed");
    }
    door.issued += 1;
    let token = super::token_text("twopay", door.issued);
    door.tokens
        .push((token.clone(), now + TimeDelta::seconds(door.token_seconds)));
    let data = Object::new()
        .text("access_token", &token)
        .raw("expires_in", door.token_seconds)
        .text("token_type", "Bearer");
    Ok(success(&data.done()))
}

fn business(world: &World, call: &Call, rest: &str) -> Result<Answer, &'static str> {
    authorized(world, call)?;
    if call.method != "GET" {
        return Err("request method is not supported"); // creating is never the worker's
    }
    if !call.query.is_empty() || !call.body.is_empty() {
        return Err("no parameters are expected");
    }
    let door = &world.doors.twopay;
    for (path, wallet) in [
        (&door.payin_balance, Wallet::Payin),
        (&door.payout_balance, Wallet::Payout),
    ] {
        if path.as_deref() == Some(call.path.as_str()) {
            let balance = short_decimals(world.twopay.balance(wallet, world.now()));
            // The document expects a text or a number; each wallet has one of the two.
            let data = match wallet {
                Wallet::Payin => Object::new().text("balance", &balance),
                Wallet::Payout => Object::new().raw("balance", &balance),
            };
            return Ok(success(&data.done()));
        }
    }
    let (wallet, key) = match (rest.strip_prefix("/payment/"), rest.strip_prefix("/payout/")) {
        (Some(key), _) => (Wallet::Payin, key),
        (_, Some(key)) => (Wallet::Payout, key),
        _ => return Err("path is not known"),
    };
    let key = percent_decoded(key).filter(|decoded| !decoded.is_empty() && !key.contains('/'));
    let key = key.ok_or("uniqueKey is not well encoded")?;
    let now = world.now();
    let mut orders = world.twopay.orders.iter();
    let order = orders.find(|o| o.wallet == wallet && o.key == key && o.is_known(now));
    order.map(|order| success(&record(order, now))).ok_or(UNKNOWN_KEY)
}

/// Both headers, always (section 2).
fn authorized(world: &World, call: &Call) -> Result<(), &'static str> {
    let door = &world.doors.twopay;
    let header = call.header("authorization").ok_or("Authorization is missing")?;
    let token = header.strip_prefix("Bearer ").ok_or("access_token is invalid")?;
    let now = world.now();
    if !door
        .tokens
        .iter()
        .any(|(issued, until)| issued == token && now < *until)
    {
        return Err("access_token is invalid or expired");
    }
    match call.header("x-api-key") {
        None => Err("x-api-key is missing"),
        Some(key) if key != door.api_key => Err("x-api-key is invalid"),
        Some(_) => Ok(()),
    }
}

/// The person behind an order, made up.
struct Person {
    name: String,
    phone: String,
    email: String,
    document: String,
    address: String,
}

impl Person {
    fn of(order: &Order) -> Self {
        const NAMES: [&str; 4] = ["Ana Gómez", "Luis Rojas", "Marta Peña", "José Muñoz"];
        let n = order.person;
        Self {
            name: NAMES[(n % 4) as usize].to_owned(),
            phone: format!("3{:09}", n % 1_000_000_000),
            email: format!("payer{}@example.com", n % 10_000),
            document: format!("{:010}", 1_000_000_000 + n % 100_000_000),
            address: format!("Calle {} {}-{}", n % 90 + 1, n % 40 + 1, n % 70 + 1),
        }
    }
}

fn record(order: &Order, now: Instant) -> String {
    let Some((_, state)) = order.life.at(now) else {
        return Object::new().text("uniqueKey", &order.key).done();
    };
    let (amount, person) = (short_decimals(state.amount), Person::of(order));
    let (message, code) = match state.status {
        "FAILED" => ("Rechazado por el banco", "R03"),
        _ => ("", ""),
    };
    match order.wallet {
        Wallet::Payout => Object::new()
            .text("status", state.status)
            .text("uniqueKey", &order.key)
            .text("country", "CO")
            .text("name", &person.name)
            .text("phone", &person.phone)
            .text("email", &person.email)
            .text("document", &person.document)
            .text("documentType", "CC")
            .text("bankCode", "1007")
            .text("bankType", "1")
            .text("bankAccount", &format!("{:011}", order.person % 100_000_000_000))
            .text("amount", &amount)
            .text("remarks", &format!("invoice {}", order.person % 1_000))
            .text("address", &person.address)
            .text("errorMessage", message)
            .text("errorCode", code)
            .done(),
        Wallet::Payin => payin(order, state.status, &amount, &person)
            .text("errorMessage", message)
            .text("errorCode", code)
            .done(),
    }
}

/// Section 4.2: PSE payins name a bank and a redirect, cash payins a chain, an agreement and a voucher.
fn payin(order: &Order, status: &str, amount: &str, person: &Person) -> Object {
    let (bank, cash, url, agreement, voucher) = match order.method {
        Method::Pse => (
            "1022",
            "",
            format!("https://pse.example/redirect/{:x}", order.person),
            "",
            String::new(),
        ),
        Method::Cash(chain) => (
            "",
            chain,
            String::new(),
            "110829",
            format!("{:012}", order.person % 1_000_000_000_000),
        ),
    };
    Object::new()
        .text("uniqueKey", &order.key)
        .text("status", status)
        .text("bankCode", bank)
        .text("name", &person.name)
        .text("phone", &person.phone)
        .text("email", &person.email)
        .text("document", &person.document)
        .text("documentType", "CC")
        .text("amount", amount)
        .text("address", &person.address)
        .text("remarks", &format!("order {}", order.person % 1_000))
        .text("encryptStr", &format!("{:032x}", u128::from(order.person)))
        .text("cashCode", cash)
        .text("pseUrl", &url)
        .text("numeroConvenio", agreement)
        .text("referenceNumber", &voucher)
}
