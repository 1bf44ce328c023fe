//! Who hears of a night that failed, is late, or did not happen: a heartbeat to an outside address after every run, so that
//! silence is noticed elsewhere, and a mail to the operators, at most one per job and night.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::config::{Alerts, Job, Settings};
use crate::day::{Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::mail::{self, Alert};
use crate::monitor;
use crate::run::JobOutcome;
use crate::schedule::{self, Due};
use crate::store::outbox::NewMail;
use crate::store::{InstanceLock, Store};

/// How long the outside may take; a run does not wait longer for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls the heartbeat URL, with `/fail` appended when the run did not end OK. The URL is a secret and never shown.
///
/// # Errors
/// One sentence for the log; a heartbeat that fails is no failure of the run.
pub async fn heartbeat(alerts: &Alerts, folder: &Path, ok: bool) -> Result<(), String> {
    let Some(reference) = &alerts.heartbeat_url else {
        return Ok(());
    };
    let secret = reference.read(folder)?;
    let mut url = crate::config::section::check_base_url(secret.expose_secret())
        .map_err(|why| format!("the heartbeat URL {why}"))?;
    if !ok {
        let path = format!("{}/fail", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    crate::fetch::install_crypto();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(|_| "the heartbeat client could not be made".to_owned())?;
    match client.get(url).send().await {
        Ok(reply) if reply.status().is_success() => Ok(()),
        Ok(reply) => Err(format!("the heartbeat was answered {}", reply.status().as_u16())),
        Err(_) => Err("the heartbeat could not be delivered".to_owned()),
    }
}

/// Queues a mail to the operators for every job that failed; how many are new. A night that ended early (75) is tried again
/// and has not failed: when that goes on, it is late.
///
/// # Errors
/// LOCAL-IO for the database, CONFIG for an address.
pub fn failed(store: &Store, settings: &Settings, outcomes: &[JobOutcome], now: Instant) -> Result<usize, Failure> {
    let mut queued = 0;
    for outcome in outcomes {
        let Some(class) = outcome.class.filter(|class| *class != Class::Partial) else {
            continue;
        };
        let mends = if class.next_run_mends() {
            "The next run tries again by itself."
        } else {
            "The next run alone does not mend it: somebody has to look."
        };
        let text = format!(
            "The job {} failed for the business day {} ({}, exit code {}).\r\n\r\n{}\r\n\r\n{mends}\r\n\r\n\
             `reconciled status` shows where every job stands. You get one such mail per job and night.\r\n",
            outcome.job,
            outcome.business_day,
            class.name(),
            class.code(),
            outcome.message.as_deref().unwrap_or("No reason was given."),
        );
        let alert = Alert {
            job: &outcome.job,
            as_of: outcome.as_of,
            business_day: outcome.business_day,
            what: "FAILED",
            text: &text,
        };
        queued += mail::queue_alert(store, settings, &alert, now)?;
    }
    Ok(queued)
}

/// Queues a mail to the operators for every job whose oldest missing night is late; how many are new.
///
/// # Errors
/// As [`failed`].
pub fn late(store: &Store, settings: &Settings, jobs: &[Job], now: Instant) -> Result<usize, Failure> {
    if settings.alerts.recipients.is_empty() {
        return Ok(0);
    }
    let done = monitor::done(store, jobs)?;
    let mut queued = 0;
    for job in jobs {
        let since = done.get(&job.name).copied().flatten();
        let Some(due) = schedule::late(job, since, now, settings.alerts.late_after) else {
            continue;
        };
        let text = late_text(settings, &due, since);
        let alert = Alert {
            job: &due.job,
            as_of: due.as_of,
            business_day: due.business_day,
            what: "LATE",
            text: &text,
        };
        queued += mail::queue_alert(store, settings, &alert, now)?;
    }
    Ok(queued)
}

/// Mails the operators that a unit of systemd failed: through the outbox, and past it where the database cannot be written,
/// does not exist or is another instance's at this moment. `said` is the sentence; `invocation` names this failure of the
/// unit. How many mails left.
///
/// # Errors
/// What kept a mail from leaving; one that stands in the outbox is sent by the next run.
pub async fn unit_failed(
    settings: &Settings,
    unit: &str,
    invocation: &str,
    said: &str,
    now: Instant,
) -> Result<usize, Failure> {
    let text = format!(
        "{said}\r\n\r\nIt may have ended before it could tell you itself: nobody need have looked at the night.\r\n\r\n\
         systemd calls for this mail at most twice an hour for one unit. A job that failed has a mail of its own.\r\n"
    );
    let mails = mail::unit_alert(settings, unit, invocation, &text, now)?;
    let Some(mail) = settings.mail.as_ref().filter(|_| !mails.is_empty()) else {
        return Ok(0);
    };
    let why = match through_outbox(settings, mail, &mails, now).await {
        Ok(sent) => return Ok(sent),
        Err(Obstacle::Way(failure)) => return Err(failure),
        Err(Obstacle::Books(failure)) => failure,
    };
    tracing::warn!("the outbox cannot be used ({why}); the alert is sent past it");
    mail::send_past_outbox(&mails, mail, &settings.http, &settings.folder).await
}

/// What kept the outbox from sending.
enum Obstacle {
    /// The database: the mails can leave without it.
    Books(Failure),
    /// The way to the reader: the mails wait in the outbox.
    Way(Failure),
}

async fn through_outbox(
    settings: &Settings,
    mail: &crate::config::Mail,
    mails: &[NewMail],
    now: Instant,
) -> Result<usize, Obstacle> {
    if !settings.database.exists() {
        let what = "there is no database yet";
        return Err(Obstacle::Books(Failure::new(Class::LocalIo, what)));
    }
    let _lock = InstanceLock::take(&settings.database).map_err(Obstacle::Books)?;
    let store = Store::open(&settings.database).map_err(Obstacle::Books)?;
    let new = mail::queue_notes(&store, mails, now).map_err(Obstacle::Books)?;
    let delivery = match mail::deliver(&store, mail, &settings.http, &settings.folder, now).await {
        Ok(delivery) => delivery,
        Err(failure) if failure.class == Class::LocalIo => return Err(Obstacle::Books(failure)),
        Err(failure) => return Err(Obstacle::Way(failure)),
    };
    let own = |job: &str| mails.iter().any(|mail| mail.job == job);
    match delivery.failures.into_iter().find(|failed| own(&failed.job)) {
        Some(failed) => Err(Obstacle::Way(failed.failure)),
        None => Ok(new),
    }
}

fn late_text(settings: &Settings, due: &Due, since: Option<Instant>) -> String {
    let last = since.map_or_else(
        || "No night of this job was finished before.".to_owned(),
        |at| format!("The last night that was finished was that of {}.", format_instant(at)),
    );
    format!(
        "The night of {} for the business day {} was due at {} and is not finished {} minutes later.\r\n\r\n{last}\r\n\r\n\
         It may still run, wait for the provider, or have ended early each time: `reconciled status` and the journal of the \
         service say which. It is tried again by itself.\r\n",
        due.job,
        due.business_day,
        format_instant(due.as_of),
        settings.alerts.late_after.num_minutes(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::config::SecretRef;

    /// Answers one request with that status; gives its first line.
    async fn watch(status: u16, listener: &tokio::net::TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&bytes[..read])
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    #[tokio::test]
    async fn the_heartbeat_is_called_after_a_good_run_and_with_fail_after_every_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(
            &path,
            format!("http://{}/ping/s3cret\n", listener.local_addr().unwrap()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let alerts = Alerts {
            heartbeat_url: SecretRef::parse("file:url"),
            ..Alerts::default()
        };
        for (ok, status, line) in [
            (true, 200, "GET /ping/s3cret HTTP/1.1"),
            (false, 200, "GET /ping/s3cret/fail HTTP/1.1"),
            (true, 500, "GET /ping/s3cret HTTP/1.1"),
        ] {
            let (said, seen) = tokio::join!(heartbeat(&alerts, folder.path(), ok), watch(status, &listener));
            assert_eq!(seen, line);
            assert_eq!(
                said,
                if status == 200 {
                    Ok(())
                } else {
                    Err("the heartbeat was answered 500".to_owned())
                }
            );
        }
        drop(listener);
        let why = heartbeat(&alerts, folder.path(), true).await.unwrap_err();
        assert!(
            !why.contains("s3cret") && why.contains("could not be delivered"),
            "{why}"
        );
    }
}
