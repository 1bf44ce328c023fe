//! Ledgers, bank statements and planted differences of a world.

use super::*;

/// reference -> direction, amount, settled
type Side = BTreeMap<String, (&'static str, i64, bool)>;

fn book(job: &str, csv: &str) -> Side {
    let separator = if job == "payvyne-uk" { ';' } else { ',' };
    let mut side = Side::new();
    for line in csv.lines().skip(1) {
        let cell: Vec<&str> = line.split(separator).collect();
        let out = ["payout", "out", "refund", "misc-out"].contains(&cell[2]);
        let (amount, state) = match job {
            "payvyne-uk" => (cell[3].parse().unwrap(), cell[6]),
            "one2pays-th" => (cents(cell[3]), cell[4]),
            _ => (cents(cell[3]), cell[5]),
        };
        let settled = ["done", "settled", "paid"].contains(&state);
        let value = (if out { "out" } else { "in" }, amount, settled);
        assert!(
            side.insert(cell[1].to_owned(), value).is_none(),
            "{} is booked twice",
            cell[1]
        );
    }
    side
}

#[tokio::test]
async fn a_matured_unplanted_world_and_its_ledgers_say_the_same() {
    let now = at("2026-03-20T09:30:00Z");
    let mut world = World::new(setup(11));
    world.set_now(now);
    let csv: BTreeMap<&str, String> = plant::LEDGERS
        .iter()
        .map(|job| (*job, ledger::export(&world, job, now)))
        .collect();
    let out = outside(world, "").await;

    let token = out.login().await;
    let mut tupay = Side::new();
    for d in out.tupay_rows(&token, "/v1/deposits", start_of_world(), now).await {
        let status = d.text("status");
        if status != "DECLINED" {
            tupay.insert(d.text("externalId"), ("in", d.cents("amount"), status == "COMPLETED"));
        }
    }
    for c in out.tupay_rows(&token, "/v1/cashout", start_of_world(), now).await {
        tupay.insert(
            c.text("externalId"),
            ("out", c.cents("amount"), c.text("status") == "COMPLETED"),
        );
    }
    assert_eq!(book("tupay-pe", &csv["tupay-pe"]), tupay);

    let mut one2pays = Side::new();
    for (path, direction) in [("/api/v1/payments", "in"), ("/api/v1/withdraws", "out")] {
        for o in out.one2pays_rows(path, 100).await {
            let amount = o.text("amount").strip_suffix(".00").unwrap().parse().unwrap();
            let settled = ["succeeded", "paid"].contains(&o.text("status").as_str());
            one2pays.insert(o.text("referenceId"), (direction, amount, settled));
        }
    }
    assert_eq!(book("one2pays-th", &csv["one2pays-th"]), one2pays);

    let token = out.token().await;
    let mut payvyne = Side::new();
    for sweep in out.payvyne_rows(&token, "/merchant/sweeps", "size=50").await {
        let path = format!("/merchant/sweeps/{}/transactions", sweep.text("id"));
        for tx in out.payvyne_rows(&token, &path, "size=50").await {
            let value = tx.money("value");
            if tx.text("type") != "FEE" {
                let direction = if value < 0 { "out" } else { "in" };
                payvyne.insert(tx.text("merchantReference"), (direction, value.abs(), true));
            }
        }
    }
    assert_eq!(book("payvyne-uk", &csv["payvyne-uk"]), payvyne);
}

#[test]
fn every_transfer_of_an_unplanted_world_arrives_at_the_bank_the_morning_after() {
    let world = World::new(setup(4));
    let statement = ledger::bank_statement(&world, at("2026-02-28T09:30:00Z"));
    let mut credits: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for line in statement.lines().skip(1) {
        let cell: Vec<&str> = line.split(',').collect();
        if cell[1] == "CR" {
            credits.insert(cell[4].to_owned(), (cents(cell[2]), cell[0].to_owned()));
        }
    }
    for sweep in &world.payvyne.sweeps {
        let morning = sweep.day.succ_opt().unwrap();
        let expected = (morning <= "2026-02-28".parse().unwrap())
            .then(|| (sweep.transferred, morning.format("%d/%m/%Y").to_string()));
        assert_eq!(credits.remove(&format!("VYNE {}", sweep.id)), expected, "{}", sweep.day);
    }
    assert!(!credits.is_empty() && credits.keys().all(|text| text.starts_with("TUPAY ")));
}

#[test]
fn equal_seeds_give_equal_worlds_and_other_seeds_others() {
    let now = at("2026-03-20T09:30:00Z");
    let export = |seed| ledger::export(&World::new(setup(seed)), "tupay-pe", now);
    assert_eq!(export(5), export(5));
    assert_ne!(export(5), export(6));
}

#[test]
fn every_kind_that_these_providers_can_produce_is_planted() {
    let world = plant::demo_world(1);
    let planted: BTreeSet<Kind> = world.planted.iter().map(|p| p.kind).collect();
    for kind in Kind::ALL {
        assert!(planted.contains(kind), "{kind} is not planted");
    }
    for p in &world.planted {
        assert!(p.opens_on_night < plant::NIGHTS, "{}", p.what);
        assert!(
            p.resolves_on_night
                .is_none_or(|n| n > p.opens_on_night && n < plant::NIGHTS),
            "{}",
            p.what
        );
    }
    let opens: BTreeSet<usize> = world.planted.iter().map(|p| p.opens_on_night).collect();
    assert!(opens.len() >= 4 && world.planted.iter().filter(|p| p.resolves_on_night.is_some()).count() >= 8);
}
