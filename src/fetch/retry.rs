//! How long to go on trying: exponential delays with full jitter inside a budget that begins with the first failure. Pure but
//! for chance.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use governor::Jitter;
use tokio::time::Instant;

/// First and longest delay before chance takes its part.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The patience with one request.
pub(super) struct Patience {
    budget: Duration,
    delays: ExponentialBackoff,
    first_failure: Option<Instant>,
    tries: u32,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again after this.
    Wait(Duration),
    /// The provider's own wish: nobody of the lane asks before.
    Hold(Duration),
    /// The provider wants more time than a run may wait.
    TooLong(Duration),
    /// The budget is used up.
    GiveUp { tries: u32, after: Duration },
}

impl Patience {
    pub(super) fn new(budget: Duration) -> Self {
        Self {
            budget,
            delays: ExponentialBuilder::new()
                .with_min_delay(FIRST_DELAY)
                .with_max_delay(LONGEST_DELAY)
                .without_max_times()
                .build(),
            first_failure: None,
            tries: 0,
        }
    }

    /// Counts a failure at `now`; `wish` is what the provider asked for, `longest` what may be waited for at once.
    ///
    /// A wish is held even where it alone is longer than the budget; several together are not.
    pub(super) fn after(&mut self, now: Instant, wish: Option<Duration>, longest: Duration) -> Next {
        self.tries += 1;
        let first = *self.first_failure.get_or_insert(now);
        let gone = now.duration_since(first);
        let least = wish.unwrap_or_default();
        if least > longest {
            return Next::TooLong(least);
        }
        if gone + least > self.budget.max(least) || gone >= self.budget.max(least) {
            return Next::GiveUp {
                tries: self.tries,
                after: gone,
            };
        }
        let delay = Jitter::up_to(self.delays.next().unwrap_or(LONGEST_DELAY)) + Duration::ZERO;
        match wish {
            Some(wish) => Next::Hold(delay.max(wish)),
            // The last try falls into the budget, not behind it.
            None => Next::Wait(delay.min(self.budget - gone)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(budget: u64) -> Patience {
        Patience::new(Duration::from_secs(budget))
    }

    #[test]
    fn delays_grow_stay_under_their_bound_and_end_with_the_budget() {
        let start = Instant::now();
        let mut patience = patience(600);
        let mut now = start;
        let mut bound = FIRST_DELAY;
        let mut tries = 0;
        let longest = Duration::from_secs(60);
        loop {
            tries += 1;
            match patience.after(now, None, longest) {
                Next::Wait(wait) => {
                    assert!(wait <= bound, "{wait:?} > {bound:?}");
                    // The request itself takes a second, so the loop ends even where chance gives no delay.
                    now += wait + Duration::from_secs(1);
                }
                Next::GiveUp { tries: counted, after } => {
                    assert_eq!(counted, tries);
                    assert!(
                        after >= Duration::from_secs(600) && after <= Duration::from_secs(602),
                        "{after:?}"
                    );
                    return;
                }
                other => panic!("{other:?}"),
            }
            bound = (bound * 2).min(LONGEST_DELAY);
            assert!(tries < 2_000);
        }
    }

    #[test]
    fn a_wish_is_held_even_beyond_the_budget_but_not_beyond_the_longest_pause() {
        let now = Instant::now();
        let longest = Duration::from_secs(900);
        let wish = |s| Some(Duration::from_secs(s));
        assert_eq!(
            patience(10).after(now, wish(900), longest),
            Next::Hold(Duration::from_secs(900))
        );
        assert_eq!(
            patience(10).after(now, wish(901), longest),
            Next::TooLong(Duration::from_secs(901))
        );
        let mut twice = patience(10);
        assert_eq!(
            twice.after(now, wish(600), longest),
            Next::Hold(Duration::from_secs(600))
        );
        let later = now + Duration::from_secs(601);
        assert!(matches!(
            twice.after(later, wish(600), longest),
            Next::GiveUp { tries: 2, .. }
        ));
        // "Retry-After: 0" is no leave to hammer.
        let mut at_once = patience(10);
        let mut now = now;
        let mut tries = 0;
        while let Next::Hold(wait) = at_once.after(now, wish(0), longest) {
            now += wait + Duration::from_millis(100);
            tries += 1;
        }
        assert!((2..100).contains(&tries), "{tries}");
    }
}
