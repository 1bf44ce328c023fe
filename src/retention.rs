//! What is kept for how long, and the look at the whole database once in a while.
//!
//! Without a setting everything stays. What goes is what no later night needs: replaced versions of records nobody has an open
//! question about, the bytes of mails that left, the report files of old days. Pages, rows, counts and digests stay.

use std::collections::BTreeMap;
use std::fs;

use chrono::TimeDelta;
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::config::{Retention, Settings};
use crate::day::{BusinessDay, Instant, format_instant, parse_instant};
use crate::failure::{Class, Failure};
use crate::store::{InstanceLock, Store, audit};

/// Pruning by `serve`: once a day.
const PRUNE_EVERY: TimeDelta = TimeDelta::hours(24);

/// Versions of records with an open question stay.
const VERSIONS: &str = "DELETE FROM superseded_versions
  WHERE seen_at < ?1 AND transaction_id NOT IN (
    SELECT t.transaction_id FROM discrepancies AS d
      JOIN transactions AS t ON t.job = d.job AND t.provider_id = d.provider_id
     WHERE d.state <> 'resolved')";
/// The row stays: it says what was sent to whom, and that it is not sent again.
const MAILS: &str =
    "UPDATE mails SET message = x'' WHERE state <> 'pending' AND queued_at < ?1 AND length(message) > 0";
const FILES: &str = "DELETE FROM files WHERE business_day < ?1";

/// Removes what is older than the settings say; what went, by name. A dry run counts only.
///
/// # Errors
/// PARTIAL where another instance runs, LOCAL-IO for database and folders.
pub fn prune(settings: &Settings, dry_run: bool, now: Instant) -> Result<BTreeMap<&'static str, u64>, Failure> {
    let _lock = InstanceLock::take(&settings.database)?;
    let store = Store::open(&settings.database)?;
    prune_books(&store, settings, dry_run, now)
}

/// How the transaction of a dry run ends.
const DRY: &str = "dry run: nothing was changed";

fn prune_books(
    store: &Store,
    settings: &Settings,
    dry_run: bool,
    now: Instant,
) -> Result<BTreeMap<&'static str, u64>, Failure> {
    let keep = settings.upkeep.retention;
    let mut gone = BTreeMap::new();
    let written = store.write(|tx| {
        // Of what the trail seals only the files of closed days are removed here.
        gone = match keep.files_days {
            Some(_) => audit::amend(tx, "prune", now, "files older than [retention] were removed", || {
                prune_rows(tx, keep, now)
            })?,
            None => prune_rows(tx, keep, now)?,
        };
        note(tx, "prune", now, "done")?;
        match dry_run {
            true => Err(Failure::new(Class::Partial, DRY)),
            false => Ok(()),
        }
    });
    match written {
        Err(failure) if dry_run && failure.message.ends_with(DRY) => {}
        other => other?,
    }
    if let Some(days) = keep.files_days {
        let folders = old_folders(settings, (now - TimeDelta::days(days)).date_naive(), dry_run)?;
        put(&mut gone, "folders under out", folders);
        if folders > 0 && !dry_run {
            crate::report::write_nights(store, &settings.out)?;
        }
    }
    if !gone.is_empty() && !dry_run {
        store.rest()?;
    }
    Ok(gone)
}

fn put(gone: &mut BTreeMap<&'static str, u64>, what: &'static str, number: u64) {
    if number > 0 {
        gone.insert(what, number);
    }
}

fn prune_rows(tx: &Transaction<'_>, keep: Retention, now: Instant) -> Result<BTreeMap<&'static str, u64>, Failure> {
    let before = |days: i64| format_instant(now - TimeDelta::days(days));
    let mut gone = BTreeMap::new();
    if let Some(days) = keep.versions_days {
        put(
            &mut gone,
            "versions of records",
            tx.execute(VERSIONS, [before(days)])? as u64,
        );
        let sql = "INSERT INTO upkeep (what, done_at, result) VALUES ('versions_before', ?1, 'removed')
                   ON CONFLICT (what) DO UPDATE SET done_at = max(done_at, excluded.done_at)";
        tx.execute(sql, [before(days)])?;
    }
    if let Some(days) = keep.mails_days {
        put(&mut gone, "bytes of mails", tx.execute(MAILS, [before(days)])? as u64);
    }
    if let Some(days) = keep.files_days {
        let day = (now - TimeDelta::days(days)).date_naive().to_string();
        put(&mut gone, "report files", tx.execute(FILES, [day])? as u64);
    }
    Ok(gone)
}

/// Folders of business days before `first` under `out`; nothing else there is touched.
fn old_folders(settings: &Settings, first: BusinessDay, dry_run: bool) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| {
        let why = format!(
            "old folders in {} cannot be removed ({})",
            settings.out.display(),
            error.kind()
        );
        Failure::new(Class::LocalIo, why)
    };
    let entries = match fs::read_dir(&settings.out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(failed)?,
    };
    let mut number = 0;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let day = name
            .parse::<BusinessDay>()
            .ok()
            .filter(|day| day.to_string() == name && *day < first);
        if day.is_some() && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !dry_run {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            }
            number += 1;
        }
    }
    Ok(number)
}

/// What `serve` does when a night is over: prunes once a day, looks at the whole database as often as the settings say. What was
/// done, in words.
///
/// # Errors
/// As [`prune`]; LOCAL-IO for a database that is damaged.
pub fn keep_up(settings: &Settings, now: Instant) -> Result<Vec<String>, Failure> {
    let keeps_all = settings.upkeep.retention == Retention::default();
    let checks = settings.upkeep.quick_check_days;
    let (prune_due, check_due) = {
        let store = Store::open_read_only(&settings.database)?;
        store.read(|books| {
            let prune = !keeps_all && older(books, "prune", now - PRUNE_EVERY)?;
            let check = checks > 0 && older(books, "quick_check", now - TimeDelta::days(checks))?;
            Ok((prune, check))
        })?
    };
    let mut said = Vec::new();
    if !prune_due && !check_due {
        return Ok(said);
    }
    let _lock = InstanceLock::take(&settings.database)?;
    let store = Store::open(&settings.database)?;
    if prune_due {
        for (what, number) in prune_books(&store, settings, false, now)? {
            said.push(format!("{what}: {number} removed after their time"));
        }
    }
    if check_due {
        quick_check(&store, now)?;
        said.push("quick check: the database is whole".to_owned());
    }
    Ok(said)
}

/// SQLite's quick check of the whole file, remembered.
///
/// # Errors
/// LOCAL-IO for a database that is damaged.
pub fn quick_check(store: &Store, now: Instant) -> Result<(), Failure> {
    let verdict: String = store.read(|books| Ok(books.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?))?;
    let result = if verdict == "ok" { "whole" } else { "damaged" };
    store.write(|tx| note(tx, "quick_check", now, result))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(Failure::new(
        Class::LocalIo,
        format!(
            "the quick check found {} damaged; `reconciled verify` says more, restore a backup",
            store.path().display()
        ),
    ))
}

fn note(tx: &Connection, what: &str, now: Instant, result: &str) -> Result<(), Failure> {
    tx.execute(
        "INSERT INTO upkeep (what, done_at, result) VALUES (?1, ?2, ?3)
         ON CONFLICT (what) DO UPDATE SET done_at = excluded.done_at, result = excluded.result",
        [what, &format_instant(now), result],
    )?;
    Ok(())
}

fn older(books: &Connection, what: &str, than: Instant) -> Result<bool, Failure> {
    let at: Option<String> = books
        .prepare_cached("SELECT done_at FROM upkeep WHERE what = ?1")?
        .query_row([what], |row| row.get(0))
        .optional()?;
    Ok(at.as_deref().and_then(parse_instant).is_none_or(|at| at <= than))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "published = \"\"\n[retention]\nversions_days = 100\nmails_days = 30\nfiles_days = 30\n";

    fn books(settings: &str) -> (tempfile::TempDir, Settings, Store) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("jobs")).unwrap();
        let file = folder.path().join("reconciled.toml");
        fs::write(&file, settings).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let settings = crate::config::settings::load(&file).unwrap();
        let store = Store::open(&settings.database).unwrap();
        (folder, settings, store)
    }

    fn fill(store: &Store) {
        store
            .write(|tx| {
                for (id, open) in [("old", false), ("asked", true), ("young", false)] {
                    tx.execute(
                        "INSERT INTO transactions (job, provider, account, feed, provider_id, direction, kind, currency, amount_minor,
                                status, provider_status, business_day, version, first_seen_at, seen_at)
                         VALUES ('j', 'p', '', 'f', ?1, 'in', 'payment', 'GBP', 100, 'settled', 'paid', '2026-01-01', 2, 'x', 'x')",
                        [id],
                    )?;
                    let seen = if id == "young" { "2026-05-30T00:00:00.000Z" } else { "2026-01-01T00:00:00.000Z" };
                    tx.execute(
                        "INSERT INTO superseded_versions (transaction_id, version, direction, kind, currency, amount_minor, status,
                                is_final, provider_status, seen_at)
                         VALUES (?1, 1, 'in', 'payment', 'GBP', 90, 'settled', 1, 'paid', ?2)",
                        (tx.last_insert_rowid(), seen),
                    )?;
                    if open {
                        tx.execute(
                            "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, provider_id, business_day,
                                    first_seen_day, last_seen_day, age_days, what_differs, detail)
                             VALUES ('1', 'j', 'in|x', 'changed_after_final', 'acknowledged', ?1, '2026-01-01', '2026-01-01',
                                    '2026-01-01', 0, '', '')",
                            [id],
                        )?;
                        let mut seals = audit::Seals::default();
                        seals.row(tx, audit::Sealed::Discrepancy, "1")?;
                        let entry = audit::Entry {
                            at: now(),
                            actor: "run",
                            act: audit::Act::Compared,
                            job: "j",
                            subject: "2026-01-01",
                        };
                        audit::append(tx, &entry, &seals)?;
                    }
                }
                for (id, state, at) in [
                    ("a", "sent", "2026-01-01T00:00:00.000Z"),
                    ("b", "pending", "2026-01-01T00:00:00.000Z"),
                    ("c", "sent", "2026-05-30T00:00:00.000Z"),
                ] {
                    tx.execute(
                        "INSERT INTO mails (message_id, job, business_day, recipient, state, queued_at, sha256, message)
                         VALUES (?1, 'j', '2026-01-01', 'x@example.com', ?2, ?3, '', x'00')",
                        [id, state, at],
                    )?;
                }
                for day in ["2026-01-01", "2026-05-30"] {
                    let sql = "INSERT INTO files (job, business_day, as_of, name, sha256, bytes) VALUES ('j', ?1, '', 'n', '', x'00')";
                    tx.execute(sql, [day])?;
                }
                Ok(())
            })
            .unwrap();
    }

    fn list(store: &Store, sql: &str) -> Vec<String> {
        store
            .read(|books| {
                let mut statement = books.prepare(sql)?;
                let rows = statement.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .unwrap()
    }

    const KEPT: &str =
        "SELECT t.provider_id FROM superseded_versions JOIN transactions AS t USING (transaction_id) ORDER BY 1";

    fn now() -> Instant {
        parse_instant("2026-06-01T12:00:00Z").unwrap()
    }

    #[test]
    fn what_is_older_than_the_settings_say_goes_and_what_a_question_or_a_mail_still_needs_stays() {
        let (_folder, settings, store) = books(SETTINGS);
        fill(&store);
        for day in ["2026-01-01", "2026-05-30", "notes"] {
            fs::create_dir_all(settings.out.join(day).join("j")).unwrap();
        }
        let expected = [
            ("bytes of mails", 1),
            ("folders under out", 1),
            ("report files", 1),
            ("versions of records", 1),
        ];
        assert_eq!(prune(&settings, true, now()).unwrap(), BTreeMap::from(expected));
        assert_eq!(
            list(&store, KEPT),
            ["asked", "old", "young"],
            "a dry run removes nothing"
        );
        assert!(settings.out.join("2026-01-01").exists());
        assert_eq!(prune(&settings, false, now()).unwrap(), BTreeMap::from(expected));
        assert_eq!(list(&store, KEPT), ["asked", "young"]);
        assert_eq!(
            list(
                &store,
                "SELECT message_id FROM mails WHERE length(message) > 0 ORDER BY 1"
            ),
            ["b", "c"]
        );
        assert_eq!(list(&store, "SELECT business_day FROM files"), ["2026-05-30"]);
        assert!(!settings.out.join("2026-01-01").exists() && settings.out.join("notes").exists());
        assert_eq!(prune(&settings, false, now()).unwrap(), BTreeMap::new());
    }

    #[test]
    fn without_settings_everything_stays() {
        let (_folder, settings, store) = books("published = \"\"\n");
        fill(&store);
        assert_eq!(prune(&settings, false, now()).unwrap(), BTreeMap::new());
        assert_eq!(list(&store, KEPT).len(), 3);
    }

    #[test]
    fn serve_prunes_once_a_day_and_looks_at_the_whole_database_once_a_week() {
        let (_folder, settings, store) = books(SETTINGS);
        fill(&store);
        let said = keep_up(&settings, now()).unwrap();
        assert!(
            said.iter().any(|what| what == "quick check: the database is whole"),
            "{said:?}"
        );
        assert_eq!(said.len(), 4, "{said:?}");
        fill_mail(&store);
        assert!(keep_up(&settings, now() + TimeDelta::hours(23)).unwrap().is_empty());
        assert_eq!(
            keep_up(&settings, now() + TimeDelta::hours(24)).unwrap(),
            ["bytes of mails: 1 removed after their time"]
        );
        let week = keep_up(&settings, now() + TimeDelta::days(7)).unwrap();
        assert_eq!(week, ["quick check: the database is whole"]);
    }

    fn fill_mail(store: &Store) {
        store
            .write(|tx| {
                tx.execute("UPDATE mails SET message = x'01' WHERE message_id = 'a'", [])?;
                Ok(())
            })
            .unwrap();
    }
}
