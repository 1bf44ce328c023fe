//! Upgrades: from any older version to the newest, step by step, each in one transaction, with a copy kept beside.
//!
//! A new version of the schema is one [`Step`] here, the changed `schema.sql`, and `NEWEST` counted up. A step may use all of
//! SQLite; a table is rebuilt by putting the old one aside under another name (a renamed new one would bear its name in quotes), so
//! that its text ends as in `schema.sql`. Views hold nothing: all are dropped before a step, and made anew after the newest. A test
//! adds the steps to the oldest version and compares.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{backup, open, schema};
use crate::failure::{Class, Failure};

/// One upgrade, from the version before `to`.
pub(super) struct Step {
    pub to: i64,
    pub sql: &'static str,
}

/// Oldest first, without gaps. Version 1 is the first there ever was.
const STEPS: &[Step] = &[
    Step {
        to: 2,
        sql: include_str!("to_version_2.sql"),
    },
    Step {
        to: 3,
        sql: include_str!("to_version_3.sql"),
    },
];

/// Brings the file to the newest version; a newer one is refused.
pub(super) fn to_newest(path: &Path, connection: &Connection) -> Result<(), Failure> {
    schema::refuse_newer(schema::version(connection)?)?;
    upgrade(path, connection, STEPS)
}

/// Carries out every step above the file's version. A kill in a step leaves the version before it, and the copy.
fn upgrade(path: &Path, connection: &Connection, steps: &[Step]) -> Result<(), Failure> {
    for step in steps {
        if schema::version(connection)? < step.to {
            let copy = open::beside(path, &format!(".before-v{}", step.to));
            backup::copy(connection, &copy)?;
            // Rebuilding a table drops the old one; references are checked once, at the end.
            connection.pragma_update(None, "foreign_keys", false)?;
            let done = carry_out(connection, step);
            connection.pragma_update(None, "foreign_keys", true)?;
            done.map_err(|failure| failure.at(format!("upgrade to version {}", step.to)))?;
        }
    }
    Ok(())
}

fn carry_out(connection: &Connection, step: &Step) -> Result<(), Failure> {
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // Another process may have been faster while this one waited for the lock.
    if schema::version(&tx)? >= step.to {
        return Ok(());
    }
    drop_views(&tx)?;
    tx.execute_batch(step.sql)?;
    if step.to >= schema::NEWEST {
        tx.execute_batch(&views(&schema::in_memory()?)?.join(";\n"))?;
    }
    if tx.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(Failure::new(
            Class::Internal,
            "rows would point nowhere afterwards; nothing was changed, the database is as before",
        ));
    }
    tx.pragma_update(None, "user_version", step.to)?;
    Ok(tx.commit()?)
}

/// What makes the views, in the order in which they may name each other.
fn views(connection: &Connection) -> Result<Vec<String>, Failure> {
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE type = 'view' ORDER BY rowid")?;
    let texts = statement.query_map([], |row| row.get(0))?;
    Ok(texts.collect::<Result<_, _>>()?)
}

fn drop_views(connection: &Connection) -> Result<(), Failure> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'view'")?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        connection.execute_batch(&format!("DROP VIEW \"{name}\""))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const NEXT: i64 = schema::NEWEST + 1;
    const TO_NEXT: Step = Step {
        to: NEXT,
        sql: "CREATE TABLE notes (note TEXT NOT NULL) STRICT;
              INSERT INTO notes SELECT why FROM pauses;",
    };

    fn filled(path: &Path) -> Connection {
        let store = Store::open(path).unwrap();
        store
            .write(|tx| {
                tx.execute(
                    "INSERT INTO pauses VALUES ('lane', '2026-03-04T00:00:00.000Z', 'patience')",
                    [],
                )?;
                Ok(())
            })
            .unwrap();
        drop(store);
        Connection::open(path).unwrap()
    }

    #[test]
    fn the_sum_of_all_upgrades_is_the_schema() {
        for (before, step) in STEPS.iter().enumerate() {
            assert_eq!(step.to, i64::try_from(before).unwrap() + 2, "steps have no gaps");
        }
        let oldest = Connection::open_in_memory().unwrap();
        oldest.execute_batch(include_str!("version_1.sql")).unwrap();
        for step in STEPS {
            carry_out(&oldest, step).unwrap();
        }
        assert_eq!(schema::version(&oldest).unwrap(), schema::NEWEST);
        let fresh = schema::in_memory().unwrap();
        assert_eq!(schema::objects(&oldest).unwrap(), schema::objects(&fresh).unwrap());
    }

    #[test]
    fn an_upgrade_keeps_the_rows_and_a_copy_of_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db");
        let connection = filled(&path);
        upgrade(&path, &connection, &[TO_NEXT]).unwrap();
        assert_eq!(schema::version(&connection).unwrap(), NEXT);
        let note: String = connection
            .query_row("SELECT note FROM notes", [], |row| row.get(0))
            .unwrap();
        assert_eq!(note, "patience");
        let copy = Store::open_read_only(&open::beside(&path, &format!(".before-v{NEXT}"))).unwrap();
        let lanes: i64 = copy
            .read(|c| Ok(c.query_row("SELECT count(*) FROM pauses", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(lanes, 1);
        // Once more changes nothing: no second copy, no second note.
        std::fs::remove_file(open::beside(&path, &format!(".before-v{NEXT}"))).unwrap();
        upgrade(&path, &connection, &[TO_NEXT]).unwrap();
        assert!(!open::beside(&path, &format!(".before-v{NEXT}")).exists());
    }

    #[test]
    fn an_upgrade_that_breaks_off_leaves_the_version_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.db");
        let connection = filled(&path);
        let broken = Step {
            to: NEXT + 1,
            sql: "CREATE TABLE half (a) STRICT; INSERT INTO nowhere VALUES (1);",
        };
        assert!(upgrade(&path, &connection, &[TO_NEXT, broken]).is_err());
        assert_eq!(schema::version(&connection).unwrap(), NEXT);
        let half: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'half'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(half, 0);
    }
}
