//! What a mail says: verdict, new, older and resolved items, sums, the picture.

use super::*;

#[tokio::test]
async fn the_mail_says_the_verdict_first_and_is_complete_in_plain_text() {
    let (_office, mails) = folder(full()).await;
    let mail = parse(&mails[0]);
    assert_eq!(
        mail.subject().unwrap(),
        "[reconciled] 3 new, 6 open – tupay-pe 2026-03-04"
    );
    let text = mail.body_text(0).unwrap();
    for part in [
        "3 new, 6 open",
        "Missing in the books: ORD-1",
        "difference 123456.78 PEN",
        "4 open before + 2 new + 1 back again - 1 resolved = 6 open (1 of them acknowledged)",
        "PEN: 4205 matched, sum 998877.66",
        "JPY: 2 matched, sum 1500",
        "PEN: 3 new (123446.78), 5 open (123505.40), 1 resolved (0.00)",
        "USD: 0 new, 1 open (250.00), 0 resolved",
        "amount: 100.00 -> 90.00",
        "-> Book 123456.78 PEN under ORD-1",
        "    Note: known, ticket 4711",
        "RESOLVED SINCE THE LAST NIGHT (1)",
        "2026-03-05: 2 x \"missing in the books\", PEN 30.00",
        "Oldest reading that is not finished: deposits of 2026-03-04",
        "oldest gap 2026-03-04 00:00 (it moved three times)",
        "not explained 58.62",
        "2026-03-03  4 open, 1 new",
        "Last night that was read to its end and compared: 2026-03-04",
        "/srv/reconciled/out/2026-03-04/tupay-pe",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let first_new = text.find("ORD-1").unwrap();
    assert!(first_new < text.find("DIFFERENCES PER CURRENCY").unwrap() && first_new < text.find("STILL OPEN").unwrap());
}

#[tokio::test]
async fn an_item_without_a_key_is_named_by_the_place_where_it_was_seen() {
    let desk = full();
    desk.sql(
        "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, business_day, first_seen_day, last_seen_day,
                                    age_days, what_differs, detail, evidence)
         VALUES ('00000000000000ff', 'tupay-pe', 'gap', 'incomplete_window', 'open', '2026-03-03', '2026-03-03',
                 '2026-03-04', 1, '', 'a gap', 'cashouts 2026-03-03')",
    );
    let (_office, mails) = folder(desk).await;
    let mail = parse(&mails[0]);
    assert!(
        mail.body_text(0)
            .unwrap()
            .contains("Gap in the reading: cashouts 2026-03-03")
    );
    assert!(!mail.body_html(0).unwrap().contains("<td><br>"));
}

#[tokio::test]
async fn the_html_alternative_escapes_foreign_text_and_loads_nothing() {
    let desk = full();
    desk.sql("UPDATE discrepancies SET reference = '<img src=http://evil.example/x>' WHERE discrepancy_id = 'd000000000000001'");
    let (_office, mails) = folder(desk).await;
    let mail = parse(&mails[0]);
    let html = mail.body_html(0).unwrap();
    assert!(html.contains("&lt;img src=http:"), "{html}");
    for word in ["<script", "<link", "url(", "http://", "https://", "@import", "<form"] {
        assert!(!html.contains(word), "{word}");
    }
    // The only picture is the one that the mail brings along.
    assert_eq!(html.matches("<img").count(), 1);
    assert_eq!(html.matches("src=\"").count(), html.matches("src=\"cid:").count());
}

#[tokio::test]
async fn subjects_name_every_verdict_and_a_quiet_night_is_told_too() {
    for (verdict, subject) in [
        ("reconciled", "[reconciled] reconciled – tupay-pe 2026-03-04"),
        (
            "reconciled_with_pending",
            "[reconciled] reconciled, 0 pending – tupay-pe 2026-03-04",
        ),
        (
            "reconciled_with_warnings",
            "[reconciled] reconciled with warnings – tupay-pe 2026-03-04",
        ),
        ("incomplete", "[reconciled] INCOMPLETE – tupay-pe 2026-03-04"),
        ("not_reconciled", "[reconciled] NOT RECONCILED – tupay-pe 2026-03-04"),
        ("failed", "[reconciled] FAILED – tupay-pe 2026-03-04"),
    ] {
        let desk = quiet();
        desk.sql(&format!("UPDATE runs SET verdict = '{verdict}' WHERE run_id = {RUN}"));
        let (_office, mails) = folder(desk).await;
        let mail = parse(&mails[0]);
        assert_eq!(mail.subject().unwrap(), subject);
        let text = mail.body_text(0).unwrap();
        assert!(
            text.contains("0 open before + 0 new") && text.contains("1 of 1 windows read to their end, 4213 rows"),
            "{text}"
        );
        let last_good = if verdict.starts_with("reconciled") {
            "2026-03-04"
        } else {
            "2026-03-03"
        };
        assert!(text.contains(&format!("compared: {last_good}")), "{verdict}");
    }
}

#[tokio::test]
async fn a_run_without_a_verdict_is_told_as_failed() {
    let desk = quiet();
    desk.sql(&format!("UPDATE runs SET verdict = NULL WHERE run_id = {RUN}"));
    let (_office, mails) = folder(desk).await;
    assert_eq!(
        parse(&mails[0]).subject().unwrap(),
        "[reconciled] FAILED – tupay-pe 2026-03-04"
    );
}

#[tokio::test]
async fn a_flood_is_withheld_with_its_reason_on_top_while_the_csv_has_it_all() {
    let desk = full();
    let path = desk.path("mail");
    let mut office = Office::new(desk, Transport::Folder(path));
    office.job.report.flood_limit = 2;
    office.queue();
    office.deliver().await;
    let mails = read_folder(&office);
    let mail = parse(&mails[0]);
    for body in [mail.body_text(0).unwrap(), mail.body_html(0).unwrap()] {
        assert!(
            body.contains("3 new discrepancies are more than the limit of 2"),
            "{body}"
        );
        assert!(
            body.contains("Usual: at most 1 new in one night over the last 2 nights."),
            "{body}"
        );
        assert!(!body.contains("ORD-1") && !body.contains("HYPERLINK"), "{body}");
    }
    let csv = named(&mail)[0].contents();
    assert!(String::from_utf8_lossy(csv).contains("ORD-1"));
}
