//! `out/index.html`: all nights as a calendar with their verdicts, and every job's last nights side by side. Made of the
//! runs in the books alone; each day leads to its page, as long as there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use minijinja::context;
use serde::Serialize;

use super::calendar::{self, Month};
use super::{files, index, view, words};
use crate::day::BusinessDay;
use crate::failure::Failure;
use crate::record::Verdict;
use crate::store::Store;

/// Nights in each job's strip.
const STRIP: usize = 14;
/// Months that stand open; older ones are folded by year.
const MONTHS_OPEN: usize = 3;

/// How one job's last run for one day ended.
#[derive(Clone, Debug, Serialize)]
struct Night {
    job: String,
    verdict: &'static str,
    /// `good`, `open` or `bad`.
    tone: &'static str,
    new: i64,
    open: i64,
    resolved: i64,
    /// Whether the day still has its page: old ones are pruned.
    page: bool,
}

/// One day of the calendar.
#[derive(Clone, Debug)]
struct Day {
    day: String,
    number: u32,
    /// The worst of its jobs; `none` between the first and the last night, `out` before and after.
    tone: &'static str,
    /// What the day comes to: `3 new, 12 open`.
    said: String,
    new: i64,
    open: i64,
    jobs: usize,
    page: bool,
}

/// One job of the strips: its name and its last nights, None where no run is recorded.
#[derive(Clone, Debug, Serialize)]
struct Strip {
    job: String,
    last: Option<Night>,
    last_day: String,
    last_good: Option<String>,
    nights: Vec<(String, Option<Night>)>,
}

type Nights = BTreeMap<BusinessDay, Vec<Night>>;

/// Writes `out/index.html`.
///
/// # Errors
/// LOCAL-IO for database and disk, INTERNAL when the template fails.
pub fn write_nights(store: &Store, out: &Path) -> Result<PathBuf, Failure> {
    let mut nights = nights(store)?;
    for (day, jobs) in &mut nights {
        let page = out.join(day.to_string()).join("index.html").exists();
        jobs.iter_mut().for_each(|night| night.page = page);
    }
    let html = index::page("nights.html", include_str!("nights.html"), shown(&nights))?;
    files::put(out, &[], "index.html", html.as_bytes())
}

/// The last finished run of every job and day.
fn nights(store: &Store) -> Result<Nights, Failure> {
    store.read(|conn| {
        // Bare columns beside max() come from the row of the maximum.
        let mut statement = conn.prepare(
            "SELECT business_day, job, verdict, opened, open, resolved, max(run_id) FROM runs
              WHERE finished_at IS NOT NULL GROUP BY business_day, job ORDER BY business_day, job",
        )?;
        let mut rows = statement.query([])?;
        let mut nights = Nights::new();
        while let Some(row) = rows.next()? {
            let day: String = row.get(0)?;
            let Ok(day) = day.parse() else { continue };
            let verdict: Option<String> = row.get(2)?;
            let verdict = verdict.and_then(|word| word.parse().ok()).unwrap_or(Verdict::Failed);
            nights.entry(day).or_default().push(Night {
                job: row.get(1)?,
                verdict: words::verdict(verdict),
                tone: view::tone(verdict),
                new: row.get(3)?,
                open: row.get(4)?,
                resolved: row.get(5)?,
                page: false,
            });
        }
        Ok(nights)
    })
}

fn shown(nights: &Nights) -> minijinja::Value {
    let ends = nights.keys().next().copied().zip(nights.keys().next_back().copied());
    let months = ends.map_or_else(Vec::new, |(first, last)| {
        calendar::months(first, last, |day| cell(nights, day, first, last))
    });
    let count = |tone: &str| nights.values().filter(|jobs| worst(jobs) == tone).count();
    let grids = |months: &[Month<Day>]| {
        let mut html = String::new();
        months.iter().for_each(|month| grid(&mut html, month));
        minijinja::Value::from_safe_string(html)
    };
    let (shown, older) = months.split_at(MONTHS_OPEN.min(months.len()));
    let folded: Vec<minijinja::Value> = older
        .chunk_by(|a, b| a.year == b.year)
        .map(|year| minijinja::Value::from(vec![minijinja::Value::from(year[0].year), grids(year)]))
        .collect();
    let serde = |value| minijinja::Value::from(minijinja::value::Serde(value));
    context! {
        months => grids(shown),
        folded,
        strips => serde(serde_json::json!(strips(nights))),
        strip_days => serde(serde_json::json!(strip_days(nights))),
        first => ends.map(|(first, _)| first.to_string()),
        last => ends.map(|(_, last)| last.to_string()),
        nights => nights.len(),
        good => count("good"),
        open => count("open"),
        bad => count("bad"),
    }
}

/// The gravest tone of a day's jobs.
fn worst(jobs: &[Night]) -> &'static str {
    ["bad", "open", "good"]
        .into_iter()
        .find(|tone| jobs.iter().any(|night| night.tone == *tone))
        .unwrap_or("none")
}

fn cell(nights: &Nights, day: BusinessDay, first: BusinessDay, last: BusinessDay) -> Day {
    let jobs = nights.get(&day).map(Vec::as_slice).unwrap_or_default();
    let sum = |of: fn(&Night) -> i64| jobs.iter().map(of).sum::<i64>();
    let bad: Vec<String> = jobs
        .iter()
        .filter(|night| night.tone == "bad")
        .map(|night| format!("{} {}", night.job, night.verdict))
        .collect();
    let said = match (jobs.len(), bad.is_empty()) {
        (0, _) => "no run is recorded".to_owned(),
        (_, true) => format!("{} new, {} open", sum(|n| n.new), sum(|n| n.open)),
        (_, false) => format!("{}; {} new, {} open", bad.join(", "), sum(|n| n.new), sum(|n| n.open)),
    };
    Day {
        day: day.to_string(),
        number: chrono::Datelike::day(&day),
        tone: match jobs.is_empty() {
            true if (first..=last).contains(&day) => "none",
            true => "out",
            false => worst(jobs),
        },
        said,
        new: sum(|n| n.new),
        open: sum(|n| n.open),
        jobs: jobs.len(),
        page: jobs.iter().any(|night| night.page),
    }
}

/// One month as a table. Not by the template: after thirty years it would take longer over the days that are folded away than
/// the night over its work.
fn grid(html: &mut String, month: &Month<Day>) {
    let _ = write!(
        html,
        "\n<table class=\"month\"><caption><h3>{} {}</h3></caption>\n<thead><tr><th>Mo</th><th>Tu</th><th>We</th><th>Th</th>\
         <th>Fr</th><th>Sa</th><th>Su</th></tr></thead>\n<tbody>",
        month.name, month.year
    );
    for week in &month.weeks {
        html.push_str("\n<tr>");
        for day in week {
            html.push_str("<td>");
            if let Some(day) = day {
                place(html, day);
            }
            html.push_str("</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("\n</tbody></table>");
}

fn place(html: &mut String, day: &Day) {
    let Day {
        day: text,
        number,
        tone,
        new,
        open,
        ..
    } = day;
    let mark = match *tone {
        "good" => "✓",
        "open" => "≠",
        "bad" => "✕",
        "none" => "–",
        _ => "",
    };
    let _ = match (day.jobs, *tone) {
        (0, "none") => write!(
            html,
            "<span class=\"c-none\" title=\"{text}: no run is recorded\"><span class=\"mark\">{mark}</span>{number}</span>"
        ),
        (0, _) => write!(html, "<span class=\"c-{tone}\">{number}</span>"),
        _ => {
            let (tag, link) = match day.page {
                true => ("a", format!(" href=\"{text}/index.html\"")),
                false => ("span", String::new()),
            };
            let note = |count: &i64, what| match count {
                0 => String::new(),
                count => format!("<span class=\"note\">{count} {what}</span>"),
            };
            write!(
                html,
                "<{tag} class=\"c-{tone}\"{link} title=\"{text}: {}\"><span class=\"mark\">{mark}</span><span class=\"day\">{number}</span>{}{}</{tag}>",
                escaped(&day.said),
                note(new, "new"),
                note(open, "open")
            )
        }
    };
}

/// Text inside a page, as the templates escape it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            '/' => out.push_str("&#x2f;"),
            other => out.push(other),
        }
    }
    out
}

/// The last days up to the newest night, oldest first.
fn strip_days(nights: &Nights) -> Vec<String> {
    let (Some(first), Some(last)) = (nights.keys().next(), nights.keys().next_back()) else {
        return Vec::new();
    };
    let days = std::iter::successors(Some(*last), |day| day.pred_opt().filter(|day| day >= first));
    let mut days: Vec<String> = days.take(STRIP).map(|day| day.to_string()).collect();
    days.reverse();
    days
}

fn strips(nights: &Nights) -> Vec<Strip> {
    let jobs: BTreeSet<&str> = nights.values().flatten().map(|night| night.job.as_str()).collect();
    let days = strip_days(nights);
    jobs.into_iter()
        .map(|job| {
            let of = |jobs: &[Night]| jobs.iter().find(|night| night.job == job).cloned();
            let on = |day: &String| {
                day.parse()
                    .ok()
                    .and_then(|day| nights.get(&day))
                    .and_then(|jobs| of(jobs))
            };
            let mut newest = nights.iter().rev().filter_map(|(day, jobs)| Some((day, of(jobs)?)));
            let last = newest.next();
            let mut good = last
                .clone()
                .into_iter()
                .chain(newest)
                .filter(|(_, night)| night.tone != "bad");
            Strip {
                job: job.to_owned(),
                last_good: good.next().map(|(day, _)| day.to_string()),
                last_day: last.as_ref().map(|(day, _)| day.to_string()).unwrap_or_default(),
                last: last.map(|(_, night)| night),
                nights: days.iter().map(|day| (day.clone(), on(day))).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_is_escaped_as_the_templates_escape_it(text in "[a-z<>&\"'/ é\n]{0,20}") {
            let mut templates = minijinja::Environment::new();
            templates.add_template("page.html", "{{ text }}").unwrap();
            let page = templates.get_template("page.html").unwrap().render(minijinja::context! { text => &text }).unwrap();
            prop_assert_eq!(super::escaped(&text), page);
        }
    }
}
