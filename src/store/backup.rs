//! Copies.
use std::path::Path;

use super::Store;
use crate::failure::Failure;

/// A consistent copy while running, put in place at once.
pub fn backup(store: &Store, file: &Path) -> Result<(), Failure> {
    let _ = (store, file);
    Err(super::not_built())
}

/// The read-only copy for analysts: one self-contained file, replaced at once.
pub fn publish(store: &Store, path: &Path) -> Result<(), Failure> {
    let _ = (store, path);
    Err(super::not_built())
}
