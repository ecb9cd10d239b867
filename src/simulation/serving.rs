//! A serving core of a node: HTTP from streams to the API and back, as the server does
//! it from sockets, without its bounds.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};

use crate::{
    api::{self, Api, Next, Reply, Stream as Answers, Told, Write, browser::BrowserPolicy},
    base::{
        held::{HeldByCore, HeldByNode},
        limits::Limits,
        timing::CLIENT_WRITE,
    },
    http::{self, Connection, Event},
    io::{
        cores,
        net::{Listener, Stream},
    },
    node::Handle,
};

/// What a node's answers and requests may take together.
const HELD_BYTES: usize = 64 << 20;

/// What the connections of one core share.
struct Core {
    api: Api,
    http: Rc<http::Context>,
}

/// Serves the connections of `listener`, which clients know as `address`, until the node stops.
pub async fn serve(node: Handle, address: String, listener: Rc<Listener>) {
    let held = Rc::new(HeldByCore::new(Arc::new(HeldByNode::new(HELD_BYTES))));
    let limits = Arc::new(Limits::default());
    let browsers = Arc::new(BrowserPolicy::new(&[&address], &[], &[]));
    let api = Api::new(node.clone(), Arc::clone(&limits), browsers, held, Arc::default());
    let http = api::http_context(&limits, &node);
    let core = Rc::new(Core { api, http: Rc::new(http) });
    let mail = node.clone();
    cores::spawn(async move { mail.run().await });
    let accepts = async {
        loop {
            let stream = listener.accept().await;
            let core = Rc::clone(&core);
            cores::spawn(async move {
                let http = Connection::new(Rc::clone(&core.http), cores::now());
                // Whoever broke the connection knows.
                let _ = Driver { core, http, stream }.run().await;
            });
        }
    };
    select(pin!(accepts), pin!(node.stopped())).await;
}

struct Driver {
    core: Rc<Core>,
    http: Connection,
    stream: Stream,
}

impl Driver {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.http.poll_event(cores::now()) {
                Some(Event::Request(request)) => {
                    self.answer(request).await?;
                    cores::yield_if_needed().await;
                }
                Some(Event::Asking) => self.http.proceed(cores::now()),
                Some(Event::Refused(_) | Event::PeerClosed) => {}
                None => {
                    self.transmit().await?;
                    if self.http.is_closed() || self.http.should_shutdown_write() {
                        self.stream.close();
                        return Ok(());
                    }
                    self.receive().await?;
                }
            }
        }
    }

    /// Waits for bytes, or until the client has had its time.
    async fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        let now = cores::now();
        let until = self.http.poll_timeout();
        let limit = until.map_or(Duration::MAX / 4, |until| until.saturating_duration_since(now));
        match cores::within(limit, self.stream.read(&mut bytes)).await {
            Some(Ok(0)) => self.http.received_eof(),
            Some(Ok(count)) => self.http.receive(&bytes[..count]),
            Some(Err(error)) => return Err(error),
            None => self.http.handle_timeout(cores::now()),
        }
        Ok(())
    }

    async fn transmit(&mut self) -> io::Result<()> {
        while let Some(slices) = self.http.poll_transmit() {
            let parts: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
            let sent = self.stream.write(&parts).await?;
            drop(parts);
            self.http.transmitted(sent, cores::now());
        }
        Ok(())
    }

    async fn answer(&mut self, request: Box<http::Request>) -> io::Result<()> {
        let core = Rc::clone(&self.core);
        let arrived = cores::now();
        let mut reply = core.api.handle(request, arrived).await;
        loop {
            reply = match reply {
                Reply::Now(response) => {
                    self.http.respond(response, cores::now());
                    return Ok(());
                }
                Reply::Write(write) => match written(write, arrived).await {
                    Told::Answer(response) => Reply::Now(response),
                    Told::Again(request) => core.api.again(request, arrived).await,
                },
                Reply::Park(mut parked) => {
                    let deadline = parked.deadline;
                    self.parked(deadline, |cx| parked.poll_ready(cx)).await;
                    core.api.resume(parked, cores::now()).await
                }
                Reply::Stream(answers) => return self.stream(*answers).await,
            };
        }
    }

    /// Waits until it is worth asking again, the deadline, or the stop of the node.
    async fn parked(
        &self,
        until: Instant,
        mut poll_ready: impl FnMut(&mut std::task::Context<'_>) -> Poll<()>,
    ) {
        /// How soon a stop of the node is noticed.
        const LOOK: Duration = Duration::from_millis(200);
        let node = self.core.api.node();
        let over = async {
            while cores::now() < until && !node.is_stopping() && node.status().halted().is_none() {
                cores::sleep(LOOK.min(until.saturating_duration_since(cores::now()))).await;
            }
        };
        select(pin!(poll_fn(|cx| poll_ready(cx))), pin!(over)).await;
    }

    async fn stream(&mut self, mut answers: Answers) -> io::Result<()> {
        let core = Rc::clone(&self.core);
        self.http.respond_head(answers.head(), cores::now());
        loop {
            self.transmit().await?;
            match core.api.advance(&mut answers, cores::now()).await {
                Ok(Next::Part(part)) => self.http.send_chunk(part, cores::now()),
                Ok(Next::Wait(until)) => self.parked(until, |cx| answers.poll_ready(cx)).await,
                Ok(Next::End) => break,
                Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
            cores::yield_if_needed().await;
        }
        self.http.finish(cores::now());
        Ok(())
    }
}

/// What a write that arrived at `since` comes to.
async fn written(write: Write, since: Instant) -> Told {
    let left = (since + CLIENT_WRITE).saturating_duration_since(cores::now());
    match select(pin!(write), pin!(cores::sleep(left))).await {
        Either::Left((told, _)) => told,
        Either::Right(_) => Write::timed_out(),
    }
}
