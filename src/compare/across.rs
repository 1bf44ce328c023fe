//! One reference settled at two providers: jobs of the kind `[across]`.

use rusqlite::{Connection, named_params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::places::Places;
use super::rows::{Record, Rows};
use crate::failure::Failure;
use crate::money::format_minor;
use crate::record::Kind;

/// The oldest record is the payment; the others were paid again. The difference is what came twice.
pub fn find(conn: &Connection, case: &Case<'_>, jobs: &[String]) -> Result<Vec<Discrepancy>, Failure> {
    let jobs = serde_json::Value::from(jobs).to_string();
    let mut rows = Rows::new(conn)?;
    let mut places = Places::new(conn, case.job.timezone)?;
    let mut statement = conn.prepare(include_str!("across.sql"))?;
    let ids = statement.query_map(named_params! {":jobs": jobs}, |row| row.get::<_, i64>(0))?;
    let mut all = Vec::new();
    let mut group: Vec<Record> = Vec::new();
    for id in ids {
        let record = rows.record(id?)?;
        let same = group
            .first()
            .is_some_and(|f| (f.direction, &f.reference) == (record.direction, &record.reference));
        if !same {
            all.extend(twice(&group, &mut places)?);
            group.clear();
        }
        group.push(record);
    }
    all.extend(twice(&group, &mut places)?);
    Ok(all)
}

fn twice(group: &[Record], places: &mut Places<'_>) -> Result<Option<Discrepancy>, Failure> {
    let [first, again @ ..] = group else { return Ok(None) };
    let Some(second) = again.first() else { return Ok(None) };
    let reference = first.reference.as_deref().unwrap_or_default();
    let mut found = Discrepancy::new(
        Kind::CrossProviderDuplicate,
        format!("across|{}|{reference}", first.direction),
    )
    .with_record(second);
    let one_currency = again.iter().all(|r| r.currency == second.currency);
    let surplus = again
        .iter()
        .try_fold(0_i64, |sum, r| sum.checked_add(r.amount))
        .filter(|_| one_currency);
    found.provider_amount = surplus;
    found.difference = surplus;
    let told: Vec<String> = group
        .iter()
        .map(|r| {
            format!(
                "{} {} at {} (`{}`)",
                format_minor(r.amount, r.currency),
                r.currency,
                r.provider,
                r.provider_id
            )
        })
        .collect();
    let paid: Vec<String> = group
        .iter()
        .map(|r| format!("{} {} {}", r.provider, format_minor(r.amount, r.currency), r.currency))
        .collect();
    found.what_differs = format!("settled: once -> {}", paid.join(" + "));
    found.detail = format!("one reference was settled {} times: {}", group.len(), told.join(", "));
    let evidence: Vec<String> = group.iter().map(|r| places.of(r)).collect::<Result<_, _>>()?;
    found.evidence = evidence.join("; ");
    Ok(Some(found))
}
