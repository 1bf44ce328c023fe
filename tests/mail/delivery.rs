//! What each fault on the way leaves behind (M01-M13).

use super::*;

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

#[tokio::test]
async fn without_a_database_an_alert_about_a_unit_goes_to_the_server_itself_and_a_refusal_is_said() {
    let (mut office, sink) = office(Script::default().recipient(BEN, Act::Say("550 no such box"))).await;
    office.settings.database = office.desk.path("nowhere.db");
    office.settings.alerts.recipients = vec![ANA.to_owned()];
    let failed = |settings: Settings| async move {
        reconciled::alert::unit_failed(&settings, "reconciled.service", "a1", "it failed", now()).await
    };
    assert_eq!(failed(office.settings.clone()).await, Ok(1));
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, [ANA]);
    assert!(parse(&mails[0].bytes).body_text(0).unwrap().contains("it failed"));
    assert!(!office.settings.database.exists());

    office.settings.alerts.recipients = vec![BEN.to_owned(), ANA.to_owned()];
    let failure = failed(office.settings.clone()).await.unwrap_err();
    assert_eq!(failure.class, Class::ProviderDown);
    assert!(failure.message.contains("550"), "{failure}");
    assert_eq!(sink.mails().len(), 2, "the others are told all the same");
}
