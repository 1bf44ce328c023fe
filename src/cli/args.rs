//! What may stand on the command line (`INTERFACE.md` section 1).

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use reconciled::day::{Instant, parse_instant};
use reconciled::failure::{Class, Failure};

/// A daemon, and what the books are afterwards: reads payment providers every night, compares with the ledger, mails the
/// discrepancies.
#[derive(Parser, Debug)]
#[command(
    name = "reconciled",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 ok, 64 usage, 65 data, 69 provider down, 70 internal, 74 local i/o, 75 partial or \
                        busy, 76 protocol, 77 auth, 78 config. Discrepancies alone are no failure."
)]
pub struct Args {
    /// Settings file [default: reconciled.toml, then /etc/reconciled/reconciled.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say more; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only what failed
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Form of the log on stderr
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// The whole main job against built-in provider sandboxes: no configuration, no network
    Demo {
        /// Where database, CSVs, page and mails go
        #[arg(long, default_value = "demo")]
        dir: PathBuf,
    },
    /// Run the named jobs once (none named: all) and exit
    Run(RunArgs),
    /// Run each job by its schedule, catch up missed business days
    Serve,
    /// Look at settings and jobs; every problem at once
    Check {
        jobs: Vec<String>,
        /// Also log in to each provider and to the mail server
        #[arg(long)]
        online: bool,
    },
    /// Per job: last run, verdict, last complete business day, next run, open discrepancies
    Status {
        #[arg(long)]
        json: bool,
        /// Exit with 1 when a job is late or failed, a mail was given up, or the disk has no room for the next night
        #[arg(long)]
        exit_code: bool,
    },
    /// The open items, and what people decided about them
    Discrepancies {
        #[command(subcommand)]
        what: Option<DiscrepancyCommand>,
        #[command(flatten)]
        filter: Filter,
    },
    /// Write the reports of a past business day again: the same bytes
    Report {
        job: String,
        /// Business day [default: the last one reported]
        #[arg(long)]
        day: Option<NaiveDate>,
        /// As it was known after the last night up to this day
        #[arg(long, value_name = "DAY")]
        as_known_on: Option<NaiveDate>,
    },
    /// Take in a returned discrepancies sheet (CSV or XLSX) with owner, decision and note filled in
    Decide {
        /// The sheet [default: every file in the drop folder of the settings, `[desk] inbox`]
        file: Option<PathBuf>,
        /// Who decided; needed with FILE
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Close a period: its days are never rewritten, later changes stand in the open period
    Close {
        job: String,
        /// Last day to close; every day before it is closed with it
        #[arg(long, value_name = "DAY")]
        through: NaiveDate,
        /// Who closes
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Carry open discrepancies of these days forward
        #[arg(long)]
        with_open: bool,
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Rebuild records from the archived pages and compare with what is stored
    Replay { jobs: Vec<String> },
    /// Integrity of the database: SQLite's own checks, hash chains, raw against records
    Verify {
        /// A head of the audit trail that was printed before (NUMBER:HEX): it must still stand in it
        #[arg(long, value_name = "HEAD")]
        head: Option<String>,
    },
    /// Consistent copy of the database while it is in use
    Backup { file: PathBuf },
    /// The provider sandboxes alone, to try settings against
    Sandbox {
        /// First port; the other providers follow [default: free ports]
        #[arg(long)]
        port: Option<u16>,
        /// Faults to play, as TOML
        #[arg(long)]
        script: Option<PathBuf>,
    },
    /// Print a comparison query with its parameters filled in, ready to paste into sqlite3
    Sql {
        /// Name of the check; `list` shows them
        check: String,
        #[arg(long)]
        job: Option<String>,
        #[arg(long, value_parser = instant)]
        as_of: Option<Instant>,
    },
    /// Write a commented configuration for chosen providers and say what comes next; overwrites nothing
    Init(InitArgs),
    /// Tell operators that a unit failed: journal, heartbeat, mail (called by systemd's OnFailure=)
    Alert {
        /// Name of the unit that failed
        unit: String,
    },
    /// Remove a person's data from raw pages, records, reports and outbox; sums and counts stay
    Erase {
        /// Every text that holds this is masked; case counts
        #[arg(long, value_name = "TEXT")]
        subject: String,
        /// Say where it stands; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove what is older than [retention] says
    Prune {
        /// Say what would go; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// What only Ayoconnect knows
    Ayoconnect {
        #[command(subcommand)]
        what: AyoconnectCommand,
    },
    /// Print shell completions
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man {
        /// Write one page per command into this folder instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(clap::Args, Debug)]
pub struct InitArgs {
    /// Where reconciled.toml and jobs/ go; /etc/reconciled for the package's units
    pub dir: PathBuf,
    /// A kind of provider, file for exports; may be given several times [default: all]
    #[arg(long, value_name = "KIND")]
    pub provider: Vec<String>,
    /// Folder of database, ledgers and mail [default: beside the settings; of /etc/reconciled: /var/lib/reconciled]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Folder of what analysts and accountants read [default: that of --state; of /etc/reconciled: /var/lib/reconciled-shared]
    #[arg(long, value_name = "DIR")]
    pub shared: Option<PathBuf>,
    /// How the jobs refer to their secrets
    #[arg(long, value_enum, default_value = "credential")]
    pub secrets: SecretForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SecretForm {
    /// Files that systemd hands over, or a folder named by $CREDENTIALS_DIRECTORY
    Credential,
    /// Environment variables
    Env,
    /// Files beside the settings
    File,
}

#[derive(clap::Args, Debug)]
pub struct RunArgs {
    pub jobs: Vec<String>,
    /// Plan, compare and report as if the night were then (RFC 3339)
    #[arg(long, value_parser = instant)]
    pub as_of: Option<Instant>,
    /// Send no mail
    #[arg(long)]
    pub no_mail: bool,
    /// Say which windows and how many requests at least; ask nobody, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 when any discrepancy is open
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Subcommand, Debug)]
pub enum AyoconnectCommand {
    /// Ask for a link under which a customer binds a card anew (opens a session at the provider)
    BindLink(BindLinkArgs),
}

#[derive(clap::Args, Debug)]
pub struct BindLinkArgs {
    pub job: String,
    /// 9 to 13 digits
    #[arg(long, value_name = "DIGITS")]
    pub mobile: Option<String>,
    /// 1 to 20 letters, digits, `/`, `_` or `-`
    #[arg(long, value_name = "ID")]
    pub user_id: Option<String>,
    /// 3 digits
    #[arg(long, value_name = "DIGITS")]
    pub bank_code: Option<String>,
    /// Where the customer goes after success
    #[arg(long, value_name = "URL")]
    pub redirect_url: Option<String>,
    /// Where the customer goes after failure
    #[arg(long, value_name = "URL")]
    pub failure_redirect_url: Option<String>,
    /// ID or EN [default: ID]
    #[arg(long)]
    pub lang: Option<String>,
    /// Text for the provider's dashboard; up to three times
    #[arg(long, value_name = "TEXT")]
    pub info: Vec<String>,
}

#[derive(Subcommand, Debug)]
pub enum DiscrepancyCommand {
    /// List them (the default)
    List {
        #[command(flatten)]
        filter: Filter,
    },
    /// One with its whole life
    Show { id: String },
    /// Acknowledge one: it stays counted and is listed apart
    Ack {
        id: String,
        #[arg(long)]
        note: String,
        /// Who decided [default: the user at the keyboard]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Take an acknowledgement back
    Reopen {
        id: String,
        #[arg(long)]
        note: Option<String>,
        /// Who decided [default: the user at the keyboard]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
}

#[derive(clap::Args, Debug, Clone, Default)]
pub struct Filter {
    #[arg(long)]
    pub job: Option<String>,
    #[arg(long)]
    pub kind: Option<String>,
    /// open, acknowledged, resolved or all [default: open and acknowledged]
    #[arg(long)]
    pub state: Option<String>,
    #[arg(long)]
    pub json: bool,
}

fn instant(text: &str) -> Result<Instant, String> {
    parse_instant(text).ok_or_else(|| "not an RFC 3339 instant like 2026-03-05T08:00:00Z".to_owned())
}

/// Prints completions for one shell.
pub fn completions(shell: clap_complete::Shell) {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "reconciled", &mut bytes);
    super::say(&String::from_utf8_lossy(&bytes));
}

/// Prints the manual page, subcommands included; into a folder: one page per command, as `man reconciled-run` finds them.
pub fn man(dir: Option<&std::path::Path>) -> Result<(), Failure> {
    let mut command = Args::command();
    command.build();
    let mut pages = Vec::new();
    pages_of(&command, &mut pages)?;
    let Some(dir) = dir else {
        for (_, page) in pages {
            super::say(&page);
        }
        return Ok(());
    };
    for (name, page) in pages {
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| {
            let why = format!("{} cannot be written: {}", path.display(), error.kind());
            Failure::new(Class::LocalIo, why)
        })?;
    }
    Ok(())
}

fn pages_of(command: &clap::Command, pages: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut bytes = Vec::new();
    // No date: the same version gives the same page.
    clap_mangen::Man::new(command.clone())
        .title(name.clone())
        .render(&mut bytes)
        .map_err(Failure::from)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(Class::Internal, "the manual page is not text; please report it"))?;
    pages.push((name, text));
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        pages_of(sub, pages)?;
    }
    Ok(())
}
