//! TuPay's Merchants API, from `providers/tupay.md`: login with a sliding session, lists of 50 rows a page by creation date,
//! the daily balance report, the current balance, logout.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};

use super::{Answer, Call, Object, Twist, slice, whole_number};
use crate::day::Instant;
use crate::sandbox::json::{array, quote, short_decimals};
use crate::sandbox::random::Random;
use crate::sandbox::world::tupay::{Cashout, CashoutState, Column, Deposit, DepositState, ReportRow};
use crate::sandbox::world::{Absence, Life, World};

/// Rows a page; callers cannot choose (section 3).
const MAX_ROWS: usize = 50;
/// Longest span between `from` and `to` (section 3).
const MAX_SPAN_S: i64 = 60 * 86_400;
/// A session ends this long after its last request (section 2).
const IDLE: TimeDelta = TimeDelta::minutes(15);

/// Credentials and sessions.
#[derive(Clone, Debug)]
pub struct Door {
    pub access_key: String,
    pub secret_key: String,
    pub id_merchant: i64,
    pub merchant_name: String,
    /// Token and last use.
    pub sessions: Vec<(String, Instant)>,
    /// A second login ends the first session: what the document leaves open, read strictly.
    pub one_session: bool,
    pub requests_per_minute: Option<u32>,
    logins: u64,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            access_key: "recon@merchant.example".into(),
            secret_key: "tupay-sandbox-password".into(),
            id_merchant: 456,
            merchant_name: "Tienda Ejemplo SAC".into(),
            sessions: Vec::new(),
            one_session: true,
            requests_per_minute: None,
            logins: 0,
        }
    }
}

/// `{ "code", "description" }` (section 10).
pub fn error(status: u16, code: i64, description: &str) -> Answer {
    Answer::json(
        status,
        Object::new().raw("code", code).text("description", description).done(),
    )
}

pub fn answer(world: &mut World, call: &Call, twist: &Twist) -> Answer {
    let wanted = match call.path.as_str() {
        "/v1/auth/login" => "POST",
        "/v1/auth/session/destroy" => "DELETE",
        "/v1/deposits" | "/v1/cashout" | "/v1/balance/report" | "/v1/balance" => "GET",
        _ => return error(404, 404, "No such resource"),
    };
    if call.method != wanted {
        return error(405, 405, "Method not allowed").with("allow", wanted);
    }
    if wanted == "POST" {
        return login(world, call);
    }
    let Some(session) = session(world, call) else {
        return error(401, 401, "Invalid or expired token");
    };
    let result = match call.path.as_str() {
        "/v1/auth/session/destroy" => {
            world.doors.tupay.sessions.remove(session);
            Ok(Answer::json(200, "{}".into()))
        }
        "/v1/deposits" => deposits(world, call, twist),
        "/v1/cashout" => cashouts(world, call, twist),
        "/v1/balance/report" => report(world, call, twist),
        _ => balance(world, call),
    };
    result.unwrap_or_else(|refusal| refusal)
}

fn login(world: &mut World, call: &Call) -> Answer {
    // Section 10: a wrong content type and broken syntax are answered 500.
    if call.content_type() != "application/json" {
        return error(500, 500, "Content type not supported");
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Login {
        access_key: String,
        secret_key: String,
    }
    let Ok(sent) = serde_json::from_slice::<Login>(&call.body) else {
        return error(500, 500, "Malformed body");
    };
    let now = world.now();
    let door = &mut world.doors.tupay;
    if sent.access_key != door.access_key || sent.secret_key != door.secret_key {
        return error(412, 11, "Invalid credentials");
    }
    door.logins += 1;
    let mut random = Random::part(door.logins, "tupay token");
    let token = format!("{}{}t", random.hex16(), random.hex16());
    if door.one_session {
        door.sessions.clear();
    }
    door.sessions.push((token.clone(), now));
    let body = Object::new()
        .raw("idUser", 123)
        .text("username", &door.access_key)
        .raw("idMerchant", door.id_merchant)
        .done();
    Answer::json(200, body)
        .with("set-cookie", "SERVERID=s2; Path=/")
        .with("set-cookie", format!("BEARER_TOKEN={token}; Path=/; HttpOnly"))
}

/// The session a call belongs to, kept alive by it: cookie, bearer or the seed's raw form.
fn session(world: &mut World, call: &Call) -> Option<usize> {
    let now = world.now();
    let cookie = call
        .headers
        .iter()
        .filter(|(name, _)| name == "cookie")
        .flat_map(|(_, value)| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("BEARER_TOKEN="));
    let authorization = call.header("authorization").and_then(|value| {
        let bearer = value.strip_prefix("Bearer ");
        bearer.or_else(|| value.strip_prefix("BEARER_TOKEN="))
    });
    let token = cookie.or(authorization)?;
    let sessions = &mut world.doors.tupay.sessions;
    sessions.retain(|(_, used)| now < *used + IDLE);
    let found = sessions.iter().position(|(known, _)| known == token)?;
    sessions[found].1 = now;
    Some(found)
}

/// `from`, `to` and `page`, checked.
struct Range {
    from: i64,
    to: i64,
    page: usize,
    status: Option<String>,
    method: Option<String>,
    document: Option<String>,
}

/// Reads the parameters of a list. Bad parameters are 412 (section 10); the code for a span too long is not documented.
fn range(call: &Call, more: &[&str], twist: &Twist) -> Result<Range, Answer> {
    let bad = |why: &str| error(412, 412, why);
    let allowed: Vec<&str> = ["from", "to", "page"].iter().chain(more).copied().collect();
    let mut given = call.parameters(&allowed).map_err(|why| bad(&why))?;
    let number = |name: &str| match given.get(name) {
        Some(text) => whole_number(text).ok_or_else(|| bad(&format!("{name} is not a whole number"))),
        None if name == "page" => Ok(0),
        None => Err(bad(&format!("{name} is required"))),
    };
    let (from, to, page) = (number("from")?, number("to")?, number("page")?);
    if from >= to {
        return Err(error(412, 17, "from must be before to"));
    }
    if to - from > MAX_SPAN_S {
        return Err(bad("the range is longer than 60 days"));
    }
    if given.get("country").is_some_and(|country| country != "PE") {
        return Err(error(412, 19, "Invalid country"));
    }
    let page = if twist.ignore_page {
        0
    } else {
        usize::try_from(page).unwrap_or(usize::MAX / MAX_ROWS)
    };
    Ok(Range {
        from,
        to,
        page,
        status: given.remove("status"),
        method: given.remove("paymentMethod"),
        document: given.remove("clienteDocument"),
    })
}

impl Range {
    /// Both bounds belong to the range.
    fn holds(&self, at: Instant) -> bool {
        (self.from..=self.to).contains(&at.timestamp())
    }

    fn envelope<T>(&self, rows: &[T], render: impl Fn(&T) -> String) -> Answer {
        let page = slice(rows, self.page.saturating_mul(MAX_ROWS), MAX_ROWS);
        let data: Vec<String> = page.iter().map(render).collect();
        let body = Object::new()
            .raw("page", self.page)
            .raw("rows", data.len())
            .raw("maxRows", MAX_ROWS)
            .raw("data", array(&data));
        Answer::json(200, body.done())
    }
}

const DEPOSIT_STATUSES: [&str; 5] = ["PENDING", "APPROVED", "COMPLETED", "CANCELLED", "DECLINED"];
const CASHOUT_STATUSES: [&str; 7] = [
    "ON_HOLD",
    "PENDING",
    "DELIVERED",
    "COMPLETED",
    "REJECTED",
    "CANCELLED",
    "DECLINED",
];

fn check_status(range: &Range, known: &[&str]) -> Result<(), Answer> {
    match &range.status {
        Some(status) if !known.contains(&status.as_str()) => Err(error(412, 412, "Invalid status")),
        _ => Ok(()),
    }
}

fn deposits(world: &World, call: &Call, twist: &Twist) -> Result<Answer, Answer> {
    let more = ["country", "paymentMethod", "clienteDocument", "status"];
    let range = range(call, &more, twist)?;
    check_status(&range, &DEPOSIT_STATUSES)?;
    let now = world.now();
    let rows: Vec<(&Deposit, &(Instant, DepositState))> = world
        .tupay
        .deposits
        .iter()
        .filter(|d| d.is_listed(now) && range.holds(d.created))
        .filter(|d| range.method.as_ref().is_none_or(|m| d.method[2] == m))
        .filter(|d| range.document.as_ref().is_none_or(|document| d.document == *document))
        .filter_map(|d| Some((d, d.life.at(now)?)))
        .filter(|(_, (_, s))| range.status.as_ref().is_none_or(|status| s.status == status))
        .collect();
    Ok(range.envelope(&rows, |(deposit, (at, state))| deposit_row(world, deposit, *at, state)))
}

fn deposit_row(world: &World, d: &Deposit, changed: Instant, s: &DepositState) -> String {
    let printed = s.printed.map_or_else(|| short_decimals(s.amount), str::to_owned);
    let money = |o: Object, amount: &str, currency: &str, value: &str| o.raw(amount, value).text(currency, d.currency);
    let row = Object::new()
        .raw("idDeposit", d.id)
        .text("externalId", &d.external_id)
        .text("creationDate", &seconds(d.created))
        .text("lastChangeDate", &seconds(changed))
        .text("countryName", "Peru")
        .text("country", "PE")
        .text("paymentMethodName", d.method[1])
        .text("paymentMethodCode", d.method[0])
        .text("requestedPaymentMethod", d.method[2])
        .text("requestedPaymentMethodName", d.method[3])
        .text("clientDocument", &d.document)
        .text("idUser", &d.user);
    let row = money(row, "amount", "currency", &printed);
    let row = money(
        row,
        "requestedAmount",
        "requestedCurrency",
        &short_decimals(s.requested),
    );
    let row = money(row, "localAmount", "localCurrency", &printed);
    money(row, "fee", "feeCurrency", &short_decimals(s.fee))
        .text("status", s.status)
        .raw("refundAttempted", false)
        .raw("flags", "[]")
        .raw("idMerchant", world.doors.tupay.id_merchant)
        .text("merchantName", &world.doors.tupay.merchant_name)
        .done()
}

fn cashouts(world: &World, call: &Call, twist: &Twist) -> Result<Answer, Answer> {
    let range = range(call, &["country", "paymentMethod", "clienteDocument", "status"], twist)?;
    check_status(&range, &CASHOUT_STATUSES)?;
    let now = world.now();
    let rows: Vec<(&Cashout, &(Instant, CashoutState))> = world
        .tupay
        .cashouts
        .iter()
        .filter(|c| c.is_listed(now) && range.holds(c.created))
        .filter(|c| range.document.as_ref().is_none_or(|document| c.document == *document))
        .filter_map(|c| Some((c, c.life.at(now)?)))
        .filter(|(_, (_, s))| range.status.as_ref().is_none_or(|status| s.status == status))
        .collect();
    Ok(range.envelope(&rows, |(cashout, (at, state))| cashout_row(world, cashout, *at, state)))
}

fn cashout_row(world: &World, c: &Cashout, changed: Instant, s: &CashoutState) -> String {
    let paid = if s.status == "COMPLETED" { c.amount } else { 0 };
    Object::new()
        .raw("idCashout", c.id)
        .text("externalId", &c.external_id)
        .text("creationDate", &seconds(c.created))
        .text("lastChangeDate", &seconds(changed))
        .text("country", "PE")
        .text("currency", c.currency)
        .raw("amount", short_decimals(c.amount))
        .text("creditedCurrency", c.currency)
        .raw("creditedAmount", short_decimals(paid))
        .text("merchantCurrency", c.currency)
        .raw("merchantAmount", short_decimals(paid))
        .text("feeCurrency", c.currency)
        .raw("fee", short_decimals(s.fee))
        .raw("tax", short_decimals(s.tax))
        .text("status", s.status)
        .text("reason", s.reason)
        .raw("existVoucher", paid != 0)
        .text("clientDocument", &c.document)
        .raw("flags", "[]")
        .raw("idMerchant", world.doors.tupay.id_merchant)
        .text("merchantName", &world.doors.tupay.merchant_name)
        .done()
}

/// A line belongs to the range when its day touches it, whatever the hour.
fn report(world: &World, call: &Call, twist: &Twist) -> Result<Answer, Answer> {
    let range = range(call, &[], twist)?;
    let day = |at: i64| DateTime::from_timestamp(at, 0).map_or(NaiveDate::MAX, |t| t.date_naive());
    let days = day(range.from)..=day(range.to);
    let rows = world.tupay.report(world.now());
    let rows: Vec<ReportRow> = rows.into_iter().filter(|r| days.contains(&r.day)).collect();
    Ok(range.envelope(&rows, |row| report_row(world.doors.tupay.id_merchant, row)))
}

fn report_row(id_merchant: i64, row: &ReportRow) -> String {
    let column = |c: Column| short_decimals(row.columns.get(&c).copied().unwrap_or(0));
    Object::new()
        .raw("idMerchant", id_merchant)
        .raw("date", quote(&format!("{}T00:00:00Z", row.day)))
        .text("currency", row.currency)
        .raw("depositTotal", column(Column::Deposit))
        .raw("depositFeeTotal", column(Column::DepositFee))
        .raw("cashoutTotal", column(Column::Cashout))
        .raw("noteTotal", column(Column::Note))
        .raw("settlementTotal", column(Column::Settlement))
        .raw("cancelledSettlementTotal", column(Column::CancelledSettlement))
        .raw("netAmount", short_decimals(row.net))
        .raw("totalBalance", short_decimals(row.total))
        .done()
}

fn balance(world: &World, call: &Call) -> Result<Answer, Answer> {
    call.parameters(&[]).map_err(|why| error(412, 412, &why))?;
    let accounts = world.tupay.current(world.now()).into_iter().map(|current| {
        let data = Object::new()
            .raw("totalBalance", short_decimals(current.total))
            .raw("availableBalance", short_decimals(current.total - current.settling))
            .raw("depositSettlementPeriod", short_decimals(current.settling))
            .raw("rollingReserveBalance", short_decimals(current.reserve))
            .raw("usableBalance", short_decimals(current.total - current.reserve))
            .text("accountNumber", &format!("1000000{}", world.doors.tupay.id_merchant));
        Object::new()
            .text("currency", current.currency)
            .text("type", "PRIMARY")
            .raw("data", data.done())
            .done()
    });
    let accounts: Vec<String> = accounts.collect();
    Ok(Answer::json(
        200,
        Object::new().raw("balances", array(&accounts)).done(),
    ))
}

/// New pending deposits (or cashouts) at the front of the asked range, and rows taken from its front.
pub fn drift(world: &mut World, call: &Call, insert: u32, delete: u32) {
    let Ok(range) = range(
        call,
        &["country", "paymentMethod", "clienteDocument", "status"],
        &Twist::default(),
    ) else {
        return;
    };
    let now = world.now();
    let gone = Absence { from: now, until: None };
    let mut random = Random::part(world.tupay.deposits.len() as u64, "tupay drift");
    let Some(first) = DateTime::from_timestamp(range.from + 1, 0) else {
        return;
    };
    let tupay = &mut world.tupay;
    if call.path == "/v1/deposits" {
        let mine = tupay
            .deposits
            .iter_mut()
            .filter(|d| d.is_listed(now) && range.holds(d.created));
        mine.take(delete as usize).for_each(|d| d.absences.push(gone));
        for _ in 0..insert {
            let life = Life::new(first, DepositState::new("PENDING", 1_234));
            let reference = format!("DRIFT-{}", random.hex16());
            tupay.deposit(&mut random, &reference, "PEN", life);
        }
    } else {
        let mine = tupay
            .cashouts
            .iter_mut()
            .filter(|c| c.is_listed(now) && range.holds(c.created));
        mine.take(delete as usize).for_each(|c| c.absences.push(gone));
        for _ in 0..insert {
            let life = Life::new(first, CashoutState::new("PENDING"));
            let reference = format!("DRIFT-{}", random.hex16());
            tupay.cashout(&mut random, &reference, 1_234, life);
        }
    }
    tupay.sort();
}

fn seconds(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
