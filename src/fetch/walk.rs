//! One window, read to its end: resume, ask, archive, go on as the provider says, seal.
//!
//! Everything a walk knows stands in its archived pages: a cut walk reads their heads again and goes on with the next page.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::client::Client;
use super::heads::Heads;
use super::page::{Answer, Page, Talk, fetch};
use super::{Held, Night};
use crate::failure::{Class, Failure};
use crate::providers::{Ask, Doubt, Judgement, MAX_PAGES, PageHead, Provider, Reply, Step};
use crate::store::{self, OpenReading, Place, Sealed, StoredPage, WindowState};

/// A window is begun again at most so often because its position was no longer valid.
const MAX_RESTARTS: u32 = 2;

/// How a window ended.
pub(super) enum End {
    /// Read to its end.
    Sealed(Sealed),
    /// Read to its end every time, but it moved every time.
    Unstable(Sealed, Failure),
    /// Left open; the other windows can be read.
    Open(Failure),
    /// Left open because the budget ended without a page: two of these in a row and nothing better is to be expected.
    Unusable(Failure),
    /// The job stops here.
    Stop(Failure),
}

/// A window under way.
pub(super) struct Walk<'w> {
    night: &'w Night<'w>,
    talk: Talk<'w>,
    place: Place<'w>,
    /// It is about a key of the ledger.
    keyed: bool,
    reading: OpenReading,
    heads: Heads,
    /// The archived answer says that the provider does not know the subject: nothing is left to ask.
    absent: bool,
    /// Times the window moved while it was read.
    moved: u32,
    restarts: u32,
    /// What the books have against this pass, once it ended.
    doubt: Option<Option<Doubt>>,
    /// Pages archived by this walk, resumed ones not counted.
    pub pages: u64,
}

/// What to do after a step.
enum Turn {
    GoOn,
    End(End),
}

impl<'w> Walk<'w> {
    /// Opens the window in the database, or goes on with a reading that was cut.
    pub(super) fn open(night: &'w Night<'w>, talk: Talk<'w>, held: &'w Held) -> Result<Self, Failure> {
        let ask = &held.ask;
        let provider = night.setup.provider.name();
        let place = Place {
            job: &night.job.name,
            provider,
            shape: held.shape.as_deref().unwrap_or(&night.job.shape),
            ask,
        };
        let mut reading = store::open_window(night.store, &place)?;
        let mut heads = Heads::default();
        let (mut readable, mut absent) = (true, false);
        store::resumed(night.store, &reading, |page| {
            match night.setup.provider.head(ask, page.number, &page.body) {
                Ok(head) => heads.push(PageHead {
                    confirms: page.confirms,
                    ..head
                }),
                Err(_) => {
                    absent = heads.is_empty() && says_absent(&*night.setup.provider, ask, page);
                    readable = absent;
                }
            }
            readable
        })?;
        if !readable {
            // Archived by an older version that read it otherwise: begin again.
            store::next_pass(night.store, &mut reading)?;
            heads = Heads::default();
        }
        // What broke the contract may be mended: it is asked anew, not read out of the archive night after night.
        let broken = !heads.is_empty() && matches!(night.setup.provider.next(ask, &heads), Step::Broken { .. });
        let heads = if broken {
            reading = store::read_anew(night.store, &place)?;
            Heads::default()
        } else {
            heads
        };
        let moved = reading.pass.saturating_sub(1);
        Ok(Self {
            night,
            talk,
            place,
            keyed: held.keyed,
            reading,
            heads,
            absent,
            moved,
            restarts: 0,
            doubt: None,
            pages: 0,
        })
    }

    /// Walks to the end. A failure of the database stops the job like any other.
    pub(super) async fn run(&mut self) -> End {
        loop {
            match self.step().await {
                Ok(Turn::GoOn) => {}
                Ok(Turn::End(end)) => return self.leave(end),
                Err(failure) => return self.leave(End::Stop(failure)),
            }
        }
    }

    fn provider(&self) -> &'w dyn Provider {
        &*self.night.setup.provider
    }

    async fn step(&mut self) -> Result<Turn, Failure> {
        if self.heads.len() >= MAX_PAGES as usize {
            return Ok(self.broken(&format!("no end after {MAX_PAGES} pages")));
        }
        if self.absent {
            let sealed = self.seal(WindowState::Sealed)?;
            return Ok(Turn::End(End::Sealed(sealed)));
        }
        let step = match self.provider().next(self.place.ask, &self.heads) {
            Step::Done => self.prove()?,
            step => step,
        };
        match step {
            Step::Get { number, confirms } => self.get(number, confirms).await,
            Step::GetAll { numbers } => self.get_all(numbers).await,
            Step::Done => {
                // Nothing is asked of them any more, and the rows need the room.
                self.heads = Heads::default();
                let sealed = self.seal(WindowState::Sealed)?;
                Ok(Turn::End(End::Sealed(sealed)))
            }
            Step::Again { why } => self.again(&why),
            Step::Broken { why } => Ok(self.broken(&why)),
        }
    }

    /// A walk that ended, against what the books know.
    fn prove(&mut self) -> Result<Step, Failure> {
        let provider = self.provider();
        if !provider.proves() {
            return Ok(Step::Done);
        }
        let doubt = match self.doubt {
            Some(doubt) => doubt,
            None => {
                let walked = self.heads.iter().filter(|head| !head.confirms);
                let listed = walked.flat_map(|head| head.ids.iter().copied()).collect();
                let doubt = blocking(|| store::doubt(self.night.store, &self.place, &self.reading, provider, &listed))?;
                *self.doubt.insert(doubt)
            }
        };
        Ok(doubt.map_or(Step::Done, |doubt| provider.prove(self.place.ask, &self.heads, doubt)))
    }

    async fn get(&mut self, number: u32, confirms: bool) -> Result<Turn, Failure> {
        let answer = fetch(&self.talk, self.place.ask, number, &self.heads)
            .await
            .map_err(|f| f.at(format_args!("page {number}")))?;
        match answer {
            Answer::Page(page) => {
                for head in self.archive_at(self.heads.len(), vec![(number, page)], confirms)? {
                    self.heads.push(head);
                }
                Ok(Turn::GoOn)
            }
            other => self.no_page(other, number),
        }
    }

    /// Pages that do not depend on each other, side by side; archived in the order of arrival. What a cut walk has already
    /// is not asked for again. Once one cannot be had no further ones are begun; those under way are still archived.
    async fn get_all(&mut self, numbers: RangeInclusive<u32>) -> Result<Turn, Failure> {
        if numbers.end().saturating_sub(*numbers.start()) >= MAX_PAGES {
            return Ok(self.broken(&format!("more than {MAX_PAGES} pages are announced")));
        }
        let have: BTreeSet<u32> = self.heads.iter().filter(|h| !h.confirms).map(|h| h.number).collect();
        let missing: Vec<u32> = numbers.filter(|n| !have.contains(n)).collect();
        if missing.is_empty() {
            return Ok(self.broken("the same pages are wanted again and again"));
        }
        let heads = std::mem::take(&mut self.heads);
        let (talk, ask) = (self.talk, self.place.ask);
        let mut missing = missing.into_iter();
        let mut under_way = FuturesUnordered::new();
        let mut arrived = Heads::default();
        // The first answer that was no page, or the first failure.
        let mut ended: Option<Result<(u32, Answer), Failure>> = None;
        let mut begin = |under_way: &mut FuturesUnordered<_>| {
            while under_way.len() < talk.client.bounds.max_in_flight {
                let Some(number) = missing.next() else { break };
                let heads = &heads;
                under_way.push(async move { (number, fetch(&talk, ask, number, heads).await) });
            }
        };
        begin(&mut under_way);
        while let Some(answered) = under_way.next().await {
            let mut pages = Vec::new();
            let mut next = Poll::Ready(Some(answered));
            // Whatever has arrived by now shares one durable transaction. Further requests are on their way before the disk
            // takes these pages: the provider and the disk work side by side.
            while let Poll::Ready(Some((number, answer))) = next {
                match answer {
                    Ok(Answer::Page(page)) => pages.push((number, page)),
                    Ok(other) => ended = ended.or(Some(Ok((number, other)))),
                    Err(failure) => ended = ended.or(Some(Err(failure.at(format_args!("page {number}"))))),
                }
                if ended.is_none() {
                    begin(&mut under_way);
                }
                next = if pages.len() < talk.client.bounds.max_in_flight {
                    futures_util::poll!(under_way.next())
                } else {
                    Poll::Pending
                };
            }
            match self.archive_at(heads.len() + arrived.len(), pages, false) {
                Ok(archived) => archived.into_iter().for_each(|head| arrived.push(head)),
                Err(failure) => ended = ended.or(Some(Err(failure))),
            }
        }
        drop(under_way);
        arrived.put_in_front(heads);
        self.heads = arrived;
        match ended {
            None => Ok(Turn::GoOn),
            Some(Ok((number, answer))) => self.no_page(answer, number),
            Some(Err(failure)) => Err(failure),
        }
    }

    /// An answer that is no page, for one window.
    fn no_page(&mut self, answer: Answer, number: u32) -> Result<Turn, Failure> {
        let at = |failure: Failure| failure.at(format_args!("page {number}"));
        Ok(match answer {
            Answer::Absent(page, why) => return self.absent(page, number, &why),
            Answer::Restart(why) => return self.restart(&why),
            Answer::Refused(failure) => Turn::End(End::Open(at(failure))),
            Answer::Unusable(failure) => Turn::End(End::Unusable(at(failure))),
            Answer::Page(_) => Turn::GoOn,
        })
    }

    /// The provider does not know the subject: nothing is listed under it. Its answer is archived as the proof; the store
    /// derives no rows from an answer that is no success.
    fn absent(&mut self, page: Page, number: u32, why: &str) -> Result<Turn, Failure> {
        if self.place.ask.subject.is_none() || !self.heads.is_empty() {
            return Ok(self.broken(&format!("{why}, in the middle of a listing")));
        }
        // An entry whose key is unknown there is compared as such; a sweep that is unknown is worth a word, which is kept with
        // the answer.
        if !self.keyed {
            let place = self.place.ask.place();
            self.talk.client.warn(format!("{place}: {why}"));
        }
        self.archive_at(0, vec![(number, page)], false)?;
        self.absent = true;
        Ok(Turn::GoOn)
    }

    fn restart(&mut self, why: &str) -> Result<Turn, Failure> {
        if self.restarts >= MAX_RESTARTS {
            return Ok(self.broken(&format!("{why}, again after {MAX_RESTARTS} new beginnings")));
        }
        self.restarts += 1;
        tracing::info!(
            job = self.place.job,
            feed = self.place.ask.feed,
            why,
            "window begun again"
        );
        self.begin_again()?;
        Ok(Turn::GoOn)
    }

    /// It moved while it was read: once more, up to the provider's bound; then it counts as read, but proves nothing.
    fn again(&mut self, why: &str) -> Result<Turn, Failure> {
        self.moved += 1;
        let passes = self.provider().max_passes();
        if self.moved < passes {
            tracing::info!(
                job = self.place.job,
                feed = self.place.ask.feed,
                why,
                "window moved while it was read"
            );
            self.begin_again()?;
            return Ok(Turn::GoOn);
        }
        let sealed = self.seal(WindowState::Unstable)?;
        let failure = Failure::new(
            Class::Protocol,
            format!(
                "{why}: it moved in each of {passes} readings and counts as unstable; its rows are stored, nothing is \
                 reported missing from it. The next run reads it again"
            ),
        );
        Ok(Turn::End(End::Unstable(sealed, failure)))
    }

    fn begin_again(&mut self) -> Result<(), Failure> {
        store::next_pass(self.night.store, &mut self.reading)?;
        self.heads = Heads::default();
        self.doubt = None;
        Ok(())
    }

    fn broken(&self, why: &str) -> Turn {
        Turn::End(End::Open(Failure::new(
            Class::Protocol,
            format!("{why}; the window stays open, the others are read. Ask the provider"),
        )))
    }

    /// Pages and their positions, one durable transaction; `first` is the position of the first of them.
    fn archive_at(&mut self, first: usize, pages: Vec<(u32, Page)>, confirms: bool) -> Result<Vec<PageHead>, Failure> {
        if pages.is_empty() {
            return Ok(Vec::new());
        }
        let first = u32::try_from(first).unwrap_or(u32::MAX);
        self.keep_warnings()?;
        let (heads, packed): (Vec<_>, Vec<_>) = pages
            .into_iter()
            .map(|(number, page)| ((number, page.head), page.packed.confirming(confirms)))
            .unzip();
        blocking(|| store::archive_pages(self.night.store, &self.place, &self.reading, first, &packed))?;
        let archived = heads.into_iter().map(|(number, head)| {
            self.pages += 1;
            self.night
                .progress
                .page(self.place.job, self.place.ask.feed, u64::from(head.rows));
            tracing::debug!(
                job = self.place.job,
                feed = self.place.ask.feed,
                page.number = number,
                rows = head.rows,
                "page archived"
            );
            PageHead { confirms, ..head }
        });
        Ok(archived.collect())
    }

    fn keep_warnings(&self) -> Result<(), Failure> {
        let (store, ask) = (self.night.store, self.place.ask);
        blocking(|| self.talk.client.keep_warnings(store, self.place.job, ask.as_of))
    }

    fn seal(&self, state: WindowState) -> Result<Sealed, Failure> {
        let provider = self.provider();
        self.keep_warnings()?;
        blocking(|| store::seal(self.night.store, &self.place, &self.reading, provider, state))
    }

    /// Puts the place before a failure and writes down why the window is not sealed.
    fn leave(&self, end: End) -> End {
        let place = |failure: Failure| failure.at(self.name());
        match end {
            End::Sealed(_) => end,
            End::Unstable(sealed, failure) => End::Unstable(sealed, place(failure)),
            End::Open(failure) => End::Open(place(self.left(failure))),
            End::Unusable(failure) => End::Unusable(place(self.left(failure))),
            // It says nothing about the key.
            End::Stop(failure) if self.keyed => End::Stop(place(failure)),
            End::Stop(failure) => End::Stop(place(self.left(failure))),
        }
    }

    fn left(&self, failure: Failure) -> Failure {
        match store::leave_open(self.night.store, &self.reading, &failure.message) {
            Ok(()) => failure,
            // The database does not take it either: that is the worse news, unless it is the same.
            Err(_) if failure.class == Class::LocalIo => failure,
            Err(worse) => worse,
        }
    }

    /// `tupay-pe: deposits 2026-03-04`.
    fn name(&self) -> String {
        super::place_name(self.night, self.place.ask)
    }
}

/// Whether an archived answer that is no page means the same as when it came: the subject is unknown.
fn says_absent(provider: &dyn Provider, ask: &Ask, page: StoredPage) -> bool {
    let reply = Reply {
        status: page.http_status,
        headers: Vec::new(),
        body: page.body,
        received_at: page.fetched_at,
    };
    let judgement = match provider.judge(ask, &reply) {
        Judgement::RenewThen { then, .. } => *then,
        judgement => judgement,
    };
    matches!(judgement, Judgement::Absent { .. })
}

/// Runs a call that takes its time without holding up other tasks, where the runtime has more than one thread.
fn blocking<T>(call: impl FnOnce() -> T) -> T {
    let threads = tokio::runtime::Handle::try_current().map(|h| h.runtime_flavor());
    match threads {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        _ => call(),
    }
}

/// The client's own bound on windows side by side.
pub(super) fn side_by_side(client: &Client) -> usize {
    client.bounds.max_in_flight
}
