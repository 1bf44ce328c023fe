//! TuPay from outside.

use super::*;

#[tokio::test]
async fn tupay_opens_to_the_right_pair_only_and_answers_as_its_error_table_says() {
    let out = ordinary("").await;
    let login = |kind: &str, body: &'static str| {
        let url = out.url(Service::Tupay, "/v1/auth/login");
        Got::of(out.http.post(url).header("content-type", kind).body(body))
    };
    let json = "application/json";
    for (kind, body, status, code) in [
        (
            json,
            r#"{"accessKey":"recon@merchant.example","secretKey":"wrong"}"#,
            412,
            11,
        ),
        (
            json,
            r#"{"accessKey":"x","secretKey":"tupay-sandbox-password"}"#,
            412,
            11,
        ),
        (json, r#"{"accessKey":"#, 500, 500),
        (json, r#"{"access_key":"a","secret_key":"b"}"#, 500, 500),
        ("application/x-www-form-urlencoded", "accessKey=a&secretKey=b", 500, 500),
    ] {
        let got = login(kind, body).await;
        assert_eq!((got.status, got.row().int("code")), (status, code), "{body}");
        assert!(!got.row().text("description").is_empty());
    }
    let get = out.http.get(out.url(Service::Tupay, "/v1/auth/login"));
    assert_eq!(Got::of(get).await.status, 405);
}

#[tokio::test]
async fn tupay_takes_its_token_in_three_forms_and_ends_it_after_fifteen_idle_minutes_a_logout_or_another_login() {
    let out = ordinary("").await;
    let token = out.login().await;
    assert_eq!(token.len(), 33);
    let balance = out.url(Service::Tupay, "/v1/balance");
    for (name, value) in [
        ("cookie", format!("other=1; BEARER_TOKEN={token}")),
        ("authorization", format!("Bearer {token}")),
        ("authorization", format!("BEARER_TOKEN={token}")),
    ] {
        assert_eq!(
            Got::of(out.http.get(&balance).header(name, value)).await.status,
            200,
            "{name}"
        );
    }
    assert_eq!(Got::of(out.http.get(&balance)).await.status, 401);

    let mut now = at("2026-03-20T09:30:00Z");
    for _ in 0..3 {
        now += TimeDelta::minutes(14);
        out.set_now(now);
        assert_eq!(
            out.tupay(&token, "/v1/balance").await.status,
            200,
            "a used session lives on"
        );
    }
    out.set_now(now + TimeDelta::minutes(15));
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 401);

    let (first, second) = (out.login().await, out.login().await);
    assert_eq!(
        out.tupay(&first, "/v1/balance").await.status,
        401,
        "one session at a time"
    );
    assert_eq!(out.tupay(&second, "/v1/balance").await.status, 200);
    let bye = out
        .http
        .delete(out.url(Service::Tupay, "/v1/auth/session/destroy"))
        .bearer_auth(&second);
    assert_eq!(Got::of(bye).await.status, 200);
    assert_eq!(out.tupay(&second, "/v1/balance").await.status, 401);
}

#[tokio::test]
async fn tupay_refuses_ranges_parameters_and_methods_it_does_not_document() {
    let out = ordinary("").await;
    let token = out.login().await;
    let day = 86_400;
    let t = start_of_world().timestamp();
    for (query, status, code) in [
        (format!("from={t}&to={}", t + 60 * day), 200, 0),
        (format!("from={t}&to={}", t + 60 * day + 1), 412, 412),
        (format!("from={t}&to={t}"), 412, 17),
        (format!("from={}&to={t}", t + 1), 412, 17),
        (format!("from={t}"), 412, 412),
        (format!("to={t}"), 412, 412),
        (format!("from=2026-02-24&to={t}"), 412, 412),
        (format!("from={t}&to={}&page=-1", t + day), 412, 412),
        (format!("from={t}&to={}&rows=100", t + day), 412, 412),
        (format!("from={t}&to={}&clientDocument=1", t + day), 412, 412),
        (format!("from={t}&to={}&country=BR", t + day), 412, 19),
        (format!("from={t}&to={}&country=PE&paymentMethod=XAQR", t + day), 200, 0),
        (format!("from={t}&to={}&status=DONE", t + day), 412, 412),
    ] {
        let got = out.tupay(&token, &format!("/v1/deposits?{query}")).await;
        assert_eq!(got.status, status, "{query}: {}", got.body);
        if status != 200 {
            assert_eq!(got.row().int("code"), code, "{query}");
        }
    }
    assert_eq!(out.tupay(&token, "/v1/balance?currency=PEN").await.status, 412);
    assert_eq!(
        out.tupay(&token, "/v1/cashouts").await.status,
        404,
        "the plural is another platform's"
    );
    for path in ["/v1/deposits", "/v1/cashout", "/v1/balance", "/v1/balance/report"] {
        let post = out.http.post(out.url(Service::Tupay, path)).bearer_auth(&token);
        assert_eq!(Got::of(post).await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn tupay_lists_fifty_rows_a_page_with_every_documented_field() {
    let out = ordinary("").await;
    let token = out.login().await;
    let (from, to) = (start_of_world(), at("2026-03-10T00:00:00Z"));
    let deposits = out.tupay_rows(&token, "/v1/deposits", from, to).await;
    assert!(deposits.len() > 300);
    let ids: BTreeSet<i64> = deposits.iter().map(|d| d.int("idDeposit")).collect();
    assert_eq!(ids.len(), deposits.len());
    let fields = "idDeposit externalId creationDate lastChangeDate countryName country paymentMethodName paymentMethodCode \
        requestedPaymentMethod requestedPaymentMethodName clientDocument idUser amount currency requestedAmount \
        requestedCurrency localAmount localCurrency fee feeCurrency status refundAttempted flags idMerchant merchantName";
    assert_eq!(deposits[0].keys(), fields.split_whitespace().collect());
    let cashouts = out.tupay_rows(&token, "/v1/cashout", from, to).await;
    let fields = "idCashout externalId creationDate lastChangeDate country currency amount creditedCurrency creditedAmount \
        merchantCurrency merchantAmount feeCurrency fee tax status reason existVoucher clientDocument flags idMerchant \
        merchantName";
    assert_eq!(cashouts[0].keys(), fields.split_whitespace().collect());

    // The status filter works, and only on what it names.
    let query = format!(
        "/v1/deposits?from={}&to={}&status=DECLINED",
        from.timestamp(),
        to.timestamp()
    );
    let declined = out.tupay(&token, &query).await.row().rows("data");
    assert!(!declined.is_empty() && declined.iter().all(|d| d.text("status") == "DECLINED"));

    // A page behind the end is empty.
    let query = format!("/v1/deposits?from={}&to={}&page=999", from.timestamp(), to.timestamp());
    assert_eq!(out.tupay(&token, &query).await.row().int("rows"), 0);
}

#[tokio::test]
async fn orders_mature_with_the_worlds_clock() {
    let out = ordinary("").await;
    let token = out.login().await;
    let (from, to) = (start_of_world(), at("2026-02-25T05:00:00Z"));
    let all = out.tupay_rows(&token, "/v1/deposits", from, to).await;
    let late = all.iter().find(|d| {
        let life = d.text("lastChangeDate").parse::<At>().unwrap() - d.text("creationDate").parse::<At>().unwrap();
        d.text("status") == "COMPLETED" && life > TimeDelta::hours(5)
    });
    let late = late.expect("some deposit is paid late");
    let (id, created) = (late.int("idDeposit"), late.text("creationDate").parse::<At>().unwrap());
    let find = async |now: At| {
        out.set_now(now);
        let token = out.login().await;
        let rows = out.tupay_rows(&token, "/v1/deposits", from, to).await;
        rows.into_iter()
            .find(|d| d.int("idDeposit") == id)
            .map(|d| (d.text("status"), d.cents("fee")))
    };
    assert_eq!(find(created - TimeDelta::seconds(1)).await, None);
    assert_eq!(find(created).await, Some(("PENDING".into(), 0)));
    let (status, fee) = find(created + TimeDelta::days(5)).await.unwrap();
    assert_eq!(status, "COMPLETED");
    assert!(fee > 0);
}
