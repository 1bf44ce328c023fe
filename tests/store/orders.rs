//! Readings and kills in any order.

use super::*;

/// A reading of one business day: what stands on its pages.
type Reading = (u32, Vec<Vec<(u8, i64)>>);

fn readings() -> impl Strategy<Value = Vec<Reading>> {
    let page = prop::collection::vec((0_u8..6, 1_i64..4), 0..4);
    prop::collection::vec((3_u32..5, prop::collection::vec(page, 1..4)), 1..6)
}

/// Reads everything, killed before each step where `kills` says so.
fn run(readings: &[Reading], kills: &[bool]) -> World {
    let mut world = World::new();
    let mut kills = kills.iter().copied();
    let mut perhaps = |world: World| {
        if kills.next().unwrap_or(false) {
            world.killed()
        } else {
            world
        }
    };
    for (night_of, (day, pages)) in (5..).zip(readings) {
        let ask = ask("days", *day, night(night_of));
        let bodies: Vec<Value> = pages
            .iter()
            .map(|page| {
                rows(
                    &page
                        .iter()
                        .map(|(id, amount)| row(&id.to_string(), *amount))
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        loop {
            world = perhaps(world);
            let reading = world.open(&ask);
            world = perhaps(world);
            let position = world.resumed(&reading).len();
            match bodies.get(position) {
                Some(body) => {
                    world
                        .archive(&ask, &reading, u32::try_from(position).unwrap(), body)
                        .unwrap();
                }
                None => {
                    world.seal(&ask, &reading, WindowState::Sealed).unwrap();
                    break;
                }
            }
        }
    }
    perhaps(world)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn killed_anywhere_any_readings_end_as_undisturbed_and_as_their_pages_say(
        readings in readings(), kills in prop::collection::vec(prop::bool::weighted(0.3), 0..60),
    ) {
        let disturbed = run(&readings, &kills);
        let undisturbed = run(&readings, &[]);
        prop_assert_eq!(disturbed.everything(), undisturbed.everything());
        prop_assert_eq!(replay_of(&disturbed), Vec::<String>::new());
    }
}
