//! `jobs/<name>.toml` -> [`Job`]: every default, every bound, every problem at once.
//!
//! The account's own settings are read by its provider ([`crate::providers::Entry`]); here they meet `[fetch]` and
//! `[http]`, and where both speak the stricter one holds. The name of a job is its file's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::section::nearest;
use super::settings::table;
use super::{Job, JobSource, Locale, Mail, Problem, Section, Settings, Source, address, file, locale};
use crate::schedule;

mod shape;
mod source;
mod tables;

/// When a job says nothing: half past two, after every provider's day has settled.
const DEFAULT_SCHEDULE: &str = "0 30 2 * * *";

/// Reports that need no definition of one's own.
pub const BUILT_IN_REPORTS: [&str; 4] = ["discrepancies", "summary", "statement", "coverage"];

/// Reads every job file, sorted by name; a job with problems is left out.
pub fn load_all(settings: &Settings) -> (Vec<Job>, Vec<Problem>) {
    let known = Known {
        settings_hold: true,
        mail_wanted: true,
    };
    load_each(settings, known)
}

/// What is known before the first job file is read.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// False when the settings themselves have problems; then nothing is said that follows from those.
    pub settings_hold: bool,
    /// False: recipients need no `[mail]`.
    pub mail_wanted: bool,
}

pub(super) fn load_each(settings: &Settings, known: Known) -> (Vec<Job>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut jobs = Vec::new();
    let files = match files(settings) {
        Ok(files) => files,
        Err(problem) => return (jobs, vec![problem]),
    };
    let names = files
        .iter()
        .map(|(name, path)| (name.clone(), compares_across(path)))
        .collect();
    let house = House {
        settings,
        known,
        names: &names,
    };
    for (name, path) in &files {
        match load(&house, name, path) {
            Ok(job) => jobs.push(job),
            Err(found) => problems.extend(found),
        }
    }
    share_lanes(&mut jobs);
    problems.sort();
    (jobs, problems)
}

/// What every job is seen against.
struct House<'h> {
    settings: &'h Settings,
    known: Known,
    /// Every job's name, those with problems included, and whether it compares across others.
    names: &'h BTreeMap<String, bool>,
}

/// A first look at a job file, before it is known whether it holds.
fn compares_across(path: &Path) -> bool {
    file::read(path, "").is_ok_and(|text| Section::parse(&Source { file: "", text: &text }).has("across"))
}

/// The job files by name. Hidden files and other endings are somebody else's.
fn files(settings: &Settings) -> Result<Vec<(String, PathBuf)>, Problem> {
    use std::os::unix::fs::PermissionsExt;
    let shown = settings.shown(&settings.jobs).display().to_string();
    let problem = |message: String| Problem {
        file: shown.clone(),
        line: 0,
        message,
    };
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            problem("does not exist; make this folder and put one TOML file per job into it".to_owned())
        }
        kind => problem(format!("cannot be read as a folder of job files: {kind}")),
    };
    let meta = std::fs::metadata(&settings.jobs).map_err(cannot)?;
    if meta.permissions().mode() & 0o002 != 0 {
        return Err(problem(format!(
            "can be changed by every user; run `chmod o-w {shown}`"
        )));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&settings.jobs).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if let Some(stem) = name.strip_suffix(".toml").filter(|_| !name.starts_with('.')) {
            files.push((stem.to_owned(), path));
        }
    }
    if files.is_empty() {
        return Err(problem("holds no job; put one TOML file per job into it".to_owned()));
    }
    files.sort();
    Ok(files)
}

/// Names that are safe as file names, in addresses of mails and in commands.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

fn load(house: &House<'_>, name: &str, path: &Path) -> Result<Job, Vec<Problem>> {
    let shown_path = house.settings.shown(path);
    let shown = shown_path.display().to_string();
    if !is_name(name) {
        return Err(vec![Problem {
            file: shown,
            line: 0,
            message: "names a job by its file name, which must be 1 to 64 of the letters a-z, digits and hyphens"
                .to_owned(),
        }]);
    }
    let text = file::read(path, &shown).map_err(|problem| vec![problem])?;
    let source = Source {
        file: &shown,
        text: &text,
    };
    let mut root = Section::parse(&source);
    let job = read(&mut root, house, name, shown_path);
    let problems = root.finish();
    match job {
        Some(job) if problems.is_empty() => Ok(job),
        _ => Err(problems),
    }
}

fn read(root: &mut Section<'_>, house: &House<'_>, name: &str, file: PathBuf) -> Option<Job> {
    let schedule = schedule_of(root);
    let missing_zone = !root.has("timezone");
    let timezone = root.zone("timezone");
    if missing_zone {
        root.problem("`timezone` is missing; it decides when a business day of this account begins");
    }
    let (recipients, recipient_locales) = recipients(root, house);
    let locale = locale_of(root);
    let source = source::source(root, house, name, timezone);
    let fetch = tables::fetch(root, house, source.as_ref());
    let folder = &house.settings.folder;
    let ledger = tables::ledger(root, source.as_ref(), folder, timezone);
    let matching = table(root, "match", |section| Some(tables::matching(section)));
    let report = table(root, "report", |section| Some(tables::report(section, house)));
    let (source, shape) = source?.finish()?;
    Some(Job {
        name: name.to_owned(),
        file,
        schedule: schedule?,
        timezone: timezone?,
        recipients,
        recipient_locales,
        locale,
        source,
        fetch: fetch?,
        ledger,
        matching: matching.unwrap_or_else(tables::usual_matching),
        report: report.unwrap_or_else(tables::usual_report),
        shape,
    })
}

fn schedule_of(root: &mut Section<'_>) -> Option<String> {
    let Some((text, line)) = root.text_line("schedule") else {
        return Some(DEFAULT_SCHEDULE.to_owned());
    };
    match schedule::parse(&text) {
        Ok(_) => Some(text),
        Err(why) => {
            root.problem_at(line, format!("`schedule` {why}"));
            None
        }
    }
}

fn locale_of(root: &mut Section<'_>) -> Locale {
    let Some((text, line)) = root.text_line("locale") else {
        return Locale::default();
    };
    locale::find(&text).unwrap_or_else(|why| {
        root.problem_at(line, format!("`locale` {why}"));
        Locale::default()
    })
}

/// Addresses, each allowed by `[mail] allowed_domains`: a typing error must not send figures to strangers. An entry is the
/// address alone, or `{ address = "…", locale = "de" }` for files in another locale than the job's.
fn recipients(root: &mut Section<'_>, house: &House<'_>) -> (Vec<String>, BTreeMap<String, Locale>) {
    let first_line = root.line_of("recipients");
    let listed = root.texts_or_tables("recipients", "address", "locale");
    if listed.as_ref().is_some_and(Vec::is_empty) {
        root.problem_at(
            first_line,
            "`recipients` is empty; name who is told, or remove the line: then nobody is".to_owned(),
        );
    }
    let listed = listed.unwrap_or_default();
    let mut recipients: Vec<String> = Vec::new();
    let mut locales = BTreeMap::new();
    for (text, locale, line) in listed {
        let said = text.escape_debug().to_string();
        if let Err(why) = address::check(&text) {
            root.problem_at(line, format!("the recipient \"{said}\" {why}"));
        } else if recipients.iter().any(|known| known.eq_ignore_ascii_case(&text)) {
            root.problem_at(line, format!("the recipient \"{said}\" stands here twice"));
        } else {
            if let Some(why) = forbidden(&text, house) {
                root.problem_at(line, format!("the recipient \"{said}\" {why}"));
            }
            match locale.as_deref().map(locale::find) {
                Some(Ok(own)) => drop(locales.insert(text.clone(), own)),
                Some(Err(why)) => root.problem_at(line, format!("the `locale` of the recipient \"{said}\" {why}")),
                None => {}
            }
            recipients.push(text);
        }
    }
    if !recipients.is_empty() && house.known.settings_hold && house.known.mail_wanted && house.settings.mail.is_none() {
        root.problem_at(
            first_line,
            "`recipients` are named, but the settings have no [mail]; add it, or remove the recipients".to_owned(),
        );
    }
    (recipients, locales)
}

fn forbidden(address: &str, house: &House<'_>) -> Option<String> {
    let mail: &Mail = house.settings.mail.as_ref().filter(|_| house.known.settings_hold)?;
    let domain = address::domain_of(address);
    if mail.allowed_domains.contains(&domain) {
        return None;
    }
    let near = nearest(&domain, mail.allowed_domains.iter().map(String::as_str));
    let all = match mail.allowed_domains.as_slice() {
        [] => "none".to_owned(),
        domains => domains.join(", "),
    };
    Some(format!(
        "is outside `[mail] allowed_domains` of the settings ({all}){near}"
    ))
}

/// Jobs of one account share one conversation: the strictest of them sets its pace.
fn share_lanes(jobs: &mut [Job]) {
    let mut strictest: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let lane = |job: &Job| match &job.source {
        JobSource::Provider(setup) => Some(setup.lane.clone()),
        _ => None,
    };
    for job in jobs.iter() {
        let Some(lane) = lane(job) else { continue };
        let seen = strictest.entry(lane).or_insert((u32::MAX, u32::MAX));
        *seen = (
            seen.0.min(job.fetch.requests_per_minute),
            seen.1.min(job.fetch.max_in_flight),
        );
    }
    for job in jobs.iter_mut() {
        if let Some((pace, in_flight)) = lane(job).and_then(|lane| strictest.get(&lane)) {
            (job.fetch.requests_per_minute, job.fetch.max_in_flight) = (*pace, *in_flight);
        }
    }
}
