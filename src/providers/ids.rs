//! What tells the rows of a page apart, kept for every page of a walk: millions of numbers in a large window.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// One 64-bit digest per row's identity, in order ([`super::identity`]). A copy shares the numbers.
#[derive(Clone, Default)]
pub struct Ids {
    all: Arc<Vec<u64>>,
    mine: Range<usize>,
}

impl Ids {
    /// Lays the numbers of several pages into one piece of memory, which goes back to the system whole. Small pieces, freed by
    /// the thousand, stay with the process, and whoever needs memory next gets more of it.
    pub fn lay_together<'a>(pages: impl Iterator<Item = &'a mut Ids>) {
        let mut pages: Vec<&mut Ids> = pages.collect();
        let mut all = Vec::with_capacity(pages.iter().map(|ids| ids.len()).sum());
        for ids in &mut pages {
            let from = all.len();
            all.extend_from_slice(ids);
            ids.mine = from..all.len();
            // Freed here, not when the last one is laid down.
            ids.all = Arc::default();
        }
        let all = Arc::new(all);
        pages.into_iter().for_each(|ids| ids.all = Arc::clone(&all));
    }
}

impl Deref for Ids {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        self.all.get(self.mine.clone()).unwrap_or_default()
    }
}

impl From<Vec<u64>> for Ids {
    fn from(ids: Vec<u64>) -> Self {
        Self {
            mine: 0..ids.len(),
            all: Arc::new(ids),
        }
    }
}

impl FromIterator<u64> for Ids {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        ids.into_iter().collect::<Vec<_>>().into()
    }
}

impl PartialEq for Ids {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Ids {}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn pages_laid_together_have_the_numbers_they_had() {
        let numbers = [vec![1, 2], vec![], vec![3], (4..300).collect(), vec![1]];
        let mut pages: Vec<Ids> = numbers.iter().cloned().map(Ids::from).collect();
        let copy = pages[0].clone();
        for _ in 0..2 {
            Ids::lay_together(pages.iter_mut());
            assert!(
                pages.iter().zip(&numbers).all(|(ids, numbers)| **ids == numbers[..]),
                "{pages:?}"
            );
        }
        Ids::lay_together(pages[1..3].iter_mut());
        assert_eq!((&pages[0], &*pages[2], pages[1].len()), (&copy, &[3][..], 0));
        Ids::lay_together(std::iter::empty());
    }
}
