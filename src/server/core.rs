//! One serving core: accepts connections, drives them, and stops gracefully.

use std::{
    cell::Cell,
    io,
    net::{TcpListener, TcpStream},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::select;
use glommio::{io::PollableFd, timer::Timer};

use super::{
    connection::{self, Shared},
    listen,
};
use crate::{
    api::{
        Api,
        browser::BrowserPolicy,
        metrics::{Limit, Metrics},
    },
    base::{limits::Limits, timing::DRAIN},
    http::{self, DateText},
    node::Handle,
};

/// How long to wait after accepting failed, as it does without descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections of one core beyond the limit that are told so; more are just
/// closed.
pub const REFUSALS: usize = 256;
/// Connections accepted before others on this core get their turn.
const ACCEPTS_AT_ONCE: usize = 64;
/// How often it is looked whether the node must not go on.
const HALT_LOOK: Duration = Duration::from_millis(200);

/// What a serving core works with.
pub struct Core {
    /// The replica, as this core sees it.
    pub node: Handle,
    /// Where it accepts.
    pub listener: TcpListener,
    /// What requests must keep to.
    pub limits: Arc<Limits>,
    /// Bytes that its connections may hold of requests and answers.
    pub held_bytes_max: usize,
    /// What pages of the web may have browsers do.
    pub browsers: Arc<BrowserPolicy>,
    /// What all cores count together.
    pub metrics: Arc<Metrics>,
    /// Connections of all cores together, within the limit.
    pub connections: Arc<AtomicUsize>,
}

impl Core {
    /// Serves until the node is to stop and its connections are finished.
    ///
    /// # Errors
    /// When the listener cannot be watched.
    pub async fn run(self) -> io::Result<()> {
        let node = self.node.clone();
        let http = Rc::new(http_context(&self.limits, &node));
        let api = Api::new(node.clone(), Arc::clone(&self.limits), self.browsers, self.metrics);
        let shared = Rc::new(Shared::new(api, Rc::clone(&http), self.held_bytes_max));
        let listener = PollableFd::new(self.listener)?;
        let doorman = Doorman {
            shared: Rc::clone(&shared),
            connections: self.connections,
            limit: self.limits.connections,
            open: Rc::default(),
            refused: Rc::default(),
        };
        let open = Rc::clone(&doorman.open);

        let mail = {
            let node = node.clone();
            glommio::spawn_local(async move { node.run().await })
        };
        let sweeps = {
            let shared = Rc::clone(&shared);
            glommio::spawn_local(async move { shared.deadlines.run().await })
        };
        let dates = glommio::spawn_local(keep_date(http));
        let halt = glommio::spawn_local(end_waits_when_halted(Rc::clone(&shared)));
        let doors = glommio::spawn_local(doorman.accept(listener));

        node.stopped().await;
        doors.cancel().await;
        shared.deadlines.wake_all();
        let end = Instant::now() + DRAIN;
        while open.get() > 0 && Instant::now() < end {
            Timer::new(Duration::from_millis(2)).await;
        }
        if open.get() > 0 {
            tracing::warn!(connections = open.get(), "connections cut off at the stop");
        }
        sweeps.cancel().await;
        dates.cancel().await;
        halt.cancel().await;
        mail.cancel().await;
        Ok(())
    }
}

fn http_context(limits: &Limits, node: &Handle) -> http::Context {
    let node = node.clone();
    let cluster = node.cluster().to_string();
    http::Context::new(limits.clone(), date()).with_common_headers(move |headers| {
        headers.number("ChangeAgent-Last", node.last().0);
        headers.text("ChangeAgent-Cluster", &cluster);
    })
}

fn date() -> DateText {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    DateText::from_unix_seconds(since_1970.map_or(0, |duration| duration.as_secs()))
}

/// Keeps the `Date` of answers right to the second.
async fn keep_date(http: Rc<http::Context>) {
    loop {
        http.set_date(date());
        Timer::new(Duration::from_millis(500)).await;
    }
}

/// Ends what waits once the node must not go on with what it holds.
async fn end_waits_when_halted(shared: Rc<Shared>) {
    while shared.api.node().status().halted().is_none() {
        Timer::new(HALT_LOOK).await;
    }
    shared.deadlines.wake_all();
}

/// Lets connections in, up to the node's limit.
struct Doorman {
    shared: Rc<Shared>,
    connections: Arc<AtomicUsize>,
    limit: usize,
    /// Connections of this core.
    open: Rc<Cell<usize>>,
    /// Those of them that are beyond the limit, and do not count towards it.
    refused: Rc<Cell<usize>>,
}

impl Doorman {
    async fn accept(self, listener: PollableFd<TcpListener>) {
        loop {
            let mut accepted = 0;
            let failure = loop {
                match listen::accept(listener.get_ref()) {
                    Ok(stream) => self.admit(stream),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The client gave up while it waited.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => break error,
                }
                accepted += 1;
                if accepted % ACCEPTS_AT_ONCE == 0 {
                    glommio::executor().yield_task_queue_now().await;
                }
            };
            if failure.kind() != io::ErrorKind::WouldBlock {
                tracing::warn!(error = %failure, "cannot accept a connection");
                Timer::new(ACCEPT_PAUSE).await;
            } else if listener.readable().await.is_err() {
                Timer::new(ACCEPT_PAUSE).await;
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let another = |count| (count < self.limit).then_some(count + 1);
        let welcome =
            self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another).is_ok();
        if !welcome {
            let metrics = self.shared.api.metrics();
            if self.refused.get() >= REFUSALS {
                metrics.limited(Limit::Connections);
                return;
            }
            metrics.refused_connections.inc();
            self.refused.set(self.refused.get() + 1);
        }
        self.open.set(self.open.get() + 1);
        let (open, refused) = (Rc::clone(&self.open), Rc::clone(&self.refused));
        let connections = Arc::clone(&self.connections);
        let told = self.shared.api.metrics().refused_connections.clone();
        let shared = Rc::clone(&self.shared);
        glommio::spawn_local(async move {
            connection::serve(stream, shared, welcome).await;
            open.set(open.get() - 1);
            if welcome {
                connections.fetch_sub(1, Ordering::Relaxed);
            } else {
                refused.set(refused.get() - 1);
                told.dec();
            }
        })
        .detach();
    }
}

/// Resolves with `a`, or with `None` when `b` is done first.
pub(super) async fn unless<T, U>(
    a: impl Future<Output = T>,
    b: impl Future<Output = U>,
) -> Option<T> {
    use futures_util::future::Either;
    match select(std::pin::pin!(a), std::pin::pin!(b)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
