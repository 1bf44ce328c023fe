//! Settings and jobs: the examples hold, defaults are the published ones, and no slip of the hand is silently taken for
//! another meaning.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use reconciled::config::{self, Job, JobSource, Settings};
use reconciled::day::parse_instant;
use reconciled::providers;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with settings and jobs, private as they must be.
struct Place(tempfile::TempDir);

impl Place {
    fn new(settings: &str, jobs: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::TempDir::new().unwrap());
        std::fs::create_dir(place.0.path().join("jobs")).unwrap();
        place.write("reconciled.toml", settings);
        for (name, text) in jobs {
            place.write(&format!("jobs/{name}.toml"), text);
        }
        place
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn load(&self) -> Result<(Settings, Vec<Job>), Vec<config::Problem>> {
        config::load(Some(&self.0.path().join("reconciled.toml")))
    }

    fn job(&self, name: &str) -> Job {
        let (_, jobs) = self.load().unwrap();
        jobs.into_iter().find(|job| job.name == name).unwrap()
    }
}

/// The settings that ship, beside the jobs that ship.
fn shipped() -> Place {
    let settings = std::fs::read_to_string(repository().join("packaging/reconciled.toml")).unwrap();
    let place = Place::new(&settings, &[]);
    for entry in std::fs::read_dir(repository().join("jobs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        place.write(&format!("jobs/{name}"), &std::fs::read_to_string(&path).unwrap());
    }
    place
}

/// An example with every `# key = value` of its comments switched on: what the comments show must hold as well.
fn switched_on(text: &str) -> String {
    let setting = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let (key, _) = rest.split_once(" = ")?;
        let plain = !key.trim().is_empty() && key.trim().bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b));
        plain.then(|| rest.to_owned())
    };
    text.lines()
        .map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n")
        .collect()
}

#[test]
fn every_example_that_ships_is_accepted() {
    let place = shipped();
    let (_, jobs) = place.load().unwrap_or_else(|problems| panic!("{problems:#?}"));
    for entry in providers::REGISTRY {
        let has_example = |job: &Job| matches!(&job.source, JobSource::Provider(p) if p.provider.name() == entry.name);
        assert!(jobs.iter().any(has_example), "no example job for {}", entry.name);
    }
    assert!(jobs.iter().any(|job| matches!(job.source, JobSource::File(_))));
    assert!(jobs.iter().any(|job| matches!(job.source, JobSource::Across(_))));
}

#[test]
fn the_settings_in_the_comments_of_the_examples_hold_and_are_the_defaults() {
    let place = shipped();
    let (settings_before, before) = place.load().unwrap_or_else(|problems| panic!("{problems:#?}"));
    let settings = std::fs::read_to_string(place.0.path().join("reconciled.toml")).unwrap();
    place.write("reconciled.toml", &switched_on(&settings));
    for job in &before {
        let name = format!("jobs/{}.toml", job.name);
        let text = std::fs::read_to_string(place.0.path().join(&name)).unwrap();
        let on = switched_on(&text);
        assert_ne!(on, text, "{name} shows no default");
        place.write(&name, &on);
    }
    let (settings_after, after) = place.load().unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(format!("{settings_before:#?}"), format!("{settings_after:#?}"));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(format!("{before:#?}"), format!("{after:#?}"));
    }
}

const SETTINGS: &str =
    "[mail]\ntransport = \"folder\"\nfrom = \"a@example.com\"\nallowed_domains = [\"example.com\"]\n";

const SMALLEST: &str = "timezone = \"UTC\"\n[provider]\nkind = \"file\"\npath = \"x.csv\"\ncurrency_default = \"GBP\"\n\
                        [provider.columns]\nreference = \"r\"\namount = \"a\"\n";

#[test]
fn mail_goes_to_the_domain_of_its_sender_unless_other_domains_are_allowed() {
    let job = format!("recipients = [\"boss@Example.com\"]\n{SMALLEST}");
    let mail = |more: &str| format!("[mail]\ntransport = \"folder\"\nfrom = \"Recon <a@Example.COM>\"\n{more}");
    let place = Place::new(&mail(""), &[("a", &job)]);
    let (settings, jobs) = place.load().unwrap();
    assert_eq!(settings.mail.unwrap().allowed_domains, ["example.com"]);
    assert_eq!(jobs[0].recipients, ["boss@Example.com"]);
    let place = Place::new(&mail("allowed_domains = [\"example.org\"]\n"), &[("a", &job)]);
    assert_eq!(place.load().unwrap_err().len(), 1);
}

#[test]
fn a_recipient_may_read_in_a_locale_of_their_own() {
    let job = format!(
        "locale = \"es-PE\"\nrecipients = [{{ address = \"ana@example.com\", locale = \"de\" }}, \"ben@example.com\", \
         {{ address = \"cho@example.com\" }}]\n{SMALLEST}"
    );
    let place = Place::new(SETTINGS, &[("a", &job)]);
    let (_, jobs) = place.load().unwrap();
    assert_eq!(
        jobs[0].recipients,
        ["ana@example.com", "ben@example.com", "cho@example.com"]
    );
    assert_eq!(jobs[0].locale.name, "es-PE");
    let own: Vec<(&str, &str)> = jobs[0]
        .recipient_locales
        .iter()
        .map(|(who, l)| (who.as_str(), l.name))
        .collect();
    assert_eq!(own, [("ana@example.com", "de")]);
}

#[test]
fn a_recipient_of_a_wrong_shape_is_named_with_its_line() {
    for (entry, why) in [
        (
            "{ address = \"a@example.com\", locale = \"ed\" }",
            "the `locale` of the recipient \"a@example.com\" is \"ed\"",
        ),
        (
            "{ adress = \"a@example.com\" }",
            "`recipients.adress` is not a setting; did you mean `address`?",
        ),
        ("{ locale = \"de\" }", "`recipients.address` is missing"),
        (
            "7",
            "`recipients` must hold texts or tables with `address` and `locale`, not a value of type integer",
        ),
        (
            "{ address = \"a@example.com\" }, \"A@example.com\"",
            "the recipient \"A@example.com\" stands here twice",
        ),
    ] {
        let place = Place::new(SETTINGS, &[("a", &format!("recipients = [{entry}]\n{SMALLEST}"))]);
        let problems = place.load().unwrap_err();
        assert!(
            problems
                .iter()
                .any(|problem| problem.line == 1 && problem.message.starts_with(why)),
            "{entry}: {problems:?}"
        );
    }
}

#[test]
fn recipients_need_mail_settings_only_where_mail_is_wanted() {
    let job = format!("recipients = [\"boss@example.com\"]\n{SMALLEST}");
    let place = Place::new("", &[("a", &job)]);
    assert_eq!(place.load().unwrap_err().len(), 1);
    let file = place.0.path().join("reconciled.toml");
    assert!(config::load_for(Some(&file), false).is_ok());
}

#[test]
fn settings_left_out_have_the_published_defaults() {
    let place = Place::new("", &[("a", SMALLEST)]);
    let (settings, jobs) = place.load().unwrap();
    let here = |name: &str| settings.folder.join(name);
    assert!(settings.folder.is_absolute());
    assert_eq!(settings.database, here("reconciled.db"));
    assert_eq!(settings.jobs, here("jobs"));
    assert_eq!(settings.out, here("out"));
    assert_eq!(settings.published, Some(here("reconciled-latest.db")));
    assert_eq!(settings.reports, None, "built in when the folder is absent");
    assert_eq!(settings.http.connect_timeout.as_secs(), 10);
    assert_eq!(settings.http.request_timeout.as_secs(), 30);
    assert_eq!(settings.http.max_body_bytes, 33_554_432);
    assert_eq!(settings.http.retry_budget.as_secs(), 600);
    assert!(settings.mail.is_none() && settings.http.proxy.is_none() && settings.alerts.heartbeat_url.is_none());
    let job = jobs.first().unwrap();
    assert_eq!(job.schedule, "0 30 2 * * *");
    assert_eq!(
        (job.locale.name, job.locale.decimal, job.locale.separator),
        ("en", '.', ',')
    );
    assert_eq!(job.matching.amount_tolerance, "0.00");
    assert_eq!(job.matching.grace_ledger.num_hours(), 24);
    assert_eq!(job.matching.grace_provider.num_hours(), 72);
    assert_eq!((job.matching.stale_pending_days, job.matching.suggest_days), (14, 2));
    assert_eq!(
        job.report.reports,
        ["discrepancies", "summary", "statement", "coverage"]
    );
    assert_eq!((job.report.flood_limit, job.report.reject_threshold), (200, 0));
    assert_eq!(job.fetch.settle.num_minutes(), 10);
}

#[test]
fn a_folder_of_reports_is_used_when_it_is_there_and_its_definitions_can_be_named() {
    let place = Place::new("", &[("a", &format!("{SMALLEST}[report]\nreports = [\"vat\"]\n"))]);
    assert!(place.load().is_err());
    std::fs::create_dir(place.0.path().join("reports")).unwrap();
    place.write("reports/vat.sql", "SELECT 1");
    let (settings, jobs) = place.load().unwrap();
    assert_eq!(settings.reports, Some(settings.folder.join("reports")));
    assert_eq!(jobs.first().unwrap().report.reports, ["vat"]);
}

#[test]
fn what_decides_about_requests_is_in_the_shape_and_nothing_else() {
    let shape = |text: &str| Place::new(SETTINGS, &[("a", text)]).job("a").shape;
    // The folder of a place is part of a file's path; an absolute path keeps it out.
    let text = SMALLEST.replace("x.csv", "/data/x.csv");
    let base = shape(&text);
    assert_eq!(base.len(), 64);
    assert_eq!(
        shape(&format!(
            "recipients = [\"a@example.com\"]\n{text}[match]\nsuggest_days = 0\n"
        )),
        base
    );
    assert_ne!(shape(&text.replace("/data/x", "/data/y")), base);
    assert_ne!(shape(&text.replace("\"r\"", "\"s\"")), base);
}

#[test]
fn a_sentence_about_every_job_is_written_for_check() {
    let place = shipped();
    let (settings, jobs) = place.load().unwrap_or_else(|problems| panic!("{problems:#?}"));
    let now = parse_instant("2026-03-05T12:00:00Z").unwrap();
    let text = config::describe::describe(&settings, &jobs, now);
    for job in &jobs {
        assert!(text.contains(&format!("\n{}\n", job.name)), "{text}");
        assert!(text.contains(&job.timezone.to_string()), "{text}");
    }
    assert_eq!(text.matches("next run").count(), jobs.len());
    assert_eq!(text, config::describe::describe(&settings, &jobs, now));
    assert!(!text.contains(&*place.0.path().join("jobs").to_string_lossy().replace("/jobs", "/x")));
}

#[test]
fn check_says_of_a_job_that_nobody_is_mailed() {
    let now = parse_instant("2026-03-05T12:00:00Z").unwrap();
    let (settings, jobs) = Place::new(SETTINGS, &[("a", SMALLEST)]).load().unwrap();
    let text = config::describe::describe(&settings, &jobs, now);
    assert!(text.contains("nobody: no mail tells of this job"), "{text}");
}

const TUPAY: &str =
    "timezone = \"America/Lima\"\n[provider]\nkind = \"tupay\"\naccess_key = \"env:A\"\nsecret_key = \"env:S\"\n";

/// `[provider]` and `[fetch]` lines of a TuPay job; requests per minute, look-back days, settling minutes, time-out.
fn limits(settings: &str, provider: &str, fetch: &str) -> (u32, i64, i64, u64) {
    let text = format!("{TUPAY}{provider}\n[fetch]\nstart = 2026-01-01\n{fetch}\n");
    let fetch = Place::new(settings, &[("a", &text)]).job("a").fetch;
    (
        fetch.requests_per_minute,
        fetch.lookback.num_days(),
        fetch.settle.num_minutes(),
        fetch.request_timeout.as_secs(),
    )
}

#[test]
fn what_is_said_twice_holds_in_its_stricter_form_and_what_is_said_once_holds() {
    let both = "max_rps = 1\nlookback_days = 30\nsettle_lag = \"20m\"\nrequest_timeout = \"20s\"";
    let fetch = "requests_per_minute = 600\nlookback_days = 7\nsettle_minutes = 5";
    assert_eq!(
        limits("", "", ""),
        (120, 60, 10, 30),
        "the defaults of the provider's document"
    );
    assert_eq!(limits("", both, ""), (60, 30, 20, 20));
    assert_eq!(limits("", "", fetch), (600, 7, 5, 30));
    assert_eq!(limits("", both, fetch), (60, 30, 20, 20));
    let stricter = "requests_per_minute = 10\nlookback_days = 90\nsettle_minutes = 30";
    assert_eq!(
        limits("[http]\nrequest_timeout_s = 15", both, stricter),
        (10, 90, 30, 15)
    );
    assert_eq!(limits("[http]\nrequest_timeout_s = 45", "", ""), (120, 60, 10, 45));
}

#[test]
fn jobs_of_one_account_share_a_lane_at_the_pace_of_the_strictest() {
    let slow = format!("{TUPAY}[fetch]\nstart = 2026-01-01\nrequests_per_minute = 10\nmax_in_flight = 1\n");
    let fast = format!("{TUPAY}[fetch]\nstart = 2026-01-01\nrequests_per_minute = 99\nmax_in_flight = 4\n");
    let other = fast.replace("env:A", "env:B");
    let place = Place::new("", &[("a", &slow), ("b", &fast), ("c", &other)]);
    let lane = |job: &Job| match &job.source {
        JobSource::Provider(setup) => setup.lane.clone(),
        _ => panic!("no provider"),
    };
    let (a, b, c) = (place.job("a"), place.job("b"), place.job("c"));
    assert_eq!(
        (lane(&a), a.fetch.requests_per_minute),
        (lane(&b), b.fetch.requests_per_minute)
    );
    assert_eq!((b.fetch.requests_per_minute, b.fetch.max_in_flight), (10, 1));
    assert_ne!(lane(&b), lane(&c));
    assert_eq!((c.fetch.requests_per_minute, c.fetch.max_in_flight), (99, 4));
}

#[test]
fn the_shape_of_an_api_job_follows_its_requests_and_not_its_pace() {
    let shape = |provider: &str, fetch: &str| {
        let text = format!("{TUPAY}{provider}\n[fetch]\nstart = 2026-01-01\n{fetch}\n");
        Place::new("", &[("a", &text)]).job("a").shape
    };
    let base = shape("", "");
    assert_eq!(shape("max_rps = 1\nstrict_balance = true", "max_in_flight = 3"), base);
    for other in [
        "base_url = \"https://example.com\"",
        "cashout_path = \"/v2/cashout\"",
        "window = \"7d\"",
        "country = \"CO\"",
        "timestamp_unit = \"ms\"",
    ] {
        assert_ne!(shape(other, ""), base, "{other}");
    }
}

// -- slips of the hand ----------------------------------------------------------------------------------------------------

/// Everything a job may say, in one file.
const FULL: &str = include_str!("cases/messages/job-every-setting-good.toml");

/// A line of a TOML file taken apart.
struct Line<'t> {
    key: &'t str,
    value: &'t str,
}

fn apart(line: &str) -> Option<Line<'_>> {
    let (key, value) = line.split_once(" = ")?;
    Some(Line { key, value })
}

/// One slip in one line: letters swapped, dropped, doubled or replaced in a key; a value of another type; a quote, a
/// bracket or the equals sign lost; a line written twice.
fn slip(line: &str, how: u8, place: usize) -> Option<String> {
    let dropped = |text: &str, at: usize| -> String {
        text.chars()
            .enumerate()
            .filter(|(i, _)| *i != at)
            .map(|(_, c)| c)
            .collect()
    };
    if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
        return Some(match how % 4 {
            0 => format!("[{}]", dropped(name, place % name.len())),
            1 => format!("[{name}"),
            2 => format!("{line}\n{line}"),
            _ => format!("[{name}x]"),
        });
    }
    let Line { key, value } = apart(line)?;
    let quotes: Vec<usize> = value
        .char_indices()
        .filter(|(_, c)| *c == '"')
        .map(|(i, _)| i)
        .collect();
    let brackets: Vec<usize> = value
        .char_indices()
        .filter(|(_, c)| "[]".contains(*c))
        .map(|(i, _)| i)
        .collect();
    let at = place % key.len();
    Some(match how % 12 {
        0 => format!("{} = {value}", dropped(key, at)),
        1 => format!("{}{}{} = {value}", &key[..at], &key[at..=at], &key[at..]),
        2 => format!("{}z{} = {value}", &key[..at], &key[at + 1..]),
        3 => format!("{} = {value}", key.to_uppercase()),
        4 => format!("{key} {value}"),
        5 => format!("{line}\n{line}"),
        6 => format!("{key} = {}", dropped(value, *quotes.get(place % quotes.len().max(1))?)),
        7 => format!(
            "{key} = {}",
            dropped(value, *brackets.get(place % brackets.len().max(1))?)
        ),
        8 => format!(
            "{key} = {}",
            if matches!(value, "true" | "false") { "1" } else { "true" }
        ),
        9 => format!("{key} = {{}}"),
        10 => format!("{key} = 1.5"),
        // Quotes round what had none; text in further quotes would be another text, no slip of type.
        _ if value.starts_with('"') => return None,
        _ => format!("{key} = \"{}\"", value.replace('"', "'")),
    })
}

/// Reads `text` as the job `case`; None when problems were found.
fn accepted(place: &Place, text: &str) -> Option<String> {
    place.write("jobs/case.toml", text);
    place.load().ok().map(|(_, jobs)| format!("{jobs:#?}"))
}

fn survives(place: &Place, original: &str, line_number: usize, how: u8, at: usize) -> Result<(), TestCaseError> {
    let Some(before) = accepted(place, original) else {
        return Err(TestCaseError::fail("the original is not accepted"));
    };
    let lines: Vec<&str> = original.lines().collect();
    let number = line_number % lines.len();
    let Some(changed) = lines.get(number).and_then(|line| slip(line, how, at)) else {
        return Ok(());
    };
    let mut text: Vec<&str> = lines.clone();
    text[number] = &changed;
    let text = text.join("\n");
    if let Some(after) = accepted(place, &text) {
        prop_assert_eq!(
            before,
            after,
            "line {} became {:?} and was accepted",
            number + 1,
            changed
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_slip_of_the_hand_is_silently_accepted_with_another_meaning(
        line in 0_usize..1000, how in any::<u8>(), at in any::<usize>(),
    ) {
        let place = Place::new(SETTINGS, &[]);
        survives(&place, FULL, line, how, at)?;
    }

    #[test]
    fn no_slip_in_an_example_is_silently_accepted_with_another_meaning(
        which in any::<prop::sample::Index>(), line in 0_usize..1000, how in any::<u8>(), at in any::<usize>(),
    ) {
        let place = shipped();
        let mut examples: Vec<PathBuf> =
            std::fs::read_dir(repository().join("jobs")).unwrap().map(|e| e.unwrap().path()).collect();
        examples.sort();
        let example = which.get(&examples);
        let text = switched_on(&std::fs::read_to_string(example).unwrap());
        survives(&place, &text, line, how, at)?;
    }

    #[test]
    fn any_bytes_give_settings_or_problems(text in "\\PC{0,80}") {
        let place = Place::new(&text, &[("a", &text)]);
        if let Err(problems) = place.load() {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|p| !p.message.contains('\n')), "{problems:?}");
        }
    }
}

#[test]
fn what_stands_in_place_of_a_column_may_stand_in_the_mapping_too() {
    let beside = SMALLEST;
    let within = beside.replacen("currency_default = \"GBP\"\n", "", 1).replacen(
        "[provider.columns]\n",
        "[provider.columns]\ncurrency_default = \"GBP\"\n",
        1,
    );
    assert_ne!(beside, within);
    let of = |text: &str| match Place::new("", &[("x", text)]).job("x").source {
        JobSource::File(feed) => feed.table.currency_default.map(|currency| currency.code().to_owned()),
        _ => None,
    };
    assert_eq!((of(beside), of(&within)), (Some("GBP".into()), Some("GBP".into())));
}
