//! The fault script: what it says happens, and nothing else.

use super::*;

async fn balance(out: &Outside) -> Result<Got, reqwest::Error> {
    let response = out.signed(reqwest::Method::GET, "/api/v1/balance", "").send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Got {
        status,
        headers,
        body: response.text().await?,
    })
}

#[tokio::test]
async fn answers_are_replaced_as_the_script_says() {
    for (line, status, part) in [
        ("status = 503", 503, "\"success\":false"),
        ("status = 204", 204, ""),
        ("unauthorized = true", 401, "INVALID_CREDENTIALS"),
        ("rate_limited = 'body'\nretry_after = 7", 429, "\"retryAfter\":7"),
        ("rate_limited = 'bare'", 429, "RATE_LIMIT_EXCEEDED"),
        ("html = true", 200, "<html>"),
        ("body = 'not json'", 200, "not json"),
        ("truncate = 20", 200, "{\"success\":true,\"dat"),
    ] {
        let out = ordinary(&format!("[[fault]]\n{line}\n")).await;
        let got = balance(&out).await.unwrap();
        assert_eq!(got.status, status, "{line}");
        assert!(got.body.contains(part), "{line}: {}", got.body);
        let after = balance(&out).await.unwrap();
        assert_eq!(
            (after.status, after.row().raw("success")),
            (200, "true"),
            "{line}: only once"
        );
        let log = out.running.log();
        assert_eq!(
            log.iter().map(|l| (l.faulty, l.status)).collect::<Vec<_>>(),
            [(true, Some(status)), (false, Some(200))]
        );
        assert!(log[0].at <= log[1].at);
    }
}

#[tokio::test]
async fn headers_redirects_and_content_types_are_sent_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\nstatus = 429\nheaders = [['Retry-After', '3'], ['Retry-After', 'soon']]\n\
         [[fault]]\nnth = 2\nredirect = 'http://127.0.0.1:9/x'\nstatus = 307\n\
         [[fault]]\nnth = 3\ncontent_type = 'text/plain'\n\
         [[fault]]\nnth = 4\nrate_limited = 'header'\nretry_after = 4\n",
    )
    .await;
    let first = balance(&out).await.unwrap();
    let values: Vec<_> = first
        .headers
        .get_all("retry-after")
        .iter()
        .map(|v| v.to_str().unwrap())
        .collect();
    assert_eq!((first.status, values), (429, vec!["3", "soon"]));
    let second = balance(&out).await.unwrap();
    assert_eq!(
        (second.status, second.headers["location"].to_str().unwrap()),
        (307, "http://127.0.0.1:9/x")
    );
    let third = balance(&out).await.unwrap();
    assert_eq!(
        (third.status, third.headers["content-type"].to_str().unwrap()),
        (200, "text/plain")
    );
    assert_eq!(balance(&out).await.unwrap().headers["retry-after"], "4");
}

#[tokio::test]
async fn connections_break_and_bodies_drip_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\ndrop = true\n[[fault]]\nnth = 2\ncut_after = 10\n\
         [[fault]]\nnth = 3\ndelay_ms = 150\n[[fault]]\nnth = 4\ndrip_ms = 2\ndrip_bytes = 5\n",
    )
    .await;
    assert!(balance(&out).await.is_err(), "no answer");
    let response = out
        .signed(reqwest::Method::GET, "/api/v1/balance", "")
        .send()
        .await
        .unwrap();
    assert!(response.content_length().unwrap() > 10);
    assert!(response.bytes().await.is_err(), "the body breaks off");
    let began = Instant::now();
    assert_eq!(balance(&out).await.unwrap().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(150));
    let began = Instant::now();
    assert_eq!(
        balance(&out).await.unwrap().row().raw("success"),
        "true",
        "slow, but whole"
    );
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_gzip_bomb_unpacks_to_what_the_script_says() {
    let out = ordinary("[[fault]]\ngzip_bomb_mib = 3\n").await;
    let mut response = out
        .signed(reqwest::Method::GET, "/api/v1/balance", "")
        .send()
        .await
        .unwrap();
    let mut size = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        assert!(chunk.iter().all(|b| *b == b' '));
        size += chunk.len();
    }
    assert!((3_usize << 20).abs_diff(size) <= 5000, "{size}");
}

#[tokio::test]
async fn paging_goes_wrong_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\nprovider = 'one2pays'\nquery = 'page=2'\nignore_page = true\n\
         [[fault]]\nprovider = 'payvyne'\nquery = 'cursor='\ncursor_loop = true\n",
    )
    .await;
    let page = async |n: u32| out.one2pays(&format!("/api/v1/payments?page={n}&limit=5")).await.body;
    assert_eq!(page(2).await, page(1).await);
    assert_ne!(page(2).await, page(1).await, "only once");
    let token = out.token().await;
    let first = out
        .payvyne(&token, "/merchant/sweeps?size=2")
        .await
        .row()
        .text("nextPage");
    let second = out
        .payvyne(&token, &format!("/merchant/sweeps?size=2&cursor={}", encoded(&first)))
        .await
        .row();
    assert_eq!(second.text("nextPage"), first);
}

#[tokio::test]
async fn rows_come_and_go_between_pages_as_the_script_says() {
    let out = ordinary(
        "[[fault]]\nprovider = 'one2pays'\nquery = 'page=2'\ninsert = 2\n\
         [[fault]]\nprovider = 'one2pays'\nquery = 'page=3'\ndelete = 3\n\
         [[fault]]\nprovider = 'tupay'\nquery = 'page=1'\ninsert = 1\n\
         [[fault]]\nprovider = 'payvyne'\npath = '/api/reconciliation/v1/merchant/sweeps/*'\ndelete = 2\n",
    )
    .await;
    let page = async |n: u32| {
        let data = out
            .one2pays(&format!("/api/v1/payments?page={n}&limit=5"))
            .await
            .row()
            .row("data");
        let ids: Vec<String> = data.rows("data").iter().map(|r| r.text("id")).collect();
        (data.int("total"), ids)
    };
    let (total, first) = page(1).await;
    let (grown, second) = page(2).await;
    assert_eq!(grown, total + 2);
    assert_eq!(second[..2], first[3..], "two rows slipped to the next page");
    assert_eq!(page(3).await.0, total - 1);

    let token = out.login().await;
    let t = start_of_world().timestamp();
    let path = async |n: u32| {
        let got = out
            .tupay(
                &token,
                &format!("/v1/deposits?from={t}&to={}&page={n}", t + 30 * 86_400),
            )
            .await;
        got.row()
            .rows("data")
            .iter()
            .map(|r| r.int("idDeposit"))
            .collect::<Vec<_>>()
    };
    let (first, second) = (path(0).await, path(1).await);
    assert_eq!(second[0], first[49], "one row slipped to the next page");

    let token = out.token().await;
    let sweep = out
        .payvyne(&token, "/merchant/sweeps?size=1")
        .await
        .row()
        .rows("elements")[0]
        .text("id");
    let list = format!("/merchant/sweeps/{sweep}/transactions");
    let stated = out
        .payvyne(&token, "/merchant/sweeps?size=1")
        .await
        .row()
        .rows("elements")[0]
        .row("summary");
    let counted: i64 = stated.0.keys().map(|k| stated.row(k).int("count")).sum();
    assert_eq!(
        out.payvyne_rows(&token, &list, "size=100").await.len() as i64,
        counted - 2
    );
}

#[tokio::test]
async fn sessions_expire_in_the_middle_of_a_walk_as_the_script_says() {
    let out = ordinary("[[fault]]\nprovider = 'tupay'\npath = '/v1/balance'\nnth = 2\nexpire_sessions = true\n").await;
    let token = out.login().await;
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 200);
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 401);
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 401, "until a new login");
    let token = out.login().await;
    assert_eq!(out.tupay(&token, "/v1/balance").await.status, 200);
}

#[tokio::test]
async fn the_broken_night_of_the_demo_breaks_one_day_of_cashouts_only() {
    let mut world = plant::demo_world(1);
    world.set_now(plant::as_of(3));
    let out = outside(world, "").await;
    out.running.set_faults(plant::faults(3));
    assert!(
        (0..plant::NIGHTS)
            .filter(|n| *n != 3)
            .all(|n| plant::faults(n).is_empty())
    );
    let token = out.login().await;
    let lima = |day: NaiveDate| (day.and_hms_opt(5, 0, 0).unwrap().and_utc()).timestamp();
    for back in 0..4 {
        let day = plant::covered(3) - chrono::Days::new(back);
        let query = format!("from={}&to={}", lima(day) - 1, lima(day) + 86_401);
        let cashouts = out.tupay(&token, &format!("/v1/cashout?{query}")).await.status;
        let deposits = out.tupay(&token, &format!("/v1/deposits?{query}")).await.status;
        assert_eq!((cashouts, deposits), (if back == 0 { 500 } else { 200 }, 200), "{day}");
    }
}

#[tokio::test]
async fn a_dropped_sandbox_answers_nobody() {
    let out = ordinary("").await;
    let url = out.url(Service::One2pays, "/api/v1/balance");
    assert_eq!(Got::of(out.http.get(&url)).await.status, 401);
    drop(out.running);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(out.http.get(&url).send().await.is_err());
}
