//! Watches what servers take while a load runs, by their metrics.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::base::stop;
use crate::http::control::Control;
use crate::http::target::Targets;
use crate::measure::results::Sample;

/// How often the end is looked for.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// Samples each server at once and every so often, until `is_over`, and once more then. A server
/// that cannot be asked has no sample.
pub(crate) fn sample(
    targets: &Targets,
    every: Duration,
    timeout: Duration,
    is_over: impl Fn() -> bool,
) -> Vec<Sample> {
    let begun = Instant::now();
    let mut controls: Vec<Control> =
        targets.all().iter().map(|target| Control::new(target, timeout)).collect();
    let mut samples = Vec::new();
    let mut next = begun;
    loop {
        let ends = is_over() || stop::requested();
        if ends || Instant::now() >= next {
            next += every.max(WATCH_INTERVAL);
            for (control, target) in controls.iter_mut().zip(targets.all()) {
                let at_s = begun.elapsed().as_secs_f64();
                if let Ok(sample) = ask(control, &target.host, at_s) {
                    samples.push(sample);
                }
            }
        }
        if ends {
            return samples;
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn ask(control: &mut Control, url: &str, at_s: f64) -> Result<Sample> {
    let body = String::from_utf8_lossy(control.get("/metrics")?).into_owned();
    Ok(Sample {
        at_s,
        url: url.to_owned(),
        resident_mb: value(&body, "process_resident_memory_bytes")? / 1e6,
        open_files: value(&body, "process_open_fds")? as u64,
        cpu_s: value(&body, "process_cpu_seconds_total")?,
    })
}

/// The value of a metric without labels.
fn value(metrics: &str, name: &str) -> Result<f64> {
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let text = lines.next().with_context(|| format!("no {name}"))?;
    text.trim().parse().with_context(|| format!("{name} is no number"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# HELP a_b A.\na_b_c 7\na_b{x=\"y\"} 8\na_b 2.5\n";
        assert_eq!(super::value(text, "a_b").ok(), Some(2.5));
        assert!(super::value(text, "b").is_err());
    }
}
