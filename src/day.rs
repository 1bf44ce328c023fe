//! Instants and business days. An instant is UTC; a business day is a calendar day in a job's own zone.
//!
//! Nothing here reads a clock: `now` is always an argument.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// A moment in UTC.
pub type Instant = DateTime<Utc>;

/// A calendar day in the zone of the job it belongs to.
pub type BusinessDay = NaiveDate;

/// The one text form of an instant, in the database and in files: `2026-03-04T15:22:09.000Z`. Sorts as time.
pub fn format_instant(at: Instant) -> String {
    let (date, time) = (at.date_naive(), at.time());
    let year = u32::try_from(date.year()).ok().filter(|year| *year <= 9999);
    let Some(year) = year.filter(|_| time.nanosecond() < 1_000_000_000) else {
        return at.to_rfc3339_opts(SecondsFormat::Millis, true);
    };
    // Every stored row has some, and the library's way takes several times as long.
    let mut text = *FORM;
    for (end, width, mut value) in [
        (4, 4, year),
        (7, 2, date.month()),
        (10, 2, date.day()),
        (13, 2, time.hour()),
        (16, 2, time.minute()),
        (19, 2, time.second()),
        (23, 3, time.nanosecond() / 1_000_000),
    ] {
        for digit in text[end - width..end].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What [`format_instant`] writes, with the digits as noughts.
const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";

/// Reads what [`format_instant`] wrote; None for any other form, right or wrong.
fn parse_own(text: &str) -> Option<Instant> {
    let bytes: &[u8; FORM.len()] = text.as_bytes().try_into().ok()?;
    let shaped = bytes.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        sign => byte == sign,
    });
    let number = |from: usize, until: usize| {
        let digits = bytes[from..until].iter();
        digits.fold(0, |number: u32, digit| number * 10 + u32::from(digit - b'0'))
    };
    if !shaped {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(number(0, 4) as i32, number(5, 7), number(8, 10))?;
    let time = date.and_hms_milli_opt(number(11, 13), number(14, 16), number(17, 19), number(20, 23))?;
    Some(time.and_utc())
}

/// Reads an RFC 3339 instant with any offset; fractions finer than a millisecond are cut off.
pub fn parse_instant(text: &str) -> Option<Instant> {
    let at = match parse_own(text) {
        Some(at) => at,
        None => DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc),
    };
    // RFC 3339 knows leap seconds and year 0000; a book knows neither.
    let plausible = (1970..=9998).contains(&at.year()) && at.timestamp_subsec_millis() < 1000;
    plausible
        .then(|| DateTime::from_timestamp_millis(at.timestamp_millis()))
        .flatten()
}

/// The first instant of a day in a zone. Where a clock change swallows midnight, the first minute that exists;
/// where it repeats it, the earlier one. A day may last 23 or 25 hours.
pub fn start_of_day(day: BusinessDay, zone: Tz) -> Instant {
    let mut local: NaiveDateTime = day.and_time(chrono::NaiveTime::MIN);
    // No zone ever skipped more than a day (Samoa, 2011-12-30); 26 hours of minutes is the bound.
    for _ in 0..26 * 60 {
        if let Some(at) = zone.from_local_datetime(&local).earliest() {
            return at.with_timezone(&Utc);
        }
        local += TimeDelta::minutes(1);
    }
    Utc.from_utc_datetime(&day.and_time(chrono::NaiveTime::MIN))
}

/// The business day an instant falls on.
pub fn day_of(at: Instant, zone: Tz) -> BusinessDay {
    at.with_timezone(&zone).date_naive()
}

/// The last business day that is wholly over at `as_of`, given that nothing younger than `settle` may be asked for.
pub fn last_day_over(as_of: Instant, settle: TimeDelta, zone: Tz) -> BusinessDay {
    let today = day_of(as_of - settle, zone);
    today.pred_opt().unwrap_or(today)
}

/// The day after.
pub fn next_day(day: BusinessDay) -> BusinessDay {
    day.checked_add_days(Days::new(1)).unwrap_or(day)
}

/// Local wall time in a zone -> instant: a gap gives `None`, a repeated hour gives the earlier reading.
pub fn local_instant(local: NaiveDateTime, zone: Tz) -> Option<Instant> {
    zone.from_local_datetime(&local)
        .earliest()
        .map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_of_an_instant_is_the_one_of_the_library(
            seconds in -70_000_000_000_i64..260_000_000_000, nanos in 0..2_000_000_000_u32,
        ) {
            // Also leap seconds, and years of five digits.
            let leaps = nanos >= 1_000_000_000;
            let seconds = if leaps { seconds - seconds.rem_euclid(60) + 59 } else { seconds };
            let at = DateTime::from_timestamp(seconds, nanos).unwrap();
            prop_assert_eq!(format_instant(at), at.to_rfc3339_opts(SecondsFormat::Millis, true));
        }

        #[test]
        fn our_own_form_is_read_as_any_other_is(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}Z|.{24}",
        ) {
            if let Some(at) = parse_own(&text) {
                prop_assert_eq!(DateTime::parse_from_rfc3339(&text).unwrap().with_timezone(&Utc), at);
            } else if let Ok(other) = DateTime::parse_from_rfc3339(&text) {
                // What is left to the library: leap seconds.
                let leaps = text.get(17..).is_some_and(|rest| rest.starts_with("60"));
                prop_assert!(leaps || !text.ends_with('Z'), "{other}");
            }
        }
    }

    fn day(text: &str) -> BusinessDay {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_starts_at_its_own_zones_midnight_also_where_midnight_is_missing() {
        for (d, zone, expected) in [
            ("2026-03-04", chrono_tz::America::Lima, "2026-03-04T05:00:00.000Z"),
            ("2026-03-04", chrono_tz::Asia::Bangkok, "2026-03-03T17:00:00.000Z"),
            ("2026-03-29", chrono_tz::Europe::London, "2026-03-29T00:00:00.000Z"),
            ("2026-03-30", chrono_tz::Europe::London, "2026-03-29T23:00:00.000Z"),
            // Beirut springs forward at midnight: the day begins at 01:00.
            ("2026-03-29", chrono_tz::Asia::Beirut, "2026-03-28T22:00:00.000Z"),
        ] {
            assert_eq!(format_instant(start_of_day(day(d), zone)), expected, "{d} {zone}");
        }
    }

    #[test]
    fn a_day_is_over_only_after_the_settling_time() {
        let zone = chrono_tz::America::Lima;
        let settle = TimeDelta::minutes(10);
        let at = |t: &str| parse_instant(t).unwrap();
        assert_eq!(
            last_day_over(at("2026-03-05T05:09:59Z"), settle, zone),
            day("2026-03-03")
        );
        assert_eq!(
            last_day_over(at("2026-03-05T05:10:00Z"), settle, zone),
            day("2026-03-04")
        );
    }

    #[test]
    fn instants_have_one_text_form() {
        for (text, expected) in [
            ("2025-03-04T10:15:02Z", Some("2025-03-04T10:15:02.000Z")),
            ("2025-03-04T10:15:02.123456789Z", Some("2025-03-04T10:15:02.123Z")),
            ("2025-03-04T05:15:02-05:00", Some("2025-03-04T10:15:02.000Z")),
            ("2025-03-04T23:59:60Z", None),
            ("2025-03-04 10:15:02", None),
            ("0001-01-01T00:00:00Z", None),
            ("2025-02-29T00:00:00Z", None),
        ] {
            assert_eq!(parse_instant(text).map(format_instant).as_deref(), expected, "{text}");
        }
    }
}
