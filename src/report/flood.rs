//! More new discrepancies than the limit: what they have in common, so that a person sees the one fault behind them. Pure.

use serde::Serialize;

use super::facts::Facts;
use super::tally::Trait;
use super::words;

/// Of a hundred rows this many must share a trait before it is named.
const SHARE: i64 = 90;

/// Why the list is held back, and the evidence.
#[derive(Clone, Debug, Serialize)]
pub struct FloodView {
    pub limit: usize,
    pub count: i64,
    pub by_kind: Vec<(String, i64)>,
    /// Most new ones in one night before, and how many nights that looks back.
    pub usual_most: i64,
    pub usual_nights: usize,
    /// What (nearly) all of them share, a sentence each; the most telling first.
    pub common: Vec<String>,
    /// What else this night did otherwise, a sentence each.
    pub beside: Vec<String>,
    /// Where to look first.
    pub look_at: &'static str,
}

/// The flood of a night.
pub fn flood(facts: &Facts, limit: usize, count: i64) -> FloodView {
    let tally = &facts.tally;
    let kinds = tally.all(Trait::Kind).into_iter();
    let before = &facts.trend[..facts.trend.len().saturating_sub(1)];
    FloodView {
        limit,
        count,
        by_kind: kinds
            .map(|(kind, count)| (words::kind(kind).to_owned(), count))
            .collect(),
        usual_most: before.iter().map(|night| night.new).max().unwrap_or(0),
        usual_nights: before.len(),
        common: common(facts),
        beside: beside(facts),
        look_at: look_at(facts),
    }
}

/// The value that nearly all new rows share, and how many do.
fn shared(facts: &Facts, which: Trait) -> Option<(String, String)> {
    let (value, count) = facts.tally.most(which)?;
    let all = facts.tally.fresh;
    if all < 2 || count * 100 < all * SHARE {
        return None;
    }
    let who = if count == all {
        format!("All {all}")
    } else {
        format!("{count} of {all}")
    };
    Some((who, words::shown(value)))
}

fn common(facts: &Facts) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |which: Trait, sentence: fn(&str, &str) -> String| {
        said.extend(shared(facts, which).map(|(who, value)| sentence(&who, &value)));
    };
    say(Trait::Factor, |who, value| match value {
        "the opposite sign" => format!("{who} have the opposite sign at the provider and in the books."),
        times => format!("{who} stand at the provider with {times} the booked amount."),
    });
    say(Trait::Difference, |who, value| {
        format!("{who} differ by the same amount: {value}.")
    });
    say(Trait::Kind, |who, value| {
        format!("{who} are of one kind: {}.", words::kind(value))
    });
    say(Trait::Day, |who, value| format!("{who} are about one day: {value}."));
    say(Trait::Place, |who, value| match value.strip_prefix("ledger ") {
        Some(file) => format!("{who} were found in one file of the books: {file}."),
        None => format!("{who} come from one reading of the provider: {value}."),
    });
    say(Trait::Direction, |who, value| match value {
        "in" => format!("{who} are incoming money."),
        _ => format!("{who} are outgoing money."),
    });
    // Where there is only one currency or account, sharing it says nothing.
    if facts
        .tally
        .sums
        .keys()
        .chain(facts.lines.iter().map(|line| &line.currency))
        .any(|currency| {
            !currency.is_empty()
                && facts
                    .tally
                    .most(Trait::Currency)
                    .is_some_and(|(most, _)| most != currency)
        })
    {
        say(Trait::Currency, |who, value| format!("{who} are in {value}."));
    }
    let accounts: std::collections::BTreeSet<&str> = facts.proofs.iter().map(|proof| proof.account.as_str()).collect();
    if accounts.len() > 1 {
        say(Trait::Account, |who, value| format!("{who} are of account {value}."));
    }
    said
}

fn beside(facts: &Facts) -> Vec<String> {
    let mut said = Vec::new();
    if let [now, before] = facts.ledger_rows[..] {
        said.push(match now == before {
            true => format!("The books brought {now} rows, as many as the time before."),
            false => format!("The books brought {now} rows, the time before {before}."),
        });
    }
    let not_whole = facts.windows_not_sealed();
    let windows: i64 = facts.coverage.iter().map(|feed| feed.windows).sum();
    said.push(match not_whole {
        0 => "Everything wanted was read to its end at the provider.".to_owned(),
        1 => format!("At the provider, 1 of {windows} readings was not finished."),
        _ => format!("At the provider, {not_whole} of {windows} readings were not finished."),
    });
    said
}

/// The usual fault behind the most frequent trait.
fn look_at(facts: &Facts) -> &'static str {
    if shared(facts, Trait::Factor).is_some() || shared(facts, Trait::Difference).is_some() {
        return "Look first at the unit and the sign of the amounts in the books' export: it seems to have changed.";
    }
    let kind = shared(facts, Trait::Kind).map(|(_, kind)| kind);
    match kind.as_deref() {
        Some("missing_in_ledger") => {
            "Look first whether the books' export is whole and its key column still holds the same key."
        }
        Some("missing_in_provider") => {
            "Look first whether the job asks the right account, and whether the books' key column still holds the same key."
        }
        Some("fee_mismatch") => {
            "Look first whether the provider's price has changed, or how the books compute the fee."
        }
        Some("status_mismatch" | "unclassified") => {
            "Look first whether the provider or the books use a new word for a status."
        }
        _ => {
            "So many at once are more often one fault than many: a ledger that lacks a part, a changed key, or a provider that answered in another form."
        }
    }
}
