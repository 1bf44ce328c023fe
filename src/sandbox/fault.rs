//! Faults the servers commit on purpose, and the script they are read from.
//!
//! A script is TOML; each `[[fault]]` says which requests it is about and what happens to them. Of several faults that fit a
//! request the first one of the script happens; every fault counts the requests it fits, also those another one took.
//!
//! ```toml
//! [[fault]]
//! # -- which requests; what is left out fits all
//! provider = "tupay"            # payvyne | tupay | one2pays | twopay | ayoconnect
//! method   = "GET"
//! path     = "/v1/deposits"     # exact; a `*` at the end: begins so
//! query    = "page=1"           # part of the raw query
//! sent     = "4f8b1c7d"         # part of the request's body
//! covers   = "2026-03-04T17:00:00Z" # the query's `from` and `to` (Unix seconds) hold this instant
//! nth      = 2                  # the second request that fits … (default 1)
//! count    = 3                  # … and the two after it (default 1; 0: all from there on)
//!
//! # -- before the provider looks at the request
//! delay_ms        = 250         # silence
//! drop            = true        # the connection is closed without an answer
//! expire_sessions = true        # tokens and sessions are forgotten
//! insert          = 3           # drift: new rows at the front of the list the path names
//! delete          = 1           # drift: rows taken away from its front
//!
//! # -- instead of the true answer
//! unauthorized = true           # 401 in the provider's shape
//! rate_limited = "body"         # 429: body (One2Pays' metadata) | header (Retry-After) | bare
//! retry_after  = 2              # seconds told by `rate_limited` (default 1)
//! ignore_page  = true           # every page is the first one
//! cursor_loop  = true           # the next cursor is the one that was sent
//! status       = 503            # with the provider's error body, unless it is 2xx
//! redirect     = "http://127.0.0.1:9/elsewhere"  # 302, or `status`, with that Location
//! html         = true           # an HTML page
//! body         = "{"            # this text
//! gzip_bomb_mib = 64            # that many MiB of blanks, gzipped
//!
//! # -- done to whatever answer is sent
//! headers      = [["Retry-After", "7"], ["Retry-After", "soon"]]   # added; the same name may come twice
//! content_type = "text/plain"
//! truncate     = 100            # cut to that many bytes, with the length right
//! cut_after    = 100            # the connection breaks after that many bytes of the body
//! drip_ms      = 20             # the body comes in pieces, this far apart …
//! drip_bytes   = 1              # … of this many bytes (default 1)
//! ```

use serde::Deserialize;

use super::api::{Answer, Call, Service};
use crate::day::parse_instant;
use crate::failure::{Class, Failure};

/// One fault: which requests, and what happens to them. `Fault::default()` fits the first request and does nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    pub provider: Option<Service>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub query: Option<String>,
    pub sent: Option<String>,
    /// RFC 3339.
    pub covers: Option<String>,
    /// From 1; 0 counts as 1.
    pub nth: u32,
    /// None: 1. `Some(0)`: for ever.
    pub count: Option<u32>,

    pub delay_ms: u64,
    pub drop: bool,
    pub expire_sessions: bool,
    pub insert: u32,
    pub delete: u32,

    pub unauthorized: bool,
    pub rate_limited: Option<RateForm>,
    pub retry_after: Option<u32>,
    pub ignore_page: bool,
    pub cursor_loop: bool,
    pub status: Option<u16>,
    pub redirect: Option<String>,
    pub html: bool,
    pub body: Option<String>,
    pub gzip_bomb_mib: Option<u32>,

    pub headers: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub truncate: Option<usize>,
    pub cut_after: Option<usize>,
    pub drip_ms: Option<u64>,
    pub drip_bytes: Option<usize>,
}

/// How a 429 tells when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateForm {
    Body,
    Header,
    Bare,
}

/// Reads a script.
///
/// # Errors
/// CONFIG with the place of the first thing that is wrong.
pub fn parse_script(text: &str) -> Result<Vec<Fault>, Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Script {
        #[serde(default)]
        fault: Vec<Fault>,
    }
    let wrong = |why: String| Failure::new(Class::Config, format!("the fault script is wrong: {why}"));
    let script: Script = toml::from_str(text).map_err(|e| {
        let line = 1 + text
            .bytes()
            .take(e.span().map_or(0, |s| s.start))
            .filter(|b| *b == b'\n')
            .count();
        wrong(format!("line {line}: {}", e.message()))
    })?;
    for (number, fault) in script.fault.iter().enumerate() {
        let at = |why: &str| wrong(format!("fault {}: {why}", number + 1));
        if fault
            .covers
            .as_deref()
            .is_some_and(|text| parse_instant(text).is_none())
        {
            return Err(at("`covers` is not an RFC 3339 instant"));
        }
        if fault.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err(at("`status` must be 200 to 599"));
        }
    }
    Ok(script.fault)
}

impl Fault {
    fn fits(&self, service: Service, call: &Call) -> bool {
        self.provider.is_none_or(|p| p == service)
            && self
                .method
                .as_ref()
                .is_none_or(|m| m.eq_ignore_ascii_case(&call.method))
            && self.path.as_ref().is_none_or(|p| match p.strip_suffix('*') {
                Some(start) => call.path.starts_with(start),
                None => call.path == *p,
            })
            && self.query.as_ref().is_none_or(|q| call.query.contains(q.as_str()))
            && self
                .sent
                .as_ref()
                .is_none_or(|part| String::from_utf8_lossy(&call.body).contains(part.as_str()))
            && self.covers.as_ref().is_none_or(|text| covers(text, &call.query))
    }

    /// The answer sent in place of the true one, if this fault has one.
    pub(super) fn instead(&self, service: Service, now: crate::day::Instant) -> Option<Answer> {
        let seconds = self.retry_after.unwrap_or(1);
        if self.unauthorized {
            return Some(service.error(401, "Invalid or expired credentials"));
        }
        match self.rate_limited {
            Some(RateForm::Body) => return Some(super::api::one2pays::rate_limited(1000, now, seconds.into())),
            Some(RateForm::Header) => {
                return Some(
                    service
                        .error(429, "Too many requests")
                        .with("retry-after", seconds.to_string()),
                );
            }
            Some(RateForm::Bare) => return Some(service.error(429, "Too many requests")),
            None => {}
        }
        if let Some(target) = &self.redirect {
            let status = self.status.unwrap_or(302);
            let moved = Answer {
                status,
                headers: Vec::new(),
                body: Vec::new(),
            };
            return Some(moved.with("location", target.clone()));
        }
        match self.status {
            Some(status) if !(200..300).contains(&status) => {
                Some(service.error(status, "The sandbox was told to fail"))
            }
            _ => None,
        }
    }

    /// What is done to the answer before it is sent.
    pub(super) fn spoil(&self, mut answer: Answer) -> Answer {
        if let Some(status) = self.status {
            answer.status = status;
        }
        if self.html {
            answer.body = b"<!DOCTYPE html><html><body><h1>Sign in to the network</h1></body></html>".to_vec();
            set(&mut answer, "content-type", "text/html; charset=utf-8");
        }
        if let Some(body) = &self.body {
            answer.body = body.clone().into_bytes();
        }
        if let Some(kind) = &self.content_type {
            set(&mut answer, "content-type", kind);
        }
        if let Some(length) = self.truncate {
            answer.body.truncate(length);
        }
        for (name, value) in &self.headers {
            answer.headers.push((name.to_ascii_lowercase(), value.clone()));
        }
        answer
    }
}

fn set(answer: &mut Answer, name: &str, value: &str) {
    answer.headers.retain(|(n, _)| n != name);
    answer.headers.push((name.to_owned(), value.to_owned()));
}

fn covers(text: &str, query: &str) -> bool {
    let number = |name: &str| {
        let pair = query.split('&').find_map(|p| p.strip_prefix(name))?;
        pair.parse::<i64>().ok()
    };
    match (parse_instant(text), number("from="), number("to=")) {
        (Some(at), Some(from), Some(to)) => (from..=to).contains(&at.timestamp()),
        _ => false,
    }
}

/// The faults of a running sandbox with the requests each has fitted so far.
#[derive(Debug, Default)]
pub(super) struct FaultBook(Vec<(Fault, u32)>);

impl FaultBook {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(faults.into_iter().map(|f| (f, 0)).collect())
    }

    /// Counts a request and gives the fault that happens to it.
    pub fn strike(&mut self, service: Service, call: &Call) -> Option<Fault> {
        let mut struck = None;
        for (fault, seen) in &mut self.0 {
            if !fault.fits(service, call) {
                continue;
            }
            *seen = seen.saturating_add(1);
            let first = fault.nth.max(1);
            let last = match fault.count.unwrap_or(1) {
                0 => u32::MAX,
                count => first.saturating_add(count - 1),
            };
            if struck.is_none() && (first..=last).contains(seen) {
                struck = Some(fault.clone());
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, query: &str) -> Call {
        let (method, headers) = ("GET".into(), Vec::new());
        Call {
            method,
            path: path.into(),
            query: query.into(),
            headers,
            body: Vec::new(),
        }
    }

    #[test]
    fn a_fault_strikes_the_nth_request_that_fits_and_as_many_after_it_as_it_says() {
        let script = "[[fault]]\nprovider = 'tupay'\npath = '/v1/dep*'\nnth = 2\ncount = 2\nstatus = 500\n";
        let mut book = FaultBook::new(parse_script(script).unwrap());
        let mut strike = |service, path| book.strike(service, &call(path, "")).is_some();
        assert!(!strike(Service::Tupay, "/v1/deposits"));
        assert!(!strike(Service::One2pays, "/v1/deposits"));
        assert!(!strike(Service::Tupay, "/v1/cashout"));
        assert!(strike(Service::Tupay, "/v1/deposits"));
        assert!(strike(Service::Tupay, "/v1/deposits"));
        assert!(!strike(Service::Tupay, "/v1/deposits"));
    }

    #[test]
    fn covers_looks_at_the_asked_span() {
        assert!(covers("2026-01-01T00:00:00Z", "from=1767225600&to=1767225601&page=0"));
        assert!(!covers("2026-01-01T00:00:02Z", "from=1767225600&to=1767225601"));
        assert!(!covers("2026-01-01T00:00:00Z", "page=0"));
    }

    #[test]
    fn an_unknown_word_in_a_script_is_refused_with_its_line() {
        for (script, place) in [
            ("[[fault]]\nstatus = 500\nstatsu = 1\n", "line 3"),
            ("[[fault]]\nprovider = 'threepay'\n", "line 2"),
            ("[[fault]]\n[[fault]]\nstatus = 99\n", "fault 2"),
            ("[[fault]]\ncovers = 'yesterday'\n", "fault 1"),
        ] {
            let failure = parse_script(script).unwrap_err();
            assert!(failure.message.contains(place), "{}", failure.message);
        }
    }
}
