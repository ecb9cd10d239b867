//! A serving core: it accepts connections, and drives each between its stream, HTTP and
//! the API. It knows neither sockets nor the executor, so it is the same in a process
//! and in the simulation.

mod admission;
mod connection;
mod context;
mod core;
mod deadlines;
mod handshake;
mod in_hand;
mod link;
mod pace;
mod parked;
mod pressure;
mod waiting;
mod written;

pub use admission::{Connections, Places};
pub use core::Core;
