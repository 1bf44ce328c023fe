//! Open items over time as the bars of a picture, with the same said in words. Pure.

use serde::Serialize;

use super::facts::TrendNight;
use crate::day::BusinessDay;

/// Height of the picture in its own units; every night is [`SLOT`] wide.
const HEIGHT: i64 = 100;
const SLOT: i64 = 10;
/// Days between the first and the last night that still get a place of their own.
const LONGEST: i64 = 120;

/// The bars of some nights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Chart {
    pub bars: Vec<Bar>,
    pub width: i64,
    pub height: i64,
    /// Most open ones on one night: the top of the picture.
    pub top: i64,
    pub first: String,
    pub last: String,
    /// The picture in words.
    pub alt: String,
}

/// One night. Heights count from the bottom: first what was open before, on top of it what is new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bar {
    pub business_day: String,
    pub open: i64,
    pub new: i64,
    pub x: i64,
    pub old_height: i64,
    pub new_height: i64,
}

/// The chart of these nights, oldest first. Days between them on which nothing was compared stay empty.
pub fn chart(nights: &[TrendNight]) -> Chart {
    let top = nights.iter().map(|night| night.open).max().unwrap_or(0);
    let days: Vec<Option<BusinessDay>> = nights.iter().map(|night| night.business_day.parse().ok()).collect();
    let since = |at: usize| Some((days[at]? - days.first().copied()??).num_days());
    let by_date = nights.is_empty() || since(nights.len() - 1).is_some_and(|span| (0..=LONGEST).contains(&span));
    let slot = |at: usize| match since(at) {
        Some(day) if by_date => day,
        _ => i64::try_from(at).unwrap_or(0),
    };
    let bars: Vec<Bar> = nights
        .iter()
        .enumerate()
        .map(|(at, night)| bar(night, top, slot(at) * SLOT))
        .collect();
    let end = |night: Option<&TrendNight>| night.map(|night| night.business_day.clone()).unwrap_or_default();
    Chart {
        width: bars.last().map_or(SLOT, |bar| bar.x + SLOT),
        height: HEIGHT,
        top,
        first: end(nights.first()),
        last: end(nights.last()),
        alt: alt(nights),
        bars,
    }
}

fn bar(night: &TrendNight, top: i64, x: i64) -> Bar {
    let (new, open) = parts(night);
    // What is there is seen, however small.
    let height = |count: i64| (count.saturating_mul(HEIGHT) / top.max(1)).max(2 * i64::from(count > 0));
    let (new_height, whole) = (height(new), height(open));
    Bar {
        business_day: night.business_day.clone(),
        open,
        new: night.new,
        x,
        old_height: (whole - new_height).max(0),
        new_height,
    }
}

/// How many of a night's open ones are new, and how many are open. A new one may be resolved again by a later run.
pub fn parts(night: &TrendNight) -> (i64, i64) {
    let open = night.open.max(0);
    (night.new.clamp(0, open), open)
}

/// `Open items night by night, 2026-03-03 to 2026-03-04: 4 (1 new), 6 (3 new).`
pub fn alt(nights: &[TrendNight]) -> String {
    let (Some(first), Some(last)) = (nights.first(), nights.last()) else {
        return String::new();
    };
    let said: Vec<String> = nights
        .iter()
        .map(|night| match night.new {
            0 => night.open.to_string(),
            new => format!("{} ({new} new)", night.open),
        })
        .collect();
    let span = match nights.len() {
        1 => first.business_day.clone(),
        _ => format!("{} to {}", first.business_day, last.business_day),
    };
    format!("Open items night by night, {span}: {}.", said.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(day: &str, open: i64, new: i64) -> TrendNight {
        TrendNight {
            business_day: day.to_owned(),
            open,
            new,
        }
    }

    #[test]
    fn bars_stand_on_their_days_and_never_leave_the_picture() {
        let nights = [
            night("2026-02-27", 4, 1),
            night("2026-02-28", 0, 0),
            night("2026-03-02", 1000, 1200),
            night("2026-03-03", 1, 0),
        ];
        let chart = chart(&nights);
        let drawn: Vec<(i64, i64, i64)> = chart
            .bars
            .iter()
            .map(|bar| (bar.x, bar.old_height, bar.new_height))
            .collect();
        assert_eq!(drawn, [(0, 0, 2), (10, 0, 0), (30, 0, 100), (40, 2, 0)]);
        assert_eq!((chart.width, chart.top), (50, 1000));
        assert_eq!(
            chart.alt,
            "Open items night by night, 2026-02-27 to 2026-03-03: 4 (1 new), 0, 1000 (1200 new), 1."
        );
    }

    #[test]
    fn nights_that_lie_years_apart_stand_side_by_side() {
        let far = chart(&[night("2020-01-01", 1, 1), night("2026-01-01", 2, 0)]);
        assert_eq!((far.bars[1].x, far.width), (10, 20));
        assert_eq!(chart(&[]).bars, []);
        assert_eq!(chart(&[night("2026-01-01", 0, 0)]).top, 0);
    }
}
