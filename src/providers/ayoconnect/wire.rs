//! Ayoconnect's JSON: one payment of either generation, or one binding (sections 5 and 6).

use super::super::lookups::{self, word_at};
use super::super::read::{Body, Fault, Field, Form, Raw, Unknown, field, object, whole_page};
use super::errors::Code;
use super::{Ask, Ayoconnect, BINDINGS, Generation, PAYMENT_SERVICE};
use crate::money::{Currency, Unit};
use crate::providers::{BadPage, PageHead, Parsed, identity};
use crate::record::{Direction, Status, Transaction, TransactionKind, Unreadable};

object! {
    /// Every answer to a lookup, of both generations and of bindings.
    Answer<'a> {
        code: Raw<'a> = "responseCode", message: Raw<'a> = "responseMessage", description: Raw<'a> = "responseDescription",
        reference_no: Raw<'a> = "referenceNo", partner_reference: Raw<'a> = "partnerReferenceNo",
        amount: Raw<'a> = "amount", info: Raw<'a> = "additionalInfo",
        original_reference_no: Raw<'a> = "originalReferenceNo", original_external_id: Raw<'a> = "originalExternalId",
        original_partner_reference: Raw<'a> = "originalPartnerReferenceNo", service: Raw<'a> = "serviceCode",
        latest_status: Raw<'a> = "latestTransactionStatus", status_text: Raw<'a> = "transactionStatusDesc",
        transaction_amount: Raw<'a> = "transAmount", paid_at: Raw<'a> = "paidTime",
        account_token: Raw<'a> = "accountToken", token_status: Raw<'a> = "tokenStatus", auth_code: Raw<'a> = "authCode",
        user: Raw<'a> = "userInfo",
    }
}

object! {
    /// `additionalInfo`.
    Info<'a> {
        payment_result: Raw<'a> = "paymentResult", user: Raw<'a> = "publicUserId", remarks: Raw<'a> = "remarks",
        bank: Raw<'a> = "bankCode", otp: Raw<'a> = "otpAllowed", settlement: Raw<'a> = "settlementStatus",
        card: Raw<'a> = "maskedCard",
    }
}

object! {
    /// `{"value":"150000.00","currency":"IDR"}`.
    Money<'a> { value: Raw<'a> = "value", currency: Raw<'a> = "currency" }
}

fn bad(why: &str) -> BadPage {
    BadPage { why: why.to_owned() }
}

fn open<'s>(ayoconnect: &Ayoconnect, ask: &Ask, body: &'s Body<'_>) -> Result<(Raw<'s>, Answer<'s>), BadPage> {
    let answer: Answer<'s> = body.object()?;
    let code = field("responseCode", answer.code).text().ok();
    let code = code
        .and_then(|code| Code::parse(&code))
        .ok_or_else(|| bad("`responseCode` is not 7 digits"))?;
    if !(200..=299).contains(&code.http) {
        return Err(bad("`responseCode` is no success"));
    }
    if !has_record(ayoconnect, ask, &answer) {
        return Err(bad("the answer holds no record of the configured `api_generation`"));
    }
    Ok((body.object()?, answer))
}

/// Whether a body that can be read as a success says nothing about what was asked.
pub(super) fn is_without_record(ayoconnect: &Ayoconnect, ask: &Ask, body: &[u8]) -> bool {
    let read = lookups::body(body);
    read.is_ok_and(|body| {
        body.object::<Answer<'_>>()
            .is_ok_and(|answer| !has_record(ayoconnect, ask, &answer))
    })
}

/// What makes it an answer about something: anything less is a success without a record.
fn has_record(ayoconnect: &Ayoconnect, ask: &Ask, answer: &Answer<'_>) -> bool {
    match (ask.feed, ayoconnect.0.generation) {
        (BINDINGS, _) => answer.token_status.is_some(),
        (_, Generation::V2) => answer.reference_no.is_some() || answer.amount.is_some(),
        (_, Generation::V3) => answer.latest_status.is_some() || answer.transaction_amount.is_some(),
    }
}

pub(super) fn head(ayoconnect: &Ayoconnect, ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
    let body = lookups::body(body)?;
    open(ayoconnect, ask, &body)?;
    Ok(PageHead {
        number,
        rows: 1,
        ids: vec![identity(ask.subject.as_deref().unwrap_or_default())].into(),
        ..PageHead::default()
    })
}

pub(super) fn parse(ayoconnect: &Ayoconnect, ask: &Ask, body: &[u8]) -> Parsed {
    let read = lookups::body(body).and_then(|body| {
        let refused: Answer<'_> = body.object()?;
        let code = field("responseCode", refused.code).text().ok();
        // Archived as the proof that the provider does not know the key; nothing is listed under it.
        if code
            .and_then(|code| Code::parse(&code))
            .is_some_and(|code| code.http == 404)
        {
            return Ok(Parsed::default());
        }
        let (root, answer) = open(ayoconnect, ask, &body)?;
        let mut page = Page {
            ayoconnect,
            ask,
            root,
            answer,
            unknown: Unknown::default(),
            parsed: Parsed::default(),
        };
        page.read();
        Ok(page.finish())
    });
    read.unwrap_or_else(whole_page)
}

/// One answer under reading.
struct Page<'p, 'a> {
    ayoconnect: &'p Ayoconnect,
    ask: &'p Ask,
    root: Raw<'a>,
    answer: Answer<'a>,
    unknown: Unknown,
    parsed: Parsed,
}

impl Page<'_, '_> {
    fn finish(mut self) -> Parsed {
        self.unknown.add("", &self.answer.unknown);
        self.parsed.unknown_fields = self.unknown.into_names();
        self.parsed
    }

    fn warn(&mut self, what: &str) {
        self.parsed.warnings.push(what.to_owned());
    }

    fn read(&mut self) {
        self.look_at_service();
        let read = if self.ask.feed == BINDINGS {
            self.binding()
        } else {
            self.payment()
        };
        if let Err(fault) = read {
            let place = fault.path.trim_start_matches('.');
            self.parsed.unreadable.push(Unreadable {
                place: if place.is_empty() { "$".into() } else { place.into() },
                reason: fault.why.into_owned(),
            });
        }
    }

    /// Service digits are for people: a mock answers with another service's.
    fn look_at_service(&mut self) {
        let wanted = match (self.ask.feed, self.ayoconnect.0.generation) {
            (BINDINGS, _) => 31,
            (_, Generation::V2) => 36,
            (_, Generation::V3) => 55,
        };
        let code = field("responseCode", self.answer.code).text().ok();
        if code
            .and_then(|code| Code::parse(&code))
            .is_some_and(|code| code.service != wanted)
        {
            self.warn("a response code names another service than the one asked; it was taken all the same");
        }
        let service = field("serviceCode", self.answer.service);
        if service.is_there() && service.text().ok().as_deref() != Some(PAYMENT_SERVICE) {
            self.warn("`serviceCode` is not 54: the answer calls itself something else than a payment");
        }
    }

    fn payment(&mut self) -> Result<(), Fault> {
        let info: Option<Info<'_>> = match self.answer.info.filter(|raw| raw.get() != "null") {
            Some(raw) => Some(field("additionalInfo", Some(raw)).object()?),
            None => None,
        };
        if let Some(info) = &info {
            self.unknown.add("additionalInfo.", &info.unknown);
        }
        let v2 = self.ayoconnect.0.generation == Generation::V2;
        let answer = &self.answer;
        let (id, reference, money) = if v2 {
            (
                field("referenceNo", answer.reference_no),
                field("partnerReferenceNo", answer.partner_reference),
                field("amount", answer.amount),
            )
        } else {
            (
                field("originalReferenceNo", answer.original_reference_no),
                field("originalPartnerReferenceNo", answer.original_partner_reference),
                field("transAmount", answer.transaction_amount),
            )
        };
        let provider_id = id.id()?;
        // Generation 3 repeats the key that was asked for.
        if !v2 && provider_id != self.ayoconnect.key(self.ask) {
            return Err(Fault::new(
                ".originalReferenceNo",
                "is not the payment that was asked about",
            ));
        }
        let reference = reference.optional_id()?;
        let (currency, amount) = amount(money)?;
        let word = if v2 {
            word_at(self.root, "/additionalInfo/paymentResult")?
        } else {
            optional_word(field("latestTransactionStatus", answer.latest_status))?
        };
        if word.is_none() {
            self.warn("provider schema: no status in an answer; nothing is taken for settled");
        }
        let word = word.unwrap_or_default();
        let paid_at = self.paid_at();
        let (status, refund, settlement) = self.settlement(self.meaning(&word))?;
        let payment = Transaction {
            account: String::new(),
            feed: self.ask.feed,
            subject: self.ask.subject.clone().unwrap_or_default(),
            provider_id,
            reference,
            related_id: None,
            direction: Direction::In,
            kind: TransactionKind::Payment,
            currency,
            amount_minor: amount,
            fee_minor: None,
            fee_currency: None,
            status,
            is_final: matches!(status, Status::Settled | Status::Failed),
            provider_status: match settlement {
                Some(settlement) => format!("{word}, {settlement}"),
                None => word,
            },
            occurred_at: None,
            changed_at: paid_at,
            residuals: Vec::new(),
        };
        if let Some(state) = refund {
            let refund = state.record(&payment);
            self.parsed.transactions.push((0, payment));
            self.parsed.transactions.push((0, refund));
        } else {
            self.parsed.transactions.push((0, payment));
        }
        Ok(())
    }

    /// Section 6. Only what is named there decides; SNAP's other digits are not confirmed and stay unknown.
    fn meaning(&self, word: &str) -> Status {
        let settings = &self.ayoconnect.0;
        if let Some(status) = settings.overrides.get(word) {
            return *status;
        }
        let plain = word.to_ascii_uppercase().replace(' ', "_");
        match (settings.generation, plain.as_str()) {
            (Generation::V2, "SUCCESS") | (Generation::V3, "00") => Status::Settled,
            (Generation::V2, "FAILED") | (Generation::V3, "06") => Status::Failed,
            // A bank that timed out may still have paid.
            (
                Generation::V2,
                "INITIATED"
                | "PROCESSING"
                | "PENDING_USER_VERIFICATION"
                | "PENDING_USER_VERIFICATION_WITH_URL"
                | "TIMEOUT",
            )
            | (Generation::V3, "01" | "02" | "03") => Status::Open,
            _ => Status::Unknown,
        }
    }

    /// An optional field of the standard that Ayoconnect's document does not show: useful when it can be read.
    fn paid_at(&mut self) -> Option<crate::day::Instant> {
        let read = field("paidTime", self.answer.paid_at).optional_instant();
        if read.is_err() {
            self.warn("`paidTime` is no instant with an offset and was left out");
        }
        read.ok().flatten()
    }

    /// What the settlement status makes of a payment: its status, the refund it tells of, and its word where it is part of the
    /// record. `SETTLED` is only the default after a success and says nothing (section 6); a word that neither the document nor
    /// the settings name leaves open what became of the money.
    fn settlement(&mut self, status: Status) -> Result<(Status, Option<RefundState>, Option<String>), Fault> {
        let settings = &self.ayoconnect.0;
        let Some(word) = word_at(self.root, &settings.settlement)? else {
            return Ok((status, None, None));
        };
        let told = |refund: RefundState| (status, Some(refund), Some(refund.word().to_owned()));
        let plain = word.to_ascii_uppercase().replace('_', " ");
        Ok(match (settings.overrides.get(&word), plain.as_str()) {
            (Some(Status::Settled), _) => (status, None, None),
            (Some(Status::Failed), _) => (status, Some(RefundState::Whole), Some(word)),
            (Some(named), _) if status == Status::Settled => (*named, None, Some(word)),
            (None, "REFUNDED") => told(RefundState::Whole),
            (None, "PARTIALLY REFUNDED") => {
                self.warn(
                    "a payment was refunded in part; the amount is not stated, what the ledger books is taken for it",
                );
                told(RefundState::Part)
            }
            (None, "SETTLED") => (status, None, None),
            (None, _) if status == Status::Settled => {
                self.warn("a settlement status that the document does not name");
                (Status::Unknown, None, Some(word))
            }
            // Before a success it says nothing.
            _ => (status, None, None),
        })
    }

    fn binding(&mut self) -> Result<(), Fault> {
        let currency = rupiah().ok_or_else(|| Fault::new("", "IDR is no currency"))?;
        let reference = field("partnerReferenceNo", self.answer.partner_reference).id()?;
        let word = field("tokenStatus", self.answer.token_status).word()?;
        let plain = word.to_ascii_uppercase().replace('_', " ");
        let status = match (self.ayoconnect.0.overrides.get(&word), plain.as_str()) {
            (Some(status), _) => *status,
            (None, "ACTIVE") => Status::Settled,
            // Unbound or unknown: only a new link helps.
            (None, "DISABLED" | "NOT FOUND") => Status::Failed,
            // The fraud detection's limiter lets go by itself.
            (None, "BLOCKED") => Status::Open,
            _ => Status::Unknown,
        };
        self.parsed.transactions.push((
            0,
            Transaction {
                account: String::new(),
                feed: self.ask.feed,
                subject: self.ask.subject.clone().unwrap_or_default(),
                provider_id: self.ayoconnect.key(self.ask).to_owned(),
                reference: Some(reference),
                related_id: None,
                direction: Direction::In,
                kind: TransactionKind::Binding,
                currency,
                amount_minor: 0,
                fee_minor: None,
                fee_currency: None,
                status,
                // Bindings lapse as cards do: no status is for ever.
                is_final: false,
                provider_status: word,
                occurred_at: None,
                changed_at: None,
                residuals: Vec::new(),
            },
        ));
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum RefundState {
    Whole,
    Part,
}

impl RefundState {
    fn word(self) -> &'static str {
        match self {
            Self::Whole => "REFUNDED",
            Self::Part => "PARTIALLY REFUNDED",
        }
    }

    /// The refund that the payment's status tells of. A whole one is exact; of a part the amount is not known: its record says
    /// so by its status and carries no money, so that nothing is guessed. It is listed until the ledger books a refund of less than
    /// the payment: that entry says how much it was.
    fn record(self, payment: &Transaction) -> Transaction {
        let whole = matches!(self, Self::Whole);
        Transaction {
            provider_id: format!("{}-refund", payment.provider_id),
            related_id: Some(payment.provider_id.clone()),
            direction: Direction::Out,
            kind: TransactionKind::Refund,
            amount_minor: if whole {
                payment.amount_minor.saturating_neg()
            } else {
                0
            },
            status: if whole { Status::Settled } else { Status::Unknown },
            // Further parts may follow.
            is_final: whole,
            provider_status: self.word().to_owned(),
            changed_at: None,
            ..payment.clone()
        }
    }
}

fn optional_word(field: Field<'_>) -> Result<Option<String>, Fault> {
    match field.is_there() && field.text()?.as_ref() != "" {
        true => field.word().map(Some),
        false => Ok(None),
    }
}

/// The only currency the document shows (section 5); a binding has none of its own.
fn rupiah() -> Option<Currency> {
    "IDR".parse().ok()
}

/// Read in the currency it bears: whether it is the ledger's is for the comparison to say.
fn amount(money: Field<'_>) -> Result<(Currency, i64), Fault> {
    let inner: Money<'_> = money.object()?;
    let under = |fault: Fault| money.within(fault);
    let currency = field("currency", inner.currency).currency().map_err(under)?;
    let amount = field("value", inner.value)
        .plain_amount(currency, Unit::Major, Form::Text)
        .map_err(under)?;
    Ok((currency, amount))
}
