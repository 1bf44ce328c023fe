//! One reference settled at two providers: jobs of the kind `[across]`.

use rusqlite::{Connection, named_params};

use super::Case;
use super::discrepancy::Discrepancy;
use super::places::Places;
use super::rows::{Record, Rows};
use crate::failure::Failure;
use crate::money::format_minor;
use crate::record::Kind;

/// One of the records that bear the reference, and the job that read it: two accounts at one provider look alike.
struct Member {
    job: String,
    record: Record,
}

/// The oldest record is the payment; the others were paid again. The difference is what came twice.
pub fn find(conn: &Connection, case: &Case<'_>, jobs: &[String]) -> Result<Vec<Discrepancy>, Failure> {
    let jobs = serde_json::Value::from(jobs).to_string();
    let mut rows = Rows::new(conn)?;
    let mut places = Places::new(conn, case.job.timezone)?;
    let mut statement = conn.prepare(include_str!("across.sql"))?;
    let found = statement.query_map(named_params! {":jobs": jobs}, |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut all = Vec::new();
    let mut group: Vec<Member> = Vec::new();
    for member in found {
        let (id, job) = member?;
        let record = rows.record(id)?;
        let same = group.first().is_some_and(|first| {
            (first.record.direction, &first.record.reference) == (record.direction, &record.reference)
        });
        if !same {
            all.extend(twice(&group, &mut places)?);
            group.clear();
        }
        group.push(Member { job, record });
    }
    all.extend(twice(&group, &mut places)?);
    Ok(all)
}

fn twice(group: &[Member], places: &mut Places<'_>) -> Result<Option<Discrepancy>, Failure> {
    let [first, again @ ..] = group else { return Ok(None) };
    let Some(Member { record: second, .. }) = again.first() else {
        return Ok(None);
    };
    let first = &first.record;
    let reference = first.reference.as_deref().unwrap_or_default();
    let mut found = Discrepancy::new(
        Kind::CrossProviderDuplicate,
        format!("across|{}|{reference}", first.direction),
    )
    .with_record(second);
    let one_currency = again.iter().all(|m| m.record.currency == second.currency);
    let surplus = again
        .iter()
        .try_fold(0_i64, |sum, m| sum.checked_add(m.record.amount))
        .filter(|_| one_currency);
    found.provider_amount = surplus;
    found.difference = surplus;
    let told: Vec<String> = group
        .iter()
        .map(|Member { job, record: r }| {
            let amount = format_minor(r.amount, r.currency);
            format!(
                "{amount} {} at {} (`{}` of {job})",
                r.currency, r.provider, r.provider_id
            )
        })
        .collect();
    let paid: Vec<String> = group
        .iter()
        .map(|Member { record: r, .. }| format!("{} {} {}", r.provider, format_minor(r.amount, r.currency), r.currency))
        .collect();
    found.what_differs = format!("settled: once -> {}", paid.join(" + "));
    found.detail = format!("one reference was settled {} times: {}", group.len(), told.join(", "));
    let mut evidence = Vec::new();
    for Member { job, record } in group {
        evidence.push(format!("{job}: {}", places.of(record)?));
    }
    found.evidence = evidence.join("; ");
    Ok(Some(found))
}
