//! Records against entries: the merge, entries that name a record elsewhere, the rich rules, and the books of the comparison
//! itself: every row in exactly one place.
//!
//! What is kept per finding is small; the text of a discrepancy is written from the rows again when it is stored.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::TimeDelta;
use rusqlite::{Connection, OptionalExtension};

use super::Case;
use super::discrepancy::{self, Discrepancy};
use super::grace::Timing;
use super::group::{Piece, Rules};
use super::identity::{self, Suffix};
use super::keys::{self, Keys};
use super::merge::{self, Merged, Open, Setup, Sums};
use super::pair::Tolerance;
use super::places::Places;
use super::rows::{Entry, Record};
use super::scope::Scope;
use super::solve::{Solved, Solver};
use super::units::Units;
use crate::config::{Job, JobSource};
use crate::day::BusinessDay;
use crate::failure::{Class, Failure};
use crate::money::Currency;
use crate::record::{Direction, Kind, TransactionKind};

/// Something a person must look at, by the ids of its rows.
#[derive(Debug)]
pub struct Item {
    /// [`identity::number`]: stored in its order, rows go into the indexes one beside the other instead of anywhere.
    pub number: u64,
    pub suffix: Suffix,
    pub kind: Kind,
    pub difference: Option<i64>,
    pub record: Option<i64>,
    pub entry: Option<i64>,
    /// All rows, where there are more than one of a side.
    pub several: Option<Box<(Vec<i64>, Vec<i64>)>>,
    /// For rows that are missing on the other side: what a partner would have to look like.
    pub spot: Option<Spot>,
    /// The finding in full, kept while there are few; a flood is written from its rows again ([`super::telling`]).
    pub told: Option<Box<Discrepancy>>,
}

/// Findings kept in full: a kilobyte each.
const KEPT: usize = 20_000;

impl Item {
    pub fn records(&self) -> usize {
        self.several
            .as_ref()
            .map_or(usize::from(self.record.is_some()), |s| s.0.len())
    }

    pub fn entries(&self) -> usize {
        self.several
            .as_ref()
            .map_or(usize::from(self.entry.is_some()), |s| s.1.len())
    }
}

/// A timing difference.
#[derive(Debug)]
pub struct Pending {
    pub identity: Box<str>,
    pub record: Option<i64>,
    pub entry: Option<i64>,
    pub becomes: Kind,
    pub day: BusinessDay,
    pub currency: Currency,
    /// The provider's amount where there is a record.
    pub amount: i64,
    pub spot: Option<Spot>,
}

/// Direction, currency, amount and day of a row without a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub direction: Direction,
    pub currency: Currency,
    pub amount: i64,
    pub day: BusinessDay,
}

/// What the comparison of both sides found.
#[derive(Default)]
pub struct Found {
    pub items: Vec<Item>,
    pub pending: Vec<Pending>,
    /// Record, entry, provider − ledger.
    pub pairs: Vec<(i64, i64, i64)>,
    /// Plain pairs and chosen ones.
    pub matched: Sums,
    pub excluded: Sums,
    /// Kept for the assertion.
    pub(super) records: u64,
    entries: u64,
    placed_records: u64,
    placed_entries: u64,
}

/// Compares all records of a job with all its entries.
pub fn find(conn: &Connection, open: Option<&Open<'_>>, case: &Case<'_>, ledger: bool) -> Result<Found, Failure> {
    let job = &case.job.name;
    let setup = Arc::new(Setup {
        job: job.clone(),
        ledger,
        ids: ledger && merge::carries(conn, job, merge::IDS)?,
        fees: ledger && merge::carries(conn, job, merge::FEES)?,
        vanished: merge::carries(conn, job, merge::VANISHED)?,
        accounts: accounts(conn, job)?,
    });
    let mut merged = merge::by_reference(conn, open, &setup)?;
    let matching = &case.job.matching;
    let lag = lag(case.job);
    let rules = Rules {
        timing: Timing::new(matching, lag, case.as_of, case.job.timezone),
        tolerance: Tolerance::new(&matching.amount_tolerance),
        scope: Scope::read(conn, case.job, case.business_day, matching.grace_provider.max(lag))?,
        business_day: case.business_day,
        ledger,
        accounts: &setup.accounts,
    };
    let claims = Claims::resolve(conn, &setup, rules.scope.keys(), &mut merged)?;
    let rich = std::mem::take(&mut merged.rich);
    let mut work = Work {
        job,
        rules: &rules,
        places: Places::new(conn, case.job.timezone)?,
        open: open_for_want_of_proof(conn, job)?,
        units: Units::new(merged.equal_not_zero),
        found: Found::starting_from(merged),
    };
    let solver = Solver {
        job,
        claims: &claims,
        rules: &rules,
    };
    solver.each(conn, open, &rich, |group| work.group(group))?;
    let Work { mut found, units, .. } = work;
    units.check(job)?;
    super::gone::fold(conn, job, &setup.accounts, &mut found)?;
    super::suggest::pair_up(&mut found, matching.suggest_days);
    found.assert_every_row_is_in_one_place(job)?;
    found.items.sort_by_key(|item| item.number);
    Ok(found)
}

impl Found {
    fn starting_from(merged: Merged) -> Self {
        let plain: u64 = merged.matched.values().map(|s| s.0).sum();
        let no_money: u64 = merged.no_money.values().map(|s| s.0).sum();
        let mut excluded = merged.excluded;
        for (currency, (count, sum)) in merged.no_money {
            let slot = excluded.entry(currency).or_default();
            slot.0 += count;
            slot.1 += sum;
        }
        Self {
            matched: merged.matched,
            excluded,
            records: merged.records,
            entries: merged.entries,
            placed_records: plain + no_money + merged.uncompared,
            placed_entries: plain,
            ..Self::default()
        }
    }

    /// Every record and every entry in exactly one bucket, or nothing leaves the house.
    fn assert_every_row_is_in_one_place(&self, job: &str) -> Result<(), Failure> {
        let count = |of_item: fn(&Item) -> usize, of_pending: fn(&Pending) -> bool| -> u64 {
            let items: usize = self.items.iter().map(of_item).sum();
            (items + self.pending.iter().filter(|p| of_pending(p)).count()) as u64
        };
        let records = self.placed_records + count(Item::records, |p| p.record.is_some());
        let entries = self.placed_entries + count(Item::entries, |p| p.entry.is_some());
        if (records, entries) == (self.records, self.entries) {
            return Ok(());
        }
        Err(Failure::new(
            Class::Internal,
            format!(
                "{job}: compare: {} records and {} entries were read, {records} and {entries} accounted for; \
                 nothing was written or mailed, please report this",
                self.records, self.entries
            ),
        ))
    }
}

/// Everything the rich rules need while they go from group to group.
struct Work<'a, 'c> {
    job: &'a str,
    rules: &'a Rules<'a>,
    places: Places<'c>,
    /// Open discrepancies that a window which cannot be seen now does not close.
    open: HashSet<u64>,
    units: Units,
    found: Found,
}

impl Work<'_, '_> {
    fn group(&mut self, group: Solved) -> Result<(), Failure> {
        let Solved {
            records,
            entries,
            pieces,
        } = group;
        let mut texts: HashMap<String, u16> = HashMap::new();
        for piece in pieces {
            let identity = self.place(piece, &records, &entries, &mut texts);
            if let Some(identity) = identity.filter(|_| self.found.items.len() <= KEPT) {
                self.tell(identity, &records, &entries)?;
            }
        }
        Ok(())
    }

    /// Writes the last item out while its rows are at hand.
    fn tell(&mut self, identity: String, records: &[Record], entries: &[Entry]) -> Result<(), Failure> {
        let Some(item) = self.found.items.last_mut().filter(|item| item.several.is_none()) else {
            return Ok(());
        };
        let record = records.iter().find(|r| Some(r.id) == item.record);
        let place = record.map(|record| self.places.of(record)).transpose()?;
        let rows = discrepancy::Rows {
            records: record.into_iter().zip(place.as_deref()).collect(),
            entries: entries.iter().filter(|e| Some(e.id) == item.entry).take(1).collect(),
        };
        let (keys, zone) = (self.rules.scope.keys(), self.rules.timing.zone);
        item.told = Some(Box::new(discrepancy::of_item(item, identity, &rows, keys, zone)));
        Ok(())
    }

    /// Puts a piece into its place; gives the identity of an item that it is.
    fn place(
        &mut self,
        piece: Piece,
        records: &[Record],
        entries: &[Entry],
        texts: &mut HashMap<String, u16>,
    ) -> Option<String> {
        let found = &mut self.found;
        match piece {
            Piece::Matched {
                record,
                entry,
                difference,
            } => {
                let (record, entry) = (&records[record], &entries[entry]);
                self.units.pair(record, entry);
                add(&mut found.matched, record.currency, record.amount);
                found.pairs.push((record.id, entry.id, difference));
                found.placed_records += u64::from(record.kind != TransactionKind::Fee);
                found.placed_entries += 1;
            }
            Piece::InSum {
                records: rs,
                entries: es,
                difference,
            } => {
                // One stands alone on its side, beside each of the others.
                for n in 0..rs.len().max(es.len()) {
                    let (Some(&r), Some(&e)) = (rs.get(n).or(rs.first()), es.get(n).or(es.first())) else {
                        continue;
                    };
                    let (record, entry) = (&records[r], &entries[e]);
                    self.units.pair(record, entry);
                    add(
                        &mut found.matched,
                        record.currency,
                        if n < rs.len() { record.amount } else { 0 },
                    );
                    found
                        .pairs
                        .push((record.id, entry.id, if n == 0 { difference } else { 0 }));
                }
                found.placed_records += rs.len() as u64;
                found.placed_entries += es.len() as u64;
            }
            Piece::Uncompared { .. } => found.placed_records += 1,
            Piece::NoMoney { record, entry } => {
                if let Some(record) = record.map(|r| &records[r]) {
                    add(&mut found.excluded, record.currency, record.amount);
                    found.placed_records += 1;
                }
                if let Some(entry) = entry.map(|e| &entries[e]) {
                    add(&mut found.excluded, entry.currency, entry.amount);
                    found.placed_entries += 1;
                }
            }
            Piece::Pending {
                record,
                entry,
                becomes,
                day,
                unproved,
            } => {
                let (record, entry) = (record.map(|r| &records[r]), entry.map(|e| &entries[e]));
                if let (Some(record), Some(entry)) = (record, entry) {
                    self.units.pair(record, entry);
                }
                let (suffix, identity) = self.suffix(becomes, record, entry, texts, records);
                let id = identity::number(self.job, &identity);
                if unproved && self.open.contains(&id) {
                    let difference = entry.and_then(|e| e.amount.checked_neg());
                    self.item(becomes, (suffix, id), difference, record, entry);
                    return Some(identity);
                }
                let (currency, amount) = record
                    .map(|r| (r.currency, r.amount))
                    .or(entry.map(|e| (e.currency, e.amount)))?;
                // A fee record needs no place of its own.
                let is_fee = record.is_some_and(|r| r.kind == TransactionKind::Fee);
                self.found.pending.push(Pending {
                    identity: identity.into(),
                    record: record.filter(|_| !is_fee).map(|r| r.id),
                    entry: entry.map(|e| e.id),
                    becomes,
                    day,
                    currency,
                    amount,
                    spot: self.spot(becomes, record, entry),
                });
            }
            Piece::Differs {
                kind,
                records: rs,
                entries: es,
                difference,
            } => {
                let record = rs.first().map(|&r| &records[r]);
                let entry = es.first().map(|&e| &entries[e]);
                if let (Some(record), Some(entry), 1, 1) = (record, entry, rs.len(), es.len()) {
                    self.units.pair(record, entry);
                }
                let (suffix, identity) = self.suffix(kind, record, entry, texts, records);
                let id = identity::number(self.job, &identity);
                self.item(kind, (suffix, id), difference, record, entry);
                let fees = rs.iter().filter(|&&r| records[r].kind == TransactionKind::Fee).count() as u64;
                // Fee records are not among those that must have a place.
                self.found.records += fees;
                if rs.len() > 1 || es.len() > 1 {
                    let ids = (
                        rs.iter().map(|&r| records[r].id).collect(),
                        es.iter().map(|&e| entries[e].id).collect(),
                    );
                    if let Some(item) = self.found.items.last_mut() {
                        item.several = Some(Box::new(ids));
                    }
                }
                return Some(identity);
            }
        }
        None
    }

    /// The first finding of a reference bears its name; the others say which row they mean. With the identity that follows.
    fn suffix(
        &self,
        kind: Kind,
        record: Option<&Record>,
        entry: Option<&Entry>,
        texts: &mut HashMap<String, u16>,
        group: &[Record],
    ) -> (Suffix, String) {
        let foreign = match (record, entry, group.first()) {
            (None, Some(entry), Some(own)) => {
                Some(&entry.reference) != own.reference.as_ref() || entry.direction != own.direction
            }
            _ => false,
        };
        let mut choice = match kind {
            _ if foreign => Suffix::entry(),
            Kind::DuplicateInProvider => Suffix::record(),
            Kind::DuplicateInLedger => Suffix::entry(),
            _ => Suffix::default(),
        };
        let mut text = identity::text(record, entry, choice);
        if choice.is_plain() && texts.contains_key(&text) {
            choice = if record.is_some() {
                Suffix::record()
            } else {
                Suffix::entry()
            };
            text = identity::text(record, entry, choice);
        }
        match texts.get_mut(&text) {
            None => {
                texts.insert(text.clone(), 1);
            }
            Some(seen) => {
                choice.ordinal = *seen;
                *seen = seen.saturating_add(1);
                text = identity::text(record, entry, choice);
            }
        }
        (choice, text)
    }

    fn item(
        &mut self,
        kind: Kind,
        (suffix, number): (Suffix, u64),
        difference: Option<i64>,
        record: Option<&Record>,
        entry: Option<&Entry>,
    ) {
        let spot = self.spot(kind, record, entry);
        let (record, entry) = (record.map(|r| r.id), entry.map(|e| e.id));
        self.found.items.push(Item {
            number,
            suffix,
            kind,
            difference,
            record,
            entry,
            several: None,
            spot,
            told: None,
        });
    }

    fn spot(&self, kind: Kind, record: Option<&Record>, entry: Option<&Entry>) -> Option<Spot> {
        match (kind, record, entry) {
            (Kind::MissingInLedger, Some(r), None) => Some(Spot {
                direction: r.direction,
                currency: r.currency,
                amount: r.amount,
                day: r.business_day,
            }),
            // An entry that names a record by id belongs to that one, and to no other of its amount.
            (Kind::MissingInProvider, None, Some(e)) if e.provider_id.is_none() => Some(Spot {
                direction: e.direction,
                currency: e.currency,
                amount: e.amount,
                day: crate::day::day_of(e.booked_at?, self.rules.timing.zone),
            }),
            _ => None,
        }
    }
}

/// One more of that amount.
pub(super) fn add(sums: &mut Sums, currency: Currency, amount: i64) {
    let mut code = [0; 3];
    code.copy_from_slice(currency.code().as_bytes());
    let slot = sums.entry(code).or_default();
    slot.0 += 1;
    slot.1 += i128::from(amount);
}

/// Entries that name a record which stands under another reference, or under none.
#[derive(Default)]
pub(super) struct Claims {
    by_entry: HashSet<i64>,
    by_record: HashMap<i64, Vec<i64>>,
}

impl Claims {
    pub fn on_record(&self, record: i64) -> &[i64] {
        self.by_record.get(&record).map_or(&[], Vec::as_slice)
    }

    pub fn is_claimant(&self, entry: i64) -> bool {
        self.by_entry.contains(&entry)
    }

    /// Looks the strays up by id; a group that was passed over and is claimed from elsewhere goes to the rich rules, too.
    fn resolve(conn: &Connection, setup: &Setup, keys: &Keys, merged: &mut Merged) -> Result<Self, Failure> {
        let mut claims = Self::default();
        // Groups already looked at, by reference or, without one, by record.
        let mut looked: HashSet<(Direction, Result<String, i64>)> = HashSet::new();
        if setup.ledger {
            for feed in keys.feeds() {
                claims.by_subject(conn, setup, keys, feed.name, merged, &mut looked)?;
            }
        }
        let mut strays = std::mem::take(&mut merged.strays);
        strays.retain(|stray| !claims.by_entry.contains(stray));
        if strays.is_empty() {
            return Ok(claims);
        }
        let places = places(conn, &setup.job)?;
        let mut named = conn.prepare("SELECT provider_id, direction FROM ledger_entries WHERE entry_id = ?1")?;
        let mut lookup = conn.prepare(
            "SELECT transaction_id, direction, reference FROM transactions
              WHERE job = ?1 AND feed = ?2 AND account = ?3 AND provider_id = ?4 AND vanished_at IS NULL
              ORDER BY transaction_id",
        )?;
        for stray in strays {
            let (id, direction): (String, String) = named.query_row([stray], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut best: Option<(bool, i64)> = None;
            for (feed, account) in &places {
                let mut rows = lookup.query((&setup.job, feed, account, &id))?;
                while let Some(row) = rows.next()? {
                    let record: i64 = row.get(0)?;
                    let theirs: Direction = super::rows::word(row, 1, "transactions.direction")?;
                    let reference: Option<String> = row.get(2)?;
                    // The same direction before the other one, then the older row.
                    best = best.into_iter().chain([(theirs.as_str() != direction, record)]).min();
                    let reference = reference.filter(|r| !r.is_empty());
                    let group = reference.clone().ok_or(record);
                    if looked.insert((theirs, group)) {
                        merge::reclaim(conn, setup, merged, record, theirs, reference.as_deref())?;
                    }
                }
            }
            if let Some((_, record)) = best {
                claims.by_entry.insert(stray);
                claims.by_record.entry(record).or_default().push(stray);
            }
        }
        Ok(claims)
    }

    /// A record that was found by asking about an entry's key belongs to it, under whatever reference it stands there.
    fn by_subject(
        &mut self,
        conn: &Connection,
        setup: &Setup,
        asked: &Keys,
        feed: &str,
        merged: &mut Merged,
        looked: &mut HashSet<(Direction, Result<String, i64>)>,
    ) -> Result<(), Failure> {
        let Some(subject) = asked.sql(feed) else { return Ok(()) };
        let may_be_named = keys::may_be_named_sql("asked.provider_id");
        let mut statement = conn.prepare(&format!(
            "WITH asked AS MATERIALIZED (
               SELECT entry_id, direction, reference, provider_id, {subject} AS subject FROM ledger_entries
                WHERE job = ?1 AND status <> 'excluded'
             )
             SELECT asked.entry_id, asked.direction, asked.reference, t.transaction_id, t.reference
               FROM transactions AS t JOIN asked ON asked.subject = t.subject AND asked.direction = t.direction
              WHERE t.job = ?1 AND t.feed = ?2 AND t.subject <> '' AND t.vanished_at IS NULL
                AND (asked.reference IS NOT t.reference OR asked.provider_id <> t.provider_id) AND t.kind <> 'fee'
                AND {may_be_named}
              ORDER BY asked.entry_id, t.transaction_id"
        ))?;
        let mut rows = statement.query((&setup.job, feed))?;
        while let Some(row) = rows.next()? {
            let (entry, record): (i64, i64) = (row.get(0)?, row.get(3)?);
            if !self.by_entry.insert(entry) {
                continue;
            }
            self.by_record.entry(record).or_default().push(entry);
            let direction: Direction = super::rows::word(row, 1, "ledger_entries.direction")?;
            // Both where it stands and where the record stands somebody else may have been paired.
            let theirs = row.get::<_, Option<String>>(4)?.filter(|r| !r.is_empty());
            let own = row.get::<_, String>(2)?;
            for reference in [theirs, Some(own).filter(|r| !r.is_empty())] {
                if looked.insert((direction, reference.clone().ok_or(record))) {
                    merge::reclaim(conn, setup, merged, record, direction, reference.as_deref())?;
                }
            }
        }
        Ok(())
    }
}

/// Feeds and accounts of a job, found by stepping through the index instead of reading it. Two statements per step: SQLite
/// seeks by the first column of `(feed, account) > (…)` only and reads the rest.
pub fn places(conn: &Connection, job: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut in_feed = conn.prepare(
        "SELECT feed, account FROM transactions INDEXED BY transactions_by_id
          WHERE job = ?1 AND feed = ?2 AND account > ?3 ORDER BY account LIMIT 1",
    )?;
    let mut next_feed = conn.prepare(
        "SELECT feed, account FROM transactions INDEXED BY transactions_by_id
          WHERE job = ?1 AND feed > ?2 ORDER BY feed, account LIMIT 1",
    )?;
    let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    // No feed has an empty name.
    let mut place: Option<(String, String)> = next_feed.query_row((job, ""), pair).optional()?;
    let mut places = Vec::new();
    while let Some((feed, account)) = place {
        place = in_feed.query_row((job, &feed, &account), pair).optional()?;
        if place.is_none() {
            place = next_feed.query_row((job, &feed), pair).optional()?;
        }
        places.push((feed, account));
    }
    Ok(places)
}

/// How long the provider may say nothing of a booking; a file says all it knows at once.
pub(super) fn lag(job: &Job) -> TimeDelta {
    match &job.source {
        JobSource::Provider(setup) => setup.provider.lag(),
        JobSource::File(_) | JobSource::Across(_) => TimeDelta::zero(),
    }
}

/// The accounts that keep rows apart. Where an entry bears the name of one of the provider's accounts both sides speak of
/// the same accounts, and every name counts; otherwise the ledger's names are its own and say nothing. Empty when there is
/// only one.
fn accounts(conn: &Connection, job: &str) -> Result<BTreeSet<String>, Failure> {
    let mut accounts: BTreeSet<String> = places(conn, job)?.into_iter().map(|p| p.1).collect();
    let mut next = conn.prepare(
        "SELECT account FROM ledger_entries INDEXED BY ledger_by_account
          WHERE job = ?1 AND account IS NOT NULL AND account > ?2 ORDER BY account LIMIT 1",
    )?;
    let mut named: BTreeSet<String> = BTreeSet::new();
    // An empty name is no account.
    let mut last = String::new();
    while let Some(account) = next.query_row((job, &last), |row| row.get::<_, String>(0)).optional()? {
        last.clone_from(&account);
        named.insert(account);
    }
    if !named.is_disjoint(&accounts) {
        accounts.extend(named);
    }
    Ok(if accounts.len() > 1 { accounts } else { BTreeSet::new() })
}

fn open_for_want_of_proof(conn: &Connection, job: &str) -> Result<HashSet<u64>, Failure> {
    let mut statement = conn.prepare(
        "SELECT discrepancy_id FROM discrepancies WHERE job = ?1 AND state IN ('open', 'acknowledged')
            AND kind IN ('missing_in_provider', 'duplicate_in_ledger')",
    )?;
    let ids = statement.query_map([job], |row| row.get::<_, String>(0))?;
    ids.map(|id| identity::from_hex(&id?)).collect()
}
