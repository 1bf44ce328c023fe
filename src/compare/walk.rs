//! The merge itself: both sides of one range of references, in the order of their indexes.
//!
//! The rows are handed over inside SQLite's own loop, by an aggregate function per side: fetching each row and asking for its
//! columns one by one from outside took a third longer. The records of a range are kept, then its entries pass along them.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::{Connection, Error};

use super::index_row::{EXCLUDED, IndexRow, Kept};
use super::merge::{Merged, Setup};
use super::passed::{self, Group, OutOfOrder};
use crate::failure::{Class, Failure};

/// Where a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A record that no entry can meet.
    LoneRecord,
    /// A record that waits for the entries.
    KeptRecord,
    Entry,
}

impl Role {
    const ALL: [Self; 3] = [Self::LoneRecord, Self::KeptRecord, Self::Entry];

    /// The aggregate function that hands such rows over.
    const fn function(self) -> &'static str {
        match self {
            Self::LoneRecord => "merge_lone_record",
            Self::KeptRecord => "merge_kept_record",
            Self::Entry => "merge_entry",
        }
    }
}

/// One walk over one range.
struct Walk {
    setup: Arc<Setup>,
    kept: Kept,
    /// The next kept record.
    at: usize,
    group: Group,
    merged: Merged,
}

impl Walk {
    fn row(&mut self, role: Role, row: IndexRow<'_>) -> Result<(), OutOfOrder> {
        match role {
            Role::LoneRecord => self.group.take(Some(row), None, &self.setup, &mut self.merged),
            Role::KeptRecord => {
                self.kept.push(row, self.setup.asks_more());
                Ok(())
            }
            Role::Entry => self.entry(row),
        }
    }

    /// An entry, after the records that stand before it, with the one that stands beside it.
    fn entry(&mut self, entry: IndexRow<'_>) -> Result<(), OutOfOrder> {
        self.records_while(|record| record.reference < entry.reference)?;
        if entry.status == EXCLUDED {
            passed::add(&mut self.merged.excluded, entry.currency, entry.amount, 1);
            return Ok(());
        }
        let record = self.kept.get(self.at).filter(|r| r.reference == entry.reference);
        self.at += usize::from(record.is_some());
        self.group.take(record, Some(entry), &self.setup, &mut self.merged)
    }

    fn records_while(&mut self, wanted: impl Fn(&IndexRow<'_>) -> bool) -> Result<(), OutOfOrder> {
        while let Some(record) = self.kept.get(self.at).filter(&wanted) {
            self.at += 1;
            self.group.take(Some(record), None, &self.setup, &mut self.merged)?;
        }
        Ok(())
    }

    /// What is left, and the next walk's place for its records: memory given back is slow to come by again.
    fn finish(mut self) -> Result<(Merged, Kept), OutOfOrder> {
        self.records_while(|_| true)?;
        self.group.close(&mut self.merged);
        self.kept.clear();
        Ok((self.merged, self.kept))
    }
}

/// Where a walk lies between two statements.
type Desk = Arc<Mutex<Option<Box<Walk>>>>;

fn on(desk: &Desk) -> std::sync::MutexGuard<'_, Option<Box<Walk>>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands rows of one role to the walk on the desk.
struct HandOver {
    role: Role,
    desk: Desk,
}

impl Aggregate<Box<Walk>, i64> for HandOver {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Box<Walk>> {
        on(&self.desk)
            .take()
            .ok_or_else(|| Error::UserFunctionError("this function belongs to the comparison".into()))
    }

    fn step(&self, context: &mut Context<'_>, walk: &mut Box<Walk>) -> rusqlite::Result<()> {
        let row = IndexRow::read(context.len(), |column| Ok(context.get_raw(column)))?;
        Ok(walk.row(self.role, row)?)
    }

    fn finalize(&self, _: &mut Context<'_>, walk: Option<Box<Walk>>) -> rusqlite::Result<i64> {
        // None: no rows, the walk never left.
        if let Some(walk) = walk {
            *on(&self.desk) = Some(walk);
        }
        Ok(0)
    }
}

/// Merges ranges through one connection.
pub struct Walker<'c> {
    conn: &'c Connection,
    setup: Arc<Setup>,
    desk: Desk,
    /// Empty, with room for a range.
    kept: Kept,
}

/// The rows of one side: what comes after `FROM`, and its parameters.
pub struct Side<'a> {
    pub columns: &'a str,
    pub from: &'a str,
    /// As many as the statement asks for.
    pub values: [Option<&'a str>; 4],
}

impl<'c> Walker<'c> {
    pub fn new(conn: &'c Connection, setup: &Arc<Setup>) -> Result<Self, Failure> {
        let desk = Desk::default();
        for role in Role::ALL {
            let desk = Arc::clone(&desk);
            let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
            conn.create_aggregate_function(role.function(), -1, flags, HandOver { role, desk })?;
        }
        Ok(Self {
            conn,
            setup: Arc::clone(setup),
            desk,
            kept: Kept::default(),
        })
    }

    pub fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    /// Adds what both sides of a range are to `merged`; without entries every record stands alone.
    pub fn merge(&mut self, records: &Side<'_>, entries: Option<&Side<'_>>, merged: Merged) -> Result<Merged, Failure> {
        *on(&self.desk) = Some(Box::new(Walk {
            setup: Arc::clone(&self.setup),
            kept: std::mem::take(&mut self.kept),
            at: 0,
            group: Group::default(),
            merged,
        }));
        let role = if entries.is_some() {
            Role::KeptRecord
        } else {
            Role::LoneRecord
        };
        self.hand_over(role, records)?;
        if let Some(entries) = entries {
            self.hand_over(Role::Entry, entries)?;
        }
        let walk = on(&self.desk).take().ok_or_else(|| {
            Failure::new(
                Class::Internal,
                "the merge lost its rows between two statements; please report this",
            )
        })?;
        let (merged, kept) = walk.finish()?;
        self.kept = kept;
        Ok(merged)
    }

    fn hand_over(&self, role: Role, side: &Side<'_>) -> Result<(), Failure> {
        let (function, columns, from) = (role.function(), side.columns, side.from);
        // Names of functions, columns and indexes alone; what is looked for is bound.
        let sql = format!(
            "SELECT {function}({columns})
               FROM {from}"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        for (at, value) in (1..=statement.parameter_count()).zip(side.values) {
            statement.raw_bind_parameter(at, value)?;
        }
        statement.raw_query().next()?;
        Ok(())
    }
}

/// The functions mean nothing without their walker.
impl Drop for Walker<'_> {
    fn drop(&mut self) {
        for role in Role::ALL {
            let _ = self.conn.remove_function(role.function(), -1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges rows given as SQL values: id, reference, amount.
    fn merged(records: &str, entries: &str) -> Result<Merged, Failure> {
        let conn = Connection::open_in_memory().unwrap();
        let setup = Arc::new(Setup {
            job: "j".to_owned(),
            ledger: true,
            ids: false,
            fees: false,
            vanished: false,
            accounts: std::collections::BTreeSet::new(),
        });
        let mut walker = Walker::new(&conn, &setup)?;
        let side = |columns, from| Side {
            columns,
            from,
            values: [None; 4],
        };
        let records = side("column1, column2, column3, 'THB', 'settled', 'payment'", records);
        let entries = side("column1, column2, column3, 'THB', 'settled'", entries);
        walker.merge(&records, Some(&entries), Merged::default())
    }

    #[test]
    fn rows_that_do_not_rise_fail_on_either_side_instead_of_being_compared_wrongly() {
        let (up, down) = ("(VALUES (1, 'a', 5), (2, 'b', 7))", "(VALUES (2, 'b', 7), (1, 'a', 5))");
        let both = merged(up, up).unwrap();
        assert_eq!(both.matched[b"THB"], (2, 12));
        assert!(both.rich.is_empty());
        for (records, entries) in [(down, up), (up, down), (down, down)] {
            let failure = merged(records, entries).unwrap_err();
            assert!(failure.message.contains("not in its order"), "{failure:?}");
        }
    }
}
