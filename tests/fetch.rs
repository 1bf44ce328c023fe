//! Fetching against real sockets: a provider made for the tests, a server that answers by script, a real database file.
//! Nothing here needs the network.

#[path = "support/http.rs"]
mod http;

#[path = "fetch/plain.rs"]
mod plain;
#[path = "fetch/room.rs"]
mod room;

#[path = "fetch/limits.rs"]
mod limits;
#[path = "fetch/sessions.rs"]
mod sessions;
#[path = "fetch/subjects.rs"]
mod subjects;
#[path = "fetch/tls.rs"]
mod tls;
#[path = "fetch/twice.rs"]
mod twice;
#[path = "fetch/walks.rs"]
mod walks;
#[path = "fetch/wire.rs"]
mod wire;
