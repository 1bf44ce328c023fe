//! What the covering indexes say of a record or an entry, and many records kept at once.

use rusqlite::types::{Type, ValueRef};

use super::merge::Setup;

/// A row of either side as its index shows it; texts as bytes, which are compared only.
#[derive(Clone, Copy)]
pub struct IndexRow<'a> {
    pub id: i64,
    /// Empty where there is none.
    pub reference: &'a [u8],
    pub amount: i64,
    pub currency: [u8; 3],
    /// First letter of the word; status words differ in it.
    pub status: u8,
    /// Of records only.
    pub kind: RowKind,
    pub more: More<'a>,
}

/// What the merge asks of a record's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    Fee,
    Unknown,
    Other,
}

/// What is read only where [`Setup::asks_more`]; what tonight's ledger cannot ask for is None.
#[derive(Clone, Copy, Default)]
pub struct More<'a> {
    pub fee: Option<i64>,
    /// Of records only.
    pub fee_currency: Option<[u8; 3]>,
    pub provider_id: Option<&'a [u8]>,
    pub account: Option<&'a [u8]>,
}

/// `open`, `settled`, `failed`, `unknown`, `excluded` by their first letters.
pub const SETTLED: u8 = b's';
pub const FAILED: u8 = b'f';
pub const EXCLUDED: u8 = b'e';

/// Columns of a record, in the order in which [`IndexRow::read`] takes them.
pub fn record_columns(setup: &Setup) -> String {
    format!(
        "transaction_id, reference, amount_minor, currency, status, kind{}",
        more(setup, "fee_currency")
    )
}

/// Columns of an entry.
pub fn entry_columns(setup: &Setup) -> String {
    let (kind, more) = (", NULL", more(setup, "NULL"));
    format!(
        "entry_id, reference, amount_minor, currency, status{}{more}",
        if more.is_empty() { "" } else { kind }
    )
}

/// Every column of every row costs: what tonight's ledger cannot ask for is not read.
fn more(setup: &Setup, of_fee: &str) -> String {
    if !setup.asks_more() {
        return String::new();
    }
    let asked = |wanted: bool, column| if wanted { column } else { "NULL" };
    format!(
        ", {}, {}, {}, {}",
        asked(setup.fees, "fee_minor"),
        asked(setup.fees, of_fee),
        asked(setup.ids, "provider_id"),
        asked(!setup.accounts.is_empty(), "account"),
    )
}

impl<'a> IndexRow<'a> {
    /// Reads `columns` values, each once: asking costs more than walking.
    pub fn read(columns: usize, get: impl Fn(usize) -> rusqlite::Result<ValueRef<'a>>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: whole(0, get(0)?)?,
            reference: text(get(1)?).unwrap_or_default(),
            amount: whole(2, get(2)?)?,
            currency: code(get(3)?).unwrap_or_default(),
            status: text(get(4)?).and_then(<[u8]>::first).copied().unwrap_or_default(),
            kind: match columns {
                ..=5 => RowKind::Other,
                _ => match text(get(5)?) {
                    Some(b"fee") => RowKind::Fee,
                    Some(b"unknown") => RowKind::Unknown,
                    _ => RowKind::Other,
                },
            },
            more: match columns {
                ..=6 => More::default(),
                _ => More {
                    fee: match get(6)? {
                        ValueRef::Null => None,
                        fee => Some(whole(6, fee)?),
                    },
                    fee_currency: code(get(7)?),
                    provider_id: text(get(8)?),
                    account: text(get(9)?),
                },
            },
        })
    }
}

fn whole(column: usize, value: ValueRef<'_>) -> rusqlite::Result<i64> {
    match value {
        ValueRef::Integer(whole) => Ok(whole),
        other => Err(rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Integer,
            format!("{:?} where a whole number belongs", other.data_type()).into(),
        )),
    }
}

fn text(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Text(text) => Some(text),
        _ => None,
    }
}

fn code(value: ValueRef<'_>) -> Option<[u8; 3]> {
    text(value)?.try_into().ok()
}

/// The records of one range, as small as they can be kept: about 80 bytes each.
#[derive(Default)]
pub struct Kept {
    rows: Vec<KeptRow>,
    /// Beside `rows`, or empty.
    more: Vec<KeptMore>,
    texts: Vec<u8>,
}

struct KeptRow {
    id: i64,
    amount: i64,
    reference: Span,
    currency: [u8; 3],
    status: u8,
    kind: RowKind,
}

struct KeptMore {
    fee: Option<i64>,
    fee_currency: Option<[u8; 3]>,
    provider_id: Option<Span>,
    account: Option<Span>,
}

/// A place in `texts`.
#[derive(Clone, Copy)]
struct Span {
    from: usize,
    until: usize,
}

impl Kept {
    pub fn push(&mut self, row: IndexRow<'_>, asks_more: bool) {
        let kept = KeptRow {
            id: row.id,
            amount: row.amount,
            reference: self.put(row.reference),
            currency: row.currency,
            status: row.status,
            kind: row.kind,
        };
        self.rows.push(kept);
        if asks_more {
            let more = KeptMore {
                fee: row.more.fee,
                fee_currency: row.more.fee_currency,
                provider_id: row.more.provider_id.map(|id| self.put(id)),
                account: row.more.account.map(|account| self.put(account)),
            };
            self.more.push(more);
        }
    }

    /// Empties it; the room stays.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.more.clear();
        self.texts.clear();
    }

    pub fn get(&self, nth: usize) -> Option<IndexRow<'_>> {
        let row = self.rows.get(nth)?;
        Some(IndexRow {
            id: row.id,
            reference: self.text(row.reference),
            amount: row.amount,
            currency: row.currency,
            status: row.status,
            kind: row.kind,
            more: self.more.get(nth).map_or_else(More::default, |more| More {
                fee: more.fee,
                fee_currency: more.fee_currency,
                provider_id: more.provider_id.map(|id| self.text(id)),
                account: more.account.map(|account| self.text(account)),
            }),
        })
    }

    fn put(&mut self, text: &[u8]) -> Span {
        let from = self.texts.len();
        self.texts.extend_from_slice(text);
        Span {
            from,
            until: self.texts.len(),
        }
    }

    fn text(&self, span: Span) -> &[u8] {
        self.texts.get(span.from..span.until).unwrap_or_default()
    }
}
