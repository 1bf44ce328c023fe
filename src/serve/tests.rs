//! Serving with a clock that is handed in: clock changes, restarts, two instances, nights that panic or end early.

use std::sync::Arc;

use super::*;
use crate::config::ProviderSetup;
use crate::day::{format_instant, parse_instant};
use crate::providers::{
    Ask, BadPage, Books, Feed, Judgement, Keys, PageHead, Parsed, Provider, Relation, Reply, Request, Session, Step,
};
use crate::store::RunStart;

const JOB: &str = r#"
schedule = "0 30 2 * * *"
timezone = "Europe/London"
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

const SETTINGS: &str = r#"
published = ""
[mail]
transport = "folder"
from = "R <r@example.com>"
[alerts]
recipients = ["ops@example.com"]
[metrics]
textfile = "reconciled.prom"
"#;

/// A folder with file jobs.
struct Place(tempfile::TempDir);

impl Place {
    fn new(jobs: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.0.path().join("jobs")).unwrap();
        for job in jobs {
            place.write(&format!("jobs/{job}.toml"), JOB);
        }
        place.write("reconciled.toml", SETTINGS);
        place.write("bank.csv", "ref,amount,at\nA,10.00,2026-01-05T10:00:00Z\n");
        place
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn house(&self) -> House {
        let (settings, jobs) = crate::config::load(Some(&self.0.path().join("reconciled.toml"))).unwrap();
        drop(Store::open(&settings.database).unwrap());
        House {
            settings,
            jobs,
            progress: Told::default(),
        }
    }

    /// Every run: job, business day, as-of, exit code.
    fn runs(&self) -> Vec<(String, String, String, i64)> {
        let store = Store::open_read_only(&self.0.path().join("reconciled.db")).unwrap();
        store
            .read(|books| {
                let mut all = books.prepare("SELECT job, business_day, as_of, exit_code FROM runs ORDER BY run_id")?;
                let rows = all.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .unwrap()
    }

    fn days(&self) -> Vec<String> {
        self.runs().into_iter().map(|run| run.1).collect()
    }

    /// Subjects of the mails in the folder, sorted.
    fn subjects(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.0.path().join("mail")) else {
            return Vec::new();
        };
        let mut subjects: Vec<String> = entries
            .map(|entry| {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                let mail = mail_parser::MessageParser::default().parse(&bytes).unwrap();
                mail.subject().unwrap().to_owned()
            })
            .collect();
        subjects.sort();
        subjects
    }
}

/// A provider with a mistake in it.
struct Panics;

impl Provider for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn feeds(&self) -> Vec<Feed> {
        panic!("4111111111111111")
    }

    fn sign(&self, _: &mut Request, _: Option<&Session>, _: &Keys, _: Instant) {}

    fn next(&self, _: &Ask, _: &[PageHead]) -> Step {
        Step::Done
    }

    fn request(&self, _: &Ask, _: u32, _: &[PageHead]) -> Request {
        Request::get("/", "")
    }

    fn judge(&self, _: &Ask, _: &Reply) -> Judgement {
        Judgement::Page
    }

    fn head(&self, _: &Ask, _: u32, _: &[u8]) -> Result<PageHead, BadPage> {
        Ok(PageHead::default())
    }

    fn parse(&self, _: &Ask, _: u32, _: &[u8]) -> Parsed {
        Parsed::default()
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn relations(&self, _: &Books) -> Vec<Relation> {
        Vec::new()
    }
}

fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

async fn catch_up(house: &House, now: &str) {
    let now = at(now);
    house.catch_up(move || now, &CancellationToken::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn through_both_clock_changes_each_business_day_is_run_once_and_reported_by_itself() {
    for (begin, days) in [
        (
            "2026-03-27T12:00:00Z",
            ["2026-03-26", "2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30"],
        ),
        (
            "2026-10-23T12:00:00Z",
            ["2026-10-22", "2026-10-23", "2026-10-24", "2026-10-25", "2026-10-26"],
        ),
    ] {
        let place = Place::new(&["bank"]);
        let begin = at(begin);
        // The bell every 97 minutes, and a house begun anew each time: restarts change nothing.
        for ring in 0..62 {
            let now = begin + chrono::TimeDelta::minutes(97 * ring);
            catch_up(&place.house(), &format_instant(now)).await;
        }
        assert_eq!(place.days(), days);
        for day in days {
            let report = place
                .0
                .path()
                .join(format!("out/{day}/bank/{day}_bank_discrepancies.csv"));
            assert!(report.exists(), "{}", report.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_nights_are_caught_up_oldest_first_each_with_its_own_report() {
    let place = Place::new(&["one", "two"]);
    catch_up(&place.house(), "2026-02-02T12:00:00Z").await;
    catch_up(&place.house(), "2026-02-06T12:00:00Z").await;
    let runs: Vec<String> = place
        .runs()
        .into_iter()
        .map(|run| format!("{} {}", run.1, run.0))
        .collect();
    let expected: Vec<String> = ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04", "2026-02-05"]
        .iter()
        .flat_map(|day| [format!("{day} one"), format!("{day} two")])
        .collect();
    assert_eq!(runs, expected);
    assert!(
        place
            .0
            .path()
            .join("out/2026-02-03/two/2026-02-03_two_summary.csv")
            .exists()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_back_runs_nothing_twice_and_one_that_jumps_ahead_leaves_no_day_out() {
    let place = Place::new(&["bank"]);
    for now in [
        "2026-02-03T12:00:00Z",
        "2026-02-01T12:00:00Z",
        "2026-02-03T12:00:00Z",
        "2026-02-05T01:00:00Z",
    ] {
        catch_up(&place.house(), now).await;
    }
    assert_eq!(place.days(), ["2026-02-02", "2026-02-03"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_at_once_run_a_night_once() {
    let place = Place::new(&["bank"]);
    let (one, two) = (place.house(), place.house());
    let now = at("2026-02-03T12:00:00Z");
    let stop = CancellationToken::new();
    let (first, second) = tokio::join!(one.catch_up(move || now, &stop), two.catch_up(move || now, &stop));
    for busy in [first, second].into_iter().filter_map(Result::err) {
        assert_eq!(busy.class, Class::Partial, "{busy}");
    }
    // Whoever was refused finds nothing left to do.
    two.catch_up(move || now, &stop).await.unwrap();
    assert_eq!(place.days(), ["2026-02-02"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_one_job_is_a_failed_run_of_that_job_only_and_the_operators_hear_of_it_once() {
    let place = Place::new(&["good", "panics"]);
    let mut house = place.house();
    let job = house
        .jobs
        .iter_mut()
        .find(|job| job.name == "panics")
        .expect("the job is there");
    job.source = JobSource::Provider(ProviderSetup {
        provider: Arc::new(Panics),
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        secrets: BTreeMap::new(),
        lane: "panics".to_owned(),
        strict_balance: false,
    });
    for _ in 0..2 {
        catch_up(&house, "2026-02-03T12:00:00Z").await;
    }
    let codes: Vec<(String, i64)> = place.runs().into_iter().map(|run| (run.0, run.3)).collect();
    assert_eq!(codes, [("good".to_owned(), 0), ("panics".to_owned(), 70)]);
    assert_eq!(
        place
            .subjects()
            .iter()
            .filter(|s| s.contains("FAILED – panics 2026-02-02"))
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_ended_early_rests_is_tried_again_before_the_next_one_and_is_given_up_after_some_tries() {
    let place = Place::new(&["bank"]);
    let house = place.house();
    let store = Store::open(&house.settings.database).unwrap();
    let cut = |finished: &str, stopped: bool| {
        let (finished_at, as_of) = (at(finished), at("2026-02-03T02:30:00Z"));
        let start = RunStart {
            job: "bank",
            as_of,
            business_day: "2026-02-02".parse().unwrap(),
            started_at: finished_at,
        };
        crate::store::begin_run(&store, &start).unwrap();
        store
            .write(|tx| {
                let sql = "UPDATE runs SET finished_at = ?1, exit_code = 75, verdict = 'incomplete', stopped = ?2
                            WHERE finished_at IS NULL";
                tx.execute(sql, (format_instant(finished_at), stopped))?;
                Ok(())
            })
            .unwrap();
    };
    let due = |now: &str| -> Vec<String> {
        let due = what_is_due(&store, &house.jobs, at(now)).unwrap();
        due.iter().map(|due| due.business_day.to_string()).collect()
    };
    catch_up(&house, "2026-02-02T03:00:00Z").await;
    for _ in 0..9 {
        cut("2026-02-03T02:40:00Z", true);
        assert_eq!(
            due("2026-02-03T02:41:00Z"),
            ["2026-02-02"],
            "one that was asked to stop goes on at once"
        );
    }
    cut("2026-02-03T02:40:00Z", false);
    assert!(due("2026-02-03T02:54:00Z").is_empty(), "it rests");
    assert_eq!(due("2026-02-03T02:56:00Z"), ["2026-02-02"]);
    assert_eq!(
        due("2026-02-04T02:56:00Z"),
        ["2026-02-02", "2026-02-03"],
        "oldest first"
    );
    for _ in 1..8 {
        cut("2026-02-03T02:40:00Z", false);
    }
    assert_eq!(due("2026-02-04T02:56:00Z"), ["2026-02-03"], "given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_night_is_told_to_the_operators_once_and_shows_in_the_metrics() {
    let place = Place::new(&["bank"]);
    let house = place.house();
    catch_up(&house, "2026-02-02T03:00:00Z").await;
    let store = Store::open(&house.settings.database).unwrap();
    let late = |now: &str| alert::late(&store, &house.settings, &house.jobs, at(now)).unwrap();
    assert_eq!(
        late("2026-02-03T05:29:00Z"),
        0,
        "due at 02:30, three hours are not over"
    );
    assert_eq!(late("2026-02-03T05:31:00Z"), 1);
    assert_eq!(late("2026-02-03T09:00:00Z"), 0, "told already");
    assert_eq!(
        late("2026-02-04T09:00:00Z"),
        0,
        "the same night is still the oldest that is missing"
    );
    metrics::write(&house.settings, &house.jobs, at("2026-02-03T05:31:00Z")).unwrap();
    let text = std::fs::read_to_string(place.0.path().join("reconciled.prom")).unwrap();
    assert!(text.contains("\nreconciled_late{job=\"bank\"} 1\n"), "{text}");
    let (mail, http, folder) = (
        house.settings.mail.as_ref().unwrap(),
        &house.settings.http,
        &house.settings.folder,
    );
    let stop = CancellationToken::new();
    mail::deliver_until(&stop, &store, mail, http, folder, at("2026-02-03T05:31:00Z"))
        .await
        .unwrap();
    assert_eq!(place.subjects(), ["[reconciled] LATE – bank 2026-02-02"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ready_while_a_secret_cannot_be_read() {
    let place = Place::new(&["bank"]);
    let mut house = place.house();
    house.settings.alerts.heartbeat_url = SecretRef::parse("file:nowhere");
    let failure = ready(&house.settings, &house.jobs).unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    assert!(
        failure.message.contains("[alerts] heartbeat_url: the secret file"),
        "{failure}"
    );
    house.settings.alerts.heartbeat_url = None;
    ready(&house.settings, &house.jobs).unwrap();
    drop(Arc::new(house));
}

#[test]
fn the_status_line_says_where_each_job_stands() {
    let told = Told::default();
    told.begin("running 1 jobs for 2026-03-04");
    assert_eq!(told.sentence(), "running 1 jobs for 2026-03-04");
    told.windows("tupay-pe", 7);
    told.page("tupay-pe", "deposits", 500);
    told.page("tupay-pe", "deposits", 41);
    told.sealed("tupay-pe", "deposits");
    assert_eq!(
        told.sentence(),
        "running 1 jobs for 2026-03-04: tupay-pe 1 of 7 windows, 541 rows"
    );
}
