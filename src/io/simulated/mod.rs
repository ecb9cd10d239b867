//! What tests run on in place of the machine.

pub mod disk;
