//! The policy of membership: who is taken in and under which number, who may cease to
//! vote, and who is asked first. Whoever leads the cluster decides; every other node hands
//! on to it what it is asked.

mod add;
mod adoption;
mod alter;
mod founding;
#[cfg(test)]
mod founding_tests;
mod gather;
mod introductions;
mod join;
mod leader;
mod reconcile;
mod service;

pub use adoption::{Adopted, Adoptions};
pub use gather::{FOUNDER, Gatherer};
pub use introductions::{Applicant, Introduction, Introductions};
pub use join::{join, tell_without_effect};
pub use reconcile::reconcile;
pub use service::MembershipService;
