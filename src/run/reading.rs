//! What the reading of a job's source leaves to the comparison.

use super::{House, JobOutcome};
use crate::compare;
use crate::config::{Job, ProviderSetup};
use crate::day::Instant;
use crate::failure::Failure;
use crate::providers::Books;
use crate::store::learn;
use crate::store::runs::learned_between;

/// What reading a job's source came to.
pub(super) struct Reading {
    /// False: it is not whole, and the outcome says why.
    pub complete: bool,
    /// The sums over what was read, where they were made already.
    pub books: Option<Books>,
    /// What was read as of this instant or later was read tonight; None: nobody was asked.
    pub since: Option<Instant>,
}

impl Reading {
    pub fn of(complete: bool) -> Self {
        Self {
            complete,
            books: None,
            since: None,
        }
    }
}

impl House<'_> {
    /// Lets the provider learn from the figures (the sign of fees); rows are read again when it did. Gives the sums
    /// it learned from as long as they stand.
    pub(super) fn calibrate(
        &self,
        job: &Job,
        setup: &ProviderSetup,
        since: Instant,
        outcome: &mut JobOutcome,
    ) -> Result<Option<Books>, Failure> {
        let store = self.store;
        let books = store.read(|conn| compare::books(conn, job, job.timezone, outcome.as_of, outcome.business_day))?;
        let learned = setup.provider.calibrate(&books);
        let anew = tokio::task::block_in_place(|| learn(store, job, setup.provider.as_ref(), &learned, outcome.as_of))?;
        // From the books, not from what this run did: a run that goes on after a kill says the same.
        for (name, value) in learned_between(store, &job.name, since, outcome.as_of)? {
            outcome.warnings.push(format!(
                "{name} is {value} by the provider's own figures, against what was assumed; every row was read again"
            ));
        }
        Ok((!anew).then_some(books))
    }
}
