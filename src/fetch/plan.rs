//! What to read tonight: for every feed the wanted windows, less what was read already. Asks nobody.
//!
//! Time comes from `as_of`, what was read from the database. Subjects (a sweep's transactions) are planned again during the
//! night, once their parents have been read: [`children`] is the one rule for both.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::lookups::Selection;
use crate::config::{Job, ProviderSetup};
use crate::day::{Instant, last_day_over, next_day, parse_instant, start_of_day};
use crate::failure::Failure;
use crate::providers::{Feed, Shape, Subject};
use crate::store::{self, Store};
use crate::window::{Covered, Window, stale, tile};

/// What one feed wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub feed: &'static str,
    /// In the order they are read. For a feed of subjects one window per subject known so far; for a feed asked by key one
    /// per key of the ledger as it was imported last.
    pub windows: Vec<Window>,
    /// Pages beyond the first of each window, logins and retries come on top.
    pub requests_at_least: u64,
}

/// One conversation to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub window: Window,
    pub subject: Option<String>,
    /// [`crate::providers::Ask::beside`].
    pub beside: Vec<String>,
    /// The account the subject was listed with.
    pub account: String,
    /// Instead of the job's own: what a cut conversation must agree with to go on.
    pub shape: Option<String>,
}

/// The plan of a night, feed by feed in the order they are read. Without a store nothing has been read yet.
///
/// # Errors
/// Only those of the database.
pub fn plan(
    store: Option<&Store>,
    job: &Job,
    setup: &ProviderSetup,
    as_of: Instant,
    fresh_since: Instant,
) -> Result<Vec<Planned>, Failure> {
    let night = Horizon {
        job,
        as_of,
        fresh_since,
    };
    let keyed = Selection::make(store, &night, &*setup.provider)?;
    plan_with(store, &night, setup, &keyed)
}

/// The same, when the keys to ask about are known.
pub(super) fn plan_with(
    store: Option<&Store>,
    night: &Horizon<'_>,
    setup: &ProviderSetup,
    keyed: &Selection,
) -> Result<Vec<Planned>, Failure> {
    let feeds = setup.provider.feeds();
    let mut planned = Vec::new();
    for feed in &feeds {
        let windows: Vec<Window> = match feed.shape {
            Shape::Children { of } => {
                let parents = night.wanted(parent(&feeds, of));
                children(store, night, feed, of, &parents, &[])?
                    .into_iter()
                    .map(|w| w.window)
                    .collect()
            }
            Shape::Details { .. } => match store {
                Some(store) => details(store, night, feed, setup.provider.max_details())?
                    .into_iter()
                    .map(|w| w.window)
                    .collect(),
                None => Vec::new(),
            },
            Shape::Lookups => keyed.of(feed.name).iter().map(|w| w.window).collect(),
            _ => night.stale_windows(store, feed)?,
        };
        planned.push(Planned {
            feed: feed.name,
            requests_at_least: windows.len() as u64,
            windows,
        });
    }
    Ok(planned)
}

/// The feed of that name.
pub(super) fn parent<'f>(feeds: &'f [Feed], of: &str) -> Option<&'f Feed> {
    feeds.iter().find(|feed| feed.name == of)
}

/// One night of one job, as the plan sees it.
#[derive(Clone, Copy)]
pub(super) struct Horizon<'h> {
    pub job: &'h Job,
    pub as_of: Instant,
    pub fresh_since: Instant,
}

impl Horizon<'_> {
    /// Every window ever wanted, oldest first.
    pub(super) fn wanted(&self, feed: Option<&Feed>) -> Vec<Window> {
        let Some(feed) = feed else { return Vec::new() };
        let (zone, first) = (self.job.timezone, self.job.fetch.start);
        let last = last_day_over(self.as_of, self.job.fetch.settle, zone);
        if last < first {
            return Vec::new();
        }
        let until = start_of_day(next_day(last), zone);
        match feed.shape {
            Shape::Days(days) => tile(first, last, days, zone),
            Shape::Listing => vec![Window {
                from: start_of_day(first, zone),
                until,
            }],
            Shape::Snapshot => vec![Window {
                from: start_of_day(last, zone),
                until,
            }],
            // Subjects and records come from their parents, keys from the ledger.
            Shape::Children { .. } | Shape::Details { .. } | Shape::Lookups => Vec::new(),
        }
    }

    /// The windows of a feed that must be read tonight, oldest first.
    pub(super) fn stale_windows(&self, store: Option<&Store>, feed: &Feed) -> Result<Vec<Window>, Failure> {
        let wanted = self.wanted(Some(feed));
        let Some(store) = store.filter(|_| !wanted.is_empty()) else {
            return Ok(wanted);
        };
        let covered = store::covered(store, &self.job.name, feed.name)?;
        // A figure of the moment cannot be read again: what it was is gone.
        let lookback = if feed.shape == Shape::Snapshot {
            TimeDelta::zero()
        } else {
            self.job.fetch.lookback
        };
        Ok(stale(&wanted, &covered, lookback, self.fresh_since))
    }
}

/// Subjects a parent window named tonight.
pub(super) struct Named {
    pub window: Window,
    pub subjects: Vec<Subject>,
}

/// The subjects to read: never read to their end, or inside the look-back and not read since `fresh_since`. A subject
/// belongs to the parent window its own time falls into, else to the first one that named it; it keeps the window it was
/// first stored under. Oldest first.
pub(super) fn children(
    store: Option<&Store>,
    night: &Horizon<'_>,
    feed: &Feed,
    parent_feed: &str,
    parents: &[Window],
    named: &[Named],
) -> Result<Vec<Wanted>, Failure> {
    let Some(newest) = parents.iter().map(|w| w.until).max() else {
        return Ok(Vec::new());
    };
    let known = match store {
        Some(store) => store::covered_subjects(store, &night.job.name, feed.name)?,
        None => BTreeMap::new(),
    };
    let mut candidates: BTreeMap<String, (Window, String)> = known
        .iter()
        .map(|(id, (covered, account))| (id.clone(), (covered.window, account.clone())))
        .collect();
    let stored = match store {
        Some(store) => stored_subjects(store, &night.job.name, parent_feed)?,
        None => Vec::new(),
    };
    for parent in named.iter().chain(&stored) {
        for subject in &parent.subjects {
            let window = match subject.at {
                Some(at) => parents.iter().copied().find(|w| w.contains(at)),
                None => Some(parent.window),
            };
            if let Some(window) = window {
                let (_, account) = candidates
                    .entry(subject.id.clone())
                    .or_insert_with(|| (window, subject.account.clone()));
                // It may have been listed first without a readable account.
                if account.is_empty() {
                    account.clone_from(&subject.account);
                }
            }
        }
    }
    let lookback_from = newest - night.job.fetch.lookback;
    let mut wanted: Vec<Wanted> = candidates
        .into_iter()
        .filter(|(id, (window, _))| {
            is_wanted(
                known.get(id).map(|(covered, _)| covered),
                window,
                lookback_from,
                night.fresh_since,
            )
        })
        .map(|(id, (window, account))| Wanted {
            window,
            subject: Some(id),
            beside: Vec::new(),
            account,
            shape: None,
        })
        .collect();
    wanted.sort_by(|a, b| (a.window.from, &a.subject).cmp(&(b.window.from, &b.subject)));
    Ok(wanted)
}

/// The records to ask about alone: never answered, what was listed first comes first, as far as the night's budget reaches.
pub(super) fn details(store: &Store, night: &Horizon<'_>, feed: &Feed, budget: u64) -> Result<Vec<Wanted>, Failure> {
    let (job, since) = (&night.job.name, night.fresh_since);
    // What a cut run of this night was answered counts.
    let (_, answered) = store::asked_since(store, job, feed.name, since)?;
    let open = store::open_subjects(store, job, feed.name)?;
    let reach = usize::try_from(budget.saturating_sub(answered)).unwrap_or(usize::MAX);
    let wanted = open.into_iter().take(reach).map(|(id, window, account)| Wanted {
        window,
        beside: Vec::new(),
        subject: Some(id),
        account,
        shape: None,
    });
    Ok(wanted.collect())
}

fn is_wanted(known: Option<&Covered>, window: &Window, lookback_from: Instant, fresh_since: Instant) -> bool {
    match known.and_then(|c| c.sealed_as_of) {
        None => true,
        Some(read_as_of) => read_as_of < fresh_since && window.until > lookback_from,
    }
}

/// Subjects that stored figures of the parent feed are about: a run that was cut after a parent window was sealed must still
/// find its children. A figure without a time of its own carries that of the run that read it; it then belongs to the window
/// its page was read for.
fn stored_subjects(store: &Store, job: &str, parent_feed: &str) -> Result<Vec<Named>, Failure> {
    store.read(|conn| {
        let mut statement = conn.prepare_cached(
            "SELECT b.subject, nullif(b.as_of, b.seen_at), w.from_at, w.until_at, b.account \
               FROM balances AS b JOIN pages AS p USING (page_id) JOIN windows AS w ON w.window_id = p.window \
              WHERE b.job = ?1 AND b.feed = ?2 AND b.subject <> '' ORDER BY b.balance_id",
        )?;
        let mut rows = statement.query([job, parent_feed])?;
        let mut named = Vec::new();
        while let Some(row) = rows.next()? {
            let at = |index: usize| {
                Ok::<_, Failure>(row.get::<_, Option<String>>(index)?.as_deref().and_then(parse_instant))
            };
            let (Some(from), Some(until)) = (at(2)?, at(3)?) else {
                continue;
            };
            let subject = Subject {
                id: row.get(0)?,
                at: at(1)?,
                account: row.get(4)?,
            };
            named.push(Named {
                window: Window { from, until },
                subjects: vec![subject],
            });
        }
        Ok(named)
    })
}
