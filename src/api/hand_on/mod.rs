//! What a copy does not answer itself: writes, and reads of what it does not hold. Both go on to its
//! origin as they came.

mod passed;
mod places;
mod read;
mod request;
mod stream;
mod write;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) use self::request::passed_on;
pub(super) use self::{
    passed::PassedOn,
    places::HandedOn,
    read::{hand_on_read, is_elsewhere, is_ticket_elsewhere},
    write::{check_history, hand_on_write},
};
