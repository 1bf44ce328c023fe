//! The CSVs as accountants get them: expected bytes beside the test (`ACCEPT=1` rewrites them), locales, hostile texts, files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use reconciled::failure::Class;
use reconciled::report;

#[path = "support/night.rs"]
mod night;
use night::{DAY, Desk, GERMAN, JOB, RUN, as_of, day, full, job, quiet, strict_csv};

#[path = "report/locales.rs"]
mod locales;
#[path = "report/wording.rs"]
mod wording;
#[path = "report/workbook.rs"]
mod workbook;

fn expected(case: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases/report")
        .join(case)
        .join(name)
}

/// Compares bytes with the expected file, or writes it under `ACCEPT=1`.
fn assert_expected(case: &str, name: &str, bytes: &[u8]) {
    let file = expected(case, name);
    if std::env::var_os("ACCEPT").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, bytes).unwrap();
    }
    let wanted = std::fs::read(&file).unwrap_or_default();
    assert!(
        wanted == bytes,
        "{} differs; read the difference, then ACCEPT=1\n--- expected\n{}\n--- made\n{}",
        file.display(),
        String::from_utf8_lossy(&wanted),
        String::from_utf8_lossy(bytes)
    );
}

#[test]
fn the_four_reports_of_a_full_night_are_the_expected_bytes() {
    let desk = full();
    let produced = desk.produce(&job());
    let names: Vec<&str> = produced.iter().map(|file| file.name.as_str()).collect();
    let mut wanted = ["discrepancies", "summary", "statement", "coverage"]
        .map(|report| format!("{DAY}_{JOB}_{report}.csv"))
        .to_vec();
    wanted.push(format!("{DAY}_{JOB}.xlsx"));
    assert_eq!(names, wanted);
    for file in csvs(&produced) {
        assert_expected("full", &file.name, &file.bytes);
    }
}

/// The workbook is held against the CSVs elsewhere; its bytes are no text to compare by eye.
fn csvs(produced: &[report::Produced]) -> impl Iterator<Item = &report::Produced> {
    produced.iter().filter(|file| file.name.ends_with(".csv"))
}

#[test]
fn a_sum_beyond_64_bits_is_an_empty_cell() {
    let desk = full();
    desk.sql("UPDATE run_counts SET difference_minor = NULL WHERE run_id = 7 AND currency = 'JPY'");
    let produced = desk.produce(&job());
    let summary = csvs(&produced)
        .find(|file| file.name.ends_with("_summary.csv"))
        .unwrap();
    let text = String::from_utf8_lossy(&summary.bytes);
    assert!(text.contains(",JPY,matched,2,,,"), "{text}");
}

#[test]
fn the_decimal_comma_brings_its_semicolon() {
    let desk = full();
    let german = reconciled::config::Job {
        locale: GERMAN,
        ..job()
    };
    for file in csvs(&desk.produce(&german)) {
        assert_expected("full-de", &file.name, &file.bytes);
    }
}

#[test]
fn a_quiet_night_still_has_every_file_with_its_header() {
    let desk = quiet();
    for file in csvs(&desk.produce(&job())) {
        assert_expected("quiet", &file.name, &file.bytes);
    }
}

#[test]
fn the_discrepancies_have_the_published_columns_in_the_published_order() {
    let desk = full();
    let bytes = &desk.produce(&job())[0].bytes;
    let header = std::str::from_utf8(bytes).unwrap().lines().next().unwrap();
    assert_eq!(
        header.trim_start_matches('\u{feff}'),
        "discrepancy_id,status,kind,priority,job,provider,account,business_day,direction,currency,ledger_amount,\
         provider_amount,difference,reference,provider_id,ledger_id,provider_status,ledger_status,occurred_at,booked_at,\
         first_seen,age_days,age_bucket,what_differs,likely_cause,suggested_action,suggested_match,evidence,owner,\
         decision,note"
    );
}

#[test]
fn rows_are_sorted_by_priority_then_difference_then_age_and_acknowledged_ones_come_last() {
    let desk = full();
    let rows = strict_csv(&desk.produce(&job())[0].bytes, ',');
    let order: Vec<(&str, &str, &str)> = rows
        .iter()
        .map(|row| {
            (
                &row["discrepancy_id"][15..],
                row["status"].as_str(),
                row["priority"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        order,
        [
            ("1", "new", "1"),
            // 250.00 USD; a person's reopening is no reopening of the run.
            ("4", "persisting", "1"),
            ("2", "new", "1"),
            ("7", "reopened", "1"),
            ("5", "resolved", "2"),
            ("3", "persisting", "3"),
            ("6", "acknowledged", "1"),
        ]
    );
}

#[test]
fn the_priority_follows_kind_and_amount_in_every_currency_and_at_the_ends_of_the_number_line() {
    let desk = Desk::new();
    let cases = [
        ("missing_in_ledger", "PEN", 100, 1),
        ("missing_in_ledger", "PEN", 99, 2),
        ("fee_mismatch", "PEN", 100_000, 2),
        ("fee_mismatch", "PEN", 99_999, 3),
        ("fee_mismatch", "JPY", 100_000, 2),
        ("fee_mismatch", "JPY", 99_999, 3),
        ("fee_mismatch", "KWD", -1_000_000, 2),
        ("vanished", "IDR", 1_000_000_000, 1),
        ("vanished", "IDR", 999_999, 3),
        ("vanished", "PEN", 0, 2),
        ("vanished", "PEN", i64::MAX, 1),
        ("vanished", "PEN", i64::MIN, 1),
    ];
    for (number, (kind, currency, difference, _)) in cases.iter().enumerate() {
        desk.sql(&format!(
            "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, currency, difference_minor, business_day,
               first_seen_day, last_seen_day, age_days, what_differs, detail)
             VALUES ('{number:016}', '{JOB}', '{number}', '{kind}', 'open', '{currency}', {difference}, '{DAY}', '{DAY}', '{DAY}', 0, '', '')"
        ));
    }
    let rows = strict_csv(&desk.produce(&job())[0].bytes, ',');
    for (number, (kind, currency, difference, priority)) in cases.iter().enumerate() {
        let row = rows
            .iter()
            .find(|row| row["discrepancy_id"] == format!("{number:016}"))
            .unwrap();
        assert_eq!(row["priority"], priority.to_string(), "{kind} {currency} {difference}");
    }
}

#[test]
fn the_sum_of_windows_counts_each_window_once_and_names_the_oldest_gap() {
    let desk = full();
    let rows = strict_csv(&desk.produce(&job())[3].bytes, ',');
    let windows: i64 = rows.iter().map(|row| row["windows"].parse::<i64>().unwrap()).sum();
    assert_eq!(windows, 5);
    for row in rows {
        let gap = if row["feed"] == "deposits" {
            "2026-03-04T05:00:00.000Z"
        } else {
            ""
        };
        assert_eq!(row["oldest_unsealed"], gap);
    }
}

#[test]
fn made_again_from_the_same_books_every_byte_is_the_same() {
    let desk = full();
    assert_eq!(desk.produce(&job()), desk.produce(&job()));
}

#[test]
fn a_folder_of_definitions_replaces_built_in_reports_and_adds_new_ones() {
    let desk = full();
    let folder = desk.path("reports");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("summary.sql"),
        "SELECT count(*) AS items FROM v_open_discrepancies WHERE job = :job",
    )
    .unwrap();
    std::fs::write(
        folder.join("by-day.sql"),
        "SELECT business_day, ledger_amount, reference FROM discrepancies WHERE job = :job AND kind = 'missing_in_provider'",
    )
    .unwrap();
    let mut own = job();
    own.report.reports = vec!["summary".to_owned(), "by-day".to_owned()];
    let produced = report::produce(&desk.store, &own, Some(&folder), RUN, as_of(), day()).unwrap();
    assert_eq!(produced[0].bytes, b"\xEF\xBB\xBFitems\r\n6\r\n");
    assert_eq!(produced[1].name, format!("{DAY}_{JOB}_by-day.csv"));
    assert_eq!(
        produced[1].bytes,
        b"\xEF\xBB\xBFbusiness_day,ledger_amount,reference\r\n2026-02-20,-250.00,'-ORD-4\r\n"
    );
}

#[test]
fn a_wrong_definition_is_named_with_its_report_before_anything_is_written() {
    let desk = full();
    let folder = desk.path("reports");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("own.sql"), "SELECT *\n  FROM transactionss").unwrap();
    let mut own = job();
    own.report.reports = vec!["own".to_owned(), "nothing".to_owned()];
    let failure = report::produce(&desk.store, &own, Some(&folder), RUN, as_of(), day()).unwrap_err();
    assert_eq!(failure.class, Class::Config);
    assert!(
        failure.message.contains("\"own\"") && failure.message.contains("transactionss"),
        "{}",
        failure.message
    );
    assert_eq!(report::problems(&own.report.reports, Some(&folder)).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_the_books_comes_back_whole_and_none_of_it_runs(
        texts in prop::collection::vec("(?s)[=+@\t\r\n＝-]{0,2}[^\0]{0,12}", 8..=8), german: bool,
    ) {
        let desk = Desk::new();
        desk.store.write(|tx| {
            tx.execute(
                "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, currency, difference_minor, business_day,
                   first_seen_day, last_seen_day, age_days, what_differs, detail, reference, provider_id, ledger_id, account,
                   provider_status, ledger_status, evidence)
                 VALUES ('x', ?1, 'x', 'vanished', 'open', 'PEN', -1234, ?2, ?2, ?2, 0, ?3, '', ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                rusqlite::params![JOB, DAY, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], texts[7]],
            )?;
            Ok(())
        }).unwrap();
        let locale = if german { GERMAN } else { job().locale };
        let bytes = &desk.produce(&reconciled::config::Job { locale, ..job() })[0].bytes;
        let rows = strict_csv(bytes, locale.separator);
        prop_assert_eq!(rows.len(), 1);
        prop_assert_eq!(rows[0]["difference"].as_str(), if german { "-12,34" } else { "-12.34" });
        let columns = [
            "what_differs", "reference", "provider_id", "ledger_id", "account", "provider_status", "ledger_status", "evidence",
        ];
        for (column, text) in columns.into_iter().zip(&texts) {
            let read = &rows[0][column];
            prop_assert!(!read.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\0', '＝', '＋', '－', '＠']));
            prop_assert!(read == text || read.strip_prefix('\'') == Some(text), "{read:?} was {text:?}");
        }
    }
}

#[test]
fn files_lie_in_their_folders_with_closed_modes_and_no_leftovers() {
    let desk = full();
    let out = desk.path("out");
    let produced = desk.produce(&job());
    for _ in 0..2 {
        let paths = report::write_files(&out, day(), JOB, &produced).unwrap();
        assert_eq!(
            paths[0],
            out.join(DAY).join(JOB).join(format!("{DAY}_{JOB}_discrepancies.csv"))
        );
        for (path, file) in paths.iter().zip(&produced) {
            assert_eq!(std::fs::read(path).unwrap(), file.bytes);
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640);
        }
        for folder in [out.join(DAY), out.join(DAY).join(JOB)] {
            assert_eq!(
                std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777 & !0o750,
                0,
                "{folder:?}"
            );
        }
        assert_eq!(std::fs::read_dir(out.join(DAY).join(JOB)).unwrap().count(), 5);
    }
}

#[test]
fn a_temporary_file_that_a_kill_left_behind_is_replaced() {
    let desk = full();
    let out = desk.path("out");
    let produced = desk.produce(&job());
    let folder = out.join(DAY).join(JOB);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!(".{}.part", produced[0].name)), "half").unwrap();
    report::write_files(&out, day(), JOB, &produced).unwrap();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 5);
}

#[test]
fn a_planted_link_is_refused_and_what_it_points_at_stays_as_it_is() {
    let produced = full().produce(&job());
    let name = produced[0].name.clone();
    for planted in [vec![DAY], vec![DAY, JOB], vec![DAY, JOB, name.as_str()]] {
        let desk = Desk::new();
        let (out, elsewhere) = (desk.path("out"), desk.path("elsewhere"));
        let link = planted.iter().fold(out.clone(), |path, part| path.join(part));
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        if planted.len() == 3 {
            std::fs::write(&elsewhere, "precious").unwrap();
        } else {
            std::fs::create_dir(&elsewhere).unwrap();
        }
        symlink(&elsewhere, &link).unwrap();
        let failure = report::write_files(&out, day(), JOB, &produced).unwrap_err();
        assert_eq!(failure.class, Class::LocalIo);
        assert!(failure.message.contains("symbolic link"), "{}", failure.message);
        if planted.len() == 3 {
            assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "precious");
        } else {
            assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_past_day_is_written_again_from_frozen_bytes_whatever_happened_since() {
    let desk = full();
    let job = job();
    let settings = night::settings(desk.dir.path(), None);
    let files = desk.produce(&job);
    let letter = reconciled::mail::Letter {
        settings: &settings,
        job: &job,
        run_id: RUN,
        as_of: as_of(),
        business_day: day(),
        files: &files,
        recipients: &[],
        message: None,
        warnings: &[],
    };
    reconciled::mail::queue(&desk.store, &letter, as_of()).unwrap();
    desk.sql("UPDATE discrepancies SET state = 'resolved', resolved_day = '2026-03-05' WHERE state = 'open'");
    let mut again = report::again(&desk.store, JOB, day()).unwrap();
    let mut files = files;
    again.sort_by(|a, b| a.name.cmp(&b.name));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(again, files);
    assert_eq!(
        report::again(&desk.store, JOB, "2026-03-01".parse().unwrap()).unwrap(),
        []
    );
}
