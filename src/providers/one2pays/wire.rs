//! One2Pays' JSON: rows wrapped twice, amounts as text, balances as numbers (sections 3 to 6).

use super::super::read::{Body, Fault, Form, Raw, Rows, Unknown, field, identify, identity_text, object, whole_page};
use super::walk::Order;
use super::{BALANCE, One2Pays, PAYMENTS};
use crate::day::Instant;
use crate::failure::Class;
use crate::money::{Currency, Unit};
use crate::providers::{Ask, BadPage, Judgement, PageHead, Parsed, Subject};
use crate::record::{Balance, Direction, Status, Transaction, TransactionKind};

object! {
    /// `{"success":true,"data":…}`.
    Envelope<'a, T> { success: Raw<'a> = "success", data: T = "data", error: Raw<'a> = "error" }
}

object! {
    /// The list inside, with its counters.
    List<'a, T> {
        data: T = "data", total: Raw<'a> = "total", page: Raw<'a> = "page", limit: Raw<'a> = "limit",
        total_pages: Raw<'a> = "totalPages",
    }
}

object! {
    /// A payment or a withdraw.
    Movement<'a> {
        id: Raw<'a> = "id", reference_id: Raw<'a> = "referenceId", amount: Raw<'a> = "amount",
        currency: Raw<'a> = "currency", status: Raw<'a> = "status", created_at: Raw<'a> = "createdAt",
        updated_at: Raw<'a> = "updatedAt", payment_method: Raw<'a> = "paymentMethod",
        description: Raw<'a> = "description", metadata: Raw<'a> = "metadata", next_action: Raw<'a> = "nextAction",
        client_secret: Raw<'a> = "clientSecret", expires_at: Raw<'a> = "expiresAt",
    }
}

object! {
    /// `/api/v1/balance`.
    Wallet<'a> {
        wallet: Raw<'a> = "walletBalance", settlement: Raw<'a> = "settlementBalance", currency: Raw<'a> = "currency",
        status: Raw<'a> = "status",
    }
}

#[derive(Default)]
struct Counters<'a> {
    total: Option<Raw<'a>>,
    page: Option<Raw<'a>>,
    total_pages: Option<Raw<'a>>,
    success: bool,
    unknown: Vec<String>,
}

fn split<'a, T>(envelope: Envelope<'a, List<'a, T>>) -> (Counters<'a>, Option<T>) {
    let success = envelope.success.is_some_and(|raw| raw.get() == "true");
    let mut unknown = envelope.unknown;
    let Some(list) = envelope.data else {
        let nothing = Counters {
            success,
            unknown,
            ..Counters::default()
        };
        return (nothing, None);
    };
    unknown.extend(list.unknown.into_iter().map(|key| format!("data.{key}")));
    let counters = Counters {
        total: list.total,
        page: list.page,
        total_pages: list.total_pages,
        success,
        unknown,
    };
    (counters, list.data)
}

fn list<'s, R: serde::Deserialize<'s>>(body: &'s Body<'_>) -> Result<(Counters<'s>, Rows<R>), BadPage> {
    let (counters, rows) = body.page(split::<Vec<R>>, split::<Vec<Raw<'s>>>)?;
    if !counters.success {
        return Err(bad("`success` is not true"));
    }
    Ok((counters, rows.ok_or_else(|| bad("the answer has no `data.data` list"))?))
}

fn bad(why: &str) -> BadPage {
    BadPage { why: why.to_owned() }
}

// -- what the walk needs ------------------------------------------------------------------------------------------------

#[derive(serde::Deserialize)]
struct Identity<'a> {
    #[serde(borrow)]
    id: Option<Raw<'a>>,
    #[serde(borrow, rename = "createdAt")]
    created_at: Option<Raw<'a>>,
}

pub(super) fn head(one2pays: &One2Pays, ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
    let bytes = body;
    let body = Body::new(bytes);
    let mut head = PageHead {
        number,
        ..PageHead::default()
    };
    if ask.feed == BALANCE || ask.subject.is_some() {
        match ask.subject {
            None => drop(wallet(&body)?),
            Some(_) => drop(alone(&body)?),
        }
        head.rows = 1;
        return Ok(head);
    }
    let (counters, rows) = list::<Identity<'_>>(&body)?;
    if let Some(echoed) = whole_number("page", counters.page)?
        && echoed != i64::from(number)
    {
        return Err(bad("the answer is another page than the one asked for"));
    }
    let total = whole_number("total", counters.total)?;
    head.total = total.and_then(|total| u64::try_from(total).ok());
    let total_pages = whole_number("totalPages", counters.total_pages)?;
    head.total_pages = total_pages.map(|pages| u32::try_from(pages).unwrap_or(u32::MAX));
    // Nothing is only what the document calls an empty list: one that is counted.
    if rows.is_empty() && total.is_none() && total_pages.is_none() && counters.page.is_none() {
        return Err(bad("an empty list without its counters is no page"));
    }
    identify(&mut head, bytes, &rows, |row| {
        identity_text(row.id).map(|id| id.into_owned())
    });
    head.next = one2pays
        .cutoff(ask)
        .and_then(|cutoff| order(&rows, cutoff))
        .map(Order::write);
    Ok(head)
}

fn whole_number(name: &'static str, raw: Option<Raw<'_>>) -> Result<Option<i64>, BadPage> {
    let field = field(name, raw);
    let counted = field.is_there().then(|| field.count()).transpose();
    counted.map_err(|fault| BadPage {
        why: format!("`data.{name}` {}", fault.why),
    })
}

/// The page's order, when its rows really are in non-increasing order of creation.
fn order(rows: &Rows<Identity<'_>>, cutoff: Instant) -> Option<Order> {
    let times: Option<Vec<Instant>> = rows
        .iter()
        .map(|row| field("createdAt", row.as_ref().ok()?.created_at).instant().ok())
        .collect();
    let times = times?;
    let (newest, oldest) = (times.first()?, times.last()?);
    times.is_sorted_by(|earlier, later| earlier >= later).then(|| Order {
        newest: newest.timestamp_millis(),
        oldest: oldest.timestamp_millis(),
        old_enough: *oldest < cutoff,
    })
}

// -- rows ---------------------------------------------------------------------------------------------------------------

pub(super) fn parse(one2pays: &One2Pays, ask: &Ask, body: &[u8]) -> Parsed {
    let body = Body::new(body);
    let read = match (&ask.subject, ask.feed) {
        (Some(id), _) => reference(id, &body),
        (None, BALANCE) => balance(one2pays, ask, &body),
        (None, _) => movements(one2pays, ask, &body),
    };
    read.unwrap_or_else(whole_page)
}

fn movements(one2pays: &One2Pays, ask: &Ask, body: &Body<'_>) -> Result<Parsed, BadPage> {
    let (counters, rows) = list::<Movement<'_>>(body)?;
    let mut parsed = Parsed::default();
    let mut unknown = Unknown::default();
    unknown.add("", &counters.unknown);
    let cutoff = one2pays.cutoff(ask);
    for (row, number) in rows.into_iter().zip(0_u32..) {
        let read = row.and_then(|row| {
            unknown.add("data.data[].", &row.unknown);
            movement(one2pays, ask, &row)
        });
        match read {
            Ok(old) if cutoff.is_some_and(|cutoff| old.occurred_at.is_some_and(|at| at < cutoff)) => {}
            Ok(transaction) => {
                if transaction.reference.is_none() && one2pays.max_details > 0 {
                    parsed.subjects.push(Subject {
                        id: transaction.provider_id.clone(),
                        at: transaction.occurred_at,
                        account: String::new(),
                    });
                }
                parsed.transactions.push((number, transaction));
            }
            Err(fault) => {
                if fault.sub_minor {
                    parsed.misconfigured = Some(format!(
                        "{} row {number}: an amount has a fraction of a satang; the unit is most likely baht: set `amount_unit = \"baht\"`",
                        ask.feed
                    ));
                }
                fault.put_aside(&mut parsed, "data.data", number);
            }
        }
    }
    parsed.unknown_fields = unknown.into_names();
    Ok(parsed)
}

fn movement(one2pays: &One2Pays, ask: &Ask, row: &Movement<'_>) -> Result<Transaction, Fault> {
    let payment = ask.feed == PAYMENTS;
    let currency = match baht() {
        Some(baht) => field("currency", row.currency).currency_or(baht)?,
        None => field("currency", row.currency).currency()?,
    };
    let amount = field("amount", row.amount).unsigned_amount(currency, one2pays.amount_unit, Form::Text)?;
    let provider_status = field("status", row.status).word()?;
    let (status, is_final) = meaning(one2pays, payment, &provider_status);
    Ok(Transaction {
        account: String::new(),
        feed: ask.feed,
        subject: String::new(),
        provider_id: field("id", row.id).id()?,
        reference: field("referenceId", row.reference_id).optional_id()?,
        related_id: None,
        direction: if payment { Direction::In } else { Direction::Out },
        kind: if payment {
            TransactionKind::Payment
        } else {
            TransactionKind::Withdraw
        },
        currency,
        amount_minor: if payment { amount } else { -amount },
        fee_minor: None,
        fee_currency: None,
        status,
        is_final,
        provider_status,
        occurred_at: field("createdAt", row.created_at).optional_instant()?,
        changed_at: field("updatedAt", row.updated_at).optional_instant()?,
        residuals: Vec::new(),
    })
}

/// The only currency there is (section 4); rows may leave it out.
fn baht() -> Option<Currency> {
    "THB".parse().ok()
}

/// Section 6, and whether the status is final. Words nobody named stay unknown.
fn meaning(one2pays: &One2Pays, payment: bool, word: &str) -> (Status, bool) {
    let status = match (one2pays.overrides.get(word), payment, word) {
        (Some(status), _, _) => *status,
        (_, true, "created" | "pending" | "requires_action" | "processing" | "received") => Status::Open,
        (_, true, "succeeded") => Status::Settled,
        (_, true, "failed" | "canceled" | "expired") => Status::Failed,
        (_, false, "pending" | "processing") => Status::Open,
        (_, false, "paid" | "succeeded") => Status::Settled,
        (_, false, "failed" | "canceled") => Status::Failed,
        _ => Status::Unknown,
    };
    (status, matches!(status, Status::Settled | Status::Failed))
}

/// A record asked about alone (section 5.2).
fn alone<'s>(body: &'s Body<'_>) -> Result<Movement<'s>, BadPage> {
    let envelope: Envelope<'s, Movement<'s>> = body.object()?;
    if envelope.success.is_none_or(|raw| raw.get() != "true") {
        return Err(bad("`success` is not true"));
    }
    envelope.data.ok_or_else(|| bad("the answer has no `data`"))
}

/// An answer about another record, or with a reference that cannot be read, is none: the record is asked about again by the
/// next run, for an answer counts for good.
pub(super) fn judge_alone(id: &str, body: &[u8]) -> Judgement {
    match reference_of(id, &Body::new(body)) {
        Ok(Err(fault)) => Judgement::Refused {
            class: Class::Protocol,
            why: format!("the answer's data{} {}", fault.path, fault.why),
        },
        // What is no answer at all is asked for again.
        Ok(Ok(_)) | Err(_) => Judgement::Page,
    }
}

fn reference_of(id: &str, body: &Body<'_>) -> Result<Result<Option<String>, Fault>, BadPage> {
    let row = alone(body)?;
    Ok(field("id", row.id).id().and_then(|said| match said == id {
        true => field("referenceId", row.reference_id).optional_id(),
        false => Err(Fault::new(".id", "is not the record that was asked for")),
    }))
}

/// What its list did not say of it. The list stays the authority on everything else.
fn reference(id: &str, body: &Body<'_>) -> Result<Parsed, BadPage> {
    let mut parsed = Parsed::default();
    match reference_of(id, body)? {
        Ok(reference) => parsed.references.push((id.to_owned(), reference)),
        Err(fault) => parsed.unreadable.push(crate::record::Unreadable {
            place: format!("data{}", fault.path),
            reason: fault.why.into_owned(),
        }),
    }
    Ok(parsed)
}

fn wallet<'s>(body: &'s Body<'_>) -> Result<(Wallet<'s>, Vec<String>), BadPage> {
    let envelope: Envelope<'s, Wallet<'s>> = body.object()?;
    if envelope.success.is_none_or(|raw| raw.get() != "true") {
        return Err(bad("`success` is not true"));
    }
    let wallet = envelope.data.ok_or_else(|| bad("the answer has no `data`"))?;
    Ok((wallet, envelope.unknown))
}

fn balance(one2pays: &One2Pays, ask: &Ask, body: &Body<'_>) -> Result<Parsed, BadPage> {
    let (wallet, top) = wallet(body)?;
    let mut parsed = Parsed::default();
    let mut unknown = Unknown::default();
    unknown.add("", &top);
    unknown.add("data.", &wallet.unknown);
    parsed.unknown_fields = unknown.into_names();
    match figures(one2pays.balance_unit, ask, &wallet) {
        Ok(figures) => parsed.balances = figures.into_iter().map(|figure| (0, figure)).collect(),
        Err(fault) => {
            if fault.sub_minor {
                parsed.misconfigured = Some(
                    "balance: a fraction of a satang; the unit is most likely baht: set `balance_unit = \"baht\"`"
                        .into(),
                );
            }
            parsed.unreadable.push(crate::record::Unreadable {
                place: format!("data{}", fault.path),
                reason: fault.why.into_owned(),
            });
        }
    }
    let status = field("status", wallet.status);
    if status.is_there() && status.text().ok().as_deref() != Some("active") {
        parsed
            .warnings
            .push("the wallet is not active: frozen, closed or in a state the document does not name".into());
    }
    Ok(parsed)
}

fn figures(unit: Unit, ask: &Ask, wallet: &Wallet<'_>) -> Result<Vec<Balance>, Fault> {
    let currency = field("currency", wallet.currency).currency()?;
    let items = [
        (
            "wallet_balance",
            field("walletBalance", wallet.wallet).amount(currency, unit, Form::TextOrNumber)?,
        ),
        (
            "settlement_balance",
            field("settlementBalance", wallet.settlement).amount(currency, unit, Form::TextOrNumber)?,
        ),
    ];
    let figure = |(item, amount_minor): (&str, i64)| Balance {
        account: String::new(),
        feed: BALANCE,
        subject: String::new(),
        as_of: ask.as_of,
        currency,
        item: item.to_owned(),
        amount_minor,
    };
    Ok(items.into_iter().map(figure).collect())
}
