//! one2pays.
use super::{Built, Entry};
use crate::config::Section;

/// Registry line.
pub const ENTRY: Entry = Entry {
    name: "one2pays",
    build,
};

fn build(_section: &mut Section<'_>) -> Option<Built> {
    None
}
