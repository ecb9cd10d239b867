//! Drives one connection: bytes between its socket and the HTTP machine,
//! requests between that and the API.

use std::{rc::Rc, task::Poll};

use super::{
    admission::Place,
    context::CoreContext,
    in_hand::{Counted, InHand},
    link::{Ended, Gone, Link},
    pace::is_held_up,
    parked::resumed,
    written::{again, written},
};
use crate::{
    api::{
        Account, FULL, Next, Reply, Streamed, Told,
        access::{Principal, Remembered},
        browser::Reader,
        coding::{Accepted, StreamCoder},
        error::{ApiError, Code},
        metrics::Limit,
    },
    http::{self, Event, Response},
    io::{cores, net},
};

/// Bodies above this size may take a while to be parsed.
const LARGE_BODY_BYTES: usize = 64 << 10;

/// Why a connection is refused that there is no place for.
const CROWDED: &str = "the node has all the connections it may have";

/// Serves `stream` until it closes. One whose place is beyond the limit is told so at
/// its first request.
pub async fn serve(stream: net::Stream, context: Rc<CoreContext>, place: Place) {
    let counted = Rc::clone(&context);
    let metrics = counted.api.metrics();
    let _counted = Counted::new(&metrics.connections);
    let _refused = (!place.is_welcome()).then(|| Counted::new(&metrics.refused_connections));
    let link = Link::new(stream, Rc::clone(&context), place);
    let mut driver = Driver { link, context, remembered: Remembered::default() };
    // Whoever broke the connection knows; there is nobody to tell.
    let _ = driver.run().await;
    if driver.link.http.is_broken_off() {
        driver.link.stream.reset_on_drop(true);
    }
}

/// Has the requests of one connection answered.
struct Driver {
    link: Link,
    context: Rc<CoreContext>,
    /// The last token that was good.
    remembered: Remembered,
}

impl Driver {
    async fn run(&mut self) -> Result<(), Gone> {
        loop {
            self.link.drain_if_stopping();
            match self.link.http.poll_event(self.link.now) {
                Some(Event::Request(request)) => {
                    self.answer(request).await?;
                    // A client that sends without a pause gets its turns only.
                    cores::yield_if_needed().await;
                }
                Some(Event::Asking) => Box::pin(self.decide()).await,
                Some(Event::Refused(error)) => {
                    self.context.api.metrics().refused(error);
                    let peer = self.link.stream.peer().map(|peer| peer.to_string());
                    tracing::debug!(peer, error = error.detail(), "request refused");
                }
                Some(Event::PeerClosed) => {}
                None => {
                    if self.link.transmit().await? {
                        continue;
                    }
                    if self.link.http.is_closed() {
                        return Ok(());
                    }
                    if self.link.http.should_shutdown_write() && !self.link.write_shut {
                        self.link.write_shut = true;
                        self.link.stream.close_write()?;
                    }
                    self.link.receive().await?;
                }
            }
        }
    }

    /// Why `request` is not taken up now, if that is so: what is about the node
    /// always is.
    fn overload(&mut self, request: &http::Request) -> Option<ApiError> {
        if !self.link.place.is_welcome()
            && let Some(place) = self.context.admission.enter()
        {
            self.link.place = place;
        }
        let limit = match self.link.place.is_welcome() {
            false => Limit::Connections,
            true if self.context.held.is_full() => Limit::Held,
            true => return None,
        };
        if self.context.api.is_about_node(request) {
            return None;
        }
        Some(self.limited(limit))
    }

    /// A refusal by a limit, which is counted.
    fn limited(&self, limit: Limit) -> ApiError {
        self.context.api.metrics().limited(limit);
        let detail = if matches!(limit, Limit::Connections) { CROWDED } else { FULL };
        ApiError::new(Code::Overloaded, detail)
    }

    /// Instead of `response`, that there is no room for one of its size.
    fn fitting(&self, response: Response) -> Response {
        let (held, own) = (&self.context.held, self.link.held.bytes());
        let bytes = response.body().len();
        // It comes behind what the client has yet to take.
        if bytes <= held.small_bytes() || held.admits(own, own + bytes) {
            return response;
        }
        self.limited(Limit::Held).into()
    }

    /// Tells a client whether to send the body that it asks about.
    async fn decide(&mut self) {
        let context = Rc::clone(&self.context);
        self.link.account();
        let Some(request) = self.link.http.asking() else { return };
        let is_full = !context.api.is_about_node(request)
            && (!self.link.place.is_welcome() || context.held.is_tight());
        let from = || self.link.stream.peer();
        let refusal = match is_full {
            true if self.link.place.is_welcome() => Some(self.limited(Limit::Held).into()),
            true => Some(self.limited(Limit::Connections).into()),
            false => match context.api.principal(request, &mut self.remembered, from) {
                Ok(principal) => context.api.declined(request, principal, from).await,
                Err(error) => Some(context.api.refusal(request, error)),
            },
        };
        let method = request.method();
        let Some(response) = refusal else { return self.link.http.proceed(self.link.now) };
        context.api.metrics().answered(method, response.status());
        let response = context.api.reader(request).mark(response);
        self.link.http.decline(response, self.link.now);
    }

    /// Has a request answered. Nothing more is read meanwhile, except to notice
    /// that a parked client went away.
    async fn answer(&mut self, request: Box<http::Request>) -> Result<(), Gone> {
        self.link.in_hand_bytes = request.held_bytes();
        self.link.account();
        let answered = self.answer_in_hand(request).await;
        self.link.in_hand_bytes = 0;
        answered
    }

    async fn answer_in_hand(&mut self, mut request: Box<http::Request>) -> Result<(), Gone> {
        let context = Rc::clone(&self.context);
        let reader = context.api.reader(&request);
        let metrics = context.api.metrics();
        let principal = match self.take_up(&request) {
            Ok(principal) => principal,
            Err(error) => {
                self.refuse(&request, reader, error);
                return Ok(());
            }
        };
        let mut in_hand = InHand {
            reader,
            method: request.method(),
            principal,
            audited: context.api.audited(&request, &principal, || self.link.stream.peer()),
            account: Account::default(),
            accepted: Accepted::of(&request),
            arrived: self.link.now,
            is_told: context.held.is_tight() && context.api.is_about_node(&request),
            waited: None,
        };
        if let Err(refusal) = self.unpack(&mut request, principal).await {
            in_hand.tell(&refusal);
            self.respond(refusal, &in_hand);
            return Ok(());
        }
        let is_large = request.body().len() > LARGE_BODY_BYTES;
        // Apart from the connection, which may be parked with it gone.
        let (account, now) = (&mut in_hand.account, self.link.now);
        let mut reply = Box::pin(context.api.handle(request, principal, account, now)).await;
        // It may have taken long. A small write is handed on at once: the clock costs too much.
        if is_large || !matches!(reply, Reply::Write(_)) {
            self.link.now = cores::now();
        }
        loop {
            reply = match reply {
                Reply::Now(response) => {
                    in_hand.tell(&response);
                    let response = context.api.pack(response, in_hand.accepted).await;
                    self.respond(response, &in_hand);
                    return Ok(());
                }
                Reply::Write(write) => {
                    match written(&mut self.link, write, in_hand.arrived).await {
                        Told::Answer(response) => {
                            metrics.written(self.link.now - in_hand.arrived);
                            Reply::Now(response)
                        }
                        Told::Again(request) => again(&mut self.link, request, &mut in_hand).await,
                    }
                }
                Reply::Park(parked) => resumed(&mut self.link, parked, &mut in_hand).await?,
                Reply::Stream(stream) => {
                    match Box::pin(self.streamed(stream, &mut in_hand)).await? {
                        Some(refusal) => Reply::Now(refusal),
                        None => return Ok(()),
                    }
                }
            };
        }
    }

    /// Answers a request that is not taken up.
    fn refuse(&mut self, request: &http::Request, reader: Reader<'_>, error: ApiError) {
        let is_overload = error.code == Code::Overloaded;
        let response = self.context.api.refusal(request, error);
        let response = if is_overload { response.with_close() } else { response };
        self.context.api.metrics().answered(request.method(), response.status());
        self.link.http.respond(reader.mark(response), self.link.now);
    }

    /// Who sends a request that is taken up; else the refusal.
    fn take_up(&mut self, request: &http::Request) -> Result<Principal, ApiError> {
        match self.overload(request) {
            Some(error) => Err(error),
            None => {
                let from = || self.link.stream.peer();
                self.context.api.principal(request, &mut self.remembered, from)
            }
        }
    }

    /// Unpacks the body of a request that comes compressed, and counts what it holds then. One that
    /// is refused by its head is not unpacked.
    async fn unpack(
        &mut self,
        request: &mut http::Request,
        principal: Principal,
    ) -> Result<(), Response> {
        let api = &self.context.api;
        let Some(coding) = api.coding_of(request) else { return Ok(()) };
        if let Some(refusal) = Box::pin(api.refusal_by_head(request, principal)).await {
            return Err(refusal);
        }
        if let Err(error) = Box::pin(api.unpack(request, coding)).await {
            if error.code == Code::Overloaded {
                api.metrics().limited(Limit::Held);
            }
            return Err(error.into());
        }
        self.link.in_hand_bytes = request.held_bytes();
        self.link.account();
        Ok(())
    }

    /// Answers the request in hand, with a refusal where there is no room for more.
    fn respond(&mut self, response: Response, in_hand: &InHand<'_>) {
        let (metrics, is_read) = (self.context.api.metrics(), in_hand.is_read());
        // It may have begun to stop while the answer was waited for.
        self.link.drain_if_stopping();
        // What became of a write is told whatever is held.
        let is_told = in_hand.is_told || !is_read;
        let mut response = if is_told { response } else { self.fitting(response) };
        if !self.link.place.is_welcome() {
            response = response.with_close();
        }
        metrics.answered(in_hand.method, response.status());
        in_hand.sent(&self.context.api, response.body().len(), self.link.now);
        if let Some(waited) = in_hand.waited {
            metrics.waited(waited);
        } else if is_read {
            metrics.read(self.link.now - in_hand.arrived);
        }
        self.link.http.respond(in_hand.reader.mark(response), self.link.now);
    }

    /// Sends a stream, or gives the refusal that takes its place.
    async fn streamed(
        &mut self,
        mut stream: Streamed,
        in_hand: &mut InHand<'_>,
    ) -> Result<Option<Response>, Gone> {
        let context = Rc::clone(&self.context);
        let refusal = context.api.bills().stream(&mut in_hand.account);
        if refusal.is_some() {
            return Ok(refusal);
        }
        let first =
            match context.api.begin(&mut stream, &mut in_hand.principal, self.link.now).await {
                Err(refusal) => return Ok(Some(refusal)),
                Ok(first) => first,
            };
        let metrics = context.api.metrics();
        self.link.in_hand_bytes = 0;
        let coding = in_hand.accepted.for_stream();
        let head = context.api.stream_head(&stream, coding);
        metrics.answered(in_hand.method, head.status());
        let _counted = Counted::new(&metrics.streams);
        let coder = coding.map(StreamCoder::new).filter(|_| in_hand.method != http::Method::Head);
        let head = in_hand.reader.mark(head);
        self.stream(stream, in_hand, coder, head, first).await.map(|()| None)
    }

    /// Sends an answer in parts, each when the one before is with the client:
    /// what a slow client makes the server hold is one part.
    async fn stream(
        &mut self,
        mut stream: Streamed,
        in_hand: &mut InHand<'_>,
        mut coder: Option<StreamCoder>,
        head: Response,
        first: Result<Next, ApiError>,
    ) -> Result<(), Gone> {
        let mut first = Some(first);
        let context = Rc::clone(&self.context);
        let InHand { principal, account, .. } = in_hand;
        self.link.drain_if_stopping();
        self.link.http.respond_head(head, self.link.now);
        // Whatever breaks it off, the end of this process included.
        let resets = self.link.http.ends_with_connection() && self.link.stream.reset_on_drop(true);
        loop {
            self.link.transmit_all().await?;
            let next = match first.take() {
                Some(next) => next,
                None if is_held_up(&mut self.link, principal, account).await? => continue,
                None => context.api.advance(&mut stream, principal, self.link.now).await,
            };
            self.link.now = cores::now();
            match next {
                Ok(Next::Part(part)) => {
                    let part = match &mut coder {
                        Some(coder) => coder.part(&part).map_err(Gone::from)?,
                        None => part,
                    };
                    context.api.bills().sent(account, part.len(), self.link.now);
                    self.link.http.send_chunk(part, self.link.now);
                }
                Ok(Next::Wait(until)) => {
                    let _counted = Counted::new(&context.api.metrics().parked);
                    let until = context.api.wait_until(principal, until, self.link.now);
                    let ended =
                        self.link.parked(until, |cx| match context.api.is_good(principal) {
                            true => stream.poll_ready(cx),
                            false => Poll::Ready(()),
                        });
                    match ended.await? {
                        Ended::Waiting => {}
                        Ended::Gone if stream.may_end_early() => break,
                        Ended::Gone => return Err(Gone),
                    }
                }
                Ok(Next::End) => break,
                Err(error) => {
                    // The client sees that the answer is incomplete.
                    let peer = self.link.stream.peer().map(|peer| peer.to_string());
                    tracing::debug!(peer, %error, "a stream breaks off");
                    return Err(Gone);
                }
            }
            cores::yield_if_needed().await;
        }
        self.link.drain_if_stopping();
        if let Some(coder) = &mut coder {
            self.link.http.send_chunk(coder.end(), self.link.now);
        }
        self.link.http.finish(self.link.now);
        if resets {
            self.link.transmit_all().await?;
            self.link.stream.reset_on_drop(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what `_make` gives, in bytes.
    fn size_of_made<A, B, C, F>(_make: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_takes_little_memory_whatever_its_requests_are() {
        let bytes = size_of_made(serve);
        assert!(bytes < 2_000, "{bytes}");
    }
}
