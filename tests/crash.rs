//! The real program, killed at its writes, stopped, refused the disk: whatever happens, the next undisturbed run ends in
//! the state of a night in which nothing happened (FAILURES.md 3.2).
//!
//! Chosen points by default, every kind of call among them; `CRASH=200 cargo test --test crash` takes so many more of each
//! story, `CRASH=all` every call.

#[path = "crash/bench.rs"]
mod bench;
#[path = "crash/oracle.rs"]
mod oracle;
#[path = "support/smtp.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod smtp;
#[path = "crash/sweep.rs"]
mod sweep;
#[path = "crash/witness.rs"]
mod witness;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bench::{Bench, Post, Story};
use sweep::{Reference, TURNS};

/// As many as the demo has.
const JOBS: usize = 9;

/// Six days of five providers, ledgers, bank and across, from nothing.
const BACKFILL: Story = Story {
    name: "backfill",
    night: 0,
    post: Post::Folder,
    read_before: false,
    fees_signed: false,
    aged: false,
};
/// A later night: new versions, vanished records, resolved and reopened discrepancies.
const INCREMENT: Story = Story {
    name: "increment",
    night: 2,
    post: Post::Folder,
    read_before: false,
    fees_signed: false,
    aged: false,
};
/// Everything is read already; what is left is to compare, report and mail.
const MAILS: Story = Story {
    name: "mails",
    night: 0,
    post: Post::Smtp,
    read_before: true,
    fees_signed: false,
    aged: false,
};

/// The first night shows that the account's fees have another sign than documented.
const LEARNS: Story = Story {
    name: "learns",
    night: 0,
    post: Post::Folder,
    read_before: false,
    fees_signed: true,
    aged: false,
};

/// A stopped run has this long; systemd would wait for 90 s.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn a_backfill_killed_at_any_write_ends_as_if_nothing_had_happened() {
    sweep::play(BACKFILL, |reference| {
        assert_eq!(reference.outcome.books["mails"].len(), JOBS, "one mail per job");
        sweep::kills(reference, sweep::KINDS)
    });
}

#[test]
fn a_later_night_killed_at_any_write_ends_as_if_nothing_had_happened() {
    sweep::play(INCREMENT, |reference| {
        let has = |table: &str, what: &str| {
            let rows = &reference.outcome.books[table];
            assert!(
                rows.iter().any(|row| row.contains(what)),
                "no {what} in {table}: {rows:#?}"
            );
        };
        has("superseded_versions", "version=1");
        has("discrepancies", "kind=\"vanished\"");
        has("discrepancy_events", "event=\"resolved\"");
        sweep::kills(reference, sweep::PLACES)
    });
}

#[test]
fn mails_of_a_killed_night_arrive_and_only_a_kill_between_acceptance_and_record_repeats_one() {
    let swept = sweep::play(MAILS, |reference| {
        assert_eq!(reference.outcome.mails.len(), JOBS, "one mail per job");
        sweep::kills(reference, sweep::RECORDS)
    });
    assert!(swept.mails_again > 0, "no kill fell between acceptance and record");
    // Half of the kills fall into the sending of one mail; that a kill repeats no more than one is asked of each history.
    assert!(
        swept.mails_again < swept.struck / 2,
        "{} mails were repeated",
        swept.mails_again
    );
}

#[test]
fn what_a_killed_night_learned_holds_for_every_row_of_it() {
    sweep::play(LEARNS, |reference| {
        let learned = &reference.outcome.books["calibrations"];
        assert!(learned.iter().any(|row| row.contains("fee_sign")), "{learned:?}");
        sweep::kills_near(reference, "reconciled-replay")
    });
}

#[test]
fn a_disk_that_fails_ends_the_run_with_74_and_the_next_one_makes_up_for_it() {
    sweep::play(BACKFILL, sweep::failures);
}

/// Changes one row, and leaves log and index beside the database as the program does.
fn spoil(database: &std::path::Path, defect: &str) {
    let conn = rusqlite::Connection::open(database).unwrap();
    let mut persist = 1;
    conn.file_control(Some(rusqlite::MAIN_DB), rusqlite::FileControl::PersistWal(&mut persist))
        .unwrap();
    assert_eq!(conn.execute(defect, []).unwrap(), 1, "{defect}");
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
}

/// An oracle that sees nothing would let every test above pass.
#[test]
fn the_oracle_sees_a_defect_of_each_kind() {
    let mut bench = Bench::new(
        Story {
            name: "defects",
            ..BACKFILL
        },
        sweep::BENCHES.fetch_add(1, Ordering::Relaxed),
    );
    let reference = TURNS.take(|| Reference::of(&mut bench));
    let kinds: std::collections::BTreeSet<_> = reference.calls.iter().map(sweep::kind).collect();
    let covered: std::collections::BTreeSet<_> = sweep::points(&reference.calls, sweep::KINDS)
        .into_iter()
        .map(|at| sweep::kind(&reference.calls[at - 1]))
        .collect();
    assert_eq!(kinds, covered, "every kind of call is disturbed");
    let night = bench.night();
    let database = night.join("reconciled.db");
    let whole = std::fs::read(&database).unwrap();
    for (defect, told) in [
        (
            "UPDATE transactions SET amount_minor = amount_minor + 1 WHERE transaction_id = 7",
            "transactions: missing (1)",
        ),
        (
            "DELETE FROM discrepancy_events WHERE event_id = (SELECT max(event_id) FROM discrepancy_events)",
            "discrepancy_events: missing (1)",
        ),
        (
            "INSERT INTO pending_items (job, identity, becomes_kind, becomes_day, currency, amount_minor)
             VALUES ('tupay-pe', 'in|twice', 'missing_in_ledger', '2026-03-04', 'PEN', 1)",
            "pending_items: too much (1)",
        ),
        (
            "UPDATE windows SET state = 'open' WHERE window_id = (SELECT min(window_id) FROM windows)",
            "windows: missing (1)",
        ),
        (
            "UPDATE mails SET sha256 = 'x' WHERE mail_id = (SELECT min(mail_id) FROM mails)",
            "mails: missing (1)",
        ),
        ("UPDATE runs SET finished_at = NULL WHERE run_id = 1", "still running"),
    ] {
        spoil(&database, defect);
        let mut wrong = sweep::diverging(&reference, &bench.outcome(), 0);
        wrong.extend(oracle::unhealthy(&database));
        assert!(wrong.iter().any(|line| line.contains(told)), "{defect}: {wrong:#?}");
        std::fs::write(&database, &whole).unwrap();
    }
    let report = bench
        .files()
        .into_keys()
        .find(|name| name.ends_with("_discrepancies.csv"))
        .unwrap();
    let path = night.join(&report);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let half = oracle::half_files(&reference.outcome.files, &bench.files());
    assert!(half.iter().any(|line| line.contains(&report)), "{half:?}");
    std::fs::remove_file(&path).unwrap();
    let gone = sweep::diverging(&reference, &bench.outcome(), 0);
    assert_eq!(gone, [format!("the file {report} is missing")]);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(
        sweep::diverging(&reference, &bench.outcome(), 0),
        [""; 0],
        "mended, nothing is wrong"
    );
}

/// The first night of a newer program: everything stands in a database of the first version.
const UPGRADE: Story = Story {
    name: "upgrade",
    read_before: true,
    aged: true,
    ..BACKFILL
};

#[test]
fn an_upgrade_killed_at_any_write_ends_as_if_nothing_had_happened() {
    sweep::play(UPGRADE, |reference| sweep::kills_near(reference, ".before-v2"));
}

#[test]
fn a_stopped_run_ends_soon_with_75_and_the_next_one_goes_on() {
    let mut bench = Bench::new(
        Story {
            name: "stop",
            ..INCREMENT
        },
        sweep::BENCHES.fetch_add(1, Ordering::Relaxed),
    );
    let reference = TURNS.take(|| Reference::of(&mut bench));
    let requests = reference.outcome.requests;
    let mut early = 0;
    let places: &[usize] = match sweep::everything() {
        true => &[0, 1, 2, 5, 9, 14, 20, 27, 35, 44, 54],
        false => &[0, 2, 9, 20, 35],
    };
    for stop_after in places.iter().copied().filter(|at| *at < requests) {
        TURNS.take(|| {
            bench.reset();
            let mut run = bench.start();
            while bench.requests() < stop_after && !run.is_over() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let asked = Instant::now();
            if !run.is_over() {
                run.terminate();
            }
            let ended = run.wait();
            let took = asked.elapsed();
            assert!(
                took < STOPS_WITHIN,
                "stopped after {stop_after} requests, ended after {took:?}"
            );
            let mut wrong = match (ended.signal, ended.code) {
                (None, Some(75)) => Vec::new(),
                (None, Some(0)) => sweep::diverging(&reference, &bench.outcome(), 0),
                // Before the program listens to signals nothing was done.
                (Some(15), None) if ended.calls.is_empty() => Vec::new(),
                other => vec![format!("ended with {other:?}: {}", ended.said)],
            };
            early += usize::from(ended.code == Some(75));
            let ended = bench.run(&[], witness::Harm::None);
            if ended.code != Some(0) {
                wrong.push(format!("the next run ended with {:?}: {}", ended.code, ended.said));
            }
            wrong.extend(sweep::diverging(&reference, &bench.outcome(), 1));
            wrong.extend(bench.unhealthy());
            assert!(wrong.is_empty(), "stopped after {stop_after} requests: {wrong:#?}");
        });
    }
    assert!(early * 2 > places.len(), "only {early} runs were stopped early");
}

#[test]
fn a_second_instance_ends_at_once_with_75_and_asks_nobody() {
    let mut bench = Bench::new(
        Story {
            name: "two",
            ..BACKFILL
        },
        sweep::BENCHES.fetch_add(1, Ordering::Relaxed),
    );
    let reference = TURNS.take(|| Reference::of(&mut bench));
    bench.reset();
    // The first one waits for its first answers, and asks nothing more meanwhile.
    bench.slow_down(Duration::from_secs(3));
    let first = bench.start();
    let mut asked = 0;
    while asked == 0 || asked < bench.requests() {
        asked = bench.requests();
        std::thread::sleep(Duration::from_millis(500));
    }
    let second = bench.run(&[], witness::Harm::None);
    assert_eq!(second.code, Some(75), "{}", second.said);
    assert!(second.said.contains("another instance runs"), "{}", second.said);
    assert!(second.took < Duration::from_secs(2), "it took {:?}", second.took);
    assert_eq!(bench.requests(), asked, "the second instance asked somebody");
    bench.quicken();
    let first = first.wait();
    assert_eq!(first.code, Some(0), "{}", first.said);
    let wrong = sweep::diverging(&reference, &bench.outcome(), 0);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
