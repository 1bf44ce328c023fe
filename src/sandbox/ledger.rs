//! The merchant's books: what was booked, and the CSV exports of each night. Every job's export has its own dialect, so
//! that the mappings of the job files are used.

use chrono::TimeDelta;

use crate::day::{Instant, format_instant};

use super::json::two_decimals;
use super::world::tupay::Column;
use super::world::{Absence, Life, World, listed};

const AYOCONNECT_V2: &str = "ayoconnect-id";
const AYOCONNECT_V3: &str = "ayoconnect-v3";
const AYOCONNECT_CARDS: &str = "ayoconnect-cards";

/// One entry of the merchant's ledger over its life.
#[derive(Clone, Debug)]
pub struct Booking {
    pub job: &'static str,
    pub ledger_id: String,
    pub reference: String,
    pub provider_id: Option<String>,
    pub booked_at: Instant,
    /// The entry exists from the first instant on.
    pub life: Life<Entry>,
    pub absences: Vec<Absence>,
    pub keys: LookupKeys,
}

/// What Ayoconnect asks for beside the merchant's reference.
#[derive(Clone, Debug, Default)]
pub struct LookupKeys {
    pub x_external_id: Option<String>,
    pub reference_no: Option<String>,
}

/// What an entry says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The job's own word for direction and kind.
    pub kind: &'static str,
    pub currency: &'static str,
    /// Unsigned minor units.
    pub amount: i64,
    pub fee: Option<i64>,
    /// The job's own word for the status.
    pub state: &'static str,
}

impl Booking {
    /// The entry as the export of an instant shows it.
    pub fn at(&self, now: Instant) -> Option<&Entry> {
        let (_, entry) = self.life.at(now)?;
        listed(&self.absences, now).then_some(entry)
    }

    /// Booked only from then on.
    pub fn late(mut self, at: Instant) -> Self {
        if let Some((_, entry)) = self.life.0.pop() {
            self.life = Life::new(at, entry);
        }
        self.booked_at = at;
        self
    }

    /// From an instant on (None: always) the entry says something else.
    pub fn with(mut self, at: Option<Instant>, change: impl Fn(&mut Entry)) -> Self {
        match at {
            None => self.life.0.iter_mut().for_each(|(_, entry)| change(entry)),
            Some(at) => {
                if let Some((_, last)) = self.life.0.last() {
                    let mut entry = last.clone();
                    change(&mut entry);
                    self.life.0.push((at, entry));
                }
            }
        }
        self
    }
}

/// The full export of a job's ledger as it stands at `now`: UTF-8, header first. An unknown job has an empty ledger.
pub fn export(world: &World, job: &str, now: Instant) -> String {
    let rows = world.bookings.iter().filter(|b| b.job == job);
    let rows = rows.filter_map(|b| Some((b, b.at(now)?)));
    let mut out = String::from(match job {
        "payvyne-uk" => "entry;order;type;pence;currency;charge;state;when;vyne_id\r\n",
        "one2pays-th" => "no,reference,direction,amount,status,booked_at,transaction\n",
        "twopay-co" => "movimiento;llave;tipo;valor;estado;creado\n",
        AYOCONNECT_V2 | AYOCONNECT_V3 | AYOCONNECT_CARDS => {
            "id,partner_reference,kind,idr,state,booked_at,external_id,reference_no\n"
        }
        _ => "id,order_id,kind,amount,currency,state,booked_at,psp_id,fee\n",
    });
    for (booking, entry) in rows {
        out.push_str(&line(job, booking, entry));
    }
    out
}

fn line(job: &str, b: &Booking, e: &Entry) -> String {
    let id = b.provider_id.as_deref().unwrap_or_default();
    let booked_at = format_instant(b.booked_at);
    match job {
        "payvyne-uk" => {
            let fee = e.fee.map(|f| f.to_string()).unwrap_or_default();
            let (entry, order) = (&b.ledger_id, &b.reference);
            format!(
                "{entry};{order};{};{};{};{fee};{};{booked_at};{id}\r\n",
                e.kind, e.amount, e.currency, e.state
            )
        }
        "one2pays-th" => {
            let (no, reference, amount) = (&b.ledger_id, &b.reference, two_decimals(e.amount));
            format!("{no},{reference},{},{amount},{},{booked_at},{id}\n", e.kind, e.state)
        }
        "twopay-co" => {
            let (id, key, amount) = (&b.ledger_id, &b.reference, two_decimals(e.amount).replace('.', ","));
            format!("{id};{key};{};{amount};{};{booked_at}\n", e.kind, e.state)
        }
        AYOCONNECT_V2 | AYOCONNECT_V3 | AYOCONNECT_CARDS => {
            let (id, reference, amount) = (&b.ledger_id, &b.reference, two_decimals(e.amount));
            let external = b.keys.x_external_id.as_deref().unwrap_or_default();
            let number = b.keys.reference_no.as_deref().unwrap_or_default();
            format!(
                "{id},{reference},{},{amount},{},{booked_at},{external},{number}\n",
                e.kind, e.state
            )
        }
        _ => {
            let fee = e.fee.map(two_decimals).unwrap_or_default();
            let (entry, order, amount) = (&b.ledger_id, &b.reference, two_decimals(e.amount));
            format!(
                "{entry},{order},{},{amount},{},{},{booked_at},{id},{fee}\n",
                e.kind, e.currency, e.state
            )
        }
    }
}

/// The statement of the merchant's bank at `now`: every sweep and every settlement is a credit of the morning after; a
/// settlement taken back is a debit.
pub fn bank_statement(world: &World, now: Instant) -> String {
    let mut lines: Vec<(Instant, String)> = Vec::new();
    let mut add = |moved: Instant, word: &str, minor: i64, currency: &str, text: String| {
        let booked = (moved + TimeDelta::days(1)).date_naive();
        if booked <= now.date_naive() && minor != 0 {
            let day = booked.format("%d/%m/%Y");
            lines.push((
                moved,
                format!("{day},{word},{},{currency},{text}\r\n", two_decimals(minor)),
            ));
        }
    };
    for sweep in &world.payvyne.sweeps {
        let left_out = world
            .uncredited
            .iter()
            .any(|(account, day, absence)| (*account, *day) == (sweep.account, sweep.day) && !listed(&[*absence], now));
        if !left_out {
            let currency = world.payvyne.accounts[sweep.account].currency;
            add(
                sweep.created_at,
                "CR",
                sweep.transferred,
                currency,
                format!("VYNE {}", sweep.id),
            );
        }
    }
    for event in &world.tupay.events {
        let (day, currency) = (event.at.format("%Y%m%d"), event.currency);
        match event.column {
            Column::Settlement => add(event.at, "CR", event.amount, currency, format!("TUPAY {day}")),
            Column::CancelledSettlement => add(event.at, "DR", event.amount, currency, format!("TUPAY {day} RETURN")),
            _ => {}
        }
    }
    lines.sort();
    let lines: String = lines.into_iter().map(|(_, line)| line).collect();
    format!("Date,Type,Amount,Currency,Reference\r\n{lines}")
}
