//! Runs of the past: a line each, a timeline in the terminal, or a page with a picture.

mod page;

use crate::core::cluster::HostName;
use crate::core::history::{Axis, History, Span, SpanEnd, Verdict, Window};
use crate::core::moment::Moment;
use crate::core::{chore, settlement};
use crate::report::line::seconds;

pub use page::page;

/// How many characters wide the timeline is.
const WIDTH: usize = 32;

/// A cluster's runs, the newest last.
pub fn list(cluster: &str, runs: &[History]) -> String {
    let mut text = format!("# {cluster}\n");
    if runs.is_empty() {
        text.push_str("  no run yet\n");
    }
    for run in runs {
        text.push_str(&format!(
            "  {} {:<30} {:<14} {:<10} {}\n",
            run.began,
            run.run,
            route(run),
            verdict(run.verdict),
            told(run).trim_start_matches("; ")
        ));
    }
    text
}

/// How one run went: what was done when, at which seat, and how long nobody could write.
pub fn timeline(cluster: &str, run: &History) -> String {
    let mut text = format!("{} of {cluster}: {}\n{}\n\n", run.run, route(run), summary(run));
    let axis = Axis::of(run);
    for span in &run.spans {
        text.push_str(&format!(
            "{:>10} {} {} |{}| {}/{} {:<8} {} {}{}\n",
            word(span),
            since(run.began, span.began),
            took(span),
            bar(&axis, run, span),
            span.step,
            span.of,
            span.seat,
            hosts(&span.hosts),
            span.name,
            span.note
                .as_ref()
                .map(|note| format!(": {note}"))
                .unwrap_or_default()
        ));
    }
    let mut legend = vec!["█ at work"];
    if !run.write_refused.is_empty() {
        legend.push("░ writes are refused");
    }
    if axis.is_shortened {
        legend.push("gaps of more than 10 s are drawn as 10 s");
    }
    text.push_str(&format!("\n{}\n", legend.join(" · ")));
    text
}

/// When, how long, how it ended, and why.
fn summary(run: &History) -> String {
    let took_ms = u64::try_from(run.took().as_millis()).unwrap_or(u64::MAX);
    let mut text = format!(
        "{}, {}: {}{}",
        run.began,
        seconds(took_ms).trim_start(),
        verdict(run.verdict),
        told(run)
    );
    for moment in &run.resumed {
        text.push_str(&format!("\nresumed at {moment}"));
    }
    if let Some(because) = &run.because {
        text.push_str(&format!("\nbecause: {because}"));
    }
    for warning in &run.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    if let Some(lost) = &run.lost {
        text.push_str(&format!("\nlost: {lost}"));
    }
    if matches!(run.verdict, Verdict::Open | Verdict::Stuck) {
        let ways = match &run.chore {
            Some(wanted) => chore::ways_out(&run.run, wanted),
            None => settlement::ways_out(&run.run, &run.operation, run.outgoing.as_ref(), run.committed),
        };
        text.push_str(&format!("\nhint: {ways}"));
    }
    text
}

/// For how long writes were refused, behind other words.
fn told(run: &History) -> String {
    match (run.write_refused_ms, run.write_refused.last()) {
        (Some(ms), Some(Window { to: None, .. })) => format!("; writes refused for {ms} ms and on"),
        (Some(ms), _) => format!("; writes refused for {ms} ms"),
        (None, _) => String::new(),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "done",
        Verdict::Undone => "undone",
        Verdict::Refused => "refused",
        Verdict::Overtaken => "overtaken",
        Verdict::Failed => "FAILED",
        Verdict::Stuck => "STUCK",
        Verdict::AtWork => "at work",
        Verdict::Open => "OPEN",
    }
}

fn word(span: &Span) -> &'static str {
    match (span.end, span.undo) {
        (SpanEnd::Done, false) => "DONE",
        (SpanEnd::Done, true) => "UNDO",
        (SpanEnd::Failed, _) => "FAIL",
        (SpanEnd::Unknown, _) => "UNKNOWN",
        (SpanEnd::CutOff, _) => "CUT OFF",
    }
}

fn route(run: &History) -> String {
    let names: Vec<&str> = [&run.outgoing, &run.incoming]
        .into_iter()
        .flatten()
        .map(HostName::as_str)
        .collect();
    let route = names.join(" → ");
    match run.address {
        Some(address) => format!("{address}: {route}"),
        None => route,
    }
}

fn hosts(hosts: &[HostName]) -> String {
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    if names.is_empty() {
        "box".to_owned()
    } else {
        names.join(",")
    }
}

fn since(began: Moment, at: Moment) -> String {
    format!("{:>10}", format!("+{:.3}s", at.since(began).as_secs_f64()))
}

fn took(span: &Span) -> String {
    match span.ended {
        Some(ended) => seconds(u64::try_from(ended.since(span.began).as_millis()).unwrap_or(u64::MAX)),
        None => format!("{:>6}", "?"),
    }
}

/// The span on its run's axis: full where it is at work, grey where nobody can write.
fn bar(axis: &Axis, run: &History, span: &Span) -> String {
    let column = |moment: Moment| ((axis.place(moment) * WIDTH as f64) as usize).min(WIDTH - 1);
    let covers = |from: Moment, to: Option<Moment>, at: usize| {
        column(from) <= at && at <= to.map_or(column(from), column)
    };
    let columns = (0..WIDTH).map(|at| {
        let is_refused = |window: &Window| covers(window.from, window.to.or(Some(run.until)), at);
        if covers(span.began, span.ended, at) {
            '█'
        } else if run.write_refused.iter().any(is_refused) {
            '░'
        } else {
            ' '
        }
    });
    columns.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::{self, tests::resumed};

    #[test]
    fn people_read_how_a_run_went() {
        let run = history::of(&resumed());
        let mut cut_off = resumed();
        cut_off.marks.truncate(3);
        let cut_off = history::of(&cut_off);
        let text = [
            list("c", &[]),
            list("c", &[run.clone(), cut_off.clone()]),
            timeline("c", &run),
            timeline("c", &cut_off),
        ];
        let committed = history::History {
            committed: true,
            ..cut_off
        };
        assert!(timeline("c", &committed).contains("only `mmm switchover --to db1` leads back now"));
        assert!(!timeline("c", &committed).contains("mmm undo"));
        crate::core::golden::check("tests/golden/history.txt", &text.join("\n"));
    }

    #[test]
    fn the_page_stands_alone_and_takes_no_markup_from_what_hosts_said() {
        let page = page("c<b>", &history::of(&resumed()));
        crate::core::golden::check("tests/golden/history.html", &page);
        assert!(page.contains("no &lt;arping&gt;") && !page.contains("<arping>") && !page.contains("c<b>"));
        let foreign = ["http:", "https:", "src=", "href=", "url(", "<script", "@import"];
        let found: Vec<_> = foreign.iter().filter(|word| page.contains(**word)).collect();
        assert!(found.is_empty(), "{found:?}");
        assert!(page.contains("writes refused"));
    }
}
