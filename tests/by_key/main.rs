//! TwoPay and Ayoconnect over real sockets, the program run as its operator runs it: each error class of the two documents, a
//! walk that is killed, and what must never be left behind. Nothing here needs the network.

#[path = "../support/http.rs"]
mod http;

mod ayoconnect;
mod house;
mod keyed;
mod lookups;
mod online;
mod room;
mod twopay;
