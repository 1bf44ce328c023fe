//! The contract every provider fulfils, and the registry: the only place that lists them.
//!
//! A provider describes a conversation; the core holds it. Nothing here is async, owns a client, retries, reads a clock or
//! keeps a secret: requests, answers, time and keys come in as values, requests, rows and verdicts go out as values.
//! A new provider is one folder plus its `mod` line and its line in [`REGISTRY`].

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use secrecy::SecretString;

use crate::config::{SecretRef, Section};
use crate::day::{Instant, day_of};
use crate::failure::Class;
use crate::record::{Balance, Direction, Transaction, Unreadable};
use crate::window::Window;

pub mod arithmetic;
pub mod ayoconnect;
pub mod binding;
pub mod books;
mod ids;
pub mod lookups;
pub mod one2pays;
pub mod payvyne;
pub mod read;
pub mod reply;
pub mod setup;
pub mod tupay;
pub mod twice;
pub mod twopay;

pub use books::{Books, Related, Relation, Sense, StatementItem, StatementLine, Total};
pub use ids::Ids;
pub use lookups::LookupKey;
pub use reply::{encode, judge_common, retry_after};

/// One line per provider.
pub const REGISTRY: &[Entry] = &[
    payvyne::ENTRY,
    tupay::ENTRY,
    one2pays::ENTRY,
    twopay::ENTRY,
    ayoconnect::ENTRY,
];

/// How a provider is found and made.
pub struct Entry {
    /// `[provider] kind`.
    pub name: &'static str,
    /// Reads every setting named in the provider's document from the `[provider]` table (`kind` is already taken) and
    /// puts what is wrong into the section's problems. None when it cannot be made.
    pub build: fn(&mut Section<'_>) -> Option<Built>,
}

/// A provider made from settings, with what the edges need to know.
pub struct Built {
    pub provider: std::sync::Arc<dyn Provider>,
    pub base_url: url::Url,
    /// Named secrets as [`Provider::login`] and [`Provider::sign`] ask for them.
    pub secrets: BTreeMap<String, SecretRef>,
    /// What tells accounts at this provider apart besides the base URL: the credential reference or key id.
    pub account_key: String,
    pub strict_balance: bool,
    /// The provider's own limits from its settings (`max_rps`, `requests_per_minute`, `window`, `lookback_days`, …).
    pub limits: Limits,
}

/// Limits and defaults of a conversation. The job's `[fetch]` can only make them stricter.
#[derive(Clone, Debug)]
pub struct Limits {
    /// At most that many requests in any 60 seconds.
    pub requests_per_minute: u32,
    /// Independent requests side by side when the job does not say.
    pub max_in_flight: u32,
    pub request_timeout: Option<Duration>,
    /// How far back to read again every night when the job does not say.
    pub lookback: TimeDelta,
    pub settle: TimeDelta,
    /// Longest pause a 429 may ask for before the run stops with PARTIAL and remembers it.
    pub max_retry_wait: Duration,
}

/// How a feed is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// By windows of that many business days.
    Days(u64),
    /// One window from the job's start to now: the provider has no date filter.
    Listing,
    /// A figure of the moment, asked once per business day, for the last day that is over.
    Snapshot,
    /// One conversation per subject that the rows of another feed name (a sweep's transactions).
    Children { of: &'static str },
    /// One question per record that another feed lists without a reference, asked until it is answered and never again. The
    /// answer fills the reference in ([`Parsed::references`]) and is no record of its own.
    Details { of: &'static str },
    /// One conversation per key of the merchant's ledger; for providers without lists.
    Lookups,
}

/// A stream of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Name as in `INTERFACE.md` section 8.
    pub name: &'static str,
    pub shape: Shape,
    /// Directions whose records it lists; an entry of that direction is missing only if these windows are sealed.
    pub directions: &'static [Direction],
}

/// One conversation: a feed over a window, or a feed about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub feed: &'static str,
    /// The span asked for; for a child the window of its parent.
    pub window: Window,
    /// The sweep's id, the merchant's key. None for windows.
    pub subject: Option<String>,
    /// Values of [`Provider::lookup_extras`], in that order, an absent one empty: for the request only. They may open a session
    /// and are never stored with an answer, so what is read of an answer must not depend on them.
    pub beside: Vec<String>,
    /// The account the subject was listed with ([`Subject::account`]): its rows do not say. Empty for windows.
    pub account: String,
    /// The as-of instant of the run: the time of figures that carry none of their own.
    pub as_of: Instant,
    /// The job's zone, for business days.
    pub zone: Tz,
    /// What was learned about this account before ([`Provider::calibrate`]).
    pub calibration: std::sync::Arc<BTreeMap<String, String>>,
}

impl Ask {
    /// `deposits 2026-03-04`, `sweep_transactions 5d02c8f1a97b3e64`, `payments 2026-01-01 to 2026-03-04`.
    pub fn place(&self) -> String {
        if let Some(subject) = &self.subject {
            // A hostile id must not fill the log.
            let shown: String = subject.chars().filter(|c| !c.is_control()).take(64).collect();
            return format!("{} {shown}", self.feed);
        }
        let first = day_of(self.window.from, self.zone);
        let last = day_of(self.window.until - TimeDelta::milliseconds(1), self.zone);
        if first == last {
            format!("{} {first}", self.feed)
        } else {
            format!("{} {first} to {last}", self.feed)
        }
    }
}

/// A request as the provider wants it sent. Holds no secret until it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Path below the base URL, beginning with `/`, each segment percent-encoded.
    pub path: String,
    /// Query as it goes on the wire, percent-encoded, without `?`. Empty for none.
    pub query: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn get(path: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            method: Method::Get,
            path: path.into(),
            query: query.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Delete,
}

/// An answer: status, the headers the provider may look at, and the whole decoded body.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Lower-case names; values that are not text are left out. `set-cookie` may come several times.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: Instant,
}

impl Reply {
    /// All values of a header (lower-case name).
    pub fn header<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// Secrets by the names given in [`Built::secrets`], read from their references just before use.
pub type Keys = BTreeMap<String, SecretString>;

/// A session that a login opened.
#[derive(Clone, Debug)]
pub struct Session {
    pub token: SecretString,
    /// Unusable after this long since it was received…
    pub lifetime: Option<Duration>,
    /// …or after this long without a request.
    pub idle: Option<Duration>,
    /// Things a person should know (a scope that looks wrong).
    pub warnings: Vec<String>,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A page: archive it and go on.
    Page,
    /// Try the same request again, not before `after` when the provider says so.
    Retry { after: Option<Duration>, why: String },
    /// The session or signature is refused: log in (or sign) anew once, then fail with AUTH.
    Renew { why: String },
    /// The provider says "failed" for an old session and for everything else alike: log in anew once and ask again; the
    /// same answer then means `then`, for this subject only.
    RenewThen { why: String, then: Box<Judgement> },
    /// The subject is unknown to the provider: archived, reported, no failure of the run.
    Absent { why: String },
    /// The position is no longer valid: begin this window again (at most twice).
    Restart { why: String },
    /// Stop this job.
    Fail { class: Class, why: String },
    /// Leave this window open and go on with the others.
    Refused { class: Class, why: String },
}

/// What the core remembers of a page of the running pass, taken from its body by [`Provider::head`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageHead {
    /// The page's number as the provider counts (0- or 1-based as its document says; cursor pages count from 0).
    pub number: u32,
    /// Elements in it.
    pub rows: u32,
    /// What tells its rows apart. A row without a readable identity is told apart by its page and place: it counts, it repeats
    /// nothing.
    pub ids: Ids,
    /// Digest of the whole body, where a row's identity could not be read: two such pages are the same one only if this is
    /// the same too. None: `ids` tell.
    pub body: Option<u64>,
    /// Cursor to the page after it; None on the last one. Providers of numbered pages keep here what their own walk must
    /// know (that a page was full, in which order it stood).
    pub next: Option<String>,
    /// Rows over all pages, where the provider says so.
    pub total: Option<u64>,
    pub total_pages: Option<u32>,
    /// True for a page that is read again after the walk to prove that nothing moved.
    pub confirms: bool,
}

impl PageHead {
    /// Whether both list the same rows in the same order.
    pub fn lists_the_same(&self, other: &Self) -> bool {
        self.ids == other.ids || self.body.is_some() && self.body == other.body
    }
}

/// A page cannot be used for going on: truncated, no JSON, an envelope of another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPage {
    /// Without any value from the page.
    pub why: String,
}

/// What to do next in a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for this page. `confirms`: it is the proof after the walk.
    Get { number: u32, confirms: bool },
    /// Ask for all of these pages; they do not depend on each other.
    GetAll { numbers: RangeInclusive<u32> },
    /// Read to the end, and nothing moved meanwhile as far as the walk can see ([`Provider::prove`]).
    Done,
    /// Read to the end, but it moved: read the window again. After [`Provider::max_passes`] it is unstable.
    Again { why: String },
    /// The provider broke its contract (a cursor seen before, a page that repeats): stop this window with PROTOCOL.
    Broken { why: String },
}

/// Why a list that was read to its end is not believed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its window was never read to its end before, at least not this far: nothing is known that it would have to list.
    NeverRead,
    /// It does not list a record that it listed before.
    Lost,
}

/// What a page says, read exactly. Order is the page's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// With the index of the row in the page, from 0.
    pub transactions: Vec<(u32, Transaction)>,
    pub balances: Vec<(u32, Balance)>,
    pub unreadable: Vec<Unreadable>,
    /// Subjects for a child feed, each with its own time if it has one.
    pub subjects: Vec<Subject>,
    /// For a feed of [`Shape::Details`]: provider id of the record that was asked about, and its reference where it has one.
    pub references: Vec<(String, Option<String>)>,
    /// Rows of this window that are subjects of a child feed and whose id cannot be read: what belongs to them cannot be
    /// asked for.
    pub nameless: u32,
    /// Field names the document does not know, counted once a run as schema drift.
    pub unknown_fields: Vec<String>,
    /// Rows of another merchant or account than configured: a security finding, stops the job with PROTOCOL.
    pub foreign: Option<String>,
    /// A wrong setting proved by the data (a fraction of a satang): stops the job with CONFIG.
    pub misconfigured: Option<String>,
    /// Things a person should know that stop nothing (a frozen wallet, rows outside the span that was asked for).
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub id: String,
    pub at: Option<Instant>,
    /// The account it belongs to, as in [`Balance::account`]; empty where there is only one.
    pub account: String,
}

/// The conversation with one provider, for one job's settings.
pub trait Provider: Send + Sync {
    fn name(&self) -> &'static str;

    /// Its streams, in the order they are read; parents before children.
    fn feeds(&self) -> Vec<Feed>;

    /// Times a window is read before it counts as unstable.
    fn max_passes(&self) -> u32 {
        3
    }

    /// How long after a booking this provider may still say nothing of it (PayVyne: money that waits for its sweep). An entry
    /// younger than this is pending, not missing.
    fn lag(&self) -> TimeDelta {
        TimeDelta::zero()
    }

    // -- the session ------------------------------------------------------------------------------------------------

    /// The request that opens a session; None where every request stands alone. Secrets go only into its body or headers.
    fn login(&self, _keys: &Keys, _now: Instant) -> Option<Request> {
        None
    }

    /// Reads the answer to a login, with the start-up checks of the document (merchant id, scope).
    fn session(&self, _reply: &Reply) -> Result<Session, Judgement> {
        Err(Judgement::Fail {
            class: Class::Internal,
            why: "this provider has no session".into(),
        })
    }

    /// Puts credentials into a request, right before each attempt. `now` is the wall clock corrected by the skew the
    /// provider's `Date` header showed after a refusal.
    fn sign(&self, request: &mut Request, session: Option<&Session>, keys: &Keys, now: Instant);

    /// Ends the session, best effort.
    fn logout(&self) -> Option<Request> {
        None
    }

    /// Checks that need the keys themselves (prefixes that must agree), at start. Messages carry no key.
    fn check_keys(&self, _keys: &Keys) -> Result<(), String> {
        Ok(())
    }

    // -- looked up by key -------------------------------------------------------------------------------------------

    /// For a feed of [`Shape::Lookups`]: the ledger column whose value is [`Ask::subject`]. The feed is asked about entries
    /// of its [`Feed::directions`]; an entry without that value cannot be checked. Several entries with one value are one
    /// conversation.
    fn lookup_key(&self, _feed: &str) -> LookupKey {
        LookupKey::Reference
    }

    /// Whether the records of a feed are money; other ones (agreements with a customer) are only compared by their status.
    fn is_money(&self, _feed: &str) -> bool {
        true
    }

    /// Further columns whose values the request needs ([`Ask::beside`]).
    fn lookup_extras(&self, _feed: &str) -> &'static [LookupKey] {
        &[]
    }

    /// Why this subject cannot be asked about (a key of the wrong length, a further value that is missing): nobody is asked,
    /// the entry is not checkable. Carries no value. [`Provider::next`] says the same as a second guard.
    fn lookup_problem(&self, _feed: &str, _subject: &str, _beside: &[String]) -> Option<String> {
        None
    }

    /// At most so many answers about single records ([`Shape::Details`]) in one night and feed; the next one goes on.
    fn max_details(&self) -> u64 {
        0
    }

    /// At most so many subjects in one night; the next one goes on where it stopped.
    fn max_lookups(&self) -> Option<u64> {
        None
    }

    /// When so many subjects of a night were refused and none was answered, it is the account, not the keys: the job stops
    /// with AUTH.
    fn refusals_that_stop(&self) -> u32 {
        5
    }

    /// Checks a wish for a binding link by every rule of the document, before anything is signed.
    ///
    /// # Errors
    /// The rule that is broken, without the value.
    fn binding_request(&self, _wish: &binding::BindingWish) -> Result<binding::BindingRequest, String> {
        Err(format!("{} has no binding links", self.name()))
    }

    /// Reads the answer; the request's `state` must come back.
    fn binding_link(
        &self,
        _asked: &binding::BindingRequest,
        _reply: &Reply,
    ) -> Result<binding::BindingLink, Judgement> {
        Err(Judgement::Fail {
            class: Class::Internal,
            why: "this provider has no binding links".into(),
        })
    }

    // -- the walk ---------------------------------------------------------------------------------------------------

    /// What to do, given the heads of the pages of this pass in the order they arrived. Bounded: the core stops a pass
    /// after [`MAX_PAGES`] pages.
    fn next(&self, ask: &Ask, heads: &[PageHead]) -> Step;

    /// Whether the end of a walk is asked for more proof ([`Provider::prove`]) where the books raise a doubt.
    fn proves(&self) -> bool {
        false
    }

    /// Like [`Provider::next`], once that is done and a doubt is left: further pages that confirm, or [`Step::Done`].
    fn prove(&self, _ask: &Ask, _heads: &[PageHead], _doubt: Doubt) -> Step {
        Step::Done
    }

    /// The request for one page. `heads` as in [`Provider::next`], for cursors.
    fn request(&self, ask: &Ask, number: u32, heads: &[PageHead]) -> Request;

    /// What an answer means. [`judge_common`] knows the usual ones.
    fn judge(&self, ask: &Ask, reply: &Reply) -> Judgement;

    /// Reads what the walk needs from a body that was judged a page.
    fn head(&self, ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage>;

    /// Reads every row of an archived body. Total: any bytes give a value.
    fn parse(&self, ask: &Ask, number: u32, body: &[u8]) -> Parsed;

    /// JSON keys whose values are personal data or secrets: masked in the archived body.
    fn private_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// JSON keys that hold ids and references: long numbers there are no card numbers.
    fn identity_fields(&self) -> &'static [&'static str];

    // -- the provider's own arithmetic ------------------------------------------------------------------------------

    /// What the account's figures say about an open question (the sign of fees, of a report's columns); stored and given
    /// to every later [`Ask`]. Rows are parsed again when the answer changes.
    fn calibrate(&self, _books: &Books) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Whether this arithmetic asks a feed for its newest figures of each account alone: then [`Books::balances`] holds no
    /// older ones of it, and years of a balance that is read every night cost nothing.
    fn asks_for_newest_figures(&self, _feed: &str) -> bool {
        false
    }

    /// Every relation of the document over the stored figures: what was stated, what the rows give.
    fn relations(&self, books: &Books) -> Vec<Relation>;

    /// The statement's lines (opening, explained by kind, closing) per account, currency and business day, where the
    /// provider states balances.
    fn statement(&self, _books: &Books) -> Vec<StatementLine> {
        Vec::new()
    }
}

/// No pass is longer: at 100 rows a page this is ten million rows and more.
pub const MAX_PAGES: u32 = 200_000;

/// 64-bit digest of a row's identity for drift detection (FNV-1a; not a secret, not stored).
pub fn identity(text: &str) -> u64 {
    digest(text.as_bytes())
}

fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
