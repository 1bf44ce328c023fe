//! TwoPay's JSON: one record or one figure in an envelope (sections 4 to 6).

use super::super::lookups::{self, value_at, word_at};
use super::super::read::{Fault, Form, Raw, Unknown, field, identity_text, object, whole_page};
use super::{PAYIN_BALANCE, PAYOUTS, Twopay, pesos};
use crate::providers::{Ask, BadPage, PageHead, Parsed, identity};
use crate::record::{Balance, Direction, Status, Transaction, TransactionKind, Unreadable};

object! {
    /// `{"code":200,"message":"SUCCESS","data":…}`.
    Envelope<'a> { code: Raw<'a> = "code", message: Raw<'a> = "message", data: Raw<'a> = "data" }
}

object! {
    /// A payin or a payout: the fields of both pages.
    Movement<'a> {
        unique_key: Raw<'a> = "uniqueKey", status: Raw<'a> = "status", amount: Raw<'a> = "amount",
        country: Raw<'a> = "country", name: Raw<'a> = "name", phone: Raw<'a> = "phone", email: Raw<'a> = "email",
        document: Raw<'a> = "document", document_type: Raw<'a> = "documentType", bank_code: Raw<'a> = "bankCode",
        bank_type: Raw<'a> = "bankType", bank_account: Raw<'a> = "bankAccount", remarks: Raw<'a> = "remarks",
        address: Raw<'a> = "address", error_message: Raw<'a> = "errorMessage", error_code: Raw<'a> = "errorCode",
        encrypted: Raw<'a> = "encryptStr", cash_code: Raw<'a> = "cashCode", pse_url: Raw<'a> = "pseUrl",
        agreement: Raw<'a> = "numeroConvenio", voucher: Raw<'a> = "referenceNumber",
    }
}

fn bad(why: &str) -> BadPage {
    BadPage { why: why.to_owned() }
}

/// The whole answer as a token, and the record in it.
fn open<'s>(body: &'s super::super::read::Body<'_>) -> Result<(Raw<'s>, Envelope<'s>, Raw<'s>), BadPage> {
    let envelope: Envelope<'s> = body.object()?;
    if identity_text(envelope.code).as_deref() != Some("200") {
        return Err(bad("`code` is not 200"));
    }
    let data = envelope.data.filter(|data| data.get().starts_with('{'));
    let data = data.ok_or_else(|| bad("the answer has no `data` object"))?;
    Ok((body.object()?, envelope, data))
}

pub(super) fn head(ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
    let body = lookups::body(body)?;
    open(&body)?;
    Ok(PageHead {
        number,
        rows: 1,
        ids: vec![identity(ask.subject.as_deref().unwrap_or_default())].into(),
        ..PageHead::default()
    })
}

pub(super) fn parse(twopay: &Twopay, ask: &Ask, body: &[u8]) -> Parsed {
    let read = lookups::body(body).and_then(|body| {
        let refused: Envelope<'_> = body.object()?;
        // Archived as the proof that the provider does not know the key; nothing is listed under it.
        if identity_text(refused.code).as_deref() == Some("401") && !Twopay::is_balance(ask.feed) {
            return Ok(Parsed::default());
        }
        let (root, envelope, data) = open(&body)?;
        let mut parsed = if Twopay::is_balance(ask.feed) {
            balance(twopay, ask, root, data)
        } else {
            record(twopay, ask, root, data)
        };
        let mut unknown = Unknown::default();
        unknown.add("", &envelope.unknown);
        parsed.unknown_fields.extend(unknown.into_names());
        Ok(parsed)
    });
    read.unwrap_or_else(whole_page)
}

fn put_aside(parsed: &mut Parsed, fault: Fault) {
    let place = fault.path.trim_start_matches('.');
    parsed.unreadable.push(Unreadable {
        place: if place.is_empty() { "data".into() } else { place.into() },
        reason: fault.why.into_owned(),
    });
}

fn record(twopay: &Twopay, ask: &Ask, root: Raw<'_>, data: Raw<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    match movement(twopay, ask, root, data, &mut parsed) {
        Ok(transaction) => parsed.transactions.push((0, transaction)),
        Err(fault) => {
            if fault.sub_minor {
                parsed.misconfigured = Some(format!(
                    "{}: an amount has a fraction of a centavo; the unit is most likely peso: set `amount_unit = \"peso\"`",
                    ask.feed
                ));
            }
            put_aside(&mut parsed, fault);
        }
    }
    parsed
}

fn movement(
    twopay: &Twopay,
    ask: &Ask,
    root: Raw<'_>,
    data: Raw<'_>,
    parsed: &mut Parsed,
) -> Result<Transaction, Fault> {
    let row: Movement<'_> = field("data", Some(data)).object()?;
    let mut unknown = Unknown::default();
    unknown.add("data.", &row.unknown);
    parsed.unknown_fields = unknown.into_names();
    let under = |fault: Fault| fault.under("data");
    let key = field("uniqueKey", row.unique_key).word().map_err(under)?;
    if ask.subject.as_deref() != Some(&key) {
        return Err(Fault::new(".data.uniqueKey", "is not the key that was asked for"));
    }
    let country = field("country", row.country);
    if country.is_there() && !matches!(country.text().map_err(under)?.as_ref(), "CO" | "") {
        return Err(Fault::new(".data.country", "is not CO, so the currency is not known"));
    }
    let currency = pesos().ok_or_else(|| Fault::new("", "COP is no currency"))?;
    let amount = field("amount", row.amount)
        .plain_amount(currency, twopay.amount_unit, Form::Text)
        .map_err(under)?;
    let word = word_at(root, twopay.status_pointer(ask.feed))?;
    if word.is_none() {
        parsed.warnings.push(format!(
            "provider schema: no status in answers about {}; nothing is taken for settled. See `{}_status_pointer`",
            ask.feed,
            ask.feed.trim_end_matches('s')
        ));
    }
    let provider_status = word.unwrap_or_default();
    let (status, exactly) = meaning(twopay, &provider_status);
    if !exactly {
        parsed
            .warnings
            .push("a status is written in another case than the document's".into());
    }
    let out = ask.feed == PAYOUTS;
    Ok(Transaction {
        account: String::new(),
        feed: ask.feed,
        subject: key.clone(),
        provider_id: key.clone(),
        reference: Some(key),
        related_id: None,
        direction: if out { Direction::Out } else { Direction::In },
        kind: if out {
            TransactionKind::Payout
        } else {
            TransactionKind::Payment
        },
        currency,
        amount_minor: if out { -amount } else { amount },
        fee_minor: None,
        fee_currency: None,
        status,
        is_final: matches!(status, Status::Settled | Status::Failed),
        provider_status,
        occurred_at: None,
        changed_at: None,
        residuals: Vec::new(),
    })
}

/// Section 5, and whether the word stood there in the document's own case.
fn meaning(twopay: &Twopay, word: &str) -> (Status, bool) {
    if let Some(status) = twopay.overrides.get(word) {
        return (*status, true);
    }
    let named = |word: &str| match word {
        "SUCCESS" => Some(Status::Settled),
        "FAILED" => Some(Status::Failed),
        "IN_PROGRESS" => Some(Status::Open),
        _ => None,
    };
    match (named(word), named(&word.to_ascii_uppercase())) {
        (Some(status), _) => (status, true),
        (None, Some(status)) => (status, false),
        (None, None) => (Status::Unknown, true),
    }
}

fn balance(twopay: &Twopay, ask: &Ask, root: Raw<'_>, data: Raw<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    match figure(twopay, ask, root, data) {
        Ok(figure) => parsed.balances.push((0, figure)),
        Err(fault) => {
            if fault.sub_minor {
                parsed.misconfigured = Some(format!(
                    "{}: a fraction of a centavo; the unit is most likely peso: set `amount_unit = \"peso\"`",
                    ask.feed
                ));
            }
            put_aside(&mut parsed, fault);
        }
    }
    parsed
}

fn figure(twopay: &Twopay, ask: &Ask, root: Raw<'_>, data: Raw<'_>) -> Result<Balance, Fault> {
    if value_at(data, "/uniqueKey")?.is_some() {
        return Err(Fault::new(
            ".data.uniqueKey",
            "makes this the answer to a lookup, not a balance",
        ));
    }
    let place = twopay.balance_pointer.replace('/', ".");
    let raw = value_at(root, &twopay.balance_pointer)?;
    let currency = twopay
        .balance_currency
        .ok_or_else(|| Fault::new(place.clone(), "has no currency"))?;
    let amount_minor = field("balance", raw)
        .amount(currency, twopay.amount_unit, Form::TextOrNumber)
        .map_err(|fault| Fault { path: place, ..fault })?;
    Ok(Balance {
        account: wallet(ask.feed).to_owned(),
        feed: ask.feed,
        subject: String::new(),
        as_of: ask.as_of,
        currency,
        item: snake(twopay.balance_pointer.rsplit('/').next().unwrap_or_default()),
        amount_minor,
    })
}

/// The two wallets are kept apart.
pub(super) fn wallet(feed: &str) -> &'static str {
    if feed == PAYIN_BALANCE { "payin" } else { "payout" }
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
