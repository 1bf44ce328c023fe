//! The goals P1 to P9, each measured beside what it is measured against.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Measured, Ratio, Scores, books, contest, median, pages, path, peers, say};

/// Rounds of what is short; the median counts.
pub const ROUNDS: usize = 3;

pub fn run(rows: u64, wanted: &dyn Fn(&str) -> bool, scores: &mut Scores) {
    let any = |goals: &[&str]| goals.iter().any(|goal| wanted(goal));
    if any(&["P1", "P4", "P5"]) {
        ingest(rows, scores);
    }
    if any(&["P2"]) {
        latency(rows.min(100_000), scores);
    }
    if any(&["P3", "P4", "P5", "P6", "P9"]) {
        comparison(rows, wanted, scores);
    }
    if any(&["P6"]) {
        read_again(rows / 10, scores);
    }
    if any(&["P7"]) {
        pace(scores);
    }
    if any(&["P8"]) {
        start(scores);
    }
}

/// What is compared with a tenth of itself.
fn growth(scores: &mut Scores, what: &str, rows: u64, measured: Measured, tenth: Measured) {
    let ratio = Ratio::of(measured, tenth);
    let what = format!("{what}: t({rows}) / t({})", rows / 10);
    println!("P5   {what} = {:.1}, {:.1} by processor", ratio.wall, ratio.cpu);
    scores.ratio("P5", &what, ratio, 11.0);
}

/// P1, P4, P5: a backfill, fully durable.
fn ingest(rows: u64, scores: &mut Scores) {
    let mut tenth = None;
    for rows in [rows / 10, rows] {
        let server = pages::serve(rows, Duration::ZERO);
        let count = rows.to_string();
        let (bare_dir, own_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bare = contest(&["bare-ingest", &path(&bare_dir), &server.url, &count, "4"]);
        let own = contest(&["ingest", &path(&own_dir), &server.url, "4"]);
        books::expect_rows(own_dir.path(), rows);
        say("P1", &format!("bare two-phase loop, {rows} rows"), bare, None);
        let ratio = say("P1", &format!("reconciled, {rows} rows"), own, Some(("bare", bare)));
        if let Some(tenth) = tenth {
            scores.ratio("P1", &format!("ingest {rows} rows / bare loop"), ratio, 1.5);
            scores.at_most("P4", &format!("ingest {rows} rows, MB"), own.peak_mb, 160.0);
            growth(scores, "ingest", rows, own, tenth);
            // Takes minutes for a million rows.
            peers::ingest(&server.url, rows, own, scores);
        }
        tenth = Some(own);
    }
}

/// P2: the same with 20 ms on every page.
fn latency(rows: u64, scores: &mut Scores) {
    let server = pages::serve(rows, Duration::from_millis(20));
    for in_flight in ["1", "4", "16"] {
        let count = rows.to_string();
        let (bare_dir, own_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bare = contest(&["bare-ingest", &path(&bare_dir), &server.url, &count, in_flight]);
        let own = contest(&["ingest", &path(&own_dir), &server.url, in_flight]);
        let what = format!("{rows} rows, 20 ms a page, {in_flight} in flight");
        let ratio = say("P2", &what, own, Some(("bare", bare)));
        scores.at_most("P2", &format!("{what} / bare loop"), ratio.wall, 1.1);
    }
}

/// P3, P4, P5, P6, P9: compare what is stored, compare it again after a night, and write a report of it.
fn comparison(rows: u64, wanted: &dyn Fn(&str) -> bool, scores: &mut Scores) {
    let (mut tenth, mut tenth_night) = (None, None);
    for rows in [rows / 10, rows] {
        let dir = tempfile::tempdir().unwrap();
        contest(&["fill", &path(&dir), &rows.to_string()]);
        let (bare, own) = compare_once(dir.path());
        say("P3", &format!("bare merge of two cursors, {rows} × {rows}"), bare, None);
        let ratio = say("P3", &format!("reconciled, {rows} × {rows}"), own, Some(("bare", bare)));
        if let Some(tenth) = tenth {
            scores.ratio("P3", &format!("compare {rows} × {rows} / bare merge"), ratio, 2.0);
            let limit = if rows > 1_000_000 { 256.0 } else { 150.0 };
            scores.at_most("P4", &format!("compare {rows} × {rows}, MB"), own.peak_mb, limit);
            growth(scores, "compare", rows, own, tenth);
            peers::compare(dir.path(), own, scores);
        }
        if wanted("P6") {
            books::ten_thousand_more(dir.path());
            let night = contest(&["compare", &path(&dir)]);
            say(
                "P6",
                &format!("compare after 10,000 new rows on {rows} stored"),
                night,
                None,
            );
            if let Some(tenth) = tenth_night {
                scores.ratio("P6", "a night on ten times as many rows", Ratio::of(night, tenth), 1.5);
            }
            tenth_night = Some(night);
        }
        if wanted("P9") {
            let ratio = report(dir.path(), rows);
            if tenth.is_some() {
                scores.ratio(
                    "P9",
                    &format!("{rows} discrepancies to CSV / the csv crate"),
                    ratio,
                    2.0,
                );
            }
        }
        tenth = Some(own);
    }
}

/// The bare merge and the whole comparison in turn, each time from the same books; the last comparison stays.
fn compare_once(dir: &Path) -> (Measured, Measured) {
    let (books, kept) = (dir.join("reconciled.db"), dir.join("kept.db"));
    std::fs::copy(&books, &kept).unwrap();
    let name = dir.display().to_string();
    let (mut bare, mut own) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round > 0 {
            // A log that stayed would be played into the copy.
            let log = |end: &str| dir.join(format!("reconciled.db-{end}"));
            let _ = (std::fs::remove_file(log("wal")), std::fs::remove_file(log("shm")));
            std::fs::copy(&kept, &books).unwrap();
        }
        // What is still on its way to the disk would be paid for by whoever comes next.
        std::fs::File::open(&books).and_then(|file| file.sync_all()).unwrap();
        bare.push(contest(&["bare-merge", &name]));
        own.push(contest(&["compare", &name]));
    }
    std::fs::remove_file(kept).unwrap();
    (median(bare), median(own))
}

/// P9: the report of as many discrepancies as there are rows.
fn report(dir: &Path, rows: u64) -> Ratio {
    books::every_row_differs(dir, rows);
    books::lay_out_fields(dir);
    let name = dir.display().to_string();
    let bare = contest(&["bare-csv", &name]);
    let own = contest(&["csv", &name]);
    say("P9", "the csv crate, fields worked out and in order", bare, None);
    let ratio = say(
        "P9",
        &format!("{rows} discrepancies to CSV"),
        own,
        Some(("the csv crate", bare)),
    );
    let both = contest(&["reports", &name]);
    say(
        "P9",
        &format!("{rows} discrepancies to CSV and workbook"),
        both,
        Some(("the csv crate", bare)),
    );
    ratio
}

/// P6: an unchanged listing read again.
fn read_again(rows: u64, scores: &mut Scores) {
    let server = pages::serve(rows, Duration::ZERO);
    let dir = tempfile::tempdir().unwrap();
    let first = contest(&["ingest", &path(&dir), &server.url, "4"]);
    let again = contest(&["ingest", &path(&dir), &server.url, "4"]);
    let what = format!("unchanged listing of {rows} rows read again");
    let ratio = say("P6", &what, again, Some(("the first reading", first)));
    scores.ratio("P6", &format!("{what} / first reading"), ratio, 0.34);
}

/// P7: the share of the allowed rate that is used at 200 ms of latency, and that it is never exceeded.
fn pace(scores: &mut Scores) {
    let (per_minute, pages) = (800_u32, 400_u64);
    let server = pages::serve(pages * 100, Duration::from_millis(200));
    let dir = tempfile::tempdir().unwrap();
    let own = contest(&["paced", &path(&dir), &server.url, "8", &per_minute.to_string()]);
    let arrivals = server.arrivals();
    let span = arrivals.last().unwrap().duration_since(arrivals[0]).as_secs_f64();
    let used = (arrivals.len() - 1) as f64 / span * 60.0 / f64::from(per_minute);
    let stretch = Duration::from_secs(60).min(Duration::from_secs_f64(span / 2.0));
    let busiest = pages::busiest(&arrivals, stretch);
    let allowed = f64::from(per_minute) * stretch.as_secs_f64() / 60.0;
    println!(
        "P7   {per_minute} requests a minute at 200 ms: {:.1} % used, busiest span {busiest} of {allowed:.0} allowed, {:.1} s",
        used * 100.0,
        own.seconds
    );
    scores.at_least("P7", "allowed requests used at 200 ms, %", used * 100.0, 95.0);
    // Both ends of a stretch may hold a request.
    scores.at_most(
        "P7",
        "requests in the busiest stretch",
        busiest as f64,
        allowed.floor() + 1.0,
    );
}

/// P8: cold starts of the program itself.
fn start(scores: &mut Scores) {
    let program = Path::new(env!("CARGO_BIN_EXE_reconciled"));
    let timed = |arguments: &[&str]| {
        let mut times: Vec<Duration> = (0..11)
            .map(|_| {
                let started = Instant::now();
                let ended = Command::new(program).args(arguments).output().unwrap();
                let took = started.elapsed();
                assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
                took
            })
            .collect();
        times.sort_unstable();
        times[5].as_secs_f64() * 1000.0
    };
    let version = timed(&["--version"]);
    let dir = tempfile::tempdir().unwrap();
    books::twenty_jobs(dir.path());
    let config = dir.path().join("reconciled.toml").display().to_string();
    let check = timed(&["check", "--config", &config]);
    println!("P8   --version {version:.1} ms, check of 20 jobs {check:.1} ms");
    let idle = idle_second(program, &config);
    println!("P8   an idle second of `serve` with 20 jobs {idle:.2} ms of the processors");
    scores.at_most("P8", "--version, ms", version, 10.0);
    scores.at_most("P8", "check of 20 jobs, ms", check, 50.0);
    scores.at_most("P8", "an idle second of `serve`, ms", idle, 10.0);
}

/// Milliseconds of the processors that a waiting `serve` takes in a second.
fn idle_second(program: &Path, config: &str) -> f64 {
    const SECONDS: u32 = 20;
    let mut serve = Command::new(program)
        .args(["serve", "--config", config])
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", serve.id());
    // Nanoseconds on a processor are the first number of every thread's line.
    let spent = || -> f64 {
        let threads = std::fs::read_dir(&tasks).unwrap().flatten();
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
            .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
            .sum()
    };
    std::thread::sleep(Duration::from_secs(5));
    let before = spent();
    std::thread::sleep(Duration::from_secs(SECONDS.into()));
    let took = spent() - before;
    assert!(serve.try_wait().unwrap().is_none(), "it ended by itself");
    serve.kill().unwrap();
    serve.wait().unwrap();
    took / 1e6 / f64::from(SECONDS)
}
