//! Start and stop of a node.
//!
//! ```text
//! start   executor chosen · signals blocked · port claimed · directory locked ·
//!         log recovered · leader known · serving cores · "listening …"
//! stop    no more accepted · connections finished · writes answered ·
//!         Raft stopped · log closed
//! ```

use std::{
    io::{self, Write as _},
    mem::ManuallyDrop,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::mpsc as async_mpsc;

use super::{
    audit::AuditLog,
    config::Config,
    context::NodeContext,
    error::ServerError,
    executors,
    handoff::Handoff,
    jwt::JwtWatch,
    limits,
    listen::listen,
    overdue::{self, Stop},
    replica,
    report::{Event, Report},
    supervisor::{self, Notice},
    tls::{Tls, TlsWatch},
    values::Role,
};
use crate::{
    api::{access::Access, browser::BrowserPolicy, metrics::Metrics},
    base::{held::HeldByNode, limits::Limits, timing::STOP_MAX},
    io::{
        lock::DirectoryLock,
        net::{Callers, Listener},
        real::{
            core::{ExecutorError, Kind, Purpose},
            executor::{self, Watch},
            signals,
        },
    },
    node::{Ready, Wiring, replica::End},
    raft::Address,
    serving::{Connections, Core},
};

/// Runs a node until a signal stops it.
///
/// # Errors
/// [`ServerError`]; when the start failed, nothing was changed on disk, but for
/// an empty data directory and lock file where there were none.
pub fn run(mut config: Config) -> Result<(), ServerError> {
    stop_on_panic();
    // As long as signals are not blocked they end the process by themselves.
    let kind = executors::choose(config.executor, config.cores)?;
    let tls = Tls::open(&config.tls, config.copy.as_ref())?;
    let metrics = Arc::<Metrics>::default();
    let jwt = config.jwt.clone().map(JwtWatch::open).transpose().map_err(ServerError::Jwt)?;
    // Threads inherit the mask; the signals are read by the Raft core.
    signals::block(&replica::SIGNALS)
        .map_err(|error| ServerError::System("cannot block signals", error))?;
    // After that, since it has a thread.
    let audit = AuditLog::start(config.audit.as_deref(), Arc::clone(&metrics))?;
    let serving = config.cores.saturating_sub(1).max(1);
    let origins = config.copy.as_ref().map_or(0, |copy| copy.origins.len());
    let places = limits::places(&mut config.limits, serving, origins)?;
    let (handoff, inherited) = match Handoff::take() {
        Some(handoff) => (handoff, true),
        None => (claim(&config, serving)?, false),
    };
    let Sockets { listeners, cluster, bound, cluster_bound } = Sockets::of(&handoff)
        .map_err(|error| ServerError::System("cannot use a listening socket", error))?;
    let bound = bound.unwrap_or(config.listen);
    let name = &config.cluster_listen_name;
    let address = Address {
        address: told(&config.advertise, &config.listen_name, Some(bound)),
        cluster_address: told(&config.cluster_advertise, name, cluster_bound),
        votes: config.role == Role::Voter,
    };
    tls.check_name(&address.cluster_address)?;
    let is_secured = tls.clients.is_some();
    let keys = jwt.as_ref().map(JwtWatch::keys);
    let access = Access::new(config.root_token.as_ref(), keys, is_secured);
    let browsers = browsers(&config, &address).with_tokens(access.is_required());
    let context = NodeContext {
        address,
        browsers: Arc::new(browsers.with_tls(is_secured)),
        access: Arc::new(access),
        connections: Arc::new(Connections::new(places)),
        held: Arc::new(HeldByNode::new(config.limits.held_bytes)),
        config: Arc::new(config),
        wiring: Wiring::new(serving),
        metrics,
        audit: Arc::clone(&audit.audit),
        tls,
    };

    let (events, told) = mpsc::channel();
    // The Raft core stops once every serving core has dropped its end of this.
    let (alive, serving_cores) = async_mpsc::channel(1);
    let report = Report { events, alive };
    let mut listeners = listeners.into_iter().enumerate();
    let own = (context.config.cores == 1).then(|| listeners.next()).flatten();
    let raft = start_raft_core(kind, context.clone(), cluster, own, report.clone(), serving_cores)?;
    let main = Main {
        kind,
        tls: TlsWatch::new(context.tls.clone()),
        audit,
        jwt,
        context,
        bound,
        inherited,
        starting: serving,
        listeners: listeners.collect(),
        report: Some(report),
        watches: vec![raft],
        // Only the end of the process gives the directory free.
        handoff: ManuallyDrop::new(handoff),
    };
    main.run(&told)
}

/// Whose pages may use the node of that address.
fn browsers(config: &Config, address: &Address) -> BrowserPolicy {
    // Whoever was told the name before it was advertised otherwise may go on to use it.
    let listen_name = config.listen_name.as_deref().unwrap_or_default();
    let advertised = [&*address.address, &*address.cluster_address, listen_name];
    BrowserPolicy::new(&advertised, &config.allow_hosts, &config.allow_origins)
}

/// The listening sockets of a process, and where they are bound.
struct Sockets {
    listeners: Vec<TcpListener>,
    cluster: Option<TcpListener>,
    bound: Option<SocketAddr>,
    cluster_bound: Option<SocketAddr>,
}

impl Sockets {
    /// Copies of those that are claimed.
    fn of(handoff: &Handoff) -> io::Result<Self> {
        let listeners = handoff.listeners.iter().map(TcpListener::try_clone);
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let cluster = handoff.cluster.as_ref().map(TcpListener::try_clone).transpose()?;
        let bound = listeners.first().map(TcpListener::local_addr).transpose()?;
        let cluster_bound = cluster.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(Self { listeners, cluster, bound, cluster_bound })
    }
}

/// What others are told of a port: what was set, else the name of the host as it was
/// given, which they look up themselves, else the address.
fn told(advertised: &Option<String>, name: &Option<String>, bound: Option<SocketAddr>) -> String {
    match (advertised, name, bound) {
        (Some(advertised), ..) => advertised.clone(),
        (None, Some(name), Some(bound)) => format!("{name}:{}", bound.port()),
        (None, None, Some(bound)) => bound.to_string(),
        (None, _, None) => String::new(),
    }
}

/// The kernel counts it in milliseconds.
const SILENCE_MAX: Duration = Duration::from_secs(86_400);

/// Claims ports and directory for this process.
fn claim(config: &Config, serving: usize) -> Result<Handoff, ServerError> {
    let Limits { write_timeout, idle_timeout, .. } = config.limits;
    let silence = write_timeout.saturating_add(idle_timeout).min(SILENCE_MAX);
    let (_, listeners) = listen(config.listen, serving, Some(silence))
        .map_err(|error| ServerError::Listen(config.listen, error))?;
    let cluster = config.cluster_listen.map(|address| {
        let listener = listen(address, 1, None).map(|(_, listeners)| listeners.into_iter().next());
        listener.map_err(|error| ServerError::Listen(address, error))
    });
    std::fs::create_dir_all(&config.data)
        .map_err(|error| ServerError::Directory(config.data.display().to_string(), error))?;
    let cluster = cluster.transpose()?.flatten();
    Ok(Handoff { lock: DirectoryLock::acquire(&config.data)?, listeners, cluster })
}

/// Starts the Raft core, which also serves when it is given a listener of its
/// `own`.
fn start_raft_core(
    kind: Kind,
    context: NodeContext,
    cluster: Option<TcpListener>,
    own: Option<(usize, TcpListener)>,
    report: Report,
    serving_cores: async_mpsc::Receiver<()>,
) -> Result<Watch, ExecutorError> {
    executor::start(kind, Purpose::Raft, move || async move {
        let Report { events, alive } = report;
        let own = own.map(|(core, listener)| {
            let (context, report) = (context.clone(), Report { events: events.clone(), alive });
            move |ready| serve(context, core, listener, ready, report)
        });
        let outcome = replica::run(context, cluster, own, &events, serving_cores).await;
        // Only a main thread that failed does not wait for it.
        let _ = events.send(Event::Stopped(outcome));
    })
}

/// What is left to the main thread: it starts the serving cores once the replica
/// is there, says when the node listens, and looks after the executors.
struct Main {
    /// What the executors run on.
    kind: Kind,
    context: NodeContext,
    /// Where it listens for clients.
    bound: SocketAddr,
    /// Its predecessor has said so already.
    inherited: bool,
    /// Serving cores that do not accept connections yet.
    starting: usize,
    /// For serving cores that are not started yet.
    listeners: Vec<(usize, TcpListener)>,
    /// Given up once they are.
    report: Option<Report>,
    watches: Vec<Watch>,
    tls: TlsWatch,
    audit: AuditLog,
    jwt: Option<JwtWatch>,
    handoff: ManuallyDrop<Handoff>,
}

impl Main {
    fn run(mut self, events: &mpsc::Receiver<Event>) -> Result<(), ServerError> {
        let mut stop = Stop::default();
        loop {
            match events.recv_timeout(Watch::PERIOD) {
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.watches.iter_mut().for_each(Watch::look);
                    self.tls.look();
                    self.jwt.iter_mut().for_each(JwtWatch::look);
                    if stop.is_overdue(overdue::is_signal_pending(), Instant::now()) {
                        return Err(ServerError::Stop(STOP_MAX));
                    }
                }
                Ok(Event::Ready(ready)) => {
                    self.handoff.lock.sign();
                    self.start_serving_cores(&ready)?;
                }
                Ok(Event::Serving) => {
                    self.starting -= 1;
                    if self.starting == 0 {
                        let NodeContext { config, tls, .. } = &self.context;
                        let address = self.bound;
                        if !self.inherited {
                            let url = format!("{}://{address}", tls.scheme());
                            announce(&format!("listening {url}"))?;
                            supervisor::tell(Notice::Listening(&url));
                        }
                        tracing::info!(%address, cores = config.cores, executor = %self.kind, files = self.kind.files(), "node started");
                    }
                }
                // Those who connect from now on are refused.
                Ok(Event::Stopping) => {
                    self.handoff.listeners.clear();
                    stop.begin(Instant::now());
                    supervisor::tell(Notice::Stopping);
                }
                Ok(Event::Stopped(outcome)) => match outcome? {
                    End::Stop => {
                        self.audit.end();
                        tracing::info!("node stopped");
                        return Ok(());
                    }
                    End::Again => {
                        self.audit.end();
                        let handoff = ManuallyDrop::into_inner(self.handoff);
                        let error = handoff.hand_on();
                        return Err(ServerError::System("the node cannot go on", error));
                    }
                },
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(ServerError::Executor("the Raft core ended".into()));
                }
            }
        }
    }

    fn start_serving_cores(&mut self, ready: &Ready) -> Result<(), ServerError> {
        let Some(report) = self.report.take() else { return Ok(()) };
        for (core, listener) in self.listeners.drain(..) {
            let (context, ready, report) = (self.context.clone(), ready.clone(), report.clone());
            let main = move || serve(context, core, listener, ready, report);
            self.watches.push(executor::start(self.kind, Purpose::Serve, main)?);
        }
        Ok(())
    }
}

async fn serve(
    context: NodeContext,
    core: usize,
    listener: TcpListener,
    ready: Ready,
    report: Report,
) {
    let Report { events, alive } = report;
    let listener = match Listener::new(listener, Callers::Clients) {
        Ok(listener) => Rc::new(listener),
        Err(error) => return tracing::error!(%error, "a serving core cannot accept connections"),
    };
    let node = context.wiring.handle(core, ready);
    let limits = Arc::new(context.config.limits.clone());
    let NodeContext { connections, held, access, browsers, audit, metrics, tls, .. } = context;
    let tls = tls.clients;
    let core =
        Core { node, listener, limits, held, access, browsers, audit, metrics, connections, tls };
    // The main thread has gone only when the node stops already.
    let _ = events.send(Event::Serving);
    drop(events);
    core.run().await;
    drop(alive);
}

/// Writes a line to standard output, at once: whoever started the node waits
/// for it.
fn announce(line: &str) -> Result<(), ServerError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| ServerError::System("cannot write to standard output", error))
}

/// A panic on any thread is a broken invariant: nothing may be acknowledged
/// after it.
fn stop_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}
