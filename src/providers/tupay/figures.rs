//! TuPay's stated figures: report rows and the balance now (document, section 6).

use std::collections::BTreeSet;

use super::super::read::{Body, Fault, Field, Form, Raw, Unknown, field, object, unquoted};
use super::wire::{Merchants, account, bad, list};
use super::{BALANCE, BALANCE_REPORT, Tupay, days_of};
use crate::money::{Currency, Unit};
use crate::providers::{Ask, BadPage, Parsed};
use crate::record::Balance;

object! {
    /// A row of `/v1/balance/report`.
    ReportRow<'a> {
        id_merchant: Raw<'a> = "idMerchant", merchant_name: Raw<'a> = "merchantName", date: Raw<'a> = "date", currency: Raw<'a> = "currency",
        deposit_total: Raw<'a> = "depositTotal", deposit_fee_total: Raw<'a> = "depositFeeTotal",
        cashout_total: Raw<'a> = "cashoutTotal", note_total: Raw<'a> = "noteTotal",
        settlement_total: Raw<'a> = "settlementTotal", cancelled_settlement_total: Raw<'a> = "cancelledSettlementTotal",
        net_amount: Raw<'a> = "netAmount", total_balance: Raw<'a> = "totalBalance",
    }
}

object! {
    /// The body of `/v1/balance`.
    Balances<'a, T> { balances: T = "balances" }
}

object! {
    /// One account of `/v1/balance`.
    Account<'a> { currency: Raw<'a> = "currency", kind: Raw<'a> = "type", data: Raw<'a> = "data" }
}

object! {
    /// Its figures.
    Figures<'a> {
        total: Raw<'a> = "totalBalance", available: Raw<'a> = "availableBalance",
        settlement: Raw<'a> = "depositSettlementPeriod", reserve: Raw<'a> = "rollingReserveBalance",
        usable: Raw<'a> = "usableBalance", number: Raw<'a> = "accountNumber",
    }
}

/// Reads a page of the daily report.
pub(super) fn report(tupay: &Tupay, ask: &Ask, body: &Body<'_>) -> Result<Parsed, BadPage> {
    let (meta, rows) = list::<ReportRow<'_>>(body)?;
    let mut parsed = Parsed::default();
    let mut unknown = Unknown::default();
    unknown.add("", &meta.unknown);
    let mut merchants = Merchants::new(tupay);
    for (row, number) in rows.into_iter().zip(0_u32..) {
        let read = row.and_then(|row| {
            unknown.add("data[].", &row.unknown);
            merchants.see(row.id_merchant);
            report_row(tupay, ask, &row)
        });
        match read {
            Ok(figures) => parsed
                .balances
                .extend(figures.into_iter().map(|figure| (number, figure))),
            Err(fault) => fault.put_aside(&mut parsed, "data", number),
        }
    }
    parsed.foreign = merchants.foreign;
    parsed.unknown_fields = unknown.into_names();
    Ok(parsed)
}

/// The figures of one day. A row of a day outside the window is passed over: it is read with its own window, and the day
/// after the window may not be over yet (section 6.1: "skip it").
fn report_row(tupay: &Tupay, ask: &Ask, row: &ReportRow<'_>) -> Result<Vec<Balance>, Fault> {
    let as_of = field("date", row.date).instant()?;
    let currency = field("currency", row.currency).currency()?;
    let amount = |field: Field<'_>| field.amount(currency, Unit::Major, Form::TextOrNumber);
    let items = [
        ("deposit_total", amount(field("depositTotal", row.deposit_total))?),
        (
            "deposit_fee_total",
            amount(field("depositFeeTotal", row.deposit_fee_total))?,
        ),
        ("cashout_total", amount(field("cashoutTotal", row.cashout_total))?),
        ("note_total", amount(field("noteTotal", row.note_total))?),
        (
            "settlement_total",
            amount(field("settlementTotal", row.settlement_total))?,
        ),
        (
            "cancelled_settlement_total",
            amount(field("cancelledSettlementTotal", row.cancelled_settlement_total))?,
        ),
        ("net_amount", amount(field("netAmount", row.net_amount))?),
        ("total_balance", amount(field("totalBalance", row.total_balance))?),
    ];
    let (first, last) = days_of(ask);
    if !(first..=last).contains(&tupay.report_day(as_of)) {
        return Ok(Vec::new());
    }
    let account = account(tupay, row.id_merchant);
    let figure = |(item, amount_minor): (&str, i64)| Balance {
        account: account.clone(),
        feed: BALANCE_REPORT,
        subject: String::new(),
        as_of,
        currency,
        item: item.to_owned(),
        amount_minor,
    };
    Ok(items.into_iter().map(figure).collect())
}

/// Number of accounts in an answer of `/v1/balance`.
pub(super) fn accounts(body: &Body<'_>) -> Result<u32, BadPage> {
    let balances: Balances<'_, Vec<Raw<'_>>> = body.object()?;
    let accounts = balances
        .balances
        .ok_or_else(|| bad("the answer has no `balances` list"))?;
    Ok(u32::try_from(accounts.len()).unwrap_or(u32::MAX))
}

/// Reads `/v1/balance`.
pub(super) fn balances(ask: &Ask, body: &Body<'_>) -> Result<Parsed, BadPage> {
    fn split<'a, T>(body: Balances<'a, T>) -> (Vec<String>, Option<T>) {
        (body.unknown, body.balances)
    }
    let (top, rows) = body.page(split::<Vec<Account<'_>>>, split::<Vec<Raw<'_>>>)?;
    let rows = rows.ok_or_else(|| bad("the answer has no `balances` list"))?;
    let mut parsed = Parsed::default();
    let mut unknown = Unknown::default();
    unknown.add("", &top);
    let mut seen = BTreeSet::new();
    for (row, number) in rows.into_iter().zip(0_u32..) {
        match row.and_then(|row| account_figures(ask, &row, &mut unknown, &mut seen)) {
            Ok(figures) => parsed
                .balances
                .extend(figures.into_iter().map(|figure| (number, figure))),
            Err(fault) => fault.put_aside(&mut parsed, "balances", number),
        }
    }
    parsed.unknown_fields = unknown.into_names();
    Ok(parsed)
}

/// One account's figures as of the run. Its name is its type (`PRIMARY`), else its number.
fn account_figures(
    ask: &Ask,
    row: &Account<'_>,
    unknown: &mut Unknown,
    seen: &mut BTreeSet<(String, Currency)>,
) -> Result<Vec<Balance>, Fault> {
    unknown.add("balances[].", &row.unknown);
    let currency = field("currency", row.currency).currency()?;
    let figures: Figures<'_> = field("data", row.data).object()?;
    unknown.add("balances[].data.", &figures.unknown);
    let kind = row
        .kind
        .and_then(|raw| unquoted(raw.get()))
        .map(|text| text.into_owned());
    let number = field("accountNumber", figures.number)
        .optional_id()
        .map_err(|f| f.under("data"))?;
    let account = kind.filter(|kind| !kind.is_empty()).or(number).unwrap_or_default();
    if !seen.insert((account.clone(), currency)) {
        return Err(Fault::new("", "is a second balance of the same type and currency"));
    }
    let amount = |field: Field<'_>| {
        let read = field.optional_amount(currency, Unit::Major, Form::TextOrNumber);
        read.map_err(|fault| fault.under("data"))
    };
    field("totalBalance", figures.total)
        .amount(currency, Unit::Major, Form::TextOrNumber)
        .map_err(|fault| fault.under("data"))?;
    let items = [
        ("total_balance", amount(field("totalBalance", figures.total))?),
        (
            "available_balance",
            amount(field("availableBalance", figures.available))?,
        ),
        (
            "deposit_settlement_period",
            amount(field("depositSettlementPeriod", figures.settlement))?,
        ),
        (
            "rolling_reserve_balance",
            amount(field("rollingReserveBalance", figures.reserve))?,
        ),
        ("usable_balance", amount(field("usableBalance", figures.usable))?),
    ];
    Ok(items
        .into_iter()
        .filter_map(|(item, amount)| {
            Some(Balance {
                account: account.clone(),
                feed: BALANCE,
                subject: String::new(),
                as_of: ask.as_of,
                currency,
                item: item.to_owned(),
                amount_minor: amount?,
            })
        })
        .collect())
}
