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
