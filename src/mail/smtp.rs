//! One SMTP conversation for one mail, stage by stage, under one deadline.
//!
//! lettre speaks the protocol; this file says what each answer means. Its async transport has no time-out once it is
//! connected and its errors carry server text with addresses, so everything here runs under `timeout_at` and answers are
//! cut down to a code and harmless words before they leave ([`Reply`]).

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Quit, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::SmtpTls;

/// Where to and as whom; secrets have been read.
pub(super) struct Server {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    pub credentials: Option<Credentials>,
    /// PEM of a private authority, added to the system's.
    pub authority: Option<Vec<u8>>,
    /// For a whole conversation.
    pub timeout: Duration,
}

/// A server's answer without addresses: code and first words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    pub words: String,
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.words)
    }
}

/// How one conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// 2xx after the message.
    Accepted(Reply),
    /// 4xx: the server wants patience.
    Later(Reply),
    /// 5xx about this mail or its recipient.
    Refused(Reply),
    /// Larger than the server takes (its announced SIZE, or 552).
    TooLarge(Reply),
    /// The login was refused: it is not the mail's fault.
    Login(String),
    /// No answer that means anything. `before_mail`: the server cannot have taken the message.
    Down { why: String, before_mail: bool },
}

/// Politeness has its limits.
const QUIT_WITHIN: Duration = Duration::from_secs(2);

/// Sends one frozen message to one recipient.
pub(super) async fn send(server: &Server, from: &Address, to: &Address, message: &[u8]) -> End {
    let deadline = Instant::now() + server.timeout;
    let mut connection = match open(server, deadline).await {
        Ok(connection) => connection,
        Err(end) => return end,
    };
    let end = match conversation(&mut connection, deadline, from, to, message).await {
        Ok(end) | Err(end) => end,
    };
    if !matches!(end, End::Down { .. }) {
        // The answer that counts is known already.
        let _ = timeout(QUIT_WITHIN, connection.command(Quit)).await;
    }
    end
}

/// Connects, logs in and says good-bye.
pub(super) async fn greet(server: &Server) -> Result<(), End> {
    let mut connection = open(server, Instant::now() + server.timeout).await?;
    let _ = timeout(QUIT_WITHIN, connection.command(Quit)).await;
    Ok(())
}

/// Connection, EHLO, TLS, login.
async fn open(server: &Server, deadline: Instant) -> Result<AsyncSmtpConnection, End> {
    let hello = ClientId::default();
    let tls = match server.tls {
        SmtpTls::None => None,
        SmtpTls::StartTls | SmtpTls::Wrapper => Some(tls(server)?),
    };
    let wrapper = tls.clone().filter(|_| server.tls == SmtpTls::Wrapper);
    let address = (server.host.as_str(), server.port);
    let connecting = AsyncSmtpConnection::connect_tokio1(address, Some(server.timeout), &hello, wrapper, None);
    let mut connection = within(deadline, "connecting", true, connecting).await?;
    if let Some(tls) = tls.filter(|_| server.tls == SmtpTls::StartTls) {
        if !connection.can_starttls() {
            let _ = timeout(QUIT_WITHIN, connection.command(Quit)).await;
            return Err(down("the server offers no STARTTLS, and nothing is sent in the clear"));
        }
        within(deadline, "STARTTLS", true, connection.starttls(tls, &hello)).await?;
    }
    if let Some(credentials) = &server.credentials {
        let login = timeout_at(deadline, connection.auth(DEFAULT_MECHANISMS, credentials)).await;
        match login {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.is_permanent() => {
                let _ = timeout(QUIT_WITHIN, connection.command(Quit)).await;
                return Err(End::Login(
                    reply(&error).map_or_else(String::new, |reply| reply.to_string()),
                ));
            }
            Ok(Err(error)) if error.is_client() => {
                let _ = timeout(QUIT_WITHIN, connection.command(Quit)).await;
                return Err(End::Login(
                    "the server offers no login that is known here (PLAIN, LOGIN)".to_owned(),
                ));
            }
            Ok(Err(error)) => return Err(fault(&error, "the login", true)),
            Err(_) => return Err(down("time-out at the login")),
        }
    }
    Ok(connection)
}

fn tls(server: &Server) -> Result<TlsParameters, End> {
    let unusable = |what: &str| down(&format!("{what}; check [http] ca_file"));
    let mut builder = TlsParameters::builder(server.host.clone());
    if let Some(pem) = &server.authority {
        let authority =
            Certificate::from_pem(pem).map_err(|_| unusable("the private authority is no PEM certificate"))?;
        builder = builder.add_root_certificate(authority);
    }
    builder
        .build()
        .map_err(|_| unusable("TLS could not be set up with the system's and the private authorities"))
}

/// MAIL, RCPT, DATA, the message. Err: it ended early, and how.
async fn conversation(
    connection: &mut AsyncSmtpConnection,
    deadline: Instant,
    from: &Address,
    to: &Address,
    message: &[u8],
) -> Result<End, End> {
    // The library does not keep the announced SIZE, so it is asked for: one more round trip per mail.
    let hello = Ehlo::new(ClientId::default());
    let ehlo = within(deadline, "EHLO", true, connection.command(hello)).await?;
    let announced = ehlo
        .message()
        .find_map(|line| line.strip_prefix("SIZE ")?.trim().parse::<usize>().ok());
    if announced.is_some_and(|limit| limit > 0 && message.len() > limit) {
        return Ok(End::TooLarge(Reply {
            code: 552,
            words: "larger than the announced SIZE".to_owned(),
        }));
    }
    let mail = Mail::new(Some(from.clone()), Vec::new());
    within(deadline, "MAIL", true, connection.command(mail))
        .await
        .map_err(size)?;
    let rcpt = Rcpt::new(to.clone(), Vec::new());
    within(deadline, "RCPT", true, connection.command(rcpt)).await?;
    within(deadline, "DATA", true, connection.command(Data))
        .await
        .map_err(size)?;
    let accepted = within(deadline, "the message", false, connection.message(message))
        .await
        .map_err(size)?;
    let words = accepted.message().next().unwrap_or_default();
    Ok(End::Accepted(Reply {
        code: u16::from(accepted.code()),
        words: harmless(words),
    }))
}

/// A refusal that speaks of size. At RCPT 552 means a full mailbox; it is not asked there.
fn size(end: End) -> End {
    match end {
        End::Refused(reply) if reply.code == 552 || reply.words.contains("5.3.4") => End::TooLarge(reply),
        end => end,
    }
}

/// One stage under the deadline.
async fn within<T>(
    deadline: Instant,
    stage: &str,
    before_mail: bool,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, End> {
    match timeout_at(deadline, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(&error, stage, before_mail)),
        Err(_) => Err(End::Down {
            why: format!("time-out at {stage}"),
            before_mail,
        }),
    }
}

/// What an error means. lettre calls a time-out of its own a network error: only replies are taken at their word.
fn fault(error: &Error, stage: &str, before_mail: bool) -> End {
    match reply(error) {
        Some(reply) if error.is_permanent() => End::Refused(reply),
        Some(reply) => End::Later(reply),
        None if error.is_tls() => {
            down("the TLS handshake failed: certificate, host name or authority do not fit ([http] ca_file)")
        }
        None if error.is_timeout() => End::Down {
            why: format!("time-out at {stage}"),
            before_mail,
        },
        None => {
            let why = match root_cause(error) {
                Some(std::io::ErrorKind::InvalidData) => {
                    format!("TLS or the protocol broke at {stage}: check certificate, host name and [http] ca_file")
                }
                Some(kind) => format!("{kind} at {stage}"),
                None => format!("no usable answer at {stage}"),
            };
            End::Down { why, before_mail }
        }
    }
}

fn root_cause(error: &Error) -> Option<std::io::ErrorKind> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        source = cause.source();
    }
    None
}

fn down(why: &str) -> End {
    End::Down {
        why: why.to_owned(),
        before_mail: true,
    }
}

fn reply(error: &Error) -> Option<Reply> {
    let code = u16::from(error.status()?);
    let words = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    Some(Reply {
        code,
        words: harmless(&words),
    })
}

/// The first words of a server's text: no address, no markup, no control characters, at most 80 characters.
pub(super) fn harmless(words: &str) -> String {
    let clean: Vec<&str> = words
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty() && !word.contains(['@', '<', '>']) && word.is_ascii())
        .collect();
    clean.join(" ").chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_kept_without_addresses_and_control_characters() {
        for (words, kept) in [
            ("5.1.1 <a@example.com>: no such user", "5.1.1 no such user"),
            ("5.1.1 a@example.com\r\nunknown\u{1b}[31m", "5.1.1 unknown [31m"),
            ("", ""),
            ("naïve mailbox", "mailbox"),
        ] {
            assert_eq!(harmless(words), kept);
        }
        assert!(harmless(&"word ".repeat(100)).len() <= 80);
    }

    #[test]
    fn only_a_refusal_that_speaks_of_size_makes_a_mail_too_large() {
        let reply = Reply {
            code: 552,
            words: "5.3.4 message too big".to_owned(),
        };
        assert_eq!(size(End::Refused(reply.clone())), End::TooLarge(reply));
        let other = End::Refused(Reply {
            code: 550,
            words: "no".to_owned(),
        });
        assert_eq!(size(other.clone()), other);
    }
}
