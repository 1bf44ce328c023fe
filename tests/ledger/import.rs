//! Imports into the database: all or nothing, guarded, and never rewriting what did not change.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use proptest::prelude::*;
use reconciled::config::{Fetch, FileFeed, Job, JobSource, Ledger, LedgerColumn, Locale, Match, Report};
use reconciled::day::{Instant, parse_instant};
use reconciled::ledger::{Import, Refusal, import, import_feed};
use reconciled::record::{Direction, LedgerStatus};
use reconciled::store::Store;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{entry_line, ledger, map, read, refusal_line};

fn job(name: &str) -> Job {
    Job {
        name: name.to_owned(),
        file: PathBuf::from(format!("{name}.toml")),
        schedule: "0 30 2 * * *".to_owned(),
        timezone: chrono_tz::America::Lima,
        recipients: Vec::new(),
        recipient_locales: Default::default(),
        locale: Locale::default(),
        source: JobSource::Across(Vec::new()),
        fetch: Fetch {
            start: "2026-01-01".parse().unwrap(),
            lookback: TimeDelta::days(60),
            settle: TimeDelta::minutes(10),
            requests_per_minute: 60,
            max_in_flight: 1,
            request_timeout: Duration::from_secs(30),
            max_retry_wait: std::time::Duration::from_secs(900),
        },
        ledger: None,
        matching: Match {
            amount_tolerance: "0.00".to_owned(),
            grace_ledger: TimeDelta::hours(24),
            grace_provider: TimeDelta::hours(72),
            stale_pending_days: 14,
            suggest_days: 2,
        },
        report: Report {
            reports: Vec::new(),
            flood_limit: 200,
            reject_threshold: 0,
        },
        shape: String::new(),
    }
}

/// A folder with a database and one ledger file.
struct Desk {
    folder: TempDir,
    store: Store,
    job: Job,
    ledger: Ledger,
    stop: CancellationToken,
}

const COLUMNS: &str = "id,order_id,psp_id,amount,currency,booked_at,state,merchant\n";

impl Desk {
    fn new() -> Self {
        use LedgerColumn as C;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("reconciled.db")).unwrap();
        let mut set = ledger("ledger*.csv");
        map(
            &mut set,
            &[
                (C::LedgerId, "id"),
                (C::ProviderId, "psp_id"),
                (C::BookedAt, "booked_at"),
                (C::Status, "state"),
                (C::Account, "merchant"),
            ],
        );
        let words = [
            ("paid", LedgerStatus::Settled),
            ("test", LedgerStatus::Excluded),
            ("open", LedgerStatus::Open),
        ];
        set.statuses = words.map(|(word, status)| (word.to_owned(), status)).into();
        Self {
            folder,
            store,
            job: job("tupay-pe"),
            ledger: set,
            stop: CancellationToken::new(),
        }
    }

    /// Writes a file as if it had been there for an hour.
    fn file(&self, name: &str, rows: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("{COLUMNS}{rows}")).unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }

    fn import(&self, night: &str) -> Result<Import, Refusal> {
        import(
            &self.store,
            &self.job,
            &self.ledger,
            self.folder.path(),
            at(night),
            &self.stop,
        )
    }

    fn feed(&self, night: &str) -> Result<Import, Refusal> {
        let feed = FileFeed {
            feed: "bank".to_owned(),
            provider: "bcp".to_owned(),
            table: self.ledger.clone(),
            bank: true,
        };
        import_feed(&self.store, &self.job, &feed, self.folder.path(), at(night), &self.stop)
    }

    /// One text per row of a query, columns joined by blanks, NULL as a dash.
    fn rows(&self, sql: &str) -> Vec<String> {
        let connection = self.store.reader().unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells: rusqlite::Result<Vec<String>> = (0..width)
                .map(|at| {
                    Ok(match row.get::<_, rusqlite::types::Value>(at)? {
                        rusqlite::types::Value::Null => "-".to_owned(),
                        rusqlite::types::Value::Integer(number) => number.to_string(),
                        rusqlite::types::Value::Text(text) => text,
                        other => format!("{other:?}"),
                    })
                })
                .collect();
            Ok(cells?.join(" "))
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn entries(&self) -> Vec<String> {
        self.rows("SELECT entry_id, reference, amount, currency, status, source, source_line FROM ledger_entries ORDER BY source, source_line")
    }
}

fn at(night: &str) -> Instant {
    parse_instant(&format!("{night}T07:30:00Z")).unwrap()
}

fn counts(entries: u64, excluded: u64, unreadable: u64, unchanged: bool) -> Import {
    Import {
        entries,
        excluded,
        unreadable,
        unchanged,
    }
}

#[test]
fn a_ledger_is_imported_once_and_only_what_changed_is_written_again() {
    let desk = Desk::new();
    desk.file(
        "ledger-1.csv",
        "1,A1,P1,12.50,PEN,2026-03-04T15:00:00Z,paid,m\n2,A2,,-7.00,PEN,2026-03-04T16:00:00Z,test,m\n3,A3,,x,PEN,,paid,m\n",
    );
    assert_eq!(desk.import("2026-03-05"), Ok(counts(2, 1, 1, false)));
    let first = [
        "1 A1 12.50 PEN settled ledger-1.csv 2",
        "2 A2 -7.00 PEN excluded ledger-1.csv 3",
    ];
    assert_eq!(desk.entries(), first);
    assert_eq!(
        desk.rows("SELECT job, as_of, entries, excluded, unreadable, newest_booked_at, sources, length(digest) FROM ledger_imports"),
        ["tupay-pe 2026-03-05T07:30:00.000Z 2 1 1 2026-03-04T16:00:00.000Z [\"ledger-1.csv\"] 64"]
    );
    // The same again: the same counts, and not a byte is written.
    let version = desk.rows("PRAGMA data_version");
    assert_eq!(desk.import("2026-03-06"), Ok(counts(2, 1, 1, true)));
    assert_eq!(desk.entries(), first);
    assert_eq!(desk.rows("SELECT count(*) FROM ledger_imports"), ["1"]);
    assert_eq!(desk.rows("PRAGMA data_version"), version);
    // A row changes, one is added, a second file comes: the entry that stayed keeps its row.
    desk.file(
        "ledger-1.csv",
        "1,A1,P1,12.50,PEN,2026-03-04T15:00:00Z,paid,m\n2,A2,,-7.00,PEN,2026-03-04T16:00:00Z,open,m\n3,A3,,1.00,PEN,,paid,m\n",
    );
    desk.file("ledger-2.csv", "4,A4,,2.00,PEN,2026-03-05T00:00:00Z,paid,m\n");
    assert_eq!(desk.import("2026-03-06"), Ok(counts(4, 0, 0, false)));
    assert_eq!(
        desk.entries(),
        [
            "1 A1 12.50 PEN settled ledger-1.csv 2",
            "5 A2 -7.00 PEN open ledger-1.csv 3",
            "3 A3 1.00 PEN settled ledger-1.csv 4",
            "4 A4 2.00 PEN settled ledger-2.csv 2"
        ]
    );
}

#[test]
fn a_row_put_aside_keeps_what_it_says_all_the_same() {
    let desk = Desk::new();
    let rows = "1,A1,P1,1.00,PEN,,paid,m\n2,A2,P2,,PEN,,paid,m\n3,A3,,-2.00,PEN,soon,paid,m\n4,\" A4\",P4,2.00,PEN,soon,paid,m\n\
                5,A5,P5,,PEN,,test,m\n";
    let about = "SELECT reference, provider_id, direction FROM unreadable_rows WHERE feed = '' ORDER BY unreadable_id";
    desk.file("ledger.csv", rows);
    desk.import("2026-03-05").unwrap();
    // Amounts carry the direction here. A line that is no part of the money flow is about no payment.
    assert_eq!(desk.rows(about), ["A2 P2 -", "A3 - out", "- P4 in", "- - -"]);
    // The same line, about another payment.
    desk.file("ledger.csv", &rows.replace("A2,P2", "A7,P7"));
    desk.import("2026-03-06").unwrap();
    assert_eq!(desk.rows(about)[0], "A7 P7 -");
    desk.feed("2026-03-06").unwrap();
    assert_eq!(
        desk.rows(&about.replace("feed = ''", "feed = 'bank'")),
        ["A7 P7 -", "A3 - out", "- P4 in", "- - -"]
    );
}

#[test]
fn a_row_put_aside_keeps_the_money_and_the_keys_it_speaks_of() {
    let mut desk = Desk::new();
    desk.ledger.expected_account = None;
    desk.ledger.columns.remove(&LedgerColumn::Account);
    let key = (LedgerColumn::XExternalId, "merchant".to_owned());
    desk.ledger.columns.extend([key]);
    desk.file(
        "ledger.csv",
        "1,A1,P1,1.00,PEN,2026-03-04T15:00:00Z,paid,m\n2,,P2,-5.00,USD,2026-03-04T15:00:00Z,paid,F2\n\
         3,A3,P3,1.0O,PEN,soon,lost,F3\n4,,,1.00,PEN,,test,F4\n",
    );
    desk.import("2026-03-05").unwrap();
    desk.feed("2026-03-05").unwrap();
    let about = "SELECT x_external_id, reference_no, status, currency, amount_minor, booked_at FROM unreadable_rows
                  WHERE feed = '' ORDER BY unreadable_id";
    let expected = [
        "F2 - settled USD -500 2026-03-04T15:00:00.000Z",
        // A word that nobody mapped may be any status.
        "F3 - - PEN - -",
        "- - excluded - - -",
    ];
    assert_eq!(desk.rows(about), expected);
    assert_eq!(desk.rows(&about.replace("feed = ''", "feed = 'bank'")), expected);
}

#[test]
fn a_row_put_aside_is_remembered_until_it_is_mended() {
    let desk = Desk::new();
    let sql = "SELECT feed, source, place, reason, seen_at, gone_at FROM unreadable_rows ORDER BY unreadable_id";
    let row = |gone: &str| format!(" ledger.csv line 3, column amount is empty 2026-03-05T07:30:00.000Z {gone}");
    desk.file("ledger.csv", "1,A1,,1.00,PEN,,paid,m\n2,A2,,,PEN,,paid,m\n");
    desk.import("2026-03-05").unwrap();
    assert_eq!(desk.rows(sql), [row("-")]);
    desk.file("ledger.csv", "1,A1,,1.00,PEN,,paid,m\n2,A2,,2.00,PEN,,paid,m\n");
    desk.import("2026-03-06").unwrap();
    assert_eq!(desk.rows(sql), [row("2026-03-06T07:30:00.000Z")]);
    desk.file("ledger.csv", "1,A1,,3.00,PEN,,paid,m\n2,A2,,,PEN,,paid,m\n");
    desk.import("2026-03-07").unwrap();
    assert_eq!(desk.rows(sql), [row("-")]);
}

#[test]
fn a_ledger_that_must_not_be_believed_leaves_the_last_one_in_place() {
    let mut desk = Desk::new();
    let good = "1,A1,,1.00,PEN,2026-03-04T15:00:00Z,paid,m\n2,A1,,1.00,PEN,2026-03-04T15:00:00Z,paid,m\n";
    desk.file("ledger.csv", good);
    assert_eq!(
        desk.import("2026-03-05"),
        Ok(counts(2, 0, 0, false)),
        "the same row twice is kept twice"
    );
    let before = desk.entries();
    let bytes = desk.rows("SELECT count(*), max(import_id) FROM ledger_imports");
    for (rows, wanted) in [
        (
            "",
            "not reconciled: the ledger ledger.csv is empty: it holds no row; nothing was taken, export it again",
        ),
        (
            "1,A1,,1.00,PEN,2026-03-03T15:00:00Z,paid,m\n",
            "not reconciled: the ledger ledger.csv is older than the last one taken: its newest booked_at is 2026-03-03T15:00:00.000Z, the last one's was 2026-03-04T15:00:00.000Z; nothing was taken, put the current file there",
        ),
        (
            "1,,,1.00,PEN,2026-03-05T15:00:00Z,paid,m\n2,,,1.00,PEN,2026-03-05T15:00:00Z,paid,m\n",
            "not reconciled: the ledger ledger.csv: none of its 2 rows could be read; the first is ledger.csv, line 2, column order_id, which is empty; nothing was taken",
        ),
        (
            "1,A1,,1.00,PEN,2026-03-05T15:00:00Z,paid,m\n2,A2,,1.00,PEN,2026-03-05T15:00:00Z,paid,m\n1,A3,,1.00,PEN,2026-03-05T15:00:00Z,paid,m\n",
            "refused DATA: ledger.csv:2 and ledger.csv:4 carry the same ledger_id; an id names one entry, so nothing was taken; correct the export, or map ledger_id to a column that is unique",
        ),
        (
            "1,A9,,1.00,PEN,2026-03-05T15:00:00Z,paid,m\n2,A2\n",
            "refused DATA: ledger.csv:3: 2 cells in this row, 8 in the header: a delimiter is missing or too many; nothing was taken, export it again",
        ),
    ] {
        desk.file("ledger.csv", rows);
        assert_eq!(refusal_line(&desk.import("2026-03-06").unwrap_err()), wanted);
        assert_eq!(desk.entries(), before);
    }
    desk.ledger.expected_account = Some("n".to_owned());
    desk.file("ledger.csv", good);
    assert_eq!(
        refusal_line(&desk.import("2026-03-06").unwrap_err()),
        "not reconciled: the ledger belongs to another account: ledger.csv, line 2, column merchant is not the expected_account \"n\"; nothing was taken"
    );
    fs::remove_file(desk.folder.path().join("ledger.csv")).unwrap();
    assert_eq!(
        refusal_line(&desk.import("2026-03-06").unwrap_err()),
        "not reconciled: the ledger ledger*.csv is missing: no such file; put it there or correct the path, the next run takes it"
    );
    assert_eq!(desk.entries(), before);
    assert_eq!(desk.rows("SELECT count(*), max(import_id) FROM ledger_imports"), bytes);
    assert_eq!(desk.rows("SELECT count(*) FROM unreadable_rows"), ["0"]);
}

#[test]
fn a_booking_dated_into_the_future_by_mistake_may_be_corrected() {
    let desk = Desk::new();
    let row = |year: &str| {
        format!("1,A1,,1.00,PEN,2026-03-04T15:00:00Z,paid,m\n2,A2,,1.00,PEN,{year}-03-04T16:00:00Z,paid,m\n")
    };
    desk.file("ledger.csv", &row("2062"));
    desk.import("2026-03-05").unwrap();
    desk.file("ledger.csv", &row("2026"));
    assert_eq!(desk.import("2026-03-05"), Ok(counts(2, 0, 0, false)));
}

#[test]
fn a_ledger_that_is_being_written_is_left_for_the_next_run() {
    use std::io::Write;
    let desk = Desk::new();
    let path = desk.folder.path().join("ledger.csv");
    let mut file = fs::File::create(&path).unwrap();
    writeln!(file, "{COLUMNS}1,A1,,1.00,PEN,,paid,m").unwrap();
    let got = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2..12 {
                std::thread::sleep(Duration::from_millis(100));
                writeln!(file, "{number},A{number},,1.00,PEN,,paid,m").unwrap();
            }
        });
        desk.import("2026-03-05")
    });
    assert_eq!(
        refusal_line(&got.unwrap_err()),
        "refused PARTIAL: ledger.csv changed while it was read, so nothing of it was taken; write it under another name and rename it, the next run takes it"
    );
    assert!(desk.entries().is_empty());
    // Left alone for a moment, it is taken.
    assert_eq!(desk.import("2026-03-05"), Ok(counts(11, 0, 0, false)));
}

#[test]
fn jobs_do_not_touch_each_others_entries() {
    let mut desk = Desk::new();
    desk.file("ledger.csv", "1,A1,,1.00,PEN,,paid,m\n2,A2,,1.00,PEN,,paid,m\n");
    desk.import("2026-03-05").unwrap();
    desk.job = job("other");
    assert_eq!(desk.import("2026-03-05"), Ok(counts(2, 0, 0, false)));
    desk.file("ledger.csv", "1,A1,,1.00,PEN,,paid,m\n");
    assert_eq!(desk.import("2026-03-06"), Ok(counts(1, 0, 0, false)));
    assert_eq!(
        desk.rows("SELECT job, count(*) FROM ledger_entries GROUP BY job ORDER BY job"),
        ["other 1", "tupay-pe 2"]
    );
}

#[test]
fn a_query_is_imported_like_a_file() {
    let mut desk = Desk::new();
    let path = desk.folder.path().join("books.db");
    let books = rusqlite::Connection::open(&path).unwrap();
    books
        .execute_batch(
            "CREATE TABLE b (id, order_id, psp_id, amount, currency, booked_at, state, merchant);
             INSERT INTO b VALUES (1, 'A1', NULL, '1.00', 'PEN', NULL, 'paid', 'm'), (2, 'A2', 77, 3, 'PEN', NULL, 'paid', 'm');",
        )
        .unwrap();
    let query = "SELECT * FROM b".to_owned();
    desk.ledger.kind = reconciled::config::LedgerKind::Sqlite { path, query };
    assert_eq!(desk.import("2026-03-05"), Ok(counts(2, 0, 0, false)));
    assert_eq!(desk.import("2026-03-06"), Ok(counts(2, 0, 0, true)));
    books.execute_batch("UPDATE b SET amount = 4 WHERE id = 2").unwrap();
    assert_eq!(desk.import("2026-03-06"), Ok(counts(2, 0, 0, false)));
    assert_eq!(
        desk.entries(),
        ["1 A1 1.00 PEN settled books.db 1", "2 A2 4.00 PEN settled books.db 2"]
    );
    books.execute_batch("DELETE FROM b").unwrap();
    assert_eq!(
        refusal_line(&desk.import("2026-03-07").unwrap_err()),
        "not reconciled: the ledger books.db is empty: it holds no row; nothing was taken, export it again"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn after_any_sequence_of_ledgers_the_table_holds_exactly_the_last_one(
        nights in prop::collection::vec(prop::collection::vec((0..4_u8, -300_i64..300), 1..40), 1..5),
    ) {
        let mut desk = Desk::new();
        desk.ledger.columns.remove(&LedgerColumn::LedgerId);
        for (night, rows) in nights.iter().enumerate() {
            let text: String =
                rows.iter().map(|(name, cents)| format!("9,R{name},,{cents},PEN,,paid,m\n")).collect();
            desk.file("ledger.csv", &text);
            desk.import(&format!("2026-03-{:02}", night + 5)).unwrap();
            let (wanted, _) = read(&desk.ledger, desk.folder.path());
            let wanted: Vec<String> = wanted.into_iter().map(|row| entry_line(&row.unwrap())).collect();
            let got = desk.rows(
                "SELECT source || ':' || source_line || ' \"' || reference || '\" ' || direction || ' ' || amount || ' ' || currency
                        || ' ' || status || ' account=' || account || ' word=' || ledger_status FROM ledger_entries ORDER BY source_line",
            );
            prop_assert_eq!(got, wanted);
        }
    }
}

#[test]
fn an_export_becomes_records_with_one_sealed_window_over_its_days() {
    let mut desk = Desk::new();
    desk.ledger.statuses.insert("lost".to_owned(), LedgerStatus::Failed);
    desk.ledger.columns.remove(&LedgerColumn::LedgerId);
    let rows = "1,A1,P1,12.50,PEN,2026-03-02T15:00:00Z,paid,m\n\
                2,A2,,-7.00,PEN,2026-03-04T16:00:00Z,paid,m\n\
                3,A2,,-8.00,PEN,2026-03-04T17:00:00Z,lost,m\n\
                4,A4,P4,1.00,PEN,2026-03-04T17:00:00Z,test,m\n\
                5,A5,P5,1.0O,PEN,2026-03-04T17:00:00Z,paid,m\n\
                6,A6,P6,6.00,PEN,2026-03-03T17:00:00Z,limbo,m\n";
    desk.file("ledger.csv", rows);
    assert_eq!(desk.feed("2026-03-05"), Ok(counts(5, 1, 1, false)));
    let records = "SELECT provider, feed, account, provider_id, reference, direction, kind, amount, status, is_final, provider_status,
                          business_day, source, page_row, vanished_at FROM transactions ORDER BY provider_id";
    let first = [
        "bcp bank m A2 A2 out withdraw -7.00 settled 1 paid 2026-03-04 ledger.csv 3 -",
        "bcp bank m A2#2 A2 out withdraw -8.00 failed 1 lost 2026-03-04 ledger.csv 4 -",
        "bcp bank m P1 A1 in deposit 12.50 settled 1 paid 2026-03-02 ledger.csv 2 -",
        "bcp bank m P6 A6 in deposit 6.00 unknown 0 limbo 2026-03-03 ledger.csv 7 -",
    ];
    assert_eq!(desk.rows(records), first);
    assert_eq!(
        desk.rows("SELECT feed, from_at, until_at, state FROM windows"),
        ["bank 2026-03-02T05:00:00.000Z 2026-03-05T05:00:00.000Z sealed"]
    );
    assert_eq!(
        desk.rows("SELECT feed, source, place, gone_at FROM unreadable_rows"),
        ["bank ledger.csv line 6, column amount -"]
    );
    assert_eq!(desk.feed("2026-03-06"), Ok(counts(5, 1, 1, true)));
    // A ledger of the same job is another thing.
    assert_eq!(desk.import("2026-03-06"), Ok(counts(5, 1, 1, false)));
    // The bank corrects an amount and takes one line back. While a line cannot be read, it might be that one.
    let line = "6,A6,P6,6.00,PEN,2026-03-03T17:00:00Z,limbo,m\n";
    let rows = rows.replace("12.50", "12.00").replace(line, "");
    desk.file("ledger.csv", &rows);
    assert_eq!(desk.feed("2026-03-07"), Ok(counts(4, 1, 1, false)));
    let later = desk.rows(records);
    assert_eq!(
        later[2],
        "bcp bank m P1 A1 in deposit 12.00 settled 1 paid 2026-03-02 ledger.csv 2 -"
    );
    assert_eq!(later[3], first[3]);
    assert_eq!(
        desk.rows("SELECT version FROM transactions WHERE provider_id = 'P1'"),
        ["2"]
    );
    desk.file("ledger.csv", &rows.replace("1.0O", "1.00"));
    assert_eq!(desk.feed("2026-03-08"), Ok(counts(5, 1, 0, false)));
    assert_eq!(
        desk.rows("SELECT provider_id, vanished_at FROM transactions WHERE vanished_at IS NOT NULL"),
        ["P6 2026-03-08T07:30:00.000Z"]
    );
    assert_eq!(
        desk.rows("SELECT gone_at FROM unreadable_rows WHERE feed = 'bank'"),
        ["2026-03-08T07:30:00.000Z"]
    );
}

#[test]
fn an_export_of_a_day_that_is_not_over_proves_only_the_days_that_are() {
    let desk = Desk::new();
    // 02:30 in Lima: the export holds the first hours of the running day.
    desk.file(
        "ledger.csv",
        "1,A1,P1,12.50,PEN,2026-03-03T15:00:00Z,paid,m\n2,A2,P2,1.00,PEN,2026-03-05T06:00:00Z,paid,m\n",
    );
    assert_eq!(desk.feed("2026-03-05"), Ok(counts(2, 0, 0, false)));
    assert_eq!(
        desk.rows("SELECT from_at, until_at FROM windows"),
        ["2026-03-03T05:00:00.000Z 2026-03-05T05:00:00.000Z"]
    );
    assert_eq!(desk.rows("SELECT count(*) FROM transactions"), ["2"]);
}

#[test]
fn an_export_is_guarded_like_a_ledger() {
    let desk = Desk::new();
    desk.file("ledger.csv", "1,A1,P1,12.50,PEN,2026-03-02T15:00:00Z,paid,m\n");
    desk.feed("2026-03-05").unwrap();
    for (rows, wanted) in [
        (
            "",
            "not reconciled: the export ledger.csv is empty: it holds no row; nothing was taken, export it again",
        ),
        (
            "1,A1,P1,12.50,PEN,2026-03-01T15:00:00Z,paid,m\n",
            "not reconciled: the export ledger.csv is older than the last one taken: its newest booked_at is 2026-03-01T15:00:00.000Z, the last one's was 2026-03-02T15:00:00.000Z; nothing was taken, put the current file there",
        ),
        (
            "1,A1,P1,12.50,PEN,2026-03-02T15:00:00Z,paid,m\n2,A2,P1,1.00,PEN,2026-03-02T15:00:00Z,paid,m\n",
            "refused DATA: ledger.csv:3 carries the provider_id that line 2 already has; an id names one record, so nothing was taken; correct the export, or map provider_id to a column that is unique",
        ),
    ] {
        desk.file("ledger.csv", rows);
        assert_eq!(refusal_line(&desk.feed("2026-03-06").unwrap_err()), wanted);
        assert_eq!(
            desk.rows("SELECT provider_id, amount, version FROM transactions"),
            ["P1 12.50 1"]
        );
    }
}

#[test]
fn both_ways_of_money_and_the_sign_agree() {
    let mut desk = Desk::new();
    desk.ledger.columns.insert(LedgerColumn::Direction, "state".to_owned());
    desk.ledger.statuses.clear();
    desk.ledger.directions = [("in", Direction::In), ("out", Direction::Out)]
        .map(|(w, d)| (w.to_owned(), d))
        .into();
    desk.file("ledger.csv", "1,A1,,1.00,PEN,,in,m\n2,A2,,2.00,PEN,,out,m\n");
    desk.import("2026-03-05").unwrap();
    assert_eq!(
        desk.rows("SELECT direction, amount_minor, amount FROM ledger_entries ORDER BY entry_id"),
        ["in 100 1.00", "out -200 -2.00"]
    );
}
