//! One page: asked, judged, tried again, scrubbed. Here a provider's verdict meets patience, pauses and the session; what a
//! page means for its window is decided in [`super::walk`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::client::{Client, monotonic_now, wall_now};
use super::retry::{Next, Patience};
use super::scrub::scrub;
use super::session::Ticket;
use super::trouble::Trouble;
use crate::day::{Instant, format_instant};
use crate::erase::mask::Subjects;
use crate::failure::{Class, Failure};
use crate::providers::{Ask, Judgement, Method, PageHead, Provider, Reply, Request};
use crate::store::{NewPage, PackedPage, Store};

/// No pause is remembered for longer, whatever a provider writes.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Shorter pauses are not worth remembering over a restart.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Who talks: a lane's client, where pauses are remembered, and the token that ends all waiting.
#[derive(Clone, Copy)]
pub(super) struct Talk<'t> {
    pub client: &'t Client,
    /// None: nothing is remembered (`check --online`).
    pub store: Option<&'t Store>,
    pub stop: &'t CancellationToken,
}

/// A page as it is archived, with what the walk needs of it.
pub(super) struct Page {
    pub head: PageHead,
    pub packed: PackedPage,
}

/// A request is repeated at most so often because its session was replaced while it was under way.
const MAX_OVERTAKEN: u32 = 4;

/// Smaller bodies are dealt with where they arrive: going to another thread takes longer.
const SMALL_BODY: usize = 8 * 1024;

/// What asking for a page came to, where the job goes on.
pub(super) enum Answer {
    Page(Page),
    /// The subject is unknown to the provider; the answer is its proof.
    Absent(Page, String),
    /// The position is no longer valid.
    Restart(String),
    /// This window cannot be read now; others can.
    Refused(Failure),
    /// The budget ended without a page (server errors, time-outs, HTML, cut JSON, "not ready"). Others may still be readable.
    Unusable(Failure),
}

/// Asks for one page until there is an answer to act on.
///
/// # Errors
/// What stops the whole job: credentials, a broken contract, a pause that is too long, a stop.
pub(super) async fn fetch(talk: &Talk<'_>, ask: &Ask, number: u32, heads: &[PageHead]) -> Result<Answer, Failure> {
    let provider = &talk.client.provider;
    let request = provider.request(ask, number, heads);
    let mut patience = Patience::new(talk.client.bounds.retry_budget);
    let mut renewed = false;
    let mut overtaken = 0;
    loop {
        let (ticket, answer) = send(talk, request.clone()).await?;
        let reply = match answer {
            Ok(reply) => reply,
            Err(trouble) => {
                let passing = trouble.again;
                match talk.trouble(trouble, &mut patience).await {
                    Ok(()) => continue,
                    Err(failure) if passing && failure.class == Class::ProviderDown => {
                        return Ok(Answer::Unusable(failure));
                    }
                    Err(failure) => return Err(failure),
                }
            }
        };
        let status = reply.status;
        let judgement = redirect(&reply).unwrap_or_else(|| provider.judge(ask, &reply));
        if matches!(judgement, Judgement::Renew { .. } | Judgement::RenewThen { .. })
            && overtaken < MAX_OVERTAKEN
            && talk.client.sessions.is_replaced(&ticket).await
        {
            // It was on its way with a session that another request has renewed meanwhile: that renewal is its own, too.
            overtaken += 1;
            renewed = true;
            continue;
        }
        let judgement = match judgement {
            Judgement::RenewThen { then, .. } => {
                if !renewed && talk.client.sessions.renewal_may_help(&ticket).await {
                    talk.client.sessions.drop_session(&ticket).await;
                    renewed = true;
                    continue;
                }
                if renewed {
                    talk.client.sessions.renewed_in_vain(&ticket).await;
                }
                *then
            }
            other => other,
        };
        let (after, why) = match judgement {
            Judgement::Page => match read(talk, ask, number, &request, reply).await? {
                Ok(page) => return Ok(Answer::Page(page)),
                Err(why) => (None, why),
            },
            Judgement::Retry { after, why } => (after, why),
            Judgement::Renew { why } => {
                renew(talk, &ticket, &reply, &why, renewed).await?;
                renewed = true;
                continue;
            }
            // One in another: the inner one says no more than that this cannot be read.
            Judgement::RenewThen { why, .. } => return Ok(Answer::Refused(Failure::new(Class::Auth, why))),
            Judgement::Absent { why } => {
                let head = PageHead {
                    number,
                    ..PageHead::default()
                };
                let scrubbed = Raw::new(talk, number, &request, reply).scrub();
                return Ok(Answer::Absent(
                    Page {
                        head,
                        packed: scrubbed.pack()?,
                    },
                    why,
                ));
            }
            Judgement::Restart { why } => return Ok(Answer::Restart(why)),
            Judgement::Refused { class, why } => return Ok(Answer::Refused(Failure::new(class, why))),
            Judgement::Fail { class, why } => return Err(talk.failed(class, &why, &reply)),
        };
        tracing::debug!(
            feed = ask.feed,
            page.number = number,
            status,
            why,
            "page asked for again"
        );
        let next = patience.after(monotonic_now(), after, talk.client.bounds.max_retry_wait);
        if let Err(failure) = talk.wait(next, &why, status).await {
            // One window may be out of order while the others can be read; being told to slow down concerns them all.
            return match next {
                Next::GiveUp { .. } if status != 429 => Ok(Answer::Unusable(failure)),
                _ => Err(failure),
            };
        }
    }
}

/// Signs and sends once, with a session that still holds after all waiting.
pub(super) async fn send(talk: &Talk<'_>, mut request: Request) -> Result<(Ticket, Result<Reply, Trouble>), Failure> {
    let client = talk.client;
    loop {
        let ticket = client.sessions.ticket(talk).await?;
        let leave = client.pace.leave(talk.stop).await?;
        if !client.sessions.still_holds(&ticket).await {
            continue;
        }
        let now = wall_now() + client.sessions.skew();
        client
            .provider
            .sign(&mut request, ticket.session.as_deref(), &client.keys(), now);
        let answer = client.send(&request).await;
        drop(leave);
        return Ok((ticket, answer));
    }
}

/// Scrubs first: the head a resumed walk will see is read from the same bytes. All that a page costs before it is written
/// is done beside this task, which meanwhile archives other pages.
async fn read(
    talk: &Talk<'_>,
    ask: &Ask,
    number: u32,
    request: &Request,
    reply: Reply,
) -> Result<Result<Page, String>, Failure> {
    notice(talk.client, ask, &reply);
    let raw = Raw::new(talk, number, request, reply);
    if raw.page.body.len() < SMALL_BODY {
        return raw.read(ask);
    }
    let ask = ask.clone();
    match tokio::task::spawn_blocking(move || raw.read(&ask)).await {
        Ok(page) => page,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being shut down begins nothing any more.
            Err(_) => Err(stopped()),
        },
    }
}

/// What a good answer says beside its rows: a type that is not JSON's, the announced end of the interface.
fn notice(client: &Client, ask: &Ask, reply: &Reply) {
    let place = format!("{} {}", client.provider.name(), ask.feed);
    if reply
        .header("content-type")
        .any(|kind| !kind.to_ascii_lowercase().contains("json"))
    {
        client.warn(format!(
            "{place}: the answers are JSON but are not called so (content-type)"
        ));
    }
    for name in ["sunset", "deprecation"] {
        if let Some(value) = reply.header(name).next() {
            // RFC 8594 and 9745: a date, or `@` and seconds; anything else is not repeated.
            let known = httpdate::parse_http_date(value).is_ok()
                || value
                    .strip_prefix('@')
                    .is_some_and(|s| s.len() < 12 && s.bytes().all(|b| b.is_ascii_digit()));
            let when = if known { format!(" ({value})") } else { String::new() };
            client.warn(format!(
                "{place}: the provider announces the end of this interface: {name}{when}"
            ));
        }
    }
}

/// An answer as it came, with what is needed to make a page of it on any thread.
struct Raw {
    provider: Arc<dyn Provider>,
    erased: Option<Arc<Subjects>>,
    /// Not scrubbed yet.
    page: NewPage,
}

impl Raw {
    fn new(talk: &Talk<'_>, number: u32, request: &Request, reply: Reply) -> Self {
        Self {
            provider: Arc::clone(&talk.client.provider),
            // Read before the first request of the night, and good then.
            erased: talk.store.and_then(|store| store.erased().ok().flatten()),
            page: NewPage {
                number,
                confirms: false,
                fetched_at: wall_now(),
                // Written before anything was signed.
                request: describe(request),
                http_status: reply.status,
                body: reply.body,
            },
        }
    }

    /// The page as it may be archived.
    fn scrub(self) -> NewPage {
        let Self {
            provider,
            erased,
            mut page,
        } = self;
        if let Cow::Owned(masked) = scrub(&page.body, provider.private_fields(), provider.identity_fields()) {
            page.body = masked;
        }
        if let Some(erased) = erased {
            if let Cow::Owned(masked) = erased.mask_json(&page.body) {
                page.body = masked;
            }
            erased.mask(&mut page.request);
        }
        page
    }

    /// The page, or why its body is none.
    fn read(self, ask: &Ask) -> Result<Result<Page, String>, Failure> {
        let provider = Arc::clone(&self.provider);
        let page = self.scrub();
        Ok(match provider.head(ask, page.number, &page.body) {
            Ok(head) => Ok(Page {
                head,
                packed: page.pack()?,
            }),
            Err(bad) => Err(bad.why),
        })
    }
}

/// The session or signature was refused: once anew, with a corrected clock where the answer shows ours to be wrong; then it
/// is a matter for a person.
async fn renew(talk: &Talk<'_>, ticket: &Ticket, reply: &Reply, why: &str, again: bool) -> Result<(), Failure> {
    let client = talk.client;
    let skew = client.sessions.learn_skew(client, reply);
    if !again {
        client.sessions.drop_session(ticket).await;
        return Ok(());
    }
    let clock = skew.map(|s| format!("; {s}")).unwrap_or_default();
    let failure = Failure::new(
        Class::Auth,
        format!(
            "{why} by {}, also after signing in anew{clock}; check the credentials named in the job. What was read is kept, \
             the next run goes on from there once they are right",
            client.origin()
        ),
    );
    client.sessions.refuse(&failure).await;
    Err(failure)
}

/// A redirect is refused whatever the provider's module makes of it.
pub(super) fn redirect(reply: &Reply) -> Option<Judgement> {
    (300..400).contains(&reply.status).then(|| Judgement::Fail {
        class: Class::Protocol,
        why: format!(
            "a redirect ({}) was refused: it could carry the credentials to another host; check base_url",
            reply.status
        ),
    })
}

/// `GET /v1/deposits?page=0`.
fn describe(request: &Request) -> String {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    };
    let mark = if request.query.is_empty() { "" } else { "?" };
    format!("{method} {}{mark}{}", request.path, request.query)
}

impl Talk<'_> {
    /// A request brought no answer: waits for the next try, or fails.
    pub(super) async fn trouble(&self, trouble: Trouble, patience: &mut Patience) -> Result<(), Failure> {
        if !trouble.again {
            let advice = if trouble.class == Class::Protocol {
                ""
            } else {
                "; the next run tries again"
            };
            return Err(Failure::new(trouble.class, format!("{}{advice}", trouble.why)));
        }
        let next = patience.after(monotonic_now(), None, self.client.bounds.max_retry_wait);
        self.wait(next, &trouble.why, 0).await
    }

    /// Does what patience says. `status` of the last answer names the class when it ends; 0: there was none.
    pub(super) async fn wait(&self, next: Next, why: &str, status: u16) -> Result<(), Failure> {
        match next {
            Next::Wait(wait) => tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(stopped()),
                () = tokio::time::sleep(wait) => Ok(()),
            },
            Next::Hold(wait) => {
                self.client.pace.close_for(wait);
                self.remember(wait, why)?;
                Ok(())
            }
            Next::TooLong(wait) => {
                let until = self.remember(wait, why)?;
                let failure = Failure::new(
                    Class::Partial,
                    format!(
                        "{why}: the provider asks to be left alone until {} (longer than this run may wait); what was \
                         read is kept, runs after that go on",
                        format_instant(until)
                    ),
                );
                self.client.pace.shut(&failure);
                Err(failure)
            }
            Next::GiveUp { tries, after } => Err(self.gave_up(why, status, tries, after)),
        }
    }

    fn gave_up(&self, why: &str, status: u16, tries: u32, after: Duration) -> Failure {
        let class = if status == 429 || (200..300).contains(&status) {
            Class::Partial
        } else {
            Class::ProviderDown
        };
        Failure::new(
            class,
            format!(
                "{why}; given up after {tries} tries in {} s (retry_budget_s). What was read is kept; look at the provider's \
                 status page, the next run goes on by itself",
                after.as_secs()
            ),
        )
    }

    /// Keeps a pause for the next start; returns its end.
    fn remember(&self, wait: Duration, why: &str) -> Result<Instant, Failure> {
        let wait = wait.min(LONGEST_PAUSE);
        let until = wall_now() + TimeDelta::from_std(wait).unwrap_or_default();
        if let Some(store) = self.store.filter(|_| wait >= SHORTEST_PAUSE) {
            crate::store::set_pause(store, &self.client.lane, until, why)?;
        }
        Ok(until)
    }

    fn failed(&self, class: Class, why: &str, reply: &Reply) -> Failure {
        let client = self.client;
        match class {
            // A signature with a wrong time may be answered with 403 as well: the clock is named, nothing is repeated.
            Class::Auth => {
                let clock = client
                    .sessions
                    .learn_skew(client, reply)
                    .map(|s| format!("; {s}"))
                    .unwrap_or_default();
                Failure::new(
                    class,
                    format!("{why} at {}{clock}; what was read is kept", client.origin()),
                )
            }
            _ => Failure::new(class, format!("{why}; what was read is kept")),
        }
    }
}

/// A person or the system asked to stop.
pub(super) fn stopped() -> Failure {
    Failure::new(
        Class::Partial,
        "stopped on request; what was read is kept, the next run goes on from there",
    )
}
