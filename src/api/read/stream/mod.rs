//! A list of changes as a stream: events for browsers, or lines for programs.
//! Between two parts it is a cursor and nothing else; the next part is read when
//! the one before is with the client.

mod drive;
mod event;
mod kind;
mod state;

pub(in crate::api) use self::{
    drive::{advance, open},
    event::{reset, unavailable},
    kind::{StreamKind, no_last_event_id},
};
pub use state::{ChangeStream, Next};
