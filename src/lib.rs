//! `reconciled`: every night it reads what payment providers say, archives it, compares it with the merchant's ledger and
//! with the providers' own balances, and mails the discrepancies as CSV.
//!
//! The line every job walks, and the rooms along it:
//!
//! ```text
//! job -> plan -> fetch -> archive -> compare -> report -> mail
//! ```
//!
//! | room | does | pure |
//! |---|---|---|
//! | [`config`] | settings and job files -> values, every problem at once | but for reading files and secrets |
//! | [`day`], [`money`], [`record`] | instants and business days, exact amounts, the words of the books | yes |
//! | [`window`] | which spans must be read tonight | yes |
//! | [`providers`] | the conversation with each provider, as values | yes |
//! | [`fetch`] | paces, signs, sends, judges, scrubs: all HTTP | no |
//! | [`store`] | the one SQLite file: pages and positions, records, windows, runs, outbox | no |
//! | [`ledger`] | the merchant's file or query -> entries; exports -> records | but for reading files |
//! | [`compare`] | records against entries and balances; the life of a discrepancy | but for its cursors |
//! | [`desk`] | returned sheets -> decisions; closing of periods; a day as it was known then | but for the books and files |
//! | [`report`] | books -> CSV, HTML and text bytes | but for its SELECTs |
//! | [`mail`] | compose (pure), outbox, SMTP or folder | sending only |
//! | [`run`] | the line above, for one job | no |
//! | [`schedule`] | which nights are due | yes |
//! | [`serve`] | the bell, the daemon | no |
//! | [`alert`] | who hears of a night that failed, is late or did not happen: heartbeat, mails to operators | no |
//! | [`monitor`] | the state of the house for `status` and Prometheus; room on the disk | no |
//! | [`erase`] | a person's data leaves the house and does not come back | no |
//! | [`retention`] | what is kept for how long; the look at the database once a week | no |
//! | [`journal`] | lines and priorities on stderr; what is said of a panic | no |
//! | [`sandbox`], [`demo`] | the providers as loopback servers with planted differences, and a few nights over them | no |
//!
//! Invariants the rooms keep for each other:
//!
//! * A page and the position it stands for are one durable transaction; pages never change; rows follow from pages.
//! * A window counts only when it was read to its end; only then does anything count as missing.
//! * Money is integer minor units with a currency; there is no floating point. Instants are UTC; `now` is an argument.
//! * Every row in scope is accounted for exactly once, or no mail leaves. A mail leaves only from the outbox.
//! * Kill the process anywhere: the next run ends in the same state.

pub mod alert;
pub mod compare;
pub mod config;
pub mod day;
pub mod demo;
pub mod desk;
pub mod erase;
pub mod failure;
pub mod fetch;
pub mod journal;
pub mod ledger;
pub mod mail;
pub mod money;
pub mod monitor;
pub mod providers;
pub mod record;
pub mod report;
pub mod retention;
pub mod run;
pub mod sandbox;
pub mod schedule;
pub mod serve;
pub mod store;
pub mod window;
