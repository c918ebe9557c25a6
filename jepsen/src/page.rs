//! A run as a page for people: when which fault struck, who led, what was done and how long it took.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use crate::{
    aftermath::Reign,
    checker::Anomaly,
    history::{Entry, Event, Kind},
};

/// Width of the picture's time axis, in its own units.
const WIDTH: f64 = 1200.0;
/// Room for names on the left.
const LEFT: f64 = 90.0;
/// Height of the part with the operations.
const HEIGHT: f64 = 300.0;
/// Where that part begins; above it are faults and leaders.
const TOP: f64 = 70.0;
/// Most operations that are drawn; of those that were done only every so many-th is, if there are more.
const DRAWN_MAX: usize = 6000;
/// The shortest and the longest time that the axis shows, in ms, each as a power of ten.
const POWERS: (f64, f64) = (-1.0, 4.5);
/// Colours that are told apart by those who see few, for the masters in turn.
const MASTERS: [&str; 5] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"];

/// What the page tells.
pub(crate) struct Page<'a> {
    /// The command line.
    pub(crate) title: String,
    /// Counts, and the verdict.
    pub(crate) lines: Vec<String>,
    pub(crate) entries: &'a [Entry],
    pub(crate) reigns: &'a [Reign],
    pub(crate) anomalies: &'a [Anomaly],
    /// Wall time at the history's beginning, in ms.
    pub(crate) begun_ms: u64,
}

/// One operation, begun and ended.
struct Done {
    from: Duration,
    to: Duration,
    kind: Kind,
}

impl Page<'_> {
    /// The whole page; it needs nothing beside itself.
    pub(crate) fn html(&self) -> String {
        let mut text = String::from(
            "<!doctype html><meta charset=utf-8><style>body{font:14px sans-serif;margin:2em;max-width:80em}\
             svg{width:100%;font:11px sans-serif}td{padding:.1em .6em;vertical-align:top}</style>",
        );
        let mut add = |part: String| text.push_str(&part);
        add(format!("<title>{0}</title><h1>{0}</h1>", escaped(&self.title)));
        self.lines.iter().for_each(|line| add(format!("<p>{}</p>", escaped(line))));
        add(self.picture());
        add("<p>Each dot is an operation: when it began, and how long it took. Green was done, grey was not, red is \
             unknown. Red bands are faults; below them is who led.</p>"
            .to_owned());
        add(table(
            "Anomalies",
            self.anomalies.iter().map(|anomaly| {
                vec![format!("{:?}", anomaly.promise), anomaly.about.clone(), anomaly.seen.clone()]
            }),
        ));
        add(table(
            "Faults",
            self.faults().into_iter().map(|(from, to, what)| {
                vec![
                    format!("{:.3} s", from.as_secs_f64()),
                    format!("{:.3} s", (to - from).as_secs_f64()),
                    what,
                ]
            }),
        ));
        text
    }

    fn end(&self) -> f64 {
        self.entries.last().map_or(1.0, |entry| entry.at.as_secs_f64()).max(0.001)
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + at.as_secs_f64() / self.end() * WIDTH
    }

    fn picture(&self) -> String {
        let mut svg = format!(
            "<svg viewBox='0 0 {} {}' role=img><title>Operations, faults and leaders over time</title>",
            LEFT + WIDTH + 10.0,
            TOP + HEIGHT + 25.0
        );
        self.draw_axes(&mut svg);
        self.draw_faults(&mut svg);
        self.draw_reigns(&mut svg);
        let done = operations(self.entries);
        let good = done.iter().filter(|done| done.kind == Kind::Ok).count();
        let every = good.div_ceil(DRAWN_MAX).max(1);
        let mut seen = 0;
        for one in &done {
            seen += usize::from(one.kind == Kind::Ok);
            if one.kind == Kind::Ok && !seen.is_multiple_of(every) {
                continue;
            }
            let colour = match one.kind {
                Kind::Ok => "#2a2",
                Kind::Fail => "#999",
                _ => "#d00",
            };
            put(
                &mut svg,
                format_args!(
                    "<circle cx='{:.1}' cy='{:.1}' r='1.6' fill='{colour}'/>",
                    self.x(one.from),
                    y(one.to - one.from)
                ),
            );
        }
        svg + "</svg>"
    }

    fn draw_axes(&self, svg: &mut String) {
        for power in (POWERS.0 as i32)..=(POWERS.1 as i32) {
            let ms = 10_f64.powi(power);
            let y = y(Duration::from_secs_f64(ms / 1000.0));
            let right = LEFT + WIDTH;
            put(svg, format_args!("<line x1='{LEFT}' x2='{right}' y1='{y:.1}' y2='{y:.1}' stroke='#eee'/>"));
            put(svg, format_args!("<text x='4' y='{:.1}'>{ms} ms</text>", y + 4.0));
        }
        let step = (self.end() / 12.0).ceil().max(1.0);
        for number in 0..=(self.end() / step) as u32 {
            let at = Duration::from_secs_f64(f64::from(number) * step);
            let (x, y) = (self.x(at), TOP + HEIGHT + 16.0);
            put(svg, format_args!("<text x='{x:.1}' y='{y:.1}'>{} s</text>", at.as_secs()));
        }
        put(svg, format_args!("<text x='4' y='30'>faults</text><text x='4' y='58'>leader, term</text>"));
    }

    fn draw_faults(&self, svg: &mut String) {
        for (from, to, what) in self.faults() {
            let (x, width) = (self.x(from), (self.x(to) - self.x(from)).max(1.0));
            let height = TOP + HEIGHT - 15.0;
            put(
                svg,
                format_args!(
                    "<rect x='{x:.1}' y='15' width='{width:.1}' height='{height}' fill='#d00' fill-opacity='.12'>\
                 <title>{}</title></rect>",
                    escaped(&what)
                ),
            );
        }
    }

    fn draw_reigns(&self, svg: &mut String) {
        let at = |ms: u64| Duration::from_millis(ms.saturating_sub(self.begun_ms));
        let last = Duration::from_secs_f64(self.end());
        for (number, reign) in self.reigns.iter().enumerate() {
            let to = self.reigns.get(number + 1).map_or(last, |next| at(next.from_ms)).min(last);
            let (x, end) = (self.x(at(reign.from_ms).min(last)), self.x(to));
            let colour = MASTERS[reign.master as usize % MASTERS.len()];
            put(
                svg,
                format_args!(
                    "<rect x='{x:.1}' y='45' width='{:.1}' height='18' fill='{colour}'><title>master {}, term \
                 {}</title></rect>",
                    (end - x).max(1.0),
                    reign.master,
                    reign.term
                ),
            );
            if end - x > 30.0 {
                put(
                    svg,
                    format_args!(
                        "<text x='{:.1}' y='58' fill='#fff'>{}, {}</text>",
                        x + 3.0,
                        reign.master,
                        reign.term
                    ),
                );
            }
        }
    }

    /// From when to when which fault.
    fn faults(&self) -> Vec<(Duration, Duration, String)> {
        let mut begun = None;
        let mut faults = Vec::new();
        for entry in self.entries {
            let Event::Fault { what } = &entry.event else { continue };
            match begun.take() {
                None => begun = Some(entry.at),
                Some(from) => faults.push((from, entry.at, what.clone())),
            }
        }
        let last = self.entries.last().map_or(Duration::ZERO, |entry| entry.at);
        faults.extend(begun.map(|from| (from, last, "did not end".to_owned())));
        faults
    }
}

/// Operations of clients, in the order in which they ended.
fn operations(entries: &[Entry]) -> Vec<Done> {
    let mut open: BTreeMap<u32, Duration> = BTreeMap::new();
    let mut done = Vec::new();
    for entry in entries {
        match entry.kind {
            Kind::Info => {}
            Kind::Invoke => drop(open.insert(entry.process, entry.at)),
            kind => {
                let from = open.remove(&entry.process);
                done.extend(from.map(|from| Done { from, to: entry.at, kind }));
            }
        }
    }
    done
}

/// Longer times are higher up.
fn y(took: Duration) -> f64 {
    let power = (took.as_secs_f64() * 1000.0).max(f64::MIN_POSITIVE).log10().clamp(POWERS.0, POWERS.1);
    TOP + HEIGHT * (1.0 - (power - POWERS.0) / (POWERS.1 - POWERS.0))
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("a String takes everything");
}

fn table(title: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let row = |cells: Vec<String>| {
        let cells = cells.iter().fold(String::new(), |text, cell| text + "<td>" + &escaped(cell) + "</td>");
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.map(row).collect();
    let rows = if rows.is_empty() { "<tr><td>none</td></tr>".to_owned() } else { rows };
    format!("<h2>{title}</h2><table>{rows}</table>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_every_fault_reign_and_unknown_outcome() {
        let entry = |ms, process, kind, event| Entry { at: Duration::from_millis(ms), process, kind, event };
        let accept = || Event::Accept { tasks: vec!["t".to_owned()] };
        let fault = |what: &str| Event::Fault { what: what.to_owned() };
        let entries = [
            entry(1, 1, Kind::Invoke, accept()),
            entry(5, 0, Kind::Info, fault("begins")),
            entry(9, 1, Kind::Unknown, accept()),
            entry(20, 0, Kind::Info, fault("killed <1>")),
            entry(30, 1, Kind::Invoke, accept()),
            entry(31, 1, Kind::Ok, accept()),
        ];
        let page = Page {
            title: "t".to_owned(),
            lines: vec!["clean".to_owned()],
            entries: &entries,
            reigns: &[Reign { term: 3, master: 2, from_ms: 100 }],
            anomalies: &[],
            begun_ms: 100,
        };
        let html = page.html();
        for part in
            ["killed &lt;1&gt;", "master 2, term 3", "fill='#d00'/>", "fill='#2a2'/>", "<td>none</td>"]
        {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        assert_eq!(html.matches("<circle").count(), 2);
        assert!(y(Duration::ZERO) > y(Duration::from_secs(1)));
    }
}
