//! How TuPay's lists are walked: page 0 upwards while pages are full, then page 0 once more to prove that nothing moved.

use super::{Ask, BALANCE, PageHead, Step};

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
    if let Some(why) = repeated(&pages) {
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

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}
