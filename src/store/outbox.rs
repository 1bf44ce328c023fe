//! The outbox: mails are frozen here in the transaction that decides on them, and sent afterwards.

use rusqlite::{Transaction, params};

use super::audit::{self, Act, Sealed};
use super::pages::{compress, decompress, sha256};
use super::{Store, damaged, stored_instant};
use crate::day::{BusinessDay, Instant, format_instant};
use crate::failure::Failure;
use crate::record::words;

words! {
    /// `mails.state`.
    MailState { Pending = "pending", Sent = "sent", Failed = "failed" }
}

/// A mail to be sent, frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMail {
    /// The same for every attempt, and for the same content made again.
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
    /// How often it was offered before.
    pub attempts: u32,
    /// RFC 5322 bytes.
    pub message: Vec<u8>,
}

/// Queues a mail; false when this message id already stands in the outbox for this recipient, whatever became of it.
pub fn queue(tx: &Transaction<'_>, queued_at: Instant, mail: &NewMail) -> Result<bool, Failure> {
    let new = tx.execute(
        "INSERT INTO mails (message_id, job, business_day, recipient, state, queued_at, sha256, message)
         VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?6, ?7)
         ON CONFLICT (message_id, recipient) DO NOTHING",
        params![
            mail.message_id,
            mail.job,
            mail.business_day.to_string(),
            mail.recipient,
            format_instant(queued_at),
            sha256(&mail.message),
            compress(&mail.message)?,
        ],
    )?;
    if new == 1 {
        seal(tx, tx.last_insert_rowid(), queued_at)?;
    }
    Ok(new == 1)
}

/// Pending mails that may be sent now, oldest first.
pub fn due(store: &Store, now: Instant) -> Result<Vec<DueMail>, Failure> {
    store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT mail_id, message_id, job, business_day, recipient, attempts, message FROM mails
              WHERE state = 'pending' AND (not_before IS NULL OR not_before <= ?1) ORDER BY mail_id",
        )?;
        let mut rows = statement.query([format_instant(now)])?;
        let mut mails = Vec::new();
        while let Some(row) = rows.next()? {
            let day: String = row.get(3)?;
            mails.push(DueMail {
                mail_id: row.get(0)?,
                message_id: row.get(1)?,
                job: row.get(2)?,
                business_day: day.parse().map_err(|_| damaged("a day"))?,
                recipient: row.get(4)?,
                attempts: row.get(5)?,
                message: decompress(row.get_ref(6)?.as_blob().map_err(|_| damaged("a mail"))?)?,
            });
        }
        Ok(mails)
    })
}

/// Records an attempt: sent, failed for good, or pending again (not before `not_before`). `reply` carries no address.
pub fn record(
    store: &Store,
    mail_id: i64,
    state: MailState,
    reply: Option<&str>,
    not_before: Option<Instant>,
    now: Instant,
) -> Result<(), Failure> {
    let sent_at = (state == MailState::Sent).then(|| format_instant(now));
    store.write(|tx| {
        tx.execute(
            "UPDATE mails SET state = ?2, attempts = attempts + 1, last_reply = ?3, not_before = ?4, sent_at = ?5
              WHERE mail_id = ?1 AND state <> 'sent'",
            params![mail_id, state.as_str(), reply, not_before.map(format_instant), sent_at],
        )?;
        match state {
            MailState::Pending => Ok(()),
            MailState::Sent | MailState::Failed => seal(tx, mail_id, now),
        }
    })
}

/// Mails that failed with a reply that begins so wait again, if they were queued after `since`.
pub fn revive(store: &Store, reply: &str, since: Instant, now: Instant) -> Result<(), Failure> {
    store.write(|tx| {
        let mut revived = tx.prepare_cached(
            "UPDATE mails SET state = 'pending' WHERE state = 'failed' AND last_reply LIKE ?1 || '%' AND queued_at > ?2
             RETURNING mail_id",
        )?;
        let revived = revived.query_map([reply, &format_instant(since)], |row| row.get(0))?;
        let revived = revived.collect::<Result<Vec<i64>, _>>()?;
        revived.into_iter().try_for_each(|mail_id| seal(tx, mail_id, now))
    })
}

/// Writes what became of a mail into the audit trail.
fn seal(tx: &Transaction<'_>, mail_id: i64, now: Instant) -> Result<(), Failure> {
    let (job, day): (String, String) = tx
        .prepare_cached("SELECT job, business_day FROM mails WHERE mail_id = ?1")?
        .query_row([mail_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let written = [(Sealed::Mail, mail_id.to_string())];
    audit::note(tx, now, Act::Mailed, (&job, &day), &written)
}

/// When the next pending mail may be sent; None when nothing waits.
pub fn next_due(store: &Store) -> Result<Option<Instant>, Failure> {
    let text: Option<Option<String>> = store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT not_before FROM mails WHERE state = 'pending' ORDER BY coalesce(not_before, '') LIMIT 1",
        )?;
        let mut rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.next().transpose()?)
    })?;
    match text {
        None => Ok(None),
        Some(None) => Ok(Some(Instant::default())),
        Some(Some(text)) => stored_instant(&text).map(Some),
    }
}
