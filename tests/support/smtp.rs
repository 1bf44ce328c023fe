//! A mail server that does what its script says: per verb and per recipient replies, silence, hang-ups, TLS. It keeps what
//! it was sent, byte for byte.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the server does at one point of the conversation.
#[derive(Clone, Debug)]
pub enum Act {
    /// One or more reply lines, without line ends.
    Say(&'static str),
    /// Nothing, for ever.
    Stall,
    /// Closes the connection. After the final dot the mail has been taken: a lost 250.
    HangUp,
}

/// A server's behaviour; without a rule it accepts.
#[derive(Clone, Default)]
pub struct Script {
    /// `GREETING`, `EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` or `.` (after the message).
    pub verbs: BTreeMap<&'static str, Act>,
    /// By address; before `verbs["RCPT"]`.
    pub recipients: BTreeMap<&'static str, Act>,
    /// Lines of the EHLO answer after the name.
    pub extensions: Vec<&'static str>,
    /// Offers STARTTLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first byte instead.
    pub wrapper: bool,
    /// Messages above this many bytes meet a 552, whether it was announced or not.
    pub limit: Option<usize>,
}

impl Script {
    pub fn on(mut self, verb: &'static str, act: Act) -> Self {
        self.verbs.insert(verb, act);
        self
    }

    pub fn recipient(mut self, address: &'static str, act: Act) -> Self {
        self.recipients.insert(address, act);
        self
    }
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    /// Dot-stuffing undone, the line end before the final dot included.
    pub bytes: Vec<u8>,
    pub encrypted: bool,
}

#[derive(Default)]
struct State {
    script: Script,
    mails: Vec<Received>,
    lines: Vec<String>,
    connections: usize,
}

pub struct Sink {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Sink {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            script,
            ..State::default()
        }));
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.lock().unwrap().connections += 1;
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    // A client that hangs up ends its own conversation only.
                    let _ = serve(stream, state).await;
                });
            }
        });
        Self { port, state }
    }

    pub fn behave(&self, script: Script) {
        self.state.lock().unwrap().script = script;
    }

    pub fn mails(&self) -> Vec<Received> {
        self.state.lock().unwrap().mails.clone()
    }

    /// Every command line that arrived, in order.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

/// How a session goes on after a piece of it.
enum Next {
    Over,
    Encrypt,
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let script = state.lock().unwrap().script.clone();
    let Some(config) = script.tls.clone().filter(|_| script.wrapper) else {
        let (stream, next) = session(stream, &state, &script, true, false).await?;
        if let (Next::Encrypt, Some(config)) = (next, script.tls.clone()) {
            let encrypted = TlsAcceptor::from(config).accept(stream).await?;
            session(encrypted, &state, &script, false, true).await?;
        }
        return Ok(());
    };
    let encrypted = TlsAcceptor::from(config).accept(stream).await?;
    session(encrypted, &state, &script, true, true).await?;
    Ok(())
}

/// Does what the script says here; Err ends the connection.
async fn act<S: AsyncWrite + Unpin>(stream: &mut S, act: Option<&Act>, otherwise: &str) -> std::io::Result<bool> {
    let text = match act {
        None => otherwise,
        Some(Act::Say(text)) => text,
        Some(Act::Stall) => {
            std::future::pending::<()>().await;
            ""
        }
        Some(Act::HangUp) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
    };
    for line in text.lines() {
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    }
    stream.flush().await?;
    Ok(text.starts_with(['2', '3']))
}

async fn session<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    state: &Mutex<State>,
    script: &Script,
    greet: bool,
    encrypted: bool,
) -> std::io::Result<(S, Next)> {
    let mut stream = BufReader::new(stream);
    if greet && !act(&mut stream, script.verbs.get("GREETING"), "220 sink.example").await? {
        return Ok((stream.into_inner(), Next::Over));
    }
    let (mut from, mut to) = (String::new(), Vec::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok((stream.into_inner(), Next::Over));
        }
        let line = line.trim_end().to_owned();
        state.lock().unwrap().lines.push(line.clone());
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match verb.as_str() {
            "EHLO" => {
                let mut lines = vec!["sink.example".to_owned()];
                lines.extend(script.extensions.iter().map(|line| (*line).to_owned()));
                if script.tls.is_some() && !encrypted {
                    lines.push("STARTTLS".to_owned());
                }
                let last = lines.len() - 1;
                let answer: Vec<String> = lines
                    .iter()
                    .enumerate()
                    .map(|(n, l)| format!("250{}{l}", if n == last { ' ' } else { '-' }))
                    .collect();
                act(&mut stream, script.verbs.get("EHLO"), &answer.join("\n")).await?;
            }
            "STARTTLS" => {
                if act(&mut stream, script.verbs.get("STARTTLS"), "220 go on").await? {
                    return Ok((stream.into_inner(), Next::Encrypt));
                }
            }
            "AUTH" => drop(act(&mut stream, script.verbs.get("AUTH"), "235 welcome").await?),
            "MAIL" => {
                from = path();
                to.clear();
                act(&mut stream, script.verbs.get("MAIL"), "250 ok").await?;
            }
            "RCPT" => {
                let address = path();
                let rule = script
                    .recipients
                    .get(address.as_str())
                    .or_else(|| script.verbs.get("RCPT"));
                if act(&mut stream, rule, "250 ok").await? {
                    to.push(address);
                }
            }
            "DATA" => {
                if !act(&mut stream, script.verbs.get("DATA"), "354 go on").await? {
                    continue;
                }
                let bytes = message(&mut stream).await?;
                let too_big = Act::Say("552 5.3.4 message too big");
                let fits = script.limit.is_none_or(|limit| bytes.len() <= limit);
                let rule = if fits { script.verbs.get(".") } else { Some(&too_big) };
                let taken = !matches!(rule, Some(Act::Say(text)) if !text.starts_with('2'));
                if taken {
                    let mail = Received {
                        from: from.clone(),
                        to: to.clone(),
                        bytes,
                        encrypted,
                    };
                    state.lock().unwrap().mails.push(mail);
                }
                act(&mut stream, rule, "250 taken").await?;
            }
            "QUIT" => {
                act(&mut stream, None, "221 bye").await?;
                return Ok((stream.into_inner(), Next::Over));
            }
            _ => drop(act(&mut stream, None, "500 what?").await?),
        }
    }
}

/// Lines up to the lone dot.
async fn message<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(bytes);
        }
        bytes.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

/// A private authority as PEM, and a server for `name` that it vouches for.
pub fn authority_and_server(name: &str) -> (String, Arc<rustls::ServerConfig>) {
    let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.distinguished_name
        .push(rcgen::DnType::CommonName, "authority of the tests");
    let root_key = rcgen::KeyPair::generate().unwrap();
    let root_cert = root.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, name);
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let cert = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (root_cert.pem(), Arc::new(config))
}
