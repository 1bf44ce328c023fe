//! Providers asked by key: which key an entry is asked about, and whether it can be. Pure.

use std::fmt;

use super::rows::{Entry, Record};
use crate::config::{Job, JobSource, ProviderSetup};
use crate::providers::{Feed, LookupKey, Shape, lookups};
use crate::record::{Direction, LedgerStatus, TransactionKind};

/// The feeds of a job that are asked by key; none for other providers.
#[derive(Clone, Default)]
pub struct Keys {
    setup: Option<ProviderSetup>,
    feeds: Vec<Feed>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.feeds).finish()
    }
}

impl Keys {
    pub fn of(job: &Job) -> Self {
        let JobSource::Provider(setup) = &job.source else {
            return Self::default();
        };
        let mut feeds = setup.provider.feeds();
        feeds.retain(|feed| feed.shape == Shape::Lookups);
        Self {
            setup: Some(setup.clone()),
            feeds,
        }
    }

    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// The ledger lists bindings of customers' accounts, no money.
    pub fn of_bindings(&self) -> bool {
        let provider = self.setup.as_ref().map(|setup| &setup.provider);
        provider.is_some_and(|provider| self.feeds.iter().any(|feed| !provider.is_money(feed.name)))
    }

    /// The subject of a feed as SQL over `ledger_entries`; NULL without a key.
    pub fn sql(&self, feed: &str) -> Option<String> {
        let provider = &self.setup.as_ref()?.provider;
        Some(lookups::subject_sql(provider.lookup_key(feed)))
    }

    /// The ledger's column that the records of a feed are asked for by; None for a feed that is a list.
    pub fn key(&self, feed: &str) -> Option<LookupKey> {
        let provider = &self.setup.as_ref()?.provider;
        let feed = self.feeds.iter().find(|f| f.name == feed)?;
        Some(provider.lookup_key(feed.name))
    }

    /// What the provider is asked about this entry in that feed; None without a key.
    pub fn subject<'e>(&self, feed: &str, entry: &'e Entry) -> Option<&'e str> {
        let provider = &self.setup.as_ref()?.provider;
        value(entry, provider.lookup_key(feed)).filter(|key| !key.is_empty())
    }

    /// Whether this record came from asking about this entry, and is not another one than the entry names by its id.
    pub fn belong(&self, record: &Record, entry: &Entry) -> bool {
        !record.subject.is_empty()
            && record.direction == entry.direction
            && self.feeds.iter().any(|feed| feed.name == record.feed)
            && self.subject(&record.feed, entry) == Some(&record.subject)
            && (bears_no_id(record.kind)
                || entry
                    .provider_id
                    .as_ref()
                    .is_none_or(|named| *named == record.provider_id))
    }

    /// Why nobody can be asked about this entry: it lacks the key, or the key breaks the provider's rules.
    pub fn problem(&self, entry: &Entry) -> Option<String> {
        let provider = &self.setup.as_ref()?.provider;
        let feed = self
            .feed_of(entry.direction)
            .filter(|_| entry.status != LedgerStatus::Excluded)?;
        match self.subject(feed.name, entry) {
            Some(subject) => {
                let extras = provider.lookup_extras(feed.name).iter();
                let beside: Vec<String> = extras
                    .map(|&k| value(entry, k).unwrap_or_default().to_owned())
                    .collect();
                provider.lookup_problem(feed.name, subject, &beside)
            }
            None => Some(format!(
                "the ledger's `{}` is empty",
                provider.lookup_key(feed.name).column()
            )),
        }
    }

    fn feed_of(&self, direction: Direction) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.directions.contains(&direction))
    }
}

/// Kinds whose records bear no id of the provider's: a refund that its payment's status tells of, a binding.
const WITHOUT_ID: [TransactionKind; 2] = [TransactionKind::Refund, TransactionKind::Binding];

fn bears_no_id(kind: TransactionKind) -> bool {
    WITHOUT_ID.contains(&kind)
}

/// The same over `transactions AS t` and an entry's `provider_id`, as SQL.
pub fn may_be_named_sql(named: &str) -> String {
    let kinds = WITHOUT_ID.map(|kind| format!("'{kind}'")).join(", ");
    format!("({named} IS NULL OR {named} = t.provider_id OR t.kind IN ({kinds}))")
}

fn value(entry: &Entry, key: LookupKey) -> Option<&str> {
    match key {
        LookupKey::Reference => Some(&entry.reference),
        LookupKey::ProviderId => entry.provider_id.as_deref(),
        LookupKey::XExternalId => entry.x_external_id.as_deref(),
        LookupKey::ReferenceNo => entry.reference_no.as_deref(),
    }
}
