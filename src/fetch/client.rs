//! The client of one lane (one account at one provider): one attempt, from a request as a value to an answer as a value.
//!
//! Holds what an account has only once: connections, pace, session, keys, counters. Knows nothing of windows, pages and
//! retries; those are in [`super::page`] and [`super::walk`]. The only place of this room that reads a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

use super::connect;
use super::pace::Pace;
use super::session::Sessions;
use super::trouble::Trouble;
use crate::config::{Fetch, Http, ProviderSetup, SecretRef};
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::providers::{Keys, Method, Provider, Reply, Request};
use crate::store::{self, Store};

/// Bytes for which room is made before they arrive.
const ANNOUNCED_BYTES: usize = 256 * 1024;
/// Bytes of all header lines of an answer that are looked at.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The wall clock, for signatures, `Date` headers, pauses and `fetched_at`. Never for plans.
pub(super) fn wall_now() -> Instant {
    chrono::Utc::now()
}

/// The clock that only goes forward, for deadlines, waits and the age of a session.
pub(super) fn monotonic_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// One account's client, shared by every job of its lane.
pub struct Client {
    http: reqwest::Client,
    base: url::Url,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) lane: String,
    pub(super) pace: Pace,
    pub(super) sessions: Sessions,
    pub(super) bounds: Bounds,
    secrets: BTreeMap<String, SecretRef>,
    folder: PathBuf,
    keys: Mutex<Arc<Keys>>,
    requests: AtomicU64,
    warnings: Mutex<BTreeSet<String>>,
    /// Those of them that the database does not have yet.
    unkept: Mutex<BTreeSet<String>>,
}

/// What a conversation may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub request_timeout: Duration,
    pub max_body_bytes: usize,
    pub retry_budget: Duration,
    pub max_retry_wait: Duration,
    pub max_in_flight: usize,
}

impl Client {
    /// Makes the client of a lane. `folder` is where relative secret files count from. Sends nothing.
    ///
    /// # Errors
    /// `CONFIG`: a base URL, CA file, proxy or secret that cannot be used, keys that do not belong together.
    pub fn new(setup: &ProviderSetup, http: &Http, fetch: &Fetch, folder: &Path) -> Result<Client, Failure> {
        let client = Client {
            http: connect::build(&setup.base_url, http, fetch)?,
            base: setup.base_url.clone(),
            provider: Arc::clone(&setup.provider),
            lane: setup.lane.clone(),
            pace: Pace::new(fetch.requests_per_minute, fetch.max_in_flight),
            sessions: Sessions::default(),
            bounds: Bounds {
                request_timeout: fetch.request_timeout,
                max_body_bytes: http.max_body_bytes,
                retry_budget: http.retry_budget,
                max_retry_wait: fetch.max_retry_wait,
                max_in_flight: fetch.max_in_flight.max(1) as usize,
            },
            secrets: setup.secrets.clone(),
            folder: folder.to_owned(),
            keys: Mutex::default(),
            requests: AtomicU64::new(0),
            warnings: Mutex::default(),
            unkept: Mutex::default(),
        };
        client.read_keys()?;
        Ok(client)
    }

    /// Requests sent so far, logins and retries included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Reads the secrets again: a changed credential takes effect at the next run.
    pub(super) fn read_keys(&self) -> Result<(), Failure> {
        let mut keys = Keys::new();
        for (name, reference) in &self.secrets {
            let secret = reference
                .read(&self.folder)
                .map_err(|why| Failure::new(Class::Config, format!("{name}: {why}")))?;
            keys.insert(name.clone(), secret);
        }
        self.provider
            .check_keys(&keys)
            .map_err(|why| Failure::new(Class::Config, why))?;
        *lock(&self.keys) = Arc::new(keys);
        Ok(())
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&lock(&self.keys))
    }

    /// Something a person should know; said once.
    pub(super) fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        if lock(&self.warnings).insert(warning.clone()) {
            lock(&self.unkept).insert(warning);
        }
    }

    /// Writes down what was warned of since the last call, before what it was seen in is archived: a run that goes on after a
    /// cut does not see it again.
    pub(super) fn keep_warnings(&self, store: &Store, job: &str, as_of: Instant) -> Result<(), Failure> {
        let unkept = std::mem::take(&mut *lock(&self.unkept));
        if unkept.is_empty() {
            return Ok(());
        }
        store::keep_warnings(store, job, as_of, &unkept)
    }

    pub(super) fn take_warnings(&self) -> BTreeSet<String> {
        std::mem::take(&mut *lock(&self.warnings))
    }

    /// Scheme, host and port, for messages about permissions.
    pub(super) fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Sends a signed request once and reads the whole answer, within `request_timeout`. A redirect is an answer like
    /// any other; nothing follows it.
    pub(super) async fn send(&self, request: &Request) -> Result<Reply, Trouble> {
        let request = self.write(request)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let deadline = self.bounds.request_timeout;
        match tokio::time::timeout(deadline, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::again(format!(
                "no whole answer within {} s (request_timeout)",
                deadline.as_secs()
            ))),
        }
    }

    /// The request as reqwest wants it. Only paths below the base URL can be written: no other host is ever called.
    fn write(&self, request: &Request) -> Result<reqwest::Request, Trouble> {
        let mut url = self.base.clone();
        let path = format!("{}{}", self.base.path().trim_end_matches('/'), request.path);
        url.set_path(&path);
        url.set_query((!request.query.is_empty()).then_some(request.query.as_str()));
        // Dot segments in an id would climb out of their folder; the URL's own normalisation shows them.
        if url.path() != path || url.origin() != self.base.origin() {
            return Err(Trouble::fatal(
                Class::Protocol,
                "an id from the provider would change the request's path; it was not sent",
            ));
        }
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut written = reqwest::Request::new(method, url);
        let headers = written.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in &request.headers {
            let bad = || {
                Trouble::fatal(
                    Class::Config,
                    format!("the header {name} cannot be written; check the secrets for line ends"),
                )
            };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
            value.set_sensitive(name != ACCEPT && name != CONTENT_TYPE);
            headers.insert(name, value);
        }
        if !request.body.is_empty() {
            *written.body_mut() = Some(request.body.clone().into());
        }
        Ok(written)
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Reply, Trouble> {
        let sent = self.http.execute(request).await;
        let mut response = sent.map_err(|e| Trouble::from_reqwest(&e))?;
        let status = response.status().as_u16();
        let headers = text_headers(response.headers())?;
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
            && encoding.as_bytes() != b"identity"
        {
            return Err(Trouble::again("the answer came in an unknown content encoding"));
        }
        // What is announced is believed as far as it costs little.
        let announced = response.content_length().and_then(|bytes| usize::try_from(bytes).ok());
        let mut body = Vec::with_capacity(announced.unwrap_or_default().min(ANNOUNCED_BYTES));
        while let Some(chunk) = response.chunk().await.map_err(|e| Trouble::from_reqwest(&e))? {
            if body.len() + chunk.len() > self.bounds.max_body_bytes {
                return Err(Trouble::fatal(
                    Class::Protocol,
                    format!(
                        "the answer is larger than max_body_bytes = {} (decoded) and was not read on",
                        self.bounds.max_body_bytes
                    ),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        let received_at = provider_time(&headers, wall_now() + self.sessions.skew());
        Ok(Reply {
            status,
            headers,
            body,
            received_at,
        })
    }
}

/// Header lines whose values are text, names in lower case.
fn text_headers(headers: &reqwest::header::HeaderMap) -> Result<Vec<(String, String)>, Trouble> {
    let bytes: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        return Err(Trouble::fatal(
            Class::Protocol,
            format!("the answer's headers are larger than {MAX_HEADER_BYTES} bytes"),
        ));
    }
    Ok(headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect())
}

/// When an answer was received by the provider's own clock, as far as its `Date` header is plausible: its dates
/// (`Retry-After`, `resetAt`) are to be read by the clock that wrote them.
fn provider_time(headers: &[(String, String)], here: Instant) -> Instant {
    match super::session::date_of(headers) {
        Some(there) if super::session::is_skew(there - here) => there,
        _ => here,
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
