//! Instants and business days. An instant is UTC; a business day is a calendar day in a job's own zone.
//!
//! Nothing here reads a clock: `now` is always an argument.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A moment in UTC.
pub type Instant = DateTime<Utc>;

/// A calendar day in the zone of the job it belongs to.
pub type BusinessDay = NaiveDate;

/// The one text form of an instant, in the database and in files: `2026-03-04T15:22:09.000Z`. Sorts as time.
pub fn format_instant(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads an RFC 3339 instant with any offset; fractions finer than a millisecond are cut off.
pub fn parse_instant(text: &str) -> Option<Instant> {
    written(text).or_else(|| by_the_rules(text))
}

/// Any instant of RFC 3339.
fn by_the_rules(text: &str) -> Option<Instant> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    // RFC 3339 knows leap seconds and year 0000; a book knows neither.
    let plausible = (1970..=9998).contains(&chrono::Datelike::year(&at)) && at.timestamp_subsec_millis() < 1000;
    plausible
        .then(|| DateTime::from_timestamp_millis(at.timestamp_millis()))
        .flatten()
}

/// The quick way for the form of [`format_instant`], in which every instant of the books stands: a night reads thousands of
/// them. None: another form, or no instant at all.
fn written(text: &str) -> Option<Instant> {
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    if !text.iter().zip(FORM).all(fits) {
        return None;
    }
    let number = |from: usize, until: usize| text[from..until].iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'));
    let year = number(0, 4);
    let day = NaiveDate::from_ymd_opt(year as i32, number(5, 7), number(8, 10))?;
    let at = day.and_hms_milli_opt(number(11, 13), number(14, 16), number(17, 19), number(20, 23))?;
    (1970..=9998).contains(&year).then(|| at.and_utc())
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

    proptest! {
        #[test]
        fn an_instant_is_read_the_same_quickly_and_by_all_the_rules(
            year in 1965..=9999_u32, month in 0..14_u32, day in 0..33_u32, (hour, minute, second) in (0..26_u32, 0..62_u32, 0..62_u32),
            millis in 0..1000_u32, spoilt in prop::option::of((0..24_usize, "[0-9:TZz .+-]")),
        ) {
            let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
            if let Some((at, with)) = spoilt {
                text.replace_range(at..=at, &with);
            }
            if let Some(at) = written(&text) {
                prop_assert_eq!(Some(at), by_the_rules(&text), "{}", text);
                prop_assert_eq!(format_instant(at), text);
            } else if let Some(at) = by_the_rules(&text) {
                prop_assert_ne!(format_instant(at), text, "it has the one form and was not taken for it");
            }
        }
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
