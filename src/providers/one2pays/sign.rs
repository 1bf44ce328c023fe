//! One2Pays' signature: HMAC-SHA256 over `<X-Timestamp>.<body>`; method, path and query are not signed (section 2).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::super::setup::{key, set_header};
use super::Environment;
use crate::day::Instant;
use crate::providers::{Keys, Request};

/// Signs right before an attempt; a second signature replaces the first.
pub(super) fn sign(request: &mut Request, keys: &Keys, now: Instant) {
    let timestamp = now.timestamp_millis().to_string();
    let signature = signature(key(keys, "secret_key"), &timestamp, &request.body);
    set_header(request, "X-API-Key", key(keys, "api_key").to_owned());
    set_header(request, "X-Timestamp", timestamp);
    set_header(request, "X-Signature", format!("sha256={signature}"));
    if !request.body.is_empty() {
        set_header(request, "Content-Type", "application/json".into());
    }
}

/// 64 lower-case hex digits. The key is the literal text of the secret, its `sk_…` prefix included.
fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length; the type cannot say so.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// The two keys must be of one environment, and of the configured one (section 1).
pub(super) fn check_keys(configured: Option<Environment>, keys: &Keys) -> Result<(), String> {
    let public = environment(key(keys, "api_key"), "pk_")
        .ok_or("`api_key` is no public key: it must begin with pk_test_ or pk_live_")?;
    let secret = environment(key(keys, "secret_key"), "sk_")
        .ok_or("`secret_key` is no secret key: it must begin with sk_test_ or sk_live_")?;
    if public != secret {
        return Err("`api_key` and `secret_key` are of different environments (test and live): use one pair".into());
    }
    match configured {
        Some(configured) if configured != public => Err(
            "the keys are not of the configured `environment` (test or live): change the keys or the setting".into(),
        ),
        _ => Ok(()),
    }
}

fn environment(key: &str, prefix: &str) -> Option<Environment> {
    let rest = key.strip_prefix(prefix)?;
    let (word, rest) = rest.split_once('_')?;
    match word {
        _ if rest.is_empty() => None,
        "test" => Some(Environment::Test),
        "live" => Some(Environment::Live),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk_test_EXAMPLE";
    const TIMESTAMP: &str = "1767225600000";

    #[test]
    fn the_documents_vectors_are_met() {
        let post = r#"{"amount":"1000.00","referenceId":"order-12345","idempotencyKey":"unique-key-123"}"#;
        let thai = r#"{"amount":"50.00","referenceId":"order-9","description":"ค่าสินค้า"}"#;
        assert_eq!(thai.len(), 86);
        for (body, expected) in [
            ("", "99bcc027e84d085854f921f0d105d4a9e69d0696f4b9497aaed731b4d2ec76b4"),
            (post, "08b5a1b3756eb88d2d143613c1f73bf3288b28df85b58f9e696a71bf5b56bc8a"),
            (thai, "964439454b672323a9e70b1a781a9529b988f8de8f478eb743f0b5bf4e06a735"),
        ] {
            assert_eq!(signature(SECRET, TIMESTAMP, body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn the_webhooks_vector_is_met_by_the_same_scheme() {
        let body = r#"{"event":"payment.succeeded","paymentId":"550e8400-e29b-41d4-a716-446655440000","referenceId":"order-12345","status":"succeeded","amount":"1000.00","currency":"THB"}"#;
        assert_eq!(
            signature("whsec_test_4hJ9", TIMESTAMP, body.as_bytes()),
            "d7bfc388ee65ad8d32a10e7af550b30ac40a6ccf0e6674b41fc262fdca0f6c89"
        );
    }

    #[test]
    fn the_common_mistakes_do_not_match() {
        let get = signature(SECRET, TIMESTAMP, b"");
        for wrong in [
            "8db559020558408c336b70e83ce13a5f119ce04dd487c73049056a28b2e0eb2a",
            "26077413f7796f1b3c0649c9a8ca842c39f11870a56201ece98dcab411aee5ec",
        ] {
            assert_ne!(get, wrong);
        }
        // And both are what those mistakes give, so the comparison above says something.
        let plain = |message: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(message.as_bytes());
            hex::encode(mac.finalize().into_bytes())
        };
        assert_eq!(
            plain(TIMESTAMP),
            "8db559020558408c336b70e83ce13a5f119ce04dd487c73049056a28b2e0eb2a"
        );
        assert_eq!(
            plain("1767225600000.GET./api/v1/payments?page=1&limit=100."),
            "26077413f7796f1b3c0649c9a8ca842c39f11870a56201ece98dcab411aee5ec"
        );
    }

    fn keys(public: &str, secret: &str) -> Keys {
        Keys::from([("api_key".into(), public.into()), ("secret_key".into(), secret.into())])
    }

    #[test]
    fn keys_of_two_environments_are_refused_and_never_repeated() {
        let test = keys("pk_test_ab", "sk_test_cd");
        let live = keys("pk_live_ab", "sk_live_cd");
        assert_eq!(check_keys(None, &test), Ok(()));
        assert_eq!(check_keys(Some(Environment::Live), &live), Ok(()));
        for (configured, keys) in [
            (None, keys("pk_test_ab", "sk_live_cd")),
            (None, keys("sk_test_ab", "pk_test_cd")),
            (None, keys("ab", "cd")),
            (None, keys("pk_test_", "sk_test_")),
            (Some(Environment::Live), test),
            (Some(Environment::Test), live),
        ] {
            let refused = check_keys(configured, &keys).unwrap_err();
            assert!(!refused.contains("_ab") && !refused.contains("_cd"), "{refused}");
        }
    }

    #[test]
    fn a_request_signed_again_carries_one_signature_of_the_new_time() {
        let keys = keys("pk_test_ab", SECRET);
        let at = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap();
        let mut request = Request::get("/api/v1/payments", "page=1&limit=100");
        sign(&mut request, &keys, at(1));
        sign(&mut request, &keys, at(1_767_225_600_000));
        let value = |name: &str| -> Vec<&str> {
            request
                .headers
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(_, v)| v.as_str())
                .collect()
        };
        assert_eq!(value("X-Timestamp"), [TIMESTAMP]);
        assert_eq!(
            value("X-Signature"),
            ["sha256=99bcc027e84d085854f921f0d105d4a9e69d0696f4b9497aaed731b4d2ec76b4"]
        );
        assert!(value("Content-Type").is_empty());
    }
}
