//! The text format that every version of Prometheus and its tools reads.

/// The media type of the format, with its version.
pub(in crate::api) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Turns OpenMetrics text into it: a counter is declared by its full name, and
/// there are neither units nor an end.
pub(super) fn prometheus_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let declared = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| {
            let (name, rest) = line.strip_prefix(kind)?.split_once(' ')?;
            counters.contains(&name).then_some((kind, name, rest))
        });
        match declared {
            Some((kind, name, rest)) => {
                out.extend([kind, name, "_total ", rest, "\n"]);
            }
            None => out.extend([line, "\n"]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_declared_by_their_full_name() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n\
                    a_seconds 1\n# HELP b Things.\n# TYPE b counter\nb_total{c=\"d\"} 2\n# EOF\n";
        let want = "# HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 1\n\
                    # HELP b_total Things.\n# TYPE b_total counter\nb_total{c=\"d\"} 2\n";
        assert_eq!(prometheus_text(open), want);
    }
}
