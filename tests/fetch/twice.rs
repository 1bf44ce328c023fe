//! Lists without a total: read twice when they are read for the first time, and when they lose a record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reconciled::failure::Class;
use tokio_util::sync::CancellationToken;

use crate::http::{Answer, Seen, Server, json};
use crate::plain::{Plain, Style};
use crate::room::{NEXT_NIGHT, NIGHT, Room};

/// Rows by day, in pages of two.
#[derive(Default)]
struct Book {
    days: BTreeMap<String, Vec<u32>>,
}

impl Book {
    fn page(&mut self, seen: &Seen) -> Answer {
        let day = seen.path().rsplit('/').next().unwrap_or_default().to_owned();
        let page: usize = seen.query("page").and_then(|p| p.parse().ok()).unwrap_or(0);
        let rows = self.days.entry(day.clone()).or_insert_with(|| (0..5).collect());
        let rows: Vec<String> = rows
            .iter()
            .skip(page * 2)
            .take(2)
            .map(|row| format!(r#"{{"id":"{day}-{row}","amount":100,"at":"{day}T12:00:00Z"}}"#))
            .collect();
        json(format!(r#"{{"page":{page},"rows":[{}]}}"#, rows.join(",")))
    }

    fn delete(&mut self, day: &str, at: usize) {
        self.days.get_mut(day).unwrap().remove(at);
    }

    fn ids(&self) -> Vec<String> {
        let all = self.days.iter();
        all.flat_map(|(day, rows)| rows.iter().map(move |row| format!("{day}-{row}")))
            .collect()
    }
}

fn twice() -> Plain {
    Plain {
        style: Style::Twice,
        ..Plain::default()
    }
}

/// Where a row of 2 March is deleted after so many answers about that day.
async fn night_with_a_deletion(at: usize, answers: usize) -> (Room, Arc<Mutex<Book>>, Server) {
    let book = Arc::new(Mutex::new(Book::default()));
    let (served, mut left) = (Arc::clone(&book), answers);
    let left = Mutex::new(std::mem::take(&mut left));
    let server = Server::start(move |seen| {
        let mut book = served.lock().unwrap();
        let answer = book.page(seen);
        if seen.path().ends_with("2026-03-02") {
            let mut left = left.lock().unwrap();
            *left = left.wrapping_sub(1);
            if *left == 0 {
                book.delete("2026-03-02", at);
            }
        }
        answer
    })
    .await;
    let room = Room::new(twice(), &server);
    (room, book, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_deleted_behind_the_walk_hides_no_other_row() {
    for (at, answers) in (0..5).flat_map(|at| (1..=6).map(move |answers| (at, answers))) {
        let (room, book, _server) = night_with_a_deletion(at, answers).await;
        let reading = room.night(NIGHT).await;
        assert!(reading.failures.is_empty(), "{at} {answers}: {reading:?}");
        let read = room.ids();
        let missed: Vec<String> = book
            .lock()
            .unwrap()
            .ids()
            .into_iter()
            .filter(|id| !read.contains(id))
            .collect();
        assert_eq!(missed, Vec::<String>::new(), "row {at} deleted after {answers} answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_reading_and_a_lost_record_cost_a_second_one() {
    let book = Arc::new(Mutex::new(Book::default()));
    let served = Arc::clone(&book);
    let server = Server::start(move |seen| served.lock().unwrap().page(seen)).await;
    let room = Room::new(twice(), &server);
    assert!(room.night(NIGHT).await.failures.is_empty());
    assert_eq!(server.count(), 3 * 6, "three days of three pages, twice");

    book.lock().unwrap().delete("2026-03-02", 0);
    let next = room.night(NEXT_NIGHT).await;
    assert_eq!((next.new, next.vanished), (5, 1), "{next:?}");
    assert_eq!(
        server.count() - 18,
        2 * 3 + 2 * 3 + 2 * 3,
        "two days as they were, one that lost a record, one that is new"
    );
    assert_eq!(
        room.column("SELECT provider_id FROM transactions WHERE vanished_at IS NOT NULL"),
        ["2026-03-02-0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_cut_goes_on_where_it_stopped() {
    for cut in 1..=17 {
        let stop = CancellationToken::new();
        let (pull, count) = (stop.clone(), Mutex::new(0));
        let book = Mutex::new(Book::default());
        let server = Server::start(move |seen| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count == cut {
                pull.cancel();
            }
            book.lock().unwrap().page(seen)
        })
        .await;
        let room = Room::new(twice(), &server);
        let reading = room.night_until(NIGHT, &stop).await;
        assert_eq!(reading.failures.first().map(|f| f.class), Some(Class::Partial), "{cut}");
        assert!(room.night(NIGHT).await.failures.is_empty(), "{cut}");
        assert_eq!(
            (room.ids().len(), server.count()),
            (15, 18),
            "{cut}: something was asked for again"
        );
    }
}
