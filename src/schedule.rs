//! What is due, and when the next run is. Pure: the bell only wakes the program; this decides from the schedule and
//! from what was done.
//!
//! A schedule is a row of *slots*: wall-clock times of the job's zone. Each slot becomes exactly one instant, its
//! as-of:
//!
//! * a slot inside a gap (clocks go forward) is the end of the gap; several such slots are one;
//! * a slot inside an overlap (clocks go back) is the first of the two;
//! * the business day of a slot is reckoned on the wall clock, so that no day is left out or done twice on a night when
//!   the clock changes between midnight and the slot; the as-of is moved by the change where that needs it.
//!
//! Cron expressions are read here and nowhere else. Does not know the database: what was done last is an argument.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::config::{Job, JobSource};
use crate::day::{BusinessDay, Instant, last_day_over, start_of_day};

/// Missed business days named for one job at one time. The rest follows when these are done.
pub const MAX_DUE: usize = 400;

/// The six fields, with what may stand in them.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 or SUN-SAT"),
];

/// No zone moves its clock by more than this at once (Samoa, 2011-12-30, skipped a day).
const LARGEST_CLOCK_CHANGE: TimeDelta = TimeDelta::hours(26);

/// One run that must be made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub job: String,
    /// The slot: the as-of instant of the run.
    pub as_of: Instant,
    /// The business day this run closes: the last one over at `as_of`.
    pub business_day: BusinessDay,
}

/// Reads a six-field cron expression, seconds first.
///
/// # Errors
/// One sentence that names the field, to stand behind "`schedule` ".
pub fn parse(text: &str) -> Result<Cron, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields.len() {
        6 => {}
        5 => {
            let six = fields.join(" ");
            return Err(format!(
                "has five fields, but seconds come first here; write \"0 {six}\""
            ));
        }
        n => {
            return Err(format!(
                "must have six fields (second, minute, hour, day of month, month, day of week), not {n}"
            ));
        }
    }
    for (index, (field, (name, allowed))) in fields.iter().zip(FIELDS).enumerate() {
        let mut alone = ["0", "0", "0", "*", "*", "*"];
        if let Some(place) = alone.get_mut(index) {
            *place = field;
        }
        if read(&alone.join(" ")).is_err() {
            let number = index + 1;
            return Err(format!(
                "has {field:?} as field {number} ({name}), which takes {allowed}"
            ));
        }
    }
    let cron = read(&fields.join(" ")).map_err(|()| "is no cron expression".to_owned())?;
    // The 30th of February parses; it never comes. The clock is not asked: from any day the answer is the same.
    if cron.find_next_occurrence(&Utc.timestamp_nanos(0), true).is_err() {
        return Err("names a time that never comes".to_owned());
    }
    Ok(cron)
}

fn read(text: &str) -> Result<Cron, ()> {
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .build();
    parser.parse(text).map_err(|_| ())
}

/// The first slot after `after`; None when the schedule never comes again.
pub fn next_slot(job: &Job, after: Instant) -> Option<Instant> {
    Slots::of(job)?.after(after)
}

/// What must run now, oldest first: for each job every business day whose slot has come since its last run.
///
/// `last` holds the as-of of each job's last run that counts as done; a job that never ran (None, or no entry) is due
/// for the newest slot only. When several slots of one business day were missed, the newest counts. No day before
/// `[fetch] start` is due. Jobs that compare across others come after those of the same instant.
pub fn due(jobs: &[Job], last: &BTreeMap<String, Option<Instant>>, now: Instant) -> Vec<Due> {
    let mut due: Vec<(Due, bool)> = Vec::new();
    for job in jobs {
        let across = matches!(job.source, JobSource::Across(_));
        let done = last.get(&job.name).copied().flatten();
        due.extend(due_of(job, done, now).into_iter().map(|d| (d, across)));
    }
    due.sort_by(|(a, a_across), (b, b_across)| (a.as_of, a_across, &a.job).cmp(&(b.as_of, b_across, &b.job)));
    due.into_iter().map(|(due, _)| due).collect()
}

/// The oldest night of a job that should have been done `patience` ago and is not. A day that was done before its hour (a run
/// by hand) is not late, though it is done once more at its hour.
pub fn late(job: &Job, done: Option<Instant>, now: Instant, patience: TimeDelta) -> Option<Due> {
    let day_done = done.zip(Slots::of(job)).map(|(done, slots)| slots.day(done));
    due_of(job, done, now - patience)
        .into_iter()
        .find(|due| day_done.is_none_or(|day| day < due.business_day))
}

fn due_of(job: &Job, done: Option<Instant>, now: Instant) -> Vec<Due> {
    let Some(slots) = Slots::of(job) else {
        return Vec::new();
    };
    let due = |as_of: Instant| Due {
        job: job.name.clone(),
        as_of,
        business_day: slots.day(as_of),
    };
    let Some(done) = done else {
        let newest = slots.upto(now).map(due);
        return newest
            .into_iter()
            .filter(|d| d.business_day >= job.fetch.start)
            .collect();
    };
    // Nothing before the first wanted day: the search begins at the end of the day before it.
    let mut cursor = done.max(slots.span(job.fetch.start).0 - TimeDelta::seconds(1));
    let mut list = Vec::new();
    while list.len() < MAX_DUE {
        let Some(first) = slots.after(cursor).filter(|slot| *slot <= now) else {
            break;
        };
        let end = slots.span(slots.day(first)).1.min(now);
        cursor = slots.upto(end).unwrap_or(first).max(first);
        list.push(due(cursor));
    }
    list
}

/// The slots of one job as instants.
struct Slots {
    cron: Cron,
    zone: Tz,
    settle: TimeDelta,
}

impl Slots {
    fn of(job: &Job) -> Option<Self> {
        Some(Self {
            cron: parse(&job.schedule).ok()?,
            zone: job.timezone,
            settle: job.fetch.settle,
        })
    }

    /// The business day that a run as of `at` closes.
    fn day(&self, at: Instant) -> BusinessDay {
        last_day_over(at, self.settle, self.zone)
    }

    /// First and last whole second as of which `day` is the last one over.
    fn span(&self, day: BusinessDay) -> (Instant, Instant) {
        let midnight = |days| start_of_day(day.checked_add_days(Days::new(days)).unwrap_or(day), self.zone);
        (
            midnight(1) + self.settle,
            midnight(2) + self.settle - TimeDelta::seconds(1),
        )
    }

    /// The instant of a slot: never earlier for a later slot.
    fn instant(&self, wall: NaiveDateTime) -> Instant {
        let today = (wall - self.settle).date();
        let (first, last) = self.span(today.pred_opt().unwrap_or(today));
        // A day that a zone left out altogether has no span: then the day after it holds.
        resolve(wall, self.zone).min(last).max(first)
    }

    /// Where to look for slots near an instant: its wall clock, or a day around it when the clock changes there.
    fn near(&self, at: Instant, side: i32) -> NaiveDateTime {
        let offset = |at: Instant| at.with_timezone(&self.zone).offset().fix();
        let calm = offset(at - LARGEST_CLOCK_CHANGE) == offset(at + LARGEST_CLOCK_CHANGE);
        let wall = at.with_timezone(&self.zone).naive_local();
        let whole = chrono::SubsecRound::trunc_subsecs(wall, 0);
        if calm {
            whole
        } else {
            whole + LARGEST_CLOCK_CHANGE * side
        }
    }

    /// The first slot after an instant.
    fn after(&self, at: Instant) -> Option<Instant> {
        let mut wall = self.near(at, -1);
        // Two and a half days of seconds: the densest schedule around the largest clock change.
        for _ in 0..216_000 {
            wall = self.cron.find_next_occurrence(&wall.and_utc(), false).ok()?.naive_utc();
            let instant = self.instant(wall);
            if instant > at {
                return Some(instant);
            }
        }
        None
    }

    /// The last slot up to an instant, itself included.
    fn upto(&self, at: Instant) -> Option<Instant> {
        let mut wall = self.near(at, 1);
        let mut inclusive = true;
        for _ in 0..216_000 {
            wall = self
                .cron
                .find_previous_occurrence(&wall.and_utc(), inclusive)
                .ok()?
                .naive_utc();
            inclusive = false;
            let instant = self.instant(wall);
            if instant <= at {
                return Some(instant);
            }
        }
        None
    }
}

/// Wall clock -> instant: the first of two readings; the end of the gap where there is none.
fn resolve(wall: NaiveDateTime, zone: Tz) -> Instant {
    if let Some(at) = zone.from_local_datetime(&wall).earliest() {
        return at.with_timezone(&Utc);
    }
    // In a gap the offset of the day before maps the wall clock behind the gap's end by what it lies inside the gap.
    let before = zone.offset_from_utc_datetime(&(wall - LARGEST_CLOCK_CHANGE)).fix();
    let mut low = (wall - LARGEST_CLOCK_CHANGE).and_utc() - TimeDelta::seconds(i64::from(before.local_minus_utc()));
    let mut high = wall.and_utc() - TimeDelta::seconds(i64::from(before.local_minus_utc()));
    // The change lies in (low, high]: halving finds its second in 17 steps.
    while high - low > TimeDelta::seconds(1) {
        let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
        if zone.offset_from_utc_datetime(&middle.naive_utc()).fix() == before {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests;
