//! Both signatures of Ayoconnect (section 2), as the provider checks them.

use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use sha2::{Digest, Sha256, Sha512};

use super::Encoding;
use crate::sandbox::json::{base64, from_base64};

/// The DER bytes between a PEM's two marks; text around them is ignored.
pub fn public_key(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN RSA PUBLIC KEY-----")?;
    let (inner, _) = rest.split_once("-----END")?;
    from_base64(&inner.split_whitespace().collect::<String>())
}

/// RSASSA-PKCS1-v1_5 with SHA-256 under a PKCS#1 public key; false for anything that is no signature.
pub fn asymmetric_fits(public_key: &[u8], message: &[u8], given: &str, encoding: Encoding) -> bool {
    let bytes = match encoding {
        Encoding::Hex if given.bytes().any(|b| b.is_ascii_uppercase()) => None,
        Encoding::Hex => hex::decode(given).ok(),
        Encoding::Base64 => from_base64(given),
    };
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key);
    bytes.is_some_and(|bytes| key.verify(message, &bytes).is_ok())
}

/// `METHOD:path:token:hash of the minified body:timestamp`.
pub fn line(method: &str, path: &str, token: &str, body: &[u8], timestamp: &str) -> String {
    let hash = hex::encode(Sha256::digest(minified(body)));
    format!("{method}:{path}:{token}:{hash}:{timestamp}")
}

/// HMAC-SHA512 under the bytes of the client secret.
pub fn symmetric(secret: &str, line: &str, encoding: Encoding) -> String {
    let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(secret.as_bytes()) else {
        return String::new(); // HMAC takes keys of any length
    };
    mac.update(line.as_bytes());
    let bytes = mac.finalize().into_bytes();
    match encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => base64(&bytes),
    }
}

/// JSON without the blanks between its tokens; order of keys and what stands in texts stay.
pub fn minified(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body.iter();
    while let Some(byte) = rest.next() {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            continue;
        }
        out.push(*byte);
        if *byte != b'"' {
            continue;
        }
        while let Some(inner) = rest.next() {
            out.push(*inner);
            match inner {
                b'\\' => out.extend(rest.next()),
                b'"' => break,
                _ => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0b7d3f5a9c1e4826bd60f7a2c8e9d134";
    const TOKEN: &str = "3d1f6b0a8c2e4975b1d0e6f7a9c84b25";
    const AT: &str = "2026-01-15T02:30:00+07:00";

    #[test]
    fn the_documents_symmetric_vectors_come_out() {
        let binding = br#"{"partnerReferenceNo":"20260115000000000000000000000042","authCode":"9a7c5e3d1b8f46208e4c6a2d0f1b3957","merchantId":"TSTMER"}"#;
        let status =
            br#"{"merchantId":"TSTMER","serviceCode":"54","originalReferenceNo":"4f8b1c7d9e2a40563b6d8f0a1c3e5b79"}"#;
        let vectors: [(&str, &str, &[u8], &str); 4] = [
            (
                "GET",
                "/api/v1.0/get-auth-code",
                b"",
                "7d600b21314e2bf17b45892b400b5962a1da48cb7e7e8c16630035babc7af711302e165aabd4b00e617dd17adf5c55fe1c2f713e0f6eacb9092d6206a64b6a22",
            ),
            (
                "GET",
                "/api/v1.0/debit/status",
                b"",
                "ac1158d529cda540bfbd915180fcea0a9c119d4279e75f4563786e035c559992e2cf94419d5a13219c97e72349fbcdf07f37adaf2f111ee9eb8cafd809502e2a",
            ),
            (
                "POST",
                "/api/v1.0/registration-account-binding",
                binding,
                "27fd6b6f7f37012fa50d250f5e64e26140f02c0f1d0fac9034273735bf2e55ea06508d7a1b5b13ed235ee026e4adcd1a5b3cf6b2360d9d0d822b921268e80ddb",
            ),
            (
                "POST",
                "/dd/api/v3.0/debit/status",
                status,
                "01536985ff150e237c4740d0d3fb9fa3ce26bf87e3ee69951decc0346208137ca5d933dfaac1cd8c411e5ee1e906203e7b94bfdae4639dbe4d79cf7ba472ff6e",
            ),
        ];
        for (method, path, body, expected) in vectors {
            let line = line(method, path, TOKEN, body, AT);
            assert_eq!(symmetric(SECRET, &line, Encoding::Hex), expected, "{method} {path}");
        }
        let first = line("GET", "/api/v1.0/get-auth-code", TOKEN, b"", AT);
        assert_eq!(
            symmetric(SECRET, &first, Encoding::Base64),
            "fWALITFOK/F7RYkrQAtZYqHaSMt+fowWYwA1urx69xEwLhZaq9SwDmF90XrfXFX+HC9xPg9urLkJLWIGpktqIg=="
        );
    }

    #[test]
    fn ayoconnects_own_published_example_comes_out_with_its_blanks_minified() {
        let body = br#"{"partnerReferenceNo": "qic5taezfgta7yhn74u7cppr47wan027",   "authCode": "8ecx3bnfk9bu2o4y0z8ur8pfhH12eltF",   "merchantId": "AYOPOP"}"#;
        let (token, at) = ("ed8f7f42a6d741fbb891bae654e81678", "2023-03-28T22:13:27+07:00");
        let line = line("POST", "/api/v2/registration-account-binding", token, body, at);
        assert!(line.contains(":626c42bf3d17e3a02bcabd6d265103135b6dd70e7af6341e87c56ad3650015ee:"));
        assert_eq!(
            symmetric("fceda4da-ae95-4d14-8cb6-eef392139a2c", &line, Encoding::Hex),
            "2e955289baf7f297dda75b830c00f15b81a71710c2d0a0bbdf5884ae15bf47bb46e627a0b25cff1c1da16c42682ec69945950a1b120b6be490a53b7d613cf7e4"
        );
    }

    #[test]
    fn blanks_inside_texts_stay() {
        assert_eq!(
            minified(b"{ \"a b\" :\t\"c \\\" d\" , \"e\\\\\" : 1 }\n"),
            b"{\"a b\":\"c \\\" d\",\"e\\\\\":1}"
        );
    }
}
