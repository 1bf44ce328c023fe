//! The money counted again by other code: balances, reports and sweeps close.

use super::*;

/// The balance report closes line by line and day by day, the current balance follows from it, and its totals are those of
/// the records.
async fn tupay_closes(out: &Outside, now: At) {
    let token = out.login().await;
    let (from, to) = (start_of_world(), now);
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    let mut days: BTreeMap<(String, NaiveDate), Row> = BTreeMap::new();
    for row in out.tupay_rows(&token, "/v1/balance/report", from, to).await {
        let c = |key: &str| row.cents(key);
        let net = c("depositTotal") - c("depositFeeTotal") - c("cashoutTotal") + c("noteTotal") - c("settlementTotal")
            + c("cancelledSettlementTotal");
        assert_eq!(c("netAmount"), net, "R1 {}", row.text("date"));
        let currency = row.text("currency");
        if let Some(before) = totals.get(&currency) {
            assert_eq!(c("totalBalance"), before + net, "R2 {} {currency}", row.text("date"));
        }
        totals.insert(currency.clone(), c("totalBalance"));
        let day = row.text("date").parse::<At>().unwrap().date_naive();
        assert!(
            days.insert((currency, day), row).is_none(),
            "one line per day and currency"
        );
    }
    assert_eq!(totals.len(), 2);
    for account in out.tupay(&token, "/v1/balance").await.row().rows("balances") {
        let (currency, data) = (account.text("currency"), account.row("data"));
        let c = |key: &str| data.cents(key);
        assert_eq!(c("totalBalance"), totals[&currency], "R7 {currency}");
        assert_eq!(
            c("availableBalance"),
            c("totalBalance") - c("depositSettlementPeriod"),
            "R3"
        );
        assert_eq!(c("usableBalance"), c("totalBalance") - c("rollingReserveBalance"), "R4");
    }
    let mut sums: BTreeMap<(String, NaiveDate), (i64, i64, i64)> = BTreeMap::new();
    let lima = |text: String| (text.parse::<At>().unwrap() - TimeDelta::hours(5)).date_naive();
    for d in out.tupay_rows(&token, "/v1/deposits", from, to).await {
        assert_eq!(d.cents("amount"), d.cents("requestedAmount"), "R8");
        if d.text("status") == "COMPLETED" {
            let sum = sums
                .entry((d.text("currency"), lima(d.text("lastChangeDate"))))
                .or_default();
            sum.0 += d.cents("amount");
            sum.1 += d.cents("fee");
        }
    }
    for c in out.tupay_rows(&token, "/v1/cashout", from, to).await {
        let done = c.text("status") == "COMPLETED";
        assert_eq!(
            c.cents("creditedAmount"),
            if done { c.cents("amount") } else { 0 },
            "R9"
        );
        if done {
            let sum = sums
                .entry((c.text("currency"), lima(c.text("lastChangeDate"))))
                .or_default();
            sum.2 += c.cents("merchantAmount") + c.cents("fee") + c.cents("tax");
        }
    }
    for (place, (deposits, fees, cashouts)) in sums {
        let row = &days[&place];
        let stated = (
            row.cents("depositTotal"),
            row.cents("depositFeeTotal"),
            row.cents("cashoutTotal"),
        );
        assert_eq!(stated, (deposits, fees, cashouts), "R5, R6 {place:?}");
    }
}

async fn payvyne_closes(out: &Outside) {
    let token = out.token().await;
    let sweeps = out.payvyne_rows(&token, "/merchant/sweeps", "size=50").await;
    let mut closings: BTreeMap<String, i64> = BTreeMap::new();
    let mut payments: BTreeMap<String, i64> = BTreeMap::new();
    let mut refunds: BTreeMap<String, i64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for sweep in &sweeps {
        let account = sweep.row("settlementAccount").text("identifier");
        let (opening, closing) = (sweep.money("openingBalance"), sweep.money("closingBalance"));
        let (reserved, transferred) = (sweep.money("reservedBalance"), sweep.money("transferredAmount"));
        let summary = sweep.row("summary");
        let stated = |key: &str| {
            (
                summary.row(key).row("value").cents("amount"),
                summary.row(key).int("count"),
            )
        };
        let s = |key: &str| stated(key).0;
        let credits = s("payments") + s("topUps") + s("miscellaneousPayments");
        let debits = s("refunds") + s("payouts") + s("fees") + s("miscellaneousReturns");
        assert_eq!(opening + credits - debits - transferred, closing, "R1");
        assert_eq!(transferred, (closing + transferred - reserved).max(0), "R2");
        if let Some(before) = closings.insert(account.clone(), closing) {
            assert_eq!(before, opening, "R5 {account}");
        }
        let path = format!("/merchant/sweeps/{}/transactions", sweep.text("id"));
        let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let mut balance = opening - transferred;
        for tx in out.payvyne_rows(&token, &path, "size=20").await {
            let (kind, value, id) = (tx.text("type"), tx.money("value"), tx.text("transactionId"));
            assert!(seen.insert(id.clone()), "R6: an id twice");
            assert_eq!(tx.row("value").text("currency"), account[..3], "R6: one currency");
            assert!(tx.text("updatedAt") >= tx.text("createdAt"));
            balance += if kind == "FEE" { -value } else { value };
            let sum = sums.entry(kind.clone()).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
            let related = tx.row("relatedTransaction");
            match kind.as_str() {
                "PAYMENT" => drop(payments.insert(id, value)),
                "REFUND" => *refunds.entry(related.text("id")).or_default() -= value,
                "FEE" => assert!(payments.contains_key(&related.text("id"))),
                _ => assert!(related.0.is_empty()),
            }
        }
        assert_eq!(balance, closing, "R4");
        for (kind, key) in [
            ("PAYMENT", "payments"),
            ("REFUND", "refunds"),
            ("PAYOUT", "payouts"),
            ("FEE", "fees"),
            ("TOP-UP", "topUps"),
            ("MISCELLANEOUS_PAYMENT", "miscellaneousPayments"),
            ("MISCELLANEOUS_RETURN", "miscellaneousReturns"),
        ] {
            let (sum, count) = sums.remove(kind).unwrap_or_default();
            assert_eq!((sum.abs(), count), stated(key), "R3 {kind}");
        }
        assert!(sums.is_empty(), "a type without a name");
    }
    assert!(!refunds.is_empty());
    for (payment, refunded) in refunds {
        assert!(refunded <= payments[&payment], "R7");
    }
}

/// The wallet moves by what was paid in less what was paid out.
async fn one2pays_closes(out: &Outside, then: At, now: At) {
    let stand = async |at: At| {
        out.set_now(at);
        let data = out.one2pays("/api/v1/balance").await.row().row("data");
        let sum = async |path: &str, word: &str| -> i64 {
            let rows = out.one2pays_rows(path, 100).await;
            let settled = rows.iter().filter(|r| r.text("status") == word);
            settled
                .map(|r| r.text("amount").strip_suffix(".00").unwrap().parse::<i64>().unwrap())
                .sum()
        };
        let moved = sum("/api/v1/payments", "succeeded").await - sum("/api/v1/withdraws", "paid").await;
        (data.cents("walletBalance") + data.cents("settlementBalance"), moved)
    };
    let ((before, moved_before), (after, moved_after)) = (stand(then).await, stand(now).await);
    assert!(moved_after != moved_before);
    assert_eq!(after - before, moved_after - moved_before);
}

#[tokio::test]
async fn the_money_closes_in_every_unplanted_world() {
    for seed in [0, 1, 2, 42, 20_260_302, u64::MAX] {
        let mut world = World::new(setup(seed));
        let now = at("2026-03-20T09:30:00Z");
        world.set_now(now);
        let out = outside(world, "").await;
        tupay_closes(&out, now).await;
        payvyne_closes(&out).await;
        one2pays_closes(&out, at("2026-02-26T03:00:00Z"), now).await;
    }
}

#[tokio::test]
async fn the_money_also_closes_in_the_middle_of_a_world() {
    let mut world = World::new(setup(3));
    let now = at("2026-02-28T09:30:00Z");
    world.set_now(now);
    let out = outside(world, "").await;
    let token = out.login().await;
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    for row in out
        .tupay_rows(&token, "/v1/balance/report", start_of_world(), now)
        .await
    {
        totals.insert(row.text("currency"), row.cents("totalBalance"));
    }
    for account in out.tupay(&token, "/v1/balance").await.row().rows("balances") {
        let current = account.row("data").cents("totalBalance");
        assert_eq!(
            current,
            totals[&account.text("currency")],
            "the running day is in the report, partially"
        );
    }
    payvyne_closes(&out).await;
}
