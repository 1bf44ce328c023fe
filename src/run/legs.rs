//! What an `[across]` job stands on: the last nights of its members. A job that was not read shows nothing,
//! and nothing looks like "all is well".

use super::reading::Reading;
use super::{House, JobOutcome};
use crate::day::BusinessDay;
use crate::failure::{Class, Failure};
use crate::store::runs::last_night;

/// Zones and schedules may leave a member one day behind, and nobody missed a night.
const BEHIND_DAYS: i64 = 1;

/// How a member stands tonight.
enum Leg {
    Whole,
    /// It was read on time, not to its end or not into books.
    InPart(String),
    /// What it holds is of another night, if of any.
    Missing(String),
}

impl House<'_> {
    /// Whether every member was read.
    pub(super) fn look_at_members(&self, jobs: &[String], outcome: &mut JobOutcome) -> Result<Reading, Failure> {
        let (mut whole, mut in_part, mut missing) = (0_usize, Vec::new(), Vec::new());
        for job in jobs {
            match self.leg(job, outcome)? {
                Leg::Whole => whole += 1,
                Leg::InPart(why) => in_part.push(why),
                Leg::Missing(why) => missing.push(why),
            }
        }
        if missing.is_empty() && in_part.is_empty() {
            return Ok(Reading::of(true));
        }
        // One alone has nothing to be compared with.
        let class = if whole + in_part.len() < 2 {
            Class::Data
        } else {
            Class::Partial
        };
        let lead = if class == Class::Data { "not reconciled: " } else { "" };
        missing.extend(in_part);
        outcome.fail(&Failure::new(
            class,
            format!(
                "{lead}{}: what was paid there is not known to the end; run it, then this job again",
                missing.join("; ")
            ),
        ));
        Ok(Reading::of(false))
    }

    fn leg(&self, job: &str, outcome: &JobOutcome) -> Result<Leg, Failure> {
        let Some(night) = last_night(self.store, job, outcome.as_of)? else {
            return Ok(Leg::Missing(format!("{job} was never read")));
        };
        let (day, verdict) = (night.business_day, night.verdict);
        if day < wanted(outcome.business_day) {
            return Ok(Leg::Missing(format!("{job} was last read for {day}")));
        }
        Ok(match night.read {
            true => Leg::Whole,
            false => Leg::InPart(format!("{job} ended {verdict} for {day}")),
        })
    }
}

fn wanted(day: BusinessDay) -> BusinessDay {
    day.checked_sub_signed(chrono::TimeDelta::days(BEHIND_DAYS))
        .unwrap_or(day)
}
