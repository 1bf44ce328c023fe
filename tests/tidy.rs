//! The rules of the house that a machine can see: each foreign package has one home, the pure rooms stay pure, no floating
//! point comes near money, every provider folder is registered, and files stay small enough to hold in the head.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a file must be cut in two rooms.
const HARD_LIMIT: usize = 800;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(&root().join("src"), &mut found);
    found
}

fn collect(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The code of a file without comments and without its test module.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    product
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn offenders(pattern: &str, allowed: &[&str]) -> Vec<String> {
    sources()
        .iter()
        .filter(|(name, _)| !allowed.iter().any(|home| name.starts_with(home)))
        .filter(|(_, text)| code(text).contains(pattern))
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn every_foreign_package_has_its_home() {
    let homes: &[(&str, &[&str])] = &[
        ("reqwest::", &["src/fetch/", "src/alert.rs"]),
        ("governor::", &["src/fetch/"]),
        ("lettre::", &["src/mail/"]),
        ("axum::", &["src/sandbox/"]),
        ("clap::", &["src/cli/"]),
        ("indicatif::", &["src/cli/"]),
        ("tokio_cron_scheduler", &["src/serve.rs"]),
        ("croner", &["src/schedule.rs", "src/config/"]),
        ("zip::", &["src/mail/", "src/desk/", "src/erase/"]),
        ("png::", &["src/mail/"]),
        ("calamine::", &["src/desk/"]),
        ("mail_parser::", &["src/erase/", "src/serve/tests.rs"]),
        ("minijinja::", &["src/report/", "src/mail/"]),
        ("glob::", &["src/ledger/", "src/config/"]),
        ("encoding_rs", &["src/ledger/"]),
        ("iso_currency", &["src/money.rs"]),
        ("toml::", &["src/config/", "src/sandbox/"]),
        ("zstd::", &["src/store/"]),
    ];
    for (package, allowed) in homes {
        let elsewhere = offenders(package, allowed);
        assert!(
            elsewhere.is_empty(),
            "{package} lives in {allowed:?}, but is used in {elsewhere:?}"
        );
    }
}

#[test]
fn the_pure_rooms_know_no_network_no_files_no_clock_and_no_environment() {
    let pure = [
        "src/money.rs",
        "src/day.rs",
        "src/record.rs",
        "src/window.rs",
        "src/providers/",
        "src/schedule.rs",
    ];
    let forbidden = [
        "std::fs",
        "std::env",
        "std::net",
        "tokio::",
        "Utc::now",
        "SystemTime::now",
        "Instant::now",
        "rusqlite::Connection",
    ];
    for (name, text) in sources() {
        if !pure.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        let code = code(&text);
        for word in forbidden {
            assert!(!code.contains(word), "{name} is a pure room but says {word}");
        }
    }
}

#[test]
fn the_wall_clock_is_read_at_the_edges_only() {
    let edges = [
        "src/run.rs",
        "src/serve.rs",
        "src/cli/",
        "src/fetch/",
        "src/sandbox/",
        "src/demo",
    ];
    let inside = offenders("Utc::now", &edges);
    assert!(inside.is_empty(), "now is an argument; the clock is read in {inside:?}");
    assert!(
        offenders("Local::now", &[]).is_empty(),
        "a machine's local time dates no book"
    );
}

#[test]
fn no_floating_point_comes_near_money() {
    for (name, text) in sources() {
        // Progress, pictures and throttles may divide; books may not. A workbook's format knows no other numbers: there a
        // decimal of up to 15 digits, which a double carries whole, is written and nothing is computed.
        if ["src/cli/", "src/fetch/pace.rs", "src/report/workbook.rs"]
            .iter()
            .any(|p| name.starts_with(p))
        {
            continue;
        }
        for line in code(&text).lines() {
            let float = ["f64", "f32"].iter().any(|word| {
                line.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|token| token == *word)
            });
            assert!(!float, "{name} uses floating point: {}", line.trim());
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (name, text) in sources() {
        for word in [
            concat!("todo", "!("),
            concat!("unimplemented", "!("),
            "FIXME",
            concat!("dbg", "!("),
        ] {
            assert!(!text.contains(word), "{name} says {word}");
        }
    }
}

#[test]
fn every_provider_folder_is_registered_and_only_the_registry_lists_them() {
    let registered: Vec<&str> = reconciled::providers::REGISTRY.iter().map(|entry| entry.name).collect();
    for entry in std::fs::read_dir(root().join("src/providers")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                registered.contains(&name.as_str()),
                "the folder {name} has no line in the registry"
            );
        }
    }
    let homes = ["src/providers/", "src/sandbox/", "src/demo"];
    for name in registered {
        let elsewhere = offenders(&format!("providers::{name}"), &homes);
        assert!(
            elsewhere.is_empty(),
            "{name} is named outside its folder and the registry: {elsewhere:?}"
        );
    }
}

#[test]
fn no_sql_is_put_together_from_texts() {
    for (name, text) in sources() {
        for line in code(&text).lines().filter(|line| line.contains("format!(")) {
            let sql = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "]
                .iter()
                .any(|word| line.contains(&format!("\"{word}")));
            assert!(!sql, "{name} formats SQL, parameters are bound: {}", line.trim());
        }
    }
}

#[test]
fn no_file_outgrows_a_head() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= HARD_LIMIT, "{name} has {lines} lines; cut it in two rooms");
    }
}
