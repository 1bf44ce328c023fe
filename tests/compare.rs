//! The comparison: given rows and expected discrepancies, random worlds against a slow second implementation, and stories
//! over several nights.

#[path = "compare/aside.rs"]
mod aside;
#[path = "compare/bank.rs"]
mod bank;
#[path = "compare/losses.rs"]
mod losses;
#[path = "compare/relations.rs"]
mod relations;
#[path = "compare/slow.rs"]
mod slow;
#[path = "compare/stories.rs"]
mod stories;
#[path = "compare/threads.rs"]
mod threads;
#[path = "compare/world.rs"]
mod world;

use chrono::TimeDelta;
use proptest::prelude::*;
use reconciled::record::Verdict;
use serde::Deserialize;
use world::{Ent, Rec, Seen, World, as_of, at, day};

#[derive(Deserialize)]
struct Cases {
    case: Vec<Given>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    #[serde(default)]
    records: Vec<GivenRow>,
    #[serde(default)]
    entries: Vec<GivenRow>,
    #[serde(default)]
    open: Vec<String>,
    #[serde(default)]
    matched: u64,
    #[serde(default)]
    pending: u64,
    #[serde(default)]
    excluded: u64,
    tolerance: Option<String>,
    suggest_days: Option<i64>,
    grace_ledger_hours: Option<i64>,
    grace_provider_hours: Option<i64>,
    unread: Option<[String; 2]>,
    what_differs: Option<String>,
    detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenRow {
    id: String,
    r#ref: Option<String>,
    amount: i64,
    currency: Option<String>,
    direction: Option<String>,
    kind: Option<String>,
    fee: Option<i64>,
    fee_currency: Option<String>,
    status: Option<String>,
    ago: Option<i64>,
    line: Option<i64>,
    provider_id: Option<String>,
    #[serde(default)]
    was_settled: bool,
    #[serde(default)]
    vanished: bool,
}

fn leak(text: &Option<String>, default: &'static str) -> &'static str {
    text.clone().map_or(default, |t| Box::leak(t.into_boxed_str()))
}

impl GivenRow {
    fn record(&self) -> Rec {
        let plain = Rec::new(&self.id, "", self.amount);
        Rec {
            reference: self.r#ref.clone(),
            direction: leak(&self.direction, plain.direction),
            kind: leak(&self.kind, plain.kind),
            currency: leak(&self.currency, plain.currency),
            fee: self.fee,
            fee_currency: self.fee_currency.as_ref().map(|_| leak(&self.fee_currency, "")),
            status: leak(&self.status, plain.status),
            was_settled: self.was_settled,
            hours_ago: self.ago.unwrap_or(plain.hours_ago),
            vanished: self.vanished,
            ..plain
        }
    }

    fn entry(&self) -> Ent {
        let plain = Ent::new(&self.id, self.r#ref.as_deref().unwrap_or_default(), self.amount);
        Ent {
            provider_id: self.provider_id.clone(),
            direction: leak(&self.direction, plain.direction),
            currency: leak(&self.currency, plain.currency),
            fee: self.fee,
            status: leak(&self.status, plain.status),
            hours_ago: self.ago.or(plain.hours_ago),
            line: self.line.unwrap_or(plain.line),
            ..plain
        }
    }
}

fn seen(text: &str) -> Seen {
    let parts: Vec<&str> = text.split(' ').collect();
    let some = |part: &str| Some(part.to_owned()).filter(|p| p != "-");
    Seen {
        kind: parts[0].into(),
        provider_id: some(parts[1]),
        ledger_id: some(parts[2]),
        difference: some(parts[3]).map(|d| d.parse().expect("a difference")),
    }
}

/// Turns a stretch of the one window into an unread one.
fn leave_unread(world: &World, from: chrono::DateTime<chrono::Utc>, until: chrono::DateTime<chrono::Utc>) {
    world.sql(&format!("DELETE FROM windows WHERE job = '{}'", world::JOB));
    world.window(at("2026-01-01T05:00:00Z"), from, "sealed");
    world.window(from, until, "open");
    world.window(until, at("2026-03-20T05:00:00Z"), "sealed");
}

fn run_cases(text: &str) {
    let cases: Cases = toml::from_str(text).expect("the cases");
    assert!(!cases.case.is_empty());
    for case in cases.case {
        let records: Vec<Rec> = case.records.iter().map(GivenRow::record).collect();
        let entries: Vec<Ent> = case.entries.iter().map(GivenRow::entry).collect();
        let mut world = World::with(&records, &entries);
        let matching = &mut world.job.matching;
        if let Some(tolerance) = &case.tolerance {
            matching.amount_tolerance.clone_from(tolerance);
        }
        matching.suggest_days = case.suggest_days.unwrap_or(matching.suggest_days);
        matching.grace_ledger = case.grace_ledger_hours.map_or(matching.grace_ledger, TimeDelta::hours);
        matching.grace_provider = case
            .grace_provider_hours
            .map_or(matching.grace_provider, TimeDelta::hours);
        if let Some([from, until]) = &case.unread {
            leave_unread(&world, at(from), at(until));
        }
        let outcome = world
            .night()
            .unwrap_or_else(|failure| panic!("{}: {failure}", case.name));
        let mut expected: Vec<Seen> = case.open.iter().map(|t| seen(t)).collect();
        expected.sort();
        assert_eq!(world.open(), expected, "{}", case.name);
        let buckets = (outcome.matched, outcome.pending, outcome.excluded);
        assert_eq!(
            buckets,
            (case.matched, case.pending, case.excluded),
            "{}: buckets",
            case.name
        );
        let pairs = world.number("SELECT count(*) FROM matches");
        assert_eq!(pairs as u64, case.matched, "{}: the view `matches`", case.name);
        if let Some(text) = &case.what_differs {
            assert_eq!(
                &world.text("SELECT what_differs FROM discrepancies"),
                text,
                "{}",
                case.name
            );
        }
        if let Some(text) = &case.detail {
            assert_eq!(&world.text("SELECT detail FROM discrepancies"), text, "{}", case.name);
        }
        let before = world.dump();
        world.night().expect("the same night again");
        assert_eq!(world.dump(), before, "{}: the same night again", case.name);
    }
}

#[test]
fn every_kind_of_records_against_entries_is_found_where_it_is_and_nowhere_else() {
    run_cases(include_str!("cases/compare/kinds.toml"));
}

#[test]
fn the_traps_that_others_fell_into_are_not_ours() {
    run_cases(include_str!("cases/compare/traps.toml"));
}

// ---------------------------------------------------------------------------------------------------------------------
// Random worlds

fn records(plain: bool) -> impl Strategy<Value = Vec<Rec>> {
    let row = (
        prop::sample::select(vec!["A", "A", "B", "C", ""]),
        prop::sample::select(vec![100_i64, 100, 104, 200, 5000]),
        prop::sample::select(vec!["in", "in", "out"]),
        prop::sample::select(vec!["PEN", "PEN", "PEN", "USD"]),
        prop::sample::select(vec!["settled", "settled", "settled", "open", "failed", "unknown"]),
        prop::sample::select(vec!["deposit", "deposit", "deposit", "refund", "fee", "unknown"]),
        prop::option::of(prop::sample::select(vec![1_i64, 2])),
        prop::sample::select(vec![2_i64, 23, 30, 80, 230, 240, 250, 400, 2400]),
        any::<bool>(),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.7),
    );
    prop::collection::vec(row, 0..7).prop_map(move |rows| {
        let all = rows.into_iter().enumerate().map(|(i, row)| Rec {
            reference: if plain {
                Some(format!("R{i}"))
            } else {
                Some(row.0.into()).filter(|r: &String| !r.is_empty())
            },
            direction: row.2,
            currency: row.3,
            status: if plain && row.4 == "unknown" { "settled" } else { row.4 },
            kind: if plain && row.5 == "unknown" { "deposit" } else { row.5 },
            fee: row.6,
            hours_ago: row.7,
            was_settled: row.8 && row.4 == "failed",
            vanished: row.9,
            dated: row.10,
            ..Rec::new(&format!("p{i}"), "", if row.2 == "out" { -row.1 } else { row.1 })
        });
        all.collect()
    })
}

fn entries(plain: bool) -> impl Strategy<Value = Vec<Ent>> {
    let row = (
        prop::sample::select(vec!["A", "A", "B", "C", "D"]),
        prop::sample::select(vec![100_i64, 100, 104, 200, 5000]),
        prop::sample::select(vec!["in", "in", "out"]),
        prop::sample::select(vec!["PEN", "PEN", "PEN", "USD"]),
        prop::sample::select(vec![
            "settled", "settled", "settled", "open", "failed", "unknown", "excluded",
        ]),
        prop::option::weighted(0.3, prop::sample::select(vec!["p0", "p1", "p2", "p3", "p9"])),
        prop::option::of(prop::sample::select(vec![1_i64, 2])),
        prop::option::weighted(0.9, prop::sample::select(vec![2_i64, 30, 80, 230, 240, 250, 400, 2400])),
    );
    prop::collection::vec(row, 0..7).prop_map(move |rows| {
        let all = rows.into_iter().enumerate().map(|(i, row)| Ent {
            direction: row.2,
            currency: row.3,
            status: if plain && row.4 == "unknown" { "settled" } else { row.4 },
            provider_id: row.5.map(str::to_owned),
            fee: row.6,
            hours_ago: row.7,
            line: 2 + i as i64,
            ..Ent::new(
                &format!("l{i}"),
                &if plain { format!("R{i}") } else { row.0.to_owned() },
                if row.2 == "out" { -row.1 } else { row.1 },
            )
        });
        all.collect()
    })
}

/// Some spans around the times that the worlds use.
fn unread() -> impl Strategy<Value = slow::Unread> {
    prop::option::weighted(
        0.3,
        Just((as_of() - TimeDelta::hours(245), as_of() - TimeDelta::hours(225))),
    )
}

fn misconfigured(failure: &reconciled::failure::Failure) -> bool {
    failure.message.contains("unit misconfigured")
}

/// Most rows are settled money out under one reference, at the provider refunds.
fn refunded(mut records: Vec<Rec>, mut entries: Vec<Ent>) -> (Vec<Rec>, Vec<Ent>) {
    for (i, r) in records.iter_mut().enumerate().filter(|(i, _)| i % 4 != 3) {
        (r.direction, r.currency, r.reference) = (if i == 0 { "in" } else { "out" }, "PEN", Some("A".into()));
        r.amount = r.amount.abs() * if i == 0 { 2 } else { -1 };
        (r.was_settled, r.status) = (false, if i == 4 { r.status } else { "settled" });
        r.kind = if r.kind == "deposit" && i > 0 { "refund" } else { r.kind };
    }
    for (i, e) in entries.iter_mut().enumerate().filter(|(i, _)| i % 4 != 3) {
        (e.direction, e.currency, e.reference) = ("out", "PEN", "A".into());
        e.amount = -e.amount.abs();
        e.status = if i == 4 { e.status } else { "settled" };
        e.provider_id = e.provider_id.take().filter(|_| i == 2);
    }
    (records, entries)
}

fn agree(
    records: &[Rec],
    entries: &[Ent],
    unread: slow::Unread,
    tolerance: i64,
    suggest_days: i64,
) -> Result<(), TestCaseError> {
    let mut world = World::with(records, entries);
    world.job.matching.amount_tolerance = format!("0.0{tolerance}");
    world.job.matching.suggest_days = suggest_days;
    if let Some((from, until)) = unread {
        leave_unread(&world, from, until);
    }
    let truth = slow::truth(records, entries, tolerance, suggest_days, unread);
    let outcome = match world.night() {
        Ok(outcome) => outcome,
        Err(failure) => {
            prop_assert!(misconfigured(&failure), "{failure}");
            return Ok(());
        }
    };
    let open: Vec<Seen> = world
        .open()
        .into_iter()
        .filter(|s| s.kind != "incomplete_window")
        .collect();
    prop_assert_eq!(&open, &truth.open);
    let buckets = (outcome.matched, outcome.pending, outcome.excluded);
    prop_assert_eq!(buckets, (truth.matched, truth.pending, truth.excluded));
    prop_assert_eq!(world.number("SELECT count(*) FROM matches") as u64, outcome.matched);
    prop_assert_eq!(
        world.number("SELECT count(*) FROM pending_items") as u64,
        outcome.pending
    );
    prop_assert_eq!(outcome.open, outcome.new + outcome.reopened + outcome.persisting);
    let before = world.dump();
    let again = world.night().expect("the same night again");
    prop_assert_eq!(again, outcome);
    prop_assert_eq!(world.dump(), before);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_comparison_and_its_slow_second_implementation_agree(
        records in records(false), entries in entries(false), unread in unread(),
        tolerance in prop::sample::select(vec![0_i64, 4]), suggest_days in prop::sample::select(vec![0_i64, 2]),
    ) {
        agree(&records, &entries, unread, tolerance, suggest_days)?;
    }

    #[test]
    fn they_agree_about_several_refunds_of_one_payment_too(
        records in records(false), entries in entries(false), tolerance in prop::sample::select(vec![0_i64, 4]),
    ) {
        let (records, entries) = refunded(records, entries);
        agree(&records, &entries, None, tolerance, 2)?;
    }

    #[test]
    fn rows_of_one_reference_in_any_order_give_the_same_discrepancies(
        records in records(false), entries in entries(false), seed: u64,
    ) {
        let mut world = World::with(&records, &entries);
        let (mut shuffled, mut mixed) = (records.clone(), entries.clone());
        let turn = seed as usize;
        if !shuffled.is_empty() { let n = turn % shuffled.len(); shuffled.rotate_left(n); }
        if !mixed.is_empty() { let n = turn % mixed.len(); mixed.rotate_left(n); }
        let mut other = World::with(&shuffled, &mixed);
        if world.night().is_ok() {
            other.night().expect("the same rows in another order");
            prop_assert_eq!(world.open(), other.open());
        }
    }

    #[test]
    fn the_ledger_check_in_sql_gives_the_same_answer_on_the_plain_kinds(
        records in records(true), entries in entries(true), tolerance in prop::sample::select(vec![0_i64, 4]),
    ) {
        // Twice is for the rules of the program, and so is who may have a vanished record's name.
        let named: Vec<&String> = entries.iter().filter(|e| e.status != "excluded").filter_map(|e| e.provider_id.as_ref()).collect();
        let twice = (1..named.len()).any(|n| named[..n].contains(&named[n]));
        let gone = records.iter().any(|r| r.vanished && named.contains(&&r.id));
        let unclear = records.iter().any(|r| named.contains(&&r.id) && (r.kind == "fee" || r.status == "unknown"));
        if twice || gone || unclear { return Ok(()); }
        let mut world = World::with(&records, &entries);
        world.job.matching.suggest_days = 0;
        world.job.matching.amount_tolerance = format!("0.0{tolerance}");
        if world.night().is_err() { return Ok(()); }
        let sql = reconciled::compare::sql("ledger", &world.job, as_of(), day("2026-03-19")).expect("a check");
        let mut statement = world.conn.prepare(&sql).expect("the check");
        let found = statement.query_map([], |row| Ok(Seen {
            kind: row.get("kind")?, provider_id: row.get("provider_id")?, ledger_id: row.get("ledger_id")?,
            difference: row.get("difference_minor")?,
        }));
        let mut found: Vec<Seen> = found.expect("rows").map(|r| r.expect("a row")).collect();
        found.sort();
        prop_assert_eq!(found, world.select("state <> 'resolved' AND kind NOT IN ('vanished', 'changed_after_final')"));
    }
}

#[test]
fn a_record_that_vanishes_keeps_the_row_its_reference_had() {
    let mut world = World::with(&[Rec::new("p1", "ORD-1", 10_000)], &[]);
    world.night().expect("a night");
    let id = world.text("SELECT discrepancy_id || ' ' || first_seen_day FROM discrepancies");
    world.sql("UPDATE transactions SET vanished_at = '2026-03-21T08:00:00.000Z'");
    let next = world
        .night_at(as_of() + TimeDelta::days(1))
        .expect("the record is gone");
    assert_eq!((next.open, next.new, next.resolved), (1, 0, 0));
    assert_eq!(
        world.texts("SELECT kind || ' ' || discrepancy_id || ' ' || first_seen_day FROM discrepancies"),
        [format!("vanished {id}")]
    );
    world.add_entry(&Ent::new("l1", "ORD-1", 10_000));
    let booked = world
        .night_at(as_of() + TimeDelta::days(2))
        .expect("the ledger follows");
    assert_eq!((booked.open, booked.pending), (1, 0));
    world.sql("UPDATE transactions SET vanished_at = NULL");
    let back = world.night_at(as_of() + TimeDelta::days(3)).expect("it is back");
    assert_eq!((back.open, back.resolved, back.matched), (0, 1, 1));
}

#[test]
fn every_check_runs_as_it_is_printed() {
    let mut world = World::with(&[Rec::new("p1", "A", 100)], &[Ent::new("l'1", "B", 100)]);
    world.night().expect("a night");
    for (name, _, _) in reconciled::compare::CHECKS {
        let sql = reconciled::compare::sql(name, &world.job, as_of(), day("2026-03-19")).expect("a check");
        let unfilled = sql
            .lines()
            .filter(|l| !l.trim_start().starts_with("--"))
            .any(|l| l.contains(" :") || l.contains("(:"));
        assert!(!unfilled, "{name} keeps a parameter: {sql}");
        world
            .conn
            .execute_batch(&format!("{sql}{sql}"))
            .unwrap_or_else(|e| panic!("{name} after {name}: {e}"));
        let mut statement = world.conn.prepare(&sql).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut rows = statement.query([]).expect("no parameter is left");
        while rows.next().unwrap_or_else(|e| panic!("{name}: {e}")).is_some() {}
    }
    assert_eq!(
        reconciled::compare::sql("nonsense", &world.job, as_of(), day("2026-03-19")),
        None
    );
}

#[test]
fn the_printed_ledger_check_calls_nothing_missing_where_there_is_no_ledger() {
    let mut world = World::with(&[Rec::new("p1", "A", 100)], &[]);
    let rows = |world: &World| {
        let sql = reconciled::compare::sql("ledger", &world.job, as_of(), day("2026-03-19")).expect("a check");
        world.texts(&sql).len()
    };
    assert_eq!(rows(&world), 1);
    world.job.ledger = None;
    assert_eq!(rows(&world), 0);
}

#[test]
fn all_pairs_off_by_a_hundred_stop_the_job_and_nothing_is_written() {
    for (theirs, ours) in [(100, 10_000), (10_000, 100)] {
        let rows = |n: i64| {
            (
                Rec::new(&format!("p{n}"), &format!("R{n}"), theirs * n),
                Ent::new(&format!("l{n}"), &format!("R{n}"), ours * n),
            )
        };
        let (records, entries): (Vec<Rec>, Vec<Ent>) = (1..=3).map(rows).unzip();
        let mut world = World::with(&records, &entries);
        let failure = world.night().expect_err("a wrong unit");
        assert_eq!(failure.class.code(), 78);
        assert!(misconfigured(&failure), "{failure}");
        assert_eq!(world.number("SELECT count(*) FROM discrepancies"), 0);

        let two = World::with(&records[..2], &entries[..2])
            .night()
            .expect_err("a wrong unit");
        assert!(misconfigured(&two), "{two}");
        // One pair proves nothing; one pair that agrees proves the unit right.
        let mut few = World::with(&records[..1], &entries[..1]);
        assert_eq!(few.night().expect("a night").open, 1);
        let mut one_right = World::with(&records, &entries);
        one_right.add_record(&Rec::new("p9", "R9", 777));
        one_right.add_entry(&Ent::new("l9", "R9", 777));
        assert_eq!(one_right.night().expect("a night").open, 3);
    }
}

#[test]
fn twenty_thousand_rows_under_one_reference_are_compared_in_reasonable_time() {
    let mut world = World::new();
    world.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO transactions (job, provider, account, feed, provider_id, reference, direction, kind, currency, amount_minor,
           status, provider_status, occurred_at, business_day, first_seen_at, seen_at)
         SELECT 'shop', 'tupay', '456', 'deposits', 'p' || i, 'N/A', 'in', 'deposit', 'PEN', i, 'settled', 'COMPLETED',
           '2026-03-04T10:00:00.000Z', '2026-03-04', '2026-03-05T08:00:00.000Z', '2026-03-05T08:00:00.000Z' FROM n;
         WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 20001)
         INSERT INTO ledger_entries (job, reference, direction, currency, amount_minor, status, booked_at, source, source_line)
         SELECT 'shop', 'N/A', 'in', 'PEN', i, 'settled', '2026-03-04T10:00:00.000Z', 'ledger.csv', i FROM n;",
    );
    let started = std::time::Instant::now();
    let outcome = world.night().expect("a night");
    assert_eq!((outcome.matched, outcome.open), (19_999, 1));
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    assert_eq!(outcome.verdict, Verdict::Discrepancies);
}

#[test]
fn an_account_of_the_ledger_keeps_rows_apart_where_it_names_the_providers_accounts() {
    let rec = |id: &str, account: &str| Rec {
        account: account.into(),
        ..Rec::new(id, id, 100)
    };
    let ent = |id: &str, account: &str| Ent {
        account: Some(account.into()),
        ..Ent::new(id, id, 100)
    };
    // One account at the provider; the second entry is of another one.
    let mut world = World::with(
        &[rec("a", "GBP3"), rec("b", "GBP3")],
        &[ent("a", "GBP3"), ent("b", "EUR1")],
    );
    world.job.matching.suggest_days = 0;
    let outcome = world.night().expect("a night");
    assert_eq!(outcome.matched, 1);
    assert_eq!(world.number("SELECT count(*) FROM matches"), 1);
    let kinds: Vec<String> = world.open().into_iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, ["missing_in_ledger", "missing_in_provider"]);
    // Names of the ledger's own say nothing about the provider's accounts.
    let mut own = World::with(
        &[rec("a", "GBP3"), rec("b", "EUR1")],
        &[ent("a", "till 1"), ent("b", "till 2")],
    );
    assert_eq!(own.night().expect("a night").matched, 2);
    assert_eq!(own.number("SELECT count(*) FROM matches"), 2);
}

#[test]
fn an_entry_is_missing_only_after_the_provider_may_no_longer_be_silent_about_it() {
    let booked = |world: &mut World| {
        world.add_entry(&Ent {
            hours_ago: Some(100),
            ..Ent::new("l", "R", 100)
        });
    };
    let mut world = World::new();
    world.sweeps(3);
    booked(&mut world);
    assert_eq!(world.night().expect("a night").open, 1);
    let mut world = World::new();
    world.sweeps(5);
    booked(&mut world);
    let outcome = world.night().expect("a night");
    assert_eq!((outcome.open, outcome.pending), (0, 1));
    let later = as_of() + TimeDelta::hours(24);
    world.read_sweeps_until(day("2026-03-20"));
    assert_eq!(world.night_at(later).expect("a night").open, 1);
    let query = reconciled::compare::sql("ledger", &world.job, later, day("2026-03-20")).expect("a check");
    assert_eq!(world.text(&query), "missing_in_provider");
    let query = reconciled::compare::sql("ledger", &world.job, as_of(), day("2026-03-19")).expect("a check");
    assert!(world.conn.query_row(&query, [], |_| Ok(())).is_err());
}
