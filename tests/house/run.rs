//! Whole nights of jobs that read files, from the settings to the verdict.

use std::path::Path;

use reconciled::config;
use reconciled::fetch::Quiet;
use reconciled::run::{JobOutcome, Options, run_jobs};
use tokio_util::sync::CancellationToken;

use crate::{BOOKS, House, bank};

fn job() -> String {
    bank("recipients = [\"accounting@example.com\"]", "2026-03-01") + BOOKS
}

const HEADER: &str = "ref,amount,at\n";

fn furnished() -> House {
    let settings =
        "[mail]\ntransport = \"folder\"\nfrom = \"R <r@example.com>\"\nallowed_domains = [\"example.com\"]\n";
    House::new(settings, &job())
}

fn table(folder: &Path, name: &str, rows: &[(&str, &str)]) {
    let rows: String = rows
        .iter()
        .map(|(reference, amount)| format!("{reference},{amount},2026-03-05T10:00:00Z\n"))
        .collect();
    std::fs::write(folder.join(name), format!("{HEADER}{rows}")).expect("a table");
}

async fn night(folder: &Path, as_of: &str) -> JobOutcome {
    night_of(folder, as_of, |_| true).await
}

async fn alone(folder: &Path, name: &str, as_of: &str) -> JobOutcome {
    night_of(folder, as_of, |job| job == name).await
}

/// A night of the jobs that are wanted; what became of the last of them.
async fn night_of(folder: &Path, as_of: &str, wanted: impl Fn(&str) -> bool) -> JobOutcome {
    let (settings, mut jobs) = config::load(Some(&folder.join("reconciled.toml"))).expect("settings");
    jobs.retain(|job| wanted(&job.name));
    let options = Options {
        as_of: reconciled::day::parse_instant(as_of),
        mail: false,
        stop: CancellationToken::new(),
    };
    let mut outcomes = run_jobs(&settings, &jobs, &options, &Quiet).await.expect("a night");
    outcomes.pop().expect("an outcome")
}

fn said(outcome: &JobOutcome) -> (&'static str, u8, u64, &str) {
    let message = outcome.message.as_deref().unwrap_or_default();
    (outcome.verdict.as_str(), outcome.exit_code(), outcome.open, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_export_is_a_missing_leg_and_opens_and_resolves_nothing() {
    let house = furnished();
    let at = house.path();
    table(at, "bank.csv", &[("A", "10.00"), ("B", "5.00")]);
    table(at, "books.csv", &[("A", "10.00")]);
    let first = night(at, "2026-03-10T03:00:00.000Z").await;
    assert_eq!(said(&first), ("discrepancies", 0, 1, ""));
    std::fs::remove_file(at.join("bank.csv")).expect("the export is gone");
    table(at, "books.csv", &[("A", "10.00"), ("B", "5.00"), ("C", "1.00")]);
    let second = night(at, "2026-03-11T03:00:00.000Z").await;
    let missing = "bank: not reconciled: the export bank.csv is missing: no such file; put it there or correct the path, \
                   the next run takes it";
    assert_eq!(said(&second), ("not_reconciled", 65, 1, missing));
    assert_eq!((second.new, second.resolved, second.windows.open), (0, 0, 1));
    table(at, "bank.csv", &[("A", "10.00"), ("B", "5.00")]);
    let third = night(at, "2026-03-12T03:00:00.000Z").await;
    assert_eq!((third.new, third.resolved, third.matched), (1, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_names_its_job_once() {
    let house = furnished();
    let at = house.path();
    let small = [("A", "10"), ("B", "20"), ("C", "30")];
    let large = [("A", "1000"), ("B", "2000"), ("C", "3000")];
    table(at, "bank.csv", &small);
    table(at, "books.csv", &large);
    let outcome = night(at, "2026-03-10T03:00:00.000Z").await;
    let (verdict, code, open, message) = said(&outcome);
    assert_eq!((verdict, code, open), ("failed", 78, 0));
    assert!(
        message.starts_with("bank: unit misconfigured: in all 3 pairs"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_export_read_for_several_past_nights_proves_each_day_once_it_is_over() {
    let house = furnished();
    let at = house.path();
    let row = |reference: &str, at: &str| format!("{reference},1.00,{at}T10:00:00Z\n");
    let bank = [row("A", "2026-03-02"), row("B", "2026-03-09")].concat();
    let books = [
        row("A", "2026-03-02"),
        row("B", "2026-03-09"),
        row("GHOST", "2026-03-07"),
    ]
    .concat();
    std::fs::write(at.join("bank.csv"), format!("{HEADER}{bank}")).expect("a table");
    std::fs::write(at.join("books.csv"), format!("{HEADER}{books}")).expect("a table");
    let early = night(at, "2026-03-04T03:00:00.000Z").await;
    assert_eq!((early.open, early.pending), (0, 1));
    let late = night(at, "2026-03-12T03:00:00.000Z").await;
    assert_eq!((late.open, late.new, late.pending), (1, 1, 0));
    let again = night(at, "2026-03-12T03:00:00.000Z").await;
    assert_eq!((again.open, again.new), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_printed_check_stands_at_the_last_run_unless_told_otherwise() {
    let house = furnished();
    let at = house.path();
    let settings = at.join("reconciled.toml");
    table(at, "bank.csv", &[("A", "10.00")]);
    table(at, "books.csv", &[("A", "10.00")]);
    let print = |more: &[&str]| {
        let printed = std::process::Command::new(env!("CARGO_BIN_EXE_reconciled"))
            .arg("--config")
            .arg(&settings)
            .args(["sql", "ledger"])
            .args(more)
            .output()
            .expect("the program");
        assert!(printed.status.success());
        String::from_utf8(printed.stdout).expect("text")
    };
    assert!(!print(&[]).contains("unixepoch('2026-03-10T03:00:00.000Z')"));
    night(at, "2026-03-10T03:00:00.000Z").await;
    assert!(print(&[]).contains("unixepoch('2026-03-10T03:00:00.000Z')"));
    assert!(print(&["--as-of", "2026-04-10T03:00:00Z"]).contains("unixepoch('2026-04-10T03:00:00.000Z')"));
}

/// Two accounts and the job that looks across them.
fn across() -> House {
    let house = furnished();
    let at = house.path();
    let other = job().replace("bank.csv", "card.csv").replace("books.csv", "cards.csv");
    std::fs::write(at.join("jobs/card.toml"), other).expect("a job");
    let across =
        "timezone = \"UTC\"\nrecipients = [\"accounting@example.com\"]\n[across]\njobs = [\"bank\", \"card\"]\n";
    std::fs::write(at.join("jobs/twice.toml"), across).expect("a job");
    for name in ["bank.csv", "books.csv"] {
        table(at, name, &[("A-1", "10.00")]);
    }
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_across_others_is_not_reconciled_while_one_of_two_was_never_read() {
    let house = across();
    let first = alone(house.path(), "twice", "2026-03-06T12:00:00Z").await;
    let why = "not reconciled: bank was never read; card was never read";
    let (verdict, code, _, message) = said(&first);
    assert_eq!((verdict, code), ("not_reconciled", 65), "{message}");
    assert!(message.contains(why), "{message}");

    alone(house.path(), "bank", "2026-03-06T12:00:00Z").await;
    let half = alone(house.path(), "twice", "2026-03-06T12:00:00Z").await;
    assert_eq!(said(&half).0, "not_reconciled", "{half:?}");
    assert!(said(&half).3.contains("card was never read"), "{half:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_across_others_is_incomplete_while_one_was_not_read_that_night_and_says_which() {
    let house = across();
    let down = night(house.path(), "2026-03-06T12:00:00Z").await;
    assert_eq!((said(&down).0, said(&down).1), ("incomplete", 75), "{down:?}");
    assert!(
        said(&down).3.contains("card ended not_reconciled for 2026-03-05"),
        "{down:?}"
    );

    for name in ["card.csv", "cards.csv"] {
        table(house.path(), name, &[("A-1", "10.00"), ("A-2", "20.00")]);
    }
    let whole = night(house.path(), "2026-03-07T12:00:00Z").await;
    assert_eq!(said(&whole), ("discrepancies", 0, 1, ""));

    // A day apart is what zones and schedules do; two days are a night that did not happen.
    assert_eq!(
        alone(house.path(), "twice", "2026-03-08T12:00:00Z").await.exit_code(),
        0
    );
    let stale = alone(house.path(), "twice", "2026-03-09T12:00:00Z").await;
    assert_eq!((said(&stale).0, said(&stale).2), ("not_reconciled", 1), "{stale:?}");
    assert!(
        said(&stale).3.contains("bank was last read for 2026-03-06"),
        "{stale:?}"
    );
}
