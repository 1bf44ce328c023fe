//! How PayVyne's lists are walked: from cursor to cursor until none is given (section 7).

use super::{PageHead, Step};

pub(super) fn next(heads: &[PageHead]) -> Step {
    let Some(last) = heads.last() else {
        return Step::Get {
            number: 0,
            confirms: false,
        };
    };
    let Some(cursor) = &last.next else {
        return Step::Done;
    };
    let earlier = &heads[..heads.len() - 1];
    let broken = |why: String| Step::Broken { why };
    if last.rows == 0 {
        return broken(format!("page {} is empty and names a page after it", last.number));
    }
    if let Some(seen) = earlier.iter().find(|page| page.next.as_ref() == Some(cursor)) {
        return broken(format!(
            "the cursor of page {} was already given by page {}: the pages go round",
            last.number, seen.number
        ));
    }
    if let Some(seen) = earlier.iter().find(|page| page.lists_the_same(last)) {
        return broken(format!(
            "page {} repeats page {}: the cursor is ignored",
            last.number, seen.number
        ));
    }
    Step::Get {
        number: last.number + 1,
        confirms: false,
    }
}
