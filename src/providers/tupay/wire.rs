//! TuPay's JSON: envelope, deposits and cashouts (document, sections 3 to 5); stated figures are in [`figures`].

use super::super::read::{
    Body, Fault, Field, Form, Raw, Rows, Unknown, field, identify, identity_text, object, whole_page,
};
use super::{BALANCE, BALANCE_REPORT, CASHOUTS, DEPOSITS, Tupay, figures};
use crate::money::{Currency, Unit};
use crate::providers::{Ask, BadPage, PageHead, Parsed};
use crate::record::{Direction, RowResidual, Status, Transaction, TransactionKind};

/// Rows of a full page (section 3), also where the answer does not say.
pub(super) const MAX_ROWS: i64 = 50;

object! {
    /// The list protocol of section 3. `code` belongs to errors (section 10).
    Envelope<'a, T> {
        page: Raw<'a> = "page", rows: Raw<'a> = "rows", max_rows: Raw<'a> = "maxRows", code: Raw<'a> = "code",
        data: T = "data",
    }
}

object! {
    /// A row of `/v1/deposits` or `/v1/cashout`; both spellings of the document's key are known and neither is used.
    Movement<'a> {
        id_deposit: Raw<'a> = "idDeposit", id_cashout: Raw<'a> = "idCashout", external_id: Raw<'a> = "externalId",
        creation_date: Raw<'a> = "creationDate", last_change_date: Raw<'a> = "lastChangeDate",
        country: Raw<'a> = "country", country_name: Raw<'a> = "countryName",
        method_name: Raw<'a> = "paymentMethodName", method_code: Raw<'a> = "paymentMethodCode",
        requested_method: Raw<'a> = "requestedPaymentMethod", requested_name: Raw<'a> = "requestedPaymentMethodName",
        client_document: Raw<'a> = "clientDocument" | "clienteDocument", id_user: Raw<'a> = "idUser",
        amount: Raw<'a> = "amount", currency: Raw<'a> = "currency",
        requested_amount: Raw<'a> = "requestedAmount", requested_currency: Raw<'a> = "requestedCurrency",
        local_amount: Raw<'a> = "localAmount", local_currency: Raw<'a> = "localCurrency",
        credited_amount: Raw<'a> = "creditedAmount", credited_currency: Raw<'a> = "creditedCurrency",
        merchant_amount: Raw<'a> = "merchantAmount", merchant_currency: Raw<'a> = "merchantCurrency",
        fee: Raw<'a> = "fee", fee_currency: Raw<'a> = "feeCurrency", tax: Raw<'a> = "tax",
        status: Raw<'a> = "status", reason: Raw<'a> = "reason", refund_attempted: Raw<'a> = "refundAttempted",
        exist_voucher: Raw<'a> = "existVoucher", flags: Raw<'a> = "flags",
        id_merchant: Raw<'a> = "idMerchant", merchant_name: Raw<'a> = "merchantName",
    }
}

pub(super) struct Meta<'a> {
    page: Option<Raw<'a>>,
    rows: Option<Raw<'a>>,
    max_rows: Option<Raw<'a>>,
    code: Option<Raw<'a>>,
    pub(super) unknown: Vec<String>,
}

fn split<'a, T>(envelope: Envelope<'a, T>) -> (Meta<'a>, Option<T>) {
    let Envelope {
        page,
        rows,
        max_rows,
        code,
        data,
        mut unknown,
        ..
    } = envelope;
    unknown.extend(code.map(|_| "code".to_owned()));
    (
        Meta {
            page,
            rows,
            max_rows,
            code,
            unknown,
        },
        data,
    )
}

pub(super) fn list<'s, R: serde::Deserialize<'s>>(body: &'s Body<'_>) -> Result<(Meta<'s>, Rows<R>), BadPage> {
    let (meta, rows) = body.page(split::<Vec<R>>, split::<Vec<Raw<'s>>>)?;
    Ok((meta, rows.ok_or_else(|| bad("the answer has no `data` list"))?))
}

pub(super) fn bad(why: &str) -> BadPage {
    BadPage { why: why.to_owned() }
}

// -- what the walk needs ------------------------------------------------------------------------------------------------

/// Only what tells rows apart; the rest of a row is skipped.
#[derive(serde::Deserialize)]
struct Identity<'a> {
    #[serde(borrow, rename = "idDeposit")]
    deposit: Option<Raw<'a>>,
    #[serde(borrow, rename = "idCashout")]
    cashout: Option<Raw<'a>>,
    #[serde(borrow)]
    date: Option<Raw<'a>>,
    #[serde(borrow)]
    currency: Option<Raw<'a>>,
}

pub(super) fn head(ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
    let bytes = body;
    let body = Body::new(bytes);
    let mut head = PageHead {
        number,
        ..PageHead::default()
    };
    if ask.feed == BALANCE {
        head.rows = figures::accounts(&body)?;
        return Ok(head);
    }
    let (meta, rows) = list::<Identity<'_>>(&body)?;
    let length = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    if let Some(echoed) = whole_number(&field("page", meta.page), "page")?
        && echoed != i64::from(number)
    {
        return Err(bad("the answer is another page than the one asked for"));
    }
    let stated = whole_number(&field("rows", meta.rows), "rows")?;
    if let Some(stated) = stated.filter(|stated| *stated != length) {
        return Err(BadPage {
            why: format!("the answer states {stated} rows and lists {length}"),
        });
    }
    // Nothing is only what the list protocol says it is: an empty `data` may as well belong to an error.
    let counted = stated.is_some() || meta.max_rows.is_some();
    if length == 0 && (!counted || meta.code.is_some()) {
        return Err(bad(
            "an empty list that is no page: it states neither `rows` nor `maxRows`, or a `code`",
        ));
    }
    let max_rows = whole_number(&field("maxRows", meta.max_rows), "maxRows")?.unwrap_or(MAX_ROWS);
    if max_rows < 1 {
        return Err(bad("`maxRows` is 0: no page would ever be the last"));
    }
    // A short page ends the list where the page size is the documented one. Any other may be what the provider states and
    // not what it serves: then only an empty page is the end.
    let ends = length == 0 || (max_rows == MAX_ROWS && length < MAX_ROWS);
    head.next = (!ends).then(|| max_rows.to_string());
    identify(&mut head, bytes, &rows, |row| row_identity(ask, row));
    Ok(head)
}

fn whole_number(field: &Field<'_>, name: &str) -> Result<Option<i64>, BadPage> {
    let counted = field.is_there().then(|| field.count()).transpose();
    counted.map_err(|fault| BadPage {
        why: format!("`{name}` {}", fault.why),
    })
}

fn row_identity(ask: &Ask, row: &Identity<'_>) -> Option<String> {
    match ask.feed {
        BALANCE_REPORT => Some(format!("{}/{}", identity_text(row.date)?, identity_text(row.currency)?)),
        CASHOUTS => identity_text(row.cashout).map(|id| id.into_owned()),
        _ => identity_text(row.deposit).map(|id| id.into_owned()),
    }
}

// -- rows ---------------------------------------------------------------------------------------------------------------

pub(super) fn parse(tupay: &Tupay, ask: &Ask, body: &[u8]) -> Parsed {
    let body = Body::new(body);
    let read = match ask.feed {
        BALANCE => figures::balances(ask, &body),
        BALANCE_REPORT => figures::report(tupay, ask, &body),
        _ => movements(tupay, ask, &body),
    };
    read.unwrap_or_else(whole_page)
}

fn movements(tupay: &Tupay, ask: &Ask, body: &Body<'_>) -> Result<Parsed, BadPage> {
    let (meta, rows) = list::<Movement<'_>>(body)?;
    let mut parsed = Parsed::default();
    let mut unknown = Unknown::default();
    unknown.add("", &meta.unknown);
    let mut merchants = Merchants::new(tupay);
    let mut outside = 0;
    for (row, number) in rows.into_iter().zip(0_u32..) {
        let read = row.and_then(|row| {
            unknown.add("data[].", &row.unknown);
            merchants.see(row.id_merchant);
            movement(tupay, ask, &row)
        });
        match read {
            Ok(transaction) => {
                outside += i64::from(is_outside(ask, &transaction));
                parsed.transactions.push((number, transaction));
            }
            Err(fault) => fault.put_aside(&mut parsed, "data", number),
        }
    }
    if outside > 0 {
        parsed.warnings.push(format!(
            "{} created outside the span asked for: check `timestamp_unit`, or the provider ignores `from` and `to`",
            crate::providers::setup::counted(outside, "record")
        ));
    }
    parsed.foreign = merchants.foreign;
    parsed.unknown_fields = unknown.into_names();
    Ok(parsed)
}

/// Outside the span even with its second of overlap.
fn is_outside(ask: &Ask, transaction: &Transaction) -> bool {
    let second = chrono::TimeDelta::seconds(1);
    transaction
        .occurred_at
        .is_some_and(|at| at < ask.window.from - second || at > ask.window.until + second)
}

fn movement(tupay: &Tupay, ask: &Ask, row: &Movement<'_>) -> Result<Transaction, Fault> {
    let deposit = ask.feed == DEPOSITS;
    let currency = field("currency", row.currency).currency()?;
    let amount = field("amount", row.amount).unsigned_amount(currency, Unit::Major, Form::TextOrNumber)?;
    let provider_status = field("status", row.status).word()?;
    let (status, is_final) = if deposit {
        deposit_status(&provider_status)
    } else {
        cashout_status(&provider_status)
    };
    let (fee_minor, fee_currency) = fee(row, currency)?;
    let occurred_at = field("creationDate", row.creation_date).instant()?;
    let residuals = if deposit {
        requested(row, currency, amount, &provider_status)?
    } else {
        credited(row, currency, amount, &provider_status)?
    };
    let (id, direction, kind, amount_minor) = if deposit {
        (
            field("idDeposit", row.id_deposit),
            Direction::In,
            TransactionKind::Deposit,
            amount,
        )
    } else {
        (
            field("idCashout", row.id_cashout),
            Direction::Out,
            TransactionKind::Cashout,
            -amount,
        )
    };
    Ok(Transaction {
        account: account(tupay, row.id_merchant),
        feed: ask.feed,
        subject: String::new(),
        provider_id: id.id()?,
        reference: field("externalId", row.external_id).optional_id()?,
        related_id: None,
        direction,
        kind,
        currency,
        amount_minor,
        fee_minor,
        fee_currency,
        status,
        is_final,
        provider_status,
        occurred_at: Some(occurred_at),
        changed_at: field("lastChangeDate", row.last_change_date).optional_instant()?,
        residuals,
    })
}

/// `fee`, and for cashouts `tax`, which has no currency of its own and is taken to be in `feeCurrency` (section 5):
/// both are a cost, so `fee_minor` is their sum.
fn fee(row: &Movement<'_>, currency: Currency) -> Result<(Option<i64>, Option<Currency>), Fault> {
    let fee_currency = field("feeCurrency", row.fee_currency).currency_or(currency)?;
    let fee = field("fee", row.fee).optional_amount(fee_currency, Unit::Major, Form::TextOrNumber)?;
    let tax = field("tax", row.tax).optional_amount(fee_currency, Unit::Major, Form::TextOrNumber)?;
    let Some(sum) = fee.unwrap_or(0).checked_add(tax.unwrap_or(0)) else {
        return Err(Fault::new(
            ".tax",
            "does not fit 64-bit minor units together with the fee",
        ));
    };
    Ok(match fee.or(tax) {
        Some(_) => (Some(sum), Some(fee_currency)),
        None => (None, None),
    })
}

/// R8: a completed deposit is what was requested, where the currencies are the same.
fn requested(row: &Movement<'_>, currency: Currency, amount: i64, status: &str) -> Result<Vec<RowResidual>, Fault> {
    let asked_in = field("requestedCurrency", row.requested_currency).currency_or(currency)?;
    let asked =
        field("requestedAmount", row.requested_amount).optional_amount(asked_in, Unit::Major, Form::TextOrNumber)?;
    Ok(match asked {
        Some(asked) if status == "COMPLETED" && asked_in == currency && asked != amount => vec![RowResidual {
            relation: "R8".into(),
            stated_minor: amount,
            computed_minor: asked,
            detail: "`amount` differs from `requestedAmount`: the payer paid another sum".into(),
        }],
        _ => Vec::new(),
    })
}

/// R9: a completed cashout credited something, and where the currencies are the same, its amount.
fn credited(row: &Movement<'_>, currency: Currency, amount: i64, status: &str) -> Result<Vec<RowResidual>, Fault> {
    let credited_in = field("creditedCurrency", row.credited_currency).currency_or(currency)?;
    let credited =
        field("creditedAmount", row.credited_amount).optional_amount(credited_in, Unit::Major, Form::TextOrNumber)?;
    let Some(credited) = credited.filter(|_| status == "COMPLETED") else {
        return Ok(Vec::new());
    };
    let residual = |stated_minor, detail: &str| RowResidual {
        relation: "R9".into(),
        stated_minor,
        computed_minor: amount,
        detail: detail.into(),
    };
    Ok(match credited {
        nothing if nothing <= 0 => vec![residual(0, "a completed cashout with no `creditedAmount`")],
        other if credited_in == currency && other != amount => {
            vec![residual(
                other,
                "`creditedAmount` differs from `amount`: the beneficiary got another sum",
            )]
        }
        _ => Vec::new(),
    })
}

/// Section 7. CANCELLED is called final although a manual approval may still complete it: then that is a finding.
fn deposit_status(word: &str) -> (Status, bool) {
    match word {
        "CREATED" | "PENDING" | "FOR_REVIEW" | "EARLY_RELEASED" | "APPROVED" => (Status::Open, false),
        "COMPLETED" => (Status::Settled, true),
        "EXPIRED" => (Status::Failed, false),
        "CANCELLED" | "DECLINED" => (Status::Failed, true),
        _ => (Status::Unknown, false),
    }
}

/// Section 7. A bank may return a COMPLETED cashout days later: then that is a finding.
fn cashout_status(word: &str) -> (Status, bool) {
    match word {
        "PENDING" | "ON_HOLD" | "DELIVERED" => (Status::Open, false),
        "COMPLETED" => (Status::Settled, true),
        "CANCELLED" | "REJECTED" | "DECLINED" => (Status::Failed, true),
        _ => (Status::Unknown, false),
    }
}

/// The row's merchant, else the configured one.
pub(super) fn account(tupay: &Tupay, id_merchant: Option<Raw<'_>>) -> String {
    identity_text(id_merchant)
        .map(|text| text.into_owned())
        .or_else(|| tupay.merchant.clone())
        .unwrap_or_default()
}

/// Rows of another merchant than configured; without a setting, of more than one merchant in a page.
pub(super) struct Merchants {
    expected: Option<String>,
    pub(super) foreign: Option<String>,
}

impl Merchants {
    pub(super) fn new(tupay: &Tupay) -> Self {
        Self {
            expected: tupay.merchant.clone(),
            foreign: None,
        }
    }

    pub(super) fn see(&mut self, id_merchant: Option<Raw<'_>>) {
        let Some(seen) = identity_text(id_merchant) else {
            return;
        };
        match &self.expected {
            None => self.expected = Some(seen.into_owned()),
            Some(expected) if *expected != seen => {
                self.foreign = Some(
                    "rows of another merchant (`idMerchant`) than the session's: the session was switched, or the keys see too much".into(),
                );
            }
            Some(_) => {}
        }
    }
}
