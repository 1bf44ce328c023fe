//! What analysts are told: every query of `docs/analysts.md` runs and gives the figures of a shop whose truth is known, and
//! the Datasette file says of every table and column what `schema.sql` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::shop::{Shop, fill};

const SCHEMA: &str = include_str!("../../schema.sql");
const GUIDE: &str = include_str!("../../docs/analysts.md");

/// A shop with something for every view: fees, decisions, a closed period and what came late.
async fn busy() -> Shop {
    let shop = Shop::after_a_night("en").await;
    shop.take(
        "a.csv",
        &shop.filled(
            5,
            b',',
            &[fill("A-1", "accept", "known"), fill("A-2", "explain", "fee")],
        ),
    );
    let closed = shop.program(&[
        "close",
        "shop",
        "--through",
        "2026-03-05",
        "--by",
        "Berta",
        "--with-open",
    ]);
    assert_eq!(closed.status.code(), Some(0), "{closed:?}");
    shop.provider(&[
        ("A-1", "80.00", 1),
        ("A-2", "1234.50", 1),
        ("A-3", "7.00", 1),
        ("A-4", "10.00", 1),
        ("A-7", "1.00", 6),
    ]);
    shop.night(6).await;
    shop.tamper(
        "UPDATE transactions SET fee_minor = 100 + transaction_id, fee_currency = 'PEN' WHERE reference IN ('A-1', 'A-2');
         INSERT INTO statement_lines (job, account, currency, business_day, position, line, amount_minor, source)
         VALUES ('shop', '', 'PEN', '2026-03-06', 0, 'opening', 100, 'rows');
         INSERT INTO windows (job, feed, from_at, until_at, state, reason) VALUES
           ('shop', 'payments', '2026-03-06T00:00:00.000Z', '2026-03-07T00:00:00.000Z', 'open', 'the provider was down');",
    );
    shop
}

/// Title above it and text of every query of the page.
fn queries() -> Vec<(String, String)> {
    let (mut title, mut all, mut inside): (String, Vec<(String, String)>, Option<String>) =
        (String::new(), Vec::new(), None);
    for line in GUIDE.lines() {
        match (&mut inside, line) {
            (None, "```sql") => inside = Some(String::new()),
            (Some(text), "```") => {
                all.push((title.clone(), text.trim_end().to_owned()));
                inside = None;
            }
            (Some(text), line) => text.extend([line, "\n"]),
            (None, line) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    heading.clone_into(&mut title);
                }
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_guide_runs_and_finds_something() {
    let shop = busy().await;
    let queries = queries();
    assert!(queries.len() >= 15, "{}", queries.len());
    for (title, sql) in &queries {
        assert!(!shop.sql(sql).is_empty(), "{title}: nothing found\n{sql}");
    }
    // Every view and every table for the desk is asked somewhere.
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    for view in names(
        &conn,
        "SELECT name FROM sqlite_schema WHERE type = 'view' AND name LIKE 'v\\_%' ESCAPE '\\'",
    ) {
        // The totals by kind of the reports; the page shows the ones by status.
        assert!(
            GUIDE.contains(&view) || view == "v_daily_totals",
            "the guide does not show {view}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_give_the_figures_of_the_shop() {
    let shop = busy().await;
    assert_eq!(
        shop.sql("SELECT business_day, settled, matched, unmatched, match_rate FROM v_match_rate ORDER BY 1"),
        // A-4 alone agrees; A-7 is not booked yet.
        ["2026-03-01|4|1|3|25.00", "2026-03-06|1|0|1|0.00"]
    );
    assert_eq!(
        shop.sql("SELECT business_day, direction, status, count, amount FROM v_volume_by_status ORDER BY 1"),
        ["2026-03-01|in|settled|4|1331.50", "2026-03-06|in|settled|1|1.00"]
    );
    assert_eq!(
        shop.sql("SELECT business_day, records, amount, fee_minor = (SELECT sum(fee_minor) FROM transactions) FROM v_fees_by_day"),
        ["2026-03-01|2|1314.50|1"]
    );
    assert_eq!(
        shop.sql("SELECT kind, age_bucket, open, acknowledged, oldest_day, difference FROM v_ageing ORDER BY 1"),
        [
            "amount_mismatch|0-1 days|1|1|2026-03-05|14.50",
            "changed_after_final|0-1 days|1|0|2026-03-06|-10.00",
            "missing_in_ledger|0-1 days|1|0|2026-03-05|7.00",
            "missing_in_provider|0-1 days|1|0|2026-03-05|-5.00",
        ]
    );
    assert_eq!(
        shop.sql("SELECT reference, holds FROM v_decisions JOIN discrepancies USING (discrepancy_id) ORDER BY 1"),
        ["A-1|expired", "A-2|yes"]
    );
    assert_eq!(
        shop.sql("SELECT business_day, amount_before, amount, closed_through FROM v_late_changes"),
        ["2026-03-01|90.00|80.00|2026-03-05"]
    );
}

fn names(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Comment lines right above a line, joined.
fn above(lines: &[&str], at: usize) -> Vec<String> {
    let mut texts: Vec<String> = lines[..at]
        .iter()
        .rev()
        .map_while(|line| line.strip_prefix("--"))
        .map(str::to_owned)
        .collect();
    texts.reverse();
    texts
}

/// What `schema.sql` says of a table or view, and of its columns.
fn said(name: &str) -> (String, BTreeMap<String, String>) {
    let lines: Vec<&str> = SCHEMA.lines().collect();
    let begins = |line: &str| {
        line.starts_with(&format!("CREATE TABLE {name} ")) || line.starts_with(&format!("CREATE VIEW {name} "))
    };
    let at = lines.iter().position(|line: &&str| begins(line)).unwrap();
    let mut columns = BTreeMap::new();
    let mut prose = Vec::new();
    let mut last: Option<String> = None;
    // Views: `--   column   what it is` stands in the comment above.
    for line in above(&lines, at) {
        match line
            .strip_prefix("   ")
            .map(|rest| (rest.starts_with(' '), rest.trim()))
        {
            Some((false, rest)) if rest.contains("  ") => {
                let (column, text) = rest.split_once("  ").unwrap();
                columns.insert(column.to_owned(), text.trim().to_owned());
                last = Some(column.to_owned());
            }
            Some((true, more)) if last.is_some() => {
                columns
                    .get_mut(last.as_ref().unwrap())
                    .unwrap()
                    .push_str(&format!(" {more}"));
            }
            _ => prose.push(line.trim().to_owned()),
        }
    }
    let mut column = None;
    for line in lines[at + 1..]
        .iter()
        .take_while(|line| !line.starts_with(')') && !line.is_empty())
    {
        let code = line.split_once("-- ").map_or(*line, |(code, _)| code);
        let word = code.split_whitespace().next().unwrap_or_default();
        let is_name = word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if code.starts_with("  ") && !code.starts_with("   ") && is_name && !word.is_empty() {
            column = Some(word.to_owned());
        }
        let Some((_, text)) = line.split_once("-- ") else {
            continue;
        };
        if code.trim().is_empty() && line.starts_with("  -- ") {
            // `-- amount: what it is` above a generated column.
            if let Some((name, text)) = text.split_once(": ") {
                columns.insert(name.to_owned(), text.to_owned());
            }
            continue;
        }
        if let Some(column) = &column {
            let told: &mut String = columns.entry(column.clone()).or_default();
            if !told.is_empty() {
                told.push(' ');
            }
            told.push_str(text.trim());
        }
    }
    (prose.join(" "), columns)
}

/// The Datasette file, made from `schema.sql` and the guide.
fn metadata() -> Value {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    let objects = names(
        &conn,
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%' ORDER BY type, name",
    );
    let known: BTreeMap<String, BTreeMap<String, String>> =
        objects.iter().map(|name| (name.clone(), said(name).1)).collect();
    // Where a view shows a column of a table under its name, the table's words hold; the desk's own tables speak last.
    let mut tables = Map::new();
    let mut unexplained = Vec::new();
    for name in &objects {
        let found = ["v_open_discrepancies", "v_ageing", "v_decisions"].contains(&name.as_str());
        let first = if found { "discrepancies" } else { "transactions" };
        let mut common: BTreeMap<&str, &str> = BTreeMap::new();
        for table in [
            first,
            "transactions",
            "ledger_entries",
            "statement_lines",
            "windows",
            "discrepancies",
            "decisions",
            "chosen_pairs",
        ] {
            for (column, text) in &known[table] {
                common.entry(column).or_insert(text);
            }
        }
        let mut columns = Map::new();
        for column in names(&conn, &format!("SELECT name FROM pragma_table_xinfo('{name}')")) {
            let text = known[name]
                .get(&column)
                .map(String::as_str)
                .or_else(|| common.get(column.as_str()).copied());
            let text = match (text, column.strip_suffix("_minor")) {
                (Some(text), _) => text.to_owned(),
                (None, Some(_)) => "minor units, signed".to_owned(),
                (None, None)
                    if columns.contains_key(&format!("{column}_minor")) || column == "amount" || column == "fee" =>
                {
                    format!("{column}_minor as plain decimal text")
                }
                (None, None) => {
                    unexplained.push(format!("{name}.{column}"));
                    continue;
                }
            };
            columns.insert(column, json!(text));
        }
        let description = said(name).0;
        assert!(!description.is_empty(), "{name}");
        tables.insert(name.clone(), json!({ "description": description, "columns": columns }));
    }
    assert!(unexplained.is_empty(), "schema.sql explains nowhere {unexplained:?}");
    let mut queries_of: Map<String, Value> = Map::new();
    for (number, (title, sql)) in queries().into_iter().enumerate() {
        queries_of.insert(format!("q{:02}", number + 1), json!({ "title": title, "sql": sql }));
    }
    json!({
        "title": "reconciled",
        "description": "Provider records, ledger, discrepancies and decisions; read-only copy, replaced after every run",
        "databases": { "reconciled-latest": { "tables": tables, "queries": queries_of } }
    })
}

#[test]
fn the_datasette_file_says_what_the_schema_and_the_guide_say() {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/datasette-metadata.json");
    let made = serde_json::to_string_pretty(&metadata()).unwrap() + "\n";
    if std::env::var_os("ACCEPT").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == made,
        "{} differs from schema.sql or docs/analysts.md; ACCEPT=1 writes it anew",
        file.display()
    );
}
