//! Providers asked by key, over real sockets: whole nights from a ledger file to stored discrepancies. Nothing here needs the
//! network.

use crate::keyed::{self, Keyed};
use crate::room::{NEXT_NIGHT, NIGHT, Room, THIRD_NIGHT, open, paid, unpaid};
use reconciled::failure::Class;
use reconciled::record::Verdict;

/// Three days of March: the last one that is over is the third.
const FIVE: &str = "a,A,ka,10.00,paid,2026-03-02T10:00:00Z
b,B,kb,30.00,paid,2026-03-01T10:00:00Z
c,C,kc,20.00,paid,2026-03-01T09:00:00Z
d,D,kd,50.00,paid,2026-03-02T10:00:00Z
e,E,ke,90.00,paid,2026-03-04T01:00:00Z
";

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_are_asked_about_first_then_the_largest_and_nothing_younger_than_the_last_day_over() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[
        ("ka", paid("A", 1000)),
        ("kb", paid("B", 3000)),
        ("kc", paid("C", 2000)),
        ("kd", paid("D", 5000)),
    ]);
    room.ledger(FIVE);
    let night = room.night(NIGHT).await;
    assert_eq!(room.asked(), ["kc", "kb", "kd", "ka"]);
    assert_eq!((night.class, night.matched, night.pending), (None, 4, 1), "{night:?}");
    assert_eq!(night.verdict, Verdict::ReconciledWithPending);
    // The same as-of again asks nobody.
    let again = room.night(NIGHT).await;
    assert_eq!(
        (again.class, again.requests, room.asked().len()),
        (None, 0, 4),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_budget_does_not_reach_is_said_is_not_missing_and_comes_first_the_next_night() {
    let keyed = Keyed { max_lookups: Some(2) };
    let room = Room::new(keyed).await;
    room.ledger(FIVE);
    let night = room.night(NIGHT).await;
    assert_eq!(room.asked(), ["kc", "kb"]);
    assert!(
        night
            .warnings
            .iter()
            .any(|w| w.contains("2 ledger items were not asked about")),
        "{night:?}"
    );
    // Unknown at the provider: those that were asked about. The others wait.
    assert_eq!(room.open(), ["missing_in_provider B", "missing_in_provider C"]);
    assert_eq!((night.class, night.pending), (None, 3), "{night:?}");
    let noted = "SELECT state || ' ' || reason FROM windows WHERE subject = ''";
    assert!(
        room.texts(noted)[0].starts_with("open 2 ledger items were not asked about"),
        "{:?}",
        room.texts(noted)
    );
    // Another run of this night, and its budget is spent.
    room.night(NIGHT).await;
    assert_eq!(room.asked().len(), 2);
    room.night(NEXT_NIGHT).await;
    assert_eq!(room.asked()[2..], ["kd", "ka"]);
    assert_eq!(room.open().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_within_the_budget_is_no_clean_night() {
    let keyed = Keyed { max_lookups: Some(1) };
    let room = Room::new(keyed).await;
    room.knows(&[("kc", paid("C", 2000)), ("kb", paid("B", 3000))]);
    room.ledger("b,B,kb,30.00,paid,2026-03-01T10:00:00Z\nc,C,kc,20.00,paid,2026-03-01T09:00:00Z\n");
    let night = room.night(NIGHT).await;
    assert_eq!(
        (night.verdict, night.matched),
        (Verdict::ReconciledWithWarnings, 1),
        "{night:?}"
    );
    let night = room.night(NEXT_NIGHT).await;
    assert_eq!(room.asked(), ["kc", "kb"]);
    assert_eq!(night.matched, 2, "{night:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_missing_only_after_its_grace_and_is_asked_about_every_night() {
    let mut room = Room::new(Keyed::default()).await;
    room.job.matching.grace_provider = chrono::TimeDelta::hours(60);
    room.ledger("a,A,ka,10.00,paid,2026-03-02T10:00:00Z\n");
    let night = room.night(NIGHT).await;
    assert_eq!((night.pending, room.open().len()), (1, 0), "{night:?}");
    let night = room.night(NEXT_NIGHT).await;
    assert_eq!(room.open(), ["missing_in_provider A"], "{night:?}");
    room.knows(&[("ka", paid("A", 1000))]);
    let night = room.night(THIRD_NIGHT).await;
    assert_eq!(
        (room.open().len(), night.resolved, night.matched),
        (0, 1, 1),
        "{night:?}"
    );
    assert_eq!(room.asked(), ["ka"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_an_answer_is_a_finding_of_its_own_the_night_is_incomplete_and_nothing_is_missing() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[("ka", paid("A", 1000)), ("kb", keyed::REFUSED.into())]);
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\nb,B,kb,30.00,paid,2026-03-01T10:00:00Z\n");
    let night = room.night(NIGHT).await;
    assert_eq!(room.open(), ["lookup_failed B"]);
    assert_eq!(
        (night.class, night.verdict),
        (Some(Class::Partial), Verdict::Incomplete),
        "{night:?}"
    );
    let message = night.message.clone().unwrap();
    assert!(
        message.contains("1 of 2 keys of payments had no usable answer"),
        "{message}"
    );
    assert_eq!(
        (night.matched, night.pending, night.windows.open),
        (1, 1, 1),
        "{night:?}"
    );
    let detail = room.texts("SELECT detail FROM discrepancies");
    assert!(detail[0].contains("not this key (409)"), "{detail:?}");
    // The same night again asks about this key and no other, and mends it.
    let again = room.night(NIGHT).await;
    assert_eq!((again.requests, again.class), (1, Some(Class::Partial)), "{again:?}");
    assert_eq!(room.open(), ["lookup_failed B"]);
    room.knows(&[("kb", paid("B", 3000))]);
    let night = room.night(NIGHT).await;
    assert_eq!(room.asked(), ["kb", "ka", "kb", "kb"]);
    // In the end the books are those of a night without the fault.
    assert_eq!(
        (night.open, night.resolved, night.matched, night.class),
        (0, 0, 2, None),
        "{night:?}"
    );
    assert!(room.texts("SELECT kind FROM discrepancies").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_that_a_person_has_acknowledged_makes_no_night_incomplete() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[("ka", paid("A", 1000)), ("kb", keyed::REFUSED.into())]);
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\nb,B,kb,30.00,paid,2026-03-01T10:00:00Z\n");
    assert_eq!(room.night(NIGHT).await.class, Some(Class::Partial));
    room.sql("UPDATE discrepancies SET state = 'acknowledged'");
    // It is asked about again all the same, once a night.
    let night = room.night(NEXT_NIGHT).await;
    assert_eq!(room.asked(), ["kb", "ka", "kb", "ka"]);
    assert_eq!(
        (night.class, night.verdict),
        (None, Verdict::ReconciledWithWarnings),
        "{night:?}"
    );
    assert_eq!(room.night(NEXT_NIGHT).await.requests, 0);
    // A second one is news.
    room.knows(&[("ka", keyed::REFUSED.into())]);
    let night = room.night(THIRD_NIGHT).await;
    assert_eq!(
        (night.class, night.verdict),
        (Some(Class::Partial), Verdict::Incomplete),
        "{night:?}"
    );
    let message = night.message.unwrap();
    assert!(message.contains("1 of 2 keys of payments"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_that_tonights_budget_does_not_reach_fails_no_night() {
    let keyed = Keyed { max_lookups: Some(1) };
    let room = Room::new(keyed).await;
    room.knows(&[("ka", keyed::REFUSED.into()), ("kb", paid("B", 3000))]);
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\nb,B,kb,30.00,paid,2026-03-01T11:00:00Z\n");
    let night = room.night(NIGHT).await;
    assert_eq!(
        (night.class, night.verdict),
        (Some(Class::Partial), Verdict::Incomplete),
        "{night:?}"
    );
    let night = room.night(NEXT_NIGHT).await;
    assert_eq!(room.asked(), ["ka", "kb"]);
    assert_eq!(room.open(), ["lookup_failed A"]);
    assert_eq!(
        (night.class, night.verdict),
        (None, Verdict::ReconciledWithWarnings),
        "{night:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_that_is_always_a_server_error_does_not_keep_the_others_from_their_answers() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[
        ("ka", paid("A", 1000)),
        ("kb", keyed::DOWN.into()),
        ("kc", paid("C", 2000)),
    ]);
    room.ledger(
        "a,A,ka,10.00,paid,2026-03-01T10:00:00Z\nb,B,kb,30.00,paid,2026-03-01T11:00:00Z\nc,C,kc,20.00,paid,2026-03-01T12:00:00Z\n",
    );
    let night = room.night(NIGHT).await;
    assert_eq!((night.class, night.matched), (Some(Class::Partial), 2), "{night:?}");
    assert_eq!(room.open(), ["lookup_failed B"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_key_at_all_is_answered_it_is_the_account_and_the_job_stops() {
    let room = Room::new(Keyed::default()).await;
    let keys: Vec<String> = (0..9).map(|i| format!("k{i}")).collect();
    let refused: Vec<(&str, String)> = keys.iter().map(|k| (k.as_str(), keyed::REFUSED.to_owned())).collect();
    room.knows(&refused);
    let lines: String = (0..9)
        .map(|i| format!("{i},R{i},k{i},10.00,paid,2026-03-01T10:00:00Z\n"))
        .collect();
    room.ledger(&lines);
    let night = room.night(NIGHT).await;
    assert_eq!((night.class, room.asked().len()), (Some(Class::Auth), 5), "{night:?}");
    assert!(
        room.open().iter().all(|o| !o.starts_with("missing")),
        "{:?}",
        room.open()
    );
    // With better credentials the same night goes on.
    let known: Vec<(&str, String)> = keys
        .iter()
        .map(|k| (k.as_str(), paid(&k.replace('k', "R"), 1000)))
        .collect();
    room.knows(&known);
    let night = room.night(NIGHT).await;
    assert_eq!(
        (night.class, night.matched, room.open().len()),
        (None, 9, 0),
        "{night:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_without_the_key_or_with_a_wrong_one_is_not_checkable_and_nobody_is_asked() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[("kc", paid("C", 2000))]);
    room.ledger(
        "a,A,,10.00,paid,2026-03-02T10:00:00Z\nb,B,bad!,30.00,paid,2026-03-03T10:00:00Z\nc,C,kc,20.00,paid,2026-03-01T10:00:00Z
f,F,,20.00,failed,2026-03-01T10:00:00Z\nn,N,,20.00,paid,2026-03-04T01:00:00Z\n",
    );
    let night = room.night(NIGHT).await;
    assert_eq!(room.asked(), ["kc"]);
    assert_eq!(room.open(), ["not_checkable A", "not_checkable B"]);
    assert_eq!(
        (night.class, night.verdict),
        (None, Verdict::ReconciledWithWarnings),
        "{night:?}"
    );
    let detail = room.texts("SELECT detail FROM discrepancies ORDER BY reference");
    assert!(detail[0].contains("`x_external_id` is empty"), "{detail:?}");
    assert!(detail[1].contains("`x_external_id` has a mark"), "{detail:?}");
    // The key is booked: the same item goes on as what it is now.
    room.ledger("a,A,ka,10.00,paid,2026-03-02T10:00:00Z\nb,B,bad!,30.00,paid,2026-03-04T10:00:00Z\n");
    room.night(NEXT_NIGHT).await;
    assert!(
        room.open().contains(&"missing_in_provider A".to_owned()),
        "{:?}",
        room.open()
    );
    let kinds = room.texts("SELECT from_kind || '>' || to_kind FROM discrepancy_events WHERE event = 'changed'");
    assert_eq!(kinds, ["not_checkable>missing_in_provider"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn finals_are_asked_about_again_while_they_are_young_and_open_ones_as_long_as_they_are_open() {
    let mut room = Room::new(Keyed::default()).await;
    room.job.fetch.lookback = chrono::TimeDelta::days(2);
    room.knows(&[
        ("old", paid("O", 1000)),
        ("young", paid("Y", 1000)),
        ("open", open("P", 1000)),
        ("gone", unpaid("G", 1000)),
    ]);
    room.ledger(
        "o,O,old,10.00,paid,2026-03-01T10:00:00Z\ny,Y,young,10.00,paid,2026-03-03T10:00:00Z
p,P,open,10.00,open,2026-03-01T11:00:00Z\ng,G,gone,10.00,failed,2026-03-01T12:00:00Z\n",
    );
    room.night(NIGHT).await;
    assert_eq!(room.asked(), ["old", "open", "gone", "young"]);
    room.night(NEXT_NIGHT).await;
    assert_eq!(room.asked()[4..], ["open", "young"]);
    room.night(THIRD_NIGHT).await;
    assert_eq!(room.asked()[6..], ["open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_final_late_is_looked_at_again_as_long_as_any_other_final_and_no_longer() {
    let mut room = Room::new(Keyed { max_lookups: Some(2) }).await;
    room.job.fetch.lookback = chrono::TimeDelta::days(2);
    room.knows(&[("ka", open("A", 1000))]);
    let ledger = |lines: &str| room.ledger(&format!("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\n{lines}"));
    ledger("");
    room.night("2026-03-14T03:00:00Z").await;
    room.knows(&[("ka", paid("A", 1000))]);
    let night = room.night("2026-03-15T03:00:00Z").await;
    assert_eq!((night.matched, room.asked().len()), (1, 2), "{night:?}");
    // The bank sends it back a day later: a change, and from it the days count anew.
    room.knows(&[("ka", unpaid("A", 1000))]);
    room.night("2026-03-16T03:00:00Z").await;
    assert_eq!(room.open(), ["reversed_after_booking A"]);
    // What was never asked about comes first, also where the budget then does not reach the others.
    room.knows(&[("kb", paid("B", 100)), ("kc", paid("C", 100))]);
    ledger("b,B,kb,1.00,paid,2026-03-01T10:00:00Z\nc,C,kc,1.00,paid,2026-03-01T10:00:00Z\n");
    room.night("2026-03-17T03:00:00Z").await;
    assert_eq!(room.asked()[3..], ["kb", "kc"]);
    ledger("");
    room.night("2026-03-18T03:00:00Z").await;
    assert_eq!(room.asked()[5..], ["ka"]);
    room.night("2026-03-19T03:00:00Z").await;
    assert_eq!(room.asked().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turned_final_in_the_ledger_is_asked_about_once_more_whatever_its_age() {
    let mut room = Room::new(Keyed::default()).await;
    room.job.fetch.lookback = chrono::TimeDelta::zero();
    room.knows(&[("ka", paid("A", 1000))]);
    room.ledger("a,A,ka,10.00,open,2026-03-01T10:00:00Z\n");
    room.night(NIGHT).await;
    room.night(NEXT_NIGHT).await;
    assert_eq!(room.asked().len(), 1);
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\n");
    let night = room.night(THIRD_NIGHT).await;
    assert_eq!((room.asked().len(), night.matched), (2, 1), "{night:?}");
    room.night("2026-03-07T03:00:00Z").await;
    assert_eq!(room.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_cut_after_any_request_asks_about_no_key_twice() {
    let lines: String = (0..6)
        .map(|i| format!("{i},R{i},k{i},10.00,paid,2026-03-01T1{i}:00:00Z\n"))
        .collect();
    for cut in 0..6 {
        let keyed = Keyed { max_lookups: Some(5) };
        let room = Room::new(keyed).await;
        let keys: Vec<String> = (0..6).map(|i| format!("k{i}")).collect();
        let known: Vec<(&str, String)> = keys
            .iter()
            .map(|k| (k.as_str(), paid(&k.replace('k', "R"), 1000)))
            .collect();
        room.knows(&known);
        room.ledger(&lines);
        let night = room.night_cut_after(NIGHT, cut).await;
        // The fifth is the last one that the budget reaches.
        if cut < 4 {
            assert_eq!(night.class, Some(Class::Partial), "{cut}: {night:?}");
        }
        assert!(room.open().is_empty(), "{cut}: {:?}", room.open());
        let night = room.night(NIGHT).await;
        assert_eq!(night.class, None, "{cut}: {night:?}");
        assert_eq!(room.asked(), ["k0", "k1", "k2", "k3", "k4"], "{cut}");
        assert_eq!((night.matched, room.open().len()), (5, 0), "{cut}: {night:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_archived_before_a_kill_is_sealed_without_asking_again() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[("ka", paid("A", 1000))]);
    // The provider does not know the second key.
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\nb,B,kb,10.00,paid,2026-03-01T10:00:00Z\n");
    room.night(NIGHT).await;
    // As a kill between the page and the seal leaves it.
    room.sql(
        "UPDATE windows SET state = 'open', sealed_at = NULL WHERE subject <> ''; DELETE FROM seals; DELETE FROM chosen_pairs;
         DELETE FROM transactions; DELETE FROM discrepancy_events; DELETE FROM discrepancies;
         UPDATE runs SET finished_at = NULL, exit_code = NULL;",
    );
    let night = room.night(NIGHT).await;
    assert_eq!((night.requests, night.matched), (0, 1), "{night:?}");
    assert_eq!(room.open(), ["missing_in_provider B"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tonights_ledger_nobody_is_asked() {
    let room = Room::new(Keyed::default()).await;
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\n");
    room.night(NIGHT).await;
    room.no_ledger();
    let night = room.night(NEXT_NIGHT).await;
    assert_eq!(
        (night.verdict, night.class),
        (Verdict::NotReconciled, Some(Class::Data)),
        "{night:?}"
    );
    assert_eq!(room.asked().len(), 1);
    // Once it is there the same night asks.
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\n");
    let night = room.night(NEXT_NIGHT).await;
    assert_eq!((night.class, room.asked().len()), (None, 2), "{night:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_belongs_to_the_entry_whose_key_found_it_whatever_reference_it_bears() {
    let room = Room::new(Keyed::default()).await;
    // Swapped references, no reference, and two attempts of one reference with different amounts.
    room.knows(&[
        ("ka", paid("B", 1000)),
        ("kb", paid("A", 3000)),
        ("kc", paid("", 2000)),
        ("kd", paid("D", 500)),
        ("kf", paid("D", 700)),
    ]);
    room.ledger(
        "a,A,ka,10.00,paid,2026-03-01T10:00:00Z\nb,B,kb,30.00,paid,2026-03-01T10:00:00Z\nc,C,kc,20.00,paid,2026-03-01T10:00:00Z
d,D,kd,7.00,paid,2026-03-01T10:00:00Z\nf,D,kf,7.00,paid,2026-03-01T10:00:00Z\n",
    );
    let night = room.night(NIGHT).await;
    assert_eq!((night.class, night.matched), (None, 4), "{night:?} {:?}", room.open());
    let open = room.texts("SELECT kind || ' ' || ledger_id || ' ' || difference_minor FROM discrepancies");
    assert_eq!(open, ["amount_mismatch d -200"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_changes_is_versioned_and_one_whose_key_becomes_unknown_has_vanished() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[("ka", paid("A", 1000)), ("kb", paid("B", 1000))]);
    room.ledger("a,A,ka,10.00,paid,2026-03-01T10:00:00Z\nb,B,kb,10.00,paid,2026-03-01T10:00:00Z\n");
    room.night(NIGHT).await;
    room.knows(&[("ka", unpaid("A", 1000))]);
    room.forgets("kb");
    room.night(NEXT_NIGHT).await;
    assert_eq!(room.open(), ["reversed_after_booking A", "vanished B"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_the_keys_that_a_night_would_ask_about() {
    let keyed = Keyed { max_lookups: Some(3) };
    let room = Room::new(keyed).await;
    room.ledger(FIVE);
    room.import(NIGHT);
    assert_eq!(room.planned(NIGHT), 3);
    assert_eq!(room.asked().len(), 0);
    room.night(NIGHT).await;
    assert_eq!(room.planned(NIGHT), 0);
    // The one that was left, and of the three that are unknown as many as the budget still reaches.
    assert_eq!(room.planned(NEXT_NIGHT), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_gives_the_same_books_again() {
    let room = Room::new(Keyed::default()).await;
    room.knows(&[("ka", paid("A", 1000)), ("kc", paid("C", 2000))]);
    room.ledger(FIVE);
    room.night(NIGHT).await;
    room.knows(&[("ka", open("A", 1000))]);
    room.night(NEXT_NIGHT).await;
    assert!(room.replayed_equal());
    // Personal data of an answer is masked in the archive.
    assert!(!room.archived().contains("Ana Gomez"));
    assert!(room.archived().contains("\"id\""));
}
