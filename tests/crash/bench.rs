//! A place to work at: a folder with settings and jobs, the sandboxes of three providers and a mail server beside it, and
//! the night to be disturbed, ready to be begun any number of times.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reconciled::day::{format_instant, parse_instant};
use reconciled::sandbox::world::payvyne;
use reconciled::sandbox::{self, Fault, World, plant};
use reconciled::store::audit;

use super::oracle::{self, Books, Files};
use super::smtp::{Received, Script, Sink};
use super::witness::{self, Ended, Harm};

/// Any seed does.
const SEED: u64 = 20_260_302;

/// Where mails go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Post {
    Folder,
    Smtp,
}

/// A night and what came before it.
#[derive(Clone, Copy)]
pub struct Story {
    pub name: &'static str,
    /// The demo's night that is disturbed; the ones before it run undisturbed.
    pub night: usize,
    pub post: Post,
    /// The night was read, compared and reported already, without mails.
    pub read_before: bool,
    /// PayVyne prints fees as debits, against its document: the night learns it and derives its rows anew.
    pub fees_signed: bool,
    /// What was written before the night stands in a database of the first version.
    pub aged: bool,
}

/// What a history comes to.
#[derive(Clone)]
pub struct Outcome {
    pub books: Books,
    pub published: Books,
    pub files: Files,
    pub mails: Vec<Received>,
    pub requests: usize,
}

pub struct Bench {
    pub story: Story,
    place: PathBuf,
    pristine: World,
    sandboxes: sandbox::Running,
    post: Sink,
    mails_before: usize,
    /// Last, so that the servers end before it.
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    /// Furnishes a folder and runs the nights before.
    pub fn new(story: Story, number: usize) -> Self {
        let name = format!("crash-{}-{}-{number}", std::process::id(), story.name);
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // What an interrupted test left under the same number.
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(&place).unwrap();
        let place = place.canonicalize().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut world = plant::demo_world(SEED);
        world.doors.one2pays.requests_per_minute = None;
        if story.fees_signed {
            let fees = world
                .payvyne
                .movements
                .iter_mut()
                .filter(|m| m.kind == payvyne::Kind::Fee);
            fees.for_each(|fee| fee.amount = -fee.amount);
        }
        let (sandboxes, post) = runtime.block_on(async {
            let sandboxes = sandbox::start(Arc::new(Mutex::new(world)), Vec::new(), None)
                .await
                .unwrap();
            (sandboxes, Sink::start(Script::default()).await)
        });
        let world = sandboxes.world();
        let pristine = world.lock().unwrap().clone();
        let mut bench = Self {
            story,
            place,
            pristine,
            sandboxes,
            post,
            mails_before: 0,
            _runtime: runtime,
        };
        bench.furnish();
        bench
    }

    fn furnish(&mut self) {
        let night = self.night();
        reconciled::demo::furnish(&night, &self.sandboxes).unwrap();
        if self.story.post == Post::Smtp {
            let smtp = format!(
                "transport = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"",
                self.post.port
            );
            edit(
                &night.join("reconciled.toml"),
                &[("transport = \"folder\"\nfolder = \"mail\"", &smtp)],
            );
        }
        for earlier in 0..self.story.night {
            reconciled::demo::prepare(&night, &self.sandboxes, earlier).unwrap();
            let ended = self.run_night(earlier, &[], Harm::None);
            assert_eq!(ended.code, Some(0), "night {earlier}: {}", ended.said);
        }
        reconciled::demo::prepare(&night, &self.sandboxes, self.story.night).unwrap();
        if self.story.read_before {
            let ended = self.run(&["--no-mail"], Harm::None);
            assert_eq!(ended.code, Some(0), "{}", ended.said);
        }
        if self.story.aged {
            age(&night.join("reconciled.db"));
        }
        copy(&night, &self.place.join("prepared"));
    }

    /// The folder of the night, with everything the program writes.
    pub fn night(&self) -> PathBuf {
        self.place.join("night")
    }

    /// Puts everything back to before the night.
    pub fn reset(&mut self) {
        std::fs::remove_dir_all(self.night()).unwrap();
        copy(&self.place.join("prepared"), &self.night());
        let world = self.sandboxes.world();
        let mut world = world.lock().unwrap();
        *world = self.pristine.clone();
        world.set_now(plant::as_of(self.story.night));
        self.sandboxes.clear_log();
        self.sandboxes.set_faults(Vec::new());
        self.mails_before = self.post.mails().len();
    }

    /// The night, from wherever it stands.
    pub fn run(&self, more: &[&str], harm: Harm) -> Ended {
        self.run_night(self.story.night, more, harm)
    }

    fn run_night(&self, night: usize, more: &[&str], harm: Harm) -> Ended {
        self.start_night(night, more, harm).wait()
    }

    /// Begins the night and lets it run.
    pub fn start(&self) -> witness::Running {
        self.start_night(self.story.night, &[], Harm::None)
    }

    fn start_night(&self, night: usize, more: &[&str], harm: Harm) -> witness::Running {
        let as_of = format_instant(plant::as_of(night));
        let mut arguments = vec!["--quiet", "run", "--as-of", &as_of];
        arguments.extend_from_slice(more);
        witness::start(&self.place, &arguments, harm)
    }

    /// Another command on the same settings.
    pub fn command(&self, arguments: &[&str]) -> Ended {
        witness::run(&self.place, arguments, Harm::None)
    }

    /// Requests the providers saw since the reset.
    pub fn requests(&self) -> usize {
        self.sandboxes.log().len()
    }

    /// Lets every provider think before its answers.
    pub fn slow_down(&self, pause: Duration) {
        let delay_ms = u64::try_from(pause.as_millis()).unwrap();
        self.sandboxes.set_faults(vec![Fault {
            count: Some(0),
            delay_ms,
            ..Fault::default()
        }]);
    }

    /// From the next request on they answer at once again.
    pub fn quicken(&self) {
        self.sandboxes.set_faults(Vec::new());
    }

    pub fn files(&self) -> Files {
        oracle::files(&self.night())
    }

    /// What stands in the folder, in the books and in the mail box now.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            books: oracle::books(&self.night().join("reconciled.db")),
            published: oracle::books(&self.night().join("reconciled-latest.db")),
            files: self.files(),
            mails: self.post.mails().split_off(self.mails_before),
            requests: self.requests(),
        }
    }

    /// What is wrong with the database in itself.
    pub fn unsound(&self) -> Vec<String> {
        let databases = ["reconciled.db", "reconciled-latest.db"].into_iter();
        databases
            .flat_map(|name| oracle::unhealthy(&self.night().join(name)))
            .collect()
    }

    /// [`Bench::unsound`], and with the proofs the program offers.
    pub fn unhealthy(&self) -> Vec<String> {
        let mut wrong = self.unsound();
        // It replays every page, too.
        wrong.extend(self.refuted("verify"));
        wrong
    }

    /// What a proof that the program offers says against the database.
    pub fn refuted(&self, proof: &str) -> Option<String> {
        let ended = self.command(&[proof]);
        (ended.code != Some(0)).then(|| format!("`{proof}` ends with {:?}: {}", ended.code, ended.said))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.place);
        }
    }
}

fn edit(path: &Path, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{} no longer says {from:?}", path.display());
        text = text.replace(from, to);
    }
    std::fs::write(path, text).unwrap();
}

/// Writes a database anew as the first version had it.
fn age(database: &Path) {
    let aged = database.with_extension("aged");
    let conn = rusqlite::Connection::open(&aged).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF")
        .unwrap();
    conn.execute_batch(include_str!("../../src/store/version_1.sql"))
        .unwrap();
    conn.execute("ATTACH ?1 AS newer", [database.to_str()]).unwrap();
    let column =
        "SELECT group_concat(c.name) FROM sqlite_schema AS t, pragma_table_info(t.name) AS c WHERE t.name = ?1";
    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'audit_trail'";
    let mut tables = conn.prepare(tables).unwrap();
    for table in tables.query_map([], |row| row.get::<_, String>(0)).unwrap() {
        let table = table.unwrap();
        let columns: String = conn.query_row(column, [&table], |row| row.get(0)).unwrap();
        let rows = format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}");
        conn.execute(&rows, []).unwrap();
    }
    drop(tables);
    age_trail(&conn);
    conn.execute_batch("DETACH newer").unwrap();
    conn.close().unwrap();
    std::fs::set_permissions(&aged, std::fs::metadata(database).unwrap().permissions()).unwrap();
    for beside in ["reconciled.db-wal", "reconciled.db-shm"] {
        let _ = std::fs::remove_file(database.with_file_name(beside));
    }
    std::fs::rename(aged, database).unwrap();
}

/// The first version sealed fewer acts, and fewer rows in each.
fn age_trail(conn: &rusqlite::Connection) {
    let acts = "SELECT at, act, job, subject, sealed FROM newer.audit_trail WHERE act IN ('compared', 'ledger_read') ORDER BY entry_id";
    let mut acts = conn.prepare(acts).unwrap();
    let mut rows = acts.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let text = |at| row.get::<_, String>(at).unwrap();
        let mut seals = audit::Seals::default();
        for line in text(4).lines() {
            let (what, rest) = line.split_once(' ').unwrap();
            let (key, digest) = rest.rsplit_once(' ').unwrap();
            if !matches!(what, "import" | "export") {
                seals.line(what.parse().unwrap(), key, digest);
            }
        }
        let entry = audit::Entry {
            at: parse_instant(&text(0)).unwrap(),
            actor: "run",
            act: text(1).parse().unwrap(),
            job: &text(2),
            subject: &text(3),
        };
        audit::append(conn, &entry, &seals).unwrap();
    }
}

/// Copies a folder with its modes.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
