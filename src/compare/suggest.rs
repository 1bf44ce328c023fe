//! Pairs without a shared key: the only record and the only entry of an amount, days apart. A person decides. Pure.

use super::items::{Found, Spot};
use crate::day::BusinessDay;
use crate::record::Kind;

/// A row without a partner. Rows still inside their grace compete, but are not suggested.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lonely {
    spot: Spot,
    /// Position among the items; None for a pending one.
    item: Option<usize>,
}

/// Replaces two missing rows by one suggestion where each is the only candidate of the other within `days`.
pub fn pair_up(found: &mut Found, days: i64) {
    if days <= 0 {
        return;
    }
    let (mut records, mut entries) = (Vec::new(), Vec::new());
    let all = found
        .items
        .iter()
        .enumerate()
        .map(|(i, item)| (item.spot, item.kind, Some(i)));
    let pending = found.pending.iter().map(|p| (p.spot, p.becomes, None));
    for (spot, kind, item) in all.chain(pending) {
        if let Some(spot) = spot {
            let side = if kind == Kind::MissingInLedger {
                &mut records
            } else {
                &mut entries
            };
            side.push(Lonely { spot, item });
        }
    }
    records.sort_unstable();
    entries.sort_unstable();
    for record in &records {
        if let Some(entry) = only_one(&entries, record.spot, days)
            && only_one(&records, entry.spot, days).is_some()
            && let (Some(r), Some(e)) = (record.item, entry.item)
        {
            let (with, entry) = (found.items[e].entry, &mut found.items[e]);
            // Marked, and swept out below.
            entry.kind = Kind::Suggested;
            entry.entry = None;
            let item = &mut found.items[r];
            item.kind = Kind::Suggested;
            item.entry = with;
            item.difference = Some(0);
            item.told = None;
        }
    }
    found
        .items
        .retain(|item| item.kind != Kind::Suggested || item.record.is_some());
}

/// The one row of the same direction, currency and amount within `days`; None for none or several.
fn only_one(side: &[Lonely], spot: Spot, days: i64) -> Option<Lonely> {
    let same = |s: &Spot| (s.direction, s.currency, s.amount) == (spot.direction, spot.currency, spot.amount);
    let first = move_day(spot.day, -days);
    let from = side.partition_point(|l| l.spot < Spot { day: first, ..spot });
    let mut near = side[from..]
        .iter()
        .take_while(|l| same(&l.spot) && (l.spot.day - spot.day).num_days() <= days);
    match (near.next(), near.next()) {
        (Some(one), None) => Some(*one),
        _ => None,
    }
}

fn move_day(day: BusinessDay, days: i64) -> BusinessDay {
    chrono::TimeDelta::try_days(days)
        .and_then(|d| day.checked_add_signed(d))
        .unwrap_or(day)
}
