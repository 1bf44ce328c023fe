//! When a difference of timing becomes a discrepancy. Pure.

use chrono::TimeDelta;
use chrono_tz::Tz;

use crate::config::Match;
use crate::day::{BusinessDay, Instant, day_of};

/// The clock of one comparison and its patience.
#[derive(Clone, Debug)]
pub struct Timing {
    pub as_of: Instant,
    pub zone: Tz,
    /// Provider final, not booked yet.
    pub grace_ledger: TimeDelta,
    /// Booked, provider not final yet.
    pub grace_provider: TimeDelta,
    /// Booked, and the provider says nothing of it at all.
    pub grace_missing: TimeDelta,
    /// Open at the provider.
    pub stale: TimeDelta,
}

impl Timing {
    /// `lag`: how long the provider itself may say nothing of a booking ([`crate::providers::Provider::lag`]).
    pub fn new(settings: &Match, lag: TimeDelta, as_of: Instant, zone: Tz) -> Self {
        Self {
            as_of,
            zone,
            grace_ledger: settings.grace_ledger,
            grace_provider: settings.grace_provider,
            grace_missing: settings.grace_provider.max(lag),
            stale: TimeDelta::try_days(settings.stale_pending_days).unwrap_or(TimeDelta::MAX),
        }
    }
}

/// The day on which a grace that began at `since` ends; None when it has ended at the as-of instant.
pub fn until(since: Instant, grace: TimeDelta, timing: &Timing) -> Option<BusinessDay> {
    // A grace beyond the end of the calendar never ends.
    let end = since.checked_add_signed(grace).unwrap_or(Instant::MAX_UTC);
    (timing.as_of < end).then(|| day_of(end.min(far(timing)), timing.zone))
}

/// A day that can still be written in the books' form; nobody waits longer.
fn far(timing: &Timing) -> Instant {
    timing.as_of + TimeDelta::days(36_500)
}
