//! Works off the outbox, oldest first: one conversation per mail, and what each answer means for the mail's state.
//!
//! | answer | state | next |
//! |---|---|---|
//! | accepted | sent | |
//! | 4xx | pending | after five minutes, for five days, then failed |
//! | 5xx | failed | |
//! | too large | failed, and the same mail without attachments is queued and sent | |
//! | login refused | failed, with every other mail that was due | the next run tries again, once |
//! | no answer, no TLS | pending | the next run, at once |
//!
//! A server that does not answer is asked once more in this run, then left alone. Nothing here reads a clock.

use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use lettre::transport::smtp::authentication::Credentials;
use secrecy::ExposeSecret;

use super::compose;
use super::smtp::{self, End, Reply, Server};
use crate::config::{Http, Mail, SecretOrPlain, SmtpTls, Transport};
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::report::files;
use crate::store::Store;
use crate::store::outbox::{self, DueMail, MailState, NewMail};

/// After a 4xx (RFC 5321 section 4.5.4.1 would like more; greylisting is content with this).
const PATIENCE: TimeDelta = TimeDelta::minutes(5);
/// How long a 4xx may go on.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(5);
/// Before the one further try at a server that did not answer.
const BREATH: Duration = Duration::from_secs(1);
/// How `last_reply` begins when the login was refused.
const LOGIN_REFUSED: &str = "login refused";

/// What happened to the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Accepted by the server or written to the folder, now.
    pub sent: u64,
    /// Waiting in the outbox after this.
    pub pending: u64,
    /// Given up, now.
    pub failed: u64,
    /// One per mail that was tried and did not leave.
    pub failures: Vec<Undelivered>,
}

/// A mail that did not leave, by its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    pub job: String,
    pub failure: Failure,
}

/// Sends what is due. Mails that do not leave are failures of the [`Delivery`], not of this function.
///
/// # Errors
/// CONFIG for an unusable sender or transport, AUTH when the password cannot be read, LOCAL-IO for database and folder.
pub async fn deliver(
    store: &Store,
    mail: &Mail,
    http: &Http,
    folder: &Path,
    now: Instant,
) -> Result<Delivery, Failure> {
    revive_refused_logins(store, now)?;
    let mut delivery = Delivery::default();
    match &mail.transport {
        Transport::Folder(path) => {
            for due in outbox::due(store, now)? {
                files::put(path, &[], &file_name(&due), &due.message)?;
                outbox::record(
                    store,
                    due.mail_id,
                    MailState::Sent,
                    Some("written to the folder"),
                    None,
                    now,
                )?;
                delivery.sent += 1;
            }
        }
        Transport::Smtp { .. } => {
            let server = server(mail, http, folder)?;
            let from = compose::mailbox(&mail.from, "[mail] from")?;
            Round {
                store,
                server: &server,
                from: &from.email,
                now,
                delivery: &mut delivery,
            }
            .work_off()
            .await?;
        }
    }
    delivery.pending = waiting(store)?;
    Ok(delivery)
}

/// Logs in to the mail server, or looks for the folder; sends nothing. For `check --online`: what was found, in words.
///
/// # Errors
/// PROVIDER-DOWN, AUTH or CONFIG with what to do.
pub async fn check_online(mail: &Mail, http: &Http, folder: &Path) -> Result<String, Failure> {
    let Transport::Smtp { host, port, .. } = &mail.transport else {
        return Ok("mails are written to a folder".to_owned());
    };
    let server = server(mail, http, folder)?;
    let login = if server.credentials.is_some() {
        " and took the login"
    } else {
        ""
    };
    match smtp::greet(&server).await {
        Ok(()) => Ok(format!("the server {host}:{port} answered{login}")),
        Err(End::Login(why)) => Err(Failure::new(
            Class::Auth,
            format!("the mail server {host}:{port} refused the login ({why}); check [mail] username and password"),
        )),
        Err(End::Down { why, .. }) => Err(Failure::new(
            Class::ProviderDown,
            format!("the mail server {host}:{port} cannot be used: {why}"),
        )),
        Err(End::Accepted(reply) | End::Later(reply) | End::Refused(reply) | End::TooLarge(reply)) => {
            Err(Failure::new(
                Class::ProviderDown,
                format!("the mail server {host}:{port} answered {reply}"),
            ))
        }
    }
}

/// One pass over what is due.
struct Round<'a> {
    store: &'a Store,
    server: &'a Server,
    from: &'a lettre::Address,
    now: Instant,
    delivery: &'a mut Delivery,
}

impl Round<'_> {
    async fn work_off(&mut self) -> Result<(), Failure> {
        let mut queue: std::collections::VecDeque<DueMail> = outbox::due(self.store, self.now)?.into();
        let mut refused: Vec<(DueMail, Failure)> = Vec::new();
        let mut sent_for: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
        while let Some(due) = queue.pop_front() {
            match self.send(&due).await? {
                End::Accepted(reply) => {
                    self.record(&due, MailState::Sent, &reply.to_string(), None)?;
                    self.delivery.sent += 1;
                    sent_for.insert(due.job.clone());
                }
                End::Later(reply) => self.wait(&due, &reply)?,
                End::Refused(reply) => {
                    self.give_up(&due, &reply.to_string())?;
                    refused.push((due, refused_by(&reply)));
                }
                End::TooLarge(reply) => match self.queue_without_attachments(&due, &reply)? {
                    Some(small) => queue.push_front(small),
                    None => {
                        self.give_up(&due, &reply.to_string())?;
                        refused.push((due, refused_by(&reply)));
                    }
                },
                End::Login(why) => {
                    self.login_refused(&due, &queue, &why)?;
                    break;
                }
                End::Down { why, before_mail } => {
                    self.record(&due, MailState::Pending, &why, None)?;
                    self.fail(
                        &due,
                        Class::Partial,
                        &format!("{why}; it stays in the outbox, the next run sends it"),
                    );
                    if before_mail {
                        // Every other mail would meet the same silence.
                        break;
                    }
                }
            }
        }
        for (due, failure) in refused {
            // Others of the same job left: a part is missing. Nobody was reached: the way is closed.
            let class = if sent_for.contains(&due.job) {
                Class::Partial
            } else {
                failure.class
            };
            self.fail(&due, class, &failure.message);
        }
        Ok(())
    }

    /// A server that does not answer before it could take the mail is asked once more.
    async fn send(&self, due: &DueMail) -> Result<End, Failure> {
        let to = compose::mailbox(&due.recipient, "a recipient in the outbox")?.email;
        let end = smtp::send(self.server, self.from, &to, &due.message).await;
        if !matches!(end, End::Down { before_mail: true, .. }) {
            return Ok(end);
        }
        tokio::time::sleep(BREATH).await;
        Ok(smtp::send(self.server, self.from, &to, &due.message).await)
    }

    fn wait(&mut self, due: &DueMail, reply: &Reply) -> Result<(), Failure> {
        if self.now - queued_at(self.store, due.mail_id)? >= GIVE_UP_AFTER {
            self.give_up(due, &reply.to_string())?;
            let words =
                format!("put off for five days, last with {reply}; it is given up, write to the recipient yourself");
            self.fail(due, Class::ProviderDown, &words);
        } else {
            self.record(due, MailState::Pending, &reply.to_string(), Some(self.now + PATIENCE))?;
            self.fail(
                due,
                Class::Partial,
                &format!("put off by the server ({reply}); tried again after five minutes"),
            );
        }
        Ok(())
    }

    /// The big mail ends here; the small one takes its place in the outbox under its own id, so that it goes out once.
    fn queue_without_attachments(&mut self, due: &DueMail, reply: &Reply) -> Result<Option<DueMail>, Failure> {
        let Some((message_id, message)) = compose::without_attachments(&due.message) else {
            return Ok(None);
        };
        let small = NewMail {
            message_id: message_id.clone(),
            job: due.job.clone(),
            business_day: due.business_day,
            recipient: due.recipient.clone(),
            message: message.clone(),
        };
        let (mail_id, state) = self.store.write(|tx| {
            outbox::queue(tx, self.now, &small)?;
            Ok(tx.query_row(
                "SELECT mail_id, state FROM mails WHERE message_id = ?1 AND recipient = ?2",
                [&message_id, &due.recipient],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
            )?)
        })?;
        self.record(
            due,
            MailState::Failed,
            &format!("{reply}; sent without attachments instead"),
            None,
        )?;
        let due = DueMail {
            mail_id,
            message_id,
            message,
            attempts: 0,
            ..due.clone()
        };
        Ok((state == MailState::Pending.as_str()).then_some(due))
    }

    /// The same for every mail that is due: further tries would only lock the account.
    fn login_refused(
        &mut self,
        due: &DueMail,
        rest: &std::collections::VecDeque<DueMail>,
        why: &str,
    ) -> Result<(), Failure> {
        for mail in std::iter::once(due).chain(rest) {
            self.give_up(mail, &format!("{LOGIN_REFUSED}: {why}"))?;
        }
        let words = format!(
            "the mail server refused the login ({why}); check [mail] username and password, the next run tries again"
        );
        self.fail(due, Class::Auth, &words);
        Ok(())
    }

    fn give_up(&mut self, due: &DueMail, reply: &str) -> Result<(), Failure> {
        self.delivery.failed += 1;
        self.record(due, MailState::Failed, reply, None)
    }

    fn record(&self, due: &DueMail, state: MailState, reply: &str, not_before: Option<Instant>) -> Result<(), Failure> {
        outbox::record(self.store, due.mail_id, state, Some(reply), not_before, self.now)
    }

    fn fail(&mut self, due: &DueMail, class: Class, what: &str) {
        let failure = Failure::new(
            class,
            format!("the mail about {} did not leave: {what}", due.business_day),
        );
        self.delivery.failures.push(Undelivered {
            job: due.job.clone(),
            failure,
        });
    }
}

fn refused_by(reply: &Reply) -> Failure {
    let what =
        format!("refused by the server ({reply}); it is not tried again, mend the address or ask the server's people");
    Failure::new(Class::ProviderDown, what)
}

/// Mails that failed for the login alone wait again: the fault was not theirs.
fn revive_refused_logins(store: &Store, now: Instant) -> Result<(), Failure> {
    outbox::revive(store, LOGIN_REFUSED, now - GIVE_UP_AFTER, now)
}

fn queued_at(store: &Store, mail_id: i64) -> Result<Instant, Failure> {
    let text: String = store.read(|conn| {
        Ok(
            conn.query_row("SELECT queued_at FROM mails WHERE mail_id = ?1", [mail_id], |row| {
                row.get(0)
            })?,
        )
    })?;
    crate::day::parse_instant(&text).ok_or_else(|| {
        Failure::new(
            Class::LocalIo,
            "a mail in the outbox has no readable date; `reconciled verify` says more",
        )
    })
}

fn waiting(store: &Store) -> Result<u64, Failure> {
    let count: i64 = store.read(|conn| {
        Ok(
            conn.query_row("SELECT count(*) FROM mails WHERE state = 'pending'", [], |row| {
                row.get(0)
            })?,
        )
    })?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// `<business day>_<job>_<digest of the mail>.eml`: the same mail always has the same name, another mail about the same day
/// another one.
pub(super) fn file_name(due: &DueMail) -> String {
    let digest = compose::digest(&[&due.message_id, &due.recipient], 12);
    format!("{}_{}_{digest}.eml", due.business_day, due.job)
}

/// Settings and secrets -> where to connect.
pub(super) fn server(mail: &Mail, http: &Http, folder: &Path) -> Result<Server, Failure> {
    let Transport::Smtp {
        host,
        port,
        tls,
        username,
        password,
    } = &mail.transport
    else {
        return Err(Failure::new(Class::Internal, "a folder was asked for a mail server"));
    };
    if *tls == SmtpTls::None && !is_loopback(host) {
        return Err(Failure::new(
            Class::Config,
            "[mail] tls = \"none\" is for loopback addresses only; use \"starttls\" or \"wrapper\"",
        ));
    }
    let unread = |why: String| {
        Failure::new(
            Class::Auth,
            format!("the login of the mail server cannot be read: {why}"),
        )
    };
    let credentials = match (username, password) {
        (Some(username), Some(password)) => {
            let username = match username {
                SecretOrPlain::Plain(name) => name.clone(),
                SecretOrPlain::Secret(secret) => secret.read(folder).map_err(unread)?.expose_secret().to_owned(),
            };
            let password = password.read(folder).map_err(unread)?;
            Some(Credentials::new(username, password.expose_secret().to_owned()))
        }
        (None, None) => None,
        _ => {
            let what = "[mail] username and password belong together; one of them is missing";
            return Err(Failure::new(Class::Config, what));
        }
    };
    let authority = match &http.ca_file {
        Some(file) => Some(std::fs::read(file).map_err(|error| {
            let what = format!("[http] ca_file {} cannot be read: {}", file.display(), error.kind());
            Failure::new(Class::Config, what)
        })?),
        None => None,
    };
    Ok(Server {
        host: host.clone(),
        port: *port,
        tls: *tls,
        credentials,
        authority,
        timeout: mail.timeout,
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
