//! Lines of the security list (docs/security.md) that no single room can answer for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn sources() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for path in walk(&root.join("src")) {
        if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Every file and folder below one, itself included.
fn walk(dir: &Path) -> Vec<PathBuf> {
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

/// The demo's nights by the program itself, under everything that could loosen it: a umask that takes nothing away, a talkative log.
fn careless_demo(dir: &Path) -> Output {
    let program = assert_cmd::cargo::cargo_bin!("reconciled");
    let line = r#"umask 000; exec "$0" -vv demo --dir "$1""#;
    let output = Command::new("sh")
        .args(["-c", line])
        .arg(program)
        .arg(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn a_night_leaves_its_secrets_where_they_were_and_no_file_open_to_others() {
    let place = TempDir::new().unwrap();
    let dir = place.path().join("demo");
    let output = careless_demo(&dir);
    let secrets: Vec<(PathBuf, String)> = walk(&dir.join("secrets"))
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap().trim().to_owned()))
        .collect();
    assert!(secrets.len() >= 5, "{secrets:?}");
    let files: Vec<PathBuf> = walk(&dir).into_iter().filter(|path| path.is_file()).collect();
    assert!(files.len() > 100, "{} files", files.len());
    for (from, secret) in &secrets {
        assert!(secret.len() >= 8, "{} is too short to look for", from.display());
        for (what, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            assert!(!holds(bytes, secret), "{what} holds {}", from.display());
        }
    }
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        for (from, secret) in secrets.iter().filter(|(from, _)| from != file) {
            assert!(!holds(&bytes, secret), "{} holds {}", file.display(), from.display());
        }
    }
    for path in walk(&dir) {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let most = match (path.is_dir(), path.starts_with(dir.join("secrets"))) {
            (true, _) => 0o750,
            (false, true) => 0o600,
            (false, false) => 0o640,
        };
        assert_eq!(mode & !most, 0, "{} has mode {mode:o}", path.display());
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    memchr::memmem::find(bytes, secret.as_bytes()).is_some()
}

#[test]
fn every_http_client_follows_no_redirect_and_takes_no_proxy_from_the_environment() {
    let clients: Vec<(String, String)> = sources()
        .into_iter()
        .filter(|(_, text)| {
            text.contains("reqwest::Client::builder()") || text.contains("reqwest::ClientBuilder::new()")
        })
        .collect();
    assert!(clients.len() >= 2, "where are the clients?");
    for (name, text) in clients {
        assert!(text.contains("redirect::Policy::none()"), "{name} follows redirects");
        assert!(text.contains(".no_proxy()"), "{name} asks the environment for proxies");
    }
}

#[test]
fn nothing_turns_the_verification_of_certificates_off() {
    for (name, text) in sources() {
        for word in [
            "danger_accept_invalid",
            "tls_danger",
            ".dangerous()",
            "dangerous_accept",
            "Opportunistic",
        ] {
            assert!(!text.contains(word), "{name} says {word}");
        }
    }
}

#[test]
fn the_program_leaves_no_core_dump() {
    let program = assert_cmd::cargo::cargo_bin!("reconciled");
    let mut running = Command::new("sh")
        .args(["-c", r#"ulimit -c "$(ulimit -H -c)"; exec "$0" sandbox"#])
        .arg(program)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first words come after the limit was set.
    let mut first = [0u8; 1];
    std::io::Read::read_exact(running.stdout.as_mut().unwrap(), &mut first).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
    running.kill().unwrap();
    running.wait().unwrap();
    let core: Vec<&str> = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
}

/// Secrets have no place on a command line, where every user of the machine sees them.
#[test]
fn no_command_takes_a_secret_as_an_argument() {
    let args = include_str!("../src/cli/args.rs");
    for line in args.lines().filter(|line| line.trim_start().starts_with("pub ")) {
        let name = line
            .trim_start()
            .trim_start_matches("pub ")
            .split(':')
            .next()
            .unwrap()
            .to_ascii_lowercase();
        let secret = ["password", "token", "api_key", "secret_key", "passphrase"]
            .iter()
            .any(|word| name.contains(word));
        assert!(!secret, "{line}");
    }
}

/// Every test that the list names exists, and every line of the list is there.
#[test]
fn the_security_list_is_whole_and_names_tests_that_exist() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    for number in 1..=24 {
        let line = list.lines().find(|line| line.starts_with(&format!("| {number} ")));
        assert!(line.is_some(), "line {number} is missing");
    }
    let mut known = String::new();
    for path in walk(&root.join("tests")).into_iter().chain(walk(&root.join("src"))) {
        if path.extension().is_some_and(|e| e == "rs") {
            known.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let mut named = 0;
    for word in list.split('`').skip(1).step_by(2) {
        let test = word.rsplit("::").next().unwrap();
        let sentence = test.matches('_').count() >= 4
            && test
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
        if sentence {
            assert!(known.contains(&format!("fn {test}(")), "there is no test {test}");
            named += 1;
        }
    }
    assert!(named >= 20, "only {named} tests are named");
}
