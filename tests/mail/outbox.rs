//! What is queued, frozen and told again, and in which order it leaves.

use super::*;

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
