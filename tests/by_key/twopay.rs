//! TwoPay: a server that knows the document's sections 2, 4 and 7.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::house::{House, NEXT_NIGHT, NIGHT};
use crate::http::{Answer, Seen, Server, json, status, with};

const SECRET: &str = "canary-client-secret";
const API_KEY: &str = "canary-api-key";

/// What a person's data looks like in an answer.
const PERSON: [&str; 8] = [
    "Canary Persona",
    "3001239999",
    "canary@example.org",
    "1020309999",
    "12345678999",
    "Calle Canary",
    "canary remark",
    "canary-session",
];

/// Answers to a key, one after the other; the last one stays.
type Answers = BTreeMap<String, Vec<Answer>>;

struct Room {
    house: House,
    server: Server,
    answers: Arc<Mutex<Answers>>,
    /// Sessions opened before it are refused.
    session: Arc<Mutex<usize>>,
}

/// A record as section 4 shows it.
fn record(key: &str, more: &str) -> Answer {
    json(format!(
        r#"{{"code":200,"message":"SUCCESS","data":{{"uniqueKey":"{key}","country":"CO","name":"Canary Persona",
        "phone":"3001239999","email":"canary@example.org","document":"1020309999","documentType":"CC","bankCode":"1007",
        "bankAccount":"12345678999","address":"Calle Canary 10","remarks":"canary remark","errorMessage":"",
        "errorCode":"",{more}}}}}"#
    ))
}

fn paid(key: &str, amount: &str) -> Answer {
    record(key, &format!(r#""status":"SUCCESS","amount":"{amount}""#))
}

fn refusal(message: &str) -> Answer {
    json(format!(r#"{{"code":401,"message":"{message}","data":null}}"#))
}

impl Room {
    async fn new(more: &str) -> Self {
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let session = Arc::new(Mutex::new(0));
        let (known, valid, opened) = (Arc::clone(&answers), Arc::clone(&session), Mutex::new(0));
        let server = Server::start(move |seen| answer(seen, &known, &valid, &opened)).await;
        let provider = format!(
            "kind = \"twopay\"\nbase_url = \"{}\"\nclient_id = \"54\"\nclient_secret = \"file:client.secret\"\n\
             api_key = \"file:api.secret\"\nrequests_per_second = 1000\n{more}",
            server.url().as_str().trim_end_matches('/')
        );
        let ledger = "currency_default = \"COP\"\n[ledger.columns]\nledger_id = \"id\"\nreference = \"key\"\namount = \"amount\"\n\
                      direction = \"kind\"\nstatus = \"state\"\nbooked_at = \"booked_at\"\n[ledger.direction]\n\
                      in = [\"payin\"]\nout = [\"payout\"]";
        let house = House::new(
            provider.as_str(),
            ledger,
            &[("client.secret", SECRET), ("api.secret", API_KEY)],
        );
        Self {
            house,
            server,
            answers,
            session,
        }
    }

    /// The ledger, each line `id key amount kind state`, all booked on one day.
    fn ledger(&self, lines: &[&str]) {
        let rows = lines.iter().map(|line| {
            let cells: Vec<&str> = line.split(' ').collect();
            format!("{},2026-02-20T10:00:00Z\n", cells.join(","))
        });
        let rows: String = rows.collect();
        self.house
            .ledger(&format!("id,key,amount,kind,state,booked_at\n{rows}"));
    }

    fn knows(&self, key: &str, answers: Vec<Answer>) {
        self.answers.lock().unwrap().insert(key.to_owned(), answers);
    }

    fn asked(&self) -> Vec<String> {
        let seen = self.server.seen();
        let keys = seen.iter().filter(|seen| seen.method == "GET");
        keys.map(|seen| seen.path().rsplit('/').next().unwrap().to_owned())
            .collect()
    }

    fn logins(&self) -> usize {
        self.server.count_of("/co/v1/oauth2/token")
    }
}

fn answer(seen: &Seen, known: &Mutex<Answers>, valid: &Mutex<usize>, opened: &Mutex<usize>) -> Answer {
    if seen.path() == "/co/v1/oauth2/token" {
        let wanted = format!(r#"{{"client_id":"54","client_secret":"{SECRET}"}}"#);
        assert_eq!(
            (seen.method.as_str(), String::from_utf8_lossy(&seen.body)),
            ("POST", wanted.into())
        );
        if let Some(broken) = known.lock().unwrap().get_mut("login").and_then(Vec::pop) {
            return broken;
        }
        let mut opened = opened.lock().unwrap();
        *opened += 1;
        return json(format!(
            r#"{{"code":200,"message":"SUCCESS","data":{{"access_token":"canary-session-{opened}","expires_in":7200,"token_type":"Bearer"}}}}"#
        ));
    }
    assert_eq!(
        (seen.method.as_str(), seen.body.len(), seen.query("")),
        ("GET", 0, None)
    );
    let session = seen
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer canary-session-"));
    let session: usize = session.expect("a bearer token").parse().unwrap();
    if seen.header("x-api-key") != Some(API_KEY) || session < *valid.lock().unwrap() {
        return refusal("token or key refused");
    }
    let key = seen.path().rsplit('/').next().unwrap();
    let mut known = known.lock().unwrap();
    match known.get_mut(key) {
        None => refusal("Order does not exist"),
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0].clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_section_7_says_no_more_than_it_means() {
    let room = Room::new("not_found_patterns = [\"does not exist\"]").await;
    let lookup_failed = [
        ("l-401", refusal("Canary Persona is refused")),
        ("l-http401", status(401, r#"{"code":401}"#)),
        ("l-http401-empty", status(401, "")),
        ("l-400", status(400, r#"{"code":401}"#)),
        ("l-404", status(404, "<html>no</html>")),
        ("l-code", json(r#"{"code":500,"message":"x"}"#)),
        ("l-nocode", json(r#"{"message":"SUCCESS"}"#)),
        ("l-nodata", json(r#"{"code":200,"message":"SUCCESS","data":null}"#)),
        ("l-other", paid("another", "100")),
        ("l-500", status(500, r#"{"code":401,"message":"does not exist"}"#)),
    ];
    let passing = [
        ("b-500", status(503, "<html>")),
        ("b-429", with(status(429, "{}"), "retry-after", "0")),
        ("b-html", json("<html>")),
        ("b-empty", json("")),
        ("b-cut", json(r#"{"code":200,"data":{"uniqueK"#)),
        (
            "b-broken",
            Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"code\"".to_vec()),
        ),
        ("b-slow", Answer::After(Duration::from_secs(4), Box::new(json("{}")))),
    ];
    let mut lines: Vec<String> = Vec::new();
    for (key, answer) in &lookup_failed {
        room.knows(key, vec![answer.clone()]);
        lines.push(format!("{key} {key} 100.00 payin paid"));
    }
    for (key, answer) in &passing {
        room.knows(key, vec![answer.clone(), paid(key, "100")]);
        lines.push(format!("{key} {key} 100.00 payin paid"));
    }
    lines.push("unknown unknown 100.00 payout paid".into());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    room.ledger(&lines);
    let night = room.house.night(NIGHT);
    assert_eq!(night.code, 75, "{}", night.stderr);
    let last = night.last_line();
    for words in [
        "10 of 17 keys of payins had no usable answer",
        "The next run asks them again",
        "PARTIAL 75",
    ] {
        assert!(last.contains(words), "{last}");
    }
    let mut wanted: Vec<String> = lookup_failed
        .iter()
        .map(|(key, _)| format!("{key} lookup_failed"))
        .collect();
    wanted.push("unknown missing_in_provider".into());
    wanted.sort();
    assert_eq!(room.house.found(), wanted);
    let mut wanted: Vec<&str> = passing.iter().map(|(key, _)| *key).collect();
    wanted.sort_unstable();
    assert_eq!(room.house.matched(), wanted);
    assert!(room.house.detail("l-other").contains("another `uniqueKey`"));
    // One renewal that changed nothing is enough for a while: not every refused key costs a login.
    assert!(room.logins() <= 3, "{}", room.logins());
    let mail = room.house.mail();
    for words in ["[reconciled] INCOMPLETE", "10 of 17 keys of payins", "Not provable"] {
        assert!(mail.contains(words), "{mail}");
    }
    let mut words = PERSON.to_vec();
    words.extend([SECRET, API_KEY]);
    assert_eq!(room.house.places_of(&words), Vec::<String>::new());
    // The same night again asks about these keys and no other.
    for (key, _) in &lookup_failed {
        room.knows(key, vec![paid(key, "100")]);
    }
    let requests = room.server.count();
    let night = room.house.night(NIGHT);
    assert_eq!(night.code, 0, "{}", night.stderr);
    assert_eq!(room.server.count(), requests + lookup_failed.len() + 1);
    assert_eq!(room.house.found(), ["unknown missing_in_provider"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_and_amount_of_sections_5_and_6_is_read_or_put_aside() {
    let room = Room::new("status_overrides = { BOUNCED = \"not_moved\" }").await;
    let answers = [
        ("m-whole", r#""status":"SUCCESS","amount":"100""#, "payin", "paid"),
        ("m-cents", r#""status":"SUCCESS","amount":"100.0""#, "payout", "paid"),
        ("m-case", r#""status":"success","amount":"100.00""#, "payin", "paid"),
        (
            "m-nulls",
            r#""status":"SUCCESS","amount":"100","cashCode":null,"pseUrl":null"#,
            "payin",
            "paid",
        ),
        ("o-open", r#""status":"IN_PROGRESS","amount":"100""#, "payin", "pending"),
        ("d-amount", r#""status":"SUCCESS","amount":"101""#, "payout", "paid"),
        ("d-failed", r#""status":"FAILED","amount":"100""#, "payin", "paid"),
        ("d-notfailed", r#""status":"SUCCESS","amount":"100""#, "payin", "failed"),
        ("d-settled", r#""status":"IN_PROGRESS","amount":"100""#, "payin", "paid"),
        ("d-bounced", r#""status":"BOUNCED","amount":"100""#, "payout", "paid"),
        ("u-word", r#""status":"REVERSED","amount":"100""#, "payin", "paid"),
        ("u-none", r#""amount":"100""#, "payin", "paid"),
        ("x-thousand", r#""status":"SUCCESS","amount":"1,000""#, "payin", "paid"),
        ("x-exponent", r#""status":"SUCCESS","amount":"1e2""#, "payin", "paid"),
        ("x-number", r#""status":"SUCCESS","amount":100"#, "payin", "paid"),
        (
            "x-country",
            r#""status":"SUCCESS","amount":"100","country":"PE""#,
            "payin",
            "paid",
        ),
    ];
    let mut lines = Vec::new();
    for (key, data, kind, state) in answers {
        let body = data.contains("country");
        let answer = if body {
            json(format!(r#"{{"code":200,"data":{{"uniqueKey":"{key}",{data}}}}}"#))
        } else {
            record(key, data)
        };
        room.knows(key, vec![answer]);
        lines.push(format!("{key} {key} 100.00 {kind} {state}"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    room.ledger(&lines);
    let night = room.house.night(NIGHT);
    assert_eq!(night.code, 0, "{}", night.stderr);
    assert_eq!(room.house.matched(), ["m-case", "m-cents", "m-nulls", "m-whole"]);
    let mut found = room.house.found();
    found.retain(|one| !one.starts_with("- "));
    assert_eq!(
        found,
        [
            "d-amount amount_mismatch",
            "d-bounced status_mismatch",
            "d-failed status_mismatch",
            "d-notfailed status_mismatch",
            "d-settled status_mismatch",
            "u-none unclassified",
            "u-word unclassified",
        ]
    );
    let aside = room.house.texts("SELECT place FROM unreadable_rows ORDER BY 1");
    assert_eq!(aside, ["data.amount", "data.amount", "data.amount", "data.country"]);
    // What is noticed about answers reaches the mail once, not once for each key.
    let mail = room.house.mail();
    for words in ["no status in answers about payins", "another case than the document's"] {
        assert_eq!(mail.matches(words).count(), 1, "{mail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_the_job_names_its_class_and_what_to_do() {
    let lines = ["a a 100.00 payin paid", "b b 200.00 payin paid"];
    let paid_both = |amounts: [&str; 2]| vec![("a", vec![paid("a", amounts[0])]), ("b", vec![paid("b", amounts[1])])];
    for (more, answers, code, words) in [
        ("", paid_both(["10000", "20000"]), 78, "unit misconfigured"),
        (
            "amount_unit = \"centavo\"",
            paid_both(["100.5", "200.5"]),
            78,
            "amount_unit",
        ),
        (
            "",
            vec![("a", vec![with(status(302, ""), "location", "http://127.0.0.1:1/")])],
            76,
            "redirect (302)",
        ),
        ("", vec![("a", vec![status(403, "")])], 77, "403"),
        (
            "auth_patterns = [\"expired\"]",
            vec![("a", vec![refusal("Token EXPIRED")])],
            77,
            "auth_patterns",
        ),
        (
            "",
            vec![("a", vec![with(status(429, ""), "retry-after", "7200")])],
            75,
            "429",
        ),
    ] {
        let room = Room::new(more).await;
        room.ledger(&lines);
        for (key, answers) in answers {
            room.knows(key, answers);
        }
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, code, "{words}: {}", night.stderr);
        assert!(night.last_line().contains(words), "{}", night.last_line());
        assert!(
            !room.house.found().iter().any(|one| one.contains("mismatch")),
            "{words}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_stops_after_five_refusals_and_nothing_counts_as_missing() {
    let room = Room::new("not_found_patterns = [\"does not exist\"]").await;
    room.house.write("api.secret", "another-key");
    let lines: Vec<String> = (0..9).map(|i| format!("{i} k{i} 1.00 payin paid")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    room.ledger(&lines);
    let night = room.house.night(NIGHT);
    assert_eq!(night.code, 77, "{}", night.stderr);
    // The first is asked about twice; those under way beside the fifth are heard to their end.
    assert!(room.asked().len() <= 5 + 2 * 4, "{:?}", room.asked());
    assert!(room.house.found().iter().all(|one| one.ends_with("lookup_failed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_in_the_middle_is_renewed_once_for_all() {
    let room = Room::new("recheck_final_days = 60").await;
    let keys: Vec<String> = (0..20).map(|i| format!("k{i:02}")).collect();
    let lines: Vec<String> = keys.iter().map(|key| format!("{key} {key} 1.00 payin paid")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    room.ledger(&lines);
    for key in &keys {
        room.knows(key, vec![paid(key, "1")]);
    }
    room.house.night(NIGHT);
    assert_eq!((room.logins(), room.asked().len()), (1, 20));
    // From now on the provider only takes the third session: the second, opened by the next night, ends at once.
    *room.session.lock().unwrap() = 3;
    let night = room.house.night(NEXT_NIGHT);
    assert_eq!((night.code, room.logins()), (0, 3), "{}", night.stderr);
    assert_eq!(room.house.found(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_are_kept_apart_and_what_they_leave_unexplained_is_said() {
    let balances =
        "payin_balance_path = \"/co/v1/payment/balance-in\"\npayout_balance_path = \"/co/v1/payout/balance-out\"";
    let room = Room::new(balances).await;
    let stated = |value: &str| vec![json(format!(r#"{{"code":200,"data":{{"balance":{value}}}}}"#))];
    room.ledger(&["i i 100.00 payin pending", "o o 40.00 payout pending"]);
    room.knows("i", vec![record("i", r#""status":"IN_PROGRESS","amount":"100""#)]);
    room.knows("o", vec![record("o", r#""status":"IN_PROGRESS","amount":"40""#)]);
    room.knows("balance-in", stated("\"1000\""));
    room.knows("balance-out", stated("5000.00"));
    assert_eq!(room.house.night(NIGHT).code, 0);
    room.ledger(&["i i 100.00 payin paid", "o o 40.00 payout paid"]);
    room.knows("i", vec![paid("i", "100")]);
    room.knows("o", vec![paid("o", "40")]);
    room.knows("balance-in", stated("\"1175.50\""));
    room.knows("balance-out", stated("4960"));
    let night = room.house.night(NEXT_NIGHT);
    assert_eq!(night.code, 0, "{}", night.stderr);
    let lines = room
        .house
        .texts("SELECT account || ' ' || line || ' ' || amount FROM v_statement WHERE line = 'residual' ORDER BY 1");
    assert_eq!(lines, ["payin residual 75.50", "payout residual 0.00"]);
    assert_eq!(room.house.found(), Vec::<String>::new(), "advice, no discrepancy");
    let mail = room.house.mail();
    assert!(
        mail.contains("not explained 75.50") && mail.contains("only hint"),
        "{mail}"
    );
    // A path that is a lookup of the key `balance`.
    room.knows("balance-in", vec![record("balance-in", r#""status":"FAILED""#)]);
    let night = room.house.night("2026-03-06T20:00:00Z");
    assert!(
        night.code == 78 && night.last_line().contains("payin_balance_path"),
        "{}",
        night.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_killed_anywhere_asks_about_no_settled_key_twice_in_the_same_night() {
    for kill_after in [0, 1, 5, 11, 19, 20] {
        let room = Room::new("").await;
        let keys: Vec<String> = (0..20).map(|i| format!("k{i:02}")).collect();
        let lines: Vec<String> = keys.iter().map(|key| format!("{key} {key} 1.00 payin paid")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        room.ledger(&lines);
        for key in &keys {
            let slow = Answer::After(Duration::from_millis(20), Box::new(paid(key, "1")));
            room.knows(key, vec![slow]);
        }
        let mut run = room.house.start(&["run", "--as-of", NIGHT]);
        let begun = Instant::now();
        while room.asked().len() < kill_after && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        let settled = if room.house.folder.path().join("reconciled.db").exists() {
            room.house
                .texts("SELECT subject FROM windows WHERE subject <> '' AND state = 'sealed'")
        } else {
            Vec::new()
        };
        let before = room.asked().len();
        let night = room.house.night(NIGHT);
        assert_eq!(night.code, 0, "{kill_after}: {}", night.stderr);
        let after = room.asked().split_off(before);
        assert!(
            after.iter().all(|key| !settled.contains(key)),
            "{kill_after}: {settled:?} {after:?}"
        );
        // At most what was under way when it was killed.
        assert!(
            before + after.len() <= 20 + 4,
            "{kill_after}: {before} + {}",
            after.len()
        );
        assert_eq!(
            (room.house.matched().len(), room.house.found().len()),
            (20, 0),
            "{kill_after}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_refused_with_a_token_that_was_replaced_meanwhile_is_repeated_with_the_new_one() {
    let room = Room::new("").await;
    // The first key's refusal makes a new token; that ends the old one, with which the others are still on their way.
    room.knows("unknown", vec![refusal("no such order")]);
    let mut lines = vec!["unknown unknown 900.00 payin paid".to_owned()];
    for key in ["late-a", "late-b"] {
        let late = Answer::After(Duration::from_secs(3), Box::new(refusal("token or key refused")));
        room.knows(key, vec![late, paid(key, "100")]);
        lines.push(format!("{key} {key} 100.00 payin paid"));
    }
    room.knows("first", vec![paid("first", "950")]);
    lines.push("first first 950.00 payin paid".into());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    room.ledger(&lines);
    let night = room.house.night(NIGHT);
    assert_eq!(room.house.found(), ["unknown lookup_failed"], "{}", night.stderr);
    assert_eq!(room.house.matched(), ["first", "late-a", "late-b"]);
    // One renewal for all, and each request repeated once.
    assert_eq!((room.logins(), room.server.count()), (2, 9), "{}", night.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_the_login_that_is_cut_off_is_tried_again() {
    let room = Room::new("").await;
    let cut = json(r#"{"code":200,"message":"SUCCESS","data":{"access_token":"t","expires_"#);
    room.knows("login", vec![cut.clone()]);
    room.knows("k", vec![paid("k", "1")]);
    room.ledger(&["k k 1.00 payin paid"]);
    let night = room.house.night(NIGHT);
    assert_eq!((night.code, room.logins()), (0, 2), "{}", night.stderr);
    assert_eq!(room.house.matched(), ["k"]);
    // Where it is never whole the credentials are not blamed.
    let room = Room::new("").await;
    room.knows("login", vec![cut; 99]);
    room.ledger(&["k k 1.00 payin paid"]);
    let night = room.house.night(NIGHT);
    assert_eq!(night.code, 75, "{}", night.stderr);
    assert!(
        night.last_line().contains("login: the answer to the login is cut off"),
        "{}",
        night.last_line()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_names_another_id_than_its_keys_record_has_lost_its_record() {
    let room = Room::new("not_found_patterns = [\"does not exist\"]").await;
    let job = std::fs::read_to_string(room.house.folder.path().join("jobs/job.toml")).unwrap();
    let job = job.replace("reference = ", "provider_id = \"psp\"\nreference = ");
    room.house.write("jobs/job.toml", &job);
    for key in ["own", "none", "other", "swap-a", "swap-b", "taken"] {
        room.knows(key, vec![paid(key, "1")]);
    }
    // The last two share one key: the record goes to the entry that names no other id.
    let line = |id: &str, key: &str, psp: &str| format!("{id},{key},1.00,payin,paid,2026-02-20T10:00:00Z,{psp}\n");
    let lines = [
        line("own", "own", "own"),
        line("none", "none", ""),
        line("other", "other", "ZZZ"),
        line("unknown", "unknown", "unknown"),
        line("swap-a", "swap-a", "swap-b"),
        line("swap-b", "swap-b", "swap-a"),
        line("taken-1", "taken", "YYY"),
        line("taken-2", "taken", ""),
    ];
    room.house
        .ledger(&format!("id,key,amount,kind,state,booked_at,psp\n{}", lines.concat()));
    let night = room.house.night(NIGHT);
    assert_eq!(night.code, 0, "{}", night.stderr);
    assert_eq!(
        room.house.matched(),
        ["none", "own", "swap-a", "swap-b", "taken-2"],
        "{:?}",
        room.house.found()
    );
    let mut lost = vec![
        "other missing_in_provider",
        "taken-1 missing_in_provider",
        "unknown missing_in_provider",
    ];
    assert_eq!(room.house.found(), lost);
    // The record is in no book once its grace is over.
    room.house.night(NEXT_NIGHT);
    lost.insert(0, "- missing_in_ledger");
    assert_eq!(room.house.found(), lost);
}
