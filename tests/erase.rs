//! A person's data leaves the house and does not come back; sums and counts stay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use reconciled::config::{self, Job, Settings};
use reconciled::fetch::Quiet;
use reconciled::run::{JobOutcome, Options, run_jobs};
use reconciled::sandbox::{self, Running, plant};
use reconciled::{demo, desk, erase, store};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A folder of the demo and its sandboxes, night by night.
struct House {
    folder: TempDir,
    sandboxes: Running,
}

impl House {
    async fn new() -> Self {
        let mut world = plant::demo_world(7);
        world.doors.one2pays.requests_per_minute = Some(60_000);
        let sandboxes = sandbox::start(Arc::new(Mutex::new(world)), Vec::new(), None)
            .await
            .unwrap();
        let folder = TempDir::new().unwrap();
        demo::furnish(&folder.path().join("demo"), &sandboxes).unwrap();
        // One provider with windows, one with sweeps, one asked by key; the others add time.
        for job in std::fs::read_dir(folder.path().join("demo/jobs")).unwrap() {
            let path = job.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if !["tupay-pe", "payvyne-uk", "twopay-co"].contains(&name.as_str()) {
                std::fs::remove_file(path).unwrap();
            }
        }
        Self { folder, sandboxes }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("demo")
    }

    fn load(&self) -> (Settings, Vec<Job>) {
        config::load(Some(&self.path().join("reconciled.toml"))).unwrap()
    }

    async fn night(&self, night: usize) -> Vec<JobOutcome> {
        demo::prepare(&self.path(), &self.sandboxes, night).unwrap();
        let (settings, jobs) = self.load();
        let options = Options {
            as_of: Some(plant::as_of(night)),
            mail: true,
            stop: CancellationToken::new(),
        };
        run_jobs(&settings, &jobs, &options, &Quiet).await.unwrap()
    }

    fn books(&self) -> Connection {
        Connection::open_with_flags(self.load().0.database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    /// Counts and sums of everything about money.
    fn figures(&self) -> Vec<String> {
        let books = self.books();
        let mut figures = Vec::new();
        for sql in [
            "SELECT 'transactions', job, currency, status, count(*), sum(amount_minor) FROM transactions GROUP BY 2, 3, 4",
            "SELECT 'entries', job, currency, status, count(*), sum(amount_minor) FROM ledger_entries GROUP BY 2, 3, 4",
            "SELECT 'discrepancies', job, kind, state, count(*), sum(difference_minor) FROM discrepancies GROUP BY 2, 3, 4",
            "SELECT 'matches', job, currency, '', count(*), sum(amount_minor) FROM matches GROUP BY 2, 3",
            "SELECT 'pending', job, currency, becomes_kind, count(*), sum(amount_minor) FROM pending_items GROUP BY 2, 3, 4",
        ] {
            let mut statement = books.prepare(sql).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let cells: Vec<String> = (0..6).map(|at| format!("{:?}", row.get_ref(at).unwrap())).collect();
                figures.push(cells.join(" "));
            }
        }
        figures.sort();
        figures
    }

    /// Every file below the folder but the merchant's own, and what is packed into the database and the mails: where `text` stands.
    fn places(&self, text: &str) -> Vec<String> {
        let mut places = Vec::new();
        files(&self.path(), &mut |path| {
            let bytes = std::fs::read(path).unwrap();
            let shown = path.strip_prefix(self.path()).unwrap().display().to_string();
            if holds(&bytes, text) {
                places.push(shown.clone());
            }
            if shown.ends_with(".eml") {
                let mail = mail_parser::MessageParser::default().parse(&bytes).unwrap();
                for part in &mail.parts {
                    if holds(part.contents(), text) {
                        places.push(format!("{shown}: a part"));
                    }
                }
            }
        });
        let books = self.books();
        for sql in [
            "SELECT 'page ' || page_id, body FROM pages",
            "SELECT 'file ' || name, bytes FROM files",
            "SELECT 'mail ' || mail_id, message FROM mails",
        ] {
            let mut statement = books.prepare(sql).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let body = zstd::decode_all(row.get_ref(1).unwrap().as_blob().unwrap()).unwrap();
                if holds(&body, text) {
                    places.push(row.get(0).unwrap());
                }
            }
        }
        places
    }
}

fn files(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The ledgers and exports are the merchant's.
        let merchants = path
            .file_name()
            .is_some_and(|name| name == "ledger" || name == "ledgers" || name == "export");
        if path.is_dir() && !merchants {
            files(&path, each);
        } else if path.is_file() {
            each(&path);
        }
    }
}

/// Whether a text stands in the bytes, or in a part of a workbook or a zip.
fn holds(bytes: &[u8], text: &str) -> bool {
    let Ok(mut archive) = zip::ZipArchive::new(std::io::Cursor::new(bytes)) else {
        return memchr::memmem::find(bytes, text.as_bytes()).is_some();
    };
    (0..archive.len()).any(|at| {
        let mut part = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_index(at).unwrap(), &mut part).unwrap();
        holds(&part, text)
    })
}

fn verdicts(outcomes: &[JobOutcome]) -> BTreeMap<&str, (String, u64, u64, u64, u64, u64)> {
    let said = |o: &JobOutcome| {
        (
            o.verdict.to_string(),
            o.matched,
            o.new,
            o.persisting,
            o.resolved,
            o.open,
        )
    };
    outcomes.iter().map(|o| (o.job.as_str(), said(o))).collect()
}

/// References of open discrepancies that both sides know.
fn subject(books: &Connection) -> String {
    books
        .query_row(
            "SELECT d.reference FROM discrepancies AS d
               JOIN transactions AS t ON t.job = d.job AND t.reference = d.reference AND t.page_id IS NOT NULL
               JOIN ledger_entries AS e ON e.job = d.job AND e.reference = d.reference
              WHERE d.state = 'open' AND length(d.reference) > 5 ORDER BY d.job, d.reference LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_is_nowhere_any_more_and_the_next_nights_go_on_as_if_it_were_there() {
    let (house, other) = (House::new().await, House::new().await);
    for night in 0..2 {
        assert_eq!(verdicts(&house.night(night).await), verdicts(&other.night(night).await));
    }
    let subject = subject(&house.books());
    assert!(house.places(&subject).len() > 3, "{:?}", house.places(&subject));
    let before = house.figures();
    let (settings, jobs) = house.load();
    let now = plant::as_of(1);

    let would = erase::erase(&settings, &jobs, &subject, true, now).unwrap();
    assert!(
        would.tables.contains_key("pages") && would.tables.contains_key("discrepancies"),
        "{would:?}"
    );
    assert!(house.places(&subject).len() > 3, "a dry run changes nothing");
    let erased = erase::erase(&settings, &jobs, &subject, false, now).unwrap();
    assert_eq!(would.tables, erased.tables);
    assert_eq!(house.places(&subject), Vec::<String>::new());
    assert_eq!(house.figures(), before);
    assert_eq!(
        store::verify(&store::Store::open_read_only(&settings.database).unwrap(), &jobs).unwrap(),
        []
    );

    // The provider and the ledger say it again; the same happens as in the house where nobody was erased.
    for night in 2..4 {
        assert_eq!(
            verdicts(&house.night(night).await),
            verdicts(&other.night(night).await),
            "night {night}"
        );
        assert_eq!(house.places(&subject), Vec::<String>::new(), "night {night}");
    }
    assert_eq!(house.figures(), other.figures());
    assert_eq!(
        store::verify(&store::Store::open_read_only(&settings.database).unwrap(), &jobs).unwrap(),
        []
    );

    // Without the key nothing is asked: it could come back unseen.
    let key = settings.database.with_file_name("reconciled.db.erased-key");
    std::fs::rename(&key, key.with_extension("away")).unwrap();
    let options = Options {
        as_of: Some(plant::as_of(4)),
        mail: true,
        stop: CancellationToken::new(),
    };
    let failure = run_jobs(&settings, &jobs, &options, &Quiet).await.unwrap_err();
    assert!(
        failure.message.contains("the key") && failure.class.code() == 78,
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_decided_about_an_erased_reference_stays_with_it() {
    let house = House::new().await;
    house.night(0).await;
    let (mut settings, jobs) = house.load();
    let (id, job, subject): (String, String, String) = house
        .books()
        .query_row(
            "SELECT discrepancy_id, job, reference FROM discrepancies
              WHERE state = 'open' AND length(reference) > 5 AND instr(identity, reference) ORDER BY 1 LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    // The sheet as it was mailed comes back, once with a decision that holds, once with one that is refused, and lies in the
    // drop folder.
    let inbox = house.path().join("returned");
    std::fs::create_dir(&inbox).unwrap();
    settings.desk.inbox = Some(inbox.clone());
    let day = "2026-03-01";
    let mailed = std::fs::read_to_string(
        house
            .path()
            .join(format!("out/{day}/{job}/{day}_{job}_discrepancies.csv")),
    )
    .unwrap();
    let (header, row) = (
        mailed.lines().next().unwrap(),
        mailed.lines().find(|line| line.starts_with(&id)).unwrap(),
    );
    let filled = |said: &str| {
        format!(
            "{header}\r\n{}{said}\r\n",
            row.strip_suffix(",,").expect("nobody decided yet")
        )
    };
    for (name, said, applied, refused) in [("a.csv", "Ana,accept,asked", 1, 0), ("b.csv", "Ana,nonsense,", 0, 1)] {
        let store = store::Store::open(&settings.database).unwrap();
        let sheet = filled(said);
        let receipt = desk::take_in(&store, &jobs, name, sheet.as_bytes(), "ana", plant::as_of(0)).unwrap();
        assert_eq!(
            (receipt.applied.len(), receipt.refused.len()),
            (applied, refused),
            "{receipt:?}"
        );
        std::fs::write(inbox.join(name), &sheet).unwrap();
    }

    erase::erase(&settings, &jobs, &subject, false, plant::as_of(0)).unwrap();
    assert_eq!(house.places(&subject), Vec::<String>::new());
    let books = house.books();
    let (decided, refused): (String, String) = books
        .query_row(
            "SELECT c.discrepancy_id, r.discrepancy_id FROM v_decisions AS c, refused_decisions AS r, discrepancies AS d
              WHERE d.discrepancy_id = c.discrepancy_id AND d.state = 'acknowledged' AND c.holds = 'yes'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_ne!(decided, id, "the id follows the erased reference");
    assert_eq!(decided, refused);
    assert!(holds(&std::fs::read(inbox.join("a.csv")).unwrap(), &decided));
    let store = store::Store::open_read_only(&settings.database).unwrap();
    assert_eq!(store::verify(&store, &jobs).unwrap(), []);
    assert_eq!(desk::verify(&store).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_the_books_are_made_of_is_not_erased() {
    let house = House::new().await;
    house.night(0).await;
    let before = house.figures();
    let (settings, jobs) = house.load();
    for (subject, why) in [
        ("abc", "at least 4 characters"),
        ("2026-03-0", "amounts, dates or states"),
        ("erased-", "in the place of erased texts"),
    ] {
        let failure = erase::erase(&settings, &jobs, subject, false, plant::as_of(0)).unwrap_err();
        assert!(failure.message.contains(why), "{subject}: {failure}");
        assert!(failure.message.contains("nothing was erased"), "{failure}");
    }
    assert_eq!(house.figures(), before);
}
