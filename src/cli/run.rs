//! `run`, `demo` and `sandbox`.

use std::fmt::Write;
use std::path::Path;

use reconciled::config::{Job, JobSource, ProviderSetup, Settings};
use reconciled::day::{Instant, format_instant, last_day_over};
use reconciled::failure::{Class, Failure};
use reconciled::monitor::metrics;
use reconciled::providers::Shape;
use reconciled::run::{JobOutcome, Options, run_jobs};
use reconciled::store::{self, Store, runs};
use reconciled::{alert, demo as demo_nights, fetch, ledger, sandbox as sandboxes};
use serde_json::json;

use super::args::{Args, RunArgs};
use super::progress::Bars;
use super::{choose, last_line, load_to_run, say, say_json, says_what_comes, stop_on_signal, tell};

/// `reconciled demo`.
pub async fn demo(dir: &Path, quiet: bool) -> Result<u8, Failure> {
    let bars = Bars::new(quiet);
    let done = demo_nights::demo(dir, &bars).await;
    bars.clear();
    done.map(|text| {
        say(&text);
        0
    })
}

/// `reconciled sandbox`.
pub async fn sandbox(port: Option<u16>, script: Option<&Path>) -> Result<u8, Failure> {
    sandboxes::serve_forever(port, script, stop_on_signal(true), say)
        .await
        .map(|()| 0)
}

/// `reconciled run`.
pub async fn run(args: &Args, wanted: &RunArgs) -> Result<u8, Failure> {
    let (settings, all) = load_to_run(args)?;
    let jobs = choose(all.clone(), &wanted.jobs)?;
    if wanted.dry_run {
        return dry_run(&settings, &jobs, wanted);
    }
    let bars = Bars::new(args.quiet || wanted.json);
    let options = Options {
        as_of: wanted.as_of,
        mail: !wanted.no_mail,
        stop: stop_on_signal(true),
    };
    let outcomes = run_jobs(&settings, &jobs, &options, &bars).await;
    bars.clear();
    let ok = outcomes
        .as_ref()
        .is_ok_and(|outcomes| outcomes.iter().all(|o| o.class.is_none()));
    if let Err(why) = alert::heartbeat(&settings.alerts, &settings.folder, ok).await {
        tracing::warn!("{why}");
    }
    if let Err(failure) = metrics::write(&settings, &all, chrono::Utc::now()) {
        tracing::warn!("{failure}");
    }
    let outcomes = outcomes?;
    let class = Class::worst(outcomes.iter().filter_map(|outcome| outcome.class));
    let code = match class {
        Some(class) => class.code(),
        None if wanted.exit_code && outcomes.iter().any(|outcome| outcome.open > 0) => 1,
        None => 0,
    };
    if wanted.json {
        say_json(&json!({ "schema": 1, "exit_code": code, "jobs": outcomes.iter().map(as_json).collect::<Vec<_>>() }));
    } else if !args.quiet {
        outcomes.iter().for_each(|outcome| say(&sentence(outcome)));
    }
    close(&outcomes, class);
    Ok(code)
}

/// Warnings, then the failures, the one that names the exit code last.
fn close(outcomes: &[JobOutcome], class: Option<Class>) {
    for outcome in outcomes {
        for warning in &outcome.warnings {
            tell(&format!("reconciled: {}: {warning}", outcome.job));
        }
    }
    let mut failures: Vec<Failure> = outcomes
        .iter()
        .filter_map(|o| {
            Some(Failure::new(
                o.class?,
                o.message.clone().unwrap_or_else(|| o.job.clone()),
            ))
        })
        .collect();
    for failure in &mut failures {
        if !failure.class.next_run_mends() && !says_what_comes(failure) {
            failure.message.push_str("; the next run alone does not mend it");
        }
    }
    failures.sort_by_key(|failure| Some(failure.class) == class);
    failures.iter().for_each(last_line);
}

fn as_json(outcome: &JobOutcome) -> serde_json::Value {
    json!({
        "job": outcome.job,
        "as_of": format_instant(outcome.as_of),
        "business_day": outcome.business_day.to_string(),
        "verdict": outcome.verdict.as_str(),
        "exit_code": outcome.exit_code(),
        "class": outcome.class.map(Class::name),
        "message": outcome.message,
        "requests": outcome.requests,
        "pages": outcome.pages,
        "rows": outcome.rows,
        "unreadable": outcome.unreadable,
        "matched": outcome.matched,
        "pending": outcome.pending,
        "new": outcome.new,
        "persisting": outcome.persisting,
        "resolved": outcome.resolved,
        "reopened": outcome.reopened,
        "open": outcome.open,
        "windows": {
            "sealed": outcome.windows.sealed,
            "open": outcome.windows.open,
            "unstable": outcome.windows.unstable,
        },
        "files": outcome.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "mails": outcome.mails,
    })
}

fn sentence(outcome: &JobOutcome) -> String {
    let mut text = format!(
        "{} {}: {} – {} matched, {} pending, {} new, {} persisting, {} resolved, {} open",
        outcome.job,
        outcome.business_day,
        outcome.verdict,
        outcome.matched,
        outcome.pending,
        outcome.new + outcome.reopened,
        outcome.persisting,
        outcome.resolved,
        outcome.open,
    );
    let windows = outcome.windows;
    let _ = write!(
        text,
        " ({} requests, {} rows, {} windows sealed",
        outcome.requests, outcome.rows, windows.sealed
    );
    if windows.open + windows.unstable > 0 {
        let _ = write!(text, ", {} not", windows.open + windows.unstable);
    }
    text.push_str(")\n");
    text
}

/// `--dry-run`: what would be asked. Asks nobody and writes nothing, not even a database.
fn dry_run(settings: &Settings, jobs: &[Job], wanted: &RunArgs) -> Result<u8, Failure> {
    let store = if settings.database.exists() {
        Some(Store::open_read_only(&settings.database)?)
    } else {
        None
    };
    let as_of = wanted.as_of.unwrap_or_else(chrono::Utc::now);
    let mut documents = Vec::new();
    for job in jobs {
        let JobSource::Provider(setup) = &job.source else {
            say_unless(wanted.json, &format!("{}: asks no provider\n", job.name));
            documents.push(json!({ "job": job.name, "feeds": [] }));
            continue;
        };
        let day = last_day_over(as_of, job.fetch.settle, job.timezone);
        let fresh_since = match &store {
            Some(store) => runs::fresh_since(store, &job.name, as_of, day)?,
            None => as_of,
        };
        let tonight = with_ledger(settings, job, setup, store.as_ref(), as_of)?;
        let books = tonight.as_ref().map(|(books, _)| books).or(store.as_ref());
        let planned = fetch::plan(books, job, setup, as_of, fresh_since)?;
        let mut feeds = Vec::new();
        for feed in &planned {
            let span = match (feed.windows.first(), feed.windows.last()) {
                (Some(first), Some(last)) => {
                    format!(
                        " from {} until {}",
                        format_instant(first.from),
                        format_instant(last.until)
                    )
                }
                _ => String::new(),
            };
            let what = match setup
                .provider
                .feeds()
                .iter()
                .any(|f| f.name == feed.feed && f.shape == Shape::Lookups)
            {
                true => "keys of the ledger",
                false => "windows",
            };
            let (count, least) = (feed.windows.len(), feed.requests_at_least);
            say_unless(
                wanted.json,
                &format!(
                    "{} {}: {count} {what}{span}, at least {least} requests\n",
                    job.name, feed.feed
                ),
            );
            feeds.push(json!({
                "feed": feed.feed,
                "requests_at_least": least,
                "windows": feed.windows.iter().map(|w| json!({
                    "from_at": format_instant(w.from), "until_at": format_instant(w.until),
                })).collect::<Vec<_>>(),
            }));
        }
        documents.push(json!({ "job": job.name, "business_day": day.to_string(), "feeds": feeds }));
    }
    if wanted.json {
        say_json(&json!({ "schema": 1, "exit_code": 0, "dry_run": true, "jobs": documents }));
    }
    Ok(0)
}

/// For a provider asked by key: a copy of the books with tonight's ledger in it, gone with its folder. A ledger that is refused
/// is not in it, and nobody would be asked.
fn with_ledger(
    settings: &Settings,
    job: &Job,
    setup: &ProviderSetup,
    store: Option<&Store>,
    as_of: Instant,
) -> Result<Option<(Store, tempfile::TempDir)>, Failure> {
    let by_key = setup.provider.feeds().iter().any(|feed| feed.shape == Shape::Lookups);
    let Some(ledger) = job.ledger.as_ref().filter(|_| by_key) else {
        return Ok(None);
    };
    let folder = tempfile::tempdir().map_err(|_| {
        Failure::new(
            Class::LocalIo,
            "no temporary folder can be made to plan with tonight's ledger; nothing was asked",
        )
    })?;
    let copy = folder.path().join("plan.db");
    if let Some(store) = store {
        store::backup(store, &copy)?;
    }
    let books = Store::open(&copy)?;
    if let Err(refusal) = ledger::import(&books, job, ledger, &settings.folder, as_of, &Default::default()) {
        let why = match refusal {
            ledger::Refusal::NotReconciled(why) => why,
            ledger::Refusal::Refused(failure) => failure.message,
        };
        eprintln!(
            "reconciled: {}: the ledger is refused, nobody would be asked about it: {why}",
            job.name
        );
        books.write(|tx| {
            tx.execute("DELETE FROM ledger_entries WHERE job = ?1", [&job.name])?;
            Ok(())
        })?;
    }
    Ok(Some((books, folder)))
}

fn say_unless(quiet: bool, text: &str) {
    if !quiet {
        say(text);
    }
}
