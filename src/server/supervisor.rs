//! What whoever supervises the process is told: that the node listens, and that it stops. It is a datagram to the socket
//! that `NOTIFY_SOCKET` names, as systemd has it for units of `Type=notify`.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// The variable that names the socket: a path, or `@` before an abstract name.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice<'a> {
    /// It listens there.
    Listening(&'a str),
    /// It was told to stop, and ends soon.
    Stopping,
}

/// Tells it, if somebody wants to know. Who cannot be told is not waited for.
pub(super) fn tell(notice: Notice<'_>) {
    let Some(place) = env::var_os(VARIABLE).filter(|place| !place.is_empty()) else { return };
    let text = match notice {
        Notice::Listening(url) => format!("READY=1\nSTATUS=listening {url}\n"),
        Notice::Stopping => "STOPPING=1\nSTATUS=stopping\n".to_owned(),
    };
    if let Err(error) = send(&place, text.as_bytes()) {
        tracing::warn!(%error, "the supervisor that NOTIFY_SOCKET names cannot be told");
    }
}

fn send(place: &OsStr, text: &[u8]) -> io::Result<()> {
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(place),
    }?;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text, &address).map(drop)
}
