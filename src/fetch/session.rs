//! The session of a lane: opened when first needed, renewed by one request for all, given up after a second refusal; and the
//! local clock's error as the provider's `Date` header shows it after a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant as Monotonic;

use super::client::{Client, monotonic_now, wall_now};
use super::page::Talk;
use super::retry::Patience;
use crate::day::Instant;
use crate::failure::{Class, Failure};
use crate::providers::{Judgement, Reply, Session};

/// `Date` has whole seconds and travels a while: below this a clock counts as right.
const MIN_SKEW: TimeDelta = TimeDelta::seconds(3);

/// No larger error is corrected; such a `Date` is nonsense or the machine's clock is not set at all.
const MAX_SKEW: TimeDelta = TimeDelta::hours(25);

/// A session is renewed this long before its end, at most a tenth of its life.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// So long a session counts as good after it was opened for an answer that came again all the same.
const IN_VAIN: Duration = Duration::from_secs(60);

/// Longest wait for the answer to a logout.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Sessions {
    state: tokio::sync::Mutex<State>,
    skew_ms: AtomicI64,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Counts sessions: a refusal of an older one is no news.
    generation: u64,
    /// A renewal that changed nothing: the session it opened, and when that was seen.
    in_vain: Option<(u64, Monotonic)>,
    /// Refused for good: every later request of this run ends with it, without another login.
    refused: Option<Failure>,
}

struct Open {
    session: Arc<Session>,
    received: Monotonic,
    used: Monotonic,
}

impl Open {
    /// By the clock that only goes forward, and with the time a request takes still to come.
    fn is_usable(&self, now: Monotonic) -> bool {
        let within = |limit: Option<Duration>, since: Monotonic| {
            limit.is_none_or(|limit| now.duration_since(since) + RENEW_BEFORE.min(limit / 10) < limit)
        };
        within(self.session.lifetime, self.received) && within(self.session.idle, self.used)
    }
}

/// What a request is signed with.
#[derive(Clone)]
pub(super) struct Ticket {
    pub session: Option<Arc<Session>>,
    generation: u64,
}

impl Ticket {
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }
}

impl Sessions {
    /// Seconds (to the millisecond) to add to the local clock; zero until a refusal showed it to be wrong.
    pub(super) fn skew(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.skew_ms.load(Ordering::Relaxed))
    }

    /// A new run may try again what an earlier one was refused.
    pub(super) async fn forget_refusal(&self) {
        self.state.lock().await.refused = None;
    }

    /// The open session, or a new one: whoever comes first logs in, the others wait for it.
    pub(super) async fn ticket(&self, talk: &Talk<'_>) -> Result<Ticket, Failure> {
        let mut state = self.state.lock().await;
        if let Some(refused) = &state.refused {
            return Err(refused.clone());
        }
        let now = monotonic_now();
        if !state.open.as_ref().is_some_and(|open| open.is_usable(now)) {
            state.open = None;
            match log_in(talk).await {
                Ok(None) => {}
                Ok(Some(session)) => {
                    let now = monotonic_now();
                    state.open = Some(Open {
                        session: Arc::new(session),
                        received: now,
                        used: now,
                    });
                    state.generation += 1;
                }
                Err(failure) => {
                    if failure.class == Class::Auth {
                        state.refused = Some(failure.clone());
                    }
                    return Err(failure);
                }
            }
        }
        Ok(Ticket {
            session: state.open.as_ref().map(|open| Arc::clone(&open.session)),
            generation: state.generation,
        })
    }

    /// Whether the ticket still holds right before sending, after all waiting; marks the session as used.
    pub(super) async fn still_holds(&self, ticket: &Ticket) -> bool {
        let mut state = self.state.lock().await;
        let now = monotonic_now();
        match &mut state.open {
            Some(open) if ticket.session.is_some() => {
                let holds = open.is_usable(now);
                open.used = now;
                holds
            }
            _ => ticket.session.is_none(),
        }
    }

    /// The session of this ticket was refused: it is dropped unless somebody renewed it already.
    pub(super) async fn drop_session(&self, ticket: &Ticket) {
        let mut state = self.state.lock().await;
        if state.generation == ticket.generation {
            state.open = None;
        }
    }

    /// Whether somebody else ended the session of this ticket meanwhile: a refusal of it says nothing about the present one.
    pub(super) async fn is_replaced(&self, ticket: &Ticket) -> bool {
        let state = self.state.lock().await;
        ticket.session.is_some() && (state.generation != ticket.generation || state.open.is_none())
    }

    /// Whether a new session may change an answer that says only "failed". Not right after one that changed nothing: else
    /// every key the provider does not know would cost a login.
    pub(super) async fn renewal_may_help(&self, ticket: &Ticket) -> bool {
        let state = self.state.lock().await;
        let in_vain = |(generation, at): (u64, Monotonic)| {
            generation == state.generation && monotonic_now().duration_since(at) < IN_VAIN
        };
        ticket.session.is_some() && !state.in_vain.is_some_and(in_vain)
    }

    /// The session of this ticket was opened for an answer that came again all the same.
    pub(super) async fn renewed_in_vain(&self, ticket: &Ticket) {
        self.state.lock().await.in_vain = Some((ticket.generation, monotonic_now()));
    }

    /// Refused for good.
    pub(super) async fn refuse(&self, failure: &Failure) {
        let mut state = self.state.lock().await;
        state.refused = Some(failure.clone());
        state.open = None;
    }

    /// After a refusal: compares the answer's `Date` with the local clock. A plausible difference is named once and
    /// corrected for signing. Returns it in words.
    pub(super) fn learn_skew(&self, client: &Client, reply: &Reply) -> Option<String> {
        let off = date_of(&reply.headers)? - wall_now();
        if !is_skew(off) {
            return None;
        }
        let seconds = -off.num_seconds();
        let named = format!(
            "the local clock is {} s {} the provider's",
            seconds.abs(),
            if seconds < 0 { "behind" } else { "ahead of" }
        );
        if is_skew(off - self.skew()) {
            self.skew_ms.store(off.num_milliseconds(), Ordering::Relaxed);
            client.warn(format!(
                "{named} (corrected for signing in this run); set the clock (NTP)"
            ));
        }
        Some(named)
    }

    /// Ends the session, best effort: one try, a few seconds, no failure.
    pub(super) async fn close(&self, client: &Client) {
        let Some(open) = self.state.lock().await.open.take() else {
            return;
        };
        let Some(mut request) = client.provider.logout() else {
            return;
        };
        let never = tokio_util::sync::CancellationToken::new();
        let goodbye = async {
            // A provider that wants to be left alone is left alone: the session ends by itself.
            let _leave = client.pace.leave(&never).await.ok()?;
            let now = wall_now() + self.skew();
            client
                .provider
                .sign(&mut request, Some(&open.session), &client.keys(), now);
            Some(client.send(&request).await)
        };
        match tokio::time::timeout(LOGOUT_TIMEOUT, goodbye).await {
            Ok(Some(Ok(reply))) => tracing::debug!(status = reply.status, "logged out"),
            Ok(Some(Err(trouble))) => tracing::debug!(why = trouble.why, "logout failed"),
            Ok(None) => tracing::debug!("not logged out: nobody may ask any more"),
            Err(_) => tracing::debug!("logout took too long"),
        }
    }
}

/// The answer's own time.
pub(super) fn date_of(headers: &[(String, String)]) -> Option<Instant> {
    let (_, value) = headers.iter().find(|(name, _)| name == "date")?;
    Some(Instant::from(httpdate::parse_http_date(value).ok()?))
}

/// Whether a difference of clocks is large enough to matter and small enough to be believed.
pub(super) fn is_skew(off: TimeDelta) -> bool {
    (MIN_SKEW..=MAX_SKEW).contains(&off.abs())
}

/// Logs in: at most two calls when refused (the second with a corrected clock), else within the retry budget. None where
/// the provider has no sessions.
async fn log_in(talk: &Talk<'_>) -> Result<Option<Session>, Failure> {
    let client = talk.client;
    let mut patience = Patience::new(client.bounds.retry_budget);
    let mut corrected = false;
    loop {
        let now = wall_now() + client.sessions.skew();
        let Some(request) = client.provider.login(&client.keys(), now) else {
            return Ok(None);
        };
        let leave = client.pace.leave(talk.stop).await?;
        let answer = client.send(&request).await;
        drop(leave);
        let reply = match answer {
            Ok(reply) => reply,
            Err(trouble) => {
                talk.trouble(trouble, &mut patience).await.map_err(|f| f.at("login"))?;
                continue;
            }
        };
        match judge_login(talk, &reply) {
            Ok(session) => {
                tracing::info!(provider = client.provider.name(), "logged in");
                for warning in &session.warnings {
                    client.warn(warning.clone());
                }
                return Ok(Some(session));
            }
            Err(Judgement::Retry { after, why }) => {
                let next = patience.after(monotonic_now(), after, client.bounds.max_retry_wait);
                talk.wait(next, &why, reply.status).await.map_err(|f| f.at("login"))?;
            }
            Err(Judgement::Renew { why } | Judgement::RenewThen { why, .. }) => {
                let skew = client.sessions.learn_skew(client, &reply);
                if skew.is_none() || corrected {
                    return Err(refused_login(talk, &why, skew.as_deref()));
                }
                corrected = true;
            }
            Err(Judgement::Fail { class, why } | Judgement::Refused { class, why }) => {
                let skew = (class == Class::Auth)
                    .then(|| client.sessions.learn_skew(client, &reply))
                    .flatten();
                return Err(match class {
                    Class::Auth => refused_login(talk, &why, skew.as_deref()),
                    _ => Failure::new(class, format!("login: {why}; nothing was read")),
                });
            }
            Err(Judgement::Page | Judgement::Absent { .. } | Judgement::Restart { .. }) => {
                return Err(Failure::new(
                    Class::Protocol,
                    format!("login: the answer ({}) opens no session", reply.status),
                ));
            }
        }
    }
}

/// A redirect of a login would carry the credentials elsewhere; the provider's own reading comes after that.
fn judge_login(talk: &Talk<'_>, reply: &Reply) -> Result<Session, Judgement> {
    match super::page::redirect(reply) {
        Some(refused) => Err(refused),
        None => talk.client.provider.session(reply),
    }
}

fn refused_login(talk: &Talk<'_>, why: &str, skew: Option<&str>) -> Failure {
    let clock = skew.map(|s| format!("; {s}")).unwrap_or_default();
    Failure::new(
        Class::Auth,
        format!(
            "login at {}: {why}{clock}; check the credentials named in the job, nothing is lost",
            talk.client.origin()
        ),
    )
}
