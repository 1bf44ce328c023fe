//! `serve`: until a signal.

use std::io::IsTerminal;

use reconciled::failure::Failure;
use reconciled::journal::{self, Priority};
use reconciled::serve::outlook;

use super::args::Args;
use super::{load_to_run, report_problems, stop_on_signal};

pub async fn serve(args: &Args) -> Result<u8, Failure> {
    let (settings, jobs) = load_to_run(args)?;
    let config = args.config.clone();
    let reload = move || {
        let (settings, jobs) = reconciled::config::load(config.as_deref())?;
        match report_problems(&settings, &jobs) {
            problems if problems.is_empty() => Ok((settings, jobs)),
            problems => Err(problems),
        }
    };
    if std::io::stderr().is_terminal() && !args.quiet {
        // Whoever tries it by hand would see nothing until the first night.
        let (jobs, next) = (jobs.len(), outlook(&jobs, chrono::Utc::now()));
        journal::tell(
            Priority::Info,
            &format!("serving, jobs: {jobs}; {next}; Ctrl-C ends it"),
        );
    }
    reconciled::serve::serve(settings, jobs, reload, stop_on_signal(false))
        .await
        .map(|()| 0)
}
