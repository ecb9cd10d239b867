//! What is found without reading the list: tenants, collections, live keys, the
//! changes of each tenant, collection and tag, and idempotency keys.
//!
//! One writer, the apply loop; any number of readers on other cores. Each part
//! has a lock of its own, held for a lookup or a bounded slice, so a reader and
//! the writer meet only on the same tenant or collection and then for less than
//! a microsecond or so.
//!
//! The writer applies a batch here before it publishes the batch to the serving
//! cores, and first says up to which change that goes (`Index::begin`). So a
//! reader that has looked here waits until its core holds that change too
//! ([`Index::applying_up_to`]): what it answers then is never older in one part than in
//! another.

mod catalog;
mod collection;
mod expiries;
mod idempotency;
mod key;
mod list;
mod list_bytes;
pub(in crate::state) mod lists;
mod locks;
mod meter;
mod parts;
mod postings;
mod redactions;
mod run;
mod slice;
mod span;
mod tail;
mod tenant;
mod tokens;
mod union;
mod whole;

pub use catalog::Catalog;
pub use collection::Collection;
pub use expiries::{Due, Expiries};
pub use idempotency::{IdempotencyKeys, Known};
pub use key::ListKey;
pub use list::{Cursor, ListId, ListOf, Reached, TagSet};
pub use lists::SealedLists;
pub use meter::{Exceeded, Meter, Quota, TenantTaken, Use};
pub use redactions::Redactions;
pub use slice::Slice;
pub use span::Span;
pub use tenant::Tenant;
pub use tokens::Tokens;
pub use whole::Index;

pub(super) use tail::Tail;

pub(super) use locks::lock;
