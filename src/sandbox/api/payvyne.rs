//! PayVyne's reconciliation API, from `providers/payvyne.md`: OAuth client credentials, sweeps by filter, each sweep's
//! transactions, keyset cursors; merchant and partner form.

use chrono::{DateTime, SecondsFormat, TimeDelta};

use super::filter::{self, Condition};
use super::{Answer, Call, Object, Twist, percent_decoded, whole_number};
use crate::day::Instant;
use crate::sandbox::json::{array, base64, from_base64, two_decimals};
use crate::sandbox::random::Random;
use crate::sandbox::world::payvyne::{Account, Kind, Movement, Sweep};
use crate::sandbox::world::{Absence, World, listed};

const TOKEN_SECONDS: i64 = 3_599;
const DEFAULT_SIZE: usize = 50;

/// Credentials, tokens and the two settings the sources disagree on.
#[derive(Clone, Debug)]
pub struct Door {
    pub client_id: String,
    pub client_secret: String,
    pub merchant: String,
    /// `reconciliation` for the right kind of key.
    pub scope: String,
    /// Variant A; B is `/api/v1/reconciliation`. The other one answers 404.
    pub recon_prefix: String,
    pub token_path: String,
    /// Larger sizes are cut to this; the real maximum is not documented.
    pub max_size: usize,
    /// Token and end of its life.
    pub tokens: Vec<(String, Instant)>,
    pub requests_per_minute: Option<u32>,
    issued: u64,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            client_id: "recon-sandbox".into(),
            client_secret: "payvyne sandbox & secret".into(),
            merchant: "7c1e09ab44d2f310".into(),
            scope: "reconciliation".into(),
            recon_prefix: "/api/reconciliation/v1".into(),
            token_path: "/api/oauth/token".into(),
            max_size: 100,
            tokens: Vec::new(),
            requests_per_minute: None,
            issued: 0,
        }
    }
}

/// No error body is documented for the reconciliation API; this is the shape of RFC 6749 for all of them.
pub fn error(status: u16, description: &str) -> Answer {
    let word = match status {
        401 => "invalid_token",
        403 => "insufficient_scope",
        429 => "too_many_requests",
        500.. => "server_error",
        _ => "invalid_request",
    };
    refused(status, word, description)
}

fn refused(status: u16, word: &str, description: &str) -> Answer {
    Answer::json(
        status,
        Object::new()
            .text("error", word)
            .text("error_description", description)
            .done(),
    )
}

pub fn answer(world: &mut World, call: &Call, twist: &Twist) -> Answer {
    if call.path == world.doors.payvyne.token_path {
        return match call.method.as_str() {
            "POST" => token(world, call),
            _ => error(405, "Method not allowed").with("allow", "POST"),
        };
    }
    let Some(target) = target(world, call) else {
        return error(404, "No such resource");
    };
    if call.method != "GET" {
        return error(405, "Method not allowed").with("allow", "GET");
    }
    if let Err(refusal) = authorized(world, call) {
        return refusal;
    }
    let result = match &target {
        Target { sweep: None, .. } => sweeps(world, call, target.partner, twist),
        Target { sweep: Some(id), .. } => transactions(world, call, id, twist),
    };
    result.unwrap_or_else(|refusal| refusal)
}

/// What a path names.
struct Target {
    partner: bool,
    sweep: Option<String>,
}

fn target(world: &World, call: &Call) -> Option<Target> {
    let rest = call.path.strip_prefix(world.doors.payvyne.recon_prefix.as_str())?;
    let (partner, rest) = match rest.strip_prefix("/merchant/sweeps") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix("/partner/sweeps")?),
    };
    if rest.is_empty() {
        return Some(Target { partner, sweep: None });
    }
    let id = rest.strip_prefix('/')?.strip_suffix("/transactions")?;
    let sweep = Some(percent_decoded(id).filter(|id| !id.is_empty() && !id.contains('/'))?);
    Some(Target { partner, sweep })
}

/// Client credentials in the form body (section 2); errors as RFC 6749 section 5.2.
fn token(world: &mut World, call: &Call) -> Answer {
    if call.content_type() != "application/x-www-form-urlencoded" {
        return refused(400, "invalid_request", "a form body is wanted");
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&call.body).into_owned().collect();
    let field = |name: &str| {
        let mut values = form.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        values.next().filter(|_| values.next().is_none())
    };
    let (Some(grant), Some(id), Some(secret)) = (field("grant_type"), field("client_id"), field("client_secret"))
    else {
        return refused(
            400,
            "invalid_request",
            "grant_type, client_id and client_secret are required once each",
        );
    };
    if grant != "client_credentials" {
        return refused(400, "unsupported_grant_type", "only client_credentials");
    }
    let now = world.now();
    let door = &mut world.doors.payvyne;
    if id != door.client_id || secret != door.client_secret {
        return refused(401, "invalid_client", "Bad client credentials");
    }
    door.issued += 1;
    let mut random = Random::part(door.issued, "payvyne token");
    let token = format!(
        "eyJhbGciOiJSUzI1NiJ9.{}{}.{}",
        random.hex16(),
        random.hex16(),
        random.hex16()
    );
    door.tokens.retain(|(_, until)| now < *until);
    door.tokens
        .push((token.clone(), now + TimeDelta::seconds(TOKEN_SECONDS)));
    let body = Object::new()
        .text("access_token", &token)
        .text("scope", &door.scope)
        .text("iss", "https://uat.app.payvyne.com")
        .text("merchant", &door.merchant)
        .raw("mfa_required", false)
        .text("token_type", "Bearer")
        .raw("expires_in", TOKEN_SECONDS)
        .raw("iat", now.timestamp_millis())
        .text("jti", &random.hex16());
    Answer::json(200, body.done()).with("cache-control", "no-store")
}

fn authorized(world: &World, call: &Call) -> Result<(), Answer> {
    let now = world.now();
    let door = &world.doors.payvyne;
    let token = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let known = token.is_some_and(|token| door.tokens.iter().any(|(t, until)| t == token && now < *until));
    match (known, door.scope.split(' ').any(|s| s == "reconciliation")) {
        (false, _) => Err(error(401, "The access token is missing, unknown or expired")
            .with("www-authenticate", "Bearer error=\"invalid_token\"")),
        (true, false) => Err(error(403, "This key pair has another scope")),
        (true, true) => Ok(()),
    }
}

/// Where a page begins and how long it may be.
struct Place {
    size: usize,
    /// Time and id of the last element of the page before.
    after: Option<(Instant, String)>,
    sent: Option<String>,
}

fn place(
    world: &World,
    call: &Call,
    allowed: &[&str],
    about: &str,
    twist: &Twist,
) -> Result<(Place, Option<String>), Answer> {
    let bad = |why: &str| error(400, why);
    let mut given = call.parameters(allowed).map_err(|why| bad(&why))?;
    let size = match given.get("size") {
        None => DEFAULT_SIZE,
        Some(text) => match whole_number(text) {
            Some(n) if n > 0 => usize::try_from(n)
                .unwrap_or(usize::MAX)
                .min(world.doors.payvyne.max_size),
            _ => return Err(bad("size is not a positive whole number")),
        },
    };
    let query = given.remove("query");
    let sent = given.remove("cursor");
    let after = match &sent {
        None => None,
        Some(cursor) => {
            Some(read_cursor(cursor, about, query.as_deref()).ok_or_else(|| bad("the cursor is not valid here"))?)
        }
    };
    let after = after.filter(|_| !twist.ignore_page);
    Ok((Place { size, after, sent }, query))
}

/// `{type, cursorDir, createdAt, id}` of the last element (section 7), bound to the filter it was made for.
fn write_cursor(about: &str, query: Option<&str>, at: Instant, id: &str) -> String {
    let text = Object::new()
        .text("type", about)
        .text("cursorDir", "NEXT")
        .raw("createdAt", at.timestamp_millis())
        .text("id", id)
        .raw("filter", crate::providers::identity(query.unwrap_or_default()));
    base64(text.done().as_bytes())
}

fn read_cursor(text: &str, about: &str, query: Option<&str>) -> Option<(Instant, String)> {
    let value: serde_json::Value = serde_json::from_slice(&from_base64(text)?).ok()?;
    let same = value["type"] == about && value["filter"] == crate::providers::identity(query.unwrap_or_default());
    let at = DateTime::from_timestamp_millis(value["createdAt"].as_i64()?)?;
    same.then(|| Some((at, value["id"].as_str()?.to_owned())))?
}

/// The envelope over rows in ascending order of (time, id).
fn envelope<T>(
    place: &Place,
    about: &str,
    query: Option<&str>,
    twist: &Twist,
    rows: &[(Instant, &str, T)],
    render: impl Fn(&T) -> String,
) -> Answer {
    let fresh = |(at, id, _): &&(Instant, &str, T)| match &place.after {
        None => true,
        Some((last, last_id)) => (*at, *id) > (*last, last_id.as_str()),
    };
    let left: Vec<_> = rows.iter().filter(fresh).collect();
    let page = &left[..left.len().min(place.size)];
    let elements: Vec<String> = page.iter().map(|(_, _, row)| render(row)).collect();
    let body = Object::new().raw("elements", array(&elements));
    let next = match page.last() {
        Some((at, id, _)) if left.len() > page.len() => Some(write_cursor(about, query, *at, id)),
        _ => None,
    };
    let next = match (&place.sent, twist.cursor_loop) {
        (Some(sent), true) => Some(sent.clone()),
        _ => next,
    };
    let body = match next {
        Some(cursor) => body.text("nextPage", &cursor),
        None => body,
    };
    Answer::json(200, body.raw("size", elements.len()).done())
}

fn sweeps(world: &World, call: &Call, partner: bool, twist: &Twist) -> Result<Answer, Answer> {
    let (place, query) = place(world, call, &["size", "query", "cursor"], "SWP", twist)?;
    let terms: &[&str] = match partner {
        true => &["createdAt", "settlementAccountIdentifier", "merchantId"],
        false => &["createdAt", "settlementAccountIdentifier"],
    };
    let conditions = match &query {
        None => Vec::new(),
        Some(text) => filter::parse(text, terms).map_err(|why| error(400, &why))?,
    };
    if conditions
        .iter()
        .any(|c| c.term == "createdAt" && c.midnight().is_none())
    {
        return Err(error(400, "createdAt wants a date like '2025-03-01'"));
    }
    let wanted = |s: &&Sweep| conditions.iter().all(|c| holds(world, s, c));
    let rows: Vec<(Instant, &str, &Sweep)> = world
        .payvyne
        .listed_sweeps(world.now())
        .filter(wanted)
        .map(|s| (s.created_at, s.id.as_str(), s))
        .collect();
    let render = |s: &&Sweep| sweep_row(world, s, partner);
    Ok(envelope(&place, "SWP", query.as_deref(), twist, &rows, render))
}

fn holds(world: &World, sweep: &Sweep, c: &Condition) -> bool {
    match c.term.as_str() {
        "createdAt" => c.midnight().is_some_and(|at| c.operator.holds(&sweep.created_at, &at)),
        "merchantId" => c.operator.holds(&world.doors.payvyne.merchant, &c.value),
        _ => c
            .operator
            .holds(&world.payvyne.accounts[sweep.account].identifier, &c.value.as_str()),
    }
}

fn money(account: &Account, minor: i64) -> String {
    let amount = two_decimals(minor);
    Object::new()
        .raw("amount", amount)
        .text("currency", account.currency)
        .done()
}

fn sweep_row(world: &World, sweep: &Sweep, partner: bool) -> String {
    let account = &world.payvyne.accounts[sweep.account];
    let summary = Kind::ALL.iter().fold(Object::new(), |o, kind| {
        let (value, count) = sweep.summary.get(kind).copied().unwrap_or_default();
        let line = Object::new().raw("value", money(account, value)).raw("count", count);
        o.raw(kind.key(), line.done())
    });
    let identifier = Object::new().text("identifier", account.identifier).done();
    let row = Object::new()
        .text("id", &sweep.id)
        .text(
            "createdAt",
            &sweep.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        )
        .raw("settlementAccount", identifier)
        .raw("openingBalance", money(account, sweep.opening))
        .raw("closingBalance", money(account, sweep.closing))
        .raw("reservedBalance", money(account, sweep.reserved))
        .raw("transferredAmount", money(account, sweep.transferred))
        .raw("summary", summary.done());
    match partner {
        true => row
            .raw(
                "merchant",
                Object::new().text("id", &world.doors.payvyne.merchant).done(),
            )
            .done(),
        false => row.done(),
    }
}

fn transactions(world: &World, call: &Call, id: &str, twist: &Twist) -> Result<Answer, Answer> {
    let about = format!("TX-{id}");
    let (place, _) = place(world, call, &["size", "cursor"], &about, twist)?;
    let now = world.now();
    let sweep = world.payvyne.listed_sweeps(now).find(|s| s.id == id);
    let sweep = sweep.ok_or_else(|| error(404, "No such sweep"))?;
    let account = &world.payvyne.accounts[sweep.account];
    let members = sweep.members.iter().map(|i| &world.payvyne.movements[*i]);
    let mut rows: Vec<(Instant, &str, &Movement)> = members
        .filter(|m| listed(&m.absences, now))
        .map(|m| (m.created, m.id.as_str(), m))
        .collect();
    rows.sort_by_key(|(at, id, _)| (*at, *id));
    let render = |m: &&Movement| movement_row(account, m);
    Ok(envelope(&place, &about, None, twist, &rows, render))
}

fn movement_row(account: &Account, m: &Movement) -> String {
    let related = match &m.related {
        Some(id) => Object::new().text("id", id).done(),
        None => "{}".into(),
    };
    let seconds = |at: Instant| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Object::new()
        .text("transactionId", &m.id)
        .text("type", m.kind.literal())
        .text("customerReference", &m.customer_reference)
        .text("merchantReference", &m.merchant_reference)
        .raw("relatedTransaction", related)
        .text("description", &m.description)
        .text("createdAt", &seconds(m.created))
        .text("updatedAt", &seconds(m.updated))
        .raw("value", money(account, m.printed()))
        .done()
}

/// In a sweep's transactions: new payments at its front, and rows taken from there. In the list of sweeps: sweeps taken away.
pub fn drift(world: &mut World, call: &Call, insert: u32, delete: u32) {
    let now = world.now();
    let gone = Absence { from: now, until: None };
    let Some(target) = target(world, call) else {
        return;
    };
    let payvyne = &mut world.payvyne;
    let Some(id) = target.sweep else {
        let listed = payvyne
            .sweeps
            .iter_mut()
            .filter(|s| s.created_at <= now && listed(&s.absences, now));
        listed.take(delete as usize).for_each(|s| s.absences.push(gone));
        return;
    };
    let Some(at) = payvyne.sweeps.iter().position(|s| s.id == id) else {
        return;
    };
    let members = payvyne.sweeps[at].members.clone();
    let present = members
        .iter()
        .copied()
        .filter(|i| listed(&payvyne.movements[*i].absences, now));
    for index in present.take(delete as usize).collect::<Vec<_>>() {
        payvyne.movements[index].absences.push(gone);
    }
    let first = members.first().map_or(now, |i| payvyne.movements[*i].created) - TimeDelta::seconds(1);
    let mut random = Random::part(payvyne.movements.len() as u64, "payvyne drift");
    for _ in 0..insert {
        let reference = format!("DRIFT-{}", random.hex16());
        let account = payvyne.sweeps[at].account;
        let index = payvyne.add(&mut random, account, Kind::Payment, first, &reference, 1_234, None);
        payvyne.sweeps[at].members.push(index);
    }
}
