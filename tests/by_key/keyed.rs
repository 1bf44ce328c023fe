//! A provider without lists, made for these tests.

use reconciled::day::Instant;
use reconciled::failure::Class;
use reconciled::money::Currency;
use reconciled::providers::{
    Ask, BadPage, Books, Feed, Judgement, Keys, LookupKey, PageHead, Parsed, Provider, Relation, Reply, Request,
    Session, Shape, Step, encode, judge_common, lookups,
};
use reconciled::record::{Direction, Status, Transaction, TransactionKind, Unreadable};
use serde::Deserialize;

/// Bodies that the server turns into refusals.
pub const REFUSED: &str = "409";
pub const DOWN: &str = "500";

#[derive(Default)]
pub struct Keyed {
    pub max_lookups: Option<u64>,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    reference: Option<String>,
    amount: i64,
    status: String,
}

impl Provider for Keyed {
    fn name(&self) -> &'static str {
        "keyed"
    }

    fn feeds(&self) -> Vec<Feed> {
        vec![Feed {
            name: "payments",
            shape: Shape::Lookups,
            directions: &[Direction::In],
        }]
    }

    fn sign(&self, _request: &mut Request, _session: Option<&Session>, _keys: &Keys, _now: Instant) {}

    fn lookup_key(&self, _feed: &str) -> LookupKey {
        LookupKey::XExternalId
    }

    fn lookup_problem(&self, _feed: &str, subject: &str, _beside: &[String]) -> Option<String> {
        subject
            .contains('!')
            .then(|| "the ledger's `x_external_id` has a mark".into())
    }

    fn max_lookups(&self) -> Option<u64> {
        self.max_lookups
    }

    fn next(&self, _ask: &Ask, heads: &[PageHead]) -> Step {
        lookups::next(None, heads)
    }

    fn request(&self, ask: &Ask, _number: u32, _heads: &[PageHead]) -> Request {
        Request::get(format!("/{}", encode(ask.subject.as_deref().unwrap())), "")
    }

    fn judge(&self, _ask: &Ask, reply: &Reply) -> Judgement {
        match reply.status {
            404 => Judgement::Absent {
                why: "unknown here (404)".into(),
            },
            409 => Judgement::Refused {
                class: Class::Protocol,
                why: "not this key (409)".into(),
            },
            _ => judge_common(reply),
        }
    }

    fn head(&self, _ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
        let _: Wire = serde_json::from_slice(body).map_err(|_| BadPage {
            why: "no record".into(),
        })?;
        Ok(PageHead {
            number,
            rows: 1,
            ..PageHead::default()
        })
    }

    fn parse(&self, ask: &Ask, _number: u32, body: &[u8]) -> Parsed {
        let mut parsed = Parsed::default();
        match serde_json::from_slice::<Wire>(body) {
            Ok(wire) => parsed.transactions.push((0, transaction(ask, wire))),
            Err(_) => parsed.unreadable.push(Unreadable {
                place: "$".into(),
                reason: "no record".into(),
            }),
        }
        parsed
    }

    fn private_fields(&self) -> &'static [&'static str] {
        &["name"]
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &["id", "reference"]
    }

    fn relations(&self, _books: &Books) -> Vec<Relation> {
        Vec::new()
    }
}

fn transaction(ask: &Ask, wire: Wire) -> Transaction {
    let status: Status = wire.status.parse().unwrap();
    Transaction {
        account: String::new(),
        feed: ask.feed,
        subject: ask.subject.clone().unwrap(),
        provider_id: wire.id,
        reference: wire.reference.filter(|r| !r.is_empty()),
        related_id: None,
        direction: Direction::In,
        kind: TransactionKind::Payment,
        currency: "COP".parse::<Currency>().unwrap(),
        amount_minor: wire.amount,
        fee_minor: None,
        fee_currency: None,
        status,
        is_final: status != Status::Open,
        provider_status: wire.status,
        occurred_at: None,
        changed_at: None,
        residuals: Vec::new(),
    }
}
