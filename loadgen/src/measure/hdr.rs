//! Latencies over time as an interval log of HdrHistogram, which its usual tools read.

use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::measure::results::Part;

/// Values are nanoseconds; the log gives the longest of an interval in milliseconds.
const NS_PER_MS: f64 = 1e6;

/// Writes the latencies of each interval, one kind of request after the other within it, tagged
/// with its name.
pub(crate) fn write(out: &mut impl Write, parts: &[Part], started: SystemTime) -> Result<()> {
    let mut intervals = Vec::new();
    for part in parts {
        let tag: String = part.name.split([' ', ',']).collect::<Vec<_>>().join("-");
        for (interval, latencies) in part.tally.intervals()? {
            let begins = part.interval * interval.at;
            let lasted = part.measured.saturating_sub(begins).min(part.interval);
            intervals.push((begins, lasted, tag.clone(), latencies));
        }
    }
    intervals.sort_by_key(|(begins, ..)| *begins);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(concat!("loadgen ", env!("CARGO_PKG_VERSION"), ", values in nanoseconds"))
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(out, &mut serializer)?;
    for (begins, lasted, tag, latencies) in &intervals {
        let lasted = (*lasted).max(Duration::from_millis(1));
        log.write_histogram(latencies.histogram(), *begins, lasted, Tag::new(tag))
            .map_err(|error| anyhow!("cannot write a histogram: {error:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::measure::span::Span;
    use crate::measure::tally::Tally;

    #[test]
    fn a_log_is_read_back_interval_by_interval() {
        let start = Instant::now();
        let span = Span::new(start, Duration::ZERO, Duration::from_secs(2));
        let mut parts = Vec::new();
        for name in ["append", "last arrival"] {
            let mut tally = Tally::new().expect("bounds");
            for ms in [300, 1_200, 1_700] {
                let now = start + Duration::from_millis(ms);
                tally.success(&span, now - Duration::from_millis(5), now, 1, 1);
            }
            let part = Part::new(name, [tally], span.measured(), span.interval);
            parts.push(part.expect("same bounds"));
        }
        let mut out = Vec::new();
        write(&mut out, &parts, SystemTime::UNIX_EPOCH).expect("written");
        let found: Vec<(String, u64, String)> = IntervalLogIterator::new(&out)
            .filter_map(|entry| match entry.expect("an entry") {
                LogEntry::Interval(one) => Some((
                    one.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default(),
                    one.start_timestamp().as_secs(),
                    format!("{:.1}", one.max()),
                )),
                _ => None,
            })
            .collect();
        let expected = [("append", 0), ("last-arrival", 0), ("append", 1), ("last-arrival", 1)];
        let expected = expected.map(|(tag, at)| (tag.to_owned(), at, "5.0".to_owned()));
        assert_eq!(found, expected);
    }
}
