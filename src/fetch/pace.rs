//! When a request may leave: evenly spaced, never more than the allowed number in any minute, at most so many at a time, and
//! none while the provider asked to be left alone.
//!
//! Three guards, one behind the other. The spacing (`governor`) does the work; what the machine let pass unused it may catch up
//! with, up to [`CATCH_UP`], because a few milliseconds lost at every request would be a tenth of a high rate. It knows only when
//! a request was let go, not when it arrived, so a second guard counts a request from the moment it leaves until a minute after
//! it ended: even a bunch of requests that hung in connecting cannot arrive as a burst. The third is the gate that every request
//! of the lane passes: `Retry-After` closes it for all of them. A new process waits one interval first, so restarts grant
//! nothing.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use governor::clock::MonotonicClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Jitter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::monotonic_now;
use super::page::stopped;
use crate::failure::Failure;

/// Limits are per minute.
const MINUTE: Duration = Duration::from_secs(60);

/// Of the allowed rate, in percent: what is left pays for catching up and for packets that overtake each other.
const USED_PERCENT: u64 = 97;

/// Requests that were late by no more than this may be made up for. Rates below 200 a minute have nothing to catch up with.
const CATCH_UP: Duration = Duration::from_millis(300);

type Limiter = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

/// The pace of one lane.
pub(super) struct Pace {
    limiter: Limiter,
    /// Only one request waits at the limiter, the others queue here in their order.
    queue: tokio::sync::Mutex<()>,
    in_flight: Semaphore,
    minute: Mutex<LastMinute>,
    closed_until: Mutex<Option<Instant>>,
    /// Cancelled when nobody may ask any more in this run.
    shut: CancellationToken,
    /// Why, once it is.
    shut_because: OnceLock<Failure>,
}

/// Leave to send one request; dropped when its answer is read.
pub(super) struct Leave<'p> {
    pace: &'p Pace,
    _permit: SemaphorePermit<'p>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        lock(&self.pace.minute).end(monotonic_now());
    }
}

impl Pace {
    /// At most `per_minute` requests in any 60 seconds, at most `in_flight` at a time (0 counts as 1).
    pub(super) fn new(per_minute: u32, in_flight: u32) -> Self {
        let limiter = RateLimiter::direct_with_clock(quota(per_minute), MonotonicClock);
        // The process before this one may just have sent requests: nothing is granted for the time before us.
        let _ = limiter.check_n(burst(per_minute));
        Self {
            limiter,
            queue: tokio::sync::Mutex::new(()),
            in_flight: Semaphore::new(in_flight.max(1) as usize),
            minute: Mutex::new(LastMinute::new(per_minute.max(1) as usize)),
            closed_until: Mutex::new(None),
            shut: CancellationToken::new(),
            shut_because: OnceLock::new(),
        }
    }

    /// Waits for leave to send one request.
    ///
    /// # Errors
    /// PARTIAL: asked to stop while waiting, or the lane was shut.
    pub(super) async fn leave(&self, stop: &CancellationToken) -> Result<Leave<'_>, Failure> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(stopped()),
            () = self.shut.cancelled() => Err(self.shut_because.get().cloned().unwrap_or_else(stopped)),
            leave = self.turn() => Ok(leave),
        }
    }

    /// No request of this run leaves any more, those that wait for their turn included: the provider wants more time than a
    /// run may wait.
    pub(super) fn shut(&self, because: &Failure) {
        let _ = self.shut_because.set(because.clone());
        self.shut.cancel();
    }

    async fn turn(&self) -> Leave<'_> {
        loop {
            self.open().await;
            // The semaphore is never closed; a failed acquire would only mean going round again.
            let Ok(permit) = self.in_flight.acquire().await else {
                continue;
            };
            let _turn = self.queue.lock().await;
            self.limiter.until_ready().await;
            if self.closed().is_some() {
                continue;
            }
            loop {
                let wait = match lock(&self.minute).begin(monotonic_now()) {
                    Ok(()) => {
                        return Leave {
                            pace: self,
                            _permit: permit,
                        };
                    }
                    Err(wait) => wait,
                };
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// Closes the gate for every request of the lane, with jitter on top so that lanes do not come back in step.
    pub(super) fn close_for(&self, wait: Duration) {
        let until = monotonic_now() + (Jitter::up_to(jitter_for(wait)) + wait);
        let mut closed = lock(&self.closed_until);
        *closed = Some(closed.map_or(until, |before| before.max(until)));
    }

    fn closed(&self) -> Option<Instant> {
        lock(&self.closed_until).filter(|until| monotonic_now() < *until)
    }

    async fn open(&self) {
        while let Some(until) = self.closed() {
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A tenth of the wait, between 50 ms and 3 s.
fn jitter_for(wait: Duration) -> Duration {
    (wait / 10).clamp(Duration::from_millis(50), Duration::from_secs(3))
}

/// The spacing between two requests.
fn interval(per_minute: u32) -> Duration {
    let nanos = MINUTE.as_nanos() as u64 / USED_PERCENT * 100 / u64::from(per_minute.max(1));
    Duration::from_nanos(nanos.max(1))
}

/// Requests that may leave together after a delay of ours; 1 = evenly spaced without exception.
fn burst(per_minute: u32) -> NonZeroU32 {
    let late = u128::from(per_minute) * CATCH_UP.as_millis() / MINUTE.as_millis();
    NonZeroU32::MIN.saturating_add(u32::try_from(late).unwrap_or(u32::MAX))
}

fn quota(per_minute: u32) -> Quota {
    // `with_period` refuses only an interval of zero, which `interval` never gives.
    Quota::with_period(interval(per_minute))
        .unwrap_or_else(|| Quota::per_minute(NonZeroU32::MIN))
        .allow_burst(burst(per_minute))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests that may have arrived within the last minute: those under way and those that ended less than a minute ago.
struct LastMinute {
    limit: usize,
    under_way: usize,
    ended: VecDeque<Instant>,
}

impl LastMinute {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            under_way: 0,
            ended: VecDeque::new(),
        }
    }

    /// Takes a place, or says after how long to ask again.
    fn begin(&mut self, now: Instant) -> Result<(), Duration> {
        while self
            .ended
            .front()
            .is_some_and(|ended| now.duration_since(*ended) >= MINUTE)
        {
            self.ended.pop_front();
        }
        if self.under_way + self.ended.len() < self.limit {
            self.under_way += 1;
            return Ok(());
        }
        // All places taken by requests under way: one of them must end first.
        let soon = Duration::from_millis(20);
        Err(self.ended.front().map_or(soon, |ended| {
            MINUTE.saturating_sub(now.duration_since(*ended)).max(soon)
        }))
    }

    fn end(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Class;
    use proptest::prelude::*;

    #[test]
    fn what_a_minute_grants_stays_within_the_limit_also_after_catching_up() {
        for n in [1_u32, 2, 10, 60, 80, 120, 199, 200, 300, 800, 6_000, 100_000] {
            let granted = MINUTE.as_nanos() / interval(n).as_nanos() + u128::from(burst(n).get());
            assert!(granted <= u128::from(n), "{granted} for {n} a minute");
            assert!(
                granted * 100 >= u128::from(n) * 96 || n < 30,
                "{granted} for {n} a minute"
            );
        }
        assert_eq!(burst(199).get(), 1);
    }

    proptest! {
        /// Whatever the answers take, arrivals (at any moment between leaving and ending) keep the limit.
        #[test]
        fn no_minute_sees_more_arrivals_than_allowed(
            limit in 1_usize..12,
            steps in prop::collection::vec((0_u64..20_000, 0_u64..90_000, 0_u64..100), 1..200),
        ) {
            let start = Instant::now();
            let at = |ms: u64| start + Duration::from_millis(ms);
            let mut minute = LastMinute::new(limit);
            let mut now = 0;
            let mut ends: Vec<u64> = Vec::new();
            let mut arrivals: Vec<u64> = Vec::new();
            for (pause, takes, share) in steps {
                now += pause;
                ends.sort_unstable();
                while ends.first().is_some_and(|end| *end <= now) {
                    minute.end(at(ends.remove(0)));
                }
                if minute.begin(at(now)).is_ok() {
                    ends.push(now + takes);
                    arrivals.push(now + takes * share / 100);
                }
            }
            arrivals.sort_unstable();
            for window in arrivals.windows(limit + 1) {
                prop_assert!(window[limit] - window[0] >= 60_000, "{window:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_holds_every_request_and_stopping_ends_the_wait() {
        let pace = Pace::new(6_000_000, 4);
        let begun = Instant::now();
        pace.close_for(Duration::from_secs(30));
        pace.close_for(Duration::from_secs(1));
        let stop = CancellationToken::new();
        let (one, other) = tokio::join!(pace.leave(&stop), pace.leave(&stop));
        assert!(one.is_ok() && other.is_ok());
        assert!(begun.elapsed() >= Duration::from_secs(30));

        pace.close_for(Duration::from_secs(30));
        stop.cancel();
        assert_eq!(pace.leave(&stop).await.err(), Some(stopped()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_is_shut_sends_those_away_who_wait_at_its_gate() {
        let pace = Pace::new(6_000_000, 4);
        let (begun, stop) = (Instant::now(), CancellationToken::new());
        pace.close_for(Duration::from_secs(60));
        let why = Failure::new(Class::Partial, "wants an hour");
        let shutting = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pace.shut(&why);
        };
        let (waiting, ()) = tokio::join!(pace.leave(&stop), shutting);
        assert_eq!(waiting.err().as_ref(), Some(&why));
        assert_eq!(
            pace.leave(&stop).await.err().as_ref(),
            Some(&why),
            "nor does a later one"
        );
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}
