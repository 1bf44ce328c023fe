//! The page of a business day: every job's verdict, counts, open items and coverage, on one page without scripts.
//!
//! Each job's part is frozen as data with its other files ([`part_name`]); the page is made of the frozen parts, so that
//! writing it again when another job has finished, or nights later, changes nothing that was said.

use std::path::{Path, PathBuf};

use minijinja::{Environment, context};
use rusqlite::params;

use super::view::View;
use super::{Produced, files};
use crate::day::BusinessDay;
use crate::failure::{Class, Failure};
use crate::store::Store;

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
    let html = render(&day, &parts(store, &day)?)?;
    files::put(out, &[&day], "index.html", html.as_bytes())
}

fn parts(store: &Store, day: &str) -> Result<Vec<serde_json::Value>, Failure> {
    let damaged = |job: &str| {
        Failure::new(
            Class::LocalIo,
            format!("the frozen page of {job} {day} is damaged; `reconciled verify` says more"),
        )
    };
    store.read(|conn| {
        let mut statement =
            conn.prepare("SELECT job, name, bytes FROM files WHERE business_day = ?1 ORDER BY job, name")?;
        let mut rows = statement.query(params![day])?;
        let mut parts = Vec::new();
        while let Some(row) = rows.next()? {
            let (job, name): (String, String) = (row.get(0)?, row.get(1)?);
            if name != part_name(day, &job) {
                continue;
            }
            let frame = row.get_ref(2)?.as_blob().unwrap_or_default();
            let bytes = zstd::decode_all(frame).map_err(|_| damaged(&job))?;
            parts.push(serde_json::from_slice(&bytes).map_err(|_| damaged(&job))?);
        }
        Ok(parts)
    })
}

/// Renders the page. Names ending in `.html` are escaped by the template engine.
fn render(day: &str, parts: &[serde_json::Value]) -> Result<String, Failure> {
    let mut templates = Environment::new();
    templates
        .add_template("page.html", include_str!("page.html"))
        .and_then(|()| {
            templates.get_template("page.html")?.render(
                context! { business_day => day, jobs => minijinja::Value::from(minijinja::value::Serde(parts)) },
            )
        })
        // The engine names template and line; values of the context stay out of its short form.
        .map_err(|error| {
            Failure::new(
                Class::Internal,
                format!("the page of {day} could not be made: {:?}", error.kind()),
            )
        })
}
