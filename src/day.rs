//! Instants and business days. An instant is UTC; a business day is a calendar day in a job's own zone.
//!
//! Nothing here reads a clock: `now` is always an argument.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// A moment in UTC.
pub type Instant = DateTime<Utc>;

/// A calendar day in the zone of the job it belongs to.
pub type BusinessDay = NaiveDate;

/// The one text form of an instant, in the database and in files: `2026-03-04T15:22:09.000Z`. Sorts as time.
pub fn format_instant(at: Instant) -> String {
    let (date, time) = (at.date_naive(), at.time());
    // A leap second is kept as the second before with more than a second of fraction; years of other lengths have a sign.
    let plain = (0..=9999).contains(&date.year()) && time.nanosecond() < 1_000_000_000;
    if !plain {
        return at.to_rfc3339_opts(SecondsFormat::Millis, true);
    }
    let mut text = String::with_capacity(24);
    let mut put = |number: u32, width: u32, end: char| {
        for place in (0..width).rev() {
            // One decimal digit is always an ASCII digit.
            text.push(char::from_digit(number / 10_u32.pow(place) % 10, 10).unwrap_or('0'));
        }
        text.push(end);
    };
    put(date.year().unsigned_abs(), 4, '-');
    put(date.month(), 2, '-');
    put(date.day(), 2, 'T');
    put(time.hour(), 2, ':');
    put(time.minute(), 2, ':');
    put(time.second(), 2, '.');
    put(time.nanosecond() / 1_000_000, 3, 'Z');
    text
}

/// Reads an RFC 3339 instant with any offset; fractions finer than a millisecond are cut off.
pub fn parse_instant(text: &str) -> Option<Instant> {
    parse_plain(text.as_bytes()).or_else(|| by_the_rules(text))
}

/// Any instant of RFC 3339.
fn by_the_rules(text: &str) -> Option<Instant> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    // RFC 3339 knows leap seconds and year 0000; a book knows neither.
    let plausible = (1970..=9998).contains(&at.year()) && at.timestamp_subsec_millis() < 1000;
    plausible
        .then(|| DateTime::from_timestamp_millis(at.timestamp_millis()))
        .flatten()
}

/// The form nearly every provider writes, and this program itself: `2026-03-04T15:22:09Z`, with milliseconds or without.
/// None: to be read by the whole grammar. This runs for every row.
fn parse_plain(text: &[u8]) -> Option<Instant> {
    let number = |from: usize, until: usize| {
        text[from..until].iter().try_fold(0_u32, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'))
        })
    };
    let marks: &[(usize, u8)] = match text.len() {
        20 => &[(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')],
        24 => &[
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
            (23, b'Z'),
        ],
        _ => return None,
    };
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let millis = if text.len() == 24 { number(20, 23)? } else { 0 };
    let year = number(0, 4).filter(|year| (1970..=9998).contains(year))?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(5, 7)?, number(8, 10)?)?
        .and_hms_milli_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, millis)
        .map(|at| at.and_utc())
}

/// Business days of a zone as text, one after the other: rows of one page mostly fall on one day.
pub struct Days {
    zone: Tz,
    /// The day looked up last: the instants for which it holds, its text.
    last: Option<(std::ops::Range<Instant>, String)>,
}

impl Days {
    pub fn new(zone: Tz) -> Self {
        Self { zone, last: None }
    }

    /// The text of [`day_of`].
    pub fn of(&mut self, at: Instant) -> &str {
        if !self.last.as_ref().is_some_and(|(span, _)| span.contains(&at)) {
            self.last = None;
        }
        let zone = self.zone;
        let (_, text) = self.last.get_or_insert_with(|| {
            let day = day_of(at, zone);
            let span = start_of_day(day, zone)..start_of_day(next_day(day), zone);
            // Where the clocks are put back after midnight a day begins, ends and begins again: such a day holds for this
            // instant alone.
            let whole = span.end - span.start == TimeDelta::hours(24);
            (if whole { span } else { at..at }, day.to_string())
        });
        text
    }
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
    day.checked_add_days(chrono::Days::new(1)).unwrap_or(day)
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
            if let Some(at) = parse_plain(text.as_bytes()) {
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

    #[test]
    fn a_day_looked_up_beside_another_is_the_same_day() {
        // St. John's put its clocks back a minute after midnight: 2010-11-07 began twice.
        for zone in [
            chrono_tz::America::St_Johns,
            chrono_tz::Asia::Beirut,
            chrono_tz::Asia::Bangkok,
        ] {
            let mut days = Days::new(zone);
            let first = parse_instant("2010-11-05T00:00:00Z").unwrap();
            for minute in 0..6 * 24 * 60 {
                let at = first + TimeDelta::minutes(minute);
                assert_eq!(days.of(at), day_of(at, zone).to_string(), "{at} {zone}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_plain_form_is_read_and_written_as_the_whole_grammar_does(
            millis in -100_000_000_000_000_i64..300_000_000_000_000, short: bool, at in 0..24_usize, with in "[-:.TZ0-9 ]",
        ) {
            let instant = DateTime::from_timestamp_millis(millis).unwrap();
            let text = format_instant(instant);
            prop_assert_eq!(&text, &instant.to_rfc3339_opts(SecondsFormat::Millis, true));
            let mut text = if short { instant.to_rfc3339_opts(SecondsFormat::Secs, true) } else { text };
            // One character otherwise: mostly no instant any more.
            if at < text.len() && text.is_char_boundary(at) {
                text.replace_range(at..=at, &with);
            }
            let whole = DateTime::parse_from_rfc3339(&text).ok().map(|at| at.with_timezone(&Utc));
            let whole = whole.filter(|at| (1970..=9998).contains(&at.year()) && at.timestamp_subsec_millis() < 1000);
            prop_assert_eq!(parse_instant(&text), whole);
        }
    }
}
