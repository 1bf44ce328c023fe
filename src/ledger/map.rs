//! Cells under their column names -> a ledger entry, by the settings' mapping. Pure.
//!
//! One rule for every row: all of it is read, or none of it. What the settings do not say is not guessed.

use chrono_tz::Tz;

use super::cell::{self, Times};
use super::source::Digested;
use super::{PutAside, Refusal, Sink};
use crate::config::{Encoding, Ledger, LedgerColumn};
use crate::failure::Class;
use crate::money::{Currency, Unit};
use crate::record::{About, Direction, LedgerEntry, LedgerStatus, Unreadable};

/// One place for each of our columns.
pub(super) const COLUMNS: usize = LedgerColumn::ALL.len();

/// Cells of one row by our column; None where the settings map none.
pub(super) type Cells<'r> = [Option<&'r str>; COLUMNS];

/// Why a row is no entry.
pub(super) enum RowFault {
    /// Put aside.
    Aside { column: LedgerColumn, reason: String },
    /// Of another account: the whole ledger is refused.
    Foreign,
}

/// Settings that fit together.
pub(super) struct Mapping<'l> {
    pub(super) ledger: &'l Ledger,
    times: Times,
    zone: Option<Tz>,
}

impl<'l> Mapping<'l> {
    /// # Errors
    /// CONFIG, for settings under which no row could be read.
    pub(super) fn new(ledger: &'l Ledger, zone: Option<Tz>) -> Result<Self, Refusal> {
        let wrong = |message: String| Refusal::new(Class::Config, message);
        let mapped = |column: LedgerColumn| ledger.columns.contains_key(&column);
        for column in [LedgerColumn::Reference, LedgerColumn::Amount] {
            if !mapped(column) {
                return Err(wrong(format!(
                    "the column mapping names no column for `{column}`; add it under columns"
                )));
            }
        }
        if !mapped(LedgerColumn::Currency) && ledger.currency_default.is_none() {
            return Err(wrong(
                "no currency: map a column to `currency` or set currency_default".to_owned(),
            ));
        }
        if ledger.expected_account.is_some() && !mapped(LedgerColumn::Account) {
            return Err(wrong(
                "expected_account is set, but no column is mapped to `account`".to_owned(),
            ));
        }
        if !ledger.directions.is_empty() && !mapped(LedgerColumn::Direction) {
            return Err(wrong(
                "words for directions are set, but no column is mapped to `direction`".to_owned(),
            ));
        }
        if !ledger.statuses.is_empty() && !mapped(LedgerColumn::Status) {
            return Err(wrong(
                "words for statuses are set, but no column is mapped to `status`".to_owned(),
            ));
        }
        if !matches!(ledger.decimal, b'.' | b',') {
            return Err(wrong("decimal must be \".\" or \",\"".to_owned()));
        }
        let zone = ledger.timezone.or(zone);
        let times = Times::new(ledger.date_format.as_deref(), zone).map_err(wrong)?;
        Ok(Self { ledger, times, zone })
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.ledger.encoding
    }

    /// What the mapping calls the column of the file.
    pub(super) fn theirs(&self, column: LedgerColumn) -> &str {
        self.ledger.columns.get(&column).map_or(column.as_str(), String::as_str)
    }

    /// A digest that begins with the settings: another mapping makes another ledger of the same files.
    pub(super) fn digest(&self) -> Digested {
        // The 2 counts changes of the reader itself that give other rows for the same bytes.
        Digested::new(&format!("3 {:?} {:?}", self.ledger, self.zone))
    }

    /// Finds our columns among the names seen.
    ///
    /// # Errors
    /// What is missing or there twice, with what was seen: the rest of a sentence.
    pub(super) fn columns(&self, names: &[&str]) -> Result<[Option<usize>; COLUMNS], String> {
        let mut at = [None; COLUMNS];
        let mut wrong = Vec::new();
        for (ours, theirs) in &self.ledger.columns {
            at[*ours as usize] = names.iter().position(|name| name == theirs);
            if at[*ours as usize].is_none() {
                let near = crate::config::section::nearest(theirs, names.iter().copied().filter(|n| is_name(n)));
                let near = near.trim_start_matches("; ");
                let near = if near.is_empty() {
                    String::new()
                } else {
                    format!(" ({near})")
                };
                wrong.push(format!("no column {theirs:?} for `{ours}`{near}"));
            }
        }
        let mut sorted: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).collect();
        sorted.sort_unstable();
        let mut twice: Vec<&str> = sorted.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
        twice.dedup();
        wrong.extend(
            twice
                .into_iter()
                .map(|name| format!("column {} more than once", shown(name))),
        );
        if wrong.is_empty() {
            return Ok(at);
        }
        let found = at.iter().any(Option::is_some);
        let data = names.iter().any(|name| !name.is_empty() && !is_name(name));
        if data && !found {
            // Nobody's data goes into a message.
            return Err(format!(
                "{}; the first line looks like data, not like column names",
                wrong.join(", ")
            ));
        }
        let seen: Vec<String> = names.iter().take(40).map(|name| shown(name)).collect();
        let more = if names.len() > 40 { ", …" } else { "" };
        Err(format!("{}; seen: {}{more}", wrong.join(", "), seen.join(", ")))
    }

    /// Reads one row and hands it on. `word` is what a row is called in its place: `line` or `row`.
    pub(super) fn row(
        &self,
        cells: &Cells<'_>,
        source: &str,
        line: u64,
        word: &str,
        sink: Sink<'_>,
    ) -> Result<(), Refusal> {
        match self.entry(cells, source, line) {
            Ok(entry) => sink(Ok(entry)),
            Err(fault) => self.refuse(fault, cells, source, line, word, sink),
        }
    }

    /// Hands on that a row is no entry, with what its cells say all the same.
    pub(super) fn refuse(
        &self,
        fault: RowFault,
        cells: &Cells<'_>,
        source: &str,
        line: u64,
        word: &str,
        sink: Sink<'_>,
    ) -> Result<(), Refusal> {
        match fault {
            RowFault::Aside { column, reason } => sink(Err(PutAside {
                source: source.to_owned(),
                line,
                what: Unreadable {
                    place: format!("{word} {line}, column {}", self.theirs(column)),
                    reason,
                },
                about: Box::new(self.about(cells)),
            })),
            RowFault::Foreign => Err(Refusal::NotReconciled(format!(
                "the ledger belongs to another account: {source}, {word} {line}, column {} is not the expected_account {:?}; nothing was taken",
                self.theirs(LedgerColumn::Account),
                self.ledger.expected_account.as_deref().unwrap_or_default()
            ))),
        }
    }

    fn entry(&self, cells: &Cells<'_>, source: &str, line: u64) -> Result<LedgerEntry, RowFault> {
        use LedgerColumn as C;
        let ledger = self.ledger;
        let aside = |column: C| move |reason: String| RowFault::Aside { column, reason };
        // An empty cell of a column that need not be filled says nothing.
        let filled = |column: C| cells[column as usize].filter(|text| !text.is_empty());
        let optional = |column: C| {
            filled(column)
                .map(cell::key)
                .transpose()
                .map_err(aside(column))
                .map(|t| t.map(str::to_owned))
        };

        let account = optional(C::Account)?;
        if ledger.expected_account.is_some() && ledger.expected_account != account {
            return Err(RowFault::Foreign);
        }
        let reference = cell::key(cells[C::Reference as usize].unwrap_or_default()).map_err(aside(C::Reference))?;
        let currency = self.currency(filled(C::Currency)).map_err(aside(C::Currency))?;
        let unit = ledger.amount_unit;
        let amount = cell::amount(
            cells[C::Amount as usize].unwrap_or_default(),
            currency,
            unit,
            ledger.decimal,
        )
        .map_err(aside(C::Amount))?;
        let (direction, amount_minor) = self.signed(cells[C::Direction as usize], amount)?;
        let fee_minor = filled(C::Fee)
            .map(|text| cell::amount(text, currency, unit, ledger.decimal))
            .transpose()
            .map_err(aside(C::Fee))?;
        let ledger_status = optional(C::Status)?;
        let booked_at = filled(C::BookedAt)
            .map(|text| self.times.read(text))
            .transpose()
            .map_err(aside(C::BookedAt))?;
        Ok(LedgerEntry {
            ledger_id: optional(C::LedgerId)?,
            reference: reference.to_owned(),
            provider_id: optional(C::ProviderId)?,
            account,
            direction,
            currency,
            amount_minor,
            fee_minor,
            status: self.status(cells[C::Status as usize]),
            ledger_status,
            booked_at,
            x_external_id: optional(C::XExternalId)?,
            reference_no: optional(C::ReferenceNo)?,
            source: source.to_owned(),
            source_line: line,
        })
    }

    /// Which payment a row is about that is no entry. A row that is no part of the money flow is about none.
    fn about(&self, cells: &Cells<'_>) -> About {
        let status = Some(self.status(cells[LedgerColumn::Status as usize]));
        if status == Some(LedgerStatus::Excluded) {
            return About {
                status,
                ..About::default()
            };
        }
        let filled = |column: LedgerColumn| cells[column as usize].filter(|text| !text.is_empty());
        let key = |column: LedgerColumn| filled(column).and_then(|text| cell::key(text).ok()).map(str::to_owned);
        About {
            reference: key(LedgerColumn::Reference),
            provider_id: key(LedgerColumn::ProviderId),
            direction: self.direction(cells),
            x_external_id: key(LedgerColumn::XExternalId),
            reference_no: key(LedgerColumn::ReferenceNo),
            // A word nobody mapped may mean anything.
            status: status.filter(|status| *status != LedgerStatus::Unknown),
            currency: self.currency(filled(LedgerColumn::Currency)).ok(),
            amount_minor: self.amount(cells).map(|(_, amount)| amount),
            booked_at: filled(LedgerColumn::BookedAt).and_then(|text| self.times.read(text).ok()),
        }
    }

    /// Which way the money went, where that can be read though the row cannot.
    fn direction(&self, cells: &Cells<'_>) -> Option<Direction> {
        if !self.ledger.directions.is_empty() {
            let word = cells[LedgerColumn::Direction as usize]?;
            return self.ledger.directions.get(word).copied();
        }
        self.amount(cells).map(|(direction, _)| direction)
    }

    /// Direction and signed amount, where both can be read though the row cannot.
    fn amount(&self, cells: &Cells<'_>) -> Option<(Direction, i64)> {
        let cell = |column: LedgerColumn| cells[column as usize];
        let ledger = self.ledger;
        let currency = self
            .currency(cell(LedgerColumn::Currency).filter(|text| !text.is_empty()))
            .ok()?;
        let amount = cell::amount(
            cell(LedgerColumn::Amount)?,
            currency,
            ledger.amount_unit,
            ledger.decimal,
        )
        .ok()?;
        self.signed(cell(LedgerColumn::Direction), amount).ok()
    }

    fn currency(&self, text: Option<&str>) -> Result<Currency, String> {
        match (text, self.ledger.currency_default) {
            (Some(text), _) => text
                .parse()
                .map_err(|error: crate::money::AmountError| error.to_string()),
            (None, Some(currency)) => Ok(currency),
            (None, None) => Err("is empty, and there is no currency_default".to_owned()),
        }
    }

    /// Direction, and the amount signed from the merchant's side. With words for directions amounts carry no sign of
    /// their own; without them the sign is the direction, and nothing comes in.
    fn signed(&self, word: Option<&str>, amount: i64) -> Result<(Direction, i64), RowFault> {
        let aside = |column, reason: &str| {
            Err(RowFault::Aside {
                column,
                reason: reason.to_owned(),
            })
        };
        if self.ledger.directions.is_empty() {
            return Ok((if amount < 0 { Direction::Out } else { Direction::In }, amount));
        }
        let Some(direction) = self.ledger.directions.get(word.unwrap_or_default()) else {
            let reason = "is a word that the settings map neither to in nor to out; add it under direction";
            return aside(LedgerColumn::Direction, reason);
        };
        if amount < 0 {
            let reason =
                "is negative, though the direction column says which way the money went; amounts then carry no sign";
            return aside(LedgerColumn::Amount, reason);
        }
        Ok((*direction, if *direction == Direction::Out { -amount } else { amount }))
    }

    fn status(&self, word: Option<&str>) -> LedgerStatus {
        if self.ledger.statuses.is_empty() {
            return LedgerStatus::Settled;
        }
        self.ledger
            .statuses
            .get(word.unwrap_or_default())
            .copied()
            .unwrap_or(LedgerStatus::Unknown)
    }

    /// What one unit of an amount is, for messages.
    pub(super) fn unit_word(&self) -> &'static str {
        match self.ledger.amount_unit {
            Unit::Major => "decimal TEXT",
            Unit::Minor => "INTEGER minor units",
        }
    }
}

/// Whether a header cell can be a column's name and no data: short, printable, not a number or a card or account number.
/// A whole header under the wrong delimiter passes too, part by part.
fn is_name(text: &str) -> bool {
    text.split([';', '|', '\t', ',']).all(|part| {
        part.chars().count() <= 40
            && part.chars().all(|c| c.is_alphanumeric() || " _-.#/()%".contains(c))
            && part.chars().any(char::is_alphabetic)
            && part.bytes().filter(u8::is_ascii_digit).count() <= 4
    })
}

/// A header cell for a message.
fn shown(text: &str) -> String {
    if text.is_empty() || is_name(text) {
        format!("{text:?}")
    } else {
        "(no column name)".to_owned()
    }
}
