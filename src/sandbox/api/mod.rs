//! The providers' answers, written from `providers/*.md`: a call and the world in, an answer out. No sockets here.
//!
//! Each server is strict: what its document does not name is refused in the shape of that provider's own errors.

use std::collections::BTreeMap;

use super::json;
use super::world::World;

pub mod ayoconnect;
pub mod filter;
pub mod one2pays;
pub mod payvyne;
pub mod tupay;
pub mod twopay;

/// The providers of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    Payvyne,
    Tupay,
    One2pays,
    Twopay,
    Ayoconnect,
}

impl Service {
    /// In the order of their ports.
    pub const ALL: [Self; 5] = [
        Self::Payvyne,
        Self::Tupay,
        Self::One2pays,
        Self::Twopay,
        Self::Ayoconnect,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Payvyne => "payvyne",
            Self::Tupay => "tupay",
            Self::One2pays => "one2pays",
            Self::Twopay => "twopay",
            Self::Ayoconnect => "ayoconnect",
        }
    }

    /// Answers one call.
    pub fn answer(self, world: &mut World, call: &Call, twist: &Twist) -> Answer {
        match self {
            Self::Payvyne => payvyne::answer(world, call, twist),
            Self::Tupay => tupay::answer(world, call, twist),
            Self::One2pays => one2pays::answer(world, call, twist),
            Self::Twopay => twopay::answer(world, call),
            Self::Ayoconnect => ayoconnect::answer(world, call),
        }
    }

    /// An error in the provider's own shape.
    pub fn error(self, status: u16, message: &str) -> Answer {
        match self {
            Self::Payvyne => payvyne::error(status, message),
            Self::Tupay => tupay::error(status, i64::from(status), message),
            Self::One2pays => one2pays::error(status, one2pays::code_of(status), message),
            Self::Twopay => twopay::error(status, message),
            Self::Ayoconnect => ayoconnect::error(status, message),
        }
    }

    /// Ends every session, as if the provider had forgotten them.
    pub fn expire_sessions(self, world: &mut World) {
        match self {
            Self::Payvyne => world.doors.payvyne.tokens.clear(),
            Self::Tupay => world.doors.tupay.sessions.clear(),
            Self::One2pays => {}
            Self::Twopay => world.doors.twopay.tokens.clear(),
            Self::Ayoconnect => world.doors.ayoconnect.tokens.clear(),
        }
    }

    /// Requests a minute before 429; None: no limit is published.
    pub fn rate_limit(self, world: &World) -> Option<u32> {
        match self {
            Self::Payvyne => world.doors.payvyne.requests_per_minute,
            Self::Tupay => world.doors.tupay.requests_per_minute,
            Self::One2pays => world.doors.one2pays.requests_per_minute,
            Self::Twopay => world.doors.twopay.requests_per_minute,
            Self::Ayoconnect => world.doors.ayoconnect.requests_per_minute,
        }
    }

    /// Rows that come and go between two pages of the list a path names: `insert` new ones at its front, `delete` old ones
    /// taken away there.
    pub fn drift(self, world: &mut World, call: &Call, insert: u32, delete: u32) {
        match self {
            Self::Payvyne => payvyne::drift(world, call, insert, delete),
            Self::Tupay => tupay::drift(world, call, insert, delete),
            Self::One2pays => one2pays::drift(world, call, insert, delete),
            Self::Twopay | Self::Ayoconnect => {} // they have no lists
        }
    }
}

/// Credentials, sessions and limits of the servers.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    pub payvyne: payvyne::Door,
    pub tupay: tupay::Door,
    pub one2pays: one2pays::Door,
    pub twopay: twopay::Door,
    pub ayoconnect: ayoconnect::Door,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// Upper case.
    pub method: String,
    /// Percent-encoded, as sent.
    pub path: String,
    /// Raw query without `?`; empty for none.
    pub query: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    /// First value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The media type without its parameters, lower case.
    pub fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The query's parameters, decoded.
    ///
    /// # Errors
    /// A sentence about what is wrong: a broken escape, a name twice, or a name that is not `allowed`.
    pub fn parameters(&self, allowed: &[&str]) -> Result<BTreeMap<String, String>, String> {
        let mut found = BTreeMap::new();
        for pair in self.query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decoded(name).ok_or("a parameter name is not well encoded")?;
            let value = percent_decoded(value).ok_or_else(|| format!("{name} is not well encoded"))?;
            if !allowed.contains(&name.as_str()) {
                return Err(format!("unknown parameter {name}"));
            }
            if found.insert(name.clone(), value).is_some() {
                return Err(format!("parameter {name} is given twice"));
            }
        }
        Ok(found)
    }
}

/// Undoes percent-encoding (RFC 3986): a `+` stays a plus. None for a broken escape or text that is not UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// An answer before it goes on the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A JSON body.
    pub fn json(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.into_bytes(),
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }
}

/// Ways a server may misread a call: faults that need to know the provider's paging.
#[derive(Clone, Copy, Debug, Default)]
pub struct Twist {
    /// Page number or cursor is ignored: every page is the first.
    pub ignore_page: bool,
    /// The next cursor is the one that was sent.
    pub cursor_loop: bool,
}

/// The page of `rows` that begins at `from`.
pub(super) fn slice<T>(rows: &[T], from: usize, size: usize) -> &[T] {
    let from = from.min(rows.len());
    &rows[from..(from + size).min(rows.len())]
}

/// Reads a whole decimal number without sign or blanks.
pub(super) fn whole_number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A new token: 32 letters and digits that nobody guesses by counting. Not for secrets outside a sandbox.
pub(super) fn token_text(name: &str, number: u64) -> String {
    let mut random = super::random::Random::part(number, name);
    format!("{}{}", random.hex16(), random.hex16())
}

pub(super) use json::Object;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_in_a_query_stays_a_plus_and_broken_escapes_are_refused() {
        assert_eq!(percent_decoded("a%20b+c").as_deref(), Some("a b+c"));
        assert_eq!(percent_decoded("%2").as_deref(), None);
        assert_eq!(percent_decoded("%zz").as_deref(), None);
        assert_eq!(percent_decoded("%ff").as_deref(), None);
    }
}
