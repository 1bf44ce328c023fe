//! The heads of a walk's pages, in order of arrival: all that it remembers of them.

use std::ops::Deref;

use crate::providers::{Ids, PageHead};

/// Rows whose identities are laid together at once: 8 MB.
const TOGETHER: usize = 1 << 20;

/// Heads of pages. The identities of their rows take eight bytes a row, and little more when there are many.
#[derive(Default)]
pub(super) struct Heads {
    all: Vec<PageHead>,
    /// The first page whose identities lie apart, and how many lie so from there.
    apart: usize,
    rows_apart: usize,
}

impl Heads {
    pub fn push(&mut self, head: PageHead) {
        self.rows_apart += head.ids.len();
        self.all.push(head);
        if self.rows_apart >= TOGETHER {
            Ids::lay_together(self.all.iter_mut().skip(self.apart).map(|head| &mut head.ids));
            (self.apart, self.rows_apart) = (self.all.len(), 0);
        }
    }

    /// These came first. What of them lies apart, less than a piece, stays so.
    pub fn put_in_front(&mut self, before: Self) {
        self.apart += before.all.len();
        self.all.splice(0..0, before.all);
    }
}

impl Deref for Heads {
    type Target = [PageHead];

    fn deref(&self) -> &[PageHead] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_keep_their_order_and_their_rows_however_many_lie_together() {
        let head = |number: u32| PageHead {
            number,
            ids: (0..(TOGETHER / 3) as u64 + 1)
                .map(|row| u64::from(number) << 32 | row)
                .collect(),
            ..PageHead::default()
        };
        let (mut before, mut after) = (Heads::default(), Heads::default());
        (0..2).for_each(|number| before.push(head(number)));
        (2..7).for_each(|number| after.push(head(number)));
        after.put_in_front(before);
        // These lie together with the two that did not yet, behind what was put in front.
        (7..9).for_each(|number| after.push(head(number)));
        assert!(after.iter().eq((0..9).map(head).collect::<Vec<_>>().iter()));
    }
}
