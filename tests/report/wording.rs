//! The sentences of the discrepancies report: every kind has some, none is left half filled in, none names another provider.

use super::night::{DAY, Desk, JOB, job, strict_csv};

#[test]
fn every_kind_has_a_cause_and_an_action_in_words() {
    let desk = Desk::new();
    for (number, kind) in reconciled::record::Kind::ALL.iter().enumerate() {
        desk.sql(&format!(
            "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, business_day, first_seen_day,
               last_seen_day, age_days, what_differs, detail)
             VALUES ('{number:016}', '{JOB}', '{number}', '{kind}', 'open', '{DAY}', '{DAY}', '{DAY}', 0, '', '')"
        ));
    }
    let rows = strict_csv(&desk.produce(&job())[0].bytes, ',');
    assert_eq!(rows.len(), reconciled::record::Kind::ALL.len());
    for row in rows {
        for column in ["likely_cause", "suggested_action"] {
            assert!(
                row[column].len() > 10 && row[column] != "not described" && row[column] != "look at both sides",
                "{row:?}"
            );
        }
    }
}

/// What the `VALUES` of `wording` hold: kind, provider, flavour.
fn wording() -> Vec<(String, String, String)> {
    let sql = include_str!("../../reports/discrepancies.sql");
    let (_, values) = sql.split_once("    VALUES\n").unwrap();
    let (values, _) = values.split_once("\n  ),\n").unwrap();
    let key = |line: &str| {
        let parts: Vec<&str> = line.strip_prefix("      (")?.split('\'').collect();
        Some((parts[1].to_owned(), parts[3].to_owned(), parts[5].to_owned()))
    };
    values.lines().filter_map(key).collect()
}

#[test]
fn every_kind_has_a_sentence_for_any_provider_and_no_sentence_is_written_twice() {
    let mut keys = wording();
    assert!(keys.len() > 100, "{}", keys.len());
    for kind in reconciled::record::Kind::ALL {
        let any = (kind.to_string(), String::new(), String::new());
        assert!(keys.contains(&any), "{kind} has no sentence of last resort");
    }
    for (kind, provider, _) in &keys {
        assert!(kind.parse::<reconciled::record::Kind>().is_ok(), "{kind}");
        assert!(
            ["", "payvyne", "tupay", "one2pays", "twopay", "ayoconnect"].contains(&provider.as_str()),
            "{provider}"
        );
    }
    keys.sort();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all, "one key has two sentences");
}

#[test]
fn no_sentence_leaves_a_placeholder_open_and_each_speaks_of_its_own_provider() {
    let desk = Desk::new();
    let providers = ["payvyne", "tupay", "one2pays", "twopay", "ayoconnect", "acme-bank"];
    let mut number = 0;
    for kind in reconciled::record::Kind::ALL {
        for provider in providers {
            for (direction, word) in [("in", "PAYMENT"), ("out", "REFUND"), ("in", "TIMEOUT")] {
                number += 1;
                desk.sql(&format!(
                    "INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, provider, direction, currency,
                       provider_amount_minor, difference_minor, provider_status, ledger_status, reference, business_day,
                       first_seen_day, last_seen_day, age_days, what_differs, detail)
                     VALUES ('{number:016}', '{JOB}', '{number}', '{kind}', 'open', '{provider}', '{direction}', 'PEN', 1250, -250,
                       '{word}', 'done', 'ORD-1', '{DAY}', '{DAY}', '{DAY}', 0, '', '{provider} R1: seen')"
                ));
            }
        }
    }
    let rows = strict_csv(&desk.produce(&job())[0].bytes, ',');
    assert_eq!(rows.len(), number);
    let names = [
        ("payvyne", "PayVyne"),
        ("tupay", "TuPay"),
        ("one2pays", "One2Pays"),
        ("twopay", "TwoPay"),
        ("ayoconnect", "Ayoconnect"),
    ];
    for row in rows {
        let text = format!("{} {}", row["likely_cause"], row["suggested_action"]);
        assert!(!text.contains(['{', '}']), "{row:?}");
        for (provider, name) in names {
            assert!(row["provider"] == provider || !text.contains(name), "{row:?}");
        }
        assert!(
            !row["likely_cause"].ends_with('.') && !row["suggested_action"].ends_with('.'),
            "{row:?}"
        );
    }
}
