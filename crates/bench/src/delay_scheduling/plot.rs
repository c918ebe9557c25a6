//! The picture: locality as bars and job time as points, one pair per scenario.

use std::fmt::Write;

use super::{Outcome, Scenario};

const BAR: f64 = 56.0;
const STEP: f64 = 112.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 60.0;
const HEIGHT: f64 = 240.0;
const BOTTOM: f64 = 44.0;
/// The legend needs it.
const WIDTH_MIN: f64 = 552.0;

/// What the paper's text says, in percent.
fn published(scenario: Scenario) -> Option<f64> {
    match scenario {
        Scenario::Partitions => Some(18.0),
        Scenario::Shared(wait) if wait.0 == 1000 => Some(90.0),
        Scenario::Shared(wait) if wait.0 == 5000 => Some(95.0),
        Scenario::Shared(_) => None,
    }
}

fn name(scenario: Scenario) -> String {
    match scenario {
        Scenario::Partitions => "static partitions".to_owned(),
        Scenario::Shared(wait) if wait.0 == 0 => "shared, no wait".to_owned(),
        Scenario::Shared(_) => format!("shared, {} wait", scenario.label()),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// SVG of means over runs and jobs.
pub(super) fn draw(outcomes: &[(Scenario, Outcome)]) -> String {
    let width = (LEFT * 2.0 + STEP * outcomes.len() as f64).max(WIDTH_MIN);
    let (height, bottom) = (TOP + HEIGHT + BOTTOM, TOP + HEIGHT);
    let most_s = outcomes.iter().map(|(_, outcome)| mean(&outcome.job_s)).fold(1.0, f64::max) * 1.15;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\" text-anchor=\"middle\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"16\" font-size=\"13\">Delay scheduling: simulated, on the real allocator</text>\n\
         <text x=\"{}\" y=\"32\"><tspan fill=\"#0b62a4\">■ tasks that read from their own node, %</tspan>  \
         <tspan fill=\"#c03a2b\">● mean job time, s</tspan>  <tspan fill=\"#555\">- - published locality</tspan></text>\n\
         <path d=\"M{LEFT} {TOP} V{bottom} H{}\" fill=\"none\" stroke=\"#888\"/>\n",
        width / 2.0,
        width / 2.0,
        width - LEFT
    );
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let y = bottom - HEIGHT * percent / 100.0 + 4.0;
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{percent}</text>", LEFT - 6.0);
    }
    for (place, (scenario, outcome)) in outcomes.iter().enumerate() {
        let middle = LEFT + STEP * (place as f64 + 0.5);
        svg += &column(middle, *scenario, mean(&outcome.locality_percent));
        svg += &point(middle + BAR * 0.5 + 12.0, mean(&outcome.job_s), most_s);
    }
    svg + "</svg>\n"
}

fn column(middle: f64, scenario: Scenario, percent: f64) -> String {
    let (bottom, tall, left) = (TOP + HEIGHT, HEIGHT * percent / 100.0, middle - BAR / 2.0);
    let mut out = format!(
        "<rect x=\"{left}\" y=\"{:.1}\" width=\"{BAR}\" height=\"{tall:.1}\" fill=\"#0b62a4\"/>\n\
         <text x=\"{middle}\" y=\"{:.1}\" fill=\"#0b62a4\">{percent:.1}</text>\n\
         <text x=\"{middle}\" y=\"{}\">{}</text>\n",
        bottom - tall,
        bottom - tall - 8.0,
        bottom + 18.0,
        name(scenario)
    );
    if let Some(published) = published(scenario) {
        let y = bottom - HEIGHT * published / 100.0;
        let (from, to) = (left - 6.0, left + BAR + 6.0);
        let _ = writeln!(
            out,
            "<path d=\"M{from} {y:.1} H{to}\" stroke=\"#555\" stroke-width=\"1.5\" stroke-dasharray=\"5 3\"/>"
        );
    }
    out
}

fn point(x: f64, seconds: f64, most: f64) -> String {
    let y = TOP + HEIGHT * (1.0 - seconds / most);
    format!(
        "<circle cx=\"{x}\" cy=\"{y:.1}\" r=\"4\" fill=\"#c03a2b\"/>\n\
         <text x=\"{x}\" y=\"{:.1}\" fill=\"#c03a2b\" text-anchor=\"start\">{seconds:.0}</text>\n",
        y - 8.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesarch_types::Millis;

    #[test]
    fn every_scenario_has_a_bar_and_a_point_and_published_figures_a_mark() {
        let outcome = Outcome { locality_percent: vec![50.0], job_s: vec![100.0] };
        let shared = |wait| (Scenario::Shared(Millis(wait)), outcome.clone());
        let svg = draw(&[(Scenario::Partitions, outcome.clone()), shared(0), shared(1000)]);
        let count = |what: &str| svg.matches(what).count();
        assert_eq!((count("<rect x"), count("<circle"), count("stroke-dasharray")), (3, 3, 2));
    }
}
