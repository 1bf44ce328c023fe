//! Pages and positions: what a kill leaves, and what goes on from there.

use super::*;

#[test]
fn a_killed_reading_goes_on_at_its_next_page_and_ends_like_an_undisturbed_one() {
    let pages = [rows(&[row("a", 100)]), rows(&[row("b", 200)]), rows(&[row("c", 300)])];
    let ask = ask("days", 4, night(5));
    let undisturbed = World::new();
    undisturbed.read(&ask, &pages);

    let mut world = World::new();
    for (position, body) in (0..).zip(&pages) {
        let reading = world.open(&ask);
        let bodies: Vec<Vec<u8>> = world.resumed(&reading).into_iter().map(|page| page.body).collect();
        let expected: Vec<Vec<u8>> = pages[..position as usize]
            .iter()
            .map(|p| p.to_string().into())
            .collect();
        assert_eq!(bodies, expected);
        world.archive(&ask, &reading, position, body).unwrap();
        world = world.killed();
    }
    let reading = world.open(&ask);
    world.seal(&ask, &reading, WindowState::Sealed).unwrap();
    world = world.killed();
    assert_eq!(world.everything(), undisturbed.everything());
    assert_eq!(
        store::covered(&world.store, JOB, "days").unwrap()[0].sealed_as_of,
        Some(night(5))
    );
}

#[test]
fn a_reading_under_other_settings_or_too_old_is_begun_anew() {
    let ask_now = ask("days", 4, night(5));
    let world = World::new();
    let reading = world.open(&ask_now);
    world.archive(&ask_now, &reading, 0, &rows(&[row("a", 1)])).unwrap();

    let next_night = ask("days", 4, night(6));
    assert_eq!(
        world.resumed(&world.open(&next_night)).len(),
        1,
        "the next night goes on"
    );
    let other = store::Place {
        shape: "other settings",
        ..place(&next_night)
    };
    let anew = store::open_window(&world.store, &other).unwrap();
    assert_eq!((anew.reading, world.resumed(&anew).len()), (2, 0));

    let reading = world.open(&next_night);
    world.archive(&next_night, &reading, 0, &rows(&[row("a", 1)])).unwrap();
    let late = world.open(&ask("days", 4, night(8)));
    assert_eq!((late.reading, world.resumed(&late).len()), (4, 0));
    assert!(
        world.archive(&next_night, &reading, 1, &rows(&[])).is_err(),
        "the former reading is over"
    );
}

#[test]
fn the_same_bytes_at_the_same_place_are_stored_once_and_change_no_row() {
    let world = World::new();
    let pages = [rows(&[row("a", 100)]), rows(&[row("b", 200)])];
    let first = world.read(&ask("days", 4, night(5)), &pages);
    assert_eq!((first.new, first.changed, first.unchanged), (2, 0, 0));
    let before = world.select("SELECT * FROM transactions");
    let second = world.read(&ask("days", 4, night(6)), &pages);
    assert_eq!(
        (second.rows, second.new, second.changed, second.unchanged),
        (2, 0, 0, 2)
    );
    assert_eq!(world.select("SELECT * FROM transactions"), before);
    assert_eq!(world.select("SELECT count(*) FROM pages"), ["2"]);
    assert_eq!(world.select("SELECT count(*), max(reading) FROM readings"), ["4 2"]);
    assert_eq!(
        world.select("SELECT state, sealed_at, pages, rows FROM windows"),
        [format!("sealed {SECOND} 2 2")]
    );
}

#[test]
fn a_position_is_taken_once() {
    let world = World::new();
    let ask = ask("days", 4, night(5));
    let reading = world.open(&ask);
    world.archive(&ask, &reading, 0, &rows(&[row("a", 1)])).unwrap();
    world.archive(&ask, &reading, 0, &rows(&[row("a", 1)])).unwrap();
    let refused = world.archive(&ask, &reading, 0, &rows(&[row("a", 2)])).unwrap_err();
    assert_eq!(refused.class, Class::Internal);
    assert_eq!(world.select("SELECT count(*) FROM pages"), ["1"]);
}

#[test]
fn pages_that_arrived_together_are_archived_together_or_not_at_all() {
    let world = World::new();
    let ask = ask("days", 4, night(5));
    let reading = world.open(&ask);
    let page = |position: u32, id: &str| page(position, false, &rows(&[row(id, 1)]));
    world
        .archive_together(&ask, &reading, 0, &[page(2, "a"), page(0, "b"), page(1, "c")])
        .unwrap();
    let stands = "SELECT position || ' ' || number FROM readings ORDER BY position";
    assert_eq!(world.select(stands), ["0 2", "1 0", "2 1"]);
    let moved = world
        .store
        .write(|tx| Ok(tx.execute("UPDATE readings SET position = 4 WHERE position = 2", [])?));
    assert_eq!(moved.unwrap(), 1);
    // The first of the next two would be new; the second is another page than the one that stands there.
    let refused = world.archive_together(&ask, &reading, 3, &[page(3, "d"), page(4, "e")]);
    assert_eq!(refused.unwrap_err().class, Class::Internal);
    assert_eq!(world.select(stands), ["0 2", "1 0", "4 1"]);
    assert_eq!(world.select("SELECT count(*) FROM pages"), ["3"]);
}
