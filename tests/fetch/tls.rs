//! Certificates: only the right one is spoken to, and the reason is named.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, date_time_ymd,
};
use reconciled::failure::Class;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::http::{Server, json};
use crate::plain::{Bench, Plain};

const PAGE: &str = r#"{"page":1,"rows":[{"id":"a","amount":100}]}"#;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for this name, valid in these years; issued by the authority, else by itself.
fn acceptor(name: &str, years: (i32, i32), issuer: Option<&CertifiedIssuer<'static, KeyPair>>) -> TlsAcceptor {
    reconciled::fetch::install_crypto();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

fn bench(server: &Server, ca: &CertifiedIssuer<'static, KeyPair>) -> Bench {
    let mut bench = Bench::new(
        Plain::default(),
        format!("https://localhost:{}", server.address.port()).parse().unwrap(),
    );
    let file = bench.folder.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();
    bench.http.ca_file = Some(file);
    bench.http.retry_budget = Duration::from_secs(20);
    bench
}

#[tokio::test]
async fn only_a_valid_certificate_for_this_host_is_spoken_to() {
    let (ca, other) = (authority("ours"), authority("theirs"));
    let now = (2020, 2090);
    for (what, acceptor, named) in [
        ("valid", acceptor("localhost", now, Some(&ca)), None),
        (
            "expired",
            acceptor("localhost", (2020, 2021), Some(&ca)),
            Some("expired"),
        ),
        (
            "not yet valid",
            acceptor("localhost", (2089, 2090), Some(&ca)),
            Some("not valid yet"),
        ),
        (
            "another host",
            acceptor("example.com", now, Some(&ca)),
            Some("another host"),
        ),
        ("self-signed", acceptor("localhost", now, None), Some("self-signed")),
        (
            "unknown authority",
            acceptor("localhost", now, Some(&other)),
            Some("unknown issuer"),
        ),
    ] {
        let server = Server::with_tls(Some(acceptor), |_| json(PAGE)).await;
        let result = bench(&server, &ca).check().await;
        match named {
            None => assert!(result.is_ok(), "{what}: {result:?}"),
            Some(named) => {
                let failure = result.unwrap_err();
                assert_eq!(failure.class, Class::ProviderDown, "{what}: {failure}");
                assert!(failure.message.contains(named), "{what}: {failure}");
                assert_eq!(
                    (server.count(), server.connections()),
                    (0, 1),
                    "{what}: something was sent, or tried again"
                );
            }
        }
    }
}

#[tokio::test]
async fn without_an_own_authority_a_private_certificate_is_refused() {
    let ca = authority("ours");
    let server = Server::with_tls(Some(acceptor("localhost", (2020, 2090), Some(&ca))), |_| json(PAGE)).await;
    let mut bench = bench(&server, &ca);
    bench.http.ca_file = None;
    // On a machine without any authorities the client cannot even be made.
    let failure = match bench.client() {
        Ok(_) => bench.check().await.unwrap_err(),
        Err(failure) => failure,
    };
    assert!(failure.message.contains("ca_file"), "{failure}");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_named() {
    let ca = authority("ours");
    let server = Server::start(|_| json(PAGE)).await;
    let mut bench = bench(&server, &ca);
    bench.http.retry_budget = Duration::ZERO;
    // The scripted server waits for a request head that never comes; the far side may also answer in plain text.
    bench.http.connect_timeout = Duration::from_millis(500);
    let failure = bench.check().await.unwrap_err();
    assert_eq!(failure.class, Class::ProviderDown, "{failure}");
    assert_eq!(server.count(), 0);
}
