//! What the demo's database must hold: every planted difference on its night, and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write;

use comfy_table::{Table, presets};
use rusqlite::{Connection, OpenFlags, Row};

use super::places;
use crate::config::Settings;
use crate::failure::Failure;
use crate::record::Verdict;
use crate::run::JobOutcome;
use crate::sandbox::world::Residue;
use crate::sandbox::{Planted, plant};

/// One discrepancy of the database with the days of its life.
struct Found {
    job: String,
    /// The kinds it ever had, the present one among them.
    kinds: BTreeSet<String>,
    kind: String,
    /// Everything that may name what it is about.
    names: String,
    opened: Option<String>,
    /// None while it is open.
    resolved: Option<String>,
}

/// Compares plants and findings: the text for people, and everything that is missing or too much.
///
/// # Errors
/// A database that cannot be read.
pub(super) fn judge(
    settings: &Settings,
    planted: &[Planted],
    residues: &[Residue],
    nights: &[Vec<JobOutcome>],
) -> Result<(String, Vec<String>), Failure> {
    let database = open(settings)?;
    let found = found(&database)?;
    let mut wrong = Vec::new();
    let mut planned = vec![false; found.len()];
    let mut table = table(&["job", "kind", "planted", "nights", "found"]);
    for plant in planted {
        let mine: Vec<usize> = (0..found.len()).filter(|i| is_about(&found[*i], plant)).collect();
        mine.iter().for_each(|i| planned[*i] = true);
        let found: Vec<&Found> = mine.iter().map(|i| &found[*i]).collect();
        let answer = answer(plant, &found);
        if answer != "yes" {
            wrong.push(format!("{} {} ({}): {answer}", plant.job, plant.kind, plant.what));
        }
        table.add_row([plant.job, plant.kind.as_str(), plant.what, &nights_of(plant), &answer]);
    }
    for residue in residues {
        let answer = stated(&database, residue)?;
        if answer != "yes" {
            wrong.push(format!("{} statement ({}): {answer}", residue.job, residue.what));
        }
        let night = (residue.night + 1).to_string();
        table.add_row([residue.job, "(statement)", residue.what, &night, &answer]);
    }
    let mut text = format!("{table}\n");
    for extra in found
        .iter()
        .zip(&planned)
        .filter(|(_, planned)| !**planned)
        .map(|(found, _)| found)
    {
        let line = format!("unexpected: {} {}: {}", extra.job, extra.kind, extra.names);
        let _ = writeln!(text, "{line}");
        wrong.push(line);
    }
    wrong.extend(failed(nights));
    let _ = write!(text, "\n{}\n\n{}", verdicts(nights), summary(settings, planted, &wrong));
    Ok((text, wrong))
}

fn open(settings: &Settings) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(&settings.database, flags)?)
}

/// `yes` where the statement of that day leaves just that much unexplained; else what it leaves.
fn stated(database: &Connection, residue: &Residue) -> Result<String, Failure> {
    let day = plant::covered(residue.night).to_string();
    let mut statement = database.prepare(
        "SELECT amount_minor FROM statement_lines
          WHERE job = ?1 AND account = ?2 AND business_day = ?3 AND line = 'residual'",
    )?;
    let rows = statement.query_map((residue.job, residue.account, day), |row| row.get(0))?;
    let found: Vec<i64> = rows.collect::<Result<_, _>>()?;
    Ok(match found[..] {
        [amount] if amount == residue.amount => "yes".into(),
        _ => format!("the residuals are {found:?}, expected {}", residue.amount),
    })
}

fn found(database: &Connection) -> Result<Vec<Found>, Failure> {
    let mut statement = database.prepare(
        "SELECT d.job, d.kind, d.state,
                concat_ws(' ', d.reference, d.provider_id, d.ledger_id, d.identity, d.detail, d.suggested_match),
                (SELECT group_concat(e.to_kind) FROM discrepancy_events AS e
                  WHERE e.discrepancy_id = d.discrepancy_id AND e.to_kind IS NOT NULL),
                (SELECT min(e.business_day) FROM discrepancy_events AS e
                  WHERE e.discrepancy_id = d.discrepancy_id AND e.event = 'opened'),
                (SELECT max(e.business_day) FROM discrepancy_events AS e
                  WHERE e.discrepancy_id = d.discrepancy_id AND e.event = 'resolved')
           FROM discrepancies AS d
          ORDER BY d.job, d.kind, d.identity",
    )?;
    let rows = statement.query_map([], |row: &Row<'_>| {
        let kind: String = row.get(1)?;
        let state: String = row.get(2)?;
        let before: Option<String> = row.get(4)?;
        let mut kinds: BTreeSet<String> = before
            .iter()
            .flat_map(|all| all.split(','))
            .map(str::to_owned)
            .collect();
        kinds.insert(kind.clone());
        let resolved: Option<String> = row.get(6)?;
        Ok(Found {
            job: row.get(0)?,
            kinds,
            kind,
            names: row.get(3)?,
            opened: row.get(5)?,
            resolved: resolved.filter(|_| state == "resolved"),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn is_about(found: &Found, planted: &Planted) -> bool {
    found.job == planted.job
        && found.kinds.contains(planted.kind.as_str())
        && planted.hints.iter().all(|hint| found.names.contains(hint.as_str()))
}

/// `yes`, or what is wrong with what was found.
fn answer(planted: &Planted, found: &[&Found]) -> String {
    let day = |night: usize| plant::covered(night).to_string();
    let opens = Some(day(planted.opens_on_night));
    let resolves = planted.resolves_on_night.map(day);
    let shown = |day: &Option<String>| day.clone().unwrap_or_else(|| "never".into());
    for one in found {
        if one.opened != opens {
            return format!("opened {}, expected {}", shown(&one.opened), shown(&opens));
        }
        if one.resolved != resolves {
            return format!("resolved {}, expected {}", shown(&one.resolved), shown(&resolves));
        }
    }
    if found.is_empty() { "no".into() } else { "yes".into() }
}

fn nights_of(planted: &Planted) -> String {
    match planted.resolves_on_night {
        Some(last) => format!("{} to {}", planted.opens_on_night + 1, last + 1),
        None => format!("{} on", planted.opens_on_night + 1),
    }
}

/// Nights that ended as none of this demo's should: everything but the night on which cashouts could not be read.
fn failed(nights: &[Vec<JobOutcome>]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (night, outcomes) in nights.iter().enumerate() {
        for outcome in outcomes {
            let broken = !plant::faults(night).is_empty();
            let bad = match outcome.verdict {
                Verdict::Failed | Verdict::NotReconciled => true,
                Verdict::Incomplete => !broken,
                _ => outcome.class.is_some() && !broken,
            };
            if bad {
                let why = outcome.message.as_deref().unwrap_or("no reason given");
                wrong.push(format!(
                    "night {} {}: {} ({why})",
                    night + 1,
                    outcome.job,
                    outcome.verdict
                ));
            }
        }
    }
    wrong
}

fn verdicts(nights: &[Vec<JobOutcome>]) -> Table {
    let mut table = table(&[
        "night", "day", "job", "verdict", "matched", "pending", "new", "open", "resolved",
    ]);
    for (night, outcomes) in nights.iter().enumerate() {
        for o in outcomes {
            let number = |n: u64| n.to_string();
            table.add_row([
                (night + 1).to_string(),
                o.business_day.to_string(),
                o.job.clone(),
                o.verdict.to_string(),
                number(o.matched),
                number(o.pending),
                number(o.new + o.reopened),
                number(o.open),
                number(o.resolved),
            ]);
        }
    }
    table
}

fn summary(settings: &Settings, planted: &[Planted], wrong: &[String]) -> String {
    let kinds: BTreeSet<_> = planted.iter().map(|p| p.kind).collect();
    let mut text = match wrong.len() {
        0 => format!(
            "{} differences of {} kinds were planted; all were found, and nothing else.\n",
            planted.len(),
            kinds.len()
        ),
        n => format!(
            "{} differences were planted; {n} things are not as they should be.\n",
            planted.len()
        ),
    };
    for (what, path) in places(settings) {
        let _ = writeln!(text, "  {what}: {}", path.display());
    }
    text
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(header.iter().copied());
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    fn planted(resolves_on_night: Option<usize>) -> Planted {
        Planted {
            job: "tupay-pe",
            kind: Kind::AmountMismatch,
            hints: vec!["ORD-1".into()],
            opens_on_night: 0,
            resolves_on_night,
            what: "test",
        }
    }

    fn one(kinds: &[&str], opened: &str, resolved: Option<&str>) -> Found {
        Found {
            job: "tupay-pe".into(),
            kinds: kinds.iter().map(|k| (*k).to_owned()).collect(),
            kind: kinds[0].to_owned(),
            names: "in|ORD-1".into(),
            opened: Some(opened.into()),
            resolved: resolved.map(str::to_owned),
        }
    }

    #[test]
    fn a_plant_is_found_only_on_its_own_nights_and_under_its_own_kind() {
        let found = one(&["amount_mismatch"], "2026-03-01", None);
        assert!(is_about(&found, &planted(None)));
        assert_eq!(answer(&planted(None), &[&found]), "yes");
        assert_eq!(answer(&planted(None), &[]), "no");
        assert_eq!(
            answer(&planted(Some(2)), &[&found]),
            "resolved never, expected 2026-03-03"
        );
        let late = one(&["amount_mismatch"], "2026-03-02", None);
        assert_eq!(
            answer(&planted(None), &[&late]),
            "opened 2026-03-02, expected 2026-03-01"
        );
        assert!(!is_about(&one(&["fee_mismatch"], "2026-03-01", None), &planted(None)));
        assert!(is_about(
            &one(&["status_mismatch", "amount_mismatch"], "2026-03-01", None),
            &planted(None)
        ));
    }
}
