//! A row of growth as a drawing: both axes by powers, a line and a kind of mark for each mode. SVG without script, its text is text,
//! and it takes the colours of a dark page where the viewer says so.

use std::fmt::Write as _;

use super::growth::{Line, Row};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 82.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 58.0;

const STYLE: &str = "text{font-family:'DejaVu Sans',Verdana,Arial,sans-serif;font-size:13px;fill:#1a1a1a}
.title{font-size:18px;font-weight:bold}.small{font-size:12px;fill:#555}.page{fill:#fff}
.grid{stroke:#e2e2e0}.axis{stroke:#555}.guide{stroke:#777;stroke-dasharray:6 4;fill:none}
.l0,.l1,.l2{fill:none;stroke-width:2}.l0{stroke:#0072b2}.l1{stroke:#c25700}.l2{stroke:#00805e}
.m0{fill:#0072b2}.m1{fill:#c25700}.m2{fill:#00805e}
@media(prefers-color-scheme:dark){text{fill:#e8e8e6}.small{fill:#b0b0ae}.page{fill:#16181b}.grid{stroke:#33373c}.axis{stroke:#b0b0ae}
.guide{stroke:#a0a09e}.l0{stroke:#6cb9ee}.l1{stroke:#f2a35e}.l2{stroke:#4fcca5}.m0{fill:#6cb9ee}.m1{fill:#f2a35e}.m2{fill:#4fcca5}}
";

/// Both axes: from values to places.
struct Axes {
    /// The powers of two (host) and of ten (time) at both ends.
    across: (f64, f64),
    up: (i32, i32),
}

impl Axes {
    fn of(row: &Row) -> Self {
        let points = || row.lines.iter().flat_map(|line| &line.points);
        let across = points().map(|(n, _)| power(*n));
        let times = points().map(|(_, spent)| spent.micros);
        let (low, high) = times.fold((f64::MAX, 0.0), |(low, high): (f64, f64), time| {
            (low.min(time), high.max(time))
        });
        let decade = |time: f64, up: bool| {
            (-1..9)
                .filter(|n| (10_f64.powi(*n) >= time) == up)
                .collect::<Vec<i32>>()
        };
        Self {
            across: (
                across.clone().fold(f64::MAX, f64::min),
                across.fold(f64::MIN, f64::max),
            ),
            up: (
                decade(low, false).last().copied().unwrap_or(0),
                decade(high, true).first().copied().unwrap_or(9),
            ),
        }
    }

    fn x(&self, n: u32) -> f64 {
        let (first, last) = self.across;
        LEFT + 14.0 + (power(n) - first) / (last - first) * (WIDTH - LEFT - RIGHT - 28.0)
    }

    fn y(&self, micros: f64) -> f64 {
        let (low, high) = (f64::from(self.up.0), f64::from(self.up.1));
        HEIGHT - BOTTOM - (micros.log10() - low) / (high - low) * (HEIGHT - BOTTOM - TOP)
    }
}

/// The power of two of a number. Nothing stands where a half would.
fn power(n: u32) -> f64 {
    if n == 0 { -1.0 } else { f64::from(n).log2() }
}

/// The picture.
pub(crate) fn draw(row: &Row) -> String {
    let axes = Axes::of(row);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"20\" y=\"30\">{}</text>\n<text class=\"small\" x=\"20\" y=\"50\">{}</text>\n",
        row.title, row.title, row.case
    );
    grid(&mut svg, row, &axes);
    if row.guided {
        guide(&mut svg, row, &axes);
    }
    for (i, line) in row.lines.iter().enumerate() {
        draw_line(&mut svg, i, line, row, &axes);
    }
    svg.push_str("</svg>\n");
    svg
}

fn grid(svg: &mut String, row: &Row, axes: &Axes) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for decade in axes.up.0..=axes.up.1 {
        let y = axes.y(10_f64.powi(decade));
        let name = time(decade);
        put(
            svg,
            &format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"),
        );
        put(
            svg,
            &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 8.0,
                y + 4.5
            ),
        );
    }
    for (n, _) in row.lines.first().map_or(&[][..], |line| &line.points) {
        let x = axes.x(*n);
        put(
            svg,
            &format!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>"),
        );
        put(
            svg,
            &format!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 20.0,
                thousands(*n)
            ),
        );
    }
    put(
        svg,
        &format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\"/>"),
    );
    put(
        svg,
        &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 14.0,
            row.axis
        ),
    );
    let middle = f64::midpoint(TOP, bottom);
    put(
        svg,
        &format!(
            "<text x=\"18\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {middle:.1})\">CPU time</text>"
        ),
    );
}

/// n log n through the last point of the slowest line: what grows no faster stays above it further left.
fn guide(svg: &mut String, row: &Row, axes: &Axes) {
    let last = row.lines.iter().filter_map(|line| line.points.last());
    let Some((most, spent)) = last.max_by(|a, b| a.1.micros.total_cmp(&b.1.micros)) else {
        return;
    };
    let weight = |n: u32| f64::from(n) * f64::from(n).log2().max(1.0);
    let points = row.lines.first().map_or(&[][..], |line| &line.points);
    let mut path = String::new();
    for (n, _) in points {
        let micros = spent.micros * weight(*n) / weight(*most);
        if axes.y(micros) <= HEIGHT - BOTTOM {
            let word = if path.is_empty() { "M" } else { "L" };
            let _ = write!(path, "{word}{:.1} {:.1}", axes.x(*n), axes.y(micros));
        }
    }
    put(
        svg,
        &format!("<path class=\"guide\" d=\"{path}\"><title>n log n</title></path>"),
    );
    let x = legend(row.lines.len());
    put(
        svg,
        &format!("<path class=\"guide\" d=\"M{:.1} 74H{:.1}\"/>", x, x + 26.0),
    );
    put(
        svg,
        &format!("<text x=\"{:.1}\" y=\"78.5\">n log n</text>", x + 34.0),
    );
}

fn draw_line(svg: &mut String, i: usize, line: &Line, row: &Row, axes: &Axes) {
    let places = line
        .points
        .iter()
        .map(|(n, spent)| (axes.x(*n), axes.y(spent.micros)));
    let places: Vec<(f64, f64)> = places.collect();
    let path: Vec<String> = places
        .iter()
        .map(|(x, y)| format!("{x:.1} {y:.1}"))
        .collect();
    put(
        svg,
        &format!("<path class=\"l{i}\" d=\"M{}\"/>", path.join("L")),
    );
    for ((n, spent), (x, y)) in line.points.iter().zip(&places) {
        let told = format!(
            "{}, {} {}: {:.0} µs",
            line.name,
            thousands(*n),
            row.axis,
            spent.micros
        );
        put(svg, &mark(i, *x, *y, &told));
    }
    let x = legend(i);
    put(
        svg,
        &format!("<path class=\"l{i}\" d=\"M{x:.1} 74H{:.1}\"/>", x + 26.0),
    );
    put(svg, &mark(i, x + 13.0, 74.0, &line.name));
    put(
        svg,
        &format!(
            "<text x=\"{:.1}\" y=\"78.5\">{}</text>",
            x + 34.0,
            line.name
        ),
    );
}

/// Where an entry of the legend begins.
fn legend(i: usize) -> f64 {
    [LEFT, LEFT + 130.0, LEFT + 230.0, LEFT + 390.0][i.min(3)]
}

/// A circle, a square or a triangle: colours alone tell nothing to many.
fn mark(i: usize, x: f64, y: f64, told: &str) -> String {
    let shape = match i {
        0 => format!("<circle class=\"m0\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\">"),
        1 => format!(
            "<path class=\"m1\" d=\"M{:.1} {:.1}h8v8h-8z\">",
            x - 4.0,
            y - 4.0
        ),
        _ => format!(
            "<path class=\"m2\" d=\"M{:.1} {:.1}l5.2 9h-10.4z\">",
            x,
            y - 5.5
        ),
    };
    let end = if i == 0 { "circle" } else { "path" };
    format!("{shape}<title>{told}</title></{end}>")
}

fn put(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

/// "100 µs" for a power of ten of microseconds.
fn time(decade: i32) -> String {
    match decade {
        ..0 => format!("{} ns", 10_i32.pow(u32::try_from(decade + 3).unwrap_or(0))),
        0..3 => format!("{} µs", 10_i32.pow(u32::try_from(decade).unwrap_or(0))),
        3..6 => format!("{} ms", 10_i32.pow(u32::try_from(decade - 3).unwrap_or(0))),
        _ => format!("{} s", 10_i32.pow(u32::try_from(decade - 6).unwrap_or(0))),
    }
}

fn thousands(n: u32) -> String {
    match (n / 1000, n % 1000) {
        (0, n) => n.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}
