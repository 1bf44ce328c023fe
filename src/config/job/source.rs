//! `[provider]` and `[across]`: where the provider's side of a job comes from.

use std::path::Path;

use chrono_tz::Tz;

use super::{House, shape};
use crate::config::section::nearest;
use crate::config::settings::table;
use crate::config::{FileFeed, JobSource, ProviderSetup, Section};
use crate::providers::{self, Built};

/// Names under which a provider's document lets `[provider]` say what `[fetch]` and `[http]` say as well.
const PACE: &[&str] = &["max_rps", "requests_per_second", "requests_per_minute"];
const LOOKBACK: &[&str] = &["lookback_days", "late_change_days", "recheck_final_days"];
const SETTLE: &[&str] = &["settle_lag"];
const TIMEOUT: &[&str] = &["request_timeout"];

/// A source as far as it is known before `[fetch]` was read.
pub(super) enum Origin {
    Api {
        kind: &'static str,
        built: Built,
        said: Said,
    },
    /// An API whose own settings have problems: the rest of the job is still looked at.
    BrokenApi,
    Source {
        source: JobSource,
        shape: String,
    },
}

/// Which limits `[provider]` stated itself, as against defaults of its document.
#[derive(Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) pace: bool,
    pub(super) lookback: bool,
    pub(super) settle: bool,
    pub(super) timeout: bool,
}

impl Origin {
    /// The source and the digest of its shape; None for what is broken.
    pub(super) fn finish(self) -> Option<(JobSource, String)> {
        match self {
            Self::BrokenApi => None,
            Self::Source { source, shape } => Some((source, shape)),
            Self::Api { kind, built, .. } => {
                let shape = shape::of_provider(kind, &built);
                let lane = shape::lane(kind, built.base_url.as_str(), &built.account_key);
                let setup = ProviderSetup {
                    provider: built.provider,
                    base_url: built.base_url,
                    secrets: built.secrets,
                    lane,
                    strict_balance: built.strict_balance,
                };
                Some((JobSource::Provider(setup), shape))
            }
        }
    }
}

pub(super) fn source(root: &mut Section<'_>, house: &House<'_>, name: &str, zone: Option<Tz>) -> Option<Origin> {
    let (has_provider, has_across) = (root.has("provider"), root.has("across"));
    let across_line = root.line_of("across");
    let provider = table(root, "provider", |section| provider(section, house, zone));
    let across = table(root, "across", |section| across(section, house, name));
    match (has_provider, has_across) {
        (true, true) => {
            root.problem_at(
                across_line,
                "`[across]` compares what other jobs stored; a job has either [provider] or [across]".to_owned(),
            );
            None
        }
        (false, false) => {
            root.problem("`[provider]` is missing (or `[across]`, to compare what other jobs stored)");
            None
        }
        _ => provider.or(across),
    }
}

fn provider(section: &mut Section<'_>, house: &House<'_>, zone: Option<Tz>) -> Option<Origin> {
    let line = section.line_of("kind");
    let Some(kind) = section.required("kind") else {
        section.set_aside();
        return None;
    };
    if kind == "file" {
        return file_feed(section, &house.settings.folder, zone);
    }
    let Some(entry) = providers::REGISTRY.iter().find(|entry| entry.name == kind) else {
        let known = || providers::REGISTRY.iter().map(|entry| entry.name).chain(["file"]);
        let near = nearest(&kind, known());
        let all: Vec<&str> = known().collect();
        let all = all.join(", ");
        let message = format!("`provider.kind` is {kind:?}; it must be one of {all}{near}");
        section.problem_at(line, message);
        section.set_aside();
        return None;
    };
    let any = |keys: &[&str]| keys.iter().any(|key| section.has(key));
    let said = Said {
        pace: any(PACE),
        lookback: any(LOOKBACK),
        settle: any(SETTLE),
        timeout: any(TIMEOUT),
    };
    let before = section.problem_count();
    match (entry.build)(section) {
        Some(built) => Some(Origin::Api {
            kind: entry.name,
            built,
            said,
        }),
        None => {
            if section.problem_count() == before {
                section.problem_at(line, format!("this version cannot read {kind}"));
                section.set_aside();
            }
            Some(Origin::BrokenApi)
        }
    }
}

fn file_feed(section: &mut Section<'_>, folder: &Path, zone: Option<Tz>) -> Option<Origin> {
    let feed = word(section, "feed");
    let provider = word(section, "provider");
    let bank = section.boolean_or("bank", false);
    let feed = FileFeed {
        feed: feed?,
        provider: provider?,
        table: crate::config::table::csv(section, folder, zone)?,
        bank,
    };
    Some(Origin::Source {
        shape: shape::of_file(&feed),
        source: JobSource::File(feed),
    })
}

/// A word that will stand in the database: `file` unless said otherwise.
fn word(section: &mut Section<'_>, key: &str) -> Option<String> {
    let line = section.line_of(key);
    let text = section.text_or(key, "file");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Some(text);
    }
    let full = section.full(key);
    section.problem_at(
        line,
        format!("`{full}` must be 1 to 64 of the letters a-z, digits, `_` and `-`"),
    );
    None
}

fn across(section: &mut Section<'_>, house: &House<'_>, own: &str) -> Option<Origin> {
    if !section.has("jobs") {
        section.problem("`across.jobs` is missing; name at least two jobs");
    }
    let line = section.line_of("jobs");
    let listed = section.list_lines("jobs")?;
    let mut jobs: Vec<String> = Vec::new();
    for (name, line) in listed {
        if name == own {
            section.problem_at(line, format!("`across.jobs` names {name:?}, which is this job itself"));
        } else if house.names.get(&name) == Some(&true) {
            section.problem_at(
                line,
                format!("`across.jobs` names {name:?}, which stores no records: it compares across jobs itself"),
            );
        } else if !house.names.contains_key(&name) {
            let others = house.names.keys().map(String::as_str).filter(|other| *other != own);
            let near = nearest(&name, others);
            section.problem_at(
                line,
                format!("`across.jobs` names {name:?}, but there is no such job{near}"),
            );
        } else if jobs.contains(&name) {
            section.problem_at(line, format!("`across.jobs` names {name:?} twice"));
        } else {
            jobs.push(name);
        }
    }
    if jobs.len() < 2 && section.problem_count() == 0 {
        section.problem_at(line, "`across.jobs` must name at least two jobs".to_owned());
    }
    Some(Origin::Source {
        shape: shape::of_across(&jobs),
        source: JobSource::Across(jobs),
    })
}
