//! How a client behaves.

use std::{fmt, sync::Arc, time::Duration};

use crate::error::Error;

/// Told of each failure that is tried again, and of the pause before that.
pub(crate) type OnRetry = Arc<dyn Fn(&Error, Duration) + Send + Sync>;

/// How a client behaves.
#[derive(Clone)]
pub struct Options {
    /// What `Authorization: Bearer` bears.
    pub token: Option<String>,
    /// The history that every answer must be of, if it is known.
    pub cluster: Option<String>,
    /// Tries after the first one; what follows a list never gives up.
    pub retries: u32,
    /// The first pause between tries.
    pub pause_min: Duration,
    /// The longest pause between tries, unless a node asks for more.
    pub pause_max: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a node may be silent, besides what it was asked to wait.
    pub timeout: Duration,
    /// How long a stream may be silent: nodes send something every 15 seconds.
    pub silence: Duration,
    /// More bytes are not taken in one answer, or in one line of a stream.
    pub answer_bytes_max: usize,
    /// Told of each failure that is tried again, and of the pause before that.
    pub on_retry: Option<OnRetry>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            cluster: None,
            retries: 10,
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            silence: Duration::from_secs(40),
            answer_bytes_max: 64 << 20,
            on_retry: None,
        }
    }
}

impl fmt::Debug for Options {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cluster", &self.cluster)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
