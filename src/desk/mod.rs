//! The return path of the accountants' desk: sheets that come back with decisions, the decisions themselves, the closing of
//! periods, and a day as it was known then.
//!
//! ```text
//! file -> sheet -> lines -> decide (one transaction, refusals beside it) -> receipt
//! ```
//!
//! Start at [`take_in`] for a returned sheet, [`inbox::take_in_all`] for the drop folder, [`close::close`] for a period.
//! Everything that changes the books is written into the audit trail ([`crate::store::audit`]) in the same transaction.
//!
//! Does not know: how discrepancies are found, how sheets are made, the clock.

pub mod close;
mod csv;
mod decide;
pub mod inbox;

pub mod known;
mod lines;
mod receipt;
mod sheet;
pub mod standing;
mod taking;
mod xlsx;

pub use decide::{Decision, Effect, Wish, decide_one};
pub use receipt::{Receipt, Told};
pub use sheet::MOST_BYTES;
pub use standing::verify;
pub use taking::take_in;
