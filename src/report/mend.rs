//! A night that is not whole: what is missing, and whether the next run mends it without anybody. Pure.

use serde::Serialize;

use super::facts::Facts;
use super::{reading, words};
use crate::record::{Kind, Verdict};

/// What stands in a box on top of the mail and the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingView {
    pub title: &'static str,
    /// A sentence each.
    pub what: Vec<String>,
    /// Whether somebody must do something.
    pub mends: String,
}

/// What a night lacks; None for a night that was read to its end and compared.
pub fn missing(facts: &Facts) -> Option<MissingView> {
    let title = match facts.night.verdict {
        Verdict::Incomplete => "What is missing",
        Verdict::NotReconciled => "Why nothing was compared",
        Verdict::Failed => "What failed",
        _ => return None,
    };
    let mut what = Vec::new();
    // Elsewhere a gap is not what stopped the night; the oldest one is named with the figures.
    if facts.night.verdict == Verdict::Incomplete {
        what.extend(facts.unread.iter().map(|window| gap(facts, window)));
        what.extend(never_begun(facts));
        let more = facts.unread_count - i64::try_from(facts.unread.len()).unwrap_or(0);
        if more > 0 {
            what.push(format!("{more} more readings were not finished."));
        }
        if what.is_empty() && facts.night.message.is_none() {
            what.push("The books do not say which part was not read.".to_owned());
        }
    }
    Some(MissingView {
        title,
        what,
        mends: mends(facts),
    })
}

/// Gaps that no reading has come to: the comparison lists them where no window stands yet.
fn never_begun(facts: &Facts) -> Vec<String> {
    const MOST: usize = 12;
    let begun = |place: &str| {
        facts.unread.iter().any(|window| {
            let days = reading::days(&window.from_at, &window.until_at, facts.night.zone);
            let first = days.split(' ').next().unwrap_or_default();
            place.starts_with(&format!("{} {first}", window.feed))
        })
    };
    let items = ["new", "reopened", "persisting"]
        .into_iter()
        .flat_map(|status| facts.group(status).0);
    let places: std::collections::BTreeSet<&str> = items
        .filter(|item| item.kind == Kind::IncompleteWindow.as_str())
        .filter_map(|item| item.evidence.as_deref())
        .filter(|place| !begun(place))
        .collect();
    let named = places
        .iter()
        .take(MOST)
        .map(|place| format!("{} was not read to its end.", words::shown(place)));
    let more = places.len().saturating_sub(MOST);
    named
        .chain((more > 0).then(|| format!("{more} more gaps are in the list below.")))
        .collect()
}

fn gap(facts: &Facts, window: &reading::Unread) -> String {
    let days = reading::days(&window.from_at, &window.until_at, facts.night.zone);
    let what = match window.subject.is_empty() {
        true => format!("{} of {days}", words::shown(&window.feed)),
        false => format!(
            "{} of {} ({days})",
            words::shown(&window.feed),
            words::shown(&window.subject)
        ),
    };
    let state = match window.state.as_str() {
        "unstable" => "kept changing while it was read",
        _ => "was not read to its end",
    };
    // What the message says already is not said twice.
    let message = facts.night.message.as_deref().unwrap_or_default();
    match window
        .reason
        .as_ref()
        .filter(|reason| !message.contains(reason.as_str()))
    {
        Some(reason) => format!("{what} {state}: {}", words::sentence(&words::shown(reason))),
        None => format!("{what} {state}."),
    }
}

/// By the class of what failed ([`crate::failure::Class`]).
fn mends(facts: &Facts) -> String {
    use crate::failure::Class;
    let class = facts.night.class;
    let text = match (facts.night.verdict, class) {
        (Verdict::Incomplete, None) => {
            "The next run reads it again by itself. If it stays, the mail will say so every night."
        }
        (_, Some(class)) if class.next_run_mends() => {
            "The next run tries again by itself; nobody has to do anything unless this stays."
        }
        (_, Some(Class::Auth)) => {
            "The next run does NOT mend it: somebody must mend the login or the permission at the provider first."
        }
        (_, Some(Class::Config)) => "The next run does NOT mend it: somebody must correct the settings first.",
        (_, Some(Class::Data)) => {
            "The next run mends it only if the data it reads is in order by then: the file or the rows named above."
        }
        (_, Some(Class::LocalIo)) => {
            "The next run mends it only if the machine is in order by then: disk, permissions or database."
        }
        (_, Some(Class::Protocol)) => {
            "The next run tries again; if the provider has changed its answers for good, it does NOT mend it."
        }
        (_, Some(Class::Internal)) => {
            "The next run tries again from what is stored; this is a fault of the program: please report it."
        }
        _ => "The next run tries again by itself; if this stays, somebody must look at it.",
    };
    text.to_owned()
}
