//! The daemon as systemd meets it: what it is told over its socket, signals, a second instance.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Instant;

use chrono::Timelike;
use rustix::process::Signal;

use crate::{House, PATIENCE, Running, bank, ended, signal};

/// A house whose daemon tells a socket what it would tell systemd.
struct Unit {
    house: House,
    socket: UnixDatagram,
}

/// A job whose nightly hour is half a day away: no second night comes due while a test runs, whatever the hour.
fn job(start: &str) -> String {
    let hour = (chrono::Utc::now().hour() + 12) % 24;
    bank(&format!("schedule = \"0 30 {hour} * * *\""), start)
}

impl Unit {
    fn new() -> Self {
        let house = House::new("published = \"\"\n", &job("2026-01-01"));
        house.write("bank.csv", "ref,amount,at\nA,10.00,2026-01-05T10:00:00Z\n");
        let socket = UnixDatagram::bind(house.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { house, socket }
    }

    fn serve(&self) -> Running {
        let mut command = self.house.command(&["-v", "serve"]);
        command.env("NOTIFY_SOCKET", self.house.path().join("notify"));
        command.env("WATCHDOG_USEC", "400000");
        Running::start(command.stdout(Stdio::null()).stderr(self.house.stderr()))
    }

    /// What systemd is told, up to a message that holds `wanted`.
    fn told_until(&self, wanted: &str) -> Vec<String> {
        let (mut told, mut bytes, begun) = (Vec::new(), [0; 4096], Instant::now());
        loop {
            let read = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|_| panic!("{wanted} is not told: {told:?}, {}", self.house.said()));
            told.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
            if told.last().is_some_and(|last| last.contains(wanted)) {
                return told;
            }
            assert!(begun.elapsed() < PATIENCE, "{wanted} is not told: {told:?}");
        }
    }

    fn runs(&self) -> i64 {
        self.house
            .count("SELECT count(*) FROM runs WHERE finished_at IS NOT NULL")
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_that_it_lives_what_it_does_and_that_it_stops() {
    let unit = Unit::new();
    let mut child = unit.serve();
    let told = unit.told_until("READY=1");
    assert_eq!(told.len(), 1, "nothing is told before it is ready: {told:?}");
    unit.told_until("STATUS=running 1 jobs for ");
    unit.told_until("STATUS=next: bank at ");
    assert_eq!(unit.runs(), 1);
    unit.told_until("WATCHDOG=1");

    // Broken settings are refused whole, good ones taken.
    unit.house.write("jobs/more.toml", "schedule = 5\n");
    signal(&child, Signal::HUP);
    unit.house
        .until(|house| house.said().contains("the old ones stay in force"));
    unit.house.write("jobs/more.toml", &job("2126-01-01"));
    signal(&child, Signal::HUP);
    unit.told_until("STATUS=next: ");
    assert!(unit.house.said().contains("settings reloaded"), "{}", unit.house.said());

    // A second start is harmless.
    let mut second = unit.serve();
    unit.told_until("READY=1");
    unit.told_until("STATUS=next: ");
    signal(&second, Signal::TERM);
    assert_eq!(ended(&mut second).code(), Some(0));
    assert_eq!(unit.runs(), 1);

    signal(&child, Signal::TERM);
    unit.told_until("STOPPING=1");
    assert_eq!(ended(&mut child).code(), Some(0));
}

#[test]
fn it_is_never_ready_with_a_secret_that_cannot_be_read() {
    let unit = Unit::new();
    unit.house
        .write("reconciled.toml", "[alerts]\nheartbeat_url = \"file:nowhere\"\n");
    let mut child = unit.serve();
    assert_eq!(ended(&mut child).code(), Some(77));
    assert!(
        unit.house.said().contains("[alerts] heartbeat_url: the secret file"),
        "{}",
        unit.house.said()
    );
    unit.socket.set_nonblocking(true).unwrap();
    assert!(unit.socket.recv(&mut [0; 64]).is_err(), "nothing was told");
    assert!(!unit.house.path().join("reconciled.db").exists(), "nothing was done");
}
