//! What monitoring sees: the file for Prometheus, read by a strict parser of the exposition format, and `status`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output, Stdio};

use crate::{BOOKS, House, bank};

const SETTINGS: &str = r#"
[mail]
transport = "folder"
from = "R <r@example.com>"
[alerts]
recipients = ["ops@example.com"]
late_after = "2h"
[metrics]
textfile = "reconciled.prom"
"#;

fn job() -> String {
    bank(
        "schedule = \"0 30 2 * * *\"\nrecipients = [\"accounting@example.com\"]",
        "2026-03-01",
    ) + BOOKS
}

fn furnished() -> House {
    let house = House::new(SETTINGS, &job());
    let row = "A,10.00,2026-03-05T10:00:00Z\n";
    house.write(
        "bank.csv",
        &format!("ref,amount,at\n{row}B,5.00,2026-03-05T10:00:00Z\n"),
    );
    house.write("books.csv", &format!("ref,amount,at\n{row}"));
    house
}

/// What this room asks a house.
impl House {
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn metrics(&self) -> BTreeMap<String, Family> {
        parse(&std::fs::read_to_string(self.path().join("reconciled.prom")).unwrap())
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.run(&["status", "--json"]).stdout).unwrap()
    }
}

/// One family of the exposition format.
#[derive(Debug)]
struct Family {
    kind: String,
    /// Labels as written -> value.
    samples: BTreeMap<String, String>,
}

impl Family {
    fn value(&self, labels: &str) -> &str {
        self.samples.get(labels).unwrap_or_else(|| panic!("{labels}: {self:?}"))
    }
}

/// The text exposition format, strictly: HELP, TYPE, then the samples of that family, each label set once, every name of the
/// conventions, every line ended.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut help, mut name) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (of, words) = rest.split_once(' ').expect("help has words");
            assert!(words.ends_with('.') && !words.contains('\\'), "{line}");
            of.clone_into(&mut help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (of, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(of, help, "TYPE follows its HELP");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", of.ends_with("_total"), "{line}");
            of.clone_into(&mut name);
            let family = Family {
                kind: kind.to_owned(),
                samples: BTreeMap::new(),
            };
            assert!(families.insert(name.clone(), family).is_none(), "{name} stands once");
        } else {
            let (labels, value) = sample(line, &name);
            let family = families.get_mut(&name).expect("a family was begun");
            assert!(family.samples.insert(labels, value).is_none(), "{line} stands once");
        }
    }
    families
}

/// `name{a="b"} 1.5`
fn sample(line: &str, family: &str) -> (String, String) {
    let rest = line
        .strip_prefix(family)
        .unwrap_or_else(|| panic!("{line} stands in the family {family}"));
    assert!(
        family.starts_with("reconciled_")
            && family
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
    );
    let (labels, value) = match rest.strip_prefix('{') {
        None => (String::new(), rest),
        Some(inside) => {
            let end = inside.find("\"} ").expect("labels end") + 1;
            let mut names = BTreeSet::new();
            for label in inside[..end].split("\",") {
                let (name, value) = label.split_once("=\"").expect("a label");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                assert!(!value.trim_end_matches('"').contains(['"', '\\', '\n']), "{line}");
                assert!(names.insert(name), "{line}");
            }
            (inside[..end].to_owned(), &inside[end + 1..])
        }
    };
    let value = value.strip_prefix(' ').expect("one blank before the value");
    let digits = value.strip_prefix('-').unwrap_or(value);
    assert!(
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'),
        "{line}"
    );
    assert!(
        digits.matches('.').count() <= 1 && !digits.starts_with('.') && !digits.ends_with('.'),
        "{line}"
    );
    (labels, value.to_owned())
}

#[test]
fn after_each_run_the_file_for_prometheus_says_what_the_books_say() {
    let house = furnished();
    let ran = house.run(&["run", "--as-of", "2026-03-10T03:00:00Z"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let metrics = house.metrics();
    let value = |name: &str, labels: &str| {
        let family = metrics
            .get(&format!("reconciled_{name}"))
            .unwrap_or_else(|| panic!("{name} is missing"));
        family.value(labels).to_owned()
    };
    assert_eq!(value("runs_total", "job=\"bank\",verdict=\"discrepancies\""), "1");
    assert_eq!(value("last_run_verdict", "job=\"bank\",verdict=\"discrepancies\""), "1");
    assert_eq!(value("last_run_verdict", "job=\"bank\",verdict=\"reconciled\""), "0");
    assert_eq!(value("last_run_exit_code", "job=\"bank\""), "0");
    assert_eq!(
        value(
            "open_discrepancies",
            "job=\"bank\",kind=\"missing_in_ledger\",state=\"open\""
        ),
        "1"
    );
    assert_eq!(value("rows_total", "job=\"bank\""), "2");
    // The end of 2026-03-09.
    assert_eq!(
        value("last_complete_business_day_timestamp_seconds", "job=\"bank\""),
        "1773100800.000"
    );
    assert_eq!(value("outbox_mails", "state=\"pending\""), "0");
    assert_eq!(value("unsealed_windows", "job=\"bank\""), "0");
    assert!(value("database_bytes", "").parse::<u64>().unwrap() > 100_000);
    assert!(value("disk_free_bytes", "").parse::<u64>().unwrap() > 0);
    assert_eq!(metrics["reconciled_runs_total"].kind, "counter");
    let path = house.path().join("reconciled.prom");
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the exporter runs as another user");
    let others: Vec<String> = std::fs::read_dir(house.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".reconciled-"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_job_that_never_ran_has_metrics_too_once_anything_was_run() {
    let house = furnished();
    house.write("jobs/other.toml", &job());
    house.run(&["run", "bank", "--as-of", "2026-03-10T03:00:00Z"]);
    let metrics = house.metrics();
    assert_eq!(metrics["reconciled_late"].value("job=\"other\""), "1");
    assert_eq!(metrics["reconciled_rows_total"].value("job=\"other\""), "0");
}

#[test]
fn status_says_by_fields_and_by_its_exit_code_whether_somebody_has_to_look() {
    let house = furnished();
    house.run(&["run", "--as-of", "2026-03-10T03:00:00Z"]);
    let status = house.status();
    let job = &status["jobs"][0];
    // Its newest slot is long over and was never run.
    assert_eq!(
        (&status["ok"], &job["late"], &job["late_day"]),
        (&false.into(), &true.into(), &"2026-03-10".into())
    );
    assert_eq!(job["last_complete_day"], "2026-03-09");
    assert_eq!(job["unsealed_windows"], 0);
    assert_eq!(status["outbox"]["pending"], 0);
    assert!(status["disk"]["free_bytes"].as_u64().unwrap() > 0);
    assert_eq!(house.run(&["status"]).status.code(), Some(0));
    assert_eq!(house.run(&["status", "--exit-code"]).status.code(), Some(1));
    house.run(&["run"]);
    let status = house.status();
    assert_eq!(status["ok"], true, "{status}");
    assert_eq!(house.run(&["status", "--exit-code"]).status.code(), Some(0));
    std::fs::remove_file(house.path().join("bank.csv")).unwrap();
    house.run(&["run"]);
    let status = house.status();
    let troubles = status["troubles"].to_string();
    assert!(
        troubles.contains("bank: the last run ended with exit code 65"),
        "{troubles}"
    );
}

#[test]
fn the_operators_get_one_mail_about_a_failed_night_beside_the_report() {
    let house = furnished();
    std::fs::remove_file(house.path().join("bank.csv")).unwrap();
    for _ in 0..2 {
        house.run(&["run", "--as-of", "2026-03-10T03:00:00Z"]);
    }
    let mut said = Vec::new();
    for entry in std::fs::read_dir(house.path().join("mail")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let mail = mail_parser::MessageParser::default().parse(&bytes).unwrap();
        let to = mail.to().and_then(|to| to.first()?.address()).unwrap().to_owned();
        if to == "ops@example.com" {
            said.push((
                mail.subject().unwrap().to_owned(),
                mail.body_text(0).unwrap().into_owned(),
            ));
        }
    }
    let [(subject, text)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(subject, "[reconciled] FAILED – bank 2026-03-09");
    assert!(
        text.contains("the export bank.csv is missing") && text.contains("exit code 65"),
        "{text}"
    );
}

#[test]
fn where_stderr_is_the_journal_every_line_has_its_priority() {
    let house = furnished();
    std::fs::remove_file(house.path().join("bank.csv")).unwrap();
    let said = house.path().join("stderr");
    let file = std::fs::File::create(&said).unwrap();
    let meta = file.metadata().unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_reconciled"))
        .arg("--config")
        .arg(house.path().join("reconciled.toml"))
        .args(["-v", "run"])
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(65));
    let text = std::fs::read_to_string(said).unwrap();
    assert!(!text.is_empty());
    for line in text.lines() {
        assert!(
            ["<3>", "<4>", "<6>"].iter().any(|priority| line.starts_with(priority)),
            "{line}"
        );
    }
    assert!(
        text.lines().last().unwrap().starts_with("<3>reconciled: bank: "),
        "{text}"
    );
}

#[test]
fn every_problem_of_the_settings_for_operators_is_named_with_its_line() {
    let house = furnished();
    let settings = "[mail]\ntransport = \"folder\"\nfrom = \"R <r@example.com>\"\n[alerts]\nrecipients = [\"ops@elsewhere.com\", \"ops\"]\n\
                    late_after = \"3\"\n[metrics]\ntextfile = \"metrics.txt\"\n[retention]\nmails_days = 3\npages = 1\n[upkeep]\nquick_check_days = -1\n";
    house.write("reconciled.toml", settings);
    let checked = house.run(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8(checked.stderr).unwrap();
    for expected in [
        "reconciled.toml:5: an address in `alerts.recipients` lies outside [mail] allowed_domains",
        "reconciled.toml:5: an address in `alerts.recipients` has no @",
        "reconciled.toml:6: `alerts.late_after` is \"3\"",
        "reconciled.toml:8: `metrics.textfile` must be a file whose name ends in .prom",
        "reconciled.toml:10: `retention.mails_days` is 3; it must be from 30 to 36500",
        "reconciled.toml:11: `retention.pages` is not a setting",
        "reconciled.toml:13: `upkeep.quick_check_days` is -1; it must be from 0 to 36500",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(!said.contains("elsewhere"), "{said}");
    house.write("reconciled.toml", "[alerts]\nrecipients = [\"ops@example.com\"]\n");
    let said = String::from_utf8(house.run(&["check"]).stderr).unwrap();
    assert!(
        said.contains("reconciled.toml:2: `alerts.recipients` needs a [mail] section"),
        "{said}"
    );
}

fn alert(house: &House, invocation: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reconciled"))
        .arg("--config")
        .arg(house.path().join("reconciled.toml"))
        .args(["alert", "reconciled-run@bank.service"])
        .env("MONITOR_SERVICE_RESULT", "oom-kill")
        .env("MONITOR_EXIT_STATUS", "KILL")
        .env("MONITOR_INVOCATION_ID", invocation)
        .output()
        .unwrap()
}

/// The mails of the folder about a unit.
fn unit_mails(house: &House) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(house.path().join("mail")) else {
        return Vec::new();
    };
    let mails = entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    mails
        .filter(|mail| mail.contains("Subject: [reconciled] FAILED"))
        .filter(|mail| mail.contains("oom-kill"))
        .collect()
}

#[test]
fn operators_are_mailed_once_about_each_failure_of_a_unit_even_where_a_job_does_not_hold() {
    let house = furnished();
    assert_eq!(house.run(&["run"]).status.code(), Some(0));
    house.write("jobs/bank.toml", "what is this\n");
    for (invocation, mails) in [("a1", 1), ("a1", 1), ("b2", 2)] {
        let said = alert(&house, invocation);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        assert_eq!(unit_mails(&house).len(), mails, "{invocation}");
    }
    let mail = &unit_mails(&house)[0];
    assert!(mail.contains("To: ops@example.com"), "{mail}");
    assert!(
        mail.contains("reconciled-run@bank.service failed (oom-kill, status KILL)"),
        "{mail}"
    );
    let books = rusqlite::Connection::open(house.path().join("reconciled.db")).unwrap();
    let sent: i64 = books
        .query_row(
            "SELECT count(*) FROM mails WHERE job = 'reconciled-run-bank.service' AND state = 'sent'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(sent, 2, "they went through the outbox");
}

#[test]
fn a_failed_unit_is_mailed_past_an_outbox_that_is_broken_busy_or_not_there_and_nothing_is_mended_or_made() {
    let database = |house: &House| house.path().join("reconciled.db");
    let past = |house: &House, why: &str| {
        let said = alert(house, "a1");
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{why}: {text}");
        assert!(
            text.contains("the alert is sent past it") && text.contains(why),
            "{why}: {text}"
        );
        assert_eq!(unit_mails(house).len(), 1, "{why}: {text}");
    };
    let house = furnished();
    past(&house, "there is no database yet");
    assert!(!database(&house).exists());

    let house = furnished();
    std::fs::write(database(&house), "no database at all, but somebody's text".repeat(200)).unwrap();
    past(&house, "reconciled.db");
    assert!(
        std::fs::read_to_string(database(&house))
            .unwrap()
            .starts_with("no database at all")
    );

    let house = furnished();
    assert_eq!(house.run(&["run"]).status.code(), Some(0));
    let _other = reconciled::store::InstanceLock::take(&database(&house)).unwrap();
    past(&house, "another instance runs");
}

#[test]
fn an_alert_without_settings_that_hold_or_a_reader_says_its_sentence_all_the_same() {
    let house = furnished();
    house.write(
        "reconciled.toml",
        "[mail]\ntransport = \"folder\"\nfrom = \"R <r@example.com>\"\n",
    );
    let said = alert(&house, "a1");
    assert!(said.status.success() && unit_mails(&house).is_empty());
    house.write("reconciled.toml", "[mail\n");
    let said = alert(&house, "a1");
    assert_eq!(said.status.code(), Some(78));
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(
        text.contains("reconciled-run@bank.service failed (oom-kill, status KILL)"),
        "{text}"
    );
}

/// Where stderr is the journal its own words about the priority win over the unit's `SyslogLevel=`.
#[test]
fn the_sentence_about_a_failed_unit_is_critical_in_the_journal() {
    let house = furnished();
    let said = house.path().join("said");
    let file = std::fs::File::create(&said).unwrap();
    let meta = file.metadata().unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_reconciled"))
        .arg("--config")
        .arg(house.path().join("nowhere.toml"))
        .args(["alert", "reconciled.service"])
        .env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()))
        .stderr(file)
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(78));
    let text = std::fs::read_to_string(said).unwrap();
    assert!(text.starts_with("<2>reconciled: reconciled.service failed; "), "{text}");
}
