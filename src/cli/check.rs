//! `check`: settings and jobs looked at; with `--online` each provider and the mail server too.

use reconciled::config::{JobSource, describe};
use reconciled::failure::{Class, Failure};
use reconciled::{fetch, mail};

use super::args::Args;
use super::{choose, last_line, load_to_run, say};

pub async fn check(args: &Args, names: &[String], online: bool) -> Result<u8, Failure> {
    let (settings, jobs) = load_to_run(args)?;
    let jobs = choose(jobs, names)?;
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
