//! PayVyne from outside.

use super::*;

#[tokio::test]
async fn payvyne_gives_tokens_for_form_bodies_with_the_right_pair_and_ends_them_after_an_hour() {
    let out = ordinary("").await;
    let good = "client_id=recon-sandbox&client_secret=payvyne+sandbox+%26+secret";
    for (form, status, word) in [
        (format!("grant_type=client_credentials&{good}X"), 401, "invalid_client"),
        (format!("grant_type=password&{good}"), 400, "unsupported_grant_type"),
        (good.to_owned(), 400, "invalid_request"),
        (
            format!("grant_type=client_credentials&{good}&client_id=again"),
            400,
            "invalid_request",
        ),
    ] {
        let got = Got::of(out.token_request(&form)).await;
        assert_eq!((got.status, got.row().text("error").as_str()), (status, word), "{form}");
    }
    let json = out.http.post(out.url(Service::Payvyne, "/api/oauth/token"));
    let json = json.header("content-type", "application/json").body("{}");
    assert_eq!(Got::of(json).await.status, 400);
    let get = out.http.get(out.url(Service::Payvyne, "/api/oauth/token"));
    assert_eq!(Got::of(get).await.status, 405);

    let token = out.token().await;
    assert_eq!(out.payvyne(&token, "/merchant/sweeps").await.status, 200);
    assert_eq!(out.payvyne("else", "/merchant/sweeps").await.status, 401);
    out.set_now(at("2026-03-20T09:30:00Z") + TimeDelta::seconds(3598));
    assert_eq!(out.payvyne(&token, "/merchant/sweeps").await.status, 200);
    out.set_now(at("2026-03-20T09:30:00Z") + TimeDelta::seconds(3599));
    assert_eq!(out.payvyne(&token, "/merchant/sweeps").await.status, 401);
}

#[tokio::test]
async fn payvyne_filters_by_bare_dates_at_midnight_and_refuses_what_the_grammar_does_not_know() {
    let out = ordinary("").await;
    let token = out.token().await;
    let ask = async |filter: &str| {
        let got = out
            .payvyne(&token, &format!("/merchant/sweeps?size=100&query={}", encoded(filter)))
            .await;
        (got.status == 200).then(|| got.row().rows("elements"))
    };
    let days =
        |rows: Vec<Row>| -> BTreeSet<String> { rows.iter().map(|r| r.text("createdAt")[..10].to_owned()).collect() };
    let two = ask("createdAt >= '2026-02-25' AND createdAt <= '2026-02-27'")
        .await
        .unwrap();
    assert_eq!(
        days(two),
        BTreeSet::from(["2026-02-25".to_owned(), "2026-02-26".to_owned()]),
        "the last day's sweep is at 23:59"
    );
    let one =
        ask("(createdAt >= '2026-02-25' AND createdAt < '2026-02-26') AND settlementAccountIdentifier = 'GBP3'").await;
    assert_eq!(one.unwrap().len(), 1);
    assert_eq!(ask("settlementAccountIdentifier = 'USD9'").await.unwrap().len(), 0);
    for bad in [
        "createdAt >= '2026-02-25T00:00:00Z'",
        "createdAt >= '25.02.2026'",
        "createdAt >= \u{2018}2026-02-25\u{2019}",
        "merchantId = 'x'",
        "createdAt >= '2026-02-25' OR createdAt = '2026-02-26'",
    ] {
        assert!(ask(bad).await.is_none(), "{bad}");
    }
    for (path, status) in [
        ("/merchant/sweeps?query=createdAt+>=+'2026-02-25'", 400),
        ("/merchant/sweeps?page=2", 400),
        ("/merchant/sweeps?size=0", 400),
        ("/merchant/sweeps?cursor=bm9uZQ%3D%3D", 400),
        ("/merchant/sweeps/none/transactions", 404),
        ("/merchant/sweeps/none", 404),
        ("/merchant/transactions", 404),
        ("/partner/sweeps", 200),
    ] {
        assert_eq!(out.payvyne(&token, path).await.status, status, "{path}");
    }
    let b = out
        .http
        .get(out.url(Service::Payvyne, "/api/v1/reconciliation/merchant/sweeps"))
        .bearer_auth(&token);
    assert_eq!(Got::of(b).await.status, 404, "variant B");
    let post = out
        .http
        .post(out.url(Service::Payvyne, "/api/reconciliation/v1/merchant/sweeps"))
        .bearer_auth(&token);
    assert_eq!(Got::of(post).await.status, 405);
}

#[tokio::test]
async fn payvyne_walks_by_opaque_cursors_that_hold_for_their_own_filter_only() {
    let out = ordinary("").await;
    let token = out.token().await;
    let whole = out.payvyne_rows(&token, "/merchant/sweeps", "size=100").await;
    let slowly = out.payvyne_rows(&token, "/merchant/sweeps", "size=3").await;
    let ids = |rows: &[Row]| -> Vec<String> { rows.iter().map(|r| r.text("id")).collect() };
    assert_eq!(ids(&whole), ids(&slowly));
    assert_eq!(whole.len(), 16, "two accounts, eight days");
    let path = format!("/merchant/sweeps/{}/transactions", ids(&whole)[0]);
    let all = out.payvyne_rows(&token, &path, "size=100").await;
    let slowly = out.payvyne_rows(&token, &path, "size=1").await;
    assert!(all.len() > 10);
    let ids: fn(&[Row]) -> Vec<String> = |rows| rows.iter().map(|r| r.text("transactionId")).collect();
    assert_eq!(ids(&all), ids(&slowly));

    let first = out.payvyne(&token, "/merchant/sweeps?size=2").await.row();
    let cursor = encoded(&first.text("nextPage"));
    let other = format!(
        "/merchant/sweeps?size=2&cursor={cursor}&query={}",
        encoded("settlementAccountIdentifier = 'GBP3'")
    );
    assert_eq!(out.payvyne(&token, &other).await.status, 400);
    assert_eq!(
        out.payvyne(&token, &format!("{path}?cursor={cursor}")).await.status,
        400
    );
    let clamped = out.payvyne(&token, &format!("{path}?size=5000")).await.row();
    assert!(clamped.int("size") <= 100);

    let sweep =
        "id createdAt settlementAccount openingBalance closingBalance reservedBalance transferredAmount summary";
    assert_eq!(whole[0].keys(), sweep.split_whitespace().collect());
    let fields = "transactionId type customerReference merchantReference relatedTransaction description createdAt updatedAt value";
    assert_eq!(all[0].keys(), fields.split_whitespace().collect());
    let partner = out
        .payvyne(&token, "/partner/sweeps?size=1")
        .await
        .row()
        .rows("elements");
    assert_eq!(partner[0].row("merchant").text("id"), "7c1e09ab44d2f310");
}
