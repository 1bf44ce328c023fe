//! The whole line, as a newcomer sees it: five nights over the sandboxes find what was planted and nothing else; the same
//! night again finds everything done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reconciled::fetch::Quiet;
use reconciled::run::{Options, run_jobs};
use reconciled::sandbox::plant;
use reconciled::{config, demo};
use tokio_util::sync::CancellationToken;

/// Every file below a folder with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_night_again_asks_nobody_mails_nobody_and_writes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("demo");
    demo::demo(&dir, &Quiet).await.unwrap();
    let (out, mails) = (files(&dir.join("out")), files(&dir.join("mail")));
    assert!(
        out.len() > 100 && mails.len() > 20,
        "{} files, {} mails",
        out.len(),
        mails.len()
    );

    // The sandboxes are gone: whoever asks now gets no answer.
    let (settings, jobs) = config::load(Some(&dir.join("reconciled.toml"))).unwrap();
    let options = Options {
        as_of: Some(plant::as_of(plant::NIGHTS - 1)),
        mail: true,
        stop: CancellationToken::new(),
    };
    let outcomes = run_jobs(&settings, &jobs, &options, &Quiet).await.unwrap();
    for outcome in &outcomes {
        assert_eq!(
            (outcome.class, outcome.requests, outcome.pages),
            (None, 0, 0),
            "{outcome:?}"
        );
        assert!(outcome.mails.is_empty(), "{outcome:?}");
    }
    assert!(files(&dir.join("out")) == out, "a report changed");
    assert!(files(&dir.join("mail")) == mails, "a mail was written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_difference_is_found_and_nothing_else_whatever_the_world() {
    for seed in [1, 77] {
        let dir = tempfile::tempdir().unwrap();
        let told = demo::demo_of(&dir.path().join("demo"), plant::demo_world(seed), &Quiet).await;
        assert!(told.is_ok(), "seed {seed}: {told:?}");
    }
}
