//! Settings and jobs as values. `settings.rs` and `job.rs` read the TOML files; `check.rs` looks at them together.
//!
//! Every relative path in these values has already been joined to the settings file's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;

use crate::day::BusinessDay;
use crate::money::{Currency, Unit};
use crate::providers::Provider;

pub mod address;
pub mod describe;
mod file;
pub mod job;
mod locale;
pub mod secret;
pub mod section;
pub mod settings;
mod table;

pub use secret::SecretRef;
pub use section::{Problem, Section, Source};

/// Reads the settings and every job: the file given, else `reconciled.toml` here, else
/// `/etc/reconciled/reconciled.toml`. Jobs are sorted by name.
///
/// # Errors
/// Every problem of all files at once, ordered by file and line; nothing was done.
pub fn load(config: Option<&Path>) -> Result<(Settings, Vec<Job>), Vec<Problem>> {
    load_for(config, true)
}

/// As [`load`]; where no mail is wanted, recipients need no `[mail]`.
///
/// # Errors
/// As [`load`].
pub fn load_for(config: Option<&Path>, mail_wanted: bool) -> Result<(Settings, Vec<Job>), Vec<Problem>> {
    let (settings, mut problems) = settings::load_partly(&find(config)?);
    let Some(settings) = settings else {
        return Err(problems);
    };
    // Of broken settings the mail part cannot be trusted; everything else about the jobs can still be said.
    let known = job::Known {
        settings_hold: problems.is_empty(),
        mail_wanted,
    };
    let (jobs, more) = job::load_each(&settings, known);
    problems.extend(more);
    if problems.is_empty() {
        Ok((settings, jobs))
    } else {
        Err(problems)
    }
}

/// The settings alone: a job that does not hold must not keep an alert from being sent.
///
/// # Errors
/// Every problem of the settings file.
pub fn load_settings(config: Option<&Path>) -> Result<Settings, Vec<Problem>> {
    let (settings, problems) = settings::load_partly(&find(config)?);
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems),
    }
}

/// The settings file to read.
fn find(config: Option<&Path>) -> Result<PathBuf, Vec<Problem>> {
    if let Some(named) = config {
        return Ok(named.to_owned());
    }
    let [here, system] = settings::PLACES;
    let found = settings::PLACES.iter().map(PathBuf::from).find(|place| place.exists());
    found.ok_or_else(|| {
        vec![Problem {
            file: here.to_owned(),
            line: 0,
            message: format!("does not exist, nor does {system}; {}", settings::how_to_begin()),
        }]
    })
}

/// `reconciled.toml` (`INTERFACE.md` section 3).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file, for messages.
    pub file: PathBuf,
    /// Its folder; every relative path counts from here.
    pub folder: PathBuf,
    pub database: PathBuf,
    pub jobs: PathBuf,
    /// None: the built-in report definitions.
    pub reports: Option<PathBuf>,
    pub out: PathBuf,
    /// Read-only copy for analysts; None when `published = ""`.
    pub published: Option<PathBuf>,
    pub mail: Option<Mail>,
    pub http: Http,
    pub alerts: Alerts,
    pub upkeep: Upkeep,
    pub desk: Desk,
}

/// `[desk]`: the drop folder for returned sheets.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    /// None: there is no drop folder.
    pub inbox: Option<PathBuf>,
    /// In whose name files of the drop folder are taken in.
    pub by: Option<String>,
}

/// `[mail]`.
#[derive(Clone, Debug)]
pub struct Mail {
    pub transport: Transport,
    /// Full header form: `Reconciliation <recon@example.com>`.
    pub from: String,
    /// In lower case. Without the setting: the domain of `from`.
    pub allowed_domains: Vec<String>,
    /// Above this the mail names the place of the files instead of carrying them. Bytes of the whole message.
    pub max_mail_bytes: usize,
    /// CSVs are zipped above this.
    pub zip_above_bytes: usize,
    /// Whole SMTP conversation.
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub enum Transport {
    /// One `.eml` file per mail.
    Folder(PathBuf),
    Smtp {
        host: String,
        port: u16,
        tls: SmtpTls,
        username: Option<SecretOrPlain>,
        password: Option<SecretRef>,
    },
}

/// A user name may stand in the settings; a password may not.
#[derive(Clone, Debug)]
pub enum SecretOrPlain {
    Secret(SecretRef),
    Plain(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    StartTls,
    Wrapper,
    /// Loopback only.
    None,
}

impl SmtpTls {
    /// As it is written in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Wrapper => "wrapper",
            Self::None => "none",
        }
    }
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct Http {
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// One whole answer.
    pub request_timeout: Duration,
    /// Decoded.
    pub max_body_bytes: usize,
    /// Per request, counted from its first failure.
    pub retry_budget: Duration,
    pub proxy: Option<url::Url>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            ca_file: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_body_bytes: 32 * 1024 * 1024,
            retry_budget: Duration::from_secs(600),
            proxy: None,
        }
    }
}

/// `[alerts]`.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub heartbeat_url: Option<SecretRef>,
    /// Operators: one mail per job and night that failed or is late. Empty: nobody.
    pub recipients: Vec<String>,
    /// A night is late when it is not finished this long after its slot.
    pub late_after: TimeDelta,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            heartbeat_url: None,
            recipients: Vec::new(),
            late_after: TimeDelta::hours(3),
        }
    }
}

/// `[metrics]`, `[retention]` and `[upkeep]`: what keeps the house in order over years.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// File for the textfile collector of the Prometheus node exporter; None: none is written.
    pub textfile: Option<PathBuf>,
    /// Days between two quick checks of the database by `serve`; 0: never.
    pub quick_check_days: i64,
    pub retention: Retention,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            textfile: None,
            quick_check_days: 7,
            retention: Retention::default(),
        }
    }
}

/// `[retention]`: how many days are kept; None: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Versions of records that a later one replaced.
    pub versions_days: Option<i64>,
    /// Frozen bytes of mails that were sent or given up.
    pub mails_days: Option<i64>,
    /// Frozen report files, and the folders of those days under `out`.
    pub files_days: Option<i64>,
}

/// One job file (`INTERFACE.md` section 4).
#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    /// Path of its file, for messages.
    pub file: PathBuf,
    /// Six-field cron expression in `timezone`.
    pub schedule: String,
    pub timezone: Tz,
    pub recipients: Vec<String>,
    /// Recipients whose files are written in another locale than the job's, by their address as it stands in `recipients`.
    pub recipient_locales: BTreeMap<String, Locale>,
    pub locale: Locale,
    pub source: JobSource,
    pub fetch: Fetch,
    pub ledger: Option<Ledger>,
    pub matching: Match,
    pub report: Report,
    /// SHA-256 of the settings that shape requests (provider kind, base URL, account, window, filters): a position read
    /// under other settings is not continued.
    pub shape: String,
}

/// Where the provider's side of a job comes from.
#[derive(Clone, Debug)]
pub enum JobSource {
    /// An API.
    Provider(ProviderSetup),
    /// A provider, settlement or bank export (`kind = "file"`).
    File(FileFeed),
    /// Compares what other jobs stored.
    Across(Vec<String>),
}

/// A configured provider: the pure description plus what the edges need.
#[derive(Clone)]
pub struct ProviderSetup {
    pub provider: Arc<dyn Provider>,
    pub base_url: url::Url,
    /// Named secrets the provider asks for when it signs (`access_key`, `secret_key`, …).
    pub secrets: BTreeMap<String, SecretRef>,
    /// Jobs with the same key share one client, one limiter and one lane: provider, base URL and credential reference.
    pub lane: String,
    /// `[provider] strict_balance`: advisory relations become discrepancies.
    pub strict_balance: bool,
}

impl std::fmt::Debug for ProviderSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderSetup")
            .field("provider", &self.provider.name())
            .field("base_url", &self.base_url.as_str())
            .field("secrets", &self.secrets)
            .field("lane", &self.lane)
            .field("strict_balance", &self.strict_balance)
            .finish()
    }
}

/// `kind = "file"`.
#[derive(Clone, Debug)]
pub struct FileFeed {
    pub feed: String,
    /// Stands in `transactions.provider`.
    pub provider: String,
    pub table: Ledger,
    /// A bank leg: credits are compared with the payouts of other jobs.
    pub bank: bool,
}

/// `[fetch]`, merged with the provider's own limits: the stricter one holds.
#[derive(Clone, Debug)]
pub struct Fetch {
    pub start: BusinessDay,
    pub lookback: TimeDelta,
    pub settle: TimeDelta,
    pub requests_per_minute: u32,
    pub max_in_flight: u32,
    /// Stricter of `[http] request_timeout_s` and the provider's.
    pub request_timeout: Duration,
    /// The provider's [`crate::providers::Limits::max_retry_wait`].
    pub max_retry_wait: Duration,
}

/// `[ledger]`.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub kind: LedgerKind,
    pub columns: BTreeMap<LedgerColumn, String>,
    pub currency_default: Option<Currency>,
    pub delimiter: Option<u8>,
    pub encoding: Encoding,
    /// Decimal sign of amounts.
    pub decimal: u8,
    /// strftime letters; None: RFC 3339.
    pub date_format: Option<String>,
    /// Zone of times without an offset.
    pub timezone: Option<Tz>,
    pub amount_unit: Unit,
    /// Ledger word -> direction; without a map the sign of the amount decides.
    pub directions: BTreeMap<String, crate::record::Direction>,
    /// Ledger word -> status; without a map everything is settled.
    pub statuses: BTreeMap<String, crate::record::LedgerStatus>,
    pub expected_account: Option<String>,
}

#[derive(Clone, Debug)]
pub enum LedgerKind {
    /// A glob; all files together are one full ledger.
    Csv {
        pattern: String,
    },
    Sqlite {
        path: PathBuf,
        query: String,
    },
    /// postgres, mysql: named by `INTERFACE.md`, not in this version; running such a job says so and exits 78.
    Server {
        kind: &'static str,
    },
}

crate::record::words! {
    /// Our names of ledger columns, left side of `[ledger.columns]`.
    LedgerColumn {
        Reference = "reference", Amount = "amount", Currency = "currency", Direction = "direction", Status = "status",
        BookedAt = "booked_at", ProviderId = "provider_id", Fee = "fee", LedgerId = "ledger_id", Account = "account",
        XExternalId = "x_external_id", ReferenceNo = "reference_no",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, or UTF-16 when its byte-order mark says so.
    Utf8,
    Windows1252,
    Latin1,
}

/// `[match]`.
#[derive(Clone, Debug)]
pub struct Match {
    /// Major units as written: `"0.05"`; the currency turns it into minor units.
    pub amount_tolerance: String,
    pub grace_ledger: TimeDelta,
    pub grace_provider: TimeDelta,
    pub stale_pending_days: i64,
    /// 0: never.
    pub suggest_days: i64,
}

/// `[report]`.
#[derive(Clone, Debug)]
pub struct Report {
    pub reports: Vec<String>,
    pub flood_limit: usize,
    pub reject_threshold: u64,
}

/// How CSVs for people are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locale {
    pub name: &'static str,
    /// `.` or `,`.
    pub decimal: char,
    /// `,`, or `;` where the comma is decimal.
    pub separator: char,
}

impl Default for Locale {
    fn default() -> Self {
        Self {
            name: "en",
            decimal: '.',
            separator: ',',
        }
    }
}
