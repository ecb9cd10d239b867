//! Requests to several nodes, with retries.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{
    future::{Either, select},
    io::{AsyncReadExt, AsyncWriteExt},
};
use serde_json::{Map, Value};

use crate::{
    connector::Connector,
    error::{Error, Problem, WriteError},
    http::{self, Answer, Head},
    node::Node,
    options::Options,
    retry::Backoff,
};

/// Idle connections that are kept for each node, and for how long: less than the
/// time after which a node closes them.
const IDLE_MAX: usize = 8;
const IDLE_AGE_MAX: Duration = Duration::from_secs(50);
/// Bytes that are read at a time.
const RECEIVE_BYTES: usize = 1 << 16;

pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// One request, to whichever node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) accept: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// How long the node is asked to wait.
    pub(crate) wait: Duration,
    /// It may have happened, whatever is answered when it is sent again.
    pub(crate) in_doubt: Arc<AtomicBool>,
}

impl Request {
    pub(crate) fn get(target: String) -> Self {
        Self { method: "GET", target, accept: JSON, ..Self::default() }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// An answer whose body is read piece by piece, on its connection.
pub(crate) struct Exchange<T> {
    node: usize,
    connection: T,
    pub(crate) answer: Answer,
}

/// Idle connections by their nodes, and since when.
type Idle<T> = HashMap<usize, Vec<(Instant, T)>>;

/// The nodes of one cluster and the connections to them.
pub(crate) struct Core<C: Connector> {
    connector: C,
    pub(crate) options: Options,
    nodes: Vec<Node>,
    current: AtomicUsize,
    idle: Mutex<Idle<C::Connection>>,
    /// Whether nodes are told which history is meant: earlier ones refuse it.
    pub(crate) names_cluster: AtomicBool,
}

impl<C: Connector> Core<C> {
    pub(crate) fn new<'a>(
        connector: C,
        nodes: impl IntoIterator<Item = &'a str>,
        options: Options,
    ) -> Result<Self, Error> {
        let nodes = nodes.into_iter().map(Node::parse).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(Error::Usage("no node is named".into()));
        }
        Ok(Self {
            connector,
            options,
            nodes,
            current: AtomicUsize::new(0),
            idle: Mutex::default(),
            names_cluster: AtomicBool::new(true),
        })
    }

    pub(crate) fn nodes_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node that is asked next.
    pub(crate) fn node(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// The node failed: the next one is asked from now on.
    pub(crate) fn leave(&self, node: usize) {
        let next = (node + 1) % self.nodes.len();
        // Where another task has left it already, that one is asked.
        let _ = self.current.compare_exchange(node, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        if !duration.is_zero() {
            self.connector.sleep(duration).await;
        }
    }

    fn authority(&self, node: usize) -> Result<&Node, Error> {
        self.nodes.get(node).ok_or_else(|| Error::Usage("there is no such node".into()))
    }

    /// Ends with an error where it takes longer.
    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Error> {
        let outcome = match select(pin!(work), pin!(self.connector.sleep(limit))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the node is silent")),
        };
        outcome.map_err(|error| Error::Broken(error.to_string()))
    }

    fn take_idle(&self, node: usize) -> Option<C::Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(&node)?;
        while let Some((since, connection)) = kept.pop() {
            if since.elapsed() < IDLE_AGE_MAX {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end, or closes it.
    pub(crate) fn release(&self, exchange: Exchange<C::Connection>) {
        if !exchange.answer.keeps_alive() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(exchange.node).or_default();
        if kept.len() < IDLE_MAX {
            kept.push((Instant::now(), exchange.connection));
        }
    }

    /// Sends a request and reads the head of the answer.
    pub(crate) async fn exchange(
        &self,
        node: usize,
        request: &Request,
    ) -> Result<Exchange<C::Connection>, Error> {
        let Node { host, port, tls, prefix, authority } = self.authority(node)?;
        let line = format!("{} {prefix}{} HTTP/1.1", request.method, request.target);
        let bearer = self.options.token.as_ref().map(|token| format!("Bearer {token}"));
        let agent = concat!("changeagent-rust/", env!("CARGO_PKG_VERSION"));
        let mut headers = vec![("Host", authority.as_str()), ("Accept", request.accept)];
        headers.extend([("Accept-Encoding", "identity"), ("User-Agent", agent)]);
        headers.extend(bearer.iter().map(|bearer| ("Authorization", bearer.as_str())));
        headers.extend(request.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let bytes = http::request(&line, &headers, request.body.as_deref())?;
        let told = |error: Error| match error {
            Error::Broken(what) => Error::Broken(format!("{authority}: {what}")),
            other => other,
        };
        if let Some(connection) = self.take_idle(node) {
            let mut exchange = Exchange { node, connection, answer: Answer::new() };
            match self.converse(&mut exchange, &bytes, request.wait).await {
                Ok(()) => return Ok(exchange),
                // The node closed it while it was idle, most likely: a write may have happened yet.
                Err(Error::Broken(_)) if !exchange.answer.is_started() => {
                    request.in_doubt.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(told(error)),
            }
        }
        let connect = self.connector.connect(host, *port, *tls);
        let connection = self.within(self.options.connect_timeout, connect).await.map_err(told)?;
        let mut exchange = Exchange { node, connection, answer: Answer::new() };
        self.converse(&mut exchange, &bytes, request.wait).await.map_err(told)?;
        Ok(exchange)
    }

    async fn converse(
        &self,
        exchange: &mut Exchange<C::Connection>,
        bytes: &[u8],
        wait: Duration,
    ) -> Result<(), Error> {
        let connection = &mut exchange.connection;
        let send = async {
            connection.write_all(bytes).await?;
            connection.flush().await
        };
        self.within(self.options.timeout, send).await?;
        while exchange.answer.head().is_none() {
            self.receive(exchange, self.options.timeout + wait).await?;
        }
        Ok(())
    }

    /// Reads some more of an answer. Nothing is lost if it is given up.
    pub(crate) async fn receive(
        &self,
        exchange: &mut Exchange<C::Connection>,
        limit: Duration,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let received = self.within(limit, exchange.connection.read(&mut buffer)).await?;
        exchange.answer.feed(buffer.get(..received).unwrap_or_default())
    }

    /// Reads the whole body of an answer.
    pub(crate) async fn reply(
        &self,
        mut exchange: Exchange<C::Connection>,
        wait: Duration,
    ) -> Result<Reply, Error> {
        let mut body = exchange.answer.take();
        while !exchange.answer.is_done() {
            self.receive(&mut exchange, self.options.timeout + wait).await?;
            body.extend(exchange.answer.take());
            if body.len() > self.options.answer_bytes_max {
                return Err(Error::TooLong);
            }
        }
        let head = exchange.answer.head().cloned().unwrap_or_default();
        self.release(exchange);
        Ok(Reply { head, body })
    }

    /// Asks one node once: a reply, or the error that it answered.
    pub(crate) async fn once(&self, node: usize, request: &Request) -> Result<Reply, Error> {
        let exchange = self.exchange(node, request).await?;
        let reply = self.reply(exchange, request.wait).await?;
        refuse(&reply)?;
        if let Some(wanted) = &self.options.cluster {
            // A node that does not know which history is meant writes into its own.
            request.in_doubt.store(true, Ordering::Relaxed);
            cluster_of(&reply.head, Some(wanted))?;
        }
        Ok(reply)
    }

    /// Asks the nodes until one answers; `read` makes the result of it.
    pub(crate) async fn call<T>(
        &self,
        request: &Request,
        read: impl Fn(&Reply) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut backoff = Backoff::new(self, Some(self.options.retries));
        loop {
            let node = self.node();
            match self.once(node, request).await.and_then(|reply| read(&reply)) {
                Err(error) if error.may_pass() => {
                    self.leave(node);
                    self.sleep(backoff.after(error)?).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The same for a write, which happens once however often it is tried.
    pub(crate) async fn write<T>(
        &self,
        mut request: Request,
        key: Option<&str>,
        read: impl Fn(&Reply) -> Result<T, Error>,
    ) -> Result<T, WriteError> {
        let key = key.map_or_else(random_key, str::to_owned);
        request.headers.push(("Idempotency-Key", key.clone()));
        request.headers.extend(self.options.cluster.clone().map(|of| ("ChangeAgent-Cluster", of)));
        let mut backoff = Backoff::new(self, Some(self.options.retries));
        let mut outcome_unknown = false;
        loop {
            let node = self.node();
            let error = match self.once(node, &request).await.and_then(|reply| read(&reply)) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            outcome_unknown |= request.in_doubt.load(Ordering::Relaxed);
            outcome_unknown |= !matches!(error, Error::Usage(_)) && error.is_doubtful();
            let pause = if error.may_pass() { backoff.after(error) } else { Err(error) };
            match pause {
                Ok(pause) => {
                    self.leave(node);
                    self.sleep(pause).await;
                }
                Err(error) => {
                    return Err(WriteError { error, outcome_unknown, idempotency_key: key });
                }
            }
        }
    }
}

/// Fails with what an answer says that is no success.
pub(crate) fn refuse(reply: &Reply) -> Result<(), Error> {
    let status = reply.head.status;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let is_json = reply.head.get("content-type").is_some_and(|kind| kind.contains("json"));
    let members = if is_json { serde_json::from_slice(&reply.body).ok() } else { None };
    let members = members.unwrap_or_else(|| {
        let start = reply.body.get(..reply.body.len().min(200)).unwrap_or_default();
        let detail = Value::from(String::from_utf8_lossy(start).into_owned());
        Map::from_iter([("detail".to_owned(), detail)])
    });
    let after = reply.head.get("retry-after").and_then(|after| after.parse().ok());
    let problem = Problem::new(status, members, after.map(Duration::from_secs));
    let problem = Box::new(problem);
    Err(match problem.code.as_str() {
        "other-history" => Error::Reset(problem),
        _ => Error::Refused(problem),
    })
}

/// The history that an answer is of, which must be the one that is wanted.
pub(crate) fn cluster_of(head: &Head, wanted: Option<&str>) -> Result<String, Error> {
    let found = head.get("changeagent-cluster").filter(|found| !found.is_empty());
    let found = found.ok_or_else(|| {
        Error::Broken("the answer is not of a ChangeAgent node: it names no history".into())
    })?;
    match wanted {
        Some(wanted) if wanted != found => Err(Error::other_history(wanted, found)),
        _ => Ok(found.to_owned()),
    }
}

fn random_key() -> String {
    format!("{:032x}", fastrand::u128(..))
}
