//! How long a comparison takes against a bare merge of two ordered cursors over the same indexes, in one run.
//!
//! `cargo run --release --example compare_speed -- [ROWS] [ids] [FILE.db]`: ROWS records and about as many entries (default
//! 1,000,000), with `ids` every entry carries the provider's id. About 2 % of the rows differ, in every plain kind. FILE.db keeps
//! the database for another time. CPU time is printed beside wall time: it also tells the truth on a busy machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Clock};

use chrono::TimeDelta;
use reconciled::compare::{self, Case, LedgerLeg, Night};
use reconciled::config::{Encoding, Fetch, FileFeed, Job, JobSource, Ledger, LedgerKind, Locale, Match, Report};
use reconciled::day::parse_instant;
use reconciled::money::Unit;
use reconciled::store::Store;
use rusqlite::Connection;

const CACHE_KIB: i64 = 16 * 1024;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rows: u64 = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(1_000_000);
    let ids = arguments.iter().any(|a| a == "ids");
    let folder = tempfile::tempdir()?;
    let kept = arguments.iter().find(|a| a.ends_with(".db"));
    let path = kept.map_or_else(|| folder.path().join("speed.db"), PathBuf::from);
    let clock = Clock::now();
    if !path.exists() {
        fill(&path, rows, ids)?;
    }
    println!(
        "{rows} records and entries stored in {:.1} s",
        clock.elapsed().as_secs_f32()
    );

    let (mut bare_times, mut look_times, mut whole_times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare_cpu, mut look_cpu, mut whole_cpu) = (Vec::new(), Vec::new(), Vec::new());
    let first_run = next_run(&path)?;
    let mut memory = (0, 0);
    for round in 0..ROUNDS {
        let conn = open(&path)?;
        let (clock, used) = (Clock::now(), cpu());
        let counts = bare(&conn)?;
        bare_times.push(clock.elapsed());
        bare_cpu.push(cpu_since(used));
        drop(conn);
        memory.0 = peak_mb();
        let used = cpu();
        look_times.push(look(&path)?);
        look_cpu.push(cpu_since(used));
        let used = cpu();
        let (outcome, whole) = whole(&path, first_run + round as i64)?;
        whole_times.push(whole);
        whole_cpu.push(cpu_since(used));
        memory.1 = peak_mb();
        if round == 0 {
            println!("bare merge: {counts:?}");
            println!("comparison: {outcome:?}");
        }
    }
    let first = (whole_times[0], whole_cpu[0]);
    let bare = (median(&mut bare_times), median(&mut bare_cpu));
    let look = (median(&mut look_times), median(&mut look_cpu));
    let whole = (median(&mut whole_times), median(&mut whole_cpu));
    println!("                                 wall        cpu");
    for (name, (wall, cpu)) in [
        ("bare merge of two cursors", bare),
        ("finding, one thread", look),
        ("found and stored, first night", first),
        ("found and stored, median", whole),
    ] {
        println!(
            "{name:30} {:6.3} {:5.2} {:6.3} {:5.2}",
            wall.as_secs_f32(),
            wall.as_secs_f32() / bare.0.as_secs_f32(),
            cpu.as_secs_f32(),
            cpu.as_secs_f32() / bare.1.as_secs_f32()
        );
    }
    println!("peak memory: bare {} MB, all {} MB", memory.0, memory.1);
    Ok(())
}

/// CPU time of the whole process so far, in ticks of 10 ms.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum()
}

fn cpu_since(before: u64) -> Duration {
    Duration::from_millis((cpu() - before) * 10)
}

fn next_run(path: &Path) -> Result<i64, rusqlite::Error> {
    open(path)?.query_row("SELECT coalesce(max(run_id), 0) + 1 FROM runs", [], |row| row.get(0))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Peak resident memory of this process so far.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or_default()
        / 1024
}

fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let conn = Connection::open(path)?;
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = FILE;"
    ))?;
    Ok(conn)
}

/// Random keys, rows in order of time; the worst order for an index.
fn fill(path: &Path, rows: u64, ids: bool) -> Result<(), rusqlite::Error> {
    drop(Store::open(path).map_err(|_| rusqlite::Error::InvalidQuery)?);
    let mut conn = open(path)?;
    let tx = conn.transaction()?;
    {
        let mut record = tx.prepare(
            "INSERT INTO transactions (job, provider, account, feed, provider_id, reference, direction, kind, currency,
               amount_minor, status, provider_status, occurred_at, changed_at, business_day, first_seen_at, seen_at)
             VALUES ('speed', 'toy', '1', 'deposits', ?1, ?2, ?3, 'deposit', 'PEN', ?4, 'settled', 'COMPLETED', ?5, ?5,
               '2026-03-04', ?5, ?5)",
        )?;
        let mut entry = tx.prepare(
            "INSERT INTO ledger_entries (job, reference, provider_id, direction, currency, amount_minor, status, booked_at,
               source, source_line) VALUES ('speed', ?1, ?2, ?3, 'PEN', ?4, ?5, ?6, 'ledger.csv', ?7)",
        )?;
        let moment = "2026-03-04T15:22:09.000Z";
        for n in 0..rows {
            let (id, reference) = (uuid(n, 1), uuid(n, 2));
            let out = n % 10 == 0;
            let direction = if out { "out" } else { "in" };
            let amount = (1 + mix(n, 3) % 1_000_000) as i64 * if out { -1 } else { 1 };
            let plan = n % 1000;
            if plan >= 5 {
                record.execute((&id, &reference, direction, amount, moment))?;
            }
            if plan == 20 {
                record.execute((uuid(n, 4), &reference, direction, amount, moment))?;
            }
            if !(5..10).contains(&plan) {
                let ours = if (10..15).contains(&plan) { amount + 1 } else { amount };
                let status = if (15..20).contains(&plan) { "failed" } else { "settled" };
                let id = Some(&id).filter(|_| ids);
                entry.execute((&reference, id, direction, ours, status, moment, n as i64 + 2))?;
            }
        }
        tx.execute(
            "INSERT INTO windows (job, feed, from_at, until_at, state)
             VALUES ('speed', 'deposits', '2026-01-01T00:00:00.000Z', '2026-03-20T00:00:00.000Z', 'sealed')",
            [],
        )?;
    }
    tx.commit()?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;")
}

fn mix(n: u64, salt: u64) -> u64 {
    // splitmix64
    let mut z = (n ^ (salt << 56)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn uuid(n: u64, salt: u64) -> String {
    let (a, b) = (mix(n, salt), mix(n, salt + 100));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

#[derive(Debug, Default)]
struct Counts {
    equal: u64,
    differ: u64,
    only_left: u64,
    only_right: u64,
}

/// The reference of PERFORMANCE.md: key, amount and status from covering indexes, classified, nothing else.
fn bare(conn: &Connection) -> Result<Counts, rusqlite::Error> {
    let mut left = conn.prepare(
        "SELECT reference, amount_minor, status FROM transactions INDEXED BY transactions_by_reference
          WHERE job = 'speed' AND direction = ?1 ORDER BY reference",
    )?;
    let mut right = conn.prepare(
        "SELECT reference, amount_minor, status FROM ledger_entries INDEXED BY ledger_by_reference
          WHERE job = 'speed' AND direction = ?1 ORDER BY reference",
    )?;
    let mut counts = Counts::default();
    for direction in ["in", "out"] {
        let (mut left, mut right) = (left.query([direction])?, right.query([direction])?);
        let (mut l, mut r) = (left.next()?, right.next()?);
        loop {
            let order = match (l, r) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.get_ref(0)?.as_bytes()?.cmp(b.get_ref(0)?.as_bytes()?),
            };
            match order {
                std::cmp::Ordering::Less => counts.only_left += 1,
                std::cmp::Ordering::Greater => counts.only_right += 1,
                std::cmp::Ordering::Equal => {
                    let (Some(a), Some(b)) = (l, r) else { break };
                    let same = a.get_ref(1)? == b.get_ref(1)? && a.get_ref(2)? == b.get_ref(2)?;
                    if same { counts.equal += 1 } else { counts.differ += 1 }
                }
            }
            if order.is_le() {
                l = left.next()?;
            }
            if order.is_ge() {
                r = right.next()?;
            }
        }
    }
    Ok(counts)
}

fn whole(path: &Path, run_id: i64) -> Result<(compare::Outcome, Duration), Box<dyn std::error::Error>> {
    let job = job();
    let as_of = parse_instant("2026-03-19T08:00:00Z").ok_or("an instant")?;
    let business_day = "2026-03-18".parse()?;
    let store = Store::open(path)?;
    store.write(|tx| {
        let sql = "INSERT INTO runs (run_id, job, as_of, business_day, started_at) VALUES (?1, 'speed', 't', '2026-03-18', 't')";
        tx.execute(sql, [run_id])?;
        Ok(())
    })?;
    let clock = Clock::now();
    let ledger = LedgerLeg::Present;
    let night = Night {
        store: &store,
        job: &job,
        run_id,
        as_of,
        business_day,
        ledger,
        reading_complete: true,
    };
    let outcome = compare::compare(&night)?;
    Ok((outcome, clock.elapsed()))
}

/// Finding alone, through one connection and one thread.
fn look(path: &Path) -> Result<Duration, Box<dyn std::error::Error>> {
    let job = job();
    let as_of = parse_instant("2026-03-19T08:00:00Z").ok_or("an instant")?;
    let business_day = "2026-03-18".parse()?;
    let ledger = LedgerLeg::Present;
    let case = Case {
        job: &job,
        run_id: 0,
        as_of,
        business_day,
        ledger,
        reading_complete: true,
    };
    let conn = open(path)?;
    let clock = Clock::now();
    compare::look(&conn, &case)?;
    Ok(clock.elapsed())
}

fn job() -> Job {
    let table = Ledger {
        kind: LedgerKind::Csv { pattern: String::new() },
        columns: BTreeMap::new(),
        currency_default: None,
        delimiter: None,
        encoding: Encoding::Utf8,
        decimal: b'.',
        date_format: None,
        timezone: None,
        amount_unit: Unit::Major,
        directions: BTreeMap::new(),
        statuses: BTreeMap::new(),
        expected_account: None,
    };
    Job {
        name: "speed".into(),
        file: PathBuf::new(),
        schedule: String::new(),
        timezone: chrono_tz::UTC,
        recipients: Vec::new(),
        locale: Locale::default(),
        source: JobSource::File(FileFeed {
            feed: "deposits".into(),
            provider: "toy".into(),
            table,
            bank: false,
        }),
        fetch: Fetch {
            start: chrono::NaiveDate::default() + TimeDelta::days(20_454),
            lookback: TimeDelta::days(60),
            settle: TimeDelta::minutes(10),
            requests_per_minute: 60,
            max_in_flight: 1,
            request_timeout: Duration::from_secs(30),
            max_retry_wait: Duration::from_secs(900),
        },
        ledger: None,
        matching: Match {
            amount_tolerance: "0.00".into(),
            grace_ledger: TimeDelta::hours(24),
            grace_provider: TimeDelta::hours(72),
            stale_pending_days: 14,
            suggest_days: 2,
        },
        report: Report {
            reports: Vec::new(),
            flood_limit: 200,
            reject_threshold: 0,
        },
        shape: String::new(),
    }
}
