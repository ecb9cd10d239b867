//! What a request says besides its path and its body: parameters and headers,
//! each read and checked apart.

pub(super) mod accept;
mod changes_query;
pub(super) mod conditions;
pub mod content_type;
mod copy_query;
pub(super) mod idempotency;
pub(super) mod parameter;
pub(super) mod path;
mod read_query;
pub(super) mod small_body;
pub mod tag_filter;
pub(super) mod target;
mod view;

pub use changes_query::{ChangesQuery, ListName, Since};
pub use copy_query::CopyQuery;
pub use parameter::Consistency;
pub use read_query::{ReadOf, ReadQuery};
pub(super) use view::View;
