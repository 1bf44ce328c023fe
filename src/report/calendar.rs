//! Months as grids of weeks, Monday first. Pure.

use chrono::{Datelike, Days};
use serde::Serialize;

use crate::day::BusinessDay;

/// Months one calendar shows; more than that is a wrong date.
const MOST_MONTHS: usize = 12 * 60;

/// One month, its days filled in by the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Month<T> {
    pub year: i32,
    /// `March`
    pub name: &'static str,
    /// Seven places each; None where the day is of another month.
    pub weeks: Vec<[Option<T>; 7]>,
}

const NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Every month from the one of `first` to the one of `last`, the newest first. Nothing when `last` is before `first`.
pub fn months<T>(first: BusinessDay, last: BusinessDay, mut cell: impl FnMut(BusinessDay) -> T) -> Vec<Month<T>> {
    let mut months = Vec::new();
    let begin = |day: BusinessDay| day.with_day(1).unwrap_or(day);
    let (mut month, first) = (begin(last), begin(first));
    while month >= first && months.len() < MOST_MONTHS {
        months.push(grid(month, &mut cell));
        match month.pred_opt() {
            Some(day_before) => month = begin(day_before),
            None => break,
        }
    }
    months
}

/// The month that begins on `first`.
fn grid<T>(first: BusinessDay, cell: &mut impl FnMut(BusinessDay) -> T) -> Month<T> {
    let mut weeks: Vec<[Option<T>; 7]> = Vec::new();
    let mut day = first;
    while day.month() == first.month() {
        let weekday = day.weekday().num_days_from_monday() as usize;
        if weekday == 0 || weeks.is_empty() {
            weeks.push(std::array::from_fn(|_| None));
        }
        if let Some(week) = weeks.last_mut() {
            week[weekday] = Some(cell(day));
        }
        match day.checked_add_days(Days::new(1)) {
            Some(next) => day = next,
            None => break,
        }
    }
    Month {
        year: first.year(),
        name: NAMES[first.month0() as usize],
        weeks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> BusinessDay {
        text.parse().unwrap()
    }

    fn drawn(first: &str, last: &str) -> Vec<String> {
        months(day(first), day(last), |day| day.day())
            .iter()
            .map(|month| {
                let week = |week: &[Option<u32>; 7]| {
                    let places = week.map(|place| place.map_or("-".to_owned(), |number| number.to_string()));
                    places.join(" ")
                };
                let weeks: Vec<String> = month.weeks.iter().map(week).collect();
                format!("{} {}: {}", month.name, month.year, weeks.join(" | "))
            })
            .collect()
    }

    #[test]
    fn the_year_turns_between_december_and_january_with_the_newer_month_first() {
        assert_eq!(
            drawn("2025-12-31", "2026-01-01"),
            [
                "January 2026: - - - 1 2 3 4 | 5 6 7 8 9 10 11 | 12 13 14 15 16 17 18 | 19 20 21 22 23 24 25 | 26 27 28 29 30 31 -",
                "December 2025: 1 2 3 4 5 6 7 | 8 9 10 11 12 13 14 | 15 16 17 18 19 20 21 | 22 23 24 25 26 27 28 | 29 30 31 - - - -",
            ]
        );
    }

    #[test]
    fn february_has_its_own_length_also_in_leap_years_and_where_it_fills_four_weeks() {
        assert_eq!(
            drawn("2027-02-03", "2027-02-03"),
            ["February 2027: 1 2 3 4 5 6 7 | 8 9 10 11 12 13 14 | 15 16 17 18 19 20 21 | 22 23 24 25 26 27 28"]
        );
        let leap = drawn("2028-02-29", "2028-03-01");
        assert_eq!(leap.len(), 2);
        assert!(leap[1].contains("28 29 - - - - -"), "{leap:?}");
    }

    #[test]
    fn a_month_that_begins_on_a_sunday_needs_six_weeks() {
        let march = &drawn("2026-03-31", "2026-03-31")[0];
        assert!(march.starts_with("March 2026: - - - - - - 1 | 2 3"), "{march}");
        assert!(march.ends_with("30 31 - - - - -"), "{march}");
    }

    #[test]
    fn nothing_is_drawn_backwards_or_without_bound() {
        assert_eq!(drawn("2026-03-01", "2026-02-28"), Vec::<String>::new());
        assert_eq!(months(BusinessDay::MIN, day("2026-02-28"), |_| ()).len(), MOST_MONTHS);
        assert_eq!(months(BusinessDay::MAX, BusinessDay::MAX, |_| ()).len(), 1);
    }
}
