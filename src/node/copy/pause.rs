//! The pause before origins are asked again.

use crate::{
    base::timing::{COPY_RETRY_MAX, COPY_RETRY_MIN},
    io::cores,
};

/// Waits after so many failures with `count` origins, longer each time, and never as long as others do.
pub(super) async fn pause(failures: usize, count: usize) {
    let rounds = u32::try_from(failures / count).unwrap_or(u32::MAX);
    let longest = COPY_RETRY_MIN.saturating_mul(1 << rounds.min(16)).min(COPY_RETRY_MAX);
    let part = f64::from(cores::random::<u32>()) / f64::from(u32::MAX);
    cores::sleep(longest.mul_f64(0.5 + part / 2.0)).await;
}
