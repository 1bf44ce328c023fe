//! tupay.
use super::{Built, Entry};
use crate::config::Section;

/// Registry line.
pub const ENTRY: Entry = Entry { name: "tupay", build };

fn build(_section: &mut Section<'_>) -> Option<Built> {
    None
}
