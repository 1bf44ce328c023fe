//! A scripted HTTP/1.1 server on a real socket: every request is written down with its time, every answer is what the
//! script says, down to the byte.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Number of the request at this server, from 0.
    pub nth: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A whole answer with its length; the connection stays.
    Whole {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes one by one, this far apart.
    Drip(Vec<u8>, Duration),
    /// Chunks of 64 kB for ever.
    Endless,
    /// Later.
    After(Duration, Box<Answer>),
}

pub fn json(body: impl Into<Vec<u8>>) -> Answer {
    status(200, body)
}

pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer::Whole {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into(),
    }
}

pub fn with(answer: Answer, name: &str, value: &str) -> Answer {
    match answer {
        Answer::Whole {
            status,
            mut headers,
            body,
        } => {
            headers.push((name.into(), value.into()));
            Answer::Whole { status, headers, body }
        }
        other => other,
    }
}

/// The bytes of a whole answer.
pub fn bytes(answer: &Answer) -> Vec<u8> {
    let Answer::Whole { status, headers, body } = answer else {
        panic!("not a whole answer")
    };
    let mut out = format!("HTTP/1.1 {status} X\r\n");
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    out += &format!("content-length: {}\r\n\r\n", body.len());
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out
}

type Script = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// The server; it ends with the value.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_tls(None, script).await
    }

    pub async fn with_tls(
        tls: Option<tokio_rustls::TlsAcceptor>,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let script: Script = Arc::new(script);
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = socket.set_nodelay(true);
                let (script, log, tls) = (Arc::clone(&script), Arc::clone(&log), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, script, log).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, script, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            seen,
            connections,
            task,
        }
    }

    pub fn url(&self) -> url::Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Requests whose path begins so.
    pub fn count_of(&self, path: &str) -> usize {
        self.seen().iter().filter(|s| s.target.starts_with(path)).count()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(mut request) = receive(&mut socket, &mut buffer).await {
        {
            let mut log = log.lock().unwrap();
            request.nth = log.len();
            log.push(request.clone());
        }
        if !send(&mut socket, script(&request)).await {
            let _ = socket.shutdown().await;
            return;
        }
    }
}

/// True while the connection can be used again.
async fn send(socket: &mut (impl AsyncWrite + Unpin), mut answer: Answer) -> bool {
    while let Answer::After(wait, then) = answer {
        tokio::time::sleep(wait).await;
        answer = *then;
    }
    match answer {
        Answer::Whole { .. } => socket.write_all(&bytes(&answer)).await.is_ok(),
        Answer::Raw(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.flush().await;
            false
        }
        Answer::Drip(bytes, every) => {
            for byte in bytes {
                if socket.write_all(&[byte]).await.is_err() || socket.flush().await.is_err() {
                    return false;
                }
                tokio::time::sleep(every).await;
            }
            false
        }
        Answer::Endless => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut chunk = b"10000\r\n".to_vec();
            chunk.extend(std::iter::repeat_n(b' ', 0x10000));
            chunk.extend_from_slice(b"\r\n");
            if socket.write_all(head).await.is_err() {
                return false;
            }
            while socket.write_all(&chunk).await.is_ok() {}
            false
        }
        Answer::After(..) => false,
    }
}

async fn receive(socket: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let at = Instant::now();
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .and_then(|(_, v)| v.parse().ok())
        .unwrap_or(0_usize);
    while buffer.len() < head_end + length {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    Some(Seen {
        at,
        method,
        target,
        headers,
        body,
        nth: 0,
    })
}
