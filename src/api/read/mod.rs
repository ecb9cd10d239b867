//! Reading: what is asked for, pages, streams, single changes and keys.

pub mod answer;
pub(super) mod caching;
pub(super) mod change;
mod damage;
pub(super) mod freshness;
pub(super) mod key;
pub(super) mod list;
pub(super) mod moment;
pub(super) mod moved;
pub(super) mod names;
mod older;
mod older_answer;
mod page_reader;
mod part;
mod places;
pub(super) mod question;
mod shared_page;
pub(super) mod stream;

pub(super) use shared_page::SharedPage;
