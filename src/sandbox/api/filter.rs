//! PayVyne's filter expression (`providers/payvyne.md` section 6): `term op 'value'` joined with `AND`, parentheses allowed.

use chrono::NaiveDate;

use crate::day::Instant;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub term: String,
    pub operator: Operator,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    Less,
    Greater,
    AtMost,
    AtLeast,
}

impl Operator {
    /// Whether `left op right` holds.
    pub fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::Greater => left > right,
            Self::AtMost => left <= right,
            Self::AtLeast => left >= right,
        }
    }
}

impl Condition {
    /// The value as a bare date, read as its midnight in UTC: `<= '2025-03-05'` does not include that day.
    pub fn midnight(&self) -> Option<Instant> {
        let shape = self.value.len() == 10;
        let day = self.value.parse::<NaiveDate>().ok().filter(|_| shape)?;
        Some(day.and_time(chrono::NaiveTime::MIN).and_utc())
    }
}

/// Longest nesting; real filters have one pair of parentheses.
const MAX_DEPTH: usize = 8;

/// Reads an expression of the given terms.
///
/// # Errors
/// A sentence about what is wrong.
pub fn parse(text: &str, terms: &[&str]) -> Result<Vec<Condition>, String> {
    let mut left = text;
    let mut conditions = Vec::new();
    expression(&mut left, terms, &mut conditions, 0)?;
    match left.trim_start().is_empty() {
        true => Ok(conditions),
        false => Err("something follows the end of the filter".into()),
    }
}

fn expression(left: &mut &str, terms: &[&str], out: &mut Vec<Condition>, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("too many parentheses".into());
    }
    loop {
        *left = left.trim_start();
        if let Some(rest) = left.strip_prefix('(') {
            *left = rest;
            expression(left, terms, out, depth + 1)?;
            *left = left
                .trim_start()
                .strip_prefix(')')
                .ok_or("a parenthesis is not closed")?;
        } else {
            out.push(condition(left, terms)?);
        }
        let rest = left.trim_start();
        match rest.strip_prefix("AND").filter(|r| r.starts_with([' ', '('])) {
            Some(rest) => *left = rest,
            None => return Ok(()),
        }
    }
}

fn condition(left: &mut &str, terms: &[&str]) -> Result<Condition, String> {
    let end = left.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(left.len());
    let (term, rest) = left.split_at(end);
    if !terms.contains(&term) {
        return Err(format!(
            "{} is not a filter term here",
            if term.is_empty() { "this" } else { term }
        ));
    }
    let rest = rest.trim_start();
    const OPERATORS: [(&str, Operator); 5] = [
        (">=", Operator::AtLeast),
        ("<=", Operator::AtMost),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
    ];
    let found = OPERATORS
        .iter()
        .find_map(|(sign, op)| Some((*op, rest.strip_prefix(sign)?)));
    let (operator, rest) = found.ok_or("an operator is missing")?;
    let rest = rest
        .trim_start()
        .strip_prefix('\'')
        .ok_or("values stand in ASCII single quotes")?;
    let (value, rest) = rest.split_once('\'').ok_or("a quote is not closed")?;
    *left = rest;
    Ok(Condition {
        term: term.to_owned(),
        operator,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_has_three_conditions() {
        let text = "(createdAt >= '2025-03-01' AND createdAt <= '2025-03-05') AND settlementAccountIdentifier = 'GBP3'";
        let found = parse(text, &["createdAt", "settlementAccountIdentifier"]).unwrap();
        let short: Vec<_> = found.iter().map(|c| (c.operator, c.value.as_str())).collect();
        assert_eq!(
            short,
            [
                (Operator::AtLeast, "2025-03-01"),
                (Operator::AtMost, "2025-03-05"),
                (Operator::Equal, "GBP3")
            ]
        );
    }

    #[test]
    fn what_the_grammar_does_not_know_is_refused() {
        for text in [
            "",
            "createdAt >= 2025-03-01",
            "createdAt >= \u{2018}2025-03-01\u{2019}",
            "createdAt >= '2025-03-01' OR createdAt = '2025-03-02'",
            "(createdAt >= '2025-03-01'",
            "createdAt >= '2025-03-01')",
            "createdAt >= '2025-03-01' AND",
            "amount > '1'",
            "createdAt+>=+'2025-03-01'",
            "createdAt LIKE '2025-03-01'",
        ] {
            assert!(parse(text, &["createdAt"]).is_err(), "{text}");
        }
    }
}
