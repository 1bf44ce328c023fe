//! `jobs/<name>.toml` -> [`Job`]: every default, every bound, every problem at once.
//!
//! The account's own settings are read by its provider ([`crate::providers::Entry`]); here they meet `[fetch]` and
//! `[http]`, and where both speak the stricter one holds. The name of a job is its file's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::section::nearest;
use super::settings::table;
use super::{
    Fetch, FileFeed, Job, JobSource, Locale, Mail, Match, Problem, ProviderSetup, Report, Section, Settings, Source,
    address, file, locale,
};
use crate::day::BusinessDay;
use crate::providers::{self, Built};
use crate::schedule;

mod shape;

/// When a job says nothing: half past two, after every provider's day has settled.
const DEFAULT_SCHEDULE: &str = "0 30 2 * * *";

/// Reports that need no definition of one's own.
pub const BUILT_IN_REPORTS: [&str; 4] = ["discrepancies", "summary", "statement", "coverage"];

/// Providers that `INTERFACE.md` names and this version does not read.
const LATER: [&str; 2] = ["twopay", "ayoconnect"];

/// Names under which a provider's document lets `[provider]` say what `[fetch]` and `[http]` say as well.
const PACE: &[&str] = &["max_rps", "requests_per_minute"];
const LOOKBACK: &[&str] = &["lookback_days", "late_change_days"];
const SETTLE: &[&str] = &["settle_lag"];
const TIMEOUT: &[&str] = &["request_timeout"];

/// Late changes are looked for this far back in files and across jobs.
const LOOKBACK_WITHOUT_API: TimeDelta = TimeDelta::days(60);
const SETTLE_WITHOUT_API: TimeDelta = TimeDelta::minutes(10);

/// Reads every job file, sorted by name; a job with problems is left out.
pub fn load_all(settings: &Settings) -> (Vec<Job>, Vec<Problem>) {
    load_each(settings, true)
}

/// `settings_hold`: false when the settings themselves have problems; then nothing is said that follows from those.
pub(super) fn load_each(settings: &Settings, settings_hold: bool) -> (Vec<Job>, Vec<Problem>) {
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
        settings_hold,
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
    settings_hold: bool,
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
    let recipients = recipients(root, house);
    let locale = locale_of(root);
    let source = source(root, house, name, timezone);
    let fetch = fetch(root, house, source.as_ref());
    let folder = &house.settings.folder;
    let ledger = ledger(root, source.as_ref(), folder, timezone);
    let matching = table(root, "match", |section| Some(matching(section)));
    let report = table(root, "report", |section| Some(report(section, house)));
    let (source, shape) = source?.finish();
    Some(Job {
        name: name.to_owned(),
        file,
        schedule: schedule?,
        timezone: timezone?,
        recipients,
        locale,
        source,
        fetch: fetch?,
        ledger,
        matching: matching.unwrap_or_else(usual_matching),
        report: report.unwrap_or_else(usual_report),
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

/// Addresses, each allowed by `[mail] allowed_domains`: a typing error must not send figures to strangers.
fn recipients(root: &mut Section<'_>, house: &House<'_>) -> Vec<String> {
    let first_line = root.line_of("recipients");
    let listed = root.list_lines("recipients").unwrap_or_default();
    let mut recipients: Vec<String> = Vec::new();
    for (text, line) in listed {
        let said = text.escape_debug().to_string();
        if let Err(why) = address::check(&text) {
            root.problem_at(line, format!("the recipient \"{said}\" {why}"));
        } else if recipients.iter().any(|known| known.eq_ignore_ascii_case(&text)) {
            root.problem_at(line, format!("the recipient \"{said}\" stands here twice"));
        } else {
            if let Some(why) = forbidden(&text, house) {
                root.problem_at(line, format!("the recipient \"{said}\" {why}"));
            }
            recipients.push(text);
        }
    }
    if !recipients.is_empty() && house.settings_hold && house.settings.mail.is_none() {
        root.problem_at(
            first_line,
            "`recipients` are named, but the settings have no [mail]; add it, or remove the recipients".to_owned(),
        );
    }
    recipients
}

fn forbidden(address: &str, house: &House<'_>) -> Option<String> {
    let mail: &Mail = house.settings.mail.as_ref().filter(|_| house.settings_hold)?;
    if mail.allowed_domains.is_empty() {
        return Some(
            "needs `[mail] allowed_domains` in the settings; name the domains that may receive mail".to_owned(),
        );
    }
    let domain = address::domain_of(address);
    if mail.allowed_domains.contains(&domain) {
        return None;
    }
    let near = nearest(&domain, mail.allowed_domains.iter().map(String::as_str));
    Some(format!("is outside `[mail] allowed_domains` of the settings{near}"))
}

// -- where the provider's side comes from ---------------------------------------------------------------------------------

/// A source as far as it is known before `[fetch]` was read.
enum Origin {
    Api {
        kind: &'static str,
        built: Built,
        said: Said,
    },
    Source {
        source: JobSource,
        shape: String,
    },
}

/// Which limits `[provider]` stated itself, as against defaults of its document.
#[derive(Clone, Copy, Default)]
struct Said {
    pace: bool,
    lookback: bool,
    settle: bool,
    timeout: bool,
}

impl Origin {
    fn finish(self) -> (JobSource, String) {
        match self {
            Self::Source { source, shape } => (source, shape),
            Self::Api { kind, built, .. } => {
                let shape = shape::of_provider(kind, &built);
                let lane = shape::lane(kind, built.base_url.as_str(), &built.account_key);
                let setup = ProviderSetup {
                    provider: built.provider,
                    base_url: built.base_url,
                    secrets: built.secrets,
                    lane,
                    strict_balance: built.strict_balance,
                };
                (JobSource::Provider(setup), shape)
            }
        }
    }
}

fn source(root: &mut Section<'_>, house: &House<'_>, name: &str, zone: Option<Tz>) -> Option<Origin> {
    let (has_provider, has_across) = (root.has("provider"), root.has("across"));
    let across_line = root.line_of("across");
    let provider = table(root, "provider", |section| provider(section, house, zone));
    let across = table(root, "across", |section| across(section, house, name));
    match (has_provider, has_across) {
        (true, true) => {
            root.problem_at(
                across_line,
                "`[across]` compares what other jobs stored; a job has either [provider] or [across]".to_owned(),
            );
            None
        }
        (false, false) => {
            root.problem("`[provider]` is missing (or `[across]`, to compare what other jobs stored)");
            None
        }
        _ => provider.or(across),
    }
}

fn provider(section: &mut Section<'_>, house: &House<'_>, zone: Option<Tz>) -> Option<Origin> {
    let line = section.line_of("kind");
    let Some(kind) = section.required("kind") else {
        section.set_aside();
        return None;
    };
    if kind == "file" {
        return file_feed(section, &house.settings.folder, zone);
    }
    let Some(entry) = providers::REGISTRY.iter().find(|entry| entry.name == kind) else {
        let known = || providers::REGISTRY.iter().map(|entry| entry.name).chain(["file"]);
        let message = if LATER.contains(&kind.as_str()) {
            format!("this version does not read {kind} yet")
        } else {
            let near = nearest(&kind, known().chain(LATER));
            let all: Vec<&str> = known().collect();
            let all = all.join(", ");
            format!("`provider.kind` is {kind:?}; it must be one of {all}{near}")
        };
        section.problem_at(line, message);
        section.set_aside();
        return None;
    };
    let any = |keys: &[&str]| keys.iter().any(|key| section.has(key));
    let said = Said {
        pace: any(PACE),
        lookback: any(LOOKBACK),
        settle: any(SETTLE),
        timeout: any(TIMEOUT),
    };
    let before = section.problem_count();
    match (entry.build)(section) {
        Some(built) => Some(Origin::Api {
            kind: entry.name,
            built,
            said,
        }),
        None => {
            if section.problem_count() == before {
                section.problem_at(line, format!("this version cannot read {kind}"));
                section.set_aside();
            }
            None
        }
    }
}

fn file_feed(section: &mut Section<'_>, folder: &Path, zone: Option<Tz>) -> Option<Origin> {
    let feed = word(section, "feed");
    let provider = word(section, "provider");
    let bank = section.boolean_or("bank", false);
    let feed = FileFeed {
        feed: feed?,
        provider: provider?,
        table: super::table::csv(section, folder, zone)?,
        bank,
    };
    Some(Origin::Source {
        shape: shape::of_file(&feed),
        source: JobSource::File(feed),
    })
}

/// A word that will stand in the database: `file` unless said otherwise.
fn word(section: &mut Section<'_>, key: &str) -> Option<String> {
    let line = section.line_of(key);
    let text = section.text_or(key, "file");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Some(text);
    }
    let full = section.full(key);
    section.problem_at(
        line,
        format!("`{full}` must be 1 to 64 of the letters a-z, digits, `_` and `-`"),
    );
    None
}

fn across(section: &mut Section<'_>, house: &House<'_>, own: &str) -> Option<Origin> {
    if !section.has("jobs") {
        section.problem("`across.jobs` is missing; name at least two jobs");
    }
    let line = section.line_of("jobs");
    let listed = section.list_lines("jobs")?;
    let mut jobs: Vec<String> = Vec::new();
    for (name, line) in listed {
        if name == own {
            section.problem_at(line, format!("`across.jobs` names {name:?}, which is this job itself"));
        } else if house.names.get(&name) == Some(&true) {
            section.problem_at(
                line,
                format!("`across.jobs` names {name:?}, which stores no records: it compares across jobs itself"),
            );
        } else if !house.names.contains_key(&name) {
            let others = house.names.keys().map(String::as_str).filter(|other| *other != own);
            let near = nearest(&name, others);
            section.problem_at(
                line,
                format!("`across.jobs` names {name:?}, but there is no such job{near}"),
            );
        } else if jobs.contains(&name) {
            section.problem_at(line, format!("`across.jobs` names {name:?} twice"));
        } else {
            jobs.push(name);
        }
    }
    if jobs.len() < 2 && section.problem_count() == 0 {
        section.problem_at(line, "`across.jobs` must name at least two jobs".to_owned());
    }
    Some(Origin::Source {
        shape: shape::of_across(&jobs),
        source: JobSource::Across(jobs),
    })
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

// -- the other tables -----------------------------------------------------------------------------------------------------

fn fetch(root: &mut Section<'_>, house: &House<'_>, origin: Option<&Origin>) -> Option<Fetch> {
    let api = match origin {
        Some(Origin::Api { built, said, .. }) => Some((built, *said)),
        _ => None,
    };
    // Without a source nothing is known about what it needs; its own problem has been named.
    let start_required = api.is_some();
    if !root.has("fetch") {
        if start_required {
            root.problem("`[fetch]` is missing; it must name `start`, the first business day ever wanted");
            return None;
        }
        return Some(without_api(None, None, None, house));
    }
    table(root, "fetch", |section| {
        let start = start(section, start_required);
        let lookback = section.integer("lookback_days", 0..=400).map(TimeDelta::days);
        let settle = section.integer("settle_minutes", 0..=1440).map(TimeDelta::minutes);
        let pace_line = section.line_of("requests_per_minute");
        let pace = count(section, "requests_per_minute", 60_000);
        let flight_line = section.line_of("max_in_flight");
        let in_flight = count(section, "max_in_flight", 64);
        if let Some((built, said)) = api {
            return Some(with_api(house, built, said, start?, lookback, settle, pace, in_flight));
        }
        if origin.is_some() {
            for (key, said, line) in [
                ("requests_per_minute", pace.is_some(), pace_line),
                ("max_in_flight", in_flight.is_some(), flight_line),
            ] {
                if said {
                    section.problem_at(
                        line,
                        format!("`fetch.{key}` has no meaning for a job that asks no API; remove it"),
                    );
                }
            }
        }
        Some(without_api(start, lookback, settle, house))
    })
}

fn count(section: &mut Section<'_>, key: &str, most: i64) -> Option<u32> {
    section.integer(key, 1..=most).and_then(|n| u32::try_from(n).ok())
}

fn start(section: &mut Section<'_>, required: bool) -> Option<BusinessDay> {
    if !section.has("start") {
        if required {
            section.problem("`fetch.start` is missing; name the first business day ever wanted, like 2026-01-31");
        }
        // Not asked for: the nearest name of a misspelt key still needs it.
        let _ = section.date("start");
        return None;
    }
    let line = section.line_of("start");
    let day = section.date("start")?;
    if !(2000..2200).contains(&chrono::Datelike::year(&day)) {
        section.problem_at(
            line,
            format!("`fetch.start` is {day}; it must lie between 2000-01-01 and 2199-12-31"),
        );
        return None;
    }
    Some(day)
}

/// Where both the job and the provider's table speak, the stricter one holds; where one speaks, it does; else the default
/// of the provider's document.
#[allow(clippy::too_many_arguments)] // One row of settings, each named at its only caller.
fn with_api(
    house: &House<'_>,
    built: &Built,
    said: Said,
    start: BusinessDay,
    lookback: Option<TimeDelta>,
    settle: Option<TimeDelta>,
    pace: Option<u32>,
    in_flight: Option<u32>,
) -> Fetch {
    let limits = &built.limits;
    // Stricter about late changes is: further back; about settling: longer.
    let longer = |job: Option<TimeDelta>, provider: TimeDelta, said: bool| match job {
        Some(job) if said => job.max(provider),
        Some(job) => job,
        None => provider,
    };
    let whole_answer = house.settings.http.request_timeout;
    Fetch {
        start,
        lookback: longer(lookback, limits.lookback, said.lookback),
        settle: longer(settle, limits.settle, said.settle),
        requests_per_minute: match pace {
            Some(job) if said.pace => job.min(limits.requests_per_minute),
            Some(job) => job,
            None => limits.requests_per_minute,
        },
        max_in_flight: in_flight.unwrap_or(limits.max_in_flight),
        request_timeout: limits
            .request_timeout
            .filter(|_| said.timeout)
            .map_or(whole_answer, |own: Duration| own.min(whole_answer)),
    }
}

fn without_api(
    start: Option<BusinessDay>,
    lookback: Option<TimeDelta>,
    settle: Option<TimeDelta>,
    house: &House<'_>,
) -> Fetch {
    Fetch {
        // Every row of a file is wanted unless said otherwise.
        start: start.unwrap_or_default(),
        lookback: lookback.unwrap_or(LOOKBACK_WITHOUT_API),
        settle: settle.unwrap_or(SETTLE_WITHOUT_API),
        requests_per_minute: 1,
        max_in_flight: 1,
        request_timeout: house.settings.http.request_timeout,
    }
}

fn ledger(root: &mut Section<'_>, origin: Option<&Origin>, folder: &Path, zone: Option<Tz>) -> Option<super::Ledger> {
    let line = root.line_of("ledger");
    let present = root.has("ledger");
    let ledger = table(root, "ledger", |section| super::table::ledger(section, folder, zone));
    let across = matches!(
        origin,
        Some(Origin::Source {
            source: JobSource::Across(_),
            ..
        })
    );
    if present && across {
        root.problem_at(
            line,
            "`[ledger]` has no meaning beside [across]; put it into the jobs that are compared".to_owned(),
        );
    }
    ledger
}

fn usual_matching() -> Match {
    Match {
        amount_tolerance: "0.00".to_owned(),
        grace_ledger: TimeDelta::hours(24),
        grace_provider: TimeDelta::hours(72),
        stale_pending_days: 14,
        suggest_days: 2,
    }
}

fn matching(section: &mut Section<'_>) -> Match {
    let usual = usual_matching();
    let amount_tolerance = tolerance(section).unwrap_or(usual.amount_tolerance);
    let hours = |section: &mut Section<'_>, key: &str, default: TimeDelta| {
        // A year: beyond it nothing would ever be found missing.
        section.integer(key, 0..=8784).map_or(default, TimeDelta::hours)
    };
    Match {
        amount_tolerance,
        grace_ledger: hours(section, "grace_ledger_hours", usual.grace_ledger),
        grace_provider: hours(section, "grace_provider_hours", usual.grace_provider),
        stale_pending_days: section.integer_or("stale_pending_days", usual.stale_pending_days, 0..=3650),
        suggest_days: section.integer_or("suggest_days", usual.suggest_days, 0..=60),
    }
}

/// Major units as text: a bare 0.05 would have gone through floating point.
fn tolerance(section: &mut Section<'_>) -> Option<String> {
    let (text, line) = section.text_line("amount_tolerance")?;
    let digits = |part: &str| (1..=12).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    if digits(whole) && digits(fraction) {
        return Some(text);
    }
    section.problem_at(
        line,
        format!("`match.amount_tolerance` is {text:?}; write major units with a point, like \"0.05\""),
    );
    None
}

fn usual_report() -> Report {
    Report {
        reports: BUILT_IN_REPORTS.iter().map(|name| (*name).to_owned()).collect(),
        flood_limit: 200,
        reject_threshold: 0,
    }
}

fn report(section: &mut Section<'_>, house: &House<'_>) -> Report {
    let usual = usual_report();
    let reports = match section.list_lines("reports") {
        Some(listed) => reports(section, listed, house),
        None => usual.reports,
    };
    let flood_limit = section.integer("flood_limit", 0..=10_000_000);
    let reject_threshold = section.integer("reject_threshold", 0..=1_000_000_000);
    Report {
        reports,
        flood_limit: flood_limit
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usual.flood_limit),
        reject_threshold: reject_threshold
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(usual.reject_threshold),
    }
}

/// Every report must have a definition: built in, or a `.sql` file in the settings' folder of reports.
fn reports(section: &mut Section<'_>, listed: Vec<(String, usize)>, house: &House<'_>) -> Vec<String> {
    let mut own: BTreeSet<String> = BTreeSet::new();
    let entries = house
        .settings
        .reports
        .as_ref()
        .and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        own.extend(name.strip_suffix(".sql").map(str::to_owned));
    }
    let mut reports: Vec<String> = Vec::new();
    for (name, line) in listed {
        let known = BUILT_IN_REPORTS.contains(&name.as_str()) || own.contains(&name);
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if reports.contains(&name) {
            section.problem_at(line, format!("`report.reports` names {name:?} twice"));
        } else if known && plain {
            reports.push(name);
        } else if house.settings_hold {
            let near = nearest(
                &name,
                BUILT_IN_REPORTS.into_iter().chain(own.iter().map(String::as_str)),
            );
            section.problem_at(
                line,
                format!("`report.reports` names {name:?}, which is neither built in nor a .sql file of the settings' reports folder{near}"),
            );
        }
    }
    reports
}
