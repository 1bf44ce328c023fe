//! The line against what one would write by hand, and against what one would install instead: ratios, side by side, in one
//! run. `cargo bench` (1,000,000 rows) or `cargo bench -- 200000`; `cargo bench -- 1000000 P1 P3` picks.
//!
//! Every contestant is a process of its own, so that its peak memory is its own. Absolute times drift from machine to
//! machine; the ratios are what counts, and on a busy machine those of processor time. Peers that are not installed are
//! said to be absent ($PYTHON names the interpreter that has them).

mod bare;
mod books;
mod goals;
mod pages;
mod peers;
mod subject;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// What a contestant says on its last line: seconds of the measured part by the wall clock and of the processors, peak
/// memory in MB. On a busy machine the processors' seconds say more than the wall clock's.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub seconds: f64,
    pub cpu: f64,
    pub peak_mb: f64,
}

/// Begun where the measured part begins.
pub struct Stopwatch {
    wall: Instant,
    cpu: f64,
}

/// The measured part.
pub struct Took {
    wall: f64,
    cpu: f64,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    pub fn stop(&self) -> Took {
        Took {
            wall: self.wall.elapsed().as_secs_f64(),
            cpu: cpu_seconds() - self.cpu,
        }
    }
}

/// User and system time of this process, ended threads included; Linux counts it in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold spaces, the state is the third field; user and system time are the 14th and 15th.
    let fields = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "child" => child(rest),
        _ => compare(&arguments),
    }
}

/// One contestant, in its own process.
fn child(arguments: &[String]) {
    let number = |i: usize| arguments.get(i).and_then(|a| a.parse::<u64>().ok()).unwrap_or(0);
    let dir = Path::new(&arguments[1]);
    let took = match arguments[0].as_str() {
        "bare-ingest" => bare::ingest(dir, &arguments[2], number(3), number(4) as usize),
        "ingest" => subject::ingest(dir, &arguments[2], number(3) as u32, 6_000_000),
        "paced" => subject::ingest(dir, &arguments[2], number(3) as u32, number(4) as u32),
        "fill" => books::fill(dir, number(2)),
        "bare-merge" => bare::merge(dir),
        "compare" => subject::compare(dir),
        "csv" => subject::csv(dir),
        "reports" => subject::reports(dir),
        "bare-csv" => bare::csv(dir),
        other => panic!("no contestant {other}"),
    };
    println!("{} {} {}", took.wall, took.cpu, peak_mb());
}

/// VmHWM of this process.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM:"))
        .unwrap_or("VmHWM: 0 kB");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

/// Runs a contestant and reads its last line.
pub fn contest(arguments: &[&str]) -> Measured {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    last_line(&output.stdout)
}

fn last_line(stdout: &[u8]) -> Measured {
    let text = String::from_utf8_lossy(stdout);
    let mut numbers = text
        .lines()
        .last()
        .unwrap_or_default()
        .split_whitespace()
        .map(|n| n.parse::<f64>().unwrap());
    Measured {
        seconds: numbers.next().unwrap(),
        cpu: numbers.next().unwrap(),
        peak_mb: numbers.next().unwrap(),
    }
}

/// One line of the result; gives the ratio by the wall clock and by processor time.
pub fn say(goal: &str, what: &str, measured: Measured, against: Option<(&str, Measured)>) -> Ratio {
    let ratio = against.map(|(_, other)| Ratio::of(measured, other));
    let told = match (against, ratio) {
        (Some((name, _)), Some(ratio)) => format!("{:6.2} × {name}, {:.2} × by processor", ratio.wall, ratio.cpu),
        _ => String::new(),
    };
    println!(
        "{goal:4} {what:44} {:8.2} s {:8.2} s cpu {:6.0} MB  {told}",
        measured.seconds, measured.cpu, measured.peak_mb
    );
    ratio.unwrap_or(Ratio { wall: 1.0, cpu: 1.0 })
}

/// How much longer one takes than another.
#[derive(Clone, Copy)]
pub struct Ratio {
    pub wall: f64,
    pub cpu: f64,
}

impl Ratio {
    pub fn of(one: Measured, other: Measured) -> Self {
        Self {
            wall: one.seconds / other.seconds,
            // Hundredths of a second are all that is counted.
            cpu: one.cpu / other.cpu.max(0.01),
        }
    }
}

/// The one in the middle by wall time.
pub fn median(mut all: Vec<Measured>) -> Measured {
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    all[all.len() / 2]
}

/// What every goal came to, for the table at the end.
#[derive(Default)]
pub struct Scores(Vec<String>);

impl Scores {
    /// A goal of at most `limit`.
    pub fn at_most(&mut self, goal: &str, what: &str, seen: f64, limit: f64) {
        self.note(goal, what, seen, "<=", limit, seen <= limit);
    }

    /// A goal of at least `limit`.
    pub fn at_least(&mut self, goal: &str, what: &str, seen: f64, limit: f64) {
        self.note(goal, what, seen, ">=", limit, seen >= limit);
    }

    /// A ratio that is to be at most `limit`, by both clocks.
    pub fn ratio(&mut self, goal: &str, what: &str, ratio: Ratio, limit: f64) {
        self.at_most(goal, what, ratio.wall, limit);
        self.at_most(goal, &format!("{what}, by processor time"), ratio.cpu, limit);
    }

    fn note(&mut self, goal: &str, what: &str, seen: f64, sign: &str, limit: f64, reached: bool) {
        let word = if reached { "reached" } else { "missed" };
        self.0
            .push(format!("{goal:4} {what:66} {seen:8.2}  {sign} {limit:<6} {word}"));
    }
}

fn compare(arguments: &[String]) {
    let rows = arguments
        .iter()
        .find_map(|a| a.parse::<u64>().ok())
        .unwrap_or(1_000_000);
    let picked: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|a| a.starts_with('P'))
        .collect();
    let wanted = |goal: &str| picked.is_empty() || picked.contains(&goal);
    println!(
        "{} cores, {rows} rows, {}; s is wall time, cpu processor time, MB the peak of the process\n",
        cores(),
        load()
    );
    let (mut scores, begun) = (Scores::default(), Instant::now());
    goals::run(rows, &wanted, &mut scores);
    println!("\n{:.0} s in all, {} now\n", begun.elapsed().as_secs_f64(), load());
    scores.0.iter().for_each(|line| println!("{line}"));
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many others wanted the processors in the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load {}", text.split_whitespace().next().unwrap_or("unknown"))
}

/// A temporary folder's path as text.
pub fn path(dir: &tempfile::TempDir) -> String {
    dir.path().display().to_string()
}
