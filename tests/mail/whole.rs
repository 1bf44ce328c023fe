//! What must hold of every mail: well-formed, small enough, the same in text and HTML, and honest about what is missing.

use super::*;

async fn told(desk: Desk, change: impl FnOnce(&mut Office)) -> Vec<u8> {
    let path = desk.path("mail");
    let mut office = Office::new(desk, Transport::Folder(path));
    change(&mut office);
    office.queue();
    office.deliver().await;
    read_folder(&office).remove(0)
}

fn both(bytes: &[u8]) -> [String; 2] {
    let mail = parse(bytes);
    [
        mail.body_text(0).unwrap().into_owned(),
        mail.body_html(0).unwrap().into_owned(),
    ]
}

/// New discrepancies beside those of the night, told by one SELECT of a number.
fn flood(desk: &Desk, count: usize, columns: &str) {
    desk.sql(&format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
         INSERT INTO discrepancies (discrepancy_id, job, identity, state, direction, currency, reference, first_seen_day,
           last_seen_day, age_days, what_differs, detail, evidence, kind, business_day, account, ledger_amount_minor,
           provider_amount_minor, difference_minor)
         SELECT printf('%016d', n), '{JOB}', 'flood' || n, 'open', 'in', 'PEN', 'F-' || n, '{DAY}', '{DAY}', 0, '', '',
                'deposits 2026-03-03, page 1, row ' || n, {columns} FROM n"
    ));
}

#[tokio::test]
async fn every_mail_is_well_formed_in_narrow_tables_and_without_anything_that_runs() {
    for desk in [full(), quiet()] {
        let [_, html] = both(&told(desk, |_| {}).await);
        let tags = markup::tags(&html);
        for (name, attributes) in &tags {
            assert!(
                !matches!(name.as_str(), "script" | "form" | "iframe" | "link" | "object"),
                "{name}"
            );
            for (key, value) in attributes {
                if key == "width" && !value.ends_with('%') {
                    assert!(value.parse::<u32>().unwrap() <= 640, "{name} is {value} wide");
                }
                if name == "img" && key == "alt" {
                    assert!(value.starts_with("Open items night by night, "), "{value}");
                }
            }
        }
        assert_eq!(tags.iter().filter(|(name, _)| name == "img").count(), 1);
        assert_eq!(markup::values(&html, "alt").len(), 1);
    }
}

#[tokio::test]
async fn the_picture_travels_inside_the_mail_and_says_the_same_in_words() {
    let bytes = told(full(), |_| {}).await;
    let mail = parse(&bytes);
    let html = mail.body_html(0).unwrap();
    let picture = mail.parts.iter().find(|part| part.content_id().is_some()).unwrap();
    assert!(html.contains(&format!("src=\"cid:{}\"", picture.content_id().unwrap())));
    assert!(picture.contents().starts_with(b"\x89PNG\r\n"));
    assert!(picture.contents().len() < 4000 && picture.attachment_name().is_none());
    assert!(
        html.contains("alt=\"Open items night by night, 2026-03-02 to 2026-03-04: 3 (1 new), 4 (1 new), 6 (3 new).\"")
    );
    assert!(mail.body_text(0).unwrap().contains("2026-03-02  3 open, 1 new"));
}

#[tokio::test]
async fn what_the_html_says_of_an_item_the_text_says_too() {
    let [text, html] = both(&told(full(), |_| {}).await);
    for part in [
        "123456.78",
        "ORD-3",
        "-ORD-4",
        "fee: 1.00 -> 1.50",
        "Book 123456.78 PEN under ORD-1",
        "8-30 days (2)",
        "ORD-5",
        "2026-03-04_tupay-pe_discrepancies.csv",
        "/srv/reconciled/out/2026-03-04/tupay-pe",
        "Last night that was read to its end and compared: 2026-03-04",
        "2026-03-05 02:30 America/Lima",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
        let escaped = part.replace("->", "-&gt;").replace('/', "&#x2f;");
        assert!(
            html.contains(&escaped) || html.contains(&part.replace("->", "-&gt;")),
            "{part:?} is missing in\n{html}"
        );
    }
}

#[tokio::test]
async fn what_is_new_stands_above_the_older_ones_and_those_stand_oldest_first() {
    for body in both(&told(full(), |_| {}).await) {
        let at = |part: &str| {
            body.find(part)
                .unwrap_or_else(|| panic!("{part} is missing in\n{body}"))
        };
        let order = [at("ORD-1"), at("ORD-7"), at("ORD-3"), at("ORD-4"), at("ORD-5")];
        assert!(order.is_sorted(), "{order:?} in\n{body}");
    }
}

#[tokio::test]
async fn the_sums_per_currency_are_those_of_the_books() {
    let desk = full();
    let sums = desk.rows(
        "SELECT currency, count(*), printf('%d.%02d', sum(difference_minor) / 100, sum(difference_minor) % 100)
           FROM discrepancies WHERE job = 'tupay-pe' AND state <> 'resolved' GROUP BY currency",
    );
    let [text, _] = both(&told(desk, |_| {}).await);
    assert_eq!(sums.len(), 2);
    for sum in sums {
        let parts: Vec<&str> = sum.split('|').collect();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("  {}: ", parts[0])))
            .unwrap();
        assert!(
            line.contains(&format!("{} open ({})", parts[1], parts[2])),
            "{line} against {sum}"
        );
    }
}

#[tokio::test]
async fn a_night_that_is_not_whole_says_what_is_missing_and_whether_the_next_run_mends_it() {
    for (verdict, code, said) in [
        (
            "incomplete",
            69,
            "The next run tries again by itself; nobody has to do anything unless this stays.",
        ),
        ("incomplete", 0, "The next run reads it again by itself."),
        (
            "failed",
            77,
            "The next run does NOT mend it: somebody must mend the login",
        ),
        (
            "failed",
            78,
            "The next run does NOT mend it: somebody must correct the settings first.",
        ),
        ("failed", 74, "only if the machine is in order by then"),
        ("not_reconciled", 65, "only if the data it reads is in order by then"),
        ("failed", 70, "please report it"),
        (
            "incomplete",
            76,
            "if the provider has changed its answers for good, it does NOT mend it.",
        ),
    ] {
        let desk = full();
        desk.sql(&format!(
            "UPDATE runs SET verdict = '{verdict}', exit_code = {code} WHERE run_id = {RUN}"
        ));
        for body in both(&told(desk, |_| {}).await) {
            assert!(body.contains(said), "{verdict} {code}: {body}");
            let gap = "deposits of 2026-03-04 kept changing while it was read: it moved three times.";
            assert_eq!(body.contains(gap), verdict == "incomplete", "{body}");
        }
    }
    // What was not counted is not called zero.
    let desk = full();
    desk.sql("UPDATE runs SET verdict = 'failed', exit_code = 77 WHERE run_id = 7; DELETE FROM run_counts");
    for body in both(&told(desk, |_| {}).await) {
        assert!(!body.contains("0 matched") && !body.contains("0 excluded"), "{body}");
    }
    // A night that is whole has no such box.
    for body in both(&told(quiet(), |_| {}).await) {
        assert!(
            !body.to_lowercase().contains("what is missing") && !body.contains("next run"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_reading_is_called_complete_only_where_the_verdict_says_so() {
    let sealed = "UPDATE windows SET state = 'sealed', reason = NULL";
    let key = "UPDATE windows SET state = 'open', subject = 'KEY-1' WHERE state = 'unstable'";
    for (verdict, change, said) in [
        (
            "discrepancies",
            sealed,
            "5 of 5 windows read to their end, 9225 rows: complete",
        ),
        ("incomplete", sealed, "rows: INCOMPLETE"),
        (
            "discrepancies",
            key,
            "rows: complete but for 1 asked about without a usable answer",
        ),
        ("not_reconciled", sealed, "rows: complete"),
        ("failed", sealed, "5 of 5 windows read to their end, 9225 rows\n"),
        ("failed", "DELETE FROM windows", "This job has read nothing itself."),
    ] {
        let desk = full();
        desk.sql(change);
        desk.sql(&format!("UPDATE runs SET verdict = '{verdict}' WHERE run_id = {RUN}"));
        let [text, _] = both(&told(desk, |_| {}).await);
        assert!(
            text.replace("\r\n", "\n").contains(said),
            "{verdict}: {said:?} is missing in\n{text}"
        );
    }
}

#[tokio::test]
async fn a_gap_that_no_reading_came_to_is_missing_too() {
    let desk = full();
    for (number, place) in ["cashouts 2026-03-04, all of it", "deposits 2026-03-04"]
        .iter()
        .enumerate()
    {
        desk.sql(&format!(
            "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, business_day, first_seen_day,
               last_seen_day, age_days, what_differs, detail, evidence)
             VALUES ('gap{number}', '{JOB}', 'gap{number}', 'incomplete_window', 'open', '{DAY}', '{DAY}', '{DAY}', 0, '', '', '{place}')"
        ));
    }
    desk.sql("UPDATE runs SET verdict = 'incomplete' WHERE run_id = 7");
    for body in both(&told(desk, |_| {}).await) {
        assert!(
            body.contains("cashouts 2026-03-04, all of it was not read to its end."),
            "{body}"
        );
        // The one that was begun is named with its reason, once.
        assert!(!body.contains("deposits 2026-03-04 was not read"), "{body}");
    }
}

#[tokio::test]
async fn a_flood_is_shown_with_what_its_items_have_in_common() {
    let hundred = "'amount_mismatch', '2026-03-03', '456', 1000 + n, (1000 + n) * 100, (1000 + n) * 99";
    let same = "'fee_mismatch', '2026-03-0' || (1 + n % 3), '456', 5000 + n, 5012 + n, 12";
    let lost = "'missing_in_ledger', '2026-03-03', '456', NULL, 777 + n, 777 + n";
    for (columns, said) in [
        (
            hundred,
            "300 of 303 stand at the provider with 100 times the booked amount.",
        ),
        (hundred, "Look first at the unit and the sign of the amounts"),
        (same, "300 of 303 differ by the same amount: 0.12 PEN."),
        (lost, "301 of 303 are of one kind: missing in the books."),
        (lost, "300 of 303 are about one day: 2026-03-03."),
        (
            lost,
            "300 of 303 come from one reading of the provider: deposits 2026-03-03.",
        ),
        (lost, "Look first whether the books&#x27; export is whole"),
    ] {
        let desk = full();
        flood(&desk, 300, columns);
        desk.sql("UPDATE run_counts SET new = 301, count = 301 WHERE run_id = 7 AND kind = 'missing_in_ledger'");
        let bytes = told(desk, |office| office.job.report.flood_limit = 200).await;
        for body in both(&bytes) {
            let plain = said.replace("&#x27;", "'");
            assert!(
                body.contains(said) || body.contains(&plain),
                "{said:?} is missing in\n{body}"
            );
            assert!(
                body.contains("1 of 5 readings was not finished") && !body.contains("F-17"),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn a_sum_beyond_64_bits_is_said_plainly_and_not_as_a_number() {
    let desk = full();
    desk.sql(
        "UPDATE run_counts SET difference_minor = NULL WHERE run_id = 7 AND kind = 'matched';
         UPDATE pending_items SET amount_minor = 9223372036854775807",
    );
    for body in both(&told(desk, |_| ()).await) {
        assert_eq!(body.matches("too large to add up").count(), 3, "{body}");
    }
}

#[tokio::test]
async fn the_flood_says_how_many_rows_the_books_brought() {
    let desk = full();
    desk.sql(
        "INSERT INTO ledger_imports (job, as_of, digest, entries, sources) VALUES
           ('tupay-pe', '2026-03-04T07:30:00.000Z', 'a', 4213, '[]'),
           ('tupay-pe', '2026-03-05T07:30:00.000Z', 'b', 12, '[]'),
           ('tupay-pe', '2026-03-06T07:30:00.000Z', 'c', 9999, '[]'),
           ('other-job', '2026-03-05T07:30:00.000Z', 'd', 77, '[]')",
    );
    let bytes = told(desk, |office| office.job.report.flood_limit = 1).await;
    for body in both(&bytes) {
        assert!(
            body.contains("The books brought 12 rows, the time before 4213."),
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_flood_of_a_first_night_says_that_nothing_is_usual_yet() {
    let desk = full();
    desk.sql("DELETE FROM run_counts WHERE run_id <> 7; DELETE FROM runs WHERE run_id <> 7 AND job = 'tupay-pe'");
    let bytes = told(desk, |office| office.job.report.flood_limit = 1).await;
    let [plain, html] = both(&bytes);
    let sentence = "What is usual is not known yet: this is the first night.";
    assert!(
        plain.lines().any(|line| line.trim() == sentence),
        "a line of its own in\n{plain}"
    );
    assert!(html.contains(sentence), "{html}");
}

#[tokio::test]
async fn however_long_the_list_the_html_stays_below_what_mail_programs_show() {
    let desk = full();
    flood(
        &desk,
        450,
        "'missing_in_ledger', '2026-03-03', '<&\"' || hex(zeroblob(150)), NULL, 777 + n, 777 + n",
    );
    desk.sql(
        "UPDATE discrepancies SET what_differs = replace(hex(zeroblob(120)), '0', '<') WHERE reference LIKE 'F-%'",
    );
    desk.sql("UPDATE run_counts SET new = 450, count = 450 WHERE run_id = 7 AND kind = 'missing_in_ledger'");
    let bytes = told(desk, |office| office.job.report.flood_limit = 1000).await;
    let [text, html] = both(&bytes);
    assert!(html.len() < 102_000, "{}", html.len());
    markup::tags(&html);
    assert!(html.contains("more in the CSV."));
    assert!(
        text.contains("F-200,") || text.contains("F-200\u{fffd}") || text.contains("F-200"),
        "the text is cut too"
    );
}

#[tokio::test]
async fn mails_of_two_nights_hang_on_the_same_root_and_are_not_the_same_mail() {
    let mut heads = Vec::new();
    let desk = full();
    let path = desk.path("mail");
    let office = Office::new(desk, Transport::Folder(path));
    office.queue();
    office.desk.run(8, "2026-03-05", "reconciled", 0, 0);
    let letter = Letter {
        settings: &office.settings,
        job: &office.job,
        run_id: 8,
        as_of: at("2026-03-06T07:30:00Z"),
        business_day: "2026-03-05".parse().unwrap(),
        files: &[],
        recipients: &office.job.recipients,
        message: None,
        warnings: &[],
    };
    queue(&office.desk.store, &letter, now()).unwrap();
    office.deliver().await;
    for bytes in read_folder(&office) {
        heads.push((header(&bytes, "References"), header(&bytes, "Message-ID")));
    }
    assert_eq!(heads.len(), 4);
    assert!(
        heads.iter().all(|(root, _)| *root == heads[0].0 && !root.contains(' ')),
        "{heads:?}"
    );
    let ids: std::collections::BTreeSet<&String> = heads.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn hostile_text_becomes_no_markup_anywhere_in_the_mail() {
    let desk = full();
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}&lt;b&gt;</style>\u{202e}";
    desk.store
        .write(|tx| {
            tx.execute(
                "UPDATE discrepancies SET reference = ?1, account = ?1, what_differs = ?1, evidence = ?1",
                [hostile],
            )?;
            tx.execute("UPDATE windows SET reason = ?1, feed = ?1 || window_id", [hostile])?;
            tx.execute("UPDATE statement_lines SET account = ?1", [hostile])?;
            Ok(())
        })
        .unwrap();
    let [text, html] = both(&told(desk, |_| {}).await);
    let names: std::collections::BTreeSet<String> = markup::tags(&html).into_iter().map(|(name, _)| name).collect();
    assert!(
        !names.contains("script") && html.matches("<img").count() == 1,
        "{names:?}"
    );
    assert!(!html.contains('\u{202e}') && !text.contains('\u{202e}'));
    assert!(
        text.contains("{{ 7*7 }}") && !text.contains("}}49"),
        "the template ran foreign text"
    );
}
