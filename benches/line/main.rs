//! The line against what one would write by hand, and against what one would install instead: ratios, side by side, in one
//! run. `cargo bench` (1,000,000 rows) or `cargo bench -- 200000`; `cargo bench -- 1000000 P1 P3` picks.
//!
//! Every contestant is a process of its own, so that its peak memory is its own. Absolute times drift from machine to
//! machine; the ratios are what counts. Peers that are not installed are said to be absent.

mod bare;
mod books;
mod pages;
mod peers;
mod subject;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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
fn contest(arguments: &[&str]) -> Measured {
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

/// One line of the result.
fn say(goal: &str, what: &str, measured: Measured, against: Option<(&str, Measured)>) {
    let ratio = against.map_or(String::new(), |(name, other)| {
        let (wall, cpu) = (measured.seconds / other.seconds, measured.cpu / other.cpu);
        format!("{wall:6.2} × {name}, {cpu:.2} × by processor time")
    });
    println!(
        "{goal:4} {what:44} {:8.2} s {:8.2} s cpu {:6.0} MB  {ratio}",
        measured.seconds, measured.cpu, measured.peak_mb
    );
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
        "{} cores, {rows} rows; seconds are wall time, MB the peak of the process\n",
        cores()
    );
    let mut small = BTreeMap::new();
    if wanted("P1") || wanted("P5") {
        ingest(rows, &mut small);
    }
    if wanted("P2") {
        latency(rows.min(100_000));
    }
    if wanted("P3") || wanted("P5") || wanted("P9") {
        comparison(rows, &wanted);
    }
    if wanted("P6") {
        nights(rows);
    }
    if wanted("P7") {
        pace();
    }
    if wanted("P8") {
        start();
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// P1, P4, P5: a backfill, fully durable.
fn ingest(rows: u64, small: &mut BTreeMap<&'static str, f64>) {
    for rows in [rows / 10, rows] {
        let server = pages::serve(rows, Duration::ZERO);
        let count = rows.to_string();
        let (bare_dir, own_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bare = contest(&["bare-ingest", &path(&bare_dir), &server.url, &count, "4"]);
        let own = contest(&["ingest", &path(&own_dir), &server.url, "4"]);
        books::expect_rows(own_dir.path(), rows);
        say("P1", &format!("bare two-phase loop, {rows} rows"), bare, None);
        say(
            "P1",
            &format!("reconciled, {rows} rows"),
            own,
            Some(("bare (goal 1.5)", bare)),
        );
        match small.get("own") {
            None => drop(small.insert("own", own.seconds)),
            Some(tenth) => println!(
                "P5   ingest: t({rows}) / t({}) = {:.1} (goal 11)",
                rows / 10,
                own.seconds / tenth
            ),
        }
    }
    peers::ingest(rows);
}

/// P2: the same with 20 ms on every page.
fn latency(rows: u64) {
    let server = pages::serve(rows, Duration::from_millis(20));
    for in_flight in ["1", "4", "16"] {
        let count = rows.to_string();
        let (bare_dir, own_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bare = contest(&["bare-ingest", &path(&bare_dir), &server.url, &count, in_flight]);
        let own = contest(&["ingest", &path(&own_dir), &server.url, in_flight]);
        say(
            "P2",
            &format!("{rows} rows, 20 ms a page, {in_flight} in flight"),
            own,
            Some(("bare (goal 1.1)", bare)),
        );
    }
}

/// P3, P4, P5, P9: compare what is stored, and write a report of it.
fn comparison(rows: u64, wanted: &dyn Fn(&str) -> bool) {
    let mut tenth = None;
    for rows in [rows / 10, rows] {
        let dir = tempfile::tempdir().unwrap();
        let dir_name = path(&dir);
        contest(&["fill", &dir_name, &rows.to_string()]);
        let bare = contest(&["bare-merge", &dir_name]);
        let own = contest(&["compare", &dir_name]);
        say("P3", &format!("bare merge of two cursors, {rows} × {rows}"), bare, None);
        say(
            "P3",
            &format!("reconciled, {rows} × {rows}"),
            own,
            Some(("bare (goal 2)", bare)),
        );
        if let Some(tenth) = tenth {
            println!(
                "P5   compare: t({rows}) / t({}) = {:.1} (goal 11)",
                rows / 10,
                own.seconds / tenth
            );
            peers::compare(dir.path(), own);
        }
        tenth = Some(own.seconds);
        if wanted("P9") {
            books::every_row_differs(dir.path(), rows);
            books::lay_out_fields(dir.path());
            let bare = contest(&["bare-csv", &dir_name]);
            let own = contest(&["csv", &dir_name]);
            say(
                "P9",
                &format!("{rows} discrepancies to CSV"),
                own,
                Some(("the csv crate (goal 2)", bare)),
            );
        }
    }
}

/// P6: a night of 10,000 new rows on a small and on a large archive; an unchanged listing read again.
fn nights(rows: u64) {
    let mut nights = Vec::new();
    for stored in [rows / 10, rows] {
        let dir = tempfile::tempdir().unwrap();
        let dir_name = path(&dir);
        contest(&["fill", &dir_name, &stored.to_string()]);
        contest(&["compare", &dir_name]);
        books::ten_thousand_more(dir.path());
        let night = contest(&["compare", &dir_name]);
        say(
            "P6",
            &format!("compare after 10,000 new rows on {stored} stored"),
            night,
            None,
        );
        nights.push(night.seconds);
    }
    println!(
        "P6   the night grows by {:.1} (goal 1.5) where the archive grows by 10",
        nights[1] / nights[0]
    );
    let server = pages::serve(rows / 10, Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let first = contest(&["ingest", &path(&dir), &server.url, "4"]);
    let again = contest(&["ingest", &path(&dir), &server.url, "4"]);
    say(
        "P6",
        &format!("unchanged listing of {} rows read again", rows / 10),
        again,
        Some(("first reading (goal 0.33)", first)),
    );
}

/// P7: the share of the allowed rate that is used at 200 ms of latency, and that it is never exceeded.
fn pace() {
    let (per_minute, pages) = (800_u32, 400_u64);
    let server = pages::serve(pages * 100, Duration::from_millis(200));
    let dir = tempfile::tempdir().unwrap();
    let own = contest(&["paced", &path(&dir), &server.url, "8", &per_minute.to_string()]);
    let arrivals = server.arrivals();
    let span = arrivals.last().unwrap().duration_since(arrivals[0]).as_secs_f64();
    let used = (arrivals.len() - 1) as f64 / span * 60.0 / f64::from(per_minute);
    let busiest = pages::busiest(
        &arrivals,
        Duration::from_secs(60).min(Duration::from_secs_f64(span / 2.0)),
    );
    let allowed = f64::from(per_minute) * (span / 2.0).min(60.0) / 60.0;
    println!(
        "P7   {per_minute} requests a minute at 200 ms: {:.1} % used (goal 95), busiest span {busiest} of {allowed:.0} allowed, {:.1} s",
        used * 100.0,
        own.seconds
    );
}

/// P8: cold starts of the program itself.
fn start() {
    let program = Path::new(env!("CARGO_BIN_EXE_reconciled"));
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let started = Instant::now();
            assert!(
                Command::new(program)
                    .arg("--version")
                    .output()
                    .unwrap()
                    .status
                    .success()
            );
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("P8   --version: {:.1} ms (goal 10)", times[10].as_secs_f64() * 1000.0);
    let dir = tempfile::tempdir().unwrap();
    books::twenty_jobs(dir.path());
    let config = dir.path().join("reconciled.toml");
    let started = Instant::now();
    let checked = Command::new(program)
        .arg("check")
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    let took = started.elapsed().as_secs_f64() * 1000.0;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    println!("P8   check of 20 jobs: {took:.1} ms (goal 50)");
}

/// A temporary folder's path as text.
fn path(dir: &tempfile::TempDir) -> String {
    dir.path().display().to_string()
}
