//! One2Pays from outside.

use super::*;

#[tokio::test]
async fn one2pays_accepts_the_published_vectors_and_refuses_the_common_mistakes() {
    let mut world = World::new(setup(7));
    world.set_now(at("2026-01-01T00:00:00Z"));
    world.doors.one2pays.clock = SignatureClock::World;
    let out = outside(world, "").await;
    let post2 = r#"{"amount":"1000.00","referenceId":"order-12345","idempotencyKey":"unique-key-123"}"#;
    let post3 = r#"{"amount":"50.00","referenceId":"order-9","description":"ค่าสินค้า"}"#;
    use reqwest::Method as M;
    for (method, path, body, signature, status) in [
        (
            M::GET,
            "/api/v1/payments?page=1&limit=100",
            "",
            "99bcc027e84d085854f921f0d105d4a9e69d0696f4b9497aaed731b4d2ec76b4",
            200,
        ),
        (
            M::POST,
            "/api/v1/payments",
            post2,
            "08b5a1b3756eb88d2d143613c1f73bf3288b28df85b58f9e696a71bf5b56bc8a",
            403,
        ),
        (
            M::POST,
            "/api/v1/payments",
            post3,
            "964439454b672323a9e70b1a781a9529b988f8de8f478eb743f0b5bf4e06a735",
            403,
        ),
        (
            M::GET,
            "/api/v1/payments?page=1&limit=100",
            "",
            "8db559020558408c336b70e83ce13a5f119ce04dd487c73049056a28b2e0eb2a",
            401,
        ),
        (
            M::GET,
            "/api/v1/payments?page=1&limit=100",
            "",
            "26077413f7796f1b3c0649c9a8ca842c39f11870a56201ece98dcab411aee5ec",
            401,
        ),
        (
            M::POST,
            "/api/v1/payments",
            post3,
            "08b5a1b3756eb88d2d143613c1f73bf3288b28df85b58f9e696a71bf5b56bc8a",
            401,
        ),
    ] {
        let got = Got::of(out.with_signature(method, path, body, "1767225600000", signature)).await;
        assert_eq!(got.status, status, "{signature}: {}", got.body);
    }
    // Five minutes around the clock, no more.
    for (shift, status) in [(-300_000, 200), (300_000, 200), (-300_001, 401), (300_001, 401)] {
        let timestamp = (1_767_225_600_000_i64 + shift).to_string();
        let signature = sign("sk_test_EXAMPLE", &format!("{timestamp}."));
        let got = Got::of(out.with_signature(M::GET, "/api/v1/balance", "", &timestamp, &signature)).await;
        assert_eq!(got.status, status, "{shift}");
        assert_eq!(got.headers["date"], "Thu, 01 Jan 2026 00:00:00 GMT");
    }
}

#[tokio::test]
async fn one2pays_refuses_what_it_does_not_document() {
    let out = ordinary("").await;
    for (path, status, code) in [
        ("/api/v1/payments?limit=101", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?limit=0", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?page=0", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?status=succeeded", 400, "VALIDATION_ERROR"),
        ("/api/v1/payments?page=1&page=2", 400, "VALIDATION_ERROR"),
        ("/api/v1/balance?x=1", 400, "VALIDATION_ERROR"),
        (
            "/api/v1/payments/550e8400-e29b-41d4-a716-446655440000",
            404,
            "RESOURCE_NOT_FOUND",
        ),
        ("/api/v1/refunds", 404, "RESOURCE_NOT_FOUND"),
        ("/v1/payments", 404, "RESOURCE_NOT_FOUND"),
    ] {
        let got = out.one2pays(path).await;
        let row = got.row();
        assert_eq!((got.status, row.raw("success")), (status, "false"), "{path}");
        assert_eq!(row.row("error").text("code"), code, "{path}");
    }
    for path in ["/api/v1/payments", "/api/v1/withdraws", "/api/v1/balance"] {
        assert_eq!(
            Got::of(out.signed(reqwest::Method::DELETE, path, "")).await.status,
            405,
            "{path}"
        );
    }
    let bare = Got::of(out.http.get(out.url(Service::One2pays, "/api/v1/balance"))).await;
    assert_eq!(
        (bare.status, bare.row().row("error").text("code").as_str()),
        (401, "INVALID_CREDENTIALS")
    );
}

#[tokio::test]
async fn one2pays_lists_by_offset_and_looks_up_by_id() {
    let out = ordinary("").await;
    let by_ten = out.one2pays_rows("/api/v1/payments", 10).await;
    let by_hundred = out.one2pays_rows("/api/v1/payments", 100).await;
    let ids = |rows: &[Row]| -> Vec<String> { rows.iter().map(|r| r.text("id")).collect() };
    assert_eq!(ids(&by_ten), ids(&by_hundred));
    assert!(by_ten.len() > 200);
    assert_eq!(
        out.one2pays("/api/v1/payments").await.row().row("data").int("limit"),
        10
    );
    let fields = "id referenceId amount currency status paymentMethod description metadata nextAction clientSecret createdAt expiresAt";
    assert_eq!(by_ten[0].keys(), fields.split_whitespace().collect());
    let one = out
        .one2pays(&format!("/api/v1/payments/{}", by_ten[3].text("id")))
        .await
        .row()
        .row("data");
    assert_eq!(one.text("referenceId"), by_ten[3].text("referenceId"));
    let withdraws = out.one2pays_rows("/api/v1/withdraws", 100).await;
    assert!(withdraws.iter().all(|w| w.text("amount").ends_with(".00")));
    let behind = out
        .one2pays("/api/v1/payments?page=9999&limit=100")
        .await
        .row()
        .row("data");
    assert!(behind.rows("data").is_empty());
}

#[tokio::test]
async fn one2pays_limits_requests_a_minute_and_says_so_in_the_body() {
    let mut world = World::new(setup(7));
    world.doors.one2pays.requests_per_minute = Some(3);
    let out = outside(world, "").await;
    for _ in 0..3 {
        assert_eq!(out.one2pays("/api/v1/balance").await.status, 200);
    }
    let got = out.one2pays("/api/v1/balance").await;
    assert_eq!(got.status, 429);
    let metadata = got.row().row("error").row("metadata");
    assert_eq!((metadata.int("limit"), metadata.int("remaining")), (3, 0));
    assert!((1..=61).contains(&metadata.int("retryAfter")));
    assert!(metadata.text("resetAt").parse::<At>().unwrap() > Utc::now());
}
