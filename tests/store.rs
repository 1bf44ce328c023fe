//! The store from outside: what it keeps over kills, what it makes of served rows, and what it refuses.

#[path = "store/file.rs"]
mod file;
#[path = "store/orders.rs"]
mod orders;
#[path = "store/pages.rs"]
mod pages;
#[path = "store/proof.rs"]
mod proof;
#[path = "store/provider.rs"]
mod provider;
#[path = "store/versions.rs"]
mod versions;
#[path = "store/windows.rs"]
mod windows;

use proptest::prelude::*;
use provider::*;
use reconciled::failure::Class;
use reconciled::providers::Ask;
use reconciled::store::{self, InstanceLock, Store, WindowState};
use serde_json::{Value, json};

const CURRENT: &str =
    "SELECT provider_id, amount, version, first_seen_at, seen_at, vanished_at FROM transactions ORDER BY provider_id";
const FIRST: &str = "2026-03-05T07:30:00.000Z";
const SECOND: &str = "2026-03-06T07:30:00.000Z";
const THIRD: &str = "2026-03-07T07:30:00.000Z";

/// What a replay finds, as `table row: what`.
fn replay_of(world: &World) -> Vec<String> {
    let replayed = store::replay(&world.store, &job()).unwrap();
    replayed
        .differences
        .iter()
        .map(|d| format!("{} {}: {}", d.table, d.row, d.what))
        .collect()
}

fn three_nights() -> World {
    let world = World::new();
    world.read(
        &ask("days", 4, night(5)),
        &[rows(&[row("a", 100), row("b", 7)]), rows(&[row("c", 1)])],
    );
    world.read(
        &ask("days", 4, night(6)),
        &[rows(&[row("a", 90), row("b", 7)]), rows(&[row("d", 1)])],
    );
    let figures = json!({"rows": [row("a", 90)], "balances": [{"item": "closing", "amount": 5}]});
    world.read(&ask("days", 4, night(7)), &[figures, rows(&[row("c", 1)])]);
    world
}
