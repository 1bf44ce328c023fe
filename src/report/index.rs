//! The page of a business day: every job's verdict, counts, open items and coverage, on one page without scripts.
//!
//! Each job's part is frozen as data with its other files ([`part_name`]); the page is made of the frozen parts, so that
//! writing it again when another job has finished, or nights later, changes nothing that was said.

use std::path::{Path, PathBuf};

use minijinja::{Environment, context};

use super::view::View;
use super::{Produced, files, words};
use crate::day::BusinessDay;
use crate::failure::{Class, Failure};
use crate::store::{Store, files as store_files};

/// Name of a job's frozen part in the table `files`; no file of this name is written to disk.
pub fn part_name(business_day: &str, job: &str) -> String {
    format!("{business_day}_{job}_page.json")
}

/// The frozen part of a job's night.
///
/// # Errors
/// INTERNAL when the view cannot be written as JSON.
pub fn part(view: &View) -> Result<Produced, Failure> {
    let bytes = serde_json::to_vec(view)
        .map_err(|_| Failure::new(Class::Internal, "the page's data could not be written as JSON"))?;
    Ok(Produced {
        name: part_name(&view.business_day, &view.job),
        bytes,
    })
}

/// Writes `out/<business day>/index.html` from the frozen parts of every job that was reported for that day.
///
/// # Errors
/// LOCAL-IO for database and disk, INTERNAL when the template fails.
pub fn write_index(store: &Store, out: &Path, business_day: BusinessDay) -> Result<PathBuf, Failure> {
    let day = business_day.to_string();
    let html = render(&day, &parts(store, business_day)?, &failed(store, &day)?)?;
    files::put(out, &[&day], "index.html", html.as_bytes())
}

fn parts(store: &Store, business_day: BusinessDay) -> Result<Vec<serde_json::Value>, Failure> {
    let day = business_day.to_string();
    let jobs: Vec<String> = store.read(|conn| {
        let mut statement = conn.prepare("SELECT DISTINCT job FROM files WHERE business_day = ?1 ORDER BY job")?;
        let jobs = statement.query_map([&day], |row| row.get(0))?;
        Ok(jobs.collect::<Result<_, _>>()?)
    })?;
    let mut parts = Vec::new();
    for job in jobs {
        let wanted = part_name(&day, &job);
        for (name, bytes) in store_files::get_files(store, &job, business_day)? {
            if name == wanted {
                let part = serde_json::from_slice(&bytes).map_err(|_| {
                    Failure::new(
                        Class::LocalIo,
                        format!("the frozen page of {job} {day} is damaged; `reconciled verify` says more"),
                    )
                })?;
                parts.push(part);
            }
        }
    }
    Ok(parts)
}

/// Jobs whose last run for the day failed before it could be reported, and why.
fn failed(store: &Store, day: &str) -> Result<Vec<(String, String)>, Failure> {
    store.read(|conn| {
        // Bare columns beside max() come from the row of the maximum.
        let mut statement = conn.prepare(
            "SELECT job, verdict, message FROM (SELECT job, verdict, message, max(run_id) FROM runs
                                                 WHERE business_day = ?1 AND finished_at IS NOT NULL GROUP BY job)
              WHERE verdict IS NULL OR verdict = 'failed' ORDER BY job",
        )?;
        let rows = statement.query_map([day], |row| {
            let message: Option<String> = row.get(2)?;
            Ok((row.get(0)?, words::shown(&message.unwrap_or_default())))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// Renders the page. Names ending in `.html` are escaped by the template engine.
fn render(day: &str, parts: &[serde_json::Value], failed: &[(String, String)]) -> Result<String, Failure> {
    let shown = context! {
        business_day => day,
        jobs => minijinja::Value::from(minijinja::value::Serde(parts)),
        failed => minijinja::Value::from(minijinja::value::Serde(failed)),
    };
    let mut templates = Environment::new();
    templates
        .add_template("page.html", include_str!("page.html"))
        .and_then(|()| templates.get_template("page.html")?.render(shown))
        // Only the kind: a template error's long form shows values.
        .map_err(|error| {
            Failure::new(
                Class::Internal,
                format!("the page of {day} could not be made: {:?}", error.kind()),
            )
        })
}
