//! The smaller books of the store: runs, pauses, the outbox, frozen files, rows of exports.

#[path = "store/provider.rs"]
#[allow(dead_code)] // each test file uses its own part of the common hands
mod provider;

use chrono::NaiveDate;
use provider::*;
use reconciled::day::{BusinessDay, Instant};
use reconciled::failure::{Class, Failure};
use reconciled::record::{About, Direction, Status, Transaction, TransactionKind, Unreadable, Verdict};
use reconciled::store::outbox::{self, MailState, NewMail};
use reconciled::store::{self, FilePlace, FileRow, RunEnd, RunStart, Sealed, files};

fn day(day: u32) -> BusinessDay {
    NaiveDate::from_ymd_opt(2026, 3, day).unwrap()
}

fn begin(world: &World, as_of: Instant, business_day: BusinessDay) -> i64 {
    let start = RunStart {
        job: JOB,
        as_of,
        business_day,
        started_at: as_of,
    };
    store::begin_run(&world.store, &start).unwrap()
}

fn finish(world: &World, run_id: i64, exit_code: u8) {
    let end = RunEnd {
        stopped: false,
        finished_at: Some(night(9)),
        verdict: Verdict::Reconciled,
        exit_code,
        message: None,
        requests: 3,
        pages: 2,
        rows: 1,
        unreadable: 0,
        matched: 1,
        pending: 0,
        excluded: 0,
        opened: 0,
        reopened: 0,
        resolved: 0,
        open: 0,
    };
    store::finish_run(&world.store, run_id, &end).unwrap();
}

#[test]
fn a_run_that_a_kill_cut_off_is_ended_by_the_next_one() {
    let world = World::new();
    begin(&world, night(5), day(4));
    let world = world.killed();
    let second = begin(&world, night(5), day(4));
    finish(&world, second, 0);
    assert_eq!(
        world.select("SELECT run_id, verdict, exit_code, requests FROM runs ORDER BY run_id"),
        ["1 failed 75 0", "2 reconciled 0 3"]
    );
    assert_eq!(
        world.select("SELECT count(*) FROM runs WHERE finished_at IS NULL"),
        ["0"]
    );
}

#[test]
fn what_a_cut_run_of_the_same_day_read_counts_as_read_until_a_run_ends_well() {
    let world = World::new();
    let fresh = |as_of, on| store::fresh_since(&world.store, JOB, as_of, on).unwrap();
    assert_eq!(fresh(night(5), day(4)), night(5));
    begin(&world, night(5), day(4));
    let later = night(5) + chrono::TimeDelta::hours(3);
    let second = begin(&world, later, day(4));
    assert_eq!(fresh(later, day(4)), night(5));
    assert_eq!(fresh(night(6), day(5)), night(6), "another day is another matter");
    finish(&world, second, 0);
    assert_eq!(
        fresh(night(6), day(4)),
        night(6),
        "after a good run everything is asked again"
    );
}

#[test]
fn a_pause_is_kept_over_restarts_and_the_last_wish_counts() {
    let world = World::new();
    store::set_pause(&world.store, "lane", night(6), "429").unwrap();
    store::set_pause(&world.store, "lane", night(5), "429 again").unwrap();
    let world = world.killed();
    assert_eq!(
        store::pause(&world.store, "lane").unwrap(),
        Some((night(5), "429 again".into()))
    );
    assert_eq!(store::pause(&world.store, "other").unwrap(), None);
}

fn mail(message_id: &str) -> NewMail {
    NewMail {
        message_id: message_id.into(),
        job: JOB.into(),
        business_day: day(4),
        recipient: "accounting@example.com".into(),
        message: format!("Message-ID: {message_id}\r\n\r\nwords").into_bytes(),
    }
}

#[test]
fn a_mail_is_queued_once_and_due_until_it_is_sent_or_refused_for_good() {
    let world = World::new();
    let queue = |id: &str| world.store.write(|tx| outbox::queue(tx, night(5), &mail(id))).unwrap();
    assert!(queue("one") && queue("two") && queue("three"));
    assert!(!queue("one"), "the same mail is not queued again");
    let due = |now| -> Vec<String> {
        outbox::due(&world.store, now)
            .unwrap()
            .into_iter()
            .map(|m| m.message_id)
            .collect()
    };
    assert_eq!(due(night(5)), ["one", "two", "three"]);
    let mails = outbox::due(&world.store, night(5)).unwrap();
    assert_eq!(mails[0].message, mail("one").message);
    let record = |at: usize, state, not_before| {
        outbox::record(
            &world.store,
            mails[at].mail_id,
            state,
            Some("451 later"),
            not_before,
            night(5),
        )
        .unwrap();
    };
    record(0, MailState::Sent, None);
    record(1, MailState::Pending, Some(night(6)));
    record(2, MailState::Failed, None);
    assert_eq!(due(night(5)), Vec::<String>::new());
    assert_eq!(outbox::next_due(&world.store).unwrap(), Some(night(6)));
    assert_eq!(due(night(6)), ["two"]);
    assert!(!queue("one"), "a mail that was sent is not sent again");
    assert_eq!(
        world.select("SELECT message_id, state, attempts, last_reply FROM mails ORDER BY mail_id"),
        [
            "one sent 1 451 later",
            "two pending 1 451 later",
            "three failed 1 451 later"
        ]
    );
}

#[test]
fn a_mail_that_somebody_readdressed_or_sent_again_is_noticed_and_one_that_waits_longer_is_not() {
    for (edit, told) in [
        ("recipient = 'eve@example.com'", vec!["one", "two"]),
        ("state = 'pending' WHERE message_id = 'one'", vec!["one"]),
        ("state = 'sent' WHERE message_id = 'two'", vec!["two"]),
        (
            "attempts = 3, not_before = '2026-03-09T00:00:00.000Z' WHERE message_id = 'two'",
            vec![],
        ),
    ] {
        let world = World::new();
        for id in ["one", "two"] {
            assert!(world.store.write(|tx| outbox::queue(tx, night(5), &mail(id))).unwrap());
        }
        let record = |state| outbox::record(&world.store, 1, state, Some("550 no"), None, night(5)).unwrap();
        record(MailState::Failed);
        outbox::revive(&world.store, "550", night(4), night(5)).unwrap();
        record(MailState::Pending);
        record(MailState::Sent);
        assert_eq!(store::verify(&world.store, &[]).unwrap(), []);
        world
            .store
            .write(|tx| Ok(tx.execute(&format!("UPDATE mails SET {edit}"), [])?))
            .unwrap();
        let numbers = told.iter().map(|id| if *id == "one" { "mails 1" } else { "mails 2" });
        let findings = store::verify(&world.store, &[]).unwrap();
        let places: Vec<&str> = findings.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, numbers.collect::<Vec<_>>(), "{edit}");
    }
}

#[test]
fn produced_files_are_given_back_byte_by_byte() {
    let world = World::new();
    let put = |name: &str, bytes: &[u8]| {
        world
            .store
            .write(|tx| files::put_file(tx, JOB, day(4), night(5), name, bytes))
            .unwrap()
    };
    put("b.csv", b"old");
    assert!(put("b.csv", b"\xef\xbb\xbfnew\r\n"));
    assert!(!put("b.csv", b"\xef\xbb\xbfnew\r\n"), "it stands so already");
    put("a.csv", b"");
    assert_eq!(
        files::get_files(&world.store, JOB, day(4)).unwrap(),
        [
            ("a.csv".to_owned(), Vec::new()),
            ("b.csv".to_owned(), b"\xef\xbb\xbfnew\r\n".to_vec())
        ]
    );
    assert!(files::get_files(&world.store, JOB, day(5)).unwrap().is_empty());
}

// -- rows of exports ---------------------------------------------------------------------------------------------------

fn line(line: u64, id: &str, amount_minor: i64) -> Result<FileRow, Failure> {
    Ok(FileRow {
        source: "exports/march.csv".into(),
        line,
        row: Ok(Transaction {
            account: String::new(),
            feed: "",
            subject: String::new(),
            provider_id: id.into(),
            reference: Some(format!("order-{id}")),
            related_id: None,
            direction: Direction::In,
            kind: TransactionKind::Payment,
            currency: "EUR".parse().unwrap(),
            amount_minor,
            fee_minor: None,
            fee_currency: None,
            status: Status::Settled,
            is_final: false,
            provider_status: "booked".into(),
            occurred_at: Some(instant("2026-03-04T17:00:00Z")),
            changed_at: None,
            residuals: Vec::new(),
        }),
    })
}

fn unreadable(line: u64) -> Result<FileRow, Failure> {
    Ok(FileRow {
        source: "exports/march.csv".into(),
        line,
        row: Err((
            Unreadable {
                place: format!("line {line}, column amount"),
                reason: "is not a plain decimal number".into(),
            },
            About::default(),
        )),
    })
}

fn import(world: &World, on: u32, rows: Vec<Result<FileRow, Failure>>) -> Result<Sealed, Failure> {
    let place = FilePlace {
        job: JOB,
        provider: "bank",
        feed: "statement",
        as_of: night(on),
        window: ask("days", 4, night(on)).window,
        zone: ZONE,
    };
    world
        .store
        .write(|tx| store::apply_file_rows(tx, &place, rows.into_iter()))
}

#[test]
fn rows_of_exports_live_under_the_same_rules_as_rows_of_pages() {
    let world = World::new();
    let first = import(&world, 5, vec![line(2, "a", 100), line(3, "b", 200), unreadable(4)]).unwrap();
    assert_eq!((first.rows, first.new, first.unreadable), (3, 2, 1));
    let again = import(&world, 6, vec![line(2, "a", 100), line(3, "b", 200), unreadable(4)]).unwrap();
    assert_eq!(
        (again.new, again.changed, again.unchanged, again.vanished),
        (0, 0, 2, 0)
    );
    let third = import(&world, 7, vec![line(2, "a", 90)]).unwrap();
    assert_eq!((third.changed, third.vanished), (1, 1));
    assert_eq!(
        world.select("SELECT feed, provider_id, amount, version, page_id, page_row, source FROM transactions ORDER BY provider_id"),
        ["statement a 0.90 2 - 2 exports/march.csv", "statement b 2.00 1 - 3 exports/march.csv"]
    );
    assert_eq!(
        world.select("SELECT count(*) FROM unreadable_rows WHERE gone_at IS NULL"),
        ["0"]
    );
    assert_eq!(
        world.select("SELECT feed, state, sealed_at, reading, rows FROM windows"),
        ["statement sealed 2026-03-07T07:30:00.000Z 3 1"]
    );
    let replayed = store::replay(&world.store, &job()).unwrap();
    assert_eq!(
        (replayed.left_out, replayed.differences.len()),
        (2, 0),
        "rows without a page are left out, and said"
    );
}

#[test]
fn an_export_that_breaks_off_stores_nothing() {
    let world = World::new();
    let cut = Err(Failure::new(Class::Data, "the file ends inside a quoted field"));
    assert_eq!(
        import(&world, 5, vec![line(2, "a", 100), cut]).unwrap_err().class,
        Class::Data
    );
    assert_eq!(world.select("SELECT count(*) FROM transactions"), ["0"]);
    assert_eq!(world.select("SELECT count(*) FROM windows"), ["0"]);
}
