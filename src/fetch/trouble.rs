//! What went wrong on the wire, in our own words: libraries put URLs and values into theirs.

use std::error::Error;
use std::io;

use crate::failure::Class;

/// A request that brought no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Without URL, header or body text.
    pub why: String,
    /// Whether another try may help.
    pub again: bool,
    /// The class when no try helped.
    pub class: Class,
}

impl Trouble {
    pub(super) fn again(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            again: true,
            class: Class::ProviderDown,
        }
    }

    pub(super) fn fatal(class: Class, why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            again: false,
            class,
        }
    }

    /// Reads a reqwest error by its kind and its sources; none of its text is passed on.
    pub(super) fn from_reqwest(error: &reqwest::Error) -> Self {
        if let Some(tls) = in_chain::<rustls::Error>(error) {
            return from_tls(tls);
        }
        if in_chain::<PrivateAddress>(error).is_some() {
            return Self::again(
                "the host's name resolves to private addresses only, which are refused for a public provider; check DNS \
                 (a private provider needs [http] ca_file)",
            );
        }
        if error.is_dns() {
            return Self::again("the host's name could not be resolved; check DNS and base_url");
        }
        // hyper has no public word for it that reqwest hands on; the text is looked at, not shown.
        if sources(error).any(|e| e.to_string() == "message head is too large") {
            return Self::fatal(Class::Protocol, "the answer's headers are larger than allowed");
        }
        if error.is_connect() {
            return Self::again(match (error.is_timeout(), io_kind(error)) {
                (true, _) | (_, Some(io::ErrorKind::TimedOut)) => "no connection within connect_timeout_s",
                (_, Some(io::ErrorKind::ConnectionRefused)) => "the connection was refused",
                (_, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)) => {
                    "the connection was closed while it was being made"
                }
                (_, Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)) => {
                    "there is no route to the host"
                }
                _ => "no connection could be made",
            });
        }
        if error.is_timeout() {
            return Self::again("the answer stopped coming (read time-out)");
        }
        if error.is_decode() {
            return Self::again("the answer was cut off or damaged");
        }
        if error.is_builder() {
            return Self::fatal(Class::Internal, "a request could not be written");
        }
        Self::again("the connection was closed before the answer was whole")
    }
}

/// The reason a certificate or handshake was refused. Nothing can switch this check off.
fn from_tls(error: &rustls::Error) -> Trouble {
    use rustls::CertificateError as Bad;
    let refused = |what: &str| {
        Trouble::fatal(
            Class::ProviderDown,
            format!("the server's certificate {what}: nothing was sent"),
        )
    };
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } => refused("has expired (or the local clock is wrong)"),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                refused("is not valid yet (or the local clock is wrong)")
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => refused("is for another host"),
            Bad::UnknownIssuer => {
                refused("is self-signed or of an unknown issuer (a private authority goes into [http] ca_file)")
            }
            Bad::Revoked => refused("was revoked"),
            // The verifier has no other word for it.
            Bad::Other(why) if why.to_string() == "CaUsedAsEndEntity" => {
                refused("is an authority's own (`openssl req -x509` makes such), not one made for a server")
            }
            Bad::BadSignature => refused("carries a wrong signature"),
            _ => refused("is not valid"),
        },
        rustls::Error::NoCertificatesPresented => refused("is missing"),
        rustls::Error::InvalidMessage(_) => Trouble::again("the server does not speak TLS on this port"),
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => {
            Trouble::again("the TLS handshake failed (TLS 1.2 or newer is required)")
        }
        _ => Trouble::again("the TLS handshake failed"),
    }
}

/// The name of a public provider led to a private address only.
#[derive(Debug)]
pub(super) struct PrivateAddress;

impl std::fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("private address")
    }
}

impl Error for PrivateAddress {}

/// The error and everything it came from. An I/O error hides the error it carries from `source()`, so it is asked for it.
fn sources<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e: &&'e (dyn Error + 'static)| {
        match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(carried) => Some(carried as &(dyn Error + 'static)),
            None => (**e).source(),
        }
    })
}

/// The first error of this type among the sources.
fn in_chain<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    sources(error).find_map(|e| e.downcast_ref::<E>())
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    sources(error).find_map(|e| Some(e.downcast_ref::<io::Error>()?.kind()))
}
