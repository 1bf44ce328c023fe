//! The product itself, through its public rooms.

use std::path::Path;

use reconciled::compare::{self, LedgerLeg};
use reconciled::config::{self, Job, JobSource, Settings};
use reconciled::day::{last_day_over, parse_instant};
use reconciled::fetch::{Client, Night, Quiet};
use reconciled::report::definition;
use reconciled::store::Store;
use reconciled::store::runs::{RunStart, begin_run};
use reconciled::{fetch, report};
use tokio_util::sync::CancellationToken;

use crate::{Stopwatch, Took};

/// The night of every contest.
pub const AS_OF: &str = "2026-01-20T02:00:00Z";

/// Settings and one One2Pays job in `dir`, as a user would write them.
pub fn job(dir: &Path, url: &str) -> (Settings, Job) {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("reconciled.toml", "database = \"reconciled.db\"\n");
    write("api-key", "pk_test_bench\n");
    write("secret-key", "sk_test_bench\n");
    write(
        "jobs/bench.toml",
        &format!(
            "schedule = \"0 0 3 * * *\"\ntimezone = \"Asia/Bangkok\"\n\
             [provider]\nkind = \"one2pays\"\nbase_url = \"{url}\"\napi_key = \"file:api-key\"\nsecret_key = \"file:secret-key\"\n\
             [fetch]\nstart = 2026-01-01\n\
             [ledger]\nkind = \"csv\"\npath = \"ledger.csv\"\ncurrency_default = \"THB\"\n\
             [ledger.columns]\nreference = \"reference\"\namount = \"amount\"\n"
        ),
    );
    let (settings, mut jobs) = config::load(Some(&dir.join("reconciled.toml"))).unwrap_or_else(|p| panic!("{p:?}"));
    (settings, jobs.remove(0))
}

/// The whole reading of a provider: pages archived durably, rows, versions, unreadable rows, the window sealed.
pub fn ingest(dir: &Path, url: &str, in_flight: u32, per_minute: u32) -> Took {
    let (settings, mut job) = job(dir, url);
    // The job file bounds the pace; the contest is about the machine.
    job.fetch.requests_per_minute = per_minute;
    job.fetch.max_in_flight = in_flight;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(&settings.database).unwrap();
        let JobSource::Provider(setup) = &job.source else {
            panic!("not a provider")
        };
        let client = Client::new(setup, &settings.http, &job.fetch, &settings.folder).unwrap();
        let as_of = parse_instant(AS_OF).unwrap();
        let again = store
            .read(|c| Ok(c.query_row("SELECT count(*) FROM windows", [], |r| r.get::<_, i64>(0))?))
            .unwrap();
        let as_of = as_of + chrono::TimeDelta::minutes(again);
        let stop = CancellationToken::new();
        let watch = Stopwatch::start();
        let night = Night {
            store: &store,
            job: &job,
            setup,
            client: &client,
            as_of,
            fresh_since: as_of,
            ledger_taken: true,
            stop: &stop,
            progress: &Quiet,
        };
        let reading = fetch::read(&night).await;
        assert!(reading.failures.is_empty(), "{:?}", reading.failures);
        watch.stop()
    })
}

/// From the stored tables to stored discrepancies.
pub fn compare(dir: &Path) -> Took {
    let (settings, job) = job(dir, "http://127.0.0.1:9");
    let store = Store::open(&settings.database).unwrap();
    let as_of = parse_instant(AS_OF).unwrap();
    let business_day = last_day_over(as_of, job.fetch.settle, job.timezone);
    let run = RunStart {
        job: &job.name,
        as_of,
        business_day,
        started_at: as_of,
    };
    let run_id = begin_run(&store, &run).unwrap();
    let night = compare::Night {
        store: &store,
        job: &job,
        run_id,
        as_of,
        business_day,
        ledger: LedgerLeg::Present,
        reading_complete: true,
        asked_since: as_of,
    };
    let watch = Stopwatch::start();
    let outcome = compare::compare(&night).unwrap();
    let took = watch.stop();
    assert!(outcome.matched > 0, "{outcome:?}");
    took
}

/// The discrepancies report as one CSV, rendered and written.
pub fn csv(dir: &Path) -> Took {
    let (settings, job) = job(dir, "http://127.0.0.1:9");
    let store = Store::open(&settings.database).unwrap();
    let as_of = parse_instant(AS_OF).unwrap();
    let business_day = last_day_over(as_of, job.fetch.settle, job.timezone).to_string();
    let parameters = definition::Parameters {
        job: &job.name,
        business_day: &business_day,
        as_of: AS_OF,
        run_id: 1,
    };
    let watch = Stopwatch::start();
    let sql = definition::load("discrepancies", None).unwrap();
    let bytes = store
        .read(|conn| definition::render(conn, "discrepancies", &sql, parameters, job.locale))
        .unwrap();
    std::fs::write(dir.join("own.csv"), &bytes).unwrap();
    assert!(bytes.len() > 1_000);
    watch.stop()
}

/// The same as a night makes it: the CSV and the workbook with the same rows, put in their place.
pub fn reports(dir: &Path) -> Took {
    let (settings, mut job) = job(dir, "http://127.0.0.1:9");
    job.report.reports = vec!["discrepancies".to_owned()];
    let store = Store::open(&settings.database).unwrap();
    let as_of = parse_instant(AS_OF).unwrap();
    let business_day = last_day_over(as_of, job.fetch.settle, job.timezone);
    let watch = Stopwatch::start();
    let files = report::produce(&store, &job, None, 1, as_of, business_day).unwrap();
    report::write_files(&settings.out, business_day, &job.name, &files).unwrap();
    assert!(files[0].bytes.len() > 1_000);
    watch.stop()
}
