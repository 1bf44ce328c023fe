//! Locales per recipient: which files there are, what they say, and who gets which.

use reconciled::config::Job;
use reconciled::report;

use super::night::{DAY, GERMAN, JOB, as_of, day, full, job, mail, settings, strict_csv};

const POINT: &str = "ana@example.com";
const COMMA: &str = "bernd@example.com";

fn two_readers() -> Job {
    Job {
        recipients: vec![POINT.to_owned(), COMMA.to_owned()],
        recipient_locales: [(COMMA.to_owned(), GERMAN)].into(),
        ..job()
    }
}

#[test]
fn a_recipients_own_locale_adds_its_csvs_and_one_workbook_serves_all() {
    let desk = full();
    let produced = desk.produce(&two_readers());
    let names: Vec<&str> = produced.iter().map(|file| file.name.as_str()).collect();
    let reports = ["discrepancies", "summary", "statement", "coverage"];
    let mut wanted: Vec<String> = reports.map(|report| format!("{DAY}_{JOB}_{report}.csv")).to_vec();
    wanted.push(format!("{DAY}_{JOB}.xlsx"));
    wanted.extend(reports.map(|report| format!("{DAY}_{JOB}_{report}.de.csv")));
    assert_eq!(names, wanted);
    // The German file is the one that a German job writes, and the job's own is as without such a recipient.
    let german = desk.produce(&Job {
        locale: GERMAN,
        ..job()
    });
    assert_eq!(produced[5].bytes, german[0].bytes);
    assert_eq!(produced[..5], desk.produce(&job())[..5]);
    let point = strict_csv(&produced[0].bytes, ',');
    let comma = strict_csv(&produced[5].bytes, ';');
    for (a, b) in point.iter().zip(&comma) {
        assert_eq!(a["difference"].replace('.', ","), b["difference"]);
        assert_eq!(a["reference"], b["reference"]);
    }
}

#[test]
fn each_recipient_is_handed_the_files_of_their_locale() {
    let job = two_readers();
    let produced = full().produce(&job);
    let of = |recipient: &str| -> Vec<String> {
        let files = report::in_locale(&produced, &job, report::locale_of(&job, recipient));
        files.into_iter().map(|file| file.name).collect()
    };
    assert!(of(POINT).iter().all(|name| !name.contains(".de.")));
    assert_eq!(of(POINT).len(), 5);
    assert_eq!(of(COMMA)[0], format!("{DAY}_{JOB}.xlsx"));
    assert!(of(COMMA)[1..].iter().all(|name| name.ends_with(".de.csv")));
    assert_eq!(of(COMMA).len(), 5);
    // A locale that writes the same way needs no files of its own.
    let peru = reconciled::config::Locale {
        name: "es-PE",
        ..job.locale
    };
    let same = Job {
        recipient_locales: [(COMMA.to_owned(), peru)].into(),
        ..job.clone()
    };
    assert_eq!(full().produce(&same).len(), 5);
    assert_eq!(report::in_locale(&produced[..5], &same, peru).len(), 5);
}

#[test]
fn the_mail_carries_the_recipients_files_and_figures_and_all_of_them_are_frozen() {
    let desk = full();
    let job = two_readers();
    let folder = reconciled::config::Transport::Folder(desk.path("mail"));
    let settings = settings(desk.dir.path(), Some(mail(folder)));
    let files = desk.produce(&job);
    let letter = reconciled::mail::Letter {
        settings: &settings,
        job: &job,
        run_id: super::night::RUN,
        as_of: as_of(),
        business_day: day(),
        files: &files,
        recipients: &job.recipients,
        message: None,
        warnings: &[],
    };
    assert_eq!(reconciled::mail::queue(&desk.store, &letter, as_of()).unwrap().len(), 2);
    let frozen = report::again(&desk.store, JOB, day()).unwrap();
    assert_eq!(frozen.len(), files.len());
    for (recipient, mine, others, amount) in [
        (POINT, "_discrepancies.csv", ".de.csv", "123456.78"),
        (COMMA, "_discrepancies.de.csv", "_discrepancies.csv", "123456,78"),
    ] {
        let raw: Vec<u8> = desk
            .store
            .read(|conn| {
                Ok(
                    conn.query_row("SELECT message FROM mails WHERE recipient = ?1", [recipient], |row| {
                        row.get(0)
                    })?,
                )
            })
            .unwrap();
        let raw = zstd::decode_all(raw.as_slice()).unwrap();
        let message = mail_parser::MessageParser::default().parse(&raw).unwrap();
        use mail_parser::MimeHeaders;
        let names: Vec<&str> = message
            .attachments()
            .filter_map(|part| part.attachment_name())
            .collect();
        assert_eq!(names.len(), 5, "{names:?}");
        assert!(names.iter().any(|name| name.ends_with(mine)), "{names:?}");
        assert!(!names.iter().any(|name| name.ends_with(others)), "{names:?}");
        assert!(names.iter().any(|name| name.ends_with(".xlsx")));
        assert!(message.body_text(0).unwrap().contains(amount));
    }
}
