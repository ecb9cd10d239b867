//! One serving core: accepts connections, drives them, and stops gracefully.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    admission::{Admission, Connections},
    connection,
    context::CoreContext,
    deadlines::Deadlines,
    handshake::Handshakes,
};
use crate::{
    api::{
        self, Api,
        access::Access,
        audit::Audit,
        browser::BrowserPolicy,
        metrics::{Limit, Metrics},
    },
    base::{
        held::{HeldByCore, HeldByNode},
        limits::Limits,
    },
    io::{
        cores,
        net::{Listener, Stream},
        tls::Entrance,
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

/// How often it is told at most that requests bear wrong tokens.
const REFUSALS_PERIOD: Duration = Duration::from_secs(60);
/// How often it is looked whether all connections are finished, at the stop.
const DRAIN_LOOK: Duration = Duration::from_millis(2);

/// What a serving core works with.
pub struct Core {
    /// The replica, as this core sees it.
    pub node: Handle,
    /// Where it accepts.
    pub listener: Rc<Listener>,
    /// What requests must keep to.
    pub limits: Arc<Limits>,
    /// What the connections of all cores together hold of requests and answers.
    pub held: Arc<HeldByNode>,
    /// What is asked of requests.
    pub access: Arc<Access>,
    /// What pages of the web may have browsers do.
    pub browsers: Arc<BrowserPolicy>,
    /// Where it is told who administers.
    pub audit: Arc<Audit>,
    /// What all cores count together.
    pub metrics: Arc<Metrics>,
    /// The connections of all cores together.
    pub connections: Arc<Connections>,
    /// Clients speak TLS, and are let in by this.
    pub tls: Option<Arc<Entrance>>,
}

impl Core {
    /// Serves until the node is to stop and its connections are finished.
    pub async fn run(self) {
        let node = self.node.clone();
        let http = Rc::new(api::http_context(&self.limits, &node));
        let (deadlines, held) = (Deadlines::default(), Rc::new(HeldByCore::new(self.held)));
        let limits = Arc::clone(&self.limits);
        let (access, metrics, own) = (self.access, self.metrics, Rc::clone(&held));
        let (browsers, audit) = (self.browsers, self.audit);
        let api = Api::new(node.clone(), limits, access, browsers, audit, own, metrics);
        let admission = Admission::new(self.connections, deadlines.clone());
        let context = Rc::new(CoreContext::new(api, http, deadlines, admission, held));
        let handshakes = self.tls.map(|entrance| Rc::new(Handshakes::new(entrance)));
        let acceptor = Acceptor { context: Rc::clone(&context), open: Rc::default(), handshakes };
        let open = Rc::clone(&acceptor.open);

        let (mailed, swept) = (node.clone(), Rc::clone(&context));
        let tasks = [
            cores::spawn(async move { mailed.run().await }),
            cores::spawn(async move { swept.deadlines.run().await }),
            cores::spawn(end_waits_when_halted(Rc::clone(&context))),
            cores::spawn(tick(Rc::clone(&context))),
        ];
        let revoking = context.api.asks_for_tokens().then(|| Rc::clone(&context));
        let revoking = revoking.map(|context| cores::spawn(end_waits_when_revoked(context)));
        let accepting = cores::spawn(acceptor.accept(self.listener));

        let drain = node.stopped().await;
        end(accepting).await;
        context.deadlines.wake_all();
        let until = cores::now() + drain;
        while open.get() > 0 && cores::now() < until {
            cores::sleep(DRAIN_LOOK).await;
        }
        if open.get() > 0 {
            tracing::warn!(connections = open.get(), "connections cut off at the stop");
        }
        for task in tasks.into_iter().chain(revoking) {
            end(task).await;
        }
    }
}

/// Cancels a task, and waits until it is gone.
async fn end(task: cores::JoinHandle<()>) {
    task.cancel();
    task.await;
}

/// Keeps the `Date` of answers right to the second, and has slow and idle
/// connections make room where that is needed.
async fn tick(context: Rc<CoreContext>) {
    let mut told: Option<Instant> = None;
    loop {
        context.http.set_date(api::date());
        let now = cores::now();
        context.deadlines.relieve(context.held.excess(now), now);
        context.admission.make_room(now);
        if told.is_none_or(|told| now - told >= REFUSALS_PERIOD) {
            let requests = context.api.metrics().take_wrong_tokens();
            if requests > 0 {
                told = Some(now);
                tracing::warn!(requests, "requests refused: their tokens are not known here");
            }
        }
        cores::sleep(TICK).await;
    }
}

/// Ends what waits once the node must not go on with what it holds.
async fn end_waits_when_halted(context: Rc<CoreContext>) {
    while context.api.node().status().halted().is_none() {
        cores::sleep(HALT_LOOK).await;
    }
    context.deadlines.wake_all();
}

/// Ends what waits for those who may not any more.
async fn end_waits_when_revoked(context: Rc<CoreContext>) {
    let mut seen = 0;
    loop {
        context.api.rights_taken_away(&mut seen).await;
        context.deadlines.wake_all();
    }
}

/// Lets clients in.
struct Acceptor {
    context: Rc<CoreContext>,
    /// Connections of this core.
    open: Rc<Cell<usize>>,
    handshakes: Option<Rc<Handshakes>>,
}

impl Acceptor {
    async fn accept(self, listener: Rc<Listener>) {
        let mut refused = None;
        loop {
            let mut accepted = 0;
            let failure = loop {
                match listener.try_accept() {
                    Ok(stream) => self.admit(stream),
                    // The client gave up while it waited.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => break error,
                }
                accepted += 1;
                if accepted % ACCEPTS_AT_ONCE == 0 {
                    cores::yield_now().await;
                }
            };
            if failure.kind() != io::ErrorKind::WouldBlock {
                // Once as long as it lasts.
                if refused.replace(failure.raw_os_error()) != Some(failure.raw_os_error()) {
                    tracing::warn!(error = %failure, "cannot accept a connection");
                }
                cores::sleep(ACCEPT_PAUSE).await;
                continue;
            }
            refused = None;
            listener.acceptable().await;
        }
    }

    fn admit(&self, stream: Stream) {
        let Some(place) = self.context.admission.admit() else {
            return self.context.api.metrics().limited(Limit::Connections);
        };
        self.open.set(self.open.get() + 1);
        let (open, context) = (Rc::clone(&self.open), Rc::clone(&self.context));
        let Some(handshakes) = self.handshakes.clone() else {
            cores::spawn(async move {
                connection::serve(stream, context, place).await;
                open.set(open.get() - 1);
            });
            return;
        };
        cores::spawn(async move {
            // Apart, so that it takes no room once it is done.
            let secured = Box::pin(handshakes.secure(stream, &context, &place)).await;
            if let Some(stream) = secured {
                connection::serve(stream, context, place).await;
            }
            open.set(open.get() - 1);
        });
    }
}
