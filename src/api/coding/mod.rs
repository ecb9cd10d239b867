//! Content codings: answers and streams that are compressed for who takes that, and bodies of
//! requests that come so.

mod accepted;
mod kind;
mod pack;
mod stream;
mod unpack;

pub use self::{accepted::Accepted, kind::Coding, stream::StreamCoder};
pub(super) use self::{
    pack::{choose, pack, vary},
    unpack::unpack,
};
