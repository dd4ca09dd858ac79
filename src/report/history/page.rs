//! One run as a page that needs nothing else: a picture of its seats over time, with the time marked in which nobody could
//! write, and a table of its steps.

use std::fmt::Write as _;

use super::{hosts, route, since, summary, took, word};
use crate::core::history::{Axis, History, Span, SpanEnd};
use crate::core::playbook::Seat;

/// The picture's measures, in its own units.
const LEFT: f64 = 110.0;
const WIDTH: f64 = 860.0;
const TOP: f64 = 30.0;
const LANE: f64 = 34.0;
/// A span that took no time is still to be seen.
const THINNEST: f64 = 2.0;

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c1c1c; background: #fff; }
h1 { font-size: 1.25rem; } pre, td { font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; background: #f4f4f2; padding: .7rem 1rem; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: #444; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
.done { fill: #3b7a57; } .undo { fill: #b8860b; } .failed { fill: #b22222; } .unknown { fill: #7b3fa0; } .cut { fill: #555; }
.refused { fill: #e8b4b0; opacity: .55; } .lane { stroke: #ddd; } .resumed { stroke: #333; stroke-dasharray: 4 3; }
";

/// The page.
pub fn page(cluster: &str, run: &History) -> String {
    let title = escaped(&format!("{} of {cluster}: {}", run.run, route(run)));
    let mut rows = String::new();
    for span in &run.spans {
        let cells = [
            since(run.began, span.began).trim_start().to_owned(),
            took(span).trim_start().to_owned(),
            format!("{}/{}", span.step, span.of),
            span.seat.to_string(),
            hosts(&span.hosts),
            span.name.clone(),
            word(span).to_owned(),
            span.note.clone().unwrap_or_default(),
        ];
        let cells: String = cells
            .iter()
            .map(|cell| format!("<td>{}</td>", escaped(cell)))
            .collect();
        rows.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<pre>{}</pre>\n{}\n<table>\n\
         <tr><th>at</th><th>took</th><th>step</th><th>seat</th><th>host</th><th>what</th><th>how</th><th></th></tr>\n\
         {rows}</table>\n</body>\n</html>\n",
        escaped(&summary(run)),
        picture(run),
    )
}

/// Its seats as lanes, its steps as blocks.
fn picture(run: &History) -> String {
    let axis = Axis::of(run);
    let place = |moment| LEFT + axis.place(moment) * WIDTH;
    let mut seats: Vec<Seat> = run.spans.iter().map(|span| span.seat).collect();
    seats.sort_unstable();
    seats.dedup();
    let bottom = TOP + LANE * seats.len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" aria-label=\"the run over time\">\n",
        LEFT + WIDTH + 20.0,
        bottom + 30.0
    );
    for window in &run.write_refused {
        let (from, to) = (place(window.from), place(window.to.unwrap_or(run.until)));
        let length = window.to.unwrap_or(run.until).since(window.from).as_millis();
        // Writing into a string cannot fail.
        let _ = writeln!(
            svg,
            "<rect class=\"refused\" x=\"{from:.1}\" y=\"{TOP:.0}\" width=\"{:.1}\" height=\"{:.0}\"/>\n\
             <text x=\"{from:.1}\" y=\"{:.0}\">writes refused for {length} ms</text>",
            (to - from).max(THINNEST),
            bottom - TOP,
            TOP - 10.0,
        );
    }
    for (number, seat) in seats.iter().enumerate() {
        let top = TOP + LANE * number as f64;
        let _ = writeln!(
            svg,
            "<line class=\"lane\" x1=\"0\" x2=\"{:.0}\" y1=\"{:.0}\" y2=\"{:.0}\"/>\n<text x=\"4\" y=\"{:.0}\">{seat}</text>",
            LEFT + WIDTH,
            top + LANE,
            top + LANE,
            top + LANE / 2.0 + 4.0,
        );
        for span in run.spans.iter().filter(|span| span.seat == *seat) {
            let (from, to) = (place(span.began), place(span.ended.unwrap_or(span.began)));
            let _ = writeln!(
                svg,
                "<rect class=\"{}\" x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{:.0}\"><title>{}</title></rect>",
                class(span),
                top + 6.0,
                (to - from).max(THINNEST),
                LANE - 12.0,
                escaped(&format!(
                    "{}/{} {} {}, {}",
                    span.step,
                    span.of,
                    hosts(&span.hosts),
                    span.name,
                    word(span)
                )),
            );
        }
    }
    for moment in &run.resumed {
        let at = place(*moment);
        let _ = writeln!(
            svg,
            "<line class=\"resumed\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP:.0}\" y2=\"{bottom:.0}\"/>"
        );
    }
    let shortened = if axis.is_shortened {
        "; gaps of more than 10 s are drawn as 10 s"
    } else {
        ""
    };
    let _ = write!(
        svg,
        "<text x=\"{LEFT:.0}\" y=\"{:.0}\">0</text>\n<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{:.3} s{shortened}</text>\n</svg>",
        bottom + 18.0,
        LEFT + WIDTH,
        bottom + 18.0,
        run.took().as_secs_f64(),
    );
    svg
}

fn class(span: &Span) -> &'static str {
    match (span.end, span.undo) {
        (SpanEnd::Done, false) => "done",
        (SpanEnd::Done, true) => "undo",
        (SpanEnd::Failed, _) => "failed",
        (SpanEnd::Unknown, _) => "unknown",
        (SpanEnd::CutOff, _) => "cut",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
