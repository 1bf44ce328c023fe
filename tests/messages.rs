//! A gallery of every message a person may meet because of settings and jobs: `tests/cases/messages/<case>.toml` is read,
//! `<case>.expected` is what is said about it. `ACCEPT=1 cargo test --test messages` writes the expected files anew; read
//! that difference as carefully as code.
//!
//! `settings-….toml` stands for `reconciled.toml`, `job-….toml` for a job beside good settings and a good job `bank`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reconciled::config;
use tempfile::TempDir;

const SETTINGS: &str = r#"
[mail]
transport = "folder"
from = "Reconciliation <recon@example.com>"
allowed_domains = ["example.com"]
"#;

const BANK: &str = r#"
timezone = "Europe/London"
[provider]
kind = "file"
path = "bank/*.csv"
currency_default = "GBP"
[provider.columns]
reference = "reference"
amount = "amount"
"#;

/// A folder with good settings and one good job.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: TempDir::new().unwrap(),
        };
        std::fs::create_dir(place.path("jobs")).unwrap();
        place.write("reconciled.toml", SETTINGS);
        place.write("jobs/bank.toml", BANK);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
        self.mode(name, 0o640);
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Every problem, one per line, without the folder.
    fn said(&self) -> String {
        let place = format!("{}/", self.folder.path().display());
        match config::load(Some(&self.path("reconciled.toml"))) {
            Ok(_) => "nothing\n".to_owned(),
            Err(problems) => problems
                .iter()
                .map(|problem| format!("{problem}\n").replace(&place, ""))
                .collect(),
        }
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/messages");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_message_is_the_one_in_the_gallery() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 40, "the gallery has only {} cases", cases.len());
    for case in cases {
        let place = Place::new();
        let name = case.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read(&case).unwrap();
        if name.starts_with("settings-") {
            place.write("reconciled.toml", &text);
        } else {
            place.write("jobs/case.toml", &text);
        }
        let said = place.said();
        let expected_file = case.with_extension("expected");
        if std::env::var_os("ACCEPT").is_some() {
            std::fs::write(&expected_file, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if said != expected {
            wrong.push(format!("== {name}\n-- expected\n{expected}-- said\n{said}"));
        }
        let holds = said == "nothing\n";
        assert_eq!(holds, name.ends_with("-good"), "{name}: {said}");
        assert!(!said.contains("hunter2"), "{name} repeats a secret:\n{said}");
        assert!(said.lines().all(|line| holds || line.contains(": ")), "{name}: {said}");
    }
    assert!(wrong.is_empty(), "{}\nACCEPT=1 rewrites", wrong.join("\n"));
}

#[test]
fn settings_that_are_missing_say_what_to_do() {
    let place = Place::new();
    std::fs::remove_file(place.path("reconciled.toml")).unwrap();
    assert_eq!(
        place.said(),
        "reconciled.toml: does not exist; copy packaging/reconciled.toml, name another file with --config, or try \
         `reconciled demo`, which needs none\n"
    );
}

#[test]
fn files_that_others_can_change_are_refused_with_the_command_that_helps() {
    let place = Place::new();
    for mode in [0o660, 0o602, 0o666] {
        place.mode("reconciled.toml", mode);
        let said = place.said();
        let shown = place.path("reconciled.toml").display().to_string();
        let short = shown
            .strip_prefix(&format!("{}/", place.folder.path().display()))
            .unwrap();
        assert_eq!(
            said,
            format!("{short}: can be changed by other users; run `chmod go-w {short}`\n")
        );
    }
    place.mode("reconciled.toml", 0o644);
    place.mode("jobs/bank.toml", 0o664);
    assert_eq!(
        place.said(),
        "jobs/bank.toml: can be changed by other users; run `chmod go-w jobs/bank.toml`\n"
    );
    place.mode("jobs/bank.toml", 0o640);
    place.mode("jobs", 0o777);
    assert_eq!(
        place.said(),
        "jobs: can be changed by every user; run `chmod o-w jobs`\n"
    );
    place.mode("jobs", 0o750);
    assert_eq!(place.said(), "nothing\n");
}

#[test]
fn a_jobs_folder_that_is_missing_or_empty_is_no_night_without_work() {
    let place = Place::new();
    std::fs::remove_file(place.path("jobs/bank.toml")).unwrap();
    place.write("jobs/.hidden.toml", "x");
    place.write("jobs/notes.txt", "x");
    assert_eq!(place.said(), "jobs: holds no job; put one TOML file per job into it\n");
    std::fs::remove_dir_all(place.path("jobs")).unwrap();
    assert_eq!(
        place.said(),
        "jobs: does not exist; make this folder and put one TOML file per job into it\n"
    );
    place.write("jobs", "a file");
    assert_eq!(
        place.said(),
        "jobs: cannot be read as a folder of job files: not a directory\n"
    );
}

#[test]
fn a_job_is_named_by_its_file_in_a_closed_alphabet() {
    let place = Place::new();
    let long = "a".repeat(65);
    for name in ["Bank", "bank_uk", "bänk", "bank uk", &long] {
        place.write(&format!("jobs/{name}.toml"), BANK);
        assert_eq!(
            place.said(),
            format!(
                "jobs/{name}.toml: names a job by its file name, which must be 1 to 64 of the letters a-z, digits and \
                 hyphens\n"
            )
        );
        std::fs::remove_file(place.path(&format!("jobs/{name}.toml"))).unwrap();
    }
}

#[test]
fn a_job_file_must_be_a_plain_utf8_file() {
    let place = Place::new();
    place.write("jobs/a.toml", b"timezone = \"UTC\"\n# caf\xe9\n");
    assert_eq!(
        place.said(),
        "jobs/a.toml:2: is not UTF-8 at byte 22; save the file as UTF-8\n"
    );
    std::fs::remove_file(place.path("jobs/a.toml")).unwrap();
    std::fs::create_dir(place.path("jobs/a.toml")).unwrap();
    assert_eq!(place.said(), "jobs/a.toml: is not a regular file\n");
    std::fs::remove_dir(place.path("jobs/a.toml")).unwrap();
    place.write("jobs/a.toml", "#".repeat(1_100_000));
    assert_eq!(
        place.said(),
        "jobs/a.toml: is larger than 1048576 bytes; this cannot be a file of settings\n"
    );
}

#[test]
fn nobody_is_mailed_without_mail_settings_that_allow_it() {
    let place = Place::new();
    place.write("jobs/bank.toml", format!("recipients = [\"boss@example.com\"]\n{BANK}"));
    assert_eq!(place.said(), "nothing\n");
    place.write("reconciled.toml", SETTINGS.replace("[\"example.com\"]", "[]"));
    assert_eq!(
        place.said(),
        "jobs/bank.toml:1: the recipient \"boss@example.com\" is outside `[mail] allowed_domains` of the settings (none)\n"
    );
    place.write("reconciled.toml", "");
    assert_eq!(
        place.said(),
        "jobs/bank.toml:1: `recipients` are named, but the settings have no [mail]; add it, or remove the recipients\n"
    );
}

#[test]
fn problems_of_settings_and_of_every_job_are_said_together() {
    let place = Place::new();
    place.write("reconciled.toml", "databse = \"x.db\"\n");
    place.write("jobs/a.toml", BANK.replace("London", "Londn"));
    place.write("jobs/b.toml", BANK.replace("path", "pth"));
    assert_eq!(
        place.said(),
        "reconciled.toml:1: `databse` is not a setting; did you mean `database`?\n\
         jobs/a.toml:2: `timezone` is \"Europe/Londn\", no IANA time zone; did you mean `Europe/London`?\n\
         jobs/b.toml:3: `provider.path` is missing\n\
         jobs/b.toml:5: `provider.pth` is not a setting; did you mean `path`?\n"
    );
}

#[test]
fn a_byte_order_mark_and_tabs_are_accepted_and_lines_are_counted_right() {
    let place = Place::new();
    place.write(
        "reconciled.toml",
        format!("\u{feff}{}", SETTINGS.replace(" = ", "\t=\t")),
    );
    place.write("jobs/bank.toml", format!("\u{feff}{}", BANK.replace('\n', "\r\n")));
    assert_eq!(place.said(), "nothing\n");
    place.write("jobs/bank.toml", format!("\u{feff}{BANK}\nstatu = \"x\""));
    assert_eq!(
        place.said(),
        "jobs/bank.toml:11: `provider.columns.statu` is not a setting; did you mean `status`?\n"
    );
}
