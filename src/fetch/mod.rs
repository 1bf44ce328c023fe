//! All HTTP: plans, paces, signs, sends, judges, scrubs, archives. Providers say what to ask and what an answer means; this
//! room holds the conversation and owns everything that can go wrong on the way.
//!
//! Start at [`read`] (a night of one job), then [`walk`] (one window), [`page`] (one page), [`client`] (one attempt). Failures
//! carry no URL, header, body or key. Deliberately unknown here: what a row means, what is compared with it.

mod card;
mod client;
mod connect;
mod errand;
mod heads;
mod lookups;
mod pace;
mod page;
mod plan;
mod retry;
mod scrub;
mod session;
mod trouble;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

pub use client::Client;
pub use connect::install_crypto;
pub use errand::binding_link;
pub use plan::{Planned, plan};
pub use scrub::scrub;

use self::lookups::Selection;
use self::page::{Answer, Talk};
use self::plan::{Horizon, Named, Wanted, children, details, parent, plan_with};
use self::walk::{End, Walk, side_by_side};
use crate::config::{Job, ProviderSetup};
use crate::day::{Instant, format_instant};
use crate::failure::{Class, Failure};
use crate::providers::{Ask, Feed, Shape, Step};
use crate::store::{self, Sealed, Store};
use crate::window::Window;

/// Who wants to see it move.
pub trait Progress: Send + Sync {
    /// Conversations known so far for this night; grows when subjects become known.
    fn windows(&self, job: &str, total: u64);
    /// One was read to its end.
    fn sealed(&self, job: &str, feed: &str);
    /// A page with that many rows was archived.
    fn page(&self, job: &str, feed: &str, rows: u64);
}

/// Shows nothing: for a daemon and for tests.
pub struct Quiet;

impl Progress for Quiet {
    fn windows(&self, _job: &str, _total: u64) {}
    fn sealed(&self, _job: &str, _feed: &str) {}
    fn page(&self, _job: &str, _feed: &str, _rows: u64) {}
}

/// One night of one job.
pub struct Night<'a> {
    pub store: &'a Store,
    pub job: &'a Job,
    pub setup: &'a ProviderSetup,
    pub client: &'a Client,
    pub as_of: Instant,
    /// What was read as of this instant or later counts as read.
    pub fresh_since: Instant,
    /// False: the ledger was refused tonight, so there are no keys to ask about.
    pub ledger_taken: bool,
    /// Ends the night after the pages under way.
    pub stop: &'a CancellationToken,
    pub progress: &'a dyn Progress,
}

/// What a night came to.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Archived by this run.
    pub pages: u64,
    /// In the windows sealed by this run.
    pub rows: u64,
    pub new: u64,
    pub changed: u64,
    pub unreadable: u64,
    pub vanished: u64,
    /// Windows and subjects read to their end.
    pub sealed: u64,
    /// Wanted and not read to their end.
    pub open: u64,
    /// Read to their end, but moving every time.
    pub unstable: u64,
    /// Keys of the ledger asked about without a usable answer; among the open ones, each is a finding of its own.
    pub refused: u64,
    /// Keys of the ledger that the night's budget did not reach.
    pub left: u64,
    /// What a person should know that is no failure.
    pub warnings: BTreeSet<String>,
    /// First the worst; empty = every wanted window was read to its end.
    pub failures: Vec<Failure>,
}

/// Reads everything a job wants tonight. Never fails as a whole: what was read is archived and sealed, what was not stands
/// in [`Reading::failures`]. With nothing to ask, nobody is asked and no session is opened.
pub async fn read(night: &Night<'_>) -> Reading {
    // Ends the waiting of all windows when one of them stops the job.
    let halt = night.stop.child_token();
    let mut evening = Evening::new(night, &halt);
    if let Err(failure) = evening.read_all().await {
        evening.fail(failure.at(&night.job.name));
    }
    night.client.sessions.close(night.client).await;
    evening.finish()
}

/// A night under way.
struct Evening<'n> {
    night: &'n Night<'n>,
    halt: &'n CancellationToken,
    reading: Reading,
    /// Subjects that tonight's parent windows named, by feed.
    named: BTreeMap<&'static str, Vec<Named>>,
    known: u64,
    unusable_in_a_row: u32,
    begun: bool,
    keys: Keyed,
}

/// How asking by key goes tonight.
#[derive(Default)]
struct Keyed {
    answered: u64,
    refused: u64,
    /// The first refusal, and whether all of them were about the settings.
    first: Option<Failure>,
    other_than_config: bool,
}

/// A conversation to be held.
struct Held {
    ask: Ask,
    /// Instead of the job's own.
    shape: Option<String>,
    /// It is about a key of the ledger.
    keyed: bool,
}

/// Answers that were no pages for so many windows in a row: the job stops, instead of spending the budget on each.
const MAX_UNUSABLE_IN_A_ROW: u32 = 2;

impl<'n> Evening<'n> {
    fn new(night: &'n Night<'n>, halt: &'n CancellationToken) -> Self {
        Self {
            night,
            halt,
            reading: Reading::default(),
            named: BTreeMap::new(),
            known: 0,
            unusable_in_a_row: 0,
            begun: false,
            keys: Keyed::default(),
        }
    }

    async fn read_all(&mut self) -> Result<(), Failure> {
        let night = self.night;
        let horizon = Horizon {
            job: night.job,
            as_of: night.as_of,
            fresh_since: night.fresh_since,
        };
        let calibration = Arc::new(store::calibration(night.store, &night.job.name)?);
        let feeds = night.setup.provider.feeds();
        let store = Some(night.store);
        let keyed = Selection::make(store.filter(|_| night.ledger_taken), &horizon, &*night.setup.provider)?;
        self.keys.answered = keyed.answered;
        let planned = plan_with(store, &horizon, night.setup, &keyed)?;
        self.known = planned.iter().map(|p| p.windows.len() as u64).sum();
        night.progress.windows(&night.job.name, self.known);
        for (feed, planned) in feeds.iter().zip(planned) {
            let wanted = match feed.shape {
                Shape::Children { of } => self.children(&horizon, &feeds, feed, of, planned.windows.len())?,
                Shape::Details { .. } => self.details(&horizon, feed, planned.windows.len())?,
                Shape::Lookups => keyed.of(feed.name).to_vec(),
                _ => planned
                    .windows
                    .into_iter()
                    .map(|window| Wanted {
                        window,
                        subject: None,
                        beside: Vec::new(),
                        shape: None,
                        account: String::new(),
                    })
                    .collect(),
            };
            let asks: Vec<Held> = wanted
                .into_iter()
                .map(|wanted| self.held(feed, wanted, &calibration))
                .collect();
            self.reading.open += asks.len() as u64;
            if !self.halt.is_cancelled() && !asks.is_empty() {
                self.begin().await?;
                self.read_feed(&asks).await;
            }
            if matches!(feed.shape, Shape::Children { .. }) {
                self.note_nameless(feed.name)?;
            }
            if let Shape::Details { of } = feed.shape {
                self.note_unreferenced(feed.name, of)?;
            }
            if feed.shape == Shape::Lookups && night.ledger_taken {
                self.note_left(feed.name, keyed.left.get(feed.name).copied().unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn held(&self, feed: &Feed, wanted: Wanted, calibration: &Arc<BTreeMap<String, String>>) -> Held {
        let ask = Ask {
            feed: feed.name,
            window: wanted.window,
            subject: wanted.subject,
            beside: wanted.beside,
            account: wanted.account,
            as_of: self.night.as_of,
            zone: self.night.job.timezone,
            calibration: Arc::clone(calibration),
        };
        Held {
            ask,
            shape: wanted.shape,
            keyed: feed.shape == Shape::Lookups,
        }
    }

    /// The records to ask about alone, now that tonight's lists are read.
    fn details(&mut self, horizon: &Horizon<'_>, feed: &Feed, planned: usize) -> Result<Vec<Wanted>, Failure> {
        let night = self.night;
        let wanted = details(night.store, horizon, feed, night.setup.provider.max_details())?;
        self.known += (wanted.len() as u64).saturating_sub(planned as u64);
        night.progress.windows(&night.job.name, self.known);
        Ok(wanted)
    }

    /// Says which records still have no reference: those nobody was asked about yet, and those that have none.
    fn note_unreferenced(&mut self, feed: &'static str, of: &'static str) -> Result<(), Failure> {
        let (night, job) = (self.night, &self.night.job.name);
        let left = store::open_subjects(night.store, job, feed)?.len();
        // Where the night ended early its own failure says so.
        if left > 0 && self.reading.failures.is_empty() && !self.halt.is_cancelled() {
            let records = if left == 1 { "record" } else { "records" };
            let why = format!(
                "{left} {records} of {of} without a reference were not asked about: the night's budget \
                 (max_reference_lookups) was spent; nothing is reported missing meanwhile, the next runs go on"
            );
            self.reading.open += left as u64;
            self.fail(Failure::new(Class::Partial, why).at(job));
        }
        let without = store::without_reference(night.store, job, of, feed)?;
        if without > 0 {
            let (records, have) = if without == 1 {
                ("record", "has")
            } else {
                ("records", "have")
            };
            self.reading.warnings.insert(format!(
                "{of}: {without} {records} {have} no reference, neither in the list nor when asked about alone: only an entry \
                 that names the provider_id can match"
            ));
        }
        Ok(())
    }

    /// Subjects that were listed without a readable id leave a hole: what belongs to them cannot be asked for.
    fn note_nameless(&mut self, feed: &'static str) -> Result<(), Failure> {
        for (window, why) in store::nameless(self.night.store, &self.night.job.name, feed)? {
            let place = Ask {
                feed,
                window,
                beside: Vec::new(),
                subject: None,
                account: String::new(),
                as_of: self.night.as_of,
                zone: self.night.job.timezone,
                calibration: Arc::default(),
            };
            self.fail(Failure::new(Class::Data, why).at(place_name(self.night, &place)));
        }
        Ok(())
    }

    /// Says how many keys of a feed nobody was asked about.
    fn note_left(&mut self, feed: &'static str, left: u64) -> Result<(), Failure> {
        let (night, halted) = (self.night, self.halt.is_cancelled());
        let reason = match (left, halted) {
            (0, false) => None,
            (0, true) => Some("the night was stopped before every key of the ledger was asked about".to_owned()),
            (left, _) => Some(format!(
                "{left} ledger items were not asked about: the night's budget (max_lookups) was spent; the next nights go on"
            )),
        };
        if let Some(reason) = reason.as_deref().filter(|_| left > 0) {
            self.reading.left += left;
            self.reading.warnings.insert(format!("{feed}: {reason}"));
        }
        let books = lookups::books(night.job, night.as_of);
        store::note_keys(
            night.store,
            &night.job.name,
            feed,
            books,
            night.as_of,
            reason.as_deref(),
        )
    }

    /// The subjects of a feed, now that tonight's parents are read.
    fn children(
        &mut self,
        horizon: &Horizon<'_>,
        feeds: &[Feed],
        feed: &Feed,
        of: &'static str,
        planned: usize,
    ) -> Result<Vec<Wanted>, Failure> {
        let parents = horizon.wanted(parent(feeds, of));
        let named = self.named.get(of).map(Vec::as_slice).unwrap_or_default();
        let wanted = children(Some(self.night.store), horizon, feed, of, &parents, named)?;
        self.known += (wanted.len() as u64).saturating_sub(planned as u64);
        self.night.progress.windows(&self.night.job.name, self.known);
        Ok(wanted)
    }

    /// Before the first request of the night: keys as they are now, an old refusal forgotten, a remembered pause honoured.
    async fn begin(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let client = self.night.client;
        client.read_keys()?;
        client.sessions.forget_refusal().await;
        let Some((until, why)) = store::pause(self.night.store, &client.lane)? else {
            return Ok(());
        };
        let left = (until - client::wall_now()).to_std().unwrap_or_default();
        if left > client.bounds.max_retry_wait {
            return Err(Failure::new(
                Class::Partial,
                format!(
                    "the provider asked to be left alone until {} ({why}); nobody was asked, runs after that go on",
                    format_instant(until)
                ),
            ));
        }
        if !left.is_zero() {
            client.pace.close_for(left);
        }
        Ok(())
    }

    /// Holds the conversations of one feed, so many side by side as the lane allows.
    async fn read_feed(&mut self, asks: &[Held]) {
        let night = self.night;
        let talk = Talk {
            client: night.client,
            store: Some(night.store),
            stop: self.halt,
        };
        let mut waiting = asks.iter();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < side_by_side(night.client) && !self.halt.is_cancelled() {
                let Some(ask) = waiting.next() else { break };
                under_way.push(read_window(night, talk, ask));
            }
            let Some((ask, pages, end)) = under_way.next().await else {
                break;
            };
            self.reading.pages += pages;
            self.count(ask, end);
        }
    }

    fn count(&mut self, held: &Held, end: End) {
        let ask = &held.ask;
        let unusable = matches!(end, End::Unusable(_));
        // Keys without an answer that are under way together end together: only one more is the provider, not the keys.
        let most = match held.keyed {
            true => MAX_UNUSABLE_IN_A_ROW
                .max(u32::try_from(side_by_side(self.night.client)).map_or(u32::MAX, |n| n.saturating_add(1))),
            false => MAX_UNUSABLE_IN_A_ROW,
        };
        match end {
            End::Sealed(sealed) => {
                self.reading.sealed += 1;
                self.keys.answered += u64::from(held.keyed);
                self.add(ask, sealed);
            }
            End::Open(failure) if held.keyed => self.refused(failure),
            End::Unusable(failure) if held.keyed && self.unusable_in_a_row + 1 < most => {
                self.refused(failure);
            }
            End::Unstable(sealed, failure) => {
                self.reading.unstable += 1;
                self.add(ask, sealed);
                self.fail(failure);
            }
            End::Open(failure) | End::Unusable(failure) => self.fail(failure),
            End::Stop(failure) => {
                // The others stop because of the first; that is no news.
                if !self.halt.is_cancelled() || failure.class != Class::Partial {
                    self.fail(failure);
                }
                self.halt.cancel();
            }
        }
        self.unusable_in_a_row = if unusable { self.unusable_in_a_row + 1 } else { 0 };
        if self.unusable_in_a_row >= most {
            self.halt.cancel();
        }
    }

    /// A key without a usable answer: a finding, no failure of the night; unless no key gets one.
    fn refused(&mut self, failure: Failure) {
        tracing::warn!(
            job = self.night.job.name,
            class = failure.class.name(),
            "{}",
            failure.message
        );
        self.reading.refused += 1;
        let keys = &mut self.keys;
        keys.refused += 1;
        keys.other_than_config |= failure.class != Class::Config;
        let stops = keys.refused >= u64::from(self.night.setup.provider.refusals_that_stop().max(1));
        let first = keys.first.get_or_insert(failure).message.clone();
        if keys.answered > 0 || !stops || self.halt.is_cancelled() {
            return;
        }
        let class = if keys.other_than_config {
            Class::Auth
        } else {
            Class::Config
        };
        let why = format!(
            "{} keys were asked about and none was answered: it is the account or the settings, not the keys; the first: {first}",
            keys.refused
        );
        self.fail(Failure::new(class, why).at(&self.night.job.name));
        self.halt.cancel();
    }

    fn add(&mut self, ask: &Ask, sealed: Sealed) {
        let reading = &mut self.reading;
        reading.open = reading.open.saturating_sub(1);
        reading.rows += sealed.rows;
        reading.new += sealed.new;
        reading.changed += sealed.changed;
        reading.unreadable += sealed.unreadable;
        reading.vanished += sealed.vanished;
        reading
            .warnings
            .extend(sealed.sentences(&*self.night.setup.provider, ask));
        self.night.progress.sealed(&self.night.job.name, ask.feed);
        if !sealed.subjects.is_empty() {
            let named = Named {
                window: ask.window,
                subjects: sealed.subjects,
            };
            self.named.entry(ask.feed).or_default().push(named);
        }
    }

    fn fail(&mut self, failure: Failure) {
        tracing::warn!(
            job = self.night.job.name,
            class = failure.class.name(),
            "{}",
            failure.message
        );
        self.reading.failures.push(failure);
    }

    fn finish(mut self) -> Reading {
        if self.night.stop.is_cancelled() && self.reading.open > 0 {
            self.fail(page::stopped().at(&self.night.job.name));
        }
        self.reading.warnings.extend(self.night.client.take_warnings());
        let failures = &mut self.reading.failures;
        let worst = Class::worst(failures.iter().map(|f| f.class));
        if let Some(first) = failures.iter().position(|f| Some(f.class) == worst) {
            failures[..=first].rotate_right(1);
        }
        self.reading
    }
}

async fn read_window<'a>(night: &'a Night<'a>, talk: Talk<'a>, held: &'a Held) -> (&'a Held, u64, End) {
    match Walk::open(night, talk, held) {
        Ok(mut walk) => {
            let end = walk.run().await;
            (held, walk.pages, end)
        }
        Err(failure) => (held, 0, End::Stop(failure.at(place_name(night, &held.ask)))),
    }
}

/// `tupay-pe: deposits 2026-03-04`.
fn place_name(night: &Night<'_>, ask: &Ask) -> String {
    format!("{}: {}", night.job.name, ask.place())
}

/// Logs in and asks for one page of yesterday, to see that address, keys and rights are right. Stores nothing, not even a
/// pause. Returns what was checked and what a person should know.
///
/// # Errors
/// As in a night, with the provider's name as the place.
pub async fn check_online(setup: &ProviderSetup, client: &Client) -> Result<Vec<String>, Failure> {
    let stop = CancellationToken::new();
    let talk = Talk {
        client,
        store: None,
        stop: &stop,
    };
    let provider = &setup.provider;
    let result = check_first_page(&talk, setup).await.map_err(|f| f.at(provider.name()));
    client.sessions.close(client).await;
    let mut said = result?;
    said.extend(client.take_warnings());
    Ok(said)
}

async fn check_first_page(talk: &Talk<'_>, setup: &ProviderSetup) -> Result<Vec<String>, Failure> {
    let (provider, client) = (&setup.provider, talk.client);
    client.sessions.forget_refusal().await;
    let mut said = Vec::new();
    if client.sessions.ticket(talk).await?.has_session() {
        said.push(format!("{}: logged in", provider.name()));
    }
    let now = client::wall_now();
    let listed = |feed: &&Feed| {
        !matches!(
            feed.shape,
            Shape::Children { .. } | Shape::Details { .. } | Shape::Lookups
        )
    };
    let feeds = provider.feeds();
    let Some(feed) = feeds.iter().find(listed) else {
        return Ok(said);
    };
    let ask = Ask {
        feed: feed.name,
        window: Window {
            from: now - chrono::TimeDelta::days(2),
            until: now - chrono::TimeDelta::days(1),
        },
        subject: None,
        beside: Vec::new(),
        account: String::new(),
        as_of: now,
        zone: chrono_tz::UTC,
        calibration: Arc::default(),
    };
    let number = match provider.next(&ask, &[]) {
        Step::Get { number, .. } => number,
        Step::GetAll { numbers } => *numbers.start(),
        Step::Done | Step::Again { .. } | Step::Broken { .. } => return Ok(said),
    };
    match page::fetch(talk, &ask, number, &[])
        .await
        .map_err(|f| f.at(feed.name))?
    {
        Answer::Page(_) => said.push(format!("{}: {} answered", provider.name(), feed.name)),
        Answer::Absent(_, why) | Answer::Restart(why) => {
            said.push(format!("{}: {}: {why}", provider.name(), feed.name))
        }
        Answer::Refused(failure) | Answer::Unusable(failure) => return Err(failure.at(feed.name)),
    }
    Ok(said)
}
