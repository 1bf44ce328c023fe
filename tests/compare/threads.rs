//! The program compares a large night on two threads and several connections; what it stores is what one connection finds.

use reconciled::compare;
use reconciled::day::last_day_over;
use reconciled::store::Store;
use rusqlite::Connection;

use super::world::{Ent, JOB, Rec, World, ZONE, as_of};

/// Enough groups for the rules to be worth a second thread.
const ROWS: i64 = 4_000;
/// Numbers this far apart make the table look large enough for two walks.
const APART: i64 = 20;

/// Equal and different pairs, several rows under one reference, rows without a reference, strays by id, both directions.
fn large_world() -> World {
    let world = World::new();
    world.sql("BEGIN");
    for n in 0..ROWS {
        // Scattered, so that both halves of the references hold every kind.
        let place = n * 7919 % (ROWS - ROWS / 10);
        let reference = format!("ref-{place:05}");
        let amount = if n % 5 == 0 { -100 - n } else { 100 + n };
        let mut record = Rec::new(&format!("id-{n}"), &reference, amount);
        let mut entry = Ent::new(&format!("e-{n}"), &reference, amount);
        entry.line = n + 2;
        match n % 11 {
            0..=6 => entry.amount += 1 + n % 3,
            7 => entry.status = "excluded",
            8 => record.kind = "fee",
            _ => {}
        }
        match n % 97 {
            1 => record.reference = None,
            2 => entry.reference = String::new(),
            3 => entry.provider_id = Some(format!("id-{}", (n + 1) % ROWS)),
            4 => record.status = "failed",
            5 => record.vanished = true,
            6 => entry.hours_ago = Some(1),
            _ => {}
        }
        world.add_record(&record);
        world.add_entry(&entry);
    }
    // Over the negative numbers: on the way no two rows may bear the same one.
    world.sql(&format!(
        "UPDATE transactions SET transaction_id = -transaction_id * {APART};
         UPDATE transactions SET transaction_id = -transaction_id; COMMIT"
    ));
    world
}

/// Everything a comparison writes, in the order in which it was written.
fn written(conn: &Connection) -> Vec<String> {
    let mut all = Vec::new();
    for query in [
        "SELECT * FROM discrepancies ORDER BY rowid",
        "SELECT * FROM discrepancy_events ORDER BY event_id",
        "SELECT * FROM pending_items ORDER BY job, identity",
        "SELECT * FROM chosen_pairs ORDER BY job, transaction_id",
        "SELECT * FROM run_counts ORDER BY run_id, currency, kind",
    ] {
        let mut statement = conn.prepare(query).expect("a select");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let cells: Vec<String> = (0..columns)
                .map(|column| format!("{:?}", row.get_ref(column).expect("a cell")))
                .collect();
            all.push(format!("{query}: {}", cells.join(" ")));
        }
    }
    all
}

#[test]
fn two_threads_store_what_one_connection_finds() {
    let mut world = large_world();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("reconciled.db");
    // The file is made before the night, by the program, and filled with the rows of the world.
    drop(Store::open(&path).expect("a database"));
    world
        .conn
        .execute("ATTACH ?1 AS file", [path.to_string_lossy()])
        .expect("the file");
    for table in ["windows", "transactions", "ledger_entries"] {
        let columns: String = world
            .conn
            .query_row(
                "SELECT group_concat(name, ', ') FROM pragma_table_info(?1)",
                [table],
                |row| row.get(0),
            )
            .expect("its columns");
        world.sql(&format!(
            "INSERT INTO file.{table} ({columns}) SELECT {columns} FROM main.{table}"
        ));
    }
    let business_day = last_day_over(as_of(), chrono::TimeDelta::minutes(10), ZONE);
    world.sql(&format!(
        "INSERT INTO file.runs (run_id, job, as_of, business_day, started_at) VALUES (1, '{JOB}', 'a', '{business_day}', 'a');
         DETACH file"
    ));

    let one = world.night().expect("the night on one connection");
    let store = Store::open(&path).expect("the database");
    let night = compare::Night {
        store: &store,
        job: &world.job,
        run_id: 1,
        as_of: as_of(),
        business_day,
        ledger: world.ledger.clone(),
        reading_complete: true,
        asked_since: as_of(),
    };
    let two = compare::compare(&night).expect("the night on several");
    assert_eq!(one, two);
    let (one, two) = (written(&world.conn), store.read(|c| Ok(written(c))).expect("the books"));
    assert!(one.len() > 5_000, "only {} rows were written", one.len());
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one, two);
    }
    assert_eq!(one.len(), two.len());
}
