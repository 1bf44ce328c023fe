//! Facts -> the words and figures of the templates: every amount formatted, every foreign text made harmless, every list
//! cut to what fits a mail. Pure. The same view feeds the mail's text, its HTML and the page of the day.

use serde::Serialize;

use super::facts::{Facts, Group, Item, TrendNight, age_bucket};
use super::flood::{FloodView, flood};
use super::mend::{MissingView, missing};
use super::tally::{CurrencySums, Sum};
use super::{Produced, chart, reading, words};
use crate::config::Locale;
use crate::record::Verdict;

/// Rows of older items in a body.
const OLDER_ROWS: usize = 50;
/// Names of the ages, as in the CSV.
const AGES: [&str; 4] = ["0-1 days", "2-7 days", "8-30 days", "over 30 days"];
/// Nights in the mail's picture.
const PICTURE_NIGHTS: usize = 14;

/// One night, ready for the templates. Field names are the templates' variables.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    pub job: String,
    pub business_day: String,
    pub as_of: String,
    /// The same in the job's zone.
    pub as_of_local: String,
    pub verdict: &'static str,
    pub verdict_means: &'static str,
    /// `good`, `open` or `bad`: the colour.
    pub tone: &'static str,
    pub message: Option<String>,
    pub warnings: Vec<String>,
    /// `3 new, 12 open`
    pub headline: String,
    pub counts: CountsView,
    pub sums: Vec<SumsView>,
    pub lines: Vec<LineView>,
    pub flood: Option<FloodView>,
    /// What a night that is not whole lacks, and whether the next run mends it.
    pub missing: Option<MissingView>,
    pub new: ListView,
    pub persisting: ListView,
    pub resolved: ListView,
    pub acknowledged: ListView,
    pub pending: Vec<PendingView>,
    pub coverage: Vec<CoverageView>,
    pub complete: bool,
    /// What no reading can prove, where the provider has no list.
    pub not_provable: Option<String>,
    /// How whole the reading is, in words; empty where nothing can be said of it.
    pub reading: String,
    /// Its colour.
    pub reading_tone: &'static str,
    pub records: i64,
    pub windows_sealed: i64,
    pub windows: i64,
    /// The oldest reading that is not finished; its reason stands with its feed.
    pub oldest_unread: Option<String>,
    pub trend: Vec<BarView>,
    /// The picture in words.
    pub trend_alt: String,
    pub last_good: Option<String>,
    pub proofs: Vec<ProofView>,
    pub files: Vec<FileView>,
    /// Folder of the files.
    pub place: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct CountsView {
    pub previous_open: i64,
    pub new: i64,
    pub reopened: i64,
    pub resolved: i64,
    pub open: i64,
    pub acknowledged: i64,
    pub matched: i64,
    pub pending: i64,
    pub excluded: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct LineView {
    pub currency: String,
    pub title: String,
    pub count: i64,
    /// Empty where there is nothing to add up.
    pub sum: String,
    pub new: i64,
    pub reopened: i64,
    pub resolved: i64,
    /// Whether it counts discrepancies (else matched, pending, excluded).
    pub item: bool,
}

/// One currency's discrepancies: how many, and the sum of their differences.
#[derive(Clone, Debug, Serialize)]
pub struct SumsView {
    /// Empty for those that have none (a gap in the reading).
    pub currency: String,
    pub new: SumView,
    pub open: SumView,
    pub resolved: SumView,
}

#[derive(Clone, Debug, Serialize)]
pub struct SumView {
    pub count: i64,
    /// Empty where there is nothing to add up.
    pub sum: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct ListView {
    pub count: i64,
    pub rows: Vec<RowView>,
    /// Not shown here.
    pub more: i64,
    /// `0-1 days`, … and how many.
    pub ages: Vec<(&'static str, i64)>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RowView {
    pub id: String,
    pub kind: String,
    pub title: String,
    pub priority: i64,
    pub reopened: bool,
    /// Reference, else the provider's id, else the ledger's, else the place where it was seen.
    pub key: String,
    pub account: String,
    pub direction: String,
    pub currency: String,
    pub ledger_amount: String,
    pub provider_amount: String,
    pub difference: String,
    /// Whether there is a difference in money.
    pub differs: bool,
    pub first_seen: String,
    pub age_days: i64,
    /// `Over 30 days (4)` on the first row of its age, else empty.
    pub age_head: String,
    pub what_differs: String,
    pub cause: String,
    pub action: String,
    /// What a person decided, who looks after it, why; that a decision expired. Empty where nobody said anything.
    pub decided: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct PendingView {
    pub title: String,
    pub becomes_day: String,
    pub currency: String,
    pub count: i64,
    pub sum: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct CoverageView {
    pub feed: String,
    pub windows: i64,
    pub sealed: i64,
    pub open: i64,
    pub unstable: i64,
    pub rows: i64,
    pub oldest_unsealed: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct BarView {
    pub business_day: String,
    /// Day of the month.
    pub number: String,
    pub open: i64,
    pub new: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProofView {
    pub account: String,
    pub currency: String,
    pub business_day: String,
    pub opening: String,
    pub closing: String,
    pub residual: String,
    pub closes: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileView {
    pub name: String,
    pub bytes: usize,
    /// `21 KB`
    pub size: String,
}

/// Makes the view of a night.
pub fn view(facts: &Facts, locale: Locale, flood_limit: usize, files: &[Produced], place: &str) -> View {
    let counts = facts.counts;
    let newly = counts.new + counts.reopened;
    let wholeness = wholeness(facts);
    let flooded = usize::try_from(newly).is_ok_and(|n| n > flood_limit);
    View {
        job: facts.night.job.clone(),
        business_day: facts.night.business_day.to_string(),
        as_of: crate::day::format_instant(facts.night.as_of),
        as_of_local: words::local(facts.night.as_of, facts.night.zone),
        verdict: words::verdict(facts.night.verdict),
        verdict_means: words::verdict_means(
            facts.night.verdict,
            !facts.night.by_key.is_empty() && facts.windows_not_sealed() > 0,
        ),
        tone: tone(facts.night.verdict),
        message: facts
            .night
            .message
            .as_deref()
            .map(|text| words::sentence(&words::told(text))),
        warnings: facts
            .night
            .warnings
            .iter()
            .map(|warning| words::sentence(&words::told(warning)))
            .collect(),
        headline: headline(facts),
        counts: CountsView {
            previous_open: counts.previous_open,
            new: counts.new,
            reopened: counts.reopened,
            resolved: counts.resolved,
            open: counts.open,
            acknowledged: counts.acknowledged,
            matched: counts.matched,
            pending: counts.pending,
            excluded: counts.excluded,
        },
        sums: sums(facts, locale),
        lines: lines(facts, locale),
        flood: flooded.then(|| flood(facts, flood_limit, newly)),
        missing: missing(facts),
        new: if flooded {
            withheld(newly)
        } else {
            list(facts, &["new", "reopened"], flood_limit, locale)
        },
        persisting: by_age(list(facts, &["persisting"], OLDER_ROWS, locale)),
        resolved: list(facts, &["resolved"], OLDER_ROWS, locale),
        acknowledged: by_age(list(facts, &["acknowledged"], OLDER_ROWS, locale)),
        pending: pending(facts, locale),
        coverage: coverage(facts),
        complete: facts.windows_not_sealed() == 0,
        not_provable: not_provable(facts),
        reading: wholeness.0,
        reading_tone: wholeness.1,
        records: facts.coverage.iter().map(|feed| feed.rows).sum(),
        windows_sealed: facts.coverage.iter().map(|feed| feed.sealed).sum(),
        windows: facts.coverage.iter().map(|feed| feed.windows).sum(),
        oldest_unread: oldest_unread(facts),
        trend: picture_nights(facts).iter().map(bar).collect(),
        trend_alt: chart::alt(picture_nights(facts)),
        last_good: facts.last_good.clone(),
        proofs: proofs(facts, locale),
        files: files
            .iter()
            .map(|file| FileView {
                name: file.name.clone(),
                bytes: file.bytes.len(),
                size: words::size(file.bytes.len()),
            })
            .collect(),
        place: place.to_owned(),
    }
}

/// Verdict first, then the two numbers: `3 new, 12 open`; `INCOMPLETE, 3 new, 12 open`; `reconciled` when all is well.
fn headline(facts: &Facts) -> String {
    let counts = facts.counts;
    let mut parts: Vec<String> = Vec::new();
    if facts.night.verdict != Verdict::Discrepancies {
        let word = match facts.night.verdict {
            Verdict::ReconciledWithPending => "reconciled",
            verdict => words::verdict(verdict),
        };
        parts.push(word.to_owned());
    }
    let newly = counts.new + counts.reopened;
    if counts.open > 0 || newly > 0 || facts.night.verdict == Verdict::Discrepancies {
        parts.push(format!("{newly} new"));
        parts.push(format!("{} open", counts.open));
    } else if counts.resolved > 0 {
        parts.push(format!("{} resolved", counts.resolved));
    }
    if facts.night.verdict == Verdict::ReconciledWithPending {
        parts.push(format!("{} pending", counts.pending));
    }
    parts.join(", ")
}

/// The colour of a verdict: `good`, `open`, `bad`.
pub(super) fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reconciled | Verdict::ReconciledWithPending => "good",
        Verdict::ReconciledWithWarnings | Verdict::Discrepancies => "open",
        Verdict::Incomplete | Verdict::NotReconciled | Verdict::Failed => "bad",
    }
}

/// A sum of amounts; None where it is beyond what 64 bits hold.
fn total(minor: Option<i64>, currency: &str, locale: Locale) -> String {
    minor.map_or_else(
        || "too large to add up".to_owned(),
        |minor| words::money(minor, currency, locale),
    )
}

fn sums(facts: &Facts, locale: Locale) -> Vec<SumsView> {
    let sum = |sum: Sum, currency: &str| SumView {
        count: sum.count,
        sum: match sum.valued {
            0 => String::new(),
            _ => total(i64::try_from(sum.minor).ok(), currency, locale),
        },
    };
    let view = |(currency, sums): (&String, &CurrencySums)| SumsView {
        currency: words::shown(currency),
        new: sum(sums.new, currency),
        open: sum(sums.open, currency),
        resolved: sum(sums.resolved, currency),
    };
    facts.tally.sums.iter().map(view).collect()
}

/// Whether everything wanted was read. The verdict decides; a key without a usable answer is a finding, not a gap.
fn wholeness(facts: &Facts) -> (String, &'static str) {
    let open = facts.windows_not_sealed();
    let keys_only = facts.unread.iter().all(|window| !window.subject.is_empty());
    match facts.night.verdict {
        _ if facts.coverage.is_empty() => (String::new(), "soft"),
        Verdict::Failed => (String::new(), "soft"),
        Verdict::Incomplete => ("INCOMPLETE".to_owned(), "bad"),
        _ if open == 0 => ("complete".to_owned(), "good"),
        Verdict::NotReconciled => ("INCOMPLETE".to_owned(), "bad"),
        _ if keys_only => (
            format!("complete but for {open} asked about without a usable answer"),
            "open",
        ),
        _ => (format!("{open} not finished"), "open"),
    }
}

fn oldest_unread(facts: &Facts) -> Option<String> {
    let window = facts.unread.first()?;
    let days = reading::days(&window.from_at, &window.until_at, facts.night.zone);
    Some(format!("{} of {days}", words::shown(&window.feed)))
}

fn lines(facts: &Facts, locale: Locale) -> Vec<LineView> {
    let view = |line: &super::facts::SummaryLine| LineView {
        currency: words::shown(&line.currency),
        title: words::kind(&line.kind).to_owned(),
        count: line.count,
        sum: match (line.kind.as_str(), line.currency.as_str()) {
            ("excluded" | "currency_mismatch", _) | (_, "") => String::new(),
            (_, currency) => total(line.sum_minor, currency, locale),
        },
        new: line.new,
        reopened: line.reopened,
        resolved: line.resolved,
        item: !matches!(line.kind.as_str(), "matched" | "pending" | "excluded"),
    };
    facts.lines.iter().map(view).collect()
}

fn withheld(count: i64) -> ListView {
    ListView {
        count,
        rows: Vec::new(),
        more: count,
        ages: Vec::new(),
    }
}

fn list(facts: &Facts, statuses: &[&str], most: usize, locale: Locale) -> ListView {
    let groups: Vec<&Group> = statuses.iter().filter_map(|status| facts.groups.get(*status)).collect();
    let count = groups.iter().map(|group| group.count).sum();
    let mut items: Vec<&Item> = groups.iter().flat_map(|group| &group.items).collect();
    // Each group is sorted already; a stable sort keeps that order inside one priority.
    items.sort_by_key(|item| item.priority);
    let rows: Vec<RowView> = items.into_iter().take(most).map(|item| row(item, locale)).collect();
    let ages = AGES
        .into_iter()
        .enumerate()
        .map(|(bucket, name)| (name, groups.iter().map(|group| group.ages[bucket]).sum()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let shown = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    ListView {
        count,
        rows,
        more: count - shown,
        ages,
    }
}

/// Oldest first, with a head where another age begins.
fn by_age(mut list: ListView) -> ListView {
    list.rows.sort_by_key(|row| -row.age_days);
    let mut last = None;
    for row in &mut list.rows {
        let age = age_bucket(row.age_days);
        if last.replace(age) != Some(age) {
            let name = AGES[age];
            let count = list
                .ages
                .iter()
                .find(|(each, _)| *each == name)
                .map_or(0, |(_, count)| *count);
            row.age_head = format!("{} ({count})", words::capital(name));
        }
    }
    list
}

/// Whether a decimal text is zero.
fn is_zero(amount: &str) -> bool {
    amount.bytes().all(|b| matches!(b, b'0' | b'.' | b'-'))
}

/// One row of the report in words.
pub fn row(item: &Item, locale: Locale) -> RowView {
    let text = |value: &Option<String>| value.as_deref().map(words::shown).unwrap_or_default();
    let amount = |value: &Option<String>| value.as_deref().map_or_else(String::new, |v| words::decimal(v, locale));
    let key = item
        .reference
        .as_ref()
        .or(item.provider_id.as_ref())
        .or(item.ledger_id.as_ref())
        .or(item.evidence.as_ref());
    RowView {
        id: item.discrepancy_id.clone(),
        kind: item.kind.clone(),
        title: words::kind(&item.kind).to_owned(),
        priority: item.priority,
        reopened: item.status == "reopened",
        key: key.map(|key| words::shown(key)).unwrap_or_default(),
        account: text(&item.account),
        direction: match item.direction.as_deref() {
            Some("in") => "incoming".to_owned(),
            Some("out") => "outgoing".to_owned(),
            _ => String::new(),
        },
        differs: item.difference.as_deref().is_some_and(|text| !is_zero(text)),
        currency: text(&item.currency),
        ledger_amount: amount(&item.ledger_amount),
        provider_amount: amount(&item.provider_amount),
        difference: amount(&item.difference),
        first_seen: item.first_seen.clone(),
        age_days: item.age_days,
        age_head: String::new(),
        what_differs: words::shown(&item.what_differs),
        cause: item.likely_cause.clone(),
        action: words::shown(&item.suggested_action),
        decided: decided(item),
    }
}

/// What people said about it, in one line.
fn decided(item: &Item) -> String {
    let mut said = Vec::new();
    if item.expired {
        said.push("the decision about it expired: the values changed since".to_owned());
    }
    if let Some(decision) = &item.decision {
        said.push(format!("decided: {}", words::shown(decision)));
    }
    if let Some(owner) = &item.owner {
        said.push(format!("owner: {}", words::shown(owner)));
    }
    if let Some(note) = &item.note {
        said.push(format!("note: {}", words::shown(note)));
    }
    said.join("; ")
}

fn pending(facts: &Facts, locale: Locale) -> Vec<PendingView> {
    let view = |pending: &super::facts::Pending| PendingView {
        title: words::kind(&pending.becomes_kind).to_owned(),
        becomes_day: pending.becomes_day.clone(),
        currency: words::shown(&pending.currency),
        count: pending.count,
        sum: total(pending.sum_minor, &pending.currency, locale),
    };
    facts.pending.iter().map(view).collect()
}

fn coverage(facts: &Facts) -> Vec<CoverageView> {
    let local = |text: &String| match crate::day::parse_instant(text) {
        Some(at) => at.with_timezone(&facts.night.zone).format("%Y-%m-%d %H:%M").to_string(),
        None => words::shown(text),
    };
    let view = |feed: &super::facts::FeedCoverage| CoverageView {
        feed: words::shown(&feed.feed),
        windows: feed.windows,
        sealed: feed.sealed,
        open: feed.open,
        unstable: feed.unstable,
        rows: feed.rows,
        oldest_unsealed: feed.oldest_unsealed.as_ref().map(local),
        reason: feed.reason.as_deref().map(words::shown),
    };
    facts.coverage.iter().map(view).collect()
}

/// Nothing asked by key can show what the ledger does not know; only a stated balance can hint at it.
fn not_provable(facts: &Facts) -> Option<String> {
    let feeds = facts.night.by_key.join(", ");
    let hint = if facts.proofs.is_empty() {
        "no balance is stated either"
    } else {
        "what a balance leaves unexplained is the only hint at it"
    };
    (!feeds.is_empty()).then(|| {
        format!(
            "{feeds}: the provider has no list and was asked about each key of the ledger. Not provable: that it holds nothing \
             the ledger does not know; {hint}"
        )
    })
}

/// The nights of the mail's picture, oldest first.
pub fn picture_nights(facts: &Facts) -> &[TrendNight] {
    &facts.trend[facts.trend.len().saturating_sub(PICTURE_NIGHTS)..]
}

fn bar(night: &TrendNight) -> BarView {
    BarView {
        business_day: night.business_day.clone(),
        number: night.business_day.rsplit('-').next().unwrap_or_default().to_owned(),
        open: night.open,
        new: night.new,
    }
}

fn proofs(facts: &Facts, locale: Locale) -> Vec<ProofView> {
    let amount = |value: &Option<String>| value.as_deref().map_or_else(String::new, |v| words::decimal(v, locale));
    let view = |proof: &super::facts::Proof| ProofView {
        account: words::shown(&proof.account),
        currency: words::shown(&proof.currency),
        business_day: proof.business_day.clone(),
        opening: amount(&proof.opening),
        closing: amount(&proof.closing),
        residual: amount(&proof.residual),
        closes: proof.residual.as_deref().is_some_and(is_zero),
    };
    facts.proofs.iter().map(view).collect()
}
