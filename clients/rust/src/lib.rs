//! Client of ChangeAgent: appends changes, follows lists so that each change counts
//! exactly once, and keeps local copies in SQLite.
//!
//! It runs on any executor: what connects and sleeps is a [`Connector`], a small
//! trait. With the feature `tokio` there is [`Tokio`].
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use changeagent_client::{Client, Follow, NewChange, Options, Place, Tokio};
//!
//! let client = Client::new(Tokio, ["http://10.0.0.1:9000", "http://10.0.0.2:9000"], Options::default())?;
//! client.append(NewChange::of(&1)?.tenant("foo").tag("a"), None).await?;
//! let mut follower = client.follow(Follow::of(Place::tenant("foo")));
//! loop {
//!     let page = follower.next_page().await?;
//!     // Store this together with what you make of the changes, and start from there again.
//!     println!("{} changes up to {}", page.changes.len(), page.position);
//! }
//! # }
//! ```
//!
//! What is here from above to below: [`Client`] and [`Mirror`], [`Follower`] and
//! [`StateReader`], `core` (requests to several nodes, with retries), `http` (bytes,
//! without I/O), and [`Connector`].

mod client;
mod connector;
mod core;
mod error;
mod follow;
mod http;
mod lines;
#[cfg(feature = "mirror")]
mod mirror;
mod model;
mod node;
mod options;
mod place;
mod retry;
mod state;
#[cfg(feature = "mirror")]
mod tables;
#[cfg(feature = "tls")]
mod tls;

pub use client::{Client, Condition};
pub use connector::Connector;
#[cfg(feature = "tokio")]
pub use connector::Tokio;
pub use error::{Error, Problem, WriteError};
pub use follow::{Follow, Follower, Mode, Since};
#[cfg(feature = "mirror")]
pub use mirror::{BoxError, Keep, Mirror, MirrorOptions};
pub use model::{Appended, Change, NewChange, Page, Position};
pub use options::Options;
pub use place::Place;
pub use serde_json::value::RawValue;
pub use state::{Resume, StateReader};
#[cfg(feature = "tls")]
pub use tls::TokioTls;
