//! PayVyne's JSON: envelope, sweeps, transactions (sections 4, 5 and 7).

use super::super::read::{
    Body, Fault, Form as Amount, Members, Raw, Rows, Unknown, field, identify, identity_text, object, unquoted,
    whole_page,
};
use super::{Form, PayVyne, SWEEP_TRANSACTIONS, SWEEPS};
use crate::day::Instant;
use crate::money::{Currency, Unit};
use crate::providers::{Ask, BadPage, PageHead, Parsed, Subject};
use crate::record::{Balance, Direction, Status, Transaction, TransactionKind};

/// Kinds of movements in a sweep's summary: the provider's key, our item, the kind of its transactions, and whether it
/// adds to the balance (section 9, R1).
pub(super) const SUMMARY: [(&str, &str, TransactionKind, bool); 7] = [
    ("payments", "summary_payments", TransactionKind::Payment, true),
    ("refunds", "summary_refunds", TransactionKind::Refund, false),
    ("payouts", "summary_payouts", TransactionKind::Payout, false),
    ("fees", "summary_fees", TransactionKind::Fee, false),
    ("topUps", "summary_top_ups", TransactionKind::TopUp, true),
    (
        "miscellaneousPayments",
        "summary_miscellaneous_payments",
        TransactionKind::MiscPayment,
        true,
    ),
    (
        "miscellaneousReturns",
        "summary_miscellaneous_returns",
        TransactionKind::MiscReturn,
        false,
    ),
];

object! {
    /// Section 7.
    Envelope<'a, T> { elements: T = "elements", next_page: Raw<'a> = "nextPage", size: Raw<'a> = "size" }
}

object! {
    /// One sweep.
    Sweep<'a> {
        id: Raw<'a> = "id", created_at: Raw<'a> = "createdAt", account: Raw<'a> = "settlementAccount",
        opening: Raw<'a> = "openingBalance", closing: Raw<'a> = "closingBalance", reserved: Raw<'a> = "reservedBalance",
        transferred: Raw<'a> = "transferredAmount", summary: Raw<'a> = "summary", merchant: Raw<'a> = "merchant",
    }
}

object! {
    /// `{"amount": 100.00, "currency": "GBP"}`.
    Money<'a> { amount: Raw<'a> = "amount", currency: Raw<'a> = "currency" }
}

object! {
    /// `settlementAccount`; more keys may come, only this one is documented.
    Account<'a> { identifier: Raw<'a> = "identifier" }
}

object! {
    /// `merchant` and `relatedTransaction`.
    Named<'a> { id: Raw<'a> = "id" }
}

object! {
    /// One entry of `summary`.
    Kind<'a> { value: Raw<'a> = "value", count: Raw<'a> = "count" }
}

object! {
    /// One transaction.
    Movement<'a> {
        id: Raw<'a> = "transactionId", kind: Raw<'a> = "type", customer: Raw<'a> = "customerReference",
        reference: Raw<'a> = "merchantReference", related: Raw<'a> = "relatedTransaction",
        description: Raw<'a> = "description", created_at: Raw<'a> = "createdAt", updated_at: Raw<'a> = "updatedAt",
        value: Raw<'a> = "value",
    }
}

struct Meta<'a> {
    next_page: Option<Raw<'a>>,
    size: Option<Raw<'a>>,
    unknown: Vec<String>,
}

fn split<'a, T>(envelope: Envelope<'a, T>) -> (Meta<'a>, Option<T>) {
    let Envelope {
        elements,
        next_page,
        size,
        unknown,
        ..
    } = envelope;
    (
        Meta {
            next_page,
            size,
            unknown,
        },
        elements,
    )
}

fn list<'s, R: serde::Deserialize<'s>>(body: &'s Body<'_>) -> Result<(Meta<'s>, Rows<R>), BadPage> {
    let (meta, rows) = body.page(split::<Vec<R>>, split::<Vec<Raw<'s>>>)?;
    Ok((meta, rows.ok_or_else(|| bad("the answer has no `elements` list"))?))
}

fn bad(why: &str) -> BadPage {
    BadPage { why: why.to_owned() }
}

// -- what the walk needs ------------------------------------------------------------------------------------------------

#[derive(serde::Deserialize)]
struct Identity<'a> {
    #[serde(borrow)]
    id: Option<Raw<'a>>,
    #[serde(borrow, rename = "transactionId")]
    transaction_id: Option<Raw<'a>>,
}

pub(super) fn head(number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
    let bytes = body;
    let body = Body::new(bytes);
    let (meta, rows) = list::<Identity<'_>>(&body)?;
    let size = field("size", meta.size);
    if size.is_there() && size.count().ok() != i64::try_from(rows.len()).ok() {
        return Err(bad("`size` is not the number of elements in the page"));
    }
    let mut head = PageHead {
        number,
        next: cursor(meta.next_page)?,
        ..PageHead::default()
    };
    identify(&mut head, bytes, &rows, |row| {
        identity_text(row.transaction_id.or(row.id)).map(|id| id.into_owned())
    });
    Ok(head)
}

/// Absent, null and empty end the list; anything else that is no text would end it silently.
fn cursor(raw: Option<Raw<'_>>) -> Result<Option<String>, BadPage> {
    match raw.map(|raw| raw.get()) {
        None | Some("null") => Ok(None),
        Some(token) => match unquoted(token) {
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(bad("`nextPage` is not text")),
        },
    }
}

// -- rows ---------------------------------------------------------------------------------------------------------------

pub(super) fn parse(payvyne: &PayVyne, ask: &Ask, body: &[u8]) -> Parsed {
    let body = Body::new(body);
    let read = match &ask.subject {
        Some(sweep) => transactions(payvyne, ask, sweep, &body),
        None => sweeps(payvyne, ask, &body),
    };
    read.unwrap_or_else(whole_page)
}

fn transactions(payvyne: &PayVyne, ask: &Ask, sweep: &str, body: &Body<'_>) -> Result<Parsed, BadPage> {
    let (meta, rows) = list::<Movement<'_>>(body)?;
    let mut parsed = Parsed::default();
    let mut unknown = Unknown::default();
    unknown.add("", &meta.unknown);
    for (row, number) in rows.into_iter().zip(0_u32..) {
        let read = row.and_then(|row| {
            unknown.add("elements[].", &row.unknown);
            transaction(payvyne, ask, sweep, &row)
        });
        match read {
            Ok(transaction) => parsed.transactions.push((number, transaction)),
            Err(fault) => fault.put_aside(&mut parsed, "elements", number),
        }
    }
    parsed.unknown_fields = unknown.into_names();
    Ok(parsed)
}

/// Standing in a sweep means that the money moved (section 5), so every record is settled and final. The answer names no
/// settlement account; it is the one its sweep was listed with.
fn transaction(payvyne: &PayVyne, ask: &Ask, sweep: &str, row: &Movement<'_>) -> Result<Transaction, Fault> {
    let provider_status = field("type", row.kind).word()?;
    let kind = kind(&provider_status);
    let (value, currency) = money("value", row.value)?;
    let amount_minor = match kind {
        TransactionKind::Fee => payvyne.fee_sign(&ask.calibration).effect(value),
        _ => value,
    };
    let related_id = named("relatedTransaction", row.related)?;
    Ok(Transaction {
        account: ask.account.clone(),
        feed: SWEEP_TRANSACTIONS,
        subject: sweep.to_owned(),
        provider_id: field("transactionId", row.id).id()?,
        reference: field("merchantReference", row.reference).optional_id()?,
        related_id,
        direction: direction(kind, amount_minor),
        kind,
        currency,
        amount_minor,
        fee_minor: None,
        fee_currency: None,
        status: Status::Settled,
        is_final: true,
        provider_status,
        occurred_at: field("createdAt", row.created_at).optional_instant()?,
        changed_at: field("updatedAt", row.updated_at).optional_instant()?,
        residuals: Vec::new(),
    })
}

/// Type names are normalised before they are looked at: the documented ones are written with hyphens and blanks alike, and
/// the literals of three of them were never seen (section 5).
fn kind(word: &str) -> TransactionKind {
    let name: String = word
        .chars()
        .map(|c| {
            if c == '-' || c == ' ' {
                '_'
            } else {
                c.to_ascii_uppercase()
            }
        })
        .collect();
    match name.as_str() {
        "PAYMENT" => TransactionKind::Payment,
        "REFUND" => TransactionKind::Refund,
        "PAYOUT" => TransactionKind::Payout,
        "FEE" => TransactionKind::Fee,
        "TOP_UP" | "TOPUP" => TransactionKind::TopUp,
        "MISCELLANEOUS_PAYMENT" | "MISC_PAYMENT" => TransactionKind::MiscPayment,
        "MISCELLANEOUS_RETURN" | "MISC_RETURN" => TransactionKind::MiscReturn,
        "SWEEP" | "TRANSFER" | "SWEEP_TRANSFER" => TransactionKind::Transfer,
        _ => TransactionKind::Unknown,
    }
}

/// By kind; a type nobody named is told by the sign of its effect.
fn direction(kind: TransactionKind, effect: i64) -> Direction {
    match kind {
        TransactionKind::Payment | TransactionKind::TopUp | TransactionKind::MiscPayment => Direction::In,
        TransactionKind::Unknown if effect >= 0 => Direction::In,
        _ => Direction::Out,
    }
}

fn money(key: &'static str, raw: Option<Raw<'_>>) -> Result<(i64, Currency), Fault> {
    let money: Money<'_> = field(key, raw).object()?;
    let currency = field("currency", money.currency)
        .currency()
        .map_err(|fault| fault.under(key))?;
    let amount = field("amount", money.amount).amount(currency, Unit::Major, Amount::TextOrNumber);
    Ok((amount.map_err(|fault| fault.under(key))?, currency))
}

fn sweeps(payvyne: &PayVyne, ask: &Ask, body: &Body<'_>) -> Result<Parsed, BadPage> {
    let (meta, rows) = list::<Sweep<'_>>(body)?;
    // What can be said of a row that cannot be read as a sweep at all (a key that stands twice).
    let names = match rows.iter().all(Result::is_ok) {
        true => Vec::new(),
        false => list::<Listed<'_>>(body)?.1,
    };
    let mut parsed = Parsed::default();
    let mut unknown = Unknown::default();
    unknown.add("", &meta.unknown);
    for (row, number) in rows.into_iter().zip(0_u32..) {
        let read = match row {
            Ok(row) => sweep(payvyne, ask, (number, &row), &mut unknown, &mut parsed),
            Err(fault) => match names.get(number as usize).and_then(|row| row.as_ref().ok()) {
                Some(row) => listed(ask, row.id, row.created_at, &mut parsed).and_then(|listed| match listed {
                    Some((id, at)) => {
                        name(payvyne, (&id, at), None, &mut parsed);
                        Err(fault)
                    }
                    None => Ok(()),
                }),
                None => {
                    parsed.nameless += 1;
                    Err(fault)
                }
            },
        };
        if let Err(fault) = read {
            fault.put_aside(&mut parsed, "elements", number);
        }
    }
    parsed.unknown_fields = unknown.into_names();
    Ok(parsed)
}

/// Only what names a sweep.
#[derive(serde::Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    id: Option<Raw<'a>>,
    #[serde(borrow, rename = "createdAt")]
    created_at: Option<Raw<'a>>,
}

/// Id and time of a row of this window. None: it belongs to another window (the filter asks for more days, each is read with
/// its own window). A time that cannot be read leaves it in this one.
#[allow(clippy::type_complexity)]
fn listed<'a>(
    ask: &Ask,
    id: Option<Raw<'a>>,
    created_at: Option<Raw<'a>>,
    parsed: &mut Parsed,
) -> Result<Option<(String, Option<Instant>)>, Fault> {
    let at = field("createdAt", created_at).optional_instant().ok().flatten();
    if at.is_some_and(|at| !ask.window.contains(at)) {
        return Ok(None);
    }
    match field("id", id).id() {
        Ok(id) => Ok(Some((id, at))),
        Err(fault) => {
            parsed.nameless += 1;
            Err(fault)
        }
    }
}

/// Names a sweep, so that its transactions are asked for whatever else of it can be read. The only account asked for is its
/// account where its own is unreadable.
fn name(payvyne: &PayVyne, (id, at): (&str, Option<Instant>), account: Option<&str>, parsed: &mut Parsed) {
    let only = match payvyne.accounts.as_slice() {
        [only] if payvyne.form == Form::Merchant => only.as_str(),
        _ => "",
    };
    parsed.subjects.push(Subject {
        id: id.to_owned(),
        at,
        account: account.unwrap_or(only).to_owned(),
    });
}

/// Reads one sweep: what it is first. Sweeps of accounts that are not wanted are passed over.
fn sweep(
    payvyne: &PayVyne,
    ask: &Ask,
    (number, row): (u32, &Sweep<'_>),
    unknown: &mut Unknown,
    parsed: &mut Parsed,
) -> Result<(), Fault> {
    unknown.add("elements[].", &row.unknown);
    let Some((id, at)) = listed(ask, row.id, row.created_at, parsed)? else {
        return Ok(());
    };
    let account = match account(payvyne, row, parsed) {
        Ok(Some(account)) => account,
        Ok(None) => return Ok(()),
        Err(fault) => {
            name(payvyne, (&id, at), None, parsed);
            return Err(fault);
        }
    };
    name(payvyne, (&id, at), Some(&account), parsed);
    // A time that cannot be read is no reason to guess one.
    field("createdAt", row.created_at).optional_instant()?;
    let stated = stated(row, unknown)?;
    // Without a time of its own a sweep belongs to the end of the window that listed it.
    let as_of = at.unwrap_or(ask.window.last_instant());
    let figures = figures(&account, &id, as_of, stated);
    parsed
        .balances
        .extend(figures.into_iter().map(|figure| (number, figure)));
    Ok(())
}

/// The settlement account of a sweep; None when it is not wanted.
fn account(payvyne: &PayVyne, row: &Sweep<'_>, parsed: &mut Parsed) -> Result<Option<String>, Fault> {
    let identifier: Account<'_> = field("settlementAccount", row.account).object()?;
    let identifier = field("identifier", identifier.identifier)
        .id()
        .map_err(|f| f.under("settlementAccount"))?;
    if !payvyne.accounts.is_empty() && !payvyne.accounts.contains(&identifier) {
        return Ok(None);
    }
    let merchant = named("merchant", row.merchant)?;
    Ok(Some(match (payvyne.form, merchant) {
        // Identifiers are a merchant's own: GBP3 exists once per merchant of a platform.
        (Form::Partner, Some(merchant)) => format!("{merchant}/{identifier}"),
        (Form::Merchant, Some(merchant)) if payvyne.merchant.as_ref().is_some_and(|expected| *expected != merchant) => {
            parsed.foreign = Some("a sweep of another merchant than `expected_merchant`: the key sees too much".into());
            identifier
        }
        _ => identifier,
    }))
}

/// The id inside `{"id": …}`; None for an absent, null or empty object.
fn named(key: &'static str, raw: Option<Raw<'_>>) -> Result<Option<String>, Fault> {
    let object = field(key, raw);
    if !object.is_there() {
        return Ok(None);
    }
    let named: Named<'_> = object.object()?;
    field("id", named.id).optional_id().map_err(|fault| fault.under(key))
}

/// A figure's item with its amount and currency.
type Stated = Vec<(String, (i64, Currency))>;

fn stated(row: &Sweep<'_>, unknown: &mut Unknown) -> Result<Stated, Fault> {
    let mut stated: Stated = vec![
        ("opening_balance".into(), money("openingBalance", row.opening)?),
        ("closing_balance".into(), money("closingBalance", row.closing)?),
        ("reserved_balance".into(), money("reservedBalance", row.reserved)?),
        (
            "transferred_amount".into(),
            money("transferredAmount", row.transferred)?,
        ),
    ];
    summary(row, unknown, &mut stated)?;
    Ok(stated)
}

fn figures(account: &str, sweep: &str, as_of: Instant, stated: Stated) -> Vec<Balance> {
    stated
        .into_iter()
        .map(|(item, (amount_minor, currency))| Balance {
            account: account.to_owned(),
            feed: SWEEPS,
            subject: sweep.to_owned(),
            as_of,
            currency,
            item,
            amount_minor,
        })
        .collect()
}

/// Every kind of the summary, known or not: `summary_payments` and `summary_payments_count`. A kind that is absent counts
/// as nothing (section 9); a kind nobody named is kept under its own name and reported.
fn summary(row: &Sweep<'_>, unknown: &mut Unknown, stated: &mut Stated) -> Result<(), Fault> {
    let members: Members<'_> = field("summary", row.summary).object()?;
    for (key, raw) in members.0 {
        let known = SUMMARY.iter().find(|(name, ..)| *name == key);
        // A path in a message may name only keys of the document.
        let place = known.map_or("(a kind)", |(name, ..)| *name);
        let inside = |fault: Fault| fault.under(place).under("summary");
        if known.is_none() {
            unknown.add("elements[].summary.", std::slice::from_ref(&key));
        }
        let entry = field("entry", Some(raw)).object::<Kind<'_>>();
        if known.is_none() && entry.is_err() {
            // Not a kind of movement at all: reported by name, nothing to count.
            continue;
        }
        let kind = entry.map_err(|fault| inside(Fault::new("", fault.why)))?;
        let value = money("value", kind.value).map_err(inside)?;
        let count = field("count", kind.count).count().map_err(inside)?;
        let item = known.map_or_else(|| unknown_item(&key), |(_, item, ..)| (*item).to_owned());
        if stated.iter().any(|(seen, _)| *seen == item) {
            return Err(inside(Fault::new("", "has the same name as another kind")));
        }
        stated.push((format!("{item}_count"), (count, value.1)));
        stated.push((item, value));
    }
    Ok(())
}

/// `summary_charge_backs`; never a name that would read as a count.
fn unknown_item(key: &str) -> String {
    let name = snake_case(key);
    let suffix = if name.ends_with("_count") { "_value" } else { "" };
    format!("summary_{name}{suffix}")
}

/// `chargeBacks` -> `charge_backs`; characters that no item has become `_`.
fn snake_case(key: &str) -> String {
    let mut out = String::new();
    for c in key.chars().take(64) {
        match c {
            upper if upper.is_ascii_uppercase() => {
                if !out.is_empty() {
                    out.push('_');
                }
                out.push(upper.to_ascii_lowercase());
            }
            plain if plain.is_ascii_alphanumeric() => out.push(plain),
            _ => out.push('_'),
        }
    }
    out
}
