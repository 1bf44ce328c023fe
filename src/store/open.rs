//! Opening the file.
use std::path::Path;

use crate::failure::Failure;

/// The right to run on a database; kept by the kernel on `<database>.lock`, so it dies with the process.
pub struct InstanceLock {
    _file: std::fs::File,
}

impl InstanceLock {
    /// Takes the lock or says (`PARTIAL`) that another instance runs.
    pub fn take(database: &Path) -> Result<InstanceLock, Failure> {
        let _ = database;
        Err(super::not_built())
    }
}
