//! A returned file into the books: every good line takes effect, every other one is refused with its reason, all of it in
//! one transaction. The same decisions again have no effect, in whatever form they were saved.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::decide::{Decision, Effect, Present, Wish, apply, present};
use super::lines::{Line, is_id, lines};
use super::receipt::{Receipt, Told};
use super::sheet::tables;
use crate::config::Job;
use crate::day::{Instant, day_of, format_instant};
use crate::failure::Failure;
use crate::store::Store;
use crate::store::audit::{self, Act, Content, Head, Sealed, Seals};

/// Takes a returned file in. What cannot be used stands in the receipt; nothing of it is an error.
///
/// `jobs` give the zone in which a decision has its day; a job that is not among them counts in UTC.
///
/// # Errors
/// LOCAL-IO when the database cannot be written: then nothing was taken.
pub fn take_in(
    store: &Store,
    jobs: &[Job],
    name: &str,
    bytes: &[u8],
    by: &str,
    at: Instant,
) -> Result<Receipt, Failure> {
    let mut receipt = Receipt {
        name: name.to_owned(),
        sha256: hex::encode(Sha256::digest(bytes)),
        by: by.to_owned(),
        at,
        unreadable: None,
        applied: Vec::new(),
        unchanged: Vec::new(),
        refused: Vec::new(),
        undecided: Vec::new(),
        without: 0,
        remarks: Vec::new(),
        before: None,
        head: Head::default(),
    };
    let read = tables(bytes).and_then(|tables| Ok((lines(&tables)?, tables)));
    let (found, tables) = match read {
        Ok(read) => read,
        Err(why) => {
            receipt.unreadable = Some(why);
            return Ok(receipt);
        }
    };
    receipt.without = found.without;
    receipt.remarks = tables
        .iter()
        .filter_map(|table| table.remark)
        .map(str::to_owned)
        .collect();
    let zones: BTreeMap<&str, Tz> = jobs.iter().map(|job| (job.name.as_str(), job.timezone)).collect();
    store.write(|tx| {
        let mut taking = Taking {
            tx,
            zones: &zones,
            receipt: receipt.clone(),
            seals: Seals::default(),
            met: BTreeMap::new(),
        };
        taking.all(&found.lines)?;
        Ok(taking.receipt)
    })
}

struct Taking<'t> {
    tx: &'t Connection,
    zones: &'t BTreeMap<&'t str, Tz>,
    receipt: Receipt,
    seals: Seals,
    /// Lines of this file by id: the same one may stand on two sheets, but not with two decisions.
    met: BTreeMap<String, Line>,
}

impl Taking<'_> {
    fn all(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let content = digest(lines);
        let before = self.before(&content)?;
        let return_id = self.begin(&content)?;
        for line in lines {
            self.one(line, return_id, before.as_ref().map(|b| b.0.as_str()))?;
        }
        self.end(return_id, before.is_some())?;
        self.receipt.before = before.map(|(_, at, by)| (at, by));
        Ok(())
    }

    /// The same bytes or the same decisions, taken in before: their digest, when and from whom.
    fn before(&self, content: &str) -> Result<Option<(String, String, String)>, Failure> {
        let sql = "SELECT content_sha256, at, actor FROM returned_files WHERE content_sha256 = ?1 OR sha256 = ?2
                    ORDER BY return_id LIMIT 1";
        Ok(self
            .tx
            .query_row(sql, [content, &self.receipt.sha256], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?)
    }

    fn begin(&self, content: &str) -> Result<i64, Failure> {
        let receipt = &self.receipt;
        Ok(self
            .tx
            .prepare_cached(
                "INSERT INTO returned_files (name, sha256, content_sha256, actor, at, applied, unchanged, refused)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0)",
            )?
            .insert(params![
                receipt.name,
                receipt.sha256,
                content,
                receipt.by,
                format_instant(receipt.at)
            ])?)
    }

    fn one(&mut self, line: &Line, return_id: i64, before: Option<&str>) -> Result<(), Failure> {
        let told = |why: String| Told {
            sheet: line.sheet.clone(),
            row: line.row,
            id: line.id.clone(),
            decision: line.decision.clone(),
            owner: line.owner.clone(),
            note: line.note.clone(),
            why,
        };
        if line.decision.is_empty() {
            if !self.stands(line)? {
                self.receipt.undecided.push(told(String::new()));
            }
            return Ok(());
        }
        if let Some(content) = before
            && self.taken(line, content)?
        {
            self.receipt.unchanged.push(told(String::new()));
            return Ok(());
        }
        match self.judge(line, return_id)? {
            Ok(Effect::Applied) => self.receipt.applied.push(told(String::new())),
            Ok(Effect::Unchanged) => self.receipt.unchanged.push(told(String::new())),
            Err(why) => {
                self.refuse(line, return_id, &why)?;
                self.receipt.refused.push(told(why));
            }
        }
        Ok(())
    }

    /// Whether owner and note are only what the sheet was mailed with.
    fn stands(&self, line: &Line) -> Result<bool, Failure> {
        Ok(present(self.tx, &line.id)?
            .is_some_and(|now| now.standing.owner == line.owner && now.standing.note == line.note))
    }

    /// Whether this very decision took effect from a file of the same content.
    fn taken(&self, line: &Line, content: &str) -> Result<bool, Failure> {
        let sql = "SELECT 1 FROM decisions AS d JOIN returned_files AS r USING (return_id)
                    WHERE d.discrepancy_id = ?1 AND r.content_sha256 = ?2 AND d.owner IS ?3 AND d.note IS ?4 AND d.decision = ?5
                      -- once it has expired, the same words are a new decision
                      AND NOT EXISTS (SELECT 1 FROM discrepancy_events AS e
                                       WHERE e.discrepancy_id = d.discrepancy_id AND e.event = 'decision_expired'
                                         AND e.event_id > d.event_id)";
        let Ok(decision) = Decision::read(&line.decision) else {
            return Ok(false);
        };
        Ok(self
            .tx
            .prepare_cached(sql)?
            .exists(params![line.id, content, line.owner, line.note, decision.as_str()])?)
    }

    fn judge(&mut self, line: &Line, return_id: i64) -> Result<Result<Effect, String>, Failure> {
        if !is_id(&line.id) {
            return Ok(Err(bad_id(&line.id)));
        }
        let decision = match Decision::read(&line.decision) {
            Ok(decision) => decision,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(first) = self.met.get(&line.id) {
            let same = (&first.decision, &first.owner, &first.note) == (&line.decision, &line.owner, &line.note);
            return Ok(match same {
                true => Ok(Effect::Unchanged),
                false => Err(format!(
                    "{} decides otherwise about the same discrepancy; that one was taken, return the one you mean alone",
                    place(first)
                )),
            });
        }
        self.met.insert(line.id.clone(), line.clone());
        let Some(now) = present(self.tx, &line.id)? else {
            return Ok(Err(
                "no discrepancy bears this id; is the sheet from another database, or was the id changed?".to_owned(),
            ));
        };
        if let Some(why) = stale(line, &now) {
            return Ok(Err(why));
        }
        let zone = self.zones.get(now.job.as_str()).copied().unwrap_or(chrono_tz::UTC);
        let (name, by, at) = (self.receipt.name.clone(), self.receipt.by.clone(), self.receipt.at);
        let wish = Wish {
            decision,
            owner: line.owner.as_deref(),
            note: line.note.as_deref(),
            actor: &by,
            at,
            business_day: day_of(at, zone),
            source: &name,
            place: Some((line.row, return_id)),
        };
        apply(self.tx, &now, &wish, &mut self.seals)
    }

    /// What a person wrote is kept even where it cannot be used.
    fn refuse(&self, line: &Line, return_id: i64, why: &str) -> Result<(), Failure> {
        self.tx
            .prepare_cached(
                "INSERT INTO refused_decisions (return_id, position, sheet, source_row, discrepancy_id, decision, owner, note,
                                                reason)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                return_id,
                self.receipt.refused.len() as i64 + 1,
                line.sheet,
                line.row,
                line.id,
                line.decision,
                line.owner,
                line.note,
                why
            ])?;
        Ok(())
    }

    fn end(&mut self, return_id: i64, again: bool) -> Result<(), Failure> {
        let receipt = &self.receipt;
        let counts = [&receipt.applied, &receipt.unchanged, &receipt.refused].map(|told| told.len() as i64);
        if counts[0] == 0 && (counts[2] == 0 || again) {
            // Nothing happened: a file that came twice leaves no trace twice.
            for sql in [
                "DELETE FROM refused_decisions WHERE return_id = ?1",
                "DELETE FROM returned_files WHERE return_id = ?1",
            ] {
                self.tx.execute(sql, [return_id])?;
            }
        } else {
            self.tx.execute(
                "UPDATE returned_files SET applied = ?2, unchanged = ?3, refused = ?4 WHERE return_id = ?1",
                params![return_id, counts[0], counts[1], counts[2]],
            )?;
            self.seals.row(self.tx, Sealed::Returned, &return_id.to_string())?;
        }
        let entry = audit::Entry {
            at: receipt.at,
            actor: &receipt.by,
            act: Act::Decided,
            job: "",
            subject: &receipt.name,
        };
        self.receipt.head = audit::append(self.tx, &entry, &self.seals)?;
        Ok(())
    }
}

/// Why the values a person saw are not those of now; None: they are.
fn stale(line: &Line, now: &Present) -> Option<String> {
    match line.shown.stale(now) {
        Err(why) => Some(why),
        Ok(None) => None,
        Ok(Some(changed)) => Some(format!(
            "it changed since the sheet was made: {changed}; decide anew on the newest sheet"
        )),
    }
}

fn place(line: &Line) -> String {
    match line.sheet.as_str() {
        "" => format!("row {}", line.row),
        sheet => format!("row {} of sheet {sheet:?}", line.row),
    }
}

fn bad_id(id: &str) -> String {
    let number = id.bytes().all(|b| b.is_ascii_digit() || b"+-.,e".contains(&b));
    match id {
        "" => "the column discrepancy_id is empty; copy the id from the mailed sheet".to_owned(),
        _ if number => {
            "a spreadsheet took the id for a number and rounded it; return the .xlsx, or open the CSV with that column as text"
                .to_owned()
        }
        _ => "this is no id: 16 digits and letters from a to f; copy it from the mailed sheet".to_owned(),
    }
}

/// Digest of the decisions alone: the same ones saved by another program, in another order of rows, are the same.
fn digest(lines: &[Line]) -> String {
    let mut all: Vec<String> = lines
        .iter()
        .filter(|line| !line.decision.is_empty())
        .map(|line| {
            let mut content = Content::new();
            let shown = &line.shown;
            for text in [&line.id, &line.decision, &shown.kind, &shown.currency] {
                content.text(Some(text));
            }
            for amount in [&shown.ledger_amount, &shown.provider_amount, &shown.difference] {
                // A spreadsheet drops the zeros at the end.
                let bare = match amount.contains('.') {
                    true => amount.trim_end_matches('0').trim_end_matches('.'),
                    false => amount,
                };
                content.text(Some(bare));
            }
            content.text(line.owner.as_deref());
            content.text(line.note.as_deref());
            content.finish()
        })
        .collect();
    all.sort();
    all.dedup();
    hex::encode(Sha256::digest(all.concat()))
}
