//! The outbox.
use rusqlite::Transaction;

use super::Store;
use crate::day::{BusinessDay, Instant};
use crate::failure::Failure;
use crate::record::words;

words! {
    /// `mails.state`.
    MailState { Pending = "pending", Sent = "sent", Failed = "failed" }
}

/// A mail to be sent, frozen.
pub struct NewMail {
    pub message_id: String,
    pub job: String,
    pub business_day: BusinessDay,
    pub recipient: String,
    /// RFC 5322 bytes.
    pub message: Vec<u8>,
}

/// A mail whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueMail {
    pub mail_id: i64,
    pub message_id: String,
    pub job: String,
    pub business_day: BusinessDay,
    pub recipient: String,
    pub attempts: u32,
    pub message: Vec<u8>,
}

/// Queues a mail; false when this message id already stands in the outbox for this recipient.
pub fn queue(tx: &Transaction<'_>, queued_at: Instant, mail: &NewMail) -> Result<bool, Failure> {
    let _ = (tx, queued_at, mail);
    Err(super::not_built())
}

/// Pending mails that may be sent now, oldest first.
pub fn due(store: &Store, now: Instant) -> Result<Vec<DueMail>, Failure> {
    let _ = (store, now);
    Err(super::not_built())
}

/// Records an attempt: sent, failed for good, or pending again not before `not_before`. `reply` carries no address.
pub fn record(
    store: &Store,
    mail_id: i64,
    state: MailState,
    reply: Option<&str>,
    not_before: Option<Instant>,
    now: Instant,
) -> Result<(), Failure> {
    let _ = (store, mail_id, state, reply, not_before, now);
    Err(super::not_built())
}
