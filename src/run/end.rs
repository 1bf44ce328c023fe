//! The end of a night: a job's reports and its mails, frozen; after the last job the day's pages, the copy for analysts and
//! the outbox.

use super::{House, JobOutcome, now};
use crate::alert;
use crate::config::Job;
use crate::day::BusinessDay;
use crate::failure::{Class, Failure};
use crate::mail;
use crate::report;
use crate::store::backup;
use crate::store::runs::correct_end;

impl House<'_> {
    /// CSVs into the out folder and, with the mails, frozen into the database.
    pub(super) fn report(&self, job: &Job, run_id: i64, outcome: &mut JobOutcome) -> Result<(), Failure> {
        let (as_of, day) = (outcome.as_of, outcome.business_day);
        let produced = tokio::task::block_in_place(|| {
            report::produce(self.store, job, self.settings.reports.as_deref(), run_id, as_of, day)
        })?;
        outcome.files = report::write_files(&self.settings.out, day, &job.name, &produced)?;
        outcome.mails = self.queue(job, run_id, outcome, &produced)?;
        Ok(())
    }

    fn queue(
        &self,
        job: &Job,
        run_id: i64,
        outcome: &JobOutcome,
        files: &[report::Produced],
    ) -> Result<Vec<String>, Failure> {
        // A night that was asked to stop is not over: the run that goes on with it tells of it.
        let recipients = if self.options.mail && !self.options.stop.is_cancelled() {
            job.recipients.as_slice()
        } else {
            &[]
        };
        let letter = mail::Letter {
            settings: self.settings,
            job,
            run_id,
            as_of: outcome.as_of,
            business_day: outcome.business_day,
            files,
            recipients,
            message: outcome.message.as_deref(),
            warnings: &outcome.warnings,
        };
        mail::queue(self.store, &letter, now())
    }

    /// A night that failed before its reports is news too, and silence would look like a broken worker.
    pub(super) fn tell_of_failure(&self, job: &Job, run_id: i64, outcome: &mut JobOutcome) {
        match self.queue(job, run_id, outcome, &[]) {
            Ok(mails) => outcome.mails = mails,
            Err(failure) => tracing::error!(job = job.name, "no mail tells of the failed night: {failure}"),
        }
    }

    /// After the last job: the day's pages, the copy for analysts, the outbox. A night that was stopped leaves them to the
    /// run that goes on with it.
    pub(super) async fn finish(&self, outcomes: &mut [JobOutcome]) {
        if self.options.stop.is_cancelled() && outcomes.iter().any(|o| o.class == Some(Class::Partial)) {
            return;
        }
        let days: std::collections::BTreeSet<BusinessDay> = outcomes
            .iter()
            .filter(|o| o.run_id.is_some())
            .map(|o| o.business_day)
            .collect();
        let mut failures = Vec::new();
        for day in days {
            failures.extend(report::write_index(self.store, &self.settings.out, day).err());
        }
        failures.extend(report::write_nights(self.store, &self.settings.out).err());
        if let Some(path) = &self.settings.published {
            failures.extend(tokio::task::block_in_place(|| backup::publish(self.store, path)).err());
        }
        for failure in &failures {
            outcomes.iter_mut().for_each(|outcome| outcome.fail(failure));
        }
        if self.options.mail
            && let Err(failure) = alert::failed(self.store, self.settings, outcomes, now())
        {
            tracing::error!("no mail tells the operators: {failure}");
        }
        if self.options.mail
            && let Some(mail) = &self.settings.mail
        {
            let (stop, http, folder) = (&self.options.stop, &self.settings.http, &self.settings.folder);
            let delivery = mail::deliver_until(stop, self.store, mail, http, folder, now()).await;
            self.note_delivery(delivery, outcomes);
        }
        self.close_runs(outcomes);
    }

    /// A mail that did not leave is its own job's failure.
    fn note_delivery(&self, delivery: Result<mail::Delivery, Failure>, outcomes: &mut [JobOutcome]) {
        match delivery {
            Err(failure) => outcomes.iter_mut().for_each(|outcome| outcome.fail(&failure)),
            Ok(delivery) => {
                for failed in &delivery.failures {
                    let own = outcomes.iter_mut().filter(|o| o.job == failed.job);
                    own.for_each(|outcome| outcome.fail(&failed.failure));
                }
            }
        }
    }

    /// Writes what happened after the reports (mail, published copy) into the run rows too.
    fn close_runs(&self, outcomes: &[JobOutcome]) {
        for outcome in outcomes.iter().filter(|o| o.class.is_some()) {
            let Some(run_id) = outcome.run_id else { continue };
            let message = outcome.message.as_deref();
            if let Err(failure) = correct_end(self.store, run_id, outcome.exit_code(), message) {
                tracing::error!(job = outcome.job, "the run's end could not be recorded: {failure}");
            }
        }
    }
}
