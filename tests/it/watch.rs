//! A monitor at work on a lab's box, and what it tells.

use std::time::Duration;

use lab::Background;
use lab::Lab;
use lab::judge::Report;
use lab::wait::until_some;
use mmm::core::view::{ClusterView, HostView};

/// What the monitor needs, at most, to notice a change and act on it, hosts that are silent included.
pub const ACTS_WITHIN: Duration = Duration::from_secs(60);
/// The floating address of the writer.
pub const WRITER: &str = lab::roster::WRITER_ADDRESS;

/// Whether the repeated runs were asked for (`MMM_LONG=1`).
pub fn long() -> bool {
    std::env::var_os("MMM_LONG").is_some_and(|value| value == "1")
}

/// A running `mmm monitor`; killed when dropped.
pub struct Watch<'l> {
    lab: &'l Lab,
    monitor: Background,
}

impl<'l> Watch<'l> {
    /// Starts it and waits until it finds the cluster as it should be.
    #[track_caller]
    pub fn start(lab: &'l Lab) -> Self {
        let watch = Self::start_anyhow(lab);
        watch.until("all to be well", |view| {
            view.monitored && view.rule == "R03" && view.warnings.is_empty()
        });
        watch
    }

    /// Starts it, whatever it finds.
    pub fn start_anyhow(lab: &'l Lab) -> Self {
        let monitor = lab.box_().spawn_mmm(["monitor"]).unwrap();
        Self { lab, monitor }
    }

    /// Everything it has told so far.
    pub fn said(&self) -> String {
        self.monitor.stderr()
    }

    /// Kills it, as a machine that is out of memory would.
    pub fn kill(mut self) {
        self.monitor.signal(rustix::process::Signal::KILL).unwrap();
        lab::wait::until(ACTS_WITHIN, "the monitor to be gone", || {
            !self.monitor.is_running()
        })
        .unwrap();
    }

    /// Waits until what `mmm show` tells is as `wanted`.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl Fn(&ClusterView) -> bool) -> ClusterView {
        match until_shown(self.lab, what, ACTS_WITHIN, wanted) {
            Ok(view) => view,
            Err(error) => panic!("{error:#}\n--- the monitor said\n{}", self.said()),
        }
    }

    /// Waits until it has told something with these words.
    #[track_caller]
    pub fn until_said(&self, words: &str) {
        let found = lab::wait::until(ACTS_WITHIN, words, || self.said().contains(words));
        if let Err(error) = found {
            panic!("{error:#}\n--- the monitor said\n{}", self.said());
        }
    }
}

/// What `mmm show` tells now.
pub fn show(lab: &Lab) -> anyhow::Result<ClusterView> {
    let output = lab.box_().mmm(["show", "--output", "json"])?;
    let mut told: serde_json::Value = serde_json::from_str(&output.stdout)?;
    Ok(serde_json::from_value(told["clusters"][0].take())?)
}

/// Waits until what `mmm show` tells is as `wanted`.
///
/// # Errors
/// Out of time; what was shown last.
pub fn until_shown(
    lab: &Lab,
    what: &str,
    limit: Duration,
    wanted: impl Fn(&ClusterView) -> bool,
) -> anyhow::Result<ClusterView> {
    until_some(limit, what, || {
        let view = show(lab)?;
        if wanted(&view) {
            return Ok(Some(view));
        }
        anyhow::bail!("shown: {view:#?}")
    })
}

/// One host of a view.
pub fn host<'v>(view: &'v ClusterView, name: &str) -> &'v HostView {
    view.hosts.iter().find(|host| host.name.as_str() == name).unwrap()
}

/// Whether a warning of the view has these words.
pub fn warns(view: &ClusterView, words: &str) -> bool {
    view.warnings.iter().any(|warning| warning.what.contains(words))
}

/// Prints the figures of a story.
pub fn tell(story: &str, report: &Report) {
    eprintln!(
        "== {story}: longest write gap {:.0} ms\n{report}",
        report.longest_gap_ms
    );
}
