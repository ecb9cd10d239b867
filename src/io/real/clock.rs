//! What the kernel knows of the clock.

use std::io;

/// Whether something keeps the clock of the machine right, as the kernel was told.
///
/// # Errors
/// What the kernel reports.
pub fn is_synchronized() -> io::Result<bool> {
    // SAFETY: a structure of numbers may be all zeros.
    let mut told: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: it is valid, and with no modes set the call only fills it.
    let state = unsafe { libc::adjtimex(&raw mut told) };
    match state {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(told.status & libc::STA_UNSYNC == 0),
    }
}
