//! The demo's folder: settings, jobs, secrets, ledgers.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::jobs;
use crate::failure::{Class, Failure};
use crate::sandbox::api::ayoconnect::{PRIVATE_KEY_PEM, V3_TOKEN_PATH};
use crate::sandbox::{Running, Service, World, ledger, plant};

pub(super) const SETTINGS: &str = "reconciled.toml";
/// What the demo prints at its end.
const TABLE: &str = "found.txt";
/// Says that everything of these names in a folder was made by a demo.
const MARKER: &str = ".reconciled-demo";
/// Folders of a demo.
const FOLDERS: [&str; 6] = ["jobs", "ledger", "bank", "secrets", "out", "mail"];
/// Beginnings of the names of a demo's files.
const FILES: [&str; 4] = [SETTINGS, TABLE, "reconciled.db", "reconciled-latest.db"];

/// Makes an empty folder, or empties one that an earlier demo left.
///
/// # Errors
/// CONFIG for a folder that holds anything else; nothing is removed then.
pub(super) fn make_room(dir: &Path) -> Result<(), Failure> {
    let shown = dir.display();
    let io = |what: &str, e: &std::io::Error| {
        Failure::new(
            Class::LocalIo,
            format!("the demo's folder {shown} cannot be {what}: {}", e.kind()),
        )
    };
    let mut made = std::fs::DirBuilder::new();
    made.recursive(true).mode(0o750);
    made.create(dir).map_err(|e| io("made", &e))?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| io("read", &e))? {
        found.push(entry.map_err(|e| io("read", &e))?);
    }
    let marked = found.iter().any(|entry| entry.file_name() == MARKER);
    if !found.is_empty() && !marked {
        let why = format!("{shown} is not empty and was not made by a demo; name another folder with --dir");
        return Err(Failure::new(Class::Config, why));
    }
    for entry in found {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(|e| io("read", &e))?;
        let done = if kind.is_dir() && FOLDERS.contains(&name.as_str()) {
            std::fs::remove_dir_all(entry.path())
        } else if kind.is_file() && FILES.iter().any(|file| name.starts_with(file)) {
            std::fs::remove_file(entry.path())
        } else {
            Ok(()) // somebody else's
        };
        done.map_err(|e| io("emptied", &e))?;
    }
    write(
        &dir.join(MARKER),
        "Made by `reconciled demo`; the next one in this folder replaces it.\n",
        0o640,
    )
}

/// Settings, jobs and secrets, for the sandboxes that are running now.
pub(super) fn write_settings(dir: &Path, running: &Running, world: &World) -> Result<(), Failure> {
    for folder in FOLDERS {
        folder_for_us(&dir.join(folder))?;
    }
    write(&dir.join(SETTINGS), jobs::SETTINGS_TEXT, 0o640)?;
    let doors = &world.doors;
    for (name, value) in [
        ("payvyne-secret", &doors.payvyne.client_secret),
        ("tupay-access-key", &doors.tupay.access_key),
        ("tupay-secret-key", &doors.tupay.secret_key),
        ("one2pays-api-key", &doors.one2pays.api_key),
        ("one2pays-secret-key", &doors.one2pays.secret_key),
        ("twopay-secret", &doors.twopay.client_secret),
        ("twopay-api-key", &doors.twopay.api_key),
        ("ayoconnect-secret", &doors.ayoconnect.client_secret),
        ("ayoconnect-private-key", &PRIVATE_KEY_PEM.to_owned()),
    ] {
        write(
            &dir.join("secrets").join(name),
            &format!("{}\n", value.trim_end()),
            0o600,
        )?;
    }
    let jobs = dir.join("jobs");
    let fill = |text: &str, service| {
        text.replace("{base_url}", &running.base_url(service))
            .replace("{start}", &plant::FIRST_DAY.to_string())
            .replace("{client_id}", &doors.payvyne.client_id)
            .replace("{merchant}", &doors.payvyne.merchant)
            .replace("{id_merchant}", &doors.tupay.id_merchant.to_string())
            .replace("{twopay_client}", &doors.twopay.client_id)
            .replace("{ayoconnect_client}", &doors.ayoconnect.client_id)
            .replace("{ayoconnect_merchant}", &doors.ayoconnect.merchant)
            .replace("{v3_token_path}", V3_TOKEN_PATH)
    };
    for (name, text, service) in [
        ("payvyne-uk", jobs::PAYVYNE, Service::Payvyne),
        ("tupay-pe", jobs::TUPAY, Service::Tupay),
        ("one2pays-th", jobs::ONE2PAYS, Service::One2pays),
        ("across", jobs::ACROSS, Service::Tupay),
        ("bank", jobs::BANK, Service::Payvyne),
        ("twopay-co", jobs::TWOPAY, Service::Twopay),
        ("ayoconnect-id", jobs::AYOCONNECT, Service::Ayoconnect),
        ("ayoconnect-v3", jobs::AYOCONNECT_V3, Service::Ayoconnect),
        ("ayoconnect-cards", jobs::AYOCONNECT_CARDS, Service::Ayoconnect),
    ] {
        write(&jobs.join(format!("{name}.toml")), &fill(text, service), 0o640)?;
    }
    Ok(())
}

/// The merchant's exports and the bank's statement of a night, each in place of the one before.
pub(super) fn write_ledgers(dir: &Path, world: &World, night: usize) -> Result<(), Failure> {
    for job in plant::LEDGERS {
        write(
            &dir.join("ledger").join(format!("{job}.csv")),
            &plant::export(world, job, night),
            0o640,
        )?;
    }
    let statement = ledger::bank_statement(world, plant::as_of(night));
    write(&dir.join("bank").join("statement.csv"), &statement, 0o640)
}

/// Keeps the closing table, also of a demo that failed; gives its place.
pub(super) fn write_table(dir: &Path, text: &str) -> Result<PathBuf, Failure> {
    let path = dir.join(TABLE);
    write(&path, text, 0o640)?;
    Ok(path)
}

fn folder_for_us(path: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(
            Class::LocalIo,
            format!("the folder {} cannot be made: {}", path.display(), e.kind()),
        )
    };
    std::fs::create_dir_all(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o750)).map_err(failed)
}

/// Writes a file beside its place and moves it there: an export is never seen half.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(
            Class::LocalIo,
            format!("{} cannot be written: {}", path.display(), e.kind()),
        )
    };
    let half = path.with_extension("half");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(&half).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    std::fs::set_permissions(&half, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    std::fs::rename(&half, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_demo_makes_room_and_anything_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let demo = dir.path().join("demo");
        make_room(&demo).unwrap();
        std::fs::create_dir_all(demo.join("out/2026-03-01")).unwrap();
        for name in ["reconciled.db", "reconciled.db-wal", "notes.txt"] {
            std::fs::write(demo.join(name), "x").unwrap();
        }
        make_room(&demo).unwrap();
        let mut left: Vec<String> = std::fs::read_dir(&demo)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [MARKER, "notes.txt"]);
    }

    #[test]
    fn a_folder_that_is_not_a_demos_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("reconciled.db"), "precious").unwrap();
        let failure = make_room(dir.path()).unwrap_err();
        assert_eq!(failure.class, Class::Config);
        assert_eq!(
            std::fs::read_to_string(dir.path().join("reconciled.db")).unwrap(),
            "precious"
        );
        assert!(!dir.path().join(MARKER).exists());
    }

    #[test]
    fn secrets_are_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, "a", 0o600).unwrap();
        write(&path, "b", 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no half file stays");
    }
}
