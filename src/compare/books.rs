//! What the database holds about one job, summed for the provider's own arithmetic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;

use chrono_tz::Tz;
use rusqlite::{Connection, Row};

use super::items::places;
use super::rows::{damaged, optional_instant, word};
use super::scope;
use crate::config::{Job, JobSource};
use crate::day::{BusinessDay, Instant, day_of, next_day, parse_instant, start_of_day};
use crate::failure::Failure;
use crate::money::{Currency, fitted, joined_halves};
use crate::providers::{Books, Provider, Related, Shape, Total};
use crate::record::{Balance, Status, TransactionKind};
use crate::window::Window;

/// Collects the books of a job as of `day`. A job without a provider has empty ones.
pub fn books(conn: &Connection, job: &Job, zone: Tz, as_of: Instant, day: BusinessDay) -> Result<Books, Failure> {
    let mut books = Books {
        zone,
        as_of,
        business_day: day,
        balances: Vec::new(),
        totals: Vec::new(),
        related: Vec::new(),
        repeated_ids: Vec::new(),
        calibration: calibration(conn, &job.name)?,
        sealed_subjects: BTreeSet::new(),
        gaps: Vec::new(),
    };
    if let JobSource::Provider(setup) = &job.source {
        let provider = setup.provider.as_ref();
        books.balances = balances(conn, &job.name, provider)?;
        // Sums are only asked for against something stated; they cost a look at every row.
        if !books.balances.is_empty() {
            books.totals = totals(conn, &job.name, zone)?;
        }
        books.related = related(conn, &job.name)?;
        books.repeated_ids = repeated_ids(conn, &job.name, provider)?;
        books.sealed_subjects = sealed_subjects(conn, &job.name)?;
        books.gaps = gaps(conn, job, provider, day)?;
    }
    Ok(books)
}

fn calibration(conn: &Connection, job: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut statement = conn.prepare("SELECT name, value FROM calibrations WHERE job = ?1")?;
    let found = statement.query_map([job], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn balances(conn: &Connection, job: &str, provider: &dyn Provider) -> Result<Vec<Balance>, Failure> {
    let mut all = conn.prepare(
        "SELECT account, subject, as_of, currency, item, amount_minor FROM balances
          WHERE job = ?1 AND feed = ?2 AND superseded_at IS NULL
          ORDER BY account, subject, as_of, currency, item",
    )?;
    let mut newest = conn.prepare(include_str!("newest_figures.sql"))?;
    let mut piles = Piles::default();
    // A feed that this version of the provider does not know has no arithmetic either.
    for feed in provider.feeds() {
        let statement = match provider.asks_for_newest_figures(feed.name) {
            true => &mut newest,
            false => &mut all,
        };
        let mut rows = statement.query([job, feed.name])?;
        // Figures of one answer stand together.
        let mut at: (String, Instant) = Default::default();
        while let Some(row) = rows.next()? {
            let as_of = row.get_ref(2)?.as_str().map_err(|_| damaged("balances.as_of"))?;
            if as_of != at.0 {
                at = (
                    as_of.to_owned(),
                    parse_instant(as_of).ok_or_else(|| damaged("balances.as_of"))?,
                );
            }
            piles.put(Balance {
                account: row.get(0)?,
                feed: feed.name,
                subject: row.get(1)?,
                as_of: at.1,
                currency: word(row, 3, "balances.currency")?,
                item: row.get(4)?,
                amount_minor: row.get(5)?,
            });
        }
    }
    Ok(piles.in_order())
}

/// Figures by account, currency and feed. They come in the order of the index, so that each of these few piles is in the
/// order of [`Books::balances`] already, or nearly: sorting all of them as one cost as much as reading them.
#[derive(Default)]
struct Piles(Vec<Vec<Balance>>);

impl Piles {
    fn put(&mut self, balance: Balance) {
        let key = |b: &Balance| (b.feed, b.currency);
        let here = |pile: &Vec<Balance>| {
            pile.first()
                .is_some_and(|first| key(first) == key(&balance) && first.account == balance.account)
        };
        // The newest pile is mostly the right one, or its neighbour.
        match self.0.iter().rposition(here) {
            Some(at) => self.0[at].push(balance),
            None => self.0.push(vec![balance]),
        }
    }

    fn in_order(mut self) -> Vec<Balance> {
        fn inside(b: &Balance) -> (Instant, &str, &str) {
            (b.as_of, &b.subject, &b.item)
        }
        self.0.sort_by(|a, b| {
            let key = |pile: &Vec<Balance>| pile.first().map(|b| (b.account.clone(), b.currency, b.feed));
            key(a).cmp(&key(b))
        });
        for pile in &mut self.0 {
            if !pile.is_sorted_by(|a, b| inside(a) <= inside(b)) {
                pile.sort_by(|a, b| inside(a).cmp(&inside(b)));
            }
        }
        self.0.into_iter().flatten().collect()
    }
}

/// Of what totals are made; the same text forms as in the database.
type Key = (String, String, String, String, String, String, Option<BusinessDay>);

fn totals(conn: &Connection, job: &str, zone: Tz) -> Result<Vec<Total>, Failure> {
    // A job with most of the rows is read in the order of the table, five times faster than through an index.
    let (mine, all): (i64, i64) = conn.query_row(
        "SELECT (SELECT count(*) FROM transactions INDEXED BY transactions_by_id WHERE job = ?1),
                (SELECT coalesce(max(transaction_id), 0) FROM transactions)",
        [job],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let how = if mine > all / 6 {
        "NOT INDEXED"
    } else {
        "INDEXED BY transactions_by_id"
    };
    let mut statement = conn.prepare(&format!(
        "SELECT account, feed, subject, kind, status, currency, 
                coalesce(changed_at, occurred_at, CASE WHEN subject <> '' THEN seen_at END), amount_minor,
                CASE WHEN fee_currency IS currency OR fee_currency IS NULL THEN coalesce(fee_minor, 0) ELSE 0 END
           FROM transactions {how} WHERE job = ?1 AND vanished_at IS NULL"
    ))?;
    let mut rows = statement.query([job])?;
    let mut days = Days {
        zone,
        known: HashMap::new(),
    };
    let mut sums: HashMap<Key, (i64, i128, i128)> = HashMap::new();
    // Rows of one group mostly stand together.
    let mut last: Option<(Key, (i64, i128, i128))> = None;
    while let Some(row) = rows.next()? {
        let day = days.of(row, 6)?;
        let (amount, fee): (i64, i64) = (row.get(7)?, row.get(8)?);
        if let Some((key, _)) = &last
            && !(same(row, key)? && key.6 == day)
            && let Some((key, sum)) = last.take()
        {
            add(&mut sums, key, sum);
        }
        let slot = match &mut last {
            Some((_, slot)) => slot,
            none => {
                let key = (
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    day,
                );
                &mut none.insert((key, (0, 0, 0))).1
            }
        };
        slot.0 += 1;
        slot.1 += i128::from(amount);
        slot.2 += i128::from(fee);
    }
    if let Some((key, sum)) = last {
        add(&mut sums, key, sum);
    }
    let sums: BTreeMap<_, _> = sums.into_iter().collect();
    sums.into_iter().map(total).collect()
}

fn same(row: &Row<'_>, key: &Key) -> Result<bool, Failure> {
    let parts = [&key.0, &key.1, &key.2, &key.3, &key.4, &key.5];
    for (column, part) in parts.into_iter().enumerate() {
        if row.get_ref(column)?.as_str().ok() != Some(part.as_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn add(sums: &mut HashMap<Key, (i64, i128, i128)>, key: Key, sum: (i64, i128, i128)) {
    let slot = sums.entry(key).or_default();
    slot.0 += sum.0;
    slot.1 += sum.1;
    slot.2 += sum.2;
}

fn total((key, (count, amount, fee)): (Key, (i64, i128, i128))) -> Result<Total, Failure> {
    Ok(Total {
        account: key.0,
        feed: key.1,
        subject: key.2,
        kind: key.3.parse().unwrap_or(TransactionKind::Unknown),
        status: key.4.parse().unwrap_or(Status::Unknown),
        currency: Currency::from_str(&key.5).map_err(|_| damaged("transactions.currency"))?,
        changed_day: key.6,
        count,
        amount_minor: fitted(amount),
        fee_minor: fitted(fee),
    })
}

/// Business days of instants; zones are asked once per quarter of an hour, the finest step of any offset today.
struct Days {
    zone: Tz,
    known: HashMap<[u8; 15], BusinessDay>,
}

impl Days {
    fn of(&mut self, row: &Row<'_>, column: usize) -> Result<Option<BusinessDay>, Failure> {
        let rusqlite::types::ValueRef::Text(text) = row.get_ref(column)? else {
            return Ok(None);
        };
        let mut key = [0; 15];
        key.copy_from_slice(text.get(..15).ok_or_else(|| damaged("transactions.changed_at"))?);
        // `2026-03-04T15:2` names ten minutes; an offset may change inside only at a quarter, so the quarters' tens are not
        // remembered.
        if let Some(day) = self.known.get(&key) {
            return Ok(Some(*day));
        }
        let at = std::str::from_utf8(text)
            .ok()
            .and_then(parse_instant)
            .ok_or_else(|| damaged("transactions.changed_at"))?;
        let day = day_of(at, self.zone);
        if !matches!(key[14], b'1' | b'4') {
            self.known.insert(key, day);
        }
        Ok(Some(day))
    }
}

fn related(conn: &Connection, job: &str) -> Result<Vec<Related>, Failure> {
    let places = places(conn, job)?;
    let mut statement = conn.prepare(
        "SELECT account, related_id, kind, currency, sum(amount_minor >> 32), max(occurred_at), min(reference),
                sum(amount_minor & 4294967295)
           FROM transactions
          WHERE job = ?1 AND related_id IS NOT NULL AND vanished_at IS NULL
          GROUP BY account, related_id, kind, currency ORDER BY account, related_id, kind, currency",
    )?;
    let mut target = conn.prepare(
        "SELECT amount_minor, currency, reference FROM transactions
          WHERE job = ?1 AND feed = ?2 AND account = ?3 AND provider_id = ?4 AND vanished_at IS NULL
          ORDER BY transaction_id LIMIT 1",
    )?;
    let mut rows = statement.query([job])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (account, related_id): (String, String) = (row.get(0)?, row.get(1)?);
        // Its own account first: a refund may leave another account than the one its payment came to.
        let (own, others): (Vec<_>, Vec<_>) = places.iter().partition(|(_, a)| *a == account);
        for (feed, of) in own.into_iter().chain(others) {
            let mut found = target.query((job, feed, of, &related_id))?;
            let Some(named) = found.next()? else { continue };
            all.push(Related {
                account: account.clone(),
                related_id: related_id.clone(),
                reference: named.get::<_, Option<String>>(2)?.or(row.get(6)?),
                kind: word(row, 2, "transactions.kind").unwrap_or(TransactionKind::Unknown),
                currency: word(row, 3, "transactions.currency")?,
                amount_minor: fitted(joined_halves(row.get(4)?, row.get(7)?)),
                related_amount_minor: named.get(0)?,
                related_currency: word(named, 1, "transactions.currency")?,
                at: optional_instant(row, 5, "transactions.occurred_at")?,
            });
            break;
        }
    }
    Ok(all)
}

/// Under whatever accounts the subjects are: one movement moves one account.
fn repeated_ids(conn: &Connection, job: &str, provider: &dyn Provider) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let mut all = Vec::new();
    let accounts: BTreeSet<String> = places(conn, job)?.into_iter().map(|(_, account)| account).collect();
    let accounts = serde_json::Value::from_iter(accounts).to_string();
    let mut statement = conn.prepare(
        "SELECT provider_id, subject FROM transactions INDEXED BY transactions_by_id
          WHERE job = ?1 AND feed = ?2 AND EXISTS (
            SELECT 1 FROM transactions AS o INDEXED BY transactions_by_id
             WHERE o.job = transactions.job AND o.feed = transactions.feed
               AND o.account IN (SELECT value FROM json_each(?3))
               AND o.provider_id = transactions.provider_id AND o.subject <> transactions.subject
               AND o.vanished_at IS NULL)
            AND vanished_at IS NULL
          ORDER BY provider_id, subject",
    )?;
    for feed in provider
        .feeds()
        .iter()
        .filter(|f| matches!(f.shape, Shape::Children { .. }))
    {
        let mut rows = statement.query((job, feed.name, &accounts))?;
        let mut of_feed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            of_feed.entry(row.get(0)?).or_default().push(row.get(1)?);
        }
        all.extend(of_feed);
    }
    Ok(all)
}

fn sealed_subjects(conn: &Connection, job: &str) -> Result<BTreeSet<String>, Failure> {
    let mut statement =
        conn.prepare("SELECT subject FROM windows WHERE job = ?1 AND subject <> '' AND state = 'sealed'")?;
    let found = statement.query_map([job], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn gaps(
    conn: &Connection,
    job: &Job,
    provider: &dyn Provider,
    day: BusinessDay,
) -> Result<Vec<(String, Window)>, Failure> {
    let until = start_of_day(next_day(day), job.timezone);
    let mut all = Vec::new();
    for feed in provider.feeds() {
        let first = match feed.shape {
            Shape::Days(_) | Shape::Listing => job.fetch.start,
            Shape::Snapshot => day,
            Shape::Children { of } => {
                let unread = scope::unread_subjects(conn, &job.name, feed.name, of)?;
                all.extend(unread.into_iter().map(|(_, span)| (feed.name.to_owned(), span)));
                continue;
            }
            // What records are called says nothing about sums.
            Shape::Details { .. } | Shape::Lookups => continue,
        };
        let mut from = start_of_day(first, job.timezone);
        for sealed in scope::sealed(conn, &job.name, feed.name)? {
            if sealed.from > from && from < until {
                all.push((
                    feed.name.to_owned(),
                    Window {
                        from,
                        until: sealed.from.min(until),
                    },
                ));
            }
            from = from.max(sealed.until);
        }
        if from < until {
            all.push((feed.name.to_owned(), Window { from, until }));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures() -> impl Strategy<Value = Vec<Balance>> {
        let place = (0..2_usize, 0..2_usize, 0..3_usize, 0..3_usize, 0..4_i64, 0..3_usize);
        prop::collection::btree_set(place, 0..40).prop_map(|places| {
            let figure =
                |(feed, account, subject, currency, at, item): (usize, usize, usize, usize, i64, usize)| Balance {
                    account: ["1", "10"][account].to_owned(),
                    feed: ["balance", "sweeps"][feed],
                    subject: ["", "s1", "s2"][subject].to_owned(),
                    as_of: Instant::default() + chrono::TimeDelta::days(at),
                    currency: ["PEN", "USD", "CLP"][currency].parse().unwrap(),
                    item: ["fee", "net", "total"][item].to_owned(),
                    amount_minor: 1,
                };
            places.into_iter().map(figure).collect()
        })
    }

    proptest! {
        #[test]
        fn the_newest_figures_are_those_of_the_last_answer_of_each_account_and_subject(figures in figures()) {
            let conn = Connection::open_in_memory().unwrap();
            conn.execute_batch(include_str!("../../schema.sql")).unwrap();
            let sql = "INSERT OR IGNORE INTO balances (job, account, feed, subject, as_of, currency, item, amount_minor, seen_at, superseded_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, '', ?8)";
            let mut insert = conn.prepare(sql).unwrap();
            let mut expected: BTreeMap<(&str, &str), Vec<&Balance>> = BTreeMap::new();
            for b in &figures {
                let as_of = crate::day::format_instant(b.as_of);
                let currency = b.currency.code();
                insert.execute(("j", &b.account, b.feed, &b.subject, &as_of, currency, &b.item, None::<&str>)).unwrap();
                // Neither another job's figure nor one that was replaced counts, however new.
                for (job, superseded) in [("other", None), ("j", Some("x"))] {
                    insert.execute((job, &b.account, b.feed, &b.subject, "9999", currency, &b.item, superseded)).unwrap();
                }
                if b.feed == "balance" {
                    let newest = expected.entry((&b.account, &b.subject)).or_default();
                    newest.retain(|other| other.as_of >= b.as_of);
                    if newest.iter().all(|other| other.as_of <= b.as_of) {
                        newest.push(b);
                    }
                }
            }
            let mut newest = conn.prepare(include_str!("newest_figures.sql")).unwrap();
            let told = newest
                .query_map(["j", "balance"], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                })
                .unwrap()
                .collect::<Result<BTreeSet<(String, String, String, String, String)>, _>>()
                .unwrap();
            let expected = expected.into_values().flatten().map(|b| {
                let as_of = crate::day::format_instant(b.as_of);
                (b.account.clone(), b.subject.clone(), as_of, b.currency.code().to_owned(), b.item.clone())
            });
            prop_assert_eq!(told, expected.collect());
        }

        #[test]
        fn figures_put_in_piles_come_out_as_if_all_were_sorted(mut figures in figures(), as_read in any::<bool>()) {
            let in_books = |b: &Balance| {
                let (account, currency) = (b.account.clone(), b.currency.code().to_owned());
                (account, currency, b.feed, b.as_of, b.subject.clone(), b.item.clone())
            };
            if as_read {
                let in_index = |b: &Balance| (b.feed, b.account.clone(), b.subject.clone(), b.as_of, b.currency.code().to_owned(), b.item.clone());
                figures.sort_by_key(in_index);
            }
            let mut piles = Piles::default();
            figures.iter().for_each(|figure| piles.put(figure.clone()));
            figures.sort_by_key(in_books);
            let told = |all: &[Balance]| all.iter().map(in_books).collect::<Vec<_>>();
            prop_assert_eq!(told(&piles.in_order()), told(&figures));
        }
    }
}
