//! What a mail is made of: headers, threads, attachments, sizes.

use super::*;

#[tokio::test]
async fn attachments_arrive_byte_for_byte_under_ascii_names() {
    let (office, mails) = folder(full()).await;
    for bytes in &mails {
        let mail = parse(bytes);
        let attached: Vec<(String, Vec<u8>)> = mail
            .attachments()
            .filter_map(|part| Some((part.attachment_name()?.to_owned(), part.contents().to_vec())))
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
async fn large_files_are_zipped_and_too_large_mails_name_their_place_instead() {
    let desk = full();
    let path = desk.path("mail");
    let mut office = Office::new(desk, Transport::Folder(path));
    office.mail().zip_above_bytes = 1000;
    office.queue();
    office.deliver().await;
    let mails = read_folder(&office);
    let mail = parse(&mails[0]);
    let attached = named(&mail);
    let zipped = attached[0];
    assert_eq!(
        (attached.len(), zipped.attachment_name().unwrap()),
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
    assert_eq!(named(&mail).len(), 0);
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
