//! `status` and `discrepancies`: what stands in the books, for people and for monitoring.

use chrono::Utc;
use comfy_table::{ContentArrangement, Table, presets};
use reconciled::config::Job;
use reconciled::day::format_instant;
use reconciled::desk::Decision;
use reconciled::failure::{Class, Failure};
use reconciled::monitor::disk::bytes;
use reconciled::monitor::{self, Picture};
use reconciled::record::Kind;
use reconciled::store::Store;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ToSql};
use serde_json::{Map, Value, json};

use super::args::{Args, DiscrepancyCommand, Filter};
use super::{choose, database, desk, load, say, say_json};

/// Every column of the rows of a SELECT, as JSON.
fn rows(conn: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut statement = conn.prepare(sql)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut cursor = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = cursor.next()? {
        let mut object = Map::new();
        for (index, name) in names.iter().enumerate() {
            let value = match row.get_ref(index)? {
                ValueRef::Null | ValueRef::Blob(_) | ValueRef::Real(_) => Value::Null,
                ValueRef::Integer(number) => json!(number),
                ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
            };
            object.insert(name.clone(), value);
        }
        found.push(object);
    }
    Ok(found)
}

/// A value as a table cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // Control characters of foreign text must not steer a terminal.
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        other => other.to_string(),
    }
}

fn table(header: &[&str], lines: &[Map<String, Value>]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for line in lines {
        table.add_row(
            header
                .iter()
                .map(|name| cell(line.get(*name).unwrap_or(&Value::Null)))
                .collect::<Vec<_>>(),
        );
    }
    format!("{table}\n")
}

/// `reconciled status [--json] [--exit-code]`.
pub fn status(args: &Args, as_json: bool, exit_code: bool) -> Result<u8, Failure> {
    let (settings, jobs) = load(args)?;
    let store = if settings.database.exists() {
        Some(Store::open_read_only(&settings.database)?)
    } else {
        None
    };
    let picture = monitor::look(store.as_ref(), &settings, &jobs, Utc::now())?;
    let mut lines = Vec::new();
    for (job, state) in jobs.iter().zip(&picture.jobs) {
        let mut line = match &store {
            Some(store) => store.read(|conn| last_run(conn, job))?,
            None => Map::new(),
        };
        line.insert("job".into(), json!(job.name));
        line.insert("next_run_at".into(), json!(state.next_run_at.map(format_instant)));
        line.insert("late".into(), json!(state.late.is_some()));
        let due = state.late.as_ref();
        line.insert("late_day".into(), json!(due.map(|due| due.business_day.to_string())));
        line.insert("due_at".into(), json!(due.map(|due| format_instant(due.as_of))));
        line.insert("unsealed_windows".into(), json!(state.unsealed));
        let oldest = state.oldest_unsealed.map(format_instant);
        line.insert("oldest_unsealed_at".into(), json!(oldest));
        lines.push(line);
    }
    let troubles = troubles(&picture);
    if as_json {
        say_json(&json!({
            "schema": 1, "ok": troubles.is_empty(), "troubles": troubles, "jobs": lines,
            "outbox": {
                "pending": picture.outbox.pending, "failed": picture.outbox.failed,
                "oldest_pending_at": picture.outbox.oldest_pending.map(format_instant),
            },
            "disk": {
                "database_bytes": picture.disk.database_bytes, "log_bytes": picture.disk.log_bytes,
                "free_bytes": picture.disk.free_bytes, "needed_bytes": picture.disk.needed_bytes,
                "nights_left": picture.disk.nights_left(),
            },
        }));
    } else {
        let header = [
            "job",
            "verdict",
            "business_day",
            "last_complete_day",
            "closed_through",
            "open",
            "new",
            "finished_at",
            "next_run_at",
        ];
        say(&table(&header, &lines));
        for line in lines
            .iter()
            .filter(|line| line.get("message").is_some_and(Value::is_string))
        {
            say(&format!("{}\n", cell(&line["message"])));
        }
        let (outbox, disk) = (&picture.outbox, &picture.disk);
        say(&format!(
            "outbox: {} waiting, {} given up; database {}, {} free\n",
            outbox.pending,
            outbox.failed,
            bytes(disk.database_bytes),
            disk.free_bytes.map_or("unknown".to_owned(), bytes),
        ));
        troubles.iter().for_each(|trouble| say(&format!("{trouble}\n")));
    }
    Ok(u8::from(exit_code && !troubles.is_empty()))
}

/// What a person has to look at: one sentence each, empty when all is well. Open discrepancies are the accountants' work
/// and no trouble of the house.
fn troubles(picture: &Picture) -> Vec<String> {
    let mut troubles = Vec::new();
    for state in &picture.jobs {
        if let Some(due) = &state.late {
            let at = format_instant(due.as_of);
            troubles.push(format!(
                "{}: the night for {} was due at {at} and is late",
                state.job, due.business_day
            ));
        }
        if let Some(last) = state.last.as_ref().filter(|last| last.exit_code != 0) {
            troubles.push(format!(
                "{}: the last run ended with exit code {}",
                state.job, last.exit_code
            ));
        }
    }
    if picture.outbox.failed > 0 {
        troubles.push(format!(
            "{} mails were given up; `mails` in the database says why",
            picture.outbox.failed
        ));
    }
    if !picture.disk.suffices() {
        troubles.push(format!(
            "the disk has no room for the next night ({} needed)",
            bytes(picture.disk.needed_bytes)
        ));
    }
    troubles
}

/// The newest run of a job with its last complete business day: the newest day of a run that ended with exit code 0.
fn last_run(conn: &Connection, job: &Job) -> Result<Map<String, Value>, Failure> {
    let found = rows(
        conn,
        "SELECT r.*, r.opened - r.reopened AS new,
                (SELECT max(business_day) FROM runs WHERE job = r.job AND exit_code = 0 AND finished_at IS NOT NULL)
                  AS last_complete_day,
                (SELECT max(through_day) FROM period_closes WHERE job = r.job) AS closed_through
           FROM runs AS r WHERE job = ?1 ORDER BY run_id DESC LIMIT 1",
        &[&job.name],
    )?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// `reconciled discrepancies …`.
pub fn discrepancies(args: &Args, what: Option<&DiscrepancyCommand>, filter: &Filter) -> Result<u8, Failure> {
    match what {
        None => list(args, filter),
        Some(DiscrepancyCommand::List { filter: own }) => list(args, &own.clone().or(filter)),
        Some(DiscrepancyCommand::Show { id }) => show(args, id, filter.json),
        Some(DiscrepancyCommand::Ack { id, note, by }) => {
            desk::decide_one(args, id, Decision::Accept, Some(note), by.as_deref())
        }
        Some(DiscrepancyCommand::Reopen { id, note, by }) => {
            desk::decide_one(args, id, Decision::Reopen, note.as_deref(), by.as_deref())
        }
    }
}

impl Filter {
    fn or(mut self, outer: &Filter) -> Filter {
        self.job = self.job.or_else(|| outer.job.clone());
        self.kind = self.kind.or_else(|| outer.kind.clone());
        self.state = self.state.or_else(|| outer.state.clone());
        self.json |= outer.json;
        self
    }
}

fn list(args: &Args, filter: &Filter) -> Result<u8, Failure> {
    let known = ["open", "acknowledged", "resolved", "all"];
    if let Some(state) = filter.state.as_deref().filter(|state| !known.contains(state)) {
        let near = reconciled::config::section::nearest(state, known);
        return Err(Failure::new(
            Class::Usage,
            format!("there is no state {state:?}{near}; it is one of {}", known.join(", ")),
        ));
    }
    if let Some(kind) = filter.kind.as_deref().filter(|kind| kind.parse::<Kind>().is_err()) {
        let near = reconciled::config::section::nearest(kind, Kind::ALL.iter().map(|kind| kind.as_str()));
        return Err(Failure::new(Class::Usage, format!("there is no kind {kind:?}{near}")));
    }
    let (_, path) = database(args)?;
    let store = Store::open_read_only(&path)?;
    if let Some(job) = &filter.job {
        known_job(args, &store, job)?;
    }
    let found = store.read(|conn| {
        rows(
            conn,
            "SELECT * FROM discrepancies
              WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR kind = ?2)
                AND CASE WHEN ?3 IS NULL THEN state <> 'resolved' WHEN ?3 = 'all' THEN 1 ELSE state = ?3 END
              ORDER BY job, kind, abs(coalesce(difference_minor, 0)) DESC, discrepancy_id",
            &[&filter.job, &filter.kind, &filter.state],
        )
    })?;
    if filter.json {
        say_json(&json!({ "schema": 1, "discrepancies": found }));
    } else {
        let header = [
            "discrepancy_id",
            "job",
            "kind",
            "state",
            "reference",
            "currency",
            "difference",
            "age_days",
            "what_differs",
        ];
        say(&table(&header, &found));
    }
    Ok(0)
}

/// A job of the settings, or one that was removed from them and still stands in the books.
fn known_job(args: &Args, store: &Store, job: &str) -> Result<(), Failure> {
    let in_books: bool = store.read(|conn| {
        Ok(conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM discrepancies WHERE job = ?1)",
            [job],
            |row| row.get(0),
        )?)
    })?;
    if in_books {
        return Ok(());
    }
    let (_, jobs) = load(args)?;
    choose(jobs, &[job.to_owned()]).map(drop)
}

fn show(args: &Args, id: &str, as_json: bool) -> Result<u8, Failure> {
    let (_, path) = database(args)?;
    let store = Store::open_read_only(&path)?;
    let (found, events) = store.read(|conn| {
        let found = rows(conn, "SELECT * FROM discrepancies WHERE discrepancy_id = ?1", &[&id])?;
        let events = rows(
            conn,
            "SELECT at, business_day, event, actor, from_kind, to_kind, note FROM discrepancy_events
              WHERE discrepancy_id = ?1 ORDER BY event_id",
            &[&id],
        )?;
        Ok((found, events))
    })?;
    let Some(found) = found.into_iter().next() else {
        return Err(Failure::new(
            Class::Usage,
            format!("there is no discrepancy {id:?}; `reconciled discrepancies` lists them"),
        ));
    };
    if as_json {
        say_json(&json!({ "schema": 1, "discrepancy": found, "events": events }));
        return Ok(0);
    }
    for (name, value) in found.iter().filter(|(_, value)| !value.is_null()) {
        say(&format!("{name:22} {}\n", cell(value)));
    }
    say(&table(
        &["at", "business_day", "event", "actor", "from_kind", "to_kind", "note"],
        &events,
    ));
    Ok(0)
}
