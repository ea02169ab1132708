//! Two charts side by side as SVG, and the same figures as Markdown tables.

use std::fmt::Write;

/// One placement's points, one a number of nodes; `None` where there is none.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) balance: Vec<Option<f64>>,
    pub(crate) movement: Vec<Option<f64>>,
}

pub(crate) struct Chart<'a> {
    pub(crate) sizes: &'a [u64],
    pub(crate) lines: &'a [Line],
}

const COLOURS: [&str; 10] = [
    "#999999", "#1f77b4", "#2ca02c", "#d62728", "#ff9896", "#9467bd", "#8c564b", "#e377c2",
    "#17becf", "#bcbd22",
];

/// What the crate takes by default stands out, and the noise stands back.
fn stroke(name: &str) -> &'static str {
    match name {
        "slot-table" => "stroke-width=\"3\"",
        NOISE => "stroke-width=\"1.6\" stroke-dasharray=\"4 3\"",
        _ => "stroke-width=\"1.6\"",
    }
}

/// The line of a placement that is perfect but for the keys.
pub(crate) const NOISE: &str = "(noise of the keys)";

/// The plotting area of one chart.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 300.0;

/// A chart's vertical axis: the values at its ends and at its lines, drawn by their logarithms.
struct Axis {
    title: &'static str,
    marks: &'static [f64],
}

impl Axis {
    fn y(&self, value: f64) -> f64 {
        let (low, high) = (self.marks[0], self.marks[self.marks.len() - 1]);
        let part = (value.clamp(low, high) / low).ln() / (high / low).ln();
        HEIGHT * (1.0 - part)
    }
}

const BALANCE: Axis = Axis {
    title: "The fullest node, to its share",
    marks: &[1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
};

const MOVEMENT: Axis = Axis {
    title: "Keys that moved, to those that had to",
    marks: &[0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0],
};

impl Chart<'_> {
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 420\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"960\" height=\"420\" fill=\"white\"/>\n",
        );
        self.panel(&mut svg, 50.0, &BALANCE, |line| &line.balance);
        self.panel(&mut svg, 500.0, &MOVEMENT, |line| &line.movement);
        for (i, (line, colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let (x, y) = (50 + i % 5 * 175, 380 + i / 5 * 18);
            put(
                &mut svg,
                format_args!(
                    "<path d=\"M{x} {y}h18\" stroke=\"{colour}\" {}/><text x=\"{}\" y=\"{}\">{}</text>",
                    stroke(line.name),
                    x + 24,
                    y + 4,
                    line.name
                ),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn panel(
        &self,
        svg: &mut String,
        left: f64,
        axis: &Axis,
        points: impl Fn(&Line) -> &Vec<Option<f64>>,
    ) {
        put(svg, format_args!("<g transform=\"translate({left} 30)\">"));
        put(
            svg,
            format_args!(
                "<text y=\"-12\" font-size=\"13\">{}, by the number of nodes</text>",
                axis.title
            ),
        );
        for &mark in axis.marks {
            let y = axis.y(mark);
            put(
                svg,
                format_args!(
                    "<path d=\"M0 {y:.1}H{WIDTH}\" stroke=\"#ddd\"/><text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
                    y + 4.0
                ),
            );
        }
        for &size in self.sizes {
            let x = self.x(size);
            put(
                svg,
                format_args!(
                    "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10\">{size}</text>",
                    HEIGHT + 16.0
                ),
            );
        }
        // The bold line last, so that it lies on top of those that are as even.
        let (bold, others): (Vec<_>, Vec<_>) = self
            .lines
            .iter()
            .zip(COLOURS)
            .partition(|(line, _)| line.name == "slot-table");
        for (line, colour) in others.into_iter().chain(bold) {
            let drawn: Vec<String> = self
                .sizes
                .iter()
                .zip(points(line))
                .filter_map(|(&size, value)| {
                    Some(format!("{:.1},{:.1}", self.x(size), axis.y((*value)?)))
                })
                .collect();
            if !drawn.is_empty() {
                put(
                    svg,
                    format_args!(
                        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" {}/>",
                        drawn.join(" "),
                        stroke(line.name)
                    ),
                );
            }
        }
        svg.push_str("</g>\n");
    }

    /// The sizes stand by their logarithms.
    fn x(&self, size: u64) -> f64 {
        let log = |n: u64| (n as f64).ln();
        let (low, high) = (log(self.sizes[0]), log(self.sizes[self.sizes.len() - 1]));
        WIDTH * (log(size) - low) / (high - low)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "# Balance and movement against the number of nodes\n\n\
             Written by `cargo bench -p purlin-benches --bench ring_plot`, like the [chart](hash-ring.svg); not by hand. \
             Nodes of equal weight, 1 048 576\nkeys; the first line is what as many keys show of themselves.\n",
        );
        self.table(
            &mut text,
            "The fullest node's keys, as a multiple of its share",
            |line| &line.balance,
        );
        let title = "Keys that moved when a node came or went, as a multiple of those that had to";
        self.table(&mut text, title, |line| &line.movement);
        text
    }

    fn table(&self, text: &mut String, title: &str, points: impl Fn(&Line) -> &Vec<Option<f64>>) {
        let heads: Vec<String> = self.sizes.iter().map(u64::to_string).collect();
        put(
            text,
            format_args!("\n## {title}\n\n| placement | {} |", heads.join(" | ")),
        );
        put(
            text,
            format_args!("| --- |{}", " ---: |".repeat(heads.len())),
        );
        for line in self.lines {
            let values = points(line);
            if values.iter().all(Option::is_none) {
                continue;
            }
            let cells: Vec<String> = values
                .iter()
                .map(|value| value.map_or("-".to_owned(), |value| format!("{value:.3}")))
                .collect();
            put(
                text,
                format_args!("| {} | {} |", line.name, cells.join(" | ")),
            );
        }
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}
