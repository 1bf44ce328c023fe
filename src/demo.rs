//! `reconciled demo`: the whole main job on a fresh machine. Starts the sandboxes, writes settings, jobs and each night's
//! ledgers into a folder, runs every job for five nights, and looks in the database whether everything planted was found
//! and nothing else.
//!
//! Knows the plants; the rooms it drives do not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::config::{self, Job, Settings};
use crate::failure::{Class, Failure};
use crate::fetch::Progress;
use crate::run::{JobOutcome, Options, run_jobs};
use crate::sandbox::{self, Running, World, plant};

mod files;
mod verdict;

/// Any seed does; this one is the demo's.
const SEED: u64 = 20_260_302;

/// Runs the demo in `dir` and gives what it has to say: what was planted, what was found, where everything is. An earlier
/// demo in `dir` is removed first.
///
/// # Errors
/// CONFIG for a folder that holds something else, LOCAL-IO for one that cannot be written, INTERNAL when a planted
/// difference was not found or something was found that was not planted.
pub async fn demo(dir: &Path, progress: &dyn Progress) -> Result<String, Failure> {
    demo_of(dir, plant::demo_world(SEED), progress).await
}

/// The same over any planted world.
///
/// # Errors
/// As [`demo`].
pub async fn demo_of(dir: &Path, mut world: World, progress: &dyn Progress) -> Result<String, Failure> {
    // The demo is paced by the jobs' own settings; the sandbox's published thousand a minute would make it wait.
    world.doors.one2pays.requests_per_minute = Some(60_000);
    let world = Arc::new(Mutex::new(world));
    let running = sandbox::start(world.clone(), Vec::new(), None).await.map_err(|e| {
        let why = format!("the sandboxes cannot listen on 127.0.0.1: {}", e.kind());
        Failure::new(Class::LocalIo, why)
    })?;
    furnish(dir, &running)?;

    let file = std::path::absolute(dir)?.join(files::SETTINGS);
    let (mut nights, mut last) = (Vec::new(), None);
    for night in 0..plant::NIGHTS {
        prepare(dir, &running, night)?;
        let (settings, jobs) = load(&file)?;
        nights.push(run_night(&settings, &jobs, night, progress).await?);
        last = Some(settings);
    }
    let planted = lock(&world).planted.clone();
    drop(running);
    let settings = last.ok_or_else(|| Failure::new(Class::Internal, "the demo has no nights"))?;
    let (text, wrong) = verdict::judge(&settings, &planted, &nights)?;
    let place = files::write_table(dir, &text)?;
    match wrong.is_empty() {
        true => Ok(text),
        false => Err(Failure::new(
            Class::Internal,
            format!(
                "the demo did not find what was planted and nothing else; the table is in {}: {}",
                place.display(),
                wrong.join("; ")
            ),
        )),
    }
}

/// Makes a demo's folder, its settings, jobs and secrets for these sandboxes. An earlier demo in `dir` is removed first.
///
/// # Errors
/// CONFIG for a folder that holds something else, LOCAL-IO for one that cannot be written.
pub fn furnish(dir: &Path, running: &Running) -> Result<(), Failure> {
    files::make_room(dir)?;
    files::write_settings(dir, running, &lock(&running.world()))
}

/// Lets a night come: the world's time, the merchant's exports, what the servers do wrong.
///
/// # Errors
/// LOCAL-IO for exports that cannot be written.
pub fn prepare(dir: &Path, running: &Running, night: usize) -> Result<(), Failure> {
    let world = running.world();
    let mut world = lock(&world);
    world.set_now(plant::as_of(night));
    running.set_faults(plant::faults(night));
    files::write_ledgers(dir, &world, night)
}

fn load(file: &Path) -> Result<(Settings, Vec<Job>), Failure> {
    config::load(Some(file)).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(
            Class::Internal,
            format!("the demo's own settings are refused: {}", all.join("; ")),
        )
    })
}

async fn run_night(
    settings: &Settings,
    jobs: &[Job],
    night: usize,
    progress: &dyn Progress,
) -> Result<Vec<JobOutcome>, Failure> {
    let options = Options {
        as_of: Some(plant::as_of(night)),
        mail: true,
        stop: CancellationToken::new(),
    };
    run_jobs(settings, jobs, &options, progress).await
}

fn lock(world: &Mutex<World>) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a person finds things.
fn places(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let day = plant::covered(plant::NIGHTS - 1).to_string();
    let page = settings.out.join(&day).join("index.html");
    let mut places = vec![("database", settings.database.clone())];
    places.extend(settings.published.clone().map(|path| ("copy for analysts", path)));
    places.push(("CSVs", settings.out.clone()));
    places.push(("page of the last day", page));
    if let Some(config::Transport::Folder(folder)) = settings.mail.as_ref().map(|mail| &mail.transport) {
        places.push(("mails", folder.clone()));
    }
    places
}
