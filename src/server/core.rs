//! One serving core: accepts connections, drives them, and stops gracefully.

use std::{
    cell::Cell,
    io,
    net::{TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::select;
use glommio::{io::PollableFd, timer::Timer};

use super::{
    admission::{Admission, Connections},
    connection::{self, Shared},
    deadlines::Deadlines,
    listen,
};
use crate::{
    api::{
        self, Api,
        browser::BrowserPolicy,
        metrics::{Limit, Metrics},
    },
    base::{
        held::{HeldByCore, HeldByNode},
        limits::Limits,
        timing::DRAIN,
    },
    node::Handle,
};

/// How long to wait after accepting failed, as it does without descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the clock of answers is set, and is looked for connections that
/// must make room.
const TICK: Duration = Duration::from_millis(500);
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
    /// What the connections of all cores together hold of requests and answers.
    pub held: Arc<HeldByNode>,
    /// What pages of the web may have browsers do.
    pub browsers: Arc<BrowserPolicy>,
    /// What all cores count together.
    pub metrics: Arc<Metrics>,
    /// The connections of all cores together.
    pub connections: Arc<Connections>,
}

impl Core {
    /// Serves until the node is to stop and its connections are finished.
    ///
    /// # Errors
    /// When the listener cannot be watched.
    pub async fn run(self) -> io::Result<()> {
        let node = self.node.clone();
        let http = Rc::new(api::http_context(&self.limits, &node));
        let (deadlines, held) = (Deadlines::default(), Rc::new(HeldByCore::new(self.held)));
        let limits = Arc::clone(&self.limits);
        let api = Api::new(node.clone(), limits, self.browsers, Rc::clone(&held), self.metrics);
        let admission = Admission::new(self.connections, deadlines.clone());
        let shared = Rc::new(Shared::new(api, http, deadlines, admission, held));
        let listener = PollableFd::new(self.listener)?;
        let acceptor = Acceptor { shared: Rc::clone(&shared), open: Rc::default() };
        let open = Rc::clone(&acceptor.open);

        let mail = {
            let node = node.clone();
            glommio::spawn_local(async move { node.run().await })
        };
        let sweeps = {
            let shared = Rc::clone(&shared);
            glommio::spawn_local(async move { shared.deadlines.run().await })
        };
        let halt = glommio::spawn_local(end_waits_when_halted(Rc::clone(&shared)));
        let ticks = glommio::spawn_local(tick(Rc::clone(&shared)));
        let accepting = glommio::spawn_local(acceptor.accept(listener));

        node.stopped().await;
        accepting.cancel().await;
        shared.deadlines.wake_all();
        let end = Instant::now() + DRAIN;
        while open.get() > 0 && Instant::now() < end {
            Timer::new(Duration::from_millis(2)).await;
        }
        if open.get() > 0 {
            tracing::warn!(connections = open.get(), "connections cut off at the stop");
        }
        sweeps.cancel().await;
        halt.cancel().await;
        ticks.cancel().await;
        mail.cancel().await;
        Ok(())
    }
}

/// Keeps the `Date` of answers right to the second, and has slow and idle
/// connections make room where that is needed.
async fn tick(shared: Rc<Shared>) {
    loop {
        shared.http.set_date(api::date());
        let now = Instant::now();
        shared.deadlines.relieve(shared.held.excess(now), now);
        shared.admission.make_room(now);
        Timer::new(TICK).await;
    }
}

/// Ends what waits once the node must not go on with what it holds.
async fn end_waits_when_halted(shared: Rc<Shared>) {
    while shared.api.node().status().halted().is_none() {
        Timer::new(HALT_LOOK).await;
    }
    shared.deadlines.wake_all();
}

/// Lets clients in.
struct Acceptor {
    shared: Rc<Shared>,
    /// Connections of this core.
    open: Rc<Cell<usize>>,
}

impl Acceptor {
    async fn accept(self, listener: PollableFd<TcpListener>) {
        let mut refused = None;
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
                // Once as long as it lasts.
                if refused.replace(failure.raw_os_error()) != Some(failure.raw_os_error()) {
                    tracing::warn!(error = %failure, "cannot accept a connection");
                }
                Timer::new(ACCEPT_PAUSE).await;
                continue;
            }
            refused = None;
            if listener.readable().await.is_err() {
                Timer::new(ACCEPT_PAUSE).await;
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let Some(place) = self.shared.admission.admit() else {
            return self.shared.api.metrics().limited(Limit::Connections);
        };
        self.open.set(self.open.get() + 1);
        let (open, shared) = (Rc::clone(&self.open), Rc::clone(&self.shared));
        glommio::spawn_local(async move {
            connection::serve(stream, shared, place).await;
            open.set(open.get() - 1);
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
