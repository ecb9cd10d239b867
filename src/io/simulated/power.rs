//! Power that goes at one step of some work after the other.

use super::executor::run;

/// Has the power go one step later each time, until `cut`, which is told after how many steps and by
/// which seed, says that it did not go any more: more than `least` times.
///
/// # Panics
/// When it did not go so often.
pub fn cut_at_each_step<F: Future<Output = bool>>(
    seed: u64,
    least: u64,
    cut: impl Fn(u64, u64) -> F,
) {
    let mut steps = 0;
    while run(seed, cut(steps, seed + steps)) {
        steps += 1;
    }
    assert!(steps > least, "{steps}");
}
