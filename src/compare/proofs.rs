//! The provider's own arithmetic: relations between figures and rows, and the statement.

use std::borrow::Cow;
use std::collections::HashSet;

use rusqlite::{Connection, Statement, named_params};

use super::discrepancy::Discrepancy;
use super::identity;
use super::loss::{self, Known};
use super::places::Places;
use super::rows::{Rows, damaged};
use super::{Case, statement};
use crate::config::ProviderSetup;
use crate::day::format_instant;
use crate::failure::Failure;
use crate::money::format_minor;
use crate::providers::{Books, Relation, Sense, StatementItem, StatementLine};
use crate::record::{Kind, RowResidual};

/// Lines of advisory relations stand below the statement's own.
const ADVISORY_POSITION: u32 = 900;

/// What the provider's arithmetic showed.
#[derive(Default)]
pub struct Proofs {
    pub found: Vec<Discrepancy>,
    /// Relations that could be looked at, closed or not: only these can be resolved by an incomplete reading. Empty after a
    /// whole one.
    pub looked_at: HashSet<u64>,
    pub statement: Vec<Line>,
}

/// One row of `statement_lines`.
#[derive(Debug)]
pub struct Line {
    pub line: StatementLine,
    pub text: String,
    /// How a missing row shows in it, where it is a residual.
    pub sense: Sense,
    /// Of an opening where it comes from, of a residual what it lost; empty for the others.
    pub explanation: String,
}

/// Asks the provider for its relations over the books, and for its statement. `books`: as they stand, else they are read.
pub fn find(
    conn: &Connection,
    case: &Case<'_>,
    setup: &ProviderSetup,
    books: Option<&Books>,
) -> Result<Proofs, Failure> {
    let provider = setup.provider.as_ref();
    let books = match books {
        Some(books) => Cow::Borrowed(books),
        None => Cow::Owned(super::books::books(
            conn,
            case.job,
            case.job.timezone,
            case.as_of,
            case.business_day,
        )?),
    };
    let mut lines: Vec<Line> = provider.statement(&books).into_iter().map(own_line).collect();
    let relations = provider.relations(&books);
    let known = known(conn, case, &lines, &relations)?;
    statement::explain(&mut lines, &known);
    let mut proofs = Proofs {
        statement: lines,
        ..Proofs::default()
    };
    let mut stated = Stated::new(conn, case)?;
    let mut position = ADVISORY_POSITION;
    for relation in relations {
        let residual = relation.stated_minor.checked_sub(relation.computed_minor);
        if relation.advisory && !setup.strict_balance {
            if let Some(amount) = residual.filter(|r| *r != 0) {
                let mut line = advisory_line(provider.name(), &relation, amount, position);
                // A check that says what the proof's own residual said needs no second explanation.
                let said = proofs.statement.iter().any(|own| same_residual(own, &line));
                if let Some(residual) = statement::of_relation(&relation, amount).filter(|_| !said) {
                    line.explanation = loss::name(&residual, &known).text();
                }
                proofs.statement.push(line);
                position += 1;
            }
            continue;
        }
        // After a whole reading every relation was looked at: thousands of names need not be made.
        if !case.reading_complete {
            let number = identity::number(&case.job.name, &relation_identity(&relation));
            proofs.looked_at.insert(number);
        }
        if residual != Some(0) {
            let identity = relation_identity(&relation);
            let lost = residual.and_then(|left| statement::lost(&relation, left, &known));
            let evidence = stated.place(&relation)?;
            let mut found = discrepancy(provider.name(), relation, identity, residual);
            found.suggested_match = lost;
            found.evidence = evidence;
            proofs.found.push(found);
        }
    }
    proofs.found.extend(row_residuals(conn, case, provider.name())?);
    Ok(proofs)
}

/// Every row that could account for a residual of this night, in one look.
fn known(conn: &Connection, case: &Case<'_>, lines: &[Line], relations: &[Relation]) -> Result<Vec<Known>, Failure> {
    let mut residuals = statement::residuals(lines);
    residuals.extend(relations.iter().filter_map(|relation| {
        let left = relation.stated_minor.checked_sub(relation.computed_minor)?;
        statement::of_relation(relation, left).filter(|_| left != 0)
    }));
    loss::read(conn, &case.job.name, case.job.timezone, &residuals)
}

/// Where a provider stated the figures of a relation.
struct Stated<'c, 'a> {
    statement: Statement<'c>,
    related: Statement<'c>,
    rows: Rows<'c>,
    places: Places<'c>,
    case: &'a Case<'a>,
}

impl<'c, 'a> Stated<'c, 'a> {
    fn new(conn: &'c Connection, case: &'a Case<'a>) -> Result<Self, Failure> {
        let statement = conn.prepare(
            "SELECT b.feed, b.subject, b.as_of, p.number, b.page_row
               FROM balances AS b LEFT JOIN pages AS p ON p.page_id = b.page_id
              WHERE b.job = ?1 AND b.account = ?2 AND b.as_of = ?3 AND b.currency = ?4 AND b.superseded_at IS NULL
                AND (?5 = '' OR b.subject IN (?5, ''))
              ORDER BY b.subject = ?5 DESC, b.feed, b.page_row LIMIT 1",
        )?;
        let related = conn.prepare(
            "SELECT transaction_id FROM transactions
              WHERE job = ?1 AND related_id = ?2 AND vanished_at IS NULL ORDER BY transaction_id LIMIT 5",
        )?;
        Ok(Self {
            statement,
            related,
            rows: Rows::new(conn)?,
            places: Places::new(conn, case.job.timezone)?,
            case,
        })
    }

    /// The rows that name the subject: the refunds of a payment.
    fn related(&mut self, subject: &str) -> Result<String, Failure> {
        let ids = self
            .related
            .query_map((&self.case.job.name, subject), |row| row.get::<_, i64>(0))?
            .collect::<Result<Vec<_>, _>>()?;
        let mut named = Vec::new();
        for id in ids {
            let record = self.rows.record(id)?;
            named.push(self.places.of(&record)?);
        }
        Ok(match named.as_slice() {
            [] => format!("of {subject}"),
            _ => named.join("; "),
        })
    }

    /// `balance_report 2026-03-02, page 0, row 3`; `sweeps of 90a0, page 0, row 2`; what the relation is about where no
    /// figure of it is in the books.
    fn place(&mut self, relation: &Relation) -> Result<String, Failure> {
        let subject = relation.subject.split('/').next().unwrap_or_default();
        let at = format_instant(relation.at);
        let parameters = (
            &self.case.job.name,
            &relation.account,
            &at,
            relation.currency.code(),
            subject,
        );
        let mut rows = self.statement.query(parameters)?;
        let Some(row) = rows.next()? else {
            drop(rows);
            return match subject {
                "" => Ok(String::new()),
                subject => self.related(subject),
            };
        };
        let (feed, of): (String, String) = (row.get(0)?, row.get(1)?);
        let what = match of.as_str() {
            "" => format!("{feed} {}", relation.business_day),
            of => format!("{feed} of {of}"),
        };
        Ok(match (row.get::<_, Option<i64>>(3)?, row.get::<_, Option<i64>>(4)?) {
            (Some(page), Some(at)) => format!("{what}, page {page}, row {at}"),
            (Some(page), None) => format!("{what}, page {page}"),
            _ => what,
        })
    }
}

fn same_residual(own: &Line, advisory: &Line) -> bool {
    let key = |line: &StatementLine| (line.currency, line.business_day, line.amount_minor);
    own.text == "residual" && own.line.account == advisory.line.account && key(&own.line) == key(&advisory.line)
}

fn own_line(line: StatementLine) -> Line {
    let text = match &line.line {
        StatementItem::Opening => "opening".to_owned(),
        StatementItem::Closing => "closing".to_owned(),
        StatementItem::Residual => "residual".to_owned(),
        StatementItem::Explained(kind) => kind.clone(),
    };
    Line {
        line,
        text,
        sense: Sense::Signed,
        explanation: String::new(),
    }
}

fn advisory_line(provider: &str, relation: &Relation, amount: i64, position: u32) -> Line {
    Line {
        text: format!("advisory {provider} {}", relation.name),
        line: StatementLine {
            account: relation.account.clone(),
            currency: relation.currency,
            business_day: relation.business_day,
            position,
            line: StatementItem::Residual,
            amount_minor: amount,
            source: relation.detail.clone(),
        },
        sense: Sense::Signed,
        explanation: String::new(),
    }
}

fn relation_identity(relation: &Relation) -> String {
    let Relation {
        name,
        account,
        subject,
        currency,
        business_day,
        ..
    } = relation;
    format!("relation|{name}|{account}|{subject}|{business_day}|{currency}")
}

fn discrepancy(provider: &str, relation: Relation, identity: String, residual: Option<i64>) -> Discrepancy {
    let kind = if relation.settlement {
        Kind::SettlementMismatch
    } else {
        Kind::BalanceResidual
    };
    let mut found = Discrepancy::new(kind, identity);
    found.provider = Some(provider.to_owned());
    found.account = Some(relation.account);
    found.currency = Some(relation.currency);
    found.occurred_at = Some(relation.at);
    found.business_day = Some(relation.business_day);
    let (computed, stated) = (relation.computed_minor, relation.stated_minor);
    found.what_differs = if relation.sense.is_some() {
        found.provider_amount = Some(stated);
        found.ledger_amount = Some(computed);
        found.difference = residual;
        let money = |minor| format_minor(minor, relation.currency);
        format!("{}: {} -> {}", relation.name, money(computed), money(stated))
    } else {
        // Three transactions are not 0.03: a count stands in no column of money and in no sum.
        format!("{}: {computed} -> {stated}", relation.name)
    };
    found.detail = told(provider, relation.name, &relation.detail);
    found.reference = relation.reference;
    found
}

/// The detail begins with the relation, whether the provider's room has named it already or not.
fn told(provider: &str, name: &str, detail: &str) -> String {
    let relation = format!("{provider} {name}: ");
    if detail.starts_with(&relation) {
        detail.to_owned()
    } else {
        relation + detail
    }
}

/// Relations inside single records, as the parser found them.
fn row_residuals(conn: &Connection, case: &Case<'_>, provider: &str) -> Result<Vec<Discrepancy>, Failure> {
    let mut rows = Rows::new(conn)?;
    let mut places = Places::new(conn, case.job.timezone)?;
    let mut statement = conn.prepare(include_str!("residuals.sql"))?;
    let mut found = statement.query(named_params! {":job": case.job.name})?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        let record = rows.record(row.get(0)?)?;
        let text: String = row.get(1)?;
        let residuals: Vec<RowResidual> = serde_json::from_str(&text).map_err(|_| damaged("transactions.residuals"))?;
        for residual in residuals {
            let key = format!(
                "{}|{}|{}|{}",
                record.feed, record.account, record.subject, record.provider_id
            );
            let identity = format!("row|{}|{key}", residual.relation);
            let mut one = Discrepancy::new(Kind::BalanceResidual, identity).with_record(&record);
            let money = |minor| format_minor(minor, record.currency);
            one.provider_amount = Some(residual.stated_minor);
            one.ledger_amount = Some(residual.computed_minor);
            one.difference = residual.stated_minor.checked_sub(residual.computed_minor);
            one.what_differs = format!(
                "{}: {} -> {}",
                residual.relation,
                money(residual.computed_minor),
                money(residual.stated_minor)
            );
            one.detail = told(provider, &residual.relation, &residual.detail);
            one.evidence = places.of(&record)?;
            all.push(one);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{Relation, Sense, discrepancy, told};

    fn relation(sense: Option<Sense>) -> Relation {
        Relation {
            name: "R6",
            settlement: false,
            advisory: false,
            account: "GBP1".to_owned(),
            subject: "s1".to_owned(),
            reference: None,
            currency: "GBP".parse().unwrap(),
            stated_minor: 3,
            computed_minor: 0,
            at: "2026-03-04T02:00:00Z".parse().unwrap(),
            business_day: "2026-03-04".parse().unwrap(),
            sense,
            detail: String::new(),
        }
    }

    #[test]
    fn a_count_is_no_amount_of_money() {
        let counts = discrepancy("payvyne", relation(None), String::new(), Some(3));
        assert_eq!(counts.what_differs, "R6: 0 -> 3");
        assert_eq!(
            (counts.provider_amount, counts.ledger_amount, counts.difference),
            (None, None, None)
        );
        let money = discrepancy("payvyne", relation(Some(Sense::Signed)), String::new(), Some(3));
        assert_eq!(money.what_differs, "R6: 0.00 -> 0.03");
        assert_eq!(
            (money.provider_amount, money.ledger_amount, money.difference),
            (Some(3), Some(0), Some(3))
        );
    }

    #[test]
    fn a_detail_names_its_relation_once() {
        assert_eq!(told("tupay", "R1", "net of the day"), "tupay R1: net of the day");
        assert_eq!(
            told("tupay", "R1", "tupay R1: net of the day"),
            "tupay R1: net of the day"
        );
        assert_eq!(told("tupay", "R1", "tupay R10: x"), "tupay R1: tupay R10: x");
    }
}
