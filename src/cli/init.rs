//! `init`: writes a commented configuration for chosen providers, and says what comes next. The texts are the repository's own
//! example files (`packaging/reconciled.toml`, `jobs/*.toml`); only places and references are filled in.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use reconciled::config::{self, JobSource, Ledger, LedgerColumn, section};
use reconciled::failure::{Class, Failure};
use reconciled::money::Unit;
use reconciled::record::{Direction, LedgerStatus};

use super::args::{InitArgs, SecretForm};
use super::say;

const SETTINGS: &str = include_str!("../../packaging/reconciled.toml");

/// Name and text of every example job; the folder `jobs/` is the only list of them.
const JOBS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/example_jobs.rs"));

/// Where the package's units look for the settings, and where they let the worker write.
const SYSTEM: (&str, &str, &str) = ("/etc/reconciled", "/var/lib/reconciled", "/var/lib/reconciled-shared");

/// What must not get into a repository or a copy for somebody else.
const IGNORE: &str =
    "# Secrets, books and what is made from them.\ncredentials/\nledger/\nbank/\nmail/\nout/\n*.db\n*.db-*\n";

/// An example job under the name of its file.
struct Example {
    name: &'static str,
    /// Its `[provider] kind`; None compares across the others.
    kind: Option<&'static str>,
    text: String,
}

/// `reconciled init`.
pub fn init(wanted: &InitArgs) -> Result<u8, Failure> {
    let places = Places::of(wanted)?;
    let examples = choose(&wanted.provider)?;
    let mut files = vec![
        (places.dir.join("reconciled.toml"), settings(&places)),
        (places.dir.join(".gitignore"), IGNORE.to_owned()),
    ];
    for example in &examples {
        let text = placed(&referenced(&example.text, wanted.secrets), &places);
        files.push((places.dir.join(format!("jobs/{}.toml", example.name)), text));
    }
    refuse_overwriting(&files)?;
    for (path, text) in &files {
        write(path, text)?;
    }
    let file = places.dir.join("reconciled.toml");
    let (_, jobs) = config::load(Some(&file)).map_err(|problems| unfit(&problems))?;
    for job in jobs.iter().filter(|job| examples.iter().any(|e| e.name == job.name)) {
        let table = match &job.source {
            JobSource::File(feed) => Some(&feed.table),
            _ => job.ledger.as_ref(),
        };
        if let Some(table) = table {
            let path = places.dir.join(format!("ledger-examples/{}.csv", job.name));
            write(&path, &ledger_example(table, job.fetch.start))?;
            files.push((path, String::new()));
        }
    }
    if wanted.secrets != SecretForm::Env {
        make_folder(&places.dir.join("credentials"), 0o700)?;
    }
    say(&next_steps(&places, &files, wanted.secrets));
    Ok(0)
}

/// Where the settings lie, where the books, and where what people read.
struct Places {
    dir: PathBuf,
    /// None: beside the settings, by relative paths.
    state: Option<(String, String)>,
    system: bool,
}

impl Places {
    fn of(wanted: &InitArgs) -> Result<Self, Failure> {
        let system = wanted.dir == Path::new(SYSTEM.0);
        let state = wanted.state.clone().or(system.then(|| PathBuf::from(SYSTEM.1)));
        let shared = wanted.shared.clone().or(system.then(|| PathBuf::from(SYSTEM.2)));
        let state = match state {
            None if shared.is_some() => {
                return Err(Failure::new(Class::Usage, "--shared goes with --state; name both"));
            }
            None => None,
            Some(state) => {
                let shared = shared.unwrap_or_else(|| state.clone());
                Some((as_toml(&state)?, as_toml(&shared)?))
            }
        };
        Ok(Self {
            dir: wanted.dir.clone(),
            state,
            system,
        })
    }
}

/// An absolute path as it may stand between quotes in a settings file.
fn as_toml(path: &Path) -> Result<String, Failure> {
    let plain = |text: &&str| text.starts_with('/') && !text.contains(['"', '\\']) && !text.contains(char::is_control);
    match path.to_str().filter(plain) {
        Some(text) => Ok(text.trim_end_matches('/').to_owned()),
        None => Err(Failure::new(
            Class::Usage,
            format!("{} is no absolute path without quotes and backslashes", path.display()),
        )),
    }
}

/// The example jobs of the kinds named; none named: all. What compares across jobs is there when two of its jobs are.
fn choose(kinds: &[String]) -> Result<Vec<Example>, Failure> {
    let all: Vec<Example> = JOBS
        .iter()
        .map(|&(name, text)| Example {
            name,
            kind: kind_of(text),
            text: text.to_owned(),
        })
        .collect();
    let known: BTreeSet<&str> = all.iter().filter_map(|example| example.kind).collect();
    if let Some(unknown) = kinds.iter().find(|kind| !known.contains(kind.as_str())) {
        let near = section::nearest(unknown, known.iter().copied());
        let list: Vec<&str> = known.into_iter().collect();
        return Err(Failure::new(
            Class::Usage,
            format!(
                "there is no provider {unknown:?}{near}; it is one of {}",
                list.join(", ")
            ),
        ));
    }
    let wanted =
        |example: &Example| kinds.is_empty() || example.kind.is_some_and(|kind| kinds.iter().any(|k| k == kind));
    let (mut chosen, across): (Vec<Example>, Vec<Example>) =
        all.into_iter().partition(|example| example.kind.is_some());
    chosen.retain(wanted);
    for mut example in across {
        if let Some(text) = across_chosen(&example.text, &chosen) {
            example.text = text;
            chosen.push(example);
        }
    }
    Ok(chosen)
}

/// The `kind` under `[provider]`.
fn kind_of(text: &'static str) -> Option<&'static str> {
    let (_, provider) = text.split_once("\n[provider]\n")?;
    let line = provider.lines().find_map(|line| line.strip_prefix("kind"))?;
    line.split('"').nth(1)
}

/// A job across others, its list cut down to those chosen; None where fewer than two are left.
fn across_chosen(text: &str, chosen: &[Example]) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("jobs = ["))?;
    let left: Vec<&str> = line
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|name| chosen.iter().any(|example| example.name == *name))
        .collect();
    (left.len() >= 2).then(|| text.replace(line, &format!("jobs = [\"{}\"]", left.join("\", \""))))
}

/// The settings with the places filled in.
fn settings(places: &Places) -> String {
    let Some((state, shared)) = &places.state else {
        return SETTINGS.to_owned();
    };
    let mut text = SETTINGS.to_owned();
    for (line, place) in [
        (
            "# database = \"reconciled.db\"",
            format!("database = \"{state}/reconciled.db\""),
        ),
        ("# out = \"out\"", format!("out = \"{shared}/out\"")),
        (
            "# published = \"reconciled-latest.db\"",
            format!("published = \"{shared}/reconciled-latest.db\""),
        ),
        ("# folder = \"mail\"", format!("folder = \"{state}/mail\"")),
    ] {
        text = text.replace(line, &place);
    }
    text
}

/// A job whose files lie below the state folder.
fn placed(text: &str, places: &Places) -> String {
    match &places.state {
        None => text.to_owned(),
        Some((state, _)) => text.replace("\npath = \"", &format!("\npath = \"{state}/")),
    }
}

/// A job whose secrets are referred to in the form wanted.
fn referenced(text: &str, form: SecretForm) -> String {
    let mut made = text.to_owned();
    for name in credentials(text) {
        let to = match form {
            SecretForm::Credential => continue,
            SecretForm::Env => format!("\"env:{}\"", variable(&name)),
            SecretForm::File => format!("\"file:credentials/{name}\""),
        };
        made = made.replace(&format!("\"credential:{name}\""), &to);
    }
    made
}

fn variable(credential: &str) -> String {
    credential.to_ascii_uppercase().replace(['-', '.'], "_")
}

/// Names of the credentials that the settings in force (not those in comments) refer to, sorted.
fn credentials(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once("\"credential:"))
        .filter_map(|(_, rest)| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn refuse_overwriting(files: &[(PathBuf, String)]) -> Result<(), Failure> {
    let there: Vec<String> = files
        .iter()
        .filter(|(path, _)| path.symlink_metadata().is_ok())
        .map(|(path, _)| path.display().to_string())
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Class::Config,
        format!(
            "{} exist already and nothing was written; name an empty folder and take from there what is missing",
            there.join(", ")
        ),
    ))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Class::LocalIo,
        format!("{} cannot be written: {}", path.display(), error.kind()),
    )
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| failed(path, &error))
}

/// Writes a file that is not there yet, for owner and group.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        make_folder(folder, 0o750)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
        .map_err(|error| failed(path, &error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| failed(path, &error))
}

/// The examples are tested; other files in the folder of jobs may still be wrong.
fn unfit(problems: &[section::Problem]) -> Failure {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::new(
        Class::Config,
        format!(
            "the files were written, but the settings do not hold as a whole: {}",
            all.join("; ")
        ),
    )
}

/// Two rows as this mapping wants them; for a query, what it must give.
fn ledger_example(table: &Ledger, start: reconciled::day::BusinessDay) -> String {
    let columns: Vec<(LedgerColumn, &str)> = table
        .columns
        .iter()
        .map(|(column, name)| (*column, name.as_str()))
        .collect();
    let delimiter = char::from(table.delimiter.unwrap_or(b','));
    let mut text = String::new();
    let mut line = |cells: Vec<String>| {
        let quoted = |cell: String| match cell.contains([delimiter, '"']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell,
        };
        let cells: Vec<String> = cells.into_iter().map(quoted).collect();
        let _ = writeln!(text, "{}", cells.join(&delimiter.to_string()));
    };
    line(columns.iter().map(|(_, name)| (*name).to_owned()).collect());
    for (number, direction) in [(1, Direction::In), (2, Direction::Out)] {
        line(
            columns
                .iter()
                .map(|(column, _)| cell(table, *column, number, direction, start))
                .collect(),
        );
    }
    text
}

fn cell(
    table: &Ledger,
    column: LedgerColumn,
    number: u32,
    direction: Direction,
    start: reconciled::day::BusinessDay,
) -> String {
    let sign = match direction == Direction::Out && table.directions.is_empty() {
        true => "-",
        false => "",
    };
    let money = |major: u32| match table.amount_unit {
        Unit::Minor => format!("{major}00"),
        _ => format!("{major}{}00", char::from(table.decimal)),
    };
    let word = |found: Option<&String>| found.cloned().unwrap_or_default();
    match column {
        LedgerColumn::Reference => format!("ORDER-{number}"),
        LedgerColumn::Amount => format!("{sign}{}", money(125 * number)),
        LedgerColumn::Currency => table
            .currency_default
            .map_or_else(|| "USD".to_owned(), |c| c.code().to_owned()),
        LedgerColumn::Direction => word(table.directions.iter().find(|(_, d)| **d == direction).map(|(w, _)| w)),
        LedgerColumn::Status => word(
            table
                .statuses
                .iter()
                .find(|(_, s)| **s == LedgerStatus::Settled)
                .map(|(w, _)| w),
        ),
        LedgerColumn::BookedAt => {
            let at = start.and_time(chrono::NaiveTime::MIN).and_utc();
            let format = table.date_format.as_deref().unwrap_or("%Y-%m-%dT%H:%M:%SZ");
            at.format(format).to_string()
        }
        LedgerColumn::ProviderId => format!("90000000{number}"),
        LedgerColumn::Fee => money(number),
        LedgerColumn::LedgerId => number.to_string(),
        LedgerColumn::Account => table.expected_account.clone().unwrap_or_else(|| "ACCOUNT".to_owned()),
        LedgerColumn::XExternalId | LedgerColumn::ReferenceNo => format!("{number:032}"),
    }
}

/// What was written, and the commands that come next.
fn next_steps(places: &Places, files: &[(PathBuf, String)], form: SecretForm) -> String {
    let mut text = String::from("Written:\n");
    for (path, _) in files {
        let _ = writeln!(text, "  {}", path.display());
    }
    let dir = places.dir.display();
    let config = places.dir.join("reconciled.toml");
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (_, job) in files {
        names.extend(credentials(&job.replace("\"file:credentials/", "\"credential:")));
    }
    let _ = writeln!(
        text,
        "\nNext:\n\
         1. Look through these files: recipients and the domains mail may go to, base_url, the ledger's columns\n   \
            (ledger-examples/ shows one row in, one row out, as each mapping reads them)."
    );
    let check = match (form, places.system) {
        (SecretForm::Credential, true) => "sudo systemctl start reconciled-check.service; \
             sudo journalctl --output=cat -u reconciled-check.service"
            .to_owned(),
        (SecretForm::Credential, false) => format!(
            "CREDENTIALS_DIRECTORY={dir}/credentials reconciled --config {} check --online",
            config.display()
        ),
        _ => format!("reconciled --config {} check --online", config.display()),
    };
    if form == SecretForm::Env {
        let _ = writeln!(text, "2. Give the secrets, each typed without being shown:");
        for (_, job) in files {
            for line in job.lines().filter(|line| !line.trim_start().starts_with('#')) {
                if let Some(name) = line.split_once("\"env:").and_then(|(_, rest)| rest.split('"').next()) {
                    let _ = writeln!(text, "     read -rs {name} && export {name}");
                }
            }
        }
    } else if !names.is_empty() {
        let _ = writeln!(
            text,
            "2. Give the secrets: after each command paste one, then Enter and Ctrl-D:"
        );
        let sudo = if places.system { "sudo " } else { "" };
        for name in &names {
            let _ = writeln!(text, "     {sudo}install -m 600 /dev/stdin {dir}/credentials/{name}");
        }
    } else {
        let _ = writeln!(text, "2. No secret is needed.");
    }
    let _ = writeln!(
        text,
        "3. See that all holds, at the providers and the mail server too:\n     {check}"
    );
    let start = match places.system {
        true => "sudo systemctl enable --now reconciled.service\n     \
                 (or, with a timer instead: sudo systemctl enable --now reconciled-run.timer)"
            .to_owned(),
        false => check.replace("check --online", "run"),
    };
    let _ = writeln!(text, "4. Let the nights come:\n     {start}");
    text
}
