//! What breaks a page: cuts, changed bytes, missing, retyped and doubled members, and anything at all. A damaged row costs
//! itself, never its neighbours, and no value changes silently.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reconciled::money::format_minor;
use reconciled::providers::{PageHead, Parsed};
use reconciled::record::Transaction;
use serde_json::Value;

use super::{rows_read, subjects};

/// Where each row stands in a page: spans of the objects of the first list of objects.
fn row_spans(body: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut spans = Vec::new();
    let (mut depth, mut list, mut start, mut in_text) = (0, None, 0, false);
    for (at, byte) in body.iter().enumerate() {
        match byte {
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                if *byte == b'[' && list.is_none() {
                    list = Some(depth);
                }
                if list == Some(depth - 1) {
                    start = at;
                }
            }
            b']' | b'}' => {
                if list == Some(depth - 1) {
                    spans.push(start..at + 1);
                }
                if list == Some(depth) {
                    return spans;
                }
                depth -= 1;
            }
            _ => {}
        }
    }
    spans
}

/// Every text and every number of a row, as it stands there: no number type comes between.
fn scalars(row: &str) -> BTreeSet<String> {
    let token = |c: char| c.is_alphanumeric() || ".+-_".contains(c);
    let runs = row.split(|c| !token(c)).map(plain);
    let texts = row.split('"').map(str::to_owned);
    runs.chain(texts).collect()
}

fn plain(number: &str) -> String {
    let number = number.trim_start_matches('-');
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    let trimmed = number.trim_start_matches('0');
    if trimmed.is_empty() || trimmed.starts_with('.') {
        format!("0{trimmed}")
    } else {
        trimmed.to_owned()
    }
}

/// A record is exact when its id and amount stand in the row as they are; judged by another parser.
fn is_exact(record: &Transaction, row: &[u8]) -> bool {
    let Ok(row) = std::str::from_utf8(row) else {
        return false;
    };
    let texts = scalars(row);
    let major = plain(&format_minor(record.amount_minor.abs(), record.currency));
    let minor = record.amount_minor.abs().to_string();
    (texts.contains(&major) || texts.contains(&minor)) && texts.contains(&record.provider_id)
}

#[test]
fn a_page_cut_at_any_byte_gives_no_rows_at_all() {
    for subject in subjects() {
        for case in &subject.cases {
            let ask = subject.ask(&case.feed);
            let number = subject.number(case);
            let whole = case.body.trim_ascii_end().len();
            for length in 0..whole {
                let parsed = subject.provider().parse(&ask, number, &case.body[..length]);
                assert!(
                    parsed.transactions.is_empty() && parsed.balances.is_empty(),
                    "{} {length}",
                    case.file.display()
                );
                assert_eq!(parsed.unreadable.len(), 1);
                assert!(subject.provider().head(&ask, number, &case.body[..length]).is_err());
            }
        }
    }
}

#[test]
fn a_changed_byte_costs_at_most_its_own_row_and_never_changes_a_value_silently() {
    for subject in subjects() {
        for case in subject
            .cases
            .iter()
            .filter(|case| !case.file.to_str().expect("a name").contains("walk"))
        {
            let ask = subject.ask(&case.feed);
            let number = subject.number(case);
            let spans = row_spans(&case.body);
            let original: BTreeMap<u32, Transaction> = subject
                .provider()
                .parse(&ask, number, &case.body)
                .transactions
                .into_iter()
                .collect();
            for at in 0..case.body.len() {
                for byte in [b' ', b'0', b'"', b'x', 0xFF, case.body[at] ^ 1, case.body[at] ^ 0x80] {
                    let mut damaged = case.body.clone();
                    damaged[at] = byte;
                    let _ = subject.provider().head(&ask, number, &damaged);
                    for (row, record) in subject.provider().parse(&ask, number, &damaged).transactions {
                        let Some(span) = spans.get(row as usize) else { continue };
                        let place = format!("{} byte {at} -> {byte:#x}, row {row}", case.file.display());
                        if span.contains(&at) {
                            assert!(is_exact(&record, &damaged[span.clone()]), "{place}: {record:?}");
                        } else {
                            assert_eq!(Some(&record), original.get(&row), "{place}");
                        }
                    }
                }
            }
        }
    }
}

/// Every path to an object member, as the keys and indices that lead there.
pub fn members(value: &Value, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                path.push(key.clone());
                out.push(path.clone());
                members(inner, path, out);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                path.push(index.to_string());
                members(inner, path, out);
                path.pop();
            }
        }
        _ => {}
    }
}

pub fn at<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        other => other.get_mut(step),
    })
}

#[test]
fn a_missing_or_retyped_member_costs_at_most_its_own_row() {
    for subject in subjects() {
        for case in &subject.cases {
            let ask = subject.ask(&case.feed);
            let number = subject.number(case);
            let Ok(value) = serde_json::from_slice::<Value>(&case.body) else {
                continue;
            };
            let original = subject.provider().parse(&ask, number, value.to_string().as_bytes());
            let mut paths = Vec::new();
            members(&value, &mut Vec::new(), &mut paths);
            for path in paths {
                let row: Option<u32> = path.iter().find_map(|step| step.parse().ok());
                for change in [
                    None,
                    Some(Value::Null),
                    Some("".into()),
                    Some(0.into()),
                    Some(Value::Array(vec![])),
                    Some(serde_json::json!({})),
                ] {
                    let mut damaged = value.clone();
                    let (last, parents) = path.split_last().expect("a path");
                    let Some(Value::Object(object)) = at(&mut damaged, parents) else {
                        continue;
                    };
                    match change {
                        None => object.remove(last),
                        Some(other) => object.insert(last.clone(), other),
                    };
                    let body = damaged.to_string();
                    let _ = subject.provider().head(&ask, number, body.as_bytes());
                    let parsed = subject.provider().parse(&ask, number, body.as_bytes());
                    let Some(row) = row else { continue };
                    let others = |p: &Parsed| -> Vec<(u32, Transaction)> {
                        p.transactions.iter().filter(|(r, _)| *r != row).cloned().collect()
                    };
                    let place = format!("{} {path:?}", case.file.display());
                    assert_eq!(others(&parsed), others(&original), "{place}");
                    let balances = |p: &Parsed| {
                        p.balances
                            .iter()
                            .filter(|(r, _)| *r != row)
                            .cloned()
                            .collect::<Vec<_>>()
                    };
                    assert_eq!(balances(&parsed), balances(&original), "{place}");
                    assert!(
                        rows_read(&parsed).contains(&row)
                            || parsed.foreign.is_some()
                            || !rows_read(&original).contains(&row)
                            || is_elsewhere(last),
                        "{place}: the row is gone"
                    );
                }
            }
        }
    }
}

/// Rows of another day or account than asked for are passed over; a changed day or account may make one of them.
fn is_elsewhere(key: &str) -> bool {
    matches!(key, "createdAt" | "date" | "identifier")
}

#[test]
fn a_key_that_stands_twice_makes_its_row_unreadable() {
    for subject in subjects() {
        for case in &subject.cases {
            let ask = subject.ask(&case.feed);
            let number = subject.number(case);
            let text = String::from_utf8(case.body.clone()).expect("text");
            let original = subject.provider().parse(&ask, number, &case.body);
            for (row, span) in (0_u32..).zip(row_spans(&case.body)) {
                let Ok(Value::Object(object)) = serde_json::from_str::<Value>(&text[span.clone()]) else {
                    continue;
                };
                for key in object.keys() {
                    let doubled = format!("{}{{\"{key}\":null,{}", &text[..span.start], &text[span.start + 1..]);
                    let parsed = subject.provider().parse(&ask, number, doubled.as_bytes());
                    let place = format!("{} row {row} {key}", case.file.display());
                    assert!(parsed.transactions.iter().all(|(r, _)| *r != row), "{place}");
                    assert!(parsed.balances.iter().all(|(r, _)| *r != row), "{place}");
                    assert_eq!(rows_read(&parsed), rows_read(&original), "{place}");
                }
            }
        }
    }
}

#[test]
fn no_reason_repeats_a_value_of_the_page() {
    for subject in subjects() {
        for case in &subject.cases {
            let ask = subject.ask(&case.feed);
            let number = subject.number(case);
            let Ok(value) = serde_json::from_slice::<Value>(&case.body) else {
                continue;
            };
            let mut paths = Vec::new();
            members(&value, &mut Vec::new(), &mut paths);
            for path in paths {
                let mut damaged = value.clone();
                if let Some(place) = at(&mut damaged, &path) {
                    *place = "4111111111111111 CANARY".into();
                }
                let body = damaged.to_string();
                let parsed = subject.provider().parse(&ask, number, body.as_bytes());
                let told = (
                    &parsed.unreadable,
                    &parsed.unknown_fields,
                    &parsed.warnings,
                    &parsed.foreign,
                    &parsed.misconfigured,
                );
                assert!(
                    !format!("{told:?}").contains("CANARY"),
                    "{} {path:?}",
                    case.file.display()
                );
                if let Err(bad) = subject.provider().head(&ask, number, body.as_bytes()) {
                    assert!(!bad.why.contains("CANARY"), "{path:?}");
                }
            }
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "data",
        "elements",
        "rows",
        "maxRows",
        "page",
        "success",
        "total",
        "totalPages",
        "id",
        "idDeposit",
        "idCashout",
        "transactionId",
        "amount",
        "currency",
        "status",
        "type",
        "value",
        "summary",
        "balances",
        "date",
        "createdAt",
        "nextPage",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["PEN", "1.00", "2025-03-04T00:00:00Z", "COMPLETED"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_give_a_value(bytes in prop::collection::vec(any::<u8>(), 0..200), number in 0_u32..5) {
        for subject in subjects() {
            for feed in subject.provider().feeds() {
                let ask = subject.ask(feed.name);
                let _ = subject.provider().head(&ask, number, &bytes);
                let parsed = subject.provider().parse(&ask, number, &bytes);
                prop_assert!(parsed.transactions.is_empty());
            }
        }
    }

    #[test]
    fn any_json_gives_a_value(value in json(), number in 0_u32..5) {
        let body = value.to_string();
        for subject in subjects() {
            for feed in subject.provider().feeds() {
                let ask = subject.ask(feed.name);
                let _ = subject.provider().head(&ask, number, body.as_bytes());
                let _ = subject.provider().parse(&ask, number, body.as_bytes());
            }
        }
    }

    #[test]
    fn any_history_of_pages_has_a_next_step(
        rows in prop::collection::vec((0_u32..4, 0_u32..3, prop::collection::vec(0_u64..6, 0..4), any::<bool>(), 0_u64..9), 0..8),
    ) {
        let heads: Vec<PageHead> = rows.into_iter().map(|(number, pages, ids, confirms, total)| PageHead {
            number, rows: ids.len() as u32, ids: ids.into(), confirms, total: Some(total), total_pages: Some(pages),
            next: (pages > 0).then(|| pages.to_string()), body: (pages > 1).then_some(total),
        }).collect();
        for subject in subjects() {
            for feed in subject.provider().feeds() {
                let _ = subject.provider().next(&subject.ask(feed.name), &heads);
            }
        }
    }
}
