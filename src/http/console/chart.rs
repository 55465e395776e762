//! Charts as inline SVG: what happened over a time, as lines and as bars. They take their colours from the page's style, and say in
//! words what they show; every bin tells its numbers to whoever points at it.

use std::fmt::Write;

/// What is drawn, bin by bin.
pub(super) struct Chart<'a> {
    /// Unique on its page.
    pub id: &'a str,
    pub title: &'a str,
    /// What it shows, for who cannot see it.
    pub description: &'a str,
    /// What stands under a bin, where something stands.
    pub ticks: Vec<Option<String>>,
    /// When each bin is, for who points at it.
    pub bins: Vec<String>,
    pub lines: Vec<Series<'a>>,
    /// Stacked.
    pub bars: Vec<Series<'a>>,
}

/// The numbers of one kind, one for each bin.
pub(super) struct Series<'a> {
    /// The name of its colour in the style.
    pub class: &'a str,
    pub name: &'a str,
    pub numbers: Vec<i64>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

impl Chart<'_> {
    /// The chart's element.
    pub(super) fn svg(&self) -> String {
        let bins = self.bins.len();
        let stacked: Vec<i64> = (0..bins).map(|at| self.bars.iter().map(|bar| number(bar, at)).sum()).collect();
        let most = self.lines.iter().flat_map(|line| &line.numbers).chain(&stacked).copied().max().unwrap_or(0);
        let scale = Scale { bins, top: nice(most) };
        let mut svg = String::new();
        let id = self.id;
        let _ = write!(
            svg,
            "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            escaped(self.title),
            escaped(self.description)
        );
        self.grid(&mut svg, &scale);
        self.draw_bars(&mut svg, &scale);
        for line in &self.lines {
            draw_line(&mut svg, &scale, line);
        }
        self.names(&mut svg, &scale);
        svg += "</svg>";
        svg
    }

    fn grid(&self, svg: &mut String, scale: &Scale) {
        for share in [0.0, 0.5, 1.0] {
            let value = scale.top as f64 * share;
            if value.fract() > 0.0 {
                continue;
            }
            let y = scale.y(value);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", WIDTH - RIGHT);
            let label = short(value as i64);
            let _ =
                write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, y + 3.5);
        }
        for (at, tick) in self.ticks.iter().enumerate() {
            if let Some(tick) = tick {
                let x = scale.x(at);
                let _ = write!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    HEIGHT - 6.0,
                    escaped(tick)
                );
            }
        }
    }

    fn draw_bars(&self, svg: &mut String, scale: &Scale) {
        let width = (scale.step() * 0.72).max(1.0);
        let mut below = vec![0_i64; scale.bins];
        for bar in &self.bars {
            let mut path = String::new();
            for (at, low) in below.iter_mut().enumerate() {
                let n = number(bar, at);
                if n == 0 {
                    continue;
                }
                let (bottom, top) = (scale.y(*low as f64), scale.y((*low + n) as f64));
                // What is there is seen, however little it is.
                let height = (bottom - top).max(1.0);
                let x = scale.x(at) - width / 2.0;
                let _ = write!(path, "M{x:.1} {bottom:.1}v-{height:.1}h{width:.1}v{height:.1}z");
                *low += n;
            }
            let _ = write!(svg, "<path class=\"bar {}\" d=\"{path}\"/>", bar.class);
        }
    }

    /// What every bin's numbers are, for who points at it.
    fn names(&self, svg: &mut String, scale: &Scale) {
        let step = scale.step();
        for (at, bin) in self.bins.iter().enumerate() {
            let numbers = self.lines.iter().chain(&self.bars).map(|series| (series.name, number(series, at)));
            let told: Vec<String> =
                numbers.filter(|(_, n)| *n > 0).map(|(name, n)| format!("{} {n}", escaped(name))).collect();
            if told.is_empty() {
                continue;
            }
            let _ = write!(
                svg,
                "<rect class=\"point\" x=\"{:.1}\" y=\"{TOP}\" width=\"{step:.1}\" height=\"{:.1}\"><title>{}: {}</title></rect>",
                scale.x(at) - step / 2.0,
                HEIGHT - TOP - BOTTOM,
                escaped(bin),
                told.join(", ")
            );
        }
    }
}

fn draw_line(svg: &mut String, scale: &Scale, line: &Series<'_>) {
    let mut path = String::new();
    for at in 0..scale.bins {
        let letter = if at == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{:.1} {:.1}", scale.x(at), scale.y(number(line, at) as f64));
    }
    let _ = write!(svg, "<path class=\"line {}\" d=\"{path}\"/>", line.class);
}

fn number(series: &Series<'_>, at: usize) -> i64 {
    series.numbers.get(at).copied().unwrap_or(0)
}

struct Scale {
    bins: usize,
    /// What the highest line stands for.
    top: i64,
}

impl Scale {
    fn step(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.bins.max(1) as f64
    }

    /// The middle of a bin.
    fn x(&self, at: usize) -> f64 {
        LEFT + self.step() * (at as f64 + 0.5)
    }

    fn y(&self, value: f64) -> f64 {
        let full = HEIGHT - TOP - BOTTOM;
        HEIGHT - BOTTOM - full * (value / self.top as f64).clamp(0.0, 1.0)
    }
}

/// The next number that is easily halved and read: 2, 4, 10, 20, 40, 100…
fn nice(most: i64) -> i64 {
    let mut power = 1_i64;
    loop {
        for digit in [2, 4, 10] {
            let number = power.saturating_mul(digit);
            if number >= most || number == i64::MAX {
                return number;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// A number with a thousand's letter where it is long.
pub(super) fn short(n: i64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{} k", n / 1_000),
        _ => format!("{} M", n / 1_000_000),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(numbers: Vec<i64>) -> Chart<'static> {
        Chart {
            id: "hour",
            title: "The last hour",
            description: "Two <kinds>",
            ticks: vec![Some("12:00".into()), None],
            bins: vec!["12:00".into(), "12:01".into()],
            lines: vec![Series { class: "accepted", name: "accepted", numbers }],
            bars: vec![Series { class: "failed", name: "failed", numbers: vec![0, 3] }],
        }
    }

    #[test]
    fn it_says_what_it_shows_and_every_bin_its_numbers() {
        let svg = chart(vec![7, 0]).svg();
        assert!(svg.contains("<title id=\"hour-t\">The last hour</title>"));
        assert!(svg.contains("Two &lt;kinds&gt;"));
        assert!(svg.contains("<title>12:00: accepted 7</title>"), "{svg}");
        assert!(svg.contains("<title>12:01: failed 3</title>"), "{svg}");
    }

    #[test]
    fn its_height_is_a_number_that_is_easily_read() {
        assert_eq!([0, 2, 3, 7, 11, 39, 41, 250].map(nice), [2, 2, 4, 10, 20, 40, 100, 400]);
        assert_eq!(nice(i64::MAX), i64::MAX);
        assert_eq!([7, 9_999, 12_345, 3_400_000].map(short), ["7", "9999", "12 k", "3 M"]);
        assert!(!chart(vec![0, 0]).svg().contains("NaN"));
    }
}
