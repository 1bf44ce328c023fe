//! A short mail to the operators: a job failed, or a night is late. Plain words, no figures of money, at most one per job
//! and night, through the same outbox as every other mail.

use lettre::message::header::ContentType;
use lettre::message::{Message, SinglePart};

use super::compose::{self, digest};
use crate::config::Settings;
use crate::day::{BusinessDay, Instant};
use crate::failure::{Class, Failure};
use crate::store::{Store, outbox};

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
    let Some(mail) = &settings.mail else {
        return Ok(0);
    };
    let from = compose::mailbox(&mail.from, "[mail] from")?;
    let mut mails = Vec::new();
    for recipient in &settings.alerts.recipients {
        let to = compose::mailbox(recipient, "an address in [alerts] recipients")?;
        super::allowed(&to, mail)?;
        let (day, address) = (alert.business_day.to_string(), to.email.to_string());
        let id = digest(&["alert", alert.job, &day, &address], 32);
        let message_id = format!("{PREFIX}{id}@{}>", from.email.domain());
        let message = Message::builder()
            .from(from.clone())
            .to(to)
            .subject(format!("[reconciled] {} – {} {day}", alert.what, alert.job))
            .date(compose::system_time(alert.as_of))
            .message_id(Some(message_id.clone()))
            .header(compose::AutoSubmitted("auto-generated".to_owned()))
            .header(compose::SuppressAnswers("All".to_owned()))
            .header(compose::ListId(format!(
                "<{}.reconciled.{}>",
                alert.job,
                from.email.domain()
            )))
            .singlepart(
                SinglePart::builder()
                    .header(ContentType::TEXT_PLAIN)
                    .body(alert.text.to_owned()),
            )
            .map_err(|_| {
                Failure::new(
                    Class::Internal,
                    "the alert could not be composed: the headers were refused",
                )
            })?;
        mails.push(outbox::NewMail {
            message_id,
            job: alert.job.to_owned(),
            business_day: alert.business_day,
            recipient: address,
            message: message.formatted(),
        });
    }
    store.write(|tx| {
        let mut new = 0;
        for mail in &mails {
            new += usize::from(outbox::queue(tx, now, mail)?);
        }
        Ok(new)
    })
}
