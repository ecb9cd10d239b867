//! TLS 1.2 and 1.3 by rustls, as bytes on the sockets that there are: no thread and no runtime of
//! its own. Certificates, keys and roots come from files.

mod caller;
mod certificate;
mod entrance;
mod names;
mod nodes;
mod protocol;
mod roots;
mod session;
#[cfg(test)]
mod tests;
mod told;
mod validity;

pub use self::session::UnderWay;
pub use self::{
    caller::Caller,
    certificate::{Pair, TlsError, read_pair},
    entrance::Entrance,
    nodes::NodeTls,
    protocol::FIRST_BYTE,
    roots::{SystemRoots, system_roots},
    told::Told,
};
pub(in crate::io) use self::{nodes::speaks_no_tls, session::Session};
