//! One discrepancy in full, as it stands in the database, and the sentences in it.

use chrono_tz::Tz;

use super::items::Item;
use super::keys::Keys;
use super::pair;
use super::rows::{Entry, Record};
use crate::day::{BusinessDay, Instant, day_of};
use crate::money::{Currency, format_minor};
use crate::record::{Direction, Kind, Status, TransactionKind};

/// A finding ready to be stored; its life is added by the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    pub identity: String,
    pub kind: Kind,
    pub provider: Option<String>,
    pub account: Option<String>,
    pub direction: Option<Direction>,
    pub reference: Option<String>,
    pub provider_id: Option<String>,
    pub ledger_id: Option<String>,
    pub currency: Option<Currency>,
    /// Minor units, signed; for relations what was stated.
    pub provider_amount: Option<i64>,
    /// Minor units, signed; for relations what the rows give.
    pub ledger_amount: Option<i64>,
    pub difference: Option<i64>,
    pub provider_status: Option<String>,
    pub ledger_status: Option<String>,
    pub occurred_at: Option<Instant>,
    pub booked_at: Option<Instant>,
    /// The day it is about; None: the day on which it was found first.
    pub business_day: Option<BusinessDay>,
    pub what_differs: String,
    pub detail: String,
    pub evidence: String,
    pub suggested_match: Option<String>,
}

impl Discrepancy {
    /// About nothing yet.
    pub fn new(kind: Kind, identity: String) -> Self {
        Self {
            identity,
            kind,
            provider: None,
            account: None,
            direction: None,
            reference: None,
            provider_id: None,
            ledger_id: None,
            currency: None,
            provider_amount: None,
            ledger_amount: None,
            difference: None,
            provider_status: None,
            ledger_status: None,
            occurred_at: None,
            booked_at: None,
            business_day: None,
            what_differs: String::new(),
            detail: String::new(),
            evidence: String::new(),
            suggested_match: None,
        }
    }

    /// Takes over what a record says.
    pub fn with_record(mut self, record: &Record) -> Self {
        self.provider = Some(record.provider.clone());
        self.account = Some(record.account.clone());
        self.direction = Some(record.direction);
        self.reference.clone_from(&record.reference);
        self.provider_id = Some(record.provider_id.clone());
        self.currency = Some(record.currency);
        self.provider_amount = Some(record.amount);
        self.provider_status = Some(record.provider_status.clone());
        self.occurred_at = record.occurred_at;
        self.business_day = Some(record.business_day);
        self
    }

    /// Takes over what an entry says; the record's word stands where both speak.
    pub fn with_entry(mut self, entry: &Entry, zone: Tz) -> Self {
        if self.business_day.is_none() {
            self.business_day = entry.booked_at.map(|at| day_of(at, zone));
        }
        self.direction.get_or_insert(entry.direction);
        self.reference.get_or_insert_with(|| entry.reference.clone());
        if self.provider_id.is_none() {
            self.provider_id.clone_from(&entry.provider_id);
        }
        if self.account.is_none() {
            self.account.clone_from(&entry.account);
        }
        self.ledger_id.clone_from(&entry.ledger_id);
        self.currency.get_or_insert(entry.currency);
        self.ledger_amount = Some(entry.amount);
        self.ledger_status = Some(entry.ledger_status.clone().unwrap_or_else(|| entry.status.to_string()));
        self.booked_at = entry.booked_at;
        self
    }
}

/// The rows an item is about, with the place of each in words.
pub struct Rows<'a> {
    pub records: Vec<(&'a Record, &'a str)>,
    pub entries: Vec<&'a Entry>,
}

/// An item in full. `keys`: what the provider wants to be asked by, where it has no list.
pub fn of_item(item: &Item, identity: String, rows: &Rows<'_>, keys: &Keys, zone: Tz) -> Discrepancy {
    let record = rows.records.first().map(|r| r.0);
    let entry = rows.entries.first().copied();
    let mut found = Discrepancy::new(item.kind, identity);
    if let Some(record) = record {
        found = found.with_record(record);
    }
    if let Some(entry) = entry {
        found = found.with_entry(entry, zone);
    }
    found.difference = item.difference;
    if rows.records.len() > 1 {
        found.provider_amount = sum(rows.records.iter().map(|r| (r.0.currency, r.0.amount)));
    }
    if rows.entries.len() > 1 {
        found.ledger_amount = sum(rows.entries.iter().map(|e| (e.currency, e.amount)));
    }
    found.what_differs = unbound(item.kind, rows, keys).unwrap_or_else(|| what_differs(item.kind, rows));
    found.detail = detail(item.kind, record, entry, rows, !keys.feeds().is_empty());
    if let (Kind::NotCheckable, Some(entry)) = (item.kind, entry)
        && let Some(why) = keys.problem(entry)
    {
        found.detail = format!("{}; {why}, so the provider cannot be asked about it", found.detail);
    }
    let places = rows.records.iter().map(|r| r.1.to_owned());
    found.evidence = places
        .chain(rows.entries.iter().map(|entry| entry_place(entry)))
        .collect::<Vec<_>>()
        .join("; ");
    if let (Kind::Suggested, Some(record), Some(entry)) = (item.kind, record, entry) {
        found.suggested_match = Some(suggestion(record, entry, zone));
    }
    found
}

fn sum(amounts: impl Iterator<Item = (Currency, i64)>) -> Option<i64> {
    let all: Vec<_> = amounts.collect();
    let one_currency = all.windows(2).all(|w| w[0].0 == w[1].0);
    one_currency
        .then(|| all.iter().try_fold(0_i64, |sum, a| sum.checked_add(a.1)))
        .flatten()
}

/// File and line of an entry.
fn entry_place(entry: &Entry) -> String {
    format!("ledger {} line {}", entry.source, entry.source_line)
}

fn name_of_entry(entry: &Entry) -> String {
    match &entry.ledger_id {
        Some(id) => format!("{} (ledger id {id})", entry.reference),
        None => format!("{} ({} line {})", entry.reference, entry.source, entry.source_line),
    }
}

/// The entry that is the only one to fit a record, and why it fits.
fn suggestion(record: &Record, entry: &Entry, zone: Tz) -> String {
    let apart = entry
        .booked_at
        .map(|at| (day_of(at, zone) - record.business_day).num_days().abs());
    let near = match apart {
        Some(0) => ", booked on the same day".to_owned(),
        Some(1) => ", booked one day apart".to_owned(),
        Some(days) => format!(", booked {days} days apart"),
        None => String::new(),
    };
    format!(
        "{}: the same {} ({}){near}; neither side has another one that fits",
        name_of_entry(entry),
        money(record.amount, record.currency),
        record.direction
    )
}

/// The ledger's own word for the status.
fn word(entry: &Entry) -> &str {
    entry.ledger_status.as_deref().unwrap_or(entry.status.as_str())
}

fn money(amount: i64, currency: Currency) -> String {
    format!("{} {currency}", format_minor(amount, currency))
}

fn what_differs(kind: Kind, rows: &Rows<'_>) -> String {
    match (&rows.records[..], &rows.entries[..]) {
        // Nobody was asked, so nothing is known to be absent.
        ([], [_]) if kind == Kind::NotCheckable => "key: unusable -> not asked".to_owned(),
        ([(record, _)], entries) if kind == Kind::StalePending => {
            let ours = entries.first().map_or("absent", |e| word(e));
            let still = format!("status: {ours} -> {}, still open", record.provider_status);
            let rest = entries
                .first()
                .map(|entry| pair::what_differs(record, entry))
                .unwrap_or_default();
            let rest = rest
                .split("; ")
                .filter(|part| !part.is_empty() && !part.starts_with("status: "));
            [still.as_str()].into_iter().chain(rest).collect::<Vec<_>>().join("; ")
        }
        ([(record, _)], [entry]) if kind == Kind::Suggested => {
            let theirs = record.reference.as_deref().unwrap_or(&record.provider_id);
            format!("reference: {} -> {theirs}", entry.reference)
        }
        ([(record, _)], entries) if kind == Kind::Vanished => {
            let gone = format!("listed: {} -> absent", format_minor(record.amount, record.currency));
            let rest = entries.first().map(|entry| pair::what_differs(record, entry));
            [gone]
                .into_iter()
                .chain(rest.filter(|r| !r.is_empty()))
                .collect::<Vec<_>>()
                .join("; ")
        }
        (records, entries) if kind == Kind::Unclassified => {
            let ours = entries.first().map_or("absent", |e| word(e));
            let theirs = records.first().map_or("absent", |r| r.0.provider_status.as_str());
            let mut parts = vec![format!("status: {ours} -> {theirs}")];
            if let (Some((record, _)), Some(entry)) = (records.first(), entries.first()) {
                let rest = pair::what_differs(record, entry);
                parts.extend(
                    rest.split("; ")
                        .filter(|p| !p.is_empty() && !p.starts_with("status: "))
                        .map(str::to_owned),
                );
            }
            parts.join("; ")
        }
        ([(record, _)], [entry]) => pair::what_differs(record, entry),
        ([(record, _)], []) => format!("amount: absent -> {}", format_minor(record.amount, record.currency)),
        ([], [entry]) => format!("amount: {} -> absent", format_minor(entry.amount, entry.currency)),
        (records, entries) => {
            let ours: Vec<String> = entries.iter().map(|e| format_minor(e.amount, e.currency)).collect();
            let theirs: Vec<String> = records.iter().map(|r| format_minor(r.0.amount, r.0.currency)).collect();
            format!("amounts: {} -> {}", ours.join(" + "), theirs.join(" + "))
        }
    }
}

/// A binding that holds no more: the report tells the reader of a new link for these.
fn unbound(kind: Kind, rows: &Rows<'_>, keys: &Keys) -> Option<String> {
    let [entry] = rows.entries.as_slice() else { return None };
    let found = match (kind, rows.records.as_slice()) {
        (Kind::StatusMismatch, [(record, _)])
            if record.kind == TransactionKind::Binding && record.status == Status::Failed =>
        {
            record.provider_status.as_str()
        }
        (Kind::MissingInProvider, []) if keys.of_bindings() => "absent",
        _ => return None,
    };
    Some(format!("binding: {} -> {found}", word(entry)))
}

/// `keyed`: the provider has no list and was asked about the key.
fn detail(kind: Kind, record: Option<&Record>, entry: Option<&Entry>, rows: &Rows<'_>, keyed: bool) -> String {
    let sum_of_entries = sum(rows.entries.iter().map(|e| (e.currency, e.amount)));
    let theirs = record.map_or_else(String::new, |r| {
        format!(
            "the provider shows {} as `{}`",
            money(r.amount, r.currency),
            r.provider_status
        )
    });
    let ours = entry.map_or_else(String::new, |e| {
        format!("the ledger has {} as `{}`", money(e.amount, e.currency), word(e))
    });
    match kind {
        Kind::MissingInLedger => format!("{theirs}, the ledger has no entry after its grace"),
        Kind::MissingInProvider => match entry.and_then(|e| e.provider_id.as_ref()) {
            None if keyed => format!("{ours}, the provider was asked about its key and shows no such record"),
            Some(_) if keyed => {
                format!("{ours}, the provider was asked about its key and shows no record of the provider_id it names")
            }
            Some(_) => format!("{ours}, the provider does not know its provider_id and its list was read to the end"),
            None => format!("{ours}, the provider has no record after its grace and its list was read to the end"),
        },
        Kind::DuplicateInProvider => format!("{theirs}; another record of the same reference stands there already"),
        Kind::DuplicateInLedger => format!("{ours}; the same payment is booked already"),
        Kind::Ambiguous => format!(
            "{} records and {} entries under one reference, and their amounts do not say which belong together",
            rows.records.len(),
            rows.entries.len()
        ),
        Kind::AmountMismatch if rows.entries.len() > 1 => {
            let sum = entry.zip(sum_of_entries).map(|(e, sum)| money(sum, e.currency));
            let sum = sum.map_or_else(String::new, |sum| format!(" that come to {sum}"));
            format!("{theirs}, the ledger has {} entries{sum}", rows.entries.len())
        }
        Kind::Suggested => {
            format!("{theirs}, {ours}: the only ones of this amount around that day, under different references")
        }
        Kind::StalePending => format!("{theirs} and it is open beyond its age limit"),
        Kind::Vanished => {
            let once = record.map_or_else(String::new, |r| {
                format!("{} as `{}`", money(r.amount, r.currency), r.provider_status)
            });
            let booked = if ours.is_empty() { ours } else { format!("; {ours}") };
            format!(
                "the provider listed {once} once and does not list it any more, in a reading that was complete{booked}"
            )
        }
        Kind::ReversedAfterBooking => format!("{theirs}; it was settled before, and {ours}"),
        Kind::Unclassified if record.is_some_and(Record::is_unclassified) => {
            let kind = record.map_or("", |r| r.kind.as_str());
            format!("{theirs} (type `{kind}`), a status or type that the settings do not name")
        }
        Kind::Unclassified => format!("{ours}, a status that the settings do not name"),
        _ => [theirs, ours]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
    }
}
