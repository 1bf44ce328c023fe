//! How a run can fail, for the person who reads the last line and for the exit code (sysexits).
//!
//! Every error of the house ends as a [`Failure`]: a class to act on, and one sentence that says what failed, where,
//! what was seen and what to do. Library errors are never passed on verbatim: they carry URLs and values.

use std::fmt;

/// The class of a failure; its number is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 64: bad command line, unknown job.
    Usage,
    /// 65: unreadable rows above the threshold, a ledger refused.
    Data,
    /// 69: unreachable after the retry budget.
    ProviderDown,
    /// 70: a broken invariant or a panic.
    Internal,
    /// 74: disk, permissions, damaged database.
    LocalIo,
    /// 75: stopped early, or another instance runs; the next run goes on.
    Partial,
    /// 76: the provider broke its contract.
    Protocol,
    /// 77: credentials or permission.
    Auth,
    /// 78: settings or job files wrong.
    Config,
}

impl Class {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Data => 65,
            Self::ProviderDown => 69,
            Self::Internal => 70,
            Self::LocalIo => 74,
            Self::Partial => 75,
            Self::Protocol => 76,
            Self::Auth => 77,
            Self::Config => 78,
        }
    }

    /// The class of an exit code; None for 0 and for codes that are none of ours.
    pub fn of_code(code: i64) -> Option<Self> {
        const ALL: [Class; 9] = [
            Class::Usage,
            Class::Data,
            Class::ProviderDown,
            Class::Internal,
            Class::LocalIo,
            Class::Partial,
            Class::Protocol,
            Class::Auth,
            Class::Config,
        ];
        ALL.into_iter().find(|class| i64::from(class.code()) == code)
    }

    /// The name that stands in messages, `run --json` and `INTERFACE.md`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "USAGE",
            Self::Data => "DATA",
            Self::ProviderDown => "PROVIDER-DOWN",
            Self::Internal => "INTERNAL",
            Self::LocalIo => "LOCAL-IO",
            Self::Partial => "PARTIAL",
            Self::Protocol => "PROTOCOL",
            Self::Auth => "AUTH",
            Self::Config => "CONFIG",
        }
    }

    /// Of several jobs' failures the one that names the exit code: the first in this order.
    pub fn worst(classes: impl IntoIterator<Item = Class>) -> Option<Class> {
        const ORDER: [Class; 9] = [
            Class::Internal,
            Class::LocalIo,
            Class::Config,
            Class::Auth,
            Class::Protocol,
            Class::ProviderDown,
            Class::Data,
            Class::Partial,
            Class::Usage,
        ];
        classes
            .into_iter()
            .min_by_key(|class| ORDER.iter().position(|c| c == class))
    }

    /// Whether the next run may mend it without a person.
    pub fn next_run_mends(self) -> bool {
        matches!(self, Self::ProviderDown | Self::Partial)
    }
}

/// How a sentence about a full disk begins.
const FULL_DISK: &str = "the disk is full";

/// One failure: class and sentence. The sentence carries no secret, no personal data, no library text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: Class,
    pub message: String,
}

impl Failure {
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
        }
    }

    /// Whether nothing is wrong but room.
    pub fn is_full_disk(&self) -> bool {
        self.message.contains(FULL_DISK)
    }

    /// The same failure with the place put before its sentence: `tupay-pe: deposits 2026-03-04: …`.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.class.name())
    }
}

impl std::error::Error for Failure {}

impl From<rusqlite::Error> for Failure {
    /// SQLite's own words hold no row values; a full disk, a damaged file and a lock held by somebody else are told apart.
    fn from(error: rusqlite::Error) -> Self {
        if matches!(error, rusqlite::Error::QueryReturnedNoRows) {
            return Self::new(
                Class::LocalIo,
                "a row that others point to is not in the database; `reconciled verify` names it, restore a backup",
            );
        }
        use rusqlite::ffi::ErrorCode as Code;
        let code = error.sqlite_error_code();
        match code {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::new(
                Class::Partial,
                "the database is locked by another writer; close it, the next run goes on",
            ),
            Some(Code::DiskFull) => Self::new(
                Class::LocalIo,
                format!(
                    "{FULL_DISK}: the transaction was rolled back and nothing is lost; free space, the next run goes on"
                ),
            ),
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::new(
                Class::LocalIo,
                "the database is damaged and was left untouched; restore a backup (`reconciled backup` files) and run again",
            ),
            Some(Code::SystemIoFailure | Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied) => Self::new(
                Class::LocalIo,
                format!("the database cannot be read or written ({error}); check disk and permissions"),
            ),
            Some(Code::ConstraintViolation) => Self::new(
                Class::Internal,
                format!("a rule of the database was broken ({error}); nothing was written"),
            ),
            _ => Self::new(Class::Internal, format!("the database refused a statement ({error})")),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Class::LocalIo, format!("{error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failing_class_of_the_published_order_names_the_exit_code() {
        assert_eq!(
            Class::worst([Class::Partial, Class::Data, Class::ProviderDown]),
            Some(Class::ProviderDown)
        );
        assert_eq!(
            Class::worst([Class::Auth, Class::Internal, Class::LocalIo]),
            Some(Class::Internal)
        );
        assert_eq!(Class::worst([]), None);
    }
}
