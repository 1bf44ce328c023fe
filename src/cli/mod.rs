//! The command line: results on stdout, everything else on stderr, sysexits as exit codes.

mod alert;
mod args;
mod bind_link;
mod books;
mod check;
mod desk;
mod init;
mod look;
mod progress;
mod run;
mod serve;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use reconciled::config::{self, Job, Problem, Settings};
use reconciled::failure::{Class, Failure};
use reconciled::journal::{self, Priority};
use tokio_util::sync::CancellationToken;

use args::{Args, AyoconnectCommand, Command};

/// How long the runtime may take to end blocking work after a stop.
const SHUTDOWN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Parses, runs, and turns what happened into an exit code.
pub fn main() -> u8 {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Class::Usage.code() } else { 0 };
        }
    };
    no_core_dump();
    start_log(&args);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!(
                "reconciled: the runtime cannot start ({}): too few threads or files allowed?",
                error.kind()
            ));
            return Class::LocalIo.code();
        }
    };
    let code = match runtime.block_on(dispatch(&args)).and_then(heard) {
        Ok(code) => code,
        Err(failure) => {
            last_line(&failure);
            failure.class.code()
        }
    };
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    code
}

/// A crash must not write secrets and books into a file (the units say the same by `LimitCORE=0`).
fn no_core_dump() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Taking rights away from oneself is always allowed; where it is not, the run is worth more than the limit.
    let _ = setrlimit(Resource::Core, none);
}

async fn dispatch(args: &Args) -> Result<u8, Failure> {
    match &args.command {
        Command::Demo { dir } => run::demo(dir, args.quiet).await,
        Command::Run(options) => run::run(args, options).await,
        Command::Serve => serve::serve(args).await,
        Command::Check { jobs, online } => check::check(args, jobs, *online).await,
        Command::Status { json, exit_code } => look::status(args, *json, *exit_code),
        Command::Discrepancies { what, filter } => look::discrepancies(args, what.as_ref(), filter),
        Command::Report {
            job,
            day,
            as_known_on: None,
        } => books::report(args, job, *day),
        Command::Report {
            job,
            day,
            as_known_on: Some(on),
        } => desk::as_known(args, job, *day, *on),
        Command::Decide { file, by } => desk::decide(args, file.as_deref(), by.as_deref()),
        Command::Close {
            job,
            through,
            by,
            with_open,
            note,
        } => desk::close(args, job, *through, by, *with_open, note.as_deref()),
        Command::Replay { jobs } => books::replay(args, jobs),
        Command::Verify { head } => books::verify(args, head.as_deref()),
        Command::Backup { file } => books::backup(args, file),
        Command::Sandbox { port, script } => run::sandbox(*port, script.as_deref()).await,
        Command::Sql { check, job, as_of } => books::sql(args, check, job.as_deref(), *as_of),
        Command::Erase { subject, dry_run } => books::erase(args, subject, *dry_run),
        Command::Prune { dry_run } => books::prune(args, *dry_run),
        Command::Ayoconnect {
            what: AyoconnectCommand::BindLink(wanted),
        } => bind_link::bind_link(args, wanted).await,
        Command::Completions { shell } => {
            args::completions(*shell);
            Ok(0)
        }
        Command::Man { dir } => args::man(dir.as_deref()).map(|()| 0),
        Command::Init(wanted) => init::init(wanted),
        Command::Alert { unit } => alert::alert(args, unit).await,
    }
}

/// Settings and jobs, or every problem at once on stderr.
fn load(args: &Args) -> Result<(Settings, Vec<Job>), Failure> {
    let mail_wanted = match &args.command {
        Command::Run(options) => !options.no_mail,
        Command::Serve | Command::Check { .. } => true,
        _ => false,
    };
    config::load_for(args.config.as_deref(), mail_wanted).map_err(|problems| complain(&problems))
}

/// [`load`], and whether every report of the jobs can be made: for what runs jobs or says whether they could be run.
fn load_to_run(args: &Args) -> Result<(Settings, Vec<Job>), Failure> {
    let (settings, jobs) = load(args)?;
    let problems = report_problems(&settings, &jobs);
    if problems.is_empty() {
        return Ok((settings, jobs));
    }
    Err(complain(&problems))
}

fn report_problems(settings: &Settings, jobs: &[Job]) -> Vec<Problem> {
    let mut reports: Vec<String> = jobs.iter().flat_map(|job| job.report.reports.clone()).collect();
    reports.sort();
    reports.dedup();
    let mut problems = reconciled::report::problems(&reports, settings.reports.as_deref());
    for problem in &mut problems {
        problem.file = settings.shown(Path::new(&problem.file)).display().to_string();
    }
    problems
}

fn complain(problems: &[Problem]) -> Failure {
    for problem in problems {
        tell(&problem.to_string());
    }
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    Failure::new(
        Class::Config,
        format!("{count} {noun} in the settings, named above; nothing was done"),
    )
}

/// The jobs named, in the order of the files; none named: all.
fn choose(jobs: Vec<Job>, names: &[String]) -> Result<Vec<Job>, Failure> {
    for name in names {
        if !jobs.iter().any(|job| job.name == *name) {
            let near = config::section::nearest(name, jobs.iter().map(|job| job.name.as_str()));
            return Err(Failure::new(Class::Usage, format!("there is no job {name:?}{near}")));
        }
    }
    if names.is_empty() {
        return Ok(jobs);
    }
    Ok(jobs.into_iter().filter(|job| names.contains(&job.name)).collect())
}

/// The last line on stderr: what failed and whether the next run mends it.
fn last_line(failure: &Failure) {
    let mends = if failure.class.next_run_mends() && !says_what_comes(failure) {
        "; the next run mends it by itself"
    } else {
        ""
    };
    tell(&format!(
        "reconciled: {} [{} {}]{mends}",
        failure.message,
        failure.class.name(),
        failure.class.code()
    ));
}

/// Some sentences say themselves what becomes of it, and know better than the class.
fn says_what_comes(failure: &Failure) -> bool {
    ["next run", "not tried again"]
        .iter()
        .any(|words| failure.message.contains(words))
}

/// A line on stderr about something that is wrong.
fn tell(line: &str) {
    journal::tell(Priority::Error, line);
}

/// Results go to stdout; a closed pipe ends the writing, not the work.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if written.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe) {
        UNHEARD.store(true, Ordering::Relaxed);
    }
}

/// A result could not be written, though somebody wanted it.
static UNHEARD: AtomicBool = AtomicBool::new(false);

/// LOCAL-IO instead of success where a result was lost.
fn heard(code: u8) -> Result<u8, Failure> {
    if code == 0 && UNHEARD.load(Ordering::Relaxed) {
        let lost = "stdout cannot be written (a full disk?), so the result is lost; what the command did is done, see `status`";
        return Err(Failure::new(Class::LocalIo, lost));
    }
    Ok(code)
}

/// Prints JSON on one line.
fn say_json(value: &serde_json::Value) {
    say(&format!("{value}\n"));
}

/// A token that the first SIGTERM or SIGINT cancels; `at_hangup`: a SIGHUP, too, unless it was told to outlive its terminal
/// (`nohup`).
fn stop_on_signal(at_hangup: bool) -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
    if at_hangup && !is_ignored(SignalKind::hangup()) {
        kinds.push(SignalKind::hangup());
    }
    for mut asked in kinds.into_iter().flat_map(signal) {
        let cancel = token.clone();
        tokio::spawn(async move {
            asked.recv().await;
            if !cancel.is_cancelled() {
                tracing::warn!("asked to stop: finishing the page at hand");
                cancel.cancel();
            }
        });
    }
    token
}

/// Whether this process was started with a signal ignored, proc(5).
fn is_ignored(kind: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or(0);
    mask & 1 << (kind.as_raw_value() - 1) != 0
}

/// The log: readable on a terminal, JSON when asked, fields and priorities where the journal listens; HTTP internals stay
/// quiet because they print headers.
fn start_log(args: &Args) {
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let level = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::new(format!("warn,reconciled={level}"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = tracing_subscriber::registry().with(filter);
    let started = match args.log_format {
        args::LogFormat::Json => log.with(lines.json()).try_init(),
        args::LogFormat::Text if journal::is_stderr() => match tracing_journald::layer() {
            Ok(fields) => log.with(fields).try_init(),
            // The socket is out of reach, the stream is not: priorities go in front of the lines.
            Err(_) => {
                let format = tracing_subscriber::fmt::format()
                    .with_ansi(false)
                    .without_time()
                    .with_target(false);
                log.with(lines.with_ansi(false).event_format(journal::Prefixed(format)))
                    .try_init()
            }
        },
        args::LogFormat::Text => {
            use std::io::IsTerminal;
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with(lines.with_ansi(colours).with_target(false)).try_init()
        }
    };
    if started.is_err() {
        tell("reconciled: the log was started already");
    }
}

/// `--config` or the default that exists, for commands that only need the database.
fn database(args: &Args) -> Result<(Settings, PathBuf), Failure> {
    let (settings, _) = load(args)?;
    let path = settings.database.clone();
    if !path.exists() {
        return Err(Failure::new(
            Class::LocalIo,
            format!("there is no database {} yet; `reconciled run` makes it", path.display()),
        ));
    }
    Ok((settings, path))
}
