//! compare.
mod alone;
mod cursors;
mod grace;
mod group;
mod pair;
mod rows;
mod scope;
