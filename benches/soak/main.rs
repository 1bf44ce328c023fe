//! Thirty years on one database: a job of TuPay's sandbox, night after night, with a clock that is handed in. Does a night cost
//! more because the books are old?
//!
//! `cargo bench --bench soak` (11,000 nights) or `cargo bench --bench soak -- 2000 /dev/shm 600 500`: nights, the folder in
//! which a temporary one is made (fsync costs nothing on a tmpfs; the ratio is about the work, not the disk), after how many
//! seconds no further stretch is begun, and nights per stretch. Every night plans, fetches over loopback, archives, imports
//! the whole ledger, compares, reports and mails into a folder. Printed per stretch: wall and processor time a night (on a
//! busy machine only the latter says much; what the sandbox and the writing of the ledger take is not in it), bytes a night,
//! and ratios against the first stretch.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant as Stopwatch;

use chrono::TimeDelta;
use reconciled::config::{self, Job, Settings};
use reconciled::day::{Instant, parse_instant};
use reconciled::fetch::Quiet;
use reconciled::run::{JobOutcome, Options, run_jobs};
use reconciled::sandbox::{self, Service, Setup, World, ledger};
use reconciled::store::{self, Store};
use tokio_util::sync::CancellationToken;

/// Thirty years.
const NIGHTS: u64 = 11_000;
/// Nights per line printed.
const STRETCH: u64 = 500;
/// Name of the threads that play the provider.
const SANDBOX: &str = "sandbox";
const FIRST: &str = "2000-01-01";

const JOB: &str = r#"
schedule = "0 0 12 * * *"
timezone = "America/Lima"
recipients = ["accounting@example.com"]
[provider]
kind = "tupay"
base_url = "{base_url}"
access_key = "file:access-key"
secret_key = "file:secret-key"
expected_merchant_id = 456
max_rps = 1000
[fetch]
start = 2000-01-01
lookback_days = 3
requests_per_minute = 60000
[ledger]
kind = "csv"
path = "tupay-pe.csv"
[ledger.columns]
ledger_id = "id"
reference = "order_id"
direction = "kind"
amount = "amount"
currency = "currency"
status = "state"
booked_at = "booked_at"
provider_id = "psp_id"
fee = "fee"
[ledger.direction]
in = ["deposit"]
out = ["payout"]
[ledger.status]
settled = ["paid"]
open = ["pending"]
failed = ["failed"]
"#;

// The copy for analysts is as long as the database is large, by what it is: measured apart in the other benchmark.
const SETTINGS: &str = "published = \"\"\n[mail]\ntransport = \"folder\"\nfrom = \"R <r@example.com>\"\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let nights = arguments.first().and_then(|n| n.parse().ok()).unwrap_or(NIGHTS);
    let place = arguments.get(1).map_or_else(std::env::temp_dir, Into::into);
    let seconds = arguments.get(2).and_then(|n| n.parse().ok()).unwrap_or(f64::INFINITY);
    let stretch = arguments.get(3).and_then(|n| n.parse().ok()).unwrap_or(STRETCH);
    let folder = tempfile::Builder::new().prefix("soak-").tempdir_in(place).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let provider = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(SANDBOX)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(soak(folder.path(), (nights, stretch), seconds, provider.handle()));
    provider.shutdown_background();
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn soak(dir: &Path, (nights, length): (u64, u64), seconds: f64, provider: &tokio::runtime::Handle) {
    let setup = Setup {
        seed: 1,
        first_day: FIRST.parse().unwrap(),
        days: nights + 2,
        volume: 1,
    };
    let begun = Stopwatch::now();
    let world = Arc::new(Mutex::new(World::of_tupay(setup)));
    println!(
        "{nights} nights; the world took {:.1} s to make",
        begun.elapsed().as_secs_f64()
    );
    let played = world.clone();
    let sandboxes = provider
        .spawn(async move { sandbox::start(played, Vec::new(), None).await.unwrap() })
        .await
        .unwrap();
    write(dir, "reconciled.toml", SETTINGS);
    write(
        dir,
        "jobs/tupay-pe.toml",
        &JOB.replace("{base_url}", &sandboxes.base_url(Service::Tupay)),
    );
    {
        let world = world.lock().unwrap();
        write(dir, "access-key", &world.doors.tupay.access_key);
        write(dir, "secret-key", &world.doors.tupay.secret_key);
    }
    let (settings, jobs) = config::load(Some(&dir.join("reconciled.toml"))).unwrap_or_else(|p| panic!("{p:?}"));
    // Noon in Lima after the first day.
    let first = parse_instant(&format!("{FIRST}T17:00:00Z")).unwrap();
    println!("  nights  wall ms/night  processor ms/night  x first  KB/night  x first  file MB  open");
    let (mut size, mut base) = (0.0, None);
    for stretch in 0..nights.div_ceil(length) {
        let (mut spent, worked, mut exported) = (0.0, processor_seconds(), 0.0);
        let (from, until) = (stretch * length, ((stretch + 1) * length).min(nights));
        let mut open = 0;
        for night in from..until {
            let now = first + TimeDelta::days(1 + night as i64);
            let before = busy_seconds("/proc/thread-self");
            let export = {
                let mut world = world.lock().unwrap();
                world.set_now(now);
                ledger::export(&world, "tupay-pe", now)
            };
            write(dir, "tupay-pe.csv", &export);
            exported += busy_seconds("/proc/thread-self") - before;
            // A file that is minutes old is not waited for.
            age(&dir.join("tupay-pe.csv"));
            let outcome = one_night(&settings, &jobs, now, &mut spent).await;
            open = outcome.open;
        }
        let bytes = std::fs::metadata(&settings.database).unwrap().len() as f64;
        let count = (until - from) as f64;
        let (wall, work) = (
            spent * 1000.0 / count,
            (processor_seconds() - worked - exported) * 1000.0 / count,
        );
        let grown = (bytes - size) / 1024.0 / count;
        size = bytes;
        let (first_work, first_grown) = *base.get_or_insert((work, grown));
        println!(
            "{until:>8} {wall:>14.1} {work:>19.1} {:>8.2} {grown:>9.1} {:>8.2} {:>8.1} {open:>5}",
            work / first_work,
            grown / first_grown,
            bytes / 1e6
        );
        if begun.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    let store = Store::open_read_only(&settings.database).unwrap();
    let begun = Stopwatch::now();
    let findings = store::verify(&store, &jobs).unwrap();
    println!(
        "verify: {} findings in {:.1} s",
        findings.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(findings.is_empty(), "{:?}", findings.first());
}

fn age(path: &Path) {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(old)
        .unwrap();
}

async fn one_night(settings: &Settings, jobs: &[Job], as_of: Instant, spent: &mut f64) -> JobOutcome {
    let options = Options {
        as_of: Some(as_of),
        mail: true,
        stop: CancellationToken::new(),
    };
    let begun = Stopwatch::now();
    let mut outcomes = run_jobs(settings, jobs, &options, &Quiet).await.unwrap();
    *spent += begun.elapsed().as_secs_f64();
    let outcome = outcomes.pop().unwrap();
    assert!(outcome.class.is_none(), "{as_of}: {:?}", outcome.message);
    outcome
}

/// User and system time of this process so far, its sandbox's not counted. The kernel counts it in hundredths of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name of the program, in brackets, may hold blanks.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split_whitespace().collect();
    let all: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().unwrap()).sum();
    all / 100.0 - sandbox_seconds()
}

fn sandbox_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads
        .map(|thread| thread.unwrap().path().display().to_string())
        // A thread may end meanwhile.
        .filter(|thread| std::fs::read_to_string(format!("{thread}/comm")).is_ok_and(|name| name.trim() == SANDBOX))
        .map(|thread| busy_seconds(&thread))
        .sum()
}

/// Time a thread had a processor.
fn busy_seconds(thread: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("{thread}/schedstat")).unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
