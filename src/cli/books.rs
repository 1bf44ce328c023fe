//! `report`, `replay`, `verify`, `backup`, `sql`: the books looked at again.

use std::path::Path;

use chrono::NaiveDate;
use reconciled::compare;
use reconciled::day::{Instant, last_day_over};
use reconciled::failure::{Class, Failure};
use reconciled::report as reports;
use reconciled::store::{Store, audit, backup as copies, replay as replays, verify as checks};
use reconciled::{erase as erasing, retention};

use super::args::Args;
use super::{choose, database, load, say};

/// `reconciled report JOB [--day D]`: the frozen files of a job's day, and the day's page.
pub fn report(args: &Args, job: &str, day: Option<NaiveDate>) -> Result<u8, Failure> {
    let (settings, jobs) = load(args)?;
    choose(jobs, &[job.to_owned()])?;
    let (_, path) = database(args)?;
    let store = Store::open_read_only(&path)?;
    let day = match day {
        Some(day) => day,
        None => last_reported(&store, job)?,
    };
    let files = reports::again(&store, job, day)?;
    if files.is_empty() {
        let ran = store.read(|conn| {
            let sql = "SELECT 1 FROM runs WHERE job = ?1 AND business_day = ?2 AND finished_at IS NOT NULL";
            Ok(conn.prepare(sql)?.exists([job, &day.to_string()])?)
        })?;
        let why = if ran {
            format!(
                "no report files of {job} for {day} are in the database: the night failed, or they were pruned ([retention] \
                 files_days); nothing was written, --as-known-on says what is known without them"
            )
        } else {
            format!("{job} was not reported for the business day {day}; nothing was written")
        };
        return Err(Failure::new(Class::Usage, why));
    }
    let mut written = reports::write_files(&settings.out, day, job, &files)?;
    written.push(reports::write_index(&store, &settings.out, day)?);
    for path in written {
        say(&format!("{}\n", path.display()));
    }
    Ok(0)
}

fn last_reported(store: &Store, job: &str) -> Result<NaiveDate, Failure> {
    let day: Option<String> = store.read(|conn| {
        Ok(
            conn.query_row("SELECT max(business_day) FROM files WHERE job = ?1", [job], |r| {
                r.get(0)
            })?,
        )
    })?;
    day.and_then(|day| day.parse().ok())
        .ok_or_else(|| Failure::new(Class::Usage, format!("no business day of {job} was reported yet")))
}

/// `reconciled replay [JOB…]`.
pub fn replay(args: &Args, names: &[String]) -> Result<u8, Failure> {
    let (_, jobs) = load(args)?;
    let jobs = choose(jobs, names)?;
    let (_, path) = database(args)?;
    let store = Store::open_read_only(&path)?;
    let mut differences = 0;
    for job in &jobs {
        let replayed = replays::replay(&store, job)?;
        for found in &replayed.differences {
            say(&format!(
                "{}: {} {}: {}\n",
                found.job, found.table, found.row, found.what
            ));
        }
        differences += replayed.differences.len();
        let left_out = match replayed.left_out {
            0 => String::new(),
            rows => format!(", {rows} rows of files have no pages and are left out"),
        };
        say(&format!(
            "{}: {} readings replayed, {} rows, {} differences{left_out}\n",
            job.name,
            replayed.readings,
            replayed.rows,
            replayed.differences.len()
        ));
    }
    if differences > 0 {
        return Err(Failure::new(
            Class::Internal,
            format!(
                "{differences} records are not what the archived pages say; the database was edited or a parser changed"
            ),
        ));
    }
    Ok(0)
}

/// `reconciled verify`.
pub fn verify(args: &Args, head: Option<&str>) -> Result<u8, Failure> {
    if let Some(head) = head.filter(|head| !audit::is_head(head)) {
        return Err(Failure::new(
            Class::Usage,
            format!("{head:?} is no head of an audit trail: it is NUMBER:HEX, as `verify` prints it"),
        ));
    }
    let (settings, jobs) = load(args)?;
    let (_, path) = database(args)?;
    let store = Store::open_read_only(&path)?;
    let mut findings = checks::verify(&store, &jobs)?;
    findings.extend(reconciled::desk::verify(&store)?);
    if let Some(head) = head.filter(|head| store.read(|conn| audit::holds(conn, head)).is_ok_and(|there| !there)) {
        findings.push(checks::Finding {
            check: "audit",
            place: "audit_trail".to_owned(),
            what: format!(
                "the head {head} does not stand in it any more: entries were cut off or the whole trail was built anew; \
                 restore a backup"
            ),
        });
    }
    let now = store.read(audit::head)?;
    say(&format!("audit trail: {} entries, head {now}\n", now.entries));
    for finding in &findings {
        say(&format!("{}: {}: {}\n", finding.check, finding.place, finding.what));
    }
    if findings.is_empty() {
        say(&format!("{}: whole\n", settings.database.display()));
        return Ok(0);
    }
    Err(Failure::new(
        Class::LocalIo,
        format!(
            "{} {} in {}, named above; restore a backup and run again, the gap is read anew",
            findings.len(),
            if findings.len() == 1 { "finding" } else { "findings" },
            path.display()
        ),
    ))
}

/// `reconciled backup FILE`.
pub fn backup(args: &Args, file: &Path) -> Result<u8, Failure> {
    let (_, path) = database(args)?;
    let store = Store::open_read_only(&path)?;
    copies::backup(&store, file)?;
    say(&format!("{}\n", file.display()));
    Ok(0)
}

/// `reconciled erase --subject TEXT [--dry-run]`.
pub fn erase(args: &Args, subject: &str, dry_run: bool) -> Result<u8, Failure> {
    let (settings, jobs) = load(args)?;
    database(args)?;
    let erased = erasing::erase(&settings, &jobs, subject, dry_run, chrono::Utc::now())?;
    let would = if dry_run { "would be " } else { "" };
    for (table, rows) in &erased.tables {
        say(&format!("{table}: {rows} {would}masked\n"));
    }
    for path in &erased.files {
        say(&format!("{} {would}written anew\n", path.display()));
    }
    if erased.tables.is_empty() && erased.files.is_empty() {
        say("the text stands nowhere; it is remembered as erased all the same\n");
    }
    for path in &erased.copies {
        say(&format!(
            "{} was kept by an upgrade and may still hold it: remove it\n",
            path.display()
        ));
    }
    say("out of reach of this program: the merchant's ledger, mails that were sent, backups, the journal\n");
    Ok(0)
}

/// `reconciled prune [--dry-run]`.
pub fn prune(args: &Args, dry_run: bool) -> Result<u8, Failure> {
    let (settings, _) = load(args)?;
    database(args)?;
    let pruned = retention::prune(&settings, dry_run, chrono::Utc::now())?;
    let would = if dry_run { "would be " } else { "" };
    for (what, number) in &pruned {
        say(&format!("{what}: {number} {would}removed\n"));
    }
    if pruned.is_empty() {
        say("nothing is older than [retention] says\n");
    }
    Ok(0)
}

/// As-of instant of a job's last run: with it a check gives what that run found.
fn last_night(database: &Path, job: &str) -> Result<Option<Instant>, Failure> {
    if !database.exists() {
        return Ok(None);
    }
    let as_of: Option<String> = Store::open_read_only(database)?.read(|conn| {
        let sql = "SELECT as_of FROM runs WHERE job = ?1 AND finished_at IS NOT NULL ORDER BY run_id DESC LIMIT 1";
        Ok(conn
            .prepare(sql)?
            .query_map([job], |row| row.get(0))?
            .next()
            .transpose()?)
    })?;
    Ok(as_of.as_deref().and_then(reconciled::day::parse_instant))
}

/// `reconciled sql CHECK`. Without an as-of instant: that of each job's last run.
pub fn sql(args: &Args, check: &str, job: Option<&str>, as_of: Option<Instant>) -> Result<u8, Failure> {
    if check == "list" {
        for (name, question, _) in compare::CHECKS {
            say(&format!("{name:24} {question}\n"));
        }
        return Ok(0);
    }
    let (settings, jobs) = load(args)?;
    let jobs = match job {
        Some(name) => choose(jobs, &[name.to_owned()])?,
        None => jobs,
    };
    for job in &jobs {
        let as_of = match as_of {
            Some(at) => at,
            None => last_night(&settings.database, &job.name)?.unwrap_or_else(chrono::Utc::now),
        };
        let day = last_day_over(as_of, job.fetch.settle, job.timezone);
        match compare::sql(check, job, as_of, day) {
            Some(text) => {
                if jobs.len() > 1 {
                    say(&format!("-- Job {}\n", job.name));
                }
                say(&text);
            }
            None => {
                let near =
                    reconciled::config::section::nearest(check, compare::CHECKS.iter().map(|(name, _, _)| *name));
                let message = format!("there is no check {check:?}{near}; `reconciled sql list` names them");
                return Err(Failure::new(Class::Usage, message));
            }
        }
    }
    Ok(0)
}
