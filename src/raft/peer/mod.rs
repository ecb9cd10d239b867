//! How nodes speak to each other: framed messages over connections of one lane
//! each, opened by whoever asks.
//!
//! ```text
//! hello     | magic | version | lane | cluster | from | to | checksum | process |
//! welcome   | magic | version | refusal | cluster | node | 0 | checksum | process |
//! frame     | head bytes | body bytes | head checksum | body checksum | head | body |
//! ```
//!
//! Both speak the newest version that both know ([`Versions`](crate::base::protocol::Versions)).
//!
//! A node that is not of the same cluster, or not the one that is asked for, is
//! refused at the hello. The head of a frame is a message with a number, which
//! its answer repeats; entries of the log are its body, in the very bytes and
//! with the checksums that segments have.

mod arriving;
mod call_error;
mod channel;
mod failed;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hello;
mod message;
#[cfg(test)]
mod network_tests;
mod outgoing;
mod places;
mod processes;
mod refused;
mod serve;
mod waiting;

pub use call_error::CallError;
pub(super) use channel::OnRefusal;
pub use channel::{Channel, OUTCOMES_BYTES_MAX, Pending, Settings};
pub(super) use frame::{Body, Parts};
pub use hello::{Lane, Refusal};
pub use message::{AdminRefusal, AdminRequest, Adoption, Answer, AppendAnswer, Change, Request};
pub use processes::{Instance, Process};
pub use serve::{Acceptor, Directory, Handler, Standing};
