//! Ayoconnect (Indonesia), SNAP direct debit: payments asked about by the X-EXTERNAL-ID of their flow (generation 2) or by
//! `referenceNo` (generation 3), and the bindings behind them. Facts and doubts: `providers/ayoconnect.md`. The conversation is
//! here, its settings in [`settings`], both signatures in [`sign`], the token in [`session`], what its refusals mean in
//! [`errors`], its JSON in [`wire`], links for a new binding in [`link`].

use super::lookups;
use super::{
    Ask, BadPage, Books, Built, Entry, Feed, Judgement, Keys, LookupKey, Method, PageHead, Parsed, Provider, Relation,
    Reply, Request, Session, Shape, Step, binding, encode, setup,
};
use crate::config::Section;
use crate::day::Instant;
use crate::record::Direction;

mod errors;
mod link;
mod session;
mod settings;
mod sign;
mod wire;

use settings::{ExternalId, Generation, Records, Settings};

/// Registry line.
pub const ENTRY: Entry = Entry {
    name: "ayoconnect",
    build,
};

const PAYMENTS: &str = "payments";
const BINDINGS: &str = "bindings";

/// Service code of payments in generation 3, sent with every question about one.
const PAYMENT_SERVICE: &str = "54";

struct Ayoconnect(Settings);

fn build(section: &mut Section<'_>) -> Option<Built> {
    settings::build(section)
}

impl Ayoconnect {
    /// The key asked about: the flow's X-EXTERNAL-ID, or the payment's `referenceNo`.
    fn key<'a>(&self, ask: &'a Ask) -> &'a str {
        ask.subject.as_deref().unwrap_or_default()
    }

    /// A further value beside the key; empty when it is not known.
    fn extra<'a>(&self, ask: &'a Ask, column: LookupKey) -> &'a str {
        let extras = self.lookup_extras(ask.feed).iter().zip(&ask.beside);
        let mut found = extras.filter(|(extra, _)| **extra == column);
        found.next().map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Named already when the request is made: the flow's id is used again for questions about it. None: a new one for
    /// each attempt, made when it is signed.
    fn external_id<'a>(&self, ask: &'a Ask) -> Option<&'a str> {
        let flow = match (ask.feed, self.0.generation) {
            (PAYMENTS, Generation::V3) => self.extra(ask, LookupKey::XExternalId),
            _ => self.key(ask),
        };
        // Bindings are known by their flow only.
        let reuse = self.0.external_id == ExternalId::Reuse || ask.feed == BINDINGS;
        (reuse && sign::is_external_id(flow)).then_some(flow)
    }
}

impl Provider for Ayoconnect {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn feeds(&self) -> Vec<Feed> {
        match self.0.records {
            // A refund shows in the status of its payment; both directions of the ledger are asked about by one key.
            Records::Payments => vec![Feed {
                name: PAYMENTS,
                shape: Shape::Lookups,
                directions: &[Direction::In, Direction::Out],
            }],
            Records::Bindings => vec![Feed {
                name: BINDINGS,
                shape: Shape::Lookups,
                directions: &[Direction::In],
            }],
        }
    }

    fn login(&self, keys: &Keys, now: Instant) -> Option<Request> {
        Some(session::login(&self.0, keys, now))
    }

    fn session(&self, reply: &Reply) -> Result<Session, Judgement> {
        session::open(reply)
    }

    fn sign(&self, request: &mut Request, session: Option<&Session>, keys: &Keys, now: Instant) {
        sign::sign(&self.0, request, session, keys, now);
    }

    fn check_keys(&self, keys: &Keys) -> Result<(), String> {
        sign::check_keys(&self.0, keys)
    }

    fn lookup_key(&self, feed: &str) -> LookupKey {
        match (feed, self.0.generation) {
            (PAYMENTS, Generation::V3) => LookupKey::ReferenceNo,
            _ => LookupKey::XExternalId,
        }
    }

    fn is_money(&self, feed: &str) -> bool {
        feed != BINDINGS
    }

    /// The merchant's reference, which the answer must bear; for a binding the code of its session (in the column
    /// `reference_no`), for a payment of generation 3 the id of its flow.
    fn lookup_extras(&self, feed: &str) -> &'static [LookupKey] {
        match (feed, self.0.generation) {
            (BINDINGS, _) => &[LookupKey::Reference, LookupKey::ReferenceNo],
            (_, Generation::V3) if self.0.external_id == ExternalId::Reuse => {
                &[LookupKey::Reference, LookupKey::XExternalId]
            }
            _ => &[LookupKey::Reference],
        }
    }

    fn lookup_problem(&self, feed: &str, key: &str, beside: &[String]) -> Option<String> {
        let wrong = |column: &str, rule: &str| Some(format!("the ledger's `{column}` {rule}"));
        let exact = "is not 32 letters and digits";
        match (feed, self.0.generation) {
            (PAYMENTS, Generation::V3) => {
                let fine = (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
                if fine {
                    None
                } else {
                    wrong("reference_no", "is not 1 to 64 plain characters")
                }
            }
            _ if !sign::is_external_id(key) => wrong("x_external_id", exact),
            (BINDINGS, _) => {
                let fine = |place: usize| beside.get(place).is_some_and(|value| sign::is_external_id(value));
                match (fine(0), fine(1)) {
                    (false, _) => wrong("reference", exact),
                    (_, false) => wrong("reference_no", "is not the 32 letters and digits of a binding's code"),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn max_lookups(&self) -> Option<u64> {
        self.0.max_lookups
    }

    fn next(&self, ask: &Ask, heads: &[PageHead]) -> Step {
        let problem = match &ask.subject {
            None => Some("no key was given".to_owned()),
            Some(subject) => self.lookup_problem(ask.feed, subject, &ask.beside),
        };
        lookups::next(problem, heads)
    }

    fn request(&self, ask: &Ask, _number: u32, _heads: &[PageHead]) -> Request {
        let merchant = &self.0.merchant_id;
        let mut request = match (ask.feed, self.0.generation) {
            (BINDINGS, _) => post(
                &self.0.paths.binding,
                &[
                    ("partnerReferenceNo", self.extra(ask, LookupKey::Reference)),
                    ("authCode", self.extra(ask, LookupKey::ReferenceNo)),
                    ("merchantId", merchant),
                ],
            ),
            (_, Generation::V2) => {
                let query = format!("merchantId={}&XExternalId={}", encode(merchant), encode(self.key(ask)));
                Request::get(self.0.paths.status.clone(), query)
            }
            (_, Generation::V3) => post(
                &self.0.paths.status,
                &[
                    ("merchantId", merchant),
                    ("serviceCode", PAYMENT_SERVICE),
                    ("originalReferenceNo", self.key(ask)),
                ],
            ),
        };
        setup::set_header(&mut request, "Accept", "application/json".into());
        if let Some(id) = self.external_id(ask) {
            setup::set_header(&mut request, "X-EXTERNAL-ID", id.to_owned());
        }
        request
    }

    fn judge(&self, ask: &Ask, reply: &Reply) -> Judgement {
        errors::judge(self, ask, reply)
    }

    fn head(&self, ask: &Ask, number: u32, body: &[u8]) -> Result<PageHead, BadPage> {
        wire::head(self, ask, number, body)
    }

    fn parse(&self, ask: &Ask, _number: u32, body: &[u8]) -> Parsed {
        wire::parse(self, ask, body)
    }

    /// Tokens and codes that open sessions or charge accounts; people and their cards; free text, which may name them.
    fn private_fields(&self) -> &'static [&'static str] {
        &[
            "accessToken",
            "accountToken",
            "authCode",
            "publicUserId",
            "userId",
            "mobileNumber",
            "phoneNo",
            "maskedCard",
            "remarks",
            "seamlessData",
        ]
    }

    fn identity_fields(&self) -> &'static [&'static str] {
        &[
            "referenceNo",
            "partnerReferenceNo",
            "originalReferenceNo",
            "originalPartnerReferenceNo",
            "originalExternalId",
        ]
    }

    /// The provider states no figures.
    fn relations(&self, _books: &Books) -> Vec<Relation> {
        Vec::new()
    }

    fn binding_request(&self, wish: &binding::BindingWish) -> Result<binding::BindingRequest, String> {
        link::request(&self.0, wish)
    }

    fn binding_link(&self, asked: &binding::BindingRequest, reply: &Reply) -> Result<binding::BindingLink, Judgement> {
        link::read(&self.0, asked, reply)
    }
}

/// A body in its one form: compact, keys in the document's order; hashed and sent as it is.
fn post(path: &str, members: &[(&str, &str)]) -> Request {
    let mut request = Request::get(path, "");
    request.method = Method::Post;
    request.body = compact(members).into_bytes();
    request
}

/// A JSON object of texts without any blank, in the order given.
fn compact<K: AsRef<str>, V: AsRef<str>>(members: &[(K, V)]) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| format!("{}:{}", text(key.as_ref()), text(value.as_ref())))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests;
