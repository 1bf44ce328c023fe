//! The pages people open: one per business day, and the calendar of all nights. They load nothing, run nothing but their
//! own script, and are the same bytes however often they are written.

use base64::Engine as _;
use reconciled::config::Job;
use reconciled::report;
use sha2::{Digest, Sha256};

#[path = "support/markup.rs"]
mod markup;
#[path = "support/night.rs"]
mod night;
use night::{DAY, Desk, JOB, RUN, as_of, day, full, job, quiet};

fn freeze(desk: &Desk, job: &Job) {
    let settings = night::settings(desk.dir.path(), None);
    let files = desk.produce(job);
    let letter = reconciled::mail::Letter {
        settings: &settings,
        job,
        run_id: RUN,
        as_of: as_of(),
        business_day: day(),
        files: &files,
        recipients: &[],
        message: None,
        warnings: &[],
    };
    reconciled::mail::queue(&desk.store, &letter, as_of()).unwrap();
}

/// The page of the night's day.
fn page(desk: &Desk) -> String {
    freeze(desk, &job());
    let path = report::write_index(&desk.store, &desk.path("out"), day()).unwrap();
    assert_eq!(path, desk.path("out").join(DAY).join("index.html"));
    std::fs::read_to_string(path).unwrap()
}

/// The calendar, every day of a run having its page.
fn nights(desk: &Desk) -> String {
    for day in days(desk) {
        let page = desk.path("out").join(day).join("index.html");
        std::fs::create_dir_all(page.parent().unwrap()).unwrap();
        if !page.exists() {
            std::fs::write(page, "").unwrap();
        }
    }
    calendar(desk)
}

fn days(desk: &Desk) -> Vec<String> {
    desk.store
        .read(|conn| {
            let mut statement = conn.prepare("SELECT DISTINCT business_day FROM runs")?;
            let days = statement.query_map([], |row| row.get(0))?;
            Ok(days.collect::<Result<_, _>>()?)
        })
        .unwrap()
}

fn calendar(desk: &Desk) -> String {
    let path = report::write_nights(&desk.store, &desk.path("out")).unwrap();
    assert_eq!(path, desk.path("out").join("index.html"));
    std::fs::read_to_string(path).unwrap()
}

fn a_run(desk: &Desk, run_id: i64, job: &str, day: &str, verdict: &str, counts: [i64; 3]) {
    let [new, open, resolved] = counts;
    desk.sql(&format!(
        "INSERT INTO runs (run_id, job, as_of, business_day, started_at, finished_at, verdict, exit_code, opened, open, resolved)
         VALUES ({run_id}, '{job}', 'x', '{day}', 'x', 'x', '{verdict}', 0, {new}, {open}, {resolved})"
    ));
}

/// Nothing that loads, sends or runs, but for the one script that the policy names by its digest.
fn assert_closed(html: &str) {
    let tags = markup::tags(html);
    for (name, attributes) in &tags {
        assert!(
            !matches!(
                name.as_str(),
                "iframe" | "object" | "embed" | "img" | "link" | "form" | "base" | "a1"
            ),
            "{name}"
        );
        for (key, value) in attributes {
            let leads_out = value.contains("//") || value.starts_with('/') || value.contains("javascript:");
            assert!(
                !matches!(key.as_str(), "href" | "src" | "action") || !leads_out,
                "{key}={value}"
            );
            assert_ne!(key, "style", "the policy would refuse it");
        }
    }
    let read = |value: String| value.replace("&#x27;", "'").replace("&#x2f;", "/");
    let mut contents = markup::values(html, "content").into_iter().map(read);
    let policy = contents.find(|value| value.starts_with("default-src 'none'"));
    let policy = policy.expect("the page has a policy");
    for name in ["script", "style"] {
        let count = tags.iter().filter(|(tag, _)| tag == name).count();
        for inline in html.split(&format!("<{name}>")).skip(1) {
            let inline = &inline[..inline.find(&format!("</{name}>")).unwrap()];
            let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(inline));
            assert!(
                policy.contains(&format!("{name}-src 'sha256-{digest}'")),
                "{name} is not the one of the policy"
            );
            assert!(!inline.contains("url(") && !inline.contains("@import") && !inline.contains("fetch("));
        }
        assert!(count <= 1, "{count} of {name}");
    }
    assert!(policy.contains("base-uri 'none'") && policy.contains("form-action 'none'") && !policy.contains("unsafe"));
}

#[test]
fn the_page_of_a_day_shows_every_job_whole_and_loads_nothing() {
    let desk = full();
    let html = page(&desk);
    assert_closed(&html);
    for part in [
        "Reconciliation of Wednesday, 2026-03-04",
        "id=\"tupay-pe\"",
        "123456.78",
        "<b>→ Book 123456.78 PEN under ORD-1, and check whether the order was delivered</b>",
        "4 open before + 2 new + 1 back again − 1 resolved = 6 open, 1 of them acknowledged",
        "Statement 456 PEN, 2026-03-03: <span class=\"bad\">does not close</span>",
        "title=\"2026-03-04: not read to its end\"",
        "title=\"2026-03-03: read to its end\"",
        "title=\"2026-03-02: not asked for\"",
        "Oldest reading that is not finished: deposits of 2026-03-04.",
        "aria-label=\"Open items night by night, 2026-03-02 to 2026-03-04: 3 (1 new), 4 (1 new), 6 (3 new).\"",
        "href=\"tupay-pe/2026-03-04_tupay-pe_summary.csv\"",
        "data-status=\"resolved\"",
        "<em class=\"words\">Note: known, ticket 4711</em>",
    ] {
        assert!(html.contains(part), "{part} is missing in\n{html}");
    }
    // What is new on top, the oldest next, what is gone last.
    let at = |key: &str| html.find(&format!("words\">{key}")).unwrap_or_else(|| panic!("{key}"));
    let order = [at("ORD-1"), at("ORD-7"), at("ORD-3"), at("-ORD-4"), at("ORD-5")];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn later_nights_change_the_books_and_not_what_was_said_about_this_day() {
    let desk = full();
    let html = page(&desk);
    desk.sql(
        "UPDATE discrepancies SET state = 'resolved', resolved_day = '2026-03-05' WHERE state = 'open';
         UPDATE windows SET state = 'sealed', reason = NULL;
         DELETE FROM statement_lines;",
    );
    let path = report::write_index(&desk.store, &desk.path("out"), day()).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), html);
    assert_eq!(page(&full()), page(&full()));
}

#[test]
fn a_quiet_night_has_its_page_too() {
    let html = page(&quiet());
    assert_closed(&html);
    assert!(html.contains("No discrepancy is open, and none was resolved on this night."));
    assert!(html.contains("Both sides agree") || html.contains("both sides agree"));
    let none = Desk::new();
    let path = report::write_index(&none.store, &none.path("out"), day()).unwrap();
    let html = std::fs::read_to_string(path).unwrap();
    assert_closed(&html);
    assert!(html.contains("No job has been reported for this day."));
}

#[test]
fn hostile_text_becomes_no_markup_on_any_page() {
    let desk = full();
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}</style></title>' onclick='x";
    desk.store
        .write(|tx| {
            tx.execute(
                "UPDATE discrepancies SET reference = ?1, account = ?1, what_differs = ?1, evidence = ?1",
                [hostile],
            )?;
            tx.execute("UPDATE windows SET reason = ?1, feed = ?1 || window_id", [hostile])?;
            tx.execute("UPDATE statement_lines SET account = ?1, source = ?1", [hostile])?;
            tx.execute("UPDATE runs SET message = ?1", [hostile])?;
            Ok(())
        })
        .unwrap();
    let html = page(&desk);
    assert_closed(&html);
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;") && !html.contains("}}49"),
        "{html}"
    );
    desk.store
        .write(|tx| Ok(tx.execute("UPDATE runs SET job = ?1, verdict = 'failed'", [hostile])?))
        .unwrap();
    let html = nights(&desk);
    for name in markup::tags(&html).into_iter().map(|(name, _)| name) {
        assert!(name != "img", "{html}");
    }
    assert_eq!(html.matches("<script").count(), 0);
    let path = report::write_index(&desk.store, &desk.path("out"), day()).unwrap();
    assert_closed(&std::fs::read_to_string(path).unwrap());
}

#[test]
fn a_job_that_failed_before_its_report_stands_on_the_page_with_the_reason() {
    let desk = full();
    desk.sql(
        "INSERT INTO runs (run_id, job, as_of, business_day, started_at, finished_at, verdict, exit_code, message) VALUES
           (8, 'payvyne-uk', 'x', '2026-03-04', 'x', 'x', 'failed', 77, 'login <refused>'),
           (9, 'one2pays', 'x', '2026-03-04', 'x', 'x', 'failed', 77, 'first'),
           (10, 'one2pays', 'x', '2026-03-04', 'x', 'x', 'reconciled', 0, NULL)",
    );
    let path = report::write_index(&desk.store, &desk.path("out"), day()).unwrap();
    let html = std::fs::read_to_string(&path).unwrap();
    assert_closed(&html);
    assert!(
        html.contains("payvyne-uk: the last run for this day FAILED.</b></p><p>login &lt;refused&gt;.</p>"),
        "{html}"
    );
    assert!(!html.contains("one2pays"));
}

#[test]
fn a_night_whose_page_was_pruned_stays_in_the_calendar_and_leads_nowhere() {
    let desk = full();
    let day = days(&desk).into_iter().min().unwrap();
    assert!(nights(&desk).contains(&format!("href=\"{day}/index.html\"")));
    std::fs::remove_dir_all(desk.path("out").join(&day)).unwrap();
    let html = calendar(&desk);
    assert!(
        html.contains(&format!(" title=\"{day}: ")) && !html.contains(&format!("href=\"{day}/")),
        "{html}"
    );
}

#[test]
fn the_calendar_of_nights_shows_the_worst_verdict_of_each_day_and_leads_to_its_page() {
    let desk = Desk::new();
    a_run(&desk, 1, "tupay-pe", "2025-12-30", "reconciled", [0, 0, 0]);
    a_run(&desk, 2, "payvyne-uk", "2025-12-30", "discrepancies", [3, 12, 1]);
    a_run(&desk, 3, "tupay-pe", "2025-12-31", "incomplete", [1, 1, 0]);
    a_run(&desk, 4, "tupay-pe", "2026-01-02", "discrepancies", [5, 6, 0]);
    // Told again: the last run of the day counts.
    a_run(&desk, 5, "tupay-pe", "2026-01-02", "reconciled_with_pending", [0, 0, 6]);
    // Still running, or killed: it says nothing yet.
    desk.sql(
        "INSERT INTO runs (run_id, job, as_of, business_day, started_at) VALUES (6, 'tupay-pe', 'x', '2026-01-03', 'x')",
    );
    let html = nights(&desk);
    assert_closed(&html);
    for part in [
        "<h3>December 2025</h3>",
        "<h3>January 2026</h3>",
        "class=\"c-open\" href=\"2025-12-30/index.html\" title=\"2025-12-30: 3 new, 12 open\"",
        "class=\"c-bad\" href=\"2025-12-31/index.html\" title=\"2025-12-31: tupay-pe INCOMPLETE; 1 new, 1 open\"",
        "class=\"c-none\" title=\"2026-01-01: no run is recorded\"",
        "class=\"c-good\" href=\"2026-01-02/index.html\" title=\"2026-01-02: 0 new, 0 open\"",
        "3 business days: 1 reconciled, 1 with discrepancies or warnings, 1 not whole",
        "reconciled with pending items",
    ] {
        assert!(html.contains(part), "{part} is missing in\n{html}");
    }
    assert!(html.find("January 2026").unwrap() < html.find("December 2025").unwrap());
    assert!(!html.contains("2026-01-03/index.html"));
    assert_eq!(nights(&desk), html, "written again it is the same");
}

#[test]
fn months_long_past_are_folded_by_year_and_none_is_lost() {
    let desk = Desk::new();
    for (run, day) in (1..).zip(["2024-02-29", "2025-06-01", "2025-11-30", "2026-01-31"]) {
        a_run(&desk, run, JOB, day, "reconciled", [0, 0, 0]);
    }
    let html = nights(&desk);
    assert_closed(&html);
    for day in ["2024-02-29", "2025-06-01", "2025-11-30", "2026-01-31"] {
        assert_eq!(html.matches(&format!("href=\"{day}/index.html\"")).count(), 1, "{day}");
    }
    assert!(html.find("<details>").unwrap() > html.find("November 2025").unwrap());
    assert!(html.find("<h2>2025</h2>").unwrap() < html.find("<h2>2024</h2>").unwrap());
}

#[test]
fn before_the_first_night_the_calendar_says_so() {
    let html = nights(&Desk::new());
    assert_closed(&html);
    assert!(html.contains("No night has been run yet."));
}
