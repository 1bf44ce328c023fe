//! Windows and the plan: which spans of time must be read tonight. Pure.
//!
//! A window is half-open and tiles time: no gap, no overlap. What a provider needs around it (a second of overlap, a
//! day on each side) is the provider's business when it writes its requests.

use chrono::{Days, TimeDelta};
use chrono_tz::Tz;

use crate::day::{BusinessDay, Instant, next_day, start_of_day};

/// No window is longer than this, in days of the job's zone: the limit of the providers' list calls.
pub const MAX_WINDOW_DAYS: u64 = 60;

/// A half-open span `[from, until)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    pub from: Instant,
    pub until: Instant,
}

impl Window {
    pub fn contains(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }

    /// Its last millisecond: the time of a figure about a subject that has none of its own.
    pub fn last_instant(&self) -> Instant {
        self.until - TimeDelta::milliseconds(1)
    }
}

/// A window that stands in the database, with the as-of instant of the run that last read it to its end.
/// A feed's windows are told apart by where they begin: the last one of a plan may grow from night to night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    pub window: Window,
    /// None: never sealed, or opened again and not read to its end since.
    pub sealed_as_of: Option<Instant>,
}

/// Cuts business days `first..=last` into windows of `days` days each, aligned to `first`, never longer than
/// [`MAX_WINDOW_DAYS`]. An empty range gives no window.
pub fn tile(first: BusinessDay, last: BusinessDay, days: u64, zone: Tz) -> Vec<Window> {
    let days = days.clamp(1, MAX_WINDOW_DAYS);
    let mut windows = Vec::new();
    let mut from = first;
    while from <= last {
        let until = from
            .checked_add_days(Days::new(days))
            .unwrap_or(from)
            .min(next_day(last));
        windows.push(Window {
            from: start_of_day(from, zone),
            until: start_of_day(until, zone),
        });
        if until <= from {
            break;
        }
        from = until;
    }
    windows
}

/// What to read: every wanted window that was never sealed, and those of the look-back that were not read as of
/// `fresh_since` or later (late changes). Oldest first.
///
/// `covered` are the windows the database knows, in any order.
pub fn stale(wanted: &[Window], covered: &[Covered], lookback: TimeDelta, fresh_since: Instant) -> Vec<Window> {
    let known: std::collections::HashMap<Instant, (Instant, Instant)> = covered
        .iter()
        .filter_map(|c| Some((c.window.from, (c.window.until, c.sealed_as_of?))))
        .collect();
    let Some(newest) = wanted.iter().map(|w| w.until).max() else {
        return Vec::new();
    };
    let lookback_from = newest - lookback;
    wanted
        .iter()
        .copied()
        .filter(|window| match known.get(&window.from) {
            None => true,
            Some((until, read_as_of)) => {
                *until < window.until || (*read_as_of < fresh_since && window.until > lookback_from)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zones() -> impl Strategy<Value = Tz> {
        prop::sample::select(vec![
            chrono_tz::America::Lima,
            chrono_tz::Europe::London,
            chrono_tz::Asia::Bangkok,
            chrono_tz::Asia::Beirut,
            chrono_tz::America::Santiago,
        ])
    }

    proptest! {
        #[test]
        fn windows_tile_the_range_without_gap_or_overlap_and_keep_the_limit(
            start in 0_u64..20_000, length in 0_u64..400, days in 0_u64..90, zone in zones(),
        ) {
            let first = BusinessDay::default() + Days::new(start);
            let last = first + Days::new(length);
            let windows = tile(first, last, days, zone);
            prop_assert_eq!(windows.first().map(|w| w.from), Some(start_of_day(first, zone)));
            prop_assert_eq!(windows.last().map(|w| w.until), Some(start_of_day(next_day(last), zone)));
            for pair in windows.windows(2) {
                prop_assert_eq!(pair[0].until, pair[1].from);
            }
            for w in &windows {
                prop_assert!(w.from < w.until);
                let span = crate::day::day_of(w.until, zone) - crate::day::day_of(w.from, zone);
                prop_assert!(span.num_days() <= MAX_WINDOW_DAYS as i64);
            }
        }

        #[test]
        fn a_plan_made_again_after_it_was_carried_out_is_empty(length in 0_u64..200, lookback in 0_i64..90) {
            let first = BusinessDay::default() + Days::new(9_000);
            let wanted = tile(first, first + Days::new(length), 1, chrono_tz::America::Lima);
            let now = wanted.last().map_or_else(Instant::default, |w| w.until) + TimeDelta::hours(3);
            let covered: Vec<Covered> =
                wanted.iter().map(|w| Covered { window: *w, sealed_as_of: Some(now) }).collect();
            prop_assert!(stale(&wanted, &covered, TimeDelta::days(lookback), now).is_empty());
            let later = stale(&wanted, &covered, TimeDelta::days(lookback), now + TimeDelta::days(1));
            prop_assert_eq!(later.len() as u64, (lookback as u64).min(length + 1));
        }
    }

    #[test]
    fn no_day_wanted_gives_no_window() {
        let day = BusinessDay::default();
        assert!(tile(next_day(day), day, 1, chrono_tz::UTC).is_empty());
    }
}
