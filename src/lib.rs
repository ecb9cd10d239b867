//! ChangeAgent: a small distributed database for tracking changes to data and
//! handing them to other systems, over plain HTTP and JSON.

pub mod api;
pub mod base;
pub mod feed;
pub mod http;
pub mod io;
pub mod log;
pub mod node;
pub mod raft;
pub mod server;
pub mod state;
