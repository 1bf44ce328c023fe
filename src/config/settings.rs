//! `reconciled.toml` -> [`Settings`]: every default, every bound, every problem at once. Reads the file, nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::is_loopback;
use super::{
    Alerts, Desk, Http, Mail, Problem, Retention, SecretOrPlain, SecretRef, Section, Settings, SmtpTls, Source,
    Transport, Upkeep, address, file,
};

/// Where settings are looked for when none are named, in this order.
pub const PLACES: [&str; 2] = ["reconciled.toml", "/etc/reconciled/reconciled.toml"];

/// The name of the folder with report definitions that may be missing: then the built-in ones hold.
const REPORTS: &str = "reports";

/// Above this many bytes the CSVs of a mail are zipped (`INTERFACE.md` section 7).
const ZIP_ABOVE_BYTES: i64 = 5_000_000;

/// Mail servers commonly refuse more than 25 MB.
const MAX_MAIL_BYTES: i64 = 20_000_000;

/// Reads and checks the settings. Relative paths in the result are joined to the file's folder, made absolute.
///
/// # Errors
/// Every problem of the file, in order of lines.
pub fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    match load_partly(path) {
        (Some(settings), problems) if problems.is_empty() => Ok(settings),
        (_, problems) => Err(problems),
    }
}

/// Like [`load`], but what can be used is kept beside the problems, so that the jobs can be looked at as well.
pub(super) fn load_partly(path: &Path) -> (Option<Settings>, Vec<Problem>) {
    let shown = path.display().to_string();
    let alone = |message: String| {
        vec![Problem {
            file: shown.clone(),
            line: 0,
            message,
        }]
    };
    if !path.exists() {
        return (None, alone(format!("does not exist; {}", how_to_begin())));
    }
    let text = match file::read(path, &shown) {
        Ok(text) => text,
        Err(problem) => return (None, vec![problem]),
    };
    let absolute = match std::path::absolute(path) {
        Ok(absolute) => absolute,
        Err(error) => return (None, alone(format!("cannot be read: {}", error.kind()))),
    };
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let source = Source {
        file: &shown,
        text: &text,
    };
    let mut root = Section::parse(&source);
    let settings = read(&mut root, path, folder);
    (settings, root.finish())
}

/// What a person without settings does next.
pub fn how_to_begin() -> &'static str {
    "copy packaging/reconciled.toml, name another file with --config, or try `reconciled demo`, which needs none"
}

fn read(root: &mut Section<'_>, path: &Path, folder: PathBuf) -> Option<Settings> {
    let database = place(root, &folder, "database", "reconciled.db");
    let jobs = place(root, &folder, "jobs", "jobs");
    let reports = reports(root, &folder);
    let out = place(root, &folder, "out", "out");
    let published = published(root, &folder);
    if published.is_some() && published == database {
        root.problem("`published` and `database` are the same file; the copy would replace the database");
    }
    let mail = table(root, "mail", |section| mail(section, &folder));
    let http = table(root, "http", |section| Some(http(section, &folder)));
    let alerts = table(root, "alerts", |section| Some(alerts(section, mail.as_ref())));
    let upkeep = upkeep(root, &folder);
    let desk = table(root, "desk", |section| Some(desk(section, &folder)));
    Some(Settings {
        file: path.to_owned(),
        database: database?,
        jobs: jobs?,
        reports,
        out: out?,
        published,
        mail,
        http: http.unwrap_or_default(),
        alerts: alerts.unwrap_or_default(),
        upkeep,
        desk: desk.unwrap_or_default(),
        folder,
    })
}

fn alerts(section: &mut Section<'_>, mail: Option<&Mail>) -> Alerts {
    let usual = Alerts::default();
    let late_after = section.duration("late_after");
    let heartbeat_url = section.secret("heartbeat_url");
    let mut recipients = Vec::new();
    let named = section.has("recipients").then(|| section.line_of("recipients"));
    for (text, line) in section.list_lines("recipients").unwrap_or_default() {
        let domain = address::domain_of(&text);
        match (address::check(&text), mail) {
            (Err(why), _) => section.problem_at(line, format!("an address in `alerts.recipients` {why}")),
            (Ok(()), Some(mail)) if !mail.allowed_domains.contains(&domain) => section.problem_at(
                line,
                "an address in `alerts.recipients` lies outside [mail] allowed_domains; correct it or allow its domain"
                    .to_owned(),
            ),
            _ => recipients.push(text),
        }
    }
    if let (Some(line), None, false) = (named, mail, recipients.is_empty()) {
        section.problem_at(line, "`alerts.recipients` needs a [mail] section to send by".to_owned());
    }
    Alerts {
        heartbeat_url,
        recipients,
        late_after: late_after
            .and_then(|after| chrono::TimeDelta::from_std(after).ok())
            .unwrap_or(usual.late_after),
    }
}

fn upkeep(root: &mut Section<'_>, folder: &Path) -> Upkeep {
    let usual = Upkeep::default();
    let textfile = table(root, "metrics", |section| textfile(section, folder));
    let days = |section: &mut Section<'_>, key: &str, least: i64| section.integer(key, least..=36_500);
    let retention = table(root, "retention", |section| {
        Some(Retention {
            versions_days: days(section, "versions_days", 90),
            mails_days: days(section, "mails_days", 30),
            files_days: days(section, "files_days", 30),
        })
    });
    let quick_check = table(root, "upkeep", |section| days(section, "quick_check_days", 0));
    Upkeep {
        textfile,
        quick_check_days: quick_check.unwrap_or(usual.quick_check_days),
        retention: retention.unwrap_or_default(),
    }
}

/// The collector reads files that end in `.prom` and no others.
fn textfile(section: &mut Section<'_>, folder: &Path) -> Option<PathBuf> {
    let (text, line) = section.text_line("textfile")?;
    let path = folder.join(&text);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && !name.starts_with('.');
    if !plain || !name.ends_with(".prom") || name.len() > 200 {
        section.problem_at(
            line,
            "`metrics.textfile` must be a file whose name ends in .prom (letters, digits, `.`, `_`, `-`); the collector \
             reads no other"
                .to_owned(),
        );
        return None;
    }
    Some(path)
}

/// Reads an optional table with `read` and takes over its problems.
pub(super) fn table<'a, T>(
    parent: &mut Section<'a>,
    key: &str,
    read: impl FnOnce(&mut Section<'a>) -> Option<T>,
) -> Option<T> {
    let mut section = parent.section(key)?;
    let value = read(&mut section);
    parent.close(section);
    value
}

/// A path that must not be empty.
fn place(root: &mut Section<'_>, folder: &Path, key: &str, default: &str) -> Option<PathBuf> {
    let line = root.line_of(key);
    let text = root.text_or(key, default);
    if text.trim().is_empty() {
        let full = root.full(key);
        root.problem_at(line, format!("`{full}` is empty; leave it out for {default:?}"));
        return None;
    }
    Some(folder.join(text))
}

/// None for the built-in definitions. Only the usual name may be missing: another one would be a typing error.
fn reports(root: &mut Section<'_>, folder: &Path) -> Option<PathBuf> {
    let line = root.line_of("reports");
    let text = root.text_or("reports", REPORTS);
    let path = folder.join(&text);
    if path.is_dir() {
        return Some(path);
    }
    if text != REPORTS {
        root.problem_at(
            line,
            format!("`reports` names {text:?}, which is no folder; leave it out for the built-in reports"),
        );
    }
    None
}

fn published(root: &mut Section<'_>, folder: &Path) -> Option<PathBuf> {
    let text = root.text_or("published", "reconciled-latest.db");
    (!text.is_empty()).then(|| folder.join(text))
}

fn desk(section: &mut Section<'_>, folder: &Path) -> Desk {
    let inbox = match section.has("inbox") {
        true => place(section, folder, "inbox", "returned"),
        false => None,
    };
    let (by, line) = section.text_line("by").unzip();
    if by.as_deref().is_some_and(|by| by.trim().is_empty()) {
        section.problem_at(
            line.unwrap_or_default(),
            "`desk.by` is empty; name who puts files into the inbox, or leave it out".to_owned(),
        );
    }
    Desk { inbox, by }
}

fn seconds(section: &mut Section<'_>, key: &str, default: Duration, most: i64) -> Duration {
    section
        .integer(key, 1..=most)
        .and_then(|n| u64::try_from(n).ok())
        .map_or(default, Duration::from_secs)
}

fn bytes(section: &mut Section<'_>, key: &str, default: i64, range: std::ops::RangeInclusive<i64>) -> usize {
    usize::try_from(section.integer_or(key, default, range)).unwrap_or(usize::MAX)
}

fn mail(section: &mut Section<'_>, folder: &Path) -> Option<Mail> {
    let smtp = section.choice_or("transport", true, &[("smtp", true), ("folder", false)]);
    // Both transports' settings may stand in the file: people switch between them.
    let drop_folder = place(section, folder, "folder", "mail");
    let conversation = conversation(section, smtp);
    let line = section.line_of("from");
    let from = section.required("from");
    if let Some(Err(why)) = from.as_deref().map(address::in_header_form) {
        section.problem_at(line, format!("`mail.from` {why}"));
    }
    let allowed_domains = allowed_domains(section, from.as_deref());
    let max_mail_bytes = bytes(section, "max_mail_bytes", MAX_MAIL_BYTES, 10_000..=1_000_000_000);
    let zip_above_bytes = bytes(section, "zip_above_bytes", ZIP_ABOVE_BYTES, 0..=1_000_000_000);
    let timeout = seconds(section, "timeout_s", Duration::from_secs(60), 3600);
    let transport = if smtp {
        conversation?
    } else {
        Transport::Folder(drop_folder?)
    };
    Some(Mail {
        transport,
        from: from?,
        allowed_domains,
        max_mail_bytes,
        zip_above_bytes,
        timeout,
    })
}

fn conversation(section: &mut Section<'_>, wanted: bool) -> Option<Transport> {
    let words = [
        ("starttls", SmtpTls::StartTls),
        ("wrapper", SmtpTls::Wrapper),
        ("none", SmtpTls::None),
    ];
    let tls_line = section.line_of("tls");
    let tls = section.choice_or("tls", SmtpTls::StartTls, &words);
    let host_line = section.line_of("host");
    let host = if wanted {
        section.required("host")
    } else {
        section.text("host")
    };
    let port = u16::try_from(section.integer_or("port", 587, 1..=65_535)).unwrap_or(587);
    let (username, password) = (username(section), section.secret("password"));
    if username.is_some() != password.is_some() && section.problem_count() == 0 {
        section.problem("`mail.username` and `mail.password` belong together: give both or neither");
    }
    let host = host?;
    let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b));
    if !plain {
        section.problem_at(
            host_line,
            "`mail.host` must be a host name or an address, without scheme and port".to_owned(),
        );
        return None;
    }
    if tls == SmtpTls::None && !is_loopback(&host) {
        section.problem_at(
            tls_line,
            "`mail.tls` is \"none\", which is for loopback hosts only; use \"starttls\" or \"wrapper\"".to_owned(),
        );
    }
    Some(Transport::Smtp {
        host,
        port,
        tls,
        username,
        password,
    })
}

/// A name as it is, or a reference. What begins like a reference must be one.
fn username(section: &mut Section<'_>) -> Option<SecretOrPlain> {
    let (text, line) = section.text_line("username")?;
    if let Some(secret) = SecretRef::parse(&text) {
        return Some(SecretOrPlain::Secret(secret));
    }
    let half_a_reference = ["env:", "file:", "credential:"].iter().any(|p| text.starts_with(p));
    if text.is_empty() || half_a_reference || text.chars().any(char::is_control) {
        section.problem_at(
            line,
            "`mail.username` is neither a name nor a reference like \"env:NAME\", \"file:PATH\" or \"credential:NAME\""
                .to_owned(),
        );
        return None;
    }
    Some(SecretOrPlain::Plain(text))
}

/// Where mail may go. Unless said otherwise only to the sender's own domain: a typing error must not send figures away.
fn allowed_domains(section: &mut Section<'_>, from: Option<&str>) -> Vec<String> {
    if !section.has("allowed_domains") {
        let own = from.and_then(|from| address::in_header_form(from).ok());
        return own.map(address::domain_of).into_iter().collect();
    }
    let mut domains = Vec::new();
    for (text, line) in section.list_lines("allowed_domains").unwrap_or_default() {
        if address::is_domain(&text) {
            domains.push(text.to_ascii_lowercase());
        } else {
            section.problem_at(
                line,
                format!("`mail.allowed_domains` names {text:?}; write a domain like \"example.com\", without @ and *"),
            );
        }
    }
    domains
}

fn http(section: &mut Section<'_>, folder: &Path) -> Http {
    let usual = Http::default();
    let retry_budget = section.integer("retry_budget_s", 0..=86_400);
    Http {
        ca_file: ca_file(section, folder),
        connect_timeout: seconds(section, "connect_timeout_s", usual.connect_timeout, 300),
        request_timeout: seconds(section, "request_timeout_s", usual.request_timeout, 3600),
        max_body_bytes: bytes(section, "max_body_bytes", 32 << 20, 1024..=1 << 30),
        retry_budget: retry_budget
            .and_then(|n| u64::try_from(n).ok())
            .map_or(usual.retry_budget, Duration::from_secs),
        proxy: proxy(section),
    }
}

fn ca_file(section: &mut Section<'_>, folder: &Path) -> Option<PathBuf> {
    let (text, line) = section.text_line("ca_file")?;
    let path = folder.join(&text);
    if !path.is_file() {
        section.problem_at(line, format!("`http.ca_file` names {text:?}, which is no file"));
    }
    Some(path)
}

fn proxy(section: &mut Section<'_>) -> Option<url::Url> {
    let (text, line) = section.text_line("proxy")?;
    let parsed = url::Url::parse(&text).ok().filter(|url| {
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        matches!(url.scheme(), "http" | "https") && url.host().is_some() && bare
    });
    if parsed.is_none() {
        section.problem_at(
            line,
            "`http.proxy` must be a URL like \"http://proxy:3128\", without user and password".to_owned(),
        );
    }
    parsed
}

impl Settings {
    /// A path below the settings file's folder, as messages name it: the way the settings file itself was named.
    pub fn shown(&self, path: &Path) -> PathBuf {
        let named = self.file.parent().unwrap_or(Path::new(""));
        path.strip_prefix(&self.folder)
            .map_or_else(|_| path.to_owned(), |below| named.join(below))
    }
}
