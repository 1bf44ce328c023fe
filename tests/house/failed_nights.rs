//! Nights of the whole line over a file job, so that no provider is needed: what is told when a night fails or is stopped.

use reconciled::config::{self, Job, Settings};
use reconciled::day::parse_instant;
use reconciled::fetch::Quiet;
use reconciled::record::Verdict;
use reconciled::run::{JobOutcome, Options, run_jobs};
use tokio_util::sync::CancellationToken;

use crate::House;

const JOB: &str = r#"
timezone = "UTC"
recipients = ["boss@example.com"]
[provider]
kind = "file"
feed = "transfers"
path = "export/*.csv"
currency_default = "PEN"
[provider.columns]
reference = "reference"
amount = "amount"
booked_at = "booked_at"
[fetch]
start = 2026-03-01
[report]
reports = ["summary", "mine"]
"#;

/// One file job and a report of its own, which can be broken and mended.
fn furnished() -> House {
    let house = House::new("[mail]\ntransport = \"folder\"\nfrom = \"recon@example.com\"\n", JOB);
    house.write(
        "export/a.csv",
        "reference,amount,booked_at\nA-1,10.00,2026-03-02T10:00:00Z\n",
    );
    house.write("reports/mine.sql", "SELECT 1 AS one");
    house
}

/// What this room asks a house.
impl House {
    fn load(&self) -> (Settings, Vec<Job>) {
        config::load(Some(&self.path().join("reconciled.toml"))).unwrap()
    }

    async fn night(&self, stop: CancellationToken) -> JobOutcome {
        self.nights("2026-03-05T08:00:00Z", stop).await.pop().unwrap()
    }

    /// Every night that was run, for one that was asked for.
    async fn nights(&self, as_of: &str, stop: CancellationToken) -> Vec<JobOutcome> {
        let (settings, jobs) = self.load();
        let options = Options {
            as_of: parse_instant(as_of),
            mail: true,
            stop,
        };
        run_jobs(&settings, &jobs, &options, &Quiet).await.unwrap()
    }

    /// Subjects of the mails in the folder.
    fn subjects(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path().join("mail")) else {
            return Vec::new();
        };
        let mut subjects: Vec<String> = entries
            .map(|entry| {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                let message = mail_parser::MessageParser::default().parse(&bytes).unwrap();
                message.subject().unwrap().to_owned()
            })
            .collect();
        subjects.sort();
        subjects
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_fails_before_its_reports_is_mailed_as_failed_and_told_again_when_it_is_whole() {
    let house = furnished();
    house.write("reports/mine.sql", "SELECT nothing");
    let failed = house.night(CancellationToken::new()).await;
    assert_eq!((failed.verdict, failed.exit_code()), (Verdict::Failed, 78));
    assert_eq!(failed.mails.len(), 1);
    assert_eq!(house.subjects().len(), 1);
    assert!(house.subjects()[0].contains("FAILED"), "{:?}", house.subjects());

    let again = house.night(CancellationToken::new()).await;
    assert_eq!(again.mails.len(), 0, "the same failure of the same night is no news");

    house.write("reports/mine.sql", "SELECT 1 AS one");
    let whole = house.night(CancellationToken::new()).await;
    assert_eq!(whole.exit_code(), 0, "{:?}", whole.message);
    assert_eq!(house.subjects().len(), 2);
    assert!(!house.subjects().iter().all(|subject| subject.contains("FAILED")));
    assert_eq!(house.night(CancellationToken::new()).await.mails.len(), 0);
    assert_eq!(house.subjects().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_whose_reports_could_not_be_written_gets_them_before_the_next_night() {
    let days = |outcomes: &[JobOutcome]| -> Vec<(String, u8)> {
        let told = |outcome: &JobOutcome| (outcome.business_day.to_string(), outcome.exit_code());
        outcomes.iter().map(told).collect()
    };
    let day = |day: &str, code: u8| (day.to_owned(), code);
    let house = furnished();
    let written = |day: &str| {
        let file = house.path().join(format!("out/{day}/bank/{day}_bank_summary.csv"));
        std::fs::read(file).ok()
    };
    // Something lies where the night's folder should be.
    house.write("out/2026-03-04", "in the way");
    let failed = house.nights("2026-03-05T08:00:00Z", CancellationToken::new()).await;
    assert_eq!(days(&failed), [day("2026-03-04", 74)]);

    let still = house.nights("2026-03-05T08:00:00Z", CancellationToken::new()).await;
    assert_eq!(
        days(&still),
        [day("2026-03-04", 74)],
        "the same night again is one night"
    );

    std::fs::remove_file(house.path().join("out/2026-03-04")).unwrap();
    let both = house.nights("2026-03-06T08:00:00Z", CancellationToken::new()).await;
    assert_eq!(days(&both), [day("2026-03-04", 0), day("2026-03-05", 0)]);
    assert!(written("2026-03-04").is_some() && written("2026-03-05").is_some());
    let subjects = house.subjects();
    let about = |day: &str| subjects.iter().filter(|subject| subject.contains(day)).count();
    assert_eq!((about("2026-03-04"), about("2026-03-05")), (2, 1), "{subjects:?}");

    let next = house.nights("2026-03-07T08:00:00Z", CancellationToken::new()).await;
    assert_eq!(days(&next), [day("2026-03-06", 0)], "nothing is told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_night_mails_nobody_and_the_next_one_does() {
    let house = furnished();
    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = house.night(stop).await;
    assert_eq!(stopped.exit_code(), 75);
    assert!(house.subjects().is_empty());
    assert_eq!(house.night(CancellationToken::new()).await.mails.len(), 1);
    assert_eq!(house.subjects().len(), 1);
}
