//! Line plots as SVG. Colours are classes, so that the page's style decides them for light and dark.

use std::fmt::Write;

use crate::text::{escape, number_of, seconds};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;
/// Points of a line; more cannot be told apart on a screen.
const POINTS_MAX: usize = 600;
/// Colours that can be told apart; lines beyond them repeat colours with dashes.
pub(crate) const COLOURS: usize = 8;

/// What is measured along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Axis {
    /// Seconds since the start, from 0.
    Time { to: f64 },
    /// Seconds, each tick ten times the last.
    Waits { from: f64, to: f64 },
    /// 0 to 1, written in percent.
    Share { to: f64 },
    /// Plain numbers from 0.
    Count { to: f64 },
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Which colour.
    pub(crate) colour: usize,
    /// Sorted by the first.
    pub(crate) points: Vec<(f64, f64)>,
    /// Holds its value until the next point, instead of going there straight.
    pub(crate) steps: bool,
}

/// One plot.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) x_label: String,
    pub(crate) y: Axis,
    pub(crate) y_label: String,
    pub(crate) lines: Vec<Line>,
    /// Lines may be equal: those drawn later are thinner, so that all are seen.
    pub(crate) layered: bool,
    /// Times at which something happened, marked below.
    pub(crate) marks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to 1 along the axis.
    fn position(self, value: f64) -> f64 {
        let at = match self {
            Self::Time { to } | Self::Share { to } | Self::Count { to } => value / to.max(f64::MIN_POSITIVE),
            Self::Waits { from, to } => (value.max(from) / from).ln() / (to / from).max(1.000_001).ln(),
        };
        if at.is_finite() { at.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Ticks of a time axis for pictures that draw their own.
    pub(crate) fn ticks_of_time(to: f64) -> Vec<(f64, String)> {
        Self::Time { to }.ticks()
    }

    fn ticks(self) -> Vec<(f64, String)> {
        match self {
            Self::Time { to } => {
                let (unit, name) = time_unit(to);
                steps(to / unit).map(|value| (value * unit, format!("{} {name}", number_of(value)))).collect()
            }
            Self::Waits { from, to } => {
                let all =
                    [0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 36_000.0, 86_400.0, 864_000.0, 8_640_000.0];
                let within = all.into_iter().filter(|tick| (from..=to).contains(tick));
                within.map(|tick| (tick, seconds_short(tick))).collect()
            }
            Self::Share { to } => {
                steps(to * 100.0).map(|value| (value / 100.0, format!("{} %", number_of(value)))).collect()
            }
            Self::Count { to } => steps(to).map(|value| (value, plain(value))).collect(),
        }
    }
}

fn seconds_short(value: f64) -> String {
    match value {
        60.0 => "1 min".into(),
        600.0 => "10 min".into(),
        3_600.0 => "1 h".into(),
        36_000.0 => "10 h".into(),
        86_400.0.. => format!("{} d", number_of(value / 86_400.0)),
        value => seconds(value),
    }
}

fn plain(value: f64) -> String {
    if value >= 10_000.0 { format!("{} k", number_of(value / 1_000.0)) } else { number_of(value) }
}

/// The unit that a span of seconds is best told in.
fn time_unit(span: f64) -> (f64, &'static str) {
    match span {
        ..=300.0 => (1.0, "s"),
        ..=10_800.0 => (60.0, "min"),
        ..=259_200.0 => (3_600.0, "h"),
        _ => (86_400.0, "d"),
    }
}

/// 0 and up to eight round steps.
fn steps(to: f64) -> impl Iterator<Item = f64> {
    let to = if to.is_finite() && to > 0.0 { to } else { 1.0 };
    let rough = to / 6.0;
    let ten = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * ten).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(ten * 10.0);
    (0..=8).map(move |number| f64::from(number) * step).take_while(move |value| *value <= to * 1.000_001)
}

/// The end of an axis from 0 that holds a value: a round number above it.
pub(crate) fn round_up(value: f64) -> f64 {
    let value = if value.is_finite() && value > 0.0 { value } else { 1.0 };
    let ten = 10_f64.powf(value.log10().floor());
    let round = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    round.map(|factor| factor * ten).into_iter().find(|round| *round >= value * 0.999_999).unwrap_or(value)
}

impl Plot {
    /// The plot with its title and legend, as HTML.
    pub(crate) fn render(&self) -> String {
        let mut svg = String::new();
        let _ = write!(
            svg,
            "<figure class=\"plot\"><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title),
            escape(&self.title),
        );
        self.axes(&mut svg);
        for (at, what) in &self.marks {
            let x = place_x(self.x.position(*at));
            let _ = writeln!(
                svg,
                "<g class=\"mark\"><title>{}</title><line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\"/></g>",
                escape(what),
                HEIGHT - BOTTOM,
            );
        }
        for (number, line) in self.lines.iter().enumerate() {
            let later = if self.layered { (self.lines.len() - 1 - number).min(3) } else { 0 };
            let width = 1.6 + 1.5 * later as f64;
            let dashes = if line.colour >= COLOURS { " dashed" } else { "" };
            let _ = writeln!(
                svg,
                "<path class=\"line c{}{dashes}\" stroke-width=\"{width}\" d=\"{}\"><title>{}</title></path>",
                line.colour % COLOURS,
                self.path(line),
                escape(&line.name),
            );
        }
        svg.push_str("</svg>\n");
        if self.lines.len() > 1 || !self.marks.is_empty() {
            svg.push_str(&legend(
                self.lines.iter().map(|line| (line.colour, line.name.as_str())),
                self.marks.len(),
            ));
        }
        svg.push_str("</figure>\n");
        svg
    }

    fn axes(&self, svg: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, text) in self.y.ticks() {
            let y = place_y(self.y.position(value));
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 6.0,
                y + 3.5,
            );
        }
        for (value, text) in self.x.ticks() {
            let x = place_x(self.x.position(value));
            let _ = writeln!(
                svg,
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{bottom}\" x2=\"{x:.1}\" y2=\"{:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 4.0,
                bottom + 16.0,
            );
        }
        let middle = TOP + (bottom - TOP) / 2.0;
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"rotate(-90 11 {middle:.1})\" x=\"11\" y=\"{middle:.1}\" text-anchor=\"middle\">{}</text>",
            LEFT + (right - LEFT) / 2.0,
            HEIGHT - 8.0,
            escape(&self.x_label),
            escape(&self.y_label),
        );
    }

    fn path(&self, line: &Line) -> String {
        let mut path = String::new();
        let mut last_y = None;
        let stride = line.points.len().div_ceil(POINTS_MAX).max(1);
        let ends = line.points.len().saturating_sub(1);
        for (number, (x, y)) in line.points.iter().enumerate() {
            if !number.is_multiple_of(stride) && number != ends {
                continue;
            }
            let (x, y) = (place_x(self.x.position(*x)), place_y(self.y.position(*y)));
            match last_y {
                None => {
                    let _ = write!(path, "M{x:.1} {y:.1}");
                }
                Some(before) if line.steps => {
                    let _ = write!(path, "H{x:.1}");
                    if before != y {
                        let _ = write!(path, "V{y:.1}");
                    }
                }
                Some(_) => {
                    let _ = write!(path, "L{x:.1} {y:.1}");
                }
            }
            last_y = Some(y);
        }
        path
    }
}

/// What the colours mean.
fn legend<'a>(lines: impl Iterator<Item = (usize, &'a str)>, marks: usize) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (colour, name) in lines {
        let dashes = if colour >= COLOURS { " dashed" } else { "" };
        let _ = write!(html, "<li><i class=\"key c{}{dashes}\"></i>{}</li>", colour % COLOURS, escape(name));
    }
    if marks > 0 {
        html.push_str("<li><i class=\"key fault\"></i>a fault</li>");
    }
    html.push_str("</ul>\n");
    html
}

fn place_x(position: f64) -> f64 {
    LEFT + position * (WIDTH - LEFT - RIGHT)
}

fn place_y(position: f64) -> f64 {
    TOP + (1.0 - position) * (HEIGHT - TOP - BOTTOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let texts = |axis: Axis| axis.ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(Axis::Share { to: 1.0 }), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]);
        assert_eq!(
            texts(Axis::Time { to: 3_600.0 }),
            ["0 min", "10 min", "20 min", "30 min", "40 min", "50 min", "60 min"]
        );
        assert_eq!(texts(Axis::Waits { from: 1.0, to: 4_000.0 }), ["1 s", "10 s", "1 min", "10 min", "1 h"]);
        assert_eq!(texts(Axis::Count { to: 0.0 }).len(), 6);
        for to in [1e-9, 0.3, 7.0, 99.0, 1234.0, 1e15, f64::NAN, f64::INFINITY] {
            assert!((1..=9).contains(&texts(Axis::Count { to }).len()), "{to}");
        }
        assert_eq!([round_up(0.0), round_up(7.1), round_up(100.0)], [1.0, 8.0, 100.0]);
    }

    #[test]
    fn a_plot_stays_inside_its_frame() {
        let points = vec![(-5.0, 2.0), (50.0, f64::NAN), (1e9, -1.0)];
        let plot = Plot {
            title: "<b>".into(),
            x: Axis::Time { to: 100.0 },
            x_label: "time".into(),
            y: Axis::Share { to: 1.0 },
            y_label: "share".into(),
            lines: vec![Line { name: "a".into(), colour: 9, points, steps: false }],
            layered: false,
            marks: vec![(10.0, "crash".into())],
        };
        let html = plot.render();
        assert!(html.contains("&lt;b&gt;") && !html.contains("NaN"), "{html}");
        assert!(html.contains("M52.0 12.0L") && html.contains("c1 dashed"), "{html}");
    }
}
