//! Whole rows for the groups that the merge kept, and the rules over them; on two threads where it pays.
//!
//! Reading the rows is what takes the time here. What comes out does not depend on the threads: groups come in their order.

use std::sync::mpsc::sync_channel;

use rusqlite::Connection;

use super::group::{self, Piece, Rules};
use super::items::Claims;
use super::merge::Open;
use super::refunds::{self, Paid};
use super::rows::{Entry, Record, Rows};
use crate::failure::Failure;

/// A group with its rows, and where they ended.
pub struct Solved {
    pub records: Vec<Record>,
    pub entries: Vec<Entry>,
    pub pieces: Vec<Piece>,
}

/// Ids of records and of entries.
type Ids<'a> = (&'a [i64], &'a [i64]);

/// The groups of [`super::merge::Merged::rich`]: two counts, then the ids.
#[derive(Clone)]
struct Groups<'a> {
    rest: &'a [i64],
}

impl<'a> Iterator for Groups<'a> {
    type Item = Ids<'a>;

    fn next(&mut self) -> Option<Ids<'a>> {
        let [records, entries, ids @ ..] = self.rest else {
            return None;
        };
        let (records, ids) = ids.split_at(*records as usize);
        let (entries, after) = ids.split_at(*entries as usize);
        self.rest = after;
        Some((records, entries))
    }
}

/// What solving needs.
#[derive(Clone, Copy)]
pub struct Solver<'a> {
    pub job: &'a str,
    pub claims: &'a Claims,
    pub rules: &'a Rules<'a>,
}

/// Groups handed over at once: worth a handover, and small in memory.
const BATCH: usize = 256;
/// Fewer ids are read before a second thread has begun.
const WORTH_TWO: usize = 10_000;

impl Solver<'_> {
    /// Gives every group to `take`, in order.
    pub fn each(
        self,
        conn: &Connection,
        open: Option<&Open<'_>>,
        rich: &[i64],
        take: impl FnMut(Solved) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match open.filter(|_| rich.len() >= WORTH_TWO) {
            Some(open) => self.each_by_two(conn, open, rich, take),
            None => self.each_alone(conn, rich, take),
        }
    }

    fn each_alone(
        self,
        conn: &Connection,
        rich: &[i64],
        mut take: impl FnMut(Solved) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut rows = Rows::new(conn)?;
        Groups { rest: rich }.try_for_each(|ids| take(self.solve(&mut rows, ids)?))
    }

    /// Two batches of three are solved by a second thread, never more than a few ahead: this one has to place them all.
    fn each_by_two(
        self,
        conn: &Connection,
        open: &Open<'_>,
        rich: &[i64],
        mut take: impl FnMut(Solved) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let is_mine = |nth: usize| (nth / BATCH).is_multiple_of(3);
        let numbered = Groups { rest: rich }.enumerate();
        let (theirs, mut all) = (numbered.clone().filter(|(nth, _)| !is_mine(*nth)), numbered);
        std::thread::scope(|scope| {
            let (give, given) = sync_channel(4 * BATCH);
            scope.spawn(move || {
                let work = || -> Result<(), Failure> {
                    let conn = open()?;
                    let mut rows = Rows::new(&conn)?;
                    for (_, ids) in theirs {
                        // Nobody listens any more: the other thread has failed.
                        if give.send(Ok(self.solve(&mut rows, ids)?)).is_err() {
                            break;
                        }
                    }
                    Ok(())
                };
                if let Err(failure) = work() {
                    let _ = give.send(Err(failure));
                }
            });
            let mut rows = Rows::new(conn)?;
            all.try_for_each(|(nth, ids)| {
                take(match is_mine(nth) {
                    true => self.solve(&mut rows, ids)?,
                    // Hung up without a word: it panicked, which the scope passes on.
                    false => given.recv().map_err(|_| super::rows::lost_thread())??,
                })
            })
        })
    }

    fn solve(self, rows: &mut Rows<'_>, (record_ids, entry_ids): Ids<'_>) -> Result<Solved, Failure> {
        let mut records = Vec::with_capacity(record_ids.len());
        let mut entries = Vec::with_capacity(entry_ids.len());
        for &id in record_ids {
            records.push(rows.record(id)?);
            for &claimant in self.claims.on_record(id) {
                entries.push(rows.entry(claimant)?);
            }
        }
        for &id in entry_ids.iter().filter(|id| !self.claims.is_claimant(**id)) {
            entries.push(rows.entry(id)?);
        }
        let mut paid = Paid::new();
        for reference in refunds::references(&records, &entries) {
            for (currency, sum) in rows.paid(self.job, &reference)? {
                paid.insert((reference.clone(), currency), sum);
            }
        }
        let pieces = group::solve(&records, &entries, &paid, self.rules);
        Ok(Solved {
            records,
            entries,
            pieces,
        })
    }
}
