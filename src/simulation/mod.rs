//! Whole nodes in one thread, on virtual time, a virtual network and simulated disks: a
//! second composition root beside `server`. Each node is the one that is shipped, from
//! the bytes of an HTTP request to the sectors of its disk.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`world`] | one run, from its seed to its verdict |
//! | [`plan`] | what a seed decides before anything happens |
//! | [`faults`] | what goes wrong: processes, network, clocks, disks |
//! | [`places`], [`node`], [`copies`] | the nodes, and copies of what they hold |
//! | [`client`], [`wire`] | who asks them, as bytes of HTTP |
//! | [`record`], [`history`], [`coverage`] | what happened, for people and for the oracle |
//! | [`ending`] | what holds once all is well |
//! | [`oracle`] | whether what clients were told can be true |
//!
//! The same seed gives the same bytes: nothing here asks anything but the executor for
//! time and chance, and nothing goes by the order of a hash.

mod client;
mod connection_tests;
mod copies;
mod coverage;
mod damage;
mod disk_tests;
mod ending;
mod everything;
mod faults;
mod history;
mod node;
mod oracle;
mod places;
mod plan;
mod planted;
mod record;
mod renewed_tests;
mod tests;
mod wire;
mod world;
mod written_tests;
