//! The daemon as systemd meets it: what it is told over its socket, signals, a second instance.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const JOB: &str = r#"
schedule = "0 30 2 * * *"
timezone = "UTC"
[provider]
kind = "file"
provider = "barclays"
feed = "statement"
path = "bank.csv"
currency_default = "GBP"
[provider.columns]
reference = "ref"
amount = "amount"
booked_at = "at"
[fetch]
start = 2026-01-01
"#;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

struct House {
    folder: TempDir,
    socket: UnixDatagram,
}

impl House {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        std::fs::create_dir(folder.path().join("jobs")).unwrap();
        let house = Self { folder, socket };
        house.write("jobs/bank.toml", JOB);
        house.write("reconciled.toml", "published = \"\"\n");
        house.write("bank.csv", "ref,amount,at\nA,10.00,2026-01-05T10:00:00Z\n");
        house
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn serve(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_reconciled"))
            .arg("--config")
            .arg(self.path().join("reconciled.toml"))
            .args(["-v", "serve"])
            .env("NOTIFY_SOCKET", self.path().join("notify"))
            .env("WATCHDOG_USEC", "400000")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.path().join("stderr")).unwrap())
            .spawn()
            .unwrap()
    }

    /// What systemd is told, up to a message that holds `wanted`.
    fn told_until(&self, wanted: &str) -> Vec<String> {
        let (mut told, mut bytes, begun) = (Vec::new(), [0; 4096], Instant::now());
        loop {
            let read = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|_| panic!("{wanted} is not told: {told:?}, {}", self.said()));
            told.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
            if told.last().is_some_and(|last| last.contains(wanted)) {
                return told;
            }
            assert!(begun.elapsed() < PATIENCE, "{wanted} is not told: {told:?}");
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path().join("stderr")).unwrap_or_default()
    }

    fn runs(&self) -> i64 {
        let books = rusqlite::Connection::open(self.path().join("reconciled.db")).unwrap();
        books
            .query_row("SELECT count(*) FROM runs WHERE finished_at IS NOT NULL", [], |row| {
                row.get(0)
            })
            .unwrap()
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_that_it_lives_what_it_does_and_that_it_stops() {
    let house = House::new();
    let mut child = house.serve();
    let told = house.told_until("READY=1");
    assert_eq!(told.len(), 1, "nothing is told before it is ready: {told:?}");
    house.told_until("STATUS=running 1 jobs for ");
    house.told_until("STATUS=next: bank at ");
    assert_eq!(house.runs(), 1);
    house.told_until("WATCHDOG=1");

    // Broken settings are refused whole, good ones taken.
    house.write("jobs/more.toml", "schedule = 5\n");
    signal(&child, rustix::process::Signal::HUP);
    let begun = Instant::now();
    while !house.said().contains("the old ones stay in force") {
        assert!(begun.elapsed() < PATIENCE, "{}", house.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    house.write(
        "jobs/more.toml",
        &JOB.replace("[fetch]\nstart = 2026-01-01", "[fetch]\nstart = 2126-01-01"),
    );
    signal(&child, rustix::process::Signal::HUP);
    house.told_until("STATUS=next: ");
    assert!(house.said().contains("settings reloaded"), "{}", house.said());

    // A second start is harmless.
    let mut second = house.serve();
    house.told_until("READY=1");
    house.told_until("STATUS=next: ");
    signal(&second, rustix::process::Signal::TERM);
    assert_eq!(ended(&mut second).code(), Some(0));
    assert_eq!(house.runs(), 1);

    signal(&child, rustix::process::Signal::TERM);
    house.told_until("STOPPING=1");
    assert_eq!(ended(&mut child).code(), Some(0));
}

#[test]
fn it_is_never_ready_with_a_secret_that_cannot_be_read() {
    let house = House::new();
    house.write("reconciled.toml", "[alerts]\nheartbeat_url = \"file:nowhere\"\n");
    let mut child = house.serve();
    assert_eq!(ended(&mut child).code(), Some(77));
    assert!(
        house.said().contains("[alerts] heartbeat_url: the secret file"),
        "{}",
        house.said()
    );
    house.socket.set_nonblocking(true).unwrap();
    assert!(house.socket.recv(&mut [0; 64]).is_err(), "nothing was told");
    assert!(!house.path().join("reconciled.db").exists(), "nothing was done");
}
