//! Ctrl-C: the first asks every loop to end early and report, the second ends the process.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Exit code of a run that a second signal cut off.
const EXIT_INTERRUPTED: i32 = 130;

/// Installs the handlers.
pub(crate) fn install() -> Result<()> {
    let stop = STOP.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the shutdown looks at the flag before this signal sets it.
        signal_hook::flag::register_conditional_shutdown(
            signal,
            EXIT_INTERRUPTED,
            Arc::clone(stop),
        )
        .and_then(|_| signal_hook::flag::register(signal, Arc::clone(stop)))
        .context("cannot handle signals")?;
    }
    Ok(())
}

/// Whether the run should end now.
pub(crate) fn requested() -> bool {
    STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed))
}
