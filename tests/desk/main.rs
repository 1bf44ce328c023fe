//! The return path as people walk it: nights of a shop whose provider and ledger are files, sheets that come back with
//! decisions, closed periods, and an audit trail under attack. The program itself runs, nothing is faked.

mod close;
mod known;
mod lines;
mod sheets;
mod shop;
mod trail;
mod views;
