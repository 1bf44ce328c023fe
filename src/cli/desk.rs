//! `decide`, `close`, and the decisions of `discrepancies ack` and `reopen`: what people say about the books.

use std::path::Path;

use chrono::{NaiveDate, Utc};
use reconciled::config::{Job, Settings};
use reconciled::day::{Instant, day_of};
use reconciled::desk::{self, Decision, Receipt, close as closing, inbox, known};
use reconciled::failure::{Class, Failure};
use reconciled::store::{InstanceLock, Store, backup};

use super::args::Args;
use super::{choose, database, load, say};

/// The wall clock to the millisecond, as the books keep it.
pub(super) fn now() -> Instant {
    let now = Utc::now();
    chrono::DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Class::Usage, message)
}

/// Settings, jobs and the database for writing, with nobody else at it.
struct Books {
    settings: Settings,
    jobs: Vec<Job>,
    store: Store,
    _lock: InstanceLock,
}

fn books(args: &Args) -> Result<Books, Failure> {
    let (settings, jobs) = load(args)?;
    if !settings.database.exists() {
        return Err(Failure::new(
            Class::LocalIo,
            format!(
                "there is no database {} yet; `reconciled run` makes it",
                settings.database.display()
            ),
        ));
    }
    let lock = InstanceLock::take(&settings.database)?;
    let store = Store::open(&settings.database)?;
    Ok(Books {
        settings,
        jobs,
        store,
        _lock: lock,
    })
}

/// A name that can stand in the books.
fn name(by: &str) -> Result<&str, Failure> {
    let by = by.trim();
    if by.is_empty() || by.chars().any(char::is_control) {
        return Err(usage("--by must name a person or a team, in one line"));
    }
    Ok(by)
}

/// Analysts see what was decided at once.
fn publish(books: &Books) -> Result<(), Failure> {
    match &books.settings.published {
        Some(path) => backup::publish(&books.store, path),
        None => Ok(()),
    }
}

/// `reconciled decide [FILE] --by NAME`.
pub fn decide(args: &Args, file: Option<&Path>, by: Option<&str>) -> Result<u8, Failure> {
    let books = books(args)?;
    let receipts = match file {
        Some(file) => vec![one_file(&books, file, by)?],
        None => whole_inbox(&books, by)?,
    };
    for receipt in &receipts {
        say(&receipt.text());
    }
    if receipts.is_empty() {
        say("the drop folder is empty: nothing to take in\n");
    }
    publish(&books)?;
    let refused: usize = receipts.iter().map(|receipt| receipt.refused.len()).sum();
    let unreadable = receipts.iter().filter(|receipt| receipt.unreadable.is_some()).count();
    if refused + unreadable == 0 {
        return Ok(0);
    }
    let mut what = Vec::new();
    if refused > 0 {
        what.push(format!(
            "{refused} {} refused",
            if refused == 1 { "decision was" } else { "decisions were" }
        ));
    }
    if unreadable > 0 {
        what.push(format!(
            "{unreadable} {} not readable",
            if unreadable == 1 { "file is" } else { "files are" }
        ));
    }
    Err(Failure::new(
        Class::Data,
        format!(
            "{}, named above with the reason; everything else was taken in, correct and return these again",
            what.join(" and ")
        ),
    ))
}

fn one_file(books: &Books, file: &Path, by: Option<&str>) -> Result<Receipt, Failure> {
    let by = by.ok_or_else(|| usage("who decided? say it with --by NAME"))?;
    let unread =
        |error: std::io::Error| usage(format!("the sheet {} cannot be read: {}", file.display(), error.kind()));
    let size = std::fs::metadata(file).map_err(unread)?;
    if !size.is_file() || size.len() > desk::MOST_BYTES {
        return Err(usage(format!(
            "{} is no file, or larger than {} MB; return the discrepancies sheet",
            file.display(),
            desk::MOST_BYTES >> 20
        )));
    }
    let bytes = std::fs::read(file).map_err(unread)?;
    let name_of = file.file_name().unwrap_or_default().to_string_lossy();
    desk::take_in(&books.store, &books.jobs, &name_of, &bytes, name(by)?, now())
}

fn whole_inbox(books: &Books, by: Option<&str>) -> Result<Vec<Receipt>, Failure> {
    let desk = &books.settings.desk;
    let Some(folder) = &desk.inbox else {
        return Err(usage(
            "no FILE was named and the settings name no drop folder; name a file, or set [desk] inbox = \"returned\"",
        ));
    };
    let by = by
        .or(desk.by.as_deref())
        .ok_or_else(|| usage("who decided? say it with --by NAME, or set [desk] by"))?;
    let wall = std::time::SystemTime::now();
    let quiet = std::time::Duration::ZERO;
    let taken = inbox::take_in_all(&books.store, &books.jobs, folder, name(by)?, now(), wall, quiet)?;
    for (_, place) in &taken {
        say(&format!("{} and its receipt beside it\n", place.display()));
    }
    Ok(taken.into_iter().map(|(receipt, _)| receipt).collect())
}

/// `reconciled discrepancies ack|reopen ID`, in the name of the person at the keyboard unless another is given.
pub fn decide_one(
    args: &Args,
    id: &str,
    decision: Decision,
    note: Option<&str>,
    by: Option<&str>,
) -> Result<u8, Failure> {
    let note = note.map(str::trim).filter(|note| !note.is_empty());
    if decision == Decision::Accept && note.is_none() {
        return Err(usage(
            "an acknowledgement needs a note: who reads it later must know why",
        ));
    }
    let books = books(args)?;
    let job: Option<String> = books.store.read(|conn| {
        let mut found = conn.prepare("SELECT job FROM discrepancies WHERE discrepancy_id = ?1")?;
        Ok(found.query_map([id], |row| row.get(0))?.next().transpose()?)
    })?;
    let zone = books
        .jobs
        .iter()
        .find(|j| Some(&j.name) == job.as_ref())
        .map_or(chrono_tz::UTC, |j| j.timezone);
    let user = std::env::var("USER").unwrap_or_else(|_| "operator".to_owned());
    let at = now();
    let wish = desk::Wish {
        decision,
        owner: None,
        note,
        actor: name(by.unwrap_or(&user))?,
        at,
        business_day: day_of(at, zone),
        source: "command",
        place: None,
    };
    desk::decide_one(&books.store, id, &wish)?;
    say(&format!(
        "{id} {}\n",
        if decision == Decision::Accept {
            "acknowledged"
        } else {
            "reopened"
        }
    ));
    Ok(0)
}

/// `reconciled close JOB --through DAY --by NAME`.
pub fn close(
    args: &Args,
    job: &str,
    through: NaiveDate,
    by: &str,
    with_open: bool,
    note: Option<&str>,
) -> Result<u8, Failure> {
    let books = books(args)?;
    let jobs = choose(books.jobs.clone(), &[job.to_owned()])?;
    let Some(job) = jobs.first() else {
        return Err(usage(format!("there is no job {job:?}")));
    };
    let wanted = closing::Closing {
        job,
        through,
        by: name(by)?,
        at: now(),
        note: note.map(str::trim).filter(|note| !note.is_empty()),
        with_open,
    };
    let closed = closing::close(&books.store, &wanted)?;
    publish(&books)?;
    let carried = match closed.carried {
        0 => "no open discrepancies".to_owned(),
        n => format!("{n} open discrepancies carried forward"),
    };
    say(&format!(
        "{}: closed from {} through {through}; {carried}, {} acknowledged\naudit trail: {}\n",
        job.name, closed.from, closed.acknowledged, closed.head
    ));
    Ok(0)
}

/// `reconciled report JOB --as-known-on DAY [--day D]`.
pub fn as_known(args: &Args, job: &str, day: Option<NaiveDate>, on: NaiveDate) -> Result<u8, Failure> {
    let (settings, jobs) = load(args)?;
    let jobs = choose(jobs, &[job.to_owned()])?;
    let (_, path) = database(args)?;
    let store = Store::open_read_only(&path)?;
    let Some(job) = jobs.first() else {
        return Err(usage(format!("there is no job {job:?}")));
    };
    let answer = known::as_known(&store, job, day, on)?;
    let folders = [
        answer.day.to_string(),
        job.name.clone(),
        format!("as-known-on-{}", answer.night),
    ];
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    for file in &answer.files {
        let path = reconciled::report::files::put(&settings.out, &folders, &file.name, &file.bytes)?;
        say(&format!("{}\n", path.display()));
    }
    for sentence in &answer.says {
        say(&format!("{sentence}\n"));
    }
    Ok(0)
}
