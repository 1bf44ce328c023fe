//! PayVyne's arithmetic (document, section 9): each sweep in itself, against its transactions, and against the next.
//! R8 is a line of the bank's statement and not this provider's to prove.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use super::super::arithmetic::{Figures, has_gap, money, off_by, sum};
use super::wire::SUMMARY;
use super::{FEE_SIGN, FeeSign, PayVyne, SWEEP_TRANSACTIONS, SWEEPS};
use crate::day::{Instant, day_of, next_day, start_of_day};
use crate::money::Currency;
use crate::providers::{Books, Related, Relation, Sense, Total};
use crate::record::TransactionKind;

/// One sweep as stated.
pub(super) struct Sweep<'b> {
    pub account: &'b str,
    pub id: &'b str,
    pub as_of: Instant,
    pub currency: Currency,
    /// All its currencies; more than one is a finding (R6) and nothing is summed.
    pub currencies: BTreeSet<Currency>,
    pub figures: Figures<'b>,
    /// What is listed under it in its own currency.
    own: Members,
    /// What is listed under it in other ones: a finding (R6); it is in no sum.
    others: BTreeMap<(TransactionKind, Currency), (i64, i64)>,
}

/// Begins the items of a sweep's summary.
const SUMMARY_PREFIX: &str = "summary_";

/// The kind an item of the summary is about.
fn kind_name(item: &str) -> &str {
    item.trim_start_matches(SUMMARY_PREFIX)
}

/// What was listed under a sweep, per kind: count and signed sum of effects.
type Members = BTreeMap<TransactionKind, (i64, i64)>;

/// One more group of rows; a sum stops at the end of the range.
fn add(slot: &mut (i64, i64), total: &Total) {
    slot.0 = slot.0.saturating_add(total.count);
    slot.1 = slot.1.saturating_add(total.amount_minor);
}

impl Sweep<'_> {
    pub fn get(&self, item: &str) -> i64 {
        self.figures.get(item).copied().unwrap_or(0)
    }

    fn is_of_one_currency(&self) -> bool {
        self.currencies.len() == 1
    }

    /// Whether rows of this kind in another currency stand in it: then nobody can say what the summary's figure is made of.
    fn mixes(&self, kind: TransactionKind) -> bool {
        self.others.keys().any(|(other, _)| *other == kind)
    }

    /// Signed effects as the statement shows them: of a kind with rows in another currency only what is listed in the
    /// sweep's own, so that the rest stays in the residual.
    pub fn proved_effects(&self) -> Vec<(String, i64)> {
        let mut effects = self.effects();
        for (name, amount) in &mut effects {
            let named = SUMMARY
                .iter()
                .map(|(.., kind, _)| *kind)
                .find(|kind| kind.as_str() == name);
            // Rows of a kind that the document does not name are listed as unknown.
            let kind = named.unwrap_or(TransactionKind::Unknown);
            if self.mixes(kind) {
                *amount = self.own.get(&kind).map_or(0, |(_, amount)| *amount);
            }
        }
        effects
    }

    /// Signed effects of the summary's kinds, by the name the statement gives them.
    ///
    /// Nobody says whether a kind the document does not name adds or takes away: with one such kind the sign under which
    /// the sweep closes is taken; otherwise it stays out, and the relation says so by not closing.
    pub fn effects(&self) -> Vec<(String, i64)> {
        let known = SUMMARY.map(|(_, item, kind, adds)| {
            let value = self.get(item);
            (
                kind.as_str().to_owned(),
                if adds { value } else { value.saturating_neg() },
            )
        });
        let mut effects = Vec::from(known);
        if let [item] = self.other_kinds().as_slice() {
            let left = self.get("closing_balance").saturating_sub(self.closing_by(&effects));
            if left.saturating_abs() == self.get(item).saturating_abs() {
                effects.push((kind_name(item).to_owned(), left));
            }
        }
        effects
    }

    /// Items of the summary's kinds that the document does not name.
    fn other_kinds(&self) -> Vec<&str> {
        let items = self.figures.keys().copied();
        items
            .filter(|item| item.starts_with(SUMMARY_PREFIX) && !item.ends_with("_count"))
            .filter(|item| SUMMARY.iter().all(|(_, known, ..)| known != item))
            .collect()
    }

    /// Opening, plus effects, less what was transferred.
    fn closing_by(&self, effects: &[(String, i64)]) -> i64 {
        let moved = sum(effects.iter().map(|(_, amount)| *amount));
        sum([
            self.get("opening_balance"),
            moved,
            self.get("transferred_amount").saturating_neg(),
        ])
    }

    fn relation(
        &self,
        books: &Books,
        name: &'static str,
        part: &str,
        stated: i64,
        computed: i64,
        detail: String,
    ) -> Relation {
        let subject = if part.is_empty() {
            self.id.to_owned()
        } else {
            format!("{}/{part}", self.id)
        };
        Relation {
            name,
            settlement: matches!(name, "R3" | "R4"),
            advisory: false,
            account: self.account.to_owned(),
            subject,
            reference: None,
            currency: self.currency,
            stated_minor: stated,
            computed_minor: computed,
            at: self.as_of,
            business_day: day_of(self.as_of, books.zone),
            sense: Some(Sense::Signed),
            detail: format!("payvyne {name}: sweep {}: {detail}", self.id),
        }
    }
}

/// Sweeps by account, currency and time. One that carries no time of its own closed the day of its newest transaction; the
/// days around it list it, too.
pub(super) fn sweeps(books: &Books) -> Vec<Sweep<'_>> {
    let mut by_id: BTreeMap<(&str, &str), Sweep<'_>> = BTreeMap::new();
    for balance in books.balances.iter().filter(|b| b.feed == SWEEPS) {
        let sweep = by_id
            .entry((&balance.account, &balance.subject))
            .or_insert_with(|| Sweep {
                account: &balance.account,
                id: &balance.subject,
                as_of: balance.as_of,
                currency: balance.currency,
                currencies: BTreeSet::new(),
                figures: Figures::new(),
                own: Members::new(),
                others: BTreeMap::new(),
            });
        sweep.currencies.insert(balance.currency);
        sweep.figures.insert(&balance.item, balance.amount_minor);
        if balance.item == "opening_balance" {
            sweep.currency = balance.currency;
        }
    }
    let mut sweeps: Vec<Sweep<'_>> = by_id.into_values().collect();
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, sweep) in sweeps.iter().enumerate() {
        places.entry(sweep.id).or_default().push(place);
    }
    let mut newest: BTreeMap<&str, chrono::NaiveDate> = BTreeMap::new();
    for total in books.totals.iter().filter(|t| t.feed == SWEEP_TRANSACTIONS) {
        for place in places.get(total.subject.as_str()).into_iter().flatten() {
            let sweep = &mut sweeps[*place];
            if total.currency == sweep.currency {
                add(sweep.own.entry(total.kind).or_default(), total);
            } else {
                add(sweep.others.entry((total.kind, total.currency)).or_default(), total);
            }
        }
        if let Some(day) = total.changed_day {
            let known = newest.entry(&total.subject).or_insert(day);
            *known = day.max(*known);
        }
    }
    for sweep in sweeps.iter_mut().filter(|sweep| is_timeless(sweep.as_of, books.zone)) {
        if let Some(day) = newest.get(sweep.id) {
            sweep.as_of = last_instant(*day, books.zone);
        }
    }
    sweeps.sort_by_key(|sweep| (sweep.account, sweep.currency, sweep.as_of, sweep.id));
    sweeps
}

fn last_instant(day: chrono::NaiveDate, zone: Tz) -> Instant {
    start_of_day(next_day(day), zone) - chrono::TimeDelta::milliseconds(1)
}

/// Whether a time is only the end of the window that listed the sweep ([`crate::record::Balance::as_of`]).
fn is_timeless(as_of: Instant, zone: Tz) -> bool {
    as_of == last_instant(day_of(as_of, zone), zone)
}

/// The transactions of a sweep, once they were read to their end.
fn members<'s>(books: &Books, sweep: &'s Sweep<'_>) -> Option<&'s Members> {
    books.sealed_subjects.contains(sweep.id).then_some(&sweep.own)
}

// -- the sign of fees ---------------------------------------------------------------------------------------------------

/// Which sign makes sweeps with fees close (R4), where exactly one does. Sweeps that close under both or neither are silent.
/// Only a departure from the document's default is kept, and an earlier one until the sweeps speak against it.
pub(super) fn calibrate(payvyne: &PayVyne, books: &Books) -> BTreeMap<String, String> {
    if payvyne.fee_sign.is_some() {
        return BTreeMap::new();
    }
    let now = payvyne.fee_sign(&books.calibration);
    let (mut debit, mut signed) = (0, 0);
    let whole = |sweep: &&Sweep<'_>| sweep.is_of_one_currency() && sweep.others.is_empty();
    for sweep in sweeps(books).iter().filter(whole) {
        let Some(members) = members(books, sweep) else { continue };
        let (_, fees) = members.get(&TransactionKind::Fee).copied().unwrap_or_default();
        let value = now.effect(fees);
        let others = by_members(sweep, members).saturating_sub(fees);
        let closes = |sign: FeeSign| others.saturating_add(sign.effect(value)) == sweep.get("closing_balance");
        match (closes(FeeSign::PositiveIsDebit), closes(FeeSign::Signed)) {
            (true, false) => debit += 1,
            (false, true) => signed += 1,
            _ => {}
        }
    }
    let found = match (debit, signed) {
        (debit, signed) if signed > debit => FeeSign::Signed,
        (debit, signed) if debit > signed => FeeSign::PositiveIsDebit,
        _ => now,
    };
    if found == FeeSign::PositiveIsDebit && !books.calibration.contains_key(FEE_SIGN) {
        return BTreeMap::new();
    }
    BTreeMap::from([(FEE_SIGN.to_owned(), found.word().to_owned())])
}

/// R4's right side: the transfer itself is the sweep's own figure, whether it is listed or not.
fn by_members(sweep: &Sweep<'_>, members: &Members) -> i64 {
    let effects = members
        .iter()
        .filter(|(kind, _)| **kind != TransactionKind::Transfer)
        .map(|(_, (_, amount))| *amount);
    sum([
        sweep.get("opening_balance"),
        sum(effects),
        sweep.get("transferred_amount").saturating_neg(),
    ])
}

// -- relations ----------------------------------------------------------------------------------------------------------

pub(super) fn all(payvyne: &PayVyne, books: &Books) -> Vec<Relation> {
    let sweeps = sweeps(books);
    let repeated = repeated_ids(books, &sweeps);
    let mut relations = Vec::new();
    for (index, sweep) in sweeps.iter().enumerate() {
        relations.push(of_one_kind(books, sweep, repeated.get(sweep.id).copied().unwrap_or(0)));
        if !sweep.is_of_one_currency() {
            continue;
        }
        relations.push(closes(books, sweep));
        relations.push(transferred(books, sweep));
        if payvyne.monthly_billing {
            relations.push(no_fees(books, sweep));
        }
        if let Some(members) = members(books, sweep) {
            let kinds = SUMMARY.iter().filter(|(_, _, kind, _)| !sweep.mixes(*kind));
            relations.extend(kinds.map(|kind| kind_sum(books, sweep, members, *kind)));
            if !sweep.mixes(TransactionKind::Unknown) {
                relations.extend(other_kinds(books, sweep, members));
            }
            if !sweep.mixes(TransactionKind::Transfer) {
                relations.extend(listed_transfer(books, sweep, members));
            }
            // The balance holds all kinds: with one of them in another currency there is no sum to hold against it.
            if sweep.others.is_empty() {
                relations.push(members_close(books, sweep, members));
            }
        }
        relations.extend(
            index
                .checked_sub(1)
                .and_then(|before| chain(books, &sweeps[before], sweep)),
        );
    }
    relations.extend(books.related.iter().filter_map(|related| refunds(books, related)));
    relations
}

fn closes(books: &Books, sweep: &Sweep<'_>) -> Relation {
    let (stated, computed) = (sweep.get("closing_balance"), sweep.closing_by(&sweep.effects()));
    let detail = format!(
        "closingBalance is {}, opening balance, summary and transfer give {}",
        money(stated, sweep.currency),
        money(computed, sweep.currency)
    );
    sweep.relation(books, "R1", "", stated, computed, detail)
}

fn transferred(books: &Books, sweep: &Sweep<'_>) -> Relation {
    let stated = sweep.get("transferred_amount");
    let before = sweep.get("closing_balance").saturating_add(stated);
    let computed = before.saturating_sub(sweep.get("reserved_balance")).max(0);
    let detail = format!(
        "transferredAmount is {}, the balance before it less the reserve is {}",
        money(stated, sweep.currency),
        money(computed, sweep.currency)
    );
    sweep.relation(books, "R2", "", stated, computed, detail)
}

/// With monthly billing fees are collected elsewhere (section 8); inferred, so advisory.
fn no_fees(books: &Books, sweep: &Sweep<'_>) -> Relation {
    let stated = sweep.get("summary_fees");
    let detail = format!(
        "fees of {} in a sweep although billing is monthly",
        money(stated, sweep.currency)
    );
    let mut relation = sweep.relation(books, "billing", "", stated, 0, detail);
    relation.advisory = true;
    relation
}

/// R3 for one kind: value, else count. A difference names the likely loss.
fn kind_sum(
    books: &Books,
    sweep: &Sweep<'_>,
    members: &Members,
    (key, item, kind, is_credit): (&str, &str, TransactionKind, bool),
) -> Relation {
    let (count, amount) = members.get(&kind).copied().unwrap_or_default();
    let (stated, computed) = (sweep.get(item), amount.saturating_abs());
    let stated_count = sweep.get(&format!("{item}_count"));
    let residual = stated.saturating_sub(computed);
    let mut detail = format!(
        "summary.{key} is {} in {stated_count}, the listed ones sum to {} in {count}",
        money(stated, sweep.currency),
        money(computed, sweep.currency)
    );
    if residual > 0 && stated_count > count {
        let lost = super::super::setup::counted(stated_count - count, kind.as_str());
        detail.push_str(&format!(
            ": {lost} of {} missing from the list",
            money(residual, sweep.currency)
        ));
    } else if residual != 0 {
        detail.push_str(&format!(": {}", off_by(residual, sweep.currency)));
    }
    if residual == 0 && stated_count != count {
        detail.push_str(": the counts differ although the sums agree");
        let counts = sweep.relation(books, "R3", key, stated_count, count, detail);
        return Relation { sense: None, ..counts };
    }
    let sense = if is_credit { Sense::Signed } else { Sense::Debits };
    Relation {
        sense: Some(sense),
        ..sweep.relation(books, "R3", key, stated, computed, detail)
    }
}

/// R3 for kinds that the document does not name: their transactions have a type nobody named either. Which of several kinds
/// one of these belongs to is not known, so that of several only the numbers are compared.
fn other_kinds(books: &Books, sweep: &Sweep<'_>, members: &Members) -> Option<Relation> {
    let kinds = sweep.other_kinds();
    let (listed, amount) = members.get(&TransactionKind::Unknown).copied().unwrap_or_default();
    if let [item] = kinds.as_slice() {
        let kind = (kind_name(item), *item, TransactionKind::Unknown, amount > 0);
        return Some(kind_sum(books, sweep, members, kind));
    }
    let names: Vec<&str> = kinds.iter().map(|item| kind_name(item)).collect();
    let stated = sum(kinds.iter().map(|item| sweep.get(&format!("{item}_count"))));
    let detail = format!(
        "the summary counts {stated} of {}, {listed} of a type that nobody named are listed",
        names.join(" and ")
    );
    let counts = sweep.relation(books, "R3", "other kinds", stated, listed, detail);
    (!kinds.is_empty()).then_some(Relation { sense: None, ..counts })
}

/// Whether the transfer is listed is not documented; where it is, it must be the amount that left.
fn listed_transfer(books: &Books, sweep: &Sweep<'_>, members: &Members) -> Option<Relation> {
    let (_, amount) = members.get(&TransactionKind::Transfer)?;
    let (stated, computed) = (sweep.get("transferred_amount"), amount.saturating_abs());
    let detail = format!(
        "transferredAmount is {}, the listed transfer is {}",
        money(stated, sweep.currency),
        money(computed, sweep.currency)
    );
    Some(Relation {
        sense: Some(Sense::Debits),
        ..sweep.relation(books, "R3", "transfer", stated, computed, detail)
    })
}

fn members_close(books: &Books, sweep: &Sweep<'_>, members: &Members) -> Relation {
    let (stated, computed) = (sweep.get("closing_balance"), by_members(sweep, members));
    let mut detail = format!(
        "closingBalance is {}, opening balance, listed transactions and transfer give {}",
        money(stated, sweep.currency),
        money(computed, sweep.currency)
    );
    let residual = stated.saturating_sub(computed);
    if residual != 0 {
        let side = if residual > 0 { "credits" } else { "debits" };
        detail.push_str(&format!(
            ": {side} of {} are missing from the list, or as much stands there that the balance does not know",
            money(residual.saturating_abs(), sweep.currency)
        ));
    }
    sweep.relation(books, "R4", "", stated, computed, detail)
}

/// R5. A break means that something moved the account between two sweeps: most likely a sweep that was not listed.
fn chain(books: &Books, before: &Sweep<'_>, sweep: &Sweep<'_>) -> Option<Relation> {
    let comparable =
        before.account == sweep.account && before.currency == sweep.currency && before.is_of_one_currency();
    // Of two timeless sweeps of one day nobody knows which came first.
    let ordered = before.as_of < sweep.as_of;
    if !comparable || !ordered || has_gap(books, SWEEPS, before.as_of, sweep.as_of) {
        return None;
    }
    let (stated, computed) = (sweep.get("opening_balance"), before.get("closing_balance"));
    let residual = stated.saturating_sub(computed);
    let mut detail = format!(
        "openingBalance is {}, closingBalance of sweep {} before it was {}",
        money(stated, sweep.currency),
        before.id,
        money(computed, sweep.currency)
    );
    if residual != 0 {
        detail.push_str(&format!(
            ": likely a sweep missing from the list between {} and {}, which changed {} by {}",
            day_of(before.as_of, books.zone),
            day_of(sweep.as_of, books.zone),
            sweep.account,
            money(residual, sweep.currency)
        ));
    }
    Some(sweep.relation(books, "R5", "", stated, computed, detail))
}

/// R6: one currency, and no transaction that another sweep had before.
fn of_one_kind(books: &Books, sweep: &Sweep<'_>, repeated: i64) -> Relation {
    let listed = sweep.others.keys().map(|(_, currency)| *currency);
    let foreign: BTreeSet<Currency> = sweep.currencies.iter().copied().chain(listed).collect();
    let foreign: Vec<Currency> = foreign.into_iter().filter(|c| *c != sweep.currency).collect();
    let mut told = Vec::new();
    if sweep.currencies.len() > 1 {
        let all: Vec<String> = sweep.currencies.iter().map(Currency::to_string).collect();
        told.push(format!(
            "its own figures are in {}, so nothing of it is summed",
            all.join(" and ")
        ));
    }
    if sweep.is_of_one_currency() && !sweep.others.is_empty() {
        told.push(listed_beside(sweep));
    }
    if repeated > 0 || told.is_empty() {
        told.push(format!("{repeated} of its transactions also stand in an earlier sweep"));
    }
    let foreign = i64::try_from(foreign.len()).unwrap_or(i64::MAX);
    Relation {
        sense: None,
        ..sweep.relation(books, "R6", "", repeated.saturating_add(foreign), 0, told.join("; "))
    }
}

/// `beside GBP it lists 1 payment of 113.00 EUR; …`: what is in no sum, and which sums are not made because of it.
fn listed_beside(sweep: &Sweep<'_>) -> String {
    let rows: Vec<String> = sweep
        .others
        .iter()
        .map(|((kind, currency), (count, amount))| {
            let rows = super::super::setup::counted(*count, kind.as_str());
            format!("{rows} of {}", money(amount.saturating_abs(), *currency))
        })
        .collect();
    let kinds: BTreeSet<&str> = sweep.others.keys().map(|(kind, _)| kind.as_str()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    format!(
        "beside {} it lists {}: in no sum; R3 of {} and R4 are not made, the statement counts only {}",
        sweep.currency,
        rows.join(", "),
        kinds.join(", "),
        sweep.currency
    )
}

/// Per sweep the number of its transactions that an earlier sweep already listed.
fn repeated_ids<'b>(books: &'b Books, sweeps: &[Sweep<'_>]) -> BTreeMap<&'b str, i64> {
    let times: BTreeMap<&str, Instant> = sweeps.iter().map(|sweep| (sweep.id, sweep.as_of)).collect();
    let mut repeated = BTreeMap::new();
    for (_, subjects) in &books.repeated_ids {
        let first = subjects
            .iter()
            .min_by_key(|id| (times.get(id.as_str()).copied(), id.as_str()));
        for later in subjects.iter().filter(|id| Some(*id) != first) {
            *repeated.entry(later.as_str()).or_default() += 1;
        }
    }
    repeated
}

/// R7: a payment is not refunded above its amount.
fn refunds(books: &Books, related: &Related) -> Option<Relation> {
    if related.kind != TransactionKind::Refund || related.currency != related.related_currency {
        return None;
    }
    let refunded = related.amount_minor.saturating_neg();
    let at = related.at.unwrap_or(books.as_of);
    Some(Relation {
        name: "R7",
        settlement: false,
        advisory: false,
        account: related.account.clone(),
        subject: related.related_id.clone(),
        reference: related.reference.clone(),
        currency: related.currency,
        stated_minor: refunded,
        computed_minor: refunded.min(related.related_amount_minor),
        at,
        business_day: day_of(at, books.zone),
        sense: Some(Sense::Signed),
        detail: format!(
            "payvyne R7: payment {}: refunds sum to {}, the payment was {}",
            related.related_id,
            money(refunded, related.currency),
            money(related.related_amount_minor, related.related_currency)
        ),
    })
}
