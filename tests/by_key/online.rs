//! The providers that are asked by key, over a real socket: `ayoconnect bind-link`, `check --online`, one renewal.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const TOKEN: &str = "3d1f6b0a8c2e4975b1d0e6f7a9c84b25";
const CODE: &str = "9a7c5e3d1b8f46208e4c6a2d0f1b3957";

/// Requests as `METHOD path` with headers, in the order they came.
type Seen = Arc<Mutex<Vec<(String, Vec<String>)>>>;

/// A server on loopback that answers each request by its request line.
fn serve(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = talk(stream, &answer, &log);
        }
    });
    (port, seen)
}

fn talk(mut stream: TcpStream, answer: &impl Fn(&str) -> (u16, String), log: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let length = lines
        .iter()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let first = lines.remove(0);
    log.lock().unwrap().push((first.clone(), lines));
    let (status, text) = answer(&first);
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn house(job: &str, provider: &str) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("reconciled.toml", "");
    write(
        &format!("jobs/{job}.toml"),
        &format!("timezone = \"UTC\"\n[provider]\n{provider}\n[fetch]\nstart = 2026-01-01\n"),
    );
    write("secret", "s3cr3t-made-up");
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            "key.pem",
        ])
        .current_dir(folder.path())
        .output()
        .expect("openssl");
    assert!(made.status.success());
    folder
}

fn ayoconnect(port: u16, more: &str) -> tempfile::TempDir {
    house(
        "ayo",
        &format!(
            "kind = \"ayoconnect\"\napi_generation = \"v2\"\nbase_url = \"http://127.0.0.1:{port}\"\n\
             client_id = \"0123456789abcdef0123456789abcdef\"\nclient_secret = \"file:secret\"\n\
             private_key = \"file:key.pem\"\nmerchant_id = \"TSTMER\"\nrequests_per_second = 1000\n{more}"
        ),
    )
}

/// Exit code, stdout, stderr.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_reconciled"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

fn token() -> String {
    format!(r#"{{"responseCode":"2001000","accessToken":"{TOKEN}","expiresIn":"3600"}}"#)
}

fn state_of(first: &str) -> &str {
    let rest = first.split("&state=").nth(1).unwrap_or_default();
    rest.split('&').next().unwrap_or_default()
}

fn linked(first: &str) -> (u16, String) {
    if first.starts_with("POST /api/v1.0/access-token/b2b ") {
        return (200, token());
    }
    let state = state_of(first);
    (
        200,
        format!(r#"{{"responseCode":"2003000","authCode":"{CODE}","state":"{state}"}}"#),
    )
}

const WEBVIEW: &str = "webview_base_url = \"https://pay.example/bind?authCode=\"";

#[test]
fn a_link_is_asked_for_once_and_printed_alone_on_stdout() {
    let (port, seen) = serve(linked);
    let house = ayoconnect(port, WEBVIEW);
    let (code, out, err) = run(
        house.path(),
        &[
            "ayoconnect",
            "bind-link",
            "ayo",
            "--mobile",
            "6281234567890",
            "--lang",
            "EN",
        ],
    );
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, format!("https://pay.example/bind?authCode={CODE}\n"));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "the token and the code: {seen:?}");
    let (first, headers) = &seen[1];
    assert!(
        first.starts_with("GET /api/v1.0/get-auth-code?scopes=CARD_REGISTRATION&state="),
        "{first}"
    );
    assert_eq!(state_of(first).len(), 32);
    let header = |name: &str| {
        headers
            .iter()
            .find_map(|h| h.to_ascii_lowercase().strip_prefix(name).map(str::to_owned))
    };
    let flow = header("x-external-id: ").unwrap();
    assert!(flow.len() == 32 && err.contains(&flow), "the flow's id is told: {err}");
    assert_eq!(header("authorization: "), Some(format!("bearer {TOKEN}")));
    assert_eq!(header("x-signature: ").map(|s| s.len()), Some(128));
    assert!(!err.contains("6281234567890") && !err.contains(CODE), "{err}");
    assert!(!house.path().join("reconciled.db").exists(), "nothing is stored");
}

#[test]
fn a_wish_that_breaks_a_rule_is_refused_with_64_and_nobody_is_asked() {
    let (port, seen) = serve(linked);
    let house = ayoconnect(port, WEBVIEW);
    for (arguments, rule) in [
        (&["ayo", "--mobile", "12"][..], "--mobile"),
        (&["ayo"], "at least one of"),
        (&["ayo", "--user-id", "u", "--lang", "DE"], "--lang"),
        (&["ayo", "--user-id", "u", "--bank-code", "2"], "--bank-code"),
        (&["ayo", "--user-id", "u", "--redirect-url", "/x"], "--redirect-url"),
        (&["ayo", "--user-id", "u", "--info", "a;b"], "--info"),
        (&["other", "--user-id", "u"], "no job"),
    ] {
        let (code, out, err) = run(house.path(), &[&["ayoconnect", "bind-link"], arguments].concat());
        assert!(code == 64 && out.is_empty() && err.contains(rule), "{code} {out} {err}");
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_state_that_did_not_come_back_gives_no_link() {
    let (port, _) = serve(|first| match linked(first) {
        (status, body) if first.starts_with("GET") => (
            status,
            body.replace(state_of(first), "00000000000000000000000000000000"),
        ),
        token => token,
    });
    let house = ayoconnect(port, WEBVIEW);
    let (code, out, err) = run(house.path(), &["ayoconnect", "bind-link", "ayo", "--user-id", "u"]);
    assert!(
        code == 76 && out.is_empty() && err.contains("`state`"),
        "{code} {out} {err}"
    );
    assert!(!err.contains(CODE));
}

#[test]
fn a_request_without_an_answer_is_not_repeated_and_a_refused_token_is_renewed_once() {
    let (port, seen) = serve(|first| match linked(first) {
        (_, _) if first.starts_with("GET") => (503, String::new()),
        token => token,
    });
    let house = ayoconnect(port, WEBVIEW);
    let (code, _, err) = run(house.path(), &["ayoconnect", "bind-link", "ayo", "--user-id", "u"]);
    assert!(
        code == 69 && err.contains("not tried again") && !err.contains("next run"),
        "{code} {err}"
    );
    assert_eq!(seen.lock().unwrap().len(), 2);

    let (port, seen) = serve(|first| match linked(first) {
        (_, _) if first.starts_with("GET") => (401, r#"{"responseCode":"4013001"}"#.into()),
        token => token,
    });
    let house = ayoconnect(port, WEBVIEW);
    let (code, _, err) = run(house.path(), &["ayoconnect", "bind-link", "ayo", "--user-id", "u"]);
    assert!(code == 77 && err.contains("also with a new session"), "{code} {err}");
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[test]
fn without_a_webview_the_code_itself_is_printed() {
    let (port, _) = serve(linked);
    let house = ayoconnect(port, "");
    let (code, out, err) = run(house.path(), &["ayoconnect", "bind-link", "ayo", "--user-id", "u"]);
    assert_eq!((code, out), (0, format!("{CODE}\n")));
    assert!(err.contains("webview_base_url"), "{err}");
}

#[test]
fn a_check_online_logs_in_and_creates_nothing() {
    let (port, seen) = serve(linked);
    let house_of_ayo = ayoconnect(port, "");
    let (code, out, err) = run(house_of_ayo.path(), &["check", "--online"]);
    assert!(code == 0 && out.contains("ayoconnect: logged in"), "{out} {err}");
    assert_eq!(seen.lock().unwrap().len(), 1);

    let (port, seen) = serve(|_| {
        let token =
            r#"{"code":200,"message":"SUCCESS","data":{"access_token":"t","expires_in":7200,"token_type":"Bearer"}}"#;
        (200, token.to_owned())
    });
    let twopay = |port| {
        format!(
            "kind = \"twopay\"\nbase_url = \"http://127.0.0.1:{port}\"\nclient_id = 54\nclient_secret = \"file:secret\"\napi_key = \"file:secret\""
        )
    };
    let (code, out, err) = run(house("two", &twopay(port)).path(), &["check", "--online"]);
    assert!(code == 0 && out.contains("twopay: logged in"), "{out} {err}");
    let seen = seen.lock().unwrap();
    assert_eq!(
        (seen.len(), seen[0].0.as_str()),
        (1, "POST /co/v1/oauth2/token HTTP/1.1")
    );

    let (port, _) = serve(|_| (200, r#"{"code":401,"message":"no"}"#.to_owned()));
    let (code, _, err) = run(house("two", &twopay(port)).path(), &["check", "--online"]);
    assert!(
        code == 77 && err.contains("client_id") && !err.contains("s3cr3t"),
        "{code} {err}"
    );
}

#[test]
fn an_answer_that_may_mean_an_old_token_is_asked_for_once_more_with_a_new_one() {
    let twopay = |port| {
        format!(
            "kind = \"twopay\"\nbase_url = \"http://127.0.0.1:{port}\"\nclient_id = 54\nclient_secret = \"file:secret\"\n\
             api_key = \"file:secret\"\nrequests_per_second = 1000\npayin_balance_path = \"/co/v1/payment/balance\""
        )
    };
    // `refusals`: how many balances are refused before one is given.
    let server = |refusals: usize| {
        let left = Mutex::new(refusals);
        serve(move |first| {
            if first.starts_with("POST") {
                let token = r#"{"code":200,"data":{"access_token":"t","expires_in":7200,"token_type":"Bearer"}}"#;
                return (200, token.to_owned());
            }
            let mut left = left.lock().unwrap();
            let refused = *left > 0;
            *left = left.saturating_sub(1);
            let text = if refused {
                r#"{"code":401,"message":"failed"}"#
            } else {
                r#"{"code":200,"data":{"balance":"5"}}"#
            };
            (200, text.to_owned())
        })
    };
    for (refusals, wanted) in [(0, 0), (1, 0), (2, 76)] {
        let (port, seen) = server(refusals);
        let (code, out, err) = run(house("two", &twopay(port)).path(), &["check", "--online"]);
        assert_eq!(code, wanted, "{refusals}: {out} {err}");
        assert_eq!(
            seen.lock().unwrap().len(),
            if refusals == 0 { 2 } else { 4 },
            "{refusals}"
        );
    }
}

#[test]
fn the_rsa_signature_of_a_login_is_verified_by_an_independent_implementation() {
    let (port, seen) = serve(linked);
    let house = ayoconnect(port, "");
    assert_eq!(run(house.path(), &["check", "--online"]).0, 0);
    let seen = seen.lock().unwrap().clone();
    let header = |name: &str| {
        let of = |line: &String| {
            Some((
                line.split_once(": ")?.0.to_ascii_lowercase(),
                line.split_once(": ")?.1.to_owned(),
            ))
        };
        seen[0]
            .1
            .iter()
            .filter_map(of)
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
            .unwrap()
    };
    let (at, client) = (header("x-timestamp"), header("x-client-key"));
    assert!((24..=27).contains(&at.len()) && client.len() == 32);
    let write = |name: &str, bytes: &[u8]| std::fs::write(house.path().join(name), bytes).unwrap();
    write("signature", &hex::decode(header("x-signature")).unwrap());
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl")
            .args(arguments)
            .current_dir(house.path())
            .output()
            .unwrap();
        done.status.success()
    };
    assert!(openssl(&["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]));
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        "public.pem",
        "-signature",
        "signature",
        "message",
    ];
    write("message", format!("{client}|{at}").as_bytes());
    assert!(openssl(&verify));
    write("message", format!("{client}|{at}x").as_bytes());
    assert!(!openssl(&verify), "so the check above says something");
    // The older form of the same key signs as well.
    assert!(openssl(&["rsa", "-in", "key.pem", "-traditional", "-out", "pkcs1.pem"]));
    let pkcs1 = std::fs::read(house.path().join("pkcs1.pem")).unwrap();
    assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY"));
    write("key.pem", &pkcs1);
    assert_eq!(run(house.path(), &["check", "--online"]).0, 0);
}
