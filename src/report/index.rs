//! The page of a business day: every job's verdict, discrepancies with a filter, statements as pictures, open items over
//! time, coverage as a calendar. One file: nothing is loaded, and its policy says so to the browser.
//!
//! Each job's part is frozen as data with its other files ([`part_name`]); the page is made of the frozen parts, so that
//! writing it again when another job has finished, or nights later, changes nothing that was said.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use minijinja::{Environment, context};
use rusqlite::Connection;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::chart::{Chart, chart};
use super::facts::Facts;
use super::proof::{Statement, statements};
use super::reading::{FeedDays, calendar};
use super::view::{RowView, View, row};
use super::{Produced, files, words};
use crate::config::Locale;
use crate::day::BusinessDay;
use crate::failure::{Class, Failure};
use crate::store::{Store, files as store_files};

/// Discrepancies of one job on the page; the CSV has all of them.
const MOST_ITEMS: usize = 1000;

/// Name of a job's frozen part in the table `files`; no file of this name is written to disk.
pub fn part_name(business_day: &str, job: &str) -> String {
    format!("{business_day}_{job}_page.json")
}

/// A job's night as the page shows it. Field names are the template's variables.
#[derive(Serialize)]
struct Part<'v> {
    #[serde(flatten)]
    view: &'v View,
    items: Vec<ItemView>,
    /// Not shown here.
    items_more: i64,
    statements: Vec<Statement>,
    statements_more: usize,
    calendar: Vec<FeedDays>,
    chart: Chart,
}

#[derive(Serialize)]
struct ItemView {
    status: &'static str,
    #[serde(flatten)]
    row: RowView,
}

/// The frozen part of a job's night, read from the same snapshot as the facts.
///
/// # Errors
/// LOCAL-IO when the books cannot be read, INTERNAL when the part cannot be written as JSON.
pub fn part(conn: &Connection, facts: &Facts, view: &View, locale: Locale) -> Result<Produced, Failure> {
    let (job, day) = (&facts.night.job, facts.night.business_day);
    let items = items(facts, locale);
    let counts = facts.groups.values().map(|group| group.count).sum::<i64>();
    let (statements, statements_more) = statements(conn, job, &day.to_string(), locale)?;
    let part = Part {
        view,
        items_more: counts - i64::try_from(items.len()).unwrap_or(i64::MAX),
        items,
        statements,
        statements_more,
        calendar: calendar(conn, job, day, facts.night.zone)?,
        chart: chart(&facts.trend),
    };
    let bytes = serde_json::to_vec(&part)
        .map_err(|_| Failure::new(Class::Internal, "the page's data could not be written as JSON"))?;
    Ok(Produced {
        name: part_name(&view.business_day, &view.job),
        bytes,
    })
}

/// What is shown as a discrepancy's status, in the order of the list.
const STATUSES: [&str; 5] = ["new", "back again", "still open", "acknowledged", "resolved"];

/// What is new first, then by age, then what is accepted, then what is gone.
fn items(facts: &Facts, locale: Locale) -> Vec<ItemView> {
    let of = |from: &str, status: &'static str| {
        let items = facts.groups.get(from).into_iter().flat_map(|group| &group.items);
        let row = |item| ItemView {
            status,
            row: row(item, locale),
        };
        items.map(row).collect::<Vec<_>>()
    };
    let [new, back, open, acknowledged, resolved] = STATUSES;
    let mut older = of("persisting", open);
    older.sort_by_key(|item| -item.row.age_days);
    let mut items = of("new", new);
    items.extend(of("reopened", back));
    items.extend(older);
    items.extend(of("acknowledged", acknowledged));
    items.extend(of("resolved", resolved));
    items.truncate(MOST_ITEMS);
    items
}

/// Writes `out/<business day>/index.html` from the frozen parts of every job that was reported for that day.
///
/// # Errors
/// LOCAL-IO for database and disk, INTERNAL when the template fails.
pub fn write_index(store: &Store, out: &Path, business_day: BusinessDay) -> Result<PathBuf, Failure> {
    let day = business_day.to_string();
    let parts = parts(store, business_day)?;
    let items = minijinja::Value::from(minijinja::value::Serde(in_order(&parts)));
    let shown = context! {
        items,
        business_day => &day,
        weekday => business_day.format("%A").to_string(),
        jobs => minijinja::Value::from(minijinja::value::Serde(parts)),
        failed => minijinja::Value::from(minijinja::value::Serde(failed(store, &day)?)),
    };
    let html = page("page.html", include_str!("page.html"), shown)?;
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

/// Every job's discrepancies in one list: what is new first, then the oldest. Each names its job.
fn in_order(parts: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let mut items = Vec::new();
    for part in parts {
        for item in part["items"].as_array().into_iter().flatten() {
            let mut item = item.clone();
            item["job"] = part["job"].clone();
            items.push(item);
        }
    }
    // Stable: inside a job what is most urgent stays first.
    items.sort_by_key(|item| {
        let status = STATUSES.iter().position(|status| item["status"] == *status);
        let age = item["age_days"].as_i64().unwrap_or(0);
        (status, if status > Some(1) { -age } else { 0 })
    });
    items
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
            Ok((row.get(0)?, words::sentence(&words::told(&message.unwrap_or_default()))))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// A page from its template: one style and at most one script, both inside it, and a policy that lets nothing else run or
/// load. Names ending in `.html` are escaped by the template engine.
///
/// # Errors
/// INTERNAL when the template fails.
pub(super) fn page(name: &'static str, template: &'static str, shown: minijinja::Value) -> Result<String, Failure> {
    const STYLE: &str = include_str!("page.css");
    const SCRIPT: &str = include_str!("page.js");
    let digest = |text: &str| {
        let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
        format!("'sha256-{digest}'")
    };
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    let mut templates = Environment::new();
    templates.add_filter("capital", |text: &str| words::capital(text));
    templates
        .add_template(name, template)
        .and_then(|()| templates.add_template("parts.html", include_str!("parts.html")))
        .and_then(|()| {
            let framed = context! { policy, style => STYLE, script => SCRIPT, ..shown };
            templates.get_template(name)?.render(framed)
        })
        // Only the kind: a template error's long form shows values.
        .map_err(|error| Failure::new(Class::Internal, format!("{name} could not be made: {:?}", error.kind())))
}
