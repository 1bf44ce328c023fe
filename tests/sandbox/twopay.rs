//! TwoPay from outside.

use super::*;
use reconciled::sandbox::world::twopay::{Method, Wallet};

const PAIR: &str = r#"{"client_id":"54","client_secret":"twopay-sandbox-secret"}"#;
const KEY: &str = "twopay-sandbox-x-api-key";

impl Outside {
    async fn twopay_login(&self, body: &str) -> Got {
        let url = self.url(Service::Twopay, "/co/v1/oauth2/token");
        let request = self.http.post(url).header("content-type", "application/json");
        Got::of(request.body(body.to_owned())).await
    }

    async fn twopay_token(&self) -> String {
        let answer = self.twopay_login(PAIR).await.row();
        assert_eq!((answer.int("code"), answer.text("message").as_str()), (200, "SUCCESS"));
        let data = answer.row("data");
        assert_eq!(
            (data.int("expires_in"), data.text("token_type").as_str()),
            (7200, "Bearer")
        );
        data.text("access_token")
    }

    async fn twopay(&self, token: &str, path: &str) -> Got {
        let url = self.url(Service::Twopay, path);
        Got::of(self.http.get(url).bearer_auth(token).header("x-api-key", KEY)).await
    }
}

/// A refusal, whatever its reason: told in the body, under HTTP 200.
fn refused(got: &Got) -> String {
    let row = got.row();
    assert_eq!(
        (got.status, row.int("code"), row.raw("data")),
        (200, 401, "null"),
        "{}",
        got.body
    );
    row.text("message")
}

#[tokio::test]
async fn twopay_gives_a_token_for_the_right_pair_of_texts_only() {
    let out = ordinary("").await;
    for (body, part) in [
        (r#"{"client_id":"54","client_secret":"wrong"}"#, "authentication failed"),
        (
            r#"{"client_id":54,"client_secret":"twopay-sandbox-secret"}"#,
            "must be texts",
        ),
        (r#"{"client_id":"54"}"#, "must be texts"),
        (
            r#"{"client_id":"54","client_secret":"twopay-sandbox-secret","grant_type":"x"}"#,
            "must be texts",
        ),
        ("client_id=54", "must be texts"),
    ] {
        assert!(refused(&out.twopay_login(body).await).contains(part), "{body}");
    }
    let form = out.http.post(out.url(Service::Twopay, "/co/v1/oauth2/token"));
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body(PAIR);
    assert!(refused(&Got::of(form).await).contains("content type"));
    assert_eq!(out.twopay_token().await.len(), 32);
}

#[tokio::test]
async fn twopay_wants_the_token_and_the_static_key_on_every_call() {
    let out = ordinary("").await;
    let token = out.twopay_token().await;
    let key = out.running.world().lock().unwrap().twopay.orders[0].key.clone();
    let url = out.url(Service::Twopay, &format!("/co/v1/payment/{key}"));
    let bearer = format!("Bearer {token}");
    let plain = format!("Token {token}");
    for (authorization, api_key, part) in [
        (None, Some(KEY), "Authorization is missing"),
        (Some(plain.as_str()), Some(KEY), "access_token is invalid"),
        (Some("Bearer 0"), Some(KEY), "access_token is invalid or expired"),
        (Some(bearer.as_str()), None, "x-api-key is missing"),
        (Some(bearer.as_str()), Some("other"), "x-api-key is invalid"),
    ] {
        let mut request = out.http.get(&url);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        if let Some(value) = api_key {
            request = request.header("x-api-key", value);
        }
        assert_eq!(refused(&Got::of(request).await), part);
    }
    assert_eq!(
        out.twopay(&token, &format!("/co/v1/payment/{key}"))
            .await
            .row()
            .int("code"),
        200
    );
    out.set_now(at("2026-03-20T11:30:00Z"));
    let late = out.twopay(&token, &format!("/co/v1/payment/{key}")).await;
    assert!(refused(&late).contains("expired"), "two hours later");
}

#[tokio::test]
async fn every_order_of_twopay_is_found_under_its_key_with_the_amount_and_status_of_the_world() {
    let out = ordinary("").await;
    let token = out.twopay_token().await;
    let world = out.running.world().lock().unwrap().clone();
    let mut seen = BTreeSet::new();
    for order in &world.twopay.orders {
        let (path, other) = match order.wallet {
            Wallet::Payin => ("payment", "payout"),
            Wallet::Payout => ("payout", "payment"),
        };
        let answer = out.twopay(&token, &format!("/co/v1/{path}/{}", order.key)).await.row();
        assert_eq!(answer.int("code"), 200);
        let data = answer.row("data");
        let (_, state) = order.life.at(world.now()).unwrap();
        assert_eq!(data.text("uniqueKey"), order.key);
        assert_eq!(data.text("status"), state.status);
        assert_eq!(cents(&data.text("amount")), state.amount, "as text, in pesos");
        assert_eq!(data.text("errorCode").is_empty(), state.status != "FAILED");
        if order.wallet == Wallet::Payin {
            let cash = matches!(order.method, Method::Cash(_));
            assert_eq!(
                (data.text("pseUrl").is_empty(), data.text("cashCode").is_empty()),
                (cash, !cash)
            );
        }
        seen.insert((path, state.status));
        let elsewhere = out.twopay(&token, &format!("/co/v1/{other}/{}", order.key)).await;
        assert_eq!(refused(&elsewhere), "uniqueKey does not exist");
    }
    assert_eq!(seen.len(), 4, "both directions succeed and fail: {seen:?}");
}

#[tokio::test]
async fn twopay_refuses_unknown_keys_queries_bodies_and_writing() {
    let out = ordinary("").await;
    let token = out.twopay_token().await;
    for (path, part) in [
        ("/co/v1/payment/PI-NOBODY", "uniqueKey does not exist"),
        ("/co/v1/payment/", "not well encoded"),
        ("/co/v1/payment/a/b", "not well encoded"),
        ("/co/v1/payment/%zz", "not well encoded"),
        ("/co/v1/payment/a?page=1", "no parameters"),
        ("/co/v1/transactions", "path is not known"),
        ("/mx/v1/payment/a", "path is not known"),
    ] {
        assert!(refused(&out.twopay(&token, path).await).contains(part), "{path}");
    }
    let create = out
        .http
        .post(out.url(Service::Twopay, "/co/v1/payout"))
        .bearer_auth(&token);
    assert!(refused(&Got::of(create.header("x-api-key", KEY).body("{}")).await).contains("not supported"));
    // A deployment that tells failure by HTTP as well.
    out.running.world().lock().unwrap().doors.twopay.failure_status = 401;
    assert_eq!(out.twopay(&token, "/co/v1/payment/PI-NOBODY").await.status, 401);
}

#[tokio::test]
async fn each_wallet_of_twopay_gains_what_its_records_moved() {
    let out = ordinary("").await;
    let token = out.twopay_token().await;
    let balance = async |path: &str| {
        let data = out.twopay(&token, path).await.row().row("data");
        assert!(!data.0.contains_key("uniqueKey"));
        cents(data.raw("balance").trim_matches('"'))
    };
    let world = out.running.world().lock().unwrap().clone();
    let moved = |wallet: Wallet| -> i64 {
        let mine = world.twopay.orders.iter().filter(|o| o.wallet == wallet);
        mine.filter_map(|o| o.life.at(world.now()))
            .filter(|(_, s)| s.status == "SUCCESS")
            .map(|(_, s)| s.amount)
            .sum()
    };
    assert_eq!(
        balance("/co/v1/payment/balance").await - 480_000_000,
        moved(Wallet::Payin)
    );
    assert_eq!(
        2_150_000_050 - balance("/co/v1/payout/balance").await,
        moved(Wallet::Payout)
    );
    // Where the endpoints are not there, their paths are lookups like any other.
    out.running.world().lock().unwrap().doors.twopay.payin_balance = None;
    let lookup = out.twopay(&token, "/co/v1/payment/balance").await;
    assert_eq!(refused(&lookup), "uniqueKey does not exist");
}

#[tokio::test]
async fn twopay_fails_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\nprovider = 'twopay'\npath = '/co/v1/payout/*'\nexpire_sessions = true\n\
         [[fault]]\nprovider = 'twopay'\npath = '/co/v1/payout/*'\nnth = 2\nunauthorized = true\n\
         [[fault]]\nprovider = 'twopay'\npath = '/co/v1/payout/*'\nnth = 3\nrate_limited = 'header'\nretry_after = 9\n\
         [[fault]]\nprovider = 'twopay'\npath = '/co/v1/payout/*'\nnth = 4\nstatus = 502\nhtml = true\n",
    )
    .await;
    let token = out.twopay_token().await;
    assert!(refused(&out.twopay(&token, "/co/v1/payout/x").await).contains("expired"));
    let token = out.twopay_token().await;
    let told = out.twopay(&token, "/co/v1/payout/x").await;
    assert_eq!((told.status, told.row().int("code")), (401, 401));
    let told = out.twopay(&token, "/co/v1/payout/x").await;
    assert_eq!((told.status, told.headers["retry-after"].to_str().unwrap()), (429, "9"));
    let told = out.twopay(&token, "/co/v1/payout/x").await;
    assert_eq!((told.status, told.body.contains("<html>")), (502, true));
    assert_eq!(
        refused(&out.twopay(&token, "/co/v1/payout/x").await),
        "uniqueKey does not exist"
    );
}
