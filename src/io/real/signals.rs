//! Signals as something that a task waits for.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{FromRawFd, OwnedFd},
    ptr,
};

use super::polled::Polled;

/// Bytes of what is read of a signal.
const REPORT_BYTES: usize = size_of::<libc::signalfd_siginfo>();

/// Has this thread, and those that it starts from now on, leave the signals to who waits for them.
///
/// # Errors
/// When a number is that of no signal.
pub fn block(signals: &[libc::c_int]) -> io::Result<()> {
    let set = set_of(signals)?;
    // SAFETY: the set is initialised, and nothing is asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn set_of(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call initialises the set, and those after it check the numbers.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            if libc::sigaddset(set.as_mut_ptr(), signal) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(set.assume_init())
    }
}

/// Signals that are blocked, for one task of a core.
pub struct Signals(Polled<OwnedFd>);

impl Signals {
    /// Hears of `signals` from now on.
    ///
    /// # Errors
    /// When there is no descriptor for that.
    pub fn new(signals: &[libc::c_int]) -> io::Result<Self> {
        let set = set_of(signals)?;
        // SAFETY: the set is initialised; what is given back is open, and nobody else's.
        let descriptor = unsafe {
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => return Err(io::Error::last_os_error()),
                descriptor => OwnedFd::from_raw_fd(descriptor),
            }
        };
        Polled::new(descriptor).map(Self)
    }

    /// Waits until one comes.
    ///
    /// # Errors
    /// What the system reports.
    pub async fn recv(&self) -> io::Result<()> {
        let mut report = [0_u8; REPORT_BYTES];
        loop {
            self.0.readiness().readable().await;
            match rustix::io::read(self.0.get_ref(), &mut report[..]) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => self.0.readiness().drained(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
