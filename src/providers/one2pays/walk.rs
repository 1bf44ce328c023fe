//! How One2Pays' lists are walked: page 1, then all the others; the stated total proves that nothing slipped through.

use std::collections::BTreeMap;

use super::{Ask, BALANCE, PageHead, Step};
use crate::providers::MAX_PAGES;
use crate::providers::twice::read_twice;

/// What a page says about its order, for `assume_sort`: carried from the head to the walk in [`PageHead::next`], which
/// numbered pages do not need otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Creation of the first and last row, in milliseconds; in between nothing increases.
    pub newest: i64,
    pub oldest: i64,
    /// The last row is older than anything wanted.
    pub old_enough: bool,
}

impl Order {
    pub(super) fn write(self) -> String {
        format!("{} {} {}", self.newest, self.oldest, u8::from(self.old_enough))
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ').map(str::parse::<i64>);
        let mut part = || parts.next()?.ok();
        Some(Self {
            newest: part()?,
            oldest: part()?,
            old_enough: part()? == 1,
        })
    }
}

pub(super) fn next(ask: &Ask, heads: &[PageHead]) -> Step {
    let pages: BTreeMap<u32, &PageHead> = heads
        .iter()
        .filter(|head| !head.confirms)
        .map(|head| (head.number, head))
        .collect();
    let Some(first) = pages.get(&1) else {
        return get(1);
    };
    if ask.feed == BALANCE || ask.subject.is_some() {
        return Step::Done;
    }
    if let Some(why) = moved(first, &pages) {
        return Step::Again { why };
    }
    if let Some(number) = repeats_the_page_before(&pages) {
        return Step::Broken {
            why: format!("page {number} repeats the page before: the page number is ignored"),
        };
    }
    let step = newest_first(&pages).unwrap_or_else(|| to_the_end(first, &pages));
    match step {
        // Nothing to count by: a row deleted behind the walk is seen only when the pages are read again.
        Step::Done if first.total.is_none() && pages.len() > 1 => read_twice(heads).unwrap_or(Step::Done),
        step => step,
    }
}

/// Every page the list states, then its total.
fn to_the_end(first: &PageHead, pages: &BTreeMap<u32, &PageHead>) -> Step {
    match first.total_pages {
        Some(all) if all > MAX_PAGES => Step::Broken {
            why: format!("the list states {all} pages, more than this program reads"),
        },
        Some(all) if all > 0 => match first_missing(pages, all) {
            Some((from, to)) => Step::GetAll { numbers: from..=to },
            None => closing(first, pages),
        },
        // No number of pages: one after the other, until one is empty.
        _ => match pages.last_key_value() {
            Some((number, page)) if page.rows > 0 => get(number + 1),
            _ => closing(first, pages),
        },
    }
}

fn get(number: u32) -> Step {
    Step::Get {
        number,
        confirms: false,
    }
}

/// Totals that are not the same on every page, or rows where the total says none.
fn moved(first: &PageHead, pages: &BTreeMap<u32, &PageHead>) -> Option<String> {
    if let Some(other) = pages
        .values()
        .find(|page| page.total != first.total || page.total_pages != first.total_pages)
    {
        return Some(format!(
            "page {} states another total than page 1: the list changed while it was read",
            other.number
        ));
    }
    (first.rows == 0 && first.total.is_some_and(|total| total > 0))
        .then(|| "page 1 is empty, its total is not".to_owned())
}

fn repeats_the_page_before(pages: &BTreeMap<u32, &PageHead>) -> Option<u32> {
    pages
        .values()
        .zip(pages.values().skip(1))
        .find(|(before, page)| page.number == before.number + 1 && page.rows > 0 && page.lists_the_same(before))
        .map(|(_, page)| page.number)
}

/// The early end, as long as the pages prove the order the operator assumes. None: read everything.
fn newest_first(pages: &BTreeMap<u32, &PageHead>) -> Option<Step> {
    let orders: Option<Vec<Order>> = pages.values().map(|page| Order::read(page.next.as_deref()?)).collect();
    let orders = orders?;
    let (number, last) = pages.last_key_value()?;
    let gapless = u32::try_from(pages.len()) == Ok(*number);
    if !gapless || orders.windows(2).any(|pair| pair[0].oldest < pair[1].newest) {
        return None;
    }
    if orders.last()?.old_enough {
        return Some(match duplicates(pages) {
            0 => Step::Done,
            _ => Step::Again {
                why: "a record stands on two pages".into(),
            },
        });
    }
    last.total_pages
        .is_none_or(|all| *number < all)
        .then(|| get(number + 1))
}

/// The first run of pages that were not read yet; a cut walk may have any of them.
fn first_missing(pages: &BTreeMap<u32, &PageHead>, all: u32) -> Option<(u32, u32)> {
    let from = (1..=all).find(|number| !pages.contains_key(number))?;
    let to = pages.range(from..=all).next().map_or(all, |(number, _)| number - 1);
    Some((from, to))
}

/// At the end every row was seen once, and as many as stated.
fn closing(first: &PageHead, pages: &BTreeMap<u32, &PageHead>) -> Step {
    let rows: u64 = pages.values().map(|page| u64::from(page.rows)).sum();
    let distinct = rows - duplicates(pages);
    match first.total {
        Some(total) if total != distinct => Step::Again {
            why: format!("{distinct} different records were read, the list states {total}"),
        },
        None if distinct != rows => Step::Again {
            why: "a record stands on two pages".into(),
        },
        _ => Step::Done,
    }
}

/// Rows that stand there before.
fn duplicates(pages: &BTreeMap<u32, &PageHead>) -> u64 {
    repeated(|| pages.values().flat_map(|page| page.ids.iter().copied()), 500_000)
}

/// Numbers that came before, counted part by part of all of them, about `at_once` each: a window of millions of rows is not
/// copied whole.
fn repeated<I: Iterator<Item = u64>>(ids: impl Fn() -> I, at_once: usize) -> u64 {
    let parts = (ids().count() / at_once + 1).next_power_of_two() as u64;
    let of_part = |part: u64| {
        let mut ids: Vec<u64> = ids().filter(|id| id & (parts - 1) == part).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        (all - ids.len()) as u64
    };
    (0..parts).map(of_part).sum()
}

#[cfg(test)]
mod tests {
    use super::repeated;

    #[test]
    fn what_is_repeated_is_counted_the_same_in_one_part_and_in_many() {
        // 1,000 numbers over all bits, every tenth of them three times.
        let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let ids = || (0..1_000).flat_map(move |n| std::iter::repeat_n(number(n), if n % 10 == 0 { 3 } else { 1 }));
        for at_once in [1, 7, 100, 10_000] {
            assert_eq!(repeated(ids, at_once), 200, "{at_once} at once");
        }
        assert_eq!(repeated(std::iter::empty::<u64>, 5), 0);
    }
}
