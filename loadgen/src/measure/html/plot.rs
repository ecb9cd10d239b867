//! Plots of lines as SVG.

use std::fmt::Write;

use super::escape;

/// The size of a plot and the room around its lines, in units of the drawing.
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 52.0;
/// Most points of a line: more are thinned out, and the highest of each stretch is kept.
const POINTS_MAX: usize = 600;
/// A line with no more points shows each of them.
const CIRCLES_MAX: usize = 30;
/// Lines are told apart by so many styles.
const STYLES: usize = 6;
/// Percentiles that are named on an axis.
const PERCENTILES: [f64; 8] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
/// How far the last percentile, 100, stands behind the one before it.
const LAST_STEP: f64 = 0.15;

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0 on.
    Linear,
    /// By their logarithm; only values above 0.
    Log,
    /// Percentiles, by how rare what lies above them is.
    Percentile,
}

/// One axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis<'a> {
    pub(super) label: &'a str,
    pub(super) scale: Scale,
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) label: String,
    /// Its style, from 0 on: all lines of a run have the same.
    pub(super) style: usize,
    pub(super) points: Vec<[f64; 2]>,
}

/// Draws the lines as a figure with a caption and a legend; nothing when no line has two points.
pub(super) fn figure(caption: &str, x: Axis<'_>, y: Axis<'_>, lines: &[Line]) -> String {
    let placed: Vec<Vec<[f64; 2]>> = lines.iter().map(|line| place(line, x, y)).collect();
    if placed.iter().all(|points| points.len() < 2) {
        return String::new();
    }
    let range_x = range(placed.iter().flatten().map(|point| point[0]), x.scale);
    let range_y = range(placed.iter().flatten().map(|point| point[1]), y.scale);
    let to_x = |value: f64| LEFT + share(value, range_x) * (WIDTH - LEFT - RIGHT);
    let to_y = |value: f64| HEIGHT - BOTTOM - share(value, range_y) * (HEIGHT - TOP - BOTTOM);
    let caption = escape(caption);
    // Writing to a string does not fail, here and below.
    let mut out = format!(
        "<figure><figcaption>{caption}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\" aria-label=\"{caption}\">"
    );
    for (value, name) in ticks(range_y, y.scale) {
        let at = to_y(value);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (value, name) in ticks(range_x, x.scale) {
        let at = to_x(value);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 6.0,
        escape(x.label),
        f64::midpoint(TOP, HEIGHT - BOTTOM),
        escape(y.label)
    );
    for (line, points) in lines.iter().zip(&placed) {
        draw(&mut out, line, points, |point| [to_x(point[0]), to_y(point[1])]);
    }
    out + "</svg>" + &legend(lines) + "</figure>"
}

/// One line, with its points where there are few.
fn draw(out: &mut String, line: &Line, points: &[[f64; 2]], to: impl Fn(&[f64; 2]) -> [f64; 2]) {
    let style = line.style % STYLES;
    let _ = write!(out, "<polyline class=\"s{style}\" points=\"");
    for [x, y] in points.iter().map(&to) {
        let _ = write!(out, "{x:.1},{y:.1} ");
    }
    let _ = write!(out, "\"><title>{}</title></polyline>", escape(&line.label));
    if points.len() <= CIRCLES_MAX {
        for [x, y] in points.iter().map(&to) {
            let _ =
                write!(out, "<circle class=\"s{style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
        }
    }
}

fn legend(lines: &[Line]) -> String {
    let items = lines.iter().map(|line| {
        format!(
            "<li><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><polyline class=\"s{}\" \
             points=\"0,4 28,4\"/></svg>{}</li>",
            line.style % STYLES,
            escape(&line.label)
        )
    });
    format!("<ul class=\"legend\">{}</ul>", items.collect::<String>())
}

/// The points of a line on axes that are linear by now.
fn place(line: &Line, x: Axis<'_>, y: Axis<'_>) -> Vec<[f64; 2]> {
    let mut placed: Vec<[f64; 2]> = Vec::new();
    for &[at, value] in &line.points {
        let at = match x.scale {
            Scale::Percentile if at >= 100.0 => {
                placed.last().map_or(0.0, |last: &[f64; 2]| last[0]) + LAST_STEP
            }
            scale => on_scale(at, scale),
        };
        let value = on_scale(value, y.scale);
        if at.is_finite() && value.is_finite() {
            placed.push([at, value]);
        }
    }
    let stretch = placed.len().div_ceil(POINTS_MAX).max(1);
    let highest = |points: &[[f64; 2]]| {
        points.iter().copied().max_by(|a, b| a[1].total_cmp(&b[1])).unwrap_or_default()
    };
    placed.chunks(stretch).map(highest).collect()
}

fn on_scale(value: f64, scale: Scale) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log => value.log10(),
        Scale::Percentile => -(1.0 - value / 100.0).log10(),
    }
}

/// The lowest and highest value, with something between them; linear axes begin at 0.
fn range(values: impl Iterator<Item = f64> + Clone, scale: Scale) -> [f64; 2] {
    let highest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let lowest = values.fold(f64::INFINITY, f64::min);
    match scale {
        Scale::Linear => [0.0, if highest > 0.0 { highest * 1.05 } else { 1.0 }],
        Scale::Percentile => [0.0, highest.max(LAST_STEP)],
        // At least from one power of ten to the next third.
        Scale::Log => [lowest - 0.05, (highest + 0.05).max(lowest + 0.5)],
    }
}

fn share(value: f64, [low, high]: [f64; 2]) -> f64 {
    (value - low) / (high - low)
}

/// Where an axis is marked, and with what.
fn ticks([low, high]: [f64; 2], scale: Scale) -> Vec<(f64, String)> {
    let inside = |value: f64| (low..=high).contains(&value);
    match scale {
        Scale::Percentile => {
            let all = PERCENTILES.iter().map(|&at| (on_scale(at, scale), format!("{at}")));
            all.filter(|(at, _)| inside(*at)).collect()
        }
        Scale::Linear => {
            let step = nice((high - low) / 5.0);
            let count = (high / step).floor() as i32;
            (0..=count).map(|n| f64::from(n) * step).map(|value| (value, short(value))).collect()
        }
        Scale::Log => {
            let decades = low.floor() as i32..=high.ceil() as i32;
            // Every power of ten, and where there are few also 2 and 5 times it.
            let factors: &[f64] = if high - low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let values = decades
                .flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
            values
                .map(|value| (value.log10(), short(value)))
                .filter(|(at, _)| inside(*at))
                .collect()
        }
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step);
    factor.unwrap_or(10.0) * power
}

/// A number in few characters.
fn short(value: f64) -> String {
    let text = |number: f64, unit: &str| {
        let text = format!("{number:.3}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        format!("{text}{unit}")
    };
    match value {
        value if value >= 1e6 => text(value / 1e6, " M"),
        value if value >= 1e4 => text(value / 1e3, " k"),
        value => text(value, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis<'static> {
        Axis { label: "x", scale }
    }

    fn line(points: &[[f64; 2]]) -> Line {
        Line { label: "a<b".to_owned(), style: 0, points: points.to_vec() }
    }

    #[test]
    fn axes_are_marked_at_round_numbers() {
        let names = |range, scale| -> Vec<String> {
            ticks(range, scale).into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names([0.0, 52.0], Scale::Linear), ["0", "20", "40"]);
        assert_eq!(names([0.0, 2_100_000.0], Scale::Linear), ["0", "500 k", "1 M", "1.5 M", "2 M"]);
        assert_eq!(names([-0.05, 1.05], Scale::Log), ["1", "2", "5", "10"]);
        assert_eq!(names([-2.0, 2.0], Scale::Log), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(names([0.0, 2.2], Scale::Percentile), ["0", "50", "90", "99"]);
    }

    #[test]
    fn a_line_is_drawn_within_its_frame() {
        let points = [[0.0, 0.5], [50.0, 1.0], [99.0, 8.0], [100.0, 20.0]];
        let drawn = figure("p & q", axis(Scale::Percentile), axis(Scale::Log), &[line(&points)]);
        assert!(drawn.contains("p &amp; q") && drawn.contains("a&lt;b"), "{drawn}");
        let start = drawn.find("points=\"").expect("a line") + "points=\"".len();
        let points: Vec<(f64, f64)> = drawn[start..]
            .split('"')
            .next()
            .into_iter()
            .flat_map(str::split_whitespace)
            .filter_map(|pair| pair.split_once(','))
            .map(|(x, y)| (x.parse().expect("a number"), y.parse().expect("a number")))
            .collect();
        assert_eq!(points.len(), 4);
        for (x, y) in points {
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y));
        }
    }

    #[test]
    fn long_lines_are_thinned_out_but_keep_their_peaks() {
        let mut points: Vec<[f64; 2]> = (0..5_000).map(|at| [f64::from(at), 1.0]).collect();
        points[1_234][1] = 9.0;
        let placed = place(&line(&points), axis(Scale::Linear), axis(Scale::Linear));
        assert!(placed.len() <= POINTS_MAX);
        assert!(placed.iter().any(|point| point[1] == 9.0));
    }

    #[test]
    fn without_two_points_there_is_no_plot() {
        let lines = [line(&[[1.0, 1.0]]), line(&[])];
        assert_eq!(figure("c", axis(Scale::Linear), axis(Scale::Linear), &lines), "");
        // Nothing can be drawn of zeros on a scale of logarithms.
        let zeros = [line(&[[1.0, 0.0], [2.0, 0.0]])];
        assert_eq!(figure("c", axis(Scale::Linear), axis(Scale::Log), &zeros), "");
    }
}
