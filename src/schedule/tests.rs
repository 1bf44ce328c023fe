//! The schedule through clock changes and restarts.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{Fetch, Locale, Match, Report};
use crate::day::{format_instant, next_day, parse_instant};

fn job(name: &str, schedule: &str, zone: Tz, settle_minutes: i64) -> Job {
    Job {
        name: name.to_owned(),
        file: PathBuf::from("jobs/x.toml"),
        schedule: schedule.to_owned(),
        timezone: zone,
        recipients: Vec::new(),
        recipient_locales: Default::default(),
        locale: Locale::default(),
        source: JobSource::Across(Vec::new()),
        fetch: Fetch {
            start: day("2020-01-01"),
            lookback: TimeDelta::days(7),
            settle: TimeDelta::minutes(settle_minutes),
            requests_per_minute: 1,
            max_in_flight: 1,
            request_timeout: Duration::from_secs(30),
            max_retry_wait: Duration::from_secs(900),
        },
        ledger: None,
        matching: Match {
            amount_tolerance: "0.00".to_owned(),
            grace_ledger: TimeDelta::hours(24),
            grace_provider: TimeDelta::hours(72),
            stale_pending_days: 14,
            suggest_days: 2,
        },
        report: Report {
            reports: Vec::new(),
            flood_limit: 200,
            reject_threshold: 0,
        },
        shape: String::new(),
    }
}

fn at(text: &str) -> Instant {
    parse_instant(text).unwrap()
}

fn day(text: &str) -> BusinessDay {
    text.parse().unwrap()
}

fn last(name: &str, done: Option<Instant>) -> BTreeMap<String, Option<Instant>> {
    BTreeMap::from([(name.to_owned(), done)])
}

/// Zones that change their clocks at different hours and by different amounts, and two that do not.
fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![
        chrono_tz::Europe::London,
        chrono_tz::America::Santiago,
        chrono_tz::Asia::Beirut,
        chrono_tz::Australia::Lord_Howe,
        chrono_tz::America::New_York,
        chrono_tz::Atlantic::Azores,
        chrono_tz::America::Lima,
        chrono_tz::Asia::Bangkok,
    ])
}

#[test]
fn a_wrong_expression_is_refused_with_the_number_of_the_field() {
    for (text, expected) in [
        (
            "30 2 * * *",
            "has five fields, but seconds come first here; write \"0 30 2 * * *\"",
        ),
        ("0 30 25 * * *", "has \"25\" as field 3 (hour), which takes 0-23"),
        ("60 30 2 * * *", "has \"60\" as field 1 (second), which takes 0-59"),
        ("0 x 2 * * *", "has \"x\" as field 2 (minute), which takes 0-59"),
        ("0 30 2 0 * *", "has \"0\" as field 4 (day of month), which takes 1-31"),
        (
            "0 30 2 * 13 *",
            "has \"13\" as field 5 (month), which takes 1-12 or JAN-DEC",
        ),
        (
            "0 30 2 * * MOX",
            "has \"MOX\" as field 6 (day of week), which takes 0-7 or SUN-SAT",
        ),
        (
            "@daily",
            "must have six fields (second, minute, hour, day of month, month, day of week), not 1",
        ),
        (
            "0 30 2 * * * 2026",
            "must have six fields (second, minute, hour, day of month, month, day of week), not 7",
        ),
        ("0 0 0 30 2 *", "names a time that never comes"),
        (
            "",
            "must have six fields (second, minute, hour, day of month, month, day of week), not 0",
        ),
    ] {
        assert_eq!(parse(text).err().as_deref(), Some(expected), "{text}");
    }
    for good in [
        "0 30 2 * * *",
        "*/5 * * * * *",
        "0 0 6 * * MON-FRI",
        "0 0 0 L * ?",
        "  0   30 2 * * *  ",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
}

#[test]
fn a_slot_in_a_gap_runs_at_the_end_of_the_gap_and_one_in_an_overlap_runs_once() {
    let london = chrono_tz::Europe::London;
    let nightly = job("a", "0 30 1 * * *", london, 10);
    let mut slot = at("2026-03-27T12:00:00Z");
    let mut seen = Vec::new();
    for _ in 0..3 {
        slot = next_slot(&nightly, slot).unwrap();
        seen.push(format_instant(slot));
    }
    // 01:30 does not exist on the 29th: the clock jumps from 01:00 GMT to 02:00 BST.
    assert_eq!(
        seen,
        [
            "2026-03-28T01:30:00.000Z",
            "2026-03-29T01:00:00.000Z",
            "2026-03-30T00:30:00.000Z"
        ]
    );
    let first = next_slot(&nightly, at("2026-10-24T12:00:00Z")).unwrap();
    assert_eq!(
        format_instant(first),
        "2026-10-25T00:30:00.000Z",
        "the first of the two"
    );
    assert_eq!(
        format_instant(next_slot(&nightly, first).unwrap()),
        "2026-10-26T01:30:00.000Z"
    );
}

#[test]
fn a_clock_change_between_midnight_and_the_slot_moves_no_business_day() {
    // Beirut jumps from 00:00 to 01:00 on 2026-03-29: ten minutes before 01:00 it was still the day before.
    let job = job("a", "0 30 0 * * *", chrono_tz::Asia::Beirut, 10);
    let mut done = at("2026-03-27T22:30:00Z");
    let mut days = Vec::new();
    for _ in 0..3 {
        let due = due(
            std::slice::from_ref(&job),
            &last("a", Some(done)),
            done + TimeDelta::hours(25),
        );
        days.extend(due.iter().map(|d| d.business_day));
        done = due.last().unwrap().as_of;
        assert_eq!(
            last_day_over(done, job.fetch.settle, job.timezone),
            *days.last().unwrap()
        );
    }
    assert_eq!(days, [day("2026-03-28"), day("2026-03-29"), day("2026-03-30")]);
}

#[test]
fn a_job_that_never_ran_is_due_for_its_newest_slot_only() {
    let nightly = job("a", "0 30 2 * * *", chrono_tz::America::Lima, 10);
    let now = at("2026-03-05T20:00:00Z");
    for last in [last("a", None), BTreeMap::new()] {
        let due = due(std::slice::from_ref(&nightly), &last, now);
        let expected = Due {
            job: "a".to_owned(),
            as_of: at("2026-03-05T07:30:00Z"),
            business_day: day("2026-03-04"),
        };
        assert_eq!(due, [expected]);
    }
    let mut young = nightly;
    young.fetch.start = day("2026-03-05");
    assert!(
        due(&[young], &BTreeMap::new(), now).is_empty(),
        "its first day is not over"
    );
}

#[test]
fn missed_business_days_come_oldest_first_and_several_slots_of_a_day_are_one() {
    let hourly = job("b", "0 0 * * * *", chrono_tz::UTC, 10);
    let nightly = job("a", "0 30 2 * * *", chrono_tz::UTC, 10);
    let done = Some(at("2026-03-01T02:30:00Z"));
    let last = BTreeMap::from([("a".to_owned(), done), ("b".to_owned(), done)]);
    let due = due(&[nightly, hourly], &last, at("2026-03-03T05:15:00Z"));
    let seen: Vec<(&str, String, String)> = due
        .iter()
        .map(|d| (d.job.as_str(), format_instant(d.as_of), d.business_day.to_string()))
        .collect();
    let row = |job, as_of: &str, day: &str| (job, as_of.to_owned(), day.to_owned());
    assert_eq!(
        seen,
        [
            row("b", "2026-03-02T00:00:00.000Z", "2026-02-28"),
            row("a", "2026-03-02T02:30:00.000Z", "2026-03-01"),
            row("b", "2026-03-03T00:00:00.000Z", "2026-03-01"),
            row("a", "2026-03-03T02:30:00.000Z", "2026-03-02"),
            row("b", "2026-03-03T05:00:00.000Z", "2026-03-02"),
        ]
    );
}

#[test]
fn a_long_absence_is_bounded_and_goes_on_where_it_stopped() {
    let nightly = job("a", "0 30 2 * * *", chrono_tz::Europe::London, 10);
    let now = at("2026-03-05T20:00:00Z");
    let first = due(
        std::slice::from_ref(&nightly),
        &last("a", Some(at("2024-01-01T12:00:00Z"))),
        now,
    );
    assert_eq!(first.len(), MAX_DUE);
    let done = first.last().unwrap();
    let second = due(&[nightly], &last("a", Some(done.as_of)), now);
    assert_eq!(second.first().unwrap().business_day, next_day(done.business_day));
    assert_eq!(second.last().unwrap().business_day, day("2026-03-04"));
}

#[test]
fn a_clock_that_went_back_makes_nothing_due() {
    let nightly = job("a", "0 30 2 * * *", chrono_tz::UTC, 10);
    let done = Some(at("2026-03-05T02:30:00Z"));
    assert!(due(&[nightly], &last("a", done), at("2026-03-02T12:00:00Z")).is_empty());
}

#[test]
fn a_dense_schedule_stays_quick_through_a_clock_change() {
    let dense = job("a", "*/5 * * * * *", chrono_tz::Europe::London, 10);
    let now = at("2026-03-29T01:00:02Z");
    assert_eq!(next_slot(&dense, now), Some(at("2026-03-29T01:00:05Z")));
    assert_eq!(
        due(&[dense], &last("a", Some(at("2026-03-28T00:00:00Z"))), now).len(),
        3
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The program is stopped and started again at any time; whatever is due is done at once.
    #[test]
    fn every_business_day_is_done_exactly_once_through_clock_changes_and_restarts(
        zone in zones(),
        hour in 0_u32..24, minute in 0_u32..60, settle in 0_i64..180,
        begin in 0_i64..730,
        naps in prop::collection::vec(1_i64..60 * 60, 40..120),
    ) {
        let nightly = job("a", &format!("0 {minute} {hour} * * *"), zone, settle);
        let begin = at("2025-01-01T00:00:00Z") + TimeDelta::days(begin);
        let mut done = next_slot(&nightly, begin);
        let mut expected = last_day_over(done.unwrap(), nightly.fetch.settle, zone);
        let mut now = begin;
        for nap in naps {
            now += TimeDelta::minutes(nap);
            let due = due(std::slice::from_ref(&nightly), &last("a", done), now);
            for run in &due {
                expected = next_day(expected);
                prop_assert_eq!(run.business_day, expected, "{:?} {}", run, nightly.schedule);
                prop_assert_eq!(last_day_over(run.as_of, nightly.fetch.settle, zone), expected);
                prop_assert!(run.as_of <= now && Some(run.as_of) > done);
                done = Some(run.as_of);
            }
            // Nothing is left: asked again, nothing is due, and the next slot is still to come.
            let again = super::due(std::slice::from_ref(&nightly), &last("a", done), now);
            prop_assert!(again.is_empty());
            prop_assert!(next_slot(&nightly, done.unwrap()).unwrap() > now);
        }
    }

    /// Whoever waits for the bell sees each slot once, in order, whatever the expression is.
    #[test]
    fn slots_follow_each_other_and_searching_back_finds_the_same_ones(
        zone in zones(),
        schedule in prop::sample::select(vec![
            "0 0 * * * *", "0 */20 * * * *", "0 15,45 0-3 * * *", "0 30 1 * * SUN", "0 0 0 1 * *", "30 59 23 * * *",
        ]),
        settle in 0_i64..120,
        begin in 0_i64..730 * 24,
    ) {
        let job = job("a", schedule, zone, settle);
        let slots = Slots::of(&job).unwrap();
        let mut slot = at("2025-01-01T00:00:00Z") + TimeDelta::hours(begin);
        for _ in 0..60 {
            let next = slots.after(slot).unwrap();
            prop_assert!(next > slot);
            prop_assert_eq!(slots.upto(next), Some(next));
            prop_assert_eq!(slots.after(next - TimeDelta::seconds(1)), Some(next));
            prop_assert!(slots.upto(next - TimeDelta::seconds(1)).is_none_or(|before| before <= slot));
            slot = next;
        }
    }

    #[test]
    fn any_text_is_a_schedule_or_a_sentence(text in "[0-9*/,LW#A-Z? -]{0,24}") {
        match parse(&text) {
            Ok(cron) => prop_assert!(cron.find_next_occurrence(&Utc.timestamp_nanos(0), true).is_ok()),
            Err(why) => prop_assert!(!why.contains('\n') && !why.is_empty()),
        }
    }
}

#[test]
fn a_day_that_was_done_by_hand_before_its_hour_is_not_late() {
    let job = job("j", "0 0 10 * * *", Tz::UTC, 0);
    let at = |text: &str| parse_instant(text).unwrap();
    let now = at("2026-03-05T20:00:00Z");
    let late = |done: &str| super::late(&job, Some(at(done)), now, TimeDelta::hours(3)).map(|due| due.business_day);
    assert_eq!(late("2026-03-05T09:00:00Z"), None);
    assert_eq!(late("2026-03-04T09:00:00Z"), Some(day("2026-03-04")));
    assert_eq!(late("2026-03-04T10:00:00Z"), Some(day("2026-03-04")));
}
