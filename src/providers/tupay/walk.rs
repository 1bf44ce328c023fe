//! How TuPay's lists are walked: page 0 upwards until one ends them, then page 0 once more to prove that nothing moved.
//!
//! No total is stated (document, section 3), so a row deleted behind the walk is seen in nothing but the pages themselves: a list
//! of several pages that was never read to its end before, and any that no longer lists a known record, is read twice, and the
//! page behind its end is looked at ([`prove`]). Every later night the records known by then are the second reading, and page 0
//! is enough.

use super::wire::MAX_ROWS;
use super::{Ask, BALANCE, PageHead, Step};
use crate::providers::Doubt;
use crate::providers::twice::{read_twice, sorted};

/// Equal pages in a row that prove the page number is ignored. Two may be an insertion of exactly one page; three are not.
const EQUAL_PAGES: usize = 3;

pub(super) fn next(ask: &Ask, heads: &[PageHead]) -> Step {
    let pages: Vec<&PageHead> = heads.iter().filter(|head| !head.confirms).collect();
    let Some(last) = pages.last() else {
        return Step::Get {
            number: 0,
            confirms: false,
        };
    };
    if ask.feed == BALANCE {
        return Step::Done;
    }
    let equal = pages
        .iter()
        .filter(|page| page.rows > 0 && page.lists_the_same(last))
        .count();
    if equal >= EQUAL_PAGES {
        return Step::Broken {
            why: format!("page {} repeats earlier pages: the page number is ignored", last.number),
        };
    }
    if last.next.is_some() {
        return Step::Get {
            number: last.number + 1,
            confirms: false,
        };
    }
    // Nothing of it changes while the first pages are proved.
    let walked = heads.last().is_some_and(|head| !head.confirms);
    if let Some(why) = walked.then(|| uneven(&pages).or_else(|| repeated(&pages))).flatten() {
        return Step::Again { why };
    }
    match heads.iter().find(|head| head.confirms) {
        None if pages.len() > 1 => Step::Get {
            number: 0,
            confirms: true,
        },
        Some(proof) if sorted(&proof.ids) != sorted(&pages[0].ids) => Step::Again {
            why: "page 0 lists other ids after the walk than before it".into(),
        },
        _ => Step::Done,
    }
}

/// What a walk that ended by [`next`] still has to show.
pub(super) fn prove(ask: &Ask, heads: &[PageHead], doubt: Doubt) -> Step {
    // One answer holds the whole list: nothing can move between pages.
    let alone = heads.iter().filter(|head| !head.confirms).count() == 1;
    if ask.feed == BALANCE || alone && doubt == Doubt::NeverRead {
        return Step::Done;
    }
    read_twice(heads)
        .or_else(|| behind_the_end(heads))
        .unwrap_or(Step::Done)
}

/// Behind a short or empty page nothing stands (section 3, strict mode): one cut short would end the list before its end.
fn behind_the_end(heads: &[PageHead]) -> Option<Step> {
    let last = heads.iter().rfind(|head| !head.confirms)?;
    let number = last.number + 1;
    match heads.iter().find(|head| head.confirms && head.number == number) {
        None => Some(Step::Get { number, confirms: true }),
        Some(behind) if behind.rows > 0 => Some(Step::Again {
            why: format!("page {} ends the list and page {number} is not empty", last.number),
        }),
        Some(_) => None,
    }
}

/// Pages that do not lie edge to edge: another stated size, or a page before the last that is shorter than the first. What
/// stands between two such pages is not known.
fn uneven(pages: &[&PageHead]) -> Option<String> {
    let documented = MAX_ROWS.to_string();
    let size = |page: &PageHead| page.next.clone().unwrap_or_else(|| documented.clone());
    let filled: Vec<&&PageHead> = pages.iter().filter(|page| page.rows > 0).collect();
    let (first, last) = (filled.first()?, filled.last()?);
    let stated = size(first);
    if let Some(other) = filled.iter().find(|page| size(page) != stated) {
        return Some(format!(
            "page {} states another `maxRows` than page {}",
            other.number, first.number
        ));
    }
    let odd = |page: &&PageHead| page.rows > first.rows || page.rows < first.rows && page.number < last.number;
    if let Some(other) = filled.iter().find(|page| odd(page)) {
        return Some(format!(
            "page {} lists {} rows, page {} lists {}: it is not known where it begins and ends",
            other.number, other.rows, first.number, first.rows
        ));
    }
    // The documented size under another stated one: page 1 may begin after the rows served, or after those stated.
    let clamped = stated != documented && i64::from(first.rows) == MAX_ROWS;
    (clamped && filled.len() == 1 && pages.len() > 1).then(|| {
        format!("page 0 lists {MAX_ROWS} rows of the {stated} that it states, and page 1 none: it is not known whether more stand between")
    })
}

/// An id on two pages: something moved between them, so something else may have slipped through.
fn repeated(pages: &[&PageHead]) -> Option<String> {
    let mut seen: Vec<(u64, u32)> = pages
        .iter()
        .flat_map(|page| page.ids.iter().map(|id| (*id, page.number)))
        .collect();
    seen.sort_unstable();
    seen.windows(2)
        .find(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
        .map(|pair| format!("a record stands on page {} and on page {}", pair[0].1, pair[1].1))
}
