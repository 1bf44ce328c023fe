//! Ayoconnect: a server that verifies both signatures and knows the document's sections 2, 3, 5 and 7, for both generations.

mod walks;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::house::{House, NEXT_NIGHT, NIGHT, rsa_key};
use crate::http::{self, Answer, Seen, Server, status, with};

const CLIENT: &str = "0123456789abcdef0123456789abcdef";
const SECRET: &str = "canary-client-secret";
const V2_TOKEN: &str = "/api/v1.0/access-token/b2b";
const V2_STATUS: &str = "/api/v1.0/debit/status";
const V2_BINDING: &str = "/api/v1.0/registration-account-binding";
const V3_TOKEN: &str = "/dd/api/v3.0/access-token/b2b";
const V3_STATUS: &str = "/dd/api/v3.0/debit/status";

/// What opens something or names somebody.
const PRIVATE: [&str; 5] = ["TSTMER-CANARY", "canary remark", "CANARYaccount", "CANARYcard", SECRET];

type Answers = BTreeMap<String, Vec<Answer>>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Api {
    V2,
    V3,
    Bindings,
}

struct Room {
    api: Api,
    house: House,
    server: Server,
    answers: Arc<Mutex<Answers>>,
    /// Tokens opened before it are refused.
    session: Arc<Mutex<usize>>,
}

/// 32 letters and digits that name an item.
fn id(name: &str, what: &str) -> String {
    let digest = Sha256::digest(format!("{name} {what}"));
    hex::encode(&digest[..16])
}

impl Room {
    async fn new(api: Api, more: &str) -> Self {
        let private = rsa_key();
        let public = public_key(&private);
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let session = Arc::new(Mutex::new(0));
        let desk = Desk {
            api,
            public,
            known: Arc::clone(&answers),
            valid: Arc::clone(&session),
            opened: Mutex::new(0),
        };
        let server = Server::start(move |seen| desk.answer(seen)).await;
        let of_api = match api {
            Api::V2 => "api_generation = \"v2\"",
            Api::Bindings => "api_generation = \"v2\"\nrecords = \"bindings\"",
            Api::V3 => "api_generation = \"v3\"\npaths = { token = \"/dd/api/v3.0/access-token/b2b\" }",
        };
        let provider = format!(
            "kind = \"ayoconnect\"\n{of_api}\nbase_url = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret = \"file:client.secret\"\n\
             private_key = \"file:key.secret\"\nmerchant_id = \"TSTMER\"\nrequests_per_second = 1000\n{more}",
            server.url().as_str().trim_end_matches('/')
        );
        let ledger = "currency_default = \"IDR\"\n[ledger.columns]\nledger_id = \"id\"\nreference = \"reference\"\namount = \"amount\"\n\
                      direction = \"kind\"\nstatus = \"state\"\nbooked_at = \"booked_at\"\nx_external_id = \"flow\"\n\
                      reference_no = \"payment\"\n[ledger.direction]\nin = [\"payment\"]\nout = [\"refund\"]";
        let house = House::new(
            &provider,
            ledger,
            &[("client.secret", SECRET), ("key.secret", &private)],
        );
        Self {
            api,
            house,
            server,
            answers,
            session,
        }
    }

    /// Lines `id state`, or `id state kind amount of`: what is booked under the keys of `of`, else under its own.
    fn ledger(&self, lines: &[String]) {
        let rows = lines.iter().map(|line| {
            let cells: Vec<&str> = line.split(' ').collect();
            let of = cells.get(4).unwrap_or(&cells[0]);
            let (kind, amount) = (cells.get(2).unwrap_or(&"payment"), cells.get(3).unwrap_or(&"150000.00"));
            let (flow, payment) = match *of {
                "nokey" => (String::new(), String::new()),
                "badkey" => ("a b".to_owned(), "a b".to_owned()),
                of => (id(of, "flow"), id(of, "payment")),
            };
            format!(
                "{},{},{amount},{kind},{},2026-02-20T10:00:00Z,{flow},{payment}\n",
                cells[0],
                id(of, "reference"),
                cells[1]
            )
        });
        let rows: String = rows.collect();
        self.house.ledger(&format!(
            "id,reference,amount,kind,state,booked_at,flow,payment\n{rows}"
        ));
    }

    fn key(&self, name: &str) -> String {
        id(name, if self.api == Api::V3 { "payment" } else { "flow" })
    }

    fn knows(&self, name: &str, answers: Vec<Answer>) {
        self.answers.lock().unwrap().insert(self.key(name), answers);
    }

    fn asked(&self) -> Vec<String> {
        self.server
            .seen()
            .iter()
            .filter_map(|seen| key_of(self.api, seen))
            .collect()
    }

    fn logins(&self) -> usize {
        self.server.count_of(V2_TOKEN) + self.server.count_of(V3_TOKEN)
    }

    /// A payment of this generation; `change` edits the answer.
    fn payment(&self, name: &str, word: &str, change: impl FnOnce(&mut Value)) -> Answer {
        let (payment, reference) = (id(name, "payment"), id(name, "reference"));
        let money = json!({"value": "150000.00", "currency": "IDR"});
        let mut answer = match self.api {
            Api::V3 => json!({
                "responseCode": "2005500", "responseMessage": "Successful", "originalReferenceNo": payment,
                "originalPartnerReferenceNo": reference, "serviceCode": "54", "latestTransactionStatus": word,
                "transactionStatusDesc": "x", "transAmount": money, "additionalInfo": {"settlementStatus": "SETTLED"},
            }),
            _ => json!({
                "responseCode": "2003600", "responseMessage": "success", "partnerReferenceNo": reference,
                "referenceNo": payment, "amount": money,
                "additionalInfo": {"publicUserId": "TSTMER-CANARY", "remarks": "canary remark", "paymentResult": word},
            }),
        };
        change(&mut answer);
        http::json(answer.to_string())
    }

    fn paid(&self, name: &str) -> Answer {
        let word = if self.api == Api::V3 { "00" } else { "SUCCESS" };
        self.payment(name, word, |_| {})
    }

    /// `responseCode` of this generation's service.
    fn code(&self, status: u16, case: &str) -> String {
        format!("{status}{}{case}", if self.api == Api::V3 { "55" } else { "36" })
    }
}

fn refusal(http: u16, code: &str) -> Answer {
    status(http, format!(r#"{{"responseCode":"{code}","responseMessage":"m"}}"#))
}

fn public_key(private: &str) -> Vec<u8> {
    use std::io::Write;
    let mut openssl = Command::new("openssl")
        .args(["rsa", "-RSAPublicKey_out", "-outform", "DER"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    openssl.stdin.take().unwrap().write_all(private.as_bytes()).unwrap();
    let done = openssl.wait_with_output().unwrap();
    assert!(done.status.success());
    done.stdout
}

fn key_of(api: Api, seen: &Seen) -> Option<String> {
    match (api, seen.path()) {
        (Api::V2, V2_STATUS) => seen.query("XExternalId").map(str::to_owned),
        (Api::Bindings, V2_BINDING) => seen.header("x-external-id").map(str::to_owned),
        (Api::V3, V3_STATUS) => {
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            body["originalReferenceNo"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

/// The provider's side.
struct Desk {
    api: Api,
    public: Vec<u8>,
    known: Arc<Mutex<Answers>>,
    valid: Arc<Mutex<usize>>,
    opened: Mutex<usize>,
}

impl Desk {
    fn answer(&self, seen: &Seen) -> Answer {
        let header = |name: &str| seen.header(name).unwrap_or_default().to_owned();
        let at = header("x-timestamp");
        assert!((24..=27).contains(&at.len()), "{at}");
        assert_eq!(header("accept").len(), 16);
        assert!(seen.body.is_empty() || header("content-type") == "application/json");
        let token_path = if self.api == Api::V3 { V3_TOKEN } else { V2_TOKEN };
        if seen.path() == token_path {
            assert_eq!(
                seen.body,
                br#"{"grantType":"client_credentials","additionalInfo":{"merchantId":"TSTMER"}}"#
            );
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public);
            let signature = hex::decode(header("x-signature")).unwrap();
            let message = format!("{}|{at}", header("x-client-key"));
            if key.verify(message.as_bytes(), &signature).is_err() {
                return refusal(401, "4011000");
            }
            let mut opened = self.opened.lock().unwrap();
            *opened += 1;
            return http::json(format!(
                r#"{{"responseCode":"2001000","accessToken":"{opened:032}","expiresIn":3599}}"#
            ));
        }
        let token = header("authorization").strip_prefix("Bearer ").unwrap().to_owned();
        let body = hex::encode(Sha256::digest(&seen.body));
        let line = format!("{}:{}:{token}:{body}:{at}", seen.method, seen.path());
        let mut mac = Hmac::<Sha512>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(line.as_bytes());
        if header("x-signature") != hex::encode(mac.finalize().into_bytes()) {
            return refusal(401, "4013600");
        }
        let alphanumeric = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
        assert!(header("x-external-id").len() == 32 && alphanumeric(&header("x-external-id")));
        assert_eq!(
            (header("x-partner-id"), header("channel-id")),
            ("TSTMER".into(), "95221".into())
        );
        assert_eq!(seen.header("x-client-key").is_some(), self.api != Api::V3);
        if token.parse::<usize>().unwrap() < *self.valid.lock().unwrap() {
            return refusal(401, "4013601");
        }
        let key = key_of(self.api, seen).unwrap_or_else(|| panic!("no call of this generation: {}", seen.target));
        let mut known = self.known.lock().unwrap();
        match known.get_mut(&key) {
            None if self.api == Api::V3 => refusal(404, "4045501"),
            None => refusal(404, "4043601"),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        }
    }
}

const BOTH: [Api; 2] = [Api::V2, Api::V3];

/// In generation 2 the code of an unknown payment is a matter of agreement.
fn agreed(api: Api) -> &'static str {
    match api {
        Api::V3 => "",
        _ => "not_found_codes = [\"4043601\"]",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_section_7_says_no_more_than_it_means_in_both_generations() {
    for api in BOTH {
        let room = Room::new(api, agreed(api)).await;
        let mixed = Room {
            api: if api == Api::V3 { Api::V2 } else { Api::V3 },
            ..Room::new(api, "").await
        };
        let refused = |http, case: &str| refusal(http, &room.code(http, case));
        let lookup_failed = [
            ("f-202", refused(202, "00")),
            ("f-40000", refused(400, "00")),
            ("f-40001", refused(400, "01")),
            ("f-40002", refused(400, "02")),
            ("f-403", refused(403, "00")),
            ("f-card", refusal(403, "4033318")),
            ("f-config", refusal(403, "4033320")),
            ("f-404", refusal(404, "4040099")),
            ("f-404html", status(404, "<html>")),
            ("f-500", refusal(500, "4045501")),
            ("f-200", http::json(r#"{"responseCode":"5000000"}"#)),
            ("f-nocode", http::json(r#"{"x":1}"#)),
            ("f-other", room.paid("another")),
            ("f-mixed", mixed.paid("f-mixed")),
            (
                "f-empty",
                http::json(format!(r#"{{"responseCode":"{}"}}"#, room.code(200, "00"))),
            ),
        ];
        let passing = [
            ("p-409", refused(409, "00")),
            ("p-429", with(refused(429, "00"), "retry-after", "0")),
            ("p-504", status(504, "<html>")),
            ("p-html", http::json("<html>")),
            ("p-cut", http::json(r#"{"responseCode":"2003"#)),
            (
                "p-broken",
                Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_vec()),
            ),
            (
                "p-slow",
                Answer::After(Duration::from_secs(4), Box::new(http::json("{}"))),
            ),
            ("p-token", refused(401, "01")),
        ];
        // What is beyond doubt between two doubts: so it is not the provider as a whole.
        let mut lines: Vec<String> = Vec::new();
        for (name, answer) in &passing {
            room.knows(name, vec![answer.clone(), room.paid(name)]);
            lines.push(format!("{name} paid"));
        }
        for (name, answer) in &lookup_failed {
            room.knows(name, vec![answer.clone()]);
            lines.push(format!("{name} paid"));
        }
        lines.extend(["unknown paid", "nokey paid", "badkey paid"].map(str::to_owned));
        room.ledger(&lines);
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, 75, "{api:?}: {}", night.stderr);
        let said = "15 of 24 keys of payments had no usable answer";
        assert!(night.last_line().contains(said), "{api:?}: {}", night.last_line());
        let mut wanted: Vec<String> = lookup_failed
            .iter()
            .map(|(name, _)| format!("{name} lookup_failed"))
            .collect();
        wanted.extend(
            [
                "badkey not_checkable",
                "nokey not_checkable",
                "unknown missing_in_provider",
            ]
            .map(str::to_owned),
        );
        wanted.sort();
        assert_eq!(room.house.found(), wanted, "{api:?}");
        let wanted: Vec<&str> = [
            "p-409", "p-429", "p-504", "p-broken", "p-cut", "p-html", "p-slow", "p-token",
        ]
        .to_vec();
        assert_eq!(room.house.matched(), wanted, "{api:?}");
        assert_eq!(room.logins(), 2, "{api:?}");
        assert!(room.house.mail().contains("Not provable"));
        assert_eq!(room.house.places_of(&PRIVATE), Vec::<String>::new(), "{api:?}");
        // The same night again asks about these keys and no other.
        for (name, _) in &lookup_failed {
            room.knows(name, vec![room.paid(name)]);
        }
        let requests = room.server.count();
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, 0, "{api:?}: {}", night.stderr);
        assert_eq!(room.server.count(), requests + lookup_failed.len() + 1, "{api:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_settlement_and_refund_of_section_6_is_compared_in_both_generations() {
    for api in BOTH {
        let room = Room::new(api, agreed(api)).await;
        let v3 = api == Api::V3;
        let (paid, failed) = if v3 { ("00", "06") } else { ("SUCCESS", "FAILED") };
        let open: &[&str] = if v3 {
            &["01", "02", "03"]
        } else {
            &[
                "INITIATED",
                "PROCESSING",
                "PENDING_USER_VERIFICATION",
                "PENDING_USER_VERIFICATION WITH URL",
                "PENDING_USER_VERIFICATION_WITH_URL",
                "TIMEOUT",
            ]
        };
        let unknown: &[&str] = if v3 {
            &["04", "05", "07", "SUCCESS"]
        } else {
            &["REVERSED", "00"]
        };
        let mut lines: Vec<String> = Vec::new();
        let mut say = |name: &str, state: &str, answer: Answer| {
            room.knows(name, vec![answer]);
            lines.push(format!("{name} {state}"));
        };
        for (place, word) in open.iter().enumerate() {
            say(
                &format!("o{place}"),
                "paid",
                room.payment(&format!("o{place}"), word, |_| {}),
            );
        }
        for (place, word) in unknown.iter().enumerate() {
            say(
                &format!("u{place}"),
                "paid",
                room.payment(&format!("u{place}"), word, |_| {}),
            );
        }
        say("paid", "paid", room.payment("paid", &paid.to_lowercase(), |_| {}));
        say("failed", "paid", room.payment("failed", failed, |_| {}));
        say("late", "failed", room.payment("late", paid, |_| {}));
        let money = if v3 { "transAmount" } else { "amount" };
        say(
            "whole",
            "paid",
            room.payment("whole", paid, |a| a[money]["value"] = "150000".into()),
        );
        say(
            "short",
            "paid",
            room.payment("short", paid, |a| a[money]["value"] = "149999.00".into()),
        );
        say(
            "dollars",
            "paid",
            room.payment("dollars", paid, |a| a[money]["currency"] = "USD".into()),
        );
        say(
            "number",
            "paid",
            room.payment("number", paid, |a| a[money]["value"] = 150_000.into()),
        );
        say(
            "mock",
            "paid",
            room.payment("mock", paid, |a| a["responseCode"] = "2003330".into()),
        );
        let settled = |name: &str, word: &str| {
            room.payment(name, paid, |a| a["additionalInfo"]["settlementStatus"] = word.into())
        };
        say("settled", "paid", settled("settled", "SETTLED"));
        say("back", "paid", settled("back", "REFUNDED"));
        for name in ["part", "all", "unbooked"] {
            say(name, "paid", settled(name, "PARTIALLY REFUNDED"));
        }
        say("only", "paid", settled("only", "SETTLED"));
        say("held", "paid", settled("held", "ON HOLD"));
        lines.push("back-refund paid refund 150000.00 back".into());
        lines.push("part-refund paid refund 50000.00 part".into());
        // All of it is no part.
        lines.push("all-refund paid refund 150000.00 all".into());
        lines.push("only-refund paid refund 150000.00 only".into());
        room.ledger(&lines);
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, 0, "{api:?}: {}", night.stderr);
        assert_eq!(
            room.house.matched(),
            [
                "all",
                "back",
                "back-refund",
                "mock",
                "only",
                "paid",
                "part",
                "part-refund",
                "settled",
                "unbooked",
                "whole"
            ],
            "{api:?}"
        );
        let mut wanted: Vec<String> = (0..open.len())
            .map(|place| format!("o{place} status_mismatch"))
            .collect();
        wanted.extend((0..unknown.len()).map(|place| format!("u{place} unclassified")));
        wanted.extend(
            [
                "failed status_mismatch",
                "late status_mismatch",
                "short amount_mismatch",
                "only-refund missing_in_provider",
                "all-refund unclassified",
                "dollars currency_mismatch",
                "held unclassified",
                "- unclassified",
                "- unreadable",
            ]
            .map(str::to_owned),
        );
        wanted.sort();
        assert_eq!(room.house.found(), wanted, "{api:?}");
        let mail = room.house.mail();
        for words in ["another service than the one asked", "refunded in part"] {
            assert_eq!(mail.matches(words).count(), 1, "{api:?}: {mail}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_refunds_of_one_payment_are_no_duplicates_of_each_other() {
    for api in BOTH {
        let room = Room::new(api, agreed(api)).await;
        let paid = if api == Api::V3 { "00" } else { "SUCCESS" };
        let mut lines: Vec<String> = Vec::new();
        let mut say = |name: &str, state: &str, refunds: &[(&str, &str)]| {
            let refund = |a: &mut Value| a["additionalInfo"]["settlementStatus"] = state.into();
            room.knows(name, vec![room.payment(name, paid, refund)]);
            lines.push(format!("{name} paid"));
            lines.extend(
                refunds
                    .iter()
                    .map(|(id, amount)| format!("{name}-{id} paid refund {amount} {name}")),
            );
        };
        let part = "PARTIALLY REFUNDED";
        say(
            "parts",
            part,
            &[("1", "50000.00"), ("2", "30000.00"), ("3", "20000.00")],
        );
        say("twice", part, &[("1", "50000.00"), ("2", "50000.00")]);
        say("more", part, &[("1", "90000.00"), ("2", "80000.00")]);
        // All of it is more than the provider says.
        say("rest", part, &[("1", "90000.00"), ("2", "60000.00")]);
        say("whole", "REFUNDED", &[("1", "100000.00"), ("2", "50000.00")]);
        say("halves", "REFUNDED", &[("1", "75000.00"), ("2", "75000.00")]);
        say("short", "REFUNDED", &[("1", "90000.00"), ("2", "50000.00")]);
        room.ledger(&lines);
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, 0, "{api:?}: {}", night.stderr);
        assert_eq!(
            room.house.found(),
            [
                "more-2 duplicate_in_ledger",
                "rest-2 missing_in_provider",
                "short-1 amount_mismatch",
                "twice-2 duplicate_in_ledger",
            ],
            "{api:?}"
        );
        let mut matched = room.house.matched();
        matched.retain(|id| id.contains('-'));
        assert_eq!(
            matched,
            [
                "halves-1", "halves-2", "more-1", "parts-1", "parts-2", "parts-3", "rest-1", "twice-1", "whole-1",
                "whole-2"
            ],
            "{api:?}"
        );
        assert_eq!(
            room.house.texts(
                "SELECT ledger_amount || ' ' || provider_amount || ' ' || difference || ': ' || what_differs || ': ' || detail
                   FROM discrepancies WHERE kind = 'amount_mismatch'"
            ),
            [
                "-140000.00 -150000.00 -10000.00: amounts: -90000.00 + -50000.00 -> -150000.00: the provider shows -150000.00 IDR \
                 as `REFUNDED`, the ledger has 2 entries that come to -140000.00 IDR"
            ],
            "{api:?}"
        );
        let again = room.house.night(NIGHT);
        assert_eq!(again.code, 0, "{api:?}: {}", again.stderr);
        assert_eq!(room.house.found().len(), 4, "{api:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_line_cannot_be_read_any_more_is_recognised_by_its_key() {
    for api in BOTH {
        let room = Room::new(api, agreed(api)).await;
        let paid = if api == Api::V3 { "00" } else { "SUCCESS" };
        let names = ["stays", "known", "gone"];
        for name in names {
            room.knows(name, vec![room.payment(name, paid, |_| ())]);
        }
        let ledger = |rows: &[(&str, String)]| {
            let head = "id,reference,amount,kind,state,booked_at,flow,payment\n".to_owned();
            let rows = rows.iter().map(|(name, reference)| {
                let (flow, payment) = (id(name, "flow"), id(name, "payment"));
                format!("{name},{reference},150000.00,payment,paid,2026-02-20T10:00:00Z,{flow},{payment}\n")
            });
            room.house.ledger(&(head + &rows.collect::<String>()));
        };
        ledger(&names.map(|name| (name, id(name, "reference"))));
        let first = room.house.night(NIGHT);
        assert_eq!(first.code, 0, "{api:?}: {}", first.stderr);
        assert_eq!(room.house.matched(), ["gone", "known", "stays"], "{api:?}");
        ledger(&[("stays", id("stays", "reference")), ("known", String::new())]);
        let second = room.house.night(NEXT_NIGHT);
        assert_eq!(second.code, 0, "{api:?}: {}", second.stderr);
        let missing = room
            .house
            .texts("SELECT provider_id FROM discrepancies WHERE kind = 'missing_in_ledger'");
        assert_eq!(missing, [id("gone", "payment")], "{api:?}");
        assert_eq!(
            room.house.texts("SELECT becomes_kind FROM pending_items"),
            ["missing_in_ledger"],
            "{api:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_the_job_names_its_class_and_what_to_do() {
    for api in BOTH {
        let lines = vec!["a paid".to_owned(), "b paid".to_owned()];
        let of = |room: &Room, change: fn(&mut Value)| {
            let word = if api == Api::V3 { "00" } else { "SUCCESS" };
            for name in ["a", "b"] {
                room.knows(name, vec![room.payment(name, word, change)]);
            }
        };
        let hundredfold = Room::new(api, agreed(api)).await;
        let money = |a: &mut Value| {
            let key = if a["transAmount"].is_null() {
                "amount"
            } else {
                "transAmount"
            };
            a[key]["value"] = "15000000.00".into();
        };
        of(&hundredfold, money);
        let redirected = Room::new(api, agreed(api)).await;
        redirected.knows("a", vec![with(status(307, ""), "location", "http://127.0.0.1:1/")]);
        let secret = Room::new(api, agreed(api)).await;
        secret.house.write("client.secret", "another");
        let key = Room::new(api, agreed(api)).await;
        key.house.write("key.secret", &rsa_key());
        let patient = Room::new(api, agreed(api)).await;
        patient.knows("a", vec![with(refusal(429, "4293600"), "retry-after", "7200")]);
        let short = Room::new(api, agreed(api)).await;
        short.house.write("key.secret", "no key");
        for (room, code, words) in [
            (hundredfold, 78, "unit misconfigured"),
            (redirected, 76, "redirect (307)"),
            (secret, 77, "client_secret"),
            (key, 77, "private_key"),
            (patient, 75, "429"),
            (short, 78, "private_key"),
        ] {
            room.ledger(&lines);
            let night = room.house.night(NIGHT);
            assert_eq!(night.code, code, "{api:?} {words}: {}", night.stderr);
            assert!(night.last_line().contains(words), "{api:?}: {}", night.last_line());
            assert!(room.server.count() <= 8, "{api:?} {words}: {}", room.server.count());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_references_are_not_the_providers_is_a_matter_of_the_settings() {
    for api in BOTH {
        let room = Room::new(api, agreed(api)).await;
        let names: Vec<String> = (0..7).map(|i| format!("n{i}")).collect();
        let lines: Vec<String> = names.iter().map(|name| format!("{name} paid")).collect();
        room.ledger(&lines);
        let key = if api == Api::V3 {
            "originalPartnerReferenceNo"
        } else {
            "partnerReferenceNo"
        };
        for name in &names {
            let word = if api == Api::V3 { "00" } else { "SUCCESS" };
            room.knows(name, vec![room.payment(name, word, |a| a[key] = "ORDER-1".into())]);
        }
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, 78, "{api:?}: {}", night.stderr);
        assert!(
            night.last_line().contains("partnerReferenceNo"),
            "{}",
            night.last_line()
        );
        assert!(room.house.matched().is_empty());
    }
}
