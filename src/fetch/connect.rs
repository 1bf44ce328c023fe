//! The reqwest client of one account: no redirects, no proxy from the environment, https except to loopback, the system's
//! authorities plus our own file, no private address behind a public name, every wait bounded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::trouble::PrivateAddress;
use crate::config::{Fetch, Http};
use crate::failure::{Class, Failure};

/// Idle connections are closed before the far side does it.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Longest silence inside an answer; the whole answer has its own deadline.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);

/// Header lines of an answer, and their bytes over HTTP/2 (HTTP/1 heads end at hyper's own 400 kB).
const MAX_HEADERS: usize = 128;
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// Makes `ring` the process's cryptography, once; later calls change nothing. Before the first TLS connection of anybody.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Builds the client.
///
/// # Errors
/// `CONFIG`: plain http to a host that is not this machine, a CA file or a proxy that cannot be used.
pub(super) fn build(base: &url::Url, http: &Http, fetch: &Fetch) -> Result<reqwest::Client, Failure> {
    install_crypto();
    let secure = check_scheme(base)?;
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .https_only(secure)
        .connect_timeout(http.connect_timeout)
        .read_timeout(fetch.request_timeout.min(LONGEST_SILENCE))
        .pool_idle_timeout(POOL_IDLE)
        .http1_max_headers(MAX_HEADERS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .user_agent(concat!("reconciled/", env!("CARGO_PKG_VERSION")))
        .tls_backend_rustls();
    builder = match &http.ca_file {
        Some(file) => builder.tls_certs_merge(authorities(file)?),
        // Plain http to loopback needs no authorities; a machine without any must still run the demo.
        None if !secure => builder.tls_certs_only([]),
        None => builder,
    };
    builder = match &http.proxy {
        Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(|_| {
            Failure::new(
                Class::Config,
                "[http] proxy cannot be used; write it as http://host:port",
            )
        })?),
        None => builder.no_proxy(),
    };
    if is_public_name(base) && http.proxy.is_none() && http.ca_file.is_none() {
        builder = builder.dns_resolver(Arc::new(PublicOnly));
    }
    builder.build().map_err(|_| {
        Failure::new(
            Class::Config,
            "no HTTPS client could be made; check that the system has CA certificates (ca-certificates) or set [http] ca_file",
        )
    })
}

/// True for https; plain http only to this machine.
fn check_scheme(base: &url::Url) -> Result<bool, Failure> {
    match base.scheme() {
        "https" => Ok(true),
        "http" if is_loopback(base) => Ok(false),
        _ => Err(Failure::new(
            Class::Config,
            "base_url must be https; plain http is for loopback addresses only",
        )),
    }
}

fn is_loopback(base: &url::Url) -> bool {
    match base.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn is_public_name(base: &url::Url) -> bool {
    matches!(base.host(), Some(url::Host::Domain(_))) && !is_loopback(base)
}

fn authorities(file: &std::path::Path) -> Result<Vec<reqwest::Certificate>, Failure> {
    let shown = file.display();
    let bad = |what: &str| {
        Failure::new(
            Class::Config,
            format!("[http] ca_file {shown} {what}; it must hold PEM certificates"),
        )
    };
    let pem = std::fs::read(file).map_err(|e| bad(&format!("cannot be read ({})", e.kind())))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| bad("holds no readable certificate"))?;
    if certificates.is_empty() {
        Err(bad("holds no certificate"))
    } else {
        Ok(certificates)
    }
}

/// Resolves names as the system does and drops private, loopback and link-local addresses: an answer that leads a provider's
/// name into our own network is an attack or a broken resolver.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<_> = found.iter().copied().filter(|a| is_public(a.ip())).collect();
            if public.is_empty() && !found.is_empty() {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_broadcast()
                || ip.is_multicast()
                || shared
                || a == 0)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> url::Url {
        text.parse().unwrap()
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (base, expected) in [
            ("https://api.example.com", Some(true)),
            ("http://127.0.0.1:8080/x", Some(false)),
            ("http://[::1]:8080", Some(false)),
            ("http://localhost:8080", Some(false)),
            ("http://api.example.com", None),
            ("http://127.0.0.1.example.com", None),
            ("http://10.0.0.1", None),
            ("ftp://127.0.0.1", None),
        ] {
            assert_eq!(check_scheme(&url(base)).ok(), expected, "{base}");
        }
    }

    #[test]
    fn private_addresses_are_not_public() {
        for (ip, public) in [
            ("8.8.8.8", true),
            ("2606:4700::1111", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }
}
