//! A list read twice: the proof that nothing slipped from page to page where the provider states no total to count by.

use std::collections::BTreeMap;

use super::{PageHead, Step};

/// The next page of the second reading, or what the two readings tell; None once every page was read twice and lists the
/// same. A row taken away while the list was read moves the first row of every later page to the page before it, so some
/// page that was read already lists another row than it did: whichever it is, it is read again here.
pub fn read_twice(heads: &[PageHead]) -> Option<Step> {
    let again: BTreeMap<u32, &PageHead> = heads.iter().filter(|h| h.confirms).map(|h| (h.number, h)).collect();
    for page in heads.iter().filter(|head| !head.confirms) {
        match again.get(&page.number) {
            None => {
                return Some(Step::Get {
                    number: page.number,
                    confirms: true,
                });
            }
            Some(second) if lists_other_rows(page, second) => {
                return Some(Step::Again {
                    why: format!("page {} lists other rows when it is read again", page.number),
                });
            }
            Some(_) => {}
        }
    }
    None
}

/// Whatever the order: where none is documented, rows may change places inside a page.
fn lists_other_rows(page: &PageHead, second: &PageHead) -> bool {
    page.ids != second.ids && sorted(&page.ids) != sorted(&second.ids)
}

pub fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::config::{Section, Source};
    use crate::day::{next_day, start_of_day};
    use crate::providers::{Ask, Doubt, Provider, identity, one2pays, payvyne, tupay};
    use crate::window::Window;

    /// A page of these rows, by number or cursor.
    type Render = fn(&[u32], u32, Option<&str>) -> String;

    /// How a list is served: rows a page, and the page as JSON.
    struct Served {
        provider: Arc<dyn Provider>,
        ask: Ask,
        page: Render,
    }

    fn served(
        build: fn(&mut Section<'_>) -> Option<crate::providers::Built>,
        settings: &str,
        (feed, subject): (&'static str, Option<&str>),
        page: Render,
    ) -> Served {
        let source = Source {
            file: "x.toml",
            text: settings,
        };
        let zone = chrono_tz::UTC;
        let day = "2026-03-04".parse().unwrap();
        let until = start_of_day(next_day(day), zone);
        Served {
            provider: build(&mut Section::parse(&source)).unwrap().provider,
            ask: Ask {
                feed,
                window: Window {
                    from: start_of_day(day, zone),
                    until,
                },
                subject: subject.map(str::to_owned),
                beside: Vec::new(),
                account: String::new(),
                as_of: until,
                zone,
                calibration: Arc::default(),
            },
            page,
        }
    }

    fn listed(rows: &[u32], key: &str) -> String {
        let rows: Vec<String> = rows.iter().map(|id| format!("{{\"{key}\":\"{id}\"}}")).collect();
        rows.join(",")
    }

    fn slice(rows: &[u32], from: usize, size: usize) -> &[u32] {
        let from = from.min(rows.len());
        &rows[from..rows.len().min(from + size)]
    }

    const SIZE: usize = 3;

    /// Offset pages without a total.
    fn tupay_page(rows: &[u32], number: u32, size: usize) -> String {
        let page = slice(rows, number as usize * size, size);
        let data = listed(page, "idDeposit");
        format!(
            r#"{{"page":{number},"rows":{},"maxRows":{size},"data":[{data}]}}"#,
            page.len()
        )
    }

    fn one2pays_page(rows: &[u32], number: u32, counters: &str) -> String {
        let data = listed(slice(rows, (number as usize - 1) * SIZE, SIZE), "id");
        format!(r#"{{"success":true,"data":{{"data":[{data}],"page":{number},"limit":{SIZE}{counters}}}}}"#)
    }

    /// Offset pages with a total on each.
    fn counted(rows: &[u32], number: u32) -> String {
        let counters = format!(r#","total":{},"totalPages":{}"#, rows.len(), rows.len().div_ceil(SIZE));
        one2pays_page(rows, number, &counters)
    }

    /// Keyset cursors: the rows behind an id.
    fn behind(rows: &[u32], cursor: Option<&str>) -> String {
        let after = cursor.and_then(|id| id.parse().ok()).unwrap_or(0);
        let left: Vec<u32> = rows.iter().copied().filter(|id| *id > after).collect();
        let page = slice(&left, 0, SIZE);
        let next = page.last().filter(|_| left.len() > SIZE);
        let next = next.map(|id| format!(r#","nextPage":"{id}""#)).unwrap_or_default();
        format!(
            r#"{{"elements":[{}],"size":{}{next}}}"#,
            listed(page, "transactionId"),
            page.len()
        )
    }

    fn offset_lists() -> Vec<Served> {
        let tupay = |page| {
            served(
                tupay::ENTRY.build,
                "access_key = \"env:A\"\nsecret_key = \"env:S\"",
                ("deposits", None),
                page,
            )
        };
        let one2pays = |page| {
            let settings = "base_url = \"https://x.example\"\napi_key = \"env:A\"\nsecret_key = \"env:S\"";
            served(one2pays::ENTRY.build, settings, ("payments", None), page)
        };
        vec![
            tupay(|rows, number, _| tupay_page(rows, number, SIZE)),
            tupay(|rows, number, _| tupay_page(rows, number, 50)),
            one2pays(|rows, number, _| counted(rows, number)),
            one2pays(|rows, number, _| one2pays_page(rows, number, "")),
        ]
    }

    fn payvyne() -> Served {
        let settings = "client_id = \"k\"\nclient_secret = \"env:S\"";
        served(
            payvyne::ENTRY.build,
            settings,
            ("sweep_transactions", Some("s")),
            |rows, _, cursor| behind(rows, cursor),
        )
    }

    /// Reads the list as the core does. `moment` changes the rows after so many answers. The ids read, and whether they are
    /// sealed; None when the provider is said to break its contract.
    fn read(
        list: &Served,
        rows: &mut Vec<u32>,
        moment: usize,
        change: &dyn Fn(&mut Vec<u32>),
    ) -> Option<(BTreeSet<u64>, bool)> {
        let (mut heads, mut passes, mut answers) = (Vec::<PageHead>::new(), 1, 0);
        loop {
            let step = match list.provider.next(&list.ask, &heads) {
                Step::Done if list.provider.proves() => list.provider.prove(&list.ask, &heads, Doubt::NeverRead),
                step => step,
            };
            let ids = || {
                heads
                    .iter()
                    .filter(|h| !h.confirms)
                    .flat_map(|h| h.ids.to_vec())
                    .collect()
            };
            let (numbers, confirms) = match step {
                Step::Get { number, confirms } => (number..=number, confirms),
                Step::GetAll { numbers } => (numbers, false),
                Step::Done => return Some((ids(), true)),
                Step::Again { .. } if passes == list.provider.max_passes() => return Some((ids(), false)),
                Step::Again { .. } => {
                    passes += 1;
                    heads.clear();
                    continue;
                }
                Step::Broken { .. } => return None,
            };
            for number in numbers {
                let cursor = heads.last().and_then(|head| head.next.as_deref());
                let body = (list.page)(rows, number, cursor);
                let head = list.provider.head(&list.ask, number, body.as_bytes()).unwrap();
                heads.push(PageHead { confirms, ..head });
                answers += 1;
                assert!(answers < 100, "it reads for ever");
                if answers == moment {
                    change(rows);
                }
            }
        }
    }

    fn nothing_is_missed(list: &Served, count: u32, moment: usize, change: &dyn Fn(&mut Vec<u32>), story: &str) {
        let mut rows: Vec<u32> = (1..=count).collect();
        let (ids, sealed) = read(list, &mut rows, moment, change).unwrap_or_else(|| panic!("{story}: broken"));
        let missed: Vec<u32> = rows
            .into_iter()
            .filter(|id| !ids.contains(&identity(&id.to_string())))
            .collect();
        assert!(
            sealed && missed.is_empty(),
            "{story}: sealed {sealed}, missed {missed:?}"
        );
    }

    #[test]
    fn a_row_deleted_at_any_position_and_moment_hides_no_other_one() {
        let cursors = payvyne();
        for (which, list) in offset_lists().iter().chain([&cursors]).enumerate() {
            for count in [4, 6, 8] {
                for (moment, at) in (1..=12).flat_map(|moment| (0..count as usize).map(move |at| (moment, at))) {
                    let story = format!("list {which} of {count}, row {at} deleted after answer {moment}");
                    nothing_is_missed(
                        list,
                        count,
                        moment,
                        &|rows| {
                            rows.remove(at);
                        },
                        &story,
                    );
                }
            }
        }
        // The documented size of a page.
        let tupay = &offset_lists()[1];
        for (count, moment) in [(101, 1), (101, 2), (101, 3), (100, 1), (100, 2), (150, 2), (150, 5)] {
            for at in 0..count as usize {
                let story = format!("{count}, row {at} deleted after answer {moment}");
                nothing_is_missed(
                    tupay,
                    count,
                    moment,
                    &|rows| {
                        rows.remove(at);
                    },
                    &story,
                );
            }
        }
    }

    #[test]
    fn a_row_moved_from_any_position_to_any_other_hides_none() {
        for (which, list) in offset_lists().iter().enumerate() {
            for (moment, from, to) in (1..=8).flat_map(|moment| (0..64).map(move |pair| (moment, pair / 8, pair % 8))) {
                let story = format!("list {which}, row {from} moved to {to} after answer {moment}");
                let change = |rows: &mut Vec<u32>| {
                    let row = rows.remove(from);
                    rows.insert(to, row);
                };
                nothing_is_missed(list, 8, moment, &change, &story);
            }
        }
    }

    #[test]
    fn a_page_cut_short_or_empty_in_the_middle_is_never_the_end_of_a_sealed_list() {
        let settings = "access_key = \"env:A\"\nsecret_key = \"env:S\"";
        let cut: [Render; 3] = [
            |rows, number, _| {
                // Three rows less than page 1 has, always.
                let short = if number == 1 { &rows[..rows.len().min(97)] } else { rows };
                tupay_page(short, number, 50)
            },
            |rows, number, _| tupay_page(if number == 1 { &[] } else { rows }, number, 50),
            // Says 1000 and serves 50.
            |rows, number, _| tupay_page(rows, number, 50).replace(r#""maxRows":50"#, r#""maxRows":1000"#),
        ];
        for (which, page) in cut.into_iter().enumerate() {
            // Of a last page that is always cut nobody can know.
            for count in [114, 150, 160, 50, 100].into_iter().take(if which < 2 { 3 } else { 5 }) {
                let list = served(tupay::ENTRY.build, settings, ("deposits", None), page);
                let mut rows: Vec<u32> = (1..=count).collect();
                let (ids, sealed) = read(&list, &mut rows, 0, &|_| ()).unwrap();
                assert!(
                    !sealed || ids.len() == rows.len(),
                    "{which} of {count}: sealed with {}",
                    ids.len()
                );
            }
        }
    }

    #[test]
    fn a_list_that_loses_a_row_after_every_answer_is_never_sealed_with_a_hole() {
        for list in &offset_lists() {
            let mut rows: Vec<u32> = (1..=400).collect();
            let (mut heads, mut passes) = (Vec::<PageHead>::new(), 1);
            let sealed = loop {
                let step = match list.provider.next(&list.ask, &heads) {
                    Step::Done if list.provider.proves() => list.provider.prove(&list.ask, &heads, Doubt::NeverRead),
                    step => step,
                };
                let numbers = match step {
                    Step::Get { number, confirms } => vec![(number, confirms)],
                    Step::GetAll { numbers } => numbers.map(|number| (number, false)).collect(),
                    Step::Done => break true,
                    Step::Again { .. } if passes == 3 => break false,
                    _ => {
                        passes += 1;
                        heads.clear();
                        continue;
                    }
                };
                for (number, confirms) in numbers {
                    let body = (list.page)(&rows, number, None);
                    let head = list.provider.head(&list.ask, number, body.as_bytes()).unwrap();
                    heads.push(PageHead { confirms, ..head });
                    rows.remove(0);
                }
            };
            assert!(!sealed);
        }
    }
}
