//! From sockets to answers: one loopback listener per provider, the request log, rate limits, and the faults that only a
//! socket can commit. The only clocks of the sandbox are here.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use futures_util::stream;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant as Monotonic;

use super::api::{Answer, Call, Service, Twist};
use super::fault::{Fault, FaultBook};
use super::world::World;
use crate::day::Instant;

/// No request of these APIs is longer; more is refused with 413.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// The wall clock, for signatures and for worlds that follow it.
pub(super) fn wall_clock() -> Instant {
    chrono::Utc::now()
}

/// One request as it came in, for tests and for people. Holds no credential.
#[derive(Clone, Debug)]
pub struct Logged {
    pub service: Service,
    /// Since the sandbox started, monotonic.
    pub at: Duration,
    pub method: String,
    pub path: String,
    pub query: String,
    /// None while it is not answered, and for a dropped connection.
    pub status: Option<u16>,
    /// Whether a fault struck it.
    pub faulty: bool,
}

/// What the servers share.
pub(super) struct Shared {
    pub world: Arc<Mutex<World>>,
    pub faults: Mutex<FaultBook>,
    pub log: Mutex<Vec<Logged>>,
    pub began: Monotonic,
    lines: Mutex<Vec<Weak<Line>>>,
}

/// A poisoned lock only means that a test failed elsewhere; the data is plain.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(world: Arc<Mutex<World>>, faults: Vec<Fault>) -> Self {
        Self {
            world,
            faults: Mutex::new(FaultBook::new(faults)),
            log: Mutex::new(Vec::new()),
            began: Monotonic::now(),
            lines: Mutex::new(Vec::new()),
        }
    }

    /// Breaks every open connection.
    pub fn hang_up(&self) {
        for line in lock(&self.lines).drain(..).filter_map(|line| line.upgrade()) {
            line.cut();
        }
    }
}

/// One provider's server.
#[derive(Clone)]
struct Server {
    service: Service,
    shared: Arc<Shared>,
    /// When the requests of the last minute came.
    recent: Arc<Mutex<VecDeque<Monotonic>>>,
}

/// Serves one provider until it is dropped.
pub(super) async fn serve(service: Service, listener: TcpListener, shared: Arc<Shared>) {
    let (recent, listener) = (
        Arc::default(),
        Door {
            listener,
            shared: shared.clone(),
        },
    );
    let server = Server {
        service,
        shared,
        recent,
    };
    let app = axum::Router::new().fallback(handle).with_state(server);
    let app = app.into_make_service_with_connect_info::<Caller>();
    // axum::serve never ends by itself; its error type only leaves room for it.
    let _ = axum::serve(listener, app).await;
}

async fn handle(State(server): State<Server>, ConnectInfo(caller): ConnectInfo<Caller>, request: Request) -> Response {
    let Some(call) = read(request).await else {
        return respond(server.service.error(413, "The request is too large"), &Fault::default());
    };
    let shared = &server.shared;
    let fault = lock(&shared.faults).strike(server.service, &call);
    let entry = server.note(&call, fault.is_some());
    let fault = fault.unwrap_or_default();
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    if fault.drop {
        caller.0.cut();
        return Response::new(Body::empty()); // never seen: the line is dead
    }
    let answer = fault.spoil(server.answer(&call, &fault));
    if let Some(logged) = lock(&shared.log).get_mut(entry) {
        logged.status = Some(answer.status);
    }
    respond(answer, &fault)
}

/// Reads a request whole; None when it is too large or breaks off.
async fn read(request: Request) -> Option<Call> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_REQUEST_BYTES).await.ok()?;
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Some(Call {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head
            .headers
            .iter()
            .map(|(n, v)| (n.as_str().to_owned(), text(v)))
            .collect(),
        body: body.to_vec(),
    })
}

impl Server {
    fn note(&self, call: &Call, faulty: bool) -> usize {
        let mut log = lock(&self.shared.log);
        log.push(Logged {
            service: self.service,
            at: self.shared.began.elapsed(),
            method: call.method.clone(),
            path: call.path.clone(),
            query: call.query.clone(),
            status: None,
            faulty,
        });
        log.len() - 1
    }

    fn answer(&self, call: &Call, fault: &Fault) -> Answer {
        let mut world = lock(&self.shared.world);
        if fault.expire_sessions {
            self.service.expire_sessions(&mut world);
        }
        if fault.insert + fault.delete > 0 {
            self.service.drift(&mut world, call, fault.insert, fault.delete);
        }
        if let Some(answer) = fault.instead(self.service, world.now()) {
            return answer;
        }
        if let Some(answer) = self.limited(&world) {
            return answer;
        }
        let twist = Twist {
            ignore_page: fault.ignore_page,
            cursor_loop: fault.cursor_loop,
        };
        let answer = self.service.answer(&mut world, call, &twist);
        match world.doors.one2pays.clock {
            super::api::one2pays::SignatureClock::World => {
                answer.with("date", httpdate::fmt_http_date(world.now().into()))
            }
            super::api::one2pays::SignatureClock::Wall => answer,
        }
    }

    /// 429 when more than the allowed requests came in the last minute.
    fn limited(&self, world: &World) -> Option<Answer> {
        const MINUTE: Duration = Duration::from_secs(60);
        let limit = self.service.rate_limit(world)?;
        let mut recent = lock(&self.recent);
        let now = Monotonic::now();
        while recent.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            recent.pop_front();
        }
        if recent.len() < limit as usize {
            recent.push_back(now);
            return None;
        }
        let oldest = recent
            .front()
            .map_or(MINUTE, |at| MINUTE.saturating_sub(now.duration_since(*at)));
        let seconds = i64::try_from(oldest.as_secs()).unwrap_or(60) + 1;
        Some(match self.service {
            Service::One2pays => super::api::one2pays::rate_limited(limit, wall_clock(), seconds),
            _ => self
                .service
                .error(429, "Too many requests")
                .with("retry-after", seconds.to_string()),
        })
    }
}

/// Puts an answer on the wire, whole or in the broken way a fault asks for.
fn respond(answer: Answer, fault: &Fault) -> Response {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let body = if let Some(mib) = fault.gzip_bomb_mib {
        response = response.header("content-encoding", "gzip");
        Body::from_stream(pieces(super::bomb::gzip(mib), 64 << 10, Duration::ZERO, false))
    } else if let Some(cut) = fault.cut_after {
        response = response.header("content-length", answer.body.len());
        let head = answer.body[..cut.min(answer.body.len())].to_vec();
        let size = fault.drip_bytes.unwrap_or(usize::MAX);
        Body::from_stream(pieces(
            head,
            size,
            Duration::from_millis(fault.drip_ms.unwrap_or(5)),
            true,
        ))
    } else if let Some(pause) = fault.drip_ms {
        response = response.header("content-length", answer.body.len());
        let size = fault.drip_bytes.unwrap_or(1);
        Body::from_stream(pieces(answer.body, size, Duration::from_millis(pause), false))
    } else {
        Body::from(answer.body)
    };
    // Only a script can hold a header that HTTP cannot.
    response
        .body(body)
        .unwrap_or_else(|_| Response::new(Body::from("the fault script holds an impossible header")))
}

/// A body in pieces with pauses between them; `breaks`: the connection breaks at its end.
fn pieces(
    body: Vec<u8>,
    size: usize,
    pause: Duration,
    breaks: bool,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some((Bytes::from(body), false)), move |state| async move {
        let (mut rest, started) = state?;
        if started && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if rest.is_empty() {
            let end = breaks.then(|| Err(io::Error::from(io::ErrorKind::ConnectionReset)));
            return end.map(|end| (end, None));
        }
        let piece = rest.split_to(size.clamp(1, rest.len()));
        Some((Ok(piece), Some((rest, true))))
    })
}

/// Whether a connection was cut from outside.
#[derive(Debug, Default)]
struct Line {
    dead: AtomicBool,
    reader: AtomicWaker,
}

impl Line {
    fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.reader.wake();
    }

    fn check(&self) -> io::Result<()> {
        match self.dead.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

/// A TCP stream that can be cut.
struct Wire {
    stream: TcpStream,
    line: Arc<Line>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.line.reader.register(cx.waker());
        self.line.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Accepts connections and remembers them, so that they can be cut.
struct Door {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Listener for Door {
    type Io = Wire;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Wire, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true); // only a matter of speed
        let line = Arc::new(Line::default());
        let mut lines = lock(&self.shared.lines);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line));
        drop(lines);
        (Wire { stream, line }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The connection a request came over.
#[derive(Clone)]
struct Caller(Arc<Line>);

impl Connected<IncomingStream<'_, Door>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(stream.io().line.clone())
    }
}
