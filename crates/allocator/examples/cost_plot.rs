//! Draws how the cost of a full cycle grows with agents, frameworks and roles with quota, as SVG on standard output:
//!
//! `cargo run --release -p mesarch-allocator --example cost_plot > crates/allocator/docs/cost.svg`
#![expect(clippy::print_stdout, reason = "its result")]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::float_arithmetic, reason = "it draws")]

use std::time::Instant;

use mesarch_allocator::load::{Load, Shape};

/// Rounds of which the least counts: others who use the machine only add.
const ROUNDS: usize = 15;
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 56.0;

/// One picture: what grows, and the cost in milliseconds at each size.
struct Series {
    title: &'static str,
    points: Vec<(f64, f64)>,
}

fn main() {
    let base = Shape { agents: 10_000, frameworks: 1_000, roles: 100, ..Shape::default() };
    let series = [
        measure("agents (1,000 frameworks, 100 roles)", &[2_500, 5_000, 10_000, 20_000, 40_000], |agents| {
            Shape { agents, ..base }
        }),
        measure(
            "frameworks (10,000 agents, 100 roles)",
            &[250, 500, 1_000, 2_000, 4_000, 8_000],
            |frameworks| Shape { frameworks, ..base },
        ),
        measure(
            "roles with quota (10,000 agents, 1,000 frameworks)",
            &[0, 5, 10, 20, 40, 60, 80, 100],
            |quota_roles| Shape { quota_roles, ..base },
        ),
    ];
    println!("{}", draw(&series));
}

fn measure(title: &'static str, sizes: &[usize], shape: impl Fn(usize) -> Shape) -> Series {
    let points = sizes.iter().map(|size| (*size as f64, cycle_ms(shape(*size)))).collect();
    Series { title, points }
}

/// The least time from the first decline of everything to the last offer planned.
fn cycle_ms(shape: Shape) -> f64 {
    let mut load = Load::new(shape);
    let plans = load.plan();
    load.take(plans);
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            load.decline_all(None);
            let plans = load.plan();
            let ms = begin.elapsed().as_secs_f64() * 1e3;
            load.take_as_it_is(plans);
            ms
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[0]
}

fn draw(series: &[Series]) -> String {
    let width = WIDTH * series.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (place, one) in series.iter().enumerate() {
        svg += &format!("<g transform=\"translate({},0)\">\n{}</g>\n", place as f64 * WIDTH, picture(one));
    }
    svg + "</svg>"
}

fn picture(series: &Series) -> String {
    let most = |of: fn(&(f64, f64)) -> f64| series.points.iter().map(of).fold(0.0, f64::max);
    let (most_x, most_y) = (most(|point| point.0), most(|point| point.1));
    let x = |value: f64| MARGIN + value / most_x * (WIDTH - 1.5 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN - value / most_y * (HEIGHT - 2.0 * MARGIN);
    let (left, bottom) = (x(0.0), y(0.0));
    let mut out = format!(
        "<text x=\"{}\" y=\"24\" text-anchor=\"middle\" font-size=\"12\">full cycle, ms (least of 15)</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
         <path d=\"M{left} {} V{bottom} H{}\" fill=\"none\" stroke=\"#888\"/>\n",
        WIDTH / 2.0,
        WIDTH / 2.0,
        HEIGHT - 12.0,
        series.title,
        y(most_y),
        x(most_x)
    );
    let line: Vec<String> =
        series.points.iter().map(|(at, ms)| format!("{:.1},{:.1}", x(*at), y(*ms))).collect();
    out += &format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#0b62a4\" stroke-width=\"2\"/>\n",
        line.join(" ")
    );
    for (at, ms) in &series.points {
        let (x, y) = (x(*at), y(*ms));
        out += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#0b62a4\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{ms:.1}</text>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#888\" font-size=\"8\">{at}</text>\n",
            y - 7.0,
            bottom + 12.0
        );
    }
    out
}
