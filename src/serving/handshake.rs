//! The handshakes of connections under TLS: how many there may be at once, how long each may take, and
//! whose turn it is. A step of one takes up to a millisecond of a core, so between any two of them
//! everybody else on the core has a turn.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, MutexGuard};

use super::{
    admission::Place,
    context::CoreContext,
    in_hand::Counted,
    waiting::{Idle, Waiting},
};
use crate::{
    api::metrics::Limit,
    base::{
        limits::{HANDSHAKES_MAX, LINGER_BYTES, LINGER_TIMEOUT},
        timing::HANDSHAKE,
    },
    io::{
        cores,
        net::Stream,
        tls::{Entrance, FIRST_BYTE},
    },
};

/// The same complaint is logged once in this time.
const COMPLAINT_AGAIN: Duration = Duration::from_secs(60);

/// What a client hears that speaks plain HTTP to a port under TLS.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n\
    Connection: close\r\nContent-Length: 147\r\n\r\n\
    {\"type\":\"/errors/bad-request\",\"title\":\"Bad request\",\"status\":400,\
    \"detail\":\"this port speaks TLS: begin the URL with https://\",\"code\":\"bad-request\"}";

/// The handshakes of one core.
pub(super) struct Handshakes {
    entrance: Arc<Entrance>,
    /// At most [`HANDSHAKES_MAX`], but for those that are about to go.
    under_way: Cell<usize>,
    turn: Mutex<()>,
    complained: Cell<Option<Instant>>,
}

/// One handshake among them.
struct UnderWay(Rc<Handshakes>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let left = self.0.under_way.get().checked_sub(1);
        self.0.under_way.set(left.expect("a handshake ends once"));
    }
}

impl Handshakes {
    pub(super) fn new(entrance: Arc<Entrance>) -> Self {
        let (under_way, complained) = (Cell::default(), Cell::default());
        Self { entrance, under_way, turn: Mutex::new(()), complained }
    }

    /// The connection under TLS, once its client has shown that it is to come in; `None` where it does not
    /// within the time there is, or where it has to make room for others before.
    pub(super) async fn secure(
        self: Rc<Self>,
        stream: Stream,
        context: &CoreContext,
        place: &Place,
    ) -> Option<Stream> {
        let (metrics, peer) = (context.api.metrics(), stream.peer());
        let since = cores::now();
        // Who says nothing goes first: else it would take as many places as it liked of those who do.
        let gives_way = |kind| context.deadlines.close_idle(kind, since);
        if self.under_way.get() >= HANDSHAKES_MAX
            && !gives_way(Idle::Silent)
            && !gives_way(Idle::Handshake)
        {
            metrics.limited(Limit::Handshakes);
            return None;
        }
        self.under_way.set(self.under_way.get() + 1);
        let _under_way = UnderWay(Rc::clone(&self));
        let _counted = Counted::new(&metrics.handshakes);
        let deadline = context.deadlines.register();
        let (until, since) = (Some(since + HANDSHAKE), Some(since));
        let wait = |idle| {
            let idle = Some(if place.is_welcome() { idle } else { Idle::Refused });
            deadline.wait(Waiting { until, idle, since, ..Waiting::default() });
        };
        wait(Idle::Silent);
        let mut secured = pin!(async {
            let mut first = [0];
            let begun = stream.peek(&mut first).await?;
            wait(Idle::Handshake);
            self.shake(stream, &first[..begun]).await
        });
        let outcome = poll_fn(|cx| {
            if deadline.poll_passed(cx) || context.api.node().is_stopping() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            secured.as_mut().poll(cx)
        })
        .await;
        if let Err(error) = &outcome {
            metrics.failed_handshakes.inc();
            let peer = peer.map(|peer| peer.to_string());
            tracing::debug!(peer, %error, "a client did not come to terms on TLS");
        }
        outcome.ok()
    }

    async fn shake(&self, stream: Stream, first: &[u8]) -> io::Result<Stream> {
        match first {
            [] => Err(io::ErrorKind::UnexpectedEof.into()),
            [FIRST_BYTE] => stream.secured(&self.entrance, async || self.turn().await).await,
            _ => Err(self.not_tls(&stream).await),
        }
    }

    /// The turn to compute a step.
    async fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        cores::yield_now().await;
        turn
    }

    /// Tells a client that it speaks something else than TLS, where that may be HTTP.
    async fn not_tls(&self, stream: &Stream) -> io::Error {
        let mut begun = [0; 1024];
        let is_http = stream.try_read(&mut begun).is_ok_and(|read| {
            let word = begun.split(|byte| *byte == b' ').next().unwrap_or_default();
            word.len() < read && word.len() <= 10 && word.iter().all(u8::is_ascii_uppercase)
        });
        if !is_http {
            return io::Error::new(io::ErrorKind::InvalidData, "it does not speak TLS");
        }
        self.complain(stream);
        // As far as there is room: it is the first that is written. What the client has sent is read, or the
        // system would break the connection off and take the answer back.
        let _ = stream.try_write(&[IoSlice::new(SPEAK_TLS)]);
        let _ = stream.close_write();
        let rest = async {
            let mut left = LINGER_BYTES;
            while let Ok(read @ 1..) = stream.read(&mut begun).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
        };
        let _ = cores::within(LINGER_TIMEOUT, rest).await;
        io::Error::new(io::ErrorKind::InvalidData, "it speaks plain HTTP")
    }

    fn complain(&self, stream: &Stream) {
        let now = cores::now();
        let again = |at: Instant| now.saturating_duration_since(at) >= COMPLAINT_AGAIN;
        if self.complained.get().is_none_or(again) {
            self.complained.set(Some(now));
            let peer = stream.peer().map(|peer| peer.to_string());
            tracing::warn!(
                peer,
                "a client speaks plain HTTP at a port that speaks TLS: it needs https://"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_plain_http_hears_a_whole_answer() {
        let text = std::str::from_utf8(SPEAK_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"], 400);
    }
}
