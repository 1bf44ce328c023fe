//! A shop in a folder of its own: settings, one job over a provider's export and a ledger, and the commands people use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use reconciled::config;
use reconciled::day::{Instant, parse_instant};
use reconciled::desk::{self, Receipt};
use reconciled::fetch::Quiet;
use reconciled::run::{JobOutcome, Options, run_jobs};
use reconciled::store::{Finding, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub const JOB: &str = "shop";

const TABLES: &str = r#"
timezone = "UTC"
recipients = ["accounting@example.com"]
[provider]
kind = "file"
provider = "psp"
feed = "payments"
path = "provider.csv"
currency_default = "PEN"
[provider.columns]
reference = "ref"
amount = "amount"
booked_at = "at"
provider_id = "id"
[fetch]
start = 2026-03-01
[ledger]
kind = "csv"
path = "books.csv"
currency_default = "PEN"
[ledger.columns]
reference = "ref"
amount = "amount"
booked_at = "at"
ledger_id = "id"
"#;

/// Reference, amount, day of March 2026.
pub type Row = (&'static str, &'static str, u32);

pub struct Shop {
    folder: TempDir,
}

/// The returned sheet with one row's last columns filled in.
#[derive(Clone, Copy, Default)]
pub struct Fill<'a> {
    pub reference: &'a str,
    pub owner: &'a str,
    pub decision: &'a str,
    pub note: &'a str,
}

/// Fills in a decision with a note.
pub fn fill<'a>(reference: &'a str, decision: &'a str, note: &'a str) -> Fill<'a> {
    Fill {
        reference,
        decision,
        note,
        owner: "",
    }
}

impl Shop {
    pub fn new() -> Self {
        Self::speaking("en")
    }

    pub fn speaking(locale: &str) -> Self {
        let shop = Self {
            folder: TempDir::new().unwrap(),
        };
        shop.write(
            "reconciled.toml",
            "[mail]\ntransport = \"folder\"\nfrom = \"R <r@example.com>\"\n[desk]\ninbox = \"returned\"\nby = \"inbox\"\n",
        );
        shop.write("jobs/shop.toml", format!("locale = \"{locale}\"\n{TABLES}"));
        shop
    }

    /// A shop with one difference of each kind that these tests need, after its first night.
    pub async fn after_a_night(locale: &str) -> Self {
        let shop = Self::speaking(locale);
        shop.provider(&[
            ("A-1", "90.00", 1),
            ("A-2", "1234.50", 1),
            ("A-3", "7.00", 1),
            ("A-4", "10.00", 1),
        ]);
        shop.books(&[
            ("A-1", "100.00", 1),
            ("A-2", "1200.00", 1),
            ("A-4", "10.00", 1),
            ("-A5", "5.00", 1),
        ]);
        shop.night(5).await;
        shop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn provider(&self, rows: &[Row]) {
        self.table("provider.csv", rows, "p");
    }

    pub fn books(&self, rows: &[Row]) {
        self.table("books.csv", rows, "l");
    }

    fn table(&self, name: &str, rows: &[Row], prefix: &str) {
        let lines: String = rows
            .iter()
            .map(|(reference, amount, day)| {
                format!("{reference},{amount},2026-03-{day:02}T10:00:00Z,{prefix}{reference}\n")
            })
            .collect();
        self.write(name, format!("ref,amount,at,id\n{lines}"));
    }

    /// The night after a business day of March.
    pub async fn night(&self, day: u32) -> JobOutcome {
        let (settings, jobs) = config::load(Some(&self.path("reconciled.toml"))).unwrap();
        let options = Options {
            as_of: Some(night_after(day)),
            mail: false,
            stop: CancellationToken::new(),
        };
        let mut outcomes = run_jobs(&settings, &jobs, &options, &Quiet).await.unwrap();
        outcomes.remove(0)
    }

    pub fn store(&self) -> Store {
        Store::open(&self.path("reconciled.db")).unwrap()
    }

    pub fn jobs(&self) -> Vec<config::Job> {
        config::load(Some(&self.path("reconciled.toml"))).unwrap().1
    }

    /// Takes a sheet in.
    pub fn take(&self, name: &str, bytes: &[u8]) -> Receipt {
        desk::take_in(&self.store(), &self.jobs(), name, bytes, "Ana", night_after(6)).unwrap()
    }

    /// Runs the program in this folder.
    pub fn program(&self, args: &[&str]) -> Output {
        assert_cmd::Command::cargo_bin("reconciled")
            .unwrap()
            .current_dir(self.folder.path())
            .args(args)
            .output()
            .unwrap()
    }

    /// The discrepancies sheet of a business day, as it was produced.
    pub fn sheet(&self, day: u32) -> Vec<u8> {
        let name = format!("out/2026-03-{day:02}/{JOB}/2026-03-{day:02}_{JOB}_discrepancies.csv");
        std::fs::read(self.path(&name)).unwrap()
    }

    /// The same with decisions filled in, written as a spreadsheet would.
    pub fn filled(&self, day: u32, separator: u8, fills: &[Fill<'_>]) -> Vec<u8> {
        refill(&self.sheet(day), separator, fills)
    }

    /// Rows of the sheet of a day, by reference.
    pub fn rows(&self, day: u32, separator: u8) -> BTreeMap<String, BTreeMap<String, String>> {
        let (header, rows) = cells(&self.sheet(day), separator);
        rows.into_iter()
            .map(|row| header.iter().cloned().zip(row).collect::<BTreeMap<_, _>>())
            .map(|row| (row["reference"].clone(), row))
            .collect()
    }

    /// Columns of each row joined by `|`, NULL as empty.
    pub fn sql(&self, sql: &str) -> Vec<String> {
        let conn = rusqlite::Connection::open(self.path("reconciled.db")).unwrap();
        let mut statement = conn.prepare(sql).unwrap();
        let width = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<String> = (0..width)
                .map(|at| match row.get_ref_unwrap(at) {
                    rusqlite::types::ValueRef::Null => String::new(),
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    value => value.as_str().unwrap().to_owned(),
                })
                .collect();
            all.push(cells.join("|"));
        }
        all
    }

    /// What somebody does with another program.
    pub fn tamper(&self, sql: &str) {
        let conn = rusqlite::Connection::open(self.path("reconciled.db")).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    /// Everything `reconciled verify` finds.
    pub fn verify(&self) -> Vec<Finding> {
        let store = self.store();
        let mut findings = reconciled::store::verify(&store, &self.jobs()).unwrap();
        findings.extend(desk::verify(&store).unwrap());
        findings
    }

    /// Asserts that the books prove themselves.
    pub fn assert_whole(&self) {
        let findings = self.verify();
        assert!(findings.is_empty(), "{findings:?}");
    }

    pub fn id(&self, reference: &str) -> String {
        let found = self.sql(&format!(
            "SELECT discrepancy_id FROM discrepancies WHERE reference = '{reference}'"
        ));
        found[0].clone()
    }

    /// `state decision owner note` of a discrepancy.
    pub fn standing(&self, reference: &str) -> String {
        let found = self.sql(&format!(
            "SELECT state, decision, owner, note FROM discrepancies WHERE reference = '{reference}'"
        ));
        found[0].clone()
    }
}

pub fn night_after(day: u32) -> Instant {
    parse_instant(&format!("2026-03-{:02}T08:00:00Z", day + 1)).unwrap()
}

/// Header and rows of a CSV.
pub fn cells(bytes: &[u8], separator: u8) -> (Vec<String>, Vec<Vec<String>>) {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(separator)
        .from_reader(text);
    let mut rows: Vec<Vec<String>> = reader
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect();
    let header = rows.remove(0);
    (header, rows)
}

/// Writes a table as a spreadsheet does: byte-order mark, CRLF.
pub fn written(header: &[String], rows: &[Vec<String>], separator: u8) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .terminator(csv::Terminator::CRLF)
        .from_writer(b"\xEF\xBB\xBF".to_vec());
    writer.write_record(header).unwrap();
    for row in rows {
        writer.write_record(row).unwrap();
    }
    writer.into_inner().unwrap()
}

pub fn refill(sheet: &[u8], separator: u8, fills: &[Fill<'_>]) -> Vec<u8> {
    let (header, mut rows) = cells(sheet, separator);
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    for fill in fills {
        let row = rows
            .iter_mut()
            .find(|row| row[at("reference")] == fill.reference)
            .unwrap_or_else(|| panic!("the sheet has {}", fill.reference));
        row[at("owner")] = fill.owner.to_owned();
        row[at("decision")] = fill.decision.to_owned();
        row[at("note")] = fill.note.to_owned();
    }
    written(&header, &rows, separator)
}

/// Whether a text of the output of a program is there.
pub fn says(output: &Output, what: &str) -> bool {
    [&output.stdout, &output.stderr]
        .iter()
        .any(|bytes| String::from_utf8_lossy(bytes).contains(what))
}

pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
