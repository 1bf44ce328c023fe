//! The proof day by day: where each opening comes from, and what each residual lost. Pure; the figures are the provider's
//! room's ([`crate::providers::Provider::statement`]).

use super::loss::{self, Known, Loss, Residual};
use super::proofs::Line;
use crate::money::format_minor;
use crate::providers::{Relation, StatementItem};

/// Source of balances that a provider states for the moment only.
const SNAPSHOTS: &str = "balance snapshots";

/// The residuals of a statement that are not zero.
pub fn residuals(lines: &[Line]) -> Vec<Residual<'_>> {
    lines.iter().filter_map(residual).collect()
}

fn residual(line: &Line) -> Option<Residual<'_>> {
    (line.line.line == StatementItem::Residual && line.line.amount_minor != 0).then(|| Residual {
        account: &line.line.account,
        currency: line.line.currency,
        day: line.line.business_day,
        minor: line.line.amount_minor,
        sense: line.sense,
    })
}

/// Writes the explanations: of every opening whether it is the closing before, of every residual its likely loss.
pub fn explain(lines: &mut [Line], known: &[Known]) {
    let explained: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(index, line)| match (&line.line.line, residual(line)) {
            (StatementItem::Opening, _) => opening(&lines[..index], line),
            (_, Some(residual)) => lost_in(line, &residual, known),
            _ => String::new(),
        })
        .collect();
    for (line, text) in lines.iter_mut().zip(explained) {
        line.explanation = text;
    }
}

/// Of balances read as they were at night a person must know what else may be left.
fn lost_in(line: &Line, residual: &Residual<'_>, known: &[Known]) -> String {
    match loss::name(residual, known) {
        Loss::Unknown(text) if line.line.source == SNAPSHOTS => {
            format!(
                "{text}; the balances were read hours after the days had ended, and what moved in between shows here, too"
            )
        }
        loss => loss.text(),
    }
}

/// Lines come by account, currency and day: the closing before is the last one of the same account and currency.
fn opening(before: &[Line], line: &Line) -> String {
    let this = &line.line;
    let last = before.iter().rev().map(|line| &line.line).find(|other| {
        (&other.account, other.currency) == (&this.account, this.currency) && other.line == StatementItem::Closing
    });
    let Some(last) = last else {
        return "first day of this statement".to_owned();
    };
    let between = (this.business_day - last.business_day).num_days() - 1;
    let silent = match between {
        ..=0 => String::new(),
        1 => "; nothing is stated for the day between".to_owned(),
        days => format!("; nothing is stated for the {days} days between"),
    };
    let difference = this.amount_minor.saturating_sub(last.amount_minor);
    if difference == 0 {
        return format!("the closing of {}{silent}", last.business_day);
    }
    let amount = |minor: i64| format_minor(minor.checked_abs().unwrap_or(i64::MAX), this.currency);
    let way = if difference > 0 { "more" } else { "less" };
    format!(
        "NOT the closing of {}, which was {}: {} {way}{silent}",
        last.business_day,
        format_minor(last.amount_minor, this.currency),
        amount(difference)
    )
}

/// The one row that a relation lost, as a suggestion.
pub fn lost(relation: &Relation, minor: i64, known: &[Known]) -> Option<String> {
    match loss::name(&of_relation(relation, minor)?, known) {
        Loss::One(text) => Some(text),
        Loss::Unknown(_) => None,
    }
}

/// A relation's residual in search of its row.
pub fn of_relation(relation: &Relation, minor: i64) -> Option<Residual<'_>> {
    Some(Residual {
        account: &relation.account,
        currency: relation.currency,
        day: relation.business_day,
        minor,
        sense: relation.sense?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{Sense, StatementLine};

    fn line(day: &str, item: StatementItem, minor: i64) -> Line {
        Line {
            line: StatementLine {
                account: "GBP1".to_owned(),
                currency: "GBP".parse().unwrap(),
                business_day: day.parse().unwrap(),
                position: 0,
                line: item,
                amount_minor: minor,
                source: String::new(),
            },
            text: String::new(),
            sense: Sense::Signed,
            explanation: String::new(),
        }
    }

    #[test]
    fn an_opening_says_whether_it_is_the_closing_before() {
        let mut lines = vec![
            line("2026-03-01", StatementItem::Opening, 100),
            line("2026-03-01", StatementItem::Closing, 250),
            line("2026-03-02", StatementItem::Opening, 250),
            line("2026-03-02", StatementItem::Closing, 300),
            line("2026-03-05", StatementItem::Opening, 325),
        ];
        explain(&mut lines, &[]);
        let told: Vec<&str> = lines.iter().map(|line| line.explanation.as_str()).collect();
        assert_eq!(
            told,
            [
                "first day of this statement",
                "",
                "the closing of 2026-03-01",
                "",
                "NOT the closing of 2026-03-02, which was 3.00: 0.25 more; nothing is stated for the 2 days between",
            ]
        );
    }

    #[test]
    fn only_a_residual_that_is_not_zero_is_explained() {
        let mut lines = vec![
            line("2026-03-01", StatementItem::Residual, 0),
            line("2026-03-01", StatementItem::Residual, 7),
        ];
        assert_eq!(residuals(&lines).len(), 1);
        explain(&mut lines, &[]);
        assert_eq!(lines[0].explanation, "");
        assert!(
            lines[1]
                .explanation
                .starts_with("no known row of 2026-03-01 accounts for 0.07")
        );
    }
}
