//! A short mail to the operators: a job failed, a night is late, a unit of systemd failed. Plain words, no figures of money,
//! at most one per job and night, through the same outbox as every other mail; only what failed together with the database
//! goes past it.

use std::path::Path;

use lettre::message::header::ContentType;
use lettre::message::{Message, SinglePart};

use super::compose::{self, digest};
use super::deliver::{file_name, server};
use super::smtp::{self, End};
use crate::config::{Http, Mail, Settings, Transport};
use crate::day::{BusinessDay, Instant, day_of};
use crate::failure::{Class, Failure};
use crate::report::files;
use crate::store::Store;
use crate::store::outbox::{self, DueMail, NewMail};

/// How the Message-ID of such a mail begins: a report is never said to replace one.
pub(super) const PREFIX: &str = "<alert-";

/// What the operators are told.
#[derive(Clone, Debug)]
pub struct Alert<'a> {
    pub job: &'a str,
    /// The night's slot.
    pub as_of: Instant,
    pub business_day: BusinessDay,
    /// First word of the subject: `FAILED`, `LATE`.
    pub what: &'a str,
    /// The text: what happened, what was done, what to do.
    pub text: &'a str,
}

/// Queues the alert for every operator who was not told of this job's night yet; how many were new.
///
/// # Errors
/// CONFIG for an address that cannot be written to, LOCAL-IO for the database.
pub fn queue_alert(store: &Store, settings: &Settings, alert: &Alert<'_>, now: Instant) -> Result<usize, Failure> {
    let day = alert.business_day.to_string();
    let note = Note {
        job: alert.job,
        list: alert.job,
        subject: format!("[reconciled] {} – {} {day}", alert.what, alert.job),
        key: &["alert", alert.job, &day],
        at: alert.as_of,
        business_day: alert.business_day,
        text: alert.text,
    };
    queue_notes(store, &note.mails(settings)?, now)
}

/// Queues what is new of these mails; how many were.
///
/// # Errors
/// LOCAL-IO for the database.
pub fn queue_notes(store: &Store, mails: &[NewMail], now: Instant) -> Result<usize, Failure> {
    store.write(|tx| {
        let mut new = 0;
        for mail in mails {
            new += usize::from(outbox::queue(tx, now, mail)?);
        }
        Ok(new)
    })
}

/// The mails that tell every operator that a unit failed; none where nobody is to be told. `invocation` tells one failure
/// from the next; the same again gives the same mails.
///
/// # Errors
/// CONFIG for an address that cannot be written to.
pub fn unit_alert(
    settings: &Settings,
    unit: &str,
    invocation: &str,
    text: &str,
    now: Instant,
) -> Result<Vec<NewMail>, Failure> {
    // A name of a file is made of it.
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let job: String = unit.chars().map(plain).collect();
    let note = Note {
        job: &job,
        list: "units",
        subject: format!("[reconciled] FAILED – {unit}"),
        key: &["unit", unit, invocation],
        at: now,
        business_day: day_of(now, chrono_tz::UTC),
        text,
    };
    note.mails(settings)
}

/// Sends past the outbox, each mail once: for what failed together with the database. How many left.
///
/// # Errors
/// The last of what went wrong: CONFIG or AUTH for sender and login, PROVIDER-DOWN for the server's answers, LOCAL-IO for a
/// folder. The others were tried all the same.
pub async fn send_past_outbox(mails: &[NewMail], mail: &Mail, http: &Http, folder: &Path) -> Result<usize, Failure> {
    let mut sent = 0;
    let mut last = None;
    for new in mails {
        match send_one(new, mail, http, folder).await {
            Ok(()) => sent += 1,
            Err(failure) => last = Some(failure),
        }
    }
    last.map_or(Ok(sent), Err)
}

async fn send_one(new: &NewMail, mail: &Mail, http: &Http, folder: &Path) -> Result<(), Failure> {
    if let Transport::Folder(path) = &mail.transport {
        let due = DueMail {
            mail_id: 0,
            message_id: new.message_id.clone(),
            job: new.job.clone(),
            business_day: new.business_day,
            recipient: new.recipient.clone(),
            attempts: 0,
            message: new.message.clone(),
        };
        return files::put(path, &[], &file_name(&due), &new.message).map(|_| ());
    }
    let from = compose::mailbox(&mail.from, "[mail] from")?.email;
    let to = compose::mailbox(&new.recipient, "an address in [alerts] recipients")?.email;
    let why = match smtp::send(&server(mail, http, folder)?, &from, &to, &new.message).await {
        End::Accepted(_) => return Ok(()),
        End::Later(reply) | End::Refused(reply) | End::TooLarge(reply) => format!("the mail server answered {reply}"),
        End::Login(why) => {
            let words = format!("the mail server refused the login ({why}); check [mail] username and password");
            return Err(Failure::new(Class::Auth, words));
        }
        End::Down { why, .. } => why,
    };
    Err(Failure::new(Class::ProviderDown, why))
}

/// A text to every operator.
struct Note<'a> {
    /// For the outbox: the job, or the unit in the alphabet of file names.
    job: &'a str,
    /// First label of the List-Id.
    list: &'a str,
    subject: String,
    /// What makes it another mail than the others; the address is added.
    key: &'a [&'a str],
    at: Instant,
    business_day: BusinessDay,
    text: &'a str,
}

impl Note<'_> {
    fn mails(&self, settings: &Settings) -> Result<Vec<NewMail>, Failure> {
        let Some(mail) = &settings.mail else {
            return Ok(Vec::new());
        };
        let recipients = settings.alerts.recipients.iter();
        recipients.map(|recipient| self.mail(mail, recipient)).collect()
    }

    fn mail(&self, mail: &Mail, recipient: &str) -> Result<NewMail, Failure> {
        let from = compose::mailbox(&mail.from, "[mail] from")?;
        let to = compose::mailbox(recipient, "an address in [alerts] recipients")?;
        super::allowed(&to, mail)?;
        let address = to.email.to_string();
        let id = digest(&[self.key, &[&address]].concat(), 32);
        let message_id = format!("{PREFIX}{id}@{}>", from.email.domain());
        let list = format!("<{}.reconciled.{}>", self.list, from.email.domain());
        let message = Message::builder()
            .from(from)
            .to(to)
            .subject(self.subject.clone())
            .date(compose::system_time(self.at))
            .message_id(Some(message_id.clone()))
            .header(compose::AutoSubmitted("auto-generated".to_owned()))
            .header(compose::SuppressAnswers("All".to_owned()))
            .header(compose::ListId(list))
            .singlepart(
                SinglePart::builder()
                    .header(ContentType::TEXT_PLAIN)
                    .body(self.text.to_owned()),
            )
            .map_err(|_| {
                Failure::new(
                    Class::Internal,
                    "the alert could not be composed: the headers were refused",
                )
            })?;
        Ok(NewMail {
            message_id,
            job: self.job.to_owned(),
            business_day: self.business_day,
            recipient: address,
            message: message.formatted(),
        })
    }
}
