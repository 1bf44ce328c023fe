//! A folder with settings, one job and its ledger as an operator would write them; the program itself runs in it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

pub const NIGHT: &str = "2026-03-04T20:00:00Z";
pub const NEXT_NIGHT: &str = "2026-03-05T20:00:00Z";

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn last_line(&self) -> &str {
        self.stderr.trim_end().lines().last().unwrap_or_default()
    }
}

pub struct House {
    pub folder: tempfile::TempDir,
    /// Everything that was printed so far.
    said: std::sync::Mutex<String>,
}

impl House {
    /// `secrets`: file name and content. `columns`: the lines of `[ledger.columns]`, its first line the header of the ledger.
    pub fn new(provider: &str, ledger: &str, secrets: &[(&str, &str)]) -> Self {
        let house = Self {
            folder: tempfile::tempdir().unwrap(),
            said: std::sync::Mutex::default(),
        };
        house.write(
            "reconciled.toml",
            "published = \"latest.db\"\n[mail]\ntransport = \"folder\"\nfolder = \"mail\"\nfrom = \"R <r@example.com>\"\n\
             allowed_domains = [\"example.com\"]\n[http]\nrequest_timeout_s = 2\nretry_budget_s = 1\n",
        );
        for (name, text) in secrets {
            house.write(name, text);
        }
        house.write(
            "jobs/job.toml",
            &format!(
                "timezone = \"UTC\"\nrecipients = [\"a@example.com\"]\n[provider]\n{provider}\n[fetch]\nstart = 2026-01-01\n\
                 [ledger]\nkind = \"csv\"\npath = \"ledger.csv\"\n{ledger}\n[ledger.status]\nsettled = [\"paid\"]\n\
                 open = [\"pending\"]\nfailed = [\"failed\"]\n[report]\nreject_threshold = 100\n"
            ),
        );
        house
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn ledger(&self, lines: &str) {
        self.write("ledger.csv", lines);
        // One that was written just now is waited for.
        let file = std::fs::File::options()
            .write(true)
            .open(self.folder.path().join("ledger.csv"));
        file.unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(3600))
            .unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconciled"));
        command.args(arguments).current_dir(self.folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        let done = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ended = Ended {
            code: done.status.code().unwrap(),
            stdout: text(done.stdout),
            stderr: text(done.stderr),
        };
        let mut said = self.said.lock().unwrap();
        said.push_str(&ended.stdout);
        said.push_str(&ended.stderr);
        ended
    }

    pub fn night(&self, as_of: &str) -> Ended {
        self.run(&["run", "--as-of", as_of, "-v"])
    }

    pub fn texts(&self, sql: &str) -> Vec<String> {
        let path = self.folder.path().join("reconciled.db");
        let books = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = books.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// Every text of every row.
    pub fn dump(&self, sql: &str) -> String {
        let path = self.folder.path().join("reconciled.db");
        let books = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = books.prepare(sql).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut all = String::new();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                if let Ok(text) = row.get::<_, String>(column) {
                    all.push_str(&text);
                    all.push('\n');
                }
            }
        }
        all
    }

    /// `ledger_id kind` of what is open.
    pub fn found(&self) -> Vec<String> {
        self.texts(
            "SELECT coalesce(ledger_id, '-') || ' ' || kind FROM discrepancies WHERE state <> 'resolved' ORDER BY 1",
        )
    }

    pub fn detail(&self, ledger_id: &str) -> String {
        self.texts(&format!(
            "SELECT detail FROM discrepancies WHERE ledger_id = '{ledger_id}'"
        ))
        .join("\n")
    }

    pub fn matched(&self) -> Vec<String> {
        self.texts(
            "SELECT e.ledger_id FROM matches AS m JOIN ledger_entries AS e
               ON e.job = m.job AND e.source = m.source AND e.source_line = m.source_line ORDER BY 1",
        )
    }

    /// The text of the newest mail.
    pub fn mail(&self) -> String {
        let folder = std::fs::read_dir(self.folder.path().join("mail")).unwrap();
        let mut mails: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
        mails.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
        let bytes = std::fs::read(mails.last().expect("a mail")).unwrap();
        let mail = mail_parser::MessageParser::default().parse(&bytes).unwrap();
        format!("{}\n{}", mail.subject().unwrap(), mail.body_text(0).unwrap())
    }

    /// Where any of these words stands in what the program left behind or said: files, attachments, archived pages.
    pub fn places_of(&self, words: &[&str]) -> Vec<String> {
        let mut all: Vec<(String, Vec<u8>)> = vec![("output".into(), self.said.lock().unwrap().clone().into_bytes())];
        collect(self.folder.path(), &mut all);
        let path = self.folder.path().join("reconciled.db");
        let books = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = books.prepare("SELECT request, body FROM pages").unwrap();
        let pages = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)));
        for page in pages.unwrap() {
            let (request, body) = page.unwrap();
            all.push(("page".into(), zstd::decode_all(&body[..]).unwrap()));
            all.push(("request".into(), request.into_bytes()));
        }
        let mut places = Vec::new();
        for (place, bytes) in &all {
            for word in words {
                if memchr::memmem::find(bytes, word.as_bytes()).is_some() {
                    places.push(format!("{place}: {word}"));
                }
            }
        }
        places
    }
}

/// Every file but the settings, the secrets and the merchant's own ledger.
fn collect(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            collect(&path, all);
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".secret") || name == "ledger.csv" || name.ends_with(".toml") {
            continue;
        }
        let mut bytes = Vec::new();
        std::fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
        if name.ends_with(".eml") {
            let mail = mail_parser::MessageParser::default().parse(&bytes).unwrap();
            let parts = mail.parts.iter().map(|part| part.contents().to_vec());
            all.push((format!("in {name}"), parts.collect::<Vec<_>>().concat()));
        }
        all.push((name, bytes));
    }
}

/// An RSA key as the operator makes it.
pub fn rsa_key() -> String {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl");
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap()
}
