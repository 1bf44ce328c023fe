//! Mails as they leave: composed, frozen, delivered over a scripted server, and what each fault leaves behind (M01–M13).

use std::time::Duration;

use chrono::TimeDelta;
use mail_parser::{Message, MessageParser, MimeHeaders};
use reconciled::config::{Http, Job, Mail, Settings, SmtpTls, Transport};
use reconciled::day::Instant;
use reconciled::failure::{Class, Failure};
use reconciled::mail::{Delivery, Letter, check_online, deliver, queue};
use reconciled::report::Produced;

#[path = "support/night.rs"]
mod night;
#[path = "support/smtp.rs"]
mod smtp;
use night::{DAY, Desk, JOB, RUN, as_of, at, day, full, job, quiet, settings};
use smtp::{Act, Script, Sink, authority_and_server};

const ANA: &str = "ana@example.com";
const BEN: &str = "ben@example.com";

/// A desk with somebody to write to.
struct Office {
    desk: Desk,
    job: Job,
    settings: Settings,
    http: Http,
    files: Vec<Produced>,
}

impl Office {
    fn new(desk: Desk, transport: Transport) -> Self {
        let settings = settings(desk.dir.path(), Some(night::mail(transport)));
        let job = Job {
            recipients: vec![ANA.to_owned(), BEN.to_owned()],
            ..job()
        };
        let files = desk.produce(&job);
        Self {
            desk,
            job,
            settings,
            http: Http::default(),
            files,
        }
    }

    fn queue_as_of(&self, as_of: Instant) -> Result<Vec<String>, Failure> {
        let letter = Letter {
            settings: &self.settings,
            job: &self.job,
            run_id: RUN,
            as_of,
            business_day: day(),
            files: &self.files,
            recipients: &self.job.recipients,
            message: None,
            warnings: &[],
        };
        queue(&self.desk.store, &letter, now())
    }

    fn queue(&self) -> Vec<String> {
        self.queue_as_of(as_of()).unwrap()
    }

    fn mail(&mut self) -> &mut Mail {
        self.settings.mail.as_mut().unwrap()
    }

    async fn deliver_at(&self, now: Instant) -> Delivery {
        let mail = self.settings.mail.as_ref().unwrap();
        deliver(&self.desk.store, mail, &self.http, self.desk.dir.path(), now)
            .await
            .unwrap()
    }

    async fn deliver(&self) -> Delivery {
        self.deliver_at(now()).await
    }

    /// `recipient|state|attempts|last_reply`, in order.
    fn outbox(&self) -> Vec<String> {
        self.desk
            .rows("SELECT recipient, state, attempts, last_reply FROM mails ORDER BY mail_id")
    }
}

fn now() -> Instant {
    at("2026-03-05T07:31:00Z")
}

/// An office whose mails go to a server with this script.
async fn office(script: Script) -> (Office, Sink) {
    let sink = Sink::start(script).await;
    (Office::new(full(), night::smtp(sink.port, SmtpTls::None)), sink)
}

/// An office whose mails are files, and those files after one delivery.
async fn folder(desk: Desk) -> (Office, Vec<Vec<u8>>) {
    let path = desk.path("mail");
    let office = Office::new(desk, Transport::Folder(path));
    office.queue();
    office.deliver().await;
    let mails = read_folder(&office);
    (office, mails)
}

fn read_folder(office: &Office) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = std::fs::read_dir(office.desk.path("mail"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names.iter().map(|name| std::fs::read(name).unwrap()).collect()
}

fn parse(bytes: &[u8]) -> Message<'_> {
    MessageParser::default().parse(bytes).unwrap()
}

fn header(bytes: &[u8], name: &str) -> String {
    parse(bytes).header_raw(name).unwrap_or_default().trim().to_owned()
}

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
        "missing in the books: ORD-1",
        "difference 123456.78 PEN",
        "4 open before + 2 new + 1 reopened - 1 resolved = 6 open (1 acknowledged)",
        "PEN  matched: 4205, sum 998877.66",
        "JPY  matched: 2, sum 1500",
        "RESOLVED SINCE THE LAST NIGHT (1)",
        "2 x PEN 30.00: \"missing in the books\" on 2026-03-05",
        "oldest gap 2026-03-04T05:00:00.000Z (it moved three times)",
        "unexplained 58.62",
        "2026-03-03  4 open, 1 new",
        "Last night that was read to its end and compared: 2026-03-04",
        "/srv/reconciled/out/2026-03-04/tupay-pe",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let first_new = text.find("ORD-1").unwrap();
    assert!(first_new < text.find("COUNTS AND SUMS").unwrap() && first_new < text.find("STILL OPEN").unwrap());
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
            .contains("gap in the reading: cashouts 2026-03-03")
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
    for word in ["<img", "<script", "<link", "src=\"", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(
        html.contains("width:") && html.contains("bgcolor=\"#d9534f\""),
        "the picture is missing"
    );
}

#[tokio::test]
async fn attachments_arrive_byte_for_byte_under_ascii_names() {
    let (office, mails) = folder(full()).await;
    for bytes in &mails {
        let mail = parse(bytes);
        let attached: Vec<(String, Vec<u8>)> = mail
            .attachments()
            .map(|part| (part.attachment_name().unwrap().to_owned(), part.contents().to_vec()))
            .collect();
        let made: Vec<(String, Vec<u8>)> = office
            .files
            .iter()
            .map(|file| (file.name.clone(), file.bytes.clone()))
            .collect();
        assert_eq!(attached, made);
        assert!(attached.iter().all(|(name, _)| name.is_ascii()));
    }
}

#[tokio::test]
async fn headers_tell_machines_what_it_is_and_the_thread_it_belongs_to() {
    let (office, mails) = folder(full()).await;
    let ids = office.desk.rows("SELECT message_id FROM mails ORDER BY recipient");
    let mut seen: Vec<String> = mails.iter().map(|bytes| header(bytes, "Message-ID")).collect();
    seen.sort();
    let mut wanted = ids.clone();
    wanted.sort();
    assert_eq!(seen, wanted);
    for bytes in &mails {
        assert_eq!(header(bytes, "Auto-Submitted"), "auto-generated");
        assert_eq!(header(bytes, "X-Auto-Response-Suppress"), "All");
        assert_eq!(header(bytes, "List-Id"), "<tupay-pe.reconciled.example.com>");
        assert_eq!(header(bytes, "In-Reply-To"), header(bytes, "References"));
        assert!(header(bytes, "References").contains(".root@example.com"));
        assert_eq!(header(bytes, "Date"), "Thu, 05 Mar 2026 07:30:00 +0000");
        assert!(bytes.is_ascii());
    }
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
            text.contains("0 open before + 0 new")
                && text.contains("1 of 1 windows read to their end, 4213 rows, complete"),
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
            body.contains("usual: at most 1 new in one night over the last 2 nights"),
            "{body}"
        );
        assert!(!body.contains("ORD-1") && !body.contains("HYPERLINK"), "{body}");
    }
    let csv = mail.attachment(0).unwrap().contents();
    assert!(String::from_utf8_lossy(csv).contains("ORD-1"));
}

#[tokio::test]
async fn large_files_are_zipped_and_too_large_mails_name_their_place_instead() {
    let desk = full();
    let path = desk.path("mail");
    let mut office = Office::new(desk, Transport::Folder(path));
    office.mail().zip_above_bytes = 1000;
    office.queue();
    office.deliver().await;
    let mails = read_folder(&office);
    let mail = parse(&mails[0]);
    let zipped = mail.attachment(0).unwrap();
    assert_eq!(
        (mail.attachment_count(), zipped.attachment_name().unwrap()),
        (1, "2026-03-04_tupay-pe.zip")
    );
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zipped.contents().to_vec())).unwrap();
    for file in &office.files {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name(&file.name).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, file.bytes);
    }

    let desk = full();
    let path = desk.path("mail");
    let mut office = Office::new(desk, Transport::Folder(path));
    office.mail().max_mail_bytes = 1000;
    office.queue();
    office.deliver().await;
    let mails = read_folder(&office);
    let mail = parse(&mails[0]);
    assert_eq!(mail.attachment_count(), 0);
    assert!(mail.body_text(0).unwrap().contains("Not attached"));
    assert!(
        mail.body_text(0)
            .unwrap()
            .contains("/srv/reconciled/out/2026-03-04/tupay-pe")
    );
}

#[tokio::test]
async fn nothing_from_the_books_reaches_a_header_or_adds_a_recipient() {
    let desk = full();
    let hostile = "x\r\nBcc: thief@example.com\r\n\r\n.\r\nMAIL FROM:<thief@example.com>\r\n";
    for column in [
        "reference",
        "provider_id",
        "ledger_id",
        "account",
        "what_differs",
        "provider_status",
        "evidence",
    ] {
        desk.store
            .write(|tx| {
                let sql = match column {
                    "reference" => "UPDATE discrepancies SET reference = ?1",
                    "provider_id" => "UPDATE discrepancies SET provider_id = ?1",
                    "ledger_id" => "UPDATE discrepancies SET ledger_id = ?1",
                    "account" => "UPDATE discrepancies SET account = ?1",
                    "what_differs" => "UPDATE discrepancies SET what_differs = ?1",
                    "provider_status" => "UPDATE discrepancies SET provider_status = ?1",
                    _ => "UPDATE discrepancies SET evidence = ?1",
                };
                tx.execute(sql, [hostile])?;
                tx.execute("UPDATE windows SET reason = ?1, feed = ?1 || window_id", [hostile])?;
                Ok(())
            })
            .unwrap();
    }
    let sink = Sink::start(Script::default()).await;
    let office = Office::new(desk, night::smtp(sink.port, SmtpTls::None));
    office.queue();
    assert_eq!(office.deliver().await.sent, 2);
    let lines = sink.lines();
    assert!(lines.iter().all(|line| !line.contains("thief")), "{lines:?}");
    for mail in sink.mails() {
        assert_eq!(mail.to.len(), 1);
        assert!([ANA, BEN].contains(&mail.to[0].as_str()));
        let parsed = parse(&mail.bytes);
        assert!(parsed.bcc().is_none() && parsed.cc().is_none());
        assert_eq!(parsed.to().unwrap().first().unwrap().address().unwrap(), mail.to[0]);
    }
}

#[tokio::test]
async fn addresses_with_control_characters_or_outside_the_allowed_domains_are_refused_and_nothing_is_queued() {
    let mut office = Office::new(full(), Transport::Folder("mail".into()));
    for bad in [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.org",
        "a b@example.com",
        "",
        "a@exämple.com",
        "a@example.com.evil.org",
    ] {
        office.job.recipients = vec![ANA.to_owned(), bad.to_owned()];
        let failure = office.queue_as_of(as_of()).unwrap_err();
        assert_eq!(failure.class, Class::Config, "{bad}");
        assert!(bad.is_empty() || !failure.message.contains(bad), "{}", failure.message);
    }
    office.mail().from = "recon@example.com\nX: y".to_owned();
    office.job.recipients = vec![ANA.to_owned()];
    assert_eq!(office.queue_as_of(as_of()).unwrap_err().class, Class::Config);
    assert_eq!(office.outbox().len(), 0);
    assert_eq!(office.desk.rows("SELECT name FROM files").len(), 0);
}

#[tokio::test]
async fn the_same_night_again_queues_nothing_and_sends_nothing() {
    let (office, sink) = office(Script::default()).await;
    assert_eq!(office.queue().len(), 2);
    assert_eq!(office.deliver().await.sent, 2);
    assert_eq!(office.queue(), Vec::<String>::new());
    let again = office.deliver().await;
    assert_eq!(again, Delivery::default());
    assert_eq!((sink.mails().len(), sink.connections()), (2, 2));
}

#[tokio::test]
async fn the_same_night_composed_in_two_databases_is_the_same_bytes() {
    let (one, two) = (folder(full()).await.1, folder(full()).await.1);
    assert_eq!(one.len(), 2);
    assert!(one == two, "a mail holds chance or a clock");
}

#[tokio::test]
async fn a_later_as_of_is_told_only_if_the_figures_changed_and_then_says_that_it_replaces() {
    let (mut office, sink) = office(Script::default()).await;
    office.job.recipients = vec![ANA.to_owned()];
    let first = office.queue();
    let later = at("2026-03-05T11:00:00Z");
    assert_eq!(office.queue_as_of(later).unwrap(), Vec::<String>::new());
    office
        .desk
        .sql("UPDATE run_counts SET count = 0, resolved = 1, new = 0 WHERE run_id = 7 AND kind = 'amount_mismatch'");
    let second = office.queue_as_of(later).unwrap();
    assert_eq!(second.len(), 1);
    assert_eq!(office.queue_as_of(later).unwrap(), Vec::<String>::new());
    // Both leave, in order: the first says what was known when it was made.
    assert_eq!(office.deliver().await.sent, 2);
    let mails = sink.mails();
    assert_eq!(header(&mails[0].bytes, "Message-ID"), first[0]);
    assert_eq!(header(&mails[1].bytes, "Message-ID"), second[0]);
    assert_eq!(header(&mails[1].bytes, "Supersedes"), first[0]);
    assert_eq!(header(&mails[1].bytes, "In-Reply-To"), first[0]);
    assert!(
        parse(&mails[1].bytes)
            .body_text(0)
            .unwrap()
            .contains("This mail replaces the one sent before")
    );
    assert!(
        !parse(&mails[0].bytes)
            .body_text(0)
            .unwrap()
            .contains("This mail replaces")
    );
}

#[tokio::test]
async fn without_recipients_the_files_are_frozen_and_nobody_is_written_to() {
    let (mut office, sink) = office(Script::default()).await;
    office.job.recipients.clear();
    assert_eq!(office.queue().len(), 0);
    assert_eq!(office.deliver().await, Delivery::default());
    assert_eq!(sink.connections(), 0);
    assert_eq!(
        office.desk.rows("SELECT count(*) FROM files WHERE name LIKE '%.csv'"),
        ["4"]
    );
}

#[tokio::test]
async fn what_arrives_is_what_was_frozen() {
    let (office, sink) = office(Script::default()).await;
    office.queue();
    let due = reconciled::store::outbox::due(&office.desk.store, now()).unwrap();
    office.deliver().await;
    for (due, mail) in due.iter().zip(sink.mails()) {
        assert_eq!(mail.bytes.strip_suffix(b"\r\n").unwrap(), due.message);
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("recon@example.com", [due.recipient.clone()].as_slice())
        );
    }
}

// M01
#[tokio::test]
async fn silence_or_a_hang_up_at_any_stage_leaves_the_mail_pending_and_the_next_run_sends_it_at_once() {
    let stages = ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."];
    let cases = stages
        .into_iter()
        .flat_map(|verb| [(verb, Act::Stall), (verb, Act::HangUp)]);
    // Side by side: each of them waits for its own time-outs.
    futures_util::future::join_all(cases.map(|(verb, act)| silence(verb, act))).await;
}

async fn silence(verb: &'static str, act: Act) {
    let (mut office, sink) = office(Script::default().on(verb, act.clone())).await;
    office.job.recipients = vec![ANA.to_owned()];
    office.mail().timeout = Duration::from_secs(2);
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!(
        (delivery.sent, delivery.pending, delivery.failed),
        (0, 1, 0),
        "{verb} {act:?}"
    );
    assert_eq!(delivery.failures[0].failure.class, Class::Partial);
    assert_eq!(delivery.failures[0].job, JOB);
    let taken = sink.mails().len();
    sink.behave(Script::default());
    assert_eq!(office.deliver().await.sent, 1, "{verb} {act:?}");
    assert_eq!(sink.mails().len(), taken + 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_asked_twice_and_not_once_per_mail() {
    let (office, sink) = office(Script::default().on("GREETING", Act::HangUp)).await;
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!(
        (delivery.pending, delivery.failures.len(), sink.connections()),
        (2, 1, 2)
    );
}

// M02
#[tokio::test]
async fn a_4xx_waits_five_minutes_and_is_given_up_after_five_days() {
    let grey = Script::default().recipient(ANA, Act::Say("451 4.7.1 <ana@example.com>: greylisted, try later"));
    let (office, sink) = office(grey).await;
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!((delivery.sent, delivery.pending), (1, 1));
    assert_eq!(delivery.failures[0].failure.class, Class::Partial);
    assert_eq!(
        office.outbox()[0],
        "ana@example.com|pending|1|451 4.7.1 greylisted, try later"
    );
    // Too early: nobody is asked.
    assert_eq!(office.deliver_at(now() + TimeDelta::minutes(4)).await.failures, []);
    assert_eq!(sink.connections(), 2);
    office.deliver_at(now() + TimeDelta::minutes(5)).await;
    assert_eq!(sink.connections(), 3);
    let late = office.deliver_at(now() + TimeDelta::days(5)).await;
    assert_eq!(
        (late.pending, late.failed, late.failures[0].failure.class),
        (0, 1, Class::ProviderDown)
    );
    sink.behave(Script::default());
    office.deliver_at(now() + TimeDelta::days(6)).await;
    assert_eq!(sink.mails().len(), 1);
}

// M03
#[tokio::test]
async fn a_refused_recipient_costs_nobody_else_the_mail() {
    let (office, sink) =
        office(Script::default().recipient(ANA, Act::Say("550 5.1.1 <ana@example.com> unknown"))).await;
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!((delivery.sent, delivery.failed, delivery.pending), (1, 1, 0));
    assert_eq!(delivery.failures[0].failure.class, Class::Partial);
    assert!(!delivery.failures[0].failure.message.contains('@'));
    assert_eq!(
        office.outbox(),
        [
            "ana@example.com|failed|1|550 5.1.1 unknown",
            "ben@example.com|sent|1|250 taken"
        ]
    );
    // The good one is not written to again, the bad one not asked for again.
    office.deliver().await;
    assert_eq!((sink.mails().len(), sink.connections()), (1, 2));
}

// M04
#[tokio::test]
async fn when_everybody_is_refused_the_way_is_closed() {
    let (office, _sink) = office(Script::default().on("RCPT", Act::Say("550 no"))).await;
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!((delivery.sent, delivery.failed), (0, 2));
    assert!(
        delivery
            .failures
            .iter()
            .all(|failed| failed.failure.class == Class::ProviderDown)
    );
}

#[tokio::test]
async fn a_refused_login_is_tried_once_per_run_and_nothing_is_lost_by_it() {
    let script = Script {
        extensions: vec!["AUTH PLAIN LOGIN"],
        ..Script::default()
    };
    let (mut office, sink) = office(script.clone().on("AUTH", Act::Say("535 5.7.8 no"))).await;
    let secret = office.desk.path("password");
    std::fs::write(&secret, "hunter2").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let password = reconciled::config::SecretRef::parse("file:password");
    if let Transport::Smtp {
        username,
        password: slot,
        ..
    } = &mut office.mail().transport
    {
        *username = Some(reconciled::config::SecretOrPlain::Plain("recon".to_owned()));
        *slot = password;
    }
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!((delivery.sent, delivery.failed, sink.connections()), (0, 2, 1));
    assert_eq!(delivery.failures[0].failure.class, Class::Auth);
    assert!(!format!("{:?}", delivery.failures).contains("hunter2"));
    assert_eq!(
        office.outbox()[0],
        "ana@example.com|failed|1|login refused: 535 5.7.8 no"
    );
    sink.behave(script);
    assert_eq!(office.deliver().await.sent, 2);
}

// M05
#[tokio::test]
async fn a_mail_that_the_server_finds_too_large_goes_out_without_attachments_and_says_so() {
    for (name, script) in [
        (
            "552",
            Script {
                limit: Some(60_000),
                ..Script::default()
            },
        ),
        (
            "SIZE",
            Script {
                extensions: vec!["SIZE 60000"],
                ..Script::default()
            },
        ),
    ] {
        let (mut office, sink) = office(script).await;
        office.job.recipients = vec![ANA.to_owned()];
        office.files[0].bytes = vec![b'x'; 50_000];
        let queued = office.queue();
        let delivery = office.deliver().await;
        assert_eq!((delivery.sent, delivery.failed, delivery.pending), (1, 0, 0), "{name}");
        let mails = sink.mails();
        let mail = parse(&mails[0].bytes);
        let said: String = (0..mail.text_body_count())
            .map(|n| mail.body_text(n).unwrap().into_owned())
            .collect();
        assert!(
            said.contains("NOT ATTACHED") && said.contains("2026-03-04_tupay-pe_discrepancies.csv"),
            "{said}"
        );
        assert!(said.contains("/srv/reconciled/out/2026-03-04/tupay-pe"));
        assert!(
            !mails[0].bytes.windows(8).any(|bytes| bytes == b"eHh4eHh4"),
            "an attachment is still there"
        );
        assert_ne!(header(&mails[0].bytes, "Message-ID"), queued[0]);
        assert_eq!(office.outbox().len(), 2);
        assert!(office.outbox()[0].contains("sent without attachments instead"));
        // Told again, it is not sent again.
        assert_eq!(office.queue(), Vec::<String>::new());
        assert_eq!(office.deliver().await, Delivery::default());
        let tried = sink.lines().iter().filter(|line| line.starts_with("DATA")).count();
        assert_eq!(
            tried,
            if name == "SIZE" { 1 } else { 2 },
            "an announced limit is believed"
        );
    }
}

#[tokio::test]
async fn a_mail_that_is_too_large_even_without_attachments_is_given_up() {
    let (mut office, sink) = office(Script::default().on(".", Act::Say("552 5.3.4 message too big"))).await;
    office.job.recipients = vec![ANA.to_owned()];
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!((delivery.sent, delivery.failed, delivery.pending), (0, 1, 0));
    assert_eq!(delivery.failures[0].failure.class, Class::ProviderDown);
    assert_eq!(sink.mails().len(), 0);
}

// M06, M07
#[tokio::test]
async fn a_lost_250_leads_to_one_repetition_with_the_same_id_and_bytes() {
    let (mut office, sink) = office(Script::default().on(".", Act::HangUp)).await;
    office.job.recipients = vec![ANA.to_owned()];
    office.queue();
    let delivery = office.deliver().await;
    assert_eq!((delivery.sent, delivery.pending), (0, 1));
    assert_eq!(sink.mails().len(), 1, "not repeated inside one run");
    sink.behave(Script::default());
    assert_eq!(office.deliver().await.sent, 1);
    let mails = sink.mails();
    assert_eq!(mails.len(), 2);
    assert!(mails[0].bytes == mails[1].bytes);
}

// M08
#[tokio::test]
async fn without_starttls_or_with_a_foreign_certificate_nothing_is_sent() {
    let (authority, server) = authority_and_server("localhost");
    let (foreign, _) = authority_and_server("localhost");
    let (_, misnamed) = authority_and_server("mail.example.org");
    for (what, offered, trusted) in [
        ("stripped", None, &authority),
        ("foreign authority", Some(server), &foreign),
        ("other host", Some(misnamed), &authority),
    ] {
        let sink = Sink::start(Script {
            tls: offered,
            ..Script::default()
        })
        .await;
        let mut office = Office::new(full(), night::smtp(sink.port, SmtpTls::StartTls));
        office.http.ca_file = Some(office.desk.path("ca.pem"));
        std::fs::write(office.desk.path("ca.pem"), trusted).unwrap();
        office.queue();
        let delivery = office.deliver().await;
        assert_eq!((delivery.sent, delivery.pending, delivery.failed), (0, 2, 0), "{what}");
        assert!(!sink.lines().iter().any(|line| line.starts_with("MAIL")), "{what}");
        assert_eq!(delivery.failures[0].failure.class, Class::Partial, "{what}");
    }
}

#[tokio::test]
async fn a_private_authority_is_enough_for_starttls_and_for_the_wrapper() {
    for (tls, wrapper) in [(SmtpTls::StartTls, false), (SmtpTls::Wrapper, true)] {
        let (authority, server) = authority_and_server("localhost");
        let sink = Sink::start(Script {
            tls: Some(server),
            wrapper,
            ..Script::default()
        })
        .await;
        let mut office = Office::new(full(), night::smtp(sink.port, tls));
        office.http.ca_file = Some(office.desk.path("ca.pem"));
        std::fs::write(office.desk.path("ca.pem"), authority).unwrap();
        office.queue();
        let delivery = office.deliver().await;
        assert_eq!((delivery.sent, &delivery.failures), (2, &vec![]), "{tls:?}");
        assert!(sink.mails().iter().all(|mail| mail.encrypted));
    }
}

#[tokio::test]
async fn nothing_leaves_in_the_clear_to_another_machine() {
    let transport = Transport::Smtp {
        host: "mail.example.com".to_owned(),
        port: 25,
        tls: SmtpTls::None,
        username: None,
        password: None,
    };
    let office = Office::new(full(), transport);
    office.queue();
    let mail = office.settings.mail.as_ref().unwrap();
    let failure = deliver(&office.desk.store, mail, &office.http, office.desk.dir.path(), now())
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Config);
}

#[tokio::test]
async fn the_online_check_says_whether_the_server_can_be_used_and_sends_nothing() {
    let sink = Sink::start(Script::default()).await;
    let mut office = Office::new(full(), night::smtp(sink.port, SmtpTls::None));
    let folder = office.desk.dir.path().to_owned();
    let said = check_online(office.settings.mail.as_ref().unwrap(), &office.http, &folder)
        .await
        .unwrap();
    assert!(said.contains("answered"), "{said}");
    sink.behave(Script::default().on("GREETING", Act::Stall));
    office.mail().timeout = Duration::from_millis(300);
    let failure = check_online(office.settings.mail.as_ref().unwrap(), &office.http, &folder)
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::ProviderDown);
    assert!(failure.message.contains("time-out"), "{}", failure.message);
    assert!(!sink.lines().iter().any(|line| line.starts_with("MAIL")));
}

// M10
#[tokio::test]
async fn a_mail_that_waited_a_night_leaves_before_the_next_one() {
    let (mut office, sink) = office(Script::default().on("GREETING", Act::HangUp)).await;
    office.job.recipients = vec![ANA.to_owned()];
    office.queue();
    office.deliver().await;
    sink.behave(Script::default());
    let next = "2026-03-05".parse().unwrap();
    office.desk.run(8, "2026-03-05", "reconciled", 0, 0);
    let letter = Letter {
        settings: &office.settings,
        job: &office.job,
        run_id: 8,
        as_of: at("2026-03-06T07:30:00Z"),
        business_day: next,
        files: &[],
        recipients: &office.job.recipients,
        message: None,
        warnings: &[],
    };
    queue(&office.desk.store, &letter, at("2026-03-06T07:31:00Z")).unwrap();
    assert_eq!(office.deliver_at(at("2026-03-06T07:31:00Z")).await.sent, 2);
    let subjects: Vec<String> = sink
        .mails()
        .iter()
        .map(|mail| parse(&mail.bytes).subject().unwrap().to_owned())
        .collect();
    assert!(
        subjects[0].ends_with(DAY) && subjects[1].ends_with("2026-03-05"),
        "{subjects:?}"
    );
}

#[tokio::test]
async fn mails_in_the_folder_have_fixed_names_and_closed_modes() {
    use std::os::unix::fs::PermissionsExt;
    let (office, mails) = folder(full()).await;
    assert_eq!(mails.len(), 2);
    for entry in std::fs::read_dir(office.desk.path("mail")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            name.starts_with("2026-03-04_tupay-pe_") && name.ends_with(".eml"),
            "{name}"
        );
        assert!(!name.contains("ana") && !name.contains("ben"));
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }
}
