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

#[path = "mail/content.rs"]
mod content;
#[path = "mail/delivery.rs"]
mod delivery;
#[path = "mail/envelope.rs"]
mod envelope;
#[path = "mail/outbox.rs"]
mod outbox;
#[path = "mail/whole.rs"]
mod whole;

#[path = "support/markup.rs"]
mod markup;

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

/// The files of a mail; its picture has no name.
fn named<'m>(mail: &'m Message<'_>) -> Vec<&'m mail_parser::MessagePart<'m>> {
    mail.attachments()
        .filter(|part| part.attachment_name().is_some())
        .collect()
}
