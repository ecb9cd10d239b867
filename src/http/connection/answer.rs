//! The answering side of a connection.

use super::state::{Connection, Event, Exchange, HEAD_METHOD, HeadProgress, Phase, Stream};
use crate::{
    base::limits::BODY_COPY_BYTES,
    http::{
        encode::{self, Delimiter, Persistence},
        error::ProtocolError,
        method::Method,
        request::Version,
        response::Response,
    },
};
use bytes::Bytes;
use std::time::Instant;

impl Connection {
    /// Answers the request that was handed out last. Without one, or when the
    /// connection has been cut off meanwhile, nothing happens.
    pub fn respond(&mut self, response: Response, now: Instant) {
        let Phase::Answering(exchange) = self.phase else { return };
        if exchange.stream != Stream::NotBegun {
            return;
        }
        let close = self.closes_after(exchange, &response);
        let delimiter = match response.may_have_body() {
            true => Delimiter::Length(response.body.len()),
            false => Delimiter::None,
        };
        let has_body = response.may_have_body() && exchange.method != Method::Head;
        self.write(response, delimiter, persistence(exchange, close), has_body);
        self.finish_exchange(exchange, close, now);
    }

    /// Begins an answer whose body follows by [`send_chunk`](Self::send_chunk)
    /// and ends with [`finish`](Self::finish). The body of `response` itself is
    /// ignored.
    pub fn respond_head(&mut self, response: Response, now: Instant) {
        let Phase::Answering(exchange) = self.phase else { return };
        if exchange.stream != Stream::NotBegun {
            return;
        }
        let (delimiter, stream) = match exchange.version {
            _ if !response.may_have_body() => (Delimiter::None, Stream::Silent),
            Version::Http10 => (Delimiter::Close, Stream::UntilClose),
            Version::Http11 => (Delimiter::Chunked, Stream::Chunked),
        };
        let close = self.closes_after(exchange, &response) || delimiter == Delimiter::Close;
        self.write(response, delimiter, persistence(exchange, close), false);
        let stream = if exchange.method == Method::Head { Stream::Silent } else { stream };
        self.phase = Phase::Answering(Exchange { stream, close, ..exchange });
        self.arm_write(now);
    }

    /// Sends a piece of the body. It is queued whatever is queued already: the
    /// caller watches [`queued_bytes`](Self::queued_bytes).
    pub fn send_chunk(&mut self, chunk: Bytes, now: Instant) {
        let Phase::Answering(Exchange { stream, .. }) = self.phase else { return };
        let chunked = stream == Stream::Chunked;
        // An empty chunk would end the body.
        if chunk.is_empty() || !(chunked || stream == Stream::UntilClose) {
            return;
        }
        let small = chunk.len() <= BODY_COPY_BYTES;
        self.queue.write(|out| {
            if chunked {
                encode::write_chunk_size(out, chunk.len());
            }
            if small {
                out.extend_from_slice(&chunk);
            }
        });
        if !small {
            self.queue.share(chunk);
        }
        if chunked {
            self.queue.write(|out| out.extend_from_slice(b"\r\n"));
        }
        self.arm_write(now);
    }

    /// Ends the body.
    pub fn finish(&mut self, now: Instant) {
        let Phase::Answering(exchange) = self.phase else { return };
        match exchange.stream {
            Stream::NotBegun => return,
            Stream::Chunked => self.queue.write(|out| out.extend_from_slice(encode::LAST_CHUNK)),
            Stream::UntilClose | Stream::Silent => {}
        }
        let close = exchange.close || self.draining;
        self.finish_exchange(exchange, close, now);
    }

    /// Queues the answer to a request that this layer refuses, and closes.
    pub(super) fn refuse(&mut self, error: ProtocolError, now: Instant) -> Event {
        self.answer_and_close(Response::from(error), now);
        Event::Refused(error)
    }

    /// Answers a request without its body, about which the client
    /// [asks](Self::asking), and closes: whether the body is sent nevertheless
    /// cannot be told from what follows.
    pub fn decline(&mut self, response: Response, now: Instant) {
        if self.asking().is_some() {
            self.answer_and_close(response, now);
        }
    }

    fn answer_and_close(&mut self, response: Response, now: Instant) {
        let is_head = match &self.phase {
            Phase::Body { request, .. } => request.method == Method::Head,
            Phase::Head(progress) => {
                progress.is_head.unwrap_or_else(|| self.received.starts_with(HEAD_METHOD))
            }
            _ => false,
        };
        let delimiter = Delimiter::Length(response.body.len());
        self.write(response, delimiter, Persistence::Close, !is_head);
        self.close(true, now);
        self.arm_write(now);
    }

    fn closes_after(&self, exchange: Exchange, response: &Response) -> bool {
        let nothing_follows = self.read_closed && self.received.is_empty();
        !exchange.keep_alive || response.close || self.draining || nothing_follows
    }

    fn finish_exchange(&mut self, exchange: Exchange, close: bool, now: Instant) {
        self.arm_write(now);
        if close {
            // A client that asked for the close sends no more, and is let go at
            // once; another may be sending, and would lose the answer.
            self.close(exchange.keep_alive || !self.received.is_empty(), now);
        } else {
            self.phase = Phase::Head(HeadProgress::default());
            self.arm_head(now);
        }
    }

    fn write(
        &mut self,
        response: Response,
        delimiter: Delimiter,
        persistence: Persistence,
        has_body: bool,
    ) {
        let small = has_body && response.body.len() <= BODY_COPY_BYTES;
        self.queue.write(|out| {
            encode::write_head(out, &response, delimiter, persistence, &self.context);
            if small {
                out.extend_from_slice(&response.body);
            }
        });
        if has_body && !small {
            self.queue.share(response.body);
        }
    }
}

const fn persistence(exchange: Exchange, close: bool) -> Persistence {
    match exchange.version {
        _ if close => Persistence::Close,
        Version::Http10 => Persistence::KeepAlive,
        Version::Http11 => Persistence::Usual,
    }
}
