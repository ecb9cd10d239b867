//! A list of changes as a stream: events for browsers, or lines for programs.
//! Between two parts it is a cursor and nothing else; the next part is read when
//! the one before is with the client.

mod drive;
mod event;
mod kind;
mod state;
mod walk;

pub(in crate::api) use self::{
    drive::{advance, check_held, open, refuse},
    event::{problem_event, reset, unavailable},
    kind::{Lines, StreamKind, no_last_event_id},
    walk::Walk,
};
pub use state::{ChangeStream, Next};
