//! The schema as this program knows it, and whether a file still has it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rusqlite::Connection;

use crate::failure::{Class, Failure};

/// The newest schema in full.
pub(super) const SCHEMA: &str = include_str!("../../schema.sql");
/// `PRAGMA user_version` of [`SCHEMA`].
pub(super) const NEWEST: i64 = 3;
/// `PRAGMA application_id` of [`SCHEMA`]: `recn`.
pub(super) const APPLICATION_ID: u32 = 1_919_247_214;

/// `CONFIG` when a newer program wrote the file.
pub(super) fn refuse_newer(version: i64) -> Result<(), Failure> {
    if version <= NEWEST {
        return Ok(());
    }
    Err(Failure::new(
        Class::Config,
        format!(
            "the database has version {version} and this program ({}) knows versions up to {NEWEST}; it was left untouched: \
             run the newer program that wrote it",
            env!("CARGO_PKG_VERSION")
        ),
    ))
}

/// A reader cannot upgrade: it takes the newest version only.
pub(super) fn refuse_other_versions(connection: &Connection) -> Result<(), Failure> {
    let version = version(connection)?;
    refuse_newer(version)?;
    if version < NEWEST {
        return Err(Failure::new(
            Class::Config,
            format!("the database has version {version}, older than {NEWEST}; `reconciled run` upgrades it"),
        ));
    }
    Ok(())
}

pub(super) fn version(connection: &Connection) -> Result<i64, Failure> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// Whether the tables, indexes and views are those of `schema.sql`; `CONFIG` with the statement that mends it.
pub(super) fn check(connection: &Connection) -> Result<(), Failure> {
    match difference(&objects(connection)?, wanted()?) {
        None => Ok(()),
        Some(what) => Err(Failure::new(
            Class::Config,
            format!("somebody changed the database's schema: {what}"),
        )),
    }
}

/// The objects of `schema.sql`, worked out once.
fn wanted() -> Result<&'static Objects, Failure> {
    static WANTED: OnceLock<Objects> = OnceLock::new();
    match WANTED.get() {
        Some(wanted) => Ok(wanted),
        None => {
            let wanted = objects(&in_memory()?)?;
            Ok(WANTED.get_or_init(|| wanted))
        }
    }
}

/// A database in memory with the newest schema.
pub(super) fn in_memory() -> Result<Connection, Failure> {
    let fresh = Connection::open_in_memory()?;
    fresh.execute_batch(SCHEMA)?;
    Ok(fresh)
}

/// Kind and name of an object (`index runs_by_job`) -> the statement that makes it, without comments and layout.
pub(super) type Objects = BTreeMap<String, String>;

/// What a database holds, SQLite's own tables left out.
pub(super) fn objects(connection: &Connection) -> Result<Objects, Failure> {
    let mut statement = connection.prepare(
        "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, plain(&row.get::<_, String>(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The first difference between what is there and what should be, with what to do.
fn difference(there: &Objects, wanted: &Objects) -> Option<String> {
    for (name, sql) in wanted {
        match there.get(name) {
            Some(found) if found == sql => {}
            None if name.starts_with("table ") => {
                return Some(format!("{name} is missing; restore a backup"));
            }
            None => return Some(format!("{name} is missing; repair with sqlite3: {sql};")),
            Some(_) if name.starts_with("table ") => {
                return Some(format!("{name} was altered; restore a backup, or undo the change"));
            }
            Some(_) => {
                let (kind, name) = name.split_once(' ').unwrap_or_default();
                return Some(format!(
                    "{kind} {name} was altered; repair with sqlite3: DROP {kind} {name}; {sql};"
                ));
            }
        }
    }
    let (kind, name) = there.keys().find(|name| !wanted.contains_key(*name))?.split_once(' ')?;
    Some(format!(
        "{kind} {name} does not belong here; keep your own objects in another file and repair with sqlite3: DROP {kind} \"{name}\";"
    ))
}

/// A statement without comments, runs of blanks as one: an upgrade may lay it out in its own way.
fn plain(sql: &str) -> String {
    let mut words = Vec::new();
    for line in sql.lines() {
        // No text of the schema holds two hyphens but for a comment.
        let code = line.split_once("--").map_or(line, |(code, _)| code);
        words.extend(code.split_whitespace());
    }
    words.join(" ").replace("( ", "(").replace(" )", ")").replace(" ,", ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_those_of_the_schema() {
        let fresh = in_memory().unwrap();
        assert_eq!(version(&fresh).unwrap(), NEWEST);
        let id: u32 = fresh.query_row("PRAGMA application_id", [], |row| row.get(0)).unwrap();
        assert_eq!(id, APPLICATION_ID);
    }

    #[test]
    fn every_change_of_the_schema_is_named_with_its_repair() {
        for (change, expected) in [
            (
                "DROP INDEX runs_by_job",
                "index runs_by_job is missing; repair with sqlite3: CREATE INDEX runs_by_job ON runs",
            ),
            (
                "DROP VIEW v_coverage",
                "view v_coverage is missing; repair with sqlite3: CREATE VIEW",
            ),
            (
                "ALTER TABLE pauses ADD COLUMN mine TEXT",
                "table pauses was altered; restore",
            ),
            ("DROP TABLE run_counts", "table run_counts is missing; restore a backup"),
            ("CREATE TABLE mine (a)", "table mine does not belong here"),
            (
                "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM pages; END",
                "trigger t does not belong here; keep your own objects in another file and repair with sqlite3: DROP trigger",
            ),
        ] {
            let changed = in_memory().unwrap();
            changed.execute_batch(change).unwrap();
            let failure = check(&changed).unwrap_err();
            assert_eq!(failure.class, Class::Config);
            assert!(failure.message.contains(expected), "{change}: {}", failure.message);
        }
        let analysed = in_memory().unwrap();
        analysed.execute_batch("ANALYZE").unwrap();
        check(&analysed).unwrap();
    }
}
