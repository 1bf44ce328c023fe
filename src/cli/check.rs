//! `check`: settings and jobs looked at; with `--online` each provider and the mail server too.

use std::path::Path;

use reconciled::config::{Job, JobSource, Problem, SecretOrPlain, SecretRef, Settings, Transport, describe};
use reconciled::failure::{Class, Failure};
use reconciled::{fetch, mail};

use super::args::Args;
use super::{choose, complain, last_line, load_to_run, say, tell};

pub async fn check(args: &Args, names: &[String], online: bool) -> Result<u8, Failure> {
    let (settings, jobs) = load_to_run(args)?;
    let jobs = choose(jobs, names)?;
    let (unreadable, left) = secret_problems(&settings, &jobs);
    if !unreadable.is_empty() {
        return Err(complain(&unreadable));
    }
    if left > 0 && !args.quiet {
        tell(&format!(
            "reconciled: {left} credentials were not looked for: only a unit has them ($CREDENTIALS_DIRECTORY is not set). \
             Look with them: systemctl start reconciled-check.service"
        ));
    }
    if !args.quiet {
        say(&describe::describe(&settings, &jobs, chrono::Utc::now()));
    }
    if !online {
        return Ok(0);
    }
    let mut failures = Vec::new();
    for job in &jobs {
        let JobSource::Provider(setup) = &job.source else {
            continue;
        };
        let answer = match fetch::Client::new(setup, &settings.http, &job.fetch, &settings.folder) {
            Ok(client) => fetch::check_online(setup, &client).await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(lines) => lines.iter().for_each(|line| say(&format!("{}: {line}\n", job.name))),
            Err(failure) => failures.push(failure.at(&job.name)),
        }
    }
    if let Some(mail) = &settings.mail {
        match mail::check_online(mail, &settings.http, &settings.folder).await {
            Ok(line) => say(&format!("mail: {line}\n")),
            Err(failure) => failures.push(failure.at("mail")),
        }
    }
    failures.iter().for_each(last_line);
    Ok(Class::worst(failures.iter().map(|failure| failure.class)).map_or(0, Class::code))
}

/// Secrets that cannot be read, each with the place that refers to it; and how many credentials could not be looked for because
/// nobody gave this process any.
fn secret_problems(settings: &Settings, jobs: &[Job]) -> (Vec<Problem>, usize) {
    let mut wanted: Vec<(&Path, &SecretRef)> = Vec::new();
    if let Some(Transport::Smtp { username, password, .. }) = settings.mail.as_ref().map(|mail| &mail.transport) {
        if let Some(SecretOrPlain::Secret(secret)) = username {
            wanted.push((&settings.file, secret));
        }
        wanted.extend(password.iter().map(|secret| (settings.file.as_path(), secret)));
    }
    wanted.extend(
        settings
            .alerts
            .heartbeat_url
            .iter()
            .map(|secret| (settings.file.as_path(), secret)),
    );
    for job in jobs {
        if let JobSource::Provider(setup) = &job.source {
            wanted.extend(setup.secrets.values().map(|secret| (job.file.as_path(), secret)));
        }
    }
    let in_unit = std::env::var_os("CREDENTIALS_DIRECTORY").is_some();
    let (mut problems, mut left) = (Vec::new(), 0);
    for (file, secret) in wanted {
        match (secret, secret.read(&settings.folder)) {
            (SecretRef::Credential(_), Err(_)) if !in_unit => left += 1,
            (_, Err(message)) => problems.push(Problem {
                file: settings.shown(file).display().to_string(),
                line: line_of(file, secret),
                message,
            }),
            (_, Ok(_)) => {}
        }
    }
    problems.sort();
    (problems, left)
}

/// The line that refers to a secret; 0 when the file has changed since it was read.
fn line_of(file: &Path, secret: &SecretRef) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let quoted = format!("\"{secret}\"");
    let in_force = |line: &str| !line.trim_start().starts_with('#') && line.contains(&quoted);
    text.lines().position(in_force).map_or(0, |index| index + 1)
}
