//! HTTP/1.1 as a machine without I/O: bytes and the time go in, requests and
//! bytes to send come out. What does the reading and writing stands elsewhere;
//! everything here can be tested and fuzzed without a socket or a clock.
//!
//! [`Connection`] is the machine, one for each socket. Every message whose
//! meaning is open to doubt is refused with `400` and a closed connection, so
//! that no intermediary can be made to see another request than this server.

mod body;
mod connection;
mod context;
mod date;
mod encode;
mod error;
mod field_writer;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod head;
mod method;
pub mod problem;
mod request;
mod response;
mod scan;
mod span;
mod target;
mod transmit;

pub use connection::{Connection, Event};
pub use context::Context;
pub use date::DateText;
pub use error::ProtocolError;
pub use field_writer::FieldWriter;
pub use method::Method;
pub use request::{Request, Version};
pub use response::Response;
pub use transmit::Slices;
pub(crate) use {body::Body, head::BodyLength};
