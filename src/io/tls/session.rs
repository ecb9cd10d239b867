//! One connection under TLS: a socket, and what rustls makes of its bytes.
//!
//! What is written counts as written once all of it is with the socket, as records; until then
//! the caller comes again with the same bytes. So nothing is ever left to be sent that nobody waits for,
//! and time limits of whoever writes mean what they say.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice, Read, Write},
    task::{Context, Poll},
};

use rustls::{ClientConnection, Connection, ServerConnection};

use super::{caller::Caller, entrance::Entrance, names::bears, protocol::FIRST_BYTE};
use crate::io::real::net::{Peer, Stream, through_passage};

/// Bytes that become records at once.
const WRITE_BYTES: usize = 64 << 10;

/// What is on its way out beyond what counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Bytes that are kept until the socket has taken all of them.
    pub held_bytes: usize,
    /// Those that it has taken.
    pub moved_bytes: usize,
}

/// What rustls has of a connection.
struct State {
    connection: Connection,
    /// Bytes of the caller that are records already, of which some are not with the socket.
    ///
    /// Invariant: at most [`WRITE_BYTES`].
    unsent: usize,
    /// What the socket took of these records.
    taken: usize,
    /// Bytes that are decrypted and not taken yet.
    readable: usize,
    /// There is nothing more to wait for before a read.
    ended: bool,
}

/// A connection under TLS.
pub(in crate::io) struct Session {
    stream: Stream,
    state: RefCell<State>,
    /// The other side does not speak TLS, and that is allowed: bytes are what they are.
    is_plain: Cell<bool>,
    /// Nobody is to take the end of this for one that is meant.
    resets: Cell<bool>,
}

/// What the next step of a handshake waits for.
enum Step {
    Done,
    Readable,
    Writable,
}

impl Session {
    /// The side of who was connected to. Nothing is read yet.
    pub(in crate::io) fn accepted(stream: Stream, entrance: &Entrance) -> io::Result<Self> {
        let connection = ServerConnection::new(entrance.current()).map_err(io::Error::other)?;
        Ok(Self::new(stream, connection.into()))
    }

    /// The side of who has connected to `host`.
    pub(in crate::io) fn connected(
        stream: Stream,
        caller: &Caller,
        host: &str,
    ) -> io::Result<Self> {
        let name = caller.name_of(host)?;
        let connection = ClientConnection::new(caller.config(), name).map_err(io::Error::other)?;
        Ok(Self::new(stream, connection.into()))
    }

    fn new(stream: Stream, mut connection: Connection) -> Self {
        // What is written is cut before.
        connection.set_buffer_limit(None);
        let state = State { connection, unsent: 0, taken: 0, readable: 0, ended: false };
        Self {
            stream,
            state: RefCell::new(state),
            is_plain: Cell::default(),
            resets: Cell::default(),
        }
    }

    /// See [`crate::io::net::Stream::reset_on_drop`].
    pub(in crate::io) fn reset_on_drop(&self, resets: bool) -> bool {
        self.resets.set(resets);
        self.stream.reset_on_drop(resets)
    }

    /// Has the handshake done. Each of its steps is computed when `turn` has come.
    pub(in crate::io) async fn shake<T>(&self, turn: impl AsyncFn() -> T) -> io::Result<()> {
        loop {
            let step = {
                let _turn = turn().await;
                self.state.borrow_mut().step(&self.stream)?
            };
            match step {
                Step::Done => return Ok(()),
                Step::Readable => poll_fn(|cx| self.stream.poll_readable(cx)).await,
                Step::Writable => poll_fn(|cx| self.stream.poll_writable(cx)).await,
            }
        }
    }

    /// The same with who may not speak TLS at all.
    pub(in crate::io) async fn shake_or_be_plain<T>(
        &self,
        turn: impl AsyncFn() -> T,
    ) -> io::Result<()> {
        let mut first = [0];
        if self.stream.peek(&mut first).await? == 1 && first != [FIRST_BYTE] {
            self.is_plain.set(true);
            return Ok(());
        }
        self.shake(turn).await
    }

    /// Whether the certificate that the other side showed has that name; one that speaks no TLS shows none, which
    /// was allowed then.
    pub(in crate::io) fn is_of(&self, name: &str) -> bool {
        let state = self.state.borrow();
        let shown = state.connection.peer_certificates().and_then(|chain| chain.first());
        self.is_plain.get() || shown.is_some_and(|certificate| bears(certificate, name))
    }

    /// See [`crate::io::net::Stream::under_way`].
    pub(in crate::io) fn under_way(&self) -> UnderWay {
        let state = self.state.borrow();
        UnderWay { held_bytes: state.unsent, moved_bytes: state.taken.min(state.unsent) }
    }

    pub(in crate::io) fn peer(&self) -> Option<Peer> {
        self.stream.peer()
    }

    pub(in crate::io) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            poll_fn(|cx| self.poll_readable(cx)).await;
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) async fn read_onto(
        &self,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> io::Result<usize> {
        loop {
            poll_fn(|cx| self.poll_readable(cx)).await;
            match through_passage(buffer, most, |part| self.try_read(part)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) async fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.try_write(parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| self.poll_writable(cx)).await;
                }
                outcome => return outcome,
            }
        }
    }

    pub(in crate::io) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_plain.get() {
            return self.stream.try_read(buffer);
        }
        self.state.borrow_mut().read(&self.stream, buffer)
    }

    pub(in crate::io) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_plain.get() {
            return self.stream.try_write(parts);
        }
        self.state.borrow_mut().write(&self.stream, parts)
    }

    pub(in crate::io) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let state = self.state.borrow();
        match state.readable > 0 || state.ended {
            true => Poll::Ready(()),
            false => self.stream.poll_readable(cx),
        }
    }

    pub(in crate::io) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_writable(cx)
    }

    pub(in crate::io) fn close_write(&self) -> io::Result<()> {
        self.say_the_end();
        self.stream.close_write()
    }

    pub(in crate::io) fn close(&self) {
        self.say_the_end();
        self.stream.close();
    }

    /// Tells the other side that the end is meant, as far as there is room for that.
    fn say_the_end(&self) {
        if self.is_plain.get() {
            return;
        }
        let mut state = self.state.borrow_mut();
        state.connection.send_close_notify();
        let _ = state.flush(&self.stream);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.resets.get() && !self.state.borrow().connection.is_handshaking() {
            self.say_the_end();
        }
    }
}

impl State {
    /// Goes on with the handshake as far as it goes.
    fn step(&mut self, stream: &Stream) -> io::Result<Step> {
        loop {
            match self.flush(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Step::Writable);
                }
                outcome => outcome?,
            }
            if !self.connection.is_handshaking() {
                return Ok(Step::Done);
            }
            match self.receive(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Step::Readable);
                }
                outcome => outcome?,
            }
            if self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn read(&mut self, stream: &Stream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    let read = outcome.as_ref().map_or(0, |read| *read);
                    // What there was at the end of the handshake was never counted.
                    self.readable = self.readable.saturating_sub(read);
                    return outcome;
                }
            }
            self.readable = 0;
            let received = self.receive(stream);
            if received.is_err() {
                // There may be an answer to what the other side wants of TLS itself. Where there is no room
                // for it now, it goes with what is written next.
                let _ = self.flush(stream);
            }
            received?;
        }
    }

    /// Takes in what the socket has, once.
    fn receive(&mut self, stream: &Stream) -> io::Result<()> {
        if self.connection.read_tls(&mut Socket(stream))? == 0 {
            self.ended = true;
        }
        let state = self.connection.process_new_packets().map_err(|error| {
            // The other side is told why.
            let _ = self.flush(stream);
            self.ended = true;
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        self.readable = state.plaintext_bytes_to_read();
        self.ended |= state.peer_has_closed();
        Ok(())
    }

    fn write(&mut self, stream: &Stream, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(stream)?;
        if self.unsent == 0 {
            self.taken = 0;
            let mut room = WRITE_BYTES;
            for part in parts {
                let part = part.get(..room).unwrap_or(part);
                let taken = self.connection.writer().write(part)?;
                assert_eq!(taken, part.len(), "what rustls takes has no limit");
                self.unsent += taken;
                room -= taken;
            }
            assert!(self.unsent <= WRITE_BYTES, "{} bytes became records at once", self.unsent);
            self.flush(stream)?;
        }
        self.taken = 0;
        Ok(std::mem::take(&mut self.unsent))
    }

    /// Gives the socket all that is to be sent; `WouldBlock` where it has no room for it.
    fn flush(&mut self, stream: &Stream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(stream))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                taken => self.taken += taken,
            }
        }
        Ok(())
    }
}

/// The socket as rustls wants it.
struct Socket<'a>(&'a Stream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
