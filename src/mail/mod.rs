//! The night as a mail: composed (pure), frozen into the outbox together with the files, and sent from there.
//!
//! A mail leaves only from the outbox. Its bytes are frozen in the transaction that freezes the files it speaks of; what
//! is sent later, and again after a fault, are those bytes under that Message-ID. One mail per recipient, one SMTP
//! transaction per mail. A bounce after acceptance goes to the mailbox of `[mail] from`: reading it is outside this program.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::OptionalExtension;
use tokio_util::sync::CancellationToken;

use crate::config::{Http, Job, JobSource, Mail, Settings};
use crate::day::{BusinessDay, Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::providers::Shape;
use crate::record::Verdict;
use crate::report::view::{View, picture_nights, view};
use crate::report::{Facts, Night, Produced, facts, in_locale, index, locale_of};
use crate::store::{Store, audit, files, outbox};

mod alert;
mod compose;
mod deliver;
mod picture;
mod smtp;

pub use alert::{Alert, queue_alert, queue_notes, send_past_outbox, unit_alert};
pub use deliver::{Delivery, Undelivered, check_online, deliver};

use compose::{Envelope, Ids};

/// What is to be told about one night, and to whom.
#[derive(Clone, Copy)]
pub struct Letter<'a> {
    pub settings: &'a Settings,
    pub job: &'a Job,
    /// Its row in `runs` already holds the verdict; a row without one counts as failed.
    pub run_id: i64,
    pub as_of: Instant,
    pub business_day: BusinessDay,
    /// The CSVs of this night.
    pub files: &'a [Produced],
    /// Empty: nobody is written to, the files are frozen all the same.
    pub recipients: &'a [String],
    /// What failed; None when all is well.
    pub message: Option<&'a str>,
    pub warnings: &'a [String],
}

/// Freezes the night: its CSVs, its part of the day's page and one mail per recipient, in one transaction. Returns the
/// Message-IDs of the mails that are new.
///
/// The same as-of again queues no second mail, unless the night was told of as failed or incomplete before; neither does a later
/// as-of of the same business day that has nothing new to say. Where the figures did change, a new mail says that it replaces the
/// one before.
///
/// # Errors
/// CONFIG for addresses that cannot be written to or lie outside `allowed_domains`; INTERNAL when a template fails;
/// LOCAL-IO for the database.
pub fn queue(store: &Store, letter: &Letter<'_>, now: Instant) -> Result<Vec<String>, Failure> {
    let night = night(store, letter)?;
    let conn = store.lend()?;
    let snapshot = conn.unchecked_transaction()?;
    let facts = facts::read(&snapshot, &night)?;
    let day = letter.business_day.to_string();
    let place = letter
        .settings
        .out
        .join(&day)
        .join(&letter.job.name)
        .display()
        .to_string();
    let view = view(
        &facts,
        letter.job.locale,
        letter.job.report.flood_limit,
        &in_locale(letter.files, letter.job, letter.job.locale),
        &place,
    );
    let mails = mails(store, letter, &facts, &place)?;
    // The page names failed jobs from `runs`; what it said about an earlier night of the day stays.
    let part = match night.verdict {
        Verdict::Failed => None,
        _ => Some(index::part(&snapshot, &facts, &view, letter.job.locale)?),
    };
    drop(snapshot);
    store.write(|tx| {
        let mut written = Vec::new();
        for file in letter.files.iter().chain(&part) {
            let new = files::put_file(
                tx,
                &letter.job.name,
                letter.business_day,
                letter.as_of,
                &file.name,
                &file.bytes,
            )?;
            if new {
                written.push((audit::Sealed::File, format!("{}/{day}/{}", letter.job.name, file.name)));
            }
        }
        let about = (letter.job.name.as_str(), day.as_str());
        audit::note(tx, letter.as_of, audit::Act::Reported, about, &written)?;
        let mut queued = Vec::new();
        for mail in &mails {
            if outbox::queue(tx, now, mail)? {
                queued.push(mail.message_id.clone());
            }
        }
        Ok(queued)
    })
}

/// How long mails may go on leaving after the program was asked to stop.
const HURRY: Duration = Duration::from_secs(10);

/// [`deliver`], cut short some seconds after a stop: what is left stays in the outbox.
///
/// # Errors
/// As [`deliver`], and PARTIAL when it was cut short.
pub async fn deliver_until(
    stop: &CancellationToken,
    store: &Store,
    mail: &Mail,
    http: &Http,
    folder: &Path,
    now: Instant,
) -> Result<Delivery, Failure> {
    // A late night's alert leaves while the night still runs: two rounds at once would send a mail twice.
    static ROUND: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _round = ROUND.lock().await;
    let hurry = async {
        stop.cancelled().await;
        tokio::time::sleep(HURRY).await;
    };
    tokio::select! {
        delivery = deliver(store, mail, http, folder, now) => delivery,
        () = hurry => Err(Failure::new(
            Class::Partial,
            "stopped on request while mails were leaving; the rest stays in the outbox, the next run sends it",
        )),
    }
}

fn night(store: &Store, letter: &Letter<'_>) -> Result<Night, Failure> {
    let (verdict, exit_code): (Option<String>, Option<i64>) = store.read(|conn| {
        let mut statement = conn.prepare("SELECT verdict, exit_code FROM runs WHERE run_id = ?1")?;
        let ended = statement.query_row([letter.run_id], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(ended.optional()?.unwrap_or_default())
    })?;
    Ok(Night {
        run_id: letter.run_id,
        job: letter.job.name.clone(),
        as_of: letter.as_of,
        business_day: letter.business_day,
        verdict: verdict.and_then(|word| word.parse().ok()).unwrap_or(Verdict::Failed),
        message: letter.message.map(str::to_owned),
        warnings: letter.warnings.to_vec(),
        by_key: by_key(letter.job),
        zone: letter.job.timezone,
        class: exit_code.and_then(Class::of_code),
    })
}

fn by_key(job: &Job) -> Vec<&'static str> {
    let JobSource::Provider(setup) = &job.source else {
        return Vec::new();
    };
    let feeds = setup.provider.feeds().into_iter();
    feeds
        .filter(|feed| feed.shape == Shape::Lookups)
        .map(|feed| feed.name)
        .collect()
}

/// The mails that this night owes, composed; those that were said before are left out.
fn mails(store: &Store, letter: &Letter<'_>, facts: &Facts, place: &str) -> Result<Vec<outbox::NewMail>, Failure> {
    let Some(settings) = letter.settings.mail.as_ref().filter(|_| !letter.recipients.is_empty()) else {
        return Ok(Vec::new());
    };
    let from = compose::mailbox(&settings.from, "[mail] from")?;
    let picture = picture::picture(picture_nights(facts))?;
    let mut mails: BTreeMap<String, outbox::NewMail> = BTreeMap::new();
    for recipient in letter.recipients {
        let to = compose::mailbox(recipient, "an address in `recipients`")?;
        allowed(&to, settings)?;
        let address = to.email.to_string();
        let as_of = format_instant(letter.as_of);
        // Each reads figures and files in a locale of their own.
        let locale = locale_of(letter.job, recipient);
        let files = in_locale(letter.files, letter.job, locale);
        let view = &view(facts, locale, letter.job.report.flood_limit, &files, place);
        let values = values(view, &files)?;
        let ids = Ids::new(
            content(facts.night.verdict),
            &letter.job.name,
            &view.business_day,
            &address,
            &as_of,
            &values,
            from.email.domain(),
        );
        let supersedes = match said_before(store, letter, &address, &ids)? {
            Before::Nothing => None,
            Before::TheSame => continue,
            Before::Other(message_id) => Some(message_id),
        };
        let envelope = Envelope {
            from: &from,
            to: &to,
            ids: &ids,
            supersedes: supersedes.as_deref(),
            as_of: letter.as_of,
            picture: &picture,
            zip_above_bytes: settings.zip_above_bytes,
            max_mail_bytes: settings.max_mail_bytes,
        };
        let message = compose::compose(view, &envelope, &files)?;
        let mail = outbox::NewMail {
            message_id: ids.message_id,
            job: letter.job.name.clone(),
            business_day: letter.business_day,
            recipient: address.clone(),
            message,
        };
        // The same address twice in a job file is one recipient.
        mails.insert(address, mail);
    }
    Ok(mails.into_values().collect())
}

/// What kind of news a verdict is. The same night told whole after it was told of as failed or cut short is news again.
fn content(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Failed => "failed",
        Verdict::Incomplete => "incomplete",
        Verdict::NotReconciled => "not reconciled",
        _ => "night",
    }
}

/// Recipients come from job files only, and only inside the allowed domains.
fn allowed(to: &lettre::message::Mailbox, settings: &Mail) -> Result<(), Failure> {
    let inside = settings
        .allowed_domains
        .iter()
        .any(|domain| domain.eq_ignore_ascii_case(to.email.domain()));
    if inside {
        return Ok(());
    }
    Err(Failure::new(
        Class::Config,
        "an address in `recipients` lies outside [mail] allowed_domains; correct the job file or allow its domain",
    ))
}

/// What a recipient was told about this business day before.
enum Before {
    Nothing,
    TheSame,
    /// Message-ID of the last mail, which said something else.
    Other(String),
}

fn said_before(store: &Store, letter: &Letter<'_>, recipient: &str, ids: &Ids) -> Result<Before, Failure> {
    let said: Vec<String> = store.read(|conn| {
        let mut statement = conn.prepare(
            "SELECT message_id FROM mails WHERE job = ?1 AND business_day = ?2 AND recipient = ?3
                AND substr(message_id, 1, length(?4)) <> ?4 ORDER BY mail_id",
        )?;
        let day = letter.business_day.to_string();
        let said = statement.query_map([letter.job.name.as_str(), &day, recipient, alert::PREFIX], |row| {
            row.get(0)
        })?;
        Ok(said.collect::<Result<_, _>>()?)
    })?;
    let part = |id: &str, nth: usize| id.trim_start_matches('<').split(['.', '@']).nth(nth).map(str::to_owned);
    if said.iter().any(|id| part(id, 0).as_ref() == Some(&ids.night)) {
        return Ok(Before::TheSame);
    }
    Ok(match said.last() {
        None => Before::Nothing,
        Some(last) if part(last, 1).as_ref() == Some(&ids.values) => Before::TheSame,
        Some(last) => Before::Other(last.clone()),
    })
}

/// Digest of what the night says, apart from when it was said: verdict, counts, sums, rows, and the files but for the
/// coverage (whose instants move with every reading).
fn values(view: &View, files: &[Produced]) -> Result<String, Failure> {
    let said = (
        &view.verdict,
        &view.headline,
        &view.counts,
        &view.lines,
        &view.new,
        &view.persisting,
        &view.resolved,
    );
    let rest = (&view.acknowledged, &view.pending, &view.proofs, view.complete);
    let text = serde_json::to_string(&(said, rest))
        .map_err(|_| Failure::new(Class::Internal, "the mail's values could not be written as JSON"))?;
    let mut parts = vec![text];
    // The workbook says what the CSVs say, the coverage among it.
    let moves = |name: &str| name.contains("_coverage.") || name.ends_with(".xlsx");
    for file in files.iter().filter(|file| !moves(&file.name)) {
        parts.push(file.name.clone());
        parts.push(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&file.bytes)));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(compose::digest(&parts, 16))
}
