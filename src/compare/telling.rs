//! Items written out in full: what stands in the database and in the reports. The first thousands of a night are told when they are
//! found, while their rows are at hand; what a flood brings beyond them is written out from the rows again, where there is much
//! of it by a second thread while the first stores.

use std::sync::mpsc::{SyncSender, sync_channel};

use chrono_tz::Tz;
use rusqlite::Connection;

use super::Case;
use super::discrepancy::{self, Discrepancy};
use super::facts::provider_name;
use super::identity;
use super::items::Item;
use super::keys::Keys;
use super::merge::Open;
use super::places::Places;
use super::rows::{Entry, Record, Rows, lost_thread};
use crate::failure::Failure;

/// Discrepancies handed over at once: worth a handover, and small in memory.
const BATCH: usize = 64;
/// Batches that may wait; a discrepancy is about a kilobyte.
const WAITING: usize = 16;
/// Fewer are written out before a second thread has begun.
const WORTH_TWO: usize = 256;

/// Gives every item in full to `take`, in order.
///
/// # Errors
/// What SQLite refuses, `INTERNAL` for a row that is gone or holds a value outside its form; what `take` says.
pub fn each(
    conn: &Connection,
    open: Option<&Open<'_>>,
    case: &Case<'_>,
    mut items: Vec<Item>,
    mut take: impl FnMut(Discrepancy) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let provider = provider_name(case);
    let mut take = |mut found: Discrepancy| {
        if found.provider.is_none() {
            found.provider.clone_from(&provider);
        }
        take(found)
    };
    // Those that were told when they were found are stored as they are.
    let told: Vec<_> = items.iter_mut().map(|item| item.told.take()).collect();
    let untold: Vec<&Item> = items
        .iter()
        .zip(&told)
        .filter(|(_, told)| told.is_none())
        .map(|(item, _)| item)
        .collect();
    let Some(open) = open.filter(|_| untold.len() >= WORTH_TWO) else {
        let mut teller = Teller::new(conn, case)?;
        let mut untold = untold.into_iter().map(|item| teller.tell(item));
        return store_in_order(told, &mut untold, &mut take);
    };
    std::thread::scope(|scope| {
        let (give, given) = sync_channel(WAITING);
        let teller = scope.spawn(move || tell_all(&open()?, case, &untold, &give));
        let mut untold = given.into_iter().flatten().map(Ok);
        let stored = store_in_order(told, &mut untold, &mut take);
        drop(untold);
        // What it says is the cause of its silence.
        teller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        stored
    })
}

fn store_in_order(
    told: Vec<Option<Box<Discrepancy>>>,
    untold: &mut impl Iterator<Item = Result<Discrepancy, Failure>>,
    take: &mut impl FnMut(Discrepancy) -> Result<(), Failure>,
) -> Result<(), Failure> {
    told.into_iter().try_for_each(|told| {
        take(match told {
            Some(told) => *told,
            None => untold.next().unwrap_or_else(|| Err(lost_thread()))?,
        })
    })
}

fn tell_all(
    conn: &Connection,
    case: &Case<'_>,
    items: &[&Item],
    give: &SyncSender<Vec<Discrepancy>>,
) -> Result<(), Failure> {
    let mut teller = Teller::new(conn, case)?;
    for batch in items.chunks(BATCH) {
        let told = batch.iter().map(|item| teller.tell(item)).collect::<Result<_, _>>()?;
        // Nobody listens any more: the other thread has failed.
        if give.send(told).is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes items out.
struct Teller<'c> {
    rows: Rows<'c>,
    places: Places<'c>,
    keys: Keys,
    zone: Tz,
}

/// The rows of an item, each record with its place in words.
type RowsOf = (Vec<(Record, String)>, Vec<Entry>);

impl<'c> Teller<'c> {
    fn new(conn: &'c Connection, case: &Case<'_>) -> Result<Self, Failure> {
        Ok(Self {
            rows: Rows::new(conn)?,
            places: Places::new(conn, case.job.timezone)?,
            keys: Keys::of(case.job),
            zone: case.job.timezone,
        })
    }

    fn tell(&mut self, item: &Item) -> Result<Discrepancy, Failure> {
        let (records, entries) = self.rows_of(item)?;
        let identity = identity::text(records.first().map(|r| &r.0), entries.first(), item.suffix);
        let rows = discrepancy::Rows {
            records: records.iter().map(|(record, place)| (record, place.as_str())).collect(),
            entries: entries.iter().collect(),
        };
        Ok(discrepancy::of_item(item, identity, &rows, &self.keys, self.zone))
    }

    fn rows_of(&mut self, item: &Item) -> Result<RowsOf, Failure> {
        let single = (Vec::from_iter(item.record), Vec::from_iter(item.entry));
        let (record_ids, entry_ids) = item.several.as_deref().unwrap_or(&single);
        let mut record = |&id: &i64| -> Result<(Record, String), Failure> {
            let record = self.rows.record(id)?;
            let place = self.places.of(&record)?;
            Ok((record, place))
        };
        let records = record_ids.iter().map(&mut record).collect::<Result<_, Failure>>()?;
        let entries = entry_ids
            .iter()
            .map(|&id| self.rows.entry(id))
            .collect::<Result<_, Failure>>()?;
        Ok((records, entries))
    }
}
