//! Stores what a comparison found: discrepancies with their life, pending items, chosen pairs, the statement.
//!
//! Everything happens in the caller's one transaction. The same findings again change nothing.

use std::collections::HashSet;

use rusqlite::{Connection, Statement, ToSql};

use super::discrepancy::Discrepancy;
use super::identity;
use super::items::{Found, Pending};
use super::late::Late;
use super::life::{self, Event, Past, State, Tonight};
use super::merge::Open;
use super::rows::{day, word};
use super::sealing::{Line, Logged, Opened, Sealing, Words};
use super::{Case, Findings, telling};
use crate::config::JobSource;
use crate::day::{BusinessDay, format_instant};
use crate::failure::Failure;
use crate::record::Kind;
use crate::store::audit::{self, Sealed};
use crate::store::per_row::PerRow;
use crate::store::periods::closed_through;

/// Kinds that come from records against entries.
const ITEM_KINDS: [Kind; 15] = [
    Kind::MissingInLedger,
    Kind::MissingInProvider,
    Kind::AmountMismatch,
    Kind::CurrencyMismatch,
    Kind::DirectionMismatch,
    Kind::FeeMismatch,
    Kind::StatusMismatch,
    Kind::ReversedAfterBooking,
    Kind::DuplicateInProvider,
    Kind::DuplicateInLedger,
    Kind::Ambiguous,
    Kind::Suggested,
    Kind::StalePending,
    Kind::Vanished,
    Kind::NotCheckable,
];

/// Whether a kind is found by comparing records with entries.
pub fn is_item(kind: Kind) -> bool {
    ITEM_KINDS.contains(&kind) || kind == Kind::Unclassified
}

/// Writes all of it; the texts of the findings go with it, what is counted of them stays. `open`: further connections, which see
/// the books as they were before this transaction.
pub fn all(
    conn: &Connection,
    open: Option<&Open<'_>>,
    case: &Case<'_>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let mut writer = Writer::new(conn, case)?;
    if let Some(found) = &mut findings.items {
        let items = std::mem::take(&mut found.items);
        telling::each(conn, open, case, items, |found| writer.store(found))?;
        pending(conn, case, &found.pending)?;
        pairs(conn, case, found)?;
    }
    for fact in std::mem::take(&mut findings.facts) {
        writer.store(fact)?;
    }
    writer.gone(conn, findings)?;
    let closed = writer.closed;
    let seals = writer.seals.finish();
    if let Some(lines) = &findings.statement {
        super::late::statement(conn, case, lines, closed)?;
    }
    let entry = audit::Entry {
        at: case.as_of,
        actor: "run",
        act: audit::Act::Compared,
        job: &case.job.name,
        subject: &case.business_day.to_string(),
    };
    audit::append(conn, &entry, &seals)?;
    Ok(())
}

struct Writer<'c, 'a> {
    conn: &'c Connection,
    case: &'a Case<'a>,
    /// The last closed day.
    closed: Option<BusinessDay>,
    /// The books hold nothing of this job yet: no look needs to be taken at what they hold of a finding.
    first: bool,
    /// What tonight's writing changed, for the audit trail.
    seals: Sealing,
    /// Ids stored tonight.
    seen: HashSet<u64>,
    past: Statement<'c>,
    upsert: PerRow<'c>,
    event: PerRow<'c>,
    expire: Statement<'c>,
}

/// What the books hold of a discrepancy that tonight's values are compared with.
struct Known {
    past: Past,
    /// Kind and values.
    same: bool,
    /// last_seen_day, detail, evidence, suggested_match: tonight's row may be the same to the letter.
    letters: [Option<String>; 4],
    what_differs: String,
    /// A standing decision that binds its word to the values.
    decided: Option<String>,
    late: super::late::Known,
}

/// Another value is another question: a word about the old one does not answer it. Gives the note of the decision that expires.
fn no_longer_holds(known: &Known, found: &Discrepancy) -> Option<String> {
    let decision = known.decided.as_ref()?;
    Some(if known.same {
        format!("`{decision}` no longer holds: it was gone and came back")
    } else {
        format!(
            "`{decision}` no longer holds: it was about {} ({}), now it is {} ({})",
            known.past.kind, known.what_differs, found.kind, found.what_differs
        )
    })
}

impl<'c, 'a> Writer<'c, 'a> {
    fn new(conn: &'c Connection, case: &'a Case<'a>) -> Result<Self, Failure> {
        let past = conn.prepare(
            "SELECT kind, state, currency, provider_amount_minor, ledger_amount_minor, difference_minor, provider_status,
                    ledger_status, what_differs, last_seen_day, detail, evidence, suggested_match, business_day, closed_day,
                    decision
               FROM discrepancies WHERE discrepancy_id = ?1",
        )?;
        let event = PerRow::prepare(
            conn,
            "INSERT INTO discrepancy_events (discrepancy_id, at, business_day, event, actor, from_kind, to_kind, note)
             VALUES (?1, ?2, ?3, ?4, 'run', ?5, ?6, ?7)",
        )?;
        let expire = conn.prepare("UPDATE discrepancies SET decision = NULL, note = NULL WHERE discrepancy_id = ?1")?;
        let upsert = PerRow::prepare(conn, include_str!("upsert.sql"))?;
        let first = "SELECT NOT EXISTS (SELECT 1 FROM discrepancies WHERE job = ?1)";
        Ok(Self {
            conn,
            case,
            closed: closed_through(conn, &case.job.name)?,
            first: conn.query_row(first, [&case.job.name], |row| row.get(0))?,
            seals: Sealing::new(Words {
                job: case.job.name.clone(),
                at: format_instant(case.as_of),
                today: case.business_day.to_string(),
            }),
            seen: HashSet::new(),
            past,
            upsert,
            event,
            expire,
        })
    }

    /// Stores one finding of tonight.
    fn store(&mut self, mut found: Discrepancy) -> Result<(), Failure> {
        let id = self.number(&mut found);
        let hex = identity::hex(id);
        let known = match self.first {
            true => None,
            false => self.known(&hex, &found)?,
        };
        let same = known.as_ref().is_some_and(|k| k.same);
        let Some((state, event)) = life::next(known.as_ref().map(|k| k.past), Tonight::Found { same }) else {
            return Ok(());
        };
        let moves = matches!(event, Some(Event::Opened | Event::Changed | Event::Reopened));
        let before = known.as_ref().map(|k| &k.late);
        let late = Late::place(&mut found, before, moves, self.closed, self.case.business_day);
        if event.is_none() && known.as_ref().is_some_and(|k| self.is_written(k, &found)) {
            return Ok(());
        }
        let kind = found.kind;
        let expired = known
            .as_ref()
            .filter(|_| moves)
            .and_then(|known| no_longer_holds(known, &found));
        match &known {
            None => self.put_in(&hex, found, state, late.closed_day)?,
            Some(_) => self.rewrite(&hex, &found, state, late.closed_day)?,
        }
        let Some(event) = event else { return Ok(()) };
        self.log(&hex, event, known.map(|k| k.past.kind), Some(kind), None)?;
        if late.told.is_some() {
            self.log(&hex, Event::LateChange, None, None, late.told)?;
        }
        if expired.is_some() {
            self.expire.execute([&hex])?;
            self.log(&hex, Event::DecisionExpired, None, None, expired)?;
        }
        Ok(())
    }

    /// Tonight's row would be the same to the letter.
    fn is_written(&self, known: &Known, found: &Discrepancy) -> bool {
        let [last_seen, detail, evidence, suggested] = &known.letters;
        known.same
            && last_seen.as_deref() == Some(&self.seals.words().today)
            && detail.as_deref() == Some(&found.detail)
            && evidence.as_deref() == Some(&found.evidence)
            && *suggested == found.suggested_match
    }

    /// The discrepancy's number; two findings never share one, even if a provider lists one id twice.
    fn number(&mut self, found: &mut Discrepancy) -> u64 {
        let own = found.identity.clone();
        let mut copy = 0_u64;
        loop {
            let id = identity::number(&self.case.job.name, &found.identity);
            if self.seen.insert(id) {
                return id;
            }
            copy += 1;
            found.identity = format!("{own}~~{copy}");
        }
    }

    fn known(&mut self, hex: &str, found: &Discrepancy) -> Result<Option<Known>, Failure> {
        let mut rows = self.past.query([hex])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let past = Past {
            kind: word(row, 0, "discrepancies.kind")?,
            state: word(row, 1, "discrepancies.state")?,
        };
        let text = |column: usize| row.get::<_, Option<String>>(column);
        let same = past.kind == found.kind
            && text(2)?.as_deref() == found.currency.as_ref().map(|c| c.code())
            && row.get::<_, Option<i64>>(3)? == found.provider_amount
            && row.get::<_, Option<i64>>(4)? == found.ledger_amount
            && row.get::<_, Option<i64>>(5)? == found.difference
            && text(6)? == found.provider_status
            && text(7)? == found.ledger_status
            && text(8)?.as_ref() == Some(&found.what_differs);
        Ok(Some(Known {
            past,
            same,
            letters: [text(9)?, text(10)?, text(11)?, text(12)?],
            what_differs: text(8)?.unwrap_or_default(),
            decided: text(15)?,
            late: super::late::Known {
                day: day(row, 13, "discrepancies.business_day")?,
                closed_day: match text(14)? {
                    None => None,
                    Some(_) => Some(day(row, 14, "discrepancies.closed_day")?),
                },
            },
        }))
    }

    /// A discrepancy of which the books hold nothing yet. What was bound stands there now: it is sealed without being read back,
    /// which would cost more than writing it.
    fn put_in(
        &mut self,
        hex: &str,
        found: Discrepancy,
        state: State,
        closed_day: Option<BusinessDay>,
    ) -> Result<(), Failure> {
        self.write_row(hex, &found, state, closed_day)?;
        let row = Opened {
            hex: hex.to_owned(),
            found,
            closed_day,
        };
        debug_assert_eq!(
            audit::digest(self.conn, Sealed::Discrepancy, hex).ok().flatten(),
            Some(row.digest(self.seals.words())),
            "{:?}",
            row.found
        );
        self.seals.line(Line::Opened(Box::new(row)));
        Ok(())
    }

    /// A discrepancy that stands in the books. Most rows only grow older, which no seal is about.
    fn rewrite(
        &mut self,
        hex: &str,
        found: &Discrepancy,
        state: State,
        closed_day: Option<BusinessDay>,
    ) -> Result<(), Failure> {
        let before = audit::digest(self.conn, Sealed::Discrepancy, hex)?;
        self.write_row(hex, found, state, closed_day)?;
        let after = audit::digest(self.conn, Sealed::Discrepancy, hex)?;
        if before != after {
            self.seals
                .line(Line::Digested(Sealed::Discrepancy, hex.to_owned(), after));
        }
        Ok(())
    }

    fn write_row(
        &mut self,
        hex: &str,
        found: &Discrepancy,
        state: State,
        closed_day: Option<BusinessDay>,
    ) -> Result<(), Failure> {
        let today = &self.seals.words().today;
        let [occurred_at, booked_at] = [found.occurred_at, found.booked_at].map(|at| at.map(format_instant));
        let [business_day, closed_day] = [found.business_day, closed_day].map(|day| day.map(|d| d.to_string()));
        // In the order in which the parameters stand in the file: looking 26 names up costs more than writing the row.
        let values: [&dyn ToSql; 27] = [
            &hex,
            &self.case.job.name,
            &found.identity,
            &found.kind.as_str(),
            &state.as_str(),
            &found.provider,
            &found.account,
            &found.direction.map(|d| d.as_str()),
            &found.reference,
            &found.provider_id,
            &found.ledger_id,
            &found.currency.as_ref().map(|c| c.code()),
            &found.provider_amount,
            &found.ledger_amount,
            &found.difference,
            &found.provider_status,
            &found.ledger_status,
            &occurred_at,
            &booked_at,
            &business_day,
            today,
            &(state == State::Resolved).then_some(today),
            &found.what_differs,
            &found.detail,
            &found.evidence,
            &found.suggested_match,
            &closed_day,
        ];
        self.upsert.bound(&values)?.raw_execute()?;
        Ok(())
    }

    fn log(
        &mut self,
        hex: &str,
        event: Event,
        from: Option<Kind>,
        to: Option<Kind>,
        note: Option<String>,
    ) -> Result<(), Failure> {
        let Words { at, today, .. } = self.seals.words();
        let (from_word, to_word) = (from.map(Kind::as_str), to.map(Kind::as_str));
        let values: [&dyn ToSql; 7] = [&hex, at, today, &event.as_str(), &from_word, &to_word, &note];
        self.event.bound(&values)?.raw_execute()?;
        let row = Logged {
            event_id: self.conn.last_insert_rowid(),
            hex: hex.to_owned(),
            event,
            from,
            to,
            note,
        };
        debug_assert_eq!(
            audit::digest(self.conn, Sealed::Event, &row.event_id.to_string())
                .ok()
                .flatten(),
            Some(row.digest(self.seals.words()))
        );
        self.seals.line(Line::Logged(row));
        Ok(())
    }

    /// Open discrepancies that were not found tonight.
    fn gone(&mut self, conn: &Connection, findings: &Findings) -> Result<(), Failure> {
        // What stands in the books now was all found tonight.
        if self.first {
            return Ok(());
        }
        let mut open = conn.prepare(
            "SELECT discrepancy_id, kind, state, business_day FROM discrepancies
              WHERE job = ?1 AND state IN ('open', 'acknowledged') ORDER BY discrepancy_id",
        )?;
        let mut resolve =
            conn.prepare("UPDATE discrepancies SET state = 'resolved', resolved_day = ?2 WHERE discrepancy_id = ?1")?;
        let mut rows = open.query([&self.case.job.name])?;
        let mut missing: Vec<(String, Past, BusinessDay)> = Vec::new();
        while let Some(row) = rows.next()? {
            let hex: String = row.get(0)?;
            let past = Past {
                kind: word(row, 1, "discrepancies.kind")?,
                state: word(row, 2, "discrepancies.state")?,
            };
            if !self.seen.contains(&identity::from_hex(&hex)?) {
                missing.push((hex, past, day(row, 3, "discrepancies.business_day")?));
            }
        }
        for (hex, past, about) in missing {
            let tonight = findings.not_found(self.case, past.kind, identity::from_hex(&hex)?);
            if let Some((State::Resolved, Some(event))) = life::next(Some(past), tonight) {
                if matches!(past.kind, Kind::IncompleteWindow | Kind::LookupFailed) && self.never_was(conn, &hex)? {
                    continue;
                }
                resolve.execute((&hex, self.case.business_day.to_string()))?;
                let told = self.closed.filter(|closed| about <= *closed).map(|closed| {
                    format!(
                        "of {about}, closed through {closed}; cleared on {}",
                        self.case.business_day
                    )
                });
                self.log(&hex, event, Some(past.kind), None, told)?;
            }
        }
        Ok(())
    }
}

impl Writer<'_, '_> {
    /// Forgets a gap that this very night opened and nobody has touched: a night that was cut short and gone on with
    /// must end in the same books as one that was not.
    fn never_was(&mut self, conn: &Connection, hex: &str) -> Result<bool, Failure> {
        let as_of = format_instant(self.case.as_of);
        let tonight_only: bool = conn.query_row(
            "SELECT count(*) = sum(actor = 'run' AND at = ?2 AND event = 'opened') FROM discrepancy_events
              WHERE discrepancy_id = ?1",
            (hex, as_of),
            |row| row.get(0),
        )?;
        if tonight_only {
            let mut events = conn.prepare("SELECT event_id FROM discrepancy_events WHERE discrepancy_id = ?1")?;
            let mut events = events.query([hex])?;
            while let Some(row) = events.next()? {
                let event_id: i64 = row.get(0)?;
                self.seals
                    .line(Line::Digested(Sealed::Event, event_id.to_string(), None));
            }
            self.seals
                .line(Line::Digested(Sealed::Discrepancy, hex.to_owned(), None));
            conn.execute("DELETE FROM discrepancy_events WHERE discrepancy_id = ?1", [hex])?;
            conn.execute("DELETE FROM discrepancies WHERE discrepancy_id = ?1", [hex])?;
        }
        Ok(tonight_only)
    }
}

impl Findings {
    /// Whether something that was not found tonight is gone, or could not be seen.
    fn not_found(&self, case: &Case<'_>, kind: Kind, id: u64) -> Tonight {
        let unseen = match kind {
            kind if is_item(kind) => self.items.is_none() && !matches!(case.job.source, JobSource::Across(_)),
            Kind::BalanceResidual | Kind::SettlementMismatch => !case.reading_complete && !self.looked_at.contains(&id),
            Kind::MissingInBank => self.unseen.contains(&id),
            _ => false,
        };
        if unseen { Tonight::Unseen } else { Tonight::Gone }
    }
}

fn pending(conn: &Connection, case: &Case<'_>, pending: &[Pending]) -> Result<(), Failure> {
    conn.execute("DELETE FROM pending_items WHERE job = ?1", [&case.job.name])?;
    let mut insert = conn.prepare(
        "INSERT INTO pending_items (job, identity, transaction_id, entry_id, becomes_kind, becomes_day, currency, amount_minor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let mut seen: HashSet<String> = HashSet::new();
    for item in pending {
        let mut identity = item.identity.to_string();
        while !seen.insert(identity.clone()) {
            identity.push('~');
        }
        insert.execute((
            &case.job.name,
            identity,
            item.record,
            item.entry,
            item.becomes.as_str(),
            item.day.to_string(),
            item.currency.code(),
            item.amount,
        ))?;
    }
    Ok(())
}

fn pairs(conn: &Connection, case: &Case<'_>, found: &Found) -> Result<(), Failure> {
    conn.execute("DELETE FROM chosen_pairs WHERE job = ?1", [&case.job.name])?;
    let mut insert = conn.prepare(
        "INSERT INTO chosen_pairs (job, transaction_id, entry_id, difference_minor) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (record, entry, difference) in &found.pairs {
        insert.execute((&case.job.name, record, entry, difference))?;
    }
    Ok(())
}
