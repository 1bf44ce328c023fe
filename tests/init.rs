//! `reconciled init`, as its person uses it: written, checked, filled with a ledger, run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use reconciled::providers::REGISTRY;
use tempfile::TempDir;

/// Runs the program without any secret in its environment but those given.
fn reconciled(args: &[&str], secrets: &[(&str, &str)]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("reconciled"));
    command.args(args).env_clear().envs(secrets.iter().copied());
    command.output().unwrap()
}

fn init(dir: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let dir = dir.to_str().unwrap();
    let output = reconciled(&[&["init", dir], more].concat(), &[]);
    said(&output)
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn check(dir: &Path, secrets: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let file = dir.join("reconciled.toml");
    said(&reconciled(&["--config", file.to_str().unwrap(), "check"], secrets))
}

/// Every kind a job can have: the registry's, and exports.
fn kinds() -> Vec<&'static str> {
    let mut kinds: Vec<&str> = REGISTRY.iter().map(|entry| entry.name).collect();
    kinds.push("file");
    kinds
}

/// Names of the variables that the jobs written refer to.
fn variables(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir.join("jobs")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((_, rest)) = line.split_once("\"env:") {
                found.push(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_written_for_each_provider_holds_once_its_secrets_are_set_and_names_each_that_is_not() {
    for kind in kinds() {
        let place = TempDir::new().unwrap();
        let dir = place.path().join("etc");
        let (code, out, err) = init(&dir, &["--provider", kind, "--secrets", "env"]);
        assert_eq!(code, Some(0), "{kind}: {err}");
        let names = variables(&dir);
        assert_eq!(names.is_empty(), kind == "file", "{kind} asks for {names:?}");
        for name in &names {
            assert!(
                out.contains(&format!("read -rs {name} && export {name}\n")),
                "{kind}: {out}"
            );
        }
        let secrets: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let (code, out, err) = check(&dir, &secrets);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{kind}: {out}");
        assert_eq!(std::fs::read_dir(dir.join("jobs")).unwrap().count(), 1, "{kind}");
        if let Some((missing, rest)) = secrets.split_first() {
            let (code, _, err) = check(&dir, rest);
            assert_eq!(code, Some(78), "{kind}: {err}");
            let line = err.lines().next().unwrap();
            assert!(
                line.contains(".toml:")
                    && line.ends_with(&format!("the environment variable {} is not set", missing.0)),
                "{kind}: {err}"
            );
        }
    }
}

#[test]
fn without_a_choice_every_example_is_written_and_the_credentials_are_looked_for_where_they_are_given() {
    let place = TempDir::new().unwrap();
    let dir = place.path().join("etc");
    let (code, out, err) = init(&dir, &[]);
    assert_eq!(code, Some(0), "{err}");
    let examples = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs")).unwrap();
    let mut names: Vec<String> = examples
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(
        names.len() > kinds().len(),
        "every kind and what compares across: {names:?}"
    );
    for name in &names {
        assert!(dir.join("jobs").join(name).is_file(), "{name}");
        let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(name)).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.join("jobs").join(name)).unwrap(),
            example,
            "one source of truth"
        );
    }
    // Outside of a unit nobody has credentials: that is said, and no problem of the settings.
    let (code, _, err) = check(&dir, &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("credentials were not looked for"), "{err}");
    // In a unit each must be there, under its own name or the one systemd gives to a folder's files.
    let credentials = dir.join("credentials");
    let given = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    assert_eq!(check(&dir, &given).0, Some(78));
    let mut asked = 0;
    for line in out.lines().filter(|line| line.contains("install -m 600 /dev/stdin")) {
        let name = line.rsplit('/').next().unwrap();
        let prefix = if asked % 2 == 0 { "" } else { "reconciled_" };
        asked += 1;
        let path = credentials.join(format!("{prefix}{name}"));
        std::fs::write(&path, "x\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert!(asked >= 8, "{out}");
    let (code, _, err) = check(&dir, &given);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn nothing_is_overwritten_and_nothing_is_half_written() {
    let place = TempDir::new().unwrap();
    let dir = place.path().join("etc");
    std::fs::create_dir_all(dir.join("jobs")).unwrap();
    std::fs::write(dir.join("jobs/tupay-pe.toml"), "mine").unwrap();
    let (code, out, err) = init(&dir, &["--provider", "tupay"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(
        err.contains("jobs/tupay-pe.toml exist already and nothing was written"),
        "{err}"
    );
    assert_eq!(std::fs::read_to_string(dir.join("jobs/tupay-pe.toml")).unwrap(), "mine");
    assert!(!dir.join("reconciled.toml").exists());
    // A link that leads nowhere would be written through.
    std::fs::remove_file(dir.join("jobs/tupay-pe.toml")).unwrap();
    std::os::unix::fs::symlink(place.path().join("elsewhere"), dir.join("reconciled.toml")).unwrap();
    assert_eq!(init(&dir, &["--provider", "tupay"]).0, Some(78));
    assert!(!place.path().join("elsewhere").exists());
}

#[test]
fn words_it_does_not_know_are_refused_before_anything_is_written() {
    let place = TempDir::new().unwrap();
    let dir = place.path().join("etc");
    for (more, why) in [
        (&["--provider", "tupey"][..], "did you mean `tupay`?"),
        (&["--state", "var/lib"][..], "no absolute path"),
        (&["--state", "/var/\"lib"][..], "no absolute path without quotes"),
        (&["--shared", "/srv"][..], "--shared goes with --state"),
    ] {
        let (code, _, err) = init(&dir, more);
        assert_eq!(code, Some(64), "{more:?}: {err}");
        assert!(err.contains(why), "{more:?}: {err}");
        assert!(!dir.exists());
    }
}

#[test]
fn with_folders_of_its_own_the_books_lie_there_and_no_file_is_open_to_everybody() {
    let place = TempDir::new().unwrap();
    let (dir, state, shared) = (
        place.path().join("etc"),
        place.path().join("state"),
        place.path().join("shared"),
    );
    let folders = ["--state", state.to_str().unwrap(), "--shared", shared.to_str().unwrap()];
    let (code, _, err) = init(
        &dir,
        &[&["--provider", "file", "--provider", "payvyne"], &folders[..]].concat(),
    );
    assert_eq!(code, Some(0), "{err}");
    let (code, out, err) = check(&dir, &[]);
    assert_eq!(code, Some(0), "{err}");
    for (name, place) in [
        ("database", state.join("reconciled.db")),
        ("published", shared.join("reconciled-latest.db")),
        ("out", shared.join("out")),
    ] {
        assert!(out.contains(&format!("  {name:<11}{}\n", place.display())), "{out}");
    }
    assert!(
        out.contains(&format!("csv {}/bank/statement-*.csv\n", state.display())),
        "{out}"
    );
    assert!(
        out.contains(&format!("sqlite {}/ledger/bookings.db\n", state.display())),
        "{out}"
    );
    for entry in walk(&dir) {
        let mode = std::fs::metadata(&entry).unwrap().permissions().mode() & 0o777;
        let most = if entry.is_dir() { 0o750 } else { 0o640 };
        assert_eq!(mode & !most, 0, "{} has mode {mode:o}", entry.display());
    }
    assert_eq!(
        std::fs::metadata(dir.join("credentials")).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn what_compares_across_is_written_when_two_of_its_jobs_are() {
    let place = TempDir::new().unwrap();
    let [one, two] = ["one", "two"].map(|name| place.path().join(name));
    init(&one, &["--provider", "tupay"]);
    assert!(!one.join("jobs/paid-twice.toml").exists());
    init(&two, &["--provider", "tupay", "--provider", "one2pays"]);
    let text = std::fs::read_to_string(two.join("jobs/paid-twice.toml")).unwrap();
    assert!(text.contains("\njobs = [\"tupay-pe\", \"one2pays-th\"]\n"), "{text}");
    assert_eq!(check(&two, &[]).0, Some(0));
}

/// The example rows are read as the job's own mapping says, down to the last column.
#[test]
fn each_example_of_a_ledger_is_read_whole_by_its_own_job_and_a_night_over_one_makes_a_mail() {
    let place = TempDir::new().unwrap();
    let dir = place.path().join("etc");
    assert_eq!(init(&dir, &["--provider", "file"]).0, Some(0));
    std::fs::create_dir(dir.join("bank")).unwrap();
    std::fs::copy(
        dir.join("ledger-examples/bank-file.csv"),
        dir.join("bank/statement-1.csv"),
    )
    .unwrap();
    let file = dir.join("reconciled.toml");
    let run = [
        "--config",
        file.to_str().unwrap(),
        "run",
        "--json",
        "--as-of",
        "2026-01-03T06:00:00Z",
    ];
    let (code, out, err) = said(&reconciled(&run, &[]));
    assert_eq!(code, Some(0), "{err}");
    let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&outcome["jobs"][0]["rows"], &outcome["jobs"][0]["unreadable"]),
        (&2.into(), &0.into()),
        "{out}"
    );
    assert_eq!(outcome["jobs"][0]["mails"].as_array().unwrap().len(), 1, "{out}");

    for job in ["tupay-pe", "one2pays-th", "ayoconnect-id", "twopay-co"] {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("jobs/{job}.toml"))).unwrap();
        let place = TempDir::new().unwrap();
        let kind = text.split_once("\nkind = \"").unwrap().1.split('"').next().unwrap();
        let dir = place.path().join("etc");
        assert_eq!(init(&dir, &["--provider", kind]).0, Some(0));
        std::fs::create_dir(dir.join("ledger")).unwrap();
        let name = format!("ledger/{kind}-1.csv");
        std::fs::copy(dir.join(format!("ledger-examples/{job}.csv")), dir.join(name)).unwrap();
        let (settings, jobs) = reconciled::config::load(Some(&dir.join("reconciled.toml"))).unwrap();
        let store = reconciled::store::Store::open(&settings.database).unwrap();
        let now = reconciled::day::parse_instant("2026-01-05T06:00:00Z").unwrap();
        let ledger = jobs[0].ledger.as_ref().unwrap();
        let read = reconciled::ledger::import(&store, &jobs[0], ledger, &settings.folder, now, &Default::default());
        assert!(read.is_ok(), "{job}: refused");
        let counts: (i64, i64) = store
            .read(|conn| {
                let count = "SELECT (SELECT count(*) FROM ledger_entries), (SELECT count(*) FROM unreadable_rows)";
                Ok(conn.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
            })
            .unwrap();
        assert_eq!(counts, (2, 0), "{job}: entries and rows put aside");
    }
}
